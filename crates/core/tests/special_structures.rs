//! Products, extremes, sums of exponentials and norms at special points: every derivative to third order against the
//! same function written out in smooth operations, and the conventions where there is nothing smooth.

use covector_core::ops::{Index, Update};
use covector_core::transforms::{grad, hessian, jacfwd, jacrev, jvp};
use covector_core::{Array, C64, Dtype, ops};

type Scalar = fn(&Array) -> Array;

/// Element `i` of a vector.
fn at(x: &Array, i: isize) -> Array {
    x.index(&[Index::At(i)])
}

fn product_of(x: &Array, which: &[isize]) -> Array {
    which.iter().map(|&i| at(x, i)).reduce(|a, b| a * b).unwrap()
}

#[track_caller]
fn assert_near(what: &str, found: &Array, due: &Array) {
    let (found, due) = (found.to_vec::<f64>(), due.to_vec::<f64>());
    for (i, (a, b)) in found.iter().zip(&due).enumerate() {
        let near = a == b || (a - b).abs() <= 1e-9 * (1.0 + b.abs());
        assert!(near, "{what}, element {i}: {a}, right {b} ({found:?} against {due:?})");
    }
}

/// Compares value, gradient, Hessian and third derivatives, these by both modes.
#[track_caller]
fn assert_same(what: &str, f: impl Fn(&Array) -> Array, due: impl Fn(&Array) -> Array, x: &Array) {
    assert_near(&format!("{what}: value"), &f(x), &due(x));
    assert_near(&format!("{what}: gradient"), &grad(&f)(x).unwrap(), &grad(&due)(x).unwrap());
    let second = hessian(&due)(x).unwrap();
    assert_near(&format!("{what}: Hessian"), &hessian(&f)(x).unwrap(), &second);
    let reverse = jacrev(|x: &Array| grad(&f)(x).unwrap())(x).unwrap();
    assert_near(&format!("{what}: reverse over reverse"), &reverse, &second);
    let third = jacfwd(|x: &Array| hessian(&due)(x).unwrap())(x).unwrap();
    let forward = jacfwd(|x: &Array| hessian(&f)(x).unwrap())(x).unwrap();
    assert_near(&format!("{what}: third derivatives, forward"), &forward, &third);
    let reverse = jacrev(|x: &Array| jacrev(|x: &Array| grad(&f)(x).unwrap())(x).unwrap())(x).unwrap();
    assert_near(&format!("{what}: third derivatives, reverse"), &reverse, &third);
}

/// Four numbers of which none to all are zero.
fn with_zeros() -> [Array; 6] {
    [
        [2.0, -3.0, 0.5, 1.5],
        [2.0, 0.0, 0.5, 1.5],
        [0.0, -3.0, -0.0, 1.5],
        [0.0, 0.0, 0.5, 0.0],
        [0.0; 4],
        [1.0; 4],
    ]
    .map(|x: [f64; 4]| Array::new(x))
}

#[test]
fn products_of_zeros_have_all_their_derivatives() {
    for x in with_zeros() {
        assert_same("prod", |x| x.prod(), |x| product_of(x, &[0, 1, 2, 3]), &x);
        let weight = Array::new([1.0, 2.0, 3.0, 4.0]);
        for (reverse, inclusive) in [(false, true), (true, true), (false, false), (true, false)] {
            let scanned = |x: &Array| (x.cumprod(0, reverse, inclusive) * &weight).sum();
            let written = |x: &Array| {
                let mut total = Array::scalar(0.0);
                for k in 0..4 {
                    let which: Vec<isize> = match (reverse, inclusive) {
                        (false, true) => (0..=k).collect(),
                        (false, false) => (0..k).collect(),
                        (true, true) => (k..4).collect(),
                        (true, false) => (k + 1..4).collect(),
                    };
                    let product = if which.is_empty() { Array::scalar(1.0) } else { product_of(x, &which) };
                    total = total + product * at(&weight, k);
                }
                total
            };
            assert_same("cumprod", scanned, written, &x);
        }
    }
}

