//! Products of matrices.

#[cfg(target_arch = "x86_64")]
mod blocked;
#[cfg(target_arch = "x86_64")]
mod blocks;
mod halves;
#[cfg(target_arch = "x86_64")]
mod kernel;
#[cfg(target_arch = "x86_64")]
mod operands;
#[cfg(target_arch = "x86_64")]
mod pack;
#[cfg(target_arch = "x86_64")]
mod scratch;
mod vector;
mod widen;

use crate::dtype::{C64, Dtype};
use crate::memory::{List, Memory};
use crate::num::Num;
use crate::strided::{Axes, Odometer, Out, View, copy_into, row_major_strides};
use crate::threads::{Shared, parallel};
use std::ops::Range;

/// `out = a · b` over the last two axes: `a` is `[batch.., m, k]`, `b` is `[batch.., k, n]`, `out` is `[batch.., m, n]`.
///
/// Batch axes broadcast: the ranks are equal, and extents are equal or 1. All three have one floating-point or complex type;
/// half-precision types are multiplied and accumulated in `f32`. Strides are arbitrary.
///
/// # Panics
/// If the type is not a floating-point or complex one.
pub fn matmul(a: View<'_>, b: View<'_>, out: Out<'_>) {
    matmul_reporting(a, b, out, OnRows::default());
}

/// A callback for finished rows: the range of rows and the number of their columns that were just written. It is called on
/// the thread that wrote them. Each element is reported at most once; some products do not report all elements.
#[derive(Clone, Copy, Default)]
pub(crate) struct OnRows<'a> {
    call: Option<&'a (dyn Fn(Range<usize>, usize) + Sync)>,
    /// The number of the first row, which is added to the rows that are reported.
    first: usize,
}

impl<'a> OnRows<'a> {
    pub(crate) fn new(call: &'a (dyn Fn(Range<usize>, usize) + Sync)) -> Self {
        Self { call: Some(call), first: 0 }
    }

    /// The callback of a product whose first row is row `first` of this product.
    fn at(self, first: usize) -> Self {
        Self { first: self.first + first, ..self }
    }

    /// Reports rows. Empty reports are skipped: a counter that is already zero would fire again.
    fn report(self, rows: Range<usize>, columns: usize) {
        if let Some(call) = self.call.filter(|_| !rows.is_empty() && columns > 0) {
            call(self.first + rows.start..self.first + rows.end, columns);
        }
    }
}

/// [`matmul`] with a callback for finished rows, which are numbered over all batches.
pub(crate) fn matmul_reporting(a: View<'_>, b: View<'_>, out: Out<'_>, on_rows: OnRows<'_>) {
    match out.dtype() {
        Dtype::F32 => run::<f32>(a, b, out, on_rows),
        Dtype::F64 => run::<f64>(a, b, out, on_rows),
        Dtype::C64 => run::<C64>(a, b, out, on_rows),
        Dtype::F16 => run::<half::f16>(a, b, out, on_rows),
        Dtype::Bf16 => run::<half::bf16>(a, b, out, on_rows),
        other => panic!("matmul needs a floating-point type, not {other}"),
    }
}

/// Whether the machine has the instructions of the blocked product.
fn blocks() -> bool {
    cfg!(target_arch = "x86_64") && crate::simd::level() == crate::simd::Level::Avx512
}

