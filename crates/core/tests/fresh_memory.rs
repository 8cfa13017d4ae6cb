//! No result depends on memory that nobody wrote: every entry of the catalogue, forward and backward and in every
//! element type, gives the same bits whatever fresh memory was filled with.

use covector_core::buffer::testing::{Fill, set_fill};
use covector_core::catalog::{Entry, entries};
use covector_core::transforms::{jvp_flat, vjp_flat};
use covector_core::{Array, Dtype, Result, ops, random};
use covector_kernels::fused::{MachineCode, set_machine_code};
use covector_kernels::with_dtype;
use std::sync::Mutex;

/// What memory is filled with holds for the whole process.
static ALONE: Mutex<()> = Mutex::new(());

/// The results of `work`, to the last digit, with memory filled in two ways.
fn both<T>(work: impl Fn() -> T) -> (T, T) {
    let of = |fill: Fill| {
        let before = set_fill(fill);
        random::seed(3);
        let out = work();
        set_fill(before);
        out
    };
    (of(Fill::Signal), of(Fill::Large))
}

/// The values, to the last digit.
fn digits(x: &Array) -> String {
    let values = with_dtype!(x.dtype(), T => format!("{:?}", x.to_vec::<T>()));
    format!("{} {:?} {values}", x.dtype(), x.shape())
}

/// Sample inputs with floating point in this type; integers and truth values are made of it.
fn samples(entry: &Entry, dtype: Dtype) -> Vec<Array> {
    let float = if dtype.is_inexact() { dtype } else { Dtype::F64 };
    let sample = |(i, input): (usize, &covector_core::catalog::Input)| {
        let x = input.sample(217 + i as u64, float);
        match dtype {
            _ if dtype.is_inexact() || !input.is_differentiable() => x,
            Dtype::Bool => ops::greater(&x, &Array::scalar(0.1f64)),
            _ => ops::astype(&(ops::abs(&x) * 3.0), dtype),
        }
    };
    let x: Vec<Array> = entry.inputs.iter().enumerate().map(sample).collect();
    covector_core::eval(&x).unwrap();
    x
}

/// The outputs, the cotangents and the tangents with respect to all arguments that have some.
fn all_of(entry: &Entry, x: &[Array]) -> Result<Vec<String>> {
    let y = (entry.run)(x)?;
    covector_core::eval(&y)?;
    let mut out: Vec<String> = y.iter().map(digits).collect();
    let smooth: Vec<usize> = (0..x.len()).filter(|&i| x[i].dtype().is_inexact()).collect();
    if !entry.smooth || smooth.is_empty() {
        return Ok(out);
    }
    let at: Vec<Array> = smooth.iter().map(|&i| x[i].clone()).collect();
    let run = |v: &[Array]| {
        let mut x = x.to_vec();
        smooth.iter().zip(v).for_each(|(&i, v)| x[i] = v.clone());
        Ok((entry.run)(&x)?.into_iter().filter(|y| y.dtype().is_inexact()).collect::<Vec<_>>())
    };
    let traced = vjp_flat(&at, run)?;
    let ct: Vec<Array> = traced.outputs().iter().map(|y| ops::ones_like(y) * 0.75).collect();
    out.extend(traced.pullback(&ct)?.iter().map(digits));
    let t: Vec<Array> = at.iter().map(|x| ops::ones_like(x) * 0.5).collect();
    out.extend(jvp_flat(&at, &t, run)?.1.iter().map(digits));
    Ok(out)
}

fn check_catalogue(mode: MachineCode) {
    let _alone = ALONE.lock().unwrap_or_else(|e| e.into_inner());
    set_machine_code(mode);
    let mut runs = 0;
    for entry in entries() {
        for dtype in Dtype::ALL {
            let x = samples(&entry, dtype);
            let (one, other) = both(|| all_of(&entry, &x).map_err(|e| e.to_string()));
            assert_eq!(one, other, "{} of {dtype} depends on memory that was not written", entry.name);
            runs += usize::from(one.is_ok());
            // Floats are taken everywhere.
            assert!(one.is_ok() || !dtype.is_float(), "{} of {dtype}: {one:?}", entry.name);
        }
    }
    assert!(runs > 7 * entries().len(), "{runs} runs");
}

#[test]
fn no_entry_of_the_catalogue_reads_fresh_memory() {
    check_catalogue(MachineCode::AtOnce);
}

