//! Elementwise operations that are not rows of the tables: choices, conversions, comparisons with a tolerance,
//! and compositions.

use crate::array::Array;
use crate::error::{Error, Result, named};
use crate::ops;
use crate::prim::basic::{ALIAS, AS_TYPE, STOP_GRADIENT};
use crate::prim::complex::{COMPLEX_ABS, CONJUGATE, IMAG, MAKE_COMPLEX, REAL, apply1};
use crate::prim::elementwise::select;
use crate::primitive::Op;
use crate::wide;
use covector_kernels::Dtype;
use smallvec::smallvec;

/// `x` in another element type; itself if it has it already.
pub(crate) fn to_dtype(x: &Array, dtype: Dtype) -> Array {
    if x.dtype() == dtype {
        return x.clone();
    }
    crate::error::expect(Array::apply(Op::Static(&AS_TYPE[dtype as usize]), smallvec![x.clone()]))
}

/// `x` in floating point: integers and truth values become `float32`.
pub(crate) fn to_inexact(x: &Array) -> Array {
    if x.dtype().is_inexact() { x.clone() } else { to_dtype(x, Dtype::F32) }
}

pub(crate) fn complex_abs(z: &Array) -> Result<Array> {
    apply1(&COMPLEX_ABS, z)
}

/// `z/|z|`, 0 for 0.
pub(crate) fn complex_sign(z: &Array) -> Result<Array> {
    let modulus = complex_abs(z)?;
    let zero = ops::try_equal(&modulus, &ops::zero_of(Dtype::F32))?;
    let safe = ops::try_where_(&zero, &ops::constant(1.0, Dtype::F32), &modulus)?;
    ops::try_divide(z, &to_dtype(&safe, Dtype::C64))
}

pub(crate) fn make_complex(re: &Array, im: &Array) -> Result<Array> {
    Array::apply(Op::Static(&MAKE_COMPLEX), smallvec![to_dtype(re, Dtype::F32), to_dtype(im, Dtype::F32)])
}

