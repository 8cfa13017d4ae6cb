//! A traced graph that can run again on other inputs.

use crate::ad::replay;
use crate::array::Array;
use crate::error::Result;
use crate::graph;
use crate::trace::TraceGuard;
use rustc_hash::FxHashSet;

/// A traced graph with abstract inputs, which can run on other inputs.
pub(crate) struct Subgraph {
    /// Keeps the recipes alive.
    guard: TraceGuard,
    inputs: Vec<Array>,
    outputs: Vec<Array>,
}

impl Subgraph {
    /// Copies the graph between `leaves` and `outputs`, so that nothing of the original stays alive.
    pub(crate) fn capture(guard: &TraceGuard, outputs: &[Array], leaves: &[Array]) -> Result<Self> {
        let own = TraceGuard::new();
        let inputs: Vec<Array> =
            leaves.iter().map(|x| Array::placeholder(x.aval().clone(), Some(own.set.clone()))).collect();
        let outputs = replay(guard.trace(), outputs, leaves, &inputs)?;
        Ok(Self { guard: own, inputs, outputs })
    }

    /// The outputs for these inputs, as new nodes.
    pub(crate) fn run(&self, values: &[Array]) -> Result<Vec<Array>> {
        replay(self.guard.trace(), &self.outputs, &self.inputs, values)
    }

    pub(crate) fn inputs(&self) -> &[Array] {
        &self.inputs
    }

    pub(crate) fn outputs(&self) -> &[Array] {
        &self.outputs
    }

    /// The arrays in the graph that do not depend on its inputs, each once.
    pub(crate) fn constants(&self) -> Vec<Array> {
        let trace = self.guard.trace();
        let mut found: FxHashSet<(graph::NodeId, u32)> = FxHashSet::default();
        let mut constants = Vec::new();
        let mut note = |x: &Array| {
            if !x.depends_on(trace) && found.insert((graph::id(x), x.index)) {
                constants.push(x.clone());
            }
        };
        self.outputs.iter().for_each(&mut note);
        let inside = graph::traced(&self.outputs, trace);
        for recipe in inside.steps.iter().filter_map(|s| s.recipe.as_ref()) {
            recipe.inputs.iter().for_each(&mut note);
        }
        constants
    }
}
