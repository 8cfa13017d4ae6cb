//! `covector.core.fast`: what models are made of, under MLX's names and signatures.

use crate::array::PyArray;
use crate::convert::{Arr, describe};
use crate::errors::OrRaise;
use crate::functions::functions;
use covector_core::ops::{self, Attention, Frequencies, Mask, Offset, Rope};
use covector_core::{Array, Dtype};
use covector_nn::losses::{self, CrossEntropy, Reduction};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;

fn wrap(result: covector_core::Result<Array>) -> PyResult<PyArray> {
    result.or_raise().map(PyArray::new)
}

/// The argument `mask=` of attention.
pub(crate) enum MaskArg {
    Causal,
    Array(Array),
}

impl FromPyObject<'_, '_> for MaskArg {
    type Error = PyErr;
    fn extract(obj: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        match obj.extract::<&str>() {
            Ok("causal") => Ok(Self::Causal),
            Ok(other) => Err(PyValueError::new_err(format!(
                "[scaled_dot_product_attention] the mask {other:?} is not known; pass 'causal' or an array"
            ))),
            Err(_) => Ok(Self::Array(obj.extract::<Arr>()?.0)),
        }
    }
}

impl MaskArg {
    /// The core's form of an optional argument.
    pub(crate) fn of(mask: Option<&Self>) -> Mask<'_> {
        match mask {
            None => Mask::None,
            Some(Self::Causal) => Mask::Causal,
            Some(Self::Array(mask)) => Mask::Array(mask),
        }
    }
}

/// The argument `offset=` of `rope`.
enum OffsetArg {
    All(i64),
    Each(Array),
}

impl FromPyObject<'_, '_> for OffsetArg {
    type Error = PyErr;
    fn extract(obj: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        if let Ok(array) = obj.extract::<Arr>() {
            return Ok(Self::Each(array.0));
        }
        obj.extract::<i64>().map(Self::All).map_err(|_| {
            PyValueError::new_err(format!(
                "[rope] the offset must be an int or an array of ints, not {}; positions are counted",
                describe(&obj.to_owned())
            ))
        })
    }
}

functions! {
    /// Rotary positions: pairs of features turned by angles that grow with the position.
    ///
    /// Args:
    ///     a (array): Of shape `(batch, ..., positions, features)`.
    ///     dims (int): How many features are turned, an even number; the rest stays.
    ///     traditional (bool): Pairs are neighbours; otherwise `dims / 2` apart.
    ///     base (float, optional): Pair `i` turns by `base ** (-2 * i / dims)`. Give this or `freqs`.
    ///     scale (float): What positions are multiplied by.
    ///     offset (int or array): The position of the first row, for all examples or for each.
    ///     freqs (array, optional): Pair `i` turns by `1 / freqs[i]`.
    fn rope ["rope": a, dims, *, traditional, base, scale, offset, freqs = None]
        (a: Arr, dims: isize, traditional: bool, base: Option<f64>, scale: f64, offset: OffsetArg, freqs: Option<Arr>) -> PyArray
    {
        let frequencies = match (base, &freqs) {
            (Some(base), None) => Frequencies::Base(base),
            (None, Some(freqs)) => Frequencies::Periods(freqs),
            (Some(_), Some(_)) => return Err(PyValueError::new_err("[rope] base and freqs were both given; give one of them")),
            (None, None) => return Err(PyValueError::new_err("[rope] neither base nor freqs was given; give one of them")),
        };
        let Ok(dims) = usize::try_from(dims) else {
            return Err(PyValueError::new_err(format!("[rope] dims {dims} must be an even number from 2 on")));
        };
        let offset = match &offset {
            OffsetArg::All(offset) => Offset::All(*offset),
            OffsetArg::Each(offsets) => Offset::Each(offsets),
        };
        wrap(ops::try_rope(&a, &Rope { dims, traditional, frequencies, scale, offset }))
    }

    /// Attention, `softmax(scale * q @ k.T) @ v` for each head, the weights computed in `float32` or wider.
    ///
    /// Args:
    ///     q (array): Queries, of shape `(batch, heads, queries, dims)`.
    ///     k (array): Keys, of shape `(batch, kv_heads, keys, dims)`; `heads / kv_heads` heads in a row share one of them.
    ///     v (array): Values, of shape `(batch, kv_heads, keys, value_dims)`.
    ///     scale (float): Usually `1 / sqrt(dims)`.
    ///     mask (str or array, optional): `"causal"`: a query sees the keys up to its own place, the last query all of
    ///         them. Or an array that broadcasts to `(batch, heads, queries, keys)`: truth values, or numbers that are
    ///         added to the scores.
    ///     sinks (array, optional): For each head the score of one more key that has no value.
    ///     force_fused (bool): Accepted for the sake of programs that pass it; there is one implementation.
    fn scaled_dot_product_attention ["scaled_dot_product_attention": q, k, v, *, scale, mask = None, sinks = None, force_fused = false]
        (q: Arr, k: Arr, v: Arr, scale: f64, mask: Option<MaskArg>, sinks: Option<Arr>, force_fused: bool) -> PyArray
    {
        let _ = force_fused;
        let options = Attention { scale, mask: MaskArg::of(mask.as_ref()), sinks: sinks.as_deref() };
        wrap(ops::try_scaled_dot_product_attention(&q, &k, &v, &options))
    }

    /// `log(sum(exp(logits))) - logits[target]` over the last axis, for class indices, in `float32` or wider.
    fn cross_entropy ["cross_entropy": logits, targets, *] (logits: Arr, targets: Arr) -> PyArray {
        if !logits.dtype().is_float() {
            return Err(PyTypeError::new_err(format!(
                "[cross_entropy] the logits are {}; only real floating-point scores have a loss. Convert them with astype",
                logits.dtype()
            )));
        }
        if !targets.dtype().is_integer() {
            return Err(PyTypeError::new_err(format!(
                "[cross_entropy] the targets are {}; pass class indices", targets.dtype()
            )));
        }
        let wide = if logits.dtype() == Dtype::F64 { logits.0 } else { logits.astype(Dtype::F32) };
        let options = CrossEntropy { reduction: Reduction::None, ..CrossEntropy::default() };
        wrap(losses::try_cross_entropy_with(&wide, &targets, &options))
    }
}

/// The submodule.
pub(crate) fn module(py: Python<'_>) -> PyResult<Bound<'_, PyModule>> {
    let m = PyModule::new(py, "fast")?;
    m.setattr(
        "__doc__",
        "What models are made of, each as one function: normalisation, rotary positions and attention.",
    )?;
    register(&m)?;
    Ok(m)
}
