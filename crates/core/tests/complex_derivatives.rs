//! Derivatives of complex functions against differences in four directions, and whether the holomorphic ones are.

use covector_core::ops;
use covector_core::registry::elementwise;
use covector_core::transforms::jvp_flat;
use covector_core::{Array, C64, Dtype, RowFn};
use std::slice::from_ref;

/// Away from poles, cuts and zeros.
fn points() -> Vec<C64> {
    [(0.4, 0.3), (1.7, -0.6), (-0.6, 0.8), (0.2, -1.4), (-1.3, -0.5)]
        .map(|(re, im)| C64::new(re, im))
        .to_vec()
}

fn of(x: &Array) -> Vec<C64> {
    x.astype(Dtype::C64).to_vec()
}

/// The tangent for a direction, and the central difference.
fn both(f: &dyn Fn(&Array) -> Array, direction: C64) -> (Vec<C64>, Vec<C64>) {
    let x = Array::new(points());
    let t = ops::broadcast_to(&Array::scalar(direction), x.shape());
    let (_, tangent) = jvp_flat(from_ref(&x), from_ref(&t), |x| Ok(vec![f(&x[0])])).unwrap();
    // Large enough for the digits of single precision, and improved by Richardson's extrapolation.
    let slope = |h: f32| {
        let (up, down) = (f(&(&x + &t * f64::from(h))), f(&(&x - &t * f64::from(h))));
        of(&up).into_iter().zip(of(&down)).map(|(u, d)| (u - d) / (2.0 * h)).collect::<Vec<_>>()
    };
    let (near, far) = (slope(0.03125), slope(0.0625));
    (of(&tangent[0]), near.iter().zip(&far).map(|(n, f)| (n * 4.0 - f) / 3.0).collect())
}

fn check(name: &str, f: &dyn Fn(&Array) -> Array, holomorphic: bool) {
    let directions = [C64::new(1.0, 0.0), C64::new(0.0, 1.0), C64::new(-0.6, 0.8), C64::new(0.8, 0.6)];
    let mut first = Vec::new();
    for (k, direction) in directions.into_iter().enumerate() {
        let (tangent, slope) = both(f, direction);
        for (i, (t, s)) in tangent.iter().zip(&slope).enumerate() {
            assert!(
                (t - s).norm() <= 4e-3 * (1.0 + s.norm()),
                "{name}, {direction}, point {i}: {t}, not {s}"
            );
        }
        if k == 0 {
            first = tangent;
        } else if holomorphic {
            for (t, one) in tangent.iter().zip(&first) {
                assert!(
                    (t - one * direction).norm() <= 1e-4 * (1.0 + t.norm()),
                    "{name}: {t}, not {direction}·{one}"
                );
            }
        }
    }
}

#[test]
fn tangents_of_complex_functions_are_their_differences() {
    let mut checked = Vec::new();
    let other =
        Array::new([0.7, -0.4, 1.2, 0.9, 0.5f32]).astype(Dtype::C64) + Array::scalar(C64::new(0.3, 0.6));
    for (row, function) in elementwise() {
        let takes = |x: &Array| match function {
            RowFn::One(f) => f(x),
            RowFn::Two(f) => f(x, &other),
        };
        let Ok(y) = takes(&Array::new(points())) else { continue };
        let steps = ["rint", "maximum", "minimum"];
        if !y.dtype().is_complex() || steps.contains(&row.name) {
            continue;
        }
        check(row.name, &|x| takes(x).unwrap(), true);
        if let RowFn::Two(f) = function {
            check(row.name, &|x| f(&other, x).unwrap(), true);
        }
        checked.push(row.name);
    }
    for name in ["expm1", "sigmoid", "logaddexp", "log1p", "arctanh", "power", "divide", "tanh", "rsqrt"] {
        assert!(checked.contains(&name), "{name} was not checked");
    }
    check("abs", &ops::abs, false);
    check("sign", &ops::sign, false);
    check("nan_to_num", &|x| x.nan_to_num(0.0, None, None), true);
    check("logcumsumexp", &|x| x.logcumsumexp(0, false, true), true);
}

#[test]
fn the_sign_of_zero_has_no_slope_and_of_huge_numbers_is_a_direction() {
    let huge = C64::new(3e38, 3e38);
    let direction = ops::sign(&Array::scalar(huge)).item::<C64>();
    assert!((direction - C64::new(0.5f32.sqrt(), 0.5f32.sqrt())).norm() < 1e-7);
    let zero = Array::scalar(C64::new(0.0, 0.0));
    let t = Array::scalar(C64::new(1.0, 2.0));
    let (y, slope) = jvp_flat(&[zero], &[t], |x| Ok(vec![ops::sign(&x[0])])).unwrap();
    assert_eq!((y[0].item::<C64>(), slope[0].item::<C64>()), (C64::new(0.0, 0.0), C64::new(0.0, 0.0)));
}
