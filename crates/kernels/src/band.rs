//! Bands: chains and reductions that share their outer axes, run together over a few rows at a time.
//!
//! A softmax, a norm or a loss is a handful of passes over the same rows: a maximum, a chain that uses it, a sum, a
//! chain that uses that. Run one after the other, each pass reads from memory what the one before wrote there. A
//! [`Band`] runs all its stages over a block of rows, then over the next block; what only its own stages read lives
//! in scratch memory the size of a block, which stays in the cache.
//!
//! A *row* is any outer part of the iteration space, chosen by the planner so that every stage needs, for a row of
//! its result, nothing but the same row of what earlier stages made. Reductions over the rows themselves (bias
//! gradients, losses) end a band: each part of the rows keeps a result of its own, and these are joined in order.
//! How rows are split into parts and blocks depends on the band alone, so results are the same for any number of
//! threads.

mod after;

use crate::block::Memory;
use crate::cast::cast_tile;
use crate::dtype::Dtype;
use crate::fused::Program;
use crate::matmul::matmul;
use crate::pool::parallel;
use crate::reduce::{self, Reduce};
use crate::scratch::{Kept, Line, scratch};
use crate::view::{Out, View};
use smallvec::SmallVec;
use std::cell::Cell;
use std::ops::Range;

/// Scratch memory that a block of rows should fit in. Smaller blocks stay in nearer caches, but the passes over each then take
/// so little time that starting them costs more: from 96 to 384 KiB a softmax cross-entropy takes a third less.
const BLOCK_BYTES: usize = 384 << 10;
/// Elements times operations that are worth a part of their own.
const PART_WORK: usize = 1 << 15;
/// Bytes of a product that a part after it should have at once: less than the second-level cache holds.
const PRODUCT_BYTES: usize = 256 << 10;
/// The most parts, unless after a product.
const MAX_PARTS: usize = 16;

/// Where a value of a band lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// Input `i` of the band.
    Input(usize),
    /// Output `i` of the band, whole in memory.
    Output(usize),
    /// A shelf of scratch memory, one block of rows at a time.
    Shelf(usize),
}

/// What a stage reads. Strides and shift count elements from the start of the whole value, also where only a block
/// of it exists.
pub struct Source {
    /// Where it is; the next three say how an output or a shelf lies, those of an input come with its view.
    pub place: Place,
    /// The element type.
    pub dtype: Dtype,
    /// Elements of the whole value that belong to one row.
    pub row: usize,
    /// The extents that the stage sees.
    pub shape: Vec<usize>,
    /// The strides that the stage sees.
    pub strides: Vec<isize>,
    /// Where element `[0, 0, …]` is.
    pub shift: isize,
}

/// What a stage writes: row-major, `row` elements for each row.
pub struct Target {
    /// An output or a shelf.
    pub place: Place,
    /// The element type.
    pub dtype: Dtype,
    /// Elements for each row.
    pub row: usize,
}

/// One pass over a block.
pub enum Stage {
    /// Elementwise operations over `shape`, whose outer axes are the rows.
    Chain {
        /// The operations.
        program: Program,
        /// The iteration space.
        shape: Vec<usize>,
        /// The program's inputs.
        inputs: Vec<Source>,
        /// The program's outputs.
        outputs: Vec<Target>,
    },
    /// A reduction within rows: the source's shape is `[rows, …]`, `axes` do not contain 0.
    Within {
        /// What is computed.
        kind: Reduce,
        /// The input.
        input: Source,
        /// The reduced axes.
        axes: Vec<usize>,
        /// The result.
        output: Target,
    },
    /// A reduction over all rows and perhaps more: the source's shape is `[rows, …]`, `axes` contain 0.
    Over {
        /// What is computed.
        kind: Reduce,
        /// The input.
        input: Source,
        /// The reduced axes.
        axes: Vec<usize>,
        /// The result.
        sum: Sum,
    },
    /// Rows `[rows, k]` times one matrix `[k, n]`, which is an input.
    Product {
        /// The rows.
        rows: Source,
        /// The matrix.
        matrix: Source,
        /// The result.
        output: Target,
    },
    /// `[rows, m]` transposed times `[rows, n]`.
    ProductOver {
        /// The one.
        left: Source,
        /// The other.
        right: Source,
        /// The result.
        sum: Sum,
    },
}

