//! Pooling and its derivatives against plain loops: windows of many sizes, side by side, overlapping, with gaps and with
//! padding, over one to three axes.

use covector_core::transforms::{jvp_flat, vjp_flat};
use covector_core::{Array, Dtype, ops};

/// One spatial axis: extent, window, stride, padding.
type Axis = (usize, usize, usize, usize);

/// Extents and windows along three axes, of which those in front may be one place.
struct Case {
    axes: Vec<Axis>,
    images: usize,
    channels: usize,
}

impl Case {
    fn outputs(&self) -> Vec<usize> {
        self.axes
            .iter()
            .map(|&(n, w, s, p)| if n + 2 * p < w { 0 } else { (n + 2 * p - w) / s + 1 })
            .collect()
    }

    fn shape(&self, spatial: &[usize]) -> Vec<usize> {
        [&[self.images], spatial, &[self.channels]].concat()
    }

    /// For each window of each image and channel, the elements of the input that it covers.
    fn windows(&self) -> Vec<Vec<usize>> {
        let mut out = Vec::new();
        for image in 0..self.images {
            for window in indices(&self.outputs()) {
                let mut places = vec![image];
                for (k, &(n, w, s, p)) in self.axes.iter().enumerate() {
                    let inside = (0..w).map(|i| window[k] * s + i).filter(|&i| i >= p && i - p < n);
                    let inside: Vec<usize> = inside.map(|i| i - p).collect();
                    places = places.iter().flat_map(|at| inside.iter().map(move |i| at * n + i)).collect();
                }
                for channel in 0..self.channels {
                    out.push(places.iter().map(|at| at * self.channels + channel).collect());
                }
            }
        }
        out
    }
}

fn indices(shape: &[usize]) -> Vec<Vec<usize>> {
    shape.iter().fold(vec![Vec::new()], |all, &n| {
        all.iter().flat_map(|i| (0..n).map(move |k| [&i[..], &[k]].concat())).collect()
    })
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |axes: &[Axis]| {
        // One channel, and a whole group of channels with some left over.
        for (images, channels) in [(2, 1), (1, 19)] {
            cases.push(Case { axes: axes.to_vec(), images, channels });
        }
    };
    for w in [1, 2, 3, 4, 5, 6, 8, 9] {
        add(&[(2 * w, w, w, 0)]); // side by side, all covered
        add(&[(2 * w + 1, w, w, 0)]); // the end is not covered
        add(&[(3 * w, w, w + 1, 0)]); // gaps
        add(&[(w + 5, w, 1, 0)]); // overlapping
        add(&[(2 * w, w, w, w / 2)]); // side by side, padded
        add(&[(w + 4, w, w.div_ceil(2), w / 2)]); // overlapping, padded
    }
    for (w, v) in [(1, 2), (2, 2), (1, 5), (2, 3), (3, 2), (3, 3), (4, 2)] {
        add(&[(2 * w, w, w, 0), (2 * v, v, v, 0)]);
        add(&[(2 * w, w, w, w / 2), (3 * v, v, v, v / 2)]);
        add(&[(w + 3, w, 1, 0), (2 * v + 1, v, v, 0)]);
        add(&[(w + 3, w, 2, w / 2), (v + 2, v, 1, v / 2)]);
    }
    for (w, v, u) in [(1, 2, 1), (2, 2, 2), (1, 3, 2), (2, 1, 3), (1, 3, 3)] {
        add(&[(2 * w, w, w, 0), (2 * v, v, v, 0), (2 * u, u, u, 0)]);
        add(&[(2 * w, w, w, w / 2), (v + 1, v, 1, 0), (2 * u, u, u, u / 2)]);
    }
    add(&[(2, 3, 3, 0)]); // no window at all
    cases
}

/// Small whole numbers, many of them equal.
fn values(n: usize, salt: usize) -> Vec<f64> {
    (0..n).map(|i| ((i * 7 + salt * 13 + i / 5) % 11) as f64).collect()
}

fn array(values: &[f64], shape: &[usize], dtype: Dtype) -> Array {
    ops::astype(&Array::from_slice(values, shape).unwrap(), dtype)
}

#[track_caller]
fn check(what: &str, found: &Array, due: &[f64], dtype: Dtype) {
    // Shares of a tie are rounded once, and added up at most nine times.
    let slack = match dtype {
        Dtype::F16 => 10.0 * 2f64.powi(-11),
        Dtype::Bf16 => 10.0 * 2f64.powi(-8),
        _ => 1e-5,
    };
    assert_eq!(found.dtype(), dtype, "{what}");
    let found = ops::astype(&ops::real(found), Dtype::F64).to_vec::<f64>();
    assert_eq!(found.len(), due.len(), "{what}");
    for (i, (x, y)) in found.iter().zip(due).enumerate() {
        assert!((x - y).abs() <= slack * y.abs().max(1.0), "{what}: element {i} is {x}, not {y}");
    }
}

