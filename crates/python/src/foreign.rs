//! Arrays of other libraries: NumPy's array interface, DLPack and the buffer protocol, in and out.
//!
//! Values come in by copy, since their owner may change them. They go out without one: the object NumPy sees
//! owns the memory, so it stays valid when the Python array is given other values.

use crate::array::PyArray;
use crate::convert::describe;
use crate::errors::OrRaise;
use covector_core::buffer::Data;
use covector_core::{Array, Dtype, bf16, f16};
use covector_kernels::with_dtype;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyMemoryView, PyTuple};
use pyo3::{intern, sync::PyOnceLock};

/// Whether an object offers an array's values in one of the usual ways. Numbers, strings and bytes do not count.
pub(crate) fn is_array(obj: &Bound<'_, PyAny>) -> bool {
    let py = obj.py();
    [intern!(py, "__array_interface__"), intern!(py, "__dlpack__"), intern!(py, "__array__")]
        .into_iter()
        .any(|name| obj.hasattr(name).unwrap_or(false))
}

/// The values of an object that offers them, copied; `None` when it offers none. Without `dtype`, what NumPy has
/// in `float64` becomes `float32`, and `complex128` `complex64`.
pub(crate) fn import(obj: &Bound<'_, PyAny>, dtype: Option<Dtype>) -> PyResult<Option<Array>> {
    let py = obj.py();
    if obj.hasattr(intern!(py, "__array_interface__"))? {
        return from_interface(obj, dtype).map(Some);
    }
    if obj.hasattr(intern!(py, "__dlpack__"))?
        && let Ok(numpy) = py.import(intern!(py, "numpy"))
        && let Ok(array) = numpy.call_method1(intern!(py, "from_dlpack"), (obj,))
    {
        return from_interface(&array, dtype).map(Some);
    }
    if obj.hasattr(intern!(py, "__array__"))? {
        return from_interface(&obj.call_method0(intern!(py, "__array__"))?, dtype).map(Some);
    }
    match PyMemoryView::from(obj) {
        Ok(view) => from_memory(view.as_any(), dtype).map(Some),
        Err(_) => Ok(None),
    }
}

/// What the letters of the array interface mean; the flag says that the values are wider than the type.
fn element(typestr: &str, obj: &Bound<'_, PyAny>) -> PyResult<Dtype> {
    let name = || -> String {
        obj.getattr("dtype")
            .and_then(|d| d.getattr("name")?.extract())
            .unwrap_or_else(|_| typestr.to_string())
    };
    Ok(match typestr.get(1..).unwrap_or("") {
        "b1" => Dtype::Bool,
        "u1" => Dtype::U8,
        "u2" => Dtype::U16,
        "u4" => Dtype::U32,
        "u8" => Dtype::U64,
        "i1" => Dtype::I8,
        "i2" => Dtype::I16,
        "i4" => Dtype::I32,
        "i8" => Dtype::I64,
        "f2" => Dtype::F16,
        "f4" => Dtype::F32,
        "f8" => Dtype::F64,
        "c8" => Dtype::C64,
        "V2" if name() == "bfloat16" => Dtype::Bf16,
        _ => {
            return Err(PyValueError::new_err(format!(
                "[array] NumPy's element type {} has no counterpart; convert it with .astype first",
                name()
            )));
        }
    })
}

fn from_interface(obj: &Bound<'_, PyAny>, dtype: Option<Dtype>) -> PyResult<Array> {
    let py = obj.py();
    let interface = obj.getattr(intern!(py, "__array_interface__"))?;
    let get = |key: &str| interface.get_item(key);
    let typestr: String = get("typestr")?.extract()?;
    if typestr.starts_with('>') || typestr.ends_with("c16") {
        // NumPy itself knows best how to swap bytes and to narrow.
        let to = if typestr.ends_with("c16") { "=c8".to_string() } else { format!("={}", &typestr[1..]) };
        return from_interface(&obj.call_method1(intern!(py, "astype"), (to,))?, dtype);
    }
    let have = element(&typestr, obj)?;
    let shape: Vec<usize> = get("shape")?.extract()?;
    let to = dtype.unwrap_or(if have == Dtype::F64 { Dtype::F32 } else { have });
    if shape.contains(&0) {
        return with_dtype!(to, T => Array::from_slice::<T>(&[], &shape)).or_raise();
    }
    let (address, _): (usize, bool) = get("data")?.extract()?;
    let strides: Option<Vec<isize>> = match get("strides") {
        Ok(strides) if !strides.is_none() => Some(strides.extract()?),
        _ => None,
    };
    let size = have.size() as isize;
    let aligned = address.is_multiple_of(have.size().min(align_of::<f64>()))
        && strides.as_ref().is_none_or(|s| s.iter().all(|s| s % size == 0));
    if !aligned {
        return from_interface(&obj.call_method0(intern!(py, "copy"))?, dtype);
    }
    let strides: Vec<isize> = match strides {
        Some(bytes) => bytes.iter().map(|s| s / size).collect(),
        None => covector_core::shape::row_major_strides(&shape).to_vec(),
    };
    // Truth values are read as bytes: nothing keeps NumPy's from being other than 0 and 1.
    let read = if have == Dtype::Bool { Dtype::U8 } else { have };
    let target = if have == Dtype::Bool && dtype.is_none() { Dtype::Bool } else { to };
    // SAFETY: the interface promises elements of this type at these places, which alignment was checked for; the
    // object that owns them is borrowed until the copy below is made, with the interpreter lock held throughout.
    let view = unsafe { Data::foreign(address as *const u8, read, &shape, &strides, Box::new(())) };
    if have == Dtype::Bool {
        let truth = Array::from_data(view).try_astype(Dtype::Bool).or_raise()?;
        truth.try_eval().or_raise()?;
        let out = truth.try_astype(target).or_raise()?;
        out.try_eval().or_raise()?;
        return Ok(out);
    }
    if target != have {
        let out = Array::from_data(view).try_astype(target).or_raise()?;
        out.try_eval().or_raise()?;
        return Ok(out);
    }
    with_dtype!(have, T => match view.view().as_slice::<T>() {
        Some(values) => Array::from_slice(values, &shape).or_raise(),
        // Not in row-major order, so that putting it in order makes a copy.
        None => Ok(Array::from_data(view.row_major("array").or_raise()?)),
    })
}

