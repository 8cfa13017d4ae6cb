//! What instructions cost, for profiles: arithmetic, known when they are planned, and bytes, known when they run.

use crate::buffer::Data;
use crate::plan::band::Unit;
use crate::plan::build::{Proto, Root, Val};
use crate::plan::emit::{Instr, Operand, Slot, Work};
use crate::primitive::Avals;
use crate::profile::Traffic;
use covector_kernels::Dtype;
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

impl Val {
    pub(crate) fn shape<'a>(&'a self, roots: &'a [Root]) -> &'a [usize] {
        match &self.layout {
            Some(l) => &l.shape,
            None => &roots[self.root as usize].aval.shape,
        }
    }
}

/// Arithmetic operations of a unit's chains and calls.
pub(crate) fn flops(unit: &Unit, protos: &[Proto], roots: &[Root]) -> u64 {
    let one = |m: u32| match &protos[m as usize] {
        Proto::Chain { shape, ops, .. } => shape.iter().product::<usize>() as u64 * ops.len() as u64,
        Proto::Call { op, inputs, avals, .. } => {
            let shapes: SmallVec<[&[usize]; 3]> = inputs.iter().map(|v| v.shape(roots)).collect();
            op.flops(&shapes, avals)
        }
    };
    unit.instrs().map(one).sum()
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
        let avals_size = |avals: &Avals| avals.iter().map(|a| size(&a.shape, a.dtype)).sum();
        match &self.work {
            Work::Chain { inputs, outs, .. }
            | Work::Band { inputs, outs, after: None, .. }
            | Work::Join { inputs, outs } => Traffic {
                read: read(inputs.iter(), slots),
                written: outs.iter().map(|o| size(&o.shape, o.dtype)).sum(),
            },
            Work::Band { inputs, outs, after: Some(product), .. } => Traffic {
                // The product's result is not there yet.
                read: read(product.factors.iter().chain(inputs), slots),
                written: outs.iter().chain([&product.out]).map(|o| size(&o.shape, o.dtype)).sum(),
            },
            Work::Call { inputs, avals, .. } => {
                Traffic { read: read(inputs.iter(), slots), written: avals_size(avals) }
            }
        }
    }
}

/// Bytes of the operands; of operands that share memory, at most those of that memory.
fn read<'a>(inputs: impl Iterator<Item = &'a Operand>, slots: &[Option<Data>]) -> u64 {
    let mut of: FxHashMap<Slot, (u64, u64)> = FxHashMap::default();
    for input in inputs {
        let Some(data) = &slots[input.slot as usize] else { continue };
        let whole = reached(data.shape(), data.strides(), data.dtype());
        let part = input.layout.as_ref().map_or(whole, |l| reached(&l.shape, &l.strides, data.dtype()));
        of.entry(input.slot).or_insert((0, whole)).0 += part;
    }
    of.values().map(|&(parts, whole)| parts.min(whole)).sum()
}
