//! Functions with derivative and batching rules of the user's own.
//!
//! The function runs as usual. Its outputs then pass through a node that is the identity on them and has the arguments
//! as further inputs. At that node, differentiation uses the user's rule; without a rule, it continues through the
//! function. A rule for one mode gives the other mode by transposition. `vmap` of the node is a node with batched
//! rules. So every composition works, whichever rules the user wrote.

use crate::ad::{or_zeros, pullback, transpose_jvp};
use crate::array::Array;
use crate::error::{Error, Result};
use crate::graph;
use crate::ops;
use crate::ops::basic;
use crate::primitive::{
    Avals, Batch, Derivative, Handwritten, Linear, Lower, MaybeArrays, Param, Params, Primitive, Structured,
};
use crate::shape::ShapeText;
use crate::trace::{TraceGuard, Tracing};
use crate::transforms::flat::{tracers, vmap_flat};
use std::sync::Arc;

/// `(primals, cotangents, outputs) → cotangents of the primals`.
pub type VjpRule = Arc<dyn Fn(&[Array], &[Array], &[Array]) -> Result<Vec<Array>> + Send + Sync>;
/// `(primals, tangents) → tangents of the outputs`; a tangent is `None` where it is zero.
pub type JvpRule = Arc<dyn Fn(&[Array], &[Option<Array>]) -> Result<Vec<Array>> + Send + Sync>;
/// `(inputs, their batch axes) → (outputs, their batch axes)`.
pub type VmapRule =
    Arc<dyn Fn(&[Array], &[Option<isize>]) -> Result<(Vec<Array>, Vec<Option<isize>>)> + Send + Sync>;

/// The rules of a custom function; each may be missing.
#[derive(Clone, Default)]
pub struct CustomFunction {
    /// Reverse mode.
    pub vjp: Option<VjpRule>,
    /// Forward mode.
    pub jvp: Option<JvpRule>,
    /// Vectorisation.
    pub vmap: Option<VmapRule>,
}

impl CustomFunction {
    /// Runs `f` on `args` so that transforms of the outputs use these rules.
    ///
    /// # Errors
    /// The errors of `f`.
    pub fn call(&self, args: &[Array], f: impl FnOnce(&[Array]) -> Result<Vec<Array>>) -> Result<Vec<Array>> {
        let guard = TraceGuard::new();
        let inner: Vec<Array> = tracers(args, &guard);
        let tracing = Tracing::enter();
        let outs = f(&inner)?;
        drop(tracing);
        let captured = captured(&guard, &outs);
        custom_call(args, outs, captured, self.clone())
    }
}

/// Arrays of outer traces that the graph between the trace's leaves and `outs` uses, although they are not arguments.
pub(crate) fn captured(guard: &TraceGuard, outs: &[Array]) -> Vec<Array> {
    let trace = guard.trace();
    let mut found: Vec<Array> = Vec::new();
    let mut note = |x: &Array| {
        let constant = x.node.recipe().is_some_and(|r| r.op.is::<basic::StopGradient>());
        if x.is_tracer() && !x.depends_on(trace) && !constant && !found.iter().any(|y| y.is_same(x)) {
            found.push(x.clone());
        }
    };
    outs.iter().for_each(&mut note);
    for step in &graph::traced(outs, trace).steps {
        let Some(recipe) = &step.recipe else { continue };
        let is_leaf = !recipe.inputs.iter().any(|x| x.depends_on(trace));
        if !is_leaf {
            recipe.inputs.iter().for_each(&mut note);
        }
    }
    found
}

/// A node that is the identity on `outs` and differentiates by `rules` with respect to `args`.
pub(crate) fn custom_call(
    args: &[Array],
    outs: Vec<Array>,
    captured: Vec<Array>,
    rules: CustomFunction,
) -> Result<Vec<Array>> {
    let custom = Custom { rules, args: args.len(), outs: outs.len() };
    let inputs = args.iter().cloned().chain(outs).chain(captured).collect();
    Array::apply_multi(custom, inputs)
}

/// Inputs: the arguments, the function's outputs, and the arrays that it captured.
struct Custom {
    rules: CustomFunction,
    args: usize,
    outs: usize,
}

