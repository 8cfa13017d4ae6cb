//! The transforms over flat lists of arrays, which the typed functions and the Python binding are built on.

use crate::ad::{batch, or_zeros, pullback, pushforward};
use crate::array::Array;
use crate::error::{Error, Result};
use crate::ops;
use crate::ops::basic::ALIAS;
use crate::primitive::{MaybeArrays, Op};
use crate::random::{self, Draw, Recording, Refusing};
use crate::shape::{ShapeText, normalize_axis};
use crate::trace::{Place, TraceGuard, Tracing};
use smallvec::smallvec;

/// A recorded run of a function on tracers, which can be differentiated: its outputs, and their graph over its inputs.
#[derive(Debug)]
pub struct Tracer {
    guard: TraceGuard,
    leaves: Vec<Array>,
    outputs: Vec<Array>,
}

/// Aliases of the arrays, as leaves of a trace: the same values, and results that depend on them carry the trace's mark.
pub(crate) fn tracers(xs: &[Array], guard: &TraceGuard) -> Vec<Array> {
    let tracer = |x: &Array| {
        let avals = smallvec![x.aval().clone()];
        Array::build(Op::Static(&ALIAS), smallvec![x.clone()], avals, Some(&guard.set))
    };
    xs.iter().map(tracer).collect()
}

/// Runs `f` on tracers of `primals` and keeps its trace for pullbacks.
///
/// # Errors
/// The errors of `f`, unchanged.
pub fn vjp_flat(primals: &[Array], f: impl FnOnce(&[Array]) -> Result<Vec<Array>>) -> Result<Tracer> {
    let guard = TraceGuard::new();
    let leaves: Vec<Array> = tracers(primals, &guard);
    let tracing = Tracing::enter();
    let outputs = f(&leaves)?;
    guard.returned();
    drop(tracing);
    Ok(Tracer { guard, leaves, outputs })
}

impl Tracer {
    /// The tracers of the primals.
    pub(super) fn inputs(&self) -> &[Array] {
        &self.leaves
    }

    /// The results of `f`.
    pub fn outputs(&self) -> &[Array] {
        &self.outputs
    }

    /// The place at which a value that depends on the primals was read, if no output depends on them. Outputs computed from
    /// that value are constants, and all derivatives are zero.
    pub fn lost_read(&self) -> Option<&Place> {
        let trace = self.guard.trace();
        let place = trace.read()?;
        (!self.outputs.iter().any(|x| x.depends_on(trace))).then_some(place)
    }

    /// The cotangents of the primals for cotangents of the outputs: `Jᴴ ct`, with zeros for primals that `f` did not use.
    ///
    /// # Errors
    /// When a cotangent's count, shape or type is not its output's, or an operation has no derivative.
    pub fn pullback(&self, cotangents: &[Array]) -> Result<Vec<Array>> {
        check_like("vjp", "cotangent", "output", cotangents, &self.outputs)?;
        if let [loss] = &self.outputs[..]
            && loss.ndim() == 0
        {
            crate::eval::note_loss(loss);
        }
        let _tracing = Tracing::enter();
        let found = pullback(self.guard.trace(), &self.outputs, cotangents, &self.leaves)?;
        Ok(or_zeros(found, &self.leaves))
    }

    /// The tangents of the outputs for tangents of the primals: `J t`.
    ///
    /// # Errors
    /// When a tangent's count, shape or type is not its primal's, or an operation has no derivative.
    pub fn pushforward(&self, tangents: &[Array]) -> Result<Vec<Array>> {
        check_like("jvp", "tangent", "primal", tangents, &self.leaves)?;
        let seeds: MaybeArrays = tangents.iter().map(|t| t.dtype().is_inexact().then(|| t.clone())).collect();
        self.pushforward_some(&seeds)
    }

