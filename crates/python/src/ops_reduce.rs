//! Reductions, cumulative operations and sorting, as functions and as methods.

#![allow(
    unsafe_op_in_unsafe_fn,
    reason = "the functions that `#[pymethods]` makes where a macro writes the methods; there is no other unsafe code here"
)]

use crate::array::PyArray;
use crate::convert::{Arr, Ints, Value, axes};
use crate::dtype::DtypeArg;
use crate::errors::OrRaise;
use crate::functions::functions;
use covector_core::{Array, ops};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

type Over = fn(&Array, &[isize], bool) -> covector_core::Result<Array>;
type Along = fn(&Array, isize, bool, bool) -> covector_core::Result<Array>;

fn reduce(f: Over, x: &Array, axis: &Option<Ints>, keepdims: bool) -> PyResult<PyArray> {
    f(x, &axes(x, axis), keepdims).or_raise().map(PyArray::new)
}

fn spread(
    f: fn(&Array, &[isize], bool, usize) -> covector_core::Result<Array>,
    x: &Array,
    axis: &Option<Ints>,
    keepdims: bool,
    ddof: isize,
    correction: Option<isize>,
) -> PyResult<PyArray> {
    let ddof = correction.unwrap_or(ddof);
    let Ok(ddof) = usize::try_from(ddof) else {
        return Err(PyValueError::new_err(format!("[var] ddof is {ddof}; it must not be negative")));
    };
    f(x, &axes(x, axis), keepdims, ddof).or_raise().map(PyArray::new)
}

/// The index of an extreme, along one axis or of the flattened array.
fn extreme(
    f: fn(&Array, isize, bool) -> covector_core::Result<Array>,
    x: &Array,
    axis: Option<isize>,
    keepdims: bool,
) -> PyResult<PyArray> {
    let out = match axis {
        Some(axis) => f(x, axis, keepdims),
        None => flat(x)
            .and_then(|x| f(&x, 0, false))
            .and_then(|out| if keepdims { out.try_reshape(&vec![1; x.ndim()]) } else { Ok(out) }),
    };
    out.or_raise().map(PyArray::new)
}

fn flat(x: &Array) -> covector_core::Result<Array> {
    x.try_reshape(&[-1]).or_else(|_| x.try_reshape(&[x.size() as isize]))
}

/// Something along one axis, or along the flattened array.
fn scan(f: Along, x: &Array, axis: Option<isize>, reverse: bool, inclusive: bool) -> PyResult<PyArray> {
    let out = match axis {
        Some(axis) => f(x, axis, reverse, inclusive),
        None => flat(x).and_then(|x| f(&x, 0, reverse, inclusive)),
    };
    out.or_raise().map(PyArray::new)
}

fn along(
    f: impl Fn(&Array, isize) -> covector_core::Result<Array>,
    x: &Array,
    axis: Option<isize>,
) -> PyResult<PyArray> {
    match axis {
        Some(axis) => f(x, axis),
        None => flat(x).and_then(|x| f(&x, 0)),
    }
    .or_raise()
    .map(PyArray::new)
}

fn in_dtype(x: &Array, dtype: Option<DtypeArg>) -> PyResult<Array> {
    match dtype {
        Some(dtype) => x.try_astype(dtype.0).or_raise(),
        None => Ok(x.clone()),
    }
}

