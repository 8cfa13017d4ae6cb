//! Primitives that only move elements: reshape, transpose, broadcast, slice, slice update, concatenate.
//!
//! All are linear; where the result can be a view of the input's memory, it is one.

use crate::array::{Array, Aval};
use crate::buffer::Data;
use crate::error::{Error, Result};
use crate::ops;
use crate::primitive::{Avals, Batch, Derivative, Linear, Lower, Param, Params, Primitive, Values, View};
pub(crate) use crate::shape::{Dims, Window};
use crate::shape::{Shape, ShapeText, Strides};
use covector_kernels as kernels;
use covector_runtime::ir::reshape_strides;
use smallvec::{SmallVec, smallvec};

/// The same elements in row-major order with another shape.
pub(crate) struct Reshape {
    pub(crate) shape: Shape,
}

impl Primitive for Reshape {
    fn name(&self) -> &'static str {
        "reshape"
    }
    fn infer(&self, inputs: &[Array]) -> Result<Avals> {
        let size = crate::shape::checked_size("reshape", &self.shape)?;
        if size != inputs[0].size() {
            return Err(Error::shape(
                "reshape",
                format!(
                    "an array of shape {} has {} elements and cannot take shape {}, which has {size}",
                    ShapeText(inputs[0].shape()),
                    inputs[0].size(),
                    ShapeText(&self.shape)
                ),
            ));
        }
        Ok(smallvec![Aval { dtype: inputs[0].dtype(), shape: self.shape.clone() }])
    }
    fn derivative(&self) -> Derivative<'_> {
        Derivative::Linear(self)
    }
    fn batch(&self, batch: &Batch<'_>) -> Result<Vec<Array>> {
        let mut shape: Shape = smallvec![batch.size];
        shape.extend_from_slice(&self.shape);
        Ok(vec![ops::reshape_to(&batch.inputs[0], &shape)?])
    }
    fn lower(&self, _inputs: &[Array]) -> Lower<'_> {
        Lower::View(self)
    }
    /// Only where no strides do: the elements are copied.
    fn eval(&self, inputs: Values, _outs: &[Aval]) -> Result<Values> {
        Ok(smallvec![inputs[0].row_major("reshape")?.with_shape(&self.shape)])
    }
    fn params(&self, params: &mut Params<'_>) {
        params.put("shape", Param::Ints(&self.shape));
    }
}

impl View for Reshape {
    fn view(&self, shape: &[usize], strides: &[isize], out: &[usize]) -> Option<(isize, Strides)> {
        Some((0, reshape_strides(shape, strides, out)?))
    }
}

impl Linear for Reshape {
    fn is_linear_in(&self, _i: usize) -> bool {
        true
    }
    fn transpose(&self, i: usize, cotangents: &[Option<Array>], x: &[Array]) -> Result<Option<Array>> {
        cotangents[0].as_ref().map(|ct| ops::reshape_to(ct, x[i].shape())).transpose()
    }
}

/// Axes in another order: axis `k` of the output is axis `axes[k]` of the input.
pub(crate) struct Transpose {
    pub(crate) axes: Dims,
}

impl Primitive for Transpose {
    fn name(&self) -> &'static str {
        "transpose"
    }
    fn infer(&self, inputs: &[Array]) -> Result<Avals> {
        let shape = self.axes.iter().map(|&a| inputs[0].shape()[a]).collect();
        Ok(smallvec![Aval { dtype: inputs[0].dtype(), shape }])
    }
    fn derivative(&self) -> Derivative<'_> {
        Derivative::Linear(self)
    }
    fn batch(&self, batch: &Batch<'_>) -> Result<Vec<Array>> {
        let axes: Dims = std::iter::once(0).chain(self.axes.iter().map(|a| a + 1)).collect();
        Ok(vec![ops::permute(&batch.inputs[0], axes)?])
    }
    fn lower(&self, _inputs: &[Array]) -> Lower<'_> {
        Lower::View(self)
    }
    fn params(&self, params: &mut Params<'_>) {
        params.put("axes", Param::Ints(&self.axes));
    }
}

impl View for Transpose {
    fn view(&self, _shape: &[usize], strides: &[isize], _out: &[usize]) -> Option<(isize, Strides)> {
        Some((0, self.axes.iter().map(|&a| strides[a]).collect()))
    }
}

