//! What models are made of, in compositions that the planner runs in few passes: normalisation, rotary positions
//! and attention. Half precision is computed in `float32` where sums are formed, and converted at the end.

use super::block::op;
use crate::array::Array;
use crate::dtype::promote;
use crate::error::{Error, Result};
use crate::ops;
use crate::shape::Dims;
use crate::shape::{Shape, ShapeText};
use crate::wide;
use covector_kernels::Dtype;

/// The type of a normalisation's result, its arguments checked.
fn normalized_dtype(op: &'static str, x: &Array, parameters: [(&str, Option<&Array>); 2]) -> Result<Dtype> {
    let Some(&dims) = x.shape().last() else {
        return Err(Error::shape(op, "a zero-dimensional array has no axis to normalise over"));
    };
    let refuse = |name: &str, dtype: Dtype| {
        Error::dtype(
            op,
            format!(
                "the {name} is {dtype}; only real floating-point arrays are normalised. Convert it with astype"
            ),
        )
    };
    let mut dtype = x.dtype();
    if !dtype.is_float() {
        return Err(refuse("input", dtype));
    }
    for (name, parameter) in parameters {
        let Some(parameter) = parameter else { continue };
        if parameter.shape() != [dims] {
            return Err(Error::shape(
                op,
                format!(
                    "the {name} must have shape ({dims},) for an input of shape {}, but it has shape {}",
                    ShapeText(x.shape()),
                    ShapeText(parameter.shape()),
                ),
            ));
        }
        dtype = promote(dtype, parameter.dtype());
        if !dtype.is_float() {
            return Err(refuse(name, parameter.dtype()));
        }
    }
    Ok(dtype)
}

/// Scaled and shifted in the wide type, then converted.
fn affine(y: Array, weight: Option<&Array>, bias: Option<&Array>, dtype: Dtype) -> Result<Array> {
    let like = y.dtype();
    let y = weight.map_or(Ok(y.clone()), |w| ops::try_multiply(&y, &ops::to_dtype(w, like)))?;
    let y = bias.map_or(Ok(y.clone()), |b| ops::try_add(&y, &ops::to_dtype(b, like)))?;
    Ok(ops::to_dtype(&y, dtype))
}

/// What [`rope`] does.
#[derive(Clone, Debug)]
pub struct Rope<'a> {
    /// How many features are rotated, from the first; an even number. The rest stays.
    pub dims: usize,
    /// Pairs are neighbours if true; otherwise the `i`-th feature and the one `dims / 2` after it.
    pub traditional: bool,
    /// How fast each pair turns.
    pub frequencies: Frequencies<'a>,
    /// What positions are multiplied by.
    pub scale: f64,
    /// The position of the first row.
    pub offset: Offset<'a>,
}

/// How fast the pairs of [`rope`] turn with the position.
#[derive(Clone, Debug)]
pub enum Frequencies<'a> {
    /// Pair `i` by `base^(−2i / dims)`.
    Base(f64),
    /// Pair `i` by the reciprocal of element `i`.
    Periods(&'a Array),
}

/// The position of the first row for [`rope`].
#[derive(Clone, Debug)]
pub enum Offset<'a> {
    /// The same for all examples.
    All(i64),
    /// Integers: one for all, or one for each example of axis 0.
    Each(&'a Array),
}

