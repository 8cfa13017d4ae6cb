//! Reductions over axes.

use super::block::op;
use crate::array::{Array, Aval};
use crate::error::{Error, Result};
use crate::ops;
use crate::ops::spec::Axes;
use crate::primitive::{
    Avals, Batch, Derivative, Linear, Lower, MaybeArrays, Param, Params, Primitive, Structured,
};
use crate::shape::{Dims, Shape, ShapeText, normalize_axes, reduced_shape};
use crate::wide;
use covector_kernels::{Dtype, Reduce as Kind};
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
pub(crate) fn sum_dtype(dtype: Dtype, count: usize) -> Dtype {
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

pub(super) fn refuse_empty(op: &'static str, x: &Array, axes: &[isize]) -> Result<()> {
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
}

/// A reduction over `axes` (sorted).
pub(crate) struct Reduce {
    pub(crate) kind: Kind,
    pub(crate) axes: Dims,
    /// Whether the axes stay, with extent 1.
    pub(crate) keep: bool,
    /// The element type of the result.
    pub(crate) dtype: Dtype,
}

impl Reduce {
    fn behind_batch(&self) -> Dims {
        self.axes.iter().map(|a| a + 1).collect()
    }

    /// What has the result's shape, as if the axes had stayed, so that it broadcasts beside `x`.
    fn beside(&self, v: &Array, x: &Array) -> Result<Array> {
        let aligned = self.axes.iter().enumerate().all(|(k, &axis)| k == axis);
        if self.keep || aligned {
            return Ok(v.clone());
        }
        ops::reshape_to(v, &reduced_shape(x.shape(), &self.axes, true))
    }
}

impl Primitive for Reduce {
    fn name(&self) -> &'static str {
        match self.kind {
            Kind::Sum => "sum",
            Kind::Prod => "prod",
            Kind::Max => "max",
            Kind::Min => "min",
            Kind::All => "all",
            Kind::Any => "any",
        }
    }
    fn infer(&self, inputs: &[Array]) -> Result<Avals> {
        let shape = reduced_shape(inputs[0].shape(), &self.axes, self.keep);
        Ok(Avals::from_buf([Aval { dtype: self.dtype, shape }]))
    }
    fn derivative(&self) -> Derivative<'_> {
        match self.kind {
            Kind::Sum => Derivative::Linear(self),
            Kind::Prod | Kind::Max | Kind::Min => Derivative::Structured(self),
            Kind::All | Kind::Any => Derivative::Zero,
        }
    }
    fn batch(&self, batch: &Batch<'_>) -> Result<Vec<Array>> {
        let reduce = Reduce { axes: self.behind_batch(), ..*self };
        Ok(vec![Array::apply(reduce, smallvec![batch.inputs[0].clone()])?])
    }
    fn lower(&self, _inputs: &[Array]) -> Lower<'_> {
        Lower::Reduce { kind: self.kind, axes: &self.axes }
    }
    fn params(&self, params: &mut Params<'_>) {
        params.put("axes", Param::Ints(&self.axes));
        params.put("dtype", Param::Text(self.dtype.name()));
        params.put("keep", Param::Int(i64::from(self.keep)));
    }
}

impl Linear for Reduce {
    fn is_linear_in(&self, _i: usize) -> bool {
        true
    }
    fn transpose(&self, i: usize, cotangents: &[Option<Array>], x: &[Array]) -> Result<Option<Array>> {
        let Some(ct) = &cotangents[0] else { return Ok(None) };
        // A sum may be wider than what it adds up.
        let ct = ops::to_dtype(ct, x[i].dtype());
        ops::try_broadcast_to(&self.beside(&ct, &x[i])?, x[i].shape()).map(Some)
    }
}

impl Structured for Reduce {
    fn jvp(&self, tangents: &[Option<Array>], x: &[Array], y: &[Array]) -> Result<MaybeArrays> {
        let Some(t) = &tangents[0] else { return Ok(vec![None]) };
        if self.kind == Kind::Prod {
            let out = prod_tangent(&x[0], t, &self.axes)?;
            return Ok(vec![Some(ops::reshape_to(&out, y[0].shape())?)]);
        }
        // Elements that tie for the extreme share the tangent equally.
        let extreme = self.beside(&y[0], &x[0])?;
        let mask = ops::to_dtype(&ops::try_equal(&x[0], &extreme)?, t.dtype());
        let count = ops::reduce_keeping(Kind::Sum, &mask, self.axes.clone(), t.dtype())?;
        let share = ops::try_divide(&mask, &count)?;
        let hit = ops::try_where_(
            &ops::try_equal(&x[0], &extreme)?,
            &ops::try_multiply(t, &share)?,
            &ops::zero_of(t.dtype()),
        )?;
        Ok(vec![Some(ops::reduce_over(Kind::Sum, &hit, self.axes.clone(), self.keep, t.dtype())?)])
    }
}

/// The tangent of a product: pairs are multiplied by the product rule, level by level, so that zeros among the
/// factors are as exact as any other value, to any order.
fn prod_tangent(x: &Array, t: &Array, axes: &[usize]) -> Result<Array> {
    let n: usize = axes.iter().map(|&a| x.shape()[a]).product();
    // Bring the reduced axes to the end and make them one.
    let kept: Dims = (0..x.ndim()).filter(|a| !axes.contains(a)).collect();
    let order: Dims = kept.iter().chain(axes).copied().collect();
    let mut flat: Shape = kept.iter().map(|&a| x.shape()[a]).collect();
    flat.push(n);
    let line = |v: &Array| ops::reshape_to(&ops::permute(v, order.clone())?, &flat);
    let (mut p, mut d) = (line(x)?, line(t)?);
    let mut left = n;
    while left > 1 {
        let half = left / 2;
        let part = |v: &Array, from: usize, to: usize| ops::slice_axis(v, flat.len() - 1, from, to);
        let (pa, pb) = (part(&p, 0, half)?, part(&p, half, 2 * half)?);
        let (da, db) = (part(&d, 0, half)?, part(&d, half, 2 * half)?);
        let tangent = &(&da * &pb) + &(&pa * &db);
        let product = &pa * &pb;
        if left % 2 == 1 {
            let last = (part(&p, left - 1, left)?, part(&d, left - 1, left)?);
            p = ops::try_concatenate(&[product, last.0], -1)?;
            d = ops::try_concatenate(&[tangent, last.1], -1)?;
        } else {
            (p, d) = (product, tangent);
        }
        left = half + left % 2;
    }
    let out = reduced_shape(x.shape(), axes, true);
    if n == 0 { Ok(ops::zeros(&out, x.dtype())) } else { ops::reshape_to(&d, &out) }
}
