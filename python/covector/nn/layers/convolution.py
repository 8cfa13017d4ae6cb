"""Convolutions; channels are the last axis."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import covector.core as mx
from covector._covector import nn as native
from covector.nn.layers._checks import size, sizes
from covector.nn.layers.base import Module

__all__ = ["Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"]

_Extents = int | tuple[int, ...]


class _Conv(Module):
    """A weight ``(out, *kernel, in / groups)``, an optional bias, and the settings of the native function."""

    _axes: int
    _function: Callable[..., mx.array]
    # The settings that follow stride, padding and dilation.
    _last: tuple[str, ...] = ()

    def _make(
        self, in_channels: int, out_channels: int, kernel_size: Any, bias: bool, **settings: Any
    ) -> None:
        """Checks and stores the settings, and makes the parameters."""
        layer, axes = type(self).__name__, self._axes
        in_channels = size(layer, "in_channels", in_channels)
        out_channels = size(layer, "out_channels", out_channels)
        groups = size(layer, "groups", settings.get("groups", 1))
        kernel = sizes(layer, "kernel_size", kernel_size, axes)
        least = {"padding": 0, "output_padding": 0}
        checked = {
            name: sizes(layer, name, value, axes, least=least.get(name, 1))
            for name, value in settings.items()
            if name != "groups"
        }
        for side, channels in (("input", in_channels), ("output", out_channels)):
            if channels % groups != 0:
                raise ValueError(
                    f"[{layer}] The number of {side} channels ({channels}) must be divisible "
                    f"by the number of groups ({groups})"
                )
        shape = (out_channels, *kernel, in_channels // groups)
        self.weight = native.init_layer_uniform(shape, math.prod(shape[1:]))
        if bias:
            self.bias = mx.zeros((out_channels,))
        for name, value in settings.items():
            # With one axis the settings are plain numbers, and so are settings without axes.
            spread = axes > 1 and name in ("stride", "padding", "output_padding")
            setattr(self, name, checked[name] if spread else value)

    def _settings(self) -> list[str]:
        return ["stride", "padding", "dilation", *self._last]

    def _extra_repr(self) -> str:
        outputs, *kernel, inputs = self.weight.shape
        extents = kernel[0] if self._axes == 1 else tuple(kernel)
        settings = "".join(f"{name}={getattr(self, name)}, " for name in self._settings())
        inputs *= self.groups if "groups" in self._last else 1
        return f"{inputs}, {outputs}, kernel_size={extents}, {settings}bias={'bias' in self}"

    def __call__(self, x: mx.array) -> mx.array:
        y = type(self)._function(x, self.weight, *(getattr(self, name) for name in self._settings()))
        return y + self.bias if "bias" in self else y


class _Grouped(_Conv):
    """A convolution whose channels may be divided into groups."""

    _last = ("groups",)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: _Extents,
        stride: _Extents = 1,
        padding: _Extents = 0,
        dilation: _Extents = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__()
        settings = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        self._make(in_channels, out_channels, kernel_size, bias, **settings)


class _Transposed(_Conv):
    """A transposed convolution."""

    _last = ("output_padding",)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: _Extents,
        stride: _Extents = 1,
        padding: _Extents = 0,
        dilation: _Extents = 1,
        output_padding: _Extents = 0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        settings = {"stride": stride, "padding": padding, "dilation": dilation}
        self._make(in_channels, out_channels, kernel_size, bias, **settings, output_padding=output_padding)


class Conv1d(_Grouped):
    """The convolution of sequences ``(N, L, C)`` with kernels, plus a bias.

    The weight is drawn from the uniform distribution between ±√(1 / (inputs of a group · kernel size)); the
    bias starts as zeros.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: The extents of the kernels: one number, or one for each axis.
        stride: Steps of the kernel over the input.
        padding: Zeros added on both sides.
        dilation: Steps from one element of the kernel to the next.
        groups: The number of groups of channels; an output depends on the inputs of its group only.
        bias: Whether there is a bias.
    """

    _axes = 1
    _function = mx.conv1d


class Conv2d(_Grouped):
    """The convolution of images ``(N, H, W, C)`` with kernels, plus a bias.

    The arguments are those of :class:`Conv1d`; an extent is one number or (height, width).
    """

    _axes = 2
    _function = mx.conv2d


class Conv3d(_Conv):
    """The convolution of volumes ``(N, D, H, W, C)`` with kernels, plus a bias.

    The arguments are those of :class:`Conv1d` without ``groups``; an extent is one number or (depth, height,
    width).
    """

    _axes = 3
    _function = mx.conv3d

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: _Extents,
        stride: _Extents = 1,
        padding: _Extents = 0,
        dilation: _Extents = 1,
        bias: bool = True,
    ) -> None:
        super().__init__()
        settings = {"stride": stride, "padding": padding, "dilation": dilation}
        self._make(in_channels, out_channels, kernel_size, bias, **settings)


class ConvTranspose1d(_Transposed):
    """The transposed convolution of sequences ``(N, L, C)``, plus a bias: ``stride`` makes them longer.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: The extents of the kernels: one number, or one for each axis.
        stride: Steps of the output from one element of the input to the next.
        padding: Elements cut off the output on both sides.
        dilation: Steps from one element of the kernel to the next.
        output_padding: Elements added behind the output.
        bias: Whether there is a bias.
    """

    _axes = 1
    _function = mx.conv_transpose1d


class ConvTranspose2d(_Transposed):
    """The transposed convolution of images ``(N, H, W, C)``, plus a bias.

    The arguments are those of :class:`ConvTranspose1d`; an extent is one number or (height, width).
    """

    _axes = 2
    _function = mx.conv_transpose2d


class ConvTranspose3d(_Transposed):
    """The transposed convolution of volumes ``(N, D, H, W, C)``, plus a bias.

    The arguments are those of :class:`ConvTranspose1d`; an extent is one number or (depth, height, width).
    """

    _axes = 3
    _function = mx.conv_transpose3d
