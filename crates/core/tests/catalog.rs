//! The generic suite: every entry of the catalogue under every transform.

#![allow(clippy::print_stdout, reason = "the suite reports how much it checked")]

mod half_common;

use covector_core::catalog::{Entry, Input, Kind, entries};
use covector_core::ops::spec::OpSpec;
use covector_core::registry::specs;
use covector_core::transforms::{checkpoint, jvp_flat, vjp_flat, vmap_flat};
use covector_core::{Array, Dtype, Result, graph_text, ops, rows};
use covector_kernels::program::{MachineCode, set_machine_code};
use half_common::{ONCE, unit};
use std::collections::BTreeSet;

const SEED: u64 = 7;

fn samples(entry: &Entry, seed: u64, float: Dtype) -> Vec<Array> {
    // Samples are small and run once: machine code would wait for more.
    set_machine_code(MachineCode::AtOnce);
    entry.inputs.iter().enumerate().map(|(i, x)| x.sample(seed * 31 + i as u64, float)).collect()
}

/// Deterministic weights for outputs, so that a scalar loss sees every element differently.
fn weights(like: &Array, seed: u64) -> Array {
    let input = Input { shape: like.shape().to_vec(), kind: Kind::Real(0.5, 1.5) };
    input.sample(seed, like.dtype())
}

fn to_f64(x: &Array) -> Vec<f64> {
    ops::astype(x, Dtype::F64).to_vec::<f64>()
}

#[track_caller]
fn assert_near(what: &str, a: &Array, b: &Array, tolerance: f64) {
    assert_eq!(a.shape(), b.shape(), "{what}: shapes");
    assert_eq!(a.dtype(), b.dtype(), "{what}: types");
    let parts = |x: &Array| {
        let mut all = to_f64(&ops::real(x));
        all.extend(to_f64(&ops::imag(x)));
        all
    };
    for (i, (x, y)) in parts(a).into_iter().zip(parts(b)).enumerate() {
        let near =
            x == y || (x.is_nan() && y.is_nan()) || (x - y).abs() <= tolerance * (1.0 + x.abs().max(y.abs()));
        assert!(near, "{what}: element {i}: {x} against {y}");
    }
}

/// The non-empty subsets of the differentiable inputs.
fn subsets(entry: &Entry) -> Vec<Vec<usize>> {
    let all: Vec<usize> = (0..entry.inputs.len()).filter(|&i| entry.inputs[i].is_differentiable()).collect();
    (1u32..1 << all.len())
        .map(|bits| all.iter().enumerate().filter(|(k, _)| bits >> k & 1 == 1).map(|(_, &i)| i).collect())
        .collect()
}

fn with(x: &[Array], subset: &[usize], values: &[Array]) -> Vec<Array> {
    let mut x = x.to_vec();
    for (&i, v) in subset.iter().zip(values) {
        x[i] = v.clone();
    }
    x
}

fn pick(x: &[Array], subset: &[usize]) -> Vec<Array> {
    subset.iter().map(|&i| x[i].clone()).collect()
}

/// Only outputs that carry derivatives.
fn inexact(y: Vec<Array>) -> Vec<Array> {
    y.into_iter().filter(|y| y.dtype().is_inexact()).collect()
}

fn run(entry: &Entry, x: &[Array], subset: &[usize], values: &[Array]) -> Result<Vec<Array>> {
    Ok(inexact((entry.run)(&with(x, subset, values))?))
}

fn loss(entry: &Entry, x: &[Array], subset: &[usize], values: &[Array]) -> Result<Array> {
    let mut total = ops::constant(0.0, Dtype::F64);
    for (i, y) in run(entry, x, subset, values)?.iter().enumerate() {
        total = total + (y * weights(y, 100 + i as u64) * y).sum();
    }
    Ok(total)
}

fn gradient(f: impl Fn(&[Array]) -> Result<Array>, at: &[Array]) -> Result<Vec<Array>> {
    let traced = vjp_flat(at, |x| Ok(vec![f(x)?]))?;
    let one = ops::ones_like(&traced.outputs()[0]);
    traced.pullback(&[one])
}

fn step(x: &[Array], t: &[Array], h: f64) -> Vec<Array> {
    x.iter().zip(t).map(|(x, t)| x + t * h).collect()
}

