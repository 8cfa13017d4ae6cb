//! NumPy's numbers as operands, and NumPy's functions called with arrays.
//!
//! NumPy calls `__array_ufunc__` if an array is an argument of one of its functions, or the right operand of a NumPy
//! number or array. Such an operator becomes the array's own, so that it stays in the graph.

use crate::array::PyArray;
use crate::export;
use crate::foreign;
use crate::operators;
use crate::scalar::Scalar;
use covector_core::Dtype;
use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyIterator, PyList, PyTuple, PyType};

/// A class of NumPy; `None` before the program has imported NumPy, when no object can have the class.
fn class<'py>(
    py: Python<'py>,
    cell: &'static PyOnceLock<Py<PyType>>,
    name: &str,
) -> Option<&'py Bound<'py, PyType>> {
    if let Some(class) = cell.get(py) {
        return Some(class.bind(py));
    }
    let modules = py.import(intern!(py, "sys")).ok()?.getattr(intern!(py, "modules")).ok()?;
    let class = modules.get_item("numpy").ok()?.getattr(name).ok()?.cast_into::<PyType>().ok()?;
    Some(cell.get_or_init(py, || class.unbind()).bind(py))
}

/// The number in a NumPy scalar or in an array without axes, and its element type on its own; `None` for any other
/// object.
pub(crate) fn number(obj: &Bound<'_, PyAny>) -> PyResult<Option<(Scalar, Dtype)>> {
    static GENERIC: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static NDARRAY: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let py = obj.py();
    let is = |class: Option<&Bound<'_, PyType>>| class.is_some_and(|c| obj.is_instance(c).unwrap_or(false));
    let without_axes = || obj.getattr(intern!(py, "ndim"))?.extract::<usize>().map(|n| n == 0);
    let known = is(class(py, &GENERIC, "generic")) || (is(class(py, &NDARRAY, "ndarray")) && without_axes()?);
    if !known {
        return Ok(None);
    }
    let dtype = obj.getattr(intern!(py, "dtype"))?;
    let kind: char = dtype.getattr(intern!(py, "kind"))?.extract()?;
    let size: usize = dtype.getattr(intern!(py, "itemsize"))?.extract()?;
    // Wider numbers are rounded to a Python number. `V` is the kind of the types that other packages add to NumPy.
    let value = match kind {
        'f' if size > 8 => obj.call_method0(intern!(py, "__float__"))?,
        'c' if size > 16 => obj.call_method0(intern!(py, "__complex__"))?,
        'b' | 'i' | 'u' | 'f' | 'c' | 'V' => obj.call_method0(intern!(py, "item"))?,
        _ => return Ok(None),
    };
    let Some(scalar) = Scalar::of(&value)? else { return Ok(None) };
    let alone = match (kind, size) {
        ('f', 8..) => Dtype::F32,
        ('c', _) => Dtype::C64,
        ('V', _) if dtype.getattr(intern!(py, "name"))?.extract::<&str>()? == "bfloat16" => Dtype::Bf16,
        ('V', _) => scalar.natural(),
        _ => foreign::element(&dtype.getattr(intern!(py, "str"))?.extract::<String>()?, obj)?,
    };
    Ok(Some((scalar, alone)))
}

