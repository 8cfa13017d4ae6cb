//! Evaluation: a pending graph is listed, looked up by its structure, compiled once and run many times.
//!
//! [`key`] lists the graph and computes its structural key; [`cache`] finds the executable of a known key; of a new one,
//! [`lower`] makes the graph that the [`runtime`](covector_runtime) compiles; [`run`] gives the executable its leaves. An
//! uncompiled loop thus pays for planning in its first step only.

mod cache;
mod donate;
mod key;
mod lower;
mod prepared;
mod run;

use crate::array::{Array, Recipe};
use crate::buffer::checked;
use crate::error::{Error, Result, no_value};
use crate::primitive::{Lower, Values};
use crate::profile::{self, EventKind};
use cache::Cached;
pub(crate) use cache::{forget, forgotten};
use covector_runtime::{self as runtime, executable::Executable};
use donate::Turn;
use key::{Identities, Listing};
pub(crate) use prepared::Prepared;
use smallvec::smallvec;
use std::sync::Arc;

/// Computes the values of the arrays that do not have them.
pub(crate) fn evaluate(arrays: &[Array]) -> Result<()> {
    if let Some(call) = planned_call(arrays) {
        return run_planned(arrays, &call);
    }
    let (listing, plan) = match planned(arrays) {
        Err(Error::NoValue { .. }) => {
            // Another thread may be computing the values.
            donate::wait();
            planned(arrays)?
        }
        found => found?,
    };
    run::run(&plan, listing)
}

/// The list of the nodes behind the arrays, and its plan.
fn planned(arrays: &[Array]) -> Result<(Listing, Arc<Executable>)> {
    loop {
        let listing = Listing::new(arrays)?;
        if let Some(plan) = find(&listing) {
            return Ok((listing, plan));
        }
        // Another thread has computed a part of it meanwhile: the next list is shorter.
    }
}

/// The one call of a compiled function that all the arrays are outputs of, if its inputs have values.
fn planned_call(arrays: &[Array]) -> Option<Array> {
    let mut call: Option<Array> = None;
    for array in arrays.iter().filter(|a| !a.is_available()) {
        let made = source(array)?;
        match &call {
            None => call = Some(made),
            Some(call) if Arc::ptr_eq(&call.node, &made.node) => {}
            Some(_) => return None,
        }
    }
    let call = call.filter(|call| !call.is_available() && !call.is_tracer())?;
    let ready = call.node.peek_recipe(|recipe| {
        Some(recipe.op.is_planned() && recipe.inputs.iter().all(Array::is_available))
    })?;
    ready.then_some(call)
}

/// The array itself, or what it is an alias of.
fn source(array: &Array) -> Option<Array> {
    if array.is_tracer() {
        return None;
    }
    array.node.peek_recipe(|recipe| {
        let alone = array.node.avals.len() == 1;
        Some(match recipe.op.lower(&recipe.inputs) {
            Lower::Identity { first } if alone => recipe.inputs.get(first)?.clone(),
            _ => array.clone(),
        })
    })
}

/// Evaluates such a call, without a plan around it.
fn run_planned(arrays: &[Array], call: &Array) -> Result<()> {
    let turn = Turn::take().filter(|_| !call.node.is_live());
    let recipe = if turn.is_some() { call.node.take_recipe() } else { call.node.recipe() };
    let Some(Recipe { op, inputs }) = recipe else {
        // Another thread was faster.
        drop(turn);
        donate::wait();
        return if call.is_available() { evaluate(arrays) } else { Err(no_value()) };
    };
    let outs = inputs.into_iter().map(donate::own).collect::<Result<Values>>();
    let outs = outs.and_then(|inputs| checked(op.name(), || op.eval(inputs, &call.node.avals))?);
    if let (Err(error), Some(_)) = (&outs, &turn) {
        donate::fail(&call.node, error);
    }
    let outs = outs?;
    for array in arrays {
        // Some have values already, perhaps from another thread.
        if !array.is_available()
            && !Arc::ptr_eq(&array.node, &call.node)
            && let Some(source) = source(array)
            && Arc::ptr_eq(&source.node, &call.node)
        {
            array.node.fill(smallvec![outs[source.index as usize].clone()]);
        }
    }
    // Only if the call itself is held: one output that is kept must not keep the values of the others.
    if arrays.iter().any(|a| Arc::ptr_eq(&a.node, &call.node)) || Arc::strong_count(&call.node) > 1 {
        call.node.fill(outs.into_iter().collect());
    }
    Ok(())
}

/// Makes the executable of a list; `None` if another thread has evaluated one of its nodes since.
fn compile(listing: &Listing) -> Option<(Executable, Identities)> {
    let planning = profile::span(EventKind::Plan, "plan");
    let (graph, identities) = lower::lower(listing)?;
    let executable = runtime::compile(graph, &listing.leaves, &lower::wanted(listing));
    drop(planning);
    Some((executable, identities))
}

fn find(listing: &Listing) -> Option<Arc<Executable>> {
    let hash = listing.hash();
    if let Some(plan) = cache::find(hash, &listing.key) {
        return Some(plan);
    }
    let (plan, identities) = compile(listing)?;
    let plan = Arc::new(plan);
    let Identities { found, holders } = identities;
    cache::keep(hash, Cached { key: listing.key[..].into(), plan: plan.clone(), identities: found, holders });
    Some(plan)
}

/// The instructions of an evaluation of the arrays, one a line: operations that run as one map, maps and reductions that
/// run as one region, and those that run alone. Views need no instruction.
///
/// # Errors
/// As evaluation: an argument of a traced function has no value.
///
/// ```
/// use covector_core::{Array, plan_text};
/// let x = Array::new([1.0f32, 2.0]);
/// let text = plan_text(&[((&x * 2.0).exp() + 1.0).sum()]).unwrap();
/// assert!(text.contains("map (2,): multiply, exp, add"), "{text}");
/// ```
pub fn plan_text(arrays: &[Array]) -> Result<String> {
    Ok(planned(arrays)?.1.to_string())
}
