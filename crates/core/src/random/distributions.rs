//! Distributions, composed of uniform and normal numbers and public operations, so that they differentiate in their
//! parameters (by reparametrisation) and run under every transform.

use super::{Operand, key_or_next, random_bits};
use crate::array::Array;
use crate::error::{Error, Result};
use crate::ops;
use crate::prim::elementwise::apply1;
use crate::prim::random::{Draw, RandomFloat, STREAM_ERF, STREAM_ERFINV, STREAM_LOG};
use crate::shape::{Shape, ShapeText, broadcast_shapes, normalize_axis};
use covector_kernels::{Dtype, bf16, f16};
use smallvec::smallvec;
use std::f64::consts::SQRT_2;

fn draw(draw: Draw, shape: &[usize], key: Array) -> Result<Array> {
    Array::apply(RandomFloat { draw, shape: Shape::from_slice(shape) }, smallvec![key])
}

fn need_float(op: &'static str, dtype: Dtype) -> Result<()> {
    if dtype.is_float() {
        return Ok(());
    }
    Err(Error::dtype(op, format!("{dtype} is not supported; ask for float16, bfloat16, float32 or float64")))
}

/// Refuses parameters that do not broadcast to the shape asked for.
fn check_fit(op: &'static str, shape: &[usize], parameters: &[&Operand]) -> Result<()> {
    for parameter in parameters {
        if broadcast_shapes(op, shape, parameter.shape())?[..] != *shape {
            return Err(Error::shape(
                op,
                format!(
                    "a parameter of shape {} does not fit into the shape {} asked for; give the shape to draw",
                    ShapeText(parameter.shape()),
                    ShapeText(shape)
                ),
            ));
        }
    }
    Ok(())
}

/// Uniform in `[0, 1)`: never more than the largest number of the type below 1.
fn unit(shape: &[usize], dtype: Dtype, key: Array) -> Result<Array> {
    let most = match dtype {
        Dtype::F16 => f16::from_bits(f16::ONE.to_bits() - 1).to_f32(),
        Dtype::Bf16 => bf16::from_bits(bf16::ONE.to_bits() - 1).to_f32(),
        Dtype::F64 => return draw(Draw::Uniform64, shape, key),
        _ => 1.0f32.next_down(),
    };
    Ok(ops::to_dtype(&draw(Draw::Uniform { most }, shape, key)?, dtype))
}

fn between(low: &Operand, high: &Operand, shape: &[usize], dtype: Dtype, key: Array) -> Result<Array> {
    let unit = unit(shape, dtype, key)?;
    if low.is(0.0) && high.is(1.0) {
        return Ok(unit);
    }
    let (low, high) = (low.array(dtype), high.array(dtype));
    ops::try_add(&ops::try_multiply(&ops::try_subtract(&high, &low)?, &unit)?, &low)
}

/// `x · scale`, for the distribution `op`.
fn scaled(op: &'static str, x: Array, scale: &Operand) -> Result<Array> {
    if scale.is(1.0) {
        return Ok(x);
    }
    ops::try_multiply(&x, &scale.array(x.dtype())).map_err(|e| e.named(op))
}

/// Uniform between -1 and 1, both excluded, in single precision.
fn symmetric(shape: &[usize], key: Array) -> Result<Array> {
    between(&Operand::Number(f64::from((-1.0f32).next_up())), &Operand::Number(1.0), shape, Dtype::F32, key)
}

/// Uniform random numbers from `low` (included) to `high` (excluded, up to rounding).
///
/// # Errors
/// When the element type is not a real floating-point one, when a bound does not broadcast to `shape`, or when
/// `key` is no key.
pub fn uniform(
    low: impl Into<Operand>,
    high: impl Into<Operand>,
    shape: &[usize],
    dtype: Dtype,
    key: Option<&Array>,
) -> Result<Array> {
    need_float("uniform", dtype)?;
    let (low, high) = (low.into(), high.into());
    check_fit("uniform", shape, &[&low, &high])?;
    between(&low, &high, shape, dtype, key_or_next("uniform", key)?)
}

