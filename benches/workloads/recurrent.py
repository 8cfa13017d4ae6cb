"""An LSTM over 64 steps, batch 32, 64 inputs, 128 hidden units, written cell by cell."""

from __future__ import annotations

import numpy as np

from .workload import Workload

BATCH, STEPS, INPUTS, HIDDEN = 32, 64, 64, 128


def data(rng):
    bound = HIDDEN**-0.5
    params = {
        "wx": rng.uniform(-bound, bound, (4 * HIDDEN, INPUTS)),
        "wh": rng.uniform(-bound, bound, (4 * HIDDEN, HIDDEN)),
        "b": rng.uniform(-bound, bound, 4 * HIDDEN),
    }
    x = rng.standard_normal((BATCH, STEPS, INPUTS))
    y = rng.standard_normal((BATCH, STEPS, HIDDEN))
    return {name: leaf.astype(np.float32) for name, leaf in params.items()}, (
        x.astype(np.float32),
        y.astype(np.float32),
    )


def loss_mx(mx, nn):
    def loss(p, x, y):
        h = c = mx.zeros((BATCH, HIDDEN))
        outputs = []
        for t in range(STEPS):
            gates = x[:, t] @ p["wx"].T + h @ p["wh"].T + p["b"]
            i, f, g, o = mx.split(gates, 4, axis=-1)
            c = mx.sigmoid(f) * c + mx.sigmoid(i) * mx.tanh(g)
            h = mx.sigmoid(o) * mx.tanh(c)
            outputs.append(h)
        return mx.mean(mx.square(mx.stack(outputs, axis=1) - y))

    return loss


def loss_jax(jax):
    jnp = jax.numpy

    def loss(p, x, y):
        def cell(carry, x):
            h, c = carry
            gates = x @ p["wx"].T + h @ p["wh"].T + p["b"]
            i, f, g, o = jnp.split(gates, 4, axis=-1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
            return (h, c), h

        zeros = jnp.zeros((BATCH, HIDDEN))
        _, outputs = jax.lax.scan(cell, (zeros, zeros), x.swapaxes(0, 1))
        return jnp.mean(jnp.square(outputs.swapaxes(0, 1) - y))

    return loss


def loss_torch(torch, params):
    """PyTorch's fused `nn.LSTM`; its second bias is zero, and its gradient is not compared."""
    lstm = torch.nn.LSTM(INPUTS, HIDDEN, batch_first=True, dtype=params["wx"].dtype)
    with torch.no_grad():
        lstm.bias_hh_l0.zero_()
    lstm.bias_hh_l0.requires_grad_(False)
    for name, theirs in {"wx": "weight_ih_l0", "wh": "weight_hh_l0", "b": "bias_ih_l0"}.items():
        setattr(lstm, theirs, torch.nn.Parameter(params[name].detach()))
        params[name] = getattr(lstm, theirs)

    def loss(p, x, y):
        return torch.nn.functional.mse_loss(lstm(x)[0], y)

    return loss


def cells_torch(torch, params):
    linear = torch.nn.functional.linear

    def loss(p, x, y):
        h = c = torch.zeros(BATCH, HIDDEN, dtype=x.dtype)
        outputs = []
        for t in range(STEPS):
            gates = linear(x[:, t], p["wx"], p["b"]) + linear(h, p["wh"])
            i, f, g, o = gates.chunk(4, -1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            outputs.append(h)
        return torch.nn.functional.mse_loss(torch.stack(outputs, 1), y)

    return loss


LSTM = Workload(
    name="lstm",
    title="LSTM, 64 steps, batch 32, inputs 64, hidden 128",
    data=data,
    mx=loss_mx,
    jax=loss_jax,
    torch=loss_torch,
    extras={"torch-cells": cells_torch},
    note="PyTorch's is its fused nn.LSTM, the others are written cell by cell",
)
