//! Half precision is rounded once: every entry of the catalogue that adds up, multiplies or counts many numbers, enlarged,
//! against the same in `float64`, forward and backward.
//!
//! An entry is found by its graph: if a primitive in it, or in its derivatives, accumulates, it is here. A primitive that is
//! in neither list below fails the suite, so a new one cannot be forgotten.

#![allow(clippy::print_stdout, reason = "the suite reports how much it checked")]

mod half_common;

use covector_core::catalog::{Entry, Input, Kind, entries};
use covector_core::transforms::{grad, vjp_flat};
use covector_core::{Array, Dtype, Result, graph_text, ops};
use half_common::{checked, halves, rounded, to_f64, unit};
use std::collections::BTreeSet;

/// Primitives that combine many elements to one.
const ACCUMULATING: &[&str] = &[
    "sum",
    "prod",
    "max",
    "min",
    "cumsum",
    "cumprod",
    "cummax",
    "cummin",
    "logcumsumexp",
    "matmul",
    "conv",
    "conv_weights",
    "pool_sum",
    "pool_max",
    "pool_spread",
    "pool_pick",
    "pool_put",
    "scatter_add",
    "scatter_prod",
    "scatter_max",
    "scatter_min",
    "scatter_add_axis",
    "gather",
    "take_along_axis",
];

/// Primitives whose results are of one element, or of none. Elementwise rows are known.
const MOVING: &[&str] = &[
    "alias",
    "all",
    "any",
    "arange",
    "argmax",
    "argmin",
    "argsort",
    "astype",
    "barrier",
    "broadcast_to",
    "compiled",
    "concatenate",
    "custom_function",
    "linspace",
    "pad",
    "put_along_axis",
    "random_bits",
    "random_integers",
    "random_log",
    "random_normal",
    "random_truncated_normal",
    "random_uniform",
    "reshape",
    "scatter",
    "slice",
    "slice_update",
    "sort",
    "stop_gradient",
    "transpose",
    "values",
    "view",
    "where",
];

/// Elements of the largest input of an enlarged entry: more than float16 can count, and enough for sums to overflow.
const MOST: usize = 80_000;
const SOME: usize = 8_000;

/// The primitives of a graph.
fn primitives(arrays: &[Array]) -> BTreeSet<String> {
    let text = graph_text(arrays);
    let lines = text.lines().filter_map(|line| Some(line.split_once(" = ")?.1));
    lines.map(|what| what.split(['(', '[']).next().unwrap_or_default().trim().to_owned()).collect()
}

/// The primitives of an entry and of its gradient.
fn reached(entry: &Entry) -> BTreeSet<String> {
    let x: Vec<Array> =
        entry.inputs.iter().enumerate().map(|(i, x)| x.sample(i as u64, Dtype::F64)).collect();
    let traced = vjp_flat(&x, |x| (entry.run)(x)).unwrap();
    let mut all = primitives(traced.outputs());
    if entry.smooth {
        let ct: Vec<Array> = traced.outputs().iter().map(ops::ones_like).collect();
        all.extend(primitives(&traced.pullback(&ct).unwrap()));
    }
    all
}

/// The inputs with every extent above 1 times `k`: what was equal stays equal, what broadcast broadcasts.
fn enlarged(entry: &Entry, k: usize) -> Vec<Input> {
    let grown = |x: &Input| {
        let shape = x.shape.iter().map(|&n| if n > 1 { n * k } else { n }).collect();
        Input { shape, kind: x.kind }
    };
    entry.inputs.iter().map(grown).collect()
}