fn run<T: Num>(a: View<'_>, b: View<'_>, out: Out<'_>, on_rows: OnRows<'_>) {
    let rank = out.shape().len();
    let (m, n, k) = (out.shape()[rank - 2], out.shape()[rank - 1], a.shape()[rank - 1]);
    if out.size() == 0 {
        return;
    }
    if k == 0 {
        // SAFETY: all-zero bytes are zero in each of the types.
        unsafe { std::ptr::write_bytes(out.ptr(), 0, out.size() * size_of::<T>()) };
        return;
    }
    let steps = |x: &View<'_>| (x.strides()[rank - 2], x.strides()[rank - 1]);
    let (sa, sb) = (steps(&a), steps(&b));
    let batch = &out.shape()[..rank - 2];
    let layout = |x: &View<'_>| {
        let mut axes = Axes::new();
        for i in (0..rank - 2).rev() {
            axes.push_apart(batch[i], if x.shape()[i] == 1 { 0 } else { x.strides()[i] });
        }
        axes
    };
    let (la, lb) = (layout(&a), layout(&b));
    if lb.as_slice().iter().all(|x| x.0 == 1 || x.1 == 0) {
        // One `b` for the whole batch: the batch axes become rows if the strides of `a` allow.
        let mut rows = Axes::new();
        rows.push(m, sa.0);
        for &(n, s) in la.as_slice() {
            rows.push(n, s);
        }
        let all = out.size() / n;
        if let [] | [_] = rows.as_slice() {
            let step = rows.as_slice().first().map_or(sa.0, |x| x.1);
            let product = Product {
                m: all,
                n,
                k,
                a: (a.ptr().cast::<T>(), (step, sa.1)),
                b: (b.ptr().cast(), sb),
                row: n,
                on_rows,
            };
            // SAFETY: the views vouch for their elements, `out` has room for the product.
            return unsafe { product.run(out.ptr().cast(), true) };
        }
        if m <= FEW_ROWS && a.shape()[..rank - 2] == *batch {
            // Otherwise the rows are copied, which costs less than reading `b` again for every few rows.
            let rows = Memory::<T>::new(all * k);
            // SAFETY: fresh memory for as many elements.
            unsafe { copy_into(a, rows.ptr().cast(), &row_major_strides(a.shape())) };
            let product = Product {
                m: all,
                n,
                k,
                a: (rows.ptr().cast_const(), (k as isize, 1)),
                b: (b.ptr().cast(), sb),
                row: n,
                on_rows,
            };
            // SAFETY: as above; the copies live through the call.
            return unsafe { product.run(out.ptr().cast(), true) };
        }
    }
    let count: usize = batch.iter().product();
    let some = |range: std::ops::Range<usize>, spread: bool| {
        let (mut ia, mut ib) =
            (Odometer::at(la.as_slice(), range.start), Odometer::at(lb.as_slice(), range.start));
        for i in range {
            let pa = a.ptr().cast::<T>().wrapping_offset(ia.offset());
            let pb = b.ptr().cast::<T>().wrapping_offset(ib.offset());
            let on_rows = if spread { on_rows.at(i * m) } else { OnRows::default() };
            let product = Product { m, n, k, a: (pa, sa), b: (pb, sb), row: n, on_rows };
            // SAFETY: as above; each product writes its own part of `out`.
            unsafe { product.run(out.ptr().cast::<T>().add(i * m * n), spread) };
            ia.step();
            ib.step();
        }
    };
    let each = m * n * k;
    if count == 1 || each >= 4 * PART {
        return some(0..count, true); // each large product is divided by itself
    }
    let parts = (count * each / (PART / 4)).clamp(1, 16.min(count));
    let step = count.div_ceil(parts);
    parallel(count.div_ceil(step), &|i| {
        let range = i * step..((i + 1) * step).min(count);
        some(range.clone(), false);
        on_rows.report(range.start * m..range.end * m, n);
    });
}

/// Products of at most this number of rows become one product if their right matrix is the same.
const FEW_ROWS: usize = 64;

/// Multiplications from which on a separate part pays: some tens of microseconds.
const PART: usize = 1 << 20;

/// One product of matrices: their extents, addresses and (row, column) strides.
struct Product<'a, T> {
    m: usize,
    n: usize,
    k: usize,
    a: (*const T, (isize, isize)),
    b: (*const T, (isize, isize)),
    /// Elements between rows of the result.
    row: usize,
    on_rows: OnRows<'a>,
}

// SAFETY: addresses, strides and extents, which any thread may know; each read says why it is sound.
unsafe impl<T> Sync for Product<'_, T> {}

