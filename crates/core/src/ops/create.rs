//! Arrays from nothing: constants, ranges, masks.

use super::block::op;
use crate::array::{Array, Aval};
use crate::buffer::Data;
use crate::error::{Error, Result, named};
use crate::ops;
use crate::ops::shape::primitives::Broadcast;
use crate::ops::spec::Extents;
use crate::primitive::{Avals, Batch, Derivative, Param, Params, Primitive};
use crate::shape::{Shape, checked_size};
use covector_kernels::half_bits::{f64_to_bf16, f64_to_f16};
use covector_kernels::{self as kernels, C64, Dtype, Element, Spaced, bf16, f16};
use smallvec::smallvec;
use std::sync::OnceLock;

/// A zero-dimensional array of any element type from a number.
pub fn constant(value: f64, dtype: Dtype) -> Array {
    match dtype {
        Dtype::Bool => Array::scalar(value != 0.0),
        Dtype::U8 => Array::scalar(value as u8),
        Dtype::U16 => Array::scalar(value as u16),
        Dtype::U32 => Array::scalar(value as u32),
        Dtype::U64 => Array::scalar(value as u64),
        Dtype::I8 => Array::scalar(value as i8),
        Dtype::I16 => Array::scalar(value as i16),
        Dtype::I32 => Array::scalar(value as i32),
        Dtype::I64 => Array::scalar(value as i64),
        Dtype::F16 => Array::scalar(f64_to_f16(value)),
        Dtype::Bf16 => Array::scalar(f64_to_bf16(value)),
        Dtype::F32 => Array::scalar(value as f32),
        Dtype::F64 => Array::scalar(value),
        Dtype::C64 => Array::scalar(C64::new(value as f32, 0.0)),
    }
}

/// A zero-dimensional constant of `x`'s element type.
pub fn constant_like(x: &Array, value: f64) -> Array {
    constant(value, x.dtype())
}

pub(crate) fn zero_of(dtype: Dtype) -> Array {
    constant(0.0, dtype)
}

/// The number 1 of a type, the same array at each call: a loop over a sequence whose derivative uses it in every step has
/// one leaf for it, and not one for each step.
pub(crate) fn one_of(dtype: Dtype) -> Array {
    static ONES: [OnceLock<Array>; 14] = [const { OnceLock::new() }; 14];
    ONES[dtype as usize].get_or_init(|| constant(1.0, dtype)).clone()
}

/// An array filled with `value`, which broadcasts to the shape. It takes no memory until it is written.
///
/// # Errors
/// When the value's shape does not broadcast to `shape`.
pub fn try_full(shape: &[usize], value: &Array) -> Result<Array> {
    named("full", || ops::try_broadcast_to(value, shape))
}

/// An array filled with a number.
pub fn full(shape: &[usize], value: f64, dtype: Dtype) -> Array {
    let value = constant(value, dtype);
    if shape.is_empty() {
        return value;
    }
    crate::error::expect(Array::apply(Broadcast { shape: Shape::from_slice(shape) }, smallvec![value]))
}

pub(crate) fn full_i64(shape: &[usize], value: i64) -> Array {
    crate::error::expect(try_full(shape, &Array::scalar(value)))
}

/// A bound or the step of a range. Integers stay integers: they reach 64-bit element types without passing through
/// floating point.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Bound {
    /// An integer.
    Int(i128),
    /// A number that may have a fraction.
    Real(f64),
}

macro_rules! bounds {
    ($($t:ty)*) => {$(
        impl From<$t> for Bound {
            fn from(value: $t) -> Self {
                Bound::Int(value as i128)
            }
        }
    )*};
}
bounds!(i8 i16 i32 i64 isize u8 u16 u32 u64 usize);

impl From<f64> for Bound {
    fn from(value: f64) -> Self {
        Bound::Real(value)
    }
}

impl From<f32> for Bound {
    fn from(value: f32) -> Self {
        Bound::Real(value.into())
    }
}

impl Bound {
    fn real(self) -> f64 {
        match self {
            Bound::Int(v) => v as f64,
            Bound::Real(v) => v,
        }
    }
}

impl std::fmt::Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Bound::Int(v) => v.fmt(f),
            Bound::Real(v) => v.fmt(f),
        }
    }
}

