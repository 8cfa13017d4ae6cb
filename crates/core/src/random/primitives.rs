//! Counter-based random bits and ranges of numbers: the primitives that create values.

use crate::array::{Array, Aval};
use crate::buffer::Data;
use crate::error::Result;
use crate::ops;
use crate::ops::elementwise::{Partials, Row, RowFn, Takes, Tiles, apply1, batch_elementwise};
use crate::primitive::{
    Avals, Batch, Derivative, Elementwise, Lower, Param, Params, Primitive, TileFn, Values,
};
use crate::shape::{Shape, broadcast_shapes};
use covector_kernels::{self as kernels, Dtype, Tile1, tile1, tile3};
use smallvec::smallvec;
use std::mem::MaybeUninit;

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
        shape_for_keys(&inputs[0], &self.shape, self.dtype)
    }
    fn derivative(&self) -> Derivative<'_> {
        Derivative::Zero
    }
    fn batch(&self, batch: &Batch<'_>) -> Result<Vec<Array>> {
        batch.again(batch.inputs)
    }
    fn eval(&self, inputs: Values, outs: &[Aval]) -> Result<Values> {
        let width = self.dtype.size();
        fill(inputs, &outs[0], |key, part: &mut [MaybeUninit<u8>]| {
            part.fill(MaybeUninit::new(0));
            // SAFETY: the line above has initialised it.
            let part = unsafe { &mut *(std::ptr::from_mut(part) as *mut [u8]) };
            kernels::random::bits(key, width, part);
        })
    }
    fn params(&self, params: &mut Params<'_>) {
        params.put("shape", Param::Ints(&self.shape));
        params.put("dtype", Param::Text(self.dtype.name()));
    }
}

/// Fresh memory for the output, an equal part of it filled for each of the keys.
fn fill<T>(inputs: Values, aval: &Aval, run: impl Fn([u32; 2], &mut [MaybeUninit<T>])) -> Result<Values> {
    let keys = inputs[0].row_major("random")?;
    let keys = keys.view().as_slice::<u32>().expect("keys are row-major uint32");
    let mut out = Data::alloc("random", aval.dtype, &aval.shape)?;
    let size = out.size() * aval.dtype.size() / size_of::<T>();
    if size > 0 {
        // SAFETY: fresh memory of that many bytes, aligned for every element type, held by us alone.
        let all = unsafe { std::slice::from_raw_parts_mut(out.out().ptr().cast(), size) };
        let each = size / (keys.len() / 2);
        for (key, part) in keys.chunks_exact(2).zip(all.chunks_exact_mut(each)) {
            run([key[0], key[1]], part);
        }
    }
    Ok(smallvec![out])
}

/// What [`RandomFloat`] draws.
#[derive(Clone, Copy)]
pub(crate) enum Draw {
    /// `float32` from 0 to `most`, below 1.
    Uniform { most: f32 },
    /// `float64` in `[0, 1)`.
    Uniform64,
    /// `factor · erfinv(u)` in `float32` for `u` uniform between -1 and 1.
    Normal { factor: f32 },
}

/// Random floating-point numbers from Threefry-2x32 keys of shape `(…, 2)`: for each key, `shape` numbers. One primitive
/// from the bits to the numbers, because the bits would cost a pass over memory of their own.
pub(crate) struct RandomFloat {
    pub(crate) draw: Draw,
    pub(crate) shape: Shape,
}

impl Primitive for RandomFloat {
    fn name(&self) -> &'static str {
        match self.draw {
            Draw::Uniform { .. } | Draw::Uniform64 => "random_uniform",
            Draw::Normal { .. } => "random_normal",
        }
    }
    fn infer(&self, inputs: &[Array]) -> Result<Avals> {
        let dtype = if matches!(self.draw, Draw::Uniform64) { Dtype::F64 } else { Dtype::F32 };
        shape_for_keys(&inputs[0], &self.shape, dtype)
    }
    fn derivative(&self) -> Derivative<'_> {
        Derivative::Zero
    }
    fn batch(&self, batch: &Batch<'_>) -> Result<Vec<Array>> {
        batch.again(batch.inputs)
    }
    fn eval(&self, inputs: Values, outs: &[Aval]) -> Result<Values> {
        match self.draw {
            Draw::Uniform { most } => {
                fill(inputs, &outs[0], |key, out| kernels::random::uniform(key, most, out))
            }
            Draw::Uniform64 => fill(inputs, &outs[0], kernels::random::uniform_f64),
            Draw::Normal { factor } => {
                fill(inputs, &outs[0], |key, out| kernels::random::normal(key, factor, out))
            }
        }
    }
    fn params(&self, params: &mut Params<'_>) {
        let (draw, number) = match self.draw {
            Draw::Uniform { most } => ("uniform", most),
            Draw::Uniform64 => ("uniform64", 1.0),
            Draw::Normal { factor } => ("normal", factor),
        };
        params.put("draw", Param::Text(draw));
        params.put("number", Param::Float(number.into()));
        params.put("shape", Param::Ints(&self.shape));
    }
}

fn shape_for_keys(keys: &Array, shape: &[usize], dtype: Dtype) -> Result<Avals> {
    let keys = keys.shape();
    let mut all = Shape::from_slice(&keys[..keys.len() - 1]);
    all.extend_from_slice(shape);
    crate::shape::checked_size("random", &all)?;
    Ok(smallvec![Aval { dtype, shape: all }])
}

