//! The innermost loops of products: some rows by some registers of columns, with all sums in registers (AVX-512).

use crate::num::Num;
use crate::strided::transpose::{SIDE32, SIDE64, columns32, columns64};
use std::arch::x86_64::*;

/// Rows of the largest tile. With two registers of columns the sums take 28 of the 32 registers.
pub(super) const ROWS: usize = 14;

/// Elements from one step of packed rows to the next. Each step of a tile has cache lines of its own (one, in `f64` two), so
/// that only whole lines are written.
pub(super) const SLOT: usize = 16;

/// Rows of the largest tile that is four registers wide.
pub(super) const WIDE_ROWS: usize = 6;

/// One tile of a product: `c[r, ..] (+)= Σₚ a[r, p] · b[p, ..]`.
#[derive(Clone, Copy)]
pub(super) struct Tile<T> {
    pub(super) k: usize,
    /// Element `[0, 0]`, and the strides of its rows and of the summed axis.
    pub(super) a: *const T,
    pub(super) a_row: isize,
    pub(super) a_step: isize,
    /// Element `[0, 0]` of contiguous columns, and the stride of the summed axis.
    pub(super) b: *const T,
    pub(super) b_step: isize,
    pub(super) c: *mut T,
    pub(super) c_row: usize,
    /// Columns.
    pub(super) width: usize,
    /// Whether the result is added to `c` or replaces it.
    pub(super) add: bool,
}

/// The operations of the blocked product on an element type.
pub(super) trait Kernel: Num {
    /// Elements of a register.
    const LANES: usize;

    /// Computes a tile of `rows` (at most [`ROWS`]) by up to two registers of columns, or of at most [`WIDE_ROWS`] by
    /// up to four.
    ///
    /// # Safety
    /// The machine has AVX-512; the tile's operands can be read and its result written.
    unsafe fn tile(rows: usize, t: &Tile<Self>);

    /// `dst[p·width + i] = src[i·outer + p]` for `i` below `count`, zero above, and `p` below `k`. The rows after the last
    /// one are prefetched, because they are read next.
    ///
    /// # Safety
    /// The machine has AVX-512; the elements can be read and written.
    unsafe fn interleave(
        src: *const Self,
        outer: isize,
        count: usize,
        dst: *mut Self,
        width: usize,
        k: usize,
    );

    /// Panels side by side: `dst[panel·apart + p·width + i] = src[p·step + starts[panel] + i]` for `i` below `width`, a
    /// multiple of [`Kernel::LANES`]; zero where `starts[panel] + i` is not below `count`. Memory is read in its order.
    ///
    /// # Safety
    /// The machine has AVX-512; the elements can be read and written.
    unsafe fn stack(s: &Stack<'_, Self>);

    /// `c[i·c_row + j·c_column] = Σₚ a[i·a_row + p] · b[j·b_row + p]` for all `i < rows`, `j < columns`.
    ///
    /// # Safety
    /// The machine has AVX-512; the elements can be read and written.
    unsafe fn dots(d: &Dots<Self>);
}

/// Panels to pack, see [`Kernel::stack`].
pub(super) struct Stack<'a, T> {
    pub(super) src: *const T,
    pub(super) step: isize,
    pub(super) count: usize,
    pub(super) starts: &'a [usize],
    pub(super) k: usize,
    pub(super) dst: *mut T,
    pub(super) width: usize,
    pub(super) apart: usize,
}

/// Products of contiguous rows with contiguous rows.
#[derive(Clone, Copy)]
pub(super) struct Dots<T> {
    pub(super) k: usize,
    pub(super) a: *const T,
    pub(super) a_row: isize,
    pub(super) rows: usize,
    pub(super) b: *const T,
    pub(super) b_row: isize,
    pub(super) columns: usize,
    pub(super) c: *mut T,
    pub(super) c_row: usize,
    pub(super) c_column: usize,
}

/// Calls the tile for a number of rows and registers that is known at compile time.
macro_rules! by_rows {
    ($rows:ident, $t:ident, $v:literal: $($r:literal)*) => {
        match $rows {
            $($r => {
                // SAFETY: the caller's contract.
                unsafe { if $t.a_row == 1 { tile::<$r, $v, true>($t) } else { tile::<$r, $v, false>($t) } }
            })*
            rows => unreachable!("a tile of {rows} rows"),
        }
    };
}

