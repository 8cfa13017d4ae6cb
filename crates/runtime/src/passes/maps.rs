//! Elementwise nodes over one shape are gathered in stages, in the order of the graph; every other node is a stage by
//! itself.
//!
//! A node joins a stage when everything it reads from outside is made before the stage. That is decided by position alone,
//! so gathering is linear and stages cannot depend on each other in a circle.

use super::Plan;
use crate::cost::{MAX_INPUTS, MAX_OPS, MAX_SCALARS};
use crate::ir::{Graph, Kind, NodeId, Operand, Stages};
use crate::shape::Shape;
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

pub(crate) fn run(plan: &mut Plan) {
    let graph = &plan.graph;
    let mut gather = Gather { graph, stages: Stages::default(), newest: FxHashMap::default() };
    let Some(last) = graph.nodes.len().checked_sub(1) else { return };
    gather.stages.set(last as NodeId, crate::ir::NO_STAGE, 0);
    for (id, node) in (0..).zip(&graph.nodes) {
        match node.kind {
            Kind::Leaf(_) => {}
            Kind::Nth(_) => {
                let stage = gather.stages.list.len() as u32 - 1;
                gather.stages.list[stage as usize].nodes.push(id);
                gather.stages.number(stage);
            }
            Kind::Map { .. } => gather.map(id),
            _ => {
                gather.stages.add(id, node);
            }
        }
    }
    plan.stages = gather.stages;
    plan.stages.sort(&mut plan.graph);
}

struct Gather<'a> {
    graph: &'a Graph,
    stages: Stages,
    /// The newest stage of maps over each shape.
    newest: FxHashMap<&'a Shape, u32>,
}

impl<'a> Gather<'a> {
    fn map(&mut self, id: NodeId) {
        let node = self.graph.node(id);
        let shape = &node.aval.shape;
        // The stage of an operand, the latest first; else the newest stage over this shape.
        let mut candidates: SmallVec<[u32; 4]> =
            node.operands.iter().filter_map(|x| self.stages.maker(x.value)).collect();
        candidates.sort_unstable_by(|a, b| b.cmp(a));
        candidates.extend(
            self.newest.get(shape).copied().filter(|&stage| self.may_meet(stage, shape, &node.operands)),
        );
        let Some(stage) = candidates.into_iter().find(|&stage| self.fits(stage, shape, &node.operands))
        else {
            let stage = self.stages.add(id, node);
            self.newest.insert(shape, stage);
            return;
        };
        let Stages { list, .. } = &mut self.stages;
        let position = list[stage as usize].nodes.len();
        for x in &node.operands {
            if self.stages.position(stage, x).is_none() {
                self.stages.list[stage as usize].inputs.add(x);
            }
        }
        self.stages.list[stage as usize].nodes.push(id);
        self.stages.set(id, stage, position);
    }

    /// Whether a node with these operands can join a stage: what it reads from outside is made before the stage.
    fn fits(&self, stage: u32, shape: &Shape, operands: &[Operand]) -> bool {
        let have = &self.stages.list[stage as usize];
        let first = self.graph.node(have.nodes[0]);
        let most = if shape.iter().product::<usize>() == 1 { MAX_SCALARS } else { MAX_INPUTS };
        first.is_map()
            && first.aval.shape == *shape
            && have.nodes.len() < MAX_OPS
            && have.inputs.len() + operands.len() <= most
            && operands.iter().all(|x| {
                self.stages.position(stage, x).is_some()
                    || self.stages.maker(x.value).is_none_or(|maker| maker < stage)
            })
    }

    /// Whether to join a stage that has nothing but the shape in common. A scalar computed from leaves alone (the cotangent
    /// of a mean) must not be delayed by a stage that waits for other results: regions that read it would be delayed too.
    fn may_meet(&self, stage: u32, shape: &Shape, operands: &[Operand]) -> bool {
        let leaves = |xs: &[Operand]| xs.iter().all(|x| self.stages.maker(x.value).is_none());
        shape.iter().product::<usize>() != 1
            || !leaves(operands)
            || leaves(&self.stages.list[stage as usize].inputs)
    }
}
