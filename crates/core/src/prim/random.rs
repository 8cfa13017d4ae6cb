//! Counter-based random bits and ranges of numbers: the primitives that create values.

use crate::array::{Array, Aval};
use crate::buffer::Data;
use crate::error::Result;
use crate::ops;
use crate::primitive::{Avals, Batch, Derivative, Param, Params, Primitive, Values};
use crate::shape::Shape;
use covector_kernels::{self as kernels, Dtype};
use smallvec::smallvec;

/// Uniform random unsigned integers from Threefry-2x32 keys of shape `(…, 2)`: for each key, `shape` numbers.
pub(crate) struct RandomBits {
    pub(crate) shape: Shape,
    pub(crate) dtype: Dtype,
}

impl Primitive for RandomBits {
    fn name(&self) -> &'static str {
        "random_bits"
    }
    fn infer(&self, inputs: &[Array]) -> Result<Avals> {
        let keys = inputs[0].shape();
        let mut shape = Shape::from_slice(&keys[..keys.len() - 1]);
        shape.extend_from_slice(&self.shape);
        crate::shape::checked_size("random", &shape)?;
        Ok(smallvec![Aval { dtype: self.dtype, shape }])
    }
    fn derivative(&self) -> Derivative<'_> {
        Derivative::Zero
    }
    fn batch(&self, batch: &Batch<'_>) -> Result<Vec<Array>> {
        batch.again(batch.inputs)
    }
    fn eval(&self, inputs: Values, outs: &[Aval]) -> Result<Values> {
        let keys = inputs[0].row_major("random_bits")?;
        let keys = keys.view().as_slice::<u32>().expect("keys are row-major uint32");
        let width = self.dtype.size();
        let mut out = Data::alloc("random_bits", self.dtype, &outs[0].shape)?;
        let bytes = out.size() * width;
        if bytes > 0 {
            // SAFETY: fresh memory of that many bytes, held by us alone; every byte is written below.
            let all = unsafe {
                std::ptr::write_bytes(out.out().ptr(), 0, bytes);
                std::slice::from_raw_parts_mut(out.out().ptr(), bytes)
            };
            let each = self.shape.iter().product::<usize>() * width;
            for (key, part) in keys.chunks_exact(2).zip(all.chunks_exact_mut(each)) {
                kernels::random::bits([key[0], key[1]], width, part);
            }
        }
        Ok(smallvec![out])
    }
    fn params(&self, params: &mut Params<'_>) {
        params.put("shape", Param::Ints(&self.shape));
        params.put("dtype", Param::Text(self.dtype.name()));
    }
}

/// `start, start + step, …`: `count` numbers.
pub(crate) struct Arange {
    pub(crate) start: f64,
    pub(crate) step: f64,
    pub(crate) count: usize,
    pub(crate) dtype: Dtype,
}

impl Primitive for Arange {
    fn name(&self) -> &'static str {
        "arange"
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
        let mut out = Data::alloc("arange", self.dtype, &outs[0].shape)?;
        kernels::arange(self.start, self.step, out.out());
        Ok(smallvec![out])
    }
    fn params(&self, params: &mut Params<'_>) {
        params.put("start", Param::Float(self.start));
        params.put("step", Param::Float(self.step));
        params.put("count", Param::Int(self.count as i64));
        params.put("dtype", Param::Text(self.dtype.name()));
    }
}
