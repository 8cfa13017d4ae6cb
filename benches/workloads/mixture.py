"""Gaussian mixture with diagonal covariances: negative log-likelihood and its gradients.

Written twice: with the square expanded into matrix products, and by broadcasting points against
components.
"""

from __future__ import annotations

import math

import numpy as np

from .workload import Workload

POINTS, DIMENSIONS, COMPONENTS = 20_000, 8, 16


def data(rng):
    # The means are close to each other, so that no responsibility is subnormal. JAX rounds subnormal numbers
    # to zero, and in the other libraries arithmetic with them takes ten times as long, which would distort
    # the comparison.
    centres = rng.standard_normal((COMPONENTS, DIMENSIONS))
    points = centres[rng.integers(0, COMPONENTS, POINTS)] + rng.standard_normal((POINTS, DIMENSIONS))
    params = {
        "means": centres + 0.3 * rng.standard_normal(centres.shape),
        "scales": 0.2 * rng.standard_normal(centres.shape),
        "weights": 0.2 * rng.standard_normal(COMPONENTS),
    }
    return {name: leaf.astype(np.float32) for name, leaf in params.items()}, (points.astype(np.float32),)


CONSTANT = 0.5 * DIMENSIONS * math.log(2 * math.pi)


def expanded(exp, total, mean, log_softmax, logsumexp):
    """-log Σ w N(x; μ, e^s), from (x - μ)² = x² - 2 x μ + μ²."""

    def loss(p, points):
        precision = exp(-2.0 * p["scales"])
        weighted = p["means"] * precision
        square = (points * points) @ precision.T - 2.0 * (points @ weighted.T)
        prior = log_softmax(p["weights"]) - total(p["scales"], -1) - 0.5 * total(p["means"] * weighted, -1)
        return CONSTANT - mean(logsumexp(prior - 0.5 * square, -1))

    return loss


def broadcast(exp, total, mean, log_softmax, logsumexp):
    """The same function, computed with an array over points, components and dimensions."""

    def loss(p, points):
        z = (points[:, None, :] - p["means"]) * exp(-p["scales"])
        prior = log_softmax(p["weights"]) - total(p["scales"], -1)
        return CONSTANT - mean(logsumexp(prior - 0.5 * total(z * z, -1), -1))

    return loss


def of_mx(form):
    return lambda mx, nn: form(mx.exp, mx.sum, mx.mean, lambda w: w - mx.logsumexp(w), mx.logsumexp)


def of_jax(form):
    def build(jax):
        jnp = jax.numpy
        return form(jnp.exp, jnp.sum, jnp.mean, jax.nn.log_softmax, jax.nn.logsumexp)

    return build


def of_torch(form):
    def build(torch, params):
        return form(torch.exp, torch.sum, torch.mean, lambda w: torch.log_softmax(w, 0), torch.logsumexp)

    return build


MIXTURE = Workload(
    name="mixture",
    title="Gaussian mixture, 20k points, 16 components in 8 dimensions",
    data=data,
    mx=of_mx(expanded),
    jax=of_jax(expanded),
    torch=of_torch(expanded),
)

MIXTURE_BROADCAST = Workload(
    name="mixture-broadcast",
    title="Gaussian mixture by broadcasting, 20k×16×8",
    data=data,
    mx=of_mx(broadcast),
    jax=of_jax(broadcast),
    torch=of_torch(broadcast),
)
