//! What the samples of operations are made of.

use crate::array::Array;
use crate::error::Result;
use crate::ops;
use crate::ops::elementwise::{Partials, Row, RowFn};
use covector_kernels::{C64, Dtype};

/// What values a sample input has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Floating point, from an interval in which the operation is smooth.
    Real(f64, f64),
    /// Floating point, all different by a margin, so that orderings stay put under small changes.
    Distinct,
    /// `int32` from zero up to a bound.
    Index(usize),
    /// Different indices below a bound.
    Permuted(usize),
    /// Truth values.
    Bool,
    /// `uint32` random keys.
    Key,
}

/// A sample input.
#[derive(Clone, Debug)]
pub struct Input {
    /// The extents.
    pub shape: Vec<usize>,
    /// The values.
    pub kind: Kind,
}

impl Input {
    /// Whether derivatives with respect to it exist.
    pub fn is_differentiable(&self) -> bool {
        matches!(self.kind, Kind::Real(..) | Kind::Distinct)
    }

    /// Sample values, the same for the same `seed`; floating point in the given type.
    pub fn sample(&self, seed: u64, float: Dtype) -> Array {
        let n: usize = self.shape.iter().product();
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678_9abc_def1;
        let mut unit = || {
            // SplitMix64 (Steele, Lea, Flood 2014).
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
        };
        let order = |unit: &mut dyn FnMut() -> f64, n: usize| {
            let mut order: Vec<usize> = (0..n).collect();
            for i in (1..n).rev() {
                order.swap(i, (unit() * (i + 1) as f64) as usize);
            }
            order
        };
        let array = |v: &[f64]| {
            let x = Array::from_slice(v, &self.shape);
            ops::to_dtype(&crate::error::expect(x), float)
        };
        let ints = |v: Vec<i32>| crate::error::expect(Array::from_slice(&v, &self.shape));
        match self.kind {
            Kind::Real(lo, hi) if float == Dtype::C64 => {
                let scale = (hi - lo) as f32;
                let v: Vec<C64> = (0..n)
                    .map(|_| C64::new(lo as f32 + scale * unit() as f32, 0.5 * scale * (unit() as f32 - 0.5)))
                    .collect();
                crate::error::expect(Array::from_slice(&v, &self.shape))
            }
            Kind::Real(lo, hi) => array(&(0..n).map(|_| lo + (hi - lo) * unit()).collect::<Vec<_>>()),
            Kind::Distinct => {
                let scale = 3.0 / n.max(1) as f64;
                let v = order(&mut unit, n);
                array(&v.iter().map(|&i| (i as f64 + 0.3) * scale - 1.5).collect::<Vec<_>>())
            }
            Kind::Index(bound) => ints((0..n).map(|_| (unit() * bound as f64) as i32).collect()),
            Kind::Permuted(bound) => {
                let v = order(&mut unit, bound);
                ints((0..n).map(|i| v[i % bound] as i32).collect())
            }
            Kind::Bool => {
                let v: Vec<bool> = (0..n).map(|_| unit() < 0.5).collect();
                crate::error::expect(Array::from_slice(&v, &self.shape))
            }
            Kind::Key => {
                let v: Vec<u32> = (0..n).map(|_| (unit() * 4e9) as u32).collect();
                crate::error::expect(Array::from_slice(&v, &self.shape))
            }
        }
    }
}

/// An operation under test.
pub type Run = Box<dyn Fn(&[Array]) -> Result<Vec<Array>> + Send + Sync>;

/// One entry of the catalogue.
pub struct Entry {
    /// The public operation it shows.
    pub name: &'static str,
    /// Runs it.
    pub run: Run,
    /// Its sample inputs.
    pub inputs: Vec<Input>,
    /// Whether it has a derivative to check; false where that is zero or there is none.
    pub smooth: bool,
}

/// Numbers of either sign.
pub fn real<const N: usize>(shape: [usize; N]) -> Input {
    input(shape, Kind::Real(-1.5, 1.5))
}

/// Positive numbers.
pub fn positive<const N: usize>(shape: [usize; N]) -> Input {
    input(shape, Kind::Real(0.4, 2.0))
}

/// Numbers that all differ by a margin.
pub fn distinct<const N: usize>(shape: [usize; N]) -> Input {
    input(shape, Kind::Distinct)
}

/// An input of a kind.
pub fn input<const N: usize>(shape: [usize; N], kind: Kind) -> Input {
    Input { shape: shape.to_vec(), kind }
}

/// An entry; it is only smooth if an input is differentiable, too.
pub fn entry(
    name: &'static str,
    smooth: bool,
    inputs: Vec<Input>,
    run: impl Fn(&[Array]) -> Result<Vec<Array>> + Send + Sync + 'static,
) -> Entry {
    let smooth = smooth && inputs.iter().any(Input::is_differentiable);
    Entry { name, run: Box::new(run), inputs, smooth }
}

/// The entry of an elementwise primitive.
pub(crate) fn row(row: &'static Row) -> Vec<Entry> {
    let bits = row.name.starts_with("bitwise") || row.name.ends_with("shift");
    let mut all = elementwise(row.name, row.function, row.domain);
    for entry in &mut all {
        entry.smooth &= !bits && !matches!(row.partials, Partials::Zero);
        if bits {
            let shapes: [&[usize]; 2] = [&[2, 3], &[3]];
            let integers = shapes.iter().map(|shape| Input { shape: shape.to_vec(), kind: Kind::Index(9) });
            entry.inputs = integers.take(row.arity()).collect();
        }
    }
    all
}

/// The entry of an elementwise operation; two inputs broadcast.
pub(crate) fn elementwise(name: &'static str, function: RowFn, domain: &[(f64, f64)]) -> Vec<Entry> {
    let real = |i: usize, shape: &[usize]| Input {
        shape: shape.to_vec(),
        kind: Kind::Real(domain[i].0, domain[i].1),
    };
    vec![match function {
        RowFn::One(f) => entry(name, true, vec![real(0, &[2, 3])], move |x| Ok(vec![f(&x[0])?])),
        RowFn::Two(f) => {
            let inputs = vec![real(0, &[2, 1, 3]), real(1, &[4, 3])];
            entry(name, true, inputs, move |x| Ok(vec![f(&x[0], &x[1])?]))
        }
    }]
}
