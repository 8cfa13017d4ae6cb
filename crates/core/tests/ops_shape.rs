//! Operations that move elements against plain index arithmetic, on chains that make views of views.

mod ops_common;

use covector_core::ops::{self, Index};
use covector_core::{Array, Dtype, Error};
use ops_common::*;
use proptest::prelude::*;

/// A row-major array in the plain.
#[derive(Clone, Debug, PartialEq)]
struct Grid {
    shape: Vec<usize>,
    values: Vec<f64>,
}

impl Grid {
    fn count(shape: &[usize]) -> Self {
        let n = shape.iter().product::<usize>();
        Grid { shape: shape.to_vec(), values: (0..n).map(|i| i as f64 + 1.0).collect() }
    }

    /// A grid whose element at a position is what `from` says of the old one, or a constant.
    fn made(&self, shape: &[usize], from: impl Fn(&[usize]) -> Result<Vec<usize>, f64>) -> Self {
        let mut values = Vec::new();
        positions(shape, |at| {
            values.push(match from(at) {
                Ok(place) => {
                    assert!(place.iter().zip(&self.shape).all(|(i, n)| i < n));
                    self.values[flat(&place, &self.shape)]
                }
                Err(constant) => constant,
            });
        });
        Grid { shape: shape.to_vec(), values }
    }

    fn array(&self, dtype: Dtype) -> Array {
        array(&self.values, &self.shape, dtype)
    }
}

#[track_caller]
fn assert_same(what: &str, got: &Array, want: &Grid) {
    assert_eq!(got.shape(), want.shape, "{what}");
    assert_eq!(reals(got), want.values, "{what}");
}

