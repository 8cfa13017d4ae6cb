//! The operators of `array`: with arrays, numbers and other libraries' arrays, on either side and in place.

#![allow(
    unsafe_op_in_unsafe_fn,
    reason = "`#[pymethods]` makes unsafe functions for methods that a macro writes; this file has no other unsafe code"
)]

use crate::array::PyArray;
use crate::convert::{Operand, describe, remedy};
use crate::errors::OrRaise;
use crate::scalar::Scalar;
use covector_core::{Array, Result, ops};
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pyclass::CompareOp;
use pyo3::types::{PyDict, PyList, PyString, PyTuple};
use std::cmp::Ordering;

type Binary = fn(&Array, &Array) -> Result<Array>;

/// The other operand as an array beside `x`; `None` if it is not an operand.
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
    format!("[{op}] cannot combine an array with {}; {}", describe(other), remedy(other))
}

/// The result for an object that is not an operand: an error for containers and for numbers that must be converted
/// first. For any other object `NotImplemented`, so that Python calls the method of the object's type.
fn declined<'py>(op: &str, other: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    if containers(other) {
        return Err(PyValueError::new_err(refuse(op, other)));
    }
    if crate::convert::is_number(other) {
        return Err(PyTypeError::new_err(refuse(op, other)));
    }
    Ok(other.py().NotImplemented().into_bound(other.py()))
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
    let Some(other) = beside(&x, other)? else { return declined(op, other) };
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

/// `(x // other, x % other)`.
fn divmod<'py>(x: &PyArray, other: &Bound<'py, PyAny>, reflected: bool) -> PyResult<Bound<'py, PyAny>> {
    let py = other.py();
    let x = x.get();
    let Some(other) = beside(&x, other)? else { return declined("divmod", other) };
    let (a, b) = if reflected { (&other, &x) } else { (&x, &other) };
    let parts = (ops::try_floor_divide(a, b).or_raise()?, ops::try_remainder(a, b).or_raise()?);
    (PyArray::new(parts.0), PyArray::new(parts.1)).into_bound_py_any(py)
}

/// A comparison: its operation, and whether it is true for an `x` that is less than, equal to or greater than the other.
pub(crate) struct Comparison {
    name: &'static str,
    f: Binary,
    holds: fn(Ordering) -> bool,
}

static COMPARISONS: [Comparison; 6] = [
    Comparison { name: "less", f: ops::try_less, holds: Ordering::is_lt },
    Comparison { name: "less_equal", f: ops::try_less_equal, holds: Ordering::is_le },
    Comparison { name: "equal", f: ops::try_equal, holds: Ordering::is_eq },
    Comparison { name: "not_equal", f: ops::try_not_equal, holds: Ordering::is_ne },
    Comparison { name: "greater", f: ops::try_greater, holds: Ordering::is_gt },
    Comparison { name: "greater_equal", f: ops::try_greater_equal, holds: Ordering::is_ge },
];

impl Comparison {
    /// The comparison with this name of an operation.
    pub(crate) fn of(name: &str) -> Option<&'static Comparison> {
        COMPARISONS.iter().find(|c| c.name == name)
    }

    /// The comparison of two operands. A weak operand adapts to the other. An integer out of the range of the array's type
    /// can be compared, too: every element is on one side of it.
    pub(crate) fn of_operands(&self, a: Operand, b: Operand) -> PyResult<Array> {
        let outside = match (&a, &b) {
            (Operand::Array(x), other) => other.outside(x.dtype()).map(|order| (x.clone(), order)),
            (other, Operand::Array(x)) => other.outside(x.dtype()).map(|order| (x.clone(), order.reverse())),
            _ => None,
        };
        if let Some((x, order)) = outside {
            return everywhere(&x, (self.holds)(order));
        }
        let (a, b) = crate::convert::pair_to_compare(a, b)?;
        (self.f)(&a, &b).or_raise()
    }

    fn run<'py>(
        &self,
        x: &PyArray,
        other: &Bound<'py, PyAny>,
        reflected: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = other.py();
        let x = x.get();
        let out = if let Ok(other) = other.cast_exact::<PyArray>() {
            let other = other.get().get();
            if reflected { (self.f)(&other, &x) } else { (self.f)(&x, &other) }.or_raise()?
        } else if let Some(scalar) = Scalar::of(other)?.filter(|s| s.outside(x.dtype()).is_none()) {
            let other = scalar.array_beside(x.dtype())?;
            if reflected { (self.f)(&other, &x) } else { (self.f)(&x, &other) }.or_raise()?
        } else if let Some(other) = Operand::of(other)? {
            let x = Operand::Array(x);
            if reflected { self.of_operands(other, x)? } else { self.of_operands(x, other)? }
        } else {
            return declined(self.name, other);
        };
        Ok(Bound::new(py, PyArray::new(out))?.into_any())
    }
}

