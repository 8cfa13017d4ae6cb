//! Gather and scatter: reading and writing at places that are known only at run time.

use crate::array::{Array, Aval};
use crate::buffer::Data;
use crate::error::{Error, Result};
use crate::ops;
use crate::primitive::{
    Avals, Batch, Derivative, Linear, MaybeArrays, Param, Params, Primitive, Structured, Values,
};
use crate::shape::Dims;
use crate::shape::{Shape, ShapeText};
use covector_kernels::{self as kernels, Dtype, OutOfBounds, Scatter as Kind, View};
use smallvec::{SmallVec, smallvec};

fn out_of_bounds(op: &'static str) -> impl Fn(OutOfBounds) -> Error {
    move |e| {
        Error::index(
            op,
            format!("index {} is out of bounds for axis {} with extent {}", e.index, e.axis, e.size),
        )
    }
}

/// Slices of input 0 that start at the indices of inputs 1, 2, …: output axes are those of the (equal-shaped)
/// index arrays, then those of a slice.
pub(crate) struct Gather {
    /// The public operation, for messages: an index is checked when the values are computed.
    pub(crate) op: &'static str,
    /// The axis of input 0 that each index array counts along.
    pub(crate) axes: Dims,
    /// The extent of a slice on every axis of input 0.
    pub(crate) slice: Shape,
}

impl Primitive for Gather {
    fn name(&self) -> &'static str {
        "gather"
    }
    fn infer(&self, inputs: &[Array]) -> Result<Avals> {
        let src = inputs[0].shape();
        if let Some(k) = (0..src.len()).find(|&k| self.slice[k] > src[k]) {
            return Err(Error::index(
                self.op,
                format!("axis {k} of shape {} has no slice of extent {}", ShapeText(src), self.slice[k]),
            ));
        }
        let mut shape = inputs.get(1).map_or_else(Shape::new, |i| Shape::from_slice(i.shape()));
        shape.extend_from_slice(&self.slice);
        Ok(smallvec![Aval { dtype: inputs[0].dtype(), shape }])
    }
    fn derivative(&self) -> Derivative<'_> {
        Derivative::Linear(self)
    }
    fn batch(&self, batch: &Batch<'_>) -> Result<Vec<Array>> {
        let indexed = batch.batched[1..].contains(&true);
        let src = &batch.inputs[0];
        let rank = batch.inputs[1].ndim() - usize::from(batch.batched[1]);
        if !batch.batched[0] {
            let indices = full_indices(batch, 1)?;
            return Ok(vec![ops::gather(self.op, src, &indices, self.axes.clone(), self.slice.clone())?]);
        }
        let mut axes: Dims = self.axes.iter().map(|a| a + 1).collect();
        let mut slice = self.slice.clone();
        if !indexed {
            // The batch is one more axis of the slice; it ends up behind the index axes.
            slice.insert(0, batch.size);
            let out = ops::gather(self.op, src, &batch.inputs[1..], axes, slice)?;
            return Ok(vec![ops::try_moveaxis(&out, rank as isize, 0)?]);
        }
        // Both: the batch's own index picks its part of the source.
        axes.insert(0, 0);
        slice.insert(0, batch.size.min(1));
        let mut indices = full_indices(batch, 1)?;
        indices.insert(0, batch_index(batch.size, indices[0].shape())?);
        let mut shape = Shape::from_slice(indices[0].shape());
        shape.extend_from_slice(&self.slice);
        Ok(vec![ops::reshape_to(&ops::gather(self.op, src, &indices, axes, slice)?, &shape)?])
    }
    fn eval(&self, inputs: Values, outs: &[Aval]) -> Result<Values> {
        let mut out = Data::alloc(self.op, outs[0].dtype, &outs[0].shape)?;
        let indices: SmallVec<[View<'_>; 4]> = inputs[1..].iter().map(Data::view).collect();
        kernels::gather(inputs[0].view(), &indices, &self.axes, &self.slice, out.out())
            .map_err(out_of_bounds(self.op))?;
        Ok(smallvec![out])
    }
    fn params(&self, params: &mut Params<'_>) {
        params.put("op", Param::Text(self.op));
        params.put("axes", Param::Ints(&self.axes));
        params.put("slice", Param::Ints(&self.slice));
    }
}

