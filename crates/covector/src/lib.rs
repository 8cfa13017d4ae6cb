//! Arrays and composable function transforms: `value_and_grad` over typed parameter trees.
//!
//! A model's parameters are a struct of your own. A loss is a function of them that borrows its data. The gradient is
//! the same struct.
//!
//! ```
//! use covector::prelude::*;
//!
//! #[derive(Tree, Clone)]
//! struct Params {
//!     w: Array,
//!     b: Array,
//! }
//!
//! impl Params {
//!     fn predict(&self, x: &Array) -> Array {
//!         x.matmul(&self.w) + &self.b
//!     }
//! }
//!
//! # fn main() -> covector::Result<()> {
//! let x = Array::new([[1.0f32, 2.0], [3.0, -4.0], [-5.0, 6.0], [0.5, 0.5]]);
//! let y = Array::new([3.0f32, -1.0, 1.0, 1.0]); // the sum of each row
//! let mut params = Params { w: Array::new([0.0f32, 0.0]), b: Array::scalar(0.5f32) };
//!
//! // A loss borrows its data. The gradient is a `Params`, too.
//! let loss = |p: &Params| (p.predict(&x) - &y).square().mean();
//! let (value, grads) = value_and_grad(loss)(&params)?;
//! assert_eq!(value.item::<f32>(), 2.25);
//! assert_eq!(grads.w.shape(), params.w.shape());
//!
//! // The function may return more beside the loss; it is returned, too, and not differentiated.
//! let with_predictions = |p: &Params| {
//!     let predictions = p.predict(&x);
//!     ((&predictions - &y).square().mean(), predictions)
//! };
//! let ((_, predictions), _) = value_and_grad(with_predictions)(&params)?;
//! assert_eq!(predictions.to_vec::<f32>(), [0.5; 4]);
//!
//! // The gradient function is a function like any other: differentiate it again, …
//! let cube = |x: &Array| x * x * x;
//! let second = grad(grad(cube))(&Array::scalar(2.0f32))?;
//! assert_eq!(second.item::<f32>(), 12.0);
//!
//! // … run it over a batch, here for the gradient of every single example, …
//! let example_grad = |(x, y): &(Array, Array)| grad(|p: &Params| (p.predict(x) - y).square())(&params);
//! let of_each = vmap(example_grad)(&(x.clone(), y.clone()))?;
//! assert_eq!(of_each.w.shape(), [4, 2]);
//!
//! // … or push a direction through it: a Hessian-vector product, without the Hessian.
//! let (_, curvature) = jvp(grad(loss), &params, &grads)?;
//! assert_eq!(curvature.w.shape(), [2]);
//!
//! // Training is a loop that replaces parameters and optimizer state. Nothing is changed in place.
//! let optimizer = optim::AdamW { weight_decay: 0.0, ..optim::AdamW::new(0.05) };
//! let mut state = optimizer.init(&params);
//! for _ in 0..300 {
//!     let (_, grads) = value_and_grad(loss)(&params)?;
//!     (params, state) = optimizer.update(&params, &grads, &state)?;
//! }
//! assert!(loss(&params).item::<f32>() < 1e-4);
//! assert!((params.w.to_vec::<f32>()[0] - 1.0).abs() < 0.01);
//! # Ok(())
//! # }
//! ```
//!
//! # Modules
//! - [`Array`]: lazy, immutable, cheap to clone. Operations are its methods and the functions of [`ops`]. On an error,
//!   the plain form of an operation panics at the caller's line, and its `try_` form returns a [`Result`].
//! - [`transforms`]: [`value_and_grad`], [`grad`], [`vjp`], [`jvp`], [`vmap`],
//!   [`hessian`], [`hvp`] and more. They compose to any order.
//! - [`Tree`](derive@Tree): structures of arrays, such as the parameters of a model. [`Kept`] marks arrays that are saved
//!   with the parameters but not trained.
//! - [`nn`]: activations, losses, initialisers, layers. [`optim`]: optimizers and learning-rate schedules.
//! - [`random`]: explicit keys, or a seeded state of each thread.

pub use covector_core::{
    Array, C64, Complex, Dtype, Element, Error, Result, async_eval, bf16, eval, f16, is_tracing, num_threads,
    set_num_threads,
};
pub use covector_core::{buffer, dtype, ops, primitive, profile, random, shape, transforms, tree};
pub use covector_core::{graph_dot, graph_dot_named, graph_text, plan_text};

/// The derive macro and the trait it implements share a name, as `Clone`'s do.
pub use covector_core::Tree;
pub use covector_core::tree::Kept;
pub use covector_derive::Tree;

pub use covector_core::transforms::{
    check_grads, checkpoint, grad, hessian, hvp, jacfwd, jacrev, jvp, linearize, value_and_grad,
    value_and_jac, vjp, vmap, vmap_axes,
};

pub use covector_nn as nn;
pub use covector_nn::optim;

/// The items that most programs need: `use covector::prelude::*;`.
pub mod prelude {
    pub use crate::nn::{self, Layer};
    pub use crate::optim::{self, Optimizer};
    pub use crate::{Array, Dtype, Kept, Tree};
    pub use crate::{
        checkpoint, grad, hessian, hvp, jacfwd, jacrev, jvp, value_and_grad, vjp, vmap, vmap_axes,
    };
    pub use crate::{ops, random};
}

/// The Rust examples of the README run as tests.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

/// The type of a field with `#[tree(skip)]` must be comparable, or `compile` would not notice a change of its value.
///
/// ```
/// # use covector::prelude::*;
/// #[derive(Tree, Clone)]
/// struct S {
///     x: Array,
///     #[tree(skip)]
///     function: std::sync::Arc<dyn Fn(f64) -> f64 + Send + Sync>,
///     #[tree(ignore)]
///     log: std::sync::Arc<std::sync::Mutex<String>>,
/// }
/// ```
///
/// ```compile_fail,E0277
/// # use covector::prelude::*;
/// #[derive(Clone)]
/// struct Config(f64);
/// #[derive(Tree, Clone)]
/// struct S {
///     x: Array,
///     #[tree(skip)]
///     config: Config,
/// }
/// ```
///
/// ```compile_fail,E0277
/// # use covector::prelude::*;
/// #[derive(Tree, Clone)]
/// struct S {
///     x: Array,
///     #[tree(skip)]
///     config: std::sync::Arc<std::sync::Mutex<f64>>,
/// }
/// ```
///
/// ```compile_fail,E0277
/// # use covector::prelude::*;
/// #[derive(Tree, Clone)]
/// struct S {
///     x: Array,
///     #[tree(skip)]
///     config: std::rc::Rc<std::cell::Cell<usize>>,
/// }
/// ```
#[cfg(doctest)]
struct StaticFields;
