//! Products of vectors and matrices.

use super::block::op;
use crate::array::Array;
use crate::error::{Error, Result};
use crate::ops;
use crate::prim::matmul::MATMUL;
use crate::primitive::Op;
use smallvec::smallvec;

op! {
    /// The matrix product over the last two axes; axes in front broadcast, and a vector counts as one row on the
    /// left and one column on the right.
    pub fn matmul / try_matmul(a: &Array, b: &Array)
    python matmul(a: Array, b: Array, /, *)
    samples {
        [real([2, 3]), real([3, 4])] |x, y| try_matmul(x, y);
        [real([3]), real([2, 3, 4])] |x, y| try_matmul(x, y);
        [real([2, 1, 2, 3]), real([4, 3, 2])] |x, y| try_matmul(x, y);
        [real([2, 2, 3]), real([3, 2])] |x, y| try_matmul(x, y);
    }
    {
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
    pub fn addmm / try_addmm(c: &Array, a: &Array, b: &Array, alpha: f64, beta: f64) once(c, a, b)
    python addmm(c: Array, a: Array, b: Array, /, alpha: f64 = 1.0, beta: f64 = 1.0, *)
    samples {
        [real([3]), real([2, 4]), real([4, 3])] |x, y, z| try_addmm(x, y, z, 2.0, 0.5);
    }
    {
        let product = try_matmul(a, b)?;
        let product = if alpha == 1.0 { product } else { ops::try_multiply(&product, &ops::constant_like(&product, alpha))? };
        let c = if beta == 1.0 { c.clone() } else { ops::try_multiply(c, &ops::constant_like(c, beta))? };
        ops::try_add(&product, &c)
    }

    /// The sum of products over the last axes of both.
    pub fn inner / try_inner(a: &Array, b: &Array)
    python inner(a: Array, b: Array, /, *)
    samples {
        [real([2, 3]), real([4, 3])] |x, y| try_inner(x, y);
    }
    {
        if a.ndim() == 0 || b.ndim() == 0 {
            return ops::try_multiply(a, b);
        }
        try_tensordot(a, b, &[-1], &[-1])
    }

    /// Every element of one times every element of the other, both flattened.
    pub fn outer / try_outer(a: &Array, b: &Array)
    python outer(a: Array, b: Array, /, *)
    samples {
        [real([2]), real([3])] |x, y| try_outer(x, y);
    }
    {
        let (column, row) = (ops::reshape_to(a, &[a.size(), 1])?, ops::reshape_to(b, &[1, b.size()])?);
        ops::try_multiply(&column, &row)
    }

    /// The Kronecker product: every element of `a` replaced by itself times the whole of `b`.
    pub fn kron / try_kron(a: &Array, b: &Array)
    python kron(a: Array, b: Array, *)
    samples {
        [real([2, 3]), real([2])] |x, y| try_kron(x, y);
    }
    {
        let rank = a.ndim().max(b.ndim());
        let extent = |x: &Array, k: usize| (k + x.ndim()).checked_sub(rank).map_or(1, |k| x.shape()[k]);
        let spread = |x: &Array, first: bool| {
            let pair = |k: usize| if first { [extent(x, k), 1] } else { [1, extent(x, k)] };
            ops::reshape_to(x, &(0..rank).flat_map(pair).collect::<Vec<_>>())
        };
        let product = ops::try_multiply(&spread(a, true)?, &spread(b, false)?)?;
        ops::reshape_to(&product, &(0..rank).map(|k| extent(a, k) * extent(b, k)).collect::<Vec<_>>())
    }

    /// The sum of products along one axis of both; the first is conjugated.
    pub fn vecdot / try_vecdot(a: &Array, b: &Array, axis: isize) once(a, b)
    python vecdot(a: Array, b: Array, /, *, axis: isize = -1)
    samples {
        [real([2, 3]), real([3])] |x, y| try_vecdot(x, y, -1);
    }
    {
        for x in [a, b] {
            crate::shape::normalize_axis("vecdot", axis, x.ndim())?;
        }
        ops::try_sum_axes(&ops::try_multiply(&ops::try_conjugate(a)?, b)?, &[axis], false)
    }

    /// The vector product of three-dimensional vectors along an axis; a missing third component is zero.
    pub fn cross / try_cross(a: &Array, b: &Array, axis: isize) once(a, b)
    samples {
        [real([3, 2]), real([2, 2])] |x, y| try_cross(x, y, 0);
    }
    {
        let components = |x: &Array| -> Result<[Array; 3]> {
            let k = crate::shape::normalize_axis("cross", axis, x.ndim())?;
            let mut parts = ops::try_unstack(x, axis)?;
            if parts.len() == 2 {
                parts.push(ops::zeros_like(&parts[0]));
            }
            <[Array; 3]>::try_from(parts).map_err(|_| {
                Error::shape("cross", format!("axis {k} of shape {} has {} components; vectors have 2 or 3", crate::shape::ShapeText(x.shape()), x.shape()[k]))
            })
        };
        let (a, b) = (components(a)?, components(b)?);
        let part = |i: usize, j: usize| ops::try_subtract(&ops::try_multiply(&a[i], &b[j])?, &ops::try_multiply(&a[j], &b[i])?);
        ops::try_stack(&[part(1, 2)?, part(2, 0)?, part(0, 1)?], axis)
    }

    /// The sum of products over pairs of axes: `a_axes[k]` of `a` with `b_axes[k]` of `b`.
    pub fn tensordot / try_tensordot(a: &Array, b: &Array, a_axes: &[isize], b_axes: &[isize])
    samples {
        [real([2, 3, 4]), real([4, 2, 3])] |x, y| try_tensordot(x, y, &[2, 0], &[0, 1]);
    }
    {
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
