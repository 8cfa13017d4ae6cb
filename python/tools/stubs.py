"""Writes ``python/covector/_covector.pyi`` and the stubs of ``row_stubs.py`` from the native module itself.

    python python/tools/stubs.py           # writes the files
    python python/tools/stubs.py --check   # says whether they are up to date

Names, parameters and defaults are the module's own. Types are those of the registry of operations; of
functions written by hand they follow from the parameters' names and the tables in ``stub_tables.py``.
"""

from __future__ import annotations

import argparse
import ast
import sys
from pathlib import Path
from types import BuiltinFunctionType, ModuleType
from typing import Any

import covector._covector as native
from row_stubs import STUBS
from stub_tables import (
    ARITHMETIC,
    ARRAY,
    CLASSES,
    FAST_PARAMETERS,
    HEADER,
    NN_OTHERS,
    NN_PARAMETERS,
    PARAMETERS,
    RETURNS,
    SPECIAL,
)

TARGET = Path(__file__).resolve().parents[1] / "covector" / "_covector.pyi"
WIDTH = 110

# What the registry says of each function and method, by scope and name.
REGISTERED: dict[tuple[str, str], dict[str, Any]] = {}
for entry in native._registry():
    scope = {"core": "", "fast": "_fast", "random": "_random"}[entry["module"]]
    for public in entry["names"]:
        REGISTERED[scope, public] = entry
    if entry["method"]:
        REGISTERED["array", entry["names"][0]] = entry


def parameter_type(scope: str, function: str, name: str) -> str:
    """The type of a parameter."""
    if (registered := REGISTERED.get((scope, function))) and name in registered["types"]:
        kind: str = registered["types"][name]
        return kind
    if found := SPECIAL.get((scope, function, name)):
        return found
    if scope == "_fast":
        return FAST_PARAMETERS.get(name, PARAMETERS.get(name, "Any"))
    if scope == "nn":
        return NN_PARAMETERS.get(name, "Any")
    return PARAMETERS.get(name, "Any")


def define(scope: str, name: str, signature: str, indent: str) -> str:
    """A function with a given text signature as a stub."""
    tree = ast.parse(f"def f{signature.replace('$', '')}: ...").body[0]
    assert isinstance(tree, ast.FunctionDef)
    a = tree.args
    positional = a.posonlyargs + a.args
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(a.defaults)) + list(a.defaults)
    out: list[str] = []

    def one(arg: ast.arg, default: ast.expr | None, star: str = "") -> str:
        if arg.arg == "self":
            return "self"
        kind = parameter_type(scope, name, arg.arg)
        if default is None:
            return f"{star}{arg.arg}: {kind}"
        value = ast.unparse(default).replace("'", '"')
        return f"{arg.arg}: {kind} = {value if value != '[]' else '...'}"

    for i, (arg, default) in enumerate(zip(positional, defaults, strict=True)):
        out.append(one(arg, default))
        if a.posonlyargs and i + 1 == len(a.posonlyargs) and out != ["self"]:
            out.append("/")
    if a.vararg:
        out.append(one(a.vararg, None, "*"))
    elif a.kwonlyargs:
        out.append("*")
    out += [one(arg, default) for arg, default in zip(a.kwonlyargs, a.kw_defaults, strict=True)]
    if a.kwarg:
        out.append(f"**{a.kwarg.arg}: Any")
    returns = "array"
    if registered := REGISTERED.get((scope, name)):
        returns = registered["returns"]
    elif scope in ("", "array", "_random"):
        returns = RETURNS.get(name, "array")
    elif scope == "nn":
        returns = "Any" if name in NN_OTHERS else "array"
    if name.startswith("_") and scope == "" and name not in RETURNS and name != "_restore":
        returns = "Any"
    line = f"{indent}def {name}({', '.join(out)}) -> {returns}: ..."
    if len(line) <= WIDTH:
        return line
    rows = "".join(f"{indent}    {item},\n" for item in out)
    return f"{indent}def {name}(\n{rows}{indent}) -> {returns}: ..."


def functions(module: ModuleType, scope: str, indent: str) -> list[str]:
    """Stubs of all functions of a module."""
    out = []
    for name, value in sorted(vars(module).items()):
        if isinstance(value, BuiltinFunctionType):
            if scope:
                out.append(f"{indent}@staticmethod")
            out.append(define(scope, name, value.__text_signature__ or "(*args, **kwargs)", indent))
    return out


def namespace(name: str) -> list[str]:
    """A submodule, which is an object with static functions to those who import the native module."""
    module = getattr(native, name)
    lines = [f"class {name}:", *functions(module, name, "    ")]
    for key, value in sorted(vars(module).items()):
        if isinstance(value, type):
            lines.append(f"    {key}: Any")
    return [*lines, ""]


def methods() -> list[str]:
    """The methods of ``array`` that are not written out above."""
    out = []
    for name, value in sorted(vars(native.array).items()):
        signature: Any = getattr(value, "__text_signature__", None)
        if name.startswith("_") or signature is None or f"def {name}(" in ARRAY:
            continue
        out.append(define("array", name, signature, "    "))
    return out


def enumeration(name: str) -> list[str]:
    """A class of named values."""
    cls = getattr(native, name)
    members = [key for key, value in vars(cls).items() if isinstance(value, cls)]
    return [f"class {name}(enum.Enum):", *(f"    {key} = ..." for key in members), ""]


def render() -> str:
    """The whole file."""
    lines = [
        HEADER,
        "__version__: str",
        "e: float",
        "euler_gamma: float",
        "inf: float",
        "nan: float",
        "pi: float",
    ]
    lines.append("newaxis: None")
    kinds = {"Dtype": native.Dtype, "DtypeCategory": native.DtypeCategory, "DeviceType": native.DeviceType}
    for kind, cls in kinds.items():
        names = sorted(n for n, v in vars(native).items() if isinstance(v, cls))
        lines += [f"{name}: {kind}" for name in names]
    lines += ["", *enumeration("DtypeCategory"), *enumeration("DeviceType"), ARRAY.rstrip()]
    for op in ARITHMETIC:
        lines.append(f"    def __{op}__(self, other: _Value, /) -> array: ...")
        lines.append(f"    def __r{op}__(self, other: _Value, /) -> array: ...")
        lines.append(f"    def __i{op}__(self, other: _Value, /) -> array: ...  # noqa: PYI034")
    lines += [*methods(), "", CLASSES]
    for name, value in sorted(vars(native).items()):
        if isinstance(value, type) and f"class {name}" not in "\n".join(lines) and name != "stream":
            lines += [f"class {name}:", "    def __getattr__(self, name: str) -> Any: ...", ""]
    lines += functions(native, "", "")
    lines.append("")
    for name, value in sorted(vars(native).items()):
        if isinstance(value, ModuleType):
            lines += namespace(name)
    return "\n".join(lines).rstrip() + "\n"


def main() -> int:
    """Writes or checks the files."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only say whether the files are up to date")
    check = parser.parse_args().check
    stale = 0
    for target, text in {TARGET: render(), **{path: made() for path, made in STUBS.items()}}.items():
        if not check:
            target.write_text(text, encoding="utf-8")
        elif not target.exists() or target.read_text(encoding="utf-8") != text:
            print(f"{target.name} is out of date; run python/tools/stubs.py", file=sys.stderr)
            stale = 1
    return stale


if __name__ == "__main__":
    raise SystemExit(main())
