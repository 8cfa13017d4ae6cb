//! The table of unary elementwise operations.
//!
//! A row is: documentation; name and name of the fallible form; what it takes and gives; an interval where it
//! is smooth; the derivative as `t · dy/dx` in public ops; the scalar kernels; and the machine instruction that these
//! are, where there is one. Everything else — the free
//! functions, the methods, both differentiation modes to any order, vmap, the Python function with its
//! docstring, the tests — follows from the row.

use crate::array::Array;
use crate::error::Result;
use crate::ops;
use crate::prim::elementwise::{Partials, Row, RowFn, Takes, Tiles, apply1, code, gives_bool, tiles};
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

macro_rules! partial {
    (zero) => {
        Partials::Zero
    };
    ((|$t:ident, $x:ident, $y:ident| $e:expr)) => {
        Partials::One(|$t: &Array, $x: &Array, $y: &Array| -> Array { $e })
    };
}

macro_rules! rows {
    ($(
        $(#[doc = $doc:literal])*
        $name:ident $try_name:ident: $takes:ident => $gives:ident, on ($lo:expr, $hi:expr), d $d:tt, $tiles:tt $($code:ident)?;
    )*) => {
        #[allow(non_camel_case_types, reason = "the variants are the rows' names")]
        #[derive(Clone, Copy)]
        enum Id { $($name),* }

        /// The rows, in the order of the file.
        pub(crate) static ROWS: &[Row] = &[$(
            Row {
                name: stringify!($name),
                doc: concat!($($doc, "\n"),*),
                takes: Takes::$takes,
                gives_bool: gives_bool!($gives),
                tiles: Tiles::One(tiles!(tile1, $gives, $tiles)),
                code: code!($($code)?),
                partials: partial!($d),
                domain: &[($lo, $hi)],
                function: RowFn::One($try_name),
            },
        )*];

        $(
            $(#[doc = $doc])*
            ///
            /// # Errors
            /// When the element type is not supported.
            pub fn $try_name(x: &Array) -> Result<Array> {
                apply1(&ROWS[Id::$name as usize], x)
            }

            $(#[doc = $doc])*
            ///
            /// # Panics
            /// When the element type is not supported.
            #[track_caller]
            pub fn $name(x: &Array) -> Array {
                crate::error::expect($try_name(x))
            }
        )*

        /// Elementwise operations as methods.
        impl Array {$(
            $(#[doc = $doc])*
            ///
            /// # Panics
            /// When the element type is not supported.
            #[track_caller]
            pub fn $name(&self) -> Array {
                crate::error::expect($try_name(self))
            }
        )*}
    };
}

rows! {
    /// Minus `x`.
    negative try_negative: Same => Same, on (-2.0, 2.0), d (|t, _x, _y| negative(t)),
        {[real |x| -x] [int |x| x.wrapping_neg()] [uint |x| x.wrapping_neg()] [c64 |z| -z]} Negative;
    /// The absolute value of a real `x`; see `abs` for the one that also takes complex arrays. The derivative at 0 is 0.
    real_abs try_real_abs: Same => Same, on (0.2, 2.0), d (|t, x, _y| t * sign(x)),
        {[real |x| x.abs()] [int |x| x.wrapping_abs()] [uint |x| x] [bool |x| x]} Absolute;
    /// The sign of `x`: −1, 0 or 1; 0 for NaN.
    real_sign try_real_sign: Same => Same, on (0.2, 2.0), d zero,
        {[real |x| if x > 0.0 { 1.0 } else if x < 0.0 { -1.0 } else { 0.0 }] [int |x| x.signum()]
         [uint |x| x.min(1)] [bool |x| x]};
    /// The square, `x²`.
    square try_square: Same => Same, on (-2.0, 2.0), d (|t, x, _y| t * (x * 2.0)),
        {[real |x| x * x] [int |x| x.wrapping_mul(x)] [uint |x| x.wrapping_mul(x)] [bool |x| x]
         [c64 |z| math::c64::square(z)]} Square;
    /// `1 − x²`, accurate where `x` is near ±1.
    complement try_complement: Float => Same, on (-2.0, 2.0), d (|t, x, _y| t * (x * -2.0)),
        {[real |x| (1.0 - x) * (1.0 + x)] [c64 |z| math::c64::complement(z)]};
    /// The square root, `√x`.
    sqrt try_sqrt: Float => Same, on (0.3, 3.0), d (|t, _x, y| t / (y * 2.0)),
        {[real |x| x.sqrt()] [c64 |z| math::c64::sqrt(z)]} SquareRoot;
    /// One over the square root, `1/√x`.
    rsqrt try_rsqrt: Float => Same, on (0.3, 3.0), d (|t, x, y| t * (y / x * -0.5)),
        {[math rsqrt] [c64 |z| math::c64::rsqrt(z)]};
    /// One over `x`.
    reciprocal try_reciprocal: Float => Same, on (0.3, 3.0), d (|t, _x, y| negative(&(t * square(y)))),
        {[real |x| 1.0 / x] [c64 |z| math::c64::recip(z)]} Reciprocal;
    /// The exponential, `eˣ`.
    exp try_exp: Float => Same, on (-2.0, 2.0), d (|t, _x, y| t * y),
        {[math exp] [c64 |z| math::c64::exp(z)]};
    /// Two to the power `x`.
    exp2 try_exp2: Float => Same, on (-2.0, 2.0), d (|t, _x, y| t * (y * LN_2)),
        {[math exp2] [c64 |z| math::c64::exp2(z)]};
    /// `eˣ − 1`, accurate near zero.
    expm1 try_expm1: Float => Same, on (-2.0, 2.0), d (|t, x, _y| t * exp(x)),
        {[math expm1] [c64 |z| math::c64::expm1(z)]};
    /// The natural logarithm.
    log try_log: Float => Same, on (0.3, 3.0), d (|t, x, _y| t / x),
        {[math log] [c64 |z| math::c64::log(z)]};
    /// The logarithm to base 2.
    log2 try_log2: Float => Same, on (0.3, 3.0), d (|t, x, _y| t / (x * LN_2)),
        {[math log2] [c64 |z| math::c64::log2(z)]};
    /// The logarithm to base 10.
    log10 try_log10: Float => Same, on (0.3, 3.0), d (|t, x, _y| t / (x * LN_10)),
        {[math log10] [c64 |z| math::c64::log10(z)]};
    /// `log(1 + x)`, accurate near zero.
    log1p try_log1p: Float => Same, on (-0.6, 2.0), d (|t, x, _y| t / (x + 1.0)),
        {[math log1p] [c64 |z| math::c64::log1p(z)]};
    /// The sine.
    sin try_sin: Float => Same, on (-3.0, 3.0), d (|t, x, _y| t * cos(x)),
        {[math sin] [c64 |z| math::c64::sin(z)]};
    /// The cosine.
    cos try_cos: Float => Same, on (-3.0, 3.0), d (|t, x, _y| negative(&(t * sin(x)))),
        {[math cos] [c64 |z| math::c64::cos(z)]};
    /// The tangent.
    tan try_tan: Float => Same, on (-1.2, 1.2), d (|t, _x, y| t * (square(y) + 1.0)),
        {[math tan] [c64 |z| math::c64::tan(z)]};
    /// The hyperbolic sine.
    sinh try_sinh: Float => Same, on (-2.0, 2.0), d (|t, x, _y| t * cosh(x)),
        {[math sinh] [c64 |z| math::c64::sinh(z)]};
    /// The hyperbolic cosine.
    cosh try_cosh: Float => Same, on (-2.0, 2.0), d (|t, x, _y| t * sinh(x)),
        {[math cosh] [c64 |z| math::c64::cosh(z)]};
    /// The hyperbolic tangent.
    tanh try_tanh: Float => Same, on (-2.0, 2.0), d (|t, _x, y| t * one_minus(&square(y))),
        {[math tanh] [c64 |z| math::c64::tanh(z)]};
    /// The inverse sine.
    arcsin try_arcsin: Float => Same, on (-0.8, 0.8), d (|t, x, _y| t * rsqrt(&complement(x))),
        {[math asin] [c64 |z| math::c64::asin(z)]};
    /// The inverse cosine.
    arccos try_arccos: Float => Same, on (-0.8, 0.8), d (|t, x, _y| negative(&(t * rsqrt(&complement(x))))),
        {[math acos] [c64 |z| math::c64::acos(z)]};
    /// The inverse tangent.
    arctan try_arctan: Float => Same, on (-2.0, 2.0), d (|t, x, _y| t / (square(x) + 1.0)),
        {[math atan] [c64 |z| math::c64::atan(z)]};
    /// The inverse hyperbolic sine.
    arcsinh try_arcsinh: Float => Same, on (-2.0, 2.0), d (|t, x, _y| t / root_of_square_and_one(x)),
        {[math asinh] [c64 |z| math::c64::asinh(z)]};
    /// The inverse hyperbolic cosine.
    arccosh try_arccosh: Float => Same, on (1.4, 4.0), d (|t, x, _y| t * (rsqrt(&(x - 1.0)) * rsqrt(&(x + 1.0)))),
        {[math acosh] [c64 |z| math::c64::acosh(z)]};
    /// The inverse hyperbolic tangent.
    arctanh try_arctanh: Float => Same, on (-0.8, 0.8), d (|t, x, _y| t / complement(x)),
        {[math atanh] [c64 |z| math::c64::atanh(z)]};
    /// The error function, `2/√π ∫₀ˣ e^(−s²) ds`.
    erf try_erf: Float => Same, on (-2.0, 2.0),
        d (|t, x, _y| t * (exp(&negative(&square(x))) * FRAC_2_SQRT_PI)),
        {[math erf]};
    /// The inverse of the error function.
    erfinv try_erfinv: Float => Same, on (-0.8, 0.8),
        d (|t, _x, y| t * (exp(&square(y)) * (PI.sqrt() / 2.0))),
        {[math erfinv]};
    /// The logistic function, `1/(1 + e⁻ˣ)`, for what is not differentiated; see `sigmoid`.
    logistic try_logistic: Float => Same, on (-3.0, 3.0), d (|t, x, _y| t * sigmoid_slope(x)),
        {[math sigmoid] [c64 |z| math::c64::sigmoid(z)]};
    /// The logistic function below 0, and from 0 on the logistic function less 1: the distance to its nearer end, which
    /// has all its digits in both tails. Derivatives do not see the jump.
    sigmoid_tail try_sigmoid_tail: Float => Same, on (0.1, 3.0), d (|t, _x, y| t * slope_of_tail(y)),
        {[math sigmoid_tail]};
    /// The logistic function of the `x` whose [`sigmoid_tail`] is `w`.
    sigmoid_of_tail try_sigmoid_of_tail: Float => Same, on (0.1, 0.4), d (|t, _w, _y| t.clone()),
        {[real |w| if w.is_sign_negative() { 1.0 + w } else { w }]} SigmoidOfTail;
    /// The slope of the logistic function at the `x` whose [`sigmoid_tail`] is `w`: `|w| − w²`.
    slope_of_tail try_slope_of_tail: Float => Same, on (0.1, 0.4), d (|t, w, _y| t * (sign(w) - w * 2.0)),
        {[real |w| (-w).mul_add(w, w.abs())]} SlopeOfTail;
    /// The derivative of the logistic function, `eˣ/(1 + eˣ)²`, made from `x`: a result near 1 has lost the distance to 1.
    sigmoid_slope try_sigmoid_slope: Float => Same, on (-3.0, 3.0),
        d (|t, x, y| negative(&(t * (y * tanh(&(x * 0.5)))))),
        {[math sigmoid_slope] [c64 |z| math::c64::sigmoid_slope(z)]};
    /// The logarithm of the hyperbolic cosine, without overflow.
    log_cosh try_log_cosh: Float => Same, on (-2.0, 2.0), d (|t, x, _y| t * tanh(x)),
        {[math log_cosh]};
    /// The largest integer that is not above `x`.
    floor try_floor: Same => Same, on (0.1, 0.9), d zero,
        {[real |x| x.floor()] [int |x| x] [uint |x| x] [bool |x| x]};
    /// The smallest integer that is not below `x`.
    ceil try_ceil: Same => Same, on (0.1, 0.9), d zero,
        {[real |x| x.ceil()] [int |x| x] [uint |x| x] [bool |x| x]};
    /// `x` without its fraction.
    trunc try_trunc: Same => Same, on (0.1, 0.9), d zero,
        {[real |x| x.trunc()] [int |x| x] [uint |x| x] [bool |x| x]};
    /// The nearest integer, halves to the even one.
    rint try_rint: Same => Same, on (0.1, 0.4), d zero,
        {[real |x| x.round_ties_even()] [int |x| x] [uint |x| x] [bool |x| x]
         [c64 |z| C64::new(z.re.round_ties_even(), z.im.round_ties_even())]};
    /// Whether `x` is zero (or `False`).
    logical_not try_logical_not: Bool => Bool, on (0.0, 1.0), d zero, {[bool |x| !x]} Not;
    /// Every bit flipped; for truth values the logical negation.
    bitwise_invert try_bitwise_invert: Same => Same, on (0.0, 1.0), d zero,
        {[int |x| !x] [uint |x| !x] [bool |x| !x]};
    /// Whether `x` is not a number.
    isnan try_isnan: Same => Bool, on (0.0, 1.0), d zero,
        {[real |x| x.is_nan()] [int |_x| false] [uint |_x| false] [bool |_x| false] [c64 |z| z.is_nan()]};
    /// Whether `x` is infinite.
    isinf try_isinf: Same => Bool, on (0.0, 1.0), d zero,
        {[real |x| x.is_infinite()] [int |_x| false] [uint |_x| false] [bool |_x| false]
         [c64 |z| z.re.is_infinite() || z.im.is_infinite()]};
    /// Whether `x` is neither infinite nor NaN.
    isfinite try_isfinite: Same => Bool, on (0.0, 1.0), d zero,
        {[real |x| x.is_finite()] [int |_x| true] [uint |_x| true] [bool |_x| true] [c64 |z| z.is_finite()]};
    /// Whether `x` is positive infinity; of complex numbers `∞ + 0i` alone.
    isposinf try_isposinf: Same => Bool, on (0.0, 1.0), d zero,
        {[real |x| x.is_infinite() && x > 0.0] [int |_x| false] [uint |_x| false] [bool |_x| false]
         [c64 |z| z.re == f32::INFINITY && z.im == 0.0]};
    /// Whether `x` is negative infinity; of complex numbers `−∞ + 0i` alone.
    isneginf try_isneginf: Same => Bool, on (0.0, 1.0), d zero,
        {[real |x| x.is_infinite() && x < 0.0] [int |_x| false] [uint |_x| false] [bool |_x| false]
         [c64 |z| z.re == f32::NEG_INFINITY && z.im == 0.0]};
}

/// The absolute value; for complex arrays the modulus, a `float32` array. The derivative at 0 is 0.
///
/// # Errors
/// When the element type is not supported.
pub fn try_abs(x: &Array) -> Result<Array> {
    if x.dtype().is_complex() { ops::complex_abs(x) } else { try_real_abs(x) }
}

/// The absolute value; for complex arrays the modulus, a `float32` array. The derivative at 0 is 0.
///
/// # Panics
/// When the element type is not supported.
#[track_caller]
pub fn abs(x: &Array) -> Array {
    crate::error::expect(try_abs(x))
}

/// The sign: −1, 0 or 1; for complex arrays `z/|z|`, and 0 for 0.
///
/// # Errors
/// When the element type is not supported.
pub fn try_sign(x: &Array) -> Result<Array> {
    if x.dtype().is_complex() { ops::complex_sign(x) } else { try_real_sign(x) }
}

/// The sign: −1, 0 or 1; for complex arrays `z/|z|`, and 0 for 0.
///
/// # Panics
/// When the element type is not supported.
#[track_caller]
pub fn sign(x: &Array) -> Array {
    crate::error::expect(try_sign(x))
}

impl Array {
    /// The absolute value; for complex arrays the modulus, a `float32` array. The derivative at 0 is 0.
    ///
    /// # Panics
    /// When the element type is not supported.
    #[track_caller]
    pub fn abs(&self) -> Array {
        abs(self)
    }
}
