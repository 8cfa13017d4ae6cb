"""Dropout."""

from __future__ import annotations

import covector.core as mx
from covector._covector import nn as native
from covector.nn.layers.base import Module

__all__ = ["Dropout"]


class Dropout(Module):
    """Sets each element to zero with probability ``p``, and divides the others by ``1 − p``.

    Only in training mode; otherwise the input is returned unchanged.

    Args:
        p: The probability, in ``[0, 1)``.
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"[Dropout] The dropout probability {p} is not in [0, 1)")
        self._p_1 = 1 - p

    def _extra_repr(self) -> str:
        return f"p={1 - self._p_1}"

    def __call__(self, x: mx.array) -> mx.array:
        if self._p_1 == 1 or not self.training:
            return x
        return native.dropout(x, 1 - self._p_1)
