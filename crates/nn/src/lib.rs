//! Layers, losses, initialisers and optimizers.
//!
//! The mathematics is written here once, as plain functions from arrays to arrays. Two thin sets of containers use
//! it: the typed [`layers`] of this crate, whose parameters are their fields, and the modules of the Python
//! package. Activations and optimizers are rows of tables, from which both sets are made. Nothing here knows about
//! gradients: everything is written in public operations, and every transform applies to any order.
//!
//! ```
//! use covector_core::{Array, transforms::value_and_grad, random};
//! use covector_nn::{Layer, Linear, Relu, losses::mse_loss, losses::Reduction, optim::{AdamW, Optimizer}};
//!
//! random::seed(0);
//! let mut net = (Linear::new(2, 16), Relu, Linear::new(16, 1));
//! let x = Array::new([[0.0f32, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]);
//! let y = Array::new([[0.0f32], [1.0], [1.0], [0.0]]);
//!
//! let optimizer = AdamW::new(1e-2);
//! let mut state = optimizer.init(&net);
//! let step = value_and_grad(|net: &(Linear, Relu, Linear)| mse_loss(&net.forward(&x), &y, Reduction::Mean));
//! let before = step(&net)?.0;
//! for _ in 0..50 {
//!     let (_, grads) = step(&net)?;
//!     (net, state) = optimizer.update(&net, &grads, &state)?;
//! }
//! assert!(step(&net)?.0.item::<f32>() < before.item::<f32>());
//! # Ok::<(), covector_core::Error>(())
//! ```

/// Defines a function twice: the `try_` form as written, and one that panics at the caller's line. `once(x, y)` behind
/// the arguments: computed in the type of their sums, and the result rounded once; see [`covector_core::wide`].
macro_rules! function {
    ($(
        $(#[$meta:meta])*
        pub fn $name:ident / $try_name:ident($x:ident: &Array $(, $arg:ident: $ty:ty)* $(,)?)
        $(once($($wide:ident),+))? $body:block
    )*) => {$(
        $(#[$meta])*
        ///
        /// # Errors
        /// When shapes, axes, element types or values do not fit.
        pub fn $try_name($x: &Array $(, $arg: $ty)*) -> Result<Array> {
            crate::named(stringify!($name), || function!(@body $($($wide),+;)? $body))
        }

        $(#[$meta])*
        ///
        /// # Panics
        /// When shapes, axes, element types or values do not fit.
        #[track_caller]
        pub fn $name($x: &Array $(, $arg: $ty)*) -> Array {
            crate::expect($try_name($x $(, $arg)*))
        }
    )*};
    (@body $($wide:ident),+; $body:block) => {
        covector_core::wide::rounded_once([$($wide),+], |[$($wide),+]| $body)
    };
    (@body $body:block) => { $body };
}

pub mod activations;
pub mod attention;
pub mod conv;
pub mod functional;
pub mod init;
pub mod layers;
pub mod losses;
pub mod optim;
pub mod positions;
pub mod recurrent;
pub mod settings;

pub use activations::*;
pub use attention::*;
pub use conv::*;
pub use functional::*;
pub use layers::*;
pub use positions::*;
pub use recurrent::*;

/// The result of `function`, with its error in the name `name`.
#[inline]
fn named<T>(
    name: &'static str,
    function: impl FnOnce() -> covector_core::Result<T>,
) -> covector_core::Result<T> {
    function().map_err(|error| error.named(name))
}

/// Turns a `Result` into its value, or panics at the caller's line with the error's text.
#[track_caller]
fn expect<T>(result: covector_core::Result<T>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{error}"),
    }
}
