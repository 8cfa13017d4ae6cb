//! Random numbers: the same as MLX's for the same seed, and random indeed.

use covector_core::random::{self, Operand};
use covector_core::transforms::{grad, vmap, vmap_axes};
use covector_core::{Array, Dtype, Error, Result, ops};
use std::collections::HashMap;

/// One line of the fixture: a call and what it gives.
struct Case<'a> {
    function: &'a str,
    seed: u64,
    exact: bool,
    args: HashMap<&'a str, &'a str>,
    shape: Vec<usize>,
    dtype: Dtype,
    values: Vec<f64>,
}

fn shape_of(text: &str) -> Vec<usize> {
    if text == "-" { Vec::new() } else { text.split('x').map(|n| n.parse().unwrap()).collect() }
}

fn dtype_of(text: &str) -> Dtype {
    Dtype::ALL.into_iter().find(|d| d.name() == text).unwrap()
}

/// `3x1:0 1 2` as an array.
fn array_of(text: &str, dtype: Dtype) -> Array {
    let (shape, values) = text.split_once(':').unwrap();
    let values: Vec<f64> = values.split(' ').map(|v| v.parse().unwrap()).collect();
    Array::from_slice(&values, &shape_of(shape)).unwrap().astype(dtype)
}

impl<'a> Case<'a> {
    fn parse(line: &'a str) -> Self {
        let fields: Vec<&str> = line.split(';').collect();
        let [function, seed, exact, args, shape, dtype, values] = fields[..] else { panic!("{line}") };
        Case {
            function,
            seed: seed.parse().unwrap(),
            exact: exact == "exact",
            args: args.split(',').filter_map(|a| a.split_once('=')).collect(),
            shape: shape_of(shape),
            dtype: dtype_of(dtype),
            // A single-precision decimal names its f32; as f64 it would be another number.
            values: values
                .split(' ')
                .map(|v| match (v.parse::<u32>(), dtype) {
                    (Ok(whole), _) => whole.into(),
                    (_, "float32" | "float16" | "bfloat16" | "complex64") => v.parse::<f32>().unwrap().into(),
                    _ => v.parse().unwrap(),
                })
                .collect(),
        }
    }

    fn operand(&self, name: &str, default: f64) -> Operand {
        match self.args.get(name) {
            None => default.into(),
            Some(text) if text.contains(':') => array_of(text, Dtype::F32).into(),
            Some(text) => text.parse::<f64>().unwrap().into(),
        }
    }

    fn int<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.args.get(name).and_then(|v| v.parse().ok())
    }

    fn run(&self, key: Option<&Array>) -> Result<Array> {
        let shape = self.args.get("shape").map(|s| shape_of(s));
        let given = shape.clone().unwrap_or_default();
        let dtype = |default| self.args.get("dtype").map_or(default, |d| dtype_of(d));
        match self.function.trim_start_matches("state ") {
            "key" => Ok(random::key(self.seed)),
            "split" => random::split(key.unwrap(), self.int("num").unwrap()),
            "bits" => random::bits(&self.shape, self.dtype, key),
            "uniform" => random::uniform(
                self.operand("low", 0.0),
                self.operand("high", 1.0),
                &given,
                dtype(Dtype::F32),
                key,
            ),
            "normal" => {
                let (loc, scale) = (self.operand("loc", 0.0), self.operand("scale", 1.0));
                random::normal(&given, dtype(Dtype::F32), loc, scale, key)
            }
            "laplace" => {
                let (loc, scale) = (self.operand("loc", 0.0), self.operand("scale", 1.0));
                random::laplace(&given, dtype(Dtype::F32), loc, scale, key)
            }
            "gumbel" => random::gumbel(&given, dtype(Dtype::F32), key),
            "truncated_normal" => random::truncated_normal(
                self.operand("lower", 0.0),
                self.operand("upper", 0.0),
                shape.as_deref(),
                dtype(Dtype::F32),
                key,
            ),
            "randint" => random::randint(
                self.operand("low", 0.0),
                self.operand("high", 0.0),
                &given,
                dtype(Dtype::I32),
                key,
            ),
            "bernoulli" => random::bernoulli(self.operand("p", 0.5), shape.as_deref(), key),
            "permutation" => match self.int("x") {
                Some(count) => random::permutation(count, key),
                None => random::permutation_of(
                    &array_of(self.args["x"], Dtype::I32),
                    self.int("axis").unwrap_or(0),
                    key,
                ),
            },
            "categorical" => random::categorical(
                &array_of(self.args["logits"], Dtype::F32),
                self.int("axis").unwrap_or(-1),
                shape.as_deref(),
                self.int("num_samples"),
                key,
            ),
            other => panic!("no such function: {other}"),
        }
    }
}

