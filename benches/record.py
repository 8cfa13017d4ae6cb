"""Compares two builds of covector on the workloads: first call, later calls, memory, planning.

    python benches/record.py OLD NEW [--only NAMES] [--rounds N] [--seconds S] [--json FILE]

`OLD` and `NEW` are interpreters of environments in which one build each is installed, with NumPy; or one of
them twice, which shows what differs by chance. Each measurement is a process of its own (`measure.py`); the
two take turns, several rounds, and the fastest counts. First calls and planning are the fastest of the
rounds, too, since every process begins anew. Peak memory is what covector counts: bytes of arrays.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import subprocess
import sys
from typing import Any

MEASURE = pathlib.Path(__file__).resolve().parent / "measure.py"
COLUMNS = ("covector", "covector-compiled")
# What a process measures, with the unit and the digits of the table.
FIGURES = {
    "first_ms": ("first call, ms", 2),
    "us": ("later calls, µs", 1),
    "own_peak_mb": ("peak, MB", 3),
    "planning_us_a_node": ("planning, µs a node", 3),
}


def planning(workload: str) -> dict[str, float]:
    """Planning time of the graphs of a workload's first step, uncompiled, for each node."""
    import drivers
    import measure
    from observe import observed
    from workloads import WORKLOADS

    measure.confine()
    import covector.core as mx

    params, inputs = measure.data_of(WORKLOADS[workload])
    program = drivers.build(WORKLOADS[workload], "covector", params, inputs)
    with observed(mx) as seen:
        program.step()
        program.finish()
    # A step more tells how many nodes that were: counting them takes time.
    program = drivers.build(WORKLOADS[workload], "covector", params, inputs)
    with observed(mx, count_nodes=True) as counted:
        program.step()
        program.finish()
    return {"planning_us_a_node": seen.planning_us / max(1, counted.nodes)}


def run(python: str, *arguments: str) -> dict[str, Any]:
    """What a process prints as its last line."""
    done = subprocess.run([python, *arguments], capture_output=True, text=True)
    lines = done.stdout.strip().splitlines()
    if not lines:
        raise SystemExit(f"{python} {' '.join(arguments)} failed:\n{done.stderr}")
    return json.loads(lines[-1])


def measured(python: str, workload: str, column: str, seconds: float) -> dict[str, float]:
    """One round of one build."""
    row = run(python, str(MEASURE), workload, column, "--seconds", str(seconds))
    if "error" in row:
        raise SystemExit(f"{workload}, {column}, {python}: {row['error']}")
    if column == "covector":
        row |= run(python, __file__, "--planning", workload)
    return {name: row[name] for name in FIGURES if name in row}


def table(rows: dict[str, dict[str, dict[str, dict[str, float]]]]) -> str:
    """All figures, old and new, with the new ones in percent of the old."""
    heads = ["workload", "", "figure", "old", "new", "new/old"]
    lines = [heads]
    for workload, columns in rows.items():
        for column, builds in columns.items():
            for name, (title, digits) in FIGURES.items():
                if name in builds["old"]:
                    old, new = builds["old"][name], builds["new"][name]
                    ratio = f"{100 * new / old:.1f} %" if old else "–"
                    kind = "compiled" if column.endswith("compiled") else ""
                    lines.append([workload, kind, title, f"{old:.{digits}f}", f"{new:.{digits}f}", ratio])
    widths = [max(len(line[k]) for line in lines) for k in range(len(heads))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if k < 3 else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old", nargs="?", help="the interpreter that has the old build")
    parser.add_argument("new", nargs="?", help="the interpreter that has the new build")
    parser.add_argument("--only", help="workloads, separated by commas")
    parser.add_argument("--rounds", type=int, default=5, help="how often each takes its turn (5)")
    parser.add_argument("--seconds", type=float, default=0.3, help="of samples per turn (0.3)")
    parser.add_argument("--json", type=pathlib.Path, help="write all figures there")
    parser.add_argument("--planning", metavar="WORKLOAD", help="only measure planning, in this interpreter")
    args = parser.parse_args()
    if args.planning:
        print(json.dumps(planning(args.planning)))
        return
    if not args.old or not args.new:
        parser.error("give two interpreters")
    described = "import sys; sys.path.insert(0, sys.argv[1]); import measure; measure.describe()"
    names = list(run(args.new, "-c", described, str(MEASURE.parent)))
    if args.only:
        names = [name for name in names if name in args.only.split(",")]
    rows: dict[str, dict[str, dict[str, dict[str, float]]]] = {
        name: {column: {"old": {}, "new": {}} for column in COLUMNS} for name in names
    }
    for turn in range(args.rounds):
        for name in names:
            for column in COLUMNS:
                builds = [("old", args.old), ("new", args.new)]
                for build, python in builds if turn % 2 == 0 else reversed(builds):
                    best = rows[name][column][build]
                    for figure, value in measured(python, name, column, args.seconds).items():
                        best[figure] = min(value, best.get(figure, value))
        print(f"round {turn + 1} of {args.rounds} done", file=sys.stderr, flush=True)
    print(table(rows))
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
