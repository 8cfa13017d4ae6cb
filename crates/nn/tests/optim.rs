//! Optimizers: against the formulas on plain numbers, over trees, inside of transforms, and refusing mistakes.

use covector_core::transforms::{grad, value_and_grad, vmap};
use covector_core::{Array, C64, Dtype, Error, Tree, bf16, f16};
use covector_derive::Tree;
use covector_nn::optim::{self, Adam, AdamW, Lion, Optimizer, RmsProp, Schedule, Sgd, State, StepContext};

const START: [f64; 3] = [1.0, -2.0, 0.5];

/// The gradients of ten steps: some function of step, place and parameter, so that errors add up visibly.
fn slope(step: usize, place: usize, w: f64) -> f64 {
    (w + place as f64).sin() * 2.0 - (step as f64 * 0.7).cos()
}

/// Runs an optimizer and the same rule on numbers for ten steps. The rule changes `(w, memory)` by `(g, step)`.
#[track_caller]
fn check(optimizer: &impl Optimizer, rule: impl Fn(&mut f64, &mut [f64; 2], f64, i32)) {
    let mut w = Array::new(START);
    let mut state = optimizer.init(&w);
    let mut expected = START.map(|w| (w, [0.0; 2]));
    for step in 0..10 {
        let now = w.to_vec::<f64>();
        let grads: Vec<f64> = now.iter().enumerate().map(|(place, &w)| slope(step, place, w)).collect();
        (w, state) = optimizer.update(&w, &Array::new(grads), &state).unwrap();
        for (place, (w, memory)) in expected.iter_mut().enumerate() {
            let g = slope(step, place, *w);
            rule(w, memory, g, step as i32 + 1);
        }
        for (got, (want, _)) in w.to_vec::<f64>().iter().zip(&expected) {
            assert!((got - want).abs() < 1e-10, "step {step}: {got}, not {want}");
        }
    }
}

#[test]
fn sgd() {
    check(&Sgd::new(0.1), |w, _, g, _| *w -= 0.1 * g);
    check(&Sgd { weight_decay: 0.2, ..Sgd::new(0.1) }, |w, _, g, _| *w -= 0.1 * (g + 0.2 * *w));
    check(&Sgd { momentum: 0.9, ..Sgd::new(0.1) }, |w, [v, _], g, _| {
        *v = 0.9 * *v + g;
        *w -= 0.1 * *v;
    });
    check(&Sgd { momentum: 0.9, dampening: 0.4, ..Sgd::new(0.1) }, |w, [v, _], g, _| {
        *v = 0.9 * *v + 0.6 * g;
        *w -= 0.1 * *v;
    });
    check(&Sgd { momentum: 0.9, nesterov: true, weight_decay: 0.2, ..Sgd::new(0.1) }, |w, [v, _], g, _| {
        let g = g + 0.2 * *w;
        *v = 0.9 * *v + g;
        *w -= 0.1 * (g + 0.9 * *v);
    });
}

#[test]
fn adam_and_adamw() {
    fn averages(memory: &mut [f64; 2], g: f64) {
        memory[0] = 0.8 * memory[0] + 0.2 * g;
        memory[1] = 0.95 * memory[1] + 0.05 * g * g;
    }
    let adam = Adam { betas: [0.8, 0.95], eps: 1e-6, ..Adam::new(0.05) };
    check(&adam, |w, memory, g, _| {
        averages(memory, g);
        *w -= 0.05 * memory[0] / (memory[1].sqrt() + 1e-6);
    });
    check(&Adam { bias_correction: true, ..adam.clone() }, |w, memory, g, t| {
        averages(memory, g);
        let (m, v) = (memory[0] / (1.0 - 0.8f64.powi(t)), memory[1] / (1.0 - 0.95f64.powi(t)));
        *w -= 0.05 * m / (v.sqrt() + 1e-6);
    });
    let adamw = AdamW { betas: [0.8, 0.95], eps: 1e-6, weight_decay: 0.3, ..AdamW::new(0.05) };
    check(&adamw, |w, memory, g, _| {
        averages(memory, g);
        *w = *w * (1.0 - 0.05 * 0.3) - 0.05 * memory[0] / (memory[1].sqrt() + 1e-6);
    });
}

