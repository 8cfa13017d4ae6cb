//! Products of half precision, accumulated in `f32` and rounded once. Operands are widened piece by piece, in memory that
//! stays in the nearest cache: widening a whole weight matrix would take twice its memory at every call.

#[cfg(target_arch = "x86_64")]
mod registers;

use super::vector::{add_scaled, dot};
use super::widen::conversions;
use crate::dtype::Element;
use crate::memory::List;
use crate::scratch::{Kept, scratch};
use crate::simd::Tile1;
use crate::threads::{Shared, parallel};
use std::cell::Cell;

/// The most rows for which the other matrix is read once, without packing.
const MOST: usize = 32;
/// Elements of a row or column of the matrix that are widened at once.
const PIECE: usize = 1024;
/// Contiguous columns are divided into multiples of this: the sums of all rows for so many columns stay in the cache.
const BREADTH: usize = 256;
/// Elements of rows that are widened at once.
const LONG: usize = 1 << 18;
/// Elements of the matrix from which on a separate part pays.
const PART: usize = 1 << 16;
/// The most partial sums; with more, the matrix is divided by its columns instead.
const SUMS: usize = 1 << 16;

thread_local! {
    /// The widened rows and the sums of the product that this thread computes.
    static WIDE: Kept = const { Cell::new(None) };
    /// The piece of the matrix that this thread has widened.
    static PIECES: Kept = const { Cell::new(None) };
}

/// A matrix of half precision to read; the element type does not matter here, only its size.
#[derive(Clone, Copy)]
pub(super) struct Halves {
    pub(super) ptr: *const u16,
    /// The strides of the axis that the result keeps, and of the summed axis.
    pub(super) free: isize,
    pub(super) summed: isize,
}
// SAFETY: an address and two strides, which any thread may know; each read says why it is sound.
unsafe impl Sync for Halves {}

impl Halves {
    fn at(&self, free: usize, summed: usize) -> *const u8 {
        self.ptr.wrapping_offset(free as isize * self.free + summed as isize * self.summed).cast()
    }

