//! Reductions over any set of axes.
//!
//! Two loops do the work: folding contiguous runs (the reduced axes are innermost) and accumulating rows of kept
//! columns side by side (a kept axis is innermost). Both split long stretches in halves, so that the error of a
//! floating-point sum grows with the logarithm of its length, and both keep many accumulators, so that they
//! vectorise. The order of operations depends on the layout alone.

mod across;
mod parts;

use crate::convert::cast_tile;
use crate::dtype::Dtype;
use crate::num::Num;
use crate::simd::{Tile1, vectorize};
use crate::strided::{Axes, Cursor, Odometer, Out, TILE, Tile, View};
use across::fold_across;
use smallvec::SmallVec;

/// What a reduction computes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Reduce {
    /// The sum; 0 of nothing.
    Sum,
    /// The product; 1 of nothing.
    Prod,
    /// The greatest element, NaN if there is one; of nothing, the least value of the type.
    Max,
    /// The least element, NaN if there is one; of nothing, the greatest value of the type.
    Min,
    /// Whether all elements differ from zero; true of nothing.
    All,
    /// Whether any element differs from zero; false of nothing.
    Any,
}

/// An associative operation with a neutral element.
trait Fold<T> {
    const INIT: T;
    fn fold(a: T, b: T) -> T;
}

macro_rules! folds {
    ($($name:ident: $init:ident, $f:ident;)*) => {$(
        struct $name;
        impl<T: Num> Fold<T> for $name {
            const INIT: T = T::$init;
            #[inline(always)]
            fn fold(a: T, b: T) -> T {
                a.$f(b)
            }
        }
    )*};
}
folds! {
    Sum: ZERO, add;
    Prod: ONE, mul;
    Max: LOWEST, greater;
    Min: HIGHEST, lesser;
}

/// Reduces `x` over `axes` (sorted, without repeats) into `out`, which holds the kept axes in order.
///
/// Sums and products are of `out`'s element type, which may be wider than `x`'s; half-precision types
/// accumulate in `f32`. Maximum and minimum are of `x`'s type; all and any take any type and give bool.
///
/// Large ones are split over threads along a kept axis, or, where all is reduced, into blocks; the split depends
/// on the extents alone.
pub fn reduce(op: Reduce, x: View<'_>, axes: &[usize], out: Out<'_>) {
    let out = match once_each(op, &x, axes, out) {
        None => return,
        Some(out) => out,
    };
    let parts = (x.size() / PART).min(16);
    if parts >= 2 {
        let kept = (0..x.ndim()).find(|k| x.shape()[*k] > 1 && !axes.contains(k));
        match kept {
            Some(axis) => return parts::by_kept_axis(op, &x, axes, &out, axis, parts),
            None if x.is_row_major() && x.dtype() == out.dtype() && x.dtype().size() >= 4 => {
                return parts::by_blocks(op, &x, &out, parts);
            }
            None => {}
        }
    }
    whole(op, x, axes, out);
}

/// Reduces what is repeated (an axis of stride 0) once: an extreme does not change by it, and a sum of integers is
/// multiplied, exactly, modulo the width. Gives the output back where nothing is.
fn once_each<'a>(op: Reduce, x: &View<'_>, axes: &[usize], out: Out<'a>) -> Option<Out<'a>> {
    let is_counted = op == Reduce::Sum && out.dtype().is_integer();
    let is_idempotent = !matches!(op, Reduce::Sum | Reduce::Prod);
    let is_repeated = |k: usize| x.strides()[k] == 0 && x.shape()[k] > 1;
    if !(is_counted || is_idempotent) || x.size() == 0 || !axes.iter().any(|&k| is_repeated(k)) {
        return Some(out);
    }
    let mut shape: SmallVec<[usize; 6]> = SmallVec::from_slice(x.shape());
    let mut times = 1usize;
    for &k in axes.iter().filter(|&&k| is_repeated(k)) {
        times = times.wrapping_mul(shape[k]);
        shape[k] = 1;
    }
    let (ptr, dtype, size) = (out.ptr(), out.dtype(), out.size());
    // SAFETY: the same memory, of which a part is read.
    reduce(op, unsafe { View::new(x.ptr(), x.dtype(), &shape, x.strides()) }, axes, out);
    macro_rules! multiply {
        ($($d:ident $t:ty),*) => {
            match dtype {
                $(Dtype::$d => {
                    // SAFETY: the output, which `reduce` has filled and nobody else uses.
                    let all = unsafe { std::slice::from_raw_parts_mut(ptr.cast::<$t>(), size) };
                    for sum in all {
                        *sum = sum.wrapping_mul(times as $t);
                    }
                })*
                _ => {}
            }
        };
    }
    if is_counted {
        multiply!(U8 u8, U16 u16, U32 u32, U64 u64, I8 i8, I16 i16, I32 i32, I64 i64);
    }
    None
}

