//! Measures kernels on one thread: `cargo run --release -p covector-kernels --example throughput [filter]`.
#![allow(clippy::print_stdout, reason = "a report is the purpose")]

mod support;

use covector_kernels::{math, program::TileFn, *};
use std::hint::black_box;
use support::{Data, Report, strides};

/// Applies one tile function through a program.
fn map(f: program::TileFn, inputs: &[View<'_>], out: Out<'_>) {
    let mut builder = program::Builder::default();
    let regs: Vec<_> = inputs.iter().map(|x| builder.input(x.dtype())).collect();
    let result = builder.apply(f, None, &regs, out.dtype());
    builder.output(result);
    let shape = out.shape().to_vec();
    builder.finish().run(&shape, inputs, &[out]);
}

fn main() {
    let report = Report::new();
    let run = |name: &str, work: f64, unit: &str, f: &mut dyn FnMut()| report.run(name, work, unit, f);
    println!("{:?}", simd::level());
    macro_rules! unary {
        ($t:ident: $($f:ident)*) => {$(
            let n = 4096;
            let x = Data::new(<$t as Element>::DTYPE, n);
            let mut y = Data::new(<$t as Element>::DTYPE, n);
            let f: Tile1 = tile1!($t => $t, |x| math::$t::$f(x));
            run(concat!("math ", stringify!($t), " ", stringify!($f)), n as f64, "G/s", &mut || {
                map(TileFn::One(f), &[black_box(x.view(&[n], &[1]))], y.out(&[n]));
            });
        )*};
    }
    unary!(f32: exp exp2 expm1 log log1p log2 sin cos tan tanh sigmoid erf erfinv sinh asinh atan asin rsqrt);
    unary!(f64: exp log tanh sigmoid log1p expm1);
    let (n, a, b, mut c) = (
        4096,
        Data::new(Dtype::F32, 1 << 20),
        Data::new(Dtype::F32, 1 << 20),
        Data::new(Dtype::F32, 1 << 20),
    );
    let add: Tile2 = tile2!(f32, f32 => f32, |a, b| a + b);
    let pow: Tile2 = tile2!(f32, f32 => f32, |a, b| math::f32::pow(a, b));
    run("map pow 4096", n as f64, "G/s", &mut || {
        map(TileFn::Two(pow), &[a.view(&[n], &[1]), b.view(&[n], &[1])], c.out(&[n]))
    });
    run("map add scalar", 1.0, "G/s", &mut || {
        for _ in 0..1000 {
            map(TileFn::Two(add), &[black_box(a.view(&[], &[])), b.view(&[], &[])], c.out(&[]));
        }
    });
    run("map add 4096", n as f64, "G/s", &mut || {
        map(TileFn::Two(add), &[a.view(&[n], &[1]), b.view(&[n], &[1])], c.out(&[n]))
    });
    let m = 1 << 20;
    run("map add 1M", m as f64, "G/s", &mut || {
        map(TileFn::Two(add), &[a.view(&[m], &[1]), b.view(&[m], &[1])], c.out(&[m]))
    });
    for w in [10, 100, 1000] {
        let h = 4096 / w;
        run(&format!("map add [{h},{w}]+[{w}]"), (h * w) as f64, "G/s", &mut || {
            map(TileFn::Two(add), &[a.view(&[h, w], &[w as isize, 1]), b.view(&[w], &[1])], c.out(&[h, w]));
        });
        run(&format!("map add [{h},{w}]+[{h},1]"), (h * w) as f64, "G/s", &mut || {
            map(
                TileFn::Two(add),
                &[a.view(&[h, w], &[w as isize, 1]), b.view(&[h, 1], &[1, 1])],
                c.out(&[h, w]),
            );
        });
    }
    run("map add + scalar", n as f64, "G/s", &mut || {
        map(TileFn::Two(add), &[a.view(&[n], &[1]), b.view(&[], &[])], c.out(&[n]))
    });
    run("cast transpose 1024", m as f64, "G/s", &mut || {
        cast(a.view(&[1024, 1024], &[1, 1024]), c.out(&[1024, 1024]))
    });
    run("cast transpose [64,64,256]", m as f64, "G/s", &mut || {
        cast(a.view(&[64, 256, 64], &[16384, 1, 256]), c.out(&[64, 256, 64]));
    });
    for (from, to) in [
        (Dtype::F32, Dtype::F16),
        (Dtype::Bf16, Dtype::F32),
        (Dtype::I32, Dtype::F32),
        (Dtype::Bool, Dtype::F32),
        (Dtype::U8, Dtype::F32),
        (Dtype::F32, Dtype::I32),
    ] {
        let (x, mut y) = (Data::new(from, n), Data::new(to, n));
        run(&format!("cast {from} {to}"), n as f64, "G/s", &mut || cast(x.view(&[n], &[1]), y.out(&[n])));
    }
    let (rows, columns) = (1024, 1024);
    let s = strides(&[rows, columns]);
    for op in [Reduce::Sum, Reduce::Max] {
        run(&format!("reduce {op:?} all 1M"), m as f64, "G/s", &mut || {
            reduce(op, a.view(&[rows, columns], &s), &[0, 1], c.out(&[]))
        });
        run(&format!("reduce {op:?} rows 1024"), m as f64, "G/s", &mut || {
            reduce(op, a.view(&[rows, columns], &s), &[1], c.out(&[rows]))
        });
        run(&format!("reduce {op:?} columns 1024"), m as f64, "G/s", &mut || {
            reduce(op, a.view(&[rows, columns], &s), &[0], c.out(&[columns]))
        });
        run(&format!("reduce {op:?} [8192,10] rows"), 81920.0, "G/s", &mut || {
            reduce(op, a.view(&[8192, 10], &[10, 1]), &[1], c.out(&[8192]))
        });
        run(&format!("reduce {op:?} [8192,10] columns"), 81920.0, "G/s", &mut || {
            reduce(op, a.view(&[8192, 10], &[10, 1]), &[0], c.out(&[10]))
        });
        run(&format!("reduce {op:?} [16] all"), 16.0, "G/s", &mut || {
            reduce(op, a.view(&[16], &[1]), &[0], c.out(&[]))
        });
        run(&format!("reduce {op:?} [32,64,512] mid"), m as f64, "G/s", &mut || {
            reduce(op, a.view(&[32, 64, 512], &strides(&[32, 64, 512])), &[1], c.out(&[32, 512]))
        });
    }
    let (mut u, flags) = (Data::new(Dtype::U32, m), Data::new(Dtype::Bool, m));
    run("reduce bool sum 1M", m as f64, "G/s", &mut || {
        reduce(Reduce::Sum, flags.view(&[m], &[1]), &[0], u.out(&[]))
    });
    run("reduce any 1M", m as f64, "G/s", &mut || {
        reduce(Reduce::All, flags.view(&[m], &[1]), &[0], u.out(&[]))
    });
    run("argmax rows [8192,10]", 81920.0, "G/s", &mut || {
        arg_reduce(true, a.view(&[8192, 10], &[10, 1]), 1, u.out(&[8192]))
    });
    run("argmax rows [1024,1024]", m as f64, "G/s", &mut || {
        arg_reduce(true, a.view(&[rows, columns], &s), 1, u.out(&[rows]))
    });
    run("scan rows", m as f64, "G/s", &mut || {
        scan(Scan::Sum, a.view(&[rows, columns], &s), 1, false, true, c.out(&[rows, columns]))
    });
    run("scan columns", m as f64, "G/s", &mut || {
        scan(Scan::Sum, a.view(&[rows, columns], &s), 0, false, true, c.out(&[rows, columns]))
    });
    run("sort 1M", m as f64, "G/s", &mut || sort(a.view(&[m], &[1]), 0, c.out(&[m])));
    run("argsort 1M", m as f64, "G/s", &mut || argsort(a.view(&[m], &[1]), 0, u.out(&[m])));
    run("argsort rows", m as f64, "G/s", &mut || {
        argsort(a.view(&[rows, columns], &s), 1, u.out(&[rows, columns]))
    });
    let index: Vec<u32> = (0..8192u32).map(|i| i * 7919 % 1024).collect();
    // SAFETY: the vector has 8192 elements.
    let index = unsafe { View::new(index.as_ptr().cast(), Dtype::U32, &[8192], &[1]) };
    for w in [64usize, 1] {
        run(&format!("gather rows of {w}"), 8192.0 * w as f64, "G/s", &mut || {
            gather(a.view(&[1024, w], &[w as isize, 1]), &[index], &[0], &[1, w], c.out(&[8192, 1, w]))
                .unwrap();
        });
        run(&format!("scatter add rows of {w}"), 8192.0 * w as f64, "G/s", &mut || {
            scatter(
                Scatter::Add,
                c.out(&[1024, w]),
                &[index],
                &[0],
                a.view(&[8192, 1, w], &[w as isize, w as isize, 1]),
            )
            .unwrap();
        });
    }
    let mut bytes = vec![0u8; 1 << 20];
    run("random bits 1M bytes", bytes.len() as f64, "GB/s", &mut || random::bits([1, 2], 4, &mut bytes));
    for n in [4096, 1 << 20] {
        let mut out = vec![std::mem::MaybeUninit::uninit(); n];
        run(&format!("random uniform {n}"), n as f64, "G/s", &mut || random::uniform([1, 2], 1.0, &mut out));
        run(&format!("random normal {n}"), n as f64, "G/s", &mut || random::normal([1, 2], 1.0, &mut out));
    }
}
