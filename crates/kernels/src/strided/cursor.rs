//! Strided memory read as tiles: any range of an output's linear index, for any layout of the input.
//!
//! Loops over the innermost axis do not fill their vectors when that axis is short; a range of the linear index always fills
//! a tile.

use super::axes::{Axes, Odometer};
use std::mem::MaybeUninit;

/// Elements in a tile: small enough that the tiles of a kernel stay in the first-level cache.
pub(crate) const TILE: usize = 512;

/// Aligned scratch memory for one tile of any element type.
#[repr(align(64))]
pub(crate) struct Tile([MaybeUninit<u8>; TILE * 8]);

impl Tile {
    /// Uninitialised memory on the stack.
    #[inline(always)]
    pub(crate) fn new() -> Self {
        Self([MaybeUninit::uninit(); TILE * 8])
    }

    /// The address of the first element.
    #[inline(always)]
    pub(crate) fn ptr(&mut self) -> *mut u8 {
        self.0.as_mut_ptr().cast()
    }
}

impl Default for Tile {
    fn default() -> Self {
        Self::new()
    }
}

/// Copies `n` elements of `size` bytes with this stride (in elements) to contiguous memory.
///
/// # Safety
/// `n` such elements can be read at `src`, `n` contiguous ones written at `dst`, without overlap.
#[inline]
pub(crate) unsafe fn copy_strided(src: *const u8, stride: isize, size: usize, dst: *mut u8, n: usize) {
    macro_rules! go {
        ($t:ty) => {{
            let (src, dst) = (src.cast::<$t>(), dst.cast::<$t>());
            // SAFETY: the caller's contract.
            unsafe {
                if stride == 0 {
                    let v = src.read();
                    for i in 0..n {
                        dst.add(i).write(v);
                    }
                } else {
                    for i in 0..n {
                        dst.add(i).write(src.offset(i as isize * stride).read());
                    }
                }
            }
        }};
    }
    if stride == 1 {
        // SAFETY: the caller's contract.
        unsafe { std::ptr::copy_nonoverlapping(src, dst, n * size) };
        return;
    }
    match size {
        1 => go!(u8),
        2 => go!(u16),
        4 => go!(u32),
        _ => go!(u64),
    }
}

/// Copies `n` elements of `size` bytes between strided memories.
///
/// # Safety
/// The elements can be read and written, without overlap.
#[inline]
pub(crate) unsafe fn copy_strided_both(
    src: *const u8,
    ss: isize,
    dst: *mut u8,
    ds: isize,
    size: usize,
    n: usize,
) {
    if ds == 1 {
        // SAFETY: the caller's contract.
        return unsafe { copy_strided(src, ss, size, dst, n) };
    }
    macro_rules! go {
        ($t:ty) => {{
            let (src, dst) = (src.cast::<$t>(), dst.cast::<$t>());
            for i in 0..n as isize {
                // SAFETY: the caller's contract.
                unsafe { dst.offset(i * ds).write(src.offset(i * ss).read()) };
            }
        }};
    }
    match size {
        1 => go!(u8),
        2 => go!(u16),
        4 => go!(u32),
        _ => go!(u64),
    }
}

/// Lines of up to this length are copied many at a time, because a call for each would cost more than the copy.
const SHORT: usize = 128;

/// Copies `m` lines of `n` elements of `size` bytes to contiguous memory; `stride` is the distance of elements within a line,
/// `step` that of lines.
///
/// # Safety
/// The elements can be read, `m · n` contiguous ones written at `dst`, without overlap.
#[inline(always)]
unsafe fn lines(src: *const u8, n: usize, stride: isize, m: usize, step: isize, size: usize, dst: *mut u8) {
    macro_rules! go {
        ($t:ty) => {{
            let (src, dst) = (src.cast::<$t>(), dst.cast::<$t>());
            macro_rules! fixed {
                ($n:literal) => {
                    for l in 0..m {
                        // SAFETY: the caller's contract.
                        unsafe {
                            let line = src.offset(l as isize * step);
                            let to = dst.add(l * $n).cast::<[$t; $n]>();
                            let values = if stride == 0 {
                                [line.read(); $n]
                            } else {
                                line.cast::<[$t; $n]>().read_unaligned()
                            };
                            to.write_unaligned(values);
                        }
                    }
                };
            }
            match (stride, n) {
                (0 | 1, 2) => fixed!(2),
                (0 | 1, 3) => fixed!(3),
                (0 | 1, 4) => fixed!(4),
                (0 | 1, 5) => fixed!(5),
                (0 | 1, 6) => fixed!(6),
                (0 | 1, 7) => fixed!(7),
                (0 | 1, 8) => fixed!(8),
                (0 | 1, 9) => fixed!(9),
                (0 | 1, 10) => fixed!(10),
                (0 | 1, 11) => fixed!(11),
                (0 | 1, 12) => fixed!(12),
                (0 | 1, 13) => fixed!(13),
                (0 | 1, 14) => fixed!(14),
                (0 | 1, 15) => fixed!(15),
                (0 | 1, 16) => fixed!(16),
                (0 | 1, 32) => fixed!(32),
                (0 | 1, 64) => fixed!(64),
                _ => {
                    for l in 0..m {
                        for i in 0..n {
                            // SAFETY: the caller's contract.
                            unsafe {
                                let v = src.offset(l as isize * step + i as isize * stride).read();
                                dst.add(l * n + i).write(v);
                            }
                        }
                    }
                }
            }
        }};
    }
    match size {
        1 => go!(u8),
        2 => go!(u16),
        4 => go!(u32),
        _ => go!(u64),
    }
}

