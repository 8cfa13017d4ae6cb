//! Indexed reads, and the index arithmetic that indexed reads and writes share.

use crate::dtype::Dtype;
use crate::strided::{Axes, Odometer, Out, View, copy_strided};
use crate::threads::parallel;
use std::ops::Range;
use std::sync::Mutex;

/// The error that an index is outside of its axis.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutOfBounds {
    /// The index as given.
    pub index: i64,
    /// The axis.
    pub axis: usize,
    /// The extent of the axis.
    pub size: usize,
}

impl std::fmt::Display for OutOfBounds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "index {} is out of bounds for axis {} of size {}", self.index, self.axis, self.size)
    }
}

impl std::error::Error for OutOfBounds {}

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
            other => panic!("index: indices must be integers, not {other}"),
        }
    }
}

/// An index as `i64`. One that does not fit becomes `i64::MAX`, which is out of bounds, too.
#[inline(always)]
pub(crate) fn wide<I: TryInto<i64>>(index: I) -> i64 {
    index.try_into().unwrap_or(i64::MAX)
}

/// The position of `index` on an axis of extent `size`; an error if `room` elements from there on do not fit.
#[inline(always)]
pub(crate) fn position(index: i64, size: usize, room: usize, axis: usize) -> Result<usize, OutOfBounds> {
    let at = if index < 0 { index + size as i64 } else { index };
    if at < 0 || at as u64 + room as u64 > size as u64 {
        return Err(OutOfBounds { index, axis, size });
    }
    Ok(at as usize)
}

/// Bytes from which on a separate part pays.
pub(crate) const PART: usize = 1 << 16;

/// Runs `task` on ranges of `n` items of `cost` bytes each, on several threads. Of several errors the first in order is
/// returned.
pub(crate) fn in_parts(
    n: usize,
    cost: usize,
    task: &(dyn Fn(Range<usize>) -> Result<(), OutOfBounds> + Sync),
) -> Result<(), OutOfBounds> {
    let parts = (n * cost / PART).clamp(1, 16.min(n.max(1)));
    if parts == 1 {
        return task(0..n);
    }
    let first: Mutex<Option<(usize, OutOfBounds)>> = Mutex::new(None);
    parallel(parts, &|p| {
        if let Err(error) = task(p * n / parts..(p + 1) * n / parts) {
            let mut first = first.lock().unwrap_or_else(|e| e.into_inner());
            if first.as_ref().is_none_or(|f| p < f.0) {
                *first = Some((p, error));
            }
        }
    });
    first.into_inner().unwrap_or_else(|e| e.into_inner()).map_or(Ok(()), |f| Err(f.1))
}

/// Prefetches the cache line at an address, which may be invalid.
#[inline(always)]
pub(crate) fn prefetch(p: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint, for which the address may be invalid.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(p.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = p;
}

/// Runs `$body` with `$I` bound to the type of the indices; bool is read as the byte that it is.
macro_rules! with_index {
    ($view:expr, $I:ident => $body:expr) => {
        match $view.dtype() {
            Dtype::U32 => {
                type $I = u32;
                $body
            }
            Dtype::I32 => {
                type $I = i32;
                $body
            }
            Dtype::I64 => {
                type $I = i64;
                $body
            }
            Dtype::U64 => {
                type $I = u64;
                $body
            }
            Dtype::U8 | Dtype::Bool => {
                type $I = u8;
                $body
            }
            Dtype::I8 => {
                type $I = i8;
                $body
            }
            Dtype::U16 => {
                type $I = u16;
                $body
            }
            Dtype::I16 => {
                type $I = i16;
                $body
            }
            other => panic!("index: indices must be integers, not {other}"),
        }
    };
}
pub(crate) use with_index;

/// All axes of a view, innermost first. None are merged, so that two views of one shape have the same axes.
pub(crate) fn apart(shape: &[usize], strides: &[isize]) -> Axes {
    let mut axes = Axes::new();
    for (&n, &s) in shape.iter().zip(strides).rev() {
        axes.push_apart(n, s);
    }
    axes
}

/// Reads the index tuples of several views of one shape in order.
pub(crate) struct Starts<'a> {
    views: &'a [View<'a>],
    odometers: Vec<Odometer<'a>>,
    axes: &'a [usize],
}

