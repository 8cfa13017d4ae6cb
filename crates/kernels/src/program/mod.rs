//! Programs: elementwise operations run together, tile by tile.
//!
//! A [`Program`] is a list of tile functions over numbered registers. It runs over tiles of 512 elements, which stay in
//! the first-level cache: intermediate values are written and read there and never reach main memory. On some machines a
//! program that runs often is compiled to machine code (see `machine`), with the same results.

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

/// Elementwise operations over inputs that broadcast to one shape.
pub struct Program {
    inputs: Vec<Dtype>,
    steps: Vec<Step>,
    /// The most scratch tiles in use at the same time.
    scratch: usize,
    outputs: Vec<Dtype>,
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    compilable: Compilable,
}

impl Program {
    /// Bytes of the program, without machine code.
    pub fn bytes(&self) -> usize {
        let types = size_of_val(&self.inputs[..]) + size_of_val(&self.outputs[..]);
        let listed = size_of_val(&self.steps[..]) + types;
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

    /// The element types of the outputs.
    pub fn outputs(&self) -> &[Dtype] {
        &self.outputs
    }

    /// Number of operations.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether there are no operations.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Runs the program over `shape`. Inputs broadcast to it; outputs have this shape, perhaps with gaps between rows.
    ///
    /// An output may be the memory of a row-major input of its shape and type if it depends on every operation that reads
    /// that input. Operations that do not depend on each other run in any order.
    ///
    /// # Panics
    /// If the operands' number, types or sizes differ from those that the program was built for.
    pub fn run(&self, shape: &[usize], inputs: &[View<'_>], outputs: &[Out<'_>]) {
        assert!(
            inputs.len() == self.inputs.len() && outputs.len() == self.outputs.len(),
            "program: {} inputs and {} outputs were given for {} and {}",
            inputs.len(),
            outputs.len(),
            self.inputs.len(),
            self.outputs.len()
        );
        for (x, &dtype) in inputs.iter().zip(&self.inputs) {
            assert_eq!(x.dtype(), dtype, "program: an input has another type");
        }
        let n: usize = shape.iter().product();
        assert!(outputs.iter().all(|o| o.size() == n), "program: an output has another size");
        if n == 0 {
            return;
        }
        // A part should take some tens of microseconds; waking a thread for less does not pay.
        let least = (1 << 14) / (self.steps.len() + 2);
        parallel_ranges(n, least, &|part| self.run_range(shape, inputs, outputs, part.start, part.end));
    }

    /// Runs the elements of the linear index from `start` to `end`, on this thread.
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

    /// As [`Program::run_range`], but sums one output (of `float32` or `float64`) instead of storing it. The sum is equal to
    /// that of a reduction of the stored elements, and is written to the given address. False, and nothing is done, without
    /// machine code for it.
    ///
    /// # Safety
    /// An element of the output's type can be written to the address.
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
