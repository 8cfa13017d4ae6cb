//! Counts, quotients and places of decimals that reach the edges of their types.

use covector_core::ops;
use covector_core::transforms::grad;
use covector_core::{Array, Dtype, Result, bf16, f16};
use covector_kernels::program::{MachineCode, set_machine_code};

fn reals(x: &Array) -> Vec<f64> {
    x.astype(Dtype::F64).to_vec()
}

#[test]
fn a_sum_that_can_pass_32_bits_is_counted_in_64() {
    let many = |n: usize, dtype: Dtype| ops::broadcast_to(&ops::constant(1.0, dtype), &[n]);
    let sum = |n: usize, dtype: Dtype| many(n, dtype).sum();
    for (n, dtype) in
        [(5, Dtype::I32), ((1 << 31) - 1, Dtype::I32), (1 << 31, Dtype::I64), (1 << 40, Dtype::I64)]
    {
        let x = sum(n, Dtype::Bool);
        assert_eq!((x.dtype(), x.astype(Dtype::I64).item::<i64>()), (dtype, n as i64));
    }
    // The type follows the number of elements, not their values.
    for (small, narrow, wide) in [
        (Dtype::I8, Dtype::I32, Dtype::I64),
        (Dtype::I16, Dtype::I32, Dtype::I64),
        (Dtype::U8, Dtype::U32, Dtype::U64),
        (Dtype::U16, Dtype::U32, Dtype::U64),
    ] {
        assert_eq!(sum(1000, small).dtype(), narrow);
        assert_eq!(sum(1 << 40, small).dtype(), wide);
        assert_eq!(sum(1 << 40, small).astype(Dtype::I64).item::<i64>(), 1 << 40);
    }
    let large = ops::broadcast_to(&Array::scalar(-30_000i16), &[1 << 17]);
    assert_eq!(large.sum().item::<i64>(), -30_000 << 17);
    assert_eq!(fresh(&large).sum().item::<i64>(), -30_000 << 17);
    let count = ops::count_nonzero(&ops::broadcast_to(&Array::scalar(true), &[3, 1 << 31]));
    assert_eq!(count.item::<i64>(), 3 << 31);
    // Only the axes that are summed over count.
    assert_eq!(
        many(1 << 40, Dtype::Bool).reshape(&[1 << 20, 1 << 20]).sum_axes(&[0], false).dtype(),
        Dtype::I32
    );
}

fn fresh(x: &Array) -> Array {
    Array::from_slice(&x.to_vec::<i16>(), x.shape()).unwrap()
}

#[test]
fn repeated_elements_are_reduced_as_the_written_out_ones() {
    let x = Array::new([[3i16, -7], [5, 1]]);
    let repeated = ops::broadcast_to(&x.reshape(&[2, 1, 2]), &[2, 6, 2]);
    let written = fresh(&repeated);
    for axes in [&[0][..], &[1], &[2], &[0, 1], &[1, 2], &[0, 1, 2]] {
        for f in [ops::sum_axes, ops::max_axes, ops::min_axes, ops::all_axes, ops::any_axes, ops::prod_axes] {
            let (a, b) = (f(&repeated, axes, false), f(&written, axes, false));
            assert_eq!(a.dtype(), b.dtype());
            assert_eq!(reals(&a), reals(&b), "{axes:?}");
        }
    }
}

#[test]
fn indices_beyond_uint32_are_refused() {
    let x = ops::broadcast_to(&Array::scalar(1.0f32), &[(1 << 32) + 1]);
    for (name, made) in [
        ("[argmax]", x.try_argmax()),
        ("[argmin]", x.try_argmin_axis(0, false)),
        ("[argsort]", x.try_argsort(0)),
        ("[searchsorted]", x.try_searchsorted(&Array::scalar(1.0f32), false)),
    ] {
        let text = made.unwrap_err().to_string();
        assert!(text.starts_with(name) && text.contains("uint32"), "{text}");
    }
}

/// Python's quotient and remainder.
fn divmod(a: f64, b: f64) -> (f64, f64) {
    let rest = a % b;
    if b == 0.0 {
        return (a / b, f64::NAN);
    }
    let wrong = rest != 0.0 && (rest < 0.0) != (b < 0.0);
    let mut quotient = (a - rest) / b;
    if wrong {
        quotient -= 1.0;
    }
    let floor = quotient.floor() + f64::from(quotient - quotient.floor() > 0.5);
    (floor, if wrong { rest + b } else { rest })
}

