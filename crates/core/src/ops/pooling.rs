//! Pooling: sums and maxima over windows of `[n, spatial.., c]`, and their transposes.

use super::block::op;
use crate::array::{Array, Aval};
use crate::buffer::Data;
use crate::error::{Error, Result};
use crate::ops::{self, conv};
use crate::primitive::{
    Avals, Batch, Derivative, Linear, MaybeArrays, Param, Params, Primitive, Structured, Values,
};
use crate::shape::{Dims, Shape};
use covector_kernels::conv::pooling::{self, Pooling, Windows};
use smallvec::smallvec;

op! {
    /// The greatest element of each window of `[n, spatial.., c]`. Windows have an extent per spatial axis, are `stride`
    /// apart, and may cover `padding` places in front of and behind the input, which hold nothing. Elements that tie
    /// share the gradient equally.
    pub fn max_pool / try_max_pool(x: &Array, window: &[usize], stride: &[usize], padding: &[usize])
    samples {
        [distinct([1, 5, 4, 2])] |x| try_max_pool(x, &[2, 3], &[2, 1], &[1, 1]);
        // Windows side by side, where the transposes write elements instead of adding to them.
        [distinct([2, 6, 1])] |x| try_max_pool(x, &[2], &[2], &[0]);
        [distinct([1, 6, 3])] |x| try_max_pool(x, &[3], &[3], &[0]);
        [distinct([1, 4, 4, 2])] |x| try_max_pool(x, &[2, 2], &[2, 2], &[1, 1]);
        [distinct([1, 3, 4, 1])] |x| try_max_pool(x, &[3, 2], &[3, 2], &[0, 0]);
        [distinct([1, 2, 4, 2, 1])] |x| try_max_pool(x, &[1, 2, 2], &[1, 2, 2], &[0, 0, 0]);
    }
    {
        pooled("max_pool", Kind::Max, x, window, stride, padding)
    }

    /// The mean of each window; see [`max_pool`]. Places outside of the input count as zeros. Integers become `float32`.
    pub fn avg_pool / try_avg_pool(x: &Array, window: &[usize], stride: &[usize], padding: &[usize]) once(x)
    samples {
        [real([2, 5, 2])] |x| try_avg_pool(x, &[3], &[1], &[1]);
        [real([2, 6, 1])] |x| try_avg_pool(x, &[2], &[2], &[0]);
        [real([1, 4, 4, 1])] |x| try_avg_pool(x, &[2, 2], &[2, 2], &[1, 1]);
    }
    {
        let sums = pooled("avg_pool", Kind::Sum, &ops::to_inexact(x), window, stride, padding)?;
        let size: f64 = window.iter().map(|&n| n as f64).product();
        ops::try_multiply(&sums, &ops::constant_like(&sums, 1.0 / size))
    }
}

fn pooled(
    op: &'static str,
    kind: Kind,
    x: &Array,
    window: &[usize],
    stride: &[usize],
    padding: &[usize],
) -> Result<Array> {
    let n = window.len();
    if !(1..=3).contains(&n) || stride.len() != n || padding.len() != n {
        return Err(Error::value(
            op,
            format!(
                "window {window:?}, stride {stride:?} and padding {padding:?} must have the same length, one to three"
            ),
        ));
    }
    conv::spatial(op, x, n)?;
    conv::check_positive(op, "window", window)?;
    conv::check_positive(op, "stride", stride)?;
    let (mut windows, mut outputs) = (Vec::with_capacity(n), Shape::new());
    for k in 0..n {
        let (size, stride, padding) = (window[k], stride[k], padding[k]);
        let length = padding.checked_mul(2).and_then(|p| p.checked_add(x.shape()[k + 1]));
        let Some(length) = length.filter(|&l| l.max(size).max(stride) <= isize::MAX as usize / 8) else {
            return Err(Error::value(
                op,
                format!("the windows of spatial axis {k} are too large to be addressed"),
            ));
        };
        outputs.push(if length < size { 0 } else { (length - size) / stride + 1 });
        windows.push(Windows { size, stride, padding });
    }
    let mut shape: Shape = smallvec![x.shape()[0]];
    shape.extend_from_slice(&outputs);
    shape.push(x.shape()[n + 1]);
    crate::shape::checked_size(op, &shape)?;
    Array::apply(Pool { kind, windows, outputs }, smallvec![x.clone()])
}

/// What is done with windows that slide over the spatial axes of `[n, spatial.., c]`.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    /// The sum of each.
    Sum,
    /// The greatest of each.
    Max,
    /// The transpose of `Sum`.
    Spread,
    /// Of input 0, the mean over the elements of each window of input 1 that are the greatest: the derivative of `Max`.
    Pick,
    /// The transpose of `Pick` in input 0.
    Put,
}

/// See [`Kind`].
#[derive(Clone)]
pub(crate) struct Pool {
    pub(crate) kind: Kind,
    pub(crate) windows: Vec<Windows>,
    /// The spatial extents of the output.
    pub(crate) outputs: Shape,
}

