//! Operations that move elements.

pub(crate) mod primitives;

use crate::array::Array;
use crate::error::{Error, Result};
use crate::ops;
use crate::ops::block::op;
use crate::ops::shape::primitives::{Broadcast, Concatenate, Pad, Reshape, Slice, SliceUpdate, Transpose};
use crate::ops::spec::{Arrays, Extents, Ints, Value};
use crate::primitive::Batch;
use crate::shape::{Dims, Shape, ShapeText, Window, broadcast_shapes, normalize_axes, normalize_axis};
use covector_kernels::Dtype;
use smallvec::smallvec;

/// Reshape to known extents; the array itself if it has them.
pub(crate) fn reshape_to(x: &Array, shape: &[usize]) -> Result<Array> {
    if x.shape() == shape {
        return Ok(x.clone());
    }
    Array::apply(Reshape { shape: Shape::from_slice(shape) }, smallvec![x.clone()])
}

/// Axes in the order of `axes`, which is a permutation; the array itself if that changes nothing.
pub(crate) fn permute(x: &Array, axes: Dims) -> Result<Array> {
    if axes.iter().enumerate().all(|(i, &a)| i == a) {
        return Ok(x.clone());
    }
    Array::apply(Transpose { axes }, smallvec![x.clone()])
}

/// The elements of a window that lies inside the array.
pub(crate) fn slice_window(x: &Array, window: Window) -> Result<Array> {
    let whole = window.extents[..] == *x.shape() && window.strides.iter().all(|&s| s == 1);
    if whole {
        return Ok(x.clone());
    }
    let shape = window.extents.clone();
    Array::apply(Slice { window, shape }, smallvec![x.clone()])
}

/// The same without some of the axes on which the window has one position: `shape` is what is left.
pub(crate) fn slice_dropping(x: &Array, window: Window, shape: &[usize]) -> Result<Array> {
    let whole = window.extents[..] == *x.shape() && window.strides.iter().all(|&s| s == 1);
    if whole {
        return reshape_to(x, shape);
    }
    Array::apply(Slice { window, shape: Shape::from_slice(shape) }, smallvec![x.clone()])
}

/// The array with a window of it replaced.
pub(crate) fn update_window(x: &Array, update: &Array, window: Window) -> Result<Array> {
    Array::apply(SliceUpdate(window), smallvec![x.clone(), update.clone()])
}

/// The array at a window of zeros, which have this shape: the transpose of [`slice_window`].
pub(crate) fn pad_window(x: &Array, window: Window, shape: &[usize]) -> Result<Array> {
    Array::apply(Pad { window, shape: Shape::from_slice(shape) }, smallvec![x.clone()])
}

/// Elements `from..to` of one axis.
pub(crate) fn slice_axis(x: &Array, axis: usize, from: usize, to: usize) -> Result<Array> {
    let mut starts: Dims = smallvec![0; x.ndim()];
    starts[axis] = from;
    let mut extents = Shape::from_slice(x.shape());
    extents[axis] = to - from;
    slice_window(x, Window { starts, strides: smallvec![1; x.ndim()], extents })
}

/// The array repeated along a new axis 0.
pub(crate) fn with_batch(x: &Array, size: usize) -> Result<Array> {
    let mut shape: Shape = smallvec![size];
    shape.extend_from_slice(x.shape());
    try_broadcast_to(x, &shape)
}

impl Batch<'_> {
    /// Input `i` with the batch as axis 0, repeated if it has none.
    ///
    /// # Errors
    /// Never in practice; memory addressing could overflow.
    pub fn full(&self, i: usize) -> Result<Array> {
        if self.batched[i] { Ok(self.inputs[i].clone()) } else { with_batch(&self.inputs[i], self.size) }
    }
}

