//! Strided arrays that own their elements, and a small random generator, for comparing kernels with plain loops.
#![allow(unreachable_pub, dead_code, reason = "each test file uses a part")]

use covector_kernels::{Dtype, Element, Out, View, program};

/// A small generator of test data (an LCG's upper bits).
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as u32
    }
    pub fn below(&mut self, n: usize) -> usize {
        self.next() as usize % n
    }
}

/// An element type the tests can fill and compare.
pub trait Sample: Element {
    fn sample(rng: &mut Rng) -> Self;
    fn close(self, o: Self) -> bool {
        self == o
    }
}

macro_rules! sample_int {
    ($($t:ty)*) => {$(
        impl Sample for $t {
            fn sample(rng: &mut Rng) -> Self {
                rng.next() as $t
            }
        }
    )*};
}
sample_int!(u8 u16 u32 u64 i8 i16 i32 i64);

impl Sample for bool {
    fn sample(rng: &mut Rng) -> Self {
        rng.below(2) == 1
    }
}

macro_rules! sample_float {
    ($($t:ty, $from:expr, $tolerance:expr;)*) => {$(
        impl Sample for $t {
            fn sample(rng: &mut Rng) -> Self {
                $from((rng.next() % 4001) as f32 / 1000.0 - 2.0)
            }
            fn close(self, o: Self) -> bool {
                let (a, b) = (f64::from(self), f64::from(o));
                a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= $tolerance * (1.0 + a.abs())
            }
        }
    )*};
}
sample_float! {
    f32, |x: f32| x, 1e-5;
    f64, |x: f32| f64::from(x), 1e-12;
    covector_kernels::f16, covector_kernels::f16::from_f32, 4e-3;
    covector_kernels::bf16, covector_kernels::bf16::from_f32, 3e-2;
}

impl Sample for covector_kernels::C64 {
    fn sample(rng: &mut Rng) -> Self {
        Self::new(f32::sample(rng), f32::sample(rng))
    }
    fn close(self, o: Self) -> bool {
        (self - o).norm() <= 1e-4 * (1.0 + self.norm()) || self.re.is_nan() && o.re.is_nan()
    }
}

/// Strided memory that owns its elements.
pub struct Array<T> {
    pub data: Vec<T>,
    pub offset: usize,
    pub shape: Vec<usize>,
    pub strides: Vec<isize>,
}

pub fn row_major(shape: &[usize]) -> Vec<isize> {
    let mut strides = vec![1; shape.len()];
    for k in (1..shape.len()).rev() {
        strides[k - 1] = strides[k] * shape[k] as isize;
    }
    strides
}

impl<T: Sample> Array<T> {
    pub fn zeros(shape: &[usize]) -> Self {
        let n = shape.iter().product();
        Self { data: vec![T::default(); n], offset: 0, shape: shape.to_vec(), strides: row_major(shape) }
    }

    pub fn from(shape: &[usize], data: Vec<T>) -> Self {
        assert_eq!(data.len(), shape.iter().product::<usize>());
        Self { data, offset: 0, shape: shape.to_vec(), strides: row_major(shape) }
    }

    /// Random elements in a random layout: row-major, permuted axes, gaps, reversed axes.
    pub fn random(shape: &[usize], rng: &mut Rng) -> Self {
        let rank = shape.len();
        let mut order: Vec<usize> = (0..rank).collect();
        let plain = rng.below(3) == 0;
        if !plain {
            for k in (1..rank).rev() {
                order.swap(k, rng.below(k + 1));
            }
        }
        let (mut strides, mut step, mut offset) = (vec![0isize; rank], 1isize, 0usize);
        for &k in order.iter().rev() {
            if !plain && rng.below(4) == 0 {
                step *= 2;
            }
            strides[k] = step;
            step *= shape[k].max(1) as isize;
            if !plain && rng.below(4) == 0 && shape[k] > 0 {
                offset += (shape[k] - 1) * strides[k] as usize;
                strides[k] = -strides[k];
            }
        }
        let data = (0..step.max(1) as usize).map(|_| T::sample(rng)).collect();
        Self { data, offset, shape: shape.to_vec(), strides }
    }

