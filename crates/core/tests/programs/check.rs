//! A program in a mode agrees with the same program computed one operation at a time, and in another way.

use crate::programs::modes::{Mode, Subject, step_by_step};
use crate::programs::{Program, Rng};
use covector_core::catalog::Entry;
use covector_core::{
    Array, C64, Dtype, Result, bf16, eval, f16, graph_text, num_threads, ops, set_num_threads,
};
use covector_kernels::program::{MachineCode, set_machine_code};
use covector_kernels::with_dtype;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What came of a check.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Outcome {
    /// It agrees: so many arrays, how many of them are finite, and how many had to be equal to the last bit.
    Agrees { arrays: usize, finite: usize, exact: usize },
    /// The program does not run in this mode, with the reason.
    Refused(String),
    /// It does not agree, or it panics.
    Fails(String),
}

/// The operations that add or multiply many numbers, by parts of their names: in what order depends on what runs together.
const ACCUMULATING: &[&str] =
    &["sum", "prod", "matmul", "dot", "conv", "scatter", "pool", "mean", "compiled"];
const PRODUCTS: &[&str] = &["matmul", "dot", "conv"];

/// Whether an unevaluated array depends on an operation whose name has one of these parts.
fn depends_on(x: &Array, parts: &[&str]) -> bool {
    let text = graph_text(std::slice::from_ref(x));
    text.lines().any(|line| {
        let call = line.split(" = ").nth(1).unwrap_or_default();
        let name = call.split(['(', '[']).next().unwrap_or_default();
        parts.iter().any(|part| name.contains(part))
    })
}

fn exact(outputs: &[Array]) -> Vec<bool> {
    outputs.iter().map(|x| !depends_on(x, ACCUMULATING)).collect()
}

/// Real and imaginary parts of all elements.
fn numbers(x: &Array) -> Result<Vec<f64>> {
    if x.dtype().is_complex() {
        let values = x.try_to_vec::<C64>()?;
        return Ok(values.iter().flat_map(|z| [f64::from(z.re), f64::from(z.im)]).collect());
    }
    ops::try_astype(x, Dtype::F64)?.try_to_vec::<f64>()
}

/// Every bit of an array, but one NaN is like another.
pub(crate) fn bits(x: &Array) -> Result<Vec<u64>> {
    fn of(v: f64) -> u64 {
        if v.is_nan() { u64::MAX } else { v.to_bits() }
    }
    Ok(match x.dtype() {
        Dtype::F16 => x.try_to_vec::<f16>()?.iter().map(|v| of(v.to_f64())).collect(),
        Dtype::Bf16 => x.try_to_vec::<bf16>()?.iter().map(|v| of(v.to_f64())).collect(),
        dtype if dtype.is_inexact() => numbers(x)?.into_iter().map(of).collect(),
        dtype => with_dtype!(dtype, T => {
            let values = x.try_to_vec::<T>()?;
            values.iter().flat_map(|v| format!("{v:?}").into_bytes()).map(u64::from).collect()
        }),
    })
}

/// By how much values may differ, and arguments are shaken.
struct Rounding {
    tolerance: f64,
    shake: f64,
}

fn rounding(float: Dtype) -> Rounding {
    let (tolerance, shake) = match float {
        Dtype::F16 => (0.05, 4e-3),
        Dtype::Bf16 => (0.2, 3e-2),
        Dtype::F64 => (1e-9, 1e-15),
        _ => (1e-4, 5e-7),
    };
    Rounding { tolerance, shake }
}

/// The type of the coarsest numbers among a program's values: some random numbers are float32 in any program.
fn coarsest(values: &[Vec<Array>], float: Dtype) -> Dtype {
    let order = [Dtype::Bf16, Dtype::F16, Dtype::F32, Dtype::C64, Dtype::F64];
    let found = |d: &Dtype| float == *d || values.iter().flatten().any(|x| x.dtype() == *d);
    order.into_iter().find(found).unwrap_or(float)
}

/// The arguments with each number changed by a few units of rounding.
fn shaken(leaves: &[Array], by: f64, seed: u64) -> Result<Vec<Array>> {
    let mut rng = Rng::new(seed);
    let one = |x: &Array| {
        if !x.dtype().is_inexact() {
            return Ok(x.clone());
        }
        // All one way as well, or the sum of many would hardly change.
        let common = 2.0 * rng.unit() - 1.0;
        let factors: Vec<f64> = (0..x.size()).map(|_| 1.0 + by * (common + 2.0 * rng.unit() - 1.0)).collect();
        let factors = Array::from_slice(&factors, x.shape())?;
        let y = match x.dtype().is_complex() {
            true => x * ops::try_astype(&factors, Dtype::C64)?,
            false => ops::try_astype(&(ops::try_astype(x, Dtype::F64)? * factors), x.dtype())?,
        };
        y.try_eval()?;
        Ok(y)
    };
    leaves.iter().map(one).collect()
}

fn same(a: f64, b: f64) -> bool {
    a == b || (a.is_nan() && b.is_nan())
}