impl Custom {
    fn parts<'a, T>(&self, x: &'a [T]) -> (&'a [T], &'a [T], &'a [T]) {
        let (args, rest) = x.split_at(self.args);
        let (outs, captured) = rest.split_at(self.outs);
        (args, outs, captured)
    }

    fn refuse_captured(&self, differentiated: bool) -> Result<()> {
        if differentiated {
            return Err(Error::not_differentiable(
                "custom_function",
                "the function uses an array that is being differentiated but was not passed to it, so its rule \
                 cannot say how the output depends on that array; pass it as an argument",
            ));
        }
        Ok(())
    }
}

fn check_rule(what: &str, got: &[Array], like: &[Array]) -> Result<()> {
    if got.len() != like.len() {
        return Err(Error::value(
            "custom_function",
            format!("the {what} rule gave {} arrays, expected {}", got.len(), like.len()),
        ));
    }
    for (i, (g, l)) in got.iter().zip(like).enumerate() {
        if l.dtype().is_inexact() && g.aval() != l.aval() {
            return Err(Error::shape(
                "custom_function",
                format!(
                    "the {what} rule gave {} {} for array {i}, expected {} {}",
                    g.dtype(),
                    ShapeText(g.shape()),
                    l.dtype(),
                    ShapeText(l.shape())
                ),
            ));
        }
    }
    Ok(())
}

impl Primitive for Custom {
    fn name(&self) -> &'static str {
        "custom_function"
    }

    fn infer(&self, inputs: &[Array]) -> Result<Avals> {
        Ok(self.parts(inputs).1.iter().map(|x| x.aval().clone()).collect())
    }

    fn derivative(&self) -> Derivative<'_> {
        if self.rules.vjp.is_some() || self.rules.jvp.is_some() {
            Derivative::Handwritten(self)
        } else {
            Derivative::Linear(self)
        }
    }

    fn batch(&self, batch: &Batch<'_>) -> Result<Vec<Array>> {
        let Batch { inputs, batched, size, .. } = *batch;
        let (args, outs, captured) = self.parts(inputs);
        let (in_args, in_outs, _) = self.parts(batched);
        if let Some(rule) = &self.rules.vmap {
            let axes: Vec<Option<isize>> = in_args.iter().map(|b| b.then_some(0)).collect();
            let (outs, axes) = rule(args, &axes)?;
            if outs.len() != self.outs || axes.len() != self.outs {
                return Err(Error::value(
                    "custom_function",
                    format!(
                        "the vmap rule gave {} outputs and {} axes, expected {} of each",
                        outs.len(),
                        axes.len(),
                        self.outs
                    ),
                ));
            }
            return outs
                .iter()
                .zip(axes)
                .map(|(out, axis)| match axis {
                    Some(axis) => ops::try_moveaxis(out, axis, 0),
                    None => ops::with_batch(out, size),
                })
                .collect();
        }
        let outs: Vec<Array> = outs
            .iter()
            .zip(in_outs)
            .map(|(x, &b)| if b { Ok(x.clone()) } else { ops::with_batch(x, size) })
            .collect::<Result<_>>()?;
        let flags: Arc<[bool]> = in_args.into();
        let vjp = self.rules.vjp.clone().map(|rule| batched_vjp(rule, flags.clone()));
        let jvp = self.rules.jvp.clone().map(|rule| batched_jvp(rule, flags.clone()));
        custom_call(args, outs, captured.to_vec(), CustomFunction { vjp, jvp, vmap: None })
    }

    fn lower(&self, _inputs: &[Array]) -> Lower<'_> {
        Lower::Identity { first: self.args }
    }

    fn params(&self, params: &mut Params<'_>) {
        let identity = std::ptr::from_ref(self) as usize;
        params.put("rules", Param::Identity(identity));
    }
}

/// The vjp rule over a batch. The cotangent of an argument without a batch axis is summed over the batch.
fn batched_vjp(rule: VjpRule, flags: Arc<[bool]>) -> VjpRule {
    Arc::new(move |args, cts, outs| {
        let axes: Vec<Option<isize>> = flags
            .iter()
            .map(|b| b.then_some(0))
            .chain(std::iter::repeat_n(Some(0), cts.len() + outs.len()))
            .collect();
        let all: Vec<Array> = args.iter().chain(cts).chain(outs).cloned().collect();
        let found = vmap_flat(&all, &axes, |xs| {
            let (args, rest) = xs.split_at(args.len());
            let (cts, outs) = rest.split_at(cts.len());
            rule(args, cts, outs)
        })?;
        let axes = vec![Some(0); found.len()];
        let found = found.at_axes(&axes)?;
        found
            .into_iter()
            .zip(flags.iter())
            .map(|(ct, &b)| if b { Ok(ct) } else { ops::try_sum_axes(&ct, &[0], false) })
            .collect()
    })
}

