//! Every elementwise function at special points: zeros of both signs, whole and half numbers, the edges of domains, the
//! greatest, the smallest and subnormal numbers, infinities and NaN.
//!
//! The values are those of `data/special_values.txt`, which `data/special_values.py` computes with mpmath and NumPy. A real
//! result may be two units in the last place away, in `float32` and in `float64`; a part of a complex one two units of
//! `float32` of the number's modulus. Zeros must have the right sign, and infinities and NaN must be where they are.

use covector_core::ops;
use covector_core::registry::elementwise;
use covector_core::{Array, C64, Dtype, RowFn};
use std::collections::{BTreeMap, BTreeSet};

/// Where the library has another value, with the reason.
fn is_other(name: &str, x: &[f64]) -> bool {
    match (name, x) {
        // Products of complex numbers are made of float32 products, as NumPy makes them of complex64: infinities cancel.
        ("multiply", &[a, b, c, d]) => {
            let huge = |x: f64, y: f64| (x * y).is_finite() && (x * y).abs() > f64::from(f32::MAX);
            (huge(a, c) && huge(b, d)) || (huge(a, d) && huge(b, c))
        }
        // An exponent of two infinite parts has no direction.
        ("power", &[_, _, re, im]) => re.is_infinite() && im.is_infinite(),
        _ => false,
    }
}

struct Fixture {
    points: BTreeMap<String, Vec<f64>>,
    lines: Vec<(String, String, Vec<f64>)>,
}

fn fixture() -> Fixture {
    let mut out = Fixture { points: BTreeMap::new(), lines: Vec::new() };
    for line in include_str!("data/special_values.txt").lines().filter(|l| !l.starts_with('#')) {
        let fields: Vec<&str> = line.split(';').collect();
        let [kind, name, values] = fields[..] else { panic!("three fields: {line}") };
        let values: Vec<f64> = values.split(' ').map(|v| v.parse().expect(v)).collect();
        if kind == "points" {
            out.points.insert(name.into(), values);
        } else {
            out.lines.push((kind.into(), name.into(), values));
        }
    }
    out
}

/// A public function by name.
fn function(name: &str) -> RowFn {
    match name {
        "abs" => RowFn::One(ops::try_abs),
        "sign" => RowFn::One(ops::try_sign),
        "conjugate" => RowFn::One(ops::try_conjugate),
        "logical_xor" => RowFn::Two(ops::try_logical_xor),
        _ => {
            elementwise().find(|(row, _)| row.name == name).unwrap_or_else(|| panic!("no function {name}")).1
        }
    }
}

fn apply(name: &str, x: &[Array]) -> Array {
    match (function(name), x) {
        (RowFn::One(f), [x]) => f(x),
        (RowFn::Two(f), [a, b]) => f(a, b),
        _ => panic!("{name} takes another number of arguments"),
    }
    .unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// The distance between neighbours at a number of a type.
fn unit(v: f64, dtype: Dtype) -> f64 {
    let v = v.abs();
    match dtype {
        Dtype::F64 if v >= f64::MAX => f64::MAX * f64::EPSILON / 2.0,
        Dtype::F64 => v.next_up() - v,
        _ => {
            let v = (v as f32).min(f32::MAX.next_down());
            f64::from(v.next_up()) - f64::from(v)
        }
    }
}

/// Why a value is not the right one, if it is not.
fn fault(got: f64, want: f64, within: f64, dtype: Dtype) -> Option<&'static str> {
    let near = if dtype == Dtype::F64 { want } else { f64::from(want as f32) };
    if near.is_nan() || got.is_nan() {
        return (near.is_nan() != got.is_nan()).then_some("NaN");
    }
    if want == 0.0 && got == 0.0 && got.is_sign_negative() != want.is_sign_negative() {
        return Some("the sign of zero");
    }
    if near.is_infinite() || got.is_infinite() {
        // Beside the greatest number the last unit decides about infinity.
        let most = if dtype == Dtype::F64 { f64::MAX } else { f64::from(f32::MAX) };
        let edge =
            |a: f64, b: f64| a.is_infinite() && b.abs() >= most * (1.0 - 1e-6) && a.signum() == b.signum();
        let fits = got == near || want.is_finite() && edge(got, want) || edge(near, got);
        return (!fits).then_some("infinity");
    }
    ((got - want).abs() > within).then_some("the value")
}

#[derive(Default)]
struct Report {
    faults: Vec<String>,
    checked: usize,
}

impl Report {
    fn add(&mut self, name: &str, x: &[f64], dtype: Dtype, got: f64, want: f64, within: f64) {
        self.checked += 1;
        if let Some(what) = fault(got, want, within, dtype)
            && !is_other(name, x)
        {
            let units = (got - want).abs() / unit(want, dtype);
            self.faults
                .push(format!("{name}{x:?} in {dtype}: {got:e}, not {want:e} ({what}, {units:.1} units)"));
        }
    }

