//! Products of half precision: accumulated in `f32` and rounded once. Operands are widened piece by piece, in memory that
//! stays in the nearest cache: a weight matrix as a whole would take twice its memory again, at every call.

#[cfg(target_arch = "x86_64")]
mod registers;

use super::vector::{add_scaled, dot};
use crate::convert::{narrow_tile, widen_tile};
use crate::dtype::{Dtype, Element};
use crate::memory::List;
use crate::scratch::{Kept, scratch};
use crate::simd::Tile1;
use crate::threads::parallel;
use std::cell::Cell;

/// The most rows that are few: the other matrix is read once for all of them, without packing.
const MOST: usize = 32;
/// Elements that are widened at once, of a row or column of the matrix.
const PIECE: usize = 1024;
/// Columns of a part are a multiple of this where they are contiguous: a sum of each for all rows stays in the cache.
const BREADTH: usize = 256;
/// Elements of rows that are widened at once.
const LONG: usize = 1 << 18;
/// Elements of the matrix that are worth a part of their own.
const PART: usize = 1 << 16;
/// Partial sums from which on a matrix is divided by its columns instead.
const SUMS: usize = 1 << 16;

thread_local! {
    /// The few rows, widened, and sums, of the product that this thread has begun.
    static WIDE: Kept = const { Cell::new(None) };
    /// The piece that this thread has widened.
    static PIECES: Kept = const { Cell::new(None) };
}

/// Elements of half precision, of which only the size matters, in memory.
#[derive(Clone, Copy)]
pub(super) struct Halves {
    pub(super) ptr: *const u16,
    /// The stride of the axis that the result has, and of the summed one.
    pub(super) free: isize,
    pub(super) summed: isize,
}
// SAFETY: it only tells where to read, which is sound from any thread.
unsafe impl Sync for Halves {}

impl Halves {
    fn at(&self, free: usize, summed: usize) -> *const u8 {
        self.ptr.wrapping_offset(free as isize * self.free + summed as isize * self.summed).cast()
    }

    /// Widens a block of `rows` by `k` elements to `to`, so that the elements of an axis that is contiguous here stay so.
    /// Gives the strides of the two axes there.
    ///
    /// # Safety
    /// The elements can be read and written.
    unsafe fn widen(&self, widen: Tile1, (rows, k): (usize, usize), to: *mut f32) -> (isize, isize) {
        // SAFETY: the caller's contract, in all of this.
        unsafe {
            if self.free == 1 && self.summed != 1 {
                for p in 0..k {
                    widen(self.at(0, p), to.add(p * rows).cast(), rows);
                }
                return (1, rows as isize);
            }
            for i in 0..rows {
                let to = to.add(i * k);
                if self.summed == 1 {
                    widen(self.at(i, 0), to.cast(), k);
                    continue;
                }
                let mut piece = [0u16; PIECE];
                for from in (0..k).step_by(PIECE) {
                    let n = PIECE.min(k - from);
                    for (p, half) in piece[..n].iter_mut().enumerate() {
                        *half = self.at(i, from + p).cast::<u16>().read();
                    }
                    widen(piece.as_ptr().cast(), to.add(from).cast(), n);
                }
            }
        }
        (k as isize, 1)
    }
}

/// A result of half precision on its way to other threads.
#[derive(Clone, Copy)]
pub(super) struct Target {
    pub(super) ptr: *mut u16,
    pub(super) row: usize,
    pub(super) column: usize,
}
// SAFETY: every thread writes elements of its own.
unsafe impl Sync for Target {}

/// An address on its way to another thread.
struct Shared(*mut f32);
// SAFETY: every thread uses elements of its own.
unsafe impl Sync for Shared {}

/// How many rows are few. Where what is widened goes through the nearest cache, more of them wait for that.
pub(super) fn few_rows() -> usize {
    if super::blocks() { MOST } else { 8 }
}

/// The conversions from and to a type. To multiply with, `f16` is widened by the instruction for it where there is one,
/// which makes signalling NaN quiet.
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

