//! What layers compute: activation functions, affine maps, dropout and table look-up; normalisation is the core's.
//!
//! Activations take integers too, which count as `float32` wherever a fraction comes in. Where a formula has a
//! branch, the argument of the branch that is not taken is made harmless first, so that no overflow there turns
//! the gradient into NaN.
//!
//! Half precision is rounded once: where a formula has several steps, they are computed in `float32`.

use covector_core::shape::ShapeText;
use covector_core::{Array, Dtype, Error, Result, ops, random};
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_PI};

pub use covector_core::ops::{
    avg_pool, layer_norm, max_pool, rms_norm, sigmoid, tanh, try_avg_pool, try_layer_norm, try_max_pool,
    try_rms_norm, try_sigmoid, try_tanh,
};

/// Floating point: integers and truth values become `float32`.
pub(crate) fn inexact(x: &Array) -> Array {
    if x.dtype().is_inexact() { x.clone() } else { x.astype(Dtype::F32) }
}

fn zero_like(x: &Array) -> Array {
    ops::constant_like(x, 0.0)
}

/// `x` where it is negative, 0 elsewhere, with the derivative 1 at 0.
fn negative_part(x: &Array) -> Result<Array> {
    let zero = zero_like(x);
    ops::try_where_(&ops::try_greater(x, &zero)?, &zero, x)
}

/// `x` where it is not negative, which includes 0, `below` elsewhere.
fn keep_positive(x: &Array, below: &Array) -> Result<Array> {
    ops::try_where_(&ops::try_greater_equal(x, &zero_like(x))?, x, below)
}

/// `x` where it is positive, `below`, whose derivative counts at 0, elsewhere.
fn exponential_below(x: &Array, below: &Array) -> Result<Array> {
    ops::try_where_(&ops::try_greater(x, &zero_like(x))?, x, below)
}

