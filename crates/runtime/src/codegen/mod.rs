//! From a planned graph to instructions with memory.
//!
//! Values that only their own stage reads stay in its tiles, values that only their region reads in its scratch memory;
//! everything else gets a slot, which is freed after its last use.

mod program;
mod region;

use crate::aval::{Aval, Avals};
use crate::executable::{Argument, Dot, Executable, Instr, Kernel, Output, Part, Slot};
use crate::ir::{Kind, NodeId, Operand};
use crate::passes::{Plan, Region};
use region::RegionMaker;
use smallvec::{SmallVec, smallvec};

/// Makes the executable of a plan.
pub(crate) fn generate(plan: Plan) -> Executable {
    let (slot_of, slots) = slots(&plan);
    let codegen = Codegen { plan: &plan, slot_of };
    let mut last: Vec<Option<u32>> = vec![None; slots as usize];
    let mut instrs: Vec<Instr> = Vec::with_capacity(plan.regions.len());
    for region in &plan.regions {
        let (kernel, reuse) = codegen.region(region);
        // All of it is there already.
        if matches!(&kernel, Kernel::Copy { outs, .. } if outs.is_empty()) {
            continue;
        }
        let number = instrs.len() as u32;
        kernel
            .inputs()
            .map(|x| x.slot)
            .chain(kernel.written())
            .for_each(|slot| last[slot as usize] = Some(number));
        let (label, flops) = (codegen.plan.label(region).into(), plan.flops(region));
        instrs.push(Instr { kernel, reuse, free: Vec::new(), label, flops });
    }
    let mut results = Vec::with_capacity(plan.graph.live_outs.len());
    for live in &plan.graph.live_outs {
        let outs: SmallVec<[Argument; 1]> = live.values.iter().map(|x| codegen.argument(x)).collect();
        outs.iter().for_each(|x| last[x.slot as usize] = None);
        results.push((live.step, outs));
    }
    for (slot, last) in (0..).zip(last) {
        if let Some(k) = last {
            instrs[k as usize].free.push(slot);
        }
    }
    instrs.iter_mut().for_each(Instr::settle_reuse);
    Executable { instrs, slots: slots as usize, donates: false, results }
}

/// The slot of each value, `Slot::MAX` for those not in memory, and the number of slots. Leaves keep their numbers; every
/// other value in memory gets the next, and those placed in a larger one get its slot.
fn slots(plan: &Plan) -> (Vec<Slot>, Slot) {
    let Plan { graph, in_memory, placements, .. } = plan;
    let is_leaf = |id: NodeId| matches!(graph.node(id).kind, Kind::Leaf(_));
    let mut slots = (0..graph.nodes.len() as NodeId).take_while(|&id| is_leaf(id)).count() as Slot;
    let mut slot_of = vec![Slot::MAX; graph.nodes.len()];
    for (id, node) in (0..).zip(&graph.nodes) {
        if let Kind::Leaf(leaf) = node.kind {
            slot_of[id as usize] = leaf;
        } else if in_memory[id as usize] && placements.find(id).1.is_none() {
            slot_of[id as usize] = slots;
            slots += 1;
        }
    }
    for id in 0..graph.nodes.len() as NodeId {
        if let (whole, Some(_)) = placements.find(id) {
            slot_of[id as usize] = slot_of[whole as usize];
        }
    }
    (slot_of, slots)
}

pub(crate) struct Codegen<'a> {
    plan: &'a Plan,
    slot_of: Vec<Slot>,
}

impl Codegen<'_> {
    fn argument(&self, x: &Operand) -> Argument {
        let mut layout = x.layout.clone();
        if let (_, Some(part)) = self.plan.placements.find(x.value) {
            let mut seen = match &x.layout {
                Some(layout) => (**layout).clone(),
                None => part.clone(),
            };
            if x.layout.is_some() {
                seen.shift += part.shift;
            }
            layout = Some(Box::new(seen));
        }
        Argument { slot: self.slot_of[x.value as usize], layout }
    }

    fn output(&self, value: NodeId) -> Output {
        let Aval { dtype, shape } = self.plan.graph.node(value).aval.clone();
        let part = self.plan.placements.part(value, &self.plan.graph);
        Output { slot: self.slot_of[value as usize], dtype, shape, part }
    }

    /// What a region is to do, and which of its outputs can take which of its inputs' memory.
    fn region(&self, region: &Region) -> (Kernel, SmallVec<[(u32, u32); 1]>) {
        let Some(stage) = region.alone() else { return RegionMaker::new(self, region).make() };
        let graph = &self.plan.graph;
        let id = self.plan.stages.list[stage as usize].nodes[0];
        let node = graph.node(id);
        let kernel = match &node.kind {
            Kind::Map { .. } => {
                let (program, made) = self.program(stage);
                let inputs = &self.plan.stages.list[stage as usize].inputs;
                let kernel = Kernel::Map {
                    program,
                    shape: node.aval.shape.clone(),
                    inputs: inputs.iter().map(|x| self.argument(x)).collect(),
                    outs: made.iter().map(|&value| self.output(value)).collect(),
                };
                return (kernel, self.plan.reuses(region, &made, inputs));
            }
            Kind::Reduce { kind, axes } => {
                let (inputs, outs) = ([self.argument(&node.operands[0])], [self.output(id)]);
                Kernel::Reduce { kind: *kind, axes: axes.clone(), inputs, outs }
            }
            Kind::Dot => Kernel::Dot(Box::new(self.dot(id))),
            Kind::Place { .. } => self.copies(id),
            Kind::Call(op) => {
                let outs = graph.outputs(id) as NodeId;
                let avals: Avals = (id..id + outs).map(|k| graph.node(k).aval.clone()).collect();
                let inputs = node.operands.iter().map(|x| self.argument(x)).collect();
                Kernel::Call { op: op.clone(), inputs, avals, first: self.slot_of[id as usize] }
            }
            Kind::Leaf(_) | Kind::Nth(_) => unreachable!("no stage begins with a leaf or a later output"),
        };
        (kernel, smallvec![])
    }

    /// A dot with its result.
    fn dot(&self, id: NodeId) -> Dot {
        let operands = &self.plan.graph.node(id).operands;
        let factors = [self.argument(&operands[0]), self.argument(&operands[1])];
        Dot { factors, out: self.output(id) }
    }

    /// The copies that a place node still needs.
    fn copies(&self, id: NodeId) -> Kernel {
        let dtype = self.plan.graph.node(id).aval.dtype;
        let output = |(x, part): (&Operand, Part)| {
            let slot = self.slot_of[id as usize];
            let shape = part.layout.shape.clone();
            (self.argument(x), Output { slot, dtype, shape, part: Some(Box::new(part)) })
        };
        let (inputs, outs) =
            self.plan.placements.copies(id, &self.plan.graph).into_iter().map(output).unzip();
        Kernel::Copy { inputs, outs }
    }
}
