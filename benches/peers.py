"""Times the same workloads in covector, MLX, JAX and PyTorch, in turns, on two threads each.

    python benches/peers.py [--only NAMES] [--libraries NAMES] [--rounds N] [--quick]
                            [--json FILE] [--markdown FILE] [--picture FILE] [--env DIR]

Creates its own environment below target/ with covector, `mlx[cpu]`, jax and torch. Every library runs every
workload in a process of its own (`measure.py`). The processes take turns for several rounds, so that a
disturbance of the machine affects all alike, and the fastest round counts. All values and gradients are
compared with PyTorch's in float64; a library that disagrees or fails is shown as `–`, with the reason.

`--list` shows the names of workloads and columns.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import venv

import report

ROOT = pathlib.Path(__file__).resolve().parent.parent
MEASURE = pathlib.Path(__file__).resolve().parent / "measure.py"
PACKAGES = ("mlx[cpu]", "jax", "torch", "numpy")
# The default of --timeout, in seconds; PyTorch's compiler is slow.
TIMEOUT = 400.0


def interpreter(environment: pathlib.Path) -> pathlib.Path:
    """The Python of a virtual environment."""
    windows = environment / "Scripts" / "python.exe"
    return windows if windows.exists() else environment / "bin" / "python"


def make_environment() -> pathlib.Path:
    """Creates an environment with the peers' libraries, and with covector built from the working tree."""
    home = ROOT / "target" / "peers-env"
    python = interpreter(home)
    pip = ["-m", "pip", "-q", "--disable-pip-version-check"]
    if not python.exists():
        print("creating an environment with mlx, jax and torch (some minutes, once)", file=sys.stderr)
        venv.create(home, with_pip=True)
        python = interpreter(home)
        subprocess.run([python, *pip, "install", *PACKAGES], check=True)
    print("building covector", file=sys.stderr)
    wheels = ROOT / "target" / "wheels"
    subprocess.run([python, *pip, "wheel", "--no-deps", "-w", wheels, ROOT], check=True)
    newest = max(wheels.glob("covector-*.whl"), key=os.path.getmtime)
    subprocess.run([python, *pip, "install", "--force-reinstall", "--no-deps", newest], check=True)
    return home


class Runner:
    """Starts measuring processes, each in the environment of its library."""

    def __init__(self, environments: dict[str, pathlib.Path], scratch: pathlib.Path, timeout: float) -> None:
        self.environments, self.scratch, self.timeout = environments, scratch, timeout
        # Compilers keep their results in the temporary folder; with an empty one, the first call compiles.
        # PyTorch's compiler gets as many threads as the libraries.
        self.variables = os.environ | {
            "TMPDIR": str(scratch),
            "TORCHINDUCTOR_CACHE_DIR": str(scratch / "inductor"),
            "TORCHINDUCTOR_COMPILE_THREADS": "2",
            "PYTHONWARNINGS": "ignore",
        }

    def python(self, column: str) -> pathlib.Path:
        own = "covector" if column.startswith("covector") else "peers"
        return interpreter(self.environments.get(own, self.environments["peers"]))

    def run(self, workload: str, column: str, *options: str) -> dict[str, object]:
        command = [self.python(column), MEASURE, workload, column, *options]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, env=self.variables, timeout=self.timeout
            )
        except subprocess.TimeoutExpired:
            return {"error": f"not done after {self.timeout:.0f} s"}
        lines = done.stdout.strip().splitlines()
        try:
            return json.loads(lines[-1])
        except (IndexError, json.JSONDecodeError):
            last = done.stderr.strip().splitlines()[-1:]
            return {"error": f"ended with status {done.returncode}: {' '.join(last)}"}

    def ask(self, column: str, code: str) -> str:
        """The output of a line of Python in the column's environment; empty if it fails."""
        command = [self.python(column), "-c", code]
        return subprocess.run(command, capture_output=True, text=True, env=self.variables).stdout.strip()


def merged(old: dict | None, new: dict) -> dict:
    """The better of two rounds, with the first call of the first round."""
    if old is None or "us" not in new:
        return new if old is None else old
    best = dict(min(old, new, key=lambda row: row["us"]))
    best["first_ms"], best["peak_mb"] = old["first_ms"], min(old["peak_mb"], new["peak_mb"])
    best["rounds_us"] = [*old.get("rounds_us", [old["us"]]), new["us"]]
    for part in ("forward_us", "gradient_us", "median_us"):
        if part in old and part in new:
            best[part] = min(old[part], new[part])
    return best


def processor() -> str:
    """The processor's name, if the system reports it."""
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def machine(runner: Runner, columns: list[str]) -> dict[str, object]:
    """The machine and the versions of the libraries."""
    libraries = dict.fromkeys("covector" if c.startswith("covector") else c.split("-")[0] for c in columns)
    code = "import importlib.metadata as m; print(m.version({!r}))"
    versions = {library: runner.ask(library, code.format(library)) for library in libraries}
    return {
        "processor": processor(),
        "processors": os.cpu_count(),
        "threads": 2,
        "system": platform.platform(),
        "date": time.strftime("%Y-%m-%d"),
        "versions": versions,
    }


