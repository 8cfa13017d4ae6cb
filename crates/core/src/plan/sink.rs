//! Operations of a chain that only one later chain reads are done there, if what they need is in memory anyway.
//!
//! Chains are gathered in the order of the graph, and a derivative's factors depend on values of the forward pass alone:
//! `1 - tanh²` is ready as soon as `tanh` is, and so joins the chain that makes it. From there it would be stored for the
//! backward pass, beside `tanh` itself. Done by its reader it is a few operations on what is read there anyway, which
//! saves the memory and the way there and back. A few cheap operations that both chains need are done by both.

use crate::plan::build::{ChainOp, MAX_CHAIN, MAX_INPUTS, Proto, Root, Source, Val, readers};
use crate::plan::shared::renumber;
use rustc_hash::FxHashSet;

/// Chains longer than this are left as they are: they are made of single numbers.
const MAX_OPS: usize = 256;
/// How many cheap operations are done twice.
const MAX_COPIED: usize = 4;

/// What goes to another chain: operations that are moved, in order; those that are done there, too; and where to.
struct Move {
    moved: Vec<usize>,
    copied: Vec<usize>,
    into: usize,
}

/// Moves operations to the chains that read them.
pub(crate) fn sink(protos: &mut Vec<Proto>, roots: &mut Vec<Root>) {
    let mut readers = readers(protos, roots);
    for p in 0..protos.len() {
        let Proto::Chain { ops, .. } = &protos[p] else { continue };
        if ops.len() > MAX_OPS {
            continue;
        }
        let mut k = ops.len();
        while k > 0 {
            k -= 1;
            if let Some(what) = movable(p, k, protos, roots, &readers) {
                transfer(p, &what, protos, roots, &mut readers);
                k -= what.moved.len() - 1;
            }
        }
    }
    let gone: Vec<bool> =
        protos.iter().map(|proto| matches!(proto, Proto::Chain { ops, .. } if ops.is_empty())).collect();
    if gone.contains(&true) {
        renumber(protos, roots, &gone, Vec::new());
    }
}

/// What goes with operation `k` of chain `p`, if it can go.
fn movable(p: usize, k: usize, protos: &[Proto], roots: &[Root], readers: &[Vec<u32>]) -> Option<Move> {
    let Proto::Chain { shape, ops, .. } = &protos[p] else { return None };
    let root = &roots[ops[k].root as usize];
    let &[into] = &readers[ops[k].root as usize][..] else { return None };
    let Proto::Chain { shape: shape2, ops: ops2, externals } = &protos[into as usize] else { return None };
    if !root.stored || root.kept || shape != shape2 || (into as usize) <= p {
        return None;
    }
    // Its reader reads it whole and as it is.
    if externals.iter().any(|v| v.root == ops[k].root && v.layout.is_some()) {
        return None;
    }
    let number = |v: &Val| match roots[v.root as usize].source {
        Source::Chain { instr, op } if instr as usize == p && v.layout.is_none() => Some(op as usize),
        _ => None,
    };
    // It, and what nobody else needs.
    let mut moved = vec![k];
    for j in (0..k).rev() {
        let root = &roots[ops[j].root as usize];
        let used = |i: usize| ops[i].from.iter().any(|v| number(v) == Some(j));
        if !root.stored
            && moved.iter().any(|&i| used(i))
            && (0..ops.len()).all(|i| !used(i) || moved.contains(&i))
        {
            moved.push(j);
        }
    }
    if (0..ops.len()).any(|i| !moved.contains(&i) && ops[i].from.iter().any(|v| number(v) == Some(k))) {
        return None; // the chain itself reads it, too
    }
    // What they need must be in memory, and reading it there must cost no more than reading the result.
    let size = |v: &Val| {
        let aval = &roots[v.root as usize].aval;
        v.shape(roots).iter().product::<usize>() * aval.dtype.size()
    };
    let mut needed: Vec<&Val> = Vec::new();
    let mut copied: Vec<usize> = Vec::new();
    let mut todo: Vec<&Val> = moved.iter().flat_map(|&i| &ops[i].from).collect();
    while let Some(v) = todo.pop() {
        match number(v) {
            Some(j) if moved.contains(&j) || copied.contains(&j) => continue,
            Some(j) if !roots[ops[j].root as usize].stored => {
                if copied.len() == MAX_COPIED || !ops[j].is_cheap() {
                    return None;
                }
                copied.push(j);
                todo.extend(&ops[j].from);
                continue;
            }
            _ => {}
        }
        let same = |e: &&Val| e.root == v.root && e.layout == v.layout;
        if !needed.iter().any(same) && !externals.iter().any(|e| same(&e)) {
            needed.push(v);
        }
    }
    let fits =
        ops2.len() + moved.len() + copied.len() <= MAX_CHAIN && externals.len() + needed.len() <= MAX_INPUTS;
    let result = root.aval.shape.iter().product::<usize>() * root.aval.dtype.size();
    // Single numbers and rows that are the same for many cost nothing.
    let cost: usize = needed.iter().map(|v| size(v)).filter(|&bytes| bytes > result / 8).sum();
    moved.sort_unstable();
    copied.sort_unstable();
    (fits && cost <= result).then_some(Move { moved, copied, into: into as usize })
}