/// The inputs as large as the entry runs with and `most` elements allow: some have extents that are written into them.
fn large(entry: &Entry, most: usize) -> Vec<Input> {
    let size = |x: &Input| x.shape.iter().fold(1, |n: usize, &m| n.saturating_mul(m));
    let fits = |k: usize| enlarged(entry, k).iter().all(|x| size(x) <= most);
    let largest = (1..=most).take_while(|&k| fits(k)).last().unwrap_or(1);
    let powers = (0..largest.ilog2()).rev().map(|p| 1 << p);
    let runs = |inputs: &Vec<Input>| {
        let y = (entry.run)(&sample(inputs, Values::Own, Dtype::F32));
        y.is_ok_and(|y| y.iter().all(|y| y.size() <= 4 * MOST && y.try_eval().is_ok()))
    };
    let mut sizes = std::iter::once(largest).chain(powers).map(|k| enlarged(entry, k));
    sizes.find(runs).unwrap_or_else(|| panic!("{}: its own samples do not run", entry.name))
}

/// What floating-point inputs hold.
#[derive(Clone, Copy, Debug)]
enum Values {
    /// The entry's own samples.
    Own,
    /// The same number everywhere: sums overflow, everything ties.
    All(f64),
}

fn sample(inputs: &[Input], values: Values, dtype: Dtype) -> Vec<Array> {
    let one = |(i, x): (usize, &Input)| match (values, x.kind) {
        (Values::All(v), Kind::Real(..) | Kind::Distinct) => ops::full(&x.shape, v, dtype),
        _ => x.sample(31 + i as u64, dtype),
    };
    inputs.iter().enumerate().map(one).collect()
}

/// Checks an entry on these inputs; gives how many elements were compared.
fn check(
    entry: &Entry,
    inputs: &[Input],
    values: Values,
    dtype: Dtype,
    worst: &mut Vec<String>,
) -> Result<usize> {
    let shapes: Vec<&[usize]> = inputs.iter().map(|x| &x.shape[..]).collect();
    let what = format!("{} of {shapes:?} in {dtype}, {values:?}", entry.name);
    let at: Vec<usize> = (0..inputs.len()).filter(|&i| inputs[i].is_differentiable()).collect();
    checked(&what, &entry.run, (&at, entry.smooth), &sample(inputs, values, dtype), dtype, worst)
}

#[test]
fn every_primitive_is_known_to_accumulate_or_not_to() {
    let rows: BTreeSet<&str> = covector_core::rows().map(|row| row.name).collect();
    let all: BTreeSet<String> = entries().iter().flat_map(reached).collect();
    let gone: Vec<&&str> = ACCUMULATING.iter().chain(MOVING).filter(|name| !all.contains(**name)).collect();
    assert!(gone.is_empty(), "no entry of the catalogue reaches {gone:?}");
    let unknown: Vec<String> = all
        .into_iter()
        .filter(|name| {
            let name = name.as_str();
            !rows.contains(name) && !ACCUMULATING.contains(&name) && !MOVING.contains(&name)
        })
        .collect();
    assert!(unknown.is_empty(), "not in ACCUMULATING, nor in MOVING: {unknown:?}");
}

#[test]
fn what_accumulates_is_rounded_once() {
    let (mut checked, mut elements, mut worst) = (BTreeSet::new(), 0, Vec::new());
    for entry in entries() {
        // Random numbers are scaled and shifted in their own type, as MLX does it: those are no sums.
        if entry.name.starts_with("random") {
            continue;
        }
        if !reached(&entry).iter().any(|name| ACCUMULATING.contains(&name.as_str())) {
            continue;
        }
        for (values, most) in [(Values::Own, SOME), (Values::All(1.0), MOST), (Values::All(100.0), SOME)] {
            let inputs = large(&entry, most);
            for dtype in halves() {
                elements += check(&entry, &inputs, values, dtype, &mut worst)
                    .unwrap_or_else(|e| panic!("{} in {dtype}: {e}", entry.name));
            }
        }
        checked.insert(entry.name);
    }
    println!("{} operations, {elements} elements", checked.len());
    assert!(worst.is_empty(), "{} results are rounded on the way:\n{}", worst.len(), worst.join("\n"));
}

