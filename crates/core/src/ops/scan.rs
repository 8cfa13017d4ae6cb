//! Cumulative operations along an axis.

use super::block::op;
use super::block::sample::{Entry, distinct, entry, real};
use crate::array::{Array, Aval};
use crate::buffer::Data;
use crate::error::Result;
use crate::ops::{self, along, in_dtype, sum_dtype};
use crate::primitive::{
    Avals, Batch, Derivative, Linear, MaybeArrays, Param, Params, Primitive, Structured, Values,
};
use crate::shape::normalize_axis;
use covector_kernels::{self as kernels, Dtype, Scan as Kind};
use smallvec::smallvec;

op! {
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
        scan("cumsum", Kind::Sum, &x, axis, reverse, inclusive)
    }

    /// The cumulative product along an axis.
    pub fn cumprod / try_cumprod(x: &Array, axis: isize, reverse: bool, inclusive: bool)
    python cumprod | cumulative_prod(a: Array, /, axis: Option<isize> = None, *, reverse: bool = false, inclusive: bool = true, dtype: Option<Dtype> = None) + method
    => { along(&in_dtype(a, dtype), axis, |x, axis| try_cumprod(x, axis, reverse, inclusive)) }
    samples {
        from scans("cumprod", try_cumprod);
    }
    {
        scan("cumprod", Kind::Prod, x, axis, reverse, inclusive)
    }

    /// The cumulative maximum along an axis.
    pub fn cummax / try_cummax(x: &Array, axis: isize, reverse: bool, inclusive: bool)
    python cummax(a: Array, /, axis: Option<isize> = None, *, reverse: bool = false, inclusive: bool = true) + method
    => { along(a, axis, |x, axis| try_cummax(x, axis, reverse, inclusive)) }
    samples {
        from scans("cummax", try_cummax);
    }
    {
        scan("cummax", Kind::Max, x, axis, reverse, inclusive)
    }

    /// The cumulative minimum along an axis.
    pub fn cummin / try_cummin(x: &Array, axis: isize, reverse: bool, inclusive: bool)
    python cummin(a: Array, /, axis: Option<isize> = None, *, reverse: bool = false, inclusive: bool = true) + method
    => { along(a, axis, |x, axis| try_cummin(x, axis, reverse, inclusive)) }
    samples {
        from scans("cummin", try_cummin);
    }
    {
        scan("cummin", Kind::Min, x, axis, reverse, inclusive)
    }

    /// The cumulative `logsumexp` along an axis.
    pub fn logcumsumexp / try_logcumsumexp(x: &Array, axis: isize, reverse: bool, inclusive: bool)
    python logcumsumexp(a: Array, /, axis: Option<isize> = None, *, reverse: bool = false, inclusive: bool = true) + method
    => { along(a, axis, |x, axis| try_logcumsumexp(x, axis, reverse, inclusive)) }
    samples {
        from scans("logcumsumexp", try_logcumsumexp);
    }
    {
        let x = ops::to_inexact(x);
        scan("logcumsumexp", Kind::LogAddExp, &x, axis, reverse, inclusive)
    }
}

fn scan(
    op: &'static str,
    kind: Kind,
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

/// A cumulative sum, product, maximum, minimum or log-sum-exp along `axis`.
#[derive(Clone, Copy)]
pub(crate) struct Scan {
    pub(crate) kind: Kind,
    pub(crate) axis: usize,
    /// From the end to the start.
    pub(crate) reverse: bool,
    /// Whether element `i` takes part in result `i`.
    pub(crate) inclusive: bool,
}

impl Primitive for Scan {
    fn name(&self) -> &'static str {
        match self.kind {
            Kind::Sum => "cumsum",
            Kind::Prod => "cumprod",
            Kind::Max => "cummax",
            Kind::Min => "cummin",
            Kind::LogAddExp => "logcumsumexp",
        }
    }
    fn infer(&self, inputs: &[Array]) -> Result<Avals> {
        Ok(smallvec![inputs[0].aval().clone()])
    }
    fn derivative(&self) -> Derivative<'_> {
        if self.kind == Kind::Sum { Derivative::Linear(self) } else { Derivative::Structured(self) }
    }
    fn batch(&self, batch: &Batch<'_>) -> Result<Vec<Array>> {
        let scan = Scan { axis: self.axis + 1, ..*self };
        Ok(vec![Array::apply(scan, smallvec![batch.inputs[0].clone()])?])
    }
    fn eval(&self, inputs: Values, outs: &[Aval]) -> Result<Values> {
        let mut out = Data::alloc(self.name(), outs[0].dtype, &outs[0].shape)?;
        kernels::scan(self.kind, inputs[0].view(), self.axis, self.reverse, self.inclusive, out.out());
        Ok(smallvec![out])
    }
    fn params(&self, params: &mut Params<'_>) {
        params.put("axis", Param::Int(self.axis as i64));
        params.put("reverse", Param::Int(i64::from(self.reverse)));
        params.put("inclusive", Param::Int(i64::from(self.inclusive)));
    }
    fn flops(&self, inputs: &[&[usize]], _outs: &[Aval]) -> u64 {
        inputs[0].iter().product::<usize>() as u64
    }
}

