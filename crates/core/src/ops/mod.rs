//! The public operations: free functions and methods, each in a form that panics at the caller's line and a
//! `try_` form that returns a [`Result`](crate::Result).
//!
//! Operations check and normalise their arguments, convert element types, and apply primitives or other
//! operations. Derivative rules are written in these functions too, which is why they differentiate to any
//! order.

pub mod block;

mod arith;
mod composite;
mod conv;
mod create;
mod einsum;
mod fast;
mod index;
mod layout;
mod linalg;
mod operators;
mod reduce;
mod select;
mod shape;

pub use crate::prim::binary::*;
pub use crate::prim::unary::*;
pub use block::spec;

pub use arith::*;
pub use composite::*;
pub use conv::*;
pub use create::*;
pub use einsum::*;
pub use fast::*;
pub use index::*;
pub use layout::*;
pub use linalg::*;
pub use reduce::*;
pub use select::*;
pub use shape::*;

/// Visits the operations that are not rows of primitives.
pub(crate) fn visit(visitor: &mut impl spec::Visitor) {
    arith::visit(visitor);
    composite::visit(visitor);
    conv::visit(visitor);
    create::visit(visitor);
    einsum::visit(visitor);
    fast::visit(visitor);
    index::visit(visitor);
    layout::visit(visitor);
    linalg::visit(visitor);
    reduce::visit(visitor);
    select::visit(visitor);
    shape::visit(visitor);
}
