//! The tiles of a convolution: its innermost loops, with all sums in registers.
//!
//! Channels are the last axis, so a register has neighbouring output channels. A tile of the forward pass is some
//! neighbouring pixels of one output row by one or two registers. For each tap and input channel it multiplies a register
//! of weights with one element of each pixel, so no patch matrix is built. Taps that are contiguous in memory, as those of
//! one row of the kernel are, form one long run. A tile of the weights' gradient is some neighbouring elements of a run by
//! one or two registers, summed over pixels.

use super::lanes::{Lanes, Plain};
use crate::dtype::C64;
use crate::num::Num;
use crate::simd::{Level, level};

/// Taps and input channels whose elements are contiguous, both in the input and in the packed weights.
#[derive(Clone, Copy)]
pub(super) struct Run {
    /// The offset from the pixel's address in the input.
    pub(super) x: isize,
    /// The first line of the packed weights.
    pub(super) w: usize,
    /// The number of elements.
    pub(super) len: usize,
}

/// Some rows of pixels and one block of output channels.
pub(super) struct Rows<'a, T> {
    /// The input at the first pixel.
    pub(super) x: *const T,
    /// Elements between rows and between pixels of the input.
    pub(super) x_steps: (isize, isize),
    /// The output, or its cotangent, at the first pixel.
    pub(super) y: *mut T,
    /// Elements between rows and between pixels of the output.
    pub(super) y_steps: (usize, usize),
    /// Rows, and pixels in a row.
    pub(super) extents: (usize, usize),
    /// The taps and input channels to sum over.
    pub(super) runs: &'a [Run],
    /// Packed weights: lines of `registers` registers. Read forward, added to for the weights' gradient.
    pub(super) w: *mut T,
    /// Registers in a line: 1 or 2.
    pub(super) registers: usize,
    /// Output channels of the block: all lanes, except perhaps some of the last register.
    pub(super) channels: usize,
}

/// An element type with tiles for each instruction set.
pub(super) trait Tiles: Num {
    /// Elements in a register of the instruction set in use.
    fn width() -> usize;

