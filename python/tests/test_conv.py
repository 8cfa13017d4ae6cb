"""Convolution and pooling, against numbers computed with MLX and against their definitions."""

from typing import Any

import covector.core as mx
import covector.nn as nn
import pytest
from covector.utils import tree_map
from nn_helpers import FIXTURE, assert_close, flat

DATA = FIXTURE["conv"]


def sample(shape: list[int], step: int) -> mx.array:
    """The same numbers as in the file's inputs."""
    n = 1
    for extent in shape:
        n *= extent
    return ((mx.arange(n) * step) % 17).astype(mx.float32).reshape(shape) / 8 - 1


def near(got: mx.array, wanted: list[float]) -> bool:
    return all(
        abs(a - b) <= 1e-5 * (1 + abs(b)) or a == b for a, b in zip(flat(got.tolist()), wanted, strict=True)
    )


@pytest.mark.parametrize("case", DATA["cases"], ids=lambda c: f"{c['op']} {c['kw']}")
def test_values_and_gradients_are_those_of_mlx(case: dict[str, Any]):
    op, x, w = getattr(mx, case["op"]), sample(case["x"], 5), sample(case["w"], 7)
    y = op(x, w, **case["kw"])
    assert y.shape == tuple(case["shape"])
    assert near(y, case["y"])
    weighted = lambda x, w: (op(x, w, **case["kw"]) * sample(case["shape"], 3)).sum()  # noqa: E731
    gx, gw = mx.grad(weighted, argnums=(0, 1))(x, w)
    assert near(gx, case["gx"])
    assert near(gw, case["gw"])


def test_layers_start_as_in_mlx():
    mx.random.seed(3)
    for name, wanted in DATA["layers"].items():
        layer = getattr(nn, name)(*(tuple(a) if isinstance(a, list) else a for a in wanted["args"]))
        assert layer.weight.shape == tuple(wanted["shape"])
        assert layer.weight.reshape(-1).tolist() == mx.array(wanted["weight"]).tolist(), name
        assert layer.bias.tolist() == [0.0] * len(layer.bias.tolist())
        assert repr(layer) == wanted["repr"]


def test_the_repr_of_groups_has_all_channels():
    assert repr(nn.Conv1d(4, 6, 2, groups=2)).startswith("Conv1d(4, 6, kernel_size=2, ")
    assert repr(nn.Conv2d(4, 6, 2, groups=2)).startswith("Conv2d(4, 6, kernel_size=(2, 2), ")


@pytest.mark.parametrize("case", DATA["pools"], ids=lambda c: c["name"])
def test_pooling_is_that_of_mlx(case: dict[str, Any]):
    layer = getattr(nn, case["name"])(*(tuple(a) if isinstance(a, list) else a for a in case["args"]))
    assert repr(layer) == case["repr"]
    x = sample(case["x"], 5)
    y = layer(x)
    assert y.shape == tuple(case["shape"])
    assert near(y, case["y"])
    assert near(mx.grad(lambda x: (layer(x) * sample(case["shape"], 3)).sum())(x), case["g"])


def test_element_types():
    x, w = mx.ones((1, 4, 2)), mx.ones((3, 2, 2))
    assert mx.conv1d(x.astype(mx.float16), w).dtype == mx.float32
    assert mx.conv1d(x.astype(mx.float16), w.astype(mx.bfloat16)).dtype == mx.float32
    assert mx.conv1d(x.astype(mx.bfloat16), w.astype(mx.bfloat16)).dtype == mx.bfloat16
    assert mx.conv1d(x * 1j, w).tolist() == [[[4j, 4j, 4j]] * 3]
    assert nn.MaxPool1d(2)(mx.array([[[1], [3], [2], [0]]])).tolist() == [[[3], [2]]]
    assert nn.AvgPool1d(2)(mx.array([[[1], [2], [2], [0]]])).tolist() == [[[1.5], [1.0]]]
    assert nn.AvgPool2d(2)(mx.ones((1, 4, 4, 1), dtype=mx.float16)).dtype == mx.float16


