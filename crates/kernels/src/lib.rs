//! Numeric kernels over slices and strides: no arrays, no graph, no allocation policy.
//!
//! Every kernel reads [`View`]s (strided memory with a run-time element type) and fills [`Out`]s (row-major memory). The
//! layer above chooses the operations and allocates the results; this crate computes them.
//!
//! - [`program`]: elementwise operations run together, interpreted or compiled; [`rows`]: regions of several stages
//! - [`matmul`](matmul()), [`conv`], [`reduce`](reduce()), [`scan`](scan()), [`sort`](sort()), [`gather`](gather()),
//!   [`scatter`](scatter()): the other kernels
//! - [`math`], [`random`], [`convert`]: scalar functions, random numbers and conversions that the kernels are made of
//! - [`threads`], [`memory`], [`simd`]: threads, memory and instruction sets

mod arange;
mod combine;
pub mod conv;
pub mod convert;
mod dot;
mod dtype;
pub mod half_bits;
mod index;
pub mod math;
pub mod memory;
mod num;
pub mod program;
pub mod random;
mod reduce;
pub mod rows;
mod scan;
mod scratch;
pub mod simd;
mod sort;
mod stream;
mod strided;
pub mod threads;

pub use arange::{Spaced, arange, spaced};
pub use dot::matmul;
pub use dtype::{C64, Dtype, Element};
pub use half::{bf16, f16};
pub use index::{OutOfBounds, Scatter, first_negative, gather, scatter, scatter_along_axis, take_along_axis};
pub use num_complex::Complex;
pub use reduce::{Reduce, arg_reduce, reduce};
pub use scan::{Scan, scan};
pub use simd::{Tile1, Tile2, Tile3};
pub use sort::{argsort, sort};
pub use strided::{Out, View, cast, copy_each, copy_into, fill};
