"""NumPy operands on either side: the result is an array of the graph, and its derivative is whole."""

import decimal
import fractions
import math
import operator

import covector.core as mx
import numpy as np
import pytest

ml_dtypes = pytest.importorskip("ml_dtypes")

ARITHMETIC = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "truediv": operator.truediv,
    "floordiv": operator.floordiv,
    "mod": operator.mod,
    "pow": operator.pow,
    "divmod_0": lambda a, b: divmod(a, b)[0],
    "divmod_1": lambda a, b: divmod(a, b)[1],
}
IN_PLACE = {
    "iadd": operator.iadd,
    "isub": operator.isub,
    "imul": operator.imul,
    "itruediv": operator.itruediv,
    "ifloordiv": operator.ifloordiv,
    "imod": operator.imod,
    "ipow": operator.ipow,
}
COMPARISONS = {
    "lt": operator.lt,
    "le": operator.le,
    "eq": operator.eq,
    "ne": operator.ne,
    "gt": operator.gt,
    "ge": operator.ge,
}
BITS = {
    "and": operator.and_,
    "or": operator.or_,
    "xor": operator.xor,
    "lshift": operator.lshift,
    "rshift": operator.rshift,
}

X = mx.array([[1.25, 2.5, 0.75], [3.5, 1.5, 2.25]])

# Each NumPy operand with the array of covector that it stands for beside float32.
SCALARS = {
    "bool_": (np.bool_(True), True),
    **{f"int{n}": (getattr(np, f"int{n}")(3), 3) for n in (8, 16, 32, 64)},
    **{f"uint{n}": (getattr(np, f"uint{n}")(3), 3) for n in (8, 16, 32, 64)},
    **{f"float{n}": (getattr(np, f"float{n}")(1.75), 1.75) for n in (16, 32, 64)},
    "longdouble": (np.longdouble(1.75), 1.75),
    "bfloat16": (ml_dtypes.bfloat16(1.75), 1.75),
    "float8": (ml_dtypes.float8_e4m3fn(1.75), 1.75),
    "without axes": (np.array(1.75), 1.75),
    "integer without axes": (np.array(3), 3),
}
VALUES = np.array([[2.0, 0.5, 1.5], [1.0, 3.0, 2.5]])
ARRAYS = {
    **{
        np.dtype(kind).name: VALUES.astype(kind)
        for kind in (np.float16, np.float32, np.float64, np.longdouble, np.int8, np.int64, np.uint8, ">f8")
    },
    "bfloat16": VALUES.astype(ml_dtypes.bfloat16),
    "bool": VALUES > 1,
    "row": VALUES[0],
    "column": VALUES[:, :1],
    "transposed": np.asfortranarray(VALUES),
    "every other": np.repeat(VALUES, 2, axis=1)[:, ::2],
    "backwards": VALUES[::-1, ::-1],
    "misaligned": np.frombuffer(b"\0" + VALUES.tobytes(), np.float64, offset=1).reshape(2, 3),
    "read-only": np.broadcast_to(VALUES[0], (2, 3)),
}
COMPLEX = {
    "complex64": np.complex64(1.5 + 0.5j),
    "complex128": np.complex128(1.5 + 0.5j),
    "clongdouble": np.clongdouble(1.5 + 0.5j),
    "complex array": (VALUES + 1j).astype(np.complex64),
    "complex128 array": VALUES + 1j,
    "swapped complex array": (VALUES + 1j).astype(">c16"),
}


def plain(values):
    """The array of covector with these values, made without NumPy's help."""
    kind = mx.complex64 if np.asarray(values).dtype.kind == "c" else mx.float32
    return mx.array(np.asarray(values).astype(complex if kind == mx.complex64 else float).tolist(), kind)


def both_orders(f):
    return {"right": f, "left": lambda x, y: f(y, x)}


def grad(f, x):
    return mx.grad(lambda x: mx.real(f(x)).sum())(x)