/// Moves and copies operations; the last that is moved is the one that the other chain reads.
fn transfer(p: usize, what: &Move, protos: &mut [Proto], roots: &mut Vec<Root>, readers: &mut Vec<Vec<u32>>) {
    let Move { moved, copied, into } = what;
    let into = *into;
    let (front, back) = protos.split_at_mut(into);
    let (
        Proto::Chain { ops, externals, .. },
        Proto::Chain { ops: later_ops, externals: later_externals, .. },
    ) = (&mut front[p], &mut back[0])
    else {
        unreachable!("chosen among chains")
    };
    let result = ops[moved[moved.len() - 1]].root;
    roots[result as usize].stored = false;
    readers[result as usize].clear();
    later_externals.retain(|v| v.root != result);
    let mut gone: Vec<ChainOp> = Vec::with_capacity(moved.len() + copied.len());
    let mut kept: Vec<ChainOp> = Vec::with_capacity(ops.len());
    // The copy of each root that has one.
    let mut copy: Vec<(u32, u32)> = Vec::new();
    for (i, op) in std::mem::take(ops).into_iter().enumerate() {
        if copied.contains(&i) {
            let root = roots.len() as u32;
            let aval = roots[op.root as usize].aval.clone();
            // Its place in the chain is set below.
            roots.push(Root { source: roots[op.root as usize].source, aval, stored: false, kept: false });
            readers.push(Vec::new());
            copy.push((op.root, root));
            gone.push(ChainOp { tile: op.tile, code: op.code, name: op.name, from: op.from.clone(), root });
        }
        if moved.contains(&i) { gone.push(op) } else { kept.push(op) }
    }
    *ops = kept;
    for v in gone.iter_mut().flat_map(|op| &mut op.from).filter(|v| v.layout.is_none()) {
        if let Some(&(_, root)) = copy.iter().find(|c| c.0 == v.root) {
            v.root = root;
        }
    }
    let own: FxHashSet<u32> = gone.iter().map(|op| op.root).collect();
    for v in gone.iter().flat_map(|op| &op.from).filter(|v| v.layout.is_some() || !own.contains(&v.root)) {
        later_externals.add(v);
        if !readers[v.root as usize].contains(&(into as u32)) {
            readers[v.root as usize].push(into as u32);
        }
    }
    // What the chain itself reads no more.
    let reads =
        |v: &Val| ops.iter().flat_map(|op| &op.from).any(|f| f.root == v.root && f.layout == v.layout);
    externals.retain(reads);
    for v in gone.iter().flat_map(|op| &op.from) {
        if !externals.iter().any(|e| e.root == v.root) {
            readers[v.root as usize].retain(|&r| r != p as u32);
        }
    }
    later_ops.splice(0..0, gone);
    for (instr, ops) in [(p, &*ops), (into, &*later_ops)] {
        for (op, made) in ops.iter().enumerate() {
            roots[made.root as usize].source = Source::Chain { instr: instr as u32, op: op as u32 };
        }
    }
}