impl<'a> Starts<'a> {
    /// Starts at tuple `first`.
    pub(crate) fn at(views: &'a [View<'a>], layouts: &'a [Axes], axes: &'a [usize], first: usize) -> Self {
        Self { views, odometers: layouts.iter().map(|l| Odometer::at(l.as_slice(), first)).collect(), axes }
    }

    /// The offset of the next slice in the indexed array, which has these extents and strides.
    #[inline]
    pub(crate) fn next(
        &mut self,
        shape: &[usize],
        strides: &[isize],
        slice: &[usize],
    ) -> Result<isize, OutOfBounds> {
        let mut offset = 0;
        for ((view, o), &axis) in self.views.iter().zip(&mut self.odometers).zip(self.axes) {
            // SAFETY: the view vouches for its elements; the odometer stays within them.
            let index = unsafe {
                read_index(view.ptr().offset(o.offset() * view.dtype().size() as isize), view.dtype())
            };
            o.step();
            offset += position(index, shape[axis], slice[axis], axis)? as isize * strides[axis];
        }
        Ok(offset)
    }
}

/// `out[i.., s..] = src[s + sum over k of indices[k][i] on axis axes[k]]`, where `i` runs over the indices'
/// common shape and `s` over `slice_sizes` (as many as `src` has axes).
///
/// Negative indices count from the end. Without indices the result is the slice at the origin.
///
/// # Errors
/// [`OutOfBounds`] if a slice does not fit.
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
    let inner = Axes::of(slice_sizes, src.strides());
    let (run, stride) = inner.as_slice().first().copied().unwrap_or((1, 1));
    in_parts(count, slice * size + 16, &|range| {
        let mut starts = Starts::at(indices, &layouts, axes, range.start);
        let mut dst = out.ptr().wrapping_add(range.start * slice * size);
        for _ in range {
            let at = starts.next(src.shape(), src.strides(), slice_sizes)?;
            let mut o = Odometer::new(inner.as_slice());
            for _ in 0..slice / run {
                // SAFETY: `next` checked that the slice is within `src`; `out` has room for every slice.
                unsafe {
                    copy_strided(src.ptr().offset((at + o.offset()) * size as isize), stride, size, dst, run);
                    dst = dst.add(run * size);
                }
                o.advance(run);
            }
        }
        Ok(())
    })
}

