//! The optimizers' part of `covector._covector.nn`: one call steps a whole tree.
//!
//! Python's optimizers hold settings and state; what one step does to one array is a rule of `covector-nn`. The
//! trees are taken apart here, once per step, so that a step costs about the same for ten arrays as for one.

use crate::array::PyArray;
use crate::convert::{Arr, Operand, Value};
use crate::errors::{OrRaise, from_py};
use crate::tree::{Tree, a_thing};
use covector_core::shape::ShapeText;
use covector_core::{Array, Dtype};
use covector_nn::optim::{self, Now, Optimizer, Schedule};
use pyo3::exceptions::{PyKeyError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

/// How one array steps along its gradient.
#[pyclass(frozen, module = "covector.optimizers")]
struct Rule {
    optimizer: Box<dyn Optimizer + Send + Sync>,
    /// The names of the arrays in each parameter's state; the rule itself may need fewer.
    names: &'static [&'static str],
}

impl Rule {
    fn new(
        optimizer: impl Optimizer + Send + Sync + 'static,
        names: &'static [&'static str],
    ) -> PyResult<Self> {
        optimizer.check().or_raise()?;
        Ok(Self { optimizer: Box::new(optimizer), names })
    }
}

#[pymethods]
impl Rule {
    #[staticmethod]
    fn sgd(momentum: f64, weight_decay: f64, dampening: f64, nesterov: bool) -> PyResult<Self> {
        Self::new(optim::Sgd { momentum, weight_decay, dampening, nesterov, ..optim::Sgd::new(0.0) }, &["v"])
    }

    #[staticmethod]
    fn adam(betas: [f64; 2], eps: f64, bias_correction: bool) -> PyResult<Self> {
        Self::new(optim::Adam { betas, eps, bias_correction, ..optim::Adam::new(0.0) }, &["m", "v"])
    }

    #[staticmethod]
    fn adamw(betas: [f64; 2], eps: f64, weight_decay: f64, bias_correction: bool) -> PyResult<Self> {
        let rule = optim::AdamW { betas, eps, weight_decay, bias_correction, ..optim::AdamW::new(0.0) };
        Self::new(rule, &["m", "v"])
    }

    #[staticmethod]
    fn adamax(betas: [f64; 2], eps: f64) -> PyResult<Self> {
        Self::new(optim::Adamax { betas, eps, ..optim::Adamax::new(0.0) }, &["m", "v"])
    }

    #[staticmethod]
    fn rmsprop(alpha: f64, eps: f64) -> PyResult<Self> {
        Self::new(optim::RmsProp { alpha, eps, ..optim::RmsProp::new(0.0) }, &["v"])
    }

    #[staticmethod]
    fn adagrad(eps: f64) -> PyResult<Self> {
        Self::new(optim::Adagrad { eps, ..optim::Adagrad::new(0.0) }, &["v"])
    }

    #[staticmethod]
    fn adadelta(rho: f64, eps: f64) -> PyResult<Self> {
        Self::new(optim::AdaDelta { rho, eps, ..optim::AdaDelta::new(0.0) }, &["v", "u"])
    }

    #[staticmethod]
    fn lion(betas: [f64; 2], weight_decay: f64) -> PyResult<Self> {
        Self::new(optim::Lion { betas, weight_decay, ..optim::Lion::new(0.0) }, &["m"])
    }

