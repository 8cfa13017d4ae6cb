"""Writes special_values.txt: values of elementwise functions at special points, for tests/special_values.rs.

Real functions come from mpmath, rounded once to float64; where an argument is zero, infinite or NaN, or the
result is not finite, they come from NumPy. Complex functions come from NumPy's complex128.

    pip install numpy scipy mpmath && python special_values.py > special_values.txt
"""

import sys

import mpmath as mp
import numpy as np
import scipy.special as sp

# Enough for the remainder of the greatest number by the smallest.
mp.mp.dps = 120
np.seterr(all="ignore")


def single(*values):
    """Numbers that float32 holds, too."""
    return [float(np.float32(v)) for v in values]


ONE = np.float32(1)
F32_MAX = float(np.finfo(np.float32).max)
REAL = [
    *[0.0, -0.0, 0.5, -0.5, 1.0, -1.0, 1.5, -1.5, 2.0, -2.0, 2.5, 3.0, -3.0, 4.0, 7.0, 10.0, -10.0],
    *single(0.1, -0.1, 0.3, 0.9, -0.99, 1e-3, 1e-8, -1e-8, 1e-20, 1e-30, 1.5707964, 3.1415927, -6.2831855),
    *single(np.nextafter(ONE, 0 * ONE), -np.nextafter(ONE, 0 * ONE), np.nextafter(ONE, 2 * ONE)),
    *[2.0**-126, 2.0**-149, -(2.0**-149), 3 * 2.0**-140],
    *single(88, -87, 89, -104, 100, 700, -745, 1e4, -1e6, 2**24, 2**24 + 2, 2**31, 1e10, 1e20, 1e38),
    *[F32_MAX, -F32_MAX, np.inf, -np.inf, np.nan],
]
# Beyond float32, for float64 alone.
DOUBLE = [5e-324, 1e-310, 2.2e-308, 1e-200, 1 - 2**-53, 1 + 2**-52, np.pi / 2, np.pi, 709.7, -708.5, -740.0]
DOUBLE += [1e15, 1e200, 1.7e308]
PAIRS = [
    *[0.0, -0.0, 0.5, -0.5, 1.0, -1.0, 2.0, -3.0],
    *single(0.1, 1e-30, 2.0**-149, 0.7, 10, 1e10, -1e38, F32_MAX),
    *[np.inf, -np.inf, np.nan],
]
PARTS = [0.0, -0.0, 0.5, -1.0, 2.0, *single(-1e-6, 2.0**-126, 50, 1e20), np.inf, -np.inf, np.nan]
FEW = [(0, 0), (1, 0), (-0.0, -1), (0.5, 2), (-3, 1e-30), (1e30, 1e30), (1e-30, -1e-30), (1e38, 1)]
FEW += [(np.inf, 1), (0, -np.inf), (np.inf, np.inf), (np.nan, 0), (2, -0.0), (-2, 0.0), (1, 1)]
FEW = [complex(np.complex64(complex(a, b))) for a, b in FEW]


def sigmoid(x):
    return np.exp(x) / (1 + np.exp(x)) if x < 0 else 1 / (1 + np.exp(-x))


def slope(x):
    return np.exp(-abs(x)) / (1 + np.exp(-abs(x))) ** 2


def share(a, b):
    return sigmoid(np.float64(0) if a == b else a - b)


def tail(x):
    return sigmoid(x) if x < 0 else -np.exp(-x) / (1 + np.exp(-x))


def log_cosh(x):
    return x * x / 2 if abs(x) < 1e-9 else np.logaddexp(x, -x) - np.log(2)


def hypot_share(a, b):
    if np.isnan(a) or np.isnan(b):
        return np.nan
    if a == b == 0:
        return a
    if np.isinf(a) and np.isinf(b):
        return np.copysign(np.sqrt(0.5), a)
    # The limit along an axis.
    return np.copysign(1, a) if np.isinf(a) else a / np.hypot(a, b)


def erfinv(x):
    # SciPy drops the sign of zero.
    return np.copysign(sp.erfinv(x), x)


