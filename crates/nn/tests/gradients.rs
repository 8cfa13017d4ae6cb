//! Gradients of every activation, loss and layer against finite differences in `float64`, with respect to all
//! their arrays at once.

use covector_core::transforms::{grad, jvp, vmap};
use covector_core::{Array, Dtype, Tree, random};
use covector_nn::losses::{self, BinaryCrossEntropy, CrossEntropy, Reduction};
use covector_nn::{
    Embedding, Gelu, Layer, LayerNorm, Linear, Prelu, RmsNorm, Sigmoid, Silu, Tanh, functional as nn,
};

/// Random numbers between −2 and 2, none of them within 0.02 of the kinks of the functions under test.
fn sample(seed: u64, shape: &[usize]) -> Array {
    let x =
        random::uniform(-2.0, 2.0, shape, Dtype::F32, Some(&random::key(seed))).unwrap().astype(Dtype::F64);
    let kinks = [0.0, 0.4, -0.4, 0.8, -0.5, 0.6, -0.6, 0.7, -0.7, 1.0, -1.0];
    let away = |v: f64| kinks.iter().fold(v, |v, k| if (v - k).abs() < 0.02 { k + 0.03 } else { v });
    let values: Vec<f64> = x.to_vec::<f64>().into_iter().map(away).collect();
    Array::from_slice(&values, shape).unwrap()
}

fn in_f64<T: Tree>(tree: &T) -> T {
    tree.map(|x| x.astype(Dtype::F64))
}

/// Compares reverse mode, along random directions, with central differences and with forward mode.
#[track_caller]
fn check<P: Tree>(name: &str, params: &P, loss: impl Fn(&P) -> Array) {
    let grads = grad(&loss)(params).unwrap().leaves();
    for seed in 0..3 {
        let mut count = 100 * seed;
        let direction = params.map(|x| {
            count += 1;
            sample(count, x.shape())
        });
        let moved = |step: f64| -> f64 {
            let mut steps = direction.leaves().into_iter();
            loss(&params.map(|x| x + steps.next().expect("of the same structure") * step)).item()
        };
        const STEP: f64 = 1e-4;
        let difference =
            (8.0 * (moved(STEP) - moved(-STEP)) - (moved(2.0 * STEP) - moved(-2.0 * STEP))) / (12.0 * STEP);
        let products = grads.iter().zip(direction.leaves()).map(|(g, d)| (g * d).sum().item::<f64>());
        let reverse: f64 = products.sum();
        let near = |a: f64, b: f64| (a - b).abs() <= 1e-7 * b.abs().max(1.0);
        assert!(near(reverse, difference), "{name}: reverse mode gives {reverse}, differences {difference}");
        let (_, forward) = jvp(&loss, params, &direction).unwrap();
        let forward: f64 = forward.item();
        assert!(near(forward, difference), "{name}: forward mode gives {forward}, differences {difference}");
    }
}

#[test]
fn activations() {
    type Function = fn(&Array) -> Array;
    let functions: [(&str, Function); 24] = [
        ("relu", nn::relu),
        ("relu2", nn::relu2),
        ("relu6", nn::relu6),
        ("leaky_relu", |x| nn::leaky_relu(x, 0.2)),
        ("elu", |x| nn::elu(x, 1.5)),
        ("celu", |x| nn::celu(x, 0.7)),
        ("selu", nn::selu),
        ("gelu", nn::gelu),
        ("gelu_approx", nn::gelu_approx),
        ("gelu_fast_approx", nn::gelu_fast_approx),
        ("silu", nn::silu),
        ("softplus", nn::softplus),
        ("softsign", nn::softsign),
        ("softshrink", |x| nn::softshrink(x, 0.4)),
        ("hard_shrink", |x| nn::hard_shrink(x, 0.4)),
        ("hardswish", nn::hardswish),
        ("hard_tanh", |x| nn::hard_tanh(x, -0.5, 0.8)),
        ("mish", nn::mish),
        ("log_sigmoid", nn::log_sigmoid),
        ("sigmoid", nn::sigmoid),
        ("tanh", nn::tanh),
        ("softmax", |x| nn::softmax(x, 0)),
        ("softmin", |x| nn::softmin(x, -1)),
        ("log_softmax", |x| nn::log_softmax(x, 1)),
    ];
    let (x, weight) = (sample(1, &[5, 6]), sample(2, &[5, 6]));
    for (name, f) in functions {
        check(name, &x, |x: &Array| (f(x) * &weight).sum());
    }
    check("glu", &x, |x: &Array| nn::glu(x, -1).square().sum());
    check("prelu", &(x, sample(3, &[6])), |(x, a): &(Array, Array)| (nn::prelu(x, a) * &weight).sum());
}