    /// Widens a block of `rows` by `k` elements to `to` and keeps a contiguous axis contiguous. Returns the strides of the
    /// two axes at `to`.
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

/// A matrix of half precision to write.
#[derive(Clone, Copy)]
pub(super) struct HalvesMut {
    pub(super) ptr: *mut u16,
    pub(super) row: usize,
    pub(super) column: usize,
}
// SAFETY: every thread writes elements of its own.
unsafe impl Sync for HalvesMut {}

/// The most rows for one pass over the matrix: fewer where widened elements are written to the cache and read back, which
/// then takes most of the time.
pub(super) fn few_rows() -> usize {
    if super::blocks() { MOST } else { 8 }
}

/// `out[i, j] = Σₚ rows[i, p] · matrix[j, p]` for at most [`few_rows`] rows, `columns` columns and sums of `k` elements, in one
/// pass over the matrix. False, and nothing is done, if the matrix is contiguous in neither order or another kernel is
/// better.
///
/// # Safety
/// The elements can be read and written; all of the extents are at least 1.
pub(super) unsafe fn few<S: Element>(
    (m, columns, k): (usize, usize, usize),
    rows: Halves,
    matrix: Halves,
    out: HalvesMut,
    spread: bool,
) -> bool {
    debug_assert!(m <= MOST);
    let by_rows = matrix.summed == 1 && k >= 32;
    if !by_rows && (matrix.free != 1 || columns < 16) {
        return false;
    }
    // The blocked product divides long sums for few columns.
    if by_rows && columns < 64 && k > LONG && super::blocks() {
        return false;
    }
    let (widen, narrow) = conversions(S::DTYPE);
    // Rows are widened as a whole unless they are very long.
    let depth = k.min((LONG / m).next_multiple_of(PIECE));
    let parts = if spread { (columns * depth / PART).clamp(1, 16) } else { 1 };
    // Parts divide the summed axis, unless that takes many partial sums: then they divide the columns.
    let apart = !by_rows && parts * m * columns <= SUMS.max(parts * 64);
    let pass = Pass { widen, m, columns, by_rows, apart, parts };
    let (size, all) = (m * columns, pass.sums());
    let total = if depth < k { size } else { 0 };
    scratch(&WIDE, m * depth + all + total, |wide: *mut f32| {
        let (sums, total) = (wide.wrapping_add(m * depth), wide.wrapping_add(m * depth + all));
        for from in (0..k).step_by(depth) {
            let depth = depth.min(k - from);
            // SAFETY: there is room for the rows, one after the other, and for all sums; the caller guarantees the rest.
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
        // SAFETY: all sums are written; the caller guarantees the result.
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

/// One pass over the matrix for few rows.
struct Pass {
    widen: Tile1,
    m: usize,
    columns: usize,
    /// Whether columns are contiguous along the summed axis; else neighbouring columns are contiguous.
    by_rows: bool,
    /// Whether parts divide the summed axis, each with sums of its own; else they divide the columns.
    apart: bool,
    parts: usize,
}

impl Pass {
    /// The number of sums, of all parts together.
    fn sums(&self) -> usize {
        self.m * self.columns * if self.apart { self.parts } else { 1 }
    }

    /// Writes the products of rows of `k` elements with the columns of the matrix to the first `m · columns` sums.
    ///
    /// # Safety
    /// The matrix has such columns; there is room for the sums.
    unsafe fn run<S: Element>(&self, (rows, k): (&[f32], usize), matrix: &Halves, sums: *mut f32) {
        let &Self { widen, m, columns, parts, .. } = self;
        let sums = Shared::new(sums);
        if self.apart {
            let step = k.div_ceil(parts).next_multiple_of(4);
            let count = k.div_ceil(step);
            parallel(count, &|part| {
                let depths = (part * step, ((part + 1) * step).min(k));
                let to = sums.at(part * m * columns);
                // SAFETY: sums of this part's own, one row after the other.
                unsafe { add_columns::<S>(widen, matrix, (0, columns), depths, (rows, k), m, (to, columns)) };
            });
            for i in 0..m * columns {
                // SAFETY: each of the `count` parts has written all its sums.
                unsafe {
                    let all = (1..count).fold(*sums.at(i), |s, p| s + *sums.at(p * m * columns + i));
                    sums.at(i).write(all);
                }
            }
            return;
        }
        let step = columns.div_ceil(parts).next_multiple_of(if self.by_rows { 16 } else { BREADTH });
        parallel(columns.div_ceil(step), &|part| {
            let some = (part * step, ((part + 1) * step).min(columns));
            let to = sums.at(some.0);
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

/// Writes `sums[i, j] = Σₚ rows[i, p] · matrix[j, p]` for `m` rows of `k` elements and for some columns of a matrix, which are
/// contiguous along the summed axis. The first sum is that of the first column; rows of sums are `apart` elements apart.
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
    // A dot product for each column, piece by piece.
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

/// Writes `sums[i, j] = Σₚ rows[i, p] · matrix[j, p]` for `m` rows of `k` elements and for some columns and summed elements of a
/// matrix whose neighbouring columns are contiguous. The first sum is that of the first column; rows of sums are `apart`
/// elements apart.
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
                    // Beyond the last step the last piece is taken; its results are not used.
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
                    // SAFETY: sums of row `i`, which are set to zero above.
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

/// Rows and columns of a block of the result, and the summed elements that are widened for it at once.
const SIDE: usize = 256;
const DEPTH: usize = 1024;

/// `out[i, j] = Σₚ a[i, p] · b[j, p]` in blocks, for machines without AVX-512: a block of each operand is widened, and
/// the gemm crate multiplies them.
///
/// # Safety
/// The elements can be read and written; all of the extents are at least 1.
pub(super) unsafe fn in_blocks<S: Element>(
    (m, n, k): (usize, usize, usize),
    a: Halves,
    b: Halves,
    out: HalvesMut,
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
