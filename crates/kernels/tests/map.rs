//! Elementwise programs, casts and copies against naive loops over random layouts.

mod common;
use common::*;
use covector_kernels::program::TileFn;
use covector_kernels::*;

#[test]
fn maps_agree_with_loops() {
    let mut rng = Rng(1);
    for _ in 0..600 {
        let shape = random_shape(&mut rng);
        let mut draw = || Array::<f32>::random(&broadcastable(&shape, &mut rng), &mut rng);
        let (a, b, c) = (draw(), draw(), draw());
        let mut out = Array::<f32>::zeros(&shape);
        let all = indices(&shape);
        apply(TileFn::One(tile1!(f32 => f32, |x| x * 2.0 + 1.0)), &[a.view()], out.out());
        let expected: Vec<f32> = all.iter().map(|i| a.broadcast_at(i) * 2.0 + 1.0).collect();
        assert_eq!(out.data, expected, "{shape:?} {:?} {:?}", a.shape, a.strides);
        apply(TileFn::Two(tile2!(f32, f32 => f32, |x, y| x - y)), &[a.view(), b.view()], out.out());
        let expected: Vec<f32> = all.iter().map(|i| a.broadcast_at(i) - b.broadcast_at(i)).collect();
        assert_eq!(out.data, expected, "{shape:?}");
        apply(
            TileFn::Three(tile3!(f32, f32, f32 => f32, |x, y, z| x * y - z)),
            &[a.view(), b.view(), c.view()],
            out.out(),
        );
        let expected: Vec<f32> =
            all.iter().map(|i| a.broadcast_at(i) * b.broadcast_at(i) - c.broadcast_at(i)).collect();
        assert_close(&out.data, &expected, "map3");
    }
}

#[test]
fn programs_of_mixed_types_agree_with_loops() {
    let mut rng = Rng(2);
    for _ in 0..200 {
        let shape = random_shape(&mut rng);
        let c = Array::<bool>::random(&broadcastable(&shape, &mut rng), &mut rng);
        let a = Array::<i64>::random(&broadcastable(&shape, &mut rng), &mut rng);
        let b = Array::<i64>::random(&broadcastable(&shape, &mut rng), &mut rng);
        let mut out = Array::<i64>::zeros(&shape);
        apply(
            TileFn::Three(tile3!(bool, i64, i64 => i64, |c, a, b| if c { a } else { b })),
            &[c.view(), a.view(), b.view()],
            out.out(),
        );
        let pick = |i: &Vec<usize>| if c.broadcast_at(i) { a.broadcast_at(i) } else { b.broadcast_at(i) };
        assert_eq!(out.data, indices(&shape).iter().map(pick).collect::<Vec<_>>());
        let mut less = Array::<bool>::zeros(&shape);
        apply(TileFn::Two(tile2!(i64, i64 => bool, |a, b| a < b)), &[a.view(), b.view()], less.out());
        let expected: Vec<bool> =
            indices(&shape).iter().map(|i| a.broadcast_at(i) < b.broadcast_at(i)).collect();
        assert_eq!(less.data, expected);
    }
}

#[test]
fn half_types_are_computed_in_f32() {
    let mut rng = Rng(3);
    for _ in 0..200 {
        let shape = random_shape(&mut rng);
        let a = Array::<f16>::random(&broadcastable(&shape, &mut rng), &mut rng);
        let b = Array::<bf16>::random(&broadcastable(&shape, &mut rng), &mut rng);
        let c = Array::<f32>::random(&broadcastable(&shape, &mut rng), &mut rng);
        let all = indices(&shape);
        let mut out = Array::<f16>::zeros(&shape);
        apply_wide(TileFn::One(tile1!(f32 => f32, |x| x * 1.5)), &[a.view()], out.out());
        let expected: Vec<f16> =
            all.iter().map(|i| f16::from_f32(a.broadcast_at(i).to_f32() * 1.5)).collect();
        assert_eq!(out.data, expected);
        let mut out = Array::<bf16>::zeros(&shape);
        apply_wide(TileFn::Two(tile2!(f32, f32 => f32, |x, y| x * y)), &[a.view(), b.view()], out.out());
        let product = |i: &Vec<usize>| a.broadcast_at(i).to_f32() * b.broadcast_at(i).to_f32();
        assert_eq!(out.data, all.iter().map(|i| bf16::from_f32(product(i))).collect::<Vec<_>>());
        let mut out = Array::<bool>::zeros(&shape);
        apply_wide(
            TileFn::Three(tile3!(f32, f32, f32 => bool, |x, y, z| x * y < z)),
            &[a.view(), b.view(), c.view()],
            out.out(),
        );
        assert_eq!(out.data, all.iter().map(|i| product(i) < c.broadcast_at(i)).collect::<Vec<_>>());
        let mut out = Array::<f32>::zeros(&shape);
        apply_wide(TileFn::Two(tile2!(f32, f32 => f32, |x, y| x + y)), &[b.view(), c.view()], out.out());
        let expected: Vec<f32> = all.iter().map(|i| b.broadcast_at(i).to_f32() + c.broadcast_at(i)).collect();
        assert_eq!(out.data, expected);
    }
}

