//! Functions of `f64`.
//!
//! Exponentials, logarithms and functions made of them have no branches and vectorise, within 2 units in the last place.
//! Other functions call the standard library or `libm`.

use super::horner;
use std::f64::consts::{LN_2, LOG2_E};

/// Adding and subtracting this rounds to the nearest integer and leaves that integer in the low bits.
const ROUND: f64 = 6_755_399_441_055_744.0; // 1.5 · 2^52
/// The upper bits of ln 2, few enough that their product with a small integer is exact.
const LN_2_HI: f64 = 0.6931471803691238;
const LN_2_LO: f64 = 1.9082149292705877e-10;

const EXP: [f64; 11] = [
    0.5,
    0.1666666666666667,
    0.04166666666666667,
    0.008333333333326084,
    0.0013888888888883711,
    0.0001984126987500228,
    2.4801587325677437e-5,
    2.755725517000089e-6,
    2.7557273478738917e-7,
    2.5105312729622103e-8,
    2.091475531974907e-9,
];
const LOG: [f64; 7] = [
    0.666666666666667,
    0.3999999999989827,
    0.2857142862653362,
    0.22222211043776857,
    0.18182895750119193,
    0.1533150161114533,
    0.1461916613488797,
];
const TANH: [f64; 13] = [
    -0.3333333333333333,
    0.1333333333333331,
    -0.053968253968224564,
    0.021869488534570138,
    -0.008863235485409014,
    0.003592127291258839,
    -0.001455826344521612,
    0.0005899689961238159,
    -0.00023883623082872885,
    9.589549410473087e-5,
    -3.682892808141779e-5,
    1.1959513002759347e-5,
    -2.3301984332673845e-6,
];
const SINH: [f64; 8] = [
    0.16666666666666666,
    0.008333333333333333,
    0.00019841269841269773,
    2.755731922404034e-6,
    2.505210836405804e-8,
    1.6059048396350562e-10,
    7.646625361656657e-13,
    2.8445264169895285e-15,
];
/// Accurate enough for `f32` results.
pub(super) const SIN32: [f64; 4] =
    [-0.16666666663832763, 0.008333331865959415, -0.00019840082012765537, 2.7249314054698804e-6];
/// Accurate enough for `f32` results.
pub(super) const COS32: [f64; 4] =
    [0.0416666666643024, -0.0013888887664713619, 2.4800596435621998e-5, -2.7300448619488353e-7];
/// Accurate enough for `f32` results.
pub(super) const ATAN32: [f64; 11] = [
    -0.33333333293301176,
    0.19999990275947271,
    -0.14285317963907304,
    0.1110470678864422,
    -0.09036742342070782,
    0.0741749696430051,
    -0.05760716083128117,
    0.038327445983064846,
    -0.019261081322765883,
    0.00620725453378005,
    -0.0009362994719496015,
];
/// Accurate enough for `f32` results.
pub(super) const ERFINV_MID: [f64; 13] = [
    1.5627896112343589,
    0.24433025850764906,
    -0.0050359759143184584,
    -0.0010385800106795903,
    0.00020906687611712646,
    -9.488147494446713e-6,
    -2.5694784643180286e-6,
    4.839689391154486e-7,
    -7.927832644397301e-9,
    -8.537143911712937e-9,
    1.0498537770985339e-9,
    6.668466023597069e-11,
    -1.897297916040717e-11,
];
const ERFINV_TAIL: [f64; 11] = [
    4.09222339518595,
    1.0099806893935128,
    0.0007114014782391792,
    -0.0006201955412244789,
    0.00022053454054546086,
    -4.870187267291385e-5,
    9.484054535448742e-6,
    -1.6383418970628097e-5,
    1.2676541421943474e-5,
    -3.4795187193929214e-6,
    2.647519721676474e-7,
];
/// Accurate enough for `f32` results.
pub(super) const ERFINV_TAIL32: [f64; 10] = [
    2.9583201380539337,
    1.0037186222894878,
    0.007048753296482387,
    -0.005299360115966293,
    0.0037842660205792693,
    -0.0025303810431503925,
    0.0013035555167888728,
    -0.00030369659340036286,
    -0.00016785246497886798,
    0.00011583668101367254,
];

/// `x` limited to the bounds; NaN stays NaN.
#[inline(always)]
fn clamp(x: f64, lo: f64, hi: f64) -> f64 {
    let x = if x > hi { hi } else { x };
    if x < lo { lo } else { x }
}

/// `p · 2^n` for `n` from -2044 to 2046, in two steps so that neither factor leaves the normal range.
#[inline(always)]
fn scale(p: f64, n: i64) -> f64 {
    let half = n >> 1;
    let power = |n: i64| f64::from_bits((n.wrapping_add(1023) << 52) as u64);
    p * power(half) * power(n.wrapping_sub(half))
}

