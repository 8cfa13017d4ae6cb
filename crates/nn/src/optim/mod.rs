//! Optimizers: from parameters and gradients to better parameters.
//!
//! An optimizer holds its settings and nothing else. The values that it keeps between steps are a [`State`], a tree like
//! the parameters themselves, which is saved, compiled over and inspected like any other. [`Optimizer::update`] changes
//! neither parameters nor state, and returns new ones.
//!
//! ```
//! use covector_core::{Array, transforms::grad};
//! use covector_nn::optim::{Optimizer, Sgd};
//! let loss = |w: &Array| (w - 3.0).square().sum();
//! let optimizer = Sgd { momentum: 0.5, ..Sgd::new(0.1) };
//! let mut w = Array::new([0.0f64, 10.0]);
//! let mut state = optimizer.init(&w);
//! for _ in 0..60 {
//!     (w, state) = optimizer.update(&w, &grad(loss)(&w)?, &state)?;
//! }
//! assert!(w.to_vec::<f64>().iter().all(|w| (w - 3.0).abs() < 1e-6));
//! # Ok::<(), covector_core::Error>(())
//! ```

mod rows;
mod schedule;
mod table;

pub use rows::*;
pub use schedule::{Schedule, cosine_decay, exponential_decay, join_schedules, linear_schedule, step_decay};
pub use table::Spec;

use covector_core::shape::ShapeText;
use covector_core::tree::{Path, Role};
use covector_core::{Array, Dtype, Error, Result, Tree, ops, wide};
use covector_derive::Tree;
use std::cell::RefCell;
use std::collections::BTreeMap;

/// The values that an optimizer keeps between steps.
#[derive(Clone, Debug, Tree)]
#[tree(crate = "covector_core")]
pub struct State<P> {
    /// The number of steps taken, a `uint64` scalar.
    pub step: Array,
    /// For each name in [`Optimizer::slots`] a tree of the parameters' structure. Slots of half-precision parameters are
    /// `float32`: a running mean stalls where a step is smaller than the rounding, and small squares vanish.
    pub slots: BTreeMap<&'static str, P>,
}

/// The learning rate and the number of a step, in the element types that one parameter array needs.
#[derive(Clone, Debug)]
pub struct StepContext {
    /// The learning rate.
    pub rate: Array,
    /// The number of this step, from 1, as a floating-point number.
    pub step: Array,
    /// The results of [`StepContext::number`] so far.
    numbers: RefCell<Vec<(u64, Array)>>,
}

impl StepContext {
    /// The learning rate and the number of the step in the types that a parameter of type `dtype` needs.
    pub fn new(rate: &Array, step: &Array, dtype: Dtype) -> Self {
        let steps = if dtype == Dtype::F64 { Dtype::F64 } else { Dtype::F32 };
        Self { rate: rate.astype(wide::of(dtype)), step: step.astype(steps), numbers: RefCell::default() }
    }

    /// A setting as an array of the type of `like`, the same array for every leaf: an expression of settings alone is
    /// then one computation for all leaves.
    pub fn number(&self, value: f64, like: &Array) -> Array {
        let mut numbers = self.numbers.borrow_mut();
        let found = numbers.iter().find(|(bits, x)| *bits == value.to_bits() && x.dtype() == like.dtype());
        if let Some((_, number)) = found {
            return number.clone();
        }
        let number = ops::constant_like(like, value);
        numbers.push((value.to_bits(), number.clone()));
        number
    }
}

/// One parameter array with its gradient and its slots.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// The parameter.
    pub param: Array,
    /// The gradient, of the parameter's shape.
    pub grad: Array,
    /// An array for each of the optimizer's [`slots`](Optimizer::slots).
    pub slots: Vec<Array>,
}

/// A rule that changes parameters along their gradients.
///
/// An implementation names the arrays that it remembers for each parameter array ([`slots`](Optimizer::slots)) and
/// computes the new value of one array ([`step`](Optimizer::step)); the rest follows. The optimizers of this module are
/// rows of a table in `rows.rs`.
pub trait Optimizer {
    /// The learning rate.
    fn learning_rate(&self) -> &Schedule;