/// The numbers of a range and how many there are.
fn range_of(start: Bound, stop: Bound, step: Bound) -> Result<(Spaced, usize)> {
    let refuse =
        |why: &str| Err(Error::value("arange", format!("start {start}, stop {stop}, step {step}: {why}")));
    let too_many = |count: &dyn std::fmt::Display| {
        Err(Error::value("arange", format!("a range of {count} numbers does not fit in memory")))
    };
    let most = isize::MAX as usize / 16;
    if let (Bound::Int(start), Bound::Int(stop), Bound::Int(step)) = (start, stop, step) {
        if step == 0 {
            return refuse("the step must not be zero");
        }
        let (gap, step_size) = if step > 0 { (stop - start, step) } else { (start - stop, -step) };
        let count = (gap.max(0) + (step_size - 1)) / step_size;
        return match usize::try_from(count) {
            Ok(n) if n <= most => Ok((Spaced::Whole { start, step }, n)),
            _ => too_many(&count),
        };
    }
    let (from, to, by) = (start.real(), stop.real(), step.real());
    if by == 0.0 || by.is_nan() {
        return refuse("the step must be a number that is not zero");
    }
    if !from.is_finite() || !to.is_finite() {
        return refuse("start and stop must be finite");
    }
    let quotient = (to - from) / by;
    // A step far beyond the end, infinite even, still leaves the start.
    let only_start = quotient == 0.0 && from != to && (to > from) == (by > 0.0);
    let count = if only_start { 1.0 } else { quotient.ceil().max(0.0) };
    if count > most as f64 {
        return too_many(&count);
    }
    let by = if count > 1.0 { by } else { 0.0 };
    Ok((Spaced::Real { start: from, step: by }, count as usize))
}

/// `0, 1, …, count − 1`.
pub(crate) fn iota(count: usize, dtype: Dtype) -> Result<Array> {
    Array::apply(Range { numbers: Spaced::Whole { start: 0, step: 1 }, count, dtype }, smallvec![])
}

/// The position along `axis`, as an `int32` array of `x`'s shape.
pub(crate) fn iota_like(x: &Array, axis: usize) -> Result<Array> {
    let mut line: Shape = smallvec![1; x.ndim()];
    line[axis] = x.shape()[axis];
    ops::try_broadcast_to(&ops::reshape_to(&iota(x.shape()[axis], Dtype::I32)?, &line)?, x.shape())
}

/// The row-major number of each element of a shape.
pub(crate) fn iota_of(shape: &[usize], dtype: Dtype) -> Result<Array> {
    ops::reshape_to(&iota(shape.iter().product(), dtype)?, shape)
}

