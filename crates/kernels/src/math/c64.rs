//! Functions of complex numbers.

use crate::dtype::C64;

/// e to the power z (principal value).
#[inline]
pub fn exp(z: C64) -> C64 {
    z.exp()
}

/// Natural logarithm (principal value).
#[inline]
pub fn log(z: C64) -> C64 {
    z.ln()
}

/// Square root (principal value).
#[inline]
pub fn sqrt(z: C64) -> C64 {
    z.sqrt()
}

/// Sine (principal value).
#[inline]
pub fn sin(z: C64) -> C64 {
    z.sin()
}

/// Cosine (principal value).
#[inline]
pub fn cos(z: C64) -> C64 {
    z.cos()
}

/// Tangent (principal value).
#[inline]
pub fn tan(z: C64) -> C64 {
    z.tan()
}

/// Hyperbolic sine (principal value).
#[inline]
pub fn sinh(z: C64) -> C64 {
    z.sinh()
}

/// Hyperbolic cosine (principal value).
#[inline]
pub fn cosh(z: C64) -> C64 {
    z.cosh()
}

/// Hyperbolic tangent (principal value).
#[inline]
pub fn tanh(z: C64) -> C64 {
    z.tanh()
}

/// Arcsine (principal value).
#[inline]
pub fn asin(z: C64) -> C64 {
    z.asin()
}

/// Arccosine (principal value).
#[inline]
pub fn acos(z: C64) -> C64 {
    z.acos()
}

/// Arctangent (principal value).
#[inline]
pub fn atan(z: C64) -> C64 {
    z.atan()
}

/// Inverse hyperbolic sine (principal value).
#[inline]
pub fn asinh(z: C64) -> C64 {
    z.asinh()
}

/// Inverse hyperbolic cosine (principal value).
#[inline]
pub fn acosh(z: C64) -> C64 {
    z.acosh()
}

/// Inverse hyperbolic tangent (principal value).
#[inline]
pub fn atanh(z: C64) -> C64 {
    z.atanh()
}

/// z to the power w (principal value).
#[inline]
pub fn pow(z: C64, w: C64) -> C64 {
    z.powc(w)
}
