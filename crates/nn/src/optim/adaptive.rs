//! Optimizers that scale each element's step by the history of its gradients.

use crate::optim::{Now, Optimizer, Schedule, average, check_finite, check_range, descend, squared};
use covector_core::{Array, Result, ops};

/// Moving averages of the gradient and its square (Kingma and Ba, 2015): `w − rate · m / (√v + eps)` with
/// `m = β₁ m + (1 − β₁) g` and `v = β₂ v + (1 − β₂) g²`.
///
/// The averages start at zero and so are too small at first. `bias_correction` divides them by `1 − βᵗ`; it is
/// off by default.
#[derive(Clone, Debug)]
pub struct Adam {
    /// The length of a step.
    pub learning_rate: Schedule,
    /// The decay of the two averages, β₁ and β₂.
    pub betas: [f64; 2],
    /// Keeps the divisor from being zero.
    pub eps: f64,
    /// Whether the averages are corrected for their start at zero.
    pub bias_correction: bool,
}

impl Adam {
    /// With `betas` 0.9 and 0.999, `eps` 1e-8 and no bias correction; all of them are fields.
    pub fn new(learning_rate: impl Into<Schedule>) -> Self {
        Self { learning_rate: learning_rate.into(), betas: [0.9, 0.999], eps: 1e-8, bias_correction: false }
    }
}

fn check_betas(op: &'static str, betas: [f64; 2]) -> Result<()> {
    check_range(op, "beta1", betas[0], 0.0..1.0)?;
    check_range(op, "beta2", betas[1], 0.0..1.0)
}

impl Optimizer for Adam {
    fn learning_rate(&self) -> &Schedule {
        &self.learning_rate
    }

    fn slots(&self) -> &'static [&'static str] {
        &["m", "v"]
    }

    fn check(&self) -> Result<()> {
        check_betas("Adam", self.betas)?;
        check_range("Adam", "eps", self.eps, 0.0..f64::INFINITY)
    }

    fn step(&self, now: &Now, param: &Array, grad: &Array, slots: &[Array]) -> Result<(Array, Vec<Array>)> {
        let m = average(now, self.betas[0], &slots[0], grad)?;
        let v = average(now, self.betas[1], &slots[1], &squared(grad)?)?;
        let (mut rate, mut root) = (now.rate.clone(), ops::try_sqrt(&v)?);
        if self.bias_correction {
            // 1 − βᵗ, in the type that steps are counted in.
            let correction = |beta: f64| -> Result<Array> {
                let left = ops::try_power(&now.number(beta, &now.step), &now.step)?;
                ops::try_subtract(&now.number(1.0, &left), &left)
            };
            rate = ops::try_divide(&rate, &correction(self.betas[0])?.astype(rate.dtype()))?;
            let scale = ops::try_rsqrt(&correction(self.betas[1])?)?;
            root = ops::try_multiply(&root, &scale.astype(root.dtype()))?;
        }
        let change = ops::try_divide(&ops::try_multiply(&rate, &m)?, &added(now, &root, self.eps)?)?;
        Ok((ops::try_subtract(param, &change)?, vec![m, v]))
    }
}

/// [`Adam`] with decoupled weight decay (Loshchilov and Hutter, 2019): the parameter is first scaled by
/// `1 − rate · weight_decay`.
#[derive(Clone, Debug)]
pub struct AdamW {
    /// The length of a step.
    pub learning_rate: Schedule,
    /// The decay of the two averages, β₁ and β₂.
    pub betas: [f64; 2],
    /// Keeps the divisor from being zero.
    pub eps: f64,
    /// The pull towards zero.
    pub weight_decay: f64,
    /// Whether the averages are corrected for their start at zero.
    pub bias_correction: bool,
}

impl AdamW {
    /// As [`Adam::new`], with `weight_decay` 0.01.
    pub fn new(learning_rate: impl Into<Schedule>) -> Self {
        let Adam { learning_rate, betas, eps, bias_correction } = Adam::new(learning_rate);
        Self { learning_rate, betas, eps, weight_decay: 0.01, bias_correction }
    }
}

impl Optimizer for AdamW {
    fn learning_rate(&self) -> &Schedule {
        &self.learning_rate
    }

