"""The results of `peers.py` as text, as a Markdown table and as a picture."""

from __future__ import annotations

import math
from html import escape
from typing import NamedTuple


class Column(NamedTuple):
    label: str
    short: str
    shape: str
    colour: str
    filled: bool


COLUMNS = {
    "covector": Column("covector", "covector", "diamond", "#d9480f", False),
    "covector-compiled": Column("covector, compile", "… compile", "diamond", "#d9480f", True),
    "mlx": Column("MLX", "MLX", "circle", "#1c7ed6", False),
    "mlx-compiled": Column("MLX, compile", "… compile", "circle", "#1c7ed6", True),
    "jax": Column("JAX, jit", "JAX jit", "square", "#2b8a3e", True),
    "torch": Column("PyTorch", "PyTorch", "triangle", "#7048e8", False),
    "torch-compiled": Column("PyTorch, compile", "… compile", "triangle", "#7048e8", True),
    "torch-cells": Column("PyTorch, cell by cell", "… cells", "cross", "#7048e8", False),
}
PEERS = [name for name in COLUMNS if not name.startswith("covector")]
NONE = "–"


def value(row: dict | None, key: str) -> float | None:
    """A figure of a row; None if the program failed or disagrees with the reference."""
    if not row or "disagrees" in row:
        return None
    if key == "top_mb" and "peak_mb" in row:
        return max(row["peak_mb"], row["first_peak_mb"])
    return row.get(key)


def best_peer(rows: dict, key: str = "us") -> float | None:
    found = [figure for name in PEERS if (figure := value(rows.get(name), key)) is not None]
    return min(found, default=None)


def ratio(above: float | None, below: float | None) -> float | None:
    return above / below if above is not None and below else None


def number(figure: float | None, digits: int = 0) -> str:
    return NONE if figure is None else f"{figure:,.{digits}f}"


def gradient_cost(row: dict | None) -> float | None:
    """The time of value and gradients divided by that of the forward value."""
    if value(row, "us") is None or "forward_us" not in row:
        return None
    return row.get("gradient_us", row["us"]) / row["forward_us"]


# Text


def table(title: str, head: list[str], lines: list[list[str]]) -> list[str]:
    width = [max(len(line[k]) for line in [head, *lines]) for k in range(len(head))]

    def laid_out(cells):
        rest = (cell.rjust(w) for cell, w in zip(cells[1:], width[1:], strict=True))
        return "  ".join([cells[0].ljust(width[0]), *rest])

    return [title, laid_out(head), "-" * len(laid_out(head)), *map(laid_out, lines), ""]


def used_columns(results: dict) -> list[str]:
    rows = [about["rows"] for about in results["workloads"].values()]
    return [name for name in results["columns"] if any(name in row for row in rows)]


