//! Arrays from nothing: constants, ranges, masks.

use crate::array::PyArray;
use crate::convert::{Arr, Ints, Operand, Value, array, describe};
use crate::dtype::DtypeArg;
use crate::errors::OrRaise;
use crate::functions::functions;
use crate::scalar::Scalar;
use covector_core::{Array, Dtype, ops};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};

fn wrap(result: covector_core::Result<Array>) -> PyResult<PyArray> {
    result.or_raise().map(PyArray::new)
}

fn or_f32(dtype: Option<DtypeArg>) -> Dtype {
    dtype.map_or(Dtype::F32, |d| d.0)
}

fn filled(op: &str, shape: &Ints, value: f64, dtype: Option<DtypeArg>) -> PyResult<PyArray> {
    let value = ops::constant(value, or_f32(dtype));
    wrap(ops::try_full(&shape.shape(op)?, &value))
}

fn filled_like(a: &Array, value: f64, dtype: Option<DtypeArg>) -> PyResult<PyArray> {
    let value = ops::constant(value, dtype.map_or(a.dtype(), |d| d.0));
    wrap(ops::try_full(a.shape(), &value))
}

/// A bound of a range: a number, and whether it is a fraction.
fn bound(op: &str, name: &str, value: &Bound<'_, PyAny>) -> PyResult<Scalar> {
    let scalar = match Scalar::of(value)? {
        Some(scalar) => Some(scalar),
        // A number of NumPy's, or an array of one element.
        None => match value.call_method0("item") {
            Ok(item) => Scalar::of(&item)?,
            Err(_) => None,
        },
    };
    match scalar {
        Some(Scalar::Bool(_)) => {
            Err(PyValueError::new_err(format!("[{op}] {name} is a truth value; give a number")))
        }
        Some(Scalar::Complex(..)) | None => {
            Err(PyTypeError::new_err(format!("[{op}] {name} must be a real number, not {}", describe(value))))
        }
        Some(scalar) => Ok(scalar),
    }
}

fn float(scalar: Scalar) -> f64 {
    <f64 as crate::scalar::FromScalar>::from_scalar(scalar)
}

fn range(start: Scalar, stop: Scalar, step: Scalar, dtype: Option<Dtype>) -> PyResult<PyArray> {
    let all = [start, stop, step];
    let dtype = dtype.unwrap_or_else(|| {
        let natural = all.map(Scalar::natural);
        if natural.contains(&Dtype::F32) {
            Dtype::F32
        } else if natural.contains(&Dtype::U64) {
            Dtype::U64
        } else if natural.iter().all(|&d| d == Dtype::I32) {
            Dtype::I32
        } else {
            Dtype::I64
        }
    });
    let [from, to, by] = all.map(|v| match v {
        Scalar::Int(v) => ops::Bound::from(v),
        Scalar::Uint(v) => ops::Bound::from(v),
        other => ops::Bound::from(float(other)),
    });
    wrap(ops::try_arange(from, to, by, dtype))
}

fn side(op: &str, name: &str, n: isize) -> PyResult<usize> {
    usize::try_from(n)
        .map_err(|_| PyValueError::new_err(format!("[{op}] {name} is {n}; it must not be negative")))
}

