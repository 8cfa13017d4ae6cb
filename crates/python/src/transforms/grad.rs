//! `value_and_grad` and `grad`.

use super::{Transformed, What, call, check_callable, parameter_name};
use crate::array::PyArray;
use crate::errors::{OrRaise, from_py};
use crate::reads::warn_lost;
use crate::tree::{Handed, Tree, a_thing};
use covector_core::transforms::{check_loss, vjp_flat};
use covector_core::{Array, Error, ops};
use pyo3::exceptions::{PyOverflowError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString, PyTuple};
use smallvec::SmallVec;

/// Returns a function which computes the value and gradient of ``fun``.
///
/// ``fun`` takes any arguments. The differentiated ones are arrays or trees of arrays (lists, tuples, dicts, named tuples,
/// dataclasses, nested). It returns a scalar array of shape ``()``, or a tuple whose first element is one; the other
/// elements may be any objects, and are returned unchanged. If ``fun`` writes into a container among its arguments, the
/// container has the new values afterwards.
///
/// Args:
///     fun: The function to differentiate.
///     argnums (int or sequence of ints, optional): The positions of the arguments to differentiate. The default is
///         the first argument, if ``argnames`` is not given either.
///     argnames (str or sequence of str, optional): The names of arguments passed by keyword to differentiate.
///
/// Returns:
///     A function with the arguments of ``fun`` that returns ``(output of fun, gradients)``. The gradient has the
///     structure of its argument. For several arguments, ``gradients`` is a tuple in the order of their positions; with
///     ``argnames`` it is ``(positional, {name: gradient})``.
///
/// Example:
///     >>> import covector.core as mx
///     >>> def loss(w, x):
///     ...     return (w * x).square().sum()
///     >>> value, grad = mx.value_and_grad(loss)(mx.array([1.0, 2.0]), mx.array([3.0, 4.0]))
///     >>> value
///     array(73, dtype=float32)
///     >>> grad
///     array([18, 64], dtype=float32)
#[pyfunction]
#[pyo3(signature = (fun, argnums=None, argnames=None), text_signature = "(fun, argnums=None, argnames=[])")]
pub(super) fn value_and_grad<'py>(
    fun: Bound<'py, PyAny>,
    argnums: Option<&Bound<'py, PyAny>>,
    argnames: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, Transformed>> {
    let grad = Grad::new("value_and_grad", &fun, argnums, argnames)?;
    Transformed::wrap(fun, What::Grad(grad))
}

/// Returns a function which computes the gradient of ``fun``.
///
/// :func:`value_and_grad` without the value. ``fun`` must return a scalar array.
///
/// Example:
///     >>> import covector.core as mx
///     >>> mx.grad(mx.sin)(mx.array(0.0))
///     array(1, dtype=float32)
#[pyfunction]
#[pyo3(signature = (fun, argnums=None, argnames=None), text_signature = "(fun, argnums=None, argnames=[])")]
pub(super) fn grad<'py>(
    fun: Bound<'py, PyAny>,
    argnums: Option<&Bound<'py, PyAny>>,
    argnames: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, Transformed>> {
    let grad = Grad::new("grad", &fun, argnums, argnames)?;
    Transformed::wrap(fun, What::Grad(grad))
}

/// The arguments to differentiate, and the form of the result.
pub(super) struct Grad {
    pub(super) op: &'static str,
    /// Positions, ascending.
    argnums: Vec<usize>,
    argnames: Vec<Py<PyString>>,
    with_value: bool,
}

impl Grad {
    pub(super) fn new(
        op: &'static str,
        fun: &Bound<'_, PyAny>,
        argnums: Option<&Bound<'_, PyAny>>,
        argnames: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        check_callable(op, fun)?;
        let argnames = argnames.map(|names| parse_names(op, names)).transpose()?.unwrap_or_default();
        let given = argnums.is_some() || !argnames.is_empty();
        let argnums = match argnums {
            Some(argnums) => parse_numbers(op, argnums)?,
            None if argnames.is_empty() => vec![0],
            None => Vec::new(),
        };
        if argnums.is_empty() && argnames.is_empty() {
            return Err(PyValueError::new_err(format!(
                "[{op}] argnums=[] asks for no gradient; name at least one argument in argnums or argnames"
            )));
        }
        if given {
            check_signature(op, fun, &argnums, &argnames)?;
        }
        Ok(Self { op, argnums, argnames, with_value: op == "value_and_grad" })
    }

