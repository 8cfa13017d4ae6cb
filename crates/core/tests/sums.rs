//! How reverse mode adds up the cotangents of slices of an array and of products with a matrix: the same numbers as
//! added up one by one, in fewer operations.

mod ops_common;

use covector_core::ops::{self, Index};
use covector_core::transforms::{check_grads, grad, hvp};
use covector_core::{Array, Dtype, graph_text};
use ops_common::*;
use proptest::prelude::*;

fn sample(seed: u64, shape: &[usize]) -> Array {
    Rng(seed).array(shape, Dtype::F64)
}

fn count(text: &str, name: &str) -> usize {
    text.lines().filter(|line| line.contains(&format!(" = {name}"))).count()
}

/// The gradient of `f`, and its graph.
fn graph(f: impl Fn(&Array) -> Array, x: &Array) -> String {
    graph_text(&[grad(f)(x).unwrap()])
}

#[test]
fn parts_that_lie_side_by_side_are_joined() {
    let x = sample(1, &[3, 8, 2]);
    // A split, steps of a sequence, and windows with gaps between them.
    let split = graph(
        |x| {
            ops::split(x, 4, 1)
                .iter()
                .enumerate()
                .map(|(i, p)| (p * p * i as f64).sum())
                .reduce(|a, b| a + b)
                .unwrap()
        },
        &x,
    );
    let steps = graph(|x| ops::unstack(x, 1).iter().map(|p| (p * p).sum()).reduce(|a, b| a + b).unwrap(), &x);
    let gaps = graph(
        |x| {
            let part =
                |from: isize, to: isize| x.index(&[Index::from(..), Index::from(from..to)]).square().sum();
            part(6, 7) + part(1, 3)
        },
        &x,
    );
    for text in [&split, &steps, &gaps] {
        assert_eq!(count(text, "concatenate"), 1, "{text}");
        assert_eq!(count(text, "slice_update"), 0, "{text}");
    }
    // The whole array is added to once.
    let whole = |text: &str| text.lines().filter(|l| l.contains(" = add") && l.contains("3, 8, 2")).count();
    assert_eq!(whole(&steps), 0, "{steps}");
}

/// A slice as a list of positions, which `take` reads by another rule.
fn positions_of(n: isize, (start, count, step): (isize, isize, isize)) -> Vec<i32> {
    (0..count).map(|k| start + k * step).filter(|&p| p >= 0 && p < n).map(|p| p as i32).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn windows_of_all_kinds_add_up(
        windows in proptest::collection::vec((0isize..7, 1isize..5, prop_oneof![Just(1isize), Just(1), Just(2), Just(-1)], 0usize..2), 1..6),
        with_whole in any::<bool>(),
    ) {
        let x = sample(3, &[7, 7]);
        let loss = |read: &dyn Fn(&Array, &[i32], usize) -> Array| {
            let windows = windows.clone();
            let read = &read;
            let f = |x: &Array| {
                let mut total = if with_whole { x.sin().sum() } else { ops::constant(0.0, Dtype::F64) };
                for (i, &(start, count, step, axis)) in windows.iter().enumerate() {
                    let places = positions_of(7, (start, count, step));
                    let part = read(x, &places, axis);
                    total = total + (&part * &part * (i as f64 + 1.0)).sum();
                }
                total
            };
            reals(&grad(f)(&x).unwrap())
        };
        let sliced = loss(&|x, places, axis| {
            let (first, last) = (places[0] as isize, places[places.len() - 1] as isize);
            let step = if places.len() > 1 { (places[1] - places[0]) as isize } else { 1 };
            let stop = last + step.signum();
            let window = Index::Slice(Some(first), (stop >= 0).then_some(stop), step);
            let all = Index::from(..);
            x.index(&if axis == 0 { [window, all] } else { [all, window] })
        });
        let taken = loss(&|x, places, axis| {
            ops::take(x, &Array::from_slice(places, &[places.len()]).unwrap(), axis as isize)
        });
        for (a, b) in sliced.iter().zip(&taken) {
            prop_assert!((a - b).abs() < 1e-12, "{sliced:?}\n{taken:?}");
        }
    }
}

#[test]
fn slices_differentiate_to_any_order() {
    let x = sample(4, &[6, 2]);
    let f = |x: &Array| {
        let parts = ops::unstack(x, 0);
        parts.windows(2).map(|p| (&p[0] * &p[1].sin()).sum()).reduce(|a, b| a + b).unwrap()
    };
    check_grads(f, &x, 1e-6).unwrap();
    check_grads(|x: &Array| (grad(f)(x).unwrap() * &sample(5, &[6, 2])).sum(), &x, 1e-6).unwrap();
    let (a, b) = (x.sin(), ops::full(&[6, 2], 0.5, Dtype::F64));
    assert!(reals(&hvp(f, &a, &b).unwrap()).iter().all(|v| v.is_finite()));
}

/// A state that goes through the same matrix again and again.
fn recurrence(w: &Array, steps: usize, transposed: bool) -> Array {
    let mut h = sample(6, &[2, 5]);
    for _ in 0..steps {
        h = ops::tanh(&ops::matmul(&h, &if transposed { w.transpose(&[]) } else { w.clone() }));
    }
    h.square().sum()
}

