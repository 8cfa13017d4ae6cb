//! The optimizers, one row each.

use crate::optim::table::optimizers;
use crate::optim::{Optimizer, StepContext, average, descend, squared};
use crate::settings::{any, decay, finite, from_zero};
use covector_core::{Array, Error, Result, ops};

optimizers! {
    /// Stochastic gradient descent: `w − λ · g`.
    ///
    /// With momentum the step is along `v = momentum · v + (1 − dampening) · g`, with Nesterov momentum along
    /// `g + momentum · v`.
    Sgd "SGD" {
        /// The share of the previous direction that is kept.
        momentum: f64 = 0.0, from_zero;
        /// This times the parameter is added to the gradient.
        weight_decay: f64 = 0.0, finite;
        /// The share of the gradient that is left out of the direction.
        dampening: f64 = 0.0, finite;
        /// Whether to look ahead along the momentum.
        nesterov: bool = false;
    }
    check |s| {
        if s.nesterov && (s.momentum <= 0.0 || s.dampening != 0.0) {
            return Err(Error::value("Sgd", format!(
                "Nesterov momentum requires a momentum and zero dampening, but the momentum is {} and the dampening {}",
                s.momentum, s.dampening
            )));
        }
    }
    slots [v] if (|s: &Sgd| s.momentum != 0.0)
    |s, cx, w, g| {
        let g = if s.weight_decay == 0.0 { g.clone() } else { ops::try_add(g, &(w * s.weight_decay))? };
        let Some(v) = v else { return Ok((descend(cx, w, &g)?, vec![])) };
        let fresh = if s.dampening == 0.0 { g.clone() } else { &g * (1.0 - s.dampening) };
        let v = ops::try_add(&(v * s.momentum), &fresh)?;
        let direction = if s.nesterov { ops::try_add(&g, &(&v * s.momentum))? } else { v.clone() };
        Ok((descend(cx, w, &direction)?, vec![v]))
    }

    /// A running mean of squares (Tieleman and Hinton, 2012): `w − λ · g / (√v + eps)`.
    ///
    /// `v = alpha · v + (1 − alpha) · g²`.
    RmsProp "RMSprop" {
        /// The decay of the mean.
        alpha: f64 = 0.99, decay;
        /// Keeps the divisor from being zero.
        eps: f64 = 1e-8, from_zero;
    }
    slots [v]
    |s, cx, w, g| {
        let v = average(cx, s.alpha, v, &squared(g)?)?;
        Ok((over_root(cx, w, g, &v, s.eps)?, vec![v]))
    }

    /// The sum of all squares so far (Duchi et al., 2011): `w − λ · g / (√v + eps)` with `v = v + g²`.
    Adagrad "Adagrad" {
        /// Keeps the divisor from being zero.
        eps: f64 = 1e-8, from_zero;
    }
    slots [v]
    |s, cx, w, g| {
        let v = ops::try_add(v, &squared(g)?)?;
        Ok((over_root(cx, w, g, &v, s.eps)?, vec![v]))
    }

    /// Steps in the parameter's own unit (Zeiler, 2012): `w − λ · g · √(u + eps) / √(v + eps)`.
    ///
    /// `v` and `u` are running means of the squares of gradients and of steps.
    AdaDelta "AdaDelta" {
        /// The decay of the two means.
        rho: f64 = 0.9, decay;
        /// Keeps the roots from being zero.
        eps: f64 = 1e-6, from_zero;
    }
    slots [v, u]
    |s, cx, w, g| {
        let v = average(cx, s.rho, v, &squared(g)?)?;
        let unit =
            ops::try_divide(&ops::try_sqrt(&added(cx, u, s.eps)?)?, &ops::try_sqrt(&added(cx, &v, s.eps)?)?)?;
        let delta = ops::try_multiply(&unit, g)?;
        let u = average(cx, s.rho, u, &squared(&delta)?)?;
        Ok((descend(cx, w, &delta)?, vec![v, u]))
    }

    /// Moving averages of the gradient and of its square (Kingma and Ba, 2015): `w − λ · m / (√v + eps)`.
    ///
    /// `m = β₁ · m + (1 − β₁) · g` and `v = β₂ · v + (1 − β₂) · g²`. Both start at zero and are too small in the first
    /// steps; bias correction divides them by `1 − βᵗ`.
    Adam "Adam" {
        /// β₁ and β₂.
        betas: [f64; 2] = [0.9, 0.999], decay;
        /// Keeps the divisor from being zero.
        eps: f64 = 1e-8, from_zero;
        /// Whether the averages are corrected for their start at zero.
        bias_correction: bool = false;
    }
    slots [m, v]
    |s, cx, w, g| { adam(cx, w, g, [m, v], s.betas, s.eps, s.bias_correction) }

    /// `Adam` with decoupled weight decay (Loshchilov and Hutter, 2019).
    ///
    /// The parameter is first scaled by `1 − λ · weight_decay`.
    AdamW "AdamW" extends "Adam" {
        /// β₁ and β₂.
        betas: [f64; 2] = [0.9, 0.999], decay;
        /// Keeps the divisor from being zero.
        eps: f64 = 1e-8, from_zero;
        /// The pull towards zero.
        weight_decay: f64 = 0.01, finite;
        /// Whether the averages are corrected for their start at zero.
        bias_correction: bool = false;
    }
    slots [m, v]
    |s, cx, w, g| {
        adam(cx, &decayed(cx, w, s.weight_decay)?, g, [m, v], s.betas, s.eps, s.bias_correction)
    }

    /// `Adam` with the largest recent gradient for the root mean square: `w − λ · m / (v + eps)`.
    ///
    /// `v = max(β₂ · v, |g|)`.
    Adamax "Adamax" extends "Adam" {
        /// β₁ and β₂.
        betas: [f64; 2] = [0.9, 0.999], decay;
        /// Keeps the divisor from being zero.
        eps: f64 = 1e-8, from_zero;
    }
    slots [m, v]
    |s, cx, w, g| {
        let m = average(cx, s.betas[0], m, g)?;
        let size = ops::try_abs(g)?.astype(g.dtype());
        let v = ops::try_maximum(&(v * s.betas[1]), &size)?;
        let direction = ops::try_divide(&m, &added(cx, &v, s.eps)?)?;
        Ok((descend(cx, w, &direction)?, vec![m, v]))
    }

    /// Only the sign of an average counts (Chen et al., 2023): `w − λ · sign(β₁ · m + (1 − β₁) · g)`.
    ///
    /// `m = β₂ · m + (1 − β₂) · g`, and the parameter is first scaled by `1 − λ · weight_decay`. The learning rate is
    /// usually a tenth of one that suits `AdamW`.
    Lion "Lion" {
        /// β₁ and β₂.
        betas: [f64; 2] = [0.9, 0.99], decay;
        /// The pull towards zero.
        weight_decay: f64 = 0.0, finite;
    }
    slots [m]
    |s, cx, w, g| {
        let direction = ops::try_sign(&average(cx, s.betas[0], m, g)?)?;
        let m = average(cx, s.betas[1], m, g)?;
        Ok((descend(cx, &decayed(cx, w, s.weight_decay)?, &direction)?, vec![m]))
    }
}

