//! The functions of the core's registry: each specification becomes a function of its module, and where it says so a
//! method of `array`, with one docstring and one signature.
//!
//! Python gets C functions of its fast calling convention. Each is an instance of a generic function for the type that
//! stands for the operation, so that its specification is a constant: a call looks nothing up. Arguments are read as the
//! [`Kind`]s of the parameters say.

use crate::array::PyArray;
use crate::convert::{Arr, Arrays, Ints, Operand, Value, describe, pair};
use crate::dtype::DtypeArg;
use crate::errors::OrRaise;
use crate::operators::Comparison;
use crate::scalar::{FromScalar, Scalar};
use covector_core::ops::spec::{
    Binding, Given, Kind, Made, Module, OpSpec, Param, Registered, Returns, Signature, Visitor,
};
use covector_core::registry::visit;
use covector_core::{Array, RowFn, ops, random};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyInt, PyList, PyString, PyTuple, PyType};
use smallvec::SmallVec;
use std::ffi::CString;
use std::panic::{AssertUnwindSafe, catch_unwind};

type Call = unsafe extern "C" fn(
    *mut ffi::PyObject,
    *const *mut ffi::PyObject,
    ffi::Py_ssize_t,
    *mut ffi::PyObject,
) -> *mut ffi::PyObject;

/// The objects given for the parameters of a call.
type Objects<'a, 'py> = SmallVec<[Option<Borrowed<'a, 'py, PyAny>>; 8]>;

/// An elementwise function of its operands.
fn elementwise(name: &str, function: RowFn, first: Operand, second: Option<Operand>) -> PyResult<Array> {
    match (function, first, second) {
        (RowFn::One(f), a, _) => f(&a.alone()?).or_raise(),
        // As the operator does.
        (RowFn::Two(_), Operand::Array(a), Some(Operand::Scalar(b) | Operand::Typed(b, _)))
            if name == "power" && b.squares(a.dtype()) =>
        {
            ops::try_square(&a).or_raise()
        }
        (RowFn::Two(_), a, Some(b))
            if (a.is_unlike(&b) || b.is_unlike(&a))
                && let Some(comparison) = Comparison::of(name) =>
        {
            comparison.of_operands(a, b)
        }
        (RowFn::Two(f), a, Some(b)) => {
            let (a, b) = pair(a, b)?;
            f(&a, &b).or_raise()
        }
        (RowFn::Two(_), _, None) => unreachable!("a call without its second argument is refused"),
    }
}

/// The name that messages have.
fn public_name(spec: &OpSpec) -> &'static str {
    spec.python.as_ref().map_or(spec.name, |binding| binding.names[0])
}

/// Sorts the arguments of a call by parameter.
///
/// # Safety
/// `args` must have as many live objects as `count` and `names` say, and `this` be null or live.
unsafe fn sorted<'a, 'py>(
    py: Python<'py>,
    name: &str,
    signature: &Signature,
    this: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: usize,
    names: *mut ffi::PyObject,
) -> PyResult<Objects<'a, 'py>> {
    let params = signature.params;
    let mut objects = Objects::from_elem(None, params.len());
    let mut given = 0;
    if !this.is_null() {
        // SAFETY: the object that a method is called on lives through the call.
        objects[0] = Some(unsafe { Borrowed::from_ptr(py, this) });
        given = 1;
    }
    let surplus = (given + count).saturating_sub(signature.positional);
    if surplus > usize::from(signature.positional_stream) {
        return Err(PyTypeError::new_err(format!(
            "[{name}] {} arguments were given by position; it takes {}",
            count,
            signature.positional - given
        )));
    }
    for k in 0..count - surplus {
        // SAFETY: the vector has one object for each positional argument.
        objects[given + k] = Some(unsafe { Borrowed::from_ptr(py, *args.add(k)) });
    }
    // SAFETY: `names` is null or a tuple that lives through the call.
    if let Some(names) = unsafe { Borrowed::from_ptr_or_opt(py, names) } {
        let first = if this.is_null() { signature.positional_only } else { 1 };
        for (k, key) in names.cast::<PyTuple>()?.iter_borrowed().enumerate() {
            let key = key.cast::<PyString>()?;
            let key = key.to_str()?;
            if key == "stream" {
                continue;
            }
            let Some(i) = (first..params.len()).find(|&i| params[i].name == key) else {
                return Err(PyTypeError::new_err(format!("[{name}] there is no argument called {key:?}")));
            };
            if objects[i].is_some() {
                return Err(PyTypeError::new_err(format!("[{name}] argument {key:?} was given twice")));
            }
            // SAFETY: behind the positional arguments the vector has one object for each name.
            objects[i] = Some(unsafe { Borrowed::from_ptr(py, *args.add(count + k)) });
        }
    }
    for (object, param) in objects.iter().zip(params) {
        if object.is_none() && param.default.is_none() {
            return Err(missing(name, param));
        }
    }
    Ok(objects)
}

