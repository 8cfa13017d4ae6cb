//! Learning rates that change with the steps.

use covector_core::{Array, Dtype, Error, Result, ops};
use std::f64::consts::PI;
use std::fmt;
use std::sync::Arc;

type Rate = dyn Fn(&Array) -> Result<Array> + Send + Sync;

/// A learning rate: a number, an array, or a function of the number of steps taken.
///
/// ```
/// use covector_core::Array;
/// use covector_nn::optim::{Schedule, Sgd, linear_schedule};
/// let constant = Sgd::new(0.1);
/// let warming_up = Sgd::new(linear_schedule(0.0, 0.1, 100)?);
/// let own = Sgd::new(|step: &Array| 0.1 / (step + 1));
/// assert_eq!(own.learning_rate.at(&Array::scalar(3u64))?.item::<f32>(), 0.025);
/// # Ok::<(), covector_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Schedule(Kind);

#[derive(Clone)]
enum Kind {
    Constant(f64),
    Function(Arc<Rate>),
}

impl Schedule {
    /// A schedule from a function of the number of steps taken, a `uint64` scalar.
    pub fn new(rate: impl Fn(&Array) -> Result<Array> + Send + Sync + 'static) -> Self {
        Schedule(Kind::Function(Arc::new(rate)))
    }

    /// The learning rate after `step` steps. A number stays as precise as it is, in `float64`.
    ///
    /// # Errors
    /// When the function fails, or does not give a scalar.
    pub fn at(&self, step: &Array) -> Result<Array> {
        match &self.0 {
            Kind::Constant(rate) => Ok(Array::scalar(*rate)),
            Kind::Function(rate) => {
                let rate = rate(step)?;
                if rate.ndim() == 0 {
                    return Ok(rate);
                }
                let shape = covector_core::shape::ShapeText(rate.shape()).to_string();
                Err(Error::shape(
                    "learning_rate",
                    format!("a schedule must give a scalar, of shape (), but it gave shape {shape}"),
                ))
            }
        }
    }
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Constant(rate) => write!(f, "{rate:?}"),
            Kind::Function(_) => f.write_str("Schedule(..)"),
        }
    }
}

impl From<f64> for Schedule {
    fn from(rate: f64) -> Self {
        Schedule(Kind::Constant(rate))
    }
}

/// A scalar, which may be part of a transform: differentiating with respect to a learning rate works.
impl From<Array> for Schedule {
    fn from(rate: Array) -> Self {
        Schedule::new(move |_| Ok(rate.clone()))
    }
}

impl<F: Fn(&Array) -> Array + Send + Sync + 'static> From<F> for Schedule {
    fn from(rate: F) -> Self {
        Schedule::new(move |step| Ok(rate(step)))
    }
}

fn float(rate: &Array) -> Array {
    rate.astype(Dtype::F32)
}

/// A number of steps for a formula, in `float64`: after millions of steps neither the number nor a decay to its power
/// loses digits. The resulting rate is rounded once.
fn counted(steps: &Array) -> Array {
    steps.astype(Dtype::F64)
}

fn at_least_one(op: &'static str, name: &str, steps: u64) -> Result<()> {
    if steps == 0 { Err(Error::value(op, format!("{name} must be at least 1, not 0"))) } else { Ok(()) }
}

/// `init · decay_rateᵗ` after `t` steps.
pub fn exponential_decay(init: f64, decay_rate: f64) -> Schedule {
    Schedule::new(move |step| {
        let step = counted(step);
        Ok(float(&(ops::try_power(&ops::constant_like(&step, decay_rate), &step)? * init)))
    })
}

/// `init`, multiplied by `decay_rate` after every `step_size` steps.
///
/// # Errors
/// When `step_size` is 0.
pub fn step_decay(init: f64, decay_rate: f64, step_size: u64) -> Result<Schedule> {
    at_least_one("step_decay", "step_size", step_size)?;
    Ok(Schedule::new(move |step| {
        let times = counted(&ops::try_floor_divide(step, &Array::scalar(step_size))?);
        Ok(float(&(ops::try_power(&ops::constant_like(&times, decay_rate), &times)? * init)))
    }))
}

/// Half a cosine from `init` down to `end` over `decay_steps` steps, and `end` from then on.
///
/// # Errors
/// When `decay_steps` is 0.
pub fn cosine_decay(init: f64, decay_steps: u64, end: f64) -> Result<Schedule> {
    at_least_one("cosine_decay", "decay_steps", decay_steps)?;
    Ok(Schedule::new(move |step| {
        let step = counted(&ops::try_minimum(step, &Array::scalar(decay_steps))?);
        let share = (ops::try_cos(&(step * (PI / decay_steps as f64)))? + 1.0) * 0.5;
        Ok(float(&(share * (init - end) + end)))
    }))
}

/// A straight line from `init` to `end` over `steps` steps, and `end` from then on.
///
/// # Errors
/// When `steps` is 0.
pub fn linear_schedule(init: f64, end: f64, steps: u64) -> Result<Schedule> {
    at_least_one("linear_schedule", "steps", steps)?;
    Ok(Schedule::new(move |step| {
        let step = counted(&ops::try_minimum(step, &Array::scalar(steps))?);
        Ok(float(&(step * ((end - init) / steps as f64) + init)))
    }))
}

/// One schedule after the other: the next begins, counting from 0, at each of the `boundaries`.
///
/// ```
/// use covector_nn::optim::{cosine_decay, join_schedules, linear_schedule};
/// let warm_up_then_decay = join_schedules(&[linear_schedule(0.0, 0.1, 10)?, cosine_decay(0.1, 200, 0.0)?], &[10])?;
/// # let _ = warm_up_then_decay;
/// # Ok::<(), covector_core::Error>(())
/// ```
///
/// # Errors
/// When there are no schedules, or the number of boundaries is not one less than that of schedules.
pub fn join_schedules(schedules: &[Schedule], boundaries: &[u64]) -> Result<Schedule> {
    let Some((first, rest)) = schedules.split_first() else {
        return Err(Error::value("join_schedules", "no schedules were given; give at least one"));
    };
    if rest.len() != boundaries.len() {
        return Err(Error::value(
            "join_schedules",
            format!(
                "{} boundaries do not separate {} schedules; give {}",
                boundaries.len(),
                schedules.len(),
                rest.len()
            ),
        ));
    }
    let (first, rest) = (first.clone(), rest.to_vec());
    let boundaries = boundaries.to_vec();
    Ok(Schedule::new(move |step| {
        let mut rate = float(&first.at(step)?);
        for (schedule, &boundary) in rest.iter().zip(&boundaries) {
            let boundary = Array::scalar(boundary);
            // Unsigned numbers would wrap below 0.
            let since = ops::try_subtract(&ops::try_maximum(step, &boundary)?, &boundary)?;
            let next = float(&schedule.at(&since)?);
            rate = ops::try_where_(&ops::try_less(step, &boundary)?, &rate, &next)?;
        }
        Ok(rate)
    }))
}
