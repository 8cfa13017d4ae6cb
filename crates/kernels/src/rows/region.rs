//! Regions: how their rows are divided into parts and blocks, and how the parts' results are combined.

use super::block::{Block, wide};
use super::{ReducedOutput, Stage, Storage};
use crate::convert::cast_tile;
use crate::dtype::Dtype;
use crate::memory::Memory;
use crate::reduce::{self, Reduce};
use crate::scratch::{Kept, Line, scratch};
use crate::strided::{Out, View};
use crate::threads::parallel;
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

/// Stages over the same rows.
pub struct Region {
    pub(super) rows: usize,
    stages: Vec<Stage>,
    /// Bytes for each row, by scratch.
    scratch: Vec<usize>,
    /// For each stage: the sum over all rows that follows it, and which of its outputs only that sum reads.
    sums: Vec<Option<(usize, usize)>>,
    /// Rows in a block.
    block: usize,
    /// Rows in a part.
    pub(super) part: usize,
}

const LINE: usize = size_of::<Line>();

thread_local! {
    static SCRATCH: Kept = const { Cell::new(None) };
}

/// As many parts or one more: of three equal parts one of two threads gets two, and the other waits for it.
fn even(parts: usize) -> usize {
    if parts > 1 { parts.next_multiple_of(2) } else { parts }
}

/// Lines that `bytes` need.
fn lines(bytes: usize) -> usize {
    bytes.div_ceil(LINE)
}

impl Region {
    /// The stages, in the order in which they run.
    pub fn stages(&self) -> &[Stage] {
        &self.stages
    }

    /// Bytes for each row, by scratch.
    pub fn scratch(&self) -> &[usize] {
        &self.scratch
    }

    /// Bytes that it holds, apart from machine code.
    pub fn bytes(&self) -> usize {
        let stage = |stage: &Stage| match stage {
            Stage::Map { program, inputs, outputs, .. } => {
                program.bytes() + size_of_val(&inputs[..]) + size_of_val(&outputs[..])
            }
            _ => 0,
        };
        size_of::<Self>() + size_of_val(&self.stages[..]) + self.stages.iter().map(stage).sum::<usize>()
    }

    /// A region of stages over `rows` rows, with this many bytes for each row on each scratch. A region that is to run after a
    /// product is told how many bytes of that product belong to a row.
    pub fn new(rows: usize, stages: Vec<Stage>, scratch: Vec<usize>, product: Option<usize>) -> Self {
        // What a block keeps in the cache: the scratch, and inputs that several stages read.
        let mut bytes: usize = scratch.iter().sum();
        let mut seen: SmallVec<[(usize, usize); 8]> = SmallVec::new();
        for source in stages.iter().flat_map(Stage::inputs_by_row) {
            let Storage::Input(i) = source.storage else { continue };
            match seen.iter_mut().find(|s| s.0 == i) {
                Some(s) => s.1 += 1,
                None => seen.push((i, 1)),
            }
            if seen.contains(&(i, 2)) {
                bytes += source.row * source.dtype.size();
            }
        }
        let work: usize = stages.iter().map(|s| s.work(rows)).sum();
        // Without scratch any block does; some thousand elements hide what a block costs by itself.
        let block = (BLOCK_BYTES / bytes.max(4)).clamp(1, rows.max(1));
        let parts = even(rows * work / PART_WORK).clamp(1, MAX_PARTS);
        let parts = parts.max(product.map_or(1, |bytes| rows * bytes / PRODUCT_BYTES).min(rows));
        let part = rows.div_ceil(parts).next_multiple_of(block.min(rows.div_ceil(parts)));
        let sums = (0..stages.len()).map(|i| find_sum(&stages, i)).collect();
        Self { rows, stages, scratch, sums, block: block.min(part), part }
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
        run.finish();
    }

    pub(super) fn parts(&self) -> usize {
        self.rows.div_ceil(self.part.max(1))
    }