#[cold]
fn missing(name: &str, param: &Param) -> PyErr {
    PyTypeError::new_err(format!("[{name}] argument {:?} is missing", param.name))
}

/// An error of an argument with the operation and the parameter in front.
fn of_argument(error: PyErr, py: Python<'_>, name: &str, param: &Param) -> PyErr {
    let text = error.value(py).to_string();
    if text.starts_with('[') || !text.starts_with("expected ") {
        return error;
    }
    PyErr::from_type(error.get_type(py), format!("[{name}] {}: {text}", param.name))
}

fn expected(what: &str, object: &Bound<'_, PyAny>) -> PyErr {
    PyTypeError::new_err(format!("expected {what}, not {}", describe(object)))
}

/// A parameter of a random distribution.
fn number(value: Operand, name: &str, param: &Param) -> PyResult<random::Operand> {
    Ok(match value {
        Operand::Scalar(Scalar::Complex(..)) | Operand::Typed(Scalar::Complex(..), _) => {
            return Err(PyValueError::new_err(format!(
                "[{name}] {} is complex; distributions have real parameters here",
                param.name
            )));
        }
        Operand::Scalar(Scalar::Int(v)) | Operand::Typed(Scalar::Int(v), _) => v.into(),
        Operand::Scalar(Scalar::Uint(v)) | Operand::Typed(Scalar::Uint(v), _) => v.into(),
        Operand::Scalar(scalar) | Operand::Typed(scalar, _) => f64::from_scalar(scalar).into(),
        Operand::Array(array) | Operand::Foreign(array) => random::Operand::Array(array),
    })
}

/// The parsed arguments of a call, and the operands whose element type depends on others.
struct Parsed {
    given: SmallVec<[Given; 8]>,
    weak: SmallVec<[(usize, Operand); 2]>,
}

impl Parsed {
    /// Reads the arguments in order: `object` gives the one of a parameter, if it was given.
    #[inline]
    fn fill<'a, 'py>(
        &mut self,
        name: &str,
        signature: &Signature,
        object: impl Fn(usize) -> Option<Borrowed<'a, 'py, PyAny>>,
    ) -> PyResult<()> {
        // Each value is written where it stays: as a whole it is large, and to move it costs more than to read it.
        for (i, param) in signature.params.iter().enumerate() {
            match (object(i), param.default) {
                (Some(object), _) => self.read(i, name, param, object)?,
                (None, Some(default)) => match default() {
                    Given::None if param.kind == Kind::Axes => {
                        let ndim = self.first()?.ndim();
                        self.given.push(Given::all(ndim));
                    }
                    Given::None => self.given.push(Given::None),
                    Given::Flag(value) => self.given.push(Given::Flag(value)),
                    Given::Int(value) => self.given.push(Given::Int(value)),
                    Given::Float(value) => self.given.push(Given::Float(value)),
                    other => self.given.push(other),
                },
                (None, None) => return Err(missing(name, param)),
            }
        }
        if self.weak.is_empty() { Ok(()) } else { self.settle(signature) }
    }

