//! `mx.random`: MLX's functions, names and streams over the core's.

use crate::array::PyArray;
use crate::convert::Arr;
use crate::errors::OrRaise;
use crate::functions::functions;
use covector_core::{Array, random};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;

fn wrap(result: covector_core::Result<Array>) -> PyResult<PyArray> {
    result.or_raise().map(PyArray::new)
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
    /// Sets the state of this thread, from which functions without a key take their keys.
    fn seed ["seed": seed] (seed: Bound<'py, PyAny>) -> () {
        random::seed(seeded(&seed)?);
        Ok(())
    }

    /// The key of a seed: two `uint32`, which determine all numbers drawn with it.
    fn key ["key": seed] (seed: Bound<'py, PyAny>) -> PyArray {
        Ok(PyArray::new(random::key(seeded(&seed)?)))
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

/// The key from which functions without a key split theirs.
#[pyfunction]
fn _state() -> PyArray {
    PyArray::new(random::state())
}

/// Sets the key that `_state` returns.
#[pyfunction]
fn _set_state(key: Arr) -> PyResult<()> {
    random::set_state(&key).or_raise()
}

/// The submodule.
pub(crate) fn module(py: Python<'_>) -> PyResult<Bound<'_, PyModule>> {
    let m = PyModule::new(py, "random")?;
    m.setattr("__doc__", "Random numbers: the same as MLX's for the same seed or key.")?;
    register(&m)?;
    m.add_function(wrap_pyfunction!(_state, &m)?)?;
    m.add_function(wrap_pyfunction!(_set_state, &m)?)?;
    Ok(m)
}
