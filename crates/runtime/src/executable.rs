//! A plan as it runs: instructions over numbered slots of memory.

use crate::aval::Avals;
use crate::buffer::Data;
use crate::cost::LARGE;
use crate::ir::{Callable, Layout};
use crate::shape::Shape;
use covector_kernels::program::Program;
use covector_kernels::rows::Region;
use covector_kernels::{Dtype, Reduce};
use smallvec::SmallVec;
use std::fmt;
use std::sync::Arc;

/// Memory during a run, numbered: first the leaves, then what instructions make.
pub(crate) type Slot = u32;

/// What an instruction reads: all of a slot, or a part of it seen through a layout.
#[derive(Clone)]
pub struct Argument {
    pub(crate) slot: Slot,
    pub(crate) layout: Option<Box<Layout>>,
}

/// What an instruction writes, in memory that it allocates.
pub(crate) struct Output {
    pub(crate) slot: Slot,
    pub(crate) dtype: Dtype,
    pub(crate) shape: Shape,
    /// If it is only a part of the slot's memory; the first writer allocates all of it.
    pub(crate) part: Option<Box<Part>>,
}

/// A part of a larger buffer.
pub(crate) struct Part {
    /// The shape of the buffer.
    pub(crate) whole: Shape,
    /// The layout of the part there.
    pub(crate) layout: Layout,
}

/// A matrix product.
pub(crate) struct Dot {
    pub(crate) factors: [Argument; 2],
    pub(crate) out: Output,
}

/// What an instruction does.
pub(crate) enum Kernel {
    /// A tile program over one shape.
    Map { program: Program, shape: Shape, inputs: Vec<Argument>, outs: Vec<Output> },
    /// Stages over the same rows, perhaps as the epilogue of a dot.
    Region { region: Region, dot: Option<Box<Dot>>, inputs: Vec<Argument>, outs: Vec<Output> },
    /// Copies, each input to its output.
    Copy { inputs: Vec<Argument>, outs: Vec<Output> },
    /// A reduction over `axes`.
    Reduce { kind: Reduce, axes: SmallVec<[usize; 4]>, inputs: [Argument; 1], outs: [Output; 1] },
    /// A matrix product that runs alone.
    Dot(Box<Dot>),
    /// An opaque call, whose outputs are in slots from `first` on.
    Call { op: Arc<dyn Callable>, inputs: SmallVec<[Argument; 3]>, avals: Avals, first: Slot },
}

impl Kernel {
    /// What it reads.
    pub(crate) fn inputs(&self) -> impl Iterator<Item = &Argument> {
        let (dot, inputs): (&[Argument], &[Argument]) = match self {
            Self::Map { inputs, .. } | Self::Copy { inputs, .. } => (&[], inputs),
            Self::Region { dot, inputs, .. } => (dot.as_ref().map_or(&[], |dot| &dot.factors), inputs),
            Self::Reduce { inputs, .. } => (&[], inputs),
            Self::Dot(dot) => (&dot.factors, &[]),
            Self::Call { inputs, .. } => (&[], inputs),
        };
        dot.iter().chain(inputs)
    }

    /// The outputs that it allocates itself. Those of a call are in `avals`.
    pub(crate) fn outs(&self) -> impl Iterator<Item = &Output> {
        let (dot, outs): (Option<&Output>, &[Output]) = match self {
            Self::Map { outs, .. } | Self::Copy { outs, .. } => (None, outs),
            Self::Region { dot, outs, .. } => (dot.as_ref().map(|dot| &dot.out), outs),
            Self::Reduce { outs, .. } => (None, outs),
            Self::Dot(dot) => (Some(&dot.out), &[]),
            Self::Call { .. } => (None, &[]),
        };
        dot.into_iter().chain(outs)
    }

    /// The slots that it writes.
    pub(crate) fn written(&self) -> impl Iterator<Item = Slot> {
        let call = match self {
            Self::Call { avals, first, .. } => *first..*first + avals.len() as Slot,
            _ => 0..0,
        };
        self.outs().map(|out| out.slot).chain(call)
    }
}

/// An instruction.
pub(crate) struct Instr {
    pub(crate) kernel: Kernel,
    /// Outputs that take the memory of an input, by number, if the plan is its only holder.
    pub(crate) reuse: SmallVec<[(u32, u32); 1]>,
    /// Slots that nothing needs after this instruction.
    pub(crate) free: Vec<Slot>,
    /// What it does, in words.
    pub(crate) label: Arc<str>,
    /// Its arithmetic operations.
    pub(crate) flops: u64,
}

