"""Attention with several heads, and transformers (Vaswani et al., 2017)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import covector.core as mx
from covector._covector import nn as native
from covector.nn import utils
from covector.nn.layers._checks import size
from covector.nn.layers.activations import relu
from covector.nn.layers.base import Module
from covector.nn.layers.dropout import Dropout
from covector.nn.layers.linear import Linear
from covector.nn.layers.normalization import LayerNorm

__all__ = [
    "MultiHeadAttention",
    "Transformer",
    "TransformerDecoder",
    "TransformerDecoderLayer",
    "TransformerEncoder",
    "TransformerEncoderLayer",
]

_Mask = Any


class MultiHeadAttention(Module):
    """Attention with several heads between linear maps.

    Queries, keys and values have the shape ``(batch, positions, features)``. The mask is ``"causal"`` or an
    array that broadcasts to ``(batch, heads, queries, keys)``, of truth values or of numbers to add to the
    scores.

    Args:
        dims: The number of features of queries, keys, values and result, unless given below.
        num_heads: The number of heads.
        query_input_dims: Features of the queries.
        key_input_dims: Features of the keys.
        value_input_dims: Features of the values; those of the keys by default.
        value_dims: Features of the values after their map.
        value_output_dims: Features of the result.
        bias: Whether the linear maps have biases.
    """

    def __init__(
        self,
        dims: int,
        num_heads: int,
        query_input_dims: int | None = None,
        key_input_dims: int | None = None,
        value_input_dims: int | None = None,
        value_dims: int | None = None,
        value_output_dims: int | None = None,
        bias: bool = False,
    ) -> None:
        super().__init__()
        dims = size("MultiHeadAttention", "dims", dims)
        if num_heads < 1 or dims % num_heads:
            raise ValueError(
                f"[MultiHeadAttention] {dims} features cannot be cut into {num_heads} heads; "
                "dims should be divisible by num_heads"
            )
        query_input_dims = query_input_dims or dims
        key_input_dims = key_input_dims or dims
        value_input_dims = value_input_dims or key_input_dims
        value_dims = value_dims or dims
        value_output_dims = value_output_dims or dims
        if value_dims % num_heads:
            raise ValueError(
                f"[MultiHeadAttention] {value_dims} features of the values cannot be cut into "
                f"{num_heads} heads; value_dims should be divisible by num_heads"
            )
        self.num_heads = num_heads
        self.query_proj = Linear(query_input_dims, dims, bias=bias)
        self.key_proj = Linear(key_input_dims, dims, bias=bias)
        self.value_proj = Linear(value_input_dims, value_dims, bias=bias)
        self.out_proj = Linear(value_dims, value_output_dims, bias=bias)

    def __call__(self, queries: mx.array, keys: mx.array, values: mx.array, mask: _Mask = None) -> mx.array:
        found = native.multi_head_attention(
            self.query_proj(queries), self.key_proj(keys), self.value_proj(values), self.num_heads, mask
        )
        result: mx.array = self.out_proj(found)
        return result

    @staticmethod
    def create_additive_causal_mask(N: int, dtype: mx.Dtype = mx.float32) -> mx.array:
        """A mask to add: 0 for the keys up to a query's own place, the most negative number for later ones.

        Args:
            N: The number of positions.
            dtype: The element type, a floating-point one.
        """
        return mx.where(mx.tri(N, dtype=mx.bool_), mx.zeros((), dtype), mx.array(mx.finfo(dtype).min, dtype))


class TransformerEncoderLayer(Module):
    """Attention of a sequence to itself, then a network of two layers for each position.

    Args:
        dims: The number of features.
        num_heads: The number of heads.
        mlp_dims: Features between the two layers; ``4 * dims`` by default.
        dropout: The probability of dropping outputs of attention, and features between the two layers.
        activation: The function between the two layers.
        norm_first: Normalise the input of attention and of the network; otherwise the sums after them.
    """

    def __init__(
        self,
        dims: int,
        num_heads: int,
        mlp_dims: int | None = None,
        dropout: float = 0.0,
        activation: Callable[[Any], Any] = relu,
        norm_first: bool = True,
    ) -> None:
        super().__init__()
        mlp_dims = mlp_dims or 4 * dims
        self.attention = MultiHeadAttention(dims, num_heads)
        self.ln1 = LayerNorm(dims)
        self.ln2 = LayerNorm(dims)
        self.linear1 = Linear(dims, mlp_dims)
        self.linear2 = Linear(mlp_dims, dims)
        self.dropout1 = Dropout(dropout)
        self.dropout2 = Dropout(dropout)
        self.activation = activation
        self.norm_first = norm_first

    def _network(self, x: mx.array) -> mx.array:
        result: mx.array = self.linear2(self.dropout2(self.activation(self.linear1(x))))
        return result

    def __call__(self, x: mx.array, mask: _Mask) -> mx.array:
        if self.norm_first:
            y = self.ln1(x)
            x = x + self.dropout1(self.attention(y, y, y, mask))
            return x + self._network(self.ln2(x))
        x = self.ln1(x + self.dropout1(self.attention(x, x, x, mask)))
        result: mx.array = self.ln2(x + self._network(x))
        return result


class TransformerEncoder(Module):
    """Layers of :class:`TransformerEncoderLayer`, and a normalisation at the end.

    Args:
        num_layers: The number of layers.
        dims: The number of features.
        num_heads: The number of heads.
        mlp_dims: Features inside the networks; ``4 * dims`` by default.
        dropout: The probability of dropping.
        activation: The function inside the networks.
        norm_first: Normalise inputs instead of sums.
        checkpoint: Compute each layer again for the gradient instead of keeping its intermediate values.
    """

    def __init__(
        self,
        num_layers: int,
        dims: int,
        num_heads: int,
        mlp_dims: int | None = None,
        dropout: float = 0.0,
        activation: Callable[[Any], Any] = relu,
        norm_first: bool = True,
        checkpoint: bool = False,
    ) -> None:
        super().__init__()
        self.layers = [
            TransformerEncoderLayer(dims, num_heads, mlp_dims, dropout, activation, norm_first)
            for _ in range(size(type(self).__name__, "num_layers", num_layers, least=0))
        ]
        self.ln = LayerNorm(dims)
        self.checkpoint = checkpoint

    def __call__(self, x: mx.array, mask: _Mask) -> mx.array:
        for layer in self.layers:
            x = (utils.checkpoint(layer) if self.checkpoint else layer)(x, mask)
        result: mx.array = self.ln(x)
        return result


class TransformerDecoderLayer(Module):
    """Attention of a sequence to itself, then to another one, then a network of two layers for each position.

    Args:
        dims: The number of features.
        num_heads: The number of heads.
        mlp_dims: Features between the two layers; ``4 * dims`` by default.
        dropout: The probability of dropping outputs of attention, and features between the two layers.
        activation: The function between the two layers.
        norm_first: Normalise the inputs of attention and of the network; otherwise the sums after them.
    """

    def __init__(
        self,
        dims: int,
        num_heads: int,
        mlp_dims: int | None = None,
        dropout: float = 0.0,
        activation: Callable[[Any], Any] = relu,
        norm_first: bool = True,
    ) -> None:
        super().__init__()
        mlp_dims = mlp_dims or 4 * dims
        self.self_attention = MultiHeadAttention(dims, num_heads)
        self.cross_attention = MultiHeadAttention(dims, num_heads)
        self.ln1 = LayerNorm(dims)
        self.ln2 = LayerNorm(dims)
        self.ln3 = LayerNorm(dims)
        self.linear1 = Linear(dims, mlp_dims)
        self.linear2 = Linear(mlp_dims, dims)
        self.dropout1 = Dropout(dropout)
        self.dropout2 = Dropout(dropout)
        self.dropout3 = Dropout(dropout)
        self.activation = activation
        self.norm_first = norm_first

    def _network(self, x: mx.array) -> mx.array:
        result: mx.array = self.linear2(self.dropout3(self.activation(self.linear1(x))))
        return result

    def __call__(self, x: mx.array, memory: mx.array, x_mask: _Mask, memory_mask: _Mask) -> mx.array:
        if self.norm_first:
            y = self.ln1(x)
            x = x + self.dropout1(self.self_attention(y, y, y, x_mask))
            y = self.ln2(x)
            x = x + self.dropout2(self.cross_attention(y, memory, memory, memory_mask))
            return x + self._network(self.ln3(x))
        x = self.ln1(x + self.dropout1(self.self_attention(x, x, x, x_mask)))
        x = self.ln2(x + self.dropout2(self.cross_attention(x, memory, memory, memory_mask)))
        result: mx.array = self.ln3(x + self._network(x))
        return result


class TransformerDecoder(Module):
    """Layers of :class:`TransformerDecoderLayer`, and a normalisation at the end.

    Args:
        num_layers: The number of layers.
        dims: The number of features.
        num_heads: The number of heads.
        mlp_dims: Features inside the networks; ``4 * dims`` by default.
        dropout: The probability of dropping.
        activation: The function inside the networks.
        norm_first: Normalise inputs instead of sums.
        checkpoint: Compute each layer again for the gradient instead of keeping its intermediate values.
    """

    def __init__(
        self,
        num_layers: int,
        dims: int,
        num_heads: int,
        mlp_dims: int | None = None,
        dropout: float = 0.0,
        activation: Callable[[Any], Any] = relu,
        norm_first: bool = True,
        checkpoint: bool = False,
    ) -> None:
        super().__init__()
        self.layers = [
            TransformerDecoderLayer(dims, num_heads, mlp_dims, dropout, activation, norm_first)
            for _ in range(size(type(self).__name__, "num_layers", num_layers, least=0))
        ]
        self.ln = LayerNorm(dims)
        self.checkpoint = checkpoint

    def __call__(self, x: mx.array, memory: mx.array, x_mask: _Mask, memory_mask: _Mask) -> mx.array:
        for layer in self.layers:
            x = (utils.checkpoint(layer) if self.checkpoint else layer)(x, memory, x_mask, memory_mask)
        result: mx.array = self.ln(x)
        return result


class Transformer(Module):
    """An encoder, and a decoder that attends to the output of the encoder.

    Args:
        dims: The number of features.
        num_heads: The number of heads.
        num_encoder_layers: The number of layers of the encoder.
        num_decoder_layers: The number of layers of the decoder.
        mlp_dims: Features inside the networks; ``4 * dims`` by default.
        dropout: The probability of dropping.
        activation: The function inside the networks.
        custom_encoder: A module instead of the encoder.
        custom_decoder: A module instead of the decoder.
        norm_first: Normalise inputs instead of sums.
        checkpoint: Compute each layer again for the gradient instead of keeping its intermediate values.
    """

    def __init__(
        self,
        dims: int = 512,
        num_heads: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        mlp_dims: int | None = None,
        dropout: float = 0.0,
        activation: Callable[[Any], Any] = relu,
        custom_encoder: Any | None = None,
        custom_decoder: Any | None = None,
        norm_first: bool = True,
        checkpoint: bool = False,
    ) -> None:
        super().__init__()
        rest = (dims, num_heads, mlp_dims, dropout, activation, norm_first, checkpoint)
        # Not `custom_encoder or …`: a module without parameters is an empty dict.
        self.encoder = (
            TransformerEncoder(num_encoder_layers, *rest) if custom_encoder is None else custom_encoder
        )
        self.decoder = (
            TransformerDecoder(num_decoder_layers, *rest) if custom_decoder is None else custom_decoder
        )

    def __call__(
        self, src: mx.array, tgt: mx.array, src_mask: _Mask, tgt_mask: _Mask, memory_mask: _Mask
    ) -> mx.array:
        memory = self.encoder(src, src_mask)
        result: mx.array = self.decoder(tgt, memory, tgt_mask, memory_mask)
        return result