/// A program as it is computed for `expected`, and for `found`, on shaken arguments and with noise in its steps.
type Again<'a> = &'a dyn Fn(&[Array], Vec<f64>) -> Result<Vec<Array>>;

/// Compares values. Where they differ by more than rounding, they may if shaken arguments and steps change one of them as
/// much; `again` computes `expected`, and then perhaps `found`, with these. Where a derivative is singular, another way to
/// it may cancel otherwise: `singular` says that these places do not count.
fn agree(
    float: Dtype,
    singular: bool,
    found: &[Array],
    expected: &[Array],
    exact: &[bool],
    leaves: &[Array],
    again: &[Again<'_>],
) -> Result<Option<String>> {
    if found.len() != expected.len() {
        return Ok(Some(format!("{} outputs against {}", found.len(), expected.len())));
    }
    let Rounding { tolerance, shake } = rounding(float);
    // Results on shaken arguments: of the expected values, and of those that were found.
    let mut others: Option<Vec<(bool, Vec<Array>)>> = None;
    for (k, (a, b)) in found.iter().zip(expected).enumerate() {
        if a.shape() != b.shape() || a.dtype() != b.dtype() {
            return Ok(Some(format!(
                "output {k}: {} {:?} against {} {:?}",
                a.dtype(),
                a.shape(),
                b.dtype(),
                b.shape()
            )));
        }
        let (x, y) = (numbers(a)?, numbers(b)?);
        let scale = y.iter().copied().filter(|v| v.is_finite()).map(f64::abs).fold(1.0, f64::max);
        for (i, (&x, &y)) in x.iter().zip(&y).enumerate() {
            let skipped = singular && !(x.is_finite() && y.is_finite());
            if same(x, y) || skipped || (!exact[k] && (x - y).abs() <= tolerance * scale) {
                continue;
            }
            let said = format!("output {k}, element {i}: {x:e} against {y:e}");
            if exact[k] {
                return Ok(Some(format!("{said}, which must be equal")));
            }
            if others.is_none() {
                let runs = again
                    .iter()
                    .enumerate()
                    .flat_map(|(way, again)| (0..6).map(move |seed| (way, again, seed)));
                let shaken = runs.map(|(way, again, seed)| {
                    let mut rng = Rng::new(seed);
                    let noise = (0..64).map(|_| shake * (2.0 * rng.unit() - 1.0)).collect();
                    Ok((way == 0, again(&shaken(leaves, shake, seed)?, noise)?))
                });
                others = Some(shaken.collect::<Result<_>>()?);
            }
            let mut allowed = tolerance * scale;
            for (of_expected, other) in others.iter().flatten() {
                let z = numbers(&other[k])?[i];
                let base = if *of_expected { y } else { x };
                let change = (z - base).abs();
                allowed += if same(z, base) {
                    0.0
                } else if change.is_finite() {
                    16.0 * change
                } else {
                    f64::INFINITY
                };
            }
            let near = (x - y).abs() <= allowed || allowed.is_infinite();
            if !near {
                return Ok(Some(format!("{said}, allowed {allowed:e}")));
            }
        }
    }
    Ok(None)
}

/// Arguments that nothing else holds, so that results may be written over them.
fn own(leaves: &[Array]) -> Result<Vec<Array>> {
    let own: Vec<Array> =
        leaves.iter().map(|x| if x.dtype().is_inexact() { x * 1.0 } else { x.clone() }).collect();
    eval(&own)?;
    Ok(own)
}

/// Runs a program in a mode and compares.
pub(crate) fn check(program: &Program, entries: &[Entry], mode: Mode) -> Outcome {
    caught(|| compared(Subject { program, entries }, mode))
}

fn caught(run: impl FnOnce() -> Result<Outcome>) -> Outcome {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(e)) => Outcome::Fails(format!("an error: {e}")),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|&s| s.to_owned()));
            Outcome::Fails(format!("a panic: {}", text.unwrap_or_default()))
        }
    }
}