    fn slots(&self) -> &'static [&'static str] {
        &["m", "v"]
    }

    fn check(&self) -> Result<()> {
        check_betas("AdamW", self.betas)?;
        check_finite("AdamW", "weight_decay", self.weight_decay)?;
        check_range("AdamW", "eps", self.eps, 0.0..f64::INFINITY)
    }

    fn step(&self, now: &Now, param: &Array, grad: &Array, slots: &[Array]) -> Result<(Array, Vec<Array>)> {
        let &AdamW { betas, eps, bias_correction, .. } = self;
        let adam = Adam { learning_rate: Schedule::from(0.0), betas, eps, bias_correction };
        adam.step(now, &decayed(now, param, self.weight_decay)?, grad, slots)
    }
}

/// `param · (1 − rate · decay)`.
fn decayed(now: &Now, param: &Array, decay: f64) -> Result<Array> {
    if decay == 0.0 {
        return Ok(param.clone());
    }
    let loss = ops::try_multiply(&now.rate, &now.number(decay, &now.rate))?;
    ops::try_multiply(param, &ops::try_subtract(&now.number(1.0, &loss), &loss)?)
}

/// `x + eps`.
fn added(now: &Now, x: &Array, eps: f64) -> Result<Array> {
    ops::try_add(x, &now.number(eps, x))
}

/// [`Adam`] with the largest recent gradient in place of the root mean square: `w − rate · m / (v + eps)` with
/// `v = max(β₂ v, |g|)`.
#[derive(Clone, Debug)]
pub struct Adamax {
    /// The length of a step.
    pub learning_rate: Schedule,
    /// The decay of the average and of the maximum.
    pub betas: [f64; 2],
    /// Keeps the divisor from being zero.
    pub eps: f64,
}

impl Adamax {
    /// With `betas` 0.9 and 0.999 and `eps` 1e-8.
    pub fn new(learning_rate: impl Into<Schedule>) -> Self {
        Self { learning_rate: learning_rate.into(), betas: [0.9, 0.999], eps: 1e-8 }
    }
}

impl Optimizer for Adamax {
    fn learning_rate(&self) -> &Schedule {
        &self.learning_rate
    }

    fn slots(&self) -> &'static [&'static str] {
        &["m", "v"]
    }

    fn check(&self) -> Result<()> {
        check_betas("Adamax", self.betas)?;
        check_range("Adamax", "eps", self.eps, 0.0..f64::INFINITY)
    }

    fn step(&self, now: &Now, param: &Array, grad: &Array, slots: &[Array]) -> Result<(Array, Vec<Array>)> {
        let m = average(now, self.betas[0], &slots[0], grad)?;
        let size = ops::try_abs(grad)?.astype(grad.dtype());
        let v = ops::try_maximum(&(&slots[1] * self.betas[1]), &size)?;
        let direction = ops::try_divide(&m, &added(now, &v, self.eps)?)?;
        Ok((descend(now, param, &direction)?, vec![m, v]))
    }
}

/// A running mean of squares (Tieleman and Hinton, 2012): `w − rate · g / (√v + eps)` with
/// `v = alpha · v + (1 − alpha) g²`.
#[derive(Clone, Debug)]
pub struct RmsProp {
    /// The length of a step.
    pub learning_rate: Schedule,
    /// The decay of the mean.
    pub alpha: f64,
    /// Keeps the divisor from being zero.
    pub eps: f64,
}

impl RmsProp {
    /// With `alpha` 0.99 and `eps` 1e-8.
    pub fn new(learning_rate: impl Into<Schedule>) -> Self {
        Self { learning_rate: learning_rate.into(), alpha: 0.99, eps: 1e-8 }
    }
}

impl Optimizer for RmsProp {
    fn learning_rate(&self) -> &Schedule {
        &self.learning_rate
    }

    fn slots(&self) -> &'static [&'static str] {
        &["v"]
    }

    fn check(&self) -> Result<()> {
        check_range("RmsProp", "alpha", self.alpha, 0.0..1.0)?;
        check_range("RmsProp", "eps", self.eps, 0.0..f64::INFINITY)
    }

    fn step(&self, now: &Now, param: &Array, grad: &Array, slots: &[Array]) -> Result<(Array, Vec<Array>)> {
        let v = average(now, self.alpha, &slots[0], &squared(grad)?)?;
        let change = ops::try_divide(
            &ops::try_multiply(&now.rate, grad)?,
            &added(now, &ops::try_sqrt(&v)?, self.eps)?,
        )?;
        Ok((ops::try_subtract(param, &change)?, vec![v]))
    }
}

/// The sum of all squares so far (Duchi et al., 2011): `w − rate · g / (√v + eps)` with `v = v + g²`.
#[derive(Clone, Debug)]
pub struct Adagrad {
    /// The length of a step.
    pub learning_rate: Schedule,
    /// Keeps the divisor from being zero.
    pub eps: f64,
}

