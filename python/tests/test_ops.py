"""Operations as functions and as methods, with MLX's signatures, against NumPy."""

import inspect
import math

import covector.core as mx
import numpy as np
import pytest

RNG = np.random.default_rng(1)


def check(ours, theirs, rtol=2e-6, atol=1e-6):
    theirs = np.asarray(theirs)
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(np.array(ours), theirs, rtol=rtol, atol=atol)


UNARY = {
    "abs": np.abs,
    "negative": np.negative,
    "sign": np.sign,
    "square": np.square,
    "sqrt": np.sqrt,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "reciprocal": np.reciprocal,
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log2": np.log2,
    "log10": np.log10,
    "log1p": np.log1p,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "tanh": np.tanh,
    "arcsin": np.arcsin,
    "arccos": np.arccos,
    "arctan": np.arctan,
    "arcsinh": np.arcsinh,
    "arctanh": np.arctanh,
    "floor": np.floor,
    "ceil": np.ceil,
    "trunc": np.trunc,
    "isnan": np.isnan,
    "isinf": np.isinf,
    "isfinite": np.isfinite,
    "isposinf": np.isposinf,
    "isneginf": np.isneginf,
    "degrees": np.degrees,
    "radians": np.radians,
    "logical_not": np.logical_not,
    "erf": np.vectorize(math.erf),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "positive": np.positive,
    "round": np.round,
    "conj": np.conj,
    "real": np.real,
    "imag": np.imag,
}


@pytest.mark.parametrize("name", UNARY)
def test_unary(name):
    values = RNG.uniform(0.05, 0.95, (3, 5)).astype(np.float32)
    f = getattr(mx, name)
    check(f(mx.array(values)), UNARY[name](values))
    check(f(mx.array(values).T), UNARY[name](values).T)
    assert f(mx.array(0.5), stream=mx.cpu).shape == ()
    if name not in ("real", "imag"):
        check(f(0.5), UNARY[name](np.float32(0.5)))
        check(f(values), UNARY[name](values))
    with pytest.raises(TypeError):
        f(wrong=1)


METHODS = [
    "abs",
    "square",
    "sqrt",
    "rsqrt",
    "reciprocal",
    "exp",
    "log",
    "log2",
    "log10",
    "sin",
    "cos",
    "log1p",
    "round",
    "conj",
    "tanh",
    "sigmoid",
]


@pytest.mark.parametrize("name", METHODS)
def test_unary_methods(name):
    values = RNG.uniform(0.05, 0.95, 7).astype(np.float32)
    check(getattr(mx.array(values), name)(), UNARY[name](values))
    check(getattr(mx.array(values), name)(stream=mx.cpu), UNARY[name](values))


BINARY = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": np.divide,
    "power": np.power,
    "floor_divide": np.floor_divide,
    "remainder": np.remainder,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "arctan2": np.arctan2,
    "logaddexp": np.logaddexp,
    "equal": np.equal,
    "not_equal": np.not_equal,
    "less": np.less,
    "less_equal": np.less_equal,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
    "logical_and": np.logical_and,
    "logical_or": np.logical_or,
    "logical_xor": np.logical_xor,
}


@pytest.mark.parametrize("name", BINARY)
def test_binary(name):
    a = RNG.uniform(0.5, 3, (2, 1, 4)).astype(np.float32)
    b = RNG.uniform(0.5, 3, (3, 1)).astype(np.float32)
    f = getattr(mx, name)
    check(f(mx.array(a), mx.array(b)), BINARY[name](a, b))
    check(f(mx.array(a), 2.0), BINARY[name](a, np.float32(2)))
    check(f(2, mx.array(a)), BINARY[name](np.float32(2), a))
    check(f(mx.array(a), b), BINARY[name](a, b))
    check(f(1.5, 2.5), BINARY[name](np.float32(1.5), np.float32(2.5)))


def test_keywords_and_aliases():
    a, b = mx.array([1.0, 2.0]), mx.array([3.0, 4.0])
    assert mx.add(a=a, b=b).tolist() == mx.add(a, b=b).tolist() == [4, 6]
    for alias, name in [
        ("acos", "arccos"),
        ("atan2", "arctan2"),
        ("pow", "power"),
        ("concat", "concatenate"),
        ("bitwise_left_shift", "left_shift"),
        ("cumulative_sum", "cumsum"),
    ]:
        assert callable(getattr(mx, alias))
        assert getattr(mx, alias).__doc__ == getattr(mx, name).__doc__


