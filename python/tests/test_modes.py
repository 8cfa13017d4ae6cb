"""Integer, ragged, empty and mismatched input over all transforms and all ways to build an array or a tree:
one answer for all of them. And what is said of values that are read inside of a transform."""

import contextlib
import copy
import inspect
import pickle
import re
import warnings

import covector.core as mx
import covector.nn as nn
import covector.optimizers as optim
import numpy as np
import pytest
from covector.utils import tree_flatten

# Each takes a function of one argument and the argument.
REFUSING = {
    "grad": lambda f, x: mx.grad(f)(x),
    "value_and_grad": lambda f, x: mx.value_and_grad(f)(x),
    "hessian": lambda f, x: mx.hessian(f)(x),
    "jacfwd": lambda f, x: mx.jacfwd(f)(x),
    "jacrev": lambda f, x: mx.jacrev(f)(x),
    "value_and_jac": lambda f, x: mx.value_and_jac(f)(x),
    "hvp": lambda f, x: mx.hvp(f, [x], [x]),
    "linearize": lambda f, x: mx.linearize(f, [x]),
    "check_grads": lambda f, x: mx.check_grads(f, [x]),
}
# As MLX's: the products of integers are zeros.
TAKING = {
    "vjp": lambda f, x: mx.vjp(f, [x], [mx.array(1.0)]),
    "jvp": lambda f, x: mx.jvp(f, [x], [x]),
}
ALL = {**REFUSING, **TAKING}


def loss(x):
    x = x["a"][1] if isinstance(x, dict) else x
    return (x * 2.0).square().sum()


@pytest.mark.parametrize("dtype", [mx.int32, mx.uint8, mx.int64, mx.bool_], ids=str)
@pytest.mark.parametrize("name", REFUSING)
def test_an_integer_leaf_is_refused_with_its_path(name, dtype):
    x = mx.array([1, 1]).astype(dtype)
    tree = {"a": [mx.array(1.0), x]}
    for argument, path in [(x, ""), (tree, "['a'][1]")]:
        with pytest.raises(TypeError) as caught:
            REFUSING[name](loss, argument)
        text = str(caught.value)
        kind = str(dtype).split(".")[-1]
        assert re.match(rf"\[{name}\] .*{re.escape(path)} is {kind}", text), text
        assert "only floating-point and complex" in text
        assert "astype" in text


@pytest.mark.parametrize("name", TAKING)
def test_products_of_integers_are_zeros_as_in_mlx(name):
    _, products = TAKING[name](loss, mx.array([3, 4]))
    assert not any(np.any(np.asarray(p)) for p in products)


@pytest.mark.parametrize("name", ALL)
def test_an_empty_array_passes(name):
    ALL[name](loss, mx.zeros((0,)))


def test_empty_arrays_have_empty_derivatives():
    x = mx.zeros((0,))
    assert mx.grad(loss)(x).shape == (0,)
    assert mx.hessian(loss)(x).shape == (0, 0)
    assert mx.compile(loss)(x).item() == 0.0
    assert mx.vmap(lambda v: v * 2)(x).shape == (0,)


# Values that are read.

READS = {
    "item": lambda x: mx.array(x.sum().item() * 2.0),
    "tolist": lambda x: mx.array(x.tolist()).sum(),
    "float": lambda x: mx.array(float(x.sum())),
    "int": lambda x: mx.array(int(x.sum()) * 1.0),
    "complex": lambda x: mx.array(complex(x.sum()).real),
    "bool": lambda x: mx.array(1.0 if x.sum() > 0 else 2.0),
    "numpy": lambda x: mx.array(np.array(x)).sum(),
    "dlpack": lambda x: mx.array(np.from_dlpack(x)).sum(),
    "pickle": lambda x: pickle.loads(pickle.dumps(x)).sum(),
    "derived": lambda x: mx.array((x * 2).max().item()),
}


