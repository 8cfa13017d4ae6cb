//! Reading and writing parts of arrays against NumPy's rules written as plain index arithmetic.

mod ops_common;

use covector_core::ops::{self, Index, Update};
use covector_core::{Array, Dtype, Error};
use ops_common::*;
use proptest::prelude::*;

/// One index, in the plain.
#[derive(Clone, Debug)]
enum Plain {
    At(isize),
    Slice(Option<isize>, Option<isize>, isize),
    NewAxis,
    Ellipsis,
    Array(Vec<usize>, Vec<isize>),
}

impl Plain {
    fn index(&self, dtype: Dtype) -> Index {
        match self {
            Plain::At(i) => Index::At(*i),
            Plain::Slice(a, b, s) => Index::Slice(*a, *b, *s),
            Plain::NewAxis => Index::NewAxis,
            Plain::Ellipsis => Index::Ellipsis,
            Plain::Array(shape, v) => {
                let v: Vec<i64> = v.iter().map(|&i| i as i64).collect();
                Index::Array(Array::from_slice(&v, shape).unwrap().astype(dtype))
            }
        }
    }
}

fn python_slice(n: usize, start: Option<isize>, stop: Option<isize>, step: isize) -> Vec<usize> {
    let n = n as isize;
    let clip = |v: isize| {
        let v = if v < 0 { v + n } else { v };
        if step > 0 { v.clamp(0, n) } else { v.clamp(-1, n - 1) }
    };
    let mut at = start.map_or(if step > 0 { 0 } else { n - 1 }, clip);
    let stop = stop.map_or(if step > 0 { n } else { -1 }, clip);
    let mut out = Vec::new();
    while if step > 0 { at < stop } else { at > stop } {
        out.push(at as usize);
        at += step;
    }
    out
}

/// The shape of `x[indices]` and, for each of its elements, the element of `x` it is.
fn places(shape: &[usize], indices: &[Plain]) -> (Vec<usize>, Vec<usize>) {
    let used = indices.iter().filter(|i| !matches!(i, Plain::NewAxis | Plain::Ellipsis)).count();
    let mut full = Vec::new();
    for i in indices {
        match i {
            Plain::Ellipsis => full.extend(vec![Plain::Slice(None, None, 1); shape.len() - used]),
            other => full.push(other.clone()),
        }
    }
    if !indices.iter().any(|i| matches!(i, Plain::Ellipsis)) {
        full.extend(vec![Plain::Slice(None, None, 1); shape.len() - used]);
    }
    let any_array = full.iter().any(|i| matches!(i, Plain::Array(..)));
    let is_advanced = |i: &Plain| matches!(i, Plain::Array(..)) || (any_array && matches!(i, Plain::At(_)));
    // The broadcast shape of all index arrays.
    let mut common: Vec<usize> = Vec::new();
    for i in &full {
        if let Plain::Array(s, _) = i {
            let rank = common.len().max(s.len());
            let get = |s: &[usize], k: usize| if k + s.len() < rank { 1 } else { s[k + s.len() - rank] };
            common =
                (0..rank).map(|k| if get(&common, k) == 1 { get(s, k) } else { get(&common, k) }).collect();
        }
    }
    let advanced: Vec<usize> = (0..full.len()).filter(|&k| is_advanced(&full[k])).collect();
    let adjacent = advanced.windows(2).all(|w| w[1] == w[0] + 1);
    // Axes of the result: of the index arrays together, of a slice, or new.
    let mut axes: Vec<(usize, Vec<usize>)> = Vec::new(); // position in `full`, its places
    let mut out = Vec::new();
    let mut insert = 0;
    let mut axis = 0;
    for (k, i) in full.iter().enumerate() {
        if adjacent && advanced.first() == Some(&k) {
            insert = out.len();
        }
        match i {
            Plain::NewAxis => {
                out.push(1);
                axes.push((k, vec![0]));
                continue;
            }
            Plain::Slice(a, b, s) => {
                let p = python_slice(shape[axis], *a, *b, *s);
                out.push(p.len());
                axes.push((k, p));
            }
            _ => {}
        }
        axis += 1;
    }
    let mut result = out.clone();
    result.splice(insert..insert, common.iter().copied());
    let mut from = Vec::new();
    positions(&result, |at| {
        let joint = &at[insert..insert + common.len()];
        let rest: Vec<usize> = at[..insert].iter().chain(&at[insert + common.len()..]).copied().collect();
        let (mut place, mut axis, mut seen) = (0, 0, 0);
        for i in &full {
            let n = match i {
                Plain::NewAxis => {
                    seen += 1;
                    continue;
                }
                _ => shape[axis],
            };
            let at = match i {
                Plain::At(v) => v.rem_euclid(n as isize) as usize,
                Plain::Slice(..) => {
                    seen += 1;
                    axes[seen - 1].1[rest[seen - 1]]
                }
                Plain::Array(s, v) => {
                    let tail = &joint[common.len() - s.len()..];
                    let mine: Vec<usize> =
                        tail.iter().zip(s).map(|(&i, &n)| if n == 1 { 0 } else { i }).collect();
                    v[flat(&mine, s)].rem_euclid(n as isize) as usize
                }
                Plain::NewAxis | Plain::Ellipsis => unreachable!(),
            };
            place = place * n + at;
            axis += 1;
        }
        from.push(place);
    });
    (result, from)
}

