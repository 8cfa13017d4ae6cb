//! Measures kernels on operands large enough for several threads: `cargo run --release -p covector-kernels --example large [filter]`.
#![allow(clippy::print_stdout, reason = "a report is the purpose")]

mod support;

use covector_kernels::*;
use std::hint::black_box;
use support::{Data, Report, strides};

fn main() {
    let report = Report::new();
    println!("{:?}, {} threads", simd::level(), threads::num_threads());
    products(&report);
    indexing(&report);
    order(&report);
    copies(&report);
    numbers(&report);
}

fn products(report: &Report) {
    let size = 10_100_000;
    for (dtype, name) in [
        (Dtype::F32, "f32"),
        (Dtype::F64, "f64"),
        (Dtype::Bf16, "bf16"),
        (Dtype::F16, "f16"),
        (Dtype::C64, "c64"),
    ] {
        let (a, b, mut c) = (Data::new(dtype, size), Data::new(dtype, size), Data::new(dtype, size));
        let shapes: &[(usize, usize, usize)] = if dtype == Dtype::F32 {
            &[
                (64, 64, 64),
                (128, 128, 128),
                (256, 256, 256),
                (512, 512, 512),
                (1024, 1024, 1024),
                (784, 1024, 256),
                (128, 784, 256),
                (784, 128, 256),
                (128, 32, 64),
                (32, 128, 64),
                (128, 64, 10),
                (64, 128, 10),
                (128, 10, 64),
                (100_000, 100, 1),
                (100, 100_000, 1),
                (1, 1024, 1024),
                (100_000, 100, 10),
                (10, 100_000, 100),
                (2, 1024, 1024),
                (8, 512, 512),
            ]
        } else {
            &[(128, 128, 128), (512, 512, 512), (1024, 1024, 1024), (128, 32, 64), (128, 64, 10)]
        };
        for &(m, k, n) in shapes {
            for (layout, sa, sb) in [("NN", [k, 1], [n, 1]), ("TN", [1, m], [n, 1]), ("NT", [k, 1], [1, k])] {
                let (sa, sb) = (sa.map(|s| s as isize), sb.map(|s| s as isize));
                let work = 2.0 * (m * n * k) as f64 * if dtype == Dtype::C64 { 4.0 } else { 1.0 };
                report.run(&format!("matmul {name} {m}x{k}x{n} {layout}"), work, "GFLOP/s", || {
                    matmul(a.view(&[m, k], &sa), b.view(&[k, n], &sb), c.out(&[m, n]));
                });
            }
        }
        for (count, m, k, n) in [(64, 128, 64, 128), (1000, 16, 16, 16), (256, 64, 32, 64)] {
            if dtype == Dtype::F32 || count == 64 {
                report.run(
                    &format!("matmul {name} batch {count}x({m}x{k}x{n})"),
                    2.0 * (count * m * k * n) as f64,
                    "GFLOP/s",
                    || {
                        matmul(
                            a.view(&[count, m, k], &strides(&[count, m, k])),
                            b.view(&[count, k, n], &strides(&[count, k, n])),
                            c.out(&[count, m, n]),
                        );
                    },
                );
            }
        }
    }
}

/// `count` random numbers below `end`.
fn scattered(count: usize, end: usize) -> Vec<u32> {
    let mut bytes = vec![0u8; 4 * count];
    random::bits([3, 4], 4, &mut bytes);
    let word = |b: &[u8]| u32::from_le_bytes([b[0], b[1], b[2], b[3]]);
    bytes.chunks_exact(4).map(|b| ((u64::from(word(b)) * end as u64) >> 32) as u32).collect()
}