/// One truth value in the shape of an array.
fn everywhere(x: &Array, value: bool) -> PyResult<Array> {
    ops::try_full(x.shape(), &Array::scalar(value)).or_raise()
}

/// The operation with this name in NumPy, of a NumPy object and the array to its right. `None` if no operator of Python
/// corresponds to it.
pub(crate) fn after_numpy<'py>(
    ufunc: &str,
    left: &Bound<'py, PyAny>,
    x: &PyArray,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    if let Some(comparison) = Comparison::of(ufunc) {
        return comparison.run(x, left, true).map(Some);
    }
    let (op, f): (&str, Binary) = match ufunc {
        "add" => ("add", ops::try_add),
        "subtract" => ("subtract", ops::try_subtract),
        "multiply" => ("multiply", ops::try_multiply),
        "divide" | "true_divide" => ("divide", ops::try_divide),
        "floor_divide" => ("floor_divide", ops::try_floor_divide),
        "remainder" => ("remainder", ops::try_remainder),
        "power" => ("power", ops::try_power),
        "matmul" => ("matmul", ops::try_matmul),
        "bitwise_and" => ("bitwise_and", ops::try_bitwise_and),
        "bitwise_or" => ("bitwise_or", ops::try_bitwise_or),
        "bitwise_xor" => ("bitwise_xor", ops::try_bitwise_xor),
        "left_shift" => ("left_shift", ops::try_left_shift),
        "right_shift" => ("right_shift", ops::try_right_shift),
        "divmod" => return divmod(x, left, true).map(Some),
        _ => return Ok(None),
    };
    binary(x, left, op, f, true).map(Some)
}

/// `x` to the power of `other`. The most common exponent, a literal 2, becomes a product, which is correctly rounded and
/// much cheaper than the general function, also in the derivative.
fn power<'py>(x: &PyArray, other: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    if squares(x, other)? {
        let out = ops::try_square(&x.get()).or_raise()?;
        return Ok(Bound::new(other.py(), PyArray::new(out))?.into_any());
    }
    binary(x, other, "power", ops::try_power, false)
}

/// Whether an exponent is a number that makes the power a square.
#[inline]
fn squares(x: &PyArray, exponent: &Bound<'_, PyAny>) -> PyResult<bool> {
    let scalar = match Scalar::of(exponent)? {
        Some(scalar) => scalar,
        None if exponent.is_exact_instance_of::<PyArray>() => return Ok(false),
        None => match crate::numpy::number(exponent)? {
            Some((scalar, _)) => scalar,
            None => return Ok(false),
        },
    };
    Ok(scalar.squares(x.peek(Array::dtype)))
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
                "[divide] dividing in place would change {dtype} to floating point; write x = x / y or x //= y"
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
        if squares(self, other)? {
            self.set(ops::try_square(&self.get()).or_raise()?);
            return Ok(());
        }
        in_place(self, other, "power", ops::try_power)
    }

    fn __divmod__<'py>(&self, other: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        divmod(self, other, false)
    }
    fn __rdivmod__<'py>(&self, other: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        divmod(self, other, true)
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
        let comparison = match op {
            CompareOp::Lt => &COMPARISONS[0],
            CompareOp::Le => &COMPARISONS[1],
            CompareOp::Eq => &COMPARISONS[2],
            CompareOp::Ne => &COMPARISONS[3],
            CompareOp::Gt => &COMPARISONS[4],
            CompareOp::Ge => &COMPARISONS[5],
        };
        comparison.run(self, other, false)
    }
}
