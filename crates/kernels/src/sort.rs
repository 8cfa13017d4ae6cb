//! Stable ascending sorts along one axis, NaN last.

use crate::dtype::Dtype;
use crate::loader::{Axes, Odometer, copy_strided, copy_strided_both};
use crate::num::Num;
use crate::view::{Out, View};

/// Calls `f` with each line of `x` along `axis` and the offset of its first element in `out`.
fn lines<T: Num>(x: &View<'_>, axis: usize, mut f: impl FnMut(&mut [T], usize)) {
    let shape = x.shape();
    let (n, inner) = (shape[axis], shape[axis + 1..].iter().product::<usize>());
    if x.size() == 0 {
        return;
    }
    let mut kept = Axes::new();
    for k in (0..x.ndim()).rev().filter(|&k| k != axis) {
        kept.push(shape[k], x.strides()[k]);
    }
    let mut at = Odometer::new(kept.as_slice());
    let mut line = vec![T::ZERO; n];
    for i in 0..x.size() / n {
        // SAFETY: the view vouches for its elements; `line` has room for `n`.
        unsafe {
            let src = x.ptr().cast::<T>().offset(at.offset());
            copy_strided(src.cast(), x.strides()[axis], size_of::<T>(), line.as_mut_ptr().cast(), n);
        }
        f(&mut line, i / inner * n * inner + i % inner);
        at.step();
    }
}

/// Writes a sorted line to its places in the output.
///
/// # Safety
/// `line.len()` elements, `step` apart from element `at` on, can be written at `out`.
unsafe fn place<T>(line: &[T], out: *mut u8, at: usize, step: usize) {
    // SAFETY: the caller's contract.
    unsafe {
        let dst = out.cast::<T>().add(at);
        copy_strided_both(line.as_ptr().cast(), 1, dst.cast(), step as isize, size_of::<T>(), line.len());
    }
}

/// Sorts `x` along `axis` into `out`: stable, ascending, NaN last, complex numbers by real then imaginary part.
pub fn sort(x: View<'_>, axis: usize, out: Out<'_>) {
    let inner: usize = x.shape()[axis + 1..].iter().product();
    crate::with_dtype!(x.dtype(), T => lines::<T>(&x, axis, |line, at| {
        line.sort_by(|a, b| a.order(b));
        // SAFETY: the line's places are within `out`.
        unsafe { place(line, out.ptr(), at, inner) };
    }));
}

/// The indices (`u32`) that sort `x` along `axis`; see [`sort`].
///
/// Types of up to 32 bits are sorted as integers of key and index, which no two elements share: that is stable
/// without a stable sort, and touches no element but those it compares.
pub fn argsort(x: View<'_>, axis: usize, out: Out<'_>) {
    debug_assert_eq!(out.dtype(), Dtype::U32);
    let inner: usize = x.shape()[axis + 1..].iter().product();
    let mut order: Vec<u32> = Vec::with_capacity(x.shape()[axis]);
    let mut keyed: Vec<u64> = Vec::new();
    crate::with_dtype!(x.dtype(), T => lines::<T>(&x, axis, |line, at| {
        order.clear();
        if T::KEYED {
            keyed.clear();
            keyed.extend(line.iter().zip(0u64..).map(|(v, i)| u64::from(v.key()) << 32 | i));
            keyed.sort_unstable();
            order.extend(keyed.iter().map(|&k| k as u32));
        } else {
            order.extend(0..line.len() as u32);
            order.sort_by(|&a, &b| line[a as usize].order(&line[b as usize]));
        }
        // SAFETY: the line's places are within `out`.
        unsafe { place(&order, out.ptr(), at, inner) };
    }));
}
