use covector_core::{Array, ops};
fn main() {
    let a = Array::scalar(1f32);
    let mut t_tot = 0.0;
    for _ in 0..2000 {
        let mut z = a.clone();
        let t = std::time::Instant::now();
        for _ in 0..1000 { z = ops::add(&z, &a); }
        t_tot += t.elapsed().as_secs_f64();
        if std::env::args().count() > 1 { z.try_eval().unwrap(); }
    }
    println!("{:.0} ns/op", t_tot / 2e6 * 1e9);
}
