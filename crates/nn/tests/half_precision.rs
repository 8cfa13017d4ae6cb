//! Half precision is rounded once: every loss and every function of layers, over so many elements that a sum in `float16`
//! or `bfloat16` would overflow or stall, against the same in `float64`, forward and backward; and the optimizers.

#[path = "../../core/tests/half_common/mod.rs"]
mod half_common;

use covector_core::catalog::{Input, Kind};
use covector_core::transforms::grad;
use covector_core::{Array, Dtype, Result, ops, random};
use covector_nn::losses::{self, BinaryCrossEntropy, CrossEntropy, Reduction};
use covector_nn::optim::{self, AdaDelta, Adagrad, Adam, AdamW, Adamax, Lion, Optimizer, RmsProp, Sgd};
use covector_nn::{attention, functional as nn};
use half_common::{checked, halves, rounded, to_f64, unit};
use std::collections::BTreeSet;

/// A function with its inputs.
struct Case {
    name: &'static str,
    inputs: Vec<Input>,
    run: Box<dyn Fn(&[Array]) -> Result<Vec<Array>>>,
}

fn case(name: &'static str, inputs: Vec<Input>, run: impl Fn(&[Array]) -> Result<Array> + 'static) -> Case {
    Case { name, inputs, run: Box::new(move |x| Ok(vec![run(x)?])) }
}

fn input(shape: &[usize], kind: Kind) -> Input {
    Input { shape: shape.to_vec(), kind }
}

const REDUCTIONS: [Reduction; 3] = [Reduction::None, Reduction::Mean, Reduction::Sum];

/// All losses with all reductions.
fn all_losses() -> Vec<Case> {
    let few = || input(&[10, 7000], Kind::Real(-1.5, 1.5));
    // Beyond 65,504 in the square, or in the sum of few.
    let hundreds = || input(&[10, 7000], Kind::Real(90.0, 300.0));
    let share = || input(&[10, 7000], Kind::Real(0.1, 0.9));
    let classes = || input(&[10], Kind::Index(7000));
    let mut all = Vec::new();
    for how in REDUCTIONS {
        for x in [few, hundreds] {
            all.extend([
                case("mse_loss", vec![x(), few()], move |x| losses::try_mse_loss(&x[0], &x[1], how)),
                case("l1_loss", vec![x(), few()], move |x| losses::try_l1_loss(&x[0], &x[1], how)),
                case("smooth_l1_loss", vec![x(), few()], move |x| {
                    losses::try_smooth_l1_loss(&x[0], &x[1], 1.5, how)
                }),
                case("huber_loss", vec![x(), few()], move |x| losses::try_huber_loss(&x[0], &x[1], 0.7, how)),
                case("hinge_loss", vec![x(), few()], move |x| losses::try_hinge_loss(&x[0], &x[1], how)),
                case("log_cosh_loss", vec![x(), few()], move |x| {
                    losses::try_log_cosh_loss(&x[0], &x[1], how)
                }),
                case("cross_entropy", vec![x(), classes()], move |x| {
                    losses::try_cross_entropy(&x[0], &x[1], how)
                }),
                case("cross_entropy", vec![x(), share()], move |x| {
                    losses::try_cross_entropy(&x[0], &x[1], how)
                }),
                case(
                    "cross_entropy_with",
                    vec![x(), classes(), input(&[10], Kind::Real(0.5, 2.0))],
                    move |x| {
                        let weights = Some(&x[2]);
                        let options =
                            CrossEntropy { weights, label_smoothing: 0.1, reduction: how, axis: -1 };
                        losses::try_cross_entropy_with(&x[0], &x[1], &options)
                    },
                ),
                case("binary_cross_entropy", vec![x(), share()], move |x| {
                    losses::try_binary_cross_entropy(&x[0], &x[1], how)
                }),
                case("nll_loss", vec![x(), classes()], move |x| losses::try_nll_loss(&x[0], &x[1], -1, how)),
                case("cosine_similarity_loss", vec![x(), few()], move |x| {
                    losses::try_cosine_similarity_loss(&x[0], &x[1], -1, 1e-8, how)
                }),
                case("gaussian_nll_loss", vec![x(), few(), share()], move |x| {
                    losses::try_gaussian_nll_loss(&x[0], &x[1], &x[2], true, 1e-6, how)
                }),
                case("margin_ranking_loss", vec![x(), few(), few()], move |x| {
                    losses::try_margin_ranking_loss(&x[0], &x[1], &x[2], 0.3, how)
                }),
                case("triplet_loss", vec![few(), x(), few()], move |x| {
                    losses::try_triplet_loss(&x[0], &x[1], &x[2], -1, 2.0, 1.0, 1e-6, how)
                }),
                case("triplet_loss", vec![few(), x(), few()], move |x| {
                    losses::try_triplet_loss(&x[0], &x[1], &x[2], -1, 3.0, 1.0, 1e-6, how)
                }),
            ]);
        }
        all.extend([
            case("kl_div_loss", vec![few(), few()], move |x| losses::try_kl_div_loss(&x[0], &x[1], -1, how)),
            case("binary_cross_entropy_with", vec![share(), share(), share()], move |x| {
                let options = BinaryCrossEntropy { weights: Some(&x[2]), with_logits: false, reduction: how };
                losses::try_binary_cross_entropy_with(&x[0], &x[1], &options)
            }),
        ]);
    }
    all
}

