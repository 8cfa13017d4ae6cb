//! Memory from the system: large blocks in huge pages, if the system has them.
//!
//! The first access to a page costs more than the arithmetic on its elements, and a huge page has one first access instead
//! of 512. A block is mapped but not written, so only pages that are written become resident.
//!
//! Kernels allocate their working memory here, too (`Memory`, `List`, `scratch`). If there is none, the kernel ends by
//! unwinding with [`NoMemory`], on any thread, and [`checked`] turns that into an error. So no kernel can forget to return
//! the error, and none spends time on it.

mod list;
#[doc(hidden)]
pub mod watch;

pub(crate) use list::List;
use std::alloc::Layout;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::NonNull;
use std::sync::{Mutex, OnceLock};

/// The least alignment of every block, in bytes.
pub const ALIGN: usize = 64;

/// The size of a huge page. Blocks of at least this size start at a multiple of it.
pub const HUGE: usize = 2 << 20;

/// Allocates a block of `bytes` uninitialised bytes; `None` if there is no memory for it or `bytes` is 0.
pub fn allocate(bytes: usize) -> Option<NonNull<u8>> {
    if bytes == 0 || bytes > isize::MAX as usize - 2 * HUGE {
        return None;
    }
    #[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
    if bytes >= HUGE {
        return linux::map(bytes);
    }
    let layout = Layout::from_size_align(bytes, ALIGN).ok()?;
    // SAFETY: the layout's size is not zero.
    NonNull::new(unsafe { std::alloc::alloc(layout) })
}

/// Frees a block.
///
/// # Safety
/// `block` came from [`allocate`] with the same size, and is not used afterwards.
pub unsafe fn release(block: NonNull<u8>, bytes: usize) {
    #[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
    if bytes >= HUGE {
        // SAFETY: the caller's contract.
        return unsafe { linux::unmap(block.as_ptr(), bytes) };
    }
    // SAFETY: `allocate` allocated it with this layout.
    unsafe { std::alloc::dealloc(block.as_ptr(), Layout::from_size_align_unchecked(bytes, ALIGN)) };
}

/// The error that there is no memory for a kernel's working memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoMemory {
    /// The bytes that were requested.
    pub bytes: usize,
}

impl NoMemory {
    /// Ends the kernel by unwinding. `panic!` would print a message, but this error is reported by the caller.
    fn raise(self) -> ! {
        resume_unwind(Box::new(self))
    }
}

impl std::fmt::Display for NoMemory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "could not allocate {} bytes of working memory", self.bytes)
    }
}
impl std::error::Error for NoMemory {}

/// Runs kernels. If one of them ends because it could not allocate working memory, its outputs are incomplete. Panics pass
/// through.
///
/// In builds with `panic = "abort"`, missing working memory aborts, too.
///
/// # Errors
/// [`NoMemory`] if working memory could not be allocated.
pub fn checked<R>(run: impl FnOnce() -> R) -> Result<R, NoMemory> {
    // Values that `run` has left in an inconsistent state are dropped with its result.
    catch_unwind(AssertUnwindSafe(run)).map_err(|payload| match payload.downcast::<NoMemory>() {
        Ok(error) => *error,
        Err(panic) => resume_unwind(panic),
    })
}

/// The function that frees memory which the layer above keeps for reuse.
static RELIEF: OnceLock<fn()> = OnceLock::new();

/// Sets the function that frees memory which the layer above keeps for reuse; [`relieve`] calls it. Only the first call has
/// an effect.
pub fn set_relief(relief: fn()) {
    let _ = RELIEF.set(relief);
}

/// Returns all memory that is kept for reuse to the system.
pub fn relieve() {
    let spares = std::mem::take(&mut *SPARE.lock().unwrap_or_else(|e| e.into_inner()));
    for Spare(block, bytes) in spares {
        // SAFETY: allocated with this size, and owned by this list alone.
        unsafe { release(block, bytes) };
    }
    if let Some(relief) = RELIEF.get() {
        relief();
    }
}

/// Working memory of a kernel: uninitialised elements.
pub(crate) struct Memory<T> {
    ptr: NonNull<u8>,
    bytes: usize,
    len: usize,
    _elements: std::marker::PhantomData<T>,
}
// SAFETY: memory that the value owns.
unsafe impl<T: Send> Send for Memory<T> {}
// SAFETY: a shared value only returns its address.
unsafe impl<T: Sync> Sync for Memory<T> {}

/// A block of working memory that is not in use, and its size.
struct Spare(NonNull<u8>, usize);
// SAFETY: memory that the value owns.
unsafe impl Send for Spare {}

/// Blocks kept for reuse: the system clears fresh pages, which takes longer than most kernels that need working memory.
static SPARE: Mutex<Vec<Spare>> = Mutex::new(Vec::new());
/// The most blocks that are kept, and the sizes of blocks that are kept.
const SPARES: usize = 4;
const SPARE_BYTES: std::ops::RangeInclusive<usize> = 1 << 16..=16 << 20;

impl<T: Copy> Memory<T> {
    /// Allocates memory for `len` elements. If there is none, the kernel ends with [`NoMemory`]; see [`checked`].
    pub(crate) fn new(len: usize) -> Self {
        const { assert!(align_of::<T>() <= ALIGN) };
        let bytes = len.saturating_mul(size_of::<T>()).max(ALIGN);
        let kept = SPARE_BYTES.contains(&bytes);
        let bytes = if kept { bytes.next_power_of_two() } else { bytes };
        let spare = || {
            let mut spares = SPARE.lock().unwrap_or_else(|e| e.into_inner());
            let at = spares.iter().position(|s| s.1 == bytes)?;
            Some(spares.swap_remove(at).0)
        };
        let fresh = || {
            allocate(bytes).or_else(|| {
                relieve();
                allocate(bytes)
            })
        };
        let ptr = if watch::grant() { if kept { spare() } else { None }.or_else(fresh) } else { None };
        let Some(ptr) = ptr else { NoMemory { bytes }.raise() };
        watch::fill(ptr, bytes, None);
        Self { ptr, bytes, len, _elements: std::marker::PhantomData }
    }

