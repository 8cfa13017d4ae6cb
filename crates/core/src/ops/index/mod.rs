//! Reading and writing parts of arrays: typed indices, slices, `take` and its relatives.

pub(crate) mod primitives;
mod subscript;

pub use subscript::{Index, Update};

use crate::array::Array;
use crate::error::{Error, Result};
use crate::ops;
use crate::ops::block::op;
use crate::ops::block::sample::{self, Entry, Input};
use crate::ops::index::primitives::{Gather, Scatter, ScatterAlong, TakeAlong};
use crate::ops::spec::Beside;
use crate::shape::{Dims, Shape, ShapeText, broadcast_shapes, normalize_axis};
use crate::wide;
use covector_kernels::Scatter as Kind;
use smallvec::smallvec;
use subscript::{Plan, simple};

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

    /// One element along `axis` for each element of `indices`, whose other extents broadcast with the array's.
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
