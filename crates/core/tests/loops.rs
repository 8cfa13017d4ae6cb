//! What the planner makes of loops over a sequence: products with one matrix, and factors of the backward pass.

mod ops_common;

use covector_core::{Array, Dtype, eval, ops, plan_text, transforms::value_and_grad};
use ops_common::*;

fn sample(seed: u64, shape: &[usize]) -> Array {
    Rng(seed).array(shape, Dtype::F32)
}

fn count(text: &str, word: &str) -> usize {
    text.matches(word).count()
}

#[test]
fn steps_of_a_sequence_times_one_matrix_are_one_product() {
    let (x, w) = (sample(1, &[6, 9, 5]), sample(2, &[7, 5]));
    let product = |t: usize| ops::matmul(&ops::unstack(&x, 1)[t], &w.mt());
    let alone: Vec<Vec<f32>> = (0..9).map(|t| ops::exp(&product(t)).to_vec()).collect();
    // In order, and from the end.
    for turn in [false, true] {
        let at = |t: usize| if turn { 8 - t } else { t };
        let outs: Vec<Array> = (0..9).map(|t| ops::exp(&product(at(t)))).collect();
        let text = plan_text(&outs).unwrap();
        assert_eq!(count(&text, "matmul"), 1, "{text}");
        assert!(text.contains("matmul: (9, 6, 7)"), "{text}");
        eval(&outs).unwrap();
        for (t, out) in outs.iter().enumerate() {
            // Other kernels may sum in another order.
            let far = out
                .to_vec::<f32>()
                .iter()
                .zip(&alone[at(t)])
                .map(|(a, b)| (a / b - 1.0).abs())
                .fold(0.0, f32::max);
            assert!(far < 1e-5, "{t}: {far}");
        }
    }
    // Products that somebody holds have memory of their own, and steps that are not evenly spaced stay apart.
    let held: Vec<Array> = (0..9).map(product).collect();
    assert_eq!(count(&plan_text(&held).unwrap(), "matmul"), 9);
    let uneven: Vec<Array> = [0, 1, 5].map(|t| ops::exp(&product(t))).to_vec();
    let text = plan_text(&uneven).unwrap();
    assert_eq!(count(&text, "matmul"), 3, "{text}");
}

fn recurrence(w: &Array, h: &Array, steps: usize) -> Array {
    let mut h = h.clone();
    for _ in 0..steps {
        h = ops::tanh(&ops::matmul(&h, &w.mt()));
    }
    h
}

#[test]
fn the_weights_of_a_recurrence_are_turned_once() {
    let w = &sample(3, &[10, 10]) * 0.3;
    w.try_eval().unwrap();
    for (rows, copies) in [(12, 1), (4, 0), (100, 0)] {
        let h = sample(4, &[rows, 10]);
        let end = recurrence(&w, &h, 5);
        let text = plan_text(std::slice::from_ref(&end)).unwrap();
        assert_eq!(count(&text, "copy: ("), copies, "{text}");
        let mut due = h.clone();
        for _ in 0..5 {
            due = ops::tanh(&ops::matmul(&due, &w.mt()));
            due.try_eval().unwrap();
        }
        let far = (&end - &due).abs().max().item::<f32>();
        assert!(far < 1e-5, "{far}");
    }
}

#[test]
fn factors_of_the_backward_pass_are_made_by_it() {
    let (w, h) = (&sample(5, &[10, 10]) * 0.3, sample(6, &[12, 10]));
    w.try_eval().unwrap();
    let loss = |w: &Array| recurrence(w, &h, 4).square().sum();
    let (value, gradient) = value_and_grad(loss)(&w).unwrap();
    let text = plan_text(&[value.clone(), gradient.clone()]).unwrap();
    // A step stores its state, and nothing for the derivative of tanh beside it.
    assert_eq!(count(&text, "map (12, 10): tanh [1 in, 1 out]"), 3, "{text}");
    let due = {
        let (value, gradient) = value_and_grad(loss)(&w).unwrap();
        eval(std::slice::from_ref(&value)).unwrap();
        gradient
    };
    let far = (&gradient - &due).abs().max().item::<f32>();
    assert!(far < 1e-5, "{far}\n{text}");
}