#[test]
fn no_entry_of_the_catalogue_reads_fresh_memory_when_interpreted() {
    check_catalogue(MachineCode::Never);
}

/// Work on arrays that are large enough to be divided among threads, in types that have kernels of their own.
fn large(dtype: Dtype) -> Vec<Array> {
    let n = 300usize;
    let base = ops::sin(&ops::arange(0.0, (n * n) as f64, 1.0, Dtype::F32)) * 3.0;
    let x = ops::astype(&base, dtype).reshape(&[n as isize, n as isize]);
    let part = x.index(&[ops::Index::from(..), ops::Index::from(3..200)]);
    let order = ops::astype(&(ops::arange(0.0, 900.0, 1.0, Dtype::F32) * 7.0), Dtype::I32);
    let order = ops::remainder(&order, &Array::scalar(n as i32));
    let mut out = vec![
        ops::sort(&x, 0),
        ops::argsort(&x, 1),
        ops::cumsum(&x, 0, false, true),
        ops::cummax(&x, 1, true, false),
        x.sum(),
        ops::max_axes(&x, &[0], false),
        ops::argmax_axis(&x, 1, false),
        ops::take(&x, &order, 0),
        ops::concatenate(&[part.clone(), ops::transpose(&x, &[]), part.clone()], 1),
        ops::pad(&part, &[3, 0], &[2, 70], &ops::constant(1.0, dtype)),
        ops::max_pool(&x.reshape(&[1, n as isize, n as isize, 1]), &[5, 3], &[5, 3], &[0, 0]),
        x.index_update(&[ops::Index::Array(order.clone())], &ops::take(&x, &order, 0), ops::Update::Add),
    ];
    if dtype.is_inexact() {
        let y = ops::tanh(&(&x * 0.1));
        let image = x.reshape(&[1, 60, 150, 10]);
        let kernel = part.reshape(&[-1]).index(&[ops::Index::from(0..720)]).reshape(&[8, 3, 3, 10]);
        out.extend([
            x.matmul(&x),
            part.mt().matmul(&x),
            x.index(&[ops::Index::from(0..3)]).matmul(&x.mt()),
            x.index(&[ops::Index::from(0..1)]).matmul(&x),
            x.matmul(&part.index(&[ops::Index::from(..), ops::Index::from(0..2)])),
            ops::softmax(&y, &[-1]),
            ops::logsumexp_axes(&x, &[0], false) * &y,
            (ops::tanh(&x.matmul(&x)) + &y).sum_axes(&[0], false),
            ops::conv2d(&image, &kernel, [1, 1], [1, 1], [1, 1], 1),
            ops::conv2d(&image, &kernel, [2, 1], [0, 2], [1, 2], 1),
        ]);
    }
    out
}

#[test]
fn large_arrays_do_not_read_fresh_memory_either() {
    let _alone = ALONE.lock().unwrap_or_else(|e| e.into_inner());
    set_machine_code(MachineCode::AtOnce);
    for dtype in Dtype::ALL {
        if matches!(dtype, Dtype::C64 | Dtype::Bool) {
            continue; // not ordered, or not added
        }
        let (one, other) = both(|| large(dtype).iter().map(digits).collect::<Vec<_>>());
        for (k, (one, other)) in one.iter().zip(&other).enumerate() {
            assert!(one == other, "result {k} of {dtype} depends on memory that was not written");
        }
    }
}

#[test]
fn memory_is_filled_with_what_it_should_be() {
    let _alone = ALONE.lock().unwrap_or_else(|e| e.into_inner());
    let before = set_fill(Fill::Signal);
    for size in [1usize, 2, 5, 1000] {
        for dtype in Dtype::ALL {
            let fresh = covector_core::buffer::Data::alloc("test", dtype, &[size]).unwrap();
            let x = Array::from_data(fresh);
            let signals = match dtype {
                _ if dtype.is_inexact() => ops::isnan(&x),
                Dtype::Bool => x,
                _ if dtype.is_signed_integer() => ops::less(&x, &Array::scalar(-127i8)),
                _ => ops::equal(&ops::bitwise_invert(&x), &ops::zeros_like(&x)),
            };
            assert!(signals.all().item::<bool>(), "{size} of {dtype}");
        }
    }
    set_fill(before);
    assert!(!cfg!(debug_assertions) || before == Fill::Signal, "tests run with memory filled");
}
