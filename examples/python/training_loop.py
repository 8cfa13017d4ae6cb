"""Training in the functional style: a step takes parameters and returns better ones.

The loop never reads a value and never calls ``mx.eval``. Memory does not grow, because each update of the
optimizer evaluates the update before it.

    python examples/python/training_loop.py
"""

import time

import covector.core as mx
import covector.nn as nn
from covector.optimizers import AdamW

mx.random.seed(0)
net = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 10))
params = net.parameters()
opt = AdamW(1e-3)


def loss_fn(p, x, y):
    logits = net.apply(p, x)
    return mx.mean((logits - y) ** 2)


start = time.perf_counter()
for step in range(1000):
    x = mx.random.normal((128, 32))
    y = mx.random.normal((128, 10))
    val, grads = mx.value_and_grad(loss_fn)(params, x, y)
    params = opt.update(params, grads)
    if step + 1 in (100, 1000):
        print(f"step {step + 1:4}: peak memory {mx.get_peak_memory() / 1e6:.2f} MB")
seconds = time.perf_counter() - start

print(f"{seconds / 1000 * 1e3:.2f} ms a step")
print(f"final loss {val.item():.4f}")
