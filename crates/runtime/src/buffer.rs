//! Memory: aligned allocations behind a caching allocator, and strided views into them.
//!
//! A fresh page costs more than the arithmetic done on it, so freed blocks are kept by size class and handed
//! out again.
//!
//! Memory is handed out with whatever it held, so builds with debug assertions fill it with signalling values first: NaN,
//! extreme integers, true. A kernel that reads an element before it writes it is then wrong every time. In other builds
//! `COVECTOR_FILL_MEMORY=1` in the environment does the same, for all memory, the kernels' own included;
//! `COVECTOR_FILL_MEMORY=0` turns it off. Off, it costs nothing.
//!
//! All memory that is as large as the data comes from here or from [`memory`]; a request that cannot be met is an
//! [`Error::Memory`].

use crate::error::{Error, Result};
use crate::shape::{Shape, Strides, checked_size, row_major_strides};
use covector_kernels::{Dtype, Element, Out, View, memory};
use std::any::Any;
use std::cell::UnsafeCell;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock};

const ALIGN: usize = memory::ALIGN;
/// Blocks are rounded up to a quarter of a power of two: at most 25 % is lost, and 4 classes per doubling.
const CLASSES: usize = 4 * 48;

/// Hooks for tests of memory: what it is filled with, and requests that fail.
#[doc(hidden)]
pub use covector_kernels::memory::watch as testing;

static ACTIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
static CACHED: AtomicUsize = AtomicUsize::new(0);
/// How much freed memory is kept for reuse before it goes back to the system.
static CACHE_LIMIT: AtomicUsize = AtomicUsize::new(2 << 30);
static WIRED_LIMIT: AtomicUsize = AtomicUsize::new(0);

struct Block {
    ptr: NonNull<u8>,
    bytes: usize,
}
// SAFETY: a block is plain memory, and the value is its only owner.
unsafe impl Send for Block {}

static CACHE: Mutex<[Vec<Block>; CLASSES]> = Mutex::new([const { Vec::new() }; CLASSES]);

/// The size class of a request and the bytes its blocks have.
fn class_of(bytes: usize) -> (usize, usize) {
    let bytes = bytes.max(ALIGN);
    let top = usize::BITS - 1 - bytes.leading_zeros();
    let quarter = 1usize << (top - 2);
    let steps = (bytes - (1 << top)).div_ceil(quarter);
    (((top as usize - 6) * 4) + steps, (1usize << top).saturating_add(steps * quarter))
}

/// Bytes held by live arrays, apart from those of 16 bytes and less.
pub fn active_memory() -> usize {
    ACTIVE.load(Relaxed)
}

/// The most bytes live arrays have held at once since the last [`reset_peak_memory`].
pub fn peak_memory() -> usize {
    PEAK.load(Relaxed)
}

/// Starts measuring [`peak_memory`] anew.
pub fn reset_peak_memory() {
    PEAK.store(ACTIVE.load(Relaxed), Relaxed);
}

/// Bytes kept for reuse that no array holds.
pub fn cache_memory() -> usize {
    CACHED.load(Relaxed)
}

/// Gives the memory kept for reuse back to the system.
pub fn clear_cache() {
    shrink_cache(0);
}

/// Gives memory kept for reuse back to the system, the largest blocks first, until at most `keep` bytes are left.
fn shrink_cache(keep: usize) {
    if CACHED.load(Relaxed) <= keep {
        return;
    }
    let mut cache = CACHE.lock().unwrap_or_else(|e| e.into_inner());
    for list in cache.iter_mut().rev() {
        while CACHED.load(Relaxed) > keep
            && let Some(block) = list.pop()
        {
            CACHED.fetch_sub(block.bytes, Relaxed);
            // SAFETY: the block came from `allocate` with this size and left the cache, so it is freed here only.
            unsafe { memory::release(block.ptr, block.bytes) };
        }
    }
}

