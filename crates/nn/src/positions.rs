//! Positional encodings: sinusoids, and biases that fall with the distance.

use covector_core::shape::ShapeText;
use covector_core::{Array, Dtype, Error, Result, ops};

/// The frequencies of [`try_sinusoidal_positions`]: `dims / 2` of them from `max` down to `min`, each in the same ratio to
/// the one before; in turns instead of radians if `full_turns`.
///
/// # Errors
/// When `dims` is not even and positive, or a frequency not positive.
pub fn try_sinusoidal_frequencies(dims: usize, min: f64, max: f64, full_turns: bool) -> Result<Array> {
    let refuse = |message: String| Err(Error::value("sinusoidal_positions", message));
    if dims == 0 || !dims.is_multiple_of(2) {
        return refuse(format!("dims {dims} must be even and positive: half are sines and half cosines"));
    }
    if !(min > 0.0 && max > 0.0 && min.is_finite() && max.is_finite()) {
        return refuse(format!("the frequencies {min} and {max} must be positive and finite"));
    }
    let half = dims / 2;
    let turn = if full_turns { std::f64::consts::TAU } else { 1.0 };
    let at = |i: usize| {
        let share = 1.0 - i as f64 / (half - 1).max(1) as f64;
        (turn * (share * (max / min).ln() + min.ln()).exp()) as f32
    };
    Array::from_slice(&(0..half).map(at).collect::<Vec<f32>>(), &[half])
}

/// Sines and cosines of each element times each frequency, times `scale`, in a new last axis: sines first, or cosines.
///
/// # Errors
/// When the frequencies are not a vector.
pub fn try_sinusoidal_positions(
    x: &Array,
    frequencies: &Array,
    scale: f64,
    cosines_first: bool,
) -> Result<Array> {
    if frequencies.ndim() != 1 {
        return Err(Error::shape(
            "sinusoidal_positions",
            format!("the frequencies must be a vector, not of shape {}", ShapeText(frequencies.shape())),
        ));
    }
    let angles = ops::try_multiply(&ops::try_expand_dims(x, &[-1])?, frequencies)?;
    let (sin, cos) = (ops::try_sin(&angles)?, ops::try_cos(&angles)?);
    let both = ops::try_concatenate(&if cosines_first { [cos, sin] } else { [sin, cos] }, -1)?;
    Ok(if scale == 1.0 { both } else { both * scale })
}

/// The slope of the bias of each head (Press et al., 2022), of shape `(heads, 1, 1)`: for a power of two the geometric
/// series that ends at 2⁻⁸. Other numbers of heads take the series of the next lower power, and every other term of the
/// next higher one.
///
/// # Errors
/// When `heads` is 0.
pub fn try_alibi_slopes(heads: usize, dtype: Dtype) -> Result<Array> {
    if heads == 0 {
        return Err(Error::value("alibi", "there are no heads; give one or more"));
    }
    let lower = 1usize << heads.ilog2();
    let slope = |i: usize, of: usize| (-8.0 * (i + 1) as f64 / of as f64).exp2();
    let slopes: Vec<f64> = (0..lower)
        .map(|i| slope(i, lower))
        .chain((0..heads - lower).map(|i| slope(2 * i, 2 * lower)))
        .collect();
    Ok(Array::from_slice(&slopes, &[heads, 1, 1])?.astype(dtype))
}

/// The bias `−slope · |query − key|` for scores of attention, of shape `(1, heads, queries − offset, keys)`: queries
/// `offset`, `offset + 1`, … of `queries`, and all keys.
///
/// # Errors
/// When `heads` is 0, or the offset is beyond the queries.
pub fn try_alibi(queries: usize, keys: usize, heads: usize, offset: usize, dtype: Dtype) -> Result<Array> {
    if offset > queries {
        return Err(Error::value(
            "alibi",
            format!("offset {offset} is beyond the last of {queries} queries"),
        ));
    }
    let line = |from: usize, to: usize| ops::try_arange(from, to, 1, Dtype::F32);
    let rows = ops::try_expand_dims(&line(offset, queries)?, &[-1])?;
    let away = 0.0 - ops::try_abs(&ops::try_subtract(&rows, &line(0, keys)?)?)?;
    let bias = ops::try_multiply(&away, &try_alibi_slopes(heads, Dtype::F32)?)?;
    ops::try_expand_dims(&bias.astype(dtype), &[0])
}