#[test]
fn the_others() {
    check(&RmsProp { alpha: 0.9, ..RmsProp::new(0.05) }, |w, [v, _], g, _| {
        *v = 0.9 * *v + 0.1 * g * g;
        *w -= 0.05 * g / (v.sqrt() + 1e-8);
    });
    check(&optim::Adagrad::new(0.05), |w, [v, _], g, _| {
        *v += g * g;
        *w -= 0.05 * g / (v.sqrt() + 1e-8);
    });
    check(&optim::AdaDelta::new(1.0), |w, [v, u], g, _| {
        *v = 0.9 * *v + 0.1 * g * g;
        let step = ((*u + 1e-6) / (*v + 1e-6)).sqrt() * g;
        *u = 0.9 * *u + 0.1 * step * step;
        *w -= step;
    });
    check(&optim::Adamax::new(0.05), |w, [m, v], g, _| {
        *m = 0.9 * *m + 0.1 * g;
        *v = (0.999 * *v).max(g.abs());
        *w -= 0.05 * *m / (*v + 1e-8);
    });
    check(&Lion { weight_decay: 0.2, ..Lion::new(0.05) }, |w, [m, _], g, _| {
        let direction = (0.9 * *m + 0.1 * g).signum();
        *m = 0.99 * *m + 0.01 * g;
        *w = *w * (1.0 - 0.05 * 0.2) - 0.05 * direction;
    });
}

#[test]
fn a_schedule_is_asked_before_the_step_is_counted() {
    let optimizer = Sgd::new(|step: &Array| (step + 1).astype(Dtype::F64) * 0.1);
    check(&optimizer, |w, _, g, t| *w -= 0.1 * f64::from(t) * g);
}

#[derive(Tree, Clone)]
#[tree(crate = "covector_core")]
struct Params {
    w: Array,
    layers: Vec<Option<Array>>,
    name: &'static str,
}

fn params() -> Params {
    let layer = |v: f32| Some(Array::new([[v, -v]]));
    Params { w: Array::new([1.0f32, 2.0]), layers: vec![layer(1.0), None, layer(3.0)], name: "net" }
}

fn energy(p: &Params) -> Array {
    p.leaves().iter().map(|x| x.square().sum()).reduce(|a, b| a + b).unwrap()
}

#[test]
fn parameters_and_state_keep_their_structure() {
    let optimizer = AdamW::new(0.1);
    let (start, mut p) = (params(), params());
    let mut state: State<Params> = optimizer.init(&p);
    for _ in 0..40 {
        let (_, grads) = value_and_grad(energy)(&p).unwrap();
        (p, state) = optimizer.update(&p, &grads, &state).unwrap();
    }
    assert_eq!((p.name, p.layers.len(), p.layers[1].is_none()), ("net", 3, true));
    assert!(energy(&p).item::<f32>() < energy(&start).item::<f32>() / 4.0);
    assert_eq!(state.step.item::<u64>(), 40);
    assert_eq!(state.slots["m"].layers[2].as_ref().unwrap().shape(), [1, 2]);
    let paths: Vec<String> = state.paths().iter().map(|(path, _)| path.to_string()).collect();
    assert_eq!(paths[..2], [".step", ".slots[\"m\"].w"]);
    assert_eq!(paths[3], ".slots[\"m\"].layers[2]");
    // What went in is as it was.
    assert_eq!(start.w.to_vec::<f32>(), [1.0, 2.0]);
}

#[test]
fn an_update_is_evaluated_as_one_but_not_while_tracing() {
    let optimizer = Sgd { momentum: 0.9, ..Sgd::new(0.1) };
    let p = params();
    let state = optimizer.init(&p);
    let (_, grads) = value_and_grad(energy)(&p).unwrap();
    let (next, next_state) = optimizer.update(&p, &grads, &state).unwrap();
    // With whatever is next, and no later than the next update.
    let made = |p: &Params, s: &State<Params>| p.leaves().iter().chain(&s.leaves()).all(Array::is_available);
    assert!(!made(&next, &next_state));
    let (_, grads) = value_and_grad(energy)(&next).unwrap();
    let (last, last_state) = optimizer.update(&next, &grads, &next_state).unwrap();
    assert!(made(&next, &next_state) && !made(&last, &last_state));
    (Array::scalar(1.0f32) + 1.0).try_eval().unwrap();
    assert!(made(&last, &last_state));

    let after = |p: &Params| {
        let (next, _) = optimizer.update(p, &grad(energy)(p).unwrap(), &state).unwrap();
        assert!(next.leaves().iter().all(Array::is_tracer));
        energy(&next)
    };
    grad(after)(&p).unwrap();
}