/// Start, step and count of a Python slice, by counting.
fn sliced(n: usize, start: Option<isize>, stop: Option<isize>, step: isize) -> Vec<usize> {
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

/// One random operation on both; operations that do not fit the shape leave it alone.
fn step((kind, a, b): (u8, u8, u8), x: &Array, g: &Grid) -> (Array, Grid) {
    let rank = g.shape.len();
    let axis = if rank == 0 { 0 } else { a as usize % rank };
    // Axes are named from either end.
    let name = |k: usize| if b.is_multiple_of(2) { k as isize } else { k as isize - rank as isize };
    let n = g.shape.get(axis).copied().unwrap_or(0);
    let with = |f: &dyn Fn(&mut Vec<usize>)| {
        let mut s = g.shape.clone();
        f(&mut s);
        s
    };
    let moved = |k: usize, to: usize, at: &[usize]| {
        let mut place = at.to_vec();
        place[k] = to;
        place
    };
    match kind % 16 {
        0 if rank > 0 => {
            let mut order: Vec<usize> = (0..rank).collect();
            order.swap(axis, b as usize % rank);
            order.rotate_left(a as usize % rank);
            let y = x.transpose(&order.iter().map(|&k| name(k)).collect::<Vec<_>>());
            let shape: Vec<usize> = order.iter().map(|&k| g.shape[k]).collect();
            let g = g.made(&shape, |at| {
                let mut place = vec![0; rank];
                for (i, &k) in order.iter().enumerate() {
                    place[k] = at[i];
                }
                Ok(place)
            });
            (y, g)
        }
        1 | 2 if rank > 0 => {
            let bound = |v: u8| (!v.is_multiple_of(3)).then_some(v as isize % 11 - 5);
            let (start, stop) = (bound(a), bound(b));
            let by = [1, -1, 2, -2, 3, 7][(a ^ b) as usize % 6];
            let mut index = vec![Index::from(..); axis];
            index.push(Index::Slice(start, stop, by));
            let places = sliced(n, start, stop, by);
            let g = g.made(&with(&|s| s[axis] = places.len()), |at| Ok(moved(axis, places[at[axis]], at)));
            (x.index(&index), g)
        }
        3 if rank < 5 => {
            let at = a as usize % (rank + 1);
            let y = x.expand_dims(&[if b.is_multiple_of(2) {
                at as isize
            } else {
                at as isize - rank as isize - 1
            }]);
            (y, Grid { shape: with(&|s| s.insert(at, 1)), values: g.values.clone() })
        }
        4 if n == 1 => (
            x.squeeze(&[name(axis)]),
            Grid { shape: with(&|s| *s = [&s[..axis], &s[axis + 1..]].concat()), values: g.values.clone() },
        ),
        5 if rank > 0 => {
            (x.flip(&[name(axis)]), g.made(&g.shape, |at| Ok(moved(axis, n - 1 - at[axis], at))))
        }
        6 if rank < 5 => {
            let mut shape = with(&|s| s.insert(0, 1 + b as usize % 3));
            if n == 1 && rank > 0 {
                shape[axis + 1] = 2;
            }
            let g = g.made(&shape, |at| {
                Ok(at[1..].iter().zip(&g.shape).map(|(&i, &n)| if n == 1 { 0 } else { i }).collect())
            });
            (x.broadcast_to(&shape), g)
        }
        7 if rank > 1 && axis + 1 < rank => {
            let shape = with(&|s| {
                let next = s.remove(axis + 1);
                s[axis] *= next;
            });
            (x.flatten(axis as isize, axis as isize + 1), Grid { shape, values: g.values.clone() })
        }
        8 => {
            let y = if g.values.is_empty() { x.reshape(&[0]) } else { x.reshape(&[-1]) };
            (y, Grid { shape: vec![g.values.len()], values: g.values.clone() })
        }
        9 if n > 0 && n.is_multiple_of(2) => {
            let y = x.unflatten(name(axis), &[-1, 2]);
            let shape = with(&|s| {
                s[axis] /= 2;
                s.insert(axis + 1, 2);
            });
            (y, Grid { shape, values: g.values.clone() })
        }
        10 if rank > 0 => {
            let shift = b as isize % 9 - 4;
            let g = g.made(&g.shape, |at| {
                Ok(moved(axis, (at[axis] as isize - shift).rem_euclid(n as isize) as usize, at))
            });
            (x.roll(shift, name(axis)), g)
        }
        11 if rank > 1 => {
            let other = (axis + 1) % rank;
            let k = b as isize % 5 - 2;
            let (i0, j0) = ((-k).max(0) as usize, k.max(0) as usize);
            let m = g.shape[other];
            let count = n.saturating_sub(i0).min(m.saturating_sub(j0));
            let kept: Vec<usize> = (0..rank).filter(|&d| d != axis && d != other).collect();
            let mut shape: Vec<usize> = kept.iter().map(|&d| g.shape[d]).collect();
            shape.push(count);
            let g = g.made(&shape, |at| {
                let mut place = vec![0; rank];
                for (i, &d) in kept.iter().enumerate() {
                    place[d] = at[i];
                }
                (place[axis], place[other]) = (i0 + at[kept.len()], j0 + at[kept.len()]);
                Ok(place)
            });
            (x.diagonal(k, name(axis), name(other)), g)
        }
        12 if rank > 0 && g.values.len() < 300 => {
            let times = b as usize % 3;
            let g = g.made(&with(&|s| s[axis] *= times), |at| Ok(moved(axis, at[axis] / times, at)));
            (x.repeat(times, name(axis)), g)
        }
        13 if rank > 0 && g.values.len() < 300 => {
            let mut reps = vec![1; rank - axis];
            reps[0] = 2;
            (x.tile(&reps), g.made(&with(&|s| s[axis] *= 2), |at| Ok(moved(axis, at[axis] % n, at))))
        }
        14 if rank > 0 && g.values.len() < 300 => {
            let (low, high) = (a as usize % 3, b as usize % 3);
            let width = |w: usize| (0..rank).map(|k| if k == axis { w } else { 0 }).collect::<Vec<_>>();
            let y = x.pad(&width(low), &width(high), &Array::scalar(-7.0f64));
            let g = g.made(&with(&|s| s[axis] += low + high), |at| {
                let i = at[axis];
                if i < low || i >= low + n { Err(-7.0) } else { Ok(moved(axis, i - low, at)) }
            });
            (y, g)
        }
        15 if rank > 0 && g.values.len() < 300 => {
            let cut = if n == 0 { 0 } else { b as usize % n };
            let parts = ops::try_split_at(x, &[cut as isize], name(axis)).unwrap();
            let y = ops::concatenate(&[parts[1].clone(), x.clone(), parts[0].clone()], name(axis));
            let g = g.made(&with(&|s| s[axis] *= 2), |at| {
                let i = at[axis];
                let from = if i < n - cut {
                    i + cut
                } else if i < 2 * n - cut {
                    i - (n - cut)
                } else {
                    i - (2 * n - cut)
                };
                Ok(moved(axis, from, at))
            });
            (y, g)
        }
        _ => (x.clone(), g.clone()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn chains_of_views_hold_the_right_elements(
        shape in prop::collection::vec(0usize..5, 0..4),
        steps in prop::collection::vec((any::<u8>(), any::<u8>(), any::<u8>()), 0..8),
        dtype in 0usize..14,
        eager in any::<bool>(),
    ) {
        // Only types that hold all these numbers.
        let dtype = match Dtype::ALL[dtype] {
            Dtype::Bool | Dtype::U8 | Dtype::I8 | Dtype::Bf16 => Dtype::I32,
            other => other,
        };
        let mut g = Grid::count(&shape);
        let mut x = g.array(dtype);
        // A pad writes -7, which unsigned types wrap.
        let signed = !dtype.is_unsigned_integer();
        for s in steps {
            if s.0 % 16 == 14 && !signed {
                continue;
            }
            (x, g) = step(s, &x, &g);
            prop_assert_eq!(x.shape(), &g.shape[..], "after {:?}", s);
            if eager {
                x.try_eval().unwrap();
            }
        }
        prop_assert_eq!(x.dtype(), dtype);
        prop_assert_eq!(reals(&x), g.values);
    }
}

#[test]
fn triangles_and_diagonals() {
    for shape in [&[3usize, 4][..], &[4, 3], &[2, 3, 3], &[1, 1], &[0, 3], &[3, 0]] {
        let g = Grid::count(shape);
        for x in layouts(&g.array(Dtype::I32)) {
            for k in -4..=4isize {
                let rank = shape.len();
                let part = |lower: bool| {
                    g.made(shape, |at| {
                        let above = at[rank - 1] as isize - at[rank - 2] as isize;
                        if if lower { above <= k } else { above >= k } { Ok(at.to_vec()) } else { Err(0.0) }
                    })
                };
                assert_same("tril", &x.tril(k), &part(true));
                assert_same("triu", &x.triu(k), &part(false));
            }
        }
    }
    for n in 0..4usize {
        for k in -3..=3isize {
            let g = Grid::count(&[n]);
            let m = n + k.unsigned_abs();
            let (i0, j0) = ((-k).max(0) as usize, k.max(0) as usize);
            let want = g.made(&[m, m], |at| {
                if at[0] >= i0 && at[0] - i0 < n && at[1] == at[0] - i0 + j0 {
                    Ok(vec![at[0] - i0])
                } else {
                    Err(0.0)
                }
            });
            let matrix = g.array(Dtype::F32).diag(k);
            assert_same("diag", &matrix, &want);
            assert_same("diag back", &matrix.diag(k), &g);
        }
    }
    let (rows, columns) = (3, 5);
    for k in -4..=6isize {
        let grid = |f: &dyn Fn(isize) -> bool| {
            let mut values = Vec::new();
            positions(&[rows, columns], |at| values.push(f64::from(f(at[1] as isize - at[0] as isize))));
            Grid { shape: vec![rows, columns], values }
        };
        assert_same("eye", &ops::eye(rows, columns, k, Dtype::F16), &grid(&|d| d == k));
        assert_same("tri", &ops::tri(rows, columns, k, Dtype::U8), &grid(&|d| d <= k));
    }
    let x = Grid::count(&[2, 3]).array(Dtype::Bool);
    assert_eq!(x.trace(0, 0, 1).dtype(), Dtype::I32);
    assert_eq!(Grid::count(&[3, 3]).array(Dtype::I32).trace(1, 0, 1).item::<i32>(), 2 + 6);
}

#[test]
fn arrays_join_in_their_common_type() {
    for a in Dtype::ALL {
        for b in Dtype::ALL {
            let (x, y) = (array(&[1.0, 0.0], &[2], a), array(&[1.0], &[1], b));
            let joined = ops::concatenate(&[x.clone(), y, array(&[], &[0], a)], 0);
            assert_eq!(joined.dtype(), covector_core::dtype::promote(a, b));
            assert_eq!(reals(&joined), [1.0, 0.0, 1.0]);
        }
    }
    let x = Grid::count(&[2, 3]).array(Dtype::F32);
    let stacked = ops::stack(&[x.clone(), x.transpose(&[]).reshape(&[2, 3])], -1);
    assert_eq!(stacked.shape(), [2, 3, 2]);
    assert_eq!(reals(&stacked), [1.0, 1.0, 2.0, 4.0, 3.0, 2.0, 4.0, 5.0, 5.0, 3.0, 6.0, 6.0]);
    let parts = ops::unstack(&stacked, 2);
    assert_eq!(reals(&parts[0]), reals(&x));
    // Cuts behave like slices: out of order, negative and beyond the end.
    let parts = ops::try_split_at(&ops::arange(0.0, 5.0, 1.0, Dtype::I32), &[3, 1, -1, 9], 0).unwrap();
    let parts: Vec<Vec<i32>> = parts.iter().map(Array::to_vec).collect();
    assert_eq!(parts, [vec![0, 1, 2], vec![], vec![1, 2, 3], vec![4], vec![]]);
}

#[test]
fn grids_and_ranks() {
    let (a, b) = (Array::new([1i32, 2, 3]), Array::new([4i32, 5]));
    let [x, y] = &ops::meshgrid(&[a.clone(), b.clone()], false, true)[..] else { panic!() };
    assert_eq!((x.shape(), y.shape()), (&[2, 3][..], &[2, 3][..]));
    assert_eq!(x.to_vec::<i32>(), [1, 2, 3, 1, 2, 3]);
    assert_eq!(y.to_vec::<i32>(), [4, 4, 4, 5, 5, 5]);
    let sparse = ops::meshgrid(&[a.clone(), b, Array::scalar(6i32)], true, false);
    assert_eq!(
        sparse.iter().map(|g| g.shape().to_vec()).collect::<Vec<_>>(),
        [[3, 1, 1], [1, 2, 1], [1, 1, 1]]
    );
    let s = Array::scalar(1.0f32);
    assert_eq!(
        (s.atleast_1d().shape(), s.atleast_2d().shape(), s.atleast_3d().shape()),
        (&[1][..], &[1, 1][..], &[1, 1, 1][..])
    );
    assert_eq!((a.atleast_2d().shape(), a.atleast_3d().shape()), (&[1, 3][..], &[1, 3, 1][..]));
    assert_eq!(ops::zeros(&[2, 3], Dtype::F32).atleast_3d().shape(), [2, 3, 1]);
}

#[test]
fn views_of_bits() {
    let x = Array::new([[1.0f32, -2.0], [0.5, f32::INFINITY]]);
    for x in layouts(&x) {
        let bits = x.view(Dtype::U32);
        assert_eq!(bits.to_vec::<u32>(), [1.0f32, -2.0, 0.5, f32::INFINITY].map(f32::to_bits));
        let bytes = x.view(Dtype::U8);
        assert_eq!(bytes.shape(), [2, 8]);
        assert_eq!(bytes.view(Dtype::F32).to_vec::<f32>(), x.to_vec::<f32>());
        assert_eq!(x.view(Dtype::C64).shape(), [2, 1]);
        assert_eq!(x.view(Dtype::F64).shape(), [2, 1]);
    }
    // Bytes that do not start where a float may.
    let bytes = fresh(&ops::concatenate(&[Array::new([9u8]), Array::new([2.5f32, 7.0]).view(Dtype::U8)], 0));
    assert_eq!(bytes.index(&[Index::from(1..9)]).view(Dtype::F32).to_vec::<f32>(), [2.5, 7.0]);
    assert_eq!(Array::new([0u8, 1, 7]).view(Dtype::Bool).to_vec::<bool>(), [false, true, true]);
    assert_eq!(Array::scalar(1.0f32).view(Dtype::I32).item::<i32>(), 0x3f80_0000);
    assert!(failure(Array::new([1u8, 2, 3]).try_view(Dtype::U16)).contains("(3,)"));
    assert!(failure(Array::scalar(1u8).try_view(Dtype::U16)).contains("uint16"));
    let slope = covector_core::transforms::grad(|x: &Array| x.view(Dtype::F16).astype(Dtype::F32).sum());
    assert!(matches!(slope(&Array::new([1.0f32])), Err(Error::NotDifferentiable { op: "view", .. })));
}

#[test]
fn ranges() {
    assert_eq!(ops::arange(0.5, 5.0, 1.5, Dtype::I32).to_vec::<i32>(), [0, 2, 4]);
    assert_eq!(ops::arange(5.0, 0.5, -1.5, Dtype::I32).to_vec::<i32>(), [5, 3, 1]);
    assert_eq!(ops::arange(0.0, 1.0, 0.25, Dtype::I32).to_vec::<i32>(), [0; 4]);
    assert_eq!(ops::arange(3.0, 3.0, 1.0, Dtype::F32).shape(), [0]);
    assert_eq!(ops::arange(3.0, 0.0, 1.0, Dtype::F32).shape(), [0]);
    assert_eq!(ops::linspace(0.0, 1.0, 5, Dtype::F32).to_vec::<f32>(), [0.0, 0.25, 0.5, 0.75, 1.0]);
    assert_eq!(ops::linspace(0.0, 10.0, 5, Dtype::I32).to_vec::<i32>(), [0, 2, 5, 7, 10]);
    assert_eq!(ops::linspace(3.0, 9.0, 1, Dtype::F64).to_vec::<f64>(), [3.0]);
    assert_eq!(ops::linspace(3.0, 9.0, 0, Dtype::F64).shape(), [0]);
    assert!(failure(ops::try_arange(0.0, 1.0, 0.0, Dtype::F32)).contains("step"));
    assert!(failure(ops::try_arange(0.0, 1e300, 1.0, Dtype::F32)).contains("memory"));
}

#[test]
fn mistakes_are_explained() {
    let x = ops::zeros(&[2, 3], Dtype::F32);
    assert!(failure(x.try_reshape(&[4])).contains("reshape"));
    assert!(failure(x.try_reshape(&[-1, -1])).contains("one"));
    assert!(failure(x.try_reshape(&[-1, 4])).contains("6 elements"));
    assert!(failure(ops::zeros(&[0, 3], Dtype::F32).try_reshape(&[0, -1])).contains("-1"));
    assert!(matches!(x.try_transpose(&[0, 0]), Err(Error::Axis { .. })));
    assert!(matches!(x.try_transpose(&[0]), Err(Error::Axis { .. })));
    assert!(matches!(x.try_swapaxes(0, 2), Err(Error::Axis { .. })));
    assert!(matches!(x.try_flip(&[0, -2]), Err(Error::Axis { .. })));
    assert!(failure(x.try_squeeze(&[1])).contains("extent 3"));
    assert!(failure(x.try_broadcast_to(&[3, 2])).contains("(2, 3)"));
    assert!(failure(ops::try_concatenate(&[], 0)).contains("no arrays"));
    assert!(
        failure(ops::try_concatenate(&[x.clone(), ops::zeros(&[2, 2], Dtype::F32)], 0)).contains("(2, 2)")
    );
    assert!(failure(ops::try_stack(&[x.clone(), x.transpose(&[])], 0)).contains("(3, 2)"));
    assert!(failure(ops::try_split(&x, 2, 1)).contains("extent 3"));
    assert!(failure(ops::try_meshgrid(std::slice::from_ref(&x), false, false)).contains("(2, 3)"));
    assert!(failure(x.try_diagonal(0, 1, -1)).contains("twice"));
    assert!(failure(Array::scalar(1.0f32).try_tril(0)).contains("no two axes"));
}