UNARY = {
    "negative": (np.negative, lambda x: -x),
    "abs": (np.abs, abs),
    "square": (np.square, lambda x: x * x),
    "sqrt": (np.sqrt, mp.sqrt),
    "rsqrt": (lambda x: 1 / np.sqrt(x), lambda x: 1 / mp.sqrt(x)),
    "reciprocal": (np.reciprocal, lambda x: 1 / x),
    "exp": (np.exp, mp.exp),
    "exp2": (np.exp2, lambda x: mp.mpf(2) ** x),
    "expm1": (np.expm1, mp.expm1),
    "log": (np.log, mp.log),
    "log2": (np.log2, lambda x: mp.log(x) / mp.log(2)),
    "log10": (np.log10, mp.log10),
    "log1p": (np.log1p, mp.log1p),
    "sin": (np.sin, mp.sin),
    "cos": (np.cos, mp.cos),
    "tan": (np.tan, mp.tan),
    "sinh": (np.sinh, mp.sinh),
    "cosh": (np.cosh, mp.cosh),
    "tanh": (np.tanh, mp.tanh),
    "arcsin": (np.arcsin, mp.asin),
    "arccos": (np.arccos, mp.acos),
    "arctan": (np.arctan, mp.atan),
    "arcsinh": (np.arcsinh, mp.asinh),
    "arccosh": (np.arccosh, mp.acosh),
    "arctanh": (np.arctanh, mp.atanh),
    "erf": (sp.erf, mp.erf),
    "erfinv": (erfinv, mp.erfinv),
    "sigmoid": (sigmoid, lambda x: 1 / (1 + mp.exp(-x)) if x > 0 else mp.exp(x) / (1 + mp.exp(x))),
    "logistic": (sigmoid, lambda x: 1 / (1 + mp.exp(-x))),
    "sigmoid_tail": (tail, lambda x: mp.exp(x) / (1 + mp.exp(x)) if x < 0 else -1 / (1 + mp.exp(x))),
    "sigmoid_of_tail": (lambda w: 1 + w if np.signbit(w) else w, None),
    "slope_of_tail": (lambda w: abs(w) - w * w, lambda w: abs(w) - w * w),
    "sigmoid_slope": (slope, lambda x: mp.exp(-abs(x)) / (1 + mp.exp(-abs(x))) ** 2),
    "log_cosh": (log_cosh, lambda x: mp.log(mp.cosh(x))),
    "complement": (lambda x: (1 - x) * (1 + x), lambda x: (1 - x) * (1 + x)),
    "floor": (np.floor, None),
    "ceil": (np.ceil, None),
    "trunc": (np.trunc, None),
    "rint": (np.rint, None),
    "degrees": (np.degrees, lambda x: x * 180 / mp.pi),
    "radians": (np.radians, lambda x: x * mp.pi / 180),
    "isnan": (np.isnan, None),
    "isinf": (np.isinf, None),
    "isfinite": (np.isfinite, None),
    "isposinf": (np.isposinf, None),
    "isneginf": (np.isneginf, None),
    "logical_not": (np.logical_not, None),
}
BINARY = {
    "add": (np.add, lambda a, b: a + b),
    "subtract": (np.subtract, lambda a, b: a - b),
    "multiply": (np.multiply, lambda a, b: a * b),
    "divide": (np.divide, lambda a, b: a / b),
    "floor_divide": (np.floor_divide, lambda a, b: mp.floor(a / b)),
    "remainder": (np.remainder, lambda a, b: a - b * mp.floor(a / b)),
    "power": (np.float_power, mp.power),
    "maximum": (np.maximum, None),
    "minimum": (np.minimum, None),
    "arctan2": (np.arctan2, mp.atan2),
    "logaddexp": (np.logaddexp, lambda a, b: max(a, b) + mp.log1p(mp.exp(-abs(a - b)))),
    "hypot": (np.hypot, mp.hypot),
    "logistic_share": (share, lambda a, b: 1 / (1 + mp.exp(b - a))),
    "hypot_share": (hypot_share, lambda a, b: a / mp.hypot(a, b)),
    "equal": (np.equal, None),
    "not_equal": (np.not_equal, None),
    "less": (np.less, None),
    "less_equal": (np.less_equal, None),
    "greater": (np.greater, None),
    "greater_equal": (np.greater_equal, None),
    "logical_and": (np.logical_and, None),
    "logical_or": (np.logical_or, None),
    "logical_xor": (np.logical_xor, None),
}
NAMES = ["negative", "square", "sqrt", "reciprocal", "exp", "exp2", "log", "log2", "log10"]
NAMES += ["isnan", "isinf", "isfinite", "rint", "sign", "conjugate", "abs"]
NAMES += ["sin", "cos", "tan", "sinh", "cosh", "tanh"]
NAMES += ["arcsin", "arccos", "arctan", "arcsinh", "arccosh", "arctanh"]
COMPLEX = {name: getattr(np, name) for name in NAMES}
COMPLEX["rsqrt"] = lambda z: 1 / np.sqrt(z)
COMPLEX_PAIRS = {"multiply": np.multiply, "divide": np.divide, "power": np.power}


def value(pair, *x):
    plain, exact = pair
    first = float(plain(*[np.float64(v) for v in x]))
    if exact is None or not np.isfinite(first) or first == 0 or not all(np.isfinite(v) and v != 0 for v in x):
        return first
    y = exact(*[mp.mpf(v) for v in x])
    # Infinitely many digits may still round to infinity.
    return first if isinstance(y, mp.mpc) else float(y)


def number(v):
    v = float(v)
    if not np.isfinite(v):
        return repr(v)
    if v == int(v) and 0 < abs(v) < 1e9:
        return str(int(v))
    return "-0" if v == 0 and np.signbit(v) else "0" if v == 0 else repr(v)


def digits(v):
    """Enough of a number for float32."""
    v = float(v)
    if not np.isfinite(v) or v == 0 or (v == int(v) and abs(v) < 1e9):
        return number(v)
    return f"{v:.9e}"


def line(*fields):
    print(";".join(fields))


def main():
    print("# Values of elementwise functions at special points, written by special_values.py.")
    print("# kind;name;values. After a line of points: the functions' values at these, row-major for pairs.")
    line("points", "real", " ".join(map(number, REAL + DOUBLE)))
    for name, pair in UNARY.items():
        line("unary", name, " ".join(number(value(pair, x)) for x in REAL + DOUBLE))
    line("points", "pairs", " ".join(map(number, PAIRS)))
    for name, pair in BINARY.items():
        line("binary", name, " ".join(number(value(pair, a, b)) for a in PAIRS for b in PAIRS))
    line("points", "parts", " ".join(map(number, PARTS)))
    for name, f in COMPLEX.items():
        out = [f(np.complex128(complex(a, b))) for a in PARTS for b in PARTS]
        if np.iscomplexobj(np.array(out)):
            out = [part for z in out for part in (z.real, z.imag)]
        line("complex", name, " ".join(map(digits, out)))
    line("points", "few", " ".join(number(part) for z in FEW for part in (z.real, z.imag)))
    for name, f in COMPLEX_PAIRS.items():
        out = [f(np.complex128(a), np.complex128(b)) for a in FEW for b in FEW]
        line("complex2", name, " ".join(digits(part) for z in out for part in (z.real, z.imag)))


if __name__ == "__main__":
    sys.exit(main())
