//! The stages of a region, run on one block of rows.

use super::{ReducedOutput, Stage, StageInput, StageOutput, Storage};
use crate::dot::matmul;
use crate::dtype::Dtype;
use crate::reduce::{self, Reduce};
use crate::strided::{Out, View};
use smallvec::SmallVec;

/// A block of rows, from row `from` to `to`, and the memory that its stages use.
pub(super) struct Block<'a> {
    pub(super) inputs: &'a [View<'a>],
    pub(super) outputs: &'a [Out<'a>],
    pub(super) scratch: SmallVec<[*mut u8; 16]>,
    pub(super) from: usize,
    pub(super) to: usize,
}

impl Block<'_> {
    /// The address of the whole value's first element. Scratch memory holds only the block's rows, so this address may be
    /// outside of it.
    fn start(&self, place: Storage, row: usize, dtype: Dtype) -> *mut u8 {
        match place {
            Storage::Input(i) => self.inputs[i].ptr().cast_mut(),
            Storage::Output(i) => self.outputs[i].ptr(),
            Storage::Scratch(i) => self.scratch[i].wrapping_sub(self.from * row * dtype.size()),
        }
    }

    /// An input of a stage as a view of the whole value.
    fn view<'s>(&'s self, source: &'s StageInput) -> View<'s> {
        if let Storage::Input(i) = source.storage {
            return self.inputs[i];
        }
        let start = self.start(source.storage, source.row, source.dtype);
        let at = start.wrapping_offset(source.shift * source.dtype.size() as isize);
        // SAFETY: stages only read the block's rows of the value, which an earlier stage wrote.
        unsafe { View::new(at, source.dtype, &source.shape, &source.strides) }
    }

    /// The block's rows of an input whose first axis is the rows.
    fn rows<'s>(&'s self, source: &'s StageInput, shape: &'s mut SmallVec<[usize; 6]>) -> View<'s> {
        shape.extend_from_slice(&source.shape);
        shape[0] = self.to - self.from;
        let start = self.start(source.storage, source.row, source.dtype);
        let skip = source.shift + self.from as isize * source.strides[0];
        let at = start.wrapping_offset(skip * source.dtype.size() as isize);
        // SAFETY: rows of an input, which the caller vouches for, or rows that an earlier stage wrote.
        unsafe { View::new(at, source.dtype, shape, &source.strides) }
    }

    /// The outputs of a map.
    fn outs<'s>(&self, outputs: &[StageOutput], shape: &'s [usize]) -> SmallVec<[Out<'s>; 4]> {
        let out = |t: &StageOutput| {
            let start = self.start(t.storage, t.row, t.dtype);
            // SAFETY: the program writes the block's rows, which this thread alone uses.
            let out = unsafe { Out::new(start, t.dtype, shape) };
            match t.storage {
                Storage::Output(i) => out.in_rows_of(&self.outputs[i]),
                _ => out.read_soon(),
            }
        };
        outputs.iter().map(out).collect()
    }

    /// Runs a map and forms the sum over all rows of one of its outputs in the same pass, without storing that output.
    /// False, and nothing is done, if the two stages have to run one after the other.
    pub(super) fn run_and_sum(
        &self,
        stage: &Stage,
        output: usize,
        total: &Stage,
        rows: usize,
        first: bool,
        (sum, partial): (*mut u8, *mut u8),
    ) -> bool {
        let (
            Stage::Map { program, shape, inputs, outputs },
            Stage::Reduced { output: ReducedOutput { dtype, .. }, .. },
        ) = (stage, total)
        else {
            return false;
        };
        let each = shape.iter().product::<usize>() / rows;
        let views: SmallVec<[View<'_>; 8]> = inputs.iter().map(|s| self.view(s)).collect();
        let range = self.from * each..self.to * each;
        let to = if first { sum } else { partial };
        let outs = self.outs(outputs, shape);
        // SAFETY: the part's accumulator, or scratch memory of the thread: one element of the output's type.
        let done = unsafe { program.run_and_sum(shape, &views, &outs, range, (output, to)) };
        if done && !first {
            // SAFETY: both are written: the accumulator by the first block, the partial result just now.
            unsafe { reduce::combine(Reduce::Sum, *dtype, partial, sum, 1) };
        }
        done
    }

    /// Runs a stage on the block. `first` says that this is the part's first block. `place` has the part's accumulator of
    /// the stage, and room for the block's result before it is combined with the accumulator.
    pub(super) fn run(&self, stage: &Stage, rows: usize, first: bool, place: (*mut u8, *mut u8)) {
        match stage {
            Stage::Map { program, shape, inputs, outputs } => {
                let each = shape.iter().product::<usize>() / rows;
                let views: SmallVec<[View<'_>; 8]> = inputs.iter().map(|s| self.view(s)).collect();
                let outs = self.outs(outputs, shape);
                program.run_range(shape, &views, &outs, self.from * each, self.to * each);
            }
            Stage::PerRow { kind, input, axes, output } => {
                let mut shape = SmallVec::new();
                let view = self.rows(input, &mut shape);
                let size = [(self.to - self.from) * output.row];
                let skip = self.from * output.row * output.dtype.size();
                let at = self.start(output.storage, output.row, output.dtype).wrapping_add(skip);
                // SAFETY: the block's rows of the output, which this thread alone writes.
                reduce::whole(*kind, view, axes, unsafe { Out::new(at, output.dtype, &size) });
            }
            Stage::Reduced { kind, input, axes, output: ReducedOutput { size, dtype, .. } } => {
                let mut shape = SmallVec::new();
                let view = self.rows(input, &mut shape);
                fold(*kind, *size, *dtype, first, place, &|out| reduce::whole(*kind, view, axes, out));
            }
            Stage::Dot { rows, matrix, output } => {
                let mut shape = SmallVec::new();
                let view = self.rows(rows, &mut shape);
                let size = [view.shape()[0], matrix.shape[1]];
                let skip = self.from * output.row * output.dtype.size();
                let at = self.start(output.storage, output.row, output.dtype).wrapping_add(skip);
                // SAFETY: the block's rows of the output, which this thread alone writes.
                matmul(view, self.view(matrix), unsafe { Out::new(at, output.dtype, &size) });
            }
            Stage::DotReduced { left, right, output: ReducedOutput { size, dtype, .. } } => {
                let (mut a, mut b) = (SmallVec::new(), SmallVec::new());
                let (left, right) = (self.rows(left, &mut a), self.rows(right, &mut b));
                let transposed = ([left.shape()[1], left.shape()[0]], [left.strides()[1], left.strides()[0]]);
                // SAFETY: the same elements, the axes exchanged.
                let left = unsafe { View::new(left.ptr(), left.dtype(), &transposed.0, &transposed.1) };
                fold(Reduce::Sum, *size, *dtype, first, place, &|out| {
                    let shape = [left.shape()[0], right.shape()[1]];
                    // SAFETY: the same memory, as a matrix.
                    matmul(left, right, unsafe { Out::new(out.ptr(), out.dtype(), &shape) });
                });
            }
        }
    }
}

/// Lets `work` compute the block's result of a reduction over the rows. The first block's result goes to the part's
/// accumulator, later ones are combined with it.
fn fold(
    kind: Reduce,
    size: usize,
    dtype: Dtype,
    first: bool,
    (sum, partial): (*mut u8, *mut u8),
    work: &dyn Fn(Out<'_>),
) {
    let (acc, shape) = (dtype.accumulator(), [size]);
    let to = if first { sum } else { partial };
    // SAFETY: the part's accumulator, or scratch memory of the thread: `size` elements of type `acc`.
    work(unsafe { Out::new(to, acc, &shape) });
    if !first {
        // SAFETY: both are written: the accumulator by the first block, the partial result just now.
        unsafe { reduce::combine(kind, acc, partial, sum, size) };
    }
}
