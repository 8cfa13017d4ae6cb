"""Observes a program from outside: the nodes of its graphs, and the kernels that it runs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any


class Seen:
    """Filled in by `observed`."""

    def __init__(self) -> None:
        self.nodes = 0
        """Nodes of the graphs passed to `mx.eval`, if they are counted."""
        self.events: list[Any] = []
        """The kernels that ran, in order, with the events of planning and tracing."""
        self.peak = 0
        """The most bytes of arrays at once, beyond those that existed before."""

    @property
    def kernels(self) -> list[Any]:
        return [event for event in self.events if event.kind == "kernel"]

    @property
    def plans(self) -> int:
        """The number of graphs that had to be planned."""
        return sum(event.kind == "plan" for event in self.events)

    @property
    def planning_us(self) -> float:
        return sum(event.duration_us for event in self.events if event.kind == "plan")


def size_of_graph(mx: Any, arguments: tuple[Any, ...]) -> int:
    """The number of nodes that have to be computed for some arrays, or trees of arrays."""
    from covector.utils import tree_flatten

    leaves = [leaf for _, leaf in tree_flatten(list(arguments)) if isinstance(leaf, mx.array)]
    # A line a node: an operation ends with its operands in parentheses, a leaf with the word `values`.
    return sum(line.endswith(")") for line in mx.graph_text(*leaves).splitlines()) if leaves else 0


@contextlib.contextmanager
def observed(mx: Any, count_nodes: bool = False) -> Iterator[Seen]:
    """Records the kernels that run inside the block."""
    seen, evaluate = Seen(), mx.eval

    def counting(*arguments: Any) -> None:
        seen.nodes += size_of_graph(mx, arguments)
        evaluate(*arguments)

    active = mx.get_active_memory()
    mx.reset_peak_memory()
    if count_nodes:
        mx.eval = counting
    try:
        with mx.profile() as profile:
            yield seen
    finally:
        mx.eval = evaluate
    seen.events = profile.events
    seen.peak = mx.get_peak_memory() - active
