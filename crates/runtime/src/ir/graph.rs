//! The graph in SSA form: a node's number is its identity, and its operands are earlier nodes seen through layouts.

use super::Layout;
use crate::aval::Aval;
use crate::aval::{Avals, Values};
use crate::error::Result;
use covector_kernels::program::{Code, TileFn};
use covector_kernels::{Dtype, Reduce};
use smallvec::SmallVec;
use std::ops::Range;
use std::sync::Arc;

/// The number of a node.
pub type NodeId = u32;

/// An operation that the runtime can only call.
pub trait Callable: Send + Sync {
    /// The name in messages and texts.
    fn name(&self) -> &'static str;
    /// The name with the static parameters.
    fn describe(&self) -> String;
    /// Computes the outputs. An input that arrives as the only holder of its memory may be written over.
    fn call(&self, inputs: Values, outs: &[Aval]) -> Result<Values>;
    /// Arithmetic operations of one call.
    fn flops(&self, inputs: &[&[usize]], outs: &[Aval]) -> u64;
}

/// A value: all of a node's result, or a part of it, seen through a layout.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Operand {
    /// The node.
    pub value: NodeId,
    /// `None`: all of it, row-major in its own shape.
    pub layout: Option<Box<Layout>>,
}

impl Operand {
    /// All of a node's result.
    pub fn whole(value: NodeId) -> Self {
        Self { value, layout: None }
    }
}

/// What a node computes.
#[derive(Clone)]
pub enum Kind {
    /// Values that exist already: the leaf of this number.
    Leaf(u32),
    /// One elementwise operation over broadcast operands.
    Map {
        /// Computes one tile.
        tile: TileFn,
        /// The instruction that the tile function is, where the processor has one for it.
        code: Option<Code>,
        /// The operation's name.
        name: &'static str,
    },
    /// A reduction of operand 0 over `axes`, which stay with extent 1.
    Reduce {
        /// What is computed.
        kind: Reduce,
        /// The reduced axes, sorted.
        axes: SmallVec<[usize; 4]>,
    },
    /// The matrix product `[…, m, k] × […, k, n]`.
    Dot,
    /// The operands at these first indices of the result, which they cover without overlap: a concatenation.
    Place {
        /// For each operand, the index in the result of its first element.
        starts: Vec<SmallVec<[usize; 4]>>,
    },
    /// An opaque call; its node is the call's output 0.
    Call(Arc<dyn Callable>),
    /// Output `k > 0` of the call that is its operand. These nodes follow the call.
    Nth(u32),
}

/// An operation on earlier nodes, with the element type and shape of its result.
#[derive(Clone)]
pub struct Node {
    /// What it computes.
    pub kind: Kind,
    /// What it reads: results of earlier nodes.
    pub operands: SmallVec<[Operand; 3]>,
    /// The element type and shape of its result.
    pub aval: Aval,
}

impl Node {
    /// Whether it is an elementwise operation.
    pub fn is_map(&self) -> bool {
        matches!(self.kind, Kind::Map { .. })
    }

    /// Elements of its result.
    pub fn size(&self) -> usize {
        self.aval.shape.iter().product()
    }

    /// Bytes of its result.
    pub fn bytes(&self) -> usize {
        self.size() * self.aval.dtype.size()
    }

    /// Whether recomputing it takes no longer than reading its result from the cache.
    pub fn is_cheap(&self) -> bool {
        use Code::*;
        let Kind::Map { code: Some(code), .. } = self.kind else { return false };
        matches!(
            code,
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
    }
}

/// The values of a step of the listed graph that something outside of it holds.
#[derive(Clone)]
pub struct LiveOut {
    /// The step.
    pub step: u32,
    /// Its outputs.
    pub values: SmallVec<[Operand; 1]>,
}

/// Nodes, operands first, and which values are wanted.
#[derive(Clone, Default)]
pub struct Graph {
    /// The nodes; leaves come first, in the order of their numbers.
    pub nodes: Vec<Node>,
    /// Of each leaf, the element numbers that layouts may reach: it may be a view into more memory.
    pub leaves: Vec<Range<isize>>,
    /// The wanted values.
    pub live_outs: Vec<LiveOut>,
}

impl Graph {
    /// Appends a node.
    pub fn add(&mut self, kind: Kind, operands: SmallVec<[Operand; 3]>, aval: Aval) -> NodeId {
        self.nodes.push(Node { kind, operands, aval });
        self.nodes.len() as NodeId - 1
    }

