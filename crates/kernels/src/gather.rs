//! Indexed reads and writes.

use crate::dtype::Dtype;
use crate::loader::{Axes, Odometer, copy_strided};
use crate::num::Num;
use crate::view::{Out, View};

/// An index that does not fit the axis that it indexes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutOfBounds {
    /// The index as given.
    pub index: i64,
    /// The axis.
    pub axis: usize,
    /// The axis's extent.
    pub size: usize,
}

impl std::fmt::Display for OutOfBounds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "index {} is out of bounds for axis {} of size {}", self.index, self.axis, self.size)
    }
}

impl std::error::Error for OutOfBounds {}

/// How a scatter combines an update with what is there.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Scatter {
    /// Overwrite; of several updates to one place the last stays.
    Set,
    /// Add.
    Add,
    /// Multiply.
    Prod,
    /// Keep the greater.
    Max,
    /// Keep the lesser.
    Min,
}

/// Reads the element at `p` of an integer (or bool) type.
///
/// # Safety
/// `p` is such an element.
#[inline(always)]
unsafe fn read_index(p: *const u8, dtype: Dtype) -> i64 {
    // SAFETY: the caller's contract.
    unsafe {
        match dtype {
            Dtype::U32 => i64::from(*p.cast::<u32>()),
            Dtype::I32 => i64::from(*p.cast::<i32>()),
            Dtype::I64 => *p.cast::<i64>(),
            Dtype::U64 => i64::try_from(*p.cast::<u64>()).unwrap_or(i64::MAX),
            Dtype::U8 | Dtype::Bool => i64::from(*p),
            Dtype::I8 => i64::from(*p.cast::<i8>()),
            Dtype::U16 => i64::from(*p.cast::<u16>()),
            Dtype::I16 => i64::from(*p.cast::<i16>()),
            other => panic!("indices must be integers, not {other}"),
        }
    }
}

/// The place on an axis of extent `size` that `index` means, if `room` elements fit there.
#[inline(always)]
fn place(index: i64, size: usize, room: usize, axis: usize) -> Result<usize, OutOfBounds> {
    let at = if index < 0 { index + size as i64 } else { index };
    if at < 0 || at as u64 + room as u64 > size as u64 {
        return Err(OutOfBounds { index, axis, size });
    }
    Ok(at as usize)
}

/// All axes of a view, innermost first, none merged, so that two views of one shape step alike.
fn apart(shape: &[usize], strides: &[isize]) -> Axes {
    let mut axes = Axes::new();
    for (&n, &s) in shape.iter().zip(strides).rev() {
        axes.push_apart(n, s);
    }
    axes
}

/// Reads the index tuples of several views of one shape in order.
struct Starts<'a> {
    views: &'a [View<'a>],
    odometers: Vec<Odometer<'a>>,
    axes: &'a [usize],
}

impl<'a> Starts<'a> {
    fn new(views: &'a [View<'a>], layouts: &'a [Axes], axes: &'a [usize]) -> Self {
        Self { views, odometers: layouts.iter().map(|l| Odometer::new(l.as_slice())).collect(), axes }
    }

    /// The offset in the indexed array (extents and strides given) of the next slice.
    #[inline]
    fn next(&mut self, shape: &[usize], strides: &[isize], slice: &[usize]) -> Result<isize, OutOfBounds> {
        let mut offset = 0;
        for ((view, o), &axis) in self.views.iter().zip(&mut self.odometers).zip(self.axes) {
            // SAFETY: the view vouches for its elements; the odometer stays within them.
            let index = unsafe {
                read_index(view.ptr().offset(o.offset() * view.dtype().size() as isize), view.dtype())
            };
            o.step();
            offset += place(index, shape[axis], slice[axis], axis)? as isize * strides[axis];
        }
        Ok(offset)
    }
}

fn row_major(shape: &[usize]) -> Vec<isize> {
    let mut strides = vec![1; shape.len()];
    for k in (1..shape.len()).rev() {
        strides[k - 1] = strides[k] * shape[k] as isize;
    }
    strides
}

