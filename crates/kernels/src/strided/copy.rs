//! Copies between layouts: transposes, broadcasts, and writes into a part of a larger array.

use super::{Axes, Cursor, Odometer, Out, TILE, Tile, View, copy_strided, copy_strided_both};
use crate::simd::vectorize;
use crate::stream;
use crate::threads::{parallel, parallel_ranges};
use smallvec::SmallVec;

/// Bytes from which on a separate part pays.
const PART: usize = 1 << 18;

/// The addresses of a copy's source and destination, shared by several threads.
#[derive(Clone, Copy)]
struct Ends {
    src: *const u8,
    dst: *mut u8,
}
// SAFETY: the source is only read, and every thread writes a part of its own.
unsafe impl Sync for Ends {}

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
    let ends = Ends { src: x.ptr(), dst };
    let ends = &ends;
    if count == 1 {
        return parallel_ranges(n, PART / size, &|range| {
            let (first, size) = (range.start as isize, size as isize);
            // SAFETY: elements `range` of the only line.
            unsafe {
                let (src, dst) = (ends.src.offset(first * s * size), ends.dst.offset(first * d * size));
                copy_strided_both(src, s, dst, d, size as usize, range.len());
            }
        });
    }
    let past = s == 1 && d == 1 && n * size >= 512 && stream::worthwhile(count * n * size);
    let lines = |range: std::ops::Range<usize>| {
        let mut i = Odometer::at(from.as_slice(), range.start);
        let mut o = Odometer::at(to.as_slice(), range.start);
        for _ in range {
            // SAFETY: the view vouches for the source, the caller for the destination.
            unsafe {
                let src = ends.src.offset(i.offset() * size as isize);
                let dst = ends.dst.offset(o.offset() * size as isize);
                if past {
                    stream::copy(src, dst, n * size);
                } else {
                    copy_strided_both(src, s, dst, d, size, n);
                }
            }
            i.step();
            o.step();
        }
    };
    by_lines(count, n * size, &lines);
}

/// Copies each view to the output with the same number, shape and type. Outputs may have gaps between rows.
///
/// # Panics
/// If shapes or types differ.
pub fn copy_each(views: &[View<'_>], outs: &[Out<'_>]) {
    let one = |k: usize| {
        let (x, out) = (views[k], &outs[k]);
        assert!(
            x.shape() == out.shape() && x.dtype() == out.dtype(),
            "copy: view {k} has another shape or type than its output"
        );
        let mut strides: SmallVec<[isize; 6]> = SmallVec::from_elem(0, x.ndim());
        let mut inner = 1;
        for (&n, stride) in x.shape().iter().zip(&mut strides).rev() {
            *stride = out.offset(inner) as isize;
            inner *= n;
        }
        // SAFETY: the elements of an output, which only this kernel uses (`Out`'s contract).
        unsafe { copy_into(x, out.ptr(), &strides) };
    };
    let bytes: usize = views.iter().map(|x| x.size() * x.dtype().size()).sum();
    // Many small views together may pay for threads, although none of them does by itself.
    let parts = (bytes / PART).min(views.len() / 4).clamp(1, 16);
    if parts == 1 {
        (0..views.len()).for_each(one);
    } else {
        let n = views.len();
        parallel(parts, &|p| (p * n / parts..(p + 1) * n / parts).for_each(one));
    }
}

/// Divides `count` lines of `bytes` bytes over threads.
fn by_lines(count: usize, bytes: usize, lines: &(dyn Fn(std::ops::Range<usize>) + Sync)) {
    let parts = (count * bytes / PART).clamp(1, 16.min(count));
    if parts == 1 {
        lines(0..count);
    } else {
        parallel(parts, &|p| lines(p * count / parts..(p + 1) * count / parts));
    }
}

/// Copies `bytes` bytes, on several threads if there are many.
///
/// # Safety
/// The bytes can be read and written, without overlap.
pub(crate) unsafe fn copy_bytes(src: *const u8, dst: *mut u8, bytes: usize) {
    let ends = Ends { src, dst };
    let (ends, past) = (&ends, stream::worthwhile(bytes));
    parallel_ranges(bytes, 4 * PART, &|range| {
        // SAFETY: a part of the bytes.
        unsafe {
            let (src, dst) = (ends.src.add(range.start), ends.dst.add(range.start));
            if past {
                stream::copy(src, dst, range.len());
            } else {
                std::ptr::copy_nonoverlapping(src, dst, range.len());
            }
        };
    });
}

/// Writes `n` elements of `size` bytes past the caches, tile by tile. `fill` gets the number of the tile's first element, the
/// tile and its length.
///
/// # Safety
/// The elements can be written.
pub(crate) unsafe fn by_tiles(
    dst: *mut u8,
    size: usize,
    n: usize,
    mut fill: impl FnMut(usize, *mut u8, usize),
) {
    let mut tile = Tile::new();
    for start in (0..n).step_by(TILE) {
        let len = TILE.min(n - start);
        fill(start, tile.ptr(), len);
        // SAFETY: the caller's contract; `fill` has written the tile.
        unsafe { stream::copy(tile.ptr(), dst.add(start * size), len * size) };
    }
}

/// Whether reading these axes in order has a stride, although another axis is contiguous.
pub(crate) fn against_the_grain(axes: &[(usize, isize)]) -> bool {
    axes.first().is_some_and(|a| a.1.abs() > 1) && axes.iter().any(|a| a.1 == 1)
}