def test_a_convnet_learns():
    mx.random.seed(0)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(
                nn.Conv2d(1, 8, 3, padding=1),
                nn.ReLU(),
                nn.MaxPool2d(2),
                nn.Conv2d(8, 8, 3),
                nn.ReLU(),
                nn.AvgPool2d(2),
            )
            self.head = nn.Linear(8, 2)

        def __call__(self, x):
            return self.head(self.layers(x).reshape(x.shape[0], -1))

    # Whether the bright stripe lies or stands.
    images = mx.zeros((16, 8, 8, 1))
    for i in range(8):
        images[i, i, :, 0] = 1.0
        images[8 + i, :, i, 0] = 1.0
    labels = mx.array([0] * 8 + [1] * 8)
    net = Net()
    loss = lambda net: nn.losses.cross_entropy(net(images), labels, reduction="mean")  # noqa: E731
    step = nn.value_and_grad(net, loss)
    first = step(net)[0].item()
    for _ in range(60):
        _, grads = step(net)
        net.update(tree_map(lambda p, g: p - 0.5 * g, net.parameters(), grads))
    assert step(net)[0].item() < 0.5 * first


def test_transforms_compose():
    x, w = sample([2, 5, 5, 2], 5), sample([3, 3, 3, 2], 7)
    loss = lambda w, x: mx.conv2d(x[None], w, stride=2, padding=1).square().sum()  # noqa: E731
    each = mx.vmap(mx.grad(loss), in_axes=(None, 0))(w, x)
    for i in range(2):
        assert_close(each[i], mx.grad(loss)(w, x[i]).tolist(), rtol=1e-5)
    # The loss is quadratic in w, so its Hessian times w is its gradient.
    gradient = mx.grad(loss)(w, x[0])
    _, along = mx.jvp(lambda w: mx.grad(loss)(w, x[0]), [w], [w])
    assert_close(along[0], gradient.tolist(), rtol=1e-5, atol=1e-4)
    many = mx.vmap(lambda w: mx.conv2d(x, w, groups=1))(mx.stack([w, 2 * w]))
    assert_close(many[1], (2 * mx.conv2d(x, w)).tolist(), rtol=1e-5)


def test_results_do_not_depend_on_threads():
    x, w = mx.random.normal((8, 20, 20, 16)), mx.random.normal((32, 3, 3, 16))
    grads = mx.grad(lambda x, w: mx.conv2d(x, w, padding=1).square().sum(), argnums=(0, 1))
    before = mx.get_num_threads()
    try:
        got = []
        for threads in (1, 3):
            mx.set_num_threads(threads)
            got.append([g.tolist() for g in grads(x, w)])
    finally:
        mx.set_num_threads(before)
    assert got[0] == got[1]


X, W = mx.ones((2, 5, 5, 4)), mx.ones((6, 3, 3, 4))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: mx.conv2d(X, W, groups=2), ValueError, "8 input channels"),
        (lambda: mx.conv2d(X, mx.ones((5, 3, 3, 2)), groups=2), ValueError, "5 output channels"),
        (lambda: mx.conv2d(X[0], W), ValueError, "must have 4 axes"),
        (lambda: mx.conv2d(X, W[0]), ValueError, "as many axes"),
        (lambda: mx.conv2d(X, W, stride=0), ValueError, "stride .* must be positive"),
        (lambda: mx.conv2d(X, W, stride=-1), ValueError, "stride .* must be positive"),
        (lambda: mx.conv2d(X, W, dilation=0), ValueError, "dilation .* must be positive"),
        (lambda: mx.conv2d(X, W, groups=0), ValueError, "groups .* must be positive"),
        (lambda: mx.conv2d(X, W, stride=(1, 2, 3)), TypeError, "stride must be an int or 2 of them"),
        (lambda: mx.conv2d(X, W, 1.0), TypeError, "int"),
        (lambda: mx.conv2d(X, mx.ones((6, 9, 9, 4))), ValueError, "covers 9"),
        (lambda: mx.conv2d(X.astype(mx.int32), W), ValueError, "int32"),
        (lambda: mx.conv_general(X, W, padding=(1, 2, 3)), ValueError, "2 spatial axes"),
        (lambda: mx.conv_general(X, W, padding="same"), TypeError, "pair of sequences"),
        (lambda: mx.conv_general(mx.ones((2, 3)), mx.ones((4, 3))), ValueError, "one to three spatial axes"),
        (lambda: nn.Conv2d(3, 4, 3, groups=2), ValueError, "divisible by the number of groups"),
        (lambda: nn.MaxPool2d(0), ValueError, "'kernel_size' must be positive"),
        (lambda: nn.MaxPool2d("a"), ValueError, "integer or a tuple containing 2 integers"),
        (lambda: nn.MaxPool1d(2.0), ValueError, "integer or a tuple containing 1 integer"),
        (lambda: nn.MaxPool2d(2, padding=-1), ValueError, "must be non-negative"),
        (lambda: nn.MaxPool2d(2)(X[0]), ValueError, "must have 4 axes"),
    ],
)
def test_errors_say_what_was_received(call: Any, error: type, message: str):
    with pytest.raises(error, match=message):
        call()
