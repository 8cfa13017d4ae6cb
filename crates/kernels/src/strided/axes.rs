//! The axes of strided memory, and steps through its elements in linear order.

use super::View;

/// Axes kept on the stack; more (after merging) go to the heap.
const INLINE: usize = 8;

/// The axes of a view, innermost first, with those that one stride describes merged and those of extent 1 left out.
#[derive(Clone)]
pub(crate) struct Axes {
    inline: [(usize, isize); INLINE],
    heap: Vec<(usize, isize)>,
    len: usize,
}

impl Axes {
    /// No axes: one element.
    #[inline]
    pub(crate) fn new() -> Self {
        Self { inline: [(1, 0); INLINE], heap: Vec::new(), len: 0 }
    }

    /// Adds an axis outside of the others, merged with the outermost one if one stride describes both.
    #[inline]
    pub(crate) fn push(&mut self, extent: usize, stride: isize) {
        if extent == 1 {
            return;
        }
        if let Some(last) = self.as_mut_slice().last_mut()
            && stride == last.1 * last.0 as isize
        {
            last.0 *= extent;
            return;
        }
        self.push_apart(extent, stride);
    }

    /// Adds an axis outside of the others without merging it.
    pub(crate) fn push_apart(&mut self, extent: usize, stride: isize) {
        if self.len < INLINE {
            self.inline[self.len] = (extent, stride);
        } else {
            if self.len == INLINE {
                self.heap.extend_from_slice(&self.inline);
            }
            self.heap.push((extent, stride));
        }
        self.len += 1;
    }

    /// The axes of a view read in row-major order.
    pub(crate) fn of(shape: &[usize], strides: &[isize]) -> Self {
        let mut axes = Self::new();
        for (&n, &s) in shape.iter().zip(strides).rev() {
            axes.push(n, s);
        }
        axes
    }

    /// The axes of a view broadcast to `shape`, aligned on the right.
    #[inline]
    pub(crate) fn broadcast(x: &View<'_>, shape: &[usize]) -> Self {
        let mut axes = Self::new();
        let (xs, xt) = (x.shape(), x.strides());
        debug_assert!(xs.len() <= shape.len(), "input {xs:?} has more axes than output {shape:?}");
        for (i, &n) in shape.iter().rev().enumerate() {
            let stride = if i < xs.len() && xs[xs.len() - 1 - i] != 1 {
                debug_assert_eq!(xs[xs.len() - 1 - i], n, "input {xs:?} does not broadcast to {shape:?}");
                xt[xs.len() - 1 - i]
            } else {
                0
            };
            axes.push(n, stride);
        }
        axes
    }

    /// Extent and stride of each axis, innermost first.
    #[inline]
    pub(crate) fn as_slice(&self) -> &[(usize, isize)] {
        if self.len <= INLINE { &self.inline[..self.len] } else { &self.heap }
    }

    #[inline]
    fn as_mut_slice(&mut self) -> &mut [(usize, isize)] {
        if self.len <= INLINE { &mut self.inline[..self.len] } else { &mut self.heap }
    }

    /// The offset, in elements, of the element with this linear index.
    #[inline]
    pub(crate) fn offset(&self, mut linear: usize) -> isize {
        let mut offset = 0;
        let axes = self.as_slice();
        for (k, &(n, s)) in axes.iter().enumerate() {
            if k + 1 == axes.len() {
                return offset + linear as isize * s;
            }
            offset += (linear % n) as isize * s;
            linear /= n;
        }
        offset
    }
}

impl Default for Axes {
    fn default() -> Self {
        Self::new()
    }
}

/// A position in the linear order of the elements of [`Axes`], with its offset.
pub(crate) struct Odometer<'a> {
    pub(super) axes: &'a [(usize, isize)],
    index: [usize; INLINE],
    heap: Vec<usize>,
    offset: isize,
}

impl<'a> Odometer<'a> {
    /// Starts at element 0 of axes, innermost first.
    #[inline]
    pub(crate) fn new(axes: &'a [(usize, isize)]) -> Self {
        let heap = if axes.len() > INLINE { vec![0; axes.len()] } else { Vec::new() };
        Self { axes, index: [0; INLINE], heap, offset: 0 }
    }

    /// Starts at a linear index.
    pub(crate) fn at(axes: &'a [(usize, isize)], mut linear: usize) -> Self {
        let mut o = Self::new(axes);
        for (k, &(n, s)) in axes.iter().enumerate() {
            let i = if n == 0 { 0 } else { linear % n };
            linear /= n.max(1);
            o.indices()[k] = i;
            o.offset += i as isize * s;
        }
        o
    }

    #[inline]
    fn indices(&mut self) -> &mut [usize] {
        if self.axes.len() > INLINE { &mut self.heap } else { &mut self.index[..self.axes.len()] }
    }

    /// The offset of the current element.
    #[inline(always)]
    pub(crate) fn offset(&self) -> isize {
        self.offset
    }

    /// The number of elements from the current one to the end of the innermost axis.
    #[inline(always)]
    pub(crate) fn run(&mut self) -> usize {
        match self.axes.first() {
            Some(&(n, _)) => n - self.indices()[0],
            None => 1,
        }
    }

    /// Advances by `by` elements, at most to the end of the innermost axis. After the last element comes the first.
    #[inline(always)]
    pub(crate) fn advance(&mut self, by: usize) {
        let Some(&(n, s)) = self.axes.first() else { return };
        let axes = self.axes;
        let mut offset = self.offset + by as isize * s;
        let index = self.indices();
        index[0] += by;
        if index[0] == n {
            index[0] = 0;
            offset -= n as isize * s;
            for k in 1..axes.len() {
                let (n, s) = axes[k];
                index[k] += 1;
                offset += s;
                if index[k] < n {
                    break;
                }
                index[k] = 0;
                offset -= n as isize * s;
            }
        }
        self.offset = offset;
    }

    /// The number of whole lines (runs of the innermost axis) to the end of the second axis, if the position is at the start of
    /// a line; else 0.
    #[inline(always)]
    pub(super) fn lines(&mut self) -> usize {
        match (self.axes, self.indices()) {
            ([_, (m, _), ..], [0, at, ..]) => m - *at,
            _ => 0,
        }
    }

    /// Advances by `by` whole lines, at most to the end of the second axis.
    #[inline(always)]
    pub(super) fn advance_lines(&mut self, by: usize) {
        let axes = self.axes;
        let mut offset = self.offset + by as isize * axes[1].1;
        let index = self.indices();
        index[1] += by;
        for k in 1..axes.len() {
            let (n, s) = axes[k];
            if index[k] < n {
                break;
            }
            index[k] = 0;
            offset -= n as isize * s;
            if let Some(&(_, s)) = axes.get(k + 1) {
                index[k + 1] += 1;
                offset += s;
            }
        }
        self.offset = offset;
    }

    /// Advances by one element.
    #[inline(always)]
    pub(crate) fn step(&mut self) {
        self.advance(1);
    }
}
