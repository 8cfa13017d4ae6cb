//! Arrays of other libraries: NumPy's array interface, DLPack and the buffer protocol.
//!
//! Values are copied, since their owner may change them. The module `export` is the other direction.

use crate::array::PyArray;
use crate::convert::describe;
use crate::dlpack;
use crate::errors::OrRaise;
use covector_core::buffer::{Data, room};
use covector_core::{Array, Dtype, bf16, f16, ops};
use covector_kernels::{View, with_dtype};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMemoryView};

/// Whether an object offers an array's values by one of the protocols. Numbers, strings and bytes do not count.
pub(crate) fn is_array(obj: &Bound<'_, PyAny>) -> bool {
    let py = obj.py();
    [intern!(py, "__array_interface__"), intern!(py, "__dlpack__"), intern!(py, "__array__")]
        .into_iter()
        .any(|name| obj.hasattr(name).unwrap_or(false))
}

/// The element type to which values of a given type are converted.
pub(crate) type Wanted<'a> = &'a dyn Fn(Dtype) -> Dtype;

/// A copy of an object's values; `None` if the object offers none.
pub(crate) fn import(obj: &Bound<'_, PyAny>, wanted: Wanted<'_>) -> PyResult<Option<Array>> {
    let py = obj.py();
    if obj.hasattr(intern!(py, "__array_interface__"))? {
        return from_interface(obj, wanted).map(Some);
    }
    if obj.hasattr(intern!(py, "__dlpack__"))? {
        return from_dlpack(obj, wanted).map(Some);
    }
    if obj.hasattr(intern!(py, "__array__"))? {
        return from_interface(&obj.call_method0(intern!(py, "__array__"))?, wanted).map(Some);
    }
    match PyMemoryView::from(obj) {
        Ok(view) => from_memory(view.as_any(), wanted).map(Some),
        Err(_) => Ok(None),
    }
}

/// The element type for an array of foreign values of a type. `float64`, the default type of numbers in other libraries,
/// becomes `float32`.
pub(crate) fn alone(dtype: Dtype) -> Dtype {
    if dtype == Dtype::F64 { Dtype::F32 } else { dtype }
}

/// The values of an object with DLPack's methods, or by NumPy's protocol if its memory cannot be read directly.
fn from_dlpack(obj: &Bound<'_, PyAny>, wanted: Wanted<'_>) -> PyResult<Array> {
    let py = obj.py();
    let mut obj = obj.clone();
    // A tensor of PyTorch may be a view with negated (imaginary) parts, which its capsule does not record, or part of a
    // graph.
    for (asks, resolve) in [
        (intern!(py, "is_conj"), intern!(py, "resolve_conj")),
        (intern!(py, "is_neg"), intern!(py, "resolve_neg")),
        (intern!(py, "requires_grad"), intern!(py, "detach")),
    ] {
        let Some(state) = obj.getattr_opt(asks)? else { continue };
        let state = if state.is_callable() { state.call0()? } else { state };
        if state.is_truthy()? {
            obj = obj.call_method0(resolve)?;
        }
    }
    let error = match dlpack::import(&obj, wanted) {
        Ok(array) => return Ok(array),
        Err(error) => error,
    };
    if obj.hasattr(intern!(py, "__array__"))?
        && let Ok(values) = obj.call_method0(intern!(py, "__array__"))
    {
        return from_interface(&values, wanted);
    }
    let text = error.value(py).to_string();
    if text.starts_with("[array]") {
        return Err(error);
    }
    let failure = PyValueError::new_err(format!(
        "[array] cannot read the values of {}: {text}. Convert it to an ordinary array in main memory first",
        describe(&obj)
    ));
    failure.set_cause(py, Some(error));
    Err(failure)
}

/// The element type for the letters of the array interface.
pub(crate) fn element(typestr: &str, obj: &Bound<'_, PyAny>) -> PyResult<Dtype> {
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
        kind => {
            let remedy = match kind.chars().next() {
                Some('O') => {
                    "the array holds Python objects; convert it with .astype(float), or to another number"
                }
                Some('V')
                    if obj.getattr("dtype").is_ok_and(|d| d.getattr("names").is_ok_and(|n| !n.is_none())) =>
                {
                    "the array has fields; take one of them, such as a['x']"
                }
                Some('S' | 'U') => "the array holds text; convert it to numbers first",
                Some('M' | 'm') => "the array holds times; convert it to numbers with .astype(int) first",
                _ => "convert it with .astype first",
            };
            return Err(PyValueError::new_err(format!(
                "[array] NumPy's element type {} has no counterpart: {remedy}",
                name()
            )));
        }
    })
}

