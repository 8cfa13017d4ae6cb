//! The indices of extremes.

use super::fold::{COLUMNS, Rows, SHORT, fold_run};
use crate::combine::{Combine, Max, Min};
use crate::dtype::Dtype;
use crate::num::Num;
use crate::simd::vectorize;
use crate::strided::{Axes, Odometer, Out, View};

/// The index along `axis` of the greatest (`max`) or least element, the first of several equal ones; a NaN counts as
/// extreme.
///
/// `out` is `u32`. The axis must not be empty.
pub fn arg_reduce(max: bool, x: View<'_>, axis: usize, out: Out<'_>) {
    debug_assert_eq!(out.dtype(), Dtype::U32);
    if out.size() == 0 {
        return;
    }
    crate::with_dtype!(x.dtype(), T => {
        if max { arg::<T, Max>(&x, axis, &out) } else { arg::<T, Min>(&x, axis, &out) }
    });
}

fn arg<T: Num, F: Combine>(x: &View<'_>, axis: usize, out: &Out<'_>) {
    let mut kept = Axes::new();
    for k in (0..x.ndim()).rev().filter(|&k| k != axis) {
        kept.push(x.shape()[k], x.strides()[k]);
    }
    let (n, stride) = (x.shape()[axis], x.strides()[axis]);
    let out = out.ptr().cast::<u32>();
    let count = kept.as_slice().iter().map(|a| a.0).product::<usize>();
    if let (Some(&(width, 1)), true) = (kept.as_slice().first(), stride != 1) {
        return arg_columns::<T, F>(x.ptr().cast(), (n, stride), width, &kept, out);
    }
    let mut at = Odometer::new(kept.as_slice());
    for i in 0..count {
        // SAFETY: the view vouches for `n` elements from here; `i` is within the output.
        unsafe {
            let line = x.ptr().cast::<T>().offset(at.offset());
            let index = if stride == 1 && n >= SHORT {
                // First the extreme, then its index: two passes that vectorise are faster than one that does not.
                let line = std::slice::from_raw_parts(line, n);
                let best = fold_run::<T, F>(line);
                let found = if best.nan() {
                    line.iter().position(|v| v.nan())
                } else {
                    line.iter().position(|&v| v == best)
                };
                found.unwrap_or(0)
            } else {
                let (mut best, mut index) = (*line, 0);
                for k in 1..n {
                    let v = *line.offset(k as isize * stride);
                    if improves::<T, F>(best, v) {
                        (best, index) = (v, k);
                    }
                }
                index
            };
            out.add(i).write(index as u32);
        }
        at.step();
    }
}

/// Whether the fold would replace `best` by `v`.
#[inline(always)]
fn improves<T: Num, F: Combine>(best: T, v: T) -> bool {
    !best.nan() && (v.nan() || (v != best && F::apply(best, v) == v))
}

/// The indices of the extremes of columns, many columns side by side.
fn arg_columns<T: Num, F: Combine>(
    x: *const T,
    (rows, step): (usize, isize),
    width: usize,
    kept: &Axes,
    out: *mut u32,
) {
    vectorize! {
        fn update[T: Num, F: Combine](row: &[T], k: u32, best: &mut [T], index: &mut [u32]) {
            for ((&v, best), index) in row.iter().zip(best).zip(index) {
                let better = improves::<T, F>(*best, v);
                *best = if better { v } else { *best };
                *index = if better { k } else { *index };
            }
        }
    }
    let kept = kept.as_slice();
    let mut outer = Odometer::new(&kept[1..]);
    let blocks: usize = kept[1..].iter().map(|a| a.0).product();
    for i in 0..blocks {
        for first in (0..width).step_by(COLUMNS) {
            let n = COLUMNS.min(width - first);
            let (mut best, mut index) = ([T::ZERO; COLUMNS], [0u32; COLUMNS]);
            // SAFETY: the view vouches for the rows; the output has `blocks · width` elements.
            unsafe {
                let rows_here = Rows::new(x.offset(outer.offset() + first as isize), step);
                best[..n].copy_from_slice(rows_here.row(0, n));
                for k in 1..rows {
                    update::<T, F>(rows_here.row(k, n), k as u32, &mut best[..n], &mut index[..n]);
                }
                std::ptr::copy_nonoverlapping(index.as_ptr(), out.add(i * width + first), n);
            }
        }
        outer.step();
    }
}
