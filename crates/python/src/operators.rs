//! The operators of `array`: with arrays, numbers and other libraries' arrays, on either side and in place.

#![allow(
    unsafe_op_in_unsafe_fn,
    reason = "the functions that `#[pymethods]` makes where a macro writes the methods; there is no other unsafe code here"
)]

use crate::array::PyArray;
use crate::convert::{Operand, describe};
use crate::errors::OrRaise;
use crate::scalar::Scalar;
use covector_core::{Array, Result, ops};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pyclass::CompareOp;
use pyo3::types::{PyDict, PyList, PyString, PyTuple};

type Binary = fn(&Array, &Array) -> Result<Array>;

/// The other operand as an array beside `x`; `None` when it is nothing that arrays operate with.
fn beside(x: &Array, other: &Bound<'_, PyAny>) -> PyResult<Option<Array>> {
    if let Ok(other) = other.cast_exact::<PyArray>() {
        return Ok(Some(other.get().get()));
    }
    if let Some(scalar) = Scalar::of(other)? {
        return scalar.array_beside(x.dtype()).map(Some);
    }
    match Operand::of(other)? {
        Some(operand) => operand.beside(x.dtype()).map(Some),
        None => Ok(None),
    }
}

fn containers(other: &Bound<'_, PyAny>) -> bool {
    other.is_instance_of::<PyList>()
        || other.is_instance_of::<PyTuple>()
        || other.is_instance_of::<PyString>()
        || other.is_instance_of::<PyDict>()
}

fn refuse(op: &str, other: &Bound<'_, PyAny>) -> String {
    format!("[{op}] cannot combine an array with {}; make an array of it with mx.array", describe(other))
}

fn binary<'py>(
    x: &PyArray,
    other: &Bound<'py, PyAny>,
    op: &str,
    f: Binary,
    reflected: bool,
) -> PyResult<Bound<'py, PyAny>> {
    let py = other.py();
    let x = x.get();
    let Some(other) = beside(&x, other)? else {
        if containers(other) {
            return Err(PyValueError::new_err(refuse(op, other)));
        }
        // Its own type may know what to do.
        return Ok(py.NotImplemented().into_bound(py));
    };
    let out = if reflected { f(&other, &x) } else { f(&x, &other) };
    Ok(Bound::new(py, PyArray::new(out.or_raise()?))?.into_any())
}

fn in_place(x: &PyArray, other: &Bound<'_, PyAny>, op: &str, f: Binary) -> PyResult<()> {
    let array = x.get();
    let Some(value) = beside(&array, other)? else {
        let text = refuse(op, other);
        return Err(if containers(other) { PyValueError::new_err(text) } else { PyTypeError::new_err(text) });
    };
    x.set(f(&array, &value).or_raise()?);
    Ok(())
}

macro_rules! operators {
    ($($plain:ident $reflected:ident $in_place:ident: $op:literal $f:path;)*) => {
        #[pymethods]
        impl PyArray {$(
            fn $plain<'py>(&self, other: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
                binary(self, other, $op, $f, false)
            }
            fn $reflected<'py>(&self, other: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
                binary(self, other, $op, $f, true)
            }
            fn $in_place(&self, other: &Bound<'_, PyAny>) -> PyResult<()> {
                in_place(self, other, $op, $f)
            }
        )*}
    };
}
operators! {
    __add__ __radd__ __iadd__: "add" ops::try_add;
    __sub__ __rsub__ __isub__: "subtract" ops::try_subtract;
    __mul__ __rmul__ __imul__: "multiply" ops::try_multiply;
    __floordiv__ __rfloordiv__ __ifloordiv__: "floor_divide" ops::try_floor_divide;
    __mod__ __rmod__ __imod__: "remainder" ops::try_remainder;
    __matmul__ __rmatmul__ __imatmul__: "matmul" ops::try_matmul;
    __and__ __rand__ __iand__: "bitwise_and" ops::try_bitwise_and;
    __or__ __ror__ __ior__: "bitwise_or" ops::try_bitwise_or;
    __xor__ __rxor__ __ixor__: "bitwise_xor" ops::try_bitwise_xor;
    __lshift__ __rlshift__ __ilshift__: "left_shift" ops::try_left_shift;
    __rshift__ __rrshift__ __irshift__: "right_shift" ops::try_right_shift;
}

