//! The order of a program's operations in machine code: the operations of each loop, the calls between loops, and the tiles
//! of values that cross from one to the other.

use super::{Access, Request};
use crate::program::Reg;

/// Operations that run together.
pub(super) enum Group {
    /// One loop, with every value in a register. `copies` are inputs that a later call needs contiguous, with the table
    /// entries of their tiles.
    Segment { ops: Vec<u32>, copies: Vec<(Reg, u32)> },
    /// A call of a tile function.
    Call(u32),
}

pub(super) struct Schedule {
    pub(super) groups: Vec<Group>,
    /// The table entry of each register of the program; `NOWHERE` if only one segment uses it.
    pub(super) entries: Vec<u32>,
    /// The table entry of each input's copy; `NOWHERE` if it has none.
    copies: Vec<u32>,
    /// The scratch tiles: for each, the bytes of an element. Their rows have no gaps.
    pub(super) scratch: Vec<u8>,
}

pub(super) const NOWHERE: u32 = u32::MAX;

impl Schedule {
    /// The schedule of a program; `None` if a call needs an input that can be neither passed nor copied.
    pub(super) fn new(r: &Request<'_>) -> Option<Self> {
        let inputs = r.inputs.len();
        let stage = stages(r);
        let mut order: Vec<u32> = (0..r.ops.len() as u32).filter(|&k| stage[k as usize] != NOWHERE).collect();
        order.sort_by_key(|&k| stage[k as usize]);
        // Inputs that calls read and that are not contiguous over all rows.
        let mut copies: Vec<(Reg, u32)> = Vec::new();
        for &k in order.iter().filter(|&&k| !r.is_simple(k)) {
            for &x in r.ops[k as usize].operands() {
                if (x as usize) < inputs
                    && r.access[x as usize] != Access::Whole
                    && !copies.iter().any(|c| c.0 == x)
                {
                    if !r.is_loadable(x) {
                        return None;
                    }
                    copies.push((x, NOWHERE));
                }
            }
        }
        let mut groups: Vec<Group> = Vec::new();
        if !copies.is_empty() {
            groups.push(Group::Segment { ops: Vec::new(), copies });
        }
        let mut segment = (!groups.is_empty()).then_some(0);
        for &k in &order {
            let now = stage[k as usize];
            match groups.last_mut() {
                Some(Group::Segment { ops, .. }) if r.is_simple(k) && segment == Some(now) => ops.push(k),
                _ if r.is_simple(k) => {
                    groups.push(Group::Segment { ops: vec![k], copies: Vec::new() });
                    segment = Some(now);
                }
                _ => groups.push(Group::Call(k)),
            }
        }
        let mut schedule = Self {
            groups,
            entries: vec![NOWHERE; inputs + r.ops.len()],
            copies: vec![NOWHERE; inputs],
            scratch: Vec::new(),
        };
        schedule.assign_entries(r);
        schedule.can_sum(r).then_some(schedule)
    }

    /// Whether the output that is summed, if there is one, is computed in a segment and read by no other group. Such an output
    /// is not stored, so no other group could read it.
    fn can_sum(&self, r: &Request<'_>) -> bool {
        let Some(x) = r.sum.map(|o| r.outputs[o]) else { return true };
        let op = x - r.inputs.len() as u32;
        r.is_simple(op)
            && r.dtype(x) == r.lanes
            && self.groups.iter().all(|group| match group {
                Group::Call(k) => !r.ops[*k as usize].operands().contains(&x),
                Group::Segment { ops, .. } => {
                    ops.contains(&op) || ops.iter().all(|&k| !r.ops[k as usize].operands().contains(&x))
                }
            })
    }

    /// The table entry at which a register's elements are contiguous.
    pub(super) fn contiguous(&self, x: Reg) -> u32 {
        match self.copies.get(x as usize) {
            Some(&copy) if copy != NOWHERE => copy,
            _ => self.entries[x as usize],
        }
    }

