//! A vector whose allocations may fail without ending the process.

use super::Memory;
use std::ops::{Deref, DerefMut};

/// A vector for data as large as the arrays. Unlike a `Vec`, it does not end the process if there is no memory (see
/// [`Memory::new`]).
pub(crate) struct List<T> {
    memory: Memory<T>,
    len: usize,
}

impl<T: Copy> List<T> {
    /// An empty list with room for the elements of the smallest block.
    pub(crate) fn new() -> Self {
        Self::with_capacity(super::ALIGN / size_of::<T>().max(1))
    }

    /// An empty list with room for `capacity` elements.
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self { memory: Memory::new(capacity), len: 0 }
    }

    /// A list of `len` elements equal to `value`.
    pub(crate) fn filled(len: usize, value: T) -> Self {
        let list = Self { memory: Memory::new(len), len };
        // SAFETY: there is room for `len` elements.
        (0..len).for_each(|i| unsafe { list.memory.ptr().add(i).write(value) });
        list
    }

    /// Adds an element.
    #[inline(always)]
    pub(crate) fn push(&mut self, value: T) {
        if self.len == self.memory.len() {
            self.grow();
        }
        // SAFETY: within the memory, which this list alone uses.
        unsafe { self.memory.ptr().add(self.len).write(value) };
        self.len += 1;
    }

    #[cold]
    fn grow(&mut self) {
        let memory = Memory::new(2 * self.len.max(2));
        // SAFETY: the new memory has room for the elements and does not overlap the old memory.
        unsafe { std::ptr::copy_nonoverlapping(self.memory.ptr().cast_const(), memory.ptr(), self.len) };
        self.memory = memory;
    }

    /// Removes all elements.
    pub(crate) fn clear(&mut self) {
        self.len = 0;
    }
}

impl<T> Deref for List<T> {
    type Target = [T];
    #[inline(always)]
    fn deref(&self) -> &[T] {
        // SAFETY: `len` elements are written.
        unsafe { std::slice::from_raw_parts(self.memory.ptr.as_ptr().cast(), self.len) }
    }
}

impl<T> DerefMut for List<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and the list alone uses its memory.
        unsafe { std::slice::from_raw_parts_mut(self.memory.ptr.as_ptr().cast(), self.len) }
    }
}
