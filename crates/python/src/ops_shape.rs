//! Operations that move elements and whose arguments take several forms: they are read here.

use crate::array::PyArray;
use crate::convert::{Arr, Arrays, Ints, Stream, Value, describe};
use crate::errors::OrRaise;
use crate::functions::functions;
use covector_core::ops::{self, Index};
use covector_core::{Array, Dtype};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};
use smallvec::SmallVec;

fn wrap(result: covector_core::Result<Array>) -> PyResult<PyArray> {
    result.or_raise().map(PyArray::new)
}

fn flat(x: &Array) -> PyResult<Array> {
    x.try_reshape(&[x.size() as isize]).or_raise()
}

/// Sections of an axis: a number of equal ones, or the places of the cuts.
fn cut<'py>(py: Python<'py>, x: &Array, sections: &Ints, axis: isize) -> PyResult<Bound<'py, PyList>> {
    let parts = if sections.single {
        let Ok(count) = usize::try_from(sections.values[0]) else {
            return Err(PyValueError::new_err(format!(
                "[split] {} sections cannot be made",
                sections.values[0]
            )));
        };
        ops::try_split(x, count, axis)
    } else {
        ops::try_split_at(x, &sections.values, axis)
    };
    PyList::new(py, parts.or_raise()?.into_iter().map(PyArray::new))
}

/// The axes of `reshape` and `transpose` as methods: one sequence, or one argument each.
fn unpack(arguments: &Bound<'_, PyTuple>) -> PyResult<SmallVec<[isize; 4]>> {
    if arguments.len() == 1 {
        let only = arguments.get_item(0)?;
        return Ok(if only.is_none() { SmallVec::new() } else { only.extract::<Ints>()?.values });
    }
    Ok(arguments.as_any().extract::<Ints>()?.values)
}

/// The widths of `pad`: one number, one pair for all axes, or one pair for each.
fn widths(x: &Array, width: &Bound<'_, PyAny>) -> PyResult<(Vec<usize>, Vec<usize>)> {
    let n = x.ndim();
    let wrong = || {
        PyTypeError::new_err(format!(
            "[pad] pad_width must be an int, a pair of ints or one pair for each axis, not negative; got {}",
            width.repr().map_or_else(|_| describe(width), |r| r.to_string())
        ))
    };
    if let Ok(all) = width.extract::<usize>() {
        return Ok((vec![all; n], vec![all; n]));
    }
    if let Ok(pair) = width.extract::<Vec<usize>>() {
        return match pair[..] {
            [all] => Ok((vec![all; n], vec![all; n])),
            [low, high] => Ok((vec![low; n], vec![high; n])),
            _ => Err(wrong()),
        };
    }
    let pairs: Vec<Vec<usize>> = width.extract().map_err(|_| wrong())?;
    let split = |p: &Vec<usize>| match p[..] {
        [both] => Ok((both, both)),
        [low, high] => Ok((low, high)),
        _ => Err(wrong()),
    };
    let pairs: Vec<(usize, usize)> = pairs.iter().map(split).collect::<PyResult<_>>()?;
    match pairs[..] {
        [(low, high)] => Ok((vec![low; n], vec![high; n])),
        _ if pairs.len() == n => Ok(pairs.into_iter().unzip()),
        _ => Err(PyValueError::new_err(format!(
            "[pad] {} pairs were given for an array with {n} axes",
            pairs.len()
        ))),
    }
}

/// The place in an axis of extent `n` that place `i` of the padded one shows.
fn mirrored(i: isize, n: isize, mode: &str) -> isize {
    match mode {
        "edge" => i.clamp(0, n - 1),
        "symmetric" => {
            let k = i.rem_euclid(2 * n);
            if k < n { k } else { 2 * n - 1 - k }
        }
        _ => {
            if n == 1 {
                return 0;
            }
            let k = i.rem_euclid(2 * (n - 1));
            if k < n { k } else { 2 * (n - 1) - k }
        }
    }
}

fn padded(x: &Array, width: &Bound<'_, PyAny>, mode: &str, value: Option<Value>) -> PyResult<Array> {
    let (low, high) = widths(x, width)?;
    if mode == "constant" {
        let value = match value {
            Some(value) => value.0.beside(x.dtype())?,
            None => ops::constant_like(x, 0.0),
        };
        return x.try_pad(&low, &high, &value).or_raise();
    }
    if !["edge", "reflect", "symmetric"].contains(&mode) {
        return Err(PyValueError::new_err(format!(
            "[pad] {mode:?} is no mode; use constant, edge, reflect or symmetric"
        )));
    }
    let mut out = x.clone();
    for axis in 0..x.ndim() {
        let n = x.shape()[axis];
        if low[axis] + high[axis] == 0 {
            continue;
        }
        if n == 0 {
            return Err(PyValueError::new_err(format!(
                "[pad] axis {axis} is empty; there is nothing to pad it with in mode {mode:?}"
            )));
        }
        let places: Vec<i32> = (-(low[axis] as isize)..(n + high[axis]) as isize)
            .map(|i| mirrored(i, n as isize, mode) as i32)
            .collect();
        let places = Array::from_slice(&places, &[places.len()]).or_raise()?;
        out = out.try_take(&places, axis as isize).or_raise()?;
    }
    Ok(out)
}