impl Linear for Scan {
    fn is_linear_in(&self, _i: usize) -> bool {
        true
    }
    fn transpose(&self, _i: usize, cotangents: &[Option<Array>], _x: &[Array]) -> Result<Option<Array>> {
        let back = Scan { reverse: !self.reverse, ..*self };
        cotangents[0].as_ref().map(|ct| Array::apply(back, smallvec![ct.clone()])).transpose()
    }
}

impl Structured for Scan {
    fn jvp(&self, tangents: &[Option<Array>], x: &[Array], y: &[Array]) -> Result<MaybeArrays> {
        let Some(t) = &tangents[0] else { return Ok(vec![None]) };
        let (x, y, axis) = (&x[0], &y[0], self.axis as isize);
        let tangent = match self.kind {
            Kind::Sum => unreachable!("the cumulative sum is linear"),
            Kind::Prod => self.doubling_tangent(x, t, 1.0, |p, q, d, e| Ok((p * q, &(d * q) + &(p * e))))?,
            Kind::LogAddExp => self.doubling_tangent(x, t, f64::NEG_INFINITY, |p, q, d, e| {
                let y = ops::try_logaddexp(p, q)?;
                // log 0 has no weight.
                let started = ops::try_greater(&y, &ops::constant_like(&y, f64::NEG_INFINITY))?;
                let both = &(d * &ops::try_logistic_share(p, q)?) + &(e * &ops::try_logistic_share(q, p)?);
                let tangent = ops::try_where_(&started, &both, &ops::zero_of(both.dtype()))?;
                Ok((y, tangent))
            })?,
            Kind::Max | Kind::Min => {
                // The element that set the record last; before the first one of an exclusive scan, none.
                let n = x.shape()[self.axis];
                let set = if self.inclusive { ops::try_equal(x, y)? } else { self.record_setters(x)? };
                let index = ops::iota_like(x, self.axis)?;
                let (none, kind) = if self.reverse { (n as f64, Kind::Min) } else { (-1.0, Kind::Max) };
                let none = ops::constant_like(&index, none);
                let last = ops::try_where_(&set, &index, &none)?;
                let last = Array::apply(Scan { kind, ..*self }, smallvec![last])?;
                let inside = ops::try_logical_and(
                    &ops::try_greater_equal(&last, &ops::constant_like(&last, 0.0))?,
                    &ops::try_less(&last, &ops::constant_like(&last, n as f64))?,
                )?;
                let place = ops::try_where_(&inside, &last, &ops::constant_like(&last, 0.0))?;
                let moved = ops::try_take_along_axis(t, &place, axis)?;
                ops::try_where_(&inside, &moved, &ops::zero_of(t.dtype()))?
            }
        };
        Ok(vec![Some(tangent)])
    }
}

impl Scan {
    /// Where the inclusive scan meets a new (or equal) extreme.
    fn record_setters(&self, x: &Array) -> Result<Array> {
        let records = Array::apply(Scan { inclusive: true, ..*self }, smallvec![x.clone()])?;
        ops::try_equal(x, &records)
    }

    /// The tangent of a cumulative operation by doubling (Hillis and Steele, 1986): values and tangents of
    /// neighbours 1, 2, 4, … apart are combined, log₂ n steps of public ops. For products this is exact where
    /// factors are zero, to any order.
    fn doubling_tangent(
        &self,
        x: &Array,
        t: &Array,
        identity: f64,
        combine: impl Fn(&Array, &Array, &Array, &Array) -> Result<(Array, Array)>,
    ) -> Result<Array> {
        let n = x.shape()[self.axis];
        // `v` moved `by` places along the scan, with `fill` coming in.
        let shift = |v: &Array, by: usize, fill: f64| -> Result<Array> {
            let by = by.min(n);
            let mut edge = crate::shape::Shape::from_slice(v.shape());
            edge[self.axis] = by;
            let edge = ops::try_broadcast_to(&ops::constant_like(v, fill), &edge)?;
            let axis = self.axis as isize;
            if self.reverse {
                ops::try_concatenate(&[ops::slice_axis(v, self.axis, by, n)?, edge], axis)
            } else {
                ops::try_concatenate(&[edge, ops::slice_axis(v, self.axis, 0, n - by)?], axis)
            }
        };
        let (mut p, mut d) = (x.clone(), t.clone());
        if !self.inclusive {
            (p, d) = (shift(&p, 1, identity)?, shift(&d, 1, 0.0)?);
        }
        let mut by = 1;
        while by < n {
            (p, d) = combine(&p, &shift(&p, by, identity)?, &d, &shift(&d, by, 0.0)?)?;
            by *= 2;
        }
        Ok(d)
    }
}
