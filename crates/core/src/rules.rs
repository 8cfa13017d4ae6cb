//! From a derivative written once to forward and reverse mode.
//!
//! Conventions. A tangent or cotangent has the shape and element type of what it belongs to; `None` is a
//! structural zero. Rules write the transpose *without* conjugation; here it becomes the adjoint, so that for
//! complex arrays `Re⟨ct, J t⟩ = Re⟨Jᴴ ct, t⟩` and the gradient of a real loss is `∂L/∂re + i ∂L/∂im`, the
//! direction of steepest ascent (the convention of MLX and PyTorch; JAX returns its conjugate).

use crate::array::Array;
use crate::error::{Error, Result};
use crate::graph;
use crate::ops;
use crate::primitive::{Derivative, Elementwise, MaybeArrays, Primitive, Structured};
use crate::trace::TraceGuard;
use crate::transforms::pullback;
use crate::wide;
use covector_kernels::Dtype;

/// Tangents of the outputs `y` of `primitive` at `x`, for the tangents of its inputs.
pub(crate) fn jvp(
    primitive: &dyn Primitive,
    tangents: &[Option<Array>],
    x: &[Array],
    y: &[Array],
) -> Result<MaybeArrays> {
    match primitive.derivative() {
        Derivative::Elementwise(rule) => {
            let sum = if has_wide_sum(tangents, y) {
                let (ts, x) = (widened_some(tangents), widened(x));
                push_elementwise(rule, &ts, &x, &unrounded(&y[0], &x)?)?
                    .map(|t| ops::into_dtype(t, y[0].dtype()))
            } else {
                push_elementwise(rule, tangents, x, &y[0])?
            };
            Ok(vec![sum])
        }
        Derivative::Linear(rule) => {
            // The op itself on the tangents: zeros stand in for those that are missing.
            let mut inputs = Vec::with_capacity(x.len());
            for (i, xi) in x.iter().enumerate() {
                inputs.push(match (&tangents[i], rule.is_linear_in(i)) {
                    (Some(t), true) => t.clone(),
                    (None, true) => ops::zeros_like(xi),
                    (_, false) => xi.clone(),
                });
            }
            if !tangents.iter().enumerate().any(|(i, t)| t.is_some() && rule.is_linear_in(i)) {
                return Ok(vec![None; y.len()]);
            }
            Ok(reapply(y, inputs)?.into_iter().map(Some).collect())
        }
        Derivative::Bilinear(_) => {
            let several = has_wide_sum(tangents, y);
            let mut sum: Option<Array> = None;
            for i in 0..2 {
                if let Some(t) = &tangents[i] {
                    let mut inputs = x.to_vec();
                    inputs[i] = t.clone();
                    let inputs = if several { widened(&inputs) } else { inputs };
                    sum = Some(add(sum, reapply(y, inputs)?.remove(0))?);
                }
            }
            Ok(vec![sum.map(|t| ops::into_dtype(t, y[0].dtype()))])
        }
        Derivative::Structured(rule) => structured_jvp(rule, tangents, x, y),
        Derivative::Handwritten(rule) => rule.jvp(tangents, x, y),
        Derivative::Zero => Ok(vec![None; y.len()]),
        Derivative::None(why) => Err(Error::not_differentiable(primitive.name(), why)),
    }
}

/// Whether the tangent of an output of half precision is a sum: it is formed in the wide type, and rounded once.
fn has_wide_sum(tangents: &[Option<Array>], y: &[Array]) -> bool {
    wide::is_half(y[0].dtype()) && tangents.iter().flatten().count() > 1
}

fn widened(arrays: &[Array]) -> Vec<Array> {
    arrays.iter().map(wide::widen).collect()
}

fn widened_some(arrays: &[Option<Array>]) -> MaybeArrays {
    arrays.iter().map(|x| x.as_ref().map(wide::widen)).collect()
}

/// The output `y` as it was before it was rounded, for wide inputs: computed again, where the graph is there and the rule
/// reads it.
fn unrounded(y: &Array, x: &[Array]) -> Result<Array> {
    match y.node.recipe() {
        Some(recipe) => Ok(Array::apply_multi(recipe.op, x.into())?.remove(0)),
        None => Ok(wide::widen(y)),
    }
}

