//! Stable ascending sorts along one axis, NaN last.
//!
//! Elements are mapped to integers in the same order, which are sorted digit by digit. This takes as long as reading them a
//! few times, and several threads can sort one line, block by block, with the same result as one thread.

use crate::dtype::{C64, Dtype};
use crate::memory::{List, Memory};
use crate::num::Num;
use crate::simd::vectorize;
use crate::strided::{Out, View, cast};
use crate::threads::{parallel, parallel_ranges};
use half::{bf16, f16};

/// The most elements for which comparing is faster than counting digits.
const SHORT: usize = 256;
/// Elements from which on several threads work on one line.
const LONG: usize = 1 << 17;
/// Blocks of a line that several threads sort.
const BLOCKS: usize = 8;

/// An element type whose elements map to integers in the order of [`Num::order`].
trait Sortable: Num {
    type Key: Word;
    fn key(self) -> Self::Key;
    /// An element with this key. Elements that are equal in the order (0 and -0, all NaN) have one key.
    fn unkey(key: Self::Key) -> Self;
    /// Whether `unkey(key(self))` has the same bits as `self`.
    fn exact(self) -> bool;
}

macro_rules! integers {
    ($($t:ty, $key:ty, $flip:expr;)*) => {$(
        impl Sortable for $t {
            type Key = $key;
            #[inline(always)]
            fn key(self) -> $key { self as $key ^ $flip }
            #[inline(always)]
            fn unkey(key: $key) -> Self { (key ^ $flip) as $t }
            #[inline(always)]
            fn exact(self) -> bool { true }
        }
    )*};
}
integers! {
    u8, u8, 0; u16, u16, 0; u32, u32, 0; u64, u64, 0;
    i8, u8, 1 << 7; i16, u16, 1 << 15; i32, u32, 1 << 31; i64, u64, 1 << 63;
}

/// Keys of floating-point numbers: the bits of positive numbers with the sign bit set, those of negative numbers inverted.
/// -0 has the key of 0, and every NaN has the last key.
macro_rules! floats {
    ($($t:ty, $key:ty, $signed:ty;)*) => {$(
        impl Sortable for $t {
            type Key = $key;
            #[inline(always)]
            fn key(self) -> $key {
                const SIGN: $key = 1 << (<$key>::BITS - 1);
                let bits = self.to_bits();
                let bits = if bits == SIGN { 0 } else { bits };
                let key = bits ^ ((bits as $signed >> (<$key>::BITS - 1)) as $key | SIGN);
                if self.nan() { <$key>::MAX } else { key }
            }
            #[inline(always)]
            fn unkey(key: $key) -> Self {
                const SIGN: $key = 1 << (<$key>::BITS - 1);
                Self::from_bits(if key & SIGN != 0 { key ^ SIGN } else { !key })
            }
            #[inline(always)]
            fn exact(self) -> bool {
                !self.nan() && self.to_bits() != 1 << (<$key>::BITS - 1)
            }
        }
    )*};
}
floats! { f32, u32, i32; f64, u64, i64; f16, u16, i16; bf16, u16, i16; }

impl Sortable for bool {
    type Key = u8;
    #[inline(always)]
    fn key(self) -> u8 {
        self.into()
    }
    #[inline(always)]
    fn unkey(key: u8) -> Self {
        key != 0
    }
    #[inline(always)]
    fn exact(self) -> bool {
        true
    }
}

impl Sortable for C64 {
    type Key = u64;
    #[inline(always)]
    fn key(self) -> u64 {
        if self.nan() {
            return u64::MAX;
        }
        u64::from(Sortable::key(self.re)) << 32 | u64::from(Sortable::key(self.im))
    }
    #[inline(always)]
    fn unkey(key: u64) -> Self {
        C64::new(f32::unkey((key >> 32) as u32), f32::unkey(key as u32))
    }
    #[inline(always)]
    fn exact(self) -> bool {
        self.re.exact() && self.im.exact()
    }
}

/// An unsigned integer.
trait Word: Copy + Ord + Send + Sync {
    const BITS: u32;
    /// The items that an argsort sorts: a key and a place, which is different for each element.
    type Placed: Item + Ord + Send + Sync;
    fn placed(self, place: u32) -> Self::Placed;
    fn place(placed: Self::Placed) -> u32;
}

/// An item that can be sorted by the digits of its key.
trait Item: Copy {
    /// The `bits` binary digits of the key from digit `shift` on.
    fn digit(self, shift: u32, bits: u32) -> usize;
}

macro_rules! words {
    ($($t:ty)*) => {$(
        impl Item for $t {
            #[inline(always)]
            fn digit(self, shift: u32, bits: u32) -> usize {
                (self as u64 >> shift) as usize & ((1 << bits) - 1)
            }
        }
    )*};
}
words!(u8 u16 u32 u64);

