//! Conversion of covector's errors to Python exceptions.

use covector_core::Error;
use pyo3::exceptions::{PyIndexError, PyMemoryError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyType};

/// `AxisError`, both a `ValueError` and an `IndexError`, because libraries differ in the class for a wrong axis.
fn axis_error(py: Python<'_>) -> PyResult<Bound<'_, PyType>> {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let class = CLASS.get_or_try_init(py, || {
        let bases = (py.get_type::<PyValueError>(), py.get_type::<PyIndexError>());
        let names = PyDict::new(py);
        names.set_item("__module__", "covector.core")?;
        names.set_item("__doc__", "An axis that an array does not have, or one named twice.")?;
        let class = py.get_type::<PyType>().call1(("AxisError", bases, names))?;
        Ok::<_, PyErr>(class.cast_into::<PyType>()?.unbind())
    })?;
    Ok(class.bind(py).clone())
}

/// Adds the exception class to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add("AxisError", axis_error(m.py())?)
}

/// The exception for an error: `AxisError` for axes, `IndexError` for indices out of range, `TypeError` for arguments of
/// the wrong kind, `MemoryError` for memory, `ValueError` for the rest. An exception of Python code that passed through a
/// transform comes out as the same object.
pub(crate) fn to_py(error: Error) -> PyErr {
    match &error {
        Error::Axis { .. } => Python::attach(|py| match axis_error(py) {
            Ok(class) => PyErr::from_type(class, error.to_string()),
            Err(failure) => failure,
        }),
        Error::Index { .. } => PyIndexError::new_err(error.to_string()),
        Error::Type { .. } => PyTypeError::new_err(error.to_string()),
        Error::Memory { .. } => PyMemoryError::new_err(error.to_string()),
        Error::External(inner) => match inner.downcast_ref::<PyErr>() {
            Some(exception) => Python::attach(|py| exception.clone_ref(py)),
            None => PyValueError::new_err(error.to_string()),
        },
        _ => PyValueError::new_err(error.to_string()),
    }
}

/// Replaces the operation's name in an error of this library by `name`, the function that the program called. Other
/// exceptions stay unchanged.
pub(crate) fn named(error: PyErr, name: &str) -> PyErr {
    Python::attach(|py| {
        let class = error.get_type(py);
        let own = [
            py.get_type::<PyValueError>(),
            py.get_type::<PyTypeError>(),
            py.get_type::<PyIndexError>(),
            py.get_type::<PyMemoryError>(),
        ];
        let text = error.value(py).to_string();
        let rest = text.strip_prefix('[').and_then(|text| text.split_once("] "));
        match rest {
            Some((op, rest))
                if op != name
                    && (own.iter().any(|own| own.is(&class))
                        || axis_error(py).is_ok_and(|own| own.is(&class))) =>
            {
                PyErr::from_type(class, format!("[{name}] {rest}"))
            }
            _ => error,
        }
    })
}

/// An exception of Python code as an error that passes through a transform unchanged.
pub(crate) fn from_py(exception: PyErr) -> Error {
    Error::external(exception)
}

/// Converts results of the core for `?`.
pub(crate) trait OrRaise<T> {
    /// The value, or the exception for the error.
    fn or_raise(self) -> PyResult<T>;
}

impl<T> OrRaise<T> for covector_core::Result<T> {
    fn or_raise(self) -> PyResult<T> {
        self.map_err(to_py)
    }
}