#[test]
fn activations_far_from_zero_have_finite_slopes() {
    let functions: [fn(&Array) -> Array; 13] = [
        |x| nn::elu(x, 1.0),
        |x| nn::celu(x, 2.0),
        nn::selu,
        nn::gelu,
        nn::gelu_approx,
        nn::gelu_fast_approx,
        nn::silu,
        nn::softplus,
        nn::softsign,
        nn::mish,
        nn::log_sigmoid,
        nn::hardswish,
        |x| nn::log_softmax(x, -1),
    ];
    let x = Array::new([-500.0f32, -89.0, 0.0, 89.0, 500.0]);
    for (i, f) in functions.into_iter().enumerate() {
        let (values, slopes) = (f(&x), grad(|x: &Array| f(x).sum())(&x).unwrap());
        assert!(values.isfinite().all().item::<bool>(), "function {i}: {:?}", values.to_vec::<f32>());
        assert!(slopes.isfinite().all().item::<bool>(), "function {i}: {:?}", slopes.to_vec::<f32>());
    }
}

#[test]
fn class_losses() {
    let (logits, classes) = (sample(4, &[5, 4]), Array::new([0, 3, 1, 1, 2]));
    let probabilities = nn::softmax(&sample(5, &[5, 4]), -1);
    let weights = nn::softplus(&sample(6, &[5]));
    let each = CrossEntropy { reduction: Reduction::Sum, ..CrossEntropy::default() };
    check("cross_entropy", &logits, |z: &Array| losses::cross_entropy(z, &classes, Reduction::Mean));
    check("cross_entropy, smoothed", &logits, |z: &Array| {
        losses::cross_entropy_with(z, &classes, &CrossEntropy { label_smoothing: 0.2, ..each })
    });
    // Targets and weights are arrays, too, and differentiate.
    check(
        "cross_entropy, all",
        &(logits.clone(), probabilities, weights),
        |(z, t, w): &(Array, Array, Array)| {
            losses::cross_entropy_with(z, t, &CrossEntropy { weights: Some(w), label_smoothing: 0.1, ..each })
        },
    );
    check("nll_loss", &logits, |z: &Array| {
        losses::nll_loss(&nn::log_softmax(z, -1), &classes, -1, Reduction::Mean)
    });

    let (p, t) = (nn::sigmoid(&sample(7, &[3, 4])), nn::sigmoid(&sample(8, &[3, 4])));
    let w = nn::softplus(&sample(9, &[3, 4]));
    for with_logits in [true, false] {
        let loss = |(p, t, w): &(Array, Array, Array)| {
            let options = BinaryCrossEntropy { weights: Some(w), with_logits, reduction: Reduction::Mean };
            losses::binary_cross_entropy_with(p, t, &options)
        };
        check("binary_cross_entropy", &(p.clone(), t.clone(), w.clone()), loss);
    }
}

#[test]
fn other_losses() {
    type Pair = (Array, Array);
    type Loss = fn(&Pair) -> Array;
    const MEAN: Reduction = Reduction::Mean;
    let two: [(&str, Loss); 9] = [
        ("mse", |(a, b)| losses::mse_loss(a, b, MEAN)),
        ("l1", |(a, b)| losses::l1_loss(a, b, MEAN)),
        ("smooth_l1", |(a, b)| losses::smooth_l1_loss(a, b, 0.7, MEAN)),
        ("huber", |(a, b)| losses::huber_loss(a, b, 0.6, MEAN)),
        ("kl_div", |(a, b)| losses::kl_div_loss(a, b, -1, MEAN)),
        ("log_cosh", |(a, b)| losses::log_cosh_loss(a, b, MEAN)),
        ("cosine", |(a, b)| losses::cosine_similarity_loss(a, b, 1, 1e-8, MEAN)),
        ("hinge", |(a, b)| losses::hinge_loss(a, b, Reduction::Sum)),
        ("gaussian_nll", |(a, b)| losses::gaussian_nll_loss(a, b, &nn::softplus(&(a * b)), true, 1e-6, MEAN)),
    ];
    let (a, b, c) = (sample(10, &[4, 3]), sample(11, &[4, 3]), sample(12, &[4, 3]));
    for (name, loss) in two {
        check(name, &(a.clone(), b.clone()), loss);
    }
    let signs = covector_core::ops::sign(&sample(13, &[4, 3]));
    check("margin", &(a.clone(), b.clone()), |(a, b): &Pair| {
        losses::margin_ranking_loss(a, b, &signs, 0.3, MEAN)
    });
    for p in [2.0, 3.0] {
        check("triplet", &(a.clone(), b.clone(), c.clone()), |(a, b, c): &(Array, Array, Array)| {
            losses::triplet_loss(a, b, c, -1, p, 2.0, 1e-6, MEAN)
        });
    }
}

