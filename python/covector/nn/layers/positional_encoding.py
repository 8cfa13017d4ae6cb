"""Positional encodings."""

from __future__ import annotations

import math

import covector.core as mx
from covector._covector import nn as native
from covector.nn.layers._checks import positive, size
from covector.nn.layers.base import Module

__all__ = ["ALiBi", "RoPE", "SinusoidalPositionalEncoding"]


class RoPE(Module):
    """Rotary positions: pairs of features turned by angles that grow with the position.

    The input has the shape ``(batch, …, positions, features)``.

    Args:
        dims: How many features are turned, an even number; the rest stays.
        traditional: Pairs are neighbours; otherwise they are ``dims / 2`` apart.
        base: Pair ``i`` turns by ``base ** (-2 * i / dims)`` from one position to the next.
        scale: A factor for positions.
    """

    def __init__(self, dims: int, traditional: bool = False, base: float = 10000, scale: float = 1.0) -> None:
        super().__init__()
        dims = size("RoPE", "dims", dims, least=2)
        if dims % 2:
            raise ValueError(f"[RoPE] dims must be even because features turn in pairs, but {dims} was given")
        self.dims = dims
        self.traditional = traditional
        self.base = positive("RoPE", "base", base)
        self.scale = scale

    def _extra_repr(self) -> str:
        return f"{self.dims}, traditional={self.traditional}"

    def __call__(self, x: mx.array, offset: int = 0) -> mx.array:
        return mx.fast.rope(
            x,
            self.dims,
            traditional=self.traditional,
            base=self.base,
            scale=self.scale,
            offset=offset,
        )


class SinusoidalPositionalEncoding(Module):
    """Sines and cosines of positions, at frequencies in the same ratio to each other.

    Args:
        dims: The size of the new last axis, an even number.
        min_freq: The lowest frequency.
        max_freq: The highest frequency.
        scale: A factor for the result; ``sqrt(2 / dims)`` by default.
        cos_first: Cosines come before sines.
        full_turns: Frequencies are in turns instead of radians.
    """

    def __init__(
        self,
        dims: int,
        min_freq: float = 0.0001,
        max_freq: float = 1,
        scale: float | None = None,
        cos_first: bool = False,
        full_turns: bool = False,
    ) -> None:
        super().__init__()
        if dims < 2 or dims % 2:
            raise ValueError(
                f"[SinusoidalPositionalEncoding] dims must be even and positive, but {dims} was given: "
                "half are sines and half cosines"
            )
        # The underscore keeps it out of the parameters: it is not learned.
        self._sigmas = native.sinusoidal_frequencies(dims, min_freq, max_freq, full_turns)
        self.scale = scale or math.sqrt(2 / dims)
        self.cos_first = cos_first

    def __call__(self, x: mx.array) -> mx.array:
        return native.sinusoidal_positions(x, self._sigmas, self.scale, self.cos_first)


class ALiBi(Module):
    """Adds a bias to the scores of attention that falls with the distance of query and key.

    Each head has its own slope (Press et al., 2022).
    """

    @staticmethod
    def create_alibi_matrix(
        q_sequence_length: int,
        k_sequence_length: int,
        num_heads: int,
        offset: int = 0,
        dtype: mx.Dtype = mx.float32,
    ) -> mx.array:
        """The bias, of shape ``(1, heads, queries − offset, keys)``.

        Args:
            q_sequence_length: The position after the last query.
            k_sequence_length: The number of keys.
            num_heads: The number of heads.
            offset: The position of the first query.
            dtype: The element type.
        """
        return native.alibi(q_sequence_length, k_sequence_length, num_heads, offset, dtype)

    @staticmethod
    def create_alibi_slope(num_heads: int, dtype: mx.Dtype = mx.float32) -> mx.array:
        """The slope of the bias of each head, of shape ``(heads, 1, 1)``."""
        return native.alibi_slopes(num_heads, dtype)

    def __call__(self, attention_scores: mx.array, offset: int = 0, mask: mx.array | None = None) -> mx.array:
        bias = ALiBi.create_alibi_matrix(
            q_sequence_length=attention_scores.shape[-2] + offset,
            k_sequence_length=attention_scores.shape[-1],
            num_heads=attention_scores.shape[1],
            offset=offset,
            dtype=attention_scores.dtype,
        )
        if mask is not None:
            bias = bias + mask
        return attention_scores + bias