/// The values as numbers; complex ones as pairs.
fn numbers(x: &Array) -> Vec<f64> {
    if x.dtype().is_complex() {
        let (re, im) = (numbers(&x.real()), numbers(&x.imag()));
        return re.into_iter().zip(im).flat_map(|(a, b)| [a, b]).collect();
    }
    x.astype(Dtype::F64).to_vec()
}

fn check(case: &Case<'_>, got: &Array, line: &str) {
    assert_eq!(got.shape(), case.shape, "{line}");
    assert_eq!(got.dtype(), case.dtype, "{line}");
    let got = numbers(got);
    if case.exact {
        assert_eq!(got, case.values, "{line}");
        return;
    }
    let digits = match case.dtype {
        Dtype::F16 => 1e-3,
        Dtype::Bf16 => 8e-3,
        _ => 2.4e-7,
    };
    for (a, b) in got.iter().zip(&case.values) {
        assert!((a - b).abs() <= digits * b.abs().max(1.0), "{a} {b}: {line}");
    }
}

#[test]
fn numbers_are_those_of_mlx() {
    let mut cases = 0;
    for line in include_str!("data/random.txt").lines().filter(|l| !l.starts_with('#')) {
        cases += 1;
        if let Some(seed) = line.strip_prefix("seed;") {
            random::seed(seed.parse().unwrap());
            continue;
        }
        let mut case = Case::parse(line);
        if case.function.starts_with("state ") {
            let state = case.values.split_off(case.values.len() - 2);
            // Evaluated after the state is read: drawing happens at the call.
            let got = case.run(None).unwrap();
            let words: Vec<f64> = random::state().to_vec::<u32>().into_iter().map(f64::from).collect();
            assert_eq!(words, state, "{line}");
            check(&case, &got, line);
        } else {
            let got = case.run(Some(&random::key(case.seed))).unwrap_or_else(|e| panic!("{e}: {line}"));
            check(&case, &got, line);
        }
    }
    assert!(cases > 300);
}

#[test]
fn a_state_can_be_saved_and_put_back() {
    random::seed(5);
    random::uniform(0.0, 1.0, &[3], Dtype::F32, None).unwrap();
    let state = random::state();
    let draw = || random::uniform(0.0, 1.0, &[4], Dtype::F32, None).unwrap().to_vec::<f32>();
    let first = draw();
    assert_ne!(first, draw());
    random::set_state(&state).unwrap();
    assert_eq!(first, draw());
    // Another thread has a state of its own, and starts it from the clock.
    let other = std::thread::spawn(|| random::state().to_vec::<u32>()).join().unwrap();
    assert_ne!(other, random::state().to_vec::<u32>());
}

#[test]
fn every_call_without_a_key_advances_the_state_once() {
    random::seed(11);
    let mut key = random::key(11);
    for shape in [&[][..], &[0], &[2, 3]] {
        random::normal(shape, Dtype::F32, 0.0, 1.0, None).unwrap();
        key = random::split(&key, 2).unwrap().index(&[0.into()]);
        assert_eq!(random::state().to_vec::<u32>(), key.to_vec::<u32>());
    }
}

#[test]
fn a_traced_state_splits_in_the_graph() {
    let draw_two = |key: &Array| -> Result<Array> {
        let before = random::state();
        random::set_state(key)?;
        let a = random::uniform(0.0, 1.0, &[2], Dtype::F32, None)?;
        let b = random::uniform(0.0, 1.0, &[2], Dtype::F32, None)?;
        let after = random::state().astype(Dtype::F32);
        random::set_state(&before)?;
        ops::try_concatenate(&[a, b, after], 0)
    };
    let keys = ops::stack(&[random::key(1), random::key(2)], 0);
    let together = vmap(|k: &Array| draw_two(k))(&keys).unwrap();
    for (row, seed) in [1, 2].into_iter().enumerate() {
        let alone = draw_two(&random::key(seed)).unwrap();
        assert_eq!(together.index(&[(row as isize).into()]).to_vec::<f32>(), alone.to_vec::<f32>());
    }
}

