//! Profiles, graphs and plans for inspection.

use crate::array::PyArray;
use crate::convert::describe;
use crate::errors::OrRaise;
use crate::system::arrays_in;
use covector_core::profile::{Event, Profiler, Trace, check_path};
use covector_core::{Array, Error};
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

/// An event of a profile: a kernel that ran, or a preparation such as planning.
#[pyclass(frozen, name = "ProfileEvent", module = "covector.core")]
struct ProfileEvent(Event);

#[pymethods]
impl ProfileEvent {
    /// The name of the kernel, as in `plan_text`.
    #[getter]
    fn name(&self) -> &str {
        &self.0.name
    }

    /// `kernel`; `nested` for a call that ran a plan of its own, whose kernels have their own events; `plan` for planning;
    /// `trace` for the tracing of `compile`.
    #[getter]
    fn kind(&self) -> &'static str {
        self.0.kind.name()
    }

    /// The start, in microseconds after the start of the profile.
    #[getter]
    fn start_us(&self) -> f64 {
        self.0.start_us
    }

    /// The duration in microseconds.
    #[getter]
    fn duration_us(&self) -> f64 {
        self.0.duration_us
    }

    /// The number of the thread that requested the value.
    #[getter]
    fn thread(&self) -> u32 {
        self.0.thread
    }

    /// Bytes of the inputs, each memory counted once.
    #[getter]
    fn bytes_read(&self) -> u64 {
        self.0.bytes_read
    }

    /// Bytes of the outputs.
    #[getter]
    fn bytes_written(&self) -> u64 {
        self.0.bytes_written
    }

    /// Arithmetic operations, from the shapes.
    #[getter]
    fn flops(&self) -> u64 {
        self.0.flops
    }

    fn __repr__(&self) -> String {
        let e = &self.0;
        let name = e.name.replace('\\', "\\\\").replace('\'', "\\'");
        format!(
            "ProfileEvent(name='{name}', kind='{}', start_us={:.3}, duration_us={:.3}, thread={}, bytes_read={}, \
             bytes_written={}, flops={})",
            e.kind.name(),
            e.start_us,
            e.duration_us,
            e.thread,
            e.bytes_read,
            e.bytes_written,
            e.flops
        )
    }
}

#[derive(Default)]
struct State {
    running: Option<Profiler>,
    /// The events of the last finished run.
    done: Option<Arc<Trace>>,
}

/// Records what runs inside a `with` block, in any thread: each kernel with its time, bytes and operations.
///
/// Arrays are lazy: kernels run, and are recorded, when a value is needed. So use values inside the block, for example
/// with `mx.eval`. Code outside of such blocks is not measured and not slower.
///
/// Args:
///     path: A file to write at the end of the block, as `save` does; None writes none.
///
/// Example:
///     >>> import covector.core as mx
///     >>> x = mx.ones((256, 256))
///     >>> with mx.profile() as p:
///     ...     mx.eval(mx.tanh(x @ x))
///     >>> print(p.summary())  # doctest: +SKIP
#[pyclass(frozen, name = "profile", module = "covector.core")]
struct Profile {
    path: Option<PathBuf>,
    state: Mutex<State>,
}

impl Profile {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn trace(&self) -> PyResult<Arc<Trace>> {
        let state = self.state();
        match (&state.running, &state.done) {
            (Some(profiler), _) => Ok(Arc::new(profiler.so_far())),
            (None, Some(trace)) => Ok(trace.clone()),
            (None, None) => Err(PyRuntimeError::new_err(
                "[profile] nothing was recorded yet; run the code inside `with mx.profile() as p:`",
            )),
        }
    }
}

/// Writes a trace. A failure of the system is an `OSError` of its kind.
fn save(py: Python<'_>, trace: &Trace, path: &PathBuf) -> PyResult<()> {
    match py.detach(|| trace.save(path)) {
        Err(Error::External(inner)) => match inner.downcast_ref::<std::io::Error>() {
            Some(e) => Err(std::io::Error::new(e.kind(), e.to_string()).into()),
            None => Err(Error::External(inner)).or_raise(),
        },
        other => other.or_raise(),
    }
}

#[pymethods]
impl Profile {
    #[new]
    #[pyo3(signature = (path = None))]
    fn new(path: Option<PathBuf>) -> PyResult<Self> {
        // A wrong path fails now instead of after the work.
        path.as_ref().map_or(Ok(()), check_path).or_raise()?;
        Ok(Self { path, state: Mutex::default() })
    }

    fn __enter__(slf: Bound<'_, Self>) -> PyResult<Bound<'_, Self>> {
        // Work that an optimizer has scheduled belongs to the step before the block.
        slf.py().detach(covector_core::finish).or_raise()?;
        {
            let mut state = slf.get().state();
            if state.running.is_some() {
                return Err(PyRuntimeError::new_err(
                    "[profile] this profile is running already; make another one with mx.profile()",
                ));
            }
            *state = State { running: Some(Profiler::start()), done: None };
        }
        Ok(slf)
    }

    #[pyo3(signature = (*exception))]
    fn __exit__(&self, py: Python<'_>, exception: &Bound<'_, PyTuple>) -> PyResult<()> {
        let left = py.detach(covector_core::finish).or_raise();
        let trace = {
            let mut state = self.state();
            let Some(profiler) = state.running.take() else { return Ok(()) };
            let trace = Arc::new(profiler.finish());
            state.done = Some(trace.clone());
            trace
        };
        let saved = self.path.as_ref().map_or(Ok(()), |path| save(py, &trace, path)).and(left);
        // An exception of the block takes precedence over errors of the file or of scheduled work.
        let failing = exception.iter().next().is_some_and(|kind| !kind.is_none());
        if failing { Ok(()) } else { saved }
    }

    /// The events so far, in the order of their starts.
    #[getter]
    fn events(&self) -> PyResult<Vec<ProfileEvent>> {
        Ok(self.trace()?.events().iter().cloned().map(ProfileEvent).collect())
    }

    /// The duration of the block in microseconds.
    #[getter]
    fn duration_us(&self) -> PyResult<f64> {
        Ok(self.trace()?.duration_us())
    }

    /// A table with a line for each kernel: the number of runs, the time without kernels inside it, its share, and the rates
    /// of memory traffic and of arithmetic. The kernel with the longest time is first.
    fn summary(&self) -> PyResult<String> {
        Ok(self.trace()?.summary())
    }

    /// Writes the profile in the format that the ending of the name chooses.
    ///
    /// `.json` is a trace for Perfetto (https://ui.perfetto.dev) or chrome://tracing, with a row for each kernel; `.svg`
    /// is a picture of the same; `.txt` is the summary.
    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        save(py, &*self.trace()?, &path)
    }

