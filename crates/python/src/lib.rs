//! The Python binding: MLX's names and conventions over `covector-core`.
//!
//! A thin skin: arguments are taken apart here and everything else is the core's. Elementwise functions are made
//! from the core's table ([`elementwise`]); the rest is one Rust function each, grouped as the core groups them.

mod activations;
mod array;
mod convert;
mod dlpack;
mod dtype;
mod elementwise;
mod errors;
mod export;
mod foreign;
mod functions;
mod indexing;
mod nn;
mod numpy;
mod operators;
mod ops_conv;
mod ops_create;
mod ops_fast;
mod ops_math;
mod ops_reduce;
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

/// The native part of the `covector` package; `covector.core` gives its names to the world.
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
    elementwise::register(m)?;
    ops_math::register(m)?;
    ops_reduce::register(m)?;
    ops_shape::register(m)?;
    ops_conv::register(m)?;
    ops_create::register(m)?;
    system::register(m)?;
    seeing::register(m)?;
    transforms::register(m)?;
    nn::register(m)?;
    ops_fast::register_module(m)?;
    random::register_module(m)?;
    for (name, alias) in [("cumsum", "cumulative_sum"), ("cumprod", "cumulative_prod")] {
        m.add(alias, m.getattr(name)?)?;
    }
    // `from covector._covector import *` gives the public names; submodules have Python modules in front of them.
    let names = m.index()?;
    for name in names.iter().collect::<Vec<_>>() {
        let text: String = name.extract()?;
        if text.starts_with('_') || m.getattr(&*text)?.is_instance_of::<PyModule>() {
            names.call_method1("remove", (name,))?;
        }
    }
    Ok(())
}