#[test]
fn an_output_may_be_the_memory_of_an_input() {
    for n in [0usize, 1, 3, 511, 512, 513, 5000] {
        let (shape, strides) = ([n], [1isize]);
        let mut data: Vec<f32> = (0..n).map(|i| i as f32).collect();
        let b = vec![0.5f32; n];
        let p = data.as_mut_ptr().cast::<u8>();
        // SAFETY: the view is exactly the output's memory, which the contract allows.
        unsafe {
            let b = View::new(b.as_ptr().cast(), Dtype::F32, &shape, &strides);
            let x = || View::new(p, Dtype::F32, &shape, &strides);
            apply(TileFn::One(tile1!(f32 => f32, |x| x + 1.0)), &[x()], Out::new(p, Dtype::F32, &shape));
            apply(
                TileFn::Two(tile2!(f32, f32 => f32, |x, y| x * y)),
                &[x(), b],
                Out::new(p, Dtype::F32, &shape),
            );
            apply(
                TileFn::Two(tile2!(f32, f32 => f32, |x, y| x - y * 2.0)),
                &[x(), x()],
                Out::new(p, Dtype::F32, &shape),
            );
            cast(x(), Out::new(p, Dtype::F32, &shape));
        }
        let expected: Vec<f32> = (0..n).map(|i| (i as f32 + 1.0) * -0.5).collect();
        assert_eq!(data, expected);
        let mut half: Vec<f16> = (0..n).map(|i| f16::from_f32(i as f32 / 64.0)).collect();
        let p = half.as_mut_ptr().cast::<u8>();
        // SAFETY: as above.
        unsafe {
            let x = View::new(p, Dtype::F16, &shape, &strides);
            apply_wide(TileFn::One(tile1!(f32 => f32, |x| -x)), &[x], Out::new(p, Dtype::F16, &shape));
        }
        assert!(half.iter().enumerate().all(|(i, h)| *h == f16::from_f32(-(i as f32) / 64.0)));
    }
}

/// The expected result of a cast, by way of `f64` or `i128`.
fn reference<S: Sample, T: Sample>(x: S) -> T {
    let (shape, strides) = ([], []);
    let mut wide = 0f64;
    let mut result = T::default();
    // SAFETY: one element each.
    unsafe {
        let x = View::new((&raw const x).cast(), S::DTYPE, &shape, &strides);
        cast(x, Out::new((&raw mut wide).cast(), Dtype::F64, &shape));
        let w = View::new((&raw const wide).cast(), Dtype::F64, &shape, &strides);
        cast(w, Out::new((&raw mut result).cast(), T::DTYPE, &shape));
    }
    result
}

fn cast_case<S: Sample, T: Sample>(rng: &mut Rng) {
    let shape = random_shape(rng);
    let x = Array::<S>::random(&broadcastable(&shape, rng), rng);
    let mut out = Array::<T>::zeros(&shape);
    cast(x.view(), out.out());
    // Integers wrap and `f64` saturates, so only values that `f64` represents are compared through it.
    let wraps = S::DTYPE.is_integer() && T::DTYPE.is_integer() && T::DTYPE.size() <= S::DTYPE.size();
    let complex = S::DTYPE.is_complex();
    let unsigned = S::DTYPE.is_signed_integer() && T::DTYPE.is_unsigned_integer();
    for (k, i) in indices(&shape).iter().enumerate() {
        let v = x.broadcast_at(i);
        if S::DTYPE == T::DTYPE {
            assert_eq!(format!("{v:?}"), format!("{:?}", out.data[k]));
        } else if !wraps && !complex && !unsigned {
            let e: T = reference(v);
            assert!(out.data[k].close(e), "{} {v:?} to {}: {:?}, not {e:?}", S::DTYPE, T::DTYPE, out.data[k]);
        }
    }
}

