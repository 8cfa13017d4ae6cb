//! Whole Jacobians and Hessians, their products with vectors, linear maps, and a check of gradients.

use crate::array::Array;
use crate::error::{Error, Result};
use crate::ops;
use crate::random;
use crate::shape::Shape;
use crate::transforms::argument::{Argument, check_reads};
use crate::transforms::flat::{Tracer, check_like, vjp_flat, vmap_flat};
use crate::transforms::grad::{Loss, Ran, check_loss, run, value_and_grad_of};
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

/// The shape of the block of a Jacobian that belongs to one output and one input.
fn block(out: &Array, x: &Array) -> Shape {
    out.shape().iter().chain(x.shape()).copied().collect()
}

/// Whether the Jacobian is a complex matrix: all inputs and outputs are complex.
///
/// # Errors
/// When only some are: the derivative is then linear over the real numbers only.
fn is_complex(op: &'static str, traced: &Tracer) -> Result<bool> {
    let mut complex = traced.inputs().iter().chain(traced.outputs()).map(|x| x.dtype().is_complex());
    let first = complex.next().unwrap_or_default();
    if complex.all(|other| other == first) {
        return Ok(first);
    }
    Err(Error::kind(
        op,
        "the function mixes real and complex arrays, so its derivative is not a complex matrix; take real and imaginary \
         parts apart, or use vjp and jvp",
    ))
}

/// The Jacobian of a recorded function by reverse mode: for each output a block for each input, of shape
/// `(…output, …input)`. One pullback for each element of the outputs, vectorised.
///
/// # Errors
/// When the function mixes real and complex arrays, or an operation has no derivative.
pub fn jacrev_flat(op: &'static str, traced: &Tracer) -> Result<Vec<Vec<Array>>> {
    let complex = is_complex(op, traced)?;
    let (inputs, outputs) = (traced.inputs(), traced.outputs());
    let blocks = |(k, out): (usize, &Array)| -> Result<Vec<Array>> {
        if out.size() == 0 {
            return Ok(inputs.iter().map(|x| ops::zeros(&block(out, x), x.dtype())).collect());
        }
        let rows = vmap_flat(&[basis(out)?], &[Some(0)], |ct| {
            let mut cts: Vec<Array> = outputs.iter().map(ops::zeros_like).collect();
            cts[k] = ct[0].clone();
            traced.pullback(&cts)
        })?;
        let rows = rows.at_axes(&vec![Some(0); inputs.len()])?;
        let shaped = |(rows, x): (&Array, &Array)| {
            // The pullback is the product with the conjugate transpose, which gives the conjugate of a row.
            let rows = if complex { ops::try_conjugate(rows)? } else { rows.clone() };
            ops::reshape_to(&rows, &block(out, x))
        };
        rows.iter().zip(inputs).map(shaped).collect()
    };
    outputs.iter().enumerate().map(blocks).collect()
}

/// The Jacobian of a recorded function by forward mode, in the form of [`jacrev_flat`]. One pushforward for each element
/// of the inputs, vectorised.
///
/// # Errors
/// When the function mixes real and complex arrays, or an operation has no derivative.
pub fn jacfwd_flat(op: &'static str, traced: &Tracer) -> Result<Vec<Vec<Array>>> {
    is_complex(op, traced)?;
    let (inputs, outputs) = (traced.inputs(), traced.outputs());
    let mut blocks: Vec<Vec<Array>> = vec![Vec::with_capacity(inputs.len()); outputs.len()];
    for (k, x) in inputs.iter().enumerate() {
        if x.size() == 0 {
            for (blocks, out) in blocks.iter_mut().zip(outputs) {
                blocks.push(ops::zeros(&block(out, x), out.dtype()));
            }
            continue;
        }
        let columns = vmap_flat(&[basis(x)?], &[Some(0)], |t| {
            let mut tangents = vec![None; inputs.len()];
            tangents[k] = Some(t[0].clone());
            traced.pushforward_some(&tangents)
        })?;
        // Axis 0 counts the input's elements: it moves behind the output's axes and gets the input's shape.
        let columns = columns.at_axes(&vec![Some(-1); outputs.len()])?;
        for ((blocks, out), columns) in blocks.iter_mut().zip(outputs).zip(&columns) {
            blocks.push(ops::reshape_to(columns, &block(out, x))?);
        }
    }
    Ok(blocks)
}

