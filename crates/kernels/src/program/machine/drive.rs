//! Runs compiled programs: finds rows in which every operand is contiguous or repeated, and passes them to the code, a tile
//! at a time, or all at once if no operand needs a tile.

use super::emit::Entry;
use super::{Access, Compilable, Request, is_loadable};
use crate::dtype::Dtype;
use crate::num::Num;
use crate::program::scratch::with_tiles;
use crate::reduce::{LANES, SHORT, sum_of_blocks};
use crate::simd::{Level, level};
use crate::stream;
use crate::strided::{Axes, Cursor, Out, TILE, View, copy_strided};
use smallvec::SmallVec;
use std::ops::Range;

/// Rows shorter than this are copied to tiles, many rows at a time: a loop over one such row leaves most of a register
/// unused.
const SHORT_ROW: usize = 8;
/// When some inputs are copied to tiles, rows of at least this length are passed to the code one by one.
const LONG_ROW: usize = 128;

/// Elements from which on an input is not expected in the second-level cache.
const FAR: usize = 1 << 19;
/// The most elements of all tiles together.
const TILES: usize = 4 << 10;

/// The iteration space with axes merged where one stride describes both for every operand. Axes are innermost first.
struct Space {
    extents: SmallVec<[usize; 6]>,
    /// For each axis, the strides of the irregular operands.
    strides: SmallVec<[isize; 24]>,
    /// The operands that are neither row-major nor one element: inputs, then outputs with gaps between rows. Outputs are
    /// numbered after the inputs.
    irregular: SmallVec<[u32; 8]>,
}

/// Whether one element is repeated for the whole shape.
fn is_one(x: &View<'_>) -> bool {
    x.strides().iter().zip(x.shape()).all(|(&s, &n)| s == 0 || n == 1)
}

impl Space {
    fn new(shape: &[usize], inputs: &[View<'_>], outputs: &[Out<'_>], size: usize) -> Self {
        let mut s = Self { extents: SmallVec::new(), strides: SmallVec::new(), irregular: SmallVec::new() };
        for (k, x) in inputs.iter().enumerate() {
            if !(x.size() == size && x.is_row_major() || is_one(x)) {
                s.irregular.push(k as u32);
            }
        }
        for (k, _) in (inputs.len()..).zip(outputs).filter(|(_, o)| o.rows().is_some()) {
            s.irregular.push(k as u32);
        }
        let many = s.irregular.len();
        if many == 0 {
            s.extents.push(size);
            return s;
        }
        // The number of elements of the axes so far.
        let mut inner = 1;
        for (i, &n) in shape.iter().rev().enumerate().filter(|(_, n)| **n != 1) {
            let end = s.strides.len();
            for &k in &s.irregular {
                s.strides.push(match inputs.get(k as usize) {
                    None => outputs[k as usize - inputs.len()].offset(inner) as isize,
                    Some(x) => match x.ndim().checked_sub(i + 1) {
                        Some(axis) if x.shape()[axis] != 1 => x.strides()[axis],
                        _ => 0,
                    },
                });
            }
            inner *= n;
            if let Some(last) = s.extents.last_mut() {
                let (before, new) = s.strides[end - many..].split_at(many);
                if new.iter().zip(before).all(|(&new, &old)| new == old * *last as isize) {
                    *last *= n;
                    s.strides.truncate(end);
                    continue;
                }
            }
            s.extents.push(n);
        }
        if s.extents.is_empty() {
            s.extents.push(1);
            s.strides.extend(std::iter::repeat_n(0, many));
        }
        s
    }

    /// The stride of irregular operand `i` along an axis.
    fn stride(&self, axis: usize, i: usize) -> isize {
        self.strides.get(axis * self.irregular.len() + i).copied().unwrap_or(0)
    }
}

/// The position of a sweep: the index on each axis, and the offset of each irregular operand. It is kept and advanced,
/// because finding it anew takes divisions that last as long as a short row.
#[derive(Default)]
struct Position {
    index: SmallVec<[usize; 6]>,
    offsets: SmallVec<[isize; 8]>,
}

