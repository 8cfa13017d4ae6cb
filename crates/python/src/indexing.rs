//! Subscripts: parsing of indices, reading, assigning, and `a.at[…]`.

use crate::array::PyArray;
use crate::convert::{self, Operand, describe};
use crate::errors::OrRaise;
use crate::foreign;
use covector_core::ops::{self, Index, Update};
use covector_core::{Array, Dtype};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyEllipsis, PyInt, PyList, PySlice, PyTuple};
use smallvec::{SmallVec, smallvec};

/// A bound of a slice, clamped to the extent of an axis, as Python does.
fn bound(slice: &Bound<'_, PySlice>, name: &Bound<'_, pyo3::types::PyString>) -> PyResult<Option<isize>> {
    let value = slice.getattr(name)?;
    if value.is_none() {
        return Ok(None);
    }
    match value.extract::<isize>() {
        Ok(v) => Ok(Some(v)),
        Err(_) if value.is_instance_of::<PyInt>() => {
            Ok(Some(if value.lt(0)? { -isize::MAX } else { isize::MAX }))
        }
        Err(_) => Err(PyTypeError::new_err(format!(
            "[index] the bounds of a slice must be ints or None, not {}",
            describe(&value)
        ))),
    }
}

/// An index array from a list or another library.
fn index_array(obj: &Bound<'_, PyAny>) -> PyResult<Index> {
    let array = convert::array(obj, None)?;
    if array.dtype().is_integer() || array.dtype() == Dtype::Bool {
        return Ok(Index::Array(array));
    }
    if array.size() == 0 {
        // An empty list has no type of its own.
        return Ok(Index::Array(array.try_astype(Dtype::I32).or_raise()?));
    }
    Err(PyValueError::new_err(format!(
        "[index] index arrays must hold integers or truth values, not {}",
        array.dtype()
    )))
}

fn one(obj: &Bound<'_, PyAny>) -> PyResult<Index> {
    if let Ok(int) = obj.cast_exact::<PyInt>() {
        return int.extract().map(Index::At);
    }
    if let Ok(slice) = obj.cast::<PySlice>() {
        let py = obj.py();
        let (mut start, mut stop, mut step) = (0, 0, 0);
        // SAFETY: the object is a slice, and the numbers are local variables.
        if unsafe { ffi::PySlice_Unpack(slice.as_ptr(), &mut start, &mut stop, &mut step) } == 0 {
            return Ok(Index::Slice(Some(start), Some(stop), step));
        }
        // The error below replaces Python's.
        drop(PyErr::take(py));
        let (start, stop) = (bound(slice, intern!(py, "start"))?, bound(slice, intern!(py, "stop"))?);
        return Ok(Index::Slice(start, stop, bound(slice, intern!(py, "step"))?.unwrap_or(1)));
    }
    if obj.is_none() {
        return Ok(Index::NewAxis);
    }
    if obj.is_instance_of::<PyEllipsis>() {
        return Ok(Index::Ellipsis);
    }
    if let Ok(array) = obj.cast::<PyArray>() {
        return Ok(Index::Array(array.get().get()));
    }
    if obj.is_instance_of::<PyBool>() {
        return Err(PyValueError::new_err(
            "[index] True and False are not indices; use an int, or None for a new axis",
        ));
    }
    if obj.is_instance_of::<PyList>() {
        return index_array(obj);
    }
    if let Ok(int) = obj.extract::<isize>() {
        return Ok(Index::At(int));
    }
    if foreign::is_array(obj) {
        return index_array(obj);
    }
    Err(PyValueError::new_err(format!(
        "[index] cannot index with {}; use ints, slices, None, ..., lists of ints, or integer or boolean arrays",
        describe(obj)
    )))
}

/// The indices between the brackets.
fn parse(obj: &Bound<'_, PyAny>) -> PyResult<SmallVec<[Index; 4]>> {
    match obj.cast::<PyTuple>() {
        Ok(tuple) => {
            let mut indices = SmallVec::new();
            for item in tuple.iter_borrowed() {
                indices.push(one(&item)?);
            }
            Ok(indices)
        }
        Err(_) => Ok(smallvec![one(obj)?]),
    }
}

