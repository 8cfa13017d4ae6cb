//! The three walks over a traced graph.

use crate::array::Array;
use crate::error::{Error, Result};
use crate::graph;
use crate::ops;
use crate::prim::shape::Transpose;
use crate::primitive::{Batch, Derivative, MaybeArrays};
use crate::rules;
use crate::shape::ShapeText;
use crate::trace::TraceGuard;
use crate::transforms::sums::{Factors, Sum, Sums};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

/// Reverse mode: the cotangents of `leaves` for the cotangents of `outputs`, over what depends on the trace.
///
/// `None` where no path leads to a leaf.
pub(crate) fn pullback(
    guard: &TraceGuard,
    outputs: &[Array],
    cotangents: &[Array],
    leaves: &[Array],
) -> Result<MaybeArrays> {
    let trace = guard.trace();
    let graph = graph::walk(outputs, |n| n.traces.as_ref().is_some_and(|t| t.contains(trace)), |_| true);
    let mut cts: Vec<Sums> =
        graph.steps.iter().map(|s| s.node.avals.iter().map(|_| Sum::default()).collect()).collect();
    let give = |cts: &mut Vec<Sums>, to: &Array, ct: Array| -> Result<()> {
        if let Some(place) = graph.place(to) {
            debug_assert_eq!(ct.aval(), to.aval(), "cotangent of another shape or type");
            cts[place][to.index as usize].add(ct)?;
        }
        Ok(())
    };
    for (output, ct) in outputs.iter().zip(cotangents) {
        if output.dtype().is_inexact() {
            give(&mut cts, output, ct.clone())?;
        }
    }
    // Leaves are taken out as the walk reaches them; everything else frees its cotangent once it is passed on.
    let mut ends: Vec<(usize, Sums)> = Vec::new();
    let mut factors = Factors::default();
    for (i, step) in graph.steps.iter().enumerate().rev() {
        let mut sums = std::mem::take(&mut cts[i]);
        if step.node.avals[0].shape.len() == 2
            && let Some(recipe) = &step.recipe
            && recipe.op.is::<Transpose>()
            && let Some(place) = graph.place(&recipe.inputs[0])
            && let Some(products) = sums[0].only_products()
        {
            cts[place][recipe.inputs[0].index as usize].transposed(products);
            continue;
        }
        let Some(recipe) = &step.recipe else {
            ends.push((i, sums));
            continue;
        };
        let wanted: SmallVec<[bool; 4]> =
            recipe.inputs.iter().map(|x| x.depends_on(trace) && x.dtype().is_inexact()).collect();
        if !wanted.contains(&true) {
            // An alias of something outside the trace: a leaf.
            ends.push((i, sums));
            continue;
        }
        let sums = sums.into_iter().zip(&step.node.avals);
        let ct: SmallVec<[Option<Array>; 1]> =
            sums.map(|(sum, aval)| sum.whole(aval, &factors)).collect::<Result<_>>()?;
        if ct.iter().all(Option::is_none) {
            continue;
        }
        let slot = |x: &Array| graph.place(x).map(|place| (place, x.index as usize));
        match (recipe.op.derivative(), &ct[..]) {
            (Derivative::Linear(rule), [Some(ct)]) if rule.window().is_some() => {
                if let (Some((place, k)), Some(window)) = (slot(&recipe.inputs[0]), rule.window()) {
                    cts[place][k].put(window, ct)?;
                }
                continue;
            }
            // Most nodes; the same as below without lists of one.
            (Derivative::Elementwise(rule), [Some(ct)]) => {
                let (ct, y) = (rules::conj(ct)?, step.output(0));
                for (i, x) in recipe.inputs.iter().enumerate().filter(|&(i, _)| wanted[i]) {
                    let term = rules::pull_broadcast(rule, i, &ct, &recipe.inputs, &y)?;
                    if let (Some(term), Some((place, k))) = (term, slot(x)) {
                        cts[place][k].spread(term, x.aval())?;
                    }
                }
                continue;
            }
            (Derivative::Bilinear(_), [Some(ct)]) if !ct.dtype().is_complex() => {
                for (k, x) in recipe.inputs.iter().enumerate().filter(|&(k, _)| wanted[k]) {
                    if let Some((place, output)) = slot(x) {
                        cts[place][output].multiply(&recipe.op, &recipe.inputs, k, ct);
                        factors.add(ct);
                    }
                }
                continue;
            }
            _ => {}
        }
        let outs = step.outputs();
        let back = rules::vjp(&*recipe.op, &ct, &recipe.inputs, &outs, &wanted)?;
        for ((input, ct), wanted) in recipe.inputs.iter().zip(back).zip(wanted) {
            if let (Some(ct), true) = (ct, wanted) {
                give(&mut cts, input, ct)?;
            }
        }
    }
    // Now it is known which cotangents are factors.
    let mut found: FxHashMap<graph::NodeId, MaybeArrays> = FxHashMap::default();
    for (i, sums) in ends {
        let node = &graph.steps[i].node;
        let whole = |(sum, aval): (Sum, _)| sum.whole(aval, &factors);
        let cts = sums.into_iter().zip(&node.avals).map(whole).collect::<Result<_>>()?;
        found.insert(std::sync::Arc::as_ptr(node) as usize, cts);
    }
    Ok(leaves.iter().map(|l| found.get(&graph::id(l)).and_then(|c| c[l.index as usize].clone())).collect())
}

