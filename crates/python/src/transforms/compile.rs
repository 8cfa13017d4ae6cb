//! `compile`: functions that are traced once for each kind of arguments and then run from a plan.

use super::{Transformed, What, call, check_callable};
use crate::array::PyArray;
use crate::errors::{OrRaise, from_py};
use crate::tree::{Snapshot, Tree, a_thing};
use covector_core::transforms::{Compiled, compile_flat};
use covector_core::{Array, Aval};
use pyo3::PyTraverseError;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::gc::PyVisit;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use smallvec::SmallVec;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// The most traces, and reasons for tracing, that one function keeps.
const MAX_ENTRIES: usize = 64;
const MAX_REASONS: usize = 100;

static DISABLED: AtomicBool = AtomicBool::new(false);

/// Returns a compiled function which produces the same output as ``fun``.
///
/// The first call traces ``fun``: it runs on abstract arrays, and its operations are planned as a whole. Later calls with
/// arguments of the same kind run the plan and not the function. The results are the same, bit for bit. The compiled
/// function can be transformed, and transformed functions can call it.
///
/// ``fun`` is traced again if the structure of its arguments changes, the shape or type of an array in them, or any other
/// value in them. :func:`explain_retrace` lists the traces with the reasons. The 64 most recent traces are kept. Tracing
/// takes milliseconds.
///
/// Arrays that ``fun`` captures are constants, except those in ``inputs``. Assignments are lost, except to containers in
/// ``outputs``. Random numbers need neither: they are drawn anew at each call.
///
/// Args:
///     fun: A function of arrays, trees of arrays, and hashable values, which returns the same or anything else.
///     inputs: A list, dict or module, or a tree of them, with arrays that ``fun`` uses and that change.
///     outputs: The containers that ``fun`` changes, in the same form. After each call they hold the new arrays.
///     shapeless: Accepted for compatibility, without effect: every graph is made for given shapes, and arguments of
///         other shapes are always traced again.
///
/// Returns:
///     The compiled function.
///
/// Example:
///     >>> import covector.core as mx
///     >>> f = mx.compile(lambda x: mx.exp(-x) + 1)
///     >>> f(mx.array([0.0, 1.0]))
///     array([2, 1.36788], dtype=float32)
#[pyfunction]
#[pyo3(signature = (fun, inputs=None, outputs=None, shapeless=false))]
pub(super) fn compile<'py>(
    fun: Bound<'py, PyAny>,
    inputs: Option<Py<PyAny>>,
    outputs: Option<Py<PyAny>>,
    shapeless: bool,
) -> PyResult<Bound<'py, Transformed>> {
    let _ = shapeless;
    check_callable("compile", &fun)?;
    let compile = Compile { inputs, outputs, cache: Mutex::default() };
    Transformed::wrap(fun, What::Compile(Box::new(compile)))
}

/// Makes compiled functions run uncompiled, in all threads, until :func:`enable_compile`.
#[pyfunction]
pub(super) fn disable_compile() {
    DISABLED.store(true, Ordering::Relaxed);
}

/// Undoes :func:`disable_compile`.
#[pyfunction]
pub(super) fn enable_compile() {
    DISABLED.store(false, Ordering::Relaxed);
}

/// Lists the traces of a compiled function, each with the difference that caused it.
///
/// Example:
///     >>> import covector.core as mx
///     >>> f = mx.compile(lambda x, n: x * n)
///     >>> y = f(mx.array(1.0), 2), f(mx.array(1.0), 3)
///     >>> print(mx.explain_retrace(f))
///     traced 2 times
///     1: the first call
///     2: args[1]: was 2, is 3
#[pyfunction]
#[pyo3(signature = (fun))]
pub(super) fn explain_retrace(fun: &Bound<'_, PyAny>) -> PyResult<String> {
    if let Ok(transformed) = fun.cast::<Transformed>()
        && let What::Compile(compile) = &transformed.get().what
    {
        return Ok(compile.explain());
    }
    Err(PyTypeError::new_err(format!(
        "[explain_retrace] takes a function that compile has returned, but {} was given",
        a_thing(fun)
    )))
}