#[test]
fn scattered_products_of_zeros_have_all_their_derivatives() {
    let (first, rest) = (Index::from(0..1), Index::from(1..4));
    // One place that three updates meet, and one of two places that two of them meet.
    for x in with_zeros() {
        let three = |x: &Array| {
            let (target, updates) =
                (x.index(std::slice::from_ref(&first)), x.index(std::slice::from_ref(&rest)));
            target.index_update(&[Index::Array(Array::new([0, 0, 0]))], &updates, Update::Multiply).sum()
        };
        assert_same("scatter", three, |x| product_of(x, &[0, 1, 2, 3]), &x);
        let two = |x: &Array| {
            let (target, updates) = (x.index(&[Index::from(0..2)]), x.index(&[Index::from(2..4)]));
            let both = target.index_update(&[Index::Array(Array::new([1, 1]))], &updates, Update::Multiply);
            (both * Array::new([3.0, 2.0])).sum()
        };
        assert_same("scatter", two, |x| at(x, 0) * 3.0 + product_of(x, &[1, 2, 3]) * 2.0, &x);
    }
}

/// What is smooth in sums of exponentials, written without a shift.
fn exponential_sums() -> Vec<(&'static str, Scalar, Scalar)> {
    fn plain(x: &Array) -> Array {
        ops::log(&ops::exp(x).sum())
    }
    fn weight() -> Array {
        Array::new([1.0, -2.0, 0.5])
    }
    vec![
        ("logsumexp", |x| x.logsumexp(), plain),
        (
            "softmax",
            |x| (x.softmax(&[0]) * weight()).sum(),
            |x| (ops::exp(x) * weight()).sum() / ops::exp(x).sum(),
        ),
        ("logcumsumexp", |x| at(&x.logcumsumexp(0, false, true), -1) * 2.0, |x| plain(x) * 2.0),
        ("logcumsumexp", |x| at(&x.logcumsumexp(0, true, true), 0), plain),
        (
            "logcumsumexp",
            |x| at(&x.logcumsumexp(0, false, false), 2),
            |x| ops::log(&ops::exp(&x.index(&[Index::from(0..2)])).sum()),
        ),
    ]
}

#[test]
fn sums_of_exponentials_are_smooth_at_ties_and_beside_minus_infinity() {
    let low = f64::NEG_INFINITY;
    for x in [[0.0, 0.0, 0.0], [1.0, 1.0, -1.0], [0.5, low, 0.5], [low, 1.0, 0.0], [low, -2.0, low]] {
        for (name, f, due) in exponential_sums() {
            assert_same(&format!("{name} {x:?}"), f, due, &Array::new(x));
        }
    }
}

#[test]
fn from_nothing_but_minus_infinity_no_gradient_flows() {
    for dtype in [Dtype::F16, Dtype::Bf16, Dtype::F32, Dtype::F64] {
        let x = Array::new([[f64::NEG_INFINITY; 3], [0.0; 3]]).astype(dtype);
        let rows: [Scalar; 3] = [
            |x| x.logsumexp_axes(&[1], false),
            |x| x.softmax(&[1]).index(&[Index::from(..), Index::At(0)]),
            |x| x.logcumsumexp(1, false, true).index(&[Index::from(..), Index::At(-1)]),
        ];
        for (k, f) in rows.into_iter().enumerate() {
            let slopes =
                grad(|x: &Array| at(&f(x), 0) + at(&f(x), 1))(&x).unwrap().astype(Dtype::F64).to_vec::<f64>();
            assert_eq!(slopes[..3], [0.0; 3], "function {k} in {dtype}");
            assert!(slopes[3..].iter().all(|v| v.is_finite()), "function {k} in {dtype}: {slopes:?}");
        }
        assert_eq!(x.softmax(&[1]).astype(Dtype::F64).to_vec::<f64>()[..3], [0.0; 3], "{dtype}");
    }
}