fn compared(subject: Subject<'_>, mode: Mode) -> Result<Outcome> {
    let program = subject.program;
    let kept = program.leaves();
    let before: Vec<Vec<u64>> = kept.iter().map(bits).collect::<Result<_>>()?;
    let stepwise = |leaves: &[Array], noise: Vec<f64>| {
        set_machine_code(MachineCode::Never);
        let program = Program { noise, ..program.clone() };
        let outputs = Subject { program: &program, ..subject }.build(mode, leaves)?;
        step_by_step(&outputs)?;
        Ok(outputs)
    };
    // Whether results may take the arguments' memory: in every other program.
    let donate = program.seed.is_multiple_of(2);
    let leaves = if donate { own(&kept)? } else { kept.clone() };
    let outputs = match subject.build(mode, &leaves) {
        Ok(outputs) => outputs,
        Err(e) => return Ok(Outcome::Refused(e.to_string())),
    };
    let values = program.values(subject.entries, &leaves)?;
    let float = coarsest(&values, program.float);
    let held = if mode == Mode::Forward {
        program.held.iter().map(|v| values[v.item][v.output].clone()).collect()
    } else {
        Vec::new()
    };
    let (sure, sure_held) = (exact(&outputs), exact(&held));
    drop((leaves, values));
    set_machine_code(MachineCode::AtOnce);
    if program.seed % 3 == 1 && outputs.len() > 1 {
        // One value of the graph before the others.
        eval(&outputs[1..2])?;
    }
    eval(&outputs)?;
    eval(&held)?;
    let expected = stepwise(&kept, Vec::new())?;
    let found = |all: Option<String>| all.map(|said| format!("{mode:?} against step by step: {said}"));
    if let Some(said) = found(agree(float, false, &outputs, &expected, &sure, &kept, &[&stepwise])?) {
        return Ok(Outcome::Fails(said));
    }
    if !held.is_empty() {
        let of_held = |leaves: &[Array], noise: Vec<f64>| {
            set_machine_code(MachineCode::Never);
            let program = Program { noise, ..program.clone() };
            let values = program.values(subject.entries, leaves)?;
            let held: Vec<Array> = program.held.iter().map(|v| values[v.item][v.output].clone()).collect();
            step_by_step(&held)?;
            Ok(held)
        };
        if let Some(said) =
            agree(float, false, &held, &of_held(&kept, Vec::new())?, &sure_held, &kept, &[&of_held])?
        {
            return Ok(Outcome::Fails(format!("held values against step by step: {said}")));
        }
    }
    let other = |leaves: &[Array], noise: Vec<f64>| {
        set_machine_code(MachineCode::Never);
        let program = Program { noise, ..program.clone() };
        let subject = Subject { program: &program, ..subject };
        let outputs = subject.other(mode, leaves).expect("asked for only where there is one")?;
        step_by_step(&outputs)?;
        Ok(outputs)
    };
    if subject.other(mode, &kept).is_some() {
        // Compiled functions of operations that are exact are.
        let sure = match mode {
            Mode::Compiled => exact(&subject.build(Mode::Forward, &kept)?),
            _ => vec![false; outputs.len()],
        };
        let derived = mode != Mode::Compiled;
        let expected = other(&kept, Vec::new())?;
        let again: [Again<'_>; 2] = [&other, &stepwise];
        if let Some(said) = agree(float, derived, &outputs, &expected, &sure, &kept, &again)? {
            return Ok(Outcome::Fails(format!("{mode:?} against the other way: {said}")));
        }
    }
    for (i, (x, before)) in kept.iter().zip(before).enumerate() {
        if bits(x)? != before {
            return Ok(Outcome::Fails(format!("{mode:?} has changed argument {i}")));
        }
    }
    let finite = |x: &&Array| numbers(x).is_ok_and(|v| v.iter().all(|v| v.is_finite()));
    Ok(Outcome::Agrees {
        arrays: outputs.len(),
        finite: outputs.iter().filter(finite).count(),
        exact: sure.iter().filter(|&&e| e).count(),
    })
}

/// Values and gradients have the same bits for every number of threads.
pub(crate) fn check_threads(program: &Program, entries: &[Entry], counts: &[usize]) -> Outcome {
    let before = num_threads();
    let outcome = caught(|| {
        let subject = Subject { program, entries };
        let mut first: Option<Vec<Vec<u64>>> = None;
        for &count in counts {
            set_num_threads(count);
            let leaves = program.leaves();
            let mut outputs = subject.build(Mode::Forward, &leaves)?;
            outputs.extend(subject.build(Mode::Gradient, &leaves).unwrap_or_default());
            eval(&outputs)?;
            let found: Vec<Vec<u64>> = outputs.iter().map(bits).collect::<Result<_>>()?;
            match &first {
                None => first = Some(found),
                Some(one) if *one == found => {}
                Some(one) => {
                    let k = one.iter().zip(&found).position(|(a, b)| a != b).unwrap_or_default();
                    let said =
                        format!("output {k} differs with {count} threads from that with {}", counts[0]);
                    return Ok(Outcome::Fails(said));
                }
            }
        }
        let arrays = first.map_or(0, |f| f.len());
        Ok(Outcome::Agrees { arrays, finite: arrays, exact: arrays })
    });
    set_num_threads(before);
    outcome
}

/// The bits of values and gradients, folded to a word each, and whether they depend on products or convolutions. Machine
/// code is as the environment says.
pub(crate) fn digests(program: &Program, entries: &[Entry]) -> Result<Vec<(String, bool)>> {
    let subject = Subject { program, entries };
    let leaves = program.leaves();
    let mut outputs = subject.build(Mode::Forward, &leaves)?;
    outputs.extend(subject.build(Mode::Gradient, &leaves)?);
    let products: Vec<bool> = outputs.iter().map(|x| depends_on(x, PRODUCTS)).collect();
    eval(&outputs)?;
    let digest = |(x, products): (&Array, bool)| {
        let fold = |hash: u64, word: u64| (hash ^ word).wrapping_mul(0x100_0000_01b3).rotate_left(23);
        let word = bits(x)?.into_iter().fold(0xcbf2_9ce4_8422_2325, fold);
        Ok((format!("{word:016x}"), products))
    };
    outputs.iter().zip(products).map(digest).collect()
}
