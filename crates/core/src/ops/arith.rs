//! Elementwise operations that are not rows of the tables: choices, conversions, comparisons with a tolerance,
//! and compositions.

use crate::array::Array;
use crate::error::{Error, Result, named};
use crate::ops;
use crate::prim::basic::{ALIAS, AS_TYPE, STOP_GRADIENT};
use crate::prim::complex::{COMPLEX_ABS, COMPLEX_SIGN, CONJUGATE, IMAG, MAKE_COMPLEX, REAL, apply1};
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

/// The same of an array that is not needed otherwise: one that has the type already is handed on without counting it anew.
pub(crate) fn into_dtype(x: Array, dtype: Dtype) -> Array {
    if x.dtype() == dtype { x } else { to_dtype(&x, dtype) }
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
    apply1(&COMPLEX_SIGN, z)
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
        if x.dtype().is_integer() {
            return round_integers(x, decimals.unsigned_abs());
        }
        if x.dtype().is_complex() {
            // A quotient of complex numbers would spread infinities and NaN from one part to the other.
            let part = |x: Array| try_round(&x, decimals);
            return make_complex(&part(try_real(x)?)?, &part(try_imag(x)?)?);
        }
        // The scale is soon more than half precision holds.
        let wide = if x.dtype() == Dtype::F64 { x.clone() } else { to_dtype(x, Dtype::F32) };
        let scale = ops::constant_like(&wide, 10f64.powi(decimals.saturating_abs()));
        let has_room = 10f64.powi(decimals.saturating_abs())
            <= if wide.dtype() == Dtype::F64 { f64::MAX } else { f64::from(f32::MAX) };
        // A number without so many places, or with as great ones, is round already; infinities and NaN stay, too.
        let out = match (decimals > 0, has_room) {
            (true, false) => wide,
            (true, true) => {
                let scaled = ops::try_multiply(&wide, &scale)?;
                let rounded = ops::try_divide(&ops::try_rint(&scaled)?, &scale)?;
                ops::try_where_(&ops::try_isfinite(&scaled)?, &rounded, &wide)?
            }
            (false, true) => ops::try_multiply(&ops::try_rint(&ops::try_divide(&wide, &scale)?)?, &scale)?,
            // All that is finite is less than half of such a place.
            (false, false) => {
                let zero = ops::try_multiply(&wide, &ops::zero_of(wide.dtype()))?;
                ops::try_where_(&ops::try_isfinite(&wide)?, &zero, &wide)?
            }
        };
        Ok(to_dtype(&out, x.dtype()))
    }

    /// NaN and infinities replaced: NaN by `nan`, infinities by the given numbers or the type's extremes; in complex
    /// arrays part by part.
    pub fn nan_to_num / try_nan_to_num(x: &Array, nan: f64, posinf: Option<f64>, neginf: Option<f64>) {
        if !x.dtype().is_float() {
            if !x.dtype().is_complex() {
                return Ok(x.clone());
            }
            let part = |x: Array| try_nan_to_num(&x, nan, posinf, neginf);
            return make_complex(&part(try_real(x)?)?, &part(try_imag(x)?)?);
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

/// Integers rounded to tens, hundreds, …, halves to even, in integers: single precision would lose digits.
fn round_integers(x: &Array, places: u32) -> Result<Array> {
    let most = match x.dtype() {
        Dtype::I8 => i8::MAX as u64,
        Dtype::I16 => i16::MAX as u64,
        Dtype::I32 => i32::MAX as u64,
        Dtype::I64 => i64::MAX as u64,
        Dtype::U8 => u8::MAX.into(),
        Dtype::U16 => u16::MAX.into(),
        Dtype::U32 => u32::MAX.into(),
        _ => u64::MAX,
    };
    let Some(scale) = 10u64.checked_pow(places).filter(|&scale| scale <= most) else {
        // Every number is less than such a place; and a greater one would not fit.
        return Ok(ops::zeros_like(x));
    };
    let number = |v: u64| to_dtype(&Array::scalar(v), x.dtype());
    let (scale, half, one) = (number(scale), number(scale / 2), number(1));
    let rest = ops::try_remainder(x, &scale)?;
    let odd = ops::try_equal(&ops::try_bitwise_and(&ops::try_floor_divide(x, &scale)?, &one)?, &one)?;
    let tie = ops::try_logical_and(&ops::try_equal(&rest, &half)?, &odd)?;
    let up = ops::try_logical_or(&ops::try_greater(&rest, &half)?, &tie)?;
    let down = ops::try_subtract(x, &rest)?;
    ops::try_add(&down, &ops::try_where_(&up, &scale, &ops::zero_of(x.dtype()))?)
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
