//! Accuracy of the scalar functions. They run as tile functions, so that the vectorised forms are tested.

use covector_kernels::math;
use covector_kernels::{Tile1, Tile2, tile1, tile2};

fn apply<T: Copy + Default>(f: Tile1, x: &[T]) -> Vec<T> {
    let mut y = vec![T::default(); x.len()];
    // SAFETY: both have `x.len()` elements of the tile's type.
    unsafe { f(x.as_ptr().cast(), y.as_mut_ptr().cast(), x.len()) };
    y
}

fn apply2<T: Copy + Default>(f: Tile2, a: &[T], b: &[T]) -> Vec<T> {
    let mut y = vec![T::default(); a.len()];
    // SAFETY: all have `a.len()` elements of the tile's type.
    unsafe { f(a.as_ptr().cast(), b.as_ptr().cast(), y.as_mut_ptr().cast(), a.len()) };
    y
}

/// The distance of `got` from the exact value in units of the last place of `f32`.
fn ulps32(got: f32, exact: f64) -> f64 {
    let near = exact as f32;
    if got.is_nan() || near.is_nan() {
        return if got.is_nan() && near.is_nan() { 0.0 } else { f64::INFINITY };
    }
    if got.is_infinite() || near.is_infinite() {
        let max = f64::from(f32::MAX);
        return if got == near {
            0.0
        } else if got.abs() as f64 >= max && exact.abs() >= max {
            1.0
        } else {
            f64::INFINITY
        };
    }
    let ulp =
        f64::from(f32::from_bits((near.abs().to_bits() & 0x7f80_0000).max(0x0080_0000))) * 2f64.powi(-23);
    (f64::from(got) - exact).abs() / ulp
}

fn ulps64(got: f64, exact: f64) -> f64 {
    if got.is_nan() || exact.is_nan() {
        return if got.is_nan() && exact.is_nan() { 0.0 } else { f64::INFINITY };
    }
    if got.is_infinite() || exact.is_infinite() {
        return if got == exact { 0.0 } else { f64::INFINITY };
    }
    let order = |x: f64| {
        let b = x.to_bits() as i64;
        if b < 0 { i64::MIN.wrapping_sub(b) } else { b }
    };
    (order(got) as i128 - order(exact) as i128).abs() as f64
}

/// Values of all magnitudes, and special values.
fn samples32() -> Vec<f32> {
    let mut v: Vec<f32> = (0..u32::MAX).step_by(12_347).map(f32::from_bits).collect();
    v.extend((-40_000..40_000).map(|i| i as f32 * 0.000_513));
    v.extend((-20_000..20_000).map(|i| i as f32 * 0.005_513));
    v.extend((0..100_000).map(|i| f32::from_bits(0x3f80_0000 - 50_000 + i)));
    v.extend((1..100).map(|i| (f64::from(i) * std::f64::consts::FRAC_PI_2) as f32));
    for x in [
        0.0,
        1.0,
        f32::INFINITY,
        f32::MIN_POSITIVE,
        1e-45,
        f32::MAX,
        0.5,
        88.72284,
        103.97,
        0.9,
        4.0,
        f32::NAN,
    ] {
        v.extend([x, -x]);
    }
    v
}

fn samples64() -> Vec<f64> {
    let mut v: Vec<f64> = (0..u64::MAX).step_by(87_654_321_098_765).map(f64::from_bits).collect();
    v.extend((-40_000..40_000).map(|i| f64::from(i) * 0.000_513_7));
    v.extend((-20_000..20_000).map(|i| f64::from(i) * 0.037_7));
    v.extend((0..20_000).map(|i| f64::from_bits(0x3ff0_0000_0000_0000 - 10_000 + i)));
    for x in [0.0, 1.0, f64::INFINITY, f64::MIN_POSITIVE, 5e-324, f64::MAX, 0.5, 709.78, 745.13, f64::NAN] {
        v.extend([x, -x]);
    }
    v
}

fn check32(name: &str, f: Tile1, exact: impl Fn(f64) -> f64, within: f64) {
    let x = samples32();
    let y = apply(f, &x);
    let mut worst = (0.0, 0.0, 0.0, 0.0);
    for (&x, &y) in x.iter().zip(&y) {
        let e = exact(f64::from(x));
        let u = ulps32(y, e);
        if u > worst.0 {
            worst = (u, x, y, e);
        }
        if x == 0.0 && e == 0.0 {
            assert_eq!(y.is_sign_negative(), e.is_sign_negative(), "{name}({x:?})");
        }
    }
    eprintln!("{name}: {:.2} ulp at {:e}", worst.0, worst.1);
    assert!(worst.0 <= within, "{name}({:e}) = {:e}, not {:e}: {} ulp", worst.1, worst.2, worst.3, worst.0);
}