/// The values of a memory view.
fn from_memory(view: &Bound<'_, PyAny>, dtype: Option<Dtype>) -> PyResult<Array> {
    let py = view.py();
    let format: String = view.getattr(intern!(py, "format"))?.extract()?;
    let itemsize: usize = view.getattr(intern!(py, "itemsize"))?.extract()?;
    let letters = format.trim_start_matches(['@', '=', '<']);
    let have = match (letters, itemsize) {
        ("?", 1) => Dtype::Bool,
        ("B" | "c", 1) => Dtype::U8,
        ("b", 1) => Dtype::I8,
        ("H", 2) => Dtype::U16,
        ("h", 2) => Dtype::I16,
        ("I" | "L" | "Q" | "N", 4) => Dtype::U32,
        ("I" | "L" | "Q" | "N", 8) => Dtype::U64,
        ("i" | "l" | "q" | "n", 4) => Dtype::I32,
        ("i" | "l" | "q" | "n", 8) => Dtype::I64,
        ("e", 2) => Dtype::F16,
        ("f", 4) => Dtype::F32,
        ("d", 8) => Dtype::F64,
        ("Zf" | "F", 8) => Dtype::C64,
        _ => {
            return Err(PyValueError::new_err(format!(
                "[array] a buffer of format {format:?} has no element type; convert it first"
            )));
        }
    };
    let shape: Vec<usize> = view.getattr(intern!(py, "shape"))?.extract()?;
    let bytes = view.call_method0(intern!(py, "tobytes"))?;
    from_bytes(bytes.cast::<PyBytes>()?.as_bytes(), have, &shape, dtype)
}

/// An array of row-major elements in the machine's byte order.
pub(crate) fn from_bytes(
    bytes: &[u8],
    have: Dtype,
    shape: &[usize],
    dtype: Option<Dtype>,
) -> PyResult<Array> {
    if have == Dtype::Bool {
        let values: Vec<bool> = bytes.iter().map(|&b| b != 0).collect();
        let array = Array::from_slice(&values, shape).or_raise()?;
        return array.try_astype(dtype.unwrap_or(Dtype::Bool)).or_raise();
    }
    let array = with_dtype!(have, T => {
        let values: Vec<T> = bytes.chunks_exact(size_of::<T>()).map(<T as Bytes>::read).collect();
        Array::from_slice(&values, shape).or_raise()?
    });
    let to = dtype.unwrap_or(if have == Dtype::F64 { Dtype::F32 } else { have });
    array.try_astype(to).or_raise()
}

/// An element as bytes in the machine's order.
trait Bytes {
    fn read(bytes: &[u8]) -> Self;
    fn write(self, out: &mut Vec<u8>);
}

macro_rules! bytes {
    ($($t:ty),*) => {$(
        impl Bytes for $t {
            fn read(bytes: &[u8]) -> Self {
                <$t>::from_ne_bytes(bytes.try_into().expect("chunks of the element's size"))
            }
            fn write(self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_ne_bytes());
            }
        }
    )*};
}
bytes!(u8, u16, u32, u64, i8, i16, i32, i64, f16, bf16, f32, f64);

impl Bytes for bool {
    fn read(bytes: &[u8]) -> Self {
        bytes[0] != 0
    }
    fn write(self, out: &mut Vec<u8>) {
        out.push(u8::from(self));
    }
}

impl Bytes for covector_core::C64 {
    fn read(bytes: &[u8]) -> Self {
        Self::new(f32::read(&bytes[..4]), f32::read(&bytes[4..]))
    }
    fn write(self, out: &mut Vec<u8>) {
        self.re.write(out);
        self.im.write(out);
    }
}

/// The elements in row-major order as bytes.
pub(crate) fn to_bytes(array: &Array) -> PyResult<Vec<u8>> {
    let mut out = Vec::with_capacity(array.nbytes());
    with_dtype!(array.dtype(), T => {
        for value in array.try_to_vec::<T>().or_raise()? {
            value.write(&mut out);
        }
    });
    Ok(out)
}

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

/// Any array-like as this library's array, for `asarray`.
pub(crate) fn as_array(obj: &Bound<'_, PyAny>, dtype: Option<Dtype>) -> PyResult<PyArray> {
    crate::convert::array(obj, dtype).map(PyArray::new).map_err(|e| {
        if e.is_instance_of::<PyTypeError>(obj.py()) {
            PyTypeError::new_err(format!("[asarray] {} is no array", describe(obj)))
        } else {
            e
        }
    })
}
