//! Maps of one region over one shape become one stage, where the second needs nothing that is made after the first begins.
//!
//! Maps are gathered in the order of the graph, before it is known what runs together. In that order a backward map often
//! waits for a number that comes from elsewhere; inside a region only the region's own order counts.

use super::{Plan, Region};
use crate::cost::{MAX_INPUTS, MAX_OPS};
use crate::ir::{Graph, Stages};

pub(crate) fn run(plan: &mut Plan) {
    let Plan { graph, stages, regions, .. } = plan;
    for region in regions.iter_mut().filter(|region| region.stages.len() > 1) {
        let mut kept: Vec<u32> = Vec::with_capacity(region.stages.len());
        for k in 0..region.stages.len() {
            let stage = region.stages[k];
            match kept.iter().rev().copied().find(|&into| can_join(stage, into, region, graph, stages)) {
                Some(into) => join(stage, into, stages),
                None => kept.push(stage),
            }
        }
        region.stages = kept;
    }
}

fn can_join(stage: u32, into: u32, region: &Region, graph: &Graph, stages: &Stages) -> bool {
    let (first, second) = (&stages.list[into as usize], &stages.list[stage as usize]);
    let (a, b) = (graph.node(first.nodes[0]), graph.node(second.nodes[0]));
    a.is_map()
        && b.is_map()
        && a.aval.shape == b.aval.shape
        && first.nodes.len() + second.nodes.len() <= MAX_OPS
        && first.inputs.len() + second.inputs.len() <= MAX_INPUTS
        && second.inputs.iter().all(|x| {
            stages.position(into, x).is_some()
                || stages.maker(x.value).is_none_or(|maker| !region.stages.contains(&maker) || maker < into)
        })
}

fn join(stage: u32, into: u32, stages: &mut Stages) {
    let second = std::mem::take(&mut stages.list[stage as usize]);
    for x in second.inputs.iter() {
        if stages.position(into, x).is_none() {
            stages.list[into as usize].inputs.add(x);
        }
    }
    stages.list[into as usize].nodes.extend(second.nodes);
    stages.number(into);
}
