//! Random numbers stay between their bounds, for every type and any bounds, and take all the values there.

use covector_core::random::{self, Operand};
use covector_core::transforms::vmap;
use covector_core::{Array, Dtype, ops};
use std::collections::BTreeSet;

const FLOATS: [Dtype; 4] = [Dtype::F16, Dtype::Bf16, Dtype::F32, Dtype::F64];

fn values(x: &Array) -> Vec<f64> {
    x.astype(Dtype::F64).to_vec()
}

fn integers(low: i128, high: i128, count: usize, dtype: Dtype, seed: u64) -> Vec<i128> {
    let key = random::key(seed);
    let x = random::randint(Operand::Int(low), Operand::Int(high), &[count], dtype, Some(&key)).unwrap();
    assert_eq!(x.dtype(), dtype);
    if dtype == Dtype::U64 {
        return x.to_vec::<u64>().into_iter().map(i128::from).collect();
    }
    x.astype(Dtype::I64).to_vec::<i64>().into_iter().map(i128::from).collect()
}

/// The sum of squared deviations from equal counts, in its expected value.
fn chi_square(counts: &[usize]) -> f64 {
    let expected = counts.iter().sum::<usize>() as f64 / counts.len() as f64;
    let sum: f64 = counts.iter().map(|&n| (n as f64 - expected).powi(2) / expected).sum();
    sum / (counts.len() - 1) as f64
}

#[test]
fn integers_take_every_value_of_their_range_and_no_other() {
    let ranges = [
        (0, 10, Dtype::I32),
        (-7, 9, Dtype::I16),
        (1 << 17, (1 << 17) + 8, Dtype::I32),
        (1 << 20, (1 << 20) + 8, Dtype::I32),
        (1 << 25, (1 << 25) + 8, Dtype::I32),
        ((1 << 25) + 3, (1 << 25) + 10, Dtype::U32),
        (1 << 40, (1 << 40) + 1024, Dtype::I64),
        (-(1 << 62) - 5, -(1 << 62), Dtype::I64),
        ((1 << 64) - 9, 1 << 64, Dtype::U64),
        (0, 256, Dtype::U8),
        (-128, 128, Dtype::I8),
        (0, 2, Dtype::Bool),
    ];
    for (low, high, dtype) in ranges {
        let width = (high - low) as usize;
        let got = integers(low, high, 200 * width.max(50), dtype, 5);
        let mut counts = vec![0; width];
        for v in got {
            assert!((low..high).contains(&v), "{v} is not in {low}..{high}");
            counts[(v - low) as usize] += 1;
        }
        let deviation = chi_square(&counts);
        assert!(counts.iter().all(|&n| n > 0), "{low}..{high} in {dtype}: {counts:?}");
        // Five standard deviations of the statistic.
        let spread = 5.0 * (2.0 / (width.max(2) - 1) as f64).sqrt();
        assert!(deviation < 1.0 + spread, "{low}..{high} in {dtype}: {deviation}");
    }
}

#[test]
fn integers_of_the_whole_width_use_every_bit() {
    for dtype in Dtype::ALL.into_iter().filter(|d| d.is_integer()) {
        let bits = 8 * dtype.size() as u32;
        let low = if dtype.is_signed_integer() { -(1i128 << (bits - 1)) } else { 0 };
        let got = integers(low, low + (1 << bits), 4000, dtype, 2);
        for bit in 0..bits {
            let ones = got.iter().filter(|&&v| (v - low) >> bit & 1 == 1).count();
            assert!((1800..2200).contains(&ones), "bit {bit} of {dtype}: {ones} of 4000");
        }
    }
    // A range that is no power of two: each third of it as often.
    let high = 3i128 << 61;
    let mut thirds = [0; 3];
    for v in integers(0, high, 30_000, Dtype::U64, 3) {
        thirds[(v / (1 << 61)) as usize] += 1;
    }
    assert!(thirds.iter().all(|&n| (9_600..10_400).contains(&n)), "{thirds:?}");
}