impl Linear for Transpose {
    fn is_linear_in(&self, _i: usize) -> bool {
        true
    }
    fn transpose(&self, _i: usize, cotangents: &[Option<Array>], _x: &[Array]) -> Result<Option<Array>> {
        let mut inverse: Dims = smallvec![0; self.axes.len()];
        for (k, &a) in self.axes.iter().enumerate() {
            inverse[a] = k;
        }
        cotangents[0].as_ref().map(|ct| ops::permute(ct, inverse)).transpose()
    }
}

/// Repetition along new axes in front and along axes of extent 1.
pub(crate) struct Broadcast {
    pub(crate) shape: Shape,
}

impl Primitive for Broadcast {
    fn name(&self) -> &'static str {
        "broadcast_to"
    }
    fn infer(&self, inputs: &[Array]) -> Result<Avals> {
        crate::shape::checked_size("broadcast_to", &self.shape)?;
        let from = inputs[0].shape();
        let fits = from.len() <= self.shape.len()
            && from.iter().rev().zip(self.shape.iter().rev()).all(|(&n, &m)| n == m || n == 1);
        if !fits {
            return Err(Error::shape(
                "broadcast_to",
                format!("shape {} does not broadcast to {}", ShapeText(from), ShapeText(&self.shape)),
            ));
        }
        Ok(smallvec![Aval { dtype: inputs[0].dtype(), shape: self.shape.clone() }])
    }
    fn derivative(&self) -> Derivative<'_> {
        Derivative::Linear(self)
    }
    fn batch(&self, batch: &Batch<'_>) -> Result<Vec<Array>> {
        let x = &batch.inputs[0];
        let mut from: Shape = smallvec![batch.size];
        from.extend(std::iter::repeat_n(1, self.shape.len() + 1 - x.ndim()));
        from.extend_from_slice(&x.shape()[1..]);
        let mut to: Shape = smallvec![batch.size];
        to.extend_from_slice(&self.shape);
        Ok(vec![ops::try_broadcast_to(&ops::reshape_to(x, &from)?, &to)?])
    }
    fn lower(&self, _inputs: &[Array]) -> Lower<'_> {
        Lower::View(self)
    }
    fn params(&self, params: &mut Params<'_>) {
        params.put("shape", Param::Ints(&self.shape));
    }
}

impl View for Broadcast {
    fn view(&self, shape: &[usize], strides: &[isize], out: &[usize]) -> Option<(isize, Strides)> {
        let new = out.len() - shape.len();
        let mut to = Strides::from_elem(0, out.len());
        for (k, (&n, &s)) in shape.iter().zip(strides).enumerate() {
            if n != 1 || out[new + k] == 1 {
                to[new + k] = s;
            }
        }
        Some((0, to))
    }
}

impl Linear for Broadcast {
    fn is_linear_in(&self, _i: usize) -> bool {
        true
    }
    fn transpose(&self, i: usize, cotangents: &[Option<Array>], x: &[Array]) -> Result<Option<Array>> {
        cotangents[0].as_ref().map(|ct| ops::sum_to(ct, x[i].shape())).transpose()
    }
}

/// Tells of a window as static parameters.
fn put_window(window: &Window, params: &mut Params<'_>) {
    params.put("starts", Param::Ints(&window.starts));
    params.put("strides", Param::Signed(&window.strides));
    params.put("extents", Param::Ints(&window.extents));
}

/// The elements of a window, without some of the axes on which it has one position: what an integer between brackets
/// removes. One node, where a slice and a reshape would be two.
pub(crate) struct Slice {
    pub(crate) window: Window,
    /// The window's extents but for those axes.
    pub(crate) shape: Shape,
}

