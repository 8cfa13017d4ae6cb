//! The catalogue: every elementwise row and every public operation with sample inputs.
//!
//! One generic suite (`tests/catalog.rs`) runs over it: an operation that stands here is tested under every
//! transform, and one that does not stand here fails the suite.

mod models;
pub mod special;
mod windows;

use crate::array::Array;
use crate::error::Result;
use crate::graph;
use crate::ops;
use crate::prim::elementwise::{Partials, RowFn};
use crate::prim::rows;
use crate::primitive::Derivative;
use crate::random;
use crate::transforms::{CustomFunction, checkpoint, compile_flat, jvp_flat, vjp_flat};
use covector_kernels::{C64, Dtype};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

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

fn real(shape: &[usize]) -> Input {
    Input { shape: shape.to_vec(), kind: Kind::Real(-1.5, 1.5) }
}

fn positive(shape: &[usize]) -> Input {
    Input { shape: shape.to_vec(), kind: Kind::Real(0.4, 2.0) }
}

fn distinct(shape: &[usize]) -> Input {
    Input { shape: shape.to_vec(), kind: Kind::Distinct }
}

fn input(shape: &[usize], kind: Kind) -> Input {
    Input { shape: shape.to_vec(), kind }
}

fn entry(
    name: &'static str,
    inputs: Vec<Input>,
    run: impl Fn(&[Array]) -> Result<Array> + Send + Sync + 'static,
) -> Entry {
    entries_of(name, inputs, move |x| Ok(vec![run(x)?]))
}

fn entries_of(
    name: &'static str,
    inputs: Vec<Input>,
    run: impl Fn(&[Array]) -> Result<Vec<Array>> + Send + Sync + 'static,
) -> Entry {
    let smooth = inputs.iter().any(Input::is_differentiable);
    Entry { name, run: Box::new(run), inputs, smooth }
}

fn flat(mut entry: Entry) -> Entry {
    entry.smooth = false;
    entry
}

/// The primitives that the catalogue reaches, by the family their derivative is written in.
///
/// # Errors
/// When an entry does not run on its own samples.
pub fn families() -> Result<BTreeMap<&'static str, BTreeSet<&'static str>>> {
    let mut found: BTreeMap<&'static str, BTreeSet<&'static str>> = BTreeMap::new();
    for entry in entries() {
        for float in [Dtype::F64, Dtype::C64] {
            let x: Vec<Array> = entry.inputs.iter().map(|x| x.sample(1, float)).collect();
            let traced = match vjp_flat(&x, |x| (entry.run)(x)) {
                Err(_) if float == Dtype::C64 => continue, // the op takes no complex arrays and says so
                other => other?,
            };
            for step in graph::walk(traced.outputs(), |_| true, |_| true).steps {
                let Some(recipe) = step.recipe else { continue };
                let family = match recipe.op.derivative() {
                    Derivative::Elementwise(_) => "elementwise",
                    Derivative::Linear(_) => "linear",
                    Derivative::Bilinear(_) => "bilinear",
                    Derivative::Structured(_) => "structured",
                    Derivative::Handwritten(_) => "handwritten",
                    Derivative::Zero => "zero",
                    Derivative::None(_) => "none",
                };
                found.entry(family).or_default().insert(recipe.op.name());
            }
        }
    }
    Ok(found)
}

/// Everything.
pub fn entries() -> Vec<Entry> {
    let mut all = elementwise();
    all.extend(composed());
    all.extend(choices());
    all.extend(shapes());
    all.extend(indices());
    all.extend(reductions());
    all.extend(products());
    all.extend(models::sums_of_products());
    all.extend(models::models());
    all.extend(windows::windows());
    all.extend(convolutions());
    all.extend(creation());
    all.extend(draws());
    all.extend(wrappers());
    all
}