/// A function to compile, and its traces.
pub(super) struct Compile {
    inputs: Option<Py<PyAny>>,
    outputs: Option<Py<PyAny>>,
    /// It is never locked while Python code may run.
    cache: Mutex<Cache>,
}

#[derive(Default)]
struct Cache {
    /// In order of their age, the newest last.
    entries: Vec<Arc<Entry>>,
    traces: usize,
    reasons: VecDeque<String>,
}

/// The flattened arguments of a call.
struct Given {
    args: Tree,
    kwargs: Option<Tree>,
    captured: Option<Tree>,
    /// All arrays: of the positional arguments, of the named ones, of the containers.
    leaves: Vec<Array>,
    /// The ends of the first two parts.
    ends: [usize; 2],
}

struct Entry {
    args: Tree,
    kwargs: Option<Tree>,
    captured: Option<Tree>,
    avals: Vec<Aval>,
    compiled: Compiled,
    result: Tree,
    /// The number of outputs that belong to the result. The others belong to the containers.
    results: usize,
    outputs: Option<Tree>,
}

impl Given {
    fn new<'py>(
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
        captured: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Self> {
        let mut leaves = Vec::new();
        let positional = Tree::flatten(args.as_any(), &mut leaves)?;
        let first = leaves.len();
        let named = kwargs.filter(|k| !k.is_empty());
        let named = named.map(|k| Tree::flatten(k.as_any(), &mut leaves)).transpose()?;
        let second = leaves.len();
        let captured = captured.map(|c| Tree::flatten(c, &mut leaves)).transpose()?;
        Ok(Self { args: positional, kwargs: named, captured, leaves, ends: [first, second] })
    }

    /// Records the values that are not arrays.
    fn fix(&mut self, py: Python<'_>) -> PyResult<()> {
        let Self { args, kwargs, captured, .. } = self;
        let trees = [Some(args), kwargs.as_mut(), captured.as_mut()];
        trees.into_iter().flatten().try_for_each(|tree| tree.fix(py))
    }

    /// Refuses values whose changes cannot be noticed.
    fn check(&self, py: Python<'_>) -> PyResult<()> {
        let named = self.kwargs.iter().flat_map(|tree| tree.statics(py));
        let strange = self.args.statics(py).map(|(path, x)| (format!("args{path}"), x));
        let strange = strange.chain(named.map(|(path, x)| (format!("kwargs{path}"), x)));
        for (path, x) in strange {
            if x.hash().is_err() {
                return Err(PyValueError::new_err(format!(
                    "[compile] {path} is {}, which is neither an array nor hashable, so a change of it would go \
                     unnoticed; make an array of it with mx.array, or pass numbers, strings or tuples of them",
                    a_thing(&x)
                )));
            }
        }
        Ok(())
    }
}

fn same(py: Python<'_>, a: Option<&Tree>, b: Option<&Tree>) -> bool {
    match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => a.same(py, b),
        _ => false,
    }
}

impl Entry {
    fn fits(&self, py: Python<'_>, given: &Given) -> bool {
        self.avals.iter().eq(given.leaves.iter().map(Array::aval))
            && self.args.same(py, &given.args)
            && same(py, self.kwargs.as_ref(), given.kwargs.as_ref())
            && same(py, self.captured.as_ref(), given.captured.as_ref())
    }

    /// [`Entry::fits`] for arguments that are not flattened yet. `None` means that they may still fit.
    fn takes(
        &self,
        args: &Bound<'_, PyTuple>,
        kwargs: Option<&Bound<'_, PyDict>>,
        captured: Option<&Bound<'_, PyAny>>,
    ) -> Option<Vec<Array>> {
        let mut leaves = Vec::with_capacity(self.avals.len());
        let kwargs = kwargs.filter(|k| !k.is_empty()).map(Bound::as_any);
        let pairs = [(&self.kwargs, kwargs), (&self.captured, captured)];
        let fits = self.args.takes(args.as_any(), &mut leaves)
            && pairs.into_iter().all(|(tree, given)| match (tree, given) {
                (None, None) => true,
                (Some(tree), Some(given)) => tree.takes(given, &mut leaves),
                _ => false,
            })
            && self.avals.iter().eq(leaves.iter().map(Array::aval));
        fits.then_some(leaves)
    }

