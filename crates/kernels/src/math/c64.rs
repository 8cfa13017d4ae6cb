//! Functions of complex numbers.
//!
//! All functions compute in `f64`. Its range includes the squares of the greatest and the smallest `f32`, and it has enough
//! digits for the cancellation in the textbook formulas, so both parts are right to the precision of `f32`. Where that does
//! not suffice, the formulas are those of Kahan ("Branch cuts for complex elementary functions", 1987). Values at infinities
//! and NaN are those of Annex G of the C standard. Branch cuts are those of C, where the sign of zero decides the side of a
//! cut.
//!
//! The operators `+` and `·` compute in `f32`, as in NumPy.

use crate::dtype::C64;
use crate::math::f64 as real;
use num_complex::Complex;
use std::f64::consts::{FRAC_PI_2, LN_2, LN_10};

type W = Complex<f64>;

#[inline(always)]
fn wide(z: C64) -> W {
    W::new(f64::from(z.re), f64::from(z.im))
}

#[inline(always)]
fn narrow(z: W) -> C64 {
    C64::new(z.re as f32, z.im as f32)
}

const NAN: W = W::new(f64::NAN, f64::NAN);

/// `i·z`, exactly.
#[inline(always)]
fn turn(z: C64) -> C64 {
    C64::new(-z.im, z.re)
}

/// `−i·z`, exactly.
#[inline(always)]
fn turn_back(z: C64) -> C64 {
    C64::new(z.im, -z.re)
}

/// The modulus, for parts whose squares do not overflow; infinite if either part is, even if the other is NaN.
#[inline(always)]
fn modulus(z: W) -> f64 {
    let r = (z.re * z.re + z.im * z.im).sqrt();
    if z.re.is_infinite() || z.im.is_infinite() { f64::INFINITY } else { r }
}

/// The modulus.
#[inline(always)]
pub fn abs(z: C64) -> f32 {
    modulus(wide(z)) as f32
}

/// `z/|z|`: 0 for 0; the direction of the infinite part, and NaN if both are infinite.
#[inline(always)]
pub fn sign(z: C64) -> C64 {
    let w = wide(z);
    let r = modulus(w);
    let finite = W::new(w.re / r, w.im / r);
    let unit = |x: f64| if x.is_infinite() { 1f64.copysign(x) } else { 0.0 };
    let out = if r.is_infinite() { W::new(unit(w.re), unit(w.im)) } else { finite };
    let out = if r == 0.0 { W::new(0.0, 0.0) } else { out };
    let none = if r.is_infinite() { z.re.is_infinite() && z.im.is_infinite() } else { r.is_nan() };
    narrow(if none { NAN } else { out })
}

/// The quotient in `f64`, without a branch.
///
/// The plain formula suffices, because in `f64` neither `|b|²` nor the products overflow or underflow. A divisor with one
/// infinite part gives zero times its direction; one with two infinite parts has no direction. A division by zero divides
/// each part.
#[inline(always)]
fn quotient(a: W, b: W) -> W {
    let (re_inf, im_inf) = (b.re.is_infinite(), b.im.is_infinite());
    let infinite = re_inf != im_inf;
    let direction = |x: f64, inf: bool| (if inf { 1f64 } else { 0.0 }).copysign(x);
    let usable = infinite && !b.re.is_nan() && !b.im.is_nan();
    let re = if usable { direction(b.re, re_inf) } else { b.re };
    let im = if usable { direction(b.im, im_inf) } else { b.im };
    let size = re * re + im * im;
    let zero = size == 0.0;
    let inverse = if usable { 0.0 } else { 1.0 / size };
    let q = W::new((a.re * re + a.im * im) * inverse, (a.im * re - a.re * im) * inverse);
    if zero { W::new(a.re / size, a.im / size) } else { q }
}

/// The quotient `a / b`.
#[inline(always)]
pub fn div(a: C64, b: C64) -> C64 {
    narrow(quotient(wide(a), wide(b)))
}

/// One over `z` in `f64`, as in [`quotient`]: the conjugate over the square of the modulus. One over zero has no direction.
#[inline(always)]
fn reciprocal(z: W) -> W {
    let infinite = z.re.is_infinite() != z.im.is_infinite() && !z.re.is_nan() && !z.im.is_nan();
    let inverse = 1.0 / (z.re * z.re + z.im * z.im);
    let limit = W::new(0f64.copysign(z.re), 0f64.copysign(-z.im));
    if infinite { limit } else { W::new(z.re * inverse, -z.im * inverse) }
}

