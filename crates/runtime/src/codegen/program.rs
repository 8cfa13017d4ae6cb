//! The tile program of a stage of maps.

use super::Codegen;
use crate::ir::{Kind, NodeId};
use covector_kernels::Dtype;
use covector_kernels::convert::{narrow_tile, widen_tile};
use covector_kernels::program::{Builder, Program, Reg, TileFn};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

/// The element type of the registers that compute values of this type: `float32` for half precision.
fn register_type(dtype: Dtype) -> Dtype {
    if matches!(dtype, Dtype::F16 | Dtype::Bf16) { Dtype::F32 } else { dtype }
}

impl Codegen<'_> {
    /// The tile program of a stage, with the values that are its outputs.
    pub(super) fn program(&self, stage: u32) -> (Program, Vec<NodeId>) {
        let (graph, stages) = (&self.plan.graph, &self.plan.stages);
        let this = &stages.list[stage as usize];
        let mut builder = Builder::default();
        let inputs: Vec<Reg> = this.inputs.iter().map(|x| builder.input(graph.dtype(x))).collect();
        let mut regs: Vec<Reg> = Vec::with_capacity(this.nodes.len());
        // The float32 form of half-precision registers.
        let mut wide: FxHashMap<Reg, Reg> = FxHashMap::default();
        let (mut made, mut outputs) = (Vec::new(), Vec::new());
        for &id in &this.nodes {
            let node = graph.node(id);
            let Kind::Map { tile, code, .. } = node.kind else { unreachable!("the stage is one of maps") };
            let mut from: SmallVec<[Reg; 3]> = SmallVec::new();
            for x in &node.operands {
                let reg = match stages.position(stage, x) {
                    Some(position) => regs[position],
                    None => inputs[this.inputs.position(x).expect("every input is listed")],
                };
                from.push(match widen_tile(graph.dtype(x)) {
                    Some(tile) => *wide
                        .entry(reg)
                        .or_insert_with(|| builder.apply(TileFn::One(tile), None, &[reg], Dtype::F32)),
                    None => reg,
                });
            }
            let dtype = node.aval.dtype;
            let mut reg = builder.apply(tile, code, &from, register_type(dtype));
            if let Some(tile) = narrow_tile(dtype) {
                reg = builder.apply(TileFn::One(tile), None, &[reg], dtype);
            }
            regs.push(reg);
            if self.plan.stored[id as usize] {
                outputs.push(reg);
                made.push(id);
            }
        }
        for reg in outputs {
            builder.output(reg);
        }
        (builder.finish(), made)
    }
}
