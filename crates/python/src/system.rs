//! Evaluation, memory, printing options, and MLX's devices and streams, of which covector has one each.

use crate::array::PyArray;
use crate::convert::describe;
use crate::errors::OrRaise;
use covector_core::{Array, buffer};
use pyo3::exceptions::{PyRecursionError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};

/// Trees nested deeper than this contain themselves.
const DEEPEST: usize = 10_000;

/// The arrays in trees of lists, tuples and dicts. Other objects are ignored.
pub(crate) fn arrays_in(op: &str, trees: &Bound<'_, PyTuple>) -> PyResult<Vec<Array>> {
    let mut found = Vec::new();
    let mut waiting: Vec<(Bound<'_, PyAny>, usize)> = trees.iter().map(|t| (t, 0)).collect();
    while let Some((item, depth)) = waiting.pop() {
        if depth > DEEPEST {
            return Err(PyRecursionError::new_err(format!(
                "[{op}] containers nested deeper than {DEEPEST} levels; does one contain itself?"
            )));
        }
        if let Ok(array) = item.cast::<PyArray>() {
            found.push(array.get().get());
        } else if let Ok(dict) = item.cast_exact::<PyDict>() {
            waiting.extend(dict.iter().map(|(_, x)| (x, depth + 1)));
        } else if let Ok(list) = item.cast::<PyList>() {
            waiting.extend(list.iter().map(|x| (x, depth + 1)));
        } else if let Ok(tuple) = item.cast::<PyTuple>() {
            waiting.extend(tuple.iter().map(|x| (x, depth + 1)));
        } else if let Ok(dict) = item.cast::<PyDict>() {
            waiting.extend(dict.values().iter().map(|x| (x, depth + 1)));
        }
    }
    found.reverse();
    Ok(found)
}

/// Computes the values of all arrays in the given trees of lists, tuples and dicts.
#[pyfunction]
#[pyo3(signature = (*args))]
fn eval(py: Python<'_>, args: &Bound<'_, PyTuple>) -> PyResult<()> {
    let arrays = arrays_in("eval", args)?;
    py.detach(|| covector_core::eval(&arrays)).or_raise()
}

/// Starts computing the values of all arrays in the given trees.
#[pyfunction]
#[pyo3(signature = (*args))]
fn async_eval(py: Python<'_>, args: &Bound<'_, PyTuple>) -> PyResult<()> {
    let arrays = arrays_in("async_eval", args)?;
    py.detach(|| covector_core::async_eval(&arrays)).or_raise()
}

/// Bytes held by live arrays.
#[pyfunction]
fn get_active_memory() -> usize {
    buffer::active_memory()
}

/// The most bytes live arrays have held at once since the last `reset_peak_memory`.
#[pyfunction]
fn get_peak_memory() -> usize {
    buffer::peak_memory()
}

/// Starts measuring `get_peak_memory` anew.
#[pyfunction]
fn reset_peak_memory() {
    buffer::reset_peak_memory();
}

/// Bytes of freed memory that are kept for reuse.
#[pyfunction]
fn get_cache_memory() -> usize {
    buffer::cache_memory()
}

/// Returns the memory that is kept for reuse to the system.
#[pyfunction]
fn clear_cache() {
    buffer::clear_cache();
}

/// A number of bytes that Python gave.
fn bytes(name: &str, limit: i64) -> PyResult<usize> {
    usize::try_from(limit).map_err(|_| {
        PyValueError::new_err(format!("[{name}] {limit} is not a number of bytes; give 0 or more"))
    })
}

/// Sets the limit in bytes for live arrays and the cache together, and returns the previous limit.
///
/// An allocation that would exceed the limit first returns cached memory to the system. If live arrays alone exceed the
/// limit, the allocation is tried nevertheless, and raises if the system has no more memory.
#[pyfunction]
fn set_memory_limit(limit: i64) -> PyResult<usize> {
    Ok(buffer::set_memory_limit(bytes("set_memory_limit", limit)?))
}

/// The limit that `set_memory_limit` sets; at first 80 % of the machine's memory.
#[pyfunction]
fn get_memory_limit() -> usize {
    buffer::memory_limit()
}

/// Sets the limit in bytes for freed memory that is kept for reuse, and returns the previous limit; 0 keeps none.
#[pyfunction]
fn set_cache_limit(limit: i64) -> PyResult<usize> {
    Ok(buffer::set_cache_limit(bytes("set_cache_limit", limit)?))
}

/// Stores a limit of resident bytes, and returns the previous one. It has no effect on a CPU.
#[pyfunction]
fn set_wired_limit(limit: i64) -> PyResult<usize> {
    Ok(buffer::set_wired_limit(bytes("set_wired_limit", limit)?))
}

/// Sets the number of threads that work on one operation, at least 1. Results do not depend on it.
#[pyfunction]
fn set_num_threads(n: i64) -> PyResult<()> {
    let n = usize::try_from(n).ok().filter(|&n| n > 0).ok_or_else(|| {
        PyValueError::new_err(format!("[set_num_threads] {n} is not a number of threads; give 1 or more"))
    })?;
    covector_core::set_num_threads(n);
    Ok(())
}

/// The number of threads that work on one operation: the number of `set_num_threads`, else of the environment variable
/// `COVECTOR_NUM_THREADS`, else of processors.
#[pyfunction]
fn get_num_threads() -> usize {
    covector_core::num_threads()
}

/// The format of floating-point elements in text.
#[pyclass(frozen, name = "PrintOptions", module = "covector.core")]
#[derive(Clone, Copy)]
struct PrintOptions {
    /// Decimal places, or -1 for at most six significant digits.
    #[pyo3(get)]
    precision: i32,
}

impl PrintOptions {
    fn now() -> Self {
        Self { precision: covector_core::fmt::precision().map_or(-1, i32::from) }
    }

    fn apply(self) {
        covector_core::fmt::set_precision(u16::try_from(self.precision).ok());
    }
}

#[pymethods]
impl PrintOptions {
    #[new]
    #[pyo3(signature = (precision = -1))]
    fn new(precision: i32) -> PyResult<Self> {
        if !(-1..=1000).contains(&precision) {
            return Err(PyValueError::new_err(format!(
                "[set_printoptions] precision is {precision}; give 0 to 1000 decimal places, or -1 for the general format"
            )));
        }
        Ok(Self { precision })
    }

    fn __repr__(&self) -> String {
        format!("PrintOptions(precision={})", self.precision)
    }
}

/// Sets the number of decimal places of floating-point elements in text; -1 shows at most six significant digits.
#[pyfunction]
#[pyo3(signature = (precision = -1))]
fn set_printoptions(precision: i32) -> PyResult<()> {
    PrintOptions::new(precision)?.apply();
    Ok(())
}

/// The printing options.
#[pyfunction]
fn get_printoptions() -> PrintOptions {
    PrintOptions::now()
}

/// Printing options for the length of a `with` block.
#[pyclass(frozen, name = "printoptions", module = "covector.core")]
struct PrintContext {
    inside: PrintOptions,
    before: std::sync::Mutex<Vec<PrintOptions>>,
}

#[pymethods]
impl PrintContext {
    #[new]
    #[pyo3(signature = (precision = -1))]
    fn new(precision: i32) -> PyResult<Self> {
        Ok(Self { inside: PrintOptions::new(precision)?, before: std::sync::Mutex::default() })
    }

    fn __enter__(&self) {
        self.before.lock().unwrap_or_else(|e| e.into_inner()).push(PrintOptions::now());
        self.inside.apply();
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, _exception: &Bound<'_, PyTuple>) {
        if let Some(before) = self.before.lock().unwrap_or_else(|e| e.into_inner()).pop() {
            before.apply();
        }
    }
}

/// A kind of device. The only kind is `cpu`.
#[pyclass(frozen, eq, eq_int, hash, name = "DeviceType", module = "covector.core")]
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[expect(non_camel_case_types, reason = "the names in Python")]
enum DeviceType {
    cpu,
    gpu,
}

impl DeviceType {
    fn name(self) -> &'static str {
        match self {
            DeviceType::cpu => "cpu",
            DeviceType::gpu => "gpu",
        }
    }
}

