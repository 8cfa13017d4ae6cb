//! The order of a plan's instructions: what gives back as much memory as it takes runs as soon as it can.
//!
//! The order of the graph is that of the outputs asked for: all that the first needs, then what the second needs beside
//! it. A training step that asks for a loss and new parameters would so run the whole backward pass for the first
//! layer's gradient, and compute those of the other layers after it, from cotangents and activations that have to be
//! kept until then.

use crate::plan::band::Unit;
use crate::plan::build::{Proto, Root};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Reorders units, which are in an order in which they can run; `memory` says which roots are in memory.
pub(crate) fn order(units: Vec<Unit>, protos: &[Proto], roots: &[Root], memory: &[bool]) -> Vec<Unit> {
    let mut unit_of = vec![u32::MAX; protos.len()];
    for (u, unit) in units.iter().enumerate() {
        unit.instrs().for_each(|m| unit_of[m as usize] = u as u32);
    }
    let maker = |root: u32| roots[root as usize].maker().map(|m| unit_of[m as usize]);
    let bytes = |root: u32| {
        let aval = &roots[root as usize].aval;
        (aval.shape.iter().product::<usize>() * aval.dtype.size()) as i64
    };
    // What each unit reads that others make, and how many units still have to read each root.
    let mut reads: Vec<Vec<u32>> = vec![Vec::new(); units.len()];
    let mut readers: Vec<Vec<u32>> = vec![Vec::new(); roots.len()];
    let mut waits = vec![0u32; units.len()];
    let mut users: Vec<Vec<u32>> = vec![Vec::new(); units.len()];
    for (u, unit) in units.iter().enumerate() {
        let values = unit.instrs().flat_map(|m| protos[m as usize].inputs());
        let mut read: Vec<u32> = values.map(|v| v.root).collect();
        read.sort_unstable();
        read.dedup();
        read.retain(|&root| maker(root).is_some_and(|w| w != u as u32));
        let mut needs: Vec<u32> = read.iter().filter_map(|&root| maker(root)).collect();
        needs.sort_unstable();
        needs.dedup();
        waits[u] = needs.len() as u32;
        needs.iter().for_each(|&w| users[w as usize].push(u as u32));
        read.iter().for_each(|&root| readers[root as usize].push(u as u32));
        reads[u] = read;
    }
    let mut left: Vec<u32> = readers.iter().map(|r| r.len() as u32).collect();
    // Bytes that each unit takes, less those that nobody needs after it as far as has run.
    let mut takes = vec![0i64; units.len()];
    for (root, &in_memory) in memory.iter().enumerate() {
        let root = root as u32;
        // A product's result that only what follows it reads is given back at once.
        let inner = readers[root as usize].is_empty() && !roots[root as usize].kept;
        if let Some(u) = maker(root).filter(|&u| in_memory && u != u32::MAX && !inner) {
            takes[u as usize] += bytes(root);
            if let (&[last], false) = (&readers[root as usize][..], roots[root as usize].kept) {
                takes[last as usize] -= bytes(root);
            }
        }
    }
    let mut ready: BinaryHeap<Reverse<u32>> = BinaryHeap::new();
    let mut thrifty: BinaryHeap<Reverse<u32>> = BinaryHeap::new();
    for u in 0..units.len() {
        if waits[u] == 0 {
            if takes[u] <= 0 { &mut thrifty } else { &mut ready }.push(Reverse(u as u32));
        }
    }
    let mut units: Vec<Option<Unit>> = units.into_iter().map(Some).collect();
    let mut ordered = Vec::with_capacity(units.len());
    while let Some(Reverse(u)) = thrifty.pop().or_else(|| ready.pop()) {
        // A unit that became thrifty while it was ready is in both.
        let Some(unit) = units[u as usize].take() else { continue };
        ordered.push(unit);
        for &root in &reads[u as usize] {
            left[root as usize] -= 1;
            if left[root as usize] == 1 && !roots[root as usize].kept {
                let last = readers[root as usize].iter().copied().find(|&w| units[w as usize].is_some());
                if let Some(w) = last {
                    takes[w as usize] -= bytes(root);
                    if waits[w as usize] == 0 && takes[w as usize] <= 0 {
                        thrifty.push(Reverse(w));
                    }
                }
            }
        }
        for &w in &users[u as usize] {
            waits[w as usize] -= 1;
            if waits[w as usize] == 0 {
                if takes[w as usize] <= 0 { &mut thrifty } else { &mut ready }.push(Reverse(w));
            }
        }
    }
    debug_assert!(units.iter().all(Option::is_none), "units need each other");
    ordered
}