#[test]
fn products_with_one_matrix_have_one_gradient_product() {
    let w = &sample(7, &[5, 5]) * 0.1;
    for transposed in [false, true] {
        let short = count(&graph(|w| recurrence(w, 3, transposed), &w), "matmul");
        let long = count(&graph(|w| recurrence(w, 13, transposed), &w), "matmul");
        // A step is a product forward and one for the state's cotangent; the matrix has one for all steps.
        assert_eq!(long - short, 2 * 10, "{transposed}");
        check_grads(|w: &Array| recurrence(w, 4, transposed), &w, 1e-6).unwrap();
        let second = |w: &Array| grad(|w: &Array| recurrence(w, 3, transposed))(w).unwrap().sin().sum();
        check_grads(second, &w, 1e-6).unwrap();
    }
    // From the left as well, for a column.
    let columns = |w: &Array| ops::matmul(w, &ops::matmul(w, &sample(8, &[5, 1]))).square().sum();
    assert_eq!(count(&graph(columns, &w), "matmul"), 4);
    check_grads(columns, &w, 1e-6).unwrap();
}

#[test]
fn complex_products_add_up_too() {
    let w = sample(12, &[3, 3]);
    let power = |w: &Array| {
        let square = ops::matmul(w, w);
        ops::real(&(&square * &ops::conjugate(&square))).sum()
    };
    let (real, complex) = (grad(power)(&w).unwrap(), grad(power)(&w.astype(Dtype::C64)).unwrap());
    for (a, z) in reals(&real).iter().zip(values(&complex)) {
        assert!((a - z.0).abs() < 1e-4 * a.abs().max(1.0) && z.1.abs() < 1e-4, "{a} {z:?}");
    }
}

#[test]
fn many_rows_are_not_copied() {
    // Two thousand rows against a matrix of nine elements: the products are smaller than their factors.
    let w = sample(9, &[3, 3]);
    let (x, y) = (sample(10, &[1000, 3]), sample(11, &[1000, 3]));
    let f = |w: &Array| (ops::matmul(&x, w) * 2.0).sum() + ops::matmul(&y, w).square().sum();
    let text = graph(f, &w);
    assert_eq!(count(&text, "concatenate"), 0, "{text}");
    check_grads(f, &w, 1e-6).unwrap();
}

#[test]
fn one_slice_has_a_pad_for_a_cotangent() {
    let x = sample(13, &[6, 4]);
    let rows = |x: &Array| x.index(&[Index::from(1..3)]).square().sum();
    let text = graph(rows, &x);
    assert_eq!((count(&text, "pad"), count(&text, "add")), (1, 0), "{text}");
    check_grads(rows, &x, 1e-6).unwrap();
    check_grads(|x: &Array| grad(rows)(x).unwrap().sin().sum(), &x, 1e-6).unwrap();
    // Windows that overlap are added in place.
    let windows = |x: &Array| {
        let part = |from: isize, to: isize| x.index(&[Index::from(from..to)]).square().sum();
        part(0, 3) + part(2, 5) + part(1, 6)
    };
    let text = graph(windows, &x);
    assert_eq!((count(&text, "pad"), count(&text, "slice_update")), (1, 2), "{text}");
    check_grads(windows, &x, 1e-6).unwrap();
}

#[test]
fn parts_of_complex_arrays_are_joined() {
    let z = sample(14, &[5, 2]).astype(Dtype::C64);
    let text = graph(
        |z| {
            let power = |p: &Array| ops::real(&(p * &ops::conjugate(p))).sum();
            ops::unstack(z, 0).iter().map(power).reduce(|a, b| a + b).unwrap()
        },
        &z,
    );
    assert_eq!((count(&text, "concatenate"), count(&text, "pad")), (1, 0), "{text}");
}

#[test]
fn a_product_that_is_needed_by_itself_is_not_made_again() {
    // The sum of both is what the second product is with; the gradient of `v` is that product's, and `w`'s has it as a term.
    let (w, v) = (&sample(15, &[4, 4]) * 0.3, &sample(16, &[4, 4]) * 0.3);
    let (x, y) = (sample(17, &[3, 4]), sample(18, &[3, 4]));
    let loss =
        |(w, v): &(Array, Array)| ops::matmul(&x, w).sin().sum() + ops::matmul(&y, &(w + v)).square().sum();
    let (dw, dv) = grad(loss)(&(w.clone(), v.clone())).unwrap();
    let text = graph_text(&[dw, dv]);
    // Two forward and one for each factor that is differentiated.
    assert_eq!((count(&text, "matmul"), count(&text, "concatenate")), (4, 0), "{text}");
    check_grads(loss, &(w, v), 1e-6).unwrap();
}

#[test]
fn a_longer_loop_has_no_more_constants() {
    let w = &sample(19, &[5, 5]) * 0.1;
    let leaves = |steps: usize| count(&graph(|w| recurrence(w, steps, false), &w), "values");
    assert_eq!(leaves(3), leaves(13));
}
