//! Convolution. Channels are the last axis: inputs are `[n, spatial.., c]` with one to three spatial axes.

pub(crate) mod primitive;

use crate::array::Array;
use crate::error::{Error, Result};
use crate::ops;
use crate::ops::block::op;
use crate::ops::conv::primitive::convolve;
use crate::ops::spec::Positive;
use crate::shape::{Shape, ShapeText};
use covector_kernels::conv::{Axis, Conv};
use smallvec::smallvec;

/// The options of [`conv_general`]; each list has one number for all spatial axes, or one for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConvOptions<'a> {
    /// Steps of the kernel over the input.
    pub stride: &'a [usize],
    /// Zeros in front of the input; if negative, elements cut off.
    pub padding_low: &'a [isize],
    /// The same behind the input.
    pub padding_high: &'a [isize],
    /// Steps from one element of the kernel to the next.
    pub kernel_dilation: &'a [usize],
    /// Steps from one element of the input to the next, with zeros between them.
    pub input_dilation: &'a [usize],
    /// Groups of channels that do not see each other.
    pub groups: usize,
    /// Whether the kernel is read backwards, as the mathematical convolution does.
    pub flip: bool,
}

impl Default for ConvOptions<'_> {
    fn default() -> Self {
        Self {
            stride: &[1],
            padding_low: &[0],
            padding_high: &[0],
            kernel_dilation: &[1],
            input_dilation: &[1],
            groups: 1,
            flip: false,
        }
    }
}

/// `values` for each of `n` axes.
fn each<T: Copy + std::fmt::Debug>(op: &'static str, name: &str, values: &[T], n: usize) -> Result<Vec<T>> {
    match values {
        &[all] => Ok(vec![all; n]),
        _ if values.len() == n => Ok(values.to_vec()),
        _ => Err(Error::value(
            op,
            format!("{name} {values:?} does not suit {n} spatial axes; give one number, or {n}"),
        )),
    }
}

pub(super) fn check_positive(op: &'static str, name: &str, values: &[usize]) -> Result<()> {
    if values.contains(&0) {
        return Err(Error::value(op, format!("{name} {values:?} must be positive")));
    }
    Ok(())
}