fn same(a: &Array, b: &Array) -> bool {
    (graph::id(a), a.index) == (graph::id(b), b.index)
}

/// `t · ∂y/∂xᵢ`. Of half precision, what takes several operations is computed in the wide type, and rounded once: `1 − y²`
/// of a `y` that was rounded to 1 is 0, and `2x` may be infinite where the product with a small `t` is not.
fn partial(rule: &dyn Elementwise, i: usize, t: &Array, x: &[Array], y: &Array) -> Result<Option<Array>> {
    let Some(term) = rule.partial(i, t, x, y)? else { return Ok(None) };
    if !wide::is_half(t.dtype()) {
        return Ok(Some(term));
    }
    // One operation on what was given rounds once. Truth values are exact, and constants are no operations.
    let given = |a: &Array| same(a, t) || same(a, y) || x.iter().any(|x| same(a, x));
    let exact = |a: &Array| given(a) || a.dtype() == Dtype::Bool || a.node.recipe().is_none();
    if given(&term) || term.node.recipe().is_none_or(|recipe| recipe.inputs.iter().all(exact)) {
        return Ok(Some(term));
    }
    let x = widened(x);
    let term = rule.partial(i, &wide::widen(t), &x, &unrounded(y, &x)?)?;
    Ok(term.map(|term| ops::to_dtype(&term, t.dtype())))
}

/// The tangent of the output of an elementwise operation.
fn push_elementwise(
    rule: &dyn Elementwise,
    tangents: &[Option<Array>],
    x: &[Array],
    y: &Array,
) -> Result<Option<Array>> {
    let mut sum: Option<Array> = None;
    for (i, t) in tangents.iter().enumerate() {
        let Some(t) = t else { continue };
        if let Some(term) = partial(rule, i, t, x, y)? {
            sum = Some(add(sum, term)?);
        }
    }
    match sum {
        Some(t) if t.shape() != y.shape() => ops::try_broadcast_to(&t, y.shape()).map(Some),
        other => Ok(other),
    }
}

/// Cotangents of the inputs `x` that are `wanted`, for the cotangents of the outputs `y`.
pub(crate) fn vjp(
    primitive: &dyn Primitive,
    cotangents: &[Option<Array>],
    x: &[Array],
    y: &[Array],
    wanted: &[bool],
) -> Result<MaybeArrays> {
    match primitive.derivative() {
        Derivative::Elementwise(rule) => {
            let Some(ct) = &cotangents[0] else { return Ok(vec![None; x.len()]) };
            let ct = conj(ct)?;
            let mut out = Vec::with_capacity(x.len());
            for (i, &wanted) in wanted.iter().enumerate() {
                out.push(if wanted { pull_elementwise(rule, i, &ct, x, &y[0])? } else { None });
            }
            Ok(out)
        }
        Derivative::Linear(rule) => {
            let cotangents = conj_all(cotangents)?;
            let mut out = Vec::with_capacity(x.len());
            for (i, &wanted) in wanted.iter().enumerate() {
                let term =
                    if wanted && rule.is_linear_in(i) { rule.transpose(i, &cotangents, x)? } else { None };
                out.push(term.map(|t| conj(&t)).transpose()?);
            }
            Ok(out)
        }
        Derivative::Bilinear(rule) => {
            let Some(ct) = &cotangents[0] else { return Ok(vec![None; x.len()]) };
            let ct = conj(ct)?;
            let mut out = vec![None; x.len()];
            for i in 0..2 {
                if wanted[i] {
                    out[i] = Some(conj(&rule.transpose(i, &ct, x)?)?);
                }
            }
            Ok(out)
        }
        Derivative::Structured(rule) => transpose_jvp(rule, cotangents, x, y, wanted),
        Derivative::Handwritten(rule) => rule.vjp(cotangents, x, y, wanted),
        Derivative::Zero => Ok(vec![None; x.len()]),
        Derivative::None(why) => Err(Error::not_differentiable(primitive.name(), why)),
    }
}

