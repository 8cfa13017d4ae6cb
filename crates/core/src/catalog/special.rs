//! Special points of the elementwise functions: zeros of either sign, equal arguments, integers, the edges of the
//! domain, infinities, huge and tiny numbers, with closed forms of the derivatives to third order.
//!
//! A rule may be right nearly everywhere and still lose a higher derivative at such a point, where a guard of the first
//! one takes the other branch. The suite in `tests/special_points.rs` compares every row with its closed form here; a
//! row without an entry fails it.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, FRAC_PI_2, LN_2, LN_10, PI, SQRT_2};

/// A number that the suite does not compare: there is no derivative, and no convention either.
pub const OPEN: f64 = f64::NAN;

/// The value and the first three derivatives.
pub type Jet = [f64; 4];

/// The value and all derivatives to third order: `f, a, b, aa, ab, bb, aaa, aab, abb, bbb`.
pub type Jet2 = [f64; 10];

/// How a function behaves at its special points.
pub enum Special {
    /// One argument.
    One {
        /// The closed form.
        jet: fn(f64) -> Jet,
        /// Points where it holds.
        at: &'static [f64],
        /// Points where the function is not smooth, and the convention or the limit there.
        edges: &'static [(f64, Jet)],
    },
    /// Two arguments.
    Two {
        /// The closed form.
        jet: fn(f64, f64) -> Jet2,
        /// Points where it holds.
        at: &'static [(f64, f64)],
        /// Points where the function is not smooth, and the convention or the limit there.
        edges: &'static [((f64, f64), Jet2)],
    },
    /// No points, for the reason given.
    None(&'static str),
}

const INF: f64 = f64::INFINITY;
const STEP: &str = "a step: its derivative is zero wherever it exists";
const TRUTH: &str = "its result is a truth value or an integer, which has no derivative";

fn one(jet: fn(f64) -> Jet, at: &'static [f64], edges: &'static [(f64, Jet)]) -> Special {
    Special::One { jet, at, edges }
}

fn two(
    jet: fn(f64, f64) -> Jet2,
    at: &'static [(f64, f64)],
    edges: &'static [((f64, f64), Jet2)],
) -> Special {
    Special::Two { jet, at, edges }
}

/// `1 − x²` without loss near ±1.
fn complement(x: f64) -> f64 {
    (1.0 - x) * (1.0 + x)
}

/// The slope of the logistic function without loss in its tails.
fn logistic_slope(x: f64) -> f64 {
    let e = (-x.abs()).exp();
    e / (1.0 + e) / (1.0 + e)
}

/// `x → factor · log x`.
fn logarithm(x: f64, factor: f64) -> Jet {
    [factor * x.ln(), factor / x, -factor / (x * x), 2.0 * factor / (x * x * x)]
}

fn hypot(a: f64, b: f64) -> Jet2 {
    let h = a.hypot(b);
    let (c, s) = (a / h, b / h);
    let (h2, cs) = (h * h, c * s);
    [
        h,
        c,
        s,
        s * s / h,
        -cs / h,
        c * c / h,
        -3.0 * cs * s / h2,
        s * (2.0 * c * c - s * s) / h2,
        c * (2.0 * s * s - c * c) / h2,
        -3.0 * cs * c / h2,
    ]
}

const HYPOT_AT: &[(f64, f64)] = &[
    (0.0, 2.0),
    (2.0, 0.0),
    (-0.0, 2.0),
    (0.0, -2.0),
    (1.0, 1.0),
    (3.0, -4.0),
    (1e-8, 1.0),
    (1e100, 1e100),
    (0.0, 1e-90),
];
const HYPOT_EDGES: &[((f64, f64), Jet2)] = &[
    ((0.0, 0.0), [0.0, 0.0, 0.0, OPEN, OPEN, OPEN, OPEN, OPEN, OPEN, OPEN]),
    ((1e300, 1e300), [SQRT_2 * 1e300, FRAC_1_SQRT_2, FRAC_1_SQRT_2, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
    ((INF, 1.0), [INF, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
    ((-2.0, -INF), [INF, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
];

/// The special points of the row of this name; `None` for a name that nobody has looked at yet.
#[allow(clippy::too_many_lines, reason = "a table")]
pub fn special(name: &str) -> Option<Special> {
    Some(match name {
        "negative" => one(|x| [-x, -1.0, 0.0, 0.0], &[0.0, -0.0, 1e300, INF], &[]),
        "real_abs" => one(
            |x| [x.abs(), x.signum(), 0.0, 0.0],
            &[1e-300, -1e-300, INF, -INF],
            &[(0.0, [0.0; 4]), (-0.0, [0.0; 4])],
        ),
        "square" => one(|x| [x * x, 2.0 * x, 2.0, 0.0], &[0.0, -0.0, 1.0, -3.0, 1e150, 1e-150], &[]),
        "complement" => one(
            |x| [complement(x), -2.0 * x, -2.0, 0.0],
            &[0.0, -0.0, 1.0, -1.0, 1.0 - 1e-12, 1e-12 - 1.0, 1e-200, 1e100],
            &[],
        ),
        "sqrt" => one(
            |x| {
                let y = x.sqrt();
                [y, 0.5 / y, -0.25 / (x * y), 0.375 / (x * x * y)]
            },
            &[1.0, 4.0, 1e-100, 1e100],
            &[(0.0, [0.0, INF, -INF, OPEN]), (INF, [INF, 0.0, 0.0, 0.0]), (1e300, [1e150, 5e-151, 0.0, 0.0])],
        ),
        "rsqrt" => one(
            |x| {
                let y = 1.0 / x.sqrt();
                [y, -0.5 * y / x, 0.75 * y / x / x, -1.875 * y / x / x / x]
            },
            &[1.0, 4.0, 1e-80, 1e80],
            &[(0.0, [INF, -INF, OPEN, OPEN]), (INF, [0.0, 0.0, 0.0, 0.0])],
        ),
        "reciprocal" => one(
            |x| [1.0 / x, -1.0 / (x * x), 2.0 / (x * x * x), -6.0 / (x * x) / (x * x)],
            &[1.0, -2.0, 1e60, -1e-60],
            &[(0.0, [INF, -INF, INF, -INF]), (INF, [0.0; 4]), (-INF, [0.0; 4])],
        ),
        "exp" => one(|x| [x.exp(); 4], &[0.0, -0.0, 1.0, -40.0, 700.0, -700.0, -INF, INF], &[]),
        "exp2" => one(
            |x| [x.exp2(), x.exp2() * LN_2, x.exp2() * LN_2 * LN_2, x.exp2() * LN_2 * LN_2 * LN_2],
            &[0.0, -0.0, 1.0, -3.0, 1000.0, -1000.0, -INF],
            &[],
        ),
        "expm1" => one(
            |x| [x.exp_m1(), x.exp(), x.exp(), x.exp()],
            &[0.0, -0.0, 1e-20, -1e-20, -40.0, -700.0, 700.0, -INF],
            &[],
        ),
        "log" => one(
            |x| logarithm(x, 1.0),
            &[1.0, 1e-100, 1e100],
            &[(0.0, [-INF, INF, -INF, INF]), (INF, [INF, 0.0, 0.0, 0.0])],
        ),
        "log2" => one(
            |x| logarithm(x, 1.0 / LN_2),
            &[1.0, 8.0, 1e-90, 1e90],
            &[(0.0, [-INF, INF, -INF, INF]), (INF, [INF, 0.0, 0.0, 0.0])],
        ),
        "log10" => one(
            |x| logarithm(x, 1.0 / LN_10),
            &[1.0, 1000.0, 1e-90, 1e90],
            &[(0.0, [-INF, INF, -INF, INF]), (INF, [INF, 0.0, 0.0, 0.0])],
        ),
        "log1p" => one(
            |x| {
                let u = 1.0 + x;
                [x.ln_1p(), 1.0 / u, -1.0 / (u * u), 2.0 / (u * u * u)]
            },
            &[0.0, -0.0, 1e-20, -0.5, 1e100],
            &[(-1.0, [-INF, INF, -INF, INF]), (INF, [INF, 0.0, 0.0, 0.0])],
        ),
        "sin" => one(|x| [x.sin(), x.cos(), -x.sin(), -x.cos()], &[0.0, -0.0, 1e-200, 1.0, -1e6], &[]),
        "cos" => one(|x| [x.cos(), -x.sin(), -x.cos(), x.sin()], &[0.0, -0.0, 1e-200, 1.0, -1e6], &[]),
        "tan" => one(
            |x| {
                let (t, s) = (x.tan(), 1.0 + x.tan() * x.tan());
                [t, s, 2.0 * t * s, 2.0 * s * (1.0 + 3.0 * t * t)]
            },
            &[0.0, -0.0, 1e-200, 1.0, 1.57],
            &[],
        ),
        "sinh" => one(|x| [x.sinh(), x.cosh(), x.sinh(), x.cosh()], &[0.0, -0.0, 1e-200, -20.0, 700.0], &[]),
        "cosh" => one(|x| [x.cosh(), x.sinh(), x.cosh(), x.sinh()], &[0.0, -0.0, 1e-200, -20.0, 700.0], &[]),
        "tanh" => one(
            |x| {
                let (t, s) = (x.tanh(), 1.0 / (x.cosh() * x.cosh()));
                [t, s, -2.0 * t * s, s * (6.0 * t * t - 2.0)]
            },
            &[0.0, -0.0, 1e-200, 1.0, -3.0],
            &[(INF, [1.0, 0.0, 0.0, 0.0]), (-1e300, [-1.0, 0.0, 0.0, 0.0])],
        ),
        "arcsin" => one(
            |x| {
                let w = complement(x);
                [x.asin(), w.powf(-0.5), x * w.powf(-1.5), (1.0 + 2.0 * x * x) * w.powf(-2.5)]
            },
            &[0.0, -0.0, 1e-200, 0.5, 1.0 - 1e-12, 1e-12 - 1.0],
            &[(1.0, [FRAC_PI_2, INF, OPEN, OPEN]), (-1.0, [-FRAC_PI_2, INF, OPEN, OPEN])],
        ),
        "arccos" => one(
            |x| {
                let w = complement(x);
                [x.acos(), -w.powf(-0.5), -x * w.powf(-1.5), -(1.0 + 2.0 * x * x) * w.powf(-2.5)]
            },
            &[0.0, -0.0, 1e-200, 0.5, 1.0 - 1e-12, 1e-12 - 1.0],
            &[(1.0, [0.0, -INF, OPEN, OPEN]), (-1.0, [PI, -INF, OPEN, OPEN])],
        ),
        "arctan" => one(
            |x| {
                let u = 1.0 + x * x;
                [x.atan(), 1.0 / u, -2.0 * x / (u * u), (6.0 * x * x - 2.0) / (u * u * u)]
            },
            &[0.0, -0.0, 1e-200, 1.0, -1.0, 1e40],
            &[(1e200, [FRAC_PI_2, 0.0, 0.0, 0.0]), (-INF, [-FRAC_PI_2, 0.0, OPEN, OPEN])],
        ),
        "arcsinh" => one(
            |x| {
                let h = x.hypot(1.0);
                let c = x / h;
                [x.asinh(), 1.0 / h, -c / h / h, (2.0 * c * c - 1.0 / h / h) / h / h / h]
            },
            &[0.0, -0.0, 1e-200, 1.0, -1.0, 1e60],
            &[(1e200, [461.210_165_771_735_5, 1e-200, 0.0, 0.0]), (-INF, [-INF, 0.0, 0.0, 0.0])],
        ),
        "arccosh" => one(
            |x| {
                let w = (x - 1.0) * (x + 1.0);
                [x.acosh(), w.powf(-0.5), -x * w.powf(-1.5), (2.0 * x * x + 1.0) * w.powf(-2.5)]
            },
            &[2.0, 1.0 + 1e-6, 1e50],
            &[(1.0, [0.0, INF, OPEN, OPEN]), (INF, [INF, 0.0, OPEN, OPEN])],
        ),
        "arctanh" => one(
            |x| {
                let w = complement(x);
                [x.abs().atanh().copysign(x), 1.0 / w, 2.0 * x / (w * w), (2.0 + 6.0 * x * x) / (w * w * w)]
            },
            &[0.0, -0.0, 1e-200, 0.5, 1.0 - 1e-12, 1e-12 - 1.0],
            &[(1.0, [INF, INF, OPEN, OPEN]), (-1.0, [-INF, INF, OPEN, OPEN])],
        ),
        "erf" => one(
            |x| {
                let c = FRAC_2_SQRT_PI * (-x * x).exp();
                [OPEN, c, -2.0 * x * c, (4.0 * x * x - 2.0) * c]
            },
            &[0.0, -0.0, 1e-200, 1.0, -5.0, 20.0],
            &[(0.0, [0.0, FRAC_2_SQRT_PI, 0.0, -2.0 * FRAC_2_SQRT_PI]), (INF, [1.0, 0.0, OPEN, OPEN])],
        ),
        "erfinv" => one(
            // At the points below it is x · √π/2, to double precision.
            |x| {
                let k = 1.0 / FRAC_2_SQRT_PI;
                [k * x, k, 2.0 * k * x * k * k, 2.0 * k * k * k]
            },
            &[0.0, -0.0, 1e-100, -1e-20],
            &[(1.0, [INF, INF, OPEN, OPEN]), (-1.0, [-INF, INF, OPEN, OPEN])],
        ),
        "sigmoid" | "logistic" => one(
            |x| {
                let (s, t) = (logistic_slope(x), (0.5 * x).tanh());
                let y = if x < 0.0 { x.exp() / (1.0 + x.exp()) } else { 1.0 / (1.0 + (-x).exp()) };
                [y, s, -s * t, s * (t * t - 2.0 * s)]
            },
            &[0.0, -0.0, 1.0, -1.0, 20.0, -20.0, 40.0, -40.0, 700.0, -700.0],
            &[(INF, [1.0, 0.0, 0.0, 0.0]), (-INF, [0.0; 4])],
        ),
        "sigmoid_tail" => one(
            |x| {
                let (s, t) = (logistic_slope(x), (0.5 * x).tanh());
                [if x < 0.0 { share(x) } else { -share(-x) }, s, -s * t, s * (t * t - 2.0 * s)]
            },
            // The jump at 0 is none to its derivatives.
            &[0.0, -0.0, 1.0, -1.0, 20.0, -20.0, 40.0, -40.0, 700.0, -700.0],
            &[(INF, [-0.0, 0.0, 0.0, 0.0]), (-INF, [0.0; 4])],
        ),
        "sigmoid_of_tail" => one(
            |w| [if w.is_sign_negative() { 1.0 + w } else { w }, 1.0, 0.0, 0.0],
            &[0.0, -0.0, 0.5, -0.5, 1e-300, -1e-300],
            &[],
        ),
        "slope_of_tail" => {
            one(|w| [w.abs() - w * w, w.signum() - 2.0 * w, -2.0, 0.0], &[0.5, -0.5, 1e-300, -1e-300], &[])
        }
        "sigmoid_slope" => one(
            |x| {
                let (s, t) = (logistic_slope(x), (0.5 * x).tanh());
                [s, -s * t, s * (t * t - 2.0 * s), s * t * (8.0 * s - t * t)]
            },
            &[0.0, -0.0, 1e-200, 1.0, -1.0, 20.0, -20.0, 40.0, -40.0, 700.0, -700.0],
            &[(INF, [0.0; 4]), (-INF, [0.0; 4])],
        ),
        "log_cosh" => one(
            |x| {
                let (t, s) = (x.tanh(), 1.0 / (x.cosh() * x.cosh()));
                let y = if x.abs() < 1e-3 { 0.5 * x * x } else { x.cosh().ln() };
                [y, t, s, -2.0 * t * s]
            },
            &[0.0, -0.0, 1e-100, 1e-6, 1.0, -3.0],
            &[(1e300, [1e300, 1.0, 0.0, 0.0]), (-INF, [INF, -1.0, 0.0, 0.0])],
        ),
        "add" => two(
            |a, b| [a + b, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
            &[(0.0, 0.0), (1.0, -1.0), (INF, 1.0)],
            &[],
        ),
        "subtract" => two(
            |a, b| [a - b, 1.0, -1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
            &[(0.0, 0.0), (1.0, 1.0), (INF, 1.0)],
            &[],
        ),
        "multiply" => two(
            |a, b| [a * b, b, a, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0],
            &[(0.0, 0.0), (0.0, 3.0), (-0.0, 1e300), (2.0, 2.0)],
            &[],
        ),
        "divide" => two(
            |a, b| {
                let (q, r) = (a / b, 1.0 / b);
                [q, r, -q * r, 0.0, -r * r, 2.0 * q * r * r, 0.0, 0.0, 2.0 * r * r * r, -6.0 * q * r * r * r]
            },
            &[(0.0, 1.0), (-0.0, -2.0), (1.0, 1.0), (1e100, 1e100), (1e-100, 1e-90)],
            &[((1.0, INF), [0.0; 10]), ((1.0, 0.0), [INF, INF, -INF, 0.0, -INF, INF, 0.0, 0.0, INF, -INF])],
        ),
        "remainder" => two(
            |a, b| [a - b * (a / b).floor(), 1.0, -(a / b).floor(), 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
            &[(0.5, 1.0), (-0.5, 2.0), (5.5, -2.0)],
            // On a jump, the side of the values that follow.
            &[((4.0, 2.0), [0.0, 1.0, -2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])],
        ),
        "power" => two(
            |a, b| {
                let (p, l) = (|n: f64| a.powf(b - n), a.ln());
                [
                    p(0.0),
                    b * p(1.0),
                    p(0.0) * l,
                    b * (b - 1.0) * p(2.0),
                    p(1.0) * (1.0 + b * l),
                    p(0.0) * l * l,
                    b * (b - 1.0) * (b - 2.0) * p(3.0),
                    p(2.0) * ((b - 1.0) * (1.0 + b * l) + b),
                    p(1.0) * l * (2.0 + b * l),
                    p(0.0) * l * l * l,
                ]
            },
            &[
                (2.0, 0.0),
                (2.0, -0.0),
                (1.0, 0.0),
                (1.0, 1.0),
                (0.5, -1.0),
                (3.0, 2.0),
                (2.0, 3.0),
                (1e-5, 2.0),
                (1e-20, 0.0),
            ],
            &[
                ((0.0, 0.0), [1.0, 0.0, 0.0, 0.0, OPEN, 0.0, 0.0, OPEN, OPEN, 0.0]),
                ((0.0, 1.0), [0.0, 1.0, 0.0, 0.0, OPEN, 0.0, 0.0, OPEN, OPEN, 0.0]),
                ((0.0, 2.0), [0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0, OPEN, 0.0, 0.0]),
                ((-0.0, 3.0), [-0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 6.0, 0.0, 0.0, 0.0]),
                ((0.0, 1.5), [0.0, 0.0, 0.0, INF, 0.0, 0.0, -INF, OPEN, 0.0, 0.0]),
                ((0.0, -1.0), [INF, -INF, -INF, INF, OPEN, OPEN, -INF, OPEN, OPEN, OPEN]),
                // A negative base has derivatives in the base alone.
                ((-2.0, 3.0), [-8.0, 12.0, OPEN, -12.0, OPEN, OPEN, 6.0, OPEN, OPEN, OPEN]),
                ((-2.0, -1.0), [-0.5, -0.25, OPEN, -0.25, OPEN, OPEN, -0.375, OPEN, OPEN, OPEN]),
                ((-2.0, 0.0), [1.0, 0.0, OPEN, 0.0, OPEN, OPEN, 0.0, OPEN, OPEN, OPEN]),
            ],
        ),
        "maximum" => two(
            |a, b| [a.max(b), f64::from(a > b), f64::from(b > a), 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
            &[(1.0, 2.0), (2.0, 1.0), (0.0, -1e-300), (-INF, 0.0)],
            &[((1.0, 1.0), [1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])],
        ),
        "minimum" => two(
            |a, b| [a.min(b), f64::from(a < b), f64::from(b < a), 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
            &[(1.0, 2.0), (2.0, 1.0), (0.0, -1e-300), (INF, 0.0)],
            &[((1.0, 1.0), [1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])],
        ),
        "arctan2" => two(
            |a, b| {
                let h = a.hypot(b);
                let (s, c) = (a / h, b / h);
                let (h2, h3) = (h * h, h * h * h);
                [
                    a.atan2(b),
                    c / h,
                    -s / h,
                    -2.0 * s * c / h2,
                    (s * s - c * c) / h2,
                    2.0 * s * c / h2,
                    2.0 * c * (3.0 * s * s - c * c) / h3,
                    2.0 * s * (3.0 * c * c - s * s) / h3,
                    2.0 * c * (c * c - 3.0 * s * s) / h3,
                    2.0 * s * (s * s - 3.0 * c * c) / h3,
                ]
            },
            &[
                (0.0, 1.0),
                (-0.0, 1.0),
                (0.0, -1.0),
                (1.0, 0.0),
                (-1.0, 0.0),
                (1.0, 1.0),
                (2.0, -2.0),
                (1e-90, 2e-90),
                (1e90, 1e90),
            ],
            &[
                ((0.0, 0.0), [0.0, 0.0, 0.0, OPEN, OPEN, OPEN, OPEN, OPEN, OPEN, OPEN]),
                ((1e200, 1e200), [0.5 * FRAC_PI_2, 5e-201, -5e-201, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
                ((1e-200, 0.0), [FRAC_PI_2, 0.0, -1e200, OPEN, INF, OPEN, OPEN, OPEN, OPEN, OPEN]),
                ((1.0, INF), [0.0; 10]),
            ],
        ),
        "real_hypot" | "hypot" => two(hypot, HYPOT_AT, HYPOT_EDGES),
        "hypot_share" => two(
            |a, b| {
                let [_, c, _, aa, ab, bb, aaa, aab, abb, _] = hypot(a, b);
                let h = a.hypot(b);
                let (s, h3) = (b / h, h * h * h);
                let (cc, ss) = (c * c, s * s);
                [
                    c,
                    aa,
                    ab,
                    aaa,
                    aab,
                    abb,
                    3.0 * ss * (4.0 * cc - ss) / h3,
                    3.0 * c * s * (3.0 * ss - 2.0 * cc) / h3,
                    (2.0 * cc * cc - 11.0 * cc * ss + 2.0 * ss * ss) / h3,
                    3.0 * c * s * (3.0 * cc - 2.0 * ss) / h3,
                ]
                .map(|v| if bb.is_nan() { OPEN } else { v })
            },
            HYPOT_AT,
            &[
                ((0.0, 0.0), [0.0, OPEN, OPEN, OPEN, OPEN, OPEN, OPEN, OPEN, OPEN, OPEN]),
                ((INF, 1.0), [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
                ((-INF, INF), [-FRAC_1_SQRT_2, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
            ],
        ),
        "logaddexp" => two(
            |a, b| {
                let (v, d) = (logistic_slope(a - b), -(0.5 * (a - b)).tanh());
                let (s, r) = (share(a - b), share(b - a));
                let w = v * d;
                [a.max(b) + (-(a - b).abs()).exp().ln_1p(), s, r, v, -v, v, w, -w, w, -w]
            },
            &[
                (0.0, 0.0),
                (-0.0, 0.0),
                (1.0, 1.0),
                (1e300, 1e300),
                (-1e300, -1e300),
                (20.0, 0.0),
                (0.0, 40.0),
                (-700.0, 0.0),
                (1.0, 1.0 + 1e-12),
            ],
            &[
                ((INF, INF), [INF, 0.5, 0.5, OPEN, OPEN, OPEN, OPEN, OPEN, OPEN, OPEN]),
                ((-INF, -INF), [-INF, 0.5, 0.5, OPEN, OPEN, OPEN, OPEN, OPEN, OPEN, OPEN]),
                ((INF, -INF), [INF, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
                ((-INF, 1.0), [1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
                ((1e300, -1e300), [1e300, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
            ],
        ),
        "logistic_share" => two(
            |a, b| {
                let (v, d) = (logistic_slope(a - b), -(0.5 * (a - b)).tanh());
                let (w, z) = (v * d, v * (d * d - 2.0 * v));
                [share(a - b), v, -v, w, -w, w, z, -z, z, -z]
            },
            &[(0.0, 0.0), (-0.0, 0.0), (1.0, 1.0), (1e300, 1e300), (20.0, 0.0), (0.0, 40.0), (-700.0, 0.0)],
            &[
                ((INF, INF), [0.5, OPEN, OPEN, OPEN, OPEN, OPEN, OPEN, OPEN, OPEN, OPEN]),
                ((INF, -INF), [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
                ((-INF, 1.0), [0.0; 10]),
            ],
        ),
        "degrees" => one(|x| [x * (180.0 / PI), 180.0 / PI, 0.0, 0.0], &[0.0, -0.0, PI, 1e300], &[]),
        "radians" => one(|x| [x * (PI / 180.0), PI / 180.0, 0.0, 0.0], &[0.0, -0.0, 180.0, 1e300], &[]),
        "real_sign" | "floor" | "ceil" | "trunc" | "rint" | "floor_divide" => Special::None(STEP),
        "logical_not" | "bitwise_invert" | "isnan" | "isinf" | "isfinite" | "isposinf" | "isneginf"
        | "equal" | "not_equal" | "less" | "less_equal" | "greater" | "greater_equal" | "logical_and"
        | "logical_or" | "bitwise_and" | "bitwise_or" | "bitwise_xor" | "left_shift" | "right_shift" => {
            Special::None(TRUTH)
        }
        _ => return None,
    })
}

/// The logistic function without loss in its tails.
fn share(x: f64) -> f64 {
    if x < 0.0 { x.exp() / (1.0 + x.exp()) } else { 1.0 / (1.0 + (-x).exp()) }
}
