//! What the samples of operations are made of.

pub use super::Kind;
use super::{Entry, Input};
use crate::array::Array;
use crate::error::Result;
use crate::prim::elementwise::{Partials, Row, RowFn};

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
