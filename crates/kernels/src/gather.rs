//! Indexed reads and writes.

use crate::block::Memory;
use crate::dtype::Dtype;
use crate::loader::{Axes, Odometer, copy_strided};
use crate::num::Num;
use crate::pool::parallel;
use crate::simd::vectorize;
use crate::view::{Out, View};
use std::ops::Range;
use std::sync::Mutex;

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

/// Bytes moved that are worth a part of their own.
const PART: usize = 1 << 16;

/// Runs ranges of `n` items of `cost` bytes each on several threads; of several errors the one that comes first.
fn in_parts(
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

/// Asks for a cache line before it is needed.
#[inline(always)]
fn prefetch(p: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint; the address need not even be valid.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(p.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = p;
}

/// Reads lines of indices of one type.
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
            other => panic!("indices must be integers, not {other}"),
        }
    };
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
    /// Starts at the tuple with this number.
    fn at(views: &'a [View<'a>], layouts: &'a [Axes], axes: &'a [usize], first: usize) -> Self {
        Self { views, odometers: layouts.iter().map(|l| Odometer::at(l.as_slice(), first)).collect(), axes }
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
    let inner = Axes::of(slice_sizes, src.strides());
    let (run, stride) = inner.as_slice().first().copied().unwrap_or((1, 1));
    in_parts(count, slice * size + 16, &|range| {
        let mut starts = Starts::at(indices, &layouts, axes, range.start);
        let mut dst = out.ptr().wrapping_add(range.start * slice * size);
        for _ in range {
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
    })
}

/// [`gather`] of contiguous slices by one contiguous index of a common type; `None` if it is not that.
fn gather_rows(
    src: &View<'_>,
    index: &View<'_>,
    axis: usize,
    slice_sizes: &[usize],
    out: &Out<'_>,
) -> Option<Result<(), OutOfBounds>> {
    /// How many rows ahead of the copy memory is asked for.
    const AHEAD: usize = 8;
    fn copies<T: Copy + TryInto<i64> + Sync, const SIZE: usize>(
        p: &Rows,
        index: &[T],
    ) -> Result<(), OutOfBounds> {
        in_parts(index.len(), p.bytes + 16, &|range| {
            // A size known at compile time is a move; others are a call.
            let bytes = if SIZE > 0 { SIZE } else { p.bytes };
            // A copy of its own: writing rows must not make the compiler read it again and again.
            let p = *p;
            let mut dst = p.dst.wrapping_add(range.start * bytes);
            for (k, &i) in (range.start..).zip(&index[range]) {
                if bytes >= 64
                    && let Some(&i) = index.get(k + AHEAD)
                {
                    // A negative index is asked for at the wrong place, which does no harm.
                    let next = p.src.wrapping_offset(i.try_into().unwrap_or(0) as isize * p.step);
                    (0..bytes.min(512)).step_by(64).for_each(|b| prefetch(next.wrapping_add(b)));
                }
                let at = place(i.try_into().unwrap_or(i64::MAX), p.extent, p.room, p.axis)?;
                // SAFETY: `place` checked that the slice lies within the source; the output has room for every slice.
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

/// Where [`gather_rows`] copies from and to; sizes in bytes.
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
    let outer = Axes::of(&updates.shape()[..split], &updates.strides()[..split]);
    let (from, to) = (apart(slice_sizes, &updates.strides()[split..]), apart(slice_sizes, &strides));
    let count: usize = updates.shape()[..split].iter().product();
    let slice: usize = slice_sizes.iter().product();
    let cost = slice * updates.dtype().size() + 16;
    let starts = |first: usize| Starts::at(indices, &layouts, axes, first);
    let (out_shape, ptr) = (out.shape(), &out);
    crate::with_dtype!(updates.dtype(), T => {
        let slices = Slices::<T>::new(op, &from, &to, slice);
        // Slices at different places do not overlap if none is longer than one place on an indexed axis.
        let apart = axes.iter().all(|&k| slice_sizes[k] == 1) && u32::try_from(out.size()).is_ok();
        if !apart || count * cost < 4 * PART {
            let (mut starts, mut block) = (starts(0), Odometer::new(outer.as_slice()));
            for _ in 0..count {
                let at = starts.next(out_shape, &strides, slice_sizes)?;
                // SAFETY: `next` checked that the slice lies within `out`; the view vouches for the updates.
                unsafe { slices.combine(updates.ptr().cast::<T>().offset(block.offset()), ptr.ptr().cast::<T>().offset(at)) };
                block.step();
            }
            return Ok(());
        }
        // Every thread takes the updates of a range of places, in their order: as one thread would combine them.
        let memory = Memory::<u32>::new(2 * count);
        let target = Shared(memory.ptr());
        let target = &target;
        in_parts(count, 32, &|range| {
            let places = target.0;
            let mut starts = starts(range.start);
            for i in range {
                let at = starts.next(out_shape, &strides, slice_sizes)?;
                // SAFETY: element `i`, which no other part writes.
                unsafe { places.add(i).write(at as u32) };
            }
            Ok(())
        })?;
        // SAFETY: `count` places that have been written, and room for as many numbers behind them.
        let (places, order) = unsafe {
            (
                std::slice::from_raw_parts(memory.ptr().cast_const(), count),
                std::slice::from_raw_parts_mut(memory.ptr().add(count), count),
            )
        };
        let bounds = by_place(places, out.size(), order);
        let order = &*order;
        parallel(bounds.len() - 1, &|p| {
            // SAFETY: `next` checked that slices lie within `out`, and this part alone writes to its places.
            unsafe { slices.combine_some(&order[bounds[p]..bounds[p + 1]], places, &outer, updates.ptr().cast(), ptr.ptr().cast()) };
        });
    });
    Ok(())
}

/// A pointer on its way to another thread.
struct Shared<T>(*mut T);
// SAFETY: every thread writes elements of its own.
unsafe impl<T> Sync for Shared<T> {}

/// Writes the numbers of `places`, which are below `size`, to `order`: grouped by ranges of places, in order within each
/// range. Returns where groups start and end.
fn by_place(places: &[u32], size: usize, order: &mut [u32]) -> Vec<usize> {
    const RANGES: usize = 16;
    const BLOCKS: usize = 8;
    let width = size.div_ceil(RANGES).max(1) as u32;
    let n = places.len();
    let blocks = if n < 1 << 15 { 1 } else { BLOCKS };
    let part = |b: usize| b * n / blocks..(b + 1) * n / blocks;
    let mut counts = vec![[0usize; RANGES]; blocks];
    let shared = Shared(counts.as_mut_ptr());
    let shared = &shared;
    // Multiplication by the reciprocal, one too low at most at the ends: any monotonic split will do.
    let scale = (1u64 << 32) / u64::from(width);
    let group = |place: u32| ((u64::from(place) * scale) >> 32) as usize % RANGES;
    parallel(blocks, &|b| {
        // SAFETY: the counts of one block.
        unsafe {
            let mut counts = [0; RANGES];
            places[part(b)].iter().for_each(|&p| counts[group(p)] += 1);
            shared.0.add(b).write(counts);
        }
    });
    let mut bounds = vec![0; RANGES + 1];
    let mut at = 0;
    for g in 0..RANGES {
        for counts in &mut counts {
            at += std::mem::replace(&mut counts[g], at);
        }
        bounds[g + 1] = at;
    }
    let (shared, target) = (Shared(counts.as_mut_ptr()), Shared(order.as_mut_ptr()));
    let (shared, target) = (&shared, &target);
    parallel(blocks, &|b| {
        // SAFETY: the counts of one block, and places that they give to no other.
        unsafe {
            let (mut next, to, range) = (*shared.0.add(b), target.0, part(b));
            for (i, &place) in (range.start as u32..).zip(&places[range]) {
                let slot = &mut next[group(place)];
                to.add(*slot).write(i);
                *slot += 1;
            }
        }
    });
    bounds
}

/// How the elements of one slice of updates meet those of the output.
struct Slices<'a, T> {
    op: Scatter,
    from: &'a Axes,
    to: &'a Axes,
    slice: usize,
    /// The innermost axis: its extent, and its strides in the updates and the output.
    run: (usize, isize, isize),
    /// Whether slices are contiguous in both.
    whole: bool,
    _element: std::marker::PhantomData<T>,
}

impl<'a, T: Num> Slices<'a, T> {
    fn new(op: Scatter, from: &'a Axes, to: &'a Axes, slice: usize) -> Self {
        let run = match (from.as_slice().first(), to.as_slice().first()) {
            (Some(a), Some(b)) => (a.0, a.1, b.1),
            _ => (1, 1, 1),
        };
        let contiguous = |axes: &Axes| {
            let mut step = 1;
            axes.as_slice().iter().all(|&(n, s)| {
                let fits = n == 1 || s == step;
                step *= n as isize;
                fits
            })
        };
        let whole = contiguous(from) && contiguous(to);
        Self { op, from, to, slice, run, whole, _element: std::marker::PhantomData }
    }

    /// Combines the slices with these numbers: number `i` of the `outer` axes of the updates at `src` with what is at
    /// `places[i]` from `dst` on.
    ///
    /// # Safety
    /// As for [`Slices::combine`].
    unsafe fn combine_some(&self, some: &[u32], places: &[u32], outer: &Axes, src: *const T, dst: *mut T) {
        let (dense, step) = match *outer.as_slice() {
            [(_, step)] => (true, step),
            _ => (false, 0),
        };
        let at =
            |i: u32| src.wrapping_offset(if dense { i as isize * step } else { outer.offset(i as usize) });
        let ahead = |k: usize| {
            if let Some(&next) = some.get(k + 16) {
                prefetch(dst.wrapping_add(places[next as usize] as usize).cast());
                prefetch(at(next).cast());
            }
        };
        macro_rules! single {
            ($f:expr) => {
                for (k, &i) in some.iter().enumerate() {
                    ahead(k);
                    // SAFETY: the caller's contract.
                    unsafe {
                        let d = dst.add(places[i as usize] as usize);
                        d.write($f(d.read(), at(i).read()));
                    }
                }
            };
        }
        match (self.slice, self.op) {
            (1, Scatter::Set) => single!(|_, u| u),
            (1, Scatter::Add) => single!(|d: T, u| d.add(u)),
            _ => {
                for (k, &i) in some.iter().enumerate() {
                    ahead(k);
                    // SAFETY: the caller's contract.
                    unsafe { self.combine(at(i), dst.add(places[i as usize] as usize)) };
                }
            }
        }
    }

    /// Combines one slice.
    ///
    /// # Safety
    /// The updates at `src` can be read, the elements at `dst` read and written, without overlap.
    #[inline]
    unsafe fn combine(&self, src: *const T, dst: *mut T) {
        // SAFETY: the caller's contract, in all of this.
        unsafe {
            if self.whole && self.slice > 1 {
                let src = std::slice::from_raw_parts(src, self.slice);
                let dst = std::slice::from_raw_parts_mut(dst, self.slice);
                match self.op {
                    Scatter::Set => dst.copy_from_slice(src),
                    Scatter::Add => add_all(src, dst),
                    op => combine(op, src.as_ptr(), 1, dst.as_mut_ptr(), 1, self.slice),
                }
                return;
            }
            let (run, from, to) = self.run;
            if self.slice == run {
                return combine(self.op, src, from, dst, to, run);
            }
            let (mut i, mut o) = (Odometer::new(self.from.as_slice()), Odometer::new(self.to.as_slice()));
            for _ in 0..self.slice / run {
                combine(self.op, src.offset(i.offset()), from, dst.offset(o.offset()), to, run);
                i.advance(run);
                o.advance(run);
            }
        }
    }
}

vectorize! {
    fn add_all[T: Num](src: &[T], dst: &mut [T]) {
        for (d, &s) in dst.iter_mut().zip(src) {
            *d = d.add(s);
        }
    }
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

/// The last axis of an array, and the others stepped through line by line.
struct LastAxis {
    /// The extent of the last axis and its stride.
    len: usize,
    step: isize,
    outer: Axes,
}

impl LastAxis {
    fn new(shape: &[usize], strides: &[isize]) -> Self {
        let last = shape.len() - 1;
        Self { len: shape[last], step: strides[last], outer: apart(&shape[..last], &strides[..last]) }
    }
}

/// `out[.., i, ..] = src[.., idx[.., i, ..], ..]` along `axis`. `idx` has `out`'s shape; on the other axes `src` has too.
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
                    // SAFETY: the views vouch for their elements, `place` for the index; this part alone writes the line.
                    unsafe {
                        let from = src.ptr().cast::<$t>().offset(b.offset());
                        let index_at = idx.ptr().cast::<I>().offset(o.offset());
                        let dst = to.ptr().cast::<$t>().add(line * len);
                        let (step, index_step) = (base.step, index.step);
                        for i in 0..len {
                            let k = index_at.offset(i as isize * index_step).read();
                            let k = place(i64::try_from(k).unwrap_or(i64::MAX), extent, 1, axis)?;
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
    let shape = updates.shape();
    let mut strides = row_major(out.shape());
    let (extent, stride) = (out.shape()[axis], strides[axis]);
    strides[axis] = 0;
    // Outside of `axis` every block of the output has its own updates; inside of it every column has.
    let last = shape.len() - 1;
    let blocks: usize = shape[..axis].iter().product();
    let lines: usize = shape[axis..].iter().product::<usize>() / shape[last];
    let len = shape[last];
    let columns = if axis == last { 1 } else { len.div_ceil(64).min(16) };
    let (base, index) = (LastAxis::new(shape, &strides), LastAxis::new(shape, idx.strides()));
    let from = LastAxis::new(shape, updates.strides());
    let lines = if axis == last { 1 } else { lines };
    let to = &out;
    crate::with_dtype!(updates.dtype(), T => with_index!(idx, I => {
        in_parts(blocks * columns, lines * len / columns * (size_of::<T>() + 4), &|range| {
            for part in range {
                let (block, column) = (part / columns, part % columns);
                let first = block * lines;
                let mut b = Odometer::at(base.outer.as_slice(), first);
                let mut o = Odometer::at(index.outer.as_slice(), first);
                let mut u = Odometer::at(from.outer.as_slice(), first);
                for _ in 0..lines {
                    // SAFETY: the views vouch for their elements, and `place` for the index; this part alone
                    // writes to these columns of the block.
                    unsafe {
                        let dst = to.ptr().cast::<T>().offset(b.offset());
                        let index_at = idx.ptr().cast::<I>().offset(o.offset());
                        let source = updates.ptr().cast::<T>().offset(u.offset());
                        let (step, index_step, source_step) = (base.step, index.step, from.step);
                        for i in column * len / columns..(column + 1) * len / columns {
                            let i = i as isize;
                            let k = index_at.offset(i * index_step).read();
                            let k = place(i64::try_from(k).unwrap_or(i64::MAX), extent, 1, axis)?;
                            let d = dst.offset(i * step + k as isize * stride);
                            combine(op, source.offset(i * source_step), 1, d, 1, 1);
                        }
                    }
                    b.step();
                    o.step();
                    u.step();
                }
            }
            Ok(())
        })
    }))
}
