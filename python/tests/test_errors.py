"""What bad input gets: an exception of the right kind that names the operation. The library goes on."""

import operator

import covector.core as mx
import numpy as np
import pytest

A = mx.zeros((2, 3))
V = mx.array([1.0, 2.0, 3.0])
I = mx.array([1, 2, 3])  # noqa: E741

CASES = [
    # Shapes.
    (ValueError, "add", lambda: A + mx.zeros((3, 2))),
    (ValueError, "where", lambda: mx.where(mx.zeros(2), V, V)),
    (ValueError, "matmul", lambda: A @ A),
    (ValueError, "matmul", lambda: mx.array(1.0) @ V),
    (ValueError, "matmul", lambda: I @ I),
    (ValueError, "reshape", lambda: A.reshape(-1, 4)),
    (ValueError, "reshape", lambda: A.reshape(-1, -1)),
    (ValueError, "reshape", lambda: A.reshape()),
    (ValueError, "broadcast_to", lambda: mx.broadcast_to(A, (3, 3))),
    (ValueError, "concatenate", lambda: mx.concatenate([A, mx.zeros((3, 2))])),
    (ValueError, "concatenate", lambda: mx.concatenate([])),
    (ValueError, "stack", lambda: mx.stack([V, mx.zeros(2)])),
    (ValueError, "stack", lambda: mx.stack([])),
    (ValueError, "split", lambda: mx.split(mx.zeros(5), 2)),
    (ValueError, "split", lambda: mx.split(mx.zeros(5), -1)),
    (ValueError, "squeeze", lambda: mx.squeeze(A, 0)),
    (ValueError, "zeros", lambda: mx.zeros((-1,))),
    (ValueError, "eye", lambda: mx.eye(-1)),
    (ValueError, "unflatten", lambda: mx.unflatten(A, 0, (3, 3))),
    (ValueError, "roll", lambda: mx.roll(A, (1, 2, 3), (0, 1))),
    (ValueError, "pad", lambda: mx.pad(A, [(1, 1)] * 3)),
    (ValueError, "pad", lambda: mx.pad(A, 1, mode="wrap")),
    (ValueError, "meshgrid", lambda: mx.meshgrid(V, indexing="ab")),
    (ValueError, "tensordot", lambda: mx.tensordot(A, A, axes=3)),
    (ValueError, "diag", lambda: mx.diag(mx.zeros((1, 1, 1)))),
    # Axes.
    (IndexError, "sum", lambda: mx.sum(V, axis=1)),
    (IndexError, "sum", lambda: V.sum(axis=(0, 0))),
    (IndexError, "softmax", lambda: mx.softmax(V, axis=2)),
    (IndexError, "sort", lambda: mx.sort(V, axis=-2)),
    (IndexError, "cumsum", lambda: mx.cumsum(V, axis=1)),
    (IndexError, "argmax", lambda: mx.argmax(V, axis=1)),
    (IndexError, "transpose", lambda: mx.transpose(A, (0, 2))),
    (IndexError, "moveaxis", lambda: mx.moveaxis(A, 0, 2)),
    (IndexError, "swapaxes", lambda: A.swapaxes(0, 2)),
    (IndexError, "expand_dims", lambda: mx.expand_dims(V, 3)),
    (IndexError, "concatenate", lambda: mx.concatenate([V, V], axis=1)),
    (IndexError, "take", lambda: mx.take(V, I, axis=1)),
    (IndexError, "flip", lambda: mx.flip(V, 1)),
    # Values.
    (ValueError, "max", lambda: mx.max(mx.zeros((0,)))),
    (ValueError, "argmin", lambda: mx.argmin(mx.zeros((0,)))),
    (ValueError, "arange", lambda: mx.arange(0, 1, 0)),
    (ValueError, "arange", lambda: mx.arange(True)),
    (ValueError, "linspace", lambda: mx.linspace(0, 1, -1)),
    (ValueError, "clip", lambda: mx.clip(V, None, None)),
    (ValueError, "searchsorted", lambda: mx.searchsorted(V, V, side="middle")),
    (ValueError, "negative", lambda: -mx.array(True)),
    (ValueError, "bitwise_and", lambda: V & V),
    (ValueError, "remainder", lambda: mx.remainder(mx.array(1j), 2)),
    (ValueError, "erf", lambda: mx.erf(mx.array(1j))),
    (ValueError, "floor", lambda: mx.floor(mx.array(1j))),
    (ValueError, "add", lambda: operator.add(V, [1, 2, 3])),
    (ValueError, "add", lambda: operator.add([1, 2, 3], V)),
    (ValueError, "multiply", lambda: V * "text"),
    (ValueError, "add", lambda: mx.add([1], [2])),
    (ValueError, "uniform", lambda: mx.random.uniform(shape=(2,), dtype=mx.int32)),
    (ValueError, "split", lambda: mx.random.split(mx.random.key(0), -1)),
    # Types.
    (TypeError, "", lambda: V + None),
    (TypeError, "", lambda: V < None),
    (TypeError, "", lambda: mx.sum([1, 2])),
    (TypeError, "", lambda: mx.sum(np.ones(2))),
    (TypeError, "", lambda: mx.matmul(1.0, V)),
    (TypeError, "", lambda: mx.stack([1, 2])),
    (TypeError, "", lambda: mx.concatenate(V)),
    (TypeError, "", lambda: mx.reshape(A, 2.0)),
    (TypeError, "", lambda: mx.zeros((2, 3.0))),
    (TypeError, "", lambda: mx.sum(V, axis="0")),
    (TypeError, "", lambda: mx.exp()),
    (TypeError, "exp", lambda: mx.exp(V, V, V)),
    (TypeError, "exp", lambda: mx.exp(V, wrong=1)),
    (TypeError, "add", lambda: mx.add(V)),
    (TypeError, "add", lambda: mx.add(V, V, a=V)),
    (TypeError, "arange", lambda: mx.arange()),
    (TypeError, "arange", lambda: mx.arange("3")),
    (TypeError, "pad", lambda: mx.pad(A, -1)),
    (TypeError, "power", lambda: pow(V, 2, 3)),
]


