"""Affine maps."""

from __future__ import annotations

from typing import Any

import covector.core as mx
from covector._covector import nn as native
from covector.nn.layers._checks import size
from covector.nn.layers.base import Module

__all__ = ["Identity", "Linear"]


class Identity(Module):
    """Returns its input. Arguments of the constructor are accepted and ignored."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def __call__(self, x: Any) -> Any:
        return x


class Linear(Module):
    r"""The affine map ``y = x @ W.T + b`` of the last axis.

    Weight and bias are drawn, in this order, from the uniform distribution between ±√(1 / ``input_dims``).

    Args:
        input_dims: The size of the last axis of the input.
        output_dims: The size of the last axis of the output.
        bias: Whether there is a ``b``.
    """

    def __init__(self, input_dims: int, output_dims: int, bias: bool = True) -> None:
        super().__init__()
        input_dims = size("Linear", "input_dims", input_dims)
        output_dims = size("Linear", "output_dims", output_dims, least=0)
        self.weight = native.init_layer_uniform((output_dims, input_dims), input_dims)
        if bias:
            self.bias = native.init_layer_uniform((output_dims,), input_dims)

    def _extra_repr(self) -> str:
        outputs, inputs = self.weight.shape
        return f"input_dims={inputs}, output_dims={outputs}, bias={'bias' in self}"

    def __call__(self, x: mx.array) -> mx.array:
        return native.linear(x, self["weight"], self.get("bias"))
