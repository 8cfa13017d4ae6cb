//! Reductions and scans against naive loops over random layouts.

mod common;
use common::*;
use covector_kernels::*;

/// The elements of each result, in row-major order of the kept axes.
fn groups<T: Sample>(x: &Array<T>, axes: &[usize]) -> (Vec<usize>, Vec<Vec<T>>) {
    let kept: Vec<usize> = (0..x.shape.len()).filter(|k| !axes.contains(k)).collect();
    let kept_shape: Vec<usize> = kept.iter().map(|&k| x.shape[k]).collect();
    let reduced_shape: Vec<usize> = axes.iter().map(|&k| x.shape[k]).collect();
    let all = indices(&kept_shape)
        .iter()
        .map(|o| {
            indices(&reduced_shape)
                .iter()
                .map(|r| {
                    let mut index = vec![0; x.shape.len()];
                    kept.iter().zip(o).for_each(|(&k, &i)| index[k] = i);
                    axes.iter().zip(r).for_each(|(&k, &i)| index[k] = i);
                    x.at(&index)
                })
                .collect()
        })
        .collect();
    (kept_shape, all)
}

fn random_axes(rank: usize, rng: &mut Rng) -> Vec<usize> {
    (0..rank).filter(|_| rng.below(2) == 0).collect()
}

fn float_case<T: Sample + Into<f64>>(rng: &mut Rng, from: impl Fn(f64) -> T) {
    let mut shape = random_shape(rng);
    if let Some(k) = shape.len().checked_sub(1) {
        let at = rng.below(k + 1);
        shape[at] = shape[at].max(1) * [1, 1, 7, 33][rng.below(4)];
    }
    let mut x = Array::<T>::random(&shape, rng);
    if rng.below(3) == 0 {
        let at = rng.below(x.data.len());
        x.data[at] = from(f64::NAN);
    }
    let axes = random_axes(shape.len(), rng);
    let (kept, groups) = groups(&x, &axes);
    let mut out = Array::<T>::zeros(&kept);
    let check = |out: &Array<T>, f: &dyn Fn(&[f64]) -> f64, what: &str| {
        let expected: Vec<T> =
            groups.iter().map(|g| from(f(&g.iter().map(|&v| v.into()).collect::<Vec<f64>>()))).collect();
        assert_close(&out.data, &expected, &format!("{what} {shape:?} {axes:?} {}", T::DTYPE));
    };
    reduce(Reduce::Sum, x.view(), &axes, out.out());
    // Sums may cancel, so errors are compared with the scale of the terms.
    for (g, &v) in groups.iter().zip(&out.data) {
        let (sum, scale) = g.iter().fold((0.0, 1.0), |(s, m), &v| (s + v.into(), m + v.into().abs()));
        let got: f64 = v.into();
        let tolerance = if T::DTYPE.size() == 2 { 1e-2 } else { 1e-6 };
        assert!(
            sum.is_nan() && got.is_nan() || (got - sum).abs() <= tolerance * scale,
            "sum {shape:?} {axes:?}"
        );
    }
    let nan_or = |g: &[f64], f: fn(f64, f64) -> f64, init: f64| {
        if g.iter().any(|v| v.is_nan()) { f64::NAN } else { g.iter().copied().fold(init, f) }
    };
    reduce(Reduce::Max, x.view(), &axes, out.out());
    check(&out, &|g| nan_or(g, f64::max, f64::NEG_INFINITY), "max");
    reduce(Reduce::Min, x.view(), &axes, out.out());
    check(&out, &|g| nan_or(g, f64::min, f64::INFINITY), "min");
    if groups.first().is_none_or(|g| g.len() < 60) {
        reduce(Reduce::Prod, x.view(), &axes, out.out());
        check(&out, &|g| g.iter().product(), "prod");
    }
    let mut flags = Array::<bool>::zeros(&kept);
    reduce(Reduce::All, x.view(), &axes, flags.out());
    let all: Vec<bool> = groups.iter().map(|g| g.iter().all(|&v| v.into() != 0.0)).collect();
    assert_eq!(flags.data, all);
    reduce(Reduce::Any, x.view(), &axes, flags.out());
    let any: Vec<bool> = groups.iter().map(|g| g.iter().any(|&v| v.into() != 0.0)).collect();
    assert_eq!(flags.data, any);
}

