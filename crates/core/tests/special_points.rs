//! Derivatives at special points, to third order and in every order of forward and reverse mode, against closed forms.
//!
//! The catalogue's own samples come from the inside of intervals, where a guard in a rule never takes its other branch.

use covector_core::catalog::special::Special;
use covector_core::registry::elementwise;
use covector_core::transforms::{jvp_flat, vjp_flat};
use covector_core::{Array, Dtype, Result, RowFn, ops};
use covector_kernels::program::{MachineCode, set_machine_code};
use std::rc::Rc;

type F = Rc<dyn Fn(&[Array]) -> Result<Array>>;

fn with(x: &[Array], i: usize, v: &Array) -> Vec<Array> {
    let mut x = x.to_vec();
    x[i] = v.clone();
    x
}

/// The derivative of an elementwise function in argument `i`, by reverse mode.
fn reverse(f: F, i: usize) -> F {
    Rc::new(move |x| {
        let traced = vjp_flat(&x[i..=i], |v| Ok(vec![f(&with(x, i, &v[0]))?]))?;
        let one = ops::ones_like(&traced.outputs()[0]);
        Ok(traced.pullback(&[one])?.remove(0))
    })
}

/// The same by forward mode.
fn forward(f: F, i: usize) -> F {
    Rc::new(move |x| {
        let one = ops::ones_like(&x[i]);
        Ok(jvp_flat(&x[i..=i], &[one], |v| Ok(vec![f(&with(x, i, &v[0]))?]))?.1.remove(0))
    })
}

type Mode = fn(F, usize) -> F;

/// The modes of the first, second and third derivative.
const MODES: [(&str, [Mode; 3]); 4] = [
    ("reverse, reverse, reverse", [reverse, reverse, reverse]),
    ("forward, forward, forward", [forward, forward, forward]),
    ("reverse, forward, reverse", [reverse, forward, reverse]),
    ("forward, reverse, forward", [forward, reverse, forward]),
];

/// Every sequence of up to three arguments out of `arity`.
fn words(arity: usize) -> Vec<Vec<usize>> {
    let (mut all, mut last) = (vec![vec![]], vec![vec![]]);
    for _ in 0..3 {
        last = last
            .iter()
            .flat_map(|w: &Vec<usize>| {
                (0..arity).map(move |i| {
                    let mut w = w.clone();
                    w.push(i);
                    w
                })
            })
            .collect();
        all.extend(last.clone());
    }
    all
}

/// The place in a jet of the derivative that a word names.
fn place(arity: usize, word: &[usize]) -> usize {
    if arity == 1 {
        return word.len();
    }
    let second = word.iter().sum::<usize>();
    [0, 1, 3, 6][word.len()] + second
}

struct Points {
    x: Vec<Vec<f64>>,
    due: Vec<Vec<f64>>,
}

fn points(special: &Special) -> Option<Points> {
    let mut all = Points { x: Vec::new(), due: Vec::new() };
    match special {
        Special::One { jet, at, edges } => {
            let smooth = at.iter().map(|&x| (x, jet(x)));
            for (x, jet) in smooth.chain(edges.iter().copied()) {
                all.x.push(vec![x]);
                all.due.push(jet.to_vec());
            }
        }
        Special::Two { jet, at, edges } => {
            let smooth = at.iter().map(|&(a, b)| ((a, b), jet(a, b)));
            for ((a, b), jet) in smooth.chain(edges.iter().copied()) {
                all.x.push(vec![a, b]);
                all.due.push(jet.to_vec());
            }
        }
        Special::None(_) => return None,
    }
    Some(all)
}

fn function(f: RowFn) -> (usize, F) {
    match f {
        RowFn::One(f) => (1, Rc::new(move |x: &[Array]| f(&x[0]))),
        RowFn::Two(f) => (2, Rc::new(move |x: &[Array]| f(&x[0], &x[1]))),
    }
}

fn near(found: f64, due: f64, tolerance: f64) -> bool {
    due.is_nan()
        || found == due
        || (found - due).abs() <= tolerance * due.abs()
        || (due == 0.0 && found.abs() < 1e-13)
}

#[test]
fn every_elementwise_function_has_special_points_or_a_reason() {
    for (row, f) in elementwise() {
        match row.special.map(|special| special()) {
            None => panic!("{} has no special points, and no reason why", row.name),
            Some(Special::None(reason)) => assert!(!reason.is_empty(), "{}", row.name),
            Some(other) => {
                let points = points(&other).expect("there are some");
                assert!(points.x.len() > 1, "{}: one point shows little", row.name);
                assert_eq!(points.x[0].len(), function(f).0, "{}", row.name);
            }
        }
    }
}

