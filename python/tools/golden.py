"""Records what the planner makes of the workloads of ``benches/`` and of the example programs.

    python python/tools/golden.py            # says where plans differ from the recorded ones
    python python/tools/golden.py --write    # records the plans of the installed package
    python python/tools/golden.py --json     # prints the plans of the installed package

A record has, uncompiled and compiled: the nodes of the graph, the kernels and plans of the first and of later
steps, the peak of memory, and the kernels of a later step in order, each with the bytes it reads and writes,
its arithmetic and its label. None of it depends on the processor or on the number of threads.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import io
import json
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "python" / "tests" / "data" / "golden"
EXAMPLES = ("digits", "lasso", "training_loop")

Record = dict[str, Any]


def line(event: Any) -> str:
    """A kernel as a line of the record."""
    return f"{event.bytes_read} B in, {event.bytes_written} B out, {event.flops} flops: {event.name}"


def workload_record(name: str, column: str) -> Record:
    """What one workload's step runs in one way of writing it."""
    import covector.core as mx
    import drivers
    from measure import SEED, data_of
    from observe import observed
    from workloads import WORKLOADS

    workload = WORKLOADS[name]
    params, inputs = data_of(workload)

    def program() -> Any:
        mx.random.seed(SEED)
        built = drivers.build(workload, column, params, inputs)
        built.finish()
        return built

    running, steps = program(), []
    for _ in range(3):
        with observed(mx) as seen:
            running.step()
            running.finish()
        steps.append(seen)
    first, later = steps[0], steps[-1]
    record: Record = {}
    if column == "covector":
        running = program()
        with observed(mx, count_nodes=True) as counted:
            running.step()
            running.finish()
        record["nodes"] = counted.nodes
    return record | {
        "kernels": {"first": len(first.kernels), "later": len(later.kernels)},
        "plans": {"first": first.plans, "later": later.plans},
        "peak_bytes": {"first": first.peak, "later": later.peak},
        "plan": [line(event) for event in later.kernels],
    }


def example_record(name: str) -> Record:
    """The different kernels of an example program, by first use, with how often each runs."""
    import covector.core as mx
    from measure import SEED
    from observe import observed

    path = ROOT / "examples" / "python" / f"{name}.py"
    mx.random.seed(SEED)
    with observed(mx) as seen, contextlib.redirect_stdout(io.StringIO()):
        program = runpy.run_path(str(path), run_name="example")
        if "main" in program:
            program["main"]()
    counts: dict[str, int] = {}
    for event in seen.kernels:
        counts[line(event)] = counts.get(line(event), 0) + 1
    return {
        "kernels": len(seen.kernels),
        "plans": seen.plans,
        "plan": [f"{count} × {text}" for text, count in counts.items()],
    }


def records() -> Iterator[tuple[str, Record]]:
    """All records, by name."""
    sys.path.insert(0, str(ROOT / "benches"))
    import covector.core as mx
    from workloads import WORKLOADS

    mx.set_num_threads(2)
    for name in WORKLOADS:
        yield (
            name,
            {
                "uncompiled": workload_record(name, "covector"),
                "compiled": workload_record(name, "covector-compiled"),
            },
        )
    for name in EXAMPLES:
        yield f"example-{name.replace('_', '-')}", {"as written": example_record(name)}


def recorded(name: str) -> Record:
    """The record in the golden file of that name; empty if there is none."""
    path = FOLDER / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def text_of(record: Record) -> str:
    """A record as the text of its file."""
    return json.dumps(record, indent=1, ensure_ascii=False) + "\n"


def differences(old: Record, new: Record) -> str:
    """The lines in which two records differ; empty if they are equal."""
    lines = [text_of(record).splitlines() for record in (old, new)]
    return "\n".join(difflib.unified_diff(*lines, "recorded", "now", lineterm="", n=1))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--write", action="store_true", help="record the plans of the installed package")
    choice.add_argument("--json", action="store_true", help="print the plans of the installed package")
    args = parser.parse_args()
    found = dict(records())
    if args.json:
        print(json.dumps(found))
        return 0
    if args.write:
        FOLDER.mkdir(parents=True, exist_ok=True)
        for name, record in found.items():
            (FOLDER / f"{name}.json").write_text(text_of(record), encoding="utf-8")
        return 0
    changed = {name: said for name, record in found.items() if (said := differences(recorded(name), record))}
    for name, said in changed.items():
        print(f"{name}:\n{said}\n")
    return 1 if changed else 0


if __name__ == "__main__":
    sys.exit(main())