def test_operators():
    values = np.array([7, -7, 3], np.int32)
    x = mx.array(values)
    for text in [
        "x + 2",
        "2 - x",
        "x * x",
        "x // 2",
        "7 // x",
        "x % 3",
        "-x",
        "abs(x)",
        "x & 3",
        "6 | x",
        "x ^ 1",
        "x << 2",
        "x >> 1",
        "~x",
        "x == 3",
        "x != 3",
        "x < 3",
        "3 <= x",
        "x > x",
        "x >= 0",
        "+x",
    ]:
        ours, theirs = eval(text, {"x": x}), eval(text, {"x": values})
        np.testing.assert_array_equal(np.array(ours), theirs, err_msg=text)
    y = mx.array([2.0, 0.5])
    check(y**2, np.array([4, 0.25]))
    check(2**y, np.array([4, 2**0.5]))
    check(1 / y, np.array([0.5, 2]))
    check(y @ y, np.float32(4.25))


def test_operators_in_place():
    for text in [
        "x += 2",
        "x -= 2",
        "x *= 3",
        "x //= 2",
        "x %= 4",
        "x **= 2",
        "x &= 6",
        "x |= 1",
        "x ^= 5",
        "x <<= 1",
        "x >>= 1",
    ]:
        ours, theirs = {"x": mx.array([7, 3])}, {"x": np.array([7, 3])}
        alias = ours["x"]
        exec(text, ours)
        exec(text, theirs)
        assert ours["x"] is alias
        assert alias.tolist() == theirs["x"].tolist(), text
    x = mx.array([1, 2])
    x += 1.5
    assert x.dtype == mx.float32
    m = mx.array([[1.0, 2.0], [3.0, 4.0]])
    m @= m
    m /= 2
    assert m.tolist() == [[3.5, 5], [7.5, 11]]


REDUCTIONS = {
    "sum": np.sum,
    "mean": np.mean,
    "prod": np.prod,
    "max": np.max,
    "min": np.min,
    "all": np.all,
    "any": np.any,
    "var": np.var,
    "std": np.std,
    "median": np.median,
    "logsumexp": lambda x, axis=None, keepdims=False: np.log(np.sum(np.exp(x), axis=axis, keepdims=keepdims)),
}


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize("axis", [None, 0, -1, (0, 2), [1], ()], ids=str)
@pytest.mark.parametrize("keepdims", [False, True])
def test_reductions(name, axis, keepdims):
    values = RNG.uniform(0.5, 2, (2, 3, 4)).astype(np.float32)
    x = mx.array(values)
    if axis == () and name == "median":
        pytest.skip("NumPy's median needs an axis")
    theirs = REDUCTIONS[name](values, axis=tuple(axis) if isinstance(axis, list) else axis, keepdims=keepdims)
    check(getattr(mx, name)(x, axis, keepdims), theirs, rtol=1e-5)
    check(getattr(mx, name)(x, axis=axis, keepdims=keepdims, stream=mx.cpu), theirs, rtol=1e-5)
    if name != "median":
        check(getattr(x, name)(axis, keepdims=keepdims), theirs, rtol=1e-5)


def test_more_reductions():
    values = RNG.standard_normal((3, 4)).astype(np.float32)
    x = mx.array(values)
    check(mx.var(x, ddof=1), values.var(ddof=1), rtol=1e-5)
    check(x.std(axis=0, correction=1), values.std(axis=0, ddof=1), rtol=1e-5)
    with pytest.raises(ValueError, match="ddof"):
        mx.var(x, ddof=-1)
    for name in ("argmax", "argmin"):
        for axis in (None, 0, -1):
            theirs = getattr(np, name)(values, axis=axis)
            np.testing.assert_array_equal(np.array(getattr(mx, name)(x, axis)), theirs)
            np.testing.assert_array_equal(np.array(getattr(x, name)(axis=axis)), theirs)
    assert mx.argmax(x, keepdims=True).shape == (1, 1)
    assert mx.argmax(x, axis=1, keepdims=True).shape == (3, 1)
    low, high = mx.minmax(x, axis=0)
    check(low, values.min(axis=0))
    check(high, values.max(axis=0))
    assert mx.count_nonzero(mx.array([0, 3, 0, 1])).item() == 2
    check(mx.softmax(x, axis=-1).sum(axis=-1), np.ones(3), rtol=1e-5)
    assert mx.softmax(x.astype(mx.float16), precise=True).dtype == mx.float16


