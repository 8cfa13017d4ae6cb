//! The Python binding: MLX's names and conventions over `covector-core`.

mod array;
mod errors;
mod transforms;
mod tree;

use pyo3::prelude::*;

/// The native part of the `covector` package; `covector.core` gives its names to the world.
#[pymodule]
fn _covector(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<array::PyArray>()?;
    transforms::register(m)?;
    Ok(())
}