/// The result of a NumPy ufunc with an array among its arguments.
///
/// A call with two arguments, the second of which is an array, is an operator with a NumPy object on the left: it becomes
/// the operation of arrays. Any other call reads the values, which is an error inside a transform.
pub(crate) fn call_ufunc<'py>(
    ufunc: &Bound<'py, PyAny>,
    method: &str,
    inputs: &Bound<'py, PyTuple>,
    options: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = ufunc.py();
    let name: String = ufunc.getattr(intern!(py, "__name__"))?.extract()?;
    let options = options.filter(|o| !o.is_empty());
    if method == "__call__"
        && options.is_none()
        && let Ok((left, right)) = inputs.extract::<(Bound<'py, PyAny>, Bound<'py, PyAny>)>()
        && !left.is_instance_of::<PyArray>()
        && let Ok(x) = right.cast::<PyArray>()
        && let Some(result) = operators::after_numpy(&name, &left, x.get())?
    {
        return Ok(result);
    }
    let inputs = inputs.iter().map(|x| values(&name, x)).collect::<PyResult<Vec<_>>>()?;
    let options = match options {
        None => None,
        Some(given) => {
            let options = PyDict::new(py);
            for (key, value) in given.iter() {
                if key.extract::<&str>().is_ok_and(|k| k == "out") {
                    check_outputs(&name, &value)?;
                    options.set_item(key, value)?;
                } else {
                    options.set_item(key, values(&name, value)?)?;
                }
            }
            Some(options)
        }
    };
    ufunc.getattr(method)?.call(PyTuple::new(py, inputs)?, options.as_ref())
}

/// NumPy's functions that do not read values.
const SHAPES: [&str; 3] = ["shape", "ndim", "size"];

/// The result of a NumPy function other than a ufunc, with an array among its arguments or in lists of them. It reads the
/// values, which is an error inside a transform.
pub(crate) fn call_function<'py>(
    function: &Bound<'py, PyAny>,
    args: &Bound<'py, PyTuple>,
    kwargs: &Bound<'py, PyDict>,
) -> PyResult<Bound<'py, PyAny>> {
    let name: String = function.getattr(intern!(function.py(), "__name__"))?.extract()?;
    if SHAPES.contains(&name.as_str()) {
        return function.getattr("_implementation")?.call(args, Some(kwargs));
    }
    let args = all_values(&name, args.as_any(), 0)?.cast_into::<PyTuple>()?;
    let named = PyDict::new(function.py());
    for (key, value) in kwargs.iter() {
        if key.extract::<&str>().is_ok_and(|k| k == "out") {
            check_outputs(&name, &value)?;
        }
        named.set_item(key, all_values(&name, &value, 0)?)?;
    }
    function.call(args, Some(&named))
}

/// [`values`] of an object and of the items of lists and tuples, to the depth that NumPy accepts.
fn all_values<'py>(name: &str, x: &Bound<'py, PyAny>, depth: usize) -> PyResult<Bound<'py, PyAny>> {
    let each = |items: Bound<'py, PyIterator>| {
        items.map(|item| all_values(name, &item?, depth + 1)).collect::<PyResult<Vec<_>>>()
    };
    if depth <= 64 && x.is_exact_instance_of::<PyTuple>() {
        return Ok(PyTuple::new(x.py(), each(x.try_iter()?)?)?.into_any());
    }
    if depth <= 64 && x.is_exact_instance_of::<PyList>() {
        return Ok(PyList::new(x.py(), each(x.try_iter()?)?)?.into_any());
    }
    values(name, x.clone())
}

/// A NumPy array of an array's values. Returns any other object itself.
fn values<'py>(name: &str, x: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let Ok(array) = x.cast::<PyArray>() else { return Ok(x) };
    let array = array.get().get();
    if array.is_tracer() {
        return Err(PyTypeError::new_err(format!(
            "[{name}] np.{name} would read the values of an array inside a transform, and the result would not depend on it; \
             use the function of covector.core, or np.asarray(x) where a constant is meant. In place of a += x, where a is a \
             NumPy array, write a = a + x"
        )));
    }
    export::to_numpy(x.py(), &array, None, None)
}

fn check_outputs(name: &str, out: &Bound<'_, PyAny>) -> PyResult<()> {
    let outputs: Vec<Bound<'_, PyAny>> = out.extract().unwrap_or_else(|_| vec![out.clone()]);
    if outputs.iter().any(|o| o.is_instance_of::<PyArray>()) {
        return Err(PyTypeError::new_err(format!(
            "[{name}] np.{name} cannot write into an array of covector; assign its result instead"
        )));
    }
    Ok(())
}
