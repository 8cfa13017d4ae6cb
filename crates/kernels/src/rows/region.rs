//! Regions: the division of their rows into parts and blocks, and the combination of the parts' results.

use super::block::Block;
use super::{ReducedOutput, Stage, Storage};
use crate::convert::cast_tile;
use crate::dtype::Dtype;
use crate::memory::Memory;
use crate::reduce::{self, Reduce};
use crate::scratch::{Kept, Line, lines, scratch};
use crate::strided::{Out, View, is_row_major};
use crate::threads::parallel;
use smallvec::SmallVec;
use std::cell::Cell;
use std::ops::Range;

/// Scratch memory that a block of rows should fit in. Smaller blocks stay in nearer caches, but then each pass takes so
/// little time that starting it costs more: from 96 to 384 KiB a softmax cross-entropy takes a third less.
const BLOCK_BYTES: usize = 384 << 10;
/// Elements times operations from which on a separate part pays.
const PART_WORK: usize = 1 << 15;
/// Bytes of a preceding product that one part should read: less than the second-level cache holds.
const PRODUCT_BYTES: usize = 256 << 10;
/// The most parts, unless the region follows a product.
const MAX_PARTS: usize = 16;

/// Stages over the same rows.
pub struct Region {
    pub(super) rows: usize,
    stages: Vec<Stage>,
    /// Bytes for each row, for each piece of scratch memory.
    scratch: Vec<usize>,
    /// For each stage: a later stage that sums one of its outputs over all rows, and the number of that output, which no
    /// other stage reads.
    sums: Vec<Option<(usize, usize)>>,
    /// Rows in a block.
    block: usize,
    /// Rows in a part.
    pub(super) part: usize,
}

thread_local! {
    static SCRATCH: Kept = const { Cell::new(None) };
    /// By how much the blocks and parts of new regions are smaller; see [`divide_more`].
    static DIVISION: Cell<usize> = const { Cell::new(1) };
}

/// Makes the blocks and parts of regions that this thread makes from now on so many times smaller. Tests divide arrays of
/// some elements like that, which otherwise are one block.
#[doc(hidden)]
pub fn divide_more(times: usize) {
    DIVISION.set(times.max(1));
}

/// An even number of parts: of three equal parts one of two threads gets two, and the other waits for it.
fn even(parts: usize) -> usize {
    if parts > 1 { parts.next_multiple_of(2) } else { parts }
}

impl Region {
    /// The stages, in the order in which they run.
    pub fn stages(&self) -> &[Stage] {
        &self.stages
    }

    /// Bytes for each row, for each piece of scratch memory.
    pub fn scratch(&self) -> &[usize] {
        &self.scratch
    }

    /// Bytes of the description, without machine code.
    pub fn bytes(&self) -> usize {
        let stage = |stage: &Stage| match stage {
            Stage::Map { program, inputs, outputs, .. } => {
                program.bytes() + size_of_val(&inputs[..]) + size_of_val(&outputs[..])
            }
            _ => 0,
        };
        size_of::<Self>() + size_of_val(&self.stages[..]) + self.stages.iter().map(stage).sum::<usize>()
    }

