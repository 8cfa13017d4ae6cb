//! Memory for packed operands and sums, which each thread keeps.

use crate::block::Memory;
use std::cell::Cell;
use std::thread::LocalKey;

/// Memory that is kept from call to call.
pub(super) type Scratch = Option<Memory<[u64; 8]>>;

thread_local! {
    /// Packed operands of the product that this thread has begun.
    pub(super) static SHARED: Cell<Scratch> = const { Cell::new(None) };
    /// Packed rows or columns of the part that this thread works on.
    pub(super) static LOCAL: Cell<Scratch> = const { Cell::new(None) };
    /// What this thread has packed for all parts that it works on, and of which step of which product.
    static OWN: Cell<Option<(u64, Memory<[u64; 8]>)>> = const { Cell::new(None) };
    /// Sums before they are narrowed.
    pub(super) static SUMS: Cell<Scratch> = const { Cell::new(None) };
    /// Sums before they are added up.
    pub(super) static PARTIAL: Cell<Scratch> = const { Cell::new(None) };
}

/// Runs with memory for `count` elements, whose contents are not defined; kept for the next call unless very large.
pub(super) fn scratch<T, R>(
    cell: &'static LocalKey<Cell<Scratch>>,
    count: usize,
    run: impl FnOnce(*mut T) -> R,
) -> R {
    const KEEP: usize = 16 << 20;
    let lines = (count * size_of::<T>()).div_ceil(64);
    // Taken out while in use: what listens to a product may run products of its own.
    let held = cell.take().filter(|memory| memory.len() >= lines);
    let memory = held.unwrap_or_else(|| Memory::new(lines.next_power_of_two()));
    let result = run(memory.ptr().cast());
    if lines * 64 <= KEEP {
        cell.set(Some(memory));
    }
    result
}

/// Runs with what the thread has packed for this step, which `pack` does where it has not.
pub(super) fn own<T>(step: u64, count: usize, pack: impl FnOnce(*mut T), run: impl FnOnce(*mut T)) {
    let lines = (count * size_of::<T>()).div_ceil(64);
    let (packed, memory) = match OWN.take() {
        Some((packed, memory)) if memory.len() >= lines => (packed, memory),
        _ => (0, Memory::new(lines.next_power_of_two())),
    };
    if packed != step {
        pack(memory.ptr().cast());
    }
    run(memory.ptr().cast());
    OWN.set(Some((step, memory)));
}
