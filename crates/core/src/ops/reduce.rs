//! Reductions, cumulative operations and sorting.

use super::block::op;
use super::block::sample::{Entry, distinct, entry, real};
use crate::array::Array;
use crate::error::{Error, Result};
use crate::ops;
use crate::ops::spec::Axes;
use crate::prim::reduce::{ArgReduce, Reduce};
use crate::prim::scan::Scan;
use crate::prim::shape::Dims;
use crate::prim::sort::Sort;
use crate::shape::{Shape, ShapeText, normalize_axes, normalize_axis, reduced_shape};
use crate::wide;
use covector_kernels::{Dtype, Reduce as Kind, Scan as ScanKind};
use smallvec::{SmallVec, smallvec};

/// A reduction whose axes stay with extent 1.
pub(crate) fn reduce_keeping(kind: Kind, x: &Array, axes: Dims, dtype: Dtype) -> Result<Array> {
    reduce_over(kind, x, axes, true, dtype)
}

/// A reduction whose axes may go.
pub(crate) fn reduce_over(kind: Kind, x: &Array, axes: Dims, keep: bool, dtype: Dtype) -> Result<Array> {
    if axes.is_empty() {
        return Ok(ops::to_dtype(x, dtype));
    }
    Array::apply(Reduce { kind, axes, keep, dtype }, smallvec![x.clone()])
}

fn reduce(
    op: &'static str,
    kind: Kind,
    x: &Array,
    axes: &[isize],
    keepdims: bool,
    dtype: Dtype,
) -> Result<Array> {
    reduce_over(kind, x, normalize_axes(op, axes, x.ndim())?, keepdims, dtype)
}

/// The element type of a sum of `count` elements: small integers count in 32 bits while no sum of so many can pass them,
/// then in 64.
fn sum_dtype(dtype: Dtype, count: usize) -> Dtype {
    let (most, narrow, wide) = match dtype {
        Dtype::Bool => (1, Dtype::I32, Dtype::I64),
        Dtype::I8 => (1 << 7, Dtype::I32, Dtype::I64),
        Dtype::I16 => (1 << 15, Dtype::I32, Dtype::I64),
        Dtype::U8 => (u32::from(u8::MAX), Dtype::U32, Dtype::U64),
        Dtype::U16 => (u32::from(u16::MAX), Dtype::U32, Dtype::U64),
        other => return other,
    };
    let limit = if narrow == Dtype::I32 { i32::MAX as u32 } else { u32::MAX };
    if count > (limit / most) as usize { wide } else { narrow }
}

/// Refuses an axis with more elements than `uint32` indices number.
pub(crate) fn check_numbered(op: &'static str, count: usize) -> Result<()> {
    if count as u64 > 1 << 32 {
        return Err(Error::value(
            op,
            format!("an axis of {count} elements has indices beyond uint32; split it first"),
        ));
    }
    Ok(())
}

/// The elements in row-major order, in one axis.
pub(crate) fn flat(x: &Array) -> Result<Array> {
    ops::reshape_to(x, &[x.size()])
}

/// `f` along an axis, or of the flattened array without one.
pub(crate) fn along(
    x: &Array,
    axis: Option<isize>,
    f: impl FnOnce(&Array, isize) -> Result<Array>,
) -> Result<Array> {
    match axis {
        Some(axis) => f(x, axis),
        None => f(&flat(x)?, 0),
    }
}

/// The index of an extreme along an axis, or in the flattened array without one.
fn extreme(
    x: &Array,
    axis: Option<isize>,
    keepdims: bool,
    f: fn(&Array, isize, bool) -> Result<Array>,
) -> Result<Array> {
    let index = along(x, axis, |x, k| f(x, k, keepdims && axis.is_some()))?;
    match axis {
        None if keepdims => ops::reshape_to(&index, &Shape::from_elem(1, x.ndim())),
        _ => Ok(index),
    }
}

/// The array in another element type, if one is given.
pub(crate) fn in_dtype(x: &Array, dtype: Option<Dtype>) -> Array {
    dtype.map_or_else(|| x.clone(), |dtype| ops::to_dtype(x, dtype))
}

/// All the axes of an array, as reductions without axes mean.
fn every_axis(x: &Array) -> SmallVec<[isize; 4]> {
    let mut axes = SmallVec::new();
    (0..x.ndim() as isize).for_each(|k| axes.push(k));
    axes
}

