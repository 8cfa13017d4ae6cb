//! Kernels that several threads run: large operands against plain loops, with the same bits for any number of threads.

mod common;
use common::*;
use covector_kernels::*;
use std::sync::Mutex;

/// The number of threads is a setting of the whole process, so tests that change it run one at a time.
static THREADS: Mutex<()> = Mutex::new(());

/// The result of `run` with 1, 2, 3 and 5 threads, which must be the same.
fn same<R: PartialEq>(what: &str, run: impl Fn() -> R) -> R {
    let _one_at_a_time = THREADS.lock().unwrap_or_else(|e| e.into_inner());
    threads::set_num_threads(1);
    let first = run();
    for threads in [2, 3, 5] {
        threads::set_num_threads(threads);
        assert!(run() == first, "{what} with {threads} threads");
    }
    first
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

fn random(shape: &[usize], rng: &mut Rng) -> Array<f32> {
    Array::from(shape, (0..shape.iter().product()).map(|_| f32::sample(rng)).collect())
}

#[test]
fn gathers_and_scatters_agree_with_loops_for_any_number_of_threads() {
    let mut rng = Rng(41);
    for (rows, width, count) in [(5000, 64, 4096), (300, 7, 30_000), (100_000, 1, 200_000), (10, 3000, 100)] {
        let (table, updates) = (random(&[rows, width], &mut rng), random(&[count, 1, width], &mut rng));
        let index = Array::<i32>::from(
            &[count],
            (0..count).map(|_| rng.below(2 * rows) as i32 - rows as i32).collect(),
        );
        let at = |k: usize| index.data[k].rem_euclid(rows as i32) as usize;
        let taken = same("gather", || {
            let mut out = Array::<f32>::zeros(&[count, 1, width]);
            gather(table.view(), &[index.view()], &[0], &[1, width], out.out()).unwrap();
            bits(&out.data)
        });
        for k in 0..count {
            assert!(taken[k * width..][..width] == bits(&table.data[at(k) * width..][..width]));
        }
        for op in [Scatter::Add, Scatter::Set, Scatter::Max] {
            let result = same("scatter", || {
                let mut out = table.data.clone();
                let mut out = Array::from(&[rows, width], std::mem::take(&mut out));
                scatter(op, out.out(), &[index.view()], &[0], updates.view()).unwrap();
                bits(&out.data)
            });
            let mut due = table.data.clone();
            for k in 0..count {
                for j in 0..width {
                    let (d, u) = (&mut due[at(k) * width + j], updates.data[k * width + j]);
                    *d = match op {
                        Scatter::Add => *d + u,
                        Scatter::Set => u,
                        _ => d.max(u),
                    };
                }
            }
            assert!(result == bits(&due), "{op:?} {rows}x{width} {count}");
        }
    }
}

#[test]
fn scatters_by_several_indices_into_strided_slices_agree_with_loops() {
    let mut rng = Rng(42);
    let (shape, count) = ([40usize, 50, 30], 3000usize);
    let index = |n: usize, rng: &mut Rng| {
        Array::<i64>::from(&[count], (0..count).map(|_| rng.below(n) as i64).collect())
    };
    let (i, j) = (index(40, &mut rng), index(30, &mut rng));
    let updates = random(&[count, 1, 50, 1], &mut rng);
    let result = same("scatter", || {
        let mut out = Array::<f32>::zeros(&shape);
        scatter(Scatter::Add, out.out(), &[i.view(), j.view()], &[0, 2], updates.view()).unwrap();
        bits(&out.data)
    });
    let mut due = vec![0f32; 40 * 50 * 30];
    for k in 0..count {
        for m in 0..50 {
            due[(i.data[k] as usize * 50 + m) * 30 + j.data[k] as usize] += updates.data[k * 50 + m];
        }
    }
    assert!(result == bits(&due));
}

#[test]
fn gathers_and_scatters_along_every_axis_agree_with_loops() {
    let mut rng = Rng(43);
    let shape = [70usize, 80, 90];
    let x = random(&shape, &mut rng);
    for axis in 0..3 {
        let index =
            Array::<u32>::from(&shape, (0..70 * 80 * 90).map(|_| rng.below(shape[axis]) as u32).collect());
        let step: usize = shape[axis + 1..].iter().product();
        let place = |k: usize| k - k / step % shape[axis] * step + index.data[k] as usize * step;
        let taken = same("take_along_axis", || {
            let mut out = Array::<f32>::zeros(&shape);
            take_along_axis(x.view(), index.view(), axis, out.out()).unwrap();
            bits(&out.data)
        });
        assert!((0..taken.len()).all(|k| taken[k] == x.data[place(k)].to_bits()));
        let added = same("scatter_along_axis", || {
            let mut out = Array::<f32>::zeros(&shape);
            scatter_along_axis(Scatter::Add, out.out(), index.view(), axis, x.view()).unwrap();
            bits(&out.data)
        });
        let mut due = vec![0f32; x.data.len()];
        for k in 0..due.len() {
            due[place(k)] += x.data[k];
        }
        assert!(added == bits(&due), "axis {axis}");
    }
}

#[test]
fn of_several_bad_indices_the_first_is_named() {
    let _one_at_a_time = THREADS.lock().unwrap_or_else(|e| e.into_inner());
    threads::set_num_threads(3);
    let (rows, width, count) = (100usize, 64usize, 20_000usize);
    let table = Array::<f32>::zeros(&[rows, width]);
    let mut index = Array::<i32>::zeros(&[count]);
    for (at, bad) in [(19_000, 500), (7000, -101), (12_000, 100)] {
        index.data[at] = bad;
    }
    let mut out = Array::<f32>::zeros(&[count, 1, width]);
    let error = gather(table.view(), &[index.view()], &[0], &[1, width], out.out()).unwrap_err();
    assert_eq!(error, OutOfBounds { index: -101, axis: 0, size: rows });
    let mut target = Array::<f32>::zeros(&[rows, width]);
    let error = scatter(Scatter::Add, target.out(), &[index.view()], &[0], out.view()).unwrap_err();
    assert_eq!(error, OutOfBounds { index: -101, axis: 0, size: rows });
}

fn sorted<T: Sample>(rng: &mut Rng, shape: &[usize], axis: usize, make: impl Fn(&mut Rng) -> T) {
    let x = Array::<T>::from(shape, (0..shape.iter().product()).map(|_| make(rng)).collect());
    // The printed forms are compared: they are equal for NaN, and differ for -0 and 0.
    let (values, order) = same("sort", || {
        let (mut out, mut arg) = (Array::<T>::zeros(shape), Array::<u32>::zeros(shape));
        sort(x.view(), axis, out.out());
        argsort(x.view(), axis, arg.out());
        (out.data.iter().map(|v| format!("{v:?}")).collect::<Vec<_>>(), arg.data)
    });
    let step: usize = shape[axis + 1..].iter().product();
    let n = shape[axis];
    let line = |k: usize| k - k / step % n * step;
    let key = |v: T| {
        let text = format!("{v:?}");
        text.parse::<f64>().unwrap_or_else(|_| f64::from(u8::from(text == "true")))
    };
    for k in 0..values.len() {
        let from = line(k) + order[k] as usize * step;
        assert!(values[k] == format!("{:?}", x.data[from]), "{} {shape:?} {axis}", T::DTYPE);
        if !(k / step).is_multiple_of(n) {
            let before = line(k) + order[k - step] as usize * step;
            let (a, b) = (key(x.data[before]), key(x.data[from]));
            let rising = a < b || !a.is_nan() && b.is_nan();
            let level = (a == b || a.is_nan() && b.is_nan()) && order[k - step] < order[k];
            assert!(rising || level, "{} {shape:?} {axis}: {a} before {b}", T::DTYPE);
        }
    }
}

#[test]
fn sorts_have_the_same_bits_for_any_number_of_threads() {
    let mut rng = Rng(44);
    let float = |rng: &mut Rng| match rng.below(50) {
        0 => f32::NAN,
        1 => -f32::NAN,
        2 => 0.0,
        3 => -0.0,
        4 => f32::INFINITY,
        5 => f32::NEG_INFINITY,
        _ => f32::sample(rng) * 1e3,
    };
    for (shape, axis) in
        [(vec![200_000], 0), (vec![300, 400], 0), (vec![300, 400], 1), (vec![3, 20_000, 2], 1)]
    {
        sorted::<f32>(&mut rng, &shape, axis, float);
        sorted::<f64>(&mut rng, &shape, axis, |rng| f64::from(float(rng)) * 1e-200);
        sorted::<f16>(&mut rng, &shape, axis, |rng| f16::from_f32(float(rng)));
        sorted::<bf16>(&mut rng, &shape, axis, |rng| bf16::from_f32(float(rng)));
        sorted::<i32>(&mut rng, &shape, axis, |rng| rng.next() as i32);
        sorted::<u8>(&mut rng, &shape, axis, |rng| rng.next() as u8);
        sorted::<i64>(&mut rng, &shape, axis, |rng| i64::from(rng.next() as i32) << 20);
        sorted::<bool>(&mut rng, &shape, axis, |rng| rng.below(2) == 1);
        sorted::<i16>(&mut rng, &shape, axis, |_| 7);
    }
}

#[test]
fn scans_have_the_same_bits_for_any_number_of_threads() {
    let mut rng = Rng(45);
    for (shape, axis) in [(vec![300_001], 0), (vec![2, 100_000], 1), (vec![500, 700], 1), (vec![500, 700], 0)]
    {
        let x = random(&shape, &mut rng);
        let step: usize = shape[axis + 1..].iter().product();
        let n = shape[axis];
        for op in [Scan::Sum, Scan::Max, Scan::LogAddExp] {
            for (reverse, inclusive) in [(false, true), (true, true), (false, false), (true, false)] {
                let got = same("scan", || {
                    let mut out = Array::<f32>::zeros(&shape);
                    scan(op, x.view(), axis, reverse, inclusive, out.out());
                    bits(&out.data)
                });
                let f = |a: f64, b: f64| match op {
                    Scan::Sum => a + b,
                    Scan::Max => a.max(b),
                    _ if a == f64::NEG_INFINITY => b,
                    _ => a.max(b) + (-(a - b).abs()).exp().ln_1p(),
                };
                let neutral = if op == Scan::Sum { 0.0 } else { f64::NEG_INFINITY };
                for first in (0..x.data.len()).filter(|k| (k / step).is_multiple_of(n)) {
                    let mut sum = neutral;
                    for i in 0..n {
                        let k = first + if reverse { n - 1 - i } else { i } * step;
                        let before = sum;
                        sum = f(sum, f64::from(x.data[k]));
                        let (due, got) =
                            (if inclusive { sum } else { before }, f64::from(f32::from_bits(got[k])));
                        let near = (got - due).abs() <= 1e-5 * (1.0 + due.abs()) + 5e-6 * (i as f64).sqrt();
                        assert!(
                            got == due || near,
                            "{op:?} {shape:?} {reverse} {inclusive} [{k}]: {got}, not {due}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn scans_of_special_values_agree_with_loops() {
    let inf = f32::INFINITY;
    let one = |op: Scan, x: &[f32]| {
        let x = Array::from(&[x.len()], x.to_vec());
        let mut out = Array::<f32>::zeros(&x.shape);
        scan(op, x.view(), 0, false, true, out.out());
        out.data
    };
    assert_eq!(one(Scan::LogAddExp, &[-inf, -inf, 1.0, inf, inf, 2.0]), [-inf, -inf, 1.0, inf, inf, inf]);
    let nan = one(Scan::LogAddExp, &[0.0, f32::NAN, 1.0, inf]);
    assert!(nan[0] == 0.0 && nan[1..].iter().all(|v| v.is_nan()), "{nan:?}");
    let long: Vec<f32> = (0..40).map(|i| if i == 17 { f32::NAN } else { i as f32 }).collect();
    for op in [Scan::Max, Scan::Sum, Scan::LogAddExp] {
        let out = one(op, &long);
        assert!(
            out[..17].iter().all(|v| !v.is_nan()) && out[17..].iter().all(|v| v.is_nan()),
            "{op:?} {out:?}"
        );
    }
}

#[test]
fn random_numbers_have_the_same_bits_for_any_number_of_threads() {
    for n in [1usize, 7, 100_000, 100_001] {
        let one = |i: usize, up: usize| -> u32 {
            let half = n / 2;
            match i {
                i if i < half => random::threefry2x32([5, 6], [i as u32, (up + i) as u32])[0],
                i if i < up => random::threefry2x32([5, 6], [half as u32, 0])[0],
                i => random::threefry2x32([5, 6], [(i - up) as u32, i as u32])[1],
            }
        };
        let words = same("bits", || {
            let mut bytes = vec![0u8; 4 * n];
            random::bits([5, 6], 4, &mut bytes);
            bytes
        });
        for (i, word) in words.chunks(4).enumerate() {
            assert_eq!(word, one(i, n - n / 2).to_le_bytes(), "word {i} of {n}");
        }
        same("normal", || {
            let mut out = vec![std::mem::MaybeUninit::uninit(); n];
            random::normal([5, 6], 1.5, &mut out);
            // SAFETY: all elements are written.
            out.iter().map(|v| unsafe { v.assume_init() }.to_bits()).collect::<Vec<_>>()
        });
        same("uniform_f64", || {
            let mut out = vec![std::mem::MaybeUninit::uninit(); n];
            random::uniform_f64([5, 6], &mut out);
            // SAFETY: all elements are written.
            out.iter().map(|v| unsafe { v.assume_init() }.to_bits()).collect::<Vec<_>>()
        });
    }
}