/// One number of an array, as `f64`.
fn at(x: &Array, i: usize) -> f64 {
    to_f64(x)[i]
}

#[test]
fn means_and_softmaxes_beyond_the_type_are_right() {
    for dtype in halves() {
        let hundreds = ops::full(&[1000], 100.0, dtype);
        assert_eq!(at(&hundreds.mean(), 0), 100.0);
        // As near to zero as float32 comes; the squares' sum would be infinite.
        assert!(at(&hundreds.var(), 0) < 1e-9);
        let wide = ops::zeros(&[70_000], dtype);
        assert_eq!(at(&wide.softmax(&[0]), 5), rounded(1.0 / 70_000.0, dtype));
        // log 70,000 is as near to the middle of two bfloat16 as float32 can tell.
        assert!((at(&wide.logsumexp(), 0) - 70_000f64.ln()).abs() <= 0.5001 * unit(11.0, dtype));
        // The squares of these are beyond float16, their mean's root is not.
        let (large, none) = (ops::full(&[4, 512], 1000.0, dtype), None);
        assert_eq!(at(&large.rms_norm(none, 1e-5), 0), 1.0);
    }
}

#[test]
fn elements_that_tie_share_the_gradient_whatever_their_number() {
    for dtype in halves() {
        let ones = ops::ones(&[70_000], dtype);
        let share = rounded(1.0 / 70_000.0, dtype);
        for f in [ops::max, ops::min] {
            let g = grad(|x: &Array| f(x))(&ones).unwrap();
            assert_eq!((g.dtype(), at(&g, 69_999)), (dtype, share));
        }
        let pooled = |x: &Array| ops::max_pool(x, &[5000], &[1], &[0]).sum();
        let g = grad(pooled)(&ops::ones(&[1, 9999, 1], dtype)).unwrap();
        // In the middle it is in all 5,000 windows, in each of which it has one of 5,000 shares.
        assert!((at(&g, 4999) - 1.0).abs() <= unit(1.0, dtype));
    }
}

#[test]
fn many_updates_of_one_place_all_count() {
    for dtype in halves() {
        let places = ops::zeros(&[5000], Dtype::I32);
        let due = rounded(5000.0, dtype);
        let one = ops::constant(1.0, dtype);
        let add = ops::index_update(&ops::zeros(&[2], dtype), &[(&places).into()], &one, ops::Update::Add);
        assert_eq!((add.dtype(), at(&add, 0), at(&add, 1)), (dtype, due, 0.0));
        let along = ops::scatter_add_axis(&ops::zeros(&[2], dtype), &places, &ops::ones(&[5000], dtype), 0);
        assert_eq!(at(&along, 0), due);
        // Up and down again: 2^1000 is beyond every type, the product is not.
        let factors = Array::from_slice(&[2.0f32, 0.5].repeat(50), &[100]).unwrap().astype(dtype);
        let product = ops::index_update(
            &ops::full(&[2], 3.0, dtype),
            &[(&ops::zeros(&[100], Dtype::I32)).into()],
            &factors,
            ops::Update::Multiply,
        );
        assert_eq!(at(&product, 0), 3.0);
        // The gradient of a look-up is such a sum.
        for look_up in [(|x, i| ops::take(x, i, 0).sum()) as fn(&Array, &Array) -> Array, |x, i| {
            ops::take_along_axis(x, &i.reshape(&[-1, 1]), 0).sum()
        }] {
            let table = ops::zeros(&[3, 1], dtype);
            let g = grad(|x: &Array| look_up(x, &places))(&table).unwrap();
            assert_eq!((g.dtype(), at(&g, 0), at(&g, 1)), (dtype, due, 0.0));
        }
    }
}

