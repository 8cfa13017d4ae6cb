//! The transforms of Python functions: `value_and_grad`, `grad`, `vjp`, `jvp`, Jacobians, `vmap`, `compile`, `checkpoint`,
//! `custom_function`.
//!
//! Each flattens the arguments to a list of arrays and passes a closure to the core, which does the mathematics. The
//! closure rebuilds the arguments with traced arrays, calls the function, and flattens its result. An exception of the
//! function passes through the core and comes out as the same object.

mod compile;
mod custom;
mod grad;
mod jacobian;
mod products;
mod vmap;

use crate::array::PyArray;
use crate::errors::{OrRaise, from_py};
use crate::stack;
use crate::tree::{Tree, a_thing};
use compile::Compile;
use covector_core::{Array, ops, transforms};
use grad::Grad;
use jacobian::Jacobian;
use pyo3::PyTraverseError;
use pyo3::exceptions::PyTypeError;
use pyo3::gc::PyVisit;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString, PyTuple};
use vmap::Vmap;

/// Adds the transforms to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    Transformed::finish_type(m.py())?;
    m.add_class::<custom::CustomFunction>()?;
    m.add_function(wrap_pyfunction!(grad::value_and_grad, m)?)?;
    m.add_function(wrap_pyfunction!(grad::grad, m)?)?;
    m.add_function(wrap_pyfunction!(products::vjp, m)?)?;
    m.add_function(wrap_pyfunction!(products::jvp, m)?)?;
    m.add_function(wrap_pyfunction!(products::linearize, m)?)?;
    m.add_function(wrap_pyfunction!(products::hvp, m)?)?;
    m.add_function(wrap_pyfunction!(jacobian::jacrev, m)?)?;
    m.add_function(wrap_pyfunction!(jacobian::jacfwd, m)?)?;
    m.add_function(wrap_pyfunction!(jacobian::value_and_jac, m)?)?;
    m.add_function(wrap_pyfunction!(jacobian::hessian, m)?)?;
    m.add_function(wrap_pyfunction!(jacobian::check_grads, m)?)?;
    m.add_function(wrap_pyfunction!(vmap::vmap, m)?)?;
    m.add_function(wrap_pyfunction!(custom::checkpoint, m)?)?;
    m.add_function(wrap_pyfunction!(compile::compile, m)?)?;
    m.add_function(wrap_pyfunction!(compile::enable_compile, m)?)?;
    m.add_function(wrap_pyfunction!(compile::disable_compile, m)?)?;
    m.add_function(wrap_pyfunction!(compile::explain_retrace, m)?)?;
    m.add_function(wrap_pyfunction!(stop_gradient, m)?)?;
    m.add_function(wrap_pyfunction!(depends, m)?)?;
    Ok(())
}

/// The transform of a [`Transformed`] function.
enum What {
    Grad(Grad),
    Jacobian(Jacobian),
    Vmap(Vmap),
    Checkpoint,
    Compile(Box<Compile>),
}

/// The result of a transform of a Python function. It has the function's name, documentation and signature.
#[pyclass(frozen, name = "transformed", module = "covector.core", weakref)]
pub(crate) struct Transformed {
    fun: Py<PyAny>,
    what: What,
}

impl Transformed {
    fn wrap(fun: Bound<'_, PyAny>, what: What) -> PyResult<Bound<'_, Self>> {
        let py = fun.py();
        Bound::new(py, Self { fun: fun.unbind(), what })
    }

    /// Gives the type properties for two names that every type has itself, and for which `__getattr__` is therefore never
    /// called. (Instances have no dict: making one may start a garbage collection, which would visit the unfinished object.)
    fn finish_type(py: Python<'_>) -> PyResult<()> {
        let class = py.get_type::<Self>();
        let property = py.import("builtins")?.getattr("property")?;
        let getter = py.import("operator")?.getattr("attrgetter")?;
        for name in ["__doc__", "__module__"] {
            class.setattr(name, property.call1((getter.call1((format!("__wrapped__.{name}"),))?,))?)?;
        }
        Ok(())
    }
}

#[pymethods]
impl Transformed {
    #[pyo3(signature = (*args, **kwargs))]
    fn __call__<'py>(
        &self,
        py: Python<'py>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let fun = self.fun.bind(py);
        match &self.what {
            What::Grad(grad) => grad.call(fun, args, kwargs),
            What::Jacobian(jacobian) => jacobian.call(fun, args, kwargs),
            What::Vmap(vmap) => vmap.call(fun, args, kwargs),
            What::Checkpoint => custom::call_checkpoint(fun, args, kwargs),
            What::Compile(compile) => compile.call(fun, args, kwargs),
        }
    }

    #[getter]
    fn __wrapped__(&self, py: Python<'_>) -> Py<PyAny> {
        self.fun.clone_ref(py)
    }

