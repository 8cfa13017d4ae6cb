//! Every elementwise row against scalar arithmetic in higher precision, for every element type it takes.

mod ops_common;

use covector_core::{Array, C64, Complex, Dtype, Row, ops, rows};
use ops_common::*;

type W = Complex<f64>;

/// The function in higher precision, by kind of number. What is missing is not compared.
#[derive(Default, Clone, Copy)]
struct Exact {
    real1: Option<fn(f64) -> f64>,
    int1: Option<fn(i128) -> i128>,
    complex1: Option<fn(W) -> W>,
    real2: Option<fn(f64, f64) -> f64>,
    int2: Option<fn(i128, i128) -> i128>,
    complex2: Option<fn(W, W) -> W>,
}

fn sign(v: f64) -> f64 {
    if v > 0.0 {
        1.0
    } else if v < 0.0 {
        -1.0
    } else {
        0.0
    }
}

fn erf(x: f64) -> f64 {
    if x.abs() > 5.0 {
        return sign(x);
    }
    // All terms have one sign, so nothing cancels.
    let (mut term, mut sum) = (x, x);
    for n in 1..300 {
        term *= 2.0 * x * x / f64::from(2 * n + 1);
        sum += term;
    }
    sum * (-x * x).exp() * std::f64::consts::FRAC_2_SQRT_PI
}

fn floor_div(a: i128, b: i128) -> i128 {
    if b == 0 { 0 } else { a.div_euclid(b) - i128::from(b < 0 && a.rem_euclid(b) != 0) }
}

fn floor_divide(a: f64, b: f64) -> f64 {
    if a.is_infinite() && b != 0.0 {
        return f64::NAN;
    }
    if b.is_infinite() && a != 0.0 && sign(a) != sign(b) {
        return -1.0;
    }
    (a / b).floor()
}

fn remainder(a: f64, b: f64) -> f64 {
    if b.is_infinite() && a.is_finite() {
        return if a == 0.0 || sign(a) == sign(b) { a } else { b };
    }
    let r = a % b;
    if r != 0.0 && (r < 0.0) != (b < 0.0) { r + b } else { r }
}

fn before(a: W, b: W) -> bool {
    a.re < b.re || (a.re == b.re && a.im < b.im)
}

