//! The lazy array: a cheap handle to a node of the computation graph.
//!
//! A node has a shape and an element type from birth, and either its values, or the recipe that makes them (a
//! primitive and its inputs), or — while a trace is alive — both. Values arrive once and are then read without
//! a lock; a node that has values and is not part of a live trace drops its recipe, which frees what it came from.

use crate::buffer::Data;
use crate::error::{Error, Result};
use crate::graph::Mark;
use crate::primitive::{Op, Primitive};
use crate::shape::{Shape, ShapeText};
use crate::trace::{self, Place, TraceSet};
use covector_kernels::{Dtype, Element};
use smallvec::{SmallVec, smallvec};
use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

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

/// The inputs of a node.
pub type Inputs = SmallVec<[Array; 2]>;
pub(crate) type Outs<T> = SmallVec<[T; 1]>;

/// How to make a node's values.
#[derive(Clone)]
pub(crate) struct Recipe {
    pub(crate) op: Op,
    pub(crate) inputs: Inputs,
}

/// How much unevaluated work hangs behind a node, for bounded laziness.
#[derive(Clone, Copy, Default)]
pub(crate) struct Pending {
    /// The longest chain of unevaluated nodes.
    pub(crate) depth: u32,
    /// KiB of evaluated arrays held along such a chain.
    pub(crate) kib: u32,
}

pub(crate) struct Node {
    pub(crate) avals: Outs<Aval>,
    data: OnceLock<Outs<Data>>,
    recipe: Mutex<Option<Recipe>>,
    /// The traces this node is part of: it depends on a leaf of each.
    pub(crate) traces: Option<Arc<TraceSet>>,
    pub(crate) pending: Pending,
    /// Whether it gets its values before long, so that what is made from it counts no pending work behind it.
    due: AtomicBool,
    /// Whether it is a number as a program writes it; see [`Array::literal`].
    pub(crate) literal: bool,
    /// Where the walk that has the marks lists the node.
    pub(crate) mark: Mark,
}

impl Node {
    fn lock(&self) -> MutexGuard<'_, Option<Recipe>> {
        self.recipe.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// The values, if they were computed.
    pub(crate) fn data(&self) -> Option<&Outs<Data>> {
        self.data.get()
    }

    /// The recipe, if it is still there.
    pub(crate) fn recipe(&self) -> Option<Recipe> {
        self.lock().clone()
    }

    /// Looks at the recipe where it is. `f` must not come back to the node.
    pub(crate) fn peek_recipe<R>(&self, f: impl FnOnce(&Recipe) -> Option<R>) -> Option<R> {
        self.lock().as_ref().and_then(f)
    }

    /// Takes the recipe away, for whoever makes the values. The node must get them, or another recipe.
    pub(crate) fn take_recipe(&self) -> Option<Recipe> {
        self.lock().take()
    }

    /// Gives it a recipe.
    pub(crate) fn put_recipe(&self, recipe: Recipe) {
        *self.lock() = Some(recipe);
    }

    /// Takes the values of a node that nobody else has.
    pub(crate) fn take_data(&mut self) -> Option<Outs<Data>> {
        self.data.take()
    }

    /// Stores computed values; the recipe goes unless a live trace may still differentiate through it.
    pub(crate) fn fill(&self, data: Outs<Data>) {
        debug_assert!(
            data.iter().zip(&self.avals).all(|(d, a)| d.shape() == &a.shape[..] && d.dtype() == a.dtype),
            "evaluation disagrees with infer: {:?} against {:?}",
            data.iter().map(|d| (d.dtype(), d.shape().to_vec())).collect::<Vec<_>>(),
            self.avals
        );
        // A second thread may have been faster; both computed the same values.
        let _ = self.data.set(data);
        self.settle();
    }

    /// Drops the recipe of a node that has values and is not traced.
    pub(crate) fn settle(&self) {
        if self.data.get().is_some() && !self.is_live() {
            let mut recipe = self.lock().take();
            if recipe.is_some() {
                bury(&mut recipe);
            }
        }
    }

    /// Says that the node gets its values before long.
    pub(crate) fn set_due(&self) {
        self.due.store(true, Ordering::Relaxed);
    }

    /// Whether the node depends on a leaf of a trace that is still going on.
    pub(crate) fn is_live(&self) -> bool {
        self.traces.as_ref().is_some_and(|t| t.is_live())
    }
}

/// Recipes that wait to be dropped, and how many this thread is dropping, one inside the other.
struct Graves {
    queue: RefCell<Vec<Recipe>>,
    depth: Cell<u32>,
}

/// So many levels of a dying graph are dropped where they are, which costs less than the queue.
const MAX_DROP_DEPTH: u32 = 16;