/// `log Σ eˣ` along an axis in two parts, because their sum would lose the second beside a large first: the greatest `x`,
/// and the logarithm of the sum of `e^(x − greatest)`.
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
    /// `max(x, 0)`, with the derivative 0 at 0.
    pub fn relu / try_relu(x: &Array) {
        ops::try_maximum(x, &zero_like(x))
    }

    /// `max(x, 0)²`.
    pub fn relu2 / try_relu2(x: &Array) {
        ops::try_square(&try_relu(x)?)
    }

    /// `min(max(x, 0), 6)`.
    pub fn relu6 / try_relu6(x: &Array) {
        let x = inexact(x);
        ops::try_minimum(&try_relu(&x)?, &ops::constant_like(&x, 6.0))
    }

    /// `x` where it is not negative, `negative_slope · x` elsewhere.
    pub fn leaky_relu / try_leaky_relu(x: &Array, negative_slope: f64) once(x) {
        let x = inexact(x);
        keep_positive(&x, &(&x * negative_slope))
    }

    /// [`leaky_relu`] whose slope is an array, usually a learned one, that broadcasts with `x`.
    pub fn prelu / try_prelu(x: &Array, alpha: &Array) {
        let x = inexact(x);
        keep_positive(&x, &ops::try_multiply(alpha, &x)?)
    }

    /// `x` where it is positive, `alpha · (eˣ − 1)` elsewhere.
    pub fn elu / try_elu(x: &Array, alpha: f64) once(x) {
        let x = inexact(x);
        exponential_below(&x, &(ops::try_expm1(&negative_part(&x)?)? * alpha))
    }

    /// `x` where it is positive, `alpha · (e^(x/alpha) − 1)` elsewhere: an [`elu`] with slope 1 at 0 for every alpha.
    pub fn celu / try_celu(x: &Array, alpha: f64) once(x) {
        if alpha == 0.0 || alpha.is_nan() {
            return Err(Error::value("celu", format!("alpha {alpha} cannot be divided by; for the limit 0 use relu")));
        }
        let x = inexact(x);
        exponential_below(&x, &(ops::try_expm1(&(negative_part(&x)? / alpha))? * alpha))
    }

    /// [`elu`] scaled so that activations keep mean 0 and variance 1 (Klambauer et al., 2017).
    pub fn selu / try_selu(x: &Array) once(x) {
        // 1.6732632… and 1.0507009…, to as many places as MLX has, so that the values agree.
        const ALPHA: f64 = 1.67326;
        const SCALE: f64 = 1.0507;
        Ok(try_elu(x, ALPHA)? * SCALE)
    }

    /// `x Φ(x)`, where Φ is the normal distribution function: `x (1 + erf(x/√2)) / 2`.
    pub fn gelu / try_gelu(x: &Array) once(x) {
        let x = inexact(x);
        ops::try_multiply(&x, &((ops::try_erf(&(&x * FRAC_1_SQRT_2))? + 1.0) * 0.5))
    }

    /// [`gelu`] with a hyperbolic tangent for the error function: `x (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2`.
    pub fn gelu_approx / try_gelu_approx(x: &Array) once(x) {
        let x = inexact(x);
        // The tangent is ±1 in every type long before 16, and the cube of a large number overflows.
        let limit = |v: f64| ops::constant_like(&x, v);
        let near = ops::try_minimum(&ops::try_maximum(&x, &limit(-16.0))?, &limit(16.0))?;
        let cubed = ops::try_multiply(&near, &ops::try_square(&near)?)?;
        let inner = ops::try_add(&near, &(cubed * 0.044_715))? * FRAC_2_PI.sqrt();
        ops::try_multiply(&x, &((ops::try_tanh(&inner)? + 1.0) * 0.5))
    }

    /// [`gelu`] with a sigmoid for the distribution function: `x σ(1.702 x)`.
    pub fn gelu_fast_approx / try_gelu_fast_approx(x: &Array) once(x) {
        let x = inexact(x);
        ops::try_multiply(&x, &ops::try_sigmoid(&(&x * 1.702))?)
    }

    /// `x σ(x)`, also called swish.
    pub fn silu / try_silu(x: &Array) once(x) {
        let x = inexact(x);
        ops::try_multiply(&x, &ops::try_sigmoid(&x)?)
    }

    /// `log(1 + eˣ)`, without overflow; all its derivatives are right at 0, too.
    pub fn softplus / try_softplus(x: &Array) once(x) {
        let x = inexact(x);
        ops::try_logaddexp(&x, &zero_like(&x))
    }

    /// `x / (1 + |x|)`.
    pub fn softsign / try_softsign(x: &Array) once(x) {
        let x = inexact(x);
        ops::try_divide(&x, &(ops::try_abs(&x)? + 1.0))
    }

    /// `x` drawn towards 0 by `lambda`, and 0 where it is within `lambda` of it.
    pub fn softshrink / try_softshrink(x: &Array, lambda: f64) once(x) {
        if lambda < 0.0 || lambda.is_nan() {
            return Err(Error::value("softshrink", format!("lambda {lambda} must not be negative")));
        }
        let x = inexact(x);
        let beyond = ops::try_greater(&ops::try_abs(&x)?, &ops::constant_like(&x, lambda))?;
        let shrunk = ops::try_subtract(&x, &(ops::try_sign(&x)? * lambda))?;
        ops::try_where_(&beyond, &shrunk, &zero_like(&x))
    }

    /// `x`, but 0 where it is within `lambda` of 0.
    pub fn hard_shrink / try_hard_shrink(x: &Array, lambda: f64) {
        let size = inexact(&ops::try_abs(x)?);
        let beyond = ops::try_greater(&size, &ops::constant_like(&size, lambda))?;
        ops::try_where_(&beyond, x, &zero_like(x))
    }

    /// `x · min(max(x + 3, 0), 6) / 6`.
    pub fn hardswish / try_hardswish(x: &Array) once(x) {
        let x = inexact(x);
        ops::try_multiply(&x, &(try_relu6(&(&x + 3.0))? / 6.0))
    }

    /// `x` limited to the range from `low` to `high`.
    pub fn hard_tanh / try_hard_tanh(x: &Array, low: f64, high: f64) {
        let x = inexact(x);
        ops::try_clip(&x, Some(&ops::constant_like(&x, low)), Some(&ops::constant_like(&x, high)))
    }

    /// `x · tanh(log(1 + eˣ))`.
    pub fn mish / try_mish(x: &Array) once(x) {
        let x = inexact(x);
        ops::try_multiply(&x, &ops::try_tanh(&try_softplus(&x)?)?)
    }

    /// `log σ(x)`, without underflow.
    pub fn log_sigmoid / try_log_sigmoid(x: &Array) once(x) {
        ops::try_negative(&try_softplus(&ops::try_negative(&inexact(x))?)?)
    }

    /// `eˣ / Σ eˣ` along an axis.
    pub fn softmax / try_softmax(x: &Array, axis: isize) {
        ops::try_softmax(x, &[axis])
    }

    /// `e⁻ˣ / Σ e⁻ˣ` along an axis.
    pub fn softmin / try_softmin(x: &Array, axis: isize) {
        ops::try_softmax(&ops::try_negative(&inexact(x))?, &[axis])
    }

    /// `x − log Σ eˣ` along an axis, without overflow, and without loss of digits at any magnitude.
    pub fn log_softmax / try_log_softmax(x: &Array, axis: isize) once(x) {
        let x = inexact(x);
        if x.size() == 0 {
            return ops::try_subtract(&x, &ops::try_logsumexp_axes(&x, &[axis], true)?);
        }
        let Normalizer { shifted, log_sum, .. } = Normalizer::new(&x, axis)?;
        ops::try_subtract(&shifted, &log_sum)
    }

    /// 1 where `x ≥ threshold`, 0 elsewhere, as `int32`. It has no gradient.
    pub fn step / try_step(x: &Array, threshold: f64) {
        let x = inexact(x);
        Ok(ops::try_greater_equal(&x, &ops::constant_like(&x, threshold))?.astype(Dtype::I32))
    }

    /// Half of `x` gated by the other half: `a σ(b)`, where `a` and `b` are the halves along an axis.
    pub fn glu / try_glu(x: &Array, axis: isize) once(x) {
        let halves = ops::try_split(&inexact(x), 2, axis)?;
        ops::try_multiply(&halves[0], &ops::try_sigmoid(&halves[1])?)
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

/// Refuses what is no probability of dropping.
pub(crate) fn check_probability(p: f64) -> Result<()> {
    if (0.0..1.0).contains(&p) {
        return Ok(());
    }
    Err(Error::value(
        "dropout",
        format!("the probability {p} is not in [0, 1); at 1 nothing would be left to scale"),
    ))
}
