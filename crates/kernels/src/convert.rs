//! Conversions between element types, as tile functions.

use crate::dtype::Element;
use crate::dtype::{C64, Dtype};
use crate::half_bits::{bf16_to_f32, f16_to_f32, f32_to_bf16, f32_to_f16, odd};
use crate::simd::Tile1;
use crate::tile1;
use half::{bf16, f16};
use std::mem::MaybeUninit;

/// The tile that widens a half-precision type to `f32`; `None` for other types.
#[inline]
pub fn widen_tile(dtype: Dtype) -> Option<Tile1> {
    static F16: Tile1 = tile1!(f16 => f32, |x| f16_to_f32(x));
    static BF16: Tile1 = tile1!(bf16 => f32, |x| bf16_to_f32(x));
    match dtype {
        Dtype::F16 => Some(F16),
        Dtype::Bf16 => Some(BF16),
        _ => None,
    }
}

/// The tile that narrows `f32` to a half-precision type; `None` for other types.
#[inline]
pub fn narrow_tile(dtype: Dtype) -> Option<Tile1> {
    static F16: Tile1 = tile1!(f32 => f16, |x| f32_to_f16(x));
    static BF16: Tile1 = tile1!(f32 => bf16, |x| f32_to_bf16(x));
    match dtype {
        Dtype::F16 => Some(F16),
        Dtype::Bf16 => Some(BF16),
        _ => None,
    }
}

/// Conversion of one value, with the meaning of `as` where both types are numbers: fractions are cut off, numbers
/// outside of an integer type become its nearest one, and NaN becomes 0.
trait To<T> {
    fn to(self) -> T;
}

/// A number as an `f32` that rounds to half precision as the number itself would; see [`odd`].
trait Odd: Copy {
    fn odd(self) -> f32;
}
macro_rules! exact_in_f64 {
    ($($t:ty)*) => {$(
        impl Odd for $t {
            #[inline(always)]
            fn odd(self) -> f32 { odd(f64::from(self)) }
        }
    )*};
}
exact_in_f64!(u8 u16 u32 i8 i16 i32 f32 f64);
macro_rules! of_64_bits {
    ($($t:ty)*) => {$(
        impl Odd for $t {
            #[inline(always)]
            fn odd(self) -> f32 {
                // For large numbers it only matters whether any of the last 16 bits is set; the rest is exact in f64.
                let rest = self & 0xffff;
                let rough = (self - rest) | if rest == 0 { 0 } else { 0x8000 };
                let small = self as f64 as $t == self && (self as f64).abs() < 9_007_199_254_740_992.0;
                odd(if small { self as f64 } else { rough as f64 })
            }
        }
    )*};
}
of_64_bits!(u64 i64);

macro_rules! to_as {
    ($from:ty => $($to:ty)*) => {$(
        impl To<$to> for $from {
            #[inline(always)]
            fn to(self) -> $to { self as $to }
        }
    )*};
}
macro_rules! number {
    ($zero:expr => $($t:ty)*) => {$(
        to_as!($t => u8 u16 u32 u64 i8 i16 i32 i64 f32 f64);
        impl To<bool> for $t {
            #[inline(always)]
            fn to(self) -> bool { self != $zero }
        }
        impl To<f16> for $t {
            #[inline(always)]
            fn to(self) -> f16 { f32_to_f16(self.odd()) }
        }
        impl To<bf16> for $t {
            #[inline(always)]
            fn to(self) -> bf16 { f32_to_bf16(self.odd()) }
        }
        impl To<C64> for $t {
            #[inline(always)]
            fn to(self) -> C64 { C64::new(self as f32, 0.0) }
        }
    )*};
}
number!(0 => u8 u16 u32 u64 i8 i16 i32 i64);
number!(0.0 => f32 f64);

macro_rules! through {
    ($from:ty, $via:ty, |$x:ident| $e:expr => $($to:ty)*) => {$(
        impl To<$to> for $from {
            #[inline(always)]
            fn to(self) -> $to {
                let $x = self;
                let via: $via = $e;
                To::<$to>::to(via)
            }
        }
    )*};
}
through!(bool, u8, |x| x as u8 => u8 u16 u32 u64 i8 i16 i32 i64 f16 bf16 f32 f64 C64);
through!(f16, f32, |x| f16_to_f32(x) => bool u8 u16 u32 u64 i8 i16 i32 i64 bf16 f32 f64 C64);
through!(bf16, f32, |x| bf16_to_f32(x) => bool u8 u16 u32 u64 i8 i16 i32 i64 f16 f32 f64 C64);
through!(C64, f32, |x| x.re => u8 u16 u32 u64 i8 i16 i32 i64 f16 bf16 f32 f64);

impl To<bool> for C64 {
    #[inline(always)]
    fn to(self) -> bool {
        self.re != 0.0 || self.im != 0.0
    }
}
macro_rules! identity {
    ($($t:ty)*) => {$(
        impl To<$t> for $t {
            #[inline(always)]
            fn to(self) -> $t { self }
        }
    )*};
}
identity!(bool f16 bf16 C64);

fn convert<S: To<T> + Copy, T>(x: &[S], out: &mut [MaybeUninit<T>]) {
    for (o, &x) in out.iter_mut().zip(x) {
        o.write(x.to());
    }
}

unsafe fn tile<S: Element + To<T>, T: Element>(x: *const u8, out: *mut u8, n: usize) {
    // SAFETY: the contract of `Tile1`.
    unsafe {
        convert::<S, T>(
            std::slice::from_raw_parts(x.cast(), n),
            std::slice::from_raw_parts_mut(out.cast(), n),
        )
    }
}

/// The tile that converts `from` to an `f32` which is then narrowed to half precision. Wider types are rounded to odd, so
/// that the two steps give the result of a single rounding.
pub fn to_half_tile(from: Dtype) -> Tile1 {
    macro_rules! odd_tile {
        ($($d:ident $t:ty),*) => {
            match from {
                $(Dtype::$d => tile1!($t => f32, |x| Odd::odd(x)),)*
                _ => cast_tile(from, Dtype::F32),
            }
        };
    }
    odd_tile!(F64 f64, I64 i64, U64 u64, I32 i32, U32 u32)
}

/// The tile that converts `from` to `to`.
pub fn cast_tile(from: Dtype, to: Dtype) -> Tile1 {
    let special = match (from, to) {
        (Dtype::F32, _) => narrow_tile(to),
        (_, Dtype::F32) => widen_tile(from),
        _ => None,
    };
    if let Some(f) = special {
        return f;
    }
    crate::with_dtype!(from, S => crate::with_dtype!(to, T => tile::<S, T> as Tile1))
}
