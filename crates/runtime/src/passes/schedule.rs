//! The order of regions: a region that frees at least as much memory as it takes runs as soon as it can.
//!
//! The order of the graph is that of the values asked for: all that the first needs, then what the second needs beside
//! it. A training step that asks for a loss and new parameters would so run the whole backward pass for the first
//! layer's gradient, and compute those of the other layers after it, from cotangents and activations that have to be
//! kept until then.

use super::rows::{Pass, RowMap};
use super::{Plan, Region};
use crate::ir::{Graph, NodeId, Stages};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

pub(crate) fn run(plan: &mut Plan) {
    plan.stored = plan.stages.stored(&plan.graph);
    plan.in_memory = in_memory(plan);
    let regions = std::mem::take(&mut plan.regions);
    let live = plan.graph.is_live_out();
    plan.regions = order(regions, &plan.graph, &plan.stages, &live, &plan.in_memory);
}

/// Of each node, whether its result needs memory of its own, and not only a tile or scratch.
fn in_memory(plan: &Plan) -> Vec<bool> {
    let Plan { graph, stages, regions, stored, .. } = plan;
    let region_of = region_of(regions, stages);
    let live = graph.is_live_out();
    let mut memory = stored.clone();
    for (id, memory) in (0..).zip(&mut memory) {
        let Some(stage) = stages.maker(id).filter(|_| *memory) else { continue };
        let region = &regions[region_of[stage as usize] as usize];
        let reduced = || {
            let pass = Pass::new(graph, &stages.list[stage as usize]);
            pass.row_map(region.rows) == Some(RowMap::Reduced)
        };
        *memory = live[id as usize] || region.stages.len() == 1 || region.dot == Some(stage) || reduced();
    }
    for (s, stage) in stages.list.iter().enumerate() {
        for x in stage.inputs.iter() {
            let maker = stages.maker(x.value);
            if maker.is_some_and(|maker| region_of[maker as usize] != region_of[s]) {
                memory[x.value as usize] = true;
            }
        }
    }
    memory
}

/// The region of each stage.
fn region_of(regions: &[Region], stages: &Stages) -> Vec<u32> {
    let mut of = vec![u32::MAX; stages.list.len()];
    for (r, region) in (0..).zip(regions) {
        region.all().for_each(|stage| of[stage as usize] = r);
    }
    of
}

/// Reorders regions, which are in an order in which they can run.
fn order(
    regions: Vec<Region>,
    graph: &Graph,
    stages: &Stages,
    live: &[bool],
    in_memory: &[bool],
) -> Vec<Region> {
    let region_of = region_of(&regions, stages);
    let maker = |value: NodeId| stages.maker(value).map(|stage| region_of[stage as usize]);
    let bytes = |value: NodeId| graph.node(value).bytes() as i64;
    // What each region reads that others make, and the regions that read each value.
    let mut reads: Vec<Vec<NodeId>> = vec![Vec::new(); regions.len()];
    let mut readers: Vec<Vec<u32>> = vec![Vec::new(); graph.nodes.len()];
    let mut waits = vec![0u32; regions.len()];
    let mut users: Vec<Vec<u32>> = vec![Vec::new(); regions.len()];
    for (r, region) in regions.iter().enumerate() {
        let inputs = region.all().flat_map(|stage| stages.list[stage as usize].inputs.iter());
        let mut read: Vec<NodeId> = inputs.map(|x| x.value).collect();
        read.sort_unstable();
        read.dedup();
        read.retain(|&value| maker(value).is_some_and(|w| w != r as u32));
        let mut needs: Vec<u32> = read.iter().filter_map(|&value| maker(value)).collect();
        needs.sort_unstable();
        needs.dedup();
        waits[r] = needs.len() as u32;
        needs.iter().for_each(|&w| users[w as usize].push(r as u32));
        read.iter().for_each(|&value| readers[value as usize].push(r as u32));
        reads[r] = read;
    }
    let mut left: Vec<u32> = readers.iter().map(|r| r.len() as u32).collect();
    // Net memory of each region: bytes allocated, less those of values whose last reader it is so far.
    let mut takes = vec![0i64; regions.len()];
    for (value, &in_memory) in (0..).zip(in_memory) {
        // The result of a dot that only its epilogue reads is freed at once.
        let inner = readers[value as usize].is_empty() && !live[value as usize];
        if let Some(r) = maker(value).filter(|&r| in_memory && r != u32::MAX && !inner) {
            takes[r as usize] += bytes(value);
            if let (&[last], false) = (&readers[value as usize][..], live[value as usize]) {
                takes[last as usize] -= bytes(value);
            }
        }
    }
    let mut ready: BinaryHeap<Reverse<u32>> = BinaryHeap::new();
    let mut frees: BinaryHeap<Reverse<u32>> = BinaryHeap::new();
    for r in 0..regions.len() {
        if waits[r] == 0 {
            if takes[r] <= 0 { &mut frees } else { &mut ready }.push(Reverse(r as u32));
        }
    }
    let mut regions: Vec<Option<Region>> = regions.into_iter().map(Some).collect();
    let mut ordered = Vec::with_capacity(regions.len());
    while let Some(Reverse(r)) = frees.pop().or_else(|| ready.pop()) {
        // A region can be in both heaps; skip the second copy.
        let Some(region) = regions[r as usize].take() else { continue };
        ordered.push(region);
        for &value in &reads[r as usize] {
            left[value as usize] -= 1;
            if left[value as usize] == 1 && !live[value as usize] {
                let last = readers[value as usize].iter().copied().find(|&w| regions[w as usize].is_some());
                if let Some(w) = last {
                    takes[w as usize] -= bytes(value);
                    if waits[w as usize] == 0 && takes[w as usize] <= 0 {
                        frees.push(Reverse(w));
                    }
                }
            }
        }
        for &w in &users[r as usize] {
            waits[w as usize] -= 1;
            if waits[w as usize] == 0 {
                if takes[w as usize] <= 0 { &mut frees } else { &mut ready }.push(Reverse(w));
            }
        }
    }
    debug_assert!(regions.iter().all(Option::is_none), "regions need each other");
    ordered
}
