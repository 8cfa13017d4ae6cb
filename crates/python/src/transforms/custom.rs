//! `custom_function`, with derivative and batching rules of the user's own, and `checkpoint`.

use super::{Transformed, What, call, check_callable};
use crate::array::PyArray;
use crate::errors::{OrRaise, from_py};
use crate::tree::{Tree, a_thing};
use covector_core::{Array, Result, ops, transforms};
use pyo3::PyTraverseError;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::gc::PyVisit;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use std::sync::{Arc, Mutex, OnceLock};

/// Transform a function to one that performs gradient checkpointing.
///
/// The gradient computes the function's intermediate values again instead of keeping them, which trades time for memory.
#[pyfunction]
pub(super) fn checkpoint(fun: Bound<'_, PyAny>) -> PyResult<Bound<'_, Transformed>> {
    check_callable("checkpoint", &fun)?;
    Transformed::wrap(fun, What::Checkpoint)
}

/// Runs the function. Values of the result that are not arrays are kept from this run.
pub(super) fn call_checkpoint<'py>(
    fun: &Bound<'py, PyAny>,
    args: &Bound<'py, PyTuple>,
    kwargs: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = fun.py();
    let mut leaves = Vec::new();
    let positional = Tree::flatten(args.as_any(), &mut leaves)?;
    let first = leaves.len();
    let named = kwargs.map(|k| Tree::flatten(k.as_any(), &mut leaves)).transpose()?;
    let mut output: Option<Tree> = None;
    let outs = transforms::checkpoint(&leaves, |xs| {
        let handed = positional.hand_out(py, &xs[..first]).map_err(from_py)?;
        let by_name =
            named.as_ref().map(|named| named.hand_out(py, &xs[first..])).transpose().map_err(from_py)?;
        let names = by_name.as_ref().map(|k| k.root().cast_into::<PyDict>()).transpose();
        let names = names.map_err(|e| from_py(e.into()))?;
        let result = call("checkpoint", fun, &tuple(Ok(handed.root()))?, names.as_ref());
        positional.write_back(&handed, &xs[..first], args.as_any()).map_err(from_py)?;
        if let (Some(named), Some(by_name), Some(kwargs)) = (&named, &by_name, kwargs) {
            named.write_back(by_name, &xs[first..], kwargs.as_any()).map_err(from_py)?;
        }
        let result = result?;
        let mut outs = Vec::new();
        output = Some(Tree::flatten(&result, &mut outs).map_err(from_py)?);
        Ok(outs)
    })
    .or_raise()?;
    output.expect("the function ran").unflatten(py, &outs)
}