    fn finish(self, least: usize) {
        assert!(self.faults.is_empty(), "{} faults:\n{}", self.faults.len(), self.faults.join("\n"));
        assert!(self.checked > least, "only {} values were checked", self.checked);
    }
}

/// Which of the points a type holds.
fn held(points: &[f64], dtype: Dtype) -> Vec<usize> {
    let holds = |v: f64| dtype == Dtype::F64 || v.is_nan() || f64::from(v as f32) == v;
    (0..points.len()).filter(|&i| holds(points[i])).collect()
}

fn array(v: &[f64], dtype: Dtype) -> Array {
    Array::new(v.to_vec()).astype(dtype)
}

fn reals(x: &Array) -> Vec<f64> {
    x.astype(Dtype::F64).to_vec()
}

#[test]
fn real_functions_are_right_at_special_points() {
    let fixture = fixture();
    let mut report = Report::default();
    for dtype in [Dtype::F32, Dtype::F64] {
        for (kind, name, want) in &fixture.lines {
            if kind == "unary" {
                let points = &fixture.points["real"];
                let at = held(points, dtype);
                let x: Vec<f64> = at.iter().map(|&i| points[i]).collect();
                let got = reals(&apply(name, &[array(&x, dtype)]));
                for (&i, got) in at.iter().zip(got) {
                    report.add(name, &points[i..=i], dtype, got, want[i], 2.0 * unit(want[i], dtype));
                }
            }
            if kind == "binary" {
                let points = &fixture.points["pairs"];
                let x = array(points, dtype);
                let n = points.len();
                let got = reals(&apply(name, &[x.expand_dims(&[1]), x]));
                for (i, got) in got.into_iter().enumerate() {
                    let pair = [points[i / n], points[i % n]];
                    report.add(name, &pair, dtype, got, want[i], 2.0 * unit(want[i], dtype));
                }
            }
        }
    }
    report.finish(10_000);
}

#[test]
fn complex_functions_are_right_at_special_points() {
    let fixture = fixture();
    let mut report = Report::default();
    let parts = &fixture.points["parts"];
    let n = parts.len();
    let z: Vec<C64> = (0..n * n).map(|i| C64::new(parts[i / n] as f32, parts[i % n] as f32)).collect();
    let few: Vec<C64> = fixture.points["few"].chunks(2).map(|p| C64::new(p[0] as f32, p[1] as f32)).collect();
    let few_array = Array::new(few.clone());
    for (kind, name, want) in &fixture.lines {
        let (got, arguments): (Array, Vec<Vec<C64>>) = match kind.as_str() {
            "complex" => (apply(name, &[Array::new(z.clone())]), z.iter().map(|&z| vec![z]).collect()),
            "complex2" => {
                let got = apply(name, &[few_array.expand_dims(&[1]), few_array.clone()]);
                let pairs = few.iter().flat_map(|&a| few.iter().map(move |&b| vec![a, b]));
                (got.flatten(0, -1), pairs.collect())
            }
            _ => continue,
        };
        if !got.dtype().is_complex() {
            for (i, got) in reals(&got).into_iter().enumerate() {
                let z = arguments[i][0];
                let x = [z.re.into(), z.im.into()];
                report.add(name, &x, Dtype::F32, got, want[i], 2.0 * unit(want[i], Dtype::F32));
            }
            continue;
        }
        for (i, got) in got.to_vec::<C64>().into_iter().enumerate() {
            let (re, im) = (want[2 * i], want[2 * i + 1]);
            let x: Vec<f64> = arguments[i].iter().flat_map(|z| [f64::from(z.re), z.im.into()]).collect();
            let size = if re.is_finite() && im.is_finite() { re.hypot(im) } else { 0.0 };
            // Signs of zero are a matter of the formula where parts are products and sums.
            let plain = matches!(name.as_str(), "multiply" | "divide" | "power" | "rsqrt" | "sign");
            for (got, want) in [(got.re, re), (got.im, im)] {
                let got = f64::from(got);
                let got = if plain && got == 0.0 && want == 0.0 { want } else { got };
                let within = 2.0 * unit(want, Dtype::F32).max(unit(size, Dtype::F32));
                report.add(name, &x, Dtype::C64, got, want, within);
            }
        }
    }
    report.finish(7_000);
}

#[test]
fn every_elementwise_function_is_in_the_fixture() {
    let fixture = fixture();
    let mut there: BTreeSet<&str> = fixture.lines.iter().map(|line| line.1.as_str()).collect();
    // Of integers alone.
    there.extend(["bitwise_invert", "bitwise_and", "bitwise_or", "bitwise_xor", "left_shift", "right_shift"]);
    // The fixture knows `real_abs` under its public name.
    let missing: Vec<&str> = elementwise()
        .map(|(row, _)| row.name.strip_prefix("real_").unwrap_or(row.name))
        .filter(|name| !there.contains(name))
        .collect();
    assert!(missing.is_empty(), "without values: {missing:?}; add them to special_values.py");
}
