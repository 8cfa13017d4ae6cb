//! Half precision against `float64`, in units of rounding.

#![allow(dead_code, reason = "each suite uses some of it")]

use covector_core::catalog::{Input, Kind};
use covector_core::transforms::{jvp_flat, vjp_flat};
use covector_core::{Array, Dtype, Result, bf16, f16, ops};

/// Units of rounding for results that are rounded once.
pub(crate) const ONCE: f64 = 1.0;

/// The elements as `f64`.
pub(crate) fn to_f64(x: &Array) -> Vec<f64> {
    ops::astype(x, Dtype::F64).to_vec::<f64>()
}

/// The distance of two neighbours around `v` in a type of half precision.
pub(crate) fn unit(v: f64, dtype: Dtype) -> f64 {
    let (bits, least) = if dtype == Dtype::F16 { (10, -14) } else { (7, -126) };
    let exponent = if v == 0.0 { least } else { (v.abs().log2().floor() as i32).max(least) };
    f64::powi(2.0, exponent - bits)
}

/// The largest number of the type.
pub(crate) fn largest(dtype: Dtype) -> f64 {
    if dtype == Dtype::F16 { f16::MAX.to_f64() } else { bf16::MAX.to_f64() }
}

/// `v` rounded to the type.
pub(crate) fn rounded(v: f64, dtype: Dtype) -> f64 {
    if dtype == Dtype::F16 { f16::from_f64(v).to_f64() } else { bf16::from_f64(v).to_f64() }
}

/// `found`, of half precision, against `exact`. `single` is the same in `float32`: what that type itself rounds is no
/// fault of half precision, and where it ends half precision may.
pub(crate) fn compare(
    what: &str,
    found: &Array,
    single: &Array,
    exact: &Array,
    worst: &mut Vec<String>,
) -> usize {
    let dtype = found.dtype();
    assert!(matches!(dtype, Dtype::F16 | Dtype::Bf16), "{what}: {dtype}");
    assert_eq!(found.shape(), exact.shape(), "{what}");
    let (found, single, exact) = (to_f64(found), to_f64(single), to_f64(exact));
    let own = single.iter().zip(&exact).map(|(s, e)| (s - e).abs());
    let noise = 4.0 * own.filter(|n| n.is_finite()).fold(0.0, f64::max);
    let mut most: Option<(f64, usize)> = None;
    for (i, (&y, &e)) in found.iter().zip(&exact).enumerate() {
        let limit = rounded(e, dtype);
        let error = if y == limit || !single[i].is_finite() || limit.is_infinite() && !y.is_finite() {
            continue;
        } else if y.is_finite() && limit.is_finite() {
            ((y - e).abs() - noise) / unit(e, dtype)
        } else if limit.is_infinite() && y.is_finite() {
            (y.abs() - largest(dtype)).abs() / unit(largest(dtype), dtype)
        } else {
            f64::INFINITY
        };
        if most.is_none_or(|(m, _)| error > m) {
            most = Some((error, i));
        }
    }
    if let Some((error, i)) = most.filter(|m| m.0 > ONCE) {
        worst.push(format!("{what}: element {i}: {} against {}, {error:.1} units", found[i], exact[i]));
    }
    found.len()
}

pub(crate) fn halves() -> [Dtype; 2] {
    [Dtype::F16, Dtype::Bf16]
}

/// In another type, where it is floating point.
pub(crate) fn converted(x: &[Array], dtype: Dtype) -> Vec<Array> {
    let one = |x: &Array| if x.dtype().is_inexact() { ops::astype(x, dtype) } else { x.clone() };
    x.iter().map(one).collect()
}

/// Between a half and one and a half, for cotangents and tangents.
fn weights(like: &[Array], seed: u64, dtype: Dtype) -> Vec<Array> {
    let one = |(i, x): (usize, &Array)| {
        Input { shape: x.shape().to_vec(), kind: Kind::Real(0.5, 1.5) }.sample(seed + i as u64, dtype)
    };
    like.iter().enumerate().map(one).collect()
}

/// A function of arrays.
pub(crate) type Run<'a> = &'a dyn Fn(&[Array]) -> Result<Vec<Array>>;

/// What a function gives for these inputs: outputs and, if it is `smooth`, its gradients and tangents with respect to the
/// inputs `at`, each with its name. Cotangents and tangents are numbers of half precision, whatever the type of the inputs.
fn results(
    run: Run<'_>,
    (at, smooth): (&[usize], bool),
    x: &[Array],
    half: Dtype,
) -> Result<Vec<(String, Array)>> {
    let pick = |all: &[Array]| at.iter().map(|&i| all[i].clone()).collect::<Vec<_>>();
    let run = |some: &[Array]| -> Result<Vec<Array>> {
        let mut all = x.to_vec();
        at.iter().zip(some).for_each(|(&i, x)| all[i] = x.clone());
        Ok(run(&all)?.into_iter().filter(|y| y.dtype().is_inexact()).collect())
    };
    let here = pick(x);
    let dtype = here.first().map_or(half, Array::dtype);
    let traced = vjp_flat(&here, run)?;
    let mut all: Vec<(String, Array)> = traced.outputs().iter().map(|y| (String::new(), y.clone())).collect();
    if smooth {
        let cts = converted(&weights(traced.outputs(), 50, half), dtype);
        let gradients = traced.pullback(&cts)?;
        for (g, x) in gradients.iter().zip(&here) {
            assert_eq!(g.aval(), x.aval());
        }
        all.extend(gradients.into_iter().enumerate().map(|(i, g)| (format!(", gradient {i}"), g)));
        let tangents = converted(&weights(&here, 70, half), dtype);
        let (_, tangents) = jvp_flat(&here, &tangents, run)?;
        all.extend(tangents.into_iter().map(|t| (", tangent".to_owned(), t)));
    }
    Ok(all)
}

/// Compares a function of these inputs of half precision with the same in `float64`; gives how many elements were compared,
/// and adds to `worst` what is further away than one rounding.
pub(crate) fn checked(
    what: &str,
    run: Run<'_>,
    derivatives: (&[usize], bool),
    x: &[Array],
    half: Dtype,
    worst: &mut Vec<String>,
) -> Result<usize> {
    let found = results(run, derivatives, x, half)?;
    let single = results(run, derivatives, &converted(x, Dtype::F32), half)?;
    let exact = results(run, derivatives, &converted(x, Dtype::F64), half)?;
    let mut count = 0;
    for (((part, y), (_, s)), (_, e)) in found.iter().zip(&single).zip(&exact) {
        count += compare(&format!("{what}{part}"), y, s, e, worst);
    }
    Ok(count)
}
