//! Reductions, scans, sorting, order statistics and products of matrices against naive loops.

mod ops_common;

use covector_core::{Array, C64, Dtype, Error, Result, ops};
use ops_common::*;

const SHAPES: [&[usize]; 9] =
    [&[], &[1], &[7], &[0], &[3, 4], &[2, 0, 3], &[2, 3, 4], &[1, 5, 1], &[2, 1, 3, 2]];

/// Every set of axes of an array of some rank.
fn axis_sets(rank: usize) -> Vec<Vec<usize>> {
    (0..1usize << rank).map(|bits| (0..rank).filter(|k| bits >> k & 1 == 1).collect()).collect()
}

/// The elements that are reduced to each element of the result, in order.
fn groups(x: &[f64], shape: &[usize], axes: &[usize]) -> Vec<Vec<f64>> {
    let kept: Vec<usize> = (0..shape.len()).filter(|k| !axes.contains(k)).collect();
    let out: Vec<usize> = kept.iter().map(|&k| shape[k]).collect();
    let mut groups = vec![Vec::new(); out.iter().product()];
    positions(shape, |at| {
        let place: Vec<usize> = kept.iter().map(|&k| at[k]).collect();
        groups[flat(&place, &out)].push(x[flat(at, shape)]);
    });
    groups
}

fn signed(axes: &[usize], rank: usize) -> Vec<isize> {
    // Half of them counted from the end, and in another order.
    axes.iter().rev().map(|&k| if k % 2 == 0 { k as isize } else { k as isize - rank as isize }).collect()
}