fn memory_limit_cell() -> &'static AtomicUsize {
    static LIMIT: OnceLock<AtomicUsize> = OnceLock::new();
    LIMIT.get_or_init(|| {
        // Nothing is kept for reuse before the limit is looked at.
        memory::set_relief(clear_cache);
        AtomicUsize::new(memory::physical_memory().map_or(usize::MAX / 2, |m| m / 5 * 4))
    })
}

/// The bytes that arrays and the cache should stay below together; see [`set_memory_limit`].
pub fn memory_limit() -> usize {
    memory_limit_cell().load(Relaxed)
}

/// Sets the bytes that live arrays and the cache should stay below together, and returns the limit before.
///
/// An allocation that would exceed it first gives cached memory back. If live arrays alone exceed it, the allocation is
/// tried all the same, and is an error where the system has no more. At first it is 80 % of the machine's memory.
///
/// ```
/// use covector_core::buffer::{memory_limit, set_memory_limit};
/// let before = set_memory_limit(1 << 30);
/// assert_eq!(set_memory_limit(before), 1 << 30);
/// assert_eq!(memory_limit(), before);
/// ```
pub fn set_memory_limit(bytes: usize) -> usize {
    let before = memory_limit_cell().swap(bytes, Relaxed);
    shrink_cache(bytes.saturating_sub(ACTIVE.load(Relaxed)));
    before
}

/// The bytes of freed memory that are kept for reuse; see [`set_cache_limit`].
pub fn cache_limit() -> usize {
    CACHE_LIMIT.load(Relaxed)
}

/// Sets how many bytes of freed memory are kept for reuse, and returns the limit before; 0 keeps none. More than that
/// is given back at once.
pub fn set_cache_limit(bytes: usize) -> usize {
    let before = CACHE_LIMIT.swap(bytes, Relaxed);
    shrink_cache(bytes);
    before
}

/// Notes how many bytes should be kept from being paged out, and returns the note before. Nothing is: the memory of a
/// processor needs no wiring. It is here for programs that set it.
pub fn set_wired_limit(bytes: usize) -> usize {
    WIRED_LIMIT.swap(bytes, Relaxed)
}

/// Bytes of the smallest buffers: a number, or the key of a random stream.
const SMALL: usize = 16;

enum Owner {
    Cache,
    /// The buffer is its own memory: literal numbers are as many as operations, and cost one allocation each, not two,
    /// and no lock.
    Own(UnsafeCell<[u64; SMALL / 8]>),
    /// Foreign memory, alive as long as this value.
    #[expect(dead_code, reason = "held for its drop, which releases the memory")]
    Foreign(Box<dyn Any + Send + Sync>),
}

/// A block of memory that goes back to the cache when the last view of it is gone.
pub struct Buffer {
    /// Null if it is its own memory.
    block: *mut u8,
    bytes: usize,
    owner: Owner,
}
// SAFETY: the memory is only written through `Data::out`, before the buffer is shared.
unsafe impl Send for Buffer {}
// SAFETY: as above: a shared buffer is only read.
unsafe impl Sync for Buffer {}

fn no_memory(op: &'static str, bytes: usize) -> Error {
    Error::memory(
        op,
        format!(
            "could not allocate {bytes} bytes of memory; {} bytes are held by arrays. Use smaller arrays or batches, or let \
             go of arrays that are not needed",
            active_memory()
        ),
    )
}

/// An empty vector with room for `n` elements, for values that leave the library.
///
/// # Errors
/// [`Error::Memory`] where there is no room.
pub fn room<T>(op: &'static str, n: usize) -> Result<Vec<T>> {
    let mut room = Vec::new();
    let there = testing::grant() && room.try_reserve_exact(n).is_ok();
    if there { Ok(room) } else { Err(no_memory(op, n.saturating_mul(size_of::<T>()))) }
}

