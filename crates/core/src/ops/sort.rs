//! Sorting along an axis, order statistics and searching.

use super::block::op;
use crate::array::{Array, Aval};
use crate::buffer::Data;
use crate::error::{Error, Result};
use crate::ops::spec::{Axes, Beside, Text};
use crate::ops::{self, along, check_numbered};
use crate::primitive::{Avals, Batch, Derivative, MaybeArrays, Param, Params, Primitive, Structured, Values};
use crate::shape::{Dims, Shape, ShapeText, normalize_axes, normalize_axis, reduced_shape};
use crate::wide;
use covector_kernels::{self as kernels, Dtype};
use smallvec::smallvec;

/// The place that `kth` names on an axis; negative ones count from the end.
fn place(op: &'static str, x: &Array, kth: isize, axis: isize) -> Result<usize> {
    let n = x.shape()[normalize_axis(op, axis, x.ndim())?] as isize;
    if kth < -n || kth >= n {
        return Err(Error::value(op, format!("place {kth} is outside of an axis with {n} elements")));
    }
    Ok(kth.rem_euclid(n) as usize)
}

op! {
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

    /// An axis rearranged so that the element at `kth` is the one that sorting puts there, with nothing greater in
    /// front of it and nothing less behind.
    pub fn partition / try_partition(x: &Array, kth: isize, axis: isize)
    python partition(a: Array, /, kth: isize, axis: Option<isize> = -1, *) => { ops::along(a, axis, |x, axis| try_partition(x, kth, axis)) }
    samples {
        [distinct([3, 4])] |x| try_partition(x, 1, 1);
    }
    {
        place("partition", x, kth, axis)?;
        ops::try_sort(x, axis)
    }

    /// The `uint32` indices that partition an axis at `kth`.
    pub fn argpartition / try_argpartition(x: &Array, kth: isize, axis: isize)
    python argpartition(a: Array, /, kth: isize, axis: Option<isize> = -1, *) => { ops::along(a, axis, |x, axis| try_argpartition(x, kth, axis)) }
    samples {
        flat [distinct([3, 4])] |x| try_argpartition(x, -2, 0);
    }
    {
        place("argpartition", x, kth, axis)?;
        ops::try_argsort(x, axis)
    }

    /// The `k` largest elements of an axis, in ascending order; NaN counts as the largest.
    pub fn topk / try_topk(x: &Array, k: usize, axis: isize)
    python topk(a: Array, /, k: usize, axis: Option<isize> = -1, *) => { ops::along(a, axis, |x, axis| try_topk(x, k, axis)) }
    samples {
        [distinct([3, 4])] |x| try_topk(x, 2, -1);
    }
    {
        let axis = normalize_axis("topk", axis, x.ndim())?;
        let n = x.shape()[axis];
        if k > n {
            return Err(Error::value("topk", format!("{k} elements of an axis with {n} were asked for")));
        }
        ops::slice_axis(&ops::try_sort(x, axis as isize)?, axis, n - k, n)
    }

    /// The median over the given axes: the middle of the sorted elements, or the mean of the two in the middle; NaN if
    /// there is one.
    pub fn median_axes / try_median_axes(x: &Array, axes: &[isize], keepdims: bool)
    python median(a: Array, /, axis: Axes = None, keepdims: bool = false, *)
    samples {
        [distinct([3, 2, 3])] |x| try_median_axes(x, &[0, 2], true);
    }
    {
        let axes = normalize_axes("median", axes, x.ndim())?;
        let shape = reduced_shape(x.shape(), &axes, keepdims);
        let kept: Dims = (0..x.ndim()).filter(|k| !axes.contains(k)).collect();
        let count: usize = axes.iter().map(|&k| x.shape()[k]).product();
        if count == 0 {
            return Err(Error::value("median", format!("the axes {:?} of shape {} are empty and have no median", &axes[..], ShapeText(x.shape()))));
        }
        let mut line: Shape = kept.iter().map(|&k| x.shape()[k]).collect();
        line.push(count);
        let axis = line.len() - 1;
        let order: Dims = kept.iter().chain(&axes).copied().collect();
        let line = ops::reshape_to(&ops::permute(&ops::to_inexact(x), order)?, &line)?;
        let sorted = ops::try_sort(&line, axis as isize)?;
        let low = ops::slice_axis(&sorted, axis, (count - 1) / 2, (count - 1) / 2 + 1)?;
        let middle = if count % 2 == 1 {
            low
        } else {
            let high = ops::slice_axis(&sorted, axis, count / 2, count / 2 + 1)?;
            // Halved first: the sum of two large numbers may be more than the type holds.
            wide::rounded_once([&low, &high], |[low, high]| {
                let half = ops::constant_like(low, 0.5);
                ops::try_add(&ops::try_multiply(low, &half)?, &ops::try_multiply(high, &half)?)
            })?
        };
        // Sorting puts NaN last.
        let last = ops::slice_axis(&sorted, axis, count - 1, count)?;
        ops::reshape_to(&ops::try_where_(&ops::try_isnan(&last)?, &last, &middle)?, &shape)
    }

    /// The median of all elements.
    pub fn median / try_median(x: &Array)
    samples {
        [distinct([2, 3])] |x| try_median(x);
    }
    {
        try_median_axes(&ops::reshape_to(x, &[x.size()])?, &[0], false)
    }

    /// Where `values` belong in a sorted vector, as `uint32`: in front of the elements that equal them, or behind them
    /// (`right`).
    pub fn searchsorted / try_searchsorted(sorted: &Array, values: &Array, right: bool)
    python searchsorted(sorted_sequence: Array, values: Beside, /, side: Text = "left", *) => {
        let right = match side {
            "left" => false,
            "right" => true,
            _ => return Err(Error::value("searchsorted", format!("side is {side:?}; it must be 'left' or 'right'"))),
        };
        try_searchsorted(sorted_sequence, values, right)
    }
    samples {
        flat [distinct([7]), distinct([2, 3])] |x, y| try_searchsorted(&ops::try_sort(x, 0)?, y, false);
    }
    {
        if sorted.ndim() != 1 {
            return Err(Error::shape("searchsorted", format!("the sorted sequence has the shape {}; a vector is needed", ShapeText(sorted.shape()))));
        }
        let dtype = crate::dtype::promote(sorted.dtype(), values.dtype());
        let (sorted, values) = (ops::to_dtype(sorted, dtype), ops::to_dtype(values, dtype));
        let n = sorted.size();
        ops::check_numbered("searchsorted", n)?;
        let mut low = ops::zeros(values.shape(), Dtype::U32);
        if n == 0 {
            return Ok(low);
        }
        let mut high = ops::try_full(values.shape(), &Array::scalar(n as u32))?;
        let (one, last) = (Array::scalar(1u32), Array::scalar(n as u32 - 1));
        // All values at once by bisection: after this many steps every interval is empty.
        for _ in 0..=n.ilog2() {
            // Not (low + high) / 2, whose sum can pass 2³².
            let middle = ops::try_add(&low, &ops::try_right_shift(&ops::try_subtract(&high, &low)?, &one)?)?;
            let seen = ops::try_take(&sorted, &ops::try_minimum(&middle, &last)?, 0)?;
            let behind = if right { ops::try_logical_not(&before(&values, &seen)?)? } else { before(&seen, &values)? };
            let open = ops::try_logical_and(&behind, &ops::try_less(&low, &high)?)?;
            high = ops::try_where_(&behind, &high, &middle)?;
            low = ops::try_where_(&open, &ops::try_add(&middle, &one)?, &low)?;
        }
        Ok(low)
    }

    /// How many elements are not zero, over the given axes, as `int32` (`int64` of 2³¹ elements and more).
    pub fn count_nonzero_axes / try_count_nonzero_axes(x: &Array, axes: &[isize], keepdims: bool)
    python count_nonzero(a: Array, /, *, axis: Axes = None, keepdims: bool = false)
    samples {
        flat [input([2, 3], Kind::Index(2))] |x| try_count_nonzero_axes(x, &[1], true);
    }
    {
        ops::try_sum_axes(&ops::to_dtype(x, Dtype::Bool), axes, keepdims)
    }

    /// How many elements are not zero, as `int32` (`int64` of 2³¹ elements and more).
    pub fn count_nonzero / try_count_nonzero(x: &Array)
    samples {
        flat [input([2, 3], Kind::Index(2))] |x| try_count_nonzero(x);
    }
    {
        ops::try_sum(&ops::to_dtype(x, Dtype::Bool))
    }

    /// The differences of neighbours along an axis, taken `n` times; of truth values whether they differ.
    pub fn diff / try_diff(x: &Array, n: usize, axis: isize) once(x)
    python diff(a: Array, /, n: usize = 1, axis: isize = -1, *)
    samples {
        [real([2, 4])] |x| try_diff(x, 2, 1);
    }
    {
        let axis = normalize_axis("diff", axis, x.ndim())?;
        let mut x = x.clone();
        for _ in 0..n.min(x.shape()[axis]) {
            let count = x.shape()[axis];
            x = ops::try_subtract(&ops::slice_axis(&x, axis, 1, count)?, &ops::slice_axis(&x, axis, 0, count - 1)?)?;
        }
        Ok(x)
    }
}

