//! Subscripts: integers, slices and index arrays between brackets, worked out for one array.

use super::{check_indices, gather, scatter};
use crate::array::Array;
use crate::error::{Error, Result};
use crate::ops;
use crate::shape::{Dims, Shape, ShapeText, Window};
use crate::wide;
use covector_kernels::{Dtype, Scatter as Kind};
use smallvec::{SmallVec, smallvec};
use std::borrow::Cow;

/// How [`index_update`](crate::ops::index_update) combines.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Update {
    /// Adds.
    Add,
    /// Subtracts.
    Subtract,
    /// Multiplies.
    Multiply,
    /// Divides.
    Divide,
    /// Takes the larger.
    Maximum,
    /// Takes the smaller.
    Minimum,
}

/// One index of a subscript, as between the brackets of NumPy.
#[derive(Clone, Debug)]
pub enum Index {
    /// One element of an axis, which goes. Negative numbers count from the end.
    At(isize),
    /// `start:stop:step` of an axis; missing bounds are the ends, as in Python.
    Slice(Option<isize>, Option<isize>, isize),
    /// All the axes that the other indices leave over.
    Ellipsis,
    /// A new axis of extent 1.
    NewAxis,
    /// Elements by an integer array (or all-true parts by a boolean one, where its values are known).
    Array(Array),
}

impl From<isize> for Index {
    fn from(i: isize) -> Self {
        Index::At(i)
    }
}

impl From<std::ops::RangeFull> for Index {
    fn from(_: std::ops::RangeFull) -> Self {
        Index::Slice(None, None, 1)
    }
}

impl From<std::ops::Range<isize>> for Index {
    fn from(r: std::ops::Range<isize>) -> Self {
        Index::Slice(Some(r.start), Some(r.end), 1)
    }
}

impl From<&Array> for Index {
    fn from(indices: &Array) -> Self {
        Index::Array(indices.clone())
    }
}

/// An index of one element that may count from the end.
fn counted(op: &'static str, x: &Array, axis: usize, i: isize) -> Result<usize> {
    let n = x.shape()[axis] as isize;
    if i < -n || i >= n {
        return Err(Error::index(op, format!("index {i} is out of bounds for axis {axis} with extent {n}")));
    }
    Ok(if i < 0 { i + n } else { i } as usize)
}

/// The window and the shape that integers and slices of the first axes mean, as most subscripts are; `None` for others.
pub(super) fn simple(op: &'static str, x: &Array, indices: &[Index]) -> Result<Option<(Window, Shape)>> {
    if indices.len() > x.ndim() || !indices.iter().all(|i| matches!(i, Index::At(_) | Index::Slice(..))) {
        return Ok(None);
    }
    let mut window = Window {
        starts: smallvec![0; x.ndim()],
        strides: smallvec![1; x.ndim()],
        extents: Shape::from_slice(x.shape()),
    };
    let mut shape = Shape::new();
    for (axis, index) in indices.iter().enumerate() {
        match index {
            Index::At(i) => {
                window.starts[axis] = counted(op, x, axis, *i)?;
                window.extents[axis] = 1;
            }
            Index::Slice(start, stop, step) => {
                let (start, stride, extent) = slice_bounds(op, x.shape()[axis], *start, *stop, *step)?;
                window.starts[axis] = start;
                window.strides[axis] = stride;
                window.extents[axis] = extent;
                shape.push(extent);
            }
            _ => unreachable!("looked at above"),
        }
    }
    shape.extend_from_slice(&x.shape()[indices.len()..]);
    Ok(Some((window, shape)))
}

/// A subscript worked out for one array: a window, gathers from it, and the shape of the result.
pub(super) struct Plan {
    window: Window,
    /// Shape of the window without the axes that integers removed, and with new axes.
    shape: Shape,
    /// Index arrays with the axis of `shape` that each one stands for.
    arrays: Vec<(usize, Array)>,
    /// Where the axes of the (broadcast) index arrays stand in the result.
    place: usize,
}

