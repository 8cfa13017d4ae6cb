//! Evenly spaced values.

use crate::cast::cast_tile;
use crate::dtype::Dtype;
use crate::num::Num;
use crate::view::Out;

/// Fills `out` with `start, start + step, …`, in `out`'s element type.
///
/// As in MLX, `start` and `start + step` are rounded to the type first, and each value is the one before plus
/// their difference, so that the results agree bit for bit.
pub fn arange(start: f64, step: f64, out: Out<'_>) {
    let convert = cast_tile(Dtype::F64, out.dtype());
    crate::with_dtype!(out.dtype(), T => {
        let (mut first, mut next) = (T::ZERO, T::ZERO);
        let then = start + step;
        // SAFETY: one element on each side.
        unsafe {
            convert((&raw const start).cast(), (&raw mut first).cast(), 1);
            convert((&raw const then).cast(), (&raw mut next).cast(), 1);
        }
        let step = next.sub(first);
        let mut value = first;
        for i in 0..out.size() {
            // SAFETY: `i` is within the output.
            unsafe { out.ptr().cast::<T>().add(i).write(value) };
            value = value.add(step);
        }
    });
}
