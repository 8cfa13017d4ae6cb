//! Chains as machine code, on x86-64 processors with AVX-512 under Linux.
//!
//! The interpreter of [`fused`](crate::program) writes every intermediate value to a tile and reads it back: for additions
//! and multiplications that is most of the time. A chain that runs often, or over many elements, is compiled here in some
//! microseconds; its values stay in registers, and inputs that broadcast are read where they are. Operations with
//! functions of many instructions (`exp`, `tanh`, …) stay calls of the same tile functions, so that nothing is written
//! twice and the results are, bit for bit, the interpreter's.
//!
//! `asm` encodes instructions, `memory` holds code, `schedule` orders a chain's operations, `segment` writes loops, `emit`
//! the code around them, and `drive` feeds it with rows.

#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

mod asm;
mod drive;
mod emit;
mod memory;
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

/// How an input lies, for each row.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
enum Kind {
    /// Side by side over all rows.
    Whole,
    /// Side by side within a row.
    Rows,
    /// One element for the row.
    Splat,
}

/// What is to be compiled.
struct Request<'a> {
    inputs: &'a [Dtype],
    ops: &'a [Op],
    outputs: &'a [Reg],
    kinds: &'a [Kind],
    /// The type that segments compute in.
    lanes: Dtype,
    /// Whether there is one element only.
    single: bool,
    /// Which of the first 64 outputs are written past the caches.
    stream: u64,
    /// Whether inputs are probably not in a cache.
    far: bool,
    /// An output that is added up instead of stored.
    sum: Option<usize>,
}

impl Request<'_> {
    /// The register that an operation makes.
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

    /// Whether an entry of the table is written past the caches.
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

/// Whether a segment can hold values of a type: numbers of the lanes' width, and truth values.
fn is_loadable(dtype: Dtype, lanes: Dtype) -> bool {
    dtype == lanes || dtype == Dtype::Bool || dtype == integer(lanes)
}

/// The integers of the lanes' width, which can be compared and chosen.
fn integer(lanes: Dtype) -> Dtype {
    if lanes == Dtype::F64 { Dtype::I64 } else { Dtype::I32 }
}

/// Whether an operation can be an instruction of a segment that computes in `lanes`.
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

/// The type that a chain's segments compute in: of the two that there are, the one more operations have; `None` if there
/// is nothing that could be a segment.
fn lanes(inputs: &[Dtype], ops: &[Op]) -> Option<Dtype> {
    let count = |lanes| ops.iter().filter(|op| is_simple(op, lanes, |x| dtype_of(inputs, ops, x))).count();
    let (single, double) = (count(Dtype::F32), count(Dtype::F64));
    match single.max(double) {
        0 => None,
        most if most == single => Some(Dtype::F32),
        _ => Some(Dtype::F64),
    }
}

/// A chain compiled for one kind of operands, and the next kind.
struct Variant {
    kinds: Box<[Kind]>,
    single: bool,
    stream: u64,
    far: bool,
    sum: Option<usize>,
    /// `None` if it could not be compiled.
    compiled: Option<emit::Compiled>,
    next: OnceLock<Box<Variant>>,
}

/// What a chain was compiled to so far.
#[derive(Default)]
struct Variants {
    first: OnceLock<Box<Variant>>,
    /// How much it ran, in elements.
    ran: AtomicU32,
}

/// Kinds of operands that one chain is compiled for; more are interpreted.
const MOST_VARIANTS: usize = 8;
/// A chain is compiled when it has run over so many elements, or so often. Until then the interpreter is as fast as
/// compiling would be.
const WORTH_COMPILING: u32 = 1 << 13;
const WORTH_A_RUN: u32 = WORTH_COMPILING / 2;

impl Variants {
    /// Counts a run; whether compiled code should be used.
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

    /// Has the next run use compiled code, however short.
    #[cfg(test)]
    fn use_at_once(&self) {
        self.ran.store(WORTH_COMPILING, Relaxed);
    }

    /// The code for this kind of operands.
    fn get(&self, request: &Request<'_>) -> Option<&emit::Compiled> {
        let mut cell = &self.first;
        for _ in 0..MOST_VARIANTS {
            let variant = cell.get_or_init(|| {
                Box::new(Variant {
                    kinds: request.kinds.into(),
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
            if same && variant.kinds[..] == *request.kinds {
                return variant.compiled.as_ref();
            }
            cell = &variant.next;
        }
        None
    }
}