op! {
    /// An array of zeros.
    pub fn zeros / try_zeros(shape: &[usize], dtype: Dtype)
    python zeros(shape: Extents, dtype: Option<Dtype> = None, *) => { try_zeros(shape, dtype.unwrap_or(Dtype::F32)) }
    samples {
        [real([2, 3])] |x| ops::try_multiply(x, &zeros(&[2, 3], x.dtype()));
    }
    {
        try_full(shape, &constant(0.0, dtype))
    }

    /// An array of ones.
    pub fn ones / try_ones(shape: &[usize], dtype: Dtype)
    python ones(shape: Extents, dtype: Option<Dtype> = None, *) => { try_ones(shape, dtype.unwrap_or(Dtype::F32)) }
    samples {
        [real([2, 3])] |x| ops::try_multiply(x, &ones(&[3], x.dtype()));
    }
    {
        try_full(shape, &constant(1.0, dtype))
    }

    /// Zeros of another array's shape and type.
    pub fn zeros_like / try_zeros_like(x: &Array)
    python zeros_like(a: Array, /, dtype: Option<Dtype> = None, *)
    => { try_zeros(a.shape(), dtype.unwrap_or(a.dtype())) }
    samples {
        [real([2])] |x| ops::try_add(x, &zeros_like(x));
    }
    {
        try_zeros(x.shape(), x.dtype())
    }

    /// Ones of another array's shape and type.
    pub fn ones_like / try_ones_like(x: &Array)
    python ones_like(a: Array, /, dtype: Option<Dtype> = None, *)
    => { try_ones(a.shape(), dtype.unwrap_or(a.dtype())) }
    samples {
        [real([2])] |x| ops::try_multiply(x, &ones_like(x));
    }
    {
        try_ones(x.shape(), x.dtype())
    }

    /// `start, start + step, …` as far as `stop`, which is not included: element `i` is `start + i·step`, rounded once to the
    /// element type. Of integers the count and the elements are computed in integers; of other numbers there are
    /// `ceil((stop − start) / step)`. In an integer type those count in integers, too, from the first element and the second,
    /// both cut off.
    ///
    /// ```
    /// use covector_core::{Dtype, ops};
    /// let start = 1i64 << 60;
    /// let x = ops::arange(start, start + 3, 1, Dtype::I64);
    /// assert_eq!(x.to_vec::<i64>(), [start, start + 1, start + 2]);
    /// assert_eq!(ops::arange(0.0, 1.0, 0.25, Dtype::F32).to_vec::<f32>(), [0.0, 0.25, 0.5, 0.75]);
    /// ```
    pub fn arange / try_arange(start: impl Into<Bound>, stop: impl Into<Bound>, step: impl Into<Bound>, dtype: Dtype)
    samples {
        [real([2, 3])] |x| ops::try_multiply(x, &ops::try_astype(&try_arange(0.0, 3.0, 1.0, Dtype::F32)?, x.dtype())?);
    }
    {
        if dtype == Dtype::Bool {
            return Err(Error::dtype("arange", "bool is not supported; make an integer range and compare"));
        }
        let (mut numbers, count) = range_of(start.into(), stop.into(), step.into())?;
        if let (Spaced::Real { start, step }, true) = (numbers, dtype.is_integer()) {
            // An integer from each to the next, as NumPy and MLX have it.
            let first = start as i128;
            numbers = Spaced::Whole { start: first, step: (start + step) as i128 - first };
        }
        Array::apply(Range { numbers, count, dtype }, smallvec![])
    }

    /// `count` evenly spaced numbers from `start` to `stop`, both included and exact. Each is computed in `float64` and
    /// rounded once; in an integer type it is cut off.
    pub fn linspace / try_linspace(start: f64, stop: f64, count: usize, dtype: Dtype)
    samples {
        [real([2, 3])] |x| ops::try_multiply(x, &ops::try_astype(&try_linspace(0.0, 1.0, 3, Dtype::F32)?, x.dtype())?);
    }
    {
        if count > isize::MAX as usize / 16 {
            return Err(Error::value("linspace", format!("{count} numbers do not fit in memory")));
        }
        Array::apply(Range { numbers: Spaced::Ends { start, stop }, count, dtype }, smallvec![])
    }

    /// Ones on the `k`-th diagonal (above the main one for positive `k`), zeros elsewhere.
    pub fn eye / try_eye(rows: usize, columns: usize, k: isize, dtype: Dtype)
    python eye(n: usize, m: Option<usize> = None, k: isize = 0, dtype: Option<Dtype> = None, *)
    => { try_eye(n, m.unwrap_or(n), k, dtype.unwrap_or(Dtype::F32)) }
    samples {
        [real([2, 3])] |x| ops::try_multiply(x, &try_eye(2, 3, 1, x.dtype())?);
    }
    {
        let (i, j) = grid("eye", rows, columns)?;
        Ok(ops::to_dtype(&ops::try_equal(&ops::try_add(&i, &Array::scalar(k as i64))?, &j)?, dtype))
    }

    /// The identity matrix.
    pub fn identity / try_identity(n: usize, dtype: Dtype)
    python identity(n: usize, dtype: Option<Dtype> = None, *) => { try_identity(n, dtype.unwrap_or(Dtype::F32)) }
    samples {
        [real([2, 2])] |x| ops::try_multiply(x, &try_identity(2, x.dtype())?);
    }
    {
        try_eye(n, n, 0, dtype)
    }

    /// Ones at and below the `k`-th diagonal, zeros above.
    pub fn tri / try_tri(rows: usize, columns: usize, k: isize, dtype: Dtype)
    python tri(n: usize, m: Option<usize> = None, k: isize = 0, dtype: Option<Dtype> = None, *)
    => { try_tri(n, m.unwrap_or(n), k, dtype.unwrap_or(Dtype::F32)) }
    samples {
        [real([2, 3])] |x| ops::try_multiply(x, &try_tri(2, 3, 0, x.dtype())?);
    }
    {
        let (i, j) = grid("tri", rows, columns)?;
        Ok(ops::to_dtype(&ops::try_greater_equal(&ops::try_add(&i, &Array::scalar(k as i64))?, &j)?, dtype))
    }

    /// The Bartlett window of `m` points: a triangle.
    pub fn bartlett / try_bartlett(m: usize)
    python bartlett(M: isize, *) => { try_bartlett(M.max(0) as usize) }
    samples {
        flat [input([5], Kind::Bool)] |x| ops::try_where_(x, &try_bartlett(5)?, &Array::scalar(0.0f32));
    }
    {
        window(m, |i, last| 1.0 - (2.0 * i / last - 1.0).abs())
    }

    /// The Hann window of `m` points.
    pub fn hanning / try_hanning(m: usize)
    python hanning(M: isize, *) => { try_hanning(M.max(0) as usize) }
    samples {
        flat [input([5], Kind::Bool)] |x| ops::try_where_(x, &try_hanning(5)?, &Array::scalar(0.0f32));
    }
    {
        window(m, |i, last| 0.5 - 0.5 * cosine(i, last, 1.0))
    }

    /// The Hamming window of `m` points.
    pub fn hamming / try_hamming(m: usize)
    python hamming(M: isize, *) => { try_hamming(M.max(0) as usize) }
    samples {
        flat [input([5], Kind::Bool)] |x| ops::try_where_(x, &try_hamming(5)?, &Array::scalar(0.0f32));
    }
    {
        window(m, |i, last| 0.54 - 0.46 * cosine(i, last, 1.0))
    }

    /// The Blackman window of `m` points.
    pub fn blackman / try_blackman(m: usize)
    python blackman(M: isize, *) => { try_blackman(M.max(0) as usize) }
    samples {
        flat [input([5], Kind::Bool)] |x| ops::try_where_(x, &try_blackman(5)?, &Array::scalar(0.0f32));
    }
    {
        window(m, |i, last| 0.42 - 0.5 * cosine(i, last, 1.0) + 0.08 * cosine(i, last, 2.0))
    }

    also full samples {
        [real([3])] |x| try_full(&[2, 3], x);
    }
    also constant samples {
        [real([2, 3])] |x| ops::try_multiply(x, &constant(2.0, x.dtype()));
    }
    also constant_like samples {
        [real([2])] |x| ops::try_multiply(x, &constant_like(x, 3.0));
    }
}