    /// Appends a call, with a node for each output; the call's own is the first.
    pub fn add_call(
        &mut self,
        op: Arc<dyn Callable>,
        operands: SmallVec<[Operand; 3]>,
        avals: &Avals,
    ) -> NodeId {
        let call = self.add(Kind::Call(op), operands, avals[0].clone());
        for (k, aval) in avals.iter().enumerate().skip(1) {
            self.add(Kind::Nth(k as u32), smallvec::smallvec![Operand::whole(call)], aval.clone());
        }
        call
    }

    /// The node of this number.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id as usize]
    }

    /// The shape that an operand is seen with.
    pub fn shape<'a>(&'a self, x: &'a Operand) -> &'a [usize] {
        match &x.layout {
            Some(layout) => &layout.shape,
            None => &self.node(x.value).aval.shape,
        }
    }

    /// The element type of an operand.
    pub fn dtype(&self, x: &Operand) -> Dtype {
        self.node(x.value).aval.dtype
    }

    /// The layout of an operand in the memory of its value.
    pub fn layout(&self, x: &Operand) -> Layout {
        match &x.layout {
            Some(layout) => (**layout).clone(),
            None => Layout::row_major(&self.node(x.value).aval.shape),
        }
    }

    /// The number of outputs of the call `id`, itself included.
    pub fn outputs(&self, id: NodeId) -> usize {
        let nth = |node: &&Node| matches!(node.kind, Kind::Nth(_));
        1 + self.nodes[id as usize + 1..].iter().take_while(nth).count()
    }

    /// The operands of all nodes, and the live-outs.
    pub fn reads(&self) -> impl Iterator<Item = &Operand> {
        let live = self.live_outs.iter().flat_map(|out| &out.values);
        self.nodes.iter().flat_map(|node| &node.operands).chain(live)
    }

    /// Changes the operands of all nodes, and the live-outs.
    pub fn replace(&mut self, mut change: impl FnMut(&mut Operand)) {
        let live = self.live_outs.iter_mut().flat_map(|out| &mut out.values);
        self.nodes.iter_mut().flat_map(|node| &mut node.operands).chain(live).for_each(&mut change);
    }

    /// Of each node, whether it is wanted outside of the graph.
    pub fn is_live_out(&self) -> Vec<bool> {
        let mut live = vec![false; self.nodes.len()];
        let values = self.live_outs.iter().flat_map(|out| &out.values);
        values.for_each(|x| live[x.value as usize] = true);
        live
    }

    /// Brings the nodes into this order, which may leave some out. Gives the new number of each node, `u32::MAX` for those
    /// that are gone.
    pub fn reorder(&mut self, order: &[NodeId]) -> Vec<NodeId> {
        let mut number = vec![NodeId::MAX; self.nodes.len()];
        for (new, &old) in order.iter().enumerate() {
            number[old as usize] = new as NodeId;
        }
        let mut old: Vec<Option<Node>> = std::mem::take(&mut self.nodes).into_iter().map(Some).collect();
        self.nodes = order.iter().filter_map(|&id| old[id as usize].take()).collect();
        self.replace(|x| x.value = number[x.value as usize]);
        number
    }

    /// Drops the nodes that no live-out depends on. Leaves stay.
    pub fn compact(&mut self) {
        let mut needed = self.is_live_out();
        for id in (0..self.nodes.len()).rev() {
            let node = &self.nodes[id];
            needed[id] |= matches!(node.kind, Kind::Leaf(_));
            if needed[id] {
                node.operands.iter().for_each(|x| needed[x.value as usize] = true);
            }
        }
        // A call has all its outputs.
        for id in 1..self.nodes.len() {
            if matches!(self.nodes[id].kind, Kind::Nth(_)) {
                needed[id] = needed[self.nodes[id].operands[0].value as usize];
            }
        }
        if needed.contains(&false) {
            let order: Vec<NodeId> = (0..).zip(&needed).filter(|(_, n)| **n).map(|(id, _)| id).collect();
            self.reorder(&order);
        }
    }
}
