"""From a workload's loss to a program that one library runs.

`DRIVERS` maps a column of the table to the function that builds its program. covector and MLX share
one driver: the same code with another import.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
from workloads.training import jax_adamw
from workloads.workload import Arrays, Program, Workload, named, trained


def arranged(workload: Workload, library: str, params: Arrays, inputs: tuple) -> tuple[Arrays, tuple]:
    """Parameters and inputs with their axes in the library's order."""
    layout = workload.layouts.get(library, {})

    def one(name, leaf):
        return np.ascontiguousarray(leaf.transpose(layout[name])) if name in layout else leaf

    params = {name: one(name, leaf) for name, leaf in params.items()}
    return params, tuple(one(f"input{k}", leaf) for k, leaf in enumerate(inputs))


def restored(workload: Workload, library: str, values: Arrays) -> Arrays:
    """Values of a library with their axes in the workload's order."""
    layout = workload.layouts.get(library, {})
    return {
        name: leaf.transpose(np.argsort(layout[own])) if (own := name.split()[-1]) in layout else leaf
        for name, leaf in values.items()
    }


def each_leaf(function, value):
    """`function` of an array, or of each array in a dictionary."""
    if isinstance(value, dict):
        return {name: function(leaf) for name, leaf in value.items()}
    return function(value)


# covector and MLX


def mlx_like(package: str, compiled: bool) -> Callable[[Workload, Arrays, tuple], Program]:
    def build(workload: Workload, start: Arrays, inputs: tuple) -> Program:
        if workload.programs:
            return workload.programs[package](start, inputs, compiled)
        mx = importlib.import_module(f"{package}.core")
        nn = importlib.import_module(f"{package}.nn")
        loss = workload.mx(mx, nn)
        params = each_leaf(mx.array, start)
        inputs = tuple(each_leaf(mx.array, leaf) for leaf in inputs)
        mx.eval(params, inputs)
        compile_or_not = mx.compile if compiled else lambda function: function
        forward = compile_or_not(loss)
        value_and_grad = compile_or_not(mx.value_and_grad(loss))
        axes = (None,) + (0,) * len(inputs)

        def run(function, *arguments):
            out = function(*arguments)
            mx.eval(out)
            return out

        if workload.kind == "per_sample":
            per_sample = compile_or_not(mx.vmap(mx.value_and_grad(loss), in_axes=axes))
            values = compile_or_not(mx.vmap(loss, in_axes=axes))
            return Program(
                step=lambda: run(per_sample, params, *inputs),
                check=lambda out: named(*out),
                forward=lambda: run(values, params, *inputs),
            )
        if workload.kind == "hvp":
            *inputs, tangents = inputs
            names = list(params)

            def product(params, tangents, *inputs):
                def gradient(*leaves):
                    grads = mx.grad(loss)(dict(zip(names, leaves, strict=True)), *inputs)
                    return [grads[name] for name in names]

                point, direction = [params[n] for n in names], [tangents[n] for n in names]
                return dict(zip(names, mx.jvp(gradient, point, direction)[1], strict=True))

            product = compile_or_not(product)
            return Program(
                step=lambda: run(product, params, tangents, *inputs),
                check=lambda out: named(None, out),
                forward=lambda: run(forward, params, *inputs),
                gradient=lambda: run(value_and_grad, params, *inputs),
            )
        if workload.update is None:
            return Program(
                step=lambda: run(value_and_grad, params, *inputs),
                check=lambda out: named(*out),
                forward=lambda: run(forward, params, *inputs),
            )

        held, state = {"params": params}, []
        gradient = mx.value_and_grad(loss)
        if workload.update == "sgd":

            def once(params, *inputs):
                value, grads = gradient(params, *inputs)
                return value, {name: leaf - workload.rate * grads[name] for name, leaf in params.items()}

        else:
            optimizers = importlib.import_module(f"{package}.optimizers")
            opt = optimizers.AdamW(workload.rate, bias_correction=True)
            opt.init(params)
            mx.eval(opt.state)
            state = [opt.state]

            def once(params, *inputs):
                value, grads = gradient(params, *inputs)
                return value, opt.apply_gradients(grads, params)

        if compiled:
            once = mx.compile(once, inputs=state, outputs=state)

        def step():
            value, held["params"] = once(held["params"], *inputs)
            mx.eval(value, held["params"], state)
            return value

        def check(_):
            step()
            value = step()
            grads = value_and_grad({name: mx.array(leaf) for name, leaf in start.items()}, *inputs)[1]
            return trained(value, held["params"], start, grads)

        params = None  # so that each step frees the parameters before it, as in a program
        return Program(
            step,
            check,
            forward=lambda: run(forward, held["params"], *inputs),
            gradient=lambda: run(value_and_grad, held["params"], *inputs),
        )

    return build


