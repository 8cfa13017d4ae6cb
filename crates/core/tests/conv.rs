//! Convolution and pooling against their definitions, and what they refuse.

use covector_core::ops::{self, ConvOptions};
use covector_core::transforms::{grad, vmap};
use covector_core::{Array, C64, Dtype, Result, set_num_threads};

/// Numbers without pattern.
fn numbers(n: usize, seed: u64) -> Vec<f64> {
    let mut state = seed | 1;
    (0..n)
        .map(|_| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) as f64 / (1u64 << 30) as f64 - 1.0
        })
        .collect()
}

fn array(shape: &[usize], seed: u64, dtype: Dtype) -> Array {
    let values = numbers(shape.iter().product(), seed);
    Array::from_slice(&values, shape).unwrap().astype(dtype)
}

/// Everything about one spatial axis.
#[derive(Clone, Copy, Debug)]
struct Axis {
    n: usize,
    k: usize,
    stride: usize,
    low: isize,
    high: isize,
    dilation: usize,
    spread: usize,
}

impl Axis {
    fn outputs(&self) -> usize {
        let length = ((self.n - 1) * self.spread + 1) as isize + self.low + self.high;
        ((length - ((self.k - 1) * self.dilation + 1) as isize) / self.stride as isize) as usize + 1
    }

    /// The element that tap `k` of output `o` meets.
    fn meets(&self, o: usize, k: usize) -> Option<usize> {
        let at = (o * self.stride + k * self.dilation) as isize - self.low;
        (at >= 0 && at % self.spread as isize == 0 && at / (self.spread as isize) < self.n as isize)
            .then_some(at as usize / self.spread)
    }
}

/// Two spatial axes, written down as the definition says.
fn definition(
    x: &[f64],
    w: &[f64],
    n: usize,
    a: [Axis; 2],
    (c, d, groups): (usize, usize, usize),
    flip: bool,
) -> Vec<f64> {
    let (cg, dg, [h, v]) = (c / groups, d / groups, a);
    let mut out = Vec::new();
    for i in 0..n {
        for oh in 0..h.outputs() {
            for ow in 0..v.outputs() {
                for j in 0..d {
                    let mut sum = 0.0;
                    for kh in 0..h.k {
                        for kw in 0..v.k {
                            let (Some(ih), Some(iw)) = (h.meets(oh, kh), v.meets(ow, kw)) else { continue };
                            let (kh, kw) = if flip { (h.k - 1 - kh, v.k - 1 - kw) } else { (kh, kw) };
                            for k in 0..cg {
                                sum += x[((i * h.n + ih) * v.n + iw) * c + j / dg * cg + k]
                                    * w[((j * h.k + kh) * v.k + kw) * cg + k];
                            }
                        }
                    }
                    out.push(sum);
                }
            }
        }
    }
    out
}

fn near(a: &[f64], b: &[f64], tolerance: f64) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= tolerance * (1.0 + b.abs()))
}

fn f64s(x: &Array) -> Vec<f64> {
    x.astype(Dtype::F64).to_vec::<f64>()
}

