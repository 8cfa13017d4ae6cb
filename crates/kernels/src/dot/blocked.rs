//! Products in blocks that stay in the caches, their operands read through packed copies where that pays (AVX-512).
//!
//! The parts of a large product depend on its extents alone, and each element is summed in one order whatever they
//! are, so results do not depend on the number of threads. Operands are packed once for all threads: a library
//! that is called for each part packs them once for each.

use super::OnRows;
use super::halves::conversions;
use super::kernel::{Dots, Kernel, ROWS, SLOT, Tile, WIDE_ROWS};
use super::pack::pack;
use super::scratch::{LOCAL, PARTIAL, SHARED, SUMS, own};
use crate::dtype::Element;
use crate::half_bits::{bf16_to_f32, f16_to_f32};
use crate::scratch::scratch;
use crate::threads::{num_threads, parallel, parallel_ranges};
use smallvec::SmallVec;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The extents of a product.
#[derive(Clone, Copy)]
pub(super) struct Extents {
    pub(super) m: usize,
    pub(super) n: usize,
    pub(super) k: usize,
}

impl Extents {
    fn work(self) -> usize {
        self.m * self.n * self.k
    }
}

/// A matrix in memory.
#[derive(Clone, Copy)]
pub(super) struct Matrix<S> {
    pub(super) ptr: *const S,
    pub(super) row: isize,
    pub(super) column: isize,
}
// SAFETY: it only tells where to read, which is sound from any thread.
unsafe impl<S> Sync for Matrix<S> {}

impl<S> Matrix<S> {
    /// Whether a matrix of these extents fills its memory.
    fn gapless(&self, rows: usize, columns: usize) -> bool {
        self.column == 1 && self.row == columns as isize || self.row == 1 && self.column == rows as isize
    }

    fn at(&self, row: usize, column: usize) -> *const S {
        self.ptr.wrapping_offset(row as isize * self.row + column as isize * self.column)
    }
}

/// A matrix to write, on its way to another thread; its columns are contiguous.
#[derive(Clone, Copy)]
pub(super) struct Target<T> {
    pub(super) ptr: *mut T,
    pub(super) row: usize,
}
// SAFETY: every thread writes a part of its own.
unsafe impl<T> Sync for Target<T> {}

/// An element type that can be multiplied and accumulated as `Self::Wide`.
pub(super) trait Stored: Element {
    type Wide: Kernel + Stored<Wide = Self::Wide>;
    fn widen(self) -> Self::Wide;
    /// Whether the two types are one.
    fn plain() -> bool {
        Self::DTYPE == Self::Wide::DTYPE
    }
}
macro_rules! stored {
    ($($t:ty, $wide:ty, $widen:expr;)*) => {$(
        impl Stored for $t {
            type Wide = $wide;
            #[inline(always)]
            fn widen(self) -> $wide {
                $widen(self)
            }
        }
    )*};
}
stored! {
    f32, f32, std::convert::identity;
    f64, f64, std::convert::identity;
    half::f16, f32, f16_to_f32;
    half::bf16, f32, bf16_to_f32;
}

/// Summed elements of a block: a panel of columns that long stays in the nearer caches.
const DEPTH: usize = 384;
/// Columns of a block of packed panels.
const BREADTH: usize = 2048;
/// Tiles of rows in a block of packed rows, which stays in the second-level cache.
const TILES: usize = 12;
/// Multiplications from which on a product is split, and those that are worth a part: some microseconds.
pub(super) const SPLIT: usize = 1 << 20;
const PART: usize = 1 << 18;

/// Steps of products so far; none has the number 0.
static STEPS: AtomicU64 = AtomicU64::new(1);

