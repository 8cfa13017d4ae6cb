"""mx.fast: MLX's numbers and gradients, types, and what does not fit."""

import covector.core as mx
import pytest
from nn_helpers import FIXTURE, assert_close

CASES = FIXTURE["fast"]


@pytest.mark.parametrize("case", CASES, ids=lambda c: c["call"][5:].replace(" ", ""))
def test_agrees_with_mlx(case):
    arrays = {name: mx.array(values) for name, values in case["arrays"].items()}

    def f(**named):
        return eval(case["call"], {"fast": mx.fast}, named)

    y = f(**arrays)
    assert_close(y, case["y"], rtol=1e-5, atol=2e-6, what="value")
    weights = (mx.arange(y.size).reshape(y.shape) % 5 - 2).astype(mx.float32)
    inputs = {name: arrays[name] for name in case["gradients"]}
    grads = mx.grad(lambda p: (f(**{**arrays, **p}) * weights).sum())(inputs)
    for name, values in case["gradients"].items():
        assert_close(grads[name], values, rtol=2e-5, atol=5e-6, what=name)


def test_norms_promote_and_compute_in_single():
    x = mx.array([[1.0, 2.0, 4.0]], mx.float16)
    w = mx.ones(3)
    for norm in (
        lambda x, w: mx.fast.layer_norm(x, w, None, 1e-5),
        lambda x, w: mx.fast.rms_norm(x, w, 1e-5),
    ):
        assert norm(x, None).dtype == mx.float16
        assert norm(x, w).dtype == mx.float32
        assert norm(x, w.astype(mx.bfloat16)).dtype == mx.float32
        assert norm(x, w.astype(mx.int32)).dtype == mx.float16
        assert norm(x.astype(mx.float64), w).dtype == mx.float64
        # Nothing is rounded to half precision on the way.
        assert norm(x, w).tolist() == norm(x.astype(mx.float32), w).tolist()
        # The mean square of these is beyond the range of float16.
        large = norm(1000 * x, None)
        assert mx.abs(large.astype(mx.float32) - norm(x, None).astype(mx.float32)).max().item() < 2e-3


def test_rope_types_and_relative_positions():
    mx.random.seed(0)
    q, k = mx.random.normal((1, 1, 1, 8)), mx.random.normal((1, 1, 1, 8))

    def turned(x, at):
        return mx.fast.rope(x, 8, traditional=False, base=100.0, scale=1.0, offset=at)

    # Products depend on the distance alone.
    near = (turned(q, 3) * turned(k, 1)).sum().item()
    assert (turned(q, 12) * turned(k, 10)).sum().item() == pytest.approx(near, abs=1e-5)
    assert (turned(q, 12) * turned(k, 1)).sum().item() != pytest.approx(near, abs=1e-2)
    for dtype in (mx.float16, mx.bfloat16, mx.float64):
        assert turned(q.astype(dtype), 0).dtype == dtype
    batch = mx.concatenate([q, q])
    both = mx.fast.rope(batch, 8, traditional=True, base=100.0, scale=1.0, offset=mx.array([2, 5]))
    for i, at in enumerate((2, 5)):
        one = mx.fast.rope(q, 8, traditional=True, base=100.0, scale=1.0, offset=at)
        assert_close(both[i : i + 1], one.tolist())


def test_attention_types():
    def some(heads, dtype):
        return mx.ones((1, heads, 2, 4), dtype)

    def attend(*types, **kwargs):
        return mx.fast.scaled_dot_product_attention(*(some(2, t) for t in types), scale=0.5, **kwargs)

    assert attend(mx.float16, mx.float16, mx.float16).dtype == mx.float16
    assert attend(mx.float16, mx.float32, mx.float16).dtype == mx.float32
    assert attend(mx.float32, mx.int32, mx.float32).dtype == mx.float32
    assert attend(mx.float32, mx.float32, mx.float32, mask=mx.zeros((2, 2), mx.float16)).dtype == mx.float32
    assert attend(mx.float32, mx.float32, mx.float32, force_fused=True).shape == (1, 2, 2, 4)
    # Weights of many keys add up in single precision.
    many = mx.ones((1, 1, 5000, 1), mx.float16)
    out = mx.fast.scaled_dot_product_attention(many[:, :, :1], many, many, scale=1.0)
    assert out.item() == pytest.approx(1.0, abs=2e-3)
    with pytest.raises(ValueError, match="widen"):
        attend(mx.float16, mx.float16, mx.float16, mask=mx.zeros((2, 2)))
    with pytest.raises(ValueError, match="int32"):
        attend(mx.int32, mx.int32, mx.int32)


