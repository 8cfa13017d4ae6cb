//! Running a plan on the leaves of a graph.

use crate::array::Node;
use crate::buffer::{self, Data};
use crate::error::Result;
use crate::plan::build::Layout;
use crate::plan::donate::{self, Turn};
use crate::plan::emit::{Instr, Operand, Output, Plan, Product, Slot, Work};
use crate::plan::linear::{Listed, Listing};
use crate::prim::matmul::factors;
use crate::primitive::Values;
use crate::profile;
use covector_kernels::{Out, View};
use smallvec::SmallVec;
use std::sync::Arc;

impl Operand {
    pub(crate) fn data(&self, slots: &[Option<Data>]) -> Data {
        let data = slots[self.slot as usize].as_ref().expect("made before it is used");
        match &self.layout {
            None => data.clone(),
            Some(l) => data.restrided(&l.shape, &l.strides, l.shift),
        }
    }

    fn view<'a>(&'a self, slots: &'a [Option<Data>]) -> View<'a> {
        let data = slots[self.slot as usize].as_ref().expect("made before it is used");
        match &self.layout {
            None => data.view(),
            Some(l) => data.view_as(&l.shape, &l.strides, l.shift),
        }
    }
}

/// Graphs of so many nodes are dropped before they are evaluated: afterwards they would have to be brought back to the
/// cache for that, one by one.
const MANY: usize = 256;

/// Drops the list of a graph, and the graph where nobody else has it. From the back: what a node is made from is still held
/// by the list, and nothing has to be queued.
fn bury(nodes: &mut Vec<Listed>) {
    while nodes.pop().is_some() {}
}

impl Output {
    /// What is filled of its memory.
    fn of<'a>(&self, data: &'a mut Data) -> Out<'a> {
        if self.part.is_some() { data.out_part() } else { data.out_planned() }
    }
}

impl Plan {
    /// Computes the kept steps of `listing`, whose key is the plan's, and stores them in their nodes.
    pub(crate) fn run(&self, listing: Listing) -> Result<()> {
        let Listing { mut nodes, leaves, .. } = listing;
        let turn = if self.lends || nodes.len() >= MANY { Turn::take() } else { None };
        let kept: Vec<Arc<Node>> =
            self.results.iter().map(|(step, _)| nodes[*step as usize].node.clone()).collect();
        if turn.is_some() {
            for node in kept.iter().filter(|node| !node.is_live()) {
                drop(node.take_recipe());
            }
            bury(&mut nodes);
        }
        let slots = self.execute(leaves.into_iter());
        if let (Err(error), Some(_)) = (&slots, &turn) {
            kept.iter().for_each(|node| donate::fail(node, error));
        }
        let slots = slots?;
        for (node, (_, outs)) in kept.iter().zip(&self.results) {
            node.fill(outs.iter().map(|o| o.data(&slots)).collect());
        }
        bury(&mut nodes);
        Ok(())
    }

    /// Runs the instructions on these leaves. Gives the slots, where the results are. Memory that a kernel needs and does
    /// not get ends the run with an error, whichever instruction and thread it was.
    pub(crate) fn execute(&self, leaves: impl Iterator<Item = Data>) -> Result<Vec<Option<Data>>> {
        buffer::checked("eval", || self.execute_all(leaves))?
    }

    fn execute_all(&self, leaves: impl Iterator<Item = Data>) -> Result<Vec<Option<Data>>> {
        let mut slots: Vec<Option<Data>> = Vec::with_capacity(self.slots);
        slots.extend(leaves.map(Some));
        slots.resize_with(self.slots, || None);
        if profile::is_recording() {
            for instr in &self.instrs {
                let traffic = instr.traffic(&slots);
                let timer = profile::Timer::start();
                instr.run(&mut slots)?;
                timer.stop(&instr.label, traffic, instr.flops);
                instr.release(&mut slots);
            }
        } else {
            for instr in &self.instrs {
                instr.run(&mut slots)?;
                instr.release(&mut slots);
            }
        }
        Ok(slots)
    }
}