/// [`gather`] of contiguous slices with one contiguous index array of a common type; `None` for other operands.
fn gather_rows(
    src: &View<'_>,
    index: &View<'_>,
    axis: usize,
    slice_sizes: &[usize],
    out: &Out<'_>,
) -> Option<Result<(), OutOfBounds>> {
    /// The number of rows that are prefetched ahead of the copy.
    const AHEAD: usize = 8;
    fn copies<T: Copy + TryInto<i64> + Sync, const SIZE: usize>(
        p: &Rows,
        index: &[T],
    ) -> Result<(), OutOfBounds> {
        in_parts(index.len(), p.bytes + 16, &|range| {
            // A copy of a size known at compile time takes a few moves, others a call.
            let bytes = if SIZE > 0 { SIZE } else { p.bytes };
            // A local copy, because after each write of a row the compiler would have to read `p` again.
            let p = *p;
            let mut dst = p.dst.wrapping_add(range.start * bytes);
            for (k, &i) in (range.start..).zip(&index[range]) {
                if bytes >= 64
                    && let Some(&i) = index.get(k + AHEAD)
                {
                    // For a negative index the wrong line is prefetched, which is harmless.
                    let next = p.src.wrapping_offset(i.try_into().unwrap_or(0) as isize * p.step);
                    (0..bytes.min(512)).step_by(64).for_each(|b| prefetch(next.wrapping_add(b)));
                }
                let at = position(i.try_into().unwrap_or(i64::MAX), p.extent, p.room, p.axis)?;
                // SAFETY: `position` checked that the slice is within the source; the output has room for every slice.
                unsafe {
                    std::ptr::copy_nonoverlapping(p.src.offset(at as isize * p.step), dst, bytes);
                    dst = dst.add(bytes);
                }
            }
            Ok(())
        })
    }
    fn sized<T: Copy + TryInto<i64> + Sync>(p: &Rows, index: &[T]) -> Result<(), OutOfBounds> {
        match p.bytes {
            4 => copies::<T, 4>(p, index),
            8 => copies::<T, 8>(p, index),
            64 => copies::<T, 64>(p, index),
            128 => copies::<T, 128>(p, index),
            256 => copies::<T, 256>(p, index),
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

/// The source and destination of [`gather_rows`]; sizes are in bytes.
#[derive(Clone, Copy)]
struct Rows {
    src: *const u8,
    dst: *mut u8,
    step: isize,
    bytes: usize,
    extent: usize,
    room: usize,
    axis: usize,
}
// SAFETY: the source is only read, and every thread writes rows of its own.
unsafe impl Sync for Rows {}

/// The last axis of an array, and the other axes as [`Axes`] of lines.
pub(crate) struct LastAxis {
    /// The extent of the last axis and its stride.
    pub(crate) len: usize,
    pub(crate) step: isize,
    pub(crate) outer: Axes,
}

impl LastAxis {
    pub(crate) fn new(shape: &[usize], strides: &[isize]) -> Self {
        let last = shape.len() - 1;
        Self { len: shape[last], step: strides[last], outer: apart(&shape[..last], &strides[..last]) }
    }
}

/// The first index below zero, if there is one.
pub fn first_negative(idx: View<'_>) -> Option<i64> {
    if idx.size() == 0 {
        return None;
    }
    let lines = LastAxis::new(idx.shape(), idx.strides());
    let size = idx.dtype().size() as isize;
    let mut at = Odometer::at(lines.outer.as_slice(), 0);
    for _ in 0..idx.size() / lines.len {
        for i in 0..lines.len {
            // SAFETY: the view vouches for its elements.
            let index = unsafe {
                read_index(idx.ptr().offset((at.offset() + i as isize * lines.step) * size), idx.dtype())
            };
            if index < 0 {
                return Some(index);
            }
        }
        at.step();
    }
    None
}

/// `out[.., i, ..] = src[.., idx[.., i, ..], ..]` along `axis`. `idx` has `out`'s shape, and `src` has it on the other axes.
///
/// # Errors
/// [`OutOfBounds`] if an index does not fit.
pub fn take_along_axis(src: View<'_>, idx: View<'_>, axis: usize, out: Out<'_>) -> Result<(), OutOfBounds> {
    if out.size() == 0 {
        return Ok(());
    }
    let (extent, stride) = (src.shape()[axis], src.strides()[axis]);
    let mut strides = src.strides().to_vec();
    strides[axis] = 0;
    let (base, index) = (LastAxis::new(out.shape(), &strides), LastAxis::new(out.shape(), idx.strides()));
    let len = base.len;
    let to = &out;
    macro_rules! go {
        ($t:ty) => {
            with_index!(idx, I => in_parts(out.size() / len, len * (size_of::<$t>() + 4), &|range| {
                let mut b = Odometer::at(base.outer.as_slice(), range.start);
                let mut o = Odometer::at(index.outer.as_slice(), range.start);
                for line in range {
                    // SAFETY: the views vouch for their elements, `position` for the index; this part alone writes the line.
                    unsafe {
                        let from = src.ptr().cast::<$t>().offset(b.offset());
                        let index_at = idx.ptr().cast::<I>().offset(o.offset());
                        let dst = to.ptr().cast::<$t>().add(line * len);
                        let (step, index_step) = (base.step, index.step);
                        for i in 0..len {
                            let k = index_at.offset(i as isize * index_step).read();
                            let k = position(wide(k), extent, 1, axis)?;
                            dst.add(i).write(from.offset(i as isize * step + k as isize * stride).read());
                        }
                    }
                    b.step();
                    o.step();
                }
                Ok(())
            }))
        };
    }
    match src.dtype().size() {
        1 => go!(u8),
        2 => go!(u16),
        4 => go!(u32),
        _ => go!(u64),
    }
}