/// A step is made of operations like any other: how the loss after it depends on the rate is a derivative.
#[test]
fn a_learning_rate_can_be_differentiated() {
    let w = Array::new([3.0f64, -1.0]);
    let loss = |w: &Array| w.square().sum();
    let after = |rate: &Array| {
        let optimizer = Sgd::new(rate.clone());
        let (w, _) = optimizer.update(&w, &grad(loss)(&w).unwrap(), &optimizer.init(&w)).unwrap();
        loss(&w)
    };
    // w (1 − 2r), so the loss is |w|² (1 − 2r)², and its derivative −4 |w|² (1 − 2r).
    let slope: f64 = grad(after)(&Array::scalar(0.1f64)).unwrap().item();
    assert!((slope + 4.0 * 10.0 * 0.8).abs() < 1e-9, "{slope}");
}

/// Several models, each with its own rate, trained at once.
#[test]
fn updates_can_be_vectorised() {
    let step = |(w, rate): &(Array, Array)| -> covector_core::Result<Array> {
        let optimizer = AdamW { bias_correction: true, ..AdamW::new(rate.clone()) };
        let state = optimizer.init(w);
        Ok(optimizer.update(w, &grad(|w: &Array| w.square().sum())(w)?, &state)?.0)
    };
    let (w, rates) = (Array::new([[1.0f64, 2.0], [3.0, -4.0]]), Array::new([0.1f64, 0.3]));
    let together = vmap(step)(&(w.clone(), rates.clone())).unwrap().to_vec::<f64>();
    for i in 0..2 {
        let at = |x: &Array| x.index(&[(i as isize).into()]);
        let alone = step(&(at(&w), at(&rates))).unwrap().to_vec::<f64>();
        for (a, b) in together[2 * i..].iter().zip(&alone) {
            assert!((a - b).abs() < 1e-12);
        }
    }
}

#[test]
fn parameters_keep_their_types() {
    let p = (
        Array::new([f16::ONE, -f16::ONE]),
        Array::new([bf16::ONE]),
        Array::new([1.0f32]),
        Array::new([1.0f64]),
        Array::new([C64::new(1.0, 2.0)]),
    );
    fn check(p: &(Array, Array, Array, Array, Array), optimizer: &impl Optimizer) {
        // The gradient of |w|²/2 is w itself.
        let (next, state) = optimizer.update(p, p, &optimizer.init(p)).unwrap();
        for ((old, new), slot) in
            p.leaves().iter().zip(next.leaves()).zip(state.slots.values().flat_map(Tree::leaves))
        {
            assert_eq!((old.dtype(), old.shape()), (new.dtype(), new.shape()));
            // What is remembered of half precision is wide.
            assert_eq!(slot.dtype(), covector_core::wide::of(old.dtype()));
            let size = |x: &Array| x.abs().astype(Dtype::F64).sum().item::<f64>();
            assert!(size(&new) < size(old), "{:?}", new.dtype());
        }
    }
    check(&p, &Sgd { momentum: 0.9, ..Sgd::new(0.1) });
    check(&p, &AdamW { bias_correction: true, eps: 1e-4, ..AdamW::new(0.1) });
    check(&p, &Adam { eps: 1e-4, ..Adam::new(0.01) });
}

#[test]
fn the_modulus_of_a_complex_gradient_counts() {
    let (w, g) = (Array::new([C64::new(0.0, 0.0)]), Array::new([C64::new(3.0, 4.0)]));
    let optimizer = RmsProp { alpha: 0.0, eps: 0.0, ..RmsProp::new(1.0) };
    let (next, _) = optimizer.update(&w, &g, &optimizer.init(&w)).unwrap();
    let [z] = next.to_vec::<C64>()[..] else { panic!("one number") };
    // One step of length 1 against the gradient, whose length is 5.
    assert!((z.re + 0.6).abs() < 1e-6 && (z.im + 0.8).abs() < 1e-6, "{z}");
}

#[test]
fn clipping_a_gradient_that_is_not_finite_shows_it() {
    let (clipped, norm) = optim::clip_grad_norm(&Array::new([f32::NAN, 1.0]), 1.0).unwrap();
    assert!(norm.item::<f32>().is_nan() && clipped.to_vec::<f32>()[1].is_nan());
    // Squares that float16 cannot hold.
    let (clipped, norm) =
        optim::clip_grad_norm(&Array::new([f16::from_f32(3000.0), f16::from_f32(4000.0)]), 1.0).unwrap();
    assert_eq!((norm.item::<f32>(), clipped.dtype()), (5000.0, Dtype::F16));
    let (empty, norm) = optim::clip_grad_norm(&Vec::<Array>::new(), 1.0).unwrap();
    assert_eq!((empty.len(), norm.item::<f32>()), (0, 0.0));
}

