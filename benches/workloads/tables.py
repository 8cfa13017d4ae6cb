"""Embedding: 4,096 rows gathered from a table of 50,000, gradients scattered back."""

from __future__ import annotations

import numpy as np

from .workload import Workload


def data(rng):
    table = rng.standard_normal((50_000, 64)).astype(np.float32)
    index = rng.integers(0, 50_000, 4096).astype(np.int32)
    target = rng.standard_normal((4096, 64)).astype(np.float32)
    return {"table": table}, (index, target)


def loss_mx(mx, nn):
    def loss(p, index, target):
        return mx.mean(mx.square(p["table"][index] - target))

    return loss


def loss_jax(jax):
    def loss(p, index, target):
        return jax.numpy.mean(jax.numpy.square(p["table"][index] - target))

    return loss


def loss_torch(torch, params):
    def loss(p, index, target):
        return torch.nn.functional.mse_loss(torch.nn.functional.embedding(index, p["table"]), target)

    return loss


EMBEDDING = Workload(
    name="embedding",
    title="embedding, 4,096 of 50,000 rows of 64",
    data=data,
    mx=loss_mx,
    jax=loss_jax,
    torch=loss_torch,
)