#[test]
fn every_option_and_channel_count_agrees_with_the_definition() {
    let axis = |n, k, stride, low, high, dilation, spread| Axis { n, k, stride, low, high, dilation, spread };
    let same = axis(9, 3, 1, 1, 1, 1, 1);
    let cases = [
        ([same, axis(31, 3, 1, 1, 1, 1, 1)], (1, 16, 1), false),
        ([same, axis(7, 3, 1, 1, 1, 1, 1)], (16, 33, 1), false),
        ([axis(8, 1, 1, 0, 0, 1, 1), axis(5, 1, 1, 0, 0, 1, 1)], (5, 20, 1), false),
        ([axis(8, 2, 2, 0, 0, 1, 1), axis(6, 2, 2, 0, 0, 1, 1)], (3, 49, 1), true),
        ([axis(8, 3, 2, 1, 0, 1, 1), axis(11, 4, 3, 2, 3, 1, 1)], (6, 8, 2), false),
        ([axis(8, 3, 1, 2, 0, 2, 1), axis(11, 2, 1, 0, 1, 4, 1)], (4, 4, 4), true),
        ([axis(4, 3, 1, 2, 2, 1, 2), axis(3, 3, 1, 2, 3, 1, 3)], (4, 5, 1), true),
        ([axis(4, 3, 2, 4, 2, 2, 3), axis(5, 3, 4, 2, 3, 3, 6)], (2, 18, 1), false),
        ([axis(6, 2, 1, -1, -2, 1, 1), axis(5, 2, 1, 9, -3, 1, 1)], (2, 3, 1), false),
        ([axis(6, 6, 1, 0, 0, 1, 1), axis(40, 1, 1, 0, 0, 1, 1)], (2, 3, 1), false),
    ];
    for (a, (c, d, groups), flip) in cases {
        for n in [1, 3] {
            let (xs, ws) = ([n, a[0].n, a[1].n, c], [d, a[0].k, a[1].k, c / groups]);
            let options = ConvOptions {
                stride: &[a[0].stride, a[1].stride],
                padding_low: &[a[0].low, a[1].low],
                padding_high: &[a[0].high, a[1].high],
                kernel_dilation: &[a[0].dilation, a[1].dilation],
                input_dilation: &[a[0].spread, a[1].spread],
                groups,
                flip,
            };
            for (dtype, tolerance) in [(Dtype::F32, 1e-5), (Dtype::F64, 1e-13), (Dtype::F16, 2e-2)] {
                let (x, w) = (array(&xs, 1, dtype), array(&ws, 2, dtype));
                let expect = definition(&f64s(&x), &f64s(&w), n, a, (c, d, groups), flip);
                let y = ops::try_conv_general(&x, &w, &options).unwrap();
                assert_eq!(y.shape(), [n, a[0].outputs(), a[1].outputs(), d], "{a:?}");
                assert_eq!(y.dtype(), dtype);
                assert!(near(&f64s(&y), &expect, tolerance), "{a:?} {c} {d} {groups} {dtype}");
                // The same elements behind other strides.
                let turned = |x: &Array| x.transpose(&[3, 1, 0, 2]).copy();
                let back = |x: &Array| x.transpose(&[2, 1, 3, 0]);
                let strided =
                    ops::try_conv_general(&back(&turned(&x)), &back(&turned(&w)), &options).unwrap();
                assert_eq!(f64s(&strided), f64s(&y), "{a:?}");
            }
        }
    }
}

#[test]
fn the_weights_gradient_agrees_with_the_definition() {
    // Enough pixels and channels that the sum is split into parts.
    let (n, size, c, d) = (8, 20, 16, 40);
    let (x, y) = (array(&[n, size, size, c], 3, Dtype::F64), array(&[n, size, size, d], 4, Dtype::F64));
    let w = array(&[d, 3, 3, c], 5, Dtype::F64);
    let conv = |w: &Array| ops::conv2d(&x, w, [1, 1], [1, 1], [1, 1], 1);
    let got = grad(|w: &Array| (conv(w) * &y).sum())(&w).unwrap();
    // The derivative in each weight is the output for a kernel that is one there and zero elsewhere.
    for (j, kh, kw, k) in [(0, 0, 0, 0), (39, 2, 2, 15), (17, 1, 2, 7), (5, 0, 1, 3)] {
        let mut unit = vec![0.0; w.size()];
        let at = ((j * 3 + kh) * 3 + kw) * c + k;
        unit[at] = 1.0;
        let expect = (conv(&Array::from_slice(&unit, w.shape()).unwrap()) * &y).sum().item::<f64>();
        assert!((got.to_vec::<f64>()[at] - expect).abs() < 1e-10 * (1.0 + expect.abs()));
    }
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let x = array(&[8, 24, 24, 16], 1, Dtype::F32);
    let w = array(&[32, 3, 3, 16], 2, Dtype::F32);
    let run = |threads| {
        set_num_threads(threads);
        let loss = |p: &(Array, Array)| {
            let y = ops::conv2d(&p.0, &p.1, [1, 1], [1, 1], [1, 1], 1);
            ops::max_pool(&y, &[2, 2], &[2, 2], &[0, 0]).square().sum()
        };
        let (a, b) = grad(loss)(&(x.copy(), w.copy())).unwrap();
        (a.to_vec::<f32>(), b.to_vec::<f32>())
    };
    let one = run(1);
    assert!(one == run(2) && one == run(5));
    set_num_threads(2);
}