fn directions(at: &[Array], seed: u64) -> Vec<Array> {
    at.iter()
        .enumerate()
        .map(|(i, x)| {
            let input = Input { shape: x.shape().to_vec(), kind: Kind::Real(-1.0, 1.0) };
            input.sample(seed + i as u64, x.dtype())
        })
        .collect()
}

fn smooth() -> impl Iterator<Item = Entry> {
    entries().into_iter().filter(|e| e.smooth)
}

fn report(name: &str, entries: usize, checks: usize) {
    println!("{name}: {entries} entries, {checks} checks");
    assert!(checks >= entries && entries > 100, "{name}: the catalogue has shrunk");
}

#[test]
fn forward_mode_agrees_with_finite_differences() {
    let (mut n, mut checks) = (0, 0);
    for entry in smooth() {
        n += 1;
        let x = samples(&entry, SEED, Dtype::F64);
        for subset in subsets(&entry) {
            let at = pick(&x, &subset);
            let t = directions(&at, 11);
            let f = |v: &[Array]| run(&entry, &x, &subset, v);
            let (_, tangents) = jvp_flat(&at, &t, f).unwrap_or_else(|e| panic!("{}: {e}", entry.name));
            let h = 1e-6;
            let (up, down) = (f(&step(&at, &t, h)).unwrap(), f(&step(&at, &t, -h)).unwrap());
            for (tangent, (up, down)) in tangents.iter().zip(up.iter().zip(&down)) {
                let slope = (up - down) / (2.0 * h);
                assert_near(&format!("{} {subset:?}", entry.name), tangent, &slope, 2e-7);
                checks += 1;
            }
        }
    }
    report("forward against finite differences", n, checks);
}

#[test]
fn reverse_mode_is_the_adjoint_of_forward_mode() {
    for float in [Dtype::F64, Dtype::C64] {
        let (mut n, mut checks) = (0, 0);
        for entry in smooth() {
            let x = samples(&entry, SEED, float);
            if float == Dtype::C64 && (entry.run)(&x).is_err() {
                continue; // the op takes no complex arrays and says so
            }
            n += 1;
            for subset in subsets(&entry) {
                let at = pick(&x, &subset);
                let t = directions(&at, 11);
                let f = |v: &[Array]| run(&entry, &x, &subset, v);
                let (y, jt) = jvp_flat(&at, &t, f).unwrap();
                let ct: Vec<Array> = y.iter().enumerate().map(|(i, y)| weights(y, 50 + i as u64)).collect();
                let back = vjp_flat(&at, f).unwrap().pullback(&ct).unwrap();
                // Re⟨ct, J t⟩ = Re⟨Jᴴ ct, t⟩
                let dot = |a: &[Array], b: &[Array]| -> f64 {
                    let parts =
                        a.iter().zip(b).map(|(a, b)| to_f64(&ops::real(&(ops::conjugate(a) * b).sum()))[0]);
                    parts.sum()
                };
                let (left, right) = (dot(&ct, &jt), dot(&back, &t));
                let tolerance = if float == Dtype::F64 { 1e-10 } else { 2e-3 };
                assert!(
                    (left - right).abs() <= tolerance * (1.0 + left.abs()),
                    "{} {subset:?} in {float}: ⟨ct, Jt⟩ = {left}, ⟨Jᴴct, t⟩ = {right}",
                    entry.name
                );
                for (b, x) in back.iter().zip(&at) {
                    assert_eq!(b.aval(), x.aval(), "{}", entry.name);
                }
                checks += 1;
            }
        }
        println!("adjoint in {float}: {n} entries, {checks} checks");
        assert!(n > 60);
    }
}

/// All combinations of batch axes: none, the first, the last of each input.
fn axis_choices(entry: &Entry) -> Vec<Vec<Option<isize>>> {
    let mut all: Vec<Vec<Option<isize>>> = vec![Vec::new()];
    for _ in &entry.inputs {
        all = all
            .into_iter()
            .flat_map(|head| {
                [None, Some(0), Some(-1)].into_iter().map(move |axis| {
                    let mut next = head.clone();
                    next.push(axis);
                    next
                })
            })
            .collect();
    }
    all.retain(|axes| axes.iter().any(Option::is_some));
    all
}

