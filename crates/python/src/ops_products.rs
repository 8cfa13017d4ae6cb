//! Products whose arguments take several forms: contractions, the general convolution, and pooling.

use crate::array::PyArray;
use crate::convert::{Arr, Ints, Stream, describe};
use crate::errors::OrRaise;
use crate::functions::functions;
use covector_core::Array;
use covector_core::ops::{self, ConvOptions};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};

functions! {
    /// The sum of products over pairs of axes: the last `axes` of `a` with the first of `b`, or two lists of axes.
    fn tensordot ["tensordot": a, b, /, axes = None] (a: Arr, b: Arr, axes: Option<Bound<'py, PyAny>>) -> PyArray {
        let (left, right) = pairs(&a, axes.as_ref())?;
        wrap(ops::try_tensordot(&a, &b, &left, &right))
    }

    /// The sum of products that the subscripts describe: a letter names an axis of each operand, and letters that are
    /// not in the output are summed over.
    ///
    /// `"ij,jk->ik"` is the matrix product, `"ii->i"` the diagonal. `...` stands for further axes. Without `->` the
    /// output has the ellipsis and then, in alphabetical order, the letters that stand once. Extents of 1 stretch.
    fn einsum ["einsum": subscripts, *operands] (subscripts: &str, operands: Bound<'py, PyTuple>) -> PyArray {
        wrap(ops::try_einsum(subscripts, &all_arrays("einsum", &operands)?))
    }

    /// The order in which `einsum` contracts operands like these, as a list of their positions in each step, and a
    /// report of what it saves. Operands that were contracted leave the list, and the result goes to its end.
    fn einsum_path <py> ["einsum_path": subscripts, *operands] (subscripts: &str, operands: Bound<'py, PyTuple>) -> Bound<'py, PyTuple> {
        let path = ops::try_einsum_path(subscripts, &all_arrays("einsum_path", &operands)?).or_raise()?;
        let steps = path.contractions.iter().map(|step| PyTuple::new(py, step)).collect::<PyResult<Vec<_>>>()?;
        PyTuple::new(py, [PyList::new(py, steps)?.into_any(), path.to_string().into_pyobject(py)?.into_any()])
    }
}

/// The operands of a function that takes any number of them.
fn all_arrays(op: &str, operands: &Bound<'_, PyTuple>) -> PyResult<Vec<Array>> {
    let one = |(i, x): (usize, Bound<'_, PyAny>)| {
        x.extract::<Arr>().map(|x| x.0).map_err(|_| {
            PyTypeError::new_err(format!(
                "[{op}] operand {i} is {}, not an array; pass arrays one by one, and make them with mx.array",
                crate::convert::describe(&x)
            ))
        })
    };
    operands.iter().enumerate().map(one).collect()
}

/// The axes `tensordot` pairs.
fn pairs(a: &Array, axes: Option<&Bound<'_, PyAny>>) -> PyResult<(Vec<isize>, Vec<isize>)> {
    let count = match axes {
        None => 2,
        Some(axes) => match axes.extract::<isize>() {
            Ok(count) => count,
            Err(_) => {
                let lists: Vec<Ints> = axes.extract().map_err(|_| {
                    PyTypeError::new_err(format!(
                        "[tensordot] axes must be an int or two lists of ints, not {}",
                        crate::convert::describe(axes)
                    ))
                })?;
                let [left, right] = &lists[..] else {
                    return Err(PyValueError::new_err(format!(
                        "[tensordot] axes holds {} lists; give one for each array",
                        lists.len()
                    )));
                };
                return Ok((left.values.to_vec(), right.values.to_vec()));
            }
        },
    };
    if count < 0 || count as usize > a.ndim() {
        return Err(PyValueError::new_err(format!(
            "[tensordot] {count} axes cannot be paired: the first array has {}",
            a.ndim()
        )));
    }
    Ok((((a.ndim() as isize - count)..a.ndim() as isize).collect(), (0..count).collect()))
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
#[pyfunction]
#[pyo3(
    signature = (input, weight, /, stride = one(), padding = Padding { low: vec![0], high: vec![0] }, kernel_dilation = one(), input_dilation = one(), groups = 1, flip = false, *, stream = None),
    // The defaults are no literals, and Python would be shown dots for them.
    text_signature = "(input, weight, /, stride=1, padding=0, kernel_dilation=1, input_dilation=1, groups=1, flip=False, *, stream=None)"
)]
#[allow(clippy::too_many_arguments, reason = "MLX has as many")]
fn conv_general(
    input: Arr,
    weight: Arr,
    stride: Ints,
    padding: Padding,
    kernel_dilation: Ints,
    input_dilation: Ints,
    groups: isize,
    flip: bool,
    stream: Option<Stream>,
) -> PyResult<PyArray> {
    let op = "conv_general";
    let _ = stream;
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

/// Adds the general convolution.
pub(crate) fn register_convolution(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(conv_general, m)?)
}

/// Adds the functions that only `covector.nn` uses.
pub(crate) fn register_pooling(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(max_pool, m)?)?;
    m.add_function(wrap_pyfunction!(avg_pool, m)?)
}