/// `array[indices]`.
pub(crate) fn read(array: &Array, indices: &Bound<'_, PyAny>) -> PyResult<Array> {
    if let Ok(int) = indices.cast_exact::<PyInt>() {
        return array.try_index(&[Index::At(int.extract()?)]).or_raise();
    }
    array.try_index(&parse(indices)?).or_raise()
}

/// A value to be written. Python integers must fit the type; other values are converted as in C.
fn value_for(value: &Bound<'_, PyAny>, dtype: Dtype) -> PyResult<Array> {
    match Operand::of(value)? {
        Some(Operand::Scalar(scalar)) => {
            scalar.check(dtype)?;
            Ok(scalar.array(dtype))
        }
        Some(operand) => operand.astype(dtype),
        None => convert::array(value, Some(dtype)),
    }
}

/// The array after `array[indices] = value`.
pub(crate) fn write(array: &Array, indices: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<Array> {
    let value = value_for(value, array.dtype())?;
    if let Ok(all) = indices.cast::<PyBool>() {
        return if all.is_true() {
            array.try_index_set(&[Index::Ellipsis], &value).or_raise()
        } else {
            Ok(array.clone())
        };
    }
    let indices = parse(indices)?;
    if let [Index::Array(mask)] = &indices[..]
        && mask.dtype() == Dtype::Bool
        && value.ndim() == 0
        && array.shape().starts_with(mask.shape())
    {
        // One value for the whole mask needs no list of positions, so this works under vmap, too.
        let mut shape: Vec<isize> = mask.shape().iter().map(|&n| n as isize).collect();
        shape.resize(array.ndim(), 1);
        let mask = mask.try_reshape(&shape).or_raise()?;
        return ops::try_where_(&mask, &value, array).or_raise();
    }
    array.try_index_set(&indices, &value).or_raise()
}

/// Updates of a part of an array, which leave the array unchanged. If an index occurs several times, every one counts.
#[pyclass(frozen, name = "ArrayAt", module = "covector.core")]
pub(crate) struct ArrayAt {
    array: Array,
    indices: Option<Vec<Index>>,
}

impl ArrayAt {
    pub(crate) fn new(array: Array) -> Self {
        Self { array, indices: None }
    }

    fn update(&self, value: &Bound<'_, PyAny>, how: Update) -> PyResult<PyArray> {
        let Some(indices) = &self.indices else {
            return Err(PyValueError::new_err("[at] the update has no indices; write a.at[i].add(v)"));
        };
        let value = value_for(value, self.array.dtype())?;
        self.array.try_index_update(indices, &value, how).or_raise().map(PyArray::new)
    }
}

#[pymethods]
impl ArrayAt {
    fn __getitem__(&self, indices: &Bound<'_, PyAny>) -> PyResult<Self> {
        Ok(Self { array: self.array.clone(), indices: Some(parse(indices)?.into_vec()) })
    }

    /// The array with `value` added to the part.
    fn add(&self, value: &Bound<'_, PyAny>) -> PyResult<PyArray> {
        self.update(value, Update::Add)
    }

    /// The array with `value` subtracted from the part.
    fn subtract(&self, value: &Bound<'_, PyAny>) -> PyResult<PyArray> {
        self.update(value, Update::Subtract)
    }

    /// The array with the part multiplied by `value`.
    fn multiply(&self, value: &Bound<'_, PyAny>) -> PyResult<PyArray> {
        self.update(value, Update::Multiply)
    }

    /// The array with the part divided by `value`.
    fn divide(&self, value: &Bound<'_, PyAny>) -> PyResult<PyArray> {
        self.update(value, Update::Divide)
    }

    /// The array with the larger of the part and `value` in its place.
    fn maximum(&self, value: &Bound<'_, PyAny>) -> PyResult<PyArray> {
        self.update(value, Update::Maximum)
    }

    /// The array with the smaller of the part and `value` in its place.
    fn minimum(&self, value: &Bound<'_, PyAny>) -> PyResult<PyArray> {
        self.update(value, Update::Minimum)
    }
}
