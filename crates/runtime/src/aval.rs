//! Abstract values: what is known of a value without computing it.

use crate::buffer::Data;
use crate::shape::Shape;
use covector_kernels::Dtype;
use smallvec::SmallVec;

/// What is known of an array without computing it: its element type and shape (JAX calls this the abstract value).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Aval {
    /// The element type.
    pub dtype: Dtype,
    /// The extents.
    pub shape: Shape,
}

impl Aval {
    /// An abstract value.
    pub fn new(dtype: Dtype, shape: impl AsRef<[usize]>) -> Self {
        Self { dtype, shape: Shape::from_slice(shape.as_ref()) }
    }
}

/// The abstract values of an operation's outputs.
pub type Avals = SmallVec<[Aval; 1]>;
/// Values handed to, or made by, an operation's evaluation.
pub type Values = SmallVec<[Data; 2]>;
