//! The transforms: functions from graph to graph.
//!
//! A transform runs a function on tracers and walks the resulting graph (the module `ad`). The functions of `flat` take
//! and return lists of arrays, as the Python binding needs them. The typed functions wrap them for closures over
//! [`Tree`](crate::tree::Tree)s.

mod argument;
mod checkpoint;
mod compile;
mod custom;
mod flat;
mod grad;
mod jacobian;
mod subgraph;
mod vmap;

#[doc(hidden)]
pub use argument::lost_read_message;
pub use checkpoint::checkpoint;
pub use compile::{Compiled, compile, compile_flat};
pub use custom::{CustomFunction, JvpRule, VjpRule, VmapRule, depends};
pub use flat::{Randomness, Tracer, jvp_flat, vjp_flat, vmap_flat, vmap_flat_with};
pub use grad::{Loss, check_loss, grad, jvp, value_and_grad, vjp};
pub use jacobian::{
    GradCheck, check_grads, check_grads_flat, hessian, hvp, jacfwd, jacfwd_flat, jacrev, jacrev_flat,
    linearize, value_and_jac,
};
pub use vmap::{Axes, Output, Vmap, vmap, vmap_axes, vmap_with};
