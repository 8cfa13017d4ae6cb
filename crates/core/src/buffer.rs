//! Memory: aligned allocations behind a caching allocator, and strided views into them.
//!
//! A fresh page costs more than the arithmetic done on it, so freed blocks are kept by size class and handed
//! out again.

use crate::error::{Error, Result};
use crate::shape::{Shape, Strides, checked_size, row_major_strides};
use covector_kernels::{Dtype, Element, Out, View};
use std::alloc::Layout;
use std::any::Any;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

const ALIGN: usize = 64;
/// Blocks are rounded up to a quarter of a power of two: at most 25 % is lost, and 4 classes per doubling.
const CLASSES: usize = 4 * 48;
/// How much freed memory is kept for reuse before it goes back to the system.
const CACHE_LIMIT: usize = 2 << 30;

static ACTIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
static CACHED: AtomicUsize = AtomicUsize::new(0);

struct Block {
    ptr: *mut u8,
    bytes: usize,
}
// SAFETY: a block is plain memory that is owned by whoever holds the value.
unsafe impl Send for Block {}

static CACHE: Mutex<[Vec<Block>; CLASSES]> = Mutex::new([const { Vec::new() }; CLASSES]);

/// The size class of a request and the bytes its blocks have.
fn class_of(bytes: usize) -> (usize, usize) {
    let bytes = bytes.max(ALIGN);
    let top = usize::BITS - 1 - bytes.leading_zeros();
    let quarter = 1usize << (top - 2);
    let steps = (bytes - (1 << top)).div_ceil(quarter);
    (((top as usize - 6) * 4) + steps, (1usize << top) + steps * quarter)
}

/// Bytes held by live arrays.
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
    let mut cache = CACHE.lock().unwrap_or_else(|e| e.into_inner());
    for list in cache.iter_mut() {
        for block in list.drain(..) {
            CACHED.fetch_sub(block.bytes, Relaxed);
            // SAFETY: the block came from `alloc` with this layout and left the cache, so nobody else frees it.
            unsafe { std::alloc::dealloc(block.ptr, Layout::from_size_align_unchecked(block.bytes, ALIGN)) };
        }
    }
}

enum Owner {
    Cache,
    /// Memory of somebody else, alive as long as this value.
    #[expect(dead_code, reason = "held for its drop, which releases the memory")]
    Foreign(Box<dyn Any + Send + Sync>),
}

/// A block of memory that goes back to the cache when the last view of it is gone.
pub(crate) struct Buffer {
    ptr: *mut u8,
    bytes: usize,
    owner: Owner,
}
// SAFETY: the memory is only written through `Data::out`, before the buffer is shared.
unsafe impl Send for Buffer {}
// SAFETY: as above: a shared buffer is only read.
unsafe impl Sync for Buffer {}

impl Buffer {
    fn alloc(op: &'static str, bytes: usize) -> Result<Self> {
        let (class, bytes) = class_of(bytes);
        let found = CACHE.lock().unwrap_or_else(|e| e.into_inner()).get_mut(class).and_then(Vec::pop);
        let ptr = if let Some(block) = found {
            CACHED.fetch_sub(bytes, Relaxed);
            block.ptr
        } else {
            let fail = || Error::memory(op, format!("{bytes} bytes of memory could not be had"));
            let layout = Layout::from_size_align(bytes, ALIGN).map_err(|_| fail())?;
            // SAFETY: the layout's size is at least `ALIGN`, never zero.
            let ptr = unsafe { std::alloc::alloc(layout) };
            if ptr.is_null() {
                return Err(fail());
            }
            ptr
        };
        let active = ACTIVE.fetch_add(bytes, Relaxed) + bytes;
        PEAK.fetch_max(active, Relaxed);
        Ok(Self { ptr, bytes, owner: Owner::Cache })
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Owner::Foreign(_) = self.owner {
            return;
        }
        ACTIVE.fetch_sub(self.bytes, Relaxed);
        let (class, _) = class_of(self.bytes);
        if CACHED.load(Relaxed) + self.bytes <= CACHE_LIMIT && class < CLASSES {
            CACHED.fetch_add(self.bytes, Relaxed);
            let mut cache = CACHE.lock().unwrap_or_else(|e| e.into_inner());
            cache[class].push(Block { ptr: self.ptr, bytes: self.bytes });
        } else {
            // SAFETY: allocated in `alloc` with this layout; this is the last owner.
            unsafe { std::alloc::dealloc(self.ptr, Layout::from_size_align_unchecked(self.bytes, ALIGN)) };
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
            buffer: Arc::new(Buffer::alloc(op, size * dtype.size())?),
            offset: 0,
            dtype,
            shape: Shape::from_slice(shape),
            strides: row_major_strides(shape),
        })
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

