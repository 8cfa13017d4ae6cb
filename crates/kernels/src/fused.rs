//! Chains of elementwise operations run tile by tile.
//!
//! A [`Program`] is a list of tile functions over numbered registers. It runs over tiles of 512 elements that
//! stay in the first-level cache: an intermediate value is written and read there and never meets main memory.
//! Where the machine allows, what runs often is compiled to machine code (see `machine`), with the same results.

use crate::dtype::Dtype;
use crate::loader::{Axes, Cursor, TILE};
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
use crate::machine::{self, Variants};
use crate::pool::parallel_ranges;
use crate::scratch::{Kept, scratch};
use crate::simd::{Tile1, Tile2, Tile3};
use crate::view::{Out, View};
use smallvec::SmallVec;
use std::cell::Cell;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

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

/// What an operation is, if it is one that the processor has an instruction for. It is then compiled in place, over
/// `float32` or `float64` (or truth values, where it says so), and does exactly what its tile function does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Code {
    /// `a + b`.
    Add,
    /// `a − b`.
    Subtract,
    /// `a · b`.
    Multiply,
    /// `a / b`.
    Divide,
    /// `a²`.
    Square,
    /// `√a`.
    SquareRoot,
    /// `1/a`.
    Reciprocal,
    /// `−a`.
    Negative,
    /// `|a|`.
    Absolute,
    /// The logistic function, from its tail: `1 + a` where the sign of `a` is negative, else `a`.
    SigmoidOfTail,
    /// The slope of the logistic function, from its tail: `|a| − a²`, rounded once.
    SlopeOfTail,
    /// `a` if it is the larger or NaN, else `b`.
    Maximum,
    /// `a` if it is the smaller or NaN, else `b`.
    Minimum,
    /// `a = b`.
    Equal,
    /// `a ≠ b`.
    NotEqual,
    /// `a < b`.
    Less,
    /// `a ≤ b`.
    LessEqual,
    /// `a > b`.
    Greater,
    /// `a ≥ b`.
    GreaterEqual,
    /// `b` where the truth value `a` holds, else `c`.
    Select,
    /// Both truth values.
    And,
    /// At least one of two truth values.
    Or,
    /// One of two truth values.
    Xor,
    /// The opposite truth value.
    Not,
    /// 1 for true, 0 for false.
    FromBool,
}

impl Code {
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    pub(crate) fn is_comparison(self) -> bool {
        use Code::*;
        matches!(self, Equal | NotEqual | Less | LessEqual | Greater | GreaterEqual)
    }
}

/// When chains are compiled to machine code, where the machine allows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum MachineCode {
    /// Never: all are interpreted.
    Never = 1,
    /// Those that ran often, or over many elements.
    WhenItPays = 2,
    /// Before they first run.
    AtOnce = 3,
}

static MACHINE_CODE: AtomicU8 = AtomicU8::new(0);

/// When chains are compiled: what [`set_machine_code`] said, else the environment variable `COVECTOR_MACHINE_CODE`
/// (`never` or `at-once`), else when it pays. Results are the same, bit for bit.
pub fn machine_code() -> MachineCode {
    match MACHINE_CODE.load(Relaxed) {
        1 => MachineCode::Never,
        2 => MachineCode::WhenItPays,
        3 => MachineCode::AtOnce,
        _ => {
            let when = match std::env::var("COVECTOR_MACHINE_CODE").as_deref() {
                Ok("never") => MachineCode::Never,
                Ok("at-once") => MachineCode::AtOnce,
                _ => MachineCode::WhenItPays,
            };
            set_machine_code(when);
            when
        }
    }
}

/// Sets when chains are compiled; see [`machine_code`].
pub fn set_machine_code(when: MachineCode) {
    MACHINE_CODE.store(when as u8, Relaxed);
}

/// A register: an input, or the result of an operation.
pub type Reg = u32;

/// An operation of a program, as it was given.
pub(crate) struct Op {
    pub(crate) tile: TileFn,
    #[cfg_attr(
        not(all(target_arch = "x86_64", target_os = "linux")),
        expect(dead_code, reason = "only machine code looks at it")
    )]
    pub(crate) code: Option<Code>,
    from: [Reg; 3],
    count: u8,
    /// The element type of the result.
    pub(crate) dtype: Dtype,
}

impl Op {
    pub(crate) fn operands(&self) -> &[Reg] {
        &self.from[..self.count as usize]
    }
}

struct Step {
    tile: TileFn,
    /// Places in the pointer table.
    from: [u32; 3],
    to: u32,
}

/// A chain of elementwise operations over inputs that broadcast to one shape.
pub struct Program {
    pub(crate) inputs: Vec<Dtype>,
    steps: Vec<Step>,
    /// Scratch tiles in use at once.
    scratch: usize,
    outputs: usize,
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    pub(crate) source: Source,
}

/// What a program was made from, to be compiled, and what it was compiled to.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub(crate) struct Source {
    pub(crate) ops: Vec<Op>,
    pub(crate) outputs: Vec<Reg>,
    /// The element type that compiled loops compute in, if there would be any.
    pub(crate) lanes: Option<Dtype>,
    pub(crate) variants: Variants,
}