/// `x` to the power of `other`. The most common power of all, a literal 2, is a product: correctly rounded, where the
/// general function may be off by a digit, and a small part of its work, also in the derivative.
fn power<'py>(x: &PyArray, other: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    if let Some(scalar) = Scalar::of(other)?
        && scalar.squares(x.peek(Array::dtype))
    {
        let out = ops::try_square(&x.get()).or_raise()?;
        return Ok(Bound::new(other.py(), PyArray::new(out))?.into_any());
    }
    binary(x, other, "power", ops::try_power, false)
}

fn no_modulus(modulus: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
    match modulus {
        None => Ok(()),
        Some(m) if m.is_none() => Ok(()),
        Some(_) => {
            Err(PyTypeError::new_err("[power] arrays have no power with a modulus; write (x ** n) % m"))
        }
    }
}

#[pymethods]
impl PyArray {
    fn __truediv__<'py>(&self, other: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        binary(self, other, "divide", ops::try_divide, false)
    }
    fn __rtruediv__<'py>(&self, other: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        binary(self, other, "divide", ops::try_divide, true)
    }
    fn __itruediv__(&self, other: &Bound<'_, PyAny>) -> PyResult<()> {
        let dtype = self.peek(Array::dtype);
        if !dtype.is_inexact() {
            return Err(PyValueError::new_err(format!(
                "[divide] dividing in place would turn {dtype} into floating point; write x = x / y or x //= y"
            )));
        }
        in_place(self, other, "divide", ops::try_divide)
    }
    fn __pow__<'py>(
        &self,
        other: &Bound<'py, PyAny>,
        modulus: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        no_modulus(modulus)?;
        power(self, other)
    }
    fn __rpow__<'py>(
        &self,
        other: &Bound<'py, PyAny>,
        modulus: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        no_modulus(modulus)?;
        binary(self, other, "power", ops::try_power, true)
    }
    fn __ipow__(&self, other: &Bound<'_, PyAny>, modulus: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        no_modulus(modulus)?;
        if let Some(scalar) = Scalar::of(other)?
            && scalar.squares(self.peek(Array::dtype))
        {
            self.set(ops::try_square(&self.get()).or_raise()?);
            return Ok(());
        }
        in_place(self, other, "power", ops::try_power)
    }

    fn __neg__(&self) -> PyResult<Self> {
        ops::try_negative(&self.get()).or_raise().map(Self::new)
    }
    fn __pos__(&self) -> Self {
        Self::new(self.get())
    }
    fn __abs__(&self) -> PyResult<Self> {
        ops::try_abs(&self.get()).or_raise().map(Self::new)
    }
    fn __invert__(&self) -> PyResult<Self> {
        ops::try_bitwise_invert(&self.get()).or_raise().map(Self::new)
    }

    fn __richcmp__<'py>(&self, other: &Bound<'py, PyAny>, op: CompareOp) -> PyResult<Bound<'py, PyAny>> {
        let py = other.py();
        if containers(other) {
            return Ok(py.NotImplemented().into_bound(py));
        }
        let (name, f): (&str, Binary) = match op {
            CompareOp::Lt => ("less", ops::try_less),
            CompareOp::Le => ("less_equal", ops::try_less_equal),
            CompareOp::Eq => ("equal", ops::try_equal),
            CompareOp::Ne => ("not_equal", ops::try_not_equal),
            CompareOp::Gt => ("greater", ops::try_greater),
            CompareOp::Ge => ("greater_equal", ops::try_greater_equal),
        };
        binary(self, other, name, f, false)
    }
}
