//! Export of an array's memory to NumPy and to other readers of buffers.
//!
//! The exported memory is read-only; see `dlpack` for memory that the receiver may write. The receiver holds a reference
//! to the memory. So the memory stays valid when the Python array gets other values, and no evaluation reuses it.

use crate::array::PyArray;
use crate::errors::OrRaise;
use covector_core::buffer::Data;
use covector_core::{Array, Dtype};
use pyo3::exceptions::{PyBufferError, PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use pyo3::{intern, sync::PyOnceLock};
use std::ffi::{CStr, c_int};
use std::sync::Mutex;

/// Computed values for a NumPy array without a copy. The NumPy array holds this object as the owner of the memory.
#[pyclass(frozen, name = "_Memory", module = "covector.core")]
pub(crate) struct Memory {
    data: Data,
}

#[pymethods]
impl Memory {
    #[getter(__array_interface__)]
    fn interface<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        let size = self.data.dtype().size() as isize;
        dict.set_item("version", 3)?;
        dict.set_item("typestr", typestr(self.data.dtype())?)?;
        dict.set_item("shape", PyTuple::new(py, self.data.shape())?)?;
        dict.set_item("strides", PyTuple::new(py, self.data.strides().iter().map(|s| s * size))?)?;
        // Read-only: other arrays may share the memory.
        dict.set_item("data", (self.data.ptr() as usize, true))?;
        Ok(dict)
    }
}

fn typestr(dtype: Dtype) -> PyResult<String> {
    let kind = match dtype {
        Dtype::Bool => "|b1",
        Dtype::U8 => "|u1",
        Dtype::I8 => "|i1",
        Dtype::Bf16 => {
            return Err(PyValueError::new_err(
                "[numpy] NumPy has no bfloat16; convert the array with .astype(mx.float32) first",
            ));
        }
        _ => {
            let order = if cfg!(target_endian = "little") { '<' } else { '>' };
            let kind = match dtype {
                _ if dtype.is_complex() => 'c',
                _ if dtype.is_float() => 'f',
                _ if dtype.is_signed_integer() => 'i',
                _ => 'u',
            };
            return Ok(format!("{order}{kind}{}", dtype.size()));
        }
    };
    Ok(kind.into())
}

/// A NumPy array of the values: a copy if `copy` is true, else a read-only view if possible.
pub(crate) fn to_numpy<'py>(
    py: Python<'py>,
    array: &Array,
    dtype: Option<&Bound<'py, PyAny>>,
    copy: Option<bool>,
) -> PyResult<Bound<'py, PyAny>> {
    static NUMPY: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
    let numpy = NUMPY
        .get_or_try_init(py, || py.import("numpy").map(Bound::unbind))
        .map_err(|_| PyTypeError::new_err("[numpy] converting to a NumPy array needs NumPy; install it"))?
        .bind(py);
    typestr(array.dtype())?;
    crate::array::read(py, array)?;
    let data = array.try_eval().or_raise()?.clone();
    let memory = Bound::new(py, Memory { data })?;
    let view = numpy.call_method1(intern!(py, "asarray"), (memory,))?;
    let have = view.getattr(intern!(py, "dtype"))?;
    if let Some(dtype) = dtype.filter(|d| !d.is_none()) {
        let dtype = numpy.call_method1(intern!(py, "dtype"), (dtype,))?;
        if !dtype.eq(&have)? {
            if copy == Some(false) {
                return Err(PyValueError::new_err(format!(
                    "[numpy] the array holds {}, so {} needs a copy; leave copy out",
                    array.dtype(),
                    dtype.str()?
                )));
            }
            return view.call_method1(intern!(py, "astype"), (dtype,));
        }
    }
    if copy == Some(true) { view.call_method0(intern!(py, "copy")) } else { Ok(view) }
}

/// Copies that were exported as plain bytes, which live as long as the Python array.
///
/// PyTorch requests plain bytes and releases the buffer at once. It uses the memory as long as it holds the array, and
/// writes into it although it is read-only. So it gets a copy, and the copy is kept.
#[derive(Default)]
pub(crate) struct Pins(Mutex<Vec<Data>>);

impl Pins {
    /// A row-major copy of the values. Returns an earlier copy if it still has the same values.
    fn copy_of(&self, data: &Data) -> PyResult<Data> {
        let source = data.row_major("buffer").or_raise()?;
        let mut copies = self.0.lock().unwrap_or_else(|e| e.into_inner());
        let same = |copy: &&Data| {
            copy.dtype() == source.dtype() && copy.shape() == source.shape() && bytes(copy) == bytes(&source)
        };
        if let Some(copy) = copies.iter().find(same) {
            return Ok(copy.clone());
        }
        let mut copy = Data::alloc("buffer", source.dtype(), source.shape()).or_raise()?;
        covector_kernels::cast(source.view(), copy.out());
        copies.push(copy.clone());
        Ok(copy)
    }
}

/// The bytes of row-major values.
fn bytes(data: &Data) -> &[u8] {
    // SAFETY: row-major elements without gaps, all initialised.
    unsafe { std::slice::from_raw_parts(data.ptr(), data.size() * data.dtype().size()) }
}

/// The memory that a view of the buffer protocol points into. It lives until the view is released.
struct Export {
    #[expect(dead_code, reason = "held for its drop, which releases the memory")]
    data: Data,
    shape: Vec<ffi::Py_ssize_t>,
    strides: Vec<ffi::Py_ssize_t>,
}

