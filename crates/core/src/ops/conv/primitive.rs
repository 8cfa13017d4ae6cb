//! Convolutions.
//!
//! One three-way sum `Σ x · w · y` over an input, a kernel and an output stands behind everything here: [`Convolve`] is
//! the output for an input and a kernel, [`ConvolveWeights`] the kernel for an input and an output, and the input for a
//! kernel and an output is a `Convolve` again, with stride and input dilation exchanged. So the transposes of each are
//! the other two, to any order.

use crate::array::{Array, Aval};
use crate::buffer::Data;
use crate::error::Result;
use crate::ops;
use crate::primitive::{Avals, Batch, Bilinear, Derivative, Param, Params, Primitive, Values};
use crate::shape::Dims;
use crate::shape::Shape;
use covector_kernels as kernels;
use covector_kernels::conv::{Axis, Conv};
use smallvec::smallvec;

/// `x`, `[n, spatial.., c]`, convolved with `w`, `[d, kernel.., c / groups]`.
#[derive(Clone)]
pub(crate) struct Convolve {
    pub(crate) conv: Conv,
    /// The spatial extents of the output, which padding behind the input decides.
    pub(crate) outputs: Shape,
}

/// The kernel whose elements are sums of `x`, `[n, spatial.., c]`, times `y`, `[n, outputs.., d]`.
#[derive(Clone)]
pub(crate) struct ConvolveWeights {
    pub(crate) conv: Conv,
    /// The spatial extents of the kernel.
    pub(crate) kernel: Shape,
}

/// The spatial extents: those between the batch and the channels.
pub(crate) fn spatial(x: &Array) -> &[usize] {
    &x.shape()[1..x.ndim() - 1]
}

fn last(x: &Array) -> usize {
    x.shape()[x.ndim() - 1]
}

fn shape_of(first: usize, spatial: &[usize], last: usize) -> Shape {
    let mut shape: Shape = smallvec![first];
    shape.extend_from_slice(spatial);
    shape.push(last);
    shape
}

fn put_params(conv: &Conv, params: &mut Params<'_>) {
    let each = |f: fn(&Axis) -> usize| conv.axes.iter().map(f).collect::<Dims>();
    let padding: Vec<isize> = conv.axes.iter().map(|a| a.padding).collect();
    params.put("stride", Param::Ints(&each(|a| a.stride)));
    params.put("padding", Param::Signed(&padding));
    params.put("kernel_dilation", Param::Ints(&each(|a| a.kernel_dilation)));
    params.put("input_dilation", Param::Ints(&each(|a| a.input_dilation)));
    params.put("groups", Param::Int(conv.groups as i64));
    params.put("flip", Param::Int(i64::from(conv.flip)));
}

/// Operations of the three-way sum for a kernel `w` and an output `y`, those with padding included and those with the
/// zeros between dilated inputs not.
fn flops(conv: &Conv, w: &[usize], y: &[usize]) -> u64 {
    let dilation: usize = conv.axes.iter().map(|a| a.input_dilation).product();
    let taps: usize = w[1..].iter().product();
    2 * (y.iter().product::<usize>() * taps / dilation.max(1)) as u64
}

/// The cotangent of `x` for that of the output: every output's cotangent goes back to where its taps were.
fn input_cotangent(conv: &Conv, ct: &Array, w: &Array, x: &Array) -> Result<Array> {
    let axes = conv.axes.iter().zip(spatial(w)).map(|(a, &k)| Axis {
        stride: a.input_dilation,
        padding: (k as isize - 1) * a.kernel_dilation as isize - a.padding,
        kernel_dilation: a.kernel_dilation,
        input_dilation: a.stride,
    });
    let back = Conv { axes: axes.collect(), groups: conv.groups, flip: !conv.flip };
    // Input and output channels of each group change places.
    let (rank, groups) = (w.ndim(), conv.groups);
    let swapped = if groups == 1 {
        ops::try_swapaxes(w, 0, -1)?
    } else {
        let mut split: Shape = smallvec![groups, w.shape()[0] / groups];
        split.extend_from_slice(&w.shape()[1..]);
        let grouped = ops::try_swapaxes(&ops::reshape_to(w, &split)?, 1, -1)?;
        ops::reshape_to(&grouped, &shape_of(groups * last(w), spatial(w), w.shape()[0] / groups))?
    };
    debug_assert_eq!(swapped.ndim(), rank);
    convolve(back, Shape::from_slice(spatial(x)), ct, &swapped)
}

