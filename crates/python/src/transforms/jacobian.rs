//! `jacrev`, `jacfwd`, `value_and_jac`, `hessian`, and `check_grads` for functions of trees, over the core's functions.

use super::grad::{items, parse_positions};
use super::{Transformed, What, call, check_callable, flatten_result};
use crate::array::PyArray;
use crate::errors::{OrRaise, from_py, to_py};
use crate::reads::warn_lost;
use crate::tree::{Tree, a_thing};
use covector_core::transforms::{GradCheck, Tracer, check_grads_flat, jacfwd_flat, jacrev_flat, vjp_flat};
use covector_core::{Array, Error};
use pyo3::exceptions::{PyAssertionError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

/// Returns a function that computes the Jacobian of ``fun`` by reverse mode, one pass for all rows.
///
/// Best for functions with more inputs than outputs. The result has the structure of the output of ``fun``,
/// with the structure of the argument in place of each array; each array has the shape of the output followed
/// by the shape of the input.
///
/// Args:
///     fun: A function of arrays or trees of arrays.
///     argnums (int or sequence of ints): The positions of the arguments to differentiate. For a sequence, the Jacobians
///         are a tuple.
///
/// Example:
///     >>> import covector.core as mx
///     >>> mx.jacrev(lambda x: x * x)(mx.array([1.0, 2.0]))
///     array([[2, 0],
///            [0, 4]], dtype=float32)
#[pyfunction]
#[pyo3(signature = (fun, argnums=None), text_signature = "(fun, argnums=0)")]
pub(super) fn jacrev<'py>(
    fun: Bound<'py, PyAny>,
    argnums: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, Transformed>> {
    Jacobian::wrap("jacrev", fun, argnums, Mode::Reverse)
}

/// Returns a function that computes the Jacobian of ``fun`` by forward mode, one pass for all columns.
///
/// As :func:`jacrev`; best for functions with more outputs than inputs.
#[pyfunction]
#[pyo3(signature = (fun, argnums=None), text_signature = "(fun, argnums=0)")]
pub(super) fn jacfwd<'py>(
    fun: Bound<'py, PyAny>,
    argnums: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, Transformed>> {
    Jacobian::wrap("jacfwd", fun, argnums, Mode::Forward)
}

/// Returns a function that computes ``(output of fun, Jacobian)``, the Jacobian as by :func:`jacrev`.
#[pyfunction]
#[pyo3(signature = (fun, argnums=None), text_signature = "(fun, argnums=0)")]
pub(super) fn value_and_jac<'py>(
    fun: Bound<'py, PyAny>,
    argnums: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, Transformed>> {
    Jacobian::wrap("value_and_jac", fun, argnums, Mode::Reverse)
}

/// Returns a function that computes the second derivatives of ``fun``, by forward over reverse mode.
///
/// Example:
///     >>> import covector.core as mx
///     >>> mx.hessian(lambda x: (x * x * x).sum())(mx.array([1.0, 2.0]))
///     array([[6, 0],
///            [0, 12]], dtype=float32)
#[pyfunction]
#[pyo3(signature = (fun, argnums=None), text_signature = "(fun, argnums=0)")]
pub(super) fn hessian<'py>(
    fun: Bound<'py, PyAny>,
    argnums: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, Transformed>> {
    Jacobian::wrap("hessian", fun, argnums, Mode::Second)
}

#[derive(Clone, Copy)]
enum Mode {
    Reverse,
    Forward,
    Second,
}

/// The arguments to differentiate, and the mode.
pub(super) struct Jacobian {
    pub(super) op: &'static str,
    positions: Positions,
    mode: Mode,
}

/// One position, or a sequence of them.
enum Positions {
    One([usize; 1]),
    Several(Vec<usize>),
}

impl Positions {
    fn list(&self) -> &[usize] {
        match self {
            Self::One(position) => position,
            Self::Several(positions) => positions,
        }
    }
}

impl Jacobian {
    fn wrap<'py>(
        op: &'static str,
        fun: Bound<'py, PyAny>,
        argnums: Option<&Bound<'py, PyAny>>,
        mode: Mode,
    ) -> PyResult<Bound<'py, Transformed>> {
        check_callable(op, &fun)?;
        let positions = match argnums.map(|numbers| parse_positions(op, numbers)).transpose()? {
            None => Positions::One([0]),
            Some((positions, true)) => Positions::One([positions[0]]),
            Some((positions, false)) => Positions::Several(positions),
        };
        Transformed::wrap(fun, What::Jacobian(Self { op, positions, mode }))
    }

    pub(super) fn call<'py>(
        &self,
        fun: &Bound<'py, PyAny>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (py, op) = (fun.py(), self.op);
        let call = Call::new(op, fun, &self.positions, args, kwargs)?;
        let mut output = None;
        let (traced, blocks) = match self.mode {
            Mode::Reverse | Mode::Forward => {
                let traced = vjp_flat(&call.leaves, |xs| call.run(xs, &mut output)).or_raise()?;
                warn_lost(py, op, &traced)?;
                call.check_outputs(&output, &traced)?;
                let derive = if matches!(self.mode, Mode::Forward) { jacfwd_flat } else { jacrev_flat };
                let blocks = derive(op, &traced).or_raise()?;
                (traced, blocks)
            }
            Mode::Second => {
                let traced = vjp_flat(&call.leaves, |xs| {
                    let traced = vjp_flat(xs, |xs| call.run(xs, &mut output))?;
                    warn_lost(py, op, &traced).map_err(from_py)?;
                    call.check_outputs(&output, &traced).map_err(from_py)?;
                    Ok(jacrev_flat(op, &traced)?.concat())
                })
                .or_raise()?;
                warn_lost(py, op, &traced)?;
                let blocks = jacfwd_flat(op, &traced).or_raise()?;
                (traced, blocks)
            }
        };
        drop(traced);
        let (value, structure) = output.expect("the function ran");
        let rows = blocks.iter().map(|row| call.tree.unflatten(py, row));
        let mut rows = rows.collect::<PyResult<Vec<_>>>()?;
        if matches!(self.mode, Mode::Second) {
            // Each element of the gradient has its own row.
            rows = rows
                .chunks(call.leaves.len().max(1))
                .map(|rows| fill(&call.tree, py, rows))
                .collect::<PyResult<_>>()?;
        }
        let jacobian = fill(&structure, py, &rows)?;
        if op == "value_and_jac" {
            return Ok((value, jacobian).into_pyobject(py)?.into_any());
        }
        Ok(jacobian)
    }
}

