//! Products of half precision against those of `f64`, rounded once: few and many rows, all layouts, batches, several numbers
//! of threads, and every instruction set.

mod common;
use common::*;
use covector_kernels::*;
use std::process::Command;

trait Half: Sample {
    /// The number of binary digits of the significand, and the exponent of the smallest subnormal number.
    const DIGITS: i32;
    const TINY: i32;
    fn wide(self) -> f64;
    fn of(x: f32) -> Self;
    fn bits(self) -> u16;
}
macro_rules! half {
    ($t:ty, $digits:expr, $tiny:expr) => {
        impl Half for $t {
            const DIGITS: i32 = $digits;
            const TINY: i32 = $tiny;
            fn wide(self) -> f64 {
                self.to_f64()
            }
            fn of(x: f32) -> Self {
                <$t>::from_f32(x)
            }
            fn bits(self) -> u16 {
                self.to_bits()
            }
        }
    };
}
half!(f16, 11, -24);
half!(bf16, 8, -133);

/// Random numbers of many magnitudes.
fn numbers<T: Half>(n: usize, rng: &mut Rng) -> Vec<T> {
    let one = |rng: &mut Rng| {
        let x = (rng.next() % 4001) as f32 / 1000.0 - 2.0;
        // A few are so small that `f16` has fewer digits for them.
        T::of(if rng.below(16) == 0 { x * 1e-6 } else { x })
    };
    (0..n).map(|_| one(rng)).collect()
}

/// A matrix in one of several layouts: row-major, column-major, with gaps between rows, columns or both, or reversed.
fn matrix<T: Half>(rows: usize, columns: usize, layout: usize, rng: &mut Rng) -> Array<T> {
    let (r, c) = (rows as isize, columns as isize);
    let (offset, strides, size) = match layout {
        0 => (0, [c, 1], rows * columns),
        1 => (0, [1, r], rows * columns),
        2 => (1, [c + 3, 1], rows * (columns + 3) + 1),
        3 => (2, [1, r + 5], columns * (rows + 5) + 2),
        4 => (3, [2 * c + 5, 2], rows * (2 * columns + 5) + 3),
        _ => (rows * columns - 1, [-c, -1], rows * columns),
    };
    let data = numbers(size.max(1), rng);
    Array {
        data,
        offset: if rows * columns == 0 { 0 } else { offset },
        shape: vec![rows, columns],
        strides: strides.to_vec(),
    }
}

/// Checks some rows and columns, spread over the result.
fn check<T: Half>(a: &Array<T>, b: &Array<T>, out: &[T], what: &str) {
    let (m, k, n) = (a.shape[0], a.shape[1], b.shape[1]);
    let step = (m * n * k / 100_000).max(1) | 1;
    for at in (0..m * n).step_by(step) {
        let (i, j) = (at / n, at % n);
        let (mut expected, mut all) = (0.0, 0.0);
        for p in 0..k {
            let x = a.at(&[i, p]).wide() * b.at(&[p, j]).wide();
            expected += x;
            all += f64::abs(x);
        }
        let got = out[at].wide();
        // Half a unit in the last place of the result, and the rounding errors of sums in `f32`.
        let unit =
            2f64.powi((f64::abs(expected).max(1e-45).log2().floor() as i32 + 1 - T::DIGITS).max(T::TINY));
        let slack = 0.5 * unit + all * f64::from(f32::EPSILON) * (2.0 + (k as f64).sqrt());
        assert!(
            (got - expected).abs() <= slack,
            "{} {what} [{i}, {j}]: {got}, not {expected} to {slack}",
            T::DTYPE
        );
    }
}

fn product<T: Half>(a: &Array<T>, b: &Array<T>) -> Vec<T> {
    let mut out = Array::<T>::zeros(&[a.shape[0], b.shape[1]]);
    out.data.fill(T::of(f32::NAN));
    matmul(a.view(), b.view(), out.out());
    out.data
}

fn layouts<T: Half>() {
    let mut rng = Rng(21);
    let few = [1, 2, 3, 4, 5, 7, 8, 9, 12, 16, 31, 32, 33, 40];
    let extents = [1, 2, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 129, 260];
    for round in 0..350 {
        let m = few[rng.below(few.len())];
        let (k, n) = (extents[rng.below(extents.len())], extents[rng.below(extents.len())]);
        let (la, lb) = (rng.below(6), rng.below(6));
        // Many rows, then many columns.
        let (m, n) = if round % 2 == 0 { (m, n) } else { (n, m) };
        let (a, b) = (matrix::<T>(m, k, la, &mut rng), matrix::<T>(k, n, lb, &mut rng));
        check(&a, &b, &product(&a, &b), &format!("{m}x{k}x{n}, layouts {la} and {lb}"));
    }
}

