//! `covector._covector.nn`: the functions of `covector-nn` with MLX's names, argument names and defaults.
//!
//! The Python package's `nn` consists of these functions and of containers.

use crate::array::PyArray;
use crate::convert::{Arr, Value};
use crate::dtype::DtypeArg;
use crate::errors::OrRaise;
use crate::ops_fast::MaskArg;
use covector_core::Array;
use covector_nn::losses::{BinaryCrossEntropy, CrossEntropy, Reduction};
use covector_nn::{attention, functional, init, losses, positions, recurrent};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// :func:`leaky_relu` whose slope is an array that broadcasts with ``x``.
#[pyfunction]
fn prelu(x: Value, alpha: Value) -> PyResult<PyArray> {
    let (x, alpha) = crate::convert::pair(x.0, alpha.0)?;
    functional::try_prelu(&x, &alpha).or_raise().map(PyArray::new)
}

/// The affine map ``x @ weight.T + bias`` of the last axis.
#[pyfunction]
#[pyo3(signature = (x, weight, bias=None))]
fn linear(x: Arr, weight: Arr, bias: Option<Arr>) -> PyResult<PyArray> {
    functional::try_linear(&x, &weight, bias.as_deref()).or_raise().map(PyArray::new)
}

/// Rows of a table.
#[pyfunction]
fn embedding(x: Arr, weight: Arr) -> PyResult<PyArray> {
    functional::try_embedding(&x, &weight).or_raise().map(PyArray::new)
}

/// Long short-term memory: the hidden states and the cells of all steps of ``x``, of shape ``(…, steps, features)``.
#[pyfunction]
fn lstm(
    x: Arr,
    wx: Arr,
    wh: Arr,
    bias: Option<Arr>,
    hidden: Option<Arr>,
    cell: Option<Arr>,
) -> PyResult<(PyArray, PyArray)> {
    let state = [hidden.as_deref(), cell.as_deref()];
    let (hidden, cell) = recurrent::try_lstm(&x, &wx, &wh, bias.as_deref(), state).or_raise()?;
    Ok((PyArray::new(hidden), PyArray::new(cell)))
}

/// A gated recurrent unit: the hidden states of all steps of ``x``, of shape ``(…, steps, features)``.
#[pyfunction]
fn gru(
    x: Arr,
    wx: Arr,
    wh: Arr,
    bias: Option<Arr>,
    state_bias: Option<Arr>,
    hidden: Option<Arr>,
) -> PyResult<PyArray> {
    let (bias, state_bias) = (bias.as_deref(), state_bias.as_deref());
    recurrent::try_gru(&x, &wx, &wh, bias, state_bias, hidden.as_deref()).or_raise().map(PyArray::new)
}

/// An error of the library, or an exception that a Python function raised.
struct Raised(PyErr);

impl From<covector_core::Error> for Raised {
    fn from(error: covector_core::Error) -> Self {
        match Err::<(), _>(error).or_raise() {
            Err(error) => Self(error),
            Ok(()) => unreachable!("an error stays one"),
        }
    }
}

/// Elman's recurrent network: the hidden states of all steps of ``x``, of shape ``(…, steps, features)``.
#[pyfunction]
fn rnn(
    x: Arr,
    wx: Arr,
    wh: Arr,
    bias: Option<Arr>,
    hidden: Option<Arr>,
    nonlinearity: Bound<'_, PyAny>,
) -> PyResult<PyArray> {
    let apply = |x: &Array| -> Result<Array, Raised> {
        let out = nonlinearity.call1((PyArray::new(x.clone()),)).map_err(Raised)?;
        out.extract::<Arr>().map(|x| x.0).map_err(Raised)
    };
    recurrent::try_rnn(&x, &wx, &wh, bias.as_deref(), hidden.as_deref(), apply)
        .map(PyArray::new)
        .map_err(|error| error.0)
}

/// Attention of ``queries`` to ``keys`` and ``values``, of shape ``(batch, positions, features)``, in several heads.
#[pyfunction]
#[pyo3(signature = (queries, keys, values, num_heads, mask=None))]
fn multi_head_attention(
    queries: Arr,
    keys: Arr,
    values: Arr,
    num_heads: usize,
    mask: Option<MaskArg>,
) -> PyResult<PyArray> {
    attention::try_multi_head_attention(&queries, &keys, &values, num_heads, MaskArg::of(mask.as_ref()))
        .or_raise()
        .map(PyArray::new)
}

