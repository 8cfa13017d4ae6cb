//! Lazy arrays, derivative rules and composable function transforms.
//!
//! A program is a graph; a transform is a function from graph to graph; evaluation runs whatever graph is asked
//! for. [`Array`] is a lazy handle to a node; [`ops`] makes nodes; [`transforms`] runs functions on tracers and
//! builds more graph out of the same ops, which is why every composition works; [`eval()`] computes.

mod ad;
mod array;
pub mod catalog;
pub mod dtype;
mod eval;
pub mod fmt;
mod graph;
#[cfg(feature = "ndarray")]
mod ndarray;
pub mod ops;
mod plan;
pub mod primitive;
pub mod random;
pub mod registry;
mod trace;
pub mod transforms;
pub mod tree;
pub mod wide;

use covector_runtime::error;
pub use covector_runtime::{buffer, profile, shape};

pub use array::{Array, Aval, Inputs};
pub use covector_kernels::threads::{num_threads, set_num_threads};
pub use covector_kernels::{C64, Complex, Dtype, Element, bf16, f16};
pub use covector_runtime::error::{Error, Result};
pub use eval::{async_eval, eval, eval_soon, finish};
#[doc(hidden)]
pub use graph::pending_nodes;
pub use graph::{graph_dot, graph_dot_named, graph_text};
pub use ops::elementwise::{Row, RowFn, Takes, rows};
pub use plan::plan_text;
pub use trace::{Place, is_tracing};
pub use tree::Tree;