#[test]
fn cotangents_of_a_value_that_is_used_often_are_added_up_in_float32() {
    for dtype in halves() {
        let x = ops::ones(&[3], dtype);
        let due = rounded(5000.0, dtype);
        // As a whole, as overlapping windows, and as rows that are broadcast.
        let whole =
            |x: &Array| (0..5000).map(|_| x.clone()).reduce(|a, b| ops::stop_gradient(&a) * 0.0 + a + b);
        let g = grad(|x: &Array| whole(x).unwrap().astype(Dtype::F32).sum())(&x).unwrap();
        assert_eq!((g.dtype(), at(&g, 0)), (dtype, due));
        let window = |x: &Array, i: usize| x.index(&[ops::Index::from(i as isize % 2..i as isize % 2 + 2)]);
        let windows = |x: &Array| {
            let each = (0..5000).map(|i| window(x, i).astype(Dtype::F32));
            each.reduce(|a, b| a + b).unwrap().sum()
        };
        assert_eq!(at(&grad(windows)(&x).unwrap(), 1), due);
        let rows = |x: &Array| (x * ops::ones(&[5000, 3], dtype)).astype(Dtype::F32).sum();
        assert_eq!(at(&grad(rows)(&x).unwrap(), 0), due);
    }
}

#[test]
fn other_types_get_no_conversions() {
    let x = ops::ones(&[4, 3], Dtype::F32);
    let traced = vjp_flat(&[x], |x| {
        let y = x[0].softmax(&[1]).mean_axes(&[0], false)
            + x[0].var_axes(&[0], false, 0)
            + x[0].max_axes(&[0], false);
        Ok(vec![
            y + ops::index_update(&x[0], &[(&Array::new([0, 0])).into()], &x[0].max(), ops::Update::Add)
                .sum(),
        ])
    })
    .unwrap();
    let ct: Vec<Array> = traced.outputs().iter().map(ops::ones_like).collect();
    let text = graph_text(&traced.pullback(&ct).unwrap());
    assert!(!text.contains("float16") && !text.contains("float64"), "{text}");
    // The masks of ties are the only conversions.
    for line in text.lines().filter(|line| line.contains(" = astype")) {
        let operand = line.rsplit('(').next().unwrap().trim_end_matches(')');
        let made = text.lines().find(|l| l.starts_with(&format!("{operand}: "))).unwrap();
        assert!(made.starts_with(&format!("{operand}: bool ")), "{line}\n{text}");
    }
}

#[test]
fn elementwise_derivatives_are_rounded_once() {
    let mut worst = Vec::new();
    for row in covector_core::rows() {
        let entry = entries().into_iter().find(|e| e.name == row.name).unwrap();
        if !entry.smooth {
            continue;
        }
        for dtype in halves() {
            // Of one shape, so that nothing is added up; in the row's own interval.
            let inputs: Vec<Input> = row
                .domain
                .iter()
                .map(|&(low, high)| Input { shape: vec![4000], kind: Kind::Real(low, high) })
                .collect();
            check(&entry, &inputs, Values::Own, dtype, &mut worst).unwrap();
        }
    }
    // The derivative of the exponential is its value, which is rounded already: two roundings, and none is in the middle.
    worst.retain(|line| !line.starts_with("exp of"));
    assert!(worst.is_empty(), "{} results are rounded on the way:\n{}", worst.len(), worst.join("\n"));
    // Where the value itself is rounded to 1, or a factor is beyond the type.
    let slope = |f: fn(&Array) -> Array, at: f64, dtype: Dtype| {
        to_f64(&grad(|x: &Array| f(x) * 0.125)(&ops::constant(at, dtype)).unwrap())[0]
    };
    for dtype in halves() {
        let near =
            |found: f64, due: f64| assert!((found - due).abs() <= unit(due, dtype), "{found} against {due}");
        near(slope(ops::tanh, 4.5, dtype), 0.125 / 4.5f64.cosh().powi(2));
        near(slope(ops::square, 40_000.0, dtype), 0.25 * rounded(40_000.0, dtype));
        near(slope(ops::rsqrt, 2e-3, dtype), -0.0625 * rounded(2e-3, dtype).powf(-1.5));
    }
}