impl Pool {
    /// Another kind of the same windows.
    fn other(&self, kind: Kind, outputs: &[usize], inputs: &[&Array]) -> Result<Array> {
        let pool = Pool { kind, windows: self.windows.clone(), outputs: Shape::from_slice(outputs) };
        Array::apply(pool, inputs.iter().map(|&x| x.clone()).collect())
    }
}

impl Primitive for Pool {
    fn name(&self) -> &'static str {
        match self.kind {
            Kind::Sum => "pool_sum",
            Kind::Max => "pool_max",
            Kind::Spread => "pool_spread",
            Kind::Pick => "pool_pick",
            Kind::Put => "pool_put",
        }
    }
    fn infer(&self, inputs: &[Array]) -> Result<Avals> {
        let x = &inputs[0];
        let mut shape: Shape = smallvec![x.shape()[0]];
        shape.extend_from_slice(&self.outputs);
        shape.push(x.shape()[x.ndim() - 1]);
        Ok(smallvec![Aval { dtype: x.dtype(), shape }])
    }
    fn derivative(&self) -> Derivative<'_> {
        match self.kind {
            Kind::Max => Derivative::Structured(self),
            _ => Derivative::Linear(self),
        }
    }
    fn batch(&self, batch: &Batch<'_>) -> Result<Vec<Array>> {
        // The batch is more images.
        let mut inputs = Vec::with_capacity(2);
        for i in 0..batch.inputs.len() {
            let x = batch.full(i)?;
            let mut shape: Shape = smallvec![batch.size * x.shape()[1]];
            shape.extend_from_slice(&x.shape()[2..]);
            inputs.push(ops::reshape_to(&x, &shape)?);
        }
        let images = batch.inputs[0].shape()[usize::from(batch.batched[0])];
        let out = batch.again(&inputs)?.remove(0);
        let mut shape: Shape = smallvec![batch.size, images];
        shape.extend_from_slice(&out.shape()[1..]);
        Ok(vec![ops::reshape_to(&out, &shape)?])
    }
    fn eval(&self, inputs: Values, outs: &[Aval]) -> Result<Values> {
        let mut out = Data::alloc(self.name(), outs[0].dtype, &outs[0].shape)?;
        let x = inputs.iter().map(|x| x.row_major(self.name())).collect::<Result<Values>>()?;
        let (windows, first) = (&self.windows, x[0].view());
        match self.kind {
            Kind::Sum => pooling::pool(Pooling::Sum, windows, first, out.out()),
            Kind::Max => pooling::pool(Pooling::Max, windows, first, out.out()),
            Kind::Spread => pooling::pool_spread(windows, first, out.out()),
            Kind::Pick => pooling::pool_pick(windows, first, x[1].view(), out.out()),
            Kind::Put => pooling::pool_put(windows, first, x[1].view(), out.out()),
        }
        Ok(smallvec![out])
    }
    fn params(&self, params: &mut Params<'_>) {
        let each = |f: fn(&Windows) -> usize| self.windows.iter().map(f).collect::<Dims>();
        params.put("size", Param::Ints(&each(|w| w.size)));
        params.put("stride", Param::Ints(&each(|w| w.stride)));
        params.put("padding", Param::Ints(&each(|w| w.padding)));
        params.put("outputs", Param::Ints(&self.outputs));
    }
    fn flops(&self, inputs: &[&[usize]], outs: &[Aval]) -> u64 {
        let windows: &[usize] = match self.kind {
            Kind::Sum | Kind::Max | Kind::Pick => &outs[0].shape,
            Kind::Spread | Kind::Put => inputs[0],
        };
        let size: usize = self.windows.iter().map(|w| w.size).product();
        (windows.iter().product::<usize>() * size) as u64
    }
}

impl Linear for Pool {
    fn is_linear_in(&self, i: usize) -> bool {
        i == 0
    }
    fn transpose(&self, _i: usize, cotangents: &[Option<Array>], x: &[Array]) -> Result<Option<Array>> {
        let Some(ct) = &cotangents[0] else { return Ok(None) };
        let to = conv::primitive::spatial(&x[0]);
        match self.kind {
            Kind::Sum => self.other(Kind::Spread, to, &[ct]),
            Kind::Spread => self.other(Kind::Sum, to, &[ct]),
            Kind::Pick => self.other(Kind::Put, to, &[ct, &x[1]]),
            Kind::Put => self.other(Kind::Pick, to, &[ct, &x[1]]),
            Kind::Max => unreachable!("the maximum is no linear function"),
        }
        .map(Some)
    }
}

impl Structured for Pool {
    fn jvp(&self, tangents: &[Option<Array>], x: &[Array], _y: &[Array]) -> Result<MaybeArrays> {
        let Some(t) = &tangents[0] else { return Ok(vec![None]) };
        Ok(vec![Some(self.other(Kind::Pick, &self.outputs, &[t, &x[0]])?)])
    }
}
