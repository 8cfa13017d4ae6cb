//! Registers for the tiles of a convolution: one trait over the instruction sets.
//!
//! Written with intrinsics, unlike most kernels of this crate: a tile keeps 28 accumulators in registers. The compiler's
//! vectorisation of such a loop was measured, and spills them.

use crate::dtype::C64;
use crate::num::Num;

/// A register of some elements, and the operations of tiles on it.
///
/// Every function is unsafe for two reasons: the machine must have the instruction set, and the elements at pointers must be
/// readable or writable.
pub(super) trait Lanes {
    /// An element.
    type T: Num;
    /// A register.
    type V: Copy;
    /// A selection of the lanes of a register.
    type M: Copy;
    /// Elements in a register.
    const N: usize;
    /// Rows of a tile that is two registers wide: as many as there are registers for.
    const ROWS: usize;

    unsafe fn zero() -> Self::V;
    unsafe fn splat(x: Self::T) -> Self::V;
    unsafe fn load(p: *const Self::T) -> Self::V;
    /// The first `n` lanes.
    unsafe fn mask(n: usize) -> Self::M;
    /// Loads the lanes of the mask; other lanes are zero.
    unsafe fn load_part(p: *const Self::T, m: Self::M) -> Self::V;
    unsafe fn store_part(p: *mut Self::T, m: Self::M, v: Self::V);
    unsafe fn store(p: *mut Self::T, v: Self::V);
    /// `a · b + c`.
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
}

/// Four elements in an array, for machines without the instruction sets below and for complex numbers.
pub(super) struct Plain<T>(std::marker::PhantomData<T>);

/// Multiplies and adds with two roundings, because a single rounding takes a function call without the instruction.
#[inline(always)]
fn muladd<T: Num>(a: T, b: T, c: T) -> T {
    a.mul(b).add(c)
}

/// Implements [`Lanes`] for arrays of each type.
macro_rules! plain {
    ($($t:ty),*) => {$(
        impl Lanes for Plain<$t> {
            type T = $t;
            type V = [$t; 4];
            type M = usize;
            const N: usize = 4;
            const ROWS: usize = 6;
            #[inline(always)]
            unsafe fn zero() -> [$t; 4] {
                [<$t as Num>::ZERO; 4]
            }
            #[inline(always)]
            unsafe fn splat(x: $t) -> [$t; 4] {
                [x; 4]
            }
            #[inline(always)]
            unsafe fn load(p: *const $t) -> [$t; 4] {
                // SAFETY: the caller's contract.
                unsafe { p.cast::<[$t; 4]>().read() }
            }
            #[inline(always)]
            unsafe fn mask(n: usize) -> usize {
                n
            }
            #[inline(always)]
            unsafe fn load_part(p: *const $t, m: usize) -> [$t; 4] {
                // SAFETY: the caller's contract: `m` elements can be read.
                std::array::from_fn(|i| if i < m { unsafe { *p.add(i) } } else { <$t as Num>::ZERO })
            }
            #[inline(always)]
            unsafe fn store_part(p: *mut $t, m: usize, v: [$t; 4]) {
                for (i, &x) in v.iter().enumerate().take(m) {
                    // SAFETY: the caller's contract: `m` elements can be written.
                    unsafe { p.add(i).write(x) };
                }
            }
            #[inline(always)]
            unsafe fn store(p: *mut $t, v: [$t; 4]) {
                // SAFETY: the caller's contract.
                unsafe { p.cast::<[$t; 4]>().write(v) };
            }
            #[inline(always)]
            unsafe fn fma(a: [$t; 4], b: [$t; 4], c: [$t; 4]) -> [$t; 4] {
                std::array::from_fn(|i| muladd(a[i], b[i], c[i]))
            }
        }
    )*};
}
plain!(f32, f64, C64);

