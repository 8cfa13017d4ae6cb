//! Evenly spaced numbers do not drift: element `i` is a function of `i`, in every element type.

use covector_core::ops::{self, Bound};
use covector_core::{Array, Dtype};

fn values(x: &Array) -> Vec<f64> {
    x.astype(Dtype::F64).to_vec()
}

/// A number rounded once to a type, by its definition: to a multiple of the spacing there.
fn rounded(v: f64, dtype: Dtype) -> f64 {
    let (digits, least) = match dtype {
        Dtype::F16 => (10, -24),
        Dtype::Bf16 => (7, -133),
        Dtype::F32 => return f64::from(v as f32),
        _ => return v,
    };
    if v == 0.0 {
        return v;
    }
    let spacing = 2f64.powi((v.abs().log2().floor() as i32 - digits).max(least));
    let near = (v / spacing).round_ties_even() * spacing;
    if dtype == Dtype::F16 && near.abs() > 65504.0 { f64::INFINITY.copysign(v) } else { near }
}

const FLOATS: [Dtype; 4] = [Dtype::F16, Dtype::Bf16, Dtype::F32, Dtype::F64];

#[test]
fn each_element_of_a_range_is_rounded_once() {
    let ranges =
        [(0.0, 1e4, 0.1), (-3.0, 3.0, 0.007), (1e6, 0.0, -33.3), (0.0, 300.0, 1.0), (0.1, 0.2, 1e-5)];
    for dtype in FLOATS {
        for (start, stop, step) in ranges {
            let got = values(&ops::arange(start, stop, step, dtype));
            assert_eq!(got.len(), f64::ceil((stop - start) / step) as usize, "{start}, {stop}, {step}");
            for (i, got) in got.into_iter().enumerate() {
                let want = rounded((i as f64).mul_add(step, start), dtype);
                assert_eq!(got, want, "element {i} of {start}, {stop}, {step} in {dtype}");
            }
        }
        let whole = values(&ops::arange(-700, 70_000, 7, dtype));
        assert!(
            whole.iter().enumerate().all(|(i, &v)| v == rounded(-700.0 + 7.0 * i as f64, dtype)),
            "{dtype}"
        );
    }
    let long = ops::arange(0.0, 1e5, 0.1, Dtype::F32);
    assert_eq!(long.shape(), [1_000_000]);
    assert_eq!(long.index(&[(-1).into()]).item::<f32>(), 99_999.9);
}

#[test]
fn integers_are_counted_in_integers() {
    let start = 1i64 << 60;
    assert_eq!(ops::arange(start, start + 3, 1, Dtype::I64).to_vec::<i64>(), [start, start + 1, start + 2]);
    let top = u64::MAX;
    assert_eq!(ops::arange(top, top - 5, -2, Dtype::U64).to_vec::<u64>(), [top, top - 2, top - 4]);
    assert_eq!(
        ops::arange(i64::MIN, i64::MAX, i64::MAX, Dtype::I64).to_vec::<i64>(),
        [i64::MIN, -1, i64::MAX - 1]
    );
    assert_eq!(ops::arange(-3, 3, 1, Dtype::U8).to_vec::<u8>(), [253, 254, 255, 0, 1, 2]);
    // Beyond the integers of f64, rounded once to a floating-point type.
    let odd = (1i64 << 60) + 1;
    for dtype in FLOATS {
        if dtype == Dtype::F16 {
            continue; // all infinite
        }
        let got = values(&ops::arange(odd, odd + (1 << 40) * 3, 1i64 << 40, dtype));
        let exact = (0..3).map(|i| odd + (1 << 40) * i);
        let want: Vec<f64> = match dtype {
            Dtype::F64 => exact.map(|v| v as f64).collect(),
            Dtype::F32 => exact.map(|v| f64::from(v as f32)).collect(),
            _ => exact.map(|v| rounded(v as f64, dtype)).collect(),
        };
        assert_eq!(got, want, "{dtype}");
    }
}

