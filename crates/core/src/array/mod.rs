//! The lazy array: a cheap handle to a node of the computation graph.
//!
//! A node always has a shape and an element type. Besides, it has values, or a recipe (a primitive and its inputs), or
//! both while a trace is alive. Values are set once and are then read without a lock. A node that has values and is not
//! part of a live trace drops its recipe, which frees its inputs.
//!
//! This module does not depend on evaluation, except that `apply`, which makes nodes, bounds the amount of pending work.
//! The methods that compute values are in [`eval`](crate::eval()).

mod apply;
mod node;

use crate::buffer::Data;
use crate::error::Result;
use crate::trace::{Place, Trace, TraceSet};
use covector_kernels::{Dtype, Element};
pub use covector_runtime::aval::Aval;
pub(crate) use node::{Node, Pending, Recipe};
use smallvec::{SmallVec, smallvec};
use std::sync::Arc;

/// The inputs of a node.
pub type Inputs = SmallVec<[Array; 2]>;
pub(crate) type Outs<T> = SmallVec<[T; 1]>;

/// An n-dimensional array, computed when its values are asked for.
///
/// Cloning copies a pointer. Arrays are immutable, `Send` and `Sync`; operations make new arrays. Operators and
/// methods panic at the caller's line on a shape or type mistake, as indexing does; each has a `try_` form that
/// returns a [`Result`].
///
/// ```
/// use covector_core::Array;
/// let x = Array::new([1.0f32, 2.0, 3.0]);
/// let y = (&x * 2.0 + 1.0).sum();
/// assert_eq!(y.item::<f32>(), 15.0);
/// ```
#[derive(Clone)]
pub struct Array {
    pub(crate) node: Arc<Node>,
    pub(crate) index: u32,
}

impl Array {
    /// An array with the given values.
    pub fn from_data(data: Data) -> Self {
        let aval = Aval::new(data.dtype(), data.shape());
        Self::from_node(Node::new(Outs::from_buf([aval]), Some(data), None, None, Pending::default()))
    }

    #[inline]
    fn from_node(node: Node) -> Self {
        Self { node: Arc::new(node), index: 0 }
    }

    /// A number that is written in a program. One such array can serve all occurrences of the number: the planner makes a
    /// leaf for each use, so that plans do not depend on which numbers happen to be equal.
    pub fn literal<T: Element>(value: T) -> Self {
        let mut array = Self::scalar(value);
        if let Some(node) = Arc::get_mut(&mut array.node) {
            node.literal = true;
        }
        array
    }

    /// A row-major array of `values` with a given shape.
    ///
    /// # Errors
    /// When the shape does not have as many elements as there are values.
    pub fn from_slice<T: Element>(values: &[T], shape: &[usize]) -> Result<Self> {
        Ok(Self::from_data(Data::from_slice(values, shape)?))
    }

    /// A zero-dimensional array.
    pub fn scalar<T: Element>(value: T) -> Self {
        Self::from_data(Data::scalar(value))
    }

    /// A node without values or recipe: the abstract argument of a traced function, a leaf of `traces`.
    pub(crate) fn placeholder(aval: Aval, traces: Option<Arc<TraceSet>>) -> Self {
        Self::from_node(Node::new(smallvec![aval], None, None, traces, Pending::default()))
    }

    /// Whether both are the same output of the same node.
    pub fn is_same(&self, other: &Array) -> bool {
        Arc::ptr_eq(&self.node, &other.node) && self.index == other.index
    }

    /// The abstract value: element type and shape.
    pub fn aval(&self) -> &Aval {
        &self.node.avals[self.index as usize]
    }

    /// The extent of each axis.
    pub fn shape(&self) -> &[usize] {
        &self.aval().shape
    }

    /// The extent of one axis, which may count from the end.
    ///
    /// # Panics
    /// When the array has no such axis.
    #[track_caller]
    pub fn dim(&self, axis: isize) -> usize {
        self.shape()[crate::error::expect(crate::shape::normalize_axis("dim", axis, self.ndim()))]
    }

    /// The number of axes.
    pub fn ndim(&self) -> usize {
        self.shape().len()
    }

    /// The number of elements.
    pub fn size(&self) -> usize {
        self.shape().iter().product()
    }

    /// The element type.
    pub fn dtype(&self) -> Dtype {
        self.aval().dtype
    }

    /// The size of its elements in bytes.
    pub fn nbytes(&self) -> usize {
        self.size() * self.dtype().size()
    }

    /// The values, if they exist.
    #[track_caller]
    pub fn data_if_ready(&self) -> Option<&Data> {
        let data = self.ready();
        if data.is_some() {
            self.note_read(Place::here());
        }
        data
    }

    /// [`Array::data_if_ready`] for callers that do not return a value to the program.
    pub(crate) fn ready(&self) -> Option<&Data> {
        self.node.data().map(|d| &d[self.index as usize])
    }

    /// Whether the values exist.
    pub fn is_available(&self) -> bool {
        self.node.data().is_some()
    }

    /// Whether the array is part of a transform that is still tracing.
    pub fn is_tracer(&self) -> bool {
        self.node.is_live()
    }

    /// Whether the array depends on a leaf of this trace.
    pub(crate) fn depends_on(&self, trace: &Trace) -> bool {
        self.node.depends_on(trace)
    }

    /// Records in the transforms that trace this array that its value was read at a place. For them, results computed from
    /// the value are constants. The methods that return values call this. A binding for another language calls it before
    /// them, with a place in that language.
    pub fn note_read(&self, place: impl FnOnce() -> Place) {
        if let Some(traces) = &self.node.traces {
            traces.note_read(place);
        }
    }
}

impl AsRef<Array> for Array {
    fn as_ref(&self) -> &Array {
        self
    }
}