def measure_all(runner: Runner, args: argparse.Namespace, results: dict) -> None:
    """Runs all rounds and adds the rows to `results`."""
    references: dict[str, list[str]] = {}
    rows = results["workloads"]
    for turn in range(args.rounds):
        for workload, about in rows.items():
            if workload not in references:
                file = runner.scratch / f"{workload}.npz"
                made = runner.run(workload, "reference", "--save", str(file))
                if "error" in made:
                    print(f"no reference for {workload}: {made['error']}", file=sys.stderr)
                references[workload] = [] if "error" in made else ["--reference", str(file)]
            for column in results["columns"]:
                if column == "torch-cells" and "torch-cells" not in about["extras"]:
                    continue
                row = about["rows"].get(column)
                if row and "us" not in row:
                    continue
                options = ["--seconds", str(args.seconds), *references[workload]]
                if column.startswith("covector") or args.parts:
                    options.append("--parts")
                new = runner.run(workload, column, *options)
                about["rows"][column] = merged(row, new)
                if "error" in new:
                    outcome = new["error"]
                else:
                    agreement = f", off by {new['worst']:.0e}" if "worst" in new else ""
                    outcome = f"{new['us']:,.0f} µs{agreement}"
                    outcome += f" — DISAGREES: {new['disagrees']}" if "disagrees" in new else ""
                line = f"[{turn + 1}/{args.rounds}] {workload}, {column}: {outcome}"
                print(line, file=sys.stderr, flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help="workloads, or their beginnings with a *, separated by commas")
    parser.add_argument("--libraries", help="columns, or their beginnings with a *, separated by commas")
    parser.add_argument("--rounds", type=int, help="the number of rounds (3)")
    parser.add_argument("--seconds", type=float, help="of samples per turn (0.5)")
    parser.add_argument("--quick", action="store_true", help="one round of a fifth of a second")
    parser.add_argument("--parts", action="store_true", help="also measure forward values of the peers")
    parser.add_argument("--timeout", type=float, default=TIMEOUT, help="seconds that one process may take")
    parser.add_argument("--env", type=pathlib.Path, help="a virtual environment to use as it is")
    parser.add_argument("--covector-env", type=pathlib.Path, help="the same for covector alone")
    parser.add_argument("--json", type=pathlib.Path, help="write all figures to this file")
    parser.add_argument("--markdown", type=pathlib.Path, help="write the table to this file, for a README")
    parser.add_argument(
        "--picture", type=pathlib.Path, default=ROOT / "target" / "peers.svg", help="chart to write"
    )
    parser.add_argument("--from-json", type=pathlib.Path, help="only report the figures of this file")
    parser.add_argument("--list", action="store_true", help="list workloads and columns")
    args = parser.parse_args()
    args.rounds = args.rounds or (1 if args.quick else 3)
    args.seconds = args.seconds or (0.2 if args.quick else 0.5)
    return args


def chosen(wanted: str | None, names: list[str], what: str) -> list[str]:
    """The names selected by a comma-separated list of names, or of prefixes followed by `*`."""
    if not wanted:
        return names
    found = set()
    for part in wanted.split(","):
        family = part.endswith("*")
        hits = [n for n in names if n == part or (family and n.startswith(part[:-1]))]
        if not hits:
            raise SystemExit(f"unknown {what} {part!r}; the names are: {', '.join(names)}")
        found.update(hits)
    return [name for name in names if name in found]


def main() -> None:
    args = arguments()
    if args.from_json:
        results = json.loads(args.from_json.read_text())
    else:
        home = args.env or (None if args.list else make_environment())
        environments = {"peers": home or pathlib.Path(sys.prefix)}
        if args.covector_env:
            environments["covector"] = args.covector_env
        scratch = pathlib.Path(tempfile.mkdtemp(prefix="peers-"))
        try:
            runner = Runner(environments, scratch, args.timeout)
            # The list of workloads needs NumPy, which this interpreter may not have.
            code = (
                f"import sys; sys.path.insert(0, {str(MEASURE.parent)!r}); import measure; measure.describe()"
            )
            described = runner.ask("peers", code)
            if not described:
                sys.exit("the environment has no NumPy: name one that has it with --env, or leave --env out")
            workloads = json.loads(described)
            names = chosen(args.only, list(workloads), "workload")
            columns = chosen(args.libraries, list(report.COLUMNS), "column")
            if args.list:
                print("workloads:", *(f"  {name:<18} {workloads[name]['title']}" for name in names), sep="\n")
                print("columns:", *(f"  {name}" for name in columns), sep="\n")
                return
            results = {
                "machine": machine(runner, columns),
                "rounds": args.rounds,
                "columns": columns,
                "workloads": {name: workloads[name] | {"rows": {}} for name in names},
            }
            measure_all(runner, args, results)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    print(report.text(results))
    written = {args.json: json.dumps(results, indent=1), args.markdown: report.markdown(results)}
    written[args.picture] = report.picture(results)
    for path, content in written.items():
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content + "\n", encoding="utf-8")
            print(f"written: {path}", file=sys.stderr)


if __name__ == "__main__":
    main()
