//! Chains of elementwise operations run tile by tile.
//!
//! A [`Program`] is a list of tile functions over numbered registers. It runs over tiles of 512 elements that
//! stay in the first-level cache: an intermediate value is written and read there and never meets main memory.
//! The alternative, generated machine code, is about twice as fast on long arrays that are in cache and costs
//! a dependency and microseconds per program; for arrays that are not in cache both wait for memory.

use crate::dtype::Dtype;
use crate::loader::{Axes, Cursor, TILE};
use crate::pool::parallel_ranges;
use crate::simd::{Tile1, Tile2, Tile3};
use crate::view::{Out, View};
use smallvec::SmallVec;
use std::cell::RefCell;

/// A tile function of one to three operands.
#[derive(Clone, Copy)]
pub enum TileFn {
    /// One operand.
    One(Tile1),
    /// Two operands.
    Two(Tile2),
    /// Three operands.
    Three(Tile3),
}

/// A register: an input, or the result of an operation.
pub type Reg = u32;

struct Step {
    tile: TileFn,
    /// Places in the pointer table.
    from: [u32; 3],
    to: u32,
}

/// A chain of elementwise operations over inputs that broadcast to one shape.
pub struct Program {
    inputs: Vec<Dtype>,
    steps: Vec<Step>,
    /// Scratch tiles in use at once.
    scratch: usize,
    outputs: usize,
}

/// Collects the operations of a [`Program`].
#[derive(Default)]
pub struct Builder {
    inputs: Vec<Dtype>,
    steps: Vec<(TileFn, [Reg; 3], usize)>,
    outputs: Vec<Reg>,
}

impl Builder {
    /// A new input. All inputs come before the first operation.
    pub fn input(&mut self, dtype: Dtype) -> Reg {
        debug_assert!(self.steps.is_empty(), "inputs come before operations");
        self.inputs.push(dtype);
        self.inputs.len() as Reg - 1
    }

    /// Applies a tile function, whose element types are those of the operands, to registers.
    pub fn apply(&mut self, tile: TileFn, operands: &[Reg]) -> Reg {
        let mut from = [0; 3];
        from[..operands.len()].copy_from_slice(operands);
        self.steps.push((tile, from, operands.len()));
        (self.inputs.len() + self.steps.len()) as Reg - 1
    }

    /// Makes the result of an operation the next output.
    pub fn output(&mut self, reg: Reg) {
        debug_assert!(reg as usize >= self.inputs.len() && !self.outputs.contains(&reg));
        self.outputs.push(reg);
    }

    /// Assigns scratch tiles: one is free again after its last reader.
    pub fn finish(self) -> Program {
        let inputs = self.inputs.len();
        let count = inputs + self.steps.len();
        let mut last = vec![0usize; count];
        for (k, (_, from, n)) in self.steps.iter().enumerate() {
            for &r in &from[..*n] {
                last[r as usize] = k;
            }
        }
        // The pointer table: inputs, then outputs, then scratch tiles.
        let mut place = vec![u32::MAX; count];
        for (r, p) in place.iter_mut().enumerate().take(inputs) {
            *p = r as u32;
        }
        for (k, &r) in self.outputs.iter().enumerate() {
            place[r as usize] = (inputs + k) as u32;
        }
        let first_scratch = inputs + self.outputs.len();
        let mut free: Vec<u32> = Vec::new();
        let mut scratch = 0;
        let mut steps = Vec::with_capacity(self.steps.len());
        for (k, (tile, from, n)) in self.steps.iter().enumerate() {
            let r = inputs + k;
            let mut operands = [0; 3];
            for (o, &f) in operands.iter_mut().zip(&from[..*n]) {
                *o = place[f as usize];
            }
            if place[r] == u32::MAX {
                place[r] = free.pop().unwrap_or_else(|| {
                    scratch += 1;
                    (first_scratch + scratch - 1) as u32
                });
            }
            steps.push(Step { tile: *tile, from: operands, to: place[r] });
            // A result must not overwrite an operand of the same step, so operands are freed after it.
            for (i, &f) in from[..*n].iter().enumerate() {
                let is_scratch = place[f as usize] as usize >= first_scratch;
                if is_scratch && last[f as usize] == k && !from[..i].contains(&f) {
                    free.push(place[f as usize]);
                }
            }
            if last[r] == 0 && place[r] as usize >= first_scratch {
                free.push(place[r]); // nobody reads it
            }
        }
        Program { inputs: self.inputs, steps, scratch, outputs: self.outputs.len() }
    }
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

#[repr(align(64))]
#[derive(Clone, Copy)]
struct Line(#[expect(dead_code, reason = "only its address is used")] [u8; 64]);

thread_local! {
    static SCRATCH: RefCell<Vec<Line>> = const { RefCell::new(Vec::new()) };
}

impl Program {
    /// Number of operations.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether there are no operations.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Runs the program over `shape`: inputs broadcast to it, outputs have it.
    pub fn run(&self, shape: &[usize], inputs: &[View<'_>], outputs: &[Out<'_>]) {
        assert!(
            inputs.len() == self.inputs.len() && outputs.len() == self.outputs,
            "operands of another program"
        );
        for (x, &dtype) in inputs.iter().zip(&self.inputs) {
            assert_eq!(x.dtype(), dtype, "an input of another type");
        }
        let n: usize = shape.iter().product();
        assert!(outputs.iter().all(|o| o.size() == n), "an output of another size");
        if n == 0 {
            return;
        }
        // A part should take some tens of microseconds: less is not worth waking a thread for.
        let least = (1 << 16) / (self.steps.len() + 2);
        parallel_ranges(n, least, &|part| self.run_range(shape, inputs, outputs, part.start, part.end));
    }

    /// The elements of the linear index from `start` to `end`, on this thread.
    pub(crate) fn run_range(
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
        SCRATCH.with(|cell| {
            // A tile function never comes back here, so the scratch is not in use already.
            let mut scratch = cell.borrow_mut();
            // Tiles no longer than needed: thousands of live values of a long chain of single elements stay in
            // the cache, too.
            let most = (end - start).min(TILE);
            let each = (most * 8).div_ceil(64);
            let lines = (tiles + self.scratch) * each;
            if scratch.len() < lines {
                scratch.resize(lines, Line([0; 64]));
            }
            let base: *mut u8 = scratch.as_mut_ptr().cast();
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
                        unsafe { crate::loader::copy_strided(x.ptr(), 0, size, table[k], most) };
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
            for (k, o) in outputs.iter().enumerate() {
                table[self.inputs.len() + k] = o.ptr().wrapping_add(start * o.dtype().size());
            }
            let mut at = start;
            loop {
                let n = (end - at).min(TILE);
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
                for (k, o) in outputs.iter().enumerate() {
                    let p = &mut table[self.inputs.len() + k];
                    *p = p.wrapping_add(n * o.dtype().size());
                }
            }
        });
    }
}
