"""Half precision is rounded once: what is made of a sum is computed in single precision."""

import math

import covector.core as mx
import covector.nn as nn
import covector.optimizers as optim
import pytest

HALVES = [mx.float16, mx.bfloat16]
#: Twice the largest relative error of one rounding.
UNIT = {mx.float16: 2.0**-10, mx.bfloat16: 2.0**-7}


def near(x, value, dtype):
    """One number, of this type, at most a unit of rounding away."""
    assert x.dtype == dtype
    assert x.astype(mx.float64).item() == pytest.approx(value, rel=UNIT[dtype], abs=1e-7)


@pytest.mark.parametrize("dtype", HALVES)
def test_what_is_made_of_a_sum(dtype):
    hundreds = mx.full((1000,), 100.0, dtype=dtype)
    many = mx.zeros((70000,), dtype=dtype)
    near(mx.mean(hundreds), 100, dtype)
    pairs = mx.array([90.0, 110.0] * 500, dtype)
    near(mx.var(pairs), 100, dtype)
    near(mx.std(pairs), 10, dtype)
    near(mx.logsumexp(many), math.log(70000), dtype)
    near(mx.softmax(many)[0], 1 / 70000, dtype)
    near(nn.log_softmax(many)[0], -math.log(70000), dtype)
    small = mx.full((4,), 2.0**-10, dtype=dtype)
    near(mx.einsum("i,j->", hundreds, small), 100_000 / 256, dtype)
    ones, large = mx.ones((1000, 1), dtype=dtype), mx.full((1, 1), -61440.0, dtype=dtype)
    near(mx.addmm(large, hundreds.reshape(1, -1), ones).reshape(()), 100_000 - 61_440, dtype)
    near(mx.fast.rms_norm(hundreds.reshape(1, -1) * 10, None, 1e-5)[0, 0], 1, dtype)
    near(nn.AvgPool1d(1000)(hundreds.reshape(1, -1, 1)).reshape(()), 100, dtype)


@pytest.mark.parametrize("dtype", HALVES)
def test_losses(dtype):
    near(nn.losses.cross_entropy(mx.zeros((1, 70000), dtype=dtype), mx.array([0]))[0], math.log(70000), dtype)
    x, y = mx.full((700, 100), 3.0, dtype=dtype), mx.zeros((700, 100), dtype=dtype)
    near(nn.losses.mse_loss(x, y), 9, dtype)
    near(nn.losses.l1_loss(x, y), 3, dtype)
    near(nn.losses.huber_loss(x, y, reduction="mean"), 2.5, dtype)
    grads = mx.grad(nn.losses.mse_loss)(x, y)
    near(grads[0, 0], 6 / 70000, dtype)


@pytest.mark.parametrize("dtype", HALVES)
def test_gradients_of_ties(dtype):
    ones = mx.ones((70000,), dtype=dtype)
    near(mx.grad(lambda x: x.max())(ones)[0], 1 / 70000, dtype)
    near(mx.grad(lambda x: x.min())(ones)[-1], 1 / 70000, dtype)


@pytest.mark.parametrize("dtype", HALVES)
def test_many_updates_of_one_place(dtype):
    places = mx.zeros((5000,), dtype=mx.int32)
    near(mx.zeros(2, dtype=dtype).at[places].add(1.0)[0], 5000, dtype)
    near(mx.zeros(2, dtype=dtype).at[places].subtract(1.0)[0], -5000, dtype)
    near(mx.ones(2, dtype=dtype).at[mx.zeros((2000,), mx.int32)].multiply(1.0)[0], 1, dtype)
    table = mx.zeros((2, 3), dtype=dtype)
    near(mx.grad(lambda w: w[places].sum())(table)[0, 0], 5000, dtype)
    near(mx.grad(lambda w: mx.take(w, places, axis=0).sum())(table)[0, 1], 5000, dtype)


OPTIMIZERS = {
    "SGD": lambda: optim.SGD(1e-3, momentum=0.9),
    "Adam": lambda: optim.Adam(1e-3),
    "corrected Adam": lambda: optim.Adam(1e-3, bias_correction=True),
    "AdamW": lambda: optim.AdamW(1e-3, weight_decay=0.0),
    "Adamax": lambda: optim.Adamax(1e-3),
    "RMSprop": lambda: optim.RMSprop(1e-3),
    "Adagrad": lambda: optim.Adagrad(1e-3),
    "AdaDelta": lambda: optim.AdaDelta(1e-3),
    "Lion": lambda: optim.Lion(1e-3),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("dtype", HALVES)
def test_optimizers(name, dtype):
    params = {"w": mx.ones(2, dtype=dtype)}
    # A gradient of zero changes nothing, and one whose square is below float16 is a step like any other.
    still = OPTIMIZERS[name]().apply_gradients({"w": mx.zeros(2, dtype=dtype)}, params)
    assert still["w"].dtype == dtype
    assert still["w"].tolist() == [1, 1]
    opt, wide = OPTIMIZERS[name](), OPTIMIZERS[name]()
    grads = {"w": mx.full((2,), 1e-4, dtype=dtype)}
    for _ in range(5):
        params_wide = {"w": params["w"].astype(mx.float32)}
        params = opt.apply_gradients(grads, params)
        due = wide.apply_gradients({"w": grads["w"].astype(mx.float32)}, params_wide)
        assert params["w"].dtype == dtype
        assert params["w"].tolist() == due["w"].astype(dtype).tolist()
    for slot in opt.state["w"].values():
        assert slot.dtype == mx.float32


@pytest.mark.parametrize("dtype", HALVES)
def test_types_of_mixed_parameters_and_gradients_are_those_of_mlx(dtype):
    half, single = mx.ones(2, dtype=dtype), mx.ones(2)
    assert optim.Adam(0.1).apply_gradients({"w": single}, {"w": half})["w"].dtype == mx.float32
    assert optim.Adam(0.1).apply_gradients({"w": half}, {"w": single})["w"].dtype == mx.float32


@pytest.mark.parametrize("dtype", HALVES)
def test_second_derivatives(dtype):
    x = mx.array([0.5, -1.0, 2.0], dtype)
    for f in (lambda x: mx.softmax(x)[0], mx.var, mx.logsumexp):
        h = mx.hessian(f)(x)
        due = mx.hessian(f)(x.astype(mx.float32))
        assert h.dtype == dtype
        assert mx.abs(h.astype(mx.float32) - due).max().item() < 4 * UNIT[dtype]