impl Linear for Gather {
    fn is_linear_in(&self, i: usize) -> bool {
        i == 0
    }
    fn transpose(&self, _i: usize, cotangents: &[Option<Array>], x: &[Array]) -> Result<Option<Array>> {
        let Some(ct) = &cotangents[0] else { return Ok(None) };
        ops::scatter(self.op, Kind::Add, &ops::zeros_like(&x[0]), &x[1..], self.axes.clone(), ct).map(Some)
    }
}

/// The index arrays of a batch, all with the batch as axis 0.
fn full_indices(batch: &Batch<'_>, from: usize) -> Result<Vec<Array>> {
    (from..batch.inputs.len()).map(|i| batch.full(i)).collect()
}

/// For an index shape `(batch, …)`: the number of the batch element, everywhere.
fn batch_index(size: usize, shape: &[usize]) -> Result<Array> {
    let mut line: Shape = smallvec![1; shape.len()];
    line[0] = size;
    let numbers = ops::reshape_to(&ops::iota(size, Dtype::I64)?, &line)?;
    ops::try_broadcast_to(&numbers, shape)
}

/// Input 0 with input 1's slices combined into it at the indices of inputs 2, 3, ….
pub(crate) struct Scatter {
    /// The public operation, for messages.
    pub(crate) op: &'static str,
    pub(crate) kind: Kind,
    pub(crate) axes: Dims,
}

impl Scatter {
    /// The extents of one slice of the updates.
    fn slice(&self, x: &[Array]) -> Shape {
        Shape::from_slice(&x[1].shape()[x[2].ndim()..])
    }

    fn again(&self, kind: Kind, x: &[Array], target: &Array, updates: &Array) -> Result<Array> {
        ops::scatter(self.op, kind, target, &x[2..], self.axes.clone(), updates)
    }

    /// The product of the factors that are zero, `count` of them in each place, and its tangent.
    ///
    /// The product of n factors is their elementary symmetric polynomial of degree n, which Newton's identities make
    /// from the sums of their powers. That needs no more than a scatter of sums, and is exact in every derivative of up to
    /// three zeros. Of more zeros all derivatives up to the third vanish; higher ones are not computed, and are 0.
    fn product_of_zeros(
        &self,
        x: &[Array],
        count: &Array,
        factors: &[Array; 2],
        tangents: &[Array; 2],
    ) -> Result<(Array, Array)> {
        let sum = |f: &dyn Fn(usize) -> Array| self.again(Kind::Add, x, &f(0), &f(1));
        let p1 = sum(&|i| factors[i].clone())?;
        let p2 = sum(&|i| ops::square(&factors[i]))?;
        let p3 = sum(&|i| &ops::square(&factors[i]) * &factors[i])?;
        let d1 = sum(&|i| tangents[i].clone())?;
        let d2 = sum(&|i| &tangents[i] * &factors[i] * 2.0)?;
        let d3 = sum(&|i| &tangents[i] * &ops::square(&factors[i]) * 3.0)?;
        let square = ops::square(&p1);
        let two = (&square - &p2) * 0.5;
        let three = (&square * &p1 - &p1 * &p2 * 3.0 + &p3 * 2.0) / 6.0;
        let slope_two = &p1 * &d1 - &d2 * 0.5;
        let slope_three = (&square * &d1 * 3.0 - (&d1 * &p2 + &p1 * &d2) * 3.0 + &d3 * 2.0) / 6.0;
        let none = ops::zero_of(count.dtype());
        let pick = |cases: [&Array; 4]| -> Result<Array> {
            let mut chosen = none.clone();
            for (n, case) in cases.into_iter().enumerate().rev() {
                let here = ops::try_equal(count, &ops::constant_like(count, n as f64))?;
                chosen = ops::try_where_(&here, case, &chosen)?;
            }
            Ok(chosen)
        };
        let one = ops::constant_like(count, 1.0);
        Ok((pick([&one, &p1, &two, &three])?, pick([&none, &d1, &slope_two, &slope_three])?))
    }

    /// What stands in `target` at each update's place.
    fn read(&self, x: &[Array], target: &Array) -> Result<Array> {
        ops::gather(self.op, target, &x[2..], self.axes.clone(), self.slice(x))
    }
}

