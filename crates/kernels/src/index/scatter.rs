//! Indexed writes.
//!
//! Updates of one position are combined in their order, for any number of threads, because each thread takes all updates of
//! its own positions. Sums and products of half precision are formed in `f32` and rounded once.

use crate::combine::{Combine, Prod, Stored, Sum};
use crate::dtype::{Dtype, Element};
use crate::index::gather::{
    LastAxis, OutOfBounds, PART, Starts, apart, in_parts, position, prefetch, wide, with_index,
};
use crate::memory::Memory;
use crate::num::Num;
use crate::simd::vectorize;
use crate::strided::{Axes, Odometer, Out, View, row_major_strides};
use crate::threads::{Shared, parallel};

/// The operation that combines an update with the element at its position.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Scatter {
    /// Overwrite; of several updates of one position the last remains.
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

/// Combines each slice of `updates` with the slice of `out` at its indices, in order. The shape of `updates` is the indices'
/// shape followed by a slice of `out`'s rank. `out` has the initial values. Indices are those of [`gather`](crate::gather()).
///
/// Slices with an extent above 1 on an indexed axis may overlap in part; then half precision is rounded at each update.
///
/// # Errors
/// [`OutOfBounds`] if a slice does not fit.
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
    let strides = row_major_strides(out.shape());
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
        // Slices at different positions do not overlap if they have extent 1 on each indexed axis.
        let apart = axes.iter().all(|&k| slice_sizes[k] == 1) && u32::try_from(out.size()).is_ok();
        let small = count * cost < 4 * PART;
        let together = apart && count > 1 && slices.rounds();
        if !together && (!apart || small) {
            let (mut starts, mut block) = (starts(0), Odometer::new(outer.as_slice()));
            for _ in 0..count {
                let at = starts.next(out_shape, &strides, slice_sizes)?;
                // SAFETY: `next` checked that the slice is within `out`; the view vouches for the updates.
                unsafe { slices.combine(updates.ptr().cast::<T>().offset(block.offset()), ptr.ptr().cast::<T>().offset(at)) };
                block.step();
            }
            return Ok(());
        }
        // Every thread takes the updates of a range of positions, in their order, so the result is that of one thread.
        let memory = Memory::<u32>::new(2 * count);
        let target = Shared::new(memory.ptr());
        in_parts(count, 32, &|range| {
            if let ([index], [axis]) = (indices, axes)
                && index.is_row_major()
            {
                // SAFETY: elements `range`, which no other part writes.
                let places = unsafe { std::slice::from_raw_parts_mut(target.at(range.start), range.len()) };
                return resolve(index, range.start, (out_shape[*axis], strides[*axis], *axis), places);
            }
            let mut starts = starts(range.start);
            for i in range {
                let at = starts.next(out_shape, &strides, slice_sizes)?;
                // SAFETY: element `i`, which no other part writes.
                unsafe { target.at(i).write(at as u32) };
            }
            Ok(())
        })?;
        // SAFETY: `count` positions that are written, and room for as many indices after them.
        let (places, order) = unsafe {
            (
                std::slice::from_raw_parts(memory.ptr().cast_const(), count),
                std::slice::from_raw_parts_mut(memory.ptr().add(count), count),
            )
        };
        let (src, dst) = (updates.ptr().cast::<T>(), ptr.ptr().cast::<T>());
        if together && small {
            order.iter_mut().zip(0..).for_each(|(to, i)| *to = i);
            // SAFETY: `next` checked that slices are within `out`.
            unsafe { slices.combine_together(order, places, &outer, src, dst) };
            return Ok(());
        }
        let bounds = by_place(places, out.size(), order);
        let (order, src, dst) = (Shared::new(order.as_mut_ptr()), Shared::read(src), Shared::new(dst));
        parallel(bounds.len() - 1, &|p| {
            // SAFETY: `next` checked that slices are within `out`, and this part alone uses its positions and its indices.
            unsafe {
                let some = std::slice::from_raw_parts_mut(order.at(bounds[p]), bounds[p + 1] - bounds[p]);
                if together {
                    slices.combine_together(some, places, &outer, src.at(0), dst.at(0));
                } else {
                    slices.combine_some(some, places, &outer, src.at(0), dst.at(0));
                }
            }
        });
    });
    Ok(())
}

