"""Classes made from the rows of the native library's tables."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["document", "initializer"]

Setting = tuple[str, Any, str]


def initializer(
    name: str, required: Sequence[str], settings: Sequence[Setting], store: Callable[[Any, list[Any]], None]
) -> Callable[..., None]:
    """An ``__init__`` with the signature for a row.

    Args:
        name: The name of the class.
        required: The names of the arguments that have no default.
        settings: The other arguments, each with its default and its documentation.
        store: Called with the new object and the values of all arguments.
    """
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter(argument, kind) for argument in ("self", *required)]
    parameters += [inspect.Parameter(argument, kind, default=default) for argument, default, _ in settings]
    signature = inspect.Signature(parameters)

    def __init__(*args: Any, **kwargs: Any) -> None:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"[{name}] {error}") from None
        bound.apply_defaults()
        self, *values = bound.arguments.values()
        store(self, values)

    __init__.__qualname__ = f"{name}.__init__"
    __init__.__signature__ = signature  # type: ignore[attr-defined]
    return __init__


def document(doc: str, arguments: Sequence[tuple[str, str]]) -> str:
    """A docstring with a section for the arguments of the constructor."""
    if not arguments:
        return doc
    lines = "\n".join(f"    {name}: {text}" for name, text in arguments)
    return f"{doc}\n\nArgs:\n{lines}\n"