impl Primitive for Slice {
    fn name(&self) -> &'static str {
        "slice"
    }
    fn infer(&self, inputs: &[Array]) -> Result<Avals> {
        Ok(Avals::from_buf([Aval { dtype: inputs[0].dtype(), shape: self.shape.clone() }]))
    }
    fn derivative(&self) -> Derivative<'_> {
        Derivative::Linear(self)
    }
    fn batch(&self, batch: &Batch<'_>) -> Result<Vec<Array>> {
        let mut shape = self.shape.clone();
        shape.insert(0, batch.size);
        Ok(vec![ops::slice_dropping(&batch.inputs[0], self.window.batched(batch.size), &shape)?])
    }
    fn lower(&self, _inputs: &[Array]) -> Lower<'_> {
        Lower::View(self)
    }
    fn params(&self, params: &mut Params<'_>) {
        put_window(&self.window, params);
        params.put("shape", Param::Ints(&self.shape));
    }
}

impl View for Slice {
    fn view(&self, _shape: &[usize], strides: &[isize], out: &[usize]) -> Option<(isize, Strides)> {
        let (shift, mut strides) = self.window.place(strides);
        if out.len() < strides.len() {
            // An axis of one position is dropped unless it can stand for the next one that is left: the stride of such an
            // axis does not matter.
            let mut left = out.iter().peekable();
            let kept: SmallVec<[bool; 4]> =
                self.window.extents.iter().map(|n| left.next_if(|m| *m == n).is_some()).collect();
            let mut kept = kept.into_iter();
            strides.retain(|_| kept.next() == Some(true));
        }
        // The start of an empty window may lie outside of the memory.
        Some((if out.contains(&0) { 0 } else { shift }, strides))
    }
}

impl Linear for Slice {
    fn is_linear_in(&self, _i: usize) -> bool {
        true
    }
    fn transpose(&self, i: usize, cotangents: &[Option<Array>], x: &[Array]) -> Result<Option<Array>> {
        let Some(ct) = &cotangents[0] else { return Ok(None) };
        let ct = ops::reshape_to(ct, &self.window.extents)?;
        ops::pad_window(&ct, self.window.clone(), x[i].shape()).map(Some)
    }
}

/// Input 0 at a window of an array of zeros: the transpose of a slice.
pub(crate) struct Pad {
    pub(crate) window: Window,
    /// The shape of the result.
    pub(crate) shape: Shape,
}

impl Primitive for Pad {
    fn name(&self) -> &'static str {
        "pad"
    }
    fn infer(&self, inputs: &[Array]) -> Result<Avals> {
        debug_assert_eq!(inputs[0].shape(), &self.window.extents[..]);
        Ok(smallvec![Aval { dtype: inputs[0].dtype(), shape: self.shape.clone() }])
    }
    fn derivative(&self) -> Derivative<'_> {
        Derivative::Linear(self)
    }
    fn batch(&self, batch: &Batch<'_>) -> Result<Vec<Array>> {
        let mut shape = self.shape.clone();
        shape.insert(0, batch.size);
        Ok(vec![ops::pad_window(&batch.inputs[0], self.window.batched(batch.size), &shape)?])
    }
    fn eval(&self, inputs: Values, outs: &[Aval]) -> Result<Values> {
        let mut out = Data::alloc("pad", outs[0].dtype, &outs[0].shape)?;
        kernels::fill(Data::scalar(0u8).view(), out.out());
        write_window(&mut out, &inputs[0], &self.window);
        Ok(smallvec![out])
    }
    fn params(&self, params: &mut Params<'_>) {
        put_window(&self.window, params);
        params.put("shape", Param::Ints(&self.shape));
    }
}

impl Linear for Pad {
    fn is_linear_in(&self, _i: usize) -> bool {
        true
    }
    fn transpose(&self, _i: usize, cotangents: &[Option<Array>], _x: &[Array]) -> Result<Option<Array>> {
        cotangents[0].as_ref().map(|ct| ops::slice_window(ct, self.window.clone())).transpose()
    }
}

/// Input 0 with the elements of a window replaced by input 1.
pub(crate) struct SliceUpdate(pub(crate) Window);

