//! What must hold of the instructions of every executable. The executor hands out views of memory because they say so,
//! so memory safety rests on these rules:
//!
//! - an instruction reads only memory that exists, that is written, and that is not freed yet;
//! - each element is written once: by one instruction, or by several in parts that do not overlap;
//! - layouts stay inside their memory, and shapes and element types are those that the work expects;
//! - an output takes an input's memory only where nothing reads that input afterwards;
//! - scratch memory of a region is written before it is read, and holds what is put there;
//! - every slot is freed once, after its last use, unless it is a result; results exist at the end.
//!
//! [`verify`] runs on every new plan in debug builds, and so in all tests; in a release build, with the environment
//! variable `COVECTOR_VERIFY_PLANS=1`.

use crate::aval::Aval;
use crate::buffer::Data;
use crate::executable::{Argument, Dot, Executable, Instr, Kernel, Output, Slot};
use crate::ir::reach;
use crate::shape::{Shape, ShapeText, reduced_shape, row_major_strides};
use covector_kernels::Dtype;
use covector_kernels::rows::{Region, StageInput, Storage};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;
use std::fmt::Display;
use std::ops::Range;

/// Parts of larger memory are counted, but not compared with each other element by element.
const MAX_COMPARED: usize = 1 << 22;

type Checked<T = ()> = Result<T, String>;

/// The memory of a slot, as far as the plan has run.
struct Memory {
    dtype: Dtype,
    /// The shape that it has by itself.
    shape: Shape,
    /// Element numbers that a layout may reach; a leaf may be a view into more.
    reach: Range<isize>,
    written: Written,
}

enum Written {
    All,
    /// As many elements, and which, unless it is too large.
    Parts(usize, Option<Vec<u64>>),
}

/// Checks an executable for leaves of these layouts and wanted steps of these element types and shapes.
pub(crate) fn verify(plan: &Executable, leaves: &[Data], wanted: &[(u32, SmallVec<[Aval; 1]>)]) -> Checked {
    let mut state = State { memory: FxHashMap::default(), freed: vec![None; plan.slots] };
    for (slot, leaf) in leaves.iter().enumerate() {
        let reach = reach(leaf.shape(), leaf.strides(), 0);
        let (dtype, shape) = (leaf.dtype(), Shape::from_slice(leaf.shape()));
        state.memory.insert(slot as Slot, Memory { dtype, shape, reach, written: Written::All });
    }
    if leaves.len() > plan.slots {
        return Err(format!("{} leaves do not fit in {} slots", leaves.len(), plan.slots));
    }
    for (k, instr) in plan.instrs.iter().enumerate() {
        state.instr(k, instr).map_err(|why| format!("instruction {k} ({}): {why}", instr.label))?;
    }
    let mut kept = vec![false; plan.slots];
    for (step, outs) in &plan.results {
        let found = wanted.iter().find(|(s, _)| s == step);
        let (_, avals) = found.ok_or_else(|| format!("result of step {step}, which is not wanted"))?;
        if avals.len() != outs.len() {
            return Err(format!("step {step} has {} outputs, the plan {}", avals.len(), outs.len()));
        }
        for (aval, out) in avals.iter().zip(outs) {
            let at = |why: String| format!("result of step {step}: {why}");
            let (dtype, shape) = state.argument(out).map_err(at)?;
            expect(&format!("result of step {step}"), (dtype, &shape[..]), (aval.dtype, &aval.shape))?;
            kept[out.slot as usize] = true;
        }
    }
    if let Some((step, _)) = wanted.iter().find(|(step, _)| !plan.results.iter().any(|(s, _)| s == step)) {
        return Err(format!("step {step} is wanted and has no result"));
    }
    let unused = |slot: &Slot| !kept[*slot as usize] && (*slot as usize) >= leaves.len();
    match state.memory.keys().copied().filter(unused).min() {
        Some(slot) => Err(format!("slot {slot} is never freed")),
        None => Ok(()),
    }
}