/// `out[i, j] = Σₚ rows[i, p] · matrix[j, p]` for at most [`few_rows`] rows, `columns` columns and sums of `k` elements, in one
/// pass over the matrix. False, and nothing is done, if the matrix is contiguous neither way, or another way is better.
///
/// # Safety
/// The elements can be read and written; all of the extents are at least 1.
pub(super) unsafe fn few<S: Element>(
    (m, columns, k): (usize, usize, usize),
    rows: Halves,
    matrix: Halves,
    out: Target,
    spread: bool,
) -> bool {
    debug_assert!(m <= MOST);
    let by_rows = matrix.summed == 1 && k >= 32;
    if !by_rows && (matrix.free != 1 || columns < 16) {
        return false;
    }
    // Long sums for few columns are divided, which the blocked product does.
    if by_rows && columns < 64 && k > LONG && super::blocks() {
        return false;
    }
    let (widen, narrow) = conversions(S::DTYPE);
    // The rows are widened as a whole if they are not very long.
    let depth = k.min((LONG / m).next_multiple_of(PIECE));
    let parts = if spread { (columns * depth / PART).clamp(1, 16) } else { 1 };
    // Sums of parts of the summed axis, unless these are many: then the parts are columns.
    let apart = !by_rows && parts * m * columns <= SUMS.max(parts * 64);
    let pass = Pass { widen, m, columns, by_rows, apart, parts };
    let (size, all) = (m * columns, pass.sums());
    let total = if depth < k { size } else { 0 };
    scratch(&WIDE, m * depth + all + total, |wide: *mut f32| {
        let (sums, total) = (wide.wrapping_add(m * depth), wide.wrapping_add(m * depth + all));
        for from in (0..k).step_by(depth) {
            let depth = depth.min(k - from);
            // SAFETY: there is room for the rows, one after the other, and for all sums; the caller vouches for the rest.
            unsafe {
                for i in 0..m {
                    let row = Halves { ptr: rows.at(i, from).cast(), free: 0, ..rows };
                    row.widen(widen, (1, depth), wide.add(i * depth));
                }
                let rows = std::slice::from_raw_parts(wide.cast_const(), m * depth);
                let matrix = Halves { ptr: matrix.at(0, from).cast(), ..matrix };
                pass.run::<S>((rows, depth), &matrix, sums);
                if depth == k {
                    continue;
                }
                for i in 0..size {
                    let before = if from == 0 { 0.0 } else { *total.add(i) };
                    total.add(i).write(before + *sums.add(i));
                }
            }
        }
        let sums = if depth < k { total } else { sums };
        // SAFETY: all sums were written; the caller vouches for the result.
        unsafe {
            for i in 0..m {
                let (from, to) = (sums.add(i * columns), out.ptr.wrapping_add(i * out.row));
                if out.column == 1 {
                    narrow(from.cast(), to.cast(), columns);
                    continue;
                }
                for j in 0..columns {
                    narrow(from.add(j).cast(), to.wrapping_add(j * out.column).cast(), 1);
                }
            }
        }
    });
    true
}

/// How few rows pass over a matrix.
struct Pass {
    widen: Tile1,
    m: usize,
    columns: usize,
    /// Whether the columns are contiguous along the summed axis; else they are side by side.
    by_rows: bool,
    /// Whether parts are some of the summed axis, with sums of their own; else they are some of the columns.
    apart: bool,
    parts: usize,
}

impl Pass {
    /// How many sums there have to be room for.
    fn sums(&self) -> usize {
        self.m * self.columns * if self.apart { self.parts } else { 1 }
    }