/// Runs kernels; memory that they need for themselves and do not get is an error of `op`.
pub fn checked<R>(op: &'static str, run: impl FnOnce() -> R) -> Result<R> {
    memory::checked(run).map_err(|error| no_memory(op, error.bytes))
}

impl Buffer {
    fn alloc(op: &'static str, dtype: Dtype, bytes: usize) -> Result<Self> {
        if bytes <= SMALL {
            let mut memory = UnsafeCell::new([0u64; SMALL / 8]);
            testing::fill(NonNull::from(memory.get_mut()).cast(), SMALL, Some(dtype));
            return Ok(Self { block: std::ptr::null_mut(), bytes: 0, owner: Owner::Own(memory) });
        }
        let (class, bytes) = class_of(bytes);
        if !testing::grant() {
            return Err(no_memory(op, bytes));
        }
        let found = CACHE.lock().unwrap_or_else(|e| e.into_inner()).get_mut(class).and_then(Vec::pop);
        let ptr = if let Some(block) = found {
            CACHED.fetch_sub(bytes, Relaxed);
            block.ptr
        } else {
            let needed = ACTIVE.load(Relaxed).saturating_add(bytes);
            let limit = memory_limit();
            if needed.saturating_add(CACHED.load(Relaxed)) > limit {
                shrink_cache(limit.saturating_sub(needed));
            }
            let block = memory::allocate(bytes).or_else(|| {
                memory::relieve();
                memory::allocate(bytes)
            });
            block.ok_or_else(|| no_memory(op, bytes))?
        };
        testing::fill(ptr, bytes, Some(dtype));
        let active = ACTIVE.fetch_add(bytes, Relaxed) + bytes;
        PEAK.fetch_max(active, Relaxed);
        Ok(Self { block: ptr.as_ptr(), bytes, owner: Owner::Cache })
    }

    /// Where the memory starts. It stays there as long as the buffer stays where it is, which is inside of an `Arc`.
    fn start(&self) -> *mut u8 {
        match &self.owner {
            Owner::Own(memory) => memory.get().cast(),
            _ => self.block,
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if !matches!(self.owner, Owner::Cache) {
            return;
        }
        let active = ACTIVE.fetch_sub(self.bytes, Relaxed) - self.bytes;
        let (class, _) = class_of(self.bytes);
        let cached = CACHED.load(Relaxed).saturating_add(self.bytes);
        let Some(ptr) = NonNull::new(self.block) else { return };
        if cached <= cache_limit() && active.saturating_add(cached) <= memory_limit() && class < CLASSES {
            CACHED.fetch_add(self.bytes, Relaxed);
            let mut cache = CACHE.lock().unwrap_or_else(|e| e.into_inner());
            cache[class].push(Block { ptr, bytes: self.bytes });
        } else {
            // SAFETY: allocated in `alloc` with this size; this is the last owner.
            unsafe { memory::release(ptr, self.bytes) };
        }
    }
}

/// The values of an array: a strided view into a shared buffer.
#[derive(Clone)]
pub struct Data {
    buffer: Arc<Buffer>,
    /// Bytes from the buffer's start to element `[0, 0, …]`.
    offset: usize,
    dtype: Dtype,
    shape: Shape,
    strides: Strides,
}

impl std::fmt::Debug for Data {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { dtype, shape, strides, .. } = self;
        f.debug_struct("Data").field("dtype", dtype).field("shape", shape).field("strides", strides).finish()
    }
}

impl Data {
    /// Fresh row-major memory whose contents are not yet defined; fill it through [`Data::out`].
    pub fn alloc(op: &'static str, dtype: Dtype, shape: &[usize]) -> Result<Self> {
        let size = checked_size(op, shape)?;
        Ok(Self {
            buffer: Arc::new(Buffer::alloc(op, dtype, size * dtype.size())?),
            offset: 0,
            dtype,
            shape: Shape::from_slice(shape),
            strides: row_major_strides(shape),
        })
    }