impl Primitive for SliceUpdate {
    fn name(&self) -> &'static str {
        "slice_update"
    }
    fn infer(&self, inputs: &[Array]) -> Result<Avals> {
        debug_assert_eq!(inputs[1].shape(), &self.0.extents[..]);
        Ok(smallvec![inputs[0].aval().clone()])
    }
    fn derivative(&self) -> Derivative<'_> {
        Derivative::Linear(self)
    }
    fn batch(&self, batch: &Batch<'_>) -> Result<Vec<Array>> {
        Ok(vec![ops::update_window(&batch.full(0)?, &batch.full(1)?, self.0.batched(batch.size))?])
    }
    fn eval(&self, inputs: Values, outs: &[Aval]) -> Result<Values> {
        let mut inputs = inputs;
        let update = inputs.remove(1);
        let target = inputs.remove(0);
        let mut out = if target.is_unique() {
            target
        } else {
            let mut out = Data::alloc("slice_update", outs[0].dtype, &outs[0].shape)?;
            kernels::cast(target.view(), out.out());
            out
        };
        write_window(&mut out, &update, &self.0);
        Ok(smallvec![out])
    }
    fn params(&self, params: &mut Params<'_>) {
        put_window(&self.0, params);
    }
}

impl Linear for SliceUpdate {
    fn is_linear_in(&self, _i: usize) -> bool {
        true
    }
    fn transpose(&self, i: usize, cotangents: &[Option<Array>], x: &[Array]) -> Result<Option<Array>> {
        let Some(ct) = &cotangents[0] else { return Ok(None) };
        Ok(Some(if i == 1 {
            ops::slice_window(ct, self.0.clone())?
        } else {
            ops::update_window(ct, &ops::zeros_like(&x[1]), self.0.clone())?
        }))
    }
}

/// Copies `x` into a window of row-major memory.
fn write_window(out: &mut Data, x: &Data, window: &Window) {
    if x.size() == 0 {
        return;
    }
    let (shift, strides) = window.place(out.strides());
    let size = x.dtype().size() as isize;
    let start = out.out().ptr().wrapping_offset(shift * size);
    // SAFETY: the window is inside `out` (ops check it), and `out` has no other owner.
    unsafe { kernels::copy_into(x.view(), start, &strides) };
}

/// Arrays joined along an axis. The planner runs it: see [`parts`](crate::plan).
pub(crate) struct Concatenate {
    pub(crate) axis: usize,
}

impl Concatenate {
    fn window(&self, i: usize, x: &[Array]) -> Window {
        let mut starts: Dims = smallvec![0; x[i].ndim()];
        starts[self.axis] = x[..i].iter().map(|x| x.shape()[self.axis]).sum();
        Window { starts, strides: smallvec![1; x[i].ndim()], extents: Shape::from_slice(x[i].shape()) }
    }
}

impl Primitive for Concatenate {
    fn name(&self) -> &'static str {
        "concatenate"
    }
    fn infer(&self, inputs: &[Array]) -> Result<Avals> {
        let first = inputs[0].shape();
        let mut shape = Shape::from_slice(first);
        for x in &inputs[1..] {
            let same = x.ndim() == first.len()
                && (0..first.len()).all(|k| k == self.axis || x.shape()[k] == first[k]);
            if !same {
                return Err(Error::shape(
                    "concatenate",
                    format!(
                        "shapes {} and {} must be equal on every axis but axis {}",
                        ShapeText(first),
                        ShapeText(x.shape()),
                        self.axis
                    ),
                ));
            }
            shape[self.axis] += x.shape()[self.axis];
        }
        Ok(smallvec![Aval { dtype: inputs[0].dtype(), shape }])
    }
    fn derivative(&self) -> Derivative<'_> {
        Derivative::Linear(self)
    }
    fn batch(&self, batch: &Batch<'_>) -> Result<Vec<Array>> {
        let inputs: Vec<Array> = (0..batch.inputs.len()).map(|i| batch.full(i)).collect::<Result<_>>()?;
        Ok(vec![ops::try_concatenate(&inputs, self.axis as isize + 1)?])
    }
    fn lower(&self, _inputs: &[Array]) -> Lower<'_> {
        Lower::Concatenate { axis: self.axis }
    }
    fn params(&self, params: &mut Params<'_>) {
        params.put("axis", Param::Int(self.axis as i64));
    }
}

impl Linear for Concatenate {
    fn is_linear_in(&self, _i: usize) -> bool {
        true
    }
    fn transpose(&self, i: usize, cotangents: &[Option<Array>], x: &[Array]) -> Result<Option<Array>> {
        cotangents[0].as_ref().map(|ct| ops::slice_window(ct, self.window(i, x))).transpose()
    }
}
