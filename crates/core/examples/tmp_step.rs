use covector_core::transforms::value_and_grad;
use covector_core::{Array, Dtype, Tree, eval, ops};
use std::time::Instant;
fn randn(shape: &[usize], seed: u64) -> Array {
    let n: usize = shape.iter().product();
    let mut s = seed;
    let v: Vec<f32> = (0..n).map(|_| { s = s.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407); ((s >> 40) as f32 / (1u64 << 24) as f32 - 0.5) * 0.3 }).collect();
    Array::from_slice(&v, shape).unwrap()
}
fn main() {
    let x = randn(&[128, 32], 1);
    let y = randn(&[128, 10], 2);
    let mut params = vec![randn(&[64, 32], 3), randn(&[64], 4), randn(&[10, 64], 5), randn(&[10], 6)];
    let mut m: Vec<Array> = params.iter().map(|p| ops::zeros_like(p)).collect();
    let mut v = m.clone();
    let loss = |p: &Vec<Array>| {
        let h = ops::maximum(&ops::addmm(&p[1], &x, &p[0].transpose(&[]), 1.0, 1.0), &Array::scalar(0f32));
        let o = ops::addmm(&p[3], &h, &p[2].transpose(&[]), 1.0, 1.0);
        (o - &y).square().mean()
    };
    let mut best = f64::MAX;
    let (mut tb, mut te) = (0.0, 0.0);
    for rep in 0..3000 {
        let t0 = Instant::now();
        let (val, g) = value_and_grad(&loss)(&params).unwrap();
        let mut out = vec![val];
        for i in 0..4 {
            m[i] = &m[i] * 0.9 + &g[i] * 0.1;
            v[i] = &v[i] * 0.999 + g[i].square() * 0.001;
            params[i] = &params[i] * (1.0 - 1e-5) - &m[i] * 1e-3 / (v[i].sqrt() + 1e-8);
            out.extend([m[i].clone(), v[i].clone(), params[i].clone()]);
        }
        let t1 = Instant::now();
        eval(&out).unwrap();
        let t2 = Instant::now();
        if rep > 500 { tb += (t1 - t0).as_secs_f64(); te += (t2 - t1).as_secs_f64(); best = best.min((t2 - t0).as_secs_f64()); }
    }
    println!("build {:.1} us, eval {:.1} us, best {:.1}", tb / 2499. * 1e6, te / 2499. * 1e6, best * 1e6);
    // node creation
    let a = Array::scalar(1f32);
    let t = Instant::now();
    let n = 15000;
    let mut z = a.clone();
    for _ in 0..n { z = ops::add(&z, &a); }
    println!("create {:.0} ns/op", t.elapsed().as_secs_f64() / n as f64 * 1e9);
    let t = Instant::now();
    eval(&[z.clone()]).unwrap();
    println!("eval {:.0} ns/op", t.elapsed().as_secs_f64() / n as f64 * 1e9);
    let _ = Dtype::F32; let _ = params.leaves();
}
