//! The public operations: free functions and methods, each in a form that panics at the caller's line and a
//! `try_` form that returns a [`Result`](crate::Result).
//!
//! One file or folder is one family. It holds the primitives (with shape rule, derivative, batching rule and kernel call) and the
//! public operations, each a [block] or a row of the elementwise tables. Operations check and
//! normalise their arguments, convert element types, and apply primitives or other operations. Derivative rules are written
//! in these functions too, which is why they differentiate to any order.

mod argreduce;
pub(crate) mod basic;
pub mod block;
pub(crate) mod conv;
mod create;
mod einsum;
pub(crate) mod elementwise;
mod fast;
mod index;
mod layout;
pub(crate) mod linalg;
mod operators;
mod pooling;
pub(crate) mod reduce;
mod scan;
pub(crate) mod shape;
mod sort;

pub use argreduce::*;
pub use block::spec;
pub use conv::*;
pub use create::*;
pub use einsum::*;
pub use elementwise::binary::*;
pub use elementwise::choices::*;
pub use elementwise::composite::*;
pub use elementwise::unary::*;
pub use fast::*;
pub use index::*;
pub use layout::*;
pub use linalg::*;
pub use pooling::*;
pub use reduce::*;
pub use scan::*;
pub use shape::*;
pub use sort::*;

/// Visits the operations of all families.
pub(crate) fn visit(visitor: &mut impl spec::Visitor) {
    argreduce::visit(visitor);
    elementwise::visit(visitor);
    conv::visit(visitor);
    create::visit(visitor);
    einsum::visit(visitor);
    fast::visit(visitor);
    index::visit(visitor);
    layout::visit(visitor);
    linalg::visit(visitor);
    pooling::visit(visitor);
    reduce::visit(visitor);
    scan::visit(visitor);
    shape::visit(visitor);
    sort::visit(visitor);
}
