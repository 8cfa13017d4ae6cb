//! Random integers between two bounds.

use super::{BELOW_ONE, Finish, Uniform, draw, threefry2x32};
use std::marker::PhantomData;
use std::mem::MaybeUninit;

/// Between bounds of less magnitude than this, the numbers are those of MLX: a uniform `f32`, scaled and rounded down. The
/// probability of each integer is then right within 2 %. With larger bounds the 24 digits of an `f32` cannot give every
/// integer.
const SINGLE: i64 = 1 << 18;

/// An element type of random integers.
pub trait Integer: Copy + Send + Sync {
    /// The low bits; for bool, whether any bit is set.
    fn from_bits(bits: u64) -> Self;
}
macro_rules! integer_types {
    ($($t:ty)*) => {$(
        impl Integer for $t {
            #[inline(always)]
            fn from_bits(bits: u64) -> Self {
                bits as $t
            }
        }
    )*};
}
integer_types!(u8 u16 u32 u64 i8 i16 i32 i64);
impl Integer for bool {
    #[inline(always)]
    fn from_bits(bits: u64) -> Self {
        bits != 0
    }
}

/// One pair of bounds for all elements, between which MLX's formula can give every integer.
#[derive(Clone, Copy)]
struct Single<T> {
    low: i32,
    last: i32,
    of: PhantomData<T>,
}

impl<T: Integer> Finish for Single<T> {
    type Out = T;
    #[inline(always)]
    fn finish(self, place: usize, word: u32, _: u32) -> T {
        let (from, to) = (self.low as f32, (self.last + 1) as f32);
        let u = Uniform { most: BELOW_ONE }.finish(place, word, 0);
        let drawn = ((to - from) * u + from).floor() as i32;
        // Rounding may have given the excluded end.
        T::from_bits(i64::from(drawn.min(self.last).max(self.low)) as u64)
    }
}

/// One pair of bounds for all elements, or one for each element.
#[derive(Clone, Copy)]
struct Integers<'a, T> {
    low: &'a [u64],
    last: &'a [u64],
    signed: bool,
    /// The key of the second words, if any pair of bounds needs them.
    second: Option<[u32; 2]>,
    /// The key of the words that replace rejected ones.
    again: [u32; 2],
    of: PhantomData<T>,
}

impl<T> Integers<'_, T> {
    #[inline(always)]
    fn bounds(&self, place: usize) -> (u64, u64) {
        // A block may go beyond the end; its results there are dropped.
        let at = |bounds: &[u64]| bounds[place.min(bounds.len() - 1)];
        (at(self.low), at(self.last))
    }

    /// Whether MLX's formula can give every integer between these bounds.
    #[inline(always)]
    fn is_single(&self, low: u64, last: u64) -> bool {
        let least = if self.signed { -SINGLE } else { 0 };
        let fits = |v: u64| least <= v as i64 && (v as i64) < SINGLE;
        fits(low) && fits(last)
    }

    /// One of the integers from `low` to `last`, all equally probable: the upper half of the product of a 64-bit word with
    /// their count. If the lower half shows that the word belongs to the incomplete last round, the next word for this index
    /// is tried (Lemire, "Fast random integer generation in an interval", 2019).
    #[cold]
    fn pick(&self, place: usize, word: u64, low: u64, last: u64) -> u64 {
        let count = last.wrapping_sub(low).wrapping_add(1);
        if count == 0 {
            return word;
        }
        let mut product = u128::from(word) * u128::from(count);
        if (product as u64) < count {
            let incomplete = count.wrapping_neg() % count;
            let mut attempt = 0u32;
            while (product as u64) < incomplete {
                let counter = [place as u32, ((place >> 32) as u32).rotate_left(16) ^ attempt];
                let [high, rest] = threefry2x32(self.again, counter);
                product = (u128::from(high) << 32 | u128::from(rest)) * u128::from(count);
                attempt = attempt.wrapping_add(1);
            }
        }
        low.wrapping_add((product >> 64) as u64)
    }
}

impl<T: Integer> Finish for Integers<'_, T> {
    type Out = T;
    fn second(self) -> Option<[u32; 2]> {
        self.second
    }
    #[inline(always)]
    fn finish(self, place: usize, word: u32, second: u32) -> T {
        let (low, last) = self.bounds(place);
        if !self.is_single(low, last) {
            return T::from_bits(self.pick(place, u64::from(word) << 32 | u64::from(second), low, last));
        }
        Single { low: low as i32, last: last as i32, of: PhantomData::<T> }.finish(place, word, 0)
    }
}

/// Fills `out` with random integers from `low` to `last`, both included. Bounds are the bits of 64-bit integers, signed or
/// unsigned, one pair for all elements or one for each. A `last` below `low` counts as `low`.
pub fn integers<T: Integer>(
    key: [u32; 2],
    low: &[u64],
    last: &[u64],
    signed: bool,
    out: &mut [MaybeUninit<T>],
) {
    let all = low.len().max(last.len());
    debug_assert!([low, last].iter().all(|b| b.len() == 1 || b.len() == out.len()));
    let again = threefry2x32(key, [u32::MAX, u32::MAX - 1]);
    let mut integers = Integers { low, last, signed, second: None, again, of: PhantomData::<T> };
    let wide = (0..all).any(|i| {
        let (low, last) = integers.bounds(i);
        !integers.is_single(low, last)
    });
    if all == 1 && !wide {
        // Without a choice for each element the loop vectorises.
        return draw(Single { low: low[0] as i32, last: last[0] as i32, of: PhantomData::<T> }, key, out);
    }
    integers.second = wide.then(|| threefry2x32(key, [u32::MAX; 2]));
    draw(integers, key, out);
}
