//! Planning, second part: from chains and calls to instructions with memory.
//!
//! Instructions that can run together do (see [`band`](crate::plan::band)). What nobody outside of a chain reads stays in
//! its tiles, what nobody outside of a band reads in its scratch memory; everything else gets a slot, which is given
//! back after its last use.

use crate::buffer::Data;
use crate::plan::band::{Reach, Unit, group, lie};
use crate::plan::build::{ChainOp, Layout, Proto, Root, Source, Val};
use crate::plan::cost::flops;
use crate::plan::distinct::Distinct;
use crate::plan::linear::Linear;
use crate::plan::merge::merge_chains;
use crate::plan::order::order;
use crate::plan::over::LARGE;
use crate::plan::parts::Homes;
use crate::plan::shared::share_matrices;
use crate::plan::shelves::BandMaker;
use crate::plan::sink::sink;
use crate::plan::spare::spare;
use crate::plan::turn::turn_products;
use crate::plan::verify;
use crate::primitive::{Avals, Op, TileFn};
use crate::shape::{Shape, ShapeText};
use crate::wide;
use covector_kernels::Dtype;
use covector_kernels::convert::{narrow_tile, widen_tile};
use covector_kernels::program::{Builder, Program, Reg};
use covector_kernels::rows::Region;
use rustc_hash::FxHashMap;
use smallvec::SmallVec;
use std::fmt;
use std::sync::Arc;

/// Memory during a run, numbered: first the leaves, then what instructions make.
pub(crate) type Slot = u32;

/// How a value lies in its slot's memory; `None` for the whole of it as it is.
#[derive(Clone)]
pub(crate) struct Operand {
    pub(crate) slot: Slot,
    pub(crate) layout: Option<Box<Layout>>,
}

/// An output that an instruction allocates.
pub(crate) struct Output {
    pub(crate) slot: Slot,
    pub(crate) dtype: Dtype,
    pub(crate) shape: Shape,
    /// If only a part of the slot's memory is meant; who comes first allocates all of it.
    pub(crate) part: Option<Box<Part>>,
}

/// A part of larger memory.
pub(crate) struct Part {
    /// The shape of all of it.
    pub(crate) whole: Shape,
    /// How the part lies in it.
    pub(crate) layout: Layout,
}

/// A matrix product.
pub(crate) struct Product {
    pub(crate) factors: [Operand; 2],
    pub(crate) out: Output,
}

pub(crate) enum Work {
    /// Elementwise operations in one pass.
    Chain { program: Program, shape: Shape, inputs: Vec<Operand>, outs: Vec<Output> },
    /// Chains and reductions over the same rows, perhaps after a product, part by part.
    Band { band: Region, after: Option<Box<Product>>, inputs: Vec<Operand>, outs: Vec<Output> },
    /// Copies to parts of one array.
    Join { inputs: Vec<Operand>, outs: Vec<Output> },
    /// A primitive's own evaluation.
    Call { op: Op, inputs: SmallVec<[Operand; 3]>, avals: Avals, first: Slot },
}

pub(crate) struct Instr {
    pub(crate) work: Work,
    /// Outputs that take the memory of an input, by number, if nobody else has it.
    pub(crate) over: SmallVec<[(u32, u32); 1]>,
    /// Slots that nothing needs after this instruction.
    pub(crate) free: Vec<Slot>,
    /// What it does, in words.
    pub(crate) label: Arc<str>,
    /// Its arithmetic operations.
    pub(crate) flops: u64,
}

/// Instructions that compute the kept steps of any graph with the same key.
pub(crate) struct Plan {
    pub(crate) instrs: Vec<Instr>,
    pub(crate) slots: usize,
    /// Whether an instruction takes the memory of a leaf, if nobody else has it.
    pub(crate) lends: bool,
    /// Kept steps, with their outputs.
    pub(crate) results: Vec<(u32, SmallVec<[Operand; 1]>)>,
}