    /// Writes the products of rows of `k` elements with the columns of the matrix to the first `m · columns` sums.
    ///
    /// # Safety
    /// The matrix has such columns; there is room for the sums.
    unsafe fn run<S: Element>(&self, (rows, k): (&[f32], usize), matrix: &Halves, sums: *mut f32) {
        let &Self { widen, m, columns, parts, .. } = self;
        let sums = &Shared(sums);
        if self.apart {
            let step = k.div_ceil(parts).next_multiple_of(4);
            let count = k.div_ceil(step);
            parallel(count, &|part| {
                let depths = (part * step, ((part + 1) * step).min(k));
                let to = sums.0.wrapping_add(part * m * columns);
                // SAFETY: sums of this part's own, one row after the other.
                unsafe { add_columns::<S>(widen, matrix, (0, columns), depths, (rows, k), m, (to, columns)) };
            });
            for i in 0..m * columns {
                // SAFETY: `count` times so many sums were written.
                unsafe {
                    let all = (1..count).fold(*sums.0.add(i), |s, p| s + *sums.0.add(p * m * columns + i));
                    sums.0.add(i).write(all);
                }
            }
            return;
        }
        let step = columns.div_ceil(parts).next_multiple_of(if self.by_rows { 16 } else { BREADTH });
        parallel(columns.div_ceil(step), &|part| {
            let some = (part * step, ((part + 1) * step).min(columns));
            let to = sums.0.wrapping_add(some.0);
            // SAFETY: sums of this part's columns.
            unsafe {
                if self.by_rows {
                    dot_columns::<S>(widen, matrix, some, (rows, k), m, (to, columns));
                } else {
                    add_columns::<S>(widen, matrix, some, (0, k), (rows, k), m, (to, columns));
                }
            }
        });
    }
}

/// Writes `sums[i, j] = Σₚ rows[i, p] · matrix[j, p]` for `m` rows of `k` elements and for some columns of a matrix that are
/// contiguous along the summed axis. The first of the sums is for the first column; rows of them are `apart`.
///
/// # Safety
/// The elements of the matrix can be read, and the sums written, by this thread alone.
unsafe fn dot_columns<S: Element>(
    widen: Tile1,
    matrix: &Halves,
    (first, end): (usize, usize),
    (rows, k): (&[f32], usize),
    m: usize,
    (sums, apart): (*mut f32, usize),
) {
    debug_assert_eq!(S::DTYPE.size(), 2);
    #[cfg(target_arch = "x86_64")]
    if super::blocks() {
        let d = registers::Few {
            rows: rows.as_ptr(),
            apart: k,
            m,
            matrix: matrix.at(first, 0).cast(),
            free: matrix.free,
            summed: 1,
            columns: end - first,
            k,
            sums,
            sums_apart: apart,
        };
        // SAFETY: the machine has AVX-512; the caller's contract.
        return unsafe { registers::dots(S::DTYPE, &d) };
    }
    // A dot product for each column, of one piece after the other.
    scratch(&PIECES, PIECE, |piece: *mut f32| {
        for j in first..end {
            let mut acc = [0f32; MOST];
            for from in (0..k).step_by(PIECE) {
                let n = PIECE.min(k - from);
                // SAFETY: elements of the matrix, and room for a piece.
                let piece = unsafe {
                    widen(matrix.at(j, from), piece.cast(), n);
                    std::slice::from_raw_parts(piece.cast_const(), n)
                };
                for (i, acc) in acc.iter_mut().enumerate().take(m) {
                    *acc += dot(piece, &rows[i * k + from..i * k + from + n]);
                }
            }
            for (i, acc) in acc.iter().enumerate().take(m) {
                // SAFETY: the sum of row `i` and column `j`.
                unsafe { sums.add(i * apart + j - first).write(*acc) };
            }
        }
    });
}

