//! Between real and complex arrays. Transposes are written without conjugation; `rules` makes them adjoints.

use crate::array::{Array, Aval};
use crate::error::Result;
use crate::ops;
use crate::ops::elementwise::batch_elementwise;
use crate::primitive::{
    Avals, Batch, Derivative, Linear, Lower, MaybeArrays, Op, Params, Primitive, Structured, TileFn,
};
use crate::shape::broadcast_shapes;
use covector_kernels::{C64, Dtype, Tile1, Tile2, math, tile1, tile2};
use smallvec::smallvec;

/// Real-linear maps with one complex side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Part {
    Real,
    Imag,
    Conjugate,
}
pub(crate) static REAL: Part = Part::Real;
pub(crate) static IMAG: Part = Part::Imag;
pub(crate) static CONJUGATE: Part = Part::Conjugate;

/// Whether a primitive is the complex conjugation.
pub(crate) fn is_conjugate(op: &Op) -> bool {
    op.get::<Part>() == Some(&Part::Conjugate)
}

impl Primitive for Part {
    fn name(&self) -> &'static str {
        match self {
            Part::Real => "real",
            Part::Imag => "imag",
            Part::Conjugate => "conjugate",
        }
    }
    fn infer(&self, inputs: &[Array]) -> Result<Avals> {
        let dtype = if *self == Part::Conjugate { Dtype::C64 } else { Dtype::F32 };
        Ok(smallvec![Aval::new(dtype, inputs[0].shape())])
    }
    fn derivative(&self) -> Derivative<'_> {
        Derivative::Linear(self)
    }
    fn batch(&self, batch: &Batch<'_>) -> Result<Vec<Array>> {
        batch.again(batch.inputs)
    }
    fn lower(&self, _inputs: &[Array]) -> Lower<'_> {
        Lower::Map { tile: TileFn::One(self.tile()), code: None }
    }
    /// None: each has a name of its own.
    fn params(&self, _params: &mut Params<'_>) {}
}

impl Part {
    fn tile(self) -> Tile1 {
        match self {
            Part::Real => tile1!(C64 => f32, |z| z.re),
            Part::Imag => tile1!(C64 => f32, |z| z.im),
            Part::Conjugate => tile1!(C64 => C64, |z| z.conj()),
        }
    }
}

impl Linear for Part {
    fn is_linear_in(&self, _i: usize) -> bool {
        true
    }
    fn transpose(&self, _i: usize, cotangents: &[Option<Array>], _x: &[Array]) -> Result<Option<Array>> {
        let Some(ct) = &cotangents[0] else { return Ok(None) };
        let zero = ops::zeros_like(ct);
        Ok(Some(match self {
            Part::Real => ops::make_complex(ct, &zero)?,
            Part::Imag => ops::make_complex(&zero, &ops::try_negative(ct)?)?,
            Part::Conjugate => ops::try_conjugate(ct)?,
        }))
    }
}

/// `re + i·im` of two `float32` arrays.
pub(crate) struct MakeComplex;
static JOIN: Tile2 = tile2!(f32, f32 => C64, |re, im| C64::new(re, im));
pub(crate) static MAKE_COMPLEX: MakeComplex = MakeComplex;

impl Primitive for MakeComplex {
    fn name(&self) -> &'static str {
        "make_complex"
    }
    fn infer(&self, inputs: &[Array]) -> Result<Avals> {
        let shape = broadcast_shapes("make_complex", inputs[0].shape(), inputs[1].shape())?;
        Ok(smallvec![Aval { dtype: Dtype::C64, shape }])
    }
    fn derivative(&self) -> Derivative<'_> {
        Derivative::Linear(self)
    }
    fn batch(&self, batch: &Batch<'_>) -> Result<Vec<Array>> {
        batch_elementwise(batch)
    }
    fn lower(&self, _inputs: &[Array]) -> Lower<'_> {
        Lower::Map { tile: TileFn::Two(JOIN), code: None }
    }
}

