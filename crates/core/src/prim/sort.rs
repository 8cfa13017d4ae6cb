//! Sorting along an axis.

use crate::array::{Array, Aval};
use crate::buffer::Data;
use crate::error::Result;
use crate::ops;
use crate::primitive::{Avals, Batch, Derivative, MaybeArrays, Param, Params, Primitive, Structured, Values};
use covector_kernels::{self as kernels, Dtype};
use smallvec::smallvec;

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
