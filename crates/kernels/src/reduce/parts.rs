//! Large reductions on several threads.

use super::fold::BLOCK;
use super::{Reduce, whole};
use crate::strided::{Out, View};
use crate::threads::parallel;

/// Divides the first kept axis: each part computes its own piece of the result.
pub(super) fn by_kept_axis(
    op: Reduce,
    x: &View<'_>,
    axes: &[usize],
    out: &Out<'_>,
    axis: usize,
    parts: usize,
) {
    let n = x.shape()[axis];
    let each = out.size() / n;
    // Each part writes whole cache lines of the result.
    let line = (64 / out.dtype().size()).div_ceil(each.max(1));
    let step = n.div_ceil(parts).next_multiple_of(line);
    parallel(n.div_ceil(step), &|i| {
        let (from, count) = (i * step, step.min(n - i * step));
        let mut shape = x.shape().to_vec();
        shape[axis] = count;
        let shift = from as isize * x.strides()[axis] * x.dtype().size() as isize;
        let kept = [count * each];
        // SAFETY: some of the elements of `x`, which the caller vouches for.
        let part = unsafe { View::new(x.ptr().wrapping_offset(shift), x.dtype(), &shape, x.strides()) };
        let start = out.ptr().wrapping_add(from * each * out.dtype().size());
        // SAFETY: the first kept axis is the outermost of the row-major result, so this is a piece of `out`
        // that no other part writes.
        whole(op, part, axes, unsafe { Out::new(start, out.dtype(), &kept) });
    });
}

/// Reduces blocks of row-major memory, then the blocks' results.
pub(super) fn by_blocks(op: Reduce, x: &View<'_>, out: &Out<'_>, parts: usize) {
    let (n, size) = (x.size(), x.dtype().size());
    let step = n.div_ceil(parts).next_multiple_of(BLOCK);
    let count = n.div_ceil(step);
    // A cache line for each result, so that no two threads write to one line.
    let mut results = [[0u64; 8]; 16];
    let base = results.as_mut_ptr() as usize;
    parallel(count, &|i| {
        let shape = [step.min(n - i * step)];
        // SAFETY: part of the row-major elements of `x`.
        let part = unsafe { View::new(x.ptr().wrapping_add(i * step * size), x.dtype(), &shape, &[1]) };
        // SAFETY: line `i` of `results`, which outlives this call and is used by this part alone.
        whole(op, part, &[0], unsafe { Out::new((base + i * 64) as *mut u8, x.dtype(), &[]) });
    });
    let (shape, strides) = ([count], [(64 / size) as isize]);
    // SAFETY: one result at the start of each of the first `count` lines.
    let all = unsafe { View::new(results.as_ptr().cast(), x.dtype(), &shape, &strides) };
    // SAFETY: the caller's output.
    whole(op, all, &[0], unsafe { Out::new(out.ptr(), out.dtype(), out.shape()) });
}
