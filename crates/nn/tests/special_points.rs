//! Activations and losses at special points: zeros, kinks, equal arguments, certain targets, huge numbers and
//! infinities, to third order and in both modes, against closed forms.

use covector_core::transforms::{grad, jvp};
use covector_core::{Array, Dtype};
use covector_nn::functional as nn;
use covector_nn::losses::{self, Reduction};
use std::collections::BTreeSet;

const OPEN: f64 = f64::NAN;
const INF: f64 = f64::INFINITY;

/// The logistic function and its first two derivatives, without loss in the tails.
fn logistic(x: f64) -> [f64; 3] {
    let e = (-x.abs()).exp();
    let y = if x < 0.0 { e / (1.0 + e) } else { 1.0 / (1.0 + e) };
    let (s, t) = (e / (1.0 + e) / (1.0 + e), (0.5 * x).tanh());
    [y, s, -s * t]
}

fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// `x · σ(k x)`.
fn gated(x: f64, k: f64) -> [f64; 4] {
    let [y, s, c] = logistic(k * x);
    let t = (0.5 * k * x).tanh();
    let d = s * (t * t - 2.0 * s);
    let k2 = k * k;
    [x * y, y + x * k * s, 2.0 * k * s + x * k2 * c, 3.0 * k2 * c + x * k2 * k * d]
}

fn elu(x: f64, alpha: f64, rate: f64) -> [f64; 4] {
    if x > 0.0 {
        return [x, 1.0, 0.0, 0.0];
    }
    let e = (x * rate).exp() * alpha;
    [alpha * (x * rate).exp_m1(), e * rate, e * rate * rate, e * rate * rate * rate]
}

fn mish(x: f64) -> [f64; 4] {
    let ([y, s, c], t) = (logistic(x), softplus(x).tanh());
    let r = 1.0 - t * t;
    let t1 = r * y;
    let t2 = -2.0 * t * t1 * y + r * s;
    let t3 = -2.0 * (t1 * t1 * y + t * t2 * y + 2.0 * t * t1 * s) + r * c;
    [x * t, t + x * t1, 2.0 * t1 + x * t2, 3.0 * t2 + x * t3]
}

fn gelu_approx(x: f64) -> [f64; 4] {
    let k = (2.0 / std::f64::consts::PI).sqrt();
    let c = 0.044_715;
    let (t, u1, u2, u3) =
        ((k * (x + c * x * x * x)).tanh(), k * (1.0 + 3.0 * c * x * x), 6.0 * k * c * x, 6.0 * k * c);
    let s = 1.0 - t * t;
    let t1 = s * u1;
    let t2 = s * u2 - 2.0 * t * s * u1 * u1;
    let t3 = s * u3 - 6.0 * t * s * u1 * u2 + (6.0 * t * t - 2.0) * s * u1 * u1 * u1;
    [0.5 * x * (1.0 + t), 0.5 * (1.0 + t + x * t1), t1 + 0.5 * x * t2, 1.5 * t2 + 0.5 * x * t3]
}

type Jet = [f64; 4];

struct Activation {
    name: &'static str,
    f: fn(&Array) -> Array,
    jet: fn(f64) -> Jet,
    at: &'static [f64],
    /// Where it is not smooth: the convention.
    edges: &'static [(f64, Jet)],
}

fn entry(
    name: &'static str,
    f: fn(&Array) -> Array,
    jet: fn(f64) -> Jet,
    at: &'static [f64],
    edges: &'static [(f64, Jet)],
) -> Activation {
    Activation { name, f, jet, at, edges }
}

const FLAT: Jet = [0.0; 4];
const SMOOTH: &[f64] = &[0.0, -0.0, 1e-200, 1.0, -1.0, 3.0, -3.0];
const FAR: &[f64] = &[0.0, -0.0, 1.0, -1.0, 40.0, -40.0, 700.0, -700.0];