/// The points of a window, from the number of each and the number of the last.
fn window(m: usize, f: impl Fn(f64, f64) -> f64) -> Result<Array> {
    let last = m.saturating_sub(1).max(1) as f64;
    let values: Vec<f32> = (0..m).map(|i| if m == 1 { 1.0 } else { f(i as f64, last) as f32 }).collect();
    Array::from_slice(&values, &[m])
}

/// The cosine of `times` turns at point `i` of `last`.
fn cosine(i: f64, last: f64, times: f64) -> f64 {
    (std::f64::consts::TAU * times * i / last).cos()
}

/// Row numbers as a column and column numbers as a row.
fn grid(op: &'static str, rows: usize, columns: usize) -> Result<(Array, Array)> {
    let line = |n: usize, shape: &[usize]| named(op, || ops::reshape_to(&iota(n, Dtype::I64)?, shape));
    Ok((line(rows, &[rows, 1])?, line(columns, &[1, columns])?))
}

/// What [`Array::new`] takes: numbers, and arrays, slices and vectors of them.
pub trait Values {
    /// The element.
    type Element: Element;
    /// The extents of the first row of each level, from the outermost.
    fn shape(&self) -> Shape;
    /// Appends the values in row-major order. `shape` is what this part should have, and `row` the way to it.
    ///
    /// # Errors
    /// When a row has another length than the first one of its level, with the way to it.
    fn collect(&self, shape: &[usize], row: &mut Vec<usize>, into: &mut Vec<Self::Element>) -> Result<()>;
}

