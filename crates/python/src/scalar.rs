//! Python numbers: their element type on their own, their element type beside an array, and their conversion.
//!
//! A Python number is weak: it takes the array's element type unless its kind is higher (a fraction beside an integer
//! array gives `float32`). On its own, an `int` is `int32`, or `int64` if it does not fit.

use covector_core::{Array, C64, Dtype, bf16, f16};
use covector_kernels::half_bits::{f64_to_bf16, f64_to_f16};
use covector_kernels::with_dtype;
use pyo3::exceptions::PyValueError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyComplex, PyFloat, PyInt};
use std::cell::RefCell;
use std::cmp::Ordering;

/// A Python number.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Scalar {
    Bool(bool),
    Int(i64),
    /// An integer that fits only in 64 bits without a sign.
    Uint(u64),
    /// A larger integer, rounded to floating point.
    Huge(f64),
    Float(f64),
    Complex(f64, f64),
}
use Scalar::{Bool, Complex, Float, Huge, Int, Uint};

impl Scalar {
    /// The number in a Python object, if it is a number.
    pub(crate) fn of(obj: &Bound<'_, PyAny>) -> PyResult<Option<Self>> {
        if let Ok(v) = obj.cast_exact::<PyFloat>() {
            return Ok(Some(Float(v.value())));
        }
        if let Ok(v) = obj.cast_exact::<PyInt>() {
            return Self::int(v).map(Some);
        }
        if let Ok(v) = obj.cast::<PyBool>() {
            return Ok(Some(Bool(v.is_true())));
        }
        if let Ok(v) = obj.cast::<PyFloat>() {
            return Ok(Some(Float(v.value())));
        }
        if let Ok(v) = obj.cast::<PyInt>() {
            return Self::int(v).map(Some);
        }
        if let Ok(v) = obj.cast::<PyComplex>() {
            return Ok(Some(Complex(v.real(), v.imag())));
        }
        Ok(None)
    }

    fn int(v: &Bound<'_, PyInt>) -> PyResult<Self> {
        if let Ok(v) = v.extract::<i64>() {
            return Ok(Int(v));
        }
        if let Ok(v) = v.extract::<u64>() {
            return Ok(Uint(v));
        }
        // Beyond the range of floating point, too: only its sign is kept.
        Ok(Huge(
            v.extract::<f64>()
                .or_else(|_| v.lt(0).map(|low| if low { f64::NEG_INFINITY } else { f64::INFINITY }))?,
        ))
    }

    /// The element type of the number on its own.
    pub(crate) fn natural(self) -> Dtype {
        match self {
            Bool(_) => Dtype::Bool,
            Int(v) if i32::try_from(v).is_ok() => Dtype::I32,
            Int(_) => Dtype::I64,
            Uint(_) | Huge(_) => Dtype::U64,
            Float(_) => Dtype::F32,
            Complex(..) => Dtype::C64,
        }
    }

    /// The element type of the number beside an array of type `dtype`.
    pub(crate) fn beside(self, dtype: Dtype) -> Dtype {
        match self {
            Bool(_) => dtype,
            Int(_) | Uint(_) | Huge(_) if dtype == Dtype::Bool => self.natural(),
            Int(_) | Uint(_) | Huge(_) => dtype,
            Float(_) if dtype.is_inexact() => dtype,
            Float(_) => Dtype::F32,
            Complex(..) => Dtype::C64,
        }
    }

    /// Whether an array of type `dtype` to the power of this number is its square, in the same type.
    pub(crate) fn squares(self, dtype: Dtype) -> bool {
        let two = match self {
            Int(v) => v == 2,
            Float(v) => v == 2.0,
            _ => false,
        };
        two && dtype != Dtype::Bool && self.beside(dtype) == dtype
    }

    /// The order of all values of an integer type relative to this number, if it is an integer out of the type's range.
    #[inline]
    pub(crate) fn outside(self, dtype: Dtype) -> Option<Ordering> {
        if matches!(self, Float(_) | Bool(_) | Complex(..)) || !(dtype.is_integer() || dtype == Dtype::Bool) {
            return None;
        }
        self.beyond(dtype)
    }

