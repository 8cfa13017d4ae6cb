"""Multilayer perceptrons: a training step, gradients per sample, a Hessian-vector product."""

from __future__ import annotations

import itertools

import numpy as np

from .workload import Workload


def layers(rng, *sizes):
    """Weights and biases `w0`, `b0`, … uniform in ±1/√inputs; weights are (outputs, inputs)."""
    params = {}
    for index, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
        bound = inputs**-0.5
        params[f"w{index}"] = rng.uniform(-bound, bound, (outputs, inputs)).astype(np.float32)
        params[f"b{index}"] = rng.uniform(-bound, bound, outputs).astype(np.float32)
    return params


# 784-1024-1024-10, batch 256, AdamW


def mlp_data(rng):
    x = rng.uniform(0, 1, (256, 784)).astype(np.float32)
    y = rng.integers(0, 10, 256).astype(np.int32)
    return layers(rng, 784, 1024, 1024, 10), (x, y)


def mlp_mx(mx, nn):
    def loss(p, x, y):
        h = nn.relu(mx.addmm(p["b0"], x, p["w0"].T))
        h = nn.relu(mx.addmm(p["b1"], h, p["w1"].T))
        return nn.losses.cross_entropy(mx.addmm(p["b2"], h, p["w2"].T), y, reduction="mean")

    return loss


def mlp_jax(jax):
    jnp = jax.numpy

    def loss(p, x, y):
        h = jax.nn.relu(x @ p["w0"].T + p["b0"])
        h = jax.nn.relu(h @ p["w1"].T + p["b1"])
        logits = h @ p["w2"].T + p["b2"]
        picked = jnp.take_along_axis(logits, y[:, None], axis=1)[:, 0]
        return jnp.mean(jax.nn.logsumexp(logits, axis=1) - picked)

    return loss


def mlp_torch(torch, params):
    linear = torch.nn.functional.linear

    def loss(p, x, y):
        h = torch.relu(linear(x, p["w0"], p["b0"]))
        h = torch.relu(linear(h, p["w1"], p["b1"]))
        return torch.nn.functional.cross_entropy(linear(h, p["w2"], p["b2"]), y)

    return loss


MLP = Workload(
    name="mlp",
    title="784-1024-1024-10, batch 256, AdamW",
    data=mlp_data,
    mx=mlp_mx,
    jax=mlp_jax,
    torch=mlp_torch,
    update="adamw",
)


# 32-64-10, batch 128


def small_data(rng):
    x = rng.standard_normal((128, 32)).astype(np.float32)
    y = rng.standard_normal((128, 10)).astype(np.float32)
    return layers(rng, 32, 64, 10), (x, y)


def small_mx(mx, nn):
    def loss(p, x, y):
        h = nn.relu(x @ p["w0"].T + p["b0"])
        return mx.mean(mx.square(h @ p["w1"].T + p["b1"] - y))

    return loss


def small_jax(jax):
    def loss(p, x, y):
        h = jax.nn.relu(x @ p["w0"].T + p["b0"])
        return jax.numpy.mean(jax.numpy.square(h @ p["w1"].T + p["b1"] - y))

    return loss


def small_torch(torch, params):
    linear = torch.nn.functional.linear

    def loss(p, x, y):
        h = torch.relu(linear(x, p["w0"], p["b0"]))
        return torch.nn.functional.mse_loss(linear(h, p["w1"], p["b1"]), y)

    return loss


PER_SAMPLE = Workload(
    name="per-sample",
    title="gradients per sample (vmap), 32-64-10, 128 samples",
    data=small_data,
    mx=small_mx,
    jax=small_jax,
    torch=small_torch,
    kind="per_sample",
)

HVP = Workload(
    name="hvp",
    title="Hessian-vector product, 32-64-10, batch 128",
    data=small_data,
    mx=small_mx,
    jax=small_jax,
    torch=small_torch,
    kind="hvp",
)