/// The cotangent of something that broadcast from `shape`: summed back to it.
pub(crate) fn sum_to(x: &Array, shape: &[usize]) -> Result<Array> {
    if x.shape() == shape {
        return Ok(x.clone());
    }
    // A rule may give less than the full shape; then it still has to broadcast up.
    if x.ndim() < shape.len() {
        return ops::try_broadcast_to(x, shape);
    }
    let new = x.ndim() - shape.len();
    let axes: Dims =
        (0..x.ndim()).filter(|&k| k < new || (shape[k - new] == 1 && x.shape()[k] != 1)).collect();
    // Axes in front go with the sum; others stay, with extent 1.
    let leading = axes.iter().all(|&k| k < new);
    let sum = reduce_over(Kind::Sum, x, axes, !leading, x.dtype())?;
    let sum = if leading { sum } else { ops::reshape_to(&sum, &sum.shape()[new..])? };
    ops::try_broadcast_to(&sum, shape)
}

fn refuse_empty(op: &'static str, x: &Array, axes: &[isize]) -> Result<()> {
    for &axis in &normalize_axes(op, axes, x.ndim())? {
        if x.shape()[axis] == 0 {
            return Err(Error::value(
                op,
                format!("axis {axis} of shape {} is empty and has no extreme", ShapeText(x.shape())),
            ));
        }
    }
    Ok(())
}

/// A sum of exponentials of which the greatest was made 1; a sum of none of them, where all were −∞, is made a half,
/// so that its reciprocal and its logarithm are finite and nothing flows back.
fn counted(sum: &Array) -> Result<Array> {
    if sum.dtype().is_complex() {
        return Ok(sum.clone());
    }
    ops::try_maximum(sum, &ops::constant_like(sum, 0.5))
}

/// The peak that a softmax subtracts: the lowest finite number where it is −∞, because −∞ − (−∞) is NaN.
pub(crate) fn finite_below(peak: &Array) -> Result<Array> {
    let lowest = match peak.dtype() {
        Dtype::F16 => f64::from(half::f16::MIN),
        Dtype::Bf16 => f64::from(half::bf16::MIN),
        Dtype::F32 => f64::from(f32::MIN),
        Dtype::F64 => f64::MIN,
        _ => return Ok(peak.clone()),
    };
    ops::try_maximum(peak, &ops::constant_like(peak, lowest))
}

/// `eˣ` over its sum along `axes`, for `x` from which a peak was subtracted; 0 in place of 0 over 0.
pub(crate) fn shares(exp: &Array, sum: &Array) -> Result<Array> {
    ops::try_divide(exp, &counted(sum)?)
}

