"""Activation functions, and modules of them for :class:`covector.nn.Sequential`."""

from __future__ import annotations

from typing import Literal

import covector.core as mx
from covector._covector import nn as native
from covector.nn.layers._checks import not_negative, size
from covector.nn.layers.base import Module

__all__ = [
    "CELU",
    "ELU",
    "GELU",
    "GLU",
    "SELU",
    "HardShrink",
    "HardTanh",
    "Hardswish",
    "LeakyReLU",
    "LogSigmoid",
    "LogSoftmax",
    "Mish",
    "PReLU",
    "ReLU",
    "ReLU2",
    "ReLU6",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softmin",
    "Softplus",
    "Softshrink",
    "Softsign",
    "Step",
    "Tanh",
    "celu",
    "elu",
    "gelu",
    "gelu_approx",
    "gelu_fast_approx",
    "glu",
    "hard_shrink",
    "hard_tanh",
    "hardswish",
    "leaky_relu",
    "log_sigmoid",
    "log_softmax",
    "mish",
    "prelu",
    "relu",
    "relu2",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "softmax",
    "softmin",
    "softplus",
    "softshrink",
    "softsign",
    "step",
    "tanh",
]

celu = native.celu
elu = native.elu
gelu = native.gelu
gelu_approx = native.gelu_approx
gelu_fast_approx = native.gelu_fast_approx
glu = native.glu
hard_shrink = native.hard_shrink
hard_tanh = native.hard_tanh
hardswish = native.hardswish
leaky_relu = native.leaky_relu
log_sigmoid = native.log_sigmoid
log_softmax = native.log_softmax
mish = native.mish
prelu = native.prelu
relu = native.relu
relu2 = native.relu2
relu6 = native.relu6
selu = native.selu
sigmoid = native.sigmoid
silu = native.silu
softmax = native.softmax
softmin = native.softmin
softplus = native.softplus
softshrink = native.softshrink
softsign = native.softsign
step = native.step
tanh = native.tanh


class CELU(Module):
    """``x`` where it is positive, ``alpha · (e^(x / alpha) − 1)`` elsewhere."""

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__()
        if not alpha or alpha != alpha:
            raise ValueError(f"[CELU] alpha {alpha} cannot be divided by; for the limit 0 use ReLU")
        self._alpha = alpha

    def __call__(self, x: mx.array) -> mx.array:
        return celu(x, self._alpha)


class ELU(Module):
    """``x`` where it is positive, ``alpha · (eˣ − 1)`` elsewhere."""

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__()
        self._alpha = alpha

    def __call__(self, x: mx.array) -> mx.array:
        return elu(x, self._alpha)


class GELU(Module):
    """``x · Φ(x)``, where Φ is the distribution function of the standard normal distribution.

    Args:
        approx: ``"none"`` for Φ itself; ``"precise"`` or ``"tanh"`` for an approximation with a hyperbolic
            tangent (:func:`gelu_approx`), ``"fast"`` for a coarser one with a sigmoid
            (:func:`gelu_fast_approx`).
    """

    def __init__(self, approx: Literal["none", "precise", "tanh", "fast"] = "none") -> None:
        super().__init__()
        functions = {"none": gelu, "precise": gelu_approx, "tanh": gelu_approx, "fast": gelu_fast_approx}
        if approx not in functions:
            raise ValueError(
                f"[GELU] The approximation should be in {list(functions)} but {approx!r} was given"
            )
        self._act = functions[approx]

    def __call__(self, x: mx.array) -> mx.array:
        return self._act(x)


class GLU(Module):
    """One half of ``x`` gated by the other, ``a · σ(b)``, where the halves are along an axis."""

    def __init__(self, axis: int = -1) -> None:
        super().__init__()
        self._axis = axis

    def __call__(self, x: mx.array) -> mx.array:
        return glu(x, self._axis)


class HardShrink(Module):
    """``x``, but 0 where it is within ``lambd`` of 0."""

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self._lambd = not_negative("HardShrink", "lambd", lambd)

    def __call__(self, x: mx.array) -> mx.array:
        return hard_shrink(x, self._lambd)


