//! The conversions between half precision and `f32` that products use.

use crate::convert::{narrow_tile, widen_tile};
use crate::dtype::Dtype;
use crate::simd::Tile1;

/// The conversions of a half-precision type to `f32` and back. Here `f16` is widened by the processor's instruction if there
/// is one; that instruction makes a signalling NaN quiet, which a product does anyway.
pub(super) fn conversions(dtype: Dtype) -> (Tile1, Tile1) {
    let (widen, narrow) = (widen_tile(dtype), narrow_tile(dtype));
    let (widen, narrow) = (widen.expect("a half-precision type"), narrow.expect("a half-precision type"));
    #[cfg(target_arch = "x86_64")]
    if dtype == Dtype::F16 {
        use crate::simd::{Level, level};
        return match level() {
            Level::Avx512 => (by_instruction::widen_512, narrow),
            Level::Avx2 if is_x86_feature_detected!("f16c") => (by_instruction::widen_256, narrow),
            _ => (widen, narrow),
        };
    }
    (widen, narrow)
}

#[cfg(target_arch = "x86_64")]
mod by_instruction {
    use crate::half_bits::f16_to_f32;
    use half::f16;
    use std::arch::x86_64::*;

    macro_rules! widen {
        ($name:ident, $inner:ident, $features:literal, $lanes:literal, |$from:ident, $to:ident| $step:expr) => {
            /// # Safety
            /// The contract of `Tile1`; the machine has the instructions.
            pub(super) unsafe fn $name(x: *const u8, out: *mut u8, n: usize) {
                #[target_feature(enable = $features)]
                unsafe fn $inner(x: *const f16, out: *mut f32, n: usize) {
                    let whole = n / $lanes * $lanes;
                    // SAFETY: the caller's contract: `n` elements of both.
                    unsafe {
                        for i in (0..whole).step_by($lanes) {
                            let ($from, $to) = (x.add(i), out.add(i));
                            $step;
                        }
                        for i in whole..n {
                            out.add(i).write(f16_to_f32(x.add(i).read()));
                        }
                    }
                }
                // SAFETY: the caller's contract.
                unsafe { $inner(x.cast(), out.cast(), n) }
            }
        };
    }
    widen!(widen_512, wide, "avx512f,avx512vl", 16, |from, to| _mm512_storeu_ps(
        to,
        _mm512_cvtph_ps(_mm256_loadu_si256(from.cast()))
    ));
    widen!(widen_256, wide, "avx2,f16c", 8, |from, to| _mm256_storeu_ps(
        to,
        _mm256_cvtph_ps(_mm_loadu_si128(from.cast()))
    ));
}