impl Linear for MakeComplex {
    fn is_linear_in(&self, _i: usize) -> bool {
        true
    }
    fn transpose(&self, i: usize, cotangents: &[Option<Array>], x: &[Array]) -> Result<Option<Array>> {
        let Some(ct) = &cotangents[0] else { return Ok(None) };
        let part = if i == 0 { ops::try_real(ct)? } else { ops::try_negative(&ops::try_imag(ct)?)? };
        ops::sum_to(&part, x[i].shape()).map(Some)
    }
}

/// The modulus of a complex array.
pub(crate) struct ComplexAbs;
static MODULUS: Tile1 = tile1!(C64 => f32, |z| math::c64::abs(z));
pub(crate) static COMPLEX_ABS: ComplexAbs = ComplexAbs;

impl Primitive for ComplexAbs {
    fn name(&self) -> &'static str {
        "complex_abs"
    }
    fn infer(&self, inputs: &[Array]) -> Result<Avals> {
        Ok(smallvec![Aval::new(Dtype::F32, inputs[0].shape())])
    }
    fn derivative(&self) -> Derivative<'_> {
        Derivative::Structured(self)
    }
    fn batch(&self, batch: &Batch<'_>) -> Result<Vec<Array>> {
        batch.again(batch.inputs)
    }
    fn lower(&self, _inputs: &[Array]) -> Lower<'_> {
        Lower::Map { tile: TileFn::One(MODULUS), code: None }
    }
}

impl Structured for ComplexAbs {
    /// `Re(conj(z/|z|) · t)`, zero at zero.
    fn jvp(&self, tangents: &[Option<Array>], x: &[Array], _y: &[Array]) -> Result<MaybeArrays> {
        let Some(t) = &tangents[0] else { return Ok(vec![None]) };
        let direction = ops::try_conjugate(&ops::try_sign(&x[0])?)?;
        Ok(vec![Some(ops::try_real(&ops::try_multiply(&direction, t)?)?)])
    }
}

/// The direction `z/|z|` of a complex array, 0 for 0. The modulus of a number can be more than `float32` holds where its
/// direction is an ordinary one.
pub(crate) struct ComplexSign;
static DIRECTION: Tile1 = tile1!(C64 => C64, |z| math::c64::sign(z));
pub(crate) static COMPLEX_SIGN: ComplexSign = ComplexSign;

impl Primitive for ComplexSign {
    fn name(&self) -> &'static str {
        "complex_sign"
    }
    fn infer(&self, inputs: &[Array]) -> Result<Avals> {
        Ok(smallvec![inputs[0].aval().clone()])
    }
    fn derivative(&self) -> Derivative<'_> {
        Derivative::Structured(self)
    }
    fn batch(&self, batch: &Batch<'_>) -> Result<Vec<Array>> {
        batch.again(batch.inputs)
    }
    fn lower(&self, _inputs: &[Array]) -> Lower<'_> {
        Lower::Map { tile: TileFn::One(DIRECTION), code: None }
    }
}

impl Structured for ComplexSign {
    /// The part of `t/|z|` at a right angle to the direction `u`: `i·u·Im(conj(u)·t)/|z|`, zero at zero.
    fn jvp(&self, tangents: &[Option<Array>], x: &[Array], y: &[Array]) -> Result<MaybeArrays> {
        let Some(t) = &tangents[0] else { return Ok(vec![None]) };
        let modulus = ops::try_abs(&x[0])?;
        let zero = ops::zero_of(Dtype::F32);
        let safe =
            ops::try_where_(&ops::try_equal(&modulus, &zero)?, &ops::constant(1.0, Dtype::F32), &modulus)?;
        let turn = ops::try_imag(&ops::try_multiply(&ops::try_conjugate(&y[0])?, t)?)?;
        let angle = ops::make_complex(&zero, &ops::try_divide(&turn, &safe)?)?;
        Ok(vec![Some(ops::try_multiply(&y[0], &angle)?)])
    }
}

/// Shorthand for the ops of this file.
pub(crate) fn apply1(primitive: &'static dyn Primitive, x: &Array) -> Result<Array> {
    Array::apply(Op::Static(primitive), smallvec![x.clone()])
}
