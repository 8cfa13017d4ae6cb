//! Which nodes are computed in one pass: maps over one shape become one program; every other node is a pass by itself.

use super::{Graph, Kind, Node, NodeId, Operand, Operands};

/// The stage of a leaf.
pub(crate) const NO_STAGE: u32 = u32::MAX;

/// Nodes that are computed in one pass.
#[derive(Clone, Default)]
pub(crate) struct Stage {
    /// Maps over one shape, operands first; or one other node. The outputs of a call follow it.
    pub(crate) nodes: Vec<NodeId>,
    /// What it reads that it does not make, each once.
    pub(crate) inputs: Operands,
}

/// All stages, in an order in which they can run.
#[derive(Clone, Default)]
pub(crate) struct Stages {
    pub(crate) list: Vec<Stage>,
    /// The stage of each node, and its position there.
    of: Vec<(u32, u32)>,
}

impl Stages {
    /// The stage that makes a value; `None` for a leaf.
    pub(crate) fn maker(&self, value: NodeId) -> Option<u32> {
        let stage = self.of[value as usize].0;
        (stage != NO_STAGE).then_some(stage)
    }

    /// The position of a value in the stage, if it is the whole of a node there.
    pub(crate) fn position(&self, stage: u32, x: &Operand) -> Option<usize> {
        let (of, position) = self.of[x.value as usize];
        (x.layout.is_none() && of == stage).then_some(position as usize)
    }

    /// Appends a stage of one node.
    pub(crate) fn add(&mut self, id: NodeId, node: &Node) -> u32 {
        let mut inputs = Operands::default();
        node.operands.iter().for_each(|x| {
            inputs.add(x);
        });
        let stage = self.list.len() as u32;
        self.list.push(Stage { nodes: vec![id], inputs });
        self.set(id, stage, 0);
        stage
    }

    /// Notes where a node is.
    pub(crate) fn set(&mut self, id: NodeId, stage: u32, position: usize) {
        if self.of.len() <= id as usize {
            self.of.resize(id as usize + 1, (NO_STAGE, 0));
        }
        self.of[id as usize] = (stage, position as u32);
    }

    /// Notes where the nodes of a stage are, after it has changed.
    pub(crate) fn number(&mut self, stage: u32) {
        for (position, &id) in self.list[stage as usize].nodes.iter().enumerate() {
            self.of[id as usize] = (stage, position as u32);
        }
    }

    /// The stages that read each value without making it, in their order.
    pub(crate) fn readers(&self, graph: &Graph) -> Vec<Vec<u32>> {
        let mut readers: Vec<Vec<u32>> = vec![Vec::new(); graph.nodes.len()];
        for (s, stage) in (0..).zip(&self.list) {
            for x in stage.inputs.iter() {
                let readers = &mut readers[x.value as usize];
                if readers.last() != Some(&s) {
                    readers.push(s);
                }
            }
        }
        readers
    }

    /// Of each node, whether its result is needed outside of its stage.
    pub(crate) fn stored(&self, graph: &Graph) -> Vec<bool> {
        let mut stored = graph.is_live_out();
        for (stored, node) in stored.iter_mut().zip(&graph.nodes) {
            *stored |= !node.is_map();
        }
        self.list.iter().flat_map(|s| s.inputs.iter()).for_each(|x| stored[x.value as usize] = true);
        stored
    }

    /// Brings the graph's nodes into the order of the stages, leaves first. Nodes without a stage go.
    pub(crate) fn sort(&mut self, graph: &mut Graph) {
        let leaf = |id: &NodeId| matches!(graph.node(*id).kind, Kind::Leaf(_));
        let mut order: Vec<NodeId> = (0..graph.nodes.len() as NodeId).filter(leaf).collect();
        order.extend(self.list.iter().flat_map(|stage| &stage.nodes));
        if order.len() == graph.nodes.len() && order.is_sorted() {
            return;
        }
        let number = graph.reorder(&order);
        self.of = vec![(NO_STAGE, 0); order.len()];
        for (s, stage) in (0..).zip(&mut self.list) {
            stage.inputs.rename(|id| number[id as usize]);
            for (position, id) in (0..).zip(&mut stage.nodes) {
                *id = number[*id as usize];
                self.of[*id as usize] = (s, position);
            }
        }
    }
}