class HardTanh(Module):
    """``x`` limited to the range from −1 to 1."""

    def __call__(self, x: mx.array) -> mx.array:
        return hard_tanh(x)


class Hardswish(Module):
    """``x · min(max(x + 3, 0), 6) / 6``."""

    def __call__(self, x: mx.array) -> mx.array:
        return hardswish(x)


class LeakyReLU(Module):
    """``x`` where it is positive, ``negative_slope · x`` elsewhere."""

    def __init__(self, negative_slope: float = 0.01) -> None:
        super().__init__()
        self._negative_slope = negative_slope

    def __call__(self, x: mx.array) -> mx.array:
        return leaky_relu(x, self._negative_slope)


class LogSigmoid(Module):
    """``log σ(x)``."""

    def __call__(self, x: mx.array) -> mx.array:
        return log_sigmoid(x)


class LogSoftmax(Module):
    """``x − log Σ eˣ`` over the last axis."""

    def __call__(self, x: mx.array) -> mx.array:
        return log_softmax(x)


class Mish(Module):
    """``x · tanh(log(1 + eˣ))``."""

    def __call__(self, x: mx.array) -> mx.array:
        return mish(x)


class PReLU(Module):
    """``x`` where it is positive, ``weight · x`` elsewhere, with a weight that is learned.

    Args:
        num_parameters: 1, or the size of the last axis, each element of which then has its own weight.
        init: The first value of the weights.
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25) -> None:
        super().__init__()
        self.weight = mx.full((size("PReLU", "num_parameters", num_parameters),), init)

    def __call__(self, x: mx.array) -> mx.array:
        return prelu(x, self["weight"])


class ReLU(Module):
    """``max(x, 0)``."""

    def __call__(self, x: mx.array) -> mx.array:
        return relu(x)


class ReLU2(Module):
    """``max(x, 0)²``."""

    def __call__(self, x: mx.array) -> mx.array:
        return relu2(x)


class ReLU6(Module):
    """``min(max(x, 0), 6)``."""

    def __call__(self, x: mx.array) -> mx.array:
        return relu6(x)


class SELU(Module):
    """An :class:`ELU`, scaled so that activations keep mean 0 and variance 1."""

    def __call__(self, x: mx.array) -> mx.array:
        return selu(x)


class SiLU(Module):
    """``x · σ(x)``."""

    def __call__(self, x: mx.array) -> mx.array:
        return silu(x)


class Sigmoid(Module):
    """``σ(x) = 1 / (1 + e⁻ˣ)``."""

    def __call__(self, x: mx.array) -> mx.array:
        return sigmoid(x)


class Softmax(Module):
    """``eˣ / Σ eˣ`` over the last axis."""

    def __call__(self, x: mx.array) -> mx.array:
        return softmax(x)


class Softmin(Module):
    """``e⁻ˣ / Σ e⁻ˣ`` over the last axis."""

    def __call__(self, x: mx.array) -> mx.array:
        return softmin(x)


class Softplus(Module):
    """``log(1 + eˣ)``."""

    def __call__(self, x: mx.array) -> mx.array:
        return softplus(x)


class Softshrink(Module):
    """``x`` drawn towards 0 by ``lambd``, and 0 where it is within ``lambd`` of it."""

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self._lambd = not_negative("Softshrink", "lambd", lambd)

    def __call__(self, x: mx.array) -> mx.array:
        return softshrink(x, self._lambd)


class Softsign(Module):
    """``x / (1 + |x|)``."""

    def __call__(self, x: mx.array) -> mx.array:
        return softsign(x)


class Step(Module):
    """1 where ``x ≥ threshold``, 0 elsewhere, as ``int32``; it has no gradient."""

    def __init__(self, threshold: float = 0.0) -> None:
        super().__init__()
        self._threshold = threshold

    def __call__(self, x: mx.array) -> mx.array:
        return step(x, self._threshold)


class Tanh(Module):
    """The hyperbolic tangent."""

    def __call__(self, x: mx.array) -> mx.array:
        return tanh(x)
