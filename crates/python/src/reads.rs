//! Values that a function reads while it is traced: the line is recorded, and a warning names it if the result does not
//! depend on the argument.

use covector_core::transforms::{Tracer, lost_read_message};
use covector_core::{Array, Place};
use pyo3::exceptions::PyRuntimeWarning;
use pyo3::intern;
use pyo3::prelude::*;
use std::ffi::CString;

/// Records that Python reads the values of an array.
pub(crate) fn note(py: Python<'_>, array: &Array) {
    if array.is_tracer() {
        array.note_read(|| Place::Other(line(py).unwrap_or_else(|_| "an unknown line".into())));
    }
}

/// The running line of Python: the innermost line outside of NumPy and of this package.
fn line(py: Python<'_>) -> PyResult<String> {
    let mut frame = py.import(intern!(py, "sys"))?.call_method1(intern!(py, "_getframe"), (0,))?;
    loop {
        let globals = frame.getattr(intern!(py, "f_globals"))?;
        let module = globals.call_method1(intern!(py, "get"), (intern!(py, "__name__"), ""))?.to_string();
        let back = frame.getattr(intern!(py, "f_back"))?;
        let inside = ["numpy", "covector"].iter().any(|name| module.split('.').next() == Some(name));
        if inside && !back.is_none() {
            frame = back;
            continue;
        }
        let file = frame.getattr(intern!(py, "f_code"))?.getattr(intern!(py, "co_filename"))?;
        return Ok(format!("{file}:{}", frame.getattr(intern!(py, "f_lineno"))?));
    }
}

/// Warns about a result that does not depend on the argument, if a value of the argument was read.
pub(crate) fn warn_lost(py: Python<'_>, op: &str, traced: &Tracer) -> PyResult<()> {
    let Some(place) = traced.lost_read() else { return Ok(()) };
    let text = format!("[{op}] {}", lost_read_message(&place.to_string()));
    PyErr::warn(py, &py.get_type::<PyRuntimeWarning>(), &CString::new(text)?, 1)
}
