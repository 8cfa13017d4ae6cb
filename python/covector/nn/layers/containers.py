"""Modules made of other modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from covector.nn.layers.base import Module

__all__ = ["Sequential"]


class Sequential(Module):
    """One module after the other: each is called with the result of the one before.

    Args:
        modules: The modules, or plain functions. They are in ``layers``.

    Example:
        >>> import covector.nn as nn
        >>> nn.Sequential(nn.Linear(32, 64), nn.relu, nn.Linear(64, 10))
        Sequential(
          (layers.0): Linear(input_dims=32, output_dims=64, bias=True)
          (layers.2): Linear(input_dims=64, output_dims=10, bias=True)
        )
    """

    def __init__(self, *modules: Callable[[Any], Any]) -> None:
        super().__init__()
        self.layers = list(modules)

    def __call__(self, x: Any) -> Any:
        for layer in self["layers"]:
            x = layer(x)
        return x
