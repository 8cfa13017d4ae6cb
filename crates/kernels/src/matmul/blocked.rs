//! Products in blocks that stay in the caches, their operands read through packed copies where that pays (AVX-512).
//!
//! The parts of a large product depend on its extents alone, and each element is summed in one order whatever they
//! are, so results do not depend on the number of threads. Operands are packed once for all threads: a library
//! that is called for each part packs them once for each.

use super::Listener;
use super::kernel::{Dots, Kernel, ROWS, Tile, WIDE_ROWS};
use crate::block::Memory;
use crate::cast::{narrow_tile, widen_tile};
use crate::dtype::Element;
use crate::half_bits::{bf16_to_f32, f16_to_f32};
use crate::pool::{parallel, parallel_ranges};
use std::cell::Cell;
use std::ops::Range;
use std::thread::LocalKey;

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

/// Memory that is kept from call to call.
type Scratch = Option<Memory<[u64; 8]>>;

thread_local! {
    /// Packed operands of the product that this thread has begun.
    static SHARED: Cell<Scratch> = const { Cell::new(None) };
    /// Packed rows of the part that this thread works on.
    static LOCAL: Cell<Scratch> = const { Cell::new(None) };
    /// Sums before they are narrowed.
    static SUMS: Cell<Scratch> = const { Cell::new(None) };
    /// Sums before they are added up.
    static PARTIAL: Cell<Scratch> = const { Cell::new(None) };
}

/// Runs with memory for `count` elements, whose contents are not defined; kept for the next call unless very large.
fn scratch<T, R>(cell: &'static LocalKey<Cell<Scratch>>, count: usize, run: impl FnOnce(*mut T) -> R) -> R {
    const KEEP: usize = 16 << 20;
    let lines = (count * size_of::<T>()).div_ceil(64);
    // Taken out while in use: what listens to a product may run products of its own.
    let held = cell.take().filter(|memory| memory.len() >= lines);
    let memory = held.unwrap_or_else(|| Memory::new(lines.next_power_of_two()));
    let result = run(memory.ptr().cast());
    if lines * 64 <= KEEP {
        cell.set(Some(memory));
    }
    result
}

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
    listener: Listener<'_>,
) {
    if S::plain() {
        let c = Target { ptr: c.ptr.cast::<S::Wide>(), row: c.row };
        // SAFETY: the caller's contract.
        return unsafe { wide(e, a, b, c, spread, listener) };
    }
    let narrow = narrow_tile(S::DTYPE).expect("a half-precision type");
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
                wide::<S::Wide>(e, a, b, target, spread, Listener::default());
            } else {
                wide(e, a, b, target, spread, Listener::default());
            }
        }
        debug_assert!(c.row == n, "results have no gaps");
        parallel_ranges(m * n, if spread { 1 << 16 } else { usize::MAX }, &|range| {
            // SAFETY: these elements of both.
            unsafe { narrow(from.ptr.add(range.start).cast(), c.ptr.add(range.start).cast(), range.len()) };
        });
    });
}

/// Elements of operands that are widened as a whole.
const WHOLE: usize = 4 << 20;

/// Widens `n` elements.
///
/// # Safety
/// They can be read and written.
unsafe fn widen_all<S: Stored>(src: *const S, dst: *mut S::Wide, n: usize, spread: bool) {
    let widen = widen_tile(S::DTYPE).expect("a half-precision type");
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
    listener: Listener<'_>,
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
                    Blocks::new(Extents { k: to - from, ..e }, a, b, own, false, Listener::default()).run()
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
    unsafe { Blocks::new(e, a, b, c, spread, listener).run() }
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

/// How tiles of rows reach the kernel.
#[derive(Clone, Copy, PartialEq)]
enum Rows {
    /// Where they are.
    Direct,
    /// Packed by the part that uses them.
    Local,
    /// Packed beforehand: several parts use them.
    Shared,
}

/// A product and how it is divided.
struct Blocks<'a, S: Stored> {
    e: Extents,
    a: Matrix<S>,
    b: Matrix<S>,
    c: Target<S::Wide>,
    rows: Rows,
    /// Whether columns are read where they are.
    direct: bool,
    /// Columns of a panel.
    panel: usize,
    /// Tiles of rows.
    tiles: usize,
    /// Parts of the rows and of the columns.
    parts: (usize, usize),
    listener: Listener<'a>,
}