/// Forward mode: the tangents of `outputs` for the tangents of `leaves`.
pub(crate) fn pushforward(
    guard: &TraceGuard,
    outputs: &[Array],
    leaves: &[Array],
    tangents: &[Option<Array>],
) -> Result<MaybeArrays> {
    let trace = guard.trace();
    let graph = graph::walk(outputs, |n| n.traces.as_ref().is_some_and(|t| t.contains(trace)), |_| true);
    let at = |ts: &[MaybeArrays], x: &Array| graph.place(x).and_then(|p| ts[p][x.index as usize].clone());
    let seeds: FxHashMap<graph::NodeId, &Option<Array>> =
        leaves.iter().zip(tangents).map(|(l, t)| (graph::id(l), t)).collect();
    let mut ts: Vec<MaybeArrays> = Vec::with_capacity(graph.steps.len());
    for step in &graph.steps {
        let here = match (seeds.get(&(std::sync::Arc::as_ptr(&step.node) as usize)), &step.recipe) {
            (Some(seed), _) => vec![(*seed).clone()],
            (None, None) => vec![None; step.node.avals.len()],
            (None, Some(recipe)) => {
                let inputs: MaybeArrays = recipe.inputs.iter().map(|x| at(&ts, x)).collect();
                if inputs.iter().all(Option::is_none) {
                    vec![None; step.node.avals.len()]
                } else {
                    rules::jvp(&*recipe.op, &inputs, &recipe.inputs, &step.outputs())?
                }
            }
        };
        // Integer and boolean values have no tangent, whatever made them.
        let here = here.into_iter().zip(&step.node.avals).map(|(t, a)| t.filter(|_| a.dtype.is_inexact()));
        ts.push(here.collect());
    }
    Ok(outputs.iter().map(|o| at(&ts, o)).collect())
}

/// Vectorisation: replays what depends on the trace with `values` in place of `leaves`, where `batched[i]` says
/// whether value `i` has the batch as axis 0. Gives each output with whether it is batched.
pub(crate) fn batch(
    guard: &TraceGuard,
    outputs: &[Array],
    leaves: &[Array],
    values: &[Array],
    batched: &[bool],
    size: usize,
) -> Result<Vec<(Array, bool)>> {
    let trace = guard.trace();
    let graph = graph::walk(outputs, |n| n.traces.as_ref().is_some_and(|t| t.contains(trace)), |_| true);
    let at = |done: &[Vec<(Array, bool)>], x: &Array| match graph.place(x) {
        Some(p) => done[p][x.index as usize].clone(),
        None => (x.clone(), false),
    };
    let seeds: FxHashMap<graph::NodeId, usize> =
        leaves.iter().enumerate().map(|(i, l)| (graph::id(l), i)).collect();
    let mut done: Vec<Vec<(Array, bool)>> = Vec::with_capacity(graph.steps.len());
    for step in &graph.steps {
        let here = match (seeds.get(&(std::sync::Arc::as_ptr(&step.node) as usize)), &step.recipe) {
            (Some(&i), _) => vec![(values[i].clone(), batched[i])],
            (None, None) => {
                return Err(Error::value(
                    "vmap",
                    "a value of this function came out of another function that was being traced and is over; \
                     return it from there instead of storing it",
                ));
            }
            (None, Some(recipe)) => {
                let (inputs, flags): (Vec<Array>, Vec<bool>) =
                    recipe.inputs.iter().map(|x| at(&done, x)).unzip();
                if flags.contains(&true) {
                    let outs =
                        recipe.op.batch(&Batch { inputs: &inputs, batched: &flags, size, op: &recipe.op })?;
                    for (out, aval) in outs.iter().zip(&step.node.avals) {
                        if out.shape().first() != Some(&size) || out.shape()[1..] != aval.shape[..] {
                            return Err(Error::shape(
                                recipe.op.name(),
                                format!(
                                    "the batching rule gave shape {} where ({size}, …) over {} is due",
                                    ShapeText(out.shape()),
                                    ShapeText(&aval.shape)
                                ),
                            ));
                        }
                    }
                    outs.into_iter().map(|o| (o, true)).collect()
                } else {
                    let outs = Array::apply_multi(recipe.op.clone(), inputs.into())?;
                    outs.into_iter().map(|o| (o, false)).collect()
                }
            }
        };
        done.push(here);
    }
    Ok(outputs.iter().map(|o| at(&done, o)).collect())
}

/// `found`, with zeros of the leaf's shape and type where there is nothing.
pub(crate) fn or_zeros(found: MaybeArrays, like: &[Array]) -> Vec<Array> {
    found.into_iter().zip(like).map(|(x, l)| x.unwrap_or_else(|| ops::zeros_like(l))).collect()
}
