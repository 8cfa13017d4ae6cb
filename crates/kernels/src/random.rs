//! The counter-based generator behind all random numbers.

/// Threefry-2x32 with 20 rounds (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", 2011).
///
/// ```
/// // The paper's known-answer test for zero key and counter.
/// assert_eq!(covector_kernels::random::threefry2x32([0, 0], [0, 0]), [0x6b200159, 0x99ba4efe]);
/// ```
#[inline(always)]
pub fn threefry2x32(key: [u32; 2], count: [u32; 2]) -> [u32; 2] {
    const ROTATIONS: [[u32; 4]; 2] = [[13, 15, 26, 6], [17, 29, 16, 24]];
    let schedule = [key[0], key[1], key[0] ^ key[1] ^ 0x1bd1_1bda];
    let mut a = count[0].wrapping_add(schedule[0]);
    let mut b = count[1].wrapping_add(schedule[1]);
    for group in 0..5 {
        for turn in ROTATIONS[group % 2] {
            a = a.wrapping_add(b);
            b = b.rotate_left(turn) ^ a;
        }
        a = a.wrapping_add(schedule[(group + 1) % 3]);
        b = b.wrapping_add(schedule[(group + 2) % 3]).wrapping_add(group as u32 + 1);
    }
    [a, b]
}

/// Fills `out` with the random bytes of `key`, in elements of `width` bytes (1, 2 or 4), as MLX lays them out.
///
/// Seen as words of 32 bits (the last one possibly cut short), word `i` of the first half and word `i` of the second
/// come from one counter pair `(i, half + i)`; with an odd number of words the middle one stands alone, with
/// the counter `(half, 0)`.
pub fn bits(key: [u32; 2], width: usize, out: &mut [u8]) {
    debug_assert!(matches!(width, 1 | 2 | 4) && out.len().is_multiple_of(width));
    let words = out.len().div_ceil(4);
    let (half, odd) = (words / 2, words % 2);
    let mut put = |word: usize, value: u32| {
        let place = &mut out[word * 4..];
        let n = place.len().min(4);
        place[..n].copy_from_slice(&value.to_le_bytes()[..n]);
    };
    for i in 0..half {
        let second = half + odd + i;
        let [a, b] = threefry2x32(key, [i as u32, second as u32]);
        put(i, a);
        put(second, b);
    }
    if odd == 1 {
        put(half, threefry2x32(key, [half as u32, 0])[0]);
    }
}