def test_cumulative():
    values = RNG.integers(1, 5, (3, 4)).astype(np.float32)
    x = mx.array(values)
    for name, theirs in [
        ("cumsum", np.cumsum),
        ("cumprod", np.cumprod),
        ("cummax", np.maximum.accumulate),
        ("cummin", np.minimum.accumulate),
    ]:
        for axis in (0, 1):
            check(getattr(mx, name)(x, axis), theirs(values, axis=axis))
            check(getattr(x, name)(axis=axis), theirs(values, axis=axis))
            check(
                getattr(mx, name)(x, axis, reverse=True),
                np.flip(theirs(np.flip(values, axis), axis=axis), axis),
            )
    check(mx.cumsum(x), np.cumsum(values))
    assert mx.cumsum(mx.array([1, 2, 3]), inclusive=False).tolist() == [0, 1, 3]
    assert mx.cumsum(mx.array([1, 2]), dtype=mx.float16).dtype == mx.float16
    check(mx.logcumsumexp(x, axis=1), np.log(np.cumsum(np.exp(values), axis=1)), rtol=1e-5)


def test_sorting():
    values = RNG.permutation(24).reshape(4, 6).astype(np.float32)
    x = mx.array(values)
    check(mx.sort(x), np.sort(values))
    check(mx.sort(x, axis=0), np.sort(values, axis=0))
    check(mx.sort(x, axis=None), np.sort(values, axis=None))
    np.testing.assert_array_equal(np.array(mx.argsort(x, 1)), np.argsort(values, 1))
    assert sorted(mx.topk(x, 2, axis=None).tolist()) == [22, 23]
    part = np.array(mx.partition(x, 2, axis=1))
    np.testing.assert_array_equal(part[:, 2], np.sort(values, 1)[:, 2])
    order = mx.argpartition(x, 2, axis=1)
    np.testing.assert_array_equal(np.sort(np.array(order), 1), np.tile(np.arange(6), (4, 1)))
    edges = mx.array([1.0, 3.0, 5.0])
    assert mx.searchsorted(edges, mx.array([0.0, 3.0, 6.0])).tolist() == [0, 1, 3]
    assert mx.searchsorted(edges, mx.array([0.0, 3.0, 6.0]), side="right").tolist() == [0, 2, 3]
    assert mx.diff(mx.array([1, 4, 9, 16]), n=2).tolist() == [2, 2]


def test_shapes():
    x = mx.arange(24).reshape(2, 3, 4)
    assert x.reshape((4, 6)).shape == x.reshape([4, -1]).shape == mx.reshape(x, (4, 6)).shape == (4, 6)
    assert x.transpose().shape == mx.transpose(x).shape == x.T.shape == (4, 3, 2)
    assert (
        x.transpose(1, 0, 2).shape
        == x.transpose([1, 0, 2]).shape
        == mx.permute_dims(x, (1, 0, 2)).shape
        == (3, 2, 4)
    )
    assert x.flatten().shape == mx.flatten(x).shape == (24,)
    assert x.flatten(1).shape == mx.flatten(x, start_axis=1, end_axis=2).shape == (2, 12)
    assert mx.unflatten(x, -1, (2, -1)).shape == (2, 3, 2, 2)
    assert mx.expand_dims(x, [0, -1]).shape == (1, 2, 3, 4, 1)
    assert x.moveaxis(0, -1).shape == mx.moveaxis(x, 0, -1).shape == (3, 4, 2)
    assert x.swapaxes(0, 2).shape == mx.swapaxes(x, 0, 2).shape == (4, 3, 2)
    assert mx.matrix_transpose(x).shape == (2, 4, 3)
    assert mx.broadcast_to(mx.arange(4), (3, 4)).shape == (3, 4)
    assert mx.broadcast_shapes((2, 1), (3,), ()) == (2, 3)
    assert [a.shape for a in mx.broadcast_arrays(mx.zeros((2, 1)), mx.zeros(3))] == [(2, 3), (2, 3)]


def test_squeezing():
    x = mx.zeros((1, 2, 1))
    assert x.squeeze().shape == mx.squeeze(x).shape == (2,)
    assert x.squeeze(0).shape == mx.squeeze(x, axis=0).shape == (2, 1)
    assert mx.squeeze(x, (0, -1)).shape == (2,)


