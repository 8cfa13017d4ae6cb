"""Workloads limited by memory: elementwise functions, rows of a softmax, matrix times vector."""

from __future__ import annotations

import numpy as np

from .workload import Workload

# A gelu-like loss on four million elements


def gelu_data(rng):
    return {"x": rng.standard_normal(4_000_000).astype(np.float32)}, ()


def gelu_loss(tanh, mean):
    """0.5 x (1 + tanh(√(2/π) (x + 0.044715 x³))), averaged, written operation by operation."""

    def loss(p):
        x = p["x"]
        return mean(0.5 * x * (1.0 + tanh(0.7978845608 * (x + 0.044715 * x * x * x))))

    return loss


GELU = Workload(
    name="elementwise",
    title="gelu-like elementwise loss, 4M elements",
    data=gelu_data,
    mx=lambda mx, nn: gelu_loss(mx.tanh, mx.mean),
    jax=lambda jax: gelu_loss(jax.numpy.tanh, jax.numpy.mean),
    torch=lambda torch, params: gelu_loss(torch.tanh, torch.mean),
)


# Softmax cross-entropy


def xent_data(rng):
    logits = (3 * rng.standard_normal((1024, 4096))).astype(np.float32)
    return {"logits": logits}, (rng.integers(0, 4096, 1024).astype(np.int32),)


def xent_mx(mx, nn):
    return lambda p, y: nn.losses.cross_entropy(p["logits"], y, reduction="mean")


def xent_jax(jax):
    jnp = jax.numpy

    def loss(p, y):
        picked = jnp.take_along_axis(p["logits"], y[:, None], axis=1)[:, 0]
        return jnp.mean(jax.nn.logsumexp(p["logits"], axis=1) - picked)

    return loss


def xent_torch(torch, params):
    return lambda p, y: torch.nn.functional.cross_entropy(p["logits"], y)


CROSS_ENTROPY = Workload(
    name="cross-entropy",
    title="softmax cross-entropy, 1024×4096",
    data=xent_data,
    mx=xent_mx,
    jax=xent_jax,
    torch=xent_torch,
)


# Logistic regression


def logistic_data(rng):
    x = rng.standard_normal((100_000, 100)).astype(np.float32)
    truth = rng.standard_normal(100).astype(np.float32)
    y = (x @ truth + rng.standard_normal(100_000) > 0).astype(np.float32)
    return {"w": (0.1 * rng.standard_normal(100)).astype(np.float32), "b": np.zeros((), np.float32)}, (x, y)


def logistic_mx(mx, nn):
    def loss(p, x, y):
        z = x @ p["w"] + p["b"]
        return mx.mean(mx.logaddexp(mx.array(0.0), z) - y * z)

    return loss


def logistic_jax(jax):
    jnp = jax.numpy

    def loss(p, x, y):
        z = x @ p["w"] + p["b"]
        return jnp.mean(jnp.logaddexp(0.0, z) - y * z)

    return loss


def logistic_torch(torch, params):
    def loss(p, x, y):
        return torch.nn.functional.binary_cross_entropy_with_logits(x @ p["w"] + p["b"], y)

    return loss


LOGISTIC = Workload(
    name="logistic",
    title="logistic regression, 100k×100",
    data=logistic_data,
    mx=logistic_mx,
    jax=logistic_jax,
    torch=logistic_torch,
)