    /// [`Tracer::pushforward`] of checked tangents; `None` means zero.
    pub(crate) fn pushforward_some(&self, tangents: &[Option<Array>]) -> Result<Vec<Array>> {
        let _tracing = Tracing::enter();
        let found = pushforward(self.guard.trace(), &self.outputs, &self.leaves, tangents)?;
        Ok(or_zeros(found, &self.outputs))
    }
}

/// The outputs of `f` at `primals` and their tangents: `J t`.
///
/// # Errors
/// When a tangent's count, shape or type is not its primal's, an operation has no derivative, or `f` fails.
pub fn jvp_flat(
    primals: &[Array],
    tangents: &[Array],
    f: impl FnOnce(&[Array]) -> Result<Vec<Array>>,
) -> Result<(Vec<Array>, Vec<Array>)> {
    check_like("jvp", "tangent", "primal", tangents, primals)?;
    let traced = vjp_flat(primals, f)?;
    let tangents = traced.pushforward(tangents)?;
    Ok((traced.outputs, tangents))
}

pub(super) fn check_like(
    op: &'static str,
    what: &str,
    of: &str,
    got: &[Array],
    like: &[Array],
) -> Result<()> {
    if got.len() != like.len() {
        return Err(Error::value(
            op,
            format!("{} {what}s were given for {} {of}s; give one for each", got.len(), like.len()),
        ));
    }
    for (i, (g, l)) in got.iter().zip(like).enumerate() {
        if g.shape() != l.shape() {
            return Err(Error::shape(
                op,
                format!(
                    "{what} {i} has shape {} but its {of} has shape {}; they must be equal",
                    ShapeText(g.shape()),
                    ShapeText(l.shape())
                ),
            ));
        }
        if g.dtype() != l.dtype() {
            return Err(Error::dtype(
                op,
                format!("{what} {i} is {} but its {of} is {}; convert it with astype", g.dtype(), l.dtype()),
            ));
        }
    }
    Ok(())
}

/// A function that was vectorised: its outputs, with the batch at axis 0 where they have one.
#[derive(Debug)]
pub struct Batched {
    outputs: Vec<(Array, bool)>,
    size: usize,
}

impl Batched {
    /// Number of outputs.
    pub fn len(&self) -> usize {
        self.outputs.len()
    }

    /// Whether there is no output.
    pub fn is_empty(&self) -> bool {
        self.outputs.is_empty()
    }

    /// The outputs with the batch moved to `axes`; an output that does not depend on the batch is repeated,
    /// unless its axis is `None`.
    ///
    /// # Errors
    /// When an axis is out of range, or `None` is given for an output that has the batch.
    pub fn at_axes(self, axes: &[Option<isize>]) -> Result<Vec<Array>> {
        if axes.len() != self.outputs.len() {
            return Err(Error::value(
                "vmap",
                format!("{} out_axes were given for {} outputs", axes.len(), self.outputs.len()),
            ));
        }
        let size = self.size;
        self.outputs
            .into_iter()
            .zip(axes)
            .enumerate()
            .map(|(i, ((out, batched), axis))| match axis {
                None if batched => Err(Error::value(
                    "vmap",
                    format!("out_axes is None for output {i}, which depends on the batch; give it an axis"),
                )),
                None => Ok(out),
                Some(axis) => {
                    let ndim = out.ndim() + usize::from(!batched);
                    let axis = normalize_axis("vmap out_axes", *axis, ndim)?;
                    let out = if batched { out } else { ops::with_batch(&out, size)? };
                    ops::try_moveaxis(&out, 0, axis as isize)
                }
            })
            .collect()
    }
}

/// How random numbers drawn without a key inside `vmap` relate to each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Randomness {
    /// All examples share one draw.
    #[default]
    Same,
    /// Each example has a draw of its own.
    Different,
    /// Drawing without a key is an error.
    Error,
}

