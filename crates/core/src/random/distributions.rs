//! Distributions, composed of uniform and normal numbers and public operations, so that they differentiate in their
//! parameters (by reparametrisation) and run under every transform.

use super::{Operand, key_or_next, random_bits};
use crate::array::Array;
use crate::error::{Error, Result};
use crate::ops;
use crate::ops::block::op;
use crate::ops::elementwise::apply1;
use crate::ops::spec::{Extents, Number};
use crate::primitive::Op;
use crate::random::primitives::{Draw, RandomFloat, RandomIntegers, STREAM_LOG, TRUNCATED_NORMAL};
use crate::shape::{Shape, ShapeText, broadcast_shapes, normalize_axis};
use covector_kernels::half_bits::{f64_to_bf16, f64_to_f16};
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

/// Refuses parameters that do not broadcast to the result's shape.
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

/// The number rounded to an element type.
fn rounded(v: f64, dtype: Dtype) -> f64 {
    match dtype {
        Dtype::F16 => f64_to_f16(v).to_f64(),
        Dtype::Bf16 => f64_to_bf16(v).to_f64(),
        Dtype::F64 => v,
        _ => f64::from(v as f32),
    }
}

/// The number of an element type next to `v`, towards `low`.
fn next_towards(v: f64, low: f64, dtype: Dtype) -> f64 {
    macro_rules! step {
        ($t:ty, $bits:ty, $narrow:expr, $wide:expr) => {{
            let v: $t = $narrow(v);
            // Towards zero, the bits of the number count down; away from zero, they count up.
            let sign = (1 as $bits).reverse_bits();
            let (bits, down) = (v.to_bits(), low < $wide(v));
            let next = match bits & !sign {
                0 => 1 | if down { sign } else { 0 },
                _ if (bits & sign == 0) == down => bits - 1,
                _ => bits + 1,
            };
            $wide(<$t>::from_bits(next))
        }};
    }
    match dtype {
        Dtype::F16 => step!(f16, u16, f64_to_f16, f16::to_f64),
        Dtype::Bf16 => step!(bf16, u16, f64_to_bf16, bf16::to_f64),
        Dtype::F64 => step!(f64, u64, f64::from, f64::from),
        _ => step!(f32, u32, |v| v as f32, f64::from),
    }
}

