//! More operations that move elements or see them differently.

use super::block::op;
use crate::array::{Array, Aval};
use crate::error::{Error, Result};
use crate::ops;
use crate::ops::spec::{Axes, Value};
use crate::primitive::{Avals, Batch, Derivative, Param, Params, Primitive, Values};
use crate::shape::{Dims, Window};
use crate::shape::{Shape, ShapeText, Strides, normalize_axes, normalize_axis};
use covector_kernels::Dtype;
use smallvec::smallvec;

/// `x` with at least `rank` axes: `front` new ones of extent 1 in front, the others behind.
fn with_rank(x: &Array, rank: usize, front: usize) -> Result<Array> {
    let missing = rank.saturating_sub(x.ndim());
    let front = front.min(missing);
    let mut shape: Shape = smallvec![1; front];
    shape.extend_from_slice(x.shape());
    shape.extend(std::iter::repeat_n(1, missing - front));
    ops::reshape_to(x, &shape)
}

op! {
    /// The elements of the given axes in reverse order.
    pub fn flip / try_flip(x: &Array, axes: &[isize])
    python flip(a: Array, /, axis: Axes = None, *)
    samples {
        [real([2, 3, 1])] |x| try_flip(x, &[0, -1, 1]);
    }
    {
        let axes = normalize_axes("flip", axes, x.ndim())?;
        let mut starts: Dims = smallvec![0; x.ndim()];
        let mut strides: Strides = smallvec![1; x.ndim()];
        for &axis in axes.iter().filter(|&&k| x.shape()[k] > 1) {
            (starts[axis], strides[axis]) = (x.shape()[axis] - 1, -1);
        }
        ops::slice_window(x, Window { starts, strides, extents: Shape::from_slice(x.shape()) })
    }

    /// The array with at least one axis.
    pub fn atleast_1d / try_atleast_1d(x: &Array)
    samples {
        [real([])] |x| try_atleast_1d(x);
    }
    {
        with_rank(x, 1, 0)
    }

    /// The array with at least two axes: a vector becomes a row.
    pub fn atleast_2d / try_atleast_2d(x: &Array)
    samples {
        [real([3])] |x| try_atleast_2d(x);
    }
    {
        with_rank(x, 2, 1)
    }

    /// The array with at least three axes: a vector becomes shape `(1, n, 1)`, a matrix `(m, n, 1)`, as in NumPy.
    pub fn atleast_3d / try_atleast_3d(x: &Array)
    samples {
        [real([3, 2])] |x| try_atleast_3d(x);
    }
    {
        with_rank(x, 3, if x.ndim() == 2 { 0 } else { 1 })
    }

    /// The bits of the elements seen as another element type. The last axis shrinks or grows with the size of the
    /// elements; seen as truth values, what is not zero is true. There is no derivative.
    pub fn view / try_view(x: &Array, dtype: Dtype)
    python view(a: Value, dtype: Dtype) + method
    samples {
        flat [input([3, 2], Kind::Index(9))] |x| try_view(x, Dtype::U8);
    }
    {
        if x.dtype() == dtype {
            return Ok(x.clone());
        }
        if dtype == Dtype::Bool {
            let bytes = try_view(x, Dtype::U8)?;
            return Ok(ops::to_dtype(&bytes, Dtype::Bool));
        }
        Array::apply(View { dtype }, smallvec![x.clone()])
    }

    /// The sum along the `offset`-th diagonal of two axes. Small integers are counted in 32 bits.
    pub fn trace / try_trace(x: &Array, offset: isize, axis1: isize, axis2: isize)
    python trace(a: Array, /, offset: isize = 0, axis1: isize = 0, axis2: isize = 1, dtype: Option<Dtype> = None, *)
    => { try_trace(&ops::in_dtype(a, dtype), offset, axis1, axis2) }
    samples {
        [real([3, 2, 4])] |x| try_trace(x, 1, 0, 2);
    }
    {
        ops::try_sum_axes(&ops::try_diagonal(x, offset, axis1, axis2)?, &[-1], false)
    }

    /// The parts of an array along an axis, which goes.
    pub fn unstack / try_unstack(x: &Array, axis: isize) -> (Vec<Array>)
    python unstack(x: Array, /, *, axis: isize = 0) -> Tuple
    samples {
        [real([2, 3])] |x| try_unstack(x, 1);
    }
    {
        let axis = normalize_axis("unstack", axis, x.ndim())?;
        let part = |i: usize| ops::try_squeeze(&ops::slice_axis(x, axis, i, i + 1)?, &[axis as isize]);
        (0..x.shape()[axis]).map(part).collect()
    }

    /// Coordinate arrays of a grid: the `i`-th array varies along axis `i` only, or, with `swap`, the first along axis 1
    /// and the second along axis 0 (the `xy` order of plots). If `sparse`, other axes have extent 1 instead of repeats.
    pub fn meshgrid / try_meshgrid(arrays: &[Array], sparse: bool, swap: bool) -> (Vec<Array>)
    samples {
        [real([2]), real([3])] all |x| try_meshgrid(x, false, true);
    }
    {
        let mut lines = Vec::with_capacity(arrays.len());
        for (i, x) in arrays.iter().enumerate() {
            if x.shape().iter().filter(|&&n| n != 1).count() > 1 {
                return Err(Error::shape("meshgrid", format!("array {i} has the shape {}; coordinates are vectors", ShapeText(x.shape()))));
            }
            let axis = if swap && i < 2 && arrays.len() > 1 { 1 - i } else { i };
            let mut shape: Shape = smallvec![1; arrays.len()];
            shape[axis] = x.size();
            lines.push(ops::reshape_to(x, &shape)?);
        }
        if sparse { Ok(lines) } else { ops::try_broadcast_arrays(&lines) }
    }
}

/// The bytes of the elements, row-major, as elements of another type; the last axis changes with the elements' size.
pub(crate) struct View {
    pub(crate) dtype: Dtype,
}

impl Primitive for View {
    fn name(&self) -> &'static str {
        "view"
    }
    fn infer(&self, inputs: &[Array]) -> Result<Avals> {
        let x = &inputs[0];
        let mut shape = Shape::from_slice(x.shape());
        let (from, to) = (x.dtype().size(), self.dtype.size());
        if from != to {
            let fits = shape.last().is_some_and(|n| (n * from).is_multiple_of(to));
            let Some(last) = shape.last_mut().filter(|_| fits) else {
                return Err(Error::shape(
                    "view",
                    format!(
                        "the {from}-byte elements along the last axis of shape {} do not fill {to}-byte elements of {}",
                        ShapeText(x.shape()),
                        self.dtype
                    ),
                ));
            };
            *last = *last * from / to;
        }
        Ok(smallvec![Aval { dtype: self.dtype, shape }])
    }
    fn derivative(&self) -> Derivative<'_> {
        Derivative::None(
            "bits are not a smooth function of a number. Convert values with astype, or exclude this step with \
             stop_gradient",
        )
    }
    fn batch(&self, batch: &Batch<'_>) -> Result<Vec<Array>> {
        // The batch is the first axis and never the only one that changes: a scalar lane was refused by `infer`.
        batch.again(batch.inputs)
    }
    fn eval(&self, inputs: Values, outs: &[Aval]) -> Result<Values> {
        let row_major = inputs[0].row_major("view")?;
        drop(inputs);
        Ok(smallvec![row_major.reinterpreted("view", self.dtype, &outs[0].shape)?])
    }
    fn params(&self, params: &mut Params<'_>) {
        params.put("dtype", Param::Text(self.dtype.name()));
    }
}
