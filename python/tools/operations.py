"""Writes ``docs/operations.md`` from the registry of operations.

python python/tools/operations.py           # writes the file
python python/tools/operations.py --check   # says whether it is up to date
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from types import BuiltinFunctionType
from typing import Any

import covector._covector as native

TARGET = Path(__file__).resolve().parents[2] / "docs" / "operations.md"
HEAD = """\
# Operations

<!-- Written by python/tools/operations.py; run it again instead of editing this file. -->

Every operation of the registry: the Python function with its signature, the Rust function, and the family in
which its derivative is written ([adding an operation](adding-an-op.md) explains the families). `composed` is
the derivative of the operations that it is made of. A Rust function `f` has the form `try_f`, which returns
a `Result`; most are methods of `Array`, too. Functions that Python has as methods are marked with •.
"""
HAND = """
## Written by hand

Python functions whose arguments take several forms. The Rust functions behind them are in the registry, too,
without a Python function: their samples are tested like all others.
"""
# The functions of ``covector.core`` that this means; the others there are no operations on arrays.
BY_HAND = [
    *(
        "arange",
        "atleast_1d",
        "atleast_2d",
        "atleast_3d",
        "broadcast_arrays",
        "broadcast_shapes",
        "contiguous",
    ),
    *(
        "conv_general",
        "einsum",
        "einsum_path",
        "empty",
        "empty_like",
        "full",
        "full_like",
        "linspace",
        "meshgrid",
    ),
    *("pad", "roll", "slice", "slice_update", "split", "stop_gradient", "take", "tensordot"),
]
MODULES = {
    "core": ("covector.core", native),
    "fast": ("covector.core.fast", native._fast),
    "random": ("covector.core.random", native._random),
}


def signature(module: Any, name: str) -> str:
    """The signature without ``stream``, which all functions take."""
    text = str(getattr(module, name).__text_signature__ or "(...)")
    for end in (", *, stream=None)", ", stream=None)", "*, stream=None)", "stream=None)"):
        if text.endswith(end):
            return text.removesuffix(end) + ")"
    return text


def render() -> str:
    """The whole file."""
    lines = [HEAD]
    generated: set[tuple[str, str]] = set()
    for key, (title, module) in MODULES.items():
        lines += [f"## `{title}`", "", "| Python | Rust | derivative |", "| --- | --- | --- |"]
        for entry in sorted(
            (e for e in native._registry() if e["module"] == key), key=lambda e: str(e["names"][0])
        ):
            name, *others = entry["names"]
            generated.update((key, n) for n in entry["names"])
            python = f"`{name}{signature(module, name)}`" + "".join(f", `{n}`" for n in others)
            rust = entry["rust"].removeprefix("random_") if key == "random" else entry["rust"]
            lines.append(f"| {python}{' •' if entry['method'] else ''} | `{rust}` | {entry['derivative']} |")
        lines.append("")
    lines += [HAND, "| module | functions |", "| --- | --- |"]
    for key, (title, module) in MODULES.items():
        functions = {n for n, value in vars(module).items() if isinstance(value, BuiltinFunctionType)}
        names = BY_HAND if key == "core" else sorted(n for n in functions if not n.startswith("_"))
        assert functions.issuperset(names)
        rest = [n for n in names if (key, n) not in generated]
        lines.append(f"| `{title}` | {', '.join(f'`{n}`' for n in rest)} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Writes or checks the file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only say whether the file is up to date")
    check = parser.parse_args().check
    text = render()
    if check:
        if TARGET.exists() and TARGET.read_text(encoding="utf-8") == text:
            return 0
        print(f"{TARGET.name} is out of date; run python/tools/operations.py", file=sys.stderr)
        return 1
    TARGET.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
