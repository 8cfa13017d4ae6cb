//! `vjp`, `jvp`, `linearize` and `hvp`: products of vectors with the Jacobian or Hessian of a function.

use super::grad::{Grad, items};
use super::{call, check_callable, flatten_result};
use crate::array::PyArray;
use crate::errors::{OrRaise, from_py};
use crate::reads::warn_lost;
use crate::tree::{Handed, Tree, a_thing};
use covector_core::shape::ShapeText;
use covector_core::transforms::{Tracer, vjp_flat};
use covector_core::{Array, Error, Result, ops};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};

/// Compute the vector-Jacobian product.
///
/// The product of the ``cotangents`` with the Jacobian of ``fun`` at ``primals``, by one pass backwards.
///
/// Args:
///     fun: A function that takes arrays (or trees of arrays) and returns an array or a sequence of arrays.
///     primals: A list of the arrays at which to evaluate the Jacobian.
///     cotangents: A list of arrays of the shapes and types of the outputs of ``fun``.
///
/// Returns:
///     The list of the outputs of ``fun``, and the list of the products, one for each primal.
///
/// Example:
///     >>> import covector.core as mx
///     >>> mx.vjp(mx.sin, [mx.array(0.0)], [mx.array(2.0)])
///     ([array(0, dtype=float32)], [array(2, dtype=float32)])
#[pyfunction]
pub(super) fn vjp<'py>(
    fun: &Bound<'py, PyAny>,
    primals: &Bound<'py, PyAny>,
    cotangents: &Bound<'py, PyAny>,
) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
    let py = fun.py();
    check_callable("vjp", fun)?;
    let given = Primals::new("vjp", "primals", primals)?;
    let cotangents = listed("vjp", "cotangents", cotangents)?;
    let mut outputs: Option<Trees> = None;
    let traced = vjp_flat(&given.leaves, |xs| {
        let (trees, leaves) = given.call("vjp", py, |args| call("vjp", fun, args, None), xs)?;
        outputs = Some(trees);
        Ok(leaves)
    })
    .or_raise()?;
    warn_lost(py, "vjp", &traced)?;
    let outputs = outputs.expect("the function ran");
    let cotangents = outputs.like("vjp", "cotangent", "output", &cotangents, traced.outputs())?;
    let products = traced.pullback(&cotangents).or_raise()?;
    Ok((outputs.list(py, traced.outputs())?, given.trees.list(py, &products)?))
}

/// Compute the Jacobian-vector product.
///
/// The product of the Jacobian of ``fun`` at ``primals`` with the ``tangents``, by one pass forwards.
///
/// Args:
///     fun: A function that takes arrays (or trees of arrays) and returns an array or a sequence of arrays.
///     primals: A list of the arrays at which to evaluate the Jacobian.
///     tangents: A list of arrays of the shapes and types of the ``primals``.
///
/// Returns:
///     The list of the outputs of ``fun``, and the list of their tangents.
///
/// Example:
///     >>> import covector.core as mx
///     >>> mx.jvp(mx.sin, [mx.array(0.0)], [mx.array(2.0)])
///     ([array(0, dtype=float32)], [array(2, dtype=float32)])
#[pyfunction]
pub(super) fn jvp<'py>(
    fun: &Bound<'py, PyAny>,
    primals: &Bound<'py, PyAny>,
    tangents: &Bound<'py, PyAny>,
) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
    check_callable("jvp", fun)?;
    jvp_of("jvp", |args| call("jvp", fun, args, None), primals, tangents)
}

