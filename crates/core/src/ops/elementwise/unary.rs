//! The table of unary elementwise operations.
//!
//! A row is: documentation; name and name of the fallible form; further names in Python, or `@hidden` for a building block
//! that Python does not get; what it takes and gives; an interval where it is smooth; the derivative as `t · dy/dx` in public
//! ops; the scalar kernels; the machine instruction that these are, where there is one (`as Negative`); and its
//! [special points](crate::ops::block::special). Everything else follows from the row: the free functions, the methods, both
//! differentiation modes to any order, vmap, the Python function with its docstring, the tests.

use crate::array::Array;
use crate::error::Result;
use crate::ops;
use crate::ops::elementwise::{Row, RowFn, Takes, Tiles, apply1, row_table, tiles};
use covector_kernels::{C64, Dtype, math, tile1};
use std::f64::consts::{FRAC_2_SQRT_PI, LN_2, LN_10, PI};

/// `1 − x`.
fn one_minus(x: &Array) -> Array {
    ops::one_of(x.dtype()) - x
}

/// `√(x² + 1)`, for real numbers without overflow of the square.
fn root_of_square_and_one(x: &Array) -> Array {
    if x.dtype().is_complex() {
        return sqrt(&(square(x) + 1.0));
    }
    ops::real_hypot(x, &ops::constant_like(x, 1.0))
}