    /// The differences as text.
    fn differences(&self, py: Python<'_>, given: &Given) -> Vec<String> {
        let mut found = self.args.differences(py, "args", &given.args);
        match (&self.kwargs, &given.kwargs) {
            (Some(a), Some(b)) => found.extend(a.differences(py, "kwargs", b)),
            (None, Some(_)) => found.push("kwargs: was empty, is not".to_owned()),
            (Some(_), None) => found.push("kwargs: was not empty, is empty".to_owned()),
            (None, None) => {}
        }
        if let (Some(a), Some(b)) = (&self.captured, &given.captured) {
            found.extend(a.differences(py, "inputs", b));
        }
        if self.avals.len() == given.leaves.len() {
            for (k, (was, is)) in self.avals.iter().zip(&given.leaves).enumerate() {
                if was != is.aval() {
                    let [first, second] = given.ends;
                    let path = match (&given.kwargs, &given.captured) {
                        (Some(named), _) if (first..second).contains(&k) => {
                            format!("kwargs{}", named.leaf_path(py, k - first))
                        }
                        (_, Some(captured)) if k >= second => {
                            format!("inputs{}", captured.leaf_path(py, k - second))
                        }
                        _ => format!("args{}", given.args.leaf_path(py, k)),
                    };
                    let text =
                        |a: &Aval| format!("{} {}", a.dtype, covector_core::shape::ShapeText(&a.shape));
                    found.push(format!("{path}: was {}, is {}", text(was), text(is.aval())));
                }
            }
        }
        found
    }
}