#[test]
fn reductions_of_floats_agree_with_loops() {
    let mut rng = Rng(11);
    for _ in 0..150 {
        float_case::<f32>(&mut rng, |v| v as f32);
        float_case::<f64>(&mut rng, |v| v);
        float_case::<f16>(&mut rng, f16::from_f64);
        float_case::<bf16>(&mut rng, bf16::from_f64);
    }
}

#[test]
fn reductions_of_integers_and_bools_agree_with_loops() {
    let mut rng = Rng(12);
    for _ in 0..200 {
        let shape = random_shape(&mut rng);
        let axes = random_axes(shape.len(), &mut rng);
        let x = Array::<i16>::random(&shape, &mut rng);
        let (kept, g) = groups(&x, &axes);
        let mut out = Array::<i32>::zeros(&kept);
        reduce(Reduce::Sum, x.view(), &axes, out.out());
        assert_eq!(out.data, g.iter().map(|g| g.iter().map(|&v| i32::from(v)).sum()).collect::<Vec<i32>>());
        let mut out = Array::<i16>::zeros(&kept);
        reduce(Reduce::Max, x.view(), &axes, out.out());
        let expected: Vec<i16> = g.iter().map(|g| g.iter().copied().max().unwrap_or(i16::MIN)).collect();
        assert_eq!(out.data, expected);
        reduce(Reduce::Min, x.view(), &axes, out.out());
        let expected: Vec<i16> = g.iter().map(|g| g.iter().copied().min().unwrap_or(i16::MAX)).collect();
        assert_eq!(out.data, expected);
        let x = Array::<bool>::random(&shape, &mut rng);
        let (kept, g) = groups(&x, &axes);
        let mut out = Array::<u32>::zeros(&kept);
        reduce(Reduce::Sum, x.view(), &axes, out.out());
        assert_eq!(out.data, g.iter().map(|g| g.iter().filter(|&&v| v).count() as u32).collect::<Vec<_>>());
        let mut out = Array::<bool>::zeros(&kept);
        reduce(Reduce::Any, x.view(), &axes, out.out());
        assert_eq!(out.data, g.iter().map(|g| g.iter().any(|&v| v)).collect::<Vec<_>>());
        reduce(Reduce::All, x.view(), &axes, out.out());
        assert_eq!(out.data, g.iter().map(|g| g.iter().all(|&v| v)).collect::<Vec<_>>());
        let x = Array::<C64>::random(&shape, &mut rng);
        let (kept, g) = groups(&x, &axes);
        let mut out = Array::<C64>::zeros(&kept);
        reduce(Reduce::Sum, x.view(), &axes, out.out());
        for (&o, g) in out.data.iter().zip(&g) {
            let scale: f32 = 1.0 + g.iter().map(|v| v.norm()).sum::<f32>();
            assert!((o - g.iter().sum::<C64>()).norm() <= 1e-5 * scale);
        }
        reduce(Reduce::Max, x.view(), &axes, out.out());
        let greater = |a: C64, &b: &C64| if (b.re, b.im) > (a.re, a.im) { b } else { a };
        let low = C64::new(f32::NEG_INFINITY, f32::NEG_INFINITY);
        assert_eq!(out.data, g.iter().map(|g| g.iter().fold(low, greater)).collect::<Vec<_>>());
    }
}

#[test]
fn long_sums_are_accurate() {
    let n = 3_000_001;
    let x = Array::from(&[n], vec![0.1f32; n]);
    let mut out = Array::<f32>::zeros(&[]);
    reduce(Reduce::Sum, x.view(), &[0], out.out());
    let exact = 0.1f32 as f64 * n as f64;
    assert!((f64::from(out.data[0]) - exact).abs() < 1e-6 * exact, "{}", out.data[0]);
    let x = Array::from(&[n / 5, 5], vec![0.1f32; n / 5 * 5]);
    let mut out = Array::<f32>::zeros(&[5]);
    reduce(Reduce::Sum, x.view(), &[0], out.out());
    let exact = 0.1f32 as f64 * (n / 5) as f64;
    assert!((f64::from(out.data[3]) - exact).abs() < 1e-6 * exact, "{}", out.data[3]);
}