/// The letters of the buffer protocol for an element type.
fn format(dtype: Dtype) -> Option<&'static CStr> {
    // As in NumPy: a 64-bit `long` is `l`.
    let wide = size_of::<std::ffi::c_long>() == 8;
    Some(match dtype {
        Dtype::Bool => c"?",
        Dtype::U8 => c"B",
        Dtype::U16 => c"H",
        Dtype::U32 => c"I",
        Dtype::U64 => {
            if wide {
                c"L"
            } else {
                c"Q"
            }
        }
        Dtype::I8 => c"b",
        Dtype::I16 => c"h",
        Dtype::I32 => c"i",
        Dtype::I64 => {
            if wide {
                c"l"
            } else {
                c"q"
            }
        }
        Dtype::F16 => c"e",
        Dtype::F32 => c"f",
        Dtype::F64 => c"d",
        Dtype::C64 => c"Zf",
        Dtype::Bf16 => return None,
    })
}

/// Fills in a view of the array's memory for a request of the buffer protocol.
///
/// # Safety
/// `view` is null or points to a `Py_buffer` that Python passes to be filled.
pub(crate) unsafe fn fill_buffer(
    slf: Bound<'_, PyArray>,
    view: *mut ffi::Py_buffer,
    flags: c_int,
) -> PyResult<()> {
    if view.is_null() {
        return Err(PyBufferError::new_err("[buffer] the request has no view to fill"));
    }
    // SAFETY: the caller's promise. Python reads `obj` even after a failure.
    unsafe { (*view).obj = std::ptr::null_mut() };
    let asks = |flag: c_int| flags & flag == flag;
    if asks(ffi::PyBUF_WRITABLE) {
        return Err(PyBufferError::new_err(
            "[buffer] other arrays may share the memory of an array, so that its buffer is read-only; take a copy, as with \
             np.array(a), to write in",
        ));
    }
    let array = slf.get().get();
    let Some(format) = format(array.dtype()) else {
        return Err(PyBufferError::new_err(
            "[buffer] the buffer protocol has no bfloat16; convert the array with .astype(mx.float32), or take its bits with \
             .view(mx.uint16)",
        ));
    };
    crate::array::read(slf.py(), &array)?;
    let mut data = array.try_eval().or_raise()?.clone();
    drop(array);
    let size = data.dtype().size();
    let strided = asks(ffi::PyBUF_STRIDES);
    if asks(ffi::PyBUF_F_CONTIGUOUS) && !column_major(&data) {
        return Err(PyBufferError::new_err(
            "[buffer] the array is not in column-major order; ask for the buffer of its transpose, a.T",
        ));
    }
    let contiguous = asks(ffi::PyBUF_C_CONTIGUOUS) || asks(ffi::PyBUF_ANY_CONTIGUOUS);
    if !strided {
        data = slf.get().pins.get_or_init(Box::default).copy_of(&data)?;
    } else if contiguous && !asks(ffi::PyBUF_F_CONTIGUOUS) {
        data = data.row_major("buffer").or_raise()?;
    }
    let number = |n: usize| n as ffi::Py_ssize_t;
    let mut export = Box::new(Export {
        shape: data.shape().iter().map(|&n| number(n)).collect(),
        strides: data.strides().iter().map(|&s| s * number(size)).collect(),
        data: data.clone(),
    });
    // A request without a shape gets plain bytes, which have one axis.
    let ndim = if asks(ffi::PyBUF_ND) { export.shape.len() } else { 1 };
    let or_null = |wanted: bool, list: &mut Vec<ffi::Py_ssize_t>| {
        if wanted && ndim > 0 { list.as_mut_ptr() } else { std::ptr::null_mut() }
    };
    // SAFETY: the caller's promise. The pointers are into `export` and the memory that it holds, which `release_buffer`
    // frees; nothing writes through them, since the view is read-only.
    unsafe {
        (*view).buf = data.ptr().cast_mut().cast();
        (*view).len = number(data.size() * size);
        (*view).itemsize = number(size);
        (*view).readonly = 1;
        (*view).ndim = ndim as c_int;
        (*view).format =
            if asks(ffi::PyBUF_FORMAT) { format.as_ptr().cast_mut() } else { std::ptr::null_mut() };
        (*view).shape = or_null(asks(ffi::PyBUF_ND), &mut export.shape);
        (*view).strides = or_null(strided, &mut export.strides);
        (*view).suboffsets = std::ptr::null_mut();
        (*view).internal = Box::into_raw(export).cast();
        (*view).obj = slf.into_any().into_ptr();
    }
    Ok(())
}

/// Whether the elements are in column-major order without gaps.
fn column_major(data: &Data) -> bool {
    let mut expect = 1;
    data.shape().iter().zip(data.strides()).all(|(&n, &s)| {
        let fits = n == 1 || s == expect;
        expect *= n as isize;
        fits
    }) || data.size() == 0
}

/// Releases the memory that a view points into.
///
/// # Safety
/// [`fill_buffer`] has filled `view`, which is released once.
pub(crate) unsafe fn release_buffer(view: *mut ffi::Py_buffer) {
    // SAFETY: the caller's promise: `internal` comes from `Box::into_raw`.
    unsafe {
        if !(*view).internal.is_null() {
            drop(Box::from_raw((*view).internal.cast::<Export>()));
            (*view).internal = std::ptr::null_mut();
        }
    }
}