/// Turns random numbers into a subscript that fits the shape.
fn subscript(shape: &[usize], raw: &[(u8, i8, i8)]) -> Vec<Plain> {
    let (mut out, mut axis, mut dots) = (Vec::new(), 0, false);
    for &(kind, a, b) in raw {
        let n = shape.get(axis).copied();
        let within = |v: i8, n: usize| v as isize % n as isize;
        match (kind % 8, n) {
            (0, _) => out.push(Plain::NewAxis),
            (1, _) if !dots => {
                dots = true;
                out.push(Plain::Ellipsis);
                // What follows stands for the last axes.
                axis = axis.max(shape.len().saturating_sub(b as u8 as usize % 3));
            }
            (2 | 3, Some(_)) => {
                let bound = |v: i8| (v % 3 != 0).then_some(v as isize % 7);
                let step = [1, 2, -1, -2, 3, -5][(a as u8 ^ b as u8) as usize % 6];
                out.push(Plain::Slice(bound(a), bound(b), step));
                axis += 1;
            }
            (4 | 5, Some(n)) if n > 0 => {
                out.push(Plain::At(within(a, n)));
                axis += 1;
            }
            (6 | 7, Some(n)) if n > 0 => {
                let s = [&[][..], &[1], &[3], &[2, 1], &[2, 3], &[0]][b as u8 as usize % 6].to_vec();
                // Index arrays have to broadcast with each other.
                let clash =
                    out.iter().any(|i| matches!(i, Plain::Array(t, _) if t.contains(&0) != s.contains(&0)));
                let s = if clash { vec![1] } else { s };
                let count: usize = s.iter().product();
                let v = (0..count).map(|i| within(a.wrapping_add(7 * i as i8), n)).collect();
                out.push(Plain::Array(s, v));
                axis += 1;
            }
            _ => {}
        }
    }
    if dots {
        out.extend((axis..shape.len()).map(|_| Plain::Slice(None, None, 1)));
    }
    out
}

fn indices_of(plain: &[Plain], dtype: Dtype) -> Vec<Index> {
    plain.iter().map(|i| i.index(dtype)).collect()
}