#[test]
fn a_batch_of_keys_draws_what_each_key_draws() {
    let keys = random::split(&random::key(3), 5).unwrap();
    type Draw = fn(&Array) -> Result<Array>;
    let draws: [Draw; 6] = [
        |k| random::uniform(-1.0, 2.0, &[3, 3], Dtype::F32, Some(k)),
        |k| random::uniform(-1.0, 2.0, &[3], Dtype::F64, Some(k)),
        |k| random::normal(&[7], Dtype::F32, 0.0, 1.0, Some(k)),
        |k| Ok(random::bits(&[5], Dtype::U8, Some(k))?.astype(Dtype::F32)),
        |k| Ok(random::permutation(6, Some(k))?.astype(Dtype::F32)),
        |k| {
            Ok(random::categorical(&Array::new([0.1f32, 0.7, 0.2]), -1, Some(&[4]), None, Some(k))?
                .astype(Dtype::F32))
        },
    ];
    for draw in draws {
        let all = vmap(|k: &Array| draw(k))(&keys).unwrap();
        let columns = vmap_axes(|k: &Array| draw(k), 1, 0)(&keys.transpose(&[])).unwrap();
        assert_eq!(numbers(&all), numbers(&columns));
        for i in 0..5 {
            let key = keys.index(&[i.into()]);
            assert_eq!(numbers(&all.index(&[i.into()])), numbers(&draw(&key).unwrap()));
        }
    }
    // Without a key every lane sees the same numbers.
    random::seed(0);
    let lanes = vmap(|x: &Array| Ok(x + random::normal(&[2], Dtype::F32, 0.0, 1.0, None)?));
    let lanes = lanes(&ops::zeros(&[3, 2], Dtype::F32)).unwrap().to_vec::<f32>();
    assert_eq!(lanes[..2], lanes[2..4]);
    assert_eq!(lanes[..2], lanes[4..]);
}

#[test]
fn parameters_have_derivatives() {
    let key = random::key(9);
    let (a, b) = (Array::scalar(0.5f32), Array::scalar(2.0f32));
    type Draw = fn(&Array, &Array, &Array) -> Result<Array>;
    let draws: [Draw; 4] = [
        |a, b, k| random::uniform(a, b, &[50], Dtype::F32, Some(k)),
        |a, b, k| random::normal(&[50], Dtype::F32, a, b, Some(k)),
        |a, b, k| random::laplace(&[50], Dtype::F32, a, b, Some(k)),
        |a, b, k| random::truncated_normal(a, b, Some(&[50]), Dtype::F64, Some(k)),
    ];
    for draw in draws {
        let f = |p: &(Array, Array)| Ok(draw(&p.0, &p.1, &key)?.astype(Dtype::F64).square().sum());
        let (da, db) = grad(f)(&(a.clone(), b.clone())).unwrap();
        let f64_at = |a: f64, b: f64| f(&(Array::scalar(a), Array::scalar(b))).unwrap().item::<f64>();
        let h = 1e-2;
        let (na, nb) = (
            (f64_at(0.5 + h, 2.0) - f64_at(0.5 - h, 2.0)) / (2.0 * h),
            (f64_at(0.5, 2.0 + h) - f64_at(0.5, 2.0 - h)) / (2.0 * h),
        );
        for (d, n) in [(da, na), (db, nb)] {
            let d = f64::from(d.item::<f32>());
            assert!((d - n).abs() < 2e-3 * n.abs().max(10.0), "{d} {n}");
        }
    }
}

/// Mean and variance of many draws.
fn moments(x: &Array) -> (f64, f64) {
    let x = x.astype(Dtype::F64);
    (x.mean().item(), x.var().item())
}