/// The result of all rows together; later stages cannot read it.
pub struct Sum {
    /// The number of the output.
    pub output: usize,
    /// Its elements.
    pub size: usize,
    /// Its element type.
    pub dtype: Dtype,
}

/// Stages over the same rows.
pub struct Band {
    rows: usize,
    stages: Vec<Stage>,
    /// Bytes for each row, by shelf.
    shelves: Vec<usize>,
    /// For each stage: the sum over all rows that follows it, and which of its outputs only that sum reads.
    sums: Vec<Option<(usize, usize)>>,
    /// Rows in a block.
    block: usize,
    /// Rows in a part.
    part: usize,
}

const LINE: usize = size_of::<Line>();

thread_local! {
    static SHELVES: Kept = const { Cell::new(None) };
}

/// Accumulators of half-precision results are `float32`.
fn wide(dtype: Dtype) -> Dtype {
    match dtype {
        Dtype::F16 | Dtype::Bf16 => Dtype::F32,
        other => other,
    }
}

/// As many parts or one more: of three equal parts one of two threads gets two, and the other waits for it.
fn even(parts: usize) -> usize {
    if parts > 1 { parts.next_multiple_of(2) } else { parts }
}

/// Lines that `bytes` need.
fn lines(bytes: usize) -> usize {
    bytes.div_ceil(LINE)
}

impl Band {
    /// The stages, in the order in which they run.
    pub fn stages(&self) -> &[Stage] {
        &self.stages
    }

    /// Bytes for each row, by shelf.
    pub fn shelves(&self) -> &[usize] {
        &self.shelves
    }

    /// Bytes that it holds, apart from machine code.
    pub fn bytes(&self) -> usize {
        let stage = |stage: &Stage| match stage {
            Stage::Chain { program, inputs, outputs, .. } => {
                program.bytes() + size_of_val(&inputs[..]) + size_of_val(&outputs[..])
            }
            _ => 0,
        };
        size_of::<Self>() + size_of_val(&self.stages[..]) + self.stages.iter().map(stage).sum::<usize>()
    }

    /// A band of stages over `rows` rows, with this many bytes for each row on each shelf. A band that is to run after a
    /// product is told how many bytes of that product belong to a row.
    pub fn new(rows: usize, stages: Vec<Stage>, shelves: Vec<usize>, product: Option<usize>) -> Self {
        // What a block keeps in the cache: the shelves, and inputs that several stages read.
        let mut bytes: usize = shelves.iter().sum();
        let mut seen: SmallVec<[(usize, usize); 8]> = SmallVec::new();
        for source in stages.iter().flat_map(Stage::sources) {
            let Place::Input(i) = source.place else { continue };
            match seen.iter_mut().find(|s| s.0 == i) {
                Some(s) => s.1 += 1,
                None => seen.push((i, 1)),
            }
            if seen.contains(&(i, 2)) {
                bytes += source.row * source.dtype.size();
            }
        }
        let work: usize = stages.iter().map(|s| s.work(rows)).sum();
        // Without shelves any block does; some thousand elements hide what a block costs by itself.
        let block = (BLOCK_BYTES / bytes.max(4)).clamp(1, rows.max(1));
        let parts = even(rows * work / PART_WORK).clamp(1, MAX_PARTS);
        let parts = parts.max(product.map_or(1, |bytes| rows * bytes / PRODUCT_BYTES).min(rows));
        let part = rows.div_ceil(parts).next_multiple_of(block.min(rows.div_ceil(parts)));
        let sums = (0..stages.len()).map(|i| find_sum(&stages, i)).collect();
        Self { rows, stages, shelves, sums, block: block.min(part), part }
    }

    /// The number of stages.
    pub fn len(&self) -> usize {
        self.stages.len()
    }

