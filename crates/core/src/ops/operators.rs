//! `+ - * / %` and unary minus, between arrays and with Rust numbers.
//!
//! A number is weak: it takes the array's element type, except that a fraction makes an integer array
//! `float32`. There is one float and one integer type to choose from (`f64`, `i32`), so that the type of a literal
//! is never ambiguous: `(x * 2.0).sin()` compiles.

use crate::array::Array;
use crate::error::expect;
use crate::ops::{self, constant, try_add, try_divide, try_multiply, try_remainder, try_subtract};
use covector_kernels::Dtype;
use std::ops::{Add, Div, Mul, Neg, Rem, Sub};

/// The array a number stands for beside `x`.
fn float_beside(value: f64, x: &Array) -> Array {
    constant(value, if x.dtype().is_inexact() { x.dtype() } else { Dtype::F32 })
}

fn int_beside(value: i64, x: &Array) -> Array {
    constant(value as f64, if x.dtype() == Dtype::Bool { Dtype::I32 } else { x.dtype() })
}

macro_rules! binary {
    ($($trait:ident $method:ident $f:ident),*) => {$(
        binary!(@arrays $trait $method $f, Array, Array);
        binary!(@arrays $trait $method $f, Array, &Array);
        binary!(@arrays $trait $method $f, &Array, Array);
        binary!(@arrays $trait $method $f, &Array, &Array);
        binary!(@scalar $trait $method $f, f64, float_beside);
        binary!(@scalar $trait $method $f, i32, int_beside);
    )*};
    (@arrays $trait:ident $method:ident $f:ident, $a:ty, $b:ty) => {
        impl $trait<$b> for $a {
            type Output = Array;
            #[track_caller]
            fn $method(self, other: $b) -> Array {
                expect($f(self.as_ref(), other.as_ref()))
            }
        }
    };
    (@scalar $trait:ident $method:ident $f:ident, $s:ty, $beside:ident) => {
        impl $trait<$s> for &Array {
            type Output = Array;
            #[track_caller]
            fn $method(self, other: $s) -> Array {
                expect($f(self, &$beside(other.into(), self)))
            }
        }
        impl $trait<$s> for Array {
            type Output = Array;
            #[track_caller]
            fn $method(self, other: $s) -> Array {
                expect($f(&self, &$beside(other.into(), &self)))
            }
        }
        impl $trait<&Array> for $s {
            type Output = Array;
            #[track_caller]
            fn $method(self, other: &Array) -> Array {
                expect($f(&$beside(self.into(), other), other))
            }
        }
        impl $trait<Array> for $s {
            type Output = Array;
            #[track_caller]
            fn $method(self, other: Array) -> Array {
                expect($f(&$beside(self.into(), &other), &other))
            }
        }
    };
}
binary!(Add add try_add, Sub sub try_subtract, Mul mul try_multiply, Div div try_divide, Rem rem try_remainder);

impl Neg for &Array {
    type Output = Array;
    #[track_caller]
    fn neg(self) -> Array {
        ops::negative(self)
    }
}

impl Neg for Array {
    type Output = Array;
    #[track_caller]
    fn neg(self) -> Array {
        ops::negative(&self)
    }
}