    /// One value, without axes.
    pub fn scalar<T: Element>(value: T) -> Self {
        const { assert!(size_of::<T>() <= SMALL && align_of::<T>() <= align_of::<u64>()) };
        let mut memory = [0u64; SMALL / 8];
        // SAFETY: large enough and aligned, as asserted.
        unsafe { memory.as_mut_ptr().cast::<T>().write(value) };
        let owner = Owner::Own(UnsafeCell::new(memory));
        let buffer = Buffer { block: std::ptr::null_mut(), bytes: 0, owner };
        let (shape, strides) = (Shape::new(), Strides::new());
        Self { buffer: Arc::new(buffer), offset: 0, dtype: T::DTYPE, shape, strides }
    }

    /// A row-major copy of `values`, whose count must be the shape's.
    pub fn from_slice<T: Element>(values: &[T], shape: &[usize]) -> Result<Self> {
        let size = checked_size("array", shape)?;
        if size != values.len() {
            return Err(Error::shape(
                "array",
                format!(
                    "{} values do not fill shape {}, which has {size} elements",
                    values.len(),
                    crate::shape::ShapeText(shape)
                ),
            ));
        }
        let mut data = Self::alloc("array", T::DTYPE, shape)?;
        let out = data.out();
        // SAFETY: `out` is fresh memory for `size` elements of T, and does not overlap `values`.
        unsafe { std::ptr::copy_nonoverlapping(values.as_ptr(), out.ptr().cast::<T>(), size) };
        Ok(data)
    }

    /// Foreign memory, kept alive by `owner`.
    ///
    /// # Safety
    /// Every element that `shape` and `strides` (in elements) reach from `ptr` stays valid, aligned,
    /// initialised and unchanged for as long as `owner` lives.
    pub unsafe fn foreign(
        ptr: *const u8,
        dtype: Dtype,
        shape: &[usize],
        strides: &[isize],
        owner: Box<dyn Any + Send + Sync>,
    ) -> Self {
        let buffer = Buffer { block: ptr.cast_mut(), bytes: 0, owner: Owner::Foreign(owner) };
        Self {
            buffer: Arc::new(buffer),
            offset: 0,
            dtype,
            shape: Shape::from_slice(shape),
            strides: Strides::from_slice(strides),
        }
    }

    /// The element type.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// The extents.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The strides, in elements.
    pub fn strides(&self) -> &[isize] {
        &self.strides
    }

    /// The number of elements.
    pub fn size(&self) -> usize {
        self.shape.iter().product()
    }

    /// The address of element `[0, 0, …]`.
    pub fn ptr(&self) -> *const u8 {
        self.buffer.start().wrapping_add(self.offset)
    }

