# Written by python/tools/stubs.py; run it again instead of editing this file.

from collections.abc import Sequence

from covector.optimizers.base import LearningRate, Optimizer, clip_grad_norm

__all__ = [
    "SGD",
    "AdaDelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Lion",
    "Optimizer",
    "RMSprop",
    "clip_grad_norm",
]

class SGD(Optimizer):
    momentum: float
    weight_decay: float
    dampening: float
    nesterov: bool
    def __init__(
        self,
        learning_rate: LearningRate,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        dampening: float = 0.0,
        nesterov: bool = False,
    ) -> None: ...

class RMSprop(Optimizer):
    alpha: float
    eps: float
    def __init__(self, learning_rate: LearningRate, alpha: float = 0.99, eps: float = 1e-08) -> None: ...

class Adagrad(Optimizer):
    eps: float
    def __init__(self, learning_rate: LearningRate, eps: float = 1e-08) -> None: ...

class AdaDelta(Optimizer):
    rho: float
    eps: float
    def __init__(self, learning_rate: LearningRate, rho: float = 0.9, eps: float = 1e-06) -> None: ...

class Adam(Optimizer):
    betas: Sequence[float]
    eps: float
    bias_correction: bool
    def __init__(
        self,
        learning_rate: LearningRate,
        betas: Sequence[float] = (0.9, 0.999),
        eps: float = 1e-08,
        bias_correction: bool = False,
    ) -> None: ...

class AdamW(Adam):
    betas: Sequence[float]
    eps: float
    weight_decay: float
    bias_correction: bool
    def __init__(
        self,
        learning_rate: LearningRate,
        betas: Sequence[float] = (0.9, 0.999),
        eps: float = 1e-08,
        weight_decay: float = 0.01,
        bias_correction: bool = False,
    ) -> None: ...

class Adamax(Adam):
    betas: Sequence[float]
    eps: float
    def __init__(
        self,
        learning_rate: LearningRate,
        betas: Sequence[float] = (0.9, 0.999),
        eps: float = 1e-08,
    ) -> None: ...

class Lion(Optimizer):
    betas: Sequence[float]
    weight_decay: float
    def __init__(
        self,
        learning_rate: LearningRate,
        betas: Sequence[float] = (0.9, 0.99),
        weight_decay: float = 0.0,
    ) -> None: ...
