//! Planning, first part: from a list of steps to chains and calls. Equal steps are merged, views become layouts, and
//! elementwise operations over one shape are gathered into chains.

use crate::array::{Array, Aval};
use crate::plan::band::lie;
use crate::plan::distinct::Distinct;
use crate::plan::emit::{Plan, emit};
use crate::plan::linear::{Linear, Ref, write_op};
use crate::prim::shape::Dims;
use crate::primitive::{Avals, Code, Lower, Op, TileFn};
use crate::shape::{Shape, Strides, reduced_shape, row_major_strides};
use covector_kernels::{Dtype, Reduce};
use rustc_hash::{FxHashMap, FxHasher};
use smallvec::SmallVec;
use std::collections::hash_map::Entry;
use std::hash::Hasher;

/// A chain of several elements may have this many inputs; each needs a tile of its own.
pub(crate) const MAX_INPUTS: usize = 32;
/// The same for a chain of single elements, which are read where they are.
const MAX_SCALARS: usize = 1 << 20;
/// A chain may have this many operations.
pub(crate) const MAX_CHAIN: usize = 1 << 22;

#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Layout {
    pub(crate) shape: Shape,
    pub(crate) strides: Strides,
    pub(crate) shift: isize,
}

/// The most columns of a narrow matrix, the most columns of a tall one, and the fewest elements of the latter; see
/// [`product`].
const MAX_NARROW: usize = 16;
const MAX_WIDTH: usize = 256;
const MIN_TALL: usize = 1 << 16;

/// Something with memory of its own, or a register of a chain that may get some.
pub(crate) struct Root {
    pub(crate) source: Source,
    pub(crate) aval: Aval,
    /// Whether it is needed outside of its chain.
    pub(crate) stored: bool,
    /// Whether a kept step has it.
    pub(crate) kept: bool,
}

#[derive(Clone, Copy)]
pub(crate) enum Source {
    Leaf(u32),
    Chain { instr: u32, op: u32 },
    Call { instr: u32 },
}

/// A value of the graph: a root, seen through a layout.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Val {
    pub(crate) root: u32,
    pub(crate) layout: Option<Box<Layout>>,
}

pub(crate) struct ChainOp {
    pub(crate) tile: TileFn,
    pub(crate) code: Option<Code>,
    pub(crate) name: &'static str,
    /// Operands: values, of which some are registers of the same chain.
    pub(crate) from: SmallVec<[Val; 3]>,
    pub(crate) root: u32,
}

impl ChainOp {
    /// Whether it takes no longer than to read a value from the cache.
    pub(crate) fn is_cheap(&self) -> bool {
        use Code::*;
        matches!(
            self.code,
            Some(
                Add | Subtract
                    | Multiply
                    | Negative
                    | Square
                    | Maximum
                    | Minimum
                    | Absolute
                    | Select
                    | SigmoidOfTail
                    | SlopeOfTail
            )
        )
    }
}

/// A call that can run with others.
pub(crate) enum Pass {
    /// Over axes of an input of this shape.
    Reduce { kind: Reduce, axes: Dims, shape: Shape },
    /// Rows of a matrix times one narrow matrix; `shape` is that of the rows.
    Product { shape: Shape },
    /// The transpose of rows times as many narrow rows: a sum over the rows. `shape` is that of the rows before they
    /// are transposed.
    ProductOver { shape: Shape },
}

/// An instruction in the making.
pub(crate) enum Proto {
    Chain { shape: Shape, ops: Vec<ChainOp>, externals: Distinct },
    Call { op: Op, inputs: SmallVec<[Val; 3]>, avals: Avals, first_root: u32, pass: Option<Pass> },
}

/// The instructions that read each root, in their order.
pub(crate) fn readers(protos: &[Proto], roots: &[Root]) -> Vec<Vec<u32>> {
    let mut readers: Vec<Vec<u32>> = vec![Vec::new(); roots.len()];
    for (p, proto) in protos.iter().enumerate() {
        for v in proto.inputs() {
            let readers = &mut readers[v.root as usize];
            if readers.last() != Some(&(p as u32)) {
                readers.push(p as u32);
            }
        }
    }
    readers
}

