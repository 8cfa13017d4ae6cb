//! The macro that defines functions of the module: Rust functions with MLX's signature, to which it adds `stream`.

/// Defines Python functions. The brackets after the name hold the name in Python and the signature, without the trailing
/// `stream=None`, which all of them take and ignore. A function that makes Python objects writes `<py>` after its name
/// to get the interpreter. Errors from inside name the function.
macro_rules! functions {
    ($(
        $(#[$meta:meta])*
        fn $name:ident $(<$py:ident>)? [$python:literal: $($signature:tt)*] ($($arg:ident: $ty:ty),* $(,)?) -> $ret:ty $body:block
    )*) => {
        $(
            $(#[$meta])*
            #[allow(clippy::extra_unused_lifetimes, reason = "only functions that handle Python objects name it")]
            #[pyfunction]
            #[pyo3(name = $python, signature = ($($signature)*, stream = None))]
            #[allow(clippy::too_many_arguments, reason = "as many as the Python function has")]
            fn $name<'py>($($py: Python<'py>,)? $($arg: $ty,)* stream: Option<$crate::convert::Stream>) -> PyResult<$ret> {
                let _ = stream;
                let run = || -> PyResult<$ret> { $body };
                run().map_err(|error| $crate::errors::named(error, $python))
            }
        )*

        /// Adds the functions to the module.
        pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
            $(m.add_function(wrap_pyfunction!($name, m)?)?;)*
            Ok(())
        }
    };
}
pub(crate) use functions;