    /// All other attributes of a function, such as its name, are those of the wrapped function.
    fn __getattr__<'py>(&self, py: Python<'py>, name: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyAny>> {
        self.fun.bind(py).getattr(name)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let transform = match &self.what {
            What::Grad(grad) => grad.op,
            What::Jacobian(jacobian) => jacobian.op,
            What::Vmap(_) => "vmap",
            What::Checkpoint => "checkpoint",
            What::Compile(_) => "compile",
        };
        Ok(format!("<{transform} of {}>", self.fun.bind(py).repr()?))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.fun)?;
        match &self.what {
            What::Vmap(vmap) => vmap.traverse(visit),
            What::Compile(compile) => compile.traverse(&visit),
            What::Grad(_) | What::Jacobian(_) | What::Checkpoint => Ok(()),
        }
    }
}

/// Refuses an object that cannot be called.
fn check_callable(op: &str, fun: &Bound<'_, PyAny>) -> PyResult<()> {
    if fun.is_callable() {
        return Ok(());
    }
    Err(PyTypeError::new_err(format!(
        "[{op}] takes a function as its first argument, but {} was given",
        a_thing(fun)
    )))
}

/// The name of positional parameter `i` in messages, if the signature is known.
fn parameter_name(fun: &Bound<'_, PyAny>, i: usize) -> String {
    static SIGNATURE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let name = || -> PyResult<Option<String>> {
        let signature = SIGNATURE.import(fun.py(), "inspect", "signature")?.call1((fun,))?;
        let Some(parameter) =
            signature.getattr("parameters")?.call_method0("values")?.try_iter()?.nth(i).transpose()?
        else {
            return Ok(None);
        };
        // Positional-only and positional-or-keyword parameters are kinds 0 and 1.
        let named = parameter.getattr("kind")?.call_method0("__int__")?.extract::<u8>()? <= 1;
        Ok(if named { Some(parameter.getattr("name")?.extract()?) } else { None })
    };
    name().ok().flatten().unwrap_or_else(|| format!("argument {i}"))
}

/// Flattens a result that must consist of arrays alone (and `None`, if `none` is set).
fn flatten_result(
    op: &str,
    result: &Bound<'_, PyAny>,
    none: bool,
    leaves: &mut Vec<Array>,
) -> PyResult<Tree> {
    let tree = Tree::flatten(result, leaves)?;
    let strange = tree.statics(result.py()).find(|(_, x)| !(none && x.is_none()));
    match strange {
        None => Ok(tree),
        Some((path, x)) => Err(pyo3::exceptions::PyValueError::new_err(format!(
            "[{op}] the function must return arrays, or a tree of arrays, but its result{path} is {}; make an \
             array of it with mx.array, or leave it out",
            a_thing(&x)
        ))),
    }
}

/// Calls a Python function from inside the core.
fn call<'py>(
    op: &str,
    fun: &Bound<'py, PyAny>,
    args: &Bound<'py, PyTuple>,
    kwargs: Option<&Bound<'py, PyDict>>,
) -> covector_core::Result<Bound<'py, PyAny>> {
    stack::check(op).and_then(|()| fun.call(args, kwargs)).map_err(from_py)
}

/// Stop gradients from being computed.
///
/// The result equals `a`, which may be an array or a tree of arrays, but no gradient flows through it.
#[pyfunction]
#[pyo3(signature = (a, /, *, stream=None))]
fn stop_gradient<'py>(
    a: &Bound<'py, PyAny>,
    stream: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let _ = stream;
    let mut leaves = Vec::new();
    let tree = Tree::flatten(a, &mut leaves)?;
    if let Some((path, x)) = tree.first_static(a.py()).filter(|(path, x)| path.is_empty() || !x.is_none()) {
        return Err(PyTypeError::new_err(format!(
            "[stop_gradient] takes an array or a tree of arrays, but the argument{path} is {}",
            a_thing(&x)
        )));
    }
    let stopped: Vec<Array> =
        leaves.iter().map(ops::try_stop_gradient).collect::<covector_core::Result<_>>().or_raise()?;
    tree.unflatten(a.py(), &stopped)
}

/// Insert dependencies between arrays in the graph.
///
/// The result equals `inputs`, an array or a sequence of arrays, but is computed only after `dependencies` are.
#[pyfunction]
fn depends<'py>(inputs: &Bound<'py, PyAny>, dependencies: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = inputs.py();
    let (mut xs, mut after) = (Vec::new(), Vec::new());
    let tree = Tree::flatten(inputs, &mut xs)?;
    let strange = tree.first_static(py).or(Tree::flatten(dependencies, &mut after)?.first_static(py));
    if let Some((path, x)) = strange {
        return Err(PyTypeError::new_err(format!(
            "[depends] takes arrays or sequences of arrays, but an argument{path} is {}",
            a_thing(&x)
        )));
    }
    if after.is_empty() {
        return tree.unflatten(py, &xs);
    }
    let late = transforms::depends(&xs, &after).or_raise()?;
    // As in MLX, a sequence comes back as a list.
    if inputs.is_instance_of::<PyTuple>() {
        let items =
            late.into_iter().map(PyArray::new).map(|a| Bound::new(py, a)).collect::<PyResult<Vec<_>>>()?;
        return Ok(pyo3::types::PyList::new(py, items)?.into_any());
    }
    tree.unflatten(py, &late)
}