/// The convolution under the name of the public operation that was called.
fn general(op: &'static str, x: &Array, weight: &Array, options: &ConvOptions<'_>) -> Result<Array> {
    let dtype = crate::dtype::promote(x.dtype(), weight.dtype());
    if !x.dtype().is_inexact() || !dtype.is_inexact() {
        return Err(Error::dtype(
            op,
            format!(
                "the input is {} and the weight {}; only floating-point and complex arrays are convolved. Convert \
                 with astype",
                x.dtype(),
                weight.dtype()
            ),
        ));
    }
    if !(3..=5).contains(&x.ndim()) {
        return Err(Error::shape(
            op,
            format!(
                "the input has the shape {}; it must have one to three spatial axes between the batch and the \
                 channels: (N, …, C_in)",
                ShapeText(x.shape())
            ),
        ));
    }
    let n = x.ndim() - 2;
    if weight.ndim() != x.ndim() {
        return Err(Error::shape(
            op,
            format!(
                "the weight of shape {} does not suit the input of shape {}; it must have as many axes: \
                 (C_out, …, C_in / groups)",
                ShapeText(weight.shape()),
                ShapeText(x.shape())
            ),
        ));
    }
    let (stride, low) =
        (each(op, "stride", options.stride, n)?, each(op, "padding", options.padding_low, n)?);
    let high = each(op, "padding", options.padding_high, n)?;
    let kernel_dilation = each(op, "kernel dilation", options.kernel_dilation, n)?;
    let input_dilation = each(op, "input dilation", options.input_dilation, n)?;
    check_positive(op, "stride", &stride)?;
    check_positive(op, "kernel dilation", &kernel_dilation)?;
    check_positive(op, "input dilation", &input_dilation)?;
    check_positive(op, "groups", &[options.groups])?;
    let (groups, c, d) = (options.groups, x.shape()[n + 1], weight.shape()[0]);
    if weight.shape()[n + 1].checked_mul(groups) != Some(c) {
        return Err(Error::shape(
            op,
            format!(
                "a weight of shape {} with {groups} groups takes {} input channels, but the input of shape {} has {c}",
                ShapeText(weight.shape()),
                weight.shape()[n + 1].saturating_mul(groups),
                ShapeText(x.shape())
            ),
        ));
    }
    if d % groups != 0 {
        return Err(Error::shape(
            op,
            format!(
                "{d} output channels do not divide into {groups} groups; make them a multiple of {groups}"
            ),
        ));
    }
    let too_large = |k: usize| {
        Error::value(
            op,
            format!("stride, padding or dilation of spatial axis {k} is too large to be addressed"),
        )
    };
    let (mut axes, mut outputs) = (Vec::with_capacity(n), Shape::new());
    for k in 0..n {
        let (size, taps) = (x.shape()[k + 1], weight.shape()[k + 1]);
        if taps == 0 {
            return Err(Error::shape(
                op,
                format!(
                    "the weight of shape {} has no elements on axis {}",
                    ShapeText(weight.shape()),
                    k + 1
                ),
            ));
        }
        let spread = |n: usize, by: usize| (n - 1).checked_mul(by)?.checked_add(1)?.try_into().ok();
        let limit = |v: isize| Some(v).filter(|v| v.unsigned_abs() <= isize::MAX as usize / 8);
        let all = || -> Option<(isize, isize)> {
            let dilated: isize = if size == 0 { 0 } else { limit(spread(size, input_dilation[k])?)? };
            let span = limit(spread(taps, kernel_dilation[k])?)?;
            Some((dilated + limit(low[k])? + limit(high[k])?, span))
        };
        let (length, span) = all().ok_or_else(|| too_large(k))?;
        isize::try_from(stride[k]).map_err(|_| too_large(k))?;
        if length < span {
            return Err(Error::shape(
                op,
                format!(
                    "the kernel covers {span} positions of spatial axis {k}, but the input of shape {} has {} there \
                     with its padding; pad it more or make the kernel smaller",
                    ShapeText(x.shape()),
                    length.max(0)
                ),
            ));
        }
        outputs.push((length - span) as usize / stride[k] + 1);
        axes.push(Axis {
            stride: stride[k],
            padding: low[k],
            kernel_dilation: kernel_dilation[k],
            input_dilation: input_dilation[k],
        });
    }
    let mut shape: Shape = smallvec![x.shape()[0]];
    shape.extend_from_slice(&outputs);
    shape.push(d);
    crate::shape::checked_size(op, &shape)?;
    let (x, weight) = (ops::to_dtype(x, dtype), ops::to_dtype(weight, dtype));
    convolve(Conv { axes, groups, flip: options.flip }, outputs, &x, &weight)
}

/// Refuses inputs that do not have `n` spatial axes.
pub(super) fn spatial(op: &'static str, x: &Array, n: usize) -> Result<()> {
    if x.ndim() == n + 2 {
        return Ok(());
    }
    Err(Error::shape(
        op,
        format!(
            "the input has the shape {}; it must have {} axes: the batch, {n} spatial, and the channels last",
            ShapeText(x.shape()),
            n + 2
        ),
    ))
}

/// The options that the operations for a fixed number of axes have in common.
fn plain<'a>(
    stride: &'a [usize],
    padding: &'a [isize],
    dilation: &'a [usize],
    groups: usize,
) -> ConvOptions<'a> {
    ConvOptions {
        stride,
        padding_low: padding,
        padding_high: padding,
        kernel_dilation: dilation,
        groups,
        ..ConvOptions::default()
    }
}

