//! Planning: from a list of steps to instructions.

use crate::array::Aval;
use crate::plan::linear::{Linear, Ref, write_op};
use crate::prim::elementwise::is_half;
use crate::primitive::{Avals, Fuse, Op, TileFn};
use crate::shape::{Shape, ShapeText, Strides, row_major_strides};
use covector_kernels::Dtype;
use covector_kernels::cast::{narrow_tile, widen_tile};
use covector_kernels::fused::{Builder, Program, Reg};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;
use std::fmt;

/// A chain of several elements may have this many inputs; each needs a tile of its own.
const MAX_INPUTS: usize = 32;
/// The same for a chain of single elements, which are read where they are.
const MAX_SCALARS: usize = 1 << 12;
/// A chain may have this many operations.
const MAX_CHAIN: usize = 1 << 12;

/// Memory during a run, numbered: first the leaves, then what instructions make.
pub(crate) type Slot = u32;

/// How a value lies in its slot's memory; `None` for the whole of it as it is.
#[derive(Clone)]
pub(crate) struct Operand {
    pub(crate) slot: Slot,
    pub(crate) layout: Option<Box<Layout>>,
}

#[derive(Clone, PartialEq)]
pub(crate) struct Layout {
    pub(crate) shape: Shape,
    pub(crate) strides: Strides,
    pub(crate) shift: isize,
}

pub(crate) enum Work {
    /// Elementwise operations in one pass.
    Chain {
        program: Program,
        shape: Shape,
        inputs: Vec<Operand>,
        outs: Vec<(Slot, Dtype)>,
        names: Vec<&'static str>,
    },
    /// A primitive's own evaluation.
    Call { op: Op, inputs: SmallVec<[Operand; 3]>, avals: Avals, first: Slot },
}

pub(crate) struct Instr {
    pub(crate) work: Work,
    /// Slots that nothing needs after this instruction.
    pub(crate) free: Vec<Slot>,
}

/// Instructions that compute the kept steps of any graph with the same key.
pub(crate) struct Plan {
    pub(crate) instrs: Vec<Instr>,
    pub(crate) slots: usize,
    /// Kept steps, with their outputs.
    pub(crate) results: Vec<(u32, SmallVec<[Operand; 1]>)>,
}

/// Something with memory of its own, or a register of a chain that may get some.
struct Root {
    source: Source,
    aval: Aval,
    /// Whether it is needed outside of its chain.
    in_memory: bool,
}

#[derive(Clone, Copy)]
enum Source {
    Leaf(u32),
    Chain { instr: u32, op: u32 },
    Call { instr: u32 },
}

/// A value of the graph: a root, seen through a layout.
#[derive(Clone)]
struct Val {
    root: u32,
    layout: Option<Box<Layout>>,
}

struct ChainOp {
    tile: TileFn,
    name: &'static str,
    /// Operands: values, of which some are registers of the same chain.
    from: SmallVec<[Val; 3]>,
    root: u32,
}

enum Proto {
    Chain { shape: Shape, ops: Vec<ChainOp>, externals: Vec<Val> },
    Call { op: Op, inputs: SmallVec<[Val; 3]>, avals: Avals, first_root: u32 },
}

struct Planner<'a> {
    linear: &'a Linear,
    roots: Vec<Root>,
    instrs: Vec<Proto>,
    /// The newest chain of each shape.
    newest: FxHashMap<Shape, u32>,
}