fn counted(shape: &[usize], dtype: Dtype) -> Array {
    ops::arange(1.0, shape.iter().product::<usize>() as f64 + 1.0, 1.0, Dtype::F64)
        .reshape(&shape.iter().map(|&n| n as isize).collect::<Vec<_>>())
        .astype(dtype)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn subscripts_read_what_numpy_reads(
        shape in prop::collection::vec(0usize..5, 0..4),
        raw in prop::collection::vec((any::<u8>(), any::<i8>(), any::<i8>()), 0..6),
        layout in 0usize..4,
        kind in prop::sample::select(vec![Dtype::I8, Dtype::I32, Dtype::I64]),
    ) {
        let plain = subscript(&shape, &raw);
        let x = counted(&shape, Dtype::F32);
        let held = reals(&x);
        let all = layouts(&x);
        let x = &all[layout % all.len()];
        let (want, from) = places(&shape, &plain);
        let got = x.index(&indices_of(&plain, kind));
        prop_assert_eq!(got.shape(), &want[..], "{:?}", plain);
        prop_assert_eq!(reals(&got), from.iter().map(|&p| held[p]).collect::<Vec<_>>(), "{:?}", plain);
    }

    #[test]
    fn subscripts_write_what_numpy_writes(
        shape in prop::collection::vec(0usize..5, 0..4),
        raw in prop::collection::vec((any::<u8>(), any::<i8>(), any::<i8>()), 0..6),
        layout in 0usize..4,
        scalar in any::<bool>(),
    ) {
        let plain = subscript(&shape, &raw);
        let x = counted(&shape, Dtype::F64);
        let all = layouts(&x);
        let x = &all[layout % all.len()];
        let (part, from) = places(&shape, &plain);
        let value = if scalar { Array::scalar(-5i32) } else { ops::negative(&counted(&part, Dtype::F64)) };
        let v = |i: usize| if scalar { -5.0 } else { -(i as f64 + 1.0) };
        let index = indices_of(&plain, Dtype::I32);
        let mut want = reals(x);
        for (i, &p) in from.iter().enumerate() {
            want[p] = v(i);
        }
        prop_assert_eq!(reals(&x.index_set(&index, &value)), want, "{:?}", plain);
        // Every one of several writes to a place counts.
        let updates: [(Update, fn(f64, f64) -> f64); 6] = [
            (Update::Add, |a, b| a + b),
            (Update::Subtract, |a, b| a - b),
            (Update::Multiply, |a, b| a * b),
            (Update::Divide, |a, b| a / b),
            (Update::Maximum, f64::max),
            (Update::Minimum, f64::min),
        ];
        for (how, f) in updates {
            let mut want = reals(x);
            for (i, &p) in from.iter().enumerate() {
                want[p] = f(want[p], v(i));
            }
            let got = x.index_update(&index, &value, how);
            assert_near(&format!("{how:?} {plain:?}"), &got, &want, 32.0);
        }
    }
}

#[test]
fn masks_select_and_write() {
    let x = counted(&[2, 3], Dtype::I32);
    let mask = Array::new([[true, false, true], [false, true, false]]);
    assert_eq!(x.index(&[Index::from(&mask)]).to_vec::<i32>(), [1, 3, 5]);
    let rows = Array::new([false, true]);
    assert_eq!(x.index(&[Index::from(&rows)]).to_vec::<i32>(), [4, 5, 6]);
    assert_eq!(x.index(&[Index::from(&rows), Index::At(-1)]).to_vec::<i32>(), [6]);
    assert_eq!(x.index_set(&[Index::from(&mask)], &Array::scalar(0i32)).to_vec::<i32>(), [0, 2, 0, 4, 0, 6]);
    let none = Array::new([[false; 3]; 2]);
    assert_eq!(x.index(&[Index::from(&none)]).shape(), [0]);
    assert!(failure(x.try_index(&[Index::from(&Array::new([true]))])).contains("(1,)"));
}

#[test]
fn the_array_keeps_its_type_when_written() {
    let at = |i: isize| [Index::At(i)];
    let x = Array::new([1i32, 2, 3]);
    assert_eq!(x.index_set(&at(0), &Array::scalar(2.7f32)).to_vec::<i32>(), [2, 2, 3]);
    let twice = [Index::from(&Array::new([0i32, 0, 2]))];
    assert_eq!(x.index_update(&twice, &Array::scalar(1.5f32), Update::Add).to_vec::<i32>(), [3, 2, 4]);
    let big = Array::new([-16_777_219i32, 7, 100]);
    assert_eq!(
        big.index_update(&twice, &Array::scalar(2i32), Update::Divide).to_vec::<i32>(),
        [-4_194_304, 7, 50]
    );
    assert_eq!(big.index_update(&at(0), &Array::scalar(2i32), Update::Divide).to_vec::<i32>()[0], -8_388_609);
    let seventh = Array::new([1.0f32, 5.0]).index_update(
        &[Index::from(&Array::new([1i32]))],
        &Array::scalar(7.0f32),
        Update::Divide,
    );
    assert_eq!(seventh.to_vec::<f32>(), [1.0, 5.0 / 7.0]);
}

