//! Operations that random programs apply to values of any shape, beside the entries of the catalogue, which have the
//! parameters of their samples.

use crate::programs::Rng;
use covector_core::ops::{Index, Update};
use covector_core::{Array, Result, ops};

/// An operation with its parameters.
#[derive(Clone, Debug)]
pub(crate) enum Free {
    Reduce {
        kind: u8,
        axes: Vec<isize>,
        keep: bool,
    },
    /// `x` with a reduction of it over the axes: as in a softmax or a norm.
    Centre {
        kind: u8,
        axes: Vec<isize>,
    },
    Permute(Vec<isize>),
    Slice(Vec<(isize, isize, isize)>),
    Reshape(Vec<isize>),
    Expand {
        axis: isize,
        count: usize,
    },
    Concatenate {
        axis: isize,
    },
    Pad {
        low: Vec<usize>,
        high: Vec<usize>,
    },
    /// `x` with a function of another value, or of a slice of itself, at some of its places.
    Update {
        ranges: Vec<(isize, isize, isize)>,
        how: Option<u8>,
    },
    /// `x · yᵀ` or `xᵀ · y`.
    Product {
        left: bool,
    },
    Scan {
        kind: u8,
        axis: isize,
        reverse: bool,
    },
    Take {
        axis: isize,
    },
    Sort {
        axis: isize,
    },
    /// `a·x + b·y`, where shapes broadcast.
    Combine(f64, f64),
    Square,
    /// A recurrence over axis 0 or 1: steps are slices of `x`, and are stacked or concatenated in the end.
    Recur {
        axis: isize,
        transposed: bool,
        stacked: bool,
    },
}

fn indices(ranges: &[(isize, isize, isize)]) -> Vec<Index> {
    ranges.iter().map(|&(from, to, step)| Index::Slice(Some(from), Some(to), step)).collect()
}

impl Free {
    pub(crate) fn run(&self, x: &[Array]) -> Result<Vec<Array>> {
        let a = &x[0];
        let one = match self {
            Free::Reduce { kind, axes, keep } => reduce(*kind, a, axes, *keep),
            Free::Centre { kind, axes } => {
                let by = reduce(*kind, a, axes, true)?;
                if *kind == 3 { ops::try_multiply(a, &by) } else { ops::try_subtract(a, &by) }
            }
            Free::Permute(axes) => ops::try_transpose(a, axes),
            Free::Slice(ranges) => ops::try_index(a, &indices(ranges)),
            Free::Reshape(shape) => ops::try_reshape(a, shape),
            Free::Expand { axis, count } => {
                let a = ops::try_expand_dims(a, &[*axis])?;
                let mut shape = a.shape().to_vec();
                shape[*axis as usize] = *count;
                ops::try_broadcast_to(&a, &shape)
            }
            Free::Concatenate { axis } => ops::try_concatenate(x, *axis),
            Free::Pad { low, high } => ops::try_pad(a, low, high, &ops::zeros(&[], a.dtype())),
            Free::Update { ranges, how } => {
                let at = indices(ranges);
                let part = ops::try_index(&x[x.len() - 1], &at)? * 0.5;
                match how {
                    None => ops::try_index_set(a, &at, &part),
                    Some(how) => {
                        let how = [Update::Add, Update::Subtract, Update::Maximum][usize::from(*how)];
                        ops::try_index_update(a, &at, &part, how)
                    }
                }
            }
            Free::Product { left: true } => {
                ops::try_matmul(&ops::try_swapaxes(a, -1, -2)?, &x[1]).map(scaled)
            }
            Free::Product { left: false } => {
                ops::try_matmul(a, &ops::try_swapaxes(&x[1], -1, -2)?).map(scaled)
            }
            Free::Scan { kind, axis, reverse } => {
                let scan = [ops::try_cumsum, ops::try_cummax, ops::try_cummin][usize::from(*kind)];
                scan(a, *axis, *reverse, true)
            }
            Free::Take { axis } => ops::try_take(a, &x[1], *axis),
            Free::Sort { axis } => ops::try_sort(a, *axis),
            Free::Combine(p, q) => ops::try_add(&(a * *p), &(&x[1] * *q)),
            Free::Square => ops::try_multiply(a, a),
            Free::Recur { axis, transposed, stacked } => recur(a, &x[1], *axis, *transposed, *stacked),
        }?;
        Ok(vec![one])
    }

    /// How many values it takes.
    pub(crate) fn arguments(&self, rng: &mut Rng) -> usize {
        match self {
            Free::Product { .. } | Free::Take { .. } | Free::Combine(..) | Free::Recur { .. } => 2,
            Free::Concatenate { .. } => 2 + rng.below(2),
            Free::Update { .. } => 1 + rng.below(2),
            _ => 1,
        }
    }

