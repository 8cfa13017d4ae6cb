"""Compares covector with the limits of the machine: bandwidth, matrix products, import time, size.

    python benches/roofline.py [--rounds N] [--quick] [--json FILE] [--env DIR]

Copies and triads measure the memory's bandwidth, the best library's product of large matrices the
processors' speed; covector's figures are shown next to them. Every library runs in a process of its own,
on two threads, in turns, and the best round counts.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

import measure
import peers
import report

SIZES = (64, 128, 256, 512, 1024, 2048)
# Elements of an array of 64 MB, beyond the caches.
LENGTH = 16_000_000
BYTES = 4
LIBRARIES = ("covector", "torch", "numpy")


def gelu(tanh, x):
    """The elementwise workload's function."""
    return 0.5 * x * (1.0 + tanh(0.7978845608 * (x + 0.044715 * x * x * x)))


def covector_work() -> dict[str, Callable[[], object]]:
    import covector.core as mx

    x, y = mx.random.normal((LENGTH,)), mx.random.normal((LENGTH,))
    matrices = {n: (mx.random.normal((n, n)), mx.random.normal((n, n))) for n in SIZES}
    mx.eval(x, y, matrices)
    gradient = mx.compile(mx.value_and_grad(lambda x: mx.mean(gelu(mx.tanh, x))))
    plain = mx.value_and_grad(lambda x: mx.mean(gelu(mx.tanh, x)))
    square = mx.compile(mx.value_and_grad(lambda x: mx.mean(mx.square(x))))
    work = {
        "copy": lambda: mx.eval(-x),
        "triad": lambda: mx.eval(x + 0.5 * y),
        "gradient": lambda: mx.eval(gradient(x)),
        "gradient, not compiled": lambda: mx.eval(plain(x)),
        "square gradient": lambda: mx.eval(square(x)),
    }
    return work | {f"gemm {n}": lambda a=a, b=b: mx.eval(a @ b) for n, (a, b) in matrices.items()}


def torch_work() -> dict[str, Callable[[], object]]:
    import torch

    torch.set_num_threads(measure.THREADS)
    x, y, out = torch.randn(LENGTH), torch.randn(LENGTH), torch.empty(LENGTH)
    work = {
        "copy": lambda: out.copy_(x),
        "triad": lambda: torch.add(x, y, alpha=0.5, out=out),
    }
    for n in SIZES:
        a, b, c = torch.randn(n, n), torch.randn(n, n), torch.empty(n, n)
        work[f"gemm {n}"] = lambda a=a, b=b, c=c: torch.mm(a, b, out=c)
    return work


def numpy_work() -> dict[str, Callable[[], object]]:
    import concurrent.futures
    import ctypes

    import numpy as np

    rng = np.random.default_rng(0)
    x, out = rng.standard_normal(LENGTH).astype(np.float32), np.empty(LENGTH, np.float32)
    half = LENGTH * BYTES // 2
    pool = concurrent.futures.ThreadPoolExecutor(measure.THREADS)

    def move(at):
        # ctypes releases the interpreter's lock during the call.
        ctypes.memmove(out.ctypes.data + at, x.ctypes.data + at, half)

    work = {
        "memmove": lambda: ctypes.memmove(out.ctypes.data, x.ctypes.data, 2 * half),
        "copy": lambda: list(pool.map(move, (0, half))),
    }
    for n in SIZES:
        a, b, c = (rng.standard_normal((n, n)).astype(np.float32) for _ in "abc")
        work[f"gemm {n}"] = lambda a=a, b=b, c=c: np.matmul(a, b, out=c)
    return work


WORK = dict(zip(LIBRARIES, (covector_work, torch_work, numpy_work), strict=True))
# The least number of arrays of `LENGTH` that are read or written.
TRAFFIC = {
    "memmove": 2,
    "copy": 2,
    "triad": 3,
    "square gradient": 2,
    "gradient": 2,
    "gradient, not compiled": 2,
}


def child(library: str, seconds: float) -> None:
    """Prints microseconds per call of each piece of work, as JSON."""
    measure.confine()
    work = WORK[library]()
    print(json.dumps({name: measure.timed(run, lambda: None, seconds)["us"] for name, run in work.items()}))


