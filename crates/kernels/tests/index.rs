//! Gathers, scatters, sorts and matrix products against naive loops over random layouts.

mod common;
use common::*;
use covector_kernels::*;

fn pick(rng: &mut Rng, n: usize) -> i32 {
    rng.below(2 * n) as i32 - n as i32
}

fn wrap(i: i32, n: usize) -> usize {
    if i < 0 { (i + n as i32) as usize } else { i as usize }
}

struct Case {
    shape: Vec<usize>,
    axes: Vec<usize>,
    slice: Vec<usize>,
    index: Vec<Array<i32>>,
    index_shape: Vec<usize>,
}

/// A random gather whose indices fit.
fn case(rng: &mut Rng) -> Case {
    let rank = 1 + rng.below(3);
    let shape: Vec<usize> = (0..rank).map(|_| 1 + rng.below(9)).collect();
    let mut axes: Vec<usize> = (0..rank).filter(|_| rng.below(2) == 0).collect();
    if rng.below(2) == 0 {
        axes.reverse();
    }
    let slice: Vec<usize> =
        shape.iter().map(|&n| if rng.below(2) == 0 { n } else { 1 + rng.below(n) }).collect();
    let index_shape: Vec<usize> = (0..rng.below(3)).map(|_| rng.below(6)).collect();
    let index_shape = if axes.is_empty() { vec![] } else { index_shape };
    let index = axes
        .iter()
        .map(|&k| {
            let mut a = Array::<i32>::random(&index_shape, rng);
            let room = shape[k] - slice[k] + 1;
            // Negative indices must fit, too, after wrapping.
            a.data.iter_mut().for_each(|v| {
                let at = rng.below(room) as i32;
                *v = if rng.below(3) == 0 { at - shape[k] as i32 } else { at };
            });
            a
        })
        .collect();
    Case { shape, axes, slice, index, index_shape }
}

impl Case {
    /// For each element of the result: its index among the results and its index in the source.
    fn pairs(&self) -> Vec<(Vec<usize>, Vec<usize>)> {
        let mut pairs = Vec::new();
        for i in indices(&self.index_shape) {
            for s in indices(&self.slice) {
                let mut at = s.clone();
                for (a, &k) in self.index.iter().zip(&self.axes) {
                    at[k] += wrap(a.at(&i), self.shape[k]);
                }
                pairs.push(([i.clone(), s].concat(), at));
            }
        }
        pairs
    }
}

#[test]
fn gathers_and_scatters_agree_with_loops() {
    let mut rng = Rng(21);
    for _ in 0..400 {
        let c = case(&mut rng);
        let views: Vec<View<'_>> = c.index.iter().map(|a| a.view()).collect();
        let result = [c.index_shape.clone(), c.slice.clone()].concat();
        let src = Array::<f32>::random(&c.shape, &mut rng);
        let mut out = Array::<f32>::zeros(&result);
        gather(src.view(), &views, &c.axes, &c.slice, out.out()).unwrap();
        for (to, from) in c.pairs() {
            assert_eq!(out.at(&to), src.at(&from));
        }
        let updates = Array::<f32>::random(&result, &mut rng);
        type Combine = fn(f32, f32) -> f32;
        let ops: [(Scatter, Combine); 5] = [
            (Scatter::Set, |_, u| u),
            (Scatter::Add, |d, u| d + u),
            (Scatter::Prod, |d, u| d * u),
            (Scatter::Max, f32::max),
            (Scatter::Min, f32::min),
        ];
        for (op, f) in ops {
            let n = c.shape.iter().product();
            let start: Vec<f32> = (0..n).map(|_| f32::sample(&mut rng)).collect();
            let mut out = Array::from(&c.shape, start.clone());
            let mut expected = Array::from(&c.shape, start);
            for (from, to) in c.pairs() {
                let at: isize = to.iter().zip(&expected.strides).map(|(&i, &s)| i as isize * s).sum();
                let d = &mut expected.data[at as usize];
                *d = f(*d, updates.at(&from));
            }
            scatter(op, out.out(), &views, &c.axes, updates.view()).unwrap();
            assert_close(&out.data, &expected.data, &format!("{op:?}"));
        }
    }
}