/// Applies a [`Convolve`].
pub(crate) fn convolve(conv: Conv, outputs: Shape, x: &Array, w: &Array) -> Result<Array> {
    Array::apply(Convolve { conv, outputs }, smallvec![x.clone(), w.clone()])
}

impl ConvolveWeights {
    fn apply(&self, x: &Array, y: &Array) -> Result<Array> {
        Array::apply(self.clone(), smallvec![x.clone(), y.clone()])
    }
}

/// An array `[batch, n, spatial.., groups · c]` as `[n, spatial.., groups · batch · c]`: the batch among the channels.
fn batch_in_channels(x: &Array, groups: usize) -> Result<Array> {
    let (rank, c) = (x.ndim(), last(x) / groups);
    let mut split = Shape::from_slice(&x.shape()[..rank - 1]);
    split.extend([groups, c]);
    // [batch, n, spatial.., groups, c] → [n, spatial.., groups, batch, c]
    let mut order: Dims = (1..rank).collect();
    order.extend([0, rank]);
    let moved = ops::permute(&ops::reshape_to(x, &split)?, order)?;
    let mut merged = Shape::from_slice(&x.shape()[1..rank - 1]);
    merged.push(x.shape()[0] * last(x));
    ops::reshape_to(&moved, &merged)
}

/// The other way: `[n, spatial.., groups · batch · c]` as `[batch, n, spatial.., groups · c]`.
fn batch_from_channels(x: &Array, groups: usize, batch: usize, c: usize) -> Result<Array> {
    let rank = x.ndim();
    let mut split = Shape::from_slice(&x.shape()[..rank - 1]);
    split.extend([groups, batch, c]);
    let mut order: Dims = smallvec![rank];
    order.extend(0..rank);
    order.push(rank + 1);
    let moved = ops::permute(&ops::reshape_to(x, &split)?, order)?;
    let mut merged: Shape = smallvec![batch];
    merged.extend_from_slice(&x.shape()[..rank - 1]);
    merged.push(groups * c);
    ops::reshape_to(&moved, &merged)
}

/// `[batch, groups · d, ..]` as `[groups · batch · d, ..]`.
fn batch_in_first(w: &Array, groups: usize) -> Result<Array> {
    let (batch, all) = (w.shape()[0], w.shape()[1]);
    let mut split: Shape = smallvec![batch, groups, all / groups];
    split.extend_from_slice(&w.shape()[2..]);
    let moved = ops::try_swapaxes(&ops::reshape_to(w, &split)?, 0, 1)?;
    let mut merged: Shape = smallvec![batch * all];
    merged.extend_from_slice(&w.shape()[2..]);
    ops::reshape_to(&moved, &merged)
}

/// `[groups · batch · d, ..]` as `[batch, groups · d, ..]`.
fn batch_from_first(w: &Array, groups: usize, batch: usize, d: usize) -> Result<Array> {
    let mut split: Shape = smallvec![groups, batch, d];
    split.extend_from_slice(&w.shape()[1..]);
    let moved = ops::try_swapaxes(&ops::reshape_to(w, &split)?, 0, 1)?;
    let mut merged: Shape = smallvec![batch, groups * d];
    merged.extend_from_slice(&w.shape()[1..]);
    ops::reshape_to(&moved, &merged)
}

/// `[batch, n, ..]` as `[batch · n, ..]`.
fn batch_in_images(x: &Array) -> Result<Array> {
    let mut merged: Shape = smallvec![x.shape()[0] * x.shape()[1]];
    merged.extend_from_slice(&x.shape()[2..]);
    ops::reshape_to(x, &merged)
}

