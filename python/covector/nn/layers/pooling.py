"""Pooling over windows that slide along the spatial axes; channels are the last axis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import covector.core as mx
from covector._covector import nn as native
from covector.nn.layers.base import Module

__all__ = ["AvgPool1d", "AvgPool2d", "AvgPool3d", "MaxPool1d", "MaxPool2d", "MaxPool3d"]


class _Pool(Module):
    """Windows over a fixed number of axes, and the function that reduces each."""

    _axes: int
    _pool: Callable[..., mx.array]

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0) -> None:
        super().__init__()
        self._kernel_size = self._each("kernel_size", kernel_size)
        self._stride = self._kernel_size if stride is None else self._each("stride", stride)
        self._padding = self._each("padding", padding)
        name = type(self).__name__
        for argument, values in (("kernel_size", self._kernel_size), ("stride", self._stride)):
            if any(v <= 0 for v in values):
                raise ValueError(f"[{name}] '{argument}' must be positive but got {values}.")
        if any(v < 0 for v in self._padding):
            raise ValueError(f"[{name}] 'padding' must be non-negative but got {self._padding}.")

    def _each(self, argument: str, value: Any) -> tuple[int, ...]:
        """The value for each axis."""
        values = (value,) * self._axes if isinstance(value, int) else value
        if (
            isinstance(values, tuple | list)
            and len(values) == self._axes
            and all(isinstance(v, int) for v in values)
        ):
            return tuple(values)
        plural = "s" if self._axes > 1 else ""
        raise ValueError(
            f"[{type(self).__name__}] '{argument}' must be an integer or a tuple containing {self._axes} "
            f"integer{plural}, not {value!r}"
        )

    def _extra_repr(self) -> str:
        return f"kernel_size={self._kernel_size}, stride={self._stride}, padding={self._padding}"

    def __call__(self, x: mx.array) -> mx.array:
        return self._pool(x, self._kernel_size, self._stride, self._padding)


class _Max(_Pool):
    _pool = staticmethod(native.max_pool)


class _Avg(_Pool):
    _pool = staticmethod(native.avg_pool)


class MaxPool1d(_Max):
    """The greatest element of each window of sequences ``(N, L, C)``.

    Elements that tie share the gradient equally.

    Args:
        kernel_size: The extent of a window.
        stride: Elements from one window to the next; by default windows do not overlap.
        padding: Empty places on both sides of the input that windows may cover.
    """

    _axes = 1


class MaxPool2d(_Max):
    """The greatest element of each window of images ``(N, H, W, C)``.

    Elements that tie share the gradient equally.

    Args:
        kernel_size: The extent of a window, one number or (height, width).
        stride: Elements from one window to the next; by default windows do not overlap.
        padding: Empty places around the input that windows may cover.
    """

    _axes = 2


class MaxPool3d(_Max):
    """The greatest element of each window of volumes ``(N, D, H, W, C)``.

    Elements that tie share the gradient equally.

    Args:
        kernel_size: The extent of a window, one number or (depth, height, width).
        stride: Elements from one window to the next; by default windows do not overlap.
        padding: Empty places around the input that windows may cover.
    """

    _axes = 3


class AvgPool1d(_Avg):
    """The mean of each window of sequences ``(N, L, C)``.

    Args:
        kernel_size: The extent of a window.
        stride: Elements from one window to the next; by default windows do not overlap.
        padding: Zeros on both sides of the input, which count for the mean.
    """

    _axes = 1


class AvgPool2d(_Avg):
    """The mean of each window of images ``(N, H, W, C)``.

    Args:
        kernel_size: The extent of a window, one number or (height, width).
        stride: Elements from one window to the next; by default windows do not overlap.
        padding: Zeros around the input, which count for the mean.
    """

    _axes = 2


class AvgPool3d(_Avg):
    """The mean of each window of volumes ``(N, D, H, W, C)``.

    Args:
        kernel_size: The extent of a window, one number or (depth, height, width).
        stride: Elements from one window to the next; by default windows do not overlap.
        padding: Zeros around the input, which count for the mean.
    """

    _axes = 3
