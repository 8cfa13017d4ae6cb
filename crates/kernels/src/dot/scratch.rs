//! Memory for packed operands and sums, which each thread keeps.

use crate::memory::Memory;
use crate::scratch::{Kept, Line, at_least, lines};
use std::cell::Cell;

thread_local! {
    /// Packed operands of the product that this thread has begun.
    pub(super) static SHARED: Kept = const { Cell::new(None) };
    /// Packed rows or columns of the part that this thread works on.
    pub(super) static LOCAL: Kept = const { Cell::new(None) };
    /// What this thread has packed for all parts that it works on, and of which step of which product.
    static OWN: Cell<Option<(u64, Memory<Line>)>> = const { Cell::new(None) };
    /// Sums before they are narrowed.
    pub(super) static SUMS: Kept = const { Cell::new(None) };
    /// Sums before they are added up.
    pub(super) static PARTIAL: Kept = const { Cell::new(None) };
}

/// Runs with what the thread has packed for this step, which `pack` does where it has not.
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