/// A batch of samples stacked on the given axes, and the samples.
fn batches(entry: &Entry, axes: &[Option<isize>], size: usize) -> (Vec<Array>, Vec<Vec<Array>>) {
    let rows: Vec<Vec<Array>> =
        (0..size.max(1)).map(|b| samples(entry, SEED + b as u64, Dtype::F64)).collect();
    let stacked = axes
        .iter()
        .enumerate()
        .map(|(i, axis)| match axis {
            None => rows[0][i].clone(),
            Some(axis) => {
                let column: Vec<Array> = rows.iter().map(|r| r[i].clone()).collect();
                let all = ops::stack(&column, *axis);
                if size == 0 { ops::take(&all, &Array::new(Vec::<i32>::new()), *axis) } else { all }
            }
        })
        .collect();
    let each = (0..size)
        .map(|b| (0..axes.len()).map(|i| rows[if axes[i].is_some() { b } else { 0 }][i].clone()).collect())
        .collect();
    (stacked, each)
}

#[test]
fn vmap_agrees_with_a_loop() {
    let (mut n, mut checks) = (0, 0);
    for entry in entries() {
        n += 1;
        for axes in axis_choices(&entry) {
            let (stacked, each) = batches(&entry, &axes, 3);
            let batched = vmap_flat(&stacked, &axes, |x| (entry.run)(x))
                .unwrap_or_else(|e| panic!("{} {axes:?}: {e}", entry.name));
            let zero = vec![Some(0); batched.len()];
            let found = batched.at_axes(&zero).unwrap();
            let loops: Vec<Vec<Array>> = each.iter().map(|x| (entry.run)(x).unwrap()).collect();
            for (k, y) in found.iter().enumerate() {
                let column: Vec<Array> = loops.iter().map(|l| l[k].clone()).collect();
                assert_near(&format!("{} {axes:?}", entry.name), y, &ops::stack(&column, 0), 1e-12);
                checks += 1;
            }
        }
    }
    report("vmap against a loop", n, checks);
}

#[test]
fn an_empty_batch_gives_empty_results() {
    let (mut n, mut checks) = (0, 0);
    for entry in entries() {
        n += 1;
        let axes: Vec<Option<isize>> = vec![Some(0); entry.inputs.len()];
        let (stacked, _) = batches(&entry, &axes, 0);
        let batched =
            vmap_flat(&stacked, &axes, |x| (entry.run)(x)).unwrap_or_else(|e| panic!("{}: {e}", entry.name));
        let zero = vec![Some(0); batched.len()];
        let one = (entry.run)(&samples(&entry, SEED, Dtype::F64)).unwrap();
        for (y, one) in batched.at_axes(&zero).unwrap().iter().zip(&one) {
            y.try_eval().unwrap_or_else(|e| panic!("{}: {e}", entry.name));
            assert_eq!(y.shape()[0], 0, "{}", entry.name);
            assert_eq!(y.shape()[1..], *one.shape(), "{}", entry.name);
            checks += 1;
        }
    }
    report("empty arrays", n, checks);
}

#[test]
fn vmap_and_grad_commute() {
    let (mut n, mut checks) = (0, 0);
    for entry in smooth() {
        n += 1;
        let at: Vec<usize> =
            (0..entry.inputs.len()).filter(|&i| entry.inputs[i].is_differentiable()).collect();
        let axes: Vec<Option<isize>> = vec![Some(0); entry.inputs.len()];
        let (stacked, each) = batches(&entry, &axes, 2);
        let one = |x: &[Array]| gradient(|v| loss(&entry, x, &at, v), &pick(x, &at));
        let rows: Vec<Vec<Array>> = each.iter().map(|x| one(x).unwrap()).collect();
        // vmap of grad
        let batched = vmap_flat(&stacked, &axes, one).unwrap_or_else(|e| panic!("{}: {e}", entry.name));
        let zero = vec![Some(0); batched.len()];
        let inside = batched.at_axes(&zero).unwrap();
        // grad of the sum over vmap
        let outside = gradient(
            |v| {
                let all = with(&stacked, &at, v);
                let losses = vmap_flat(&all, &axes, |x| Ok(vec![loss(&entry, x, &at, &pick(x, &at))?]))?;
                Ok(losses.at_axes(&[Some(0)])?[0].sum())
            },
            &pick(&stacked, &at),
        )
        .unwrap();
        for (k, (a, b)) in inside.iter().zip(&outside).enumerate() {
            let column: Vec<Array> = rows.iter().map(|r| r[k].clone()).collect();
            let stacked = ops::stack(&column, 0);
            assert_near(&format!("vmap(grad) {}", entry.name), a, &stacked, 1e-10);
            assert_near(&format!("grad(vmap) {}", entry.name), b, &stacked, 1e-10);
            checks += 2;
        }
    }
    report("vmap and grad", n, checks);
}