impl Plan {
    pub(crate) fn new(linear: &Linear) -> Self {
        let mut planner =
            Planner { linear, roots: Vec::new(), instrs: Vec::new(), newest: FxHashMap::default() };
        let leaves: Vec<Val> = linear
            .leaves
            .iter()
            .enumerate()
            .map(|(i, leaf)| {
                let aval = Aval::new(leaf.dtype(), leaf.shape());
                let root = planner.root(Source::Leaf(i as u32), aval);
                let row_major = leaf.view().is_row_major();
                let layout = (!row_major).then(|| {
                    Box::new(Layout {
                        shape: Shape::from_slice(leaf.shape()),
                        strides: Strides::from_slice(leaf.strides()),
                        shift: 0,
                    })
                });
                Val { root, layout }
            })
            .collect();
        let mut first: Vec<u32> = Vec::with_capacity(linear.steps.len());
        let mut values: Vec<Val> = Vec::with_capacity(linear.steps.len());
        // Steps with equal operations on equal values are one step.
        let mut known: FxHashMap<Vec<u64>, u32> = FxHashMap::default();
        for (i, step) in linear.steps.iter().enumerate() {
            let inputs: SmallVec<[Val; 3]> = linear
                .inputs(i)
                .iter()
                .map(|r| match *r {
                    Ref::Leaf(l) => leaves[l as usize].clone(),
                    Ref::Step(s, o) => values[(first[s as usize] + o) as usize].clone(),
                })
                .collect();
            first.push(values.len() as u32);
            let mut key = Vec::new();
            write_op(&step.recipe.op, &step.recipe.inputs, &mut key);
            for v in &inputs {
                v.write(&mut key);
            }
            if let Some(&same) = known.get(&key) {
                let same = same as usize;
                for k in 0..step.node.avals.len() {
                    values.push(values[same + k].clone());
                }
            } else {
                known.insert(key, values.len() as u32);
                planner.step(i, inputs, &mut values);
            }
            if step.kept {
                for v in &values[first[i] as usize..] {
                    planner.roots[v.root as usize].in_memory = true;
                }
            }
        }
        planner.finish(&first, &values)
    }
}

impl Val {
    fn write(&self, key: &mut Vec<u64>) {
        key.push(u64::from(self.root) << 1 | u64::from(self.layout.is_some()));
        if let Some(l) = &self.layout {
            key.push(l.shift as u64);
            key.push(l.shape.len() as u64);
            key.extend(l.shape.iter().map(|&n| n as u64));
            key.extend(l.strides.iter().map(|&s| s as u64));
        }
    }
}

