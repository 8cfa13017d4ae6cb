//! The gradient of every single example at once: `cargo run --release --example per_sample_gradients`.
//!
//! A training step needs only the mean of the examples' gradients, but privacy, influence and noise estimates need each of
//! them. A loop over the examples is slow. `vmap` of `grad` computes the same: write the loss of one example, differentiate
//! it, and map the gradient over a batch.

#![allow(clippy::print_stdout, reason = "an example shows its result")]

use covector::nn::losses::{Reduction, mse_loss};
use covector::nn::{Linear, Tanh};
use covector::prelude::*;

/// A network is a tuple of layers, and a tuple of trees is a tree.
type Network = (Linear, Tanh, Linear);

fn main() -> covector::Result<()> {
    random::seed(1);
    let network: Network = (Linear::new(3, 16), Tanh, Linear::new(16, 1));
    let x = random::normal(&[8, 3], Dtype::F32, 0.0, 1.0, None)?;
    let y = x.sum_axes(&[-1], true);

    // The gradient of the loss of one example: x has shape (3,), y has shape (1,). It has no batch axis.
    // The network is captured instead of passed, so all examples share it.
    let gradient = |(x, y): &(Array, Array)| {
        grad(|network: &Network| mse_loss(&network.forward(x), y, Reduction::Sum))(&network)
    };
    // The gradients of all examples. The result is a network whose arrays have one more axis.
    let each = vmap(gradient)(&(x.clone(), y.clone()))?.leaves();
    for (parameter, gradients) in network.leaves().iter().zip(&each) {
        println!("parameter {:?}, gradients of all examples {:?}", parameter.shape(), gradients.shape());
    }

    // The length of each example's gradient, as one vector over all parameters.
    let squares = each.iter().map(|g| g.reshape(&[8, -1]).square().sum_axes(&[-1], false));
    let lengths = squares.reduce(|a, b| a + b).expect("the network has parameters").sqrt();
    for (example, length) in lengths.to_vec::<f32>().iter().enumerate() {
        println!("example {example}: |gradient| = {length:.3}");
    }

    // Their mean is the gradient of the mean loss.
    let mean_loss = |network: &Network| mse_loss(&network.forward(&x), &y, Reduction::Mean);
    let of_mean = grad(mean_loss)(&network)?;
    for (each, mean) in each.iter().zip(of_mean.leaves()) {
        assert!(each.mean_axes(&[0], false).allclose(&mean, 1e-4, 1e-5, false).item::<bool>());
    }
    println!("the mean of the gradients is the gradient of the mean");
    Ok(())
}

#[cfg(test)]
mod tests {
    /// The program checks its own results.
    #[test]
    fn the_mean_of_the_gradients_is_the_gradient_of_the_mean() {
        super::main().unwrap();
    }
}
