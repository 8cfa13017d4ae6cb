//! Arithmetic and order of element types, as reductions, scans, scatters and sorts use them.

use crate::dtype::{C64, Element};
use half::{bf16, f16};
use std::cmp::Ordering;

/// Arithmetic and order on an element type.
pub(crate) trait Num: Element {
    /// The neutral element of addition.
    const ZERO: Self;
    /// The neutral element of multiplication.
    const ONE: Self;
    /// The least value: the neutral element of the maximum.
    const LOWEST: Self;
    /// The neutral element of [`log_add_exp`](Num::log_add_exp): the logarithm of zero.
    const LOG_ZERO: Self = Self::LOWEST;
    /// The greatest value: the neutral element of the minimum.
    const HIGHEST: Self;
    /// Sum, wrapping for integers, "or" for bool.
    fn add(self, o: Self) -> Self;
    /// Product, wrapping for integers, "and" for bool.
    fn mul(self, o: Self) -> Self;
    /// The greater; NaN if either is.
    fn greater(self, o: Self) -> Self;
    /// The lesser; NaN if either is.
    fn lesser(self, o: Self) -> Self;
    /// Total order for sorting: NaN after everything, -0 equal to 0.
    fn order(&self, o: &Self) -> Ordering;
    /// Whether the value is NaN: not equal to itself.
    fn nan(self) -> bool;
    /// `log(exp(self) + exp(o))`, for floating point; the maximum for other types.
    fn log_add_exp(self, o: Self) -> Self;
}

macro_rules! ints {
    ($($t:ty)*) => {$(
        impl Num for $t {
            const ZERO: Self = 0;
            const ONE: Self = 1;
            const LOWEST: Self = <$t>::MIN;
            const HIGHEST: Self = <$t>::MAX;
            #[inline(always)]
            fn add(self, o: Self) -> Self { self.wrapping_add(o) }
            #[inline(always)]
            fn mul(self, o: Self) -> Self { self.wrapping_mul(o) }
            #[inline(always)]
            fn greater(self, o: Self) -> Self { Ord::max(self, o) }
            #[inline(always)]
            fn lesser(self, o: Self) -> Self { Ord::min(self, o) }
            #[inline(always)]
            fn order(&self, o: &Self) -> Ordering { self.cmp(o) }
            #[inline(always)]
            fn nan(self) -> bool { false }
            #[inline(always)]
            fn log_add_exp(self, o: Self) -> Self { Ord::max(self, o) }
        }
    )*};
}
ints!(u8 u16 u32 u64 i8 i16 i32 i64);

impl Num for bool {
    const ZERO: Self = false;
    const ONE: Self = true;
    const LOWEST: Self = false;
    const HIGHEST: Self = true;
    #[inline(always)]
    fn add(self, o: Self) -> Self {
        self | o
    }
    #[inline(always)]
    fn mul(self, o: Self) -> Self {
        self & o
    }
    #[inline(always)]
    fn greater(self, o: Self) -> Self {
        self | o
    }
    #[inline(always)]
    fn lesser(self, o: Self) -> Self {
        self & o
    }
    #[inline(always)]
    fn order(&self, o: &Self) -> Ordering {
        self.cmp(o)
    }
    #[inline(always)]
    fn nan(self) -> bool {
        false
    }
    #[inline(always)]
    fn log_add_exp(self, o: Self) -> Self {
        self | o
    }
}

macro_rules! floats {
    ($($t:ty, $zero:expr, $one:expr, $low:expr, $high:expr, $wide:ty, $math:ident, $narrow:expr;)*) => {$(
        impl Num for $t {
            const ZERO: Self = $zero;
            const ONE: Self = $one;
            const LOWEST: Self = $low;
            const HIGHEST: Self = $high;
            #[inline(always)]
            fn add(self, o: Self) -> Self { self + o }
            #[inline(always)]
            fn mul(self, o: Self) -> Self { self * o }
            // In this form a NaN accumulator is never replaced, and a NaN argument always replaces it.
            #[allow(clippy::eq_op, reason = "the test for NaN that vectorises")]
            #[inline(always)]
            fn greater(self, o: Self) -> Self { if o > self || o != o { o } else { self } }
            #[allow(clippy::eq_op, reason = "the test for NaN that vectorises")]
            #[inline(always)]
            fn lesser(self, o: Self) -> Self { if o < self || o != o { o } else { self } }
            #[inline(always)]
            fn order(&self, o: &Self) -> Ordering {
                self.partial_cmp(o).unwrap_or_else(|| self.nan().cmp(&o.nan()))
            }
            #[allow(clippy::eq_op, reason = "the test for NaN that vectorises")]
            #[inline(always)]
            fn nan(self) -> bool { self != self }
            #[inline(always)]
            fn log_add_exp(self, o: Self) -> Self {
                $narrow(crate::math::$math::logaddexp(<$wide>::from(self), <$wide>::from(o)))
            }
        }
    )*};
}
floats! {
    f32, 0.0, 1.0, f32::NEG_INFINITY, f32::INFINITY, f32, f32, std::convert::identity;
    f64, 0.0, 1.0, f64::NEG_INFINITY, f64::INFINITY, f64, f64, std::convert::identity;
    f16, f16::ZERO, f16::ONE, f16::NEG_INFINITY, f16::INFINITY, f32, f32, f16::from_f32;
    bf16, bf16::ZERO, bf16::ONE, bf16::NEG_INFINITY, bf16::INFINITY, f32, f32, bf16::from_f32;
}

/// Complex numbers are ordered by their real parts, ties by the imaginary parts.
impl Num for C64 {
    const ZERO: Self = C64::new(0.0, 0.0);
    const ONE: Self = C64::new(1.0, 0.0);
    const LOWEST: Self = C64::new(f32::NEG_INFINITY, f32::NEG_INFINITY);
    const LOG_ZERO: Self = C64::new(f32::NEG_INFINITY, 0.0);
    const HIGHEST: Self = C64::new(f32::INFINITY, f32::INFINITY);
    #[inline(always)]
    fn add(self, o: Self) -> Self {
        self + o
    }
    #[inline(always)]
    fn mul(self, o: Self) -> Self {
        self * o
    }
    #[inline(always)]
    fn greater(self, o: Self) -> Self {
        let more = o.re > self.re || (o.re == self.re && o.im > self.im);
        if !self.nan() && (more || o.nan()) { o } else { self }
    }
    #[inline(always)]
    fn lesser(self, o: Self) -> Self {
        let less = o.re < self.re || (o.re == self.re && o.im < self.im);
        if !self.nan() && (less || o.nan()) { o } else { self }
    }
    fn order(&self, o: &Self) -> Ordering {
        self.nan().cmp(&o.nan()).then(self.re.order(&o.re)).then(self.im.order(&o.im))
    }
    #[inline(always)]
    fn nan(self) -> bool {
        self.re.is_nan() || self.im.is_nan()
    }
    fn log_add_exp(self, o: Self) -> Self {
        crate::math::c64::logaddexp(self, o)
    }
}
