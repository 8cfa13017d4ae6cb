"""Recurrent layers.

The input has the shape ``(…, steps, features)``, and each layer returns its state after every step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import covector.core as mx
from covector._covector import nn as native
from covector.nn.layers._checks import size
from covector.nn.layers.activations import tanh
from covector.nn.layers.base import Module

__all__ = ["GRU", "LSTM", "RNN"]


class RNN(Module):
    """Elman's recurrent network: ``h = f(Wxh @ x + Whh @ h + bias)`` for each step.

    Args:
        input_size: The number of features of the input.
        hidden_size: The number of features of the state.
        bias: Whether there is a bias.
        nonlinearity: The function ``f``; by default the hyperbolic tangent.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: Callable[[Any], Any] | None = None,
    ) -> None:
        super().__init__()
        input_size = size("RNN", "input_size", input_size)
        hidden_size = size("RNN", "hidden_size", hidden_size)
        self.nonlinearity = nonlinearity or tanh
        if not callable(self.nonlinearity):
            raise ValueError(f"[RNN] nonlinearity must be a function, but {nonlinearity!r} was given")
        self.hidden_size = hidden_size
        self.Wxh = native.init_layer_uniform((hidden_size, input_size), hidden_size)
        self.Whh = native.init_layer_uniform((hidden_size, hidden_size), hidden_size)
        self.bias = native.init_layer_uniform((hidden_size,), hidden_size) if bias else None

    def _extra_repr(self) -> str:
        return (
            f"input_dims={self.Wxh.shape[1]}, hidden_size={self.hidden_size}, "
            f"nonlinearity={self.nonlinearity}, bias={self.bias is not None}"
        )

    def __call__(self, x: mx.array, hidden: mx.array | None = None) -> mx.array:
        return native.rnn(x, self["Wxh"], self["Whh"], self.bias, hidden, self.nonlinearity)


class GRU(Module):
    """A gated recurrent unit.

    For each step, with the logistic function σ::

        r = σ(Wxr @ x + Whr @ h + b_r)
        z = σ(Wxz @ x + Whz @ h + b_z)
        n = tanh(Wxn @ x + b_n + r · (Whn @ h + bhn))
        h = (1 - z) · n + z · h

    ``Wx``, ``Wh`` and ``b`` hold the parts for r, z and n stacked along the first axis.

    Args:
        input_size: The number of features of the input.
        hidden_size: The number of features of the state.
        bias: Whether there are ``b`` and ``bhn``.
    """

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True) -> None:
        super().__init__()
        input_size = size("GRU", "input_size", input_size)
        hidden_size = size("GRU", "hidden_size", hidden_size)
        self.hidden_size = hidden_size
        self.Wx = native.init_layer_uniform((3 * hidden_size, input_size), hidden_size)
        self.Wh = native.init_layer_uniform((3 * hidden_size, hidden_size), hidden_size)
        self.b = native.init_layer_uniform((3 * hidden_size,), hidden_size) if bias else None
        self.bhn = native.init_layer_uniform((hidden_size,), hidden_size) if bias else None

    def _extra_repr(self) -> str:
        return f"input_dims={self.Wx.shape[1]}, hidden_size={self.hidden_size}, bias={self.b is not None}"

    def __call__(self, x: mx.array, hidden: mx.array | None = None) -> mx.array:
        return native.gru(x, self["Wx"], self["Wh"], self.b, self.bhn, hidden)


class LSTM(Module):
    """Long short-term memory.

    For each step, with the logistic function σ::

        i = σ(Wxi @ x + Whi @ h + b_i)
        f = σ(Wxf @ x + Whf @ h + b_f)
        g = tanh(Wxg @ x + Whg @ h + b_g)
        o = σ(Wxo @ x + Who @ h + b_o)
        c = f · c + i · g
        h = o · tanh(c)

    ``Wx``, ``Wh`` and ``bias`` hold the parts for i, f, g and o stacked along the first axis. The layer
    returns the hidden states ``h`` and the cells ``c``.

    Args:
        input_size: The number of features of the input.
        hidden_size: The number of features of the state.
        bias: Whether there is a bias.
    """

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True) -> None:
        super().__init__()
        input_size = size("LSTM", "input_size", input_size)
        hidden_size = size("LSTM", "hidden_size", hidden_size)
        self.hidden_size = hidden_size
        self.Wx = native.init_layer_uniform((4 * hidden_size, input_size), hidden_size)
        self.Wh = native.init_layer_uniform((4 * hidden_size, hidden_size), hidden_size)
        self.bias = native.init_layer_uniform((4 * hidden_size,), hidden_size) if bias else None

    def _extra_repr(self) -> str:
        return f"input_dims={self.Wx.shape[1]}, hidden_size={self.hidden_size}, bias={self.bias is not None}"

    def __call__(
        self, x: mx.array, hidden: mx.array | None = None, cell: mx.array | None = None
    ) -> tuple[mx.array, mx.array]:
        states: tuple[mx.array, mx.array] = native.lstm(x, self["Wx"], self["Wh"], self.bias, hidden, cell)
        return states