/// A device to compute on.
#[pyclass(frozen, eq, hash, name = "Device", module = "covector.core")]
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Device {
    kind: DeviceType,
    index: i32,
}

impl Device {
    const CPU: Self = Self { kind: DeviceType::cpu, index: 0 };

    fn of(obj: &Bound<'_, PyAny>) -> PyResult<Self> {
        if let Ok(device) = obj.cast::<Device>() {
            return Ok(*device.get());
        }
        if let Ok(kind) = obj.cast::<DeviceType>() {
            return Ok(Self { kind: *kind.get(), index: 0 });
        }
        Err(PyTypeError::new_err(format!("[Device] expected a device such as mx.cpu, not {}", describe(obj))))
    }

    fn usable(self) -> PyResult<Self> {
        if self == Self::CPU {
            return Ok(self);
        }
        Err(PyValueError::new_err(format!(
            "[Device] {} is not available; the only device is mx.cpu",
            self.__repr__()
        )))
    }
}

#[pymethods]
impl Device {
    #[new]
    #[pyo3(signature = (r#type, index = 0))]
    fn new(r#type: &Bound<'_, DeviceType>, index: i32) -> Self {
        Self { kind: *r#type.get(), index }
    }

    /// The kind of device.
    #[getter]
    fn r#type(&self) -> DeviceType {
        self.kind
    }

    fn __repr__(&self) -> String {
        format!("Device({}, {})", self.kind.name(), self.index)
    }
}

