//! `mx.random`: MLX's functions, names and streams over the core's.

use crate::array::PyArray;
use crate::convert::{Arr, Ints, Operand, Value};
use crate::dtype::DtypeArg;
use crate::errors::OrRaise;
use crate::functions::functions;
use crate::scalar::{FromScalar, Scalar};
use covector_core::random::{self, Operand as Parameter};
use covector_core::{Array, Dtype};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;

fn wrap(result: covector_core::Result<Array>) -> PyResult<PyArray> {
    result.or_raise().map(PyArray::new)
}

fn parameter(value: Value) -> PyResult<Parameter> {
    Ok(match value.0 {
        Operand::Scalar(Scalar::Complex(..)) | Operand::Typed(Scalar::Complex(..), _) => {
            return Err(PyValueError::new_err(
                "[random] a complex number is no parameter of a distribution here",
            ));
        }
        Operand::Scalar(Scalar::Int(v)) | Operand::Typed(Scalar::Int(v), _) => v.into(),
        Operand::Scalar(Scalar::Uint(v)) | Operand::Typed(Scalar::Uint(v), _) => v.into(),
        Operand::Scalar(scalar) | Operand::Typed(scalar, _) => Parameter::Number(f64::from_scalar(scalar)),
        Operand::Array(array) | Operand::Foreign(array) => Parameter::Array(array),
    })
}

fn or(value: Option<Value>, default: f64) -> PyResult<Parameter> {
    value.map_or(Ok(Parameter::Number(default)), parameter)
}

/// The shape asked for; `()` without one.
fn extents(op: &str, shape: Option<Ints>) -> PyResult<Vec<usize>> {
    shape.map_or(Ok(Vec::new()), |s| s.shape(op))
}

fn some_extents(op: &str, shape: Option<Ints>) -> PyResult<Option<Vec<usize>>> {
    shape.map(|s| s.shape(op)).transpose()
}

fn seeded(seed: &Bound<'_, PyAny>) -> PyResult<u64> {
    seed.extract::<u64>().map_err(|_| {
        PyTypeError::new_err(format!(
            "[random] a seed is an int from 0 to 2**64 - 1, not {}",
            seed.repr().map_or_else(|_| crate::convert::describe(seed), |r| r.to_string())
        ))
    })
}

fn key_of(key: &Option<Arr>) -> Option<&Array> {
    key.as_ref().map(|k| &k.0)
}

