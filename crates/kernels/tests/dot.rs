//! Matrix products against plain sums: all layouts, extents around the block sizes, several numbers of threads.

mod common;
use common::*;
use covector_kernels::*;

/// A random matrix in one of four layouts: row-major, column-major, with gaps, reversed.
fn matrix<T: Sample>(rows: usize, columns: usize, layout: usize, rng: &mut Rng) -> Array<T> {
    let (r, c) = (rows as isize, columns as isize);
    let (offset, strides, size) = match layout {
        0 => (0, [c, 1], rows * columns),
        1 => (0, [1, r], rows * columns),
        2 => (3, [2 * c + 5, 2], rows * (2 * columns + 5) + 3),
        _ => (rows * columns - 1, [-c, -1], rows * columns),
    };
    let data = (0..size).map(|_| T::sample(rng)).collect();
    Array { data, offset, shape: vec![rows, columns], strides: strides.to_vec() }
}

trait Wide: Sample {
    fn wide(self) -> Complex<f64>;
    /// The allowed error of a sum of `k` products of numbers up to 2.
    fn slack(k: usize) -> f64;
}
macro_rules! wide {
    ($($t:ty, $epsilon:expr, |$x:ident| $wide:expr;)*) => {$(
        impl Wide for $t {
            fn wide(self) -> Complex<f64> {
                let $x = self;
                $wide
            }
            fn slack(k: usize) -> f64 {
                $epsilon * (4.0 + 2.0 * (k as f64).sqrt()) * 4.0
            }
        }
    )*};
}
wide! {
    f32, 1e-6, |x| Complex::new(x.into(), 0.0);
    f64, 1e-14, |x| Complex::new(x, 0.0);
    f16, 1e-3, |x| Complex::new(x.into(), 0.0);
    bf16, 8e-3, |x| Complex::new(x.into(), 0.0);
    C64, 2e-6, |x| Complex::new(x.re.into(), x.im.into());
}

fn check<T: Wide>(m: usize, k: usize, n: usize, la: usize, lb: usize, rng: &mut Rng) {
    let (a, b) = (matrix::<T>(m, k, la, rng), matrix::<T>(k, n, lb, rng));
    let mut out = Array::<T>::zeros(&[m, n]);
    matmul(a.view(), b.view(), out.out());
    let wide = |x: &Array<T>, rows, columns| -> Vec<Complex<f64>> {
        indices(&[rows, columns]).iter().map(|i| x.at(i).wide()).collect()
    };
    let (wa, wb) = (wide(&a, m, k), wide(&b, k, n));
    // All elements of small products, some of large ones.
    let stride = (m * n * k / 2_000_000).max(1);
    for at in (0..m * n).step_by(stride) {
        let (i, j) = (at / n, at % n);
        let expected: Complex<f64> = (0..k).map(|p| wa[i * k + p] * wb[p * n + j]).sum();
        let got = out.data[at].wide();
        let name = T::DTYPE;
        assert!(
            (got - expected).norm() <= T::slack(k),
            "{name} {m}x{k}x{n} {la}{lb} [{i}, {j}]: {got}, not {expected}"
        );
    }
}

#[test]
fn products_of_all_layouts_and_types_agree_with_sums_around_the_block_sizes() {
    let mut rng = Rng(11);
    let extents = [1, 2, 3, 6, 7, 8, 13, 14, 15, 16, 17, 29, 31, 32, 33, 48, 57, 64, 65, 100, 129];
    for round in 0..1500 {
        let mut draw = || extents[rng.below(extents.len())];
        let (m, k, n) = (draw(), draw(), draw());
        let (la, lb) = (rng.below(4), rng.below(4));
        match round % 8 {
            0 => check::<f64>(m, k, n, la, lb, &mut rng),
            1 => check::<f16>(m, k, n, la, lb, &mut rng),
            2 => check::<bf16>(m, k, n, la, lb, &mut rng),
            3 => check::<C64>(m, k, n, la, lb, &mut rng),
            _ => check::<f32>(m, k, n, la, lb, &mut rng),
        }
    }
}

#[test]
fn large_products_in_parts_agree_with_sums() {
    threads::set_num_threads(3);
    let mut rng = Rng(12);
    let shapes =
        [(300, 400, 300), (5, 900, 700), (700, 900, 9), (3, 20_000, 40), (40, 10_000, 30), (70, 500, 2100)];
    for (m, k, n) in shapes {
        for layout in 0..4 {
            check::<f32>(m, k, n, layout & 1, layout >> 1, &mut rng);
        }
        check::<f64>(m, k, n, 1, 0, &mut rng);
        check::<bf16>(m, k, n, 0, 1, &mut rng);
        check::<f16>(m, k, n, 2, 2, &mut rng);
        check::<C64>(m, k, n, 0, 0, &mut rng);
    }
    for (m, k, n) in
        [(3000, 120, 1), (120, 3000, 1), (1, 3000, 120), (1, 120, 3000), (2000, 31, 1), (1, 5000, 1)]
    {
        for layout in 0..4 {
            check::<f32>(m, k, n, layout & 1, layout >> 1, &mut rng);
            check::<f64>(m, k, n, layout & 1, layout >> 1, &mut rng);
        }
    }
}