    fn beyond(self, dtype: Dtype) -> Option<Ordering> {
        // Beside truth values an integer keeps its own type, which holds all integers of up to 64 bits.
        let (low, high) = range(if dtype == Dtype::Bool { Dtype::U64 } else { dtype })?;
        let (below, above) = match self {
            Int(_) | Uint(_) if dtype == Dtype::Bool => return None,
            Int(v) => (i128::from(v) < low, i128::from(v) > high),
            Uint(v) => (false, i128::from(v) > high),
            Huge(v) => (v < 0.0, v > 0.0),
            _ => return None,
        };
        match (below, above) {
            (true, _) => Some(Ordering::Greater),
            (_, true) => Some(Ordering::Less),
            _ => None,
        }
    }

    /// Refuses an integer that an integer type cannot hold.
    pub(crate) fn check(self, dtype: Dtype) -> PyResult<()> {
        let Some((low, high)) = range(dtype) else { return Ok(()) };
        let value = match self {
            Int(v) => i128::from(v),
            Uint(v) => i128::from(v),
            Huge(v) => {
                return Err(PyValueError::new_err(format!(
                    "[array] converting {v:e} to {dtype} would result in overflow; use a floating-point type"
                )));
            }
            _ => return Ok(()),
        };
        if value < low || value > high {
            return Err(PyValueError::new_err(format!(
                "[array] converting {value} to {dtype} would result in overflow; {dtype} holds {low} to {high}"
            )));
        }
        Ok(())
    }

    /// A zero-dimensional array of this type, converted as C converts.
    pub(crate) fn array(self, dtype: Dtype) -> Array {
        with_dtype!(dtype, T => Array::scalar(<T as FromScalar>::from_scalar(self)))
    }

    /// The number as an array of its own type.
    pub(crate) fn natural_array(self) -> PyResult<Array> {
        let dtype = self.natural();
        self.check(dtype)?;
        Ok(self.array(dtype))
    }

    /// The number as an array for an operation with an array of type `dtype`.
    pub(crate) fn array_beside(self, dtype: Dtype) -> PyResult<Array> {
        let dtype = self.beside(dtype);
        let (bits, kind) = match self {
            Float(v) => (v.to_bits(), 0),
            Int(v) => (v as u64, 1),
            _ => return self.fresh_literal(dtype),
        };
        let key = (bits, dtype, kind);
        // The high bits of a product depend on all bits of the number.
        let place =
            (bits ^ dtype as u64 ^ kind << 8).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - LITERAL_BITS);
        LITERALS.with_borrow_mut(|literals| match &literals[place as usize] {
            Some((have, array)) if *have == key => Ok(array.clone()),
            _ => {
                let array = self.fresh_literal(dtype)?;
                literals[place as usize] = Some((key, array.clone()));
                Ok(array)
            }
        })
    }

    fn fresh_literal(self, dtype: Dtype) -> PyResult<Array> {
        self.check(dtype)?;
        Ok(with_dtype!(dtype, T => Array::literal(<T as FromScalar>::from_scalar(self))))
    }
}

/// The least and the greatest value of an integer type.
fn range(dtype: Dtype) -> Option<(i128, i128)> {
    Some(match dtype {
        Dtype::U8 => (0, i128::from(u8::MAX)),
        Dtype::U16 => (0, i128::from(u16::MAX)),
        Dtype::U32 => (0, i128::from(u32::MAX)),
        Dtype::U64 => (0, i128::from(u64::MAX)),
        Dtype::I8 => (i128::from(i8::MIN), i128::from(i8::MAX)),
        Dtype::I16 => (i128::from(i16::MIN), i128::from(i16::MAX)),
        Dtype::I32 => (i128::from(i32::MIN), i128::from(i32::MAX)),
        Dtype::I64 => (i128::from(i64::MIN), i128::from(i64::MAX)),
        _ => return None,
    })
}

const LITERAL_BITS: u32 = 7;

thread_local! {
    /// Cached arrays of numbers beside arrays, as programs use the same numbers often. A key is the bits of the number, its
    /// type, and whether it was an `int`.
    static LITERALS: RefCell<[Option<((u64, Dtype, u64), Array)>; 1 << LITERAL_BITS]> =
        const { RefCell::new([const { None }; 1 << LITERAL_BITS]) };
}