#[test]
fn gathers_and_scatters_of_rows_agree_with_loops() {
    let mut rng = Rng(22);
    for width in [1usize, 3, 64, 200] {
        let src = Array::<f32>::from(&[50, width], (0..50 * width).map(|i| i as f32).collect());
        let index = Array::<u32>::from(&[30], (0..30).map(|_| rng.below(50) as u32).collect());
        let mut out = Array::<f32>::zeros(&[30, 1, width]);
        gather(src.view(), &[index.view()], &[0], &[1, width], out.out()).unwrap();
        for (k, &i) in index.data.iter().enumerate() {
            assert_eq!(out.data[k * width..][..width], src.data[i as usize * width..][..width]);
        }
        let mut sums = Array::<f32>::zeros(&[50, width]);
        scatter(Scatter::Add, sums.out(), &[index.view()], &[0], out.view()).unwrap();
        let mut expected = vec![0.0; 50 * width];
        for (k, &i) in index.data.iter().enumerate() {
            for j in 0..width {
                expected[i as usize * width + j] += out.data[k * width + j];
            }
        }
        assert_eq!(sums.data, expected);
    }
}

#[test]
fn half_precision_is_rounded_once_at_each_position() {
    fn check<T: Sample>(
        wide: fn(T) -> f32,
        narrow: fn(f32) -> T,
        (places, width, count): (usize, usize, usize),
    ) {
        let mut rng = Rng((places * count) as u64);
        let index = Array::<u32>::from(&[count], (0..count).map(|_| rng.below(places) as u32).collect());
        let some = |n: usize, rng: &mut Rng| {
            (0..n).map(|_| narrow(0.75 + 0.5 * f32::sample(rng).fract().abs())).collect()
        };
        // Every second column, so that runs have gaps, and all of them.
        for step in [1, 2] {
            let start: Vec<T> = some(places * width, &mut rng);
            let data: Vec<T> = some(count * width * step, &mut rng);
            let strides = [(width * step) as isize, width as isize, step as isize];
            let shape = [count, 1, width];
            // SAFETY: `data` has as many elements.
            let updates = unsafe { View::new(data.as_ptr().cast(), T::DTYPE, &shape, &strides) };
            for (op, f) in
                [(Scatter::Add, (|a, b| a + b) as fn(f32, f32) -> f32), (Scatter::Prod, |a, b| a * b)]
            {
                let mut sums: Vec<f32> = start.iter().map(|&x| wide(x)).collect();
                for (k, &i) in index.data.iter().enumerate() {
                    for j in 0..width {
                        let sum = &mut sums[i as usize * width + j];
                        *sum = f(*sum, wide(data[k * width * step + j * step]));
                    }
                }
                let mut out = Array::from(&[places, width], start.clone());
                scatter(op, out.out(), &[index.view()], &[0], updates).unwrap();
                for (&y, &sum) in out.data.iter().zip(&sums) {
                    assert_eq!(
                        wide(y).to_bits(),
                        wide(narrow(sum)).to_bits(),
                        "{op:?} {places} {width} {count}"
                    );
                }
            }
        }
    }
    // One position for all updates, long slices, and sizes that several threads share.
    for sizes in [(2, 1, 5000), (7, 700, 30), (900, 3, 60_000), (5, 1, 1), (3, 2, 2)] {
        check(f16::to_f32, f16::from_f32, sizes);
        check(bf16::to_f32, bf16::from_f32, sizes);
    }
}

#[test]
fn indices_out_of_bounds_are_errors() {
    let src = Array::<f32>::zeros(&[4, 3]);
    let mut out = Array::<f32>::zeros(&[1, 1, 3]);
    for (bad, width) in [(4, 1), (-5, 1), (3, 2)] {
        let index = Array::<i32>::from(&[1], vec![bad]);
        let mut out = Array::<f32>::zeros(&[1, width, 3]);
        let error = gather(src.view(), &[index.view()], &[0], &[width, 3], out.out()).unwrap_err();
        assert_eq!(error, OutOfBounds { index: i64::from(bad), axis: 0, size: 4 });
    }
    let index = Array::<u64>::from(&[1], vec![u64::MAX]);
    assert!(gather(src.view(), &[index.view()], &[0], &[1, 3], out.out()).is_err());
    let index = Array::<i64>::from(&[1, 1], vec![i64::MAX]);
    let mut one = Array::<f32>::zeros(&[1, 1]);
    assert!(take_along_axis(src.view(), index.view(), 1, one.out()).is_err());
    let index = Array::<i8>::from(&[1, 3], vec![0, 1, -5]);
    let mut target = Array::<f32>::zeros(&[4, 3]);
    let updates = Array::<f32>::zeros(&[1, 3]);
    assert!(scatter_along_axis(Scatter::Set, target.out(), index.view(), 0, updates.view()).is_err());
}

