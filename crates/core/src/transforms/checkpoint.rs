//! `checkpoint`: drops the intermediate values of a function, and computes them again when its gradient needs them.

use crate::ad::or_zeros;
use crate::array::Array;
use crate::error::Result;
use crate::primitive::MaybeArrays;
use crate::trace::{TraceGuard, Tracing};
use crate::transforms::custom::{CustomFunction, captured, custom_call, depends};
use crate::transforms::flat::{jvp_flat, tracers, vjp_flat};
use crate::transforms::subgraph::Subgraph;
use std::sync::Arc;

/// Runs `f` so that its gradient recomputes `f`'s intermediate values instead of keeping them.
///
/// Arrays of outer transforms that `f` captures are differentiated, too.
///
/// # Errors
/// The errors of `f`.
pub fn checkpoint(args: &[Array], f: impl FnOnce(&[Array]) -> Result<Vec<Array>>) -> Result<Vec<Array>> {
    let guard = TraceGuard::new();
    let mut leaves: Vec<Array> = tracers(args, &guard);
    let tracing = Tracing::enter();
    let outs = f(&leaves)?;
    drop(tracing);
    let captured = captured(&guard, &outs);
    let all: Vec<Array> = args.iter().chain(&captured).cloned().collect();
    leaves.extend(captured);
    let graph = Arc::new(Subgraph::capture(&guard, &outs, &leaves)?);
    let again = graph.clone();
    let vjp = move |args: &[Array], cts: &[Array], _outs: &[Array]| {
        let late = depends(args, cts)?;
        vjp_flat(&late, |xs| again.run(xs))?.pullback(cts)
    };
    let jvp = move |args: &[Array], ts: &[Option<Array>]| {
        let ts: MaybeArrays = ts.to_vec();
        let ts = or_zeros(ts, args);
        Ok(jvp_flat(args, &ts, |xs| graph.run(xs))?.1)
    };
    custom_call(
        &all,
        outs,
        Vec::new(),
        CustomFunction { vjp: Some(Arc::new(vjp)), jvp: Some(Arc::new(jvp)), vmap: None },
    )
}