# JAX


def jax_jit(workload: Workload, start: Arrays, inputs: tuple) -> Program:
    import jax

    jnp = jax.numpy
    if workload.programs:
        return workload.programs["jax"](start, inputs, True)
    loss = workload.jax(jax)
    params = each_leaf(jnp.array, start)
    inputs = tuple(each_leaf(jnp.array, leaf) for leaf in inputs)
    jax.block_until_ready((params, inputs))
    forward, value_and_grad = jax.jit(loss), jax.jit(jax.value_and_grad(loss))
    axes = (None,) + (0,) * len(inputs)

    def run(function, *arguments):
        return jax.block_until_ready(function(*arguments))

    if workload.kind == "per_sample":
        per_sample = jax.jit(jax.vmap(jax.value_and_grad(loss), in_axes=axes))
        values = jax.jit(jax.vmap(loss, in_axes=axes))
        return Program(
            step=lambda: run(per_sample, params, *inputs),
            check=lambda out: named(*out),
            forward=lambda: run(values, params, *inputs),
        )
    if workload.kind == "hvp":
        *inputs, tangents = inputs

        @jax.jit
        def product(params, tangents, *inputs):
            return jax.jvp(lambda p: jax.grad(loss)(p, *inputs), (params,), (tangents,))[1]

        return Program(
            step=lambda: run(product, params, tangents, *inputs),
            check=lambda out: named(None, out),
            forward=lambda: run(forward, params, *inputs),
            gradient=lambda: run(value_and_grad, params, *inputs),
        )
    if workload.update is None:
        return Program(
            step=lambda: run(value_and_grad, params, *inputs),
            check=lambda out: named(*out),
            forward=lambda: run(forward, params, *inputs),
        )

    def zeros():
        return {name: jnp.zeros_like(leaf) for name, leaf in params.items()}

    state = None if workload.update == "sgd" else (zeros(), zeros(), jnp.zeros(()))

    def once(params, state, *inputs):
        value, grads = jax.value_and_grad(loss)(params, *inputs)
        if state is None:
            return value, jax.tree.map(lambda p, g: p - workload.rate * g, params, grads), None
        return value, *jax_adamw(jax, params, grads, state, workload.rate)

    once = jax.jit(once, donate_argnums=(0, 1))
    held = [None, params, state]

    def step():
        held[:] = once(*held[1:], *inputs)

    def check(_):
        step()
        step()
        grads = value_and_grad(each_leaf(jnp.array, start), *inputs)[1]
        return trained(*held[:2], start, grads)

    return Program(
        step,
        check,
        finish=lambda: jax.block_until_ready(held),
        forward=lambda: run(forward, held[1], *inputs),
        gradient=lambda: run(value_and_grad, held[1], *inputs),
    )


# PyTorch