functions! {
    /// An array whose values do not matter; they are zeros.
    fn empty ["empty": shape, dtype = None] (shape: Ints, dtype: Option<DtypeArg>) -> PyArray {
        filled("empty", &shape, 0.0, dtype)
    }

    /// An array of another's shape and type whose values do not matter; they are zeros.
    fn empty_like ["empty_like": a, /, dtype = None] (a: Arr, dtype: Option<DtypeArg>) -> PyArray {
        filled_like(&a, 0.0, dtype)
    }

    /// An array filled with `vals`, which broadcasts to the shape. Beside a `dtype`, a value of a higher kind
    /// wins, as in arithmetic.
    fn full ["full": shape, vals, dtype = None] (shape: Ints, vals: Value, dtype: Option<DtypeArg>) -> PyArray {
        let shape = shape.shape("full")?;
        let value = match (vals.0, dtype) {
            (value, None) => value.alone()?,
            (Operand::Array(value), Some(dtype)) => {
                let dtype = covector_core::dtype::promote(value.dtype(), dtype.0);
                value.try_astype(dtype).or_raise()?
            }
            (value, Some(dtype)) => value.beside(dtype.0)?,
        };
        wrap(ops::try_full(&shape, &value))
    }

    /// An array of another's shape filled with `vals`, in the other's type or in `dtype`.
    fn full_like ["full_like": a, vals, dtype = None] (a: Arr, vals: Value, dtype: Option<DtypeArg>) -> PyArray {
        let dtype = dtype.map_or(a.dtype(), |d| d.0);
        wrap(ops::try_full(a.shape(), &vals.0.astype(dtype)?))
    }

    /// `start, start + step, …` as far as `stop`, which is not included; `arange(stop)` starts at 0.
    fn arange ["arange": start = None, stop = None, step = None, dtype = None]
        (start: Option<Bound<'py, PyAny>>, stop: Option<Bound<'py, PyAny>>, step: Option<Bound<'py, PyAny>>, dtype: Option<DtypeArg>) -> PyArray
    {
        let get = |name: &str, value: &Option<Bound<'py, PyAny>>| {
            value.as_ref().map(|v| bound("arange", name, v)).transpose()
        };
        let dtype = dtype.map(|d| d.0);
        let (first, second, step) = (get("start", &start)?, get("stop", &stop)?, get("step", &step)?);
        let step = step.unwrap_or(Scalar::Int(1));
        match (first, second) {
            (Some(start), Some(stop)) => range(start, stop, step, dtype),
            (Some(stop), None) | (None, Some(stop)) => range(Scalar::Int(0), stop, step, dtype),
            (None, None) => Err(PyTypeError::new_err("[arange] where to stop is missing; write arange(stop) or arange(start, stop)")),
        }
    }

    /// `num` evenly spaced numbers from `start` to `stop`, which is included unless `endpoint` is false.
    fn linspace ["linspace": start, stop, num = Some(50), endpoint = true, dtype = None]
        (start: Bound<'py, PyAny>, stop: Bound<'py, PyAny>, num: Option<isize>, endpoint: bool, dtype: Option<DtypeArg>) -> PyArray
    {
        let start = float(bound("linspace", "start", &start)?);
        let stop = float(bound("linspace", "stop", &stop)?);
        let count = side("linspace", "num", num.unwrap_or(50))?;
        let dtype = or_f32(dtype);
        if endpoint || count == 0 {
            return wrap(ops::try_linspace(start, stop, count, dtype));
        }
        // The points of one more, without the last.
        let points = ops::try_linspace(start, stop, count + 1, dtype).or_raise()?;
        wrap(points.try_index(&[ops::Index::Slice(Some(0), Some(count as isize), 1)]))
    }

    /// Coordinate arrays of a grid from the coordinates along each axis.
    fn meshgrid <py> ["meshgrid": *arrays, sparse = Some(false), indexing = Some("xy")]
        (arrays: Bound<'py, PyTuple>, sparse: Option<bool>, indexing: Option<&str>) -> Bound<'py, PyTuple>
    {
        let arrays: crate::convert::Arrays = arrays.as_any().extract()?;
        let indexing = indexing.unwrap_or("xy");
        if indexing != "xy" && indexing != "ij" {
            return Err(PyValueError::new_err(format!("[meshgrid] indexing is {indexing:?}; it must be 'xy' or 'ij'")));
        }
        let out = ops::try_meshgrid(&arrays.0, sparse.unwrap_or(false), indexing == "xy").or_raise()?;
        PyTuple::new(py, out.into_iter().map(PyArray::new))
    }

    /// The array with at least one axis; a list of them for several arrays.
    fn atleast_1d <py> ["atleast_1d": *arys] (arys: Bound<'py, PyTuple>) -> Bound<'py, PyAny> {
        at_least(py, &arys, ops::try_atleast_1d)
    }

    /// The array with at least two axes; a list of them for several arrays.
    fn atleast_2d <py> ["atleast_2d": *arys] (arys: Bound<'py, PyTuple>) -> Bound<'py, PyAny> {
        at_least(py, &arys, ops::try_atleast_2d)
    }

    /// The array with at least three axes; a list of them for several arrays.
    fn atleast_3d <py> ["atleast_3d": *arys] (arys: Bound<'py, PyTuple>) -> Bound<'py, PyAny> {
        at_least(py, &arys, ops::try_atleast_3d)
    }
}

fn at_least<'py>(
    py: Python<'py>,
    arrays: &Bound<'py, PyTuple>,
    f: fn(&Array) -> covector_core::Result<Array>,
) -> PyResult<Bound<'py, PyAny>> {
    let mut out: Vec<PyArray> =
        arrays.iter().map(|item| wrap(f(&array(&item, None)?))).collect::<PyResult<_>>()?;
    if out.len() == 1 {
        return Ok(Bound::new(py, out.remove(0))?.into_any());
    }
    Ok(PyList::new(py, out)?.into_any())
}
