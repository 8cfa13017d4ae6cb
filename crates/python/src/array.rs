//! `array`: the Python object around a lazy array.

use covector_core::Array;
use pyo3::prelude::*;
use std::sync::{Mutex, MutexGuard};

/// An n-dimensional array, computed when its values are asked for.
///
/// Arrays of Rust are immutable; Python's `a[i] = v` and `a += v` give the object another one.
#[pyclass(frozen, name = "array", module = "covector.core", weakref)]
pub(crate) struct PyArray {
    inner: Mutex<Array>,
}

impl PyArray {
    pub(crate) fn new(array: Array) -> Self {
        Self { inner: Mutex::new(array) }
    }

    fn lock(&self) -> MutexGuard<'_, Array> {
        self.inner.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// The array the object holds now.
    pub(crate) fn get(&self) -> Array {
        self.lock().clone()
    }

    /// Gives the object another array.
    pub(crate) fn set(&self, array: Array) {
        let old = std::mem::replace(&mut *self.lock(), array);
        // After the lock is gone: dropping a graph may take a while.
        drop(old);
    }

    /// Looks at the array without taking a reference to it. `f` must not call Python.
    pub(crate) fn peek<R>(&self, f: impl FnOnce(&Array) -> R) -> R {
        f(&self.lock())
    }
}
