//! What long programs of single numbers cost for each node:
//! `cargo bench -p covector-core --bench long [-- LARGEST]`, or `[-- PROGRAM STEPS]` for one line.
//!
//! Prints microseconds for each forward node of value and gradient with respect to three numbers: the first call, which
//! plans; later calls, which trace again and find the plan; and calls of the compiled function. `LARGEST` is the most
//! steps of the Runge–Kutta program (3,000 if not given); the chain has ten times as many.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

use covector_core::transforms::{compile, value_and_grad};
use covector_core::{Array, eval};
use std::time::Instant;

type Params = (Array, Array, Array);

/// A pendulum by the classical Runge–Kutta method; about 44 nodes a step.
fn pendulum(steps: usize) -> impl Fn(&Params) -> Array {
    move |(angle, speed, gravity): &Params| {
        let h = 0.01;
        let slope = |a: &Array, v: &Array| (v.clone(), -(gravity * a.sin()));
        let (mut a, mut v) = (angle.clone(), speed.clone());
        for _ in 0..steps {
            let (a1, v1) = slope(&a, &v);
            let (a2, v2) = slope(&(&a + &a1 * (h / 2.0)), &(&v + &v1 * (h / 2.0)));
            let (a3, v3) = slope(&(&a + &a2 * (h / 2.0)), &(&v + &v2 * (h / 2.0)));
            let (a4, v4) = slope(&(&a + &a3 * h), &(&v + &v3 * h));
            a = a + (a1 + (a2 + a3) * 2.0 + a4) * (h / 6.0);
            v = v + (v1 + (v2 + v3) * 2.0 + v4) * (h / 6.0);
        }
        a * v
    }
}

/// `x ← sin(x)·a + b·x`; 4 nodes a step.
fn chain(steps: usize) -> impl Fn(&Params) -> Array {
    move |(x, a, b): &Params| {
        let mut x = x.clone();
        for _ in 0..steps {
            x = x.sin() * a + b * &x;
        }
        x
    }
}

fn measure(name: &str, steps: usize, nodes: usize, f: impl Fn(&Params) -> Array) {
    let at = (Array::scalar(0.5f32), Array::scalar(0.3f32), Array::scalar(0.4f32));
    let run = |call: &dyn Fn() -> (Array, Params)| {
        let start = Instant::now();
        let (value, (a, b, c)) = call();
        eval(&[value, a, b, c]).expect("the program evaluates");
        start.elapsed().as_secs_f64() * 1e6 / nodes as f64
    };
    let rounds = (400_000 / nodes).clamp(3, 100);
    let plain = || value_and_grad(&f)(&at).expect("the program has a gradient");
    let first = run(&plain);
    let later = (0..rounds).map(|_| run(&plain)).fold(f64::INFINITY, f64::min);
    let compiled = compile(value_and_grad(&f));
    let call = || compiled(&at).expect("the program compiles");
    let tracing = run(&call);
    let hit = (0..3 * rounds).map(|_| run(&call)).fold(f64::INFINITY, f64::min);
    println!("{name:9} {steps:7} {nodes:9} {first:9.2} {later:9.3} {tracing:9.2} {hit:9.4}");
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    println!("program     steps     nodes     first     later  compiling  compiled   (µs a forward node)");
    let number = |k: usize| args.get(k).and_then(|arg| arg.parse::<usize>().ok());
    match (args.first().map(String::as_str), number(1)) {
        (Some("pendulum"), Some(steps)) => return measure("pendulum", steps, 44 * steps, pendulum(steps)),
        (Some("chain"), Some(steps)) => return measure("chain", steps, 4 * steps, chain(steps)),
        _ => {}
    }
    let largest = number(0).unwrap_or(3000);
    for steps in [3, 10, 30, 100, 300, 1000, 3000, 10_000, 23_000] {
        if steps <= largest {
            measure("pendulum", steps, 44 * steps, pendulum(steps));
            measure("chain", 10 * steps, 40 * steps, chain(10 * steps));
        }
    }
}