/// A key of up to 32 bits above a place.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Narrow(u64);
impl Item for Narrow {
    #[inline(always)]
    fn digit(self, shift: u32, bits: u32) -> usize {
        (self.0 >> (32 + shift)) as usize & ((1 << bits) - 1)
    }
}

/// A key of 64 bits and a place.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Broad(u64, u32);
impl Item for Broad {
    #[inline(always)]
    fn digit(self, shift: u32, bits: u32) -> usize {
        self.0.digit(shift, bits)
    }
}

macro_rules! keys {
    ($($t:ty => $placed:ident, |$key:ident, $place:ident| $make:expr, |$item:ident| $take:expr;)*) => {$(
        impl Word for $t {
            const BITS: u32 = <$t>::BITS;
            type Placed = $placed;
            #[inline(always)]
            fn placed(self, $place: u32) -> $placed {
                let $key = self;
                $make
            }
            #[inline(always)]
            fn place($item: $placed) -> u32 { $take }
        }
    )*};
}
keys! {
    u8 => Narrow, |key, place| Narrow(u64::from(key) << 32 | u64::from(place)), |item| item.0 as u32;
    u16 => Narrow, |key, place| Narrow(u64::from(key) << 32 | u64::from(place)), |item| item.0 as u32;
    u32 => Narrow, |key, place| Narrow(u64::from(key) << 32 | u64::from(place)), |item| item.0 as u32;
    u64 => Broad, |key, place| Broad(key, place), |item| item.1;
}

/// Sorts `x` along `axis` into `out`: stable, ascending, NaN last, complex numbers by real then imaginary part.
pub fn sort(x: View<'_>, axis: usize, out: Out<'_>) {
    crate::with_dtype!(x.dtype(), T => lines::<T, T, <T as Sortable>::Key>(x, axis, out, &sort_line::<T>));
}

/// The indices (`u32`) that sort `x` along `axis`; see [`sort`].
pub fn argsort(x: View<'_>, axis: usize, out: Out<'_>) {
    debug_assert_eq!(out.dtype(), Dtype::U32);
    crate::with_dtype!(x.dtype(), T => {
        lines::<T, u32, <<T as Sortable>::Key as Word>::Placed>(x, axis, out, &argsort_line::<T>);
    });
}

/// Addresses of elements to read and to write, shared by several threads.
struct Ends<T, R>(*const T, *mut R);
// SAFETY: the source is only read, and every thread writes a part of its own.
unsafe impl<T, R> Sync for Ends<T, R> {}

/// Two arrays of `n` items each. Each digit is sorted from one array into the other.
struct Pair<E> {
    memory: Memory<E>,
    n: usize,
}

impl<E: Copy> Pair<E> {
    fn new(n: usize) -> Self {
        Self { memory: Memory::new(2 * n), n }
    }
    fn ends(&self) -> Ends<E, E> {
        Ends(self.memory.ptr(), self.memory.ptr().wrapping_add(self.n))
    }
}

/// Calls `f` with each line of `x` along `axis` and the memory for its result.
fn lines<T: Num, R: Copy, E: Copy>(
    x: View<'_>,
    axis: usize,
    out: Out<'_>,
    f: &(dyn Fn(&[T], &mut [R], &Pair<E>) + Sync),
) {
    let shape = x.shape();
    if x.size() == 0 {
        return;
    }
    let n = shape[axis];
    // The axis moves to the end, so that lines are contiguous.
    let order: Vec<usize> = (0..x.ndim()).filter(|&k| k != axis).chain([axis]).collect();
    let moved: Vec<usize> = order.iter().map(|&k| shape[k]).collect();
    let strides: Vec<isize> = order.iter().map(|&k| x.strides()[k]).collect();
    // SAFETY: the same elements in another order.
    let lined = unsafe { View::new(x.ptr(), x.dtype(), &moved, &strides) };
    let copy = (!lined.is_row_major()).then(|| {
        let copy = Memory::<T>::new(x.size());
        // SAFETY: room for as many elements.
        cast(lined, unsafe { Out::new(copy.ptr().cast(), x.dtype(), &moved) });
        copy
    });
    let inner: usize = shape[axis + 1..].iter().product();
    let sorted = (inner > 1).then(|| Memory::<R>::new(x.size()));
    let from = copy.as_ref().map_or(x.ptr().cast::<T>(), |c| c.ptr().cast_const());
    let to = sorted.as_ref().map_or(out.ptr().cast::<R>(), Memory::ptr);
    let ends = Ends(from, to);
    let ends = &ends;
    let run = |i: usize, pair: &Pair<E>| {
        // SAFETY: line `i` of both, which this call alone uses.
        unsafe {
            let line = std::slice::from_raw_parts(ends.0.add(i * n), n);
            f(line, std::slice::from_raw_parts_mut(ends.1.add(i * n), n), pair);
        }
    };
    let count = x.size() / n;
    if n >= LONG {
        let pair = Pair::new(n);
        (0..count).for_each(|i| run(i, &pair));
    } else {
        let parts = (x.size() / (1 << 13)).clamp(1, 16.min(count));
        parallel(parts, &|p| {
            let pair = Pair::new(n);
            (p * count / parts..(p + 1) * count / parts).for_each(|i| run(i, &pair));
        });
    }
    if let Some(sorted) = sorted {
        let mut strides = vec![0; shape.len()];
        let mut step = 1;
        for &k in order.iter().rev() {
            strides[k] = step;
            step *= shape[k] as isize;
        }
        // SAFETY: all elements have been written, in this layout.
        cast(unsafe { View::new(sorted.ptr().cast(), out.dtype(), shape, &strides) }, out);
    }
}