fn from_interface(obj: &Bound<'_, PyAny>, wanted: Wanted<'_>) -> PyResult<Array> {
    let py = obj.py();
    let interface = obj.getattr(intern!(py, "__array_interface__"))?;
    let get = |key: &str| interface.get_item(key);
    let typestr: String = get("typestr")?.extract()?;
    let kind = typestr.get(1..).unwrap_or("");
    let have = match kind {
        "c16" => Elements::Complex128,
        // Wider than all types of covector; NumPy converts it.
        "f16" | "f12" => return from_interface(&obj.call_method1(intern!(py, "astype"), ("=f8",))?, wanted),
        "c32" | "c24" => return from_interface(&obj.call_method1(intern!(py, "astype"), ("=c16",))?, wanted),
        _ => Elements::Of(element(&typestr, obj)?),
    };
    let shape: Vec<usize> = get("shape")?.extract()?;
    let (address, _): (usize, bool) = get("data")?.extract()?;
    let strides: Option<Vec<isize>> = match get("strides") {
        Ok(strides) if !strides.is_none() => Some(strides.extract()?),
        _ => None,
    };
    let foreign_order = if cfg!(target_endian = "little") { '>' } else { '<' };
    let size = have.size() as isize;
    let strides = strides.unwrap_or_else(|| {
        covector_core::shape::row_major_strides(&shape).iter().map(|s| s * size).collect()
    });
    let memory = Borrowed { address, have, shape, strides, swapped: typestr.starts_with(foreign_order) };
    // SAFETY: the interface promises elements of this type at these addresses. The object that owns them is borrowed, and
    // the interpreter lock is held throughout.
    unsafe { memory.copy(wanted) }
}

/// The element type of foreign memory.
#[derive(Clone, Copy)]
pub(crate) enum Elements {
    Of(Dtype),
    /// Two `float64`; covector has no such type.
    Complex128,
}

impl Elements {
    pub(crate) fn size(self) -> usize {
        match self {
            Elements::Of(dtype) => dtype.size(),
            Elements::Complex128 => 16,
        }
    }
}

/// Memory of another library.
pub(crate) struct Borrowed {
    pub(crate) address: usize,
    pub(crate) have: Elements,
    pub(crate) shape: Vec<usize>,
    /// In bytes.
    pub(crate) strides: Vec<isize>,
    /// Whether the bytes of each number are in the other order.
    pub(crate) swapped: bool,
}

impl Borrowed {
    /// An array of the values, in memory of its own.
    ///
    /// # Safety
    /// Elements of this type are at these addresses, and nothing changes them during the call.
    pub(crate) unsafe fn copy(mut self, wanted: Wanted<'_>) -> PyResult<Array> {
        let dtype = match self.have {
            Elements::Of(dtype) => dtype,
            Elements::Complex128 => Dtype::C64,
        };
        let to = wanted(dtype);
        if self.shape.contains(&0) {
            return with_dtype!(to, T => Array::from_slice::<T>(&[], &self.shape)).or_raise();
        }
        let shape: Vec<isize> = self.shape.iter().map(|&n| n as isize).collect();
        // The numbers that the elements consist of.
        let part = match self.have {
            Elements::Complex128 => Dtype::F64,
            Elements::Of(Dtype::C64) => Dtype::F32,
            // Truth values are read as bytes, because other libraries may store bytes other than 0 and 1.
            Elements::Of(Dtype::Bool) => Dtype::U8,
            Elements::Of(dtype) => dtype,
        };
        let size = part.size();
        if dtype.is_complex() {
            self.shape.push(2);
            self.strides.push(size as isize);
        }
        let aligned =
            self.address.is_multiple_of(size) && self.strides.iter().all(|s| s % size as isize == 0);
        let numbers = if aligned && !self.swapped {
            let numbers = match dtype {
                Dtype::C64 => Dtype::F32,
                Dtype::Bool => Dtype::Bool,
                _ => to,
            };
            // SAFETY: as the caller promises.
            unsafe { self.read(part, numbers)? }
        } else {
            // Read bytes, which have neither alignment nor order.
            self.shape.push(size);
            self.strides.push(if self.swapped { -1 } else { 1 });
            if self.swapped {
                self.address += size - 1;
            }
            // SAFETY: the bytes of the same elements.
            let bytes = unsafe { self.read(Dtype::U8, Dtype::U8)? };
            let numbers = if dtype == Dtype::Bool {
                ops::try_astype(&bytes, dtype)
            } else {
                ops::try_view(&bytes, part)
            };
            let narrow = if dtype.is_complex() { Dtype::F32 } else { to };
            // The last axis counted the bytes.
            numbers.and_then(|n| ops::try_astype(&ops::try_squeeze(&n, &[-1])?, narrow)).or_raise()?
        };
        let elements = if dtype.is_complex() { ops::try_view(&numbers, dtype) } else { Ok(numbers) };
        let array = elements.and_then(|e| ops::try_astype(&e.try_reshape(&shape)?, to)).or_raise()?;
        array.try_eval().or_raise()?;
        Ok(array)
    }

