//! The catalogue: every public operation with sample inputs.
//!
//! Its entries are the samples that the operations have in the [registry](crate::ops::spec). One generic suite
//! (`tests/catalog.rs`) runs each of them under every transform.

pub mod sample;
pub mod special;

use crate::array::Array;
use crate::error::Result;
use crate::graph;
use crate::ops;
use crate::ops::spec::{OpSpec, specs};
use crate::primitive::Derivative;
use crate::transforms::{CustomFunction, checkpoint, compile_flat, vjp_flat};
use covector_kernels::{C64, Dtype};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What values a sample input has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Floating point, from an interval in which the operation is smooth.
    Real(f64, f64),
    /// Floating point, all different by a margin, so that orderings stay put under small changes.
    Distinct,
    /// `int32` from zero up to a bound.
    Index(usize),
    /// Different indices below a bound.
    Permuted(usize),
    /// Truth values.
    Bool,
    /// `uint32` random keys.
    Key,
}

/// A sample input.
#[derive(Clone, Debug)]
pub struct Input {
    /// The extents.
    pub shape: Vec<usize>,
    /// The values.
    pub kind: Kind,
}

impl Input {
    /// Whether derivatives with respect to it exist.
    pub fn is_differentiable(&self) -> bool {
        matches!(self.kind, Kind::Real(..) | Kind::Distinct)
    }

    /// Sample values, the same for the same `seed`; floating point in the given type.
    pub fn sample(&self, seed: u64, float: Dtype) -> Array {
        let n: usize = self.shape.iter().product();
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678_9abc_def1;
        let mut unit = || {
            // SplitMix64 (Steele, Lea, Flood 2014).
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
        };
        let order = |unit: &mut dyn FnMut() -> f64, n: usize| {
            let mut order: Vec<usize> = (0..n).collect();
            for i in (1..n).rev() {
                order.swap(i, (unit() * (i + 1) as f64) as usize);
            }
            order
        };
        let array = |v: &[f64]| {
            let x = Array::from_slice(v, &self.shape);
            ops::to_dtype(&crate::error::expect(x), float)
        };
        let ints = |v: Vec<i32>| crate::error::expect(Array::from_slice(&v, &self.shape));
        match self.kind {
            Kind::Real(lo, hi) if float == Dtype::C64 => {
                let scale = (hi - lo) as f32;
                let v: Vec<C64> = (0..n)
                    .map(|_| C64::new(lo as f32 + scale * unit() as f32, 0.5 * scale * (unit() as f32 - 0.5)))
                    .collect();
                crate::error::expect(Array::from_slice(&v, &self.shape))
            }
            Kind::Real(lo, hi) => array(&(0..n).map(|_| lo + (hi - lo) * unit()).collect::<Vec<_>>()),
            Kind::Distinct => {
                let scale = 3.0 / n.max(1) as f64;
                let v = order(&mut unit, n);
                array(&v.iter().map(|&i| (i as f64 + 0.3) * scale - 1.5).collect::<Vec<_>>())
            }
            Kind::Index(bound) => ints((0..n).map(|_| (unit() * bound as f64) as i32).collect()),
            Kind::Permuted(bound) => {
                let v = order(&mut unit, bound);
                ints((0..n).map(|i| v[i % bound] as i32).collect())
            }
            Kind::Bool => {
                let v: Vec<bool> = (0..n).map(|_| unit() < 0.5).collect();
                crate::error::expect(Array::from_slice(&v, &self.shape))
            }
            Kind::Key => {
                let v: Vec<u32> = (0..n).map(|_| (unit() * 4e9) as u32).collect();
                crate::error::expect(Array::from_slice(&v, &self.shape))
            }
        }
    }
}

/// An operation under test.
pub type Run = Box<dyn Fn(&[Array]) -> Result<Vec<Array>> + Send + Sync>;

/// One entry of the catalogue.
pub struct Entry {
    /// The public operation it shows.
    pub name: &'static str,
    /// Runs it.
    pub run: Run,
    /// Its sample inputs.
    pub inputs: Vec<Input>,
    /// Whether it has a derivative to check; false where that is zero or there is none.
    pub smooth: bool,
}

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
                Err(_) if float == Dtype::C64 => continue, // the op takes no complex arrays and says so
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

/// The family in which the derivative of an operation is written, or `composed` where it is that of the operations it is
/// made of.
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

/// Everything: the samples of all operations, and transforms.
pub fn entries() -> Vec<Entry> {
    let mut all: Vec<Entry> = specs().iter().flat_map(|spec| (spec.samples)()).collect();
    all.extend(wrappers());
    all
}

/// Transforms that stand in the graph as nodes of their own.
fn wrappers() -> Vec<Entry> {
    let cubic = |x: &[Array]| -> Result<Vec<Array>> { Ok(vec![&(&x[0] * &x[0]) * &x[1]]) };
    let by_vjp = CustomFunction {
        vjp: Some(Arc::new(|x, ct, _| {
            // The conjugates of the derivatives: the arguments may be complex.
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
    ]
}