impl Compile {
    pub(super) fn call<'py>(
        &self,
        fun: &Bound<'py, PyAny>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = fun.py();
        if DISABLED.load(Ordering::Relaxed) {
            return fun.call(args, kwargs);
        }
        let captured = self.inputs.as_ref().map(|i| i.bind(py));
        // A copy of the list, because a comparison may run Python code, and the lock must not be held then.
        let known: SmallVec<[Arc<Entry>; 4]> = self.lock().entries.iter().cloned().collect();
        let taken = known.iter().rev().find_map(|e| Some((e.clone(), e.takes(args, kwargs, captured)?)));
        let (entry, leaves) = match taken {
            Some(found) => found,
            None => {
                let given = Given::new(args, kwargs, captured)?;
                let leaves = given.leaves.clone();
                let entry = match known.iter().rev().find(|e| e.fits(py, &given)) {
                    Some(entry) => entry.clone(),
                    None => self.trace(fun, given, known.last())?,
                };
                (entry, leaves)
            }
        };
        drop(known);
        let outs = entry.compiled.call(&leaves).or_raise()?;
        let result = entry.result.unflatten(py, &outs[..entry.results])?;
        if let (Some(tree), Some(outputs)) = (&entry.outputs, &self.outputs) {
            let outputs = outputs.bind(py);
            if !tree.fill(outputs, &outs[entry.results..])?.is(outputs) {
                return Err(PyValueError::new_err(format!(
                    "[compile] outputs= is {}, which cannot take new arrays; give it a list or dict that holds them",
                    a_thing(outputs)
                )));
            }
        }
        Ok(result)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Runs the function on abstract arrays and keeps the graph.
    fn trace<'py>(
        &self,
        fun: &Bound<'py, PyAny>,
        given: Given,
        newest: Option<&Arc<Entry>>,
    ) -> PyResult<Arc<Entry>> {
        let py = fun.py();
        given.check(py)?;
        // Before the function runs, which may change the values.
        let mut given = given;
        given.fix(py)?;
        let reason = match newest {
            None => "the first call".to_owned(),
            Some(entry) => match entry.differences(py, &given) {
                none if none.is_empty() => "a value that is not equal to itself".to_owned(),
                found => found.join("; "),
            },
        };
        let inputs = self.inputs.as_ref().map(|i| i.bind(py).clone());
        let outputs = self.outputs.as_ref().map(|o| o.bind(py).clone());
        let roots: Vec<_> = inputs.iter().chain(&outputs).cloned().collect();
        let before = Snapshot::new(&roots)?;
        let traced = self.run(fun, &given, inputs.as_ref(), outputs.as_ref());
        // The containers are always restored. Each call puts the new arrays into them.
        let restored = before.restore();
        let (compiled, result, results, outputs) = traced?;
        restored?;
        let avals = given.leaves.iter().map(|x| x.aval().clone()).collect();
        let Given { args, kwargs, captured, .. } = given;
        let entry = Arc::new(Entry { args, kwargs, captured, avals, compiled, result, results, outputs });
        let mut evicted = None;
        let mut cache = self.lock();
        cache.traces += 1;
        if cache.reasons.len() == MAX_REASONS {
            cache.reasons.pop_front();
        }
        if entry.compiled.is_closed() {
            cache.reasons.push_back(reason);
            if cache.entries.len() == MAX_ENTRIES {
                evicted = Some(cache.entries.remove(0));
            }
            cache.entries.push(entry.clone());
        } else {
            cache.reasons.push_back(
                "it captures an array of an enclosing transform, so this trace cannot be kept; pass the array as an \
                 argument"
                    .to_owned(),
            );
        }
        drop(cache);
        // Dropped here, without the lock, because it may run Python code.
        drop(evicted);
        Ok(entry)
    }

    /// The traced function, the structure of its result, the number of arrays in it, and the structure of the containers.
    fn run<'py>(
        &self,
        fun: &Bound<'py, PyAny>,
        given: &Given,
        inputs: Option<&Bound<'py, PyAny>>,
        outputs: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<(Compiled, Tree, usize, Option<Tree>)> {
        let py = fun.py();
        let objects = match (&given.captured, inputs) {
            (Some(tree), Some(inputs)) => tree.match_up("compile", "inputs", inputs)?,
            _ => Vec::new(),
        };
        let [first, second] = given.ends;
        let mut made: Option<(Tree, usize, Option<Tree>)> = None;
        let avals: Vec<Aval> = given.leaves.iter().map(|x| x.aval().clone()).collect();
        let compiled = compile_flat(&avals, |xs| {
            let prepare = || -> PyResult<_> {
                for (object, x) in objects.iter().zip(&xs[second..]) {
                    object.cast::<PyArray>()?.get().set(x.clone());
                }
                let args = given.args.unflatten(py, &xs[..first])?.cast_into::<PyTuple>()?;
                let kwargs = match &given.kwargs {
                    Some(tree) => Some(tree.unflatten(py, &xs[first..second])?.cast_into::<PyDict>()?),
                    None => None,
                };
                Ok((args, kwargs))
            };
            let (args, kwargs) = prepare().map_err(from_py)?;
            let returned = call("compile", fun, &args, kwargs.as_ref())?;
            let mut outs = Vec::new();
            let result = Tree::flatten(&returned, &mut outs).map_err(from_py)?;
            let results = outs.len();
            let state = outputs.map(|o| Tree::flatten(o, &mut outs)).transpose().map_err(from_py)?;
            made = Some((result, results, state));
            Ok(outs)
        })
        .or_raise()?;
        let (result, results, state) = made.expect("the function ran");
        Ok((compiled, result, results, state))
    }

    fn explain(&self) -> String {
        let cache = self.lock();
        let times = if cache.traces == 1 { "time" } else { "times" };
        let mut text = format!("traced {} {times}", cache.traces);
        let forgotten = cache.traces - cache.reasons.len();
        for (i, reason) in cache.reasons.iter().enumerate() {
            text.push_str(&format!("\n{}: {reason}", forgotten + i + 1));
        }
        text
    }

    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.inputs)?;
        visit.call(&self.outputs)?;
        // Another thread holds the lock; the collector will visit again.
        let Ok(cache) = self.cache.try_lock() else { return Ok(()) };
        for entry in &cache.entries {
            entry.args.traverse(visit)?;
            entry.result.traverse(visit)?;
            for tree in [&entry.kwargs, &entry.captured, &entry.outputs].into_iter().flatten() {
                tree.traverse(visit)?;
            }
        }
        Ok(())
    }
}