/// The jvp rule over a batch.
fn batched_jvp(rule: JvpRule, flags: Arc<[bool]>) -> JvpRule {
    Arc::new(move |args, tangents| {
        let mut all: Vec<Array> = args.to_vec();
        let mut axes: Vec<Option<isize>> = flags.iter().map(|b| b.then_some(0)).collect();
        for (t, b) in tangents.iter().zip(flags.iter()) {
            if let Some(t) = t {
                all.push(t.clone());
                axes.push(b.then_some(0));
            }
        }
        let found = vmap_flat(&all, &axes, |xs| {
            let (args, rest) = xs.split_at(args.len());
            let mut rest = rest.iter();
            let tangents: Vec<Option<Array>> =
                tangents.iter().map(|t| t.as_ref().and_then(|_| rest.next().cloned())).collect();
            rule(args, &tangents)
        })?;
        let axes = vec![Some(0); found.len()];
        found.at_axes(&axes)
    })
}

/// Without derivative rules: the identity on the outputs.
impl Linear for Custom {
    fn is_linear_in(&self, i: usize) -> bool {
        (self.args..self.args + self.outs).contains(&i)
    }

    fn transpose(&self, i: usize, cotangents: &[Option<Array>], _x: &[Array]) -> Result<Option<Array>> {
        Ok(cotangents[i - self.args].clone())
    }
}

impl Handwritten for Custom {
    fn jvp(&self, tangents: &[Option<Array>], x: &[Array], y: &[Array]) -> Result<MaybeArrays> {
        Structured::jvp(self, tangents, x, y)
    }

    fn vjp(
        &self,
        cotangents: &[Option<Array>],
        x: &[Array],
        y: &[Array],
        wanted: &[bool],
    ) -> Result<MaybeArrays> {
        let (args, ..) = self.parts(x);
        let (want_args, _, want_captured) = self.parts(wanted);
        self.refuse_captured(want_captured.contains(&true))?;
        let mut out = vec![None; x.len()];
        if !want_args.contains(&true) {
            return Ok(out);
        }
        let Some(rule) = &self.rules.vjp else {
            let mut wanted = wanted.to_vec();
            wanted[self.args..].fill(false);
            return transpose_jvp(self, cotangents, x, y, &wanted);
        };
        let cts = or_zeros(cotangents.to_vec(), y);
        let found = rule(args, &cts, y)?;
        check_rule("vjp", &found, args)?;
        for (i, ct) in found.into_iter().enumerate() {
            if want_args[i] {
                out[i] = Some(ct);
            }
        }
        Ok(out)
    }
}

impl Structured for Custom {
    fn jvp(&self, tangents: &[Option<Array>], x: &[Array], y: &[Array]) -> Result<MaybeArrays> {
        let (args, ..) = self.parts(x);
        let (of_args, _, of_captured) = self.parts(tangents);
        self.refuse_captured(of_captured.iter().any(Option::is_some))?;
        if let Some(rule) = &self.rules.jvp {
            let found = rule(args, of_args)?;
            check_rule("jvp", &found, y)?;
            return Ok(found.into_iter().map(Some).collect());
        }
        // The vjp is linear in its cotangents: its transpose is the jvp.
        let rule =
            self.rules.vjp.as_ref().expect("a custom function is differentiated here only with a rule");
        let guard = TraceGuard::new();
        let cts: Vec<Array> =
            y.iter().map(|y| Array::placeholder(y.aval().clone(), Some(guard.set.clone()))).collect();
        let back = rule(args, &cts, y)?;
        check_rule("vjp", &back, args)?;
        let (mut ends, mut seeds) = (Vec::new(), Vec::new());
        for (back, t) in back.into_iter().zip(of_args) {
            if let Some(t) = t {
                ends.push(back);
                seeds.push(t.clone());
            }
        }
        pullback(guard.trace(), &ends, &seeds, &cts)
    }
}

/// The identity on `xs`, computed after all of `after`: it delays a recomputation.
///
/// # Errors
/// Never in practice; it makes a node like any other.
pub fn depends(xs: &[Array], after: &[Array]) -> Result<Vec<Array>> {
    let inputs = xs.iter().chain(after).cloned().collect();
    Array::apply_multi(basic::Barrier { outs: xs.len() }, inputs)
}
