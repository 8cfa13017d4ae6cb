//! Whole Jacobians and Hessians, their products with vectors, linear maps, and a check of gradients.

use crate::array::Array;
use crate::error::{Error, Result};
use crate::ops;
use crate::shape::Shape;
use crate::transforms::argument::{Argument, check_reads};
use crate::transforms::flat::{check_like, jvp_flat, vjp_flat, vmap_flat};
use crate::transforms::grad::{Loss, Ran, run, value_and_grad_of};
use crate::transforms::vmap::Output;
use crate::tree::{Path, Role, Tree};
use covector_kernels::Dtype;
use smallvec::smallvec;

/// The basis of the space of arrays like `x`: shape `(size, …x.shape)`.
fn basis(x: &Array) -> Result<Array> {
    let mut shape: Shape = smallvec![x.size()];
    shape.extend_from_slice(x.shape());
    ops::reshape_to(&ops::try_eye(x.size(), x.size(), 0, x.dtype())?, &shape)
}

/// A function that gives the value of `f` and its Jacobian by reverse mode, one pullback for each element of
/// the output, vectorised. Best for few outputs and many inputs.
///
/// Each leaf of the Jacobian has the output's axes in front of the leaf's own.
///
/// # Errors
/// The returned function fails when an operation has no derivative, or `f` fails.
pub fn value_and_jac<P: Tree, R: Output<Tree = Array>>(
    f: impl Fn(&P) -> R,
) -> impl Fn(&P) -> Result<(Array, P)> {
    move |at: &P| value_and_jac_of("value_and_jac", &f, at)
}

/// [`value_and_jac`] at one point, for the transform `op`.
fn value_and_jac_of<P: Tree, R: Output<Tree = Array>>(
    op: &'static str,
    f: &impl Fn(&P) -> R,
    at: &P,
) -> Result<(Array, P)> {
    let Ran { argument, traced, out: value } = run(op, f, at)?;
    let rows = vmap_flat(&[basis(&value)?], &[Some(0)], |ct| traced.pullback(ct))?;
    let axes = vec![Some(0); rows.len()];
    let rows = rows.at_axes(&axes)?;
    let blocks: Vec<Array> = rows
        .iter()
        .zip(argument.trained())
        .map(|(rows, x)| ops::reshape_to(rows, &block(&value, &x)))
        .collect::<Result<_>>()?;
    let jacobian = argument.fill(at, &blocks, |x| Ok(ops::zeros(&block(&value, x), x.dtype())))?;
    Ok((value, jacobian))
}

/// The shape of the part of a Jacobian that belongs to one leaf.
fn block(out: &Array, x: &Array) -> Shape {
    out.shape().iter().chain(x.shape()).copied().collect()
}

/// A function that gives the Jacobian of `f` by reverse mode; see [`value_and_jac`].
///
/// ```
/// use covector_core::{Array, transforms::jacrev};
/// let x = Array::new([1.0f64, 2.0]);
/// let j = jacrev(|x: &Array| x * x)(&x).unwrap();
/// assert_eq!(j.to_vec::<f64>(), [2.0, 0.0, 0.0, 4.0]);
/// ```
pub fn jacrev<P: Tree, R: Output<Tree = Array>>(f: impl Fn(&P) -> R) -> impl Fn(&P) -> Result<P> {
    move |at: &P| Ok(value_and_jac_of("jacrev", &f, at)?.1)
}

/// A function that gives the Jacobian of `f` by forward mode, one pushforward for each element of the input,
/// vectorised. Best for few inputs and many outputs; the result is that of [`jacrev`].
///
/// # Errors
/// The returned function fails as that of [`value_and_jac`] does.
pub fn jacfwd<P: Tree, R: Output<Tree = Array>>(f: impl Fn(&P) -> R) -> impl Fn(&P) -> Result<P> {
    move |at: &P| jacfwd_of("jacfwd", &f, at)
}

/// [`jacfwd`] at one point, for the transform `op`.
fn jacfwd_of<P: Tree, R: Output<Tree = Array>>(op: &'static str, f: &impl Fn(&P) -> R, at: &P) -> Result<P> {
    let Ran { argument, traced, out } = run(op, f, at)?;
    let leaves = argument.trained();
    let blocks: Vec<Array> = (0..leaves.len())
        .map(|here| {
            let columns = vmap_flat(&[basis(&leaves[here])?], &[Some(0)], |t| {
                let tangents: Vec<Option<Array>> =
                    (0..leaves.len()).map(|k| (k == here).then(|| t[0].clone())).collect();
                traced.pushforward_some(&tangents)
            })?;
            // The input's element is axis 0: it goes behind the output's axes and takes the input's shape.
            let columns = columns.at_axes(&[Some(-1)])?.remove(0);
            ops::reshape_to(&columns, &block(&out, &leaves[here]))
        })
        .collect::<Result<_>>()?;
    argument.fill(at, &blocks, |x| Ok(ops::zeros(&block(&out, x), x.dtype())))
}

