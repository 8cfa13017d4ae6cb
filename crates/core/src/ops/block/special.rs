//! Special points of the elementwise functions: zeros of either sign, equal arguments, integers, the edges of the
//! domain, infinities, huge and tiny numbers, with closed forms of the derivatives to third order.
//!
//! A rule may be right nearly everywhere and still be wrong in a higher derivative at such a point, where a guard of the
//! first derivative takes the other branch. The suite in `tests/special_points.rs` compares every row with its closed
//! form here, and fails for a row without an entry.

use std::f64::consts::{FRAC_1_SQRT_2, SQRT_2};

/// A number that the suite does not compare, because neither a derivative nor a convention exists.
pub const OPEN: f64 = f64::NAN;

/// The value and the first three derivatives.
pub type Jet = [f64; 4];

/// The value and all derivatives to third order: `f, a, b, aa, ab, bb, aaa, aab, abb, bbb`.
pub type Jet2 = [f64; 10];

/// The derivatives of a function at its special points.
pub enum Special {
    /// One argument.
    One {
        /// The closed form.
        jet: fn(f64) -> Jet,
        /// Points where the closed form holds.
        at: &'static [f64],
        /// Points where the function is not smooth, and the convention or the limit there.
        edges: &'static [(f64, Jet)],
    },
    /// Two arguments.
    Two {
        /// The closed form.
        jet: fn(f64, f64) -> Jet2,
        /// Points where the closed form holds.
        at: &'static [(f64, f64)],
        /// Points where the function is not smooth, and the convention or the limit there.
        edges: &'static [((f64, f64), Jet2)],
    },
    /// No points, for the reason given.
    None(&'static str),
}

pub(crate) const INF: f64 = f64::INFINITY;
/// The reason of functions whose derivative is zero.
pub(crate) const STEP: &str = "a step or a truth value: its derivative is zero wherever it exists";

pub(crate) fn one(jet: fn(f64) -> Jet, at: &'static [f64], edges: &'static [(f64, Jet)]) -> Special {
    Special::One { jet, at, edges }
}

pub(crate) fn two(
    jet: fn(f64, f64) -> Jet2,
    at: &'static [(f64, f64)],
    edges: &'static [((f64, f64), Jet2)],
) -> Special {
    Special::Two { jet, at, edges }
}

/// `1 − x²` without loss of precision near ±1.
pub(crate) fn complement(x: f64) -> f64 {
    (1.0 - x) * (1.0 + x)
}

/// The slope of the logistic function without loss of precision in its tails.
pub(crate) fn logistic_slope(x: f64) -> f64 {
    let e = (-x.abs()).exp();
    e / (1.0 + e) / (1.0 + e)
}

/// `x → factor · log x`.
pub(crate) fn logarithm(x: f64, factor: f64) -> Jet {
    [factor * x.ln(), factor / x, -factor / (x * x), 2.0 * factor / (x * x * x)]
}

pub(crate) fn hypot(a: f64, b: f64) -> Jet2 {
    let h = a.hypot(b);
    let (c, s) = (a / h, b / h);
    let (h2, cs) = (h * h, c * s);
    [
        h,
        c,
        s,
        s * s / h,
        -cs / h,
        c * c / h,
        -3.0 * cs * s / h2,
        s * (2.0 * c * c - s * s) / h2,
        c * (2.0 * s * s - c * c) / h2,
        -3.0 * cs * c / h2,
    ]
}

pub(crate) const HYPOT_AT: &[(f64, f64)] = &[
    (0.0, 2.0),
    (2.0, 0.0),
    (-0.0, 2.0),
    (0.0, -2.0),
    (1.0, 1.0),
    (3.0, -4.0),
    (1e-8, 1.0),
    (1e100, 1e100),
    (0.0, 1e-90),
];
pub(crate) const HYPOT_EDGES: &[((f64, f64), Jet2)] = &[
    ((0.0, 0.0), [0.0, 0.0, 0.0, OPEN, OPEN, OPEN, OPEN, OPEN, OPEN, OPEN]),
    ((1e300, 1e300), [SQRT_2 * 1e300, FRAC_1_SQRT_2, FRAC_1_SQRT_2, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
    ((INF, 1.0), [INF, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
    ((-2.0, -INF), [INF, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
];

/// The logistic function.
pub(crate) fn logistic(x: f64) -> Jet {
    let (s, t) = (logistic_slope(x), (0.5 * x).tanh());
    let y = if x < 0.0 { x.exp() / (1.0 + x.exp()) } else { 1.0 / (1.0 + (-x).exp()) };
    [y, s, -s * t, s * (t * t - 2.0 * s)]
}

pub(crate) const LOGISTIC_AT: &[f64] = &[0.0, -0.0, 1.0, -1.0, 20.0, -20.0, 40.0, -40.0, 700.0, -700.0];
pub(crate) const LOGISTIC_EDGES: &[(f64, Jet)] = &[(INF, [1.0, 0.0, 0.0, 0.0]), (-INF, [0.0; 4])];

/// The logistic function without loss of precision in its tails.
pub(crate) fn share(x: f64) -> f64 {
    if x < 0.0 { x.exp() / (1.0 + x.exp()) } else { 1.0 / (1.0 + (-x).exp()) }
}
