//! One block of rows: runs the stages of a region on it.

use super::{ReducedOutput, Stage, StageInput, StageOutput, Storage};
use crate::dot::matmul;
use crate::dtype::Dtype;
use crate::reduce::{self, Reduce};
use crate::strided::{Out, View};
use smallvec::SmallVec;

/// Accumulators of half-precision results are `float32`.
pub(super) fn wide(dtype: Dtype) -> Dtype {
    match dtype {
        Dtype::F16 | Dtype::Bf16 => Dtype::F32,
        other => other,
    }
}

/// A block of rows and where things are while it runs.
pub(super) struct Block<'a> {
    pub(super) inputs: &'a [View<'a>],
    pub(super) outputs: &'a [Out<'a>],
    pub(super) scratch: SmallVec<[*mut u8; 16]>,
    pub(super) from: usize,
    pub(super) to: usize,
}

impl Block<'_> {
    /// The address where a value would begin if all of it existed.
    fn start(&self, place: Storage, row: usize, dtype: Dtype) -> *mut u8 {
        match place {
            Storage::Input(i) => self.inputs[i].ptr().cast_mut(),
            Storage::Output(i) => self.outputs[i].ptr(),
            Storage::Scratch(i) => self.scratch[i].wrapping_sub(self.from * row * dtype.size()),
        }
    }

    /// What a source is, as a whole value.
    fn view<'s>(&'s self, source: &'s StageInput) -> View<'s> {
        if let Storage::Input(i) = source.storage {
            return self.inputs[i];
        }
        let start = self.start(source.storage, source.row, source.dtype);
        let at = start.wrapping_offset(source.shift * source.dtype.size() as isize);
        // SAFETY: of this value, stages only read the rows of the block, which an earlier stage wrote.
        unsafe { View::new(at, source.dtype, &source.shape, &source.strides) }
    }

    /// The block's rows of a source whose first axis is the rows.
    fn rows<'s>(&'s self, source: &'s StageInput, shape: &'s mut SmallVec<[usize; 6]>) -> View<'s> {
        shape.extend_from_slice(&source.shape);
        shape[0] = self.to - self.from;
        let start = self.start(source.storage, source.row, source.dtype);
        let skip = source.shift + self.from as isize * source.strides[0];
        let at = start.wrapping_offset(skip * source.dtype.size() as isize);
        // SAFETY: rows of an input, which the caller vouches for, or of what an earlier stage wrote.
        unsafe { View::new(at, source.dtype, shape, &source.strides) }
    }

    /// What a chain writes.
    fn outs<'s>(&self, outputs: &[StageOutput], shape: &'s [usize]) -> SmallVec<[Out<'s>; 4]> {
        let out = |t: &StageOutput| {
            let start = self.start(t.storage, t.row, t.dtype);
            // SAFETY: the program writes the rows of the block, which this thread alone works on.
            let out = unsafe { Out::new(start, t.dtype, shape) };
            match t.storage {
                Storage::Output(i) => out.in_rows_of(&self.outputs[i]),
                _ => out.read_soon(),
            }
        };
        outputs.iter().map(out).collect()
    }

    /// Runs a chain and, with it, the sum over all rows of one of its outputs, which then is not stored. False, and
    /// nothing is done, if the two have to run one after the other.
    pub(super) fn run_and_sum(
        &self,
        stage: &Stage,
        output: usize,
        over: &Stage,
        rows: usize,
        first: bool,
        (sum, partial): (*mut u8, *mut u8),
    ) -> bool {
        let (
            Stage::Map { program, shape, inputs, outputs },
            Stage::Reduced { output: ReducedOutput { dtype, .. }, .. },
        ) = (stage, over)
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
            unsafe { reduce::combine(Reduce::Sum, *dtype, partial, sum, 1) };
        }
        done
    }

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
                // SAFETY: the block's rows of the target, which this thread alone writes.
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
                // SAFETY: the block's rows of the target, which this thread alone writes.
                matmul(view, self.view(matrix), unsafe { Out::new(at, output.dtype, &size) });
            }
            Stage::DotReduced { left, right, output: ReducedOutput { size, dtype, .. } } => {
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
        unsafe { reduce::combine(kind, acc, partial, sum, size) };
    }
}
