//! Reading and writing parts of arrays: typed indices, slices, `take` and its relatives.

use super::block::op;
use super::block::sample::{self, Entry, Input};
use crate::array::Array;
use crate::error::{Error, Result};
use crate::ops;
use crate::ops::spec::Beside;
use crate::prim::index::{Gather, Scatter, ScatterAlong, TakeAlong};
use crate::prim::shape::{Dims, Window};
use crate::shape::{Shape, ShapeText, broadcast_shapes, normalize_axis};
use crate::wide;
use covector_kernels::{Dtype, Scatter as Kind};
use smallvec::{SmallVec, smallvec};
use std::borrow::Cow;

/// Applies the gather primitive for the public operation `op`; all indices get one shape.
pub(crate) fn gather(
    op: &'static str,
    src: &Array,
    indices: &[Array],
    axes: Dims,
    slice: Shape,
) -> Result<Array> {
    let mut inputs: crate::array::Inputs = smallvec![src.clone()];
    inputs.extend(ops::try_broadcast_arrays(indices)?);
    Array::apply(Gather { op, axes, slice }, inputs)
}

/// Applies a scatter primitive for the public operation `op`; all indices get one shape.
pub(crate) fn scatter(
    op: &'static str,
    kind: Kind,
    target: &Array,
    indices: &[Array],
    axes: Dims,
    updates: &Array,
) -> Result<Array> {
    let indices = ops::try_broadcast_arrays(indices)?;
    // The kernel brings the slices for one place together, so that each sum is rounded once. It can't where slices overlap
    // that are not the same; and many single elements are sorted for longer than all of the target is widened.
    let split = updates.ndim() - target.ndim();
    let slice = &updates.shape()[split..];
    let overlap = axes.iter().any(|&k| slice[k] > 1) || u32::try_from(target.size()).is_err();
    let single = slice.iter().product::<usize>() < 8 && 4 * updates.size() >= target.size();
    let several = indices.first().is_some_and(|i| i.size() > 1);
    accumulated(kind, several && (overlap || single), [target, updates], |[target, updates]| {
        let mut inputs: crate::array::Inputs = smallvec![target.clone(), updates.clone()];
        inputs.extend(indices);
        Array::apply(Scatter { op, kind, axes }, inputs)
    })
}

/// A scatter; if `widened`, sums and products of half precision are formed in the wide type, and rounded once.
fn accumulated(
    kind: Kind,
    widened: bool,
    arrays: [&Array; 2],
    scatter: impl FnOnce([&Array; 2]) -> Result<Array>,
) -> Result<Array> {
    match kind {
        Kind::Add | Kind::Prod if widened => wide::rounded_once(arrays, scatter),
        _ => scatter(arrays),
    }
}

pub(crate) fn take_along(op: &'static str, x: &Array, indices: &Array, axis: usize) -> Result<Array> {
    Array::apply(TakeAlong { op, axis, classes: false }, smallvec![x.clone(), indices.clone()])
}

pub(crate) fn scatter_along(
    op: &'static str,
    kind: Kind,
    x: &Array,
    indices: &Array,
    axis: usize,
    updates: &Array,
) -> Result<Array> {
    accumulated(kind, indices.shape()[axis] > 1, [x, updates], |[x, updates]| {
        Array::apply(ScatterAlong { op, kind, axis }, smallvec![x.clone(), updates.clone(), indices.clone()])
    })
}

fn check_indices(op: &'static str, indices: &Array) -> Result<()> {
    if indices.dtype().is_integer() {
        return Ok(());
    }
    Err(Error::index(
        op,
        format!("indices must be integers, not {}; convert them with astype", indices.dtype()),
    ))
}

