//! Packed copies of operands, in the order in which the kernel reads them.

use super::kernel::{Kernel, Stack};
use super::operands::Factor;
use super::widen::conversions;

/// Elements of half precision that are widened at once.
const MOST: usize = 2048;

/// Packs panels, each of the elements from `starts[i]` to `ends(i)` of an axis: for each panel `i`,
/// `dst[i·apart + p·width + j] = src[(starts[i] + j)·outer + p·inner]`, widened, for `p` below `k` and `starts[i] + j` below
/// `ends(i)`. Other elements of `dst` are undefined. `width` is a multiple of the lanes of a register.
///
/// # Safety
/// The machine has AVX-512; the elements can be read and written.
pub(super) unsafe fn pack<S: Factor>(
    src: *const S,
    (outer, inner): (isize, isize),
    starts: &[usize],
    ends: impl Fn(usize) -> usize,
    k: usize,
    (dst, width, apart): (*mut S::Wide, usize, usize),
) {
    if starts.is_empty() || k == 0 {
        return;
    }
    let count = ends(starts.len() - 1);
    let widen = (!S::plain()).then(|| conversions(S::DTYPE).0);
    // SAFETY: the caller's contract, in all of this.
    unsafe {
        if outer == 1 {
            let Some(widen) = widen else {
                let src = src.cast();
                return S::Wide::stack(&Stack { src, step: inner, count, starts, k, dst, width, apart });
            };
            let mut buffer = [std::mem::MaybeUninit::<S::Wide>::uninit(); MOST];
            let buffer = buffer.as_mut_ptr().cast::<S::Wide>();
            // The number of panels that the buffer has room for.
            let some = (MOST / width).max(1);
            for (g, starts) in starts.chunks(some).enumerate() {
                let (first, dst) = (starts[0], dst.add(g * some * apart));
                let own: smallvec::SmallVec<[usize; 64]> = starts.iter().map(|s| s - first).collect();
                let count = (ends(g * some + starts.len() - 1) - first).min(MOST);
                for p in 0..k {
                    widen(src.offset(p as isize * inner).add(first).cast(), buffer.cast(), count);
                    let dst = dst.add(p * width);
                    let line = Stack { src: buffer, step: 0, count, starts: &own, k: 1, dst, width, apart };
                    S::Wide::stack(&line);
                }
            }
            return;
        }
        for (i, &start) in starts.iter().enumerate() {
            let (src, dst, count) = (src.offset(start as isize * outer), dst.add(i * apart), ends(i) - start);
            if inner == 1 {
                along(src, outer, count, dst, width, k);
            } else {
                for p in 0..k {
                    for j in 0..count {
                        let at = src.offset(j as isize * outer + p as isize * inner);
                        dst.add(p * width + j).write((*at).widen());
                    }
                    for j in count..width {
                        dst.add(p * width + j).write(crate::num::Num::ZERO);
                    }
                }
            }
        }
    }
}

/// Packs a panel whose elements are contiguous along the summed axis.
///
/// # Safety
/// As for [`pack`].
unsafe fn along<S: Factor>(
    src: *const S,
    outer: isize,
    count: usize,
    dst: *mut S::Wide,
    width: usize,
    k: usize,
) {
    // SAFETY: the caller's contract, in all of this.
    unsafe {
        let Some(widen) = (!S::plain()).then(|| conversions(S::DTYPE).0) else {
            return S::Wide::interleave(src.cast(), outer, count, dst, width, k);
        };
        let mut buffer = [std::mem::MaybeUninit::<S::Wide>::uninit(); MOST];
        let buffer = buffer.as_mut_ptr().cast::<S::Wide>();
        let step = (MOST / count).min(k) & !15;
        let step = if step == 0 { (MOST / count).min(k) } else { step };
        for p in (0..k).step_by(step) {
            let depth = step.min(k - p);
            for i in 0..count {
                let from = src.offset(i as isize * outer + p as isize);
                widen(from.cast(), buffer.add(i * step).cast(), depth);
            }
            S::Wide::interleave(buffer, step as isize, count, dst.add(p * width), width, depth);
        }
    }
}
