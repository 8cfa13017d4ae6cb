//! The counter-based generator behind all random numbers, and the step from its bits to floating point.
//!
//! A stream is computed in blocks of counters. The generator is a sequence of some hundred integer operations without a
//! branch, so a loop over independent counters vectorises. A finished block is converted to floats while it is still in the
//! cache. Every float is a function of its counter alone, so the numbers do not depend on the instruction set.

mod integers;
pub mod published;
pub mod truncated;
#[cfg(target_arch = "x86_64")]
mod wide;

use crate::memory::List;
use crate::simd::vectorize;
#[cfg(target_arch = "x86_64")]
use crate::simd::{Level, level};
use crate::threads::{Shared, parallel_ranges};
pub use integers::{Integer, integers};
use std::mem::MaybeUninit;

/// Threefry-2x32 with 20 rounds (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", 2011).
///
/// ```
/// // The paper's known-answer test for zero key and counter.
/// assert_eq!(covector_kernels::random::threefry2x32([0, 0], [0, 0]), [0x6b200159, 0x99ba4efe]);
/// ```
#[inline(always)]
pub fn threefry2x32(key: [u32; 2], count: [u32; 2]) -> [u32; 2] {
    let schedule = [key[0], key[1], key[0] ^ key[1] ^ 0x1bd1_1bda];
    let x = count[0].wrapping_add(schedule[0]);
    let y = count[1].wrapping_add(schedule[1]);
    // Written out instead of looping over tables: a loop over counters vectorises only without an inner loop.
    let (x, y) = four_rounds::<13, 15, 26, 6>(x, y, schedule[1], schedule[2].wrapping_add(1));
    let (x, y) = four_rounds::<17, 29, 16, 24>(x, y, schedule[2], schedule[0].wrapping_add(2));
    let (x, y) = four_rounds::<13, 15, 26, 6>(x, y, schedule[0], schedule[1].wrapping_add(3));
    let (x, y) = four_rounds::<17, 29, 16, 24>(x, y, schedule[1], schedule[2].wrapping_add(4));
    let (x, y) = four_rounds::<13, 15, 26, 6>(x, y, schedule[2], schedule[0].wrapping_add(5));
    [x, y]
}

/// Four rounds with these rotations, then the addition of two words of the key schedule.
#[inline(always)]
fn four_rounds<const A: u32, const B: u32, const C: u32, const D: u32>(
    x: u32,
    y: u32,
    s: u32,
    t: u32,
) -> (u32, u32) {
    let x = x.wrapping_add(y);
    let y = y.rotate_left(A) ^ x;
    let x = x.wrapping_add(y);
    let y = y.rotate_left(B) ^ x;
    let x = x.wrapping_add(y);
    let y = y.rotate_left(C) ^ x;
    let x = x.wrapping_add(y);
    let y = y.rotate_left(D) ^ x;
    (x.wrapping_add(s), y.wrapping_add(t))
}

/// Counters in a block: few enough that their words stay in the first-level cache.
const BLOCK: usize = 64;

/// The step from a random word to a result. It also gets the word's index, and the word with that index of a second stream
/// if there is one.
trait Finish: Copy + Sync {
    type Out: Copy;
    /// The second stream's key.
    fn second(self) -> Option<[u32; 2]> {
        None
    }
    fn finish(self, place: usize, word: u32, second: u32) -> Self::Out;
    /// The results of a block of words; the first word has index `place`.
    #[inline(always)]
    fn block(
        self,
        place: usize,
        words: &[u32; BLOCK],
        second: &[u32; BLOCK],
        out: &mut [MaybeUninit<Self::Out>; BLOCK],
    ) {
        for (i, ((out, &word), &second)) in out.iter_mut().zip(words).zip(second).enumerate() {
            out.write(self.finish(place + i, word, second));
        }
    }
}

#[derive(Clone, Copy)]
struct Word;

impl Finish for Word {
    type Out = u32;
    #[inline(always)]
    fn finish(self, _: usize, word: u32, _: u32) -> u32 {
        word
    }
}

/// A uniform number from 0 to `most`, which is below 1.
#[derive(Clone, Copy)]
struct Uniform {
    most: f32,
}

impl Finish for Uniform {
    type Out = f32;
    #[inline(always)]
    fn finish(self, _: usize, word: u32, _: u32) -> f32 {
        let u = word as f32 * (1.0 / 4_294_967_296.0);
        if u < self.most { u } else { self.most }
    }
}

/// The largest `f32` below one.
const BELOW_ONE: f32 = 1.0 - f32::EPSILON / 2.0;

/// `factor` times the inverse error function of a number between -1 and 1.
#[derive(Clone, Copy)]
struct Normal {
    factor: f32,
}

impl Finish for Normal {
    type Out = f32;
    #[inline(always)]
    fn finish(self, _: usize, word: u32, _: u32) -> f32 {
        let u = Uniform { most: BELOW_ONE }.finish(0, word, 0);
        self.factor * published::erfinv(2.0 * u - BELOW_ONE)
    }
}

/// [`Normal`] for machines with AVX-512, with the same bits.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
struct WideNormal(Normal);

#[cfg(target_arch = "x86_64")]
impl Finish for WideNormal {
    type Out = f32;
    #[inline(always)]
    fn finish(self, _: usize, word: u32, second: u32) -> f32 {
        self.0.finish(0, word, second)
    }
    #[inline(always)]
    fn block(self, _: usize, words: &[u32; BLOCK], _: &[u32; BLOCK], out: &mut [MaybeUninit<f32>; BLOCK]) {
        // SAFETY: `normal` uses this type on machines with AVX-512 only.
        unsafe { wide::normals(self.0.factor, words, out) }
    }
}