impl Rope<'_> {
    /// All of `dims` features, in pairs half of them apart, with base 10,000 and positions from 0.
    pub fn new(dims: usize) -> Self {
        Self {
            dims,
            traditional: false,
            frequencies: Frequencies::Base(10_000.0),
            scale: 1.0,
            offset: Offset::All(0),
        }
    }

    fn check(&self, x: &Array) -> Result<()> {
        let refuse = |message: String| Err(Error::value("rope", message));
        if x.ndim() < 3 {
            return refuse(format!(
                "the input must have three axes or more, (batch, …, positions, features), but it has shape {}",
                ShapeText(x.shape())
            ));
        }
        if !x.dtype().is_float() {
            return Err(Error::dtype(
                "rope",
                format!(
                    "only real floating-point arrays are rotated, not {}. Convert with astype",
                    x.dtype()
                ),
            ));
        }
        let features = x.shape()[x.ndim() - 1];
        if self.dims == 0 || !self.dims.is_multiple_of(2) || self.dims > features {
            return refuse(format!(
                "dims {} must be an even number from 2 to the input's {features} features",
                self.dims
            ));
        }
        if let Frequencies::Periods(periods) = self.frequencies
            && periods.shape() != [self.dims / 2]
        {
            return refuse(format!(
                "the frequencies must have shape ({},), one for each pair, but they have shape {}",
                self.dims / 2,
                ShapeText(periods.shape())
            ));
        }
        if let Offset::Each(offset) = self.offset {
            if !offset.dtype().is_integer() {
                return Err(Error::dtype(
                    "rope",
                    format!("the offset must be an integer, not {}; positions are counted", offset.dtype()),
                ));
            }
            let fits = match *offset.shape() {
                [] => true,
                [n] => n == 1 || n == x.shape()[0],
                _ => false,
            };
            if !fits {
                return refuse(format!(
                    "the offset of shape {} must be one number, or one for each of the {} examples",
                    ShapeText(offset.shape()),
                    x.shape()[0]
                ));
            }
        }
        Ok(())
    }

    /// The angle of each pair in each row, in a shape that broadcasts with pairs of `x`.
    fn angles(&self, x: &Array) -> Result<Array> {
        let (dtype, rank) = (wide::of(x.dtype()), x.ndim());
        let (rows, half) = (x.shape()[rank - 2], self.dims / 2);
        let mut positions = ops::reshape_to(&ops::iota(rows, dtype)?, &[rows, 1])?;
        match self.offset {
            Offset::All(0) => {}
            Offset::All(offset) => positions = &positions + offset as f64,
            Offset::Each(offset) => {
                let mut shape: Shape = smallvec::smallvec![1; rank];
                shape[0] = offset.size();
                let offset = ops::reshape_to(&ops::to_dtype(offset, dtype), &shape)?;
                positions = ops::try_add(&positions, &offset)?;
            }
        }
        if self.scale != 1.0 {
            positions = positions * self.scale;
        }
        match self.frequencies {
            Frequencies::Base(base) => {
                let turns: Vec<f64> = (0..half).map(|i| base.powf(-(i as f64) / half as f64)).collect();
                ops::try_multiply(&positions, &ops::to_dtype(&Array::from_slice(&turns, &[half])?, dtype))
            }
            Frequencies::Periods(periods) => ops::try_divide(&positions, &ops::to_dtype(periods, dtype)),
        }
    }
}

/// The mask of [`scaled_dot_product_attention`].
#[derive(Clone, Debug, Default)]
pub enum Mask<'a> {
    /// Every query sees every key.
    #[default]
    None,
    /// A query sees the keys up to its own place, the last query all of them.
    Causal,
    /// Truth values: which keys are seen; or numbers that are added to the scores. Broadcasts to
    /// `(batch, heads, queries, keys)`.
    Array(&'a Array),
}

/// What [`scaled_dot_product_attention`] does.
#[derive(Clone, Debug)]
pub struct Attention<'a> {
    /// What the products of queries and keys are multiplied by, usually `1 / √dims`.
    pub scale: f64,
    /// Which keys each query sees.
    pub mask: Mask<'a>,
    /// For each head the score of one more key that has no value: it takes weight and gives nothing.
    pub sinks: Option<&'a Array>,
}

