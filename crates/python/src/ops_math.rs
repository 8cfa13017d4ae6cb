//! Elementwise functions that are no rows of the core's tables, and linear algebra.

use crate::array::PyArray;
use crate::convert::{Arr, Ints, Value, pair};
use crate::dtype::DtypeArg;
use crate::errors::OrRaise;
use crate::functions::functions;
use covector_core::{Array, ops};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};

fn wrap(result: covector_core::Result<Array>) -> PyResult<PyArray> {
    result.or_raise().map(PyArray::new)
}

/// Arrays for a choice between two: numbers are weak beside whichever of the others is an array.
fn limit(x: &Array, value: Option<Value>) -> PyResult<Option<Array>> {
    value.map(|v| v.0.beside(x.dtype())).transpose()
}

functions! {
    /// The absolute value; for complex arrays the modulus, a `float32` array.
    fn abs ["abs": a, /] (a: Value) -> PyArray {
        wrap(ops::try_abs(&a.0.alone()?))
    }

    /// The sign: -1, 0 or 1; for complex arrays `z / abs(z)`, and 0 for 0.
    fn sign ["sign": a, /] (a: Value) -> PyArray {
        wrap(ops::try_sign(&a.0.alone()?))
    }

    /// The array itself.
    fn positive ["positive": a, /] (a: Value) -> PyArray {
        Ok(PyArray::new(a.0.alone()?))
    }

    /// The real part.
    fn real ["real": a, /] (a: Arr) -> PyArray {
        wrap(ops::try_real(&a))
    }

    /// The imaginary part; zeros for a real array.
    fn imag ["imag": a, /] (a: Arr) -> PyArray {
        wrap(ops::try_imag(&a))
    }

    /// The complex conjugate.
    fn conj ["conj": a, /] (a: Value) -> PyArray {
        wrap(ops::try_conjugate(&a.0.alone()?))
    }

    /// The complex conjugate.
    fn conjugate ["conjugate": a, /] (a: Value) -> PyArray {
        wrap(ops::try_conjugate(&a.0.alone()?))
    }

    /// Each element rounded to `decimals` places, halves to even; negative places round to tens, hundreds, ….
    fn round ["round": a, /, decimals = 0] (a: Value, decimals: i32) -> PyArray {
        wrap(ops::try_round(&a.0.alone()?, decimals))
    }

    /// NaN replaced by `nan`, and infinities by `posinf` and `neginf` or the type's extremes.
    fn nan_to_num ["nan_to_num": a, nan = 0.0, posinf = None, neginf = None]
        (a: Value, nan: f64, posinf: Option<f64>, neginf: Option<f64>) -> PyArray
    {
        wrap(ops::try_nan_to_num(&a.0.alone()?, nan, posinf, neginf))
    }

    /// Quotient, rounded down, and remainder: `[a // b, a % b]`.
    fn divmod <py> ["divmod": a, b] (a: Value, b: Value) -> Bound<'py, PyList> {
        let (a, b) = pair(a.0, b.0)?;
        let quotient = ops::try_floor_divide(&a, &b).or_raise()?;
        let remainder = ops::try_remainder(&a, &b).or_raise()?;
        PyList::new(py, [PyArray::new(quotient), PyArray::new(remainder)])
    }

    /// Whether exactly one of the two is true (not zero).
    fn logical_xor ["logical_xor": a, b, /] (a: Value, b: Value) -> PyArray {
        wrap(ops::try_logical_xor(&a.0.alone()?, &b.0.alone()?))
    }

    /// Elements of `x` where the condition is true (not zero), of `y` elsewhere.
    ///
    /// The gradient of the branch that was not chosen is zero, but a NaN in its derivative still spreads: make
    /// the argument of that branch harmless first, then choose.
    fn where_ ["where": condition, x, y, /] (condition: Value, x: Value, y: Value) -> PyArray {
        let (x, y) = pair(x.0, y.0)?;
        wrap(ops::try_where_(&condition.0.alone()?, &x, &y))
    }

    /// Each element limited to the range from `a_min` to `a_max`; either may be `None`.
    fn clip ["clip": a, /, a_min = None, a_max = None] (a: Value, a_min: Option<Value>, a_max: Option<Value>) -> PyArray {
        let a = a.0.alone()?;
        let (low, high) = (limit(&a, a_min)?, limit(&a, a_max)?);
        wrap(ops::try_clip(&a, low.as_ref(), high.as_ref()))
    }

    /// Whether `abs(a - b) <= atol + rtol * abs(b)`, elementwise; equal infinities are close, NaN only with
    /// `equal_nan`.
    fn isclose ["isclose": a, b, /, rtol = 1e-5, atol = 1e-8, *, equal_nan = false]
        (a: Value, b: Value, rtol: f64, atol: f64, equal_nan: bool) -> PyArray
    {
        let (a, b) = pair(a.0, b.0)?;
        wrap(ops::try_isclose(&a, &b, rtol, atol, equal_nan))
    }

    /// Whether all elements are close; see `isclose`.
    fn allclose ["allclose": a, b, /, rtol = 1e-5, atol = 1e-8, *, equal_nan = false]
        (a: Value, b: Value, rtol: f64, atol: f64, equal_nan: bool) -> PyArray
    {
        let (a, b) = pair(a.0, b.0)?;
        wrap(ops::try_allclose(&a, &b, rtol, atol, equal_nan))
    }

    /// Whether shapes and all elements are equal; NaN only with `equal_nan`.
    fn array_equal ["array_equal": a, b, equal_nan = false] (a: Value, b: Value, equal_nan: bool) -> PyArray {
        let (a, b) = pair(a.0, b.0)?;
        wrap(ops::try_array_equal(&a, &b, equal_nan))
    }

    /// The array in another element type. Between inexact types the gradient passes; others have none.
    fn astype ["astype": a, dtype, /] (a: Value, dtype: DtypeArg) -> PyArray {
        wrap(a.0.alone()?.try_astype(dtype.0))
    }

    /// The bytes of the array read as another element type.
    fn view ["view": a, dtype] (a: Value, dtype: DtypeArg) -> PyArray {
        wrap(a.0.alone()?.try_view(dtype.0))
    }

    /// The matrix product over the last two axes; axes in front broadcast, and a vector counts as one row on the
    /// left and one column on the right.
    fn matmul ["matmul": a, b, /] (a: Arr, b: Arr) -> PyArray {
        wrap(ops::try_matmul(&a, &b))
    }

    /// `alpha * (a @ b) + beta * c`.
    fn addmm ["addmm": c, a, b, /, alpha = 1.0, beta = 1.0] (c: Arr, a: Arr, b: Arr, alpha: f64, beta: f64) -> PyArray {
        wrap(ops::try_addmm(&c, &a, &b, alpha, beta))
    }

    /// The sum of products over the last axes of both.
    fn inner ["inner": a, b, /] (a: Arr, b: Arr) -> PyArray {
        wrap(ops::try_inner(&a, &b))
    }

    /// Every element of one times every element of the other, both flattened.
    fn outer ["outer": a, b, /] (a: Arr, b: Arr) -> PyArray {
        wrap(ops::try_outer(&a, &b))
    }

    /// The sum of products along one axis of both; the first is conjugated.
    fn vecdot ["vecdot": a, b, /, *, axis = -1] (a: Arr, b: Arr, axis: isize) -> PyArray {
        wrap(ops::try_vecdot(&a, &b, axis))
    }

    /// The Kronecker product: every element of `a` times all of `b`.
    fn kron ["kron": a, b] (a: Arr, b: Arr) -> PyArray {
        wrap(ops::try_kron(&a, &b))
    }

    /// The sum of products over pairs of axes: the last `axes` of `a` with the first of `b`, or two lists of axes.
    fn tensordot ["tensordot": a, b, /, axes = None] (a: Arr, b: Arr, axes: Option<Bound<'py, PyAny>>) -> PyArray {
        let (left, right) = pairs(&a, axes.as_ref())?;
        wrap(ops::try_tensordot(&a, &b, &left, &right))
    }

    /// The sum of products that the subscripts describe: a letter names an axis of each operand, and letters that are
    /// not in the output are summed over.
    ///
    /// `"ij,jk->ik"` is the matrix product, `"ii->i"` the diagonal. `...` stands for further axes. Without `->` the
    /// output has the ellipsis and then, in alphabetical order, the letters that stand once. Extents of 1 stretch.
    fn einsum ["einsum": subscripts, *operands] (subscripts: &str, operands: Bound<'py, PyTuple>) -> PyArray {
        wrap(ops::try_einsum(subscripts, &all_arrays("einsum", &operands)?))
    }

    /// The order in which `einsum` contracts operands like these, as a list of their positions in each step, and a
    /// report of what it saves. Operands that were contracted leave the list, and the result goes to its end.
    fn einsum_path <py> ["einsum_path": subscripts, *operands] (subscripts: &str, operands: Bound<'py, PyTuple>) -> Bound<'py, PyTuple> {
        let path = ops::try_einsum_path(subscripts, &all_arrays("einsum_path", &operands)?).or_raise()?;
        let steps = path.contractions.iter().map(|step| PyTuple::new(py, step)).collect::<PyResult<Vec<_>>>()?;
        PyTuple::new(py, [PyList::new(py, steps)?.into_any(), path.to_string().into_pyobject(py)?.into_any()])
    }
}

