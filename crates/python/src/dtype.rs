//! Element types as Python objects such as `mx.float32`, their categories, and functions about them.

use crate::array::PyArray;
use covector_core::{Array, Dtype};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyTuple;

/// The type of an array's elements, such as `mx.float32`.
#[pyclass(frozen, eq, hash, name = "Dtype", module = "covector.core")]
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct PyDtype(pub(crate) Dtype);

#[pymethods]
impl PyDtype {
    /// Bytes per element.
    #[getter]
    fn size(&self) -> usize {
        self.0.size()
    }

    fn __repr__(&self) -> String {
        format!("covector.core.{}", self.0)
    }

    /// Pickles by name, so that an unpickled type is the object of the module itself.
    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, (&'static str,))> {
        Ok((py.import("covector._covector")?.getattr("_dtype")?, (self.0.name(),)))
    }
}

/// The element type of a name such as `float32`; for unpickling.
#[pyfunction]
fn _dtype(py: Python<'_>, name: &str) -> PyResult<Py<PyDtype>> {
    let dtype = Dtype::ALL.into_iter().find(|d| d.name() == name);
    match dtype {
        Some(dtype) => object(py, dtype),
        None => Err(PyValueError::new_err(format!("[Dtype] there is no element type called {name:?}"))),
    }
}

/// The unique Python object of an element type.
pub(crate) fn object(py: Python<'_>, dtype: Dtype) -> PyResult<Py<PyDtype>> {
    static OBJECTS: PyOnceLock<Vec<Py<PyDtype>>> = PyOnceLock::new();
    let all = OBJECTS.get_or_try_init(py, || {
        Dtype::ALL.iter().map(|&d| Py::new(py, PyDtype(d))).collect::<PyResult<_>>()
    })?;
    Ok(all[dtype as usize].clone_ref(py))
}

/// An argument `dtype=`, which must be a [`PyDtype`].
#[derive(Clone, Copy)]
pub(crate) struct DtypeArg(pub(crate) Dtype);

impl FromPyObject<'_, '_> for DtypeArg {
    type Error = PyErr;
    fn extract(obj: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        match obj.cast::<PyDtype>() {
            Ok(dtype) => Ok(Self(dtype.get().0)),
            Err(_) => Err(PyTypeError::new_err(format!(
                "[dtype] expected an element type such as mx.float32, not {}",
                crate::convert::describe(&obj.to_owned())
            ))),
        }
    }
}

/// A family of element types, such as `mx.floating`.
#[pyclass(frozen, eq, eq_int, hash, name = "DtypeCategory", module = "covector.core")]
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[allow(non_camel_case_types, reason = "the names in Python")]
pub(crate) enum Category {
    complexfloating,
    floating,
    inexact,
    signedinteger,
    unsignedinteger,
    integer,
    number,
    generic,
}