    /// The values as a kernel reads them.
    pub fn view(&self) -> View<'_> {
        // SAFETY: `Data` is only built over initialised memory (alloc + fill, from_slice, foreign, or a
        // restrided view that stays inside one of those), and shared buffers are never written.
        unsafe { View::new(self.ptr(), self.dtype, &self.shape, &self.strides) }
    }

    /// The memory as a kernel fills it. This value must be its only holder: it is fresh from [`Data::alloc`], or
    /// [`Data::is_unique`].
    pub fn out(&mut self) -> Out<'_> {
        debug_assert!(self.is_unique(), "writing to shared memory");
        let ptr = self.buffer.start().wrapping_add(self.offset);
        // SAFETY: row-major memory of this shape and type, held by this value alone.
        unsafe { Out::new(ptr, self.dtype, &self.shape) }
    }

    /// The memory as an instruction of a plan fills it: memory that it allocated, or that of one of its own inputs, from
    /// [`Data::lend`], of which it reads each element before it writes it.
    pub fn out_planned(&mut self) -> Out<'_> {
        // Held by an output, by the input whose memory it takes, and by the dot that makes that input.
        debug_assert!(Arc::strong_count(&self.buffer) <= 3, "writing to shared memory");
        let ptr = self.buffer.start().wrapping_add(self.offset);
        // SAFETY: row-major memory of this shape and type; only this instruction uses it, and reads an element for
        // the last time before it writes it.
        unsafe { Out::new(ptr, self.dtype, &self.shape) }
    }

    /// A part of memory that several instructions fill, before any other reads or writes the part. Its rows may have gaps
    /// between them.
    pub fn out_part(&mut self) -> Out<'_> {
        let ptr = self.buffer.start().wrapping_add(self.offset);
        let rows = Out::rows_of(&self.shape, &self.strides).expect("parts are made of rows");
        // SAFETY: rows of memory that the plan allocated for its instructions; so far only this one uses the part (see
        // `memory::placement`).
        unsafe {
            match rows {
                Some(rows) => Out::in_rows(ptr, self.dtype, &self.shape, rows),
                None => Out::new(ptr, self.dtype, &self.shape),
            }
        }
    }

    /// The same memory for a result that may overwrite it, if this value alone holds it.
    pub fn lend(&self) -> Option<Self> {
        self.is_unique().then(|| self.clone())
    }

    /// Whether this value alone holds its memory and all of its elements are row-major, so that it can be reused.
    pub fn is_unique(&self) -> bool {
        Arc::strong_count(&self.buffer) == 1
            && !matches!(self.buffer.owner, Owner::Foreign(_))
            && self.view().is_row_major()
    }

    /// The same memory seen with another shape and other strides, `shift` elements further on.
    pub fn restrided(&self, shape: &[usize], strides: &[isize], shift: isize) -> Self {
        Self {
            buffer: self.buffer.clone(),
            offset: (self.offset as isize + shift * self.dtype.size() as isize) as usize,
            dtype: self.dtype,
            shape: Shape::from_slice(shape),
            strides: Strides::from_slice(strides),
        }
    }

    /// The memory as a kernel reads it, seen as [`Data::restrided`] sees it.
    pub fn view_as<'a>(&'a self, shape: &'a [usize], strides: &'a [isize], shift: isize) -> View<'a> {
        let ptr = self.ptr().wrapping_offset(shift * self.dtype.size() as isize);
        // SAFETY: as for `view`; layouts come from view primitives, which stay inside the memory they are given.
        unsafe { View::new(ptr, self.dtype, shape, strides) }
    }

    /// The same row-major memory with another shape of as many elements.
    pub fn with_shape(mut self, shape: &[usize]) -> Self {
        debug_assert_eq!(self.size(), shape.iter().product::<usize>());
        self.shape = Shape::from_slice(shape);
        self.strides = row_major_strides(shape);
        self
    }

    /// The bytes of row-major memory as elements of another type; copied where they are not aligned as that type needs.
    pub fn reinterpreted(self, op: &'static str, dtype: Dtype, shape: &[usize]) -> Result<Self> {
        debug_assert_eq!(self.size() * self.dtype.size(), shape.iter().product::<usize>() * dtype.size());
        // Any bytes are numbers, but only 0 and 1 are truth values.
        debug_assert!(dtype != Dtype::Bool && self.view().is_row_major());
        let mut data = self;
        if !(data.ptr() as usize).is_multiple_of(dtype.size()) {
            let mut copy = Self::alloc(op, data.dtype, &data.shape)?;
            checked(op, || covector_kernels::cast(data.view(), copy.out()))?;
            data = copy;
        }
        Ok(Self { dtype, shape: Shape::from_slice(shape), strides: row_major_strides(shape), ..data })
    }

    /// The same memory if it is row-major, else a row-major copy.
    pub fn row_major(&self, op: &'static str) -> Result<Self> {
        if self.view().is_row_major() {
            return Ok(Self { strides: row_major_strides(&self.shape), ..self.clone() });
        }
        let mut data = Self::alloc(op, self.dtype, &self.shape)?;
        checked(op, || covector_kernels::cast(self.view(), data.out()))?;
        Ok(data)
    }
}
