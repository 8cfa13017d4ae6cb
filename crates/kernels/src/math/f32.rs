//! Functions of `f32`, each within 2 units in the last place.
//!
//! All are branch-free, so that a loop over one vectorises: both sides of a condition are computed and one is
//! selected. Polynomials are near-minimax (interpolation at Chebyshev nodes, in higher precision). Functions whose
//! reduction loses digits in `f32` (powers, logarithms to other bases, inverse functions) compute in `f64`, with half as
//! many lanes but without case distinctions.

use super::{f64 as wide, horner};
use std::f32::consts::LOG2_E;

/// Adding and subtracting this rounds to the nearest integer and leaves that integer in the low bits.
const ROUND: f32 = 12_582_912.0; // 1.5 · 2^23
/// The upper bits of ln 2, few enough that their product with a small integer is exact.
const LN_2_HI: f32 = 0.693_359_4;
const LN_2_LO: f32 = -2.121_944_4e-4;

const EXP: [f32; 5] = [5.0e-1, 1.6666576e-1, 4.1666552e-2, 8.363233e-3, 1.392625e-3];
const EXP2: [f32; 7] =
    [6.931_472e-1, 2.402265e-1, 5.550411e-2, 9.618057e-3, 1.3333502e-3, 1.5461445e-4, 1.5297324e-5];
const LOG: [f32; 9] = [
    3.333333e-1,
    -2.4999997e-1,
    2.0000716e-1,
    -1.6667803e-1,
    1.4249058e-1,
    -1.2425687e-1,
    1.168542e-1,
    -1.1479734e-1,
    6.971612e-2,
];
const SIN: [f32; 4] = [-1.6666667e-1, 8.333332e-3, -1.9840083e-4, 2.7249314e-6];
const COS: [f32; 3] = [4.1666664e-2, -1.38883e-3, 2.4547437e-5];
const SINH: [f32; 4] = [1.6666667e-1, 8.333339e-3, 1.9838102e-4, 2.8062802e-6];
const TANH: [f32; 6] = [-3.3333334e-1, 1.3333297e-1, -5.395756e-2, 2.1755412e-2, -8.300795e-3, 2.2450313e-3];
const ERF: [f32; 7] =
    [1.2837917e-1, -3.7612635e-1, 1.12836994e-1, -2.6859589e-2, 5.201456e-3, -8.147081e-4, 8.387074e-5];
/// `-log(erfc(x))` in powers of `x - 0.9`.
const ERFC_LOG: [f32; 10] = [
    1.5940973,
    2.471635,
    8.30006e-1,
    4.582462e-2,
    -1.116816e-2,
    2.269106e-3,
    -3.5333083e-4,
    3.755568e-5,
    -2.2335737e-6,
    4.4538965e-8,
];

/// `x` limited to the bounds; NaN stays NaN.
#[inline(always)]
fn clamp(x: f32, lo: f32, hi: f32) -> f32 {
    let x = if x > hi { hi } else { x };
    if x < lo { lo } else { x }
}

/// `p · 2^n` for `n` from -252 to 254, in two steps so that neither factor leaves the normal range.
#[inline(always)]
fn scale(p: f32, n: i32) -> f32 {
    let half = n >> 1;
    let power = |n: i32| f32::from_bits((n.wrapping_add(127) << 23) as u32);
    p * power(half) * power(n.wrapping_sub(half))
}

/// Splits `x = n·ln 2 + r` with `|r| <= ln(2)/2`.
#[inline(always)]
fn reduce_exp(x: f32) -> (i32, f32) {
    let t = x.mul_add(LOG2_E, ROUND);
    let n = t.to_bits().wrapping_sub(ROUND.to_bits()) as i32;
    let nf = t - ROUND;
    (n, nf.mul_add(-LN_2_LO, nf.mul_add(-LN_2_HI, x)))
}

