//! Numeric kernels over slices and strides: no arrays, no graph, no allocation policy.
//!
//! Every kernel reads [`View`]s (strided memory with a run-time element type) and fills [`Out`]s (row-major
//! memory). The layer above decides what to run and where results live; this crate decides how.

pub mod arange;
pub mod band;
pub mod block;
pub mod cast;
pub mod conv;
pub mod copy;
mod dtype;
pub mod fused;
pub mod gather;
pub mod half_bits;
pub mod loader;
mod machine;
pub mod map;
pub mod math;
pub mod matmul;
mod num;
pub mod pool;
pub mod random;
pub mod reduce;
pub mod scan;
pub mod scatter;
pub mod simd;
pub mod sort;
mod stream;
#[cfg(target_arch = "x86_64")]
mod transpose;
mod view;
pub mod window;

pub use arange::{Spaced, arange, spaced};
pub use copy::{copy_each, copy_into};
pub use dtype::{C64, Dtype, Element};
pub use gather::{OutOfBounds, first_negative, gather, take_along_axis};
pub use half::{bf16, f16};
pub use map::{cast, fill};
pub use matmul::matmul;
pub use num_complex::Complex;
pub use reduce::{Reduce, arg_reduce, reduce};
pub use scan::{Scan, scan};
pub use scatter::{Scatter, scatter, scatter_along_axis};
pub use simd::{Tile1, Tile2, Tile3};
pub use sort::{argsort, sort};
pub use view::{Out, View};