    /// The first array.
    fn first(&self) -> PyResult<&Array> {
        match self.given.first() {
            Some(Given::Array(x)) => Ok(x),
            _ => Err(PyTypeError::new_err("the first argument is not an array")),
        }
    }

    /// Reads an argument. The kinds that most calls have come first.
    #[inline]
    fn read(&mut self, i: usize, name: &str, param: &Param, object: Borrowed<'_, '_, PyAny>) -> PyResult<()> {
        match param.kind {
            Kind::Array | Kind::Value | Kind::Paired | Kind::Beside => {
                if let Ok(array) = object.cast_exact::<PyArray>() {
                    self.given.push(Given::Array(array.get().get()));
                    return Ok(());
                }
            }
            Kind::Int | Kind::Ints | Kind::Axes => {
                if let Ok(int) = object.cast_exact::<PyInt>()
                    && let Ok(value) = int.extract::<isize>()
                {
                    self.given.push(Given::Int(value));
                    return Ok(());
                }
                if param.kind == Kind::Axes && object.is_none() {
                    let ndim = self.first()?.ndim();
                    self.given.push(Given::all(ndim));
                    return Ok(());
                }
            }
            Kind::Flag => {
                if let Ok(flag) = object.cast_exact::<PyBool>() {
                    self.given.push(Given::Flag(flag.is_true()));
                    return Ok(());
                }
            }
            Kind::Dtype => {
                if let Ok(dtype) = object.extract::<DtypeArg>() {
                    self.given.push(Given::Dtype(dtype.0));
                    return Ok(());
                }
            }
            _ => {}
        }
        if param.optional && object.is_none() {
            self.given.push(Given::None);
            return Ok(());
        }
        let given = self.convert(i, name, param, object);
        self.given.push(given.map_err(|error| of_argument(error, object.py(), name, param))?);
        Ok(())
    }

    fn convert(
        &mut self,
        i: usize,
        name: &str,
        param: &Param,
        object: Borrowed<'_, '_, PyAny>,
    ) -> PyResult<Given> {
        Ok(match param.kind {
            Kind::Array => Given::Array(object.extract::<Arr>()?.0),
            Kind::Value => Given::Array(object.extract::<Value>()?.0.alone()?),
            Kind::Paired | Kind::Beside => match object.extract::<Value>()?.0 {
                Operand::Array(x) => Given::Array(x),
                weak => {
                    self.weak.push((i, weak));
                    Given::None
                }
            },
            Kind::Number => Given::Number(Box::new(number(object.extract::<Value>()?.0, name, param)?)),
            Kind::Arrays => Given::Arrays(object.extract::<Arrays>()?.0),
            Kind::Int | Kind::Count | Kind::Positive => {
                let value = object.extract::<isize>().map_err(|error: PyErr| {
                    if error.is_instance_of::<PyTypeError>(object.py()) {
                        expected("an int", &object)
                    } else {
                        error
                    }
                })?;
                if param.kind != Kind::Int && value < 0 {
                    // What is zero, the operation refuses itself where it has to.
                    return Err(PyValueError::new_err(match param.kind {
                        Kind::Count => format!("[{name}] {} is {value}; it must not be negative", param.name),
                        _ => format!("[{name}] {} [{value}] must be positive", param.name),
                    }));
                }
                Given::Int(value)
            }
            Kind::Ints | Kind::Axes => {
                let ints = object.extract::<Ints>()?;
                if ints.single && param.kind == Kind::Ints {
                    Given::Int(ints.values[0])
                } else {
                    Given::Ints(ints.values)
                }
            }
            Kind::Extents => Given::Extents(object.extract::<Ints>()?.shape(name)?.into()),
            Kind::Each(n) | Kind::PositiveEach(n) => {
                let ints = object.extract::<Ints>()?;
                if matches!(param.kind, Kind::PositiveEach(_)) && ints.values.iter().any(|&v| v < 0) {
                    return Err(PyValueError::new_err(format!(
                        "[{name}] {} {:?} must be positive",
                        param.name, ints.values
                    )));
                }
                if ints.single {
                    Given::Int(ints.values[0])
                } else if ints.values.len() == n {
                    Given::Ints(ints.values)
                } else {
                    return Err(PyTypeError::new_err(format!(
                        "[{name}] {} must be an int or {n} of them, not {:?}",
                        param.name, ints.values
                    )));
                }
            }
            Kind::Flag => Given::Flag(object.extract().map_err(|_| expected("a bool", &object))?),
            Kind::Float => Given::Float(object.extract().map_err(|_| expected("a number", &object))?),
            Kind::Dtype => Given::Dtype(object.extract::<DtypeArg>()?.0),
            Kind::Text => Given::Text(object.extract().map_err(|_| expected("a string", &object))?),
        })
    }

