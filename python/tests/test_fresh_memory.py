"""Gradients through pooling in memory that was used before, against differences."""

import covector.core as mx
import covector.nn as nn
import covector.utils as utils
import pytest


@pytest.fixture(autouse=True)
def used_memory():
    """Leaves memory behind that does not hold zeros."""
    junk = [mx.full((n,), 1e30) for n in (8, 16, 64, 256, 1024, 4096) for _ in range(32)]
    mx.eval(junk)
    del junk


def test_the_greatest_of_each_window_gets_its_share():
    x = mx.array([5.0, 1, 2, 4, 3, 7, 0, 1]).reshape(1, 8, 1)
    grad = mx.grad(lambda x: nn.MaxPool1d(2, 2)(x).sum())
    for _ in range(20):
        assert grad(x).reshape(-1).tolist() == [1, 0, 0, 1, 0, 1, 0, 1]


@pytest.mark.parametrize("dtype", [mx.float16, mx.bfloat16, mx.float32])
@pytest.mark.parametrize(("size", "padding"), [(2, 0), (2, 1), (3, 0), (3, 1), (4, 2), (5, 0)])
def test_windows_side_by_side(size, padding, dtype):
    n = size * size
    image = (mx.arange(n * n) * 7 % (n * n)).reshape(1, n, n, 1).astype(dtype)
    pool = nn.MaxPool2d(size, size, padding=padding)
    found = mx.grad(lambda x: pool(x).sum())(image)
    # Every value is there once, or few times in half precision: the shares of a window add up to 1.
    assert found.dtype == dtype
    assert found.sum().item() == pool(image).size
    assert ((found >= 0) & (found <= 1)).all().item()


@pytest.mark.parametrize(("size", "padding"), [(2, 0), (3, 0), (2, 1), (5, 2)])
def test_a_network_with_pooling_has_the_gradients_of_differences(size, padding):
    mx.random.seed(1)
    net = nn.Sequential(
        nn.Conv1d(2, 3, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool1d(size, size, padding=padding),
        nn.Conv1d(3, 2, 2),
    )
    x = mx.random.normal((2, 24, 2)).astype(mx.float64)
    params = utils.tree_map(lambda p: p.astype(mx.float64), net.parameters())

    def loss(params):
        return net.apply(params, x).square().mean()

    grads = dict(utils.tree_flatten(mx.grad(loss)(params)))
    flat = utils.tree_flatten(params)
    for name, value in flat:
        for i in range(value.size):
            step = (mx.arange(value.size) == i).reshape(value.shape).astype(mx.float64) * 1e-5

            def at(sign, name=name, step=step):
                moved = [(k, v + sign * step if k == name else v) for k, v in flat]
                return loss(utils.tree_unflatten(moved)).item()

            due = (at(1) - at(-1)) / 2e-5
            assert grads[name].reshape(-1)[i].item() == pytest.approx(due, abs=1e-7), (name, i)