impl Primitive for Convolve {
    fn name(&self) -> &'static str {
        "conv"
    }
    fn infer(&self, inputs: &[Array]) -> Result<Avals> {
        let (x, w) = (&inputs[0], &inputs[1]);
        let shape = shape_of(x.shape()[0], &self.outputs, w.shape()[0]);
        Ok(smallvec![Aval { dtype: x.dtype(), shape }])
    }
    fn derivative(&self) -> Derivative<'_> {
        Derivative::Bilinear(self)
    }
    fn batch(&self, batch: &Batch<'_>) -> Result<Vec<Array>> {
        let (x, w, size, groups) = (&batch.inputs[0], &batch.inputs[1], batch.size, self.conv.groups);
        Ok(vec![match (batch.batched[0], batch.batched[1]) {
            (true, false) => {
                let y = convolve(self.conv.clone(), self.outputs.clone(), &batch_in_images(x)?, w)?;
                let mut shape: Shape = smallvec![size, x.shape()[1]];
                shape.extend_from_slice(&y.shape()[1..]);
                ops::reshape_to(&y, &shape)?
            }
            (false, _) => {
                // Each group sees its channels with more kernels.
                let y = convolve(self.conv.clone(), self.outputs.clone(), x, &batch_in_first(w, groups)?)?;
                batch_from_channels(&y, groups, size, w.shape()[1] / groups)?
            }
            (true, true) => {
                // One group more per element of the batch.
                let conv = Conv { groups: groups * size.max(1), ..self.conv.clone() };
                let y =
                    convolve(conv, self.outputs.clone(), &batch_in_channels(x, 1)?, &batch_in_images(w)?)?;
                batch_from_channels(&y, 1, size, w.shape()[1])?
            }
        }])
    }
    fn eval(&self, inputs: Values, outs: &[Aval]) -> Result<Values> {
        let mut out = Data::alloc("conv", outs[0].dtype, &outs[0].shape)?;
        kernels::conv::conv(&self.conv, inputs[0].view(), inputs[1].view(), out.out());
        Ok(smallvec![out])
    }
    fn params(&self, params: &mut Params<'_>) {
        put_params(&self.conv, params);
        params.put("outputs", Param::Ints(&self.outputs));
    }
    fn flops(&self, inputs: &[&[usize]], outs: &[Aval]) -> u64 {
        flops(&self.conv, inputs[1], &outs[0].shape)
    }
}

impl Bilinear for Convolve {
    fn transpose(&self, i: usize, ct: &Array, x: &[Array]) -> Result<Array> {
        if i == 0 {
            return input_cotangent(&self.conv, ct, &x[1], &x[0]);
        }
        let kernel = Shape::from_slice(spatial(&x[1]));
        ConvolveWeights { conv: self.conv.clone(), kernel }.apply(&x[0], ct)
    }
}

impl Primitive for ConvolveWeights {
    fn name(&self) -> &'static str {
        "conv_weights"
    }
    fn infer(&self, inputs: &[Array]) -> Result<Avals> {
        let (x, y) = (&inputs[0], &inputs[1]);
        let shape = shape_of(last(y), &self.kernel, last(x) / self.conv.groups);
        Ok(smallvec![Aval { dtype: x.dtype(), shape }])
    }
    fn derivative(&self) -> Derivative<'_> {
        Derivative::Bilinear(self)
    }
    fn batch(&self, batch: &Batch<'_>) -> Result<Vec<Array>> {
        let (x, y, size, groups) = (&batch.inputs[0], &batch.inputs[1], batch.size, self.conv.groups);
        Ok(vec![match (batch.batched[0], batch.batched[1]) {
            (true, false) => {
                // More input channels for each group: [d, kernel.., batch · c / groups].
                let w = self.apply(&batch_in_channels(x, groups)?, y)?;
                batch_from_channels(&w, 1, size, last(x) / groups)?
            }
            (false, _) => {
                let w = self.apply(x, &batch_in_channels(y, groups)?)?;
                batch_from_first(&w, groups, size, last(y) / groups)?
            }
            (true, true) => {
                let mut weights = self.clone();
                weights.conv.groups = groups * size.max(1);
                let w = weights.apply(&batch_in_channels(x, 1)?, &batch_in_channels(y, 1)?)?;
                let mut shape: Shape = smallvec![size];
                shape.extend(shape_of(last(y), &self.kernel, last(x) / groups));
                ops::reshape_to(&w, &shape)?
            }
        }])
    }
    fn eval(&self, inputs: Values, outs: &[Aval]) -> Result<Values> {
        let mut out = Data::alloc("conv_weights", outs[0].dtype, &outs[0].shape)?;
        // The kernel would copy a broadcast cotangent, as that of a sum is, to memory of its own.
        let y = inputs[1].row_major("conv_weights")?;
        kernels::conv::conv_weights(&self.conv, inputs[0].view(), y.view(), out.out());
        Ok(smallvec![out])
    }
    fn params(&self, params: &mut Params<'_>) {
        put_params(&self.conv, params);
        params.put("kernel", Param::Ints(&self.kernel));
    }
    fn flops(&self, inputs: &[&[usize]], outs: &[Aval]) -> u64 {
        flops(&self.conv, &outs[0].shape, inputs[1])
    }
}

impl Bilinear for ConvolveWeights {
    fn transpose(&self, i: usize, ct: &Array, x: &[Array]) -> Result<Array> {
        if i == 0 {
            return input_cotangent(&self.conv, &x[1], ct, &x[0]);
        }
        convolve(self.conv.clone(), Shape::from_slice(spatial(&x[1])), &x[0], ct)
    }
}