macro_rules! reductions {
    ($($(#[$meta:meta])* $name:ident $python:literal $f:path;)*) => {
        functions! {
            $(
                $(#[$meta])*
                fn $name [$python: a, /, axis = None, keepdims = false] (a: Arr, axis: Option<Ints>, keepdims: bool) -> PyArray {
                    reduce($f, &a, &axis, keepdims)
                }
            )*

            /// The variance over the given axes: the mean squared distance from the mean, the sum divided by
            /// `count - ddof`.
            fn var ["var": a, /, axis = None, keepdims = false, ddof = 0, *, correction = None]
                (a: Arr, axis: Option<Ints>, keepdims: bool, ddof: isize, correction: Option<isize>) -> PyArray
            {
                spread(ops::try_var_axes, &a, &axis, keepdims, ddof, correction)
            }

            /// The standard deviation over the given axes: the root of the variance.
            fn std_ ["std": a, /, axis = None, keepdims = false, ddof = 0, *, correction = None]
                (a: Arr, axis: Option<Ints>, keepdims: bool, ddof: isize, correction: Option<isize>) -> PyArray
            {
                spread(ops::try_std_axes, &a, &axis, keepdims, ddof, correction)
            }

            /// How many elements are not zero.
            fn count_nonzero ["count_nonzero": a, /, *, axis = None, keepdims = false] (a: Arr, axis: Option<Ints>, keepdims: bool) -> PyArray {
                reduce(ops::try_count_nonzero_axes, &a, &axis, keepdims)
            }

            /// The smallest and the largest element over the given axes.
            fn minmax ["minmax": a, /, axis = None, keepdims = false] (a: Arr, axis: Option<Ints>, keepdims: bool) -> (PyArray, PyArray) {
                Ok((reduce(ops::try_min_axes, &a, &axis, keepdims)?, reduce(ops::try_max_axes, &a, &axis, keepdims)?))
            }

            /// `exp(x) / sum(exp(x))` over the given axes, without overflow; with `precise`, half precision is
            /// computed in `float32`.
            fn softmax ["softmax": a, /, axis = None, *, precise = false] (a: Arr, axis: Option<Ints>, precise: bool) -> PyArray {
                let dtype = a.dtype();
                let wide = precise && dtype.is_float() && dtype.size() == 2;
                let x = if wide { a.try_astype(covector_core::Dtype::F32).or_raise()? } else { a.0 };
                let out = ops::try_softmax(&x, &axes(&x, &axis)).or_raise()?;
                Ok(PyArray::new(if wide { out.try_astype(dtype).or_raise()? } else { out }))
            }

            /// The index of the largest element, the first if several tie; of the flattened array without an axis.
            fn argmax ["argmax": a, /, axis = None, keepdims = false] (a: Arr, axis: Option<isize>, keepdims: bool) -> PyArray {
                extreme(ops::try_argmax_axis, &a, axis, keepdims)
            }

            /// The index of the smallest element, the first if several tie; of the flattened array without an axis.
            fn argmin ["argmin": a, /, axis = None, keepdims = false] (a: Arr, axis: Option<isize>, keepdims: bool) -> PyArray {
                extreme(ops::try_argmin_axis, &a, axis, keepdims)
            }

            /// The elements along an axis in ascending order, NaN last; flattened for `axis=None`.
            fn sort ["sort": a, /, axis = Some(-1)] (a: Arr, axis: Option<isize>) -> PyArray {
                along(ops::try_sort, &a, axis)
            }

            /// The `uint32` indices that put an axis in ascending order; flattened for `axis=None`.
            fn argsort ["argsort": a, /, axis = Some(-1)] (a: Arr, axis: Option<isize>) -> PyArray {
                along(ops::try_argsort, &a, axis)
            }

            /// The elements along an axis in an order that puts the `kth` in its sorted place; flattened for `axis=None`.
            fn partition ["partition": a, /, kth, axis = Some(-1)] (a: Arr, kth: isize, axis: Option<isize>) -> PyArray {
                along(|x, axis| ops::try_partition(x, kth, axis), &a, axis)
            }

            /// The `uint32` indices of `partition`.
            fn argpartition ["argpartition": a, /, kth, axis = Some(-1)] (a: Arr, kth: isize, axis: Option<isize>) -> PyArray {
                along(|x, axis| ops::try_argpartition(x, kth, axis), &a, axis)
            }

            /// The `k` largest elements of an axis, in ascending order, NaN counting as the largest; flattened for `axis=None`.
            /// MLX promises no order.
            fn topk ["topk": a, /, k, axis = Some(-1)] (a: Arr, k: isize, axis: Option<isize>) -> PyArray {
                let Ok(k) = usize::try_from(k) else {
                    return Err(PyValueError::new_err(format!("[topk] {k} elements cannot be chosen")));
                };
                along(|x, axis| ops::try_topk(x, k, axis), &a, axis)
            }

            /// The median over the given axes: the middle element, or the mean of the two in the middle.
            fn median ["median": a, /, axis = None, keepdims = false] (a: Arr, axis: Option<Ints>, keepdims: bool) -> PyArray {
                reduce(ops::try_median_axes, &a, &axis, keepdims)
            }

            /// Where values would have to be put into a sorted vector to keep it sorted: in front of equal elements,
            /// or behind them for `side="right"`.
            fn searchsorted ["searchsorted": sorted_sequence, values, /, side = "left"] (sorted_sequence: Arr, values: Value, side: &str) -> PyArray {
                let right = match side {
                    "left" => false,
                    "right" => true,
                    _ => return Err(PyValueError::new_err(format!("[searchsorted] side is {side:?}; it must be 'left' or 'right'"))),
                };
                let values = values.0.beside(sorted_sequence.dtype())?;
                ops::try_searchsorted(&sorted_sequence, &values, right).or_raise().map(PyArray::new)
            }

            /// The differences of neighbours along an axis, `n` times.
            fn diff ["diff": a, /, n = 1, axis = -1] (a: Arr, n: isize, axis: isize) -> PyArray {
                let Ok(n) = usize::try_from(n) else {
                    return Err(PyValueError::new_err(format!("[diff] n is {n}; it must not be negative")));
                };
                ops::try_diff(&a, n, axis).or_raise().map(PyArray::new)
            }

            /// The cumulative sum along an axis; from the end if `reverse`, without the element itself if not
            /// `inclusive`.
            fn cumsum ["cumsum": a, /, axis = None, *, reverse = false, inclusive = true, dtype = None]
                (a: Arr, axis: Option<isize>, reverse: bool, inclusive: bool, dtype: Option<DtypeArg>) -> PyArray
            {
                scan(ops::try_cumsum, &in_dtype(&a, dtype)?, axis, reverse, inclusive)
            }

            /// The cumulative product along an axis.
            fn cumprod ["cumprod": a, /, axis = None, *, reverse = false, inclusive = true, dtype = None]
                (a: Arr, axis: Option<isize>, reverse: bool, inclusive: bool, dtype: Option<DtypeArg>) -> PyArray
            {
                scan(ops::try_cumprod, &in_dtype(&a, dtype)?, axis, reverse, inclusive)
            }

            /// The cumulative maximum along an axis.
            fn cummax ["cummax": a, /, axis = None, *, reverse = false, inclusive = true]
                (a: Arr, axis: Option<isize>, reverse: bool, inclusive: bool) -> PyArray
            {
                scan(ops::try_cummax, &a, axis, reverse, inclusive)
            }

            /// The cumulative minimum along an axis.
            fn cummin ["cummin": a, /, axis = None, *, reverse = false, inclusive = true]
                (a: Arr, axis: Option<isize>, reverse: bool, inclusive: bool) -> PyArray
            {
                scan(ops::try_cummin, &a, axis, reverse, inclusive)
            }

            /// The cumulative `logsumexp` along an axis.
            fn logcumsumexp ["logcumsumexp": a, /, axis = None, *, reverse = false, inclusive = true]
                (a: Arr, axis: Option<isize>, reverse: bool, inclusive: bool) -> PyArray
            {
                scan(ops::try_logcumsumexp, &a, axis, reverse, inclusive)
            }
        }

        #[pymethods]
        impl PyArray {
            $(
                $(#[$meta])*
                #[pyo3(name = $python, signature = (axis = None, keepdims = false, *, stream = None))]
                fn $name(&self, axis: Option<Ints>, keepdims: bool, stream: Option<crate::convert::Stream>) -> PyResult<PyArray> {
                    let _ = stream;
                    reduce($f, &self.get(), &axis, keepdims)
                }
            )*
        }
    };
}

reductions! {
    /// The sum over the given axes. Small integers are counted in 32 bits.
    sum "sum" ops::try_sum_axes;
    /// The product over the given axes. Small integers are counted in 32 bits.
    prod "prod" ops::try_prod_axes;
    /// The largest element over the given axes; NaN if there is one. Elements that tie share the gradient.
    max "max" ops::try_max_axes;
    /// The smallest element over the given axes; NaN if there is one. Elements that tie share the gradient.
    min "min" ops::try_min_axes;
    /// Whether all elements over the given axes are true (not zero).
    all "all" ops::try_all_axes;
    /// Whether any element over the given axes is true (not zero).
    any "any" ops::try_any_axes;
    /// The arithmetic mean over the given axes.
    mean "mean" ops::try_mean_axes;
    /// `log(sum(exp(x)))` over the given axes, without overflow.
    logsumexp "logsumexp" ops::try_logsumexp_axes;
}

macro_rules! scan_methods {
    ($($(#[$meta:meta])* $name:ident $f:path;)*) => {
        #[pymethods]
        impl PyArray {
            $(
                $(#[$meta])*
                #[pyo3(signature = (axis = None, *, reverse = false, inclusive = true, stream = None))]
                fn $name(&self, axis: Option<isize>, reverse: bool, inclusive: bool, stream: Option<crate::convert::Stream>) -> PyResult<PyArray> {
                    let _ = stream;
                    scan($f, &self.get(), axis, reverse, inclusive)
                }
            )*

            /// The variance over the given axes; the sum of squares is divided by `count - ddof`.
            #[pyo3(signature = (axis = None, keepdims = false, ddof = 0, *, correction = None, stream = None))]
            fn var(&self, axis: Option<Ints>, keepdims: bool, ddof: isize, correction: Option<isize>, stream: Option<crate::convert::Stream>) -> PyResult<PyArray> {
                let _ = stream;
                spread(ops::try_var_axes, &self.get(), &axis, keepdims, ddof, correction)
            }

            /// The standard deviation over the given axes: the root of the variance.
            #[pyo3(signature = (axis = None, keepdims = false, ddof = 0, *, correction = None, stream = None))]
            fn std(&self, axis: Option<Ints>, keepdims: bool, ddof: isize, correction: Option<isize>, stream: Option<crate::convert::Stream>) -> PyResult<PyArray> {
                let _ = stream;
                spread(ops::try_std_axes, &self.get(), &axis, keepdims, ddof, correction)
            }

            /// The index of the largest element, the first if several tie; of the flattened array without an axis.
            #[pyo3(signature = (axis = None, keepdims = false, *, stream = None))]
            fn argmax(&self, axis: Option<isize>, keepdims: bool, stream: Option<crate::convert::Stream>) -> PyResult<PyArray> {
                let _ = stream;
                extreme(ops::try_argmax_axis, &self.get(), axis, keepdims)
            }

            /// The index of the smallest element, the first if several tie; of the flattened array without an axis.
            #[pyo3(signature = (axis = None, keepdims = false, *, stream = None))]
            fn argmin(&self, axis: Option<isize>, keepdims: bool, stream: Option<crate::convert::Stream>) -> PyResult<PyArray> {
                let _ = stream;
                extreme(ops::try_argmin_axis, &self.get(), axis, keepdims)
            }
        }
    };
}

scan_methods! {
    /// The cumulative sum along an axis.
    cumsum ops::try_cumsum;
    /// The cumulative product along an axis.
    cumprod ops::try_cumprod;
    /// The cumulative maximum along an axis.
    cummax ops::try_cummax;
    /// The cumulative minimum along an axis.
    cummin ops::try_cummin;
    /// The cumulative `logsumexp` along an axis.
    logcumsumexp ops::try_logcumsumexp;
}
