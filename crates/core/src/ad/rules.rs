//! From a derivative written once to forward and reverse mode.
//!
//! Conventions. The tangent and the cotangent of an array have its shape and element type; `None` is a
//! structural zero. Rules write the transpose *without* conjugation; here it becomes the adjoint, so that for
//! complex arrays `Re⟨ct, J t⟩ = Re⟨Jᴴ ct, t⟩` and the gradient of a real loss is `∂L/∂re + i ∂L/∂im`, the
//! direction of steepest ascent (the convention of MLX and PyTorch; JAX returns its conjugate).

use crate::ad::pullback;
use crate::array::{Array, Inputs, Outs, Recipe};
use crate::error::{Error, Result};
use crate::ops;
use crate::primitive::{Derivative, Elementwise, MaybeArrays, Structured};
use crate::trace::TraceGuard;
use crate::wide;
use covector_kernels::Dtype;
use smallvec::SmallVec;

/// One cotangent for each input of an operation; `None` is a structural zero.
pub(crate) type Terms = SmallVec<[Option<Array>; 2]>;

/// Tangents of the outputs `y` of an operation for the tangents of its inputs, at least one of which is given.
pub(crate) fn jvp(recipe: &Recipe, tangents: &[Option<Array>], y: &[Array]) -> Result<MaybeArrays> {
    let Recipe { op, inputs: x } = recipe;
    match op.derivative() {
        Derivative::Elementwise(rule) => Ok(vec![push_elementwise(rule, recipe, tangents, &y[0])?]),
        Derivative::Linear(rule) => {
            let is_linear = |i: usize| rule.is_linear_in(i);
            if !(0..x.len()).any(|i| is_linear(i) && tangents[i].is_some()) {
                return Ok(vec![None; y.len()]);
            }
            // The operation itself, applied to the tangents, with zeros for missing ones.
            let input = |i: usize| match &tangents[i] {
                _ if !is_linear(i) => x[i].clone(),
                Some(t) => t.clone(),
                None => ops::zeros_like(&x[i]),
            };
            let found = Array::apply_outs(op.clone(), (0..x.len()).map(input).collect())?;
            Ok(found.into_iter().map(Some).collect())
        }
        Derivative::Bilinear(_) => {
            // The operation itself, applied to each tangent and the other input.
            let several = is_wide_sum(tangents, &y[0]);
            let mut sum = None;
            for (i, t) in tangents.iter().enumerate().take(2) {
                if let Some(t) = t {
                    let mut inputs = x.clone();
                    inputs[i] = t.clone();
                    let inputs = if several { widened(&inputs) } else { inputs };
                    sum = Some(add(sum, Array::apply(op.clone(), inputs)?)?);
                }
            }
            Ok(vec![sum.map(|t| ops::into_dtype(t, y[0].dtype()))])
        }
        Derivative::Structured(rule) => structured_jvp(rule, tangents, x, y),
        Derivative::Handwritten(rule) => rule.jvp(tangents, x, y),
        Derivative::Zero => Ok(vec![None; y.len()]),
        Derivative::None(why) => Err(Error::not_differentiable(op.name(), why)),
    }
}

/// Cotangents of the inputs that are `wanted`, for the cotangents of the outputs `y`, at least one of which is given.
/// Cotangents of half precision may be in the wide type: they are terms of sums, which are rounded once.
pub(crate) fn vjp(
    recipe: &Recipe,
    mut cts: Outs<Option<Array>>,
    y: &[Array],
    wanted: &[bool],
) -> Result<Terms> {
    let Recipe { op, inputs: x } = recipe;
    let derivative = op.derivative();
    match derivative {
        Derivative::Structured(rule) => return Ok(transpose_jvp(rule, &cts, x, y, wanted)?.into()),
        Derivative::Handwritten(rule) => {
            let found = rule.vjp(&cts, x, y, wanted)?;
            return Ok(found.into_iter().zip(wanted).map(|(ct, &wanted)| ct.filter(|_| wanted)).collect());
        }
        Derivative::Zero => return Ok(Terms::from_elem(None, x.len())),
        Derivative::None(why) => return Err(Error::not_differentiable(op.name(), why)),
        Derivative::Elementwise(_) | Derivative::Linear(_) | Derivative::Bilinear(_) => {}
    }
    // Between two conjugations the transpose is the adjoint.
    for ct in cts.iter_mut() {
        conjugate(ct)?;
    }
    let transpose = |i: usize| match (&derivative, &cts[..]) {
        (Derivative::Elementwise(rule), [Some(ct)]) => pull_elementwise(*rule, recipe, i, ct, &y[0]),
        (Derivative::Linear(rule), cts) if rule.is_linear_in(i) => rule.transpose(i, cts, x),
        (Derivative::Bilinear(rule), [Some(ct)]) => rule.transpose(i, ct, x).map(Some),
        _ => Ok(None),
    };
    let mut terms = Terms::new();
    for (i, &wanted) in wanted.iter().enumerate() {
        terms.push(if wanted { transpose(i)? } else { None });
        conjugate(&mut terms[i])?;
    }
    Ok(terms)
}

