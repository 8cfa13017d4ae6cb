//! The loops of reductions: contiguous runs, and rows accumulated side by side.

use crate::combine::Combine;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
use crate::combine::Sum;
use crate::num::Num;
use crate::simd::vectorize;

/// Elements that are folded without splitting.
pub(super) const BLOCK: usize = 4096;
/// Accumulators side by side: four AVX-512 registers of `f32`.
pub(crate) const LANES: usize = 64;
/// Columns that are accumulated side by side.
pub(super) const COLUMNS: usize = 256;
/// Rows that are accumulated without splitting.
const ROWS: usize = 128;
/// Up to this length, runs are folded across: many runs at once, one element of each at a time.
pub(crate) const SHORT: usize = 32;

vectorize! {
    fn fold_block[T: Num, F: Combine](x: &[T]) -> T {
        let mut acc = [F::neutral(); LANES];
        let mut chunks = x.chunks_exact(LANES);
        for chunk in &mut chunks {
            for (a, &v) in acc.iter_mut().zip(chunk) {
                *a = F::apply(*a, v);
            }
        }
        for (a, &v) in acc.iter_mut().zip(chunks.remainder()) {
            *a = F::apply(*a, v);
        }
        fold_lanes::<T, F>(acc)
    }
}

/// Folds accumulators that were filled side by side.
#[inline(always)]
fn fold_lanes<T: Num, F: Combine>(mut acc: [T; LANES]) -> T {
    let mut width = LANES / 2;
    while width > 0 {
        let (low, high) = acc.split_at_mut(width);
        for (a, &v) in low.iter_mut().zip(high.iter()) {
            *a = F::apply(*a, v);
        }
        width /= 2;
    }
    acc[0]
}

/// The sum of a run of `len` elements, at least [`SHORT`], whose blocks `fill` adds up. `fill` gets the start and length of
/// a block and returns [`LANES`] accumulators: accumulator `k` is the sum of the elements `k`, `k + LANES`, … of the block,
/// in that order. The result is equal to that of [`whole`](super::whole) for the same elements in memory.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub(crate) fn sum_of_blocks<T: Num>(
    from: usize,
    len: usize,
    fill: &mut dyn FnMut(usize, usize) -> [T; LANES],
) -> T {
    if len <= BLOCK {
        return fold_lanes::<T, Sum>(fill(from, len));
    }
    let middle = middle(len);
    let first = sum_of_blocks(from, middle, fill);
    first.add(sum_of_blocks(from + middle, len - middle, fill))
}

/// The element at which a long run is divided.
fn middle(len: usize) -> usize {
    (len / 2).next_multiple_of(LANES)
}

/// Folds a contiguous run.
pub(super) fn fold_run<T: Num, F: Combine>(x: &[T]) -> T {
    if x.len() < SHORT {
        return x.iter().fold(F::neutral(), |a, &v| F::apply(a, v));
    }
    if x.len() <= BLOCK {
        return fold_block::<T, F>(x);
    }
    let middle = middle(x.len());
    F::apply(fold_run::<T, F>(&x[..middle]), fold_run::<T, F>(&x[middle..]))
}

vectorize! {
    /// Folds `rows` rows of `acc.len()` columns into `acc`.
    pub(super) fn fold_rows_block[T: Num, F: Combine](x: Rows<T>, rows: usize, acc: &mut [T]) {
        let n = acc.len();
        let mut i = 0;
        while i + 4 <= rows {
            let (a, b, c, d) = (x.row(i, n), x.row(i + 1, n), x.row(i + 2, n), x.row(i + 3, n));
            for ((((acc, &a), &b), &c), &d) in acc.iter_mut().zip(a).zip(b).zip(c).zip(d) {
                *acc = F::apply(*acc, F::apply(F::apply(a, b), F::apply(c, d)));
            }
            i += 4;
        }
        while i < rows {
            for (acc, &a) in acc.iter_mut().zip(x.row(i, n)) {
                *acc = F::apply(*acc, a);
            }
            i += 1;
        }
    }
}

/// Rows of contiguous elements, `step` elements from one to the next.
pub(super) struct Rows<T> {
    pub(super) base: *const T,
    pub(super) step: isize,
}

impl<T> Clone for Rows<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Rows<T> {}

impl<T: Copy> Rows<T> {
    /// # Safety
    /// While the value is used, all rows that are read can be read.
    pub(super) unsafe fn new(base: *const T, step: isize) -> Self {
        Self { base, step }
    }
    #[inline(always)]
    pub(super) fn row<'a>(self, i: usize, n: usize) -> &'a [T] {
        // SAFETY: the contract of `new`.
        unsafe { std::slice::from_raw_parts(self.base.offset(i as isize * self.step), n) }
    }
    #[inline(always)]
    pub(super) fn at(self, i: usize, j: usize) -> T {
        // SAFETY: the contract of `new`.
        unsafe { *self.base.offset(i as isize * self.step + j as isize) }
    }
    fn skip(self, i: usize) -> Self {
        Self { base: self.base.wrapping_offset(i as isize * self.step), step: self.step }
    }
}

/// Folds rows into `acc`, long stretches in halves.
pub(super) fn fold_rows<T: Num, F: Combine>(x: Rows<T>, rows: usize, acc: &mut [T]) {
    if rows <= ROWS {
        return fold_rows_block::<T, F>(x, rows, acc);
    }
    let middle = (rows / 2).next_multiple_of(4);
    fold_rows::<T, F>(x, middle, acc);
    let mut second = [F::neutral(); COLUMNS];
    let second = &mut second[..acc.len()];
    fold_rows::<T, F>(x.skip(middle), rows - middle, second);
    for (a, &b) in acc.iter_mut().zip(second.iter()) {
        *a = F::apply(*a, b);
    }
}