op! {
    /// Elements of `a` where the condition is true (not zero), of `b` elsewhere.
    ///
    /// The gradient of the branch that was not chosen is zero, but a NaN in *its* derivative still spreads
    /// (0 · NaN): make the argument of that branch harmless first, then choose.
    pub fn where_ / try_where_(condition: &Array, a: &Array, b: &Array) {
        let dtype = crate::dtype::promote(a.dtype(), b.dtype());
        select(to_dtype(condition, Dtype::Bool), to_dtype(a, dtype), to_dtype(b, dtype))
    }

    /// The array in another element type. Between inexact types the gradient passes; others have none.
    pub fn astype / try_astype(x: &Array, dtype: Dtype) {
        Ok(to_dtype(x, dtype))
    }

    /// The value, through which no derivative passes.
    pub fn stop_gradient / try_stop_gradient(x: &Array) {
        if !x.is_tracer() {
            // Nothing is being traced, so there is nothing to stop.
            return Ok(x.clone());
        }
        Array::apply(Op::Static(&STOP_GRADIENT), smallvec![x.clone()])
    }

    /// Each element limited to the range from `low` to `high`; either may be missing.
    pub fn clip / try_clip(x: &Array, low: Option<&Array>, high: Option<&Array>) {
        if low.is_none() && high.is_none() {
            return Err(Error::value("clip", "neither a lower nor an upper limit was given; give at least one"));
        }
        let x = match low {
            Some(low) => ops::try_maximum(x, low)?,
            None => x.clone(),
        };
        match high {
            Some(high) => ops::try_minimum(&x, high),
            None => Ok(x),
        }
    }

    /// The real part.
    pub fn real / try_real(x: &Array) {
        if x.dtype().is_complex() { apply1(&REAL, x) } else { Ok(x.clone()) }
    }

    /// The imaginary part; zeros for a real array.
    pub fn imag / try_imag(x: &Array) {
        if x.dtype().is_complex() { apply1(&IMAG, x) } else { Ok(ops::zeros_like(x)) }
    }

    /// The complex conjugate.
    pub fn conjugate / try_conjugate(x: &Array) {
        if x.dtype().is_complex() { apply1(&CONJUGATE, x) } else { Ok(x.clone()) }
    }

    /// Each element rounded to `decimals` places, halves to even; negative places round to tens, hundreds, ….
    pub fn round / try_round(x: &Array, decimals: i32) once(x) {
        if decimals == 0 || x.dtype() == Dtype::Bool || (decimals > 0 && x.dtype().is_integer()) {
            return ops::try_rint(x);
        }
        let float = to_inexact(x);
        let scale = ops::constant_like(&float, 10f64.powi(decimals.abs()));
        let out = if decimals > 0 {
            ops::try_divide(&ops::try_rint(&ops::try_multiply(&float, &scale)?)?, &scale)?
        } else {
            ops::try_multiply(&ops::try_rint(&ops::try_divide(&float, &scale)?)?, &scale)?
        };
        Ok(to_dtype(&out, x.dtype()))
    }

    /// NaN and infinities replaced: NaN by `nan`, infinities by the given numbers or the type's extremes.
    pub fn nan_to_num / try_nan_to_num(x: &Array, nan: f64, posinf: Option<f64>, neginf: Option<f64>) {
        if !x.dtype().is_float() {
            return if x.dtype().is_complex() {
                Err(Error::dtype("nan_to_num", "complex arrays are not supported; take real() and imag() apart"))
            } else {
                Ok(x.clone())
            };
        }
        let most = match x.dtype() {
            Dtype::F16 => 65504.0,
            Dtype::Bf16 => f64::from(half::bf16::MAX.to_f32()),
            Dtype::F32 => f64::from(f32::MAX),
            _ => f64::MAX,
        };
        let constant = |v: f64| ops::constant_like(x, v);
        let y = ops::try_where_(&ops::try_isnan(x)?, &constant(nan), x)?;
        let y = ops::try_where_(&ops::try_isposinf(x)?, &constant(posinf.unwrap_or(most)), &y)?;
        ops::try_where_(&ops::try_isneginf(x)?, &constant(neginf.unwrap_or(-most)), &y)
    }

    /// Whether `|a − b| ≤ atol + rtol·|b|`, elementwise; equal infinities are close, NaNs only if `equal_nan`.
    pub fn isclose / try_isclose(a: &Array, b: &Array, rtol: f64, atol: f64, equal_nan: bool) {
        let dtype = crate::dtype::promote(a.dtype(), b.dtype());
        let dtype = if dtype.is_inexact() { wide::of(dtype) } else { Dtype::F32 };
        let (a, b) = (to_dtype(a, dtype), to_dtype(b, dtype));
        let away = ops::try_abs(&ops::try_subtract(&a, &b)?)?;
        let size = ops::try_abs(&b)?;
        let limit = ops::try_add(&ops::constant_like(&size, atol), &ops::try_multiply(&ops::constant_like(&size, rtol), &size)?)?;
        let near = ops::try_less_equal(&away, &limit)?;
        let finite = ops::try_logical_and(&ops::try_isfinite(&a)?, &ops::try_isfinite(&b)?)?;
        let close = ops::try_logical_or(&ops::try_logical_and(&near, &finite)?, &ops::try_equal(&a, &b)?)?;
        if equal_nan {
            let both = ops::try_logical_and(&ops::try_isnan(&a)?, &ops::try_isnan(&b)?)?;
            return ops::try_logical_or(&close, &both);
        }
        Ok(close)
    }

    /// Whether all elements are close; see [`isclose`].
    pub fn allclose / try_allclose(a: &Array, b: &Array, rtol: f64, atol: f64, equal_nan: bool) {
        ops::try_all(&try_isclose(a, b, rtol, atol, equal_nan)?)
    }

    /// Whether shapes and all elements are equal; NaNs only if `equal_nan`.
    pub fn array_equal / try_array_equal(a: &Array, b: &Array, equal_nan: bool) {
        if a.shape() != b.shape() {
            return Ok(Array::scalar(false));
        }
        let same = ops::try_equal(a, b)?;
        if equal_nan && a.dtype().is_inexact() && b.dtype().is_inexact() {
            let both = ops::try_logical_and(&ops::try_isnan(a)?, &ops::try_isnan(b)?)?;
            return ops::try_all(&ops::try_logical_or(&same, &both)?);
        }
        ops::try_all(&same)
    }

    /// Whether exactly one of the two is true (not zero).
    pub fn logical_xor / try_logical_xor(a: &Array, b: &Array) {
        ops::try_not_equal(&to_dtype(a, Dtype::Bool), &to_dtype(b, Dtype::Bool))
    }

    /// The array itself, as a node of its own.
    pub fn copy / try_copy(x: &Array) {
        Array::apply(Op::Static(&ALIAS), smallvec![x.clone()])
    }
}

/// [`floor_divide`](crate::ops::floor_divide) and [`remainder`](crate::ops::remainder) together.
///
/// # Errors
/// When the shapes do not broadcast or the element type is not supported.
pub fn try_divmod(a: &Array, b: &Array) -> Result<(Array, Array)> {
    named("divmod", || Ok((ops::try_floor_divide(a, b)?, ops::try_remainder(a, b)?)))
}

/// [`floor_divide`](crate::ops::floor_divide) and [`remainder`](crate::ops::remainder) together.
///
/// # Panics
/// When the shapes do not broadcast or the element type is not supported.
#[track_caller]
pub fn divmod(a: &Array, b: &Array) -> (Array, Array) {
    crate::error::expect(try_divmod(a, b))
}