impl Adagrad {
    /// With `eps` 1e-8.
    pub fn new(learning_rate: impl Into<Schedule>) -> Self {
        Self { learning_rate: learning_rate.into(), eps: 1e-8 }
    }
}

impl Optimizer for Adagrad {
    fn learning_rate(&self) -> &Schedule {
        &self.learning_rate
    }

    fn slots(&self) -> &'static [&'static str] {
        &["v"]
    }

    fn check(&self) -> Result<()> {
        check_range("Adagrad", "eps", self.eps, 0.0..f64::INFINITY)
    }

    fn step(&self, now: &Now, param: &Array, grad: &Array, slots: &[Array]) -> Result<(Array, Vec<Array>)> {
        let v = ops::try_add(&slots[0], &squared(grad)?)?;
        let change = ops::try_divide(
            &ops::try_multiply(&now.rate, grad)?,
            &added(now, &ops::try_sqrt(&v)?, self.eps)?,
        )?;
        Ok((ops::try_subtract(param, &change)?, vec![v]))
    }
}

/// Steps in the parameter's own unit (Zeiler, 2012): the gradient times `√(u + eps) / √(v + eps)`, where `v` and
/// `u` are running means of the squares of gradients and steps.
#[derive(Clone, Debug)]
pub struct AdaDelta {
    /// A factor for the step.
    pub learning_rate: Schedule,
    /// The decay of the two means.
    pub rho: f64,
    /// Keeps both roots from being zero.
    pub eps: f64,
}

impl AdaDelta {
    /// With `rho` 0.9 and `eps` 1e-6.
    pub fn new(learning_rate: impl Into<Schedule>) -> Self {
        Self { learning_rate: learning_rate.into(), rho: 0.9, eps: 1e-6 }
    }
}

impl Optimizer for AdaDelta {
    fn learning_rate(&self) -> &Schedule {
        &self.learning_rate
    }

    fn slots(&self) -> &'static [&'static str] {
        &["v", "u"]
    }

    fn check(&self) -> Result<()> {
        check_range("AdaDelta", "rho", self.rho, 0.0..1.0)?;
        check_range("AdaDelta", "eps", self.eps, 0.0..f64::INFINITY)
    }

    fn step(&self, now: &Now, param: &Array, grad: &Array, slots: &[Array]) -> Result<(Array, Vec<Array>)> {
        let v = average(now, self.rho, &slots[0], &squared(grad)?)?;
        let unit = ops::try_divide(
            &ops::try_sqrt(&added(now, &slots[1], self.eps)?)?,
            &ops::try_sqrt(&added(now, &v, self.eps)?)?,
        )?;
        let delta = ops::try_multiply(&unit, grad)?;
        let u = average(now, self.rho, &slots[1], &squared(&delta)?)?;
        Ok((descend(now, param, &delta)?, vec![v, u]))
    }
}

/// Only the sign of an average counts (Chen et al., 2023): `w − rate · sign(β₁ m + (1 − β₁) g)`, where
/// `m = β₂ m + (1 − β₂) g`.
#[derive(Clone, Debug)]
pub struct Lion {
    /// The length of a step, usually a tenth of what suits [`AdamW`].
    pub learning_rate: Schedule,
    /// The decay in the direction and in what is remembered.
    pub betas: [f64; 2],
    /// The pull towards zero.
    pub weight_decay: f64,
}

impl Lion {
    /// With `betas` 0.9 and 0.99 and no weight decay.
    pub fn new(learning_rate: impl Into<Schedule>) -> Self {
        Self { learning_rate: learning_rate.into(), betas: [0.9, 0.99], weight_decay: 0.0 }
    }
}

impl Optimizer for Lion {
    fn learning_rate(&self) -> &Schedule {
        &self.learning_rate
    }

    fn slots(&self) -> &'static [&'static str] {
        &["m"]
    }

    fn check(&self) -> Result<()> {
        check_betas("Lion", self.betas)?;
        check_finite("Lion", "weight_decay", self.weight_decay)
    }

    fn step(&self, now: &Now, param: &Array, grad: &Array, slots: &[Array]) -> Result<(Array, Vec<Array>)> {
        let direction = ops::try_sign(&average(now, self.betas[0], &slots[0], grad)?)?;
        let m = average(now, self.betas[1], &slots[0], grad)?;
        Ok((descend(now, &decayed(now, param, self.weight_decay)?, &direction)?, vec![m]))
    }
}