/// `w − λ · m / (√v + eps)` and the new averages.
fn adam(
    cx: &StepContext,
    w: &Array,
    g: &Array,
    [m, v]: [&Array; 2],
    betas: [f64; 2],
    eps: f64,
    bias_correction: bool,
) -> Result<(Array, Vec<Array>)> {
    let m = average(cx, betas[0], m, g)?;
    let v = average(cx, betas[1], v, &squared(g)?)?;
    let (mut rate, mut root) = (cx.rate.clone(), ops::try_sqrt(&v)?);
    if bias_correction {
        // 1 − βᵗ, in the type that steps are counted in.
        let correction = |beta: f64| -> Result<Array> {
            let left = ops::try_power(&cx.number(beta, &cx.step), &cx.step)?;
            ops::try_subtract(&cx.number(1.0, &left), &left)
        };
        rate = ops::try_divide(&rate, &correction(betas[0])?.astype(rate.dtype()))?;
        let scale = ops::try_rsqrt(&correction(betas[1])?)?;
        root = ops::try_multiply(&root, &scale.astype(root.dtype()))?;
    }
    let change = ops::try_divide(&ops::try_multiply(&rate, &m)?, &added(cx, &root, eps)?)?;
    Ok((ops::try_subtract(w, &change)?, vec![m, v]))
}

/// `w − λ · g / (√v + eps)`.
fn over_root(cx: &StepContext, w: &Array, g: &Array, v: &Array, eps: f64) -> Result<Array> {
    let change = ops::try_divide(&ops::try_multiply(&cx.rate, g)?, &added(cx, &ops::try_sqrt(v)?, eps)?)?;
    ops::try_subtract(w, &change)
}

/// `w · (1 − λ · decay)`.
fn decayed(cx: &StepContext, w: &Array, decay: f64) -> Result<Array> {
    if decay == 0.0 {
        return Ok(w.clone());
    }
    let loss = ops::try_multiply(&cx.rate, &cx.number(decay, &cx.rate))?;
    ops::try_multiply(w, &ops::try_subtract(&cx.number(1.0, &loss), &loss)?)
}

/// `x + eps`.
fn added(cx: &StepContext, x: &Array, eps: f64) -> Result<Array> {
    ops::try_add(x, &cx.number(eps, x))
}
