//! Whole Jacobians and Hessians, their products with vectors, linear maps, and a check of gradients.

use crate::array::Array;
use crate::error::{Error, Result};
use crate::ops;
use crate::shape::Shape;
use crate::transforms::flat::{Tracer, vjp_flat, vmap_flat};
use crate::transforms::grad::{Loss, grad};
use crate::transforms::vmap::Output;
use crate::tree::Tree;
use covector_kernels::Dtype;
use smallvec::smallvec;

/// The basis of the space of arrays like `x`: shape `(size, …x.shape)`.
fn basis(x: &Array) -> Result<Array> {
    let mut shape: Shape = smallvec![x.size()];
    shape.extend_from_slice(x.shape());
    ops::reshape_to(&ops::try_eye(x.size(), x.size(), 0, x.dtype())?, &shape)
}

/// `f` of a tree, traced once: its output and the trace.
fn traced<P: Tree>(f: impl FnOnce(&P) -> Result<Array>, at: &P) -> Result<Tracer> {
    vjp_flat(&at.leaves(), |xs| Ok(vec![f(&at.with_leaves(xs)?)?]))
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
    move |at: &P| {
        let traced = traced(|p| f(p).into_tree(), at)?;
        let value = traced.outputs()[0].clone();
        let rows = vmap_flat(&[basis(&value)?], &[Some(0)], |ct| traced.pullback(ct))?;
        let axes = vec![Some(0); rows.len()];
        let mut rows = rows.at_axes(&axes)?.into_iter();
        let jacobian = at.try_map(&mut |x| {
            let mut shape = Shape::from_slice(value.shape());
            shape.extend_from_slice(x.shape());
            ops::reshape_to(&rows.next().expect("one for each leaf"), &shape)
        })?;
        Ok((value, jacobian))
    }
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
    let both = value_and_jac(f);
    move |at: &P| Ok(both(at)?.1)
}

/// A function that gives the Jacobian of `f` by forward mode, one pushforward for each element of the input,
/// vectorised. Best for few inputs and many outputs; the result is that of [`jacrev`].
///
/// # Errors
/// The returned function fails when an operation has no derivative, or `f` fails.
pub fn jacfwd<P: Tree, R: Output<Tree = Array>>(f: impl Fn(&P) -> R) -> impl Fn(&P) -> Result<P> {
    move |at: &P| {
        let traced = traced(|p| f(p).into_tree(), at)?;
        let out = Shape::from_slice(traced.outputs()[0].shape());
        let leaves = at.leaves();
        let mut place = 0;
        at.try_map(&mut |x| {
            let here = place;
            place += 1;
            let columns = vmap_flat(&[basis(x)?], &[Some(0)], |t| {
                let tangents: Vec<Option<Array>> =
                    (0..leaves.len()).map(|k| (k == here).then(|| t[0].clone())).collect();
                traced.pushforward_some(&tangents)
            })?;
            // The input's element is axis 0: it goes behind the output's axes and takes the input's shape.
            let columns = columns.at_axes(&[Some(-1)])?.remove(0);
            let mut shape = out.clone();
            shape.extend_from_slice(x.shape());
            ops::reshape_to(&columns, &shape)
        })
    }
}

/// A function that gives the Hessian of a scalar `f` of one array, forward over reverse: shape
/// `(…x.shape, …x.shape)`.
///
/// # Errors
/// The returned function fails as [`grad`] does.
pub fn hessian<L: Loss>(f: impl Fn(&Array) -> L) -> impl Fn(&Array) -> Result<Array> {
    jacfwd(grad(f))
}

/// The product of the Hessian of a scalar `f` at `at` with `v`, forward over reverse: a few times the cost of a
/// gradient, and never the Hessian itself.
///
/// # Errors
/// As [`grad`], and when `v` does not have the shapes and types of `at`.
pub fn hvp<P: Tree, L: Loss>(f: impl Fn(&P) -> L, at: &P, v: &P) -> Result<P> {
    let leaves = at.leaves();
    let (_, tangents) = crate::transforms::flat::jvp_flat(&leaves, &v.leaves(), |xs| {
        Ok(grad(&f)(&at.with_leaves(xs)?)?.leaves())
    })?;
    at.with_leaves(&tangents)
}

/// The value of `f` at `at`, and its linear map there: the function from a tangent of the argument to the
/// tangent of the output. `f` runs once.
///
/// # Errors
/// When `f` fails. The map fails when its argument does not have the shapes and types of `at`.
pub fn linearize<P: Tree, R: Output, F: FnOnce(&P) -> R>(
    f: F,
    at: &P,
) -> Result<(R::Tree, impl Fn(&P) -> Result<R::Tree> + use<P, R, F>)> {
    let mut out = None;
    let traced = vjp_flat(&at.leaves(), |xs| {
        let tree = f(&at.with_leaves(xs)?).into_tree()?;
        let leaves = tree.leaves();
        out = Some(tree);
        Ok(leaves)
    })?;
    let out = out.expect("f ran");
    let value = out.try_map(&mut |x| Ok(x.clone()))?;
    Ok((value, move |t: &P| out.with_leaves(&traced.pushforward(&t.leaves())?)))
}

/// Compares reverse and forward mode of a scalar `f` with central differences along random directions; for
/// `float64` arguments, as smaller types have too few digits.
///
/// # Errors
/// [`Error::Value`] with both numbers when they differ by more than `tolerance`, relative to their size.
pub fn check_grads<P: Tree, L: Loss>(f: impl Fn(&P) -> L, at: &P, tolerance: f64) -> Result<()> {
    if let Some((path, x)) = at.paths().into_iter().find(|(_, x)| x.dtype() != Dtype::F64) {
        return Err(Error::dtype(
            "check_grads",
            format!("the argument{path} is {}; convert it to float64", x.dtype()),
        ));
    }
    let leaves = at.leaves();
    let value = |xs: &[Array]| -> Result<Array> { Ok(f(&at.with_leaves(xs)?).split()?.0) };
    let g = grad(&f)(at)?.leaves();
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
        let (_, forward) = crate::transforms::flat::jvp_flat(&leaves, &t, |xs| Ok(vec![value(xs)?]))?;
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
