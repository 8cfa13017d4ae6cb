//! Elementwise drivers: a tile function over inputs of any layout.

use crate::cast::{cast_tile, narrow_tile, widen_tile};
use crate::loader::{Axes, Cursor, TILE, Tile, copy_strided};
use crate::simd::{Tile1, Tile2, Tile3};
use crate::view::{Out, View};

/// How a driver gets at the tiles of one input.
enum Source<'a> {
    /// Row-major memory, used in place.
    Direct(*const u8),
    /// The same tile every time.
    Fixed(*const u8),
    /// Strided memory, gathered into a tile.
    Gather(Cursor<'a>),
}

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
    let mut converted: [Tile; K] = std::array::from_fn(|_| Tile::new());
    let mut result = Tile::new();
    let widen: [Option<Tile1>; K] = inputs.map(|x| if wide { widen_tile(x.dtype()) } else { None });
    let axes: [Axes; K] =
        std::array::from_fn(|k| if same[k] { Axes::new() } else { Axes::broadcast(&inputs[k], out.shape()) });
    let mut sources: [Source<'_>; K] = std::array::from_fn(|k| {
        let (x, size) = (&inputs[k], inputs[k].dtype().size());
        if same[k] && x.ptr() != out.ptr() {
            return Source::Direct(x.ptr());
        }
        if same[k] {
            // In place: the tile is copied out before it is overwritten.
            return Source::Direct(x.ptr());
        }
        let steps = axes[k].as_slice();
        if steps.iter().all(|a| a.1 == 0) {
            // SAFETY: `out` is not empty, so neither is the input; a tile holds TILE elements of any type.
            unsafe { copy_strided(x.ptr(), 0, size, raw[k].ptr(), TILE.min(n)) };
            let mut at = raw[k].ptr();
            if let Some(f) = widen[k] {
                // SAFETY: both tiles hold TILE elements.
                unsafe { f(at, converted[k].ptr(), TILE.min(n)) };
                at = converted[k].ptr();
            }
            return Source::Fixed(at);
        }
        // SAFETY: the view vouches for its elements, and `axes` reach no others.
        Source::Gather(unsafe { Cursor::new(x.ptr(), size, &axes[k], 0) })
    });
    let out_size = out.dtype().size();
    let mut start = 0;
    while start < n {
        let len = TILE.min(n - start);
        let tiles: [*const u8; K] = std::array::from_fn(|k| {
            let size = inputs[k].dtype().size();
            let at: *const u8 = match &mut sources[k] {
                Source::Fixed(p) => return *p,
                // SAFETY: `start` is within the input's elements.
                Source::Direct(p) => unsafe { p.add(start * size) },
                Source::Gather(cursor) => {
                    // SAFETY: `len` elements remain; a tile holds that many.
                    unsafe { cursor.load(raw[k].ptr(), len) };
                    raw[k].ptr()
                }
            };
            if let Some(f) = widen[k] {
                // SAFETY: `len` elements at `at`, room for them in the tile.
                unsafe { f(at, converted[k].ptr(), len) };
                return converted[k].ptr();
            }
            if at == inputs[k].ptr().wrapping_add(start * size) && inputs[k].ptr() == out.ptr() {
                // SAFETY: `len` elements at `at`, room for them in the tile.
                unsafe { std::ptr::copy_nonoverlapping(at, raw[k].ptr(), len * size) };
                return raw[k].ptr();
            }
            at
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
    unsafe { Cursor::new(x.ptr(), size, &axes, 0).load(out.ptr(), n) };
}

/// Sets every element of `out` to the one element of `value`, converted to `out`'s type.
pub fn fill(value: View<'_>, out: Out<'_>) {
    debug_assert_eq!(value.size(), 1);
    cast(value, out);
}