    /// Whether there are no stages.
    pub fn is_empty(&self) -> bool {
        self.stages.is_empty()
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Runs the stages: inputs as the sources name them, outputs row-major.
    pub fn run(&self, inputs: &[View<'_>], outputs: &[Out<'_>]) {
        let run = Run::new(self, inputs, outputs);
        parallel(self.parts(), &|p| run.part(p));
        run.join();
    }

    fn parts(&self) -> usize {
        self.rows.div_ceil(self.part.max(1))
    }

    /// The rows of a part.
    fn part_rows(&self, part: usize) -> Range<usize> {
        part * self.part..((part + 1) * self.part).min(self.rows)
    }

    /// Runs the stages on some rows. `folds` say in which lines of `sums` the reductions over the rows have their
    /// accumulators, and how many those are.
    fn run_part(
        &self,
        inputs: &[View<'_>],
        outputs: &[Out<'_>],
        rows: Range<usize>,
        folds: &[(usize, usize)],
        sums: *mut Line,
    ) {
        let Range { start: from, end: to } = rows;
        let mut starts: SmallVec<[usize; 16]> = SmallVec::new();
        let mut total = 0;
        for bytes in &self.shelves {
            starts.push(total);
            total += lines(bytes * self.block);
        }
        // Room for one block's result of a reduction over the rows.
        let partial = total;
        total += folds.iter().map(|f| f.1).max().unwrap_or(0);
        scratch(&SHELVES, total, |base: *mut Line| {
            let mut here = Block {
                inputs,
                outputs,
                shelves: starts.iter().map(|&s| base.wrapping_add(s).cast()).collect(),
                from,
                to: from,
            };
            while here.to < to {
                let first = here.to == from;
                (here.from, here.to) = (here.to, (here.to + self.block).min(to));
                // The sums that were formed along with what is summed.
                let mut formed: SmallVec<[usize; 4]> = SmallVec::new();
                let place =
                    |i: usize| (sums.wrapping_add(folds[i].0).cast(), base.wrapping_add(partial).cast());
                for (i, stage) in self.stages.iter().enumerate() {
                    if let Some((over, output)) = self.sums[i]
                        && here.run_and_sum(stage, output, &self.stages[over], self.rows, first, place(over))
                    {
                        formed.push(over);
                    } else if !formed.contains(&i) {
                        here.run(stage, self.rows, first, place(i));
                    }
                }
            }
        });
    }
}

impl Stage {
    /// All that it reads.
    pub fn reads(&self) -> impl Iterator<Item = &Source> {
        let other = match self {
            Stage::Product { matrix: other, .. } | Stage::ProductOver { right: other, .. } => Some(other),
            _ => None,
        };
        self.sources().iter().chain(other)
    }

    /// What it reads row by row.
    fn sources(&self) -> &[Source] {
        match self {
            Stage::Chain { inputs, .. } => inputs,
            Stage::Within { input, .. } | Stage::Over { input, .. } => std::slice::from_ref(input),
            // The matrix is not divided into rows.
            Stage::Product { rows, .. } => std::slice::from_ref(rows),
            // The right one is narrow.
            Stage::ProductOver { left, .. } => std::slice::from_ref(left),
        }
    }

    /// Whether it reads a shelf.
    fn reads_shelf(&self, shelf: usize) -> bool {
        self.reads().any(|s| s.place == Place::Shelf(shelf))
    }

    /// What it writes for each row.
    pub fn targets(&self) -> &[Target] {
        match self {
            Stage::Chain { outputs, .. } => outputs,
            Stage::Within { output, .. } | Stage::Product { output, .. } => std::slice::from_ref(output),
            Stage::Over { .. } | Stage::ProductOver { .. } => &[],
        }
    }

    /// The result of all rows together, if it is one.
    pub fn sum(&self) -> Option<&Sum> {
        match self {
            Stage::Over { sum, .. } | Stage::ProductOver { sum, .. } => Some(sum),
            _ => None,
        }
    }

    /// How results of parts are joined.
    fn kind(&self) -> Reduce {
        match self {
            Stage::Over { kind, .. } | Stage::Within { kind, .. } => *kind,
            _ => Reduce::Sum,
        }
    }

    /// Elements times operations for each row.
    fn work(&self, rows: usize) -> usize {
        match self {
            Stage::Chain { program, shape, .. } => {
                shape.iter().product::<usize>() / rows.max(1) * (program.len() + 2)
            }
            Stage::Within { input, .. } | Stage::Over { input, .. } => {
                input.shape[1..].iter().product::<usize>() * 2
            }
            Stage::Product { rows, matrix, .. } => {
                rows.shape[1..].iter().product::<usize>() * (1 + matrix.shape[1])
            }
            Stage::ProductOver { left, right, .. } => left.shape[1] * (1 + right.shape[1]),
        }
    }
}

/// The sum of all elements of an output of stage `i`, if nothing else reads that output.
fn find_sum(stages: &[Stage], i: usize) -> Option<(usize, usize)> {
    let Stage::Chain { outputs, shape, .. } = &stages[i] else { return None };
    let all: usize = shape.iter().product();
    outputs.iter().enumerate().find_map(|(output, target)| {
        let Place::Shelf(shelf) = target.place else { return None };
        let later = || stages.iter().enumerate().skip(i + 1);
        // The shelf may be another's from some stage on.
        let writes = |stage: &Stage| stage.targets().iter().any(|t| t.place == target.place);
        let end = later().find(|(_, s)| writes(s)).map_or(stages.len(), |(k, _)| k);
        let reads = |stage: &Stage| stage.reads_shelf(shelf);
        let mut readers = later().take_while(|(k, _)| *k <= end).filter(|(_, s)| reads(s));
        let (over, stage) = readers.next()?;
        let Stage::Over { kind: Reduce::Sum, input, sum, .. } = stage else { return None };
        let whole = input.shift == 0
            && input.shape.iter().product::<usize>() == all
            // SAFETY: only its layout is looked at.
            && unsafe { View::new(std::ptr::null(), input.dtype, &input.shape, &input.strides) }.is_row_major();
        let same = sum.size == 1 && sum.dtype == target.dtype && matches!(sum.dtype, Dtype::F32 | Dtype::F64);
        (readers.next().is_none() && whole && same).then_some((over, output))
    })
}

/// One run of a band.
struct Run<'a> {
    band: &'a Band,
    inputs: &'a [View<'a>],
    outputs: &'a [Out<'a>],
    /// For each reduction over the rows, where a part's lines hold its accumulator, and how many they are.
    folds: SmallVec<[(usize, usize); 4]>,
    /// Lines of a part.
    each: usize,
    sums: Shared,
    #[expect(dead_code, reason = "what `sums` points to")]
    memory: Memory<Line>,
}

