//! Makes a failing program smaller while it fails.

use crate::programs::modes::step_by_step;
use crate::programs::{Item, Program, Value};
use covector_core::catalog::Entry;
use covector_core::{Array, Result};

/// The smallest program found that still fails.
pub(crate) fn shrunk(program: &Program, entries: &[Entry], fails: &dyn Fn(&Program) -> bool) -> Program {
    let mut best = program.clone();
    loop {
        let smaller = candidates(&best, entries).into_iter().find(|p| size(p) < size(&best) && fails(p));
        match smaller {
            Some(next) => best = next,
            None => return best,
        }
    }
}

/// What is to become smaller: steps, then values asked for, then arguments.
fn size(p: &Program) -> (usize, usize, usize) {
    (p.steps(), p.outputs.len() + p.held.len(), p.items.len())
}

fn candidates(p: &Program, entries: &[Entry]) -> Vec<Program> {
    let mut all = Vec::new();
    for k in 0..p.outputs.len() {
        if p.outputs.len() > 1 {
            let mut next = p.clone();
            next.outputs.remove(k);
            all.push(pruned(&next));
        }
    }
    if !p.held.is_empty() {
        all.push(pruned(&Program { held: Vec::new(), ..p.clone() }));
    }
    for k in 0..p.held.len() {
        let mut next = p.clone();
        next.held.remove(k);
        all.push(pruned(&next));
    }
    // Inputs of an output in its place.
    for (k, v) in p.outputs.iter().enumerate() {
        if let Item::Step { args, .. } = &p.items[v.item] {
            for arg in args {
                let mut next = p.clone();
                next.outputs[k] = arg.value;
                all.push(pruned(&next));
            }
        }
    }
    // A step whose values become an argument, early ones first, so that much goes at once.
    if let Ok(values) = evaluated(p, entries) {
        for (item, made) in values.iter().enumerate().rev() {
            if matches!(p.items[item], Item::Step { .. }) && made.len() == 1 {
                let mut next = p.clone();
                next.items[item] = Item::Leaf(made[0].clone());
                all.push(pruned(&next));
            }
        }
    }
    all.push(pruned(p));
    all
}

fn evaluated(p: &Program, entries: &[Entry]) -> Result<Vec<Vec<Array>>> {
    let values = p.values(entries, &p.leaves())?;
    let all: Vec<Array> = values.iter().flatten().cloned().collect();
    step_by_step(&all)?;
    Ok(values)
}

/// Without the items that nothing needs. The first argument stays: some modes want one.
fn pruned(p: &Program) -> Program {
    let mut needed = vec![false; p.items.len()];
    needed[0] = matches!(p.items[0], Item::Leaf(_));
    p.outputs.iter().chain(&p.held).for_each(|v| needed[v.item] = true);
    for item in (0..p.items.len()).rev() {
        if let (true, Item::Step { args, .. }) = (needed[item], &p.items[item]) {
            args.iter().for_each(|arg| needed[arg.value.item] = true);
        }
    }
    let mut place = Vec::with_capacity(needed.len());
    let mut count = 0;
    for &n in &needed {
        place.push(count);
        count += usize::from(n);
    }
    let moved = |v: &Value| Value { item: place[v.item], output: v.output };
    let items = p.items.iter().zip(&needed).filter(|(_, n)| **n).map(|(item, _)| match item {
        Item::Leaf(x) => Item::Leaf(x.clone()),
        Item::Step { what, args } => {
            let mut args = args.clone();
            args.iter_mut().for_each(|arg| arg.value = moved(&arg.value));
            Item::Step { what: what.clone(), args }
        }
    });
    Program {
        seed: p.seed,
        float: p.float,
        items: items.collect(),
        outputs: p.outputs.iter().map(moved).collect(),
        held: p.held.iter().map(moved).collect(),
        noise: Vec::new(),
    }
}
