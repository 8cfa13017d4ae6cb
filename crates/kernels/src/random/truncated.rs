//! Normal numbers between two bounds, from uniform numbers.
//!
//! The method depends on the probability between the bounds. If it is large, the number is computed with the error function
//! and its inverse, with the roundings of the stream that covector is compatible with. In a tail, or between close bounds,
//! these functions have no accurate digits; there the number is found from the lower bound and the logarithm of the
//! probability beyond it.

use super::{BELOW_ONE, published};
use crate::half_bits::{bf16_to_f32, f16_to_f32, f32_to_bf16, f32_to_f16};
use crate::math::f64 as wide;
use half::{bf16, f16};
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, SQRT_2};

/// `exp(x²)·erfc(x)`, which is finite where its factors are not.
fn erfcx(x: f64) -> f64 {
    if x < 10.0 {
        return (x * x).exp() * libm::erfc(x);
    }
    // Laplace's continued fraction, from the inside out: from 10 on, ten levels suffice for all digits.
    let mut tail = 0.0;
    for k in (1..=10).rev() {
        tail = 0.5 * f64::from(k) / (x + tail);
    }
    0.5 * FRAC_2_SQRT_PI / (x + tail)
}

/// The number between `a` (at least −1) and `b` for which a share `u` of the normal probability between them is below it.
fn beyond(u: f64, a: f64, b: f64) -> f64 {
    let at = erfcx(a * FRAC_1_SQRT_2);
    // log Q(a + d) − log Q(a), where Q is the probability beyond a point.
    let log_ratio = |d: f64| (erfcx((a + d) * FRAC_1_SQRT_2) / at).ln() - d * (a + 0.5 * d);
    let width = b - a;
    let all = if width < f64::INFINITY { log_ratio(width) } else { f64::NEG_INFINITY };
    let wanted = (u * all.exp_m1()).ln_1p();
    if wanted == f64::NEG_INFINITY {
        return b;
    }
    // A start from the quadratic term, then Newton's method, which does not overshoot because the logarithm is concave.
    let root = a.abs() + (a * a - 2.0 * wanted).sqrt();
    let mut d = if root < f64::INFINITY { -2.0 * wanted / root } else { 0.0 };
    for _ in 0..12 {
        let hazard = FRAC_2_SQRT_PI * FRAC_1_SQRT_2 / erfcx((a + d) * FRAC_1_SQRT_2);
        let step = (log_ratio(d) - wanted) / hazard;
        // Beyond about 1e19 the distance is less than the spacing of floating-point numbers.
        if !step.is_finite() {
            break;
        }
        d = (d + step).max(0.0);
        if step.abs() <= 1e-15 * d {
            break;
        }
    }
    a + d
}

/// A normal number between two bounds with little probability between them.
fn accurate(u: f64, a: f64, b: f64, least: f64) -> f64 {
    if a >= b || a.is_nan() || b.is_nan() {
        return a;
    }
    // So that the result is not infinite.
    let u = if u < least { least } else { u };
    // From the bound that is nearer to 0, outwards.
    if a.abs() <= b.abs() { beyond(u, a, b) } else { -beyond(1.0 - u, -b, -a) }
}

/// `x` limited to the bounds; NaN if any of the three is.
fn limited(x: f64, a: f64, b: f64) -> f64 {
    let x = if b < x || b.is_nan() { b } else { x };
    if x < a || a.is_nan() { a } else { x }
}

/// The precision of an element type, and the least probability for which the stream's formula has accurate digits.
#[derive(Clone, Copy)]
struct Precision {
    round: fn(f32) -> f32,
    /// The largest number below 1.
    most: f32,
    /// The least difference of two values of the error function with accurate digits.
    share: f32,
    root: f32,
}

#[inline(always)]
fn single(u: f32, a: f32, b: f32, p: Precision) -> f32 {
    let r = p.round;
    let rounded = r(if u < p.most { u } else { p.most });
    let quantile = |bound: f32| r(published::erf(r(bound / p.root)));
    let (from, to) = (quantile(a), quantile(b));
    let share = r(to - from);
    if share >= p.share {
        let y = r(r(share * rounded) + from);
        let y = if y.abs() < p.most { y } else { p.most.copysign(y) };
        let x = r(p.root * r(published::erfinv(y)));
        let x = if b < x { b } else { x };
        return if x < a { a } else { x };
    }
    let (a, b) = (f64::from(a), f64::from(b));
    limited(accurate(u.into(), a, b, 1.0 / (1u64 << 33) as f64), a, b) as f32
}

/// A number between `a` and `b` in `f32`, for a uniform `u` in `[0, 1)`.
pub fn in_f32(u: f32, a: f32, b: f32) -> f32 {
    let p = Precision { round: |x| x, most: BELOW_ONE, share: 1.0 / 512.0, root: SQRT_2 as f32 };
    single(u, a, b, p)
}

/// A number for `f16`: the bounds are numbers of that type, and the result is rounded to it.
pub fn in_f16(u: f32, a: f32, b: f32) -> f32 {
    let most = f16_to_f32(f16::from_bits(f16::ONE.to_bits() - 1));
    let round = |x| f16_to_f32(f32_to_f16(x));
    single(u, a, b, Precision { round, most, share: 0.25, root: round(SQRT_2 as f32) })
}

/// A number for `bf16`; see [`in_f16`].
pub fn in_bf16(u: f32, a: f32, b: f32) -> f32 {
    let most = bf16_to_f32(bf16::from_bits(bf16::ONE.to_bits() - 1));
    let round = |x| bf16_to_f32(f32_to_bf16(x));
    single(u, a, b, Precision { round, most, share: 0.25, root: round(SQRT_2 as f32) })
}

/// A number between `a` and `b` in `f64`, for a uniform `u` in `[0, 1)`.
pub fn in_f64(u: f64, a: f64, b: f64) -> f64 {
    let (from, to) = (wide::erf(a / SQRT_2), wide::erf(b / SQRT_2));
    let most = 1f64.next_down();
    let x = if to - from >= 1.0 / 512.0 {
        let y = (to - from) * u + from;
        SQRT_2 * wide::erfinv(if y.abs() < most { y } else { most.copysign(y) })
    } else {
        accurate(u, a, b, 0.5 / (1u64 << 53) as f64)
    };
    limited(x, a, b)
}