/// Elements that are worth a part of their own.
const PART: usize = 1 << 16;

/// The reduction on this thread.
pub(crate) fn whole(op: Reduce, x: View<'_>, axes: &[usize], out: Out<'_>) {
    let acc = match out.dtype() {
        Dtype::F16 | Dtype::Bf16 => Dtype::F32,
        d => d,
    };
    match op {
        Reduce::Sum => crate::with_dtype!(acc, T => run::<T, Sum>(&x, axes, &out)),
        Reduce::Prod => crate::with_dtype!(acc, T => run::<T, Prod>(&x, axes, &out)),
        Reduce::Max => crate::with_dtype!(acc, T => run::<T, Max>(&x, axes, &out)),
        Reduce::Min => crate::with_dtype!(acc, T => run::<T, Min>(&x, axes, &out)),
        Reduce::All => run::<bool, Min>(&x, axes, &out),
        Reduce::Any => run::<bool, Max>(&x, axes, &out),
    }
}

vectorize! {
    fn join_slices[T: Num, F: Fold<T>](from: &[T], into: &mut [T]) {
        for (a, &b) in into.iter_mut().zip(from) {
            *a = F::fold(*a, b);
        }
    }
}

/// Joins results of two parts of a reduction: `into[i] = into[i] ∘ from[i]`, accumulators of type `acc`.
///
/// # Safety
/// Both hold `n` elements of `acc`, without overlap, and `into` is nobody else's.
pub(crate) unsafe fn combine(op: Reduce, acc: Dtype, from: *const u8, into: *mut u8, n: usize) {
    macro_rules! go {
        ($t:ty, $f:ty) => {{
            // SAFETY: the caller's contract.
            let (from, into) = unsafe {
                (std::slice::from_raw_parts(from.cast(), n), std::slice::from_raw_parts_mut(into.cast(), n))
            };
            join_slices::<$t, $f>(from, into)
        }};
    }
    match op {
        Reduce::Sum => crate::with_dtype!(acc, T => go!(T, Sum)),
        Reduce::Prod => crate::with_dtype!(acc, T => go!(T, Prod)),
        Reduce::Max => crate::with_dtype!(acc, T => go!(T, Max)),
        Reduce::Min => crate::with_dtype!(acc, T => go!(T, Min)),
        Reduce::All => go!(bool, Min),
        Reduce::Any => go!(bool, Max),
    }
}

/// Elements that are folded without splitting.
const BLOCK: usize = 4096;
/// Accumulators side by side: four AVX-512 registers of `f32`.
pub(crate) const LANES: usize = 64;
/// Columns that are accumulated side by side.
const COLUMNS: usize = 256;
/// Rows that are accumulated without splitting.
const ROWS: usize = 128;
/// Up to this length, runs are folded across: many runs at once, one element of each at a time.
pub(crate) const SHORT: usize = 32;

vectorize! {
    fn fold_block[T: Num, F: Fold<T>](x: &[T]) -> T {
        let mut acc = [F::INIT; LANES];
        let mut chunks = x.chunks_exact(LANES);
        for chunk in &mut chunks {
            for (a, &v) in acc.iter_mut().zip(chunk) {
                *a = F::fold(*a, v);
            }
        }
        for (a, &v) in acc.iter_mut().zip(chunks.remainder()) {
            *a = F::fold(*a, v);
        }
        fold_lanes::<T, F>(acc)
    }
}

/// Folds accumulators that were filled side by side.
#[inline(always)]
fn fold_lanes<T: Num, F: Fold<T>>(mut acc: [T; LANES]) -> T {
    let mut width = LANES / 2;
    while width > 0 {
        let (low, high) = acc.split_at_mut(width);
        for (a, &v) in low.iter_mut().zip(high.iter()) {
            *a = F::fold(*a, v);
        }
        width /= 2;
    }
    acc[0]
}