    /// `y = Σ x · w` for all pixels of `rows`.
    ///
    /// # Safety
    /// The input and weights that `rows` describes can be read, and the pixels written.
    unsafe fn forward(rows: &Rows<'_, Self>);

    /// `w += Σ x · y` over all pixels of `rows`.
    ///
    /// # Safety
    /// The input and cotangents that `rows` describes can be read, and the packed weights written.
    unsafe fn weights(rows: &Rows<'_, Self>);
}

macro_rules! tiles {
    ($t:ty, $width:expr, $($avx512:ty, $avx2:ty)?) => {
        impl Tiles for $t {
            fn width() -> usize {
                $width
            }
            tiles!(@each forward, $t, $($avx512, $avx2)?);
            tiles!(@each weights, $t, $($avx512, $avx2)?);
        }
    };
    (@each $name:ident, $t:ty, $($avx512:ty, $avx2:ty)?) => {
        unsafe fn $name(rows: &Rows<'_, $t>) {
            $(
                #[cfg(target_arch = "x86_64")]
                {
                    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi1,bmi2")]
                    unsafe fn avx512(rows: &Rows<'_, $t>) {
                        // SAFETY: passed on to the caller.
                        unsafe { $name::<$avx512>(rows) }
                    }
                    #[target_feature(enable = "avx2,fma,bmi1,bmi2")]
                    unsafe fn avx2(rows: &Rows<'_, $t>) {
                        // SAFETY: passed on to the caller.
                        unsafe { $name::<$avx2>(rows) }
                    }
                    match level() {
                        // SAFETY: `level` found the features; the rest is passed on to the caller.
                        Level::Avx512 => return unsafe { avx512(rows) },
                        // SAFETY: as above.
                        Level::Avx2 => return unsafe { avx2(rows) },
                        Level::Portable => {}
                    }
                }
            )?
            // SAFETY: passed on to the caller.
            unsafe { $name::<Plain<$t>>(rows) }
        }
    };
}
tiles!(f32, widths(16, 8), super::lanes::Avx512<f32>, super::lanes::Avx2<f32>);
tiles!(f64, widths(8, 4), super::lanes::Avx512<f64>, super::lanes::Avx2<f64>);
tiles!(C64, 4,);

fn widths(avx512: usize, avx2: usize) -> usize {
    match level() {
        Level::Avx512 if cfg!(target_arch = "x86_64") => avx512,
        Level::Avx2 if cfg!(target_arch = "x86_64") => avx2,
        _ => 4,
    }
}

/// The rows of the next tile, when `left` rows remain and a tile has at most `most`. The last tiles are of about equal size,
/// because a tile of few rows waits for the latency of its own results.
fn tile_rows(left: usize, most: usize) -> usize {
    if left >= 2 * most {
        most
    } else if left > most {
        left.div_ceil(2)
    } else {
        left
    }
}

/// Calls `$f::<L, ROWS, NR, U>` for a number of rows known at run time. `U` steps are unrolled as far as there are
/// registers, which halves the number of address computations.
macro_rules! by_rows {
    ($rows:expr, $f:ident::<$l:ident, $nr:literal, $few:literal, $many:literal>($($arg:expr),*)) => {
        if $l::ROWS == 14 {
            match $rows {
                14 => $f::<$l, 14, $nr, $many>($($arg),*),
                13 => $f::<$l, 13, $nr, $many>($($arg),*),
                12 => $f::<$l, 12, $nr, $many>($($arg),*),
                11 => $f::<$l, 11, $nr, $many>($($arg),*),
                10 => $f::<$l, 10, $nr, $many>($($arg),*),
                9 => $f::<$l, 9, $nr, $many>($($arg),*),
                8 => $f::<$l, 8, $nr, $few>($($arg),*),
                7 => $f::<$l, 7, $nr, $few>($($arg),*),
                6 => $f::<$l, 6, $nr, $few>($($arg),*),
                5 => $f::<$l, 5, $nr, $few>($($arg),*),
                4 => $f::<$l, 4, $nr, $few>($($arg),*),
                3 => $f::<$l, 3, $nr, $few>($($arg),*),
                2 => $f::<$l, 2, $nr, $few>($($arg),*),
                _ => $f::<$l, 1, $nr, $few>($($arg),*),
            }
        } else {
            match $rows {
                6 => $f::<$l, 6, $nr, 1>($($arg),*),
                5 => $f::<$l, 5, $nr, 1>($($arg),*),
                4 => $f::<$l, 4, $nr, 1>($($arg),*),
                3 => $f::<$l, 3, $nr, 1>($($arg),*),
                2 => $f::<$l, 2, $nr, 1>($($arg),*),
                _ => $f::<$l, 1, $nr, 1>($($arg),*),
            }
        }
    };
}

/// Bytes of weights that are used for all pixels before the next weights: half of a first-level cache.
const WEIGHTS: usize = 24 << 10;

/// The end of the longest range of runs from `first` on whose weights stay in the cache.
fn few_runs(runs: &[Run], first: usize, line: usize) -> usize {
    let (mut end, mut bytes) = (first, 0);
    while end < runs.len() && (end == first || bytes + runs[end].len * line <= WEIGHTS) {
        bytes += runs[end].len * line;
        end += 1;
    }
    end
}

/// See [`Tiles::forward`].
#[inline(always)]
unsafe fn forward<L: Lanes>(rows: &Rows<'_, L::T>) {
    let (count, pixels) = rows.extents;
    let line = rows.registers * L::N * size_of::<L::T>();
    let mut first = 0;
    // SAFETY: the caller's contract, for the pixels of each tile.
    unsafe {
        let mask = L::mask(rows.channels - (rows.registers - 1) * L::N);
        loop {
            let end = few_runs(rows.runs, first, line);
            let sum = Sum { runs: &rows.runs[first..end], go_on: first > 0, mask };
            for i in 0..count {
                let x = rows.x.wrapping_offset(i as isize * rows.x_steps.0);
                let y = rows.y.add(i * rows.y_steps.0);
                let mut j = 0;
                while j < pixels {
                    let take = tile_rows(pixels - j, L::ROWS);
                    let x = x.wrapping_offset(j as isize * rows.x_steps.1);
                    let y = y.add(j * rows.y_steps.1);
                    if rows.registers == 2 {
                        by_rows!(take, pixels_tile::<L, 2, 4, 1>(rows, &sum, x, y));
                    } else {
                        by_rows!(take, pixels_tile::<L, 1, 4, 4>(rows, &sum, x, y));
                    }
                    j += take;
                }
            }
            if end == rows.runs.len() {
                return;
            }
            first = end;
        }
    }
}

/// The runs that a tile of pixels sums over.
struct Sum<'a, M> {
    runs: &'a [Run],
    /// Whether to add to the output instead of replacing it.
    go_on: bool,
    /// The channels in the last register.
    mask: M,
}

/// `R` pixels by `NR` registers of output channels, `U` elements of a run at a time.
#[inline(always)]
unsafe fn pixels_tile<L: Lanes, const R: usize, const NR: usize, const U: usize>(
    rows: &Rows<'_, L::T>,
    sum: &Sum<'_, L::M>,
    x: *const L::T,
    y: *mut L::T,
) {
    let step = rows.x_steps.1;
    // SAFETY: the caller's contract.
    unsafe {
        let mut acc = [[L::zero(); NR]; R];
        if sum.go_on {
            for (r, acc) in acc.iter_mut().enumerate() {
                let y = y.cast_const().add(r * rows.y_steps.1);
                for (n, v) in acc.iter_mut().enumerate() {
                    let p = y.add(n * L::N);
                    *v = if n + 1 == NR { L::load_part(p, sum.mask) } else { L::load(p) };
                }
            }
        }
        for run in sum.runs {
            let mut x = x.wrapping_offset(run.x);
            let mut w = rows.w.cast_const().add(run.w * NR * L::N);
            for _ in 0..run.len / U {
                let lines: [[L::V; NR]; U] =
                    std::array::from_fn(|u| std::array::from_fn(|n| L::load(w.add((u * NR + n) * L::N))));
                for (r, acc) in acc.iter_mut().enumerate() {
                    let x = x.wrapping_offset(r as isize * step);
                    for (u, line) in lines.iter().enumerate() {
                        let v = L::splat(*x.add(u));
                        for n in 0..NR {
                            acc[n] = L::fma(v, line[n], acc[n]);
                        }
                    }
                }
                x = x.wrapping_add(U);
                w = w.add(U * NR * L::N);
            }
            for _ in 0..run.len % U {
                let line: [L::V; NR] = std::array::from_fn(|n| L::load(w.add(n * L::N)));
                for (r, acc) in acc.iter_mut().enumerate() {
                    let v = L::splat(*x.wrapping_offset(r as isize * step));
                    for n in 0..NR {
                        acc[n] = L::fma(v, line[n], acc[n]);
                    }
                }
                x = x.wrapping_add(1);
                w = w.add(NR * L::N);
            }
        }
        for (r, acc) in acc.iter().enumerate() {
            let y = y.add(r * rows.y_steps.1);
            for (n, &v) in acc[..NR - 1].iter().enumerate() {
                L::store(y.add(n * L::N), v);
            }
            L::store_part(y.add((NR - 1) * L::N), sum.mask, acc[NR - 1]);
        }
    }
}

/// Pixels that are used for all weights before the next pixels: few enough that their input and cotangents stay in a
/// first-level cache.
const PIXELS: usize = 64;

/// See [`Tiles::weights`].
#[inline(always)]
unsafe fn weights<L: Lanes>(rows: &Rows<'_, L::T>) {
    let (count, pixels) = rows.extents;
    // SAFETY: the caller's contract, for the elements of each tile.
    unsafe {
        let mask = L::mask(rows.channels - (rows.registers - 1) * L::N);
        let most = (PIXELS / pixels.max(1)).max(1);
        let mut first = 0;
        while first < count {
            let some = Part { first, count: most.min(count - first), mask };
            for run in rows.runs {
                let mut k = 0;
                while k < run.len {
                    let take = tile_rows(run.len - k, L::ROWS);
                    let x = rows.x.wrapping_offset(run.x + k as isize);
                    let w = rows.w.add((run.w + k) * rows.registers * L::N);
                    if rows.registers == 2 {
                        by_rows!(take, elements_tile::<L, 2, 1, 1>(rows, &some, x, w));
                    } else {
                        by_rows!(take, elements_tile::<L, 1, 1, 1>(rows, &some, x, w));
                    }
                    k += take;
                }
            }
            first += most;
        }
    }
}

/// Some of the rows of pixels.
struct Part<M> {
    first: usize,
    count: usize,
    /// The channels in the last register.
    mask: M,
}

/// `R` elements of a run by `NR` registers of output channels, summed over pixels.
#[inline(always)]
unsafe fn elements_tile<L: Lanes, const R: usize, const NR: usize, const U: usize>(
    rows: &Rows<'_, L::T>,
    some: &Part<L::M>,
    x: *const L::T,
    w: *mut L::T,
) {
    // SAFETY: the caller's contract.
    unsafe {
        let mut acc: [[L::V; NR]; R] = std::array::from_fn(|r| {
            std::array::from_fn(|n| L::load(w.cast_const().add((r * NR + n) * L::N)))
        });
        for i in some.first..some.first + some.count {
            let mut x = x.wrapping_offset(i as isize * rows.x_steps.0);
            let mut y = rows.y.cast_const().add(i * rows.y_steps.0);
            for _ in 0..rows.extents.1 {
                let line: [L::V; NR] = std::array::from_fn(|n| {
                    let p = y.add(n * L::N);
                    if n + 1 == NR { L::load_part(p, some.mask) } else { L::load(p) }
                });
                for (r, acc) in acc.iter_mut().enumerate() {
                    let v = L::splat(*x.add(r));
                    for n in 0..NR {
                        acc[n] = L::fma(v, line[n], acc[n]);
                    }
                }
                x = x.wrapping_offset(rows.x_steps.1);
                y = y.wrapping_add(rows.y_steps.1);
            }
        }
        for (r, acc) in acc.iter().enumerate() {
            for (n, &v) in acc.iter().enumerate() {
                L::store(w.add((r * NR + n) * L::N), v);
            }
        }
    }
}
