//! Concatenations: parts that chains make are written where they belong, and everything else is copied there.

mod ops_common;

use covector_core::transforms::value_and_grad;
use covector_core::{Array, Dtype, eval, ops, plan_text};
use ops_common::*;
use proptest::prelude::*;

fn sample(seed: u64, shape: &[usize]) -> Array {
    let x = Rng(seed).array(shape, Dtype::F32);
    x.try_eval().unwrap();
    x
}

/// One operation on the values made so far; numbers are taken modulo what there is.
#[derive(Clone, Debug)]
enum Step {
    Unary(usize, u8),
    Binary(usize, usize, u8),
    Sum(usize, u8),
    Half(usize, u8, bool),
    Flat(usize),
    Turn(usize),
    Join(Vec<usize>, u8, bool),
}

fn step() -> impl Strategy<Value = Step> {
    let any = any::<usize>;
    prop_oneof![
        3 => (any(), 0u8..3).prop_map(|(x, op)| Step::Unary(x, op)),
        4 => (any(), any(), 0u8..2).prop_map(|(x, y, op)| Step::Binary(x, y, op)),
        1 => (any(), 0u8..3).prop_map(|(x, axis)| Step::Sum(x, axis)),
        2 => (any(), 0u8..3, proptest::bool::ANY).prop_map(|(x, axis, end)| Step::Half(x, axis, end)),
        1 => any().prop_map(Step::Flat),
        1 => any().prop_map(Step::Turn),
        8 => (prop::collection::vec(any(), 1..5), 0u8..3, proptest::bool::ANY)
            .prop_map(|(parts, axis, stack)| Step::Join(parts, axis, stack)),
    ]
}

