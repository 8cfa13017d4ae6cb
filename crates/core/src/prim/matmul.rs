//! The matrix product.

use crate::array::{Array, Aval};
use crate::error::{Error, Result};
use crate::ops;
use crate::prim::binary::multiply_row;
use crate::primitive::{Avals, Batch, Bilinear, Derivative, Lower, Primitive};
use crate::shape::{Shape, ShapeText, broadcast_shapes};
use crate::wide;
use smallvec::smallvec;

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
