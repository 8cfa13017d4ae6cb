//! Few rows by a matrix of half precision that is widened in registers (AVX-512), four rows at once: one pass over the
//! matrix. With up to four rows the time is that of reading the matrix, which is half as large as one of `f32`.

use crate::dtype::Dtype;
use std::arch::x86_64::*;

/// Some rows, `apart` elements from one to the next, by the columns of a matrix.
#[derive(Clone, Copy)]
pub(in super::super) struct Few {
    pub(in super::super) rows: *const f32,
    pub(in super::super) apart: usize,
    pub(in super::super) m: usize,
    pub(in super::super) matrix: *const u16,
    /// Elements from a column of the matrix to the next, and along the summed axis; one of the two is 1.
    pub(in super::super) free: isize,
    pub(in super::super) summed: isize,
    pub(in super::super) columns: usize,
    pub(in super::super) k: usize,
    /// The sums, and the elements from one row of them to the next.
    pub(in super::super) sums: *mut f32,
    pub(in super::super) sums_apart: usize,
}

/// Runs `$f` for groups of four rows and for the remaining rows; `$i` is the first of a group of `$r`.
macro_rules! groups {
    ($m:expr, |$i:ident, $r:ident| $f:expr) => {{
        let mut $i = 0;
        while $i + 4 <= $m {
            const $r: usize = 4;
            $f;
            $i += 4;
        }
        match $m - $i {
            1 => {
                const $r: usize = 1;
                $f
            }
            2 => {
                const $r: usize = 2;
                $f
            }
            3 => {
                const $r: usize = 3;
                $f
            }
            _ => {}
        }
    }};
}

