//! Programs as machine code, on x86-64 processors with AVX-512 under Linux.
//!
//! The interpreter of [`program`](crate::program) writes every intermediate value to a tile and reads it back, which takes
//! most of the time of additions and multiplications. A program that runs often, or over many elements, is compiled here
//! in some microseconds. Its values stay in registers, and inputs that broadcast are read in place. Operations of many
//! instructions (`exp`, `tanh`, …) remain calls of the same tile functions: no function is written twice, and the results
//! are those of the interpreter, bit for bit.
//!
//! `asm` encodes instructions, `code_memory` holds code, `schedule` orders a program's operations, `segment` writes loops,
//! `emit` writes the code around them, and `drive` runs the code over rows.

#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

mod asm;
mod code_memory;
mod drive;
mod emit;
mod schedule;
mod segment;
#[cfg(test)]
mod tests;

use super::op::{Code, Op, Reg};
use super::policy::{MachineCode, machine_code};
use crate::dtype::Dtype;
pub(super) use drive::{run, run_and_sum};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// The operations of a program as they were given, and the machine code that they were compiled to.
pub(super) struct Compilable {
    ops: Vec<Op>,
    outputs: Vec<Reg>,
    /// The element type that compiled loops compute in; `None` if no operation can be part of such a loop.
    lanes: Option<Dtype>,
    variants: Variants,
}

impl Compilable {
    pub(super) fn new(inputs: &[Dtype], ops: Vec<Op>, outputs: Vec<Reg>) -> Self {
        Self { lanes: lanes(inputs, &ops), ops, outputs, variants: Variants::default() }
    }

    /// Bytes of the lists.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&self.ops[..]) + size_of_val(&self.outputs[..])
    }
}

/// The layout of an input within the rows of the iteration space.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
enum Access {
    /// Contiguous over all rows.
    Whole,
    /// Contiguous within a row.
    Rows,
    /// One element for the whole row.
    Splat,
}

/// A program to compile, and the layouts and choices that its code is for.
struct Request<'a> {
    inputs: &'a [Dtype],
    ops: &'a [Op],
    outputs: &'a [Reg],
    access: &'a [Access],
    /// The element type that segments compute in.
    lanes: Dtype,
    /// Whether the iteration space has only one element.
    single: bool,
    /// Bit `i`: whether output `i` (of the first 64) is written past the caches.
    stream: u64,
    /// Whether inputs are probably not in a cache, and are prefetched.
    far: bool,
    /// The output that is summed instead of stored, if any.
    sum: Option<usize>,
}

impl Request<'_> {
    /// The register of an operation's result.
    fn reg(&self, op: u32) -> Reg {
        (self.inputs.len() + op as usize) as Reg
    }

    fn dtype(&self, x: Reg) -> Dtype {
        dtype_of(self.inputs, self.ops, x)
    }

    fn is_simple(&self, op: u32) -> bool {
        is_simple(&self.ops[op as usize], self.lanes, |x| self.dtype(x))
    }

    fn is_loadable(&self, x: Reg) -> bool {
        is_loadable(self.dtype(x), self.lanes)
    }

    /// Whether a table entry is an output that is written past the caches.
    fn is_streamed(&self, entry: u32) -> bool {
        let output = (entry as usize).checked_sub(self.inputs.len());
        output.is_some_and(|o| o < self.outputs.len().min(64) && self.stream >> o & 1 == 1)
    }
}

fn dtype_of(inputs: &[Dtype], ops: &[Op], x: Reg) -> Dtype {
    match inputs.get(x as usize) {
        Some(&dtype) => dtype,
        None => ops[x as usize - inputs.len()].dtype,
    }
}

/// Whether values of a type fit the registers of a segment: numbers of the lanes' width, and truth values.
fn is_loadable(dtype: Dtype, lanes: Dtype) -> bool {
    dtype == lanes || dtype == Dtype::Bool || dtype == integer(lanes)
}