/// A uniform number in `[0, 1)` of 53 binary digits: the first 32 from the word, the others from a second stream.
#[derive(Clone, Copy)]
struct Uniform64 {
    second: [u32; 2],
}

impl Finish for Uniform64 {
    type Out = f64;
    fn second(self) -> Option<[u32; 2]> {
        Some(self.second)
    }
    #[inline(always)]
    fn finish(self, _: usize, word: u32, second: u32) -> f64 {
        let bits = (u64::from(word) << 32 | u64::from(second)) >> 11;
        bits as f64 * (1.0 / (1u64 << 53) as f64)
    }
}

vectorize! {
    /// The words of the counters `(i, up + i)` for `i` from `first` on: the first of each pair to `low`, the other to
    /// `high`.
    fn pairs[F: Finish](
        finish: F,
        key: [u32; 2],
        first: usize,
        up: usize,
        low: &mut [MaybeUninit<F::Out>],
        high: &mut [MaybeUninit<F::Out>],
    ) {
        let (mut a, mut b) = ([0u32; BLOCK], [0u32; BLOCK]);
        let (mut c, mut d) = ([0u32; BLOCK], [0u32; BLOCK]);
        let mut done = [MaybeUninit::uninit(); BLOCK];
        for (block, (low, high)) in low.chunks_mut(BLOCK).zip(high.chunks_mut(BLOCK)).enumerate() {
            let place = first + block * BLOCK;
            let start = place as u32;
            // Always the whole block: a loop of constant length has no remainder.
            for i in 0..BLOCK as u32 {
                let count = start.wrapping_add(i);
                [a[i as usize], b[i as usize]] = threefry2x32(key, [count, count.wrapping_add(up as u32)]);
            }
            if let Some(key) = finish.second() {
                for i in 0..BLOCK as u32 {
                    let count = start.wrapping_add(i);
                    [c[i as usize], d[i as usize]] = threefry2x32(key, [count, count.wrapping_add(up as u32)]);
                }
            }
            for (place, words, more, out) in [(place, &a, &c, low), (up + place, &b, &d, high)] {
                if let Ok(out) = (&mut *out).try_into() {
                    finish.block(place, words, more, out);
                } else {
                    finish.block(place, words, more, &mut done);
                    out.copy_from_slice(&done[..out.len()]);
                }
            }
        }
    }
}

/// One value per word of the stream.
///
/// Word `i` of the first half and word `i` of the second come from one counter pair `(i, half + i)`; with an odd number of
/// words the middle one has a counter of its own, `(half, 0)`.
fn draw<F: Finish>(finish: F, key: [u32; 2], out: &mut [MaybeUninit<F::Out>]) {
    let half = out.len() / 2;
    let up = out.len() - half;
    if up > half {
        let alone = |key| threefry2x32(key, [half as u32, 0])[0];
        out[half].write(finish.finish(half, alone(key), finish.second().map_or(0, alone)));
    }
    let (low, high) = out.split_at_mut(up);
    let (low, high) = (Shared::new(low.as_mut_ptr()), Shared::new(high.as_mut_ptr()));
    parallel_ranges(half, PART, &|range| {
        let n = range.len();
        // SAFETY: elements `range` of both halves, which no other part has.
        let (low, high) = unsafe {
            (
                std::slice::from_raw_parts_mut(low.at(range.start), n),
                std::slice::from_raw_parts_mut(high.at(range.start), n),
            )
        };
        pairs(finish, key, range.start, up, low, high);
    });
}

/// Counters from which on a separate part pays.
const PART: usize = 1 << 14;

/// Fills `out` with the random bytes of `key`, in elements of `width` bytes (1, 2 or 4), in the layout of MLX: 32-bit words in
/// little-endian order, the last one possibly truncated.
pub fn bits(key: [u32; 2], width: usize, out: &mut [u8]) {
    debug_assert!(matches!(width, 1 | 2 | 4) && out.len().is_multiple_of(width));
    // SAFETY: any four bytes are a u32, and the generator only writes.
    let (front, whole, back) = unsafe { out.align_to_mut::<MaybeUninit<u32>>() };
    if cfg!(target_endian = "little") && front.is_empty() && back.is_empty() {
        draw(Word, key, whole);
        return;
    }
    let mut words = List::filled(out.len().div_ceil(4), MaybeUninit::new(0u32));
    draw(Word, key, &mut words);
    for (place, word) in out.chunks_mut(4).zip(words.iter()) {
        // SAFETY: the list was created with initialised elements.
        let bytes = unsafe { word.assume_init() }.to_le_bytes();
        place.copy_from_slice(&bytes[..place.len()]);
    }
}

/// Fills `out` with uniform random numbers from 0 to `most`, which is at most the largest `f32` below 1.
pub fn uniform(key: [u32; 2], most: f32, out: &mut [MaybeUninit<f32>]) {
    draw(Uniform { most: if most < BELOW_ONE { most } else { BELOW_ONE } }, key, out);
}

/// Fills `out` with uniform random numbers in `[0, 1)` of 53 binary digits: the words of [`uniform`], continued by the words of
/// a second stream.
pub fn uniform_f64(key: [u32; 2], out: &mut [MaybeUninit<f64>]) {
    draw(Uniform64 { second: threefry2x32(key, [u32::MAX; 2]) }, key, out);
}

/// Fills `out` with `factor · erfinv(u)` for uniform `u` between -1 and 1: normal numbers of variance `factor² / 2`.
pub fn normal(key: [u32; 2], factor: f32, out: &mut [MaybeUninit<f32>]) {
    #[cfg(target_arch = "x86_64")]
    if level() == Level::Avx512 {
        draw(WideNormal(Normal { factor }), key, out);
        return;
    }
    draw(Normal { factor }, key, out);
}