/// Normal random numbers with mean `loc` and standard deviation `scale`. They are drawn in single precision, whatever
/// the type. Complex ones have `E|z|² = scale²`, in equal parts real and imaginary.
///
/// ```
/// use covector_core::{Dtype, random};
/// let key = random::key(0);
/// let x = random::normal(&[5], Dtype::F32, 0.5, 0.3, Some(&key))?;
/// assert_eq!(x.to_vec::<f32>()[0], 0.5563533);
/// # Ok::<(), covector_core::Error>(())
/// ```
///
/// # Errors
/// When the element type is not a floating-point or complex one, when `loc` or `scale` does not broadcast with `shape`,
/// or when `key` is no key.
pub fn normal(
    shape: &[usize],
    dtype: Dtype,
    loc: impl Into<Operand>,
    scale: impl Into<Operand>,
    key: Option<&Array>,
) -> Result<Array> {
    let (loc, scale) = (loc.into(), scale.into());
    if !dtype.is_inexact() {
        return Err(Error::dtype(
            "normal",
            format!("{dtype} is not supported; ask for a floating-point type or complex64"),
        ));
    }
    let key = key_or_next("normal", key)?;
    let drawn = if dtype.is_complex() {
        let mut pairs = Shape::from_slice(shape);
        pairs.push(2);
        let parts = ops::try_split(&draw(Draw::Normal { factor: 1.0 }, &pairs, key)?, 2, -1)?;
        let part = |i: usize| ops::try_squeeze(&parts[i], &[-1]);
        let z = ops::make_complex(&part(0)?, &part(1)?)?;
        scaled("normal", z, &scale)?
    } else if dtype == Dtype::F32 && scale.is(1.0) {
        draw(Draw::Normal { factor: SQRT_2 as f32 }, shape, key)?
    } else {
        let e = ops::to_dtype(&draw(Draw::Normal { factor: 1.0 }, shape, key)?, dtype);
        let root = ops::constant(SQRT_2, dtype);
        let factor = scaled("normal", root, &scale)?;
        ops::try_multiply(&factor, &e).map_err(|e| e.named("normal"))?
    };
    if loc.is(0.0) {
        Ok(drawn)
    } else {
        ops::try_add(&drawn, &loc.array(dtype)).map_err(|e| e.named("normal"))
    }
}

/// Normal random numbers of mean 0 and deviation 1 between `lower` and `upper`, which broadcast to the shape, or give it.
///
/// # Errors
/// When the element type is not a real floating-point one, when a bound does not broadcast to `shape`, or when
/// `key` is no key.
pub fn truncated_normal(
    lower: impl Into<Operand>,
    upper: impl Into<Operand>,
    shape: Option<&[usize]>,
    dtype: Dtype,
    key: Option<&Array>,
) -> Result<Array> {
    const OP: &str = "truncated_normal";
    need_float(OP, dtype)?;
    let (lower, upper) = (lower.into(), upper.into());
    let shape = match shape {
        Some(shape) => Shape::from_slice(shape),
        None => broadcast_shapes(OP, lower.shape(), upper.shape())?,
    };
    check_fit(OP, &shape, &[&lower, &upper])?;
    let (lower, upper) = (lower.array(dtype), upper.array(dtype));
    let root = ops::constant(SQRT_2, dtype);
    let quantile = |bound: &Array| apply1(&STREAM_ERF, &ops::try_divide(bound, &root)?);
    let (from, to) = (quantile(&lower)?, quantile(&upper)?);
    let u = between(&from.into(), &to.into(), &shape, dtype, key_or_next(OP, key)?)?;
    let x = ops::try_multiply(&root, &apply1(&STREAM_ERFINV, &u)?)?;
    ops::try_maximum(&ops::try_minimum(&upper, &x)?, &lower)
}

/// Random integers from `low` (included) to `high` (excluded). They are drawn in single precision, so no more than 2²⁴
/// different ones occur.
///
/// # Errors
/// When the element type is not an integer one or `bool`, when a bound does not broadcast to `shape`, or when `key` is
/// no key.
pub fn randint(
    low: impl Into<Operand>,
    high: impl Into<Operand>,
    shape: &[usize],
    dtype: Dtype,
    key: Option<&Array>,
) -> Result<Array> {
    if !dtype.is_integer() && dtype != Dtype::Bool {
        return Err(Error::dtype(
            "randint",
            format!("{dtype} is not supported; ask for an integer type or bool"),
        ));
    }
    let (low, high) = (low.into(), high.into());
    check_fit("randint", shape, &[&low, &high])?;
    let x = between(&low, &high, shape, Dtype::F32, key_or_next("randint", key)?)?;
    let whole = ops::try_maximum(&ops::try_floor(&x)?, &low.array(Dtype::F32))?;
    Ok(ops::to_dtype(&whole, dtype))
}

/// Truth values that are true with probability `p`, which broadcasts to the shape, or gives it.
///
/// # Errors
/// When `p` is an array of integers or does not broadcast to `shape`, or when `key` is no key.
pub fn bernoulli(p: impl Into<Operand>, shape: Option<&[usize]>, key: Option<&Array>) -> Result<Array> {
    let p = p.into();
    if let Operand::Array(p) = &p
        && !p.dtype().is_float()
    {
        return Err(Error::dtype(
            "bernoulli",
            format!("probabilities must be floating-point numbers, not {}", p.dtype()),
        ));
    }
    let shape = Shape::from_slice(shape.unwrap_or(p.shape()));
    check_fit("bernoulli", &shape, &[&p])?;
    ops::try_less(&unit(&shape, Dtype::F32, key_or_next("bernoulli", key)?)?, &p.array(Dtype::F32))
}

