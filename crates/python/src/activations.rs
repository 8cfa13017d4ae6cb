//! The activations of `covector-nn`: each row becomes a function here, and a class in the Python package.
//!
//! Python gets a C function for each row, which is generic over the row's layer. The row's settings give the parameters.

use crate::array::PyArray;
use crate::convert::Value as Argument;
use crate::errors::{OrRaise, named};
use crate::rows;
use covector_nn::settings::Value;
use covector_nn::{ACTIVATIONS, Activation, ActivationSpec, ActivationVisitor, visit_activations};
use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString, PyTuple};
use smallvec::SmallVec;
use std::ffi::CString;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A row with a Python class.
#[pyclass(frozen, module = "covector.nn")]
struct ActivationRow {
    spec: &'static ActivationSpec,
}

#[pymethods]
impl ActivationRow {
    /// The name of the class; `None` for a function without one.
    #[getter]
    fn name(&self) -> Option<&str> {
        self.spec.class
    }

    #[getter]
    fn function(&self) -> &str {
        self.spec.function
    }

    #[getter]
    fn doc(&self) -> String {
        rows::python_doc(self.spec.doc)
    }

    #[getter]
    fn settings<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        rows::settings(py, self.spec.settings)
    }

    /// Refuses invalid settings of the class.
    fn check(&self, values: Vec<Bound<'_, PyAny>>) -> PyResult<()> {
        let class = self.spec.class.unwrap_or(self.spec.function);
        for (setting, given) in self.spec.settings.iter().zip(&values) {
            (setting.check)(class, setting.name, rows::value(class, setting, given)?).or_raise()?;
        }
        Ok(())
    }
}

/// The rows of all activations.
#[pyfunction]
fn activation_rows() -> Vec<ActivationRow> {
    ACTIVATIONS.iter().map(|spec| ActivationRow { spec }).collect()
}

/// The array and the values of the settings of a call. `given` has the positional arguments first.
fn parse(
    spec: &'static ActivationSpec,
    given: &[Bound<'_, PyAny>],
    names: Option<&Bound<'_, PyTuple>>,
) -> PyResult<(Argument, SmallVec<[Value; 2]>)> {
    let wrong = |message: String| PyTypeError::new_err(format!("[{}] {message}", spec.function));
    let positional = given.len() - names.map_or(0, |names| names.len());
    if positional > 1 + spec.settings.len() {
        return Err(wrong(format!("takes {} arguments, not {positional}", 1 + spec.settings.len())));
    }
    let mut x = given[..positional].first();
    let mut settings: SmallVec<[Option<&Bound<'_, PyAny>>; 2]> =
        (0..spec.settings.len()).map(|i| given[..positional].get(1 + i)).collect();
    for (k, value) in given[positional..].iter().enumerate() {
        let name: String = names.map_or_else(|| Ok(String::new()), |names| names.get_item(k)?.extract())?;
        let place = if name == "x" {
            &mut x
        } else if let Some(i) = spec.settings.iter().position(|setting| setting.name == name) {
            &mut settings[i]
        } else {
            return Err(wrong(format!("there is no argument called {name:?}")));
        };
        if place.replace(value).is_some() {
            return Err(wrong(format!("argument {name:?} was given twice")));
        }
    }
    let x = x.ok_or_else(|| wrong("the argument \"x\" is missing".into()))?.extract()?;
    let values = spec.settings.iter().zip(settings).map(|(setting, given)| match given {
        Some(given) => rows::value(spec.function, setting, given),
        None => Ok((setting.default)()),
    });
    Ok((x, values.collect::<PyResult<_>>()?))
}

/// The function of a row.
///
/// # Safety
/// Only Python may call this, with the arguments of its fast calling convention.
unsafe extern "C" fn function<A: Activation>(
    _module: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    let result = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: Python calls this with its lock held.
        let py = unsafe { Python::assume_attached() };
        if names.is_null() && count == 1 {
            // Most calls have only the array.
            // SAFETY: the vector has one object, which lives through the call.
            let x = unsafe { Borrowed::from_ptr(py, *args) }.extract::<Argument>()?;
            let values: SmallVec<[Value; 2]> = A::SPEC.settings.iter().map(|s| (s.default)()).collect();
            let out = (A::SPEC.call)(&x.0.alone()?, &values).or_raise()?;
            return Ok(Bound::new(py, PyArray::new(out))?.into_any().into_ptr());
        }
        // SAFETY: `names` is null or a tuple that lives through the call.
        let names = unsafe { Bound::from_borrowed_ptr_or_opt(py, names) };
        let names = names.map(|names| names.cast_into::<PyTuple>()).transpose()?;
        let all = count as usize + names.as_ref().map_or(0, |names| names.len());
        // SAFETY: the vector has one borrowed object per positional argument and then one per name.
        let given = (0..all).map(|k| unsafe { Bound::from_borrowed_ptr(py, *args.add(k)) });
        let (x, values) = parse(A::SPEC, &given.collect::<SmallVec<[_; 3]>>(), names.as_ref())?;
        let out = (A::SPEC.call)(&x.0.alone()?, &values).or_raise()?;
        Ok::<_, PyErr>(Bound::new(py, PyArray::new(out))?.into_any().into_ptr())
    }));
    let error = match result {
        Ok(Ok(out)) => return out,
        Ok(Err(error)) => named(error, A::SPEC.function),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_string()));
            pyo3::panic::PanicException::new_err(text.unwrap_or_default())
        }
    };
    // SAFETY: as above.
    error.restore(unsafe { Python::assume_attached() });
    std::ptr::null_mut()
}

/// Adds functions to a module until one fails.
struct Functions<'a, 'py> {
    module: &'a Bound<'py, PyModule>,
    added: PyResult<()>,
}

impl Functions<'_, '_> {
    fn add<A: Activation>(&self) -> PyResult<()> {
        let (py, spec) = (self.module.py(), A::SPEC);
        let mut signature = String::from("x");
        for setting in rows::settings(py, spec.settings)? {
            signature += &format!(", {}={}", setting.get_item(0)?, setting.get_item(1)?.repr()?);
        }
        let doc = format!("{}({signature})\n--\n\n{}", spec.function, rows::python_doc(spec.doc));
        // Python keeps a pointer to the definition for as long as the function lives.
        let definition = Box::leak(Box::new(ffi::PyMethodDef {
            ml_name: CString::new(spec.function)?.into_raw(),
            ml_meth: ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: function::<A> },
            ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
            ml_doc: CString::new(doc)?.into_raw(),
        }));
        let name = PyString::new(py, "covector.nn");
        // SAFETY: the definition is valid and never freed; the module and its name are live objects.
        let object = unsafe {
            let object = ffi::PyCFunction_NewEx(definition, self.module.as_ptr(), name.as_ptr());
            Bound::from_owned_ptr_or_err(py, object)?
        };
        self.module.add(spec.function, object)
    }
}

impl ActivationVisitor for Functions<'_, '_> {
    fn activation<A: Activation>(&mut self) {
        if self.added.is_ok() {
            self.added = self.add::<A>();
        }
    }
}

/// Adds the functions and the rows to the submodule.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<ActivationRow>()?;
    m.add_function(wrap_pyfunction!(activation_rows, m)?)?;
    let mut functions = Functions { module: m, added: Ok(()) };
    visit_activations(&mut functions);
    functions.added
}