#[test]
fn sums_of_exponentials_keep_their_slopes_at_any_magnitude() {
    let cases = [
        (Dtype::F16, 60000.0),
        (Dtype::Bf16, 1e38),
        (Dtype::F32, 1e20),
        (Dtype::F32, -1e36),
        (Dtype::F64, 1e300),
        (Dtype::F64, -1e300),
    ];
    for (dtype, size) in cases {
        let x = Array::new([size, size]).astype(dtype);
        let slope = |f: Scalar| grad(|x: &Array| f(x))(&x).unwrap().astype(Dtype::F64).to_vec::<f64>();
        assert_eq!(slope(|x| x.logsumexp()), [0.5, 0.5], "{dtype} {size}");
        assert_eq!(slope(|x| at(&x.logcumsumexp(0, false, true), 1)), [0.5, 0.5], "{dtype} {size}");
        assert_eq!(slope(|x| ops::logaddexp(&at(x, 0), &at(x, 1))), [0.5, 0.5], "{dtype} {size}");
        assert_eq!(slope(|x| at(&x.softmax(&[0]), 0)), [0.25, -0.25], "{dtype} {size}");
        // Opposite ends.
        let x = Array::new([size, -size]).astype(dtype);
        let [value, slopes] = [x.logsumexp(), grad(|x: &Array| x.logsumexp())(&x).unwrap()];
        assert_eq!(
            value.astype(Dtype::F64).item::<f64>(),
            x.max().astype(Dtype::F64).item::<f64>(),
            "{dtype} {size}"
        );
        assert_eq!(slopes.sum().astype(Dtype::F64).item::<f64>(), 1.0, "{dtype} {size}");
    }
}

#[test]
fn variances_and_norms_of_equal_numbers_are_smooth() {
    let x = Array::new([1.5f64, 1.5, 1.5]);
    let square_of_mean = |x: &Array| x.square().mean() - x.mean().square();
    assert_same("var", |x| x.var(), square_of_mean, &x);
    let weight = Array::new([1.0, -2.0, 0.5]);
    for x in [x, Array::new([0.0f64; 3])] {
        let root = |v: &Array| ops::power(&(v + 0.1), &Array::scalar(-0.5));
        assert_same(
            "layer_norm",
            |x| (x.layer_norm(None, None, 0.1) * &weight).sum(),
            |x| ((x - x.mean()) * &weight).sum() * root(&square_of_mean(x)),
            &x,
        );
        assert_same(
            "rms_norm",
            |x| (x.rms_norm(None, 0.1) * &weight).sum(),
            |x| (x * &weight).sum() * root(&x.square().mean()),
            &x,
        );
    }
    // Of complex numbers, too: the modulus is not smooth at 0, its square is.
    let z = Array::new([C64::new(1.0, 2.0); 3]);
    let t = Array::new([C64::new(1.0, 0.0), C64::new(0.0, 1.0), C64::new(0.0, 0.0)]);
    let (slope, curvature) = jvp(|z: &Array| grad(|z: &Array| z.var())(z).unwrap(), &z, &t).unwrap();
    assert!(slope.to_vec::<C64>().iter().all(|g| g.norm() < 1e-6));
    let due = (&t - t.mean()) * (2.0 / 3.0);
    for (a, b) in curvature.to_vec::<C64>().iter().zip(due.to_vec::<C64>()) {
        assert!((a - b).norm() < 1e-6, "{a} against {b}");
    }
}

#[test]
fn powers_of_zero_with_a_constant_exponent_are_polynomials() {
    let exponents: [(f64, Scalar); 5] = [
        (0.0, |x| ops::ones_like(x).sum()),
        (1.0, |x| x.sum()),
        (2.0, |x| x.square().sum()),
        (3.0, |x| (x * x * x).sum()),
        (4.0, |x| x.square().square().sum()),
    ];
    for (b, written) in exponents {
        let power = move |x: &Array| ops::power(x, &ops::constant_like(x, b)).sum();
        let x = Array::new([0.0f64, -0.0, 1.0, -2.0]);
        assert_near("value", &power(&x), &written(&x));
        if b > 0.0 {
            assert_same(&format!("x**{b}"), power, written, &x);
        } else {
            for d in [grad(power)(&x).unwrap(), hessian(power)(&x).unwrap()] {
                assert!(d.to_vec::<f64>().iter().all(|v| *v == 0.0), "x**0: {d:?}");
            }
        }
    }
}