fn exact(name: &str) -> Option<Exact> {
    let none = Exact::default();
    let real = |f: fn(f64) -> f64| Exact { real1: Some(f), ..none };
    let both = |f: fn(f64) -> f64, g: fn(W) -> W| Exact { real1: Some(f), complex1: Some(g), ..none };
    let all = |f: fn(f64) -> f64, i: fn(i128) -> i128, g: fn(W) -> W| Exact {
        real1: Some(f),
        int1: Some(i),
        complex1: Some(g),
        ..none
    };
    let pair = |f: fn(f64, f64) -> f64, i: fn(i128, i128) -> i128, g: fn(W, W) -> W| Exact {
        real2: Some(f),
        int2: Some(i),
        complex2: Some(g),
        ..none
    };
    Some(match name {
        "negative" => all(|x| -x, |x| -x, |z| -z),
        "real_abs" => Exact { real1: Some(f64::abs), int1: Some(i128::abs), ..none },
        "real_sign" => Exact { real1: Some(sign), int1: Some(i128::signum), ..none },
        "square" => all(|x| x * x, |x| x * x, |z| z * z),
        "sqrt" => both(f64::sqrt, |z| z.sqrt()),
        "rsqrt" => both(|x| 1.0 / x.sqrt(), |z| z.sqrt().inv()),
        "reciprocal" => both(|x| 1.0 / x, |z| z.inv()),
        "exp" => both(f64::exp, |z| z.exp()),
        "expm1" => real(f64::exp_m1),
        "log" => both(f64::ln, |z| z.ln()),
        "log2" => both(f64::log2, |z| z.ln() / std::f64::consts::LN_2),
        "log10" => both(f64::log10, |z| z.ln() / std::f64::consts::LN_10),
        "log1p" => both(f64::ln_1p, |z| (z + 1.0).ln()),
        "sin" => both(f64::sin, |z| z.sin()),
        "cos" => both(f64::cos, |z| z.cos()),
        "tan" => both(f64::tan, |z| z.tan()),
        "sinh" => both(f64::sinh, |z| z.sinh()),
        "cosh" => both(f64::cosh, |z| z.cosh()),
        "tanh" => both(f64::tanh, |z| z.tanh()),
        "arcsin" => both(f64::asin, |z| z.asin()),
        "arccos" => both(f64::acos, |z| z.acos()),
        "arctan" => both(f64::atan, |z| z.atan()),
        "arcsinh" => both(f64::asinh, |z| z.asinh()),
        "arccosh" => both(f64::acosh, |z| z.acosh()),
        "arctanh" => both(f64::atanh, |z| z.atanh()),
        "erf" => real(erf),
        "sigmoid_tail" => {
            real(|x| ((-x.abs()).exp() / (1.0 + (-x.abs()).exp())).copysign(if x < 0.0 { 1.0 } else { -1.0 }))
        }
        "sigmoid_of_tail" => real(|w| if w.is_sign_negative() { 1.0 + w } else { w }),
        "slope_of_tail" => real(|w| w.abs() - w * w),
        "logistic" => real(|x| 1.0 / (1.0 + (-x).exp())),
        "floor" => Exact { real1: Some(f64::floor), int1: Some(|x| x), ..none },
        "ceil" => Exact { real1: Some(f64::ceil), int1: Some(|x| x), ..none },
        "trunc" => Exact { real1: Some(f64::trunc), int1: Some(|x| x), ..none },
        "rint" => {
            all(f64::round_ties_even, |x| x, |z| W::new(z.re.round_ties_even(), z.im.round_ties_even()))
        }
        "logical_not" => {
            all(|x| f64::from(x == 0.0), |x| i128::from(x == 0), |z| W::from(f64::from(z == W::ZERO)))
        }
        "bitwise_invert" => Exact { int1: Some(|x| !x), ..none },
        "isnan" => all(|x| f64::from(x.is_nan()), |_| 0, |z| W::from(f64::from(z.is_nan()))),
        "isinf" => all(|x| f64::from(x.is_infinite()), |_| 0, |z| W::from(f64::from(z.is_infinite()))),
        "isfinite" => all(|x| f64::from(x.is_finite()), |_| 1, |z| W::from(f64::from(z.is_finite()))),
        "isposinf" => Exact { real1: Some(|x| f64::from(x == f64::INFINITY)), int1: Some(|_| 0), ..none },
        "isneginf" => Exact { real1: Some(|x| f64::from(x == f64::NEG_INFINITY)), int1: Some(|_| 0), ..none },
        "add" => pair(|a, b| a + b, |a, b| a + b, |a, b| a + b),
        "subtract" => pair(|a, b| a - b, |a, b| a - b, |a, b| a - b),
        "multiply" => pair(|a, b| a * b, |a, b| a * b, |a, b| a * b),
        "divide" => Exact { real2: Some(|a, b| a / b), complex2: Some(|a, b| a / b), ..none },
        "floor_divide" => Exact { real2: Some(floor_divide), int2: Some(floor_div), ..none },
        "remainder" => Exact {
            real2: Some(remainder),
            int2: Some(|a, b| if b == 0 { a } else { a - b * floor_div(a, b) }),
            ..none
        },
        "power" => Exact {
            real2: Some(f64::powf),
            int2: Some(|a, b| if b < 0 { 0 } else { a.wrapping_pow(b as u32) }),
            ..none
        },
        "maximum" => pair(
            |a, b| if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) },
            i128::max,
            |a, b| if b.is_nan() || before(a, b) && !a.is_nan() { b } else { a },
        ),
        "minimum" => pair(
            |a, b| if a.is_nan() || b.is_nan() { f64::NAN } else { a.min(b) },
            i128::min,
            |a, b| if b.is_nan() || before(b, a) && !a.is_nan() { b } else { a },
        ),
        "arctan2" => Exact { real2: Some(f64::atan2), ..none },
        "complement" => both(|x| (1.0 - x) * (1.0 + x), |z| (1.0 - z) * (1.0 + z)),
        "sigmoid_slope" => both(
            |x| (-x.abs()).exp() / (1.0 + (-x.abs()).exp()).powi(2),
            |z| 1.0 / ((1.0 + z.exp()) * (1.0 + (-z).exp())),
        ),
        "log_cosh" => real(|x| {
            if x.abs() < 1e-3 {
                x * x / 2.0
            } else {
                x.abs() + (-2.0 * x.abs()).exp().ln_1p() - std::f64::consts::LN_2
            }
        }),
        "real_hypot" => Exact { real2: Some(f64::hypot), ..none },
        "hypot_share" => Exact {
            real2: Some(|a, b| {
                if a == 0.0 && b == 0.0 {
                    a
                } else if a.is_infinite() && b.is_infinite() {
                    sign(a) * std::f64::consts::FRAC_1_SQRT_2
                } else if a.is_infinite() && !b.is_nan() {
                    sign(a)
                } else {
                    a / a.hypot(b)
                }
            }),
            ..none
        },
        "logistic_share" => Exact {
            real2: Some(|a, b| if a == b { 0.5 } else { 1.0 / (1.0 + (b - a).exp()) }),
            complex2: Some(|a, b| 1.0 / (1.0 + (b - a).exp())),
            ..none
        },
        "logaddexp" => Exact {
            real2: Some(|a, b| {
                if a.is_nan() || b.is_nan() {
                    return f64::NAN;
                }
                let (high, low) = (a.max(b), a.min(b));
                if high.is_infinite() || low == f64::NEG_INFINITY {
                    high
                } else {
                    high + (low - high).exp().ln_1p()
                }
            }),
            ..none
        },
        "equal" => {
            pair(|a, b| f64::from(a == b), |a, b| i128::from(a == b), |a, b| W::from(f64::from(a == b)))
        }
        "not_equal" => {
            pair(|a, b| f64::from(a != b), |a, b| i128::from(a != b), |a, b| W::from(f64::from(a != b)))
        }
        "less" => {
            pair(|a, b| f64::from(a < b), |a, b| i128::from(a < b), |a, b| W::from(f64::from(before(a, b))))
        }
        "less_equal" => pair(
            |a, b| f64::from(a <= b),
            |a, b| i128::from(a <= b),
            |a, b| W::from(f64::from(before(a, b) || a == b)),
        ),
        "greater" => {
            pair(|a, b| f64::from(a > b), |a, b| i128::from(a > b), |a, b| W::from(f64::from(before(b, a))))
        }
        "greater_equal" => pair(
            |a, b| f64::from(a >= b),
            |a, b| i128::from(a >= b),
            |a, b| W::from(f64::from(before(b, a) || a == b)),
        ),
        "logical_and" => pair(
            |a, b| f64::from(a != 0.0 && b != 0.0),
            |a, b| i128::from(a != 0 && b != 0),
            |a, b| W::from(f64::from(a != W::ZERO && b != W::ZERO)),
        ),
        "logical_or" => pair(
            |a, b| f64::from(a != 0.0 || b != 0.0),
            |a, b| i128::from(a != 0 || b != 0),
            |a, b| W::from(f64::from(a != W::ZERO || b != W::ZERO)),
        ),
        "bitwise_and" => Exact { int2: Some(|a, b| a & b), ..none },
        "bitwise_or" => Exact { int2: Some(|a, b| a | b), ..none },
        "bitwise_xor" => Exact { int2: Some(|a, b| a ^ b), ..none },
        _ => return None,
    })
}