fn elementwise() -> Vec<Entry> {
    rows()
        .map(|row| {
            let at = |i: usize, shape: &[usize]| input(shape, Kind::Real(row.domain[i].0, row.domain[i].1));
            let bits = row.name.starts_with("bitwise") || row.name.ends_with("shift");
            let integer = |shape: &[usize]| input(shape, Kind::Index(9));
            let made = match row.function {
                RowFn::One(f) if bits => entry(row.name, vec![integer(&[2, 3])], move |x| f(&x[0])),
                RowFn::One(f) => entry(row.name, vec![at(0, &[2, 3])], move |x| f(&x[0])),
                RowFn::Two(f) if bits => {
                    entry(row.name, vec![integer(&[2, 3]), integer(&[3])], move |x| f(&x[0], &x[1]))
                }
                RowFn::Two(f) => {
                    entry(row.name, vec![at(0, &[2, 1, 3]), at(1, &[4, 3])], move |x| f(&x[0], &x[1]))
                }
            };
            if matches!(row.partials, Partials::Zero) { flat(made) } else { made }
        })
        .collect()
}

fn composed() -> Vec<Entry> {
    let at = |(lo, hi): (f64, f64), shape: &[usize]| input(shape, Kind::Real(lo, hi));
    ops::composites()
        .iter()
        .map(|row| match row.function {
            RowFn::One(f) => entry(row.name, vec![at(row.domain[0], &[2, 3])], move |x| f(&x[0])),
            RowFn::Two(f) => {
                let inputs = vec![at(row.domain[0], &[2, 1, 3]), at(row.domain[1], &[4, 3])];
                entry(row.name, inputs, move |x| f(&x[0], &x[1]))
            }
        })
        .collect()
}

fn choices() -> Vec<Entry> {
    let apart = || input(&[2, 3], Kind::Real(0.2, 0.8));
    vec![
        entry("abs", vec![positive(&[2, 3])], |x| ops::try_abs(&x[0])),
        flat(entry("sign", vec![positive(&[2, 3])], |x| ops::try_sign(&x[0]))),
        entry("where", vec![input(&[2, 1], Kind::Bool), real(&[3]), real(&[2, 3])], |x| {
            ops::try_where_(&x[0], &x[1], &x[2])
        }),
        entry("astype", vec![real(&[3])], |x| {
            ops::try_astype(&ops::try_astype(&x[0], Dtype::F64)?, x[0].dtype())
        }),
        flat(entry("stop_gradient", vec![real(&[3])], |x| ops::try_stop_gradient(&x[0]))),
        entry(
            "clip",
            vec![distinct(&[2, 3]), input(&[], Kind::Real(-0.7, -0.6)), input(&[3], Kind::Real(0.6, 0.7))],
            |x| ops::try_clip(&x[0], Some(&x[1]), Some(&x[2])),
        ),
        entry("real", vec![real(&[3])], |x| ops::try_real(&x[0])),
        flat(entry("imag", vec![real(&[3])], |x| ops::try_imag(&x[0]))),
        entry("conjugate", vec![real(&[3])], |x| ops::try_conjugate(&x[0])),
        flat(entry("round", vec![apart()], |x| ops::try_round(&x[0], 1))),
        entry("nan_to_num", vec![real(&[3])], |x| ops::try_nan_to_num(&x[0], 0.0, None, None)),
        flat(entry("isclose", vec![real(&[3]), real(&[2, 3])], |x| {
            ops::try_isclose(&x[0], &x[1], 1e-5, 1e-8, true)
        })),
        flat(entry("allclose", vec![real(&[3]), real(&[2, 3])], |x| {
            ops::try_allclose(&x[0], &x[1], 1e-5, 1e-8, true)
        })),
        flat(entry("array_equal", vec![real(&[3]), real(&[3])], |x| {
            ops::try_array_equal(&x[0], &x[1], true)
        })),
        entry("copy", vec![real(&[3])], |x| ops::try_copy(&x[0])),
        flat(entry("logical_xor", vec![input(&[3], Kind::Bool), input(&[2, 1], Kind::Bool)], |x| {
            ops::try_logical_xor(&x[0], &x[1])
        })),
        entries_of(
            "divmod",
            vec![input(&[2, 3], Kind::Real(0.2, 0.8)), input(&[3], Kind::Real(1.0, 2.0))],
            |x| {
                let (quotient, rest) = ops::try_divmod(&x[0], &x[1])?;
                Ok(vec![quotient, rest])
            },
        ),
    ]
}