/// The operands of a function that takes any number of them.
fn all_arrays(op: &str, operands: &Bound<'_, PyTuple>) -> PyResult<Vec<Array>> {
    let one = |(i, x): (usize, Bound<'_, PyAny>)| {
        x.extract::<Arr>().map(|x| x.0).map_err(|_| {
            PyTypeError::new_err(format!(
                "[{op}] operand {i} is {}, not an array; pass arrays one by one, and make them with mx.array",
                crate::convert::describe(&x)
            ))
        })
    };
    operands.iter().enumerate().map(one).collect()
}

/// The axes `tensordot` pairs.
fn pairs(a: &Array, axes: Option<&Bound<'_, PyAny>>) -> PyResult<(Vec<isize>, Vec<isize>)> {
    let count = match axes {
        None => 2,
        Some(axes) => match axes.extract::<isize>() {
            Ok(count) => count,
            Err(_) => {
                let lists: Vec<Ints> = axes.extract().map_err(|_| {
                    PyTypeError::new_err(format!(
                        "[tensordot] axes must be an int or two lists of ints, not {}",
                        crate::convert::describe(axes)
                    ))
                })?;
                let [left, right] = &lists[..] else {
                    return Err(PyValueError::new_err(format!(
                        "[tensordot] axes holds {} lists; give one for each array",
                        lists.len()
                    )));
                };
                return Ok((left.values.to_vec(), right.values.to_vec()));
            }
        },
    };
    if count < 0 || count as usize > a.ndim() {
        return Err(PyValueError::new_err(format!(
            "[tensordot] {count} axes cannot be paired: the first array has {}",
            a.ndim()
        )));
    }
    Ok((((a.ndim() as isize - count)..a.ndim() as isize).collect(), (0..count).collect()))
}

