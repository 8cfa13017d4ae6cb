//! The bits of `2^k / 2π` that the argument reduction of sine and cosine needs.

/// `1 / 2π`, the first 256 bits of its fraction.
const ONE_TURN: [u64; 4] =
    [0x28be_60db_9391_054a, 0x7f09_d5f4_7d4d_3770, 0x36d8_a566_4f10_e410, 0x7f94_58ea_f7ae_f158];

/// 64 bits of the fraction from bit `from` on; zeros before the first.
const fn bits(from: i32) -> u64 {
    if from <= -64 {
        return 0;
    }
    if from < 0 {
        return ONE_TURN[0] >> -from;
    }
    let (limb, shift) = (from as usize / 64, from as usize % 64);
    let high = ONE_TURN[limb] << shift;
    if shift == 0 { high } else { high | (ONE_TURN[limb + 1] >> (64 - shift)) }
}

/// For each exponent field of an `f32`: the fraction of (one unit of the significand) / 2π, 64 bits.
///
/// Two tables, not one of pairs, because loops that gather from the latter do not vectorise.
pub(super) static HIGH: [u64; 256] = table(0);
/// The next 32 bits of each.
pub(super) static LOW: [u64; 256] = table(64);

const fn table(further: i32) -> [u64; 256] {
    let mut table = [0; 256];
    let mut exponent = 0;
    while exponent < 255 {
        let word = bits(exponent as i32 - 150 + further);
        table[exponent] = if further == 0 { word } else { word >> 32 };
        exponent += 1;
    }
    table
}
