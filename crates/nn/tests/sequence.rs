//! Recurrent layers and attention: derivatives, cost in the number of steps, and refusals.

mod common;

use common::numbers;
use covector_core::ops::Mask;
use covector_core::transforms::{grad, jvp, vmap};
use covector_core::{Array, Dtype, Error, Tree, graph_text, ops, random};
use covector_nn::{Gru, Layer, Lstm, MultiHeadAttention, Rnn, attention, positions, recurrent};

fn in_f64<T: Tree>(tree: &T) -> T {
    tree.map(|x| x.astype(Dtype::F64))
}

/// Reverse and forward mode against central differences.
#[track_caller]
fn check_derivatives<L: Layer + Tree>(name: &str, layer: &L, x: &Array) {
    let loss = |layer: &L| (layer.forward(x) * 2.0).sin().sum();
    let mut seed = 0;
    let direction = layer.map(|p| {
        seed += 1;
        random::uniform(-1.0, 1.0, p.shape(), Dtype::F32, Some(&random::key(seed)))
            .unwrap()
            .astype(Dtype::F64)
    });
    let moved = |by: f64| -> f64 {
        let mut steps = direction.leaves().into_iter();
        loss(&layer.map(|p| p + steps.next().expect("of the same structure") * by)).item()
    };
    let difference = (moved(1e-5) - moved(-1e-5)) / 2e-5;
    let grads = grad(loss)(layer).unwrap().leaves();
    let reverse: f64 = grads.iter().zip(direction.leaves()).map(|(g, d)| (g * d).sum().item::<f64>()).sum();
    let forward: f64 = jvp(loss, layer, &direction).unwrap().1.item();
    assert!(
        (reverse - difference).abs() < 1e-7 * difference.abs().max(1.0),
        "{name}: {reverse}, {difference}"
    );
    assert!((reverse - forward).abs() < 1e-11 * forward.abs().max(1.0), "{name}: {reverse}, {forward}");
}

#[test]
fn derivatives_agree_with_differences() {
    random::seed(1);
    let x = random::normal(&[2, 5, 4], Dtype::F64, 0.0, 1.0, None).unwrap();
    check_derivatives("lstm", &in_f64(&Lstm::new(4, 3)), &x);
    check_derivatives("gru", &in_f64(&Gru::new(4, 3)), &x);
    check_derivatives("rnn", &in_f64(&Rnn::new(4, 3)), &x);
    check_derivatives("attention", &in_f64(&MultiHeadAttention::new(4, 2).unwrap()), &x);
    let lstm = in_f64(&Lstm::new(4, 3));
    let (each, whole) = (vmap(|x: &Array| lstm.forward(x))(&x).unwrap(), lstm.forward(&x));
    for (a, b) in numbers(&each).iter().zip(numbers(&whole)) {
        assert!((a - b).abs() < 1e-13);
    }
}

#[test]
fn the_gradient_of_a_sequence_is_linear_in_its_length() {
    // Each step reads a slice of the whole sequence. Were their cotangents added up as whole arrays, there would be
    // one addition of them for each step.
    random::seed(0);
    let layer = Lstm::new(2, 3);
    let x = ops::ones(&[2, 50, 2], Dtype::F32);
    let grads = grad(|layer: &Lstm| layer.forward(&x).sum())(&layer).unwrap();
    let text = graph_text(&[grads.wx]);
    assert!(!text.contains("slice_update"), "{text}");
    let whole =
        text.lines().filter(|line| line.contains("[2, 50, 12]") || line.contains("(2, 50, 12)")).count();
    assert!(whole < 10, "{whole} arrays of the whole sequence:\n{text}");
}

#[test]
fn what_does_not_fit_is_refused() {
    random::seed(0);
    let (lstm, gru) = (Lstm::new(2, 3), Gru::new(2, 3));
    let one = |shape: &[usize]| ops::ones(shape, Dtype::F32);
    let said = |result: covector_core::Result<Array>| result.unwrap_err().to_string();
    assert!(said(lstm.try_forward(&one(&[2]))).contains("must have the shape (…, steps, 2)"));
    assert!(said(lstm.try_forward(&one(&[4, 3]))).contains("takes 2 features in the last axis"));
    assert!(said(gru.try_forward(&one(&[5, 0, 2]))).contains("has no steps"));
    let x = one(&[5, 4, 2]);
    let wrong = one(&[4, 3]);
    assert!(
        said(lstm.try_run(&x, Some(&wrong), None).map(|r| r.0))
            .contains("hidden state must have shape (5, 3)")
    );
    assert!(said(lstm.try_run(&x, None, Some(&wrong)).map(|r| r.0)).contains("cell must have shape (5, 3)"));
    assert!(said(gru.try_run(&x, Some(&wrong))).starts_with("[gru] the first hidden state"));
    let odd = recurrent::try_gru(&x, &gru.wx, &gru.wh, None, Some(&wrong), None);
    assert!(said(odd).contains("the state's bias must have shape (3,)"));
    let mixed = recurrent::try_rnn(&x, &lstm.wx, &lstm.wh, None, None, |x| Ok::<_, Error>(x.clone()));
    assert!(said(mixed).contains("with 1 gate(s)"));
    assert!(
        said(recurrent::try_lstm(&x, &one(&[12]), &lstm.wh, None, [None; 2]).map(|r| r.0))
            .contains("matrices")
    );

    assert!(
        MultiHeadAttention::new(8, 3)
            .unwrap_err()
            .to_string()
            .contains("8 features cannot be cut into 3 heads")
    );
    let attend = |q: &[usize], heads| {
        attention::try_multi_head_attention(&one(q), &one(q), &one(q), heads, Mask::None)
    };
    assert!(
        said(attend(&[3, 4], 2)).contains("the queries must have the shape (batch, positions, features)")
    );
    assert!(said(attend(&[1, 3, 4], 0)).contains("cannot be cut into 0 heads"));
    assert!(said(positions::try_sinusoidal_frequencies(4, 0.0, 1.0, false)).contains("must be positive"));
    assert!(said(positions::try_alibi_slopes(0, Dtype::F32)).contains("no heads"));
}