/// Where a window starts, for `slice` and `slice_update`. Where the start has no value, inside `vmap`, the window
/// is one of index arrays, and what lies outside shows when the values are computed.
fn corner(
    op: &'static str,
    x: &Array,
    start: &Array,
    axes: &Ints,
    extents: &[usize],
) -> PyResult<Vec<Index>> {
    let start = flat(start)?.try_astype(Dtype::I64).or_raise()?;
    if start.size() != axes.values.len() {
        return Err(PyValueError::new_err(format!(
            "[{op}] {} start indices were given for {} axes",
            start.size(),
            axes.values.len()
        )));
    }
    let known = start.try_to_vec::<i64>().ok();
    let n = x.ndim();
    let mut out: Vec<Index> = extents.iter().map(|&n| Index::Slice(Some(0), Some(n as isize), 1)).collect();
    let line = |axis: usize, count: usize| -> covector_core::Result<Array> {
        let mut shape = vec![1; n];
        shape[axis] = count as isize;
        ops::try_arange(0, count, 1, Dtype::I64)?.try_reshape(&shape)
    };
    if known.is_none() {
        for (axis, &count) in extents.iter().enumerate() {
            out[axis] = Index::Array(line(axis, count).or_raise()?);
        }
    }
    for (k, &axis) in axes.values.iter().enumerate() {
        let axis = covector_core::shape::normalize_axis(op, axis, n).or_raise()?;
        out[axis] = match &known {
            Some(starts) => {
                let (extent, have) = (extents[axis] as i64, x.shape()[axis] as i64);
                if starts[k] < 0 || starts[k].saturating_add(extent) > have {
                    return Err(PyValueError::new_err(format!(
                        "[{op}] {extent} elements from {} on lie outside axis {axis} with extent {have}",
                        starts[k]
                    )));
                }
                Index::Slice(Some(starts[k] as isize), Some((starts[k] + extent) as isize), 1)
            }
            None => {
                let first = start.try_index(&[Index::At(k as isize)]).or_raise()?;
                Index::Array(ops::try_add(&line(axis, extents[axis]).or_raise()?, &first).or_raise()?)
            }
        };
    }
    Ok(out)
}