#[test]
fn complex_convolution_is_four_real_ones() {
    let part = |seed| array(&[2, 6, 5, 3], seed, Dtype::F32);
    let kernel = |seed| array(&[4, 3, 2, 3], seed, Dtype::F32);
    let complex = |re: &Array, im: &Array| {
        let v: Vec<C64> =
            re.to_vec::<f32>().into_iter().zip(im.to_vec::<f32>()).map(|(a, b)| C64::new(a, b)).collect();
        Array::from_slice(&v, re.shape()).unwrap()
    };
    let (a, b, c, d) = (part(1), part(2), kernel(3), kernel(4));
    let conv = |x: &Array, w: &Array| ops::conv2d(x, w, [1, 2], [1, 0], [1, 1], 1);
    let y = conv(&complex(&a, &b), &complex(&c, &d));
    let re = conv(&a, &c) - conv(&b, &d);
    let im = conv(&a, &d) + conv(&b, &c);
    assert!(near(&f64s(&ops::real(&y)), &f64s(&re), 1e-5) && near(&f64s(&ops::imag(&y)), &f64s(&im), 1e-5));
}

#[test]
fn per_sample_gradients_are_those_of_each_sample() {
    let x = array(&[5, 6, 6, 2], 1, Dtype::F64);
    let w = array(&[3, 3, 3, 2], 2, Dtype::F64);
    let loss =
        |x: &Array, w: &Array| ops::conv2d(&x.expand_dims(&[0]), w, [2, 2], [1, 1], [1, 1], 1).square().sum();
    let all = vmap(|x: &Array| grad(|w: &Array| loss(x, w))(&w).unwrap())(&x).unwrap();
    for (i, x) in ops::unstack(&x, 0).iter().enumerate() {
        let one = grad(|w: &Array| loss(x, w))(&w).unwrap();
        assert!(near(&f64s(&ops::unstack(&all, 0)[i]), &f64s(&one), 1e-12));
    }
}

#[test]
fn empty_arrays_have_their_shapes() {
    let conv = |x: &[usize], w: &[usize], padding| {
        let (x, w) = (ops::zeros(x, Dtype::F32), ops::zeros(w, Dtype::F32));
        ops::try_conv2d(&x, &w, [1, 1], [padding; 2], [1, 1], 1).map(|y| (y.shape().to_vec(), f64s(&y)))
    };
    assert_eq!(conv(&[0, 5, 5, 4], &[6, 3, 3, 4], 0).unwrap().0, [0, 3, 3, 6]);
    assert_eq!(conv(&[2, 5, 5, 4], &[0, 3, 3, 4], 0).unwrap().0, [2, 3, 3, 0]);
    assert_eq!(conv(&[1, 3, 3, 0], &[2, 3, 3, 0], 0).unwrap(), (vec![1, 1, 1, 2], vec![0.0; 2]));
    assert_eq!(conv(&[1, 0, 3, 1], &[1, 3, 3, 1], 2).unwrap(), (vec![1, 2, 5, 1], vec![0.0; 10]));
    let none = ops::zeros(&[0, 4, 4, 2], Dtype::F32);
    let weights = grad(|w: &Array| ops::conv2d(&none, w, [1, 1], [0, 0], [1, 1], 1).sum())(&ops::ones(
        &[3, 2, 2, 2],
        Dtype::F32,
    ))
    .unwrap();
    assert_eq!(f64s(&weights), vec![0.0; 24]);
    assert_eq!(ops::max_pool(&none, &[2, 2], &[2, 2], &[0, 0]).shape(), [0, 2, 2, 2]);
    let small = ops::max_pool(&ops::zeros(&[2, 5, 5, 4], Dtype::F32), &[9, 9], &[9, 9], &[0, 0]);
    assert_eq!(small.shape(), [2, 0, 0, 4]);
}