/// `exp(x) · 2^shift`.
#[inline(always)]
fn exp_shifted(x: f32, shift: i32) -> f32 {
    let x = clamp(x, -105.0, 92.0);
    let (n, r) = reduce_exp(x);
    let p = (r * r).mul_add(horner(r, &EXP), r) + 1.0;
    scale(p, n.wrapping_add(shift))
}

/// e to the power x.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    exp_shifted(x, 0)
}

/// 2 to the power x.
#[inline(always)]
pub fn exp2(x: f32) -> f32 {
    let x = clamp(x, -152.0, 130.0);
    let t = x + ROUND;
    let r = x - (t - ROUND);
    scale(r.mul_add(horner(r, &EXP2), 1.0), t.to_bits().wrapping_sub(ROUND.to_bits()) as i32)
}

/// exp(x) - 1, accurate near zero.
#[inline(always)]
pub fn expm1(x: f32) -> f32 {
    let (n, r) = reduce_exp(clamp(x, -20.0, 92.0));
    let p = (r * r).mul_add(horner(r, &EXP), r);
    // With half the power, so that the greatest results do not overflow on the way.
    let s = f32::from_bits((n.wrapping_add(126) << 23) as u32);
    let big = if x > 89.0 { f32::INFINITY } else { 2.0 * s.mul_add(p, s - 0.5) };
    // Below this x² is less than half a unit in the last place; the selection keeps -0 and subnormals.
    if x.abs() < 1e-8 { x } else { big }
}

/// Splits a positive `x = 2^e · (1 + f)` with `1 + f` between √½ and √2.
#[inline(always)]
fn reduce_log(x: f32) -> (f32, f32) {
    let subnormal = x < f32::MIN_POSITIVE;
    let scaled = if subnormal { x * 8_388_608.0 } else { x };
    let bits = scaled.to_bits().wrapping_sub(0x3f35_04f3);
    let e = (bits as i32 >> 23) as f32 - if subnormal { 23.0 } else { 0.0 };
    (e, f32::from_bits((bits & 0x007f_ffff) + 0x3f35_04f3) - 1.0)
}

/// A logarithm's result: `inside` for positive finite `x`, else its value for 0, negative numbers, infinity or NaN.
#[inline(always)]
fn log_edges(x: f32, inside: f32) -> f32 {
    let r = if x == f32::INFINITY { x } else { inside };
    let r = if x > 0.0 { r } else { f32::NAN };
    if x == 0.0 { f32::NEG_INFINITY } else { r }
}

/// `log(2^e · (1 + f)) + c` for a small correction `c`.
#[inline(always)]
fn log_parts(e: f32, f: f32, c: f32) -> f32 {
    let z = f * f;
    let tail = (f * z).mul_add(horner(f, &LOG), e.mul_add(LN_2_LO, c));
    let tail = z.mul_add(-0.5, tail);
    e.mul_add(LN_2_HI, f + tail)
}

/// Natural logarithm.
#[inline(always)]
pub fn log(x: f32) -> f32 {
    let (e, f) = reduce_log(x);
    log_edges(x, log_parts(e, f, 0.0))
}

/// log(1 + x), accurate near zero.
#[inline(always)]
pub fn log1p(x: f32) -> f32 {
    let u = 1.0 + x;
    // The rounding error of the sum, relative to it; the greater term is subtracted first.
    let lost = if x > 1.0 { 1.0 - (u - x) } else { x - (u - 1.0) };
    let (e, f) = reduce_log(u);
    let r = log_edges(u, log_parts(e, f, lost / u));
    if x.abs() < 1e-8 { x } else { r }
}

/// The logarithm of `eᵃ + eᵇ`, without overflow.
#[inline(always)]
pub fn logaddexp(a: f32, b: f32) -> f32 {
    // The difference of equal infinities is NaN, which counts as 0.
    let (hi, lo) = if a > b { (a, b) } else { (b, a) };
    let gap = lo - hi;
    let level = if hi == lo && hi.abs() < f32::INFINITY { 0.0 } else { f32::NEG_INFINITY };
    let gap = if gap < 0.0 { gap } else { level };
    let sum = hi + log1p(exp(gap));
    if a.is_nan() { a } else { sum }
}