/// Whether `a` comes before `b` in sorted order, in which NaN is last.
fn before(a: &Array, b: &Array) -> Result<Array> {
    let less = ops::try_less(a, b)?;
    if !a.dtype().is_inexact() {
        return Ok(less);
    }
    let only_b = ops::try_logical_and(&ops::try_isnan(b)?, &ops::try_logical_not(&ops::try_isnan(a)?)?)?;
    ops::try_logical_or(&less, &only_b)
}

/// The elements along an axis in ascending order, or the indices that would order them; stable, NaN last.
pub(crate) struct Sort {
    pub(crate) axis: usize,
    pub(crate) indices: bool,
}

impl Primitive for Sort {
    fn name(&self) -> &'static str {
        if self.indices { "argsort" } else { "sort" }
    }
    fn infer(&self, inputs: &[Array]) -> Result<Avals> {
        let dtype = if self.indices { Dtype::U32 } else { inputs[0].dtype() };
        Ok(smallvec![Aval::new(dtype, inputs[0].shape())])
    }
    fn derivative(&self) -> Derivative<'_> {
        if self.indices { Derivative::Zero } else { Derivative::Structured(self) }
    }
    fn batch(&self, batch: &Batch<'_>) -> Result<Vec<Array>> {
        let sort = Sort { axis: self.axis + 1, indices: self.indices };
        Ok(vec![Array::apply(sort, smallvec![batch.inputs[0].clone()])?])
    }
    fn eval(&self, inputs: Values, outs: &[Aval]) -> Result<Values> {
        let mut out = Data::alloc(self.name(), outs[0].dtype, &outs[0].shape)?;
        if self.indices {
            kernels::argsort(inputs[0].view(), self.axis, out.out());
        } else {
            kernels::sort(inputs[0].view(), self.axis, out.out());
        }
        Ok(smallvec![out])
    }
    fn params(&self, params: &mut Params<'_>) {
        params.put("axis", Param::Int(self.axis as i64));
    }
}

impl Structured for Sort {
    /// The tangents move as the elements do.
    fn jvp(&self, tangents: &[Option<Array>], x: &[Array], _y: &[Array]) -> Result<MaybeArrays> {
        let Some(t) = &tangents[0] else { return Ok(vec![None]) };
        let order = ops::try_argsort(&x[0], self.axis as isize)?;
        Ok(vec![Some(ops::try_take_along_axis(t, &order, self.axis as isize)?)])
    }
    fn accumulates(&self) -> bool {
        false
    }
}