fn shapes() -> Vec<Entry> {
    vec![
        entry("reshape", vec![real(&[2, 3, 2])], |x| ops::try_reshape(&x[0], &[3, -1])),
        entry("transpose", vec![real(&[2, 3, 4])], |x| ops::try_transpose(&x[0], &[2, 0, 1])),
        entry("moveaxis", vec![real(&[2, 3, 4])], |x| ops::try_moveaxis(&x[0], 0, -1)),
        entry("swapaxes", vec![real(&[2, 3, 4])], |x| ops::try_swapaxes(&x[0], 0, -1)),
        entry("mt", vec![real(&[2, 3])], |x| ops::try_mt(&x[0])),
        entry("expand_dims", vec![real(&[2, 3])], |x| ops::try_expand_dims(&x[0], &[0, -1])),
        entry("squeeze", vec![real(&[1, 3, 1])], |x| ops::try_squeeze(&x[0], &[0])),
        entry("squeeze_all", vec![real(&[1, 3, 1])], |x| ops::try_squeeze_all(&x[0])),
        entry("flatten", vec![real(&[2, 3, 2])], |x| ops::try_flatten(&x[0], 1, -1)),
        entry("unflatten", vec![real(&[2, 6])], |x| ops::try_unflatten(&x[0], -1, &[2, -1])),
        entry("broadcast_to", vec![real(&[3, 1])], |x| ops::try_broadcast_to(&x[0], &[2, 3, 4])),
        entry("pad", vec![real(&[2, 3]), real(&[])], |x| ops::try_pad(&x[0], &[1, 0], &[2, 1], &x[1])),
        entry("diagonal", vec![real(&[3, 2, 4])], |x| ops::try_diagonal(&x[0], 1, 0, 2)),
        entry("diag", vec![real(&[3])], |x| ops::try_diag(&x[0], -1)),
        entry("diag", vec![real(&[3, 4])], |x| ops::try_diag(&x[0], 1)),
        entry("tril", vec![real(&[3, 4])], |x| ops::try_tril(&x[0], 1)),
        entry("triu", vec![real(&[2, 3, 3])], |x| ops::try_triu(&x[0], 0)),
        entry("tile", vec![real(&[2, 3])], |x| ops::try_tile(&x[0], &[2, 1, 2])),
        entry("repeat", vec![real(&[2, 3])], |x| ops::try_repeat(&x[0], 2, 1)),
        entry("flip", vec![real(&[2, 3, 1])], |x| ops::try_flip(&x[0], &[0, -1, 1])),
        entry("atleast_1d", vec![real(&[])], |x| ops::try_atleast_1d(&x[0])),
        entry("atleast_2d", vec![real(&[3])], |x| ops::try_atleast_2d(&x[0])),
        entry("atleast_3d", vec![real(&[3, 2])], |x| ops::try_atleast_3d(&x[0])),
        flat(entry("view", vec![input(&[3, 2], Kind::Index(9))], |x| ops::try_view(&x[0], Dtype::U8))),
        entry("trace", vec![real(&[3, 2, 4])], |x| ops::try_trace(&x[0], 1, 0, 2)),
        entries_of("unstack", vec![real(&[2, 3])], |x| ops::try_unstack(&x[0], 1)),
        entries_of("meshgrid", vec![real(&[2]), real(&[3])], |x| ops::try_meshgrid(x, false, true)),
        entry("diff", vec![real(&[2, 4])], |x| ops::try_diff(&x[0], 2, 1)),
        entry("roll", vec![real(&[2, 3])], |x| ops::try_roll(&x[0], -1, 1)),
        entry("concatenate", vec![real(&[2, 3]), real(&[1, 3]), real(&[2, 3])], |x| {
            ops::try_concatenate(x, 0)
        }),
        entry("stack", vec![real(&[2, 3]), real(&[2, 3])], |x| ops::try_stack(x, 1)),
        entries_of("split", vec![real(&[4, 3])], |x| ops::try_split(&x[0], 2, 0)),
        entries_of("split_at", vec![real(&[2, 5])], |x| ops::try_split_at(&x[0], &[1, -1], -1)),
        entries_of("broadcast_arrays", vec![real(&[2, 1]), real(&[3])], ops::try_broadcast_arrays),
    ]
}

