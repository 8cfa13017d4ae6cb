//! Which instructions run together: chains and reductions over the same rows become bands.
//!
//! An instruction joins the unit of one of its producers when, row by row, it needs nothing but the same row of what
//! the unit makes, for some division of the iteration space into rows. See [`covector_kernels::rows`] for what
//! running together means.

use crate::plan::build::{Layout, Pass, Proto, Root, Source, Val};
use crate::shape::{Shape, Strides, row_major_strides};
use smallvec::SmallVec;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A unit has at most so many members, so that looking for a place among them stays cheap.
const MAX_MEMBERS: usize = 64;
/// And none that has more inputs than this, as long chains of single elements do.
const MAX_INPUTS: usize = 32;
/// Units of larger graphs are only joined by what follows all that it needs, without looking at who needs whom.
const MAX_TRACKED: usize = 4096;
/// A row may have this many elements: a block holds at least one row of each value.
const MAX_ROW: usize = 1 << 15;
/// With fewer rows than this there is too little to share among threads, unless all of it is small.
const MIN_ROWS: usize = 16;
const SMALL: usize = 1 << 13;

/// Two units become one for what reads so many elements of the second.
const WORTH_MERGING: usize = 1 << 12;

/// Whether `rows` rows of values of up to so many elements are worth running together.
pub(crate) fn worth(largest: usize, rows: usize) -> bool {
    largest <= SMALL || rows >= MIN_ROWS && largest / rows <= MAX_ROW
}

/// Instructions that run together.
pub(crate) struct Unit {
    /// In the order of their numbers, which is an order they can run in.
    pub(crate) members: Vec<u32>,
    /// The rows they share; meaningless for a single member without a product.
    pub(crate) rows: usize,
    /// A matrix product that they run after, part by part while it is made; see
    /// [`epilogue`](crate::plan::epilogue).
    pub(crate) product: Option<u32>,
    /// Units that must run before, as a set of bits.
    pub(crate) before: Vec<u64>,
}

impl Unit {
    /// All its instructions, in an order in which they can run.
    pub(crate) fn instrs(&self) -> impl Iterator<Item = u32> {
        self.product.into_iter().chain(self.members.iter().copied())
    }
}

/// What an instruction gives for the rows it reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reach {
    /// Something for each row.
    Within,
    /// One thing for all rows, which is there after the last.
    Over,
}

/// The number of outer axes that make `rows` rows.
pub(crate) fn prefix(shape: &[usize], rows: usize) -> Option<usize> {
    let mut product = 1;
    for (k, &n) in shape.iter().enumerate() {
        if product == rows {
            return Some(k);
        }
        product *= n;
    }
    (product == rows).then_some(shape.len())
}

/// Groups instructions into units, in an order in which they can run.
pub(crate) fn group(protos: &[Proto], roots: &[Root]) -> Vec<Unit> {
    let mut g = Grouper { protos, roots, units: Vec::new(), unit_of: Vec::with_capacity(protos.len()) };
    for p in 0..protos.len() {
        g.place(p as u32);
    }
    g.adopt_products();
    g.in_order()
}

