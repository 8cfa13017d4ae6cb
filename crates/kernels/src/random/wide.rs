//! Normal numbers with AVX-512 intrinsics.
//!
//! One instruction looks up eight entries of a table of sixteen that two registers hold. The compiler does not use it for any
//! form of [`published::log`](super::published::log): the tree of choices there takes thirty instructions and most of the
//! time. The arithmetic here has the operations of the plain formula in the same order, so the results have the same bits,
//! and the tests compare them.

use super::published::{ERFINV, INVERSE, LOG, LOG_C};
use super::{BELOW_ONE, BLOCK};
use std::arch::x86_64::*;
use std::mem::MaybeUninit;

/// Numbers in a vector.
const LANES: usize = 16;

/// A table of 16 in two registers.
type Table = [__m512d; 2];

#[target_feature(enable = "avx512f")]
#[inline]
fn table(bits: &[u64; 16]) -> Table {
    // SAFETY: both halves of 16 values.
    unsafe { [_mm512_loadu_pd(bits.as_ptr().cast()), _mm512_loadu_pd(bits.as_ptr().add(8).cast())] }
}

/// Logarithms of positive normal numbers, as `published::log` computes them. `power` has the powers of 2, `interval` the
/// numbers of the intervals in its lowest bits.
#[target_feature(enable = "avx512f")]
#[inline]
fn log_half(z: __m256, power: __m256i, interval: __m256i, inverse: Table, log_c: Table) -> __m256 {
    let constant = |bits: u64| _mm512_set1_pd(f64::from_bits(bits));
    let interval = _mm512_cvtepu32_epi64(interval);
    let inverse = _mm512_permutex2var_pd(inverse[0], interval, inverse[1]);
    let log_c = _mm512_permutex2var_pd(log_c[0], interval, log_c[1]);
    let power = _mm512_cvtepi32_pd(power);
    let r = _mm512_sub_pd(_mm512_mul_pd(_mm512_cvtps_pd(z), inverse), _mm512_set1_pd(1.0));
    let r2 = _mm512_mul_pd(r, r);
    let inner = _mm512_add_pd(_mm512_mul_pd(constant(LOG[1]), r), constant(LOG[0]));
    let y = _mm512_add_pd(_mm512_mul_pd(constant(LOG[2]), r2), inner);
    let ln2 = _mm512_set1_pd(std::f64::consts::LN_2);
    let whole = _mm512_add_pd(_mm512_add_pd(log_c, _mm512_mul_pd(power, ln2)), r);
    _mm512_cvtpd_ps(_mm512_add_pd(_mm512_mul_pd(y, r2), whole))
}

#[target_feature(enable = "avx512f,avx512dq")]
#[inline]
fn log(x: __m512, inverse: Table, log_c: Table) -> __m512 {
    let bits = _mm512_castps_si512(x);
    let above = _mm512_sub_epi32(bits, _mm512_set1_epi32(0x3f33_0000));
    let interval = _mm512_srli_epi32::<19>(above);
    let power = _mm512_srai_epi32::<23>(above);
    let exponent = _mm512_and_si512(above, _mm512_set1_epi32(0xff80_0000_u32 as i32));
    let z = _mm512_castsi512_ps(_mm512_sub_epi32(bits, exponent));
    let low = log_half(
        _mm512_castps512_ps256(z),
        _mm512_castsi512_si256(power),
        _mm512_castsi512_si256(interval),
        inverse,
        log_c,
    );
    let high = log_half(
        _mm512_extractf32x8_ps::<1>(z),
        _mm512_extracti32x8_epi32::<1>(power),
        _mm512_extracti32x8_epi32::<1>(interval),
        inverse,
        log_c,
    );
    _mm512_insertf32x8::<1>(_mm512_castps256_ps512(low), high)
}

/// The polynomial, as `math::horner` computes it.
#[target_feature(enable = "avx512f")]
#[inline]
fn horner(t: __m512, coefficients: &[f32; 10]) -> __m512 {
    let mut sum = _mm512_set1_ps(coefficients[9]);
    for &c in coefficients[..9].iter().rev() {
        sum = _mm512_fmadd_ps(sum, t, _mm512_set1_ps(c));
    }
    sum
}

/// The results of [`Normal`](super::Normal) for a block of words.
#[target_feature(enable = "avx512f,avx512dq")]
#[inline]
pub(super) fn normals(factor: f32, words: &[u32; BLOCK], out: &mut [MaybeUninit<f32>; BLOCK]) {
    let (inverse, log_c) = (table(&INVERSE), table(&LOG_C));
    let [near, far] = &ERFINV;
    let below_one = _mm512_set1_ps(BELOW_ONE);
    for (words, out) in words.chunks_exact(LANES).zip(out.chunks_exact_mut(LANES)) {
        // SAFETY: 16 words.
        let words = unsafe { _mm512_loadu_si512(words.as_ptr().cast()) };
        let u = _mm512_mul_ps(_mm512_cvtepu32_ps(words), _mm512_set1_ps(1.0 / 4_294_967_296.0));
        let u = _mm512_min_ps(u, below_one);
        let x = _mm512_sub_ps(_mm512_mul_ps(_mm512_set1_ps(2.0), u), below_one);
        // At least 2⁻²³, because `x` is less than 1: neither zero nor subnormal.
        let t = log(_mm512_fnmadd_ps(x, x, _mm512_set1_ps(1.0)), inverse, log_c);
        let mut p = horner(t, near);
        let is_far = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(_mm512_abs_ps(t), _mm512_set1_ps(6.125));
        // One number in a thousand.
        if is_far != 0 {
            p = _mm512_mask_mov_ps(p, is_far, horner(t, far));
        }
        let y = _mm512_mul_ps(_mm512_set1_ps(factor), _mm512_mul_ps(x, p));
        // SAFETY: room for 16 numbers.
        unsafe { _mm512_storeu_ps(out.as_mut_ptr().cast(), y) };
    }
}
