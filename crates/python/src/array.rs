//! `array`: the Python object around a lazy array, with Python's protocols.

use crate::convert::{self, describe};
use crate::dtype::{self, DtypeArg, PyDtype};
use crate::errors::OrRaise;
use crate::export::{self, Pins};
use crate::foreign;
use crate::indexing::ArrayAt;
use crate::reads;
use crate::scalar::ToPython;
use covector_core::{Array, ops};
use covector_kernels::with_dtype;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};
use std::ffi::c_int;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock};

/// An n-dimensional array, computed when its values are needed.
///
/// Made from a number, a nested list of numbers, or an array of another library, and converted to `dtype` if given.
///
/// Arrays of Rust are immutable. `a[i] = v` and `a += v` put a new Rust array into the same Python object.
#[pyclass(frozen, name = "array", module = "covector.core", weakref)]
pub(crate) struct PyArray {
    inner: Mutex<Array>,
    pub(crate) pins: OnceLock<Box<Pins>>,
}

static CHANGES: AtomicU64 = AtomicU64::new(0);

impl PyArray {
    #[inline]
    pub(crate) fn new(array: Array) -> Self {
        Self { inner: Mutex::new(array), pins: OnceLock::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Array> {
        self.inner.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// The Rust array in the object.
    pub(crate) fn get(&self) -> Array {
        self.lock().clone()
    }

    /// The number of calls of [`set`](Self::set) on all objects, in all threads.
    pub(crate) fn changes() -> u64 {
        CHANGES.load(Ordering::Relaxed)
    }

    /// Puts another Rust array into the object.
    pub(crate) fn set(&self, array: Array) {
        CHANGES.fetch_add(1, Ordering::Relaxed);
        let old = std::mem::replace(&mut *self.lock(), array);
        // After the lock is released: dropping a graph may take a while.
        drop(old);
    }

    /// Calls `f` with the array, without taking a reference to it. `f` must not call Python.
    pub(crate) fn peek<R>(&self, f: impl FnOnce(&Array) -> R) -> R {
        f(&self.lock())
    }
}

/// Computes an array's values. Releases the interpreter lock if the array is pending.
pub(crate) fn evaluate(py: Python<'_>, array: &Array) -> PyResult<()> {
    let array = std::slice::from_ref(array);
    if array[0].is_available() {
        return covector_core::eval(array).or_raise();
    }
    py.detach(|| covector_core::eval(array)).or_raise()
}

/// Computes an array's values for Python code that reads them.
pub(crate) fn read(py: Python<'_>, array: &Array) -> PyResult<()> {
    evaluate(py, array)?;
    reads::note(py, array);
    Ok(())
}

/// The single element of an array that has one.
fn item<'py>(py: Python<'py>, array: &Array) -> PyResult<Bound<'py, PyAny>> {
    if array.size() == 1 {
        read(py, array)?;
    }
    with_dtype!(array.dtype(), T => array.try_item::<T>().or_raise()?.to_python(py))
}

fn list<'py, T: ToPython + Copy>(
    py: Python<'py>,
    values: &[T],
    shape: &[usize],
) -> PyResult<Bound<'py, PyAny>> {
    let Some((&n, rest)) = shape.split_first() else {
        return values[0].to_python(py);
    };
    let step: usize = rest.iter().product();
    // SAFETY: `PyList_New` returns a new list, or null with an exception.
    let out = unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyList_New(0))? };
    let items = out.cast::<PyList>()?;
    for i in 0..n {
        items.append(list(py, &values[i * step..(i + 1) * step], rest)?)?;
    }
    Ok(out)
}

/// A scalar as one of Python's own types, by a call of the type.
fn number<'py>(py: Python<'py>, array: &Array, name: &str) -> PyResult<Bound<'py, PyAny>> {
    py.import("builtins")?.getattr(name)?.call1((item(py, array)?,))
}

