//! Cumulative operations along one axis.

use crate::combine::{Combine, LogAddExp, Max, Min, Prod, Stored, Sum};
use crate::simd::vectorize;
use crate::strided::{Out, View};
use crate::threads::{Shared, parallel};

/// The operation of a scan.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Scan {
    /// Running sum.
    Sum,
    /// Running product.
    Prod,
    /// Running maximum; NaN from the first NaN on.
    Max,
    /// Running minimum; NaN from the first NaN on.
    Min,
    /// Running `log(sum(exp(x)))`.
    LogAddExp,
}

/// Columns that are scanned side by side.
const COLUMNS: usize = 64;
/// Elements of a line that are combined with each other before the result so far is combined with them.
const LANES: usize = 16;
/// Elements of a block of a long line. Its total is computed before it is scanned, so that several threads can scan blocks
/// at the same time.
const BLOCK: usize = 1 << 15;
/// Blocks whose totals are computed together: few enough to be in a cache still when they are scanned.
const TOGETHER: usize = 16;
/// Elements from which on a separate part pays.
const PART: usize = 1 << 15;

/// Accumulates `x` along `axis` into `out` (same shape; `x` is converted to `out`'s type first).
///
/// `reverse` runs from the end. With `inclusive` each result includes its own element; otherwise the first result is the
/// neutral element. Half-precision types accumulate in `f32`. `x` may be exactly `out`'s memory if both have the same type.
/// The grouping of elements depends on the extents alone, so results do not depend on the number of threads.
pub fn scan(op: Scan, x: View<'_>, axis: usize, reverse: bool, inclusive: bool, out: Out<'_>) {
    let (ptr, dtype, shape) = (out.ptr(), out.dtype(), out.shape());
    let (len, inner) = (shape[axis], shape[axis + 1..].iter().product::<usize>());
    let outer: usize = shape[..axis].iter().product();
    if outer * len * inner == 0 {
        return;
    }
    // Row-major elements of the right type are read in place.
    let direct = x.dtype() == dtype && x.is_row_major();
    let src = if direct { x.ptr() } else { ptr.cast_const() };
    if !direct {
        crate::strided::cast(x, out);
    }
    crate::with_dtype!(dtype, T => {
        let lines = Lines { src: src.cast::<T>(), dst: ptr.cast::<T>(), outer, len, inner, reverse, inclusive };
        // SAFETY: both have this many elements.
        unsafe {
            match op {
                Scan::Sum => lines.scan::<Sum>(),
                Scan::Prod => lines.scan::<Prod>(),
                Scan::Max => lines.scan::<Max>(),
                Scan::Min => lines.scan::<Min>(),
                Scan::LogAddExp => lines.scan::<LogAddExp>(),
            }
        }
    });
}

/// The elements of a scan: `outer` blocks of `len` rows of `inner` elements, scanned downwards or upwards.
struct Lines<T> {
    src: *const T,
    dst: *mut T,
    outer: usize,
    len: usize,
    inner: usize,
    reverse: bool,
    inclusive: bool,
}
// SAFETY: every thread writes elements of its own, and reads none that another writes.
unsafe impl<T> Sync for Lines<T> {}

impl<T: Stored> Lines<T> {
    /// # Safety
    /// All elements can be read and written.
    unsafe fn scan<F: Combine>(&self) {
        let init: T::Acc = F::neutral();
        let &Self { outer, len, inner, .. } = self;
        if inner > 1 {
            let chunks = inner.div_ceil(COLUMNS);
            let least = PART.div_ceil(len * inner.min(COLUMNS));
            return parallel_parts(outer * chunks, least, &|range| {
                for i in range {
                    // SAFETY: some columns of one block, which no other part has.
                    unsafe { self.columns::<F>(i / chunks, i % chunks * COLUMNS) };
                }
            });
        }
        if len < 2 * BLOCK {
            return parallel_parts(outer, PART.div_ceil(len), &|range| {
                for i in range {
                    // SAFETY: one line, which no other part has.
                    unsafe { self.line::<F>(i * len, len, init) };
                }
            });
        }
        let blocks = len.div_ceil(BLOCK);
        // Block `b` in the order of the scan.
        let place = |b: usize| {
            let b = if self.reverse { blocks - 1 - b } else { b };
            (b * BLOCK, BLOCK.min(len - b * BLOCK))
        };
        for i in 0..outer {
            let mut before = init;
            for first in (0..blocks).step_by(TOGETHER) {
                let count = TOGETHER.min(blocks - first);
                let mut totals = [init; TOGETHER];
                let slots = Shared::new(totals.as_mut_ptr());
                parallel(count, &|b| {
                    let (at, n) = place(first + b);
                    // SAFETY: one block is read, and a total of its own written.
                    unsafe {
                        let block = std::slice::from_raw_parts(self.src.add(i * len + at), n);
                        slots.at(b).write(total::<T, F>(block));
                    }
                });
                let mut starts = [before; TOGETHER];
                for b in 0..count {
                    starts[b] = before;
                    before = F::apply(before, totals[b]);
                }
                parallel(count, &|b| {
                    let (at, n) = place(first + b);
                    // SAFETY: one block, which no other part has.
                    unsafe { self.line::<F>(i * len + at, n, starts[b]) };
                });
            }
        }
    }

    /// Scans `n` elements from `at` on, after `before`.
    ///
    /// # Safety
    /// The elements can be read and written.
    unsafe fn line<F: Combine>(&self, at: usize, n: usize, before: T::Acc) {
        // SAFETY: the caller's contract. Source and destination may be the same memory, so neither is a slice:
        // each group is read before it is written.
        unsafe {
            let (src, dst) = (self.src.add(at), self.dst.add(at));
            match (self.reverse, self.inclusive) {
                (false, false) => scan_line::<T, F, Forward, Before>(Ends { src, dst, n }, before),
                (false, true) => scan_line::<T, F, Forward, Including>(Ends { src, dst, n }, before),
                (true, false) => scan_line::<T, F, Backward, Before>(Ends { src, dst, n }, before),
                (true, true) => scan_line::<T, F, Backward, Including>(Ends { src, dst, n }, before),
            }
        }
    }

