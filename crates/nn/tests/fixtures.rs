//! The same numbers as MLX: values and gradients that it computed once, stored in `fixtures/mlx.txt`.

mod common;

use common::Fixtures;
use covector_core::transforms::grad;
use covector_core::{Array, Dtype, Tree, random};
use covector_nn::init::{self, Fan};
use covector_nn::losses::{self, BinaryCrossEntropy, CrossEntropy, Reduction};
use covector_nn::optim::{self, Optimizer, Schedule};
use covector_nn::{Dropout, Embedding, Gelu, Layer, LayerNorm, Linear, RmsNorm};

type Function = fn(&Array) -> Array;

const ACTIVATIONS: [(&str, Function); 25] = [
    ("relu", covector_nn::relu),
    ("relu2", covector_nn::relu2),
    ("relu6", covector_nn::relu6),
    ("leaky_relu", |x| covector_nn::leaky_relu(x, 0.2)),
    ("elu", |x| covector_nn::elu(x, 1.5)),
    ("celu", |x| covector_nn::celu(x, 0.7)),
    ("selu", covector_nn::selu),
    ("gelu", covector_nn::gelu),
    ("gelu_approx", covector_nn::gelu_approx),
    ("gelu_fast_approx", covector_nn::gelu_fast_approx),
    ("silu", covector_nn::silu),
    ("softplus", covector_nn::softplus),
    ("softsign", covector_nn::softsign),
    ("softshrink", |x| covector_nn::softshrink(x, 0.4)),
    ("hard_shrink", |x| covector_nn::hard_shrink(x, 0.4)),
    ("hardswish", covector_nn::hardswish),
    ("hard_tanh", |x| covector_nn::hard_tanh(x, -0.5, 0.8)),
    ("mish", covector_nn::mish),
    ("log_sigmoid", covector_nn::log_sigmoid),
    ("sigmoid", covector_nn::sigmoid),
    ("tanh", covector_nn::tanh),
    ("softmax", |x| covector_nn::softmax(x, -1)),
    ("softmin", |x| covector_nn::softmin(x, -1)),
    ("log_softmax", |x| covector_nn::log_softmax(x, -1)),
    ("step", |x| covector_nn::step(x, 0.75)),
];

#[test]
fn activations() {
    let fixtures = Fixtures::of("activation");
    let (x, w) = (fixtures.get("x"), fixtures.get("w"));
    for (name, f) in ACTIVATIONS {
        fixtures.check(name, &f(&x), 1e-6);
        let slope = format!("{name}.grad");
        if !fixtures.has(&slope) {
            continue;
        }
        // Where MLX's exponential overflows, its fixture was made from limited arguments.
        let x = if matches!(name, "elu" | "selu") { x.minimum(&Array::scalar(6.5f32)) } else { x.clone() };
        fixtures.check(&slope, &grad(|x: &Array| (f(x) * &w).sum())(&x).unwrap(), 2e-6);
    }
    fixtures.all_used();

    let fixtures = Fixtures::of("glu");
    let x = fixtures.get("x");
    fixtures.check("y", &covector_nn::glu(&x, -1), 1e-6);
    fixtures.check("y0", &covector_nn::glu(&x.transpose(&[]), 0), 1e-6);
    fixtures.all_used();

    let fixtures = Fixtures::of("prelu");
    let alpha = fixtures.get("alpha");
    fixtures.check("y", &covector_nn::prelu(&x, &alpha), 1e-6);
    let loss = |alpha: &Array| covector_nn::prelu(&x, alpha).square().sum();
    fixtures.check("alpha.grad", &grad(loss)(&alpha).unwrap(), 1e-6);
    fixtures.all_used();
}