macro_rules! kernel {
    ($name:ident: $t:ty, $lanes:expr, $mask:ty, $zero:ident, $set:ident, $load:ident, $store:ident, $fma:ident,
     $add:ident, $sum:ident, $columns:ident, $side:expr, $word:ty, $store_int:ident) => {
        mod $name {
            use super::*;

            /// # Safety
            /// As for [`Kernel::tile`]. `PACKED` says that `a_row` is 1.
            #[target_feature(enable = "avx512f")]
            unsafe fn tile<const R: usize, const V: usize, const PACKED: bool>(t: &Tile<$t>) {
                let last = t.width - (V - 1) * $lanes;
                let mask: $mask = if last >= $lanes { !0 } else { (1 << last) - 1 };
                let mut acc = [[$zero(); V]; R];
                // SAFETY: the caller's contract.
                unsafe {
                    let mut base = [t.a; R];
                    for (r, base) in base.iter_mut().enumerate() {
                        *base = t.a.offset(r as isize * t.a_row);
                    }
                    let (mut a, mut b) = (t.a, t.b);
                    for p in 0..t.k as isize {
                        let mut line = [$zero(); V];
                        for v in 0..V {
                            line[v] = $load(if v + 1 == V { mask } else { !0 }, b.add(v * $lanes));
                        }
                        for r in 0..R {
                            let x = $set(if PACKED { *a.add(r) } else { *base[r].offset(p * t.a_step) });
                            for v in 0..V {
                                acc[r][v] = $fma(x, line[v], acc[r][v]);
                            }
                        }
                        a = a.wrapping_offset(t.a_step);
                        b = b.wrapping_offset(t.b_step);
                    }
                    for r in 0..R {
                        for v in 0..V {
                            let mask = if v + 1 == V { mask } else { !0 };
                            let c = t.c.add(r * t.c_row + v * $lanes);
                            let sum = if t.add { $add(acc[r][v], $load(mask, c)) } else { acc[r][v] };
                            $store(c, mask, sum);
                        }
                    }
                }
            }

            /// # Safety
            /// As for [`Kernel::tile`].
            pub(super) unsafe fn run(rows: usize, t: &Tile<$t>) {
                match t.width.div_ceil($lanes) {
                    1 => by_rows!(rows, t, 1: 1 2 3 4 5 6 7 8 9 10 11 12 13 14),
                    2 => by_rows!(rows, t, 2: 1 2 3 4 5 6 7 8 9 10 11 12 13 14),
                    3 => by_rows!(rows, t, 3: 1 2 3 4 5 6),
                    4 => by_rows!(rows, t, 4: 1 2 3 4 5 6),
                    v => unreachable!("a tile of {v} registers"),
                }
            }

            /// # Safety
            /// As for [`Kernel::interleave`].
            #[target_feature(enable = "avx512f")]
            pub(super) unsafe fn interleave(
                src: *const $t,
                outer: isize,
                count: usize,
                dst: *mut $t,
                width: usize,
                k: usize,
            ) {
                for i in (0..width).step_by($side) {
                    let height = count.saturating_sub(i).min($side);
                    let mask: $mask = if width - i >= $side { !0 } else { (1 << (width - i)) - 1 };
                    for p in (0..k).step_by($side) {
                        let steps = (k - p).min($side);
                        // SAFETY: the caller's contract.
                        unsafe {
                            let from = src.offset(i as isize * outer + p as isize);
                            for q in 0..$side as isize {
                                let next = from.wrapping_offset((height as isize + q) * outer);
                                _mm_prefetch::<_MM_HINT_T0>(next.cast());
                            }
                            let lines = $columns(from.cast::<$word>(), outer, height, steps);
                            for (q, line) in lines.iter().enumerate().take(steps) {
                                $store_int(dst.add((p + q) * width + i).cast(), mask, *line);
                            }
                        }
                    }
                }
            }

            /// # Safety
            /// As for [`Kernel::stack`].
            #[target_feature(enable = "avx512f")]
            pub(super) unsafe fn stack(s: &Stack<'_, $t>) {
                for p in 0..s.k {
                    let (from, to) = (s.src.wrapping_offset(p as isize * s.step), s.dst.wrapping_add(p * s.width));
                    for (panel, &start) in s.starts.iter().enumerate() {
                        for i in (0..s.width).step_by($lanes) {
                            let left = s.count.saturating_sub(start + i);
                            let mask: $mask = if left >= $lanes { !0 } else { (1 << left) - 1 };
                            // SAFETY: the caller's contract.
                            unsafe {
                                let line = $load(mask, from.wrapping_add(start + i));
                                $store(to.add(panel * s.apart + i), !0, line);
                            }
                        }
                    }
                }
            }

            /// Rows `i ..` by columns `j ..`.
            ///
            /// # Safety
            /// As for [`Kernel::dots`].
            #[target_feature(enable = "avx512f")]
            unsafe fn dots_tile<const R: usize, const C: usize>(d: &Dots<$t>, i: usize, j: usize) {
                let mut acc = [[$zero(); C]; R];
                // SAFETY: the caller's contract.
                unsafe {
                    let mut rows = [d.a; R];
                    for (r, row) in rows.iter_mut().enumerate() {
                        *row = d.a.offset((i + r) as isize * d.a_row);
                    }
                    let mut columns = [d.b; C];
                    for (c, column) in columns.iter_mut().enumerate() {
                        *column = d.b.offset((j + c) as isize * d.b_row);
                    }
                    let mut p = 0;
                    while p < d.k {
                        let left = d.k - p;
                        let mask: $mask = if left >= $lanes { !0 } else { (1 << left) - 1 };
                        let mut y = [$zero(); C];
                        for c in 0..C {
                            y[c] = $load(mask, columns[c].add(p));
                        }
                        for r in 0..R {
                            let x = $load(mask, rows[r].add(p));
                            for c in 0..C {
                                acc[r][c] = $fma(x, y[c], acc[r][c]);
                            }
                        }
                        p += $lanes;
                    }
                    for r in 0..R {
                        for c in 0..C {
                            d.c.add((i + r) * d.c_row + (j + c) * d.c_column).write($sum(acc[r][c]));
                        }
                    }
                }
            }

            /// # Safety
            /// As for [`Kernel::dots`].
            pub(super) unsafe fn dots(d: &Dots<$t>) {
                let mut j = 0;
                while j < d.columns {
                    let wide = d.columns - j >= 4;
                    let mut i = 0;
                    while i < d.rows {
                        let left = d.rows - i;
                        // SAFETY: the caller's contract.
                        unsafe {
                            i += match (left, wide) {
                                (8.., false) => { dots_tile::<8, 1>(d, i, j); 8 }
                                (1..8, false) => { dots_tile::<1, 1>(d, i, j); 1 }
                                (4.., true) => { dots_tile::<4, 4>(d, i, j); 4 }
                                (_, true) => { dots_tile::<1, 4>(d, i, j); 1 }
                                (0, false) => unreachable!("rows are left"),
                            };
                        }
                    }
                    j += if wide { 4 } else { 1 };
                }
            }
        }
    };
}

