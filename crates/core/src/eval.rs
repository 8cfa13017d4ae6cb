//! Evaluation: computes the values of arrays on demand, and bounds laziness.
//!
//! The module [`plan`](crate::plan) does the work: it plans the pending graph behind the arrays, once for each
//! structure, and runs the plan. Memory is freed after its last use. A node's values are kept only if a reference from
//! outside of the evaluated graph exists.

use crate::array::{Array, Node};
use crate::buffer::{self, Data};
use crate::error::{Error, Result, expect};
use crate::plan;
use crate::shape::ShapeText;
use crate::trace::{self, Place};
use covector_kernels::Element;
use std::cell::RefCell;
use std::sync::{Arc, Weak};

/// A chain of this many pending nodes is evaluated at once, because it holds too much memory.
const MAX_DEPTH: u32 = 20_000;
/// A pending chain that keeps this many KiB of evaluated arrays alive is evaluated at once, too.
const MAX_KIB: u32 = 512 << 10;

/// Evaluates an array whose pending graph has grown large, except inside a trace. A failure surfaces when the array is
/// read.
pub(crate) fn bound_laziness(array: &Array) {
    let pending = array.node.pending;
    if (pending.depth >= MAX_DEPTH || pending.kib >= MAX_KIB) && !trace::is_tracing() && !array.is_tracer() {
        let _ = eval(std::slice::from_ref(array));
    }
}

/// Methods that compute values.
impl Array {
    /// Computes the values now.
    ///
    /// # Errors
    /// [`Error::NoValue`] inside `vmap` or `compile`; an index out of bounds; [`Error::Memory`].
    #[track_caller]
    pub fn try_eval(&self) -> Result<&Data> {
        let data = self.data()?;
        self.note_read(Place::here());
        Ok(data)
    }

    /// [`Array::try_eval`] for callers that do not return a value to the program. It does not count as a read.
    pub(crate) fn data(&self) -> Result<&Data> {
        if self.node.data().is_none() {
            eval(std::slice::from_ref(self))?;
        } else {
            self.node.settle();
        }
        Ok(self.ready().expect("evaluation fills the node or fails"))
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
        expect(self.try_item())
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
        expect(self.try_to_vec())
    }

    /// The values in row-major order for the operation `op`. It does not count as a read.
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
        let mut out = buffer::room(op, values.len())?;
        out.extend_from_slice(values);
        Ok(out)
    }
}

thread_local! {
    /// The arrays of the last call of [`eval_soon`].
    static DUE: RefCell<Vec<Weak<Node>>> = const { RefCell::new(Vec::new()) };
    /// The losses that were differentiated since that call.
    static LOSSES: RefCell<Vec<Weak<Node>>> = const { RefCell::new(Vec::new()) };
}

/// Limit of the losses that are remembered.
const MAX_LOSSES: usize = 64;

/// Remembers a loss, so that it is evaluated together with the update that uses its gradients. Otherwise, a program
/// that collects the losses of all steps would keep the parameters of all steps alive.
pub(crate) fn note_loss(loss: &Array) {
    if trace::is_tracing() {
        return;
    }
    let _ = LOSSES.try_with(|losses| {
        let mut losses = losses.borrow_mut();
        if losses.len() == MAX_LOSSES {
            losses.clear();
        }
        losses.push(Arc::downgrade(&loss.node));
    });
}

/// Takes the scheduled arrays of this thread that are pending and still referenced.
fn take_due() -> Vec<Array> {
    let due = DUE.try_with(|due| std::mem::take(&mut *due.borrow_mut())).unwrap_or_default();
    let nodes = due.iter().filter_map(Weak::upgrade).filter(|node| node.data().is_none());
    nodes.map(|node| Array { node, index: 0 }).collect()
}

/// Schedules the arrays: they are computed with this thread's next evaluation, at the latest by the next call of
/// `eval_soon`.
///
/// Use it for arrays that replace others, such as the parameters after a training step: the caller still holds the old
/// parameters when the new ones are made. An evaluation after the caller has dropped the old parameters can reuse their
/// memory. A loop that only calls `eval_soon` holds the graphs of two steps and the values of one.
///
/// # Errors
/// As [`eval`], of the arrays of the previous call.
pub fn eval_soon(arrays: &[Array]) -> Result<()> {
    finish()?;
    let losses = LOSSES.try_with(|losses| std::mem::take(&mut *losses.borrow_mut())).unwrap_or_default();
    let losses = losses.iter().filter_map(Weak::upgrade).filter(|node| !node.is_live());
    let pending = arrays.iter().map(|array| array.node.clone()).chain(losses).filter(|n| n.data().is_none());
    let due = pending.map(|node| {
        node.set_due();
        Arc::downgrade(&node)
    });
    let due = due.collect();
    let _ = DUE.try_with(|all| all.replace(due));
    Ok(())
}

/// Computes the scheduled arrays of this thread; see [`eval_soon`].
///
/// # Errors
/// As [`eval`].
pub fn finish() -> Result<()> {
    let due = take_due();
    if due.is_empty() { Ok(()) } else { plan::evaluate(&due) }
}

/// Computes the values of all the arrays, common parts of their graphs once.
///
/// # Errors
/// [`Error::NoValue`] inside `vmap` or `compile`; an index out of bounds; [`Error::Memory`]. After a failure each node
/// has its values or its recipe. If the evaluation had already reused the memory of arguments that had no other owner,
/// the recipe fails again in the same way.
pub fn eval(arrays: &[Array]) -> Result<()> {
    if arrays.iter().all(Array::is_available) {
        arrays.iter().for_each(|a| a.node.settle());
        return Ok(());
    }
    let due = take_due();
    if due.is_empty() {
        return plan::evaluate(arrays);
    }
    let all: Vec<Array> = arrays.iter().cloned().chain(due).collect();
    // Errors of scheduled arrays surface when these are read, unless `arrays` depend on them.
    plan::evaluate(&all).or_else(|_| plan::evaluate(arrays))
}

/// Starts computing the arrays. A CPU has no queue for them, so this is [`eval`].
///
/// # Errors
/// As [`eval`].
pub fn async_eval(arrays: &[Array]) -> Result<()> {
    eval(arrays)
}