impl Category {
    const ALL: [(&'static str, Category); 8] = [
        ("complexfloating", Category::complexfloating),
        ("floating", Category::floating),
        ("inexact", Category::inexact),
        ("signedinteger", Category::signedinteger),
        ("unsignedinteger", Category::unsignedinteger),
        ("integer", Category::integer),
        ("number", Category::number),
        ("generic", Category::generic),
    ];

    fn holds(self, dtype: Dtype) -> bool {
        match self {
            Category::complexfloating => dtype.is_complex(),
            Category::floating => dtype.is_float(),
            Category::inexact => dtype.is_inexact(),
            Category::signedinteger => dtype.is_signed_integer(),
            Category::unsignedinteger => dtype.is_unsigned_integer(),
            Category::integer => dtype.is_integer(),
            Category::number => dtype != Dtype::Bool,
            Category::generic => true,
        }
    }

    /// Whether every type of this category is one of `other`.
    fn within(self, other: Category) -> bool {
        Dtype::ALL.into_iter().all(|d| !self.holds(d) || other.holds(d))
    }
}

/// A type or a family of types.
enum Kind {
    One(Dtype),
    Many(Category),
}

impl FromPyObject<'_, '_> for Kind {
    type Error = PyErr;
    fn extract(obj: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        if let Ok(dtype) = obj.cast::<PyDtype>() {
            return Ok(Kind::One(dtype.get().0));
        }
        if let Ok(category) = obj.cast::<Category>() {
            return Ok(Kind::Many(*category.get()));
        }
        Err(PyTypeError::new_err(format!(
            "[issubdtype] expected an element type or a category such as mx.floating, not {}",
            crate::convert::describe(&obj.to_owned())
        )))
    }
}

/// Whether the first element type or category is within the second.
#[pyfunction]
fn issubdtype(arg1: Kind, arg2: Kind) -> bool {
    match (arg1, arg2) {
        (Kind::One(a), Kind::One(b)) => a == b,
        (Kind::One(a), Kind::Many(b)) => b.holds(a),
        (Kind::Many(a), Kind::Many(b)) => a.within(b),
        (Kind::Many(_), Kind::One(_)) => false,
    }
}

/// The element type of an argument that is an array or an element type.
pub(crate) struct Typed(Dtype);

impl FromPyObject<'_, '_> for Typed {
    type Error = PyErr;
    fn extract(obj: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        if let Ok(array) = obj.cast::<PyArray>() {
            return Ok(Self(array.get().peek(Array::dtype)));
        }
        Ok(Self(obj.extract::<DtypeArg>()?.0))
    }
}

/// The element type that arrays of these types share in an operation.
#[pyfunction]
#[pyo3(signature = (*arrays_and_dtypes))]
fn result_type(py: Python<'_>, arrays_and_dtypes: &Bound<'_, PyTuple>) -> PyResult<Py<PyDtype>> {
    let mut common: Option<Dtype> = None;
    for item in arrays_and_dtypes {
        let Typed(dtype) = item.extract()?;
        common = Some(common.map_or(dtype, |c| covector_core::dtype::promote(c, dtype)));
    }
    match common {
        Some(dtype) => object(py, dtype),
        None => Err(PyValueError::new_err("[result_type] at least one array or element type is needed")),
    }
}

/// Whether every value of one element type survives conversion to another by promotion.
#[pyfunction]
fn can_cast(from_: Typed, to: DtypeArg) -> bool {
    covector_core::dtype::promote(from_.0, to.0) == to.0
}

/// Whether an element type is of a kind: another type, one of the words `bool`, `signed integer`,
/// `unsigned integer`, `integral`, `real floating`, `complex floating`, `numeric`, or any of a tuple of these.
#[pyfunction]
fn isdtype(dtype: DtypeArg, kind: &Bound<'_, PyAny>) -> PyResult<bool> {
    if let Ok(kinds) = kind.cast::<PyTuple>() {
        for kind in kinds {
            if isdtype(dtype, &kind)? {
                return Ok(true);
            }
        }
        return Ok(false);
    }
    if let Ok(other) = kind.cast::<PyDtype>() {
        return Ok(other.get().0 == dtype.0);
    }
    let Ok(word) = kind.extract::<String>() else {
        return Err(PyTypeError::new_err(format!(
            "[isdtype] kind must be an element type, a word or a tuple of these, not {}",
            crate::convert::describe(kind)
        )));
    };
    let d = dtype.0;
    Ok(match word.as_str() {
        "bool" => d == Dtype::Bool,
        "signed integer" => d.is_signed_integer(),
        "unsigned integer" => d.is_unsigned_integer(),
        "integral" => d.is_integer(),
        "real floating" => d.is_float(),
        "complex floating" => d.is_complex(),
        "numeric" => d != Dtype::Bool,
        _ => {
            return Err(PyValueError::new_err(format!(
                "[isdtype] {word:?} is not a kind; use bool, signed integer, unsigned integer, integral, real floating, complex floating or numeric"
            )));
        }
    })
}

/// The limits of a floating-point type: `min`, `max`, `eps`, `smallest_normal`, `bits`, `dtype`.
#[pyclass(frozen, name = "finfo", module = "covector.core")]
struct FloatInfo {
    dtype: Dtype,
}

impl FloatInfo {
    /// Bits of the fraction and exponent bias.
    fn layout(&self) -> (i32, i32, f64) {
        match self.dtype {
            Dtype::F16 => (10, 14, 65504.0),
            Dtype::Bf16 => (7, 126, f64::from(half::bf16::MAX.to_f32())),
            Dtype::F64 => (52, 1022, f64::MAX),
            _ => (23, 126, f64::from(f32::MAX)),
        }
    }
}

#[pymethods]
impl FloatInfo {
    #[new]
    #[pyo3(signature = (arg, /))]
    fn new(arg: DtypeArg) -> PyResult<Self> {
        if !arg.0.is_inexact() {
            return Err(PyValueError::new_err(format!(
                "[finfo] {} is not a floating-point type; use iinfo",
                arg.0
            )));
        }
        // The limits of a complex type are those of its parts.
        Ok(Self { dtype: if arg.0 == Dtype::C64 { Dtype::F32 } else { arg.0 } })
    }
    #[getter]
    fn min(&self) -> f64 {
        -self.layout().2
    }
    #[getter]
    fn max(&self) -> f64 {
        self.layout().2
    }
    #[getter]
    fn eps(&self) -> f64 {
        2f64.powi(-self.layout().0)
    }
    #[getter]
    fn smallest_normal(&self) -> f64 {
        2f64.powi(-self.layout().1)
    }
    #[getter]
    fn bits(&self) -> usize {
        self.dtype.size() * 8
    }
    /// The type of the limits; for a complex type, the type of its parts.
    #[getter]
    fn dtype(&self, py: Python<'_>) -> PyResult<Py<PyDtype>> {
        object(py, self.dtype)
    }
    fn __repr__(&self) -> String {
        let g = |v| covector_core::fmt::general(v, 6);
        format!("finfo(min={}, max={}, dtype={})", g(self.min()), g(self.max()), self.dtype)
    }
}

/// The limits of an integer type: `min`, `max`, `bits`, `dtype`.
#[pyclass(frozen, name = "iinfo", module = "covector.core")]
struct IntInfo {
    dtype: Dtype,
}

#[pymethods]
impl IntInfo {
    #[new]
    #[pyo3(signature = (arg, /))]
    fn new(arg: DtypeArg) -> PyResult<Self> {
        if !arg.0.is_integer() {
            return Err(PyValueError::new_err(format!(
                "[iinfo] {} is not an integer type; use finfo",
                arg.0
            )));
        }
        Ok(Self { dtype: arg.0 })
    }
    #[getter]
    fn min(&self) -> i128 {
        if self.dtype.is_signed_integer() { -(1i128 << (self.bits() - 1)) } else { 0 }
    }
    #[getter]
    fn max(&self) -> i128 {
        (1i128 << (self.bits() - usize::from(self.dtype.is_signed_integer()))) - 1
    }
    #[getter]
    fn bits(&self) -> usize {
        self.dtype.size() * 8
    }
    #[getter]
    fn dtype(&self, py: Python<'_>) -> PyResult<Py<PyDtype>> {
        object(py, self.dtype)
    }
    fn __repr__(&self) -> String {
        format!("iinfo(min={}, max={}, dtype={})", self.min(), self.max(), self.dtype)
    }
}

/// Adds the element types and their functions to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<PyDtype>()?;
    m.add_class::<Category>()?;
    m.add_class::<FloatInfo>()?;
    m.add_class::<IntInfo>()?;
    for dtype in Dtype::ALL {
        // The name `bool` would hide Python's own.
        let name = if dtype == Dtype::Bool { "bool_" } else { dtype.name() };
        m.add(name, object(m.py(), dtype)?)?;
    }
    for (name, category) in Category::ALL {
        m.add(name, category)?;
    }
    m.add_function(wrap_pyfunction!(_dtype, m)?)?;
    m.add_function(wrap_pyfunction!(issubdtype, m)?)?;
    m.add_function(wrap_pyfunction!(result_type, m)?)?;
    m.add_function(wrap_pyfunction!(can_cast, m)?)?;
    m.add_function(wrap_pyfunction!(isdtype, m)?)
}
