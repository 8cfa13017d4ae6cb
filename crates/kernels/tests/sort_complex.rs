//! Complex numbers without exact keys (NaN, zeros of both signs): sorting agrees with sorted indices, and equal elements keep
//! their order.

mod common;
use common::*;
use covector_kernels::*;

#[test]
fn a_sort_is_the_gather_of_its_argsort() {
    let mut rng = Rng(31);
    let parts = [0.0, -0.0, 1.0, -1.0, f32::NAN, f32::INFINITY, 2.5, -f32::NAN];
    for n in [1, 2, 15, 16, 17, 31, 33, 64, 100, 257, 1000, 5000] {
        for rows in [1, 3] {
            let mut draw = |most: usize| parts[rng.below(most)];
            let data: Vec<C64> = (0..rows * n).map(|_| C64::new(draw(8), draw(5))).collect();
            let x = Array::from(&[rows, n], data);
            let (mut order, mut sorted) = (Array::<u32>::zeros(&[rows, n]), Array::<C64>::zeros(&[rows, n]));
            argsort(x.view(), 1, order.out());
            sort(x.view(), 1, sorted.out());
            for r in 0..rows {
                let own = |i: usize| x.data[r * n + order.data[r * n + i] as usize];
                for i in 0..n {
                    let (a, b) = (own(i), sorted.data[r * n + i]);
                    let bits = |z: C64| (z.re.to_bits(), z.im.to_bits());
                    assert_eq!(bits(a), bits(b), "element {i} of {n}: {b}, not {a}");
                }
            }
        }
    }
}