    /// The state before the first step: the tree with a dict of zeros in place of each array.
    fn init<'py>(&self, parameters: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let mut leaves = Vec::new();
        let tree = Tree::flatten(parameters, &mut leaves)?;
        tree.build(parameters.py(), |py| {
            let slots = PyDict::new(py);
            if let Some(leaf) = leaves.pop() {
                self.fill(&slots, &leaf)?;
            }
            Ok(slots.into_any())
        })
    }

    /// Adds the zeros of one parameter to its state.
    fn init_single(&self, parameter: Arr, state: &Bound<'_, PyDict>) -> PyResult<()> {
        self.fill(state, &parameter)
    }

    /// One step: the new parameters, in the structure of the gradients. The arrays in `state` are replaced.
    fn apply<'py>(
        &self,
        py: Python<'py>,
        gradients: &Bound<'py, PyAny>,
        parameters: &Bound<'py, PyAny>,
        state: &Bound<'py, PyAny>,
        learning_rate: Arr,
        step: Arr,
    ) -> PyResult<Bound<'py, PyAny>> {
        let mut grads = Vec::new();
        let tree = Tree::flatten(gradients, &mut grads)?;
        if let Some((path, x)) = tree.first_static(py) {
            return Err(PyTypeError::new_err(format!(
                "[update] gradients{path} is {}, not an array",
                a_thing(&x)
            )));
        }
        let params = tree.pick_from("update", "parameters", parameters)?;
        let states = tree.pick_from("update", "state", state)?;

        let mut nows: Vec<(Dtype, Now)> = Vec::new();
        let mut new_params = Vec::with_capacity(grads.len());
        let mut new_slots = Vec::with_capacity(grads.len() * self.names.len());
        for (i, grad) in grads.iter().enumerate() {
            let path = || tree.leaf_path(py, i);
            let param = array_at("parameters", &params[i], path)?;
            if param.shape() != grad.shape() {
                return Err(PyValueError::new_err(format!(
                    "[update] parameters{0} has shape {1}, but gradients{0} has shape {2}; they must be equal",
                    path(),
                    ShapeText(param.shape()),
                    ShapeText(grad.shape())
                )));
            }
            let Ok(slots) = states[i].cast::<PyDict>() else {
                return Err(PyKeyError::new_err(format!(
                    "the optimizer has no state for parameters{}",
                    path()
                )));
            };
            let mut old = Vec::with_capacity(self.names.len());
            for name in self.names {
                let Some(slot) = slots.get_item(name)? else {
                    return Err(PyKeyError::new_err(format!(
                        "the optimizer's state for parameters{} has no {name:?}; was it made by another optimizer? \
                         Make it with init()",
                        path()
                    )));
                };
                let slot = array_at("state", &slot, path)?;
                if slot.shape() != grad.shape() {
                    return Err(PyValueError::new_err(format!(
                        "[update] gradients{} has shape {}, but the optimizer's state was made for shape {}; make a \
                         new one with init()",
                        path(),
                        ShapeText(grad.shape()),
                        ShapeText(slot.shape())
                    )));
                }
                old.push(slot);
            }
            let dtype = grad.dtype();
            if !nows.iter().any(|(d, _)| *d == dtype) {
                nows.push((dtype, Now::new(&learning_rate, &step, dtype)));
            }
            let now = nows.iter().find_map(|(d, now)| (*d == dtype).then_some(now)).expect("pushed above");
            let used = self.optimizer.slots().len();
            let (param, slots) = self.optimizer.advance(now, &param, grad, &old[..used]).or_raise()?;
            new_params.push(param);
            new_slots.extend(slots);
            new_slots.extend_from_slice(&old[used..]);
        }
        let all = new_params.iter().chain(&new_slots).chain([&*learning_rate, &*step]);
        py.detach(|| optim::settle(all)).or_raise()?;

        let mut rest = new_slots.into_iter();
        for slots in &states {
            let slots = slots.cast::<PyDict>()?;
            for (name, array) in self.names.iter().zip(&mut rest) {
                slots.set_item(name, PyArray::new(array))?;
            }
        }
        tree.unflatten(py, &new_params)
    }
}

impl Rule {
    fn fill(&self, state: &Bound<'_, PyDict>, parameter: &Array) -> PyResult<()> {
        for name in self.names {
            state.set_item(name, PyArray::new(optim::blank(parameter)))?;
        }
        Ok(())
    }
}

fn array_at(what: &str, x: &Bound<'_, PyAny>, path: impl Fn() -> String) -> PyResult<Array> {
    match x.cast::<PyArray>() {
        Ok(array) => Ok(array.get().get()),
        Err(_) => Err(PyTypeError::new_err(format!(
            "[update] {what}{} is {}, but the gradients have an array there",
            path(),
            a_thing(x)
        ))),
    }
}