    /// Gives weak operands the element type that they have beside the others.
    fn settle(&mut self, signature: &Signature) -> PyResult<()> {
        let is_paired = |k: usize| signature.params[k].kind == Kind::Paired;
        if self.weak.iter().any(|(k, _)| is_paired(*k)) {
            let mut paired = (0..signature.params.len()).filter(|&k| is_paired(k));
            let (Some(i), Some(j)) = (paired.next(), paired.next()) else {
                unreachable!("paired parameters come in pairs")
            };
            let (a, b) = pair(self.operand(i), self.operand(j))?;
            self.given[i] = Given::Array(a);
            self.given[j] = Given::Array(b);
        }
        for (k, weak) in std::mem::take(&mut self.weak) {
            self.given[k] = Given::Array(weak.beside(self.first()?.dtype())?);
        }
        Ok(())
    }

    /// Takes the operand of a parameter out.
    fn operand(&mut self, i: usize) -> Operand {
        if let Some(at) = self.weak.iter().position(|(k, _)| *k == i) {
            return self.weak.remove(at).1;
        }
        match std::mem::replace(&mut self.given[i], Given::None) {
            Given::Array(x) => Operand::Array(x),
            other => unreachable!("an operand was parsed as {other:?}"),
        }
    }
}

/// Calls an operation.
///
/// # Safety
/// As [`sorted`].
unsafe fn run(
    py: Python<'_>,
    spec: &'static OpSpec,
    this: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: usize,
    names: *mut ffi::PyObject,
) -> PyResult<*mut ffi::PyObject> {
    let Some(binding) = &spec.python else { unreachable!("only operations with a binding have a function") };
    let made = |array: Array| Ok(Bound::new(py, PyArray::new(array))?.into_any().into_ptr());
    match (spec.elementwise, binding.call) {
        (Some(function), _) => {
            let arity = binding.signature.params.len();
            let own = usize::from(!this.is_null());
            if names.is_null() && count + own == arity {
                // Most calls: by place, and nothing else.
                let object = |k: usize| {
                    let object = if k < own {
                        this
                    } else {
                        // SAFETY: the vector has one object for each positional argument.
                        unsafe { *args.add(k - own) }
                    };
                    // SAFETY: arguments, and the object that a method is called on, live through the call.
                    Ok::<_, PyErr>(unsafe { Borrowed::from_ptr(py, object) }.extract::<Value>()?.0)
                };
                let first = object(0)?;
                let second = if arity == 2 { Some(object(1)?) } else { None };
                made(elementwise(spec.name, function, first, second)?)
            } else {
                // SAFETY: the caller's promise.
                let objects = unsafe { sorted(py, spec.name, &binding.signature, this, args, count, names)? };
                let mut operands = objects.iter().flatten().map(|x| x.extract::<Value>().map(|x| x.0));
                let Some(first) = operands.next().transpose()? else {
                    unreachable!("a call without arguments is refused")
                };
                made(elementwise(spec.name, function, first, operands.next().transpose()?)?)
            }
        }
        (None, Some(call)) => {
            let (name, signature) = (public_name(spec), &binding.signature);
            let own = usize::from(!this.is_null());
            let mut parsed = Parsed { given: SmallVec::new(), weak: SmallVec::new() };
            if names.is_null() && own + count <= signature.positional {
                parsed.fill(name, signature, |i| {
                    let object = match i.checked_sub(own) {
                        None => this,
                        // SAFETY: the vector has one object for each positional argument.
                        Some(k) if k < count => unsafe { *args.add(k) },
                        Some(_) => return None,
                    };
                    // SAFETY: arguments, and the object that a method is called on, live through the call.
                    Some(unsafe { Borrowed::from_ptr(py, object) })
                })?;
            } else {
                // SAFETY: the caller's promise.
                let objects = unsafe { sorted(py, name, signature, this, args, count, names)? };
                parsed.fill(name, signature, |i| objects[i])?;
            }
            match call(&parsed.given) {
                Ok(Made::One(array)) => made(array),
                Ok(Made::Many(arrays)) => {
                    let arrays: Vec<PyArray> = arrays.into_iter().map(PyArray::new).collect();
                    Ok(match binding.returns {
                        Returns::List => PyList::new(py, arrays)?.into_any(),
                        _ => PyTuple::new(py, arrays)?.into_any(),
                    }
                    .into_ptr())
                }
                Err(error) => Err(crate::errors::to_py(error)),
            }
        }
        (None, None) => unreachable!("an operation has one function or the other"),
    }
}

