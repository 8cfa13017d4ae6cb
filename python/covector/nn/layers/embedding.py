"""Tables of vectors."""

from __future__ import annotations

import covector.core as mx
from covector._covector import nn as native
from covector.nn.layers._checks import size
from covector.nn.layers.base import Module

__all__ = ["Embedding"]


class Embedding(Module):
    """A table of vectors, looked up by integers.

    The table is drawn from the normal distribution with standard deviation √(1 / ``dims``).

    Args:
        num_embeddings: The number of vectors.
        dims: The size of each.
    """

    def __init__(self, num_embeddings: int, dims: int) -> None:
        super().__init__()
        num_embeddings = size("Embedding", "num_embeddings", num_embeddings, least=0)
        dims = size("Embedding", "dims", dims)
        self.weight = native.init_layer_normal((num_embeddings, dims), dims)

    def _extra_repr(self) -> str:
        rows, dims = self.weight.shape
        return f"{rows}, {dims}"

    def __call__(self, x: mx.array) -> mx.array:
        return native.embedding(x, self["weight"])

    def as_linear(self, x: mx.array) -> mx.array:
        """The product of ``x`` with every vector: a :class:`Linear` whose weight is the table."""
        return native.linear(x, self["weight"])