#[pymethods]
impl PyArray {
    #[new]
    #[pyo3(signature = (val, dtype=None))]
    fn py_new(val: &Bound<'_, PyAny>, dtype: Option<DtypeArg>) -> PyResult<Self> {
        convert::array(val, dtype.map(|d| d.0)).map(Self::new)
    }

    /// The extent of each axis.
    #[getter]
    fn shape<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let array = self.get();
        PyTuple::new(py, array.shape())
    }

    /// The number of axes.
    #[getter]
    fn ndim(&self) -> usize {
        self.peek(Array::ndim)
    }

    /// The number of elements.
    #[getter]
    fn size(&self) -> usize {
        self.peek(Array::size)
    }

    /// The element type.
    #[getter]
    fn dtype(&self, py: Python<'_>) -> PyResult<Py<PyDtype>> {
        dtype::object(py, self.peek(Array::dtype))
    }

    /// Bytes per element.
    #[getter]
    fn itemsize(&self) -> usize {
        self.peek(Array::dtype).size()
    }

    /// Bytes of all elements.
    #[getter]
    fn nbytes(&self) -> usize {
        self.peek(Array::nbytes)
    }

    /// The array with its axes reversed.
    #[getter(T)]
    fn transposed(&self) -> PyResult<Self> {
        self.get().try_transpose(&[]).or_raise().map(Self::new)
    }

    /// The array with its last two axes exchanged.
    #[getter(mT)]
    fn matrix_transposed(&self) -> PyResult<Self> {
        let array = self.get();
        if array.ndim() < 2 {
            return Err(PyValueError::new_err(format!(
                "[mT] an array with {} axes holds no matrices",
                array.ndim()
            )));
        }
        array.try_mt().or_raise().map(Self::new)
    }

    /// The real part.
    #[getter]
    fn real(&self) -> PyResult<Self> {
        self.get().try_real().or_raise().map(Self::new)
    }

    /// The imaginary part; zeros for a real array.
    #[getter]
    fn imag(&self) -> PyResult<Self> {
        self.get().try_imag().or_raise().map(Self::new)
    }

    /// Updates of parts, which leave the array unchanged: `a.at[i].add(v)`.
    #[getter]
    fn at(&self) -> ArrayAt {
        ArrayAt::new(self.get())
    }

    /// The single element as a Python number.
    fn item<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        item(py, &self.get())
    }

    /// The elements as nested lists of Python numbers; a bare number for an array without axes.
    fn tolist<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let array = self.get();
        read(py, &array)?;
        with_dtype!(array.dtype(), T => {
            let data = array.try_eval().or_raise()?.row_major("tolist").or_raise()?;
            let view = data.view();
            list(py, view.as_slice::<T>().unwrap_or_default(), array.shape())
        })
    }

    fn __len__(&self) -> PyResult<usize> {
        self.peek(|a| a.shape().first().copied()).ok_or_else(|| {
            PyTypeError::new_err("[len] a zero-dimensional array has no length; use .item() for its value")
        })
    }

    fn __iter__(&self) -> PyResult<ArrayIterator> {
        let array = self.get();
        let Some(&length) = array.shape().first() else {
            return Err(PyTypeError::new_err(
                "[iter] a zero-dimensional array has nothing to iterate over; use .item() for its value",
            ));
        };
        Ok(ArrayIterator { array, length, next: Mutex::new(0) })
    }

    fn __bool__(&self, py: Python<'_>) -> PyResult<bool> {
        let array = self.get();
        if array.size() != 1 {
            return Err(PyValueError::new_err(format!(
                "[bool] the truth value of an array with {} elements is ambiguous; use .any() or .all()",
                array.size()
            )));
        }
        item(py, &array)?.is_truthy()
    }

    fn __int__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        number(py, &self.get(), "int")
    }

    fn __float__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        number(py, &self.get(), "float")
    }

    fn __complex__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        number(py, &self.get(), "complex")
    }

    fn __index__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let array = self.get();
        if array.ndim() != 0 || !array.dtype().is_integer() {
            return Err(PyTypeError::new_err(format!(
                "[index] only zero-dimensional integer arrays are indices, not {array:?}"
            )));
        }
        item(py, &array)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let array = self.get();
        evaluate(py, &array)?;
        covector_core::fmt::text(&array).or_raise()
    }

    fn __format__<'py>(slf: &Bound<'py, Self>, spec: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        if spec.is_empty()? {
            return Ok(slf.str()?.into_any());
        }
        let array = slf.get().get();
        if array.size() != 1 {
            return Err(PyTypeError::new_err(format!(
                "[format] a format such as {spec} is for one number, not for an array with {} elements",
                array.size()
            )));
        }
        item(py, &array)?.call_method1("__format__", (spec,))
    }

    /// A hash of the identity, because the elements can change.
    fn __hash__(slf: &Bound<'_, Self>) -> isize {
        (slf.as_ptr() as usize >> 4) as isize
    }

    fn __copy__(&self) -> Self {
        Self::new(self.get())
    }

    fn __deepcopy__(&self, _memo: &Bound<'_, PyAny>) -> Self {
        Self::new(self.get())
    }

    fn __bytes__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let array = self.get();
        read(py, &array)?;
        foreign::to_bytes(py, &array)
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let array = self.get();
        let state =
            (self.__bytes__(py)?, dtype::object(py, array.dtype())?, PyTuple::new(py, array.shape())?);
        Ok((py.import("covector._covector")?.getattr("_restore")?, state.into_pyobject(py)?))
    }

    /// A NumPy array of the values, without a copy unless `copy` requests one or the conversion needs one.
    #[pyo3(signature = (dtype=None, copy=None))]
    fn __array__<'py>(
        &self,
        py: Python<'py>,
        dtype: Option<&Bound<'py, PyAny>>,
        copy: Option<bool>,
    ) -> PyResult<Bound<'py, PyAny>> {
        export::to_numpy(py, &self.get(), dtype, copy)
    }

    /// The result of a NumPy function with this array as an argument. An operator with a NumPy number or array on the left
    /// is the operator of this array. Any other function reads the values and returns a NumPy array; it is an error inside a
    /// transform, where the result would not depend on the array.
    #[pyo3(signature = (ufunc, method, *inputs, **kwargs))]
    fn __array_ufunc__<'py>(
        &self,
        ufunc: &Bound<'py, PyAny>,
        method: &str,
        inputs: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        crate::numpy::call_ufunc(ufunc, method, inputs, kwargs)
    }

    /// As `__array_ufunc__`, for NumPy's other functions.
    fn __array_function__<'py>(
        &self,
        func: &Bound<'py, PyAny>,
        types: &Bound<'py, PyAny>,
        args: &Bound<'py, PyTuple>,
        kwargs: &Bound<'py, PyDict>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let _ = types;
        crate::numpy::call_function(func, args, kwargs)
    }

    /// The values as a read-only buffer, without a copy.
    ///
    /// # Safety
    /// Python's own call.
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        // SAFETY: Python calls with a view to be filled.
        unsafe { export::fill_buffer(slf, view, flags) }
    }

    /// # Safety
    /// Python's own call.
    unsafe fn __releasebuffer__(&self, view: *mut ffi::Py_buffer) {
        // SAFETY: Python calls once for each view that was filled.
        unsafe { export::release_buffer(view) }
    }

    /// A DLPack capsule of the values. The values are a copy, because the receiver may write into them, unless the receiver
    /// asks for no copy and takes memory that is marked read-only.
    #[pyo3(signature = (*, stream=None, max_version=None, dl_device=None, copy=None))]
    fn __dlpack__<'py>(
        &self,
        py: Python<'py>,
        stream: Option<&Bound<'py, PyAny>>,
        max_version: Option<(u32, u32)>,
        dl_device: Option<(i32, i32)>,
        copy: Option<bool>,
    ) -> PyResult<Bound<'py, PyAny>> {
        // There is one device, and it has no streams.
        let _ = stream;
        crate::dlpack::export(py, &self.get(), max_version, dl_device, copy)
    }

    /// DLPack's number for the main processor.
    fn __dlpack_device__(&self) -> (i32, i32) {
        (1, 0)
    }

    /// The module of the array API's functions.
    #[pyo3(signature = (api_version=None))]
    fn __array_namespace__<'py>(
        &self,
        py: Python<'py>,
        api_version: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyModule>> {
        let _ = api_version;
        py.import("covector.core")
    }

    fn __getitem__(&self, indices: &Bound<'_, PyAny>) -> PyResult<Self> {
        crate::indexing::read(&self.get(), indices).map(Self::new)
    }

    fn __setitem__(&self, indices: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.set(crate::indexing::write(&self.get(), indices, value)?);
        Ok(())
    }

    fn __delitem__(&self, _indices: &Bound<'_, PyAny>) -> PyResult<()> {
        Err(PyTypeError::new_err(
            "[del] parts of an array cannot be deleted; index or concatenate the parts to keep",
        ))
    }
}

