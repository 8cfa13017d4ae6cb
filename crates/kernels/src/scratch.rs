//! Working memory that a thread keeps from call to call.

use crate::memory::Memory;
use std::cell::Cell;
use std::thread::LocalKey;

/// A cache line.
pub(crate) type Line = [u64; 8];
/// Working memory in a thread's keeping.
pub(crate) type Kept = Cell<Option<Memory<Line>>>;

/// The most bytes that a thread keeps in one place.
const KEEP: usize = 16 << 20;

/// Lines that `count` elements need.
pub(crate) fn lines<T>(count: usize) -> usize {
    count.saturating_mul(size_of::<T>()).div_ceil(size_of::<Line>())
}

/// Runs with memory for `count` elements, aligned to a cache line, whose contents are not defined; kept for the next call
/// unless very large.
pub(crate) fn scratch<T, R>(kept: &'static LocalKey<Kept>, count: usize, run: impl FnOnce(*mut T) -> R) -> R {
    let lines = lines::<T>(count);
    // Taken out while in use: work that listens to a product may run products of its own.
    let memory = at_least(kept.take(), lines);
    let result = run(memory.ptr().cast());
    if memory.len() * size_of::<Line>() <= KEEP {
        kept.set(Some(memory));
    }
    result
}

/// The memory if it is large enough, else new memory.
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
