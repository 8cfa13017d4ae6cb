//! Curvature without the Hessian: `cargo run --release --example hessian_vector`.
//!
//! The Hessian of a function of n numbers has n² entries, but its product with one vector costs only a few gradients: it is
//! the derivative of the gradient in the vector's direction, that is, `jvp` of `grad`. Many methods need only such products.
//! This example has two: the largest curvature by power iteration, and a Newton step by conjugate gradients.

#![allow(clippy::print_stdout, reason = "an example shows its result")]

use covector::prelude::*;

/// The Rosenbrock function: a curved valley with its minimum, 0, at (1, 1, …, 1).
fn rosenbrock(x: &Array) -> Array {
    let n = x.dim(0) as isize;
    let (all_but_last, all_but_first) = (x.index(&[(0..n - 1).into()]), x.index(&[(1..n).into()]));
    let valley = (all_but_first - all_but_last.square()).square() * 100.0;
    (valley + (1.0 - all_but_last).square()).sum()
}

/// The Hessian of `f` at `x` times `v`: forward mode over reverse mode. The library's `hvp` does this for any tree.
fn hessian_vector(f: fn(&Array) -> Array, x: &Array, v: &Array) -> covector::Result<Array> {
    let (_, product) = jvp(grad(f), x, v)?;
    Ok(product)
}

/// The largest curvature at `x`: repeated products with the Hessian turn almost any vector towards the direction of largest
/// curvature.
fn largest_curvature(x: &Array) -> covector::Result<f64> {
    let mut direction = ops::ones_like(x);
    let mut curvature = 0.0;
    for _ in 0..100 {
        let product = hessian_vector(rosenbrock, x, &direction)?;
        curvature = product.square().sum().sqrt().item();
        direction = product / curvature;
    }
    Ok(curvature)
}

/// Solves `H step = gradient` by conjugate gradients, which use the Hessian only in products.
fn newton_step(x: &Array, gradient: &Array) -> covector::Result<Array> {
    let mut step = ops::zeros_like(x);
    let mut rest = gradient.clone();
    let mut direction = rest.clone();
    let mut square: f64 = rest.square().sum().item();
    for _ in 0..2 * x.size() {
        let product = hessian_vector(rosenbrock, x, &direction)?;
        let curvature: f64 = (&direction * &product).sum().item();
        if square < 1e-20 || curvature <= 0.0 {
            break; // solved, or no positive curvature in this direction
        }
        let length = square / curvature;
        step = step + &direction * length;
        rest = rest - product * length;
        let next: f64 = rest.square().sum().item();
        direction = &rest + direction * (next / square);
        square = next;
    }
    Ok(step)
}

fn main() -> covector::Result<()> {
    let mut x = Array::new(vec![0.8f64; 10]);
    println!("largest curvature at the start: {:.1}", largest_curvature(&x)?);
    for iteration in 0.. {
        let (value, gradient) = value_and_grad(rosenbrock)(&x)?;
        let value: f64 = value.item();
        println!("iteration {iteration}: f = {value:.3e}");
        if value < 1e-18 || iteration == 30 {
            break;
        }
        x = &x - newton_step(&x, &gradient)?;
    }
    assert!(x.to_vec::<f64>().iter().all(|x| (x - 1.0).abs() < 1e-6), "Newton's method finds the minimum");
    println!("largest curvature at the minimum: {:.1}", largest_curvature(&x)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    /// The program checks its own results.
    #[test]
    fn newtons_method_finds_the_minimum() {
        super::main().unwrap();
    }
}
