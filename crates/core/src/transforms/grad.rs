//! `vjp`, `jvp`, `grad` and `value_and_grad` over typed trees.

use crate::array::Array;
use crate::error::{Error, Result};
use crate::ops;
use crate::shape::ShapeText;
use crate::transforms::argument::{Argument, check_reads};
use crate::transforms::flat::{Tracer, check_like, vjp_flat};
use crate::transforms::vmap::Output;
use crate::tree::Tree;

/// The result of a function under `grad`: a scalar loss, or a tuple of a scalar loss and anything else, or a
/// `Result` of either.
pub trait Loss {
    /// The value that [`value_and_grad`] returns beside the gradient.
    type Value;
    /// Separates the loss from the value.
    ///
    /// # Errors
    /// The function's own.
    fn split(self) -> Result<(Array, Self::Value)>;
}

impl Loss for Array {
    type Value = Array;
    fn split(self) -> Result<(Array, Array)> {
        Ok((self.clone(), self))
    }
}

impl<T: Loss> Loss for Result<T> {
    type Value = T::Value;
    fn split(self) -> Result<(Array, T::Value)> {
        self?.split()
    }
}

macro_rules! losses {
    ($($a:ident $i:tt),*) => {
        impl<$($a),*> Loss for (Array, $($a),*) {
            type Value = Self;
            fn split(self) -> Result<(Array, Self)> {
                Ok((self.0.clone(), self))
            }
        }
    };
}
losses!(A 1);
losses!(A 1, B 2);
losses!(A 1, B 2, C 3);
losses!(A 1, B 2, C 3, D 4);

/// Refuses a result that cannot be a loss, with the remedy.
///
/// # Errors
/// When the shape is not `()` or the type is not real floating point.
pub fn check_loss(op: &'static str, loss: &Array) -> Result<()> {
    if loss.ndim() != 0 {
        return Err(Error::shape(
            op,
            format!(
                "the function must return a scalar loss, of shape (), but it returned shape {}; reduce it with \
                 .mean() or .sum(), or use vjp or jacrev for functions with many outputs",
                ShapeText(loss.shape())
            ),
        ));
    }
    if !loss.dtype().is_float() {
        return Err(Error::dtype(
            op,
            format!("the loss is {}, but only a real floating-point loss has a gradient", loss.dtype()),
        ));
    }
    Ok(())
}

/// A function that gives the value and the gradient of `f` in one pass.
///
/// The gradient is a tree of the argument's own type; it is zero for a leaf that `f` does not use. Pass a tuple in order
/// to differentiate with respect to several arguments, and capture constants. Nothing is attached to the argument, and
/// the returned function can itself be transformed.
///
/// ```
/// use covector_core::{Array, transforms::value_and_grad};
/// let x = Array::new([1.0f32, 2.0, 3.0]);
/// let loss = |(w, b): &(Array, Array)| ((w * &x + b).square()).mean();
/// let (value, (dw, db)) = value_and_grad(loss)(&(Array::scalar(2.0f32), Array::scalar(0.5f32))).unwrap();
/// assert_eq!(db.item::<f32>(), 9.0);
/// # let _ = (value, dw);
/// ```
///
/// # Errors
/// The returned function fails when the loss is not a real scalar, when a trained leaf is not floating point, when an
/// operation has no derivative, when `f` fails, and when `f` reads a value of the argument ([`Array::item`],
/// [`Array::to_vec`]) and returns a loss that does not depend on the argument.
pub fn value_and_grad<P: Tree, L: Loss>(f: impl Fn(&P) -> L) -> impl Fn(&P) -> Result<(L::Value, P)> {
    move |params: &P| value_and_grad_of("value_and_grad", &f, params)
}

/// A function that gives the gradient of `f`: [`value_and_grad`] without the value.
///
/// # Errors
/// The returned function fails as that of [`value_and_grad`] does.
pub fn grad<P: Tree, L: Loss>(f: impl Fn(&P) -> L) -> impl Fn(&P) -> Result<P> {
    move |params: &P| Ok(value_and_grad_of("grad", &f, params)?.1)
}

/// [`value_and_grad`] at one point, for the transform `op`.
pub(super) fn value_and_grad_of<P: Tree, L: Loss>(
    op: &'static str,
    f: &impl Fn(&P) -> L,
    params: &P,
) -> Result<(L::Value, P)> {
    let argument = Argument::new(op, params)?;
    let mut value = None;
    let traced = vjp_flat(&argument.trained(), |xs| {
        let (loss, rest) = f(&argument.with_trained(params, xs)?).split()?;
        check_loss(op, &loss)?;
        value = Some(rest);
        Ok(vec![loss])
    })?;
    check_reads(op, &traced)?;
    let one = ops::ones_like(&traced.outputs()[0]);
    let grads = argument.derivatives(params, &traced.pullback(&[one])?)?;
    Ok((value.expect("f ran"), grads))
}

/// A run of a function of a tree on tracers: the trace, and the tree that the function returned.
pub(super) struct Ran<T> {
    pub(super) argument: Argument,
    pub(super) traced: Tracer,
    pub(super) out: T,
}

/// Runs `f` at `at` for the transform `op`, with the checks that all derivatives share.
pub(super) fn run<P: Tree, R: Output>(
    op: &'static str,
    f: impl FnOnce(&P) -> R,
    at: &P,
) -> Result<Ran<R::Tree>> {
    let argument = Argument::new(op, at)?;
    let mut out = None;
    let traced = vjp_flat(&argument.trained(), |xs| {
        let tree = f(&argument.with_trained(at, xs)?).into_tree()?;
        let leaves = tree.leaves();
        out = Some(tree);
        Ok(leaves)
    })?;
    check_reads(op, &traced)?;
    Ok(Ran { argument, traced, out: out.expect("f ran") })
}

/// The value of `f` at `primals`, and its pullback: the function that takes a cotangent of the output to the
/// cotangent of the argument.
///
/// # Errors
/// When a trained leaf is not floating point, when `f` fails, and when `f` reads a value of the argument and returns
/// a result that does not depend on it. The pullback fails when its argument does not have the output's shapes and types.
pub fn vjp<P: Tree, R: Output, F: FnOnce(&P) -> R>(
    f: F,
    primals: &P,
) -> Result<(R::Tree, impl Fn(&R::Tree) -> Result<P> + use<P, R, F>)> {
    let Ran { argument, traced, out } = run("vjp", f, primals)?;
    let primals = primals.try_map(&mut |x| Ok(x.clone()))?;
    let pullback = move |ct: &R::Tree| argument.derivatives(&primals, &traced.pullback(&ct.leaves())?);
    Ok((out, pullback))
}

/// The value of `f` at `primals` and its tangent for the argument's tangent.
///
/// # Errors
/// When a trained leaf is not floating point, when the tangent does not have the argument's shapes and types, when `f`
/// fails, and when `f` reads a value of the argument and returns a result that does not depend on it.
pub fn jvp<P: Tree, R: Output>(
    f: impl FnOnce(&P) -> R,
    primals: &P,
    tangents: &P,
) -> Result<(R::Tree, R::Tree)> {
    let tangents = tangents.leaves();
    check_like("jvp", "tangent", "primal", &tangents, &primals.leaves())?;
    let Ran { argument, traced, out } = run("jvp", f, primals)?;
    let tangents = traced.pushforward(&argument.trained_of(tangents))?;
    let values = out.try_map(&mut |x| Ok(x.clone()))?;
    Ok((values, out.with_any_leaves(&tangents)?))
}