/// The convolution whose gradient in its input is a convolution with these options.
fn transposed(
    op: &'static str,
    x: &Array,
    weight: &Array,
    forward: &ConvOptions<'_>,
    output_padding: &[isize],
) -> Result<Array> {
    check_positive(op, "stride", forward.stride)?;
    let n = forward.stride.len();
    let (mut low, mut high) = (Vec::with_capacity(n), Vec::with_capacity(n));
    for (k, &behind) in output_padding.iter().enumerate().take(n) {
        let taps = weight.shape().get(k + 1).copied().unwrap_or(1).max(1);
        let span =
            isize::try_from((taps - 1).saturating_mul(forward.kernel_dilation[k])).unwrap_or(isize::MAX);
        low.push(span.saturating_sub(forward.padding_low[k]));
        high.push(low[k].saturating_add(behind));
    }
    let options = ConvOptions {
        stride: &[1],
        padding_low: &low,
        padding_high: &high,
        kernel_dilation: forward.kernel_dilation,
        input_dilation: forward.stride,
        groups: forward.groups,
        flip: true,
    };
    general(op, x, weight, &options)
}

op! {
    /// The 1-D convolution of `input`, `(N, L, C_in)`, with `weight`, `(C_out, K, C_in / groups)`.
    ///
    /// The kernel is not flipped, as usual in machine learning: it is a cross-correlation. `stride` is the step of the
    /// kernel over the input, `padding` the number of zeros added on both sides, `dilation` the step from one element of
    /// the kernel to the next. Channels of different `groups` do not see each other.
    pub fn conv1d / try_conv1d(x: &Array, weight: &Array, stride: usize, padding: isize, dilation: usize, groups: usize)
    python conv1d(input: Array, weight: Array, /, stride: Positive = 1, padding: isize = 0, dilation: Positive = 1, groups: Positive = 1, *)
    samples {
        [real([2, 5, 2]), real([3, 2, 2])] |x, y| try_conv1d(x, y, 2, 1, 1, 1);
    }
    {
        spatial("conv1d", x, 1)?;
        general("conv1d", x, weight, &plain(&[stride], &[padding], &[dilation], groups))
    }

    /// The 2-D convolution of `input`, `(N, H, W, C_in)`, with `weight`, `(C_out, KH, KW, C_in / groups)`; see [`conv1d`].
    /// Stride, padding and dilation are one number for each spatial axis.
    pub fn conv2d / try_conv2d(x: &Array, weight: &Array, stride: [usize; 2], padding: [isize; 2], dilation: [usize; 2], groups: usize)
    python conv2d(input: Array, weight: Array, /, stride: [usize; 2] = 1, padding: [isize; 2] = 0, dilation: [usize; 2] = 1, groups: Positive = 1, *)
    samples {
        [real([2, 4, 3, 2]), real([3, 2, 3, 2])] |x, y| try_conv2d(x, y, [1, 1], [1, 1], [1, 1], 1);
        [real([1, 5, 4, 4]), real([4, 2, 2, 2])] |x, y| try_conv2d(x, y, [2, 1], [0, -1], [1, 1], 2);
    }
    {
        spatial("conv2d", x, 2)?;
        general("conv2d", x, weight, &plain(&stride, &padding, &dilation, groups))
    }

    /// The 3-D convolution of `input`, `(N, D, H, W, C_in)`, with `weight`, `(C_out, KD, KH, KW, C_in / groups)`; see
    /// [`conv2d`].
    pub fn conv3d / try_conv3d(x: &Array, weight: &Array, stride: [usize; 3], padding: [isize; 3], dilation: [usize; 3], groups: usize)
    python conv3d(input: Array, weight: Array, /, stride: [usize; 3] = 1, padding: [isize; 3] = 0, dilation: [usize; 3] = 1, groups: Positive = 1, *)
    samples {
        [real([1, 3, 2, 2, 2]), real([2, 2, 1, 2, 2])] |x, y| try_conv3d(x, y, [1, 1, 2], [0, 0, 1], [2, 1, 1], 1);
    }
    {
        spatial("conv3d", x, 3)?;
        general("conv3d", x, weight, &plain(&stride, &padding, &dilation, groups))
    }

    /// The transposed 1-D convolution: it does with `input`, `(N, L, C_in)`, and `weight`, `(C_out, K, C_in / groups)`, what
    /// the gradient of a strided [`conv1d`] does.
    ///
    /// `stride` is the step of the output from one element of the input to the next, `padding` the number of elements cut
    /// off the output on both sides, `output_padding` the number added behind it.
    pub fn conv_transpose1d / try_conv_transpose1d(x: &Array, weight: &Array, stride: usize, padding: isize, dilation: usize, output_padding: isize, groups: usize)
    python conv_transpose1d(input: Array, weight: Array, /, stride: Positive = 1, padding: isize = 0, dilation: Positive = 1, output_padding: isize = 0, groups: Positive = 1, *)
    samples {
        [real([1, 3, 2]), real([2, 3, 1])] |x, y| try_conv_transpose1d(x, y, 2, 1, 1, 1, 2);
    }
    {
        spatial("conv_transpose1d", x, 1)?;
        let forward = plain(std::slice::from_ref(&stride), std::slice::from_ref(&padding), std::slice::from_ref(&dilation), groups);
        transposed("conv_transpose1d", x, weight, &forward, &[output_padding])
    }

    /// The transposed 2-D convolution of `input`, `(N, H, W, C_in)`, with `weight`, `(C_out, KH, KW, C_in / groups)`; see
    /// [`conv_transpose1d`].
    pub fn conv_transpose2d / try_conv_transpose2d(x: &Array, weight: &Array, stride: [usize; 2], padding: [isize; 2], dilation: [usize; 2], output_padding: [isize; 2], groups: usize)
    python conv_transpose2d(input: Array, weight: Array, /, stride: [usize; 2] = 1, padding: [isize; 2] = 0, dilation: [usize; 2] = 1, output_padding: [isize; 2] = 0, groups: Positive = 1, *)
    samples {
        [real([1, 2, 2, 2]), real([1, 2, 3, 2])] |x, y| try_conv_transpose2d(x, y, [2, 3], [0, 1], [1, 1], [1, 0], 1);
    }
    {
        spatial("conv_transpose2d", x, 2)?;
        transposed("conv_transpose2d", x, weight, &plain(&stride, &padding, &dilation, groups), &output_padding)
    }

    /// The transposed 3-D convolution of `input`, `(N, D, H, W, C_in)`; see [`conv_transpose1d`].
    pub fn conv_transpose3d / try_conv_transpose3d(x: &Array, weight: &Array, stride: [usize; 3], padding: [isize; 3], dilation: [usize; 3], output_padding: [isize; 3], groups: usize)
    python conv_transpose3d(input: Array, weight: Array, /, stride: [usize; 3] = 1, padding: [isize; 3] = 0, dilation: [usize; 3] = 1, output_padding: [isize; 3] = 0, groups: Positive = 1, *)
    samples {
        [real([1, 1, 2, 2, 1]), real([1, 2, 1, 2, 1])] |x, y| {
            try_conv_transpose3d(x, y, [1, 1, 2], [0; 3], [1, 1, 2], [0; 3], 1)
        };
    }
    {
        spatial("conv_transpose3d", x, 3)?;
        transposed("conv_transpose3d", x, weight, &plain(&stride, &padding, &dilation, groups), &output_padding)
    }

    /// The convolution of `[n, spatial.., c]` with `[d, kernel.., c / groups]`, with all its options.
    ///
    /// ```
    /// use covector_core::{Array, ops::{ConvOptions, conv_general}};
    /// let x = Array::new([[[1.0f32], [2.0], [3.0]]]);
    /// let w = Array::new([[[1.0f32], [10.0]]]);
    /// let same = ConvOptions { padding_high: &[1], ..ConvOptions::default() };
    /// assert_eq!(conv_general(&x, &w, &same).to_vec::<f32>(), [21.0, 32.0, 3.0]);
    /// ```
    pub fn conv_general / try_conv_general(x: &Array, weight: &Array, options: &ConvOptions<'_>)
    samples {
        [real([2, 4, 4]), real([2, 2, 2])] |x, y| {
            let options = ConvOptions {
                stride: &[2],
                padding_low: &[3],
                padding_high: &[1],
                kernel_dilation: &[2],
                input_dilation: &[3],
                groups: 2,
                flip: true,
            };
            try_conv_general(x, y, &options)
        };
    }
    {
        general("conv_general", x, weight, options)
    }
}