#[test]
fn cross_entropy() {
    let fixtures = Fixtures::of("ce");
    let get = |name: &str| fixtures.get(name);
    let (logits, classes, probabilities, weights) =
        (get("logits"), get("classes"), get("probabilities"), get("weights"));
    let classes0 = get("classes0");
    let plain = CrossEntropy { reduction: Reduction::None, ..CrossEntropy::default() };
    let cases: [(&str, &Array, CrossEntropy<'_>); 8] = [
        ("indices", &classes, plain.clone()),
        ("mean", &classes, CrossEntropy { reduction: Reduction::Mean, ..plain }),
        ("sum", &probabilities, CrossEntropy { reduction: Reduction::Sum, ..plain }),
        ("probs", &probabilities, plain.clone()),
        ("smooth", &classes, CrossEntropy { label_smoothing: 0.1, ..plain }),
        ("smooth_probs", &probabilities, CrossEntropy { label_smoothing: 0.3, ..plain }),
        ("weighted", &classes, CrossEntropy { weights: Some(&weights), ..CrossEntropy::default() }),
        ("axis0", &classes0, CrossEntropy { axis: 0, ..plain }),
    ];
    for (name, targets, options) in cases {
        let loss = |logits: &Array| losses::cross_entropy_with(logits, targets, &options);
        fixtures.check(name, &loss(&logits), 2e-6);
        fixtures.check(&format!("{name}.grad"), &grad(|z: &Array| loss(z).sum())(&logits).unwrap(), 2e-6);
    }
    let half = losses::cross_entropy(&logits.astype(Dtype::F16), &classes, Reduction::None);
    fixtures.check("f16", &half, 4e-3);
    fixtures.all_used();
}

#[test]
fn binary_cross_entropy() {
    let fixtures = Fixtures::of("bce");
    let [x, t, w, p] = ["x", "t", "w", "p"].map(|name| fixtures.get(name));
    let probable = BinaryCrossEntropy { with_logits: false, ..BinaryCrossEntropy::default() };
    fixtures.check("logits", &losses::binary_cross_entropy(&x, &t, Reduction::None), 2e-6);
    let weighted = BinaryCrossEntropy { weights: Some(&w), ..BinaryCrossEntropy::default() };
    fixtures.check("weighted", &losses::binary_cross_entropy_with(&x, &t, &weighted), 2e-6);
    let each = BinaryCrossEntropy { reduction: Reduction::None, ..probable };
    fixtures.check("probs", &losses::binary_cross_entropy_with(&p, &t, &each), 2e-6);
    let slopes = grad(|p: &Array| losses::binary_cross_entropy_with(p, &t, &probable))(&p).unwrap();
    fixtures.check("probs.grad", &slopes, 2e-6);
    let (certain, truth) = (Array::new([0.0f32, 1.0, 0.0, 1.0]), Array::new([0.0f32, 1.0, 1.0, 0.0]));
    fixtures.check("certain", &losses::binary_cross_entropy_with(&certain, &truth, &each), 2e-6);
    fixtures.all_used();
}

#[test]
fn other_losses() {
    let fixtures = Fixtures::of("loss");
    let [a, b, c, v, s] = ["a", "b", "c", "v", "s"].map(|name| fixtures.get(name));
    let classes = Array::new([0, 2, 1, 1]);
    let log_softmax = |x: &Array| covector_nn::log_softmax(x, -1);
    type Case<'a> = (&'a str, Box<dyn Fn(&Array, Reduction) -> Array + 'a>);
    let cases: [Case<'_>; 12] = [
        ("mse", Box::new(|a, r| losses::mse_loss(a, &b, r))),
        ("l1", Box::new(|a, r| losses::l1_loss(a, &b, r))),
        ("smooth_l1", Box::new(|a, r| losses::smooth_l1_loss(a, &b, 0.7, r))),
        ("huber", Box::new(|a, r| losses::huber_loss(a, &b, 0.6, r))),
        ("kl_div", Box::new(|a, r| losses::kl_div_loss(&log_softmax(a), &log_softmax(&b), -1, r))),
        ("hinge", Box::new(|a, r| losses::hinge_loss(a, &s, r))),
        ("log_cosh", Box::new(|a, r| losses::log_cosh_loss(a, &b, r))),
        ("gaussian_nll", Box::new(|a, r| losses::gaussian_nll_loss(a, &b, &v, true, 1e-6, r))),
        ("cosine", Box::new(|a, r| losses::cosine_similarity_loss(a, &b, 1, 1e-8, r))),
        ("margin", Box::new(|a, r| losses::margin_ranking_loss(a, &b, &s, 0.3, r))),
        ("triplet", Box::new(|a, r| losses::triplet_loss(a, &b, &c, -1, 2.0, 1.0, 1e-6, r))),
        ("nll", Box::new(|a, r| losses::nll_loss(&log_softmax(a), &classes, -1, r))),
    ];
    for (name, loss) in cases {
        for reduction in ["none", "mean", "sum"] {
            let value = loss(&a, Reduction::named(reduction).unwrap());
            fixtures.check(&format!("{name}.{reduction}"), &value, 3e-6);
        }
        let slopes = grad(|a: &Array| loss(a, Reduction::Sum))(&a).unwrap();
        fixtures.check(&format!("{name}.grad"), &slopes, 5e-6);
    }
    fixtures.all_used();
}

/// Parameters, output, and gradients of the sum of the squared output, all of a layer made after `seed(3)`.
fn check_layer<L: Layer + Tree>(fixtures: &Fixtures, name: &str, names: &[&str], make: impl Fn() -> L) {
    random::seed(3);
    let layer = make();
    let x = fixtures.get(&format!("{name}.x"));
    let parameters = layer.leaves();
    assert_eq!(parameters.len(), names.len(), "parameters of {name}");
    for (parameter, field) in parameters.iter().zip(names) {
        // The first values are the same to the last bit.
        fixtures.check(&format!("{name}.{field}"), parameter, 0.0);
    }
    fixtures.check(&format!("{name}.y"), &layer.forward(&x), 3e-6);
    let grads = grad(|layer: &L| layer.forward(&x).square().sum())(&layer).unwrap();
    for (gradient, field) in grads.leaves().iter().zip(names) {
        fixtures.check(&format!("{name}.grad.{field}"), gradient, 1e-5);
    }
}

#[test]
fn layers() {
    let fixtures = Fixtures::of("layer");
    let both = ["weight", "bias"];
    check_layer(&fixtures, "linear", &both, || Linear::new(5, 3));
    check_layer(&fixtures, "linear_free", &["weight"], || Linear::without_bias(5, 3));
    check_layer(&fixtures, "linear_vector", &both, || Linear::new(5, 3));
    check_layer(&fixtures, "embedding", &["weight"], || Embedding::new(6, 4));
    check_layer(&fixtures, "layer_norm", &both, || LayerNorm::new(6));
    check_layer(&fixtures, "rms_norm", &["weight"], || RmsNorm::new(6));
    let names = ["layers.0.weight", "layers.0.bias", "layers.2.weight", "layers.2.bias"];
    check_layer(&fixtures, "mlp", &names, || (Linear::new(5, 7), Gelu, Linear::new(7, 2)));

    let half = LayerNorm { weight: None, bias: None, eps: 1e-5 };
    fixtures.check("layer_norm_f16.y", &half.forward(&fixtures.get("layer_norm_f16.x")), 2e-3);

    random::seed(11);
    let dropout = Dropout::new(0.3).unwrap();
    fixtures.check("dropout.y", &dropout.forward(&fixtures.get("dropout.x")), 1e-6);
    fixtures.all_used();
}

#[test]
fn initialisers() {
    let fixtures = Fixtures::of("init");
    let (f32, none) = (Dtype::F32, None);
    let seeded = |name: &str, make: &dyn Fn() -> covector_core::Result<Array>| {
        random::seed(5);
        fixtures.check(name, &make().unwrap(), 1e-7);
    };
    seeded("constant", &|| Ok(init::constant(&[3], 2.5, f32)));
    seeded("identity", &|| init::identity(&[3, 3], f32));
    seeded("normal", &|| init::normal(&[3, 4], 0.5, 2.0, f32, none));
    seeded("uniform", &|| init::uniform(&[3, 4], -1.0, 3.0, f32, none));
    seeded("glorot_normal", &|| init::glorot_normal(&[3, 4], 1.0, f32, none));
    seeded("glorot_uniform", &|| init::glorot_uniform(&[3, 2, 4], 1.5, f32, none));
    seeded("he_normal", &|| init::he_normal(&[3, 4], Fan::In, 1.0, f32, none));
    seeded("he_uniform", &|| init::he_uniform(&[3, 2, 4], Fan::Out, 0.5, f32, none));
    fixtures.all_used();
}

/// Four steps of an optimizer, and what it then remembers.
fn check_optimizer(fixtures: &Fixtures, name: &str, optimizer: &impl Optimizer) {
    let mut w = fixtures.get("p");
    let mut state = optimizer.init(&w);
    for i in 0..4 {
        (w, state) = optimizer.update(&w, &fixtures.get(&format!("g{i}")), &state).unwrap();
        fixtures.check(&format!("{name}.{i}"), &w, 5e-7);
    }
    assert_eq!(state.step.item::<u64>(), 4);
    for (slot, value) in &state.slots {
        fixtures.check(&format!("{name}.state.{slot}"), value, 5e-7);
    }
}

#[test]
fn optimizers() {
    let fixtures = Fixtures::of("optim");
    let sgd = optim::Sgd::new;
    check_optimizer(&fixtures, "sgd", &sgd(0.1));
    check_optimizer(&fixtures, "sgd_decay", &optim::Sgd { weight_decay: 0.05, ..sgd(0.1) });
    check_optimizer(&fixtures, "sgd_momentum", &optim::Sgd { momentum: 0.9, ..sgd(0.1) });
    check_optimizer(&fixtures, "sgd_dampening", &optim::Sgd { momentum: 0.9, dampening: 0.3, ..sgd(0.1) });
    let nesterov = optim::Sgd { momentum: 0.8, nesterov: true, weight_decay: 0.01, ..sgd(0.1) };
    check_optimizer(&fixtures, "sgd_nesterov", &nesterov);
    let parts = [optim::linear_schedule(0.0, 0.1, 2).unwrap(), optim::cosine_decay(0.1, 6, 0.0).unwrap()];
    let scheduled = optim::Sgd::new(optim::join_schedules(&parts, &[2]).unwrap());
    check_optimizer(&fixtures, "sgd_schedule", &scheduled);
    let adam = optim::Adam::new(0.01);
    check_optimizer(&fixtures, "adam", &adam);
    let corrected = optim::Adam { bias_correction: true, betas: [0.8, 0.95], eps: 1e-6, ..adam };
    check_optimizer(&fixtures, "adam_corrected", &corrected);
    check_optimizer(&fixtures, "adamw", &optim::AdamW { weight_decay: 0.1, ..optim::AdamW::new(0.01) });
    let scheduled = optim::AdamW::new(optim::exponential_decay(0.1, 0.7));
    check_optimizer(&fixtures, "adamw_corrected", &optim::AdamW { bias_correction: true, ..scheduled });
    check_optimizer(&fixtures, "adamax", &optim::Adamax::new(0.01));
    check_optimizer(&fixtures, "rmsprop", &optim::RmsProp { alpha: 0.9, ..optim::RmsProp::new(0.01) });
    check_optimizer(&fixtures, "adagrad", &optim::Adagrad::new(0.05));
    check_optimizer(&fixtures, "adadelta", &optim::AdaDelta { rho: 0.8, ..optim::AdaDelta::new(1.0) });
    check_optimizer(&fixtures, "lion", &optim::Lion { weight_decay: 0.1, ..optim::Lion::new(0.01) });
    fixtures.all_used();
}

#[test]
fn schedules() {
    let fixtures = Fixtures::of("schedule");
    let check = |name: &str, schedule: &Schedule| {
        let rates = (0..14u64).map(|step| schedule.at(&Array::scalar(step)).unwrap().item::<f32>());
        fixtures.check(name, &Array::new(rates.collect::<Vec<f32>>()), 1e-7);
    };
    check("exponential", &optim::exponential_decay(0.1, 0.5));
    check("step", &optim::step_decay(0.1, 0.5, 3).unwrap());
    check("cosine", &optim::cosine_decay(0.1, 10, 0.01).unwrap());
    check("linear", &optim::linear_schedule(0.02, 0.1, 4).unwrap());
    let parts = [
        optim::linear_schedule(0.0, 0.1, 4).unwrap(),
        optim::step_decay(0.1, 0.1, 2).unwrap(),
        optim::cosine_decay(0.1, 4, 0.0).unwrap(),
    ];
    check("join", &optim::join_schedules(&parts, &[4, 8]).unwrap());
    fixtures.all_used();
}

#[test]
fn clipping() {
    let fixtures = Fixtures::of("clip");
    let grads = (fixtures.get("a"), fixtures.get("b"));
    for max_norm in [1, 100] {
        let ((a, b), norm) = optim::clip_grad_norm(&grads, f64::from(max_norm)).unwrap();
        fixtures.check(&format!("{max_norm}.a"), &a, 1e-6);
        fixtures.check(&format!("{max_norm}.b"), &b, 1e-6);
        fixtures.check("norm", &norm, 1e-6);
    }
    fixtures.all_used();
}
