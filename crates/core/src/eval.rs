//! Evaluation: the values of whatever arrays are asked for, and bounded laziness.
//!
//! The pending graph behind the arrays is put in order once, then run node by node. A node's values are
//! dropped after their last use, and a last use hands them over by value, so that elementwise work happens in
//! place. Values are kept only where something outside the evaluated graph still refers to the node.

use crate::array::{Array, Node, Outs};
use crate::buffer::Data;
use crate::error::{Error, Result};
use crate::graph;
use crate::primitive::Values;
use crate::trace;
use std::sync::Arc;

/// A chain this long is evaluated without being asked for: it holds too much memory to go on.
const MAX_DEPTH: u32 = 20_000;
/// The same for this many KiB of evaluated arrays that an unevaluated chain keeps alive.
const MAX_KIB: u32 = 512 << 10;

/// Evaluates an array whose pending graph has grown large, except inside a trace. A failure shows when the
/// array is asked for.
pub(crate) fn bound_laziness(array: &Array) {
    let pending = array.node.pending;
    if (pending.depth >= MAX_DEPTH || pending.kib >= MAX_KIB) && !trace::is_tracing() && !array.is_tracer() {
        let _ = eval(std::slice::from_ref(array));
    }
}

/// Computes the values of all the arrays, sharing what they share.
///
/// # Errors
/// [`Error::NoValue`] inside `vmap` or `compile`; an index out of bounds; memory that could not be had. What
/// was computed before the failure stays computed; nothing is left half done.
pub fn eval(arrays: &[Array]) -> Result<()> {
    if arrays.iter().all(Array::is_available) {
        arrays.iter().for_each(|a| a.node.settle());
        return Ok(());
    }
    // A node with values is a leaf of the evaluation, whether or not its recipe is still there.
    let graph = graph::walk(arrays, |n| n.data().is_none(), |_| true);
    let mut uses = vec![0u32; graph.steps.len()];
    let mut refs = vec![1u32; graph.steps.len()]; // the walk itself holds each node once
    for step in &graph.steps {
        let Some(recipe) = &step.recipe else {
            // Another thread may have filled the node since the walk; otherwise it has no value to give.
            if step.node.data().is_some() {
                continue;
            }
            return Err(no_value());
        };
        for input in &recipe.inputs {
            if let Some(&place) = graph.place.get(&graph::id(input)) {
                uses[place as usize] += 1;
                // The node's own recipe and the walk's copy of it hold the input.
                refs[place as usize] += 2;
            }
        }
    }
    let mut asked = vec![false; graph.steps.len()];
    for array in arrays {
        if let Some(&place) = graph.place.get(&graph::id(array)) {
            asked[place as usize] = true;
        }
    }
    let mut slots: Vec<Option<Outs<Data>>> = Vec::with_capacity(graph.steps.len());
    slots.resize_with(graph.steps.len(), || None);
    let mut steps = graph.steps;
    for i in 0..steps.len() {
        let node = steps[i].node.clone();
        let Some(recipe) = steps[i].recipe.take() else {
            slots[i] = node.data().cloned();
            continue;
        };
        let mut values = Values::new();
        for input in &recipe.inputs {
            let data = match graph.place.get(&graph::id(input)) {
                None => input.data_if_ready().cloned().ok_or_else(no_value)?,
                Some(&place) => {
                    let place = place as usize;
                    uses[place] -= 1;
                    take(&mut slots[place], input.index as usize, uses[place] == 0).ok_or_else(no_value)?
                }
            };
            values.push(data);
        }
        let outs = recipe.op.eval(values, &node.avals)?;
        drop(recipe);
        // `node` above is one more reference than the walk's own.
        let outside = Arc::strong_count(&node) as u32 > refs[i] + 1;
        let outs: Outs<Data> = outs.into_iter().collect();
        if asked[i] || outside || node.is_live() {
            keep(&node, outs, uses[i], &mut slots[i]);
        } else {
            slots[i] = Some(outs);
        }
    }
    Ok(())
}

fn keep(node: &Node, outs: Outs<Data>, uses: u32, slot: &mut Option<Outs<Data>>) {
    if uses > 0 {
        *slot = Some(outs.clone());
    }
    node.fill(outs);
}

/// Output `index` of an evaluated node, by value when this was its last use.
fn take(slot: &mut Option<Outs<Data>>, index: usize, last: bool) -> Option<Data> {
    if last {
        slot.take().map(|mut outs| outs.swap_remove(index))
    } else {
        slot.as_ref().map(|outs| outs[index].clone())
    }
}

fn no_value() -> Error {
    Error::no_value(
        "eval",
        "an argument of a function under vmap or compile has no single value while the function is traced. \
         Inside such a function use where(), maximum() or cond() in place of Python or Rust control flow on \
         values, and call item(), eval() or printing outside of it",
    )
}

/// Starts computing the arrays. On a CPU there is no queue to hand them to, so this is [`eval`].
///
/// # Errors
/// As [`eval`].
pub fn async_eval(arrays: &[Array]) -> Result<()> {
    eval(arrays)
}
