//! The indices of extremes.

use super::block::op;
use crate::array::{Array, Aval};
use crate::buffer::Data;
use crate::error::Result;
use crate::ops::{self, along, check_numbered, refuse_empty};
use crate::primitive::{Avals, Batch, Derivative, Param, Params, Primitive, Values};
use crate::shape::{Shape, normalize_axis, reduced_shape};
use covector_kernels::{self as kernels, Dtype};
use smallvec::smallvec;

/// The index of an extreme along an axis, or in the flattened array without one.
fn extreme(
    x: &Array,
    axis: Option<isize>,
    keepdims: bool,
    f: fn(&Array, isize, bool) -> Result<Array>,
) -> Result<Array> {
    let index = along(x, axis, |x, k| f(x, k, keepdims && axis.is_some()))?;
    match axis {
        None if keepdims => ops::reshape_to(&index, &Shape::from_elem(1, x.ndim())),
        _ => Ok(index),
    }
}

op! {
    /// The index of the largest element along an axis, the first if several tie.
    pub fn argmax_axis / try_argmax_axis(x: &Array, axis: isize, keepdims: bool)
    python argmax(a: Array, /, axis: Option<isize> = None, keepdims: bool = false, *) + method => { extreme(a, axis, keepdims, try_argmax_axis) }
    samples {
        flat [distinct([2, 3])] |x| try_argmax_axis(x, 1, true);
    }
    {
        arg_reduce("argmax", true, x, axis, keepdims)
    }

    /// The row-major index of the largest element.
    pub fn argmax / try_argmax(x: &Array)
    samples {
        flat [distinct([2, 3])] |x| try_argmax(x);
    }
    {
        try_argmax_axis(&ops::reshape_to(x, &[x.size()])?, 0, false)
    }

    /// The index of the smallest element along an axis, the first if several tie.
    pub fn argmin_axis / try_argmin_axis(x: &Array, axis: isize, keepdims: bool)
    python argmin(a: Array, /, axis: Option<isize> = None, keepdims: bool = false, *) + method => { extreme(a, axis, keepdims, try_argmin_axis) }
    samples {
        flat [distinct([2, 3])] |x| try_argmin_axis(x, 0, false);
    }
    {
        arg_reduce("argmin", false, x, axis, keepdims)
    }

    /// The row-major index of the smallest element.
    pub fn argmin / try_argmin(x: &Array)
    samples {
        flat [distinct([2, 3])] |x| try_argmin(x);
    }
    {
        try_argmin_axis(&ops::reshape_to(x, &[x.size()])?, 0, false)
    }
}

fn arg_reduce(op: &'static str, max: bool, x: &Array, axis: isize, keepdims: bool) -> Result<Array> {
    refuse_empty(op, x, &[axis])?;
    let axis = normalize_axis(op, axis, x.ndim())?;
    check_numbered(op, x.shape()[axis])?;
    let out = Array::apply(ArgReduce { max, axis }, smallvec![x.clone()])?;
    if keepdims { Ok(out) } else { ops::try_squeeze(&out, &[axis as isize]) }
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