thread_local! {
    static GRAVES: Graves = const { Graves { queue: RefCell::new(Vec::new()), depth: Cell::new(0) } };
}

/// Drops a recipe without recursing far: a chain of a million nodes goes in one loop, and so do graphs that primitives
/// hold inside themselves, because whatever dies further down is queued.
fn bury(recipe: &mut Option<Recipe>) {
    // Where the thread is being torn down and its queue is gone, it is dropped in place.
    let _ = GRAVES.try_with(|graves| {
        let depth = graves.depth.get();
        if depth == MAX_DROP_DEPTH {
            graves.queue.borrow_mut().extend(recipe.take());
            return;
        }
        graves.depth.set(depth + 1);
        *recipe = None;
        if depth == 0 {
            let next = || graves.queue.borrow_mut().pop();
            while let Some(recipe) = next() {
                drop(recipe);
            }
        }
        graves.depth.set(depth);
    });
}

impl Drop for Node {
    fn drop(&mut self) {
        let slot = self.recipe.get_mut().unwrap_or_else(|e| e.into_inner());
        if slot.is_some() {
            bury(slot);
        }
    }
}

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
    /// An array over values that exist.
    pub fn from_data(data: Data) -> Self {
        let aval = Aval::new(data.dtype(), data.shape());
        Self::from_node(Node {
            avals: Outs::from_buf([aval]),
            data: OnceLock::from(Outs::from_buf([data])),
            recipe: Mutex::new(None),
            traces: None,
            pending: Pending::default(),
            due: AtomicBool::new(false),
            literal: false,
            mark: Mark::default(),
        })
    }

    fn from_node(node: Node) -> Self {
        Self { node: Arc::new(node), index: 0 }
    }

    /// A number as a program writes it. The array may be used again wherever a program has the same number: the planner
    /// takes each place for a leaf of its own, so that plans do not depend on which numbers happen to be equal.
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

    /// A node without values or recipe: the abstract argument of a function that is traced, part of `traces`.
    pub(crate) fn placeholder(aval: Aval, traces: Option<Arc<TraceSet>>) -> Self {
        Self::from_node(Node {
            avals: smallvec![aval],
            data: OnceLock::new(),
            recipe: Mutex::new(None),
            traces,
            pending: Pending::default(),
            due: AtomicBool::new(false),
            literal: false,
            mark: Mark::default(),
        })
    }

    /// The first output of a new node: `op` applied to `inputs`.
    pub(crate) fn apply(op: impl Into<Op>, inputs: Inputs) -> Result<Self> {
        let op = op.into();
        let avals = op.infer(&inputs)?;
        debug_assert_eq!(avals.len(), 1, "{} has several outputs", op.name());
        Ok(Self::build(op, inputs, avals, None))
    }

    /// All outputs of a new node: `op` applied to `inputs`.
    pub(crate) fn apply_multi(op: impl Into<Op>, inputs: Inputs) -> Result<Vec<Self>> {
        let op = op.into();
        let avals = op.infer(&inputs)?;
        let n = avals.len() as u32;
        if n == 0 {
            return Ok(Vec::new());
        }
        let first = Self::build(op, inputs, avals, None);
        Ok((0..n).map(|index| Self { node: first.node.clone(), index }).collect())
    }

    /// Applies a primitive. What libraries with primitives of their own use; inside the crate, ops do it.
    ///
    /// # Errors
    /// What the primitive's `infer` refuses.
    pub fn from_primitive(primitive: Arc<dyn Primitive>, inputs: &[Array]) -> Result<Vec<Self>> {
        Self::apply_multi(Op::Shared(primitive), inputs.into())
    }

    pub(crate) fn build(op: Op, inputs: Inputs, avals: Outs<Aval>, extra: Option<&Arc<TraceSet>>) -> Self {
        let traces = TraceSet::union(inputs.iter().map(|x| x.node.traces.as_ref()).chain([extra]));
        let mut pending = Pending::default();
        let mut leaves = 0u64;
        for x in &inputs {
            if let Some(data) = x.node.data() {
                leaves += data.iter().map(|d| (d.size() * d.dtype().size()) as u64).sum::<u64>() >> 10;
            } else if !x.node.due.load(Ordering::Relaxed) {
                pending.depth = pending.depth.max(x.node.pending.depth);
                pending.kib = pending.kib.max(x.node.pending.kib);
            }
        }
        pending.depth += 1;
        pending.kib = pending.kib.saturating_add(u32::try_from(leaves).unwrap_or(u32::MAX));
        let array = Self::from_node(Node {
            avals,
            data: OnceLock::new(),
            recipe: Mutex::new(Some(Recipe { op, inputs })),
            traces,
            pending,
            due: AtomicBool::new(false),
            literal: false,
            mark: Mark::default(),
        });
        crate::eval::bound_laziness(&array);
        array
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

    /// The bytes its elements take.
    pub fn nbytes(&self) -> usize {
        self.size() * self.dtype().size()
    }

    /// The values, if they were computed already.
    #[track_caller]
    pub fn data_if_ready(&self) -> Option<&Data> {
        let data = self.ready();
        if data.is_some() {
            self.note_read(Place::here());
        }
        data
    }

    /// [`Array::data_if_ready`] for what hands no value to the program.
    pub(crate) fn ready(&self) -> Option<&Data> {
        self.node.data().map(|d| &d[self.index as usize])
    }

    /// Whether the values exist already.
    pub fn is_available(&self) -> bool {
        self.node.data().is_some()
    }

    /// Whether the array is part of a transform that is still tracing.
    pub fn is_tracer(&self) -> bool {
        self.node.is_live()
    }

    /// Computes the values now.
    ///
    /// # Errors
    /// [`Error::NoValue`] inside `vmap` or `compile`; an index out of bounds; memory that could not be had.
    #[track_caller]
    pub fn try_eval(&self) -> Result<&Data> {
        let data = self.data()?;
        self.note_read(Place::here());
        Ok(data)
    }

    /// [`Array::try_eval`] for what hands no value to the program: it does not count as a read.
    pub(crate) fn data(&self) -> Result<&Data> {
        if self.node.data().is_none() {
            crate::eval::eval(std::slice::from_ref(self))?;
        } else {
            self.node.settle();
        }
        Ok(self.ready().expect("evaluation fills the node or fails"))
    }

    /// Tells the transforms that are tracing this array that its value was read at a place; what is made from the value
    /// is a constant to them. The methods that give values do this; a binding of another language names its own place
    /// first.
    pub fn note_read(&self, place: impl FnOnce() -> Place) {
        if let Some(traces) = &self.node.traces {
            traces.note_read(place);
        }
    }

    /// The single value of an array with one element.
    ///
    /// # Errors
    /// When there is not exactly one element, when `T` is not the element type, and as [`Array::try_eval`].
    #[track_caller]
    pub fn try_item<T: Element>(&self) -> Result<T> {
        if self.size() != 1 {
            return Err(Error::value(
                "item",
                format!(
                    "an array of shape {} has {} elements; item() needs exactly one. Reduce it or index it first",
                    ShapeText(self.shape()),
                    self.size()
                ),
            ));
        }
        let value = self.values::<T>("item")?[0];
        self.note_read(Place::here());
        Ok(value)
    }

    /// The single value of an array with one element.
    ///
    /// # Panics
    /// As [`Array::try_item`] fails.
    #[track_caller]
    pub fn item<T: Element>(&self) -> T {
        crate::error::expect(self.try_item())
    }

    /// The values in row-major order.
    ///
    /// # Errors
    /// When `T` is not the element type, and as [`Array::try_eval`].
    #[track_caller]
    pub fn try_to_vec<T: Element>(&self) -> Result<Vec<T>> {
        let values = self.values("to_vec")?;
        self.note_read(Place::here());
        Ok(values)
    }

    /// The values in row-major order.
    ///
    /// # Panics
    /// As [`Array::try_to_vec`] fails.
    #[track_caller]
    pub fn to_vec<T: Element>(&self) -> Vec<T> {
        crate::error::expect(self.try_to_vec())
    }

    /// The values in row-major order for the operation `op`, which may be one that hands no value to the program.
    pub(crate) fn values<T: Element>(&self, op: &'static str) -> Result<Vec<T>> {
        if T::DTYPE != self.dtype() {
            return Err(Error::dtype(
                op,
                format!(
                    "the array holds {}, not {}; convert it with .astype(Dtype::…) first",
                    self.dtype(),
                    T::DTYPE
                ),
            ));
        }
        let data = self.data()?.row_major(op)?;
        let view = data.view();
        let values = view.as_slice::<T>().expect("row-major and of type T");
        let mut out = crate::buffer::room(op, values.len())?;
        out.extend_from_slice(values);
        Ok(out)
    }

    /// An alias of this array that is a leaf of `trace`: the same value, but what depends on it can be told apart.
    pub(crate) fn tracer(&self, trace: &Arc<TraceSet>) -> Self {
        let op = Op::Static(&crate::prim::basic::ALIAS);
        let avals = smallvec![self.aval().clone()];
        Self::build(op, smallvec![self.clone()], avals, Some(trace))
    }

    /// Whether the array depends on a leaf of this very trace.
    pub(crate) fn depends_on(&self, trace: &trace::Trace) -> bool {
        self.node.traces.as_ref().is_some_and(|t| t.contains(trace))
    }
}

impl AsRef<Array> for Array {
    fn as_ref(&self) -> &Array {
        self
    }
}
