//! Products of vectors and matrices.

use crate::array::Array;
use crate::error::{Error, Result};
use crate::ops;
use crate::prim::matmul::MATMUL;
use crate::primitive::Op;
use smallvec::smallvec;

op! {
    /// The matrix product over the last two axes; axes in front broadcast, and a vector counts as one row on the
    /// left and one column on the right.
    pub fn matmul / try_matmul(a: &Array, b: &Array) {
        let dtype = crate::dtype::promote(a.dtype(), b.dtype());
        if !dtype.is_inexact() {
            return Err(Error::dtype(
                "matmul",
                format!("{} and {} give {dtype}; only floating-point and complex matrices multiply. Convert with astype", a.dtype(), b.dtype()),
            ));
        }
        if a.ndim() == 0 || b.ndim() == 0 {
            return Err(Error::shape("matmul", "a zero-dimensional array is no matrix; multiply with * instead"));
        }
        let (a, b) = (ops::to_dtype(a, dtype), ops::to_dtype(b, dtype));
        let row = if a.ndim() == 1 { ops::try_expand_dims(&a, &[0])? } else { a.clone() };
        let column = if b.ndim() == 1 { ops::try_expand_dims(&b, &[1])? } else { b.clone() };
        let out = Array::apply(Op::Static(&MATMUL), smallvec![row, column])?;
        match (a.ndim(), b.ndim()) {
            (1, 1) => ops::try_squeeze(&out, &[-1, -2]),
            (1, _) => ops::try_squeeze(&out, &[-2]),
            (_, 1) => ops::try_squeeze(&out, &[-1]),
            _ => Ok(out),
        }
    }

    /// The matrix product of two arrays, plus a third: `alpha · (a b) + beta · c`.
    pub fn addmm / try_addmm(c: &Array, a: &Array, b: &Array, alpha: f64, beta: f64) {
        let product = try_matmul(a, b)?;
        let product = if alpha == 1.0 { product } else { ops::try_multiply(&product, &ops::constant_like(&product, alpha))? };
        let c = if beta == 1.0 { c.clone() } else { ops::try_multiply(c, &ops::constant_like(c, beta))? };
        ops::try_add(&product, &c)
    }

    /// The sum of products over the last axes of both.
    pub fn inner / try_inner(a: &Array, b: &Array) {
        if a.ndim() == 0 || b.ndim() == 0 {
            return ops::try_multiply(a, b);
        }
        try_tensordot(a, b, &[-1], &[-1])
    }

    /// Every element of one times every element of the other, both flattened.
    pub fn outer / try_outer(a: &Array, b: &Array) {
        let (column, row) = (ops::reshape_to(a, &[a.size(), 1])?, ops::reshape_to(b, &[1, b.size()])?);
        ops::try_multiply(&column, &row)
    }

    /// The sum of products over pairs of axes: `a_axes[k]` of `a` with `b_axes[k]` of `b`.
    pub fn tensordot / try_tensordot(a: &Array, b: &Array, a_axes: &[isize], b_axes: &[isize]) {
        if a_axes.len() != b_axes.len() {
            return Err(Error::value("tensordot", format!("{} axes of the first and {} of the second; give pairs", a_axes.len(), b_axes.len())));
        }
        let norm = |axes: &[isize], x: &Array| -> Result<Vec<usize>> {
            crate::shape::normalize_axes("tensordot", axes, x.ndim())?;
            axes.iter().map(|&k| crate::shape::normalize_axis("tensordot", k, x.ndim())).collect()
        };
        let (ka, kb) = (norm(a_axes, a)?, norm(b_axes, b)?);
        if let Some((&i, &j)) = ka.iter().zip(&kb).find(|&(&i, &j)| a.shape()[i] != b.shape()[j]) {
            return Err(Error::shape("tensordot", format!("axis {i} of the first has extent {} and axis {j} of the second {}", a.shape()[i], b.shape()[j])));
        }
        let free = |x: &Array, taken: &[usize]| (0..x.ndim()).filter(|k| !taken.contains(k)).collect::<Vec<_>>();
        let (fa, fb) = (free(a, &ka), free(b, &kb));
        let extent = |x: &Array, axes: &[usize]| axes.iter().map(|&k| x.shape()[k]).product::<usize>();
        let left = ops::permute(a, fa.iter().chain(&ka).copied().collect())?;
        let left = ops::reshape_to(&left, &[extent(a, &fa), extent(a, &ka)])?;
        let right = ops::permute(b, kb.iter().chain(&fb).copied().collect())?;
        let right = ops::reshape_to(&right, &[extent(b, &kb), extent(b, &fb)])?;
        let shape: Vec<usize> = fa.iter().map(|&k| a.shape()[k]).chain(fb.iter().map(|&k| b.shape()[k])).collect();
        ops::reshape_to(&try_matmul(&left, &right)?, &shape)
    }
}