#[test]
fn casts_between_all_types_agree_with_loops() {
    let mut rng = Rng(4);
    for from in Dtype::ALL {
        for to in Dtype::ALL {
            for _ in 0..6 {
                with_dtype!(from, S => with_dtype!(to, T => cast_case::<S, T>(&mut rng)));
            }
        }
    }
}

#[test]
fn casts_round_saturate_and_wrap() {
    fn one<S: Sample, T: Sample>(x: S) -> T {
        let x = Array::from(&[], vec![x]);
        let mut out = Array::<T>::zeros(&[]);
        cast(x.view(), out.out());
        out.data[0]
    }
    assert_eq!(one::<i32, u8>(-1), 255);
    assert_eq!(one::<i64, i8>(300), 44);
    assert_eq!(one::<f32, i32>(-2.7), -2);
    assert_eq!(one::<f32, u8>(1e9), 255);
    assert_eq!(one::<f32, i32>(f32::NAN), 0);
    assert!(one::<f32, bool>(f32::NAN));
    assert!(!one::<f32, bool>(-0.0));
    assert!(one::<C64, bool>(C64::new(0.0, 1.0)));
    assert_eq!(one::<C64, f64>(C64::new(2.5, 1.0)), 2.5);
    assert_eq!(one::<bool, f16>(true), f16::ONE);
    assert_eq!(one::<u64, f64>(u64::MAX), 18_446_744_073_709_551_615.0);
}

#[test]
fn fills_and_scalars_reach_every_element() {
    let value = Array::from(&[], vec![7i32]);
    let mut out = Array::<f32>::zeros(&[3, 700]);
    fill(value.view(), out.out());
    assert!(out.data.iter().all(|&v| v == 7.0));
    let mut out = Array::<i32>::zeros(&[0, 4]);
    fill(value.view(), out.out());
}

#[test]
fn copies_into_strided_memory_leave_the_rest() {
    let mut rng = Rng(5);
    for _ in 0..300 {
        let shape = random_shape(&mut rng);
        let x = Array::<u16>::random(&shape, &mut rng);
        let mut target = Array::<u16>::random(&shape, &mut rng);
        let p = target.data.as_mut_ptr().wrapping_add(target.offset);
        // SAFETY: `target`'s layout stays within its data, which no other code uses meanwhile.
        unsafe { copy_into(x.view(), p.cast(), &target.strides.clone()) };
        for i in indices(&shape) {
            assert_eq!(target.at(&i), x.at(&i));
        }
    }
}

#[test]
fn layouts_of_many_axes_are_copied() {
    let shape = [2usize; 12];
    let mut strides: Vec<isize> = row_major(&shape);
    strides.reverse();
    let data: Vec<u32> = (0..4096).collect();
    // SAFETY: a permutation of the axes of 4096 elements.
    let x = unsafe { View::new(data.as_ptr().cast(), Dtype::U32, &shape, &strides) };
    let mut out = Array::<u32>::zeros(&shape);
    cast(x, out.out());
    assert!(out.data.iter().enumerate().all(|(i, &v)| v == (i as u32).reverse_bits() >> 20));
    let mut wide = Array::<f32>::zeros(&shape);
    cast(x, wide.out());
    assert!(wide.data.iter().enumerate().all(|(i, &v)| v == ((i as u32).reverse_bits() >> 20) as f32));
}

#[test]
fn ranges_are_rounded_once() {
    let mut out = Array::<i32>::zeros(&[4]);
    arange(10.0, -3.0, out.out());
    assert_eq!(out.data, [10, 7, 4, 1]);
    let mut out = Array::<f32>::zeros(&[3]);
    arange(0.1, 0.1, out.out());
    assert_eq!(out.data, [0.1, 0.2, 0.3]);
    let mut out = Array::<bf16>::zeros(&[12]);
    arange(0.1, 0.1, out.out());
    let expected: Vec<bf16> = (1..=12).map(|i| bf16::from_f64(f64::from(i) * 0.1)).collect();
    assert_eq!(out.data, expected);
}