def line_of(function):
    return f"{inspect.getsourcefile(function)}:{function.__code__.co_firstlineno}"


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("name", ALL)
def test_a_result_of_nothing_but_values_that_were_read_warns_with_the_line(name, read):
    f = READS[read]
    # Differences of the values see what derivatives do not, and check_grads says so.
    with pytest.warns(RuntimeWarning) as caught, contextlib.suppress(AssertionError):
        ALL[name](f, mx.array([1.0, 2.0]))
    text = str(caught[0].message)
    assert text.startswith(f"[{name}] the result does not depend on the argument, but a value"), text
    assert f"was read at {line_of(f)}." in text, text


@pytest.mark.parametrize("name", ALL)
def test_reading_does_no_harm_where_the_result_depends(name):
    def f(x):
        if x.sum().item() > 0:
            return (x * x).sum()
        return -x.sum()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ALL[name](f, mx.array([1.0, 2.0]))


@pytest.mark.parametrize("name", ALL)
def test_a_result_that_does_not_depend_and_reads_nothing_has_zeros_silently(name):
    c = mx.array(4.0)

    def f(x):
        c.item(), x.shape, x.dtype, str(x), repr(x), f"{x}"
        return c * 2.0

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ALL[name](f, mx.array([1.0, 2.0]))
    assert mx.grad(f)(mx.array([1.0, 2.0])).tolist() == [0.0, 0.0]


def test_a_read_counts_for_the_innermost_function():
    def branch(x):
        return x * 2 if x.item() > 0 else -x

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert mx.grad(mx.grad(branch))(mx.array(3.0)).item() == 0.0
        assert mx.hessian(branch)(mx.array(3.0)).item() == 0.0
        assert mx.hvp(branch, [mx.array(3.0)], [mx.array(1.0)])[0].item() == 0.0
        # Beside the loss, in another argument, and after it has returned.
        value, seen = mx.value_and_grad(lambda x, y: (x * y.item(), y.item()))(mx.array(2.0), mx.array(5.0))[
            0
        ]
        assert (value.item(), seen) == (10.0, 5.0)

    def outer(x):
        v = x.item()
        return mx.grad(lambda y: y * v)(mx.array(1.0))

    with pytest.warns(RuntimeWarning, match=r"^\[grad\] the result does not depend"):
        mx.grad(outer)(mx.array(3.0))

    def after(x):
        (y,), _ = mx.vjp(lambda z: z * z, [x], [mx.array(1.0)])
        return mx.array(y.item())

    with pytest.warns(RuntimeWarning, match=r"^\[grad\] the result does not depend"):
        mx.grad(after)(mx.array(3.0))


def test_a_warning_may_be_an_error_and_leaves_all_usable():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(RuntimeWarning):
            mx.grad(READS["item"])(mx.array([1.0, 2.0]))
        assert mx.grad(loss)(mx.array([1.0])).tolist() == [8.0]


@pytest.mark.parametrize("read", [r for r in READS if r != "complex"])
def test_where_there_is_no_value_reading_raises(read):
    with pytest.raises(ValueError, match="under vmap or compile has no single value"):
        mx.compile(READS[read])(mx.array([1.0, 2.0]))
    with pytest.raises(ValueError, match="under vmap or compile has no single value"):
        mx.vmap(READS[read])(mx.array([[1.0, 2.0]]))


# Ragged input.