def import_time(python: pathlib.Path, rounds: int) -> float:
    """Milliseconds that `import covector.core` adds to the start of an interpreter."""

    def lowest(code):
        best = float("inf")
        for _ in range(rounds):
            start = time.perf_counter()
            subprocess.run([python, "-c", code], check=True, cwd=tempfile.gettempdir())
            best = min(best, time.perf_counter() - start)
        return best

    return (lowest("import covector.core") - lowest("pass")) * 1e3


def sizes(python: pathlib.Path) -> dict[str, float]:
    """Megabytes of the extension module, and of the newest wheel below target/."""
    code = "import covector._covector as m; print(m.__file__)"
    where = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip()
    found = {"extension module": os.path.getsize(where) / 1e6}
    wheels = sorted((peers.ROOT / "target").glob("wheels/*.whl"), key=os.path.getmtime)
    if wheels:
        found[f"wheel ({wheels[-1].name})"] = wheels[-1].stat().st_size / 1e6
    return found


def show(results: dict) -> str:
    times = results["us"]

    def rate(library, name):
        us = times[library].get(name)
        return report.number(us and TRAFFIC[name] * LENGTH * BYTES / us / 1e3, 1)

    bandwidth = {name: [rate(library, name) for library in LIBRARIES] for name in TRAFFIC}
    head = ["", *LIBRARIES]
    lines = [f"{results['processor']}, {measure.THREADS} threads", ""]
    rows = [[name, *row] for name, row in bandwidth.items()]
    lines += report.table("GB/s, counting the least traffic", head, rows)
    copy = min(times[library]["copy"] for library in LIBRARIES)
    for name in ("square gradient", "gradient", "gradient, not compiled"):
        lines.append(f"covector's {name}: {copy / times['covector'][name]:.0%} of the best copy's bandwidth")
    products = []
    for n in SIZES:
        rates = [2 * n**3 / times[library][f"gemm {n}"] / 1e3 for library in LIBRARIES]
        share = f"{rates[0] / max(rates[1:]):.0%}"
        products.append([f"{n}³", *(report.number(rate, 1) for rate in rates), share])
    peak = max(2 * n**3 / row[f"gemm {n}"] / 1e3 for row in times.values() for n in SIZES)
    lines += ["", *report.table("float32 products, GFLOP/s", [*head, "to the best peer"], products)]
    lines.append(f"best figure of all: {peak:,.0f} GFLOP/s")
    lines.append(f"import covector.core: {results['import_ms']:.0f} ms")
    lines += [f"{what}: {size:.1f} MB" for what, size in results["sizes"].items()]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, help="the number of rounds (3)")
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--env", type=pathlib.Path, help="a virtual environment to use as it is")
    parser.add_argument("--covector-env", type=pathlib.Path, help="the same for covector alone")
    parser.add_argument("--json", type=pathlib.Path, help="write all figures to this file")
    parser.add_argument("--child", choices=LIBRARIES, help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, help="of samples, per piece of work and turn (0.5)")
    args = parser.parse_args()
    seconds = args.seconds or (0.1 if args.quick else 0.5)
    if args.child:
        child(args.child, seconds)
        return
    home = args.env or peers.make_environment()
    own = peers.interpreter(args.covector_env or home)
    pythons = {library: own if library == "covector" else peers.interpreter(home) for library in LIBRARIES}
    times: dict[str, dict[str, float]] = {library: {} for library in LIBRARIES}
    rounds = args.rounds or (1 if args.quick else 3)
    for turn in range(rounds):
        for library, python in pythons.items():
            command = [python, __file__, "--child", library, "--seconds", str(seconds)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            for name, us in json.loads(done.stdout).items():
                times[library][name] = min(us, times[library].get(name, us))
            print(f"[{turn + 1}/{rounds}] {library}", file=sys.stderr, flush=True)
    results = {
        "processor": peers.processor(),
        "us": times,
        "import_ms": import_time(own, 5 if args.quick else 20),
        "sizes": sizes(own),
    }
    print(show(results))
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
