//! Lists of different values: what an instruction reads, each once.

use crate::plan::build::Val;
use rustc_hash::FxHashMap;
use std::ops::Deref;

/// Longer lists are indexed; shorter ones are searched faster than an index is built.
const SEARCHED: usize = 32;

/// Different values, in the order in which they came, and the place of each. A program over single numbers may read some
/// thousand of them.
#[derive(Default)]
pub(crate) struct Distinct {
    values: Vec<Val>,
    /// Of lists longer than [`SEARCHED`], the place of each value.
    places: FxHashMap<Val, u32>,
}

impl Distinct {
    /// The place of a value, if it is in the list.
    pub(crate) fn place(&self, v: &Val) -> Option<usize> {
        if self.places.is_empty() {
            return self.values.iter().position(|x| x == v);
        }
        self.places.get(v).map(|&place| place as usize)
    }

    /// The place of a value, which is added if it is new.
    pub(crate) fn add(&mut self, v: &Val) -> usize {
        if let Some(place) = self.place(v) {
            return place;
        }
        let place = self.values.len();
        self.values.push(v.clone());
        if !self.places.is_empty() {
            self.places.insert(v.clone(), place as u32);
        } else if place >= SEARCHED {
            self.index();
        }
        place
    }

    /// Keeps the values that `keep` says.
    pub(crate) fn retain(&mut self, keep: impl FnMut(&Val) -> bool) {
        self.values.retain(keep);
        self.index();
    }

    /// Changes the values. They stay different.
    pub(crate) fn change(&mut self, change: impl FnMut(&mut Val)) {
        self.values.iter_mut().for_each(change);
        self.index();
    }

    fn index(&mut self) {
        self.places.clear();
        if self.values.len() > SEARCHED {
            self.places.extend(self.values.iter().cloned().zip(0..));
        }
    }
}

impl Deref for Distinct {
    type Target = [Val];
    fn deref(&self) -> &[Val] {
        &self.values
    }
}