    /// A region of stages over `rows` rows. `scratch` gives the bytes for each row of each piece of scratch memory.
    /// `product` gives the bytes for each row of the product that the region follows, if it follows one.
    pub fn new(rows: usize, stages: Vec<Stage>, scratch: Vec<usize>, product: Option<usize>) -> Self {
        // A block keeps in the cache: scratch memory, and inputs that several stages read.
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
        // Without scratch memory any block is small enough; some thousand elements hide the cost of starting a block.
        let division = DIVISION.get();
        let block = (BLOCK_BYTES / division / bytes.max(4)).clamp(1, rows.max(1));
        let parts = even(rows * work * division / PART_WORK).clamp(1, MAX_PARTS);
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

    /// Runs the stages. `inputs` and `outputs` are numbered as in [`Storage`]; outputs are row-major.
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

    /// Runs the stages on the given rows. For each stage, `accumulators` gives the first line of its accumulator in
    /// `sums` and the number of lines.
    fn run_part(
        &self,
        inputs: &[View<'_>],
        outputs: &[Out<'_>],
        rows: Range<usize>,
        accumulators: &[(usize, usize)],
        sums: *mut Line,
    ) {
        let Range { start: from, end: to } = rows;
        let mut starts: SmallVec<[usize; 16]> = SmallVec::new();
        let mut total = 0;
        for bytes in &self.scratch {
            starts.push(total);
            total += lines::<u8>(bytes * self.block);
        }
        // Behind it, room for one block's result of a reduction over the rows.
        let partial = total;
        total += accumulators.iter().map(|a| a.1).max().unwrap_or(0);
        scratch(&SCRATCH, total, |base: *mut Line| {
            let mut block = Block {
                inputs,
                outputs,
                scratch: starts.iter().map(|&s| base.wrapping_add(s).cast()).collect(),
                from,
                to: from,
            };
            while block.to < to {
                let first = block.to == from;
                (block.from, block.to) = (block.to, (block.to + self.block).min(to));
                // Sums over all rows that an earlier stage has already formed.
                let mut formed: SmallVec<[usize; 4]> = SmallVec::new();
                let place = |i: usize| {
                    (sums.wrapping_add(accumulators[i].0).cast(), base.wrapping_add(partial).cast())
                };
                for (i, stage) in self.stages.iter().enumerate() {
                    if let Some((sum, output)) = self.sums[i]
                        && block.run_and_sum(stage, output, &self.stages[sum], self.rows, first, place(sum))
                    {
                        formed.push(sum);
                    } else if !formed.contains(&i) {
                        block.run(stage, self.rows, first, place(i));
                    }
                }
            }
        });
    }
}

/// A later stage that sums all elements of an output of map `i`, and the number of that output, if no other stage reads
/// the output.
fn find_sum(stages: &[Stage], i: usize) -> Option<(usize, usize)> {
    let Stage::Map { outputs, shape, .. } = &stages[i] else { return None };
    let all: usize = shape.iter().product();
    outputs.iter().enumerate().find_map(|(output, made)| {
        let Storage::Scratch(scratch) = made.storage else { return None };
        let later = || stages.iter().enumerate().skip(i + 1);
        // A later stage may use the same scratch memory for another value.
        let writes = |stage: &Stage| stage.outputs().iter().any(|t| t.storage == made.storage);
        let end = later().find(|(_, s)| writes(s)).map_or(stages.len(), |(k, _)| k);
        let reads = |stage: &Stage| stage.reads_scratch(scratch);
        let mut readers = later().take_while(|(k, _)| *k <= end).filter(|(_, s)| reads(s));
        let (sum, stage) = readers.next()?;
        let Stage::Reduced { kind: Reduce::Sum, input, output: reduced, .. } = stage else { return None };
        let whole = input.shift == 0
            && input.shape.iter().product::<usize>() == all
            && is_row_major(&input.shape, &input.strides);
        let same = reduced.size == 1
            && reduced.dtype == made.dtype
            && matches!(reduced.dtype, Dtype::F32 | Dtype::F64);
        (readers.next().is_none() && whole && same).then_some((sum, output))
    })
}

/// One run of a region.
pub(super) struct Run<'a> {
    region: &'a Region,
    inputs: &'a [View<'a>],
    outputs: &'a [Out<'a>],
    /// For each stage, the first line of its accumulator among the lines of a part, and the number of lines.
    accumulators: SmallVec<[(usize, usize); 4]>,
    /// Lines of a part.
    each: usize,
    /// The accumulators of all parts. Each part has lines of its own, so that no two threads write to one line.
    sums: Memory<Line>,
}

impl<'a> Run<'a> {
    pub(super) fn new(region: &'a Region, inputs: &'a [View<'a>], outputs: &'a [Out<'a>]) -> Self {
        let accumulators: SmallVec<[(usize, usize); 4]> = region
            .stages
            .iter()
            .scan(0, |at, stage| {
                let n = stage.reduced().map_or(0, |r| lines::<u8>(r.size * r.dtype.accumulator().size()));
                *at += n;
                Some((*at - n, n))
            })
            .collect();
        let each: usize = accumulators.iter().map(|a| a.1).sum();
        Self { region, inputs, outputs, accumulators, each, sums: Memory::new(each * region.parts()) }
    }

    /// The accumulators' line `line` of part `p`.
    fn line(&self, p: usize, line: usize) -> *mut Line {
        self.sums.ptr().wrapping_add(p * self.each + line)
    }

    /// Runs part `p`. Each part has to run once.
    pub(super) fn part(&self, p: usize) {
        let rows = self.region.part_rows(p);
        self.region.run_part(self.inputs, self.outputs, rows, &self.accumulators, self.line(p, 0));
    }

    /// Combines the parts' accumulators, in order, and writes the outputs that reduce all rows.
    pub(super) fn finish(self) {
        for (stage, &(at, _)) in self.region.stages.iter().zip(&self.accumulators) {
            let Some(ReducedOutput { index, size, dtype }) = stage.reduced() else { continue };
            let (kind, acc) = (stage.kind(), dtype.accumulator());
            let first: *mut u8 = self.line(0, at).cast();
            for p in 1..self.region.parts() {
                // SAFETY: the accumulators of two parts, `size` elements each, written by `run_part`.
                unsafe { reduce::combine(kind, acc, self.line(p, at).cast(), first, *size) };
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
