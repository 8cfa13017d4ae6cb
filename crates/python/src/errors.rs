//! The one place where covector's errors become Python exceptions.

use covector_core::Error;
use pyo3::exceptions::{PyIndexError, PyMemoryError, PyTypeError, PyValueError};
use pyo3::prelude::*;

/// The exception for an error: `IndexError` for axes and indices out of range, `TypeError` for arguments of the
/// wrong kind, `MemoryError` for memory, `ValueError` for the rest. An exception of the caller's own that passed
/// through a transform comes out as the very object that went in.
pub(crate) fn to_py(error: Error) -> PyErr {
    match &error {
        Error::Axis { .. } | Error::Index { .. } => PyIndexError::new_err(error.to_string()),
        Error::Type { .. } => PyTypeError::new_err(error.to_string()),
        Error::Memory { .. } => PyMemoryError::new_err(error.to_string()),
        Error::External(inner) => match inner.downcast_ref::<PyErr>() {
            Some(exception) => Python::attach(|py| exception.clone_ref(py)),
            None => PyValueError::new_err(error.to_string()),
        },
        _ => PyValueError::new_err(error.to_string()),
    }
}

/// An exception of Python code as an error that passes through a transform unchanged.
pub(crate) fn from_py(exception: PyErr) -> Error {
    Error::external(exception)
}

/// `?` for results of the core.
pub(crate) trait OrRaise<T> {
    /// The value, or the exception for the error.
    fn or_raise(self) -> PyResult<T>;
}

impl<T> OrRaise<T> for covector_core::Result<T> {
    fn or_raise(self) -> PyResult<T> {
        self.map_err(to_py)
    }
}