def pytorch(compiled: bool = False, double: bool = False, extra: str = "") -> Callable[..., Program]:
    def build(workload: Workload, start: Arrays, inputs: tuple) -> Program:
        import torch

        if workload.programs:
            return workload.programs["torch"](start, inputs, compiled, double)

        def tensor(leaf):
            out = torch.from_numpy(leaf.copy())
            if not out.is_floating_point():
                return out.long()
            return out.double() if double else out

        params = {name: tensor(leaf).requires_grad_() for name, leaf in start.items()}
        inputs = tuple(each_leaf(tensor, leaf) for leaf in inputs)
        loss = (workload.extras[extra] if extra else workload.torch)(torch, params)
        maybe_compiled = torch.compile if compiled else lambda function: function
        names = list(params)

        if workload.kind == "per_sample":
            axes = (None,) + (0,) * len(inputs)
            plain = {name: leaf.detach() for name, leaf in params.items()}
            per_sample = maybe_compiled(torch.func.vmap(torch.func.grad_and_value(loss), in_dims=axes))
            values = maybe_compiled(torch.func.vmap(loss, in_dims=axes))
            return Program(
                step=lambda: per_sample(plain, *inputs),
                check=lambda out: named(out[1], out[0]),
                forward=lambda: values(plain, *inputs),
            )

        def value_and_grad(loss, *inputs):
            value = loss(params, *inputs)
            grads = torch.autograd.grad(value, [params[name] for name in names])
            return value.detach(), dict(zip(names, grads, strict=True))

        if workload.kind == "hvp":
            *inputs, tangents = inputs
            plain = {name: leaf.detach() for name, leaf in params.items()}

            def product(params, tangents, *inputs):
                # Reverse over reverse, which in PyTorch is faster than torch.func.jvp over grad.
                gradient = torch.func.grad(loss)
                return torch.func.vjp(lambda p: gradient(p, *inputs), params)[1](tangents)[0]

            product = maybe_compiled(product)
            return Program(
                step=lambda: product(plain, tangents, *inputs),
                check=lambda out: named(None, out),
                forward=lambda: loss(plain, *inputs),
                gradient=lambda: value_and_grad(loss, *inputs),
            )
        loss = maybe_compiled(loss)

        def forward():
            with torch.no_grad():
                return loss(params, *inputs)

        if workload.update is None:
            return Program(
                step=lambda: value_and_grad(loss, *inputs), check=lambda out: named(*out), forward=forward
            )
        optimizer = torch.optim.SGD if workload.update == "sgd" else torch.optim.AdamW
        opt = optimizer(params.values(), lr=workload.rate, fused=True)

        def step():
            opt.zero_grad()
            value = loss(params, *inputs)
            value.backward()
            opt.step()
            return value.detach()

        def check(_):
            step()
            value = step()
            ended = {name: leaf.detach().numpy().copy() for name, leaf in params.items()}
            with torch.no_grad():
                for name, leaf in params.items():
                    leaf.copy_(tensor(start[name]))
            return trained(value, ended, start, value_and_grad(loss, *inputs)[1])

        return Program(step, check, forward=forward, gradient=lambda: value_and_grad(loss, *inputs))

    return build


DRIVERS: dict[str, Callable[[Workload, Arrays, tuple], Program]] = {
    "covector": mlx_like("covector", False),
    "covector-compiled": mlx_like("covector", True),
    "mlx": mlx_like("mlx", False),
    "mlx-compiled": mlx_like("mlx", True),
    "jax": jax_jit,
    "torch": pytorch(),
    "torch-compiled": pytorch(compiled=True),
    "torch-cells": pytorch(extra="torch-cells"),
    "reference": pytorch(double=True),
}


def library(column: str) -> str:
    """The library of a column: covector, mlx, jax or torch."""
    return "torch" if column == "reference" else column.split("-")[0]


def build(workload: Workload, column: str, params: Arrays, inputs: tuple[Any, ...]) -> Program:
    """The workload's program for a column; its `check` returns values in the workload's layout."""
    there, given = arranged(workload, library(column), params, inputs)
    program = DRIVERS[column](workload, there, given)
    check = program.check
    program.check = lambda out: restored(workload, library(column), check(out))
    return program
