"""Ranges, random integers, complex functions, quotients and counts against NumPy, at the edges of types."""

import covector.core as mx
import numpy as np
import pytest

INF, NAN = float("inf"), float("nan")


def values(x):
    return np.array(x.astype(mx.float32) if x.dtype == mx.bfloat16 else x)


@pytest.mark.parametrize(
    "bounds",
    [
        (2**60, 2**60 + 3),
        (0, 2**62, 2**60),
        (-(2**63), 2**63 - 1, 2**62),
        (10, 0, -3),
        (5, 5),
        (2**31 - 2, 2**31 + 1),
        (0.0, 1.0, 0.1),
        (0.5, 5, 1.5),
        (0.0, 1e5, 0.1),
        (3, -3.0, -0.7),
    ],
)
@pytest.mark.parametrize("dtype", ["int32", "int64", "float32", "float64"])
def test_ranges_are_those_of_numpy(bounds, dtype):
    got = np.array(mx.arange(*bounds, dtype=getattr(mx, dtype)))
    if dtype.startswith("int") and all(isinstance(v, int) for v in bounds):
        want = np.arange(*bounds, dtype=np.int64).astype(dtype)
        np.testing.assert_array_equal(got, want)
        return
    want = np.arange(*bounds, dtype="int64" if dtype.startswith("int") else "float64").astype(dtype)
    assert (got.shape, got.dtype) == (want.shape, want.dtype)
    np.testing.assert_allclose(got, want, rtol=1e-7 if dtype == "float32" else 1e-12, atol=1e-10)


def test_ranges_do_not_drift():
    assert mx.arange(0.0, 1e5, 0.1)[-1].item() == np.float32(99999.9)
    assert mx.arange(0, 300, dtype=mx.bfloat16)[280].item() == 280
    assert mx.arange(2**60, 2**60 + 3, dtype=mx.int64).tolist() == [2**60, 2**60 + 1, 2**60 + 2]
    assert mx.arange(2**63, 2**63 + 2).tolist() == [2**63, 2**63 + 1]
    assert mx.arange(10, 0, INF).tolist() == []
    assert mx.arange(0, 10, INF).tolist() == [0]
    assert mx.linspace(0, 10, 11, dtype=mx.int32).tolist() == list(range(11))
    for bad in [(0, 5, 0), (0, 5, NAN), (0, INF), (NAN, 5), (0, 2**62)]:
        with pytest.raises(ValueError, match="arange"):
            mx.arange(*bad)


@pytest.mark.parametrize(
    ("low", "high", "dtype"),
    [
        (2**25, 2**25 + 8, "int32"),
        (2**20, 2**20 + 8, "int32"),
        (2**40, 2**40 + 16, "int64"),
        (2**64 - 8, 2**64, "uint64"),
        (-(2**63), -(2**63) + 8, "int64"),
        (0, 256, "uint8"),
        (-128, 128, "int8"),
    ],
)
def test_random_integers_take_every_value_and_no_other(low, high, dtype):
    drawn = mx.random.randint(low, high, (10000,), dtype=getattr(mx, dtype), key=mx.random.key(1))
    assert sorted(set(drawn.tolist())) == list(range(low, high))


def test_random_integers_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="uint8 holds 0 to 255"):
        mx.random.randint(0, 257, (3,), dtype=mx.uint8)
    # An empty range gives its start, as MLX has it.
    assert mx.random.randint(10, -10, (3,)).tolist() == [10, 10, 10]


@pytest.mark.parametrize("bounds", [(8.0, 9.0), (-INF, -30.0), (-INF, INF), (5.0, INF), (2.0, 2.0)])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_truncated_normal_numbers_are_finite_and_inside(bounds, dtype):
    x = values(mx.random.truncated_normal(*bounds, (500,), dtype=getattr(mx, dtype), key=mx.random.key(2)))
    assert np.isfinite(x).all()
    assert ((x >= bounds[0]) & (x <= bounds[1])).all()


def grid(parts):
    parts = np.array(parts, np.float32)
    z = np.empty(len(parts) ** 2, np.complex64)
    z.real, z.imag = np.repeat(parts, len(parts)), np.tile(parts, len(parts))
    return z


PARTS = [0, -0.0, 1e-45, 1e-38, -1e-30, 1e-10, 1e-6, -1e-3, 0.5, -0.5, 1, -1, 1 - 2**-24, 1 + 2**-23, 2, -2]
PARTS += [np.pi, -np.pi / 2, 10, -50, 88, -104, 1e4, -1e6, 1e20, -1e30, 1e38, 3.4e38, INF, -INF, NAN]
FUNCTIONS = ["sqrt", "exp", "log", "log2", "log10", "sin", "cos", "tan", "sinh", "cosh", "tanh", "square"]
FUNCTIONS += ["arcsin", "arccos", "arctan", "arcsinh", "arccosh", "arctanh", "reciprocal", "abs", "sign"]


