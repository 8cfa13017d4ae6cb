//! What an operation costs beside its arithmetic: `cargo bench -p covector-core --bench overhead`.
//!
//! Prints nanoseconds per operation for making nodes and for evaluating chains whose plan is known, and the time
//! of a small training step, as the best of many rounds.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

use covector_core::transforms::value_and_grad;
use covector_core::{Array, Dtype, eval, ops};
use std::time::Instant;

const ROUNDS: usize = 400;

/// The best of many rounds, in nanoseconds.
fn best(mut round: impl FnMut() -> u128) -> f64 {
    (0..ROUNDS).map(|_| round()).min().unwrap_or_default() as f64
}

fn chain(x: &Array, n: usize) -> Array {
    (0..n).fold(x.clone(), |y, i| if i % 2 == 0 { ops::add(&y, x) } else { ops::multiply(&y, x) })
}

fn main() {
    const N: usize = 1000;
    let x = Array::scalar(1.000_001f32);
    let make = best(|| {
        let start = Instant::now();
        let y = chain(&x, N);
        let time = start.elapsed().as_nanos();
        drop(y);
        time
    });
    println!("make a node: {:.0} ns", make / N as f64);
    let run = best(|| {
        let y = chain(&x, N);
        let start = Instant::now();
        eval(&[y]).expect("a chain of scalars evaluates");
        start.elapsed().as_nanos()
    });
    println!("evaluate and drop a scalar operation, plan known: {:.0} ns", run / N as f64);

    let random = |shape: &[usize], seed: u64| {
        let key = covector_core::random::key(seed);
        let x =
            covector_core::random::normal(shape, Dtype::F32, 0.0, 0.1, Some(&key)).expect("a valid shape");
        x.try_eval().expect("random numbers evaluate");
        x
    };
    let (x, y) = (random(&[128, 32], 1), random(&[128, 10], 2));
    let mut params = vec![random(&[32, 64], 3), random(&[64], 4), random(&[64, 10], 5), random(&[10], 6)];
    let mut moments: Vec<[Array; 2]> =
        params.iter().map(|p| [ops::zeros_like(p), ops::zeros_like(p)]).collect();
    let loss = |p: &Vec<Array>| {
        let hidden = (x.matmul(&p[0]) + &p[1]).maximum(&Array::scalar(0f32));
        (hidden.matmul(&p[2]) + &p[3] - &y).square().mean()
    };
    let (mut building, mut running) = (f64::INFINITY, f64::INFINITY);
    for _ in 0..5 * ROUNDS {
        let start = Instant::now();
        let (value, grads) = value_and_grad(loss)(&params).expect("the loss has a gradient");
        let mut out = vec![value];
        for ((p, g), [m, v]) in params.iter_mut().zip(&grads).zip(&mut moments) {
            *m = &*m * 0.9 + g * 0.1;
            *v = &*v * 0.999 + g.square() * 0.001;
            *p = &*p * (1.0 - 1e-5) - &*m * 1e-3 / (v.sqrt() + 1e-8);
            out.extend([p.clone(), m.clone(), v.clone()]);
        }
        let built = Instant::now();
        eval(&out).expect("the step evaluates");
        building = building.min((built - start).as_secs_f64());
        running = running.min(built.elapsed().as_secs_f64());
    }
    println!(
        "a 32-64-10 training step: {:.1} µs to build, {:.1} µs to evaluate",
        building * 1e6,
        running * 1e6
    );
}