/// The frequencies of sinusoidal positions, from the highest to the lowest.
#[pyfunction]
fn sinusoidal_frequencies(dims: isize, min_freq: f64, max_freq: f64, full_turns: bool) -> PyResult<PyArray> {
    let dims = usize::try_from(dims).unwrap_or(0);
    positions::try_sinusoidal_frequencies(dims, min_freq, max_freq, full_turns).or_raise().map(PyArray::new)
}

/// Sines and cosines of each position times each frequency, in a new last axis.
#[pyfunction]
fn sinusoidal_positions(x: Value, frequencies: Arr, scale: f64, cos_first: bool) -> PyResult<PyArray> {
    positions::try_sinusoidal_positions(&x.0.alone()?, &frequencies, scale, cos_first)
        .or_raise()
        .map(PyArray::new)
}

/// The rate at which the bias of each head falls with the distance, of shape ``(heads, 1, 1)``.
#[pyfunction]
fn alibi_slopes(num_heads: usize, dtype: DtypeArg) -> PyResult<PyArray> {
    positions::try_alibi_slopes(num_heads, dtype.0).or_raise().map(PyArray::new)
}

/// Biases that fall with the distance of query and key, of shape ``(1, heads, queries - offset, keys)``.
#[pyfunction]
fn alibi(
    num_queries: usize,
    num_keys: usize,
    num_heads: usize,
    offset: usize,
    dtype: DtypeArg,
) -> PyResult<PyArray> {
    positions::try_alibi(num_queries, num_keys, num_heads, offset, dtype.0).or_raise().map(PyArray::new)
}

/// Sets each element to 0 with probability ``p``, and divides the others by ``1 − p``.
#[pyfunction]
#[pyo3(signature = (x, p, key=None))]
fn dropout(x: Arr, p: f64, key: Option<Arr>) -> PyResult<PyArray> {
    functional::try_dropout(&x, p, key.as_deref()).or_raise().map(PyArray::new)
}

/// The argument `reduction=`.
struct Reduce(Reduction);

impl FromPyObject<'_, '_> for Reduce {
    type Error = PyErr;
    fn extract(obj: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        let name = obj.extract::<&str>().map_err(|_| {
            PyValueError::new_err(format!(
                "[reduction] must be one of 'none', 'mean' and 'sum', not {}",
                crate::convert::describe(&obj.to_owned())
            ))
        })?;
        Reduction::named(name).or_raise().map(Self)
    }
}

const NONE: Reduce = Reduce(Reduction::None);
const MEAN: Reduce = Reduce(Reduction::Mean);

/// ``log Σ e^logits − logits[target]`` over the classes.
///
/// Args:
///     logits (array): The scores before softmax.
///     targets (array): Class indices, of the shape of ``logits`` without ``axis``, or probabilities of all
///         classes, of its shape.
///     weights (array, optional): A factor for each example.
///     axis (int): The axis of the classes.
///     label_smoothing (float): The share of the target's probability that is spread evenly over all classes.
///     reduction (str): ``'none'``, ``'mean'`` or ``'sum'``.
#[pyfunction]
#[pyo3(
    signature = (logits, targets, weights=None, axis=-1, label_smoothing=0.0, reduction=NONE),
    text_signature = "(logits, targets, weights=None, axis=-1, label_smoothing=0.0, reduction='none')"
)]
fn cross_entropy(
    logits: Arr,
    targets: Arr,
    weights: Option<Arr>,
    axis: isize,
    label_smoothing: f64,
    reduction: Reduce,
) -> PyResult<PyArray> {
    let options = CrossEntropy { weights: weights.as_deref(), axis, label_smoothing, reduction: reduction.0 };
    losses::try_cross_entropy_with(&logits, &targets, &options).or_raise().map(PyArray::new)
}

/// ``log(1 + eˣ) − x · target`` for logits ``x``; for probabilities ``−target · log x − (1 − target) · log(1 − x)``.
///
/// Args:
///     inputs (array): Logits or probabilities.
///     targets (array): Numbers from 0 to 1, of the same shape.
///     weights (array, optional): A factor for each element.
///     with_logits (bool): Whether the inputs are logits.
///     reduction (str): ``'none'``, ``'mean'`` or ``'sum'``.
#[pyfunction]
#[pyo3(
    signature = (inputs, targets, weights=None, with_logits=true, reduction=MEAN),
    text_signature = "(inputs, targets, weights=None, with_logits=True, reduction='mean')"
)]
fn binary_cross_entropy(
    inputs: Arr,
    targets: Arr,
    weights: Option<Arr>,
    with_logits: bool,
    reduction: Reduce,
) -> PyResult<PyArray> {
    let options = BinaryCrossEntropy { weights: weights.as_deref(), with_logits, reduction: reduction.0 };
    losses::try_binary_cross_entropy_with(&inputs, &targets, &options).or_raise().map(PyArray::new)
}

