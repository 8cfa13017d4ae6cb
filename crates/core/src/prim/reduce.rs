//! Reductions.

use crate::array::{Array, Aval};
use crate::buffer::Data;
use crate::error::Result;
use crate::ops;
use crate::prim::shape::Dims;
use crate::primitive::{
    Avals, Batch, Derivative, Linear, Lower, MaybeArrays, Param, Params, Primitive, Structured, Values,
};
use crate::shape::{Shape, reduced_shape};
use covector_kernels::{self as kernels, Dtype, Reduce as Kind};
use smallvec::smallvec;

/// A reduction over `axes` (sorted).
pub(crate) struct Reduce {
    pub(crate) kind: Kind,
    pub(crate) axes: Dims,
    /// Whether the axes stay, with extent 1.
    pub(crate) keep: bool,
    /// The element type of the result.
    pub(crate) dtype: Dtype,
}

impl Reduce {
    fn behind_batch(&self) -> Dims {
        self.axes.iter().map(|a| a + 1).collect()
    }

    /// What has the result's shape, as if the axes had stayed, so that it broadcasts beside `x`.
    fn beside(&self, v: &Array, x: &Array) -> Result<Array> {
        let aligned = self.axes.iter().enumerate().all(|(k, &axis)| k == axis);
        if self.keep || aligned {
            return Ok(v.clone());
        }
        ops::reshape_to(v, &reduced_shape(x.shape(), &self.axes, true))
    }
}

impl Primitive for Reduce {
    fn name(&self) -> &'static str {
        match self.kind {
            Kind::Sum => "sum",
            Kind::Prod => "prod",
            Kind::Max => "max",
            Kind::Min => "min",
            Kind::All => "all",
            Kind::Any => "any",
        }
    }
    fn infer(&self, inputs: &[Array]) -> Result<Avals> {
        let shape = reduced_shape(inputs[0].shape(), &self.axes, self.keep);
        Ok(Avals::from_buf([Aval { dtype: self.dtype, shape }]))
    }
    fn derivative(&self) -> Derivative<'_> {
        match self.kind {
            Kind::Sum => Derivative::Linear(self),
            Kind::Prod | Kind::Max | Kind::Min => Derivative::Structured(self),
            Kind::All | Kind::Any => Derivative::Zero,
        }
    }
    fn batch(&self, batch: &Batch<'_>) -> Result<Vec<Array>> {
        let reduce = Reduce { axes: self.behind_batch(), ..*self };
        Ok(vec![Array::apply(reduce, smallvec![batch.inputs[0].clone()])?])
    }
    fn lower(&self, _inputs: &[Array]) -> Lower<'_> {
        Lower::Reduce { kind: self.kind, axes: &self.axes }
    }
    fn params(&self, params: &mut Params<'_>) {
        params.put("axes", Param::Ints(&self.axes));
        params.put("dtype", Param::Text(self.dtype.name()));
        params.put("keep", Param::Int(i64::from(self.keep)));
    }
}

impl Linear for Reduce {
    fn is_linear_in(&self, _i: usize) -> bool {
        true
    }
    fn transpose(&self, i: usize, cotangents: &[Option<Array>], x: &[Array]) -> Result<Option<Array>> {
        let Some(ct) = &cotangents[0] else { return Ok(None) };
        // A sum may be wider than what it adds up.
        let ct = ops::to_dtype(ct, x[i].dtype());
        ops::try_broadcast_to(&self.beside(&ct, &x[i])?, x[i].shape()).map(Some)
    }
}