#[test]
fn second_derivatives_agree_both_ways_and_with_finite_differences() {
    let (mut n, mut checks) = (0, 0);
    for entry in smooth() {
        n += 1;
        let x = samples(&entry, SEED, Dtype::F64);
        for subset in subsets(&entry) {
            let at = pick(&x, &subset);
            let t = directions(&at, 23);
            let grad = |v: &[Array]| gradient(|w| loss(&entry, &x, &subset, w), v);
            // Forward over reverse: the Hessian times t.
            let (_, forward) = jvp_flat(&at, &t, grad).unwrap_or_else(|e| panic!("{}: {e}", entry.name));
            // Reverse over reverse: the gradient of ⟨grad, t⟩.
            let reverse = gradient(
                |v| {
                    let g = grad(v)?;
                    let dots = g.iter().zip(&t).map(|(g, t)| (g * t).sum());
                    Ok(dots.reduce(|a, b| a + b).expect("at least one input"))
                },
                &at,
            )
            .unwrap_or_else(|e| panic!("{}: {e}", entry.name));
            let h = 1e-5;
            let (up, down) = (grad(&step(&at, &t, h)).unwrap(), grad(&step(&at, &t, -h)).unwrap());
            for i in 0..at.len() {
                let what = format!("{} {subset:?} input {i}", entry.name);
                assert_near(&what, &forward[i], &reverse[i], 1e-9);
                assert_near(&what, &forward[i], &((&up[i] - &down[i]) / (2.0 * h)), 2e-5);
                checks += 2;
            }
        }
    }
    report("second derivatives", n, checks);
}

#[test]
fn a_checkpointed_gradient_is_the_plain_one() {
    let (mut n, mut checks) = (0, 0);
    for entry in smooth() {
        n += 1;
        let x = samples(&entry, SEED, Dtype::F64);
        for subset in subsets(&entry) {
            let at = pick(&x, &subset);
            let plain = gradient(|v| loss(&entry, &x, &subset, v), &at).unwrap();
            let again =
                gradient(|v| Ok(checkpoint(v, |v| Ok(vec![loss(&entry, &x, &subset, v)?]))?.remove(0)), &at)
                    .unwrap_or_else(|e| panic!("{}: {e}", entry.name));
            for (a, b) in plain.iter().zip(&again) {
                assert_near(entry.name, a, b, 1e-14);
                checks += 1;
            }
        }
    }
    report("checkpoint", n, checks);
}

/// The same values behind reversed axes and a negative stride.
fn twisted(x: &Array) -> Array {
    let t = ops::transpose(x, &[]);
    let t = ops::transpose(&t.reshape(&t.shape().iter().map(|&n| n as isize).collect::<Vec<_>>()), &[]);
    if t.ndim() == 0 {
        return t;
    }
    let whole = ops::Index::Slice(None, None, -1);
    let flipped = ops::index(&t, std::slice::from_ref(&whole));
    flipped.try_eval().unwrap();
    let copy = ops::stack(&[flipped.clone(), flipped], -1);
    copy.try_eval().unwrap();
    ops::index(&copy, &[whole, ops::Index::Ellipsis, ops::Index::At(0)])
}

#[test]
fn strided_inputs_give_what_row_major_ones_give() {
    let (mut n, mut checks) = (0, 0);
    for entry in entries() {
        n += 1;
        for float in [Dtype::F64, Dtype::F32] {
            let x = samples(&entry, SEED, float);
            let plain = (entry.run)(&x).unwrap();
            let strided: Vec<Array> = x.iter().map(twisted).collect();
            for (x, s) in x.iter().zip(&strided) {
                assert_near("twisted", x, s, 0.0);
            }
            let found = (entry.run)(&strided).unwrap();
            for (a, b) in plain.iter().zip(&found) {
                assert_near(entry.name, a, b, 1e-6);
                checks += 1;
            }
        }
    }
    report("strided inputs", n, checks);
}