def test_joining_and_splitting():
    a, b = mx.arange(6).reshape(2, 3), mx.arange(6, 12).reshape(2, 3)
    n, m = np.array(a), np.array(b)
    for axis in (0, 1, -1):
        check(mx.concatenate([a, b], axis), np.concatenate([n, m], axis))
        check(mx.stack((a, b), axis), np.stack([n, m], axis))
    check(mx.concatenate([a, b], axis=None), np.concatenate([n, m], axis=None))
    check(mx.stack([a, b]), np.stack([n, m]))
    x = mx.arange(10)
    assert [p.tolist() for p in mx.split(x, 2)] == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]
    assert [p.tolist() for p in x.split([2, 5])] == [[0, 1], [2, 3, 4], [5, 6, 7, 8, 9]]
    assert [p.shape for p in mx.split(a, 3, axis=1)] == [(2, 1)] * 3
    assert [p.tolist() for p in mx.unstack(a, axis=1)] == [[0, 3], [1, 4], [2, 5]]


def test_repeating_and_moving():
    values = np.arange(6).reshape(2, 3)
    x = mx.array(values)
    check(mx.tile(x, 2), np.tile(values, 2))
    check(mx.tile(x, (2, 1, 3)), np.tile(values, (2, 1, 3)))
    check(mx.repeat(x, 2), np.repeat(values, 2))
    check(mx.repeat(x, 3, axis=1), np.repeat(values, 3, 1))
    check(mx.roll(x, 1), np.roll(values, 1))
    check(mx.roll(x, (1, -1), (0, 1)), np.roll(values, (1, -1), (0, 1)))
    check(mx.roll(x, (1, 2), 1), np.roll(values, 3, 1))
    check(mx.flip(x), np.flip(values))
    check(mx.flip(x, 1), np.flip(values, 1))
    for f in (mx.tril, mx.triu):
        for k in (-1, 0, 1):
            check(f(x, k), getattr(np, f.__name__)(values, k))
    check(mx.diag(x, 1), np.diag(values, 1))
    check(mx.diag(mx.array([1, 2]), -1), np.diag([1, 2], -1))
    check(mx.diagonal(x, offset=1), np.diagonal(values, 1))
    assert mx.trace(x).item() == np.trace(values)


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect", "symmetric"])
@pytest.mark.parametrize("width", [1, (2, 1), [(1, 2), (0, 3)], ((1, 1), (2, 0))], ids=str)
def test_pad(mode, width):
    values = np.arange(12).reshape(3, 4)
    check(mx.pad(mx.array(values), width, mode=mode), np.pad(values, width, mode=mode))
    if mode == "constant":
        check(mx.pad(mx.array(values), width, constant_values=7), np.pad(values, width, constant_values=7))


def test_choosing():
    x = mx.array([-2.0, 0.5, 3.0])
    assert mx.clip(x, -1, 1).tolist() == [-1, 0.5, 1]
    assert mx.clip(x, None, 1).tolist() == [-2, 0.5, 1]
    assert mx.clip(x, a_min=mx.array([0.0, 1.0, 5.0]), a_max=None).tolist() == [0, 1, 5]
    assert mx.where(x > 0, x, 0).tolist() == [0, 0.5, 3]
    assert mx.where(mx.array([True, False]), 1, 2).tolist() == [1, 2]
    assert mx.nan_to_num(mx.array([float("nan"), float("inf")]), nan=1, posinf=2).tolist() == [1, 2]
    assert mx.round(mx.array([1.25, -1.35]), 1).tolist() == pytest.approx([1.2, -1.4])
    assert mx.round(mx.array([15, 25]), -1).tolist() == [20, 20]


def test_comparing_arrays():
    nan = float("nan")
    a = mx.array([1.0, nan])
    assert mx.array_equal(a, a).item() is False
    assert mx.array_equal(a, a, equal_nan=True).item() is True
    assert mx.array_equal(a, mx.zeros(3)).item() is False
    assert mx.isclose(a, a + 1e-7, equal_nan=True).tolist() == [True, True]
    assert mx.allclose(mx.ones(2), mx.ones(2) + 1e-3).item() is False
    assert mx.allclose(mx.ones(2), mx.ones(2) + 1e-3, 1e-2).item() is True