/// The functions of layers.
fn all_functions() -> Vec<Case> {
    type One = fn(&Array) -> Result<Array>;
    let elementwise: [(&str, One); 25] = [
        ("relu", nn::try_relu),
        ("relu2", nn::try_relu2),
        ("relu6", nn::try_relu6),
        ("leaky_relu", |x| nn::try_leaky_relu(x, 0.01)),
        ("elu", |x| nn::try_elu(x, 1.3)),
        ("celu", |x| nn::try_celu(x, 1.3)),
        ("selu", nn::try_selu),
        ("gelu", nn::try_gelu),
        ("gelu_approx", nn::try_gelu_approx),
        ("gelu_fast_approx", nn::try_gelu_fast_approx),
        ("silu", nn::try_silu),
        ("softplus", nn::try_softplus),
        ("softsign", nn::try_softsign),
        ("softshrink", |x| nn::try_softshrink(x, 0.5)),
        ("hard_shrink", |x| nn::try_hard_shrink(x, 0.5)),
        ("hardswish", nn::try_hardswish),
        ("hard_tanh", |x| nn::try_hard_tanh(x, -1.0, 1.0)),
        ("mish", nn::try_mish),
        ("log_sigmoid", nn::try_log_sigmoid),
        ("softmax", |x| nn::try_softmax(x, -1)),
        ("softmin", |x| nn::try_softmin(x, -1)),
        ("log_softmax", |x| nn::try_log_softmax(x, -1)),
        ("glu", |x| nn::try_glu(x, -1)),
        ("step", |x| nn::try_step(x, 0.0)),
        ("dropout", |x| nn::try_dropout(x, 0.3, Some(&random::key(3)))),
    ];
    let mut all = Vec::new();
    for (name, f) in elementwise {
        for (low, high) in [(-1.5, 1.5), (-12.0, 12.0), (90.0, 300.0)] {
            all.push(case(name, vec![input(&[2, 35_000], Kind::Real(low, high))], move |x| f(&x[0])));
        }
    }
    let real = |shape: &[usize]| input(shape, Kind::Real(-1.5, 1.5));
    all.extend([
        case("prelu", vec![real(&[70_000]), real(&[1])], |x| nn::try_prelu(&x[0], &x[1])),
        case("linear", vec![real(&[300, 70]), real(&[9, 70])], |x| nn::try_linear(&x[0], &x[1], None)),
        case("embedding", vec![input(&[5000], Kind::Index(3)), real(&[3, 4])], |x| {
            nn::try_embedding(&x[0], &x[1])
        }),
        case(
            "layer_norm",
            vec![input(&[3, 7000], Kind::Real(90.0, 300.0)), real(&[7000]), real(&[7000])],
            |x| nn::try_layer_norm(&x[0], Some(&x[1]), Some(&x[2]), 1e-5),
        ),
        case("rms_norm", vec![input(&[3, 7000], Kind::Real(90.0, 300.0)), real(&[7000])], |x| {
            nn::try_rms_norm(&x[0], Some(&x[1]), 1e-5)
        }),
        case("avg_pool", vec![real(&[1, 5000, 1])], |x| nn::try_avg_pool(&x[0], &[4000], &[10], &[0])),
        case("max_pool", vec![input(&[1, 5000, 1], Kind::Real(1.0, 1.0))], |x| {
            nn::try_max_pool(&x[0], &[4000], &[10], &[0])
        }),
        case("multi_head_attention", vec![real(&[1, 5, 8]), real(&[1, 5000, 8]), real(&[1, 5000, 8])], |x| {
            attention::try_multi_head_attention(&x[0], &x[1], &x[2], 2, ops::Mask::None)
        }),
    ]);
    all
}

