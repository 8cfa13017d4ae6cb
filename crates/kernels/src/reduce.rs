//! Reductions over any set of axes.

use crate::cast::cast_tile;
use crate::dtype::Dtype;
use crate::loader::{Axes, Cursor, Odometer, TILE, Tile};
use crate::num::Num;
use crate::view::{Out, View};

/// What a reduction computes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Reduce {
    /// The sum; 0 of nothing.
    Sum,
    /// The product; 1 of nothing.
    Prod,
    /// The greatest element, NaN if there is one; of nothing, the least value of the type.
    Max,
    /// The least element, NaN if there is one; of nothing, the greatest value of the type.
    Min,
    /// Whether all elements differ from zero; true of nothing.
    All,
    /// Whether any element differs from zero; false of nothing.
    Any,
}

fn split(x: &View<'_>, axes: &[usize]) -> (Axes, Axes) {
    let (mut kept, mut reduced) = (Axes::new(), Axes::new());
    for k in (0..x.ndim()).rev() {
        let to = if axes.contains(&k) { &mut reduced } else { &mut kept };
        to.push(x.shape()[k], x.strides()[k]);
    }
    (kept, reduced)
}

/// Reduces `x` over `axes` (sorted, without repeats) into `out`, which holds the kept axes in order.
///
/// Sums and products are of `out`'s element type, which may be wider than `x`'s; half-precision types
/// accumulate in `f32`. Maximum and minimum are of `x`'s type; all and any take any type and give bool.
pub fn reduce(op: Reduce, x: View<'_>, axes: &[usize], out: Out<'_>) {
    let acc = match (op, out.dtype()) {
        (_, Dtype::F16 | Dtype::Bf16) => Dtype::F32,
        (_, d) => d,
    };
    crate::with_dtype!(acc, T => match op {
        Reduce::Sum => run::<T>(&x, axes, &out, T::ZERO, |a, b| a.add(b)),
        Reduce::Prod => run::<T>(&x, axes, &out, T::ONE, |a, b| a.mul(b)),
        Reduce::Max => run::<T>(&x, axes, &out, T::LOWEST, |a, b| a.greater(b)),
        Reduce::Min => run::<T>(&x, axes, &out, T::HIGHEST, |a, b| a.lesser(b)),
        Reduce::All => run::<bool>(&x, axes, &out, true, |a, b| a & b),
        Reduce::Any => run::<bool>(&x, axes, &out, false, |a, b| a | b),
    });
}

fn run<T: Num>(x: &View<'_>, axes: &[usize], out: &Out<'_>, init: T, f: impl Fn(T, T) -> T) {
    let (kept, reduced) = split(x, axes);
    let count: usize = axes.iter().map(|&k| x.shape()[k]).product();
    let to_acc = cast_tile(x.dtype(), T::DTYPE);
    let from_acc = cast_tile(T::DTYPE, out.dtype());
    let size = x.dtype().size();
    let mut at = Odometer::new(kept.as_slice());
    let (mut raw, mut wide) = (Tile::new(), Tile::new());
    for i in 0..out.size() {
        let mut acc = init;
        if count > 0 {
            // SAFETY: the view vouches for its elements; tiles have room for TILE elements.
            unsafe {
                let mut cursor = Cursor::new(x.ptr().offset(at.offset() * size as isize), size, &reduced, 0);
                let mut left = count;
                while left > 0 {
                    let n = left.min(TILE);
                    cursor.load(raw.ptr(), n);
                    to_acc(raw.ptr(), wide.ptr(), n);
                    for &v in std::slice::from_raw_parts(wide.ptr().cast::<T>(), n) {
                        acc = f(acc, v);
                    }
                    left -= n;
                }
            }
        }
        // SAFETY: `i` is within the output.
        unsafe { from_acc((&raw const acc).cast(), out.ptr().add(i * out.dtype().size()), 1) };
        at.step();
    }
}

/// The index along `axis` of the greatest (`max`) or least element, the first of equals; a NaN counts as extreme.
///
/// `out` is `u32`. The axis must not be empty.
pub fn arg_reduce(max: bool, x: View<'_>, axis: usize, out: Out<'_>) {
    debug_assert_eq!(out.dtype(), Dtype::U32);
    let (kept, _) = split(&x, &[axis]);
    let (n, stride) = (x.shape()[axis], x.strides()[axis]);
    let mut at = Odometer::new(kept.as_slice());
    crate::with_dtype!(x.dtype(), T => {
        for i in 0..out.size() {
            // SAFETY: the view vouches for its elements; `i` is within the output.
            unsafe {
                let p = x.ptr().cast::<T>().offset(at.offset());
                let mut best = *p;
                let mut index = 0;
                for k in 1..n {
                    let v = *p.offset(k as isize * stride);
                    if best.nan() {
                        break;
                    }
                    let order = v.order(&best);
                    if v.nan() || (if max { order.is_gt() } else { order.is_lt() }) {
                        best = v;
                        index = k;
                    }
                }
                out.ptr().cast::<u32>().add(i).write(index as u32);
            }
            at.step();
        }
    });
}