impl Structured for Reduce {
    fn jvp(&self, tangents: &[Option<Array>], x: &[Array], y: &[Array]) -> Result<MaybeArrays> {
        let Some(t) = &tangents[0] else { return Ok(vec![None]) };
        if self.kind == Kind::Prod {
            let out = prod_tangent(&x[0], t, &self.axes)?;
            return Ok(vec![Some(ops::reshape_to(&out, y[0].shape())?)]);
        }
        // Elements that tie for the extreme share the tangent equally.
        let extreme = self.beside(&y[0], &x[0])?;
        let mask = ops::to_dtype(&ops::try_equal(&x[0], &extreme)?, t.dtype());
        let count = ops::reduce_keeping(Kind::Sum, &mask, self.axes.clone(), t.dtype())?;
        let share = ops::try_divide(&mask, &count)?;
        let hit = ops::try_where_(
            &ops::try_equal(&x[0], &extreme)?,
            &ops::try_multiply(t, &share)?,
            &ops::zero_of(t.dtype()),
        )?;
        Ok(vec![Some(ops::reduce_over(Kind::Sum, &hit, self.axes.clone(), self.keep, t.dtype())?)])
    }
}

/// The tangent of a product: pairs are multiplied by the product rule, level by level, so that zeros among the
/// factors are as exact as any other value, to any order.
fn prod_tangent(x: &Array, t: &Array, axes: &[usize]) -> Result<Array> {
    let n: usize = axes.iter().map(|&a| x.shape()[a]).product();
    // Bring the reduced axes to the end and make them one.
    let kept: Dims = (0..x.ndim()).filter(|a| !axes.contains(a)).collect();
    let order: Dims = kept.iter().chain(axes).copied().collect();
    let mut flat: Shape = kept.iter().map(|&a| x.shape()[a]).collect();
    flat.push(n);
    let line = |v: &Array| ops::reshape_to(&ops::permute(v, order.clone())?, &flat);
    let (mut p, mut d) = (line(x)?, line(t)?);
    let mut left = n;
    while left > 1 {
        let half = left / 2;
        let part = |v: &Array, from: usize, to: usize| ops::slice_axis(v, flat.len() - 1, from, to);
        let (pa, pb) = (part(&p, 0, half)?, part(&p, half, 2 * half)?);
        let (da, db) = (part(&d, 0, half)?, part(&d, half, 2 * half)?);
        let tangent = &(&da * &pb) + &(&pa * &db);
        let product = &pa * &pb;
        if left % 2 == 1 {
            let last = (part(&p, left - 1, left)?, part(&d, left - 1, left)?);
            p = ops::try_concatenate(&[product, last.0], -1)?;
            d = ops::try_concatenate(&[tangent, last.1], -1)?;
        } else {
            (p, d) = (product, tangent);
        }
        left = half + left % 2;
    }
    let out = reduced_shape(x.shape(), axes, true);
    if n == 0 { Ok(ops::zeros(&out, x.dtype())) } else { ops::reshape_to(&d, &out) }
}

/// The index of the extreme along an axis, which stays with extent 1.
pub(crate) struct ArgReduce {
    pub(crate) max: bool,
    pub(crate) axis: usize,
}

impl Primitive for ArgReduce {
    fn name(&self) -> &'static str {
        if self.max { "argmax" } else { "argmin" }
    }
    fn infer(&self, inputs: &[Array]) -> Result<Avals> {
        let shape = reduced_shape(inputs[0].shape(), &[self.axis], true);
        Ok(smallvec![Aval { dtype: Dtype::U32, shape }])
    }
    fn derivative(&self) -> Derivative<'_> {
        Derivative::Zero
    }
    fn batch(&self, batch: &Batch<'_>) -> Result<Vec<Array>> {
        let arg = ArgReduce { max: self.max, axis: self.axis + 1 };
        Ok(vec![Array::apply(arg, smallvec![batch.inputs[0].clone()])?])
    }
    fn eval(&self, inputs: Values, outs: &[Aval]) -> Result<Values> {
        let mut out = Data::alloc(self.name(), Dtype::U32, &outs[0].shape)?;
        kernels::arg_reduce(self.max, inputs[0].view(), self.axis, out.out());
        Ok(smallvec![out])
    }
    fn params(&self, params: &mut Params<'_>) {
        params.put("axis", Param::Int(self.axis as i64));
    }
    fn flops(&self, inputs: &[&[usize]], _outs: &[Aval]) -> u64 {
        inputs[0].iter().product::<usize>() as u64
    }
}
