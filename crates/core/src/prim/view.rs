//! Bits seen as another element type.

use crate::array::{Array, Aval};
use crate::error::{Error, Result};
use crate::primitive::{Avals, Batch, Derivative, Param, Params, Primitive, Values};
use crate::shape::{Shape, ShapeText};
use covector_kernels::Dtype;
use smallvec::smallvec;

/// The bytes of the elements, row-major, as elements of another type; the last axis changes with the elements' size.
pub(crate) struct View {
    pub(crate) dtype: Dtype,
}

impl Primitive for View {
    fn name(&self) -> &'static str {
        "view"
    }
    fn infer(&self, inputs: &[Array]) -> Result<Avals> {
        let x = &inputs[0];
        let mut shape = Shape::from_slice(x.shape());
        let (from, to) = (x.dtype().size(), self.dtype.size());
        if from != to {
            let fits = shape.last().is_some_and(|n| (n * from).is_multiple_of(to));
            let Some(last) = shape.last_mut().filter(|_| fits) else {
                return Err(Error::shape(
                    "view",
                    format!(
                        "the {from}-byte elements along the last axis of shape {} do not fill {to}-byte elements of {}",
                        ShapeText(x.shape()),
                        self.dtype
                    ),
                ));
            };
            *last = *last * from / to;
        }
        Ok(smallvec![Aval { dtype: self.dtype, shape }])
    }
    fn derivative(&self) -> Derivative<'_> {
        Derivative::None(
            "bits are not a smooth function of a number. Convert values with astype, or exclude this step with \
             stop_gradient",
        )
    }
    fn batch(&self, batch: &Batch<'_>) -> Result<Vec<Array>> {
        // The batch is the first axis and never the only one that changes: a scalar lane was refused by `infer`.
        batch.again(batch.inputs)
    }
    fn eval(&self, inputs: Values, outs: &[Aval]) -> Result<Values> {
        let row_major = inputs[0].row_major("view")?;
        drop(inputs);
        Ok(smallvec![row_major.reinterpreted("view", self.dtype, &outs[0].shape)?])
    }
    fn params(&self, params: &mut Params<'_>) {
        params.put("dtype", Param::Text(self.dtype.name()));
    }
}