/// The sum of a run of `len` elements, at least [`SHORT`], whose blocks `fill` adds up: it is given where a block begins,
/// how long it is, and [`LANES`] accumulators, of which number `k` takes the elements `k`, `k + LANES`, … of the block, in
/// that order. The result is the one that [`whole`] has for the same elements in memory.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub(crate) fn sum_of_blocks<T: Num>(
    from: usize,
    len: usize,
    fill: &mut dyn FnMut(usize, usize) -> [T; LANES],
) -> T {
    if len <= BLOCK {
        return fold_lanes::<T, Sum>(fill(from, len));
    }
    let middle = middle(len);
    let first = sum_of_blocks(from, middle, fill);
    first.add(sum_of_blocks(from + middle, len - middle, fill))
}

/// Where a long run is divided.
fn middle(len: usize) -> usize {
    (len / 2).next_multiple_of(LANES)
}

/// Folds a contiguous run.
fn fold_run<T: Num, F: Fold<T>>(x: &[T]) -> T {
    if x.len() < SHORT {
        return x.iter().fold(F::INIT, |a, &v| F::fold(a, v));
    }
    if x.len() <= BLOCK {
        return fold_block::<T, F>(x);
    }
    let middle = middle(x.len());
    F::fold(fold_run::<T, F>(&x[..middle]), fold_run::<T, F>(&x[middle..]))
}

vectorize! {
    /// Folds `rows` rows of `acc.len()` columns into `acc`; the rows are slices of `x` that begin `step` apart.
    fn fold_rows_block[T: Num, F: Fold<T>](x: Rows<T>, rows: usize, acc: &mut [T]) {
        let n = acc.len();
        let mut i = 0;
        while i + 4 <= rows {
            let (a, b, c, d) = (x.row(i, n), x.row(i + 1, n), x.row(i + 2, n), x.row(i + 3, n));
            for ((((acc, &a), &b), &c), &d) in acc.iter_mut().zip(a).zip(b).zip(c).zip(d) {
                *acc = F::fold(*acc, F::fold(F::fold(a, b), F::fold(c, d)));
            }
            i += 4;
        }
        while i < rows {
            for (acc, &a) in acc.iter_mut().zip(x.row(i, n)) {
                *acc = F::fold(*acc, a);
            }
            i += 1;
        }
    }
}

/// Rows of contiguous elements, a fixed distance apart.
struct Rows<T> {
    base: *const T,
    step: isize,
}

impl<T> Clone for Rows<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Rows<T> {}

impl<T: Copy> Rows<T> {
    /// # Safety
    /// While this is used, the rows asked for can be read, to the length asked for.
    unsafe fn new(base: *const T, step: isize) -> Self {
        Self { base, step }
    }
    #[inline(always)]
    fn row<'a>(self, i: usize, n: usize) -> &'a [T] {
        // SAFETY: the contract of `new`.
        unsafe { std::slice::from_raw_parts(self.base.offset(i as isize * self.step), n) }
    }
    #[inline(always)]
    fn at(self, i: usize, j: usize) -> T {
        // SAFETY: the contract of `new`.
        unsafe { *self.base.offset(i as isize * self.step + j as isize) }
    }
    fn skip(self, i: usize) -> Self {
        Self { base: self.base.wrapping_offset(i as isize * self.step), step: self.step }
    }
}

/// Folds rows into `acc`, long stretches in halves.
fn fold_rows<T: Num, F: Fold<T>>(x: Rows<T>, rows: usize, acc: &mut [T]) {
    if rows <= ROWS {
        return fold_rows_block::<T, F>(x, rows, acc);
    }
    let middle = (rows / 2).next_multiple_of(4);
    fold_rows::<T, F>(x, middle, acc);
    let mut second = [F::INIT; COLUMNS];
    let second = &mut second[..acc.len()];
    fold_rows::<T, F>(x.skip(middle), rows - middle, second);
    for (a, &b) in acc.iter_mut().zip(second.iter()) {
        *a = F::fold(*a, b);
    }
}

