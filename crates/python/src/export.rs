//! The way out: an array's memory for NumPy and for whatever else reads buffers.
//!
//! Memory that others may read is given out read-only; see `dlpack` for memory to write in. The receiver holds a
//! reference to the memory, so that it stays valid when the Python array is given other values, and no evaluation
//! writes over it.

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

/// Computed values that NumPy can look at without a copy; it holds this object as the owner of the memory.
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

/// A NumPy array of the values: a read-only view where it may be one, a copy where `copy` asks for it.
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
                    "[numpy] the array holds {}, so that {} cannot be had without a copy",
                    array.dtype(),
                    dtype.str()?
                )));
            }
            return view.call_method1(intern!(py, "astype"), (dtype,));
        }
    }
    if copy == Some(true) { view.call_method0(intern!(py, "copy")) } else { Ok(view) }
}

/// Copies that were given out as plain bytes, kept as long as the Python array.
///
/// PyTorch takes a buffer that way, lets go of it at once, goes on using the memory as long as it holds the array, and writes
/// into it although it is read-only. So it gets a copy, and the copy stays.
#[derive(Default)]
pub(crate) struct Pins(Mutex<Vec<Data>>);

impl Pins {
    /// A row-major copy of the values: one that was made before, if it still has them.
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

/// What a consumer of the buffer protocol points into, alive until it lets go.
struct Export {
    #[expect(dead_code, reason = "held for its drop, which releases the memory")]
    data: Data,
    shape: Vec<ffi::Py_ssize_t>,
    strides: Vec<ffi::Py_ssize_t>,
}

/// The letters of the buffer protocol for an element type.
fn format(dtype: Dtype) -> Option<&'static CStr> {
    // As NumPy has them: `long` is `l` where it has 64 bits.
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

/// Fills in a view of the array's memory, as the buffer protocol asks for it.
///
/// # Safety
/// `view` is null or points to a `Py_buffer` that Python wants filled.
pub(crate) unsafe fn fill_buffer(
    slf: Bound<'_, PyArray>,
    view: *mut ffi::Py_buffer,
    flags: c_int,
) -> PyResult<()> {
    if view.is_null() {
        return Err(PyBufferError::new_err("[buffer] there is no place for the view"));
    }
    // SAFETY: the caller's promise. Python reads `obj` also after a failure.
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
    // Without a shape it is plain bytes, which have one axis.
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

/// Whether the elements lie in column-major order without gaps.
fn column_major(data: &Data) -> bool {
    let mut expect = 1;
    data.shape().iter().zip(data.strides()).all(|(&n, &s)| {
        let fits = n == 1 || s == expect;
        expect *= n as isize;
        fits
    }) || data.size() == 0
}

/// Lets go of what a view points into.
///
/// # Safety
/// `view` was filled by [`fill_buffer`] and is released once.
pub(crate) unsafe fn release_buffer(view: *mut ffi::Py_buffer) {
    // SAFETY: the caller's promise: `internal` comes from `Box::into_raw`.
    unsafe {
        if !(*view).internal.is_null() {
            drop(Box::from_raw((*view).internal.cast::<Export>()));
            (*view).internal = std::ptr::null_mut();
        }
    }
}
