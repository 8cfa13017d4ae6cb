"""Initialisers: functions that make first values for a parameter.

Each function here returns an initialiser: a function that takes an array and returns a new one of its shape.

Example:
    >>> import covector.core as mx
    >>> import covector.nn as nn
    >>> nn.init.constant(0.5)(mx.zeros((2, 2)))
    array([[0.5, 0.5],
           [0.5, 0.5]], dtype=float32)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import covector.core as mx
from covector._covector import nn as native

__all__ = [
    "constant",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "identity",
    "normal",
    "uniform",
]

Fan = Literal["fan_in", "fan_out"]


def constant(value: float, dtype: mx.Dtype = mx.float32) -> Callable[[mx.array], mx.array]:
    """All elements are ``value``."""

    def initializer(a: mx.array) -> mx.array:
        return native.init_constant(a.shape, value, dtype)

    return initializer


def normal(
    mean: float = 0.0, std: float = 1.0, dtype: mx.Dtype = mx.float32
) -> Callable[[mx.array], mx.array]:
    """Drawn from the normal distribution with this mean and standard deviation."""

    def initializer(a: mx.array) -> mx.array:
        return native.init_normal(a.shape, mean, std, dtype)

    return initializer


def uniform(
    low: float = 0.0, high: float = 1.0, dtype: mx.Dtype = mx.float32
) -> Callable[[mx.array], mx.array]:
    """Drawn from the range between ``low`` and ``high``, all equally likely."""

    def initializer(a: mx.array) -> mx.array:
        return native.init_uniform(a.shape, low, high, dtype)

    return initializer


def identity(dtype: mx.Dtype = mx.float32) -> Callable[[mx.array], mx.array]:
    """The identity matrix; the array must be a square matrix."""

    def initializer(a: mx.array) -> mx.array:
        return native.init_identity(a.shape, dtype)

    return initializer


def glorot_normal(dtype: mx.Dtype = mx.float32) -> Callable[..., mx.array]:
    """Normal, with a variance for the forward and the backward pass (Glorot and Bengio, 2010).

    The initialiser takes ``gain`` too; the standard deviation is ``gain · √(2 / (inputs + outputs))``.
    """

    def initializer(a: mx.array, gain: float = 1.0) -> mx.array:
        return native.init_glorot_normal(a.shape, gain, dtype)

    return initializer


def glorot_uniform(dtype: mx.Dtype = mx.float32) -> Callable[..., mx.array]:
    """Uniform, with a variance for the forward and the backward pass (Glorot and Bengio, 2010).

    The initialiser takes ``gain`` too; the limits are ``±gain · √(6 / (inputs + outputs))``.
    """

    def initializer(a: mx.array, gain: float = 1.0) -> mx.array:
        return native.init_glorot_uniform(a.shape, gain, dtype)

    return initializer


def he_normal(dtype: mx.Dtype = mx.float32) -> Callable[..., mx.array]:
    """Normal, with a variance for the forward or the backward pass (He et al., 2015).

    The initialiser takes ``mode``, ``"fan_in"`` or ``"fan_out"``, and ``gain`` too; the standard deviation is
    ``gain / √fan``.
    """

    def initializer(a: mx.array, mode: Fan = "fan_in", gain: float = 1.0) -> mx.array:
        return native.init_he_normal(a.shape, mode, gain, dtype)

    return initializer


def he_uniform(dtype: mx.Dtype = mx.float32) -> Callable[..., mx.array]:
    """Uniform, with a variance for the forward or the backward pass (He et al., 2015).

    The initialiser takes ``mode``, ``"fan_in"`` or ``"fan_out"``, and ``gain`` too; the limits are
    ``±gain · √(3 / fan)``.
    """

    def initializer(a: mx.array, mode: Fan = "fan_in", gain: float = 1.0) -> mx.array:
        return native.init_he_uniform(a.shape, mode, gain, dtype)

    return initializer
