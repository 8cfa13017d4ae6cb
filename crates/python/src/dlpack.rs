//! DLPack: arrays to other libraries and from them.
//!
//! The receiver of a capsule may write into the memory: PyTorch does, even if the capsule is marked read-only. So it gets
//! a copy. A receiver that asks for no copy gets the shared memory, marked read-only, if it supports the version of the
//! protocol that has this mark. The capsule owns its memory, which is released when the receiver calls the deleter, or
//! when the capsule is deleted unused.

use crate::convert::describe;
use crate::errors::OrRaise;
use crate::foreign::{Borrowed, Elements, Wanted};
use covector_core::buffer::Data;
use covector_core::{Array, Dtype};
use pyo3::exceptions::{PyBufferError, PyTypeError};
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyDict};
use std::ffi::{CStr, c_void};

/// Names of an unused capsule, without and with a version.
const PLAIN: &CStr = c"dltensor";
const VERSIONED: &CStr = c"dltensor_versioned";

const READ_ONLY: u64 = 1;
const IS_COPIED: u64 = 2;

/// DLPack's numbers of the kinds of memory that this processor can read: main memory, and pinned main memory.
const READABLE: [i32; 3] = [1, 3, 11];

#[repr(C)]
struct Tensor {
    data: *mut c_void,
    device_type: i32,
    device_id: i32,
    ndim: i32,
    code: u8,
    bits: u8,
    lanes: u16,
    shape: *mut i64,
    strides: *mut i64,
    byte_offset: u64,
}

#[repr(C)]
struct Plain {
    tensor: Tensor,
    manager: *mut c_void,
    deleter: Option<unsafe extern "C" fn(*mut Plain)>,
}

#[repr(C)]
struct Versioned {
    major: u32,
    minor: u32,
    manager: *mut c_void,
    deleter: Option<unsafe extern "C" fn(*mut Versioned)>,
    flags: u64,
    tensor: Tensor,
}

/// The memory that the tensor points into. It lives as long as the tensor.
struct Owner {
    #[expect(dead_code, reason = "held for its drop, which releases the memory")]
    data: Data,
    shape: Vec<i64>,
    strides: Vec<i64>,
}

/// One of the two kinds of managed tensors.
trait Managed: Sized {
    const NAME: &'static CStr;
    fn new(tensor: Tensor, owner: Box<Owner>, flags: u64) -> Self;
    fn manager(&self) -> *mut c_void;
}

impl Managed for Plain {
    const NAME: &'static CStr = PLAIN;
    fn new(tensor: Tensor, owner: Box<Owner>, _flags: u64) -> Self {
        Self { tensor, manager: Box::into_raw(owner).cast(), deleter: Some(delete::<Self>) }
    }
    fn manager(&self) -> *mut c_void {
        self.manager
    }
}

impl Managed for Versioned {
    const NAME: &'static CStr = VERSIONED;
    fn new(tensor: Tensor, owner: Box<Owner>, flags: u64) -> Self {
        let manager = Box::into_raw(owner).cast();
        Self { major: 1, minor: 0, manager, deleter: Some(delete::<Self>), flags, tensor }
    }
    fn manager(&self) -> *mut c_void {
        self.manager
    }
}

unsafe extern "C" fn delete<M: Managed>(managed: *mut M) {
    if managed.is_null() {
        return;
    }
    // SAFETY: `managed` and its manager come from `Box::into_raw` in `wrap`, and DLPack has the deleter called once.
    unsafe {
        let managed = Box::from_raw(managed);
        drop(Box::from_raw(managed.manager().cast::<Owner>()));
    }
}

unsafe extern "C" fn capsule_gone<M: Managed>(capsule: *mut ffi::PyObject) {
    // SAFETY: Python calls this with the capsule that it deletes. A receiver renames the capsule and then owns the
    // tensor, so a capsule with its first name still owns its tensor.
    unsafe {
        if ffi::PyCapsule_IsValid(capsule, M::NAME.as_ptr()) == 1 {
            delete::<M>(ffi::PyCapsule_GetPointer(capsule, M::NAME.as_ptr()).cast());
        }
    }
}

/// DLPack's numbers for kinds of element types.
fn code(dtype: Dtype) -> u8 {
    match dtype {
        Dtype::Bool => 6,
        Dtype::Bf16 => 4,
        _ if dtype.is_complex() => 5,
        _ if dtype.is_float() => 2,
        _ if dtype.is_signed_integer() => 0,
        _ => 1,
    }
}

/// The element type for DLPack's numbers.
fn elements(code: u8, bits: u8, lanes: u16) -> Option<Elements> {
    if lanes != 1 {
        return None;
    }
    if (code, bits) == (5, 128) {
        return Some(Elements::Complex128);
    }
    let of = |dtype: &Dtype| self::code(*dtype) == code && dtype.size() * 8 == usize::from(bits);
    Dtype::ALL.into_iter().find(of).map(Elements::Of)
}

/// A capsule of an array's memory for another library, by the arguments of `__dlpack__`.
pub(crate) fn export<'py>(
    py: Python<'py>,
    array: &Array,
    max_version: Option<(u32, u32)>,
    device: Option<(i32, i32)>,
    copy: Option<bool>,
) -> PyResult<Bound<'py, PyAny>> {
    if let Some(device) = device.filter(|d| *d != (1, 0)) {
        return Err(PyBufferError::new_err(format!(
            "[dlpack] arrays are in the memory of the main processor, device (1, 0), and cannot be exported to device {device:?}"
        )));
    }
    let versioned = max_version.is_some_and(|(major, _)| major >= 1);
    if copy == Some(false) && !versioned {
        return Err(PyBufferError::new_err(
            "[dlpack] without a copy the memory is read-only, which only max_version=(1, 0) or newer can express; leave copy out",
        ));
    }
    crate::array::read(py, array)?;
    let data = array.try_eval().or_raise()?.clone();
    if copy == Some(false) {
        return wrap::<Versioned>(py, data, READ_ONLY);
    }
    let mut own = Data::alloc("dlpack", data.dtype(), data.shape()).or_raise()?;
    covector_kernels::cast(data.view(), own.out());
    if versioned { wrap::<Versioned>(py, own, IS_COPIED) } else { wrap::<Plain>(py, own, 0) }
}

