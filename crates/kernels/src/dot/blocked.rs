//! Products in blocks that stay in the caches, their operands read through packed copies where that pays (AVX-512).
//!
//! The parts of a large product depend on its extents alone, and each element is summed in one order for any division,
//! so results do not depend on the number of threads. Operands are packed once for all threads; a library that is called
//! for each part would pack them once for each part.

use super::OnRows;
use super::blocks::{Blocks, DEPTH, PART};
use super::kernel::{Dots, Kernel, ROWS};
use super::operands::{Extents, Factor, Matrix, MatrixMut};
use super::scratch::{PARTIAL, SUMS};
use super::widen::conversions;
use crate::scratch::scratch;
use crate::threads::{parallel, parallel_ranges};
use std::ops::Range;

/// Multiplications from which on a product is split.
const SPLIT: usize = 1 << 20;

/// `c = a · b`, on several threads if `spread` allows and it is large enough.
///
/// # Safety
/// The machine has AVX-512; `a` and `b` can be read, `c` written, all with these extents, none of them zero.
pub(super) unsafe fn multiply<S: Factor>(
    e: Extents,
    a: Matrix<S>,
    b: Matrix<S>,
    c: MatrixMut<S>,
    spread: bool,
    on_rows: OnRows<'_>,
) {
    if S::plain() {
        let c = MatrixMut { ptr: c.ptr.cast::<S::Wide>(), row: c.row };
        // SAFETY: the caller's contract.
        return unsafe { wide(e, a, b, c, spread, on_rows) };
    }
    let narrow = conversions(S::DTYPE).1;
    let Extents { m, n, k } = e;
    // Contiguous operands are widened as a whole: one long loop is faster than many short ones.
    let (whole_a, whole_b) = (a.gapless(m, k), b.gapless(k, n));
    let whole = whole_a && whole_b && m * k + k * n <= WHOLE;
    let operands = if whole { m * k + k * n } else { 0 };
    scratch(&SUMS, m * n + operands, |sums: *mut S::Wide| {
        let target = MatrixMut { ptr: sums, row: n };
        let (c, from) = (&c, &target);
        let spread = spread && e.work() >= SPLIT;
        // SAFETY: the caller's contract; `sums` has room for the product and for the operands behind it.
        unsafe {
            if whole {
                let (wide_a, wide_b) = (sums.add(m * n), sums.add(m * n + m * k));
                widen_all(a.ptr, wide_a, m * k, spread);
                widen_all(b.ptr, wide_b, k * n, spread);
                let a = Matrix { ptr: wide_a.cast_const(), row: a.row, column: a.column };
                let b = Matrix { ptr: wide_b.cast_const(), row: b.row, column: b.column };
                wide::<S::Wide>(e, a, b, target, spread, OnRows::default());
            } else {
                wide(e, a, b, target, spread, OnRows::default());
            }
        }
        debug_assert!(c.row == n, "results have no gaps");
        parallel_ranges(m * n, if spread { 1 << 16 } else { usize::MAX }, &|range| {
            // SAFETY: these elements of both.
            unsafe { narrow(from.ptr.add(range.start).cast(), c.ptr.add(range.start).cast(), range.len()) };
        });
    });
}

/// The most elements of both operands together that are widened as a whole: as many as a second-level cache holds. For
/// more, the copies would take twice the operands' memory and save no time, because packing widens as it goes.
const WHOLE: usize = 1 << 18;

/// Widens `n` elements.
///
/// # Safety
/// The elements can be read and written.
unsafe fn widen_all<S: Factor>(src: *const S, dst: *mut S::Wide, n: usize, spread: bool) {
    let widen = conversions(S::DTYPE).0;
    let (src, dst) = (Matrix { ptr: src, row: 0, column: 1 }, MatrixMut { ptr: dst, row: 0 });
    let (src, dst) = (&src, &dst);
    parallel_ranges(n, if spread { 1 << 16 } else { usize::MAX }, &|range| {
        // SAFETY: these elements of both.
        unsafe { widen(src.at(0, range.start).cast(), dst.ptr.add(range.start).cast(), range.len()) };
    });
}