def about_machine(results: dict) -> str:
    machine = results["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items() if version)
    return f"{machine['processor']}, {machine['threads']} threads; {versions}; {machine['date']}"


def failures(results: dict) -> list[str]:
    found = []
    for name, about in results["workloads"].items():
        for column, row in about["rows"].items():
            if reason := row.get("error") or row.get("disagrees"):
                found.append(f"{name}, {COLUMNS[column].label}: {reason}")
    return found


def text(results: dict) -> str:
    columns = used_columns(results)
    head = ["", *(COLUMNS[name].short for name in columns)]
    times, first, memory, parts, errors = [], [], [], [], []
    for name, about in results["workloads"].items():
        rows = about["rows"]

        def figures(key, digits=0, rows=rows):
            return [number(value(rows.get(column), key), digits) for column in columns]

        to_best = ratio(value(rows.get("covector-compiled"), "us"), best_peer(rows))
        to_eager = ratio(value(rows.get("covector"), "us"), value(rows.get("torch"), "us"))
        times.append([name, *figures("us"), number(to_best, 2), number(to_eager, 2)])
        first.append([name, *figures("first_ms", 1)])
        memory.append([name, *figures("top_mb", 1), number(best_peer(rows, "top_mb"), 1)])
        plain, compiled = rows.get("covector"), rows.get("covector-compiled")
        own = [value(rows.get(c), "own_peak_mb") for c in ("covector", "covector-compiled", "mlx")]
        costs = [number(gradient_cost(plain), 2), number(gradient_cost(compiled), 2)]
        parts.append([name, *costs, *(number(peak, 1) for peak in own)])
        worst = [value(rows.get(column), "worst") for column in columns]
        errors.append([name, *(NONE if figure is None else f"{figure:.0e}" for figure in worst)])
    ratios = ["compile/best", "eager/PyTorch"]
    lines = [about_machine(results), ""]
    lines += table("µs per step, the best of the rounds", [*head, *ratios], times)
    lines += table("first call, ms", head, first)
    lines += table("peak memory, MB above the process with library and data", [*head, "least peer"], memory)
    lines += table(
        "value and gradients against the forward value; peak memory by the libraries' own count, MB",
        ["", "covector ×", "compile ×", "covector MB", "compile MB", "MLX MB"],
        parts,
    )
    lines += table("largest relative error of value and gradients against float64", head, errors)
    if failed := failures(results):
        lines += [f"reasons for {NONE}:", *(f"  {reason}" for reason in failed), ""]
    notes = [f"  {name}: {about['note']}" for name, about in results["workloads"].items() if about["note"]]
    return "\n".join([*lines, *(["notes:", *notes] if notes else [])]).rstrip()


def markdown(results: dict) -> str:
    columns = [name for name in used_columns(results) if name != "torch-cells"]
    heads = ["µs a step", *(COLUMNS[name].label for name in columns), "compiled to the best peer"]
    lines = [
        "| " + " | ".join(heads) + " |",
        "| --- |" + " ---: |" * (len(heads) - 1),
    ]
    for about in results["workloads"].values():
        rows = about["rows"]
        figures = {name: value(rows.get(name), "us") for name in columns}
        least = min((figure for figure in figures.values() if figure is not None), default=None)
        cells = [
            f"**{number(figure)}**" if figure is not None and figure == least else number(figure)
            for figure in figures.values()
        ]
        last = ratio(value(rows.get("covector-compiled"), "us"), best_peer(rows))
        lines.append("| " + " | ".join([about["title"], *cells, number(last, 2)]) + " |")
    lines += ["", f"{about_machine(results)}."]
    return "\n".join(lines)


# The picture

LEFT, RIGHT, PLOT, ROW, TOP = 282, 150, 668, 36, 104
# Marks of uncompiled programs are above a row's line, those of compiled ones below it.
LANE = 6
FONT = 'font-family="Helvetica, Arial, sans-serif"'


def mark(column: Column, x: float, y: float, r: float = 6.0) -> str:
    """A library's mark: filled if the program is compiled."""
    fill = column.colour if column.filled else "#ffffff"
    style = f'fill="{fill}" stroke="{column.colour}" stroke-width="1.8"'
    if column.shape == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r - 1:.1f}" {style}/>'
    if column.shape == "square":
        s = r - 1.2
        return f'<rect x="{x - s:.1f}" y="{y - s:.1f}" width="{2 * s:.1f}" height="{2 * s:.1f}" {style}/>'
    if column.shape == "cross":
        s = r - 1.5
        path = f"M{x - s:.1f},{y - s:.1f} l{2 * s},{2 * s} m0,{-2 * s} l{-2 * s},{2 * s}"
        return f'<path d="{path}" fill="none" stroke="{column.colour}" stroke-width="2"/>'
    corners = {
        "diamond": [(0, -r - 1.5), (r + 1.5, 0), (0, r + 1.5), (-r - 1.5, 0)],
        "triangle": [(0, -r), (r, r - 1), (-r, r - 1)],
    }[column.shape]
    points = " ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in corners)
    return f'<polygon points="{points}" stroke-linejoin="round" {style}/>'


def label(x: float, y: float, words: str, size: int = 13, anchor: str = "start", colour: str = "#212529",
          weight: str = "normal") -> str:  # fmt: skip
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{colour}" '
        f'font-weight="{weight}">{escape(words)}</text>'
    )