type Reduction = (&'static str, fn(&Array, &[isize], bool) -> Result<Array>, fn(&[f64]) -> Option<f64>);

fn mean(v: &[f64]) -> f64 {
    v.iter().sum::<f64>() / v.len() as f64
}

fn var(v: &[f64]) -> f64 {
    v.iter().map(|x| (x - mean(v)).powi(2)).sum::<f64>() / v.len() as f64
}

const REDUCTIONS: [Reduction; 11] = [
    ("sum", ops::try_sum_axes, |v| Some(v.iter().sum())),
    ("prod", ops::try_prod_axes, |v| Some(v.iter().product())),
    ("max", ops::try_max_axes, |v| v.iter().copied().reduce(f64::max)),
    ("min", ops::try_min_axes, |v| v.iter().copied().reduce(f64::min)),
    ("all", ops::try_all_axes, |v| Some(f64::from(v.iter().all(|&x| x != 0.0)))),
    ("any", ops::try_any_axes, |v| Some(f64::from(v.iter().any(|&x| x != 0.0)))),
    ("mean", ops::try_mean_axes, |v| Some(mean(v))),
    ("var", |x, a, k| ops::try_var_axes(x, a, k, 0), |v| Some(var(v))),
    ("std", |x, a, k| ops::try_std_axes(x, a, k, 0), |v| Some(var(v).sqrt())),
    ("logsumexp", ops::try_logsumexp_axes, |v| {
        (!v.is_empty()).then(|| v.iter().map(|x| x.exp()).sum::<f64>().ln())
    }),
    ("median", ops::try_median_axes, |v| {
        let mut v = v.to_vec();
        v.sort_by(f64::total_cmp);
        (!v.is_empty()).then(|| (v[(v.len() - 1) / 2] + v[v.len() / 2]) / 2.0)
    }),
];

#[test]
fn reductions_agree_with_loops() {
    let mut rng = Rng(1);
    let mut checks = 0;
    for dtype in Dtype::ALL.into_iter().filter(|d| !d.is_complex()) {
        for shape in SHAPES {
            let x = rng.array(shape, dtype);
            let held = reals(&x);
            for layout in layouts(&x) {
                for axes in axis_sets(shape.len()) {
                    let groups = groups(&held, shape, &axes);
                    for (name, f, exact) in REDUCTIONS {
                        let want: Option<Vec<f64>> = groups.iter().map(|g| exact(g)).collect();
                        let got = f(&layout, &signed(&axes, shape.len()), false);
                        let what = format!("{name} of {shape:?} over {axes:?} in {dtype}");
                        // An empty group has no extreme, even if there is no such group in the result.
                        let empty = axes.iter().any(|&k| shape[k] == 0);
                        let refuses = matches!(name, "max" | "min" | "logsumexp" | "median");
                        if refuses && empty {
                            assert!(matches!(got, Err(Error::Value { .. })), "{what}");
                            continue;
                        }
                        let got = got.unwrap_or_else(|e| panic!("{what}: {e}"));
                        let kept = f(&layout, &signed(&axes, shape.len()), true).unwrap();
                        let kept_shape: Vec<usize> =
                            (0..shape.len()).map(|k| if axes.contains(&k) { 1 } else { shape[k] }).collect();
                        assert_eq!(kept.shape(), kept_shape, "{what}");
                        assert_eq!(reals(&kept).len(), reals(&got).len(), "{what}");
                        let want = want.expect("only empty groups have none");
                        if name == "prod" && dtype.is_integer() {
                            // Products of whole numbers wrap; compare where they do not.
                            let bits = 8 * got.dtype().size() as i32 - 1;
                            for (a, b) in reals(&got).into_iter().zip(&want) {
                                assert!(b.abs() >= 2f64.powi(bits.min(53)) || a == *b, "{what}: {a} {b}");
                            }
                        } else {
                            assert_near(&what, &got, &want, if name == "prod" { 64.0 } else { 16.0 });
                        }
                        checks += 1;
                    }
                }
            }
        }
    }
    assert!(checks > 10_000, "{checks}");
}

#[test]
fn results_have_the_documented_types() {
    let table = [
        (Dtype::Bool, Dtype::I32, Dtype::F32, Dtype::Bool),
        (Dtype::U8, Dtype::U32, Dtype::F32, Dtype::U8),
        (Dtype::U16, Dtype::U32, Dtype::F32, Dtype::U16),
        (Dtype::U64, Dtype::U64, Dtype::F32, Dtype::U64),
        (Dtype::I8, Dtype::I32, Dtype::F32, Dtype::I8),
        (Dtype::I64, Dtype::I64, Dtype::F32, Dtype::I64),
        (Dtype::F16, Dtype::F16, Dtype::F16, Dtype::F16),
        (Dtype::Bf16, Dtype::Bf16, Dtype::Bf16, Dtype::Bf16),
        (Dtype::F64, Dtype::F64, Dtype::F64, Dtype::F64),
        (Dtype::C64, Dtype::C64, Dtype::C64, Dtype::C64),
    ];
    for (dtype, sum, mean, max) in table {
        let x = ops::ones(&[2, 3], dtype);
        assert_eq!(
            (x.sum().dtype(), x.prod().dtype(), x.mean().dtype(), x.max().dtype()),
            (sum, sum, mean, max)
        );
        assert_eq!(x.sum_axes(&[], false).dtype(), sum);
        assert_eq!(
            (x.argmax().dtype(), x.all().dtype(), x.count_nonzero().dtype()),
            (Dtype::U32, Dtype::Bool, Dtype::I32)
        );
        assert_eq!(x.softmax(&[-1]).dtype(), mean);
        assert_eq!(x.var().dtype(), if dtype.is_complex() { Dtype::F32 } else { mean });
    }
}

#[test]
fn not_a_number_spreads_and_infinities_count() {
    for dtype in [Dtype::F16, Dtype::Bf16, Dtype::F32, Dtype::F64] {
        let x = array(&[1.0, f64::NAN, 3.0, -2.0], &[2, 2], dtype);
        let nan = |y: Array| reals(&y).iter().map(|v| v.is_nan()).collect::<Vec<_>>();
        assert_eq!(nan(x.max_axes(&[1], false)), [true, false]);
        assert_eq!(nan(x.min_axes(&[0], false)), [false, true]);
        assert_eq!(nan(x.median_axes(&[1], false)), [true, false]);
        assert_eq!(nan(x.cummax(1, false, true)), [false, true, false, false]);
        assert_eq!((x.argmax().item::<u32>(), x.argmin().item::<u32>()), (1, 1));
        assert_eq!(x.reshape(&[4]).argsort(0).to_vec::<u32>(), [3, 0, 2, 1]);
        assert!(x.any().item::<bool>() && x.all().item::<bool>());
        let low = array(&[f64::NEG_INFINITY; 3], &[3], dtype);
        assert_eq!(reals(&low.logsumexp()), [f64::NEG_INFINITY]);
        assert_eq!(reals(&array(&[f64::INFINITY, 1.0], &[2], dtype).logsumexp()), [f64::INFINITY]);
        assert_near(
            "softmax",
            &array(&[f64::NEG_INFINITY, 0.0, 0.0], &[3], dtype).softmax(&[0]),
            &[0.0, 0.5, 0.5],
            2.0,
        );
        assert_near("far apart", &array(&[1000.0, 0.0], &[2], dtype).softmax(&[0]), &[1.0, 0.0], 2.0);
    }
    // Small numbers are not lost on a great sum.
    assert_eq!(ops::ones(&[1 << 20], Dtype::F16).mean().dtype(), Dtype::F16);
    assert_eq!(reals(&ops::full(&[100_000], 0.1, Dtype::F32).sum())[0], f64::from(10_000.0f32));
    let spread = ops::arange(0.0, 3.0, 1.0, Dtype::F32) + 10_000.0;
    assert_near("variance of great numbers", &spread.var(), &[2.0 / 3.0], 8.0);
    assert_eq!(reals(&Array::new([1.0f32, 2.0, 3.0]).var_axes(&[0], false, 5))[0], f64::INFINITY);
}

#[test]
fn complex_reductions() {
    let z =
        Array::new([[C64::new(1.0, 2.0), C64::new(1.0, -3.0)], [C64::new(-4.0, 0.5), C64::new(0.0, 1.0)]]);
    for z in layouts(&z) {
        assert_eq!(values(&z.sum()), [(-2.0, 0.5)]);
        assert_eq!(values(&z.prod_axes(&[1], false)), [(7.0, -1.0), (-0.5, -4.0)]);
        assert_eq!(values(&z.max()), [(1.0, 2.0)]);
        assert_eq!(values(&z.min_axes(&[0], false)), [(-4.0, 0.5), (0.0, 1.0)]);
        assert_eq!(values(&z.sort(1)), [(1.0, -3.0), (1.0, 2.0), (-4.0, 0.5), (0.0, 1.0)]);
        assert_eq!(z.argmax().item::<u32>(), 0);
        assert_eq!(values(&z.cumsum(0, false, true))[2..], [(-3.0, 2.5), (1.0, -2.0)]);
    }
}

/// Applies `f` to every line of an axis.
fn by_line(x: &[f64], shape: &[usize], axis: usize, f: impl Fn(&[f64]) -> Vec<f64>) -> Vec<f64> {
    let mut out = vec![0.0; x.len()];
    let mut starts = shape.to_vec();
    starts[axis] = usize::from(shape[axis] > 0);
    positions(&starts, |at| {
        let place = |i: usize| {
            let mut p = at.to_vec();
            p[axis] = i;
            flat(&p, shape)
        };
        let line: Vec<f64> = (0..shape[axis]).map(|i| x[place(i)]).collect();
        for (i, v) in f(&line).into_iter().enumerate() {
            out[place(i)] = v;
        }
    });
    out
}

#[test]
fn scans_agree_with_loops() {
    type Scan = (&'static str, fn(&Array, isize, bool, bool) -> Array, f64, fn(f64, f64) -> f64);
    let scans: [Scan; 5] = [
        ("cumsum", ops::cumsum, 0.0, |a, b| a + b),
        ("cumprod", ops::cumprod, 1.0, |a, b| a * b),
        ("cummax", ops::cummax, f64::NEG_INFINITY, f64::max),
        ("cummin", ops::cummin, f64::INFINITY, f64::min),
        ("logcumsumexp", ops::logcumsumexp, f64::NEG_INFINITY, |a, b| (a.exp() + b.exp()).ln()),
    ];
    let mut rng = Rng(2);
    for dtype in [Dtype::F16, Dtype::Bf16, Dtype::F32, Dtype::F64, Dtype::I32, Dtype::I64] {
        for shape in SHAPES.into_iter().filter(|s| !s.is_empty()) {
            let x = rng.array(shape, dtype);
            let held = reals(&x);
            for x in layouts(&x) {
                for axis in 0..shape.len() {
                    for (name, f, first, combine) in scans {
                        for (reverse, inclusive) in
                            [(false, true), (true, true), (false, false), (true, false)]
                        {
                            if !inclusive && !dtype.is_float() && name.starts_with("cumm") {
                                continue; // starts with the type's own extremes
                            }
                            let want = by_line(&held, shape, axis, |line| {
                                let mut line = line.to_vec();
                                if reverse {
                                    line.reverse();
                                }
                                let mut sum = first;
                                let mut out: Vec<f64> = line
                                    .into_iter()
                                    .map(|v| {
                                        let before = sum;
                                        sum = combine(sum, v);
                                        if inclusive { sum } else { before }
                                    })
                                    .collect();
                                if reverse {
                                    out.reverse();
                                }
                                out
                            });
                            let got = f(&x, axis as isize - shape.len() as isize, reverse, inclusive);
                            assert_near(
                                &format!("{name} {shape:?} {axis} {reverse} {inclusive}"),
                                &got,
                                &want,
                                16.0,
                            );
                        }
                    }
                }
            }
        }
    }
    let small = array(&[100.0; 3], &[3], Dtype::I8);
    assert_eq!(small.cumsum(0, false, true).to_vec::<i8>(), [100, -56, 44]);
    assert_eq!(Array::new([true, true]).cumsum(0, false, true).to_vec::<i32>(), [1, 2]);
    assert_eq!(Array::new([3i8, 1]).cummax(0, false, false).to_vec::<i8>(), [i8::MIN, 3]);
}

#[test]
fn sorting_agrees_with_loops() {
    let mut rng = Rng(3);
    let sorted = |line: &[f64]| {
        let mut v = line.to_vec();
        v.sort_by(f64::total_cmp);
        v
    };
    for dtype in Dtype::ALL.into_iter().filter(|d| !d.is_complex()) {
        for shape in SHAPES.into_iter().filter(|s| !s.is_empty()).chain([&[40, 3][..]]) {
            let x = rng.array(shape, dtype) + Array::scalar(false); // no negative zeros
            let held = reals(&x);
            for x in layouts(&x) {
                for axis in 0..shape.len() {
                    let k = axis as isize;
                    let n = shape[axis];
                    let want = by_line(&held, shape, axis, sorted);
                    assert_eq!(reals(&x.sort(k)), want, "{shape:?} {axis} {dtype}");
                    let order = x.argsort(k);
                    assert_eq!(reals(&x.take_along_axis(&order, k)), want);
                    // Equal elements keep their order.
                    let stable = by_line(&held, shape, axis, |line| {
                        let mut order: Vec<usize> = (0..line.len()).collect();
                        order.sort_by(|&i, &j| line[i].total_cmp(&line[j]));
                        order.into_iter().map(|i| i as f64).collect()
                    });
                    assert_eq!(reals(&order), stable);
                    for top in 0..=n {
                        let part = ops::Index::Slice(Some((n - top) as isize), None, 1);
                        let mut index = vec![ops::Index::from(..); axis];
                        index.push(part);
                        assert_eq!(reals(&x.topk(top, k)), reals(&x.sort(k).index(&index)));
                    }
                    for kth in -(n as isize)..n as isize {
                        let place = ops::Index::At(kth);
                        let mut index = vec![ops::Index::from(..); axis];
                        index.push(place);
                        let sorted = x.sort(k).index(&index);
                        assert_eq!(reals(&x.partition(kth, k).index(&index)), reals(&sorted));
                        let by_index = x.take_along_axis(&x.argpartition(kth, k), k).index(&index);
                        assert_eq!(reals(&by_index), reals(&sorted));
                    }
                    if n > 0 {
                        let most = |line: &[f64]| {
                            let m = line.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                            vec![line.iter().position(|&v| v == m).unwrap() as f64; line.len()]
                        };
                        let first = ops::broadcast_to(&x.argmax_axis(k, true), shape);
                        assert_eq!(reals(&first), by_line(&held, shape, axis, most));
                        let least = ops::broadcast_to(&x.argmin_axis(k, true), shape);
                        let negated = by_line(&held, shape, axis, |line| {
                            most(&line.iter().map(|v| -v).collect::<Vec<_>>())
                        });
                        assert_eq!(reals(&least), negated);
                    } else {
                        assert!(x.try_argmax_axis(k, false).is_err());
                    }
                }
            }
        }
    }
    let x = Array::new([1i32, 2, 3]);
    assert!(failure(x.try_topk(4, 0)).contains("4 elements"));
    assert!(failure(x.try_partition(3, 0)).contains("place 3"));
    assert!(matches!(Array::scalar(1.0f32).try_sort(-1), Err(Error::Axis { .. })));
}

#[test]
fn searching_agrees_with_counting() {
    let mut rng = Rng(4);
    for dtype in [Dtype::F32, Dtype::F16, Dtype::I32, Dtype::U8] {
        for n in [0usize, 1, 2, 3, 7, 8, 9, 31] {
            let line = rng.array(&[n], dtype).sort(0);
            let held = reals(&line);
            for asked in layouts(&rng.array(&[3, 5], dtype)) {
                for right in [false, true] {
                    let got = line.searchsorted(&asked, right);
                    assert_eq!((got.dtype(), got.shape()), (Dtype::U32, &[3, 5][..]));
                    for (&v, g) in reals(&asked).iter().zip(reals(&got)) {
                        let want = held.iter().filter(|&&h| if right { h <= v } else { h < v }).count();
                        assert_eq!(g, want as f64, "{v} in {held:?}, right {right}");
                    }
                }
            }
        }
    }
    let line = Array::new([1.0f32, 2.0, 2.0, f32::NAN]);
    let asked = Array::new([2.5f32, f32::NAN, f32::INFINITY]);
    assert_eq!(line.searchsorted(&asked, false).to_vec::<u32>(), [3, 3, 3]);
    assert_eq!(line.searchsorted(&asked, true).to_vec::<u32>(), [3, 4, 3]);
    assert!(failure(ops::zeros(&[1, 2], Dtype::F32).try_searchsorted(&asked, false)).contains("(1, 2)"));
}

#[test]
fn differences() {
    assert_eq!(Array::new([1i32, 4, 9, 16]).diff(2, 0).to_vec::<i32>(), [2, 2]);
    assert_eq!(Array::new([true, false, true, true]).diff(1, -1).to_vec::<bool>(), [true, true, false]);
    assert_eq!(Array::new([3u8, 1]).diff(1, 0).to_vec::<u8>(), [254]);
    assert_eq!(Array::new([1i32, 4]).diff(5, 0).shape(), [0]);
    assert_eq!(Array::new([1i32, 4]).diff(0, 0).to_vec::<i32>(), [1, 4]);
    assert_eq!(ops::zeros(&[2, 3], Dtype::F32).diff(1, 0).shape(), [1, 3]);
}

/// The product by the definition, in f64 pairs.
fn product(a: &Array, b: &Array) -> Vec<Z> {
    let (m, k, n) = (a.dim(-2), a.dim(-1), b.dim(-1));
    let (va, vb) = (values(a), values(b));
    let batch: Vec<usize> = {
        let (p, q) = (&a.shape()[..a.ndim() - 2], &b.shape()[..b.ndim() - 2]);
        let rank = p.len().max(q.len());
        let get = |s: &[usize], i: usize| if i + s.len() < rank { 1 } else { s[i + s.len() - rank] };
        (0..rank).map(|i| if get(p, i) == 1 { get(q, i) } else { get(p, i) }).collect()
    };
    let pick = |x: &Array, at: &[usize]| {
        let s = &x.shape()[..x.ndim() - 2];
        let tail = &at[at.len() - s.len()..];
        let place: Vec<usize> = tail.iter().zip(s).map(|(&i, &n)| if n == 1 { 0 } else { i }).collect();
        flat(&place, s)
    };
    let mut out = Vec::new();
    positions(&batch, |at| {
        let (pa, pb) = (pick(a, at) * m * k, pick(b, at) * k * n);
        for i in 0..m {
            for j in 0..n {
                let mut sum = (0.0, 0.0);
                for l in 0..k {
                    let (x, y) = (va[pa + i * k + l], vb[pb + l * n + j]);
                    sum = (sum.0 + x.0 * y.0 - x.1 * y.1, sum.1 + x.0 * y.1 + x.1 * y.0);
                }
                out.push(sum);
            }
        }
    });
    out
}

#[test]
fn products_agree_with_loops() {
    let mut rng = Rng(6);
    let shapes: [(&[usize], &[usize]); 9] = [
        (&[2, 3], &[3, 4]),
        (&[1, 1], &[1, 1]),
        (&[2, 0], &[0, 3]),
        (&[0, 3], &[3, 2]),
        (&[4, 2, 3], &[3, 5]),
        (&[2, 3], &[4, 3, 5]),
        (&[2, 1, 3, 4], &[5, 4, 2]),
        (&[17, 33], &[33, 19]),
        (&[3, 1, 40], &[3, 40, 1]),
    ];
    for dtype in [Dtype::F16, Dtype::Bf16, Dtype::F32, Dtype::F64, Dtype::C64] {
        for (p, q) in shapes {
            let mut matrix = |s: &[usize]| {
                let re = rng.array(s, Dtype::F32);
                if dtype.is_complex() {
                    re + rng.array(s, Dtype::F32) * Array::scalar(C64::new(0.0, 1.0))
                } else {
                    re.astype(dtype)
                }
            };
            let (a, b) = (matrix(p), matrix(q));
            let want = product(&a, &b);
            for x in layouts(&a) {
                for y in layouts(&b) {
                    let got = values(&x.matmul(&y));
                    assert_eq!(got.len(), want.len());
                    for (g, w) in got.iter().zip(&want) {
                        let size = 16.0 * precision(dtype) * w.0.abs().max(w.1.abs()).max(40.0);
                        assert!(
                            (g.0 - w.0).abs() <= size && (g.1 - w.1).abs() <= size,
                            "{p:?} {q:?} {dtype}: {g:?} {w:?}"
                        );
                    }
                }
            }
        }
    }
    let (v, m) = (Array::new([1.0f32, 2.0]), Array::new([[1.0f32, 2.0, 3.0], [4.0, 5.0, 6.0]]));
    assert_eq!(v.matmul(&m).to_vec::<f32>(), [9.0, 12.0, 15.0]);
    assert_eq!(m.mt().matmul(&v).to_vec::<f32>(), [9.0, 12.0, 15.0]);
    assert_eq!(v.matmul(&v).item::<f32>(), 5.0);
    assert_eq!(v.inner(&m.mt()).to_vec::<f32>(), [9.0, 12.0, 15.0]);
    assert_eq!(v.outer(&v).to_vec::<f32>(), [1.0, 2.0, 2.0, 4.0]);
    assert_eq!(m.tensordot(&m, &[0, 1], &[0, 1]).item::<f32>(), 91.0);
    assert_eq!(m.tensordot(&v, &[], &[]).shape(), [2, 3, 2]);
    assert_eq!(v.addmm(&v, &ops::eye(2, 2, 0, Dtype::F32), 2.0, -1.0).to_vec::<f32>(), [1.0, 2.0]);
    assert_eq!(Array::new([1i32, 2]).kron(&Array::new([[1i32], [3]])).to_vec::<i32>(), [1, 2, 3, 6]);
    assert_eq!(Array::new([1i8, 2]).vecdot(&Array::new([3i8, 4]), 0).item::<i32>(), 11);
    assert_eq!(
        values(&Array::new([C64::new(0.0, 1.0)]).vecdot(&Array::new([C64::new(0.0, 2.0)]), 0)),
        [(2.0, 0.0)]
    );
    let e = ops::eye(3, 3, 0, Dtype::F32);
    assert_eq!(e.cross(&e.roll(-1, 0), 1).to_vec::<f32>(), e.roll(-2, 0).to_vec::<f32>());
    assert_eq!(v.cross(&Array::new([0.0f32, 1.0, 5.0]), 0).to_vec::<f32>(), [10.0, -5.0, 1.0]);
    assert!(failure(m.try_matmul(&m)).contains("(2, 3)"));
    assert!(failure(m.try_matmul(&Array::scalar(1.0f32))).contains("zero-dimensional"));
    assert!(failure(Array::new([1i32]).try_matmul(&Array::new([1i32]))).contains("int32"));
    assert!(failure(m.try_tensordot(&m, &[0], &[1])).contains("extent"));
    assert!(failure(m.try_cross(&ops::zeros(&[2, 4], Dtype::F32), 1)).contains("4 components"));
}