fn expect(what: &dyn Display, found: (Dtype, &[usize]), wanted: (Dtype, &[usize])) -> Checked {
    if found == wanted {
        return Ok(());
    }
    let text = |(dtype, shape): (Dtype, &[usize])| format!("{dtype} {}", ShapeText(shape));
    Err(format!("{what} is {}, expected {}", text(found), text(wanted)))
}

/// Whether `shape` broadcasts to `to`.
fn broadcasts(shape: &[usize], to: &[usize]) -> bool {
    shape.len() <= to.len() && shape.iter().rev().zip(to.iter().rev()).all(|(&a, &b)| a == b || a == 1)
}

struct State {
    memory: FxHashMap<Slot, Memory>,
    /// The instruction that freed each slot.
    freed: Vec<Option<usize>>,
}

impl State {
    fn get(&self, slot: Slot) -> Checked<&Memory> {
        self.memory.get(&slot).ok_or_else(|| match self.freed.get(slot as usize) {
            Some(Some(k)) => format!("slot {slot} is used after instruction {k} freed it"),
            Some(None) => format!("slot {slot} is read before it is written"),
            None => format!("there is no slot {slot}"),
        })
    }

    /// The element type and shape of an argument whose elements are all written.
    fn argument(&self, argument: &Argument) -> Checked<(Dtype, Shape)> {
        let memory = self.get(argument.slot)?;
        let slot = argument.slot;
        let Some(layout) = &argument.layout else {
            return match memory.written {
                Written::All => Ok((memory.dtype, memory.shape.clone())),
                Written::Parts(..) => Err(format!("slot {slot} is read before all its parts are written")),
            };
        };
        if layout.shape.len() != layout.strides.len() {
            return Err(format!("a layout of slot {slot} does not have a stride for each axis"));
        }
        let seen = layout.reach();
        if !seen.is_empty() && (seen.start < memory.reach.start || seen.end > memory.reach.end) {
            let Range { start, end } = memory.reach;
            return Err(format!("a layout reaches {seen:?} of slot {slot}, which has {start}..{end}"));
        }
        if let Written::Parts(_, Some(bits)) = &memory.written {
            let mut missing = None;
            layout.for_each(|at| {
                if bits[at as usize / 64] >> (at % 64) & 1 == 0 {
                    missing = Some(at);
                }
            });
            if let Some(at) = missing {
                return Err(format!("element {at} of slot {slot} is read before it is written"));
            }
        }
        Ok((memory.dtype, layout.shape.clone()))
    }

    /// Notes that a whole slot is written.
    fn write(&mut self, slot: Slot, dtype: Dtype, shape: &[usize]) -> Checked {
        self.fresh(slot)?;
        let shape = Shape::from_slice(shape);
        let reach = 0..shape.iter().product::<usize>() as isize;
        self.memory.insert(slot, Memory { dtype, shape, reach, written: Written::All });
        Ok(())
    }

    fn fresh(&self, slot: Slot) -> Checked {
        match self.freed.get(slot as usize) {
            None => Err(format!("there is no slot {slot}")),
            Some(Some(k)) => Err(format!("slot {slot} is written after instruction {k} freed it")),
            Some(None) if self.memory.contains_key(&slot) => Err(format!("slot {slot} is written twice")),
            Some(None) => Ok(()),
        }
    }

