//! The operations of programs: tile functions, and the codes of those that the processor has an instruction for.

use crate::dtype::Dtype;
use crate::simd::{Tile1, Tile2, Tile3};

/// A tile function of one to three operands.
#[derive(Clone, Copy)]
pub enum TileFn {
    /// One operand.
    One(Tile1),
    /// Two operands.
    Two(Tile2),
    /// Three operands.
    Three(Tile3),
}

/// The code of an operation that the processor has an instruction for. Such an operation is compiled to instructions, over
/// `float32`, `float64` or truth values, with exactly the results of its tile function.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Code {
    /// `a + b`.
    Add,
    /// `a − b`.
    Subtract,
    /// `a · b`.
    Multiply,
    /// `a / b`.
    Divide,
    /// `a²`.
    Square,
    /// `√a`.
    SquareRoot,
    /// `1/a`.
    Reciprocal,
    /// `−a`.
    Negative,
    /// `|a|`.
    Absolute,
    /// The logistic function, from its tail: `1 + a` where the sign of `a` is negative, else `a`.
    SigmoidOfTail,
    /// The slope of the logistic function, from its tail: `|a| − a²`, rounded once.
    SlopeOfTail,
    /// `a` if it is the larger or NaN, else `b`.
    Maximum,
    /// `a` if it is the smaller or NaN, else `b`.
    Minimum,
    /// `a = b`.
    Equal,
    /// `a ≠ b`.
    NotEqual,
    /// `a < b`.
    Less,
    /// `a ≤ b`.
    LessEqual,
    /// `a > b`.
    Greater,
    /// `a ≥ b`.
    GreaterEqual,
    /// `b` where the truth value `a` holds, else `c`.
    Select,
    /// Both truth values.
    And,
    /// At least one of two truth values.
    Or,
    /// One of two truth values.
    Xor,
    /// The opposite truth value.
    Not,
    /// 1 for true, 0 for false.
    FromBool,
}

impl Code {
    /// Whether the result is a truth value made from numbers.
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    pub(crate) fn is_comparison(self) -> bool {
        use Code::*;
        matches!(self, Equal | NotEqual | Less | LessEqual | Greater | GreaterEqual)
    }
}

/// A register: an input, or the result of an operation.
pub type Reg = u32;

/// An operation of a program, as it was given to the builder.
pub(crate) struct Op {
    pub(crate) tile: TileFn,
    #[cfg_attr(
        not(all(target_arch = "x86_64", target_os = "linux")),
        expect(dead_code, reason = "only machine code reads it")
    )]
    pub(crate) code: Option<Code>,
    pub(super) from: [Reg; 3],
    pub(super) count: u8,
    /// The element type of the result.
    pub(crate) dtype: Dtype,
}

impl Op {
    pub(crate) fn operands(&self) -> &[Reg] {
        &self.from[..self.count as usize]
    }
}
