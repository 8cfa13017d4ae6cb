//! The Python binding: MLX's names and conventions over `covector-core`.
//!
//! This crate reads arguments; the core does everything else. Most functions are generated from the core's registry
//! ([`ops`]). Functions whose arguments take several forms are one Rust function each (`ops_*`).

mod activations;
mod array;
mod convert;
mod dlpack;
mod dtype;
mod errors;
mod export;
mod foreign;
mod functions;
mod indexing;
mod nn;
mod numpy;
mod operators;
mod ops;
mod ops_create;
mod ops_fast;
mod ops_products;
mod ops_shape;
mod optim;
mod random;
mod reads;
mod rows;
mod scalar;
mod seeing;
mod stack;
mod system;
mod transforms;
mod tree;

use pyo3::prelude::*;

/// The native part of the `covector` package. The module `covector.core` exports its names.
#[pymodule]
fn _covector(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add("__version__", env!("CARGO_PKG_VERSION"))?;
    m.add("pi", std::f64::consts::PI)?;
    m.add("e", std::f64::consts::E)?;
    m.add("euler_gamma", 0.577_215_664_901_532_9)?;
    m.add("inf", f64::INFINITY)?;
    m.add("nan", f64::NAN)?;
    m.add("newaxis", m.py().None())?;
    errors::register(m)?;
    dtype::register(m)?;
    array::register(m)?;
    let (fast, random) = (ops_fast::module(m.py())?, random::module(m.py())?);
    ops::register(m, &fast, &random)?;
    m.add("_fast", fast)?;
    m.add("_random", random)?;
    ops_products::register(m)?;
    ops_products::register_convolution(m)?;
    ops_shape::register(m)?;
    ops_create::register(m)?;
    system::register(m)?;
    seeing::register(m)?;
    transforms::register(m)?;
    nn::register(m)?;
    // `from covector._covector import *` imports the public names; submodules have Python modules as their fronts.
    let names = m.index()?;
    for name in names.iter().collect::<Vec<_>>() {
        let text: String = name.extract()?;
        if text.starts_with('_') || m.getattr(&*text)?.is_instance_of::<PyModule>() {
            names.call_method1("remove", (name,))?;
        }
    }
    Ok(())
}
