//! One value is stored in place of several: where a later map reads two or more cheap functions of one value that is not
//! stored otherwise, that value is stored, and the reader computes the functions from it.
//!
//! A sigmoid is the example: its result and its slope are both cheap functions of its tail. The forward pass would store
//! both for the backward pass; the tail stored once takes half the memory and half the transfer both ways.

use super::Plan;
use crate::cost::{MAX_INPUTS, MAX_OPS, MAX_RECOMPUTED};
use crate::ir::{Graph, NodeId, Operand, Stages};

/// Positions of operations of one stage that depend on its operation `of` alone, and the stage that reads them.
struct Spared {
    of: usize,
    functions: Vec<usize>,
    into: u32,
}

pub(crate) fn run(plan: &mut Plan) {
    let (graph, stages) = (&mut plan.graph, &mut plan.stages);
    let live = graph.is_live_out();
    let mut readers = stages.readers(graph);
    for stage in 0..stages.list.len() as u32 {
        let nodes = &stages.list[stage as usize].nodes;
        let stored = |id: NodeId| !readers[id as usize].is_empty();
        if nodes.len() > MAX_RECOMPUTED || !nodes.iter().any(|&id| stored(id) && graph.node(id).is_cheap()) {
            continue;
        }
        let mut of = 0;
        while of < stages.list[stage as usize].nodes.len() {
            if let Some(spared) = spared(stage, of, graph, stages, &readers, &live) {
                transfer(stage, &spared, graph, stages, &mut readers);
            }
            of += 1;
        }
    }
    stages.sort(graph);
}

fn spared(
    stage: u32,
    of: usize,
    graph: &Graph,
    stages: &Stages,
    readers: &[Vec<u32>],
    live: &[bool],
) -> Option<Spared> {
    let nodes = &stages.list[stage as usize].nodes;
    let argument = nodes[of];
    let is_live = |id: NodeId| live.get(id as usize).is_some_and(|live| *live);
    if is_live(argument) || !readers[argument as usize].is_empty() {
        return None;
    }
    let mut found: Option<Spared> = None;
    for (i, &id) in nodes.iter().enumerate() {
        let node = graph.node(id);
        let ([from], &[into]) = (&node.operands[..], &readers[id as usize][..]) else { continue };
        if is_live(id) || !node.is_cheap() || *from != Operand::whole(argument) || into <= stage {
            continue;
        }
        match &mut found {
            None => found = Some(Spared { of, functions: vec![i], into }),
            Some(spared) if spared.into == into => spared.functions.push(i),
            Some(_) => return None,
        }
    }
    let found = found.filter(|f| f.functions.len() > 1)?;
    let later = &stages.list[found.into as usize];
    let first = graph.node(later.nodes[0]);
    // The reader works on the same elements, and reads all of the functions, row-major.
    let function = |x: &&Operand| found.functions.iter().any(|&i| nodes[i] == x.value);
    let whole = later.inputs.iter().filter(function).all(|x| x.layout.is_none());
    let fits = later.nodes.len() + found.functions.len() <= MAX_OPS && later.inputs.len() < MAX_INPUTS;
    let alike = first.is_map() && first.aval.shape == graph.node(argument).aval.shape;
    (alike && whole && fits).then_some(found)
}

/// Repeats the functions in the stage that reads them. The first stage keeps those that it reads itself.
fn transfer(
    stage: u32,
    spared: &Spared,
    graph: &mut Graph,
    stages: &mut Stages,
    readers: &mut Vec<Vec<u32>>,
) {
    let into = spared.into;
    let nodes = stages.list[stage as usize].nodes.clone();
    let argument = nodes[spared.of];
    let mut made = Vec::with_capacity(spared.functions.len());
    for &i in &spared.functions {
        let copy = graph.nodes.len() as NodeId;
        graph.nodes.push(graph.node(nodes[i]).clone());
        readers.push(Vec::new());
        readers[nodes[i] as usize].clear();
        for &id in &stages.list[into as usize].nodes {
            let reads = graph.nodes[id as usize].operands.iter_mut();
            reads.filter(|x| x.value == nodes[i]).for_each(|x| x.value = copy);
        }
        stages.list[into as usize].inputs.retain(|x| x.value != nodes[i]);
        stages.set(copy, into, 0);
        made.push(copy);
    }
    stages.list[into as usize].inputs.add(&Operand::whole(argument));
    readers[argument as usize].push(into);
    stages.list[into as usize].nodes.splice(0..0, made);
    // Functions that only the other stage needed are not computed here any more.
    let mut kept = nodes.clone();
    for &i in spared.functions.iter().rev() {
        let id = nodes[i];
        if !kept.iter().any(|&k| graph.node(k).operands.iter().any(|x| x.value == id)) {
            kept.remove(i);
        }
    }
    stages.list[stage as usize].nodes = kept;
    stages.number(stage);
    stages.number(into);
}