/// The product of the Hessian of a scalar function with a vector, without the matrix.
///
/// Args:
///     fun: A function that returns a scalar array.
///     primals: A list of the arrays (or trees of arrays) at which to evaluate the Hessian.
///     tangents: A list of the same structure: the vector.
///
/// Returns:
///     The list of the products, one for each primal.
///
/// Example:
///     >>> import covector.core as mx
///     >>> mx.hvp(lambda x: (x * x * x).sum(), [mx.array([1.0, 2.0])], [mx.array([1.0, 1.0])])
///     [array([6, 12], dtype=float32)]
#[pyfunction]
pub(super) fn hvp<'py>(
    fun: &Bound<'py, PyAny>,
    primals: &Bound<'py, PyAny>,
    tangents: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = fun.py();
    let count = listed("hvp", "primals", primals)?.len();
    let grad = Grad::new("hvp", fun, Some(PyTuple::new(py, 0..count)?.as_any()), None)?;
    let gradients = |args: &Bound<'py, PyTuple>| {
        let grads = grad.call(fun, args, None)?;
        // One gradient may itself be a list or tuple.
        if count > 1 { Ok(grads) } else { Ok(PyList::new(py, [grads])?.into_any()) }
    };
    Ok(jvp_of("hvp", |args| gradients(args).map_err(from_py), primals, tangents)?.1)
}

/// The outputs of the function that `run` calls, and their tangents.
fn jvp_of<'py>(
    op: &'static str,
    run: impl FnOnce(&Bound<'py, PyTuple>) -> Result<Bound<'py, PyAny>>,
    primals: &Bound<'py, PyAny>,
    tangents: &Bound<'py, PyAny>,
) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
    let py = primals.py();
    let given = Primals::new(op, "primals", primals)?;
    let tangents = listed(op, "tangents", tangents)?;
    let tangents = given.trees.like(op, "tangent", "primal", &tangents, &given.leaves)?;
    let mut outputs: Option<Trees> = None;
    let traced = vjp_flat(&given.leaves, |xs| {
        let (trees, leaves) = given.call(op, py, run, xs)?;
        outputs = Some(trees);
        Ok(leaves)
    })
    .or_raise()?;
    warn_lost(py, op, &traced)?;
    let outputs = outputs.expect("the function ran");
    let tangents = traced.pushforward(&tangents).or_raise()?;
    Ok((outputs.list(py, traced.outputs())?, outputs.list(py, &tangents)?))
}

/// Compute the outputs of a function and its linear map.
///
/// ``fun`` runs once; the map then gives the Jacobian-vector product for any tangents.
///
/// Args:
///     fun: A function that takes arrays (or trees of arrays) and returns an array or a sequence of arrays.
///     primals: A list of the arrays at which to evaluate the Jacobian.
///
/// Returns:
///     The list of the outputs of ``fun``, and the function from a list of tangents of the ``primals`` to the list
///     of the tangents of the outputs.
///
/// Example:
///     >>> import covector.core as mx
///     >>> outs, f_jvp = mx.linearize(mx.sin, [mx.array(0.0)])
///     >>> f_jvp([mx.array(2.0)])
///     [array(2, dtype=float32)]
#[pyfunction]
pub(super) fn linearize<'py>(
    fun: &Bound<'py, PyAny>,
    primals: &Bound<'py, PyAny>,
) -> PyResult<(Bound<'py, PyAny>, LinearMap)> {
    check_callable("linearize", fun)?;
    let given = Primals::new("linearize", "primals", primals)?;
    given.check_types("linearize", "primals", fun.py())?;
    let mut outputs: Option<Trees> = None;
    let traced = vjp_flat(&given.leaves, |xs| {
        let (trees, leaves) =
            given.call("linearize", fun.py(), |args| call("linearize", fun, args, None), xs)?;
        outputs = Some(trees);
        Ok(leaves)
    })
    .or_raise()?;
    warn_lost(fun.py(), "linearize", &traced)?;
    let outputs = outputs.expect("the function ran");
    let values = outputs.list(fun.py(), traced.outputs())?;
    Ok((values, LinearMap { given, outputs, traced }))
}

/// The function from tangents to tangents that `linearize` returns.
#[pyclass(frozen, name = "linear_map", module = "covector.core")]
pub(super) struct LinearMap {
    given: Primals,
    outputs: Trees,
    traced: Tracer,
}