/// Instructions that compute the live-outs of any graph with the same key.
#[derive(Default)]
pub struct Executable {
    pub(crate) instrs: Vec<Instr>,
    pub(crate) slots: usize,
    /// Whether an instruction takes the memory of a leaf, if the plan is its only holder.
    pub(crate) donates: bool,
    /// Steps of the listed graph that are wanted, with their outputs.
    pub(crate) results: Vec<(u32, SmallVec<[Argument; 1]>)>,
}

impl Executable {
    /// Bytes that it holds, apart from what other plans may share and from machine code.
    pub fn bytes(&self) -> usize {
        let results: usize = self.results.iter().map(|(_, outs)| size_of_val(&outs[..])).sum();
        let instrs: usize = self.instrs.iter().map(Instr::bytes).sum();
        size_of::<Self>() + results + self.results.len() * size_of::<u32>() + instrs
    }

    /// The wanted steps of the listed graph, each with its outputs.
    pub fn results(&self) -> &[(u32, SmallVec<[Argument; 1]>)] {
        &self.results
    }

    /// Whether an instruction takes the memory of a leaf, if the plan is its only holder.
    pub fn donates(&self) -> bool {
        self.donates
    }

    /// Notes whether leaves of these values give their memory away.
    pub(crate) fn note_donations(&mut self, leaves: &[Data]) {
        // Whether a leaf is worth having its memory used again.
        let large = |slot: Slot| {
            leaves.get(slot as usize).is_some_and(|leaf| leaf.size() * leaf.dtype().size() >= LARGE)
        };
        self.donates = self.instrs.iter().any(|instr| instr.reused().any(large));
    }
}

impl Instr {
    fn bytes(&self) -> usize {
        let kernel = match &self.kernel {
            Kernel::Map { program, .. } => program.bytes(),
            Kernel::Region { region, .. } => region.bytes(),
            Kernel::Call { avals, .. } => size_of_val(&avals[..]),
            Kernel::Copy { .. } | Kernel::Reduce { .. } | Kernel::Dot(_) => 0,
        };
        let lists = self.kernel.inputs().count() * size_of::<Argument>()
            + self.kernel.outs().count() * size_of::<Output>();
        size_of::<Self>() + kernel + lists + size_of_val(&self.free[..]) + self.label.len()
    }

    /// The inputs and outputs that `reuse` numbers.
    pub(crate) fn numbered(&self) -> (&[Argument], &[Output]) {
        match &self.kernel {
            Kernel::Map { inputs, outs, .. } | Kernel::Region { inputs, outs, .. } => (inputs, outs),
            _ => (&[], &[]),
        }
    }

    /// The slots whose memory outputs take.
    pub(crate) fn reused(&self) -> impl Iterator<Item = Slot> {
        let (inputs, _) = self.numbered();
        self.reuse.iter().map(|pair| inputs[pair.1 as usize].slot)
    }

    /// Of the outputs that could take an input's memory, leaves those whose input is not needed afterwards, one for each.
    pub(crate) fn settle_reuse(&mut self) {
        let (inputs, _) = self.numbered();
        let mut taken: SmallVec<[(u32, u32); 1]> = SmallVec::new();
        for &(out, input) in &self.reuse {
            let slot = inputs[input as usize].slot;
            let alone = inputs.iter().filter(|x| x.slot == slot).count() == 1;
            let free = !taken.iter().any(|&(o, i)| o == out || i == input);
            if alone && free && self.free.contains(&slot) {
                taken.push((out, input));
            }
        }
        self.reuse = taken;
    }
}

/// One instruction a line; with `{:#}` also its memory: the slots that it reads and writes, those that it writes over, and
/// those that it frees.
impl fmt::Display for Executable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for instr in &self.instrs {
            f.write_str(&instr.label)?;
            if f.alternate() {
                instr.memory(f)?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

impl Instr {
    fn memory(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |slots: &mut dyn Iterator<Item = Slot>| {
            slots.map(|slot| slot.to_string()).collect::<Vec<_>>().join(" ")
        };
        let seen =
            |x: &Argument| if x.layout.is_some() { format!("{}…", x.slot) } else { x.slot.to_string() };
        let reads: Vec<String> = self.kernel.inputs().map(seen).collect();
        write!(f, " | {} → {}", reads.join(" "), list(&mut self.kernel.written()))?;
        let (inputs, outs) = self.numbered();
        for &(out, input) in &self.reuse {
            write!(f, ", {} over {}", outs[out as usize].slot, inputs[input as usize].slot)?;
        }
        if !self.free.is_empty() {
            write!(f, ", frees {}", list(&mut self.free.iter().copied()))?;
        }
        Ok(())
    }
}
