//! Pooling windows side by side, where the transposes write elements instead of adding to them.

use super::{Entry, distinct, entry, real};
use crate::ops;
use crate::transforms::{jvp_flat, vjp_flat};

pub(super) fn windows() -> Vec<Entry> {
    let maxima = |shape: &[usize], window: &'static [usize], padding: &'static [usize]| {
        entry("max_pool", vec![distinct(shape)], move |x| ops::try_max_pool(&x[0], window, window, padding))
    };
    let means = |shape: &[usize], window: &'static [usize], padding: &'static [usize]| {
        entry("avg_pool", vec![real(shape)], move |x| ops::try_avg_pool(&x[0], window, window, padding))
    };
    vec![
        maxima(&[2, 6, 1], &[2], &[0]),
        maxima(&[1, 6, 3], &[3], &[0]),
        maxima(&[1, 4, 4, 2], &[2, 2], &[1, 1]),
        maxima(&[1, 3, 4, 1], &[3, 2], &[0, 0]),
        maxima(&[1, 2, 4, 2, 1], &[1, 2, 2], &[0, 0, 0]),
        means(&[2, 6, 1], &[2], &[0]),
        means(&[1, 4, 4, 1], &[2, 2], &[1, 1]),
        // The transpose as an operation of its own.
        entry("max_pool", vec![distinct(&[1, 6, 2]), real(&[1, 3, 2])], |x| {
            let pool = |x: &[_]| Ok(vec![ops::try_max_pool(&x[0], &[2], &[2], &[0])?]);
            Ok(vjp_flat(&x[..1], pool)?.pullback(&x[1..])?.remove(0))
        }),
        entry("max_pool", vec![distinct(&[1, 6, 2]), real(&[1, 6, 2])], |x| {
            let pool = |x: &[_]| Ok(vec![ops::try_max_pool(&x[0], &[2], &[2], &[0])?]);
            Ok(jvp_flat(&x[..1], &x[1..], pool)?.1.remove(0))
        }),
    ]
}