/// Copies the `n` elements of `size` bytes that `axes` reach from `src` to contiguous memory, in order.
///
/// # Safety
/// The elements can be read, `n` elements can be written at `dst`, and the two do not overlap.
pub(crate) unsafe fn copy_out(src: *const u8, size: usize, axes: &Axes, dst: *mut u8, n: usize) {
    let steps = axes.as_slice();
    let ends = Ends { src, dst };
    let (ends, past) = (&ends, stream::worthwhile(n * size));
    if let [] | [(_, 0)] = steps
        && n > 1
    {
        let mut pattern = [0u8; 64];
        // SAFETY: the caller's contract; the element repeats through the pattern, and sizes divide its length.
        unsafe { copy_strided(src, 0, size, pattern.as_mut_ptr(), 64 / size) };
        return parallel_ranges(n, PART / size, &|range| {
            // SAFETY: a part of the elements.
            unsafe {
                let dst = ends.dst.add(range.start * size);
                if past {
                    stream::fill(&pattern, dst, range.len() * size);
                } else {
                    copy_strided(pattern.as_ptr(), 0, size, dst, range.len());
                }
            }
        });
    }
    if !against_the_grain(steps) {
        return parallel_ranges(n, PART / size, &|range| {
            // SAFETY: the caller's contract, for a part of the elements.
            unsafe {
                let mut cursor = Cursor::new(ends.src, size, axes, range.start);
                let dst = ends.dst.add(range.start * size);
                if past {
                    by_tiles(dst, size, range.len(), |_, tile, n| cursor.load(tile, n));
                } else {
                    cursor.load(dst, range.len());
                }
            }
        });
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
    // Blocks of each plane: strips of rows, long enough that a part pays.
    let planes = n / (across * along);
    let strips = along.div_ceil(STRIP);
    let reach = (PART / (STRIP.min(along) * size)).next_multiple_of(64).min(across);
    let blocks = across.div_ceil(reach);
    let some = |range: std::ops::Range<usize>| {
        for at in range {
            let (plane, first, far) =
                (at / strips / blocks, at / blocks % strips * STRIP, at % blocks * reach);
            let (down, right) = (first as isize, far as isize);
            let i = Odometer::at(from.as_slice(), plane).offset() + down + right * step;
            let o = Odometer::at(to.as_slice(), plane).offset() + down * along_place + right;
            let (strip, across) = (STRIP.min(along - first), reach.min(across - far));
            macro_rules! go {
                ($t:ty, $transpose:ident) => {{
                    // SAFETY: the caller vouches for the elements of the strip.
                    unsafe {
                        let plane = Plane {
                            src: ends.src.cast::<$t>().offset(i),
                            step,
                            dst: ends.dst.cast::<$t>().offset(o),
                            place: along_place,
                            past,
                        };
                        $transpose(plane, across, strip);
                    }
                }};
            }
            match size {
                1 => go!(u8, transpose),
                2 => go!(u16, transpose),
                #[cfg(target_arch = "x86_64")]
                4 if crate::simd::level() == crate::simd::Level::Avx512 => go!(u32, transpose32),
                #[cfg(target_arch = "x86_64")]
                8 if crate::simd::level() == crate::simd::Level::Avx512 => go!(u64, transpose64),
                4 => go!(u32, transpose),
                _ => go!(u64, transpose),
            }
        }
    };
    by_lines(planes * strips * blocks, STRIP.min(along) * reach * size, &some);
}

/// Elements along the contiguous axis of the source that are transposed together: enough for sequential reads, and few enough
/// that the processor can combine the writes to each destination line.
const STRIP: usize = 256;

/// A transpose: `dst[j·place + i] = src[i·step + j]`.
struct Plane<T> {
    src: *const T,
    step: isize,
    dst: *mut T,
    place: isize,
    /// Whether the result is written past the caches.
    past: bool,
}

/// [`transpose`] in registers, for words of one size.
#[cfg(target_arch = "x86_64")]
macro_rules! transpose_in_registers {
    ($name:ident, $t:ty, $columns:ident, $side:ident, $mask:ty, $store:ident) => {
        /// # Safety
        /// The machine has AVX-512; the plane's elements can be read and written.
        #[target_feature(enable = "avx512f")]
        unsafe fn $name(p: Plane<$t>, across: usize, along: usize) {
            use crate::strided::transpose::*;
            let size = size_of::<$t>();
            let aligned = p.dst.align_offset(64) == 0 && (p.place * size as isize) % 64 == 0;
            for i in (0..across).step_by($side) {
                let height = $side.min(across - i);
                let mask: $mask = if height == $side { !0 } else { (1 << height) - 1 };
                let past = p.past && aligned && height == $side;
                for j in (0..along).step_by($side) {
                    let width = $side.min(along - j);
                    // SAFETY: the caller's contract.
                    unsafe {
                        let lines =
                            $columns(p.src.offset(i as isize * p.step + j as isize), p.step, height, width);
                        for (c, line) in lines.iter().enumerate().take(width) {
                            let at = p.dst.offset((j + c) as isize * p.place + i as isize);
                            if past {
                                std::arch::x86_64::_mm512_stream_si512(at.cast(), *line);
                            } else {
                                std::arch::x86_64::$store(at.cast(), mask, *line);
                            }
                        }
                    }
                }
            }
            std::arch::x86_64::_mm_sfence();
        }
    };
}
#[cfg(target_arch = "x86_64")]
transpose_in_registers!(transpose32, u32, columns32, SIDE32, u16, _mm512_mask_storeu_epi32);
#[cfg(target_arch = "x86_64")]
transpose_in_registers!(transpose64, u64, columns64, SIDE64, u8, _mm512_mask_storeu_epi64);

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

/// The words that transposes move.
trait Word: Copy + Default {}
impl Word for u8 {}
impl Word for u16 {}
impl Word for u32 {}
impl Word for u64 {}