impl<'a, S: Stored> Blocks<'a, S> {
    fn new(
        e: Extents,
        a: Matrix<S>,
        b: Matrix<S>,
        c: Target<S::Wide>,
        spread: bool,
        listener: Listener<'a>,
    ) -> Self {
        let Extents { m, n, k } = e;
        let plain = S::plain();
        let contiguous = plain && b.column == 1;
        let flat = contiguous && m <= WIDE_ROWS;
        // Packing a panel of columns costs about as much as one tile of rows, so it pays with several.
        let direct = contiguous && (m <= 4 * ROWS || n * k <= 64 * 64);
        let panel = if flat { 4 } else { 2 } * S::Wide::LANES;
        let tiles = m.div_ceil(if flat { WIDE_ROWS } else { ROWS });
        let panels = n.min(BREADTH).div_ceil(panel);
        let want = if spread { 1 << (e.work() / PART).clamp(1, 16).ilog2() } else { 1 };
        let mut down = want.min((tiles / 4).max(1));
        let across = (want / down).min(panels);
        if down * across < want {
            down = (want / across).min(tiles);
        }
        let rows = if plain && (a.column == 1 && n <= 128 || m * k.min(DEPTH) <= 64 * 128 && n <= 256) {
            Rows::Direct
        } else if across > 1 {
            Rows::Shared
        } else {
            Rows::Local
        };
        Self { e, a, b, c, rows, direct, panel, tiles, parts: (down, across), listener }
    }

    /// # Safety
    /// As for [`multiply`].
    unsafe fn run(&self) {
        let Extents { n, k, .. } = self.e;
        let blocks = k.div_ceil(DEPTH);
        let depth = k.div_ceil(blocks);
        let packed_columns =
            if self.direct { 0 } else { n.min(BREADTH).next_multiple_of(self.panel) * depth };
        let packed_rows = if self.rows == Rows::Shared { self.tiles * ROWS * depth } else { 0 };
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
        let panels = if self.direct { 0 } else { s.breadth.div_ceil(self.panel) };
        let tiles = if self.rows == Rows::Shared { self.tiles } else { 0 };
        let one = |i: usize| {
            // SAFETY: each call writes a panel or tile of its own.
            unsafe {
                if i < panels {
                    let j = s.first + i * self.panel;
                    let count = self.panel.min(s.breadth - i * self.panel);
                    let dst = s.columns.add(i * self.panel * s.depth);
                    pack(self.b.at(s.from, j), (self.b.column, self.b.row), count, dst, self.panel, s.depth);
                } else {
                    let tile = i - panels;
                    self.pack_rows(tile, s, s.rows.add(tile * ROWS * s.depth));
                }
            }
        };
        if self.spread() && (panels * self.panel + tiles * ROWS) * s.depth >= 1 << 14 {
            let count = panels + tiles;
            let group = count.div_ceil(16);
            parallel(count.div_ceil(group), &|g| {
                (g * group..((g + 1) * group).min(count)).for_each(one);
            });
        } else {
            (0..panels + tiles).for_each(one);
        }
    }

