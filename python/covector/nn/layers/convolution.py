"""Convolutions; channels are the last axis."""

from __future__ import annotations

import math
from typing import Any

import covector.core as mx
from covector.nn.layers._checks import size, sizes
from covector.nn.layers.base import Module

__all__ = ["Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"]


class _Conv(Module):
    """What all convolutions have in common: a weight ``(out, *kernel, in / groups)`` and perhaps a bias."""

    _axes: int

    def _draw(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        bias: bool,
        *,
        groups: int = 1,
        stride: Any,
        padding: Any,
        dilation: Any,
        output_padding: Any = None,
    ) -> None:
        """Makes the parameters and keeps the settings, once these are found to make sense."""
        layer = type(self).__name__
        in_channels = size(layer, "in_channels", in_channels)
        out_channels = size(layer, "out_channels", out_channels)
        groups = size(layer, "groups", groups)
        kernel = sizes(layer, "kernel_size", kernel_size, self._axes)
        strides = sizes(layer, "stride", stride, self._axes)
        paddings = sizes(layer, "padding", padding, self._axes, least=0)
        sizes(layer, "dilation", dilation, self._axes)
        behind = sizes(layer, "output_padding", output_padding or 0, self._axes, least=0)
        for side, channels in (("input", in_channels), ("output", out_channels)):
            if channels % groups != 0:
                raise ValueError(
                    f"[{layer}] The number of {side} channels ({channels}) must be divisible "
                    f"by the number of groups ({groups})"
                )
        inputs = in_channels // groups
        scale = math.sqrt(1 / (inputs * math.prod(kernel)))
        self.weight = mx.random.uniform(low=-scale, high=scale, shape=(out_channels, *kernel, inputs))
        if bias:
            self.bias = mx.zeros((out_channels,))
        # Along one axis the settings stay the numbers that they are.
        one = self._axes == 1
        self.padding: Any = padding if one else paddings
        self.stride: Any = stride if one else strides
        self.dilation: Any = dilation
        if output_padding is not None:
            self.output_padding: Any = output_padding if one else behind

    def _repr(self, *names: str) -> str:
        outputs, *kernel, inputs = self.weight.shape
        size = kernel[0] if self._axes == 1 else tuple(kernel)
        options = "".join(f"{name}={getattr(self, name)}, " for name in names)
        inputs *= self.get("groups", 1)
        return f"{inputs}, {outputs}, kernel_size={size}, {options}bias={'bias' in self}"

    def _biased(self, y: mx.array) -> mx.array:
        return y + self.bias if "bias" in self else y


class Conv1d(_Conv):
    """The convolution of sequences ``(N, L, C)`` with kernels, plus a bias.

    The weight is drawn from the uniform distribution between ±√(1 / (inputs of a group · kernel size)); the
    bias starts as zeros.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: The size of the kernels.
        stride: Steps of the kernel over the input.
        padding: Zeros added on both sides.
        dilation: Steps from one element of the kernel to the next.
        groups: Groups of channels that do not see each other.
        bias: Whether there is a bias.
    """

    _axes = 1

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self._draw(
            in_channels,
            out_channels,
            kernel_size,
            bias,
            groups=groups,
            stride=stride,
            padding=padding,
            dilation=dilation,
        )
        self.groups = groups

    def _extra_repr(self) -> str:
        return self._repr("stride", "padding", "dilation", "groups")

    def __call__(self, x: mx.array) -> mx.array:
        return self._biased(mx.conv1d(x, self.weight, self.stride, self.padding, self.dilation, self.groups))


class Conv2d(_Conv):
    """The convolution of images ``(N, H, W, C)`` with kernels, plus a bias.

    The weight is drawn from the uniform distribution between ±√(1 / (inputs of a group · kernel area)); the
    bias starts as zeros.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: The size of the kernels, one number or (height, width).
        stride: Steps of the kernel over the input.
        padding: Zeros added on both sides.
        dilation: Steps from one element of the kernel to the next.
        groups: Groups of channels that do not see each other.
        bias: Whether there is a bias.
    """

    _axes = 2

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self._draw(
            in_channels,
            out_channels,
            kernel_size,
            bias,
            groups=groups,
            stride=stride,
            padding=padding,
            dilation=dilation,
        )
        self.groups = groups

    def _extra_repr(self) -> str:
        return self._repr("stride", "padding", "dilation", "groups")

    def __call__(self, x: mx.array) -> mx.array:
        return self._biased(mx.conv2d(x, self.weight, self.stride, self.padding, self.dilation, self.groups))