#[test]
fn gathers_and_scatters_along_an_axis_agree_with_loops() {
    let mut rng = Rng(23);
    for _ in 0..300 {
        let shape: Vec<usize> = (0..1 + rng.below(3)).map(|_| 1 + rng.below(7)).collect();
        let axis = rng.below(shape.len());
        let mut picked = shape.clone();
        picked[axis] = rng.below(9);
        let src = Array::<i64>::random(&shape, &mut rng);
        let mut idx = Array::<i32>::random(&picked, &mut rng);
        idx.data.iter_mut().for_each(|v| *v = pick(&mut rng, shape[axis]));
        let mut out = Array::<i64>::zeros(&picked);
        take_along_axis(src.view(), idx.view(), axis, out.out()).unwrap();
        let place = |i: &[usize]| {
            let mut at = i.to_vec();
            at[axis] = wrap(idx.at(i), shape[axis]);
            at
        };
        for i in indices(&picked) {
            assert_eq!(out.at(&i), src.at(&place(&i)));
        }
        let updates = Array::<i64>::random(&picked, &mut rng);
        for op in [Scatter::Set, Scatter::Add] {
            let mut target = Array::<i64>::zeros(&shape);
            let mut expected = vec![0i64; target.data.len()];
            for i in indices(&picked) {
                let at: isize = place(&i).iter().zip(&target.strides).map(|(&i, &s)| i as isize * s).sum();
                let d = &mut expected[at as usize];
                *d = if op == Scatter::Set { updates.at(&i) } else { d.wrapping_add(updates.at(&i)) };
            }
            scatter_along_axis(op, target.out(), idx.view(), axis, updates.view()).unwrap();
            assert_eq!(target.data, expected);
        }
    }
}

fn sort_case<T: Sample>(
    rng: &mut Rng,
    order: impl Fn(&T, &T) -> std::cmp::Ordering,
    coarse: impl Fn(T) -> T,
) {
    let mut shape = random_shape(rng);
    shape.push([1, 2, 30, 300, 5000][rng.below(if shape.is_empty() { 5 } else { 3 })]);
    let axis = rng.below(shape.len());
    let mut x = Array::<T>::random(&shape, rng);
    x.data.iter_mut().for_each(|v| *v = coarse(*v));
    let mut sorted = Array::<T>::zeros(&shape);
    let mut arg = Array::<u32>::zeros(&shape);
    sort(x.view(), axis, sorted.out());
    argsort(x.view(), axis, arg.out());
    let mut firsts = shape.clone();
    firsts[axis] = shape[axis].min(1);
    for first in indices(&firsts) {
        let line = |k: usize| {
            let mut at = first.clone();
            at[axis] = k;
            at
        };
        let mut expected: Vec<u32> = (0..shape[axis] as u32).collect();
        expected.sort_by(|&a, &b| order(&x.at(&line(a as usize)), &x.at(&line(b as usize))));
        for (k, &e) in expected.iter().enumerate() {
            assert_eq!(arg.at(&line(k)), e, "{} {shape:?} {axis}", T::DTYPE);
            let (got, exact) = (sorted.at(&line(k)), x.at(&line(e as usize)));
            assert_eq!(format!("{got:?}"), format!("{exact:?}"), "{} {shape:?} {axis}", T::DTYPE);
        }
    }
}

