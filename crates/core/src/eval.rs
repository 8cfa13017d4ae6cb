//! Evaluation: the values of whatever arrays are asked for, and bounded laziness.
//!
//! The work is done by [`plan`](crate::plan): the pending graph behind the arrays is planned once for its
//! structure and run. Memory is given back after its last use; values are kept only where something outside
//! the evaluated graph still refers to the node.

use crate::array::{Array, Node};
use crate::error::{Error, Result};
use crate::plan;
use crate::trace;
use std::cell::RefCell;
use std::sync::{Arc, Weak};

/// A chain this long is evaluated without being asked for: it holds too much memory to go on.
const MAX_DEPTH: u32 = 20_000;
/// The same for this many KiB of evaluated arrays that an unevaluated chain keeps alive.
const MAX_KIB: u32 = 512 << 10;

/// Evaluates an array whose pending graph has grown large, except inside a trace. A failure shows when the
/// array is asked for.
pub(crate) fn bound_laziness(array: &Array) {
    let pending = array.node.pending;
    if (pending.depth >= MAX_DEPTH || pending.kib >= MAX_KIB) && !trace::is_tracing() && !array.is_tracer() {
        let _ = eval(std::slice::from_ref(array));
    }
}

thread_local! {
    /// What [`eval_soon`] was given last.
    static DUE: RefCell<Vec<Weak<Node>>> = const { RefCell::new(Vec::new()) };
    /// Values that were differentiated since.
    static LOSSES: RefCell<Vec<Weak<Node>>> = const { RefCell::new(Vec::new()) };
}

/// The most values that are remembered.
const MAX_LOSSES: usize = 64;

/// Remembers a value that is differentiated: where an update with its gradients is due, it is, too. Otherwise a list of
/// the losses of all steps would keep all the parameters of all steps.
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

/// The arrays that are due on this thread: still without values, and still held by somebody. None are from then on.
fn take_due() -> Vec<Array> {
    let due = DUE.try_with(|due| std::mem::take(&mut *due.borrow_mut())).unwrap_or_default();
    let nodes = due.iter().filter_map(Weak::upgrade).filter(|node| node.data().is_none());
    nodes.map(|node| Array { node, index: 0 }).collect()
}

/// Has the arrays computed with whatever this thread evaluates next, at the latest when this is called again.
///
/// For what replaces something else, such as the parameters after a step of training: when it is made, the caller still
/// holds what it replaces. An evaluation that waits until the caller has let go of that writes over it, and needs no
/// memory for both. A loop that does nothing but call this holds two steps' graphs and the values of one.
///
/// # Errors
/// As [`eval`], of what was given to the call before.
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

/// Computes what is due on this thread; see [`eval_soon`].
///
/// # Errors
/// As [`eval`].
pub fn finish() -> Result<()> {
    let due = take_due();
    if due.is_empty() { Ok(()) } else { plan::evaluate(&due) }
}

/// Computes the values of all the arrays, sharing what they share.
///
/// # Errors
/// [`Error::NoValue`] inside `vmap` or `compile`; an index out of bounds; memory that could not be had. After
/// a failure no node is left half done: each has its values or its recipe; where the evaluation had begun to write over
/// arguments that nothing else held, the recipe is to fail in the same way.
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
    // What was due fails when it is asked for, unless the arrays need it.
    plan::evaluate(&all).or_else(|_| plan::evaluate(arrays))
}

pub(crate) fn no_value() -> Error {
    Error::no_value(
        "eval",
        "an argument of a function under vmap or compile has no single value while the function is traced. \
         Inside such a function use where() or maximum() in place of Python or Rust control flow on \
         values, and call item(), eval() or printing outside of it",
    )
}

/// Starts computing the arrays. On a CPU there is no queue to hand them to, so this is [`eval`].
///
/// # Errors
/// As [`eval`].
pub fn async_eval(arrays: &[Array]) -> Result<()> {
    eval(arrays)
}