def tangent(f, x):
    return mx.jvp(f, [x], [mx.full(x.shape, 0.5)])[1][0]


TRANSFORMS = {
    "none": lambda f, x: f(x),
    "grad": grad,
    "jvp": tangent,
    "compile": lambda f, x: mx.compile(f)(x),
    "compiled grad": lambda f, x: mx.compile(lambda x: grad(f, x))(x),
    "grad of grad": lambda f, x: grad(lambda x: grad(f, x) * x, x),
}


def check(f, theirs, ours, name):
    for order, g in both_orders(f).items():
        for transform, run in TRANSFORMS.items():
            got, want = run(lambda x, g=g: g(x, theirs), X), run(lambda x, g=g: g(x, ours), X)
            where = f"{name} on the {order} under {transform}"
            assert type(got) is mx.array, where
            assert got.dtype == want.dtype, where
            # NaN is where a negative number has no real power.
            assert mx.array_equal(got, want, equal_nan=True).item(), f"{where}: {got} is not {want}"


@pytest.mark.parametrize("name", SCALARS)
@pytest.mark.parametrize("op", ARITHMETIC)
def test_a_number_is_a_python_number(op, name):
    theirs, ours = SCALARS[name]
    check(ARITHMETIC[op], theirs, ours, f"{op} with {name}")


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("op", [*ARITHMETIC, "matmul"])
def test_an_array_is_an_array(op, name):
    theirs = ARRAYS[name]
    f = ARITHMETIC.get(op, operator.matmul)
    if op == "matmul":
        theirs = (
            theirs.T @ np.eye(2, dtype=theirs.dtype) if theirs.shape == (2, 3) else theirs.reshape(-1)[:2]
        )
        for order, g in {"right": lambda x, y: x.T @ y.T, "left": lambda x, y: y @ x}.items():
            if order == "right" and theirs.ndim == 1:
                g = lambda x, y: x.T @ y  # noqa: E731
            for transform, run in TRANSFORMS.items():
                got, want = (run(lambda x, g=g, y=y: g(x, y), X) for y in (theirs, plain(theirs)))
                assert type(got) is mx.array, (order, transform)
                assert got.dtype == want.dtype
                assert mx.array_equal(got, want).item(), (order, transform, got, want)
        return
    check(f, theirs, plain(theirs), f"{op} with {name}")


@pytest.mark.parametrize("name", COMPLEX)
@pytest.mark.parametrize("op", ["add", "sub", "mul", "truediv", "pow"])
def test_complex_operands(op, name):
    theirs = COMPLEX[name]
    ours = complex(theirs) if np.ndim(theirs) == 0 else plain(theirs)
    check(ARITHMETIC[op], theirs, ours, f"{op} with {name}")


@pytest.mark.parametrize("op", COMPARISONS)
def test_comparisons_stay_arrays(op):
    f = COMPARISONS[op]
    operands = [(name, y, ours) for name, (y, ours) in SCALARS.items()]
    operands += [(name, y, plain(y)) for name, y in ARRAYS.items()]
    for name, theirs, ours in operands:
        for order, g in both_orders(f).items():
            for run in (
                lambda f: f(X),
                lambda f: mx.compile(f)(X),
                lambda f: mx.vmap(f)(mx.stack([X, X]))[1],
            ):
                got, want = (run(lambda x, g=g, y=y: g(x, y)) for y in (theirs, ours))
                assert type(got) is mx.array, (name, order)
                assert got.dtype == mx.bool_
                assert mx.array_equal(got, want).item(), (name, order, got, want)
            got, want = (grad(lambda x, g=g, y=y: mx.where(g(x, y), x * x, x), X) for y in (theirs, ours))
            assert mx.array_equal(got, want).item()