op! {
    /// The sum. Integers of less than 32 bits and truth values are counted in 32 bits, or in 64 where the sum of so many
    /// could pass them; wider integers wrap.
    /// Over the given axes, which are dropped unless `keepdims`.
    pub fn sum_axes / try_sum_axes(x: &Array, axes: &[isize], keepdims: bool)
    python sum(a: Array, /, axis: Axes = None, keepdims: bool = false, *) + method
    samples {
        [real([2, 3, 4])] |x| try_sum_axes(x, &[0, -1], true);
    }
    {
        let axes = normalize_axes("sum", axes, x.ndim())?;
        let count: usize = axes.iter().map(|&k| x.shape()[k]).product();
        reduce_over(Kind::Sum, x, axes, keepdims, sum_dtype(x.dtype(), count))
    }

    /// [`sum_axes`] over all of them.
    pub fn sum / try_sum(x: &Array)
    samples {
        [real([2, 3])] |x| try_sum(x);
    }
    {
        try_sum_axes(x, &every_axis(x), false)
    }

    /// The product. Small integers are counted in 32 bits.
    /// Over the given axes, which are dropped unless `keepdims`.
    pub fn prod_axes / try_prod_axes(x: &Array, axes: &[isize], keepdims: bool)
    python prod(a: Array, /, axis: Axes = None, keepdims: bool = false, *) + method
    samples {
        [real([3, 2, 3])] |x| try_prod_axes(x, &[0, 2], false);
    }
    {
        let wide = ops::to_dtype(x, sum_dtype(x.dtype(), 1));
        reduce("prod", Kind::Prod, &wide, axes, keepdims, wide.dtype())
    }

    /// [`prod_axes`] over all of them.
    pub fn prod / try_prod(x: &Array)
    samples {
        [real([2, 3])] |x| try_prod(x);
    }
    {
        try_prod_axes(x, &every_axis(x), false)
    }

    /// The largest element; NaN if there is one. Elements that tie share the gradient.
    /// Over the given axes, which are dropped unless `keepdims`.
    pub fn max_axes / try_max_axes(x: &Array, axes: &[isize], keepdims: bool)
    python max(a: Array, /, axis: Axes = None, keepdims: bool = false, *) + method
    samples {
        [distinct([2, 3])] |x| try_max_axes(x, &[-1], false);
    }
    {
        refuse_empty("max", x, axes)?;
        reduce("max", Kind::Max, x, axes, keepdims, x.dtype())
    }

    /// [`max_axes`] over all of them.
    pub fn max / try_max(x: &Array)
    samples {
        [distinct([2, 3])] |x| try_max(x);
    }
    {
        try_max_axes(x, &every_axis(x), false)
    }

    /// The smallest element; NaN if there is one. Elements that tie share the gradient.
    /// Over the given axes, which are dropped unless `keepdims`.
    pub fn min_axes / try_min_axes(x: &Array, axes: &[isize], keepdims: bool)
    python min(a: Array, /, axis: Axes = None, keepdims: bool = false, *) + method
    samples {
        [distinct([2, 3])] |x| try_min_axes(x, &[0], true);
    }
    {
        refuse_empty("min", x, axes)?;
        reduce("min", Kind::Min, x, axes, keepdims, x.dtype())
    }

    /// [`min_axes`] over all of them.
    pub fn min / try_min(x: &Array)
    samples {
        [distinct([2, 3])] |x| try_min(x);
    }
    {
        try_min_axes(x, &every_axis(x), false)
    }

    /// Whether all elements are true (not zero).
    /// Over the given axes, which are dropped unless `keepdims`.
    pub fn all_axes / try_all_axes(x: &Array, axes: &[isize], keepdims: bool)
    python all(a: Array, /, axis: Axes = None, keepdims: bool = false, *) + method
    samples {
        flat [real([2, 3])] |x| try_all_axes(x, &[0], true);
    }
    {
        reduce("all", Kind::All, x, axes, keepdims, Dtype::Bool)
    }

    /// [`all_axes`] over all of them.
    pub fn all / try_all(x: &Array)
    samples {
        flat [real([2, 3])] |x| try_all(x);
    }
    {
        try_all_axes(x, &every_axis(x), false)
    }

    /// Whether any element is true (not zero).
    /// Over the given axes, which are dropped unless `keepdims`.
    pub fn any_axes / try_any_axes(x: &Array, axes: &[isize], keepdims: bool)
    python any(a: Array, /, axis: Axes = None, keepdims: bool = false, *) + method
    samples {
        flat [real([2, 3])] |x| try_any_axes(x, &[1], false);
    }
    {
        reduce("any", Kind::Any, x, axes, keepdims, Dtype::Bool)
    }

    /// [`any_axes`] over all of them.
    pub fn any / try_any(x: &Array)
    samples {
        flat [real([2, 3])] |x| try_any(x);
    }
    {
        try_any_axes(x, &every_axis(x), false)
    }

    /// The arithmetic mean.
    /// Over the given axes, which are dropped unless `keepdims`.
    pub fn mean_axes / try_mean_axes(x: &Array, axes: &[isize], keepdims: bool)
    python mean(a: Array, /, axis: Axes = None, keepdims: bool = false, *) + method
    samples {
        [real([2, 3])] |x| try_mean_axes(x, &[0], true);
    }
    {
        let x = ops::to_inexact(x);
        let count: usize = normalize_axes("mean", axes, x.ndim())?.iter().map(|&k| x.shape()[k]).product();
        // Rounded once, to the array's type. The reduction widens what it reads: no wide copy of the array is made.
        let sum = reduce("mean", Kind::Sum, &x, axes, keepdims, wide::of(x.dtype()))?;
        Ok(ops::to_dtype(&ops::try_multiply(&sum, &ops::constant_like(&sum, 1.0 / count as f64))?, x.dtype()))
    }

    /// [`mean_axes`] over all of them.
    pub fn mean / try_mean(x: &Array)
    samples {
        [real([2, 3])] |x| try_mean(x);
    }
    {
        try_mean_axes(x, &every_axis(x), false)
    }

    /// `log Σ eˣ` without overflow. Where all elements are −∞ the gradient is 0.
    /// Over the given axes, which are dropped unless `keepdims`.
    pub fn logsumexp_axes / try_logsumexp_axes(x: &Array, axes: &[isize], keepdims: bool) once(x)
    python logsumexp(a: Array, /, axis: Axes = None, keepdims: bool = false, *) + method
    samples {
        [real([2, 3])] |x| try_logsumexp_axes(x, &[1], true);
    }
    {
        let x = ops::to_inexact(x);
        refuse_empty("logsumexp", &x, axes)?;
        let axes = normalize_axes("logsumexp", axes, x.ndim())?;
        let shape = reduced_shape(x.shape(), &axes, keepdims);
        let peak = ops::try_stop_gradient(&reduce_keeping(Kind::Max, &x, axes.clone(), x.dtype())?)?;
        // An infinite peak would make ∞ − ∞; it is only added in the end.
        let shift = ops::try_where_(&ops::try_isfinite(&peak)?, &peak, &ops::zero_of(x.dtype()))?;
        let sum = reduce_keeping(Kind::Sum, &ops::try_exp(&ops::try_subtract(&x, &shift)?)?, axes, x.dtype())?;
        ops::reshape_to(&ops::try_add(&ops::try_log(&counted(&sum)?)?, &peak)?, &shape)
    }

    /// [`logsumexp_axes`] over all of them.
    pub fn logsumexp / try_logsumexp(x: &Array)
    samples {
        [real([2, 3])] |x| try_logsumexp(x);
    }
    {
        try_logsumexp_axes(x, &every_axis(x), false)
    }

    /// The smallest and the largest element over the given axes, which are dropped unless `keepdims`.
    pub fn minmax / try_minmax(x: &Array, axes: &[isize], keepdims: bool) -> ((Array, Array))
    python minmax(a: Array, /, axis: Axes = None, keepdims: bool = false, *) -> Pair
    samples {
        [distinct([2, 3])] |x| try_minmax(x, &[1], true);
    }
    {
        // In the wide type, so that the two gradients are added before they are rounded.
        let (wide, dtype) = (wide::widen(x), x.dtype());
        let (least, most) = (try_min_axes(&wide, axes, keepdims)?, try_max_axes(&wide, axes, keepdims)?);
        Ok((ops::to_dtype(&least, dtype), ops::to_dtype(&most, dtype)))
    }

    /// The variance over the given axes: the mean squared distance from the mean, the sum divided by
    /// `count − ddof`.
    pub fn var_axes / try_var_axes(x: &Array, axes: &[isize], keepdims: bool, ddof: usize) once(x)
    python var(a: Array, /, axis: Axes = None, keepdims: bool = false, ddof: usize = 0, *, correction: Option<usize> = None) + method
    => { try_var_axes(a, axis, keepdims, correction.unwrap_or(ddof)) }
    samples {
        [real([3, 2])] |x| try_var_axes(x, &[0], false, 1);
    }
    {
        let x = ops::to_inexact(x);
        let away = ops::try_subtract(&x, &try_mean_axes(&x, axes, true)?)?;
        let square = if x.dtype().is_complex() {
            // Not the square of the modulus, which is not smooth at 0.
            ops::try_add(&ops::try_square(&ops::try_real(&away)?)?, &ops::try_square(&ops::try_imag(&away)?)?)?
        } else {
            ops::try_square(&away)?
        };
        let count: usize = normalize_axes("var", axes, x.ndim())?.iter().map(|&k| x.shape()[k]).product();
        let sum = try_sum_axes(&square, axes, keepdims)?;
        ops::try_multiply(&sum, &ops::constant_like(&sum, 1.0 / (count as f64 - ddof as f64).max(0.0)))
    }

    /// The variance of all elements.
    pub fn var / try_var(x: &Array)
    samples {
        [real([2, 3])] |x| try_var(x);
    }
    {
        try_var_axes(x, &every_axis(x), false, 0)
    }

    /// The standard deviation over the given axes: the root of the variance. Where that is 0 it has no derivative, and
    /// the gradient is NaN.
    pub fn std_axes / try_std_axes(x: &Array, axes: &[isize], keepdims: bool, ddof: usize) once(x)
    python std(a: Array, /, axis: Axes = None, keepdims: bool = false, ddof: usize = 0, *, correction: Option<usize> = None) + method
    => { try_std_axes(a, axis, keepdims, correction.unwrap_or(ddof)) }
    samples {
        [distinct([2, 3])] |x| try_std_axes(x, &[1], true, 1);
    }
    {
        ops::try_sqrt(&try_var_axes(x, axes, keepdims, ddof)?)
    }

    /// The standard deviation of all elements.
    pub fn std / try_std(x: &Array) once(x)
    samples {
        [distinct([2, 3])] |x| try_std(x);
    }
    {
        ops::try_sqrt(&try_var(x)?)
    }

    /// `eˣ / Σ eˣ` over the given axes, without overflow. Where all elements are −∞, it and its gradient are 0.
    pub fn softmax / try_softmax(x: &Array, axes: &[isize]) once(x)
    python softmax(a: Array, /, axis: Axes = None, *, precise: bool = false) => {
        let _ = precise;
        try_softmax(a, axis)
    }
    samples {
        [real([2, 3])] |x| try_softmax(x, &[-1]);
    }
    {
        let x = ops::to_inexact(x);
        if x.size() == 0 {
            normalize_axes("softmax", axes, x.ndim())?;
            return Ok(x);
        }
        let axes = normalize_axes("softmax", axes, x.ndim())?;
        let peak = ops::try_stop_gradient(&reduce_keeping(Kind::Max, &x, axes.clone(), x.dtype())?)?;
        let exp = ops::try_exp(&ops::try_subtract(&x, &finite_below(&peak)?)?)?;
        let sum = reduce_keeping(Kind::Sum, &exp, axes, x.dtype())?;
        shares(&exp, &sum)
    }

    /// The index of the largest element along an axis, the first if several tie.
    pub fn argmax_axis / try_argmax_axis(x: &Array, axis: isize, keepdims: bool)
    python argmax(a: Array, /, axis: Option<isize> = None, keepdims: bool = false, *) + method => { extreme(a, axis, keepdims, try_argmax_axis) }
    samples {
        flat [distinct([2, 3])] |x| try_argmax_axis(x, 1, true);
    }
    {
        arg_reduce("argmax", true, x, axis, keepdims)
    }

    /// The row-major index of the largest element.
    pub fn argmax / try_argmax(x: &Array)
    samples {
        flat [distinct([2, 3])] |x| try_argmax(x);
    }
    {
        try_argmax_axis(&ops::reshape_to(x, &[x.size()])?, 0, false)
    }

    /// The index of the smallest element along an axis, the first if several tie.
    pub fn argmin_axis / try_argmin_axis(x: &Array, axis: isize, keepdims: bool)
    python argmin(a: Array, /, axis: Option<isize> = None, keepdims: bool = false, *) + method => { extreme(a, axis, keepdims, try_argmin_axis) }
    samples {
        flat [distinct([2, 3])] |x| try_argmin_axis(x, 0, false);
    }
    {
        arg_reduce("argmin", false, x, axis, keepdims)
    }

    /// The row-major index of the smallest element.
    pub fn argmin / try_argmin(x: &Array)
    samples {
        flat [distinct([2, 3])] |x| try_argmin(x);
    }
    {
        try_argmin_axis(&ops::reshape_to(x, &[x.size()])?, 0, false)
    }

    /// The elements along an axis in ascending order, NaN last; equal elements keep their order.
    pub fn sort / try_sort(x: &Array, axis: isize)
    python sort(a: Array, /, axis: Option<isize> = -1, *) => { along(a, axis, try_sort) }
    samples {
        [distinct([3, 4])] |x| try_sort(x, 0);
    }
    {
        let axis = normalize_axis("sort", axis, x.ndim())?;
        Array::apply(Sort { axis, indices: false }, smallvec![x.clone()])
    }

    /// The `uint32` indices that put an axis in ascending order.
    pub fn argsort / try_argsort(x: &Array, axis: isize)
    python argsort(a: Array, /, axis: Option<isize> = -1, *) => { along(a, axis, try_argsort) }
    samples {
        flat [distinct([3, 4])] |x| try_argsort(x, -1);
    }
    {
        let axis = normalize_axis("argsort", axis, x.ndim())?;
        check_numbered("argsort", x.shape()[axis])?;
        Array::apply(Sort { axis, indices: true }, smallvec![x.clone()])
    }

    /// The cumulative sum along an axis; from the end if `reverse`, without the element itself if not `inclusive`.
    pub fn cumsum / try_cumsum(x: &Array, axis: isize, reverse: bool, inclusive: bool)
    python cumsum | cumulative_sum(a: Array, /, axis: Option<isize> = None, *, reverse: bool = false, inclusive: bool = true, dtype: Option<Dtype> = None) + method
    => { along(&in_dtype(a, dtype), axis, |x, axis| try_cumsum(x, axis, reverse, inclusive)) }
    samples {
        from scans("cumsum", try_cumsum);
    }
    {
        let mut x = x.clone();
        if x.dtype() == Dtype::Bool {
            let count = x.shape()[normalize_axis("cumsum", axis, x.ndim())?];
            x = ops::to_dtype(&x, sum_dtype(Dtype::Bool, count));
        }
        scan("cumsum", ScanKind::Sum, &x, axis, reverse, inclusive)
    }

    /// The cumulative product along an axis.
    pub fn cumprod / try_cumprod(x: &Array, axis: isize, reverse: bool, inclusive: bool)
    python cumprod | cumulative_prod(a: Array, /, axis: Option<isize> = None, *, reverse: bool = false, inclusive: bool = true, dtype: Option<Dtype> = None) + method
    => { along(&in_dtype(a, dtype), axis, |x, axis| try_cumprod(x, axis, reverse, inclusive)) }
    samples {
        from scans("cumprod", try_cumprod);
    }
    {
        scan("cumprod", ScanKind::Prod, x, axis, reverse, inclusive)
    }

    /// The cumulative maximum along an axis.
    pub fn cummax / try_cummax(x: &Array, axis: isize, reverse: bool, inclusive: bool)
    python cummax(a: Array, /, axis: Option<isize> = None, *, reverse: bool = false, inclusive: bool = true) + method
    => { along(a, axis, |x, axis| try_cummax(x, axis, reverse, inclusive)) }
    samples {
        from scans("cummax", try_cummax);
    }
    {
        scan("cummax", ScanKind::Max, x, axis, reverse, inclusive)
    }

    /// The cumulative minimum along an axis.
    pub fn cummin / try_cummin(x: &Array, axis: isize, reverse: bool, inclusive: bool)
    python cummin(a: Array, /, axis: Option<isize> = None, *, reverse: bool = false, inclusive: bool = true) + method
    => { along(a, axis, |x, axis| try_cummin(x, axis, reverse, inclusive)) }
    samples {
        from scans("cummin", try_cummin);
    }
    {
        scan("cummin", ScanKind::Min, x, axis, reverse, inclusive)
    }

    /// The cumulative [`logsumexp`] along an axis.
    pub fn logcumsumexp / try_logcumsumexp(x: &Array, axis: isize, reverse: bool, inclusive: bool)
    python logcumsumexp(a: Array, /, axis: Option<isize> = None, *, reverse: bool = false, inclusive: bool = true) + method
    => { along(a, axis, |x, axis| try_logcumsumexp(x, axis, reverse, inclusive)) }
    samples {
        from scans("logcumsumexp", try_logcumsumexp);
    }
    {
        let x = ops::to_inexact(x);
        scan("logcumsumexp", ScanKind::LogAddExp, &x, axis, reverse, inclusive)
    }
}