/// Iterates over the parts of an array along its first axis.
#[pyclass(frozen, name = "ArrayIterator", module = "covector.core")]
pub(crate) struct ArrayIterator {
    array: Array,
    length: usize,
    next: Mutex<usize>,
}

#[pymethods]
impl ArrayIterator {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self) -> PyResult<Option<PyArray>> {
        let mut next = self.next.lock().unwrap_or_else(|e| e.into_inner());
        if *next >= self.length {
            return Ok(None);
        }
        let part = self.array.try_index(&[ops::Index::At(*next as isize)]).or_raise()?;
        *next += 1;
        Ok(Some(PyArray::new(part)))
    }
}

/// An array of pickled bytes.
#[pyfunction]
fn _restore(bytes: &[u8], dtype: DtypeArg, shape: Vec<usize>) -> PyResult<PyArray> {
    foreign::from_bytes(bytes, dtype.0, &shape, Some(dtype.0)).map(PyArray::new)
}

/// Converts an array-like object to an array. Returns an array of the right type itself.
#[pyfunction]
#[pyo3(signature = (a, dtype=None, *, copy=None))]
fn asarray<'py>(
    a: &Bound<'py, PyAny>,
    dtype: Option<DtypeArg>,
    copy: Option<bool>,
) -> PyResult<Bound<'py, PyAny>> {
    if let Ok(array) = a.cast::<PyArray>() {
        let have = array.get().peek(Array::dtype);
        if copy != Some(true) && dtype.is_none_or(|d| d.0 == have) {
            return Ok(a.clone());
        }
    } else if copy == Some(false) {
        return Err(PyValueError::new_err(format!(
            "[asarray] {} only becomes an array by copying",
            describe(a)
        )));
    }
    Ok(Bound::new(a.py(), foreign::as_array(a, dtype.map(|d| d.0))?)?.into_any())
}

/// The values of another library's array, through DLPack.
#[pyfunction]
#[pyo3(signature = (x, /, *, copy=None))]
fn from_dlpack(x: &Bound<'_, PyAny>, copy: Option<bool>) -> PyResult<PyArray> {
    if copy == Some(false) {
        return Err(PyValueError::new_err("[from_dlpack] values of another library are always copied"));
    }
    if !x.hasattr("__dlpack__")? {
        return Err(PyTypeError::new_err(format!("[from_dlpack] {} does not speak DLPack", describe(x))));
    }
    convert::array(x, None).map(PyArray::new)
}

/// Adds the class and its companions to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<PyArray>()?;
    m.add_class::<ArrayIterator>()?;
    m.add_class::<ArrayAt>()?;
    m.add_function(wrap_pyfunction!(_restore, m)?)?;
    m.add_function(wrap_pyfunction!(asarray, m)?)?;
    m.add_function(wrap_pyfunction!(from_dlpack, m)?)?;
    Ok(())
}
