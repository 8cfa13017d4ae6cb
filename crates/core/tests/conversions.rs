//! Conversions between element types: half precision is rounded once from any type, and integers saturate.

use covector_core::ops;
use covector_core::{Array, Dtype, bf16, f16};

/// The digits behind the first of a half-precision type, its smallest step's exponent, and its greatest number.
fn format(dtype: Dtype) -> (i32, i32, f64) {
    match dtype {
        Dtype::F16 => (10, -24, 65504.0),
        _ => (7, -133, f64::from(bf16::MAX.to_f32())),
    }
}

/// A number rounded once, by the definition: to a multiple of the spacing there, halves to even.
fn rounded(v: f64, dtype: Dtype) -> f64 {
    let (digits, least, most) = format(dtype);
    if v == 0.0 {
        return v;
    }
    let spacing = 2f64.powi((v.abs().log2().floor() as i32 - digits).max(least));
    let near = (v / spacing).round_ties_even() * spacing;
    if near.abs() > most { f64::INFINITY.copysign(v) } else { near }
}

/// The same of an integer that `f64` may not hold: what is beyond 64 bits of precision decides about ties alone.
fn rounded_integer(v: i128, dtype: Dtype) -> f64 {
    let (digits, _, most) = format(dtype);
    let bits = 128 - v.unsigned_abs().leading_zeros() as i32;
    let shift = (bits - 1 - digits).max(0);
    let (unit, half) = (1i128 << shift, (1i128 << shift) / 2);
    let (low, rest) = (v.div_euclid(unit), v.rem_euclid(unit));
    let up = shift > 0 && (rest > half || (rest == half && low % 2 != 0));
    let near = ((low + i128::from(up)) * unit) as f64;
    if near.abs() > most { f64::INFINITY.copysign(near) } else { near }
}

/// Ties of the format, and numbers so close beside them that `float32` cannot tell.
fn near_ties(dtype: Dtype) -> Vec<f64> {
    let digits = format(dtype).0;
    let mut out = Vec::new();
    for exponent in [-26, -20, -14, -1, 0, 5, 15] {
        for k in [0, 1, 2, 5, (1 << digits) - 1] {
            let tie = (1.0 + (f64::from(k) + 0.5) * 2f64.powi(-digits)) * 2f64.powi(exponent);
            for v in [tie, tie.next_up(), tie.next_down(), tie * (1.0 + 1e-10), tie * (1.0 - 1e-10)] {
                out.extend([v, -v]);
            }
        }
    }
    out
}

#[test]
fn half_precision_is_rounded_once_from_float64() {
    for dtype in [Dtype::F16, Dtype::Bf16] {
        let mut numbers = near_ties(dtype);
        numbers.extend([0.0, -0.0, 65519.999, 65520.0, 1e300, 1e-300, -1e-8, 5e-324, 3.4e38, 1.0 / 3.0]);
        let x = Array::new(numbers.clone());
        let half = x.astype(dtype);
        // Alone, and in a chain with another operation before it.
        let chained = (&x * 1.0).astype(dtype);
        for got in [half, chained] {
            for (got, v) in got.astype(Dtype::F64).to_vec::<f64>().into_iter().zip(&numbers) {
                assert_eq!(got, rounded(*v, dtype), "{v:e} in {dtype}");
            }
        }
        for &v in &numbers {
            let constant = ops::constant(v, dtype).astype(Dtype::F64).item::<f64>();
            assert_eq!(constant, rounded(v, dtype), "constant {v:e} in {dtype}");
        }
    }
}