REST = "; all rows of a level must be alike"
RAGGED = [
    ([[1, 2], [3, 4, 5], [6]], "row 1 has 3 elements, but row 0 has 2"),
    ([[1, 2], [3, 4, 5]], "row 1 has 3 elements, but row 0 has 2"),
    ([[1, 2], [3, 4], [5]], "row 2 has 1 element, but row 0 has 2"),
    (([1.0, 2.0], (3.0,)), "row 1 has 1 element, but row 0 has 2"),
    ([[], [1]], "row 1 has 1 element, but row 0 has 0"),
    ([[1], []], "row 1 has 0 elements, but row 0 has 1"),
    ([[[1, 2], [3, 4]], [[5, 6], [7]]], "row [1][1] has 1 element, but row [0][0] has 2"),
    ([[[1]], [[2], [3]]], "row 1 has 2 elements, but row 0 has 1"),
    ([[[True]], [[]]], "row [1][0] has 0 elements, but row [0][0] has 1"),
    ([1, [2]], "element 1 is a list, but element 0 is a number"),
    ([[1], 2], "element 1 is a number, but element 0 is a list"),
    ([[], 2], "element 1 is a number, but element 0 is a list"),
    ([[1, 2], [3, [4]]], "element [1][1] is a list, but element [0][0] is a number"),
    ([[[1], [2]], [3, 4]], "element [1][0] is a number, but element [0][0] is a list"),
    ([mx.zeros(2), mx.zeros(3)], "row 1 has shape (3,), but row 0 has shape (2,)"),
    ([mx.zeros(2), [1.0, 2.0, 3.0]], "row 1 has shape (3,), but row 0 has shape (2,)"),
    ([np.zeros(2), mx.zeros(())], "row 1 has shape (), but row 0 has shape (2,)"),
    (
        [[mx.zeros(2), mx.zeros(2)], [mx.zeros(2), mx.zeros(1)]],
        "row [1][1] has shape (1,), but row [1][0] has shape (2,)",
    ),
    ([[1.0, mx.array(2.0)], [3.0]], "row 1 has shape (1,), but row 0 has shape (2,)"),
]


@pytest.mark.parametrize(("value", "said"), RAGGED)
@pytest.mark.parametrize("dtype", [None, mx.float16, mx.int64], ids=str)
def test_ragged_input_names_the_row(value, said, dtype):
    for make in (mx.array, mx.asarray):
        with pytest.raises(ValueError, match=re.escape(f"] {said}{REST}") + "$"):
            make(value) if dtype is None else make(value, dtype=dtype)


def test_even_input_is_taken():
    assert mx.array([[], []]).shape == (2, 0)
    assert mx.array([[[], []]] * 3).shape == (3, 2, 0)
    assert mx.array([]).shape == (0,)
    assert mx.array([[1, 2], (3, 4)]).tolist() == [[1, 2], [3, 4]]
    assert mx.array([mx.array([1.0, 2.0]), [3.0, 4.0]]).tolist() == [[1, 2], [3, 4]]


def test_rows_that_are_arrays_are_named_by_stack():
    with pytest.raises(
        ValueError, match=re.escape("[stack] array 1 has shape (3,), but array 0 has shape (2,)")
    ):
        mx.stack([mx.zeros(2), mx.zeros(3)])


# Mismatched trees.


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("jvp", lambda v: mx.jvp(loss, [mx.array([1.0, 2.0])], v)),
        ("hvp", lambda v: mx.hvp(loss, [mx.array([1.0, 2.0])], v)),
        ("linearize", lambda v: mx.linearize(loss, [mx.array([1.0, 2.0])])[1](v)),
        ("vjp", lambda v: mx.vjp(lambda x: x * 2, [mx.array([1.0, 2.0])], v)),
    ],
)
def test_mismatched_directions_are_refused_in_the_name_of_the_transform(name, call):
    for wrong in [[mx.array([1.0])], [mx.array([[1.0, 2.0]])], [], [mx.array([1.0, 2.0])] * 2, [2.0]]:
        with pytest.raises((ValueError, TypeError)) as caught:
            call(wrong)
        assert str(caught.value).startswith(f"[{name}] "), caught.value


@pytest.mark.parametrize("name", ALL)
def test_what_is_no_function_is_refused_in_the_name_of_the_transform(name):
    with pytest.raises(TypeError, match=rf"^\[{name}\] takes a function"):
        ALL[name](3, mx.array([1.0]))