/// See [`lines`].
type CopyLines =
    unsafe fn(src: *const u8, n: usize, stride: isize, m: usize, step: isize, size: usize, dst: *mut u8);
static COPY_LINES: CopyLines = crate::__multiversion!(lines(
    src: *const u8,
    n: usize,
    stride: isize,
    m: usize,
    step: isize,
    size: usize,
    dst: *mut u8
));

/// Reads consecutive tiles of the linear index of strided memory.
pub(crate) struct Cursor<'a> {
    base: *const u8,
    size: usize,
    odometer: Odometer<'a>,
    /// If the tile of [`Cursor::tile`] is filled with one repeated element: that element's offset, and the number of times.
    filled: (isize, usize),
}

impl<'a> Cursor<'a> {
    /// A cursor at linear index `start` of the elements of `size` bytes at `base`.
    ///
    /// # Safety
    /// While the cursor is used, all elements that `axes` reach from `base` can be read.
    pub(crate) unsafe fn new(base: *const u8, size: usize, axes: &'a Axes, start: usize) -> Self {
        let axes = axes.as_slice();
        let odometer = if start == 0 { Odometer::new(axes) } else { Odometer::at(axes, start) };
        Self { base, size, odometer, filled: (0, 0) }
    }

    /// The address of the next `n` elements: in place if they are contiguous, else copied to `tile`. `tile` is the same at every
    /// call.
    ///
    /// # Safety
    /// As for [`Cursor::load`]; between calls only the cursor writes to `tile`.
    pub(crate) unsafe fn tile(&mut self, tile: *mut u8, n: usize) -> *const u8 {
        let stride = self.odometer.axes.first().map_or(0, |a| a.1);
        if (stride == 0 || stride == 1) && self.odometer.run() >= n {
            let offset = self.odometer.offset();
            let at = self.base.wrapping_offset(offset * self.size as isize);
            if stride == 1 {
                self.odometer.advance(n);
                return at;
            }
            if self.filled.0 == offset && self.filled.1 >= n {
                self.odometer.advance(n);
                return tile;
            }
            self.filled = (offset, n);
        } else {
            self.filled.1 = 0;
        }
        // SAFETY: the caller's contract.
        unsafe { self.load(tile, n) };
        tile
    }

    /// Copies the next `n` elements to `dst`.
    ///
    /// # Safety
    /// `n` elements remain and can be written at `dst`, without overlap.
    pub(crate) unsafe fn load(&mut self, mut dst: *mut u8, mut n: usize) {
        let (inner, stride) = self.odometer.axes.first().copied().unwrap_or((1, 0));
        while n > 0 {
            if inner <= SHORT && n >= 2 * inner {
                let lines = self.odometer.lines().min(n / inner);
                if lines > 1 {
                    let at = self.odometer.offset() * self.size as isize;
                    let step = self.odometer.axes[1].1;
                    // SAFETY: `new`'s caller vouches for the elements of these lines.
                    unsafe {
                        COPY_LINES(self.base.offset(at), inner, stride, lines, step, self.size, dst);
                        dst = dst.add(lines * inner * self.size);
                    }
                    self.odometer.advance_lines(lines);
                    n -= lines * inner;
                    continue;
                }
            }
            let run = self.odometer.run().min(n);
            let at = self.odometer.offset() * self.size as isize;
            // SAFETY: `new`'s caller vouches for the `run` elements along the innermost axis.
            unsafe {
                copy_strided(self.base.offset(at), stride, self.size, dst, run);
                dst = dst.add(run * self.size);
            }
            self.odometer.advance(run);
            n -= run;
        }
    }
}