fn between(low: &Operand, high: &Operand, shape: &[usize], dtype: Dtype, key: Array) -> Result<Array> {
    let unit = unit(shape, dtype, key)?;
    if low.is(0.0) && high.is(1.0) {
        return Ok(unit);
    }
    let numbers = low.number().zip(high.number());
    let (low, high) = (low.array(dtype), high.array(dtype));
    // (high − low)·u + low; in halves where the difference overflows the type.
    let spread = |low: &Array, high: &Array| {
        ops::try_add(&ops::try_multiply(&ops::try_subtract(high, low)?, &unit)?, low)
    };
    let in_halves = || -> Result<Array> { Ok(spread(&(&low * 0.5), &(&high * 0.5))? * 2.0) };
    if let Some((from, to)) = numbers {
        let (from, to) = (rounded(from, dtype), rounded(to, dtype));
        let x = if rounded(to - from, dtype).is_finite() { spread(&low, &high)? } else { in_halves()? };
        if from == to {
            return Ok(x);
        }
        // Rounding may give the excluded end of the interval.
        let last = ops::constant(next_towards(to, from, dtype), dtype);
        return if from < to { ops::try_minimum(&last, &x) } else { ops::try_maximum(&last, &x) };
    }
    let x = spread(&low, &high)?;
    let x = ops::try_where_(&ops::try_isfinite(&ops::try_subtract(&high, &low)?)?, &x, &in_halves()?)?;
    let is_inside = ops::try_equal(&ops::try_less(&x, &high)?, &ops::try_less(&low, &high)?)?;
    ops::try_where_(&is_inside, &x, &low)
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

/// The least and the greatest number of an integer type.
fn limits(dtype: Dtype) -> (i128, i128) {
    let bits = 8 * dtype.size() as u32;
    if dtype.is_signed_integer() { (-1 << (bits - 1), (1 << (bits - 1)) - 1) } else { (0, (1 << bits) - 1) }
}

/// The given parameter, or else a number.
fn or(given: Option<Operand>, number: f64) -> Operand {
    given.unwrap_or(Operand::Number(number))
}

/// The array, or its real part: samples of distributions of real numbers.
fn real_part(x: &Array) -> Result<Array> {
    if x.dtype().is_complex() { ops::try_real(x) } else { Ok(x.clone()) }
}

/// The array's type, or `float32` for a complex one.
fn real_type(x: &Array) -> Dtype {
    if x.dtype().is_complex() { Dtype::F32 } else { x.dtype() }
}

op! {
    in Random;

    /// Uniform random numbers from `low` (included) to `high` (excluded).
    ///
    /// # Errors
    /// When the element type is not a real floating-point one, when a bound is not finite in it or does not broadcast to
    /// `shape`, or when `key` is not a key.
    pub fn uniform(low: impl Into<Operand>, high: impl Into<Operand>, shape: &[usize], dtype: Dtype, key: Option<&Array>)
    python uniform(low: Option<Number> = None, high: Option<Number> = None, shape: Option<Extents> = None, dtype: Option<Dtype> = None, key: Option<Array> = None)
    => { uniform(or(low, 0.0), or(high, 1.0), shape.unwrap_or_default(), dtype.unwrap_or(Dtype::F32), key) }
    samples {
        [input([2], Kind::Key), input([3], Kind::Real(-1.5, -0.5)), positive([2, 1])] |key, low, high|
            uniform(real_part(low)?, real_part(high)?, &[2, 3], real_type(low), Some(key));
    }
    {
        need_float("uniform", dtype)?;
        let (low, high) = (low.into(), high.into());
        check_fit("uniform", shape, &[&low, &high])?;
        for (name, bound) in [("low", &low), ("high", &high)] {
            if let Some(v) = bound.number()
                && !rounded(v, dtype).is_finite()
            {
                return Err(Error::value(
                    "uniform",
                    format!("{name} is {v}, which is not finite in {dtype}; give finite bounds"),
                ));
            }
        }
        between(&low, &high, shape, dtype, key_or_next("uniform", key)?)
    }

    /// Normal random numbers with mean `loc` and standard deviation `scale`. They are drawn in single precision for every
    /// type. Complex ones have `E|z|² = scale²`, in equal parts real and imaginary.
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
    /// or when `key` is not a key.
    pub fn normal(shape: &[usize], dtype: Dtype, loc: impl Into<Operand>, scale: impl Into<Operand>, key: Option<&Array>)
    python normal(shape: Option<Extents> = None, dtype: Option<Dtype> = None, loc: Option<Number> = None, scale: Option<Number> = None, key: Option<Array> = None)
    => { normal(shape.unwrap_or_default(), dtype.unwrap_or(Dtype::F32), or(loc, 0.0), or(scale, 1.0), key) }
    samples {
        [input([2], Kind::Key), real([3]), positive([2, 1])] |key, loc, scale|
            normal(&[2, 3], loc.dtype(), loc, scale, Some(key));
    }
    {
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

    /// Normal random numbers of mean 0 and deviation 1 between `lower` and `upper`. The bounds broadcast to the shape;
    /// without a shape, their common shape is the result's. They may be infinite, or far out in a tail.
    ///
    /// # Errors
    /// When the element type is not a real floating-point one, when `lower` is above `upper` or one is NaN, when a bound
    /// does not broadcast to `shape`, or when `key` is not a key. The order of bounds is checked for numbers only; for
    /// arrays in the wrong order, the result is `lower`.
    pub fn truncated_normal(lower: impl Into<Operand>, upper: impl Into<Operand>, shape: Option<&[usize]>, dtype: Dtype, key: Option<&Array>)
    python truncated_normal(lower: Number, upper: Number, shape: Option<Extents> = None, dtype: Option<Dtype> = None, key: Option<Array> = None)
    => { truncated_normal(lower, upper, shape, dtype.unwrap_or(Dtype::F32), key) }
    samples {
        [input([2], Kind::Key), input([3], Kind::Real(-1.5, -0.5)), positive([2, 1])] |key, lower, upper|
            truncated_normal(real_part(lower)?, real_part(upper)?, None, real_type(lower), Some(key));
    }
    {
        const OP: &str = "truncated_normal";
        need_float(OP, dtype)?;
        let (lower, upper) = (lower.into(), upper.into());
        if let Some((from, to)) = lower.number().zip(upper.number())
            && (from > to || from.is_nan() || to.is_nan())
        {
            return Err(Error::value(
                OP,
                format!("lower is {from} and upper is {to}; lower must not be above upper"),
            ));
        }
        let shape = match shape {
            Some(shape) => Shape::from_slice(shape),
            None => broadcast_shapes(OP, lower.shape(), upper.shape())?,
        };
        check_fit(OP, &shape, &[&lower, &upper])?;
        let u = unit(&shape, if dtype == Dtype::F64 { dtype } else { Dtype::F32 }, key_or_next(OP, key)?)?;
        let inputs = smallvec![u, lower.array(dtype), upper.array(dtype)];
        Array::apply(Op::Static(&TRUNCATED_NORMAL), inputs)
    }

    /// Random integers from `low` (included) to `high` (excluded); `low` where the range is empty.
    ///
    /// Between bounds of magnitudes up to 2¹⁸ the numbers are those of MLX, which draws them in single precision; the
    /// probability of each is right within 2 %. Between greater ones they are drawn from 64 random bits, all with the same
    /// probability.
    ///
    /// # Errors
    /// When the element type is not an integer type or `bool`, when it cannot represent the numbers between the bounds, when
    /// a bound does not broadcast to `shape`, or when `key` is not a key.
    pub fn randint(low: impl Into<Operand>, high: impl Into<Operand>, shape: &[usize], dtype: Dtype, key: Option<&Array>)
    python randint(low: Number, high: Number, shape: Option<Extents> = None, dtype: Option<Dtype> = None, key: Option<Array> = None)
    => { randint(low, high, shape.unwrap_or_default(), dtype.unwrap_or(Dtype::I32), key) }
    samples {
        flat [input([2], Kind::Key)] |key| randint(-3, 9, &[5], Dtype::I32, Some(key));
        flat [input([2], Kind::Key), input([3], Kind::Index(5))] |key, low| randint(low, 9, &[2, 3], Dtype::I64, Some(key));
    }
    {
        const OP: &str = "randint";
        if !dtype.is_integer() && dtype != Dtype::Bool {
            return Err(Error::dtype(OP, format!("{dtype} is not supported; ask for an integer type or bool")));
        }
        let (low, high) = (low.into(), high.into());
        check_fit(OP, shape, &[&low, &high])?;
        let key = key_or_next(OP, key)?;
        let whole = |bound: &Operand| match bound {
            Operand::Number(v) => v.trunc() == *v,
            Operand::Int(_) => true,
            Operand::Array(x) => !x.dtype().is_inexact(),
        };
        if !whole(&low) || !whole(&high) {
            let x = between(&low, &high, shape, Dtype::F32, key)?;
            let floor = ops::try_maximum(&ops::try_floor(&x)?, &low.array(Dtype::F32))?;
            return Ok(ops::to_dtype(&floor, dtype));
        }
        let integer = |bound: &Operand| match bound {
            Operand::Number(v) => Some(*v as i128),
            Operand::Int(v) => Some(*v),
            Operand::Array(_) => None,
        };
        let wide = if dtype == Dtype::U64 { Dtype::U64 } else { Dtype::I64 };
        let (from, last) = (integer(&low), integer(&high).map(|high| high - 1));
        let last = match (from, last) {
            (Some(from), Some(last)) => Some(last.max(from)),
            _ => last,
        };
        // For truth values, any number may be a bound.
        let (least, most) = if dtype == Dtype::Bool { limits(Dtype::I64) } else { limits(dtype) };
        let scalar = |name: &str, v: i128, given: i128| {
            if v < least || v > most {
                return Err(Error::value(
                    OP,
                    format!("{name} is {given}, but {dtype} holds {least} to {most}; ask for a wider type"),
                ));
            }
            Ok(if wide == Dtype::U64 { Array::scalar(v as u64) } else { Array::scalar(v as i64) })
        };
        let spread = |bound: Array| {
            if bound.size() == 1 { ops::reshape_to(&bound, &[]) } else { ops::try_broadcast_to(&bound, shape) }
        };
        let first = match (from, &low) {
            (Some(v), _) => scalar("low", v, v)?,
            (None, low) => low.array(wide),
        };
        let last = match (last, &high) {
            (Some(v), _) => {
                let last = scalar("high", v, v + 1)?;
                if from.is_some() { last } else { ops::try_maximum(&last, &first)? }
            }
            (None, high) => {
                let high = high.array(wide);
                let below = ops::try_subtract(&high, &ops::constant(1.0, wide))?;
                ops::try_where_(&ops::try_greater(&high, &first)?, &below, &first)?
            }
        };
        let draw = RandomIntegers { shape: Shape::from_slice(shape), dtype };
        Array::apply(draw, smallvec![key, spread(first)?, spread(last)?])
    }

    /// Truth values that are true with probability `p`. Without a shape, the result has the shape of `p`, which otherwise
    /// broadcasts to the shape.
    ///
    /// # Errors
    /// When `p` is a number outside of `[0, 1]` or an array of integers, when it does not broadcast to `shape`, or when
    /// `key` is not a key.
    pub fn bernoulli(p: impl Into<Operand>, shape: Option<&[usize]>, key: Option<&Array>)
    python bernoulli(p: Option<Number> = None, shape: Option<Extents> = None, key: Option<Array> = None)
    => { bernoulli(or(p, 0.5), shape, key) }
    samples {
        flat [input([2], Kind::Key)] |key| bernoulli(0.4, Some(&[5]), Some(key));
    }
    {
        let p = p.into();
        if let Some(p) = p.number()
            && !(0.0..=1.0).contains(&p)
        {
            return Err(Error::value("bernoulli", format!("p is {p}; a probability is between 0 and 1")));
        }
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
    /// When the element type is not a real floating-point one, or `key` is not a key.
    pub fn gumbel(shape: &[usize], dtype: Dtype, key: Option<&Array>)
    python gumbel(shape: Option<Extents> = None, dtype: Option<Dtype> = None, key: Option<Array> = None)
    => { gumbel(shape.unwrap_or_default(), dtype.unwrap_or(Dtype::F32), key) }
    samples {
        flat [input([2], Kind::Key)] |key| gumbel(&[5], Dtype::F32, Some(key));
    }
    {
        need_float("gumbel", dtype)?;
        // The logarithm of zero is infinite: half the smallest other number takes its place.
        let least = match dtype {
            Dtype::F16 => f16::from_bits(1).to_f64(),
            Dtype::F64 => 0.5 / (1u64 << 53) as f64,
            _ => 0.5 / (1u64 << 32) as f64,
        };
        let mut x = unit(shape, dtype, key_or_next("gumbel", key)?)?;
        x = ops::try_maximum(&x, &ops::constant(least, dtype))?;
        for _ in 0..2 {
            x = ops::try_negative(&apply1(&STREAM_LOG, &x)?)?;
        }
        Ok(x)
    }

    /// Random numbers of the Laplace distribution around `loc`: `scale` times the logarithm of a uniform number, with a
    /// random sign. They are drawn in single precision for every type.
    ///
    /// # Errors
    /// When the element type is not a real floating-point one, when `loc` or `scale` does not broadcast with `shape`, or
    /// when `key` is not a key.
    pub fn laplace(shape: &[usize], dtype: Dtype, loc: impl Into<Operand>, scale: impl Into<Operand>, key: Option<&Array>)
    python laplace(shape: Option<Extents> = None, dtype: Option<Dtype> = None, loc: Option<Number> = None, scale: Option<Number> = None, key: Option<Array> = None)
    => { laplace(shape.unwrap_or_default(), dtype.unwrap_or(Dtype::F32), or(loc, 0.0), or(scale, 1.0), key) }
    samples {
        [input([2], Kind::Key), real([3]), positive([2, 1])] |key, loc, scale|
            laplace(&[2, 3], real_type(loc), real_part(loc)?, real_part(scale)?, Some(key));
    }
    {
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
    /// When `key` is not a key.
    pub fn permutation(count: usize, key: Option<&Array>)
    samples {
        flat [input([2], Kind::Key)] |key| permutation(5, Some(key));
    }
    {
        let order = random_bits(&key_or_next("permutation", key)?, &[count], Dtype::U32)?;
        ops::try_argsort(&order, 0)
    }

    /// An array with the slices along `axis` in random order.
    ///
    /// # Errors
    /// When the array does not have this axis, or `key` is not a key.
    pub fn permutation_of(x: &Array, axis: isize, key: Option<&Array>)
    samples {
        [input([2], Kind::Key), real([4, 2])] |key, x| permutation_of(x, 0, Some(key));
    }
    {
        let count = x.shape()[normalize_axis("permutation", axis, x.ndim())?];
        let order = permutation(count, key)?;
        if count == 0 {
            return Ok(x.clone());
        }
        ops::try_take(x, &order, axis)
    }

    /// Random indices along an axis of `logits`, index `i` with a probability proportional to `exp(logits[i])`.
    ///
    /// Without more said, one index for each position of the other axes. `num_samples` draws that many for each, as a new last
    /// axis; `shape` gives the shape of the result, to which the other axes broadcast.
    ///
    /// # Errors
    /// When both `shape` and `num_samples` are given, `shape` does not fit, the array has no such axis or it is empty, or `key` is
    /// no key.
    pub fn categorical(logits: &Array, axis: isize, shape: Option<&[usize]>, num_samples: Option<usize>, key: Option<&Array>)
    python categorical(logits: Array, axis: isize = -1, shape: Option<Extents> = None, num_samples: Option<usize> = None, key: Option<Array> = None)
    samples {
        flat [input([2], Kind::Key), real([2, 3])] |key, logits| categorical(&real_part(logits)?, -1, None, Some(4), Some(key));
    }
    {
        const OP: &str = "categorical";
        let axis = normalize_axis(OP, axis, logits.ndim())?;
        let classes = logits.shape()[axis];
        let mut rest = Shape::from_slice(logits.shape());
        rest.remove(axis);
        let (noise, logits, axis) = match (shape, num_samples) {
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
}