/// Turns chains and calls into a plan. `first[i]` is the place in `values` of step `i`'s outputs.
pub(crate) fn emit(
    linear: &Linear,
    mut protos: Vec<Proto>,
    mut roots: Vec<Root>,
    first: &[u32],
    mut values: Vec<Val>,
) -> Plan {
    let kept: Vec<std::ops::Range<usize>> = linear
        .steps
        .iter()
        .zip(first)
        .filter(|(step, _)| step.kept)
        .map(|(step, &from)| from as usize..from as usize + step.node.avals.len())
        .collect();
    turn_products(&mut protos, &mut roots, &mut values, kept.iter());
    share_matrices(&mut protos, &mut roots, &mut values);
    sink(&mut protos, &mut roots);
    spare(&mut protos, &mut roots);
    let mut units = group(&protos, &roots);
    merge_chains(&mut units, &mut protos, &mut roots);
    let memory = memory_of(&units, &protos, &roots);
    let units = order(units, &protos, &roots, &memory);
    let homes = Homes::new(&protos, &roots);
    // Slots: leaves keep their numbers, everything else in memory gets the next.
    let mut slots = linear.leaves.len() as u32;
    let own = |(i, root): (usize, &Root)| match root.source {
        Source::Leaf(i) => i,
        _ if memory[i] && homes.find(i as u32).1.is_none() => {
            slots += 1;
            slots - 1
        }
        _ => Slot::MAX,
    };
    let mut slot_of: Vec<Slot> = roots.iter().enumerate().map(own).collect();
    for root in 0..roots.len() {
        if let (home, Some(_)) = homes.find(root as u32) {
            slot_of[root] = slot_of[home as usize];
        }
    }
    let emitter = Emitter { protos: &protos, roots: &roots, slot_of, homes };
    let mut last: Vec<Option<u32>> = vec![None; slots as usize];
    let mut instrs = Vec::with_capacity(units.len());
    for unit in &units {
        let (work, over) = emitter.unit(unit);
        let k = instrs.len();
        let mut touch = |slot: Slot| last[slot as usize] = Some(k as u32);
        if let Work::Band { after: Some(product), .. } = &work {
            product.factors.iter().for_each(|o| touch(o.slot));
            touch(product.out.slot);
        }
        match &work {
            // All of it is there already.
            Work::Join { outs, .. } if outs.is_empty() => continue,
            Work::Chain { inputs, outs, .. }
            | Work::Band { inputs, outs, .. }
            | Work::Join { inputs, outs } => {
                inputs.iter().for_each(|o| touch(o.slot));
                outs.iter().for_each(|o| touch(o.slot));
            }
            Work::Call { inputs, avals, first, .. } => {
                inputs.iter().for_each(|o| touch(o.slot));
                (*first..first + avals.len() as u32).for_each(touch);
            }
        }
        let (label, flops) = (emitter.label(unit).into(), flops(unit, emitter.protos, emitter.roots));
        instrs.push(Instr { work, over, free: Vec::new(), label, flops });
    }
    let mut results = Vec::new();
    for (i, step) in linear.steps.iter().enumerate() {
        if step.kept {
            let from = first[i] as usize;
            let outs = values[from..from + step.node.avals.len()].iter().map(|v| emitter.operand(v));
            let outs: SmallVec<[Operand; 1]> = outs.collect();
            outs.iter().for_each(|o| last[o.slot as usize] = None);
            results.push((i as u32, outs));
        }
    }
    for (slot, last) in last.iter().enumerate() {
        if let Some(k) = last {
            instrs[*k as usize].free.push(slot as Slot);
        }
    }
    instrs.iter_mut().for_each(Instr::pair);
    let leaves = &linear.leaves;
    let lends = instrs.iter().any(|instr| instr.over_inputs().any(|slot| large(leaves.get(slot as usize))));
    let plan = Plan { instrs, slots: slots as usize, results, lends };
    if verify::is_on()
        && let Err(why) = verify::verify(&plan, linear)
    {
        panic!("[plan] {why}; this is a fault of the planner\n{plan}");
    }
    plan
}

/// Whether a leaf is worth having its memory used again.
fn large(leaf: Option<&Data>) -> bool {
    leaf.is_some_and(|leaf| leaf.size() * leaf.dtype().size() >= LARGE)
}

impl Plan {
    /// Bytes that it holds, apart from what other plans may share and from machine code.
    pub(crate) fn bytes(&self) -> usize {
        let results: usize = self.results.iter().map(|(_, outs)| size_of_val(&outs[..])).sum();
        let instrs: usize = self.instrs.iter().map(Instr::bytes).sum();
        size_of::<Self>() + results + self.results.len() * size_of::<u32>() + instrs
    }
}

impl Instr {
    fn bytes(&self) -> usize {
        let operands = match &self.work {
            Work::Chain { program, inputs, outs, .. } => {
                program.bytes() + size_of_val(&inputs[..]) + size_of_val(&outs[..])
            }
            Work::Band { band, inputs, outs, .. } => {
                band.bytes() + size_of_val(&inputs[..]) + size_of_val(&outs[..])
            }
            Work::Join { inputs, outs } => size_of_val(&inputs[..]) + size_of_val(&outs[..]),
            Work::Call { inputs, avals, .. } => size_of_val(&inputs[..]) + size_of_val(&avals[..]),
        };
        size_of::<Self>() + operands + size_of_val(&self.free[..]) + self.label.len()
    }