/// A capsule that another library can make an array of.
fn wrap<M: Managed>(py: Python<'_>, data: Data, flags: u64) -> PyResult<Bound<'_, PyAny>> {
    let dtype = data.dtype();
    let pointer = data.ptr().cast_mut().cast();
    let mut owner = Box::new(Owner {
        shape: data.shape().iter().map(|&n| n as i64).collect(),
        strides: data.strides().iter().map(|&s| s as i64).collect(),
        data,
    });
    let tensor = Tensor {
        data: pointer,
        device_type: 1,
        device_id: 0,
        ndim: owner.shape.len() as i32,
        code: code(dtype),
        bits: (dtype.size() * 8) as u8,
        lanes: 1,
        shape: owner.shape.as_mut_ptr(),
        strides: owner.strides.as_mut_ptr(),
        byte_offset: 0,
    };
    let managed = Box::into_raw(Box::new(M::new(tensor, owner, flags)));
    // SAFETY: the pointer is not null, and the destructor frees it. If no capsule could be made, no other code has seen
    // the tensor.
    unsafe {
        let capsule = ffi::PyCapsule_New(managed.cast(), M::NAME.as_ptr(), Some(capsule_gone::<M>));
        if capsule.is_null() {
            delete(managed);
        }
        Bound::from_owned_ptr_or_err(py, capsule)
    }
}

/// A copy of the values of an object that speaks DLPack.
pub(crate) fn import(obj: &Bound<'_, PyAny>, wanted: Wanted<'_>) -> PyResult<Array> {
    let py = obj.py();
    if let Some(device) = obj.getattr_opt(intern!(py, "__dlpack_device__"))? {
        let (kind, number): (i32, i32) = device.call0()?.extract()?;
        check_device(obj, kind, number)?;
    }
    let give = obj.getattr(intern!(py, "__dlpack__"))?;
    let options = PyDict::new(py);
    options.set_item(intern!(py, "max_version"), (1, 0))?;
    let capsule = match give.call((), Some(&options)) {
        // The method does not support versions.
        Err(error) if error.is_instance_of::<PyTypeError>(py) => give.call0()?,
        other => other?,
    };
    let capsule = capsule.cast_into::<PyCapsule>()?;
    // The capsule keeps its name. So it still owns the tensor, and deletes it after the copy.
    let pointer = |name: &CStr| -> *mut c_void {
        // SAFETY: a capsule, and a name that ends in zero.
        unsafe {
            if ffi::PyCapsule_IsValid(capsule.as_ptr(), name.as_ptr()) == 1 {
                ffi::PyCapsule_GetPointer(capsule.as_ptr(), name.as_ptr())
            } else {
                std::ptr::null_mut()
            }
        }
    };
    let (plain, versioned) = (pointer(PLAIN).cast::<Plain>(), pointer(VERSIONED).cast::<Versioned>());
    // SAFETY: a valid capsule of that name points to such a tensor. All versions begin with the version number.
    let tensor = unsafe {
        if !versioned.is_null() && (*versioned).major == 1 {
            &(*versioned).tensor
        } else if !plain.is_null() {
            &(*plain).tensor
        } else {
            return Err(PyBufferError::new_err(format!(
                "[array] {} gave a DLPack capsule of an unknown kind; convert it to a NumPy array first",
                describe(obj)
            )));
        }
    };
    check_device(obj, tensor.device_type, tensor.device_id)?;
    let Some(have) = elements(tensor.code, tensor.bits, tensor.lanes) else {
        return Err(PyTypeError::new_err(format!(
            "[array] the element type of {} has no counterpart{}; convert it first, for example to float32",
            describe(obj),
            obj.getattr("dtype").map_or_else(|_| String::new(), |d| format!(": {d}"))
        )));
    };
    let ndim = usize::try_from(tensor.ndim).unwrap_or(0);
    let list = |start: *const i64| -> Vec<isize> {
        // SAFETY: DLPack has one number for each axis there.
        (0..ndim).map(|k| unsafe { *start.add(k) } as isize).collect()
    };
    let shape: Vec<usize> = list(tensor.shape).into_iter().map(|n| n as usize).collect();
    let strides = if tensor.strides.is_null() {
        covector_core::shape::row_major_strides(&shape).to_vec()
    } else {
        list(tensor.strides)
    };
    let size = have.size() as isize;
    let memory = Borrowed {
        address: tensor.data as usize + tensor.byte_offset as usize,
        have,
        shape,
        strides: strides.into_iter().map(|s| s * size).collect(),
        swapped: false,
    };
    // SAFETY: DLPack promises elements of this type at these addresses. The capsule keeps them alive, and the interpreter
    // lock is held throughout.
    let array = unsafe { memory.copy(wanted) };
    drop(capsule);
    array
}

fn check_device(obj: &Bound<'_, PyAny>, kind: i32, number: i32) -> PyResult<()> {
    if READABLE.contains(&kind) {
        return Ok(());
    }
    Err(PyBufferError::new_err(format!(
        "[array] {} is on DLPack device ({kind}, {number}), and only memory of the main processor can be read; move it there \
         first, as with .cpu()",
        describe(obj)
    )))
}
