//! Trees taken apart for the transforms that are written in Python.

use crate::array::PyArray;
use crate::tree::{Tree, a_thing};
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
    let arrays = leaves.len();
    let leaves: Vec<_> =
        leaves.into_iter().map(|x| Bound::new(tree.py(), PyArray::new(x))).collect::<PyResult<_>>()?;
    Ok((PyList::new(tree.py(), leaves)?, Structure { tree: structure, arrays }))
}