    /// Memory of somebody else, kept alive by `owner`.
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
        let buffer = Buffer { ptr: ptr.cast_mut(), bytes: 0, owner: Owner::Foreign(owner) };
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
        self.buffer.ptr.wrapping_add(self.offset)
    }

    /// What a kernel reads.
    pub fn view(&self) -> View<'_> {
        // SAFETY: `Data` is only built over initialised memory (alloc + fill, from_slice, foreign, or a
        // restrided view that stays inside one of those), and shared buffers are never written.
        unsafe { View::new(self.ptr(), self.dtype, &self.shape, &self.strides) }
    }

    /// What a kernel fills. Only for memory nobody else holds: fresh from [`Data::alloc`] or [`Data::is_unique`].
    pub fn out(&mut self) -> Out<'_> {
        debug_assert!(self.is_unique(), "writing to shared memory");
        let ptr = self.buffer.ptr.wrapping_add(self.offset);
        // SAFETY: row-major memory of this shape and type, held by this value alone.
        unsafe { Out::new(ptr, self.dtype, &self.shape) }
    }

    /// Whether this value alone holds its memory and all of its elements are row-major, so that it can be reused.
    pub fn is_unique(&self) -> bool {
        Arc::strong_count(&self.buffer) == 1
            && matches!(self.buffer.owner, Owner::Cache)
            && self.view().is_row_major()
    }

    /// The same memory seen with another shape and other strides, `shift` elements further on.
    pub(crate) fn restrided(&self, shape: &[usize], strides: &[isize], shift: isize) -> Self {
        Self {
            buffer: self.buffer.clone(),
            offset: (self.offset as isize + shift * self.dtype.size() as isize) as usize,
            dtype: self.dtype,
            shape: Shape::from_slice(shape),
            strides: Strides::from_slice(strides),
        }
    }

    /// What a kernel reads of the same memory seen as [`Data::restrided`] sees it.
    pub(crate) fn view_as<'a>(&'a self, shape: &'a [usize], strides: &'a [isize], shift: isize) -> View<'a> {
        let ptr = self.ptr().wrapping_offset(shift * self.dtype.size() as isize);
        // SAFETY: as for `view`; layouts come from view primitives, which stay inside the memory they are given.
        unsafe { View::new(ptr, self.dtype, shape, strides) }
    }

    /// The same row-major memory with another shape of as many elements.
    pub(crate) fn with_shape(mut self, shape: &[usize]) -> Self {
        debug_assert_eq!(self.size(), shape.iter().product::<usize>());
        self.shape = Shape::from_slice(shape);
        self.strides = row_major_strides(shape);
        self
    }

    /// The bytes of row-major memory as elements of another type; copied where they do not lie as that type needs.
    pub(crate) fn reinterpreted(self, op: &'static str, dtype: Dtype, shape: &[usize]) -> Result<Self> {
        debug_assert_eq!(self.size() * self.dtype.size(), shape.iter().product::<usize>() * dtype.size());
        // Any bytes are numbers, but only 0 and 1 are truth values.
        debug_assert!(dtype != Dtype::Bool && self.view().is_row_major());
        let mut data = self;
        if !(data.ptr() as usize).is_multiple_of(dtype.size()) {
            let mut copy = Self::alloc(op, data.dtype, &data.shape)?;
            covector_kernels::cast(data.view(), copy.out());
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
        covector_kernels::cast(self.view(), data.out());
        Ok(data)
    }
}
