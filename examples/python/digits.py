"""Recognising handwritten digits: 8 × 8 pixels, ten classes, a network of two layers.

python examples/python/digits.py
"""

import sys
from pathlib import Path

import covector.core as mx
import covector.nn as nn
import covector.optimizers as optim

EPOCHS = 30
BATCH = 32
DATA = Path(__file__).resolve().parents[1] / "data" / "digits.bin"


def load(path):
    """The images, as rows of numbers from 0 to 1, and the digit that each shows.

    The README.md in the same folder describes the format.
    """
    records = mx.array(list(path.read_bytes()[16:]), dtype=mx.uint8).reshape(-1, 65)
    return records[:, 1:].astype(mx.float32) / 16, records[:, 0].astype(mx.int32)


def main():
    mx.random.seed(1)
    images, labels = load(DATA)
    order = mx.random.permutation(len(images))
    images, labels = images[order], labels[order]
    held_out = len(images) // 5
    test_x, test_y = images[:held_out], labels[:held_out]
    train_x, train_y = images[held_out:], labels[held_out:]

    net = nn.Sequential(nn.Linear(64, 128), nn.GELU(), nn.Dropout(0.2), nn.Linear(128, 10))
    steps = EPOCHS * (len(train_x) // BATCH)
    opt = optim.AdamW(optim.cosine_decay(3e-3, steps), weight_decay=0.05)

    def loss_fn(params, x, y):
        logits = net.apply(params, x)
        return nn.losses.cross_entropy(logits, y, label_smoothing=0.05, reduction="mean"), logits

    def accuracy(params, x, y):
        return (net.apply(params, x).argmax(axis=1) == y).mean().item()

    params = net.parameters()
    train_step = mx.value_and_grad(loss_fn)
    for epoch in range(EPOCHS):
        net.train()
        order = mx.random.permutation(len(train_x))
        total = mx.array(0.0)
        for start in range(0, len(train_x) - BATCH + 1, BATCH):
            batch = order[start : start + BATCH]
            (loss, _), grads = train_step(params, train_x[batch], train_y[batch])
            params = opt.update(params, grads)
            total = total + loss
        net.eval()
        mean = total.item() / (len(train_x) // BATCH)
        done = "█" * (epoch + 1) + "·" * (EPOCHS - epoch - 1)
        line = f"{done} loss {mean:.3f}  held out {100 * accuracy(params, test_x, test_y):.1f} %"
        # One line that is drawn again on a terminal, one line for each epoch in a file.
        print(
            "\r" + line if sys.stdout.isatty() else line, end="" if sys.stdout.isatty() else "\n", flush=True
        )
    if sys.stdout.isatty():
        print()

    score = 100 * accuracy(params, test_x, test_y)
    if score < 97:
        sys.exit(f"the accuracy on the held-out fifth is only {score:.1f} %")
    print(f"test accuracy {score:.1f} %")


if __name__ == "__main__":
    main()