@pytest.mark.parametrize("op", BITS)
def test_bitwise_operators(op):
    f = BITS[op]
    x = mx.array([5, 12, 3])
    for theirs in (np.int64(2), np.uint8(2), np.array(2), np.array([1, 2, 3]), np.array([1, 2, 3], np.int8)):
        ours = mx.array(theirs.tolist())
        for g in both_orders(f).values():
            for run in (
                lambda f: f(x),
                lambda f: mx.compile(f)(x),
                lambda f: mx.vmap(f)(mx.stack([x, x]))[0],
            ):
                got, want = (run(lambda x, g=g, y=y: g(x, y)) for y in (theirs, ours))
                assert type(got) is mx.array
                assert got.dtype == mx.int32
                assert got.tolist() == want.tolist()
    if op in ("and", "or", "xor"):
        truth = mx.array([True, False])
        assert f(np.bool_(True), truth).tolist() == f(truth, True).tolist()
        assert f(np.array([True, True]), truth).dtype == mx.bool_


@pytest.mark.parametrize("op", IN_PLACE)
def test_in_place_on_an_array(op):
    f = IN_PLACE[op]
    for theirs, ours in [*SCALARS.values(), *((y, plain(y)) for y in ARRAYS.values())]:

        def changed(x, y):
            x = x * 2
            return f(x, y)

        for run in TRANSFORMS.values():
            got, want = run(lambda x, y=theirs: changed(x, y), X), run(lambda x, y=ours: changed(x, y), X)
            assert type(got) is mx.array
            assert mx.array_equal(got, want, equal_nan=True).item()


@pytest.mark.parametrize("op", IN_PLACE)
def test_in_place_on_a_numpy_array_never_drops_a_derivative(op):
    f = IN_PLACE[op]
    total = VALUES.copy()
    result = f(total, X)
    assert result is total
    assert np.allclose(total, ARITHMETIC[op[1:]](VALUES, np.array(X)))

    def loss(x):
        nonlocal total
        total = f(total, x)
        return total.sum()

    for run in (mx.grad(loss), mx.vmap(loss), mx.compile(loss)):
        with pytest.raises(TypeError, match=r"a = a \+ x"):
            run(X)


def test_vmap_maps_over_the_array_alone():
    batch = mx.stack([X, X + 1, X + 2])
    for f in ARITHMETIC.values():
        for y in (np.float32(1.5), VALUES, np.array(1.5)):
            ours = 1.5 if np.ndim(y) == 0 else plain(y)
            for g in both_orders(f).values():
                got, want = (mx.vmap(lambda x, g=g, y=y: g(x, y))(batch) for y in (y, ours))
                assert mx.array_equal(got, want).item()


KINDS = [
    mx.bool_,
    mx.int8,
    mx.uint8,
    mx.int32,
    mx.int64,
    mx.float16,
    mx.bfloat16,
    mx.float32,
    mx.float64,
    mx.complex64,
]


@pytest.mark.parametrize("dtype", KINDS, ids=str)
def test_both_orders_promote_alike_and_a_number_as_pythons(dtype):
    x = mx.array([1, 0]).astype(dtype)
    numbers = {
        bool: [np.bool_(True)],
        int: [np.int8(1), np.int64(1), np.uint16(1), np.array(1)],
        float: [
            np.float16(1),
            np.float32(1),
            np.float64(1),
            np.longdouble(1),
            ml_dtypes.bfloat16(1),
            np.array(1.0),
        ],
        complex: [np.complex64(1), np.complex128(1), np.clongdouble(1)],
    }
    for kind, several in numbers.items():
        want = (x * kind(1)).dtype
        for number in several:
            assert (x * number).dtype == want, (dtype, number.dtype)
            assert (number * x).dtype == want, (dtype, number.dtype)
            assert mx.multiply(number, x).dtype == want
    for values in ARRAYS.values():
        y = values.astype(np.float64)
        row = np.broadcast_to(y.reshape(-1)[:1], (2,))
        assert (row * x).dtype == (x * row).dtype == mx.multiply(row, x).dtype == (x * 1.0).dtype


