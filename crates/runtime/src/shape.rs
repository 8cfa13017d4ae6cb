//! Shapes, strides, broadcasting and axis arithmetic.

use crate::error::{Error, Result};
use smallvec::SmallVec;

/// The extents of an array, up to four axes without a heap allocation.
pub type Shape = SmallVec<[usize; 4]>;

/// Distances in elements between neighbours along each axis.
pub type Strides = SmallVec<[isize; 4]>;

/// One number for each axis: axes in some order, starts of a window.
pub type Dims = SmallVec<[usize; 4]>;

/// Displays a shape the way error messages and Python write it: `(2, 3)`, `(2,)`, `()`.
pub struct ShapeText<'a>(pub &'a [usize]);

impl std::fmt::Display for ShapeText<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(")?;
        for (i, n) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{n}")?;
        }
        f.write_str(if self.0.len() == 1 { ",)" } else { ")" })
    }
}

/// The strides of a row-major array without gaps.
pub fn row_major_strides(shape: &[usize]) -> Strides {
    let mut strides: Strides = SmallVec::from_elem(0, shape.len());
    let mut step = 1isize;
    for (s, &n) in strides.iter_mut().zip(shape).rev() {
        *s = step;
        step = step.wrapping_mul(n.max(1) as isize);
    }
    strides
}

/// The number of elements, or an error when it does not fit in memory addressing.
pub fn checked_size(op: &'static str, shape: &[usize]) -> Result<usize> {
    let mut size = 1usize;
    for &n in shape {
        size = match size.checked_mul(n) {
            Some(size) if size <= isize::MAX as usize / 16 => size,
            _ if shape.contains(&0) => return Ok(0),
            _ => {
                return Err(Error::shape(
                    op,
                    format!("shape {} has more elements than can be addressed", ShapeText(shape)),
                ));
            }
        };
    }
    Ok(size)
}

/// The shape two shapes broadcast to: aligned on the right, an extent of 1 stretches.
pub fn broadcast_shapes(op: &'static str, a: &[usize], b: &[usize]) -> Result<Shape> {
    if a == b || b.is_empty() {
        return Ok(Shape::from_slice(a));
    }
    let (long, short) = if a.len() >= b.len() { (a, b) } else { (b, a) };
    let mut out = Shape::from_slice(long);
    let offset = long.len() - short.len();
    for (i, &n) in short.iter().enumerate() {
        let m = &mut out[offset + i];
        if *m == 1 {
            *m = n;
        } else if n != 1 && n != *m {
            return Err(Error::shape(
                op,
                format!(
                    "shapes {} and {} do not broadcast: {m} ≠ {n}; equal extents or 1 are needed on every axis, aligned on the right",
                    ShapeText(a),
                    ShapeText(b)
                ),
            ));
        }
    }
    Ok(out)
}

/// Turns an axis that may count from the end into one that counts from the start.
pub fn normalize_axis(op: &'static str, axis: isize, ndim: usize) -> Result<usize> {
    let n = ndim as isize;
    if axis >= -n && axis < n {
        Ok(if axis < 0 { axis + n } else { axis } as usize)
    } else {
        Err(Error::axis(
            op,
            if ndim == 0 {
                format!("axis {axis} is out of range: the array is zero-dimensional and has no axes")
            } else {
                format!("axis {axis} is out of range for an array with {ndim} axes (−{ndim} to {})", ndim - 1)
            },
        ))
    }
}

/// Normalises several axes, sorts them, and refuses repeats.
pub fn normalize_axes(op: &'static str, axes: &[isize], ndim: usize) -> Result<SmallVec<[usize; 4]>> {
    let mut out = SmallVec::new();
    for &axis in axes {
        out.push(normalize_axis(op, axis, ndim)?);
    }
    if out.len() < 2 {
        return Ok(out);
    }
    out.sort_unstable();
    if let Some(w) = out.windows(2).find(|w| w[0] == w[1]) {
        return Err(Error::axis(op, format!("axis {} is named twice in {axes:?}", w[0])));
    }
    Ok(out)
}

/// `shape` with `axes` (sorted) removed, or kept with extent 1.
pub fn reduced_shape(shape: &[usize], axes: &[usize], keepdims: bool) -> Shape {
    if axes.len() == shape.len() && !keepdims {
        return Shape::new();
    }
    let mut out = Shape::new();
    for (i, &n) in shape.iter().enumerate() {
        if !axes.contains(&i) {
            out.push(n);
        } else if keepdims {
            out.push(1);
        }
    }
    out
}

/// A window of an array: every `strides[k]`-th position on axis `k`, from `starts[k]`; strides may be negative.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Window {
    /// The first position on each axis.
    pub starts: Dims,
    /// The distance between positions.
    pub strides: Strides,
    /// The number of positions.
    pub extents: Shape,
}

impl Window {
    /// The same window behind a batch axis.
    pub fn batched(&self, size: usize) -> Self {
        let mut w = self.clone();
        w.starts.insert(0, 0);
        w.strides.insert(0, 1);
        w.extents.insert(0, size);
        w
    }

    /// Offset in elements, and strides, of the window in memory with `strides`.
    pub fn place(&self, strides: &[isize]) -> (isize, Strides) {
        let shift = self.starts.iter().zip(strides).map(|(&i, &s)| i as isize * s).sum();
        (shift, self.strides.iter().zip(strides).map(|(&w, &s)| w * s).collect())
    }
}
