"""Times the same work in covector, MLX, JAX and PyTorch, in turns, two threads each, and prints a table.

    python benches/peers.py [--quick] [--here]

Makes its own environment below target/ with covector, `mlx[cpu]`, jax and torch, and runs itself
there; with `--here` it uses the interpreter it was started with. Each library runs in a process of its
own; the processes take turns, several rounds, and the fastest round counts, so that a disturbance of the
machine hits all of them alike.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import subprocess
import sys
import time
import venv

ROOT = pathlib.Path(__file__).resolve().parent.parent
THREADS = "2"


def environment() -> pathlib.Path:
    """The interpreter of an environment that has all four libraries."""
    home = ROOT / "target" / "venv-peers"
    python = home / "bin" / "python"
    if not python.exists():
        print("making an environment with mlx, jax and torch (some minutes, once)", file=sys.stderr)
        venv.create(home, with_pip=True)
        subprocess.run(
            [python, "-m", "pip", "install", "-q", "mlx[cpu]", "jax", "torch", "numpy"], check=True
        )
    subprocess.run([python, "-m", "pip", "install", "-q", str(ROOT)], check=True)
    return python


# The work: the training step of a 32-64-10 network on fresh batches of 128, AdamW.


def covector():
    import covector.core as mx
    import covector.nn as nn
    import covector.optimizers as optimizers

    def build(compiled):
        net = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 10))
        opt = optimizers.AdamW(1e-3)
        held = {"params": net.parameters(), "val": None}

        def loss_fn(p, x, y):
            return mx.mean((net.apply(p, x) - y) ** 2)

        # The program of the contract, as written: it never calls eval.
        def once(params):
            x = mx.random.normal((128, 32))
            y = mx.random.normal((128, 10))
            val, grads = mx.value_and_grad(loss_fn)(params, x, y)
            return val, opt.update(params, grads)

        if compiled:
            opt.init(held["params"])
            once = mx.compile(once, inputs=[opt.state], outputs=[opt.state])

        def step():
            held["val"], held["params"] = once(held["params"])
            if compiled:
                mx.eval(held["val"], held["params"], opt.state)

        return step, lambda: mx.eval(held["val"], held["params"])

    return {"covector": build(False), "covector compiled": build(True)}


def mlx():
    import mlx.core as mx
    import mlx.nn as nn
    import mlx.optimizers as optimizers

    def build(compiled):
        net = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 10))
        opt = optimizers.AdamW(1e-3)
        loss_and_grad = nn.value_and_grad(net, lambda x, y: mx.mean((net(x) - y) ** 2))
        state = [net.state, opt.state, mx.random.state]

        def once():
            val, grads = loss_and_grad(mx.random.normal((128, 32)), mx.random.normal((128, 10)))
            opt.update(net, grads)
            return val

        if compiled:
            once = mx.compile(once, inputs=state, outputs=state)

        def step():
            mx.eval(once(), state)  # MLX needs the eval: without it the graph grows without bound

        return step, lambda: None

    return {"MLX": build(False), "MLX compiled": build(True)}


def jax():
    os.environ["XLA_FLAGS"] = f"--xla_cpu_multi_thread_eigen=true intra_op_parallelism_threads={THREADS}"
    import jax
    import jax.numpy as jnp

    def init(key):
        a, b = jax.random.split(key)
        return {
            "w1": jax.random.uniform(a, (32, 64), minval=-0.17, maxval=0.17),
            "b1": jnp.zeros(64),
            "w2": jax.random.uniform(b, (64, 10), minval=-0.12, maxval=0.12),
            "b2": jnp.zeros(10),
        }

    def loss(p, x, y):
        h = jax.nn.relu(x @ p["w1"] + p["b1"])
        return jnp.mean((h @ p["w2"] + p["b2"] - y) ** 2)

    @jax.jit
    def once(p, m, v, n, key):
        key, a, b = jax.random.split(key, 3)
        x, y = jax.random.normal(a, (128, 32)), jax.random.normal(b, (128, 10))
        val, g = jax.value_and_grad(loss)(p, x, y)
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
        p = jax.tree.map(lambda p, m, v: p * (1 - 1e-5) - 1e-3 * m / (jnp.sqrt(v) + 1e-8), p, m, v)
        return val, p, m, v, n + 1, key

    p = init(jax.random.key(0))
    zeros = jax.tree.map(jnp.zeros_like, p)
    state = [(None, p, zeros, zeros, 0, jax.random.key(1))]

    def step():
        state[0] = once(*state[0][1:])

    return {"JAX jit": (step, lambda: jax.block_until_ready(state[0]))}


def torch():
    import torch

    torch.set_num_threads(int(THREADS))

    def build(compiled):
        net = torch.nn.Sequential(torch.nn.Linear(32, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
        opt = torch.optim.AdamW(net.parameters(), lr=1e-3)

        def loss_fn(x, y):
            return ((net(x) - y) ** 2).mean()

        if compiled:
            loss_fn = torch.compile(loss_fn)

        def step():
            x, y = torch.randn(128, 32), torch.randn(128, 10)
            opt.zero_grad()
            loss_fn(x, y).backward()
            opt.step()

        return step, lambda: None

    return {"PyTorch": build(False)}


LIBRARIES = {"covector": covector, "mlx": mlx, "jax": jax, "torch": torch}


def measure(name: str, seconds: float) -> None:
    """Runs in a process of its own: prints microseconds per step, first call, and memory, as JSON."""
    import resource

    out = {}
    for label, (step, finish) in LIBRARIES[name]().items():
        start = time.perf_counter()
        step()
        finish()
        first = time.perf_counter() - start
        for _ in range(50):
            step()
        finish()
        memory_early = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        best, deadline = float("inf"), time.perf_counter() + seconds
        count = 0
        while time.perf_counter() < deadline or count < 3:
            start = time.perf_counter()
            for _ in range(100):
                step()
            finish()
            best = min(best, (time.perf_counter() - start) / 100)
            count += 1
        out[label] = {
            "us": best * 1e6,
            "first_ms": first * 1e3,
            "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "growth_mb": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory_early) / 1024,
        }
    print(json.dumps(out))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--here", action="store_true", help="use this interpreter as it is")
    parser.add_argument("--one", choices=LIBRARIES, help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=2.0, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        measure(args.one, args.seconds)
        return
    python = pathlib.Path(sys.executable) if args.here else environment()
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), THREADS)
    best: dict[str, dict[str, float]] = {}
    for turn in range(1 if args.quick else 3):
        for name in LIBRARIES:
            command = [python, __file__, "--one", name, "--seconds", "0.5" if args.quick else "2"]
            done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **threads})
            if done.returncode:
                print(f"{name}: not measured: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
                continue
            for label, row in json.loads(done.stdout.splitlines()[-1]).items():
                if label not in best or row["us"] < best[label]["us"]:
                    best[label] = row
        print(f"round {turn + 1} done", file=sys.stderr)
    peers = [row["us"] for label, row in best.items() if not label.startswith("covector")]
    print("training step of a 32-64-10 network, batches of 128 fresh normals, AdamW")
    print(f"{'':<18}{'µs/step':>10}{'to best peer':>14}{'first ms':>10}{'peak MB':>9}{'growth MB':>11}")
    for label, row in best.items():
        ratio = row["us"] / min(peers) if peers else float("nan")
        print(
            f"{label:<18}{row['us']:>10.0f}{ratio:>14.2f}{row['first_ms']:>10.1f}"
            f"{row['rss_mb']:>9.0f}{row['growth_mb']:>11.1f}"
        )


if __name__ == "__main__":
    main()