/// The cotangent of input `i` of an elementwise operation, for the conjugate of its output's.
pub(crate) fn pull_elementwise(
    rule: &dyn Elementwise,
    i: usize,
    ct: &Array,
    x: &[Array],
    y: &Array,
) -> Result<Option<Array>> {
    let Some(term) = pull_broadcast(rule, i, ct, x, y)? else { return Ok(None) };
    Ok(Some(ops::into_dtype(ops::sum_to(&term, x[i].shape())?, x[i].dtype())))
}

/// The same before it is added up over the axes that the input was broadcast along. Terms of half precision that are to be
/// added up are in the wide type, unless they are the cotangent itself.
pub(crate) fn pull_broadcast(
    rule: &dyn Elementwise,
    i: usize,
    ct: &Array,
    x: &[Array],
    y: &Array,
) -> Result<Option<Array>> {
    let term = if wide::is_half(ct.dtype()) && x[i].shape() != ct.shape() {
        let wide_ct = wide::widen(ct);
        let x = widened(x);
        let term = rule.partial(i, &wide_ct, &x, &unrounded(y, &x)?)?;
        term.map(|term| if same(&term, &wide_ct) { ct.clone() } else { term })
    } else {
        partial(rule, i, ct, x, y)?
    };
    let Some(term) = term else { return Ok(None) };
    if term.dtype().is_complex() { ops::try_conjugate(&term).map(Some) } else { Ok(Some(term)) }
}

/// The tangents of a primitive that only has a jvp. If the rule accumulates, half precision is widened for all of it, and
/// its result rounded once.
fn structured_jvp(
    rule: &dyn Structured,
    tangents: &[Option<Array>],
    x: &[Array],
    y: &[Array],
) -> Result<MaybeArrays> {
    if !rule.accumulates() || !x.iter().chain(y).any(|x| wide::is_half(x.dtype())) {
        return rule.jvp(tangents, x, y);
    }
    let found = rule.jvp(&widened_some(tangents), &widened(x), &widened(y))?;
    Ok(found.into_iter().zip(y).map(|(t, y)| t.map(|t| ops::into_dtype(t, y.dtype()))).collect())
}

/// The pullback of a primitive that only has a jvp: its tangent map, a linear graph over fresh leaves, walked
/// backwards.
pub(crate) fn transpose_jvp(
    rule: &dyn Structured,
    cotangents: &[Option<Array>],
    x: &[Array],
    y: &[Array],
    wanted: &[bool],
) -> Result<MaybeArrays> {
    let guard = TraceGuard::new();
    let tangents: MaybeArrays = x
        .iter()
        .zip(wanted)
        .map(|(x, &w)| w.then(|| Array::placeholder(x.aval().clone(), Some(guard.set.clone()))))
        .collect();
    let outputs = structured_jvp(rule, &tangents, x, y)?;
    let (mut ends, mut cts) = (Vec::new(), Vec::new());
    for (output, ct) in outputs.into_iter().zip(cotangents) {
        if let (Some(output), Some(ct)) = (output, ct) {
            ends.push(output);
            cts.push(ct.clone());
        }
    }
    let leaves: Vec<Array> = tangents.iter().flatten().cloned().collect();
    let mut found = pullback(&guard, &ends, &cts, &leaves)?.into_iter();
    Ok(tangents.iter().map(|t| t.as_ref().and_then(|_| found.next().flatten())).collect())
}

/// The node that made `y` applied to other inputs.
fn reapply(y: &[Array], inputs: Vec<Array>) -> Result<Vec<Array>> {
    let recipe = y[0].node.recipe().ok_or_else(|| {
        Error::value(
            "jvp",
            "the graph of this value is gone; differentiate inside of the transform that made it",
        )
    })?;
    Array::apply_multi(recipe.op, inputs.into())
}

/// `a + b`, where a missing `a` is zero.
pub(crate) fn add(a: Option<Array>, b: Array) -> Result<Array> {
    match a {
        None => Ok(b),
        Some(a) => ops::try_add(&a, &b),
    }
}

pub(crate) fn conj(x: &Array) -> Result<Array> {
    if x.dtype().is_complex() { ops::try_conjugate(x) } else { Ok(x.clone()) }
}

fn conj_all(xs: &[Option<Array>]) -> Result<MaybeArrays> {
    xs.iter().map(|x| x.as_ref().map(conj).transpose()).collect()
}