/// Has all arrays in the trees evaluated together before long, unless a transform is tracing.
#[pyfunction]
#[pyo3(signature = (*trees))]
fn settle(py: Python<'_>, trees: &Bound<'_, PyTuple>) -> PyResult<()> {
    let mut leaves = Vec::new();
    Tree::flatten(trees, &mut leaves)?;
    py.detach(|| optim::settle(leaves.iter())).or_raise()
}

/// Refuses gradients that have something where the parameters have nothing, or something else.
#[pyfunction]
fn check_gradients(gradients: &Bound<'_, PyAny>, parameters: &Bound<'_, PyAny>) -> PyResult<()> {
    let mut leaves = Vec::new();
    Tree::flatten(gradients, &mut leaves)?.pick_from("update", "parameters", parameters).map(drop)
}

/// How many arrays a tree has.
#[pyfunction]
fn count(tree: &Bound<'_, PyAny>) -> PyResult<usize> {
    let mut leaves = Vec::new();
    Tree::flatten(tree, &mut leaves)?;
    Ok(leaves.len())
}

/// Scales gradients down so that all of them together, as one vector, are no longer than ``max_norm``.
///
/// Returns:
///     The scaled gradients, and the length they had.
///
/// Example:
///     >>> import covector.core as mx
///     >>> import covector.optimizers as optim
///     >>> optim.clip_grad_norm({"w": mx.array([3.0, 4.0])}, max_norm=10.0)[1]
///     array(5, dtype=float32)
#[pyfunction]
fn clip_grad_norm<'py>(grads: &Bound<'py, PyAny>, max_norm: f64) -> PyResult<(Bound<'py, PyAny>, PyArray)> {
    let mut leaves = Vec::new();
    let tree = Tree::flatten(grads, &mut leaves)?;
    let (clipped, norm) = optim::clip_grad_norm(&leaves, max_norm).or_raise()?;
    Ok((tree.unflatten(grads.py(), &clipped)?, PyArray::new(norm)))
}

/// A learning rate as a function of the number of steps taken.
#[pyclass(frozen, name = "schedule", module = "covector.optimizers")]
struct PySchedule {
    schedule: Schedule,
    text: String,
}

#[pymethods]
impl PySchedule {
    fn __call__(&self, step: Value) -> PyResult<PyArray> {
        let step = match step.0 {
            Operand::Scalar(scalar) => scalar.natural_array()?,
            other => other.alone()?,
        };
        self.schedule.at(&step).or_raise().map(PyArray::new)
    }

    fn __repr__(&self) -> &str {
        &self.text
    }
}

/// A number of steps: an int, or a float without a fraction.
struct Steps(u64);

impl FromPyObject<'_, '_> for Steps {
    type Error = PyErr;
    fn extract(obj: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        let steps: f64 = obj.extract().map_err(|_| {
            PyTypeError::new_err(format!(
                "[schedule] a number of steps must be an int, not {}",
                a_thing(&obj.to_owned())
            ))
        })?;
        if steps >= 1.0 && steps.fract() == 0.0 && steps < 9e15 {
            return Ok(Self(steps as u64));
        }
        Err(PyValueError::new_err(format!(
            "[schedule] a number of steps must be a whole number greater than 0, but got {steps}"
        )))
    }
}

/// ``init · decay_rateᵗ`` after ``t`` steps.
///
/// Example:
///     >>> import covector.optimizers as optim
///     >>> optim.exponential_decay(0.1, 0.5)(2)
///     array(0.025, dtype=float32)
#[pyfunction]
fn exponential_decay(init: f64, decay_rate: f64) -> PySchedule {
    let text = format!("exponential_decay({init:?}, {decay_rate:?})");
    PySchedule { schedule: optim::exponential_decay(init, decay_rate), text }
}

/// ``init``, multiplied by ``decay_rate`` after every ``step_size`` steps.
///
/// Example:
///     >>> import covector.optimizers as optim
///     >>> optim.step_decay(0.1, 0.5, 10)(19)
///     array(0.05, dtype=float32)
#[pyfunction]
fn step_decay(init: f64, decay_rate: f64, step_size: Steps) -> PyResult<PySchedule> {
    let text = format!("step_decay({init:?}, {decay_rate:?}, {})", step_size.0);
    Ok(PySchedule { schedule: optim::step_decay(init, decay_rate, step_size.0).or_raise()?, text })
}

