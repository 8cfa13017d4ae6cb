//! Which outputs of a chain or band can be written over an input that nothing needs afterwards.

use crate::plan::band::{Unit, prefix, row_by_row};
use crate::plan::build::{ChainOp, Proto, Source, Val};
use crate::plan::emit::Emitter;
use smallvec::SmallVec;

/// Bytes from which on memory is used again at once.
pub(crate) const LARGE: usize = 1 << 16;

impl Emitter<'_> {
    /// The pairs of an output and an input, by number, of which the one can take the other's memory: the input has been
    /// read for the last time when the output is written. Of two outputs for an input the later comes first.
    pub(crate) fn over(&self, unit: &Unit, outs: &[u32], inputs: &[Val]) -> SmallVec<[(u32, u32); 1]> {
        let mut pairs = SmallVec::new();
        for (k, &out) in outs.iter().enumerate() {
            let Source::Chain { instr, op } = self.roots[out as usize].source else { continue };
            let made = &self.roots[out as usize].aval;
            let Proto::Chain { ops, .. } = &self.protos[instr as usize] else { continue };
            let own = |root: u32| self.homes.find(root).1.is_none();
            if !own(out) || made.shape.iter().product::<usize>() * made.dtype.size() < LARGE {
                continue;
            }
            let needed = needed(ops, op as usize, |v| match self.roots[v.root as usize].source {
                Source::Chain { instr: i, op } if i == instr && v.layout.is_none() => Some(op as usize),
                _ => None,
            });
            for (i, v) in inputs.iter().enumerate() {
                if v.layout.is_none()
                    && own(v.root)
                    && self.roots[v.root as usize].aval == *made
                    && !self.multiplied(unit, v)
                    && self.read_before(unit, v, instr)
                    && ops.iter().enumerate().all(|(k, op)| !op.reads(v) || needed[k])
                {
                    pairs.push((k as u32, i as u32));
                }
            }
        }
        pairs.reverse();
        pairs
    }

    /// Whether it is an operand of the product that the unit follows, which holds it to the end.
    fn multiplied(&self, unit: &Unit, v: &Val) -> bool {
        let product = unit.product.map(|m| self.protos[m as usize].inputs());
        product.is_some_and(|operands| operands.iter().any(|o| o.root == v.root))
    }

    /// Whether all of the unit that read `v` are `chain` and what runs before it on the same rows. The chain's own reads are
    /// of the elements that it is about to write.
    fn read_before(&self, unit: &Unit, v: &Val, chain: u32) -> bool {
        let size = self.roots[v.root as usize].aval.shape.iter().product();
        let mut before = true;
        unit.members.iter().all(|&m| {
            before &= m != chain;
            let proto = &self.protos[m as usize];
            let mut reads = proto.inputs().iter().enumerate().filter(|(_, x)| x.root == v.root);
            m == chain
                || reads.all(|(i, x)| {
                    before
                        && proto.operand(i, x, self.roots).is_some_and(|(layout, shape)| {
                            let outer = prefix(&shape, unit.rows);
                            outer.is_some_and(|o| row_by_row(&layout, size, &shape, o, unit.rows))
                        })
                })
        })
    }
}

impl ChainOp {
    fn reads(&self, v: &Val) -> bool {
        self.from.iter().any(|f| f.root == v.root && f.layout == v.layout)
    }
}

/// Which operations must have run before the result of operation `last` can be written, whatever order they run in;
/// `of` says which operation a value is.
fn needed(ops: &[ChainOp], last: usize, of: impl Fn(&Val) -> Option<usize>) -> Vec<bool> {
    let mut needed = vec![false; ops.len()];
    needed[last] = true;
    for i in (0..=last).rev() {
        if needed[i] {
            ops[i].from.iter().filter_map(&of).for_each(|k| needed[k] = true);
        }
    }
    // Its own operands and result must not share memory.
    needed[last] = false;
    needed
}