/// The tree with these objects in place of its arrays.
fn fill<'py>(tree: &Tree, py: Python<'py>, leaves: &[Bound<'py, PyAny>]) -> PyResult<Bound<'py, PyAny>> {
    let mut rest = leaves.iter().rev();
    tree.build(py, |py| Ok(rest.next().map_or_else(|| py.None().into_bound(py), Clone::clone)))
}

/// A function of trees at one point, as a function of the list of its differentiated arrays.
struct Call<'a, 'py> {
    op: &'static str,
    fun: &'a Bound<'py, PyAny>,
    positions: &'a Positions,
    args: &'a Bound<'py, PyTuple>,
    kwargs: Option<&'a Bound<'py, PyDict>>,
    /// The differentiated argument, or a tuple of several.
    tree: Tree,
    leaves: Vec<Array>,
}

/// The function's result, and its structure.
type Returned<'py> = Option<(Bound<'py, PyAny>, Tree)>;

impl<'a, 'py> Call<'a, 'py> {
    fn new(
        op: &'static str,
        fun: &'a Bound<'py, PyAny>,
        positions: &'a Positions,
        args: &'a Bound<'py, PyTuple>,
        kwargs: Option<&'a Bound<'py, PyDict>>,
    ) -> PyResult<Self> {
        let py = fun.py();
        if let Some(n) = positions.list().iter().find(|n| **n >= args.len()) {
            return Err(PyValueError::new_err(format!(
                "[{op}] argnums asks for argument {n}, but the function was called with {} positional argument(s); \
                 count from 0",
                args.len()
            )));
        }
        let picked = match positions {
            Positions::One([n]) => args.get_item(*n)?,
            Positions::Several(positions) => {
                let picked = positions.iter().map(|&n| args.get_item(n)).collect::<PyResult<Vec<_>>>()?;
                PyTuple::new(py, picked)?.into_any()
            }
        };
        let mut leaves = Vec::new();
        let tree = Tree::flatten(&picked, &mut leaves)?;
        if let Some((path, x)) = tree.first_static(py) {
            return Err(PyValueError::new_err(format!(
                "[{op}] the differentiated argument{path} is {}, not an array; make an array of it with mx.array",
                a_thing(&x)
            )));
        }
        if let Some(i) = leaves.iter().position(|x| !x.dtype().is_inexact()) {
            return Err(to_py(Error::kind(
                op,
                format!(
                    "the differentiated argument{} is {}; only floating-point and complex arrays have derivatives. \
                     Convert it with astype",
                    tree.leaf_path(py, i),
                    leaves[i].dtype()
                ),
            )));
        }
        Ok(Self { op, fun, positions, args, kwargs, tree, leaves })
    }