#[test]
fn moments_are_those_of_the_distributions() {
    let key = random::key(12);
    let shape = [200_001usize];
    let near = |x: Array, mean: f64, variance: f64| {
        let (m, v) = moments(&x);
        assert!((m - mean).abs() < 0.01 * (1.0 + variance.sqrt()), "mean {m}, not {mean}");
        assert!((v - variance).abs() < 0.02 * variance, "variance {v}, not {variance}");
    };
    let k = Some(&key);
    near(random::uniform(-1.0, 3.0, &shape, Dtype::F32, k).unwrap(), 1.0, 16.0 / 12.0);
    near(random::uniform(-1.0, 3.0, &shape, Dtype::F64, k).unwrap(), 1.0, 16.0 / 12.0);
    near(random::normal(&shape, Dtype::F32, 0.0, 1.0, k).unwrap(), 0.0, 1.0);
    near(random::normal(&shape, Dtype::Bf16, 2.0, 3.0, k).unwrap(), 2.0, 9.0);
    near(random::normal(&shape, Dtype::C64, 0.0, 1.0, k).unwrap().abs().square(), 1.0, 1.0);
    let euler = 0.577_215_664_9;
    near(random::gumbel(&shape, Dtype::F32, k).unwrap(), euler, std::f64::consts::PI.powi(2) / 6.0);
    near(random::gumbel(&shape, Dtype::F64, k).unwrap(), euler, std::f64::consts::PI.powi(2) / 6.0);
    near(random::laplace(&shape, Dtype::F32, 1.0, 2.0, k).unwrap(), 1.0, 8.0);
    near(random::randint(0, 10, &shape, Dtype::I64, k).unwrap(), 4.5, 8.25);
    near(random::bernoulli(0.25, Some(&shape), k).unwrap(), 0.25, 0.1875);
    near(random::truncated_normal(-1.0, 1.0, Some(&shape), Dtype::F64, k).unwrap(), 0.0, 0.29112);
    let logits = Array::new([0.2f64, 0.3, 0.5]).log();
    near(random::categorical(&logits, -1, Some(&shape), None, k).unwrap(), 1.3, 0.61);
}

#[test]
fn a_permutation_has_every_number_once() {
    for n in [0usize, 1, 2, 1000] {
        let mut p = random::permutation(n, Some(&random::key(4))).unwrap().to_vec::<u32>();
        p.sort_unstable();
        assert_eq!(p, (0..n as u32).collect::<Vec<_>>());
    }
    let x = ops::arange(0.0, 12.0, 1.0, Dtype::F32).reshape(&[3, 4]);
    let p = random::permutation_of(&x, -1, Some(&random::key(4))).unwrap();
    assert_eq!(p.sort(-1).to_vec::<f32>(), x.to_vec::<f32>());
    assert_eq!(random::permutation_of(&ops::zeros(&[0, 2], Dtype::F32), 0, None).unwrap().shape(), [0, 2]);
}

#[test]
fn empty_shapes_draw_nothing() {
    let k = random::key(1);
    assert_eq!(random::split(&k, 0).unwrap().shape(), [0, 2]);
    assert!(
        random::normal(&[0, 3], Dtype::F16, 0.0, 1.0, Some(&k))
            .unwrap()
            .to_vec::<covector_core::f16>()
            .is_empty()
    );
    assert!(random::bits(&[4, 0], Dtype::U8, Some(&k)).unwrap().to_vec::<u8>().is_empty());
    assert!(random::uniform(0.0, 1.0, &[0], Dtype::F64, Some(&k)).unwrap().to_vec::<f64>().is_empty());
    let none = vmap(|k: &Array| random::normal(&[2], Dtype::F32, 0.0, 1.0, Some(k)));
    assert_eq!(none(&random::split(&k, 0).unwrap()).unwrap().shape(), [0, 2]);
}

#[test]
fn mistakes_are_explained() {
    let k = random::key(0);
    let text = |r: Result<Array>| r.unwrap_err().to_string();
    let bad = ops::zeros(&[3, 2], Dtype::U32);
    assert!(text(random::normal(&[2], Dtype::F32, 0.0, 1.0, Some(&bad))).contains("not (3, 2)"));
    assert!(text(random::split(&ops::zeros(&[2], Dtype::F32), 2)).contains("float32"));
    assert!(text(random::uniform(0.0, 1.0, &[2], Dtype::I32, Some(&k))).contains("int32"));
    assert!(
        text(random::uniform(Array::new([0.0f32, 1.0]), 1.0, &[], Dtype::F32, Some(&k))).contains("(2,)")
    );
    assert!(text(random::randint(0, 2, &[2], Dtype::F32, Some(&k))).contains("float32"));
    assert!(text(random::bernoulli(Array::new([1i32]), None, Some(&k))).contains("int32"));
    assert!(text(random::bits(&[2], Dtype::I32, Some(&k))).contains("int32"));
    let logits = ops::zeros(&[2, 3], Dtype::F32);
    assert!(matches!(random::categorical(&logits, 2, None, None, None), Err(Error::Axis { .. })));
    assert!(text(random::categorical(&logits, 1, Some(&[2]), Some(1), None)).contains("one of them"));
    assert!(text(random::categorical(&logits, 1, Some(&[3]), None, None)).contains("(2,)"));
    assert!(matches!(random::permutation_of(&Array::scalar(1.0f32), 0, None), Err(Error::Axis { .. })));
    assert!(random::set_state(&bad).is_err());
}