def test_double_precision_is_kept():
    x = mx.array([0.0, 0.0], mx.float64)
    for third in (np.float64(1) / 3, np.array(1 / 3), np.array([1 / 3, 1 / 3]), np.longdouble(1) / 3):
        assert (third + x)[0].item() == (x + third)[0].item() == 1 / 3
    x[0] = np.array(1 / 3)
    assert x[0].item() == 1 / 3
    assert mx.full_like(x, np.array(1 / 3))[0].item() == 1 / 3


def test_functions_take_numpy_operands():
    for y in (np.float32(1.5), VALUES):
        ours = 1.5 if np.ndim(y) == 0 else plain(y)
        for f in (mx.add, mx.multiply, mx.divide, mx.power, mx.maximum, mx.arctan2, mx.logaddexp):
            for g in both_orders(f).values():
                for run in TRANSFORMS.values():
                    got, want = (run(lambda x, g=g, y=y: g(x, y), X) for y in (y, ours))
                    assert mx.array_equal(got, want).item(), f
        got, want = (grad(lambda x, y=y: mx.where(x > y, y, x * y), X) for y in (y, ours))
        assert mx.array_equal(got, want).item()


def test_a_ufunc_reads_values_outside_of_transforms_only():
    np.testing.assert_array_equal(np.sin(X), np.sin(np.array(X)))
    assert isinstance(np.maximum(X, 1), np.ndarray)
    assert np.add.reduce(X, axis=0).shape == (3,)
    assert np.multiply.outer(VALUES, X).shape == (2, 3, 2, 3)
    assert np.add(VALUES, 1, where=X > 1, out=VALUES.copy()).shape == (2, 3)
    for f in (
        np.sin,
        lambda x: np.maximum(x, 1),
        lambda x: np.add.reduce(x),
        lambda x: np.add(x, 1),
        np.exp2,
    ):
        for transform in (lambda f: mx.grad(lambda x: mx.array(f(x)).sum()), mx.vmap, mx.compile):
            with pytest.raises(TypeError, match=r"covector\.core"):
                transform(f)(X)
    with pytest.raises(TypeError, match="assign its result"):
        np.add(VALUES, 1, out=mx.zeros((2, 3)))


