//! The stages of a region: their inputs, their outputs and where these are stored.

use crate::dtype::Dtype;
use crate::program::Program;
use crate::reduce::Reduce;

/// Where a value of a region lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Storage {
    /// Input `i` of the region.
    Input(usize),
    /// Output `i` of the region, whole in memory.
    Output(usize),
    /// Scratch memory, one block of rows at a time.
    Scratch(usize),
}

/// What a stage reads. Strides and shift count elements from the start of the whole value, also where only a block
/// of it exists.
pub struct StageInput {
    /// Where it is; the next three say the layout of an output or of scratch memory; those of an input come with its view.
    pub storage: Storage,
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
pub struct StageOutput {
    /// An output, or scratch memory.
    pub storage: Storage,
    /// The element type.
    pub dtype: Dtype,
    /// Elements for each row.
    pub row: usize,
}

/// One pass over a block.
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
    /// A reduction within rows: the source's shape is `[rows, …]`, `axes` do not contain 0.
    PerRow {
        /// What is computed.
        kind: Reduce,
        /// The input.
        input: StageInput,
        /// The reduced axes.
        axes: Vec<usize>,
        /// The result.
        output: StageOutput,
    },
    /// A reduction over all rows and perhaps more: the source's shape is `[rows, …]`, `axes` contain 0.
    Reduced {
        /// What is computed.
        kind: Reduce,
        /// The input.
        input: StageInput,
        /// The reduced axes.
        axes: Vec<usize>,
        /// The result.
        output: ReducedOutput,
    },
    /// Rows `[rows, k]` times one matrix `[k, n]`, which is an input.
    Dot {
        /// The rows.
        rows: StageInput,
        /// The matrix.
        matrix: StageInput,
        /// The result.
        output: StageOutput,
    },
    /// `[rows, m]` transposed times `[rows, n]`.
    DotReduced {
        /// The one.
        left: StageInput,
        /// The other.
        right: StageInput,
        /// The result.
        output: ReducedOutput,
    },
}

/// The result of all rows together; later stages cannot read it.
pub struct ReducedOutput {
    /// The number of the output.
    pub index: usize,
    /// Its elements.
    pub size: usize,
    /// Its element type.
    pub dtype: Dtype,
}

impl Stage {
    /// All that it reads.
    pub fn inputs(&self) -> impl Iterator<Item = &StageInput> {
        let other = match self {
            Stage::Dot { matrix: other, .. } | Stage::DotReduced { right: other, .. } => Some(other),
            _ => None,
        };
        self.inputs_by_row().iter().chain(other)
    }

    /// What it reads row by row.
    pub(super) fn inputs_by_row(&self) -> &[StageInput] {
        match self {
            Stage::Map { inputs, .. } => inputs,
            Stage::PerRow { input, .. } | Stage::Reduced { input, .. } => std::slice::from_ref(input),
            // The matrix is not divided into rows.
            Stage::Dot { rows, .. } => std::slice::from_ref(rows),
            // The right one is narrow.
            Stage::DotReduced { left, .. } => std::slice::from_ref(left),
        }
    }

    /// Whether it reads a scratch.
    pub(super) fn reads_scratch(&self, scratch: usize) -> bool {
        self.inputs().any(|s| s.storage == Storage::Scratch(scratch))
    }

    /// What it writes for each row.
    pub fn outputs(&self) -> &[StageOutput] {
        match self {
            Stage::Map { outputs, .. } => outputs,
            Stage::PerRow { output, .. } | Stage::Dot { output, .. } => std::slice::from_ref(output),
            Stage::Reduced { .. } | Stage::DotReduced { .. } => &[],
        }
    }

    /// The result of all rows together, if it is one.
    pub fn reduced(&self) -> Option<&ReducedOutput> {
        match self {
            Stage::Reduced { output, .. } | Stage::DotReduced { output, .. } => Some(output),
            _ => None,
        }
    }

    /// How results of parts are joined.
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