fn activations() -> Vec<Activation> {
    vec![
        entry(
            "relu",
            nn::relu,
            |x| if x > 0.0 { [x, 1.0, 0.0, 0.0] } else { FLAT },
            &[1e-300, -1e-300, 1e300, INF, -INF],
            &[(0.0, FLAT), (-0.0, FLAT)],
        ),
        entry(
            "relu2",
            nn::relu2,
            |x| if x > 0.0 { [x * x, 2.0 * x, 2.0, 0.0] } else { FLAT },
            &[1.0, 1e-150, -1.0],
            &[(0.0, FLAT)],
        ),
        entry(
            "relu6",
            nn::relu6,
            |x| if x > 0.0 && x < 6.0 { [x, 1.0, 0.0, 0.0] } else { [x.clamp(0.0, 6.0), 0.0, 0.0, 0.0] },
            &[1.0, -1.0, 7.0, 1e300],
            &[(0.0, FLAT), (6.0, [6.0, 0.0, 0.0, 0.0])],
        ),
        entry(
            "leaky_relu",
            |x| nn::leaky_relu(x, 0.1),
            |x| {
                if x > 0.0 { [x, 1.0, 0.0, 0.0] } else { [0.1 * x, 0.1, 0.0, 0.0] }
            },
            &[1.0, -1.0, 1e-300, -1e300],
            &[(0.0, [0.0, 1.0, 0.0, 0.0])],
        ),
        entry(
            "prelu",
            |x| nn::prelu(x, &Array::scalar(0.1)),
            |x| {
                if x > 0.0 { [x, 1.0, 0.0, 0.0] } else { [0.1 * x, 0.1, 0.0, 0.0] }
            },
            &[1.0, -1.0],
            &[(0.0, [0.0, 1.0, 0.0, 0.0])],
        ),
        entry(
            "elu",
            |x| nn::elu(x, 1.5),
            |x| elu(x, 1.5, 1.0),
            &[1.0, -1.0, -1e-20, -40.0, -700.0, 1e300, -INF],
            &[(0.0, [0.0, 1.5, 1.5, 1.5])],
        ),
        entry(
            "celu",
            |x| nn::celu(x, 0.5),
            |x| elu(x, 0.5, 2.0),
            &[1.0, -1.0, -1e-20, -40.0, 1e300, -INF],
            &[(0.0, [0.0, 1.0, 2.0, 4.0])],
        ),
        entry(
            "selu",
            nn::selu,
            |x| elu(x, 1.67326, 1.0).map(|v| v * 1.0507),
            &[1.0, -1.0, -40.0, 1e300],
            &[(0.0, [0.0, 1.67326 * 1.0507, 1.67326 * 1.0507, 1.67326 * 1.0507])],
        ),
        // The normal density at 0 is 0.3989…; at ±1 the distribution function is 0.8413… and 0.1586….
        entry(
            "gelu",
            nn::gelu,
            |x| {
                let p = (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt();
                let below = if x == 0.0 {
                    0.5
                } else if x > 0.0 {
                    0.841_344_746_068_542_9
                } else {
                    0.158_655_253_931_457_07
                };
                [x * below, below + x * p, (2.0 - x * x) * p, (x * x * x - 4.0 * x) * p]
            },
            &[0.0, -0.0, 1.0, -1.0],
            &[],
        ),
        entry("gelu_approx", nn::gelu_approx, gelu_approx, SMOOTH, &[]),
        entry("gelu_fast_approx", nn::gelu_fast_approx, |x| gated(x, 1.702), FAR, &[]),
        entry("silu", nn::silu, |x| gated(x, 1.0), FAR, &[]),
        entry(
            "softplus",
            nn::softplus,
            |x| {
                let [y, s, c] = logistic(x);
                [softplus(x), y, s, c]
            },
            FAR,
            &[(1e300, [1e300, 1.0, 0.0, 0.0]), (INF, [INF, 1.0, 0.0, 0.0]), (-INF, FLAT)],
        ),
        entry(
            "softsign",
            nn::softsign,
            |x| {
                let d = 1.0 + x.abs();
                [x / d, 1.0 / d / d, -2.0 * x.signum() / d / d / d, 6.0 / d / d / d / d]
            },
            &[1.0, -1.0, 1e-20, 100.0],
            &[(0.0, [0.0, 1.0, 0.0, OPEN])],
        ),
        entry(
            "softshrink",
            |x| nn::softshrink(x, 0.5),
            |x| {
                if x.abs() > 0.5 { [x - 0.5 * x.signum(), 1.0, 0.0, 0.0] } else { FLAT }
            },
            &[0.0, -0.0, 1.0, -1.0, 0.25],
            &[(0.5, FLAT), (-0.5, FLAT)],
        ),
        entry(
            "hard_shrink",
            |x| nn::hard_shrink(x, 0.5),
            |x| {
                if x.abs() > 0.5 { [x, 1.0, 0.0, 0.0] } else { FLAT }
            },
            &[0.0, -0.0, 1.0, -1.0, 0.25],
            &[(0.5, FLAT), (-0.5, FLAT)],
        ),
        entry(
            "hardswish",
            nn::hardswish,
            |x| match x {
                _ if x < -3.0 => FLAT,
                _ if x > 3.0 => [x, 1.0, 0.0, 0.0],
                _ => [x * (x + 3.0) / 6.0, (2.0 * x + 3.0) / 6.0, 1.0 / 3.0, 0.0],
            },
            &[0.0, -0.0, -1.5, 1.0, 4.0, -4.0],
            &[(-3.0, FLAT), (3.0, [3.0, 1.0, 0.0, 0.0])],
        ),
        entry(
            "hard_tanh",
            |x| nn::hard_tanh(x, -1.0, 1.0),
            |x| {
                if x.abs() < 1.0 { [x, 1.0, 0.0, 0.0] } else { [x.signum(), 0.0, 0.0, 0.0] }
            },
            &[0.0, -0.0, 2.0, -1e300],
            &[(1.0, [1.0, 0.0, 0.0, 0.0]), (-1.0, [-1.0, 0.0, 0.0, 0.0])],
        ),
        entry("mish", nn::mish, mish, &[0.0, -0.0, 1e-200, 1.0, -1.0, 3.0, -20.0], &[]),
        entry(
            "log_sigmoid",
            nn::log_sigmoid,
            |x| {
                let [y, s, c] = logistic(-x);
                [-softplus(-x), y, -s, c]
            },
            FAR,
            &[(-1e300, [-1e300, 1.0, 0.0, 0.0]), (INF, FLAT), (-INF, [-INF, 1.0, 0.0, 0.0])],
        ),
        entry(
            "sigmoid",
            nn::sigmoid,
            |x| {
                let ([y, s, c], t) = (logistic(x), (0.5 * x).tanh());
                [y, s, c, s * (t * t - 2.0 * s)]
            },
            FAR,
            &[],
        ),
    ]
}

#[track_caller]
fn assert_near(what: &str, found: &[f64], due: &[f64]) {
    assert_eq!(found.len(), due.len(), "{what}");
    for (i, (a, b)) in found.iter().zip(due).enumerate() {
        let near = b.is_nan() || a == b || (a - b).abs() <= 1e-9 * b.abs() || (*b == 0.0 && a.abs() < 1e-13);
        assert!(near, "{what}, element {i}: {a:e}, right {b:e} ({found:?} against {due:?})");
    }
}

fn reverse(f: impl Fn(&Array) -> Array) -> impl Fn(&Array) -> Array {
    move |x| grad(|x: &Array| f(x).sum())(x).unwrap()
}

fn forward(f: impl Fn(&Array) -> Array) -> impl Fn(&Array) -> Array {
    move |x| jvp(&f, x, &x.ones_like_self()).unwrap().1
}

trait Ones {
    fn ones_like_self(&self) -> Array;
}

impl Ones for Array {
    fn ones_like_self(&self) -> Array {
        covector_core::ops::ones_like(self)
    }
}

/// Value and derivatives by reverse mode alone, and with forward mode in between and outside.
#[track_caller]
fn check(name: &str, f: &dyn Fn(&Array) -> Array, x: &[f64], due: &[Jet]) {
    let x = Array::from_slice(x, &[x.len()]).unwrap();
    let column = |k: usize| due.iter().map(|jet| jet[k]).collect::<Vec<f64>>();
    let of = |g: &dyn Fn(&Array) -> Array| g(&x).to_vec::<f64>();
    assert_near(name, &of(f), &column(0));
    assert_near(&format!("{name}: first, reverse"), &of(&reverse(f)), &column(1));
    assert_near(&format!("{name}: first, forward"), &of(&forward(f)), &column(1));
    assert_near(&format!("{name}: second, reverse"), &of(&reverse(reverse(f))), &column(2));
    assert_near(&format!("{name}: second, forward over reverse"), &of(&forward(reverse(f))), &column(2));
    assert_near(&format!("{name}: third, reverse"), &of(&reverse(reverse(reverse(f)))), &column(3));
    assert_near(&format!("{name}: third, forward"), &of(&forward(forward(forward(f)))), &column(3));
}

#[test]
fn activations_have_their_closed_forms_at_special_points() {
    for Activation { name, f, jet, at, edges } in activations() {
        let mut points: Vec<(f64, Jet)> = at.iter().map(|&x| (x, jet(x))).collect();
        points.extend(edges);
        let (x, due): (Vec<f64>, Vec<Jet>) = points.into_iter().unzip();
        check(name, &f, &x, &due);
    }
}

#[test]
fn activations_of_large_numbers_are_no_larger_and_have_finite_slopes() {
    let sizes = [
        (Dtype::F16, [50.0f64, 300.0, 60000.0]),
        (Dtype::Bf16, [50.0, 1e20, 3e38]),
        (Dtype::F32, [50.0, 1e20, 3e38]),
        (Dtype::F64, [50.0, 1e160, 1.7e308]),
    ];
    for Activation { name, f, .. } in activations() {
        // A square that overflows is right to.
        if name == "relu2" {
            continue;
        }
        for (dtype, sizes) in sizes {
            for size in sizes.iter().flat_map(|&v| [v, -v]) {
                let x = Array::new([size]).astype(dtype);
                let number = |x: &Array| x.astype(Dtype::F64).to_vec::<f64>()[0];
                let (value, slope) = (number(&f(&x)), number(&reverse(f)(&x)));
                let bent = number(&reverse(reverse(f))(&x));
                assert!(value.abs() <= 1.1 * size.abs().max(2.0), "{name}({size:e}) in {dtype}: {value:e}");
                assert!(slope.abs() <= 1.1, "{name}'({size:e}) in {dtype}: {slope:e}");
                // Twice the largest number overflows on the way to a curvature.
                let largest = size.abs() == sizes[2];
                assert!(largest || bent.abs() <= 0.5, "{name}''({size:e}) in {dtype}: {bent:e}");
            }
        }
    }
}

type Loss = fn(&Array, &Array) -> Array;

/// A loss of a prediction and a target: value, then the derivatives in `p, t, pp, pt, tt, ppp, ppt, ptt, ttt`.
struct LossAt {
    name: &'static str,
    f: Loss,
    jet: fn(f64, f64) -> [f64; 10],
    at: &'static [(f64, f64)],
    edges: &'static [((f64, f64), [f64; 10])],
}

/// Derivatives of a function of the difference.
fn of_difference([f, a, b, c]: Jet) -> [f64; 10] {
    [f, a, -a, b, -b, b, c, -c, c, -c]
}

fn pairs() -> Vec<LossAt> {
    const EACH: Reduction = Reduction::None;
    vec![
        LossAt {
            name: "binary_cross_entropy",
            f: |p, t| losses::binary_cross_entropy(p, t, EACH),
            jet: |x, t| {
                let [y, s, c] = logistic(x);
                // Without loss for certain targets.
                let value = t * softplus(-x) + (1.0 - t) * softplus(x);
                let slope = (1.0 - t) * y - t * logistic(-x)[0];
                [value, slope, -x, s, -1.0, 0.0, c, 0.0, 0.0, 0.0]
            },
            at: &[
                (0.0, 0.0),
                (0.0, 1.0),
                (-0.0, 0.5),
                (1.0, 0.25),
                (20.0, 1.0),
                (-20.0, 0.0),
                (3.0, 0.0),
                (-2.0, 1.0),
            ],
            edges: &[
                (
                    (40.0, 1.0),
                    [
                        4.248_354_255_291_589e-18,
                        -4.248_354_255_291_589e-18,
                        -40.0,
                        4.248_354_255_291_589e-18,
                        -1.0,
                        OPEN,
                        OPEN,
                        OPEN,
                        OPEN,
                        OPEN,
                    ],
                ),
                ((1e300, 1.0), [0.0, 0.0, OPEN, 0.0, OPEN, OPEN, 0.0, OPEN, OPEN, OPEN]),
                ((1e300, 0.0), [1e300, 1.0, OPEN, 0.0, OPEN, OPEN, 0.0, OPEN, OPEN, OPEN]),
                ((-1e300, 0.0), [0.0, 0.0, OPEN, 0.0, OPEN, OPEN, 0.0, OPEN, OPEN, OPEN]),
            ],
        },
        LossAt {
            name: "mse_loss",
            f: |p, t| losses::mse_loss(p, t, EACH),
            jet: |p, t| of_difference([(p - t) * (p - t), 2.0 * (p - t), 2.0, 0.0]),
            at: &[(0.0, 0.0), (1.0, 1.0), (2.0, -1.0)],
            edges: &[],
        },
        LossAt {
            name: "l1_loss",
            f: |p, t| losses::l1_loss(p, t, EACH),
            jet: |p, t| of_difference([(p - t).abs(), (p - t).signum(), 0.0, 0.0]),
            at: &[(1.0, 0.0), (0.0, 1e300)],
            edges: &[((1.0, 1.0), [0.0; 10])],
        },
        LossAt {
            name: "smooth_l1_loss",
            f: |p, t| losses::smooth_l1_loss(p, t, 2.0, EACH),
            jet: |p, t| {
                let d: f64 = p - t;
                of_difference(if d.abs() < 2.0 {
                    [d * d / 4.0, d / 2.0, 0.5, 0.0]
                } else {
                    [d.abs() - 1.0, d.signum(), 0.0, 0.0]
                })
            },
            at: &[(0.0, 0.0), (1.0, 1.0), (2.0, 1.0), (4.0, 1.0), (-1e300, 0.0)],
            // At beta the straight line begins.
            edges: &[((3.0, 1.0), [1.0, 1.0, -1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])],
        },
        LossAt {
            name: "huber_loss",
            f: |p, t| losses::huber_loss(p, t, 2.0, EACH),
            jet: |p, t| {
                let d: f64 = p - t;
                of_difference(if d.abs() <= 2.0 {
                    [d * d / 2.0, d, 1.0, 0.0]
                } else {
                    [2.0 * d.abs() - 2.0, 2.0 * d.signum(), 0.0, 0.0]
                })
            },
            at: &[(0.0, 0.0), (1.0, 1.0), (2.0, 1.0), (4.0, 1.0), (-1e300, 0.0)],
            // At delta the square still counts.
            edges: &[((3.0, 1.0), [2.0, 2.0, -2.0, 1.0, -1.0, 1.0, 0.0, 0.0, 0.0, 0.0])],
        },
        LossAt {
            name: "log_cosh_loss",
            f: |p, t| losses::log_cosh_loss(p, t, EACH),
            jet: |p, t| {
                let d: f64 = p - t;
                let s = 1.0 / (d.cosh() * d.cosh());
                let value = if d.abs() < 1e-3 { 0.5 * d * d } else { d.cosh().ln() };
                of_difference([value, d.tanh(), s, -2.0 * d.tanh() * s])
            },
            at: &[(0.0, 0.0), (1.0, 1.0), (1e-5, 0.0), (2.0, 1.0), (-1.0, 1.0)],
            edges: &[((1e300, 0.0), [1e300, 1.0, -1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])],
        },
        LossAt {
            name: "gaussian_nll_loss",
            f: |p, v| losses::gaussian_nll_loss(p, &(p * 0.0), v, false, 1e-6, EACH),
            jet: |p, v| {
                let r = 1.0 / v;
                [
                    0.5 * (v.ln() + p * p * r),
                    p * r,
                    0.5 * r - 0.5 * p * p * r * r,
                    r,
                    -p * r * r,
                    -0.5 * r * r + p * p * r * r * r,
                    0.0,
                    -r * r,
                    2.0 * p * r * r * r,
                    r * r * r - 3.0 * p * p * r * r * r * r,
                ]
            },
            at: &[(0.0, 1.0), (1.0, 1.0), (-2.0, 0.5)],
            edges: &[
                // At eps the variance is the constant.
                ((0.0, 1e-6), [-6.907_755_278_982_137, 0.0, 0.0, 1e6, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
                ((1e200, 1e200), [0.5e200, 1.0, -0.5, 1e-200, -1e-200, OPEN, 0.0, 0.0, 0.0, 0.0]),
            ],
        },
        LossAt {
            name: "kl_div_loss",
            f: |p, t| {
                let column = |x: &Array| x.reshape(&[-1, 1]);
                losses::kl_div_loss(&column(p), &column(t), 1, EACH)
            },
            jet: |p, t| {
                let e = t.exp();
                let d = t - p;
                [e * d, -e, e * (d + 1.0), 0.0, -e, e * (d + 2.0), 0.0, 0.0, -e, e * (d + 3.0)]
            },
            at: &[(0.0, 0.0), (-1.0, -1.0), (-2.0, -0.5), (-1e300, -1e3)],
            edges: &[((-1.0, -INF), [0.0; 10]), ((-INF, -INF), [0.0; 10])],
        },
        LossAt {
            name: "hinge_loss",
            f: |p, t| losses::hinge_loss(p, t, EACH),
            jet: |p, t| {
                if p * t < 1.0 {
                    [1.0 - p * t, -t, -p, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 0.0]
                } else {
                    [0.0; 10]
                }
            },
            at: &[(0.0, 1.0), (0.5, -1.0), (2.0, 1.0)],
            edges: &[((1.0, 1.0), [0.0; 10])],
        },
        LossAt {
            name: "margin_ranking_loss",
            f: |a, b| losses::margin_ranking_loss(a, b, &covector_core::ops::ones_like(a), 0.5, EACH),
            jet: |a, b| {
                if b - a + 0.5 > 0.0 {
                    [b - a + 0.5, -1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
                } else {
                    [0.0; 10]
                }
            },
            at: &[(0.0, 0.0), (1.0, 1.0), (2.0, 1.0)],
            edges: &[((1.5, 1.0), [0.0; 10])],
        },
    ]
}

#[test]
fn losses_have_their_closed_forms_at_special_points() {
    for LossAt { name, f, jet, at, edges } in pairs() {
        let mut points: Vec<((f64, f64), [f64; 10])> = at.iter().map(|&(p, t)| ((p, t), jet(p, t))).collect();
        points.extend(edges);
        let (x, due): (Vec<(f64, f64)>, Vec<[f64; 10]>) = points.into_iter().unzip();
        let (p, t): (Vec<f64>, Vec<f64>) = x.into_iter().unzip();
        let array = |v: &[f64]| Array::from_slice(v, &[v.len()]).unwrap();
        let jets = |places: [usize; 4]| -> Vec<Jet> { due.iter().map(|d| places.map(|k| d[k])).collect() };
        // In the prediction; in the target; the derivative in the prediction, differentiated in the target; and in turn.
        let (predictions, targets) = (array(&p), array(&t));
        check(name, &|p| f(p, &targets), &p, &jets([0, 1, 3, 6]));
        check(name, &|t| f(&predictions, t), &t, &jets([0, 2, 5, 9]));
        let mixed = |t: &Array| reverse(|p| f(p, t))(&predictions);
        let found = [reverse(mixed)(&targets), reverse(reverse(mixed))(&targets)];
        for (found, k) in found.iter().zip([4, 8]) {
            assert_near(
                &format!("{name}, mixed {k}"),
                &found.to_vec::<f64>(),
                &due.iter().map(|d| d[k]).collect::<Vec<_>>(),
            );
        }
        let mixed = |p: &Array| forward(|t| f(p, t))(&targets);
        let found = [reverse(mixed)(&predictions), reverse(reverse(mixed))(&predictions)];
        for (found, k) in found.iter().zip([4, 7]) {
            assert_near(
                &format!("{name}, mixed {k}"),
                &found.to_vec::<f64>(),
                &due.iter().map(|d| d[k]).collect::<Vec<_>>(),
            );
        }
    }
}

/// Functions whose special points are not those of one number, and the test that has them; or why they have none.
const ELSEWHERE: [(&str, &str); 14] = [
    ("softmax", "crates/core/tests/special_structures.rs"),
    ("softmin", "softmax of the negative"),
    ("log_softmax", "log_probabilities_keep_their_digits_at_any_magnitude"),
    ("step", "has no gradient"),
    ("glu", "a product with sigmoid"),
    ("linear", "bilinear"),
    ("embedding", "linear in the table"),
    ("dropout", "linear"),
    ("cross_entropy", "cross_entropies_are_smooth_at_ties_and_beside_minus_infinity"),
    ("cross_entropy_with", "as cross_entropy"),
    ("binary_cross_entropy_with", "as binary_cross_entropy; limited logarithms are documented to be flat"),
    ("nll_loss", "linear"),
    ("cosine_similarity_loss", "cosines_of_zero_and_of_huge_vectors"),
    ("triplet_loss", "triplets_of_equal_points_have_finite_gradients"),
];

#[test]
fn every_activation_and_loss_has_special_points_or_a_reason() {
    let mut listed: BTreeSet<String> = activations().iter().map(|a| a.name.to_owned()).collect();
    listed.extend(pairs().iter().map(|l| l.name.to_owned()));
    listed.extend(ELSEWHERE.iter().map(|(name, _)| (*name).to_owned()));
    let mut found = covector_nn::ACTIVATIONS.len();
    // Sigmoid and tanh are the core's, and have their special points there.
    listed.extend(["sigmoid", "tanh"].map(str::to_owned));
    for spec in covector_nn::ACTIVATIONS {
        assert!(listed.contains(spec.function), "{} has no special points here", spec.function);
    }
    for file in ["functional.rs", "losses.rs"] {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(file);
        let text = std::fs::read_to_string(path).unwrap();
        for line in text.lines() {
            let Some(name) = line.trim_start().strip_prefix("pub fn ") else { continue };
            let name = name.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
            if name.starts_with("try_") || name == "named" {
                continue;
            }
            assert!(listed.contains(name), "{name} of {file} has no special points here");
            found += 1;
        }
    }
    assert!(found > 35, "only {found} functions were found: the scan is broken");
}
