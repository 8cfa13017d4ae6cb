//! Convolutions and pooling.

use crate::array::PyArray;
use crate::convert::{Arr, Ints, Stream, describe};
use crate::errors::OrRaise;
use covector_core::ops::{self, ConvOptions};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;

/// A number for each of `N` spatial axes, from one or from `N` of them.
fn each<const N: usize>(op: &str, name: &str, values: &Ints) -> PyResult<[isize; N]> {
    match &values.values[..] {
        &[all] if values.single => Ok([all; N]),
        several => several.try_into().map_err(|_| {
            PyTypeError::new_err(format!("[{op}] {name} must be an int or {N} of them, not {several:?}"))
        }),
    }
}

/// Numbers that may not be negative; the core says why zero may not be either.
fn counts<const N: usize>(op: &str, name: &str, values: &Ints) -> PyResult<[usize; N]> {
    let values = each::<N>(op, name, values)?;
    if values.iter().any(|&v| v < 0) {
        return Err(negative(op, name, &values));
    }
    Ok(values.map(isize::unsigned_abs))
}

fn count(op: &str, name: &str, value: isize) -> PyResult<usize> {
    usize::try_from(value).map_err(|_| negative(op, name, &[value]))
}

fn negative(op: &str, name: &str, values: &[isize]) -> PyErr {
    PyValueError::new_err(format!("[{op}] {name} {values:?} must be positive"))
}

fn some(op: &str, name: &str, values: &Ints) -> PyResult<Vec<usize>> {
    values
        .values
        .iter()
        .map(|&v| usize::try_from(v))
        .collect::<Result<_, _>>()
        .map_err(|_| negative(op, name, &values.values))
}

fn wrap(result: covector_core::Result<covector_core::Array>) -> PyResult<PyArray> {
    result.or_raise().map(PyArray::new)
}

/// The argument `padding=` of the general convolution: for both sides, or for each.
struct Padding {
    low: Vec<isize>,
    high: Vec<isize>,
}

impl FromPyObject<'_, '_> for Padding {
    type Error = PyErr;
    fn extract(obj: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        if let Ok(same) = obj.extract::<Ints>() {
            return Ok(Self { low: same.values.to_vec(), high: same.values.to_vec() });
        }
        let sides = obj
            .try_iter()
            .and_then(|sides| sides.map(|side| side?.extract::<Ints>()).collect::<PyResult<Vec<_>>>())
            .unwrap_or_default();
        let Ok([low, high]) = <[Ints; 2]>::try_from(sides) else {
            return Err(PyTypeError::new_err(format!(
                "[conv_general] padding must be an int, a sequence of ints, or a pair of sequences for the sides in \
                 front and behind, not {}",
                describe(&obj.to_owned())
            )));
        };
        Ok(Self { low: low.values.to_vec(), high: high.values.to_vec() })
    }
}

fn one() -> Ints {
    Ints { values: smallvec::smallvec![1], single: true }
}

fn zero() -> Ints {
    Ints { values: smallvec::smallvec![0], single: true }
}