/// Keys that were seen, with the number each was first seen with. They lie one behind the other in one vector.
#[derive(Default)]
struct Known {
    words: Vec<u64>,
    /// By hash: where the key lies, and its number.
    first: FxHashMap<u64, (std::ops::Range<usize>, u32)>,
}

impl Known {
    /// The number of an equal key; otherwise the key is new and has this number.
    fn find(&mut self, number: u32, write: impl FnOnce(&mut Vec<u64>)) -> Option<u32> {
        let start = self.words.len();
        write(&mut self.words);
        let mut hasher = FxHasher::default();
        self.words[start..].iter().for_each(|&w| hasher.write_u64(w));
        match self.first.entry(hasher.finish()) {
            Entry::Vacant(entry) => {
                entry.insert((start..self.words.len(), number));
                None
            }
            Entry::Occupied(entry) => {
                let (range, same) = entry.get().clone();
                let equal = self.words[range] == self.words[start..];
                self.words.truncate(start);
                // Of two keys with one hash the second is not remembered: equal steps of it are not merged.
                equal.then_some(same)
            }
        }
    }
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
        let mut known = Known::default();
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
            let found = known.find(values.len() as u32, |key| {
                write_op(&step.recipe.op, &step.recipe.inputs, key);
                for v in &inputs {
                    v.write(key);
                }
            });
            if let Some(same) = found {
                let same = same as usize;
                for k in 0..step.node.avals.len() {
                    values.push(values[same + k].clone());
                }
            } else {
                planner.step(i, inputs, &mut values);
            }
            if step.kept {
                for v in &values[first[i] as usize..] {
                    let root = &mut planner.roots[v.root as usize];
                    (root.stored, root.kept) = (true, true);
                }
            }
        }
        emit(linear, planner.instrs, planner.roots, &first, values)
    }
}

impl Val {
    /// Writes what tells it from others.
    pub(crate) fn write(&self, key: &mut Vec<u64>) {
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
        let stored = !matches!(source, Source::Chain { .. });
        self.roots.push(Root { source, aval, stored, kept: false });
        self.roots.len() as u32 - 1
    }

    fn step(&mut self, i: usize, inputs: SmallVec<[Val; 3]>, values: &mut Vec<Val>) {
        let step = &self.linear.steps[i];
        let op = &step.recipe.op;
        match op.lower(&step.recipe.inputs) {
            Lower::Identity { first } => {
                values.extend(inputs[first..].iter().take(step.node.avals.len()).cloned());
            }
            Lower::View(view) => {
                let from = lie(&inputs[0], &self.roots);
                let out = &step.node.avals[0].shape;
                match view.view(&from.shape, &from.strides, out) {
                    Some((shift, strides)) => {
                        let root = inputs[0].root;
                        self.roots[root as usize].stored = true;
                        let layout = Layout { shape: out.clone(), strides, shift: from.shift + shift };
                        values.push(Val { root, layout: Some(Box::new(layout)) });
                    }
                    None => self.call(i, inputs, None, values),
                }
            }
            Lower::Map { tile, code } => self.map(i, (tile, code), inputs, values),
            Lower::Reduce { kind, axes } => {
                let shape = Shape::from_slice(step.recipe.inputs[0].shape());
                self.call(
                    i,
                    inputs,
                    Some(Pass::Reduce { kind, axes: Dims::from_slice(axes), shape }),
                    values,
                );
                let out = &step.node.avals[0].shape;
                if let Some(made) = values.last_mut()
                    && self.roots[made.root as usize].aval.shape != *out
                {
                    let (shape, strides) = (out.clone(), row_major_strides(out));
                    made.layout = Some(Box::new(Layout { shape, strides, shift: 0 }));
                }
            }
            Lower::Dot => {
                let pass = product(&step.recipe.inputs[0], &step.recipe.inputs[1]);
                self.call(i, inputs, pass, values);
            }
            Lower::Concatenate { .. } | Lower::Call => self.call(i, inputs, None, values),
        }
    }