impl<'a> Run<'a> {
    fn new(band: &'a Band, inputs: &'a [View<'a>], outputs: &'a [Out<'a>]) -> Self {
        // Lines of their own for each part.
        let folds: SmallVec<[(usize, usize); 4]> = band
            .stages
            .iter()
            .scan(0, |at, stage| {
                let n = stage.sum().map_or(0, |sum| lines(sum.size * wide(sum.dtype).size()));
                *at += n;
                Some((*at - n, n))
            })
            .collect();
        let each: usize = folds.iter().map(|f| f.1).sum();
        let memory = Memory::new(each * band.parts());
        let sums = Shared(memory.ptr());
        Self { band, inputs, outputs, folds, each, sums, memory }
    }

    /// Runs a part. Each has to run once.
    fn part(&self, p: usize) {
        let rows = self.band.part_rows(p);
        self.band.run_part(self.inputs, self.outputs, rows, &self.folds, self.sums.at(p * self.each));
    }

    /// Joins the parts' sums, in order.
    fn join(self) {
        for (stage, &(at, _)) in self.band.stages.iter().zip(&self.folds) {
            let Some(Sum { output, size, dtype }) = stage.sum() else { continue };
            let (kind, acc) = (stage.kind(), wide(*dtype));
            let first: *mut u8 = self.sums.at(at).cast();
            for p in 1..self.band.parts() {
                // SAFETY: the accumulators of two parts, `size` elements each, written by `run_part`.
                unsafe { reduce::join(kind, acc, self.sums.at(p * self.each + at).cast(), first, *size) };
            }
            let out = self.outputs[*output].ptr();
            // SAFETY: the output has `size` elements of `dtype`.
            unsafe {
                if acc == *dtype {
                    std::ptr::copy_nonoverlapping(first, out, size * dtype.size());
                } else {
                    cast_tile(acc, *dtype)(first, out, *size);
                }
            }
        }
    }
}

/// A pointer that parts share, each using a range of its own.
#[derive(Clone, Copy)]
struct Shared(*mut Line);
// SAFETY: parts use ranges of their own (see `Band::run`).
unsafe impl Sync for Shared {}
impl Shared {
    fn at(&self, line: usize) -> *mut Line {
        self.0.wrapping_add(line)
    }
}

/// A block of rows and where things are while it runs.
struct Block<'a> {
    inputs: &'a [View<'a>],
    outputs: &'a [Out<'a>],
    shelves: SmallVec<[*mut u8; 16]>,
    from: usize,
    to: usize,
}

