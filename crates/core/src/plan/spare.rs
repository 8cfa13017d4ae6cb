//! One value stored in place of several: where a later chain reads two or more cheap functions of one value that stays in
//! the registers of its own chain, that value is stored, and the reader computes the functions from it.
//!
//! A sigmoid is the example: its result and its slope are both cheap functions of its tail. The forward pass would store
//! both for the backward pass; stored once, the tail takes half the memory and half the way there and back.

use crate::plan::build::{ChainOp, MAX_CHAIN, MAX_INPUTS, Proto, Root, Source, Val, readers};
use smallvec::smallvec;

/// Longer chains are left as they are: they are made of single numbers.
const MAX_OPS: usize = 256;

/// Operations of one chain that depend on its operation `of` alone, and are read by the chain `into`.
struct Spared {
    of: usize,
    functions: Vec<usize>,
    into: usize,
}

/// Stores arguments in place of two or more functions of them.
pub(crate) fn spare(protos: &mut [Proto], roots: &mut Vec<Root>) {
    let readers = readers(protos, roots);
    for p in 0..protos.len() {
        let Proto::Chain { ops, .. } = &protos[p] else { continue };
        if ops.len() > MAX_OPS || !ops.iter().any(|op| roots[op.root as usize].stored && op.is_cheap()) {
            continue;
        }
        for of in 0..ops.len() {
            if let Some(spared) = spared(p, of, protos, roots, &readers) {
                transfer(p, &spared, protos, roots);
            }
        }
    }
}

fn spared(p: usize, of: usize, protos: &[Proto], roots: &[Root], readers: &[Vec<u32>]) -> Option<Spared> {
    let Proto::Chain { shape, ops, .. } = &protos[p] else { return None };
    let argument = ops.get(of)?.root;
    if roots[argument as usize].stored {
        return None;
    }
    let mut found: Option<Spared> = None;
    for (i, op) in ops.iter().enumerate() {
        let root = &roots[op.root as usize];
        let [from] = &op.from[..] else { continue };
        let [reader] = readers.get(op.root as usize).map_or(&[][..], |r| r) else { continue };
        let cheap = root.stored && !root.kept && op.is_cheap();
        if !cheap || from.root != argument || from.layout.is_some() || *reader as usize <= p {
            continue;
        }
        let into = *reader as usize;
        match &mut found {
            None => found = Some(Spared { of, functions: vec![i], into }),
            Some(spared) if spared.into == into => spared.functions.push(i),
            Some(_) => return None,
        }
    }
    let found = found.filter(|f| f.functions.len() > 1)?;
    let Proto::Chain { shape: other, ops: later, externals } = &protos[found.into] else { return None };
    // The reader works on the same elements, and reads the functions whole and as they are.
    let is_one = |v: &&Val| found.functions.iter().any(|&i| ops[i].root == v.root);
    let whole = externals.iter().filter(is_one).all(|v| v.layout.is_none());
    let fits = later.len() + found.functions.len() <= MAX_CHAIN && externals.len() < MAX_INPUTS;
    (shape == other && whole && fits).then_some(found)
}

/// Makes the functions anew in the chain that reads them; what the first chain itself reads of them, it keeps.
fn transfer(p: usize, spared: &Spared, protos: &mut [Proto], roots: &mut Vec<Root>) {
    let (front, back) = protos.split_at_mut(spared.into);
    let (Proto::Chain { ops, .. }, Proto::Chain { ops: later, externals, .. }) =
        (&mut front[p], &mut back[0])
    else {
        unreachable!("chosen among chains")
    };
    let argument = ops[spared.of].root;
    roots[argument as usize].stored = true;
    let mut made = Vec::with_capacity(spared.functions.len());
    for &i in &spared.functions {
        let (tile, code, name, old) = (ops[i].tile, ops[i].code, ops[i].name, ops[i].root);
        // The old root goes with those who read it from memory; in this chain a new one takes its place.
        let root = &mut roots[old as usize];
        root.stored = false;
        let kept = Root { source: root.source, aval: root.aval.clone(), stored: false, kept: false };
        let new = roots.len() as u32;
        roots.push(kept);
        made.push(ChainOp {
            tile,
            code,
            name,
            from: smallvec![Val { root: argument, layout: None }],
            root: old,
        });
        ops[i].root = new;
        for v in ops.iter_mut().flat_map(|op| &mut op.from).filter(|v| v.root == old) {
            v.root = new;
        }
        externals.retain(|v| v.root != old);
    }
    externals.add(&Val { root: argument, layout: None });
    later.splice(0..0, made);
    // Functions that only the other chain wanted are not computed here any more.
    let mut k = ops.len();
    while k > 0 {
        k -= 1;
        let root = ops[k].root;
        let read = ops.iter().flat_map(|op| &op.from).any(|v| v.root == root);
        if spared.functions.contains(&k) && !read && !roots[root as usize].stored {
            ops.remove(k);
        }
    }
    for (instr, ops) in [(p, &*ops), (spared.into, &*later)] {
        for (op, made) in ops.iter().enumerate() {
            roots[made.root as usize].source = Source::Chain { instr: instr as u32, op: op as u32 };
        }
    }
}
