//! The public operations: free functions and methods, each in a form that panics at the caller's line and a
//! `try_` form that returns a [`Result`](crate::Result).
//!
//! Operations check and normalise their arguments, convert element types, and apply primitives or other
//! operations. Derivative rules are written in these functions too, which is why they differentiate to any
//! order.

/// Defines an operation once: the `try_` function, the panicking function, and both as methods of the first argument.
/// What fails inside, fails in the name of the operation that was called. `once(x, y)` behind the arguments: computed in
/// the type of their sums, and the result rounded once; see [`wide`](crate::wide).
macro_rules! op {
    ($(
        $(#[$meta:meta])*
        pub fn $name:ident / $try_name:ident($x:ident: &Array $(, $arg:ident: $ty:ty)* $(,)?)
        $(once($($wide:ident),+))? $body:block
    )*) => {
        $(
            $(#[$meta])*
            ///
            /// # Errors
            /// When shapes, axes, element types or values do not fit.
            pub fn $try_name($x: &Array $(, $arg: $ty)*) -> Result<Array> {
                crate::error::named(stringify!($name), || op!(@body $($($wide),+;)? $body))
            }

            $(#[$meta])*
            ///
            /// # Panics
            /// When shapes, axes, element types or values do not fit.
            #[track_caller]
            pub fn $name($x: &Array $(, $arg: $ty)*) -> Array {
                crate::error::expect($try_name($x $(, $arg)*))
            }
        )*
        #[allow(clippy::same_name_method, reason = "the methods forward to the functions of the same name")]
        impl Array {$(
            $(#[$meta])*
            ///
            /// # Panics
            /// When shapes, axes, element types or values do not fit.
            #[track_caller]
            pub fn $name(&self $(, $arg: $ty)*) -> Array {
                crate::error::expect($try_name(self $(, $arg)*))
            }

            $(#[$meta])*
            ///
            /// # Errors
            /// When shapes, axes, element types or values do not fit.
            pub fn $try_name(&self $(, $arg: $ty)*) -> Result<Array> {
                $try_name(self $(, $arg)*)
            }
        )*}
    };
    (@body $($wide:ident),+; $body:block) => {
        $crate::wide::rounded_once([$($wide),+], |[$($wide),+]| $body)
    };
    (@body $body:block) => { $body };
}

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
