"""Checks of the arguments of layers, so that a mistake is reported where it is made."""

from __future__ import annotations

import math
import operator
from typing import Any

__all__ = ["not_negative", "positive", "size", "sizes"]


def size(layer: str, name: str, value: Any, least: int = 1) -> int:
    """An int from ``least`` on."""
    try:
        if isinstance(value, bool):
            raise TypeError
        found = operator.index(value)
    except TypeError:
        kind = type(value).__name__
        raise TypeError(f"[{layer}] {name} must be an int, but {kind} {value!r} was given") from None
    if found < least:
        raise ValueError(f"[{layer}] {name} must be at least {least}, but {found} was given")
    return found


def sizes(layer: str, name: str, value: Any, axes: int, least: int = 1) -> tuple[int, ...]:
    """An int from ``least`` on for each axis; a single int counts for all."""
    if not isinstance(value, (tuple, list)):
        return (size(layer, name, value, least),) * axes
    if len(value) != axes:
        raise ValueError(f"[{layer}] {name} must be an int or {axes} of them, but {value!r} was given")
    return tuple(size(layer, name, v, least) for v in value)


def positive(layer: str, name: str, value: float) -> float:
    """A number that is greater than 0 and finite."""
    if not 0 < value < math.inf:
        raise ValueError(f"[{layer}] '{name}' must be positive but got {value}.")
    return value


def not_negative(layer: str, name: str, value: float) -> float:
    """A number from 0 on that is finite."""
    if not 0 <= value < math.inf:
        raise ValueError(f"[{layer}] '{name}' must not be negative but got {value}.")
    return value
