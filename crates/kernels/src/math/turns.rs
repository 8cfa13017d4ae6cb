//! The bits of `2^k / 2π` that the argument reduction of sine and cosine needs.

/// `1 / 2π`, the first 256 bits of its fraction.
const ONE_TURN: [u64; 4] =
    [0x28be_60db_9391_054a, 0x7f09_d5f4_7d4d_3770, 0x36d8_a566_4f10_e410, 0x7f94_58ea_f7ae_f158];

/// The fraction of `2^from / 2π`, 64 bits and the next 32, for `from` between -192 and 127.
///
/// The words are selected by comparisons instead of table look-ups: on processors with the mitigation for speculative
/// gathers, a gather takes longer than the rest of a sine.
#[inline(always)]
pub(super) fn fraction(from: i32) -> (u64, u64) {
    let (limb, shift) = (from >> 6, (from & 63) as u64);
    let word = |k: i32| {
        let w = if k == 0 { ONE_TURN[0] } else { 0 };
        let w = if k == 1 { ONE_TURN[1] } else { w };
        let w = if k == 2 { ONE_TURN[2] } else { w };
        if k == 3 { ONE_TURN[3] } else { w }
    };
    let (a, b, c) = (word(limb), word(limb + 1), word(limb + 2));
    let join = |x: u64, y: u64| (x << shift) | ((y >> 1) >> (63 - shift));
    (join(a, b), join(b, c) >> 32)
}
