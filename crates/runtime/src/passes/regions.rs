//! Which stages run together: maps and reductions over the same rows become regions.
//!
//! A stage joins the region of one of its producers when, row by row, it needs nothing but the same row of what the
//! region makes, for some division of its extents into rows. [`covector_kernels::rows`] says how a region runs.

use super::Plan;
use super::rows::{Form, Pass, RowMap, one_axis, prefix, row_by_row, row_counts, worth};
use crate::cost::{MAX_STAGES, MAX_TRACKED, WORTH_JOINING};
use crate::ir::{Graph, NodeId, Operand, Stages};
use smallvec::SmallVec;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Stages that run together.
#[derive(Clone, Default)]
pub(crate) struct Region {
    /// In the order of their numbers, which is an order they can run in.
    pub(crate) stages: Vec<u32>,
    /// The rows they share; meaningless for a single stage without a dot.
    pub(crate) rows: usize,
    /// The stage of a dot that they follow, part by part while it is computed; see [`epilogue`](super::epilogue).
    pub(crate) dot: Option<u32>,
    /// Regions that must run before, as a set of bits.
    pub(super) before: Vec<u64>,
}

impl Region {
    /// All its stages, in an order in which they can run.
    pub(crate) fn all(&self) -> impl Iterator<Item = u32> {
        self.dot.into_iter().chain(self.stages.iter().copied())
    }

    /// Whether it is one stage that runs by itself.
    pub(crate) fn alone(&self) -> Option<u32> {
        match (&self.stages[..], self.dot) {
            (&[stage], None) => Some(stage),
            _ => None,
        }
    }
}

pub(crate) fn run(plan: &mut Plan) {
    let Plan { graph, stages, .. } = &*plan;
    let passes = stages.list.iter().map(|stage| Pass::new(graph, stage)).collect();
    let region_of = Vec::with_capacity(stages.list.len());
    let mut grouper = Grouper { graph, stages, passes, regions: Vec::new(), region_of };
    for stage in 0..stages.list.len() as u32 {
        grouper.place(stage);
    }
    grouper.adopt_dots();
    let regions = grouper.in_order();
    plan.regions = regions;
}

pub(super) struct Grouper<'a> {
    pub(super) graph: &'a Graph,
    pub(super) stages: &'a Stages,
    pub(super) passes: Vec<Pass<'a>>,
    pub(super) regions: Vec<Region>,
    /// The region of each stage.
    pub(super) region_of: Vec<u32>,
}

fn has(set: &[u64], i: u32) -> bool {
    set.get(i as usize / 64).is_some_and(|word| word >> (i % 64) & 1 == 1)
}

fn insert(set: &mut Vec<u64>, i: u32) {
    let word = i as usize / 64;
    if set.len() <= word {
        set.resize(word + 1, 0);
    }
    set[word] |= 1 << (i % 64);
}

fn remove(set: &mut [u64], i: u32) {
    if let Some(word) = set.get_mut(i as usize / 64) {
        *word &= !(1 << (i % 64));
    }
}

fn unite(set: &mut Vec<u64>, other: &[u64]) {
    if set.len() < other.len() {
        set.resize(other.len(), 0);
    }
    for (a, &b) in set.iter_mut().zip(other) {
        *a |= b;
    }
}