fn indexing(report: &Report) {
    let (rows, width, count) = (50_000usize, 64usize, 4096usize);
    let (table, updates) = (Data::new(Dtype::F32, rows * width), Data::new(Dtype::F32, count * width));
    let (mut out, mut grad) = (Data::new(Dtype::F32, count * width), Data::new(Dtype::F32, rows * width));
    let index: Vec<u32> = scattered(count, rows);
    let shape = [count];
    // SAFETY: the vector has this many elements.
    let index = unsafe { View::new(index.as_ptr().cast(), Dtype::U32, &shape, &[1]) };
    let bytes = (count * width * 4) as f64;
    let w = width as isize;
    report.run("gather 4096 rows of 50000x64", bytes, "GB/s", || {
        gather(table.view(&[rows, width], &[w, 1]), &[index], &[0], &[1, width], out.out(&[count, 1, width]))
            .unwrap();
    });
    let mut add = |clear: bool| {
        if clear {
            let zero = Data::new(Dtype::F32, 1);
            fill(zero.view(&[], &[]), grad.out(&[rows, width]));
        }
        let shape = [count, 1, width];
        scatter(
            Scatter::Add,
            grad.out(&[rows, width]),
            &[index],
            &[0],
            updates.view(&shape, &strides(&shape)),
        )
        .unwrap();
    };
    report.run("scatter add 4096 rows to 50000x64", bytes, "GB/s", || add(false));
    report.run("zeros and scatter add", (rows * width * 4) as f64, "GB/s", || add(true));
    let n = 1 << 20;
    let (x, mut y) = (Data::new(Dtype::F32, n), Data::new(Dtype::F32, n));
    let places: Vec<u32> = scattered(n, 1024);
    // SAFETY: the vector has this many elements.
    let places = unsafe { View::new(places.as_ptr().cast(), Dtype::U32, &[1024, 1024], &[1024, 1]) };
    for axis in [0, 1] {
        report.run(&format!("take_along_axis 1024x1024 axis {axis}"), n as f64, "G/s", || {
            take_along_axis(x.view(&[1024, 1024], &[1024, 1]), places, axis, y.out(&[1024, 1024])).unwrap();
        });
        report.run(&format!("scatter_along_axis add 1024x1024 axis {axis}"), n as f64, "G/s", || {
            scatter_along_axis(
                Scatter::Add,
                y.out(&[1024, 1024]),
                places,
                axis,
                x.view(&[1024, 1024], &[1024, 1]),
            )
            .unwrap();
        });
    }
    let flat: Vec<u32> = scattered(n, n);
    let shape = [n];
    // SAFETY: the vector has this many elements.
    let flat = unsafe { View::new(flat.as_ptr().cast(), Dtype::U32, &shape, &[1]) };
    report.run("gather 1M of 1M", n as f64, "G/s", || {
        gather(x.view(&[n], &[1]), &[flat], &[0], &[1], y.out(&[n, 1])).unwrap();
    });
    report.run("scatter add 1M to 1M", n as f64, "G/s", || {
        scatter(Scatter::Add, y.out(&[n]), &[flat], &[0], x.view(&[n, 1], &[1, 1])).unwrap();
    });
}

fn order(report: &Report) {
    let n = 1 << 20;
    let square = [1024, 1024];
    for (dtype, name) in [(Dtype::F32, "f32"), (Dtype::I32, "i32"), (Dtype::F64, "f64"), (Dtype::F16, "f16")]
    {
        let (x, mut y, mut u) = (Data::new(dtype, n), Data::new(dtype, n), Data::new(Dtype::U32, n));
        report.run(&format!("sort {name} 1M"), n as f64, "G/s", || sort(x.view(&[n], &[1]), 0, y.out(&[n])));
        report.run(&format!("argsort {name} 1M"), n as f64, "G/s", || {
            argsort(x.view(&[n], &[1]), 0, u.out(&[n]))
        });
        for (axis, rows) in [(1, [1024isize, 1]), (0, [1024, 1])] {
            report.run(&format!("sort {name} 1024x1024 axis {axis}"), n as f64, "G/s", || {
                sort(x.view(&square, &rows), axis, y.out(&square))
            });
            report.run(&format!("argsort {name} 1024x1024 axis {axis}"), n as f64, "G/s", || {
                argsort(x.view(&square, &rows), axis, u.out(&square))
            });
        }
    }
    let (x, mut y) = (Data::new(Dtype::F32, 16 << 20), Data::new(Dtype::F32, 16 << 20));
    for op in [Scan::Sum, Scan::Max, Scan::LogAddExp] {
        let n = if op == Scan::LogAddExp { 1 << 20 } else { 16 << 20 };
        report.run(&format!("scan {op:?} {n}"), n as f64, "G/s", || {
            scan(op, x.view(&[n], &[1]), 0, false, true, y.out(&[n]))
        });
        for axis in [0, 1] {
            report.run(&format!("scan {op:?} 1024x1024 axis {axis}"), (1 << 20) as f64, "G/s", || {
                scan(op, x.view(&square, &[1024, 1]), axis, false, true, y.out(&square))
            });
        }
    }
}