/// Splits `x = n·ln 2 + r` with `|r| <= ln(2)/2`.
#[inline(always)]
fn reduce_exp(x: f64) -> (i64, f64) {
    let t = x.mul_add(LOG2_E, ROUND);
    let n = t.to_bits().wrapping_sub(ROUND.to_bits()) as i64;
    let nf = t - ROUND;
    (n, nf.mul_add(-LN_2_LO, nf.mul_add(-LN_2_HI, x)))
}

/// `exp(x) · 2^shift`.
#[inline(always)]
fn exp_shifted(x: f64, shift: i64) -> f64 {
    let x = clamp(x, -750.0, 712.0);
    let (n, r) = reduce_exp(x);
    let p = (r * r).mul_add(horner(r, &EXP), r) + 1.0;
    scale(p, n.wrapping_add(shift))
}

/// e to the power x.
#[inline(always)]
pub fn exp(x: f64) -> f64 {
    exp_shifted(x, 0)
}

/// 2 to the power x.
#[inline(always)]
pub fn exp2(x: f64) -> f64 {
    let x = clamp(x, -1080.0, 1026.0);
    let t = x + ROUND;
    let r = (x - (t - ROUND)) * LN_2;
    let p = (r * r).mul_add(horner(r, &EXP), r) + 1.0;
    scale(p, t.to_bits().wrapping_sub(ROUND.to_bits()) as i64)
}

/// exp(x) - 1, accurate near zero.
#[inline(always)]
pub fn expm1(x: f64) -> f64 {
    let (n, r) = reduce_exp(clamp(x, -40.0, 712.0));
    let p = (r * r).mul_add(horner(r, &EXP), r);
    // With half the power, so that the greatest results do not overflow on the way.
    let s = f64::from_bits((n.wrapping_add(1022) << 52) as u64);
    let big = if x > 710.0 { f64::INFINITY } else { 2.0 * s.mul_add(p, s - 0.5) };
    // Below this x² is less than half a unit in the last place; the selection keeps -0 and subnormals.
    if x.abs() < 1e-17 { x } else { big }
}

/// Splits a positive `x = 2^e · (1 + f)` with `1 + f` between √½ and √2.
#[inline(always)]
fn reduce_log(x: f64) -> (f64, f64) {
    let subnormal = x < f64::MIN_POSITIVE;
    let scaled = if subnormal { x * 18_014_398_509_481_984.0 } else { x };
    let bits = scaled.to_bits().wrapping_sub(0x3fe6_a09e_667f_3bcd);
    // The exponent is converted to floating point by way of the low bits of ROUND: AVX2 cannot convert 64-bit integers.
    let e = f64::from_bits(((bits as i64 >> 52) as u64).wrapping_add(ROUND.to_bits())) - ROUND;
    let e = e - if subnormal { 54.0 } else { 0.0 };
    (e, f64::from_bits((bits & 0x000f_ffff_ffff_ffff) + 0x3fe6_a09e_667f_3bcd) - 1.0)
}

/// A logarithm's result: `inside` for positive finite `x`, else its value for 0, negative numbers, infinity or NaN.
#[inline(always)]
fn log_edges(x: f64, inside: f64) -> f64 {
    let r = if x == f64::INFINITY { x } else { inside };
    let r = if x > 0.0 { r } else { f64::NAN };
    if x == 0.0 { f64::NEG_INFINITY } else { r }
}

/// `log(2^e · (1 + f)) + c` for a small correction `c`.
///
/// With `s = f / (2 + f)`: `log(1 + f) = f - f²/2 + s·(f²/2 + s²·R(s²))`, whose correction to `f` is small.
#[inline(always)]
fn log_parts(e: f64, f: f64, c: f64) -> f64 {
    let s = f / (2.0 + f);
    let z = s * s;
    let h = 0.5 * f * f;
    let tail = s.mul_add(z.mul_add(horner(z, &LOG), h), e.mul_add(LN_2_LO, c));
    e.mul_add(LN_2_HI, f - (h - tail))
}

/// Natural logarithm.
#[inline(always)]
pub fn log(x: f64) -> f64 {
    let (e, f) = reduce_log(x);
    log_edges(x, log_parts(e, f, 0.0))
}

/// log(1 + x), accurate near zero.
#[inline(always)]
pub fn log1p(x: f64) -> f64 {
    let u = 1.0 + x;
    // The rounding error of the sum, relative to it; the greater term is subtracted first.
    let lost = if x > 1.0 { 1.0 - (u - x) } else { x - (u - 1.0) };
    let (e, f) = reduce_log(u);
    let r = log_edges(u, log_parts(e, f, lost / u));
    if x.abs() < 1e-17 { x } else { r }
}