impl Planner<'_> {
    fn root(&mut self, source: Source, aval: Aval) -> u32 {
        let in_memory = !matches!(source, Source::Chain { .. });
        self.roots.push(Root { source, aval, in_memory });
        self.roots.len() as u32 - 1
    }

    /// The instruction that makes a root; `None` for a leaf.
    fn maker(&self, root: u32) -> Option<u32> {
        match self.roots[root as usize].source {
            Source::Leaf(_) => None,
            Source::Chain { instr, .. } | Source::Call { instr } => Some(instr),
        }
    }

    fn layout_of(&self, v: &Val) -> Layout {
        match &v.layout {
            Some(l) => (**l).clone(),
            None => {
                let shape = self.roots[v.root as usize].aval.shape.clone();
                let strides = row_major_strides(&shape);
                Layout { shape, strides, shift: 0 }
            }
        }
    }

    fn step(&mut self, i: usize, inputs: SmallVec<[Val; 3]>, values: &mut Vec<Val>) {
        let step = &self.linear.steps[i];
        let op = &step.recipe.op;
        match op.fuse(&step.recipe.inputs) {
            Fuse::Forward { first } => {
                values.extend(inputs[first..].iter().take(step.node.avals.len()).cloned());
            }
            Fuse::View(view) => {
                let from = self.layout_of(&inputs[0]);
                let out = &step.node.avals[0].shape;
                match view.view(&from.shape, &from.strides, out) {
                    Some((shift, strides)) => {
                        let root = inputs[0].root;
                        self.roots[root as usize].in_memory = true;
                        let layout = Layout { shape: out.clone(), strides, shift: from.shift + shift };
                        values.push(Val { root, layout: Some(Box::new(layout)) });
                    }
                    None => self.call(i, inputs, values),
                }
            }
            Fuse::Map(tile) => self.map(i, tile, inputs, values),
            Fuse::Call => self.call(i, inputs, values),
        }
    }

    fn call(&mut self, i: usize, inputs: SmallVec<[Val; 3]>, values: &mut Vec<Val>) {
        let step = &self.linear.steps[i];
        for v in &inputs {
            self.roots[v.root as usize].in_memory = true;
        }
        let instr = self.instrs.len() as u32;
        let first_root = self.roots.len() as u32;
        for aval in &step.node.avals {
            let root = self.root(Source::Call { instr }, aval.clone());
            values.push(Val { root, layout: None });
        }
        self.instrs.push(Proto::Call {
            op: step.recipe.op.clone(),
            inputs,
            avals: step.node.avals.clone(),
            first_root,
        });
    }

    /// Whether `v` is the whole result of an operation of chain `chain`.
    fn in_chain(&self, v: &Val, chain: u32) -> bool {
        v.layout.is_none()
            && matches!(self.roots[v.root as usize].source, Source::Chain { instr, .. } if instr == chain)
    }

    /// Whether an operation on these values can join a chain: what comes from outside is made before it.
    fn fits(&self, chain: u32, shape: &Shape, inputs: &[Val]) -> bool {
        let Proto::Chain { shape: have, ops, externals } = &self.instrs[chain as usize] else { return false };
        let most = if shape.iter().product::<usize>() == 1 { MAX_SCALARS } else { MAX_INPUTS };
        have == shape
            && ops.len() < MAX_CHAIN
            && externals.len() + inputs.len() <= most
            && inputs.iter().all(|v| self.in_chain(v, chain) || self.maker(v.root).is_none_or(|m| m < chain))
    }

    fn map(&mut self, i: usize, tile: TileFn, inputs: SmallVec<[Val; 3]>, values: &mut Vec<Val>) {
        let step = &self.linear.steps[i];
        let aval = &step.node.avals[0];
        // The chain of an input, the latest first; else the newest chain over this shape.
        let mut candidates: SmallVec<[u32; 4]> = inputs.iter().filter_map(|v| self.maker(v.root)).collect();
        candidates.sort_unstable_by(|a, b| b.cmp(a));
        candidates.extend(self.newest.get(&aval.shape).copied());
        let chain = candidates.into_iter().find(|&c| self.fits(c, &aval.shape, &inputs));
        let chain = chain.unwrap_or_else(|| {
            self.instrs.push(Proto::Chain {
                shape: aval.shape.clone(),
                ops: Vec::new(),
                externals: Vec::new(),
            });
            let chain = self.instrs.len() as u32 - 1;
            self.newest.insert(aval.shape.clone(), chain);
            chain
        });
        let outside: SmallVec<[Val; 3]> =
            inputs.iter().filter(|v| !self.in_chain(v, chain)).cloned().collect();
        let root = self.roots.len() as u32;
        let name = step.recipe.op.name();
        let Proto::Chain { ops, externals, .. } = &mut self.instrs[chain as usize] else {
            unreachable!("chosen among chains")
        };
        let op = ops.len() as u32;
        ops.push(ChainOp { tile, name, from: inputs, root });
        for v in outside {
            self.roots[v.root as usize].in_memory = true;
            if !externals.iter().any(|e| e.root == v.root && e.layout == v.layout) {
                externals.push(v);
            }
        }
        let made = self.root(Source::Chain { instr: chain, op }, aval.clone());
        debug_assert_eq!(made, root);
        values.push(Val { root, layout: None });
    }

    fn finish(self, first: &[u32], values: &[Val]) -> Plan {
        // Slots: leaves keep their numbers, everything else in memory gets the next.
        let mut slots = self.linear.leaves.len() as u32;
        let mut slot_of: Vec<Slot> = Vec::with_capacity(self.roots.len());
        for root in &self.roots {
            slot_of.push(match root.source {
                Source::Leaf(i) => i,
                _ if root.in_memory => {
                    slots += 1;
                    slots - 1
                }
                _ => Slot::MAX,
            });
        }
        let operand = |v: &Val| Operand { slot: slot_of[v.root as usize], layout: v.layout.clone() };
        let mut last: Vec<Option<u32>> = vec![None; slots as usize];
        let mut instrs = Vec::with_capacity(self.instrs.len());
        for (k, proto) in self.instrs.iter().enumerate() {
            let mut touch = |slot: Slot| last[slot as usize] = Some(k as u32);
            let work = match proto {
                Proto::Call { op, inputs, avals, first_root } => {
                    let inputs: SmallVec<[Operand; 3]> = inputs.iter().map(&operand).collect();
                    inputs.iter().for_each(|o| touch(o.slot));
                    let first = slot_of[*first_root as usize];
                    (first..first + avals.len() as u32).for_each(&mut touch);
                    Work::Call { op: op.clone(), inputs, avals: avals.clone(), first }
                }
                Proto::Chain { shape, ops, externals } => {
                    let inputs: Vec<Operand> = externals.iter().map(&operand).collect();
                    inputs.iter().for_each(|o| touch(o.slot));
                    let (program, outs) = self.program(k as u32, ops, externals, &slot_of);
                    outs.iter().for_each(|o| touch(o.0));
                    let names = ops.iter().map(|o| o.name).collect();
                    Work::Chain { program, shape: shape.clone(), inputs, outs, names }
                }
            };
            instrs.push(Instr { work, free: Vec::new() });
        }
        let mut results = Vec::new();
        for (i, step) in self.linear.steps.iter().enumerate() {
            if step.kept {
                let from = first[i] as usize;
                let outs = values[from..from + step.node.avals.len()].iter().map(&operand);
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
        Plan { instrs, slots: slots as usize, results }
    }

    /// The tile program of a chain, with the slots its outputs go to.
    fn program(
        &self,
        chain: u32,
        ops: &[ChainOp],
        externals: &[Val],
        slot_of: &[Slot],
    ) -> (Program, Vec<(Slot, Dtype)>) {
        let mut builder = Builder::default();
        let inputs: Vec<Reg> =
            externals.iter().map(|v| builder.input(self.roots[v.root as usize].aval.dtype)).collect();
        let mut regs: Vec<Reg> = Vec::with_capacity(ops.len());
        // The float32 form of half-precision registers.
        let mut wide: FxHashMap<Reg, Reg> = FxHashMap::default();
        let mut outs = Vec::new();
        let mut outputs = Vec::new();
        for op in ops {
            let mut from: SmallVec<[Reg; 3]> = SmallVec::new();
            for v in &op.from {
                let root = &self.roots[v.root as usize];
                let reg = match root.source {
                    Source::Chain { instr, op } if instr == chain && v.layout.is_none() => regs[op as usize],
                    _ => {
                        let place = externals.iter().position(|e| e.root == v.root && e.layout == v.layout);
                        inputs[place.expect("every outside operand was listed")]
                    }
                };
                from.push(match widen_tile(root.aval.dtype) {
                    Some(tile) => {
                        *wide.entry(reg).or_insert_with(|| builder.apply(TileFn::One(tile), &[reg]))
                    }
                    None => reg,
                });
            }
            let mut reg = builder.apply(op.tile, &from);
            let root = &self.roots[op.root as usize];
            if is_half(root.aval.dtype) {
                let tile = narrow_tile(root.aval.dtype).expect("half precision narrows");
                reg = builder.apply(TileFn::One(tile), &[reg]);
            }
            regs.push(reg);
            if root.in_memory {
                outputs.push(reg);
                outs.push((slot_of[op.root as usize], root.aval.dtype));
            }
        }
        for reg in outputs {
            builder.output(reg);
        }
        (builder.finish(), outs)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for instr in &self.instrs {
            match &instr.work {
                Work::Chain { shape, names, inputs, outs, .. } => {
                    let shown = names.len().min(24);
                    let more = match names.len() - shown {
                        0 => String::new(),
                        n => format!(" and {n} more"),
                    };
                    let (shape, names) = (ShapeText(shape), names[..shown].join(", "));
                    writeln!(f, "chain {shape}: {names}{more} [{} in, {} out]", inputs.len(), outs.len())?;
                }
                Work::Call { op, avals, .. } => {
                    let shapes: Vec<String> = avals.iter().map(|a| ShapeText(&a.shape).to_string()).collect();
                    writeln!(f, "call {}: {}", shapes.join(", "), crate::primitive::describe(&**op))?;
                }
            }
        }
        Ok(())
    }
}
