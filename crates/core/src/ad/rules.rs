//! From a derivative written once to forward and reverse mode.
//!
//! Conventions. A tangent or cotangent has the shape and element type of what it belongs to; `None` is a
//! structural zero. Rules write the transpose *without* conjugation; here it becomes the adjoint, so that for
//! complex arrays `Re⟨ct, J t⟩ = Re⟨Jᴴ ct, t⟩` and the gradient of a real loss is `∂L/∂re + i ∂L/∂im`, the
//! direction of steepest ascent (the convention of MLX and PyTorch; JAX returns its conjugate).

use crate::ad::pullback;
use crate::array::{Array, Outs, Recipe};
use crate::error::{Error, Result};
use crate::ops;
use crate::primitive::{Derivative, Elementwise, MaybeArrays, Structured};
use crate::trace::TraceGuard;
use crate::wide;
use covector_kernels::Dtype;
use smallvec::SmallVec;

/// One term for each input of an operation; `None` is a structural zero.
pub(crate) type Terms = SmallVec<[Option<Array>; 2]>;

/// Tangents of the outputs `y` of an operation for the tangents of its inputs.
pub(crate) fn jvp(recipe: &Recipe, tangents: &[Option<Array>], y: &[Array]) -> Result<MaybeArrays> {
    let (primitive, x) = (&recipe.op, &recipe.inputs[..]);
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

/// `t · ∂y/∂xᵢ`. Of half precision, what takes several operations is computed in the wide type, and rounded once: `1 − y²`
/// of a `y` that was rounded to 1 is 0, and `2x` may be infinite where the product with a small `t` is not.
fn partial(rule: &dyn Elementwise, i: usize, t: &Array, x: &[Array], y: &Array) -> Result<Option<Array>> {
    let Some(term) = rule.partial(i, t, x, y)? else { return Ok(None) };
    if !wide::is_half(t.dtype()) {
        return Ok(Some(term));
    }
    // One operation on what was given rounds once. Truth values are exact, and constants are no operations.
    let given = |a: &Array| a.is_same(t) || a.is_same(y) || x.iter().any(|x| a.is_same(x));
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

/// Cotangents of the inputs that are `wanted`, for the cotangents of the outputs `y`. Those of half precision may be in the
/// wide type: they are terms of sums, and sums are rounded once.
pub(crate) fn vjp(recipe: &Recipe, cts: Outs<Option<Array>>, y: &[Array], wanted: &[bool]) -> Result<Terms> {
    let (primitive, x) = (&recipe.op, &recipe.inputs[..]);
    let wanted_inputs = || wanted.iter().enumerate().filter(|&(_, &wanted)| wanted).map(|(i, _)| i);
    let mut terms = Terms::from_elem(None, x.len());
    match primitive.derivative() {
        Derivative::Elementwise(rule) => {
            let Some(ct) = &cts[0] else { return Ok(terms) };
            let ct = conj(ct)?;
            for i in wanted_inputs() {
                terms[i] = pull_elementwise(rule, i, &ct, x, &y[0])?;
            }
        }
        Derivative::Linear(rule) => {
            let cts: Outs<_> = cts.iter().map(conj_some).collect::<Result<_>>()?;
            for i in wanted_inputs().filter(|&i| rule.is_linear_in(i)) {
                terms[i] = conj_some(&rule.transpose(i, &cts, x)?)?;
            }
        }
        Derivative::Bilinear(rule) => {
            let Some(ct) = &cts[0] else { return Ok(terms) };
            let ct = conj(ct)?;
            for i in wanted_inputs() {
                terms[i] = Some(conj(&rule.transpose(i, &ct, x)?)?);
            }
        }
        Derivative::Structured(rule) => terms = transpose_jvp(rule, &cts, x, y, wanted)?.into(),
        Derivative::Handwritten(rule) => {
            let found = rule.vjp(&cts, x, y, wanted)?;
            terms = found.into_iter().zip(wanted).map(|(ct, &wanted)| ct.filter(|_| wanted)).collect();
        }
        Derivative::Zero => {}
        Derivative::None(why) => return Err(Error::not_differentiable(primitive.name(), why)),
    }
    Ok(terms)
}

/// The cotangent of input `i` of an elementwise operation, for the conjugate of its output's. Terms of half precision that
/// are added up over axes along which the input was broadcast are in the wide type, unless they are the cotangent itself.
fn pull_elementwise(
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
        term.map(|term| if term.is_same(&wide_ct) { ct.clone() } else { term })
    } else {
        partial(rule, i, ct, x, y)?
    };
    let Some(term) = term else { return Ok(None) };
    ops::sum_to(&conj(&term)?, x[i].shape()).map(Some)
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
    let mut found = pullback(guard.trace(), &ends, &cts, &leaves)?.into_iter();
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
fn add(a: Option<Array>, b: Array) -> Result<Array> {
    match a {
        None => Ok(b),
        Some(a) => ops::try_add(&a, &b),
    }
}

/// The conjugate of a complex array; a real array itself.
fn conj(x: &Array) -> Result<Array> {
    if x.dtype().is_complex() { ops::try_conjugate(x) } else { Ok(x.clone()) }
}

fn conj_some(x: &Option<Array>) -> Result<Option<Array>> {
    x.as_ref().map(conj).transpose()
}
