//! The optimizers' part of `covector._covector.nn`: one call steps a whole tree.
//!
//! Python's optimizers hold settings and state. An optimizer of `covector-nn` computes the update of each array. This
//! module flattens the trees once per step, so a step costs about the same for ten arrays as for one.

use crate::array::PyArray;
use crate::convert::{Arr, Operand, Value};
use crate::errors::{OrRaise, from_py};
use crate::rows;
use crate::tree::{Tree, a_thing};
use covector_core::Array;
use covector_core::shape::ShapeText;
use covector_nn::optim::{self, Leaf, Optimizer, Schedule, Spec};
use pyo3::exceptions::{PyKeyError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};

/// A row of the table of optimizers. Python makes a class from it.
#[pyclass(frozen, module = "covector.optimizers")]
struct OptimizerRow {
    spec: &'static Spec,
}

#[pymethods]
impl OptimizerRow {
    #[getter]
    fn name(&self) -> &str {
        self.spec.name
    }

    #[getter]
    fn extends(&self) -> Option<&str> {
        self.spec.extends
    }

    #[getter]
    fn doc(&self) -> String {
        rows::python_doc(self.spec.doc)
    }

    #[getter]
    fn settings<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        rows::settings(py, self.spec.settings)
    }

    /// The rule with the settings from the attributes of `optimizer`.
    fn rule(&self, optimizer: &Bound<'_, PyAny>) -> PyResult<Rule> {
        let values = rows::attributes(self.spec.name, self.spec.settings, optimizer)?;
        Ok(Rule { optimizer: (self.spec.make)(0.0.into(), &values).or_raise()?, names: self.spec.slots })
    }
}

/// The rows of all optimizers.
#[pyfunction]
fn optimizer_rows() -> Vec<OptimizerRow> {
    optim::OPTIMIZERS.iter().map(|spec| OptimizerRow { spec }).collect()
}

/// An optimizer with its settings.
#[pyclass(frozen, module = "covector.optimizers")]
struct Rule {
    optimizer: Box<dyn Optimizer + Send + Sync>,
    /// The names of the arrays in each parameter's state. The optimizer may use fewer.
    names: &'static [&'static str],
}

#[pymethods]
impl Rule {
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

        let used = self.optimizer.slots().len();
        let mut leaves = Vec::with_capacity(grads.len());
        let mut unused = Vec::new();
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
            unused.extend(old.drain(used..));
            leaves.push(Leaf { param, grad: grad.clone(), slots: old });
        }
        let stepped = self.optimizer.step_all(&learning_rate, &step, &leaves).or_raise()?;
        drop(leaves);
        let (new_params, new_slots): (Vec<Array>, Vec<Vec<Array>>) = stepped.into_iter().unzip();
        let all = new_params.iter().chain(new_slots.iter().flatten()).chain(&unused);
        let all = all.chain([&*learning_rate, &*step]);
        py.detach(|| optim::eval_soon(all)).or_raise()?;

        for (slots, new) in states.iter().zip(new_slots) {
            let slots = slots.cast::<PyDict>()?;
            for (name, array) in self.names.iter().zip(new) {
                slots.set_item(name, PyArray::new(array))?;
            }
        }
        tree.unflatten(py, &new_params)
    }
}

impl Rule {
    fn fill(&self, state: &Bound<'_, PyDict>, parameter: &Array) -> PyResult<()> {
        for name in self.names {
            state.set_item(name, PyArray::new(optim::zero_slot(parameter)))?;
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

/// Schedules all arrays in the trees for the next evaluation, unless a transform is tracing.
#[pyfunction]
#[pyo3(signature = (*trees))]
fn eval_soon(py: Python<'_>, trees: &Bound<'_, PyTuple>) -> PyResult<()> {
    let mut leaves = Vec::new();
    Tree::flatten(trees, &mut leaves)?;
    py.detach(|| optim::eval_soon(leaves.iter())).or_raise()
}

/// Refuses gradients whose structure is not a part of the parameters' structure.
#[pyfunction]
fn check_gradients(gradients: &Bound<'_, PyAny>, parameters: &Bound<'_, PyAny>) -> PyResult<()> {
    let mut leaves = Vec::new();
    Tree::flatten(gradients, &mut leaves)?.pick_from("update", "parameters", parameters).map(drop)
}

/// The number of arrays in a tree.
#[pyfunction]
fn count(tree: &Bound<'_, PyAny>) -> PyResult<usize> {
    let mut leaves = Vec::new();
    Tree::flatten(tree, &mut leaves)?;
    Ok(leaves.len())
}

/// Scales gradients down so that the norm of all of them, as one vector, is at most ``max_norm``.
///
/// Returns:
///     The scaled gradients, and their norm before.
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

/// Half a cosine from ``init`` down to ``end`` over ``decay_steps`` steps, and ``end`` after them.
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

/// A straight line from ``init`` to ``end`` over ``steps`` steps, and ``end`` after them.
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

/// Several schedules in turn. At each of the ``boundaries`` the next schedule begins, counting from 0.
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

/// A schedule from a Python object: one of these, or any function of the number of steps.
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
    m.add_class::<OptimizerRow>()?;
    m.add_function(wrap_pyfunction!(optimizer_rows, m)?)?;
    m.add_class::<PySchedule>()?;
    m.add_function(wrap_pyfunction!(eval_soon, m)?)?;
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
