//! Matrix products.

use crate::dtype::{C64, Dtype};
use crate::loader::{Axes, Odometer};
use crate::map::cast;
use crate::num::Num;
use crate::pool::parallel;
use crate::view::{Out, View};

/// `out = a · b` over the last two axes: `a` is `[batch.., m, k]`, `b` is `[batch.., k, n]`, `out` is `[batch.., m, n]`.
///
/// Batch axes broadcast: equal ranks, extents equal or 1. All three have one floating or complex type;
/// half-precision types are multiplied and accumulated in `f32`. Any strides will do.
pub fn matmul(a: View<'_>, b: View<'_>, out: Out<'_>) {
    match out.dtype() {
        Dtype::F32 => run::<f32>(a, b, out),
        Dtype::F64 => run::<f64>(a, b, out),
        Dtype::C64 => run::<C64>(a, b, out),
        Dtype::F16 | Dtype::Bf16 => widened(a, b, out),
        other => panic!("matmul needs a floating-point type, not {other}"),
    }
}

fn row_major(shape: &[usize]) -> Vec<isize> {
    let mut strides = vec![1; shape.len()];
    for k in (1..shape.len()).rev() {
        strides[k - 1] = strides[k] * shape[k] as isize;
    }
    strides
}

fn widened(a: View<'_>, b: View<'_>, out: Out<'_>) {
    let widen = |x: &View<'_>| {
        let mut wide = vec![0f32; x.size()];
        // SAFETY: `wide` has as many elements as `x`.
        cast(*x, unsafe { Out::new(wide.as_mut_ptr().cast(), Dtype::F32, x.shape()) });
        wide
    };
    let (wa, wb) = (widen(&a), widen(&b));
    let (sa, sb, so) = (row_major(a.shape()), row_major(b.shape()), row_major(out.shape()));
    let mut product = vec![0f32; out.size()];
    // SAFETY: the vectors live through this block and have the sizes that the shapes say.
    unsafe {
        run::<f32>(
            View::new(wa.as_ptr().cast(), Dtype::F32, a.shape(), &sa),
            View::new(wb.as_ptr().cast(), Dtype::F32, b.shape(), &sb),
            Out::new(product.as_mut_ptr().cast(), Dtype::F32, out.shape()),
        );
        cast(View::new(product.as_ptr().cast(), Dtype::F32, out.shape(), &so), out);
    }
}

fn run<T: Num>(a: View<'_>, b: View<'_>, out: Out<'_>) {
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
        // One `b` for all: the batch becomes rows, if the rows of `a` allow.
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
            };
            // SAFETY: the views vouch for their elements, `out` has room for the product.
            return unsafe { product.run(out.ptr().cast()) };
        }
    }
    let count: usize = batch.iter().product();
    let some = |range: std::ops::Range<usize>| {
        let (mut ia, mut ib) =
            (Odometer::at(la.as_slice(), range.start), Odometer::at(lb.as_slice(), range.start));
        for i in range {
            let pa = a.ptr().cast::<T>().wrapping_offset(ia.offset());
            let pb = b.ptr().cast::<T>().wrapping_offset(ib.offset());
            let product = Product { m, n, k, a: (pa, sa), b: (pb, sb), row: n };
            // SAFETY: as above; each product writes its own part of `out`.
            unsafe { product.run(out.ptr().cast::<T>().add(i * m * n)) };
            ia.step();
            ib.step();
        }
    };
    let each = m * n * k;
    if count == 1 || each >= 4 * PART {
        return some(0..count); // large ones are split one by one
    }
    let parts = (count * each / PART).clamp(1, 16.min(count));
    let step = count.div_ceil(parts);
    parallel(count.div_ceil(step), &|i| some(i * step..((i + 1) * step).min(count)));
}

/// Multiplications that are worth a part of their own: some tens of microseconds.
const PART: usize = 1 << 20;

/// One product of matrices: their extents, addresses and (row, column) strides.
struct Product<T> {
    m: usize,
    n: usize,
    k: usize,
    a: (*const T, (isize, isize)),
    b: (*const T, (isize, isize)),
    /// Elements between rows of the result.
    row: usize,
}

