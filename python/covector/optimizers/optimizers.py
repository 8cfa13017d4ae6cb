"""The optimizers: a class for each row of the native library's table.

Each class has the settings, defaults and documentation of its row.
"""

from __future__ import annotations

from typing import Any

from covector._covector import nn as native
from covector._rows import document, initializer
from covector.optimizers.base import Optimizer, clip_grad_norm

__all__ = ["Optimizer", "clip_grad_norm"]


def _make(row: Any, parent: type[Optimizer]) -> type[Optimizer]:
    settings = row.settings

    def store(self: Optimizer, values: list[Any]) -> None:
        Optimizer.__init__(self)
        learning_rate, *values = values
        for (name, _, _), value in zip(settings, values, strict=True):
            setattr(self, name, value)
        self._rule()
        self._maybe_schedule("learning_rate", learning_rate)

    arguments = [("learning_rate", "λ, a number or a function of the step.")]
    arguments += [(name, text) for name, _, text in settings]
    attributes = {
        "__doc__": document(row.doc, arguments),
        "__init__": initializer(row.name, ["learning_rate"], settings, store),
        "__module__": __name__,
        "_row": row,
    }
    return type(row.name, (parent,), attributes)


for _row in native.optimizer_rows():
    globals()[_row.name] = _make(_row, globals()[_row.extends or "Optimizer"])
    __all__ += [_row.name]
