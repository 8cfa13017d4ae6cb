"""Transforms of functions of a module's parameters."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import covector.core as mx
from covector.nn.layers.base import Module

__all__ = ["checkpoint", "value_and_grad"]


def value_and_grad(model: Module, fn: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function which computes the value of ``fn`` and its gradient in the parameters of ``model``.

    Args:
        model: The module. ``fn`` uses it, whether it gets it as an argument or not.
        fn: A function that returns a scalar array, or a tuple whose first element is one.

    Returns:
        A function with the arguments of ``fn`` that returns ``(output of fn, gradients)``; the gradients have
        the structure of ``model.trainable_parameters()``.

    Example:
        >>> import covector.core as mx
        >>> import covector.nn as nn
        >>> model = nn.Linear(2, 1, bias=False)
        >>> def loss(x, y):
        ...     return nn.losses.mse_loss(model(x), y)
        >>> value, grads = nn.value_and_grad(model, loss)(mx.ones((4, 2)), mx.zeros((4, 1)))
        >>> grads["weight"].shape
        (1, 2)
    """
    _check("value_and_grad", model, fn)

    transformed = mx.value_and_grad(_with_parameters(model, fn))

    @functools.wraps(fn, updated=())
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return transformed(model.trainable_parameters(), *args, **kwargs)

    return wrapped


def checkpoint(module: Module, fn: Callable[..., Any] | None = None) -> Callable[..., Any]:
    """Returns a function that computes ``fn`` and keeps nothing of it for the backward pass but its inputs.

    The values that the derivative needs are computed again then: less memory for more time.

    Args:
        module: The module whose parameters the gradient reaches.
        fn: The function; by default the module itself.
    """
    call = module if fn is None else fn
    _check("checkpoint", module, call)

    inner = mx.checkpoint(_with_parameters(module, call))

    @functools.wraps(call, updated=())
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return inner(module.trainable_parameters(), *args, **kwargs)

    return wrapped


def _check(op: str, model: object, fn: object) -> None:
    if not isinstance(model, Module):
        kind = type(model).__name__
        raise TypeError(f"[{op}] the first argument must be a Module, not a value of type {kind}")
    if not callable(fn):
        kind = type(fn).__name__
        raise TypeError(f"[{op}] the second argument must be a function, but {kind} has no __call__")


def _with_parameters(model: Module, fn: Callable[..., Any]) -> Callable[..., Any]:
    """``fn`` as a function of the model's parameters as well, which come first."""

    def function(parameters: dict[str, Any], /, *args: Any, **kwargs: Any) -> Any:
        own = model.trainable_parameters()
        model.update(parameters)
        try:
            return fn(*args, **kwargs)
        finally:
            # The arrays that are traced must not stay in the model, also when fn fails.
            model.update(own)

    return function