#[cfg(target_arch = "x86_64")]
pub(super) use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Lanes;
    use std::arch::x86_64::*;
    use std::marker::PhantomData;

    /// 512-bit registers, of which there are 32.
    pub(in super::super) struct Avx512<T>(PhantomData<T>);
    /// 256-bit registers, of which there are 16.
    pub(in super::super) struct Avx2<T>(PhantomData<T>);

    macro_rules! avx512 {
        ($t:ty, $v:ty, $m:ty, $n:literal, $zero:ident, $splat:ident, $load:ident, $store:ident, $loadm:ident, $storem:ident, $fma:ident) => {
            impl Lanes for Avx512<$t> {
                type T = $t;
                type V = $v;
                type M = $m;
                const N: usize = $n;
                const ROWS: usize = 14;
                #[inline(always)]
                unsafe fn zero() -> $v {
                    // SAFETY: the machine has AVX-512, and pointers are valid, as `Lanes` requires; so in all functions below.
                    unsafe { $zero() }
                }
                #[inline(always)]
                unsafe fn splat(x: $t) -> $v {
                    // SAFETY: see `zero`.
                    unsafe { $splat(x) }
                }
                #[inline(always)]
                unsafe fn load(p: *const $t) -> $v {
                    // SAFETY: see `zero`.
                    unsafe { $load(p) }
                }
                #[inline(always)]
                unsafe fn mask(n: usize) -> $m {
                    ((1u32 << n) - 1) as $m
                }
                #[inline(always)]
                unsafe fn load_part(p: *const $t, m: $m) -> $v {
                    // SAFETY: see `zero`.
                    unsafe { $loadm(m, p) }
                }
                #[inline(always)]
                unsafe fn store_part(p: *mut $t, m: $m, v: $v) {
                    // SAFETY: see `zero`.
                    unsafe { $storem(p, m, v) };
                }
                #[inline(always)]
                unsafe fn store(p: *mut $t, v: $v) {
                    // SAFETY: see `zero`.
                    unsafe { $store(p, v) };
                }
                #[inline(always)]
                unsafe fn fma(a: $v, b: $v, c: $v) -> $v {
                    // SAFETY: see `zero`.
                    unsafe { $fma(a, b, c) }
                }
            }
        };
    }
    avx512!(
        f32,
        __m512,
        __mmask16,
        16,
        _mm512_setzero_ps,
        _mm512_set1_ps,
        _mm512_loadu_ps,
        _mm512_storeu_ps,
        _mm512_maskz_loadu_ps,
        _mm512_mask_storeu_ps,
        _mm512_fmadd_ps
    );
    avx512!(
        f64,
        __m512d,
        __mmask8,
        8,
        _mm512_setzero_pd,
        _mm512_set1_pd,
        _mm512_loadu_pd,
        _mm512_storeu_pd,
        _mm512_maskz_loadu_pd,
        _mm512_mask_storeu_pd,
        _mm512_fmadd_pd
    );

    macro_rules! avx2 {
        ($t:ty, $v:ty, $int:ty, $n:literal, $zero:ident, $splat:ident, $load:ident, $store:ident, $loadm:ident, $storem:ident, $fma:ident) => {
            impl Lanes for Avx2<$t> {
                type T = $t;
                type V = $v;
                type M = __m256i;
                const N: usize = $n;
                const ROWS: usize = 6;
                #[inline(always)]
                unsafe fn zero() -> $v {
                    // SAFETY: the machine has AVX2, and pointers are valid, as `Lanes` requires; so in all functions below.
                    unsafe { $zero() }
                }
                #[inline(always)]
                unsafe fn splat(x: $t) -> $v {
                    // SAFETY: see `zero`.
                    unsafe { $splat(x) }
                }
                #[inline(always)]
                unsafe fn load(p: *const $t) -> $v {
                    // SAFETY: see `zero`.
                    unsafe { $load(p) }
                }
                #[inline(always)]
                unsafe fn mask(n: usize) -> __m256i {
                    let lanes: [$int; $n] = std::array::from_fn(|i| if i < n { -1 } else { 0 });
                    // SAFETY: see `zero`; the array is as long as the register.
                    unsafe { _mm256_loadu_si256(lanes.as_ptr().cast()) }
                }
                #[inline(always)]
                unsafe fn load_part(p: *const $t, m: __m256i) -> $v {
                    // SAFETY: see `zero`.
                    unsafe { $loadm(p, m) }
                }
                #[inline(always)]
                unsafe fn store_part(p: *mut $t, m: __m256i, v: $v) {
                    // SAFETY: see `zero`.
                    unsafe { $storem(p, m, v) };
                }
                #[inline(always)]
                unsafe fn store(p: *mut $t, v: $v) {
                    // SAFETY: see `zero`.
                    unsafe { $store(p, v) };
                }
                #[inline(always)]
                unsafe fn fma(a: $v, b: $v, c: $v) -> $v {
                    // SAFETY: see `zero`.
                    unsafe { $fma(a, b, c) }
                }
            }
        };
    }
    avx2!(
        f32,
        __m256,
        i32,
        8,
        _mm256_setzero_ps,
        _mm256_set1_ps,
        _mm256_loadu_ps,
        _mm256_storeu_ps,
        _mm256_maskload_ps,
        _mm256_maskstore_ps,
        _mm256_fmadd_ps
    );
    avx2!(
        f64,
        __m256d,
        i64,
        4,
        _mm256_setzero_pd,
        _mm256_set1_pd,
        _mm256_loadu_pd,
        _mm256_storeu_pd,
        _mm256_maskload_pd,
        _mm256_maskstore_pd,
        _mm256_fmadd_pd
    );
}