/// A reduction taken apart.
struct Plan {
    /// The address of the first element in the order of the axes below.
    base: *const u8,
    /// Bytes per element of the input.
    size: usize,
    kept: Axes,
    /// The reduced axes, in the order of memory whatever their order in the view.
    reduced: Axes,
    /// The number of elements that make one result.
    count: usize,
    /// To the accumulators' type, if the input has another.
    widen: Option<Tile1>,
    /// From the accumulators' type, if the output has another.
    narrow: Option<Tile1>,
}

impl Plan {
    fn new(x: &View<'_>, axes: &[usize], acc: Dtype, out: Dtype) -> Self {
        let size = x.dtype().size();
        let (mut kept, mut reduced, mut offset) = (Axes::new(), Axes::new(), 0);
        for k in (0..x.ndim()).rev().filter(|k| !axes.contains(k)) {
            kept.push(x.shape()[k], x.strides()[k]);
        }
        let mut steps: Vec<(isize, usize)> = Vec::new();
        for &k in axes.iter().rev() {
            let (n, s) = (x.shape()[k], x.strides()[k]);
            if s < 0 && n > 0 {
                offset += (n as isize - 1) * s;
            }
            if n != 1 {
                steps.push((s.abs(), n));
            }
        }
        steps.sort_by_key(|s| s.0);
        for &(s, n) in &steps {
            reduced.push(n, s);
        }
        Self {
            base: x.ptr().wrapping_offset(offset * size as isize),
            size,
            kept,
            reduced,
            count: steps.iter().map(|s| s.1).product(),
            widen: (x.dtype() != acc).then(|| cast_tile(x.dtype(), acc)),
            narrow: (acc != out).then(|| cast_tile(acc, out)),
        }
    }

    /// The address of the element at an offset.
    fn at(&self, offset: isize) -> *const u8 {
        self.base.wrapping_offset(offset * self.size as isize)
    }

    /// Stores results from index `first` of the output on.
    fn store<T: Num>(&self, values: &[T], out: &Out<'_>, first: usize) {
        debug_assert!(first + values.len() <= out.size());
        // SAFETY: the output has room for the values from `first` on, in its own type.
        unsafe {
            let dst = out.ptr().add(first * out.dtype().size());
            match self.narrow {
                Some(f) => f(values.as_ptr().cast(), dst, values.len()),
                None => std::ptr::copy_nonoverlapping(values.as_ptr().cast(), dst, size_of_val(values)),
            }
        }
    }
}

fn run<T: Num, F: Fold<T>>(x: &View<'_>, axes: &[usize], out: &Out<'_>) {
    if out.size() == 0 {
        return;
    }
    let plan = Plan::new(x, axes, T::DTYPE, out.dtype());
    if plan.count == 0 {
        for i in 0..out.size() {
            plan.store(&[F::INIT], out, i);
        }
        return;
    }
    let (kept, reduced) = (plan.kept.as_slice(), plan.reduced.as_slice());
    match (kept.first(), reduced) {
        (Some(&(n, 1)), [_, ..]) if n >= 4 => columns::<T, F>(&plan, out),
        (Some(&(n, _)), [(length, 1)]) if n >= 16 && *length <= SHORT && plan.widen.is_none() => {
            across::<T, F>(&plan, out)
        }
        _ => runs::<T, F>(&plan, out),
    }
}

/// The innermost kept axis is contiguous: results side by side.
fn columns<T: Num, F: Fold<T>>(plan: &Plan, out: &Out<'_>) {
    let (kept, reduced) = (plan.kept.as_slice(), plan.reduced.as_slice());
    let n = kept[0].0;
    let mut outer = Odometer::new(&kept[1..]);
    // The longest reduced axis makes the rows.
    let rows = (0..reduced.len()).max_by_key(|&k| reduced[k].0).unwrap_or(0);
    let (length, step) = reduced[rows];
    let mut rest = Axes::new();
    for (k, &(n, s)) in reduced.iter().enumerate() {
        if k != rows {
            rest.push(n, s);
        }
    }
    let mut tile = Tile::new();
    for i in 0..out.size() / n {
        for first in (0..n).step_by(COLUMNS) {
            let width = COLUMNS.min(n - first);
            let mut acc = [F::INIT; COLUMNS];
            let acc = &mut acc[..width];
            let mut at = Odometer::new(rest.as_slice());
            for _ in 0..plan.count / length {
                let base = plan.at(outer.offset() + first as isize + at.offset());
                match plan.widen {
                    // SAFETY: the view vouches for the rows, each `width` long.
                    None => fold_rows::<T, F>(unsafe { Rows::new(base.cast(), step) }, length, acc),
                    Some(f) => {
                        for row in 0..length as isize {
                            // SAFETY: as above; the tile has room for COLUMNS elements.
                            let row = unsafe {
                                f(base.offset(row * step * plan.size as isize), tile.ptr(), width);
                                Rows::new(tile.ptr().cast_const().cast::<T>(), 0)
                            };
                            fold_rows_block::<T, F>(row, 1, acc);
                        }
                    }
                }
                at.step();
            }
            plan.store(acc, out, i * n + first);
        }
        outer.step();
    }
}