#[test]
fn counts_follow_exact_rules() {
    let count = |start: Bound, stop: Bound, step: Bound| {
        ops::try_arange(start, stop, step, Dtype::F32).unwrap().size()
    };
    let r = Bound::Real;
    for (start, stop, step, want) in [
        (0.0, 1.0, 0.1, 10),
        (1.0, 1.3, 0.1, 4), // as NumPy: 0.3 / 0.1 is a little more than 3
        (0.0, 0.0, 1.0, 0),
        (10.0, 0.0, f64::INFINITY, 0),
        (0.0, 10.0, f64::INFINITY, 1),
        (10.0, 0.0, f64::NEG_INFINITY, 1),
        (0.0, 10.0, f64::NEG_INFINITY, 0),
        (5.0, 5.0, f64::INFINITY, 0),
        (0.0, -1.0, 0.5, 0),
    ] {
        assert_eq!(count(r(start), r(stop), r(step)), want, "{start}, {stop}, {step}");
    }
    assert_eq!(count(Bound::Int(0), Bound::Int(7), Bound::Int(3)), 3);
    assert_eq!(count(Bound::Int(7), Bound::Int(0), Bound::Int(-7)), 1);
    assert_eq!(count(Bound::Int(7), Bound::Int(0), Bound::Int(1)), 0);
    let text = |start: Bound, stop: Bound, step: Bound| {
        ops::try_arange(start, stop, step, Dtype::I64).unwrap_err().to_string()
    };
    for bad in [r(0.0), r(f64::NAN), Bound::Int(0)] {
        assert!(text(Bound::Int(0), Bound::Int(5), bad).starts_with("[arange]"));
    }
    for bad in [r(f64::NAN), r(f64::INFINITY), r(f64::NEG_INFINITY)] {
        assert!(text(bad, r(1.0), r(1.0)).contains("finite") && text(r(0.0), bad, r(1.0)).contains("finite"));
    }
    // Refused before any memory is asked for.
    assert!(text(Bound::Int(0), Bound::Int(1 << 62), Bound::Int(1)).contains("memory"));
    assert!(text(r(0.0), r(1e300), r(1e-300)).contains("memory"));
}

#[test]
fn both_ends_of_a_linspace_are_exact() {
    for dtype in FLOATS {
        for (start, stop, count) in [
            (0.0, 1.0, 11),
            (0.1, 0.7, 7),
            (-1.0, 1.0, 1001),
            (5.0, -3.0, 4096),
            (1e4, 1e4, 3),
            (0.3, 0.4, 2),
        ] {
            let got = values(&ops::linspace(start, stop, count, dtype));
            assert_eq!(got.len(), count);
            assert_eq!(got[0], rounded(start, dtype));
            assert_eq!(got[count - 1], rounded(stop, dtype), "{start} to {stop} in {dtype}");
            for (i, got) in got.iter().enumerate() {
                let share = i as f64 / (count - 1) as f64;
                let want = start + share * (stop - start);
                let unit = rounded(want.abs(), dtype) * if dtype == Dtype::F64 { 4e-16 } else { 1e-12 };
                let slack = unit + (start.abs() + stop.abs()) * 4e-16;
                let (low, high) = (rounded(want - slack, dtype), rounded(want + slack, dtype));
                assert!((low..=high).contains(got), "{i} of {start} to {stop} in {dtype}: {got}, not {want}");
            }
        }
    }
    assert_eq!(ops::linspace(0.0, 10.0, 11, Dtype::I32).to_vec::<i32>(), (0..11).collect::<Vec<_>>());
    assert_eq!(ops::linspace(-1.0, 1.0, 3, Dtype::F64).to_vec::<f64>(), [-1.0, 0.0, 1.0]);
    assert_eq!(ops::linspace(-f64::MAX, f64::MAX, 3, Dtype::F64).to_vec::<f64>(), [-f64::MAX, 0.0, f64::MAX]);
    assert!(ops::try_linspace(0.0, 1.0, usize::MAX, Dtype::F32).is_err());
}

#[test]
fn numbers_of_rows_and_columns_are_exact_in_half_precision() {
    let line: Vec<f64> = values(&ops::eye(300, 300, 0, Dtype::Bf16).sum_axes(&[0], false));
    assert_eq!(line, [1.0; 300]);
    let steps: Vec<f64> = values(&ops::tri(300, 300, 0, Dtype::F32).sum_axes(&[1], false));
    assert_eq!(steps, (1..=300).map(f64::from).collect::<Vec<_>>());
}