impl Grouper<'_> {
    fn pass(&self, stage: u32) -> &Pass<'_> {
        &self.passes[stage as usize]
    }

    fn inputs(&self, stage: u32) -> &[Operand] {
        &self.stages.list[stage as usize].inputs
    }

    fn size_of(&self, value: NodeId) -> usize {
        self.graph.node(value).size()
    }

    fn place(&mut self, stage: u32) {
        let makers = self.inputs(stage).iter().filter_map(|x| self.stages.maker(x.value));
        let mut producers: SmallVec<[u32; 8]> = makers.map(|maker| self.region_of[maker as usize]).collect();
        producers.sort_unstable_by_key(|&r| Reverse(r));
        producers.dedup();
        let tracked = self.regions.len() < MAX_TRACKED;
        let finest = self.pass(stage).finest_rows();
        if let Some(finest) = finest {
            // The region that it would read most of, so that the least goes through memory.
            let mut candidates: SmallVec<[(usize, u32); 8]> =
                producers.iter().map(|&r| (self.shared(stage, r), r)).collect();
            candidates.sort_unstable_by_key(|&c| Reverse(c));
            for (k, &(_, r)) in candidates.iter().enumerate() {
                // Joining must not make two regions wait for each other. Without reachability sets, join only the latest
                // producer; then dependences point backwards.
                let free = if tracked {
                    producers.iter().all(|&w| w == r || !has(&self.regions[w as usize].before, r))
                } else {
                    r == producers[0] && r as usize >= MAX_TRACKED
                };
                if free && let Some(rows) = self.fit(r, stage, finest) {
                    self.join(r, stage, rows, &producers);
                    for &(_, other) in candidates[k + 1..].iter().filter(|c| tracked && c.0 >= WORTH_JOINING)
                    {
                        self.merge(r, other);
                    }
                    return;
                }
            }
        }
        let mut before = Vec::new();
        if tracked {
            for &w in &producers {
                unite(&mut before, &self.regions[w as usize].before);
                insert(&mut before, w);
            }
        }
        let rows = finest.and_then(|finest| {
            let alone = |&rows: &usize| self.aligned(stage, u32::MAX, rows);
            row_counts(&self.pass(stage).space, finest).into_iter().rev().find(alone)
        });
        self.region_of.push(self.regions.len() as u32);
        self.regions.push(Region { stages: vec![stage], rows: rows.unwrap_or(0), dot: None, before });
    }

    /// Elements that a stage reads of what region `r` makes.
    fn shared(&self, stage: u32, r: u32) -> usize {
        let made = |x: &&Operand| {
            self.stages.maker(x.value).is_some_and(|maker| self.region_of[maker as usize] == r)
        };
        self.inputs(stage).iter().filter(made).map(|x| self.size_of(x.value)).sum()
    }

    /// Makes `other` part of `r`, if both can be one region.
    fn merge(&mut self, r: u32, other: u32) {
        let (a, b) = (&self.regions[r as usize], &self.regions[other as usize]);
        if a.rows == 0 || b.rows == 0 || a.stages.len() + b.stages.len() > MAX_STAGES {
            return;
        }
        if self.waits_between(r, other) {
            return;
        }
        let rows = a.rows.min(b.rows);
        let mut stages: Vec<u32> = a.stages.iter().chain(&b.stages).copied().collect();
        stages.sort_unstable();
        let largest = stages.iter().map(|&s| self.pass(s).size()).max().unwrap_or(0);
        let b_stages = b.stages.clone();
        b_stages.iter().for_each(|&s| self.region_of[s as usize] = r);
        if !worth(largest, rows) || !stages.iter().all(|&s| self.aligned(s, r, rows)) {
            b_stages.iter().for_each(|&s| self.region_of[s as usize] = other);
            return;
        }
        self.absorb(r, other);
        let region = &mut self.regions[r as usize];
        (region.stages, region.rows) = (stages, rows);
    }

    /// Whether something has to run between two regions.
    pub(super) fn waits_between(&self, a: u32, b: u32) -> bool {
        let between = |w: u32, first: u32, second: u32| {
            has(&self.regions[second as usize].before, w) && has(&self.regions[w as usize].before, first)
        };
        (0..self.regions.len() as u32).any(|w| w != a && w != b && (between(w, a, b) || between(w, b, a)))
    }

    /// Makes what waits for `other`, and what `other` waits for, wait for `r` and be waited for by `r`. `other` stays
    /// empty.
    pub(super) fn absorb(&mut self, r: u32, other: u32) {
        let gone = std::mem::take(&mut self.regions[other as usize]);
        let mut before = gone.before;
        unite(&mut before, &self.regions[r as usize].before);
        for region in &mut self.regions {
            if has(&region.before, r) || has(&region.before, other) {
                unite(&mut region.before, &before);
                insert(&mut region.before, r);
            }
        }
        remove(&mut before, r);
        remove(&mut before, other);
        self.regions[r as usize].before = before;
    }

    fn join(&mut self, r: u32, stage: u32, rows: usize, producers: &[u32]) {
        let mut new = Vec::new();
        for &w in producers.iter().filter(|&&w| w != r) {
            unite(&mut new, &self.regions[w as usize].before);
            insert(&mut new, w);
        }
        for (other, region) in (0..).zip(&mut self.regions) {
            if other == r || has(&region.before, r) {
                unite(&mut region.before, &new);
            }
        }
        let region = &mut self.regions[r as usize];
        region.stages.push(stage);
        region.rows = rows;
        self.region_of.push(r);
    }

    /// The most rows for which a stage can run with those of `r`.
    fn fit(&self, r: u32, stage: u32, finest: usize) -> Option<usize> {
        let region = &self.regions[r as usize];
        if region.rows == 0 || region.stages.len() >= MAX_STAGES {
            return None;
        }
        let candidates = row_counts(&self.pass(stage).space, finest.min(region.rows));
        let largest = region.stages.iter().chain([&stage]).map(|&s| self.pass(s).size()).max().unwrap_or(0);
        candidates.into_iter().rev().find(|&rows| {
            worth(largest, rows)
                && (rows == region.rows || region.stages.iter().all(|&s| self.aligned(s, r, rows)))
                && self.aligned(stage, r, rows)
        })
    }

    /// Whether a stage is one pass over `rows` rows that reads of region `r` only the same rows.
    pub(super) fn aligned(&self, stage: u32, r: u32, rows: usize) -> bool {
        let pass = self.pass(stage);
        let (Some(outer), Some(_)) = (prefix(&pass.space, rows), pass.row_map(rows)) else { return false };
        pass.operands().iter().enumerate().all(|(i, x)| {
            let maker = self.stages.maker(x.value);
            let inside = maker.filter(|&m| m == stage || self.region_of.get(m as usize) == Some(&r));
            let Some((layout, shape)) = pass.rows_of(i, x) else { return inside.is_none() };
            (pass.form == Form::Map || one_axis(&layout, &shape, outer))
                && inside.is_none_or(|m| {
                    let follows = self.regions.get(r as usize).is_some_and(|region| region.dot == Some(m));
                    (follows || self.pass(m).row_map(rows) == Some(RowMap::PerRow))
                        && row_by_row(&layout, self.size_of(x.value), &shape, outer, rows)
                })
        })
    }

    /// The regions so that each comes after those it needs; else as early as its first stage.
    fn in_order(self) -> Vec<Region> {
        let n = self.regions.len();
        let mut waits = vec![0u32; n];
        let mut users: Vec<Vec<u32>> = vec![Vec::new(); n];
        for (r, region) in (0..).zip(&self.regions) {
            let mut needs: Vec<u32> = region
                .all()
                .flat_map(|s| self.inputs(s))
                .filter_map(|x| self.stages.maker(x.value))
                .map(|maker| self.region_of[maker as usize])
                .filter(|&w| w != r)
                .collect();
            needs.sort_unstable();
            needs.dedup();
            waits[r as usize] = needs.len() as u32;
            needs.into_iter().for_each(|w| users[w as usize].push(r));
        }
        // Regions were made in the order of their first stages.
        let mut ready: BinaryHeap<Reverse<u32>> =
            (0..n as u32).filter(|&r| waits[r as usize] == 0).map(Reverse).collect();
        let mut regions: Vec<Option<Region>> = self.regions.into_iter().map(Some).collect();
        let mut ordered = Vec::with_capacity(n);
        while let Some(Reverse(r)) = ready.pop() {
            ordered.extend(regions[r as usize].take().filter(|region| !region.stages.is_empty()));
            for &user in &users[r as usize] {
                waits[user as usize] -= 1;
                if waits[user as usize] == 0 {
                    ready.push(Reverse(user));
                }
            }
        }
        debug_assert!(regions.iter().all(Option::is_none), "regions need each other");
        ordered
    }
}