def test_products():
    a, b = RNG.standard_normal((2, 3, 4)).astype(np.float32), RNG.standard_normal((4, 5)).astype(np.float32)
    x, y = mx.array(a), mx.array(b)
    check(mx.matmul(x, y), a @ b, rtol=1e-5)
    check(x @ y, a @ b, rtol=1e-5)
    check(mx.addmm(mx.ones(5), x, y, alpha=2.0, beta=3.0), 2 * (a @ b) + 3, rtol=1e-5)
    check(mx.inner(x, x), np.inner(a, a), rtol=1e-5, atol=1e-5)
    check(mx.outer(y[0], y[1]), np.outer(b[0], b[1]))
    check(mx.tensordot(x, y, axes=1), np.tensordot(a, b, axes=1), rtol=1e-5)
    check(mx.tensordot(x, x, axes=[[0, 1], [0, 1]]), np.tensordot(a, a, axes=[[0, 1], [0, 1]]), rtol=1e-5)
    check(mx.vecdot(x, x), np.sum(a * a, -1), rtol=1e-5)
    check(mx.kron(y[0], y[1]), np.kron(b[0], b[1]))
    q, r = mx.divmod(mx.array([7.0, -7.0]), 2)
    assert (q.tolist(), r.tolist()) == ([3, -4], [1, 1])


def test_making():
    check(mx.eye(3, 4, k=1), np.eye(3, 4, 1))
    check(mx.tri(3, 2, -1), np.tri(3, 2, -1))
    check(mx.linspace(0, 1, 5), np.linspace(0, 1, 5))
    check(mx.linspace(0, 1, 5, endpoint=False), np.linspace(0, 1, 5, endpoint=False))
    check(mx.arange(1, 2, 0.25), np.arange(1, 2, 0.25))
    check(mx.arange(5, 0, -2), np.arange(5, 0, -2))
    check(mx.arange(stop=3), np.arange(3))
    assert mx.zeros(3).shape == (3,)
    assert mx.ones_like(mx.zeros((2, 2), mx.int8)).dtype == mx.int8
    assert mx.full((2, 2), mx.array([1, 2])).tolist() == [[1, 2], [1, 2]]
    for ours, theirs in zip(
        mx.meshgrid(mx.arange(2), mx.arange(3)), np.meshgrid(range(2), range(3)), strict=True
    ):
        check(ours, theirs)
    assert [a.shape for a in mx.meshgrid(mx.arange(2), mx.arange(3), sparse=True, indexing="ij")] == [
        (2, 1),
        (1, 3),
    ]
    assert mx.atleast_2d(3).shape == (1, 1)
    assert [a.shape for a in mx.atleast_1d(mx.array(1), mx.zeros(2))] == [(1,), (2,)]
    for name in ("hanning", "hamming", "blackman", "bartlett"):
        check(getattr(mx, name)(7), getattr(np, name)(7))
        assert getattr(mx, name)(1).tolist() == [1]


def test_constants():
    assert (mx.pi, mx.e, mx.inf, mx.newaxis) == (math.pi, math.e, math.inf, None)
    assert math.isnan(mx.nan)


def test_signatures_are_there_to_be_read():
    assert str(inspect.signature(mx.sum)) == "(a, /, axis=None, keepdims=False, *, stream=None)"
    assert list(inspect.signature(mx.array.mean).parameters) == ["self", "axis", "keepdims", "stream"]
    assert "stream" in inspect.signature(mx.exp).parameters


SQUARED = (mx.float32, mx.float16, mx.bfloat16, mx.int32, mx.uint8, mx.complex64, mx.bool_)


@pytest.mark.parametrize("dtype", SQUARED)
def test_a_literal_square_is_a_product_of_the_same_type(dtype):
    a = mx.array([-3, 0, 2, 7]).astype(dtype)
    for two in (2, 2.0):
        got = a**two
        want = mx.power(a, mx.array(two).astype(got.dtype))
        assert got.tolist() == mx.power(a, two).tolist()
        assert mx.allclose(got.astype(mx.complex64), want.astype(mx.complex64), rtol=1e-5).item()
        b = mx.array(a)
        b **= two
        assert b.tolist() == got.tolist()
        assert b.dtype == got.dtype


def test_the_derivative_of_a_literal_square():
    x = mx.array([3.0, 0.0, -1.5])
    assert mx.grad(lambda x: (x**2).sum())(x).tolist() == [6.0, 0.0, -3.0]
    assert mx.grad(lambda x: mx.grad(lambda x: (x**2).sum())(x).sum())(x).tolist() == [2.0, 2.0, 2.0]
