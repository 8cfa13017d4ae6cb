//! Stochastic gradient descent.

use crate::optim::{Now, Optimizer, Schedule, check_finite, check_range, descend};
use covector_core::{Array, Error, Result, ops};

/// Steps against the gradient: `w − rate · g`; with momentum against the running sum `v = momentum · v + g`, or
/// with Nesterov momentum against `g + momentum · v`.
#[derive(Clone, Debug)]
pub struct Sgd {
    /// The length of a step.
    pub learning_rate: Schedule,
    /// How much of the previous direction is kept.
    pub momentum: f64,
    /// The pull towards zero: this times the parameter is added to the gradient.
    pub weight_decay: f64,
    /// The share of the gradient that is left out of the running sum.
    pub dampening: f64,
    /// Whether to look ahead along the momentum.
    pub nesterov: bool,
}

impl Sgd {
    /// Plain gradient descent. Other settings are fields: `Sgd { momentum: 0.9, ..Sgd::new(0.1) }`.
    pub fn new(learning_rate: impl Into<Schedule>) -> Self {
        let learning_rate = learning_rate.into();
        Self { learning_rate, momentum: 0.0, weight_decay: 0.0, dampening: 0.0, nesterov: false }
    }
}

impl Optimizer for Sgd {
    fn learning_rate(&self) -> &Schedule {
        &self.learning_rate
    }

    fn slots(&self) -> &'static [&'static str] {
        if self.momentum == 0.0 { &[] } else { &["v"] }
    }

    fn check(&self) -> Result<()> {
        check_range("Sgd", "momentum", self.momentum, 0.0..f64::INFINITY)?;
        check_finite("Sgd", "dampening", self.dampening)?;
        check_finite("Sgd", "weight_decay", self.weight_decay)?;
        if self.nesterov && (self.momentum <= 0.0 || self.dampening != 0.0) {
            return Err(Error::value(
                "Sgd",
                format!(
                    "Nesterov momentum requires a momentum and zero dampening, but the momentum is {} and the \
                     dampening {}",
                    self.momentum, self.dampening
                ),
            ));
        }
        Ok(())
    }

    fn step(&self, now: &Now, param: &Array, grad: &Array, slots: &[Array]) -> Result<(Array, Vec<Array>)> {
        let grad = if self.weight_decay == 0.0 {
            grad.clone()
        } else {
            ops::try_add(grad, &(param * self.weight_decay))?
        };
        if self.momentum == 0.0 {
            return Ok((descend(now, param, &grad)?, slots.to_vec()));
        }
        let fresh = if self.dampening == 0.0 { grad.clone() } else { &grad * (1.0 - self.dampening) };
        let velocity = ops::try_add(&(&slots[0] * self.momentum), &fresh)?;
        let direction =
            if self.nesterov { ops::try_add(&grad, &(&velocity * self.momentum))? } else { velocity.clone() };
        Ok((descend(now, param, &direction)?, vec![velocity]))
    }
}