row_table! {
    /// Minus `x`.
    negative / try_negative(x): Same => Same, on (-2.0, 2.0), d (|t, _x, _y| negative(t)),
        {[real |x| -x] [int |x| x.wrapping_neg()] [uint |x| x.wrapping_neg()] [c64 |z| -z]} as Negative
        special one(|x| [-x, -1.0, 0.0, 0.0], &[0.0, -0.0, 1e300, INF], &[]);
    /// The absolute value of a real `x`; see `abs` for the one that also takes complex arrays. The derivative at 0 is 0.
    real_abs / try_real_abs(x) @hidden: Same => Same, on (0.2, 2.0), d (|t, x, _y| t * ops::sign(x)),
        {[real |x| x.abs()] [int |x| x.wrapping_abs()] [uint |x| x] [bool |x| x]} as Absolute
        special one(
            |x| [x.abs(), x.signum(), 0.0, 0.0],
            &[1e-300, -1e-300, INF, -INF],
            &[(0.0, [0.0; 4]), (-0.0, [0.0; 4])],
        );
    /// The sign of `x`: −1, 0 or 1; 0 for NaN.
    real_sign / try_real_sign(x) @hidden: Same => Same, on (0.2, 2.0), d zero,
        {[real |x| if x > 0.0 { 1.0 } else if x < 0.0 { -1.0 } else { 0.0 }] [int |x| x.signum()]
         [uint |x| x.min(1)] [bool |x| x]};
    /// The square, `x²`.
    square / try_square(x): Same => Same, on (-2.0, 2.0), d (|t, x, _y| t * (x * 2.0)),
        {[real |x| x * x] [int |x| x.wrapping_mul(x)] [uint |x| x.wrapping_mul(x)] [bool |x| x]
         [c64 |z| math::c64::square(z)]} as Square
        special one(|x| [x * x, 2.0 * x, 2.0, 0.0], &[0.0, -0.0, 1.0, -3.0, 1e150, 1e-150], &[]);
    /// `1 − x²`, accurate where `x` is near ±1.
    complement / try_complement(x) @hidden: Float => Same, on (-2.0, 2.0), d (|t, x, _y| t * (x * -2.0)),
        {[real |x| (1.0 - x) * (1.0 + x)] [c64 |z| math::c64::complement(z)]}
        special one(
            |x| [complement(x), -2.0 * x, -2.0, 0.0],
            &[0.0, -0.0, 1.0, -1.0, 1.0 - 1e-12, 1e-12 - 1.0, 1e-200, 1e100],
            &[],
        );
    /// The square root, `√x`.
    sqrt / try_sqrt(x): Float => Same, on (0.3, 3.0), d (|t, _x, y| t / (y * 2.0)),
        {[real |x| x.sqrt()] [c64 |z| math::c64::sqrt(z)]} as SquareRoot
        special one(
            |x| {
                let y = x.sqrt();
                [y, 0.5 / y, -0.25 / (x * y), 0.375 / (x * x * y)]
            },
            &[1.0, 4.0, 1e-100, 1e100],
            &[(0.0, [0.0, INF, -INF, OPEN]), (INF, [INF, 0.0, 0.0, 0.0]), (1e300, [1e150, 5e-151, 0.0, 0.0])],
        );
    /// One over the square root, `1/√x`.
    rsqrt / try_rsqrt(x): Float => Same, on (0.3, 3.0), d (|t, x, y| t * (y / x * -0.5)),
        {[math rsqrt] [c64 |z| math::c64::rsqrt(z)]}
        special one(
            |x| {
                let y = 1.0 / x.sqrt();
                [y, -0.5 * y / x, 0.75 * y / x / x, -1.875 * y / x / x / x]
            },
            &[1.0, 4.0, 1e-80, 1e80],
            &[(0.0, [INF, -INF, OPEN, OPEN]), (INF, [0.0, 0.0, 0.0, 0.0])],
        );
    /// One over `x`.
    reciprocal / try_reciprocal(x): Float => Same, on (0.3, 3.0), d (|t, _x, y| negative(&(t * square(y)))),
        {[real |x| 1.0 / x] [c64 |z| math::c64::recip(z)]} as Reciprocal
        special one(
            |x| [1.0 / x, -1.0 / (x * x), 2.0 / (x * x * x), -6.0 / (x * x) / (x * x)],
            &[1.0, -2.0, 1e60, -1e-60],
            &[(0.0, [INF, -INF, INF, -INF]), (INF, [0.0; 4]), (-INF, [0.0; 4])],
        );
    /// The exponential, `eˣ`.
    exp / try_exp(x): Float => Same, on (-2.0, 2.0), d (|t, _x, y| t * y),
        {[math exp] [c64 |z| math::c64::exp(z)]}
        special one(|x| [x.exp(); 4], &[0.0, -0.0, 1.0, -40.0, 700.0, -700.0, -INF, INF], &[]);
    /// Two to the power `x`.
    exp2 / try_exp2(x): Float => Same, on (-2.0, 2.0), d (|t, _x, y| t * (y * LN_2)),
        {[math exp2] [c64 |z| math::c64::exp2(z)]}
        special one(
            |x| [x.exp2(), x.exp2() * LN_2, x.exp2() * LN_2 * LN_2, x.exp2() * LN_2 * LN_2 * LN_2],
            &[0.0, -0.0, 1.0, -3.0, 1000.0, -1000.0, -INF],
            &[],
        );
    /// `eˣ − 1`, accurate near zero.
    expm1 / try_expm1(x): Float => Same, on (-2.0, 2.0), d (|t, x, _y| t * exp(x)),
        {[math expm1] [c64 |z| math::c64::expm1(z)]}
        special one(
            |x| [x.exp_m1(), x.exp(), x.exp(), x.exp()],
            &[0.0, -0.0, 1e-20, -1e-20, -40.0, -700.0, 700.0, -INF],
            &[],
        );
    /// The natural logarithm.
    log / try_log(x): Float => Same, on (0.3, 3.0), d (|t, x, _y| t / x),
        {[math log] [c64 |z| math::c64::log(z)]}
        special one(
            |x| logarithm(x, 1.0),
            &[1.0, 1e-100, 1e100],
            &[(0.0, [-INF, INF, -INF, INF]), (INF, [INF, 0.0, 0.0, 0.0])],
        );
    /// The logarithm to base 2.
    log2 / try_log2(x): Float => Same, on (0.3, 3.0), d (|t, x, _y| t / (x * LN_2)),
        {[math log2] [c64 |z| math::c64::log2(z)]}
        special one(
            |x| logarithm(x, 1.0 / LN_2),
            &[1.0, 8.0, 1e-90, 1e90],
            &[(0.0, [-INF, INF, -INF, INF]), (INF, [INF, 0.0, 0.0, 0.0])],
        );
    /// The logarithm to base 10.
    log10 / try_log10(x): Float => Same, on (0.3, 3.0), d (|t, x, _y| t / (x * LN_10)),
        {[math log10] [c64 |z| math::c64::log10(z)]}
        special one(
            |x| logarithm(x, 1.0 / LN_10),
            &[1.0, 1000.0, 1e-90, 1e90],
            &[(0.0, [-INF, INF, -INF, INF]), (INF, [INF, 0.0, 0.0, 0.0])],
        );
    /// `log(1 + x)`, accurate near zero.
    log1p / try_log1p(x): Float => Same, on (-0.6, 2.0), d (|t, x, _y| t / (x + 1.0)),
        {[math log1p] [c64 |z| math::c64::log1p(z)]}
        special one(
            |x| {
                let u = 1.0 + x;
                [x.ln_1p(), 1.0 / u, -1.0 / (u * u), 2.0 / (u * u * u)]
            },
            &[0.0, -0.0, 1e-20, -0.5, 1e100],
            &[(-1.0, [-INF, INF, -INF, INF]), (INF, [INF, 0.0, 0.0, 0.0])],
        );
    /// The sine.
    sin / try_sin(x): Float => Same, on (-3.0, 3.0), d (|t, x, _y| t * cos(x)),
        {[math sin] [c64 |z| math::c64::sin(z)]}
        special one(|x| [x.sin(), x.cos(), -x.sin(), -x.cos()], &[0.0, -0.0, 1e-200, 1.0, -1e6], &[]);
    /// The cosine.
    cos / try_cos(x): Float => Same, on (-3.0, 3.0), d (|t, x, _y| negative(&(t * sin(x)))),
        {[math cos] [c64 |z| math::c64::cos(z)]}
        special one(|x| [x.cos(), -x.sin(), -x.cos(), x.sin()], &[0.0, -0.0, 1e-200, 1.0, -1e6], &[]);
    /// The tangent.
    tan / try_tan(x): Float => Same, on (-1.2, 1.2), d (|t, _x, y| t * (square(y) + 1.0)),
        {[math tan] [c64 |z| math::c64::tan(z)]}
        special one(
            |x| {
                let (t, s) = (x.tan(), 1.0 + x.tan() * x.tan());
                [t, s, 2.0 * t * s, 2.0 * s * (1.0 + 3.0 * t * t)]
            },
            &[0.0, -0.0, 1e-200, 1.0, 1.57],
            &[],
        );
    /// The hyperbolic sine.
    sinh / try_sinh(x): Float => Same, on (-2.0, 2.0), d (|t, x, _y| t * cosh(x)),
        {[math sinh] [c64 |z| math::c64::sinh(z)]}
        special one(|x| [x.sinh(), x.cosh(), x.sinh(), x.cosh()], &[0.0, -0.0, 1e-200, -20.0, 700.0], &[]);
    /// The hyperbolic cosine.
    cosh / try_cosh(x): Float => Same, on (-2.0, 2.0), d (|t, x, _y| t * sinh(x)),
        {[math cosh] [c64 |z| math::c64::cosh(z)]}
        special one(|x| [x.cosh(), x.sinh(), x.cosh(), x.sinh()], &[0.0, -0.0, 1e-200, -20.0, 700.0], &[]);
    /// The hyperbolic tangent.
    tanh / try_tanh(x): Float => Same, on (-2.0, 2.0), d (|t, _x, y| t * one_minus(&square(y))),
        {[math tanh] [c64 |z| math::c64::tanh(z)]}
        special one(
            |x| {
                let (t, s) = (x.tanh(), 1.0 / (x.cosh() * x.cosh()));
                [t, s, -2.0 * t * s, s * (6.0 * t * t - 2.0)]
            },
            &[0.0, -0.0, 1e-200, 1.0, -3.0],
            &[(INF, [1.0, 0.0, 0.0, 0.0]), (-1e300, [-1.0, 0.0, 0.0, 0.0])],
        );
    /// The inverse sine.
    arcsin / try_arcsin(x) | asin: Float => Same, on (-0.8, 0.8), d (|t, x, _y| t * rsqrt(&complement(x))),
        {[math asin] [c64 |z| math::c64::asin(z)]}
        special one(
            |x| {
                let w = complement(x);
                [x.asin(), w.powf(-0.5), x * w.powf(-1.5), (1.0 + 2.0 * x * x) * w.powf(-2.5)]
            },
            &[0.0, -0.0, 1e-200, 0.5, 1.0 - 1e-12, 1e-12 - 1.0],
            &[(1.0, [FRAC_PI_2, INF, OPEN, OPEN]), (-1.0, [-FRAC_PI_2, INF, OPEN, OPEN])],
        );
    /// The inverse cosine.
    arccos / try_arccos(x) | acos: Float => Same, on (-0.8, 0.8), d (|t, x, _y| negative(&(t * rsqrt(&complement(x))))),
        {[math acos] [c64 |z| math::c64::acos(z)]}
        special one(
            |x| {
                let w = complement(x);
                [x.acos(), -w.powf(-0.5), -x * w.powf(-1.5), -(1.0 + 2.0 * x * x) * w.powf(-2.5)]
            },
            &[0.0, -0.0, 1e-200, 0.5, 1.0 - 1e-12, 1e-12 - 1.0],
            &[(1.0, [0.0, -INF, OPEN, OPEN]), (-1.0, [PI, -INF, OPEN, OPEN])],
        );
    /// The inverse tangent.
    arctan / try_arctan(x) | atan: Float => Same, on (-2.0, 2.0), d (|t, x, _y| t / (square(x) + 1.0)),
        {[math atan] [c64 |z| math::c64::atan(z)]}
        special one(
            |x| {
                let u = 1.0 + x * x;
                [x.atan(), 1.0 / u, -2.0 * x / (u * u), (6.0 * x * x - 2.0) / (u * u * u)]
            },
            &[0.0, -0.0, 1e-200, 1.0, -1.0, 1e40],
            &[(1e200, [FRAC_PI_2, 0.0, 0.0, 0.0]), (-INF, [-FRAC_PI_2, 0.0, OPEN, OPEN])],
        );
    /// The inverse hyperbolic sine.
    arcsinh / try_arcsinh(x) | asinh: Float => Same, on (-2.0, 2.0), d (|t, x, _y| t / root_of_square_and_one(x)),
        {[math asinh] [c64 |z| math::c64::asinh(z)]}
        special one(
            |x| {
                let h = x.hypot(1.0);
                let c = x / h;
                [x.asinh(), 1.0 / h, -c / h / h, (2.0 * c * c - 1.0 / h / h) / h / h / h]
            },
            &[0.0, -0.0, 1e-200, 1.0, -1.0, 1e60],
            &[(1e200, [461.210_165_771_735_5, 1e-200, 0.0, 0.0]), (-INF, [-INF, 0.0, 0.0, 0.0])],
        );
    /// The inverse hyperbolic cosine.
    arccosh / try_arccosh(x) | acosh: Float => Same, on (1.4, 4.0), d (|t, x, _y| t * (rsqrt(&(x - 1.0)) * rsqrt(&(x + 1.0)))),
        {[math acosh] [c64 |z| math::c64::acosh(z)]}
        special one(
            |x| {
                let w = (x - 1.0) * (x + 1.0);
                [x.acosh(), w.powf(-0.5), -x * w.powf(-1.5), (2.0 * x * x + 1.0) * w.powf(-2.5)]
            },
            &[2.0, 1.0 + 1e-6, 1e50],
            &[(1.0, [0.0, INF, OPEN, OPEN]), (INF, [INF, 0.0, OPEN, OPEN])],
        );
    /// The inverse hyperbolic tangent.
    arctanh / try_arctanh(x) | atanh: Float => Same, on (-0.8, 0.8), d (|t, x, _y| t / complement(x)),
        {[math atanh] [c64 |z| math::c64::atanh(z)]}
        special one(
            |x| {
                let w = complement(x);
                [x.abs().atanh().copysign(x), 1.0 / w, 2.0 * x / (w * w), (2.0 + 6.0 * x * x) / (w * w * w)]
            },
            &[0.0, -0.0, 1e-200, 0.5, 1.0 - 1e-12, 1e-12 - 1.0],
            &[(1.0, [INF, INF, OPEN, OPEN]), (-1.0, [-INF, INF, OPEN, OPEN])],
        );
    /// The error function, `2/√π ∫₀ˣ e^(−s²) ds`.
    erf / try_erf(x): Float => Same, on (-2.0, 2.0),
        d (|t, x, _y| t * (exp(&negative(&square(x))) * FRAC_2_SQRT_PI)),
        {[math erf]}
        special one(
            |x| {
                let c = FRAC_2_SQRT_PI * (-x * x).exp();
                [OPEN, c, -2.0 * x * c, (4.0 * x * x - 2.0) * c]
            },
            &[0.0, -0.0, 1e-200, 1.0, -5.0, 20.0],
            &[(0.0, [0.0, FRAC_2_SQRT_PI, 0.0, -2.0 * FRAC_2_SQRT_PI]), (INF, [1.0, 0.0, OPEN, OPEN])],
        );
    /// The inverse of the error function.
    erfinv / try_erfinv(x): Float => Same, on (-0.8, 0.8),
        d (|t, _x, y| t * (exp(&square(y)) * (PI.sqrt() / 2.0))),
        {[math erfinv]}
        special one(
            // At the points below it is x · √π/2, to double precision.
            |x| {
                let k = 1.0 / FRAC_2_SQRT_PI;
                [k * x, k, 2.0 * k * x * k * k, 2.0 * k * k * k]
            },
            &[0.0, -0.0, 1e-100, -1e-20],
            &[(1.0, [INF, INF, OPEN, OPEN]), (-1.0, [-INF, INF, OPEN, OPEN])],
        );
    /// The logistic function, `1/(1 + e⁻ˣ)`, for what is not differentiated; see `sigmoid`.
    logistic / try_logistic(x) @hidden: Float => Same, on (-3.0, 3.0), d (|t, x, _y| t * sigmoid_slope(x)),
        {[math sigmoid] [c64 |z| math::c64::sigmoid(z)]}
        special one(logistic, LOGISTIC_AT, LOGISTIC_EDGES);
    /// The logistic function below 0, and from 0 on the logistic function less 1: the distance to its nearer end, which
    /// has all its digits in both tails. Derivatives do not see the jump.
    sigmoid_tail / try_sigmoid_tail(x) @hidden: Float => Same, on (0.1, 3.0), d (|t, _x, y| t * slope_of_tail(y)),
        {[math sigmoid_tail]}
        special one(
            |x| {
                let (s, t) = (logistic_slope(x), (0.5 * x).tanh());
                [if x < 0.0 { share(x) } else { -share(-x) }, s, -s * t, s * (t * t - 2.0 * s)]
            },
            // The jump at 0 is none to its derivatives.
            &[0.0, -0.0, 1.0, -1.0, 20.0, -20.0, 40.0, -40.0, 700.0, -700.0],
            &[(INF, [-0.0, 0.0, 0.0, 0.0]), (-INF, [0.0; 4])],
        );
    /// The logistic function of the `x` whose [`sigmoid_tail`] is `w`.
    sigmoid_of_tail / try_sigmoid_of_tail(x) @hidden: Float => Same, on (0.1, 0.4), d (|t, _w, _y| t.clone()),
        {[real |w| if w.is_sign_negative() { 1.0 + w } else { w }]} as SigmoidOfTail
        special one(
            |w| [if w.is_sign_negative() { 1.0 + w } else { w }, 1.0, 0.0, 0.0],
            &[0.0, -0.0, 0.5, -0.5, 1e-300, -1e-300],
            &[],
        );
    /// The slope of the logistic function at the `x` whose [`sigmoid_tail`] is `w`: `|w| − w²`.
    slope_of_tail / try_slope_of_tail(x) @hidden: Float => Same, on (0.1, 0.4), d (|t, w, _y| t * (ops::sign(w) - w * 2.0)),
        {[real |w| (-w).mul_add(w, w.abs())]} as SlopeOfTail
        special one(|w| [w.abs() - w * w, w.signum() - 2.0 * w, -2.0, 0.0], &[0.5, -0.5, 1e-300, -1e-300], &[]);
    /// The derivative of the logistic function, `eˣ/(1 + eˣ)²`, made from `x`: a result near 1 has lost the distance to 1.
    sigmoid_slope / try_sigmoid_slope(x) @hidden: Float => Same, on (-3.0, 3.0),
        d (|t, x, y| negative(&(t * (y * tanh(&(x * 0.5)))))),
        {[math sigmoid_slope] [c64 |z| math::c64::sigmoid_slope(z)]}
        special one(
            |x| {
                let (s, t) = (logistic_slope(x), (0.5 * x).tanh());
                [s, -s * t, s * (t * t - 2.0 * s), s * t * (8.0 * s - t * t)]
            },
            &[0.0, -0.0, 1e-200, 1.0, -1.0, 20.0, -20.0, 40.0, -40.0, 700.0, -700.0],
            &[(INF, [0.0; 4]), (-INF, [0.0; 4])],
        );
    /// The logarithm of the hyperbolic cosine, without overflow.
    log_cosh / try_log_cosh(x) @hidden: Float => Same, on (-2.0, 2.0), d (|t, x, _y| t * tanh(x)),
        {[math log_cosh]}
        special one(
            |x| {
                let (t, s) = (x.tanh(), 1.0 / (x.cosh() * x.cosh()));
                let y = if x.abs() < 1e-3 { 0.5 * x * x } else { x.cosh().ln() };
                [y, t, s, -2.0 * t * s]
            },
            &[0.0, -0.0, 1e-100, 1e-6, 1.0, -3.0],
            &[(1e300, [1e300, 1.0, 0.0, 0.0]), (-INF, [INF, -1.0, 0.0, 0.0])],
        );
    /// The largest integer that is not above `x`.
    floor / try_floor(x): Same => Same, on (0.1, 0.9), d zero,
        {[real |x| x.floor()] [int |x| x] [uint |x| x] [bool |x| x]};
    /// The smallest integer that is not below `x`.
    ceil / try_ceil(x): Same => Same, on (0.1, 0.9), d zero,
        {[real |x| x.ceil()] [int |x| x] [uint |x| x] [bool |x| x]};
    /// `x` without its fraction.
    trunc / try_trunc(x): Same => Same, on (0.1, 0.9), d zero,
        {[real |x| x.trunc()] [int |x| x] [uint |x| x] [bool |x| x]};
    /// The nearest integer, halves to the even one.
    rint / try_rint(x) @hidden: Same => Same, on (0.1, 0.4), d zero,
        {[real |x| x.round_ties_even()] [int |x| x] [uint |x| x] [bool |x| x]
         [c64 |z| C64::new(z.re.round_ties_even(), z.im.round_ties_even())]};
    /// Whether `x` is zero (or `False`).
    logical_not / try_logical_not(x): Bool => Bool, on (0.0, 1.0), d zero, {[bool |x| !x]} as Not;
    /// Every bit flipped; for truth values the logical negation.
    bitwise_invert / try_bitwise_invert(x): Same => Same, on (0.0, 1.0), d zero,
        {[int |x| !x] [uint |x| !x] [bool |x| !x]};
    /// Whether `x` is not a number.
    isnan / try_isnan(x): Same => Bool, on (0.0, 1.0), d zero,
        {[real |x| x.is_nan()] [int |_x| false] [uint |_x| false] [bool |_x| false] [c64 |z| z.is_nan()]};
    /// Whether `x` is infinite.
    isinf / try_isinf(x): Same => Bool, on (0.0, 1.0), d zero,
        {[real |x| x.is_infinite()] [int |_x| false] [uint |_x| false] [bool |_x| false]
         [c64 |z| z.re.is_infinite() || z.im.is_infinite()]};
    /// Whether `x` is neither infinite nor NaN.
    isfinite / try_isfinite(x): Same => Bool, on (0.0, 1.0), d zero,
        {[real |x| x.is_finite()] [int |_x| true] [uint |_x| true] [bool |_x| true] [c64 |z| z.is_finite()]};
    /// Whether `x` is positive infinity; of complex numbers `∞ + 0i` alone.
    isposinf / try_isposinf(x): Same => Bool, on (0.0, 1.0), d zero,
        {[real |x| x.is_infinite() && x > 0.0] [int |_x| false] [uint |_x| false] [bool |_x| false]
         [c64 |z| z.re == f32::INFINITY && z.im == 0.0]};
    /// Whether `x` is negative infinity; of complex numbers `−∞ + 0i` alone.
    isneginf / try_isneginf(x): Same => Bool, on (0.0, 1.0), d zero,
        {[real |x| x.is_infinite() && x < 0.0] [int |_x| false] [uint |_x| false] [bool |_x| false]
         [c64 |z| z.re == f32::NEG_INFINITY && z.im == 0.0]};
}
