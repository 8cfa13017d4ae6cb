//! Chains of elementwise operations run tile by tile.
//!
//! A [`Program`] is a list of tile functions over numbered registers. It runs over tiles of 512 elements that
//! stay in the first-level cache: an intermediate value is written and read there and never meets main memory.
//! Where the machine allows, what runs often is compiled to machine code (see `machine`), with the same results.

mod builder;
mod interpret;
mod machine;
mod op;
mod policy;
mod scratch;

pub use builder::Builder;
pub(crate) use op::Op;
pub use op::{Code, Reg, TileFn};
pub use policy::{MachineCode, machine_code, set_machine_code};

use crate::dtype::Dtype;
use crate::strided::{Out, View};
use crate::threads::parallel_ranges;
use interpret::Step;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
use machine::Compilable;

/// A chain of elementwise operations over inputs that broadcast to one shape.
pub struct Program {
    inputs: Vec<Dtype>,
    steps: Vec<Step>,
    /// Scratch tiles in use at once.
    scratch: usize,
    outputs: usize,
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    compilable: Compilable,
}

impl Program {
    /// Bytes that it holds, apart from machine code.
    pub fn bytes(&self) -> usize {
        let listed = size_of_val(&self.steps[..]) + size_of_val(&self.inputs[..]);
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        let source = self.compilable.bytes();
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
        if machine::run(&self.inputs, &self.compilable, shape, inputs, outputs, start..end) {
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
        return unsafe {
            machine::run_and_sum(&self.inputs, &self.compilable, shape, inputs, outputs, range, sum)
        };
        #[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
        {
            let _ = (shape, inputs, outputs, range, sum);
            false
        }
    }
}
