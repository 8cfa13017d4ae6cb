"""A small convolutional network, batch 64 on 28×28×1, SGD."""

from __future__ import annotations

import numpy as np

from .workload import Workload


def data(rng):
    def weights(shape, fan_in):
        return (rng.standard_normal(shape) * (2 / fan_in) ** 0.5).astype(np.float32)

    params = {
        "w0": weights((16, 3, 3, 1), 9),
        "b0": np.full(16, 0.01, np.float32),
        "w1": weights((32, 3, 3, 16), 144),
        "b1": np.full(32, 0.01, np.float32),
        # Axes: output, row, column, channel; the loss flattens the last three.
        "w2": weights((10, 7, 7, 32), 1568),
        "b2": np.zeros(10, np.float32),
    }
    images = rng.standard_normal((64, 28, 28, 1)).astype(np.float32)
    return params, (images, rng.integers(0, 10, 64).astype(np.int32))


def loss_mx(mx, nn):
    pool = nn.MaxPool2d(2, 2)

    def loss(p, x, y):
        h = pool(nn.relu(mx.conv2d(x, p["w0"], padding=1) + p["b0"]))
        h = pool(nn.relu(mx.conv2d(h, p["w1"], padding=1) + p["b1"]))
        logits = h.reshape(64, -1) @ p["w2"].reshape(10, -1).T + p["b2"]
        return nn.losses.cross_entropy(logits, y, reduction="mean")

    return loss


def loss_jax(jax):
    jnp = jax.numpy

    def conv(x, w):
        return jax.lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    def pool(x):
        # On a CPU, JAX runs this twice as fast as `reduce_window`, whose gradient is slow.
        n, h, w, c = x.shape
        return x.reshape(n, h // 2, 2, w // 2, 2, c).max((2, 4))

    def loss(p, x, y):
        h = pool(jax.nn.relu(conv(x, p["w0"]) + p["b0"]))
        h = pool(jax.nn.relu(conv(h, p["w1"]) + p["b1"]))
        logits = h.reshape(64, -1) @ p["w2"].reshape(-1, 10) + p["b2"]
        picked = jnp.take_along_axis(logits, y[:, None], axis=1)[:, 0]
        return jnp.mean(jax.nn.logsumexp(logits, axis=1) - picked)

    return loss


def loss_torch(torch, params):
    f = torch.nn.functional

    def loss(p, x, y):
        h = f.max_pool2d(torch.relu(f.conv2d(x, p["w0"], p["b0"], padding=1)), 2)
        h = f.max_pool2d(torch.relu(f.conv2d(h, p["w1"], p["b1"], padding=1)), 2)
        return f.cross_entropy(f.linear(h.flatten(1), p["w2"].flatten(1), p["b2"]), y)

    return loss


CONVNET = Workload(
    name="convnet",
    title="convnet, batch 64 on 28×28, SGD",
    data=data,
    mx=loss_mx,
    jax=loss_jax,
    torch=loss_torch,
    update="sgd",
    rate=0.05,
    layouts={
        "jax": {"w0": (1, 2, 3, 0), "w1": (1, 2, 3, 0), "w2": (1, 2, 3, 0)},
        "torch": {"w0": (0, 3, 1, 2), "w1": (0, 3, 1, 2), "w2": (0, 3, 1, 2), "input0": (0, 3, 1, 2)},
    },
)