    /// The slots whose memory outputs take.
    fn over_inputs(&self) -> impl Iterator<Item = Slot> {
        let inputs = match &self.work {
            Work::Chain { inputs, .. } | Work::Band { inputs, .. } => &inputs[..],
            Work::Join { .. } | Work::Call { .. } => &[],
        };
        self.over.iter().map(|pair| inputs[pair.1 as usize].slot)
    }

    /// Of the outputs that could take an input's memory, leaves those whose input is not needed afterwards, one for each.
    fn pair(&mut self) {
        let (Work::Chain { inputs, .. } | Work::Band { inputs, .. }) = &self.work else { return };
        let mut taken: SmallVec<[(u32, u32); 1]> = SmallVec::new();
        for &(out, input) in &self.over {
            let slot = inputs[input as usize].slot;
            let alone = inputs.iter().filter(|o| o.slot == slot).count() == 1;
            let free = !taken.iter().any(|&(o, i)| o == out || i == input);
            if alone && free && self.free.contains(&slot) {
                taken.push((out, input));
            }
        }
        self.over = taken;
    }
}

/// Which roots need memory of their own, and not only a tile or a shelf.
fn memory_of(units: &[Unit], protos: &[Proto], roots: &[Root]) -> Vec<bool> {
    let mut unit_of = vec![0u32; protos.len()];
    for (u, unit) in units.iter().enumerate() {
        unit.instrs().for_each(|m| unit_of[m as usize] = u as u32);
    }
    let mut memory: Vec<bool> = roots
        .iter()
        .map(|root| {
            let Some(m) = root.maker() else { return true };
            let unit = &units[unit_of[m as usize] as usize];
            let over = || protos[m as usize].reach(unit.rows) == Some(Reach::Over);
            root.stored && (root.kept || unit.members.len() == 1 || unit.product == Some(m) || over())
        })
        .collect();
    for (p, proto) in protos.iter().enumerate() {
        for v in proto.inputs() {
            if roots[v.root as usize].maker().is_some_and(|m| unit_of[m as usize] != unit_of[p]) {
                memory[v.root as usize] = true;
            }
        }
    }
    memory
}

pub(crate) struct Emitter<'a> {
    pub(crate) protos: &'a [Proto],
    pub(crate) roots: &'a [Root],
    /// The slots of roots in memory; `Slot::MAX` for others.
    pub(crate) slot_of: Vec<Slot>,
    pub(crate) homes: Homes,
}

