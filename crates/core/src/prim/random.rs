//! Counter-based random bits and ranges of numbers: the primitives that create values.

use crate::array::{Array, Aval};
use crate::buffer::Data;
use crate::error::Result;
use crate::ops;
use crate::prim::elementwise::{Partials, Row, RowFn, Takes, Tiles, apply1};
use crate::primitive::{Avals, Batch, Derivative, Param, Params, Primitive, Values};
use crate::shape::Shape;
use covector_kernels::{self as kernels, Dtype, Tile1, tile1};
use smallvec::smallvec;
use std::f64::consts::FRAC_2_SQRT_PI;
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

/// A row that stands in no table: an elementwise function whose last bit belongs to a random stream.
macro_rules! stream_row {
    ($row:ident, $name:literal, $function:ident, $doc:literal, $domain:expr, $partials:expr) => {
        #[doc = $doc]
        pub(crate) static $row: Row = Row {
            name: $name,
            doc: $doc,
            takes: Takes::Float,
            gives_bool: false,
            tiles: Tiles::One({
                let mut table: [Option<Tile1>; 14] = [None; 14];
                table[Dtype::F32 as usize] =
            Some(tile1!(f32 => f32, |x| kernels::random::stream::$function(x)));
        table[Dtype::F64 as usize] = Some(tile1!(f64 => f64, |x| kernels::math::f64::$function(x)));
                table
            }),
            code: None,
            partials: $partials,
            domain: &[$domain],
            function: RowFn::One(|x| apply1(&$row, x)),
        };
    };
}

stream_row!(
    STREAM_LOG,
    "random_log",
    log,
    "The logarithm in a random stream.",
    (0.3, 3.0),
    Partials::One(|t, x, _| t / x)
);
stream_row!(
    STREAM_ERF,
    "random_erf",
    erf,
    "The error function in a random stream.",
    (-2.0, 2.0),
    Partials::One(|t, x, _| t * (ops::exp(&ops::negative(&ops::square(x))) * FRAC_2_SQRT_PI))
);
stream_row!(
    STREAM_ERFINV,
    "random_erfinv",
    erfinv,
    "The inverse error function in a random stream.",
    (-0.8, 0.8),
    Partials::One(|t, _, y| t * (ops::exp(&ops::square(y)) * (1.0 / FRAC_2_SQRT_PI)))
);

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
