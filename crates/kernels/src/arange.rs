//! Evenly spaced values.

use crate::convert::cast_tile;
use crate::dtype::Dtype;
use crate::strided::Out;

/// Evenly spaced numbers. Element `i` is computed from `i` alone, in a sufficiently wide type, and rounded once, so that
/// rounding errors do not accumulate.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Spaced {
    /// `start + i·step` in integers, wrapped to the width of an integer type.
    Whole {
        /// Element 0.
        start: i128,
        /// The difference of neighbouring elements.
        step: i128,
    },
    /// `start + i·step` in `f64`, rounded once.
    Real {
        /// Element 0.
        start: f64,
        /// The difference of neighbouring elements.
        step: f64,
    },
    /// From `start` to `stop`, both included, at equal distances.
    Ends {
        /// Element 0.
        start: f64,
        /// The last element. A single element is `start`.
        stop: f64,
    },
}

/// Elements that are computed in `f64` before they are converted.
const TILE: usize = 512;
/// Integers up to this magnitude are exact in `f64`.
const EXACT: i128 = 1 << 53;

/// Fills `out` with `start, start + step, …`, in `out`'s element type: each number is `start + i·step` in `f64`, rounded once.
pub fn arange(start: f64, step: f64, out: Out<'_>) {
    spaced(Spaced::Real { start, step }, out);
}

/// Fills `out` with the numbers, in `out`'s element type.
pub fn spaced(numbers: Spaced, out: Out<'_>) {
    let count = out.size();
    match numbers {
        Spaced::Whole { start, step } if out.dtype().is_integer() => whole(start, step, out),
        Spaced::Whole { start, step } => {
            let last = start + step * count.saturating_sub(1) as i128;
            if start.abs().max(last.abs()).max(step.abs()) <= EXACT {
                let (start, step) = (start as f64, step as f64);
                return fill(out, |i| i.mul_add(step, start));
            }
            // Each number fits in 64 bits, signed or unsigned.
            each(out, |i| start + step * i as i128);
        }
        Spaced::Real { start, step } => fill(out, |i| i.mul_add(step, start)),
        Spaced::Ends { start, stop } => {
            let steps = count.saturating_sub(1).max(1) as f64;
            // In the first form whole numbers stay whole, and the middle of a symmetric range is zero. For the widest ranges
            // its products overflow; then the second form is used.
            let room = start.abs().max(stop.abs()) < f64::MAX / (2.0 * steps);
            fill(out, |i| {
                let left = steps - i;
                let between = i.mul_add(stop, left * start) / steps;
                let scaled = (i / steps).mul_add(stop, left / steps * start);
                let inside = if room { between } else { scaled };
                let from_start = if i == 0.0 { start } else { inside };
                if i == steps { stop } else { from_start }
            });
        }
    }
}

/// Integers, wrapped.
fn whole(start: i128, step: i128, out: Out<'_>) {
    macro_rules! run {
        ($($d:ident $t:ty),*) => {
            match out.dtype() {
                $(Dtype::$d => {
                    let (mut value, step) = (start as $t, step as $t);
                    for i in 0..out.size() {
                        // SAFETY: `i` is within the output.
                        unsafe { out.ptr().cast::<$t>().add(i).write(value) };
                        // Addition modulo the width is exact, so this is start + i·step.
                        value = value.wrapping_add(step);
                    }
                })*
                other => unreachable!("{other} is not an integer type"),
            }
        };
    }
    run!(U8 u8, U16 u16, U32 u32, U64 u64, I8 i8, I16 i16, I32 i32, I64 i64);
}

/// Fills `out` tile by tile with numbers that are computed in `f64` from their index.
fn fill(out: Out<'_>, value: impl Fn(f64) -> f64) {
    let convert = cast_tile(Dtype::F64, out.dtype());
    let width = out.dtype().size();
    let mut tile = [0.0f64; TILE];
    for first in (0..out.size()).step_by(TILE) {
        let n = TILE.min(out.size() - first);
        let base = first as f64;
        for (i, slot) in tile.iter_mut().enumerate() {
            *slot = value(base + i as u32 as f64);
        }
        // SAFETY: `n` elements of the output from `first` on, and as many of the tile.
        unsafe { convert(tile.as_ptr().cast(), out.ptr().add(first * width), n) };
    }
}

/// Fills `out` with integers that may not be exact in `f64`, converted one by one.
fn each(out: Out<'_>, value: impl Fn(usize) -> i128) {
    let (signed, unsigned) = (cast_tile(Dtype::I64, out.dtype()), cast_tile(Dtype::U64, out.dtype()));
    let width = out.dtype().size();
    for i in 0..out.size() {
        // SAFETY: element `i` of the output.
        let place = unsafe { out.ptr().add(i * width) };
        let v = value(i);
        if let Ok(v) = i64::try_from(v) {
            // SAFETY: as above.
            unsafe { signed((&raw const v).cast(), place, 1) };
        } else {
            let v = v as u64;
            // SAFETY: as above.
            unsafe { unsigned((&raw const v).cast(), place, 1) };
        }
    }
}