/// Half a cosine from ``init`` down to ``end`` over ``decay_steps`` steps, and ``end`` from then on.
///
/// Example:
///     >>> import covector.optimizers as optim
///     >>> optim.cosine_decay(1.0, 10)(5)
///     array(0.5, dtype=float32)
#[pyfunction]
#[pyo3(signature = (init, decay_steps, end=0.0))]
fn cosine_decay(init: f64, decay_steps: Steps, end: f64) -> PyResult<PySchedule> {
    let text = format!("cosine_decay({init:?}, {}, {end:?})", decay_steps.0);
    Ok(PySchedule { schedule: optim::cosine_decay(init, decay_steps.0, end).or_raise()?, text })
}

/// A straight line from ``init`` to ``end`` over ``steps`` steps, and ``end`` from then on.
///
/// Example:
///     >>> import covector.optimizers as optim
///     >>> optim.linear_schedule(0.0, 1.0, 4)(1)
///     array(0.25, dtype=float32)
#[pyfunction]
fn linear_schedule(init: f64, end: f64, steps: Steps) -> PyResult<PySchedule> {
    let text = format!("linear_schedule({init:?}, {end:?}, {})", steps.0);
    Ok(PySchedule { schedule: optim::linear_schedule(init, end, steps.0).or_raise()?, text })
}

/// One schedule after the other: the next begins, counting from 0, at each of the ``boundaries``.
///
/// Args:
///     schedules (list): Schedules, or functions of the number of steps taken.
///     boundaries (list of int): One fewer than schedules, ascending.
///
/// Example:
///     >>> import covector.optimizers as optim
///     >>> warm_up = optim.linear_schedule(0.0, 0.1, 10)
///     >>> schedule = optim.join_schedules([warm_up, optim.cosine_decay(0.1, 90)], [10])
///     >>> schedule(10)
///     array(0.1, dtype=float32)
#[pyfunction]
fn join_schedules(schedules: Vec<Bound<'_, PyAny>>, boundaries: Vec<u64>) -> PyResult<PySchedule> {
    let texts: Vec<String> =
        schedules.iter().map(|s| s.repr().map(|t| t.to_string())).collect::<PyResult<_>>()?;
    let schedules: Vec<Schedule> = schedules.iter().map(schedule).collect::<PyResult<_>>()?;
    let text = format!("join_schedules([{}], {boundaries:?})", texts.join(", "));
    Ok(PySchedule { schedule: optim::join_schedules(&schedules, &boundaries).or_raise()?, text })
}

/// A function of the number of steps, whoever wrote it.
fn schedule(object: &Bound<'_, PyAny>) -> PyResult<Schedule> {
    if let Ok(schedule) = object.cast::<PySchedule>() {
        return Ok(schedule.get().schedule.clone());
    }
    if !object.is_callable() {
        return Err(PyTypeError::new_err(format!(
            "[join_schedules] a schedule must be a function of the step, not {}",
            a_thing(object)
        )));
    }
    let function = object.clone().unbind();
    Ok(Schedule::new(move |step| {
        Python::attach(|py| {
            let rate = function.bind(py).call1((PyArray::new(step.clone()),))?;
            crate::convert::array(&rate, None)
        })
        .map_err(from_py)
    }))
}

/// Adds the functions to the submodule.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Rule>()?;
    m.add_class::<PySchedule>()?;
    m.add_function(wrap_pyfunction!(settle, m)?)?;
    m.add_function(wrap_pyfunction!(count, m)?)?;
    m.add_function(wrap_pyfunction!(check_gradients, m)?)?;
    m.add_function(wrap_pyfunction!(clip_grad_norm, m)?)?;
    m.add_function(wrap_pyfunction!(exponential_decay, m)?)?;
    m.add_function(wrap_pyfunction!(step_decay, m)?)?;
    m.add_function(wrap_pyfunction!(cosine_decay, m)?)?;
    m.add_function(wrap_pyfunction!(linear_schedule, m)?)?;
    m.add_function(wrap_pyfunction!(join_schedules, m)?)?;
    Ok(())
}
