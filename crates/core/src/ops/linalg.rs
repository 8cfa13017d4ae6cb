//! Products of vectors and matrices: the matrix product, and what is made of it.

use super::block::op;
use crate::array::{Array, Aval};
use crate::error::{Error, Result};
use crate::ops;
use crate::ops::elementwise::binary::multiply_row;
use crate::primitive::{Avals, Batch, Bilinear, Derivative, Lower, Op, Primitive};
use crate::shape::{Shape, ShapeText, broadcast_shapes};
use crate::wide;
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

/// `[…, m, k] × […, k, n] → […, m, n]`; axes in front broadcast.
pub(crate) struct Matmul;
pub(crate) static MATMUL: Matmul = Matmul;

impl Primitive for Matmul {
    fn name(&self) -> &'static str {
        "matmul"
    }
    fn infer(&self, inputs: &[Array]) -> Result<Avals> {
        let (a, b) = (inputs[0].shape(), inputs[1].shape());
        let (&[.., m, k], &[.., l, n]) = (a, b) else { unreachable!("ops give matmul two axes or more") };
        if k != l {
            return Err(Error::shape(
                "matmul",
                format!(
                    "shapes {} and {} do not multiply: {k} ≠ {l}; the last axis of the first must equal the last \
                     but one of the second",
                    ShapeText(a),
                    ShapeText(b)
                ),
            ));
        }
        let mut shape = broadcast_shapes("matmul", &a[..a.len() - 2], &b[..b.len() - 2])?;
        shape.extend([m, n]);
        Ok(smallvec![Aval { dtype: inputs[0].dtype(), shape }])
    }
    fn derivative(&self) -> Derivative<'_> {
        Derivative::Bilinear(self)
    }
    fn batch(&self, batch: &Batch<'_>) -> Result<Vec<Array>> {
        // The batch is one more axis in front; an operand of lower rank gets axes of extent 1 behind it.
        let rank = |i: usize| batch.inputs[i].ndim() - usize::from(batch.batched[i]);
        let most = rank(0).max(rank(1));
        let mut inputs = Vec::with_capacity(2);
        for (i, x) in batch.inputs.iter().enumerate() {
            if batch.batched[i] {
                let mut shape: Shape = smallvec![batch.size];
                shape.extend(std::iter::repeat_n(1, most - rank(i)));
                shape.extend_from_slice(&x.shape()[1..]);
                inputs.push(ops::reshape_to(x, &shape)?);
            } else {
                inputs.push(x.clone());
            }
        }
        batch.again(&inputs)
    }
    fn lower(&self, inputs: &[Array]) -> Lower<'_> {
        // An outer product is a multiplication with broadcasting.
        let outer = inputs[0].shape().last() == Some(&1) && inputs[0].dtype().is_inexact();
        let times = outer.then(|| multiply_row().lower(inputs));
        times.filter(|times| matches!(times, Lower::Map { .. })).unwrap_or(Lower::Dot)
    }
}

impl Bilinear for Matmul {
    fn transpose(&self, i: usize, ct: &Array, x: &[Array]) -> Result<Array> {
        let swap = |x: &Array| ops::try_swapaxes(x, -1, -2);
        if i == 1
            && let &[k, n] = x[1].shape()
            && k * n > 0
        {
            // A matrix shared by a whole batch: one product over the flattened batch.
            let rows = x[0].size() / k;
            let (left, ct) = (ops::reshape_to(&x[0], &[rows, k])?, ops::reshape_to(ct, &[rows, n])?);
            return ops::try_matmul(&swap(&left)?, &ct);
        }
        let pulled = |ct: &Array, other: &Array| {
            let other = swap(other)?;
            let full = if i == 0 { ops::try_matmul(ct, &other)? } else { ops::try_matmul(&other, ct)? };
            ops::sum_to(&full, x[i].shape())
        };
        let batch = |x: &Array| Shape::from_slice(&x.shape()[..x.ndim() - 2]);
        if batch(ct) == batch(&x[i]) {
            return pulled(ct, &x[1 - i]);
        }
        // Products are added up.
        wide::rounded_once([ct, &x[1 - i]], |[ct, other]| pulled(ct, other))
    }
}
