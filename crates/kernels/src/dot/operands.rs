//! The operands of the blocked product.

use super::kernel::Kernel;
use crate::dtype::Element;
use crate::half_bits::{bf16_to_f32, f16_to_f32};

/// The extents of a product.
#[derive(Clone, Copy)]
pub(super) struct Extents {
    pub(super) m: usize,
    pub(super) n: usize,
    pub(super) k: usize,
}

impl Extents {
    pub(super) fn work(self) -> usize {
        self.m * self.n * self.k
    }
}

/// A matrix to read.
#[derive(Clone, Copy)]
pub(super) struct Matrix<S> {
    pub(super) ptr: *const S,
    pub(super) row: isize,
    pub(super) column: isize,
}
// SAFETY: an address and two strides, which any thread may know; each read says why it is sound.
unsafe impl<S> Sync for Matrix<S> {}

impl<S> Matrix<S> {
    /// Whether a matrix of these extents is contiguous in one of the two orders.
    pub(super) fn gapless(&self, rows: usize, columns: usize) -> bool {
        self.column == 1 && self.row == columns as isize || self.row == 1 && self.column == rows as isize
    }

    /// The address of an element.
    pub(super) fn at(&self, row: usize, column: usize) -> *const S {
        self.ptr.wrapping_offset(row as isize * self.row + column as isize * self.column)
    }
}

/// A matrix to write, whose rows are contiguous, `row` elements from one to the next.
#[derive(Clone, Copy)]
pub(super) struct MatrixMut<T> {
    pub(super) ptr: *mut T,
    pub(super) row: usize,
}
// SAFETY: every thread writes elements of its own.
unsafe impl<T> Sync for MatrixMut<T> {}

/// An element type of factors. Products are computed and accumulated in `Self::Wide`.
pub(super) trait Factor: Element {
    type Wide: Kernel + Factor<Wide = Self::Wide>;
    fn widen(self) -> Self::Wide;
    /// Whether both types are the same.
    fn plain() -> bool {
        Self::DTYPE == Self::Wide::DTYPE
    }
}
macro_rules! factors {
    ($($t:ty, $wide:ty, $widen:expr;)*) => {$(
        impl Factor for $t {
            type Wide = $wide;
            #[inline(always)]
            fn widen(self) -> $wide {
                $widen(self)
            }
        }
    )*};
}
factors! {
    f32, f32, std::convert::identity;
    f64, f64, std::convert::identity;
    half::f16, f32, f16_to_f32;
    half::bf16, f32, bf16_to_f32;
}