/// One over `z`; NaN for zero.
#[inline(always)]
pub fn recip(z: C64) -> C64 {
    narrow(reciprocal(wide(z)))
}

/// The square; each part is rounded once.
#[inline(always)]
pub fn square(z: C64) -> C64 {
    let z = wide(z);
    narrow(W::new(z.re * z.re - z.im * z.im, 2.0 * z.re * z.im))
}

/// `eˣ·(cos y + i·sin y)` for any `x` and `y`.
#[inline(always)]
fn wide_exp(z: W) -> W {
    let (x, y) = (z.re, z.im);
    let e = real::exp(x);
    if y == 0.0 {
        return W::new(e, y);
    }
    if !y.is_finite() {
        return match x {
            f64::NEG_INFINITY => W::new(0.0, 0f64.copysign(y)),
            f64::INFINITY => W::new(x, f64::NAN),
            _ => NAN,
        };
    }
    let (sin, cos) = y.sin_cos();
    W::new(e * cos, e * sin)
}

/// e to the power z.
pub fn exp(z: C64) -> C64 {
    narrow(wide_exp(wide(z)))
}

/// 2 to the power z.
pub fn exp2(z: C64) -> C64 {
    let z = wide(z);
    narrow(wide_exp(W::new(z.re * LN_2, z.im * LN_2)))
}

/// `exp(z) - 1`, accurate near zero.
pub fn expm1(z: C64) -> C64 {
    let z = wide(z);
    if z.im == 0.0 {
        return narrow(W::new(real::expm1(z.re), z.im));
    }
    if !z.re.is_finite() || !z.im.is_finite() {
        return narrow(wide_exp(z) - 1.0);
    }
    let (sin, cos) = z.im.sin_cos();
    let half = (0.5 * z.im).sin();
    // eˣ·cos y − 1, by way of the difference 1 − cos y.
    let re = real::expm1(z.re) * cos - 2.0 * half * half;
    narrow(W::new(re, real::exp(z.re) * sin))
}

/// `log(1 + w)` for `w` with parts of `f32` precision.
#[inline(always)]
fn wide_log1p(z: W) -> W {
    let (x, y) = (z.re, z.im);
    if x.is_infinite() || y.is_infinite() {
        return W::new(f64::INFINITY, y.atan2(x));
    }
    // |1 + z|² − 1 = x² + 2x + y²: squares of f32 numbers are exact, and so is the error of the sum.
    let (a, b) = (2.0 * x, y * y);
    let sum = a + b;
    let lost = if a.abs() > b { b - (sum - a) } else { a - (sum - b) };
    let excess = sum + x.mul_add(x, lost);
    // Close to −1, where 1 + x is exact, the excess is close to −1 and has lost the other digits.
    let inside = excess < -0.5;
    let size = (1.0 + x) * (1.0 + x) + b;
    let log = if inside { real::log(size) } else { real::log1p(excess) };
    W::new(0.5 * log, y.atan2(1.0 + x))
}

/// The logarithm of `w` in `f64`, for parts of `f32` precision.
#[inline(always)]
fn wide_log(z: W) -> W {
    let (x, y) = (z.re, z.im);
    let size = x * x + y * y;
    // Near the unit circle |z|² − 1 is formed without rounding: (x − 1)(x + 1) and y² are exact.
    let (high, low) = if x.abs() > y.abs() { (x.abs(), y) } else { (y.abs(), x) };
    let near = size > 0.5 && size < 2.0;
    let re = if near { real::log1p((high - 1.0) * (high + 1.0) + low * low) } else { real::log(size) };
    let re = if x.is_infinite() || y.is_infinite() { f64::INFINITY } else { 0.5 * re };
    W::new(re, y.atan2(x))
}

/// Natural logarithm (principal value).
pub fn log(z: C64) -> C64 {
    narrow(wide_log(wide(z)))
}

/// Logarithm to base 2 (principal value).
pub fn log2(z: C64) -> C64 {
    let w = wide_log(wide(z));
    narrow(W::new(w.re / LN_2, w.im / LN_2))
}

