//! Outputs of a map that can be written over an input that nothing reads afterwards.

use crate::cost::LARGE;
use crate::ir::{NodeId, Operand};
use crate::passes::rows::{Pass, prefix, row_by_row};
use crate::passes::{Plan, Region};
use smallvec::SmallVec;

impl Plan {
    /// The pairs of an output and an input, by number, of which the one can take the other's memory: the input has been
    /// read for the last time when the output is written. Of two outputs for an input the later comes first.
    pub(crate) fn reuses(
        &self,
        region: &Region,
        outs: &[NodeId],
        inputs: &[Operand],
    ) -> SmallVec<[(u32, u32); 1]> {
        let mut pairs = SmallVec::new();
        for (k, &out) in outs.iter().enumerate() {
            let made = self.graph.node(out);
            let Some(stage) = self.stages.maker(out).filter(|_| made.is_map()) else { continue };
            let own = |value: NodeId| self.placements.find(value).1.is_none();
            if !own(out) || made.bytes() < LARGE {
                continue;
            }
            let nodes = &self.stages.list[stage as usize].nodes;
            let needed = self.needed(stage, out);
            for (i, x) in inputs.iter().enumerate() {
                let reads = |id: NodeId| self.graph.node(id).operands.contains(x);
                if x.layout.is_none()
                    && own(x.value)
                    && self.graph.node(x.value).aval == made.aval
                    && !self.is_factor(region, x)
                    && self.read_before(region, x, stage)
                    && nodes.iter().zip(&needed).all(|(&id, needed)| *needed || !reads(id))
                {
                    pairs.push((k as u32, i as u32));
                }
            }
        }
        pairs.reverse();
        pairs
    }

    /// Whether it is a factor of the dot that the region follows, which reads it to the end.
    fn is_factor(&self, region: &Region, x: &Operand) -> bool {
        let factors = region.dot.map(|dot| &self.stages.list[dot as usize].inputs);
        factors.is_some_and(|factors| factors.iter().any(|y| y.value == x.value))
    }

    /// Whether all stages of the region that read `x` are the stage `map` and what runs before it on the same rows. The
    /// map's own reads are of the elements that it is about to write.
    fn read_before(&self, region: &Region, x: &Operand, map: u32) -> bool {
        let size = self.graph.node(x.value).size();
        let mut before = true;
        region.stages.iter().all(|&s| {
            before &= s != map;
            let pass = Pass::new(&self.graph, &self.stages.list[s as usize]);
            let mut reads = pass.operands().iter().enumerate().filter(|(_, y)| y.value == x.value);
            s == map
                || reads.all(|(i, y)| {
                    before
                        && pass.rows_of(i, y).is_some_and(|(layout, shape)| {
                            let outer = prefix(&shape, region.rows);
                            outer.is_some_and(|o| row_by_row(&layout, size, &shape, o, region.rows))
                        })
                })
        })
    }

    /// The nodes of a stage that must have run before the result `last` can be written, whatever order they run in.
    fn needed(&self, stage: u32, last: NodeId) -> Vec<bool> {
        let nodes = &self.stages.list[stage as usize].nodes;
        let mut needed = vec![false; nodes.len()];
        let last = self.stages.position(stage, &Operand::whole(last)).unwrap_or(0);
        needed[last] = true;
        for i in (0..=last).rev() {
            if needed[i] {
                let operands = &self.graph.node(nodes[i]).operands;
                operands.iter().filter_map(|x| self.stages.position(stage, x)).for_each(|k| needed[k] = true);
            }
        }
        // Its own operands and result must not share memory.
        needed[last] = false;
        needed
    }
}
