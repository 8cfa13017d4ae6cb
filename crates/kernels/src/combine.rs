//! The operations of reductions, scans and scatters, and the types that they accumulate in.

#[cfg(doc)]
use crate::dtype::Dtype;
use crate::dtype::Element;
use crate::half_bits::{bf16_to_f32, f16_to_f32, f32_to_bf16, f32_to_f16};
use crate::num::Num;
use half::{bf16, f16};

/// An associative and commutative operation with a neutral element. It is a type and not a closure, so that it is inlined
/// where it is used and compiled for the instruction set there.
pub(crate) trait Combine: Copy + Sync {
    fn neutral<A: Num>() -> A;
    fn apply<A: Num>(a: A, b: A) -> A;
}
macro_rules! operations {
    ($($name:ident, $neutral:ident, $apply:ident;)*) => {$(
        #[derive(Clone, Copy)]
        pub(crate) struct $name;
        impl Combine for $name {
            #[inline(always)]
            fn neutral<A: Num>() -> A { A::$neutral }
            #[inline(always)]
            fn apply<A: Num>(a: A, b: A) -> A { a.$apply(b) }
        }
    )*};
}
operations! {
    Sum, ZERO, add; Prod, ONE, mul; Max, LOWEST, greater; Min, HIGHEST, lesser; LogAddExp, LOG_ZERO, log_add_exp;
}

/// An element type, and the type in which its elements are accumulated: see [`Dtype::accumulator`].
pub(crate) trait Stored: Element {
    type Acc: Num;
    fn load(self) -> Self::Acc;
    fn store(a: Self::Acc) -> Self;
}
macro_rules! stored {
    ($($t:ty)*) => {$(
        impl Stored for $t {
            type Acc = $t;
            #[inline(always)]
            fn load(self) -> $t { self }
            #[inline(always)]
            fn store(a: $t) -> $t { a }
        }
    )*};
}
stored!(bool u8 u16 u32 u64 i8 i16 i32 i64 f32 f64 crate::C64);
impl Stored for f16 {
    type Acc = f32;
    #[inline(always)]
    fn load(self) -> f32 {
        f16_to_f32(self)
    }
    #[inline(always)]
    fn store(a: f32) -> Self {
        f32_to_f16(a)
    }
}
impl Stored for bf16 {
    type Acc = f32;
    #[inline(always)]
    fn load(self) -> f32 {
        bf16_to_f32(self)
    }
    #[inline(always)]
    fn store(a: f32) -> Self {
        f32_to_bf16(a)
    }
}