#[test]
fn take_and_its_relatives() {
    let mut rng = Rng(5);
    for dtype in [Dtype::F32, Dtype::I16, Dtype::C64, Dtype::Bool, Dtype::Bf16] {
        let x = rng.array(&[3, 4, 2], dtype);
        let held = values(&x);
        for x in layouts(&x) {
            for axis in -3..3isize {
                let k = axis.rem_euclid(3) as usize;
                let n = x.shape()[k] as isize;
                for shape in [&[][..], &[3], &[2, 2], &[0]] {
                    let count: usize = shape.iter().product();
                    let at: Vec<i32> =
                        (0..count as isize).map(|i| ((5 * i + 1) % (2 * n) - n) as i32).collect();
                    let got = x.take(&Array::from_slice(&at, shape).unwrap(), axis);
                    let mut want_shape = x.shape().to_vec();
                    want_shape.splice(k..=k, shape.iter().copied());
                    assert_eq!(got.shape(), want_shape);
                    let mut want = Vec::new();
                    positions(&want_shape, |p| {
                        let j = at[flat(&p[k..k + shape.len()], shape)].rem_euclid(n as i32) as usize;
                        let place: Vec<usize> = p[..k]
                            .iter()
                            .copied()
                            .chain([j])
                            .chain(p[k + shape.len()..].iter().copied())
                            .collect();
                        want.push(held[flat(&place, x.shape())]);
                    });
                    assert_eq!(values(&got), want);
                }
                // One index per element, broadcast along the other axes.
                let mut shape = vec![1; 3];
                shape[k] = 5;
                let at: Vec<i64> = (0..5).map(|i| (3 * i) % n as i64 - (i % 2) * n as i64).collect();
                let got = x.take_along_axis(&Array::from_slice(&at, &shape).unwrap(), axis);
                let mut want_shape = x.shape().to_vec();
                want_shape[k] = 5;
                let mut want = Vec::new();
                positions(&want_shape, |p| {
                    let mut place = p.to_vec();
                    place[k] = at[p[k]].rem_euclid(n as i64) as usize;
                    want.push(held[flat(&place, x.shape())]);
                });
                assert_eq!(values(&got), want);
            }
        }
    }
    let x = Array::new([[10i32, 20, 30], [40, 50, 60]]);
    let at = Array::new([[2u32, 0], [1, 1]]);
    let put = x.put_along_axis(&at, &Array::new([[1i32, 2], [3, 4]]), 1);
    assert_eq!(put.to_vec::<i32>(), [2, 20, 1, 40, 4, 60]);
    let added = x.scatter_add_axis(&at, &Array::scalar(1i32), -1);
    assert_eq!(added.to_vec::<i32>(), [11, 20, 31, 40, 52, 60]);
}

#[test]
fn what_lies_outside_is_an_error() {
    let x = counted(&[2, 3], Dtype::F32);
    let index = |i: &[Index]| x.try_index(i).and_then(|y| y.try_eval().map(|_| ()));
    for bad in [2, -3] {
        assert!(matches!(index(&[Index::At(bad)]), Err(Error::Index { .. })));
        let array = [Index::from(&Array::new([0i32, bad as i32]))];
        assert!(matches!(index(&array), Err(Error::Index { .. })), "{bad}");
        let write = x.try_index_set(&array, &Array::scalar(0.0f32)).and_then(|y| y.try_eval().map(|_| ()));
        assert!(matches!(write, Err(Error::Index { .. })));
        let taken = x.try_take(&Array::new([bad as i64]), 0).and_then(|y| y.try_eval().map(|_| ()));
        assert!(matches!(taken, Err(Error::Index { .. })));
        let along =
            x.try_take_along_axis(&Array::new([[bad as i64]]), 0).and_then(|y| y.try_eval().map(|_| ()));
        assert!(matches!(along, Err(Error::Index { .. })));
    }
    assert!(matches!(index(&[Index::Slice(None, None, 0)]), Err(Error::Value { .. })));
    assert!(failure(index(&[Index::At(0), Index::At(0), Index::At(0)])).contains("too many"));
    assert!(failure(index(&[Index::Ellipsis, Index::Ellipsis])).contains("ellipsis"));
    assert!(failure(index(&[Index::from(&Array::new([0.0f32]))])).contains("float32"));
    assert!(failure(x.try_index_set(&[Index::At(0)], &ops::zeros(&[2], Dtype::F32))).contains("(3,)"));
    let empty = ops::zeros(&[0, 3], Dtype::F32);
    assert!(matches!(empty.try_take(&Array::new([0i32]), 0), Err(Error::Index { .. })));
    assert_eq!(empty.take(&ops::zeros(&[0], Dtype::I32), 0).shape(), [0, 3]);
}
