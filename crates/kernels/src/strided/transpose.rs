//! Transposes of squares of words in registers.

use std::arch::x86_64::*;

/// Words of 32 bits on a side of a square.
pub(crate) const SIDE32: usize = 16;
/// Words of 64 bits on a side of a square.
pub(crate) const SIDE64: usize = 8;

/// The columns of `height` rows of `width` words, as lines; `stride` is the distance of rows. Missing words are zero.
///
/// # Safety
/// The words can be read; `height` and `width` are at most [`SIDE32`].
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) unsafe fn columns32(src: *const u32, stride: isize, height: usize, width: usize) -> [__m512i; 16] {
    let mask: __mmask16 = if width >= 16 { !0 } else { (1 << width) - 1 };
    let mut r = [_mm512_setzero_si512(); 16];
    if height == 16 {
        for (i, r) in r.iter_mut().enumerate() {
            // SAFETY: the caller's contract.
            *r = unsafe { _mm512_maskz_loadu_epi32(mask, src.offset(i as isize * stride).cast()) };
        }
    } else {
        for (i, r) in r.iter_mut().enumerate().take(height) {
            // SAFETY: as above.
            *r = unsafe { _mm512_maskz_loadu_epi32(mask, src.offset(i as isize * stride).cast()) };
        }
    }
    // First within lanes of 128 bits: squares of four words.
    let mut t = r;
    for i in 0..8 {
        t[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
    }
    for i in 0..4 {
        let t = &t[4 * i..4 * i + 4];
        r[4 * i] = _mm512_unpacklo_epi64(t[0], t[2]);
        r[4 * i + 1] = _mm512_unpackhi_epi64(t[0], t[2]);
        r[4 * i + 2] = _mm512_unpacklo_epi64(t[1], t[3]);
        r[4 * i + 3] = _mm512_unpackhi_epi64(t[1], t[3]);
    }
    // Then the lanes.
    let mut out = r;
    for c in 0..4 {
        let u0 = _mm512_shuffle_i32x4::<0x88>(r[c], r[4 + c]);
        let u1 = _mm512_shuffle_i32x4::<0xdd>(r[c], r[4 + c]);
        let u2 = _mm512_shuffle_i32x4::<0x88>(r[8 + c], r[12 + c]);
        let u3 = _mm512_shuffle_i32x4::<0xdd>(r[8 + c], r[12 + c]);
        out[c] = _mm512_shuffle_i32x4::<0x88>(u0, u2);
        out[8 + c] = _mm512_shuffle_i32x4::<0xdd>(u0, u2);
        out[4 + c] = _mm512_shuffle_i32x4::<0x88>(u1, u3);
        out[12 + c] = _mm512_shuffle_i32x4::<0xdd>(u1, u3);
    }
    out
}

/// [`columns32`] for words of 64 bits.
///
/// # Safety
/// The words can be read; `height` and `width` are at most [`SIDE64`].
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) unsafe fn columns64(src: *const u64, stride: isize, height: usize, width: usize) -> [__m512i; 8] {
    let mask: __mmask8 = if width >= 8 { !0 } else { (1 << width) - 1 };
    let mut r = [_mm512_setzero_si512(); 8];
    for (i, r) in r.iter_mut().enumerate().take(height) {
        // SAFETY: the caller's contract.
        *r = unsafe { _mm512_maskz_loadu_epi64(mask, src.offset(i as isize * stride).cast()) };
    }
    let mut t = r;
    for i in 0..4 {
        t[2 * i] = _mm512_unpacklo_epi64(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm512_unpackhi_epi64(r[2 * i], r[2 * i + 1]);
    }
    let mut out = r;
    for c in 0..2 {
        let u0 = _mm512_shuffle_i64x2::<0x88>(t[c], t[2 + c]);
        let u1 = _mm512_shuffle_i64x2::<0xdd>(t[c], t[2 + c]);
        let u2 = _mm512_shuffle_i64x2::<0x88>(t[4 + c], t[6 + c]);
        let u3 = _mm512_shuffle_i64x2::<0xdd>(t[4 + c], t[6 + c]);
        out[c] = _mm512_shuffle_i64x2::<0x88>(u0, u2);
        out[4 + c] = _mm512_shuffle_i64x2::<0xdd>(u0, u2);
        out[2 + c] = _mm512_shuffle_i64x2::<0x88>(u1, u3);
        out[6 + c] = _mm512_shuffle_i64x2::<0xdd>(u1, u3);
    }
    out
}
