"""The types of workloads, and of a library's program for one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]


@dataclass
class Program:
    """A workload that is ready to run in one library."""

    step: Callable[[], Any]
    """One timed step, up to and including the wait for its result."""
    check: Callable[[Any], Arrays]
    """From the result of the first step to the named values that must agree between libraries."""
    finish: Callable[[], None] = lambda: None
    """Waits for work that steps have not finished; called before the clock is read."""
    forward: Callable[[], Any] | None = None
    """The forward value alone."""
    gradient: Callable[[], Any] | None = None
    """Value and gradients without the update, if a step includes an update."""


@dataclass(frozen=True)
class Workload:
    """A loss, written for each interface, and its data.

    `data` returns parameters and inputs as NumPy arrays, the same for every library. The losses take
    `(params, *inputs)`; `drivers` has the programs that are made of them.
    """

    name: str
    title: str
    data: Callable[[np.random.Generator], tuple[Arrays, tuple[Any, ...]]]
    mx: Callable[[Any, Any], Callable[..., Any]] | None = None
    """From `(mlx.core, mlx.nn)`, or covector's modules of those names, to the loss."""
    jax: Callable[[Any], Callable[..., Any]] | None = None
    """From `jax` to the loss."""
    torch: Callable[[Any, dict[str, Any]], Callable[..., Any]] | None = None
    """From `torch` and the parameters to the loss; may put its own parameters into the dictionary."""
    kind: str = "gradient"
    """`gradient`: value and gradients; `per_sample`: those under vmap; `hvp`: a Hessian-vector product."""
    update: str | None = None
    """The optimizer that ends a step: `sgd`, `adamw` or none."""
    rate: float = 1e-3
    layouts: Mapping[str, Mapping[str, Sequence[int]]] = field(default_factory=dict)
    """For each library, the axis orders of parameters and inputs (`input0` …) that differ from MLX's."""
    extras: Mapping[str, Callable[[Any, dict[str, Any]], Callable[..., Any]]] = field(default_factory=dict)
    """Further PyTorch versions, by the names of their columns."""
    programs: Mapping[str, Callable[..., Program]] = field(default_factory=dict)
    """Whole programs for each library, for a workload that is not just a loss."""
    tolerance: float = 1e-3
    """The largest relative error, in the Euclidean norm, of values and gradients against float64."""
    note: str = ""


def named(value, leaves) -> Arrays:
    """The values to compare: the loss, and the gradients by name."""
    out = {} if value is None else {"value": np.asarray(value, np.float64)}
    return out | {name: np.asarray(leaf, np.float64) for name, leaf in leaves.items()}


def trained(value, params, start, grads) -> Arrays:
    """The values to compare for a training step: last loss, changes of parameters, gradients at the start."""
    moved = {f"moved {name}": np.asarray(leaf, np.float64) - start[name] for name, leaf in params.items()}
    return named(value, grads) | moved