impl Primitive for Scatter {
    fn name(&self) -> &'static str {
        match self.kind {
            Kind::Set => "scatter",
            Kind::Add => "scatter_add",
            Kind::Prod => "scatter_prod",
            Kind::Max => "scatter_max",
            Kind::Min => "scatter_min",
        }
    }
    fn infer(&self, inputs: &[Array]) -> Result<Avals> {
        Ok(smallvec![inputs[0].aval().clone()])
    }
    fn derivative(&self) -> Derivative<'_> {
        match self.kind {
            Kind::Add => Derivative::Linear(self),
            _ => Derivative::Structured(self),
        }
    }
    fn batch(&self, batch: &Batch<'_>) -> Result<Vec<Array>> {
        let (target, updates) = (batch.full(0)?, batch.full(1)?);
        let mut indices = full_indices(batch, 2)?;
        let rank = indices[0].ndim();
        indices.insert(0, batch_index(batch.size, indices[0].shape())?);
        let mut axes: Dims = self.axes.iter().map(|a| a + 1).collect();
        axes.insert(0, 0);
        let updates = ops::try_expand_dims(&updates, &[rank as isize])?;
        Ok(vec![ops::scatter(self.op, self.kind, &target, &indices, axes, &updates)?])
    }
    fn eval(&self, mut inputs: Values, outs: &[Aval]) -> Result<Values> {
        let target = inputs.remove(0);
        let mut out = owned(self.op, target, &outs[0])?;
        let indices: SmallVec<[View<'_>; 4]> = inputs[1..].iter().map(Data::view).collect();
        kernels::scatter(self.kind, out.out(), &indices, &self.axes, inputs[0].view())
            .map_err(out_of_bounds(self.op))?;
        Ok(smallvec![out])
    }
    fn params(&self, params: &mut Params<'_>) {
        params.put("op", Param::Text(self.op));
        params.put("axes", Param::Ints(&self.axes));
    }
}

/// `target` itself when nobody else holds it, else a copy.
fn owned(op: &'static str, target: Data, aval: &Aval) -> Result<Data> {
    if target.is_unique() {
        return Ok(target);
    }
    let mut out = Data::alloc(op, aval.dtype, &aval.shape)?;
    kernels::cast(target.view(), out.out());
    Ok(out)
}

impl Linear for Scatter {
    fn is_linear_in(&self, i: usize) -> bool {
        i < 2
    }
    fn transpose(&self, i: usize, cotangents: &[Option<Array>], x: &[Array]) -> Result<Option<Array>> {
        let Some(ct) = &cotangents[0] else { return Ok(None) };
        if i == 0 { Ok(Some(ct.clone())) } else { self.read(x, ct).map(Some) }
    }
}