/// Writes `sums[i, j] = Σₚ rows[i, p] · matrix[j, p]` for `m` rows and for some columns and depths of a matrix whose columns
/// are side by side; a row has `k` elements. The first of the sums is for the first column; rows of them are `apart`.
///
/// # Safety
/// The elements of the matrix can be read, and the sums written, by this thread alone.
unsafe fn add_columns<S: Element>(
    widen: Tile1,
    matrix: &Halves,
    (first, end): (usize, usize),
    (from, to): (usize, usize),
    (rows, k): (&[f32], usize),
    m: usize,
    (sums, apart): (*mut f32, usize),
) {
    for i in 0..m {
        // SAFETY: the caller's contract.
        unsafe { sums.add(i * apart).write_bytes(0, end - first) };
    }
    #[cfg(target_arch = "x86_64")]
    if super::blocks() {
        let d = registers::Few {
            rows: rows[from..].as_ptr(),
            apart: k,
            m,
            matrix: matrix.at(first, from).cast(),
            free: 1,
            summed: matrix.summed,
            columns: end - first,
            k: to - from,
            sums,
            sums_apart: apart,
        };
        // SAFETY: the machine has AVX-512; the caller's contract.
        return unsafe { registers::add(S::DTYPE, &d) };
    }
    let row = |i: usize| &rows[i * k..(i + 1) * k];
    scratch(&PIECES, 4 * PIECE, |pieces: *mut f32| {
        for p in (from..to).step_by(4) {
            let depth = 4.min(to - p);
            for j in (first..end).step_by(PIECE) {
                let n = PIECE.min(end - j);
                let some: [&[f32]; 4] = std::array::from_fn(|d| {
                    // Behind the last step the last is taken, times zero.
                    let at = pieces.wrapping_add(d.min(depth - 1) * PIECE);
                    // SAFETY: elements of the matrix; four pieces have room.
                    unsafe {
                        if d < depth {
                            widen(matrix.at(j, p + d), at.cast(), n);
                        }
                        std::slice::from_raw_parts(at.cast_const(), n)
                    }
                });
                for i in 0..m {
                    // SAFETY: sums of row `i`, which were cleared.
                    let acc = unsafe { std::slice::from_raw_parts_mut(sums.add(i * apart + j - first), n) };
                    if depth == 4 {
                        add_scaled(some, std::array::from_fn(|d| row(i)[p + d]), acc);
                    } else {
                        (0..depth).for_each(|d| add_one(some[d], row(i)[p + d], acc));
                    }
                }
            }
        }
    });
}

fn add_one(x: &[f32], scale: f32, acc: &mut [f32]) {
    for (acc, &x) in acc.iter_mut().zip(x) {
        *acc = x.mul_add(scale, *acc);
    }
}

/// Rows and columns of a block of a result, and the summed elements that are widened for it at once.
const SIDE: usize = 256;
const DEPTH: usize = 1024;

/// `out[i, j] = Σₚ a[i, p] · b[j, p]` in blocks, for machines that the blocked product is not written for: a block of each
/// operand is widened, and a library multiplies them.
///
/// # Safety
/// The elements can be read and written; all of the extents are at least 1.
pub(super) unsafe fn in_blocks<S: Element>(
    (m, n, k): (usize, usize, usize),
    a: Halves,
    b: Halves,
    out: Target,
    spread: bool,
) {
    let (widen, narrow) = conversions(S::DTYPE);
    debug_assert!(out.column == 1);
    let (down, across) = (m.div_ceil(SIDE), n.div_ceil(SIDE));
    let (a, b, out) = (&a, &b, &out);
    let one = |part: usize| {
        let (i, j) = (part / across * SIDE, part % across * SIDE);
        let (rows, columns, depth) = (SIDE.min(m - i), SIDE.min(n - j), DEPTH.min(k));
        let mut memory = List::filled((rows + columns) * depth + rows * columns, 0f32);
        let (wide_a, rest) = memory.split_at_mut(rows * depth);
        let (wide_b, sums) = rest.split_at_mut(columns * depth);
        for from in (0..k).step_by(DEPTH) {
            let depth = DEPTH.min(k - from);
            // SAFETY: blocks of the operands, for which there is room; the sums of the block.
            unsafe {
                let block = |x: &Halves, at: usize| Halves { ptr: x.at(at, from).cast(), ..*x };
                let (ar, ac) = block(a, i).widen(widen, (rows, depth), wide_a.as_mut_ptr());
                let (bc, br) = block(b, j).widen(widen, (columns, depth), wide_b.as_mut_ptr());
                gemm::gemm(
                    rows,
                    columns,
                    depth,
                    sums.as_mut_ptr(),
                    1,
                    columns as isize,
                    from > 0,
                    wide_a.as_ptr(),
                    ac,
                    ar,
                    wide_b.as_ptr(),
                    bc,
                    br,
                    1.0,
                    1.0,
                    false,
                    false,
                    false,
                    gemm::Parallelism::None,
                );
            }
        }
        for (r, sums) in sums.chunks_exact(columns).enumerate() {
            // SAFETY: a row of the block of the result, which this part alone writes.
            unsafe { narrow(sums.as_ptr().cast(), out.ptr.add((i + r) * out.row + j).cast(), columns) };
        }
    };
    if spread { parallel(down * across, &one) } else { (0..down * across).for_each(one) }
}
