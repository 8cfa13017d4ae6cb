//! Conversions between element types, copies and fills, of any layout.

use super::copy::{against_the_grain, by_tiles, copy_bytes, copy_out};
use super::{Axes, Cursor, Out, TILE, Tile, View};
use crate::convert::cast_tile;
use crate::memory::Memory;
use crate::simd::Tile1;
use crate::stream::worthwhile;
use crate::threads::{Shared, parallel_ranges};

/// Elements from which on a separate part pays.
const PART: usize = 1 << 16;

/// Elements from which on an input against the grain of memory is transposed as a whole instead of tile by tile.
const TRANSPOSE: usize = 1 << 14;

/// Converts `x` to `out`'s element type, broadcasting to its shape; the same type is a copy.
///
/// Shapes align on the right; axes of extent 1 and missing axes repeat. Floating point to integer rounds towards zero
/// and saturates; a value converts to true unless it is zero; complex to real takes the real part. `x` may be
/// exactly `out`'s memory if the types are the same.
pub fn cast(x: View<'_>, out: Out<'_>) {
    let n = out.size();
    if n == 0 {
        return;
    }
    let size = x.dtype().size();
    let whole = x.size() == n && x.is_row_major();
    if x.dtype() != out.dtype() {
        let f = cast_tile(x.dtype(), out.dtype());
        return if whole { convert(f, x.ptr(), size, &out) } else { convert_strided(f, x, &out) };
    }
    if whole {
        if x.ptr() != out.ptr() {
            // SAFETY: `n` elements on both sides; different memory by the contract of `Out`.
            unsafe { copy_bytes(x.ptr(), out.ptr(), n * size) };
        }
        return;
    }
    let axes = Axes::broadcast(&x, out.shape());
    // SAFETY: the view vouches for the elements that `axes` reach; `out` has room for `n` elements.
    unsafe { copy_out(x.ptr(), size, &axes, out.ptr(), n) };
}

/// Converts contiguous elements of `size` bytes, as many as `out` has.
fn convert(f: Tile1, x: *const u8, size: usize, out: &Out<'_>) {
    let (x, to) = (Shared::read(x), out.dtype().size());
    let past = worthwhile(out.size() * to);
    parallel_ranges(out.size(), PART, &|range| {
        // SAFETY: elements `range` of both, which do not overlap.
        unsafe {
            let (from, dst) = (x.at(range.start * size).cast_const(), out.ptr().add(range.start * to));
            if past {
                by_tiles(dst, to, range.len(), |start, tile, n| f(from.add(start * size), tile, n));
            } else {
                f(from, dst, range.len());
            }
        };
    });
}

fn convert_strided(f: Tile1, x: View<'_>, out: &Out<'_>) {
    let (n, size, to) = (out.size(), x.dtype().size(), out.dtype().size());
    let axes = Axes::broadcast(&x, out.shape());
    if let [] | [(_, 0)] = axes.as_slice() {
        // One element is repeated for all of `out`.
        let mut value = Tile::new();
        // SAFETY: the output is not empty, so the input has an element.
        unsafe {
            f(x.ptr(), value.ptr(), 1);
            copy_out(value.ptr(), to, &axes, out.ptr(), n);
        }
        return;
    }
    if n >= TRANSPOSE && against_the_grain(axes.as_slice()) {
        let copy = Memory::<u8>::new(n * size);
        // SAFETY: the view vouches for the elements that `axes` reach; the memory has room for `n` elements.
        unsafe { copy_out(x.ptr(), size, &axes, copy.ptr(), n) };
        return convert(f, copy.ptr(), size, out);
    }
    parallel_ranges(n, PART, &|range| {
        // SAFETY: the view vouches for its elements, and `axes` reach no others.
        let mut cursor = unsafe { Cursor::new(x.ptr(), size, &axes, range.start) };
        let mut tile = Tile::new();
        for start in range.clone().step_by(TILE) {
            let len = TILE.min(range.end - start);
            // SAFETY: `len` elements remain and fit the tile; `out` has them too.
            unsafe {
                cursor.load(tile.ptr(), len);
                f(tile.ptr(), out.ptr().add(start * to), len);
            }
        }
    });
}

/// Sets every element of `out` to the one element of `value`, converted to `out`'s type.
pub fn fill(value: View<'_>, out: Out<'_>) {
    debug_assert_eq!(value.size(), 1);
    cast(value, out);
}