    /// The names of the arrays that are remembered for each parameter array.
    fn slots(&self) -> &'static [&'static str];

    /// Refuses settings that cannot work.
    ///
    /// # Errors
    /// Names the setting and the values that are possible.
    fn check(&self) -> Result<()>;

    /// The new value of one parameter array and of its slots. Arrays of half precision arrive as `float32`.
    ///
    /// # Errors
    /// When shapes or element types do not fit.
    fn step(
        &self,
        cx: &StepContext,
        param: &Array,
        grad: &Array,
        slots: &[Array],
    ) -> Result<(Array, Vec<Array>)>;

    /// [`step`](Optimizer::step) of every leaf: the new parameters, each with its slots. `rate` is the learning rate and
    /// `step` the number of the step, from 1.
    ///
    /// Half precision is computed in `float32`. The new parameter is rounded once, to the type that parameter and gradient
    /// share; the slots stay `float32`.
    ///
    /// # Errors
    /// When shapes or element types do not fit.
    fn step_all(&self, rate: &Array, step: &Array, leaves: &[Leaf]) -> Result<Vec<(Array, Vec<Array>)>> {
        let half = |x: &Array| wide::is_half(x.dtype());
        let mut contexts: Vec<(Dtype, StepContext)> = Vec::new();
        let mut all = Vec::with_capacity(leaves.len());
        for Leaf { param, grad, slots } in leaves {
            let dtype = param.dtype();
            let known = contexts.iter().position(|(d, _)| *d == dtype);
            let at = known.unwrap_or_else(|| {
                contexts.push((dtype, StepContext::new(rate, step, dtype)));
                contexts.len() - 1
            });
            let cx = &contexts[at].1;
            if !half(param) && !half(grad) && !slots.iter().any(half) {
                all.push(self.step(cx, param, grad, slots)?);
                continue;
            }
            let mut slots: Vec<Array> = slots.iter().map(wide::widen).collect();
            let param = wide::rounded_once([param, grad], |[param, grad]| {
                let (param, new) = self.step(cx, param, grad, &slots)?;
                slots = new;
                Ok(param)
            })?;
            all.push((param, slots));
        }
        Ok(all)
    }

    /// The state before the first step: all slots are zero, in `float32` where the parameter is half precision.
    fn init<P: Tree>(&self, params: &P) -> State<P>
    where
        Self: Sized,
    {
        let slots = self.slots().iter().map(|&name| (name, params.map(zero_slot))).collect();
        State { step: Array::scalar(0u64), slots }
    }

    /// One step: the new parameters and the new state.
    ///
    /// Leaves that are [kept](covector_core::tree::Role) stay as they are: they are neither moved nor decayed.
    ///
    /// Outside of transforms both are evaluated together, with the next evaluation or in the next update. By then the
    /// caller has dropped the old ones, and their memory serves the new ones. A loop that never asks for a value holds
    /// the graphs of two steps at most.
    ///
    /// # Errors
    /// When gradients or state do not have the structure and shapes of the parameters, or a setting is unusable.
    fn update<P: Tree>(&self, params: &P, grads: &P, state: &State<P>) -> Result<(P, State<P>)>
    where
        Self: Sized,
    {
        self.check()?;
        let leaves = params.paths();
        let grads = matching("gradients", &leaves, grads)?;
        let mut old = Vec::with_capacity(self.slots().len());
        for &name in self.slots() {
            let slot = state.slots.get(name).ok_or_else(|| {
                Error::value(
                    "update",
                    format!("the state has no {name:?}; make it with init of this very optimizer"),
                )
            })?;
            old.push(matching("state", &leaves, slot)?);
        }

        let rate = self.learning_rate().at(&state.step)?;
        let step = &state.step + 1;
        let kept: Vec<bool> = leaves.iter().map(|(path, _)| path.role() == Role::Kept).collect();
        let trained: Vec<Leaf> = (0..leaves.len())
            .filter(|&i| !kept[i])
            .map(|i| Leaf {
                param: leaves[i].1.clone(),
                grad: grads[i].clone(),
                slots: old.iter().map(|slot| slot[i].clone()).collect(),
            })
            .collect();
        let mut stepped = self.step_all(&rate, &step, &trained)?.into_iter();
        let mut new_params = Vec::with_capacity(leaves.len());
        let mut new_slots: Vec<Vec<Array>> = vec![Vec::with_capacity(leaves.len()); old.len()];
        for (i, (_, param)) in leaves.iter().enumerate() {
            let (new, slots) = match if kept[i] { None } else { stepped.next() } {
                Some((new, slots)) => (new.astype(param.dtype()), slots),
                None => (param.clone(), old.iter().map(|slot| slot[i].clone()).collect()),
            };
            new_params.push(new);
            for (all, slot) in new_slots.iter_mut().zip(slots) {
                all.push(slot);
            }
        }
        eval_soon(new_params.iter().chain(new_slots.iter().flatten()).chain([&step]))?;

        let slots = self.slots().iter().zip(&new_slots);
        let slots = slots
            .map(|(&name, leaves)| Ok((name, params.with_any_leaves(leaves)?)))
            .collect::<Result<_>>()?;
        Ok((params.with_any_leaves(&new_params)?, State { step, slots }))
    }
}

impl<O: Optimizer + ?Sized> Optimizer for Box<O> {
    fn learning_rate(&self) -> &Schedule {
        (**self).learning_rate()
    }

    fn slots(&self) -> &'static [&'static str] {
        (**self).slots()
    }

    fn check(&self) -> Result<()> {
        (**self).check()
    }

    fn step(
        &self,
        cx: &StepContext,
        param: &Array,
        grad: &Array,
        slots: &[Array],
    ) -> Result<(Array, Vec<Array>)> {
        (**self).step(cx, param, grad, slots)
    }
}

