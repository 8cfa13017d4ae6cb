//! Derivatives and vectorisation: from traced graphs to graphs.
//!
//! `rules` makes both modes from the one derivative that a primitive declares; no other module depends on the families.
//! `vjp` is the reverse walk. The walks in graph order (forward mode, vectorisation, replay) use one interpreter,
//! [`interpret`], with three kinds of values. All of them emit public operations, so their results can be transformed
//! again.

mod cotangent;
mod interpret;
mod jvp;
mod rules;
mod vjp;
mod vmap;

use crate::array::Array;
use crate::ops;
use crate::primitive::MaybeArrays;

pub(crate) use interpret::replay;
pub(crate) use jvp::pushforward;
pub(crate) use rules::transpose_jvp;
pub(crate) use vjp::pullback;
pub(crate) use vmap::batch;

/// `found`, with zeros of the shape and type of `like` for structural zeros.
pub(crate) fn or_zeros(found: MaybeArrays, like: &[Array]) -> Vec<Array> {
    found.into_iter().zip(like).map(|(x, l)| x.unwrap_or_else(|| ops::zeros_like(l))).collect()
}