macro_rules! numbers {
    ($($t:ty),*) => {$(
        impl Values for $t {
            type Element = $t;
            fn shape(&self) -> Shape {
                Shape::new()
            }
            fn collect(&self, _: &[usize], _: &mut Vec<usize>, into: &mut Vec<$t>) -> Result<()> {
                into.push(*self);
                Ok(())
            }
        }
    )*};
}
numbers!(bool, u8, u16, u32, u64, i8, i16, i32, i64, f16, bf16, f32, f64, C64);

impl<T: Values> Values for [T] {
    type Element = T::Element;
    fn shape(&self) -> Shape {
        let mut shape: Shape = smallvec![self.len()];
        if let Some(first) = self.first() {
            shape.extend(first.shape());
        }
        shape
    }
    fn collect(&self, shape: &[usize], row: &mut Vec<usize>, into: &mut Vec<T::Element>) -> Result<()> {
        // Below an empty first row the shape ends, and there is nothing that could be longer.
        let (expected, inner) = shape.split_first().map_or((0, shape), |(n, inner)| (*n, inner));
        if self.len() != expected {
            return Err(ragged(row, self.len(), expected));
        }
        let depth = row.len();
        row.push(0);
        for (i, x) in self.iter().enumerate() {
            row[depth] = i;
            x.collect(inner, row, into)?;
        }
        row.pop();
        Ok(())
    }
}

/// A row of `n` elements, where the first row of its level has `expected`.
fn ragged(row: &[usize], n: usize, expected: usize) -> Error {
    let text = |row: &[usize]| match row {
        [i] => i.to_string(),
        _ => row.iter().map(|i| format!("[{i}]")).collect(),
    };
    let (row, first) = (text(row), text(&vec![0; row.len()]));
    let elements = if n == 1 { "element" } else { "elements" };
    let message = format!(
        "row {row} has {n} {elements}, but row {first} has {expected}; all rows of a level must be alike"
    );
    Error::shape("array", message)
}

macro_rules! like_slices {
    ($({$($generics:tt)*} $t:ty),*) => {$(
        impl<$($generics)*> Values for $t {
            type Element = T::Element;
            fn shape(&self) -> Shape {
                self[..].shape()
            }
            fn collect(
                &self,
                shape: &[usize],
                row: &mut Vec<usize>,
                into: &mut Vec<T::Element>,
            ) -> Result<()> {
                self[..].collect(shape, row, into)
            }
        }
    )*};
}
like_slices!({T: Values, const N: usize} [T; N], {T: Values} Vec<T>);

impl<T: Values + ?Sized> Values for &T {
    type Element = T::Element;
    fn shape(&self) -> Shape {
        (**self).shape()
    }
    fn collect(&self, shape: &[usize], row: &mut Vec<usize>, into: &mut Vec<T::Element>) -> Result<()> {
        (**self).collect(shape, row, into)
    }
}

impl Array {
    /// An array of nested Rust arrays, slices or vectors of numbers.
    ///
    /// ```
    /// use covector_core::Array;
    /// assert_eq!(Array::new([[1.0f32, 2.0], [3.0, 4.0]]).shape(), [2, 2]);
    /// ```
    ///
    /// # Errors
    /// When nested vectors have different lengths, with the first row that differs.
    pub fn try_new(values: impl Values) -> Result<Self> {
        let shape = values.shape();
        let mut flat = crate::buffer::room("array", checked_size("array", &shape)?)?;
        values.collect(&shape, &mut Vec::new(), &mut flat)?;
        Self::from_slice(&flat, &shape)
    }

    /// An array of nested Rust arrays, slices or vectors of numbers.
    ///
    /// # Panics
    /// When nested vectors have different lengths.
    #[track_caller]
    pub fn new(values: impl Values) -> Self {
        crate::error::expect(Self::try_new(values))
    }
}

impl<T: Element + Values<Element = T>> From<T> for Array {
    fn from(value: T) -> Self {
        Array::scalar(value)
    }
}

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
    fn eval(&self, _inputs: crate::primitive::Values, outs: &[Aval]) -> Result<crate::primitive::Values> {
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
