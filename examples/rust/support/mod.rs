//! What the examples need beside covector: the digits, a progress bar, and pictures of what came out.
//!
//! Nothing here computes with arrays; an example's own file stays about the training.

pub(crate) mod canvas;
pub(crate) mod chart;
pub(crate) mod data;
mod font;
pub(crate) mod gallery;
pub(crate) mod progress;