#[test]
fn bits_do_not_depend_on_the_number_of_threads() {
    let mut rng = Rng(13);
    let shapes = [
        (257, 513, 259),
        (128, 784, 256),
        (2000, 100, 1),
        (100, 5000, 1),
        (8, 700, 900),
        (20, 30_000, 20),
        (1000, 64, 10),
    ];
    for (m, k, n) in shapes {
        for (la, lb) in [(0, 0), (1, 0), (0, 1)] {
            let (a, b) = (matrix::<f32>(m, k, la, &mut rng), matrix::<f32>(k, n, lb, &mut rng));
            let results: Vec<Vec<u32>> = [1, 2, 3, 5]
                .iter()
                .map(|&threads| {
                    threads::set_num_threads(threads);
                    let mut out = Array::<f32>::zeros(&[m, n]);
                    matmul(a.view(), b.view(), out.out());
                    out.data.iter().map(|x| x.to_bits()).collect()
                })
                .collect();
            assert!(results.iter().all(|r| *r == results[0]), "{m}x{k}x{n} {la}{lb}");
        }
    }
}

#[test]
fn batches_are_products_one_by_one() {
    let mut rng = Rng(14);
    for (count, m, k, n) in [(1000, 4, 5, 3), (64, 33, 40, 50), (3, 200, 300, 100), (7, 1, 64, 9)] {
        let a =
            Array::<f32>::from(&[count, m, k], (0..count * m * k).map(|_| f32::sample(&mut rng)).collect());
        let b =
            Array::<f32>::from(&[count, k, n], (0..count * k * n).map(|_| f32::sample(&mut rng)).collect());
        let mut out = Array::<f32>::zeros(&[count, m, n]);
        matmul(a.view(), b.view(), out.out());
        for i in 0..count {
            let x = Array::from(&[m, k], a.data[i * m * k..][..m * k].to_vec());
            let y = Array::from(&[k, n], b.data[i * k * n..][..k * n].to_vec());
            let mut one = Array::<f32>::zeros(&[m, n]);
            matmul(x.view(), y.view(), one.out());
            assert_close(&out.data[i * m * n..][..m * n], &one.data, "one of the batch");
        }
    }
}

#[test]
fn rows_of_a_batch_with_one_matrix_may_have_any_layout() {
    let mut rng = Rng(15);
    for (count, m, k, n) in [(9, 5, 7, 3), (40, 32, 24, 70), (3, 80, 20, 30), (6, 1, 33, 40)] {
        // The batch is the second axis of the memory.
        let data: Vec<f32> = (0..m * count * k).map(|_| f32::sample(&mut rng)).collect();
        let strides = vec![k as isize, (count * k) as isize, 1];
        let a = Array { data, offset: 0, shape: vec![count, m, k], strides };
        let b = matrix::<f32>(k, n, 1, &mut rng);
        let strides = vec![0, 1, k as isize];
        let shared = Array { data: b.data.clone(), offset: 0, shape: vec![1, k, n], strides };
        let mut out = Array::<f32>::zeros(&[count, m, n]);
        matmul(a.view(), shared.view(), out.out());
        for i in 0..count {
            let rows = indices(&[m, k]).iter().map(|at| a.at(&[i, at[0], at[1]])).collect();
            let mut one = Array::<f32>::zeros(&[m, n]);
            matmul(Array::from(&[m, k], rows).view(), b.view(), one.out());
            assert_close(&out.data[i * m * n..][..m * n], &one.data, "one of the batch");
        }
    }
}

#[test]
fn empty_sums_are_zero_and_nan_passes() {
    let a = Array::<f32>::zeros(&[3, 0]);
    let b = Array::<f32>::zeros(&[0, 4]);
    let mut out = Array::<f32>::from(&[3, 4], vec![7.0; 12]);
    matmul(a.view(), b.view(), out.out());
    assert_eq!(out.data, [0.0; 12]);
    let mut a = Array::<f32>::zeros(&[20, 40]);
    a.data[5 * 40 + 7] = f32::NAN;
    let b = Array::<f32>::zeros(&[40, 33]);
    let mut out = Array::<f32>::zeros(&[20, 33]);
    matmul(a.view(), b.view(), out.out());
    assert!(out.data.iter().enumerate().all(|(i, x)| x.is_nan() == (i / 33 == 5)));
}