def test_wrong_weights_fail_where_they_are_loaded_with_the_name():
    net = nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3))
    good = dict(tree_flatten(net.parameters()))
    name = next(n for n in good if n.endswith("0.weight"))
    before = good[name].tolist()
    for wrong in [
        mx.array([1]),
        good[name].astype(mx.int32),
        good[name] > 0,
        good[name].astype(mx.complex64),
        mx.zeros((3,)),
        mx.zeros((1, 3, 2)),
    ]:
        with pytest.raises(ValueError, match=rf"^\[load_weights\] .*for parameter {re.escape(name)}"):
            net.load_weights([*{**good, name: wrong}.items()])
        assert net.layers[0].weight.tolist() == before
    # A narrower type of the same kind is how checkpoints are stored.
    net.load_weights([*{**good, name: good[name].astype(mx.float16)}.items()])
    assert net.layers[0].weight.dtype == mx.float16


def test_a_wrong_optimizer_state_fails_at_the_next_step_with_the_path():
    params = {"w": mx.zeros((2, 2)), "b": [mx.zeros(2)]}
    grads = {"w": mx.ones((2, 2)), "b": [mx.ones(2)]}
    first = optim.AdamW(0.1)
    first.apply_gradients(grads, params)

    def loaded(change):
        state = copy.deepcopy(first.state)
        change(state)
        other = optim.AdamW(0.1)
        other.state = state
        return other.apply_gradients(grads, params)

    for change, path in [
        (lambda s: s["w"].update(m=mx.zeros((3,))), "['w']['m']"),
        (lambda s: s["w"].update(v=mx.zeros((2, 2), dtype=mx.int32)), "['w']['v']"),
        (lambda s: s["b"][0].update(m=mx.zeros(())), "['b'][0]['m']"),
        (lambda s: s["b"][0].update(m=None), "['b'][0]['m']"),
    ]:
        with pytest.raises(ValueError, match=re.escape(f"state{path} is ")):
            loaded(change)
    loaded(lambda state: None)


# Names.


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("take", lambda: mx.take(mx.zeros(3), mx.array([7]))),
        ("take_along_axis", lambda: mx.take_along_axis(mx.zeros(3), mx.array([7]), 0)),
        ("put_along_axis", lambda: mx.put_along_axis(mx.zeros(3), mx.array([7]), mx.zeros(1), 0)),
        ("index", lambda: mx.zeros(3)[mx.array([7])]),
        ("index_update", lambda: mx.zeros(3).at[mx.array([7])].add(1.0)),
        ("cross_entropy", lambda: nn.losses.cross_entropy(mx.zeros((1, 3)), mx.array([7]))),
        ("nll_loss", lambda: nn.losses.nll_loss(mx.zeros((1, 3)), mx.array([7]))),
        ("full_like", lambda: mx.full_like(mx.zeros(2), mx.zeros((4, 5)))),
        ("divmod", lambda: mx.divmod(mx.zeros(2), mx.zeros(3))),
        ("minmax", lambda: mx.minmax(mx.zeros((0, 3)), axis=0)),
        ("einsum_path", lambda: mx.einsum_path("ij,jk", mx.zeros((2, 3)), mx.zeros((2, 3)))),
        ("addmm", lambda: mx.addmm(mx.zeros(()), mx.zeros((2, 3)), mx.zeros((2, 3)))),
        ("var", lambda: mx.var(mx.zeros(3), axis=4)),
        ("std", lambda: mx.std(mx.zeros(3), axis=4)),
        ("softmax", lambda: mx.softmax(mx.zeros(3), axis=4)),
        ("where", lambda: mx.where(mx.zeros(2), mx.zeros(3), 1.0)),
        ("add", lambda: mx.add("x", 1)),
        ("arctan2", lambda: mx.arctan2(mx.zeros(2), mx.zeros(3))),
        ("sin", lambda: mx.sin("x")),
        ("unflatten", lambda: mx.unflatten(mx.zeros(3), 0, (2, 2))),
        ("tri", lambda: mx.tri(-1)),
        ("normal", lambda: mx.random.normal((2,), loc=mx.zeros(3))),
    ],
)
def test_an_error_names_the_function_that_was_called(name, call):
    with pytest.raises((ValueError, TypeError, IndexError)) as caught:
        mx.eval(call())
    assert str(caught.value).startswith(f"[{name}] "), caught.value