def duration(us: float) -> str:
    for unit, scale in (("s", 1e6), ("ms", 1e3)):
        if us >= scale:
            return f"{us / scale:g} {unit}"
    return f"{us:g} µs"


def verdict(rows: dict) -> tuple[str, str]:
    """The text of the last column and its colour."""
    times = ratio(best_peer(rows), value(rows.get("covector-compiled"), "us"))
    if times is None:
        return NONE, "#868e96"
    if times >= 1:
        return f"{times:.1f}× faster", "#2b8a3e"
    return f"{1 / times:.1f}× slower", "#c92a2a"


def picture(results: dict) -> str:
    """A row for each workload and a mark for each library, with time on a logarithmic axis."""
    columns, workloads = used_columns(results), results["workloads"]
    times = {
        name: {c: us for c in columns if (us := value(about["rows"].get(c), "us")) is not None}
        for name, about in workloads.items()
    }
    every = [us for row in times.values() for us in row.values()] or [1.0, 1e6]
    low, high = math.floor(math.log10(min(every))), math.ceil(math.log10(max(every)))
    low, high = (low, high) if high > low else (low, low + 1)
    width, bottom = LEFT + PLOT + RIGHT, TOP + ROW * len(workloads)
    height = bottom + 62

    def along(us):
        return LEFT + PLOT * (math.log10(us) - low) / (high - low)

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" {FONT}>',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        label(16, 28, "Time per step, on two threads (less is better, logarithmic)", 17, weight="bold"),
    ]
    x, y = 24.0, 56.0
    for column in (COLUMNS[name] for name in columns):
        length = 38 + 6.7 * len(column.label)
        if x + length > width - 16:
            x, y = 24.0, y + 22
        out += [mark(column, x, y), label(x + 13, y + 4.5, column.label)]
        x += length
    for power in range(low, high + 1):
        at = along(10.0**power)
        out += [
            f'<line x1="{at:.1f}" y1="{TOP}" x2="{at:.1f}" y2="{bottom}" stroke="#ced4da"/>',
            label(at, bottom + 19, duration(10.0**power), 12, "middle", "#495057"),
        ]
        for step in range(2, 10) if power < high else ():
            at = along(step * 10.0**power)
            out.append(f'<line x1="{at:.1f}" y1="{TOP}" x2="{at:.1f}" y2="{bottom}" stroke="#f1f3f5"/>')
    out += [
        label(LEFT + PLOT + 16, TOP - 22, "covector, compile:", 11, colour="#495057"),
        label(LEFT + PLOT + 16, TOP - 8, "to the best peer", 11, colour="#495057"),
    ]
    for index, (name, about) in enumerate(workloads.items()):
        middle = TOP + ROW * (index + 0.5)
        title, _, detail = about["title"].partition(", ")
        out += [
            f'<line x1="16" y1="{middle + ROW / 2:.1f}" x2="{width - 16}" y2="{middle + ROW / 2:.1f}" '
            'stroke="#e9ecef"/>',
            label(16, middle - (2 if detail else -4.5), title, 13),
        ]
        if detail:
            out.append(label(16, middle + 12, detail, 11, colour="#868e96"))
        if row := times[name]:
            ends = along(min(row.values())), along(max(row.values()))
            out.append(
                f'<line x1="{ends[0]:.1f}" y1="{middle}" x2="{ends[1]:.1f}" y2="{middle}" '
                'stroke="#dee2e6" stroke-width="2"/>'
            )
        # covector comes last, so that its marks are on top.
        for column in sorted(row, key=lambda c: c.startswith("covector")):
            lane = LANE if COLUMNS[column].filled else -LANE
            out.append(mark(COLUMNS[column], along(row[column]), middle + lane, 5.2))
        words, colour = verdict(about["rows"])
        out.append(label(LEFT + PLOT + 16, middle + 4.5, words, 13, colour=colour, weight="bold"))
    out += [label(16, height - 14, about_machine(results), 11, colour="#868e96"), "</svg>"]
    return "\n".join(out)
