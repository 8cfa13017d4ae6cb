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

/// Sorts `x` along `axis` into `out`: stable, ascending, NaN last, complex numbers by real then imaginary part.
pub fn sort(x: View<'_>, axis: usize, out: Out<'_>) {
    let inner: usize = x.shape()[axis + 1..].iter().product();
    crate::with_dtype!(x.dtype(), T => lines::<T>(&x, axis, |line, at| {
        line.sort_by(|a, b| a.order(b));
        // SAFETY: the line's places are within `out`.
        unsafe {
            let dst = out.ptr().cast::<T>().add(at);
            copy_strided_both(line.as_ptr().cast(), 1, dst.cast(), inner as isize, size_of::<T>(), line.len());
        }
    }));
}

/// The indices (`u32`) that sort `x` along `axis`; see [`sort`].
pub fn argsort(x: View<'_>, axis: usize, out: Out<'_>) {
    debug_assert_eq!(out.dtype(), Dtype::U32);
    let inner: usize = x.shape()[axis + 1..].iter().product();
    let mut order: Vec<u32> = Vec::with_capacity(x.shape()[axis]);
    crate::with_dtype!(x.dtype(), T => lines::<T>(&x, axis, |line, at| {
        order.clear();
        order.extend(0..line.len() as u32);
        order.sort_by(|&a, &b| line[a as usize].order(&line[b as usize]));
        // SAFETY: the line's places are within `out`.
        unsafe {
            let dst = out.ptr().cast::<u32>().add(at);
            copy_strided_both(order.as_ptr().cast(), 1, dst.cast(), inner as isize, 4, line.len());
        }
    }));
}