impl Structured for Scatter {
    fn jvp(&self, tangents: &[Option<Array>], x: &[Array], y: &[Array]) -> Result<MaybeArrays> {
        let t = |i: usize| tangents[i].clone().unwrap_or_else(|| ops::zeros_like(&x[i]));
        let (t0, t1) = (t(0), t(1));
        let zero = ops::zero_of(t0.dtype());
        Ok(vec![Some(match self.kind {
            Kind::Add => unreachable!("scatter_add is linear"),
            Kind::Set => {
                // Where several updates meet, only the one that stayed has a tangent: number them and look.
                let numbers = ops::iota_of(x[1].shape(), Dtype::I64)?;
                let none = ops::full_i64(x[0].shape(), -1);
                let winner = self.again(Kind::Set, x, &none, &numbers)?;
                let stayed = ops::try_equal(&self.read(x, &winner)?, &numbers)?;
                let untouched = ops::try_less(&winner, &ops::constant_like(&winner, 0.0))?;
                let base = ops::try_where_(&untouched, &t0, &zero)?;
                self.again(Kind::Add, x, &base, &ops::try_where_(&stayed, &t1, &zero)?)?
            }
            Kind::Max | Kind::Min => {
                // Those that tie for the extreme share the tangent equally.
                let one = |hit: &Array| ops::to_dtype(hit, t0.dtype());
                let hit0 = ops::try_equal(&x[0], &y[0])?;
                let hit1 = ops::try_equal(&x[1], &self.read(x, &y[0])?)?;
                let count = self.again(Kind::Add, x, &one(&hit0), &one(&hit1))?;
                let base = ops::try_where_(&hit0, &t0, &zero)?;
                let moved = ops::try_where_(&hit1, &t1, &zero)?;
                ops::try_divide(&self.again(Kind::Add, x, &base, &moved)?, &count)?
            }
            Kind::Prod => {
                // The product P of the factors that are not zero times the product Q of those that are.
                let one = ops::constant_like(&x[0], 1.0);
                let is_zero = |v: &Array| ops::try_equal(v, &ops::zero_of(v.dtype()));
                let zeros = [is_zero(&x[0])?, is_zero(&x[1])?];
                let choose = |at: usize, a: &Array, b: &Array| ops::try_where_(&zeros[at], a, b);
                let safe = [choose(0, &one, &x[0])?, choose(1, &one, &x[1])?];
                let product = self.again(Kind::Prod, x, &safe[0], &safe[1])?;
                let share = |at: usize, t: &Array, product: &Array| {
                    choose(at, &zero, &ops::try_multiply(t, &ops::try_divide(product, &safe[at])?)?)
                };
                let of_others = self.again(
                    Kind::Add,
                    x,
                    &share(0, &t0, &product)?,
                    &share(1, &t1, &self.read(x, &product)?)?,
                )?;
                let number = |hit: &Array| ops::to_dtype(hit, t0.dtype());
                let count = self.again(Kind::Add, x, &number(&zeros[0]), &number(&zeros[1]))?;
                let factors = [choose(0, &x[0], &zero)?, choose(1, &x[1], &zero)?];
                let tangents = [choose(0, &t0, &zero)?, choose(1, &t1, &zero)?];
                let (vanished, slope) = self.product_of_zeros(x, &count, &factors, &tangents)?;
                ops::try_add(
                    &ops::try_multiply(&of_others, &vanished)?,
                    &ops::try_multiply(&product, &slope)?,
                )?
            }
        })])
    }
}

/// One element of input 0 for each element of input 1, an index along `axis`; the shapes agree elsewhere.
pub(crate) struct TakeAlong {
    /// The public operation, for messages.
    pub(crate) op: &'static str,
    pub(crate) axis: usize,
    /// Whether the indices are classes of a loss: these do not count from the end.
    pub(crate) classes: bool,
}

impl Primitive for TakeAlong {
    fn name(&self) -> &'static str {
        "take_along_axis"
    }
    fn infer(&self, inputs: &[Array]) -> Result<Avals> {
        Ok(smallvec![Aval::new(inputs[0].dtype(), inputs[1].shape())])
    }
    fn derivative(&self) -> Derivative<'_> {
        Derivative::Linear(self)
    }
    fn batch(&self, batch: &Batch<'_>) -> Result<Vec<Array>> {
        let take = TakeAlong { op: self.op, axis: self.axis + 1, classes: self.classes };
        Ok(vec![Array::apply(take, smallvec![batch.full(0)?, batch.full(1)?])?])
    }
    fn eval(&self, inputs: Values, outs: &[Aval]) -> Result<Values> {
        if self.classes
            && let Some(class) = kernels::first_negative(inputs[1].view())
        {
            let count = inputs[0].shape()[self.axis];
            return Err(Error::index(
                self.op,
                format!("class {class} is negative; the classes are numbered from 0 to {}", count.max(1) - 1),
            ));
        }
        let mut out = Data::alloc(self.op, outs[0].dtype, &outs[0].shape)?;
        kernels::take_along_axis(inputs[0].view(), inputs[1].view(), self.axis, out.out())
            .map_err(out_of_bounds(self.op))?;
        Ok(smallvec![out])
    }
    fn params(&self, params: &mut Params<'_>) {
        params.put("op", Param::Text(self.op));
        params.put("axis", Param::Int(self.axis as i64));
        params.put("classes", Param::Int(i64::from(self.classes)));
    }
}