#[test]
fn an_integer_depends_on_its_key_and_place_alone() {
    let key = random::key(8);
    // Two thirds of the words are rejected nowhere near as often as one in three times.
    let draw = |low: &Array, high: &Array, shape: &[usize], key: &Array| {
        random::randint(low, high, shape, Dtype::I64, Some(key)).unwrap()
    };
    let low = Array::new([0i64, 1 << 40, -(1 << 62), 5]);
    let high = Array::new([10i64, (1 << 40) + 3, 1 << 61, 5]);
    let all = draw(&low, &high, &[3, 4], &key).to_vec::<i64>();
    for (i, v) in all.iter().enumerate() {
        let (low, high) = (low.to_vec::<i64>()[i % 4], high.to_vec::<i64>()[i % 4]);
        assert!((low..high).contains(v) || (low == high && *v == low), "{v}");
    }
    assert_eq!(all, draw(&low, &high, &[3, 4], &key).to_vec::<i64>());
    // A batch of keys and bounds draws what each draws.
    let keys = random::split(&key, 4).unwrap();
    let batched = vmap(|(k, l, h): &(Array, Array, Array)| random::randint(l, h, &[6], Dtype::I64, Some(k)))(
        &(keys.clone(), low.clone(), high.clone()),
    )
    .unwrap();
    for i in 0..4isize {
        let at = |x: &Array| x.index(&[i.into()]);
        let one = draw(&at(&low), &at(&high), &[6], &at(&keys));
        assert_eq!(at(&batched).to_vec::<i64>(), one.to_vec::<i64>());
    }
    // Bounds alone in a batch.
    let bounds =
        vmap(|l: &Array| random::randint(l, 1i64 << 50, &[5], Dtype::I64, Some(&key)))(&low).unwrap();
    for i in 0..4isize {
        let low = low.index(&[i.into()]);
        let one = random::randint(&low, 1i64 << 50, &[5], Dtype::I64, Some(&key)).unwrap();
        assert_eq!(bounds.index(&[i.into()]).to_vec::<i64>(), one.to_vec::<i64>());
    }
}

#[test]
fn ranges_that_a_type_does_not_hold_are_refused() {
    let key = random::key(0);
    let refused = |low: i128, high: i128, dtype: Dtype| {
        let x = random::randint(Operand::Int(low), Operand::Int(high), &[2], dtype, Some(&key));
        x.unwrap_err().to_string()
    };
    assert!(refused(0, 257, Dtype::U8).contains("uint8 holds 0 to 255"));
    assert!(refused(-1, 5, Dtype::U32).starts_with("[randint] low is -1"));
    assert!(refused(0, (1 << 63) + 1, Dtype::I64).contains("high"));
    // An empty range gives its start, as in MLX.
    assert_eq!(integers(10, -10, 3, Dtype::I32, 0), [10; 3]);
    assert_eq!(integers(1 << 40, 1 << 40, 3, Dtype::I64, 0), [1 << 40; 3]);
}

#[test]
fn uniform_numbers_stay_below_their_upper_bound() {
    let key = random::key(1);
    for dtype in FLOATS {
        let n = 200_000;
        for (low, high) in [(0.0, 1.0), (100.0, 110.0), (-1.0, 1e-6), (1e-3, 1.0), (3.0, 3.0), (2.0, -5.0)] {
            let numbers = values(&random::uniform(low, high, &[n], dtype, Some(&key)).unwrap());
            let arrays = [low, high].map(|v| ops::constant(v, dtype));
            let [from, to] = [&arrays[0], &arrays[1]].map(|x| values(x)[0]);
            let arrays = values(&random::uniform(&arrays[0], &arrays[1], &[n], dtype, Some(&key)).unwrap());
            for v in numbers.iter().chain(&arrays) {
                let inside = if from < to { from <= *v && *v < to } else { to <= *v && *v <= from };
                assert!(inside, "{v} is not in [{from}, {to}) in {dtype}");
            }
        }
        let most = match dtype {
            Dtype::F16 => 65504.0,
            Dtype::F64 => f64::MAX,
            Dtype::Bf16 => 3.38e38,
            _ => f64::from(f32::MAX),
        };
        let array = ops::constant(most, dtype);
        for x in [
            random::uniform(-most, most, &[1000], dtype, Some(&key)),
            random::uniform(&-&array, &array, &[1000], dtype, Some(&key)),
        ] {
            let x = values(&x.unwrap());
            assert!(x.iter().all(|v| v.abs() <= most), "{dtype}");
            let quarter = x.iter().filter(|v| v.abs() < most / 2.0).count();
            assert!((400..600).contains(&quarter), "{dtype}: {quarter}");
        }
        for bad in [f64::NAN, f64::INFINITY] {
            assert!(random::uniform(0.0, bad, &[2], dtype, Some(&key)).is_err());
        }
    }
}

/// The share of the standard normal distribution beyond `x`, for `x` not below zero.
fn tail(x: f64) -> f64 {
    0.5 * libm_erfc(x / std::f64::consts::SQRT_2)
}

/// `erfc` by its continued fraction, good from 1 on.
fn libm_erfc(x: f64) -> f64 {
    let mut rest = 0.0;
    for k in (1..200).rev() {
        rest = 0.5 * f64::from(k) / (x + rest);
    }
    (-x * x).exp() / ((x + rest) * std::f64::consts::PI.sqrt())
}