#[test]
fn half_precision_is_rounded_once_from_integers() {
    for dtype in [Dtype::F16, Dtype::Bf16] {
        let mut numbers: Vec<i128> = vec![0, 1, 65519, 65520, i64::MAX.into(), i64::MIN.into()];
        for bits in 8..63 {
            for k in [0i128, 1, 2, 100] {
                let tie = (1i128 << bits) + ((2 * k + 1) << bits >> (format(dtype).0 + 1));
                numbers.extend([tie - 1, tie, tie + 1, -tie - 1, -tie, 1 - tie]);
            }
        }
        let check = |x: Array, numbers: &[i128]| {
            let got = x.astype(dtype).astype(Dtype::F64).to_vec::<f64>();
            for (got, &v) in got.into_iter().zip(numbers) {
                assert_eq!(got, rounded_integer(v, dtype), "{v} from {} to {dtype}", x.dtype());
            }
        };
        numbers.retain(|&v| i64::try_from(v).is_ok());
        check(Array::new(numbers.iter().map(|&v| v as i64).collect::<Vec<_>>()), &numbers);
        let positive: Vec<i128> = numbers.iter().map(|v| v.abs()).chain([u64::MAX.into()]).collect();
        check(Array::new(positive.iter().map(|&v| v as u64).collect::<Vec<_>>()), &positive);
        numbers.retain(|&v| i32::try_from(v).is_ok());
        check(Array::new(numbers.iter().map(|&v| v as i32).collect::<Vec<_>>()), &numbers);
        numbers.retain(|&v| u32::try_from(v).is_ok());
        check(Array::new(numbers.iter().map(|&v| v as u32).collect::<Vec<_>>()), &numbers);
    }
}

#[test]
fn numbers_outside_of_an_integer_type_become_its_nearest_and_nan_zero() {
    let x = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e30, -1e30, 3.99, -3.99, -0.5];
    for from in [Dtype::F64, Dtype::F32, Dtype::F16, Dtype::Bf16] {
        let x = Array::new(x).astype(from);
        assert_eq!(x.astype(Dtype::U8).to_vec::<u8>(), [0, 255, 0, 255, 0, 3, 0, 0], "{from}");
        assert_eq!(
            x.astype(Dtype::I64).to_vec::<i64>()[..5],
            [0, i64::MAX, i64::MIN, i64::MAX, i64::MIN],
            "{from}"
        );
        assert_eq!(x.astype(Dtype::I8).to_vec::<i8>()[1..5], [127, -128, 127, -128], "{from}");
        assert_eq!(x.astype(Dtype::Bool).to_vec::<bool>(), [true; 8], "{from}");
    }
    let nan = Array::new([f32::from_bits(0x7f80_0001), f32::from_bits(0xffff_ffff)]);
    assert!(nan.astype(Dtype::Bf16).to_vec::<bf16>().iter().all(|v| v.is_nan()));
    assert!(nan.astype(Dtype::F16).to_vec::<f16>().iter().all(|v| v.is_nan()));
}

#[test]
fn unsigned_and_signed_integers_compare_by_value() {
    let unsigned = Array::new([u64::MAX, (1 << 63) + 1, (1 << 53) + 1, 5, 0]);
    let signed = Array::new([-1i64, i64::MAX, (1 << 53) + 2, 5, i64::MIN]);
    type Compare = fn(&Array, &Array) -> Array;
    let tables: [(Compare, fn(i128, i128) -> bool); 6] = [
        (ops::equal, |a, b| a == b),
        (ops::not_equal, |a, b| a != b),
        (ops::less, |a, b| a < b),
        (ops::less_equal, |a, b| a <= b),
        (ops::greater, |a, b| a > b),
        (ops::greater_equal, |a, b| a >= b),
    ];
    let (u, s) = (unsigned.to_vec::<u64>(), signed.to_vec::<i64>());
    for (k, (f, want)) in tables.into_iter().enumerate() {
        let (ahead, behind) =
            (f(&unsigned.expand_dims(&[1]), &signed), f(&signed.expand_dims(&[1]), &unsigned));
        let (ahead, behind) = (ahead.to_vec::<bool>(), behind.to_vec::<bool>());
        for i in 0..25 {
            assert_eq!(ahead[i], want(u[i / 5].into(), s[i % 5].into()), "comparison {k}, {i}");
            assert_eq!(behind[i], want(s[i / 5].into(), u[i % 5].into()), "comparison {k}, {i}");
        }
    }
    let small = Array::new([-1i8, 1]);
    assert_eq!(ops::greater(&Array::scalar(0u64), &small).to_vec::<bool>(), [true, false]);
}