/// The value that an integer type keeps of a result.
fn wrapped(v: i128, dtype: Dtype) -> f64 {
    let bits = 8 * dtype.size() as u32;
    let low = v & ((1i128 << bits) - 1);
    let signed = dtype.is_signed_integer() && low >> (bits - 1) == 1;
    (if signed { low - (1i128 << bits) } else { low }) as f64
}

/// Numbers worth trying: ordinary ones, and where the type has them zeros of both signs, infinities and NaN.
fn samples(dtype: Dtype) -> Vec<f64> {
    let mut v = vec![0.0, 1.0];
    if dtype == Dtype::Bool {
        return v;
    }
    v.extend([2.0, 3.0, 5.0, 7.0, 100.0]);
    if dtype.is_unsigned_integer() {
        v.extend([128.0, 255.0]);
        return v;
    }
    v.extend([-1.0, -2.0, -3.0, -7.0, -100.0]);
    if dtype.is_integer() {
        v.push(-128.0);
        return v;
    }
    v.extend([0.25, -0.25, 0.5, -0.5, 0.75, 1.5, -1.5, 2.5, 1e-3, -0.0]);
    v.extend([f64::NAN, f64::INFINITY, f64::NEG_INFINITY]);
    v
}

/// The array of samples, and the values it really has.
fn sampled(dtype: Dtype) -> (Array, Vec<f64>) {
    let v = samples(dtype);
    let x = array(&v, &[v.len()], dtype);
    let held = reals(&x);
    (x, held)
}

