//! The stages of a region: their operations, their inputs and outputs, and where these are stored.

use crate::dtype::Dtype;
use crate::program::Program;
use crate::reduce::Reduce;

/// Where a value of a region is stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Storage {
    /// Input `i` of the region, the whole value.
    Input(usize),
    /// Output `i` of the region, the whole value.
    Output(usize),
    /// Scratch memory `i`, which holds one block of rows at a time.
    Scratch(usize),
}

/// An input of a stage. Strides and shift count elements from the start of the whole value, even if only a block of it
/// is stored.
pub struct StageInput {
    /// Where the value is stored. Shape, strides and shift below apply to outputs and scratch memory; an input of the
    /// region comes with a view of its own.
    pub storage: Storage,
    /// The element type.
    pub dtype: Dtype,
    /// Elements of the whole value that belong to one row.
    pub row: usize,
    /// The extents that the stage sees.
    pub shape: Vec<usize>,
    /// The strides that the stage sees.
    pub strides: Vec<isize>,
    /// The offset of element `[0, 0, …]`.
    pub shift: isize,
}

/// An output of a stage: row-major, `row` elements for each row.
pub struct StageOutput {
    /// An output of the region, or scratch memory.
    pub storage: Storage,
    /// The element type.
    pub dtype: Dtype,
    /// Elements for each row.
    pub row: usize,
}

/// An output that reduces all rows. It is complete only after the last block, so later stages cannot read it.
pub struct ReducedOutput {
    /// The number of the region's output.
    pub index: usize,
    /// The number of elements.
    pub size: usize,
    /// The element type.
    pub dtype: Dtype,
}

/// One pass over a block of rows.
pub enum Stage {
    /// Elementwise operations over `shape`, whose outer axes are the rows.
    Map {
        /// The operations.
        program: Program,
        /// The iteration space.
        shape: Vec<usize>,
        /// The program's inputs.
        inputs: Vec<StageInput>,
        /// The program's outputs.
        outputs: Vec<StageOutput>,
    },
    /// A reduction within each row: the input's shape is `[rows, …]`, and `axes` do not contain 0.
    PerRow {
        /// The reduction.
        kind: Reduce,
        /// The input.
        input: StageInput,
        /// The reduced axes.
        axes: Vec<usize>,
        /// The result.
        output: StageOutput,
    },
    /// A reduction over all rows and perhaps other axes: the input's shape is `[rows, …]`, and `axes` contain 0.
    Reduced {
        /// The reduction.
        kind: Reduce,
        /// The input.
        input: StageInput,
        /// The reduced axes.
        axes: Vec<usize>,
        /// The result.
        output: ReducedOutput,
    },
    /// The product of each row of `[rows, k]` with one matrix `[k, n]`, which is an input of the region.
    Dot {
        /// The rows.
        rows: StageInput,
        /// The matrix.
        matrix: StageInput,
        /// The result, `[rows, n]`.
        output: StageOutput,
    },
    /// The transpose of `[rows, m]` times `[rows, n]`: a product summed over all rows.
    DotReduced {
        /// The left factor before it is transposed, `[rows, m]`.
        left: StageInput,
        /// The right factor, `[rows, n]`.
        right: StageInput,
        /// The result, `[m, n]`.
        output: ReducedOutput,
    },
}

impl Stage {
    /// All inputs.
    pub fn inputs(&self) -> impl Iterator<Item = &StageInput> {
        let other = match self {
            Stage::Dot { matrix: other, .. } | Stage::DotReduced { right: other, .. } => Some(other),
            _ => None,
        };
        self.inputs_by_row().iter().chain(other)
    }

    /// The inputs that count when rows are divided into blocks.
    pub(super) fn inputs_by_row(&self) -> &[StageInput] {
        match self {
            Stage::Map { inputs, .. } => inputs,
            Stage::PerRow { input, .. } | Stage::Reduced { input, .. } => std::slice::from_ref(input),
            // The matrix is the same for all rows.
            Stage::Dot { rows, .. } => std::slice::from_ref(rows),
            // The right factor is narrow.
            Stage::DotReduced { left, .. } => std::slice::from_ref(left),
        }
    }

    /// Whether the stage reads scratch memory `i`.
    pub(super) fn reads_scratch(&self, i: usize) -> bool {
        self.inputs().any(|s| s.storage == Storage::Scratch(i))
    }

    /// The outputs that have elements for each row.
    pub fn outputs(&self) -> &[StageOutput] {
        match self {
            Stage::Map { outputs, .. } => outputs,
            Stage::PerRow { output, .. } | Stage::Dot { output, .. } => std::slice::from_ref(output),
            Stage::Reduced { .. } | Stage::DotReduced { .. } => &[],
        }
    }

    /// The output that reduces all rows, if the stage has one.
    pub fn reduced(&self) -> Option<&ReducedOutput> {
        match self {
            Stage::Reduced { output, .. } | Stage::DotReduced { output, .. } => Some(output),
            _ => None,
        }
    }

    /// The operation that combines the results of two parts.
    pub(super) fn kind(&self) -> Reduce {
        match self {
            Stage::Reduced { kind, .. } | Stage::PerRow { kind, .. } => *kind,
            _ => Reduce::Sum,
        }
    }

    /// Elements times operations for each row.
    pub(super) fn work(&self, rows: usize) -> usize {
        match self {
            Stage::Map { program, shape, .. } => {
                shape.iter().product::<usize>() / rows.max(1) * (program.len() + 2)
            }
            Stage::PerRow { input, .. } | Stage::Reduced { input, .. } => {
                input.shape[1..].iter().product::<usize>() * 2
            }
            Stage::Dot { rows, matrix, .. } => {
                rows.shape[1..].iter().product::<usize>() * (1 + matrix.shape[1])
            }
            Stage::DotReduced { left, right, .. } => left.shape[1] * (1 + right.shape[1]),
        }
    }
}
