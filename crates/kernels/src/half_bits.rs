//! Conversions between half-precision formats and `f32`, without branches so that loops over them vectorise (those of the
//! `half` crate test for hardware support at every element).

use half::{bf16, f16};

/// Widens; exact.
#[inline(always)]
pub fn f16_to_f32(h: f16) -> f32 {
    let bits = u32::from(h.to_bits());
    let (sign, magnitude) = ((bits & 0x8000) << 16, bits & 0x7fff);
    // A subnormal's fraction becomes the low bits of 0.5: with that exponent, f32's unit in the last place is f16's smallest
    // step.
    let tiny = f32::from_bits(0x3f00_0000 | magnitude) - 0.5;
    let normal = (magnitude << 13) + (112 << 23);
    let special = (magnitude << 13) | 0x7f80_0000;
    let finite = if magnitude < 0x400 { tiny.to_bits() } else { normal };
    f32::from_bits(sign | if magnitude < 0x7c00 { finite } else { special })
}

/// Narrows to the nearest, ties to even.
#[inline(always)]
pub fn f32_to_f16(x: f32) -> f16 {
    let bits = x.to_bits();
    let (sign, a) = ((bits >> 16) & 0x8000, bits & 0x7fff_ffff);
    let tiny = (f32::from_bits(a) + 0.5).to_bits().wrapping_sub(0x3f00_0000);
    let normal = (a.wrapping_add(0xfff + ((a >> 13) & 1)) >> 13).wrapping_sub(112 << 10);
    let finite = if a < 0x3880_0000 { tiny } else { normal };
    let big = if a > 0x7f80_0000 { 0x7e00 } else { 0x7c00 };
    f16::from_bits((sign | if a < 0x4780_0000 { finite } else { big }) as u16)
}

/// Widens; exact.
#[inline(always)]
pub fn bf16_to_f32(b: bf16) -> f32 {
    f32::from_bits(u32::from(b.to_bits()) << 16)
}

/// Narrows to the nearest, ties to even.
#[inline(always)]
pub fn f32_to_bf16(x: f32) -> bf16 {
    let bits = x.to_bits();
    let near = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
    let nan = (bits >> 16) | 0x40;
    bf16::from_bits(if bits & 0x7fff_ffff > 0x7f80_0000 { nan } else { near } as u16)
}

/// `x` rounded to odd: truncated to `f32`, with the last bit set if the result is inexact. Rounding this result to a type
/// with at least two bits less, as both half-precision types have, gives the same as rounding `x` directly.
#[inline(always)]
pub fn odd(x: f64) -> f32 {
    let near = x as f32;
    let back = f64::from(near);
    let bits = near.to_bits();
    let cut = if back.abs() > x.abs() { bits.wrapping_sub(1) } else { bits };
    f32::from_bits(if back == x || x.is_nan() { bits } else { cut | 1 })
}

/// Narrows to the nearest, ties to even, in one rounding.
#[inline(always)]
pub fn f64_to_f16(x: f64) -> f16 {
    f32_to_f16(odd(x))
}

/// Narrows to the nearest, ties to even, in one rounding.
#[inline(always)]
pub fn f64_to_bf16(x: f64) -> bf16 {
    f32_to_bf16(odd(x))
}