/// A shape for `size` elements in which one extent may be −1 and is worked out.
fn full_shape(op: &'static str, size: usize, shape: &[isize]) -> Result<Shape> {
    let mut known = 1usize;
    let mut open = None;
    for (i, &n) in shape.iter().enumerate() {
        if n == -1 && open.is_none() {
            open = Some(i);
        } else if n < 0 {
            return Err(Error::value(
                op,
                format!("shape {shape:?} has more than one negative extent; only one -1 is worked out"),
            ));
        } else {
            known = known.saturating_mul(n as usize);
        }
    }
    let mut full = Shape::from_elem(0, shape.len());
    full.iter_mut().zip(shape).for_each(|(to, &n)| *to = n.max(0) as usize);
    if let Some(i) = open {
        if known == 0 || !size.is_multiple_of(known) {
            return Err(Error::shape(
                op,
                format!(
                    "{size} elements do not fill shape {shape:?} with any extent for the -1; give a divisor"
                ),
            ));
        }
        full[i] = size / known;
    }
    Ok(full)
}

op! {
    /// The same elements in row-major order with another shape; one extent may be −1 and is worked out.
    pub fn reshape / try_reshape(x: &Array, shape: &[isize])
    python reshape(a: Array, /, shape: Ints, *)
    samples {
        [real([2, 3, 2])] |x| try_reshape(x, &[3, -1]);
    }
    {
        let full = full_shape("reshape", x.size(), shape)?;
        reshape_to(x, &full)
    }

    /// Axes in another order: axis `k` of the result is axis `axes[k]`. No axes: all of them reversed.
    pub fn transpose / try_transpose(x: &Array, axes: &[isize])
    python transpose | permute_dims(a: Array, /, axes: Option<Ints> = None, *) => {
        if axes.is_some_and(<[isize]>::is_empty) && a.ndim() > 0 {
            return Err(Error::value("transpose", format!("0 axes were given for an array with {}; leave them out to reverse all", a.ndim())));
        }
        try_transpose(a, axes.unwrap_or_default())
    }
    samples {
        [real([2, 3, 4])] |x| try_transpose(x, &[2, 0, 1]);
    }
    {
        if axes.is_empty() {
            return permute(x, (0..x.ndim()).rev().collect());
        }
        if axes.len() != x.ndim() {
            return Err(Error::axis("transpose", format!("{} axes were given for an array with {}; name each once", axes.len(), x.ndim())));
        }
        normalize_axes("transpose", axes, x.ndim())?;
        permute(x, axes.iter().map(|&a| normalize_axis("transpose", a, x.ndim())).collect::<Result<_>>()?)
    }

    /// One axis moved to another place; the others keep their order.
    pub fn moveaxis / try_moveaxis(x: &Array, from: isize, to: isize)
    python moveaxis(a: Array, /, source: isize, destination: isize, *) + method
    samples {
        [real([2, 3, 4])] |x| try_moveaxis(x, 0, -1);
    }
    {
        let (from, to) = (normalize_axis("moveaxis", from, x.ndim())?, normalize_axis("moveaxis", to, x.ndim())?);
        let mut axes: Dims = (0..x.ndim()).filter(|&a| a != from).collect();
        axes.insert(to, from);
        permute(x, axes)
    }

    /// Two axes exchanged.
    pub fn swapaxes / try_swapaxes(x: &Array, a: isize, b: isize)
    python swapaxes(a: Array, /, axis1: isize, axis2: isize, *) + method
    samples {
        [real([2, 3, 4])] |x| try_swapaxes(x, 0, -1);
    }
    {
        let (a, b) = (normalize_axis("swapaxes", a, x.ndim())?, normalize_axis("swapaxes", b, x.ndim())?);
        let mut axes: Dims = (0..x.ndim()).collect();
        axes.swap(a, b);
        permute(x, axes)
    }

    /// Axes of extent 1 inserted, so that they have the given places in the result.
    pub fn expand_dims / try_expand_dims(x: &Array, axes: &[isize])
    python expand_dims(a: Array, /, axis: Ints, *)
    samples {
        [real([2, 3])] |x| try_expand_dims(x, &[0, -1]);
    }
    {
        let axes = normalize_axes("expand_dims", axes, x.ndim() + axes.len())?;
        let mut shape = Shape::from_slice(x.shape());
        for &axis in &axes {
            shape.insert(axis, 1);
        }
        reshape_to(x, &shape)
    }

    /// The given axes, which must have extent 1, removed.
    pub fn squeeze / try_squeeze(x: &Array, axes: &[isize])
    python squeeze(a: Array, /, axis: Option<Ints> = None, *) + method => {
        match axis {
            Some(axes) => try_squeeze(a, axes),
            None => try_squeeze_all(a),
        }
    }
    samples {
        [real([1, 3, 1])] |x| try_squeeze(x, &[0]);
    }
    {
        let axes = normalize_axes("squeeze", axes, x.ndim())?;
        if let Some(&axis) = axes.iter().find(|&&a| x.shape()[a] != 1) {
            return Err(Error::shape("squeeze", format!("axis {axis} of shape {} has extent {}, not 1", ShapeText(x.shape()), x.shape()[axis])));
        }
        reshape_to(x, &crate::shape::reduced_shape(x.shape(), &axes, false))
    }

    /// All axes of extent 1 removed.
    pub fn squeeze_all / try_squeeze_all(x: &Array)
    samples {
        [real([1, 3, 1])] |x| try_squeeze_all(x);
    }
    {
        reshape_to(x, &x.shape().iter().copied().filter(|&n| n != 1).collect::<Shape>())
    }

    /// Axes `start_axis` to `end_axis`, both included, made one.
    pub fn flatten / try_flatten(x: &Array, start_axis: isize, end_axis: isize)
    python flatten(a: Array, /, start_axis: isize = 0, end_axis: isize = -1, *) + method
    samples {
        [real([2, 3, 2])] |x| try_flatten(x, 1, -1);
    }
    {
        if x.ndim() == 0 {
            return reshape_to(x, &[1]);
        }
        let clamp = |a: isize| normalize_axis("flatten", a, x.ndim());
        let (start, end) = (clamp(start_axis)?, clamp(end_axis)?);
        if start > end {
            return Err(Error::axis("flatten", format!("start axis {start} lies behind end axis {end}")));
        }
        let mut shape = Shape::from_slice(&x.shape()[..start]);
        shape.push(x.shape()[start..=end].iter().product());
        shape.extend_from_slice(&x.shape()[end + 1..]);
        reshape_to(x, &shape)
    }

    /// One axis split into several; one of their extents may be −1 and is worked out.
    pub fn unflatten / try_unflatten(x: &Array, axis: isize, shape: &[isize])
    python unflatten(a: Array, /, axis: isize, shape: Ints, *)
    samples {
        [real([2, 6])] |x| try_unflatten(x, -1, &[2, -1]);
    }
    {
        let axis = normalize_axis("unflatten", axis, x.ndim())?;
        // Worked out for this axis alone: the others may be empty and say nothing.
        let parts = full_shape("unflatten", x.shape()[axis], shape)?;
        if parts.iter().product::<usize>() != x.shape()[axis] {
            return Err(Error::shape("unflatten", format!("axis {axis} of extent {} cannot become {shape:?}", x.shape()[axis])));
        }
        let all: Shape = x.shape()[..axis].iter().chain(&parts).chain(&x.shape()[axis + 1..]).copied().collect();
        reshape_to(x, &all)
    }

    /// The array repeated to a shape: new axes in front, and axes of extent 1 stretched. Takes no memory.
    pub fn broadcast_to / try_broadcast_to(x: &Array, shape: &[usize])
    python broadcast_to(a: Value, /, shape: Extents, *)
    samples {
        [real([3, 1])] |x| try_broadcast_to(x, &[2, 3, 4]);
    }
    {
        if x.shape() == shape {
            return Ok(x.clone());
        }
        Array::apply(Broadcast { shape: Shape::from_slice(shape) }, smallvec![x.clone()])
    }

    /// The array with its last two axes exchanged.
    pub fn mt / try_mt(x: &Array)
    python matrix_transpose(a: Array, /, *)
    samples {
        [real([2, 3])] |x| try_mt(x);
    }
    {
        try_swapaxes(x, -1, -2)
    }

    /// `low[k]` and `high[k]` elements of `value` added in front of and behind axis `k`.
    pub fn pad / try_pad(x: &Array, low: &[usize], high: &[usize], value: &Array)
    samples {
        [real([2, 3]), real([])] |x, y| try_pad(x, &[1, 0], &[2, 1], y);
    }
    {
        if low.len() != x.ndim() || high.len() != x.ndim() {
            return Err(Error::value("pad", format!("{} and {} widths were given for an array with {} axes; give one each", low.len(), high.len(), x.ndim())));
        }
        if value.ndim() != 0 {
            return Err(Error::shape("pad", format!("the padding value must be a scalar, not of shape {}", ShapeText(value.shape()))));
        }
        let shape: Shape = (0..x.ndim()).map(|k| x.shape()[k] + low[k] + high[k]).collect();
        let base = try_broadcast_to(&ops::to_dtype(value, x.dtype()), &shape)?;
        let window = Window { starts: Dims::from_slice(low), strides: smallvec![1; x.ndim()], extents: Shape::from_slice(x.shape()) };
        update_window(&base, x, window)
    }

    /// The elements of the `offset`-th diagonal of two axes, which go; the diagonal becomes the last axis.
    pub fn diagonal / try_diagonal(x: &Array, offset: isize, axis1: isize, axis2: isize)
    python diagonal(a: Array, offset: isize = 0, axis1: isize = 0, axis2: isize = 1) + method
    samples {
        [real([3, 2, 4])] |x| try_diagonal(x, 1, 0, 2);
    }
    {
        if x.ndim() < 2 {
            return Err(Error::shape("diagonal", format!("an array of shape {} has no two axes", ShapeText(x.shape()))));
        }
        let (a, b) = (normalize_axis("diagonal", axis1, x.ndim())?, normalize_axis("diagonal", axis2, x.ndim())?);
        if a == b {
            return Err(Error::axis("diagonal", format!("axis {a} was given twice; a diagonal needs two")));
        }
        let (rows, columns) = (x.shape()[a], x.shape()[b]);
        let (i0, j0) = ((-offset).max(0) as usize, offset.max(0) as usize);
        let count = rows.saturating_sub(i0).min(columns.saturating_sub(j0));
        let mut order: Dims = (0..x.ndim()).filter(|&n| n != a && n != b).collect();
        order.extend([a, b]);
        let x = permute(x, order)?;
        // In row-major order neighbours on the diagonal lie columns + 1 apart.
        let mut flat = Shape::from_slice(&x.shape()[..x.ndim() - 2]);
        flat.push(rows * columns);
        let line = reshape_to(&x, &flat)?;
        let axis = flat.len() - 1;
        let mut starts: Dims = smallvec![0; flat.len()];
        let mut strides: crate::shape::Strides = smallvec![1; flat.len()];
        (starts[axis], strides[axis]) = (if count == 0 { 0 } else { i0 * columns + j0 }, columns as isize + 1);
        flat[axis] = count;
        slice_window(&line, Window { starts, strides, extents: flat })
    }

    /// The `k`-th diagonal of a matrix, or a matrix with a vector on its `k`-th diagonal.
    pub fn diag / try_diag(x: &Array, k: isize)
    python diag(a: Array, /, k: isize = 0, *) + method
    samples {
        [real([3])] |x| try_diag(x, -1);
        [real([3, 4])] |x| try_diag(x, 1);
    }
    {
        match x.ndim() {
            2 => try_diagonal(x, k, 0, 1),
            1 => {
                let n = x.size() + k.unsigned_abs();
                let start = (-k).max(0) as usize * n + k.max(0) as usize;
                let base = ops::zeros(&[n * n], x.dtype());
                let window = Window { starts: smallvec![if x.size() == 0 { 0 } else { start }], strides: smallvec![n as isize + 1], extents: smallvec![x.size()] };
                reshape_to(&update_window(&base, x, window)?, &[n, n])
            }
            _ => Err(Error::shape("diag", format!("an array of shape {} is neither a vector nor a matrix", ShapeText(x.shape())))),
        }
    }

    /// The array with everything above the `k`-th diagonal of its last two axes zero.
    pub fn tril / try_tril(x: &Array, k: isize)
    python tril(x: Array, k: isize = 0, *)
    samples {
        [real([3, 4])] |x| try_tril(x, 1);
    }
    {
        triangle("tril", x, k, true)
    }

    /// The array with everything below the `k`-th diagonal of its last two axes zero.
    pub fn triu / try_triu(x: &Array, k: isize)
    python triu(x: Array, k: isize = 0, *)
    samples {
        [real([2, 3, 3])] |x| try_triu(x, 0);
    }
    {
        triangle("triu", x, k - 1, false)
    }

    /// The whole array repeated `reps[k]` times along each axis.
    pub fn tile / try_tile(x: &Array, reps: &[usize])
    python tile(a: Array, reps: Extents, /, *)
    samples {
        [real([2, 3])] |x| try_tile(x, &[2, 1, 2]);
    }
    {
        let rank = x.ndim().max(reps.len());
        let pad = |v: &[usize]| std::iter::repeat_n(1, rank - v.len()).chain(v.iter().copied()).collect::<Shape>();
        let (shape, reps) = (pad(x.shape()), pad(reps));
        let (mut one, mut many, mut out) = (Shape::new(), Shape::new(), Shape::new());
        for (&n, &r) in shape.iter().zip(&reps) {
            one.extend([1, n]);
            many.extend([r, n]);
            out.push(r * n);
        }
        reshape_to(&try_broadcast_to(&reshape_to(x, &one)?, &many)?, &out)
    }

    /// Each element repeated along an axis, `repeats` times.
    pub fn repeat / try_repeat(x: &Array, repeats: usize, axis: isize)
    python repeat(array: Array, repeats: usize, axis: Option<isize> = None, *) => { ops::along(array, axis, |x, axis| try_repeat(x, repeats, axis)) }
    samples {
        [real([2, 3])] |x| try_repeat(x, 2, 1);
    }
    {
        let axis = normalize_axis("repeat", axis, x.ndim())?;
        let mut one = Shape::from_slice(x.shape());
        one.insert(axis + 1, 1);
        let mut many = one.clone();
        many[axis + 1] = repeats;
        let mut out = Shape::from_slice(x.shape());
        out[axis] *= repeats;
        reshape_to(&try_broadcast_to(&reshape_to(x, &one)?, &many)?, &out)
    }

    /// The elements moved `shift` places along an axis, those that fall off coming in again in front.
    pub fn roll / try_roll(x: &Array, shift: isize, axis: isize)
    samples {
        [real([2, 3])] |x| try_roll(x, -1, 1);
    }
    {
        let axis = normalize_axis("roll", axis, x.ndim())?;
        let n = x.shape()[axis];
        if n == 0 {
            return Ok(x.clone());
        }
        let by = shift.rem_euclid(n as isize) as usize;
        try_concatenate(&[slice_axis(x, axis, n - by, n)?, slice_axis(x, axis, 0, n - by)?], axis as isize)
    }

    /// Arrays joined along an axis they have.
    pub fn concatenate / try_concatenate(arrays: &[Array], axis: isize)
    python concatenate | concat(arrays: Arrays, axis: Option<isize> = 0, *) => {
        match axis {
            Some(axis) => try_concatenate(arrays, axis),
            None => try_concatenate(&arrays.iter().map(ops::flat).collect::<Result<Vec<_>>>()?, 0),
        }
    }
    samples {
        [real([2, 3]), real([1, 3]), real([2, 3])] all |x| try_concatenate(x, 0);
    }
    {
        let Some(first) = arrays.first() else {
            return Err(Error::value("concatenate", "no arrays were given; give at least one"));
        };
        if first.ndim() == 0 {
            return Err(Error::shape("concatenate", "zero-dimensional arrays have no axis to join; use stack"));
        }
        let axis = normalize_axis("concatenate", axis, first.ndim())?;
        let dtype = common_dtype(arrays);
        if arrays.len() == 1 {
            return Ok(first.clone());
        }
        Array::apply(Concatenate { axis }, arrays.iter().map(|x| ops::to_dtype(x, dtype)).collect())
    }

    /// Arrays of one shape joined along a new axis.
    pub fn stack / try_stack(arrays: &[Array], axis: isize)
    python stack(arrays: Arrays, axis: Option<isize> = 0, *) => { try_stack(arrays, axis.unwrap_or(0)) }
    samples {
        [real([2, 3]), real([2, 3])] all |x| try_stack(x, 1);
    }
    {
        let Some(first) = arrays.first() else {
            return Err(Error::value("stack", "no arrays were given; give at least one"));
        };
        if let Some(i) = arrays.iter().position(|x| x.shape() != first.shape()) {
            return Err(Error::shape(
                "stack",
                format!("array {i} has shape {}, but array 0 has shape {}; all must have one shape", ShapeText(arrays[i].shape()), ShapeText(first.shape())),
            ));
        }
        let axis = normalize_axis("stack", axis, first.ndim() + 1)? as isize;
        let arrays: Vec<Array> = arrays.iter().map(|x| try_expand_dims(x, &[axis])).collect::<Result<_>>()?;
        try_concatenate(&arrays, axis)
    }

    /// An axis cut at the given places.
    pub fn split_at / try_split_at(x: &Array, places: &[isize], axis: isize) -> (Vec<Array>)
    samples {
        [real([2, 5])] |x| try_split_at(x, &[1, -1], -1);
    }
    {
        let axis = normalize_axis("split", axis, x.ndim())?;
        let n = x.shape()[axis];
        let place = |p: isize| (if p < 0 { p + n as isize } else { p }).clamp(0, n as isize) as usize;
        let mut cuts: Vec<usize> = std::iter::once(0).chain(places.iter().map(|&p| place(p))).collect();
        cuts.push(n);
        cuts.windows(2).map(|w| slice_axis(x, axis, w[0], w[1].max(w[0]))).collect()
    }

    /// An axis cut into equal parts.
    pub fn split / try_split(x: &Array, parts: usize, axis: isize) -> (Vec<Array>)
    samples {
        [real([4, 3])] |x| try_split(x, 2, 0);
    }
    {
        let k = normalize_axis("split", axis, x.ndim())?;
        let n = x.shape()[k];
        if parts == 0 || !n.is_multiple_of(parts) {
            return Err(Error::value("split", format!("axis {k} with extent {n} cannot be cut into {parts} equal parts")));
        }
        let places: Vec<isize> = (1..parts).map(|i| (i * (n / parts)) as isize).collect();
        try_split_at(x, &places, axis)
    }

    /// All the arrays broadcast to one shape.
    pub fn broadcast_arrays / try_broadcast_arrays(arrays: &[Array]) -> (Vec<Array>)
    samples {
        [real([2, 1]), real([3])] all |x| try_broadcast_arrays(x);
    }
    {
        let mut shape = Shape::new();
        for x in arrays {
            shape = broadcast_shapes("broadcast_arrays", &shape, x.shape())?;
        }
        arrays.iter().map(|x| try_broadcast_to(x, &shape)).collect()
    }
}

fn triangle(op: &'static str, x: &Array, k: isize, lower: bool) -> Result<Array> {
    let &[.., rows, columns] = x.shape() else {
        return Err(Error::shape(op, format!("an array of shape {} has no two axes", ShapeText(x.shape()))));
    };
    let mask = ops::try_tri(rows, columns, k, Dtype::Bool)?;
    let zero = ops::zero_of(x.dtype());
    if lower { ops::try_where_(&mask, x, &zero) } else { ops::try_where_(&mask, &zero, x) }
}

/// The element type that all the arrays share.
pub(crate) fn common_dtype(arrays: &[Array]) -> Dtype {
    arrays.iter().map(Array::dtype).reduce(crate::dtype::promote).unwrap_or(Dtype::F32)
}
