//! Walks over one graph at the same time, and inside of each other: whoever has the marks, places are right.

use covector_core::transforms::{checkpoint, grad};
use covector_core::{Array, eval};

/// A graph with shared parts.
fn ladder(x: &Array, n: usize) -> Array {
    (0..n).fold(x.clone(), |y, i| if i % 3 == 0 { (&y * x).sin() + &y } else { &y * 0.5 + x })
}

#[test]
fn threads_walk_one_graph_at_once() {
    for _ in 0..20 {
        let x = Array::new([0.25f32, 0.5, -1.5]);
        let want = ladder(&x, 300).to_vec::<f32>();
        let shared = ladder(&x, 300);
        std::thread::scope(|scope| {
            let run = || {
                let slope = grad(|x: &Array| ladder(x, 100).sum())(&x).unwrap().to_vec::<f32>();
                let more = (&shared + 1.0).to_vec::<f32>();
                (slope, shared.to_vec::<f32>(), more)
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(run)).collect();
            let mut slopes = Vec::new();
            for thread in threads {
                let (slope, values, more) = thread.join().unwrap();
                assert_eq!(values, want);
                assert!(more.iter().zip(&want).all(|(m, w)| *m == w + 1.0));
                slopes.push(slope);
            }
            assert!(slopes.iter().all(|s| *s == slopes[0]));
        });
    }
}

#[test]
fn a_rule_walks_inside_of_a_walk() {
    let x = Array::new([0.25f32, 0.5, -1.5]);
    let plain = |x: &Array| ladder(x, 40).sum();
    // The outer pullback holds its places while each checkpoint runs its part again and walks it.
    let outer = |x: &Array| {
        let inner = |y: &[Array]| Ok(vec![ladder(&y[0], 40)]);
        checkpoint(std::slice::from_ref(x), inner).unwrap()[0].sum()
    };
    let (a, b) = (grad(plain)(&x).unwrap(), grad(outer)(&x).unwrap());
    let (c, d) = (
        grad(|x: &Array| grad(plain)(x).unwrap().sum())(&x).unwrap(),
        grad(|x: &Array| grad(outer)(x).unwrap().sum())(&x).unwrap(),
    );
    eval(&[a.clone(), b.clone(), c.clone(), d.clone()]).unwrap();
    let close = |a: &Array, b: &Array| {
        let near = |(a, b): (f32, f32)| (a - b).abs() <= 1e-4 * (1.0 + b.abs());
        assert!(a.to_vec::<f32>().into_iter().zip(b.to_vec::<f32>()).all(near), "{a} {b}");
    };
    close(&a, &b);
    close(&c, &d);
}

#[test]
fn a_chain_of_squares_dies_without_recursion() {
    // Each node's inputs are twice the one before, which nothing else holds.
    let mut x = Array::scalar(1.0f32);
    for _ in 0..15_000 {
        x = &x * &x;
    }
    drop(x);
}