impl Instr {
    fn run(&self, slots: &mut [Option<Data>]) -> Result<()> {
        match &self.work {
            Work::Chain { program, shape, inputs, outs } => {
                let mut made = Made::new();
                allocate(&mut made, outs, inputs, &self.over, slots)?;
                write(outs, &mut made, inputs, slots, |views, outs| program.run(shape, views, outs));
                put(outs, &mut made, slots);
                Ok(())
            }
            Work::Band { band, inputs, outs, after: None } => {
                let mut made = Made::new();
                allocate(&mut made, outs, inputs, &self.over, slots)?;
                write(outs, &mut made, inputs, slots, |views, outs| band.run(views, outs));
                put(outs, &mut made, slots);
                Ok(())
            }
            Work::Band { band, inputs, outs, after: Some(product) } => {
                let Product { factors: [a, b], out } = &**product;
                let (a, b) = factors(&a.data(slots), &b.data(slots), out.shape.len());
                slots[out.slot as usize] = Some(Data::alloc("matmul", out.dtype, &out.shape)?);
                let mut made = Made::new();
                allocate(&mut made, outs, inputs, &self.over, slots)?;
                let mut result = slots[out.slot as usize].clone().expect("just made");
                write(outs, &mut made, inputs, slots, |views, outs| {
                    band.run_after_dot((a.view(), b.view(), result.out_planned()), views, outs);
                });
                put(outs, &mut made, slots);
                Ok(())
            }
            Work::Join { inputs, outs } => {
                let mut made = Made::new();
                allocate(&mut made, outs, inputs, &self.over, slots)?;
                write(outs, &mut made, inputs, slots, covector_kernels::copy_each);
                Ok(())
            }
            Work::Call { op, inputs, avals, first } => {
                let mut values = Values::new();
                for (k, input) in inputs.iter().enumerate() {
                    values.push(last_use(input, &inputs[k + 1..], &self.free, slots));
                }
                for (k, data) in op.eval(values, avals)?.into_iter().enumerate() {
                    // Layouts were planned on top of row-major results; an op that hands its input through
                    // may return a broadcast one.
                    slots[*first as usize + k] = Some(data.row_major("eval")?);
                }
                Ok(())
            }
        }
    }

    /// Lets go of what nothing needs any more.
    fn release(&self, slots: &mut [Option<Data>]) {
        for &slot in &self.free {
            slots[slot as usize] = None;
        }
    }
}

/// Outputs in the making. Large enough to be handed on by reference.
type Made = SmallVec<[Data; 4]>;

/// Gets memory for outputs: that of inputs that nobody else needs, or new.
fn allocate(
    made: &mut Made,
    outs: &[Output],
    inputs: &[Operand],
    over: &[(u32, u32)],
    slots: &mut [Option<Data>],
) -> Result<()> {
    for (k, out) in outs.iter().enumerate() {
        if let Some(part) = &out.part {
            let slot = &mut slots[out.slot as usize];
            let whole = match slot {
                Some(whole) => whole,
                None => slot.insert(Data::alloc("eval", out.dtype, &part.whole)?),
            };
            let Layout { shape, strides, shift } = &part.layout;
            made.push(whole.restrided(shape, strides, *shift));
            continue;
        }
        let input = over.iter().find(|pair| pair.0 as usize == k).map(|pair| &inputs[pair.1 as usize]);
        let lent = input.and_then(|input| slots[input.slot as usize].as_ref()?.lend());
        made.push(match lent {
            Some(data) => data,
            None => Data::alloc("eval", out.dtype, &out.shape)?,
        });
    }
    Ok(())
}

/// Lets `work` fill the memory of outputs.
fn write(
    outs: &[Output],
    made: &mut [Data],
    inputs: &[Operand],
    slots: &[Option<Data>],
    work: impl FnOnce(&[View<'_>], &[Out<'_>]),
) {
    let views: SmallVec<[View<'_>; 8]> = inputs.iter().map(|o| o.view(slots)).collect();
    let outs: SmallVec<[Out<'_>; 4]> = outs.iter().zip(made).map(|(out, data)| out.of(data)).collect();
    work(&views, &outs);
}

/// Puts outputs in their slots; parts are there.
fn put(outs: &[Output], made: &mut Made, slots: &mut [Option<Data>]) {
    for (out, data) in outs.iter().zip(made.drain(..)).filter(|(out, _)| out.part.is_none()) {
        slots[out.slot as usize] = Some(data);
    }
}

/// An input of a call, by value when nothing needs its memory afterwards, so that the call may work in place.
fn last_use(input: &Operand, rest: &[Operand], free: &[Slot], slots: &mut [Option<Data>]) -> Data {
    let last =
        input.layout.is_none() && free.contains(&input.slot) && !rest.iter().any(|o| o.slot == input.slot);
    if last && let Some(data) = slots[input.slot as usize].take() {
        return data;
    }
    input.data(slots)
}