/// In units of rounding, how far a result of half precision may be from the exact one.
fn units(name: &str) -> f64 {
    match name {
        // Drawn numbers are scaled and shifted in their own type, as MLX does it: near zero little is left of them.
        "random_uniform" | "random_normal" | "random_laplace" | "random_truncated_normal" => 32.0,
        // Whatever has several steps is rounded once.
        _ => ONCE,
    }
}

#[track_caller]
fn assert_rounded(what: &str, y: &Array, due: &Array, units: f64) {
    assert_eq!(y.shape(), due.shape(), "{what}");
    for (i, (a, b)) in to_f64(y).into_iter().zip(to_f64(due)).enumerate() {
        let error = (a - b).abs() / unit(b, y.dtype());
        assert!(
            a == b || error <= units,
            "{what}: element {i}: {a} against {b}, {error:.2} units of rounding"
        );
    }
}

#[test]
fn every_float_type_computes_the_same_function_in_its_own_precision() {
    let (mut n, mut checks) = (0, 0);
    for entry in entries() {
        n += 1;
        let exact = (entry.run)(&samples(&entry, SEED, Dtype::F64)).unwrap();
        for float in [Dtype::F32, Dtype::F16, Dtype::Bf16] {
            let x = samples(&entry, SEED, float);
            // The same rounded values in f64, so that only the arithmetic differs.
            let rounded: Vec<Array> = x
                .iter()
                .map(|x| if x.dtype().is_inexact() { ops::astype(x, Dtype::F64) } else { x.clone() })
                .collect();
            let (found, due) = ((entry.run)(&x).unwrap(), (entry.run)(&rounded).unwrap());
            for ((y, due), exact) in found.iter().zip(&due).zip(&exact) {
                let what = format!("{} in {float}", entry.name);
                if exact.dtype() == Dtype::F64 {
                    assert_eq!(y.dtype(), float, "{what}");
                    if float == Dtype::F32 {
                        assert_near(&what, &ops::astype(y, Dtype::F64), due, 2e-5);
                    } else {
                        assert_rounded(&what, y, due, units(entry.name));
                    }
                } else if float == Dtype::F32 {
                    assert_eq!(y.dtype(), exact.dtype(), "{what}");
                    assert_near(&what, y, due, 0.0);
                }
                checks += 1;
            }
        }
    }
    report("element types", n, checks);
}

#[test]
fn gradients_have_their_arguments_type() {
    for entry in smooth() {
        for float in [Dtype::F16, Dtype::Bf16, Dtype::F32, Dtype::C64] {
            let x = samples(&entry, SEED, float);
            if (entry.run)(&x).is_err() {
                assert_eq!(float, Dtype::C64, "{}", entry.name);
                continue;
            }
            for subset in subsets(&entry) {
                let at = pick(&x, &subset);
                let traced = vjp_flat(&at, |v| run(&entry, &x, &subset, v)).unwrap();
                let ct: Vec<Array> = traced.outputs().iter().map(ops::ones_like).collect();
                for (g, x) in traced.pullback(&ct).unwrap().iter().zip(&at) {
                    assert_eq!(g.aval(), x.aval(), "{} in {float}", entry.name);
                    g.try_eval().unwrap();
                }
            }
        }
    }
}

/// Words between `start` and `end` in the sources of a folder, but for the blocks' own machinery.
fn words(folder: &str, start: &str, end: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut waiting = vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(folder)];
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            if !path.ends_with("ops/block") {
                waiting.extend(std::fs::read_dir(path).unwrap().map(|file| file.unwrap().path()));
            }
            continue;
        }
        for part in std::fs::read_to_string(path).unwrap().split(start).skip(1) {
            found.insert(part.split(end).next().unwrap_or_default().trim().to_owned());
        }
    }
    found
}