    fn assign_entries(&mut self, r: &Request<'_>) {
        let inputs = r.inputs.len();
        for (k, p) in self.entries.iter_mut().enumerate().take(inputs) {
            *p = k as u32;
        }
        for (k, &x) in r.outputs.iter().enumerate() {
            self.entries[x as usize] = (inputs + k) as u32;
        }
        // For each register, the group that computes it and the last group that reads it.
        let mut made = vec![NOWHERE; self.entries.len()];
        let mut last = vec![0u32; self.entries.len()];
        for (g, group) in self.groups.iter().enumerate() {
            let ops = match group {
                Group::Segment { ops, .. } => &ops[..],
                Group::Call(op) => std::slice::from_ref(op),
            };
            for &k in ops {
                made[r.reg(k) as usize] = g as u32;
                r.ops[k as usize].operands().iter().for_each(|&x| last[x as usize] = g as u32);
            }
        }
        let first_scratch = (inputs + r.outputs.len()) as u32;
        let mut free: Vec<u32> = Vec::new();
        let mut ends: Vec<Vec<u32>> = vec![Vec::new(); self.groups.len()];
        let mut tile = |free: &mut Vec<u32>, x: Reg| {
            let bytes = r.dtype(x).size() as u8;
            match free.iter().rposition(|&t| self.scratch[(t - first_scratch) as usize] == bytes) {
                Some(i) => free.swap_remove(i),
                None => {
                    self.scratch.push(bytes);
                    first_scratch + self.scratch.len() as u32 - 1
                }
            }
        };
        for (g, group) in self.groups.iter_mut().enumerate() {
            let crosses = |k: &&u32| {
                let x = r.reg(**k) as usize;
                let needed = matches!(made[x], m if m as usize == g && (last[x] > m || !r.is_simple(**k)));
                needed && self.entries[x] == NOWHERE
            };
            let new: Vec<u32> = match group {
                Group::Segment { ops, .. } => ops.iter().filter(crosses).copied().collect(),
                Group::Call(op) => std::iter::once(&*op).filter(crosses).copied().collect(),
            };
            for k in new {
                let x = r.reg(k) as usize;
                self.entries[x] = tile(&mut free, x as Reg);
                ends[last[x] as usize].push(self.entries[x]);
            }
            if let Group::Segment { copies, .. } = group {
                for (x, to) in copies.iter_mut() {
                    *to = tile(&mut free, *x);
                    self.copies[*x as usize] = *to;
                    ends[last[*x as usize] as usize].push(*to);
                }
            }
            free.append(&mut ends[g]);
        }
    }
}

impl Group {
    /// The table entries that a segment reads or writes.
    pub(super) fn pointers(&self, schedule: &Schedule, r: &Request<'_>) -> Vec<u32> {
        let Group::Segment { ops, copies } = self else { return Vec::new() };
        let mut found = Vec::new();
        let mut add = |p: u32| {
            if p != NOWHERE {
                found.push(p);
            }
        };
        for &(x, to) in copies {
            add(schedule.entries[x as usize]);
            add(to);
        }
        for &k in ops {
            r.ops[k as usize].operands().iter().for_each(|&x| add(schedule.entries[x as usize]));
            add(schedule.entries[r.reg(k) as usize]);
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}

/// The stage of each operation: segments have even numbers, calls odd ones; `NOWHERE` for results without readers.
///
/// An operation runs as early as its operands allow. Only an operation on inputs alone waits for its first reader: inputs
/// can be read again without cost, while a value that is computed early takes a tile.
fn stages(r: &Request<'_>) -> Vec<u32> {
    let inputs = r.inputs.len();
    let count = r.ops.len();
    let mut users = vec![0u32; inputs + count];
    let mut needed = vec![false; inputs + count];
    let mut is_output = vec![false; count];
    for &x in r.outputs {
        needed[x as usize] = true;
        is_output[x as usize - inputs] = true;
    }
    for k in (0..count).rev() {
        if needed[inputs + k] {
            for &x in r.ops[k].operands() {
                users[x as usize] += 1;
                needed[x as usize] = true;
            }
        }
    }
    let mut early = vec![0u32; count];
    // Whether an operation depends on inputs alone, and it and its predecessors have one reader each.
    let mut movable = vec![false; count];
    for k in 0..count {
        let simple = r.is_simple(k as u32);
        let mut at = u32::from(!simple);
        let mut moves = simple;
        for &x in r.ops[k].operands().iter().filter(|&&x| x as usize >= inputs) {
            let from = x as usize - inputs;
            let after = if r.is_simple(from as u32) == simple { early[from] } else { early[from] + 1 };
            at = at.max(after);
            moves &= movable[from] && users[x as usize] == 1;
        }
        (early[k], movable[k]) = (at, moves);
    }
    let mut late = vec![NOWHERE; count];
    let mut stage = early.clone();
    for k in (0..count).rev() {
        if movable[k] && late[k] != NOWHERE && !is_output[k] {
            stage[k] = late[k].max(early[k]);
        }
        let by = if r.is_simple(k as u32) { stage[k] } else { stage[k] - 1 };
        for &x in r.ops[k].operands().iter().filter(|&&x| x as usize >= inputs) {
            let from = &mut late[x as usize - inputs];
            *from = (*from).min(by);
        }
    }
    for (k, s) in stage.iter_mut().enumerate() {
        if !needed[inputs + k] {
            *s = NOWHERE;
        }
    }
    stage
}