/// Runs `f` once on abstract arguments without their batch axis, and replays its graph on whole batches.
///
/// # Errors
/// When no argument has a batch axis, an axis is out of range, extents disagree, or `f` fails.
pub fn vmap_flat(
    args: &[Array],
    axes: &[Option<isize>],
    f: impl FnOnce(&[Array]) -> Result<Vec<Array>>,
) -> Result<Batched> {
    vmap_flat_with(args, axes, Randomness::Same, f)
}

/// [`vmap_flat`] with a rule for random numbers that are drawn without a key.
///
/// # Errors
/// As [`vmap_flat`]; when `f` draws without a key where that is an error, or gives the generator a state that differs
/// from example to example.
pub fn vmap_flat_with(
    args: &[Array],
    axes: &[Option<isize>],
    randomness: Randomness,
    f: impl FnOnce(&[Array]) -> Result<Vec<Array>>,
) -> Result<Batched> {
    if args.len() != axes.len() {
        return Err(Error::value("vmap", format!("{} in_axes for {} arrays", axes.len(), args.len())));
    }
    let mut size: Option<(usize, usize)> = None;
    let mut values = Vec::with_capacity(args.len());
    for (i, (x, axis)) in args.iter().zip(axes).enumerate() {
        let Some(axis) = axis else {
            values.push(x.clone());
            continue;
        };
        let axis = normalize_axis("vmap", *axis, x.ndim()).map_err(|_| {
            Error::axis(
                "vmap",
                format!(
                    "in_axes {axis} is out of range for array argument {i} of shape {}",
                    ShapeText(x.shape())
                ),
            )
        })?;
        let n = x.shape()[axis];
        match size {
            None => size = Some((i, n)),
            Some((_, m)) if m == n => {}
            Some((j, m)) => {
                return Err(Error::shape(
                    "vmap",
                    format!(
                        "arrays disagree on the batch: array {j} has extent {m} and array {i} extent {n} on the mapped axis"
                    ),
                ));
            }
        }
        values.push(ops::try_moveaxis(x, axis as isize, 0)?);
    }
    let Some((_, size)) = size else {
        return Err(Error::value(
            "vmap",
            "no array argument is mapped: at least one in_axes must not be None",
        ));
    };
    let guard = TraceGuard::new();
    let mut batched: Vec<bool> = axes.iter().map(Option::is_some).collect();
    let mut leaves: Vec<Array> = values
        .iter()
        .zip(&batched)
        .map(|(x, &b)| {
            if b {
                let mut aval = x.aval().clone();
                aval.shape.remove(0);
                Array::placeholder(aval, Some(guard.set.clone()))
            } else {
                x.clone()
            }
        })
        .collect();
    let _tracing = Tracing::enter();
    let mut state = None;
    let mut outputs = match randomness {
        Randomness::Same => f(&leaves)?,
        Randomness::Error => {
            let _refusing = Refusing::start();
            f(&leaves)?
        }
        Randomness::Different => {
            // The keys are further arguments with a batch axis.
            let recording = Recording::start(guard.set.clone());
            let outputs = f(&leaves)?;
            let (draws, set) = recording.finish();
            state = set;
            for (draw, key) in draws {
                let drawn = draw.again()?;
                let own = draw == Draw::Next;
                leaves.push(key);
                values.push(if own { random::split(&drawn, size)? } else { drawn });
                batched.push(own);
            }
            outputs
        }
    };
    let sets_state = state.is_some();
    outputs.extend(state);
    let values: Vec<(Array, bool)> = values.into_iter().zip(batched).collect();
    let mut outputs = batch(guard.trace(), &outputs, &leaves, &values, size)?;
    if sets_state && let Some((state, batched)) = outputs.pop() {
        if batched {
            return Err(Error::value(
                "vmap",
                "the function sets the state of the random generator to another key for each example, but there is one state; \
                 return the keys instead",
            ));
        }
        random::set_state(&state)?;
    }
    Ok(Batched { outputs, size })
}
