//! Reductions over any set of axes.
//!
//! Two loops do the work: folding contiguous runs (the reduced axes are innermost) and accumulating rows of kept
//! columns side by side (a kept axis is innermost). Both split long stretches in halves, so that the error of a
//! floating-point sum grows with the logarithm of its length. Both keep many accumulators, so that they vectorise. The
//! order of operations depends on the layout alone.

mod across;
mod arg;
mod fold;
mod parts;
mod reduction;

use crate::combine::{Combine, Max, Min, Prod, Sum};
use crate::dtype::Dtype;
use crate::num::Num;
use crate::simd::vectorize;
use crate::strided::{Out, View};
pub use arg::arg_reduce;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub(crate) use fold::{LANES, SHORT, sum_of_blocks};
use reduction::run;
use smallvec::SmallVec;

/// The operation of a reduction.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Reduce {
    /// The sum; 0 for no elements.
    Sum,
    /// The product; 1 for no elements.
    Prod,
    /// The greatest element, NaN if there is one; the least value of the type for no elements.
    Max,
    /// The least element, NaN if there is one; the greatest value of the type for no elements.
    Min,
    /// Whether all elements differ from zero; true for no elements.
    All,
    /// Whether any element differs from zero; false for no elements.
    Any,
}

/// Reduces `x` over `axes` (sorted, without repeats) into `out`, whose axes are the kept ones in order.
///
/// Sums and products have `out`'s element type, which may be wider than `x`'s; half-precision types accumulate in `f32`.
/// Maximum and minimum have `x`'s type; all and any take any type and give bool.
///
/// Large reductions are divided over threads: along a kept axis, or into blocks if all axes are reduced. The division
/// depends on the extents alone.
pub fn reduce(op: Reduce, x: View<'_>, axes: &[usize], out: Out<'_>) {
    let Some(out) = once_each(op, &x, axes, out) else { return };
    let parts = (x.size() / PART).min(16);
    if parts >= 2 {
        let kept = (0..x.ndim()).find(|k| x.shape()[*k] > 1 && !axes.contains(k));
        match kept {
            Some(axis) => return parts::by_kept_axis(op, &x, axes, &out, axis, parts),
            None if x.is_row_major() && x.dtype() == out.dtype() && x.dtype().size() >= 4 => {
                return parts::by_blocks(op, &x, &out, parts);
            }
            None => {}
        }
    }
    whole(op, x, axes, out);
}

/// Reduces repeated elements (an axis of stride 0) once. Repetition does not change an extreme, and it multiplies a sum of
/// integers, exactly, modulo the width. Returns the output if no reduced axis is repeated.
fn once_each<'a>(op: Reduce, x: &View<'_>, axes: &[usize], out: Out<'a>) -> Option<Out<'a>> {
    let is_counted = op == Reduce::Sum && out.dtype().is_integer();
    let is_idempotent = !matches!(op, Reduce::Sum | Reduce::Prod);
    let is_repeated = |k: usize| x.strides()[k] == 0 && x.shape()[k] > 1;
    if !(is_counted || is_idempotent) || x.size() == 0 || !axes.iter().any(|&k| is_repeated(k)) {
        return Some(out);
    }
    let mut shape: SmallVec<[usize; 6]> = SmallVec::from_slice(x.shape());
    let mut times = 1usize;
    for &k in axes.iter().filter(|&&k| is_repeated(k)) {
        times = times.wrapping_mul(shape[k]);
        shape[k] = 1;
    }
    let (ptr, dtype, size) = (out.ptr(), out.dtype(), out.size());
    // SAFETY: some of the elements of `x`.
    reduce(op, unsafe { View::new(x.ptr(), x.dtype(), &shape, x.strides()) }, axes, out);
    macro_rules! multiply {
        ($($d:ident $t:ty),*) => {
            match dtype {
                $(Dtype::$d => {
                    // SAFETY: the output, which `reduce` has filled and only this thread uses.
                    let all = unsafe { std::slice::from_raw_parts_mut(ptr.cast::<$t>(), size) };
                    for sum in all {
                        *sum = sum.wrapping_mul(times as $t);
                    }
                })*
                _ => {}
            }
        };
    }
    if is_counted {
        multiply!(U8 u8, U16 u16, U32 u32, U64 u64, I8 i8, I16 i16, I32 i32, I64 i64);
    }
    None
}

/// Elements from which on a separate part pays.
const PART: usize = 1 << 16;

/// The whole reduction on this thread.
pub(crate) fn whole(op: Reduce, x: View<'_>, axes: &[usize], out: Out<'_>) {
    let acc = out.dtype().accumulator();
    match op {
        Reduce::Sum => crate::with_dtype!(acc, T => run::<T, Sum>(&x, axes, &out)),
        Reduce::Prod => crate::with_dtype!(acc, T => run::<T, Prod>(&x, axes, &out)),
        Reduce::Max => crate::with_dtype!(acc, T => run::<T, Max>(&x, axes, &out)),
        Reduce::Min => crate::with_dtype!(acc, T => run::<T, Min>(&x, axes, &out)),
        Reduce::All => run::<bool, Min>(&x, axes, &out),
        Reduce::Any => run::<bool, Max>(&x, axes, &out),
    }
}

vectorize! {
    fn combine_slices[T: Num, F: Combine](from: &[T], into: &mut [T]) {
        for (a, &b) in into.iter_mut().zip(from) {
            *a = F::apply(*a, b);
        }
    }
}

/// Combines the results of two parts of a reduction: `into[i] = into[i] ∘ from[i]`, with accumulators of type `acc`.
///
/// # Safety
/// Both have `n` elements of `acc`, without overlap, and only the caller uses `into`.
pub(crate) unsafe fn combine(op: Reduce, acc: Dtype, from: *const u8, into: *mut u8, n: usize) {
    macro_rules! go {
        ($t:ty, $f:ty) => {{
            // SAFETY: the caller's contract.
            let (from, into) = unsafe {
                (std::slice::from_raw_parts(from.cast(), n), std::slice::from_raw_parts_mut(into.cast(), n))
            };
            combine_slices::<$t, $f>(from, into)
        }};
    }
    match op {
        Reduce::Sum => crate::with_dtype!(acc, T => go!(T, Sum)),
        Reduce::Prod => crate::with_dtype!(acc, T => go!(T, Prod)),
        Reduce::Max => crate::with_dtype!(acc, T => go!(T, Max)),
        Reduce::Min => crate::with_dtype!(acc, T => go!(T, Min)),
        Reduce::All => go!(bool, Min),
        Reduce::Any => go!(bool, Max),
    }
}