FUNCTIONS = {
    "dot": lambda x: np.dot(VALUES.T, x),
    "where": lambda x: np.where(VALUES > 1, x, 0),
    "concatenate": lambda x: np.concatenate([VALUES, x]),
    "block": lambda x: np.block([[VALUES], [x]]),
    "sum": lambda x: np.sum(x, axis=0),
    "mean": np.mean,
    "norm": np.linalg.norm,
    "einsum": lambda x: np.einsum("ij,ij->", VALUES, x),
    "clip": lambda x: np.clip(x, 0, 1),
    "stack": lambda x: np.stack((x, x)),
    "interp": lambda x: np.interp(x, [0, 1], [1, 2]),
    "copyto": lambda x: np.copyto(VALUES.copy(), x),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_other_numpy_functions_read_values_outside_of_transforms_only(name):
    f = FUNCTIONS[name]
    assert np.array_equal(f(X), f(np.array(X)))
    for transform in (lambda f: mx.grad(lambda x: mx.array(f(x)).sum()), mx.vmap, mx.compile):
        with pytest.raises(TypeError, match=r"covector\.core"):
            transform(f)(X)


def test_what_is_read_on_purpose_is_a_constant():
    grads = mx.grad(lambda x: (x * float(np.sum(np.asarray(x)))).sum())(X)
    assert grads.tolist() == [[np.asarray(X).sum()] * 3] * 2


def test_shapes_are_no_values():
    seen = mx.vmap(lambda x: x * (np.size(x) + np.ndim(x) + len(np.shape(x))))(X)
    assert seen.tolist() == (X * 5).tolist()


def test_reading_a_value_is_no_operand():
    assert math.sin(mx.array(0.5)) == pytest.approx(math.sin(0.5))
    assert np.sin(float(mx.array(0.5))) == pytest.approx(math.sin(0.5))


@pytest.mark.parametrize("number", [fractions.Fraction(1, 2), decimal.Decimal("0.5")])
def test_other_numbers_are_refused_with_the_remedy(number):
    for f in (*ARITHMETIC.values(), *COMPARISONS.values(), *IN_PLACE.values()):
        with pytest.raises(TypeError, match=r"float\(\)"):
            f(X + 0, number)
    for name, f in {**ARITHMETIC, **COMPARISONS}.items():
        # A Fraction as the base of a power converts itself.
        if not (name == "pow" and isinstance(number, fractions.Fraction)):
            with pytest.raises(TypeError, match=r"float\(\)"):
                f(number, X)
    with pytest.raises((TypeError, ValueError), match=r"float\(\)"):
        mx.add(X, number)
    with pytest.raises(TypeError, match=r"float\(\)"):
        mx.array(number)


@pytest.mark.parametrize(
    "values",
    [
        np.array([1, 2, 3], object),
        np.array(["a", "b", "c"]),
        np.zeros(3, "M8[s]"),
        np.zeros(3, [("a", "f4")]),
    ],
    ids=["objects", "text", "times", "fields"],
)
def test_arrays_without_a_type_here_are_refused(values):
    for f in (operator.add, operator.mul, operator.lt, operator.eq):
        with pytest.raises((TypeError, ValueError), match=r"no counterpart|cannot combine"):
            f(X, values)
        with pytest.raises((TypeError, ValueError), match=r"no counterpart|cannot combine|structured"):
            f(values, X)


INTEGERS = [mx.bool_, mx.int8, mx.int16, mx.int32, mx.int64, mx.uint8, mx.uint16, mx.uint32, mx.uint64]
BEYOND = [-(10**400), -(2**70), -(2**63) - 1, -(2**63), -(2**31) - 1, -129, -1, 0, 1, 128, 256, 2**31, 2**32]
BEYOND += [2**63, 2**64 - 1, 2**64, 2**70, 10**400]


@pytest.mark.parametrize("op", COMPARISONS)
def test_comparisons_with_integers_are_those_of_mathematics(op):
    f = COMPARISONS[op]
    named = {"lt": mx.less, "le": mx.less_equal, "eq": mx.equal, "ne": mx.not_equal}
    function = (named | {"gt": mx.greater, "ge": mx.greater_equal})[op]
    for dtype in INTEGERS:
        values = [0, 1] if dtype == mx.bool_ else [mx.iinfo(dtype).min, 0, 1, mx.iinfo(dtype).max]
        x = mx.array(values, dtype)
        for number in BEYOND:
            want, swapped = [f(v, number) for v in values], [f(number, v) for v in values]
            assert f(x, number).tolist() == function(x, number).tolist() == want, (dtype, number)
            assert f(number, x).tolist() == function(number, x).tolist() == swapped, (dtype, number)
            assert mx.vmap(lambda x, n=number: f(x, n))(x).tolist() == want
            assert mx.compile(lambda x, n=number: f(x, n))(x).tolist() == want
            if -(2**63) <= number < 2**64:
                theirs = np.array(number)
                assert f(theirs, x).tolist() == f(theirs[()], x).tolist() == swapped, (dtype, number)


@pytest.mark.parametrize("value", [300, -1, 2**70, 10**400, np.int64(300), np.array(300)])
def test_arithmetic_with_an_integer_that_does_not_fit_is_an_error(value):
    x = mx.array([1], mx.uint8)
    for f in (operator.add, operator.mul, operator.floordiv, operator.and_, mx.minimum):
        with pytest.raises(ValueError, match=r"overflow"):
            f(x, value)
        with pytest.raises(ValueError, match=r"overflow"):
            f(value, x)