/// What both kinds of calls share: errors and panics become exceptions.
///
/// # Safety
/// To be called by Python, with the arguments of its fast calling convention.
unsafe fn enter(
    spec: &'static OpSpec,
    this: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    let result = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: Python calls with its lock held, and its arguments live through the call.
        unsafe { run(Python::assume_attached(), spec, this, args, count as usize, names) }
    }));
    let error = match result {
        Ok(Ok(out)) => return out,
        Ok(Err(error)) => crate::errors::named(error, public_name(spec)),
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

/// A function of a module.
unsafe extern "C" fn function<T: Registered>(
    _module: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: Python's own call.
    unsafe { enter(T::spec(), std::ptr::null_mut(), args, count, names) }
}

/// A method of `array`.
unsafe extern "C" fn method<T: Registered>(
    this: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: Python's own call.
    unsafe { enter(T::spec(), this, args, count, names) }
}

/// A default as Python writes it.
fn default_text(py: Python<'_>, given: &Given) -> PyResult<String> {
    let text = |object: Bound<'_, PyAny>| Ok(object.repr()?.to_string());
    match given {
        Given::None => Ok("None".into()),
        Given::Int(v) => Ok(v.to_string()),
        Given::Flag(v) => Ok(if *v { "True" } else { "False" }.into()),
        Given::Float(v) => text(v.into_pyobject(py)?.into_any()),
        Given::Text(v) => text(v.into_pyobject(py)?.into_any()),
        other => unreachable!("{other:?} is not written as a default"),
    }
}

/// The signature as Python shows it.
fn signature_text(py: Python<'_>, signature: &Signature, method: bool) -> PyResult<String> {
    let mut items = Vec::new();
    for (i, param) in signature.params.iter().enumerate() {
        if i == signature.positional && !signature.positional_stream {
            items.push("*".to_string());
        }
        let default = param.default.map(|default| default_text(py, &default())).transpose()?;
        items.push(match (i, default) {
            (0, _) if method => "$self".into(),
            (_, Some(default)) => format!("{}={default}", param.name),
            (_, None) => param.name.into(),
        });
        if i + 1 == if method { 1 } else { signature.positional_only } {
            items.push("/".into());
        }
    }
    if signature.positional == signature.params.len() && !signature.positional_stream {
        items.push("*".into());
    }
    items.push("stream=None".into());
    Ok(items.join(", "))
}

/// A definition that lives as long as the process, as Python wants it.
fn definition(name: &str, doc: &str, signature: &str, call: Call) -> PyResult<*mut ffi::PyMethodDef> {
    let doc = CString::new(format!("{name}({signature})\n--\n\n{doc}"))?;
    Ok(Box::leak(Box::new(ffi::PyMethodDef {
        ml_name: CString::new(name)?.into_raw(),
        ml_meth: ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: call },
        ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
        ml_doc: doc.into_raw(),
    })))
}