#[test]
fn random_bits_match_mlx() {
    assert_eq!(random::threefry2x32([0, 0], [0, 0]), [0x6b20_0159, 0x99ba_4efe]);
    let words = |n: usize| {
        let mut bytes = vec![0u8; n * 4];
        random::bits([0, 7], 4, &mut bytes);
        bytes.chunks(4).map(|c| u32::from_le_bytes(c.try_into().unwrap())).collect::<Vec<_>>()
    };
    // mlx.core.random.split(mlx.core.random.key(7), 3) and (.., 4)
    assert_eq!(words(6), [276534068, 861967409, 1905761346, 1641862660, 2900896126, 1402713516]);
    let eight = [51277378, 1628829261, 1440439266, 395909871, 3088387524, 4291721531, 3731608162, 3705585371];
    assert_eq!(words(8), eight);
    // mlx.core.random.uniform with the same key gives the upper 24 bits of these.
    let uniform = |n: usize| words(n).iter().map(|w| w & !0x3ff).collect::<Vec<_>>();
    let mlx = |v: &[u32]| v.iter().map(|w| w & !0x3ff).collect::<Vec<_>>();
    assert_eq!(uniform(1), mlx(&[3625411840]));
    assert_eq!(uniform(5), mlx(&[276534080, 861967424, 2793701120, 1641862656, 2900896000]));
    let mut short = [0u8; 6];
    random::bits([0, 7], 2, &mut short);
    assert_eq!(short[..4], words(2)[0].to_le_bytes());
    assert_eq!(short[4..], words(2)[1].to_le_bytes()[..2]);
}

#[test]
fn large_transposed_inputs_agree_with_loops() {
    let (shape, strides) = ([133usize, 2, 150], [1isize, 133 * 150, 133]);
    let data: Vec<f16> = (0..133 * 2 * 150).map(|i| f16::from_f32((i % 2000) as f32)).collect();
    // SAFETY: a permutation of the axes of all the elements.
    let x = unsafe { View::new(data.as_ptr().cast(), Dtype::F16, &shape, &strides) };
    let row = Array::from(&[150], (0..150).map(|i| i as f32).collect());
    let mut out = Array::<f32>::zeros(&shape);
    apply_wide(TileFn::Two(tile2!(f32, f32 => f32, |a, b| a - b)), &[x, row.view()], out.out());
    for i in indices(&shape) {
        let linear = i[0] + i[1] * 133 * 150 + i[2] * 133;
        assert_eq!(out.at(&i), (linear % 2000) as f32 - i[2] as f32);
    }
}

#[test]
fn large_copies_and_casts_in_parts_agree_with_loops() {
    threads::set_num_threads(3);
    let mut rng = Rng(31);
    for (rows, columns) in [(700, 900), (1024, 1024), (65, 20_000), (20_000, 65), (3, 300_000)] {
        // Strides of the source in row-major and column-major order.
        for strides in [[columns as isize, 1], [1, rows as isize]] {
            large_case::<u8>(rows, columns, &strides, &mut rng);
            large_case::<f16>(rows, columns, &strides, &mut rng);
            large_case::<f32>(rows, columns, &strides, &mut rng);
            large_case::<f64>(rows, columns, &strides, &mut rng);
        }
    }
}

fn large_case<T: Sample>(rows: usize, columns: usize, strides: &[isize], rng: &mut Rng) {
    let shape = [rows, columns];
    let data = (0..rows * columns).map(|_| T::sample(rng)).collect();
    let x = Array { data, offset: 0, shape: shape.to_vec(), strides: strides.to_vec() };
    let due: Vec<T> = (0..rows * columns)
        .map(|i| x.data[i / columns * strides[0] as usize + i % columns * strides[1] as usize])
        .collect();
    let mut out = Array::<T>::zeros(&shape);
    cast(x.view(), out.out());
    assert!(out.data == due, "{} {shape:?} {strides:?}", T::DTYPE);
    // Into the middle of a larger array, transposed and not.
    for place in [[columns as isize + 3, 1], [1, rows as isize + 5]] {
        let mut target = vec![T::default(); (rows + 5) * (columns + 5)];
        // SAFETY: both layouts stay within the vector.
        unsafe { copy_into(x.view(), target.as_mut_ptr().cast(), &place) };
        let at = |i: usize| target[i / columns * place[0] as usize + i % columns * place[1] as usize];
        assert!((0..due.len()).all(|i| at(i) == due[i]), "{} {shape:?} {strides:?} {place:?}", T::DTYPE);
    }
    let mut wide = Array::<C64>::zeros(&shape);
    cast(x.view(), wide.out());
    let mut again = Array::<T>::zeros(&shape);
    cast(wide.view(), again.out());
    assert!(again.data.iter().zip(&due).all(|(a, b)| a.close(*b)), "{} {shape:?} {strides:?}", T::DTYPE);
    let mut filled = Array::<T>::zeros(&shape);
    fill(Array::from(&[], vec![due[0]]).view(), filled.out());
    assert!(filled.data.iter().all(|v| *v == due[0]));
    let row = Array::from(&[columns], due[..columns].to_vec());
    cast(row.view(), filled.out());
    assert!(filled.data.chunks(columns).all(|r| r == &due[..columns]));
}