functions! {
    /// Sets the state that functions without a key take theirs from, for this thread.
    fn seed ["seed": seed] (seed: Bound<'py, PyAny>) -> () {
        random::seed(seeded(&seed)?);
        Ok(())
    }

    /// The key of a seed: two `uint32` that say everything about the numbers made from it.
    fn key ["key": seed] (seed: Bound<'py, PyAny>) -> PyArray {
        Ok(PyArray::new(random::key(seeded(&seed)?)))
    }

    /// Independent keys made from one: an array of shape `(num, 2)`.
    fn split ["split": key, num = 2] (key: Arr, num: isize) -> PyArray {
        let Ok(count) = usize::try_from(num) else {
            return Err(PyValueError::new_err(format!("[split] {num} keys cannot be made")));
        };
        wrap(random::split(&key, count))
    }

    /// Random unsigned integers that fill all bits of their type: `uint8`, `uint16` or `uint32`.
    fn bits ["bits": shape = None, dtype = None, key = None] (shape: Option<Ints>, dtype: Option<DtypeArg>, key: Option<Arr>) -> PyArray {
        wrap(random::bits(&extents("bits", shape)?, dtype.map_or(Dtype::U32, |d| d.0), key_of(&key)))
    }

    /// Uniform numbers from `low` to `high`, which is not included.
    fn uniform ["uniform": low = None, high = None, shape = None, dtype = None, key = None]
        (low: Option<Value>, high: Option<Value>, shape: Option<Ints>, dtype: Option<DtypeArg>, key: Option<Arr>) -> PyArray
    {
        let shape = extents("uniform", shape)?;
        wrap(random::uniform(or(low, 0.0)?, or(high, 1.0)?, &shape, dtype.map_or(Dtype::F32, |d| d.0), key_of(&key)))
    }

    /// Normally distributed numbers with mean `loc` and standard deviation `scale`.
    fn normal ["normal": shape = None, dtype = None, loc = None, scale = None, key = None]
        (shape: Option<Ints>, dtype: Option<DtypeArg>, loc: Option<Value>, scale: Option<Value>, key: Option<Arr>) -> PyArray
    {
        let shape = extents("normal", shape)?;
        wrap(random::normal(&shape, dtype.map_or(Dtype::F32, |d| d.0), or(loc, 0.0)?, or(scale, 1.0)?, key_of(&key)))
    }

    /// Random integers from `low` to `high`, which is not included.
    fn randint ["randint": low, high, shape = None, dtype = None, key = None]
        (low: Value, high: Value, shape: Option<Ints>, dtype: Option<DtypeArg>, key: Option<Arr>) -> PyArray
    {
        let shape = extents("randint", shape)?;
        wrap(random::randint(parameter(low)?, parameter(high)?, &shape, dtype.map_or(Dtype::I32, |d| d.0), key_of(&key)))
    }

    /// Truth values that are true with probability `p`.
    fn bernoulli ["bernoulli": p = None, shape = None, key = None] (p: Option<Value>, shape: Option<Ints>, key: Option<Arr>) -> PyArray {
        let shape = some_extents("bernoulli", shape)?;
        wrap(random::bernoulli(or(p, 0.5)?, shape.as_deref(), key_of(&key)))
    }

    /// Numbers of the standard normal distribution between `lower` and `upper`.
    fn truncated_normal ["truncated_normal": lower, upper, shape = None, dtype = None, key = None]
        (lower: Value, upper: Value, shape: Option<Ints>, dtype: Option<DtypeArg>, key: Option<Arr>) -> PyArray
    {
        let shape = some_extents("truncated_normal", shape)?;
        wrap(random::truncated_normal(parameter(lower)?, parameter(upper)?, shape.as_deref(), dtype.map_or(Dtype::F32, |d| d.0), key_of(&key)))
    }

    /// Numbers of the standard Gumbel distribution.
    fn gumbel ["gumbel": shape = None, dtype = None, key = None] (shape: Option<Ints>, dtype: Option<DtypeArg>, key: Option<Arr>) -> PyArray {
        wrap(random::gumbel(&extents("gumbel", shape)?, dtype.map_or(Dtype::F32, |d| d.0), key_of(&key)))
    }

    /// Numbers of the Laplace distribution with mean `loc` and the given `scale`.
    fn laplace ["laplace": shape = None, dtype = None, loc = None, scale = None, key = None]
        (shape: Option<Ints>, dtype: Option<DtypeArg>, loc: Option<Value>, scale: Option<Value>, key: Option<Arr>) -> PyArray
    {
        let shape = extents("laplace", shape)?;
        wrap(random::laplace(&shape, dtype.map_or(Dtype::F32, |d| d.0), or(loc, 0.0)?, or(scale, 1.0)?, key_of(&key)))
    }

    /// Indices drawn with the probabilities `softmax(logits)` along an axis.
    fn categorical ["categorical": logits, axis = -1, shape = None, num_samples = None, key = None]
        (logits: Arr, axis: isize, shape: Option<Ints>, num_samples: Option<usize>, key: Option<Arr>) -> PyArray
    {
        let shape = some_extents("categorical", shape)?;
        wrap(random::categorical(&logits, axis, shape.as_deref(), num_samples, key_of(&key)))
    }

    /// The numbers from 0 to `x - 1`, or the parts of an array along an axis, in random order.
    fn permutation ["permutation": x, axis = 0, key = None] (x: Bound<'py, PyAny>, axis: isize, key: Option<Arr>) -> PyArray {
        if !x.is_instance_of::<PyArray>()
            && let Ok(count) = x.extract::<isize>()
        {
            let Ok(count) = usize::try_from(count) else {
                return Err(PyValueError::new_err(format!("[permutation] {count} numbers cannot be permuted")));
            };
            return wrap(random::permutation(count, key_of(&key)));
        }
        wrap(random::permutation_of(&x.extract::<Arr>()?.0, axis, key_of(&key)))
    }
}

/// The key that functions without one split theirs from, as a sequence of one.
#[pyfunction]
fn _state() -> PyArray {
    PyArray::new(random::state())
}

/// Sets the key that `_state` returns.
#[pyfunction]
fn _set_state(key: Arr) -> PyResult<()> {
    random::set_state(&key).or_raise()
}

/// Adds the submodule.
pub(crate) fn register_module(parent: &Bound<'_, PyModule>) -> PyResult<()> {
    let m = PyModule::new(parent.py(), "random")?;
    m.setattr("__doc__", "Random numbers: the same as MLX's for the same seed or key.")?;
    register(&m)?;
    m.add_function(wrap_pyfunction!(_state, &m)?)?;
    m.add_function(wrap_pyfunction!(_set_state, &m)?)?;
    parent.add("_random", m)
}
