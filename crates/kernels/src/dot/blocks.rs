//! One blocked product: its division into parts, the packed copies of its operands, and its tiles.

use super::OnRows;
use super::kernel::{Kernel, ROWS, SLOT, Tile, WIDE_ROWS};
use super::operands::{Extents, Factor, Matrix, MatrixMut};
use super::pack::pack;
use super::scratch::{LOCAL, SHARED, own};
use crate::scratch::scratch;
use crate::threads::{num_threads, parallel};
use smallvec::SmallVec;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Summed elements of a block: a panel of columns of this length stays in the nearer caches.
pub(super) const DEPTH: usize = 384;
/// Columns of a block of packed panels.
const BREADTH: usize = 2048;
/// Tiles of rows in a block of packed rows, which stays in the second-level cache.
const TILES: usize = 12;
/// Multiplications from which on a separate part pays: some microseconds.
pub(super) const PART: usize = 1 << 18;

/// The number of the next step of any product; no step has the number 0.
static STEPS: AtomicU64 = AtomicU64::new(1);

/// How the kernel reads rows or columns.
#[derive(Clone, Copy, PartialEq)]
enum Packed {
    /// In place.
    Direct,
    /// From a copy packed by the one part that uses them.
    Local,
    /// From a copy packed by each thread before its first part.
    Own,
    /// From a copy packed beforehand, by all threads for all parts.
    Shared,
}

/// Up to this number of threads, each thread packs its own copy of shared operands. Data that another thread has written
/// arrives late where the two have no cache in common; with more threads, packing takes longer than the wait.
const FEW: usize = 4;

/// A product and its division.
pub(super) struct Blocks<'a, S: Factor> {
    e: Extents,
    a: Matrix<S>,
    b: Matrix<S>,
    c: MatrixMut<S::Wide>,
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

impl<'a, S: Factor> Blocks<'a, S> {
    pub(super) fn new(
        e: Extents,
        a: Matrix<S>,
        b: Matrix<S>,
        c: MatrixMut<S::Wide>,
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
        // Few threads divide the longer side, and each packs its own copy of the other side. If there are not many more
        // tiles than parts, each tile is a part, so that parts are equal.
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

    /// Computes the product.
    ///
    /// # Safety
    /// As for [`multiply`](super::blocked::multiply).
    pub(super) unsafe fn run(&self) {
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

    /// Packs the operands that several parts read.
    ///
    /// # Safety
    /// As for [`Self::run`].
    unsafe fn pack(&self, s: &Step<S::Wide>) {
        let panels = if self.columns == Packed::Shared { s.breadth.div_ceil(self.panel) } else { 0 };
        let tiles = if self.rows == Packed::Shared { self.tiles } else { 0 };
        if panels + tiles == 0 {
            return;
        }
        // Operands that are contiguous across panels are divided along the summed axis, so that whole rows are read; others
        // are divided into panels.
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

    /// Computes one step.
    ///
    /// # Safety
    /// As for [`Self::run`]; shared operands are packed.
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

    /// Runs with the address of packed rows, or of memory for the rows that a part packs itself.
    fn with_rows(&self, s: &Step<S::Wide>, tiles: &Range<usize>, run: impl FnOnce(*mut S::Wide)) {
        match self.rows {
            Packed::Local => scratch(&LOCAL, tiles.len().min(TILES) * SLOT * s.depth, run),
            Packed::Own => {
                // SAFETY: the operands can be read while a part runs, and there is room for the tiles.
                let pack = |dst| unsafe { self.pack_rows(0..self.tiles, 0..s.depth, s, dst) };
                own(s.number, self.tiles * SLOT * s.depth, pack, run);
            }
            Packed::Direct | Packed::Shared => run(s.rows),
        }
    }

    /// Runs with the address of packed columns, or of memory for the columns that a part packs itself.
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

    /// Computes some tiles of rows by some panels of columns.
    ///
    /// # Safety
    /// As for [`Self::compute`]; `rows` and `columns` are the addresses of packed operands, or of memory for them.
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
                // If only the columns are divided, no row is complete before all parts are done.
                if s.from + s.depth == self.e.k && (self.parts.0 > 1 || self.parts.1 == 1) {
                    let rows = self.tile_rows(group.start).start..self.tile_rows(group.end - 1).end;
                    let columns = (panels.end * self.panel).min(s.breadth) - panels.start * self.panel;
                    self.on_rows.report(rows, columns);
                }
            }
        }
    }

    /// Computes a tile of rows by a panel of columns. Packed rows begin at `rows` with tile `first`, packed columns at
    /// `columns`.
    ///
    /// # Safety
    /// As for [`Self::compute`]; operands that are not read in place are packed.
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
        // SAFETY: the tile is within the operands and the result.
        unsafe { S::Wide::tile(own.len(), &tile) };
    }
}

/// One block of the summed axis and of the columns, and the addresses of its packed operands.
struct Step<T> {
    first: usize,
    breadth: usize,
    from: usize,
    depth: usize,
    columns: *mut T,
    rows: *mut T,
    number: u64,
}
// SAFETY: each part packs operands of its own, and all are packed before any is read.
unsafe impl<T> Sync for Step<T> {}
// SAFETY: `a`, `b` and `c` may be used from any thread, as their types say.
unsafe impl<S: Factor> Sync for Blocks<'_, S> {}