impl Plan {
    pub(super) fn new(op: &'static str, x: &Array, indices: &[Index]) -> Result<Self> {
        let indices = expand_booleans(op, x, indices)?;
        let used = indices.iter().filter(|i| !matches!(i, Index::Ellipsis | Index::NewAxis)).count();
        if used > x.ndim() {
            return Err(Error::index(
                op,
                format!("{used} indices are too many for an array of shape {}", ShapeText(x.shape())),
            ));
        }
        if indices.iter().filter(|i| matches!(i, Index::Ellipsis)).count() > 1 {
            return Err(Error::index(op, "an index may have only one ellipsis (...)"));
        }
        let all = Index::Slice(None, None, 1);
        let rest = x.ndim() - used;
        let mut full: SmallVec<[Index; 4]> = SmallVec::new();
        for index in &*indices {
            match index {
                Index::Ellipsis => full.extend(std::iter::repeat_n(all.clone(), rest)),
                other => full.push(other.clone()),
            }
        }
        if !indices.iter().any(|i| matches!(i, Index::Ellipsis)) {
            full.extend(std::iter::repeat_n(all, rest));
        }
        // Beside an index array an integer is an index array, too, as in NumPy.
        let advanced = full.iter().any(|i| matches!(i, Index::Array(_)));
        let mut plan = Plan { window: Window::default(), shape: Shape::new(), arrays: Vec::new(), place: 0 };
        let mut axis = 0;
        let mut groups: Vec<usize> = Vec::new(); // positions in `full` of advanced indices
        for (position, index) in full.iter().enumerate() {
            let (start, stride, extent) = match index {
                Index::NewAxis => {
                    plan.shape.push(1);
                    continue;
                }
                Index::Ellipsis => unreachable!("expanded above"),
                Index::Slice(start, stop, step) => slice_bounds(op, x.shape()[axis], *start, *stop, *step)?,
                Index::At(i) => {
                    let i = counted(op, x, axis, *i)?;
                    if advanced {
                        groups.push(position);
                        plan.arrays.push((plan.shape.len(), Array::scalar(i as i64)));
                        (0, 1, x.shape()[axis])
                    } else {
                        plan.window.starts.push(i);
                        plan.window.strides.push(1);
                        plan.window.extents.push(1);
                        axis += 1;
                        continue;
                    }
                }
                Index::Array(indices) => {
                    check_indices(op, indices)?;
                    groups.push(position);
                    plan.arrays.push((plan.shape.len(), indices.clone()));
                    (0, 1, x.shape()[axis])
                }
            };
            plan.window.starts.push(start);
            plan.window.strides.push(stride);
            plan.window.extents.push(extent);
            plan.shape.push(extent);
            axis += 1;
        }
        // Adjacent index arrays leave their axes in place; with something between them they go in front.
        if let (Some(&first), Some(&last)) = (groups.first(), groups.last())
            && last - first + 1 == groups.len()
        {
            plan.place = plan.arrays[0].0;
        }
        Ok(plan)
    }

    fn rank(&self) -> usize {
        self.arrays.iter().map(|(_, a)| a.ndim()).max().unwrap_or(0)
    }

    /// The order that brings the index axes, which a gather puts in front, to their place.
    fn order(&self, kept: usize) -> Dims {
        let r = self.rank();
        (r..r + self.place).chain(0..r).chain(r + self.place..r + kept).collect()
    }

    fn parts(&self) -> (Vec<Array>, Dims, Shape) {
        let arrays = self.arrays.iter().map(|(_, a)| a.clone()).collect();
        let axes: Dims = self.arrays.iter().map(|&(k, _)| k).collect();
        let mut slice = self.shape.clone();
        for &k in &axes {
            slice[k] = slice[k].min(1);
        }
        (arrays, axes, slice)
    }

    fn kept(&self, slice: &[usize], axes: &[usize]) -> Shape {
        slice.iter().enumerate().filter(|(k, _)| !axes.contains(k)).map(|(_, &n)| n).collect()
    }

