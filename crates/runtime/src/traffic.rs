//! Arithmetic and bytes of instructions, for profiles: the one is known when they are planned, the other when they run.

use crate::buffer::Data;
use crate::executable::{Argument, Instr, Kernel, Slot};
use crate::ir::Kind;
use crate::passes::{Plan, Region};
use crate::profile::Traffic;
use covector_kernels::Dtype;
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

impl Plan {
    /// Arithmetic operations of a region.
    pub(crate) fn flops(&self, region: &Region) -> u64 {
        let graph = &self.graph;
        let of = |&id: &u32| {
            let node = graph.node(id);
            let shapes = || node.operands.iter().map(|x| graph.shape(x)).collect::<SmallVec<[&[usize]; 3]>>();
            match &node.kind {
                Kind::Map { .. } => node.size() as u64,
                Kind::Reduce { .. } => shapes()[0].iter().product::<usize>() as u64,
                Kind::Dot => 2 * (shapes()[0].last().copied().unwrap_or(1) * node.size()) as u64,
                Kind::Call(op) => op.flops(&shapes(), std::slice::from_ref(&node.aval)),
                Kind::Leaf(_) | Kind::Place { .. } | Kind::Nth(_) => 0,
            }
        };
        region.all().flat_map(|stage| &self.stages.list[stage as usize].nodes).map(of).sum()
    }
}

/// Bytes of the elements that a layout reaches, where each axis reaches others than the axes before it.
fn reached(shape: &[usize], strides: &[isize], dtype: Dtype) -> u64 {
    let extents = shape.iter().zip(strides);
    let elements: usize = extents.map(|(&n, &s)| if s == 0 { n.min(1) } else { n }).product();
    (elements * dtype.size()) as u64
}

impl Instr {
    /// What it will read and write; its inputs are in their slots.
    pub(crate) fn traffic(&self, slots: &[Option<Data>]) -> Traffic {
        let size = |shape: &[usize], dtype: Dtype| (shape.iter().product::<usize>() * dtype.size()) as u64;
        let call: u64 = match &self.kernel {
            Kernel::Call { avals, .. } => avals.iter().map(|a| size(&a.shape, a.dtype)).sum(),
            _ => 0,
        };
        let outs: u64 = self.kernel.outs().map(|out| size(&out.shape, out.dtype)).sum();
        Traffic { read: read(self.kernel.inputs(), slots), written: outs + call }
    }
}

/// Bytes of the inputs; of inputs that share memory, at most those of that memory. The result of a dot whose epilogue
/// reads it is not there yet, and costs nothing.
fn read<'a>(inputs: impl Iterator<Item = &'a Argument>, slots: &[Option<Data>]) -> u64 {
    let mut of: FxHashMap<Slot, (u64, u64)> = FxHashMap::default();
    for input in inputs {
        let Some(data) = &slots[input.slot as usize] else { continue };
        let whole = reached(data.shape(), data.strides(), data.dtype());
        let part = input.layout.as_ref().map_or(whole, |l| reached(&l.shape, &l.strides, data.dtype()));
        of.entry(input.slot).or_insert((0, whole)).0 += part;
    }
    of.values().map(|&(parts, whole)| parts.min(whole)).sum()
}