#[test]
fn truncated_normal_numbers_are_between_any_bounds() {
    let key = random::key(4);
    let inf = f64::INFINITY;
    let bounds = [
        (-1.0, 1.0),
        (-inf, inf),
        (8.0, 9.0),
        (5.0, inf),
        (30.0, 31.0),
        (100.0, inf),
        (37.0, 38.0),
        (1e4, inf),
        (3.0, 3.0),
        (0.5, 0.50390625),
        (-1e-3, 1e-3),
        (-inf, 8.0),
        (2.0, inf),
    ];
    for dtype in FLOATS {
        for (lower, upper) in bounds.into_iter().flat_map(|(a, b)| [(a, b), (-b, -a)]) {
            let x = random::truncated_normal(lower, upper, Some(&[2000]), dtype, Some(&key)).unwrap();
            let [from, to] = [lower, upper].map(|v| values(&ops::constant(v, dtype))[0]);
            for v in values(&x) {
                assert!(v.is_finite() && from <= v && v <= to, "{v} is not in [{from}, {to}] in {dtype}");
            }
        }
        // Infinite in both directions at the same place, equal bounds are all there is.
        let x = random::truncated_normal(inf, inf, Some(&[3]), dtype, Some(&key)).unwrap();
        assert_eq!(values(&x), [inf; 3]);
    }
    let text = |lower: f64, upper: f64| {
        random::truncated_normal(lower, upper, Some(&[2]), Dtype::F32, Some(&key)).unwrap_err().to_string()
    };
    assert!(text(3.0, 1.0).contains("lower is 3 and upper is 1"));
    assert!(text(f64::NAN, 1.0).starts_with("[truncated_normal]"));
}

#[test]
fn truncated_normal_tails_have_the_right_distribution() {
    let key = random::key(6);
    for dtype in [Dtype::F32, Dtype::F64] {
        for (lower, upper) in [(3.5, 4.0), (5.0, f64::INFINITY), (8.0, 9.0), (20.0, 20.1)] {
            for side in [1.0, -1.0] {
                let (a, b) = if side > 0.0 { (lower, upper) } else { (-upper, -lower) };
                let x = random::truncated_normal(a, b, Some(&[20_000]), dtype, Some(&key)).unwrap();
                let x: Vec<f64> = values(&x).into_iter().map(|v| v * side).collect();
                // Quartiles: as many numbers in each part of equal probability.
                let beyond = |v: f64| (tail(v) - tail(upper)) / (tail(lower) - tail(upper));
                let mut counts = [0; 4];
                for &v in &x {
                    counts[((beyond(v) * 4.0) as usize).min(3)] += 1;
                }
                assert!(counts.iter().all(|n| (4700..5300).contains(n)), "{a}, {b} in {dtype}: {counts:?}");
            }
        }
    }
}

#[test]
fn derivatives_in_the_bounds_follow_the_densities() {
    let key = random::key(3);
    for (lower, upper) in [(-1.0, 2.0), (8.0, 9.0), (-9.5, -9.0), (0.2, 0.2001), (5.0, 6.0)] {
        let draw = |a: f64, b: f64| {
            values(&random::truncated_normal(a, b, Some(&[9]), Dtype::F64, Some(&key)).unwrap())
        };
        let h = 1e-6 * (upper - lower);
        let slope = |up: Vec<f64>, down: Vec<f64>| -> Vec<f64> {
            up.iter().zip(&down).map(|(u, d)| (u - d) / (2.0 * h)).collect()
        };
        let in_lower = slope(draw(lower + h, upper), draw(lower - h, upper));
        let in_upper = slope(draw(lower, upper + h), draw(lower, upper - h));
        let bounds = [Array::scalar(lower), Array::scalar(upper)];
        for (k, want) in [in_lower, in_upper].into_iter().enumerate() {
            let mut t = [ops::constant(0.0, Dtype::F64), ops::constant(0.0, Dtype::F64)];
            t[k] = ops::constant(1.0, Dtype::F64);
            let (_, got) = covector_core::transforms::jvp_flat(&bounds, &t, |b| {
                Ok(vec![random::truncated_normal(&b[0], &b[1], Some(&[9]), Dtype::F64, Some(&key))?])
            })
            .unwrap();
            for (g, w) in values(&got[0]).into_iter().zip(want) {
                assert!((g - w).abs() < 1e-5, "{lower}, {upper}, bound {k}: {g}, not {w}");
            }
        }
    }
}

#[test]
fn gumbel_numbers_are_finite_and_impossible_classes_are_never_drawn() {
    let key = random::key(0);
    for dtype in FLOATS {
        let x = values(&random::gumbel(&[300_000], dtype, Some(&key)).unwrap());
        assert!(x.iter().all(|v| v.is_finite()), "{dtype}");
    }
    let inf = f32::INFINITY;
    let logits = Array::new([-inf, 0.0, -inf, 1.0]);
    let drawn = random::categorical(&logits, -1, None, Some(5000), Some(&key)).unwrap().to_vec::<u32>();
    assert_eq!(drawn.into_iter().collect::<BTreeSet<_>>(), BTreeSet::from([1, 3]));
    for p in [-0.1, 1.5, f64::NAN] {
        assert!(
            random::bernoulli(p, Some(&[2]), Some(&key)).unwrap_err().to_string().contains("between 0 and 1")
        );
    }
    let sure = random::bernoulli(1.0, Some(&[10_000]), Some(&key)).unwrap();
    assert!(sure.all().item::<bool>());
    assert!(!random::bernoulli(0.0, Some(&[10_000]), Some(&key)).unwrap().any().item::<bool>());
}
