"""Activation functions and their modules: one of each for every row of the native library's table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from covector._covector import nn as native
from covector._rows import document, initializer
from covector.nn.layers.base import Module

__all__: list[str] = []


def _make(row: Any, function: Callable[..., Any]) -> type[Module]:
    def store(self: Module, values: list[Any]) -> None:
        Module.__init__(self)
        row.check(values)
        # Module.__setattr__ would make the tuple an entry.
        self.__dict__["_settings"] = tuple(values)

    def plain(self: Module, x: Any) -> Any:
        return function(x)

    def with_settings(self: Module, x: Any) -> Any:
        return function(x, *self._settings)

    attributes = {
        "__doc__": document(row.doc, [(name, text) for name, _, text in row.settings]),
        "__init__": initializer(row.name, [], row.settings, store),
        "__call__": with_settings if row.settings else plain,
        "__module__": __name__,
    }
    return type(row.name, (Module,), attributes)


for _row in native.activation_rows():
    _function = getattr(native, _row.function)
    globals()[_row.function] = _function
    __all__ += [_row.function]
    if _row.name is not None:
        globals()[_row.name] = _make(_row, _function)
        __all__ += [_row.name]
