//! Arrays as plain vectors of `f64` pairs, and the layouts that every operation has to cope with.
#![allow(unreachable_pub, dead_code, reason = "each test file uses a part")]

use covector_core::{Array, Dtype, ops};
use covector_kernels::with_dtype;

/// A complex number; real values have no imaginary part.
pub type Z = (f64, f64);

/// The values of an array in row-major order.
pub fn values(x: &Array) -> Vec<Z> {
    if x.dtype().is_complex() {
        return x.to_vec::<covector_core::C64>().iter().map(|z| (z.re.into(), z.im.into())).collect();
    }
    x.astype(Dtype::F64).to_vec::<f64>().into_iter().map(|v| (v, 0.0)).collect()
}

/// The values of a real array.
pub fn reals(x: &Array) -> Vec<f64> {
    values(x).into_iter().map(|z| z.0).collect()
}

/// An array of a type from numbers that it can hold.
pub fn array(values: &[f64], shape: &[usize], dtype: Dtype) -> Array {
    Array::from_slice(values, shape).unwrap().astype(dtype)
}

/// The same values in fresh row-major memory.
pub fn fresh(x: &Array) -> Array {
    with_dtype!(x.dtype(), T => Array::from_slice(&x.to_vec::<T>(), x.shape()).unwrap())
}

/// The same values in memory of other orders: column-major, backwards, and every other element.
pub fn layouts(x: &Array) -> Vec<Array> {
    let all: Vec<isize> = (0..x.ndim() as isize).collect();
    let mut out = vec![x.clone(), fresh(&x.transpose(&[])).transpose(&[]), fresh(&x.flip(&all)).flip(&all)];
    if x.ndim() > 0 {
        let every_other = ops::Index::Slice(Some(1), None, 2);
        let wide = fresh(&ops::concatenate(&[x.expand_dims(&[1]), x.expand_dims(&[1])], 1).flatten(0, 1));
        out.push(wide.index(&[every_other]));
    }
    for y in &out {
        y.try_eval().unwrap();
    }
    out
}

/// Relative precision of a type; 0 for exact ones.
pub fn precision(dtype: Dtype) -> f64 {
    match dtype {
        Dtype::F16 => 1.0 / 1024.0,
        Dtype::Bf16 => 1.0 / 128.0,
        Dtype::F32 | Dtype::C64 => f64::from(f32::EPSILON),
        Dtype::F64 => f64::EPSILON,
        _ => 0.0,
    }
}

/// Whether two values agree within `units` of the type's precision; NaN agrees with NaN.
pub fn near(a: f64, b: f64, dtype: Dtype, units: f64) -> bool {
    a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= units * precision(dtype) * b.abs().max(1.0)
}

#[track_caller]
pub fn assert_near(what: &str, got: &Array, want: &[f64], units: f64) {
    let (got, dtype) = (reals(got), got.dtype());
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, (&a, &b)) in got.iter().zip(want).enumerate() {
        assert!(near(a, b, dtype, units), "{what}: element {i} is {a}, not {b} ({dtype})");
    }
}

/// A small generator of test data (the upper bits of a linear congruence).
pub struct Rng(pub u64);

impl Rng {
    pub fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }

    /// Whole numbers from -9 to 9 that the type can hold; halves and signs only where it has them.
    pub fn number(&mut self, dtype: Dtype) -> f64 {
        let v = self.below(19) as f64 - 9.0;
        match dtype {
            Dtype::Bool => f64::from(v > 0.0),
            d if d.is_unsigned_integer() => v.abs(),
            d if d.is_integer() => v,
            _ => v / 2.0,
        }
    }

    pub fn array(&mut self, shape: &[usize], dtype: Dtype) -> Array {
        let n = shape.iter().product();
        array(&(0..n).map(|_| self.number(dtype)).collect::<Vec<_>>(), shape, dtype)
    }
}

/// Calls `f` with each position of a shape in row-major order.
pub fn positions(shape: &[usize], mut f: impl FnMut(&[usize])) {
    if shape.contains(&0) {
        return;
    }
    let mut at = vec![0; shape.len()];
    loop {
        f(&at);
        let Some(k) = (0..shape.len()).rev().find(|&k| at[k] + 1 < shape[k]) else { return };
        at[k] += 1;
        at[k + 1..].fill(0);
    }
}

/// The row-major number of a position.
pub fn flat(at: &[usize], shape: &[usize]) -> usize {
    at.iter().zip(shape).fold(0, |f, (&i, &n)| f * n + i)
}

/// The message of a panic-free failure.
#[track_caller]
pub fn failure<T>(result: covector_core::Result<T>) -> String {
    match result {
        Ok(_) => panic!("this should have failed"),
        Err(error) => error.to_string(),
    }
}
