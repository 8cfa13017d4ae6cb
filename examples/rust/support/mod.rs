//! Support for the examples: the digits, a progress bar, and pictures of results.
//!
//! Code that computes with arrays is in the examples themselves.

pub(crate) mod canvas;
pub(crate) mod chart;
pub(crate) mod data;
mod font;
pub(crate) mod gallery;
pub(crate) mod progress;