    pub(super) fn read(mut self, x: &Array) -> Result<Array> {
        let part = ops::slice_window(x, std::mem::take(&mut self.window))?;
        let part = ops::reshape_to(&part, &self.shape)?;
        if self.arrays.is_empty() {
            return Ok(part);
        }
        let (arrays, axes, slice) = self.parts();
        if let Some(&k) = axes.iter().find(|&&k| self.shape[k] == 0)
            && arrays.iter().all(|a| a.size() > 0)
        {
            return Err(Error::index("index", format!("axis {k} is empty; nothing can be taken from it")));
        }
        let kept = self.kept(&slice, &axes);
        let out = gather("index", &part, &arrays, axes, slice)?;
        let mut shape = Shape::from_slice(&out.shape()[..self.rank()]);
        shape.extend_from_slice(&kept);
        ops::permute(&ops::reshape_to(&out, &shape)?, self.order(kept.len()))
    }

    pub(super) fn write(
        &self,
        op: &'static str,
        x: &Array,
        value: &Array,
        how: Option<Update>,
    ) -> Result<Array> {
        let value = ops::to_dtype(value, x.dtype());
        if self.arrays.is_empty() {
            let part = ops::reshape_to(&ops::slice_window(x, self.window.clone())?, &self.shape)?;
            let value = fit(op, &value, &self.shape)?;
            let value = match how {
                None => value,
                Some(how) => combine(how, &part, &value)?,
            };
            let value = ops::reshape_to(&value, &self.window.extents)?;
            return ops::update_window(x, &value, self.window.clone());
        }
        let (arrays, axes, slice) = self.parts();
        let arrays = ops::try_broadcast_arrays(&arrays)?;
        let kept = self.kept(&slice, &axes);
        let r = self.rank();
        let mut shape: Shape = Shape::from_slice(arrays[0].shape());
        shape.extend_from_slice(&kept);
        let order = self.order(kept.len());
        let result: Shape = order.iter().map(|&k| shape[k]).collect();
        let value = fit(op, &value, &result)?;
        let mut back: Dims = smallvec![0; order.len()];
        for (k, &o) in order.iter().enumerate() {
            back[o] = k;
        }
        let value = ops::permute(&value, back)?;
        let mut updates = Shape::from_slice(&shape[..r]);
        updates.extend_from_slice(&slice);
        let value = ops::reshape_to(&value, &updates)?;
        let part = ops::reshape_to(&ops::slice_window(x, self.window.clone())?, &self.shape)?;
        if how == Some(Update::Divide) {
            // The divisors first: an integer has no reciprocal, and one division rounds once.
            let part = wide::rounded_once([&part, &value], |[part, value]| {
                let divisor = scatter(op, Kind::Prod, &ops::ones_like(part), &arrays, axes, value)?;
                combine(Update::Divide, part, &divisor)
            })?;
            let part = ops::reshape_to(&part, &self.window.extents)?;
            return ops::update_window(x, &part, self.window.clone());
        }
        let (kind, value) = match how {
            None | Some(Update::Divide) => (Kind::Set, value),
            Some(Update::Add) => (Kind::Add, value),
            Some(Update::Subtract) => (Kind::Add, ops::try_negative(&value)?),
            Some(Update::Multiply) => (Kind::Prod, value),
            Some(Update::Maximum) => (Kind::Max, value),
            Some(Update::Minimum) => (Kind::Min, value),
        };
        let value = ops::to_dtype(&value, x.dtype());
        let part = scatter(op, kind, &part, &arrays, axes, &value)?;
        ops::update_window(x, &ops::reshape_to(&part, &self.window.extents)?, self.window.clone())
    }
}

fn combine(how: Update, a: &Array, b: &Array) -> Result<Array> {
    let out = match how {
        Update::Add => ops::try_add(a, b),
        Update::Subtract => ops::try_subtract(a, b),
        Update::Multiply => ops::try_multiply(a, b),
        // Integers keep to integers and drop the fraction, towards zero.
        Update::Divide if !a.dtype().is_inexact() => {
            let size = ops::try_floor_divide(&ops::try_abs(a)?, &ops::try_abs(b)?)?;
            ops::try_multiply(&size, &ops::try_multiply(&ops::try_sign(a)?, &ops::try_sign(b)?)?)
        }
        Update::Divide => ops::try_divide(a, b),
        Update::Maximum => ops::try_maximum(a, b),
        Update::Minimum => ops::try_minimum(a, b),
    }?;
    Ok(ops::to_dtype(&out, a.dtype()))
}

