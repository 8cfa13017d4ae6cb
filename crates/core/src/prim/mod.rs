//! The primitives: what the graph is made of.
//!
//! Elementwise operations are rows of a table (`unary`, `binary`); the rest is a struct per file section, with
//! its shape rule, derivative, batching rule and kernel call side by side.

pub(crate) mod basic;
pub(crate) mod binary;
pub(crate) mod complex;
pub(crate) mod conv;
pub(crate) mod elementwise;
pub(crate) mod index;
pub(crate) mod matmul;
pub(crate) mod pooling;
pub(crate) mod random;
pub(crate) mod range;
pub(crate) mod reduce;
pub(crate) mod scan;
pub(crate) mod shape;
pub(crate) mod sort;
pub(crate) mod unary;
pub(crate) mod view;

pub use elementwise::{Row, RowFn, Takes};

/// All elementwise rows: what the Python binding and the catalogue are derived from.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    unary::ROWS.iter().chain(binary::ROWS)
}

/// Visits the operations that are rows.
pub(crate) fn visit(visitor: &mut impl crate::ops::spec::Visitor) {
    unary::visit(visitor);
    binary::visit(visitor);
}