#[test]
fn losses_and_layers_are_rounded_once() {
    let mut worst = Vec::new();
    for case in all_losses().into_iter().chain(all_functions()) {
        for dtype in halves() {
            let x: Vec<Array> =
                case.inputs.iter().enumerate().map(|(i, x)| x.sample(i as u64, dtype)).collect();
            let at: Vec<usize> = (0..x.len()).filter(|&i| case.inputs[i].is_differentiable()).collect();
            let what = format!("{} in {dtype}, {:?}", case.name, case.inputs[0].kind);
            checked(&what, &*case.run, (&at, case.name != "step"), &x, dtype, &mut worst)
                .unwrap_or_else(|e| panic!("{what}: {e}"));
        }
    }
    assert!(worst.is_empty(), "{} results are rounded on the way:\n{}", worst.len(), worst.join("\n"));
}

/// The public functions of a source file that `function!` defines, and those with options.
fn public(source: &str) -> BTreeSet<&str> {
    let names = source.split("pub fn ").skip(1).map(|rest| rest.split([' ', '(']).next().unwrap_or_default());
    names.filter(|name| !name.starts_with("try_") && *name != "named").collect()
}

#[test]
fn no_loss_and_no_function_is_left_out() {
    let here: BTreeSet<&str> = all_losses().iter().chain(&all_functions()).map(|case| case.name).collect();
    for source in [include_str!("../src/losses.rs"), include_str!("../src/functional.rs")] {
        let missing: Vec<&str> = public(source).into_iter().filter(|name| !here.contains(name)).collect();
        assert!(missing.is_empty(), "without a case of half precision: {missing:?}");
    }
    // Sigmoid and tanh are the core's, and have their cases there.
    let covered = |name: &str| here.contains(name) || ["sigmoid", "tanh"].contains(&name);
    for spec in covector_nn::ACTIVATIONS {
        assert!(covered(spec.function), "without a case of half precision: {}", spec.function);
    }
}

#[test]
fn the_loss_of_many_classes_is_finite() {
    for dtype in halves() {
        let logits = ops::zeros(&[1, 70_000], dtype);
        let loss = losses::cross_entropy(&logits, &Array::new([0]), Reduction::Mean);
        assert!((to_f64(&loss)[0] - 70_000f64.ln()).abs() < unit(11.0, dtype));
    }
}

fn optimizers() -> Vec<(&'static str, Box<dyn Optimizer>)> {
    vec![
        ("Sgd", Box::new(Sgd { momentum: 0.99, weight_decay: 0.01, ..Sgd::new(0.01) })),
        ("nesterov", Box::new(Sgd { momentum: 0.9, nesterov: true, ..Sgd::new(0.01) })),
        ("Adam", Box::new(Adam::new(1e-3))),
        ("corrected Adam", Box::new(Adam { bias_correction: true, ..Adam::new(1e-3) })),
        ("AdamW", Box::new(AdamW::new(1e-3))),
        ("Adamax", Box::new(Adamax::new(1e-3))),
        ("RmsProp", Box::new(RmsProp::new(1e-3))),
        ("Adagrad", Box::new(Adagrad::new(1e-3))),
        ("AdaDelta", Box::new(AdaDelta::new(1.0))),
        ("Lion", Box::new(Lion { weight_decay: 0.1, ..Lion::new(1e-3) })),
    ]
}

/// One step of one array, as `update` takes it.
fn step(
    optimizer: &dyn Optimizer,
    k: u64,
    param: &Array,
    grad: &Array,
    slots: &[Array],
) -> (Array, Vec<Array>) {
    let rate = optimizer.learning_rate().at(&Array::scalar(k)).unwrap();
    let leaf = optim::Leaf { param: param.clone(), grad: grad.clone(), slots: slots.to_vec() };
    optimizer.step_all(&rate, &Array::scalar(k + 1), &[leaf]).unwrap().remove(0)
}