fn complex_samples() -> (Array, Vec<W>) {
    let v: Vec<C64> =
        [(0.5, 0.25), (-1.5, 0.75), (2.0, -0.5), (-0.3, -1.25), (0.0, 1.5), (1.0, 0.0), (0.1, 0.2)]
            .map(|(re, im)| C64::new(re, im))
            .to_vec();
    (Array::new(v.clone()), v.iter().map(|z| W::new(z.re.into(), z.im.into())).collect())
}

fn apply(row: &Row, x: &[&Array]) -> Array {
    match row.function {
        covector_core::RowFn::One(f) => f(x[0]),
        covector_core::RowFn::Two(f) => f(x[0], x[1]),
    }
    .unwrap_or_else(|e| panic!("{}: {e}", row.name))
}

/// The type whose precision a result has.
fn working(row: &Row, dtype: Dtype) -> Dtype {
    if row.convert(dtype).is_inexact() { row.convert(dtype) } else { dtype }
}

/// What the row gives for real numbers, in higher precision; `None` where it is not compared.
fn want(row: &Row, e: Exact, dtype: Dtype, v: &[f64]) -> Option<f64> {
    let float = row.convert(dtype).is_float() || dtype.is_float();
    match (float, v) {
        (true, &[x]) => e.real1.map(|f| f(x)),
        (true, &[a, b]) => e.real2.map(|f| f(a, b)),
        (false, &[x]) => e.int1.map(|f| f(x as i128)).map(|r| whole(row, r, dtype)),
        (false, &[a, b]) => e.int2.map(|f| f(a as i128, b as i128)).map(|r| whole(row, r, dtype)),
        _ => unreachable!(),
    }
}

fn whole(row: &Row, r: i128, dtype: Dtype) -> f64 {
    match dtype {
        _ if row.gives_bool => r as f64,
        Dtype::Bool => f64::from(r & 1 == 1),
        _ => wrapped(r, dtype),
    }
}

#[test]
fn rows_compute_what_scalar_arithmetic_does() {
    let mut compared = 0;
    for row in rows() {
        let Some(e) = exact(row.name) else { continue };
        for dtype in Dtype::ALL {
            if !row.supports(dtype) || dtype.is_complex() {
                continue;
            }
            // Truth values have arithmetic of their own.
            if dtype == Dtype::Bool && !row.gives_bool && !row.convert(dtype).is_float() {
                continue;
            }
            let (x, held) = sampled(dtype);
            // Results too great for half precision overflow at a place that rounding decides.
            let limit = if dtype == Dtype::F16 { 60_000.0 } else { f64::from(f32::MAX) * 0.99 };
            let check = |got: f64, v: &[f64]| {
                let Some(want) = want(row, e, dtype, v) else { return };
                let work = working(row, dtype);
                if row.name == "floor_divide" && dtype.is_float() {
                    // A quotient just below a whole number rounds up to it first.
                    let quotient = v[0] / v[1];
                    if near(quotient, quotient.round(), work, 1.0) {
                        return;
                    }
                }
                let tiny = want.abs() < 1e-4 && work == Dtype::F16;
                if (want.is_finite() && want.abs() > limit) || tiny {
                    return;
                }
                assert!(near(got, want, work, 4.0), "{}{v:?} in {dtype} is {got}, not {want}", row.name);
            };
            if row.arity() == 1 {
                for x in layouts(&x) {
                    for (&got, &v) in reals(&apply(row, &[&x])).iter().zip(&held) {
                        check(got, &[v]);
                    }
                }
            } else {
                for column in layouts(&x.expand_dims(&[1])) {
                    let got = apply(row, &[&column, &x]);
                    assert_eq!(got.shape(), [held.len(), held.len()]);
                    for (i, &got) in reals(&got).iter().enumerate() {
                        check(got, &[held[i / held.len()], held[i % held.len()]]);
                    }
                }
            }
            compared += 1;
        }
        if row.supports(Dtype::C64) {
            let (x, held) = complex_samples();
            let close = |got: Z, want: W, what: &str| {
                let size = want.norm().max(1.0);
                let got = W::new(got.0, got.1);
                if !want.is_finite() {
                    // At a pole the parts are a matter of convention.
                    assert!(!got.is_finite(), "{} of {what} is {got}, not {want}", row.name);
                    return;
                }
                let off = got - want;
                assert!(off.norm() <= 2e-6 * size, "{} of {what} is {got}, not {want}", row.name);
            };
            if let Some(f) = e.complex1 {
                for (&got, &z) in values(&apply(row, &[&x])).iter().zip(&held) {
                    close(got, f(z), &z.to_string());
                }
                compared += 1;
            }
            if let Some(f) = e.complex2 {
                let got = values(&apply(row, &[&x.expand_dims(&[1]), &x]));
                for (i, &got) in got.iter().enumerate() {
                    let (a, b) = (held[i / held.len()], held[i % held.len()]);
                    if b != W::ZERO {
                        close(got, f(a, b), &format!("{a}, {b}"));
                    }
                }
                compared += 1;
            }
        }
    }
    assert!(compared > 450, "only {compared} rows and types were compared");
}

