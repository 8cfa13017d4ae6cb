//! What the tests of memory run: all entries of the catalogue, and work on large arrays.

#![allow(dead_code, reason = "each test file uses some of these")]

use covector_core::catalog::{Entry, Input};
use covector_core::transforms::{jvp_flat, vjp_flat};
use covector_core::{Array, Dtype, Result, ops};
use covector_kernels::with_dtype;

/// The values, to the last digit.
pub(crate) fn digits(x: &Array) -> Result<String> {
    let values = with_dtype!(x.dtype(), T => format!("{:?}", x.try_to_vec::<T>()?));
    Ok(format!("{} {:?} {values}", x.dtype(), x.shape()))
}

/// Sample inputs with floating point in this type; integers and truth values are made of it.
pub(crate) fn samples(entry: &Entry, dtype: Dtype) -> Vec<Array> {
    let float = if dtype.is_inexact() { dtype } else { Dtype::F64 };
    let sample = |(i, input): (usize, &Input)| {
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
pub(crate) fn all_of(entry: &Entry, x: &[Array]) -> Result<Vec<String>> {
    let y = (entry.run)(x)?;
    covector_core::eval(&y)?;
    let mut out: Vec<String> = y.iter().map(digits).collect::<Result<_>>()?;
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
    for x in traced.pullback(&ct)? {
        out.push(digits(&x)?);
    }
    let t: Vec<Array> = at.iter().map(|x| ops::ones_like(x) * 0.5).collect();
    for x in jvp_flat(&at, &t, run)?.1 {
        out.push(digits(&x)?);
    }
    Ok(out)
}

/// Work on arrays that are large enough to be divided among threads, in types that have kernels of their own.
pub(crate) fn large(dtype: Dtype) -> Vec<Array> {
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
        // One window of all.
        ops::max_pool(&x.reshape(&[1, n as isize, n as isize, 1]), &[n, n], &[1, 1], &[0, 0]),
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
            // Many small images, many groups of channels, and a kernel as long as its input.
            ops::conv1d(
                &x.reshape(&[30_000, 3, 1]),
                &part.reshape(&[-1, 1, 1]).index(&[ops::Index::from(0..2)]),
                1,
                0,
                1,
                1,
            ),
            ops::conv1d(
                &x.reshape(&[2, 1, 45_000]),
                &x.reshape(&[90_000, 1, 1]).index(&[ops::Index::from(0..45_000)]),
                1,
                0,
                1,
                45_000,
            ),
            ops::conv1d(&x.reshape(&[1, -1, 1]), &x.reshape(&[1, -1, 1]), 1, 1, 1, 1),
            ops::conv2d(&image, &kernel, [1, 1], [1, 1], [1, 1], 1),
            ops::conv2d(&image, &kernel, [2, 1], [0, 2], [1, 2], 1),
        ]);
    }
    out
}