    pub(super) fn call<'py>(
        &self,
        fun: &Bound<'py, PyAny>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = fun.py();
        let op = self.op;
        let mut leaves = Vec::new();
        // The differentiated arguments, positional ones first, each with the index of its first leaf.
        let mut trees: Vec<(Tree, usize)> = Vec::with_capacity(self.argnums.len() + self.argnames.len());
        for &i in &self.argnums {
            if i >= args.len() {
                return Err(PyValueError::new_err(format!(
                    "[{op}] argnums asks for the gradient of argument {i}, but the function was called with {} \
                     positional argument(s); pass it by position, or name it in argnames",
                    args.len()
                )));
            }
            let first = leaves.len();
            trees.push((Tree::flatten(&args.get_item(i)?, &mut leaves)?, first));
        }
        for name in &self.argnames {
            let value = kwargs.map(|k| k.get_item(name)).transpose()?.flatten();
            let Some(value) = value else { return Err(self.missing_name(py, name, kwargs)) };
            let first = leaves.len();
            trees.push((Tree::flatten(&value, &mut leaves)?, first));
        }
        self.check_leaves(fun, &trees, &leaves)?;

        let given = (args, kwargs);
        let mut value: Option<Bound<'py, PyAny>> = None;
        let traced = vjp_flat(&leaves, |xs| {
            let handed = self.hand_out(py, &trees, xs).map_err(from_py)?;
            let (args, kwargs) = self.rebuild(py, args, kwargs, &handed).map_err(from_py)?;
            let result = call(op, fun, &args, kwargs.as_ref());
            // Values that the function wrote before a failure are kept, too.
            let written = self.write_back(given, &trees, &handed, xs);
            let result = result?;
            written.map_err(from_py)?;
            let loss = self.loss(&result).map_err(from_py)?;
            check_loss(op, &loss)?;
            value = Some(result);
            Ok(vec![loss])
        })
        .or_raise()?;
        warn_lost(py, op, &traced)?;
        let grads = traced.pullback(&[ops::ones_like(&traced.outputs()[0])]).or_raise()?;
        drop(traced);

