"""The contract's training step: a 32-64-10 network on fresh normal batches of 128, AdamW.

The only workload that draws random numbers in the step, so it is written for each library as its users
write it. The libraries are compared on three steps with given batches.
"""

from __future__ import annotations

import numpy as np

from .dense import layers
from .workload import Program, Workload, trained

RATE = 1e-3


def data(rng):
    batches = rng.standard_normal((3, 128, 32)), rng.standard_normal((3, 128, 10))
    return layers(rng, 32, 64, 10), tuple(b.astype(np.float32) for b in batches)


def jax_adamw(jax, params, grads, state, rate):
    """PyTorch's AdamW with its defaults: bias correction, decay 0.01."""
    jnp = jax.numpy
    first, second, count = state
    count = count + 1
    first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, grads)
    second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, second, grads)
    fix1, fix2 = 1 - 0.9**count, 1 - 0.999**count

    def move(p, m, v):
        return p * (1 - 0.01 * rate) - rate * (m / fix1) / (jnp.sqrt(v / fix2) + 1e-8)

    return jax.tree.map(move, params, first, second), (first, second, count)


def module_names(p):
    """The parameter tree of `Sequential(Linear, ReLU, Linear)`, from the flat one and back."""
    return {"layers": [{"weight": p["w0"], "bias": p["b0"]}, {}, {"weight": p["w1"], "bias": p["b1"]}]}


def flat_names(tree):
    one, _, two = tree["layers"]
    return {"w0": one["weight"], "b0": one["bias"], "w1": two["weight"], "b1": two["bias"]}


def covector(start, inputs, compiled):
    import covector.core as mx
    import covector.nn as nn
    import covector.optimizers as optimizers

    net = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 10))
    net.update(module_names({name: mx.array(leaf) for name, leaf in start.items()}))
    held = {"params": net.parameters(), "value": None}

    def loss_fn(p, x, y):
        return mx.mean((net.apply(p, x) - y) ** 2)

    opt = optimizers.AdamW(RATE)

    # The program of the contract, which never calls eval.
    def once(params):
        x = mx.random.normal((128, 32))
        y = mx.random.normal((128, 10))
        value, grads = mx.value_and_grad(loss_fn)(params, x, y)
        return value, opt.update(params, grads)

    if compiled:
        opt.init(held["params"])
        once = mx.compile(once, inputs=[opt.state], outputs=[opt.state])

    def step():
        held["value"], held["params"] = once(held["params"])
        if compiled:
            mx.eval(held["value"], held["params"], opt.state)

    def check(_):
        opt, params, seen = optimizers.AdamW(RATE, bias_correction=True), net.parameters(), []
        for x, y in zip(*inputs, strict=True):
            value, grads = mx.value_and_grad(loss_fn)(params, mx.array(x), mx.array(y))
            params = opt.update(params, grads)
            seen.append(grads)
        return trained(value, flat_names(params), start, flat_names(seen[0]))

    def forward():
        mx.eval(value_only(held["params"]))

    def gradient():
        mx.eval(value_and_grad(held["params"]))

    def value_only(params):
        return loss_fn(params, mx.random.normal((128, 32)), mx.random.normal((128, 10)))

    value_and_grad = mx.value_and_grad(value_only)
    if compiled:
        value_only, value_and_grad = mx.compile(value_only), mx.compile(value_and_grad)
    return Program(step, check, lambda: mx.eval(held["value"], held["params"], opt.state), forward, gradient)


