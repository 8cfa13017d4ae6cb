//! `vmap`: a function of single examples as a function of batches.

use super::{Transformed, What, call, check_callable, flatten_result};
use crate::errors::{OrRaise, from_py};
use crate::tree::{Tree, a_thing};
use covector_core::transforms::{Randomness, vmap_flat_with};
use pyo3::PyTraverseError;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::gc::PyVisit;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyInt, PyList, PyTuple};

/// Returns a vectorized version of ``fun``.
///
/// ``fun`` is traced once, on arguments without their batch axis, and then replayed on whole batches.
///
/// Args:
///     fun: A function of arrays or trees of arrays that returns arrays or trees of arrays.
///     in_axes (int, None or tree of these): The batch axis of each argument; ``None`` for an argument that all examples
///         share. A tree may end above the arrays: its int is then the axis of all arrays below.
///     out_axes (int, None or tree of these): The position of the batch axis in each result.
///     randomness (str): The rule for random numbers drawn without a key: ``"same"``, one draw for all examples;
///         ``"different"``, a draw for each example; ``"error"``, not allowed.
///
/// Returns:
///     The vectorized function.
///
/// Example:
///     >>> import covector.core as mx
///     >>> mx.vmap(mx.grad(mx.square))(mx.array([1.0, 2.0, 3.0]))
///     array([2, 4, 6], dtype=float32)
#[pyfunction]
#[pyo3(
    signature = (fun, in_axes=Axes::Zero, out_axes=Axes::Zero, randomness="same"),
    text_signature = "(fun, in_axes=0, out_axes=0, randomness='same')"
)]
pub(super) fn vmap<'py>(
    fun: Bound<'py, PyAny>,
    in_axes: Axes<'py>,
    out_axes: Axes<'py>,
    randomness: &str,
) -> PyResult<Bound<'py, Transformed>> {
    let py = fun.py();
    check_callable("vmap", &fun)?;
    let randomness = match randomness {
        "same" => Randomness::Same,
        "different" => Randomness::Different,
        "error" => Randomness::Error,
        other => {
            return Err(PyValueError::new_err(format!(
                "[vmap] randomness must be 'same', 'different' or 'error', but {other:?} was given"
            )));
        }
    };
    let (in_axes, out_axes) = (in_axes.object(py)?, out_axes.object(py)?);
    let mapped = check_axes("in_axes", in_axes.bind(py))?;
    check_axes("out_axes", out_axes.bind(py))?;
    if !mapped {
        return Err(PyValueError::new_err(
            "[vmap] in_axes maps no argument: at least one axis must not be None; without a batch call the function \
             as it is",
        ));
    }
    Transformed::wrap(fun, What::Vmap(Vmap { in_axes, out_axes, randomness }))
}

/// An argument for which `None` is a value, different from a missing argument.
pub(super) enum Axes<'py> {
    Zero,
    Given(Bound<'py, PyAny>),
}

impl<'py> Axes<'py> {
    fn object(self, py: Python<'py>) -> PyResult<Py<PyAny>> {
        Ok(match self {
            Axes::Zero => 0i32.into_pyobject(py)?.into_any().unbind(),
            Axes::Given(axes) => axes.unbind(),
        })
    }
}

impl<'a, 'py> FromPyObject<'a, 'py> for Axes<'py> {
    type Error = PyErr;
    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        Ok(Axes::Given(object.to_owned()))
    }
}

/// Refuses axes that are neither ints nor None. Returns whether any is an int.
fn check_axes(what: &str, axes: &Bound<'_, PyAny>) -> PyResult<bool> {
    let mut arrays = Vec::new();
    let tree = Tree::flatten(axes, &mut arrays)?;
    let mut any = false;
    for (path, axis) in tree.statics(axes.py()) {
        if !axis.is_none() && !axis.is_instance_of::<PyInt>() {
            return Err(PyValueError::new_err(format!(
                "[vmap] {what}{path} must be an int or None, but {} was given",
                a_thing(&axis)
            )));
        }
        any |= !axis.is_none();
    }
    if !arrays.is_empty() {
        let path = tree.leaf_path(axes.py(), 0);
        return Err(PyValueError::new_err(format!(
            "[vmap] {what}{path} must be an int or None, but an array was given"
        )));
    }
    Ok(any)
}

/// The mapped axes.
pub(super) struct Vmap {
    in_axes: Py<PyAny>,
    out_axes: Py<PyAny>,
    randomness: Randomness,
}

impl Vmap {
    pub(super) fn call<'py>(
        &self,
        fun: &Bound<'py, PyAny>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = fun.py();
        if kwargs.is_some_and(|k| !k.is_empty()) {
            return Err(PyTypeError::new_err(
                "[vmap] Keyword arguments are not supported; pass them by position, or fix them with \
                 functools.partial or a lambda before vmap",
            ));
        }
        let mut leaves = Vec::new();
        let tree = Tree::flatten(args.as_any(), &mut leaves)?;
        let axes = self.spread_in_axes(&tree, args)?;
        let mut output: Option<Tree> = None;
        let batched = vmap_flat_with(&leaves, &axes, self.randomness, |xs| {
            let args = tree.unflatten(py, xs).map_err(from_py)?;
            let result = call("vmap", fun, args.cast::<PyTuple>().map_err(|e| from_py(e.into()))?, None)?;
            let mut leaves = Vec::new();
            output = Some(flatten_result("vmap", &result, true, &mut leaves).map_err(from_py)?);
            Ok(leaves)
        })
        .or_raise()?;
        let output = output.expect("the function ran");
        let axes = Self::spread(&output, "out_axes", self.out_axes.bind(py))?;
        output.unflatten(py, &batched.at_axes(&axes).or_raise()?)
    }

    /// The axes of all arrays of a result. For a function that returns one object, they may be in a tuple or list of one.
    fn spread(tree: &Tree, what: &str, axes: &Bound<'_, PyAny>) -> PyResult<Vec<Option<isize>>> {
        let all = tree.spread_axes("vmap", what, axes);
        let only = match super::grad::items(axes).as_deref() {
            Some([only]) => only.clone(),
            _ => return all,
        };
        all.or_else(|error| tree.spread_axes("vmap", what, &only).map_err(|_| error))
    }

    /// The axes of all arrays in the arguments. `in_axes` is one axis for all, or a sequence with an item for each argument.
    /// For a function of one argument, it may also be the axes of that argument.
    fn spread_in_axes(&self, tree: &Tree, args: &Bound<'_, PyTuple>) -> PyResult<Vec<Option<isize>>> {
        let in_axes = self.in_axes.bind(args.py());
        let spread = |axes: &Bound<'_, PyAny>| tree.spread_axes("vmap", "in_axes", axes);
        if args.len() != 1 || in_axes.is_instance_of::<PyInt>() {
            return spread(in_axes);
        }
        let wrapped = PyTuple::new(args.py(), [in_axes])?;
        if in_axes.is_instance_of::<PyTuple>() || in_axes.is_instance_of::<PyList>() {
            return spread(in_axes).or_else(|error| spread(wrapped.as_any()).map_err(|_| error));
        }
        spread(wrapped.as_any())
    }

    pub(super) fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.in_axes)?;
        visit.call(&self.out_axes)
    }
}