/// `out[i.., s..] = src[s + sum over k of indices[k][i] on axis axes[k]]`, where `i` runs over the indices'
/// common shape and `s` over `slice_sizes` (as many as `src` has axes).
///
/// Negative indices count from the end; a slice that does not fit is an error. Without indices it is the one
/// slice at the origin.
pub fn gather(
    src: View<'_>,
    indices: &[View<'_>],
    axes: &[usize],
    slice_sizes: &[usize],
    out: Out<'_>,
) -> Result<(), OutOfBounds> {
    let slice: usize = slice_sizes.iter().product();
    if out.size() == 0 {
        return Ok(());
    }
    let size = src.dtype().size();
    let count = out.size() / slice;
    if let ([index], [axis]) = (indices, axes)
        && let Some(result) = gather_rows(&src, index, *axis, slice_sizes, &out)
    {
        return result;
    }
    let layouts: Vec<Axes> = indices.iter().map(|v| Axes::of(v.shape(), v.strides())).collect();
    let mut starts = Starts::new(indices, &layouts, axes);
    let inner = Axes::of(slice_sizes, src.strides());
    let (run, stride) = inner.as_slice().first().copied().unwrap_or((1, 1));
    let mut dst = out.ptr();
    for _ in 0..count {
        let at = starts.next(src.shape(), src.strides(), slice_sizes)?;
        let mut o = Odometer::new(inner.as_slice());
        for _ in 0..slice / run {
            // SAFETY: `next` checked that the slice lies within `src`; `out` has room for every slice.
            unsafe {
                copy_strided(src.ptr().offset((at + o.offset()) * size as isize), stride, size, dst, run);
                dst = dst.add(run * size);
            }
            o.advance(run);
        }
    }
    Ok(())
}

/// [`gather`] of contiguous slices by one contiguous index of a common type; `None` if it is not that.
fn gather_rows(
    src: &View<'_>,
    index: &View<'_>,
    axis: usize,
    slice_sizes: &[usize],
    out: &Out<'_>,
) -> Option<Result<(), OutOfBounds>> {
    fn copies<T: Copy + TryInto<i64>, const SIZE: usize>(p: &Rows, index: &[T]) -> Result<(), OutOfBounds> {
        let mut dst = p.dst;
        for &i in index {
            let at = place(i.try_into().unwrap_or(i64::MAX), p.extent, p.room, p.axis)?;
            // SAFETY: `place` checked that the slice lies within the source; the output has room for every slice.
            unsafe {
                let from = p.src.offset(at as isize * p.step);
                // A size known at compile time is a move; others are a call.
                let bytes = if SIZE > 0 { SIZE } else { p.bytes };
                std::ptr::copy_nonoverlapping(from, dst, bytes);
                dst = dst.add(bytes);
            }
        }
        Ok(())
    }
    fn sized<T: Copy + TryInto<i64>>(p: &Rows, index: &[T]) -> Result<(), OutOfBounds> {
        match p.bytes {
            4 => copies::<T, 4>(p, index),
            8 => copies::<T, 8>(p, index),
            64 => copies::<T, 64>(p, index),
            _ => copies::<T, 0>(p, index),
        }
    }
    if !matches!(Axes::of(slice_sizes, src.strides()).as_slice(), [] | [(_, 1)]) {
        return None;
    }
    let size = src.dtype().size();
    let rows = Rows {
        src: src.ptr(),
        dst: out.ptr(),
        step: src.strides()[axis] * size as isize,
        bytes: slice_sizes.iter().product::<usize>() * size,
        extent: src.shape()[axis],
        room: slice_sizes[axis],
        axis,
    };
    if let Some(i) = index.as_slice::<u32>() {
        return Some(sized(&rows, i));
    }
    if let Some(i) = index.as_slice::<i32>() {
        return Some(sized(&rows, i));
    }
    index.as_slice::<i64>().map(|i| sized(&rows, i))
}

/// Where [`gather_rows`] copies from and to; sizes in bytes.
struct Rows {
    src: *const u8,
    dst: *mut u8,
    step: isize,
    bytes: usize,
    extent: usize,
    room: usize,
    axis: usize,
}

/// Combines each slice of `updates` (shape: the indices' shape, then a slice of `out`'s rank) with the slice of `out`
/// that the indices mean, in order; `out` holds the initial values. Bounds are those of [`gather`].
pub fn scatter(
    op: Scatter,
    out: Out<'_>,
    indices: &[View<'_>],
    axes: &[usize],
    updates: View<'_>,
) -> Result<(), OutOfBounds> {
    if updates.size() == 0 {
        return Ok(());
    }
    let rank = out.shape().len();
    let strides = row_major(out.shape());
    let split = updates.ndim() - rank;
    let slice_sizes = &updates.shape()[split..];
    let layouts: Vec<Axes> = indices.iter().map(|v| Axes::of(v.shape(), v.strides())).collect();
    let mut starts = Starts::new(indices, &layouts, axes);
    let outer = Axes::of(&updates.shape()[..split], &updates.strides()[..split]);
    let (from, to) = (apart(slice_sizes, &updates.strides()[split..]), apart(slice_sizes, &strides));
    let count: usize = updates.shape()[..split].iter().product();
    let slice: usize = slice_sizes.iter().product();
    let (run, from_stride, to_stride) = match (from.as_slice().first(), to.as_slice().first()) {
        (Some(a), Some(b)) => (a.0, a.1, b.1),
        _ => (1, 1, 1),
    };
    crate::with_dtype!(updates.dtype(), T => {
        let mut block = Odometer::new(outer.as_slice());
        for _ in 0..count {
            let at = starts.next(out.shape(), &strides, slice_sizes)?;
            let (mut i, mut o) = (Odometer::new(from.as_slice()), Odometer::new(to.as_slice()));
            for _ in 0..slice / run {
                // SAFETY: `next` checked that the slice lies within `out`; the view vouches for the updates.
                unsafe {
                    let src = updates.ptr().cast::<T>().offset(block.offset() + i.offset());
                    let dst = out.ptr().cast::<T>().offset(at + o.offset());
                    combine(op, src, from_stride, dst, to_stride, run);
                }
                i.advance(run);
                o.advance(run);
            }
            block.step();
        }
    });
    Ok(())
}

/// Combines `n` strided elements at `src` into those at `dst`.
///
/// # Safety
/// The elements can be read and written, and do not overlap.
#[inline]
unsafe fn combine<T: Num>(op: Scatter, src: *const T, ss: isize, dst: *mut T, ds: isize, n: usize) {
    macro_rules! go {
        ($f:expr) => {
            for k in 0..n as isize {
                // SAFETY: the caller's contract.
                unsafe {
                    let d = dst.offset(k * ds);
                    d.write($f(d.read(), src.offset(k * ss).read()));
                }
            }
        };
    }
    match op {
        Scatter::Set => go!(|_, u| u),
        Scatter::Add => go!(|d: T, u| d.add(u)),
        Scatter::Prod => go!(|d: T, u| d.mul(u)),
        Scatter::Max => go!(|d: T, u| d.greater(u)),
        Scatter::Min => go!(|d: T, u| d.lesser(u)),
    }
}

/// `out[.., i, ..] = src[.., idx[.., i, ..], ..]` along `axis`. `idx` has `out`'s shape; on the other axes `src` has too.
pub fn take_along_axis(src: View<'_>, idx: View<'_>, axis: usize, out: Out<'_>) -> Result<(), OutOfBounds> {
    let n = out.size();
    if n == 0 {
        return Ok(());
    }
    let (extent, stride) = (src.shape()[axis], src.strides()[axis]);
    let mut strides = src.strides().to_vec();
    strides[axis] = 0;
    let (base, index) = (apart(out.shape(), &strides), apart(out.shape(), idx.strides()));
    let (mut base, mut at) = (Odometer::new(base.as_slice()), Odometer::new(index.as_slice()));
    let (size, index_size) = (src.dtype().size(), idx.dtype().size() as isize);
    for i in 0..n {
        // SAFETY: the views vouch for their elements, `place` for the index, and `i` is within `out`.
        unsafe {
            let k =
                place(read_index(idx.ptr().offset(at.offset() * index_size), idx.dtype()), extent, 1, axis)?;
            let p = src.ptr().offset((base.offset() + k as isize * stride) * size as isize);
            std::ptr::copy_nonoverlapping(p, out.ptr().add(i * size), size);
        }
        base.step();
        at.step();
    }
    Ok(())
}

/// Combines `updates[.., i, ..]` into `out[.., idx[.., i, ..], ..]` along `axis`, in order. `idx` and `updates` have one
/// shape, which is `out`'s on the other axes; `out` holds the initial values.
pub fn scatter_along_axis(
    op: Scatter,
    out: Out<'_>,
    idx: View<'_>,
    axis: usize,
    updates: View<'_>,
) -> Result<(), OutOfBounds> {
    if updates.size() == 0 {
        return Ok(());
    }
    let mut strides = row_major(out.shape());
    let (extent, stride) = (out.shape()[axis], strides[axis]);
    strides[axis] = 0;
    let shape = updates.shape();
    let (base, index, from) =
        (apart(shape, &strides), apart(shape, idx.strides()), apart(shape, updates.strides()));
    let mut base = Odometer::new(base.as_slice());
    let mut at = Odometer::new(index.as_slice());
    let mut from = Odometer::new(from.as_slice());
    let index_size = idx.dtype().size() as isize;
    crate::with_dtype!(updates.dtype(), T => {
        for _ in 0..updates.size() {
            // SAFETY: the views vouch for their elements, and `place` for the index.
            unsafe {
                let k = read_index(idx.ptr().offset(at.offset() * index_size), idx.dtype());
                let k = place(k, extent, 1, axis)?;
                let dst = out.ptr().cast::<T>().offset(base.offset() + k as isize * stride);
                combine(op, updates.ptr().cast::<T>().offset(from.offset()), 1, dst, 1, 1);
            }
            base.step();
            at.step();
            from.step();
        }
    });
    Ok(())
}