op! {
    /// Elements of an axis by number; the axis gives way to the axes of `indices`. Negative numbers count from
    /// the end; one outside the axis is an error when the values are computed.
    pub fn take / try_take(x: &Array, indices: &Array, axis: isize)
    samples {
        [real([2, 4, 3]), input([2, 2], Kind::Index(4))] |x, y| try_take(x, y, 1);
    }
    {
        take_for("take", x, indices, axis)
    }

    /// One element along `axis` for each element of `indices`, whose other extents broadcast with `x`'s.
    pub fn take_along_axis / try_take_along_axis(x: &Array, indices: &Array, axis: isize)
    python take_along_axis(a: Array, /, indices: Array, axis: Option<isize> = -1, *) => {
        match axis {
            Some(axis) => try_take_along_axis(a, indices, axis),
            None => try_take_along_axis(&ops::flat(a)?, &ops::flat(indices)?, 0),
        }
    }
    samples {
        [real([2, 4]), input([2, 3], Kind::Index(4))] |x, y| try_take_along_axis(x, y, 1);
    }
    {
        take_along_axis_for("take_along_axis", x, indices, axis)
    }

    /// The array with elements along `axis` replaced at `indices`; the last of several for one place stays.
    pub fn put_along_axis / try_put_along_axis(x: &Array, indices: &Array, values: &Array, axis: isize)
    python put_along_axis(a: Array, /, indices: Array, values: Beside, axis: Option<isize> = None, *) => {
        match axis {
            Some(axis) => try_put_along_axis(a, indices, values, axis),
            None => {
                let values = if values.ndim() > 1 { ops::flat(values)? } else { values.clone() };
                ops::reshape_to(&try_put_along_axis(&ops::flat(a)?, &ops::flat(indices)?, &values, 0)?, a.shape())
            }
        }
    }
    samples {
        [real([2, 4]), input([2, 6], Kind::Index(4)), real([2, 6])] |x, y, z| try_put_along_axis(x, y, z, 1);
    }
    {
        scatter_along_axis("put_along_axis", Kind::Set, x, indices, values, axis)
    }

    /// The array with values added along `axis` at `indices`.
    pub fn scatter_add_axis / try_scatter_add_axis(x: &Array, indices: &Array, values: &Array, axis: isize)
    samples {
        [real([2, 4]), input([2, 6], Kind::Index(4)), real([2, 6])] |x, y, z| try_scatter_add_axis(x, y, z, 1);
    }
    {
        scatter_along_axis("scatter_add_axis", Kind::Add, x, indices, values, axis)
    }

    /// The part of the array that the indices describe; see [`Index`].
    pub fn index / try_index(x: &Array, indices: &[Index])
    samples {
        [real([3, 2, 4])] |x| try_index(x, &window());
        [real([3, 2, 4]), input([5], Kind::Index(3)), input([2, 1], Kind::Index(4))] |x, y, z| try_index(x, &[Index::from(y), Index::from(..), Index::from(z)]);
    }
    {
        match simple("index", x, indices)? {
            Some((window, shape)) => ops::slice_dropping(x, window, &shape),
            None => Plan::new("index", x, indices)?.read(x),
        }
    }

    /// The array with the part that the indices describe replaced by `value`, which broadcasts to it.
    pub fn index_set / try_index_set(x: &Array, indices: &[Index], value: &Array)
    samples {
        [real([3, 2, 4]), real([2, 1, 2, 3])] |x, y| try_index_set(x, &window(), y);
        [real([3, 4]), input([7], Kind::Index(3)), real([7, 4])] |x, y, z| try_index_set(x, &[Index::from(y)], z);
    }
    {
        Plan::new("index_set", x, indices)?.write("index_set", x, value, None)
    }

    /// The array with `value` combined into the part that the indices describe. Unlike reading, changing and
    /// writing back, every one of several indices for the same place counts.
    pub fn index_update / try_index_update(x: &Array, indices: &[Index], value: &Array, how: Update)
    samples {
        from updates();
    }
    {
        Plan::new("index_update", x, indices)?.write("index_update", x, value, Some(how))
    }

    also pick_class samples {
        [real([2, 4]), input([2], Kind::Index(4))] |x, y| pick_class("pick_class", x, y, 1);
    }
}

/// A subscript of integers alone, for entries of the catalogue.
fn window() -> [Index; 4] {
    [Index::Slice(Some(-1), None, -2), Index::NewAxis, Index::Ellipsis, Index::Slice(None, Some(-1), 1)]
}

/// Entries of [`index_update`]: each way to combine, with indices that repeat and with different ones.
fn updates() -> Vec<Entry> {
    let entry = |how: Update, inputs: Vec<Input>| {
        sample::entry("index_update", true, inputs, move |x: &[Array]| {
            Ok(vec![try_index_update(&x[0], &[Index::from(&x[1])], &x[2], how)?])
        })
    };
    let all =
        [Update::Add, Update::Subtract, Update::Multiply, Update::Divide, Update::Maximum, Update::Minimum];
    all.into_iter()
        .flat_map(|how| {
            let (target, values) = match how {
                Update::Maximum | Update::Minimum => {
                    (sample::input([4, 2], sample::Kind::Real(-0.2, 0.2)), sample::distinct([5, 2]))
                }
                _ => (sample::positive([4, 2]), sample::positive([5, 2])),
            };
            let once = sample::input([2], sample::Kind::Permuted(4));
            let far = sample::input([2, 2], sample::Kind::Real(2.5, 3.0));
            [
                entry(how, vec![target, sample::input([5], sample::Kind::Index(4)), values]),
                entry(how, vec![sample::positive([4, 2]), once, far]),
            ]
        })
        .collect()
}