/// Conjugates a complex array.
fn conjugate(x: &mut Option<Array>) -> Result<()> {
    if let Some(x) = x
        && x.dtype().is_complex()
    {
        *x = ops::try_conjugate(x)?;
    }
    Ok(())
}

/// The tangent of the output `y` of an elementwise operation. A sum of half precision is formed in the wide type and
/// rounded once.
fn push_elementwise(
    rule: &dyn Elementwise,
    recipe: &Recipe,
    tangents: &[Option<Array>],
    y: &Array,
) -> Result<Option<Array>> {
    if is_wide_sum(tangents, y) {
        let tangents: MaybeArrays = widened_some(tangents);
        let recipe = Recipe { op: recipe.op.clone(), inputs: widened(&recipe.inputs) };
        let sum = push_elementwise(rule, &recipe, &tangents, &unrounded(&recipe)?)?;
        return Ok(sum.map(|t| ops::into_dtype(t, y.dtype())));
    }
    let mut sum: Option<Array> = None;
    for (i, t) in tangents.iter().enumerate() {
        let Some(t) = t else { continue };
        if let Some(term) = partial(rule, recipe, i, t, y)? {
            sum = Some(add(sum, term)?);
        }
    }
    match sum {
        Some(t) if t.shape() != y.shape() => ops::try_broadcast_to(&t, y.shape()).map(Some),
        sum => Ok(sum),
    }
}

/// The cotangent of input `i` of an elementwise operation, for the conjugated cotangent of its output. Terms of half
/// precision are in the wide type if they are added up over axes along which the input was broadcast, unless the term is
/// the cotangent itself.
fn pull_elementwise(
    rule: &dyn Elementwise,
    recipe: &Recipe,
    i: usize,
    ct: &Array,
    y: &Array,
) -> Result<Option<Array>> {
    let shape = recipe.inputs[i].shape();
    let term = if wide::is_half(ct.dtype()) && shape != ct.shape() {
        let wide_ct = wide::widen(ct);
        let term = wide_partial(rule, recipe, i, &wide_ct)?;
        term.map(|term| if term.is_same(&wide_ct) { ct.clone() } else { term })
    } else {
        partial(rule, recipe, i, ct, y)?
    };
    term.map(|term| ops::sum_to(&term, shape)).transpose()
}

/// `t · ∂y/∂xᵢ`. If it takes several operations, half precision is computed in the wide type, and rounded once: `1 − y²`
/// of a `y` that was rounded to 1 is 0, and `2x` may be infinite where the product with a small `t` is not.
fn partial(rule: &dyn Elementwise, recipe: &Recipe, i: usize, t: &Array, y: &Array) -> Result<Option<Array>> {
    let x = &recipe.inputs;
    let Some(term) = rule.partial(i, t, x, y)? else { return Ok(None) };
    if !wide::is_half(t.dtype()) {
        return Ok(Some(term));
    }
    // One operation on existing arrays rounds once. Truth values are exact, and constants are not operations.
    let given = |a: &Array| a.is_same(t) || a.is_same(y) || x.iter().any(|x| a.is_same(x));
    let exact = |a: &Array| given(a) || a.dtype() == Dtype::Bool || a.node.recipe().is_none();
    if given(&term) || term.node.recipe().is_none_or(|recipe| recipe.inputs.iter().all(exact)) {
        return Ok(Some(term));
    }
    let term = wide_partial(rule, recipe, i, &wide::widen(t))?;
    Ok(term.map(|term| ops::to_dtype(&term, t.dtype())))
}

/// `t · ∂y/∂xᵢ` in the wide type of `t`.
fn wide_partial(rule: &dyn Elementwise, recipe: &Recipe, i: usize, t: &Array) -> Result<Option<Array>> {
    let recipe = Recipe { op: recipe.op.clone(), inputs: widened(&recipe.inputs) };
    rule.partial(i, t, &recipe.inputs, &unrounded(&recipe)?)
}

/// The output of an operation on wide inputs, for rules that read the output: the existing output was rounded.
fn unrounded(wide: &Recipe) -> Result<Array> {
    Array::apply(wide.op.clone(), wide.inputs.clone())
}

/// Whether the tangent of an output of half precision is a sum.
fn is_wide_sum(tangents: &[Option<Array>], y: &Array) -> bool {
    wide::is_half(y.dtype()) && tangents.iter().flatten().count() > 1
}

fn widened(arrays: &[Array]) -> Inputs {
    arrays.iter().map(wide::widen).collect()
}

fn widened_some(arrays: &[Option<Array>]) -> MaybeArrays {
    arrays.iter().map(|x| x.as_ref().map(wide::widen)).collect()
}

/// `a + b`, where a missing `a` is zero.
fn add(a: Option<Array>, b: Array) -> Result<Array> {
    match a {
        None => Ok(b),
        Some(a) => ops::try_add(&a, &b),
    }
}

/// The tangents of a primitive that only has a jvp. Half precision is widened for a rule that accumulates, and the results
/// are rounded once.
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

/// The pullback of a primitive that only has a jvp: the transpose of its tangent map, which is a linear graph over fresh
/// leaves.
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