#[test]
fn extremes_share_ties_and_are_flat_beyond_the_first_derivative() {
    let x = Array::new([1.0f64, 1.0, 0.0, 1.0]);
    let third = 1.0 / 3.0;
    let cases: [(&str, Scalar, [f64; 4]); 8] = [
        ("max", |x| x.max(), [third, third, 0.0, third]),
        ("min", |x| x.min(), [0.0, 0.0, 1.0, 0.0]),
        ("cummax", |x| at(&x.cummax(0, false, true), -1), [0.0, 0.0, 0.0, 1.0]),
        ("sort", |x| at(&x.sort(0), -1), [0.0, 0.0, 0.0, 1.0]),
        ("median", |x| x.median(), [0.5, 0.5, 0.0, 0.0]),
        ("clip", |x| x.clip(None, Some(&Array::scalar(1.0))).sum(), [0.0, 0.0, 1.0, 0.0]),
        (
            "scatter_max",
            |x| at(&x.index_update(&[Index::Array(Array::new([0]))], &at(x, 1), Update::Maximum), 0),
            [0.5, 0.5, 0.0, 0.0],
        ),
        ("abs", |x| (x - 1.0).abs().sum(), [0.0, 0.0, -1.0, 0.0]),
    ];
    for (name, f, due) in cases {
        assert_near(name, &grad(f)(&x).unwrap(), &Array::new(due));
        assert!(hessian(f)(&x).unwrap().to_vec::<f64>().iter().all(|v| *v == 0.0), "{name}");
        // Beside a tie the square still bends: nothing smooth after the extreme is lost.
        let squared = hessian(|x: &Array| f(x).square())(&x).unwrap();
        let outer = Array::new(due).outer(&Array::new(due)) * 2.0;
        assert_near(&format!("{name} squared"), &squared, &outer);
    }
}

#[test]
fn a_query_that_sees_nothing_gives_zeros_and_takes_no_gradient() {
    use covector_core::ops::{Attention, Mask, scaled_dot_product_attention};
    let vary = |shape: &[usize], seed: f64| {
        let n: usize = shape.iter().product();
        let v: Vec<f64> = (0..n).map(|i| (seed + i as f64 * 0.7).sin()).collect();
        Array::from_slice(&v, shape).unwrap()
    };
    let all = (vary(&[1, 2, 4, 3], 0.1), vary(&[1, 2, 6, 3], 1.1), vary(&[1, 2, 6, 5], 2.1));
    let mut additive = [[0.0; 6]; 4];
    additive[1] = [f64::NEG_INFINITY; 6];
    let mut seen = [[true; 6]; 4];
    seen[1] = [false; 6];
    let (mask, seen) = (Array::new(additive), Array::new(seen));
    let sinks = Array::new([f64::NEG_INFINITY; 2]);
    let weight = vary(&[1, 2, 4, 5], 3.1);
    let kept = Array::new([[1.0], [0.0], [1.0], [1.0]]);
    type Leaves = (Array, Array, Array);
    for sinks in [None, Some(&sinks)] {
        let options = Attention { mask: Mask::Array(&mask), sinks, ..Attention::new(0.6) };
        let loss = |x: &Leaves| (scaled_dot_product_attention(&x.0, &x.1, &x.2, &options) * &weight).sum();
        let out = scaled_dot_product_attention(&all.0, &all.1, &all.2, &options);
        let row = out.index(&[Index::Ellipsis, Index::At(1), Index::from(..)]);
        assert!(row.to_vec::<f64>().iter().all(|v| *v == 0.0));
        // As if the row had no weight in the loss.
        let plain = |x: &Leaves| {
            let out = scaled_dot_product_attention(&x.0, &x.1, &x.2, &Attention::new(0.6));
            (out * &kept * &weight).sum()
        };
        let (found, due) = (grad(loss)(&all).unwrap(), grad(plain)(&all).unwrap());
        assert_near("queries", &found.0, &due.0);
        assert_near("keys", &found.1, &due.1);
        assert_near("values", &found.2, &due.2);
    }
    // Truth values leave the mean of the values, which does not depend on queries and keys.
    let options = Attention { mask: Mask::Array(&seen), ..Attention::new(0.6) };
    let slopes = grad(|x: &Leaves| {
        (scaled_dot_product_attention(&x.0, &x.1, &x.2, &options) * &weight * (1.0 - &kept)).sum()
    })(&all)
    .unwrap();
    assert!(slopes.0.to_vec::<f64>().iter().chain(&slopes.1.to_vec::<f64>()).all(|v| *v == 0.0));
    assert!(slopes.2.isfinite().all().item::<bool>());
    // Under a causal mask the first of more queries than keys see nothing.
    let options = Attention { mask: Mask::Causal, ..Attention::new(1.0) };
    let slopes =
        grad(|x: &Leaves| scaled_dot_product_attention(&x.1, &x.0, &x.0, &options).sum())(&all).unwrap();
    assert!(slopes.1.isfinite().all().item::<bool>() && slopes.0.isfinite().all().item::<bool>());
}