macro_rules! kernels {
    ($name:ident, |$half:ident| $widen:expr) => {
        mod $name {
            use super::*;

            #[inline]
            #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
            fn widen($half: __m256i) -> __m512 {
                $widen
            }

            /// Dot products of `R` rows from `i` on with `C` columns from `j` on.
            ///
            /// # Safety
            /// As for [`dots`](super::dots).
            #[inline]
            #[target_feature(enable = "avx512f,avx512bw,avx512vl,fma")]
            unsafe fn tile<const R: usize, const C: usize>(d: &Few, i: usize, j: usize) {
                let mut acc = [[_mm512_setzero_ps(); C]; R];
                let columns: [*const u16; C] =
                    std::array::from_fn(|c| d.matrix.wrapping_offset((j + c) as isize * d.free));
                // SAFETY: the caller's contract, in all of this; the last step is masked.
                unsafe {
                    let mut p = 0;
                    while p + 16 <= d.k {
                        let mut w = [_mm512_setzero_ps(); C];
                        for c in 0..C {
                            w[c] = widen(_mm256_loadu_si256(columns[c].add(p).cast()));
                        }
                        for r in 0..R {
                            let x = _mm512_loadu_ps(d.rows.add((i + r) * d.apart + p));
                            for c in 0..C {
                                acc[r][c] = _mm512_fmadd_ps(x, w[c], acc[r][c]);
                            }
                        }
                        p += 16;
                    }
                    if p < d.k {
                        let mask = (1u16 << (d.k - p)) - 1;
                        for c in 0..C {
                            let w = widen(_mm256_maskz_loadu_epi16(mask, columns[c].add(p).cast()));
                            for r in 0..R {
                                let x = _mm512_maskz_loadu_ps(mask, d.rows.add((i + r) * d.apart + p));
                                acc[r][c] = _mm512_fmadd_ps(x, w, acc[r][c]);
                            }
                        }
                    }
                    for r in 0..R {
                        for c in 0..C {
                            d.sums.add((i + r) * d.sums_apart + j + c).write(_mm512_reduce_add_ps(acc[r][c]));
                        }
                    }
                }
            }

            /// # Safety
            /// As for [`dots`](super::dots).
            #[target_feature(enable = "avx512f,avx512bw,avx512vl,fma")]
            pub(super) unsafe fn dots(d: &Few) {
                // SAFETY: the caller's contract, in all of this.
                unsafe {
                    let mut j = 0;
                    // Sums of eight columns hide the latency of a multiplication.
                    while d.m == 1 && j + 8 <= d.columns {
                        tile::<1, 8>(d, 0, j);
                        j += 8;
                    }
                    while j + 4 <= d.columns {
                        groups!(d.m, |i, R| tile::<R, 4>(d, i, j));
                        j += 4;
                    }
                    for j in j..d.columns {
                        groups!(d.m, |i, R| tile::<R, 1>(d, i, j));
                    }
                }
            }

            /// Adds steps `p` to `p + D` of the summed axis to the sums of `R` rows from `i` on and of all columns.
            ///
            /// # Safety
            /// As for [`add`](super::add).
            #[inline]
            #[target_feature(enable = "avx512f,avx512bw,avx512vl,fma")]
            unsafe fn steps<const R: usize, const D: usize>(d: &Few, i: usize, p: usize) {
                let mut x = [[_mm512_setzero_ps(); D]; R];
                // SAFETY: the caller's contract, in all of this; the last columns are masked.
                unsafe {
                    for r in 0..R {
                        for q in 0..D {
                            x[r][q] = _mm512_set1_ps(*d.rows.add((i + r) * d.apart + p + q));
                        }
                    }
                    let lines: [*const u16; D] =
                        std::array::from_fn(|q| d.matrix.wrapping_offset((p + q) as isize * d.summed));
                    let mut j = 0;
                    while j + 16 <= d.columns {
                        let mut w = [_mm512_setzero_ps(); D];
                        for q in 0..D {
                            w[q] = widen(_mm256_loadu_si256(lines[q].add(j).cast()));
                        }
                        for r in 0..R {
                            let to = d.sums.add((i + r) * d.sums_apart + j);
                            let mut sum = _mm512_loadu_ps(to);
                            for q in 0..D {
                                sum = _mm512_fmadd_ps(x[r][q], w[q], sum);
                            }
                            _mm512_storeu_ps(to, sum);
                        }
                        j += 16;
                    }
                    if j < d.columns {
                        let mask = (1u16 << (d.columns - j)) - 1;
                        for r in 0..R {
                            let to = d.sums.add((i + r) * d.sums_apart + j);
                            let mut sum = _mm512_maskz_loadu_ps(mask, to);
                            for q in 0..D {
                                let w = widen(_mm256_maskz_loadu_epi16(mask, lines[q].add(j).cast()));
                                sum = _mm512_fmadd_ps(x[r][q], w, sum);
                            }
                            _mm512_mask_storeu_ps(to, mask, sum);
                        }
                    }
                }
            }

            /// # Safety
            /// As for [`add`](super::add).
            #[target_feature(enable = "avx512f,avx512bw,avx512vl,fma")]
            pub(super) unsafe fn add(d: &Few) {
                // SAFETY: the caller's contract, in all of this.
                unsafe {
                    let mut p = 0;
                    while d.m == 1 && p + 8 <= d.k {
                        steps::<1, 8>(d, 0, p);
                        p += 8;
                    }
                    while p + 4 <= d.k {
                        groups!(d.m, |i, R| steps::<R, 4>(d, i, p));
                        p += 4;
                    }
                    for p in p..d.k {
                        groups!(d.m, |i, R| steps::<R, 1>(d, i, p));
                    }
                }
            }
        }
    };
}
kernels!(of_f16, |half| _mm512_cvtph_ps(half));
kernels!(of_bf16, |half| _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(half))));

/// Writes the dot products of the rows with columns that are contiguous along the summed axis.
///
/// # Safety
/// The machine has AVX-512; the elements can be read, and the sums written.
pub(in super::super) unsafe fn dots(dtype: Dtype, d: &Few) {
    debug_assert_eq!(d.summed, 1);
    // SAFETY: the caller's contract.
    unsafe { if dtype == Dtype::F16 { of_f16::dots(d) } else { of_bf16::dots(d) } }
}

/// Adds to the sums the products of the rows with a matrix whose neighbouring columns are contiguous.
///
/// # Safety
/// The machine has AVX-512; the elements can be read, and the sums read and written.
pub(in super::super) unsafe fn add(dtype: Dtype, d: &Few) {
    debug_assert_eq!(d.free, 1);
    // SAFETY: the caller's contract.
    unsafe { if dtype == Dtype::F16 { of_f16::add(d) } else { of_bf16::add(d) } }
}
