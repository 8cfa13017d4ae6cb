//! Elementwise operations that are not rows of the tables: choices, conversions, comparisons with a tolerance,
//! and compositions.

use crate::array::Array;
use crate::error::{Error, Result};
use crate::ops;
use crate::ops::basic::{ALIAS, AS_TYPE, STOP_GRADIENT};
use crate::ops::block::op;
use crate::ops::elementwise::complex::{
    COMPLEX_ABS, COMPLEX_SIGN, CONJUGATE, IMAG, MAKE_COMPLEX, REAL, apply1,
};
use crate::ops::elementwise::select;
use crate::ops::spec::{Beside, Paired, Value};
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

pub(crate) fn make_complex(re: &Array, im: &Array) -> Result<Array> {
    Array::apply(Op::Static(&MAKE_COMPLEX), smallvec![to_dtype(re, Dtype::F32), to_dtype(im, Dtype::F32)])
}

op! {
    /// The absolute value; for complex arrays the modulus, a `float32` array. The derivative at 0 is 0.
    pub fn abs / try_abs(x: &Array)
    python abs(a: Value, /, *) + method
    samples {
        [positive([2, 3])] |x| try_abs(x);
    }
    {
        if x.dtype().is_complex() { apply1(&COMPLEX_ABS, x) } else { ops::try_real_abs(x) }
    }

    /// The sign: −1, 0 or 1; for complex arrays `z/|z|`, and 0 for 0.
    pub fn sign / try_sign(x: &Array)
    python sign(a: Value, /, *)
    samples {
        flat [positive([2, 3])] |x| try_sign(x);
    }
    {
        if x.dtype().is_complex() { apply1(&COMPLEX_SIGN, x) } else { ops::try_real_sign(x) }
    }

    /// The array itself: the operator `+x`.
    pub fn positive / try_positive(x: &Array)
    python positive(a: Value, /, *)
    samples {
        [real([3])] |x| try_positive(x);
    }
    {
        Ok(x.clone())
    }

    /// Quotient, rounded down, and remainder: `floor_divide` and
    /// `remainder` together.
    pub fn divmod / try_divmod(a: &Array, b: &Array) -> ((Array, Array))
    python divmod(a: Paired, b: Paired) -> List
    samples {
        [input([2, 3], Kind::Real(0.2, 0.8)), input([3], Kind::Real(1.0, 2.0))] |x, y| try_divmod(x, y);
    }
    {
        Ok((ops::try_floor_divide(a, b)?, ops::try_remainder(a, b)?))
    }

    /// Elements of `x` where the condition is true (not zero), of `y` elsewhere.
    ///
    /// The gradient of the branch that was not chosen is zero, but a NaN in *its* derivative still spreads
    /// (0 · NaN): make the argument of that branch harmless first, then choose.
    pub fn where_ / try_where_(condition: &Array, x: &Array, y: &Array)
    python where(condition: Value, x: Paired, y: Paired, /, *)
    samples {
        [input([2, 1], Kind::Bool), real([3]), real([2, 3])] |x, y, z| try_where_(x, y, z);
    }
    {
        let dtype = crate::dtype::promote(x.dtype(), y.dtype());
        select(to_dtype(condition, Dtype::Bool), to_dtype(x, dtype), to_dtype(y, dtype))
    }

    /// The array in another element type. Between inexact types the gradient passes; others have none.
    pub fn astype / try_astype(x: &Array, dtype: Dtype)
    python astype(a: Value, dtype: Dtype, /) + method
    samples {
        [real([3])] |x| try_astype(&try_astype(x, Dtype::F64)?, x.dtype());
    }
    {
        Ok(to_dtype(x, dtype))
    }

    /// The value, through which no derivative passes.
    pub fn stop_gradient / try_stop_gradient(x: &Array)
    samples {
        flat [real([3])] |x| try_stop_gradient(x);
    }
    {
        if !x.is_tracer() {
            // Nothing is being traced, so there is nothing to stop.
            return Ok(x.clone());
        }
        Array::apply(Op::Static(&STOP_GRADIENT), smallvec![x.clone()])
    }

    /// Each element limited to the range from `a_min` to `a_max`; either may be missing.
    pub fn clip / try_clip(x: &Array, a_min: Option<&Array>, a_max: Option<&Array>)
    python clip(a: Value, /, a_min: Option<Beside> = None, a_max: Option<Beside> = None, *)
    samples {
        [distinct([2, 3]), input([], Kind::Real(-0.7, -0.6)), input([3], Kind::Real(0.6, 0.7))] |x, y, z| try_clip(x, Some(y), Some(z));
    }
    {
        if a_min.is_none() && a_max.is_none() {
            return Err(Error::value("clip", "neither a lower nor an upper limit was given; give at least one"));
        }
        let x = match a_min {
            Some(low) => ops::try_maximum(x, low)?,
            None => x.clone(),
        };
        match a_max {
            Some(high) => ops::try_minimum(&x, high),
            None => Ok(x),
        }
    }

    /// The real part.
    pub fn real / try_real(x: &Array)
    python real(a: Array, /, *)
    samples {
        [real([3])] |x| try_real(x);
    }
    {
        if x.dtype().is_complex() { apply1(&REAL, x) } else { Ok(x.clone()) }
    }

    /// The imaginary part; zeros for a real array.
    pub fn imag / try_imag(x: &Array)
    python imag(a: Array, /, *)
    samples {
        flat [real([3])] |x| try_imag(x);
    }
    {
        if x.dtype().is_complex() { apply1(&IMAG, x) } else { Ok(ops::zeros_like(x)) }
    }

    /// The complex conjugate.
    pub fn conjugate / try_conjugate(x: &Array)
    python conj | conjugate(a: Value, /, *) + method
    samples {
        [real([3])] |x| try_conjugate(x);
    }
    {
        if x.dtype().is_complex() { apply1(&CONJUGATE, x) } else { Ok(x.clone()) }
    }

    /// Each element rounded to `decimals` places, halves to even; negative places round to tens, hundreds, ….
    pub fn round / try_round(x: &Array, decimals: i32) once(x)
    python round(a: Value, /, decimals: i32 = 0) + method
    samples {
        flat [input([2, 3], Kind::Real(0.2, 0.8))] |x| try_round(x, 1);
    }
    {
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
    pub fn nan_to_num / try_nan_to_num(x: &Array, nan: f64, posinf: Option<f64>, neginf: Option<f64>)
    python nan_to_num(a: Value, nan: f64 = 0.0, posinf: Option<f64> = None, neginf: Option<f64> = None, *)
    samples {
        [real([3])] |x| try_nan_to_num(x, 0.0, None, None);
    }
    {
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
    pub fn isclose / try_isclose(a: &Array, b: &Array, rtol: f64, atol: f64, equal_nan: bool)
    python isclose(a: Paired, b: Paired, /, rtol: f64 = 1e-5, atol: f64 = 1e-8, *, equal_nan: bool = false)
    samples {
        flat [real([3]), real([2, 3])] |x, y| try_isclose(x, y, 1e-5, 1e-8, true);
    }
    {
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
    pub fn allclose / try_allclose(a: &Array, b: &Array, rtol: f64, atol: f64, equal_nan: bool)
    python allclose(a: Paired, b: Paired, /, rtol: f64 = 1e-5, atol: f64 = 1e-8, *, equal_nan: bool = false)
    samples {
        flat [real([3]), real([2, 3])] |x, y| try_allclose(x, y, 1e-5, 1e-8, true);
    }
    {
        ops::try_all(&try_isclose(a, b, rtol, atol, equal_nan)?)
    }

    /// Whether shapes and all elements are equal; NaNs only if `equal_nan`.
    pub fn array_equal / try_array_equal(a: &Array, b: &Array, equal_nan: bool)
    python array_equal(a: Paired, b: Paired, equal_nan: bool = false)
    samples {
        flat [real([3]), real([3])] |x, y| try_array_equal(x, y, true);
    }
    {
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
    pub fn logical_xor / try_logical_xor(a: &Array, b: &Array)
    python logical_xor(a: Value, b: Value, /, *)
    samples {
        flat [input([3], Kind::Bool), input([2, 1], Kind::Bool)] |x, y| try_logical_xor(x, y);
    }
    {
        ops::try_not_equal(&to_dtype(a, Dtype::Bool), &to_dtype(b, Dtype::Bool))
    }

    /// The array itself, as a node of its own.
    pub fn copy / try_copy(x: &Array)
    samples {
        [real([3])] |x| try_copy(x);
    }
    {
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