/// `c = a · b`, on several threads if `spread` allows and it is large enough.
///
/// # Safety
/// The machine has AVX-512; `a` and `b` can be read, `c` written, all with these extents, none of them zero.
pub(super) unsafe fn multiply<S: Stored>(
    e: Extents,
    a: Matrix<S>,
    b: Matrix<S>,
    c: Target<S>,
    spread: bool,
    on_rows: OnRows<'_>,
) {
    if S::plain() {
        let c = Target { ptr: c.ptr.cast::<S::Wide>(), row: c.row };
        // SAFETY: the caller's contract.
        return unsafe { wide(e, a, b, c, spread, on_rows) };
    }
    let narrow = conversions(S::DTYPE).1;
    let Extents { m, n, k } = e;
    // Operands without gaps are widened as a whole, which a long loop does faster than many short ones.
    let (whole_a, whole_b) = (a.gapless(m, k), b.gapless(k, n));
    let whole = whole_a && whole_b && m * k + k * n <= WHOLE;
    let operands = if whole { m * k + k * n } else { 0 };
    scratch(&SUMS, m * n + operands, |sums: *mut S::Wide| {
        let target = Target { ptr: sums, row: n };
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

/// Elements of both operands together that are widened as a whole: no more than a second-level cache holds. More of them would
/// take twice their memory again, and not less time than packing does, which widens as it goes.
const WHOLE: usize = 1 << 18;

/// Widens `n` elements.
///
/// # Safety
/// They can be read and written.
unsafe fn widen_all<S: Stored>(src: *const S, dst: *mut S::Wide, n: usize, spread: bool) {
    let widen = conversions(S::DTYPE).0;
    let (src, dst) = (Matrix { ptr: src, row: 0, column: 1 }, Target { ptr: dst, row: 0 });
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
unsafe fn wide<S: Stored>(
    e: Extents,
    a: Matrix<S>,
    b: Matrix<S>,
    c: Target<S::Wide>,
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
        // A small result of long sums: the sums are split and added up in order.
        let parts = (k / (2 * DEPTH)).clamp(2, 16);
        return scratch(&PARTIAL, parts * m * n, |sums: *mut S::Wide| {
            let sums = Target { ptr: sums, row: n };
            let sums = &sums;
            parallel(parts, &|p| {
                let (from, to) = (p * k / parts, (p + 1) * k / parts);
                let a = Matrix { ptr: a.at(0, from), ..a };
                let b = Matrix { ptr: b.at(from, 0), ..b };
                let own = Target { ptr: sums.ptr.wrapping_add(p * m * n), row: n };
                // SAFETY: a part of the summed axis, and sums of its own.
                unsafe {
                    Blocks::new(Extents { k: to - from, ..e }, a, b, own, false, OnRows::default()).run()
                };
            });
            for i in 0..m * n {
                // SAFETY: the sums are there, and `c` can be written.
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

/// Dot products on their way to other threads.
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
    // A matrix is read from memory once: its bytes, not the multiplications, make the time.
    let least = if spread { ((1 << 16) / d.0.k).max(16) } else { usize::MAX };
    parallel_ranges(d.0.rows, least, &some);
}

/// How rows or columns reach the kernel.
#[derive(Clone, Copy, PartialEq)]
enum Packed {
    /// Where they are.
    Direct,
    /// Packed by the part that alone uses them.
    Local,
    /// Packed by each thread when its first part needs them.
    Own,
    /// Packed beforehand, by all threads for all parts.
    Shared,
}

/// So many threads each pack for themselves what all need: what one has written reaches another late where the two have
/// no cache in common. More of them would pack longer than they wait.
const FEW: usize = 4;

/// A product and how it is divided.
struct Blocks<'a, S: Stored> {
    e: Extents,
    a: Matrix<S>,
    b: Matrix<S>,
    c: Target<S::Wide>,
    rows: Packed,
    columns: Packed,
    /// Columns of a panel.
    panel: usize,
    /// Tiles of rows.
    tiles: usize,
    /// Parts of the rows and of the columns.
    parts: (usize, usize),
    on_rows: OnRows<'a>,
}

impl<'a, S: Stored> Blocks<'a, S> {
    fn new(
        e: Extents,
        a: Matrix<S>,
        b: Matrix<S>,
        c: Target<S::Wide>,
        spread: bool,
        on_rows: OnRows<'a>,
    ) -> Self {
        let Extents { m, n, k } = e;
        let plain = S::plain();
        let contiguous = plain && b.column == 1;
        let flat = contiguous && m <= WIDE_ROWS;
        // Packing a panel of columns costs about as much as one tile of rows, so it pays with several.
        let direct = contiguous && (m <= 4 * ROWS || n * k <= 128 * 128);
        let panel = if flat { 4 } else { 2 } * S::Wide::LANES;
        let tiles = m.div_ceil(if flat { WIDE_ROWS } else { ROWS });
        let panels = n.min(BREADTH).div_ceil(panel);
        let want = if spread { 1 << (e.work() / PART).clamp(1, 16).ilog2() } else { 1 };
        let few = want > 1 && (2..=FEW).contains(&num_threads());
        // Few threads divide the longer side; what the other side is, each packs for itself.
        // One each if they are not many more than parts, so that parts are equal.
        let parts = |n: usize| if n <= 2 * want { n } else { want };
        let (down, across) = match few {
            true if m >= n.min(BREADTH) => (parts(tiles), 1),
            true => (1, parts(panels)),
            false => {
                let down = want.min((tiles / 4).max(1));
                let across = (want / down).min(panels);
                (if down * across < want { (want / across).min(tiles) } else { down }, across)
            }
        };
        let all = if few { Packed::Own } else { Packed::Shared };
        let rows = if plain && (a.column == 1 && n <= 128 || m * k.min(DEPTH) <= 64 * 128 && n <= 256) {
            Packed::Direct
        } else if across > 1 {
            all
        } else {
            Packed::Local
        };
        let columns = match (direct, few && across > 1) {
            (true, _) => Packed::Direct,
            (false, true) => Packed::Local,
            (false, false) => all,
        };
        Self { e, a, b, c, rows, columns, panel, tiles, parts: (down, across), on_rows }
    }

    /// # Safety
    /// As for [`multiply`].
    unsafe fn run(&self) {
        let Extents { n, k, .. } = self.e;
        let blocks = k.div_ceil(DEPTH);
        let depth = k.div_ceil(blocks);
        let shared = |how: Packed, elements: usize| if how == Packed::Shared { elements } else { 0 };
        let packed_columns = shared(self.columns, n.min(BREADTH).next_multiple_of(self.panel) * depth);
        let packed_rows = shared(self.rows, self.tiles * SLOT * depth);
        let run = |columns: *mut S::Wide| {
            for first in (0..n).step_by(BREADTH) {
                for block in 0..blocks {
                    let from = block * depth;
                    let step = Step {
                        first,
                        breadth: BREADTH.min(n - first),
                        from,
                        depth: depth.min(k - from),
                        columns,
                        rows: columns.wrapping_add(packed_columns),
                        number: STEPS.fetch_add(1, Relaxed),
                    };
                    // SAFETY: the caller's contract; the memory has room for the packed operands.
                    unsafe {
                        self.pack(&step);
                        self.compute(&step);
                    }
                }
            }
        };
        if packed_columns + packed_rows == 0 {
            run(std::ptr::null_mut());
        } else {
            scratch(&SHARED, packed_columns + packed_rows, run);
        }
    }

    fn spread(&self) -> bool {
        self.parts.0 * self.parts.1 > 1
    }

    /// The rows of a tile.
    fn tile_rows(&self, tile: usize) -> Range<usize> {
        let m = self.e.m;
        tile * m / self.tiles..(tile + 1) * m / self.tiles
    }

    /// Packs what several parts read.
    ///
    /// # Safety
    /// As for [`Self::run`].
    unsafe fn pack(&self, s: &Step<S::Wide>) {
        let panels = if self.columns == Packed::Shared { s.breadth.div_ceil(self.panel) } else { 0 };
        let tiles = if self.rows == Packed::Shared { self.tiles } else { 0 };
        if panels + tiles == 0 {
            return;
        }
        // What lies side by side in memory is divided along the summed axis, so that whole rows are read; the rest by
        // panels.
        let (steps, columns) = if self.b.column == 1 { (s.depth, panels) } else { (panels, s.depth) };
        let (depths, rows) = if self.a.row == 1 { (s.depth, tiles) } else { (tiles, s.depth) };
        let (across, down) = (if columns > 0 { steps } else { 0 }, if rows > 0 { depths } else { 0 });
        let elements = (panels * self.panel + tiles * SLOT) * s.depth;
        let parts = if self.spread() && elements >= 1 << 14 { 8 } else { 1 };
        let cut = |n: usize, part: usize| part * n / parts..(part + 1) * n / parts;
        let one = |part: usize| {
            // SAFETY: each call packs its own panels, or its own steps of all.
            unsafe {
                let range = cut(across, part);
                let (some, depths) =
                    if self.b.column == 1 { (0..panels, range) } else { (range, 0..s.depth) };
                let dst = s.columns.wrapping_add(some.start * self.panel * s.depth);
                self.pack_columns(some, depths, s, dst);
                let range = cut(down, part);
                let (some, depths) = if self.a.row == 1 { (0..tiles, range) } else { (range, 0..s.depth) };
                let dst = s.rows.wrapping_add(some.start * SLOT * s.depth);
                self.pack_rows(some, depths, s, dst);
            }
        };
        if parts > 1 { parallel(parts, &one) } else { one(0) }
    }

    /// Packs steps `depths` of panels of columns, the first at `dst`.
    ///
    /// # Safety
    /// As for [`Self::run`]; the panels fit at `dst`.
    unsafe fn pack_columns(
        &self,
        panels: Range<usize>,
        depths: Range<usize>,
        s: &Step<S::Wide>,
        dst: *mut S::Wide,
    ) {
        let first = panels.start * self.panel;
        let starts: SmallVec<[usize; 64]> = panels.map(|i| i * self.panel - first).collect();
        let ends = |i: usize| (starts[i] + self.panel).min(s.breadth - first);
        let src = self.b.at(s.from + depths.start, s.first + first);
        let dst = dst.wrapping_add(depths.start * self.panel);
        let strides = (self.b.column, self.b.row);
        // SAFETY: the caller's contract.
        unsafe { pack(src, strides, &starts, ends, depths.len(), (dst, self.panel, self.panel * s.depth)) };
    }

    /// Packs steps `depths` of tiles of rows, the first at `dst`.
    ///
    /// # Safety
    /// As for [`Self::run`]; the tiles of rows fit at `dst`.
    unsafe fn pack_rows(
        &self,
        tiles: Range<usize>,
        depths: Range<usize>,
        s: &Step<S::Wide>,
        dst: *mut S::Wide,
    ) {
        let first = self.tile_rows(tiles.start).start;
        let starts: SmallVec<[usize; 64]> =
            tiles.clone().map(|tile| self.tile_rows(tile).start - first).collect();
        let ends = |i: usize| self.tile_rows(tiles.start + i).end - first;
        let src = self.a.at(first, s.from + depths.start);
        let dst = dst.wrapping_add(depths.start * SLOT);
        let strides = (self.a.row, self.a.column);
        // SAFETY: the caller's contract.
        unsafe { pack(src, strides, &starts, ends, depths.len(), (dst, SLOT, SLOT * s.depth)) };
    }

    /// # Safety
    /// As for [`Self::run`]; what is shared is packed.
    unsafe fn compute(&self, s: &Step<S::Wide>) {
        let (down, across) = self.parts;
        let panels = s.breadth.div_ceil(self.panel);
        let part = |i: usize| {
            let (r, c) = (i / across, i % across);
            let tiles = r * self.tiles / down..(r + 1) * self.tiles / down;
            let panels = c * panels / across..(c + 1) * panels / across;
            self.with_rows(s, &tiles, |rows| {
                self.with_columns(s, |columns| {
                    // SAFETY: the caller's contract; each part writes elements of its own.
                    unsafe { self.part(s, tiles.clone(), panels.clone(), rows, columns) }
                });
            });
        };
        if self.spread() { parallel(down * across, &part) } else { part(0) }
    }

    /// Runs with the place of packed rows, or that for those which a part packs.
    fn with_rows(&self, s: &Step<S::Wide>, tiles: &Range<usize>, run: impl FnOnce(*mut S::Wide)) {
        match self.rows {
            Packed::Local => scratch(&LOCAL, tiles.len().min(TILES) * SLOT * s.depth, run),
            Packed::Own => {
                // SAFETY: the operands are there while a part runs, and there is room for the tiles.
                let pack = |dst| unsafe { self.pack_rows(0..self.tiles, 0..s.depth, s, dst) };
                own(s.number, self.tiles * SLOT * s.depth, pack, run);
            }
            Packed::Direct | Packed::Shared => run(s.rows),
        }
    }

    /// Runs with the place of packed columns, or that for those which a part packs.
    fn with_columns(&self, s: &Step<S::Wide>, run: impl FnOnce(*mut S::Wide)) {
        match self.columns {
            Packed::Local => scratch(&LOCAL, self.panel * s.depth, run),
            Packed::Own => {
                let panels = s.breadth.div_ceil(self.panel);
                // SAFETY: as for rows.
                let pack = |dst| unsafe { self.pack_columns(0..panels, 0..s.depth, s, dst) };
                own(s.number, panels * self.panel * s.depth, pack, run);
            }
            Packed::Direct | Packed::Shared => run(s.columns),
        }
    }

    /// # Safety
    /// As for [`Self::compute`]; `rows` and `columns` are where packed ones are or go.
    unsafe fn part(
        &self,
        s: &Step<S::Wide>,
        tiles: Range<usize>,
        panels: Range<usize>,
        rows: *mut S::Wide,
        columns: *mut S::Wide,
    ) {
        // SAFETY: the caller's contract, in all of this; there is room for a panel, and for a group of tiles.
        unsafe {
            if self.columns == Packed::Local {
                for panel in panels {
                    self.pack_columns(panel..panel + 1, 0..s.depth, s, columns);
                    tiles.clone().for_each(|tile| self.tile(s, (tile, 0), panel, rows, columns));
                }
                return;
            }
            for group in tiles.clone().step_by(TILES) {
                let group = group..(group + TILES).min(tiles.end);
                let first = if self.rows == Packed::Local { group.start } else { 0 };
                if self.rows == Packed::Local {
                    self.pack_rows(group.clone(), 0..s.depth, s, rows);
                }
                for panel in panels.clone() {
                    let columns = columns.wrapping_add(panel * self.panel * s.depth);
                    group.clone().for_each(|tile| self.tile(s, (tile, first), panel, rows, columns));
                }
                // Of columns alone, no row is there before all parts are.
                if s.from + s.depth == self.e.k && (self.parts.0 > 1 || self.parts.1 == 1) {
                    let rows = self.tile_rows(group.start).start..self.tile_rows(group.end - 1).end;
                    let columns = (panels.end * self.panel).min(s.breadth) - panels.start * self.panel;
                    self.on_rows.report(rows, columns);
                }
            }
        }
    }

    /// A tile of rows, where `first` is the first that is packed at `rows`, by a panel of columns, packed at `columns`.
    ///
    /// # Safety
    /// As for [`Self::compute`]; what is not read where it is, is packed.
    unsafe fn tile(
        &self,
        s: &Step<S::Wide>,
        (tile, first): (usize, usize),
        panel: usize,
        rows: *const S::Wide,
        columns: *const S::Wide,
    ) {
        let column = panel * self.panel;
        let (b, b_step) = match self.columns {
            Packed::Direct => (self.b.at(s.from, s.first + column).cast::<S::Wide>(), self.b.row),
            _ => (columns, self.panel as isize),
        };
        let own = self.tile_rows(tile);
        let (a, a_row, a_step) = match self.rows {
            Packed::Direct => (self.a.at(own.start, s.from).cast(), self.a.row, self.a.column),
            _ => (rows.wrapping_add((tile - first) * SLOT * s.depth), 1, SLOT as isize),
        };
        let tile = Tile {
            k: s.depth,
            a,
            a_row,
            a_step,
            b,
            b_step,
            c: self.c.ptr.wrapping_add(own.start * self.c.row + s.first + column),
            c_row: self.c.row,
            width: self.panel.min(s.breadth - column),
            add: s.from > 0,
        };
        // SAFETY: the tile lies within the operands and the result.
        unsafe { S::Wide::tile(own.len(), &tile) };
    }
}

/// One block of the summed axis and of the columns, and where its packed operands are.
struct Step<T> {
    first: usize,
    breadth: usize,
    from: usize,
    depth: usize,
    columns: *mut T,
    rows: *mut T,
    number: u64,
}
// SAFETY: parts write packed operands of their own, and read them when all are written.
unsafe impl<T> Sync for Step<T> {}
// SAFETY: `a`, `b` and `c` may be used from any thread, see there.
unsafe impl<S: Stored> Sync for Blocks<'_, S> {}