functions! {
    /// All the arrays broadcast to one shape.
    fn broadcast_arrays <py> ["broadcast_arrays": *arrays] (arrays: Bound<'py, PyTuple>) -> Bound<'py, PyList> {
        let arrays: Arrays = arrays.as_any().extract()?;
        let out = ops::try_broadcast_arrays(&arrays.0).or_raise()?;
        PyList::new(py, out.into_iter().map(PyArray::new))
    }

    /// The shape that the shapes broadcast to.
    fn broadcast_shapes <py> ["broadcast_shapes": *shapes] (shapes: Bound<'py, PyTuple>) -> Bound<'py, PyTuple> {
        let mut all = covector_core::shape::Shape::new();
        for shape in &shapes {
            let shape = shape.extract::<Ints>()?.shape("broadcast_shapes")?;
            all = covector_core::shape::broadcast_shapes("broadcast_shapes", &all, &shape).or_raise()?;
        }
        PyTuple::new(py, all)
    }

    /// An axis cut into equal parts, or at the given places.
    fn split <py> ["split": a, /, indices_or_sections, axis = 0] (a: Arr, indices_or_sections: Ints, axis: isize) -> Bound<'py, PyList> {
        cut(py, &a, &indices_or_sections, axis)
    }

    /// Elements added around the array: a constant, the edge, or a reflection without or with (`symmetric`) it.
    fn pad ["pad": a, pad_width, mode = "constant", constant_values = None]
        (a: Arr, pad_width: Bound<'py, PyAny>, mode: &str, constant_values: Option<Value>) -> PyArray
    {
        padded(&a, &pad_width, mode, constant_values).map(PyArray::new)
    }

    /// The elements moved along axes, those that fall off coming in again; flattened meanwhile without an axis.
    fn roll ["roll": a, shift, axis = None] (a: Arr, shift: Ints, axis: Option<Ints>) -> PyArray {
        let Some(axis) = axis else {
            let rolled = flat(&a)?.try_roll(shift.values.iter().sum(), 0).or_raise()?;
            let shape: Vec<isize> = a.shape().iter().map(|&n| n as isize).collect();
            return wrap(rolled.try_reshape(&shape));
        };
        if axis.single {
            return wrap(a.try_roll(shift.values.iter().sum(), axis.values[0]));
        }
        if !shift.single && shift.values.len() != axis.values.len() {
            return Err(PyValueError::new_err(format!("[roll] {} shifts were given for {} axes", shift.values.len(), axis.values.len())));
        }
        let mut out = a.0;
        for (k, &axis) in axis.values.iter().enumerate() {
            let by = if shift.single { shift.values[0] } else { shift.values[k] };
            out = out.try_roll(by, axis).or_raise()?;
        }
        Ok(PyArray::new(out))
    }

    /// The array in memory without gaps; it always is, seen from Python.
    fn contiguous ["contiguous": a, /, allow_col_major = false] (a: Arr, allow_col_major: bool) -> PyArray {
        let _ = allow_col_major;
        Ok(PyArray::new(a.0))
    }

    /// Elements of an axis by number, which gives way to the axes of `indices`; of the flattened array without one.
    fn take ["take": a, /, indices, axis = None] (a: Arr, indices: Bound<'py, PyAny>, axis: Option<isize>) -> PyArray {
        let indices = match indices.extract::<i64>() {
            Ok(i) if !indices.is_instance_of::<PyArray>() => Array::scalar(i),
            _ => indices.extract::<Arr>()?.0,
        };
        match axis {
            Some(axis) => wrap(a.try_take(&indices, axis)),
            None => wrap(flat(&a)?.try_take(&indices, 0)),
        }
    }

    /// A window of the array that starts, along `axes`, at the places an array holds.
    fn slice ["slice": a, start_indices, axes, slice_size] (a: Arr, start_indices: Arr, axes: Ints, slice_size: Ints) -> PyArray {
        let extents = slice_size.shape("slice")?;
        if extents.len() != a.ndim() {
            return Err(PyValueError::new_err(format!("[slice] slice_size has {} extents for an array with {} axes", extents.len(), a.ndim())));
        }
        wrap(a.try_index(&corner("slice", &a, &start_indices, &axes, &extents)?))
    }

    /// The array with a window, which starts, along `axes`, at the places an array holds, replaced by `update`.
    fn slice_update ["slice_update": a, update, start_indices, axes] (a: Arr, update: Arr, start_indices: Arr, axes: Ints) -> PyArray {
        let mut extents = vec![1; a.ndim().saturating_sub(update.ndim())];
        extents.extend_from_slice(update.shape());
        if extents.len() != a.ndim() {
            return Err(PyValueError::new_err(format!("[slice_update] an update with {} axes does not fit an array with {}", update.ndim(), a.ndim())));
        }
        wrap(a.try_index_set(&corner("slice_update", &a, &start_indices, &axes, &extents)?, &update))
    }
}

#[pymethods]
impl PyArray {
    /// The same elements in row-major order with another shape; one extent may be -1 and is worked out.
    #[pyo3(signature = (*shape, stream = None))]
    fn reshape(&self, shape: &Bound<'_, PyTuple>, stream: Option<Stream>) -> PyResult<PyArray> {
        let _ = stream;
        wrap(self.get().try_reshape(&unpack(shape)?))
    }

    /// Axes in another order: axis `k` of the result is axis `axes[k]`; all reversed without `axes`.
    #[pyo3(signature = (*axes, stream = None))]
    fn transpose(&self, axes: &Bound<'_, PyTuple>, stream: Option<Stream>) -> PyResult<PyArray> {
        let _ = stream;
        let none = axes.is_empty() || (axes.len() == 1 && axes.get_item(0)?.is_none());
        let axes = if none { SmallVec::new() } else { unpack(axes)? };
        if !none && axes.is_empty() && self.peek(Array::ndim) > 0 {
            return Err(PyValueError::new_err(
                "[transpose] an empty list of axes; leave it out to reverse all",
            ));
        }
        wrap(self.get().try_transpose(&axes))
    }

    /// An axis cut into equal parts, or at the given places.
    #[pyo3(signature = (indices_or_sections, axis = 0, *, stream = None))]
    fn split<'py>(
        &self,
        py: Python<'py>,
        indices_or_sections: Ints,
        axis: isize,
        stream: Option<Stream>,
    ) -> PyResult<Bound<'py, PyList>> {
        let _ = stream;
        cut(py, &self.get(), &indices_or_sections, axis)
    }
}