/// Logarithm to base 10 (principal value).
pub fn log10(z: C64) -> C64 {
    let w = wide_log(wide(z));
    narrow(W::new(w.re / LN_10, w.im / LN_10))
}

/// `log(1 + z)`, accurate near zero (principal value).
pub fn log1p(z: C64) -> C64 {
    narrow(wide_log1p(wide(z)))
}

/// Square root (principal value: the real part is not negative).
#[inline(always)]
fn wide_sqrt(z: W) -> W {
    let (x, y) = (z.re, z.im);
    if y.is_infinite() {
        return W::new(f64::INFINITY, y);
    }
    if x.is_infinite() {
        let (great, small) = (f64::INFINITY, if y.is_nan() { y } else { 0.0 });
        return if x > 0.0 { W::new(great, small.copysign(y)) } else { W::new(small, great.copysign(y)) };
    }
    let great = ((x.abs() + modulus(z)) * 0.5).sqrt();
    if great == 0.0 {
        return W::new(0.0, y);
    }
    let small = 0.5 * y.abs() / great;
    let (re, im) = if x.is_sign_negative() { (small, great) } else { (great, small) };
    W::new(re, im.copysign(y))
}

/// Square root (principal value).
pub fn sqrt(z: C64) -> C64 {
    narrow(wide_sqrt(wide(z)))
}

/// One over the square root (principal value).
pub fn rsqrt(z: C64) -> C64 {
    let root = wide_sqrt(wide(z));
    narrow(quotient(W::new(1.0, 0.0), root))
}

/// Hyperbolic sine.
pub fn sinh(z: C64) -> C64 {
    let (x, y) = (f64::from(z.re), f64::from(z.im));
    if y == 0.0 {
        return C64::new(real::sinh(x) as f32, z.im);
    }
    if !y.is_finite() {
        let re = if x == 0.0 {
            x
        } else if x.is_infinite() {
            f64::INFINITY
        } else {
            f64::NAN
        };
        return narrow(W::new(re, f64::NAN));
    }
    let (sin, cos) = y.sin_cos();
    narrow(W::new(real::sinh(x) * cos, real::cosh(x) * sin))
}

/// Hyperbolic cosine.
pub fn cosh(z: C64) -> C64 {
    let (x, y) = (f64::from(z.re), f64::from(z.im));
    if y == 0.0 {
        return C64::new(real::cosh(x) as f32, if x.is_nan() { z.im } else { z.im * 1f32.copysign(z.re) });
    }
    if !y.is_finite() {
        let re = if x.is_infinite() { f64::INFINITY } else { f64::NAN };
        return narrow(W::new(re, if x == 0.0 { 0.0 } else { f64::NAN }));
    }
    let (sin, cos) = y.sin_cos();
    narrow(W::new(real::cosh(x) * cos, real::sinh(x) * sin))
}

/// Hyperbolic tangent.
pub fn tanh(z: C64) -> C64 {
    let (x, y) = (f64::from(z.re), f64::from(z.im));
    if y == 0.0 {
        return C64::new(real::tanh(x) as f32, z.im);
    }
    if !y.is_finite() {
        return narrow(match x {
            0.0 => W::new(x, f64::NAN),
            _ if x.is_infinite() => W::new(1f64.copysign(x), 0f64.copysign(y)),
            _ => NAN,
        });
    }
    let (sin, cos) = y.sin_cos();
    if x.abs() > 20.0 {
        // Here cos y is negligible compared to sinh x, and so is the difference of the result from 1.
        return narrow(W::new(1f64.copysign(x), 4.0 * sin * cos * real::exp(-2.0 * x.abs())));
    }
    let (sinh, cosh) = (real::sinh(x), real::cosh(x));
    // |cosh z|² as a sum of squares, without cancellation near the poles.
    let size = sinh * sinh + cos * cos;
    narrow(W::new(sinh * cosh / size, sin * cos / size))
}

/// Sine.
pub fn sin(z: C64) -> C64 {
    let w = turn_back(sinh(turn(z)));
    // Without a direction C leaves the sign open; this is NumPy's choice.
    if w.re.is_nan() && w.im.is_infinite() { C64::new(w.re, f32::INFINITY) } else { w }
}

