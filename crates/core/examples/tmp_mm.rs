use covector_core::{Array, Dtype, ops, eval};
fn main() {
    for (m, k, n) in [(256usize,256usize,256usize),(1024,1024,1024),(256,784,1024),(256,1024,10),(128,32,64)] {
        let a = ops::full(&[m,k], 0.5, Dtype::F32) + 0.0; let b = ops::full(&[k,n], 0.25, Dtype::F32) + 0.0;
        eval(&[a.clone(), b.clone()]).unwrap();
        let mut best = f64::MAX;
        for _ in 0..30 { let c = ops::matmul(&a,&b); let t = std::time::Instant::now(); c.try_eval().unwrap(); best = best.min(t.elapsed().as_secs_f64()); }
        println!("{m}x{k}x{n}: {:.1} us {:.0} GFLOP/s", best*1e6, 2.0*(m*n*k) as f64/best/1e9);
    }
    let x = ops::full(&[4_000_000], 0.5, Dtype::F32) + 0.0; eval(&[x.clone()]).unwrap();
    let mut best = f64::MAX;
    for _ in 0..30 { let c = ops::tanh(&((&x * &x * &x) * 0.044715 + &x)) * &x; let t = std::time::Instant::now(); c.try_eval().unwrap(); best = best.min(t.elapsed().as_secs_f64()); }
    println!("gelu-like 4M: {:.2} ms", best*1e3);
}