fn tuple(x: PyResult<Bound<'_, PyAny>>) -> Result<Bound<'_, PyTuple>> {
    x.and_then(|x| Ok(x.cast_into::<PyTuple>()?)).map_err(from_py)
}

/// Set up a function for custom gradient and vmap definitions.
///
/// Use it as a decorator. The result behaves like the function; under a transform, it uses the rules that its ``vjp``,
/// ``jvp`` and ``vmap`` decorators define. Each rule is optional: without a rule the function itself is transformed. With
/// only one of ``vjp`` and ``jvp``, the other follows by transposition.
///
/// The rules of a function of one argument get that argument, not a tuple of one.
///
/// Arrays that the function captures are constants. Differentiating with respect to one is an error; pass it as an
/// argument.
///
/// Example:
///     >>> import covector.core as mx
///     >>> @mx.custom_function
///     ... def f(x, y):
///     ...     return mx.sin(x) * y
///     >>> @f.vjp
///     ... def f_vjp(primals, cotangent, output):
///     ...     x, y = primals
///     ...     return cotangent * mx.cos(x) * y, cotangent * mx.sin(x)
///     >>> mx.grad(f)(mx.array(0.0), mx.array(3.0))
///     array(3, dtype=float32)
#[pyclass(frozen, name = "custom_function", module = "covector.core", weakref)]
pub(crate) struct CustomFunction {
    fun: Py<PyAny>,
    rules: Mutex<Rules>,
}

#[derive(Default)]
struct Rules {
    vjp: Option<Py<PyAny>>,
    jvp: Option<Py<PyAny>>,
    vmap: Option<Py<PyAny>>,
}

impl CustomFunction {
    fn set<'py>(
        slf: &Bound<'py, Self>,
        rule: Bound<'py, PyAny>,
        place: impl FnOnce(&mut Rules) -> &mut Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, Self>> {
        check_callable("custom_function", &rule)?;
        let old = {
            let mut rules = slf.get().rules.lock().unwrap_or_else(|e| e.into_inner());
            place(&mut rules).replace(rule.unbind())
        };
        // Dropped here, without the lock, because it may run Python code.
        drop(old);
        Ok(slf.clone())
    }
}

#[pymethods]
impl CustomFunction {
    #[new]
    fn new(f: Bound<'_, PyAny>) -> PyResult<Self> {
        check_callable("custom_function", &f)?;
        Ok(Self { fun: f.unbind(), rules: Mutex::default() })
    }

    /// Define a custom vjp for the wrapped function.
    ///
    /// The rule takes ``primals``, ``cotangents`` (with the structure of the output) and ``outputs``, and returns the
    /// cotangents with the structure of the primals; ``None`` means zero.
    fn vjp<'py>(slf: &Bound<'py, Self>, f: Bound<'py, PyAny>) -> PyResult<Bound<'py, Self>> {
        Self::set(slf, f, |rules| &mut rules.vjp)
    }

    /// Define a custom jvp for the wrapped function.
    ///
    /// The rule takes ``primals`` and ``tangents`` (with the same structure, ``None`` where there is no tangent),
    /// and returns the tangents with the structure of the output; ``None`` means zero.
    fn jvp<'py>(slf: &Bound<'py, Self>, f: Bound<'py, PyAny>) -> PyResult<Bound<'py, Self>> {
        Self::set(slf, f, |rules| &mut rules.jvp)
    }

    /// Define a custom vectorization for the wrapped function.
    ///
    /// The rule takes ``inputs`` and ``axes`` (with the same structure, ``None`` where there is no batch), and
    /// returns the outputs and a tree of their axes.
    fn vmap<'py>(slf: &Bound<'py, Self>, f: Bound<'py, PyAny>) -> PyResult<Bound<'py, Self>> {
        Self::set(slf, f, |rules| &mut rules.vmap)
    }

    #[pyo3(signature = (*args, **kwargs))]
    fn __call__<'py>(
        &self,
        py: Python<'py>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let fun = self.fun.bind(py);
        let mut leaves = Vec::new();
        let tree = Tree::flatten(args.as_any(), &mut leaves)?;
        let (rules, shared) = self.prepare(py, tree, args.len() == 1, kwargs);
        let outs = rules
            .call(&leaves, |xs| {
                let handed = shared.args.hand_out(py, xs).map_err(from_py)?;
                let result = call("custom_function", fun, &tuple(Ok(handed.root()))?, kwargs);
                shared.args.write_back(&handed, xs, args.as_any()).map_err(from_py)?;
                let result = result?;
                let mut outs = Vec::new();
                let tree = Tree::flatten(&result, &mut outs).map_err(from_py)?;
                let _ = shared.output.set(tree);
                Ok(outs)
            })
            .or_raise()?;
        shared.output().map_err(crate::errors::to_py)?.unflatten(py, &outs)
    }

    #[getter]
    fn __wrapped__(&self, py: Python<'_>) -> Py<PyAny> {
        self.fun.clone_ref(py)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> std::result::Result<(), PyTraverseError> {
        visit.call(&self.fun)?;
        if let Ok(rules) = self.rules.try_lock() {
            visit.call(&rules.vjp)?;
            visit.call(&rules.jvp)?;
            visit.call(&rules.vmap)?;
        }
        Ok(())
    }
}

/// The data that all the rules of one call share.
struct Shared {
    args: Tree,
    single: bool,
    kwargs: Option<Py<PyDict>>,
    output: OnceLock<Tree>,
}

impl Shared {
    fn output(&self) -> Result<&Tree> {
        self.output
            .get()
            .ok_or_else(|| covector_core::Error::value("custom_function", "the function did not return"))
    }

    /// The positional arguments in the form that rules get: a tuple, or the only argument.
    fn unwrap<'py>(&self, args: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        if self.single { args.get_item(0) } else { Ok(args) }
    }

    fn call<'py>(
        &self,
        py: Python<'py>,
        rule: &Py<PyAny>,
        args: impl IntoPyObject<'py, Target = PyTuple, Output = Bound<'py, PyTuple>, Error = PyErr>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let args = args.into_pyobject(py)?;
        rule.bind(py).call(&args, self.kwargs.as_ref().map(|k| k.bind(py)))
    }

    /// The cotangents of the arguments from the result of a vjp rule.
    fn cotangents(&self, returned: &Bound<'_, PyAny>, primals: &[Array]) -> PyResult<Vec<Array>> {
        let py = returned.py();
        let wrapped = if self.single { PyTuple::new(py, [returned])?.into_any() } else { returned.clone() };
        let what = "the result of the vjp rule";
        arrays(&self.args.match_up("custom_function", what, &wrapped)?, what, |i| primals.get(i).cloned())
    }
}

