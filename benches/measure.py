"""Measures one library on one workload, in a process that `peers.py` starts.

    python benches/measure.py WORKLOAD COLUMN [--seconds S] [--reference FILE] [--save FILE] [--parts]

Prints one line of JSON: the measurements, or `error`.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import importlib
import json
import os
import pathlib
import resource
import sys
import time

THREADS = 2
SEED = 20260521
# The least time of a sample, in seconds; if steps are short, a sample has many of them.
SAMPLE = 2e-3
# AdamW divides a gradient by its magnitude. If the gradient is mostly rounding error, the step may have
# either sign.
MOVED_TOLERANCE = 0.05


def confine() -> None:
    """Limits this process to two processors, for every library and its settings."""
    os.environ.update(
        dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(THREADS))
    )
    os.environ["XLA_FLAGS"] = f"--xla_cpu_multi_thread_eigen=true intra_op_parallelism_threads={THREADS}"
    os.environ["JAX_PLATFORMS"] = "cpu"
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])


class Memory:
    """The process's resident memory: the current value, and the highest since the last `mark`."""

    def __init__(self) -> None:
        self.status = pathlib.Path("/proc/self/status")
        self.base = 0.0

    def now(self) -> dict[str, float]:
        if not self.status.exists():
            scale = 2**20 if sys.platform == "darwin" else 2**10
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale
            return {"VmRSS": peak, "VmHWM": peak}
        lines = (line.split() for line in self.status.read_text().splitlines() if line.startswith("Vm"))
        return {words[0][:-1]: int(words[1]) / 1024 for words in lines}

    def mark(self) -> None:
        """Sets the base: returns freed memory to the system, and resets the highest value."""
        self.forget()
        self.base = self.now()["VmRSS"]

    def forget(self) -> None:
        """Resets the highest value, and keeps the base."""
        gc.collect()
        if sys.platform == "linux":
            ctypes.CDLL(None).malloc_trim(0)
            pathlib.Path("/proc/self/clear_refs").write_text("5")

    def peak(self) -> float:
        """MB above the last `mark`."""
        return max(0.0, self.now()["VmHWM"] - self.base)


def timed(step, finish, seconds: float) -> dict[str, float]:
    """Microseconds per step: the lowest and the median of samples that together take `seconds`."""
    clock = time.perf_counter

    def sample(count):
        start = clock()
        for _ in range(count):
            step()
        finish()
        return (clock() - start) / count

    spent, count = 0.0, 1
    # Warm-up for a tenth of the time, which also finds the number of steps of a sample.
    while True:
        once = sample(count)
        spent += once * count
        count = max(1, min(4 * count, round(SAMPLE / once)))
        if spent > seconds / 10:
            break
    samples, spent = [], 0.0
    while spent < seconds or len(samples) < 3:
        samples.append(sample(count))
        spent += samples[-1] * count
        if spent > 4 * seconds and len(samples) >= 2:
            break
    samples.sort()
    return {"us": samples[0] * 1e6, "median_us": samples[len(samples) // 2] * 1e6, "samples": len(samples)}


def worst(got, wanted) -> dict[str, float]:
    """The relative error of each value against the reference, in the Euclidean norm."""
    import numpy as np

    errors = {}
    for name in wanted:
        if name not in got or got[name].shape != wanted[name].shape:
            shape = got[name].shape if name in got else "nothing"
            raise ValueError(f"{name} has shape {shape}, the reference {wanted[name].shape}")
        norm = float(np.linalg.norm(wanted[name])) or 1.0
        errors[name] = float(np.linalg.norm(got[name] - wanted[name])) / norm
    return errors


def describe() -> None:
    """Prints the list of workloads as JSON."""
    from workloads import WORKLOADS

    about = {
        name: {"title": workload.title, "note": workload.note, "extras": list(workload.extras)}
        for name, workload in WORKLOADS.items()
    }
    print(json.dumps(about))


def own_peak(library: str):
    """The library's core module if it counts its memory itself, with the count reset; else None."""
    if library not in ("covector", "mlx"):
        return None
    core = importlib.import_module(f"{library}.core")
    core.reset_peak_memory()
    return core


def data_of(workload):
    """A workload's parameters and inputs, with the tangents of a Hessian-vector product."""
    import numpy as np

    rng = np.random.default_rng(SEED)
    params, inputs = workload.data(rng)
    if workload.kind == "hvp":
        tangents = {name: rng.standard_normal(leaf.shape).astype(leaf.dtype) for name, leaf in params.items()}
        inputs = (*inputs, tangents)
    return params, inputs


def measure(name: str, column: str, args: argparse.Namespace) -> dict[str, object]:
    import drivers
    import numpy as np
    from workloads import WORKLOADS

    clock = time.perf_counter
    workload, library = WORKLOADS[name], drivers.library(column)
    start = clock()
    importlib.import_module({"covector": "covector.core", "mlx": "mlx.core"}.get(library, library))
    out: dict[str, object] = {"import_ms": (clock() - start) * 1e3}
    if library == "torch":
        import torch

        torch.set_num_threads(THREADS)
        torch.manual_seed(0)

    params, inputs = data_of(workload)
    program = drivers.build(workload, column, params, inputs)
    program.finish()
    memory = Memory()
    core = own_peak(library)
    active = core.get_active_memory() if core else 0
    memory.mark()

    start = clock()
    result = program.step()
    program.finish()
    out["first_ms"] = (clock() - start) * 1e3
    out["first_peak_mb"] = memory.peak()
    values = program.check(result)
    del result
    if args.save:
        np.savez(args.save, **values)
        return out
    if args.reference:
        with np.load(args.reference) as wanted:
            errors = worst(values, dict(wanted))
        out["worst"] = max(error for name, error in errors.items() if not name.startswith("moved"))
        for name, error in errors.items():
            allowed = MOVED_TOLERANCE if name.startswith("moved") else workload.tolerance
            if not error <= allowed:  # in this form NaN does not agree
                out["disagrees"] = f"{name}: relative error {error:.1e}, allowed {allowed:.0e}"
        del wanted
    del values
    memory.forget()
    if core:
        core.reset_peak_memory()
    out |= timed(program.step, program.finish, args.seconds)
    out["peak_mb"] = memory.peak()
    if core:
        out["own_peak_mb"] = (core.get_peak_memory() - active) / 2**20
    if args.parts:
        for part in ("forward", "gradient"):
            if run := getattr(program, part):
                out[f"{part}_us"] = timed(run, lambda: None, args.seconds)["us"]
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workload")
    parser.add_argument("column")
    parser.add_argument("--seconds", type=float, default=0.5, help="time of all samples together (0.5)")
    parser.add_argument("--reference", help="a file of values to compare with")
    parser.add_argument("--save", help="only save the values to this file")
    parser.add_argument("--parts", action="store_true", help="also measure forward values and gradients")
    args = parser.parse_args()
    confine()
    try:
        out = measure(args.workload, args.column, args)
    except Exception as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        out = {"error": f"{type(error).__name__}: {lines[0] if lines else ''}"}
    print(json.dumps(out))


if __name__ == "__main__":
    main()