@pytest.mark.parametrize(("error", "op", "call"), CASES)
def test_bad_calls(error, op, call):
    with pytest.raises(error) as caught:
        mx.eval(call())
    text = str(caught.value)
    if op:
        assert text.startswith("[")
        assert f"[{op}]" in text
    assert len(text) > 10
    assert (V + 1).tolist() == [2, 3, 4]


def test_a_wrong_axis_is_both_kinds_of_error():
    for kind in (ValueError, IndexError, mx.AxisError):
        with pytest.raises(kind, match="out of range"):
            mx.sum(V, axis=5)


def test_in_place_division_of_integers():
    x = mx.array([4, 6])
    with pytest.raises(ValueError, match="in place"):
        x /= 2
    x //= 2
    assert x.tolist() == [2, 3]


def test_integer_edge_cases_do_not_kill_the_process():
    low = mx.array([-(2**31)])
    assert (low // -1).tolist() == [-(2**31)]
    assert (low % -1).tolist() == [0]
    q, r = mx.divmod(mx.array([7, -7]), 0)
    assert (q.tolist(), r.tolist()) == ([0, 0], [7, -7])


def test_another_type_may_know_what_to_do():
    class Knows:
        def __radd__(self, other):
            return "added"

        def __eq__(self, other):
            return "compared"

        __hash__ = None

    assert V + Knows() == "added"
    assert (Knows() == V) == "compared"


def test_comparing_with_what_is_no_number():
    assert (V == [1, 2, 3]) is False
    assert (V != "a") is True
    assert (V == None) is False  # noqa: E711


def test_too_large_a_shape():
    with pytest.raises(ValueError, match="elements"):
        mx.eval(mx.zeros((2**40, 2**40)) + 1)
    with pytest.raises((ValueError, MemoryError)):
        mx.eval(mx.arange(2**50) + 1)
    assert (V + 1).tolist() == [2, 3, 4]
