"""What the tests of modules and optimizers share: the stored numbers, and comparing trees."""

import json
from pathlib import Path
from typing import Any

import covector.core as mx

# Numbers computed with MLX by python/tools/fixtures.py; the tests in Rust read them too.
FIXTURE: dict[str, Any] = json.loads(
    (Path(__file__).resolve().parents[2] / "fixtures" / "mlx.json").read_text(encoding="utf-8")
)


def cases(group: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """The cases of a group, each with the data that it shares with others."""
    return [(data, case) for data in FIXTURE[group] for case in data["cases"]]


def flat(values: Any) -> list[float]:
    """The numbers in nested lists."""
    if isinstance(values, list):
        return [x for value in values for x in flat(value)]
    return [values]


def shape(values: Any) -> tuple[int, ...]:
    """The shape of nested lists."""
    return (len(values), *shape(values[0])) if isinstance(values, list) else ()


def assert_close(got: Any, wanted: Any, rtol: float = 2e-6, atol: float = 1e-6, what: str = "") -> None:
    """Compares an array with nested lists of numbers, the shape too."""
    assert isinstance(got, mx.array), f"{what}: {got!r} is no array"
    assert got.shape == shape(wanted), f"{what}: shape {got.shape} instead of {shape(wanted)}"
    for i, (a, b) in enumerate(zip(flat(got.tolist()), flat(wanted), strict=True)):
        assert abs(a - b) <= atol + rtol * abs(b), f"{what}: element {i} is {a}, not {b}"


def leaves(tree: Any, path: str = "") -> dict[str, Any]:
    """The leaves of dicts and lists by their dotted path."""
    if isinstance(tree, (dict, list, tuple)):
        items = tree.items() if isinstance(tree, dict) else enumerate(tree)
        return {p: x for k, v in items for p, x in leaves(v, f"{path}.{k}" if path else str(k)).items()}
    return {path: tree}