    /// Some operation for a value of this shape.
    pub(crate) fn random(rng: &mut Rng, shape: &[usize]) -> Self {
        let ndim = shape.len();
        let axis = |rng: &mut Rng| if ndim == 0 { 0 } else { rng.below(ndim) as isize };
        let axes = |rng: &mut Rng| -> Vec<isize> {
            if rng.chance(0.5) && ndim > 0 {
                return vec![-1];
            }
            (0..ndim as isize).filter(|_| rng.chance(0.5)).collect()
        };
        let ranges = |rng: &mut Rng| -> Vec<(isize, isize, isize)> {
            let range = |&n: &usize| {
                let n = n as isize;
                if n < 2 || rng.chance(0.4) {
                    return (0, n, 1);
                }
                let from = rng.below(n as usize / 2) as isize;
                let to = n - rng.below(n as usize / 2) as isize;
                // Backwards, `to` is not reached: the first is kept out of it.
                if rng.chance(0.2) { (to - 1, from, -1) } else { (from, to, 1 + rng.below(2) as isize) }
            };
            shape.iter().map(range).collect()
        };
        match rng.below(22) {
            0..=2 => Free::Reduce { kind: rng.below(5) as u8, axes: axes(rng), keep: rng.chance(0.5) },
            3..=4 => Free::Centre { kind: rng.below(4) as u8, axes: axes(rng) },
            5 => {
                let mut order: Vec<isize> = (0..ndim as isize).collect();
                for i in (1..ndim).rev() {
                    order.swap(i, rng.below(i + 1));
                }
                Free::Permute(order)
            }
            6..=7 => Free::Slice(ranges(rng)),
            8 => {
                let n: usize = shape.iter().product();
                let divisors: Vec<usize> = (1..=n.min(64)).filter(|d| n.is_multiple_of(*d)).collect();
                match divisors.is_empty() {
                    true => Free::Square,
                    false => Free::Reshape(vec![*rng.one_of(&divisors) as isize, -1]),
                }
            }
            9 => Free::Expand { axis: rng.below(ndim + 1) as isize, count: 1 + rng.below(3) },
            10..=11 => Free::Concatenate { axis: axis(rng) },
            12 => {
                let amounts = |rng: &mut Rng| shape.iter().map(|_| rng.below(3)).collect();
                Free::Pad { low: amounts(rng), high: amounts(rng) }
            }
            13 => Free::Update {
                ranges: ranges(rng),
                how: if rng.chance(0.5) { None } else { Some(rng.below(3) as u8) },
            },
            14..=15 => Free::Product { left: rng.chance(0.5) },
            16 => Free::Scan { kind: rng.below(3) as u8, axis: axis(rng), reverse: rng.chance(0.5) },
            17 => {
                if rng.chance(0.5) {
                    Free::Take { axis: axis(rng) }
                } else {
                    Free::Sort { axis: axis(rng) }
                }
            }
            18..=19 if ndim > 1 => Free::Recur {
                axis: rng.below(ndim - 1) as isize,
                transposed: rng.chance(0.5),
                stacked: rng.chance(0.5),
            },
            _ => Free::Combine(rng.unit(), rng.unit() - 0.5),
        }
    }
}

/// `hₜ = tanh((xₜ w + hₜ₋₁ w) / 4 + hₜ₋₁)`, where `w` may be read transposed; the first step adds no `h`.
fn recur(x: &Array, w: &Array, axis: isize, transposed: bool, stacked: bool) -> Result<Array> {
    const MOST: usize = 6;
    let steps = x.shape()[axis as usize].min(MOST);
    let w = if transposed { ops::try_mt(w)? } else { w.clone() };
    let before = vec![Index::from(..); axis as usize];
    let mut made: Vec<Array> = Vec::with_capacity(steps);
    for t in 0..steps {
        let at: Vec<Index> = before.iter().cloned().chain([Index::At(t as isize)]).collect();
        let x = ops::try_matmul(&ops::try_index(x, &at)?, &w)? * 0.25;
        let sum = match made.last() {
            Some(h) => ops::try_add(&(&x + &(ops::try_matmul(h, &w)? * 0.25)), h)?,
            None => x,
        };
        made.push(ops::try_tanh(&sum)?);
    }
    if stacked { ops::try_stack(&made, axis) } else { ops::try_concatenate(&made, 0) }
}

/// Products of many numbers, kept in size.
fn scaled(x: Array) -> Array {
    x * 0.125
}

fn reduce(kind: u8, x: &Array, axes: &[isize], keep: bool) -> Result<Array> {
    match kind {
        0 => ops::try_max_axes(x, axes, keep),
        1 => ops::try_mean_axes(x, axes, keep),
        2 => ops::try_sum_axes(&(x * 0.1), axes, keep),
        3 => ops::try_min_axes(x, axes, keep),
        _ => ops::try_logsumexp_axes(x, axes, keep),
    }
}