class Conv3d(_Conv):
    """The convolution of volumes ``(N, D, H, W, C)`` with kernels, plus a bias. See :class:`Conv2d`.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: The size of the kernels, one number or (depth, height, width).
        stride: Steps of the kernel over the input.
        padding: Zeros added on both sides.
        dilation: Steps from one element of the kernel to the next.
        bias: Whether there is a bias.
    """

    _axes = 3

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int, int],
        stride: int | tuple[int, int, int] = 1,
        padding: int | tuple[int, int, int] = 0,
        dilation: int | tuple[int, int, int] = 1,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self._draw(
            in_channels, out_channels, kernel_size, bias, stride=stride, padding=padding, dilation=dilation
        )

    def _extra_repr(self) -> str:
        return self._repr("stride", "padding", "dilation")

    def __call__(self, x: mx.array) -> mx.array:
        return self._biased(mx.conv3d(x, self.weight, self.stride, self.padding, self.dilation))


class ConvTranspose1d(_Conv):
    """The transposed convolution of sequences ``(N, L, C)``, plus a bias: ``stride`` makes them longer.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: The size of the kernels.
        stride: Steps of the output from one element of the input to the next.
        padding: Elements cut off the output on both sides.
        dilation: Steps from one element of the kernel to the next.
        output_padding: Elements added behind the output.
        bias: Whether there is a bias.
    """

    _axes = 1

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        output_padding: int = 0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self._draw(
            in_channels,
            out_channels,
            kernel_size,
            bias,
            stride=stride,
            padding=padding,
            dilation=dilation,
            output_padding=output_padding,
        )

    def _extra_repr(self) -> str:
        return self._repr("stride", "padding", "dilation", "output_padding")

    def __call__(self, x: mx.array) -> mx.array:
        y = mx.conv_transpose1d(x, self.weight, self.stride, self.padding, self.dilation, self.output_padding)
        return self._biased(y)


class ConvTranspose2d(_Conv):
    """The transposed convolution of images ``(N, H, W, C)``, plus a bias. See :class:`ConvTranspose1d`.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: The size of the kernels, one number or (height, width).
        stride: Steps of the output from one element of the input to the next.
        padding: Elements cut off the output on both sides.
        dilation: Steps from one element of the kernel to the next.
        output_padding: Elements added behind the output.
        bias: Whether there is a bias.
    """

    _axes = 2

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        output_padding: int | tuple[int, int] = 0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self._draw(
            in_channels,
            out_channels,
            kernel_size,
            bias,
            stride=stride,
            padding=padding,
            dilation=dilation,
            output_padding=output_padding,
        )

    def _extra_repr(self) -> str:
        return self._repr("stride", "padding", "dilation", "output_padding")

    def __call__(self, x: mx.array) -> mx.array:
        y = mx.conv_transpose2d(x, self.weight, self.stride, self.padding, self.dilation, self.output_padding)
        return self._biased(y)


class ConvTranspose3d(_Conv):
    """The transposed convolution of volumes ``(N, D, H, W, C)``, plus a bias. See :class:`ConvTranspose1d`.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: The size of the kernels, one number or (depth, height, width).
        stride: Steps of the output from one element of the input to the next.
        padding: Elements cut off the output on both sides.
        dilation: Steps from one element of the kernel to the next.
        output_padding: Elements added behind the output.
        bias: Whether there is a bias.
    """

    _axes = 3

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int, int],
        stride: int | tuple[int, int, int] = 1,
        padding: int | tuple[int, int, int] = 0,
        dilation: int | tuple[int, int, int] = 1,
        output_padding: int | tuple[int, int, int] = 0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self._draw(
            in_channels,
            out_channels,
            kernel_size,
            bias,
            stride=stride,
            padding=padding,
            dilation=dilation,
            output_padding=output_padding,
        )

    def _extra_repr(self) -> str:
        return self._repr("stride", "padding", "dilation", "output_padding")

    def __call__(self, x: mx.array) -> mx.array:
        y = mx.conv_transpose3d(x, self.weight, self.stride, self.padding, self.dilation, self.output_padding)
        return self._biased(y)
