//! Evaluation: the values of whatever arrays are asked for, and bounded laziness.
//!
//! The work is done by [`plan`](crate::plan): the pending graph behind the arrays is planned once for its
//! structure and run. Memory is given back after its last use; values are kept only where something outside
//! the evaluated graph still refers to the node.

use crate::array::Array;
use crate::error::{Error, Result};
use crate::plan;
use crate::trace;

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
    plan::evaluate(arrays)
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
