//! Running an executable on the leaves of a graph.

use crate::aval::Values;
use crate::buffer::{self, Data};
use crate::error::Result;
use crate::executable::{Argument, Dot, Executable, Instr, Kernel, Output, Slot};
use crate::ir::Layout;
use crate::profile;
use crate::shape::{Shape, Strides};
use covector_kernels::{self as kernels, Out, View};
use smallvec::{SmallVec, smallvec};

impl Argument {
    /// The value, of which the memory is in the slots of a run.
    ///
    /// # Panics
    /// If the slot is empty: the argument is of another executable.
    pub fn data(&self, slots: &[Option<Data>]) -> Data {
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

impl Output {
    /// The memory that it fills.
    fn of<'a>(&self, data: &'a mut Data) -> Out<'a> {
        if self.part.is_some() { data.out_part() } else { data.out_planned() }
    }
}

impl Dot {
    /// The factors as the kernel takes them: of equal rank.
    fn factors(&self, slots: &[Option<Data>]) -> [Data; 2] {
        let rank = self.out.shape.len();
        [0, 1].map(|i| {
            let x = self.factors[i].data(slots);
            let new = rank - x.shape().len();
            let mut shape: Shape = smallvec![1; new];
            shape.extend_from_slice(x.shape());
            let mut strides: Strides = smallvec![0; new];
            strides.extend_from_slice(x.strides());
            x.restrided(&shape, &strides, 0)
        })
    }
}

impl Executable {
    /// Runs the instructions on these leaves. Gives the slots, where the results are. A request for memory that cannot be
    /// met ends the run with an error, whichever instruction and thread it was.
    ///
    /// # Errors
    /// What operations find in the values, and memory that could not be allocated.
    pub fn execute(&self, leaves: impl Iterator<Item = Data>) -> Result<Vec<Option<Data>>> {
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
        match &self.kernel {
            Kernel::Map { program, shape, inputs, outs } => {
                let mut made = Made::new();
                allocate(&mut made, outs, inputs, &self.reuse, slots)?;
                write(outs, &mut made, inputs, slots, |views, outs| program.run(shape, views, outs));
                put(outs, &mut made, slots);
            }
            Kernel::Region { region, inputs, outs, dot: None } => {
                let mut made = Made::new();
                allocate(&mut made, outs, inputs, &self.reuse, slots)?;
                write(outs, &mut made, inputs, slots, |views, outs| region.run(views, outs));
                put(outs, &mut made, slots);
            }
            Kernel::Region { region, inputs, outs, dot: Some(dot) } => {
                let [a, b] = dot.factors(slots);
                let out = &dot.out;
                slots[out.slot as usize] = Some(Data::alloc("matmul", out.dtype, &out.shape)?);
                let mut made = Made::new();
                allocate(&mut made, outs, inputs, &self.reuse, slots)?;
                let mut result = slots[out.slot as usize].clone().expect("just made");
                write(outs, &mut made, inputs, slots, |views, outs| {
                    region.run_after_dot((a.view(), b.view(), result.out_planned()), views, outs);
                });
                put(outs, &mut made, slots);
            }
            Kernel::Copy { inputs, outs } => {
                let mut made = Made::new();
                allocate(&mut made, outs, inputs, &self.reuse, slots)?;
                write(outs, &mut made, inputs, slots, kernels::copy_each);
            }
            Kernel::Reduce { kind, axes, inputs: [input], outs: [out] } => {
                let mut made = Data::alloc("reduce", out.dtype, &out.shape)?;
                kernels::reduce(*kind, input.view(slots), axes, made.out());
                slots[out.slot as usize] = Some(made);
            }
            Kernel::Dot(dot) => {
                let mut made = Data::alloc("matmul", dot.out.dtype, &dot.out.shape)?;
                let [a, b] = dot.factors(slots);
                kernels::matmul(a.view(), b.view(), made.out());
                slots[dot.out.slot as usize] = Some(made);
            }
            Kernel::Call { op, inputs, avals, first } => {
                let mut values = Values::new();
                for (k, input) in inputs.iter().enumerate() {
                    values.push(last_use(input, &inputs[k + 1..], &self.free, slots));
                }
                for (k, data) in op.call(values, avals)?.into_iter().enumerate() {
                    // Layouts were planned on top of row-major results; an op that hands its input through
                    // may return a broadcast one.
                    slots[*first as usize + k] = Some(data.row_major("eval")?);
                }
            }
        }
        Ok(())
    }

    /// Frees what nothing needs any more.
    fn release(&self, slots: &mut [Option<Data>]) {
        for &slot in &self.free {
            slots[slot as usize] = None;
        }
    }
}

/// Memory of outputs that are being computed. Large enough to be handed on by reference.
type Made = SmallVec<[Data; 4]>;

/// Gets memory for outputs: that of inputs of which the plan is the only holder, or new.
fn allocate(
    made: &mut Made,
    outs: &[Output],
    inputs: &[Argument],
    reuse: &[(u32, u32)],
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
        let input = reuse.iter().find(|pair| pair.0 as usize == k).map(|pair| &inputs[pair.1 as usize]);
        let reused = input.and_then(|input| slots[input.slot as usize].as_ref()?.lend());
        made.push(match reused {
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
    inputs: &[Argument],
    slots: &[Option<Data>],
    work: impl FnOnce(&[View<'_>], &[Out<'_>]),
) {
    let views: SmallVec<[View<'_>; 8]> = inputs.iter().map(|x| x.view(slots)).collect();
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
fn last_use(input: &Argument, rest: &[Argument], free: &[Slot], slots: &mut [Option<Data>]) -> Data {
    let last =
        input.layout.is_none() && free.contains(&input.slot) && !rest.iter().any(|x| x.slot == input.slot);
    if last && let Some(data) = slots[input.slot as usize].take() {
        return data;
    }
    input.data(slots)
}