#[test]
fn indices_of_extremes_agree_with_loops() {
    let mut rng = Rng(13);
    for round in 0..400 {
        let mut shape = random_shape(&mut rng);
        shape.push([1, 3, 10, 50, 300][rng.below(5)]);
        let axis = rng.below(shape.len());
        if shape[axis] == 0 {
            continue;
        }
        let mut x = Array::<f32>::random(&shape, &mut rng);
        x.data.iter_mut().for_each(|v| *v = (*v * 4.0).round());
        if round % 3 == 0 {
            let at = rng.below(x.data.len());
            x.data[at] = f32::NAN;
        }
        let (kept, g) = groups(&x, &[axis]);
        for max in [true, false] {
            let mut out = Array::<u32>::zeros(&kept);
            arg_reduce(max, x.view(), axis, out.out());
            for (&o, g) in out.data.iter().zip(&g) {
                let mut best = 0;
                for (i, v) in g.iter().enumerate() {
                    let better = if max { *v > g[best] } else { *v < g[best] };
                    if !g[best].is_nan() && (v.is_nan() || better) {
                        best = i;
                    }
                }
                assert_eq!(o as usize, best, "{max} {shape:?} {axis} {g:?}");
            }
        }
    }
}

fn scan_case<T: Sample>(rng: &mut Rng, op: Scan, f: impl Fn(T, T) -> T, init: T) {
    let mut shape = random_shape(rng);
    shape.push(1 + rng.below(80));
    let axis = rng.below(shape.len());
    let x = Array::<T>::random(&shape, rng);
    let (_, g) = groups(&x, &[axis]);
    for reverse in [false, true] {
        for inclusive in [false, true] {
            let mut out = Array::<T>::zeros(&shape);
            scan(op, x.view(), axis, reverse, inclusive, out.out());
            let (_, got) = groups(&out, &[axis]);
            for (g, got) in g.iter().zip(&got) {
                let mut expected = vec![init; g.len()];
                let mut acc = init;
                for i in 0..g.len() {
                    let k = if reverse { g.len() - 1 - i } else { i };
                    let before = acc;
                    acc = f(acc, g[k]);
                    expected[k] = if inclusive { acc } else { before };
                }
                assert_close(got, &expected, &format!("{op:?} {shape:?} {axis} {reverse} {inclusive}"));
            }
        }
    }
}

#[test]
fn scans_agree_with_loops() {
    let mut rng = Rng(14);
    for _ in 0..80 {
        scan_case::<f64>(&mut rng, Scan::Sum, |a, b| a + b, 0.0);
        scan_case::<f32>(&mut rng, Scan::Max, f32::max, f32::NEG_INFINITY);
        scan_case::<f64>(&mut rng, Scan::Min, f64::min, f64::INFINITY);
        scan_case::<i32>(&mut rng, Scan::Sum, i32::wrapping_add, 0);
        scan_case::<u8>(&mut rng, Scan::Prod, u8::wrapping_mul, 1);
        let log_add = |a: f64, b: f64| {
            let m = a.max(b);
            if m == f64::NEG_INFINITY { m } else { m + ((a - m).exp() + (b - m).exp()).ln() }
        };
        scan_case::<f64>(&mut rng, Scan::LogAddExp, log_add, f64::NEG_INFINITY);
    }
    let x = Array::from(&[300], vec![bf16::from_f32(1.0); 300]);
    let mut out = Array::<bf16>::zeros(&[300]);
    scan(Scan::Sum, x.view(), 0, false, true, out.out());
    // Sums are accumulated in f32; in bf16 they would stop at 256.
    assert_eq!(out.data[299], bf16::from_f32(300.0));
}