/// A queue of work. There is one queue, which computes values in the order of requests.
#[pyclass(frozen, eq, hash, name = "Stream", module = "covector.core")]
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct StreamObject {
    device: Device,
    index: u64,
}

#[pymethods]
impl StreamObject {
    /// The device of the queue.
    #[getter]
    fn device(&self) -> Device {
        self.device
    }

    fn __repr__(&self) -> String {
        format!("Stream({}, {})", self.device.__repr__(), self.index)
    }
}

/// The device that is used: `mx.cpu`.
#[pyfunction]
fn default_device() -> Device {
    Device::CPU
}

/// Chooses the device to use. The only device is `mx.cpu`.
#[pyfunction]
fn set_default_device(device: &Bound<'_, PyAny>) -> PyResult<()> {
    Device::of(device)?.usable().map(drop)
}

/// Whether a device is available.
#[pyfunction]
fn is_available(device: &Bound<'_, PyAny>) -> PyResult<bool> {
    Ok(Device::of(device)?.usable().is_ok())
}

/// The number of devices of a kind.
#[pyfunction]
fn device_count(device_type: &Bound<'_, PyAny>) -> PyResult<usize> {
    Ok(usize::from(Device::of(device_type)?.kind == DeviceType::cpu))
}

/// The stream of a device.
#[pyfunction]
fn default_stream(device: &Bound<'_, PyAny>) -> PyResult<StreamObject> {
    Ok(StreamObject { device: Device::of(device)?.usable()?, index: 0 })
}

/// Chooses the stream to use. It has no effect.
#[pyfunction]
fn set_default_stream(stream: &Bound<'_, StreamObject>) {
    let _ = stream;
}

/// A stream with its own name, which is otherwise like any other.
#[pyfunction]
fn new_stream(device: &Bound<'_, PyAny>) -> PyResult<StreamObject> {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    let index = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    Ok(StreamObject { device: Device::of(device)?.usable()?, index })
}

/// Finishes scheduled work, such as the evaluation of an optimizer's last step.
#[pyfunction]
#[pyo3(signature = (stream = None))]
fn synchronize(py: Python<'_>, stream: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
    let _ = stream;
    py.detach(covector_core::finish).or_raise()
}

/// A stream or device to use for the length of a `with` block.
#[pyclass(frozen, name = "StreamContext", module = "covector.core")]
struct StreamContext;

#[pymethods]
impl StreamContext {
    #[new]
    fn new(s: &Bound<'_, PyAny>) -> PyResult<Self> {
        if !s.is_instance_of::<StreamObject>() {
            Device::of(s)?.usable()?;
        }
        Ok(Self)
    }

    fn __enter__(&self) {}

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, _exception: &Bound<'_, PyTuple>) {}
}

/// Adds the functions and classes to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(eval, m)?)?;
    m.add_function(wrap_pyfunction!(async_eval, m)?)?;
    m.add_function(wrap_pyfunction!(get_active_memory, m)?)?;
    m.add_function(wrap_pyfunction!(get_peak_memory, m)?)?;
    m.add_function(wrap_pyfunction!(reset_peak_memory, m)?)?;
    m.add_function(wrap_pyfunction!(get_cache_memory, m)?)?;
    m.add_function(wrap_pyfunction!(clear_cache, m)?)?;
    m.add_function(wrap_pyfunction!(set_memory_limit, m)?)?;
    m.add_function(wrap_pyfunction!(get_memory_limit, m)?)?;
    m.add_function(wrap_pyfunction!(set_cache_limit, m)?)?;
    m.add_function(wrap_pyfunction!(set_wired_limit, m)?)?;
    m.add_function(wrap_pyfunction!(set_num_threads, m)?)?;
    m.add_function(wrap_pyfunction!(get_num_threads, m)?)?;
    m.add_class::<PrintOptions>()?;
    m.add_class::<PrintContext>()?;
    m.add_function(wrap_pyfunction!(set_printoptions, m)?)?;
    m.add_function(wrap_pyfunction!(get_printoptions, m)?)?;
    m.add_class::<DeviceType>()?;
    m.add_class::<Device>()?;
    m.add_class::<StreamObject>()?;
    m.add_class::<StreamContext>()?;
    m.add("stream", m.py().get_type::<StreamContext>())?;
    m.add("cpu", DeviceType::cpu)?;
    m.add("gpu", DeviceType::gpu)?;
    m.add_function(wrap_pyfunction!(default_device, m)?)?;
    m.add_function(wrap_pyfunction!(set_default_device, m)?)?;
    m.add_function(wrap_pyfunction!(is_available, m)?)?;
    m.add_function(wrap_pyfunction!(device_count, m)?)?;
    m.add_function(wrap_pyfunction!(default_stream, m)?)?;
    m.add_function(wrap_pyfunction!(set_default_stream, m)?)?;
    m.add_function(wrap_pyfunction!(new_stream, m)?)?;
    m.add_function(wrap_pyfunction!(synchronize, m)?)
}