/// Cosine.
pub fn cos(z: C64) -> C64 {
    cosh(turn(z))
}

/// Tangent.
pub fn tan(z: C64) -> C64 {
    turn_back(tanh(turn(z)))
}

/// `√(1 − z)` and `√(1 + z)`; the sign of a zero imaginary part selects the side of a cut.
#[inline(always)]
fn roots(z: W) -> (W, W) {
    (wide_sqrt(W::new(1.0 - z.re, -z.im)), wide_sqrt(W::new(1.0 + z.re, z.im)))
}

/// Inverse hyperbolic sine of a real number, odd.
#[inline(always)]
fn wide_asinh(x: f64) -> f64 {
    let a = x.abs();
    // Without overflow for products of f32 numbers, and without loss of digits near zero.
    real::log1p(a + a * a / (1.0 + (1.0 + a * a).sqrt())).copysign(x)
}

/// Arccosine (principal value).
#[inline(always)]
fn wide_acos(z: W) -> W {
    let (x, y) = (z.re, z.im);
    if x.is_infinite() || y.is_infinite() {
        if x.is_nan() {
            return W::new(x, -y);
        }
        if y.is_nan() {
            return W::new(y, f64::NEG_INFINITY);
        }
        return W::new(y.abs().atan2(x), f64::NEG_INFINITY.copysign(-y));
    }
    if x == 0.0 && y.is_nan() {
        return W::new(FRAC_PI_2, y);
    }
    let (a, b) = roots(z);
    // Im(conj(b)·a), both of whose terms have one sign.
    W::new(2.0 * a.re.atan2(b.re), wide_asinh(b.re * a.im - b.im * a.re))
}

/// Arccosine (principal value).
pub fn acos(z: C64) -> C64 {
    narrow(wide_acos(wide(z)))
}

/// Inverse hyperbolic cosine (principal value).
pub fn acosh(z: C64) -> C64 {
    let w = wide_acos(wide(z));
    let out = match (w.re.is_nan(), w.im.is_nan()) {
        (true, true) => NAN,
        (true, false) => W::new(w.im.abs(), w.re),
        (false, true) => W::new(w.im, w.re),
        (false, false) => W::new(w.im.abs(), w.re.copysign(f64::from(z.im))),
    };
    narrow(out)
}

/// Inverse hyperbolic sine (principal value).
pub fn asinh(z: C64) -> C64 {
    let (x, y) = (f64::from(z.re), f64::from(z.im));
    if x.is_infinite() || y.is_infinite() {
        let re = if x.is_infinite() { x } else { f64::INFINITY.copysign(x) };
        let im = if x.is_nan() { x } else { y.atan2(x.abs()) };
        return narrow(W::new(re, im));
    }
    if y == 0.0 {
        return C64::new(wide_asinh(x) as f32, z.im);
    }
    // asinh z = −i·asin(iz), and asin in parts (Kahan 1987).
    let (a, b) = roots(W::new(-y, x));
    let re = wide_asinh(a.re * b.im - a.im * b.re);
    let im = y.atan2(a.re * b.re - a.im * b.im);
    narrow(W::new(re.copysign(x), im))
}

/// Arcsine (principal value).
pub fn asin(z: C64) -> C64 {
    turn_back(asinh(turn(z)))
}

/// Inverse hyperbolic tangent (principal value).
pub fn atanh(z: C64) -> C64 {
    let (x, y) = (f64::from(z.re), f64::from(z.im));
    if x.is_infinite() || y.is_infinite() {
        let im = if y.is_nan() { y } else { FRAC_PI_2.copysign(y) };
        return narrow(W::new(0f64.copysign(x), im));
    }
    if x == 0.0 && y.is_nan() {
        return z;
    }
    let a = x.abs();
    let away = 1.0 - a;
    let re = 0.25 * real::log1p(4.0 * a / (away * away + y * y));
    let im = 0.5 * (2.0 * y).atan2(away * (1.0 + a) - y * y);
    narrow(W::new(re.copysign(x), im))
}

/// Arctangent (principal value).
pub fn atan(z: C64) -> C64 {
    turn_back(atanh(turn(z)))
}

