//! Short contiguous runs, such as the classes of a small softmax: many are folded at once, one element of each at a time.

use super::{Fold, Rows};
use crate::num::Num;
use crate::simd::vectorize;

/// Folds run `i` (of `length` contiguous elements, the runs beginning `step` apart) into `acc[i]`, in order.
pub(super) fn fold_across<T: Num, F: Fold<T>>(x: Rows<T>, length: usize, acc: &mut [T]) {
    #[cfg(target_arch = "x86_64")]
    if size_of::<T>() == 4 && crate::simd::level() == crate::simd::Level::Avx512 {
        // SAFETY: the machine has AVX-512, and `x` vouches for the runs.
        return unsafe { transposed::<T, F>(x, length, acc) };
    }
    by_element::<T, F>(x, length, acc);
}

/// The same for elements of four bytes: squares of 16 runs by 16 elements are transposed in registers.
///
/// # Safety
/// The machine has AVX-512; `acc.len()` runs of `length` elements can be read.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512cd,avx2,fma")]
unsafe fn transposed<T: Num, F: Fold<T>>(x: Rows<T>, length: usize, acc: &mut [T]) {
    use crate::strided::transpose::{SIDE32, columns32};
    for i in (0..acc.len()).step_by(SIDE32) {
        let height = SIDE32.min(acc.len() - i);
        let mut sums = [F::INIT; SIDE32];
        sums[..height].copy_from_slice(&acc[i..i + height]);
        for j in (0..length).step_by(SIDE32) {
            let width = SIDE32.min(length - j);
            // SAFETY: these elements are among those that the caller vouches for.
            let lines = unsafe {
                let from = x.base.offset(i as isize * x.step + j as isize);
                columns32(from.cast(), x.step, height, width)
            };
            for line in &lines[..width] {
                // SAFETY: the caller made sure that elements have four bytes, which any bits fill.
                let line: [T; SIDE32] = unsafe { std::mem::transmute_copy(line) };
                for (a, v) in sums.iter_mut().zip(line) {
                    *a = F::fold(*a, v);
                }
            }
        }
        acc[i..i + height].copy_from_slice(&sums[..height]);
    }
}

vectorize! {
    /// Folds run `i` (of `length` contiguous elements, the runs beginning `step` apart) into `acc[i]`.
    fn by_element[T: Num, F: Fold<T>](x: Rows<T>, length: usize, acc: &mut [T]) {
        // Of runs that lie next to each other the compiler makes whole loads and shuffles, not gathers.
        macro_rules! fixed {
            ($n:literal) => {
                if length == $n && x.step == $n {
                    for (i, acc) in acc.iter_mut().enumerate() {
                        let run = x.row(i, $n);
                        *acc = (1..$n).fold(F::fold(*acc, run[0]), |a, j| F::fold(a, run[j]));
                    }
                    return;
                }
            };
        }
        fixed!(2);
        fixed!(3);
        fixed!(4);
        fixed!(8);
        fixed!(16);
        for j in 0..length {
            for (i, acc) in acc.iter_mut().enumerate() {
                *acc = F::fold(*acc, x.at(i, j));
            }
        }
    }
}