    fn call(&mut self, i: usize, inputs: SmallVec<[Val; 3]>, pass: Option<Pass>, values: &mut Vec<Val>) {
        let step = &self.linear.steps[i];
        for v in &inputs {
            self.roots[v.root as usize].stored = true;
        }
        let instr = self.instrs.len() as u32;
        let first_root = self.roots.len() as u32;
        let mut avals = step.node.avals.clone();
        if let Some(Pass::Reduce { axes, shape, .. }) = &pass {
            // The kernels keep the axes, whatever the operation does.
            avals[0].shape = reduced_shape(shape, axes, true);
        }
        for aval in &avals {
            let root = self.root(Source::Call { instr }, aval.clone());
            values.push(Val { root, layout: None });
        }
        self.instrs.push(Proto::Call { op: step.recipe.op.clone(), inputs, avals, first_root, pass });
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
            && inputs.iter().all(|v| {
                self.in_chain(v, chain) || self.roots[v.root as usize].maker().is_none_or(|m| m < chain)
            })
    }

    /// Whether an operation should join a chain that it has nothing in common with but the shape. A single number made
    /// from numbers at hand (the cotangent of a mean) must not wait for the results of others: whole bands would wait
    /// with it.
    fn may_meet(&self, chain: u32, shape: &Shape, inputs: &[Val]) -> bool {
        let at_hand = |vals: &[Val]| vals.iter().all(|v| self.roots[v.root as usize].maker().is_none());
        shape.iter().product::<usize>() != 1
            || !at_hand(inputs)
            || at_hand(self.instrs[chain as usize].inputs())
    }

    fn map(
        &mut self,
        i: usize,
        (tile, code): (TileFn, Option<Code>),
        inputs: SmallVec<[Val; 3]>,
        values: &mut Vec<Val>,
    ) {
        let step = &self.linear.steps[i];
        let aval = &step.node.avals[0];
        // The chain of an input, the latest first; else the newest chain over this shape.
        let mut candidates: SmallVec<[u32; 4]> =
            inputs.iter().filter_map(|v| self.roots[v.root as usize].maker()).collect();
        candidates.sort_unstable_by(|a, b| b.cmp(a));
        candidates.extend(
            self.newest.get(&aval.shape).copied().filter(|&c| self.may_meet(c, &aval.shape, &inputs)),
        );
        let chain = candidates.into_iter().find(|&c| self.fits(c, &aval.shape, &inputs));
        let chain = chain.unwrap_or_else(|| {
            self.instrs.push(Proto::Chain {
                shape: aval.shape.clone(),
                ops: Vec::new(),
                externals: Distinct::default(),
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
        ops.push(ChainOp { tile, code, name, from: inputs, root });
        for v in outside {
            self.roots[v.root as usize].stored = true;
            externals.add(&v);
        }
        let made = self.root(Source::Chain { instr: chain, op }, aval.clone());
        debug_assert_eq!(made, root);
        values.push(Val { root, layout: None });
    }
}

/// What kind of pass a product is, if memory is what it takes its time for: the large operand should then be read once
/// for everything that is done to it. Others are faster as a whole.
fn product(a: &Array, b: &Array) -> Option<Pass> {
    let (&[m, k], &[_, n]) = (a.shape(), b.shape()) else { return None };
    if n > MAX_NARROW
        || m.min(k) > MAX_WIDTH
        || a.size() < MIN_TALL
        || !matches!(a.dtype(), Dtype::F32 | Dtype::F64)
    {
        return None;
    }
    Some(if m >= k {
        Pass::Product { shape: Shape::from_slice(&[m, k]) }
    } else {
        Pass::ProductOver { shape: Shape::from_slice(&[k, m]) }
    })
}