    /// Reuses the first `len` elements as if they were newly allocated: their contents are not needed any more.
    pub(crate) fn again(&self, len: usize) {
        let bytes = len * size_of::<T>();
        debug_assert!(bytes <= self.bytes);
        if !watch::grant() {
            NoMemory { bytes }.raise();
        }
        watch::fill(self.ptr, bytes, None);
    }

    /// The number of elements.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The address of the first element. Code that writes there ensures that no other code uses the same elements.
    pub(crate) fn ptr(&self) -> *mut T {
        self.ptr.as_ptr().cast()
    }
}

impl<T> Drop for Memory<T> {
    fn drop(&mut self) {
        let mut old = Spare(self.ptr, self.bytes);
        if SPARE_BYTES.contains(&self.bytes) {
            let mut spares = SPARE.lock().unwrap_or_else(|e| e.into_inner());
            spares.push(old);
            if spares.len() <= SPARES {
                return;
            }
            old = spares.remove(0);
        }
        // SAFETY: allocated in `new` with this size, and owned by this value alone.
        unsafe { release(old.0, old.1) };
    }
}

/// The machine's memory in bytes; `None` if the system does not report it.
pub fn physical_memory() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<usize>().ok()?.checked_mul(1024)
}

/// Three functions of the C library, to which the standard library is linked anyway, declared here instead of in another
/// dependency.
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(crate) mod linux {
    use super::HUGE;
    use std::ffi::{c_int, c_void};
    use std::ptr::NonNull;

    const READ_WRITE: c_int = 1 | 2;
    const PRIVATE_ANONYMOUS: c_int = 0x02 | 0x20;
    const HUGEPAGE: c_int = 14;

    unsafe extern "C" {
        pub(crate) fn mmap(
            addr: *mut c_void,
            len: usize,
            prot: c_int,
            flags: c_int,
            fd: c_int,
            offset: i64,
        ) -> *mut c_void;
        pub(crate) fn munmap(addr: *mut c_void, len: usize) -> c_int;
        fn madvise(addr: *mut c_void, len: usize, advice: c_int) -> c_int;
    }

    /// Only whole pages can be mapped and unmapped; 64 KiB is a multiple of every page size of these machines.
    fn pages(bytes: usize) -> usize {
        bytes.next_multiple_of(1 << 16)
    }

    pub(super) fn map(bytes: usize) -> Option<NonNull<u8>> {
        let len = pages(bytes);
        // SAFETY: a new mapping at an address that the system chooses; its excess is unmapped below.
        let start = unsafe { mmap(std::ptr::null_mut(), len + HUGE, READ_WRITE, PRIVATE_ANONYMOUS, -1, 0) };
        if start as isize == -1 {
            return None;
        }
        let front = start.align_offset(HUGE);
        // SAFETY: both ends are within the new mapping, on page boundaries, and unused. The advice is about this mapping;
        // the system may ignore it.
        unsafe {
            let block = start.byte_add(front);
            if front > 0 {
                munmap(start, front);
            }
            if front < HUGE {
                munmap(block.byte_add(len), HUGE - front);
            }
            madvise(block, len, HUGEPAGE);
            NonNull::new(block.cast())
        }
    }

    /// # Safety
    /// As for [`release`](super::release).
    pub(super) unsafe fn unmap(block: *mut u8, bytes: usize) {
        // SAFETY: `map` mapped exactly this.
        unsafe { munmap(block.cast(), pages(bytes)) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The resident memory of this process.
    fn resident() -> Option<usize> {
        let text = std::fs::read_to_string("/proc/self/statm").ok()?;
        Some(text.split_whitespace().nth(1)?.parse::<usize>().ok()? * 4096)
    }

    #[test]
    fn blocks_of_all_sizes_are_aligned_and_writable() {
        for bytes in [1, 64, 4096, HUGE - 1, HUGE, HUGE + 1, 3 * HUGE + 12345, 40 << 20] {
            let block = allocate(bytes).unwrap();
            let least = if cfg!(target_os = "linux") && bytes >= HUGE { HUGE } else { ALIGN };
            assert!((block.as_ptr() as usize).is_multiple_of(least), "{bytes}");
            // SAFETY: the first and the last byte of the block, which is then given back.
            unsafe {
                block.as_ptr().write(1);
                block.as_ptr().add(bytes - 1).write(2);
                assert_eq!(
                    block.as_ptr().read() + block.as_ptr().add(bytes - 1).read(),
                    if bytes == 1 { 4 } else { 3 }
                );
                release(block, bytes);
            }
        }
        assert!(allocate(0).is_none() && allocate(usize::MAX).is_none() && allocate(1 << 60).is_none());
    }

    #[test]
    fn only_what_is_written_is_resident() {
        if resident().is_none() {
            return;
        }
        let before = resident().unwrap();
        let bytes = 512 << 20;
        let block = allocate(bytes).unwrap();
        // SAFETY: within the block.
        unsafe { block.as_ptr().write_bytes(1, 32 << 20) };
        let grown = resident().unwrap().saturating_sub(before);
        assert!((24 << 20..128 << 20).contains(&grown), "{grown} bytes for 32 MiB written");
        // SAFETY: from `allocate`, not used again.
        unsafe { release(block, bytes) };
    }

    #[test]
    fn the_machine_has_memory() {
        if cfg!(target_os = "linux") {
            assert!(physical_memory().unwrap() > 64 << 20);
        }
    }
}
