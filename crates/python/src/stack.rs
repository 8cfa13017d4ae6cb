//! The free part of the thread's stack.
//!
//! Python bounds recursion by counting calls. But a call through a transform takes several KiB of stack, and a thread may
//! have only a few hundred. So functions under a transform are called only while the stack has room, and endless
//! recursion ends in an exception on any thread.

use pyo3::PyResult;
use pyo3::exceptions::PyRecursionError;
use std::cell::Cell;

/// The free bytes that a function and its callees need.
const ROOM: usize = 96 << 10;

thread_local! {
    /// The lowest address that this thread may use; 0 while it is unknown.
    static FLOOR: Cell<usize> = const { Cell::new(0) };
}

/// Refuses a deeper call if the stack is nearly full.
pub(crate) fn check(op: &str) -> PyResult<()> {
    let here = 0u8;
    let address = std::ptr::from_ref(&here).addr();
    let mut floor = FLOOR.get();
    if floor == 0 {
        floor = match bounds() {
            // A very small stack keeps a quarter.
            Some((lowest, size)) => lowest + ROOM.min(size / 4),
            // Without bounds from the system, no call is refused.
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
    // SAFETY: both only read data about the calling thread.
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
