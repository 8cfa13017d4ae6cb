//! DLPack: handing the memory of an array to another library without a copy.
//!
//! The capsule owns a clone of the array's data, a reference to the shared buffer, which is released when the
//! receiver calls the deleter, or when the capsule dies without having been taken.

use covector_core::Dtype;
use covector_core::buffer::Data;
use pyo3::ffi;
use pyo3::prelude::*;
use std::ffi::{CStr, c_void};

const FRESH: &CStr = c"dltensor";

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
struct Managed {
    tensor: Tensor,
    manager: *mut c_void,
    deleter: Option<unsafe extern "C" fn(*mut Managed)>,
}

/// What the tensor points into, alive as long as it.
struct Owner {
    #[expect(dead_code, reason = "held for its drop, which releases the memory")]
    data: Data,
    shape: Vec<i64>,
    strides: Vec<i64>,
}

unsafe extern "C" fn delete(managed: *mut Managed) {
    if managed.is_null() {
        return;
    }
    // SAFETY: `managed` and its manager come from `Box::into_raw` in `capsule`, and DLPack has the deleter called
    // once.
    unsafe {
        let managed = Box::from_raw(managed);
        drop(Box::from_raw(managed.manager.cast::<Owner>()));
    }
}

unsafe extern "C" fn capsule_gone(capsule: *mut ffi::PyObject) {
    // SAFETY: Python calls this with the dying capsule. A receiver renames the capsule and then owns the tensor,
    // so that only one that still has its first name holds a tensor nobody has taken.
    unsafe {
        if ffi::PyCapsule_IsValid(capsule, FRESH.as_ptr()) == 1 {
            delete(ffi::PyCapsule_GetPointer(capsule, FRESH.as_ptr()).cast());
        }
    }
}

/// DLPack's code of a kind of element.
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

/// A capsule that another library can make an array of.
pub(crate) fn capsule(py: Python<'_>, data: Data) -> PyResult<Bound<'_, PyAny>> {
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
    let managed = Box::into_raw(Box::new(Managed {
        tensor,
        manager: Box::into_raw(owner).cast(),
        deleter: Some(delete),
    }));
    // SAFETY: the pointer is not null and the destructor knows what to do with it; when no capsule could be made,
    // nobody else has seen the tensor.
    unsafe {
        let capsule = ffi::PyCapsule_New(managed.cast(), FRESH.as_ptr(), Some(capsule_gone));
        if capsule.is_null() {
            delete(managed);
        }
        Bound::from_owned_ptr_or_err(py, capsule)
    }
}
