//! Donation: an array that only the graph holds gives its memory to a result that is computed from it. New parameters are
//! written over the old ones, where the program has dropped the old ones before the new ones are computed.
//!
//! For that an evaluation takes the recipes out of the nodes before it runs, so that what they hold is its own. Another
//! thread that asks for the same arrays meanwhile finds neither values nor a recipe, and waits for its [`Turn`]. A node
//! whose evaluation fails can not be tried again, since its inputs may be gone: it gets a recipe that fails in the same way.

use crate::array::{Array, Inputs, Node, Recipe};
use crate::buffer::Data;
use crate::error::{Error, Result, no_value};
use crate::primitive::{Avals, Batch, Derivative, Op, Param, Params, Primitive, Values};
use std::cell::Cell;
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};

static TURN: Mutex<()> = Mutex::new(());

thread_local! {
    static MINE: Cell<bool> = const { Cell::new(false) };
}

/// The right to take recipes out of nodes, which one evaluation has at a time; others run without.
pub(crate) struct Turn(#[expect(dead_code, reason = "held for its drop")] MutexGuard<'static, ()>);

impl Turn {
    pub(crate) fn take() -> Option<Self> {
        let guard = match TURN.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        MINE.set(true);
        Some(Self(guard))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        MINE.set(false);
    }
}

/// Waits for the evaluation that has its turn, on another thread, to end.
pub(crate) fn wait() {
    if !MINE.get() {
        drop(TURN.lock());
    }
}

/// The values of an array that is not used any more, as their only holder if the array was.
pub(crate) fn own(x: Array) -> Result<Data> {
    let index = x.index as usize;
    match Arc::try_unwrap(x.node) {
        Ok(mut node) => node.take_data().map(|mut outs| outs.swap_remove(index)),
        Err(node) => node.data().map(|outs| outs[index].clone()),
    }
    .ok_or_else(no_value)
}

/// Makes a node whose recipe was taken fail as its evaluation did.
pub(crate) fn fail(node: &Node, error: &Error) {
    if node.data().is_none() {
        node.put_recipe(Recipe { op: Op::from(Failed(error.clone())), inputs: Inputs::new() });
    }
}

/// A result that could not be computed.
struct Failed(Error);

impl Primitive for Failed {
    fn name(&self) -> &'static str {
        "failed"
    }
    fn infer(&self, _inputs: &[Array]) -> Result<Avals> {
        Err(self.0.clone())
    }
    fn derivative(&self) -> Derivative<'_> {
        Derivative::None("its evaluation failed before")
    }
    fn batch(&self, _batch: &Batch<'_>) -> Result<Vec<Array>> {
        Err(self.0.clone())
    }
    fn eval(&self, _inputs: Values, _outs: &[crate::array::Aval]) -> Result<Values> {
        Err(self.0.clone())
    }
    fn params(&self, params: &mut Params<'_>) {
        params.put("error", Param::Text(&self.0.to_string()));
    }
}
