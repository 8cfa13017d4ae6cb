//! Products of a matrix and a vector. Their time is that of reading the matrix, so it is read once and in order.

use crate::memory::Memory;
use crate::num::Num;
use crate::simd::vectorize;
use crate::threads::{Shared, parallel};

/// Fused multiply-add, where the machine has the instruction.
pub(super) trait Fused: Num {
    fn fused(self, b: Self, c: Self) -> Self;
}
impl Fused for f32 {
    #[inline(always)]
    fn fused(self, b: Self, c: Self) -> Self {
        self.mul_add(b, c)
    }
}
impl Fused for f64 {
    #[inline(always)]
    fn fused(self, b: Self, c: Self) -> Self {
        self.mul_add(b, c)
    }
}

/// Elements of the matrix from which on a separate part pays.
const PART: usize = 1 << 16;

vectorize! {
    pub(super) fn dot[T: Fused](x: &[T], y: &[T]) -> T {
        let mut acc = [T::ZERO; 64];
        let (mut xs, mut ys) = (x.chunks_exact(64), y.chunks_exact(64));
        for (x, y) in (&mut xs).zip(&mut ys) {
            for ((a, &x), &y) in acc.iter_mut().zip(x).zip(y) {
                *a = x.fused(y, *a);
            }
        }
        for ((a, &x), &y) in acc.iter_mut().zip(xs.remainder()).zip(ys.remainder()) {
            *a = x.fused(y, *a);
        }
        let mut width = 32;
        while width > 0 {
            let (low, high) = acc.split_at_mut(width);
            for (a, &v) in low.iter_mut().zip(high.iter()) {
                *a = a.add(v);
            }
            width /= 2;
        }
        acc[0]
    }
}

vectorize! {
    pub(super) fn add_scaled[T: Fused](x: [&[T]; 4], s: [T; 4], acc: &mut [T]) {
        let n = acc.len();
        let (a, b, c, d) = (&x[0][..n], &x[1][..n], &x[2][..n], &x[3][..n]);
        for i in 0..n {
            acc[i] = d[i].fused(s[3], c[i].fused(s[2], b[i].fused(s[1], a[i].fused(s[0], acc[i]))));
        }
    }
}

/// `out[i] = Σⱼ matrix[i, j] · v[j]` for `len` results; `summed` is 1 if `by_rows`, else `free` is.
///
/// # Safety
/// The matrix can be read and `len` elements written at `out`.
pub(super) unsafe fn product<T: Fused>(
    matrix: *const T,
    by_rows: bool,
    (free, summed): (isize, isize),
    v: &[T],
    out: *mut T,
    len: usize,
) {
    let k = v.len();
    let (matrix, out) = (Shared::read(matrix), Shared::new(out));
    let parts = (len * k / PART).clamp(1, 16);
    if by_rows {
        // Rows are contiguous: one dot product for each.
        let step = len.div_ceil(parts).next_multiple_of(16);
        parallel(len.div_ceil(step), &|p| {
            for i in p * step..((p + 1) * step).min(len) {
                // SAFETY: row `i` of the matrix, and result `i`, which this part alone writes.
                unsafe {
                    let row = std::slice::from_raw_parts(matrix.by(i as isize * free), k);
                    out.at(i).write(dot(row, v));
                }
            }
        });
        return;
    }
    // Columns are contiguous: they are scaled and added up, in blocks of columns whose sums are added in order.
    let step = k.div_ceil(parts).next_multiple_of(4);
    let count = k.div_ceil(step);
    let sums = Memory::<T>::new(count * len);
    let target = Shared::new(sums.ptr());
    parallel(count, &|p| {
        // SAFETY: sums `p`, which this part alone uses.
        let acc = unsafe {
            let first = target.at(p * len);
            (0..len).for_each(|i| first.add(i).write(T::ZERO));
            std::slice::from_raw_parts_mut(first, len)
        };
        // SAFETY: column `j` of the matrix: `len` contiguous elements.
        let column = |j: usize| unsafe { std::slice::from_raw_parts(matrix.by(j as isize * summed), len) };
        let (from, to) = (p * step, ((p + 1) * step).min(k));
        let mut j = from;
        while j + 4 <= to {
            let four = [j, j + 1, j + 2, j + 3];
            add_scaled(four.map(column), four.map(|j| v[j]), acc);
            j += 4;
        }
        for (j, &scale) in (j..to).zip(&v[j..to]) {
            for (a, &x) in acc.iter_mut().zip(column(j)) {
                *a = x.fused(scale, *a);
            }
        }
    });
    // SAFETY: all parts have written their sums.
    let sums = unsafe { std::slice::from_raw_parts(sums.ptr().cast_const(), count * len) };
    for i in 0..len {
        let sum = (1..count).fold(sums[i], |s, p| s.add(sums[p * len + i]));
        // SAFETY: the caller's contract.
        unsafe { out.at(i).write(sum) };
    }
}
