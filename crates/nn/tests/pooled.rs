//! A network with pooling between its convolutions: gradients against finite differences, in memory that was used before.

use covector_core::transforms::grad;
use covector_core::{Array, Dtype, eval, ops, random};
use covector_nn::{Conv2d, Layer, MaxPool2d, Relu, Tanh};

fn moved(x: &Array, at: usize, by: f64) -> Array {
    let mut values = x.to_vec::<f64>();
    values[at] += by;
    Array::from_slice(&values, x.shape()).unwrap()
}

/// Compares the gradients of all parameters with central differences, element by element.
#[track_caller]
fn check(name: &str, params: &[Array], loss: impl Fn(&[Array]) -> Array) {
    // What memory holds is not zero.
    let used: Vec<Array> = (4..14).map(|k| ops::ones(&[1 << k], Dtype::F64) * 1e30).collect();
    eval(&used).unwrap();
    drop(used);
    let grads = grad(|p: &Vec<Array>| loss(p))(&params.to_vec()).unwrap();
    for (k, (x, g)) in params.iter().zip(&grads).enumerate() {
        let found = g.to_vec::<f64>();
        for (i, found) in found.into_iter().enumerate() {
            let at = |by: f64| {
                let mut params = params.to_vec();
                params[k] = moved(x, i, by);
                loss(&params).item::<f64>()
            };
            let due = (at(1e-5) - at(-1e-5)) / 2e-5;
            assert!(
                (found - due).abs() < 1e-7 * due.abs().max(1.0),
                "{name}, parameter {k}, element {i}: {found} against {due}"
            );
        }
    }
}

fn sample(seed: u64, shape: &[usize]) -> Array {
    random::normal(shape, Dtype::F64, 0.0, 0.5, Some(&random::key(seed))).unwrap()
}

#[test]
fn a_pooled_network_of_lines_has_the_gradients_of_differences() {
    for (window, padding) in [(2, 0), (3, 0), (2, 1), (4, 0), (5, 2)] {
        let x = sample(1, &[2, 20, 2]);
        let params = [sample(2, &[3, 3, 2]), sample(3, &[3]), sample(4, &[2, 2, 3])];
        check(&format!("windows of {window}, padded by {padding}"), &params, |p| {
            let y = ops::conv1d(&x, &p[0], 1, 1, 1, 1) + &p[1];
            let y =
                ops::max_pool(&ops::maximum(&y, &Array::scalar(0.0f64)), &[window], &[window], &[padding]);
            ops::square(&ops::conv1d(&y, &p[2], 1, 0, 1, 1)).mean()
        });
    }
}

#[test]
fn a_pooled_network_of_images_has_the_gradients_of_differences() {
    random::seed(5);
    let x = sample(1, &[1, 6, 6, 1]);
    for window in [[2, 2], [1, 2], [3, 2]] {
        let params = [sample(2, &[2, 3, 3, 1]), sample(3, &[2, 2, 2, 2])];
        check(&format!("windows of {window:?}"), &params, |p| {
            let mut first = Conv2d::new(1, 2, [3, 3]).padded([1, 1]);
            let mut second = Conv2d::new(2, 2, [2, 2]);
            (first.weight, first.bias) = (p[0].clone(), None);
            (second.weight, second.bias) = (p[1].clone(), None);
            (first, Relu, MaxPool2d::new(window), second, Tanh).forward(&x).sum()
        });
    }
}
