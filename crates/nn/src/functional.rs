//! The functions of layers: [activations](crate::activations), affine maps, dropout and table look-up; normalisation and
//! pooling are the core's.
//!
//! Half precision is rounded once: a formula of several steps is computed in `float32`.

use covector_core::shape::ShapeText;
use covector_core::{Array, Dtype, Error, Result, ops, random};

pub use crate::activations::*;
pub use covector_core::ops::{
    avg_pool, layer_norm, max_pool, rms_norm, try_avg_pool, try_layer_norm, try_max_pool, try_rms_norm,
};

/// Floating point: integers and truth values become `float32`.
pub(crate) fn inexact(x: &Array) -> Array {
    if x.dtype().is_inexact() { x.clone() } else { x.astype(Dtype::F32) }
}

pub(crate) fn zero_like(x: &Array) -> Array {
    ops::constant_like(x, 0.0)
}

/// `log Σ eˣ` along an axis in two parts: the greatest `x`, and the logarithm of the sum of `e^(x − greatest)`. Added up,
/// the second would lose digits beside a large first.
pub(crate) struct Normalizer {
    /// The greatest element, 0 where that is infinite; the axis has extent 1. Derivatives do not depend on it.
    pub(crate) shift: Array,
    /// The elements less the greatest.
    pub(crate) shifted: Array,
    /// The logarithm of the sum of their exponentials; the axis has extent 1.
    pub(crate) log_sum: Array,
}

impl Normalizer {
    pub(crate) fn new(x: &Array, axis: isize) -> Result<Self> {
        let peak = ops::try_stop_gradient(&ops::try_max_axes(x, &[axis], true)?)?;
        let shift = ops::try_where_(&ops::try_isfinite(&peak)?, &peak, &zero_like(&peak))?;
        let shifted = ops::try_subtract(x, &shift)?;
        let sum = ops::try_sum_axes(&ops::try_exp(&shifted)?, &[axis], true)?;
        // The greatest term is 1, unless all are −∞: then nothing flows back from the logarithm.
        let sum = if x.dtype().is_complex() {
            sum
        } else {
            ops::try_maximum(&sum, &ops::constant_like(&sum, 0.5))?
        };
        Ok(Self { shift, shifted, log_sum: ops::try_log(&sum)? })
    }
}

function! {
    /// [`leaky_relu`] whose slope is an array, usually a learned one, that broadcasts with `x`.
    pub fn prelu / try_prelu(x: &Array, alpha: &Array) {
        let x = inexact(x);
        keep_positive(&x, &ops::try_multiply(alpha, &x)?)
    }

    /// The affine map `x Wᵀ + b` of the last axis. The weight has shape `(outputs, inputs)`.
    pub fn linear / try_linear(x: &Array, weight: &Array, bias: Option<&Array>) {
        let &[outputs, inputs] = weight.shape() else {
            return Err(Error::shape("linear", format!("the weight must be a matrix of shape (outputs, inputs), not of shape {}", ShapeText(weight.shape()))));
        };
        if x.shape().last() != Some(&inputs) {
            return Err(Error::shape("linear", format!(
                "the weight of shape {} takes {inputs} features in the last axis, but the input has shape {}",
                ShapeText(weight.shape()), ShapeText(x.shape()),
            )));
        }
        let y = ops::try_matmul(x, &ops::try_mt(weight)?)?;
        match bias {
            None => Ok(y),
            Some(bias) if bias.shape() == [outputs] => ops::try_add(&y, bias),
            Some(bias) => Err(Error::shape("linear", format!(
                "the bias must have shape ({outputs},) beside a weight of shape {}, but it has shape {}",
                ShapeText(weight.shape()), ShapeText(bias.shape()),
            ))),
        }
    }

    /// Rows of a table: the result has the shape of the indices, with one more axis for the row.
    pub fn embedding / try_embedding(indices: &Array, table: &Array) {
        if table.ndim() == 0 {
            return Err(Error::shape("embedding", "the table has no rows to choose from; give it the shape (rows, dims)"));
        }
        if !indices.dtype().is_integer() {
            return Err(Error::dtype("embedding", format!("rows are chosen by integers, not by {}; convert the indices with astype", indices.dtype())));
        }
        ops::take_for("embedding", table, indices, 0)
    }

    /// Each element set to 0 with probability `p`, and the others divided by `1 − p`, so that the expected value
    /// stays. Without a key the random state of the thread is used.
    pub fn dropout / try_dropout(x: &Array, p: f64, key: Option<&Array>) once(x) {
        check_probability(p)?;
        if p == 0.0 {
            return Ok(x.clone());
        }
        let x = inexact(x);
        let keep = random::bernoulli(1.0 - p, Some(x.shape()), key)?;
        ops::try_where_(&keep, &(&x * (1.0 / (1.0 - p))), &zero_like(&x))
    }
}

/// Refuses numbers that are not a probability of dropping.
pub(crate) fn check_probability(p: f64) -> Result<()> {
    if (0.0..1.0).contains(&p) {
        return Ok(());
    }
    Err(Error::value(
        "dropout",
        format!("the probability {p} is not in [0, 1); at 1 nothing would be left to scale"),
    ))
}