#[pymethods]
impl LinearMap {
    fn __call__<'py>(&self, tangents: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = tangents.py();
        let tangents = listed("linearize", "tangents", tangents)?;
        let tangents =
            self.given.trees.like("linearize", "tangent", "primal", &tangents, &self.given.leaves)?;
        let products = self.traced.pushforward(&tangents).or_raise()?;
        self.outputs.list(py, &products)
    }
}

/// Trees side by side, over one list of leaves.
struct Trees {
    trees: Vec<Tree>,
    /// The end of each tree's leaves.
    ends: Vec<usize>,
}

impl Trees {
    fn each<'a, 'py>(
        &'a self,
        py: Python<'py>,
        leaves: &'a [Array],
    ) -> impl ExactSizeIterator<Item = PyResult<Bound<'py, PyAny>>> + use<'a, 'py> {
        self.parts(leaves).map(move |(tree, leaves)| tree.unflatten(py, leaves))
    }

    /// Each tree with its part of the leaves.
    fn parts<'a>(
        &'a self,
        leaves: &'a [Array],
    ) -> impl ExactSizeIterator<Item = (&'a Tree, &'a [Array])> + use<'a> {
        self.trees.iter().enumerate().map(move |(i, tree)| {
            let first = i.checked_sub(1).map_or(0, |before| self.ends[before]);
            (tree, &leaves[first..self.ends[i]])
        })
    }

    fn list<'py>(&self, py: Python<'py>, leaves: &[Array]) -> PyResult<Bound<'py, PyAny>> {
        Ok(PyList::new(py, self.each(py, leaves).collect::<PyResult<Vec<_>>>()?)?.into_any())
    }

    /// The (co)tangents `given` for these trees, as a flat list; `of` are their arrays.
    fn like(
        &self,
        op: &'static str,
        what: &str,
        owner: &str,
        given: &[Bound<'_, PyAny>],
        of: &[Array],
    ) -> PyResult<Vec<Array>> {
        if given.len() != self.trees.len() {
            return Err(PyValueError::new_err(format!(
                "[{op}] {} {what}(s) were given for {} {owner}(s); give one for each",
                given.len(),
                self.trees.len()
            )));
        }
        let mut found = Vec::with_capacity(of.len());
        for (i, (tree, given)) in self.trees.iter().zip(given).enumerate() {
            let name = format!("{what}s[{i}]");
            for (k, x) in tree.match_up(op, &name, given)?.into_iter().enumerate() {
                let of = &of[found.len()];
                let Ok(x) = x.cast::<PyArray>() else {
                    return Err(PyTypeError::new_err(format!(
                        "[{op}] {name}{} must be an array of the shape and type of its {owner}, but it is {}",
                        tree.leaf_path(given.py(), k),
                        a_thing(&x)
                    )));
                };
                let x = fitting(x.get().get(), of).or_raise()?;
                if x.aval() != of.aval() {
                    let text = |x: &Array| format!("{} of shape {}", x.dtype(), ShapeText(x.shape()));
                    let path = tree.leaf_path(given.py(), k);
                    let message = format!(
                        "{name}{path} is {}, but its {owner} is {}; they must be equal",
                        text(&x),
                        text(of)
                    );
                    return Err(Error::shape(op, message)).or_raise();
                }
                found.push(x);
            }
        }
        Ok(found)
    }
}

/// A (co)tangent converted to the type of its array, if that loses only precision. Integers have no derivative, so their
/// (co)tangents are always zero.
fn fitting(x: Array, of: &Array) -> Result<Array> {
    let (have, want) = (x.dtype(), of.dtype());
    if x.shape() != of.shape() || have == want {
        return Ok(x);
    }
    if !want.is_inexact() {
        return Ok(ops::zeros_like(of));
    }
    if want.is_complex() || have.is_float() {
        return ops::try_astype(&x, want);
    }
    Ok(x)
}