def test_attention_composes_with_transforms():
    mx.random.seed(0)
    q, k, v = (mx.random.normal((2, h, 3, 2)).astype(mx.float64) for h in (4, 2, 2))

    def f(q, k, v):
        return mx.fast.scaled_dot_product_attention(q, k, v, scale=0.7, mask="causal")

    mx.check_grads(f, [q, k, v])
    batched = mx.vmap(f)(q[:, None], k[:, None], v[:, None])
    assert_close(batched[:, 0], f(q, k, v).tolist(), rtol=1e-12, atol=1e-12)
    assert_close(mx.compile(f)(q, k, v), f(q, k, v).tolist(), rtol=1e-12, atol=1e-12)


def ones(*shape):
    return mx.ones(shape)


ROPE = {"traditional": False, "base": 10.0, "scale": 1.0, "offset": 0}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda f: f.layer_norm(mx.array(1.0), None, None, 1e-5), "no axis"),
        (lambda f: f.layer_norm(mx.arange(3), None, None, 1e-5), "the input is int32"),
        (lambda f: f.layer_norm(ones(2, 3), ones(2), None, 1e-5), r"weight must have shape \(3,\)"),
        (lambda f: f.layer_norm(ones(2, 3), None, ones(1, 3), 1e-5), r"bias must have shape \(3,\)"),
        (
            lambda f: f.layer_norm(ones(3), ones(3).astype(mx.complex64), None, 1e-5),
            "the weight is complex64",
        ),
        (lambda f: f.rms_norm(ones(2, 3), ones(2), 1e-5), r"\[rms_norm\] the weight"),
        (lambda f: f.rope(ones(4, 8), 8, **ROPE), "three axes"),
        (lambda f: f.rope(ones(1, 4, 8), 7, **ROPE), "dims 7"),
        (lambda f: f.rope(ones(1, 4, 8), 10, **ROPE), "8 features"),
        (lambda f: f.rope(ones(1, 4, 8), -2, **ROPE), "dims -2"),
        (lambda f: f.rope(ones(1, 4, 8).astype(mx.int32), 8, **ROPE), "int32"),
        (lambda f: f.rope(ones(1, 4, 8), 8, **ROPE, freqs=ones(4)), "both"),
        (lambda f: f.rope(ones(1, 4, 8), 8, **{**ROPE, "base": None}), "neither"),
        (lambda f: f.rope(ones(1, 4, 8), 8, **{**ROPE, "base": None}, freqs=ones(5)), r"\(4,\)"),
        (lambda f: f.rope(ones(1, 4, 8), 8, **{**ROPE, "offset": mx.array([1, 2])}), "1 examples"),
        (lambda f: f.rope(ones(1, 4, 8), 8, **{**ROPE, "offset": mx.array(1.5)}), "integer"),
        (lambda f: f.rope(ones(1, 4, 8), 8, **{**ROPE, "offset": 1.5}), "int"),
        (lambda f: f.cross_entropy(ones(2, 3), ones(2, 3)), "indices"),
        (lambda f: f.cross_entropy(ones(2, 3), mx.array([1])), r"\(1,\)"),
    ],
)
def test_what_does_not_fit(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call(mx.fast)


Q, K, V = (2, 4, 3, 8), (2, 2, 5, 8), (2, 2, 5, 6)


@pytest.mark.parametrize(
    ("shapes", "kwargs", "message"),
    [
        ((Q[1:], K[1:], V[1:]), {}, "four axes"),
        (((2, 3, 3, 8), K, V), {}, "3 heads"),
        ((Q, K, (2, 4, 5, 6)), {}, "one value for each key"),
        ((Q, K, (2, 2, 4, 6)), {}, "one value for each key"),
        ((Q, (2, 2, 5, 7), V), {}, "number of features"),
        ((Q, (1, 2, 5, 8), (1, 2, 5, 6)), {}, "batch"),
        ((Q, K, V), {"mask": "x"}, "'causal'"),
        ((Q, K, V), {"mask": ones(1, 2, 4, 3, 5)}, "four axes are the most"),
        ((Q, K, V), {"mask": ones(3, 4)}, "broadcast"),
        ((Q, K, V), {"mask": ones(7, 1, 1, 1)}, "broadcast"),
        ((Q, K, V), {"sinks": ones(2)}, r"\(4,\)"),
    ],
)
def test_attention_of_what_does_not_fit(shapes, kwargs, message):
    with pytest.raises(ValueError, match=message):
        mx.fast.scaled_dot_product_attention(*(ones(*s) for s in shapes), scale=1.0, **kwargs)


def test_signatures():
    with pytest.raises(TypeError):
        mx.fast.scaled_dot_product_attention(ones(*Q), ones(*K), ones(*V))
    with pytest.raises(TypeError):
        mx.fast.rope(ones(1, 2, 4), 4)
    for name in mx.fast.__all__:
        assert getattr(mx.fast, name).__doc__.strip()