fn check64(name: &str, f: Tile1, exact: impl Fn(f64) -> f64, within: f64) {
    let x = samples64();
    let y = apply(f, &x);
    let mut worst = (0.0, 0.0, 0.0, 0.0);
    for (&x, &y) in x.iter().zip(&y) {
        let e = exact(x);
        let u = ulps64(y, e);
        if u > worst.0 {
            worst = (u, x, y, e);
        }
        if x == 0.0 && e == 0.0 {
            assert_eq!(y.is_sign_negative(), e.is_sign_negative(), "{name}({x:?})");
        }
    }
    eprintln!("{name}: {:.2} ulp at {:e}", worst.0, worst.1);
    assert!(worst.0 <= within, "{name}({:e}) = {:e}, not {:e}: {} ulp", worst.1, worst.2, worst.3, worst.0);
}

macro_rules! f32_tests {
    ($($name:ident, $exact:expr, $within:expr;)*) => {
        mod single { use super::*; $(
            #[test]
            fn $name() {
                check32(stringify!($name), tile1!(f32 => f32, |x| math::f32::$name(x)), $exact, $within);
            }
        )* }
    };
}
f32_tests! {
    exp, f64::exp, 2.0;
    exp2, f64::exp2, 2.0;
    expm1, f64::exp_m1, 2.0;
    log, f64::ln, 2.0;
    log2, f64::log2, 1.0;
    log10, f64::log10, 1.0;
    log1p, f64::ln_1p, 2.0;
    sin, f64::sin, 2.0;
    cos, f64::cos, 2.0;
    tan, f64::tan, 1.0;
    tanh, f64::tanh, 2.0;
    sinh, f64::sinh, 2.0;
    cosh, f64::cosh, 2.0;
    asinh, libm::asinh, 1.0;
    acosh, f64::acosh, 1.0;
    atanh, libm::atanh, 1.0;
    asin, f64::asin, 1.0;
    acos, f64::acos, 1.0;
    atan, f64::atan, 1.0;
    rsqrt, |x| 1.0 / x.sqrt(), 2.0;
    sigmoid, |x| 1.0 / (1.0 + (-x).exp()), 2.0;
    erf, libm::erf, 2.0;
    erfinv, math::f64::erfinv, 1.0;
    sigmoid_slope, slope, 4.0;
    log_cosh, math::f64::log_cosh, 1.0;
}

/// The derivative of the logistic function.
fn slope(x: f64) -> f64 {
    let e = (-x.abs()).exp();
    e / ((1.0 + e) * (1.0 + e))
}

macro_rules! f64_tests {
    ($($name:ident, $exact:expr, $within:expr;)*) => {
        mod double { use super::*; $(
            #[test]
            fn $name() {
                check64(stringify!($name), tile1!(f64 => f64, |x| math::f64::$name(x)), $exact, $within);
            }
        )* }
    };
}
f64_tests! {
    exp, f64::exp, 2.0;
    exp2, f64::exp2, 2.0;
    expm1, f64::exp_m1, 2.0;
    log, f64::ln, 2.0;
    log1p, f64::ln_1p, 2.0;
    tanh, f64::tanh, 3.0;
    sinh, f64::sinh, 2.0;
    cosh, f64::cosh, 2.0;
    // The reference itself is rounded three times.
    sigmoid, |x| if x < 0.0 { x.exp() / (1.0 + x.exp()) } else { 1.0 / (1.0 + (-x).exp()) }, 3.0;
}

#[test]
fn the_logarithm_of_the_hyperbolic_cosine_is_accurate_near_zero_and_far_from_it() {
    for k in -3000..3000 {
        let x = f64::from(k) * 1e-2;
        // The series where the cosine is nearly 1; elsewhere the definition, which loses digits there.
        let (exact, within) = if x.abs() < 0.03 {
            let z = x * x;
            (z * (0.5 + z * (-1.0 / 12.0 + z * (1.0 / 45.0 - z * 17.0 / 2520.0))), 1e-14)
        } else {
            (x.cosh().ln(), 1e-12)
        };
        let found = math::f64::log_cosh(x);
        assert!((found - exact).abs() <= within * exact, "{x}: {found}, right {exact}");
    }
    for (x, y) in [(0.0, 0.0), (1e-170, 0.0), (1e300, 1e300), (-f64::INFINITY, f64::INFINITY)] {
        assert_eq!(math::f64::log_cosh(x), y, "{x}");
    }
    assert!(math::f64::log_cosh(f64::NAN).is_nan());
}