/// The arrays that a rule returned, with zeros in place of None.
fn arrays(
    found: &[Bound<'_, PyAny>],
    what: &str,
    like: impl Fn(usize) -> Option<Array>,
) -> PyResult<Vec<Array>> {
    found
        .iter()
        .enumerate()
        .map(|(i, x)| match (x.cast::<PyArray>(), like(i)) {
            (Ok(x), _) => Ok(x.get().get()),
            (Err(_), Some(like)) if x.is_none() => Ok(ops::zeros_like(&like)),
            (Err(_), _) => Err(PyTypeError::new_err(format!(
                "[custom_function] {what} has {} in place of array {i}; return an array, or None for zero",
                a_thing(x)
            ))),
        })
        .collect()
}

impl CustomFunction {
    /// The rules in the form that the core calls.
    fn prepare(
        &self,
        py: Python<'_>,
        args: Tree,
        single: bool,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> (transforms::CustomFunction, Arc<Shared>) {
        let kwargs = kwargs.map(|k| k.clone().unbind());
        let shared = Arc::new(Shared { args, single, kwargs, output: OnceLock::new() });
        let rules = self.rules.lock().unwrap_or_else(|e| e.into_inner());
        let clone = |rule: &Option<Py<PyAny>>| rule.as_ref().map(|r| r.clone_ref(py));
        let (vjp, jvp, vmap) = (clone(&rules.vjp), clone(&rules.jvp), clone(&rules.vmap));
        drop(rules);
        let rules = transforms::CustomFunction {
            vjp: vjp.map(|rule| vjp_rule(rule, shared.clone())),
            jvp: jvp.map(|rule| jvp_rule(rule, shared.clone())),
            vmap: vmap.map(|rule| vmap_rule(rule, shared.clone())),
        };
        (rules, shared)
    }
}

fn vjp_rule(rule: Py<PyAny>, shared: Arc<Shared>) -> transforms::VjpRule {
    Arc::new(move |primals, cotangents, outputs| {
        let output = shared.output()?;
        Python::attach(|py| {
            let args = shared.unwrap(shared.args.unflatten(py, primals)?)?;
            let cts = output.unflatten(py, cotangents)?;
            let outs = output.unflatten(py, outputs)?;
            let returned = shared.call(py, &rule, (args, cts, outs))?;
            shared.cotangents(&returned, primals)
        })
        .map_err(from_py)
    })
}

fn jvp_rule(rule: Py<PyAny>, shared: Arc<Shared>) -> transforms::JvpRule {
    Arc::new(move |primals, tangents| {
        let output = shared.output()?;
        Python::attach(|py| {
            let args = shared.unwrap(shared.args.unflatten(py, primals)?)?;
            let mut rest = tangents.iter().rev();
            let ts = shared.args.build_with(py, false, |py| match rest.next().and_then(Option::as_ref) {
                Some(t) => Ok(Bound::new(py, PyArray::new(t.clone()))?.into_any()),
                None => Ok(py.None().into_bound(py)),
            })?;
            let returned = shared.call(py, &rule, (args, shared.unwrap(ts)?))?;
            let what = "the result of the jvp rule";
            arrays(&output.match_up("custom_function", what, &returned)?, what, |_| None)
        })
        .map_err(from_py)
    })
}

fn vmap_rule(rule: Py<PyAny>, shared: Arc<Shared>) -> transforms::VmapRule {
    Arc::new(move |inputs, axes| {
        let output = shared.output()?;
        Python::attach(|py| {
            let args = shared.unwrap(shared.args.unflatten(py, inputs)?)?;
            let mut rest = axes.iter().rev();
            let axes = shared.args.build_with(py, false, |py| match rest.next().copied().flatten() {
                Some(axis) => Ok(axis.into_pyobject(py)?.into_any()),
                None => Ok(py.None().into_bound(py)),
            })?;
            let returned = shared.call(py, &rule, (args, shared.unwrap(axes)?))?;
            let (outs, axes) = returned.extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>)>().map_err(|_| {
                PyValueError::new_err(format!(
                    "[custom_function] the vmap rule must return (outputs, axes), but it returned {}",
                    a_thing(&returned)
                ))
            })?;
            let what = "the result of the vmap rule";
            let found = arrays(&output.match_up("custom_function", what, &outs)?, what, |_| None)?;
            let axes =
                output.spread_axes("custom_function", "the axes that the vmap rule returned", &axes)?;
            Ok((found, axes))
        })
        .map_err(from_py)
    })
}