/// The element along `axis` that the class in its place chooses, for the loss `op`; `classes` has the shape of `x` without
/// the axis. Classes are numbered from 0: a negative one is an error when the values are computed, as one that is too large.
///
/// # Errors
/// When the classes are no integers or the shapes do not fit.
pub fn pick_class(op: &'static str, x: &Array, classes: &Array, axis: isize) -> Result<Array> {
    check_indices(op, classes)?;
    let (x, places, axis) = align(op, x, &ops::try_expand_dims(classes, &[axis])?, axis)?;
    let picked = Array::apply(TakeAlong { op, axis, classes: true }, smallvec![x, places])?;
    ops::try_squeeze(&picked, &[axis as isize])
}

/// [`take`] as a part of the operation `op`, which messages name.
#[doc(hidden)]
pub fn take_for(op: &'static str, x: &Array, indices: &Array, axis: isize) -> Result<Array> {
    check_indices(op, indices)?;
    let axis = normalize_axis(op, axis, x.ndim())?;
    if x.shape()[axis] == 0 && indices.size() > 0 {
        return Err(Error::index(
            op,
            format!("axis {axis} of shape {} is empty; nothing can be taken from it", ShapeText(x.shape())),
        ));
    }
    let mut slice = Shape::from_slice(x.shape());
    slice[axis] = slice[axis].min(1);
    let out = gather(op, x, std::slice::from_ref(indices), smallvec![axis], slice)?;
    // Axes now: indices, then the slice with an axis of extent 1; the index axes belong in its place.
    let k = indices.ndim();
    let mut shape = Shape::from_slice(out.shape());
    shape.remove(k + axis);
    let out = ops::reshape_to(&out, &shape)?;
    let order: Dims = (k..k + axis).chain(0..k).chain(k + axis..out.ndim()).collect();
    ops::permute(&out, order)
}

/// [`take_along_axis`] as a part of the operation `op`, which messages name.
#[doc(hidden)]
pub fn take_along_axis_for(op: &'static str, x: &Array, indices: &Array, axis: isize) -> Result<Array> {
    check_indices(op, indices)?;
    let (x, indices, axis) = align(op, x, indices, axis)?;
    take_along(op, &x, &indices, axis)
}

/// Everything but `axis` broadcast to one shape.
fn align(op: &'static str, x: &Array, indices: &Array, axis: isize) -> Result<(Array, Array, usize)> {
    if x.ndim() != indices.ndim() {
        return Err(Error::shape(
            op,
            format!(
                "the array has {} axes and the indices {}; they must have as many",
                x.ndim(),
                indices.ndim()
            ),
        ));
    }
    let axis = normalize_axis(op, axis, x.ndim())?;
    let without = |v: &Array| {
        v.shape().iter().enumerate().map(|(k, &n)| if k == axis { 1 } else { n }).collect::<Shape>()
    };
    let common = broadcast_shapes(op, &without(x), &without(indices))?;
    let fit = |v: &Array| {
        let mut shape = common.clone();
        shape[axis] = v.shape()[axis];
        ops::try_broadcast_to(v, &shape)
    };
    Ok((fit(x)?, fit(indices)?, axis))
}

fn scatter_along_axis(
    op: &'static str,
    kind: Kind,
    x: &Array,
    indices: &Array,
    values: &Array,
    axis: isize,
) -> Result<Array> {
    check_indices(op, indices)?;
    let axis = normalize_axis(op, axis, x.ndim())?;
    let mut shape = Shape::from_slice(x.shape());
    shape[axis] = indices.shape().get(axis).copied().unwrap_or(0);
    let indices = ops::try_broadcast_to(indices, &shape)?;
    let values = ops::try_broadcast_to(&ops::to_dtype(values, x.dtype()), &shape)?;
    scatter_along(op, kind, x, &indices, axis, &values)
}

/// How [`index_update`] combines.
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
fn simple(op: &'static str, x: &Array, indices: &[Index]) -> Result<Option<(Window, Shape)>> {
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
struct Plan {
    window: Window,
    /// Shape of the window without the axes that integers removed, and with new axes.
    shape: Shape,
    /// Index arrays with the axis of `shape` that each one stands for.
    arrays: Vec<(usize, Array)>,
    /// Where the axes of the (broadcast) index arrays stand in the result.
    place: usize,
}

impl Plan {
    fn new(op: &'static str, x: &Array, indices: &[Index]) -> Result<Self> {
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

    fn read(mut self, x: &Array) -> Result<Array> {
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

    fn write(&self, op: &'static str, x: &Array, value: &Array, how: Option<Update>) -> Result<Array> {
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
