//! Promotion, the element type that two arrays share in an operation, and the type of sums.

use covector_kernels::Dtype::{self, *};

/// By row and column in the order of [`Dtype::ALL`]; symmetric.
#[rustfmt::skip]
const PROMOTE: [[Dtype; 14]; 14] = [
    [Bool, U8,   U16,  U32,  U64,  I8,   I16,  I32,  I64,  F16, Bf16, F32, F64, C64],
    [U8,   U8,   U16,  U32,  U64,  I16,  I16,  I32,  I64,  F16, Bf16, F32, F64, C64],
    [U16,  U16,  U16,  U32,  U64,  I32,  I32,  I32,  I64,  F16, Bf16, F32, F64, C64],
    [U32,  U32,  U32,  U32,  U64,  I64,  I64,  I64,  I64,  F16, Bf16, F32, F64, C64],
    [U64,  U64,  U64,  U64,  U64,  F32,  F32,  F32,  F32,  F16, Bf16, F32, F64, C64],
    [I8,   I16,  I32,  I64,  F32,  I8,   I16,  I32,  I64,  F16, Bf16, F32, F64, C64],
    [I16,  I16,  I32,  I64,  F32,  I16,  I16,  I32,  I64,  F16, Bf16, F32, F64, C64],
    [I32,  I32,  I32,  I64,  F32,  I32,  I32,  I32,  I64,  F16, Bf16, F32, F64, C64],
    [I64,  I64,  I64,  I64,  F32,  I64,  I64,  I64,  I64,  F16, Bf16, F32, F64, C64],
    [F16,  F16,  F16,  F16,  F16,  F16,  F16,  F16,  F16,  F16, F32,  F32, F64, C64],
    [Bf16, Bf16, Bf16, Bf16, Bf16, Bf16, Bf16, Bf16, Bf16, F32, Bf16, F32, F64, C64],
    [F32,  F32,  F32,  F32,  F32,  F32,  F32,  F32,  F32,  F32, F32,  F32, F64, C64],
    [F64,  F64,  F64,  F64,  F64,  F64,  F64,  F64,  F64,  F64, F64,  F64, F64, C64],
    [C64,  C64,  C64,  C64,  C64,  C64,  C64,  C64,  C64,  C64, C64,  C64, C64, C64],
];

/// The element type of an operation on arrays of types `a` and `b` (MLX's table: booleans give way, signed and
/// unsigned meet in the next wider signed type, any float beats any integer without widening).
pub fn promote(a: Dtype, b: Dtype) -> Dtype {
    PROMOTE[a as usize][b as usize]
}

/// The type in which sums over values of this type are formed: `float32` for half precision, else the type itself.
pub(crate) fn wide(dtype: Dtype) -> Dtype {
    if is_half(dtype) { F32 } else { dtype }
}

/// Whether it is a 16-bit floating-point type.
pub(crate) fn is_half(dtype: Dtype) -> bool {
    matches!(dtype, F16 | Bf16)
}