#[test]
fn optimizers_remember_in_float32_and_round_parameters_once() {
    for (name, optimizer) in optimizers() {
        for dtype in halves() {
            // Zero, and so small that the square is below float16; and so large that it is beyond.
            let grads = Array::new([0.0f64, 1e-4, -3e-4, 0.01, -1.0, 300.0]).astype(dtype);
            let mut param = Array::new([1.0f64, 1.0, -2.0, 0.5, 3.0, -1.0]).astype(dtype);
            let wide = grads.astype(Dtype::F64);
            let zeros = vec![optim::zero_slot(&param); optimizer.slots().len()];
            let mut slots = zeros.clone();
            let mut exact: Vec<Array> = zeros.iter().map(|s| s.astype(Dtype::F64)).collect();
            // The largest that an element was: a sum that falls again keeps the error that it had.
            let mut most = [0.0f64; 6];
            for k in 0..300 {
                let before = param.astype(Dtype::F64);
                (param, slots) = step(&*optimizer, k, &param, &grads, &slots);
                let due;
                (due, exact) = step(&*optimizer, k, &before, &wide, &exact);
                assert_eq!(param.dtype(), dtype, "{name}");
                for (i, (&p, &d)) in to_f64(&param).iter().zip(&to_f64(&due)).enumerate() {
                    let near = (p - d).abs() <= 0.51 * unit(d, dtype) + 1e-6 * d.abs();
                    assert!(near, "{name} in {dtype}, step {k}, element {i}: {p} against {d}");
                }
                for (slot, exact) in slots.iter().zip(&exact) {
                    assert_eq!(slot.dtype(), Dtype::F32, "{name}");
                    for ((s, e), most) in to_f64(slot).iter().zip(to_f64(exact)).zip(&mut most) {
                        *most = most.max(e.abs());
                        assert!((s - e).abs() <= 1e-5 * *most, "{name}: {s} against {e}");
                    }
                }
            }
            // Where the gradient is zero nothing moves, but by decay.
            if !["Sgd", "AdamW", "Lion"].contains(&name) {
                assert_eq!(to_f64(&param)[0], 1.0, "{name}");
            }
        }
    }
}

#[test]
fn state_that_was_saved_in_half_precision_goes_on_in_float32() {
    let optimizer = Adam::new(1e-3);
    for dtype in halves() {
        let (param, grads) = (ops::ones(&[2], dtype), ops::full(&[2], 1e-4, dtype));
        let (_, slots) =
            step(&optimizer, 0, &param, &grads, &[ops::zeros(&[2], dtype), ops::zeros(&[2], dtype)]);
        assert!(slots.iter().all(|s| s.dtype() == Dtype::F32 && to_f64(s)[0] > 0.0));
    }
}

#[test]
fn clipping_multiplies_in_float32() {
    for dtype in halves() {
        // The length is 3e8, the factor 3e-9: below the smallest float16.
        let grads = ops::full(&[100_000_000 / 4000], 60_000.0, dtype);
        let (clipped, norm) = optim::clip_grad_norm(&grads, 1.0).unwrap();
        let length = rounded(60_000.0, dtype) * 25_000f64.sqrt();
        assert_eq!((clipped.dtype(), norm.dtype()), (dtype, Dtype::F32));
        assert!((to_f64(&norm)[0] / length - 1.0).abs() < 1e-5);
        let due = rounded(60_000.0, dtype) / length;
        assert!((to_f64(&clipped)[0] - due).abs() <= 0.51 * unit(due, dtype));
    }
}

#[test]
fn a_look_up_of_one_row_by_many_gets_all_their_gradients() {
    for dtype in halves() {
        let table = ops::zeros(&[2, 3], dtype);
        let rows = ops::zeros(&[5000], Dtype::I32);
        let g = grad(|table: &Array| nn::embedding(&rows, table).sum())(&table).unwrap();
        assert_eq!(to_f64(&g), [[rounded(5000.0, dtype); 3], [0.0; 3]].concat());
    }
}
