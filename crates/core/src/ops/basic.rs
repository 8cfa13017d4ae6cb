//! Identities: aliases that mark tracer leaves, `stop_gradient`, conversion between element types, and the
//! barrier that orders recomputation.

use crate::array::{Array, Aval};
use crate::error::Result;
use crate::ops;
use crate::primitive::{
    Avals, Batch, Code, Derivative, Linear, Lower, Param, Params, Primitive, TileFn, Values,
};
use crate::wide;
use covector_kernels::Dtype;
use covector_kernels::convert::{cast_tile, to_half_tile};
use smallvec::smallvec;

/// The identity. A tracer leaf is an alias of what it stands for.
pub(crate) struct Alias;
pub(crate) static ALIAS: Alias = Alias;

impl Primitive for Alias {
    fn name(&self) -> &'static str {
        "alias"
    }
    fn infer(&self, inputs: &[Array]) -> Result<Avals> {
        Ok(smallvec![inputs[0].aval().clone()])
    }
    fn derivative(&self) -> Derivative<'_> {
        Derivative::Linear(self)
    }
    fn batch(&self, batch: &Batch<'_>) -> Result<Vec<Array>> {
        Ok(batch.inputs.to_vec())
    }
    fn lower(&self, _inputs: &[Array]) -> Lower<'_> {
        Lower::Identity { first: 0 }
    }
}

impl Linear for Alias {
    fn is_linear_in(&self, _i: usize) -> bool {
        true
    }
    fn transpose(&self, _i: usize, cotangents: &[Option<Array>], _x: &[Array]) -> Result<Option<Array>> {
        Ok(cotangents[0].clone())
    }
}

/// The identity with a derivative of zero.
pub(crate) struct StopGradient;
pub(crate) static STOP_GRADIENT: StopGradient = StopGradient;

impl Primitive for StopGradient {
    fn name(&self) -> &'static str {
        "stop_gradient"
    }
    fn infer(&self, inputs: &[Array]) -> Result<Avals> {
        Ok(smallvec![inputs[0].aval().clone()])
    }
    fn derivative(&self) -> Derivative<'_> {
        Derivative::Zero
    }
    fn batch(&self, batch: &Batch<'_>) -> Result<Vec<Array>> {
        batch.again(batch.inputs)
    }
    fn lower(&self, _inputs: &[Array]) -> Lower<'_> {
        Lower::Identity { first: 0 }
    }
}

/// The identity on the first `outs` inputs, computed after all the inputs are.
///
/// To the planner it is a call like any other: were it looked through, what is recomputed behind it would be
/// recognised as computed before and kept.
pub(crate) struct Barrier {
    pub(crate) outs: usize,
}

impl Primitive for Barrier {
    fn name(&self) -> &'static str {
        "barrier"
    }
    fn infer(&self, inputs: &[Array]) -> Result<Avals> {
        Ok(inputs[..self.outs].iter().map(|x| x.aval().clone()).collect())
    }
    fn derivative(&self) -> Derivative<'_> {
        Derivative::Linear(self)
    }
    fn batch(&self, batch: &Batch<'_>) -> Result<Vec<Array>> {
        let inputs: Vec<Array> = (0..batch.inputs.len()).map(|i| batch.full(i)).collect::<Result<_>>()?;
        batch.again(&inputs)
    }
    fn eval(&self, mut inputs: Values, _outs: &[Aval]) -> Result<Values> {
        inputs.truncate(self.outs);
        Ok(inputs)
    }
    fn params(&self, params: &mut Params<'_>) {
        params.put("outs", Param::Int(self.outs as i64));
    }
}

impl Linear for Barrier {
    fn is_linear_in(&self, i: usize) -> bool {
        i < self.outs
    }
    fn transpose(&self, i: usize, cotangents: &[Option<Array>], _x: &[Array]) -> Result<Option<Array>> {
        Ok(cotangents[i].clone())
    }
}

/// Conversion to another element type. Linear between inexact types; zero derivative otherwise.
pub(crate) struct AsType {
    pub(crate) to: Dtype,
}

/// To each type, in the order of their numbers.
pub(crate) static AS_TYPE: [AsType; 14] = {
    use Dtype::{Bf16, Bool, C64, F16, F32, F64, I8, I16, I32, I64, U8, U16, U32, U64};
    let mut all = [const { AsType { to: Bool } }; 14];
    let types = [Bool, U8, U16, U32, U64, I8, I16, I32, I64, F16, Bf16, F32, F64, C64];
    let mut k = 0;
    while k < types.len() {
        all[types[k] as usize] = AsType { to: types[k] };
        k += 1;
    }
    all
};

impl Primitive for AsType {
    fn name(&self) -> &'static str {
        "astype"
    }
    fn infer(&self, inputs: &[Array]) -> Result<Avals> {
        Ok(smallvec![Aval::new(self.to, inputs[0].shape())])
    }
    fn derivative(&self) -> Derivative<'_> {
        if self.to.is_inexact() { Derivative::Linear(self) } else { Derivative::Zero }
    }
    fn batch(&self, batch: &Batch<'_>) -> Result<Vec<Array>> {
        batch.again(batch.inputs)
    }
    fn lower(&self, inputs: &[Array]) -> Lower<'_> {
        // Half-precision sides are float32 inside a chain, which narrows and widens by itself.
        let from = wide::of(inputs[0].dtype());
        let code = (from == Dtype::Bool).then_some(Code::FromBool);
        let to_half = wide::is_half(self.to);
        let tile = TileFn::One(if to_half { to_half_tile(from) } else { cast_tile(from, self.to) });
        Lower::Map { tile, code }
    }
    fn params(&self, params: &mut Params<'_>) {
        params.put("to", Param::Text(self.to.name()));
    }
}

impl Linear for AsType {
    fn is_linear_in(&self, _i: usize) -> bool {
        true
    }
    fn transpose(&self, i: usize, cotangents: &[Option<Array>], x: &[Array]) -> Result<Option<Array>> {
        Ok(cotangents[0].as_ref().map(|ct| ops::to_dtype(ct, x[i].dtype())))
    }
}
