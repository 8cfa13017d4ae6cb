"""Element types: promotion, weak numbers, what operations give, and what is asked about types."""

import operator

import covector.core as mx
import numpy as np
import pytest

NAMES = [
    "bool_",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "int8",
    "int16",
    "int32",
    "int64",
    "float16",
    "bfloat16",
    "float32",
    "float64",
    "complex64",
]
DTYPES = [getattr(mx, n) for n in NAMES]
SHORT = dict(
    zip(
        ["b", "u8", "u16", "u32", "u64", "i8", "i16", "i32", "i64", "f16", "bf16", "f32", "f64", "c64"],
        DTYPES,
        strict=True,
    )
)
INTS = DTYPES[1:9]
FLOATS = DTYPES[9:13]
PROMOTE = """
b    u8   u16  u32  u64  i8   i16  i32  i64  f16  bf16 f32  f64  c64
u8   u8   u16  u32  u64  i16  i16  i32  i64  f16  bf16 f32  f64  c64
u16  u16  u16  u32  u64  i32  i32  i32  i64  f16  bf16 f32  f64  c64
u32  u32  u32  u32  u64  i64  i64  i64  i64  f16  bf16 f32  f64  c64
u64  u64  u64  u64  u64  f32  f32  f32  f32  f16  bf16 f32  f64  c64
i8   i16  i32  i64  f32  i8   i16  i32  i64  f16  bf16 f32  f64  c64
i16  i16  i32  i64  f32  i16  i16  i32  i64  f16  bf16 f32  f64  c64
i32  i32  i32  i64  f32  i32  i32  i32  i64  f16  bf16 f32  f64  c64
i64  i64  i64  i64  f32  i64  i64  i64  i64  f16  bf16 f32  f64  c64
f16  f16  f16  f16  f16  f16  f16  f16  f16  f16  f32  f32  f64  c64
bf16 bf16 bf16 bf16 bf16 bf16 bf16 bf16 bf16 f32  bf16 f32  f64  c64
f32  f32  f32  f32  f32  f32  f32  f32  f32  f32  f32  f32  f64  c64
f64  f64  f64  f64  f64  f64  f64  f64  f64  f64  f64  f64  f64  c64
c64  c64  c64  c64  c64  c64  c64  c64  c64  c64  c64  c64  c64  c64
"""
TABLE = [[SHORT[name] for name in row.split()] for row in PROMOTE.strip().splitlines()]


@pytest.mark.parametrize("i", range(14), ids=NAMES)
@pytest.mark.parametrize("j", range(14), ids=NAMES)
def test_promotion(i, j):
    a, b = mx.ones(2, DTYPES[i]), mx.ones((), DTYPES[j])
    expected = TABLE[i][j]
    assert mx.result_type(a, DTYPES[j]) == expected
    assert (a + b).dtype == (a * b).dtype == mx.maximum(a, b).dtype == expected
    assert mx.where(True, a, b).dtype == mx.concatenate([a, b[None]]).dtype == expected
    assert (a == b).dtype == mx.bool_
    assert (a / b).dtype == (expected if mx.issubdtype(expected, mx.inexact) else mx.float32)


@pytest.mark.parametrize("dtype", DTYPES, ids=NAMES)
def test_python_numbers_are_weak(dtype):
    a = mx.ones(2, dtype)
    inexact = mx.issubdtype(dtype, mx.inexact)
    table = {
        True: dtype,
        3: mx.int32 if dtype == mx.bool_ else dtype,
        1.5: dtype if inexact else mx.float32,
        1j: mx.complex64,
    }
    for scalar, expected in table.items():
        for f in (operator.add, operator.mul, mx.add, mx.maximum):
            assert f(a, scalar).dtype == f(scalar, a).dtype == expected
        assert mx.where(True, a, scalar).dtype == mx.where(True, scalar, a).dtype == expected
        b = mx.ones(2, dtype)
        b += scalar
        assert b.dtype == expected


def test_two_numbers():
    assert mx.add(True, True).dtype == mx.bool_
    assert mx.add(1, True).dtype == mx.int32
    assert mx.add(1, 2**40).dtype == mx.int64
    assert mx.add(1, 2.0).dtype == mx.float32
    assert mx.multiply(1.0, 1j).dtype == mx.complex64


def test_double_precision_keeps_the_digits_of_a_number():
    assert (mx.array(0.0, mx.float64) + 0.1).item() == 0.1
    assert (mx.array(1.0) + 2**60).item() == 2.0**60


@pytest.mark.parametrize("value", [300, -1, 2**70])
def test_integers_must_fit(value):
    x = mx.array([1], mx.uint8)
    for f in (operator.add, operator.mul, mx.minimum):
        with pytest.raises(ValueError, match=r"overflow"):
            f(x, value)
    assert (x - 1).item() == 0
    assert (mx.array([1.0], mx.float16) + 100000).item() == float("inf")


