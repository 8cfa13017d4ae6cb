//! Parameters of random distributions.

use crate::array::Array;
use crate::ops;
use covector_kernels::Dtype;

/// A parameter of a distribution: a number, or an array that broadcasts with the shape asked for.
#[derive(Clone, Debug)]
pub enum Operand {
    /// A number.
    Number(f64),
    /// An integer, which bounds integers of any width exactly.
    Int(i128),
    /// An array. Derivatives pass to it.
    Array(Array),
}

macro_rules! numbers {
    ($variant:ident: $($t:ty)*) => {$(
        impl From<$t> for Operand {
            fn from(value: $t) -> Self {
                Operand::$variant(value as _)
            }
        }
    )*};
}
numbers!(Number: f64 f32);
numbers!(Int: i8 i16 i32 i64 isize u8 u16 u32 u64 usize);

impl From<&Array> for Operand {
    fn from(array: &Array) -> Self {
        Operand::Array(array.clone())
    }
}

impl From<Array> for Operand {
    fn from(array: Array) -> Self {
        Operand::Array(array)
    }
}

impl Operand {
    /// The parameter as an array of a given type.
    pub(crate) fn array(&self, dtype: Dtype) -> Array {
        match (self, self.number()) {
            // A number counts as single precision, unless the result has double.
            (_, Some(v)) if dtype == Dtype::F64 => ops::constant(v, dtype),
            (_, Some(v)) => ops::constant(f64::from(v as f32), dtype),
            (Operand::Array(x), None) => ops::to_dtype(x, dtype),
            _ => unreachable!("what is no number is an array"),
        }
    }

    /// The number, if it is one.
    pub(crate) fn number(&self) -> Option<f64> {
        match self {
            Operand::Number(v) => Some(*v),
            Operand::Int(v) => Some(*v as f64),
            Operand::Array(_) => None,
        }
    }

    pub(crate) fn shape(&self) -> &[usize] {
        match self {
            Operand::Number(_) | Operand::Int(_) => &[],
            Operand::Array(x) => x.shape(),
        }
    }

    pub(crate) fn is(&self, number: f64) -> bool {
        self.number() == Some(number)
    }
}