/// A function that gives the Hessian of a scalar `f` of one array, forward over reverse: shape
/// `(…x.shape, …x.shape)`.
///
/// # Errors
/// The returned function fails as [`grad`](crate::transforms::grad) does.
pub fn hessian<L: Loss>(f: impl Fn(&Array) -> L) -> impl Fn(&Array) -> Result<Array> {
    move |at: &Array| jacfwd_of("hessian", &|x: &Array| Ok(value_and_grad_of("hessian", &f, x)?.1), at)
}

/// The product of the Hessian of a scalar `f` at `at` with `v`, forward over reverse: a few times the cost of a
/// gradient, and never the Hessian itself.
///
/// # Errors
/// As [`grad`](crate::transforms::grad), and when `v` does not have the shapes and types of `at`.
pub fn hvp<P: Tree, L: Loss>(f: impl Fn(&P) -> L, at: &P, v: &P) -> Result<P> {
    let v = v.leaves();
    check_like("hvp", "vector", "argument", &v, &at.leaves())?;
    let gradient = |p: &P| Ok(value_and_grad_of("hvp", &f, p)?.1);
    let argument = Argument::new("hvp", at)?;
    let traced = vjp_flat(&argument.trained(), |xs| {
        Ok(argument.trained_of(gradient(&argument.with_trained(at, xs)?)?.leaves()))
    })?;
    check_reads("hvp", &traced)?;
    argument.derivatives(at, &traced.pushforward(&argument.trained_of(v))?)
}

/// The value of `f` at `at`, and its linear map there: the function from a tangent of the argument to the
/// tangent of the output. `f` runs once.
///
/// # Errors
/// When a trained leaf is not floating point, when `f` fails, and when `f` reads a value of the argument and returns
/// what does not depend on it. The map fails when its argument does not have the shapes and types of `at`.
pub fn linearize<P: Tree, R: Output, F: FnOnce(&P) -> R>(
    f: F,
    at: &P,
) -> Result<(R::Tree, impl Fn(&P) -> Result<R::Tree> + use<P, R, F>)> {
    let Ran { argument, traced, out } = run("linearize", f, at)?;
    let value = out.try_map(&mut |x| Ok(x.clone()))?;
    Ok((value, move |t: &P| {
        let t = t.leaves();
        check_like("linearize", "tangent", "primal", &t, argument.leaves())?;
        out.with_any_leaves(&traced.pushforward(&argument.trained_of(t))?)
    }))
}

/// Compares reverse and forward mode of a scalar `f` with central differences along random directions; for
/// `float64` arguments, as smaller types have too few digits.
///
/// # Errors
/// [`Error::Value`] with both numbers when they differ by more than `tolerance`, relative to their size; otherwise as
/// [`grad`](crate::transforms::grad), and when a trained leaf is not `float64`.
pub fn check_grads<P: Tree, L: Loss>(f: impl Fn(&P) -> L, at: &P, tolerance: f64) -> Result<()> {
    let argument = Argument::new("check_grads", at)?;
    let wrong = |(path, x): &(Path, Array)| path.role() == Role::Trained && x.dtype() != Dtype::F64;
    if let Some((path, x)) = at.paths().into_iter().find(wrong) {
        return Err(Error::dtype(
            "check_grads",
            format!("the argument{path} is {}; convert it to float64", x.dtype()),
        ));
    }
    let leaves = argument.trained();
    let value = |xs: &[Array]| -> Result<Array> { Ok(f(&argument.with_trained(at, xs)?).split()?.0) };
    let g = argument.trained_of(value_and_grad_of("check_grads", &f, at)?.1.leaves());
    for seed in 0..3u64 {
        // Directions need not be random in distribution, only to touch every element: cosines of incommensurable
        // multiples do.
        let t: Vec<Array> = leaves
            .iter()
            .map(|x| {
                let n = ops::iota_of(x.shape(), Dtype::F64)?;
                Ok(ops::cos(&(n * (1.3 + seed as f64) + (0.7 + seed as f64))))
            })
            .collect::<Result<_>>()?;
        let dot = g.iter().zip(&t).map(|(g, t)| (g * t).sum().try_item::<f64>()).sum::<Result<f64>>()?;
        let (_, forward) = jvp_flat(&leaves, &t, |xs| Ok(vec![value(xs)?]))?;
        let forward = forward[0].try_item::<f64>()?;
        let h = 1e-6;
        let moved = |s: f64| {
            let xs: Vec<Array> = leaves.iter().zip(&t).map(|(x, t)| x + t * s).collect();
            value(&xs)?.try_item::<f64>()
        };
        let slope = (moved(h)? - moved(-h)?) / (2.0 * h);
        for (mode, found) in [("reverse", dot), ("forward", forward)] {
            if (found - slope).abs() > tolerance * (1.0 + found.abs().max(slope.abs())) || !found.is_finite()
            {
                return Err(Error::value(
                    "check_grads",
                    format!(
                        "{mode} mode gives a slope of {found} along a direction where central differences give {slope}"
                    ),
                ));
            }
        }
    }
    Ok(())
}
