"""The registry of operations, as Python sees it."""

import inspect
import subprocess
import sys
from pathlib import Path

import covector.core as mx
import pytest
from covector._covector import _registry

TOOL = Path(__file__).resolve().parents[1] / "tools" / "operations.py"
MODULES = {"core": mx, "fast": mx.fast, "random": mx.random}
FUNCTIONS = [(entry["module"], name, entry) for entry in _registry() for name in entry["names"]]


def test_the_table_of_operations_is_up_to_date():
    run = subprocess.run([sys.executable, TOOL, "--check"], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize(
    ("module", "name", "entry"), FUNCTIONS, ids=lambda x: x if isinstance(x, str) else ""
)
def test_an_operation_has_its_signature_and_docstring(module, name, entry):
    function = getattr(MODULES[module], name)
    parameters = list(inspect.signature(function).parameters)
    assert parameters == [*entry["types"], "stream"]
    assert function.__doc__
    assert "# " not in function.__doc__
    assert "[`" not in function.__doc__
    if entry["method"] and name == entry["names"][0]:
        method = getattr(mx.array, name)
        assert method.__doc__ == function.__doc__
        assert list(inspect.signature(method).parameters)[1:] == parameters[1:]


@pytest.mark.parametrize(
    ("module", "name", "entry"), FUNCTIONS, ids=lambda x: x if isinstance(x, str) else ""
)
def test_wrong_calls_are_refused_in_the_operations_name(module, name, entry):
    function, public = getattr(MODULES[module], name), entry["names"][0]
    with pytest.raises(TypeError, match=rf"^\[{public}\] there is no argument called \"nonsense\""):
        function(nonsense=1)
    with pytest.raises(
        TypeError, match=rf"^\[{public}\] {len(entry['types']) + 2} arguments were given by position"
    ):
        function(*[1] * (len(entry["types"]) + 2))
    required = [p for p in inspect.signature(function).parameters.values() if p.default is p.empty]
    if required:
        with pytest.raises(TypeError, match=rf"^\[{public}\] argument .* is missing"):
            function()


def test_a_wrong_argument_is_named():
    x = mx.ones((2, 3))
    with pytest.raises(TypeError, match=r"^\[sum\] axis: expected an int or a sequence of ints, not .*str"):
        mx.sum(x, "a")
    with pytest.raises(TypeError, match=r"^\[sort\] axis: expected an int, not .*float"):
        mx.sort(x, 0.5)
    with pytest.raises(TypeError, match=r"^\[cumsum\] reverse: expected a bool, not .*int"):
        x.cumsum(0, reverse=1)
    with pytest.raises(TypeError, match=r"^\[sum\] a: expected an array, not .*list.*; make an array of it"):
        mx.sum([1, 2])
    with pytest.raises(ValueError, match=r"^\[diff\] n is -1; it must not be negative"):
        mx.diff(x, -1)
    with pytest.raises(TypeError, match=r"^\[sum\] argument \"axis\" was given twice"):
        mx.sum(x, 0, axis=1)


def test_stream_is_accepted_where_mlx_accepts_it():
    x = mx.ones((2, 2))
    assert mx.add(x, x, stream=mx.cpu).tolist() == [[2, 2], [2, 2]]
    assert mx.round(x, 0, mx.cpu).tolist() == x.tolist()
    assert x.astype(mx.int32, mx.cpu).dtype == mx.int32
    with pytest.raises(TypeError, match=r"^\[sum\] 4 arguments"):
        mx.sum(x, 0, False, mx.cpu)