#[test]
fn layers() {
    random::seed(1);
    let x = sample(20, &[3, 4]);
    let norm = LayerNorm { weight: Some(sample(21, &[4])), bias: Some(sample(22, &[4])), eps: 1e-3 };
    let rms = RmsNorm { weight: sample(23, &[4]), eps: 1e-3 };
    fn of<L: Layer + Tree>(name: &str, layer: &L, x: &Array) {
        let layer = in_f64(layer);
        check(name, &(layer, x.clone()), |(layer, x): &(L, Array)| layer.forward(x).sin().sum());
    }
    of("linear", &Linear::new(4, 5), &x);
    of("linear without bias", &Linear::without_bias(4, 5), &x);
    of("layer_norm", &norm, &x);
    of("rms_norm", &rms, &x);
    of("prelu", &Prelu::new(4), &x);
    of(
        "network",
        &(Linear::new(4, 6), Gelu, LayerNorm::new(6), Linear::new(6, 5), Tanh, Linear::new(5, 2)),
        &x,
    );
    of(
        "layers in a vector",
        &vec![Some((Linear::new(4, 4), Silu)), None, Some((Linear::new(4, 4), Silu))],
        &x,
    );
    let indices = Array::new([[0, 2, 2], [1, 0, 2]]);
    let net = in_f64(&(Embedding::new(3, 4), Linear::new(4, 2), Sigmoid));
    check("embedding", &net, |net: &(Embedding, Linear, Sigmoid)| net.forward(&indices).square().sum());
}

/// Each transform of a transform agrees with the loop or the sum that it stands for.
#[test]
fn layers_under_vmap_and_twice_differentiated() {
    random::seed(2);
    type Network = (Linear, LayerNorm, Gelu, Linear);
    let net: Network = in_f64(&(Linear::new(3, 5), LayerNorm::new(5), Gelu, Linear::new(5, 1)));
    let xs = sample(30, &[6, 3]);
    let loss = |net: &Network, x: &Array| net.forward(x).square().sum();
    let each = vmap(|x: &Array| grad(|net: &Network| loss(net, x))(&net).map(|g| g.leaves()))(&xs).unwrap();
    let total = grad(|net: &Network| loss(net, &xs))(&net).unwrap().leaves();
    for (each, total) in each.iter().zip(&total) {
        let sum = each.sum_axes(&[0], false);
        assert!(sum.allclose(total, 1e-9, 1e-9, false).item::<bool>());
    }
    let length = |net: &Network| {
        let grads = grad(|net: &Network| loss(net, &xs))(net).unwrap();
        grads.leaves().iter().map(|g| g.square().sum()).reduce(|a, b| a + b).unwrap()
    };
    check("length of the gradient", &net, length);
}

#[test]
fn certain_probabilities_have_finite_slopes() {
    let targets = Array::new([0.0f32, 1.0, 1.0, 0.0]);
    let options = BinaryCrossEntropy { with_logits: false, reduction: Reduction::Sum, ..Default::default() };
    let loss = |p: &Array| losses::binary_cross_entropy_with(p, &targets, &options);
    let slopes = grad(loss)(&Array::new([0.0f32, 1.0, 0.0, 1.0])).unwrap().to_vec::<f32>();
    // Right ones still have the slope of the logarithm; wrong ones are cut off.
    assert_eq!(slopes, [1.0, -1.0, 0.0, 0.0]);
}