/// Writes the positions of contiguous indices, from index number `first` on, to `places`. The axis has this extent, stride and
/// number.
fn resolve(
    index: &View<'_>,
    first: usize,
    (extent, stride, axis): (usize, isize, usize),
    places: &mut [u32],
) -> Result<(), OutOfBounds> {
    with_index!(index, I => {
        // SAFETY: the view is row-major and has as many elements; bool is read as the byte that it is.
        let index = unsafe { std::slice::from_raw_parts(index.ptr().cast::<I>().add(first), places.len()) };
        for (to, &i) in places.iter_mut().zip(index) {
            *to = position(wide(i), extent, 1, axis)? as u32 * stride as u32;
        }
    });
    Ok(())
}

/// Writes the indices of `places` (values below `size`) to `order`, grouped by ranges of values and in order within each group.
/// Returns the bounds of the groups.
fn by_place(places: &[u32], size: usize, order: &mut [u32]) -> Vec<usize> {
    const RANGES: usize = 16;
    const BLOCKS: usize = 8;
    let width = size.div_ceil(RANGES).max(1) as u32;
    let n = places.len();
    let blocks = if n < 1 << 15 { 1 } else { BLOCKS };
    let part = |b: usize| b * n / blocks..(b + 1) * n / blocks;
    let mut counts = vec![[0usize; RANGES]; blocks];
    let shared = Shared::new(counts.as_mut_ptr());
    // Multiplication by the reciprocal may be one too low at the end of a range; any monotonic grouping is right.
    let scale = (1u64 << 32) / u64::from(width);
    let group = |place: u32| ((u64::from(place) * scale) >> 32) as usize % RANGES;
    parallel(blocks, &|b| {
        // SAFETY: the counts of one block.
        unsafe {
            let mut counts = [0; RANGES];
            places[part(b)].iter().for_each(|&p| counts[group(p)] += 1);
            shared.at(b).write(counts);
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
    let (shared, target) = (Shared::new(counts.as_mut_ptr()), Shared::new(order.as_mut_ptr()));
    parallel(blocks, &|b| {
        // SAFETY: the counts of one block, and elements of `order` that they give to no other block.
        unsafe {
            let (mut next, to, range) = (*shared.at(b), target.at(0), part(b));
            for (i, &place) in (range.start as u32..).zip(&places[range]) {
                let slot = &mut next[group(place)];
                to.add(*slot).write(i);
                *slot += 1;
            }
        }
    });
    bounds
}

/// The layouts of one slice of updates and of the output.
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

/// Elements that are combined in the accumulators' type at once.
const BLOCK: usize = 256;

impl<T: Stored> Slices<'_, T> {
    /// Whether combining updates one by one would round after each.
    fn rounds(&self) -> bool {
        matches!(self.op, Scatter::Add | Scatter::Prod) && T::Acc::DTYPE != T::DTYPE
    }

    /// As [`Slices::combine_some`], but combines the updates of one position in the accumulators' type and rounds once. `some` is
    /// reordered.
    ///
    /// # Safety
    /// As for [`Slices::combine`].
    unsafe fn combine_together(
        &self,
        some: &mut [u32],
        places: &[u32],
        outer: &Axes,
        src: *const T,
        dst: *mut T,
    ) {
        // SAFETY: the caller's contract.
        unsafe {
            if self.op == Scatter::Add {
                self.combine_together_by::<Sum>(some, places, outer, src, dst);
            } else {
                self.combine_together_by::<Prod>(some, places, outer, src, dst);
            }
        }
    }

    /// [`Slices::combine_together`] for one operation.
    ///
    /// # Safety
    /// As for [`Slices::combine`].
    unsafe fn combine_together_by<F: Combine>(
        &self,
        some: &mut [u32],
        places: &[u32],
        outer: &Axes,
        src: *const T,
        dst: *mut T,
    ) {
        let place = |i: u32| places[i as usize] as usize;
        some.sort_unstable_by_key(|&i| (place(i), i));
        let (run, from, to) = if self.whole { (self.slice, 1, 1) } else { self.run };
        let mut acc: [T::Acc; BLOCK] = [F::neutral(); BLOCK];
        for same in some.chunk_by(|&a, &b| place(a) == place(b)) {
            let (mut i, mut o) = (Odometer::new(self.from.as_slice()), Odometer::new(self.to.as_slice()));
            for _ in 0..self.slice / run {
                for first in (0..run).step_by(BLOCK) {
                    let acc = &mut acc[..BLOCK.min(run - first)];
                    // SAFETY: the caller's contract, for a part of one slice of the output and of its updates.
                    unsafe {
                        let d = dst.add(place(same[0])).offset(o.offset() + first as isize * to);
                        load(d.cast_const(), to, acc);
                        for &update in same {
                            let at = outer.offset(update as usize) + i.offset() + first as isize * from;
                            apply::<T, F>(src.offset(at), from, acc);
                        }
                        store(acc, d, to);
                    }
                }
                i.advance(run);
                o.advance(run);
            }
        }
    }
}

vectorize! {
    fn load_all[T: Stored](src: &[T], acc: &mut [T::Acc]) {
        for (a, &s) in acc.iter_mut().zip(src) {
            *a = s.load();
        }
    }
}

vectorize! {
    fn apply_all[T: Stored, F: Combine](src: &[T], acc: &mut [T::Acc]) {
        for (a, &s) in acc.iter_mut().zip(src) {
            *a = F::apply(*a, s.load());
        }
    }
}

vectorize! {
    fn store_all[T: Stored](acc: &[T::Acc], dst: &mut [T]) {
        for (d, &a) in dst.iter_mut().zip(acc) {
            *d = T::store(a);
        }
    }
}

/// Loads strided elements into accumulators.
///
/// # Safety
/// The elements can be read.
unsafe fn load<T: Stored>(src: *const T, step: isize, acc: &mut [T::Acc]) {
    // SAFETY: the caller's contract.
    unsafe {
        if step == 1 {
            return load_all(std::slice::from_raw_parts(src, acc.len()), acc);
        }
        acc.iter_mut().zip(0..).for_each(|(a, k)| *a = src.offset(k * step).read().load());
    }
}

/// Combines strided elements into accumulators.
///
/// # Safety
/// The elements can be read.
unsafe fn apply<T: Stored, F: Combine>(src: *const T, step: isize, acc: &mut [T::Acc]) {
    // SAFETY: the caller's contract.
    unsafe {
        if step == 1 {
            return apply_all::<T, F>(std::slice::from_raw_parts(src, acc.len()), acc);
        }
        acc.iter_mut().zip(0..).for_each(|(a, k)| *a = F::apply(*a, src.offset(k * step).read().load()));
    }
}

/// Rounds accumulators to strided elements.
///
/// # Safety
/// The elements can be written, and only this thread uses them.
unsafe fn store<T: Stored>(acc: &[T::Acc], dst: *mut T, step: isize) {
    // SAFETY: the caller's contract.
    unsafe {
        if step == 1 {
            return store_all(acc, std::slice::from_raw_parts_mut(dst, acc.len()));
        }
        acc.iter().zip(0..).for_each(|(&a, k)| dst.offset(k * step).write(T::store(a)));
    }
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

    /// Combines the updates whose indices are in `some`: update `i` (in the order of the `outer` axes, at `src`) with the slice
    /// at offset `places[i]` from `dst`.
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
        // SAFETY: the caller's contract, in the whole block.
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

/// Combines `updates[.., i, ..]` into `out[.., idx[.., i, ..], ..]` along `axis`, in order. `idx` and `updates` have one shape,
/// which is `out`'s on the other axes. `out` has the initial values.
///
/// # Errors
/// [`OutOfBounds`] if an index does not fit.
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
    let mut strides = row_major_strides(out.shape());
    let (extent, stride) = (out.shape()[axis], strides[axis]);
    strides[axis] = 0;
    // Different blocks outside of `axis` have different updates, and so have different columns inside of it.
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
                    // SAFETY: the views vouch for their elements, and `position` for the index; this part alone
                    // writes to these columns of the block.
                    unsafe {
                        let dst = to.ptr().cast::<T>().offset(b.offset());
                        let index_at = idx.ptr().cast::<I>().offset(o.offset());
                        let source = updates.ptr().cast::<T>().offset(u.offset());
                        let (step, index_step, source_step) = (base.step, index.step, from.step);
                        for i in column * len / columns..(column + 1) * len / columns {
                            let i = i as isize;
                            let k = index_at.offset(i * index_step).read();
                            let k = position(wide(k), extent, 1, axis)?;
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