/// A slot of a parameter before the first step.
pub fn zero_slot(param: &Array) -> Array {
    ops::zeros(param.shape(), wide::of(param.dtype()))
}

/// The leaves of `tree`, which must have the shapes of the parameters', and numbers of the same kind.
fn matching<P: Tree>(what: &str, params: &[(Path, Array)], tree: &P) -> Result<Vec<Array>> {
    let leaves = tree.leaves();
    if leaves.len() != params.len() {
        return Err(Error::value(
            "update",
            format!(
                "there are {} arrays in the {what}, but {} in the parameters; both need one structure",
                leaves.len(),
                params.len()
            ),
        ));
    }
    for (leaf, (path, param)) in leaves.iter().zip(params) {
        if leaf.shape() != param.shape() {
            return Err(Error::shape(
                "update",
                format!(
                    "params{path} has shape {}, but in the {what} it has shape {}",
                    ShapeText(param.shape()),
                    ShapeText(leaf.shape())
                ),
            ));
        }
        // A slot may be wider than its parameter, but not of another kind.
        if leaf.dtype().is_inexact() != param.dtype().is_inexact() {
            return Err(Error::dtype(
                "update",
                format!("params{path} is {}, but in the {what} it is {}", param.dtype(), leaf.dtype()),
            ));
        }
    }
    Ok(leaves)
}

/// Has the arrays evaluated together with the next evaluation, unless a transform is tracing.
///
/// # Errors
/// As [`covector_core::eval_soon`].
pub fn eval_soon<'a>(arrays: impl Iterator<Item = &'a Array>) -> Result<()> {
    let arrays: Vec<Array> = arrays.cloned().collect();
    if covector_core::is_tracing() || arrays.iter().any(Array::is_tracer) {
        return Ok(());
    }
    covector_core::eval_soon(&arrays)
}

/// The gradients scaled down to the norm `max_norm` if all of them together, as one vector, are longer than it,
/// and their norm before. Leaves that are [kept](covector_core::tree::Role) are neither counted nor scaled.
///
/// ```
/// use covector_core::Array;
/// let grads = (Array::new([3.0f32, 4.0]), Array::new([12.0f32]));
/// let (clipped, norm) = covector_nn::optim::clip_grad_norm(&grads, 6.5)?;
/// assert_eq!(norm.item::<f32>(), 13.0);
/// assert!((clipped.1.item::<f32>() - 6.0).abs() < 1e-5);
/// # Ok::<(), covector_core::Error>(())
/// ```
///
/// # Errors
/// When `max_norm` is negative or NaN.
pub fn clip_grad_norm<P: Tree>(grads: &P, max_norm: f64) -> Result<(P, Array)> {
    if max_norm < 0.0 || max_norm.is_nan() {
        return Err(Error::value(
            "clip_grad_norm",
            format!("max_norm {max_norm} is not a length; give 0 or more"),
        ));
    }
    let mut square = Array::scalar(0.0f32);
    for (_, grad) in grads.paths().into_iter().filter(|(path, _)| path.role() == Role::Trained) {
        // In float32 at least, because squares leave the range of 16 bits soon.
        let size = ops::try_abs(&grad)?;
        let size = if size.dtype() == Dtype::F64 { size } else { size.astype(Dtype::F32) };
        square = ops::try_add(&square, &ops::try_sum(&ops::try_square(&size)?)?)?;
    }
    let norm = ops::try_sqrt(&square)?;
    let factor = ops::try_divide(&ops::constant_like(&norm, max_norm), &(&norm + 1e-6))?;
    let factor = ops::try_minimum(&factor, &ops::constant_like(&norm, 1.0))?;
    let mut roles = Vec::new();
    grads.visit(&mut Path::new(), &mut |path, _| roles.push(path.role()));
    let mut roles = roles.into_iter();
    let clipped = grads.try_map(&mut |grad| match roles.next() {
        Some(Role::Kept) => Ok(grad.clone()),
        _ => wide::rounded_once([grad], |[grad]| ops::try_multiply(grad, &factor.astype(grad.dtype()))),
    })?;
    Ok((clipped, norm))
}

/// `|g|²`, in the gradient's own type.
fn squared(grad: &Array) -> Result<Array> {
    if grad.dtype().is_complex() {
        ops::try_multiply(grad, &ops::try_conjugate(grad)?)
    } else {
        ops::try_square(grad)
    }
}

/// `decay · old + (1 − decay) · new`.
fn average(cx: &StepContext, decay: f64, old: &Array, new: &Array) -> Result<Array> {
    let old = ops::try_multiply(old, &cx.number(decay, old))?;
    ops::try_add(&old, &ops::try_multiply(new, &cx.number(1.0 - decay, new))?)
}

/// `param − rate · direction`.
fn descend(cx: &StepContext, param: &Array, direction: &Array) -> Result<Array> {
    ops::try_subtract(param, &ops::try_multiply(&cx.rate, direction)?)
}
