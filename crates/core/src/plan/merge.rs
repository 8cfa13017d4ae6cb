//! Chains of one unit over one shape become one chain, where the second needs nothing that is made after the first
//! begins.
//!
//! Chains are gathered in the order of the graph, before it is known what runs together. In that order a backward
//! chain often waits for a number that comes from elsewhere; inside a unit only the unit's own order counts.

use crate::plan::band::Unit;
use crate::plan::build::{MAX_CHAIN, MAX_INPUTS, Proto, Root, Source, Val};

/// Merges chains within units.
pub(crate) fn merge_chains(units: &mut [Unit], protos: &mut [Proto], roots: &mut [Root]) {
    let mut merged = false;
    for unit in units.iter_mut().filter(|u| u.members.len() > 1) {
        let mut kept: Vec<u32> = Vec::with_capacity(unit.members.len());
        for &m in &unit.members {
            match kept.iter().rev().find(|&&into| can_merge(m, into, unit, protos, roots)) {
                Some(&into) => {
                    merge(m, into, protos, roots);
                    merged = true;
                }
                None => kept.push(m),
            }
        }
        unit.members = kept;
    }
    if merged {
        for root in roots.iter_mut() {
            root.stored = root.kept || !matches!(root.source, Source::Chain { .. });
        }
        for proto in protos.iter() {
            for v in proto.inputs() {
                roots[v.root as usize].stored = true;
            }
        }
    }
}

/// Whether a value is the whole of what an operation of this chain makes.
fn is_register(v: &Val, chain: u32, roots: &[Root]) -> bool {
    v.layout.is_none() && roots[v.root as usize].maker() == Some(chain)
}

fn can_merge(m: u32, into: u32, unit: &Unit, protos: &[Proto], roots: &[Root]) -> bool {
    let (
        Proto::Chain { shape, ops, externals },
        Proto::Chain { shape: shape2, ops: ops2, externals: externals2 },
    ) = (&protos[into as usize], &protos[m as usize])
    else {
        return false;
    };
    shape == shape2
        && ops.len() + ops2.len() <= MAX_CHAIN
        && externals.len() + externals2.len() <= MAX_INPUTS
        && externals2.iter().all(|v| {
            is_register(v, into, roots)
                || roots[v.root as usize].maker().is_none_or(|k| !unit.members.contains(&k) || k < into)
        })
}

fn merge(m: u32, into: u32, protos: &mut [Proto], roots: &mut [Root]) {
    let Proto::Chain { ops: new_ops, externals: new_externals, .. } = &mut protos[m as usize] else {
        unreachable!("chosen among chains")
    };
    let (new_ops, new_externals) = (std::mem::take(new_ops), std::mem::take(new_externals));
    let Proto::Chain { ops, externals, .. } = &mut protos[into as usize] else {
        unreachable!("chosen among chains")
    };
    for v in new_externals.iter() {
        if !is_register(v, into, roots) {
            externals.add(v);
        }
    }
    for op in new_ops {
        roots[op.root as usize].source = Source::Chain { instr: into, op: ops.len() as u32 };
        ops.push(op);
    }
}
