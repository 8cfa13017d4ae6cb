//! Losses over classes and vectors at special points: ties, −∞, classes that do not exist, huge numbers of every type,
//! and zero vectors.

use covector_core::ops::Index;
use covector_core::transforms::{grad, hessian, jacfwd, jacrev};
use covector_core::{Array, Dtype};
use covector_nn::functional as nn;
use covector_nn::losses::{self, CrossEntropy, Reduction};

#[track_caller]
fn assert_near(what: &str, found: &[f64], due: &[f64]) {
    assert_eq!(found.len(), due.len(), "{what}");
    for (i, (a, b)) in found.iter().zip(due).enumerate() {
        let near = b.is_nan() || a == b || (a - b).abs() <= 1e-9 * b.abs() || (*b == 0.0 && a.abs() < 1e-13);
        assert!(near, "{what}, element {i}: {a:e}, right {b:e} ({found:?} against {due:?})");
    }
}

fn at(x: &Array, i: isize) -> Array {
    x.index(&[Index::At(i)])
}

#[test]
fn log_probabilities_keep_their_digits_at_any_magnitude() {
    let half = -std::f64::consts::LN_2;
    let cases = [
        (Dtype::F16, 60000.0),
        (Dtype::Bf16, 3e38),
        (Dtype::F32, 1e20),
        (Dtype::F32, -1e36),
        (Dtype::F64, 1e300),
        (Dtype::F64, -1e300),
    ];
    for (dtype, size) in cases {
        let tolerance = if dtype.size() == 2 { 4e-3 } else { 1e-6 };
        let assert_is = |what: &str, x: &Array, due: &[f64]| {
            for (a, b) in x.astype(Dtype::F64).to_vec::<f64>().iter().zip(due) {
                assert!((a - b).abs() <= tolerance, "{what} in {dtype} at {size}: {a}, right {b}");
            }
        };
        let x = Array::new([[size, size]]).astype(dtype);
        assert_is("log_softmax", &nn::log_softmax(&x, -1), &[half, half]);
        let slope =
            grad(|x: &Array| nn::log_softmax(x, -1).index(&[Index::At(0), Index::At(0)]))(&x).unwrap();
        assert_is("log_softmax'", &slope, &[0.5, -0.5]);
        let certain = Array::new([[1.0, 0.0]]).astype(dtype);
        let even = Array::new([[0.5, 0.5]]).astype(dtype);
        let class = Array::new([0]);
        let smoothed = CrossEntropy { label_smoothing: 0.2, ..CrossEntropy::default() };
        type Of<'a> = Box<dyn Fn(&Array) -> Array + 'a>;
        let all: [(&str, Of<'_>, [f64; 2]); 5] = [
            ("classes", Box::new(|x| losses::cross_entropy(x, &class, Reduction::Mean)), [-0.5, 0.5]),
            ("certain", Box::new(|x| losses::cross_entropy(x, &certain, Reduction::Mean)), [-0.5, 0.5]),
            ("even", Box::new(|x| losses::cross_entropy(x, &even, Reduction::Mean)), [0.0, 0.0]),
            ("smoothed", Box::new(|x| losses::cross_entropy_with(x, &class, &smoothed)), [-0.4, 0.4]),
            (
                "smoothed, certain",
                Box::new(|x| losses::cross_entropy_with(x, &certain, &smoothed)),
                [-0.4, 0.4],
            ),
        ];
        for (what, loss, slopes) in all {
            assert_is(what, &loss(&x), &[-half]);
            assert_is(&format!("{what}'"), &grad(&loss)(&x).unwrap(), &slopes);
        }
        // One class far above the other.
        let apart = Array::new([[size, -size]]).astype(dtype);
        let winner = if size > 0.0 { 0 } else { 1 };
        let right = |x: &Array| losses::cross_entropy(x, &Array::new([winner]), Reduction::Mean);
        assert_is("certain of the right class", &right(&apart), &[0.0]);
        assert_is("certain of the right class'", &grad(right)(&apart).unwrap(), &[0.0, 0.0]);
    }
}

#[test]
fn cross_entropies_are_smooth_at_ties_and_beside_minus_infinity() {
    let low = f64::NEG_INFINITY;
    for x in [[0.0, 0.0, 0.0], [1.0, 1.0, -1.0], [0.5, low, 0.5]] {
        let x = Array::new(x);
        let plain = |x: &Array| covector_core::ops::log(&covector_core::ops::exp(x).sum());
        let class = |x: &Array| losses::cross_entropy(x, &Array::scalar(0), Reduction::Mean);
        let due = |x: &Array| plain(x) - at(x, 0);
        let weight = Array::new([0.75, 0.0, 0.25]);
        let shares = |x: &Array| losses::cross_entropy(x, &weight, Reduction::Mean);
        let expected = |x: &Array| plain(x) - at(x, 0) * 0.75 - at(x, 2) * 0.25;
        type Of<'a> = &'a dyn Fn(&Array) -> Array;
        let pairs: [(Of<'_>, Of<'_>); 2] = [(&class, &due), (&shares, &expected)];
        for (f, g) in pairs {
            assert_near("value", &f(&x).to_vec::<f64>(), &g(&x).to_vec::<f64>());
            let close = |a: Array, b: Array| {
                for (a, b) in a.to_vec::<f64>().iter().zip(b.to_vec::<f64>()) {
                    assert!((a - b).abs() < 1e-12, "{a}, right {b}");
                }
            };
            close(grad(f)(&x).unwrap(), grad(g)(&x).unwrap());
            close(hessian(f)(&x).unwrap(), hessian(g)(&x).unwrap());
            let third = |f: Of<'_>| jacfwd(|x: &Array| hessian(f)(x).unwrap())(&x).unwrap();
            close(third(f), third(g));
            let reverse =
                jacrev(|x: &Array| jacrev(|x: &Array| grad(f)(x).unwrap())(x).unwrap())(&x).unwrap();
            close(reverse, third(g));
        }
    }
    // Targets that do not add up to 1, differentiated in the targets, too.
    let (x, t) = (Array::new([1.0, -2.0, 0.5]), Array::new([0.0, 2.0, 0.5]));
    let loss = |t: &Array| losses::cross_entropy(&x, t, Reduction::Mean);
    assert_near("in the targets", &grad(loss)(&t).unwrap().to_vec::<f64>(), &[-1.0, 2.0, -0.5]);
    let mixed =
        jacrev(|t: &Array| grad(|x: &Array| losses::cross_entropy(x, t, Reduction::Mean))(&x).unwrap())(&t);
    assert_near("mixed", &mixed.unwrap().to_vec::<f64>(), &[-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, -1.0]);
}

#[test]
fn classes_outside_of_the_logits_are_errors_that_name_the_loss() {
    let logits = Array::new([[0.0f32; 3]; 2]);
    for (class, word) in [(-1, "-1"), (3, "3")] {
        let classes = Array::new([0, class]);
        for error in [
            losses::cross_entropy(&logits, &classes, Reduction::Mean).try_eval().unwrap_err().to_string(),
            losses::nll_loss(&logits, &classes, -1, Reduction::Mean).try_eval().unwrap_err().to_string(),
        ] {
            assert!(error.starts_with("[cross_entropy]") || error.starts_with("[nll_loss]"), "{error}");
            assert!(error.contains(word), "{error}");
        }
    }
}

#[test]
fn cosines_of_zero_and_of_huge_vectors() {
    let cosine = |a: &Array, b: &Array| losses::cosine_similarity_loss(a, b, -1, 1e-8, Reduction::Sum);
    let b = Array::new([1.0, 2.0, -2.0]);
    let zero = Array::new([0.0; 3]);
    // Below eps it is the product over eps.
    let slope = grad(|a: &Array| cosine(a, &b))(&zero).unwrap();
    assert_near("slope at zero", &slope.to_vec::<f64>(), &[1e8, 2e8, -2e8]);
    let bent = hessian(|a: &Array| cosine(a, &b))(&zero).unwrap();
    assert!(bent.to_vec::<f64>().iter().all(|v| *v == 0.0));
    let both = hessian(|x: &Array| cosine(&x.index(&[Index::from(0..1)]), &x.index(&[Index::from(1..2)])))(
        &Array::new([0.0, 0.0]),
    );
    assert_near("mixed at zero", &both.unwrap().to_vec::<f64>(), &[0.0, 1e8, 1e8, 0.0]);
    for (dtype, size) in [(Dtype::F32, 1e36), (Dtype::F32, 1e-15), (Dtype::F64, 1e300), (Dtype::F16, 6e4)] {
        let x = Array::new([size, 0.0]).astype(dtype);
        let y = Array::new([size, size]).astype(dtype);
        let loss = |x: &Array| losses::cosine_similarity_loss(x, &y, -1, 0.0, Reduction::Sum);
        let value = loss(&x).astype(Dtype::F64).item::<f64>();
        assert!((value - 0.5f64.sqrt()).abs() < 1e-3, "{dtype} {size}: {value}");
        assert!(grad(loss)(&x).unwrap().isfinite().all().item::<bool>(), "{dtype} {size}");
    }
}

#[test]
fn triplets_of_equal_points_have_finite_gradients() {
    let x = Array::new([[1.0, -2.0, 0.0]]);
    let far = Array::new([[3.0, 0.0, 1.0]]);
    for p in [1.0, 2.0, 3.0] {
        let loss =
            |x: &Array| losses::triplet_loss(x, &x.stop_gradient(), &far, -1, p, 9.0, 1e-6, Reduction::Sum);
        let slope = grad(loss)(&x).unwrap();
        assert!(slope.isfinite().all().item::<bool>(), "p = {p}: {:?}", slope.to_vec::<f64>());
        // What is left is the distance to the negative alone.
        let away = |x: &Array| {
            let d = (x - &far).abs();
            let sum = covector_core::ops::power(&d, &Array::scalar(p)).sum() + 1e-6;
            -covector_core::ops::power(&sum, &Array::scalar(1.0 / p))
        };
        assert_near(&format!("p = {p}"), &slope.to_vec::<f64>(), &grad(away)(&x).unwrap().to_vec::<f64>());
    }
}