/// [`multiply`] into the wide type.
///
/// # Safety
/// As for [`multiply`].
unsafe fn wide<S: Factor>(
    e: Extents,
    a: Matrix<S>,
    b: Matrix<S>,
    c: MatrixMut<S::Wide>,
    spread: bool,
    on_rows: OnRows<'_>,
) {
    let Extents { m, n, k } = e;
    let spread = spread && e.work() >= SPLIT;
    if S::plain() && m <= 8 && a.column == 1 && b.row == 1 && k >= 2 * S::Wide::LANES {
        // Few contiguous rows by contiguous columns: dot products.
        let d = Dots {
            k,
            a: a.ptr.cast(),
            a_row: a.row,
            rows: m,
            b: b.ptr.cast::<S::Wide>(),
            b_row: b.column,
            columns: n,
            c: c.ptr,
            c_row: c.row,
            c_column: 1,
        };
        // SAFETY: the caller's contract.
        return unsafe { columns_apart(d, spread) };
    }
    let tiles = m.div_ceil(ROWS) * n.div_ceil(2 * S::Wide::LANES);
    if spread && tiles < 16 && k >= 8 * DEPTH {
        // A small result of long sums: the summed axis is divided, and the partial sums are added up in order.
        let parts = (k / (2 * DEPTH)).clamp(2, 16);
        return scratch(&PARTIAL, parts * m * n, |sums: *mut S::Wide| {
            let sums = MatrixMut { ptr: sums, row: n };
            let sums = &sums;
            parallel(parts, &|p| {
                let (from, to) = (p * k / parts, (p + 1) * k / parts);
                let a = Matrix { ptr: a.at(0, from), ..a };
                let b = Matrix { ptr: b.at(from, 0), ..b };
                let own = MatrixMut { ptr: sums.ptr.wrapping_add(p * m * n), row: n };
                // SAFETY: a part of the summed axis, and sums of its own.
                unsafe {
                    Blocks::new(Extents { k: to - from, ..e }, a, b, own, false, OnRows::default()).run()
                };
            });
            for i in 0..m * n {
                // SAFETY: all partial sums are written, and `c` can be written.
                unsafe {
                    let all = (1..parts)
                        .fold(*sums.ptr.add(i), |s, p| crate::num::Num::add(s, *sums.ptr.add(p * m * n + i)));
                    c.ptr.add(i / n * c.row + i % n).write(all);
                }
            }
        });
    }
    // SAFETY: the caller's contract.
    unsafe { Blocks::new(e, a, b, c, spread, on_rows).run() }
}

/// Dot products that several threads share.
struct SharedDots<T>(Dots<T>);
// SAFETY: the operands are only read, and every thread writes results of its own.
unsafe impl<T> Sync for SharedDots<T> {}

/// [`Kernel::dots`], its columns on several threads.
///
/// # Safety
/// As for [`Kernel::dots`].
unsafe fn columns_apart<T: Kernel>(d: Dots<T>, spread: bool) {
    let d = SharedDots(d);
    let d = &d;
    let some = |range: Range<usize>| {
        let b = d.0.b.wrapping_offset(range.start as isize * d.0.b_row);
        let c = d.0.c.wrapping_add(range.start * d.0.c_column);
        // SAFETY: some of the columns that the caller vouches for.
        unsafe { T::dots(&Dots { b, c, columns: range.len(), ..d.0 }) };
    };
    let least = if spread { (PART / (d.0.rows * d.0.k)).max(16) } else { usize::MAX };
    parallel_ranges(d.0.columns, least, &some);
}

/// [`Kernel::dots`], its rows on several threads.
///
/// # Safety
/// As for [`Kernel::dots`].
pub(super) unsafe fn rows_apart<T: Kernel>(d: Dots<T>, spread: bool) {
    let d = SharedDots(d);
    let d = &d;
    let some = |range: Range<usize>| {
        let a = d.0.a.wrapping_offset(range.start as isize * d.0.a_row);
        let c = d.0.c.wrapping_add(range.start * d.0.c_row);
        // SAFETY: some of the rows that the caller vouches for.
        unsafe { T::dots(&Dots { a, c, rows: range.len(), ..d.0 }) };
    };
    // The matrix is read from memory once, and reading takes longer than multiplying.
    let least = if spread { ((1 << 16) / d.0.k).max(16) } else { usize::MAX };
    parallel_ranges(d.0.rows, least, &some);
}