impl Attention<'_> {
    /// Without mask or sinks.
    pub fn new(scale: f64) -> Self {
        Self { scale, mask: Mask::None, sinks: None }
    }

    /// The type of the result, the arguments checked.
    fn check(&self, q: &Array, k: &Array, v: &Array) -> Result<Dtype> {
        const OP: &str = "scaled_dot_product_attention";
        let shapes = || {
            format!(
                "queries {}, keys {}, values {}",
                ShapeText(q.shape()),
                ShapeText(k.shape()),
                ShapeText(v.shape())
            )
        };
        let refuse = |what: String| Err(Error::shape(OP, format!("{what}, but the shapes are {}", shapes())));
        let (&[batch, heads, _, dims], &[batch_k, heads_k, keys, dims_k], &[batch_v, heads_v, values, _]) =
            (q.shape(), k.shape(), v.shape())
        else {
            return refuse("all three must have four axes, (batch, heads, positions, features)".into());
        };
        if batch != batch_k || batch != batch_v {
            return refuse("the batch must be the same for all".into());
        }
        if dims != dims_k {
            return refuse("queries and keys must have the same number of features".into());
        }
        if heads_k != heads_v || keys != values {
            return refuse("there must be one value for each key".into());
        }
        if heads_k == 0 || heads % heads_k != 0 {
            return refuse(format!("{heads} heads of queries cannot share {heads_k} of keys evenly"));
        }
        let dtype = promote(promote(q.dtype(), k.dtype()), v.dtype());
        if !dtype.is_float() {
            return Err(Error::dtype(
                OP,
                format!("only real floating-point arrays attend, not {dtype}. Convert with astype"),
            ));
        }
        let narrower = |name: &str, x: &Array| {
            if promote(x.dtype(), dtype) == dtype {
                return Ok(());
            }
            Err(Error::dtype(
                OP,
                format!(
                    "the {name} of {} would widen the result, which is {dtype}; convert it with astype",
                    x.dtype()
                ),
            ))
        };
        if let Mask::Array(mask) = self.mask {
            if mask.ndim() > 4 {
                return Err(Error::shape(
                    OP,
                    format!(
                        "the mask has shape {}; four axes are the most, (batch, heads, queries, keys)",
                        ShapeText(mask.shape())
                    ),
                ));
            }
            narrower("mask", mask)?;
        }
        if let Some(sinks) = self.sinks {
            if sinks.shape() != [heads] {
                return Err(Error::shape(
                    OP,
                    format!(
                        "the sinks must have shape ({heads},), one for each head, but they have shape {}",
                        ShapeText(sinks.shape())
                    ),
                ));
            }
            narrower("sinks", sinks)?;
        }
        Ok(dtype)
    }

    /// The scores with what is not to be seen put far below all else.
    fn masked(&self, scores: Array) -> Result<Array> {
        let hidden = ops::constant(
            if scores.dtype() == Dtype::F64 { f64::MIN } else { f64::from(f32::MIN) },
            scores.dtype(),
        );
        match self.mask {
            Mask::None => Ok(scores),
            Mask::Causal => {
                let (queries, keys) = (scores.shape()[2], scores.shape()[3]);
                let seen = ops::try_tri(queries, keys, keys as isize - queries as isize, Dtype::Bool)?;
                ops::try_where_(&seen, &scores, &hidden)
            }
            Mask::Array(mask) => {
                // Scores do not grow: a mask that is larger is a mistake.
                let mask = ops::try_broadcast_to(&wide::widen(mask), scores.shape())?;
                if mask.dtype() == Dtype::Bool {
                    ops::try_where_(&mask, &scores, &hidden)
                } else {
                    ops::try_add(&scores, &ops::to_dtype(&mask, scores.dtype()))
                }
            }
        }
    }

    /// Softmax over the keys, the sink among them.
    fn weights(&self, scores: &Array) -> Result<Array> {
        let Some(sinks) = self.sinks else { return ops::try_softmax(scores, &[-1]) };
        let sinks = ops::reshape_to(&ops::to_dtype(sinks, scores.dtype()), &[1, sinks.size(), 1, 1])?;
        let peak = if scores.shape()[3] == 0 {
            sinks.clone()
        } else {
            ops::try_maximum(&ops::try_max_axes(scores, &[-1], true)?, &sinks)?
        };
        let peak = ops::finite_below(&ops::try_stop_gradient(&peak)?)?;
        let exp = ops::try_exp(&ops::try_subtract(scores, &peak)?)?;
        let sink = ops::try_exp(&ops::try_subtract(&sinks, &peak)?)?;
        ops::shares(&exp, &ops::try_add(&ops::try_sum_axes(&exp, &[-1], true)?, &sink)?)
    }
}

