"""Shows how covector runs a step of a workload: a picture of every kernel, and the plan.

    python benches/trace.py [WORKLOAD] [--picture FILE] [--plan FILE] [--steps N]

Run it in an environment with covector and NumPy, such as the one that `peers.py` creates below target/. The
picture has a row for each kernel; if the file's name ends in `.json`, it is a trace for Perfetto instead.
The plan has a line for each kernel, with the operations that run together. The default workload is the
transformer's training step.
"""

from __future__ import annotations

import argparse
import pathlib

import drivers
import measure
import numpy as np
from workloads import WORKLOADS


def plan(workload, params, inputs) -> str:
    """The plan of the workload's value and gradients."""
    import covector.core as mx
    import covector.nn as nn

    params = drivers.each_leaf(mx.array, params)
    inputs = tuple(drivers.each_leaf(mx.array, leaf) for leaf in inputs)
    mx.eval(params, inputs)
    return mx.plan_text(mx.value_and_grad(workload.mx(mx, nn))(params, *inputs))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workload", nargs="?", default="transformer", choices=list(WORKLOADS))
    parser.add_argument("--picture", type=pathlib.Path, default=pathlib.Path("target/trace.svg"))
    parser.add_argument("--plan", type=pathlib.Path, default=pathlib.Path("target/plan.txt"))
    parser.add_argument("--steps", type=int, default=1, help="steps in the picture (1)")
    args = parser.parse_args()
    measure.confine()
    import covector.core as mx

    workload = WORKLOADS[args.workload]
    params, inputs = workload.data(np.random.default_rng(measure.SEED))
    if not workload.programs and workload.kind not in ("hvp", "per_sample"):
        args.plan.parent.mkdir(parents=True, exist_ok=True)
        args.plan.write_text(plan(workload, params, inputs), encoding="utf-8")
        print(f"written: {args.plan}")
    program = drivers.build(workload, "covector-compiled", params, inputs)
    for _ in range(5):
        program.step()
    program.finish()
    with mx.profile() as profile:
        for _ in range(args.steps):
            program.step()
        program.finish()
    args.picture.parent.mkdir(parents=True, exist_ok=True)
    profile.save(args.picture)
    print(f"written: {args.picture}")
    print(profile.summary())


if __name__ == "__main__":
    main()