/// The value of `f` at one point and its Jacobian, by one of the two modes.
fn jacobian_of<P: Tree, R: Output<Tree = Array>>(
    op: &'static str,
    mode: fn(&'static str, &Tracer) -> Result<Vec<Vec<Array>>>,
    f: &impl Fn(&P) -> R,
    at: &P,
) -> Result<(Array, P)> {
    let Ran { argument, traced, out } = run(op, f, at)?;
    let blocks = mode(op, &traced)?.remove(0);
    let jacobian = argument.fill(at, &blocks, |x| Ok(ops::zeros(&block(&out, x), x.dtype())))?;
    Ok((out, jacobian))
}

/// A function that gives the value of `f` and its Jacobian by reverse mode, one pullback for each element of
/// the output, vectorised. Best for few outputs and many inputs.
///
/// Each leaf of the Jacobian has the output's axes in front of the leaf's own.
///
/// # Errors
/// The returned function fails when an operation has no derivative, when `f` mixes real and complex arrays, or when `f`
/// fails.
pub fn value_and_jac<P: Tree, R: Output<Tree = Array>>(
    f: impl Fn(&P) -> R,
) -> impl Fn(&P) -> Result<(Array, P)> {
    move |at: &P| jacobian_of("value_and_jac", jacrev_flat, &f, at)
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
    move |at: &P| Ok(jacobian_of("jacrev", jacrev_flat, &f, at)?.1)
}

/// A function that gives the Jacobian of `f` by forward mode, one pushforward for each element of the input,
/// vectorised. Best for few inputs and many outputs; the result is that of [`jacrev`].
///
/// # Errors
/// The returned function fails as that of [`value_and_jac`] does.
pub fn jacfwd<P: Tree, R: Output<Tree = Array>>(f: impl Fn(&P) -> R) -> impl Fn(&P) -> Result<P> {
    move |at: &P| Ok(jacobian_of("jacfwd", jacfwd_flat, &f, at)?.1)
}

/// A function that gives the Hessian of a scalar `f` of one array, forward over reverse: shape
/// `(…x.shape, …x.shape)`.
///
/// # Errors
/// The returned function fails as [`grad`](crate::transforms::grad) does.
pub fn hessian<L: Loss>(f: impl Fn(&Array) -> L) -> impl Fn(&Array) -> Result<Array> {
    let gradient = move |x: &Array| Ok(value_and_grad_of("hessian", &f, x)?.1);
    move |at: &Array| Ok(jacobian_of("hessian", jacfwd_flat, &gradient, at)?.1)
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
/// a result that does not depend on it. The map fails when its argument does not have the shapes and types of `at`.
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

/// Slopes of a function along tangents `t`, weighted by cotangents `ct`: the derivatives of both modes, and differences of
/// values.
struct Slopes {
    /// `⟨Jᴴ ct, t⟩`, by reverse mode.
    reverse: f64,
    /// `⟨ct, J t⟩` of each output, by forward mode.
    forward: Vec<f64>,
    /// `⟨ct, (f(x + eps t) − f(x − eps t)) / (2 eps)⟩` of each output.
    difference: Vec<f64>,
    /// `‖Jᴴ ct‖ ‖t‖`, a bound of `reverse`.
    reverse_scale: f64,
    /// `‖ct‖ ‖J t‖` of each output, bounds of `forward`.
    forward_scale: Vec<f64>,
}

impl Slopes {
    fn new(
        traced: &Tracer,
        f: &impl Fn(&[Array]) -> Result<Vec<Array>>,
        at: &[Array],
        ts: &[Array],
        cts: &[Array],
        eps: f64,
    ) -> Result<Self> {
        let (tangents, gradients) = (traced.pushforward(ts)?, traced.pullback(cts)?);
        let moved = |by: f64| f(&at.iter().zip(ts).map(|(x, t)| x + t * by).collect::<Vec<_>>());
        let (ahead, behind) = (moved(eps)?, moved(-eps)?);
        let mut slopes = Self {
            reverse: dot_all(&gradients, ts)?,
            forward: Vec::new(),
            difference: Vec::new(),
            reverse_scale: (dot_all(&gradients, &gradients)? * dot_all(ts, ts)?).sqrt(),
            forward_scale: Vec::new(),
        };
        for (((tangent, ct), ahead), behind) in tangents.iter().zip(cts).zip(&ahead).zip(&behind) {
            slopes.forward.push(dot(ct, tangent)?);
            slopes.forward_scale.push((dot(tangent, tangent)? * dot(ct, ct)?).sqrt());
            slopes.difference.push(if ct.dtype().is_inexact() {
                dot(ct, &((ahead - behind) * (0.5 / eps)))?
            } else {
                0.0
            });
        }
        Ok(slopes)
    }
}

/// The real inner product of two arrays, added up in `float64`.
fn dot(x: &Array, y: &Array) -> Result<f64> {
    let product = ops::try_multiply(&ops::try_conjugate(x)?, y)?;
    ops::try_real(&product)?.astype(Dtype::F64).sum().try_item()
}

/// The real inner product of two lists of arrays.
fn dot_all(xs: &[Array], ys: &[Array]) -> Result<f64> {
    xs.iter().zip(ys).map(|(x, y)| dot(x, y)).sum()
}

/// The options of [`check_grads_flat`]. For `None`, the element types of the arguments decide.
#[derive(Clone, Copy, Debug, Default)]
pub struct GradCheck {
    /// The step of the differences.
    pub eps: Option<f64>,
    /// The absolute tolerance between two slopes.
    pub atol: Option<f64>,
    /// The tolerance relative to their size.
    pub rtol: Option<f64>,
    /// The seed of the random directions.
    pub seed: u64,
}

/// Compares forward mode of a function of arrays with central differences along a random direction, and reverse mode
/// with forward mode for a random covector. `check` sees the function's trace first and may refuse it. Returns a message
/// about the first disagreement, or `None`.
///
/// # Errors
/// When `f` or `check` fails, or an operation has no derivative.
pub fn check_grads_flat(
    at: &[Array],
    f: impl Fn(&[Array]) -> Result<Vec<Array>>,
    check: impl FnOnce(&Tracer) -> Result<()>,
    options: GradCheck,
) -> Result<Option<String>> {
    let traced = vjp_flat(at, &f)?;
    check(&traced)?;
    let fine = at.iter().all(|x| matches!(x.dtype(), Dtype::F64 | Dtype::C64))
        && at.iter().any(|x| x.dtype() == Dtype::F64);
    let eps = options.eps.unwrap_or(if fine { 1e-5 } else { 1e-2 });
    let atol = options.atol.unwrap_or(if fine { 1e-7 } else { 1e-2 });
    let rtol = options.rtol.unwrap_or(if fine { 1e-6 } else { 1e-2 });

    let mut keys = random::split(&random::key(options.seed), 2 * (at.len() + traced.outputs().len()))
        .and_then(|keys| ops::try_unstack(&keys, 0))?
        .into_iter();
    let mut draw = |x: &Array| random::normal(x.shape(), Dtype::F32, 0.0, 1.0, keys.next().as_ref());
    let mut direction = |x: &Array| -> Result<Array> {
        if !x.dtype().is_inexact() {
            return Ok(ops::zeros_like(x));
        }
        let real = draw(x)?.astype(x.dtype());
        if !x.dtype().is_complex() {
            return Ok(real);
        }
        let i = Array::scalar(covector_kernels::C64::new(0.0, 1.0));
        ops::try_add(&real, &ops::try_multiply(&draw(x)?, &i)?.astype(x.dtype()))
    };
    let ts = at.iter().map(&mut direction).collect::<Result<Vec<_>>>()?;
    let cts = traced.outputs().iter().map(&mut direction).collect::<Result<Vec<_>>>()?;
    let slopes = Slopes::new(&traced, &f, at, &ts, &cts, eps)?;

    let compare = |what: String, got: f64, want: f64, scale: f64| {
        let allowed = atol + rtol * scale;
        let near = got == want || (got - want).abs() <= allowed;
        (!near).then(|| {
            format!("{what}: {got:.9e} against {want:.9e}, but they may differ by {allowed:.1e} only")
        })
    };
    for (i, &forward) in slopes.forward.iter().enumerate() {
        let what = format!("output {i}: jvp against the central difference");
        let found = compare(what, forward, slopes.difference[i], slopes.forward_scale[i]);
        if found.is_some() {
            return Ok(found);
        }
    }
    let forward = slopes.forward.iter().sum();
    Ok(compare("vjp against jvp".into(), slopes.reverse, forward, slopes.reverse_scale))
}

/// Compares reverse and forward mode of a scalar `f` with central differences along fixed directions. The arguments must
/// be `float64`: smaller types have too few digits.
///
/// # Errors
/// [`Error::Value`] with both numbers when they differ by more than `tolerance`, relative to their size; otherwise as
/// [`grad`](crate::transforms::grad), and when a trained leaf is not `float64`.
pub fn check_grads<P: Tree, L: Loss>(f: impl Fn(&P) -> L, at: &P, tolerance: f64) -> Result<()> {
    const OP: &str = "check_grads";
    let argument = Argument::new(OP, at)?;
    let wrong = |(path, x): &(Path, Array)| path.role() == Role::Trained && x.dtype() != Dtype::F64;
    if let Some((path, x)) = at.paths().into_iter().find(wrong) {
        return Err(Error::dtype(OP, format!("the argument{path} is {}; convert it to float64", x.dtype())));
    }
    let leaves = argument.trained();
    let value = |xs: &[Array]| -> Result<Vec<Array>> {
        let loss = f(&argument.with_trained(at, xs)?).split()?.0;
        check_loss(OP, &loss)?;
        Ok(vec![loss])
    };
    let traced = vjp_flat(&leaves, value)?;
    check_reads(OP, &traced)?;
    let ct = [ops::ones_like(&traced.outputs()[0])];
    for seed in 0..3u64 {
        // Directions need not be random; they must only change every element. Cosines of incommensurable multiples do.
        let direction = |x: &Array| -> Result<Array> {
            let n = ops::iota_of(x.shape(), Dtype::F64)?;
            Ok(ops::cos(&(n * (1.3 + seed as f64) + (0.7 + seed as f64))))
        };
        let ts: Vec<Array> = leaves.iter().map(direction).collect::<Result<_>>()?;
        let slopes = Slopes::new(&traced, &value, &leaves, &ts, &ct, 1e-6)?;
        let slope = slopes.difference[0];
        for (mode, found) in [("reverse", slopes.reverse), ("forward", slopes.forward[0])] {
            if (found - slope).abs() > tolerance * (1.0 + found.abs().max(slope.abs())) || !found.is_finite()
            {
                return Err(Error::value(
                    OP,
                    format!(
                        "{mode} mode gives a slope of {found} along a direction where central differences give {slope}"
                    ),
                ));
            }
        }
    }
    Ok(())
}
