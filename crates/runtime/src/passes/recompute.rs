//! Operations of one map that only one later map reads are done there, if their operands are in memory anyway.
//!
//! Maps are gathered in the order of the graph, and a derivative's factors depend on values of the forward pass alone:
//! `1 - tanh²` is ready as soon as `tanh` is, and so joins the stage that makes it. From there it would be stored for the
//! backward pass, beside `tanh` itself. Done by its reader it is a few operations on values that are read there anyway,
//! which saves the memory and the transfer both ways. A few cheap operations that both maps need are done by both.

use super::Plan;
use crate::cost::{MAX_COPIED, MAX_INPUTS, MAX_OPS, MAX_RECOMPUTED};
use crate::ir::{Graph, NodeId, Operand, Stages};
use rustc_hash::FxHashSet;

/// Positions of operations to move into another map (sorted; its reader reads the last), of operations to repeat there,
/// and the map.
struct Move {
    moved: Vec<usize>,
    copied: Vec<usize>,
    into: u32,
}

pub(crate) fn run(plan: &mut Plan) {
    let (graph, stages) = (&mut plan.graph, &mut plan.stages);
    let live = graph.is_live_out();
    let mut readers = stages.readers(graph);
    for stage in 0..stages.list.len() as u32 {
        let nodes = &stages.list[stage as usize].nodes;
        if nodes.len() > MAX_RECOMPUTED || !graph.node(nodes[0]).is_map() {
            continue;
        }
        let mut k = nodes.len();
        while k > 0 {
            k -= 1;
            if let Some(found) = movable(stage, k, graph, stages, &readers, &live) {
                transfer(stage, &found, graph, stages, &mut readers);
                k -= found.moved.len() - 1;
            }
        }
    }
    if stages.list.iter().any(|stage| stage.nodes.is_empty()) {
        stages.list.retain(|stage| !stage.nodes.is_empty());
        (0..stages.list.len() as u32).for_each(|stage| stages.number(stage));
    }
    stages.sort(graph);
}

/// What moves with operation `k` of a stage, if it can move.
fn movable(
    stage: u32,
    k: usize,
    graph: &Graph,
    stages: &Stages,
    readers: &[Vec<u32>],
    live: &[bool],
) -> Option<Move> {
    let nodes = &stages.list[stage as usize].nodes;
    let result = graph.node(nodes[k]);
    let is_live = |id: NodeId| live.get(id as usize).is_some_and(|live| *live);
    let is_stored = |id: NodeId| is_live(id) || !readers[id as usize].is_empty();
    let &[into] = &readers[nodes[k] as usize][..] else { return None };
    let later = &stages.list[into as usize];
    let first = graph.node(*later.nodes.first()?);
    if is_live(nodes[k]) || !first.is_map() || first.aval.shape != result.aval.shape || into <= stage {
        return None;
    }
    // Its reader reads all of it, row-major.
    if later.inputs.iter().any(|x| x.value == nodes[k] && x.layout.is_some()) {
        return None;
    }
    let position = |x: &Operand| stages.position(stage, x);
    let reads = |i: usize, j: usize| graph.node(nodes[i]).operands.iter().any(|x| position(x) == Some(j));
    // The operation, and what only it needs.
    let mut moved = vec![k];
    for j in (0..k).rev() {
        if !is_stored(nodes[j])
            && moved.iter().any(|&i| reads(i, j))
            && (0..nodes.len()).all(|i| !reads(i, j) || moved.contains(&i))
        {
            moved.push(j);
        }
    }
    if (0..nodes.len()).any(|i| !moved.contains(&i) && reads(i, k)) {
        return None; // The stage itself reads it, too.
    }
    // What they need must be in memory, and reading it there must cost no more than reading the result.
    let mut needed: Vec<&Operand> = Vec::new();
    let mut copied: Vec<usize> = Vec::new();
    let mut todo: Vec<&Operand> = moved.iter().flat_map(|&i| &graph.node(nodes[i]).operands).collect();
    while let Some(x) = todo.pop() {
        match position(x) {
            Some(j) if moved.contains(&j) || copied.contains(&j) => continue,
            Some(j) if !is_stored(nodes[j]) => {
                if copied.len() == MAX_COPIED || !graph.node(nodes[j]).is_cheap() {
                    return None;
                }
                copied.push(j);
                todo.extend(&graph.node(nodes[j]).operands);
                continue;
            }
            _ => {}
        }
        if !needed.contains(&x) && !later.inputs.contains(x) {
            needed.push(x);
        }
    }
    let fits = later.nodes.len() + moved.len() + copied.len() <= MAX_OPS
        && later.inputs.len() + needed.len() <= MAX_INPUTS;
    let bytes = |x: &Operand| graph.shape(x).iter().product::<usize>() * graph.dtype(x).size();
    // Single numbers, and rows that are the same for many, cost nothing.
    let cost: usize = needed.iter().map(|x| bytes(x)).filter(|&bytes| bytes > result.bytes() / 8).sum();
    moved.sort_unstable();
    copied.sort_unstable();
    (fits && cost <= result.bytes()).then_some(Move { moved, copied, into })
}

/// Moves and repeats operations.
fn transfer(stage: u32, what: &Move, graph: &mut Graph, stages: &mut Stages, readers: &mut Vec<Vec<u32>>) {
    let Move { moved, copied, into } = what;
    let into = *into;
    let nodes = std::mem::take(&mut stages.list[stage as usize].nodes);
    let result = nodes[moved[moved.len() - 1]];
    readers[result as usize].clear();
    stages.list[into as usize].inputs.retain(|x| x.value != result);
    let mut gone: Vec<NodeId> = Vec::with_capacity(moved.len() + copied.len());
    let mut kept: Vec<NodeId> = Vec::with_capacity(nodes.len());
    // The copy of each node that has one.
    let mut copies: Vec<(NodeId, NodeId)> = Vec::new();
    for (i, id) in nodes.into_iter().enumerate() {
        if copied.contains(&i) {
            let copy = graph.nodes.len() as NodeId;
            graph.nodes.push(graph.node(id).clone());
            readers.push(Vec::new());
            copies.push((id, copy));
            gone.push(copy);
        }
        if moved.contains(&i) { gone.push(id) } else { kept.push(id) }
    }
    for &id in &gone {
        for x in graph.nodes[id as usize].operands.iter_mut().filter(|x| x.layout.is_none()) {
            if let Some(&(_, copy)) = copies.iter().find(|c| c.0 == x.value) {
                x.value = copy;
            }
        }
    }
    let own: FxHashSet<NodeId> = gone.iter().copied().collect();
    let taken = || gone.iter().flat_map(|&id| &graph.node(id).operands);
    for x in taken().filter(|x| x.layout.is_some() || !own.contains(&x.value)) {
        stages.list[into as usize].inputs.add(x);
        let readers = &mut readers[x.value as usize];
        if let Err(place) = readers.binary_search(&into) {
            readers.insert(place, into);
        }
    }
    // What the first stage does not read any more.
    let inputs = &mut stages.list[stage as usize].inputs;
    inputs.retain(|x| kept.iter().any(|&id| graph.node(id).operands.contains(x)));
    for x in taken() {
        if !inputs.iter().any(|y| y.value == x.value) {
            readers[x.value as usize].retain(|&reader| reader != stage);
        }
    }
    stages.list[stage as usize].nodes = kept;
    stages.list[into as usize].nodes.splice(0..0, gone);
    for &(_, copy) in &copies {
        stages.set(copy, into, 0);
    }
    stages.number(stage);
    stages.number(into);
}
