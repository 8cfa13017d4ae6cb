//! Copies into strided memory: concatenation, padding and slice updates write a part of a larger array.

use crate::loader::{Axes, Odometer};
use crate::view::View;

/// Writes `x` to the strided memory at `dst`, element `[i, j, …]` to `dst + i·dst_strides[0] + j·dst_strides[1] + …`
/// (strides count elements of `x`'s type).
///
/// # Safety
/// All these elements may be written, are aligned, and do not overlap `x`.
pub unsafe fn copy_into(x: View<'_>, dst: *mut u8, dst_strides: &[isize]) {
    debug_assert_eq!(x.ndim(), dst_strides.len());
    if x.size() == 0 {
        return;
    }
    // Axes that merge in both layouts are merged; the innermost remaining one is the copy's inner loop.
    let mut merged: Vec<(usize, isize, isize)> = Vec::with_capacity(x.ndim());
    for ((&n, &s), &d) in x.shape().iter().zip(x.strides()).zip(dst_strides).rev() {
        if n == 1 {
            continue;
        }
        match merged.last_mut() {
            Some(last) if s == last.1 * last.0 as isize && d == last.2 * last.0 as isize => last.0 *= n,
            _ => merged.push((n, s, d)),
        }
    }
    let size = x.dtype().size();
    let (n, s, d) = merged.first().copied().unwrap_or((1, 1, 1));
    let outer = merged.get(1..).unwrap_or(&[]);
    let (mut from, mut to) = (Axes::new(), Axes::new());
    for &(n, s, d) in outer {
        from.push_apart(n, s);
        to.push_apart(n, d);
    }
    let count: usize = outer.iter().map(|a| a.0).product();
    let (mut i, mut o) = (Odometer::new(from.as_slice()), Odometer::new(to.as_slice()));
    for _ in 0..count {
        // SAFETY: the view vouches for the source, the caller for the destination.
        unsafe {
            let src = x.ptr().offset(i.offset() * size as isize);
            let dst = dst.offset(o.offset() * size as isize);
            crate::loader::copy_strided_both(src, s, dst, d, size, n);
        }
        i.step();
        o.step();
    }
}
