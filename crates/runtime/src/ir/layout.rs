//! Where the elements of a value are in memory.

use crate::shape::{Shape, Strides, row_major_strides};
use smallvec::SmallVec;
use std::ops::Range;

/// A shape with the memory's address arithmetic: element `[i, j, …]` is `shift + i · strides[0] + j · strides[1] + …`
/// elements behind the start.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Layout {
    /// The extents.
    pub shape: Shape,
    /// Distances in elements.
    pub strides: Strides,
    /// The number of the first element.
    pub shift: isize,
}

impl Layout {
    /// Row-major from the start.
    pub fn row_major(shape: &[usize]) -> Self {
        Self { shape: Shape::from_slice(shape), strides: row_major_strides(shape), shift: 0 }
    }

    /// The layout of the transposed matrix.
    pub fn transposed(mut self) -> Self {
        self.shape.swap(0, 1);
        self.strides.swap(0, 1);
        self
    }

    /// The strides of the value broadcast to `shape`, aligned on the right.
    pub fn broadcast_strides(&self, shape: &[usize]) -> Strides {
        let new = shape.len() - self.shape.len();
        let stride = |k: usize| if k < new || self.shape[k - new] == 1 { 0 } else { self.strides[k - new] };
        (0..shape.len()).map(stride).collect()
    }

    /// The range of element numbers that it reaches; empty for an empty shape.
    pub fn reach(&self) -> Range<isize> {
        reach(&self.shape, &self.strides, self.shift)
    }

    /// Calls `f` with the number of each element.
    pub fn for_each(&self, mut f: impl FnMut(isize)) {
        let Self { shape, strides, shift } = self;
        let n: usize = shape.iter().product();
        let mut index = vec![0usize; shape.len()];
        let mut at = *shift;
        for _ in 0..n {
            f(at);
            for k in (0..shape.len()).rev() {
                index[k] += 1;
                at += strides[k];
                if index[k] < shape[k] {
                    break;
                }
                at -= strides[k] * shape[k] as isize;
                index[k] = 0;
            }
        }
    }
}

/// The range of element numbers that a shape with these strides reaches.
pub(crate) fn reach(shape: &[usize], strides: &[isize], shift: isize) -> Range<isize> {
    if shape.contains(&0) {
        return shift..shift;
    }
    let (mut low, mut high) = (shift, shift);
    for (&n, &stride) in shape.iter().zip(strides) {
        let far = (n as isize - 1) * stride;
        if far < 0 { low += far } else { high += far }
    }
    low..high + 1
}

/// The strides with which the same memory has another shape, when there are such strides.
pub fn reshape_strides(from: &[usize], strides: &[isize], to: &[usize]) -> Option<Strides> {
    if from.contains(&0) {
        return Some(row_major_strides(to));
    }
    // Runs of input axes that can be walked as one axis.
    let mut runs: SmallVec<[(usize, isize); 6]> = SmallVec::new();
    for (&n, &s) in from.iter().zip(strides) {
        if n == 1 {
            continue;
        }
        match runs.last_mut() {
            Some((m, t)) if *t == s * n as isize => {
                *m *= n;
                *t = s;
            }
            _ => runs.push((n, s)),
        }
    }
    let mut out = Strides::from_elem(0, to.len());
    let mut axis = to.len();
    for &(n, s) in runs.iter().rev() {
        let (mut left, mut step) = (n, s);
        while left > 1 {
            axis = axis.checked_sub(1)?;
            let m = to[axis];
            if m == 1 {
                out[axis] = step;
                continue;
            }
            if left % m != 0 {
                return None;
            }
            out[axis] = step;
            step *= m as isize;
            left /= m;
        }
    }
    Some(out)
}