#[test]
fn every_public_function_of_the_operations_is_registered() {
    let bare = |name: &str| name.strip_suffix('_').unwrap_or(name).to_owned();
    // Random functions have a folder of their own.
    let own = |spec: &&OpSpec| !spec.name.starts_with("random_");
    let registered: BTreeSet<String> =
        specs().iter().copied().filter(own).map(|spec| spec.name.to_owned()).collect();
    let mut public: BTreeSet<String> = words("ops", "pub fn ", "(")
        .into_iter()
        .filter(|word| !word.contains('$') && !word.is_empty())
        .map(|word| bare(word.split([' ', '/', '<']).next().unwrap_or_default()))
        .map(|word| word.strip_prefix("try_").map_or(word.clone(), str::to_owned))
        .collect();
    // Rows have no `pub fn`.
    public.extend(words("ops", "\n    ", "(").into_iter().filter_map(|word| {
        let (name, fallible) = word.split_once(" / ")?;
        (fallible == format!("try_{name}")).then(|| name.to_owned())
    }));
    // Constructors, properties of rows, and forms under another operation's name are no operations.
    for other in ["new", "rows", "arity", "convert", "supports", "take_for", "take_along_axis_for"] {
        assert!(public.remove(other), "{other} is gone");
    }
    assert_eq!(public, registered);
}

#[test]
fn every_operation_has_samples_in_its_own_name() {
    let mut names = BTreeSet::new();
    for spec in specs() {
        assert!(names.insert(spec.name), "{} is registered twice", spec.name);
        let samples = (spec.samples)();
        assert!(!samples.is_empty(), "{} has no samples", spec.name);
        assert!(samples.iter().all(|entry| entry.name == spec.name), "{} has samples of another", spec.name);
    }
}

#[test]
fn every_primitive_is_reached_by_the_catalogue() {
    let mut reached = BTreeSet::new();
    for entry in entries() {
        let x = samples(&entry, SEED, Dtype::F64);
        let mut note = |text: String| {
            for line in text.lines() {
                if let Some((_, what)) = line.split_once(" = ") {
                    reached.insert(what.split(['(', '[']).next().unwrap_or_default().to_owned());
                }
            }
        };
        let traced = vjp_flat(&x, |x| (entry.run)(x)).unwrap();
        note(graph_text(traced.outputs()));
        if let Ok(complex) = vjp_flat(&samples(&entry, SEED, Dtype::C64), |x| (entry.run)(x)) {
            note(graph_text(complex.outputs()));
            let ct: Vec<Array> = complex.outputs().iter().map(ops::ones_like).collect();
            if entry.smooth {
                note(graph_text(&complex.pullback(&ct).unwrap()));
            }
        }
        if entry.name == "checkpoint" {
            let ct: Vec<Array> = traced.outputs().iter().map(ops::ones_like).collect();
            note(graph_text(&traced.pullback(&ct).unwrap()));
        }
    }
    let mut declared = BTreeSet::new();
    for folder in ["ops", "random", "transforms"] {
        for part in words(folder, "fn name(&self) -> &'static str {", "\n    }") {
            declared.extend(part.split('"').skip(1).step_by(2).map(str::to_owned));
        }
        // Names chosen by a match have more than one brace-free part; collect their arms as well.
        declared.extend(words(folder, "=> \"", "\"").into_iter().filter(|w| !w.contains(' ')));
        // Rows outside of the tables.
        declared.extend(words(folder, "name: \"", "\""));
    }
    let missing: Vec<&String> = declared.iter().filter(|w| !reached.contains(*w)).collect();
    assert!(missing.is_empty(), "primitives that no catalogue entry reaches: {missing:?}");
    let rows: BTreeSet<String> = rows().map(|row| row.name.to_owned()).collect();
    reached.remove("values");
    let unknown: Vec<&String> =
        reached.iter().filter(|w| !declared.contains(*w) && !rows.contains(*w)).collect();
    assert!(unknown.is_empty(), "the scan of the sources has missed {unknown:?}");
}

#[test]
fn almost_no_derivative_is_written_by_hand() {
    let families = covector_core::catalog::families().unwrap();
    for (family, names) in &families {
        println!("{family}: {} ({})", names.len(), names.iter().copied().collect::<Vec<_>>().join(", "));
    }
    // The one pair of rules that could disagree is the user's own.
    let by_hand: Vec<&str> = families["handwritten"].iter().copied().collect();
    assert_eq!(by_hand, ["custom_function"]);
    assert!(families["elementwise"].len() > 30 && families["linear"].len() > 15);
}
