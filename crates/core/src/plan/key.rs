//! The pending graph as a list, and its structural key.

use crate::array::{Array, Node, Recipe};
use crate::buffer::Data;
use crate::error::{Result, no_value};
use crate::graph::{self, Places};
use crate::primitive::{Lower, Op, Param, Params};
use rustc_hash::{FxHashMap, FxHasher};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Where an input comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ref {
    /// Values that exist already.
    Leaf(u32),
    /// An output of an earlier step.
    Step(u32, u32),
}

/// A node of a [`Listing`].
pub(crate) struct Listed {
    pub(crate) node: Arc<Node>,
    /// Its inputs in `Listing::refs`.
    refs: std::ops::Range<u32>,
    /// The word of the key that says whether it is kept.
    word: u32,
    /// Whether something outside of the graph holds the node, so that its values must be stored.
    pub(crate) kept: bool,
}

/// A pending graph, inputs first, with its structural key: all that a known plan needs. Recipes stay in their nodes,
/// where they cost nothing.
pub(crate) struct Listing {
    pub(crate) nodes: Vec<Listed>,
    pub(crate) leaves: Vec<Data>,
    /// Which array each leaf is: its node and its number among the node's outputs.
    pub(crate) leaf_ids: Vec<(graph::NodeId, u32)>,
    refs: Vec<Ref>,
    /// Equal for graphs that one plan serves: primitives, parameters, connections, layouts of the leaves, and
    /// what is kept; not values.
    pub(crate) key: Vec<u64>,
}

/// Marker of a node: its inputs are being listed, or it was found already evaluated.
const OPEN: u32 = u32::MAX;

/// Values for nodes that have neither values nor a recipe: the abstract arguments of a traced function.
pub(crate) type Bound = FxHashMap<graph::NodeId, Data>;

impl Listing {
    /// Lists the pending nodes behind the arrays.
    pub(crate) fn new(arrays: &[Array]) -> Result<Self> {
        Self::over(arrays, None)
    }

    /// The same over abstract arguments with these values. Only `arrays` are outputs, even if other nodes are referenced
    /// elsewhere.
    pub(crate) fn over(arrays: &[Array], bound: Option<&Bound>) -> Result<Self> {
        // As in `graph::walk`, whose order this is.
        let least = arrays.iter().map(|a| a.node.pending.depth as usize).max().unwrap_or(0).min(1 << 16);
        let mut places = Places::new(2 * least + 8);
        let mut out = Self {
            nodes: Vec::with_capacity(2 * least + 8),
            leaves: Vec::new(),
            leaf_ids: Vec::new(),
            refs: Vec::with_capacity(4 * least + 16),
            key: Vec::with_capacity(12 * least + 48),
        };
        let mut leaf_of: FxHashMap<(graph::NodeId, u32), u32> = FxHashMap::default();
        // References to each node from here and from recipes in the graph.
        let mut held: Vec<u32> = Vec::with_capacity(2 * least + 8);
        // Nodes to look at, and whether their inputs are listed by now.
        let mut waiting: Vec<(Arc<Node>, bool)> = Vec::new();
        for array in arrays.iter().rev().filter(|a| !a.is_available()) {
            waiting.push((array.node.clone(), false));
        }
        while let Some((node, ready)) = waiting.pop() {
            if ready {
                out.list(node, bound, &mut places, &mut leaf_of, &mut held)?;
                continue;
            }
            if places.get(&node).is_some() {
                continue;
            }
            places.set(&node, OPEN);
            waiting.push((node.clone(), true));
            node.peek_recipe(|recipe| {
                for x in recipe.inputs.iter().rev() {
                    if !x.is_available() && places.get(&x.node).is_none() {
                        waiting.push((x.node.clone(), false));
                    }
                }
                None::<()>
            });
        }
        for array in arrays {
            if let Some(p) = places.get(&array.node)
                && let Some(listed) = out.nodes.get_mut(p as usize)
            {
                listed.kept = true;
            }
        }
        for (listed, held) in out.nodes.iter_mut().zip(held) {
            if bound.is_none() {
                listed.kept |= Arc::strong_count(&listed.node) as u32 > held || listed.node.is_live();
            }
            out.key[listed.word as usize] |= u64::from(listed.kept);
        }
        for leaf in &out.leaves {
            let key = &mut out.key;
            key.push(leaf.dtype() as u64 | (leaf.shape().len() as u64) << 8 | 1 << 63);
            key.extend(leaf.shape().iter().map(|&n| n as u64));
            if !leaf.view().is_row_major() {
                key.push(u64::MAX);
                key.extend(leaf.strides().iter().map(|&s| s as u64));
            }
        }
        Ok(out)
    }

