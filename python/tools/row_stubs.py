"""The type stubs of modules whose classes are made from the rows of the native library's tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import covector._covector as native

PACKAGE = Path(__file__).resolve().parents[1] / "covector"
HEADER = "# Written by python/tools/stubs.py; run it again instead of editing this file.\n"
WIDTH = 110


def kind(default: Any) -> str:
    """The type of a setting, by its default."""
    return "Sequence[float]" if isinstance(default, tuple) else type(default).__name__


def init(required: list[str], settings: list[tuple[str, Any, str]]) -> str:
    """The stub of a constructor."""
    arguments = ["self", *required, *(f"{n}: {kind(d)} = {d!r}" for n, d, _ in settings)]
    line = f"    def __init__({{}}{', '.join(arguments)}{{}}) -> None: ...\n"
    if len(line.format("", "")) <= WIDTH + 1:
        return line.format("", "")
    rows = "".join(f"        {argument},\n" for argument in arguments)
    return f"    def __init__(\n{rows}    ) -> None: ...\n"


def exports(names: list[str]) -> str:
    """``__all__``: constants, classes and functions, each in order."""
    ordered = sorted(names, key=lambda n: (0 if n.isupper() else 1 if n[0].isupper() else 2, n))
    return "__all__ = [\n" + "".join(f'    "{name}",\n' for name in ordered) + "]\n"


def optimizers() -> str:
    """``covector.optimizers.optimizers``."""
    rows = native.nn.optimizer_rows()
    text = [
        HEADER,
        "from collections.abc import Sequence\n",
        "from covector.optimizers.base import LearningRate, Optimizer, clip_grad_norm\n",
        exports(["Optimizer", "clip_grad_norm", *(row.name for row in rows)]),
    ]
    for row in rows:
        fields = "".join(f"    {name}: {kind(default)}\n" for name, default, _ in row.settings)
        constructor = init(["learning_rate: LearningRate"], row.settings)
        text.append(f"class {row.name}({row.extends or 'Optimizer'}):\n{fields}{constructor}")
    return "\n".join(text)


def activations() -> str:
    """``covector.nn.layers.activation_rows``."""
    rows = native.nn.activation_rows()
    classes = [row for row in rows if row.name is not None]
    text = [
        HEADER,
        "from covector._covector import array\n"
        "from covector._covector import nn as native\n"
        "from covector.nn.layers.base import Module\n",
        exports([row.name for row in classes] + [row.function for row in rows]),
        "".join(f"{row.function} = native.{row.function}\n" for row in rows),
    ]
    for row in classes:
        call = "    def __call__(self, x: array) -> array: ...\n"
        text.append(f"class {row.name}(Module):\n{init([], row.settings)}{call}")
    return "\n".join(text)


STUBS = {
    PACKAGE / "nn" / "layers" / "activation_rows.pyi": activations,
    PACKAGE / "optimizers" / "optimizers.pyi": optimizers,
}