def check_complex(got, want, zeros=True):
    """Each part within two units of float32 of the modulus; infinities, NaN, signs of zeros as they are."""
    with np.errstate(all="ignore"):
        rounded = want.astype(np.complex64)
        size = np.where(np.isfinite(want), np.abs(want), 0)
        for g, w, r in [(got.real, want.real, rounded.real), (got.imag, want.imag, rounded.imag)]:
            same = (g == r) | (np.isnan(g) & np.isnan(r))
            near = np.isfinite(g) & np.isfinite(r) & (np.abs(g - w) <= 2.4e-7 * size + 3e-45)
            assert (same | near).all(), (got[~(same | near)][:3], rounded[~(same | near)][:3])
            if zeros:
                assert (np.signbit(g) == np.signbit(r))[(g == 0) & (w == 0)].all()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_complex_functions_are_those_of_numpy(name):
    z = grid(PARTS)
    got = np.array(getattr(mx, name)(mx.array(z))).astype(np.complex64)
    with np.errstate(all="ignore"):
        want = getattr(np, name)(z.astype(np.complex128)).astype(np.complex128)
    if name == "abs":
        got, want = got.real + 0j, want.real + 0j
    check_complex(got, want, zeros=name not in ("cos", "cosh", "square", "reciprocal"))


def test_quotients_of_complex_numbers_do_not_overflow():
    z = grid([0, 1e-38, -1e-30, 1e-6, 0.5, -1, 50, -1e20, 1e30, 1e38, INF, NAN])
    a, b = np.repeat(z, len(z)), np.tile(z, len(z))
    with np.errstate(all="ignore"):
        want = a.astype(np.complex128) / b.astype(np.complex128)
    check_complex(np.array(mx.array(a) / mx.array(b)), want, zeros=False)
    for v in (1e30 + 1e30j, 1e-30 + 0j):
        assert (mx.array(v) / mx.array(v)).item() == 1


def test_complex_functions_beyond_numpy():
    z = grid([0.0, 1e-20, 1e-6, -0.3, 0.5, 1.0, -2.0, 30.0, -40.0])
    w = z.astype(np.complex128)
    tiny = np.abs(w) < 1e-5
    expm1, log1p = np.array(mx.expm1(mx.array(z))), np.array(mx.log1p(mx.array(z)))
    check_complex(expm1[~tiny], np.expm1(w)[~tiny], zeros=False)
    check_complex(expm1[tiny], (w + w * w / 2)[tiny], zeros=False)
    check_complex(log1p[tiny], (w - w * w / 2)[tiny], zeros=False)
    check_complex(np.array(mx.sigmoid(mx.array(z))), 1 / (1 + np.exp(-w)), zeros=False)
    both = np.array(mx.logaddexp(mx.array(z), mx.array(z[::-1].copy())))
    want = np.log(np.exp(w) + np.exp(w[::-1]))
    np.testing.assert_allclose(both, want, atol=2e-6)
    running = mx.logcumsumexp(mx.array(z[:20]))
    np.testing.assert_allclose(running, np.log(np.cumsum(np.exp(w[:20]))), atol=3e-6)
    edges = mx.array([complex(INF, 0), complex(-INF, 0), complex(INF, 1), complex(NAN, -INF)])
    assert mx.isposinf(edges).tolist() == [True, False, False, False]
    assert mx.isneginf(edges).tolist() == [False, True, False, False]
    np.testing.assert_array_equal(mx.nan_to_num(edges), np.nan_to_num(np.array(edges)))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_quotients_and_remainders_are_those_of_numpy(dtype):
    x = np.array([0, -0.0, 1, -1, 0.1, -0.1, 0.3, 2.5, -2.5, 3, 7, 100.25, 6e4, INF, -INF, NAN], dtype)
    a, b = x[:, None], x[None, :]
    with np.errstate(all="ignore"):
        p, q = (mx.array(v, dtype=getattr(mx, dtype)) for v in (a, b))
        np.testing.assert_array_equal(p // q, a // b)
        np.testing.assert_array_equal(p % q, a % b)
    assert (mx.array(1.0) // mx.array(0.1)).item() == 9
    assert (mx.array(1.0) // mx.array(-INF)).item() == -1


def test_counts_beyond_32_bits():
    assert mx.sum(mx.ones((2**31,), dtype=mx.bool_)).item() == 2**31
    assert mx.sum(mx.ones((5,), dtype=mx.bool_)).dtype == mx.int32
    assert mx.round(mx.array([123456789, 125, 135]), -1).tolist() == [123456790, 120, 140]
    assert mx.round(mx.array([1.5, 3e38]), 400).tolist() == [1.5, np.float32(3e38)]
    assert (mx.array([2**63], dtype=mx.uint64) > mx.array([-1])).tolist() == [True]
    assert (mx.array([2**53 + 1], dtype=mx.uint64) == mx.array([2**53], dtype=mx.int64)).tolist() == [False]