fn sort_line<T: Sortable>(line: &[T], out: &mut [T], pair: &Pair<T::Key>)
where
    T::Key: Item,
{
    let n = line.len();
    let ends = pair.ends();
    let to = Ends(std::ptr::null::<T>(), ends.0.cast_mut());
    let to = &to;
    let inexact = std::sync::atomic::AtomicBool::new(false);
    parallel_ranges(n, LONG / 4, &|range| {
        let line = &line[range.clone()];
        // SAFETY: these keys, which no other part writes.
        let keys = unsafe { std::slice::from_raw_parts_mut(to.1.add(range.start), line.len()) };
        if !keys_of(line, keys) {
            inexact.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    });
    let inexact = inexact.into_inner();
    // Counters have 32 bits.
    if inexact && T::DTYPE.is_complex() || n > u32::MAX as usize {
        out.copy_from_slice(line);
        const { assert!(size_of::<T>() <= size_of::<T::Key>() && align_of::<T>() <= align_of::<T::Key>()) };
        // SAFETY: the memory of the keys, which are not needed here, has room for as many elements.
        return unsafe { merge_sorted(out, ends.0.cast_mut().cast()) };
    }
    let sorted = sort_items(&ends, n, T::Key::BITS);
    let from = Ends(sorted, out.as_mut_ptr());
    let from = &from;
    parallel_ranges(n, LONG / 4, &|range| {
        // SAFETY: these elements of both, which no other part writes.
        let (keys, out) = unsafe {
            (
                std::slice::from_raw_parts(from.0.add(range.start), range.len()),
                std::slice::from_raw_parts_mut(from.1.add(range.start), range.len()),
            )
        };
        elements_of(keys, out);
    });
    if inexact {
        // Zeros of both signs, and NaN with all payloads, keep the order that they had in the input.
        let (mut zero, mut nan) =
            (out.partition_point(|v| v.order(&T::ZERO).is_lt()), out.partition_point(|v| !v.nan()));
        for &v in line {
            if v.nan() {
                out[nan] = v;
                nan += 1;
            } else if v.order(&T::ZERO).is_eq() {
                out[zero] = v;
                zero += 1;
            }
        }
    }
}

/// Sorts elements by their keys, as [`argsort`] does; elements with equal keys keep their order. The standard library's
/// stable sort is not used, because it allocates memory in a way that ends the process if there is none.
///
/// # Safety
/// As many elements can be written at `spare`.
unsafe fn merge_sorted<T: Sortable>(line: &mut [T], spare: *mut T) {
    const RUN: usize = 16;
    let n = line.len();
    for run in line.chunks_mut(RUN) {
        for i in 1..run.len() {
            let place = run[..i].partition_point(|x| x.key() <= run[i].key());
            run[place..=i].rotate_right(1);
        }
    }
    let mut width = RUN;
    while width < n {
        for start in (0..n).step_by(2 * width) {
            let (middle, end) = ((start + width).min(n), (start + 2 * width).min(n));
            // SAFETY: the caller's contract: the first run moves out of the way of the result.
            let first = unsafe {
                std::ptr::copy_nonoverlapping(line[start..middle].as_ptr(), spare, middle - start);
                std::slice::from_raw_parts(spare.cast_const(), middle - start)
            };
            let (mut a, mut b) = (0, middle);
            for to in start..end {
                if b == end || a < first.len() && first[a].key() <= line[b].key() {
                    // Once the first run is used up, the rest of the second run is in place.
                    let Some(&next) = first.get(a) else { break };
                    line[to] = next;
                    a += 1;
                } else {
                    line[to] = line[b];
                    b += 1;
                }
            }
        }
        width *= 2;
    }
}

vectorize! {
    /// Writes the keys of elements; returns whether all elements are [exact](Sortable::exact).
    fn keys_of[T: Sortable](line: &[T], keys: &mut [T::Key]) -> bool {
        let mut inexact = 0u8;
        for (key, &v) in keys.iter_mut().zip(line) {
            inexact |= u8::from(!v.exact());
            *key = v.key();
        }
        inexact == 0
    }
}

vectorize! {
    fn elements_of[T: Sortable](keys: &[T::Key], out: &mut [T]) {
        for (v, &key) in out.iter_mut().zip(keys) {
            *v = T::unkey(key);
        }
    }
}

fn argsort_line<T: Sortable>(line: &[T], out: &mut [u32], pair: &Pair<<T::Key as Word>::Placed>) {
    let n = line.len();
    let ends = pair.ends();
    let to = Ends(line.as_ptr(), ends.0.cast_mut());
    let to = &to;
    parallel_ranges(n, LONG / 4, &|range| {
        for i in range {
            // SAFETY: element `i` of both.
            unsafe { to.1.add(i).write(to.0.add(i).read().key().placed(i as u32)) };
        }
    });
    let from = Ends(sort_items(&ends, n, T::Key::BITS), out.as_mut_ptr());
    let from = &from;
    parallel_ranges(n, LONG / 4, &|range| {
        for i in range {
            // SAFETY: element `i` of both.
            unsafe { from.1.add(i).write(T::Key::place(from.0.add(i).read())) };
        }
    });
}

/// Sorts the first of two arrays of `n` items, with the second as working memory. Returns the address of the sorted array,
/// which is one of the two.
///
/// Only the caller uses the arrays, and the first is written.
fn sort_items<E: Item + Ord>(ends: &Ends<E, E>, n: usize, key: u32) -> *const E {
    let (a, b) = (ends.0.cast_mut(), ends.1);
    if n <= SHORT {
        // SAFETY: `n` items.
        unsafe { std::slice::from_raw_parts_mut(a, n) }.sort_unstable();
        return a;
    }
    // Wider digits need fewer passes, but their counters take more of the cache.
    if n < 1 << 13 { by_digits::<E, 8, 256>(a, b, n, key) } else { by_digits::<E, 11, 2048>(a, b, n, key) }
}

/// Sorts by digits of `BITS` binary digits, the last one first; see [`sort_items`].
fn by_digits<E: Item, const BITS: u32, const BINS: usize>(
    a: *mut E,
    b: *mut E,
    n: usize,
    key: u32,
) -> *const E {
    let blocks = if n >= LONG { BLOCKS } else { 1 };
    let mut counts = List::filled(blocks, [0u32; BINS]);
    let (mut from, mut to) = (a, b);
    for shift in (0..key).step_by(BITS as usize) {
        let job = Ends(from.cast_const(), to);
        let each = Ends(std::ptr::null::<u32>(), counts.as_mut_ptr());
        let (job, each) = (&job, &each);
        let range = |block: usize| block * n / blocks..(block + 1) * n / blocks;
        parallel(blocks, &|block| {
            let range = range(block);
            // SAFETY: the counters of one block and its items.
            unsafe {
                let items = std::slice::from_raw_parts(job.0.add(range.start), range.len());
                count::<E, BITS, BINS>(items, shift, &mut *each.1.add(block));
            }
        });
        let mut place = 0;
        let mut single = false;
        for bin in 0..BINS {
            let before = place;
            for counts in counts.iter_mut() {
                place += std::mem::replace(&mut counts[bin], place);
            }
            single |= (place - before) as usize == n;
        }
        if single {
            continue; // all have the same digit
        }
        parallel(blocks, &|block| {
            let range = range(block);
            // SAFETY: the counters of one block, its items, and places that the counts give to no other.
            unsafe {
                let items = std::slice::from_raw_parts(job.0.add(range.start), range.len());
                distribute::<E, BITS, BINS>(items, shift, &mut *each.1.add(block), job.1);
            }
        });
        std::mem::swap(&mut from, &mut to);
    }
    from
}

fn count<E: Item, const BITS: u32, const BINS: usize>(items: &[E], shift: u32, counts: &mut [u32; BINS]) {
    *counts = [0; BINS];
    for item in items {
        counts[item.digit(shift, BITS) % BINS] += 1;
    }
}

/// # Safety
/// The places that the counters go through can be written.
unsafe fn distribute<E: Item, const BITS: u32, const BINS: usize>(
    items: &[E],
    shift: u32,
    places: &mut [u32; BINS],
    to: *mut E,
) {
    for &item in items {
        let place = &mut places[item.digit(shift, BITS) % BINS];
        // SAFETY: the caller's contract.
        unsafe { to.add(*place as usize).write(item) };
        *place += 1;
    }
}
