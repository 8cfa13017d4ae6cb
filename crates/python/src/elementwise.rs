//! The elementwise operations, taken from the core's tables: each row becomes a function of the module, with the
//! row's documentation, and each row of one input a method of `array`, too.
//!
//! Python gets C functions that look the row up by its number, which is a constant of the function: a call costs
//! what a call of a function written by hand costs, and a new row in the table needs nothing here.

use crate::array::PyArray;
use crate::convert::{Operand, Value, pair};
use crate::errors::OrRaise;
use crate::operators::Comparison;
use covector_core::RowFn;
use covector_core::ops::{self, Listed, listed};
use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use std::ffi::CString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

type Call = unsafe extern "C" fn(
    *mut ffi::PyObject,
    *const *mut ffi::PyObject,
    ffi::Py_ssize_t,
    *mut ffi::PyObject,
) -> *mut ffi::PyObject;

/// Rows that are building blocks of public operations, or that operations written by hand stand in for.
const HIDDEN: [&str; 13] = [
    "real_abs",
    "real_sign",
    "rint",
    "complement",
    "logistic",
    "sigmoid_tail",
    "sigmoid_of_tail",
    "slope_of_tail",
    "real_hypot",
    "hypot_share",
    "logistic_share",
    "sigmoid_slope",
    "log_cosh",
];

/// The rows in a fixed order.
fn table() -> &'static [Listed] {
    static TABLE: OnceLock<Vec<Listed>> = OnceLock::new();
    TABLE.get_or_init(|| listed().collect())
}

/// Names that MLX has for the same functions.
const ALIASES: [(&str, &str); 10] = [
    ("arccos", "acos"),
    ("arccosh", "acosh"),
    ("arcsin", "asin"),
    ("arcsinh", "asinh"),
    ("arctan", "atan"),
    ("arctan2", "atan2"),
    ("arctanh", "atanh"),
    ("left_shift", "bitwise_left_shift"),
    ("right_shift", "bitwise_right_shift"),
    ("power", "pow"),
];

fn run(row: &Listed, arguments: [Option<Operand>; 2]) -> PyResult<PyArray> {
    let missing = || {
        PyTypeError::new_err(format!(
            "[{}] takes {} argument{}",
            row.name,
            row.arity(),
            if row.arity() == 1 { "" } else { "s" }
        ))
    };
    match (&row.function, arguments) {
        (RowFn::One(f), [Some(a), None]) => f(&a.alone()?).or_raise().map(PyArray::new),
        // As the operator does.
        (RowFn::Two(_), [Some(Operand::Array(a)), Some(Operand::Scalar(b) | Operand::Typed(b, _))])
            if row.name == "power" && b.squares(a.dtype()) =>
        {
            ops::try_square(&a).or_raise().map(PyArray::new)
        }
        (RowFn::Two(_), [Some(a), Some(b)])
            if (a.is_unlike(&b) || b.is_unlike(&a))
                && let Some(comparison) = Comparison::of(row.name) =>
        {
            comparison.of_operands(a, b).map(PyArray::new)
        }
        (RowFn::Two(f), [Some(a), Some(b)]) => {
            let (a, b) = pair(a, b)?;
            f(&a, &b).or_raise().map(PyArray::new)
        }
        _ => Err(missing()),
    }
}