/// A matrix to write, on its way to another thread.
struct Target<T>(*mut T);
// SAFETY: every thread writes a part of its own.
unsafe impl<T> Sync for Target<T> {}
// SAFETY: the fields only tell where to read, which is sound from any thread.
unsafe impl<T> Sync for Product<T> {}

impl<T: Num> Product<T> {
    /// Computes the product at `out`, large ones in parts. The split depends on the extents alone.
    ///
    /// # Safety
    /// The elements that the fields describe can be read, `m` rows of `n` written at `out`.
    unsafe fn run(&self, out: *mut T) {
        let &Self { m, n, k, .. } = self;
        // SAFETY: the caller's contract.
        if (n == 1 || m == 1) && m * n * k >= 256 && unsafe { self.by_vector(out) } {
            return;
        }
        let parts = (m * n * k / PART).clamp(1, 8);
        if parts < 2 || m.max(n) < 64 {
            // SAFETY: the caller's contract.
            return unsafe { self.whole(out) };
        }
        let target = Target(out);
        let target = &target;
        // Blocks of rows or of columns, whichever there are more of, in multiples of the kernel's registers.
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
            unsafe { part.whole(target.0.add(shift)) };
        });
    }

    /// A matrix times a vector, from either side, if the matrix is contiguous one way: one pass over its memory.
    /// False if it is not, or for types that have no kernel of their own.
    ///
    /// # Safety
    /// As for [`Product::run`].
    unsafe fn by_vector(&self, out: *mut T) -> bool {
        let &Self { m, n, k, a: (a, (ar, ac)), b: (b, (br, bc)), row } = self;
        // The matrix with its (free, summed) strides, and the vector.
        let (matrix, (free, summed), vector, step, len, to) =
            if n == 1 { (a, (ar, ac), b, br, m, row) } else { (b, (bc, br), a, ac, n, 1) };
        // Short rows or columns leave the loops below mostly empty.
        let by_rows = summed == 1 && k >= 32;
        if !by_rows && (free != 1 || len < 16) || to != 1 && len > 1 {
            return false;
        }
        // SAFETY: the caller's contract.
        unsafe {
            match T::DTYPE {
                Dtype::F32 => {
                    let v: Vec<f32> =
                        (0..k).map(|i| *vector.cast::<f32>().offset(i as isize * step)).collect();
                    vector::product(matrix.cast::<f32>(), by_rows, (free, summed), &v, out.cast(), len);
                }
                Dtype::F64 => {
                    let v: Vec<f64> =
                        (0..k).map(|i| *vector.cast::<f64>().offset(i as isize * step)).collect();
                    vector::product(matrix.cast::<f64>(), by_rows, (free, summed), &v, out.cast(), len);
                }
                _ => return false,
            }
        }
        true
    }

    /// Computes the product at `out` on this thread.
    ///
    /// # Safety
    /// As for [`Product::run`].
    unsafe fn whole(&self, out: *mut T) {
        let &Self { m, n, k, a: (a, (ar, ac)), b: (b, (br, bc)), row } = self;
        #[cfg(target_arch = "x86_64")]
        if T::DTYPE == Dtype::F32 && crate::simd::level() == crate::simd::Level::Avx512 {
            use thin::{Strided, WIDTH, pack, product};
            // SAFETY: `T` is `f32`; the caller vouches for the matrices; the level says that AVX-512 is there.
            unsafe {
                let (a, b, out) = (a.cast::<f32>(), b.cast::<f32>(), out.cast::<f32>());
                if (2..WIDTH).contains(&n) && m >= 4 {
                    let packed = pack(b, (br, bc), k, n);
                    let rows = Strided { base: a, outer: ar, inner: ac };
                    return product(
                        rows,
                        m,
                        &packed,
                        n,
                        Strided { base: out, outer: row as isize, inner: 1 },
                    );
                }
                // The same with rows for columns: few rows by contiguous columns, as in `x · wᵀ`.
                if (2..WIDTH).contains(&m) && n >= 4 && br.abs() < bc.abs() {
                    let packed = pack(a, (ac, ar), k, m);
                    let rows = Strided { base: b, outer: bc, inner: br };
                    return product(
                        rows,
                        n,
                        &packed,
                        m,
                        Strided { base: out, outer: 1, inner: row as isize },
                    );
                }
            }
        }
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

/// Products of a matrix and a vector, which wait for memory and nothing else: the matrix is read once, in order.
mod vector {
    use crate::num::Num;
    use crate::pool::parallel;
    use crate::simd::vectorize;

    /// Multiply and add, as one operation where the machine has it.
    pub(super) trait Fused: Num {
        fn fused(self, b: Self, c: Self) -> Self;
    }
    impl Fused for f32 {
        #[inline(always)]
        fn fused(self, b: Self, c: Self) -> Self {
            self.mul_add(b, c)
        }
    }
    impl Fused for f64 {
        #[inline(always)]
        fn fused(self, b: Self, c: Self) -> Self {
            self.mul_add(b, c)
        }
    }

    /// Elements of the matrix that are worth a part of their own.
    const PART: usize = 1 << 16;

    vectorize! {
        fn dot[T: Fused](x: &[T], y: &[T]) -> T {
            let mut acc = [T::ZERO; 64];
            let (mut xs, mut ys) = (x.chunks_exact(64), y.chunks_exact(64));
            for (x, y) in (&mut xs).zip(&mut ys) {
                for ((a, &x), &y) in acc.iter_mut().zip(x).zip(y) {
                    *a = x.fused(y, *a);
                }
            }
            for ((a, &x), &y) in acc.iter_mut().zip(xs.remainder()).zip(ys.remainder()) {
                *a = x.fused(y, *a);
            }
            let mut width = 32;
            while width > 0 {
                let (low, high) = acc.split_at_mut(width);
                for (a, &v) in low.iter_mut().zip(high.iter()) {
                    *a = a.add(v);
                }
                width /= 2;
            }
            acc[0]
        }
    }

    vectorize! {
        fn add_scaled[T: Fused](x: [&[T]; 4], s: [T; 4], acc: &mut [T]) {
            let n = acc.len();
            let (a, b, c, d) = (&x[0][..n], &x[1][..n], &x[2][..n], &x[3][..n]);
            for i in 0..n {
                acc[i] = d[i].fused(s[3], c[i].fused(s[2], b[i].fused(s[1], a[i].fused(s[0], acc[i]))));
            }
        }
    }

    /// A pointer on its way to another thread.
    struct Shared<P>(P);
    // SAFETY: the matrix is only read, and every thread writes results of its own.
    unsafe impl<P> Sync for Shared<P> {}

    /// `out[i] = Σⱼ matrix[i, j] · v[j]` for `len` results; `summed` is 1 if `by_rows`, else `free` is.
    ///
    /// # Safety
    /// The matrix can be read and `len` elements written at `out`.
    pub(super) unsafe fn product<T: Fused>(
        matrix: *const T,
        by_rows: bool,
        (free, summed): (isize, isize),
        v: &[T],
        out: *mut T,
        len: usize,
    ) {
        let k = v.len();
        let (matrix, out) = (Shared(matrix), Shared(out));
        let (matrix, out) = (&matrix, &out);
        let parts = (len * k / PART).clamp(1, 16);
        if by_rows {
            // Rows are contiguous: a dot product each.
            let step = len.div_ceil(parts).next_multiple_of(16);
            parallel(len.div_ceil(step), &|p| {
                for i in p * step..((p + 1) * step).min(len) {
                    // SAFETY: row `i` of the matrix, and result `i`, which this part alone writes.
                    unsafe {
                        let row = std::slice::from_raw_parts(matrix.0.offset(i as isize * free), k);
                        out.0.add(i).write(dot(row, v));
                    }
                }
            });
            return;
        }
        // Columns are contiguous: scaled and added up, in blocks of columns whose sums are added in order.
        let step = k.div_ceil(parts).next_multiple_of(4);
        let count = k.div_ceil(step);
        let mut sums = vec![T::ZERO; count * len];
        let target = Shared(sums.as_mut_ptr());
        let target = &target;
        parallel(count, &|p| {
            // SAFETY: sums `p`, which this part alone uses.
            let acc = unsafe { std::slice::from_raw_parts_mut(target.0.add(p * len), len) };
            // SAFETY: column `j` of the matrix: `len` contiguous elements.
            let column =
                |j: usize| unsafe { std::slice::from_raw_parts(matrix.0.offset(j as isize * summed), len) };
            let (from, to) = (p * step, ((p + 1) * step).min(k));
            let mut j = from;
            while j + 4 <= to {
                let four = [j, j + 1, j + 2, j + 3];
                add_scaled(four.map(column), four.map(|j| v[j]), acc);
                j += 4;
            }
            for (j, &scale) in (j..to).zip(&v[j..to]) {
                for (a, &x) in acc.iter_mut().zip(column(j)) {
                    *a = x.fused(scale, *a);
                }
            }
        });
        for i in 0..len {
            let sum = (1..count).fold(sums[i], |s, p| s.add(sums[p * len + i]));
            // SAFETY: the caller's contract.
            unsafe { out.0.add(i).write(sum) };
        }
    }
}

/// Products with fewer columns than a register has lanes, where a general kernel wastes most of its work.
#[cfg(target_arch = "x86_64")]
mod thin {
    use std::arch::x86_64::*;

    /// Columns of the kernel: the lanes of one register.
    pub(super) const WIDTH: usize = 16;

    /// A matrix in memory; `outer` is the stride of its rows, `inner` that of its columns.
    #[derive(Clone, Copy)]
    pub(super) struct Strided<P> {
        pub(super) base: P,
        pub(super) outer: isize,
        pub(super) inner: isize,
    }

    /// The `n` columns of a `k`-row matrix side by side, filled up with zeros.
    ///
    /// # Safety
    /// The matrix can be read.
    pub(super) unsafe fn pack(
        b: *const f32,
        (row, column): (isize, isize),
        k: usize,
        n: usize,
    ) -> Vec<[f32; WIDTH]> {
        let mut packed = vec![[0.0; WIDTH]; k];
        for (p, line) in packed.iter_mut().enumerate() {
            for (j, v) in line[..n].iter_mut().enumerate() {
                // SAFETY: the caller's contract.
                *v = unsafe { *b.offset(p as isize * row + j as isize * column) };
            }
        }
        packed
    }

    /// `out = a · packed` for `n` columns.
    ///
    /// # Safety
    /// `m` rows of `a`, as long as `packed`, can be read, and `m` rows of `n` written at `out`.
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn product(
        a: Strided<*const f32>,
        m: usize,
        packed: &[[f32; WIDTH]],
        n: usize,
        out: Strided<*mut f32>,
    ) {
        let mut i = 0;
        // SAFETY: the caller's contract.
        unsafe {
            while i + 8 <= m {
                rows::<8>(a, i, packed, n, out);
                i += 8;
            }
            while i < m {
                rows::<1>(a, i, packed, n, out);
                i += 1;
            }
        }
    }

    /// Rows `i .. i + R` of the product, each with its accumulator.
    ///
    /// # Safety
    /// As for [`product`], with these rows among the `m`.
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn rows<const R: usize>(
        a: Strided<*const f32>,
        i: usize,
        packed: &[[f32; WIDTH]],
        n: usize,
        out: Strided<*mut f32>,
    ) {
        let mut acc = [_mm512_setzero_ps(); R];
        // SAFETY: the caller's contract.
        unsafe {
            let base: [*const f32; R] = std::array::from_fn(|r| a.base.offset((i + r) as isize * a.outer));
            for (p, line) in packed.iter().enumerate() {
                let line = _mm512_loadu_ps(line.as_ptr());
                for r in 0..R {
                    let x = _mm512_set1_ps(*base[r].offset(p as isize * a.inner));
                    acc[r] = _mm512_fmadd_ps(x, line, acc[r]);
                }
            }
            for (r, acc) in acc.iter().enumerate() {
                let mut lanes = [0f32; WIDTH];
                _mm512_storeu_ps(lanes.as_mut_ptr(), *acc);
                for (j, &v) in lanes[..n].iter().enumerate() {
                    out.base.offset((i + r) as isize * out.outer + j as isize * out.inner).write(v);
                }
            }
        }
    }
}
