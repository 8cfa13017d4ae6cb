//! The one error type. Every message starts with the operation, says what was received and names the remedy.

use std::sync::Arc;

/// What covector's fallible functions return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong. The variant says what kind of mistake it is, the text says which one and what to do.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Shapes that do not fit together, or an impossible extent.
    #[error("[{op}] {message}")]
    Shape {
        /// The operation that refused.
        op: &'static str,
        /// What was received and what to do.
        message: String,
    },
    /// An axis that the array does not have, or one named twice.
    #[error("[{op}] {message}")]
    Axis {
        /// The operation that refused.
        op: &'static str,
        /// What was received and what to do.
        message: String,
    },
    /// An element type that the operation does not take.
    #[error("[{op}] {message}")]
    Dtype {
        /// The operation that refused.
        op: &'static str,
        /// What was received and what to do.
        message: String,
    },
    /// An index outside the array.
    #[error("[{op}] {message}")]
    Index {
        /// The operation that refused.
        op: &'static str,
        /// What was received and what to do.
        message: String,
    },
    /// Any other argument with an unusable value.
    #[error("[{op}] {message}")]
    Value {
        /// The operation that refused.
        op: &'static str,
        /// What was received and what to do.
        message: String,
    },
    /// An argument of an unusable kind (an integer array where a gradient is asked for, say).
    #[error("[{op}] {message}")]
    Type {
        /// The operation that refused.
        op: &'static str,
        /// What was received and what to do.
        message: String,
    },
    /// A value was asked for where there is none: inside `vmap` or `compile`.
    #[error("[{op}] {message}")]
    NoValue {
        /// The operation that refused.
        op: &'static str,
        /// What was received and what to do.
        message: String,
    },
    /// A derivative that does not exist.
    #[error("[{op}] {message}")]
    NotDifferentiable {
        /// The operation without a derivative.
        op: &'static str,
        /// The reason and the way out.
        message: String,
    },
    /// Memory that could not be allocated: for values, or for a kernel to work in.
    #[error("[{op}] {message}")]
    Memory {
        /// The operation that refused.
        op: &'static str,
        /// What was asked for.
        message: String,
    },
    /// An error of the caller's own function, carried through unchanged.
    #[error(transparent)]
    External(Arc<dyn std::error::Error + Send + Sync>),
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident => $variant:ident),* $(,)?) => {
        impl Error {$(
            $(#[$doc])*
            pub fn $name(op: &'static str, message: impl Into<String>) -> Self {
                Error::$variant { op, message: message.into() }
            }
        )*}
    };
}
constructors! {
    /// An [`Error::Shape`].
    shape => Shape,
    /// An [`Error::Axis`].
    axis => Axis,
    /// An [`Error::Dtype`].
    dtype => Dtype,
    /// An [`Error::Index`].
    index => Index,
    /// An [`Error::Value`].
    value => Value,
    /// An [`Error::Type`].
    kind => Type,
    /// An [`Error::NoValue`].
    no_value => NoValue,
    /// An [`Error::NotDifferentiable`].
    not_differentiable => NotDifferentiable,
    /// An [`Error::Memory`].
    memory => Memory,
}

impl Error {
    /// The same error in the name of another operation: of the one that was called, where another one, which it is made
    /// of, has failed.
    #[must_use]
    pub fn named(mut self, name: &'static str) -> Self {
        match &mut self {
            Error::Shape { op, .. }
            | Error::Axis { op, .. }
            | Error::Dtype { op, .. }
            | Error::Index { op, .. }
            | Error::Value { op, .. }
            | Error::Type { op, .. }
            | Error::NoValue { op, .. }
            | Error::NotDifferentiable { op, .. }
            | Error::Memory { op, .. } => *op = name,
            Error::External(_) => {}
        }
        self
    }

    /// Wraps an error of the caller's own so that it passes through a transform unchanged.
    pub fn external(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Error::External(Arc::new(error))
    }
}

/// The error of an evaluation that needs the value of an abstract argument.
pub fn no_value() -> Error {
    Error::no_value(
        "eval",
        "an argument of a function under vmap or compile has no single value while the function is traced. \
         Inside such a function use where() or maximum() in place of Python or Rust control flow on \
         values, and call item(), eval() or printing outside of it",
    )
}

/// What `operation` gives, which is the Rust function `function`. Its error has the name of the operation: `sum` for
/// `sum_axes`.
#[inline]
pub fn named<T>(function: &'static str, operation: impl FnOnce() -> Result<T>) -> Result<T> {
    #[cold]
    fn rename(function: &'static str, error: Error) -> Error {
        error.named(match function {
            "argmax_axis" => "argmax",
            "argmin_axis" => "argmin",
            "split_at" => "split",
            "squeeze_all" => "squeeze",
            name => name.strip_suffix("_axes").unwrap_or(name).trim_end_matches('_'),
        })
    }
    operation().map_err(|error| rename(function, error))
}

/// Turns a `Result` into its value, or panics at the caller's line with the error's text.
#[track_caller]
pub fn expect<T>(result: Result<T>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{error}"),
    }
}
