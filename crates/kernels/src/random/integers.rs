//! Random integers between two bounds.

use super::{BELOW_ONE, Finish, Uniform, draw, threefry2x32};
use std::marker::PhantomData;
use std::mem::MaybeUninit;

/// Between bounds of less magnitude than this the numbers are those of MLX: a uniform `f32`, scaled and rounded down. The
/// probability of each is then right within 2 %; with greater bounds the 24 digits of an `f32` leave numbers out.
const SINGLE: i64 = 1 << 18;

/// A type that random integers are written in.
pub trait Integer: Copy + Send + Sync {
    /// The low bits; of a truth value, whether there are any.
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

/// Bounds for all places in which MLX's formula has digits.
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
        // The sum may have been rounded up to the end, which is excluded.
        T::from_bits(i64::from(drawn.min(self.last).max(self.low)) as u64)
    }
}

/// Bounds for all places, or for each one.
#[derive(Clone, Copy)]
struct Integers<'a, T> {
    low: &'a [u64],
    last: &'a [u64],
    signed: bool,
    /// The key of the second word, where one is needed.
    second: Option<[u32; 2]>,
    /// The key of the words that take the place of rejected ones.
    again: [u32; 2],
    of: PhantomData<T>,
}

impl<T> Integers<'_, T> {
    #[inline(always)]
    fn bounds(&self, place: usize) -> (u64, u64) {
        // A block may go beyond the end; what it draws there is dropped.
        let at = |bounds: &[u64]| bounds[place.min(bounds.len() - 1)];
        (at(self.low), at(self.last))
    }

    /// Whether MLX's formula has digits for these.
    #[inline(always)]
    fn is_single(&self, low: u64, last: u64) -> bool {
        let least = if self.signed { -SINGLE } else { 0 };
        let fits = |v: u64| least <= v as i64 && (v as i64) < SINGLE;
        fits(low) && fits(last)
    }

    /// One of the numbers from `low` to `last` without preference: the upper half of the product of a word of 64 bits with
    /// their count, unless the lower half shows that the word belongs to the incomplete last round (Lemire, "Fast random
    /// integer generation in an interval", 2019). Then the next word for this place is tried.
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

/// Fills `out` with random integers from `low` to `last`, both included: the bits of 64-bit integers, with a sign or without,
/// one pair for all of them or one for each. Where `last` is below `low`, it counts as `low`.
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
        // Without a choice for each number the loop vectorises.
        return draw(Single { low: low[0] as i32, last: last[0] as i32, of: PhantomData::<T> }, key, out);
    }
    integers.second = wide.then(|| threefry2x32(key, [u32::MAX; 2]));
    draw(integers, key, out);
}