/// The part of `eᵃ` in `eᵃ + eᵇ`, a half for equal infinities.
#[inline(always)]
pub fn logistic_share(a: f32, b: f32) -> f32 {
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
pub fn log_cosh(x: f32) -> f32 {
    wide::log_cosh(f64::from(x)) as f32
}

/// The length of the vector (a, b), without overflow on the way.
#[inline(always)]
pub fn hypot(a: f32, b: f32) -> f32 {
    let (x, y) = (f64::from(a), f64::from(b));
    let length = x.mul_add(x, y * y).sqrt() as f32;
    let infinite = a.abs() == f32::INFINITY || b.abs() == f32::INFINITY;
    if infinite { f32::INFINITY } else { length }
}

/// `a` over the length of the vector (a, b): 0 for length 0; for an infinite length, the limit along
/// an axis or diagonal.
#[inline(always)]
pub fn hypot_share(a: f32, b: f32) -> f32 {
    wide::hypot_share(f64::from(a), f64::from(b)) as f32
}

/// Logarithm to base 2.
#[inline(always)]
pub fn log2(x: f32) -> f32 {
    (wide::log(f64::from(x)) * std::f64::consts::LOG2_E) as f32
}

/// Logarithm to base 10.
#[inline(always)]
pub fn log10(x: f32) -> f32 {
    (wide::log(f64::from(x)) * std::f64::consts::LOG10_E) as f32
}

/// The quadrant and the remainder of `x` by π/2, for all finite `x`.
///
/// The fraction of a full circle is an integer product modulo 2^64: the significand times the bits of
/// `2^exponent / 2π` that matter. So the reduction is as exact for 1e38 as for 1.
#[inline(always)]
fn reduce_trig(x: f32) -> (u32, f64) {
    let bits = x.to_bits();
    let exponent = ((bits >> 23) & 0xff) as i32;
    let significand = u64::from((bits & 0x007f_ffff) | 0x0080_0000);
    let (high, low) = super::turns::fraction(exponent - 150);
    let turn = significand.wrapping_mul(high).wrapping_add((significand * low) >> 32);
    let turn = if (bits as i32) < 0 { turn.wrapping_neg() } else { turn };
    let quadrant = turn.wrapping_add(1 << 61) >> 62;
    let rest = turn.wrapping_sub(quadrant << 62) as i64;
    (quadrant as u32, rest as f64 * (std::f64::consts::FRAC_PI_2 / (1u64 << 62) as f64))
}

/// Sine and cosine of the remainder of the reduction.
#[inline(always)]
fn sin_cos_parts(x: f32) -> (u32, f32, f32) {
    let (q, r) = reduce_trig(x);
    let small = x.abs() < 0.5;
    let q = if small { 0 } else { q };
    let r = if small { x } else { r as f32 };
    let z = r * r;
    let sin = (z * r).mul_add(horner(z, &SIN), r);
    let cos = (z * z).mul_add(horner(z, &COS), z.mul_add(-0.5, 1.0));
    // Infinities and NaN have no quadrant.
    let none = x * 0.0;
    (q, sin + none, cos + none)
}

/// Sine.
#[inline(always)]
pub fn sin(x: f32) -> f32 {
    let (q, s, c) = sin_cos_parts(x);
    let r = if q & 1 == 0 { s } else { c };
    let r = f32::from_bits(r.to_bits() ^ ((q & 2) << 30));
    if x == 0.0 { x } else { r }
}

/// Cosine.
#[inline(always)]
pub fn cos(x: f32) -> f32 {
    let (q, s, c) = sin_cos_parts(x);
    let r = if q & 1 == 0 { c } else { s };
    f32::from_bits(r.to_bits() ^ ((q.wrapping_add(1) & 2) << 30))
}

/// Tangent.
#[inline(always)]
pub fn tan(x: f32) -> f32 {
    let (q, r) = reduce_trig(x);
    let small = x.abs() < 0.5;
    let q = if small { 0 } else { q };
    let r = if small { f64::from(x) } else { r };
    let z = r * r;
    let s = (z * r).mul_add(horner(z, &wide::SIN32), r);
    let c = (z * z).mul_add(horner(z, &wide::COS32), z.mul_add(-0.5, 1.0));
    let t = if q & 1 == 0 { s / c } else { -c / s };
    let none = x * 0.0;
    if x == 0.0 { x } else { t as f32 + none }
}

/// Hyperbolic tangent.
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    let a = x.abs();
    let z = x * x;
    let small = (a * z).mul_add(horner(z, &TANH), a);
    let big = 1.0 - 2.0 / (exp(2.0 * a) + 1.0);
    (if a < 0.625 { small } else { big }).copysign(x)
}

