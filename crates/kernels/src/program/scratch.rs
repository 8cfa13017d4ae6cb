//! The memory of the tiles of programs.

use crate::scratch::{Kept, scratch};
use std::cell::Cell;

thread_local! {
    static TILES: Kept = const { Cell::new(None) };
}

/// Runs with `bytes` bytes of uninitialised memory, aligned to 64.
pub(super) fn with_tiles<R>(bytes: usize, run: impl FnOnce(*mut u8) -> R) -> R {
    scratch(&TILES, bytes, run)
}
