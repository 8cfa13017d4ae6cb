//! A traced graph kept for later: run it again on other inputs.

use crate::array::Array;
use crate::error::Result;
use crate::graph;
use crate::trace::TraceGuard;
use rustc_hash::FxHashMap;

/// A traced graph with abstract inputs, ready to be run again on others.
pub(crate) struct Subgraph {
    /// Keeps the recipes alive.
    guard: TraceGuard,
    inputs: Vec<Array>,
    outputs: Vec<Array>,
}

impl Subgraph {
    /// Copies what lies between `leaves` and `outputs`, so that nothing of the original stays alive.
    pub(crate) fn capture(guard: &TraceGuard, outputs: &[Array], leaves: &[Array]) -> Result<Self> {
        let own = TraceGuard::new();
        let inputs: Vec<Array> =
            leaves.iter().map(|x| Array::placeholder(x.aval().clone(), Some(own.set.clone()))).collect();
        let outputs = replay(guard, outputs, leaves, &inputs)?;
        Ok(Self { guard: own, inputs, outputs })
    }

    /// The outputs for these inputs, as graph.
    pub(crate) fn run(&self, values: &[Array]) -> Result<Vec<Array>> {
        replay(&self.guard, &self.outputs, &self.inputs, values)
    }

    pub(crate) fn inputs(&self) -> &[Array] {
        &self.inputs
    }

    pub(crate) fn outputs(&self) -> &[Array] {
        &self.outputs
    }

    /// The arrays that it uses and that do not depend on its inputs, each once.
    pub(crate) fn constants(&self) -> Vec<Array> {
        let trace = self.guard.trace();
        let mut found: FxHashMap<(graph::NodeId, u32), ()> = FxHashMap::default();
        let mut constants = Vec::new();
        let mut note = |x: &Array| {
            if !x.depends_on(trace) && found.insert((graph::id(x), x.index), ()).is_none() {
                constants.push(x.clone());
            }
        };
        self.outputs.iter().for_each(&mut note);
        let inside =
            graph::walk(&self.outputs, |n| n.traces.as_ref().is_some_and(|t| t.contains(trace)), |_| true);
        for recipe in inside.steps.iter().filter_map(|s| s.recipe.as_ref()) {
            recipe.inputs.iter().for_each(&mut note);
        }
        constants
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
        None => match graph.place(x) {
            Some(p) => done[p][x.index as usize].clone(),
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
