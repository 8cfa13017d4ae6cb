//! Reverse mode: a cotangent for each array.

use crate::ad::cotangent::Cotangents;
use crate::ad::rules;
use crate::array::Array;
use crate::error::Result;
use crate::graph;
use crate::primitive::MaybeArrays;
use crate::trace::Trace;
use smallvec::SmallVec;

/// The cotangents of distinct `leaves` for the cotangents of `outputs`. `None` if no output depends on the leaf.
pub(crate) fn pullback(
    trace: &Trace,
    outputs: &[Array],
    cotangents: &[Array],
    leaves: &[Array],
) -> Result<MaybeArrays> {
    let graph = graph::traced(outputs, trace);
    let mut cts = Cotangents::new(&graph);
    for (y, ct) in outputs.iter().zip(cotangents).filter(|(y, _)| y.dtype().is_inexact()) {
        cts.add(y, ct.clone())?;
    }
    for (place, step) in graph.steps.iter().enumerate().rev() {
        let Some(recipe) = &step.recipe else { continue };
        let wanted: SmallVec<[bool; 4]> =
            recipe.inputs.iter().map(|x| x.dtype().is_inexact() && x.depends_on(trace)).collect();
        if !wanted.contains(&true) {
            continue; // A leaf keeps its cotangent.
        }
        let Some(ct) = cts.take(place)? else { continue };
        for (x, ct) in recipe.inputs.iter().zip(rules::vjp(recipe, ct, &step.outputs(), &wanted)?) {
            if let Some(ct) = ct {
                cts.add(x, ct)?;
            }
        }
    }
    leaves.iter().map(|leaf| cts.take_one(leaf)).collect()
}
