//! Memory for packed operands and sums, which each thread keeps from call to call.

use crate::memory::Memory;
use crate::scratch::{Kept, Line, at_least, lines};
use std::cell::Cell;

thread_local! {
    /// Packed operands of the product that this thread has started, shared by all its parts.
    pub(super) static SHARED: Kept = const { Cell::new(None) };
    /// Packed rows or columns of the part that this thread runs.
    pub(super) static LOCAL: Kept = const { Cell::new(None) };
    /// Packed operands for all parts that this thread runs, with the number of the step that they belong to.
    static OWN: Cell<Option<(u64, Memory<Line>)>> = const { Cell::new(None) };
    /// Results in the accumulators' type, before they are rounded to half precision.
    pub(super) static SUMS: Kept = const { Cell::new(None) };
    /// Partial sums before they are added up.
    pub(super) static PARTIAL: Kept = const { Cell::new(None) };
}

/// Runs with the operands that this thread has packed for a step; packs them first if it has not.
pub(super) fn own<T>(step: u64, count: usize, pack: impl FnOnce(*mut T), run: impl FnOnce(*mut T)) {
    let lines = lines::<T>(count);
    let memory = match OWN.take() {
        Some((packed, memory)) if packed == step && memory.len() >= lines => memory,
        other => {
            let memory = at_least(other.map(|(_, memory)| memory), lines);
            pack(memory.ptr().cast());
            memory
        }
    };
    run(memory.ptr().cast());
    OWN.set(Some((step, memory)));
}
