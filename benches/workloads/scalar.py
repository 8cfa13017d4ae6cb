"""Five hundred steps of a scalar recurrence, on arrays without axes; almost all of the time is overhead."""

from __future__ import annotations

import numpy as np

from .workload import Workload

STEPS = 500


def data(rng):
    # Euler's method for x' = sin x, whose values and derivatives neither vanish nor explode.
    start = {"x": 0.5, "a": 0.01, "b": 1.0}
    return {name: np.array(value, np.float32) for name, value in start.items()}, ()


def loss_of(sin):
    def loss(p):
        x, a, b = p["x"], p["a"], p["b"]
        for _ in range(STEPS):
            x = sin(x) * a + b * x
        return x

    return loss


CHAIN = Workload(
    name="scalar-chain",
    title="scalar chain, 500 steps of sin(x)·a + b·x",
    data=data,
    mx=lambda mx, nn: loss_of(mx.sin),
    jax=lambda jax: loss_of(jax.numpy.sin),
    torch=lambda torch, params: loss_of(torch.sin),
)