    pub fn view(&self) -> View<'_> {
        // SAFETY: the constructors keep every element within `data`.
        unsafe {
            View::new(
                self.data.as_ptr().wrapping_add(self.offset).cast(),
                T::DTYPE,
                &self.shape,
                &self.strides,
            )
        }
    }

    pub fn out(&mut self) -> Out<'_> {
        assert_eq!(self.strides, row_major(&self.shape));
        // SAFETY: row-major and owned.
        unsafe { Out::new(self.data.as_mut_ptr().cast(), T::DTYPE, &self.shape) }
    }

    pub fn at(&self, index: &[usize]) -> T {
        let offset: isize = index.iter().zip(&self.strides).map(|(&i, &s)| i as isize * s).sum();
        self.data[(self.offset as isize + offset) as usize]
    }

    /// The element at `index` after broadcasting, aligned on the right.
    pub fn broadcast_at(&self, index: &[usize]) -> T {
        let skip = index.len() - self.shape.len();
        let own: Vec<usize> =
            index[skip..].iter().zip(&self.shape).map(|(&i, &n)| if n == 1 { 0 } else { i }).collect();
        self.at(&own)
    }
}

/// All indices of a shape in row-major order.
pub fn indices(shape: &[usize]) -> Vec<Vec<usize>> {
    let n: usize = shape.iter().product();
    (0..n)
        .map(|mut linear| {
            let mut index = vec![0; shape.len()];
            for k in (0..shape.len()).rev() {
                index[k] = linear % shape[k];
                linear /= shape[k];
            }
            index
        })
        .collect()
}

pub fn random_shape(rng: &mut Rng) -> Vec<usize> {
    let rank = rng.below(5);
    let extent = |rng: &mut Rng| {
        let choices = if rng.below(8) == 0 { 8 } else { 7 };
        [1, 2, 3, 5, 8, 17, 40, 0][rng.below(choices)]
    };
    let mut size = 1;
    // The size is limited because plain loops are slow.
    (0..rank)
        .map(|_| {
            let n = extent(rng);
            let n = if size * n > 3000 { 1 } else { n };
            size *= n;
            n
        })
        .collect()
}

/// A shape that broadcasts to `shape`.
pub fn broadcastable(shape: &[usize], rng: &mut Rng) -> Vec<usize> {
    let skip = rng.below(shape.len() + 1) * rng.below(2);
    shape[skip..].iter().map(|&n| if rng.below(4) == 0 { 1 } else { n }).collect()
}

pub fn assert_close<T: Sample>(got: &[T], expected: &[T], what: &str) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (i, (&g, &e)) in got.iter().zip(expected).enumerate() {
        assert!(g.close(e), "{what}: element {i} is {g:?}, not {e:?}");
    }
}

/// Applies one tile function to inputs of its types, which broadcast.
pub fn apply(f: program::TileFn, inputs: &[View<'_>], out: Out<'_>) {
    let mut builder = program::Builder::default();
    let regs: Vec<_> = inputs.iter().map(|x| builder.input(x.dtype())).collect();
    let result = builder.apply(f, None, &regs, out.dtype());
    builder.output(result);
    let shape = out.shape().to_vec();
    builder.finish().run(&shape, inputs, &[out]);
}

/// [`apply`] in `f32` for half-precision types: inputs are widened, and the result is narrowed.
pub fn apply_wide(f: program::TileFn, inputs: &[View<'_>], out: Out<'_>) {
    use covector_kernels::convert::{narrow_tile, widen_tile};
    let mut builder = program::Builder::default();
    let regs: Vec<_> = inputs.iter().map(|x| builder.input(x.dtype())).collect();
    let widened =
        |builder: &mut program::Builder, (reg, x): (&program::Reg, &View<'_>)| match widen_tile(x.dtype()) {
            Some(widen) => builder.apply(program::TileFn::One(widen), None, &[*reg], Dtype::F32),
            None => *reg,
        };
    let wide: Vec<_> = regs.iter().zip(inputs).map(|pair| widened(&mut builder, pair)).collect();
    let computed = if narrow_tile(out.dtype()).is_some() { Dtype::F32 } else { out.dtype() };
    let mut result = builder.apply(f, None, &wide, computed);
    if let Some(narrow) = narrow_tile(out.dtype()) {
        result = builder.apply(program::TileFn::One(narrow), None, &[result], out.dtype());
    }
    builder.output(result);
    let shape = out.shape().to_vec();
    builder.finish().run(&shape, inputs, &[out]);
}

/// For `Dtype` in test names.
pub fn name<T: Element>() -> Dtype {
    T::DTYPE
}
