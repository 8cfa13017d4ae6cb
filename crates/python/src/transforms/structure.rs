//! Trees taken apart for the transforms that are written in Python.

use super::call;
use crate::array::PyArray;
use crate::errors::{OrRaise, from_py};
use crate::reads::warn_lost;
use crate::tree::{Tree, a_thing};
use covector_core::Array;
use covector_core::transforms::{Tracer, vjp_flat};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyList;

/// The structure of a tree, without its arrays.
#[pyclass(frozen, name = "Structure", module = "covector.core")]
pub(super) struct Structure {
    tree: Tree,
    arrays: usize,
}

#[pymethods]
impl Structure {
    /// The tree with these objects in place of its arrays.
    fn unflatten<'py>(&self, py: Python<'py>, leaves: Vec<Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyAny>> {
        if leaves.len() != self.arrays {
            return Err(PyValueError::new_err(format!(
                "[tree] {} leaves do not fill a tree of {}",
                leaves.len(),
                self.arrays
            )));
        }
        let mut rest = leaves.into_iter().rev();
        self.tree.build(py, |py| Ok(rest.next().unwrap_or_else(|| py.None().into_bound(py))))
    }

    /// The way to array number `leaf`.
    fn path(&self, py: Python<'_>, leaf: usize) -> String {
        self.tree.leaf_path(py, leaf)
    }

    /// The way to the first thing that is neither an array nor a container, and what it is; `None` without any.
    fn stranger(&self, py: Python<'_>) -> Option<(String, String)> {
        self.tree.first_static(py).map(|(path, x)| (path, a_thing(&x)))
    }
}

/// The arrays of a tree in order, and its structure.
#[pyfunction]
#[pyo3(name = "_flatten")]
pub(super) fn flatten<'py>(tree: &Bound<'py, PyAny>) -> PyResult<(Bound<'py, PyList>, Structure)> {
    let mut leaves = Vec::new();
    let structure = Tree::flatten(tree, &mut leaves)?;
    Ok((list(tree.py(), &leaves)?, Structure { tree: structure, arrays: leaves.len() }))
}

fn list<'py>(py: Python<'py>, arrays: &[Array]) -> PyResult<Bound<'py, PyList>> {
    let items: Vec<_> =
        arrays.iter().map(|x| Bound::new(py, PyArray::new(x.clone()))).collect::<PyResult<_>>()?;
    PyList::new(py, items)
}

fn arrays(items: &Bound<'_, PyAny>) -> PyResult<Vec<Array>> {
    items.try_iter()?.map(|x| Ok(x?.cast::<PyArray>()?.get().get())).collect()
}

/// A function of a list of arrays that ran once and can be differentiated both ways.
#[pyclass(frozen, name = "Trace", module = "covector.core")]
pub(super) struct Trace {
    tracer: Tracer,
}

#[pymethods]
impl Trace {
    /// The cotangents of the inputs for cotangents of the outputs.
    fn pullback<'py>(&self, cotangents: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyList>> {
        list(cotangents.py(), &self.tracer.pullback(&arrays(cotangents)?).or_raise()?)
    }

    /// The tangents of the outputs for tangents of the inputs.
    fn pushforward<'py>(&self, tangents: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyList>> {
        list(tangents.py(), &self.tracer.pushforward(&arrays(tangents)?).or_raise()?)
    }
}

/// Runs `fun` for the transform `op`, which takes arrays and returns a list of arrays, on traced `leaves`.
#[pyfunction]
#[pyo3(name = "_trace")]
pub(super) fn trace(op: &str, fun: &Bound<'_, PyAny>, leaves: &Bound<'_, PyAny>) -> PyResult<Trace> {
    let tracer = vjp_flat(&arrays(leaves)?, |xs| {
        let args = list(fun.py(), xs).map_err(from_py)?.to_tuple();
        arrays(&call(op, fun, &args, None)?).map_err(from_py)
    })
    .or_raise()?;
    warn_lost(fun.py(), op, &tracer)?;
    Ok(Trace { tracer })
}
