//! The pending graph as a list, and its structural key.

use crate::array::{Array, Node, Recipe};
use crate::buffer::Data;
use crate::error::Result;
use crate::eval::no_value;
use crate::graph;
use crate::primitive::{Fuse, Op, Param, Params};
use rustc_hash::{FxHashMap, FxHasher};
use std::hash::Hasher;
use std::sync::Arc;

/// Where an input comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ref {
    /// Values that exist already.
    Leaf(u32),
    /// An output of an earlier step.
    Step(u32, u32),
}

pub(crate) struct LinearStep {
    pub(crate) node: Arc<Node>,
    pub(crate) recipe: Recipe,
    /// Its inputs in `Linear::refs`.
    pub(crate) refs: std::ops::Range<u32>,
    /// Whether something outside of the graph holds the node, so that its values must be stored.
    pub(crate) kept: bool,
}

/// A pending graph, inputs first.
pub(crate) struct Linear {
    pub(crate) steps: Vec<LinearStep>,
    pub(crate) leaves: Vec<Data>,
    /// Which array each leaf is: its node and its number among the node's outputs.
    pub(crate) leaf_ids: Vec<(graph::NodeId, u32)>,
    pub(crate) refs: Vec<Ref>,
    /// Equal for graphs that one plan serves: primitives, parameters, connections, layouts of the leaves, and
    /// what is kept; not values.
    pub(crate) key: Vec<u64>,
}

impl Linear {
    /// Lists what the arrays that have no values yet are made from.
    pub(crate) fn new(arrays: &[Array]) -> Result<Self> {
        let mut graph = graph::walk(arrays, |n| n.data().is_none(), |_| true);
        let mut out = Self {
            steps: Vec::with_capacity(graph.steps.len()),
            leaves: Vec::new(),
            leaf_ids: Vec::new(),
            refs: Vec::with_capacity(graph.steps.len() * 2),
            key: Vec::with_capacity(graph.steps.len() * 6),
        };
        let mut leaf_of: FxHashMap<(graph::NodeId, u32), u32> = FxHashMap::default();
        // In-graph references to each node beside the list's own: a recipe's, and the list's copy of the recipe.
        let mut held = vec![1u32; graph.steps.len()];
        let mut moved = vec![u32::MAX; graph.steps.len()];
        for (place, step) in std::mem::take(&mut graph.steps).into_iter().enumerate() {
            let Some(recipe) = step.recipe else {
                // Filled by another thread since the walk looked, or a placeholder.
                if step.node.data().is_none() {
                    return Err(no_value());
                }
                continue;
            };
            let from = out.refs.len() as u32;
            for x in &recipe.inputs {
                let inside = graph.place(x).filter(|&p| moved[p] != u32::MAX);
                out.refs.push(match inside {
                    Some(p) => {
                        held[p] += 2;
                        Ref::Step(moved[p], x.index)
                    }
                    None => {
                        let next = out.leaves.len() as u32;
                        let leaf = *leaf_of.entry((graph::id(x), x.index)).or_insert(next);
                        if leaf == next {
                            out.leaves.push(x.data_if_ready().cloned().ok_or_else(no_value)?);
                            out.leaf_ids.push((graph::id(x), x.index));
                        }
                        Ref::Leaf(leaf)
                    }
                });
            }
            moved[place] = out.steps.len() as u32;
            let refs = from..out.refs.len() as u32;
            out.steps.push(LinearStep { node: step.node, recipe, refs, kept: false });
        }
        for array in arrays {
            if let Some(p) = graph.place(array)
                && moved[p] != u32::MAX
            {
                out.steps[moved[p] as usize].kept = true;
            }
        }
        for (place, &step) in moved.iter().enumerate() {
            if step != u32::MAX {
                let step = &mut out.steps[step as usize];
                step.kept |= Arc::strong_count(&step.node) as u32 > held[place] || step.node.is_live();
            }
        }
        out.make_key();
        Ok(out)
    }

    pub(crate) fn inputs(&self, step: usize) -> &[Ref] {
        let refs = &self.steps[step].refs;
        &self.refs[refs.start as usize..refs.end as usize]
    }

    fn make_key(&mut self) {
        let mut key = std::mem::take(&mut self.key);
        for leaf in &self.leaves {
            key.push(leaf.dtype() as u64 | (leaf.shape().len() as u64) << 8 | 1 << 63);
            key.extend(leaf.shape().iter().map(|&n| n as u64));
            if !leaf.view().is_row_major() {
                key.push(u64::MAX);
                key.extend(leaf.strides().iter().map(|&s| s as u64));
            }
        }
        for (i, step) in self.steps.iter().enumerate() {
            write_op(&step.recipe.op, &step.recipe.inputs, &mut key);
            for input in self.inputs(i) {
                key.push(match *input {
                    Ref::Leaf(l) => u64::from(l) << 1 | 1 << 62,
                    Ref::Step(s, o) => u64::from(s) << 16 | u64::from(o),
                });
            }
            key.push(u64::from(step.kept) | (step.node.avals.len() as u64) << 1 | 1 << 61);
        }
        self.key = key;
    }

    pub(crate) fn hash(&self) -> u64 {
        let mut hasher = FxHasher::default();
        for &word in &self.key {
            hasher.write_u64(word);
        }
        hasher.finish()
    }
}

/// The identities that the operations of a graph hold: users' functions, compiled graphs.
pub(crate) fn identities(linear: &Linear) -> Vec<usize> {
    let mut found = Vec::new();
    let mut sink = |_: &'static str, value: Param<'_>| {
        if let Param::Identity(id) = value {
            found.push(id);
        }
    };
    for step in &linear.steps {
        if let Op::Shared(op) = &step.recipe.op {
            op.params(&mut Params::new(&mut sink));
        }
    }
    found
}

/// Writes what tells a primitive from others.
pub(crate) fn write_op(op: &Op, inputs: &[Array], key: &mut Vec<u64>) {
    if let Op::Static(primitive) = op {
        key.push(std::ptr::from_ref(*primitive).cast::<()>() as u64);
        // Zero-sized statics may share an address; their names do not.
        key.push(primitive.name().as_ptr() as u64);
        return;
    }
    if let Fuse::Forward { first } = op.fuse(inputs) {
        // It computes nothing, whatever its parameters say to the transforms.
        key.push(first as u64 | 1 << 60);
        return;
    }
    key.push(op.name().as_ptr() as u64);
    let mut sink = |_: &'static str, value: Param<'_>| match value {
        Param::Int(v) => key.push(v as u64),
        Param::Float(v) => key.push(v.to_bits()),
        Param::Identity(v) => key.push(v as u64),
        Param::Ints(v) => {
            key.push(v.len() as u64);
            key.extend(v.iter().map(|&v| v as u64));
        }
        Param::Signed(v) => {
            key.push(v.len() as u64);
            key.extend(v.iter().map(|&v| v as u64));
        }
        Param::Text(v) => {
            key.push(v.len() as u64);
            key.extend(v.bytes().map(u64::from));
        }
    };
    op.params(&mut Params::new(&mut sink));
}