kernel!(single: f32, 16, __mmask16, _mm512_setzero_ps, _mm512_set1_ps, _mm512_maskz_loadu_ps, _mm512_mask_storeu_ps,
    _mm512_fmadd_ps, _mm512_add_ps, _mm512_reduce_add_ps, columns32, SIDE32, u32, _mm512_mask_storeu_epi32);
kernel!(double: f64, 8, __mmask8, _mm512_setzero_pd, _mm512_set1_pd, _mm512_maskz_loadu_pd, _mm512_mask_storeu_pd,
    _mm512_fmadd_pd, _mm512_add_pd, _mm512_reduce_add_pd, columns64, SIDE64, u64, _mm512_mask_storeu_epi64);

macro_rules! implement {
    ($t:ty, $name:ident, $lanes:expr) => {
        impl Kernel for $t {
            const LANES: usize = $lanes;
            unsafe fn tile(rows: usize, t: &Tile<Self>) {
                // SAFETY: the caller's contract.
                unsafe { $name::run(rows, t) }
            }
            unsafe fn interleave(
                src: *const Self,
                outer: isize,
                count: usize,
                dst: *mut Self,
                width: usize,
                k: usize,
            ) {
                // SAFETY: the caller's contract.
                unsafe { $name::interleave(src, outer, count, dst, width, k) }
            }
            unsafe fn stack(s: &Stack<'_, Self>) {
                // SAFETY: the caller's contract.
                unsafe { $name::stack(s) }
            }
            unsafe fn dots(d: &Dots<Self>) {
                // SAFETY: the caller's contract.
                unsafe { $name::dots(d) }
            }
        }
    };
}
implement!(f32, single, 16);
implement!(f64, double, 8);