fn indices() -> Vec<Entry> {
    use ops::{Index, Update};
    let at = |s: &[usize], n: usize| input(s, Kind::Index(n));
    let once = |s: &[usize], n: usize| input(s, Kind::Permuted(n));
    let window = || {
        vec![
            Index::Slice(Some(-1), None, -2),
            Index::NewAxis,
            Index::Ellipsis,
            Index::Slice(None, Some(-1), 1),
        ]
    };
    let mut all = vec![
        entry("take", vec![real(&[2, 4, 3]), at(&[2, 2], 4)], |x| ops::try_take(&x[0], &x[1], 1)),
        entry("pick_class", vec![real(&[2, 4]), at(&[2], 4)], |x| {
            ops::pick_class("pick_class", &x[0], &x[1], 1)
        }),
        entry("take_along_axis", vec![real(&[2, 4]), at(&[2, 3], 4)], |x| {
            ops::try_take_along_axis(&x[0], &x[1], 1)
        }),
        entry("put_along_axis", vec![real(&[2, 4]), at(&[2, 6], 4), real(&[2, 6])], |x| {
            ops::try_put_along_axis(&x[0], &x[1], &x[2], 1)
        }),
        entry("scatter_add_axis", vec![real(&[2, 4]), at(&[2, 6], 4), real(&[2, 6])], |x| {
            ops::try_scatter_add_axis(&x[0], &x[1], &x[2], 1)
        }),
        entry("index", vec![real(&[3, 2, 4])], move |x| ops::try_index(&x[0], &window())),
        entry("index", vec![real(&[3, 2, 4]), at(&[5], 3), at(&[2, 1], 4)], |x| {
            ops::try_index(&x[0], &[Index::from(&x[1]), Index::from(..), Index::from(&x[2])])
        }),
        entry("index_set", vec![real(&[3, 2, 4]), real(&[2, 1, 2, 3])], move |x| {
            ops::try_index_set(&x[0], &window(), &x[1])
        }),
        entry("index_set", vec![real(&[3, 4]), at(&[7], 3), real(&[7, 4])], |x| {
            ops::try_index_set(&x[0], &[Index::from(&x[1])], &x[2])
        }),
    ];
    for how in
        [Update::Add, Update::Subtract, Update::Multiply, Update::Divide, Update::Maximum, Update::Minimum]
    {
        let (target, values) = match how {
            Update::Maximum | Update::Minimum => (input(&[4, 2], Kind::Real(-0.2, 0.2)), distinct(&[5, 2])),
            _ => (positive(&[4, 2]), positive(&[5, 2])),
        };
        all.push(entry("index_update", vec![target, at(&[5], 4), values], move |x| {
            ops::try_index_update(&x[0], &[Index::from(&x[1])], &x[2], how)
        }));
        all.push(entry(
            "index_update",
            vec![positive(&[4, 2]), once(&[2], 4), input(&[2, 2], Kind::Real(2.5, 3.0))],
            move |x| ops::try_index_update(&x[0], &[Index::from(&x[1])], &x[2], how),
        ));
    }
    all
}

