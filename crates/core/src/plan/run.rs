//! Running an executable on a listed graph: its leaves go in, values go to its nodes.

use crate::array::Node;
use crate::error::Result;
use crate::plan::donate::{self, Turn};
use crate::plan::key::{Listed, Listing};
use covector_runtime::executable::Executable;
use std::sync::Arc;

/// Larger graphs are freed before execution, while their nodes are still cached.
const MANY: usize = 256;

/// Drops the list of a graph, and the graph where the list is its only holder. From the back: the list still holds what a
/// node is made from, so nothing has to be queued.
fn bury(nodes: &mut Vec<Listed>) {
    while nodes.pop().is_some() {}
}

/// Computes the wanted nodes of `listing`, whose key is the plan's, and stores the values in them.
pub(crate) fn run(plan: &Executable, listing: Listing) -> Result<()> {
    let Listing { mut nodes, leaves, .. } = listing;
    let turn = if plan.donates() || nodes.len() >= MANY { Turn::take() } else { None };
    let kept: Vec<Arc<Node>> =
        plan.results().iter().map(|(step, _)| nodes[*step as usize].node.clone()).collect();
    if turn.is_some() {
        for node in kept.iter().filter(|node| !node.is_live()) {
            drop(node.take_recipe());
        }
        bury(&mut nodes);
    }
    let slots = plan.execute(leaves.into_iter());
    if let (Err(error), Some(_)) = (&slots, &turn) {
        kept.iter().for_each(|node| donate::fail(node, error));
    }
    let slots = slots?;
    for (node, (_, outs)) in kept.iter().zip(plan.results()) {
        node.fill(outs.iter().map(|x| x.data(&slots)).collect());
    }
    bury(&mut nodes);
    Ok(())
}
