# Written by python/tools/stubs.py; run it again instead of editing this file.

from covector._covector import array
from covector._covector import nn as native
from covector.nn.layers.base import Module

__all__ = [
    "CELU",
    "ELU",
    "GLU",
    "SELU",
    "HardShrink",
    "HardTanh",
    "Hardswish",
    "LeakyReLU",
    "LogSigmoid",
    "LogSoftmax",
    "Mish",
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

relu = native.relu
relu2 = native.relu2
relu6 = native.relu6
leaky_relu = native.leaky_relu
elu = native.elu
celu = native.celu
selu = native.selu
gelu = native.gelu
gelu_approx = native.gelu_approx
gelu_fast_approx = native.gelu_fast_approx
silu = native.silu
sigmoid = native.sigmoid
tanh = native.tanh
softplus = native.softplus
softsign = native.softsign
softshrink = native.softshrink
hard_shrink = native.hard_shrink
hardswish = native.hardswish
hard_tanh = native.hard_tanh
mish = native.mish
log_sigmoid = native.log_sigmoid
softmax = native.softmax
softmin = native.softmin
log_softmax = native.log_softmax
step = native.step
glu = native.glu

class ReLU(Module):
    def __init__(self) -> None: ...
    def __call__(self, x: array) -> array: ...

class ReLU2(Module):
    def __init__(self) -> None: ...
    def __call__(self, x: array) -> array: ...

class ReLU6(Module):
    def __init__(self) -> None: ...
    def __call__(self, x: array) -> array: ...

class LeakyReLU(Module):
    def __init__(self, negative_slope: float = 0.01) -> None: ...
    def __call__(self, x: array) -> array: ...

class ELU(Module):
    def __init__(self, alpha: float = 1.0) -> None: ...
    def __call__(self, x: array) -> array: ...

class CELU(Module):
    def __init__(self, alpha: float = 1.0) -> None: ...
    def __call__(self, x: array) -> array: ...

class SELU(Module):
    def __init__(self) -> None: ...
    def __call__(self, x: array) -> array: ...

class SiLU(Module):
    def __init__(self) -> None: ...
    def __call__(self, x: array) -> array: ...

class Sigmoid(Module):
    def __init__(self) -> None: ...
    def __call__(self, x: array) -> array: ...

class Tanh(Module):
    def __init__(self) -> None: ...
    def __call__(self, x: array) -> array: ...

class Softplus(Module):
    def __init__(self) -> None: ...
    def __call__(self, x: array) -> array: ...

class Softsign(Module):
    def __init__(self) -> None: ...
    def __call__(self, x: array) -> array: ...

class Softshrink(Module):
    def __init__(self, lambd: float = 0.5) -> None: ...
    def __call__(self, x: array) -> array: ...

class HardShrink(Module):
    def __init__(self, lambd: float = 0.5) -> None: ...
    def __call__(self, x: array) -> array: ...

class Hardswish(Module):
    def __init__(self) -> None: ...
    def __call__(self, x: array) -> array: ...

class HardTanh(Module):
    def __init__(self, min_val: float = -1.0, max_val: float = 1.0) -> None: ...
    def __call__(self, x: array) -> array: ...

class Mish(Module):
    def __init__(self) -> None: ...
    def __call__(self, x: array) -> array: ...

class LogSigmoid(Module):
    def __init__(self) -> None: ...
    def __call__(self, x: array) -> array: ...

class Softmax(Module):
    def __init__(self, axis: int = -1) -> None: ...
    def __call__(self, x: array) -> array: ...

class Softmin(Module):
    def __init__(self, axis: int = -1) -> None: ...
    def __call__(self, x: array) -> array: ...

class LogSoftmax(Module):
    def __init__(self, axis: int = -1) -> None: ...
    def __call__(self, x: array) -> array: ...

class Step(Module):
    def __init__(self, threshold: float = 0.0) -> None: ...
    def __call__(self, x: array) -> array: ...

class GLU(Module):
    def __init__(self, axis: int = -1) -> None: ...
    def __call__(self, x: array) -> array: ...
