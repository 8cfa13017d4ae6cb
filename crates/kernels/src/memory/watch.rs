//! Two aids for tests of memory use: blocks filled with conspicuous values, and requests that fail. Both together cost one
//! relaxed load when they are off.
//!
//! A new block has the values of its last use, or zeros from the system. So a kernel that reads an element before it writes
//! it gives the right result most of the time. If blocks are filled with conspicuous values (NaN, extreme integers, true),
//! the result is wrong every time. Builds with debug assertions fill all memory; other builds do so with
//! `COVECTOR_FILL_MEMORY=1` in the environment, and `COVECTOR_FILL_MEMORY=0` turns it off in all builds.

use crate::dtype::Dtype;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicIsize, AtomicU8, Ordering::Relaxed};

/// The bits of [`STATE`]: the environment is not read yet; memory is filled with either kind of values; a request will fail.
const UNREAD: u8 = 1;
const SIGNAL: u8 = 2;
const LARGE: u8 = 4;
const FAILING: u8 = 8;

static STATE: AtomicU8 = AtomicU8::new(UNREAD);
/// The number of requests before the one that fails.
static LEFT: AtomicIsize = AtomicIsize::new(0);

/// The values that memory is filled with before it is handed out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fill {
    /// None: memory is not filled.
    Off,
    /// NaN, the least signed and the greatest unsigned integers, true.
    Signal,
    /// Large numbers, with which arithmetic gives ordinary results, and false. If the result differs from that under
    /// [`Fill::Signal`], it depends on memory that was not written.
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

/// Fills a block that is handed out, if filling is on. `dtype` is the type of its elements, if it is known.
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
    // SAFETY: the caller hands out these bytes, and no other code uses them yet.
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

/// Whether a request for memory may succeed; false for the one that [`fail_after`] selects.
#[inline]
pub fn grant() -> bool {
    STATE.load(Relaxed) & FAILING == 0 || grant_watched()
}

#[cold]
fn grant_watched() -> bool {
    LEFT.fetch_sub(1, Relaxed) != 0
}

/// Sets the values that memory is filled with, and returns the former setting.
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

/// Makes one request for memory fail, of arrays or of working memory: the next one for 0, the one after it for 1, none for
/// `None`.
pub fn fail_after(requests: Option<usize>) {
    let before = state();
    LEFT.store(requests.map_or(0, |n| isize::try_from(n).unwrap_or(isize::MAX)), Relaxed);
    STATE.store(if requests.is_some() { before | FAILING } else { before & !FAILING }, Relaxed);
}

/// Whether the request that [`fail_after`] selected was made and has failed.
pub fn failed() -> bool {
    state() & FAILING != 0 && LEFT.load(Relaxed) < 0
}