/// Short contiguous runs, many of them: folded across.
fn across<T: Num, F: Fold<T>>(plan: &Plan, out: &Out<'_>) {
    let kept = plan.kept.as_slice();
    let (n, step) = kept[0];
    let mut outer = Odometer::new(&kept[1..]);
    for i in 0..out.size() / n {
        for first in (0..n).step_by(COLUMNS) {
            let width = COLUMNS.min(n - first);
            let mut acc = [F::INIT; COLUMNS];
            let base = plan.at(outer.offset() + first as isize * step).cast::<T>();
            // SAFETY: the view vouches for `width` runs of `count` elements.
            fold_across::<T, F>(unsafe { Rows::new(base, step) }, plan.count, &mut acc[..width]);
            plan.store(&acc[..width], out, i * n + first);
        }
        outer.step();
    }
}

/// One result after the other.
fn runs<T: Num, F: Fold<T>>(plan: &Plan, out: &Out<'_>) {
    let mut at = Odometer::new(plan.kept.as_slice());
    let reduced = plan.reduced.as_slice();
    let direct = plan.widen.is_none();
    for i in 0..out.size() {
        let base = plan.at(at.offset());
        let result = match reduced {
            // SAFETY: the view vouches for one element.
            [] if direct => unsafe { *base.cast::<T>() },
            // SAFETY: the view vouches for this run.
            [(n, 1)] if direct => fold_run::<T, F>(unsafe { std::slice::from_raw_parts(base.cast(), *n) }),
            [(n, 1), rest @ ..] if direct && *n >= SHORT => {
                let mut inner = Odometer::new(rest);
                (0..plan.count / n).fold(F::INIT, |a, _| {
                    // SAFETY: the view vouches for this run.
                    let run =
                        unsafe { std::slice::from_raw_parts(base.cast::<T>().offset(inner.offset()), *n) };
                    inner.step();
                    F::fold(a, fold_run::<T, F>(run))
                })
            }
            // SAFETY: the view vouches for what `reduced` reaches.
            _ => gathered::<T, F>(plan, unsafe { Cursor::new(base, plan.size, &plan.reduced, 0) }),
        };
        plan.store(&[result], out, i);
        at.step();
    }
}

/// Folds elements of any layout and type by way of tiles, whose results go in halves like [`fold_run`]'s.
fn gathered<T: Num, F: Fold<T>>(plan: &Plan, mut cursor: Cursor<'_>) -> T {
    let (mut raw, mut wide) = (Tile::new(), Tile::new());
    // `levels[k]` holds the result of 2^k tiles when bit k of the number of tiles is set.
    let mut levels = [F::INIT; usize::BITS as usize];
    let (mut tiles, mut left) = (0usize, plan.count);
    while left > 0 {
        let n = left.min(TILE);
        // SAFETY: `n` elements remain; a tile has room for them, and is filled before it is read.
        let tile = unsafe {
            cursor.load(raw.ptr(), n);
            let full = match plan.widen {
                Some(f) => {
                    f(raw.ptr(), wide.ptr(), n);
                    wide.ptr()
                }
                None => raw.ptr(),
            };
            std::slice::from_raw_parts(full.cast_const().cast::<T>(), n)
        };
        let mut value = fold_run::<T, F>(tile);
        let carries = tiles.trailing_ones() as usize;
        for level in &mut levels[..carries] {
            value = F::fold(std::mem::replace(level, F::INIT), value);
        }
        levels[carries] = value;
        tiles += 1;
        left -= n;
    }
    levels.iter().rev().fold(F::INIT, |a, &v| F::fold(a, v))
}

