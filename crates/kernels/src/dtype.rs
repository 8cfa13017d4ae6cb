//! Element types, and the Rust types of their elements.

use half::{bf16, f16};
use num_complex::Complex;

/// A complex number of two `f32`, the element of [`Dtype::C64`].
pub type C64 = Complex<f32>;

/// The type of an array's elements.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Dtype {
    /// A truth value, one byte, 0 or 1.
    Bool,
    /// 8-bit unsigned integer.
    U8,
    /// 16-bit unsigned integer.
    U16,
    /// 32-bit unsigned integer.
    U32,
    /// 64-bit unsigned integer.
    U64,
    /// 8-bit signed integer.
    I8,
    /// 16-bit signed integer.
    I16,
    /// 32-bit signed integer.
    I32,
    /// 64-bit signed integer.
    I64,
    /// IEEE 754 half precision.
    F16,
    /// Brain floating point: the upper half of an `f32`.
    Bf16,
    /// IEEE 754 single precision.
    F32,
    /// IEEE 754 double precision.
    F64,
    /// Complex number of two `f32`.
    C64,
}

impl Dtype {
    /// Every element type, in the order of the enum.
    pub const ALL: [Dtype; 14] = [
        Dtype::Bool,
        Dtype::U8,
        Dtype::U16,
        Dtype::U32,
        Dtype::U64,
        Dtype::I8,
        Dtype::I16,
        Dtype::I32,
        Dtype::I64,
        Dtype::F16,
        Dtype::Bf16,
        Dtype::F32,
        Dtype::F64,
        Dtype::C64,
    ];

    /// Bytes per element.
    pub const fn size(self) -> usize {
        match self {
            Dtype::Bool | Dtype::U8 | Dtype::I8 => 1,
            Dtype::U16 | Dtype::I16 | Dtype::F16 | Dtype::Bf16 => 2,
            Dtype::U32 | Dtype::I32 | Dtype::F32 => 4,
            Dtype::U64 | Dtype::I64 | Dtype::F64 | Dtype::C64 => 8,
        }
    }

    /// The type in which elements are summed: `float32` for half precision, else the type itself.
    pub(crate) const fn accumulator(self) -> Dtype {
        match self {
            Dtype::F16 | Dtype::Bf16 => Dtype::F32,
            other => other,
        }
    }

    /// The name that NumPy and MLX use, such as `float32`.
    pub const fn name(self) -> &'static str {
        match self {
            Dtype::Bool => "bool",
            Dtype::U8 => "uint8",
            Dtype::U16 => "uint16",
            Dtype::U32 => "uint32",
            Dtype::U64 => "uint64",
            Dtype::I8 => "int8",
            Dtype::I16 => "int16",
            Dtype::I32 => "int32",
            Dtype::I64 => "int64",
            Dtype::F16 => "float16",
            Dtype::Bf16 => "bfloat16",
            Dtype::F32 => "float32",
            Dtype::F64 => "float64",
            Dtype::C64 => "complex64",
        }
    }

    /// Whether this is a real floating-point type.
    pub const fn is_float(self) -> bool {
        matches!(self, Dtype::F16 | Dtype::Bf16 | Dtype::F32 | Dtype::F64)
    }

    /// Whether this is a complex type.
    pub const fn is_complex(self) -> bool {
        matches!(self, Dtype::C64)
    }

    /// Whether derivatives exist for this type: real and complex floating point.
    pub const fn is_inexact(self) -> bool {
        self.is_float() || self.is_complex()
    }

    /// Whether this is a signed or unsigned integer type (`bool` is not).
    pub const fn is_integer(self) -> bool {
        self.is_signed_integer() || self.is_unsigned_integer()
    }

    /// Whether this is a signed integer type.
    pub const fn is_signed_integer(self) -> bool {
        matches!(self, Dtype::I8 | Dtype::I16 | Dtype::I32 | Dtype::I64)
    }

    /// Whether this is an unsigned integer type (`bool` is not).
    pub const fn is_unsigned_integer(self) -> bool {
        matches!(self, Dtype::U8 | Dtype::U16 | Dtype::U32 | Dtype::U64)
    }
}

impl std::fmt::Display for Dtype {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

mod sealed {
    pub trait Sealed {}
}

/// A Rust type that is the element of some [`Dtype`].
pub trait Element:
    Copy + Default + Send + Sync + PartialEq + std::fmt::Debug + sealed::Sealed + 'static
{
    /// The element type of values of this Rust type.
    const DTYPE: Dtype;
}

macro_rules! elements {
    ($($t:ty => $d:ident),* $(,)?) => {$(
        impl sealed::Sealed for $t {}
        impl Element for $t {
            const DTYPE: Dtype = Dtype::$d;
        }
    )*};
}
elements! {
    bool => Bool, u8 => U8, u16 => U16, u32 => U32, u64 => U64, i8 => I8, i16 => I16, i32 => I32,
    i64 => I64, f16 => F16, bf16 => Bf16, f32 => F32, f64 => F64, C64 => C64,
}

/// Runs `$body` with the type alias `$t` bound to the Rust type of the run-time [`Dtype`] `$dtype`.
///
/// Kernels use only this macro to go from a run-time element type to a compile-time one.
#[macro_export]
macro_rules! with_dtype {
    ($dtype:expr, $t:ident => $body:expr) => {
        match $dtype {
            $crate::Dtype::Bool => {
                type $t = bool;
                $body
            }
            $crate::Dtype::U8 => {
                type $t = u8;
                $body
            }
            $crate::Dtype::U16 => {
                type $t = u16;
                $body
            }
            $crate::Dtype::U32 => {
                type $t = u32;
                $body
            }
            $crate::Dtype::U64 => {
                type $t = u64;
                $body
            }
            $crate::Dtype::I8 => {
                type $t = i8;
                $body
            }
            $crate::Dtype::I16 => {
                type $t = i16;
                $body
            }
            $crate::Dtype::I32 => {
                type $t = i32;
                $body
            }
            $crate::Dtype::I64 => {
                type $t = i64;
                $body
            }
            $crate::Dtype::F16 => {
                type $t = $crate::f16;
                $body
            }
            $crate::Dtype::Bf16 => {
                type $t = $crate::bf16;
                $body
            }
            $crate::Dtype::F32 => {
                type $t = f32;
                $body
            }
            $crate::Dtype::F64 => {
                type $t = f64;
                $body
            }
            $crate::Dtype::C64 => {
                type $t = $crate::C64;
                $body
            }
        }
    };
}
