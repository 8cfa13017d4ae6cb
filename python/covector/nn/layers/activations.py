"""Activation functions, and modules of them for :class:`covector.nn.Sequential`."""

from __future__ import annotations

from typing import Literal

import covector.core as mx
from covector._covector import nn as native
from covector.nn.layers import activation_rows
from covector.nn.layers._checks import size
from covector.nn.layers.activation_rows import *  # noqa: F403
from covector.nn.layers.base import Module

__all__ = ["GELU", "PReLU", "prelu"]
__all__ += activation_rows.__all__

prelu = native.prelu


class GELU(Module):
    """``x · Φ(x)``, where Φ is the distribution function of the standard normal distribution.

    Args:
        approx: ``"none"`` for Φ itself; ``"precise"`` or ``"tanh"`` for an approximation with a hyperbolic
            tangent (:func:`gelu_approx`), ``"fast"`` for a coarser one with a sigmoid
            (:func:`gelu_fast_approx`).
    """

    def __init__(self, approx: Literal["none", "precise", "tanh", "fast"] = "none") -> None:
        super().__init__()
        functions = {
            "none": native.gelu,
            "precise": native.gelu_approx,
            "tanh": native.gelu_approx,
            "fast": native.gelu_fast_approx,
        }
        if approx not in functions:
            raise ValueError(
                f"[GELU] The approximation should be in {list(functions)} but {approx!r} was given"
            )
        self._act = functions[approx]

    def __call__(self, x: mx.array) -> mx.array:
        return self._act(x)


class PReLU(Module):
    """``x`` where it is not negative, ``weight · x`` elsewhere, with a weight that is learned.

    Args:
        num_parameters: 1, or the size of the last axis, each element of which then has its own weight.
        init: The first value of the weights.
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25) -> None:
        super().__init__()
        self.weight = mx.full((size("PReLU", "num_parameters", num_parameters),), init)

    def __call__(self, x: mx.array) -> mx.array:
        return prelu(x, self["weight"])