    /// Scans up to [`COLUMNS`] columns from `first` on of one block.
    ///
    /// # Safety
    /// The elements can be read and written.
    unsafe fn columns<F: Combine>(&self, block: usize, first: usize) {
        scan_columns::<T, F>(self, block, first);
    }
}

vectorize! {
    /// Scans some columns side by side. The caller of [`Lines::columns`] vouches for the elements.
    fn scan_columns[T: Stored, F: Combine](x: &Lines<T>, block: usize, first: usize) {
        let &Lines { len, inner, src, dst, inclusive, .. } = x;
        let columns = COLUMNS.min(inner - first);
        let mut acc: [T::Acc; COLUMNS] = [F::neutral(); COLUMNS];
        for i in 0..len {
            let row = if x.reverse { len - 1 - i } else { i };
            let at = (block * len + row) * inner + first;
            // SAFETY: the row's elements can be read, and then written through the other pointer.
            unsafe {
                for (j, acc) in acc[..columns].iter_mut().enumerate() {
                    let before = *acc;
                    *acc = F::apply(before, src.add(at + j).read().load());
                    dst.add(at + j).write(T::store(if inclusive { *acc } else { before }));
                }
            }
        }
    }
}

/// Divides `0..n` into a few large parts. Unlike those of [`parallel_ranges`](crate::threads::parallel_ranges), their
/// boundaries are not multiples of a cache line.
fn parallel_parts(n: usize, least: usize, task: &(dyn Fn(std::ops::Range<usize>) + Sync)) {
    let parts = (n / least.max(1)).clamp(1, 16);
    parallel(parts, &|p| task(p * n / parts..(p + 1) * n / parts));
}

/// A choice made at compile time.
trait Choice {
    const YES: bool;
}
struct Forward;
struct Backward;
struct Including;
struct Before;
impl Choice for Forward {
    const YES: bool = false;
}
impl Choice for Backward {
    const YES: bool = true;
}
impl Choice for Including {
    const YES: bool = true;
}
impl Choice for Before {
    const YES: bool = false;
}

/// A line to scan: where it is read, where it is written, and its length.
struct Ends<T> {
    src: *const T,
    dst: *mut T,
    n: usize,
}

vectorize! {
    /// Scans a line group by group: the elements of a group are combined over growing distances, all of them at once, and
    /// then with the result so far.
    fn scan_line_safe[T: Stored, F: Combine, R: Choice, I: Choice](ends: Ends<T>, before: T::Acc) {
        let Ends { src, dst, n } = ends;
        let mut carry = before;
        let whole = n / LANES * LANES;
        // The elements beyond the last full group come last in the order of the scan.
        let rest = n - whole;
        for start in (0..whole).step_by(LANES) {
            let first = if R::YES { n - LANES - start } else { start };
            // SAFETY: the caller of `scan_line` vouches for the elements.
            let group = unsafe { src.add(first).cast::<[T; LANES]>().read_unaligned() };
            let mut t = [carry; LANES];
            for i in 0..LANES {
                t[i] = group[if R::YES { LANES - 1 - i } else { i }].load();
            }
            // Each element is combined with the one 1, 2, 4 and 8 places before it, all elements at once.
            let mut distance = 1;
            while distance < LANES {
                let mut shifted: [T::Acc; LANES] = [F::neutral(); LANES];
                shifted[distance..].copy_from_slice(&t[..LANES - distance]);
                for i in 0..LANES {
                    t[i] = F::apply(shifted[i], t[i]);
                }
                distance *= 2;
            }
            let last = t[LANES - 1];
            for v in &mut t {
                *v = F::apply(carry, *v);
            }
            if !I::YES {
                for i in (1..LANES).rev() {
                    t[i] = t[i - 1];
                }
                t[0] = carry;
            }
            carry = F::apply(carry, last);
            let mut group = group;
            for i in 0..LANES {
                group[if R::YES { LANES - 1 - i } else { i }] = T::store(t[i]);
            }
            // SAFETY: as above.
            unsafe { dst.add(first).cast::<[T; LANES]>().write_unaligned(group) };
        }
        for i in 0..rest {
            let at = if R::YES { rest - 1 - i } else { whole + i };
            // SAFETY: as above.
            unsafe {
                let next = F::apply(carry, src.add(at).read().load());
                dst.add(at).write(T::store(if I::YES { next } else { carry }));
                carry = next;
            }
        }
    }
}

/// # Safety
/// The line can be read and written.
unsafe fn scan_line<T: Stored, F: Combine, R: Choice, I: Choice>(ends: Ends<T>, before: T::Acc) {
    scan_line_safe::<T, F, R, I>(ends, before);
}

vectorize! {
    /// Combines all elements: first within each lane, then the lanes.
    fn total[T: Stored, F: Combine](x: &[T]) -> T::Acc {
        let mut acc: [T::Acc; 2 * LANES] = [F::neutral(); 2 * LANES];
        let groups = x.chunks_exact(2 * LANES);
        let rest = groups.remainder();
        for group in groups {
            for (acc, &v) in acc.iter_mut().zip(group) {
                *acc = F::apply(*acc, v.load());
            }
        }
        for (acc, &v) in acc.iter_mut().zip(rest) {
            *acc = F::apply(*acc, v.load());
        }
        acc.into_iter().fold(F::neutral(), F::apply)
    }
}
