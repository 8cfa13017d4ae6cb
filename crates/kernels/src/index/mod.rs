//! Indexed reads (`gather`) and indexed writes (`scatter`).

mod gather;
mod scatter;

pub use gather::{OutOfBounds, first_negative, gather, take_along_axis};
pub use scatter::{Scatter, scatter, scatter_along_axis};