    fn output(&mut self, out: &Output) -> Checked {
        let Some(part) = &out.part else { return self.write(out.slot, out.dtype, &out.shape) };
        let (slot, size) = (out.slot, part.whole.iter().product::<usize>());
        if !self.memory.contains_key(&slot) {
            self.fresh(slot)?;
            let bits = (size <= MAX_COMPARED).then(|| vec![0; size.div_ceil(64)]);
            let (shape, reach) = (part.whole.clone(), 0..size as isize);
            let written = if size == 0 { Written::All } else { Written::Parts(0, bits) };
            self.memory.insert(slot, Memory { dtype: out.dtype, shape, reach, written });
        }
        let Some(memory) = self.memory.get_mut(&slot) else { unreachable!("just put there") };
        let whole = format!("the whole of slot {slot}");
        expect(&whole, (memory.dtype, &memory.shape), (out.dtype, &part.whole))?;
        if part.layout.shape != out.shape {
            return Err(format!("a part of slot {slot} has another shape than the output"));
        }
        let seen = part.layout.reach();
        if !seen.is_empty() && (seen.start < 0 || seen.end > size as isize) {
            return Err(format!("a part reaches {seen:?} of slot {slot}, which has 0..{size}"));
        }
        if seen.is_empty() {
            return Ok(());
        }
        let Written::Parts(count, bits) = &mut memory.written else {
            return Err(format!("a part of slot {slot} is written after all of it was"));
        };
        let mut twice = None;
        if let Some(bits) = bits {
            part.layout.for_each(|at| {
                let word = &mut bits[at as usize / 64];
                if *word >> (at % 64) & 1 == 1 {
                    twice = Some(at);
                }
                *word |= 1 << (at % 64);
            });
        }
        if let Some(at) = twice {
            return Err(format!("element {at} of slot {slot} is written twice"));
        }
        *count += out.shape.iter().product::<usize>();
        if *count > size {
            return Err(format!("the parts of slot {slot} have more elements than the whole"));
        }
        if *count == size {
            memory.written = Written::All;
        }
        Ok(())
    }

    /// Checks the factors of a dot, and notes its result.
    fn dot(&mut self, dot: &Dot) -> Checked {
        let factor = |i: usize| self.argument(&dot.factors[i]).map_err(|why| format!("factor {i}: {why}"));
        let ((dtype, a), (other, b)) = (factor(0)?, factor(1)?);
        let out = &dot.out;
        let fits = match (&a[..], &b[..], &out.shape[..]) {
            ([.., m, k], [.., l, n], [.., rows, columns]) => (m, k, n) == (rows, l, columns),
            _ => false,
        };
        if !fits || dtype != out.dtype || other != out.dtype || out.part.is_some() {
            return Err("the dot's factors do not make its result".into());
        }
        self.write(out.slot, out.dtype, &out.shape)
    }

    fn instr(&mut self, k: usize, instr: &Instr) -> Checked {
        match &instr.kernel {
            Kernel::Map { program, shape, inputs, outs } => {
                let seen = self.inputs(inputs)?;
                let types: Vec<Dtype> = seen.iter().map(|(dtype, _)| *dtype).collect();
                if types != program.inputs() {
                    return Err(format!("inputs are {types:?}, the program takes {:?}", program.inputs()));
                }
                if let Some((i, (_, seen))) = seen.iter().enumerate().find(|(_, x)| !broadcasts(&x.1, shape))
                {
                    let (seen, shape) = (ShapeText(seen), ShapeText(shape));
                    return Err(format!("input {i} of shape {seen} does not broadcast to {shape}"));
                }
                if outs.iter().any(|out| out.shape != *shape)
                    || !program.outputs().iter().eq(outs.iter().map(|out| &out.dtype))
                {
                    return Err("the outputs are not those of the program".into());
                }
                self.outputs(instr)?;
            }
            Kernel::Region { region, dot, inputs, outs } => {
                if let Some(dot) = dot {
                    self.dot(dot)?;
                }
                let seen = self.inputs(inputs)?;
                stages(region, inputs, &seen, outs)?;
                self.outputs(instr)?;
            }
            Kernel::Copy { inputs, outs } => {
                let seen = self.inputs(inputs)?;
                if seen.len() != outs.len() {
                    return Err(format!("{} inputs are copied to {} outputs", seen.len(), outs.len()));
                }
                for (i, ((dtype, shape), out)) in seen.iter().zip(outs).enumerate() {
                    expect(&format!("input {i}"), (*dtype, shape), (out.dtype, &out.shape))?;
                    self.output(out).map_err(|why| format!("output {i}: {why}"))?;
                }
            }
            Kernel::Reduce { axes, inputs, outs: [out], .. } => {
                let seen = self.inputs(inputs)?;
                let (_, from) = &seen[0];
                if axes.iter().any(|&a| a >= from.len()) || reduced_shape(from, axes, true) != out.shape {
                    return Err(format!("{axes:?} of {} does not give the output", ShapeText(from)));
                }
                self.output(out)?;
            }
            Kernel::Dot(dot) => self.dot(dot)?,
            Kernel::Call { inputs, avals, first, .. } => {
                self.inputs(inputs)?;
                for (i, Aval { dtype, shape }) in avals.iter().enumerate() {
                    self.write(first + i as Slot, *dtype, shape)?;
                }
            }
        }
        for &slot in &instr.free {
            if self.memory.remove(&slot).is_none() {
                return Err(match self.freed.get(slot as usize).copied().flatten() {
                    Some(j) => format!("slot {slot} is freed again after instruction {j}"),
                    None => format!("slot {slot} is freed before it exists"),
                });
            }
            self.freed[slot as usize] = Some(k);
        }
        Ok(())
    }

