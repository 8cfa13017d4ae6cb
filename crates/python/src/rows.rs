//! Rows of the tables of `covector-nn` in Python: documentation, settings with defaults, and their values.

use covector_nn::settings::{Setting, Value};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString, PyTuple};

/// Documentation in Python's style: code between double backticks.
pub(crate) fn python_doc(doc: &str) -> String {
    let lines = doc.lines().map(|line| line.strip_prefix(' ').unwrap_or(line));
    lines.collect::<Vec<_>>().join("\n").trim().replace("[`", "`").replace("`]", "`").replace('`', "``")
}

/// The settings of a row: `(name, default, documentation)` for each.
pub(crate) fn settings<'py>(py: Python<'py>, settings: &[Setting]) -> PyResult<Bound<'py, PyList>> {
    let rows = settings.iter().map(|setting| {
        let default = match (setting.default)() {
            Value::Number(x) => x.into_pyobject(py)?.into_any(),
            Value::Pair(pair) => PyTuple::new(py, pair)?.into_any(),
            Value::Flag(x) => x.into_pyobject(py)?.to_owned().into_any(),
            Value::Axis(x) => x.into_pyobject(py)?.into_any(),
        };
        (setting.name, default, python_doc(setting.doc)).into_pyobject(py)
    });
    PyList::new(py, rows.collect::<PyResult<Vec<_>>>()?)
}

/// The value of a setting, of the kind of its default. `owner` is the class with the setting.
pub(crate) fn value(owner: &str, setting: &Setting, given: &Bound<'_, PyAny>) -> PyResult<Value> {
    let value = match (setting.default)() {
        Value::Number(_) => given.extract().map(Value::Number),
        Value::Pair(_) => given.extract().map(Value::Pair),
        Value::Flag(_) => given.extract().map(Value::Flag),
        Value::Axis(_) => given.extract().map(Value::Axis),
    };
    value.map_err(|error| {
        if error.is_instance_of::<PyTypeError>(given.py()) {
            return PyTypeError::new_err(format!("[{owner}] {}: {}", setting.name, error.value(given.py())));
        }
        error
    })
}

/// The values of settings that are attributes of an object of the class `owner`.
pub(crate) fn attributes(
    owner: &str,
    settings: &'static [Setting],
    object: &Bound<'_, PyAny>,
) -> PyResult<Vec<Value>> {
    let read = |setting: &'static Setting| {
        value(owner, setting, &object.getattr(PyString::intern(object.py(), setting.name))?)
    };
    settings.iter().map(read).collect()
}