        let grads = self.assemble(py, &trees, &grads)?;
        match value {
            Some(value) if self.with_value => Ok((value, grads).into_pyobject(py)?.into_any()),
            _ => Ok(grads),
        }
    }

    /// The differentiated arguments that are passed to the function.
    fn hand_out<'py>(
        &self,
        py: Python<'py>,
        trees: &[(Tree, usize)],
        xs: &[Array],
    ) -> PyResult<SmallVec<[Handed<'py>; 2]>> {
        parts(trees, xs).map(|(tree, xs)| tree.hand_out(py, xs)).collect()
    }

    /// Writes the function's changes of its containers back to the caller's containers.
    fn write_back<'py>(
        &self,
        (args, kwargs): (&Bound<'py, PyTuple>, Option<&Bound<'py, PyDict>>),
        trees: &[(Tree, usize)],
        handed: &[Handed<'py>],
        xs: &[Array],
    ) -> PyResult<()> {
        for (k, ((tree, xs), handed)) in parts(trees, xs).zip(handed).enumerate() {
            if !tree.is_writable() {
                continue;
            }
            let original = match self.argnums.get(k) {
                Some(&i) => Some(args.get_item(i)?),
                None => {
                    kwargs.map(|n| n.get_item(&self.argnames[k - self.argnums.len()])).transpose()?.flatten()
                }
            };
            if let Some(original) = original {
                tree.write_back(handed, xs, &original)?;
            }
        }
        Ok(())
    }

    /// The arguments, with the passed objects in place of the differentiated ones.
    fn rebuild<'py>(
        &self,
        py: Python<'py>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
        handed: &[Handed<'py>],
    ) -> PyResult<(Bound<'py, PyTuple>, Option<Bound<'py, PyDict>>)> {
        let mut rebuilt = handed.iter().map(Handed::root);
        let mut positional: Vec<Bound<'py, PyAny>> = args.iter().collect();
        for (&i, tree) in self.argnums.iter().zip(&mut rebuilt) {
            positional[i] = tree;
        }
        let kwargs = match kwargs {
            Some(kwargs) if !self.argnames.is_empty() => {
                let kwargs = kwargs.copy()?;
                for (name, tree) in self.argnames.iter().zip(&mut rebuilt) {
                    kwargs.set_item(name, tree)?;
                }
                Some(kwargs)
            }
            other => other.cloned(),
        };
        Ok((PyTuple::new(py, positional)?, kwargs))
    }

    /// Each differentiated argument with other arrays.
    fn each<'a, 'py>(
        &self,
        py: Python<'py>,
        trees: &'a [(Tree, usize)],
        xs: &'a [Array],
    ) -> impl Iterator<Item = PyResult<Bound<'py, PyAny>>> + use<'a, 'py> {
        parts(trees, xs).map(move |(tree, xs)| tree.unflatten(py, xs))
    }

    /// The gradients in the form of the result.
    fn assemble<'py>(
        &self,
        py: Python<'py>,
        trees: &[(Tree, usize)],
        grads: &[Array],
    ) -> PyResult<Bound<'py, PyAny>> {
        let mut each = self.each(py, trees, grads);
        let n = self.argnums.len();
        let positional = match n {
            0 => py.None().into_bound(py),
            1 => each.next().unwrap_or_else(|| Ok(py.None().into_bound(py)))?,
            _ => PyTuple::new(py, each.by_ref().take(n).collect::<PyResult<Vec<_>>>()?)?.into_any(),
        };
        if self.argnames.is_empty() {
            return Ok(positional);
        }
        let named = PyDict::new(py);
        for (name, grad) in self.argnames.iter().zip(each) {
            named.set_item(name, grad?)?;
        }
        Ok((positional, named).into_pyobject(py)?.into_any())
    }

    /// The loss in the function's result.
    fn loss(&self, result: &Bound<'_, PyAny>) -> PyResult<Array> {
        if let Ok(loss) = result.cast::<PyArray>() {
            return Ok(loss.get().get());
        }
        let op = self.op;
        let got = match result.cast::<PyTuple>() {
            Ok(tuple) => match tuple.get_item(0) {
                Ok(first) => match first.cast::<PyArray>() {
                    Ok(loss) if self.with_value => return Ok(loss.get().get()),
                    Ok(_) => "a tuple whose first element is an array".to_owned(),
                    Err(_) => format!("a tuple whose first element is {}", a_thing(&first)),
                },
                Err(_) => "an empty tuple".to_owned(),
            },
            Err(_) => a_thing(result),
        };
        let remedy = if self.with_value {
            "return a scalar array, or a tuple that starts with one, such as (loss, aux)"
        } else if result.is_instance_of::<PyTuple>() {
            "return the scalar array alone, or use value_and_grad, which takes (loss, aux)"
        } else {
            "return a scalar array"
        };
        Err(PyValueError::new_err(format!(
            "[{op}] the function to differentiate must return a scalar array, but it returned {got}; {remedy}"
        )))
    }

    /// Refuses leaves that have no gradient. The message names one.
    fn check_leaves(
        &self,
        fun: &Bound<'_, PyAny>,
        trees: &[(Tree, usize)],
        leaves: &[Array],
    ) -> PyResult<()> {
        let py = fun.py();
        let op = self.op;
        let name = |k: usize| match self.argnums.get(k) {
            Some(&i) => parameter_name(fun, i),
            None => self.argnames[k - self.argnums.len()].to_string(),
        };
        for (k, (tree, _)) in trees.iter().enumerate() {
            if let Some((path, x)) = tree.first_static(py) {
                return Err(PyValueError::new_err(format!(
                    "[{op}] {}{path} is {}, not an array, so it has no gradient; make an array of it with mx.array, \
                     or pass it in an argument that is not differentiated",
                    name(k),
                    a_thing(&x)
                )));
            }
        }
        if let Some(bad) = leaves.iter().position(|x| !x.dtype().is_inexact()) {
            let k = trees.iter().rposition(|(_, first)| *first <= bad).unwrap_or(0);
            let (tree, first) = &trees[k];
            return Err(crate::errors::to_py(Error::kind(
                op,
                format!(
                    "{}{} is {}; only floating-point and complex arrays have gradients. Convert it with astype, or \
                     pass it in an argument that is not differentiated",
                    name(k),
                    tree.leaf_path(py, bad - first),
                    leaves[bad].dtype()
                ),
            )));
        }
        if leaves.is_empty() {
            return Err(PyValueError::new_err(format!(
                "[{op}] {} has no arrays, so there is nothing to differentiate; pass at least one array in it",
                name(0)
            )));
        }
        Ok(())
    }

    fn missing_name(&self, py: Python<'_>, name: &Py<PyString>, kwargs: Option<&Bound<'_, PyDict>>) -> PyErr {
        let names: Vec<String> =
            kwargs.map_or_else(Vec::new, |k| k.keys().iter().map(|k| k.to_string()).collect());
        let received = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        PyValueError::new_err(format!(
            "[{}] argnames asks for the gradient of '{}', but the keyword arguments of the call are: {received}; \
             pass it by keyword, or give its position in argnums",
            self.op,
            name.bind(py)
        ))
    }
}

