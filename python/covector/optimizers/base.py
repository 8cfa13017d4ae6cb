"""The base class of optimizers: state, schedules and updates of trees and modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import covector.core as mx
from covector._covector import nn as native
from covector.nn.layers.base import Module
from covector.utils import _build, _Open, tree_map

__all__ = ["LearningRate", "Optimizer", "clip_grad_norm"]

clip_grad_norm = native.clip_grad_norm

LearningRate = float | mx.array | Callable[[mx.array], Any]


class Optimizer:
    """The base class of optimizers.

    ``opt.update(params, grads)`` returns new parameters and changes neither argument.
    ``opt.update(model, grads)`` changes the parameters of a module in place. The optimizer keeps values
    between steps in :attr:`state`, a tree of arrays.

    Outside of transforms the new parameters and the new state are evaluated together, with the next
    evaluation or in the next step. By then the old arrays are no longer referenced, and the new ones reuse
    their memory. So a loop that never reads a value runs in bounded memory.

    A subclass defines ``init_single(parameter, state)``, which puts the first state of one
    parameter into a dict, and ``apply_single(gradient, parameter, state)``, which changes that dict and
    returns the new parameter.

    Args:
        schedulers: For each name in :attr:`state` with a schedule, the function from the step to the value.
    """

    # The row of the native library's table that the class is made from.
    _row: Any = None

    def __init__(self, schedulers: dict[str, Callable[[mx.array], Any]] | None = None) -> None:
        self._initialized = False
        self._state: dict[str, Any] = {"step": mx.array(0, mx.uint64)}
        self._schedulers = dict(schedulers or {})

    def _rule(self) -> Any:
        """The native update with the present settings; ``None`` for an optimizer written in Python."""
        return None if self._row is None else self._row.rule(self)

    # State

    @property
    def state(self) -> dict[str, Any]:
        """The values kept between steps, as a tree of arrays.

        The entries are ``step``, ``learning_rate`` and other settings that follow a schedule, then the tree
        of the parameters with a dict of arrays in place of each. If the parameters are not a dict, or have
        entries of those names, their tree is under ``parameters``.

        The arrays are ``float32`` where the gradients are ``float16`` or ``bfloat16``: in those types running
        means stall and small squares vanish. (MLX keeps them in the gradients' type.) A step is computed in
        ``float32`` too, and the new parameter is rounded once.
        """
        return self._state

    @state.setter
    def state(self, state: dict[str, Any]) -> None:
        self._initialized = False
        self._state = state

    @property
    def step(self) -> mx.array:
        """The number of steps taken."""
        step: mx.array = self._state["step"]
        return step

    @property
    def learning_rate(self) -> mx.array:
        """The learning rate; with a schedule, the one of the last step."""
        rate: mx.array = self._state["learning_rate"]
        return rate

    @learning_rate.setter
    def learning_rate(self, learning_rate: float | mx.array) -> None:
        self._state["learning_rate"] = _scalar("learning_rate", learning_rate)

    def _maybe_schedule(self, name: str, value: LearningRate) -> None:
        """Puts a number into the state, or registers a schedule and puts its first value into the state."""
        if callable(value):
            self._schedulers[name] = value
            value = value(self.step)
        self._state[name] = _scalar(name, value)

    def _nested(self, parameters: Any) -> bool:
        """Whether the state of the parameters needs an entry of its own besides the settings."""
        return not isinstance(parameters, dict) or any(
            name in parameters for name in ("step", "learning_rate", *self._schedulers)
        )

    # Steps

    def init(self, parameters: Any) -> None:
        """Makes the first state for a tree of parameters. The first step calls this if needed."""
        self._init(parameters, self._nested(parameters))

    def _init(self, parameters: Any, nested: bool) -> None:
        rule = self._rule()
        if rule is not None and type(self).init_single is Optimizer.init_single:
            fresh = rule.init(parameters)
        else:
            fresh = _map(self._init_one, parameters)
        if nested:
            fresh = {"parameters": fresh}
        # Entries of a loaded state are kept.
        _complete(self._state, fresh)
        self._initialized = True

    def _empty(self) -> bool:
        """Whether the state of the parameters is missing, as after ``compile`` has undone a first step."""
        return all(n in ("step", "learning_rate") or n in self._schedulers for n in self._state)

    def _init_one(self, parameter: mx.array) -> dict[str, Any]:
        state: dict[str, Any] = {}
        self.init_single(parameter, state)
        return state

    def init_single(self, parameter: mx.array, state: dict[str, Any]) -> None:
        """Puts the first state of one parameter into ``state``."""
        rule = self._rule()
        if rule is None:
            raise NotImplementedError(f"[{type(self).__name__}] init_single is missing: define it")
        rule.init_single(parameter, state)

    def apply_single(self, gradient: mx.array, parameter: mx.array, state: dict[str, Any]) -> mx.array:
        """The new value of one parameter; the arrays in ``state`` are replaced."""
        rule = self._rule()
        if rule is None:
            raise NotImplementedError(f"[{type(self).__name__}] apply_single is missing: define it")
        new: mx.array = rule.apply(gradient, parameter, state, self.learning_rate, self.step)
        return new

    def apply_gradients(self, gradients: Any, parameters: Any) -> Any:
        """One step.

        Args:
            gradients: A tree of arrays.
            parameters: A tree of the same structure, or with further entries.

        Returns:
            The new parameters, in the structure of the gradients.
        """
        nested = self._nested(parameters)
        if not self._initialized or self._empty():
            # Checked first, because a state that is made from the gradients fits them in any case.
            native.check_gradients(gradients, parameters)
            self._init(gradients, nested)
        for name, schedule in self._schedulers.items():
            self._state[name] = _scalar(name, schedule(self.step))
        step = self.step
        self._state["step"] = step + 1
        state = self._state["parameters"] if nested else self._state
        try:
            rule = self._rule()
            if rule is not None and type(self).apply_single is Optimizer.apply_single:
                return rule.apply(gradients, parameters, state, self.learning_rate, self.step)
            new = _map(self.apply_single, gradients, parameters, state)
        except BaseException:
            self._state["step"] = step
            raise
        native.eval_soon(new, self._state)
        return new

    def update(self, model: Any, gradients: Any) -> Any:
        """One step.

        Args:
            model: A tree of parameters, or a module.
            gradients: The gradients, as a tree of the same structure or a part of it.

        Returns:
            For a tree of parameters, the new tree; neither argument is changed. For a module ``None``: its
            parameters are replaced in place.
        """
        if isinstance(model, Module):
            model.update(self.apply_gradients(gradients, model))
            return None
        new = self.apply_gradients(gradients, model)
        return new if native.count(new) == native.count(model) else _overlay(model, new)


def _scalar(name: str, value: Any) -> mx.array:
    """A setting as an array; numbers as ``float32``."""
    array = value if isinstance(value, mx.array) else mx.array(value, mx.float32)
    if array.ndim != 0:
        raise ValueError(
            f"[Optimizer] {name} must be a number or a scalar array, but it has shape {array.shape}"
        )
    return array


def _map(fn: Callable[..., Any], tree: Any, *rest: Any) -> Any:
    """Applies ``fn`` to the arrays of a tree and to the values at the same paths of the others."""

    def of_leaf(leaf: Any, *others: Any) -> Any:
        if isinstance(leaf, mx.array):
            return fn(leaf, *others)
        raise TypeError(f"[Optimizer] a tree of arrays has a value of type {type(leaf).__name__} in it")

    return tree_map(of_leaf, tree, *rest)


def _complete(have: dict[Any, Any], fresh: dict[Any, Any]) -> None:
    """Adds missing entries from other nested dicts and lists. Arrays in both must agree in shape and type."""
    waiting: list[tuple[Any, Any, str]] = [(have, fresh, "")]
    while waiting:
        old, new, path = waiting.pop()
        if isinstance(old, dict) and isinstance(new, dict):
            for key, value in new.items():
                if key in old:
                    waiting.append((old[key], value, f"{path}[{key!r}]"))
                else:
                    old[key] = value
        elif isinstance(old, list) and isinstance(new, list):
            pairs = zip(list(old), new, strict=False)
            waiting.extend((a, b, f"{path}[{i}]") for i, (a, b) in enumerate(pairs))
            old.extend(new[len(old) :])
        elif isinstance(new, mx.array):
            _check_alike(old, new, path)


def _check_alike(have: Any, fresh: mx.array, path: str) -> None:
    """Refuses the state of other parameters."""
    if not isinstance(have, mx.array):
        was = f"a value of type {type(have).__name__}"
    elif have.shape != fresh.shape or mx.issubdtype(have.dtype, mx.inexact) != mx.issubdtype(
        fresh.dtype, mx.inexact
    ):
        was = f"{have.dtype} of shape {have.shape}"
    else:
        return
    raise ValueError(
        f"[Optimizer.state] state{path} is {was}, but for these parameters it must be {fresh.dtype} of "
        f"shape {fresh.shape}; load the state that was saved with them"
    )


# The mark for entries that a part of a tree lacks.
_KEPT = object()


def _overlay(tree: Any, part: Any) -> Any:
    """A tree with the arrays of another tree, which has some of its entries, in their places."""

    def visit(node: tuple[Any, Any]) -> Any:
        old, new = node
        if new is _KEPT:
            return old
        if isinstance(old, dict) and isinstance(new, dict):
            keys = list(old)
            nodes = [(old[k], new.get(k, _KEPT)) for k in keys]
            return _Open(nodes, lambda made: dict(zip(keys, made, strict=True)))
        if isinstance(old, list) and isinstance(new, list):
            nodes = [(x, new[i] if i < len(new) else _KEPT) for i, x in enumerate(old)]
            return _Open(nodes, list)
        return new

    return _build((tree, part), visit)