#[test]
fn maxima_and_their_derivatives_are_those_of_plain_loops() {
    for case in cases() {
        let windows = case.windows();
        let (input, output): (Vec<usize>, Vec<usize>) =
            (case.axes.iter().map(|a| a.0).collect(), case.outputs());
        let (shape, out_shape) = (case.shape(&input), case.shape(&output));
        let size: usize = shape.iter().product();
        let (x, ct, t) = (values(size, 1), values(windows.len(), 2), values(size, 3));
        let best = |w: &[usize]| w.iter().map(|&i| x[i]).fold(f64::NEG_INFINITY, f64::max);
        let greatest =
            |w: &[usize]| -> Vec<usize> { w.iter().copied().filter(|&i| x[i] == best(w)).collect() };
        let forward: Vec<f64> = windows.iter().map(|w| best(w)).collect();
        let mut back = vec![0.0; size];
        let mut tangent = Vec::new();
        for (w, ct) in windows.iter().zip(&ct) {
            let hit = greatest(w);
            tangent.push(hit.iter().map(|&i| t[i]).sum::<f64>() / hit.len().max(1) as f64);
            hit.iter().for_each(|&i| back[i] += ct / hit.len() as f64);
        }
        let each = |f: fn(&Axis) -> usize| case.axes.iter().map(f).collect::<Vec<_>>();
        let (window, stride, padding) = (each(|a| a.1), each(|a| a.2), each(|a| a.3));
        let pool = |x: &Array| ops::try_max_pool(x, &window, &stride, &padding);
        for dtype in Dtype::ALL {
            if dtype == Dtype::Bool || dtype.is_complex() {
                continue;
            }
            let what = format!("{:?} of {} channels in {dtype}", case.axes, case.channels);
            let x = array(&x, &shape, dtype);
            check(&what, &pool(&x).unwrap(), &forward, dtype);
            if !dtype.is_inexact() {
                continue;
            }
            let at = [x];
            let traced = vjp_flat(&at, |x| Ok(vec![pool(&x[0])?])).unwrap();
            let cotangent = traced.pullback(&[array(&ct, &out_shape, dtype)]).unwrap().remove(0);
            check(&what, &cotangent, &back, dtype);
            let t = [array(&t, &shape, dtype)];
            let found = jvp_flat(&at, &t, |x| Ok(vec![pool(&x[0])?])).unwrap().1.remove(0);
            check(&what, &found, &tangent, dtype);
        }
    }
}

#[test]
fn means_and_their_derivatives_are_those_of_plain_loops() {
    for case in cases() {
        let windows = case.windows();
        let (input, output): (Vec<usize>, Vec<usize>) =
            (case.axes.iter().map(|a| a.0).collect(), case.outputs());
        let (shape, out_shape) = (case.shape(&input), case.shape(&output));
        let size: usize = shape.iter().product();
        let (x, ct) = (values(size, 1), values(windows.len(), 2));
        let each = |f: fn(&Axis) -> usize| case.axes.iter().map(f).collect::<Vec<_>>();
        let (window, stride, padding) = (each(|a| a.1), each(|a| a.2), each(|a| a.3));
        let count: usize = window.iter().product();
        let forward: Vec<f64> =
            windows.iter().map(|w| w.iter().map(|&i| x[i]).sum::<f64>() / count as f64).collect();
        let mut back = vec![0.0; size];
        for (w, ct) in windows.iter().zip(&ct) {
            w.iter().for_each(|&i| back[i] += ct / count as f64);
        }
        let pool = |x: &Array| ops::try_avg_pool(x, &window, &stride, &padding);
        for dtype in [Dtype::F16, Dtype::Bf16, Dtype::F32, Dtype::F64, Dtype::C64] {
            let what = format!("{:?} of {} channels in {dtype}", case.axes, case.channels);
            let x = array(&x, &shape, dtype);
            check(&what, &pool(&x).unwrap(), &forward, dtype);
            let traced = vjp_flat(&[x], |x| Ok(vec![pool(&x[0])?])).unwrap();
            let cotangent = traced.pullback(&[array(&ct, &out_shape, dtype)]).unwrap().remove(0);
            check(&what, &cotangent, &back, dtype);
        }
    }
}