/// One Python function for each loss between arrays with numbers for options.
macro_rules! losses {
    ($(
        $(#[$meta:meta])*
        $name:ident = $function:ident ($($array:ident),*; $($arg:ident: $ty:ty = $default:expr),*; $reduction:ident, $text:literal);
    )*) => {
        $(
            $(#[$meta])*
            #[pyfunction]
            #[pyo3(signature = ($($array,)* $($arg = $default,)* reduction = $reduction), text_signature = $text)]
            #[allow(clippy::too_many_arguments, reason = "one of them has eight, as in MLX")]
            fn $name($($array: Arr,)* $($arg: $ty,)* reduction: Reduce) -> PyResult<PyArray> {
                losses::$function($(&$array,)* $($arg,)* reduction.0).or_raise().map(PyArray::new)
            }
        )*

        fn register_losses(m: &Bound<'_, PyModule>) -> PyResult<()> {
            $(m.add_function(wrap_pyfunction!($name, m)?)?;)*
            Ok(())
        }
    };
}

losses! {
    /// ``(prediction − target)²``.
    mse_loss = try_mse_loss(predictions, targets; ; MEAN, "(predictions, targets, reduction='mean')");
    /// ``|prediction − target|``.
    l1_loss = try_l1_loss(predictions, targets; ; MEAN, "(predictions, targets, reduction='mean')");
    /// The squared distance divided by ``2 · beta`` below ``beta``, the distance less ``beta / 2`` beyond.
    smooth_l1_loss = try_smooth_l1_loss(predictions, targets; beta: f64 = 1.0; MEAN,
        "(predictions, targets, beta=1.0, reduction='mean')");
    /// Half the squared distance up to ``delta``, a straight line beyond.
    huber_loss = try_huber_loss(inputs, targets; delta: f64 = 1.0; NONE,
        "(inputs, targets, delta=1.0, reduction='none')");
    /// ``−x[target]`` for logarithms of probabilities ``x``.
    nll_loss = try_nll_loss(inputs, targets; axis: isize = -1; NONE,
        "(inputs, targets, axis=-1, reduction='none')");
    /// The Kullback–Leibler divergence ``Σ e^target · (target − input)`` of logarithms of probabilities.
    kl_div_loss = try_kl_div_loss(inputs, targets; axis: isize = -1; NONE,
        "(inputs, targets, axis=-1, reduction='none')");
    /// The negative logarithm of a normal density: ``(log v + (target − input)² / v) / 2``.
    gaussian_nll_loss = try_gaussian_nll_loss(inputs, targets, vars; full: bool = false, eps: f64 = 1e-6; MEAN,
        "(inputs, targets, vars, full=False, eps=1e-06, reduction='mean')");
    /// ``max(1 − x · target, 0)`` for targets −1 and 1.
    hinge_loss = try_hinge_loss(inputs, targets; ; NONE, "(inputs, targets, reduction='none')");
    /// ``log cosh(x − target)``.
    log_cosh_loss = try_log_cosh_loss(inputs, targets; ; NONE, "(inputs, targets, reduction='none')");
    /// The cosine of the angle between vectors along an axis.
    cosine_similarity_loss = try_cosine_similarity_loss(x1, x2; axis: isize = 1, eps: f64 = 1e-8; NONE,
        "(x1, x2, axis=1, eps=1e-08, reduction='none')");
    /// ``max(−target · (x1 − x2) + margin, 0)`` for targets −1 and 1.
    margin_ranking_loss = try_margin_ranking_loss(inputs1, inputs2, targets; margin: f64 = 0.0; NONE,
        "(inputs1, inputs2, targets, margin=0.0, reduction='none')");
    /// ``max(‖anchor − positive‖ − ‖anchor − negative‖ + margin, 0)`` in the ``p``-norm along an axis.
    triplet_loss = try_triplet_loss(anchors, positives, negatives;
        axis: isize = -1, p: f64 = 2.0, margin: f64 = 1.0, eps: f64 = 1e-6; NONE,
        "(anchors, positives, negatives, axis=-1, p=2, margin=1.0, eps=1e-06, reduction='none')");
}

/// One Python function for each initialiser.
macro_rules! initialisers {
    ($($name:ident = |$shape:ident, $dtype:ident, $($arg:ident: $ty:ty),*| $body:expr;)*) => {
        $(
            #[pyfunction]
            fn $name($shape: Vec<usize>, $($arg: $ty,)* dtype: DtypeArg) -> PyResult<PyArray> {
                let ($shape, $dtype) = (&$shape[..], dtype.0);
                let made: covector_core::Result<Array> = $body;
                made.or_raise().map(PyArray::new)
            }
        )*

        fn register_initialisers(m: &Bound<'_, PyModule>) -> PyResult<()> {
            $(m.add_function(wrap_pyfunction!($name, m)?)?;)*
            Ok(())
        }
    };
}

initialisers! {
    init_constant = |shape, dtype, value: f64| Ok(init::constant(shape, value, dtype));
    init_identity = |shape, dtype,| init::identity(shape, dtype);
    init_normal = |shape, dtype, mean: f64, std: f64| init::normal(shape, mean, std, dtype, None);
    init_uniform = |shape, dtype, low: f64, high: f64| init::uniform(shape, low, high, dtype, None);
    init_glorot_normal = |shape, dtype, gain: f64| init::glorot_normal(shape, gain, dtype, None);
    init_glorot_uniform = |shape, dtype, gain: f64| init::glorot_uniform(shape, gain, dtype, None);
    init_he_normal = |shape, dtype, mode: Mode, gain: f64| init::he_normal(shape, mode.0, gain, dtype, None);
    init_he_uniform = |shape, dtype, mode: Mode, gain: f64| init::he_uniform(shape, mode.0, gain, dtype, None);
}

/// First values of the weights and biases of a layer in which each unit has ``inputs`` inputs.
#[pyfunction]
fn init_layer_uniform(shape: Vec<usize>, inputs: usize) -> PyResult<PyArray> {
    init::layer_uniform(&shape, inputs).or_raise().map(PyArray::new)
}

/// First values of a table of vectors of length ``dims``.
#[pyfunction]
fn init_layer_normal(shape: Vec<usize>, dims: usize) -> PyResult<PyArray> {
    init::layer_normal(&shape, dims).or_raise().map(PyArray::new)
}

/// The argument `mode=` of the He initialisers.
struct Mode(init::Fan);

impl FromPyObject<'_, '_> for Mode {
    type Error = PyErr;
    fn extract(obj: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        match obj.extract::<&str>() {
            Ok("fan_in") => Ok(Self(init::Fan::In)),
            Ok("fan_out") => Ok(Self(init::Fan::Out)),
            _ => Err(PyValueError::new_err(format!(
                "[init] Invalid mode: {}. Valid modes are: fan_in, fan_out",
                obj.repr()?
            ))),
        }
    }
}

/// Adds the submodule.
pub(crate) fn register(parent: &Bound<'_, PyModule>) -> PyResult<()> {
    let m = PyModule::new(parent.py(), "nn")?;
    crate::activations::register(&m)?;
    register_losses(&m)?;
    register_initialisers(&m)?;
    m.add_function(wrap_pyfunction!(init_layer_uniform, &m)?)?;
    m.add_function(wrap_pyfunction!(init_layer_normal, &m)?)?;
    m.add_function(wrap_pyfunction!(prelu, &m)?)?;
    m.add_function(wrap_pyfunction!(linear, &m)?)?;
    m.add_function(wrap_pyfunction!(embedding, &m)?)?;
    m.add_function(wrap_pyfunction!(lstm, &m)?)?;
    m.add_function(wrap_pyfunction!(gru, &m)?)?;
    m.add_function(wrap_pyfunction!(rnn, &m)?)?;
    m.add_function(wrap_pyfunction!(multi_head_attention, &m)?)?;
    m.add_function(wrap_pyfunction!(sinusoidal_frequencies, &m)?)?;
    m.add_function(wrap_pyfunction!(sinusoidal_positions, &m)?)?;
    m.add_function(wrap_pyfunction!(alibi_slopes, &m)?)?;
    m.add_function(wrap_pyfunction!(alibi, &m)?)?;
    m.add_function(wrap_pyfunction!(dropout, &m)?)?;
    m.add_function(wrap_pyfunction!(cross_entropy, &m)?)?;
    m.add_function(wrap_pyfunction!(binary_cross_entropy, &m)?)?;
    crate::ops_products::register_pooling(&m)?;
    crate::optim::register(&m)?;
    // `add_submodule` would list it among the names of `covector.core`.
    parent.setattr("nn", m)
}