#[test]
fn pooling_takes_every_type_and_ties_share() {
    let x = ops::reshape(&ops::arange(0.0, 16.0, 1.0, Dtype::I32), &[1, 4, 4, 1]);
    let max = ops::max_pool(&x, &[2, 2], &[2, 2], &[1, 1]);
    assert_eq!(max.dtype(), Dtype::I32);
    assert_eq!(max.to_vec::<i32>(), [0, 2, 3, 8, 10, 11, 12, 14, 15]);
    let mean = ops::avg_pool(&x, &[2, 2], &[2, 2], &[0, 0]);
    assert_eq!((mean.dtype(), mean.to_vec::<f32>()), (Dtype::F32, vec![2.5, 4.5, 10.5, 12.5]));
    assert_eq!(ops::avg_pool(&x.astype(Dtype::F16), &[3, 3], &[1, 1], &[0, 0]).dtype(), Dtype::F16);
    let zeros = ops::zeros(&[1, 5, 1], Dtype::F32);
    let shares = grad(|x: &Array| ops::max_pool(x, &[3], &[1], &[0]).sum())(&zeros).unwrap();
    assert!(near(&f64s(&shares), &[1.0 / 3.0, 2.0 / 3.0, 1.0, 2.0 / 3.0, 1.0 / 3.0], 1e-6));
}

#[track_caller]
fn refused(result: Result<Array>, parts: &[&str]) {
    let message = result.expect_err("this is no convolution").to_string();
    for part in parts {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn errors_say_what_was_received_and_what_to_do() {
    let (x, w) = (ops::ones(&[2, 5, 5, 4], Dtype::F32), ops::ones(&[6, 3, 3, 4], Dtype::F32));
    let plain = |x: &Array, w: &Array, groups| ops::try_conv2d(x, w, [1, 1], [0, 0], [1, 1], groups);
    refused(plain(&x, &w, 2), &["[conv2d]", "(6, 3, 3, 4)", "8 input channels", "has 4"]);
    refused(plain(&x, &w.slice_last(2), 0), &["groups [0] must be positive"]);
    refused(plain(&x.squeeze_first(), &w, 1), &["(5, 5, 4)", "must have 4 axes"]);
    refused(plain(&x, &w.squeeze_first(), 1), &["as many axes"]);
    refused(plain(&x, &ops::ones(&[5, 3, 3, 2], Dtype::F32), 2), &["5 output channels", "2 groups"]);
    refused(plain(&x, &ops::ones(&[5, 9, 3, 4], Dtype::F32), 1), &["covers 9", "has 5", "pad it"]);
    refused(plain(&x.astype(Dtype::I32), &w, 1), &["int32", "astype"]);
    refused(ops::try_conv2d(&x, &w, [0, 1], [0, 0], [1, 1], 1), &["stride [0, 1] must be positive"]);
    refused(ops::try_conv2d(&x, &w, [1, 1], [isize::MAX, 0], [1, 1], 1), &["too large"]);
    let three = ConvOptions { stride: &[1, 1, 1], ..ConvOptions::default() };
    refused(ops::try_conv_general(&x, &w, &three), &["stride [1, 1, 1]", "2 spatial axes"]);
    refused(ops::try_max_pool(&x, &[2], &[2], &[0]), &["[max_pool]", "(2, 5, 5, 4)", "3 axes"]);
    refused(ops::try_avg_pool(&x, &[2, 2], &[2], &[0, 0]), &["[avg_pool]", "same length"]);
    refused(ops::try_max_pool(&x, &[0, 1], &[1, 1], &[0, 0]), &["window [0, 1] must be positive"]);
}

trait Short {
    fn squeeze_first(&self) -> Array;
    fn slice_last(&self, n: usize) -> Array;
}

impl Short for Array {
    fn squeeze_first(&self) -> Array {
        ops::unstack(self, 0).remove(0)
    }
    fn slice_last(&self, n: usize) -> Array {
        ops::try_split_at(self, &[n as isize], -1).unwrap().remove(0)
    }
}