/// The primals of a call.
struct Primals {
    /// The given objects.
    given: Vec<Py<PyAny>>,
    trees: Trees,
    leaves: Vec<Array>,
}

impl Primals {
    fn new(op: &str, what: &str, given: &Bound<'_, PyAny>) -> PyResult<Self> {
        let mut leaves = Vec::new();
        let (mut trees, mut ends) = (Vec::new(), Vec::new());
        let given_list = listed(op, what, given)?;
        for (i, x) in given_list.iter().enumerate() {
            let tree = Tree::flatten(x, &mut leaves)?;
            if let Some((path, x)) = tree.first_static(given.py()) {
                return Err(PyTypeError::new_err(format!(
                    "[{op}] {what}[{i}]{path} is {}, not an array; make an array of it with mx.array, or capture it \
                     in the function instead",
                    a_thing(&x)
                )));
            }
            trees.push(tree);
            ends.push(leaves.len());
        }
        let given = given_list.into_iter().map(Bound::unbind).collect();
        Ok(Self { given, trees: Trees { trees, ends }, leaves })
    }

    /// Refuses arrays that have no derivative. `vjp` and `jvp` accept them, as in MLX.
    fn check_types(&self, op: &'static str, what: &str, py: Python<'_>) -> PyResult<()> {
        let Some(bad) = self.leaves.iter().position(|x| !x.dtype().is_inexact()) else { return Ok(()) };
        let k = self.trees.ends.iter().position(|&end| bad < end).unwrap_or_default();
        let first = k.checked_sub(1).map_or(0, |before| self.trees.ends[before]);
        let path = self.trees.trees[k].leaf_path(py, bad - first);
        let message = format!(
            "{what}[{k}]{path} is {}; only floating-point and complex arrays have derivatives. Convert it with astype, or \
             capture it in the function instead",
            self.leaves[bad].dtype()
        );
        Err(Error::kind(op, message)).or_raise()
    }

    /// Calls the function on `xs` in place of the primals, through `run`, and flattens its outputs.
    fn call<'py>(
        &self,
        op: &'static str,
        py: Python<'py>,
        run: impl FnOnce(&Bound<'py, PyTuple>) -> Result<Bound<'py, PyAny>>,
        xs: &[Array],
    ) -> Result<(Trees, Vec<Array>)> {
        let handed: Vec<Handed<'_>> = self
            .trees
            .parts(xs)
            .map(|(tree, xs)| tree.hand_out(py, xs))
            .collect::<PyResult<_>>()
            .map_err(from_py)?;
        let args = PyTuple::new(py, handed.iter().map(Handed::root)).map_err(from_py)?;
        let result = run(&args);
        for (((tree, xs), handed), given) in self.trees.parts(xs).zip(&handed).zip(&self.given) {
            tree.write_back(handed, xs, given.bind(py)).map_err(from_py)?;
        }
        let result = result?;
        let mut leaves = Vec::new();
        let (mut trees, mut ends) = (Vec::new(), Vec::new());
        let outputs = items(&result).unwrap_or_else(|| vec![result]);
        for output in &outputs {
            trees.push(flatten_result(op, output, false, &mut leaves).map_err(from_py)?);
            ends.push(leaves.len());
        }
        if leaves.is_empty() {
            return Err(Error::value(op, "the function returned no arrays; return at least one"));
        }
        Ok((Trees { trees, ends }, leaves))
    }
}

/// The items of a list or tuple; a single array counts as a list of one.
fn listed<'py>(op: &str, what: &str, given: &Bound<'py, PyAny>) -> PyResult<Vec<Bound<'py, PyAny>>> {
    if given.is_instance_of::<PyArray>() {
        return Ok(vec![given.clone()]);
    }
    items(given).ok_or_else(|| {
        PyTypeError::new_err(format!(
            "[{op}] {what} must be a list or tuple of arrays, but {} was given; put it into a list",
            a_thing(given)
        ))
    })
}