/// The index along `axis` of the greatest (`max`) or least element, the first of equals; a NaN counts as extreme.
///
/// `out` is `u32`. The axis must not be empty.
pub fn arg_reduce(max: bool, x: View<'_>, axis: usize, out: Out<'_>) {
    debug_assert_eq!(out.dtype(), Dtype::U32);
    if out.size() == 0 {
        return;
    }
    crate::with_dtype!(x.dtype(), T => {
        if max { arg::<T, Max>(&x, axis, &out) } else { arg::<T, Min>(&x, axis, &out) }
    });
}

fn arg<T: Num, F: Fold<T>>(x: &View<'_>, axis: usize, out: &Out<'_>) {
    let mut kept = Axes::new();
    for k in (0..x.ndim()).rev().filter(|&k| k != axis) {
        kept.push(x.shape()[k], x.strides()[k]);
    }
    let (n, stride) = (x.shape()[axis], x.strides()[axis]);
    let out = out.ptr().cast::<u32>();
    let count = kept.as_slice().iter().map(|a| a.0).product::<usize>();
    if let (Some(&(width, 1)), true) = (kept.as_slice().first(), stride != 1) {
        return arg_columns::<T, F>(x.ptr().cast(), (n, stride), width, &kept, out);
    }
    let mut at = Odometer::new(kept.as_slice());
    for i in 0..count {
        // SAFETY: the view vouches for `n` elements from here; `i` is within the output.
        unsafe {
            let line = x.ptr().cast::<T>().offset(at.offset());
            let index = if stride == 1 && n >= SHORT {
                // The extreme first, then its place: two passes that vectorise beat one that does not.
                let line = std::slice::from_raw_parts(line, n);
                let best = fold_run::<T, F>(line);
                let found = if best.nan() {
                    line.iter().position(|v| v.nan())
                } else {
                    line.iter().position(|&v| v == best)
                };
                found.unwrap_or(0)
            } else {
                let (mut best, mut index) = (*line, 0);
                for k in 1..n {
                    let v = *line.offset(k as isize * stride);
                    if improves::<T, F>(best, v) {
                        (best, index) = (v, k);
                    }
                }
                index
            };
            out.add(i).write(index as u32);
        }
        at.step();
    }
}

/// Whether the fold would replace `best` by `v`.
#[inline(always)]
fn improves<T: Num, F: Fold<T>>(best: T, v: T) -> bool {
    !best.nan() && (v.nan() || (v != best && F::fold(best, v) == v))
}

/// Arguments of the extremes of columns, side by side.
fn arg_columns<T: Num, F: Fold<T>>(
    x: *const T,
    (rows, step): (usize, isize),
    width: usize,
    kept: &Axes,
    out: *mut u32,
) {
    vectorize! {
        fn update[T: Num, F: Fold<T>](row: &[T], k: u32, best: &mut [T], index: &mut [u32]) {
            for ((&v, best), index) in row.iter().zip(best).zip(index) {
                let better = improves::<T, F>(*best, v);
                *best = if better { v } else { *best };
                *index = if better { k } else { *index };
            }
        }
    }
    let kept = kept.as_slice();
    let mut outer = Odometer::new(&kept[1..]);
    let blocks: usize = kept[1..].iter().map(|a| a.0).product();
    for i in 0..blocks {
        for first in (0..width).step_by(COLUMNS) {
            let n = COLUMNS.min(width - first);
            let (mut best, mut index) = ([T::ZERO; COLUMNS], [0u32; COLUMNS]);
            // SAFETY: the view vouches for the rows; the output has `blocks · width` elements.
            unsafe {
                let rows_here = Rows::new(x.offset(outer.offset() + first as isize), step);
                best[..n].copy_from_slice(rows_here.row(0, n));
                for k in 1..rows {
                    update::<T, F>(rows_here.row(k, n), k as u32, &mut best[..n], &mut index[..n]);
                }
                std::ptr::copy_nonoverlapping(index.as_ptr(), out.add(i * width + first), n);
            }
        }
        outer.step();
    }
}