impl Block<'_> {
    /// The address where a value would begin if all of it existed.
    fn start(&self, place: Place, row: usize, dtype: Dtype) -> *mut u8 {
        match place {
            Place::Input(i) => self.inputs[i].ptr().cast_mut(),
            Place::Output(i) => self.outputs[i].ptr(),
            Place::Shelf(i) => self.shelves[i].wrapping_sub(self.from * row * dtype.size()),
        }
    }

    /// What a source is, as a whole value.
    fn view<'s>(&'s self, source: &'s Source) -> View<'s> {
        if let Place::Input(i) = source.place {
            return self.inputs[i];
        }
        let start = self.start(source.place, source.row, source.dtype);
        let at = start.wrapping_offset(source.shift * source.dtype.size() as isize);
        // SAFETY: of this value, stages only read the rows of the block, which an earlier stage wrote.
        unsafe { View::new(at, source.dtype, &source.shape, &source.strides) }
    }

    /// The block's rows of a source whose first axis is the rows.
    fn rows<'s>(&'s self, source: &'s Source, shape: &'s mut SmallVec<[usize; 6]>) -> View<'s> {
        shape.extend_from_slice(&source.shape);
        shape[0] = self.to - self.from;
        let start = self.start(source.place, source.row, source.dtype);
        let skip = source.shift + self.from as isize * source.strides[0];
        let at = start.wrapping_offset(skip * source.dtype.size() as isize);
        // SAFETY: rows of an input, which the caller vouches for, or of what an earlier stage wrote.
        unsafe { View::new(at, source.dtype, shape, &source.strides) }
    }

    /// What a chain writes.
    fn outs<'s>(&self, outputs: &[Target], shape: &'s [usize]) -> SmallVec<[Out<'s>; 4]> {
        let out = |t: &Target| {
            let start = self.start(t.place, t.row, t.dtype);
            // SAFETY: the program writes the rows of the block, which this thread alone works on.
            let out = unsafe { Out::new(start, t.dtype, shape) };
            match t.place {
                Place::Output(i) => out.in_rows_of(&self.outputs[i]),
                _ => out.read_soon(),
            }
        };
        outputs.iter().map(out).collect()
    }

    /// Runs a chain and, with it, the sum over all rows of one of its outputs, which then is not stored. False, and
    /// nothing is done, if the two have to run one after the other.
    fn run_and_sum(
        &self,
        stage: &Stage,
        output: usize,
        over: &Stage,
        rows: usize,
        first: bool,
        (sum, partial): (*mut u8, *mut u8),
    ) -> bool {
        let (Stage::Chain { program, shape, inputs, outputs }, Stage::Over { sum: Sum { dtype, .. }, .. }) =
            (stage, over)
        else {
            return false;
        };
        let each = shape.iter().product::<usize>() / rows;
        let views: SmallVec<[View<'_>; 8]> = inputs.iter().map(|s| self.view(s)).collect();
        let range = self.from * each..self.to * each;
        let to = if first { sum } else { partial };
        let outs = self.outs(outputs, shape);
        // SAFETY: the part's accumulator, or the thread's scratch: one element of the output's type.
        let done = unsafe { program.run_and_sum(shape, &views, &outs, range, (output, to)) };
        if done && !first {
            // SAFETY: both were written: the one by the first block, the other just now.
            unsafe { reduce::join(Reduce::Sum, *dtype, partial, sum, 1) };
        }
        done
    }

    fn run(&self, stage: &Stage, rows: usize, first: bool, place: (*mut u8, *mut u8)) {
        match stage {
            Stage::Chain { program, shape, inputs, outputs } => {
                let each = shape.iter().product::<usize>() / rows;
                let views: SmallVec<[View<'_>; 8]> = inputs.iter().map(|s| self.view(s)).collect();
                let outs = self.outs(outputs, shape);
                program.run_range(shape, &views, &outs, self.from * each, self.to * each);
            }
            Stage::Within { kind, input, axes, output } => {
                let mut shape = SmallVec::new();
                let view = self.rows(input, &mut shape);
                let size = [(self.to - self.from) * output.row];
                let skip = self.from * output.row * output.dtype.size();
                let at = self.start(output.place, output.row, output.dtype).wrapping_add(skip);
                // SAFETY: the block's rows of the target, which this thread alone writes.
                reduce::whole(*kind, view, axes, unsafe { Out::new(at, output.dtype, &size) });
            }
            Stage::Over { kind, input, axes, sum: Sum { size, dtype, .. } } => {
                let mut shape = SmallVec::new();
                let view = self.rows(input, &mut shape);
                fold(*kind, *size, *dtype, first, place, &|out| reduce::whole(*kind, view, axes, out));
            }
            Stage::Product { rows, matrix, output } => {
                let mut shape = SmallVec::new();
                let view = self.rows(rows, &mut shape);
                let size = [view.shape()[0], matrix.shape[1]];
                let skip = self.from * output.row * output.dtype.size();
                let at = self.start(output.place, output.row, output.dtype).wrapping_add(skip);
                // SAFETY: the block's rows of the target, which this thread alone writes.
                matmul(view, self.view(matrix), unsafe { Out::new(at, output.dtype, &size) });
            }
            Stage::ProductOver { left, right, sum: Sum { size, dtype, .. } } => {
                let (mut a, mut b) = (SmallVec::new(), SmallVec::new());
                let (left, right) = (self.rows(left, &mut a), self.rows(right, &mut b));
                let turned = ([left.shape()[1], left.shape()[0]], [left.strides()[1], left.strides()[0]]);
                // SAFETY: the same elements, the axes exchanged.
                let left = unsafe { View::new(left.ptr(), left.dtype(), &turned.0, &turned.1) };
                fold(Reduce::Sum, *size, *dtype, first, place, &|out| {
                    let shape = [left.shape()[0], right.shape()[1]];
                    // SAFETY: the same memory, as a matrix.
                    matmul(left, right, unsafe { Out::new(out.ptr(), out.dtype(), &shape) });
                });
            }
        }
    }
}

/// Lets `work` compute a block's result; the first is the part's so far, others are joined to it.
fn fold(
    kind: Reduce,
    size: usize,
    dtype: Dtype,
    first: bool,
    (sum, partial): (*mut u8, *mut u8),
    work: &dyn Fn(Out<'_>),
) {
    let (acc, shape) = (wide(dtype), [size]);
    let to = if first { sum } else { partial };
    // SAFETY: the part's accumulator, or the thread's scratch: `size` elements of type `acc`.
    work(unsafe { Out::new(to, acc, &shape) });
    if !first {
        // SAFETY: both were written: the one by the first block, the other just now.
        unsafe { reduce::join(kind, acc, partial, sum, size) };
    }
}
