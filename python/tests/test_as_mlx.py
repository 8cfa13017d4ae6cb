"""``python -m covector.as_mlx`` runs a program written for MLX."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys
from functools import partial
import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
from mlx import nn as again
from mlx.nn.losses import mse_loss
from mlx.nn.layers.base import Module
from mlx.optimizers import Adam
from mlx.utils import tree_flatten
import helper

assert again is nn and issubclass(nn.Linear, Module) and Adam is optim.Adam
assert __name__ == "__main__"


class MLP(nn.Module):
    def __init__(self, sizes):
        super().__init__()
        self.layers = [nn.Linear(a, b) for a, b in zip(sizes[:-1], sizes[1:])]

    def __call__(self, x):
        for layer in self.layers[:-1]:
            x = nn.relu(layer(x))
        return self.layers[-1](x)


def loss_fn(model, x, y):
    return mx.mean(nn.losses.mse_loss(model(x), y))


mx.random.seed(0)
model = MLP([2, 16, 1])
mx.eval(model.parameters())
optimizer = optim.Adam(learning_rate=1e-2)
loss_and_grad_fn = nn.value_and_grad(model, loss_fn)
x = mx.random.uniform(shape=(64, 2))
y = x[:, :1] * x[:, 1:]
for _ in range(200):
    loss, grads = loss_and_grad_fn(model, x, y)
    optimizer.update(model, grads)
    mx.eval(model.parameters(), optimizer.state)
print(sys.argv[1:], helper.name(), len(tree_flatten(model.parameters())), loss.item() < 0.02)
"""


def run(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "covector.as_mlx", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "programs").mkdir()
    (tmp_path / "programs" / "train.py").write_text(PROGRAM)
    # A module beside the program, which imports mlx itself.
    (tmp_path / "programs" / "helper.py").write_text(
        "import mlx.core as mx\ndef name(): return mx.__name__\n"
    )
    return tmp_path


def test_a_program_runs_unchanged(folder: Path) -> None:
    done = run(folder, "programs/train.py", "--epochs", "3")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[0] == "['--epochs', '3'] covector.core 4 True"


def test_a_module_runs_unchanged(folder: Path) -> None:
    done = run(folder / "programs", "-m", "train", "x")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[0] == "['x'] covector.core 4 True"


def test_a_program_may_fail_or_be_missing(folder: Path) -> None:
    (folder / "fail.py").write_text("import sys\nsys.exit(7)\n")
    assert run(folder, "fail.py").returncode == 7
    (folder / "unknown.py").write_text("import mlx.data\n")
    done = run(folder, "unknown.py")
    assert done.returncode == 1
    assert "No module named 'mlx.data'" in done.stderr
    done = run(folder, "nothing.py")
    assert done.returncode == 1
    assert "there is no file nothing.py" in done.stderr
    done = run(folder)
    assert done.returncode == 2
    assert "python -m covector.as_mlx script.py" in done.stderr