    /// The rows of a part.
    pub(super) fn part_rows(&self, part: usize) -> Range<usize> {
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
        for bytes in &self.scratch {
            starts.push(total);
            total += lines(bytes * self.block);
        }
        // Room for one block's result of a reduction over the rows.
        let partial = total;
        total += folds.iter().map(|f| f.1).max().unwrap_or(0);
        scratch(&SCRATCH, total, |base: *mut Line| {
            let mut here = Block {
                inputs,
                outputs,
                scratch: starts.iter().map(|&s| base.wrapping_add(s).cast()).collect(),
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

/// The sum of all elements of an output of stage `i`, if nothing else reads that output.
fn find_sum(stages: &[Stage], i: usize) -> Option<(usize, usize)> {
    let Stage::Map { outputs, shape, .. } = &stages[i] else { return None };
    let all: usize = shape.iter().product();
    outputs.iter().enumerate().find_map(|(output, target)| {
        let Storage::Scratch(scratch) = target.storage else { return None };
        let later = || stages.iter().enumerate().skip(i + 1);
        // The scratch may be another's from some stage on.
        let writes = |stage: &Stage| stage.outputs().iter().any(|t| t.storage == target.storage);
        let end = later().find(|(_, s)| writes(s)).map_or(stages.len(), |(k, _)| k);
        let reads = |stage: &Stage| stage.reads_scratch(scratch);
        let mut readers = later().take_while(|(k, _)| *k <= end).filter(|(_, s)| reads(s));
        let (over, stage) = readers.next()?;
        let Stage::Reduced { kind: Reduce::Sum, input, output: reduced, .. } = stage else { return None };
        let whole = input.shift == 0
            && input.shape.iter().product::<usize>() == all
            // SAFETY: only its layout is looked at.
            && unsafe { View::new(std::ptr::null(), input.dtype, &input.shape, &input.strides) }.is_row_major();
        let same = reduced.size == 1 && reduced.dtype == target.dtype && matches!(reduced.dtype, Dtype::F32 | Dtype::F64);
        (readers.next().is_none() && whole && same).then_some((over, output))
    })
}

/// One run of a region.
pub(super) struct Run<'a> {
    region: &'a Region,
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
    pub(super) fn new(region: &'a Region, inputs: &'a [View<'a>], outputs: &'a [Out<'a>]) -> Self {
        // Lines of their own for each part.
        let folds: SmallVec<[(usize, usize); 4]> = region
            .stages
            .iter()
            .scan(0, |at, stage| {
                let n = stage.reduced().map_or(0, |r| lines(r.size * wide(r.dtype).size()));
                *at += n;
                Some((*at - n, n))
            })
            .collect();
        let each: usize = folds.iter().map(|f| f.1).sum();
        let memory = Memory::new(each * region.parts());
        let sums = Shared(memory.ptr());
        Self { region, inputs, outputs, folds, each, sums, memory }
    }

    /// Runs a part. Each has to run once.
    pub(super) fn part(&self, p: usize) {
        let rows = self.region.part_rows(p);
        self.region.run_part(self.inputs, self.outputs, rows, &self.folds, self.sums.at(p * self.each));
    }

    /// Joins the parts' sums, in order.
    pub(super) fn finish(self) {
        for (stage, &(at, _)) in self.region.stages.iter().zip(&self.folds) {
            let Some(ReducedOutput { index, size, dtype }) = stage.reduced() else { continue };
            let (kind, acc) = (stage.kind(), wide(*dtype));
            let first: *mut u8 = self.sums.at(at).cast();
            for p in 1..self.region.parts() {
                // SAFETY: the accumulators of two parts, `size` elements each, written by `run_part`.
                unsafe { reduce::combine(kind, acc, self.sums.at(p * self.each + at).cast(), first, *size) };
            }
            let out = self.outputs[*index].ptr();
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
// SAFETY: parts use ranges of their own (see `Region::run`).
unsafe impl Sync for Shared {}
impl Shared {
    fn at(&self, line: usize) -> *mut Line {
        self.0.wrapping_add(line)
    }
}
