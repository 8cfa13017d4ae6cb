//! The operands of kernels: strided memory to read and row-major memory to write, with element types known at run time.

use crate::dtype::{Dtype, Element};
use std::marker::PhantomData;

/// Strided memory that a kernel reads.
#[derive(Clone, Copy)]
pub struct View<'a> {
    ptr: *const u8,
    dtype: Dtype,
    shape: &'a [usize],
    strides: &'a [isize],
}

// SAFETY: a view only reads memory, which `new`'s caller vouches for.
unsafe impl Send for View<'_> {}
// SAFETY: as above.
unsafe impl Sync for View<'_> {}

impl<'a> View<'a> {
    /// Describes memory at `ptr`, the address of element `[0, 0, …]`; `strides` count elements and may be
    /// zero (broadcasting) or negative.
    ///
    /// # Safety
    /// For the lifetime `'a`, every element that `shape` and `strides` reach from `ptr` is initialised memory of
    /// `dtype`, aligned for it, and not written, except by a kernel whose [`Out`] is exactly the same row-major
    /// elements (elementwise operations in place).
    pub unsafe fn new(ptr: *const u8, dtype: Dtype, shape: &'a [usize], strides: &'a [isize]) -> Self {
        debug_assert_eq!(shape.len(), strides.len());
        Self { ptr, dtype, shape, strides }
    }

    /// The address of element `[0, 0, …]`.
    pub fn ptr(&self) -> *const u8 {
        self.ptr
    }

    /// The element type.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// The extent of each axis.
    pub fn shape(&self) -> &'a [usize] {
        self.shape
    }

    /// The distance in elements between neighbours on each axis.
    pub fn strides(&self) -> &'a [isize] {
        self.strides
    }

    /// The number of axes.
    pub fn ndim(&self) -> usize {
        self.shape.len()
    }

    /// The number of elements.
    pub fn size(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether the elements are in row-major order without gaps (axes of extent 1 may have any stride).
    pub fn is_row_major(&self) -> bool {
        is_row_major(self.shape, self.strides)
    }

    /// The elements as a slice, when they are row-major and of type `T`.
    pub fn as_slice<T: Element>(&self) -> Option<&'a [T]> {
        if T::DTYPE != self.dtype || !self.is_row_major() {
            return None;
        }
        if self.size() == 0 {
            return Some(&[]);
        }
        // SAFETY: `new`'s contract: the reachable elements, here all contiguous, are valid for 'a.
        Some(unsafe { std::slice::from_raw_parts(self.ptr.cast(), self.size()) })
    }
}

/// Whether elements of these extents and strides are in row-major order without gaps.
#[inline]
pub(crate) fn is_row_major(shape: &[usize], strides: &[isize]) -> bool {
    let mut expect = 1isize;
    for (&n, &s) in shape.iter().zip(strides).rev() {
        if n != 1 && s != expect {
            return shape.contains(&0);
        }
        expect *= n as isize;
    }
    true
}

/// The strides of row-major elements.
pub(crate) fn row_major_strides(shape: &[usize]) -> Vec<isize> {
    let mut strides = vec![1; shape.len()];
    for k in (1..shape.len()).rev() {
        strides[k - 1] = strides[k] * shape[k] as isize;
    }
    strides
}

/// Row-major memory that a kernel fills. The outputs of programs may have gaps between rows.
pub struct Out<'a> {
    ptr: *mut u8,
    dtype: Dtype,
    shape: &'a [usize],
    near: bool,
    /// Elements of a row and elements from row to row, if there are gaps.
    rows: Option<(usize, usize)>,
    _memory: PhantomData<&'a mut u8>,
}

// SAFETY: only the kernel uses the memory of an output. The threads of a kernel may share it, because each writes elements
// of its own, which the kernels ensure.
unsafe impl Send for Out<'_> {}
// SAFETY: as above.
unsafe impl Sync for Out<'_> {}

impl<'a> Out<'a> {
    /// Describes row-major memory at `ptr`.
    ///
    /// # Safety
    /// For the lifetime `'a` the `shape.product()` elements of `dtype` at `ptr` may be written, are aligned,
    /// and only this kernel reads or writes them, perhaps also through a [`View`] of exactly the same row-major elements
    /// (elementwise operations in place). They need not be initialised.
    pub unsafe fn new(ptr: *mut u8, dtype: Dtype, shape: &'a [usize]) -> Self {
        Self { ptr, dtype, shape, near: false, rows: None, _memory: PhantomData }
    }

    /// Describes rows of `row` contiguous elements, with `apart` elements from the start of one row to the next. Only
    /// [`Program::run`](crate::program::Program::run) fills such memory, alone or as a stage of a region.
    ///
    /// # Safety
    /// As for [`Out::new`], of the elements of the rows. `row` divides the number of elements and is the product of the
    /// innermost extents of `shape`.
    pub unsafe fn in_rows(
        ptr: *mut u8,
        dtype: Dtype,
        shape: &'a [usize],
        (row, apart): (usize, usize),
    ) -> Self {
        debug_assert!(row > 0 && apart >= row);
        Self { ptr, dtype, shape, near: false, rows: Some((row, apart)), _memory: PhantomData }
    }

    /// Rows for [`Out::in_rows`] that elements of these extents and strides form: the elements of a row, and from row to row.
    /// `Some(None)` if they are one row without gaps, and `None` if they do not form such rows.
    pub fn rows_of(shape: &[usize], strides: &[isize]) -> Option<Option<(usize, usize)>> {
        if shape.contains(&0) {
            return Some(None);
        }
        let mut expect = 1;
        let mut rows = None;
        for (&n, &s) in shape.iter().zip(strides).rev().filter(|(n, _)| **n != 1) {
            if s != expect {
                if rows.is_some() || s < expect {
                    return None;
                }
                rows = Some((expect as usize, s as usize));
            }
            expect = s * n as isize;
        }
        Some(rows)
    }

    /// Elements of a row and elements from row to row, if there are gaps between rows.
    pub(crate) fn rows(&self) -> Option<(usize, usize)> {
        self.rows
    }

    /// The same rows as `other`'s.
    pub(crate) fn in_rows_of(self, other: &Out<'_>) -> Self {
        Self { rows: other.rows, ..self }
    }

    /// The offset of the element with this linear index.
    pub(crate) fn offset(&self, linear: usize) -> usize {
        self.rows.map_or(linear, |(row, apart)| linear / row * apart + linear % row)
    }

    /// The same memory, marked as read again soon: it should stay in the caches, however large it is.
    pub(crate) fn read_soon(self) -> Self {
        Self { near: true, ..self }
    }

    #[cfg_attr(
        not(all(target_arch = "x86_64", target_os = "linux")),
        expect(dead_code, reason = "only machine code reads it")
    )]
    pub(crate) fn is_read_soon(&self) -> bool {
        self.near
    }

    /// The address of the first element.
    pub fn ptr(&self) -> *mut u8 {
        self.ptr
    }

    /// The element type.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// The extent of each axis.
    pub fn shape(&self) -> &'a [usize] {
        self.shape
    }

    /// The number of elements.
    pub fn size(&self) -> usize {
        self.shape.iter().product()
    }
}