#[test]
fn sorts_agree_with_the_standard_library() {
    let mut rng = Rng(24);
    let float = |a: &f64, b: &f64| a.partial_cmp(b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()));
    for _ in 0..60 {
        sort_case::<f32>(
            &mut rng,
            |a, b| float(&f64::from(*a), &f64::from(*b)),
            |v| {
                if v > 1.9 {
                    f32::NAN
                } else if v.abs() < 0.3 {
                    0.0f32.copysign(v)
                } else {
                    (v * 50.0).round()
                }
            },
        );
        sort_case::<f64>(&mut rng, float, |v| if v > 1.9 { f64::NAN } else { (v * 5.0).round() });
        sort_case::<f16>(&mut rng, |a, b| float(&a.to_f64(), &b.to_f64()), |v| v);
        sort_case::<bf16>(&mut rng, |a, b| float(&a.to_f64(), &b.to_f64()), |v| v);
        sort_case::<i32>(&mut rng, Ord::cmp, |v| v % 100 - 50);
        sort_case::<i64>(&mut rng, Ord::cmp, |v| v % 100 - 50);
        sort_case::<u8>(&mut rng, Ord::cmp, |v| v);
        sort_case::<i16>(&mut rng, Ord::cmp, |v| v);
        sort_case::<u64>(&mut rng, Ord::cmp, |v| v);
        sort_case::<bool>(&mut rng, Ord::cmp, |v| v);
        sort_case::<C64>(
            &mut rng,
            |a, b| float(&f64::from(a.re), &f64::from(b.re)).then(float(&f64::from(a.im), &f64::from(b.im))),
            |v| C64::new(v.re.round(), v.im),
        );
    }
}

fn matmul_case<T: Sample>(rng: &mut Rng, mul: impl Fn(T, T) -> T, add: impl Fn(T, T) -> T) {
    let size =
        |rng: &mut Rng| [0, 1, 2, 7, 16, 33, 70][if rng.below(20) == 0 { 0 } else { 1 + rng.below(6) }];
    let (m, n, k) = (size(rng), size(rng), size(rng));
    let batch: Vec<usize> = (0..rng.below(3)).map(|_| 1 + rng.below(3)).collect();
    let part =
        |rng: &mut Rng| batch.iter().map(|&n| if rng.below(3) == 0 { 1 } else { n }).collect::<Vec<_>>();
    let a = Array::<T>::random(&[part(rng), vec![m, k]].concat(), rng);
    let b = Array::<T>::random(&[part(rng), vec![k, n]].concat(), rng);
    let mut out = Array::<T>::zeros(&[batch.clone(), vec![m, n]].concat());
    matmul(a.view(), b.view(), out.out());
    let r = batch.len();
    for i in indices(&out.shape) {
        let mut sum = T::default();
        for p in 0..k {
            let x = a.broadcast_at(&[&i[..r], &[i[r], p]].concat());
            let y = b.broadcast_at(&[&i[..r], &[p, i[r + 1]]].concat());
            sum = add(sum, mul(x, y));
        }
        assert!(out.at(&i).close(sum), "{} {m}x{k}x{n} {batch:?}: {:?}, not {sum:?}", T::DTYPE, out.at(&i));
    }
}

/// Small whole numbers, whose products are exact in every type.
fn whole(v: f32) -> f32 {
    v.round()
}

#[test]
fn matrix_products_agree_with_loops() {
    let mut rng = Rng(25);
    for _ in 0..150 {
        matmul_case::<f32>(&mut rng, |a, b| a * b, |a, b| a + b);
        matmul_case::<f64>(&mut rng, |a, b| a * b, |a, b| a + b);
        matmul_case::<C64>(&mut rng, |a, b| a * b, |a, b| a + b);
    }
    for (m, k, n) in [(5, 20, 9), (40, 33, 17), (1, 100, 3)] {
        let draw = |rng: &mut Rng, n: usize| (0..n).map(|_| whole(f32::sample(rng))).collect::<Vec<_>>();
        let (a, b) = (draw(&mut rng, m * k), draw(&mut rng, k * n));
        let exact: Vec<f32> =
            (0..m * n).map(|i| (0..k).map(|p| a[i / n * k + p] * b[p * n + i % n]).sum()).collect();
        let x = Array::from(&[m, k], a.iter().map(|&v| bf16::from_f32(v)).collect());
        let y = Array::from(&[k, n], b.iter().map(|&v| bf16::from_f32(v)).collect());
        let mut out = Array::<bf16>::zeros(&[m, n]);
        matmul(x.view(), y.view(), out.out());
        assert_eq!(out.data, exact.iter().map(|&v| bf16::from_f32(v)).collect::<Vec<_>>());
        let x = Array::from(&[m, k], a.iter().map(|&v| f16::from_f32(v)).collect());
        let y = Array::from(&[k, n], b.iter().map(|&v| f16::from_f32(v)).collect());
        let mut out = Array::<f16>::zeros(&[m, n]);
        matmul(x.view(), y.view(), out.out());
        assert_eq!(out.data, exact.iter().map(|&v| f16::from_f32(v)).collect::<Vec<_>>());
    }
}