impl<T: Num> Product<'_, T> {
    /// Computes the product at `out`, a large one in parts if `spread` is set. The division depends on the extents alone.
    ///
    /// # Safety
    /// The elements that the fields describe can be read, `m` rows of `n` written at `out`.
    unsafe fn run(&self, out: *mut T, spread: bool) {
        let &Self { m, n, k, .. } = self;
        // SAFETY: the caller's contract.
        if (n == 1 || m == 1) && m * n * k >= 256 && unsafe { self.by_vector(out, spread) } {
            return;
        }
        if matches!(T::DTYPE, Dtype::F16 | Dtype::Bf16) {
            // SAFETY: the caller's contract.
            return unsafe { self.of_halves(out, spread) };
        }
        #[cfg(target_arch = "x86_64")]
        if blocks() {
            // SAFETY: the caller's contract; the machine has AVX-512.
            unsafe {
                match T::DTYPE {
                    Dtype::F32 => return self.in_blocks::<f32>(out, spread),
                    Dtype::F64 => return self.in_blocks::<f64>(out, spread),
                    _ => {}
                }
            }
        }
        let parts = (m * n * k / PART).clamp(1, 8);
        if !spread || parts < 2 || m.max(n) < 64 {
            // SAFETY: the caller's contract.
            return unsafe { self.whole(out) };
        }
        let target = Shared::new(out);
        // Blocks of rows, or of columns if there are more columns, in multiples of the kernel's registers.
        let long = m.max(n);
        let step = long.div_ceil(parts).next_multiple_of(48);
        parallel(long.div_ceil(step), &|i| {
            let (from, count) = (i * step, step.min(long - i * step));
            let (part, shift) = if m >= n {
                let a = self.a.0.wrapping_offset(from as isize * self.a.1.0);
                (Self { m: count, a: (a, self.a.1), ..*self }, from * self.row)
            } else {
                let b = self.b.0.wrapping_offset(from as isize * self.b.1.1);
                (Self { n: count, b: (b, self.b.1), ..*self }, from)
            };
            // SAFETY: a part of the rows or columns that the caller vouches for, written by this call alone.
            unsafe { part.whole(target.at(shift)) };
            let first = if m >= n { from } else { 0 };
            self.on_rows.report(first..first + part.m, part.n);
        });
    }

    /// A product of half precision: for few rows or columns in one pass over the other matrix, else in blocks.
    ///
    /// # Safety
    /// As for [`Product::run`].
    unsafe fn of_halves(&self, out: *mut T, spread: bool) {
        use halves::{Halves, HalvesMut, few_rows};
        let &Self { m, n, k, a: (a, (ar, ac)), b: (b, (br, bc)), row, .. } = self;
        let a = Halves { ptr: a.cast(), free: ar, summed: ac };
        let b = Halves { ptr: b.cast(), free: bc, summed: br };
        let c = HalvesMut { ptr: out.cast(), row, column: 1 };
        // SAFETY: the caller's contract; for few columns, of the transposed product.
        unsafe {
            let transposed = HalvesMut { row: c.column, column: c.row, ..c };
            if m <= few_rows() && halves::few::<T>((m, n, k), a, b, c, spread)
                || n <= few_rows() && halves::few::<T>((n, m, k), b, a, transposed, spread)
            {
                return;
            }
            #[cfg(target_arch = "x86_64")]
            if blocks() {
                return match T::DTYPE {
                    Dtype::F16 => self.in_blocks::<half::f16>(out, spread),
                    _ => self.in_blocks::<half::bf16>(out, spread),
                };
            }
            halves::in_blocks::<T>((m, n, k), a, b, c, spread);
        }
    }

    /// The blocked product; `S` is `T`.
    ///
    /// # Safety
    /// As for [`Product::run`]; the machine has AVX-512.
    #[cfg(target_arch = "x86_64")]
    unsafe fn in_blocks<S: operands::Factor>(&self, out: *mut T, spread: bool) {
        use blocked::multiply;
        use operands::{Extents, Matrix, MatrixMut};
        debug_assert_eq!(S::DTYPE, T::DTYPE);
        let matrix =
            |(ptr, (row, column)): (*const T, (isize, isize))| Matrix { ptr: ptr.cast::<S>(), row, column };
        let c = MatrixMut { ptr: out.cast::<S>(), row: self.row };
        // SAFETY: the caller's contract.
        unsafe {
            let e = Extents { m: self.m, n: self.n, k: self.k };
            multiply(e, matrix(self.a), matrix(self.b), c, spread, self.on_rows);
        }
    }

    /// A product of a matrix and a vector, from either side, in one pass over a matrix that is contiguous in one order. False
    /// for other matrices, and for types without a kernel.
    ///
    /// # Safety
    /// As for [`Product::run`].
    unsafe fn by_vector(&self, out: *mut T, spread: bool) -> bool {
        let &Self { m, n, k, a: (a, (ar, ac)), b: (b, (br, bc)), row, .. } = self;
        // The matrix with its (free, summed) strides, and the vector.
        let (matrix, (free, summed), vector, step, len, to) =
            if n == 1 { (a, (ar, ac), b, br, m, row) } else { (b, (bc, br), a, ac, n, 1) };
        // For short rows or columns the loops below mostly run their remainders.
        let by_rows = summed == 1 && k >= 32;
        if !by_rows && (free != 1 || len < 16) || to != 1 && len > 1 {
            return false;
        }
        macro_rules! go {
            ($t:ty) => {{
                // SAFETY: the caller's contract.
                unsafe {
                    let mut v = List::with_capacity(k);
                    (0..k).for_each(|i| v.push(*vector.cast::<$t>().offset(i as isize * step)));
                    #[cfg(target_arch = "x86_64")]
                    if by_rows && blocks() {
                        let d = kernel::Dots {
                            k,
                            a: matrix.cast::<$t>(),
                            a_row: free,
                            rows: len,
                            b: v.as_ptr(),
                            b_row: 0,
                            columns: 1,
                            c: out.cast(),
                            c_row: 1,
                            c_column: 1,
                        };
                        blocked::rows_apart(d, spread);
                        return true;
                    }
                    vector::product(matrix.cast::<$t>(), by_rows, (free, summed), &v, out.cast(), len);
                }
            }};
        }
        match T::DTYPE {
            Dtype::F32 => go!(f32),
            Dtype::F64 => go!(f64),
            _ => return false,
        }
        true
    }

    /// Computes the product at `out` on this thread.
    ///
    /// # Safety
    /// As for [`Product::run`].
    unsafe fn whole(&self, out: *mut T) {
        let &Self { m, n, k, a: (a, (ar, ac)), b: (b, (br, bc)), row, .. } = self;
        // SAFETY: the caller's contract.
        unsafe {
            gemm::gemm(
                m,
                n,
                k,
                out,
                1,
                row as isize,
                false,
                a,
                ac,
                ar,
                b,
                bc,
                br,
                T::ZERO,
                T::ONE,
                false,
                false,
                false,
                gemm::Parallelism::None,
            );
        }
    }
}
