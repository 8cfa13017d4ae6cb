//! How much of the thread's stack is left.
//!
//! Python bounds recursion by counting calls, which says little about the stack: a call that goes through a
//! transform takes several KiB of it, and a thread may have no more than a few hundred. So functions under a
//! transform are called only while there is room, and endless recursion ends in an exception on any thread.

use pyo3::PyResult;
use pyo3::exceptions::PyRecursionError;
use std::cell::Cell;

/// What must be left for a function and what it calls.
const ROOM: usize = 96 << 10;

thread_local! {
    /// The address at which this thread must not go deeper; 0 while it is not known yet.
    static FLOOR: Cell<usize> = const { Cell::new(0) };
}

/// Refuses to go deeper when the stack is nearly used up.
pub(crate) fn check(op: &str) -> PyResult<()> {
    let here = 0u8;
    let address = std::ptr::from_ref(&here).addr();
    let mut floor = FLOOR.get();
    if floor == 0 {
        floor = match bounds() {
            // A very small stack keeps a quarter.
            Some((lowest, size)) => lowest + ROOM.min(size / 4),
            // Where the system does not say, nothing is ever refused.
            None => 1,
        };
        FLOOR.set(floor);
    }
    if address < floor {
        return Err(PyRecursionError::new_err(format!(
            "[{op}] functions under transforms are nested too deeply for the stack of this thread; is the recursion \
             endless? Otherwise run it in a thread with more (threading.stack_size)"
        )));
    }
    Ok(())
}

/// The lowest address of this thread's stack, and its size.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn bounds() -> Option<(usize, usize)> {
    let mut attributes = std::mem::MaybeUninit::<libc::pthread_attr_t>::uninit();
    let (mut lowest, mut size) = (std::ptr::null_mut(), 0);
    // SAFETY: the first call initialises `attributes` when it returns 0; only then are they read and destroyed.
    let known = unsafe {
        if libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) != 0 {
            return None;
        }
        let known = libc::pthread_attr_getstack(attributes.as_ptr(), &mut lowest, &mut size) == 0;
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
        known
    };
    known.then_some((lowest.addr(), size))
}

/// The lowest address of this thread's stack, and its size.
#[cfg(target_vendor = "apple")]
fn bounds() -> Option<(usize, usize)> {
    // SAFETY: both only read what the system knows of the calling thread.
    let (highest, size) = unsafe {
        let me = libc::pthread_self();
        (libc::pthread_get_stackaddr_np(me).addr(), libc::pthread_get_stacksize_np(me))
    };
    Some((highest.checked_sub(size)?, size))
}

/// The lowest address of this thread's stack, and its size.
#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
fn bounds() -> Option<(usize, usize)> {
    None
}