    fn inputs(&self, inputs: &[Argument]) -> Checked<Vec<(Dtype, Shape)>> {
        let one =
            |(i, input): (usize, &Argument)| self.argument(input).map_err(|why| format!("input {i}: {why}"));
        inputs.iter().enumerate().map(one).collect()
    }

    /// Notes the outputs of a map or region, of which some take the memory of inputs.
    fn outputs(&mut self, instr: &Instr) -> Checked {
        let (inputs, outs) = instr.numbered();
        for (n, &(out, input)) in instr.reuse.iter().enumerate() {
            let (Some(to), Some(from)) = (outs.get(out as usize), inputs.get(input as usize)) else {
                return Err(format!("output {out} over input {input}, which are not there"));
            };
            let memory = self.get(from.slot)?;
            let what = format!("output {out} over input {input}");
            if from.layout.is_some() || to.part.is_some() {
                return Err(format!("{what}: one of them is not the whole of its memory"));
            }
            expect(&what, (to.dtype, &to.shape), (memory.dtype, &memory.shape))?;
            if !instr.free.contains(&from.slot) {
                return Err(format!("{what}: slot {} is read afterwards", from.slot));
            }
            if inputs.iter().filter(|x| x.slot == from.slot).count() > 1 {
                return Err(format!("{what}: another input is in slot {}, too", from.slot));
            }
            if instr.reuse[..n].iter().any(|pair| pair.0 == out || pair.1 == input) {
                return Err(format!("{what}: one of them is in two pairs"));
            }
            if let Kernel::Region { dot: Some(dot), .. } = &instr.kernel
                && dot.factors.iter().any(|factor| factor.slot == from.slot)
            {
                return Err(format!("{what}: the dot reads slot {} to its end", from.slot));
            }
        }
        outs.iter()
            .enumerate()
            .try_for_each(|(k, out)| self.output(out).map_err(|why| format!("output {k}: {why}")))
    }
}

