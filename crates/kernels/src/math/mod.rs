//! Scalar functions, written so that loops over them vectorise.

pub mod c64;
pub mod f32;
pub mod f64;
mod turns;

/// Multiplication and addition, rounded once if the machine has the instruction.
pub(crate) trait MulAdd: Copy {
    fn fma(self, m: Self, a: Self) -> Self;
}

impl MulAdd for core::primitive::f32 {
    #[inline(always)]
    fn fma(self, m: Self, a: Self) -> Self {
        self.mul_add(m, a)
    }
}

impl MulAdd for core::primitive::f64 {
    #[inline(always)]
    fn fma(self, m: Self, a: Self) -> Self {
        self.mul_add(m, a)
    }
}

/// The polynomial with these coefficients, the constant coefficient first.
#[inline(always)]
pub(crate) fn horner<T: MulAdd, const N: usize>(x: T, c: &[T; N]) -> T {
    let mut r = c[N - 1];
    for k in (0..N - 1).rev() {
        r = r.fma(x, c[k]);
    }
    r
}