fn large<T: Half>() {
    let mut rng = Rng(22);
    let shapes = [
        (1, 1500, 700),
        (3, 2100, 300),
        (8, 700, 2500),
        (32, 520, 1030),
        (1, 300_000, 70),
        (2, 140_000, 66),
        (1, 270_000, 5),
        (2, 270_000, 16),
        (33, 700, 300),
        (300, 1100, 270),
        (600, 300, 3),
    ];
    for (m, k, n) in shapes {
        for (la, lb) in [(0, 0), (0, 1), (3, 2)] {
            let (a, b) = (matrix::<T>(m, k, la, &mut rng), matrix::<T>(k, n, lb, &mut rng));
            let bits = |threads: usize| {
                threads::set_num_threads(threads);
                let out = product(&a, &b);
                (out.iter().map(|x| x.bits()).collect::<Vec<_>>(), out)
            };
            let (one, out) = bits(1);
            let what = format!("{m}x{k}x{n}, layouts {la} and {lb}");
            check(&a, &b, &out, &what);
            for threads in [2, 5] {
                assert!(bits(threads).0 == one, "{} {what}: other bits with {threads} threads", T::DTYPE);
            }
        }
    }
}

fn batches<T: Half>() {
    let mut rng = Rng(23);
    for (count, m, k, n) in [(70, 1, 64, 33), (5, 3, 40, 50), (6, 1, 130, 200), (3, 40, 60, 50), (4, 2, 0, 3)]
    {
        let a = Array::<T>::from(&[count, m, k], numbers(count * m * k, &mut rng));
        // The matrices of a batch are transposed, and the first batch has only one.
        let data: Vec<T> = numbers((count * k * n).max(1), &mut rng);
        for shared in [false, true] {
            let strides = vec![if shared { 0 } else { (k * n) as isize }, 1, k as isize];
            let shape = vec![if shared { 1 } else { count }, k, n];
            let b = Array { data: data.clone(), offset: 0, shape, strides };
            let mut out = Array::<T>::zeros(&[count, m, n]);
            out.data.fill(T::of(f32::NAN));
            matmul(a.view(), b.view(), out.out());
            for i in 0..count {
                let of = if shared { 0 } else { i };
                let x = Array::from(&[m, k], a.data[i * m * k..][..m * k].to_vec());
                let data = if k == 0 { vec![T::default()] } else { data[of * k * n..][..k * n].to_vec() };
                let y = Array { data, offset: 0, shape: vec![k, n], strides: vec![1, k as isize] };
                check(&x, &y, &out.data[i * m * n..][..m * n], &format!("{m}x{k}x{n}, batch {i} of {count}"));
            }
        }
    }
}

fn special<T: Half>() {
    let (n, k) = (40, 50);
    for (m, turned) in [(1, false), (1, true), (3, false), (3, true), (40, false)] {
        let mut a = Array::<T>::from(&[m, k], vec![T::of(1.0); m * k]);
        let strides = if turned { vec![1, k as isize] } else { vec![n as isize, 1] };
        let mut b = Array { data: vec![T::of(2.0); n * k], offset: 0, shape: vec![k, n], strides };
        // Partial sums beyond the greatest `f16`: sums are rounded only at the end.
        let large = T::of(60_000.0);
        (a.data[3], a.data[7]) = (large, large);
        b.data[if turned { 7 } else { 7 * n }] = T::of(-2.0);
        let out = product(&a, &b);
        assert_eq!(out[0].wide(), 96.0, "{} of {m} rows", T::DTYPE);
        // Infinities and NaN pass.
        a.data[11] = T::of(f32::INFINITY);
        let out = product(&a, &b);
        assert_eq!(out[0].wide(), f64::INFINITY);
        a.data[12] = T::of(f32::NAN);
        assert!(product(&a, &b)[..n].iter().all(|x| x.wide().is_nan()));
    }
}

#[test]
fn few_and_many_rows_of_all_layouts_agree_with_sums() {
    layouts::<f16>();
    layouts::<bf16>();
}

#[test]
fn large_products_have_the_same_bits_for_any_number_of_threads() {
    large::<f16>();
    large::<bf16>();
}

#[test]
fn batches_and_empty_products_agree_with_sums() {
    batches::<f16>();
    batches::<bf16>();
}

#[test]
fn sums_are_rounded_once_and_special_values_pass() {
    special::<f16>();
    special::<bf16>();
}

/// The instruction set is chosen once in a process, so the tests run again in one process for each.
#[test]
fn every_instruction_set_agrees_with_the_sums() {
    if std::env::var_os("COVECTOR_SIMD").is_some() {
        return;
    }
    for level in ["avx2", "portable"] {
        let mut tests = Command::new(std::env::current_exe().unwrap());
        let run = tests.env("COVECTOR_SIMD", level).output().unwrap();
        assert!(run.status.success(), "{level}: {}", String::from_utf8_lossy(&run.stdout));
    }
}