fn reductions() -> Vec<Entry> {
    let mut all = vec![
        entry("sum", vec![real(&[2, 3])], |x| ops::try_sum(&x[0])),
        entry("sum_axes", vec![real(&[2, 3, 4])], |x| ops::try_sum_axes(&x[0], &[0, -1], true)),
        entry("prod", vec![real(&[2, 3])], |x| ops::try_prod(&x[0])),
        entry("prod_axes", vec![real(&[3, 2, 3])], |x| ops::try_prod_axes(&x[0], &[0, 2], false)),
        entry("max", vec![distinct(&[2, 3])], |x| ops::try_max(&x[0])),
        entry("max_axes", vec![distinct(&[2, 3])], |x| ops::try_max_axes(&x[0], &[-1], false)),
        entry("min", vec![distinct(&[2, 3])], |x| ops::try_min(&x[0])),
        entry("min_axes", vec![distinct(&[2, 3])], |x| ops::try_min_axes(&x[0], &[0], true)),
        flat(entry("all", vec![real(&[2, 3])], |x| ops::try_all(&x[0]))),
        flat(entry("all_axes", vec![real(&[2, 3])], |x| ops::try_all_axes(&x[0], &[0], true))),
        flat(entry("any", vec![real(&[2, 3])], |x| ops::try_any(&x[0]))),
        flat(entry("any_axes", vec![real(&[2, 3])], |x| ops::try_any_axes(&x[0], &[1], false))),
        entry("mean", vec![real(&[2, 3])], |x| ops::try_mean(&x[0])),
        entry("mean_axes", vec![real(&[2, 3])], |x| ops::try_mean_axes(&x[0], &[0], true)),
        entry("var", vec![real(&[2, 3])], |x| ops::try_var(&x[0])),
        entry("var_axes", vec![real(&[3, 2])], |x| ops::try_var_axes(&x[0], &[0], false, 1)),
        entry("std", vec![distinct(&[2, 3])], |x| ops::try_std(&x[0])),
        entry("std_axes", vec![distinct(&[2, 3])], |x| ops::try_std_axes(&x[0], &[1], true, 1)),
        entry("logsumexp", vec![real(&[2, 3])], |x| ops::try_logsumexp(&x[0])),
        entry("logsumexp_axes", vec![real(&[2, 3])], |x| ops::try_logsumexp_axes(&x[0], &[1], true)),
        entry("softmax", vec![real(&[2, 3])], |x| ops::try_softmax(&x[0], &[-1])),
        flat(entry("argmax", vec![distinct(&[2, 3])], |x| ops::try_argmax(&x[0]))),
        flat(entry("argmax_axis", vec![distinct(&[2, 3])], |x| ops::try_argmax_axis(&x[0], 1, true))),
        flat(entry("argmin", vec![distinct(&[2, 3])], |x| ops::try_argmin(&x[0]))),
        flat(entry("argmin_axis", vec![distinct(&[2, 3])], |x| ops::try_argmin_axis(&x[0], 0, false))),
        entry("sort", vec![distinct(&[3, 4])], |x| ops::try_sort(&x[0], 0)),
        entry("partition", vec![distinct(&[3, 4])], |x| ops::try_partition(&x[0], 1, 1)),
        flat(entry("argpartition", vec![distinct(&[3, 4])], |x| ops::try_argpartition(&x[0], -2, 0))),
        entry("topk", vec![distinct(&[3, 4])], |x| ops::try_topk(&x[0], 2, -1)),
        entry("median", vec![distinct(&[2, 3])], |x| ops::try_median(&x[0])),
        entry("median_axes", vec![distinct(&[3, 2, 3])], |x| ops::try_median_axes(&x[0], &[0, 2], true)),
        flat(entry("searchsorted", vec![distinct(&[7]), distinct(&[2, 3])], |x| {
            ops::try_searchsorted(&ops::try_sort(&x[0], 0)?, &x[1], false)
        })),
        flat(entry("count_nonzero", vec![input(&[2, 3], Kind::Index(2))], |x| ops::try_count_nonzero(&x[0]))),
        flat(entry("count_nonzero_axes", vec![input(&[2, 3], Kind::Index(2))], |x| {
            ops::try_count_nonzero_axes(&x[0], &[1], true)
        })),
        flat(entry("argsort", vec![distinct(&[3, 4])], |x| ops::try_argsort(&x[0], -1))),
    ];
    type Cumulative = fn(&Array, isize, bool, bool) -> Result<Array>;
    let scans: [(&'static str, Cumulative); 5] = [
        ("cumsum", ops::try_cumsum),
        ("cumprod", ops::try_cumprod),
        ("cummax", ops::try_cummax),
        ("cummin", ops::try_cummin),
        ("logcumsumexp", ops::try_logcumsumexp),
    ];
    for (name, f) in scans {
        for (reverse, inclusive) in [(false, true), (true, true), (false, false), (true, false)] {
            // Exclusive extremes start with an infinity, which finite differences cannot take.
            let sample = if name.starts_with("cumm") || name.starts_with("log") { distinct } else { real };
            let rest = inclusive || !(name.starts_with("cumm") || name.starts_with("log"));
            all.push(entry(name, vec![sample(&[2, 5])], move |x| {
                let y = f(&x[0], 1, reverse, inclusive)?;
                if rest {
                    return Ok(y);
                }
                let (from, to) = if reverse { (0, 4) } else { (1, 5) };
                ops::try_index(&y, &[ops::Index::from(..), ops::Index::from(from..to)])
            }));
        }
    }
    all
}

fn products() -> Vec<Entry> {
    vec![
        entry("matmul", vec![real(&[2, 3]), real(&[3, 4])], |x| ops::try_matmul(&x[0], &x[1])),
        entry("matmul", vec![real(&[3]), real(&[2, 3, 4])], |x| ops::try_matmul(&x[0], &x[1])),
        entry("matmul", vec![real(&[2, 1, 2, 3]), real(&[4, 3, 2])], |x| ops::try_matmul(&x[0], &x[1])),
        entry("matmul", vec![real(&[2, 2, 3]), real(&[3, 2])], |x| ops::try_matmul(&x[0], &x[1])),
        entry("addmm", vec![real(&[3]), real(&[2, 4]), real(&[4, 3])], |x| {
            ops::try_addmm(&x[0], &x[1], &x[2], 2.0, 0.5)
        }),
        entry("inner", vec![real(&[2, 3]), real(&[4, 3])], |x| ops::try_inner(&x[0], &x[1])),
        entry("outer", vec![real(&[2]), real(&[3])], |x| ops::try_outer(&x[0], &x[1])),
        entry("kron", vec![real(&[2, 3]), real(&[2])], |x| ops::try_kron(&x[0], &x[1])),
        entry("vecdot", vec![real(&[2, 3]), real(&[3])], |x| ops::try_vecdot(&x[0], &x[1], -1)),
        entry("cross", vec![real(&[3, 2]), real(&[2, 2])], |x| ops::try_cross(&x[0], &x[1], 0)),
        entry("tensordot", vec![real(&[2, 3, 4]), real(&[4, 2, 3])], |x| {
            ops::try_tensordot(&x[0], &x[1], &[2, 0], &[0, 1])
        }),
    ]
}

fn convolutions() -> Vec<Entry> {
    use ops::ConvOptions;
    vec![
        entry("conv1d", vec![real(&[2, 5, 2]), real(&[3, 2, 2])], |x| {
            ops::try_conv1d(&x[0], &x[1], 2, 1, 1, 1)
        }),
        entry("conv2d", vec![real(&[2, 4, 3, 2]), real(&[3, 2, 3, 2])], |x| {
            ops::try_conv2d(&x[0], &x[1], [1, 1], [1, 1], [1, 1], 1)
        }),
        entry("conv2d", vec![real(&[1, 5, 4, 4]), real(&[4, 2, 2, 2])], |x| {
            ops::try_conv2d(&x[0], &x[1], [2, 1], [0, -1], [1, 1], 2)
        }),
        entry("conv3d", vec![real(&[1, 3, 2, 2, 2]), real(&[2, 2, 1, 2, 2])], |x| {
            ops::try_conv3d(&x[0], &x[1], [1, 1, 2], [0, 0, 1], [2, 1, 1], 1)
        }),
        entry("conv_transpose1d", vec![real(&[1, 3, 2]), real(&[2, 3, 1])], |x| {
            ops::try_conv_transpose1d(&x[0], &x[1], 2, 1, 1, 1, 2)
        }),
        entry("conv_transpose2d", vec![real(&[1, 2, 2, 2]), real(&[1, 2, 3, 2])], |x| {
            ops::try_conv_transpose2d(&x[0], &x[1], [2, 3], [0, 1], [1, 1], [1, 0], 1)
        }),
        entry("conv_transpose3d", vec![real(&[1, 1, 2, 2, 1]), real(&[1, 2, 1, 2, 1])], |x| {
            ops::try_conv_transpose3d(&x[0], &x[1], [1, 1, 2], [0; 3], [1, 1, 2], [0; 3], 1)
        }),
        entry("conv_general", vec![real(&[2, 4, 4]), real(&[2, 2, 2])], |x| {
            let options = ConvOptions {
                stride: &[2],
                padding_low: &[3],
                padding_high: &[1],
                kernel_dilation: &[2],
                input_dilation: &[3],
                groups: 2,
                flip: true,
            };
            ops::try_conv_general(&x[0], &x[1], &options)
        }),
        entry("max_pool", vec![distinct(&[1, 5, 4, 2])], |x| {
            ops::try_max_pool(&x[0], &[2, 3], &[2, 1], &[1, 1])
        }),
        // Its tangent, which reverse mode alone does not make.
        entry("max_pool", vec![distinct(&[1, 5, 2]), real(&[1, 5, 2])], |x| {
            let pool = |x: &[Array]| Ok(vec![ops::try_max_pool(&x[0], &[3], &[2], &[1])?]);
            Ok(jvp_flat(&x[..1], &x[1..], pool)?.1.remove(0))
        }),
        entry("avg_pool", vec![real(&[2, 5, 2])], |x| ops::try_avg_pool(&x[0], &[3], &[1], &[1])),
    ]
}

fn creation() -> Vec<Entry> {
    let with = |name, f: fn(Dtype) -> Result<Array>| {
        entry(name, vec![real(&[2, 3])], move |x| ops::try_multiply(&x[0], &f(x[0].dtype())?))
    };
    vec![
        entry("full", vec![real(&[3])], |x| ops::try_full(&[2, 3], &x[0])),
        with("zeros", |d| Ok(ops::zeros(&[2, 3], d))),
        with("ones", |d| Ok(ops::ones(&[3], d))),
        entry("zeros_like", vec![real(&[2])], |x| ops::try_add(&x[0], &ops::zeros_like(&x[0]))),
        entry("ones_like", vec![real(&[2])], |x| ops::try_multiply(&x[0], &ops::ones_like(&x[0]))),
        with("constant", |d| Ok(ops::constant(2.0, d))),
        entry("constant_like", vec![real(&[2])], |x| {
            ops::try_multiply(&x[0], &ops::constant_like(&x[0], 3.0))
        }),
        with("arange", |d| ops::try_astype(&ops::try_arange(0.0, 3.0, 1.0, Dtype::F32)?, d)),
        with("linspace", |d| ops::try_astype(&ops::try_linspace(0.0, 1.0, 3, Dtype::F32)?, d)),
        with("eye", |d| ops::try_eye(2, 3, 1, d)),
        with("tri", |d| ops::try_tri(2, 3, 0, d)),
    ]
}

/// Random numbers, which are functions of a key and of the distribution's parameters.
fn draws() -> Vec<Entry> {
    let key = || input(&[2], Kind::Key);
    let low = || input(&[3], Kind::Real(-1.5, -0.5));
    let real_only = |x: &Array| if x.dtype().is_complex() { Dtype::F32 } else { x.dtype() };
    let part = |x: &Array| if x.dtype().is_complex() { ops::try_real(x) } else { Ok(x.clone()) };
    vec![
        flat(entry("random_bits", vec![key()], |x| random::bits(&[3, 2], Dtype::U32, Some(&x[0])))),
        flat(entry("random_split", vec![key()], |x| random::split(&x[0], 3))),
        entry("random_uniform", vec![key(), low(), positive(&[2, 1])], move |x| {
            random::uniform(part(&x[1])?, part(&x[2])?, &[2, 3], real_only(&x[1]), Some(&x[0]))
        }),
        entry("random_normal", vec![key(), real(&[3]), positive(&[2, 1])], |x| {
            random::normal(&[2, 3], x[1].dtype(), &x[1], &x[2], Some(&x[0]))
        }),
        entry("random_laplace", vec![key(), real(&[3]), positive(&[2, 1])], move |x| {
            random::laplace(&[2, 3], real_only(&x[1]), part(&x[1])?, part(&x[2])?, Some(&x[0]))
        }),
        entry("random_truncated_normal", vec![key(), low(), positive(&[2, 1])], move |x| {
            random::truncated_normal(part(&x[1])?, part(&x[2])?, None, real_only(&x[1]), Some(&x[0]))
        }),
        flat(entry("random_gumbel", vec![key()], |x| random::gumbel(&[5], Dtype::F32, Some(&x[0])))),
        flat(entry("random_randint", vec![key()], |x| random::randint(-3, 9, &[5], Dtype::I32, Some(&x[0])))),
        flat(entry("random_randint", vec![key(), input(&[3], Kind::Index(5))], |x| {
            random::randint(&x[1], 9, &[2, 3], Dtype::I64, Some(&x[0]))
        })),
        flat(entry("random_bernoulli", vec![key()], |x| random::bernoulli(0.4, Some(&[5]), Some(&x[0])))),
        flat(entry("random_permutation", vec![key()], |x| random::permutation(5, Some(&x[0])))),
        entry("random_permutation_of", vec![key(), real(&[4, 2])], |x| {
            random::permutation_of(&x[1], 0, Some(&x[0]))
        }),
        flat(entry("random_categorical", vec![key(), real(&[2, 3])], move |x| {
            random::categorical(&part(&x[1])?, -1, None, Some(4), Some(&x[0]))
        })),
    ]
}

/// Transforms that stand in the graph as nodes of their own.
fn wrappers() -> Vec<Entry> {
    let cubic = |x: &[Array]| -> Result<Vec<Array>> { Ok(vec![&(&x[0] * &x[0]) * &x[1]]) };
    let by_vjp = CustomFunction {
        vjp: Some(Arc::new(|x, ct, _| {
            // The conjugates of the derivatives: the arguments may be complex.
            let slopes = [&(&x[0] * &x[1]) * 2.0, ops::square(&x[0])];
            Ok(slopes.iter().map(|slope| &ct[0] * &ops::conjugate(slope)).collect())
        })),
        ..Default::default()
    };
    let by_jvp = CustomFunction {
        jvp: Some(Arc::new(|x, t| {
            let zero = |i: usize| t[i].clone().unwrap_or_else(|| ops::zeros_like(&x[i]));
            Ok(vec![&(&zero(0) * &(&x[0] * &x[1]) * 2.0) + &(&zero(1) * &ops::square(&x[0]))])
        })),
        ..Default::default()
    };
    let plain = CustomFunction::default();
    let two = || vec![real(&[3]), real(&[3])];
    vec![
        entries_of("checkpoint", two(), move |x| checkpoint(x, cubic)),
        entries_of("compile", two(), move |x| {
            let avals: Vec<_> = x.iter().map(|x| x.aval().clone()).collect();
            compile_flat(&avals, cubic)?.call(x)
        }),
        entries_of("compile", two(), move |x| {
            let avals: Vec<_> = x.iter().map(|x| x.aval().clone()).collect();
            compile_flat(&avals, cubic)?.node(x.to_vec())
        }),
        entries_of("custom_function", two(), move |x| by_vjp.call(x, cubic)),
        entries_of("custom_function", two(), move |x| by_jvp.call(x, cubic)),
        entries_of("custom_function", two(), move |x| plain.call(x, cubic)),
    ]
}