#[test]
fn derivatives_at_special_points_have_their_closed_forms() {
    set_machine_code(MachineCode::AtOnce);
    let (mut wrong, mut checks) = (Vec::new(), 0);
    for (row, f) in elementwise() {
        let Some(points) = row.special.and_then(|special| points(&special())) else { continue };
        let (arity, f) = function(f);
        let column = |i: usize| Array::new(points.x.iter().map(|x| x[i]).collect::<Vec<f64>>());
        let x: Vec<Array> = (0..arity).map(column).collect();
        for (mode, derive) in MODES {
            for word in words(arity) {
                let mut g = f.clone();
                for (derive, &i) in derive.iter().zip(&word) {
                    g = derive(g, i);
                }
                let found = g(&x).unwrap_or_else(|e| panic!("{}: {e}", row.name)).to_vec::<f64>();
                for (k, (found, due)) in found.iter().zip(&points.due).enumerate() {
                    let due = due[place(arity, &word)];
                    checks += 1;
                    if !near(*found, due, 1e-9) {
                        let at = &points.x[k];
                        wrong.push(format!(
                            "{}{at:?}, {word:?} by {mode}: {found:e}, right {due:e}",
                            row.name
                        ));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {checks} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn single_precision_keeps_the_slopes_at_special_points() {
    let (mut wrong, mut checks) = (Vec::new(), 0);
    for (row, f) in elementwise() {
        let Some(special) = row.special.map(|special| special()) else { continue };
        // Numbers that single precision has, nearly: others would be other points.
        let kept = |x: &f64| f64::from(*x as f32) == *x || (1e-37..1e38).contains(&x.abs());
        let round = |x: f64| f64::from(x as f32);
        let rounded: Vec<(Vec<f64>, Vec<f64>)> = match &special {
            Special::One { jet, at, .. } => {
                at.iter().filter(|x| kept(x)).map(|&x| (vec![round(x)], jet(round(x)).to_vec())).collect()
            }
            Special::Two { jet, at, .. } => at
                .iter()
                .filter(|(a, b)| kept(a) && kept(b))
                .map(|&(a, b)| (vec![round(a), round(b)], jet(round(a), round(b)).to_vec()))
                .collect(),
            Special::None(_) => continue,
        };
        let (arity, f) = function(f);
        let column = |i: usize| Array::new(rounded.iter().map(|(x, _)| x[i]).collect::<Vec<f64>>());
        let x: Vec<Array> = (0..arity).map(|i| column(i).astype(Dtype::F32)).collect();
        for word in words(arity).into_iter().filter(|w| w.len() < 2) {
            let g = word.iter().fold(f.clone(), |g, &i| reverse(g, i));
            let found = g(&x).unwrap().astype(Dtype::F64).to_vec::<f64>();
            for (found, (x, due)) in found.iter().zip(&rounded) {
                let due = due[place(arity, &word)];
                let representable = due == 0.0 || (1e-37..1e38).contains(&due.abs());
                if !due.is_finite() || !representable || x.iter().any(|x| x.is_infinite()) {
                    continue;
                }
                checks += 1;
                if !near(*found, due, 1e-5) {
                    wrong.push(format!("{}{x:?}, {word:?}: {found:e}, right {due:e}", row.name));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {checks} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// Where a logistic function is differentiated or compiled it is made from its tail; its values are the same bits.
#[test]
fn a_traced_logistic_function_has_the_same_bits() {
    use covector_core::transforms::{compile, vjp_flat};
    for dtype in [Dtype::F16, Dtype::Bf16, Dtype::F32, Dtype::F64] {
        let x = ops::astype(&ops::linspace(-120.0, 120.0, 20_001, Dtype::F64), dtype);
        let plain = ops::sigmoid(&x);
        let traced = vjp_flat(std::slice::from_ref(&x), |x| Ok(vec![ops::sigmoid(&x[0])])).unwrap();
        let compiled = compile(|x: &Array| ops::sigmoid(x))(&x).unwrap();
        for y in [&traced.outputs()[0], &compiled] {
            assert!(ops::array_equal(y, &plain, true).item::<bool>(), "{dtype}");
        }
    }
}