pub(crate) struct Grouper<'a> {
    pub(crate) protos: &'a [Proto],
    pub(crate) roots: &'a [Root],
    pub(crate) units: Vec<Unit>,
    /// The unit of each instruction.
    pub(crate) unit_of: Vec<u32>,
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
    /// The instruction that makes a root; `None` for a leaf.
    pub(crate) fn maker(&self, root: u32) -> Option<u32> {
        self.roots[root as usize].maker()
    }

    fn place(&mut self, p: u32) {
        let proto = &self.protos[p as usize];
        let mut producers: SmallVec<[u32; 8]> = proto
            .inputs()
            .iter()
            .filter_map(|v| self.maker(v.root))
            .map(|maker| self.unit_of[maker as usize])
            .collect();
        producers.sort_unstable_by_key(|&u| Reverse(u));
        producers.dedup();
        let tracked = self.units.len() < MAX_TRACKED;
        let finest = finest_rows(proto);
        if let Some(finest) = finest {
            // The unit that it would read most of, so that the least goes through memory.
            let mut candidates: SmallVec<[(usize, u32); 8]> =
                producers.iter().map(|&u| (self.shared(p, u), u)).collect();
            candidates.sort_unstable_by_key(|&c| Reverse(c));
            for (k, &(_, u)) in candidates.iter().enumerate() {
                // Joining must not make two units wait for each other. Units that are not tracked are only joined as
                // the last of what is needed, so that each needs none but earlier ones.
                let free = if tracked {
                    producers.iter().all(|&w| w == u || !has(&self.units[w as usize].before, u))
                } else {
                    u == producers[0] && u as usize >= MAX_TRACKED
                };
                if free && let Some(rows) = self.fit(u, p, finest) {
                    self.join(u, p, rows, &producers);
                    for &(_, v) in candidates[k + 1..].iter().filter(|c| tracked && c.0 >= WORTH_MERGING) {
                        self.merge(u, v);
                    }
                    return;
                }
            }
        }
        let mut before = Vec::new();
        if tracked {
            for &w in &producers {
                unite(&mut before, &self.units[w as usize].before);
                insert(&mut before, w);
            }
        }
        let rows = finest.and_then(|finest| {
            let alone = |&rows: &usize| self.aligned(p, u32::MAX, rows);
            row_counts(proto.space()?, finest).into_iter().rev().find(alone)
        });
        self.unit_of.push(self.units.len() as u32);
        self.units.push(Unit { members: vec![p], rows: rows.unwrap_or(0), product: None, before });
    }

    /// Elements that `p` reads of what unit `u` makes.
    fn shared(&self, p: u32, u: u32) -> usize {
        let made = |v: &&Val| self.maker(v.root).is_some_and(|m| self.unit_of[m as usize] == u);
        let size = |v: &Val| self.roots[v.root as usize].aval.shape.iter().product::<usize>();
        self.protos[p as usize].inputs().iter().filter(made).map(size).sum()
    }

    /// Makes `v` part of `u`, if both can be one unit.
    fn merge(&mut self, u: u32, v: u32) {
        let (a, b) = (&self.units[u as usize], &self.units[v as usize]);
        if a.rows == 0 || b.rows == 0 || a.members.len() + b.members.len() > MAX_MEMBERS {
            return;
        }
        if self.waits_between(u, v) {
            return;
        }
        let rows = a.rows.min(b.rows);
        let mut members: Vec<u32> = a.members.iter().chain(&b.members).copied().collect();
        members.sort_unstable();
        let largest = members.iter().map(|&m| self.size(m)).max().unwrap_or(0);
        let unit_of = self.unit_of.clone();
        for &m in &members {
            self.unit_of[m as usize] = u;
        }
        if !worth(largest, rows) || !members.iter().all(|&m| self.aligned(m, u, rows)) {
            self.unit_of = unit_of;
            return;
        }
        self.absorb(u, v);
        let unit = &mut self.units[u as usize];
        (unit.members, unit.rows) = (members, rows);
    }

    /// Whether something has to run between two units.
    pub(crate) fn waits_between(&self, u: u32, v: u32) -> bool {
        let (a, b) = (&self.units[u as usize], &self.units[v as usize]);
        let between = |w: u32, first: u32, second: &Unit| {
            w != u && w != v && has(&second.before, w) && has(&self.units[w as usize].before, first)
        };
        (0..self.units.len() as u32).any(|w| between(w, u, b) || between(w, v, a))
    }

    /// Lets what waits for `v`, and what `v` waits for, be `u`'s. `v` stays empty.
    pub(crate) fn absorb(&mut self, u: u32, v: u32) {
        let empty = Unit { members: Vec::new(), rows: 0, product: None, before: Vec::new() };
        let gone = std::mem::replace(&mut self.units[v as usize], empty);
        let mut before = gone.before;
        unite(&mut before, &self.units[u as usize].before);
        for unit in &mut self.units {
            if has(&unit.before, u) || has(&unit.before, v) {
                unite(&mut unit.before, &before);
                insert(&mut unit.before, u);
            }
        }
        remove(&mut before, u);
        remove(&mut before, v);
        self.units[u as usize].before = before;
    }

    fn join(&mut self, u: u32, p: u32, rows: usize, producers: &[u32]) {
        let mut new = Vec::new();
        for &w in producers.iter().filter(|&&w| w != u) {
            unite(&mut new, &self.units[w as usize].before);
            insert(&mut new, w);
        }
        for (v, unit) in self.units.iter_mut().enumerate() {
            if v as u32 == u || has(&unit.before, u) {
                unite(&mut unit.before, &new);
            }
        }
        let unit = &mut self.units[u as usize];
        unit.members.push(p);
        unit.rows = rows;
        self.unit_of.push(u);
    }

    /// The most rows for which `p` can run with the members of `u`.
    fn fit(&self, u: u32, p: u32, finest: usize) -> Option<usize> {
        let unit = &self.units[u as usize];
        if unit.rows == 0 || unit.members.len() >= MAX_MEMBERS {
            return None;
        }
        let candidates = row_counts(self.protos[p as usize].space()?, finest.min(unit.rows));
        let largest = unit.members.iter().chain([&p]).map(|&m| self.size(m)).max().unwrap_or(0);
        candidates.into_iter().rev().find(|&rows| {
            worth(largest, rows)
                && (rows == unit.rows || unit.members.iter().all(|&m| self.aligned(m, u, rows)))
                && self.aligned(p, u, rows)
        })
    }

    pub(crate) fn size(&self, p: u32) -> usize {
        self.protos[p as usize].space().map_or(0, |s| s.iter().product())
    }

    /// Whether instruction `p` is one pass over `rows` rows that reads of unit `u` only the same rows.
    pub(crate) fn aligned(&self, p: u32, u: u32, rows: usize) -> bool {
        let proto = &self.protos[p as usize];
        let Some(outer) = proto.space().and_then(|shape| prefix(shape, rows)) else { return false };
        if proto.reach(rows).is_none() {
            return false;
        }
        proto.inputs().iter().enumerate().all(|(i, v)| {
            let maker = self.maker(v.root);
            let inside = maker.filter(|&m| m == p || self.unit_of.get(m as usize) == Some(&u));
            let Some((layout, shape)) = proto.operand(i, v, self.roots) else { return inside.is_none() };
            let walkable = matches!(proto, Proto::Chain { .. }) || one_axis(&layout, &shape, outer);
            walkable
                && inside.is_none_or(|m| {
                    (self.units.get(u as usize).is_some_and(|u| u.product == Some(m))
                        || self.protos[m as usize].reach(rows) == Some(Reach::Within))
                        && row_by_row(
                            &layout,
                            self.roots[v.root as usize].aval.shape.iter().product(),
                            &shape,
                            outer,
                            rows,
                        )
                })
        })
    }

    /// The units so that each comes after those it needs; else as early as its first member.
    fn in_order(self) -> Vec<Unit> {
        let n = self.units.len();
        let mut waits = vec![0u32; n];
        let mut users: Vec<Vec<u32>> = vec![Vec::new(); n];
        for (u, unit) in self.units.iter().enumerate() {
            let mut needs: Vec<u32> = unit
                .instrs()
                .flat_map(|m| self.protos[m as usize].inputs())
                .filter_map(|v| self.maker(v.root))
                .map(|m| self.unit_of[m as usize])
                .filter(|&w| w as usize != u)
                .collect();
            needs.sort_unstable();
            needs.dedup();
            waits[u] = needs.len() as u32;
            for w in needs {
                users[w as usize].push(u as u32);
            }
        }
        // Units were made in the order of their first members.
        let mut ready: BinaryHeap<Reverse<u32>> =
            (0..n as u32).filter(|&u| waits[u as usize] == 0).map(Reverse).collect();
        let mut units: Vec<Option<Unit>> = self.units.into_iter().map(Some).collect();
        let mut ordered = Vec::with_capacity(n);
        while let Some(Reverse(u)) = ready.pop() {
            ordered.extend(units[u as usize].take().filter(|unit| !unit.members.is_empty()));
            for &v in &users[u as usize] {
                waits[v as usize] -= 1;
                if waits[v as usize] == 0 {
                    ready.push(Reverse(v));
                }
            }
        }
        debug_assert!(units.iter().all(Option::is_none), "units need each other");
        ordered
    }
}