def test_numpy_beside_arrays_is_weak_in_width_only():
    assert (mx.array([1.0], mx.float16) + np.ones(1, np.float32)).dtype == mx.float16
    assert (mx.array([1]) + np.ones(1, np.int64)).dtype == mx.int32
    out = mx.array([1, 2]) + np.array([1.5, 2.5])
    assert out.dtype == mx.float32
    assert out.tolist() == [2.5, 4.5]
    assert (mx.array([1.0]) * np.float64(2)).dtype == mx.float32
    assert (mx.array([1]) + np.float32(1.5)).item() == 2.5
    assert mx.add(np.ones(2, np.float32), 1).dtype == mx.float32


def test_an_array_wins_over_numpy_on_the_left():
    out = np.ones(2) + mx.ones(2)
    assert isinstance(out, mx.array)
    assert out.dtype == mx.float32
    assert out.tolist() == [2, 2]


FLOAT_FUNCTIONS = [
    "sqrt",
    "rsqrt",
    "reciprocal",
    "exp",
    "log",
    "log2",
    "log10",
    "log1p",
    "sin",
    "cos",
    "tan",
    "sinh",
    "cosh",
    "tanh",
    "arcsin",
    "arccos",
    "arctan",
    "arcsinh",
    "arccosh",
    "arctanh",
    "degrees",
    "radians",
    "softmax",
    "logsumexp",
    "expm1",
    "erf",
    "erfinv",
    "sigmoid",
    "mean",
    "var",
    "std",
]


@pytest.mark.parametrize("function", FLOAT_FUNCTIONS)
def test_functions_that_make_floats(function):
    f = getattr(mx, function)
    for dtype in DTYPES[:13]:
        assert f(mx.zeros(2, dtype)).dtype == (dtype if dtype in FLOATS else mx.float32)


def test_functions_that_keep_the_type():
    for dtype in DTYPES[:13]:
        x = mx.ones((2, 2), dtype)
        for f in (
            mx.abs,
            mx.sign,
            mx.square,
            mx.floor,
            mx.ceil,
            mx.trunc,
            mx.round,
            mx.sort,
            mx.max,
            mx.tril,
            mx.conj,
            mx.real,
            mx.imag,
            mx.stop_gradient,
            mx.positive,
        ):
            assert f(x).dtype == dtype, f
        for f in (mx.isnan, mx.isinf, mx.isfinite, mx.logical_not, mx.all, mx.any):
            assert f(x).dtype == mx.bool_
        for f in (mx.argmax, mx.argmin, mx.argsort):
            assert f(x).dtype == mx.uint32
    z = mx.ones(2, mx.complex64)
    assert mx.abs(z).dtype == mx.real(z).dtype == mx.imag(z).dtype == mx.var(z).dtype == mx.float32


@pytest.mark.parametrize(
    ("dtype", "total"),
    [
        ("bool_", "int32"),
        ("uint8", "uint32"),
        ("uint16", "uint32"),
        ("uint32", "uint32"),
        ("uint64", "uint64"),
        ("int8", "int32"),
        ("int16", "int32"),
        ("int32", "int32"),
        ("int64", "int64"),
        ("float16", "float16"),
        ("complex64", "complex64"),
    ],
)
def test_sums(dtype, total):
    x = mx.ones((300, 2), getattr(mx, dtype))
    for f in (mx.sum, mx.prod, mx.trace):
        assert f(x).dtype == getattr(mx, total)
    assert x.sum(axis=0).tolist() == [300, 300]
    assert mx.cumsum(x).dtype == (mx.int32 if dtype == "bool_" else x.dtype)


def test_creation_defaults():
    for f in (mx.zeros, mx.ones, mx.eye, mx.identity, mx.tri):
        assert f(2).dtype == mx.float32
        assert f(2, dtype=mx.int8).dtype == mx.int8
    assert mx.arange(3).dtype == mx.int32
    assert mx.arange(2**31, 2**31 + 2).dtype == mx.int64
    assert mx.arange(3.0).dtype == mx.arange(0, 1, 0.5).dtype == mx.float32
    assert mx.arange(3.5, dtype=mx.int32).tolist() == [0, 1, 2, 3]
    assert mx.arange(-1, 3, dtype=mx.uint8).tolist() == [255, 0, 1, 2]
    assert mx.linspace(0, 10, 5, dtype=mx.int32).tolist() == [0, 2, 5, 7, 10]


@pytest.mark.parametrize(
    ("value", "dtype", "expected"),
    [
        (1, None, "int32"),
        (1.5, None, "float32"),
        (True, None, "bool_"),
        (1.5, "int32", "float32"),
        (1, "bool_", "int32"),
        (1j, "float32", "complex64"),
        (1, "uint8", "uint8"),
        (1.0, "bfloat16", "bfloat16"),
    ],
)
def test_full(value, dtype, expected):
    out = mx.full((2,), value, dtype=None if dtype is None else getattr(mx, dtype))
    assert out.dtype == getattr(mx, expected)
    assert out.tolist() == [value, value]
    assert mx.full_like(mx.zeros(2, mx.int32), 1.5).dtype == mx.int32