/// Hyperbolic sine.
#[inline(always)]
pub fn sinh(x: f32) -> f32 {
    let z = x * x;
    let small = (x * z).mul_add(horner(z, &SINH), x);
    let half = exp_shifted(x.abs(), -1);
    let big = (half - 0.25 / half).copysign(x);
    if x.abs() < 1.0 { small } else { big }
}

/// Hyperbolic cosine.
#[inline(always)]
pub fn cosh(x: f32) -> f32 {
    let half = exp_shifted(x.abs(), -1);
    half + 0.25 / half
}

/// Inverse hyperbolic sine.
#[inline(always)]
pub fn asinh(x: f32) -> f32 {
    let a = f64::from(x.abs());
    let r = wide::log(a + a.mul_add(a, 1.0).sqrt()) as f32;
    if x.abs() < 2.0e-4 { x } else { r.copysign(x) }
}

/// Inverse hyperbolic cosine.
#[inline(always)]
pub fn acosh(x: f32) -> f32 {
    let a = f64::from(x);
    if x < 1.0 { f32::NAN } else { wide::log(a + a.mul_add(a, -1.0).sqrt()) as f32 }
}

/// Inverse hyperbolic tangent.
#[inline(always)]
pub fn atanh(x: f32) -> f32 {
    let a = f64::from(x);
    let r = (0.5 * wide::log((1.0 + a) / (1.0 - a))) as f32;
    if x.abs() < 2.0e-4 { x } else { r }
}

/// The angle of the point (x, y), to about 33 bits.
#[inline(always)]
fn angle(y: f64, x: f64) -> f64 {
    let (ax, ay) = (x.abs(), y.abs());
    let steep = ay > ax;
    let (num, den) = if steep { (ax, ay) } else { (ay, ax) };
    let t = num / den;
    // For 0/0 and inf/inf: the angles of the axes and the diagonals.
    let t = if num == den { if num == 0.0 { 0.0 } else { 1.0 } } else { t };
    let z = t * t;
    let r = (t * z).mul_add(horner(z, &wide::ATAN32), t);
    let r = if steep { std::f64::consts::FRAC_PI_2 - r } else { r };
    let r = if x.is_sign_negative() { std::f64::consts::PI - r } else { r };
    let r = r.copysign(y);
    if x.is_nan() || y.is_nan() { f64::NAN } else { r }
}

/// Arctangent.
#[inline(always)]
pub fn atan(x: f32) -> f32 {
    if x == 0.0 { x } else { angle(f64::from(x), 1.0) as f32 }
}

/// The angle of the point (x, y).
#[inline(always)]
pub fn atan2(y: f32, x: f32) -> f32 {
    angle(f64::from(y), f64::from(x)) as f32
}

/// Arcsine.
#[inline(always)]
pub fn asin(x: f32) -> f32 {
    let a = f64::from(x);
    let r = angle(a, ((1.0 - a) * (1.0 + a)).sqrt()) as f32;
    if x == 0.0 { x } else { r }
}

/// Arccosine.
#[inline(always)]
pub fn acos(x: f32) -> f32 {
    let a = f64::from(x);
    angle(((1.0 - a) * (1.0 + a)).sqrt(), a) as f32
}