/// The integer type of the lanes' width, which can be compared and selected.
fn integer(lanes: Dtype) -> Dtype {
    if lanes == Dtype::F64 { Dtype::I64 } else { Dtype::I32 }
}

/// Whether an operation can be part of a segment that computes in `lanes`.
fn is_simple(op: &Op, lanes: Dtype, dtype: impl Fn(Reg) -> Dtype) -> bool {
    let Some(code) = op.code else { return false };
    let x = op.operands();
    let all = |wanted: Dtype| x.iter().all(|&x| dtype(x) == wanted);
    match code {
        Code::And | Code::Or | Code::Xor | Code::Not => all(Dtype::Bool),
        Code::FromBool => all(Dtype::Bool) && op.dtype == lanes,
        Code::Select => is_loadable(op.dtype, lanes),
        code if code.is_comparison() => all(lanes) || all(integer(lanes)),
        _ => all(lanes),
    }
}

/// The element type that a program's segments compute in: `float32` or `float64`, whichever more operations have; `None` if
/// no operation can be part of a segment.
fn lanes(inputs: &[Dtype], ops: &[Op]) -> Option<Dtype> {
    let count = |lanes| ops.iter().filter(|op| is_simple(op, lanes, |x| dtype_of(inputs, ops, x))).count();
    let (single, double) = (count(Dtype::F32), count(Dtype::F64));
    match single.max(double) {
        0 => None,
        most if most == single => Some(Dtype::F32),
        _ => Some(Dtype::F64),
    }
}

/// A program compiled for one set of layouts and choices, and the next such variant.
struct Variant {
    access: Box<[Access]>,
    single: bool,
    stream: u64,
    far: bool,
    sum: Option<usize>,
    /// `None` if it cannot be compiled.
    compiled: Option<emit::Compiled>,
    next: OnceLock<Box<Variant>>,
}

/// The variants of a program that are compiled so far.
#[derive(Default)]
struct Variants {
    first: OnceLock<Box<Variant>>,
    /// The number of elements that the program has run over.
    ran: AtomicU32,
}

/// The most variants of one program; further ones are interpreted.
const MOST_VARIANTS: usize = 8;
/// A program is compiled after it has run over this number of elements. Before that, interpreting takes less time than
/// compiling.
const WORTH_COMPILING: u32 = 1 << 13;
/// Each run counts at least as this number of elements.
const WORTH_A_RUN: u32 = WORTH_COMPILING / 2;

impl Variants {
    /// Counts a run and returns whether compiled code should be used.
    fn is_worth_it(&self, elements: usize) -> bool {
        match machine_code() {
            MachineCode::Never => return false,
            MachineCode::AtOnce => return true,
            MachineCode::WhenItPays => {}
        }
        let ran = self.ran.load(Relaxed);
        if ran >= WORTH_COMPILING {
            return true;
        }
        let more = u32::try_from(elements).unwrap_or(u32::MAX).max(WORTH_A_RUN);
        self.ran.store(ran.saturating_add(more), Relaxed);
        ran.saturating_add(more) > WORTH_COMPILING
    }

    /// Makes the next run use compiled code, for any number of elements.
    #[cfg(test)]
    fn use_at_once(&self) {
        self.ran.store(WORTH_COMPILING, Relaxed);
    }

    /// The code for a request, compiled if it is new; `None` if it has to be interpreted.
    fn get(&self, request: &Request<'_>) -> Option<&emit::Compiled> {
        let mut cell = &self.first;
        for _ in 0..MOST_VARIANTS {
            let variant = cell.get_or_init(|| {
                Box::new(Variant {
                    access: request.access.into(),
                    single: request.single,
                    stream: request.stream,
                    far: request.far,
                    sum: request.sum,
                    compiled: emit::compile(request),
                    next: OnceLock::new(),
                })
            });
            let same = (variant.single, variant.stream, variant.far, variant.sum)
                == (request.single, request.stream, request.far, request.sum);
            if same && variant.access[..] == *request.access {
                return variant.compiled.as_ref();
            }
            cell = &variant.next;
        }
        None
    }
}