def test_what_a_dtype_is():
    assert repr(mx.float32) == "covector.core.float32"
    assert [d.size for d in DTYPES] == [1, 1, 2, 4, 8, 1, 2, 4, 8, 2, 2, 4, 8, 8]
    assert len(set(DTYPES)) == 14
    assert mx.zeros(1).dtype is mx.float32
    assert mx.float32 != "float32"


def test_categories():
    assert mx.issubdtype(mx.float16, mx.floating)
    assert mx.issubdtype(mx.complex64, mx.inexact)
    assert not mx.issubdtype(mx.complex64, mx.floating)
    assert mx.issubdtype(mx.uint8, mx.integer)
    assert not mx.issubdtype(mx.bool_, mx.number)
    assert mx.issubdtype(mx.bool_, mx.generic)
    assert mx.issubdtype(mx.signedinteger, mx.integer)
    assert not mx.issubdtype(mx.integer, mx.signedinteger)
    assert mx.issubdtype(mx.int8, mx.int8)
    assert mx.isdtype(mx.float32, "real floating")
    assert mx.isdtype(mx.int8, ("bool", "signed integer"))
    assert mx.isdtype(mx.int8, mx.int8)
    assert mx.can_cast(mx.int8, mx.int16)
    assert not mx.can_cast(mx.float32, mx.int32)
    for bad in ("no kind",):
        with pytest.raises(ValueError, match="no kind"):
            mx.isdtype(mx.int8, bad)
    with pytest.raises(TypeError, match="category"):
        mx.issubdtype("float32", mx.floating)


@pytest.mark.parametrize("name", ["float16", "float32", "float64"])
def test_finfo_agrees_with_numpy(name):
    ours, theirs = mx.finfo(getattr(mx, name)), np.finfo(name)
    for field in ("min", "max", "eps", "smallest_normal", "bits"):
        assert getattr(ours, field) == getattr(theirs, field)
    assert ours.dtype == getattr(mx, name)
    assert repr(mx.finfo(mx.float16)) == "finfo(min=-65504, max=65504, dtype=float16)"


@pytest.mark.parametrize("name", NAMES[1:9])
def test_iinfo_agrees_with_numpy(name):
    ours, theirs = mx.iinfo(getattr(mx, name)), np.iinfo(name)
    assert (ours.min, ours.max, ours.bits) == (theirs.min, theirs.max, theirs.bits)
    with pytest.raises(ValueError, match="finfo"):
        mx.iinfo(mx.float32)
    with pytest.raises(ValueError, match="iinfo"):
        mx.finfo(getattr(mx, name))


@pytest.mark.parametrize("source", [d for d in NAMES if d != "bfloat16"])
@pytest.mark.parametrize("target", [d for d in NAMES if d != "bfloat16"])
def test_astype_agrees_with_numpy(source, target):
    values = np.array([0, 1, 2, 100]).astype("bool" if source == "bool_" else source)
    out = np.array(mx.array(values, getattr(mx, source)).astype(getattr(mx, target)))
    theirs = values.real if source == "complex64" and target not in ("complex64", "bool_") else values
    np.testing.assert_array_equal(out, theirs.astype("bool" if target == "bool_" else target))


def test_view_reads_bits():
    assert mx.array([1.0]).view(mx.uint32).item() == 0x3F800000
    x = mx.arange(6, dtype=mx.int16).reshape(2, 3)
    out = x.view(mx.uint8)
    np.testing.assert_array_equal(np.array(out), np.array(x).view(np.uint8))
    with pytest.raises(ValueError, match=r"\[view\]"):
        mx.zeros((2, 3), mx.int16).view(mx.int32)


def test_numbers_beside_arrays_keep_their_kind():
    # Equal or of the same bits, beside arrays of several types, one after the other: none stands in for
    # another.
    bits_of_one = 4607182418800017408
    numbers = [0, 0.0, -0.0, 1, 1.0, True, bits_of_one]
    for _ in range(2):
        for dtype in (mx.float32, mx.int64, mx.int8, mx.float16):
            x = mx.zeros((1,), dtype)
            for number in numbers[:-1]:
                y = x + number
                want = np.zeros(1, str(dtype).split(".")[-1]) + np.asarray(number, np.asarray(y).dtype)
                assert y.item() == want.item()
                is_fraction = type(number) is float and dtype in (mx.int64, mx.int8)
                assert y.dtype == (mx.float32 if is_fraction else dtype)
        assert (mx.zeros((1,), mx.int64) + bits_of_one).item() == bits_of_one
        assert (mx.zeros((1,)) + bits_of_one).item() == np.float32(bits_of_one)
        assert (mx.ones((1,)) / 0.0).item() == np.inf
        assert (mx.ones((1,)) / -0.0).item() == -np.inf
        with pytest.raises(ValueError, match="overflow"):
            mx.zeros((1,), mx.int8) + bits_of_one