def mlx(start, inputs, compiled):
    import mlx.core as mx
    import mlx.nn as nn
    import mlx.optimizers as optimizers

    net = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 10))
    net.update(module_names({name: mx.array(leaf) for name, leaf in start.items()}))
    mx.eval(net.parameters())
    opt = optimizers.AdamW(RATE)
    loss_and_grad = nn.value_and_grad(net, lambda x, y: mx.mean((net(x) - y) ** 2))
    state = [net.state, opt.state, mx.random.state]

    def once():
        value, grads = loss_and_grad(mx.random.normal((128, 32)), mx.random.normal((128, 10)))
        opt.update(net, grads)
        return value

    if compiled:
        once = mx.compile(once, inputs=state, outputs=state)

    def step():
        mx.eval(once(), state)  # otherwise the graph would grow without bound

    def check(_):
        opt, seen = optimizers.AdamW(RATE, bias_correction=True), []
        net.update(module_names({name: mx.array(leaf) for name, leaf in start.items()}))
        for x, y in zip(*inputs, strict=True):
            value, grads = loss_and_grad(mx.array(x), mx.array(y))
            opt.update(net, grads)
            seen.append(grads)
        return trained(value, flat_names(net.parameters()), start, flat_names(seen[0]))

    def forward():
        mx.eval(mx.mean((net(mx.random.normal((128, 32))) - mx.random.normal((128, 10))) ** 2))

    def gradient():
        mx.eval(loss_and_grad(mx.random.normal((128, 32)), mx.random.normal((128, 10))))

    return Program(step, check, forward=forward, gradient=gradient)


def jax(start, inputs, compiled):
    import jax
    import jax.numpy as jnp

    def loss(p, x, y):
        h = jax.nn.relu(x @ p["w0"].T + p["b0"])
        return jnp.mean((h @ p["w1"].T + p["b1"] - y) ** 2)

    def train(p, state, x, y):
        value, grads = jax.value_and_grad(loss)(p, x, y)
        return value, *jax_adamw(jax, p, grads, state, RATE)

    def once(p, state, key):
        key, a, b = jax.random.split(key, 3)
        x, y = jax.random.normal(a, (128, 32)), jax.random.normal(b, (128, 10))
        return *train(p, state, x, y), key

    def fresh():
        params = {name: jnp.array(leaf) for name, leaf in start.items()}
        zeros = {name: jnp.zeros_like(leaf) for name, leaf in params.items()}
        return params, (zeros, {name: leaf + 0 for name, leaf in zeros.items()}, jnp.zeros(()))

    jitted = jax.jit(once, donate_argnums=(0, 1))
    held = [None, *fresh(), jax.random.key(1)]

    def step():
        held[:] = jitted(*held[1:])

    def check(_):
        params, state = fresh()
        first = jax.grad(loss)(params, *(batch[0] for batch in inputs))
        for x, y in zip(*inputs, strict=True):
            value, params, state = jax.jit(train)(params, state, x, y)
        return trained(value, params, start, first)

    return Program(step, check, lambda: jax.block_until_ready(held[:3]))


def torch(start, inputs, compiled, double=False):
    import torch

    dtype = torch.float64 if double else torch.float32
    net = torch.nn.Sequential(torch.nn.Linear(32, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10)).to(dtype)

    def reset():
        with torch.no_grad():
            for layer, index in ((net[0], 0), (net[2], 1)):
                layer.weight.copy_(torch.from_numpy(start[f"w{index}"]))
                layer.bias.copy_(torch.from_numpy(start[f"b{index}"]))
        return torch.optim.AdamW(net.parameters(), lr=RATE, fused=True)

    opt = reset()
    leaves = {"w0": net[0].weight, "b0": net[0].bias, "w1": net[2].weight, "b1": net[2].bias}

    def loss_fn(x, y):
        return torch.nn.functional.mse_loss(net(x), y)

    if compiled:
        loss_fn = torch.compile(loss_fn)

    def train(opt, x, y):
        opt.zero_grad()
        loss = loss_fn(x, y)
        loss.backward()
        opt.step()
        return loss.detach()

    def step():
        train(opt, torch.randn(128, 32, dtype=dtype), torch.randn(128, 10, dtype=dtype))

    def check(_):
        fresh, seen = reset(), []
        for x, y in zip(*inputs, strict=True):
            value = train(fresh, torch.from_numpy(x).to(dtype), torch.from_numpy(y).to(dtype))
            seen.append({name: leaf.grad.clone() for name, leaf in leaves.items()})
        ended = {name: leaf.detach().numpy() for name, leaf in leaves.items()}
        return trained(value, ended, start, seen[0])

    return Program(step, check)


STEP = Workload(
    name="training-step",
    title="training step of 32-64-10, fresh normal batches of 128, AdamW",
    data=data,
    programs={"covector": covector, "mlx": mlx, "jax": jax, "torch": torch},
    note="covector's uncompiled step never calls eval",
)