/// Collects the operations of a [`Program`].
#[derive(Default)]
pub struct Builder {
    inputs: Vec<Dtype>,
    steps: Vec<Op>,
    outputs: Vec<Reg>,
}

impl Builder {
    /// A new input. All inputs come before the first operation.
    pub fn input(&mut self, dtype: Dtype) -> Reg {
        debug_assert!(self.steps.is_empty(), "inputs come before operations");
        self.inputs.push(dtype);
        self.inputs.len() as Reg - 1
    }

    /// Applies a tile function, whose element types are those of the operands, to registers; `dtype` is that of the
    /// result. `code` says what it does, if that is known.
    pub fn apply(&mut self, tile: TileFn, code: Option<Code>, operands: &[Reg], dtype: Dtype) -> Reg {
        let mut from = [0; 3];
        from[..operands.len()].copy_from_slice(operands);
        self.steps.push(Op { tile, code, from, count: operands.len() as u8, dtype });
        (self.inputs.len() + self.steps.len()) as Reg - 1
    }

    /// The element type of a register.
    pub fn dtype(&self, reg: Reg) -> Dtype {
        match self.inputs.get(reg as usize) {
            Some(&dtype) => dtype,
            None => self.steps[reg as usize - self.inputs.len()].dtype,
        }
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
        for (k, op) in self.steps.iter().enumerate() {
            for &r in op.operands() {
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
        for (k, op) in self.steps.iter().enumerate() {
            let r = inputs + k;
            let from = op.operands();
            let mut operands = [0; 3];
            for (o, &f) in operands.iter_mut().zip(from) {
                *o = place[f as usize];
            }
            if place[r] == u32::MAX {
                place[r] = free.pop().unwrap_or_else(|| {
                    scratch += 1;
                    (first_scratch + scratch - 1) as u32
                });
            }
            steps.push(Step { tile: op.tile, from: operands, to: place[r] });
            // A result must not overwrite an operand of the same step, so operands are freed after it.
            for (i, &f) in from.iter().enumerate() {
                let is_scratch = place[f as usize] as usize >= first_scratch;
                if is_scratch && last[f as usize] == k && !from[..i].contains(&f) {
                    free.push(place[f as usize]);
                }
            }
            if last[r] == 0 && place[r] as usize >= first_scratch {
                free.push(place[r]); // nobody reads it
            }
        }
        Program {
            steps,
            scratch,
            outputs: self.outputs.len(),
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            source: Source {
                lanes: machine::lanes(&self.inputs, &self.steps),
                ops: self.steps,
                outputs: self.outputs,
                variants: Variants::default(),
            },
            inputs: self.inputs,
        }
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

thread_local! {
    static SCRATCH: Kept = const { Cell::new(None) };
}

/// Memory for tiles, one piece for each thread.
pub(crate) struct Scratch;

impl Scratch {
    /// Runs with so many bytes of memory, aligned to 64, whose contents are not defined.
    pub(crate) fn with<R>(bytes: usize, run: impl FnOnce(*mut u8) -> R) -> R {
        scratch(&SCRATCH, bytes, run)
    }
}

impl Program {
    /// Bytes that it holds, apart from machine code.
    pub fn bytes(&self) -> usize {
        let listed = size_of_val(&self.steps[..]) + size_of_val(&self.inputs[..]);
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        let source = size_of_val(&self.source.ops[..]) + size_of_val(&self.source.outputs[..]);
        #[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
        let source = 0;
        size_of::<Self>() + listed + source
    }

    /// The element types of the inputs.
    pub fn inputs(&self) -> &[Dtype] {
        &self.inputs
    }

    /// Number of outputs.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Number of operations.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether there are no operations.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Runs the program over `shape`: inputs broadcast to it, outputs have it, perhaps with gaps between rows.
    ///
    /// An output may be the memory of a row-major input of its shape and type if it depends on every operation that reads
    /// that input: operations that do not need each other run in any order.
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
        let least = (1 << 14) / (self.steps.len() + 2);
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
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        if machine::run(self, shape, inputs, outputs, start..end) {
            return;
        }
        self.interpret(shape, inputs, outputs, start, end);
    }

    /// The same, with one output (of `float32` or `float64`) not stored but added up: its sum, the one that a reduction
    /// of the stored elements would give, goes to an address. False, and nothing is done, if that cannot be.
    ///
    /// # Safety
    /// The address can take an element of the output's type.
    pub(crate) unsafe fn run_and_sum(
        &self,
        shape: &[usize],
        inputs: &[View<'_>],
        outputs: &[Out<'_>],
        range: std::ops::Range<usize>,
        sum: (usize, *mut u8),
    ) -> bool {
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        // SAFETY: the caller's contract.
        return unsafe { machine::run_and_sum(self, shape, inputs, outputs, range, sum) };
        #[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
        {
            let _ = (shape, inputs, outputs, range, sum);
            false
        }
    }

    /// The same without machine code.
    pub(crate) fn interpret(
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
        Scratch::with((tiles + self.scratch) * each * 64, |base| {
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
