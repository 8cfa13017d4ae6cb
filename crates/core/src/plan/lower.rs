//! From the list of a pending graph to the planner's graph: equal steps are merged, and views become layouts of operands.

use crate::array::{Aval, Recipe};
use crate::error::Result;
use crate::plan::key::{Identities, Listing, Ref, write_op};
use crate::primitive::{Avals, Lower, Op, Primitive, Values, describe};
use crate::shape::{Shape, Strides, reduced_shape};
use covector_runtime::ir::{Callable, Graph, Kind, Layout, LiveOut, NodeId, Operand};
use rustc_hash::{FxHashMap, FxHasher};
use smallvec::SmallVec;
use std::collections::hash_map::Entry;
use std::hash::Hasher;
use std::sync::Arc;

impl Callable for Op {
    fn name(&self) -> &'static str {
        (**self).name()
    }
    fn describe(&self) -> String {
        describe(&**self)
    }
    fn call(&self, inputs: Values, outs: &[Aval]) -> Result<Values> {
        self.eval(inputs, outs)
    }
    fn flops(&self, inputs: &[&[usize]], outs: &[Aval]) -> u64 {
        Primitive::flops(&**self, inputs, outs)
    }
}

/// Keys that were seen, with the number that each was first seen with. They follow each other in one vector.
#[derive(Default)]
struct Known {
    words: Vec<u64>,
    /// By hash: the range of the key, and its number.
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

/// Writes what tells an operand from others.
fn write_operand(x: &Operand, key: &mut Vec<u64>) {
    key.push(u64::from(x.value) << 1 | u64::from(x.layout.is_some()));
    if let Some(l) = &x.layout {
        key.push(l.shift as u64);
        key.push(l.shape.len() as u64);
        key.extend(l.shape.iter().map(|&n| n as u64));
        key.extend(l.strides.iter().map(|&s| s as u64));
    }
}

/// The planner's graph of a list, with the identities that its operations hold. Recipes are read in place. `None` if another
/// thread has evaluated one of the nodes since it was listed, which drops the recipe.
pub(crate) fn lower(listing: &Listing) -> Option<(Graph, Identities)> {
    let mut graph = Graph::default();
    let mut leaves: Vec<Operand> = Vec::with_capacity(listing.leaves.len());
    for (i, leaf) in (0..).zip(&listing.leaves) {
        let value = graph.add(Kind::Leaf(i), SmallVec::new(), Aval::new(leaf.dtype(), leaf.shape()));
        let strides = Strides::from_slice(leaf.strides());
        let layout = Layout { shape: Shape::from_slice(leaf.shape()), strides, shift: 0 };
        graph.leaves.push(layout.reach());
        let layout = (!leaf.view().is_row_major()).then(|| Box::new(layout));
        leaves.push(Operand { value, layout });
    }
    graph.nodes.reserve(listing.nodes.len());
    let mut identities = Identities::default();
    let mut first: Vec<u32> = Vec::with_capacity(listing.nodes.len());
    let mut values: Vec<Operand> = Vec::with_capacity(listing.nodes.len());
    let mut known = Known::default();
    known.words.reserve(listing.key.len());
    known.first.reserve(listing.nodes.len());
    for (i, step) in listing.nodes.iter().enumerate() {
        let operands: SmallVec<[Operand; 3]> = listing
            .inputs(i)
            .iter()
            .map(|r| match *r {
                Ref::Leaf(l) => leaves[l as usize].clone(),
                Ref::Step(s, o) => values[(first[s as usize] + o) as usize].clone(),
            })
            .collect();
        first.push(values.len() as u32);
        let avals = &step.node.avals;
        step.node.peek_recipe(|recipe| {
            identities.add(recipe);
            let found = known.find(values.len() as u32, |key| {
                write_op(&recipe.op, &recipe.inputs, key);
                operands.iter().for_each(|x| write_operand(x, key));
            });
            match found {
                Some(same) => {
                    (0..avals.len()).for_each(|k| values.push(values[same as usize + k].clone()));
                }
                None => lower_step(&mut graph, recipe, avals, operands, &mut values),
            }
            Some(())
        })?;
        if step.kept {
            let outs = values[first[i] as usize..].iter().cloned().collect();
            graph.live_outs.push(LiveOut { step: i as u32, values: outs });
        }
    }
    Some((graph, identities))
}

/// Appends the nodes of a step, and its outputs to `values`.
fn lower_step(
    graph: &mut Graph,
    recipe: &Recipe,
    avals: &Avals,
    operands: SmallVec<[Operand; 3]>,
    values: &mut Vec<Operand>,
) {
    let Recipe { op, inputs } = recipe;
    let call = |graph: &mut Graph, operands, values: &mut Vec<Operand>| {
        let first = graph.add_call(Arc::new(op.clone()), operands, avals);
        values.extend((first..first + avals.len() as NodeId).map(Operand::whole));
    };
    match op.lower(inputs) {
        Lower::Identity { first } => values.extend(operands[first..].iter().take(avals.len()).cloned()),
        Lower::View(view) => {
            let from = graph.layout(&operands[0]);
            let out = &avals[0].shape;
            match view.view(&from.shape, &from.strides, out) {
                Some((shift, strides)) => {
                    let layout = Layout { shape: out.clone(), strides, shift: from.shift + shift };
                    values.push(Operand { value: operands[0].value, layout: Some(Box::new(layout)) });
                }
                None => call(graph, operands, values),
            }
        }
        Lower::Map { tile, code } => {
            let kind = Kind::Map { tile, code, name: op.name() };
            values.push(Operand::whole(graph.add(kind, operands, avals[0].clone())));
        }
        Lower::Reduce { kind, axes } => {
            // The axes stay, whatever the operation does.
            let shape = reduced_shape(inputs[0].shape(), axes, true);
            let aval = Aval { dtype: avals[0].dtype, shape };
            let changed = aval.shape != avals[0].shape;
            let value = graph.add(Kind::Reduce { kind, axes: SmallVec::from_slice(axes) }, operands, aval);
            let layout = changed.then(|| Box::new(Layout::row_major(&avals[0].shape)));
            values.push(Operand { value, layout });
        }
        Lower::Dot => values.push(Operand::whole(graph.add(Kind::Dot, operands, avals[0].clone()))),
        Lower::Concatenate { axis } => {
            let mut start = 0;
            let mut place = |x: &Operand| {
                let mut starts: SmallVec<[usize; 4]> = SmallVec::from_elem(0, avals[0].shape.len());
                starts[axis] = start;
                start += graph.shape(x)[axis];
                starts
            };
            let starts = operands.iter().map(&mut place).collect();
            values.push(Operand::whole(graph.add(Kind::Place { starts }, operands, avals[0].clone())));
        }
        Lower::Call => call(graph, operands, values),
    }
}

/// The avals that the wanted steps must have.
pub(crate) fn wanted(listing: &Listing) -> Vec<(u32, Avals)> {
    let kept = (0..).zip(&listing.nodes).filter(|(_, step)| step.kept);
    kept.map(|(i, step)| (i, step.node.avals.clone())).collect()
}