#[test]
fn quotients_and_remainders_belong_together() {
    let numbers = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.1,
        -0.1,
        0.3,
        2.5,
        -2.5,
        3.0,
        7.0,
        -7.0,
        1e-3,
        1e4,
        -1e4,
        100.25,
        60_000.0,
        5e-5,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::NAN,
    ];
    for machine_code in [MachineCode::Never, MachineCode::AtOnce] {
        set_machine_code(machine_code);
        for dtype in [Dtype::F16, Dtype::Bf16, Dtype::F32, Dtype::F64] {
            let x = Array::new(numbers).astype(dtype);
            let held = reals(&x);
            let column = x.expand_dims(&[1]);
            let (quotients, rests) = ops::divmod(&column, &x);
            // In a chain, where machine code may have it.
            let chained = &(&ops::floor_divide(&column, &x) * 1.0) + 0.0;
            let round = |v: f64| reals(&Array::scalar(v).astype(dtype))[0];
            let (quotients, chained, rests) = (reals(&quotients), reals(&chained), reals(&rests));
            for (i, &q) in quotients.iter().enumerate() {
                let (a, b) = (held[i / held.len()], held[i % held.len()]);
                let (want_q, want_r) = divmod(a, b);
                let same = |x: f64, y: f64| x == y || (x.is_nan() && y.is_nan());
                assert!(same(q, round(want_q)), "{a} // {b} in {dtype} is {q}, not {want_q}");
                assert!(same(chained[i], q), "{a} // {b} in a chain is {}, not {q}", chained[i]);
                assert!(same(rests[i], round(want_r)), "{a} % {b} in {dtype} is {}, not {want_r}", rests[i]);
                if rests[i] == 0.0 {
                    assert_eq!(rests[i].is_sign_negative(), b.is_sign_negative(), "{a} % {b} in {dtype}");
                }
            }
        }
    }
    set_machine_code(MachineCode::WhenItPays);
    let one = |x: f32| Array::scalar(x);
    assert_eq!(ops::floor_divide(&one(1.0), &one(0.1)).item::<f32>(), 9.0);
    assert_eq!(ops::floor_divide(&one(1.0), &one(f32::NEG_INFINITY)).item::<f32>(), -1.0);
    assert!(ops::floor_divide(&one(f32::INFINITY), &one(3.0)).item::<f32>().is_nan());
    // d(a % b)/db is minus the quotient, the right one.
    let slope = grad(|b: &Array| -> Result<Array> { ops::try_remainder(&Array::scalar(1.0f64), b) });
    assert_eq!(slope(&Array::scalar(0.1f64)).unwrap().item::<f64>(), -9.0);
}

#[test]
fn rounding_to_places_overflows_nowhere() {
    let inf = f32::INFINITY;
    let x = Array::new([1.25f32, 3e38, -3e38, 1e-40, inf, -inf, 12345.678, 0.0]);
    let same = x.to_vec::<f32>();
    for decimals in [39, 45, 400, i32::MAX] {
        assert_eq!(x.round(decimals).to_vec::<f32>(), same, "{decimals}");
    }
    assert_eq!(x.round(1).to_vec::<f32>(), [1.2, 3e38, -3e38, 0.0, inf, -inf, 12345.7, 0.0]);
    assert_eq!(x.round(-39).to_vec::<f32>(), [0.0, 0.0, 0.0, 0.0, inf, -inf, 0.0, 0.0]);
    assert_eq!(x.round(i32::MIN).to_vec::<f32>(), [0.0, 0.0, 0.0, 0.0, inf, -inf, 0.0, 0.0]);
    assert!(Array::scalar(f32::NAN).round(400).item::<f32>().is_nan());
    let half = Array::new([1000.0, 60000.0, 0.125].map(f16::from_f32));
    assert_eq!(reals(&half.round(2)), [1000.0, 60000.0, reals(&ops::constant(0.12, Dtype::F16))[0]]);
    assert_eq!(reals(&Array::new([bf16::from_f32(250.0)]).round(-2)), [200.0]);
    // Integers are rounded in integers.
    let whole = Array::new([123_456_789i32, 125, 135, -125, -135, 2_147_483_640]);
    assert_eq!(whole.round(-1).to_vec::<i32>(), [123_456_790, 120, 140, -120, -140, 2_147_483_640]);
    let long = Array::new([(1i64 << 60) + 7, -5, 15]);
    assert_eq!(long.round(-1).to_vec::<i64>(), [1_152_921_504_606_846_980, 0, 20]);
    assert_eq!(long.round(-30).to_vec::<i64>(), [0; 3]);
    assert_eq!(Array::new([149u8, 150, 151, 250]).round(-2).to_vec::<u8>(), [100, 200, 200, 200]);
    // Parts of a complex number do not spread.
    let z = ops::constant(1.0, Dtype::C64) * 1.25;
    assert_eq!(reals(&z.round(1).real()), [f64::from(1.2f32)]);
}

#[test]
fn powers_of_integers_wrap_for_any_exponent() {
    let power = |a: i64, b: i64| ops::power(&Array::scalar(a), &Array::scalar(b)).item::<i64>();
    let exact = |a: i64, b: u64| {
        let (mut out, mut a, mut b) = (1i64, a, b);
        while b > 0 {
            if b & 1 == 1 {
                out = out.wrapping_mul(a);
            }
            a = a.wrapping_mul(a);
            b >>= 1;
        }
        out
    };
    for a in [0, 1, -1, 2, 3, -7, i64::MIN, i64::MAX] {
        for b in [0u64, 1, 2, 63, 64, 1 << 32, (1 << 32) + 1, 3 << 40, i64::MAX as u64] {
            assert_eq!(power(a, b as i64), exact(a, b), "{a} to the {b}");
        }
        assert_eq!(power(a, -1), 0);
    }
    let unsigned = ops::power(&Array::scalar(3u64), &Array::scalar(u64::MAX)).item::<u64>();
    assert_eq!(unsigned, exact(3, u64::MAX) as u64);
}

#[test]
fn middles_of_large_numbers_do_not_overflow() {
    assert_eq!(Array::new([3e38f32, 3.2e38]).median().item::<f32>(), 3.1e38);
    let half = Array::new([60000.0, 65504.0].map(f16::from_f32));
    assert_eq!(reals(&half.median()), [62752.0]);
    assert!(Array::new([f32::NAN, 1.0]).median().item::<f32>().is_nan());
}