    /// # Safety
    /// As for [`Self::run`]; a tile of rows fits at `dst`.
    unsafe fn pack_rows(&self, tile: usize, s: &Step<S::Wide>, dst: *mut S::Wide) {
        let rows = self.tile_rows(tile);
        let src = self.a.at(rows.start, s.from);
        // SAFETY: the caller's contract.
        unsafe { pack(src, (self.a.row, self.a.column), rows.len(), dst, rows.len(), s.depth) };
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
            // SAFETY: the caller's contract; each part writes elements of its own.
            unsafe {
                if self.rows == Rows::Local {
                    let most = tiles.len().min(TILES);
                    scratch(&LOCAL, most * ROWS * s.depth, |local| self.part(s, tiles, panels, local));
                } else {
                    self.part(s, tiles, panels, s.rows);
                }
            }
        };
        if self.spread() { parallel(down * across, &part) } else { part(0) }
    }

    /// # Safety
    /// As for [`Self::compute`]; `packed` is where packed rows are or go.
    unsafe fn part(
        &self,
        s: &Step<S::Wide>,
        tiles: Range<usize>,
        panels: Range<usize>,
        packed: *mut S::Wide,
    ) {
        let slot = ROWS * s.depth;
        for group in tiles.clone().step_by(TILES) {
            let group = group..(group + TILES).min(tiles.end);
            if self.rows == Rows::Local {
                for tile in group.clone() {
                    // SAFETY: `packed` has room for a group of tiles.
                    unsafe { self.pack_rows(tile, s, packed.add((tile - group.start) * slot)) };
                }
            }
            for panel in panels.clone() {
                let column = panel * self.panel;
                let (b, b_step) = if self.direct {
                    (self.b.at(s.from, s.first + column).cast::<S::Wide>(), self.b.row)
                } else {
                    (s.columns.wrapping_add(column * s.depth).cast_const(), self.panel as isize)
                };
                for tile in group.clone() {
                    let rows = self.tile_rows(tile);
                    let (a, a_row, a_step) = match self.rows {
                        Rows::Direct => (self.a.at(rows.start, s.from).cast(), self.a.row, self.a.column),
                        Rows::Local => (
                            packed.wrapping_add((tile - group.start) * slot).cast_const(),
                            1,
                            rows.len() as isize,
                        ),
                        Rows::Shared => {
                            (packed.wrapping_add(tile * slot).cast_const(), 1, rows.len() as isize)
                        }
                    };
                    let tile = Tile {
                        k: s.depth,
                        a,
                        a_row,
                        a_step,
                        b,
                        b_step,
                        c: self.c.ptr.wrapping_add(rows.start * self.c.row + s.first + column),
                        c_row: self.c.row,
                        width: self.panel.min(s.breadth - column),
                        add: s.from > 0,
                    };
                    // SAFETY: the tile lies within the operands and the result.
                    unsafe { S::Wide::tile(rows.len(), &tile) };
                }
            }
            if s.from + s.depth == self.e.k {
                let rows = self.tile_rows(group.start).start..self.tile_rows(group.end - 1).end;
                let columns = (panels.end * self.panel).min(s.breadth) - panels.start * self.panel;
                self.listener.tell(rows, columns);
            }
        }
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
}
// SAFETY: parts write packed operands of their own, and read them when all are written.
unsafe impl<T> Sync for Step<T> {}
// SAFETY: `a`, `b` and `c` may be used from any thread, see there.
unsafe impl<S: Stored> Sync for Blocks<'_, S> {}

/// `dst[p·width + i] = src[i·outer + p·inner]`, widened, for `i` below `count`, zero above, and `p` below `k`.
///
/// # Safety
/// The elements can be read and written.
unsafe fn pack<S: Stored>(
    src: *const S,
    (outer, inner): (isize, isize),
    count: usize,
    dst: *mut S::Wide,
    width: usize,
    k: usize,
) {
    /// Elements of half precision that are widened at once.
    const MOST: usize = 2048;
    // SAFETY: the caller's contract, in all of this.
    unsafe {
        if S::plain() && outer == 1 {
            return S::Wide::stack(src.cast(), inner, count, dst, width, k);
        }
        if S::plain() && inner == 1 {
            return S::Wide::interleave(src.cast(), outer, count, dst, width, k);
        }
        if let Some(widen) = widen_tile(S::DTYPE) {
            let mut buffer = [std::mem::MaybeUninit::<S::Wide>::uninit(); MOST];
            let buffer = buffer.as_mut_ptr().cast::<S::Wide>();
            if outer == 1 && count <= MOST {
                for p in 0..k {
                    widen(src.offset(p as isize * inner).cast(), buffer.cast(), count);
                    S::Wide::stack(buffer, 0, count, dst.add(p * width), width, 1);
                }
                return;
            }
            if inner == 1 && count <= MOST {
                let step = (MOST / count).min(k) & !15;
                let step = if step == 0 { (MOST / count).min(k) } else { step };
                for p in (0..k).step_by(step) {
                    let depth = step.min(k - p);
                    for i in 0..count {
                        let from = src.offset(i as isize * outer + p as isize);
                        widen(from.cast(), buffer.add(i * step).cast(), depth);
                    }
                    S::Wide::interleave(buffer, step as isize, count, dst.add(p * width), width, depth);
                }
                return;
            }
        }
        for p in 0..k {
            for i in 0..width {
                let at = src.wrapping_offset(i as isize * outer + p as isize * inner);
                dst.add(p * width + i).write(if i < count { (*at).widen() } else { crate::num::Num::ZERO });
            }
        }
    }
}
