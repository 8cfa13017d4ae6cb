//! Activation functions and their layers, one row each.
//!
//! Activations take integers too, which count as `float32` wherever a fraction comes in. Where a formula has a
//! branch, the argument of the branch that is not taken is made harmless first, so that no overflow there turns
//! the gradient into NaN.

mod table;

pub use table::{Activation, ActivationSpec, ActivationVisitor};

use crate::functional::{Normalizer, inexact, zero_like};
use crate::layers::Layer;
use crate::settings::{any, divisor, not_negative};
use covector_core::{Array, Dtype, Result, ops};
use covector_derive::Tree;
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_PI};
use table::activations;

activations! {
    /// `max(x, 0)`, with the derivative 0 at 0.
    relu / try_relu => Relu "ReLU" {}
    |x| { ops::try_maximum(x, &zero_like(x)) }

    /// `max(x, 0)²`.
    relu2 / try_relu2 => Relu2 "ReLU2" {}
    |x| { ops::try_square(&try_relu(x)?) }

    /// `min(max(x, 0), 6)`.
    relu6 / try_relu6 => Relu6 "ReLU6" {}
    |x| {
        let x = inexact(x);
        ops::try_minimum(&try_relu(&x)?, &ops::constant_like(&x, 6.0))
    }

    /// `x` where it is not negative, `negative_slope · x` elsewhere.
    leaky_relu / try_leaky_relu => LeakyRelu "LeakyReLU" {
        /// The slope below 0.
        negative_slope: f64 = 0.01;
    }
    |x| once {
        let x = inexact(x);
        keep_positive(&x, &(&x * negative_slope))
    }

    /// `x` where it is positive, `alpha · (eˣ − 1)` elsewhere.
    elu / try_elu => Elu "ELU" {
        /// The distance of the asymptote from 0.
        alpha: f64 = 1.0;
    }
    |x| once {
        let x = inexact(x);
        exponential_below(&x, &(ops::try_expm1(&negative_part(&x)?)? * alpha))
    }

    /// `x` where it is positive, `alpha · (e^(x / alpha) − 1)` elsewhere: an `elu` with slope 1 at 0 for every alpha.
    celu / try_celu => Celu "CELU" {
        /// The distance of the asymptote from 0.
        alpha: f64 = 1.0, divisor;
    }
    |x| once {
        let x = inexact(x);
        exponential_below(&x, &(ops::try_expm1(&(negative_part(&x)? / alpha))? * alpha))
    }

    /// `elu` scaled so that activations keep mean 0 and variance 1 (Klambauer et al., 2017).
    selu / try_selu => Selu "SELU" {}
    |x| once {
        // 1.6732632… and 1.0507009…, to as many places as MLX has, so that the values agree.
        const ALPHA: f64 = 1.67326;
        const SCALE: f64 = 1.0507;
        Ok(try_elu(x, ALPHA)? * SCALE)
    }

    /// `x · Φ(x)`, where Φ is the distribution function of the standard normal distribution: `x · (1 + erf(x/√2)) / 2`.
    gelu / try_gelu => Gelu {}
    |x| once {
        let x = inexact(x);
        ops::try_multiply(&x, &((ops::try_erf(&(&x * FRAC_1_SQRT_2))? + 1.0) * 0.5))
    }

    /// `gelu` with a hyperbolic tangent for the error function: `x · (1 + tanh(√(2/π) · (x + 0.044715 x³))) / 2`.
    gelu_approx / try_gelu_approx => GeluApprox {}
    |x| once {
        let x = inexact(x);
        // The tangent is ±1 in every type long before 16, and the cube of a large number overflows.
        let limit = |v: f64| ops::constant_like(&x, v);
        let near = ops::try_minimum(&ops::try_maximum(&x, &limit(-16.0))?, &limit(16.0))?;
        let cubed = ops::try_multiply(&near, &ops::try_square(&near)?)?;
        let inner = ops::try_add(&near, &(cubed * 0.044_715))? * FRAC_2_PI.sqrt();
        ops::try_multiply(&x, &((ops::try_tanh(&inner)? + 1.0) * 0.5))
    }

    /// `gelu` with a sigmoid for the distribution function: `x · σ(1.702 x)`.
    gelu_fast_approx / try_gelu_fast_approx => GeluFastApprox {}
    |x| once {
        let x = inexact(x);
        ops::try_multiply(&x, &ops::try_sigmoid(&(&x * 1.702))?)
    }

    /// `x · σ(x)`, also called swish.
    silu / try_silu => Silu "SiLU" {}
    |x| once {
        let x = inexact(x);
        ops::try_multiply(&x, &ops::try_sigmoid(&x)?)
    }

    /// `σ(x) = 1 / (1 + e⁻ˣ)`.
    sigmoid / try_sigmoid => Sigmoid "Sigmoid" {}

    /// The hyperbolic tangent.
    tanh / try_tanh => Tanh "Tanh" {}

    /// `log(1 + eˣ)`, without overflow; all its derivatives are right at 0, too.
    softplus / try_softplus => Softplus "Softplus" {}
    |x| once {
        let x = inexact(x);
        ops::try_logaddexp(&x, &zero_like(&x))
    }

    /// `x / (1 + |x|)`.
    softsign / try_softsign => Softsign "Softsign" {}
    |x| once {
        let x = inexact(x);
        ops::try_divide(&x, &(ops::try_abs(&x)? + 1.0))
    }

    /// `x` drawn towards 0 by `lambd`, and 0 where it is within `lambd` of it.
    softshrink / try_softshrink => Softshrink "Softshrink" {
        /// Half the width of the interval that becomes 0.
        lambd: f64 = 0.5, not_negative;
    }
    |x| once {
        let x = inexact(x);
        let beyond = ops::try_greater(&ops::try_abs(&x)?, &ops::constant_like(&x, lambd))?;
        let shrunk = ops::try_subtract(&x, &(ops::try_sign(&x)? * lambd))?;
        ops::try_where_(&beyond, &shrunk, &zero_like(&x))
    }

    /// `x`, but 0 where it is within `lambd` of 0.
    hard_shrink / try_hard_shrink => HardShrink "HardShrink" {
        /// Half the width of the interval that becomes 0.
        lambd: f64 = 0.5, not_negative;
    }
    |x| {
        let size = inexact(&ops::try_abs(x)?);
        let beyond = ops::try_greater(&size, &ops::constant_like(&size, lambd))?;
        ops::try_where_(&beyond, x, &zero_like(x))
    }

    /// `x · min(max(x + 3, 0), 6) / 6`.
    hardswish / try_hardswish => Hardswish "Hardswish" {}
    |x| once {
        let x = inexact(x);
        ops::try_multiply(&x, &(try_relu6(&(&x + 3.0))? / 6.0))
    }

    /// `x` limited to the range from `min_val` to `max_val`.
    hard_tanh / try_hard_tanh => HardTanh "HardTanh" {
        /// The lower limit.
        min_val: f64 = -1.0;
        /// The upper limit.
        max_val: f64 = 1.0;
    }
    |x| {
        let x = inexact(x);
        let limit = |v: f64| ops::constant_like(&x, v);
        ops::try_clip(&x, Some(&limit(min_val)), Some(&limit(max_val)))
    }

    /// `x · tanh(log(1 + eˣ))`.
    mish / try_mish => Mish "Mish" {}
    |x| once {
        let x = inexact(x);
        ops::try_multiply(&x, &ops::try_tanh(&try_softplus(&x)?)?)
    }

    /// `log σ(x)`, without underflow.
    log_sigmoid / try_log_sigmoid => LogSigmoid "LogSigmoid" {}
    |x| once { ops::try_negative(&try_softplus(&ops::try_negative(&inexact(x))?)?) }

    /// `eˣ / Σ eˣ` along an axis.
    softmax / try_softmax => Softmax "Softmax" {
        /// The axis.
        axis: isize = -1;
    }
    |x| { ops::try_softmax(x, &[axis]) }

    /// `e⁻ˣ / Σ e⁻ˣ` along an axis.
    softmin / try_softmin => Softmin "Softmin" {
        /// The axis.
        axis: isize = -1;
    }
    |x| { ops::try_softmax(&ops::try_negative(&inexact(x))?, &[axis]) }

    /// `x − log Σ eˣ` along an axis, without overflow, and without loss of digits at any magnitude.
    log_softmax / try_log_softmax => LogSoftmax "LogSoftmax" {
        /// The axis.
        axis: isize = -1;
    }
    |x| once {
        let x = inexact(x);
        if x.size() == 0 {
            return ops::try_subtract(&x, &ops::try_logsumexp_axes(&x, &[axis], true)?);
        }
        let Normalizer { shifted, log_sum, .. } = Normalizer::new(&x, axis)?;
        ops::try_subtract(&shifted, &log_sum)
    }

    /// 1 where `x ≥ threshold`, 0 elsewhere, as `int32`. It has no gradient.
    step / try_step => Step "Step" {
        /// The least number that gives 1.
        threshold: f64 = 0.0;
    }
    |x| {
        let x = inexact(x);
        Ok(ops::try_greater_equal(&x, &ops::constant_like(&x, threshold))?.astype(Dtype::I32))
    }

    /// Half of `x` gated by the other half: `a · σ(b)`, where `a` and `b` are the halves along an axis.
    glu / try_glu => Glu "GLU" {
        /// The axis.
        axis: isize = -1;
    }
    |x| once {
        let halves = ops::try_split(&inexact(x), 2, axis)?;
        ops::try_multiply(&halves[0], &ops::try_sigmoid(&halves[1])?)
    }
}

/// `x` where it is negative, 0 elsewhere, with the derivative 1 at 0.
fn negative_part(x: &Array) -> Result<Array> {
    let zero = zero_like(x);
    ops::try_where_(&ops::try_greater(x, &zero)?, &zero, x)
}

/// `x` where it is not negative, which includes 0, `below` elsewhere.
pub(crate) fn keep_positive(x: &Array, below: &Array) -> Result<Array> {
    ops::try_where_(&ops::try_greater_equal(x, &zero_like(x))?, x, below)
}

/// `x` where it is positive, `below`, whose derivative counts at 0, elsewhere.
fn exponential_below(x: &Array, below: &Array) -> Result<Array> {
    ops::try_where_(&ops::try_greater(x, &zero_like(x))?, x, below)
}