/// `value` broadcast to the shape of the part; leading axes of extent 1 too many are dropped.
fn fit(op: &'static str, value: &Array, shape: &[usize]) -> Result<Array> {
    let extra = value.ndim().saturating_sub(shape.len());
    let value = if extra > 0 && value.shape()[..extra].iter().all(|&n| n == 1) {
        ops::reshape_to(value, &value.shape()[extra..])?
    } else {
        value.clone()
    };
    ops::try_broadcast_to(&value, shape).map_err(|_| {
        Error::shape(
            op,
            format!(
                "a value of shape {} does not fit the indexed part of shape {}",
                ShapeText(value.shape()),
                ShapeText(shape)
            ),
        )
    })
}

/// Start, step and count of a Python slice over `n` elements.
fn slice_bounds(
    op: &'static str,
    n: usize,
    start: Option<isize>,
    stop: Option<isize>,
    step: isize,
) -> Result<(usize, isize, usize)> {
    if step == 0 {
        return Err(Error::value(op, "a slice's step cannot be zero"));
    }
    let n = n as isize;
    let (low, high) = if step > 0 { (0, n) } else { (-1, n - 1) };
    let clamp = |v: isize| (if v < 0 { v.saturating_add(n) } else { v }).clamp(low, high);
    let start = start.map_or(if step > 0 { low } else { high }, clamp);
    let stop = stop.map_or(if step > 0 { high } else { low }, clamp);
    let count = if step > 0 {
        (stop - start).max(0).div_ceil_(step)
    } else {
        (start - stop).max(0).div_ceil_(step.saturating_neg())
    };
    Ok((if count == 0 { 0 } else { start as usize }, if count <= 1 { 1 } else { step }, count as usize))
}

/// Ceiling division of non-negative numbers; `isize::div_ceil` is not stable.
trait DivCeil {
    fn div_ceil_(self, by: isize) -> isize;
}

impl DivCeil for isize {
    fn div_ceil_(self, by: isize) -> isize {
        self / by + isize::from(self % by != 0)
    }
}

/// Boolean index arrays as the integer arrays of the places where they are true. Needs their values.
fn expand_booleans<'a>(op: &'static str, x: &Array, indices: &'a [Index]) -> Result<Cow<'a, [Index]>> {
    if !indices.iter().any(|i| matches!(i, Index::Array(a) if a.dtype() == Dtype::Bool)) {
        return Ok(Cow::Borrowed(indices));
    }
    let mut out = Vec::with_capacity(indices.len());
    let mut axis = 0;
    let trailing = |k: usize| -> usize {
        indices[k..]
            .iter()
            .map(|i| match i {
                Index::NewAxis | Index::Ellipsis => 0,
                Index::Array(a) if a.dtype() == Dtype::Bool => a.ndim(),
                _ => 1,
            })
            .sum()
    };
    for (k, index) in indices.iter().enumerate() {
        match index {
            Index::Array(mask) if mask.dtype() == Dtype::Bool => {
                let part = x.shape().get(axis..axis + mask.ndim());
                if part != Some(mask.shape()) {
                    return Err(Error::index(
                        op,
                        format!(
                            "a boolean index of shape {} does not match the array's axes from {axis} on, of shape {}",
                            ShapeText(mask.shape()),
                            ShapeText(x.shape())
                        ),
                    ));
                }
                let values = mask.values::<bool>(op)?;
                let count = values.iter().filter(|v| **v).count();
                let places = (0..mask.ndim()).map(|_| crate::buffer::room::<i64>(op, count));
                let mut places: Vec<Vec<i64>> = places.collect::<Result<_>>()?;
                for (flat, _) in values.iter().enumerate().filter(|(_, v)| **v) {
                    let mut rest = flat;
                    for d in (0..mask.ndim()).rev() {
                        places[d].push((rest % mask.shape()[d]) as i64);
                        rest /= mask.shape()[d];
                    }
                }
                axis += mask.ndim();
                for p in places {
                    out.push(Index::Array(Array::from_slice(&p, &[p.len()])?));
                }
            }
            other => {
                axis = match other {
                    Index::NewAxis => axis,
                    Index::Ellipsis => x.ndim().saturating_sub(trailing(k + 1)),
                    _ => axis + 1,
                };
                out.push(other.clone());
            }
        }
    }
    Ok(Cow::Owned(out))
}