/// The logarithm of `eᵃ + eᵇ`, without overflow.
#[inline(always)]
pub fn logaddexp(a: f64, b: f64) -> f64 {
    // The difference of equal infinities is NaN, which counts as 0.
    let (hi, lo) = if a > b { (a, b) } else { (b, a) };
    let gap = lo - hi;
    let level = if hi == lo && hi.abs() < f64::INFINITY { 0.0 } else { f64::NEG_INFINITY };
    let gap = if gap < 0.0 { gap } else { level };
    let sum = hi + log1p(exp(gap));
    if a.is_nan() { a } else { sum }
}

/// The part of `eᵃ` in `eᵃ + eᵇ`, a half for equal infinities.
#[inline(always)]
pub fn logistic_share(a: f64, b: f64) -> f64 {
    // The difference of equal infinities is NaN.
    let gap = if a == b { 0.0 } else { a - b };
    // The rounding error of the difference (Knuth), which exp would magnify to several units in the last place.
    let part = gap - a;
    let lost = (a - (gap - part)) - (b + part);
    let lost = if lost.is_finite() { lost } else { 0.0 };
    let share = sigmoid(gap);
    share.mul_add(lost * (1.0 - share), share)
}

/// The logarithm of the hyperbolic cosine, accurate near zero, without overflow.
#[inline(always)]
pub fn log_cosh(x: f64) -> f64 {
    let a = x.abs();
    // cosh x = 1 + 2 sinh²(x/2): no digits are lost near zero.
    let half = sinh(if a < 1.0 { 0.5 * x } else { 0.0 });
    let small = log1p(2.0 * half * half);
    let big = (a - LN_2) + log1p(exp(-2.0 * a));
    if a < 1.0 { small } else { big }
}

/// A power of two that keeps the squares of `a` and `b` in range.
#[inline(always)]
fn hypot_scale(a: f64, b: f64) -> f64 {
    let high = if a.abs() > b.abs() { a.abs() } else { b.abs() };
    let up = if high < 1e-140 { 4.149515568880993e180 } else { 1.0 }; // 2^600
    if high > 1e150 { 2.409919865102884e-181 } else { up } // 2^-600
}

/// The length of the vector (a, b), without overflow on the way.
#[inline(always)]
pub fn hypot(a: f64, b: f64) -> f64 {
    let s = hypot_scale(a, b);
    let (x, y) = (a * s, b * s);
    let length = x.mul_add(x, y * y).sqrt() / s;
    let infinite = a.abs() == f64::INFINITY || b.abs() == f64::INFINITY;
    if infinite { f64::INFINITY } else { length }
}

/// `a` over the length of the vector (a, b): 0 for length 0; for an infinite length, the limit along
/// an axis or diagonal.
#[inline(always)]
pub fn hypot_share(a: f64, b: f64) -> f64 {
    let (whole_a, whole_b) = (a.abs() == f64::INFINITY, b.abs() == f64::INFINITY);
    // A finite component is negligible compared to an infinite one.
    let infinite = whole_a || whole_b;
    let p = if whole_a {
        1.0f64.copysign(a)
    } else if infinite {
        a * 0.0
    } else {
        a
    };
    let q = if whole_b {
        1.0
    } else if infinite {
        b * 0.0
    } else {
        b
    };
    let s = hypot_scale(p, q);
    let (x, y) = (p * s, q * s);
    let length = x.mul_add(x, y * y).sqrt();
    if length == 0.0 { x } else { x / length }
}

/// Logarithm to base 2.
#[inline(always)]
pub fn log2(x: f64) -> f64 {
    x.log2()
}

/// Logarithm to base 10.
#[inline(always)]
pub fn log10(x: f64) -> f64 {
    x.log10()
}

/// Sine.
#[inline(always)]
pub fn sin(x: f64) -> f64 {
    x.sin()
}

/// Cosine.
#[inline(always)]
pub fn cos(x: f64) -> f64 {
    x.cos()
}

/// Tangent.
#[inline(always)]
pub fn tan(x: f64) -> f64 {
    x.tan()
}

/// Hyperbolic tangent.
#[inline(always)]
pub fn tanh(x: f64) -> f64 {
    let a = x.abs();
    let z = x * x;
    let small = (a * z).mul_add(horner(z, &TANH), a);
    let big = 1.0 - 2.0 / (exp(2.0 * a) + 1.0);
    (if a < 0.625 { small } else { big }).copysign(x)
}

/// Hyperbolic sine.
#[inline(always)]
pub fn sinh(x: f64) -> f64 {
    let z = x * x;
    let small = (x * z).mul_add(horner(z, &SINH), x);
    let half = exp_shifted(x.abs(), -1);
    let big = (half - 0.25 / half).copysign(x);
    if x.abs() < 1.0 { small } else { big }
}