#[test]
fn truth_values_have_the_arithmetic_of_logic() {
    let (a, b) = (Array::new([false, false, true, true]), Array::new([false, true, false, true]));
    let tables: [(fn(&Array, &Array) -> Array, [bool; 4]); 9] = [
        (ops::add, [false, true, true, true]),
        (ops::subtract, [false, true, true, false]),
        (ops::multiply, [false, false, false, true]),
        (ops::maximum, [false, true, true, true]),
        (ops::minimum, [false, false, false, true]),
        (ops::bitwise_xor, [false, true, true, false]),
        (ops::logical_xor, [false, true, true, false]),
        (ops::floor_divide, [false, false, false, true]),
        (ops::power, [true, false, true, true]),
    ];
    for (i, (f, want)) in tables.into_iter().enumerate() {
        assert_eq!(f(&a, &b).to_vec::<bool>(), want, "table {i}");
    }
    assert_eq!(ops::bitwise_invert(&a).to_vec::<bool>(), [true, true, false, false]);
    assert!(failure(ops::try_negative(&a)).contains("bool"));
}

#[test]
fn shifts_take_the_amount_modulo_the_width() {
    let x = Array::new([-8i8, 1, 127]);
    assert_eq!(ops::left_shift(&x, &Array::scalar(9i8)).to_vec::<i8>(), [-16, 2, -2]);
    assert_eq!(ops::right_shift(&x, &Array::scalar(1i8)).to_vec::<i8>(), [-4, 0, 63]);
    let u = Array::new([200u8]);
    assert_eq!(ops::right_shift(&u, &Array::scalar(3u8)).to_vec::<u8>(), [25]);
}

#[test]
fn extreme_integers_do_not_trap() {
    for (low, minus) in
        [(Array::scalar(i32::MIN), Array::scalar(-1i32)), (Array::scalar(i32::MIN), Array::scalar(0i32))]
    {
        let (q, r) = ops::divmod(&low, &minus);
        let want = if minus.item::<i32>() == 0 { (0, i32::MIN) } else { (i32::MIN, 0) };
        assert_eq!((q.item::<i32>(), r.item::<i32>()), want);
    }
    assert_eq!(ops::abs(&Array::scalar(i64::MIN)).item::<i64>(), i64::MIN);
    assert_eq!(ops::negative(&Array::scalar(i8::MIN)).item::<i8>(), i8::MIN);
    assert_eq!(ops::negative(&Array::scalar(1u8)).item::<u8>(), 255);
}

#[test]
fn inverse_error_function_inverts() {
    for dtype in [Dtype::F32, Dtype::F64] {
        let u: Vec<f64> = (-99..100).map(|i| f64::from(i) / 100.0).collect();
        let x = ops::erfinv(&array(&u, &[u.len()], dtype));
        for (x, u) in reals(&x).into_iter().zip(u) {
            assert!((erf(x) - u).abs() < 8.0 * precision(dtype), "{u}: {x}");
        }
        let ends = ops::erfinv(&array(&[-1.0, 1.0, 1.5], &[3], dtype));
        assert_eq!(reals(&ends)[..2], [f64::NEG_INFINITY, f64::INFINITY]);
        assert!(reals(&ends)[2].is_nan());
    }
}

