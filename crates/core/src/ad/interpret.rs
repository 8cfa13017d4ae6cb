//! The interpreter of traced graphs, for all walks in graph order.

use crate::array::{Array, Outs, Recipe};
use crate::error::Result;
use crate::graph::{self, NodeId, Step};
use crate::trace::Trace;
use rustc_hash::FxHashMap;

/// Evaluates the graph between `leaves` and `outputs` on values of another kind.
///
/// The value of a leaf comes from `seeds`. An array that does not depend on the trace has the value `constant(array)`.
/// The values of a node's outputs are `rule(step, recipe, values of the inputs)`. A node of the trace that is neither a
/// leaf nor has a recipe comes from a traced function that has ended; it counts as a constant.
pub(crate) fn interpret<V: Clone>(
    trace: &Trace,
    outputs: &[Array],
    leaves: &[Array],
    seeds: impl IntoIterator<Item = V>,
    constant: impl Fn(&Array) -> Result<V>,
    rule: impl Fn(&Step, &Recipe, &[V]) -> Result<Outs<V>>,
) -> Result<Vec<V>> {
    let graph = graph::traced(outputs, trace);
    let mut values: Vec<Outs<V>> = graph.steps.iter().map(|_| Outs::new()).collect();
    for (leaf, seed) in leaves.iter().zip(seeds) {
        if let Some(place) = graph.place(leaf) {
            debug_assert_eq!(leaf.node.avals.len(), 1, "a leaf of a trace is a placeholder or an alias");
            values[place].push(seed);
        }
    }
    let value = |values: &[Outs<V>], x: &Array| match graph.place(x) {
        Some(place) => Ok(values[place][x.index as usize].clone()),
        None => constant(x),
    };
    let mut inputs: Vec<V> = Vec::new();
    for (place, step) in graph.steps.iter().enumerate() {
        if !values[place].is_empty() {
            continue;
        }
        values[place] = match &step.recipe {
            None => step.outputs().iter().map(&constant).collect::<Result<_>>()?,
            Some(recipe) => {
                inputs.clear();
                for x in &recipe.inputs {
                    inputs.push(value(&values, x)?);
                }
                rule(step, recipe, &inputs)?
            }
        };
    }
    outputs.iter().map(|output| value(&values, output)).collect()
}

/// Builds the graph between `leaves` and `outputs` again, over `values`. Leaves need not depend on the trace.
pub(crate) fn replay(
    trace: &Trace,
    outputs: &[Array],
    leaves: &[Array],
    values: &[Array],
) -> Result<Vec<Array>> {
    let captured: FxHashMap<(NodeId, u32), &Array> = leaves
        .iter()
        .zip(values)
        .filter(|(leaf, _)| !leaf.depends_on(trace))
        .map(|(leaf, value)| ((graph::id(leaf), leaf.index), value))
        .collect();
    interpret(
        trace,
        outputs,
        leaves,
        values.iter().cloned(),
        |x| Ok(captured.get(&(graph::id(x), x.index)).map_or(x, |&value| value).clone()),
        |_, recipe, inputs| Array::apply_outs(recipe.op.clone(), inputs.into()),
    )
}
