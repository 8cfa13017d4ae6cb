//! The interpreter: a program's operations, one after the other, over a tile at a time.

use super::scratch::with_tiles;
use super::{Program, TileFn};
use crate::strided::{Axes, Cursor, Out, TILE, View, copy_strided};
use smallvec::SmallVec;

/// An operation as the interpreter runs it.
pub(super) struct Step {
    pub(super) tile: TileFn,
    /// Places in the pointer table.
    pub(super) from: [u32; 3],
    pub(super) to: u32,
}

/// How an input reaches its tile.
enum Feed<'a> {
    /// Row-major: the tile is the memory itself, this many bytes an element.
    Direct(usize),
    /// One element for all: its tile is filled once.
    Splat,
    /// Strided: copied for each tile to this one, or read where it is.
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
        // Which inputs need a tile of their own, and the axes of those that are gathered.
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
        // Tiles no longer than needed: thousands of live values of a long chain of single elements stay in the cache, too.
        let most = (end - start).min(TILE);
        let each = (most * 8).div_ceil(64);
        with_tiles((tiles + self.scratch) * each * 64, |base| {
            let tile_at = |i: usize| base.wrapping_add(i * each * 64);
            let first_scratch = self.inputs.len() + self.outputs;
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
                        // SAFETY: the view's one element can be read; the tile holds TILE elements of any type.
                        unsafe { copy_strided(x.ptr(), 0, size, table[k], most) };
                        Feed::Splat
                    }
                    _ => {
                        let tile = tile_at(next_tile);
                        next_tile += 1;
                        let axes = &gathered[next_axes];
                        next_axes += 1;
                        // SAFETY: a view's elements can be read while it lives.
                        Feed::Gather(unsafe { Cursor::new(x.ptr(), size, axes, start) }, tile)
                    }
                });
            }
            // Rows of outputs that have gaps between them end tiles.
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
                        // SAFETY: `n` elements of the shape remain, and the tile, which only this feed writes, holds
                        // as many of any type as are run at once.
                        table[k] = unsafe { cursor.tile(*tile, n) }.cast_mut();
                    }
                }
                for step in &self.steps {
                    let [a, b, c] = step.from;
                    let out = table[step.to as usize];
                    // SAFETY: operands and result are tiles of `n` elements of the function's types (`apply`'s
                    // contract), in scratch or in the operands' memory; the result's place is never an
                    // operand's (see `finish`), and outputs are nobody else's memory (`Out`'s contract).
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