/// `1 / (1 + exp(-z))`.
pub fn sigmoid(z: C64) -> C64 {
    let z = wide(z);
    // The exponential of the side that does not overflow, which keeps the digits of small results.
    let left = z.re < 0.0;
    let e = wide_exp(if left { z } else { -z });
    narrow(quotient(if left { e } else { W::new(1.0, 0.0) }, e + 1.0))
}

/// The derivative of [`sigmoid`], `eᶻ / (1 + eᶻ)²`, which is even.
pub fn sigmoid_slope(z: C64) -> C64 {
    let z = wide(z);
    let e = wide_exp(if z.re > 0.0 { -z } else { z });
    let size = e + 1.0;
    narrow(quotient(e, product(size, size)))
}

/// The part of `eᵃ` in `eᵃ + eᵇ`: the sigmoid of the difference, a half for equal infinities.
pub fn logistic_share(a: C64, b: C64) -> C64 {
    let gap = if a == b { W::new(0.0, 0.0) } else { wide(a) - wide(b) };
    let left = gap.re < 0.0;
    let e = wide_exp(if left { gap } else { -gap });
    narrow(quotient(if left { e } else { W::new(1.0, 0.0) }, e + 1.0))
}

/// `1 − z²`; each part is rounded once.
#[inline(always)]
pub fn complement(z: C64) -> C64 {
    let z = wide(z);
    narrow(product(W::new(1.0 - z.re, -z.im), W::new(1.0 + z.re, z.im)))
}

/// `log(exp(a) + exp(b))` without overflow (principal value).
pub fn logaddexp(a: C64, b: C64) -> C64 {
    if a.is_nan() || b.is_nan() {
        return narrow(NAN);
    }
    let peak = if a.re > b.re { a } else { b };
    if peak.re.is_infinite() {
        return peak;
    }
    let peak = f64::from(peak.re);
    let [p, q] = [a, b].map(|z| wide_exp(W::new(f64::from(z.re) - peak, f64::from(z.im))));
    let w = wide_log(p + q);
    narrow(W::new(w.re + peak, w.im))
}

/// The product in `f64`.
#[inline(always)]
fn product(a: W, b: W) -> W {
    W::new(a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re)
}

/// The greatest exponent whose power is computed by multiplications.
const MOST_FACTORS: f32 = 100.0;

/// z to the power w (principal value).
///
/// Powers with small whole exponents are computed by multiplications, as in NumPy, so that `(1+i)²` is exactly `2i`. Zero to a
/// power with a positive real part is 0, to the power 0 it is 1, to other powers it is NaN.
pub fn pow(z: C64, w: C64) -> C64 {
    if w.re == 0.0 && w.im == 0.0 {
        return C64::new(1.0, 0.0);
    }
    if z.re == 0.0 && z.im == 0.0 {
        return if w.re > 0.0 { C64::new(0.0, 0.0) } else { narrow(NAN) };
    }
    if w.im == 0.0 && w.re.abs() < MOST_FACTORS && w.re.trunc() == w.re {
        let (mut left, mut factor) = (w.re.abs() as u32, wide(z));
        let mut out = W::new(1.0, 0.0);
        let mut is_one = true;
        while left > 0 {
            if left & 1 == 1 {
                // An infinity times 1 + 0i would be NaN.
                out = if is_one { factor } else { product(out, factor) };
                is_one = false;
            }
            left >>= 1;
            if left > 0 {
                factor = product(factor, factor);
            }
        }
        let out = if w.re < 0.0 { quotient(W::new(1.0, 0.0), out) } else { out };
        if (out.re.is_finite() && out.im.is_finite()) || !z.is_finite() {
            return narrow(out);
        }
    }
    let (log, w) = (wide_log(wide(z)), wide(w));
    narrow(wide_exp(product(w, log)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f32::consts::PI;

    #[test]
    fn the_sign_of_zero_says_on_which_side_of_a_cut_a_number_is() {
        let (up, down) = (C64::new(-2.0, 0.0), C64::new(-2.0, -0.0));
        assert_eq!(log(up).im, PI);
        assert_eq!(log(down).im, -PI);
        assert_eq!(sqrt(down).im, -(2f32.sqrt()));
        assert_eq!(atanh(up).im, PI / 2.0);
        assert_eq!(atanh(down).im, -PI / 2.0);
    }
}