/// Hyperbolic cosine.
#[inline(always)]
pub fn cosh(x: f64) -> f64 {
    let half = exp_shifted(x.abs(), -1);
    half + 0.25 / half
}

/// Inverse hyperbolic sine.
#[inline(always)]
pub fn asinh(x: f64) -> f64 {
    libm::asinh(x)
}

/// Inverse hyperbolic cosine.
#[inline(always)]
pub fn acosh(x: f64) -> f64 {
    // `libm::acosh` treats large negative numbers as positive ones.
    if x < 1.0 { f64::NAN } else { libm::acosh(x) }
}

/// Inverse hyperbolic tangent.
#[inline(always)]
pub fn atanh(x: f64) -> f64 {
    libm::atanh(x)
}

/// Arcsine.
#[inline(always)]
pub fn asin(x: f64) -> f64 {
    x.asin()
}

/// Arccosine.
#[inline(always)]
pub fn acos(x: f64) -> f64 {
    x.acos()
}

/// Arctangent.
#[inline(always)]
pub fn atan(x: f64) -> f64 {
    x.atan()
}

/// The angle of the point (x, y).
#[inline(always)]
pub fn atan2(y: f64, x: f64) -> f64 {
    y.atan2(x)
}

/// x to the power y.
#[inline(always)]
pub fn pow(x: f64, y: f64) -> f64 {
    x.powf(y)
}

/// One over the square root.
#[inline(always)]
pub fn rsqrt(x: f64) -> f64 {
    1.0 / x.sqrt()
}

/// The logistic function 1 / (1 + exp(-x)).
#[inline(always)]
pub fn sigmoid(x: f64) -> f64 {
    // exp of the negative side never overflows, and keeps the digits of small results. When the function is
    // differentiated, it is computed from `sigmoid_tail`, with the same bits.
    let e = exp(-x.abs());
    let q = e / (1.0 + e);
    let m = if x < 0.0 { e } else { 1.0 };
    (-m).mul_add(q, m)
}

/// [`sigmoid`] below 0, and `sigmoid(x) - 1`, negative or -0, from 0 on: accurate in both tails.
#[inline(always)]
pub fn sigmoid_tail(x: f64) -> f64 {
    let e = exp(-x.abs());
    let q = e / (1.0 + e);
    if x < 0.0 { (-e).mul_add(q, e) } else { -q }
}

/// The derivative of [`sigmoid`], accurate in both tails.
#[inline(always)]
pub fn sigmoid_slope(x: f64) -> f64 {
    let e = exp(-x.abs());
    let d = 1.0 + e;
    e / (d * d)
}

/// The error function.
#[inline(always)]
pub fn erf(x: f64) -> f64 {
    libm::erf(x)
}

/// The inverse of the error function.
pub fn erfinv(x: f64) -> f64 {
    let a = x.abs();
    if a >= 1.0 || a.is_nan() {
        return if a == 1.0 { f64::INFINITY.copysign(x) } else { f64::NAN };
    }
    let w = -log((1.0 - a) * (1.0 + a));
    let start = if w < 5.45 { horner(w - 2.75, &ERFINV_MID) } else { horner(w.sqrt() - 4.25, &ERFINV_TAIL) };
    let mut y = a * start;
    // The polynomials give 6 to 9 digits; Halley's method triples them. Near 1 the complement keeps the digits.
    for _ in 0..2 {
        let miss = if a > 0.5 { (1.0 - a) - libm::erfc(y) } else { libm::erf(y) - a };
        let step = miss / (std::f64::consts::FRAC_2_SQRT_PI * exp(-y * y));
        y -= step / y.mul_add(step, 1.0);
    }
    y.copysign(x)
}

/// The quotient rounded down: the floor of the exact `a / b`, not of the rounded one.
#[inline(always)]
pub fn floor_divide(a: f64, b: f64) -> f64 {
    let q = (a / b).floor();
    // If the division has rounded up to a whole number, the remainder of that number has the wrong sign. The remainder is
    // exact if a quotient of this size can have a fraction.
    let rest = (-q).mul_add(b, a);
    let rest = if b.is_infinite() { a } else { rest };
    let above = rest != 0.0 && (rest < 0.0) != (b < 0.0) && q.is_finite();
    let q = if above { q - 1.0 } else { q };
    // An infinite dividend has no remainder, and a quotient by zero is not rounded.
    if a.is_infinite() && b != 0.0 { f64::NAN } else { q }
}

/// The remainder of [`floor_divide`]. It has the sign of `b`, even if it is zero.
#[inline(always)]
pub fn remainder(a: f64, b: f64) -> f64 {
    let r = a % b;
    let r = if r != 0.0 && (r < 0.0) != (b < 0.0) { r + b } else { r };
    if r == 0.0 { r.copysign(b) } else { r }
}