/// Random numbers of the standard Gumbel distribution, `-log(-log u)` for uniform `u`.
///
/// # Errors
/// When the element type is not a real floating-point one, or `key` is no key.
pub fn gumbel(shape: &[usize], dtype: Dtype, key: Option<&Array>) -> Result<Array> {
    need_float("gumbel", dtype)?;
    let mut x = unit(shape, dtype, key_or_next("gumbel", key)?)?;
    for _ in 0..2 {
        x = ops::try_negative(&apply1(&STREAM_LOG, &x)?)?;
    }
    Ok(x)
}

/// Random numbers of the Laplace distribution around `loc`: `scale` times the logarithm of a uniform number, with a
/// random sign. They are drawn in single precision, whatever the type.
///
/// # Errors
/// When the element type is not a real floating-point one, when `loc` or `scale` does not broadcast with `shape`, or
/// when `key` is no key.
pub fn laplace(
    shape: &[usize],
    dtype: Dtype,
    loc: impl Into<Operand>,
    scale: impl Into<Operand>,
    key: Option<&Array>,
) -> Result<Array> {
    need_float("laplace", dtype)?;
    let (loc, scale) = (loc.into(), scale.into());
    let u = symmetric(shape, key_or_next("laplace", key)?)?;
    let size = ops::try_log1p(&ops::try_negative(&ops::try_abs(&u)?)?)?;
    let x = ops::to_dtype(&ops::try_multiply(&ops::try_sign(&u)?, &size)?, dtype);
    let x = scaled("laplace", x, &scale)?;
    if loc.is(0.0) { Ok(x) } else { ops::try_add(&x, &loc.array(dtype)).map_err(|e| e.named("laplace")) }
}

/// The numbers from 0 to `count - 1` in random order, as `uint32`.
///
/// # Errors
/// When `key` is no key.
pub fn permutation(count: usize, key: Option<&Array>) -> Result<Array> {
    let order = random_bits(&key_or_next("permutation", key)?, &[count], Dtype::U32)?;
    ops::try_argsort(&order, 0)
}

/// An array with the slices along `axis` in random order.
///
/// # Errors
/// When the array has no such axis, or `key` is no key.
pub fn permutation_of(x: &Array, axis: isize, key: Option<&Array>) -> Result<Array> {
    let count = x.shape()[normalize_axis("permutation", axis, x.ndim())?];
    let order = permutation(count, key)?;
    if count == 0 {
        return Ok(x.clone());
    }
    ops::try_take(x, &order, axis)
}

/// Random indices along an axis of `logits`, index `i` with a probability proportional to `exp(logits[i])`.
///
/// Without more said, one index for each position of the other axes. `samples` draws that many for each, as a new last
/// axis; `shape` gives the shape of the result, to which the other axes broadcast.
///
/// # Errors
/// When both `shape` and `samples` are given, `shape` does not fit, the array has no such axis or it is empty, or `key` is
/// no key.
pub fn categorical(
    logits: &Array,
    axis: isize,
    shape: Option<&[usize]>,
    samples: Option<usize>,
    key: Option<&Array>,
) -> Result<Array> {
    const OP: &str = "categorical";
    let axis = normalize_axis(OP, axis, logits.ndim())?;
    let classes = logits.shape()[axis];
    let mut rest = Shape::from_slice(logits.shape());
    rest.remove(axis);
    let (noise, logits, axis) = match (shape, samples) {
        (Some(_), Some(_)) => {
            return Err(Error::value(OP, "both shape and num_samples were given; give one of them"));
        }
        (None, Some(count)) => {
            let mut noise = Shape::from_slice(logits.shape());
            noise.push(count);
            (noise, ops::try_expand_dims(logits, &[-1])?, axis)
        }
        (shape, None) => {
            let shape = shape.unwrap_or(&rest);
            if broadcast_shapes(OP, shape, &rest)?[..] != *shape {
                return Err(Error::shape(
                    OP,
                    format!(
                        "the logits without axis {axis} have the shape {}, which does not broadcast to {}",
                        ShapeText(&rest),
                        ShapeText(shape)
                    ),
                ));
            }
            let axis = axis + shape.len() - rest.len();
            let mut noise = Shape::from_slice(shape);
            noise.insert(axis, classes);
            (noise, logits.clone(), axis)
        }
    };
    let noise = gumbel(&noise, Dtype::F32, Some(&key_or_next(OP, key)?))?;
    ops::try_argmax_axis(&ops::try_add(&noise, &logits)?, axis as isize, false)
}