/// The logarithm in a random stream: an elementwise function whose last bit belongs to the stream, so it stands in no
/// table.
pub(crate) static STREAM_LOG: Row = Row {
    name: "random_log",
    doc: "The logarithm in a random stream.",
    takes: Takes::Float,
    gives_bool: false,
    tiles: Tiles::One({
        let mut table: [Option<Tile1>; 14] = [None; 14];
        table[Dtype::F32 as usize] = Some(tile1!(f32 => f32, |x| kernels::random::published::log(x)));
        table[Dtype::F64 as usize] = Some(tile1!(f64 => f64, |x| kernels::math::f64::log(x)));
        table
    }),
    code: None,
    partials: Partials::One(|t, x, _| t / x),
    domain: &[(0.3, 3.0)],
    function: RowFn::One(|x| apply1(&STREAM_LOG, x)),
};

/// Random integers: for each key of shape `(…, 2)` as many as `shape` says, from `low` to `last`, both included. These are
/// `int64`, or `uint64` where the numbers are; each has one number for each key, or one for each number drawn.
pub(crate) struct RandomIntegers {
    pub(crate) shape: Shape,
    pub(crate) dtype: Dtype,
}

impl Primitive for RandomIntegers {
    fn name(&self) -> &'static str {
        "random_integers"
    }
    fn infer(&self, inputs: &[Array]) -> Result<Avals> {
        shape_for_keys(&inputs[0], &self.shape, self.dtype)
    }
    fn derivative(&self) -> Derivative<'_> {
        Derivative::Zero
    }
    fn batch(&self, batch: &Batch<'_>) -> Result<Vec<Array>> {
        let inputs: Vec<Array> = (0..batch.inputs.len()).map(|i| batch.full(i)).collect::<Result<_>>()?;
        batch.again(&inputs)
    }
    fn eval(&self, inputs: Values, outs: &[Aval]) -> Result<Values> {
        let signed = inputs[1].dtype() == Dtype::I64;
        let bounds = [inputs[1].row_major("random")?, inputs[2].row_major("random")?];
        let bits = |bound: &Data| {
            let view = bound.view();
            // SAFETY: row-major 64-bit integers, which are as good as any other 64 bits.
            unsafe { std::slice::from_raw_parts(view.ptr().cast::<u64>(), view.size()) }
        };
        let [low, last] = [bits(&bounds[0]), bits(&bounds[1])];
        let place = std::cell::Cell::new(0);
        let keys = inputs[0].view().size() / 2;
        macro_rules! draw {
            ($($d:ident $t:ty),*) => {
                match self.dtype {
                    $(Dtype::$d => fill(inputs, &outs[0], |key, out: &mut [MaybeUninit<$t>]| {
                        let k = place.replace(place.get() + 1);
                        // The part of a bound that belongs to this key.
                        let of = |bound: &[u64]| bound.len() / keys * k..bound.len() / keys * (k + 1);
                        kernels::random::integers(key, &low[of(low)], &last[of(last)], signed, out);
                    }),)*
                    other => unreachable!("{other} is no integer type"),
                }
            };
        }
        draw!(
            Bool bool, U8 u8, U16 u16, U32 u32, U64 u64, I8 i8, I16 i16, I32 i32, I64 i64
        )
    }
    fn params(&self, params: &mut Params<'_>) {
        params.put("shape", Param::Ints(&self.shape));
        params.put("dtype", Param::Text(self.dtype.name()));
    }
}

/// Normal numbers between a lower and an upper bound, from uniform numbers: inputs `(u, lower, upper)`.
pub(crate) struct TruncatedNormal;
pub(crate) static TRUNCATED_NORMAL: TruncatedNormal = TruncatedNormal;

impl Primitive for TruncatedNormal {
    fn name(&self) -> &'static str {
        "random_truncated_normal"
    }
    fn infer(&self, inputs: &[Array]) -> Result<Avals> {
        let mut shape = Shape::from_slice(inputs[0].shape());
        for bound in &inputs[1..] {
            shape = broadcast_shapes("truncated_normal", &shape, bound.shape())?;
        }
        Ok(smallvec![Aval { dtype: inputs[1].dtype(), shape }])
    }
    fn derivative(&self) -> Derivative<'_> {
        Derivative::Elementwise(self)
    }
    fn batch(&self, batch: &Batch<'_>) -> Result<Vec<Array>> {
        batch_elementwise(batch)
    }
    fn lower(&self, inputs: &[Array]) -> Lower<'_> {
        use kernels::random::truncated;
        let tile = TileFn::Three(match inputs[1].dtype() {
            Dtype::F16 => tile3!(f32, f32, f32 => f32, |u, a, b| truncated::in_f16(u, a, b)),
            Dtype::Bf16 => tile3!(f32, f32, f32 => f32, |u, a, b| truncated::in_bf16(u, a, b)),
            Dtype::F64 => tile3!(f64, f64, f64 => f64, |u, a, b| truncated::in_f64(u, a, b)),
            _ => tile3!(f32, f32, f32 => f32, |u, a, b| truncated::in_f32(u, a, b)),
        });
        Lower::Map { tile, code: None }
    }
}

impl Elementwise for TruncatedNormal {
    /// The number `y` satisfies `F(y) = (1 − u)·F(lower) + u·F(upper)`: each bound moves it by its share of the density
    /// there over the density at `y`.
    fn partial(&self, i: usize, t: &Array, x: &[Array], y: &Array) -> Result<Option<Array>> {
        let u = ops::to_dtype(&x[0], t.dtype());
        let share = match i {
            1 => 1.0 - u,
            2 => u,
            _ => return Ok(None),
        };
        let densities = ops::try_exp(&((y - &x[i]) * (y + &x[i]) * 0.5))?;
        Ok(Some(t * &(share * densities)))
    }
}
