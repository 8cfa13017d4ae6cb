//! Copies into strided memory: concatenation, padding and slice updates write a part of a larger array.

use crate::loader::{Axes, Cursor, Odometer};
use crate::simd::vectorize;
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

/// Whether reading these axes in order strides through memory although another axis is contiguous.
pub(crate) fn against_the_grain(axes: &[(usize, isize)]) -> bool {
    axes.first().is_some_and(|a| a.1.abs() > 1) && axes.iter().any(|a| a.1 == 1)
}

/// Copies the `n` elements of `size` bytes that `axes` reach from `src` to contiguous memory, in order.
///
/// # Safety
/// These elements can be read, `n` written at `dst`, without overlap.
pub(crate) unsafe fn copy_out(src: *const u8, size: usize, axes: &Axes, dst: *mut u8, n: usize) {
    let steps = axes.as_slice();
    if !against_the_grain(steps) {
        // SAFETY: the caller's contract.
        return unsafe { Cursor::new(src, size, axes, 0).load(dst, n) };
    }
    let grain = steps.iter().position(|a| a.1 == 1).unwrap_or(0);
    let ((across, step), along) = (steps[0], steps[grain].0);
    let (mut from, mut to, mut place) = (Axes::new(), Axes::new(), 1);
    let mut along_place = 0;
    for (k, &(n, s)) in steps.iter().enumerate() {
        if k == grain {
            along_place = place;
        } else if k > 0 {
            from.push_apart(n, s);
            to.push_apart(n, place);
        }
        place *= n as isize;
    }
    let (mut i, mut o) = (Odometer::new(from.as_slice()), Odometer::new(to.as_slice()));
    for _ in 0..n / (across * along) {
        macro_rules! go {
            ($t:ty) => {{
                // SAFETY: both odometers stay within the elements that the caller vouches for.
                unsafe {
                    let plane = Plane {
                        src: src.cast::<$t>().offset(i.offset()),
                        step,
                        dst: dst.cast::<$t>().offset(o.offset()),
                        place: along_place,
                    };
                    transpose(plane, across, along);
                }
            }};
        }
        match size {
            1 => go!(u8),
            2 => go!(u16),
            4 => go!(u32),
            _ => go!(u64),
        }
        i.step();
        o.step();
    }
}

/// A transposition: `dst[j·place + i] = src[i·step + j]`.
struct Plane<T> {
    src: *const T,
    step: isize,
    dst: *mut T,
    place: isize,
}

vectorize! {
    /// Transposes block by block through a small buffer, so that each cache line is read and written once, and
    /// rows that fall on the same cache set do not evict each other.
    fn transpose[T: Word](p: Plane<T>, across: usize, along: usize) {
        const B: usize = 16;
        for j in (0..along).step_by(B) {
            let width = B.min(along - j);
            for i in (0..across).step_by(B) {
                let height = B.min(across - i);
                let mut block = [[T::default(); B]; B];
                // SAFETY: `Plane`'s fields come from `copy_out`, whose caller vouches for these elements.
                unsafe {
                    if width == B && height == B {
                        for (r, row) in block.iter_mut().enumerate() {
                            *row = p.src.offset((i + r) as isize * p.step + j as isize).cast::<[T; B]>().read_unaligned();
                        }
                        #[allow(clippy::needless_range_loop, reason = "a column; mapping over the rows copies them all")]
                        for c in 0..B {
                            let line: [T; B] = std::array::from_fn(|r| block[r][c]);
                            p.dst.offset((j + c) as isize * p.place + i as isize).cast::<[T; B]>().write_unaligned(line);
                        }
                    } else {
                        for r in 0..height {
                            for c in 0..width {
                                let v = p.src.offset((i + r) as isize * p.step + (j + c) as isize).read();
                                p.dst.offset((j + c) as isize * p.place + (i + r) as isize).write(v);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Plain words that transpositions move.
trait Word: Copy + Default {}
impl Word for u8 {}
impl Word for u16 {}
impl Word for u32 {}
impl Word for u64 {}