/// Defines Python functions like `functions!`, with a written signature: the defaults here are no literals, and Python
/// would be shown dots for them.
macro_rules! convolutions {
    ($(
        $(#[$meta:meta])*
        fn $name:ident [$text:literal: $($signature:tt)*] ($($arg:ident: $ty:ty),* $(,)?) $body:block
    )*) => {
        $(
            $(#[$meta])*
            #[pyfunction]
            #[pyo3(signature = ($($signature)*, stream = None), text_signature = $text)]
            #[allow(clippy::too_many_arguments, reason = "MLX has as many")]
            fn $name($($arg: $ty,)* stream: Option<Stream>) -> PyResult<PyArray> {
                let _ = stream;
                $body
            }
        )*

        /// Adds the functions to the module.
        pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
            $(m.add_function(wrap_pyfunction!($name, m)?)?;)*
            Ok(())
        }
    };
}

convolutions! {
    /// The 1-D convolution of ``input``, ``(N, L, C_in)``, with ``weight``, ``(C_out, K, C_in / groups)``.
    ///
    /// The kernel is not flipped, as usual in machine learning: it is a cross-correlation.
    ///
    /// Args:
    ///     input (array): The signals; channels are the last axis.
    ///     weight (array): The kernels.
    ///     stride (int): Steps of the kernel over the input.
    ///     padding (int): Zeros added on both sides.
    ///     dilation (int): Steps from one element of the kernel to the next.
    ///     groups (int): Groups of channels that do not see each other.
    fn conv1d ["(input, weight, /, stride=1, padding=0, dilation=1, groups=1, *, stream=None)": input, weight, /, stride = 1, padding = 0, dilation = 1, groups = 1, *] (input: Arr, weight: Arr, stride: isize, padding: isize, dilation: isize, groups: isize) {
        let op = "conv1d";
        wrap(ops::try_conv1d(&input, &weight, count(op, "stride", stride)?, padding, count(op, "dilation", dilation)?, count(op, "groups", groups)?))
    }

    /// The 2-D convolution of ``input``, ``(N, H, W, C_in)``, with ``weight``, ``(C_out, KH, KW, C_in / groups)``.
    ///
    /// The kernel is not flipped, as usual in machine learning: it is a cross-correlation.
    ///
    /// Args:
    ///     input (array): The images; channels are the last axis.
    ///     weight (array): The kernels.
    ///     stride (int or tuple of two): Steps of the kernel over the input.
    ///     padding (int or tuple of two): Zeros added on both sides.
    ///     dilation (int or tuple of two): Steps from one element of the kernel to the next.
    ///     groups (int): Groups of channels that do not see each other.
    fn conv2d ["(input, weight, /, stride=1, padding=0, dilation=1, groups=1, *, stream=None)": input, weight, /, stride = one(), padding = zero(), dilation = one(), groups = 1, *] (input: Arr, weight: Arr, stride: Ints, padding: Ints, dilation: Ints, groups: isize) {
        let op = "conv2d";
        let (stride, dilation) = (counts(op, "stride", &stride)?, counts(op, "dilation", &dilation)?);
        wrap(ops::try_conv2d(&input, &weight, stride, each(op, "padding", &padding)?, dilation, count(op, "groups", groups)?))
    }

    /// The 3-D convolution of ``input``, ``(N, D, H, W, C_in)``, with ``weight``,
    /// ``(C_out, KD, KH, KW, C_in / groups)``. See :func:`conv2d`.
    fn conv3d ["(input, weight, /, stride=1, padding=0, dilation=1, groups=1, *, stream=None)": input, weight, /, stride = one(), padding = zero(), dilation = one(), groups = 1, *] (input: Arr, weight: Arr, stride: Ints, padding: Ints, dilation: Ints, groups: isize) {
        let op = "conv3d";
        let (stride, dilation) = (counts(op, "stride", &stride)?, counts(op, "dilation", &dilation)?);
        wrap(ops::try_conv3d(&input, &weight, stride, each(op, "padding", &padding)?, dilation, count(op, "groups", groups)?))
    }

    /// The transposed 1-D convolution: what the gradient of a strided :func:`conv1d` does, with ``weight`` of shape
    /// ``(C_out, K, C_in / groups)``.
    ///
    /// Args:
    ///     input (array): The signals, ``(N, L, C_in)``.
    ///     weight (array): The kernels.
    ///     stride (int): Steps of the output from one element of the input to the next.
    ///     padding (int): Elements cut off the output on both sides.
    ///     dilation (int): Steps from one element of the kernel to the next.
    ///     output_padding (int): Elements added behind the output.
    ///     groups (int): Groups of channels that do not see each other.
    fn conv_transpose1d ["(input, weight, /, stride=1, padding=0, dilation=1, output_padding=0, groups=1, *, stream=None)": input, weight, /, stride = 1, padding = 0, dilation = 1, output_padding = 0, groups = 1, *] (input: Arr, weight: Arr, stride: isize, padding: isize, dilation: isize, output_padding: isize, groups: isize) {
        let op = "conv_transpose1d";
        wrap(ops::try_conv_transpose1d(&input, &weight, count(op, "stride", stride)?, padding, count(op, "dilation", dilation)?, output_padding, count(op, "groups", groups)?))
    }

    /// The transposed 2-D convolution of ``input``, ``(N, H, W, C_in)``. See :func:`conv_transpose1d`.
    fn conv_transpose2d ["(input, weight, /, stride=1, padding=0, dilation=1, output_padding=0, groups=1, *, stream=None)": input, weight, /, stride = one(), padding = zero(), dilation = one(), output_padding = zero(), groups = 1, *] (input: Arr, weight: Arr, stride: Ints, padding: Ints, dilation: Ints, output_padding: Ints, groups: isize) {
        let op = "conv_transpose2d";
        let (stride, dilation) = (counts(op, "stride", &stride)?, counts(op, "dilation", &dilation)?);
        let (padding, behind) = (each(op, "padding", &padding)?, each(op, "output_padding", &output_padding)?);
        wrap(ops::try_conv_transpose2d(&input, &weight, stride, padding, dilation, behind, count(op, "groups", groups)?))
    }

    /// The transposed 3-D convolution of ``input``, ``(N, D, H, W, C_in)``. See :func:`conv_transpose1d`.
    fn conv_transpose3d ["(input, weight, /, stride=1, padding=0, dilation=1, output_padding=0, groups=1, *, stream=None)": input, weight, /, stride = one(), padding = zero(), dilation = one(), output_padding = zero(), groups = 1, *] (input: Arr, weight: Arr, stride: Ints, padding: Ints, dilation: Ints, output_padding: Ints, groups: isize) {
        let op = "conv_transpose3d";
        let (stride, dilation) = (counts(op, "stride", &stride)?, counts(op, "dilation", &dilation)?);
        let (padding, behind) = (each(op, "padding", &padding)?, each(op, "output_padding", &output_padding)?);
        wrap(ops::try_conv_transpose3d(&input, &weight, stride, padding, dilation, behind, count(op, "groups", groups)?))
    }

    /// The convolution over one to three spatial axes with all options.
    ///
    /// Args:
    ///     input (array): The input, ``(N, ..., C_in)``.
    ///     weight (array): The kernels, ``(C_out, ..., C_in / groups)``.
    ///     stride (int or list): Steps of the kernel over the input.
    ///     padding (int, list, or pair of lists): Zeros added on both sides, or in front and behind; negative numbers
    ///         cut off.
    ///     kernel_dilation (int or list): Steps from one element of the kernel to the next.
    ///     input_dilation (int or list): Steps from one element of the input to the next, with zeros between.
    ///     groups (int): Groups of channels that do not see each other.
    ///     flip (bool): Whether the kernel is read backwards, as the mathematical convolution does.
    fn conv_general ["(input, weight, /, stride=1, padding=0, kernel_dilation=1, input_dilation=1, groups=1, flip=False, *, stream=None)": input, weight, /, stride = one(), padding = Padding { low: vec![0], high: vec![0] }, kernel_dilation = one(), input_dilation = one(), groups = 1, flip = false, *] (input: Arr, weight: Arr, stride: Ints, padding: Padding, kernel_dilation: Ints, input_dilation: Ints, groups: isize, flip: bool) {
        let op = "conv_general";
        let options = ConvOptions {
            stride: &some(op, "stride", &stride)?,
            padding_low: &padding.low,
            padding_high: &padding.high,
            kernel_dilation: &some(op, "kernel dilation", &kernel_dilation)?,
            input_dilation: &some(op, "input dilation", &input_dilation)?,
            groups: count(op, "groups", groups)?,
            flip,
        };
        wrap(ops::try_conv_general(&input, &weight, &options))
    }
}

/// The greatest element of each window along the spatial axes, of which there are as many as extents of the window.
#[pyfunction]
fn max_pool(x: Arr, window: Vec<usize>, stride: Vec<usize>, padding: Vec<usize>) -> PyResult<PyArray> {
    wrap(ops::try_max_pool(&x, &window, &stride, &padding))
}

/// The mean of each window along the spatial axes; places outside count as zeros.
#[pyfunction]
fn avg_pool(x: Arr, window: Vec<usize>, stride: Vec<usize>, padding: Vec<usize>) -> PyResult<PyArray> {
    wrap(ops::try_avg_pool(&x, &window, &stride, &padding))
}

/// Adds the functions that only `covector.nn` uses.
pub(crate) fn register_pooling(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(max_pool, m)?)?;
    m.add_function(wrap_pyfunction!(avg_pool, m)?)
}
