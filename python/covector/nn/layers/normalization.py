"""Normalisation of the last axis."""

from __future__ import annotations

import covector.core as mx
from covector.nn.layers._checks import not_negative, size
from covector.nn.layers.base import Module

__all__ = ["LayerNorm", "RMSNorm"]


class LayerNorm(Module):
    """``(x − mean) / √(variance + eps) · w + b`` over the last axis.

    Args:
        dims: The size of the last axis.
        eps: Keeps the root from being zero.
        affine: Whether there is a ``w``, at first ones.
        bias: Whether there is also a ``b``, at first zeros.
    """

    def __init__(self, dims: int, eps: float = 1e-5, affine: bool = True, bias: bool = True) -> None:
        super().__init__()
        dims, eps = size("LayerNorm", "dims", dims), not_negative("LayerNorm", "eps", eps)
        if affine:
            self.weight = mx.ones((dims,))
            if bias:
                self.bias = mx.zeros((dims,))
        self.dims = dims
        self.eps = eps

    def _extra_repr(self) -> str:
        return f"{self.dims}, eps={self.eps}, affine={'weight' in self}"

    def __call__(self, x: mx.array) -> mx.array:
        return mx.fast.layer_norm(x, self.get("weight"), self.get("bias"), self.eps)


class RMSNorm(Module):
    """``x / √(mean(x²) + eps) · w`` over the last axis.

    Args:
        dims: The size of the last axis. ``w`` has it, and is at first ones.
        eps: Keeps the root from being zero.
    """

    def __init__(self, dims: int, eps: float = 1e-5) -> None:
        super().__init__()
        dims, eps = size("RMSNorm", "dims", dims), not_negative("RMSNorm", "eps", eps)
        self.weight = mx.ones((dims,))
        self.eps = eps

    def _extra_repr(self) -> str:
        return f"{self.weight.shape[0]}, eps={self.eps}"

    def __call__(self, x: mx.array) -> mx.array:
        return mx.fast.rms_norm(x, self["weight"], self.eps)