    fn __repr__(&self) -> String {
        let state = self.state();
        match (&state.running, &state.done) {
            (Some(_), _) => "<profile, running>".into(),
            (None, Some(t)) => format!("<profile of {} events>", t.events().len()),
            (None, None) => "<profile, not started>".into(),
        }
    }
}

/// The arrays in a function's arguments, each of which must have at least one.
fn given(op: &'static str, args: &Bound<'_, PyTuple>) -> PyResult<Vec<Array>> {
    for (i, arg) in args.iter().enumerate() {
        if arrays_in(op, &PyTuple::new(args.py(), [&arg])?)?.is_empty() {
            return Err(PyTypeError::new_err(format!(
                "[{op}] argument {i} of the arrays is {}, which holds none; give arrays, or lists, tuples and dicts \
                 of them",
                describe(&arg)
            )));
        }
    }
    arrays_in(op, args)
}

/// The unevaluated graph behind some arrays as text, one operation a line, inputs before their uses.
///
/// Example:
///     >>> import covector.core as mx
///     >>> x = mx.array([1.0, 2.0])
///     >>> print(mx.graph_text((x * 2).sum()))  # doctest: +SKIP
#[pyfunction]
#[pyo3(signature = (*arrays))]
fn graph_text(arrays: &Bound<'_, PyTuple>) -> PyResult<String> {
    Ok(covector_core::graph_text(&given("graph_text", arrays)?))
}

/// The plan for evaluating some arrays as text, one kernel a line. It shows the operations that run as one map or region,
/// the calls of other kernels, and the operations that cost nothing because they are views.
///
/// Example:
///     >>> import covector.core as mx
///     >>> x = mx.array([1.0, 2.0])
///     >>> print(mx.plan_text(mx.exp(x * 2) + 1))  # doctest: +SKIP
#[pyfunction]
#[pyo3(signature = (*arrays))]
fn plan_text(arrays: &Bound<'_, PyTuple>) -> PyResult<String> {
    covector_core::plan_text(&given("plan_text", arrays)?).or_raise()
}

/// Writes the unevaluated graph behind some arrays in the DOT language, which Graphviz draws.
///
/// Operations are boxes, values are ellipses, and the given arrays have a double frame.
///
/// Args:
///     file: A path, or an object with a method write.
///     *args: The arrays.
///     **kwargs: Names for arrays. Named arrays outside of the graph are drawn as well.
///
/// Example:
///     >>> import covector.core as mx
///     >>> x, y = mx.array(1.0), mx.array(2.0)
///     >>> mx.export_to_dot("graph.dot", x + y, x=x, y=y)  # doctest: +SKIP
#[pyfunction]
#[pyo3(signature = (file, *args, **kwargs))]
fn export_to_dot(
    py: Python<'_>,
    file: &Bound<'_, PyAny>,
    args: &Bound<'_, PyTuple>,
    kwargs: Option<&Bound<'_, PyDict>>,
) -> PyResult<()> {
    let arrays = given("export_to_dot", args)?;
    let mut names: Vec<(String, Array)> = Vec::new();
    for (name, value) in kwargs.into_iter().flat_map(|k| k.iter()) {
        let name: String = name.extract()?;
        let Ok(array) = value.cast::<PyArray>() else {
            return Err(PyTypeError::new_err(format!(
                "[export_to_dot] {name} is {}; a keyword names an array",
                describe(&value)
            )));
        };
        names.push((name, array.get().get()));
    }
    let names: Vec<(&str, Array)> = names.iter().map(|(name, x)| (&**name, x.clone())).collect();
    let text = covector_core::graph_dot_named(&arrays, &names);
    if let Ok(path) = file.extract::<PathBuf>() {
        py.detach(|| std::fs::write(&path, text)).map_err(|e| {
            let message = format!("[export_to_dot] {} cannot be written: {e}", path.display());
            PyErr::from(std::io::Error::new(e.kind(), message))
        })
    } else if file.hasattr("write")? {
        file.call_method1("write", (text,)).map(drop)
    } else {
        Err(PyTypeError::new_err(format!(
            "[export_to_dot] file is {}; give a path, or an object with a method write",
            describe(file)
        )))
    }
}

/// Adds the functions and classes to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Profile>()?;
    m.add_class::<ProfileEvent>()?;
    m.add_function(wrap_pyfunction!(graph_text, m)?)?;
    m.add_function(wrap_pyfunction!(plan_text, m)?)?;
    m.add_function(wrap_pyfunction!(export_to_dot, m)?)
}
