//! Forward mode: a tangent for each array.

use crate::ad::interpret::interpret;
use crate::ad::rules;
use crate::array::Array;
use crate::error::Result;
use crate::primitive::MaybeArrays;
use crate::trace::Trace;

/// The tangents of `outputs` for the tangents of `leaves`; `None` means zero.
pub(crate) fn pushforward(
    trace: &Trace,
    outputs: &[Array],
    leaves: &[Array],
    tangents: &[Option<Array>],
) -> Result<MaybeArrays> {
    interpret(
        trace,
        outputs,
        leaves,
        tangents.iter().cloned(),
        |_| Ok(None),
        |step, recipe, tangents| {
            let avals = &step.node.avals;
            if tangents.iter().all(Option::is_none) {
                return Ok(avals.iter().map(|_| None).collect());
            }
            let found = rules::jvp(recipe, tangents, &step.outputs())?;
            // Integers and truth values have no tangent.
            Ok(found.into_iter().zip(avals).map(|(t, aval)| t.filter(|_| aval.dtype.is_inexact())).collect())
        },
    )
}
