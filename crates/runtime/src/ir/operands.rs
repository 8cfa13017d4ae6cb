//! Lists of different operands: what a stage reads, each once.

use super::Operand;
use rustc_hash::FxHashMap;
use std::ops::Deref;

/// Longer lists are indexed; shorter ones are searched faster than an index is built.
const SEARCHED: usize = 32;

/// Different operands, in the order in which they were added, and the position of each. A program over single numbers may
/// read some thousand of them.
#[derive(Clone, Default)]
pub(crate) struct Operands {
    list: Vec<Operand>,
    /// Of lists longer than [`SEARCHED`], the position of each operand.
    positions: FxHashMap<Operand, u32>,
}

impl Operands {
    /// The position of an operand, if it is in the list.
    pub(crate) fn position(&self, x: &Operand) -> Option<usize> {
        if self.positions.is_empty() {
            return self.list.iter().position(|y| y == x);
        }
        self.positions.get(x).map(|&position| position as usize)
    }

    /// The position of an operand, which is added if it is new.
    pub(crate) fn add(&mut self, x: &Operand) -> usize {
        if let Some(position) = self.position(x) {
            return position;
        }
        let position = self.list.len();
        self.list.push(x.clone());
        if !self.positions.is_empty() {
            self.positions.insert(x.clone(), position as u32);
        } else if position >= SEARCHED {
            self.index();
        }
        position
    }

    /// Keeps the operands for which `keep` is true.
    pub(crate) fn retain(&mut self, keep: impl FnMut(&Operand) -> bool) {
        self.list.retain(keep);
        self.index();
    }

    /// Renames the values of the operands. They stay different.
    pub(crate) fn rename(&mut self, mut name: impl FnMut(u32) -> u32) {
        self.list.iter_mut().for_each(|x| x.value = name(x.value));
        self.index();
    }

    fn index(&mut self) {
        self.positions.clear();
        if self.list.len() > SEARCHED {
            self.positions.extend(self.list.iter().cloned().zip(0..));
        }
    }
}

impl Deref for Operands {
    type Target = [Operand];
    fn deref(&self) -> &[Operand] {
        &self.list
    }
}
