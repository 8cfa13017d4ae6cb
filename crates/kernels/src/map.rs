//! Elementwise drivers: a tile function over inputs of any layout.

use crate::cast::{cast_tile, narrow_tile, widen_tile};
use crate::copy::{against_the_grain, copy_out};
use crate::loader::{Axes, Cursor, TILE, Tile, copy_strided};
use crate::simd::{Tile1, Tile2, Tile3};
use crate::view::{Out, View};

/// How a driver gets at the tiles of one input.
enum Source<'a> {
    /// Row-major memory, used where it is.
    Direct(*const u8),
    /// The output's own memory: a tile is copied out before it is overwritten.
    InPlace(*const u8),
    /// A few elements again and again; as many whole periods in memory as one tile needs at any phase.
    Periodic(*const u8, usize),
    /// Strided memory, gathered into a tile.
    Gather(Cursor<'a>),
}

/// Elements from which on an input against the grain of memory is transposed as a whole, not tile by tile.
const TRANSPOSE: usize = 1 << 14;

/// Runs `call` over the output tile by tile.
#[inline]
fn drive<const K: usize>(
    inputs: [View<'_>; K],
    out: &Out<'_>,
    wide: bool,
    call: impl Fn([*const u8; K], *mut u8, usize),
) {
    let n = out.size();
    if n == 0 {
        return;
    }
    let narrow = if wide { narrow_tile(out.dtype()) } else { None };
    let mut direct = narrow.is_none();
    let mut same = [false; K];
    for (k, x) in inputs.iter().enumerate() {
        same[k] = x.size() == n && x.is_row_major();
        direct &= same[k] && x.ptr() != out.ptr() && !(wide && widen_tile(x.dtype()).is_some());
    }
    if direct {
        call(inputs.map(|x| x.ptr()), out.ptr(), n);
        return;
    }
    drive_tiles(inputs, same, out, narrow, wide, call);
}

/// [`drive`] where some input is not simply there: broadcast, strided, in place or to be converted.
fn drive_tiles<const K: usize>(
    inputs: [View<'_>; K],
    same: [bool; K],
    out: &Out<'_>,
    narrow: Option<Tile1>,
    wide: bool,
    call: impl Fn([*const u8; K], *mut u8, usize),
) {
    let n = out.size();
    let mut raw: [Tile; K] = std::array::from_fn(|_| Tile::new());
    // Two tiles long: a period of one tile starts anywhere in the first.
    let mut converted: [[Tile; 2]; K] = std::array::from_fn(|_| [Tile::new(), Tile::new()]);
    let mut result = Tile::new();
    let mut copies: [Vec<u64>; K] = std::array::from_fn(|_| Vec::new());
    let mut widen: [Option<Tile1>; K] = inputs.map(|x| if wide { widen_tile(x.dtype()) } else { None });
    // The size of an element as `call` sees it, and as it is stored.
    let stored = inputs.map(|x| x.dtype().size());
    let axes: [Axes; K] =
        std::array::from_fn(|k| if same[k] { Axes::new() } else { Axes::broadcast(&inputs[k], out.shape()) });
    let mut sources: [Source<'_>; K] = std::array::from_fn(|k| {
        let (x, size) = (&inputs[k], stored[k]);
        if same[k] {
            return if x.ptr() == out.ptr() { Source::InPlace(x.ptr()) } else { Source::Direct(x.ptr()) };
        }
        let period = match *axes[k].as_slice() {
            [] | [(_, 0)] => 1,
            [(p, 1), (_, 0)] if p <= TILE => p,
            _ if n >= TRANSPOSE && against_the_grain(axes[k].as_slice()) => {
                copies[k] = vec![0; (n * size).div_ceil(8)];
                let at = copies[k].as_mut_ptr().cast::<u8>();
                // SAFETY: the view vouches for what `axes` reach; the vector has room for `n` elements.
                unsafe { copy_out(x.ptr(), size, &axes[k], at, n) };
                return Source::Direct(at);
            }
            // SAFETY: the view vouches for its elements, and `axes` reach no others.
            _ => return Source::Gather(unsafe { Cursor::new(x.ptr(), size, &axes[k], 0) }),
        };
        // SAFETY: the output is not empty, so neither is the input, whose first `period` elements are contiguous;
        // the two tiles have room for a period and a tile.
        unsafe {
            let at = converted[k].as_mut_ptr().cast::<u8>();
            let mut size = size;
            match widen[k].take() {
                Some(f) => {
                    size = 4;
                    f(x.ptr(), at, period);
                }
                None => std::ptr::copy_nonoverlapping(x.ptr(), at, period * size),
            }
            if period == 1 {
                copy_strided(at, 0, size, at.add(size), (TILE - 1).min(n - 1));
            } else {
                let (mut filled, want) = (period, period + TILE.min(n));
                while filled < want {
                    let more = filled.min(want - filled);
                    std::ptr::copy_nonoverlapping(at, at.add(filled * size), more * size);
                    filled += more;
                }
            }
            Source::Periodic(at, period)
        }
    });
    let seen: [usize; K] =
        std::array::from_fn(|k| if wide && widen_tile(inputs[k].dtype()).is_some() { 4 } else { stored[k] });
    let out_size = out.dtype().size();
    let mut start = 0;
    while start < n {
        let len = TILE.min(n - start);
        let tiles: [*const u8; K] = std::array::from_fn(|k| {
            let at: *const u8 = match &mut sources[k] {
                // SAFETY: a tile starts at every phase of the period.
                Source::Periodic(p, period) => return unsafe { p.add(start % *period * seen[k]) },
                // SAFETY: `start` is within the input's elements.
                Source::Direct(p) => unsafe { p.add(start * stored[k]) },
                Source::InPlace(p) => {
                    // SAFETY: `len` elements from `start` on are within the input, and fit a tile.
                    unsafe {
                        std::ptr::copy_nonoverlapping(p.add(start * stored[k]), raw[k].ptr(), len * stored[k])
                    };
                    raw[k].ptr()
                }
                Source::Gather(cursor) => {
                    // SAFETY: `len` elements remain; a tile holds that many.
                    unsafe { cursor.load(raw[k].ptr(), len) };
                    raw[k].ptr()
                }
            };
            match widen[k] {
                Some(f) => {
                    let to = converted[k][0].ptr();
                    // SAFETY: `len` elements at `at`, room for them in the tile.
                    unsafe { f(at, to, len) };
                    to
                }
                None => at,
            }
        });
        // SAFETY: `start` is within the output.
        let dst = unsafe { out.ptr().add(start * out_size) };
        match narrow {
            Some(f) => {
                call(tiles, result.ptr(), len);
                // SAFETY: `call` filled `len` elements; the output has room for them.
                unsafe { f(result.ptr(), dst, len) };
            }
            None => call(tiles, dst, len),
        }
        start += len;
    }
}

/// `out[i] = f(x[i])`, with `x` broadcast to `out`'s shape.
///
/// Shapes align on the right; axes of extent 1 and missing axes repeat. `x` may be exactly `out`'s memory.
/// `f` must be a tile of `x`'s and `out`'s element types.
pub fn map1(f: Tile1, x: View<'_>, out: Out<'_>) {
    // SAFETY: the driver hands over tiles that hold `n` elements and do not overlap.
    drive([x], &out, false, |[x], o, n| unsafe { f(x, o, n) });
}

/// `out[i] = f(a[i], b[i])`; see [`map1`].
pub fn map2(f: Tile2, a: View<'_>, b: View<'_>, out: Out<'_>) {
    // SAFETY: as in `map1`.
    drive([a, b], &out, false, |[a, b], o, n| unsafe { f(a, b, o, n) });
}

/// `out[i] = f(a[i], b[i], c[i])`; see [`map1`].
pub fn map3(f: Tile3, a: View<'_>, b: View<'_>, c: View<'_>, out: Out<'_>) {
    // SAFETY: as in `map1`.
    drive([a, b, c], &out, false, |[a, b, c], o, n| unsafe { f(a, b, c, o, n) });
}

/// [`map1`] in `f32` for half-precision types: inputs stored as `f16` or `bf16` are widened before `f`, and the
/// result is narrowed if `out` is stored so. `f` sees `f32` in their place.
pub fn map1_wide(f: Tile1, x: View<'_>, out: Out<'_>) {
    // SAFETY: as in `map1`.
    drive([x], &out, true, |[x], o, n| unsafe { f(x, o, n) });
}

/// [`map2`] in `f32` for half-precision types; see [`map1_wide`].
pub fn map2_wide(f: Tile2, a: View<'_>, b: View<'_>, out: Out<'_>) {
    // SAFETY: as in `map1`.
    drive([a, b], &out, true, |[a, b], o, n| unsafe { f(a, b, o, n) });
}

/// [`map3`] in `f32` for half-precision types; see [`map1_wide`].
pub fn map3_wide(f: Tile3, a: View<'_>, b: View<'_>, c: View<'_>, out: Out<'_>) {
    // SAFETY: as in `map1`.
    drive([a, b, c], &out, true, |[a, b, c], o, n| unsafe { f(a, b, c, o, n) });
}

/// Converts `x` to `out`'s element type, broadcasting to its shape; the same type is a copy.
///
/// Floating point to integer rounds towards zero and saturates; to bool asks whether the value differs from
/// zero; complex to real takes the real part.
pub fn cast(x: View<'_>, out: Out<'_>) {
    let n = out.size();
    if n == 0 {
        return;
    }
    if x.dtype() != out.dtype() {
        map1(cast_tile(x.dtype(), out.dtype()), x, out);
        return;
    }
    let size = x.dtype().size();
    if x.size() == n && x.is_row_major() {
        if x.ptr() != out.ptr() {
            // SAFETY: `n` elements on both sides; different memory by the contract of `Out`.
            unsafe { std::ptr::copy_nonoverlapping(x.ptr(), out.ptr(), n * size) };
        }
        return;
    }
    let axes = Axes::broadcast(&x, out.shape());
    // SAFETY: the view vouches for what `axes` reach; `out` has room for `n` elements.
    unsafe { copy_out(x.ptr(), size, &axes, out.ptr(), n) };
}

/// Sets every element of `out` to the one element of `value`, converted to `out`'s type.
pub fn fill(value: View<'_>, out: Out<'_>) {
    debug_assert_eq!(value.size(), 1);
    cast(value, out);
}
