"""What users of this and of other libraries reported as wrong, each with its right value."""

import covector.core as mx
import covector.nn as nn
import covector.optimizers as optim
import covector.utils as utils
import numpy as np
import pytest

HALF = mx.float16
X, Y = mx.array([[1.0, 2], [3, 4], [5, -6]]), mx.array([0.0, 1, 1])


def huber(x):
    return nn.losses.huber_loss(x, mx.array(1.0), reduction="sum")


def cross_entropy_of_logits(w):
    return nn.losses.binary_cross_entropy(X @ w, Y, reduction="sum")


def pooled(x):
    junk = [mx.full((8,), 1e30) for _ in range(64)]
    mx.eval(junk)
    del junk
    return mx.grad(lambda x: nn.MaxPool1d(2, 2)(x).sum())(x)


def stepped(dtype):
    ones = {"w": mx.ones(2, dtype=dtype)}
    return optim.Adam(1e-3).apply_gradients({"w": mx.zeros(2, dtype=dtype)}, ones)["w"]


CASES = {
    "max pooling reads its own memory": (
        lambda: pooled(mx.array([5.0, 1, 2, 4, 3, 7, 0, 1]).reshape(1, 8, 1)).reshape(-1),
        [1, 0, 0, 1, 0, 1, 0, 1],
    ),
    "a NumPy number on the left stays in the graph": (
        lambda: mx.grad(lambda x: (x * (np.sqrt(4.0) * x)).sum())(mx.array([1.0, 2.0])),
        [4, 8],
    ),
    "the Hessian of a cross-entropy": (
        lambda: mx.hessian(cross_entropy_of_logits)(mx.zeros(2)),
        [[8.75, -4], [-4, 14]],
    ),
    "the curvature of softplus at 0": (lambda: mx.grad(mx.grad(nn.softplus))(mx.array(0.0)), 0.25),
    "the Hessian of logaddexp at a tie": (
        lambda: mx.hessian(lambda v: mx.logaddexp(v[0], v[1]))(mx.ones(2)),
        [[0.25, -0.25], [-0.25, 0.25]],
    ),
    "the curvature of the Huber loss at its target": (lambda: mx.grad(mx.grad(huber))(mx.array(1.0)), 1),
    "the Hessian of hypot on an axis": (
        lambda: mx.hessian(lambda v: mx.hypot(v[0], v[1]))(mx.array([0.0, 2.0])),
        [[0.5, 0], [0, 0]],
    ),
    "the mixed derivative of a power at exponent 0": (
        lambda: mx.grad(lambda b: mx.grad(lambda a, b: a**b)(mx.array(2.0), b))(mx.array(0.0)),
        0.5,
    ),
    "the Hessian of a product scattered onto 0": (
        lambda: mx.hessian(lambda v: v[:1].at[mx.array([0])].multiply(v[1:])[0])(mx.array([0.0, 3.0])),
        [[0, 1], [1, 0]],
    ),
    "the end of a long range": (lambda: mx.arange(0.0, 1e5, 0.1)[-1], 99999.9),
    "a range in bfloat16": (lambda: mx.arange(0, 300, dtype=mx.bfloat16)[280].astype(mx.float32), 280),
    "a range of large integers": (
        lambda: mx.arange(2**60, 2**60 + 3, dtype=mx.int64) - 2**60,
        [0, 1, 2],
    ),
    "cross-entropy over many classes in float16": (
        lambda: nn.losses.cross_entropy(mx.zeros((1, 70000), dtype=HALF), mx.array([0])),
        np.float16(np.log(70000)),
    ),
    "a mean whose sum is beyond float16": (lambda: mx.mean(mx.full((1000,), 100.0, dtype=HALF)), 100),
    "softmax over many in float16": (
        lambda: mx.softmax(mx.zeros((70000,), dtype=HALF))[0],
        np.float16(1 / 70000),
    ),
    "the gradient of a maximum of many ties": (
        lambda: mx.grad(lambda x: x.max())(mx.ones((70000,), dtype=HALF))[0],
        np.float16(1 / 70000),
    ),
    "Adam on a zero gradient in float16": (lambda: stepped(HALF), [1, 1]),
    "many updates of one place in float16": (
        lambda: mx.zeros(2, dtype=HALF).at[mx.zeros((5000,), dtype=mx.int32)].add(1.0)[0],
        5000,
    ),
    "log_softmax of large numbers": (
        lambda: nn.log_softmax(mx.array([[1e20, 1e20]])),
        [[-np.log(2), -np.log(2)]],
    ),
    "cross-entropy of large numbers": (
        lambda: nn.losses.cross_entropy(mx.array([[1e36, 1e36]]), mx.array([0])),
        np.log(2),
    ),
    "tanh of a large complex number": (lambda: mx.tanh(mx.array(100 + 1j)), 1),
    "arcsin of complex numbers": (
        lambda: mx.arcsin(mx.array([1e-6 + 1e-6j, 2 + 0j])),
        np.arcsin(np.array([1e-6 + 1e-6j, 2 + 0j])),
    ),
    "a quotient rounded down": (lambda: mx.array(1.0) // mx.array(0.1), 9),
    "its remainder": (lambda: mx.array(1.0) % mx.array(0.1), np.float32(1) % np.float32(0.1)),
    "a quotient by minus infinity": (lambda: mx.array(1.0) // mx.array(-float("inf")), -1),
    "a quotient of infinity": (lambda: mx.array(float("inf")) // 3, np.nan),
    "the slope of sigmoid far out": (lambda: mx.grad(mx.sigmoid)(mx.array(20.0)), 2.0611536e-9),
    "an empty range": (lambda: mx.arange(10, 0, float("inf")), []),
    "a comparison beyond the type's range": (lambda: mx.array([1], dtype=mx.uint8) > -1, [True]),
    "a count beyond 32 bits": (lambda: mx.sum(mx.broadcast_to(mx.array(True), (2**31,))), 2**31),
    "out_axes of a single result": (
        lambda: mx.vmap(lambda x, y: x @ y, out_axes=(0,))(mx.ones((3, 2, 2)), mx.ones((3, 2, 2))),
        np.full((3, 2, 2), 2),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_value_is_right(name):
    compute, right = CASES[name]
    found = np.array(compute())
    assert found.shape in (np.shape(right), (1,))
    np.testing.assert_allclose(found.reshape(np.shape(right)), right, rtol=2e-6, atol=1e-12)


@pytest.mark.parametrize("z", [1e30 + 1e30j, 1e-30 + 1e-30j, 1 - 2j])
def test_a_complex_number_over_itself_is_one(z):
    assert (mx.array(z) / mx.array(z)).item() == 1


@pytest.mark.parametrize(("low", "count", "dtype"), [(2**25, 8, mx.int32), (2**40, 1024, mx.int64)])
def test_random_integers_reach_every_value_and_no_other(low, count, dtype):
    mx.random.seed(1)
    drawn = np.array(mx.random.randint(low, low + count, (100_000,), dtype=dtype)) - low
    assert np.unique(drawn).tolist() == list(range(count))


def test_a_truncated_normal_far_out_stays_between_its_bounds():
    x = np.array(mx.random.truncated_normal(8.0, 9.0, (1000,)))
    assert ((x >= 8) & (x <= 9)).all()


def test_a_row_of_attention_that_sees_nothing_has_no_gradient():
    mask = mx.zeros((4, 6))
    mask[1] = -float("inf")
    q, k, v = (mx.random.normal((1, 1, n, 8)) for n in (4, 6, 6))

    def loss(q, k, v):
        return (mx.fast.scaled_dot_product_attention(q, k, v, scale=1.0, mask=mask) ** 2).sum()

    grads = mx.grad(loss, argnums=(0, 1, 2))(q, k, v)
    assert all(mx.all(mx.isfinite(g)).item() for g in grads)
    assert not np.array(grads[0][0, 0, 1]).any()


def test_tree_unflatten_loses_nothing_and_makes_no_list_of_millions():
    assert utils.tree_unflatten([("01", "a"), ("1", "b"), ("2", "c")]) == {"01": "a", "1": "b", "2": "c"}
    far = utils.tree_unflatten([("layers.30000000.weight", "a")])
    assert far == {"layers": {"30000000": {"weight": "a"}}}


def test_mistakes_are_errors_that_say_what_was_given():
    with pytest.raises(ValueError, match=r"LayerNorm.*eps.*-1"):
        nn.LayerNorm(4, eps=-1.0)
    with pytest.raises(IndexError, match=r"\[cross_entropy\].*-1"):
        mx.eval(nn.losses.cross_entropy(mx.zeros((1, 3)), mx.array([-1])))
    with pytest.raises(KeyError, match=r"\[update\].*list.*dict"):
        optim.SGD(0.1).apply_gradients([mx.ones(2)], {"w": mx.ones(2)})
    assert mx.finfo(mx.complex64).dtype == mx.float32


def test_exports_and_imports_share_no_memory_that_is_written():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    exported = torch.from_dlpack(mx.zeros((3,)))
    exported[0] = 9
    assert exported.tolist() == [9, 0, 0]
    a = mx.zeros((3,))
    b = mx.array(a)
    torch.from_dlpack(a)[0] = 1
    assert b.tolist() == [0, 0, 0]
    assert mx.array(torch.ones(2, dtype=torch.bfloat16)).dtype == mx.bfloat16
