//! Kernels that are split over threads, and products with vectors, against plain loops in `f64`.

use covector_core::{Array, Dtype, ops};

fn sample(shape: &[usize], dtype: Dtype) -> (Array, Vec<f64>) {
    let n: usize = shape.iter().product();
    // Eighths are exact in every type, and so are sums of a few of them.
    let values: Vec<f64> = (0..n).map(|i| ((i * 7919 + 13) % 101) as f64 / 8.0 - 6.0).collect();
    (ops::astype(&Array::from_slice(&values, shape).unwrap(), dtype), values)
}

fn values(x: &Array) -> Vec<f64> {
    ops::astype(x, Dtype::F64).to_vec()
}

#[track_caller]
fn near(found: &Array, due: &[f64], tolerance: f64) {
    let found = values(found);
    assert_eq!(found.len(), due.len());
    for (i, (a, b)) in found.iter().zip(due).enumerate() {
        assert!((a - b).abs() <= tolerance * (1.0 + b.abs()), "element {i}: {a} against {b}");
    }
}

#[test]
fn products_with_vectors_in_every_layout() {
    for dtype in [Dtype::F32, Dtype::F64, Dtype::F16, Dtype::C64] {
        for (m, k) in [(1, 300), (3, 100), (15, 33), (16, 31), (17, 32), (100, 1000), (700, 301), (5, 70_000)]
        {
            let ((a, av), (v, vv)) = (sample(&[m, k], dtype), sample(&[k], dtype));
            let due: Vec<f64> = (0..m).map(|i| (0..k).map(|j| av[i * k + j] * vv[j]).sum()).collect();
            // Some layouts are summed in order in float32: the error grows with the length.
            let tolerance = if dtype == Dtype::F16 { 0.3 } else { 2e-8 * k as f64 + 1e-5 };
            let due = if dtype == Dtype::F16 && k > 1000 { continue } else { due };
            // The same matrix with its columns contiguous, and with gaps.
            let turned = ops::copy(&a.mt());
            turned.try_eval().unwrap();
            let across = ops::stack(&[turned.clone(), turned], 1);
            across.try_eval().unwrap();
            let gaps = ops::index(&across, &[ops::Index::from(..), ops::Index::At(1)]).mt();
            let columns = ops::concatenate(&[a.mt(), a.mt()], 1);
            columns.try_eval().unwrap();
            let columns = ops::index(&columns, &[ops::Index::from(..), ops::Index::from(0..m as isize)]).mt();
            for matrix in [&a, &gaps, &columns] {
                near(&matrix.matmul(&v), &due, tolerance);
                near(&v.matmul(&matrix.mt()), &due, tolerance);
                near(&matrix.matmul(&v.reshape(&[-1, 1])), &due, tolerance);
            }
            let backwards = ops::index(&v, &[ops::Index::Slice(None, None, -1)]);
            let flipped = ops::index(&a, &[ops::Index::from(..), ops::Index::Slice(None, None, -1)]);
            near(&flipped.matmul(&backwards), &due, tolerance);
        }
    }
}

#[test]
fn infinities_stay_where_they_belong() {
    let mut values = vec![1.0f32; 64 * 37];
    values[5] = f32::INFINITY;
    let m = Array::from_slice(&values, &[37, 64]).unwrap();
    let found = ops::ones(&[37], Dtype::F32).matmul(&m).to_vec::<f32>();
    assert!(found.iter().enumerate().all(|(i, &v)| if i == 5 { v == f32::INFINITY } else { v == 37.0 }));
}

#[test]
fn large_products_and_batches() {
    for (m, k, n) in [(300, 200, 150), (7, 900, 700), (900, 700, 7), (1, 2000, 1500)] {
        let ((a, av), (b, bv)) = (sample(&[m, k], Dtype::F64), sample(&[k, n], Dtype::F64));
        let mut due = vec![0.0; m * n];
        for i in 0..m {
            for p in 0..k {
                for j in 0..n {
                    due[i * n + j] += av[i * k + p] * bv[p * n + j];
                }
            }
        }
        near(&a.matmul(&b), &due, 1e-12);
        near(&ops::astype(&a, Dtype::F32).matmul(&ops::astype(&b, Dtype::F32)), &due, 1e-3);
        near(&ops::copy(&b.mt()).matmul(&a.mt()).mt(), &due, 1e-12);
        let both = ops::stack(&[a.clone(), a], 0).matmul(&b);
        near(&ops::index(&both, &[ops::Index::At(1)]), &due, 1e-12);
    }
}

#[test]
fn large_reductions_over_any_axes() {
    let shape = [37usize, 64, 129];
    for dtype in [Dtype::F32, Dtype::F64, Dtype::I32, Dtype::F16] {
        let (x, v) = sample(&shape, dtype);
        let v = if dtype == Dtype::I32 { v.iter().map(|v| v.trunc()).collect() } else { v };
        for axes in [vec![0isize], vec![1], vec![2], vec![0, 1], vec![0, 2], vec![1, 2], vec![0, 1, 2]] {
            let kept: Vec<usize> = (0..3).filter(|k| !axes.contains(&(*k as isize))).collect();
            let size: usize = kept.iter().map(|&k| shape[k]).product();
            let (mut sum, mut max, mut any) =
                (vec![0.0; size], vec![f64::NEG_INFINITY; size], vec![0.0; size]);
            for (flat, &v) in v.iter().enumerate() {
                let index = [flat / (64 * 129), flat / 129 % 64, flat % 129];
                let at = kept.iter().fold(0, |at, &k| at * shape[k] + index[k]);
                sum[at] += v;
                max[at] = f64::max(max[at], v);
                any[at] = f64::max(any[at], f64::from(u8::from(v > 6.0)));
            }
            let turned = ops::transpose(&ops::copy(&x.transpose(&[2, 0, 1])), &[1, 2, 0]);
            for x in [&x, &turned] {
                // Half precision rounds once, at the end, and ends at 65,504.
                if dtype != Dtype::F16 || sum.iter().all(|s| s.abs() < 6e4) {
                    near(&x.sum_axes(&axes, false), &sum, if dtype == Dtype::F16 { 1e-3 } else { 1e-5 });
                }
                near(&x.max_axes(&axes, true), &max, 0.0);
                near(&x.negative().min_axes(&axes, false).negative(), &max, 0.0);
                near(&x.greater(&ops::constant(6.0, Dtype::F32)).any_axes(&axes, false), &any, 0.0);
            }
        }
    }
}