impl Linear for TakeAlong {
    fn is_linear_in(&self, i: usize) -> bool {
        i == 0
    }
    fn transpose(&self, _i: usize, cotangents: &[Option<Array>], x: &[Array]) -> Result<Option<Array>> {
        let Some(ct) = &cotangents[0] else { return Ok(None) };
        let (shape, axis) = (x[0].shape(), self.axis);
        let one_each = (0..shape.len()).all(|k| x[1].shape()[k] == if k == axis { 1 } else { shape[k] });
        if !one_each || i32::try_from(shape[axis]).is_err() {
            return ops::scatter_along(self.op, Kind::Add, &ops::zeros_like(&x[0]), &x[1], axis, ct)
                .map(Some);
        }
        // One element of each line, as a loss picks its targets: a comparison, which runs along with whatever else
        // is done to the lines, where a scatter would be a pass over memory of its own.
        let extent = shape[axis] as i32;
        let mut line: Shape = smallvec![1; shape.len()];
        line[axis] = shape[axis];
        let places = ops::reshape_to(&ops::try_arange(0, extent, 1, Dtype::I32)?, &line)?;
        let mut index = ops::to_dtype(&x[1], Dtype::I32);
        if !self.classes {
            let from_end = ops::try_add(&index, &Array::scalar(extent))?;
            index = ops::try_where_(&ops::try_less(&index, &Array::scalar(0i32))?, &from_end, &index)?;
        }
        ops::try_where_(&ops::try_equal(&places, &index)?, ct, &ops::zero_of(ct.dtype())).map(Some)
    }
}

/// Input 0 with input 1 combined into it at the indices of input 2 along `axis`; input 1 has input 2's shape.
pub(crate) struct ScatterAlong {
    /// The public operation, for messages.
    pub(crate) op: &'static str,
    pub(crate) kind: Kind,
    pub(crate) axis: usize,
}

impl Primitive for ScatterAlong {
    fn name(&self) -> &'static str {
        if self.kind == Kind::Set { "put_along_axis" } else { "scatter_add_axis" }
    }
    fn infer(&self, inputs: &[Array]) -> Result<Avals> {
        Ok(smallvec![inputs[0].aval().clone()])
    }
    fn derivative(&self) -> Derivative<'_> {
        if self.kind == Kind::Add { Derivative::Linear(self) } else { Derivative::Structured(self) }
    }
    fn batch(&self, batch: &Batch<'_>) -> Result<Vec<Array>> {
        let (target, updates, indices) = (batch.full(0)?, batch.full(1)?, batch.full(2)?);
        Ok(vec![ops::scatter_along(self.op, self.kind, &target, &indices, self.axis + 1, &updates)?])
    }
    fn eval(&self, mut inputs: Values, outs: &[Aval]) -> Result<Values> {
        let target = inputs.remove(0);
        let mut out = owned(self.op, target, &outs[0])?;
        kernels::scatter_along_axis(self.kind, out.out(), inputs[1].view(), self.axis, inputs[0].view())
            .map_err(out_of_bounds(self.op))?;
        Ok(smallvec![out])
    }
    fn params(&self, params: &mut Params<'_>) {
        params.put("op", Param::Text(self.op));
        params.put("axis", Param::Int(self.axis as i64));
    }
}

impl Linear for ScatterAlong {
    fn is_linear_in(&self, i: usize) -> bool {
        i < 2
    }
    fn transpose(&self, i: usize, cotangents: &[Option<Array>], x: &[Array]) -> Result<Option<Array>> {
        let Some(ct) = &cotangents[0] else { return Ok(None) };
        Ok(Some(if i == 0 { ct.clone() } else { ops::take_along(self.op, ct, &x[2], self.axis)? }))
    }
}

impl Structured for ScatterAlong {
    /// Only for `Set`: as [`Scatter`]'s, the update that stayed is found by its number.
    fn jvp(&self, tangents: &[Option<Array>], x: &[Array], _y: &[Array]) -> Result<MaybeArrays> {
        let t = |i: usize| tangents[i].clone().unwrap_or_else(|| ops::zeros_like(&x[i]));
        let zero = ops::zero_of(x[0].dtype());
        let numbers = ops::iota_of(x[1].shape(), Dtype::I64)?;
        let none = ops::full_i64(x[0].shape(), -1);
        let winner = ops::scatter_along(self.op, Kind::Set, &none, &x[2], self.axis, &numbers)?;
        let stayed = ops::try_equal(&ops::take_along(self.op, &winner, &x[2], self.axis)?, &numbers)?;
        let untouched = ops::try_less(&winner, &ops::constant_like(&winner, 0.0))?;
        let base = ops::try_where_(&untouched, &t(0), &zero)?;
        let moved = ops::try_where_(&stayed, &t(1), &zero)?;
        Ok(vec![Some(ops::scatter_along(self.op, Kind::Add, &base, &x[2], self.axis, &moved)?)])
    }
}
