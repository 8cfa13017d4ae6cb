//! First values of parameters.
//!
//! Random values are drawn with a `key`, or, without one, from the random state of the thread, which
//! [`random::seed`] sets.

use covector_core::shape::ShapeText;
use covector_core::{Array, Dtype, Error, Result, ops, random};

/// The side of a weight that sets its scale.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Fan {
    /// The inputs: activations keep their variance on the way forward.
    #[default]
    In,
    /// The outputs: gradients keep their variance on the way back.
    Out,
}

/// An array filled with a number.
pub fn constant(shape: &[usize], value: f64, dtype: Dtype) -> Array {
    ops::full(shape, value, dtype)
}

/// The identity matrix.
///
/// # Errors
/// When the shape is not that of a square matrix.
pub fn identity(shape: &[usize], dtype: Dtype) -> Result<Array> {
    match shape {
        &[n, m] if n == m => ops::try_eye(n, n, 0, dtype),
        _ => Err(Error::shape(
            "identity",
            format!("shape {} is not that of a square matrix", ShapeText(shape)),
        )),
    }
}

/// Numbers from the normal distribution.
///
/// # Errors
/// When the element type is not floating point, or `key` is not a key.
pub fn normal(shape: &[usize], mean: f64, std: f64, dtype: Dtype, key: Option<&Array>) -> Result<Array> {
    random::normal(shape, dtype, mean, std, key)
}

/// Numbers from the range between `low` and `high`, all equally likely.
///
/// # Errors
/// When the element type is not floating point, or `key` is not a key.
pub fn uniform(shape: &[usize], low: f64, high: f64, dtype: Dtype, key: Option<&Array>) -> Result<Array> {
    random::uniform(low, high, shape, dtype, key)
}

/// A normal distribution whose variance is right for both directions (Glorot and Bengio, 2010): its standard
/// deviation is `gain · √(2 / (inputs + outputs))`.
///
/// The shape is `(outputs, …, inputs)`; axes in between belong to both sides.
///
/// # Errors
/// When there are fewer than two axes, and as [`normal`].
pub fn glorot_normal(shape: &[usize], gain: f64, dtype: Dtype, key: Option<&Array>) -> Result<Array> {
    let (inputs, outputs) = fans("glorot_normal", shape)?;
    normal(shape, 0.0, gain * (2.0 / (inputs + outputs)).sqrt(), dtype, key)
}

/// As [`glorot_normal`], from the range between `±gain · √(6 / (inputs + outputs))`.
///
/// # Errors
/// When there are fewer than two axes, and as [`uniform`].
pub fn glorot_uniform(shape: &[usize], gain: f64, dtype: Dtype, key: Option<&Array>) -> Result<Array> {
    let (inputs, outputs) = fans("glorot_uniform", shape)?;
    let limit = gain * (6.0 / (inputs + outputs)).sqrt();
    uniform(shape, -limit, limit, dtype, key)
}

/// A normal distribution whose variance is right for one direction (He et al., 2015): its standard deviation is
/// `gain / √fan`.
///
/// # Errors
/// When there are fewer than two axes, and as [`normal`].
pub fn he_normal(shape: &[usize], fan: Fan, gain: f64, dtype: Dtype, key: Option<&Array>) -> Result<Array> {
    normal(shape, 0.0, gain / side("he_normal", shape, fan)?.sqrt(), dtype, key)
}

/// As [`he_normal`], from the range between `±gain · √(3 / fan)`.
///
/// # Errors
/// When there are fewer than two axes, and as [`uniform`].
pub fn he_uniform(shape: &[usize], fan: Fan, gain: f64, dtype: Dtype, key: Option<&Array>) -> Result<Array> {
    let limit = gain * (3.0 / side("he_uniform", shape, fan)?).sqrt();
    uniform(shape, -limit, limit, dtype, key)
}

/// First values of the weights and biases of a layer in which each unit has `inputs` inputs: uniform in the range between
/// `±1/√inputs`, in `float32`. Linear, convolutional and recurrent layers draw theirs from it; a recurrent layer counts the
/// features of its state.
///
/// # Errors
/// When `inputs` is 0.
pub fn layer_uniform(shape: &[usize], inputs: usize) -> Result<Array> {
    let limit = layer_scale("layer_uniform", inputs)?;
    uniform(shape, -limit, limit, Dtype::F32, None)
}

/// First values of a table of vectors of length `dims`: normal, with standard deviation `1/√dims`, in `float32`.
///
/// # Errors
/// When `dims` is 0.
pub fn layer_normal(shape: &[usize], dims: usize) -> Result<Array> {
    normal(shape, 0.0, layer_scale("layer_normal", dims)?, Dtype::F32, None)
}

fn layer_scale(op: &'static str, inputs: usize) -> Result<f64> {
    if inputs == 0 {
        return Err(Error::value(op, "a unit without inputs has no scale; give one input or more"));
    }
    Ok((1.0 / inputs as f64).sqrt())
}

fn side(op: &'static str, shape: &[usize], fan: Fan) -> Result<f64> {
    let (inputs, outputs) = fans(op, shape)?;
    Ok(match fan {
        Fan::In => inputs,
        Fan::Out => outputs,
    })
}

/// The numbers of inputs and outputs of each unit.
fn fans(op: &'static str, shape: &[usize]) -> Result<(f64, f64)> {
    let &[outputs, ref between @ .., inputs] = shape else {
        return Err(Error::shape(
            op,
            format!(
                "a weight needs the axes (outputs, …, inputs), but shape {} does not have two",
                ShapeText(shape)
            ),
        ));
    };
    let field: usize = between.iter().product();
    Ok(((inputs * field) as f64, (outputs * field) as f64))
}
