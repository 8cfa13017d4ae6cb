//! New nodes: a primitive applied to inputs.

use crate::array::{Array, Aval, Inputs, Node, Outs, Pending, Recipe};
use crate::error::Result;
use crate::eval::bound_laziness;
use crate::primitive::{Op, Primitive};
use crate::trace::TraceSet;
use smallvec::SmallVec;
use std::sync::Arc;

impl Array {
    /// The first output of a new node: `op` applied to `inputs`.
    pub(crate) fn apply(op: impl Into<Op>, inputs: Inputs) -> Result<Self> {
        let op = op.into();
        let avals = op.infer(&inputs)?;
        debug_assert_eq!(avals.len(), 1, "{} has several outputs", op.name());
        Ok(Self::build(op, inputs, avals, None))
    }

    /// All outputs of a new node: `op` applied to `inputs`.
    pub(crate) fn apply_multi(op: impl Into<Op>, inputs: Inputs) -> Result<Vec<Self>> {
        Self::apply_outs(op, inputs).map(SmallVec::into_vec)
    }

    /// [`Array::apply_multi`] without a heap allocation for one output.
    pub(crate) fn apply_outs(op: impl Into<Op>, inputs: Inputs) -> Result<Outs<Self>> {
        let op = op.into();
        let avals = op.infer(&inputs)?;
        let n = avals.len() as u32;
        if n == 0 {
            return Ok(Outs::new());
        }
        let first = Self::build(op, inputs, avals, None);
        Ok((0..n).map(|index| Self { node: first.node.clone(), index }).collect())
    }

    /// Applies a primitive of another crate. The functions of [`ops`](crate::ops) apply the primitives of this crate.
    ///
    /// # Errors
    /// The errors of the primitive's `infer`.
    pub fn from_primitive(primitive: Arc<dyn Primitive>, inputs: &[Array]) -> Result<Vec<Self>> {
        Self::apply_multi(Op::Shared(primitive), inputs.into())
    }

    /// A new node with given avals. It depends on the traces of its inputs, and on `extra`.
    pub(crate) fn build(op: Op, inputs: Inputs, avals: Outs<Aval>, extra: Option<&Arc<TraceSet>>) -> Self {
        let traces = TraceSet::union(inputs.iter().map(|x| x.node.traces.as_ref()).chain([extra]));
        let mut pending = Pending::default();
        let mut leaves = 0u64;
        for x in &inputs {
            if let Some(data) = x.node.data() {
                leaves += data.iter().map(|d| (d.size() * d.dtype().size()) as u64).sum::<u64>() >> 10;
            } else if !x.node.is_due() {
                pending.depth = pending.depth.max(x.node.pending.depth);
                pending.kib = pending.kib.max(x.node.pending.kib);
            }
        }
        pending.depth += 1;
        pending.kib = pending.kib.saturating_add(u32::try_from(leaves).unwrap_or(u32::MAX));
        let array = Self::from_node(Node::new(avals, None, Some(Recipe { op, inputs }), traces, pending));
        bound_laziness(&array);
        array
    }
}
