//! Evenly spaced numbers.

use crate::array::{Array, Aval};
use crate::buffer::Data;
use crate::error::Result;
use crate::ops;
use crate::primitive::{Avals, Batch, Derivative, Param, Params, Primitive, Values};
use covector_kernels::{self as kernels, Dtype, Spaced};
use smallvec::smallvec;

/// `count` evenly spaced numbers.
pub(crate) struct Range {
    pub(crate) numbers: Spaced,
    pub(crate) count: usize,
    pub(crate) dtype: Dtype,
}

impl Primitive for Range {
    fn name(&self) -> &'static str {
        match self.numbers {
            Spaced::Whole { .. } | Spaced::Real { .. } => "arange",
            Spaced::Ends { .. } => "linspace",
        }
    }
    fn infer(&self, _inputs: &[Array]) -> Result<Avals> {
        Ok(smallvec![Aval::new(self.dtype, [self.count])])
    }
    fn derivative(&self) -> Derivative<'_> {
        Derivative::Zero
    }
    fn batch(&self, batch: &Batch<'_>) -> Result<Vec<Array>> {
        // It has no inputs, so nothing of it is ever batched; a repeat is still the right answer.
        Ok(vec![ops::with_batch(&batch.again(&[])?[0], batch.size)?])
    }
    fn eval(&self, _inputs: Values, outs: &[Aval]) -> Result<Values> {
        let mut out = Data::alloc(self.name(), self.dtype, &outs[0].shape)?;
        kernels::spaced(self.numbers, out.out());
        Ok(smallvec![out])
    }
    fn params(&self, params: &mut Params<'_>) {
        match self.numbers {
            Spaced::Whole { start, step } => {
                // An integer may need more than 64 bits: two parts of each.
                for (name, rest, v) in [("start", "start_high", start), ("step", "step_high", step)] {
                    params.put(name, Param::Int(v as i64));
                    params.put(rest, Param::Int((v >> 64) as i64));
                }
            }
            Spaced::Real { start, step } => {
                params.put("start", Param::Float(start));
                params.put("step", Param::Float(step));
            }
            Spaced::Ends { start, stop } => {
                params.put("start", Param::Float(start));
                params.put("stop", Param::Float(stop));
            }
        }
        params.put("count", Param::Int(self.count as i64));
        params.put("dtype", Param::Text(self.dtype.name()));
    }
}
