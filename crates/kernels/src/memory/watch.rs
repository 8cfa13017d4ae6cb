//! Two tests of how memory is used, which cost one relaxed load where neither is on: blocks that are filled with values
//! nobody would write, and requests that fail.
//!
//! Memory comes with the values of its last use, or with zeros from the system, so a kernel that reads an element before
//! it writes it is right most of the time. Filled with signalling values (NaN, extreme integers, true) it is wrong every
//! time. Builds with debug assertions fill all memory; other builds do with `COVECTOR_FILL_MEMORY=1` in the environment,
//! and `COVECTOR_FILL_MEMORY=0` turns it off anywhere.

use crate::dtype::Dtype;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicIsize, AtomicU8, Ordering::Relaxed};

/// The bits of [`STATE`]: not read from the environment yet, filling with either kind of values, failing a request.
const UNREAD: u8 = 1;
const SIGNAL: u8 = 2;
const LARGE: u8 = 4;
const FAILING: u8 = 8;

static STATE: AtomicU8 = AtomicU8::new(UNREAD);
/// Requests before the one that fails.
static LEFT: AtomicIsize = AtomicIsize::new(0);

/// What memory is filled with before it is handed out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fill {
    /// Nothing: it is as it was.
    Off,
    /// NaN, the least signed and the greatest unsigned integers, true.
    Signal,
    /// Large numbers, which arithmetic does not mark as wrong, and false: a result that differs from the one under
    /// [`Fill::Signal`] depends on memory that was not written.
    Large,
}

/// The state, read from the environment the first time.
fn state() -> u8 {
    match STATE.load(Relaxed) {
        UNREAD => {
            let fill = match std::env::var("COVECTOR_FILL_MEMORY") {
                Ok(value) => !matches!(value.as_str(), "" | "0"),
                Err(_) => cfg!(debug_assertions),
            };
            let _ = STATE.compare_exchange(UNREAD, if fill { SIGNAL } else { 0 }, Relaxed, Relaxed);
            STATE.load(Relaxed)
        }
        state => state,
    }
}

/// Fills a block that is handed out for elements of a type, or for anything, if memory is to be filled.
#[inline]
pub fn fill(block: NonNull<u8>, bytes: usize, dtype: Option<Dtype>) {
    if STATE.load(Relaxed) != 0 {
        fill_watched(block, bytes, dtype);
    }
}

#[cold]
fn fill_watched(block: NonNull<u8>, bytes: usize, dtype: Option<Dtype>) {
    let state = state();
    if state & (SIGNAL | LARGE) == 0 {
        return;
    }
    // All bits set are NaN in every floating-point type, and the greatest unsigned integer. 0x7b7b… is 6e4 in half
    // precision, 1e36 in float32 and 1e286 in float64. Only 0 and 1 are truth values.
    let byte = match (dtype, state & SIGNAL != 0) {
        (Some(Dtype::Bool), signal) => u8::from(signal),
        (_, true) => 0xff,
        (_, false) => 0x7b,
    };
    // SAFETY: the caller hands out these bytes, which nobody else uses.
    unsafe { block.as_ptr().write_bytes(byte, bytes) };
    if let Some(dtype) = dtype.filter(|d| d.is_signed_integer() && byte == 0xff) {
        // The least number: the byte with the sign is the last on machines of either order that covector runs on.
        let size = dtype.size();
        for element in 0..bytes / size {
            // SAFETY: an element of the block.
            unsafe {
                let element = block.as_ptr().add(element * size);
                element.write_bytes(0, size);
                element.add(if cfg!(target_endian = "little") { size - 1 } else { 0 }).write(0x80);
            }
        }
    }
}

/// Whether a request for memory may go on; false for one that is to fail.
#[inline]
pub fn grant() -> bool {
    STATE.load(Relaxed) & FAILING == 0 || grant_watched()
}

#[cold]
fn grant_watched() -> bool {
    LEFT.fetch_sub(1, Relaxed) != 0
}

/// Sets what memory is filled with, and returns what it was filled with before.
pub fn set_fill(fill: Fill) -> Fill {
    let before = state();
    let bits = match fill {
        Fill::Off => 0,
        Fill::Signal => SIGNAL,
        Fill::Large => LARGE,
    };
    STATE.store(before & FAILING | bits, Relaxed);
    match before {
        b if b & SIGNAL != 0 => Fill::Signal,
        b if b & LARGE != 0 => Fill::Large,
        _ => Fill::Off,
    }
}

/// Makes one request for memory fail, working memory of kernels included: the next one for 0, the one after it for 1;
/// none for `None`.
pub fn fail_after(requests: Option<usize>) {
    let before = state();
    LEFT.store(requests.map_or(0, |n| isize::try_from(n).unwrap_or(isize::MAX)), Relaxed);
    STATE.store(if requests.is_some() { before | FAILING } else { before & !FAILING }, Relaxed);
}

/// Whether the request that [`fail_after`] was told of has been made, and has failed.
pub fn failed() -> bool {
    state() & FAILING != 0 && LEFT.load(Relaxed) < 0
}