/// One over the square root.
#[inline(always)]
pub fn rsqrt(x: f32) -> f32 {
    1.0 / x.sqrt()
}

/// The logistic function 1 / (1 + exp(-x)).
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    // exp of the negative side never overflows, and keeps the digits of small results. When the function is
    // differentiated, it is computed from `sigmoid_tail`, with the same bits.
    let e = exp(-x.abs());
    let q = e / (1.0 + e);
    let m = if x < 0.0 { e } else { 1.0 };
    (-m).mul_add(q, m)
}

/// [`sigmoid`] below 0, and `sigmoid(x) - 1`, negative or -0, from 0 on: accurate in both tails.
#[inline(always)]
pub fn sigmoid_tail(x: f32) -> f32 {
    let e = exp(-x.abs());
    let q = e / (1.0 + e);
    if x < 0.0 { (-e).mul_add(q, e) } else { -q }
}

/// The derivative of [`sigmoid`], accurate in both tails.
#[inline(always)]
pub fn sigmoid_slope(x: f32) -> f32 {
    let e = exp(-x.abs());
    let d = 1.0 + e;
    e / (d * d)
}

/// The error function.
#[inline(always)]
pub fn erf(x: f32) -> f32 {
    let a = x.abs();
    let z = x * x;
    let small = x.mul_add(horner(z, &ERF), x);
    let t = if a > 4.0 { 4.0 } else { a } - 0.9;
    let big = (1.0 - exp(-horner(t, &ERFC_LOG))).copysign(x);
    if a < 0.9 { small } else { big }
}

/// The inverse of the error function.
#[inline(always)]
pub fn erfinv(x: f32) -> f32 {
    let a = f64::from(x);
    let w = -wide::log((1.0 - a) * (1.0 + a));
    let mid = horner(w - 2.75, &wide::ERFINV_MID);
    let tail = horner(w.sqrt() - 3.125, &wide::ERFINV_TAIL32);
    let r = (a * if w < 5.45 { mid } else { tail }) as f32;
    if x.abs() == 1.0 { f32::INFINITY.copysign(x) } else { r }
}

/// x to the power y.
#[inline(always)]
pub fn pow(x: f32, y: f32) -> f32 {
    let magnitude = wide::exp(f64::from(y) * wide::log(f64::from(x.abs()))) as f32;
    let whole = y.trunc() == y;
    // From 2^24 on every float is even; half of a smaller odd integer has a fraction.
    let odd = whole && (y * 0.5).trunc() != y * 0.5;
    let signed = if odd { magnitude.copysign(x) } else { magnitude };
    let r = if x < 0.0 && !whole && x != f32::NEG_INFINITY { f32::NAN } else { signed };
    // |x| = 1 with infinite y is 0·∞ above.
    let r = if y.abs() == f32::INFINITY && x.abs() == 1.0 { 1.0 } else { r };
    if x == 1.0 || y == 0.0 { 1.0 } else { r }
}

/// The quotient rounded down: the floor of the exact `a / b`, not of the rounded one.
#[inline(always)]
pub fn floor_divide(a: f32, b: f32) -> f32 {
    let q = (a / b).floor();
    // If the division has rounded up to a whole number, the remainder of that number has the wrong sign. The remainder is
    // exact if a quotient of this size can have a fraction.
    let rest = (-q).mul_add(b, a);
    let rest = if b.is_infinite() { a } else { rest };
    let above = rest != 0.0 && (rest < 0.0) != (b < 0.0) && q.is_finite();
    let q = if above { q - 1.0 } else { q };
    // An infinite dividend has no remainder, and a quotient by zero is not rounded.
    if a.is_infinite() && b != 0.0 { f32::NAN } else { q }
}

/// The remainder of [`floor_divide`]. It has the sign of `b`, even if it is zero.
#[inline(always)]
pub fn remainder(a: f32, b: f32) -> f32 {
    let r = a % b;
    let r = if r != 0.0 && (r < 0.0) != (b < 0.0) { r + b } else { r };
    if r == 0.0 { r.copysign(b) } else { r }
}
