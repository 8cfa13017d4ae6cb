//! Matrix products.

use crate::dtype::{C64, Dtype};
use crate::loader::{Axes, Odometer};
use crate::map::cast;
use crate::num::Num;
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
    let batch = &out.shape()[..rank - 2];
    let layout = |x: &View<'_>| {
        let mut axes = Axes::new();
        for i in (0..rank - 2).rev() {
            axes.push_apart(batch[i], if x.shape()[i] == 1 { 0 } else { x.strides()[i] });
        }
        axes
    };
    let (la, lb) = (layout(&a), layout(&b));
    let (mut ia, mut ib) = (Odometer::new(la.as_slice()), Odometer::new(lb.as_slice()));
    let steps = |x: &View<'_>| (x.strides()[rank - 2], x.strides()[rank - 1]);
    let ((ar, ac), (br, bc)) = (steps(&a), steps(&b));
    for i in 0..batch.iter().product::<usize>() {
        // SAFETY: the views vouch for their elements, `out` has room for each product.
        unsafe {
            gemm::gemm(
                m,
                n,
                k,
                out.ptr().cast::<T>().add(i * m * n),
                1,
                n as isize,
                false,
                a.ptr().cast::<T>().offset(ia.offset()),
                ac,
                ar,
                b.ptr().cast::<T>().offset(ib.offset()),
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
        ia.step();
        ib.step();
    }
}
