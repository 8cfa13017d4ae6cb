//! The elements of the input that each output sees, axis by axis.
//!
//! With a dilated input (the gradient of a strided convolution, or a transposed convolution) most products would have a zero
//! between elements as a factor. Outputs whose positions are equal modulo a period see the same taps, so each such phase is
//! a convolution without input dilation, and no such zero is multiplied.

use crate::memory::List;

/// The parameters of a convolution on one spatial axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Axis {
    /// Positions of the (dilated, padded) input from one output to the next.
    pub stride: usize,
    /// Zeros before the input; if negative, positions that are cut off.
    pub padding: isize,
    /// Positions from one tap of the kernel to the next.
    pub kernel_dilation: usize,
    /// Positions from one element of the input to the next.
    pub input_dilation: usize,
}

impl Axis {
    /// Stride 1, no padding, no dilation.
    pub const PLAIN: Axis = Axis { stride: 1, padding: 0, kernel_dilation: 1, input_dilation: 1 };
}

/// An axis with its extents.
#[derive(Clone, Copy)]
pub(super) struct Extents {
    pub(super) axis: Axis,
    pub(super) input: usize,
    pub(super) kernel: usize,
    pub(super) output: usize,
}

/// The outputs `first + period · j`: for each `(k, a)` of `taps`, tap `k` multiplies element `a + step · j`.
pub(super) struct Phase {
    pub(super) first: usize,
    pub(super) period: usize,
    pub(super) step: isize,
    pub(super) taps: List<(usize, isize)>,
}

impl Phase {
    /// The `j` of the outputs in `from..to`.
    pub(super) fn within(&self, from: usize, to: usize) -> std::ops::Range<usize> {
        let at = |o: usize| o.saturating_sub(self.first).div_ceil(self.period);
        at(from)..at(to)
    }

    /// The first and last element that the outputs `j` see; `None` if they see none.
    pub(super) fn reach(&self, j: &std::ops::Range<usize>) -> Option<(isize, isize)> {
        let low = self.taps.iter().map(|t| t.1).min()?;
        let high = self.taps.iter().map(|t| t.1).max()?;
        (!j.is_empty()).then(|| (low + self.step * j.start as isize, high + self.step * (j.end as isize - 1)))
    }
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

impl Extents {
    /// The phases. Together they have all outputs; taps that multiply only padding are left out.
    pub(super) fn phases(&self) -> Vec<Phase> {
        let Axis { stride, padding, kernel_dilation, input_dilation } = self.axis;
        let common = gcd(stride, input_dilation);
        let (period, step) = (input_dilation / common, (stride / common) as isize);
        let dilation = input_dilation as isize;
        (0..period.min(self.output))
            .map(|first| {
                let mut phase = Phase { first, period, step, taps: List::new() };
                let last = phase.within(0, self.output).end as isize - 1;
                for k in 0..self.kernel {
                    let at = (first * stride + k * kernel_dilation) as isize - padding;
                    if at.rem_euclid(dilation) == 0 {
                        let a = at.div_euclid(dilation);
                        if a < self.input as isize && a + step * last >= 0 {
                            phase.taps.push((k, a));
                        }
                    }
                }
                phase
            })
            .collect()
    }
}

/// The first and last element of the smallest range that includes all of the ranges.
pub(super) fn union(reaches: impl Iterator<Item = Option<(isize, isize)>>) -> Option<(isize, isize)> {
    reaches.flatten().reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_are_all_outputs_with_what_each_sees() {
        let cases = (1..4).flat_map(|stride| {
            (1..5).flat_map(move |input_dilation| {
                (1..3).flat_map(move |kernel_dilation| {
                    [-3, 0, 4].map(|padding| Axis { stride, padding, kernel_dilation, input_dilation })
                })
            })
        });
        for axis in cases {
            let extents = Extents { axis, input: 5, kernel: 3, output: 7 };
            let mut seen: Vec<Option<Vec<(usize, isize)>>> = vec![None; extents.output];
            for phase in extents.phases() {
                for j in phase.within(0, extents.output) {
                    let taps = phase.taps.iter().map(|&(k, a)| (k, a + phase.step * j as isize));
                    let inside: Vec<_> = taps.filter(|&(_, i)| (0..5).contains(&i)).collect();
                    assert!(seen[phase.first + phase.period * j].replace(inside).is_none(), "{axis:?}");
                }
            }
            for (o, seen) in seen.into_iter().enumerate() {
                let taps = (0..3).filter_map(|k| {
                    let at = (o * axis.stride + k * axis.kernel_dilation) as isize - axis.padding;
                    let i = at.div_euclid(axis.input_dilation as isize);
                    let hit = at.rem_euclid(axis.input_dilation as isize) == 0 && (0..5).contains(&i);
                    hit.then_some((k, i))
                });
                assert_eq!(seen, Some(taps.collect()), "{axis:?} output {o}");
            }
        }
    }
}
