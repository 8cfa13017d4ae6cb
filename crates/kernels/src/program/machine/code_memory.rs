//! Memory for machine code.
//!
//! The same pages are mapped twice, once writable and once executable. No mapping is both, and adding code to a page needs no
//! system call. If the system refuses such memory, programs are interpreted.

use crate::memory::linux::{mmap, munmap};
use std::ffi::{c_char, c_int, c_long, c_uint};
use std::sync::{Arc, Mutex};

/// Bytes of a chunk; longer code gets a chunk of its own.
const CHUNK: usize = 1 << 18;
/// Code begins at a multiple of this, a cache line.
const ALIGN: usize = 64;

unsafe extern "C" {
    fn memfd_create(name: *const c_char, flags: c_uint) -> c_int;
    fn ftruncate(fd: c_int, len: c_long) -> c_int;
    fn close(fd: c_int) -> c_int;
}

const READ: c_int = 1;
const WRITE: c_int = 2;
const EXECUTE: c_int = 4;
const SHARED: c_int = 1;
const CLOSE_ON_EXEC: c_uint = 1;

/// Pages that are mapped twice.
struct Chunk {
    write: *mut u8,
    run: *mut u8,
    bytes: usize,
}
// SAFETY: addresses of memory that the chunk owns; `install` says which bytes it writes.
unsafe impl Send for Chunk {}
// SAFETY: as above.
unsafe impl Sync for Chunk {}

impl Chunk {
    fn new(bytes: usize) -> Option<Self> {
        // SAFETY: new mappings at addresses that the system chooses; the result of every call is checked.
        unsafe {
            let fd = memfd_create(c"covector".as_ptr(), CLOSE_ON_EXEC);
            if fd < 0 {
                return None;
            }
            let map = |prot| {
                let at = mmap(std::ptr::null_mut(), bytes, prot, SHARED, fd, 0);
                (at as isize != -1).then_some(at.cast::<u8>())
            };
            let made = if ftruncate(fd, bytes as c_long) == 0 {
                match (map(READ | WRITE), map(READ | EXECUTE)) {
                    (Some(write), Some(run)) => Some(Self { write, run, bytes }),
                    (write, run) => {
                        for at in [write, run].into_iter().flatten() {
                            munmap(at.cast(), bytes);
                        }
                        None
                    }
                }
            } else {
                None
            };
            close(fd);
            made
        }
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        // SAFETY: mapped in `new`; every `Installed` in the chunk holds a reference to it.
        unsafe {
            munmap(self.write.cast(), self.bytes);
            munmap(self.run.cast(), self.bytes);
        }
    }
}

/// Executable code.
pub(super) struct Installed {
    start: *const u8,
    #[expect(dead_code, reason = "held for its drop, which unmaps the code")]
    chunk: Arc<Chunk>,
}
// SAFETY: code is only read and executed.
unsafe impl Send for Installed {}
// SAFETY: as above.
unsafe impl Sync for Installed {}

/// The chunk that is being filled.
struct Filling {
    chunk: Arc<Chunk>,
    used: usize,
    /// The process that fills it: after a fork, parent and child share the pages.
    process: u32,
}

static FILLING: Mutex<Option<Filling>> = Mutex::new(None);

/// Copies code to executable memory; `None` if the system gives no memory for it.
pub(super) fn install(code: &[u8]) -> Option<Installed> {
    let mut filling = FILLING.lock().unwrap_or_else(|e| e.into_inner());
    let process = std::process::id();
    if filling.as_ref().is_none_or(|f| f.process != process || f.chunk.bytes - f.used < code.len()) {
        let chunk = Arc::new(Chunk::new(code.len().next_multiple_of(CHUNK))?);
        *filling = Some(Filling { chunk, used: 0, process });
    }
    let Filling { chunk, used, .. } = filling.as_mut()?;
    // SAFETY: the bytes from `used` on are in the chunk, and no code there is in use yet.
    unsafe { std::ptr::copy_nonoverlapping(code.as_ptr(), chunk.write.add(*used), code.len()) };
    let start = chunk.run.wrapping_add(*used).cast_const();
    *used = (*used + code.len()).next_multiple_of(ALIGN).min(chunk.bytes);
    Some(Installed { start, chunk: chunk.clone() })
}

impl Installed {
    pub(super) fn start(&self) -> *const u8 {
        self.start
    }
}
