//! Cumulative operations along one axis.

use crate::dtype::Element;
use crate::half_bits::{bf16_to_f32, f16_to_f32, f32_to_bf16, f32_to_f16};
use crate::num::Num;
use crate::view::{Out, View};
use half::{bf16, f16};

/// What a scan accumulates.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Scan {
    /// Running sum.
    Sum,
    /// Running product.
    Prod,
    /// Running maximum; NaN from the first NaN on.
    Max,
    /// Running minimum; NaN from the first NaN on.
    Min,
    /// Running `log(sum(exp(x)))`.
    LogAddExp,
}

/// What is stored and what it is accumulated in.
trait Stored: Element {
    type Acc: Num;
    fn load(self) -> Self::Acc;
    fn store(a: Self::Acc) -> Self;
}
macro_rules! stored {
    ($($t:ty)*) => {$(
        impl Stored for $t {
            type Acc = $t;
            #[inline(always)]
            fn load(self) -> $t { self }
            #[inline(always)]
            fn store(a: $t) -> $t { a }
        }
    )*};
}
stored!(bool u8 u16 u32 u64 i8 i16 i32 i64 f32 f64 crate::C64);
impl Stored for f16 {
    type Acc = f32;
    #[inline(always)]
    fn load(self) -> f32 {
        f16_to_f32(self)
    }
    #[inline(always)]
    fn store(a: f32) -> Self {
        f32_to_f16(a)
    }
}
impl Stored for bf16 {
    type Acc = f32;
    #[inline(always)]
    fn load(self) -> f32 {
        bf16_to_f32(self)
    }
    #[inline(always)]
    fn store(a: f32) -> Self {
        f32_to_bf16(a)
    }
}

/// Columns that are scanned side by side.
const COLUMNS: usize = 64;

/// Accumulates `x` along `axis` into `out` (same shape; `x` is converted to `out`'s type first).
///
/// `reverse` runs from the end. `inclusive` counts the element itself; otherwise the first result is the
/// neutral element. Half-precision types accumulate in `f32`. `x` may be exactly `out`'s memory.
pub fn scan(op: Scan, x: View<'_>, axis: usize, reverse: bool, inclusive: bool, out: Out<'_>) {
    let (ptr, dtype, shape) = (out.ptr(), out.dtype(), out.shape());
    let (len, inner) = (shape[axis], shape[axis + 1..].iter().product::<usize>());
    let outer: usize = shape[..axis].iter().product();
    crate::map::cast(x, out);
    if outer * len * inner == 0 {
        return;
    }
    crate::with_dtype!(dtype, T => {
        // SAFETY: `out` holds this many elements, and `cast` has just written them all.
        let data = unsafe { std::slice::from_raw_parts_mut(ptr.cast::<T>(), outer * len * inner) };
        type A = <T as Stored>::Acc;
        for block in data.chunks_exact_mut(len * inner) {
            match op {
                Scan::Sum => block_scan::<T>(block, inner, reverse, inclusive, A::ZERO, |a, b| a.add(b)),
                Scan::Prod => block_scan::<T>(block, inner, reverse, inclusive, A::ONE, |a, b| a.mul(b)),
                Scan::Max => block_scan::<T>(block, inner, reverse, inclusive, A::LOWEST, |a, b| a.greater(b)),
                Scan::Min => block_scan::<T>(block, inner, reverse, inclusive, A::HIGHEST, |a, b| a.lesser(b)),
                Scan::LogAddExp => {
                    block_scan::<T>(block, inner, reverse, inclusive, A::LOWEST, |a, b| a.log_add_exp(b))
                }
            }
        }
    });
}

/// Scans the rows of a `[len, inner]` block downwards (or upwards).
fn block_scan<T: Stored>(
    block: &mut [T],
    inner: usize,
    reverse: bool,
    inclusive: bool,
    init: T::Acc,
    f: impl Fn(T::Acc, T::Acc) -> T::Acc,
) {
    if inner == 1 {
        let mut acc = init;
        let mut step = |cell: &mut T| {
            let before = acc;
            acc = f(before, cell.load());
            *cell = T::store(if inclusive { acc } else { before });
        };
        return if reverse {
            block.iter_mut().rev().for_each(step)
        } else {
            block.iter_mut().for_each(&mut step)
        };
    }
    let len = block.len() / inner;
    for first in (0..inner).step_by(COLUMNS) {
        let columns = COLUMNS.min(inner - first);
        let mut acc = [init; COLUMNS];
        for i in 0..len {
            let row = if reverse { len - 1 - i } else { i };
            let cells = &mut block[row * inner + first..][..columns];
            for (cell, acc) in cells.iter_mut().zip(&mut acc) {
                let before = *acc;
                *acc = f(before, cell.load());
                *cell = T::store(if inclusive { *acc } else { before });
            }
        }
    }
}