/// Each tree with its part of the arrays.
fn parts<'a>(trees: &'a [(Tree, usize)], xs: &'a [Array]) -> impl Iterator<Item = (&'a Tree, &'a [Array])> {
    trees.iter().enumerate().map(move |(k, (tree, first))| {
        let end = trees.get(k + 1).map_or(xs.len(), |next| next.1);
        (tree, &xs[*first..end])
    })
}

/// `argnums`: an int, or a sequence of them; ascending.
fn parse_numbers(op: &str, argnums: &Bound<'_, PyAny>) -> PyResult<Vec<usize>> {
    let mut numbers = parse_positions(op, argnums)?.0;
    numbers.sort_unstable();
    if let Some(twice) = numbers.windows(2).find(|w| w[0] == w[1]) {
        return Err(PyValueError::new_err(format!(
            "[{op}] argnums names argument {} more than once; name each once",
            twice[0]
        )));
    }
    Ok(numbers)
}

/// `argnums` in the order given, and whether it is a single int.
pub(super) fn parse_positions(op: &str, argnums: &Bound<'_, PyAny>) -> PyResult<(Vec<usize>, bool)> {
    let wrong = |x: &Bound<'_, PyAny>| {
        PyTypeError::new_err(format!(
            "[{op}] argnums must be an int or a sequence of ints, but {} was given",
            a_thing(x)
        ))
    };
    let number = |x: &Bound<'_, PyAny>| -> PyResult<usize> {
        if x.is_instance_of::<PyArray>() || x.is_instance_of::<PyString>() {
            return Err(wrong(x));
        }
        let n = x.extract::<isize>().map_err(|error| {
            if error.is_instance_of::<PyOverflowError>(x.py()) {
                return PyValueError::new_err(format!(
                    "[{op}] argnums has {x}, but no function has as many arguments"
                ));
            }
            wrong(x)
        })?;
        usize::try_from(n).map_err(|_| {
            PyValueError::new_err(format!(
                "[{op}] argnums has the negative position {n}; count arguments from 0"
            ))
        })
    };
    match number(argnums) {
        Ok(n) => Ok((vec![n], true)),
        Err(e) if e.is_instance_of::<PyValueError>(argnums.py()) => Err(e),
        Err(_) if argnums.is_instance_of::<PyString>() || argnums.is_instance_of::<PyArray>() => {
            Err(wrong(argnums))
        }
        Err(_) => {
            let items = argnums.try_iter().map_err(|_| wrong(argnums))?;
            Ok((items.map(|x| number(&x?)).collect::<PyResult<Vec<_>>>()?, false))
        }
    }
}