fn arg_reduce(op: &'static str, max: bool, x: &Array, axis: isize, keepdims: bool) -> Result<Array> {
    refuse_empty(op, x, &[axis])?;
    let axis = normalize_axis(op, axis, x.ndim())?;
    check_numbered(op, x.shape()[axis])?;
    let out = Array::apply(ArgReduce { max, axis }, smallvec![x.clone()])?;
    if keepdims { Ok(out) } else { ops::try_squeeze(&out, &[axis as isize]) }
}

fn scan(
    op: &'static str,
    kind: ScanKind,
    x: &Array,
    axis: isize,
    reverse: bool,
    inclusive: bool,
) -> Result<Array> {
    let axis = normalize_axis(op, axis, x.ndim())?;
    Array::apply(Scan { kind, axis, reverse, inclusive }, smallvec![x.clone()])
}

/// Entries for a cumulative operation: both directions, with and without the element itself.
fn scans(name: &'static str, f: fn(&Array, isize, bool, bool) -> Result<Array>) -> Vec<Entry> {
    let modes = [(false, true), (true, true), (false, false), (true, false)];
    let scan = |(reverse, inclusive): (bool, bool)| {
        // Exclusive extremes start with an infinity, which finite differences cannot take.
        let infinite = name.starts_with("cumm") || name.starts_with("log");
        let input = if infinite { distinct([2, 5]) } else { real([2, 5]) };
        entry(name, true, vec![input], move |x: &[Array]| {
            let y = f(&x[0], 1, reverse, inclusive)?;
            if inclusive || !infinite {
                return Ok(vec![y]);
            }
            let (from, to) = if reverse { (0, 4) } else { (1, 5) };
            Ok(vec![ops::try_index(&y, &[ops::Index::from(..), ops::Index::from(from..to)])?])
        })
    };
    modes.map(scan).into()
}