/// Conversion of a Python number to an element type, as in C: integers wrap, fractions are cut off, the imaginary part is
/// dropped.
pub(crate) trait FromScalar {
    fn from_scalar(value: Scalar) -> Self;
}

/// A float as an integer: cut off, then wrapped.
fn cut(v: f64) -> i64 {
    if v.is_nan() { i64::MIN } else { v as i64 }
}

macro_rules! integers {
    ($($t:ty),*) => {$(
        impl FromScalar for $t {
            fn from_scalar(value: Scalar) -> Self {
                match value {
                    Bool(v) => <$t>::from(v),
                    Int(v) => v as $t,
                    Uint(v) => v as $t,
                    Huge(v) | Float(v) | Complex(v, _) => cut(v) as $t,
                }
            }
        }
    )*};
}
integers!(u8, u16, u32, i8, i16, i32, i64);

impl FromScalar for u64 {
    fn from_scalar(value: Scalar) -> Self {
        match value {
            Huge(v) | Float(v) | Complex(v, _) if v >= 0.0 => v as u64,
            Uint(v) => v,
            other => i64::from_scalar(other) as u64,
        }
    }
}

impl FromScalar for bool {
    fn from_scalar(value: Scalar) -> Self {
        match value {
            Bool(v) => v,
            Int(v) => v != 0,
            Uint(v) => v != 0,
            Huge(v) | Float(v) => v != 0.0,
            Complex(re, im) => re != 0.0 || im != 0.0,
        }
    }
}

impl FromScalar for f64 {
    fn from_scalar(value: Scalar) -> Self {
        match value {
            Bool(v) => f64::from(u8::from(v)),
            Int(v) => v as f64,
            Uint(v) => v as f64,
            Huge(v) | Float(v) | Complex(v, _) => v,
        }
    }
}

impl FromScalar for f32 {
    fn from_scalar(value: Scalar) -> Self {
        match value {
            Int(v) => v as f32,
            Uint(v) => v as f32,
            other => f64::from_scalar(other) as f32,
        }
    }
}

impl FromScalar for f16 {
    fn from_scalar(value: Scalar) -> Self {
        f64_to_f16(f64::from_scalar(value))
    }
}

impl FromScalar for bf16 {
    fn from_scalar(value: Scalar) -> Self {
        f64_to_bf16(f64::from_scalar(value))
    }
}

impl FromScalar for C64 {
    fn from_scalar(value: Scalar) -> Self {
        match value {
            Complex(re, im) => C64::new(re as f32, im as f32),
            other => C64::new(f32::from_scalar(other), 0.0),
        }
    }
}

/// Conversion of an element to the Python number that `item` and `tolist` return.
pub(crate) trait ToPython {
    fn to_python(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>>;
}

// An array may have many elements, each of which becomes an object. Without memory for an object, the conversions of the
// binding library panic; the interpreter's own functions raise MemoryError.
macro_rules! to_python {
    ($($t:ty: |$x:ident| $new:ident($($value:expr),*);)*) => {$(
        impl ToPython for $t {
            fn to_python(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
                let $x = self;
                // SAFETY: the function takes numbers, and returns a new reference, or null with an exception.
                unsafe { Bound::from_owned_ptr_or_err(py, ffi::$new($($value),*)) }
            }
        }
    )*};
}
to_python! {
    bool: |x| PyBool_FromLong(x.into());
    u8: |x| PyLong_FromLong(x.into());
    u16: |x| PyLong_FromLong(x.into());
    u32: |x| PyLong_FromUnsignedLongLong(x.into());
    u64: |x| PyLong_FromUnsignedLongLong(x);
    i8: |x| PyLong_FromLong(x.into());
    i16: |x| PyLong_FromLong(x.into());
    i32: |x| PyLong_FromLong(x.into());
    i64: |x| PyLong_FromLongLong(x);
    f16: |x| PyFloat_FromDouble(x.to_f64());
    bf16: |x| PyFloat_FromDouble(x.to_f64());
    f32: |x| PyFloat_FromDouble(x.into());
    f64: |x| PyFloat_FromDouble(x);
    C64: |x| PyComplex_FromDoubles(x.re.into(), x.im.into());
}
