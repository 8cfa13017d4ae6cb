//! `checkpoint`: forget the intermediate values of a function and compute them again when its gradient needs them.

use crate::array::Array;
use crate::error::Result;
use crate::graph;
use crate::primitive::MaybeArrays;
use crate::trace::{TraceGuard, Tracing};
use crate::transforms::custom::{CustomFunction, captured, custom_call, depends};
use crate::transforms::flat::{jvp_flat, vjp_flat};
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// A traced graph with abstract inputs, ready to be run again on others.
struct Subgraph {
    /// Keeps the recipes alive.
    _guard: TraceGuard,
    inputs: Vec<Array>,
    outputs: Vec<Array>,
}

impl Subgraph {
    /// Copies what lies between `leaves` and `outputs`, so that nothing of the original stays alive.
    fn capture(guard: &TraceGuard, outputs: &[Array], leaves: &[Array]) -> Result<Self> {
        let own = TraceGuard::new();
        let inputs: Vec<Array> = leaves
            .iter()
            .map(|x| Array::placeholder(x.aval().clone(), Some(own.set.clone())))
            .collect();
        let outputs = replay(guard, outputs, leaves, &inputs)?;
        Ok(Self { _guard: own, inputs, outputs })
    }

    fn run(&self, values: &[Array]) -> Result<Vec<Array>> {
        replay(&self._guard, &self.outputs, &self.inputs, values)
    }
}

/// Builds what lies between `leaves` and `outputs` again, over `values`.
fn replay(guard: &TraceGuard, outputs: &[Array], leaves: &[Array], values: &[Array]) -> Result<Vec<Array>> {
    let trace = guard.trace();
    let seeds: FxHashMap<(graph::NodeId, u32), &Array> =
        leaves.iter().zip(values).map(|(l, v)| ((graph::id(l), l.index), v)).collect();
    let graph = graph::walk(outputs, |n| n.traces.as_ref().is_some_and(|t| t.contains(trace)), |_| true);
    let at = |done: &[Vec<Array>], x: &Array| match seeds.get(&(graph::id(x), x.index)) {
        Some(&value) => value.clone(),
        None => match graph.place.get(&graph::id(x)) {
            Some(&p) => done[p as usize][x.index as usize].clone(),
            None => x.clone(),
        },
    };
    let mut done: Vec<Vec<Array>> = Vec::with_capacity(graph.steps.len());
    for step in &graph.steps {
        let here = match &step.recipe {
            None => step.outputs(),
            Some(recipe) => {
                let inputs = recipe.inputs.iter().map(|x| at(&done, x)).collect();
                Array::apply_multi(recipe.op.clone(), inputs)?
            }
        };
        done.push(here);
    }
    Ok(outputs.iter().map(|o| at(&done, o)).collect())
}

/// Runs `f` so that its gradient recomputes `f`'s intermediate values instead of keeping them.
///
/// Arrays of outer transforms that `f` captures are differentiated, too.
///
/// # Errors
/// What `f` fails with.
pub fn checkpoint(args: &[Array], f: impl FnOnce(&[Array]) -> Result<Vec<Array>>) -> Result<Vec<Array>> {
    let guard = TraceGuard::new();
    let mut leaves: Vec<Array> = args.iter().map(|x| x.tracer(&guard.set)).collect();
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
        let ts = crate::transforms::walks::or_zeros(ts, args);
        Ok(jvp_flat(args, &ts, |xs| graph.run(xs))?.1)
    };
    custom_call(&all, outs, Vec::new(), CustomFunction { vjp: Some(Arc::new(vjp)), jvp: Some(Arc::new(jvp)), vmap: None })
}
