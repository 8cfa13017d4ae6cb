//! Measures products of few rows with a large matrix in both layouts, in each element type:
//! `cargo run --release -p covector-kernels --example few_rows [filter] [seconds]`. `COVECTOR_NUM_THREADS` sets the number of
//! threads, `COVECTOR_SIMD` the instruction set.
#![allow(clippy::print_stdout, reason = "a report is the purpose")]

mod support;

use covector_kernels::*;
use support::{Data, Report, strides};

fn main() {
    let report = Report::new();
    println!("{:?}, {} threads", simd::level(), threads::num_threads());
    let n = 4096;
    for dtype in [Dtype::F32, Dtype::F16, Dtype::Bf16] {
        let matrix = Data::new(dtype, n * n);
        for m in [1, 2, 4, 8, 16, 32, 64] {
            let rows = Data::new(dtype, m * n);
            let mut out = Data::new(dtype, m * n);
            let (shape, square) = ([m, n], [n, n]);
            let (plain, turned) = (strides(&square), [1, n as isize]);
            let bytes = (n * n * dtype.size()) as f64;
            for (name, layout) in [("x @ w.T", &turned[..]), ("x @ w", &plain[..])] {
                report.run(&format!("{name} {m} rows {dtype}"), bytes, "GB/s", || {
                    matmul(
                        rows.view(&shape, &strides(&shape)),
                        matrix.view(&square, layout),
                        out.out(&shape),
                    );
                });
            }
        }
        for n in [256, 512, 1024, 2048] {
            let (a, b) = (Data::new(dtype, n * n), Data::new(dtype, n * n));
            let (mut out, square) = (Data::new(dtype, n * n), [n, n]);
            let s = strides(&square);
            report.run(&format!("square {n} {dtype}"), 2.0 * (n * n * n) as f64, "GFLOP/s", || {
                matmul(a.view(&square, &s), b.view(&square, &s), out.out(&square));
            });
        }
    }
}
