//! The executable of a compiled function with its bindings: it runs without a list, a key or a search.

use crate::array::Array;
use crate::buffer::Data;
use crate::error::{Result, no_value};
use crate::graph;
use crate::plan::key::{Bound, Listing};
use crate::primitive::Values;
use covector_runtime::executable::{Argument, Executable};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;
use std::sync::Arc;

/// An executable, with the binding of each leaf and the place of each output.
pub(crate) struct Prepared {
    plan: Executable,
    leaves: Vec<Leaf>,
    outs: Vec<Out>,
}

enum Leaf {
    Input(u32),
    Constant(Data),
}

enum Out {
    Input(u32),
    Constant(Data),
    Made(Argument),
}

impl Prepared {
    /// Plans the graph from `inputs`, the abstract arguments of a traced function, to `outputs`, for values like these. All
    /// other leaves are constants. The traced graph itself is listed: a second graph over the values would double the memory.
    pub(crate) fn new(inputs: &[Array], values: &[Data], outputs: &[Array]) -> Result<Self> {
        let bound: Bound = inputs.iter().zip(values).map(|(x, v)| (graph::id(x), v.clone())).collect();
        let (listing, plan) = loop {
            let listing = Listing::over(outputs, Some(&bound))?;
            // Otherwise another thread has computed a constant meanwhile.
            if let Some((plan, _)) = super::compile(&listing) {
                break (listing, plan);
            }
        };
        let input: FxHashMap<(graph::NodeId, u32), u32> =
            inputs.iter().enumerate().map(|(i, x)| ((graph::id(x), x.index), i as u32)).collect();
        let leaves = listing
            .leaf_ids
            .iter()
            .zip(&listing.leaves)
            .map(|(id, data)| input.get(id).map_or_else(|| Leaf::Constant(data.clone()), |&i| Leaf::Input(i)))
            .collect();
        let step: FxHashMap<graph::NodeId, u32> = listing
            .nodes
            .iter()
            .enumerate()
            .map(|(i, s)| (Arc::as_ptr(&s.node) as usize, i as u32))
            .collect();
        let results: FxHashMap<u32, &SmallVec<[Argument; 1]>> =
            plan.results().iter().map(|(s, o)| (*s, o)).collect();
        let outs = outputs
            .iter()
            .map(|x| {
                if let Some(&i) = input.get(&(graph::id(x), x.index)) {
                    return Ok(Out::Input(i));
                }
                match step.get(&graph::id(x)).and_then(|s| results.get(s)) {
                    Some(made) => Ok(Out::Made(made[x.index as usize].clone())),
                    None => Ok(Out::Constant(x.ready().cloned().ok_or_else(no_value)?)),
                }
            })
            .collect::<Result<_>>()?;
        Ok(Self { plan, leaves, outs })
    }

    /// The outputs for inputs of the layouts it was prepared for.
    pub(crate) fn run(&self, inputs: Values) -> Result<Values> {
        let handed = |out: &Out| match out {
            Out::Input(i) => Some(inputs[*i as usize].clone()),
            _ => None,
        };
        let handed: Vec<Data> = self.outs.iter().filter_map(handed).collect();
        let mut handed = handed.into_iter();
        // By value: an input of which this call is the only holder is donated after its last use.
        let mut inputs: SmallVec<[Option<Data>; 8]> = inputs.into_iter().map(Some).collect();
        let leaves = self.leaves.iter().map(|leaf| match leaf {
            Leaf::Input(i) => inputs[*i as usize].take().expect("each input is one leaf at most"),
            Leaf::Constant(data) => data.clone(),
        });
        let slots = self.plan.execute(leaves)?;
        let mut outs = Values::with_capacity(self.outs.len());
        for out in &self.outs {
            outs.push(match out {
                Out::Input(_) => handed.next().expect("one for each"),
                Out::Constant(data) => data.clone(),
                Out::Made(operand) => operand.data(&slots),
            });
        }
        Ok(outs)
    }
}