impl Emitter<'_> {
    pub(crate) fn operand(&self, v: &Val) -> Operand {
        let mut layout = v.layout.clone();
        if let (_, Some(home)) = self.homes.find(v.root) {
            let mut seen = lie(v, self.roots);
            seen.shift += home.shift;
            layout = Some(Box::new(seen));
        }
        Operand { slot: self.slot_of[v.root as usize], layout }
    }

    pub(crate) fn output(&self, root: u32) -> Output {
        let aval = &self.roots[root as usize].aval;
        let part = self.homes.part(root, self.roots);
        Output { slot: self.slot_of[root as usize], dtype: aval.dtype, shape: aval.shape.clone(), part }
    }

    /// What a unit is to do, and which of its outputs can take which of its inputs' memory.
    fn unit(&self, unit: &Unit) -> (Work, SmallVec<[(u32, u32); 1]>) {
        match (&unit.members[..], unit.product) {
            (&[member], None) => match &self.protos[member as usize] {
                proto @ Proto::Call { op, inputs, avals, first_root, .. } => {
                    let work = match self.homes.rest(proto, self.roots) {
                        Some(rest) => self.join(proto, rest),
                        None => Work::Call {
                            op: op.clone(),
                            inputs: inputs.iter().map(|v| self.operand(v)).collect(),
                            avals: avals.clone(),
                            first: self.slot_of[*first_root as usize],
                        },
                    };
                    (work, SmallVec::new())
                }
                Proto::Chain { shape, ops, externals } => {
                    let (program, made) = self.program(member, ops, externals);
                    let work = Work::Chain {
                        program,
                        shape: shape.clone(),
                        inputs: externals.iter().map(|v| self.operand(v)).collect(),
                        outs: made.iter().map(|&r| self.output(r)).collect(),
                    };
                    (work, self.over(unit, &made, externals))
                }
            },
            _ => BandMaker::new(self, unit).make(),
        }
    }

    /// The product that a unit follows.
    pub(crate) fn product(&self, unit: &Unit) -> Option<Box<Product>> {
        let Proto::Call { inputs, first_root, .. } = &self.protos[unit.product? as usize] else {
            unreachable!("products are calls")
        };
        let factors = [self.operand(&inputs[0]), self.operand(&inputs[1])];
        Some(Box::new(Product { factors, out: self.output(*first_root) }))
    }

    /// Copies to a concatenation.
    fn join(&self, proto: &Proto, rest: Vec<(&Val, Part)>) -> Work {
        let Proto::Call { avals, first_root, .. } = proto else { unreachable!("a concatenation is a call") };
        let output = |(v, part): (&Val, Part)| {
            let out = Output {
                slot: self.slot_of[*first_root as usize],
                dtype: avals[0].dtype,
                shape: part.layout.shape.clone(),
                part: Some(Box::new(part)),
            };
            (self.operand(v), out)
        };
        let (inputs, outs) = rest.into_iter().map(output).unzip();
        Work::Join { inputs, outs }
    }

    /// The tile program of a chain, with the roots that are its outputs.
    pub(crate) fn program(&self, chain: u32, ops: &[ChainOp], externals: &Distinct) -> (Program, Vec<u32>) {
        let mut builder = Builder::default();
        let inputs: Vec<Reg> =
            externals.iter().map(|v| builder.input(self.roots[v.root as usize].aval.dtype)).collect();
        let mut regs: Vec<Reg> = Vec::with_capacity(ops.len());
        // The float32 form of half-precision registers.
        let mut wide: FxHashMap<Reg, Reg> = FxHashMap::default();
        let (mut made, mut outputs) = (Vec::new(), Vec::new());
        for op in ops {
            let mut from: SmallVec<[Reg; 3]> = SmallVec::new();
            for v in &op.from {
                let root = &self.roots[v.root as usize];
                let reg = match root.source {
                    Source::Chain { instr, op } if instr == chain && v.layout.is_none() => regs[op as usize],
                    _ => inputs[externals.place(v).expect("every outside operand was listed")],
                };
                from.push(match widen_tile(root.aval.dtype) {
                    Some(tile) => *wide
                        .entry(reg)
                        .or_insert_with(|| builder.apply(TileFn::One(tile), None, &[reg], Dtype::F32)),
                    None => reg,
                });
            }
            let root = &self.roots[op.root as usize];
            let dtype = root.aval.dtype;
            let mut reg = builder.apply(op.tile, op.code, &from, wide::of(dtype));
            if wide::is_half(dtype) {
                let tile = narrow_tile(dtype).expect("half precision narrows");
                reg = builder.apply(TileFn::One(tile), None, &[reg], dtype);
            }
            regs.push(reg);
            if root.stored {
                outputs.push(reg);
                made.push(op.root);
            }
        }
        for reg in outputs {
            builder.output(reg);
        }
        (builder.finish(), made)
    }

    /// What a unit does, in words.
    fn label(&self, unit: &Unit) -> String {
        let texts: Vec<String> = unit.instrs().map(|m| self.member(m)).collect();
        match (&texts[..], unit.product) {
            ([one], _) => one.clone(),
            ([product, then @ ..], Some(_)) => {
                format!("{product}, followed in {} rows by {}", unit.rows, then.join("; "))
            }
            _ => format!("band of {} rows: {}", unit.rows, texts.join("; ")),
        }
    }

    fn member(&self, m: u32) -> String {
        match &self.protos[m as usize] {
            Proto::Chain { shape, ops, externals } => {
                let shown = ops.len().min(24);
                let more = match ops.len() - shown {
                    0 => String::new(),
                    n => format!(" and {n} more"),
                };
                let names: Vec<&str> = ops[..shown].iter().map(|o| o.name).collect();
                let outs = ops.iter().filter(|o| self.roots[o.root as usize].stored).count();
                let (shape, inputs) = (ShapeText(shape), externals.len());
                format!("chain {shape}: {}{more} [{inputs} in, {outs} out]", names.join(", "))
            }
            Proto::Call { op, inputs, avals, .. } => {
                let outs: Vec<String> = avals.iter().map(|a| ShapeText(&a.shape).to_string()).collect();
                let shown = inputs.iter().take(4).map(|v| ShapeText(v.shape(self.roots)).to_string());
                let mut from: Vec<String> = shown.collect();
                from.extend((inputs.len() > 4).then(|| "…".into()));
                let of = if from.is_empty() { "" } else { " of " };
                let what = crate::primitive::describe(&**op);
                let parts = self.homes.rest(&self.protos[m as usize], self.roots).map(|rest| rest.len());
                let copied = match parts {
                    Some(n) if n < inputs.len() => format!(" [{n} of {} copied]", inputs.len()),
                    _ => String::new(),
                };
                format!("call {}: {what}{of}{}{copied}", outs.join(", "), from.join(", "))
            }
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.instrs.iter().try_for_each(|instr| writeln!(f, "{}", instr.label))
    }
}