fn message<T>(result: covector_core::Result<T>) -> String {
    match result {
        Ok(_) => panic!("this was to be refused"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let w = Array::new([1.0f32]);
    fn refused(w: &Array, optimizer: &impl Optimizer, part: &str) {
        let said = message(optimizer.update(w, w, &optimizer.init(w)));
        assert!(said.contains(part), "{said:?} does not say {part:?}");
    }
    refused(&w, &Sgd { nesterov: true, ..Sgd::new(0.1) }, "Nesterov momentum requires a momentum");
    refused(&w, &Sgd { nesterov: true, momentum: 0.9, dampening: 0.1, ..Sgd::new(0.1) }, "the dampening 0.1");
    refused(&w, &AdamW { betas: [1.5, 0.9], ..AdamW::new(0.1) }, "[AdamW] beta1 1.5 is not in [0, 1)");
    refused(&w, &Adam { betas: [0.9, f64::NAN], ..Adam::new(0.1) }, "beta2 NaN");
    refused(&w, &RmsProp { alpha: -1.0, ..RmsProp::new(0.1) }, "alpha -1");
    refused(
        &w,
        &Sgd::new(|_: &Array| Array::new([0.1f32])),
        "must give a scalar, of shape (), but it gave shape (1,)",
    );
}

#[test]
fn state_and_gradients_that_do_not_belong_are_refused() {
    let optimizer = Sgd { momentum: 0.9, ..Sgd::new(0.1) };
    let p = params();
    let state = optimizer.init(&p);
    let said = message(optimizer.update(&p, &p, &Sgd::new(0.1).init(&p)));
    assert!(said.contains("the state has no \"v\""), "{said}");
    let mut other = params();
    other.layers[2] = Some(Array::new([1.0f32]));
    let said = message(optimizer.update(&p, &other, &state));
    assert!(
        said.contains("params.layers[2] has shape (1, 2), but in the gradients it has shape (1,)"),
        "{said}"
    );
    other.layers[2] = None;
    let said = message(optimizer.update(&p, &other, &state));
    assert!(said.contains("2 arrays in the gradients, but 3 in the parameters"), "{said}");
    let old = optimizer.init(&other);
    let said = message(optimizer.update(&p, &p, &old));
    assert!(said.contains("2 arrays in the state, but 3 in the parameters"), "{said}");
}

#[test]
fn schedules_that_cannot_work_are_refused() {
    assert!(message(optim::linear_schedule(0.0, 1.0, 0)).contains("steps must be at least 1"));
    assert!(message(optim::step_decay(0.1, 0.5, 0)).contains("step_size must be at least 1"));
    assert!(message(optim::cosine_decay(0.1, 0, 0.0)).contains("decay_steps must be at least 1"));
    assert!(message(optim::join_schedules(&[], &[])).contains("at least one"));
    let said = message(optim::join_schedules(&[Schedule::from(0.1)], &[1]));
    assert!(said.contains("1 boundaries do not separate 1 schedules; give 0"), "{said}");
    assert!(message(optim::clip_grad_norm(&Array::new([1.0f32]), -1.0)).contains("max_norm -1"));
}

#[test]
fn an_error_of_a_schedule_comes_through() {
    let optimizer = Sgd::new(Schedule::new(|_| Err(Error::value("mine", "no rate today"))));
    let w = Array::new([1.0f32]);
    assert_eq!(message(optimizer.update(&w, &w, &optimizer.init(&w))), "[mine] no rate today");
}

#[test]
fn a_setting_is_one_array_for_all_leaves() {
    let (rate, step) = (Array::scalar(0.1f32), Array::scalar(1u64));
    let cx = StepContext::new(&rate, &step, Dtype::F32);
    let (x, half) = (Array::new([1.0f32]), Array::new([1.0f32]).astype(Dtype::F16));
    assert!(cx.number(0.9, &x).is_same(&cx.number(0.9, &x)));
    assert!(!cx.number(0.9, &x).is_same(&cx.number(0.8, &x)));
    assert_eq!(cx.number(0.9, &half).dtype(), Dtype::F16);
    assert_eq!(cx.number(-0.0, &x).item::<f32>().to_bits(), (-0.0f32).to_bits());
}