#[pymethods]
impl PyArray {
    /// The array in another element type. Between inexact types the gradient passes; others have none.
    #[pyo3(signature = (dtype, stream = None))]
    fn astype(&self, dtype: DtypeArg, stream: Option<crate::convert::Stream>) -> PyResult<PyArray> {
        let _ = stream;
        wrap(self.get().try_astype(dtype.0))
    }

    /// The bytes of the array read as another element type.
    #[pyo3(signature = (dtype, *, stream = None))]
    fn view(&self, dtype: DtypeArg, stream: Option<crate::convert::Stream>) -> PyResult<PyArray> {
        let _ = stream;
        wrap(self.get().try_view(dtype.0))
    }

    /// The absolute value; for complex arrays the modulus, a `float32` array.
    #[pyo3(signature = (*, stream = None))]
    fn abs(&self, stream: Option<crate::convert::Stream>) -> PyResult<PyArray> {
        let _ = stream;
        wrap(ops::try_abs(&self.get()))
    }

    /// The complex conjugate.
    #[pyo3(signature = (*, stream = None))]
    fn conj(&self, stream: Option<crate::convert::Stream>) -> PyResult<PyArray> {
        let _ = stream;
        wrap(ops::try_conjugate(&self.get()))
    }

    /// Each element rounded to `decimals` places, halves to even; negative places round to tens, hundreds, ….
    #[pyo3(signature = (decimals = 0, stream = None))]
    fn round(&self, decimals: i32, stream: Option<crate::convert::Stream>) -> PyResult<PyArray> {
        let _ = stream;
        wrap(ops::try_round(&self.get(), decimals))
    }
}
