//! The interpreter: a program's operations, one after the other, over a tile at a time.

use super::scratch::with_tiles;
use super::{Program, TileFn};
use crate::strided::{Axes, Cursor, Out, TILE, View, copy_strided};
use smallvec::SmallVec;

/// An operation as the interpreter runs it.
pub(super) struct Step {
    pub(super) tile: TileFn,
    /// Indices in the pointer table.
    pub(super) from: [u32; 3],
    pub(super) to: u32,
}

/// How an input is read.
enum Feed<'a> {
    /// Row-major: read in place, with this many bytes an element.
    Direct(usize),
    /// One element for all: its tile is filled once.
    Splat,
    /// Strided: copied to this tile piece by piece, or read in place where it is contiguous.
    Gather(Cursor<'a>, *mut u8),
}

impl Program {
    /// Runs the operations over the elements of the linear index from `start` to `end`.
    pub(super) fn interpret(
        &self,
        shape: &[usize],
        inputs: &[View<'_>],
        outputs: &[Out<'_>],
        start: usize,
        end: usize,
    ) {
        let whole: usize = shape.iter().product();
        // For each input: read in place (0), one element (1) or gathered (2). Gathered inputs need their axes.
        let mut gathered: Vec<Axes> = Vec::new();
        let mut kinds: SmallVec<[u8; 32]> = SmallVec::from_elem(0, inputs.len());
        let mut tiles = 0;
        for (x, kind) in inputs.iter().zip(kinds.iter_mut()) {
            let size = x.size();
            *kind = if size == whole && x.is_row_major() {
                0
            } else if size == 1 || x.strides().iter().zip(x.shape()).all(|(&s, &n)| s == 0 || n == 1) {
                tiles += 1;
                1
            } else {
                gathered.push(Axes::broadcast(x, shape));
                tiles += 1;
                2
            };
        }
        // Tiles are no longer than needed, so that the cache can hold thousands of single elements of a long program.
        let most = (end - start).min(TILE);
        let each = (most * 8).div_ceil(64);
        with_tiles((tiles + self.scratch) * each * 64, |base| {
            let tile_at = |i: usize| base.wrapping_add(i * each * 64);
            let first_scratch = self.inputs.len() + self.outputs.len();
            let width = first_scratch + self.scratch;
            let mut table: SmallVec<[*mut u8; 48]> = SmallVec::from_elem(std::ptr::null_mut(), width);
            for (k, p) in table[first_scratch..].iter_mut().enumerate() {
                *p = tile_at(tiles + k);
            }
            let mut feeds: SmallVec<[Feed<'_>; 8]> = SmallVec::new();
            let (mut next_tile, mut next_axes) = (0, 0);
            for (k, (x, &kind)) in inputs.iter().zip(kinds.iter()).enumerate() {
                let size = x.dtype().size();
                feeds.push(match kind {
                    0 => {
                        table[k] = x.ptr().wrapping_add(start * size).cast_mut();
                        Feed::Direct(size)
                    }
                    1 => {
                        table[k] = tile_at(next_tile);
                        next_tile += 1;
                        // SAFETY: the view's one element can be read; the tile has room for TILE elements of any type.
                        unsafe { copy_strided(x.ptr(), 0, size, table[k], most) };
                        Feed::Splat
                    }
                    _ => {
                        let tile = tile_at(next_tile);
                        next_tile += 1;
                        let axes = &gathered[next_axes];
                        next_axes += 1;
                        // SAFETY: the view's elements can be read during this call.
                        Feed::Gather(unsafe { Cursor::new(x.ptr(), size, axes, start) }, tile)
                    }
                });
            }
            // A tile ends where an output has a gap between rows.
            let rows = outputs.iter().filter_map(|o| Some(o.rows()?.0));
            let left = |at: usize| rows.clone().map(|row| row - at % row).min().unwrap_or(TILE);
            let mut at = start;
            loop {
                let n = (end - at).min(TILE).min(left(at));
                for (k, o) in outputs.iter().enumerate() {
                    table[self.inputs.len() + k] = o.ptr().wrapping_add(o.offset(at) * o.dtype().size());
                }
                for (k, feed) in feeds.iter_mut().enumerate() {
                    if let Feed::Gather(cursor, tile) = feed {
                        // SAFETY: `n` elements of the shape remain. Only this feed writes the tile, which has room for
                        // `most` elements of any type.
                        table[k] = unsafe { cursor.tile(*tile, n) }.cast_mut();
                    }
                }
                for step in &self.steps {
                    let [a, b, c] = step.from;
                    let out = table[step.to as usize];
                    // SAFETY: operands and result are tiles of `n` elements of the function's types (the contract of
                    // `Builder::apply`), in scratch memory or in the operands' memory. The result is never in an operand's
                    // tile (see `Builder::finish`), and only this program uses the outputs (`Out`'s contract).
                    unsafe {
                        match step.tile {
                            TileFn::One(f) => f(table[a as usize], out, n),
                            TileFn::Two(f) => f(table[a as usize], table[b as usize], out, n),
                            TileFn::Three(f) => {
                                f(table[a as usize], table[b as usize], table[c as usize], out, n);
                            }
                        }
                    }
                }
                at += n;
                if at >= end {
                    return;
                }
                for (k, feed) in feeds.iter_mut().enumerate() {
                    if let Feed::Direct(size) = feed {
                        table[k] = table[k].wrapping_add(n * *size);
                    }
                }
            }
        });
    }
}