    /// Calls the function on `xs` in place of the differentiated arrays, and flattens its result.
    fn run(&self, xs: &[Array], output: &mut Returned<'py>) -> covector_core::Result<Vec<Array>> {
        let args = self.arguments(xs).map_err(from_py)?;
        let result = call(self.op, self.fun, &args, self.kwargs)?;
        let mut leaves = Vec::new();
        let tree = flatten_result(self.op, &result, false, &mut leaves).map_err(from_py)?;
        *output = Some((result, tree));
        Ok(leaves)
    }

    fn arguments(&self, xs: &[Array]) -> PyResult<Bound<'py, PyTuple>> {
        let py = self.fun.py();
        let picked = self.tree.unflatten(py, xs)?;
        let picked = match self.positions {
            Positions::One(_) => vec![picked],
            Positions::Several(_) => items(&picked).unwrap_or_default(),
        };
        let mut args: Vec<Bound<'py, PyAny>> = self.args.iter().collect();
        for (&n, x) in self.positions.list().iter().zip(picked) {
            args[n] = x;
        }
        PyTuple::new(py, args)
    }

    /// Refuses results that have no derivative.
    fn check_outputs(&self, output: &Returned<'py>, traced: &Tracer) -> PyResult<()> {
        let Some(i) = traced.outputs().iter().position(|x| !x.dtype().is_inexact()) else { return Ok(()) };
        let path = output.as_ref().map(|(_, tree)| tree.leaf_path(self.fun.py(), i)).unwrap_or_default();
        Err(to_py(Error::kind(
            self.op,
            format!(
                "the result{path} of the function is {}; only floating-point and complex results have derivatives. \
                 Leave it out",
                traced.outputs()[i].dtype()
            ),
        )))
    }
}

/// Compares the derivatives of ``fun`` at ``args``, forward and reverse, with differences of its values.
///
/// Along a random direction, the forward derivative must agree with the central difference. For a random covector, the
/// reverse derivative must agree with the forward one. Use float64 arguments if possible: differences of float32 values
/// are inaccurate.
///
/// Args:
///     fun: A function of arrays or trees of arrays, smooth near ``args``.
///     args: A list of the arguments; a single array counts as a list of one.
///     eps (float, optional): The step of the difference.
///     atol (float, optional): The absolute tolerance.
///     rtol (float, optional): The tolerance relative to the size of the numbers.
///     seed (int): The seed of the random directions.
///
/// Raises:
///     AssertionError: If they do not agree. The message gives both numbers and the allowed difference.
#[pyfunction]
#[pyo3(signature = (fun, args, *, eps=None, atol=None, rtol=None, seed=0))]
pub(super) fn check_grads(
    fun: &Bound<'_, PyAny>,
    args: &Bound<'_, PyAny>,
    eps: Option<f64>,
    atol: Option<f64>,
    rtol: Option<f64>,
    seed: u64,
) -> PyResult<()> {
    const OP: &str = "check_grads";
    let py = fun.py();
    check_callable(OP, fun)?;
    let args = if args.is_instance_of::<PyArray>() { Some(vec![args.clone()]) } else { items(args) }.ok_or_else(|| {
        PyTypeError::new_err(format!(
            "[{OP}] args must be a list of the arguments of the function, but {} was given; put it into a list",
            a_thing(args)
        ))
    })?;
    let args = PyTuple::new(py, args)?;
    let positions = Positions::Several((0..args.len()).collect());
    let call = Call::new(OP, fun, &positions, &args, None)?;
    let options = GradCheck { eps, atol, rtol, seed };
    let warn = |traced: &Tracer| warn_lost(py, OP, traced).map_err(from_py);
    let found = check_grads_flat(&call.leaves, |xs| call.run(xs, &mut None), warn, options).or_raise()?;
    match found {
        None => Ok(()),
        Some(disagreement) => Err(PyAssertionError::new_err(format!("[{OP}] {disagreement}"))),
    }
}
