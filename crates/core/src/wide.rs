//! Half precision is rounded once.
//!
//! A sum in `float16` overflows at 65,504, and a sum of ones in `bfloat16` stops growing at 256. The kernels therefore
//! add up in `float32`, but that is not enough: a mean, a norm, a softmax or a loss must use the sum before it is
//! rounded. So an operation with a sum as an intermediate value converts its arguments to the wide type of [`of`],
//! computes there, and rounds the result to the arguments' type. The function [`rounded_once`] does this. The derivative
//! of such an operation is computed in the wide type as well and rounded once, because it is the derivative of the same
//! conversions and operations.
//!
//! Other element types are not converted. Inside a fused map the conversions cost nothing, because its tiles hold half
//! precision as `float32`.

use crate::array::Array;
use crate::dtype::promote;
use crate::error::Result;
use crate::ops;
use covector_kernels::Dtype;

/// The type in which sums over values of this type are formed: `float32` for half precision, else the type itself.
pub fn of(dtype: Dtype) -> Dtype {
    crate::dtype::wide(dtype)
}

/// Whether `dtype` is a 16-bit floating-point type.
pub fn is_half(dtype: Dtype) -> bool {
    crate::dtype::is_half(dtype)
}

/// The array in the wide type of [`of`].
pub fn widen(x: &Array) -> Array {
    ops::to_dtype(x, of(x.dtype()))
}

/// `f` of the arrays in the wide type of [`of`]. The result is rounded once, to the type that the arrays share.
///
/// ```
/// use covector_core::{Array, Dtype, ops, wide};
/// let x = ops::full(&[1000], 100.0, Dtype::F16);
/// // The sum of the squares is beyond the largest float16.
/// let norm = wide::rounded_once([&x], |[x]| Ok(x.square().sum().sqrt()))?;
/// assert_eq!((norm.dtype(), norm.astype(Dtype::F32).item::<f32>()), (Dtype::F16, 3162.0));
/// # Ok::<(), covector_core::Error>(())
/// ```
///
/// # Errors
/// The errors of `f`.
pub fn rounded_once<const N: usize>(
    inputs: [&Array; N],
    f: impl FnOnce([&Array; N]) -> Result<Array>,
) -> Result<Array> {
    if !inputs.iter().any(|x| is_half(x.dtype())) {
        return f(inputs);
    }
    let shared = inputs.iter().map(|x| x.dtype()).reduce(promote);
    let wide = inputs.map(widen);
    let out = f(wide.each_ref())?;
    Ok(match shared {
        // The result is wide if another argument is.
        Some(dtype) if is_half(dtype) => ops::to_dtype(&out, dtype),
        _ => out,
    })
}