/// Adds the functions to the modules and the methods to the class.
struct Register<'a, 'py> {
    core: &'a Bound<'py, PyModule>,
    fast: &'a Bound<'py, PyModule>,
    random: &'a Bound<'py, PyModule>,
    class: Bound<'py, PyType>,
    result: PyResult<()>,
}

impl Register<'_, '_> {
    fn add<T: Registered>(&self, spec: &OpSpec, binding: &Binding) -> PyResult<()> {
        let py = self.core.py();
        let (module, module_name) = match binding.module {
            Module::Core => (self.core, "covector.core"),
            Module::Fast => (self.fast, "covector.core.fast"),
            Module::Random => (self.random, "covector.core.random"),
        };
        let module_name = PyString::new(py, module_name);
        let doc = spec.text();
        let text = signature_text(py, &binding.signature, false)?;
        let definition_of = definition(binding.names[0], &doc, &text, function::<T>)?;
        // SAFETY: the definition is valid and never freed; the module and its name are live objects.
        let object = unsafe {
            let object = ffi::PyCFunction_NewEx(definition_of, module.as_ptr(), module_name.as_ptr());
            Bound::from_owned_ptr_or_err(py, object)?
        };
        for name in binding.names {
            module.add(*name, &object)?;
        }
        if binding.method {
            let text = signature_text(py, &binding.signature, true)?;
            let definition_of = definition(binding.names[0], &doc, &text, method::<T>)?;
            // SAFETY: the definition is valid and never freed; Python checks that the method is called on an instance of
            // the class.
            let object = unsafe {
                let object = ffi::PyDescr_NewMethod(self.class.as_type_ptr(), definition_of);
                Bound::from_owned_ptr_or_err(py, object)?
            };
            self.class.setattr(binding.names[0], &object)?;
        }
        Ok(())
    }
}

impl Visitor for Register<'_, '_> {
    fn op<T: Registered>(&mut self) {
        let spec = T::spec();
        if let (Some(binding), Ok(())) = (&spec.python, &self.result) {
            self.result = self.add::<T>(spec, binding);
        }
    }
}

/// What the package's tools derive from the registry: for each Python function its module, name, types and derivative.
#[pyfunction]
fn _registry(py: Python<'_>) -> PyResult<Bound<'_, PyList>> {
    let all = PyList::empty(py);
    for spec in covector_core::registry::specs() {
        let Some(binding) = &spec.python else { continue };
        let types = PyDict::new(py);
        for param in binding.signature.params {
            types.set_item(param.name, param.hint())?;
        }
        let entry = PyDict::new(py);
        entry.set_item("rust", spec.name)?;
        entry.set_item("module", format!("{:?}", binding.module).to_lowercase())?;
        entry.set_item("names", binding.names)?;
        entry.set_item("method", binding.method)?;
        entry.set_item("types", types)?;
        entry.set_item("returns", binding.returns.hint())?;
        entry.set_item("derivative", covector_core::catalog::derivative(spec).or_raise()?)?;
        all.append(entry)?;
    }
    Ok(all)
}

/// Adds all functions of the registry.
pub(crate) fn register<'py>(
    core: &Bound<'py, PyModule>,
    fast: &Bound<'py, PyModule>,
    random: &Bound<'py, PyModule>,
) -> PyResult<()> {
    core.add_function(wrap_pyfunction!(_registry, core)?)?;
    let class = core.py().get_type::<PyArray>();
    let mut register = Register { core, fast, random, class, result: Ok(()) };
    visit(&mut register);
    register.result
}