/// Refuses what would let the root of a variance be that of a negative number.
fn check_eps(op: &'static str, eps: f64) -> Result<()> {
    if eps >= 0.0 && eps.is_finite() {
        return Ok(());
    }
    Err(Error::value(op, format!("eps {eps} must not be negative; it keeps the root from being zero")))
}

op! {
    in Fast;

    /// `(x − mean) / √(variance + eps)` over the last axis, then times `weight` and plus `bias` where they are
    /// given. 16-bit input is normalised in `float32`.
    pub fn layer_norm / try_layer_norm(x: &Array, weight: Option<&Array>, bias: Option<&Array>, eps: f64)
    python layer_norm(x: Array, weight: Option<Array>, bias: Option<Array>, eps: f64, *)
    samples {
        [real([2, 4]), real([4]), real([4])] |x, y, z| try_layer_norm(x, Some(y), Some(z), 1e-3);
        [real([3, 2, 3])] |x| try_layer_norm(x, None, None, 1e-2);
    }
    {
        check_eps("layer_norm", eps)?;
        let dtype = normalized_dtype("layer_norm", x, [("weight", weight), ("bias", bias)])?;
        let x = ops::to_dtype(x, wide::of(dtype));
        let away = ops::try_subtract(&x, &ops::try_mean_axes(&x, &[-1], true)?)?;
        let variance = ops::try_mean_axes(&ops::try_square(&away)?, &[-1], true)?;
        let y = ops::try_multiply(&away, &ops::try_rsqrt(&(variance + eps))?)?;
        affine(y, weight, bias, dtype)
    }

    /// `x / √(mean(x²) + eps)` over the last axis, then times `weight` where it is given. 16-bit input is
    /// normalised in `float32`.
    pub fn rms_norm / try_rms_norm(x: &Array, weight: Option<&Array>, eps: f64)
    python rms_norm(x: Array, weight: Option<Array>, eps: f64, *)
    samples {
        [real([2, 4]), real([4])] |x, y| try_rms_norm(x, Some(y), 1e-3);
    }
    {
        check_eps("rms_norm", eps)?;
        let dtype = normalized_dtype("rms_norm", x, [("weight", weight), ("bias", None)])?;
        let x = ops::to_dtype(x, wide::of(dtype));
        let square = ops::try_mean_axes(&ops::try_square(&x)?, &[-1], true)?;
        let y = ops::try_multiply(&x, &ops::try_rsqrt(&(square + eps))?)?;
        affine(y, weight, None, dtype)
    }

    /// Rotary positions (Su et al., 2021): pairs of features turned by angles that grow with the position. `x` has
    /// the shape `(batch, …, positions, features)`; the product of two rows then depends on how far apart they are.
    pub fn rope / try_rope(x: &Array, rope: &Rope<'_>)
    samples {
        [real([1, 2, 3, 4])] |x| try_rope(x, &Rope { offset: Offset::All(2), scale: 0.5, ..Rope::new(4) });
        [real([2, 3, 5]), positive([2]), input([2], Kind::Index(9))] |x, y, z| {
            let options = Rope {
                traditional: true,
                frequencies: Frequencies::Periods(y),
                offset: Offset::Each(z),
                ..Rope::new(4)
            };
            try_rope(x, &options)
        };
    }
    {
        rope.check(x)?;
        let angles = rope.angles(x)?;
        let (cos, sin) = (ops::try_cos(&angles)?, ops::try_sin(&angles)?);
        let (last, half) = (x.ndim() - 1, rope.dims / 2);
        let turned = wide::widen(&ops::slice_axis(x, last, 0, rope.dims)?);
        let mut pairs = Shape::from_slice(turned.shape());
        pairs[last] = half;
        // The two features of a pair differ in this axis.
        let apart = if rope.traditional { last + 1 } else { last };
        pairs.insert(apart, 2);
        let pairs = ops::reshape_to(&turned, &pairs)?;
        let part = |i: usize| -> Result<Array> {
            let mut shape = Shape::from_slice(pairs.shape());
            shape.remove(apart);
            ops::reshape_to(&ops::slice_axis(&pairs, apart, i, i + 1)?, &shape)
        };
        let (a, b) = (part(0)?, part(1)?);
        let first = ops::try_subtract(&ops::try_multiply(&a, &cos)?, &ops::try_multiply(&b, &sin)?)?;
        let second = ops::try_add(&ops::try_multiply(&a, &sin)?, &ops::try_multiply(&b, &cos)?)?;
        let both = ops::try_stack(&[first, second], apart as isize)?;
        let both = ops::to_dtype(&ops::reshape_to(&both, turned.shape())?, x.dtype());
        let features = x.shape()[last];
        if rope.dims == features {
            return Ok(both);
        }
        ops::try_concatenate(&[both, ops::slice_axis(x, last, rope.dims, features)?], -1)
    }

    /// Attention: `softmax(scale · q kᵀ) v` for each head. The shapes are `(batch, heads, queries, dims)`,
    /// `(batch, heads of keys, keys, dims)` and `(batch, heads of keys, keys, values)`; several heads of queries in a
    /// row may share one of keys. Half precision attends in `float32`, and the result is rounded once.
    ///
    /// A query all of whose scores are −∞, by a mask that is added, gets zeros, and no gradient flows from it. One that a
    /// mask of truth values or the causal mask shows no key gets the mean of all values.
    pub fn scaled_dot_product_attention / try_scaled_dot_product_attention(q: &Array, k: &Array, v: &Array, options: &Attention<'_>)
    samples {
        [real([2, 4, 3, 2]), real([2, 2, 3, 2]), real([2, 2, 3, 3])] |q, k, v|
            try_scaled_dot_product_attention(q, k, v, &Attention::new(0.7));
        [real([2, 4, 3, 2]), real([2, 2, 3, 2]), real([2, 2, 3, 3])] |q, k, v|
            try_scaled_dot_product_attention(q, k, v, &Attention { mask: Mask::Causal, ..Attention::new(0.7) });
        [real([2, 4, 3, 2]), real([2, 2, 3, 2]), real([2, 2, 3, 3]), real([3, 3]), real([4])] |q, k, v, mask, sinks| {
            let options = Attention { mask: Mask::Array(mask), sinks: Some(sinks), ..Attention::new(0.7) };
            try_scaled_dot_product_attention(q, k, v, &options)
        };
        [real([2, 4, 3, 2]), real([2, 2, 3, 2]), real([2, 2, 3, 3]), input([2, 1, 3, 3], Kind::Bool)] |q, k, v, mask|
            try_scaled_dot_product_attention(q, k, v, &Attention { mask: Mask::Array(mask), ..Attention::new(0.7) });
    }
    {
        let dtype = options.check(q, k, v)?;
        let [q, k, v] = [q, k, v].map(|x| ops::to_dtype(x, wide::of(dtype)));
        let (&[batch, heads, queries, dims], &[_, shared, keys, _]) = (q.shape(), k.shape()) else {
            unreachable!("the check wants four axes")
        };
        // Heads that share keys are more rows of one product.
        let rows = [batch, shared, heads / shared * queries, dims];
        let swapped: Dims = Dims::from_slice(&[0, 1, 3, 2]);
        let scaled = ops::try_multiply(&q, &ops::constant_like(&q, options.scale))?;
        let scores = ops::try_matmul(&ops::reshape_to(&scaled, &rows)?, &ops::permute(&k, swapped)?)?;
        let scores = ops::reshape_to(&scores, &[batch, heads, queries, keys])?;
        let weights = options.weights(&options.masked(scores)?)?;
        let weights = ops::reshape_to(&weights, &[batch, shared, rows[2], keys])?;
        let out = ops::to_dtype(&ops::try_matmul(&weights, &v)?, dtype);
        ops::reshape_to(&out, &[batch, heads, queries, v.shape()[3]])
    }
}