/// `argnames`: a str, or a sequence of them; repeated names count once.
fn parse_names(op: &str, argnames: &Bound<'_, PyAny>) -> PyResult<Vec<Py<PyString>>> {
    if let Ok(name) = argnames.cast::<PyString>() {
        return Ok(vec![name.clone().unbind()]);
    }
    let wrong = |x: &Bound<'_, PyAny>| {
        PyTypeError::new_err(format!(
            "[{op}] argnames must be a str or a sequence of str, but {} was given",
            a_thing(x)
        ))
    };
    if argnames.is_instance_of::<PyArray>() {
        return Err(wrong(argnames));
    }
    let mut names: Vec<(Py<PyString>, String)> = Vec::new();
    for name in argnames.try_iter().map_err(|_| wrong(argnames))? {
        let name = name?;
        let name = name.cast::<PyString>().map_err(|_| wrong(&name))?.clone();
        let text = name.to_string();
        if !names.iter().any(|(_, other)| *other == text) {
            names.push((name.unbind(), text));
        }
    }
    Ok(names.into_iter().map(|(name, _)| name).collect())
}

/// Refuses positions and names that a plain Python function does not have, before its first call.
fn check_signature(
    op: &str,
    fun: &Bound<'_, PyAny>,
    argnums: &[usize],
    argnames: &[Py<PyString>],
) -> PyResult<()> {
    const VARARGS: u32 = 0x04;
    const VARKEYWORDS: u32 = 0x08;
    let py = fun.py();
    // The first parameter of a bound method's function is already bound.
    let method = fun.getattr_opt("__func__")?;
    let bound = usize::from(method.is_some());
    let Some(code) = method.as_ref().unwrap_or(fun).getattr_opt("__code__")? else { return Ok(()) };
    let (Ok(flags), Ok(positional), Ok(by_name), Ok(names)) = (
        code.getattr("co_flags").and_then(|x| x.extract::<u32>()),
        code.getattr("co_argcount").and_then(|x| x.extract::<usize>()),
        code.getattr("co_kwonlyargcount").and_then(|x| x.extract::<usize>()),
        code.getattr("co_varnames").and_then(|x| x.extract::<Vec<String>>()),
    ) else {
        return Ok(());
    };
    let own: Vec<&String> = names.iter().take(positional + by_name).skip(bound).collect();
    let takes = |n: usize| match n {
        0 => "no arguments".to_owned(),
        _ => format!("({})", own.iter().map(|s| s.as_str()).collect::<Vec<_>>().join(", ")),
    };
    let positional = positional.saturating_sub(bound);
    if flags & VARARGS == 0
        && let Some(n) = argnums.iter().find(|n| **n >= positional)
    {
        return Err(PyValueError::new_err(format!(
            "[{op}] argnums asks for the gradient of argument {n}, but the function has {positional} positional \
             parameter(s): it takes {}; count from 0",
            takes(own.len())
        )));
    }
    if flags & VARKEYWORDS == 0 {
        for name in argnames {
            let name = name.bind(py).to_string();
            if !own.contains(&&name) {
                return Err(PyValueError::new_err(format!(
                    "[{op}] argnames asks for the gradient of '{name}', but the function has no such parameter: it \
                     takes {}",
                    takes(own.len())
                )));
            }
        }
    }
    Ok(())
}

/// The items of a list or tuple.
pub(super) fn items<'py>(x: &Bound<'py, PyAny>) -> Option<Vec<Bound<'py, PyAny>>> {
    if let Ok(list) = x.cast::<PyList>() {
        return Some(list.iter().collect());
    }
    x.cast::<PyTuple>().ok().map(|tuple| tuple.iter().collect())
}