impl Position {
    fn new(space: &Space, mut linear: usize) -> Self {
        let many = space.irregular.len();
        let mut position = Self { index: SmallVec::new(), offsets: SmallVec::from_elem(0, many) };
        for (axis, &n) in space.extents.iter().enumerate() {
            let at = if linear == 0 { 0 } else { linear % n };
            linear /= n.max(1);
            position.index.push(at);
            for (i, offset) in position.offsets.iter_mut().enumerate() {
                *offset += at as isize * space.stride(axis, i);
            }
        }
        position
    }

    /// Moves on by `by` along an axis, at most to its end.
    fn advance(&mut self, space: &Space, mut axis: usize, mut by: usize) {
        loop {
            let full = self.index[axis] + by == space.extents[axis];
            let back = if full { self.index[axis] as isize } else { -(by as isize) };
            self.index[axis] = if full { 0 } else { self.index[axis] + by };
            for (i, offset) in self.offsets.iter_mut().enumerate() {
                *offset -= back * space.stride(axis, i);
            }
            if !full || axis + 1 == self.index.len() {
                return;
            }
            (axis, by) = (axis + 1, 1);
        }
    }
}

/// Runs a program over a range of the linear index; false if it has to be interpreted. `types` are the element types of
/// the inputs.
pub(crate) fn run(
    types: &[Dtype],
    program: &Compilable,
    shape: &[usize],
    inputs: &[View<'_>],
    outputs: &[Out<'_>],
    range: Range<usize>,
) -> bool {
    drive(types, program, shape, inputs, outputs, range, None)
}

/// As [`run`], but sums one output instead of storing it, and writes the sum to an address. False, and nothing is done, if
/// this layout or machine has no code for it.
///
/// # Safety
/// An element of the output's type can be written to the address.
pub(crate) unsafe fn run_and_sum(
    types: &[Dtype],
    program: &Compilable,
    shape: &[usize],
    inputs: &[View<'_>],
    outputs: &[Out<'_>],
    range: Range<usize>,
    (output, to): (usize, *mut u8),
) -> bool {
    range.len() >= SHORT && drive(types, program, shape, inputs, outputs, range, Some((output, to)))
}

fn drive(
    types: &[Dtype],
    program: &Compilable,
    shape: &[usize],
    inputs: &[View<'_>],
    outputs: &[Out<'_>],
    Range { start, end }: Range<usize>,
    sum: Option<(usize, *mut u8)>,
) -> bool {
    let Some(lanes) = program.lanes else { return false };
    if level() != Level::Avx512 || !program.variants.is_worth_it(end - start) {
        return false;
    }
    let size: usize = shape.iter().product();
    let single = size == 1;
    let space = Space::new(shape, inputs, outputs, size);
    let row = space.extents[0];
    let mut access: SmallVec<[Access; 16]> = SmallVec::from_elem(Access::Whole, inputs.len());
    let many = space.irregular.len();
    // The number of irregular inputs.
    let strided = space.irregular.iter().filter(|&&k| (k as usize) < inputs.len()).count();
    // Which irregular inputs are copied to tiles.
    let mut copied: SmallVec<[bool; 8]> = SmallVec::from_elem(false, many);
    let awkward = |i: usize| {
        let x = space.irregular[i] as usize;
        !matches!(space.stride(0, i), 0 | 1) || !is_loadable(inputs[x].dtype(), lanes)
    };
    let any_awkward = (0..strided).any(awkward);
    let all = many > 0 && (row < SHORT_ROW || any_awkward && row < LONG_ROW);
    if all && strided < many {
        return false; // tiles have no gaps between rows, as these outputs do
    }
    for i in 0..strided {
        copied[i] = all || awkward(i);
        access[space.irregular[i] as usize] = match space.stride(0, i) {
            _ if copied[i] => Access::Whole,
            0 => Access::Splat,
            _ => Access::Rows,
        };
    }
    let by_rows = many > 0 && !all;
    if sum.is_some() && by_rows {
        return false;
    }
    let mut splats: SmallVec<[u32; 8]> = SmallVec::new();
    if !single {
        for (k, x) in inputs.iter().enumerate() {
            let one = is_one(x) && !(x.size() == size && x.is_row_major());
            if one && is_loadable(x.dtype(), lanes) {
                access[k] = Access::Splat;
            } else if one {
                splats.push(k as u32);
            }
        }
    }
    // Outputs that are too large for a cache are written past it, in whole lines. The memory of an output that is also an
    // input is in a cache already.
    let lines = many == 0 || row.is_multiple_of(64);
    let streams = |o: &Out<'_>| {
        let bytes = o.dtype().size();
        let first = o.ptr() as usize + start * bytes;
        let apart =
            o.is_read_soon() || o.rows().is_some() || inputs.iter().any(|x| x.ptr() == o.ptr().cast_const());
        stream::worthwhile(size * bytes) && !apart && first.is_multiple_of(64)
    };
    let stream = match single || !lines {
        true => 0,
        false => outputs.iter().take(64).enumerate().map(|(k, o)| u64::from(streams(o)) << k).sum(),
    };
    let request = Request {
        inputs: types,
        ops: &program.ops,
        outputs: &program.outputs,
        access: &access,
        lanes,
        single,
        stream,
        far: size >= FAR,
        sum: sum.map(|s| s.0),
    };
    let Some(compiled) = program.variants.get(&request) else { return false };

    // Scratch memory: the program's tiles, the tiles of copied inputs, and working memory.
    let copies = copied.iter().filter(|&&c| c).count() + splats.len();
    let tiles = compiled.scratch.len() + copies;
    // Tiles are as long as a part of the first-level cache allows.
    let limit = TILES.checked_div(tiles).map_or(usize::MAX, |n| (n & !63).clamp(TILE, 4 * TILE));
    let most = if tiles > 0 { (end - start).min(limit) } else { 0 };
    let each = (most * 8).next_multiple_of(64);
    with_tiles(tiles * each + compiled.area, |base| {
        let tile = |i: usize| base.wrapping_add(i * each);
        let area = tile(tiles);
        let first_scratch = inputs.len() + outputs.len();
        let none = Entry { ptr: std::ptr::null_mut(), step: 0, leap: 0 };
        let mut table: SmallVec<[Entry; 24]> =
            SmallVec::from_elem(none, first_scratch + compiled.scratch.len());
        for i in 0..compiled.scratch.len() {
            table[first_scratch + i].ptr = tile(i);
        }
        let mut next_tile = compiled.scratch.len();
        for &k in &splats {
            let x = &inputs[k as usize];
            // SAFETY: the view's one element can be read; the tile has room for `most` elements of any type.
            unsafe { copy_strided(x.ptr(), 0, x.dtype().size(), tile(next_tile), most) };
            table[k as usize].ptr = tile(next_tile);
            next_tile += 1;
        }
        // Pushed one by one: the result of `collect` would be moved as a whole, with its unused room.
        let mut axes: SmallVec<[Axes; 4]> = SmallVec::new();
        for i in (0..many).filter(|&i| copied[i]) {
            axes.push(Axes::broadcast(&inputs[space.irregular[i] as usize], shape));
        }
        let mut cursors: SmallVec<[(u32, Cursor<'_>, *mut u8); 4]> = SmallVec::new();
        for (i, axes) in (0..many).filter(|&i| copied[i]).zip(&axes) {
            let x = &inputs[space.irregular[i] as usize];
            // SAFETY: the view's elements can be read during this call.
            let cursor = unsafe { Cursor::new(x.ptr(), x.dtype().size(), axes, start) };
            cursors.push((space.irregular[i], cursor, tile(next_tile)));
            next_tile += 1;
        }
        // Operands that follow the linear index: entry, address, bytes of an element.
        let mut regular: SmallVec<[(usize, *const u8, usize); 8]> = SmallVec::new();
        let follows = |k: &usize| !space.irregular.contains(&(*k as u32));
        for (k, x) in inputs.iter().enumerate().filter(|(k, _)| follows(k)) {
            if access[k] == Access::Whole && !single {
                if !splats.contains(&(k as u32)) {
                    regular.push((k, x.ptr(), x.dtype().size()));
                }
            } else {
                table[k] = Entry { ptr: x.ptr().cast_mut(), step: 0, leap: 0 };
            }
        }
        for (k, o) in (inputs.len()..).zip(outputs).filter(|(k, _)| follows(k)) {
            regular.push((k, o.ptr().cast_const(), o.dtype().size()));
        }
        // Operands with rows of their own: number among the irregular ones, entry, address, bytes of an element.
        let mut rows: SmallVec<[(usize, usize, *const u8, isize); 8]> = SmallVec::new();
        for (i, &k) in space.irregular.iter().enumerate().filter(|&(i, _)| !copied[i]) {
            let k = k as usize;
            rows.push(match inputs.get(k) {
                Some(x) => (i, k, x.ptr(), x.dtype().size() as isize),
                None => {
                    let o = &outputs[k - inputs.len()];
                    (i, k, o.ptr().cast_const(), o.dtype().size() as isize)
                }
            });
        }
        // Tile functions write rows without gaps between them.
        let one_row = !cursors.is_empty() || strided < many && compiled.calls;
        let mut sweep = |start: usize, end: usize| {
            let mut at = start;
            let mut position = if by_rows { Position::new(&space, start) } else { Position::default() };
            while at < end {
                let left = end - at;
                let into = position.index.first().copied().unwrap_or(0);
                // One piece of the linear index, or some rows, or a part of a row.
                let (mut groups, m, n) = if !by_rows {
                    (1, 1, left.min(limit))
                } else if into > 0 || left < row || row > limit {
                    (1, 1, (row - into).min(left).min(limit))
                } else if !one_row {
                    let turns = space.extents.get(1).map_or(usize::MAX, |&e| e - position.index[1]);
                    (1, (left / row).min(turns).min((limit / row).max(1)), row)
                } else {
                    (1, 1, row)
                };
                if m > 1 && compiled.one_loop && m == space.extents[1] && space.extents.len() > 2 {
                    let turns = space.extents[2] - position.index[2];
                    groups = (left / (m * row)).min(turns).min((limit / (m * row)).max(1));
                }
                for &(k, ptr, bytes) in &regular {
                    let ptr = ptr.wrapping_add(at * bytes).cast_mut();
                    table[k] = Entry { ptr, step: (n * bytes) as isize, leap: 0 };
                }
                for &(i, k, ptr, bytes) in &rows {
                    let ptr = ptr.wrapping_offset(position.offsets[i] * bytes).cast_mut();
                    let step = space.stride(1, i) * bytes;
                    table[k] = Entry { ptr, step, leap: space.stride(2, i) * bytes - step * m as isize };
                }
                for (k, cursor, tile) in &mut cursors {
                    // SAFETY: `n` elements of the shape remain. Only this cursor writes the tile, which has room for `most`
                    // elements of any type.
                    table[*k as usize].ptr = unsafe { cursor.tile(*tile, n) }.cast_mut();
                }
                if m > 1 {
                    for (i, entry) in table[first_scratch..].iter_mut().enumerate() {
                        entry.step = (n * compiled.scratch[i] as usize) as isize;
                    }
                }
                // SAFETY: the operands' elements from `at` on, `groups · m · n` of them, in row-major order. Only this
                // program uses the outputs (`Out`'s contract), and tiles have room for `most` elements.
                unsafe { compiled.run(table.as_ptr(), groups, m, n, area) };
                at += groups * m * n;
                if groups > 1 {
                    position.advance(&space, 2, groups);
                } else if by_rows && m > 1 {
                    position.advance(&space, 1, m);
                } else if by_rows {
                    position.advance(&space, 0, n);
                }
            }
        };
        match (sum, lanes) {
            (None, _) => sweep(start, end),
            // SAFETY: the working memory has accumulators, and the caller vouches for the address.
            (Some((_, to)), Dtype::F64) => unsafe {
                add_up::<f64>(start, end, area.add(compiled.sums_at), to, &mut sweep)
            },
            // SAFETY: as above.
            (Some((_, to)), _) => unsafe {
                add_up::<f32>(start, end, area.add(compiled.sums_at), to, &mut sweep)
            },
        }
    });
    true
}

/// Sums the accumulators that `sweep` fills, block by block.
///
/// # Safety
/// There are accumulators at `sums`, and `to` can be written.
unsafe fn add_up<T: Num>(
    start: usize,
    end: usize,
    sums: *mut u8,
    to: *mut u8,
    sweep: &mut dyn FnMut(usize, usize),
) {
    let sum = sum_of_blocks::<T>(start, end - start, &mut |from, len| {
        // SAFETY: the caller's contract; all-zero bytes are valid numbers.
        unsafe {
            std::ptr::write_bytes(sums, 0, LANES * size_of::<T>());
            sweep(from, from + len);
            sums.cast::<[T; LANES]>().read()
        }
    });
    // SAFETY: the caller's contract.
    unsafe { to.cast::<T>().write(sum) };
}
