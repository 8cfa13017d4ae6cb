//! The catalogue: every public operation with sample inputs.
//!
//! Its entries are the samples that the operations have in the [registry](crate::ops::spec). One generic suite
//! (`tests/catalog.rs`) runs each of them under every transform.

pub use crate::ops::block::sample::{Entry, Input, Kind, Run};
pub use crate::ops::block::{sample, special};

use crate::array::Array;
use crate::error::Result;
use crate::graph;
use crate::ops;
use crate::ops::spec::OpSpec;
use crate::primitive::Derivative;
use crate::registry::specs;
use crate::transforms::{CustomFunction, checkpoint, compile_flat, jvp_flat, vjp_flat};
use covector_kernels::Dtype;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The primitives that the catalogue reaches, by the family their derivative is written in.
///
/// # Errors
/// When an entry does not run on its own samples.
pub fn families() -> Result<BTreeMap<&'static str, BTreeSet<&'static str>>> {
    let mut found: BTreeMap<&'static str, BTreeSet<&'static str>> = BTreeMap::new();
    for entry in entries() {
        for float in [Dtype::F64, Dtype::C64] {
            let x: Vec<Array> = entry.inputs.iter().map(|x| x.sample(1, float)).collect();
            let traced = match vjp_flat(&x, |x| (entry.run)(x)) {
                Err(_) if float == Dtype::C64 => continue, // the op refuses complex arrays
                other => other?,
            };
            for step in graph::walk(traced.outputs(), |_| true, |_| true).steps {
                let Some(recipe) = step.recipe else { continue };
                let family = family(&recipe.op.derivative());
                found.entry(family).or_default().insert(recipe.op.name());
            }
        }
    }
    Ok(found)
}

/// The family in which the derivative of an operation is written, or `composed` if it is that of several operations.
///
/// # Errors
/// When the operation does not run on its own samples.
pub fn derivative(spec: &OpSpec) -> Result<&'static str> {
    let mut found = None;
    if let Some(entry) = (spec.samples)().first() {
        let x: Vec<Array> =
            entry.inputs.iter().enumerate().map(|(i, x)| x.sample(i as u64, Dtype::F64)).collect();
        for step in graph::walk(&(entry.run)(&x)?, |_| true, |_| true).steps {
            let Some(recipe) = step.recipe else { continue };
            match found {
                None => found = Some(family(&recipe.op.derivative())),
                Some(_) => return Ok("composed"),
            }
        }
    }
    Ok(found.unwrap_or("composed"))
}

/// The name of a derivative's family.
fn family(derivative: &Derivative<'_>) -> &'static str {
    match derivative {
        Derivative::Elementwise(_) => "elementwise",
        Derivative::Linear(_) => "linear",
        Derivative::Bilinear(_) => "bilinear",
        Derivative::Structured(_) => "structured",
        Derivative::Handwritten(_) => "handwritten",
        Derivative::Zero => "zero",
        Derivative::None(_) => "none",
    }
}

/// The samples of all operations, and transforms.
pub fn entries() -> Vec<Entry> {
    let mut all: Vec<Entry> = specs().iter().flat_map(|spec| (spec.samples)()).collect();
    all.extend(wrappers());
    all
}

/// Transforms that are nodes of the graph.
fn wrappers() -> Vec<Entry> {
    let cubic = |x: &[Array]| -> Result<Vec<Array>> { Ok(vec![&(&x[0] * &x[0]) * &x[1]]) };
    let by_vjp = CustomFunction {
        vjp: Some(Arc::new(|x, ct, _| {
            // The conjugated derivatives, as the arguments may be complex.
            let slopes = [&(&x[0] * &x[1]) * 2.0, ops::square(&x[0])];
            Ok(slopes.iter().map(|slope| &ct[0] * &ops::conjugate(slope)).collect())
        })),
        ..Default::default()
    };
    let by_jvp = CustomFunction {
        jvp: Some(Arc::new(|x, t| {
            let zero = |i: usize| t[i].clone().unwrap_or_else(|| ops::zeros_like(&x[i]));
            Ok(vec![&(&zero(0) * &(&x[0] * &x[1]) * 2.0) + &(&zero(1) * &ops::square(&x[0]))])
        })),
        ..Default::default()
    };
    let plain = CustomFunction::default();
    // The tangents and the transpose of an operation, which reverse mode alone does not make.
    let overlapping =
        |x: &[Array]| -> Result<Vec<Array>> { Ok(vec![ops::try_max_pool(&x[0], &[3], &[2], &[1])?]) };
    let beside =
        |x: &[Array]| -> Result<Vec<Array>> { Ok(vec![ops::try_max_pool(&x[0], &[2], &[2], &[0])?]) };
    let pooled = |shape| vec![sample::distinct([1, shape, 2])];
    let two = || vec![sample::real([3]), sample::real([3])];
    vec![
        sample::entry("checkpoint", true, two(), move |x| checkpoint(x, cubic)),
        sample::entry("compile", true, two(), move |x| {
            let avals: Vec<_> = x.iter().map(|x| x.aval().clone()).collect();
            compile_flat(&avals, cubic)?.call(x)
        }),
        sample::entry("compile", true, two(), move |x| {
            let avals: Vec<_> = x.iter().map(|x| x.aval().clone()).collect();
            compile_flat(&avals, cubic)?.node(x.to_vec())
        }),
        sample::entry("custom_function", true, two(), move |x| by_vjp.call(x, cubic)),
        sample::entry("custom_function", true, two(), move |x| by_jvp.call(x, cubic)),
        sample::entry("custom_function", true, two(), move |x| plain.call(x, cubic)),
        sample::entry("max_pool", true, [pooled(5), vec![sample::real([1, 5, 2])]].concat(), move |x| {
            Ok(jvp_flat(&x[..1], &x[1..], overlapping)?.1)
        }),
        sample::entry("max_pool", true, [pooled(6), vec![sample::real([1, 6, 2])]].concat(), move |x| {
            Ok(jvp_flat(&x[..1], &x[1..], beside)?.1)
        }),
        sample::entry("max_pool", true, [pooled(6), vec![sample::real([1, 3, 2])]].concat(), move |x| {
            vjp_flat(&x[..1], beside)?.pullback(&x[1..])
        }),
    ]
}
