"""A two-block transformer language model: width 256, 4 heads, 128 tokens, batch 8, SGD."""

from __future__ import annotations

import numpy as np

from .workload import Workload

BLOCKS, WIDTH, HEADS, TOKENS, BATCH, VOCABULARY = 2, 256, 4, 128, 8, 1024
HEAD = WIDTH // HEADS


def data(rng):
    def normal(*shape, scale=WIDTH**-0.5):
        return (scale * rng.standard_normal(shape)).astype(np.float32)

    params = {"tokens": normal(VOCABULARY, WIDTH, scale=0.5), "positions": normal(TOKENS, WIDTH, scale=0.1)}
    for k in range(BLOCKS):
        for norm in ("norm1", "norm2"):
            params[f"{norm}.scale{k}"] = 1 + normal(WIDTH, scale=0.05)
            params[f"{norm}.shift{k}"] = normal(WIDTH, scale=0.05)
        params[f"qkv{k}"] = normal(3 * WIDTH, WIDTH)
        params[f"out{k}"] = normal(WIDTH, WIDTH)
        params[f"up{k}"] = normal(4 * WIDTH, WIDTH)
        params[f"up.bias{k}"] = normal(4 * WIDTH, scale=0.05)
        params[f"down{k}"] = normal(WIDTH, 4 * WIDTH, scale=(4 * WIDTH) ** -0.5)
        params[f"down.bias{k}"] = normal(WIDTH, scale=0.05)
    params |= {"norm.scale": 1 + normal(WIDTH, scale=0.05), "norm.shift": normal(WIDTH, scale=0.05)}
    params["head"] = normal(VOCABULARY, WIDTH)
    text = rng.integers(0, VOCABULARY, (BATCH, TOKENS + 1)).astype(np.int32)
    return params, (np.ascontiguousarray(text[:, :-1]), np.ascontiguousarray(text[:, 1:]))


def loss_mx(mx, nn):
    def heads(x):
        return x.reshape(BATCH, TOKENS, HEADS, HEAD).transpose(0, 2, 1, 3)

    def loss(p, text, target):
        x = p["tokens"][text] + p["positions"]
        for k in range(BLOCKS):
            h = mx.fast.layer_norm(x, p[f"norm1.scale{k}"], p[f"norm1.shift{k}"], 1e-5)
            q, key, v = (heads(part) for part in mx.split(h @ p[f"qkv{k}"].T, 3, axis=-1))
            h = mx.fast.scaled_dot_product_attention(q, key, v, scale=HEAD**-0.5, mask="causal")
            x = x + h.transpose(0, 2, 1, 3).reshape(BATCH, TOKENS, WIDTH) @ p[f"out{k}"].T
            h = mx.fast.layer_norm(x, p[f"norm2.scale{k}"], p[f"norm2.shift{k}"], 1e-5)
            h = nn.gelu(h @ p[f"up{k}"].T + p[f"up.bias{k}"])
            x = x + h @ p[f"down{k}"].T + p[f"down.bias{k}"]
        x = mx.fast.layer_norm(x, p["norm.scale"], p["norm.shift"], 1e-5)
        return nn.losses.cross_entropy(x @ p["head"].T, target, reduction="mean")

    return loss


def loss_jax(jax):
    jnp = jax.numpy

    def norm(x, scale, shift):
        x = x - x.mean(-1, keepdims=True)
        return x * jax.lax.rsqrt(jnp.square(x).mean(-1, keepdims=True) + 1e-5) * scale + shift

    def loss(p, text, target):
        x = p["tokens"][text] + p["positions"]
        for k in range(BLOCKS):
            h = norm(x, p[f"norm1.scale{k}"], p[f"norm1.shift{k}"])
            parts = jnp.split(h @ p[f"qkv{k}"].T, 3, axis=-1)
            q, key, v = (part.reshape(BATCH, TOKENS, HEADS, HEAD) for part in parts)
            h = jax.nn.dot_product_attention(q, key, v, is_causal=True)
            x = x + h.reshape(BATCH, TOKENS, WIDTH) @ p[f"out{k}"].T
            h = norm(x, p[f"norm2.scale{k}"], p[f"norm2.shift{k}"])
            h = jax.nn.gelu(h @ p[f"up{k}"].T + p[f"up.bias{k}"], approximate=False)
            x = x + h @ p[f"down{k}"].T + p[f"down.bias{k}"]
        logits = norm(x, p["norm.scale"], p["norm.shift"]) @ p["head"].T
        picked = jnp.take_along_axis(logits, target[..., None], axis=-1)[..., 0]
        return jnp.mean(jax.nn.logsumexp(logits, axis=-1) - picked)

    return loss


def loss_torch(torch, params):
    f = torch.nn.functional

    def heads(x):
        return x.view(BATCH, TOKENS, HEADS, HEAD).transpose(1, 2)

    def loss(p, text, target):
        x = f.embedding(text, p["tokens"]) + p["positions"]
        for k in range(BLOCKS):
            h = f.layer_norm(x, (WIDTH,), p[f"norm1.scale{k}"], p[f"norm1.shift{k}"])
            q, key, v = (heads(part) for part in f.linear(h, p[f"qkv{k}"]).split(WIDTH, -1))
            h = f.scaled_dot_product_attention(q, key, v, is_causal=True)
            x = x + f.linear(h.transpose(1, 2).reshape(BATCH, TOKENS, WIDTH), p[f"out{k}"])
            h = f.layer_norm(x, (WIDTH,), p[f"norm2.scale{k}"], p[f"norm2.shift{k}"])
            h = f.gelu(f.linear(h, p[f"up{k}"], p[f"up.bias{k}"]))
            x = x + f.linear(h, p[f"down{k}"], p[f"down.bias{k}"])
        x = f.layer_norm(x, (WIDTH,), p["norm.scale"], p["norm.shift"])
        return f.cross_entropy(f.linear(x, p["head"]).flatten(0, 1), target.flatten())

    return loss


TRANSFORMER = Workload(
    name="transformer",
    title="two-block transformer, d 256, 128 tokens, batch 8, SGD",
    data=data,
    mx=loss_mx,
    jax=loss_jax,
    torch=loss_torch,
    update="sgd",
    rate=0.1,
)