/// The most rows that an instruction can be divided into; `None` when it can only run alone.
fn finest_rows(proto: &Proto) -> Option<usize> {
    let shape = proto.space()?;
    if shape.contains(&0) || proto.inputs().len() > MAX_INPUTS {
        return None;
    }
    Some(match proto.pass() {
        None => shape.iter().product(),
        Some(Pass::Reduce { axes, .. }) => {
            let outer_kept = shape.iter().enumerate().take_while(|(k, n)| **n == 1 || !axes.contains(k));
            let kept: usize = outer_kept.map(|(_, n)| n).product();
            let outer_gone = shape.iter().enumerate().take_while(|(k, n)| **n == 1 || axes.contains(k));
            let gone: usize = outer_gone.map(|(_, n)| n).product();
            kept.max(gone)
        }
        Some(Pass::Product { .. } | Pass::ProductOver { .. }) => shape[..shape.len() - 1].iter().product(),
    })
}

/// The numbers of rows, up to `most`, that outer axes of `shape` make, in ascending order.
pub(crate) fn row_counts(shape: &[usize], most: usize) -> SmallVec<[usize; 8]> {
    let mut counts: SmallVec<[usize; 8]> = SmallVec::new();
    let mut product = 1;
    for n in std::iter::once(1).chain(shape.iter().copied()) {
        product *= n;
        if product <= most && counts.last() != Some(&product) {
            counts.push(product);
        }
    }
    counts
}

/// How a value lies in its root's memory: shape, strides, shift.
pub(crate) fn lie(v: &Val, roots: &[Root]) -> Layout {
    match &v.layout {
        Some(l) => (**l).clone(),
        None => {
            let shape = roots[v.root as usize].aval.shape.clone();
            let strides = row_major_strides(&shape);
            Layout { shape, strides, shift: 0 }
        }
    }
}

