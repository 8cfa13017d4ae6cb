//! `vjp`, `jvp`, `grad` and `value_and_grad` over typed trees.

use crate::array::Array;
use crate::error::{Error, Result};
use crate::ops;
use crate::shape::ShapeText;
use crate::transforms::flat::{Tracer, jvp_flat, vjp_flat};
use crate::transforms::vmap::Output;
use crate::tree::Tree;

/// What a function under `grad` may return: a scalar loss, or a tuple of a scalar loss and anything else, or a
/// `Result` of either.
pub trait Loss {
    /// What [`value_and_grad`] gives back beside the gradient.
    type Value;
    /// Takes the loss out.
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

/// Refuses what cannot be a loss, and says what to do.
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

/// Refuses leaves that have no gradient, by their path.
fn check_leaves(op: &'static str, tree: &impl Tree) -> Result<()> {
    match tree.paths().into_iter().find(|(_, x)| !x.dtype().is_inexact()) {
        None => Ok(()),
        Some((path, x)) => Err(Error::kind(
            op,
            format!(
                "the argument{path} is {}; only floating-point and complex arrays have gradients. Convert it with \
                 astype, or capture it instead of passing it",
                x.dtype()
            ),
        )),
    }
}

/// A function that gives the value and the gradient of `f` in one pass.
///
/// The gradient is a tree of the argument's own type; where `f` does not use a leaf it is zero. Differentiate
/// with respect to several arguments by passing a tuple; capture what is constant. Nothing is attached to the
/// argument, and the returned function can itself be transformed.
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
/// The returned function fails when the loss is not a real scalar, when a leaf is not floating point, when an
/// operation has no derivative, or when `f` fails.
pub fn value_and_grad<P: Tree, L: Loss>(f: impl Fn(&P) -> L) -> impl Fn(&P) -> Result<(L::Value, P)> {
    move |params: &P| {
        check_leaves("value_and_grad", params)?;
        let mut value = None;
        let traced = vjp_flat(&params.leaves(), |xs| {
            let (loss, rest) = f(&params.with_leaves(xs)?).split()?;
            check_loss("value_and_grad", &loss)?;
            value = Some(rest);
            Ok(vec![loss])
        })?;
        let one = ops::ones_like(&traced.outputs()[0]);
        let grads = params.with_leaves(&traced.pullback(&[one])?)?;
        Ok((value.expect("f ran"), grads))
    }
}

/// A function that gives the gradient of `f`; as [`value_and_grad`] without the value.
pub fn grad<P: Tree, L: Loss>(f: impl Fn(&P) -> L) -> impl Fn(&P) -> Result<P> {
    let both = value_and_grad(f);
    move |params: &P| Ok(both(params)?.1)
}

/// The value of `f` at `primals`, and its pullback: the function that takes a cotangent of the output to the
/// cotangent of the argument.
///
/// # Errors
/// When `f` fails. The pullback fails when its argument does not have the output's shapes and types.
pub fn vjp<P: Tree, R: Output, F: FnOnce(&P) -> R>(
    f: F,
    primals: &P,
) -> Result<(R::Tree, impl Fn(&R::Tree) -> Result<P> + use<P, R, F>)> {
    let mut out = None;
    let traced: Tracer = vjp_flat(&primals.leaves(), |xs| {
        let tree = f(&primals.with_leaves(xs)?).into_tree()?;
        let leaves = tree.leaves();
        out = Some(tree);
        Ok(leaves)
    })?;
    let primals = primals.try_map(&mut |x| Ok(x.clone()))?;
    let pullback = move |ct: &R::Tree| primals.with_leaves(&traced.pullback(&ct.leaves())?);
    Ok((out.expect("f ran"), pullback))
}

/// The value of `f` at `primals` and its tangent for the argument's tangent.
///
/// # Errors
/// When the tangent does not have the argument's shapes and types, or `f` fails.
pub fn jvp<P: Tree, R: Output>(
    f: impl FnOnce(&P) -> R,
    primals: &P,
    tangents: &P,
) -> Result<(R::Tree, R::Tree)> {
    let mut out = None;
    let (values, tangents) = jvp_flat(&primals.leaves(), &tangents.leaves(), |xs| {
        let tree = f(&primals.with_leaves(xs)?).into_tree()?;
        let leaves = tree.leaves();
        out = Some(tree);
        Ok(leaves)
    })?;
    let out = out.expect("f ran");
    Ok((out.with_leaves(&values)?, out.with_leaves(&tangents)?))
}