    /// The memory as elements of type `from`, copied into elements of type `to`.
    ///
    /// # Safety
    /// As [`Borrowed::copy`], for elements of the type `from`. The memory is aligned for the type.
    unsafe fn read(&self, from: Dtype, to: Dtype) -> PyResult<Array> {
        let size = from.size() as isize;
        let strides: Vec<isize> = self.strides.iter().map(|s| s / size).collect();
        // SAFETY: as the caller promises; the view does not outlive the call.
        let view = unsafe { View::new(self.address as *const u8, from, &self.shape, &strides) };
        let mut data = Data::alloc("array", to, &self.shape).or_raise()?;
        covector_kernels::cast(view, data.out());
        Ok(Array::from_data(data))
    }
}

/// The values of a memory view.
fn from_memory(view: &Bound<'_, PyAny>, wanted: Wanted<'_>) -> PyResult<Array> {
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
    from_bytes(bytes.cast::<PyBytes>()?.as_bytes(), have, &shape, Some(wanted(have)))
}

/// An array of row-major elements in the machine's byte order.
pub(crate) fn from_bytes(
    bytes: &[u8],
    have: Dtype,
    shape: &[usize],
    dtype: Option<Dtype>,
) -> PyResult<Array> {
    if have == Dtype::Bool {
        let mut values = room("array", bytes.len()).or_raise()?;
        values.extend(bytes.iter().map(|&b| b != 0));
        let array = Array::from_slice(&values, shape).or_raise()?;
        return array.try_astype(dtype.unwrap_or(Dtype::Bool)).or_raise();
    }
    let array = with_dtype!(have, T => {
        let mut values = room::<T>("array", bytes.len() / size_of::<T>()).or_raise()?;
        values.extend(bytes.chunks_exact(size_of::<T>()).map(<T as Bytes>::read));
        Array::from_slice(&values, shape).or_raise()?
    });
    let to = dtype.unwrap_or(if have == Dtype::F64 { Dtype::F32 } else { have });
    array.try_astype(to).or_raise()
}

/// An element as bytes in the machine's order.
trait Bytes {
    fn read(bytes: &[u8]) -> Self;
}

macro_rules! bytes {
    ($($t:ty),*) => {$(
        impl Bytes for $t {
            fn read(bytes: &[u8]) -> Self {
                <$t>::from_ne_bytes(bytes.try_into().expect("chunks of the element's size"))
            }
        }
    )*};
}
bytes!(u8, u16, u32, u64, i8, i16, i32, i64, f16, bf16, f32, f64);

impl Bytes for bool {
    fn read(bytes: &[u8]) -> Self {
        bytes[0] != 0
    }
}

impl Bytes for covector_core::C64 {
    fn read(bytes: &[u8]) -> Self {
        Self::new(f32::read(&bytes[..4]), f32::read(&bytes[4..]))
    }
}

/// The elements in row-major order, as bytes in the machine's order.
pub(crate) fn to_bytes<'py>(py: Python<'py>, array: &Array) -> PyResult<Bound<'py, PyBytes>> {
    let data = array.try_eval().or_raise()?.row_major("bytes").or_raise()?;
    PyBytes::new_with(py, array.nbytes(), |bytes| {
        if !bytes.is_empty() {
            // SAFETY: the elements are row-major, and both memories have the same number of bytes.
            unsafe { std::ptr::copy_nonoverlapping(data.ptr(), bytes.as_mut_ptr(), bytes.len()) };
        }
        Ok(())
    })
}

/// Converts an array-like object to an array, for `asarray`.
pub(crate) fn as_array(obj: &Bound<'_, PyAny>, dtype: Option<Dtype>) -> PyResult<PyArray> {
    crate::convert::array(obj, dtype).map(PyArray::new).map_err(|e| {
        if e.is_instance_of::<PyTypeError>(obj.py()) {
            PyTypeError::new_err(format!("[asarray] {} is not an array", describe(obj)))
        } else {
            e
        }
    })
}