fn copies(report: &Report) {
    let (e, n) = (4096usize, 4096usize * 4096);
    let (x, mut y) = (Data::new(Dtype::F32, n), Data::new(Dtype::F32, n));
    let gb = 8.0 * n as f64;
    report.run("copy 4096x4096", gb, "GB/s", || cast(x.view(&[n], &[1]), y.out(&[n])));
    report.run("fill 4096x4096", gb / 2.0, "GB/s", || fill(x.view(&[], &[]), y.out(&[n])));
    report.run("transpose 4096x4096", gb, "GB/s", || cast(x.view(&[e, e], &[1, e as isize]), y.out(&[e, e])));
    report.run("transpose 1024x1024", 8.0 * 1048576.0, "GB/s", || {
        cast(x.view(&[1024, 1024], &[1, 1024]), y.out(&[1024, 1024]))
    });
    report.run("transpose 64x(256x256)", 8.0 * 4194304.0, "GB/s", || {
        cast(x.view(&[64, 256, 256], &[65536, 1, 256]), y.out(&[64, 256, 256]))
    });
    report.run("heads 32x128x8x64 -> 32x8x128x64", 8.0 * 2097152.0, "GB/s", || {
        cast(x.view(&[32, 8, 128, 64], &[65536, 64, 512, 1]), y.out(&[32, 8, 128, 64]))
    });
    report
        .run("every other of 16M", 4.0 * n as f64, "GB/s", || cast(x.view(&[n / 2], &[2]), y.out(&[n / 2])));
    report.run("reversed 4096x4096", gb, "GB/s", || {
        let shape = [n];
        // SAFETY: a reversed view, which starts at the last element.
        let last = unsafe { View::new(x.view(&[], &[]).ptr().add((n - 1) * 4), Dtype::F32, &shape, &[-1]) };
        cast(last, y.out(&[n]))
    });
    report.run("broadcast rows 4096 to 4096x4096", gb / 2.0, "GB/s", || {
        cast(x.view(&[e, e], &[0, 1]), y.out(&[e, e]))
    });
    report.run("copy_into half the columns of 4096x4096", gb / 2.0, "GB/s", || {
        let shape = [n];
        let out = y.out(&shape);
        // SAFETY: a view of the left half of the columns.
        unsafe { copy_into(x.view(&[e, e / 2], &[e as isize / 2, 1]), out.ptr(), &[e as isize, 1]) }
    });
    let (h, mut f) = (Data::new(Dtype::Bf16, n), Data::new(Dtype::F32, n));
    report.run("cast bf16 f32 16M", 6.0 * n as f64, "GB/s", || cast(h.view(&[n], &[1]), f.out(&[n])));
}

fn numbers(report: &Report) {
    let n = 1 << 20;
    let mut out = vec![std::mem::MaybeUninit::uninit(); n];
    report.run("random uniform 1M", n as f64, "G/s", || random::uniform([1, 2], 1.0, &mut out));
    report.run("random normal 1M", n as f64, "G/s", || random::normal([1, 2], 1.0, black_box(&mut out)));
    let mut wide = vec![std::mem::MaybeUninit::uninit(); n];
    report.run("random uniform f64 1M", n as f64, "G/s", || random::uniform_f64([1, 2], &mut wide));
    let mut bytes = vec![0u8; 4 * n];
    report.run("random bits 4 MB", 4.0 * n as f64, "GB/s", || random::bits([1, 2], 4, black_box(&mut bytes)));
}