    /// Appends a node whose inputs are listed.
    fn list(
        &mut self,
        node: Arc<Node>,
        bound: Option<&Bound>,
        places: &mut Places,
        leaf_of: &mut FxHashMap<(graph::NodeId, u32), u32>,
        held: &mut Vec<u32>,
    ) -> Result<()> {
        let Self { nodes, leaves, leaf_ids, refs, key } = self;
        let from = refs.len() as u32;
        let written = node.peek_recipe(|recipe| {
            write_op(&recipe.op, &recipe.inputs, key);
            for x in &recipe.inputs {
                let place = places.get(&x.node).filter(|&p| p != OPEN);
                if let Some(p) = place {
                    held[p as usize] += 1;
                    refs.push(Ref::Step(p, x.index));
                    key.push(u64::from(p) << 16 | u64::from(x.index));
                    continue;
                }
                let next = leaves.len() as u32;
                let leaf = match x.node.literal {
                    true => next,
                    false => *leaf_of.entry((graph::id(x), x.index)).or_insert(next),
                };
                if leaf == next {
                    let data = x.ready().or_else(|| bound?.get(&graph::id(x)));
                    let Some(data) = data else { return Some(Err(no_value())) };
                    leaves.push(data.clone());
                    leaf_ids.push((graph::id(x), x.index));
                }
                refs.push(Ref::Leaf(leaf));
                key.push(u64::from(leaf) << 1 | 1 << 62);
            }
            Some(Ok(()))
        });
        match written {
            Some(result) => result?,
            // Computed by another thread meanwhile. Otherwise it is a placeholder.
            None if node.data().is_some() => return Ok(()),
            None if bound.is_some_and(|b| b.contains_key(&(Arc::as_ptr(&node) as usize))) => return Ok(()),
            None => return Err(no_value()),
        }
        let word = key.len() as u32;
        key.push((node.avals.len() as u64) << 1 | 1 << 61);
        held.push(1);
        places.set(&node, nodes.len() as u32);
        nodes.push(Listed { node, refs: from..refs.len() as u32, word, kept: false });
        Ok(())
    }

    /// The inputs of a listed node.
    pub(crate) fn inputs(&self, step: usize) -> &[Ref] {
        let refs = &self.nodes[step].refs;
        &self.refs[refs.start as usize..refs.end as usize]
    }

    pub(crate) fn hash(&self) -> u64 {
        let mut hasher = FxHasher::default();
        for &word in &self.key {
            hasher.write_u64(word);
        }
        hasher.finish()
    }
}

/// The identities that the operations of a graph hold (users' functions, compiled graphs, primitives that are their own
/// key), and the operations themselves: while the key is remembered, no other may get such an address.
#[derive(Default)]
pub(crate) struct Identities {
    pub(crate) found: Vec<usize>,
    pub(crate) holders: Vec<Op>,
}

impl Identities {
    /// Adds those of a recipe.
    pub(crate) fn add(&mut self, recipe: &Recipe) {
        let Op::Shared(op) = &recipe.op else { return };
        let before = self.found.len();
        let mut sink = |_: &'static str, value: Param<'_>| {
            if let Param::Identity(id) = value {
                self.found.push(id);
            }
        };
        op.params(&mut Params::new(&mut sink));
        if self.found.len() > before && !matches!(op.lower(&recipe.inputs), Lower::Identity { .. }) {
            self.holders.push(recipe.op.clone());
        }
    }
}

/// Writes the identity of a primitive.
pub(crate) fn write_op(op: &Op, inputs: &[Array], key: &mut Vec<u64>) {
    if let Op::Static(primitive) = op {
        key.push(std::ptr::from_ref(*primitive).cast::<()>() as u64);
        // Zero-sized statics may share an address; their names do not.
        key.push(primitive.name().as_ptr() as u64);
        return;
    }
    if let Lower::Identity { first } = op.lower(inputs) {
        // It computes nothing; its parameters matter to transforms only.
        key.push(first as u64 | 1 << 60);
        return;
    }
    // The type and the name, as one word: a type may have a name for each of its kinds, and types may share a name.
    let mut hasher = FxHasher::default();
    (op.type_id(), op.name().as_ptr()).hash(&mut hasher);
    key.push(hasher.finish());
    // The kind and the length in front of each parameter, so that no two lists of parameters read the same.
    let mut sink = |_: &'static str, value: Param<'_>| match value {
        Param::Int(v) => key.extend([0, v as u64]),
        Param::Float(v) => key.extend([1, v.to_bits()]),
        Param::Identity(v) => key.extend([2, v as u64]),
        Param::Ints(v) => {
            key.push(3 | (v.len() as u64) << 3);
            key.extend(v.iter().map(|&v| v as u64));
        }
        Param::Signed(v) => {
            key.push(4 | (v.len() as u64) << 3);
            key.extend(v.iter().map(|&v| v as u64));
        }
        Param::Text(v) => {
            key.push(5 | (v.len() as u64) << 3);
            let word = |bytes: &[u8]| bytes.iter().fold(0, |word, &b| word << 8 | u64::from(b));
            key.extend(v.as_bytes().chunks(8).map(word));
        }
    };
    op.params(&mut Params::new(&mut sink));
}
