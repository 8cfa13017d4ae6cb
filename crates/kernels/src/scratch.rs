//! Scratch memory that a thread keeps from call to call.

use crate::memory::Memory;
use std::cell::Cell;
use std::thread::LocalKey;

/// A cache line.
pub(crate) type Line = [u64; 8];
/// A thread-local place for scratch memory.
pub(crate) type Kept = Cell<Option<Memory<Line>>>;

/// The most bytes that a thread keeps in one such place.
const KEEP: usize = 16 << 20;

/// The number of lines for `count` elements.
pub(crate) fn lines<T>(count: usize) -> usize {
    count.saturating_mul(size_of::<T>()).div_ceil(size_of::<Line>())
}

/// Runs with uninitialised memory for `count` elements, aligned to a cache line. The memory is kept for the next call unless
/// it is very large.
pub(crate) fn scratch<T, R>(kept: &'static LocalKey<Kept>, count: usize, run: impl FnOnce(*mut T) -> R) -> R {
    let lines = lines::<T>(count);
    // Taken out while in use: a callback of a product may run a product of its own on this thread.
    let memory = at_least(kept.take(), lines);
    let result = run(memory.ptr().cast());
    if memory.len() * size_of::<Line>() <= KEEP {
        kept.set(Some(memory));
    }
    result
}

/// Returns `memory` if it is large enough, else new memory.
pub(crate) fn at_least(memory: Option<Memory<Line>>, lines: usize) -> Memory<Line> {
    match memory.filter(|memory| memory.len() >= lines) {
        Some(memory) => {
            memory.again(lines);
            memory
        }
        None if lines * size_of::<Line>() <= KEEP => Memory::new(lines.next_power_of_two()),
        None => Memory::new(lines),
    }
}