#[test]
fn composed_choices_have_the_documented_edges() {
    let x = Array::new([f32::NAN, -2.0, 0.5, 7.0, f32::INFINITY]);
    let (low, high) = (Array::scalar(-1.0f32), Array::scalar(1.0f32));
    let clipped = reals(&x.clip(Some(&low), Some(&high)));
    assert!(clipped[0].is_nan());
    assert_eq!(clipped[1..], [-1.0, 0.5, 1.0, 1.0]);
    assert_eq!(reals(&x.clip(Some(&high), Some(&low)))[1..], [-1.0; 4]);
    assert!(failure(x.try_clip(None, None)).contains("neither"));
    let known = x.nan_to_num(9.0, None, Some(-1.0));
    assert_eq!(known.to_vec::<f32>(), [9.0, -2.0, 0.5, 7.0, f32::MAX]);
    let chosen = ops::where_(&x, &Array::scalar(1i32), &Array::new([[0.5f32], [1.5]]));
    assert_eq!(chosen.shape(), [2, 5]);
    assert_eq!(chosen.dtype(), Dtype::F32);
    assert_eq!(chosen.to_vec::<f32>(), [1.0; 10]);
    let halves = Array::new([0.5f32, 1.5, 2.5, -0.5, 15.0, 25.0]);
    assert_eq!(reals(&halves.round(0)), [0.0, 2.0, 2.0, -0.0, 15.0, 25.0]);
    assert_eq!(Array::new([15i32, 25, 35, 44]).round(-1).to_vec::<i32>(), [20, 20, 40, 40]);
    assert_eq!(reals(&Array::new([0.125f32, 2.675]).round(2)), [f64::from(0.12f32), f64::from(2.68f32)]);
    let (a, b) = (
        Array::new([1.0f32, f32::INFINITY, f32::NAN, 1.0]),
        Array::new([1.00001f32, f32::INFINITY, f32::NAN, f32::INFINITY]),
    );
    assert_eq!(a.isclose(&b, 1e-4, 0.0, false).to_vec::<bool>(), [true, true, false, false]);
    assert_eq!(a.isclose(&b, 1e-4, 0.0, true).to_vec::<bool>(), [true, true, true, false]);
    assert!(!a.allclose(&b, 1e-4, 0.0, true).item::<bool>());
    assert!(!a.array_equal(&a, false).item::<bool>() && a.array_equal(&a, true).item::<bool>());
    assert!(!a.array_equal(&a.reshape(&[2, 2]), true).item::<bool>());
    let z = Array::new([C64::new(3.0, 4.0), C64::new(0.0, 0.0)]);
    assert_eq!(values(&ops::sign(&z)), [(f64::from(0.6f32), f64::from(0.8f32)), (0.0, 0.0)]);
    assert_eq!(ops::abs(&z).to_vec::<f32>(), [5.0, 0.0]);
}

#[test]
fn conversions_are_those_of_c() {
    let x = Array::new([1.9f32, -1.9, 0.0, f32::NAN]);
    assert_eq!(x.astype(Dtype::I32).to_vec::<i32>()[..3], [1, -1, 0]);
    assert_eq!(x.astype(Dtype::Bool).to_vec::<bool>(), [true, true, false, true]);
    assert_eq!(Array::new([300i32, -1]).astype(Dtype::U8).to_vec::<u8>(), [44, 255]);
    assert_eq!(Array::new([C64::new(2.5, 1.0)]).astype(Dtype::F32).to_vec::<f32>(), [2.5]);
    assert_eq!(Array::new([C64::new(0.0, 1.0)]).astype(Dtype::Bool).to_vec::<bool>(), [true]);
    assert_eq!(Array::new([u64::MAX]).astype(Dtype::F64).to_vec::<f64>(), [18_446_744_073_709_551_616.0]);
    for from in Dtype::ALL {
        for to in Dtype::ALL {
            let x = array(&[0.0, 1.0], &[2], from);
            for x in layouts(&x) {
                assert_eq!(reals(&x.astype(to)), [0.0, 1.0], "{from} to {to}");
            }
        }
    }
}
