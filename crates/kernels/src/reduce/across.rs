//! Short contiguous runs, such as the classes of a small softmax. Many runs are folded at once, one element of each at a
//! time.

use super::fold::Rows;
use crate::combine::Combine;
use crate::num::Num;
use crate::simd::vectorize;

/// Folds run `i` (of `length` contiguous elements, the runs beginning `step` apart) into `acc[i]`, in order.
pub(super) fn fold_across<T: Num, F: Combine>(x: Rows<T>, length: usize, acc: &mut [T]) {
    #[cfg(target_arch = "x86_64")]
    if size_of::<T>() == 4 && crate::simd::level() == crate::simd::Level::Avx512 {
        // SAFETY: the machine has AVX-512, and the caller of `Rows::new` vouches for the runs.
        return unsafe { transposed::<T, F>(x, length, acc) };
    }
    by_element::<T, F>(x, length, acc);
}

/// [`fold_across`] for elements of four bytes: squares of 16 runs by 16 elements are transposed in registers.
///
/// # Safety
/// The machine has AVX-512; `acc.len()` runs of `length` elements can be read.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512cd,avx2,fma")]
unsafe fn transposed<T: Num, F: Combine>(x: Rows<T>, length: usize, acc: &mut [T]) {
    use crate::strided::transpose::{SIDE32, columns32};
    for i in (0..acc.len()).step_by(SIDE32) {
        let height = SIDE32.min(acc.len() - i);
        let mut sums = [F::neutral(); SIDE32];
        sums[..height].copy_from_slice(&acc[i..i + height]);
        for j in (0..length).step_by(SIDE32) {
            let width = SIDE32.min(length - j);
            // SAFETY: some of the elements that the caller vouches for.
            let lines = unsafe {
                let from = x.base.offset(i as isize * x.step + j as isize);
                columns32(from.cast(), x.step, height, width)
            };
            for line in &lines[..width] {
                // SAFETY: elements have four bytes, as the lines' elements do, and these are bits of elements.
                let line: [T; SIDE32] = unsafe { std::mem::transmute_copy(line) };
                for (a, v) in sums.iter_mut().zip(line) {
                    *a = F::apply(*a, v);
                }
            }
        }
        acc[i..i + height].copy_from_slice(&sums[..height]);
    }
}

vectorize! {
    /// Folds run `i` (of `length` contiguous elements, the runs beginning `step` apart) into `acc[i]`.
    fn by_element[T: Num, F: Combine](x: Rows<T>, length: usize, acc: &mut [T]) {
        // For runs without gaps between them the compiler uses whole loads and shuffles instead of gathers.
        macro_rules! fixed {
            ($n:literal) => {
                if length == $n && x.step == $n {
                    for (i, acc) in acc.iter_mut().enumerate() {
                        let run = x.row(i, $n);
                        *acc = (1..$n).fold(F::apply(*acc, run[0]), |a, j| F::apply(a, run[j]));
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
                *acc = F::apply(*acc, x.at(i, j));
            }
        }
    }
}