fn apply(values: &[Array], step: &Step) -> Option<Array> {
    let n = values.len();
    let pick = |i: usize| &values[if i.is_multiple_of(3) { i / 3 % n } else { n - 1 - i / 3 % n.min(5) }];
    match step {
        Step::Unary(x, op) => Some(match op {
            0 => pick(*x).tanh(),
            1 => -pick(*x),
            _ => pick(*x) * 0.5,
        }),
        Step::Binary(x, y, op) => match op {
            0 => ops::try_add(pick(*x), pick(*y)),
            _ => ops::try_multiply(&pick(*x).tanh(), pick(*y)),
        }
        .ok(),
        Step::Sum(x, axis) => ops::try_sum_axes(&(pick(*x) * 0.1), &[*axis as isize], true).ok(),
        Step::Half(x, axis, end) => {
            let (x, axis) = (pick(*x), *axis as usize);
            let n = *x.shape().get(axis)?;
            let parts = (n % 2 == 0).then(|| ops::split(x, 2, axis as isize))?;
            Some(parts[usize::from(*end)].clone())
        }
        Step::Flat(x) => (pick(*x).ndim() > 1).then(|| ops::flatten(pick(*x), 0, 1)),
        Step::Turn(x) => (pick(*x).ndim() > 1).then(|| ops::swapaxes(pick(*x), 0, 1)),
        Step::Join(parts, axis, stack) => {
            let first = pick(parts[0]);
            let fits = |x: &&Array| {
                x.ndim() == first.ndim()
                    && (0..x.ndim())
                        .all(|k| x.shape()[k] == first.shape()[k] || k == *axis as usize && !stack)
            };
            let mut parts: Vec<Array> = parts.iter().map(|&i| pick(i)).filter(fits).cloned().collect();
            if parts.len() == 3 {
                parts[1] = parts[0].clone();
            }
            let joined = match stack {
                true => ops::try_stack(&parts, (*axis as isize).min(first.ndim() as isize)),
                false => ops::try_concatenate(&parts, *axis as isize),
            };
            joined.ok().filter(|x| x.size() < 1 << 17 && x.ndim() < 5)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whole_graphs_are_what_one_operation_after_the_other_gives(
        shape in prop::sample::select(vec![vec![6, 4], vec![32, 40], vec![4, 16, 64], vec![2, 0, 3], vec![12]]),
        steps in prop::collection::vec(step(), 2..30),
        held in prop::collection::vec(any::<usize>(), 1..4),
    ) {
        let leaves = vec![sample(1, &shape), sample(2, &shape), sample(3, &shape[shape.len() - 1..])];
        let (mut lazy, mut stepwise) = (leaves.clone(), leaves);
        for s in &steps {
            let Some(made) = apply(&lazy, s) else { continue };
            lazy.push(made);
            let one = apply(&stepwise, s).unwrap();
            one.try_eval().unwrap();
            stepwise.push(one);
        }
        // Some values are asked for, and so have memory of their own.
        let n = lazy.len();
        let asked: Vec<usize> = held.iter().map(|i| n - 1 - i % n.min(6)).collect();
        let outputs: Vec<Array> = asked.iter().map(|&i| lazy[i].clone()).collect();
        drop(lazy);
        let text = plan_text(&outputs).unwrap();
        eval(&outputs).unwrap();
        for (found, &i) in outputs.iter().zip(&asked) {
            prop_assert_eq!(found.shape(), stepwise[i].shape());
            let pairs = found.to_vec::<f32>().into_iter().zip(stepwise[i].to_vec::<f32>());
            for (a, b) in pairs {
                prop_assert!((a - b).abs() <= 1e-4 * (1.0 + b.abs()), "{} against {}\n{}", a, b, text);
            }
        }
    }
}

#[test]
fn steps_are_written_where_they_are_stacked() {
    let (x, w) = (sample(1, &[12, 64]), &sample(2, &[64, 64]) * 0.2);
    w.try_eval().unwrap();
    let run = || {
        let mut h = x.clone();
        let mut steps = Vec::new();
        for _ in 0..5 {
            h = ops::tanh(&ops::matmul(&h, &w));
            steps.push(h.clone());
        }
        steps
    };
    let due: Vec<f32> = run().iter().flat_map(|h| h.to_vec::<f32>()).collect();
    let stacked = ops::stack(&run(), 0);
    let text = plan_text(std::slice::from_ref(&stacked)).unwrap();
    assert!(!text.contains("concatenate"), "{text}");
    assert_eq!(stacked.to_vec::<f32>(), due);
    // Not what somebody holds, and not what is no chain's result.
    let steps = run();
    let mixed = [&steps[..2], &[x.clone(), ops::sort(&x, -1)]].concat();
    let held = steps[1].clone();
    let joined = ops::concatenate(&mixed, 0);
    drop((steps, mixed));
    let text = plan_text(&[joined.clone(), held.clone()]).unwrap();
    assert!(text.contains("[3 of 4 copied]"), "{text}");
    eval(&[joined.clone(), held.clone()]).unwrap();
    let found = joined.to_vec::<f32>();
    assert_eq!(found[..2 * 12 * 64], due[..2 * 12 * 64]);
    assert_eq!(found[2 * 12 * 64..3 * 12 * 64], x.to_vec::<f32>());
    assert_eq!(found[3 * 12 * 64..], ops::sort(&x, -1).to_vec::<f32>());
}

#[test]
fn columns_are_written_with_gaps_between_rows() {
    let x = sample(1, &[20, 96]);
    let split = ops::split(&x, 2, 1);
    let parts = [ops::exp(&split[1]), ops::sin(&split[0]), ops::square(&split[1])];
    let due: Vec<Vec<f32>> = parts.iter().map(|p| p.astype(Dtype::F32).to_vec()).collect();
    let parts = [ops::exp(&split[1]), ops::sin(&split[0]), ops::square(&split[1])];
    let joined = ops::concatenate(&parts, 1);
    drop(parts);
    let text = plan_text(std::slice::from_ref(&joined)).unwrap();
    assert!(!text.contains("concatenate"), "{text}");
    let found = joined.to_vec::<f32>();
    for (i, row) in found.chunks(3 * 48).enumerate() {
        for (k, due) in due.iter().enumerate() {
            assert_eq!(row[k * 48..(k + 1) * 48], due[i * 48..(i + 1) * 48], "row {i}, part {k}");
        }
    }
}

/// A recurrence with a bias, as layers have them: its gradients read the cotangents of all steps at once.
fn recurrence(p: &(Array, Array), x: &Array) -> Array {
    let (w, b) = p;
    let mut h = ops::zeros(&[x.shape()[1], b.size()], Dtype::F32);
    let mut outs = Vec::new();
    for step in ops::unstack(x, 0) {
        h = ops::tanh(&(step + ops::matmul(&h, &w.mt()) + b));
        outs.push(h.clone());
    }
    ops::stack(&outs, 1).square().mean()
}

#[test]
fn a_bias_of_every_step_has_one_sum() {
    let x = sample(1, &[7, 12, 40]);
    let p = (&sample(2, &[40, 40]) * 0.2, sample(3, &[40]));
    eval(&[p.0.clone(), p.1.clone()]).unwrap();
    let (value, (dw, db)) = value_and_grad(|p: &(Array, Array)| recurrence(p, &x))(&p).unwrap();
    let text = plan_text(&[value.clone(), dw.clone(), db.clone()]).unwrap();
    assert!(text.contains("sum axes=[0]: (1, 40) of (84, 40)"), "{text}");
    assert_eq!(text.matches("sum axes=[0]").count(), 1, "{text}");
    assert!(!text.contains("concatenate: (84, 40) of (12, 40), (12, 40), (12, 40), (12, 40), …\n"), "{text}");
    // Differences in double precision.
    let wide = |a: &Array| a.astype(Dtype::F64);
    let loss = |w: &Array, b: &Array| {
        let x = wide(&x);
        let mut h = ops::zeros(&[12, 40], Dtype::F64);
        let mut outs = Vec::new();
        for step in ops::unstack(&x, 0) {
            h = ops::tanh(&(step + ops::matmul(&h, &w.mt()) + b));
            outs.push(h.clone());
        }
        ops::stack(&outs, 1).square().mean().item::<f64>()
    };
    let (w, b) = (wide(&p.0), wide(&p.1));
    for (direction, of_bias) in [(sample(4, &[40]), true), (sample(5, &[40, 40]), false)] {
        let step = &wide(&direction) * 1e-5;
        let (up, down) = match of_bias {
            true => (loss(&w, &(&b + &step)), loss(&w, &(&b - &step))),
            false => (loss(&(&w + &step), &b), loss(&(&w - &step), &b)),
        };
        let slope = (up - down) / 2e-5;
        let found = (wide(if of_bias { &db } else { &dw }) * wide(&direction)).sum().item::<f64>();
        assert!((slope - found).abs() < 1e-5 * (1.0 + slope.abs()), "{slope} against {found}");
    }
}