/// The arguments of a call: `a` and `b` by place or by name, then `stream`, which is ignored.
fn arguments(
    row: &Listed,
    first: Option<Operand>,
    positional: &[Bound<'_, PyAny>],
    names: Option<&Bound<'_, PyTuple>>,
    named: &[Bound<'_, PyAny>],
) -> PyResult<[Option<Operand>; 2]> {
    let mut out = [first, None];
    let start = usize::from(out[0].is_some());
    let surplus =
        || PyTypeError::new_err(format!("[{}] too many arguments: it takes {}", row.name, row.arity()));
    for (k, item) in positional.iter().enumerate() {
        if start + k < row.arity() {
            out[start + k] = Some(item.extract::<Value>()?.0);
        } else if start + k > row.arity() {
            return Err(surplus());
        }
    }
    for (k, value) in named.iter().enumerate() {
        let name: String = names.map_or_else(|| Ok(String::new()), |n| n.get_item(k)?.extract())?;
        let place = match name.as_str() {
            "stream" => continue,
            "a" => 0,
            "b" if row.arity() == 2 => 1,
            _ => {
                return Err(PyTypeError::new_err(format!(
                    "[{}] there is no argument called {name:?}",
                    row.name
                )));
            }
        };
        if out[place].is_some() {
            return Err(PyTypeError::new_err(format!("[{}] argument {name:?} was given twice", row.name)));
        }
        out[place] = Some(value.extract::<Value>()?.0);
    }
    Ok(out)
}

/// What both kinds of calls share: arguments out of Python's hands, panics not into them.
///
/// # Safety
/// To be called by Python, with the arguments of its fast calling convention.
unsafe fn call(
    row: usize,
    this: Option<*mut ffi::PyObject>,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    let result = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: Python calls with its lock held.
        let py = unsafe { Python::assume_attached() };
        let row = &table()[row];
        let count = count as usize;
        if names.is_null() && count + usize::from(this.is_some()) == row.arity() {
            // Most calls: by place, and nothing else.
            let mut out = [None, None];
            let given = this.into_iter().chain((0..count).map(|k| {
                // SAFETY: the vector has one object per positional argument.
                unsafe { *args.add(k) }
            }));
            for (out, object) in out.iter_mut().zip(given) {
                // SAFETY: arguments, and the object a method is called on, live through the call.
                *out = Some(unsafe { Borrowed::from_ptr(py, object) }.extract::<Value>()?.0);
            }
            return Ok(Bound::new(py, run(row, out)?)?.into_any().into_ptr());
        }
        // SAFETY: `names` is null or a tuple that lives through the call.
        let names = unsafe { Bound::from_borrowed_ptr_or_opt(py, names) }.map(|n| n.cast_into::<PyTuple>());
        let names = names.transpose()?;
        let extra = names.as_ref().map_or(0, |n| n.len());
        let all: smallvec::SmallVec<[Bound<'_, PyAny>; 3]> = (0..count + extra)
            // SAFETY: the vector has one borrowed object per positional argument and then one per name.
            .map(|k| unsafe { Bound::from_borrowed_ptr(py, *args.add(k)) })
            .collect();
        let (positional, named) = all.split_at(count);
        let first = match this {
            // SAFETY: the object the method was called on lives through the call.
            Some(this) => Some(unsafe { Bound::from_borrowed_ptr(py, this) }.extract::<Value>()?.0),
            None => None,
        };
        let out = run(row, arguments(row, first, positional, names.as_ref(), named)?)?;
        Ok::<_, PyErr>(Bound::new(py, out)?.into_any().into_ptr())
    }));
    let error = match result {
        Ok(Ok(out)) => return out,
        Ok(Err(error)) => crate::errors::named(error, table()[row].name),
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

/// A function of the module.
unsafe extern "C" fn function<const ROW: usize>(
    _module: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: Python's own call.
    unsafe { call(ROW, None, args, count, names) }
}

/// A method of `array`.
unsafe extern "C" fn method<const ROW: usize>(
    this: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: Python's own call.
    unsafe { call(ROW, Some(this), args, count, names) }
}

macro_rules! calls {
    ($($tens:literal)*) => {
        /// One function and one method for each row there may be.
        static CALLS: &[(Call, Call)] = &[$(
            (function::<{ $tens * 10 }>, method::<{ $tens * 10 }>),
            (function::<{ $tens * 10 + 1 }>, method::<{ $tens * 10 + 1 }>),
            (function::<{ $tens * 10 + 2 }>, method::<{ $tens * 10 + 2 }>),
            (function::<{ $tens * 10 + 3 }>, method::<{ $tens * 10 + 3 }>),
            (function::<{ $tens * 10 + 4 }>, method::<{ $tens * 10 + 4 }>),
            (function::<{ $tens * 10 + 5 }>, method::<{ $tens * 10 + 5 }>),
            (function::<{ $tens * 10 + 6 }>, method::<{ $tens * 10 + 6 }>),
            (function::<{ $tens * 10 + 7 }>, method::<{ $tens * 10 + 7 }>),
            (function::<{ $tens * 10 + 8 }>, method::<{ $tens * 10 + 8 }>),
            (function::<{ $tens * 10 + 9 }>, method::<{ $tens * 10 + 9 }>),
        )*];
    };
}
calls!(0 1 2 3 4 5 6 7 8 9 10 11);

/// A definition that lives as long as the process, as Python wants it.
fn definition(name: &str, doc: &str, signature: &str, call: Call) -> PyResult<*mut ffi::PyMethodDef> {
    let name = CString::new(name)?;
    let doc = CString::new(format!(
        "{}({signature})\n--\n\n{}",
        name.to_string_lossy(),
        doc.replace("[`", "`").replace("`]", "`").trim()
    ))?;
    Ok(Box::leak(Box::new(ffi::PyMethodDef {
        ml_name: name.into_raw(),
        ml_meth: ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: call },
        ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
        ml_doc: doc.into_raw(),
    })))
}

/// Adds the functions to the module and the methods to the class.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = m.py();
    let class = py.get_type::<PyArray>();
    let module_name = pyo3::types::PyString::new(py, "covector.core");
    assert!(table().len() <= CALLS.len(), "more rows than functions for them: extend `calls!`");
    for (row, (function, method)) in table().iter().zip(CALLS) {
        if HIDDEN.contains(&row.name) {
            continue;
        }
        let signature = if row.arity() == 1 { "a, /, *, stream=None" } else { "a, b, *, stream=None" };
        let aliases = ALIASES.iter().filter(|(name, _)| *name == row.name).map(|(_, alias)| *alias);
        let definition_of = definition(row.name, row.doc, signature, *function)?;
        // SAFETY: the definition is valid and never freed; the module and its name are live objects.
        let object = unsafe {
            let object = ffi::PyCFunction_NewEx(definition_of, m.as_ptr(), module_name.as_ptr());
            Bound::from_owned_ptr_or_err(py, object)?
        };
        for name in std::iter::once(row.name).chain(aliases) {
            m.add(name, &object)?;
        }
        if row.arity() == 1 {
            let definition_of = definition(row.name, row.doc, "$self, /, *, stream=None", *method)?;
            // SAFETY: the definition is valid and never freed; Python checks that the method is called on an
            // instance of the class.
            let object = unsafe {
                let object = ffi::PyDescr_NewMethod(class.as_type_ptr(), definition_of);
                Bound::from_owned_ptr_or_err(py, object)?
            };
            class.setattr(row.name, object)?;
        }
    }
    Ok(())
}