/// Checks the stages of a region against its inputs and outputs.
fn stages(region: &Region, inputs: &[Argument], seen: &[(Dtype, Shape)], outs: &[Output]) -> Checked {
    let rows = region.rows();
    // What each scratch buffer holds, and which outputs are written: the element type, elements a row, and whether later stages
    // may read it.
    let mut scratch: Vec<Option<(Dtype, usize)>> = vec![None; region.scratch().len()];
    let mut written: Vec<Option<bool>> = vec![None; outs.len()];
    for (s, stage) in region.stages().iter().enumerate() {
        let at = |why: String| format!("stage {s}: {why}");
        for source in stage.inputs() {
            source_is_there(source, rows, inputs, seen, outs, (&scratch, &written)).map_err(at)?;
        }
        for target in stage.outputs() {
            let bytes = target.row * target.dtype.size();
            match target.storage {
                Storage::Input(i) => return Err(at(format!("input {i} is written"))),
                Storage::Scratch(i) => match (scratch.get_mut(i), region.scratch().get(i)) {
                    (Some(held), Some(&size)) if bytes <= size => *held = Some((target.dtype, target.row)),
                    (Some(_), Some(&size)) => {
                        return Err(at(format!("{bytes} bytes a row do not fit in scratch {i} of {size}")));
                    }
                    _ => return Err(at(format!("there is no scratch {i}"))),
                },
                Storage::Output(i) => {
                    let out = outs.get(i).ok_or_else(|| at(format!("there is no output {i}")))?;
                    let size = out.shape.iter().product::<usize>();
                    if (target.dtype, target.row * rows) != (out.dtype, size) {
                        return Err(at(format!("{rows} rows of {} do not make output {i}", target.row)));
                    }
                    if written[i].replace(true).is_some() {
                        return Err(at(format!("output {i} is written twice")));
                    }
                }
            }
        }
        if let Some(sum) = stage.reduced() {
            let out = outs.get(sum.index).ok_or_else(|| at(format!("there is no output {}", sum.index)))?;
            if (sum.dtype, sum.size) != (out.dtype, out.shape.iter().product()) {
                return Err(at(format!("the sum is not output {}", sum.index)));
            }
            if written[sum.index].replace(false).is_some() {
                return Err(at(format!("output {} is written twice", sum.index)));
            }
        }
    }
    match written.iter().position(Option::is_none) {
        Some(i) => Err(format!("output {i} is never written")),
        None => Ok(()),
    }
}

type Made<'a> = (&'a [Option<(Dtype, usize)>], &'a [Option<bool>]);

fn source_is_there(
    source: &StageInput,
    rows: usize,
    inputs: &[Argument],
    seen: &[(Dtype, Shape)],
    outs: &[Output],
    (scratch, written): Made<'_>,
) -> Checked {
    let whole = reach(&source.shape, &source.strides, source.shift);
    let inside = |size: usize| whole.is_empty() || whole.start >= 0 && whole.end <= size as isize;
    match source.storage {
        Storage::Input(i) => {
            let (Some((dtype, shape)), Some(input)) = (seen.get(i), inputs.get(i)) else {
                return Err(format!("there is no input {i}"));
            };
            if *dtype != source.dtype {
                return Err(format!("input {i} is {dtype}, and read as {}", source.dtype));
            }
            // The view begins at its first element; the stage's strides must not go beyond its last, on either side.
            let strides = match &input.layout {
                Some(layout) => layout.strides.clone(),
                None => row_major_strides(shape),
            };
            let own = reach(shape, &strides, 0);
            let relative = reach(&source.shape, &source.strides, 0);
            if !relative.is_empty() && (relative.start < own.start || relative.end > own.end) {
                return Err(format!("{relative:?} of input {i} is read, which has {own:?}"));
            }
        }
        Storage::Scratch(i) => match scratch.get(i) {
            Some(Some((dtype, row))) if *dtype == source.dtype && inside(row * rows) => {}
            Some(Some(_)) => return Err(format!("scratch {i} holds something else than is read")),
            Some(None) => return Err(format!("scratch {i} is read before it is written")),
            None => return Err(format!("there is no scratch {i}")),
        },
        Storage::Output(i) => match (written.get(i), outs.get(i)) {
            (Some(Some(true)), Some(out)) => {
                let size = out.shape.iter().product::<usize>();
                if out.dtype != source.dtype || !inside(size) {
                    return Err(format!("output {i} is read as something else"));
                }
            }
            (Some(Some(false)), _) => return Err(format!("sum {i} is read before all rows are done")),
            (Some(None), _) => return Err(format!("output {i} is read before it is written")),
            _ => return Err(format!("there is no output {i}")),
        },
    }
    Ok(())
}
