//! Published functions that determine the last bit of random numbers.
//!
//! A random stream is part of a program's results: the same seed has to give the same bits on every machine, and the bits of
//! the libraries that covector is compatible with. So these functions are not the most accurate ones (those are in
//! [`math`](crate::math)) but particular published ones, with exactly their rounding.

use crate::math::horner;

/// `1/c` for a `c` near the middle of each of 16 intervals between two powers of 2; [`LOG_C`] has the logarithms of `c`.
///
/// The tables and [`LOG`] are those of the `logf` in Arm's Optimized Routines (Copyright (c) 2017-2018, Arm Limited; MIT
/// licence), which C libraries use, so that the results are equal to theirs.
pub(super) const INVERSE: [u64; 16] = [
    0x3ff6_61ec_79f8_f3be,
    0x3ff5_71ed_4aaf_883d,
    0x3ff4_9539_f0f0_10b0,
    0x3ff3_c995_b0b8_0385,
    0x3ff3_0d19_0c88_64a5,
    0x3ff2_5e22_7b0b_8ea0,
    0x3ff1_bb4a_4a1a_343f,
    0x3ff1_2358_f08a_e5ba,
    0x3ff0_953f_4199_00a7,
    0x3ff0_0000_0000_0000,
    0x3fee_608c_fd9a_47ac,
    0x3fec_a4b3_1f02_6aa0,
    0x3feb_2036_576a_fce6,
    0x3fe9_c2d1_63a1_aa2d,
    0x3fe8_86e6_0378_41ed,
    0x3fe7_67dc_f553_4862,
];
pub(super) const LOG_C: [u64; 16] = [
    0xbfd5_7bf7_808c_aade,
    0xbfd2_bef0_a7c0_6ddb,
    0xbfd0_1eae_7f51_3a67,
    0xbfcb_31d8_a682_24e9,
    0xbfc6_574f_0ac0_7758,
    0xbfc1_aa2b_c79c_8100,
    0xbfba_4e76_ce8c_0e5e,
    0xbfb1_973c_5a61_1ccc,
    0xbfa2_52f4_38e1_0c1e,
    0x0000_0000_0000_0000,
    0x3faa_a5aa_5df2_5984,
    0x3fbc_5e53_aa36_2eb4,
    0x3fc5_26e5_7720_db08,
    0x3fcb_c286_0d22_4770,
    0x3fd1_058b_c8a0_7ee1,
    0x3fd4_0430_57b6_ee09,
];
/// Coefficients of `r²`, `r³` and `r⁴` of `log(1 + r)`.
pub(super) const LOG: [u64; 3] = [0xbfdf_fffe_f20a_4123, 0x3fd5_575b_0be0_0b6a, 0xbfd0_0ea3_48b8_8334];

/// The table entry that bits 19 to 22 select, by a tree of choices: gathering from memory takes several times as long.
#[inline(always)]
fn pick(table: &[u64; 16], bits: u32) -> f64 {
    let mut left = table.map(f64::from_bits);
    let mut step = 8;
    while step > 0 {
        let high = bits & (step << 19) != 0;
        for i in 0..step as usize {
            left[i] = if high { left[i + step as usize] } else { left[i] };
        }
        step /= 2;
    }
    left[0]
}

/// The natural logarithm of a non-negative number.
#[inline(always)]
pub fn log(x: f32) -> f32 {
    let small = x < f32::MIN_POSITIVE;
    let bits = (if small { x * 8_388_608.0 } else { x }).to_bits();
    let bits = if small { bits.wrapping_sub(23 << 23) } else { bits };
    let above = bits.wrapping_sub(0x3f33_0000);
    let (inverse, log_c) = (pick(&INVERSE, above), pick(&LOG_C, above));
    let power = f64::from(above as i32 >> 23);
    let z = f64::from(f32::from_bits(bits.wrapping_sub(above & 0xff80_0000)));
    let (a2, a3, a4) = (f64::from_bits(LOG[0]), f64::from_bits(LOG[1]), f64::from_bits(LOG[2]));
    let r = z * inverse - 1.0;
    let r2 = r * r;
    let y = a4 * r2 + (a3 * r + a2);
    let y = (y * r2 + (log_c + power * std::f64::consts::LN_2 + r)) as f32;
    let y = if x == f32::INFINITY { x } else { y };
    let y = if x >= 0.0 { y } else { f32::NAN };
    if x == 0.0 { f32::NEG_INFINITY } else { y }
}

/// Coefficients of N. Juffa's single-precision approximation of the inverse error function, in powers of `log(1 - x²)`:
/// for small magnitudes of the logarithm, then for large ones.
pub(super) const ERFINV: [[f32; 10]; 2] = [
    [
        8.862_269e-1,
        -2.320_154_8e-1,
        1.153_925_8e-2,
        2.314_686_8e-3,
        -1.476_976_3e-4,
        -5.615_307_6e-5,
        1.129_636_26e-7,
        1.227_747_9e-6,
        1.432_854_5e-7,
        5.438_778_3e-9,
    ],
    [
        8.400_165e-1,
        -2.646_461_4e-1,
        4.831_858e-3,
        3.026_988_1e-3,
        3.935_529_7e-4,
        2.841_089_6e-5,
        1.221_503_3e-6,
        2.932_431e-8,
        3.036_975_7e-10,
        0.0,
    ],
];

/// The inverse of the error function, between -1 and 1.
#[inline(always)]
pub fn erfinv(x: f32) -> f32 {
    let t = log(x.mul_add(-x, 1.0));
    let [near, far] = &ERFINV;
    x * if t.abs() > 6.125 { horner(t, far) } else { horner(t, near) }
}

/// `2^x` for `x` between -1/2 and 1/2: the coefficients of the Cephes library.
const EXP2: [f32; 7] =
    [1.0, 6.931_472e-1, 2.402_264_8e-1, 5.550_332_5e-2, 9.618_437e-3, 1.339_887_4e-3, 1.535_336_2e-4];

/// The exponential function of a number that is not positive.
#[inline(always)]
fn exp(x: f32) -> f32 {
    let t = x * std::f32::consts::LOG2_E;
    let t = if t < -126.0 { -126.0 } else { t };
    let whole = (t + 0.5).floor();
    horner(t - whole, &EXP2) * f32::from_bits(((whole as i32 + 127) << 23) as u32)
}

/// Formula 7.1.26 of Abramowitz and Stegun, the constant coefficient first.
const ERF: [f32; 5] = [0.254_829_6, -0.284_496_72, 1.421_413_8, -1.453_152_1, 1.061_405_4];

/// The error function, to 5e-7.
#[inline(always)]
pub fn erf(x: f32) -> f32 {
    let t = 1.0 / x.abs().mul_add(0.327_591_1, 1.0);
    let y = (-exp(-x * x) * t).mul_add(horner(t, &ERF), 1.0);
    if x > 0.0 { y } else { -y }
}