#[test]
fn lengths_neither_overflow_nor_vanish() {
    let sizes = [0.0f64, 5e-324, 1e-310, 1e-200, 1e-140, 1.0, 3.0, 1e150, 1e200, 1.7e308];
    for a in sizes {
        for b in sizes {
            let exact = a.hypot(b);
            let found = math::f64::hypot(a, -b);
            assert!(
                found == exact || (found - exact).abs() <= 4.0 * f64::EPSILON * exact,
                "{a} {b}: {found}"
            );
            let share = math::f64::hypot_share(-a, b);
            // The reference overflows or underflows for other lengths.
            let most = a.max(b);
            let exact = if a == 0.0 { 0.0 } else { -(a / most) / (a / most).hypot(b / most) };
            assert!(
                (share - exact).abs() <= 4.0 * f64::EPSILON * exact.abs(),
                "{a} {b}: {share}, right {exact}"
            );
            let (a, b) = (a as f32, b as f32);
            if a.is_finite() && b.is_finite() {
                assert_eq!(math::f32::hypot(a, b), f64::from(a).hypot(f64::from(b)) as f32, "{a} {b}");
            }
        }
    }
    assert_eq!(math::f64::hypot(f64::NAN, f64::INFINITY), f64::INFINITY);
    assert!(math::f64::hypot(f64::NAN, 1.0).is_nan() && math::f64::hypot_share(1.0, f64::NAN).is_nan());
    assert!(math::f64::hypot_share(f64::INFINITY, f64::NAN).is_nan());
}

#[test]
fn erfinv_inverts_erf() {
    for i in -99_999..100_000 {
        let x = f64::from(i) / 100_000.0;
        let y = math::f64::erfinv(x);
        // dx = erf'(y) dy: an error of one unit in y moves erf(y) by this much.
        let slack =
            (2.0 / std::f64::consts::PI.sqrt() * (-y * y).exp() * y.abs() + x.abs()) * 4.0 * f64::EPSILON;
        assert!((libm::erf(y) - x).abs() <= slack, "erfinv({x}) = {y}");
    }
    for k in 1..53 {
        let c = 2f64.powi(-k);
        let y = math::f64::erfinv(1.0 - c);
        let relative = (libm::erfc(y) - c).abs() / c;
        assert!(
            relative < (2.0 * y * y + 2.0) * 8.0 * f64::EPSILON,
            "erfinv(1 - 2^-{k}) = {y}: {relative:e}"
        );
    }
    assert_eq!(math::f64::erfinv(-1.0), f64::NEG_INFINITY);
    assert!(math::f64::erfinv(1.5).is_nan());
}

#[test]
fn functions_of_two_arguments_are_accurate() {
    let special = [
        0.0f32,
        -0.0,
        1.0,
        -1.0,
        2.0,
        -2.0,
        3.0,
        -3.0,
        0.5,
        -0.5,
        1.5,
        -2.5,
        1e-40,
        -1e-40,
        1e38,
        -1e38,
        16777215.0,
        16777216.0,
        -16777217.0,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        0.999,
        1.001,
        100.0,
        -101.0,
    ];
    let mut pairs: Vec<(f32, f32)> =
        special.iter().flat_map(|&a| special.iter().map(move |&b| (a, b))).collect();
    let mut seed = 1u32;
    let mut next = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        seed >> 8
    };
    for _ in 0..200_000 {
        let scale = |u: u32| u as f32 / 16_777_216.0;
        pairs.push((scale(next()) * 10.0, (scale(next()) - 0.5) * 60.0));
        pairs.push(((scale(next()) - 0.5) * 10.0, (scale(next()) - 0.5) * 10.0));
    }
    let (a, b): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
    type Reference = fn(f64, f64) -> f64;
    let cases: [(&str, Tile2, Reference); 2] = [
        ("pow", tile2!(f32, f32 => f32, |a, b| math::f32::pow(a, b)), f64::powf),
        ("atan2", tile2!(f32, f32 => f32, |a, b| math::f32::atan2(a, b)), f64::atan2),
    ];
    for (name, f, exact) in cases {
        let y = apply2(f, &a, &b);
        for ((&a, &b), &y) in a.iter().zip(&b).zip(&y) {
            let e = exact(f64::from(a), f64::from(b));
            assert!(ulps32(y, e) <= 1.0, "{name}({a:e}, {b:e}) = {y:e}, not {e:e}");
            assert!(
                e.is_nan() || y.is_sign_negative() == e.is_sign_negative(),
                "{name}({a:e}, {b:e}) = {y:e}, {e:e}"
            );
        }
    }
}

#[test]
fn half_precision_conversions_agree_with_the_half_crate() {
    use covector_kernels::half_bits::{bf16_to_f32, f16_to_f32, f32_to_bf16, f32_to_f16};
    use covector_kernels::{bf16, f16};
    for bits in 0..=u16::MAX {
        let (h, b) = (f16::from_bits(bits), bf16::from_bits(bits));
        let (x, y) = (f16_to_f32(h), bf16_to_f32(b));
        assert!(x.to_bits() == h.to_f32().to_bits() || x.is_nan() && h.is_nan(), "f16 {bits:#x}");
        assert!(y.to_bits() == b.to_f32().to_bits() || y.is_nan() && b.is_nan(), "bf16 {bits:#x}");
    }
    for bits in (0..u32::MAX).step_by(251) {
        let x = f32::from_bits(bits);
        let (h, b) = (f32_to_f16(x), f32_to_bf16(x));
        assert!(h == f16::from_f32(x) || x.is_nan() && h.is_nan(), "{x:e} to f16");
        assert!(b == bf16::from_f32(x) || x.is_nan() && b.is_nan(), "{x:e} to bf16");
    }
}
