//! Vectorisation: a batch for each array that depends on one.

use crate::ad::interpret::interpret;
use crate::array::{Array, Outs, Recipe};
use crate::error::{Error, Result};
use crate::graph::Step;
use crate::primitive::Batch;
use crate::shape::ShapeText;
use crate::trace::Trace;

/// The outputs with `values` in place of `leaves`. The flag of a value is true if the batch, of extent `size`, is its
/// axis 0.
pub(crate) fn batch(
    trace: &Trace,
    outputs: &[Array],
    leaves: &[Array],
    values: &[(Array, bool)],
    size: usize,
) -> Result<Vec<(Array, bool)>> {
    interpret(
        trace,
        outputs,
        leaves,
        values.iter().cloned(),
        |x| if x.depends_on(trace) { Err(escaped()) } else { Ok((x.clone(), false)) },
        |step, recipe, inputs| {
            let (inputs, batched): (Vec<Array>, Vec<bool>) = inputs.iter().cloned().unzip();
            if !batched.contains(&true) {
                let outs = Array::apply_outs(recipe.op.clone(), inputs.into())?;
                return Ok(outs.into_iter().map(|out| (out, false)).collect());
            }
            let outs =
                recipe.op.batch(&Batch { inputs: &inputs, batched: &batched, size, op: &recipe.op })?;
            check(step, recipe, &outs, size)?;
            Ok(outs.into_iter().map(|out| (out, true)).collect::<Outs<_>>())
        },
    )
}

/// Refuses results of a batching rule that do not have the outputs' shapes with the batch in front.
fn check(step: &Step, recipe: &Recipe, outs: &[Array], size: usize) -> Result<()> {
    for (out, aval) in outs.iter().zip(&step.node.avals) {
        if out.shape().first() != Some(&size) || out.shape()[1..] != aval.shape[..] {
            return Err(Error::shape(
                recipe.op.name(),
                format!(
                    "the batching rule gave shape {}, expected ({size}, …) in front of {}",
                    ShapeText(out.shape()),
                    ShapeText(&aval.shape)
                ),
            ));
        }
    }
    Ok(())
}

fn escaped() -> Error {
    Error::value(
        "vmap",
        "the function uses an array that another traced function made and stored, and that function has ended; \
        return the array from it instead of storing it",
    )
}