/// Whether a value that lies so in memory of `size` elements, broadcast to `shape`, has in each of its rows only elements
/// of the same row of that memory. The first `outer` axes of `shape` are the rows.
pub(crate) fn row_by_row(l: &Layout, size: usize, shape: &[usize], outer: usize, rows: usize) -> bool {
    if !size.is_multiple_of(rows) {
        return false;
    }
    let row = (size / rows) as isize;
    let strides = broadcast_strides(l, shape);
    let mut expect = row;
    for k in (0..outer).rev() {
        if shape[k] > 1 && strides[k] != expect {
            return false;
        }
        expect *= shape[k] as isize;
    }
    let (mut low, mut high) = (l.shift, l.shift);
    for k in outer..shape.len() {
        let reach = (shape[k] as isize - 1) * strides[k];
        if reach > 0 { high += reach } else { low += reach }
    }
    low >= 0 && high < row
}

/// Whether the first `outer` axes of a layout can be walked as one.
fn one_axis(l: &Layout, shape: &[usize], outer: usize) -> bool {
    let strides = broadcast_strides(l, shape);
    let mut expect = None;
    (0..outer).rev().filter(|&k| shape[k] != 1).all(|k| {
        let ok = expect.is_none_or(|e| e == strides[k]);
        expect = Some(strides[k] * shape[k] as isize);
        ok
    })
}

/// The strides of a layout broadcast to `shape`, aligned on the right.
pub(crate) fn broadcast_strides(l: &Layout, shape: &[usize]) -> Strides {
    let new = shape.len() - l.shape.len();
    (0..shape.len()).map(|k| if k < new || l.shape[k - new] == 1 { 0 } else { l.strides[k - new] }).collect()
}

impl Root {
    /// The instruction that makes it; `None` for a leaf.
    pub(crate) fn maker(&self) -> Option<u32> {
        match self.source {
            Source::Leaf(_) => None,
            Source::Chain { instr, .. } | Source::Call { instr } => Some(instr),
        }
    }
}

impl Proto {
    /// What it reads that is not its own.
    pub(crate) fn inputs(&self) -> &[Val] {
        match self {
            Proto::Chain { externals, .. } => externals,
            Proto::Call { inputs, .. } => inputs,
        }
    }

    /// Changes all that it reads.
    pub(crate) fn values_mut(&mut self, mut change: impl FnMut(&mut Val)) {
        match self {
            Proto::Chain { ops, externals, .. } => {
                externals.change(&mut change);
                ops.iter_mut().flat_map(|op| &mut op.from).for_each(change);
            }
            Proto::Call { inputs, .. } => inputs.iter_mut().for_each(change),
        }
    }

    /// What kind of pass a call is; `None` for a chain, and for a call that can only run alone.
    pub(crate) fn pass(&self) -> Option<&Pass> {
        match self {
            Proto::Chain { .. } => None,
            Proto::Call { pass, .. } => pass.as_ref(),
        }
    }

    /// The iteration space, whose outer axes can be rows.
    pub(crate) fn space(&self) -> Option<&[usize]> {
        match self {
            Proto::Chain { shape, .. } => Some(shape),
            Proto::Call { pass, .. } => pass.as_ref().map(|pass| match pass {
                Pass::Reduce { shape, .. } | Pass::Product { shape } | Pass::ProductOver { shape } => {
                    &shape[..]
                }
            }),
        }
    }

    /// What it gives for `rows` rows of its iteration space, if it can be divided so.
    pub(crate) fn reach(&self, rows: usize) -> Option<Reach> {
        let shape = self.space()?;
        let outer = prefix(shape, rows)?;
        match self.pass() {
            None => Some(Reach::Within),
            Some(Pass::Reduce { axes, .. }) => {
                if axes.iter().all(|&a| a >= outer || shape[a] == 1) {
                    Some(Reach::Within)
                } else if (0..outer).all(|k| shape[k] == 1 || axes.contains(&k)) {
                    Some(Reach::Over)
                } else {
                    None
                }
            }
            Some(Pass::Product { .. }) => (outer < shape.len()).then_some(Reach::Within),
            // Of a single row it would be a product of columns; left to the call.
            Some(Pass::ProductOver { .. }) => (outer == 1 && rows > 1).then_some(Reach::Over),
        }
    }

    /// Input `i` as rows: its layout and shape, with the rows as outer axes. `None` for what all rows need whole.
    pub(crate) fn operand(&self, i: usize, v: &Val, roots: &[Root]) -> Option<(Layout, Shape)> {
        let mut layout = lie(v, roots);
        match self.pass() {
            Some(Pass::Product { .. }) if i == 1 => None,
            Some(Pass::ProductOver { .. }) => {
                if i == 0 {
                    layout.shape.swap(0, 1);
                    layout.strides.swap(0, 1);
                }
                let shape = layout.shape.clone();
                Some((layout, shape))
            }
            _ => Some((layout, Shape::from_slice(self.space()?))),
        }
    }
}
