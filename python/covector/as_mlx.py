"""Runs a program that was written for MLX, unchanged.

    python -m covector.as_mlx script.py [arguments]
    python -m covector.as_mlx -m package.module [arguments]

``import mlx.core``, ``mlx.nn``, ``mlx.optimizers`` and ``mlx.utils`` then give covector's packages of the
same names, in the program and in everything that it imports. A program can also do so itself, before it
imports them, with ``covector.as_mlx.install()``.
"""

from __future__ import annotations

import importlib
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

__all__ = ["install", "main"]

PACKAGES = ("core", "nn", "optimizers", "utils")


def install() -> None:
    """Makes ``import mlx`` and its packages give covector's."""
    for name in PACKAGES:
        importlib.import_module(f"covector.{name}")
    mlx = ModuleType("mlx", "covector under MLX's name")
    mlx.__path__ = []
    sys.modules["mlx"] = mlx
    for name, module in list(sys.modules.items()):
        head, _, path = name.partition(".")
        if head == "covector" and path.split(".")[0] in PACKAGES:
            sys.modules[f"mlx.{path}"] = module
    for name in PACKAGES:
        setattr(mlx, name, sys.modules[f"covector.{name}"])


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs ``python -m covector.as_mlx`` with these arguments."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if arguments[:1] == ["-m"] and len(arguments) > 1:
        install()
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    elif arguments and not arguments[0].startswith("-"):
        script = Path(arguments[0])
        if not script.exists():
            sys.exit(f"as_mlx: there is no file {script}")
        install()
        sys.argv = list(arguments)
        # Like `python script.py`, which puts the script's folder in place of the current one.
        sys.path[0] = str(script.resolve().parent)
        runpy.run_path(str(script), run_name="__main__")
    else:
        print(__doc__, file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
