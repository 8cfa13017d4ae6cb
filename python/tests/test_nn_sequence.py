"""Recurrent layers, attention, transformers and positions: MLX's numbers, and what does not fit."""

import covector.core as mx
import covector.nn as nn
import pytest
from nn_helpers import FIXTURE, assert_close, leaves

CASES = FIXTURE["sequence"]


def arguments(case):
    return [mx.array(a) if isinstance(a, list) else a for a in case["args"]]


def weights(y):
    return (mx.arange(y.size).reshape(y.shape) % 5 - 2).astype(mx.float32)


def label(case):
    return case["layer"][3:] + str([type(a).__name__ if isinstance(a, list) else a for a in case["args"]])


@pytest.mark.parametrize("case", CASES, ids=label)
def test_agrees_with_mlx(case):
    mx.random.seed(case.get("seed", 7))
    module = eval(case["layer"], {"nn": nn})
    parameters = leaves(module.parameters())
    assert {name: list(x.shape) for name, x in parameters.items()} == case["parameters"]
    assert list(parameters) == list(case["parameters"])
    for name, values in case.get("values", {}).items():
        # The first values are the very same numbers.
        assert_close(parameters[name], values, rtol=1e-8, atol=0.0, what=name)
    args = arguments(case)

    def outputs(*args):
        y = module(*args)
        return list(y) if isinstance(y, tuple) else [y]

    def loss(*args):
        return sum((y * weights(y)).sum() for y in outputs(*args))

    for y, wanted in zip(outputs(*args), case["y"], strict=True):
        assert_close(y, wanted, rtol=1e-5, atol=3e-6, what="y")
    assert_close(mx.grad(loss)(*args), case["input_gradient"], rtol=3e-5, atol=1e-5, what="x")
    if parameters:
        _, grads = nn.value_and_grad(module, loss)(*args)
        for name, wanted in case["gradients"].items():
            grad = leaves(grads)[name]
            if not isinstance(wanted, list):
                # Of large networks the sum of the gradient, with weights.
                grad = (grad * weights(grad)).sum()
            assert_close(grad, wanted, rtol=5e-5, atol=5e-5, what=name)
    if "square" in case:
        _, grads = nn.value_and_grad(module, lambda *args: outputs(*args)[0].square().sum())(*args)
        for name, wanted in case["square"].items():
            assert_close(leaves(grads)[name], wanted, rtol=1e-5, atol=1e-5, what=name)


@pytest.mark.parametrize("layer", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_layers_differentiate_and_compile(layer):
    mx.random.seed(0)
    module = layer(2, 3)
    module.set_dtype(mx.float64)
    x = mx.random.normal((2, 4, 2)).astype(mx.float64)

    def f(parameters, x):
        y = module.apply(parameters, x)
        return y[0] + y[1] if isinstance(y, tuple) else y

    params = module.parameters()
    mx.check_grads(f, [params, x])
    assert_close(mx.compile(f)(params, x), f(params, x).tolist(), rtol=1e-12, atol=1e-12)
    # A batch is many sequences.
    assert_close(mx.vmap(lambda x: f(params, x))(x), f(params, x).tolist(), rtol=1e-12, atol=1e-12)
    # One step after the other is the whole sequence.
    state, steps = (), []
    for t in range(4):
        y = module(x[:, t : t + 1], *state)
        y = y if isinstance(y, tuple) else (y,)
        state = tuple(s[:, 0] for s in y)
        steps.append(y[0])
    whole = module(x)
    whole = whole[0] if isinstance(whole, tuple) else whole
    assert_close(mx.concatenate(steps, axis=1), whole.tolist(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("layer", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_layers_refuse_what_does_not_fit(layer):
    module = layer(2, 3)
    for shape in [(2,), (4, 3), (5, 0, 2)]:
        with pytest.raises(ValueError, match=r"the input"):
            module(mx.ones(shape))
    for shape in [(3,), (4, 3), (5, 2)]:
        with pytest.raises(ValueError, match=r"must have shape \(5, 3\)"):
            module(mx.ones((5, 4, 2)), mx.ones(shape))
    with pytest.raises(TypeError, match="array"):
        module([[1.0, 2.0]])


def test_rnn_takes_any_function():
    mx.random.seed(0)
    x = mx.random.normal((4, 2))
    module = nn.RNN(2, 3, nonlinearity=lambda h: h * 2)
    h = mx.zeros(3)
    for t in range(4):
        h = 2 * (x[t] @ module.Wxh.T + module.bias + h @ module.Whh.T)
    assert_close(module(x)[-1], h.tolist(), rtol=1e-5, atol=1e-5)

    def fails(h):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        nn.RNN(2, 3, nonlinearity=fails)(x)
    with pytest.raises(TypeError, match="expected an array"):
        nn.RNN(2, 3, nonlinearity=lambda h: 3)(x)
    with pytest.raises(ValueError, match="nonlinearity must be a function"):
        nn.RNN(2, 3, nonlinearity=3)


def test_reprs():
    assert repr(nn.LSTM(2, 3)) == "LSTM(input_dims=2, hidden_size=3, bias=True)"
    assert repr(nn.GRU(2, 3, bias=False)) == "GRU(input_dims=2, hidden_size=3, bias=False)"
    assert repr(nn.RNN(2, 3)).startswith("RNN(input_dims=2, hidden_size=3, nonlinearity=<")
    assert repr(nn.RoPE(8, True)) == "RoPE(8, traditional=True)"
    assert repr(nn.MultiHeadAttention(4, 2)).count("Linear(input_dims=4, output_dims=4, bias=False)") == 4


def test_attention():
    mx.random.seed(0)
    layer, x = nn.MultiHeadAttention(4, 2), mx.random.normal((2, 3, 4))
    causal = layer(x, x, x, "causal").tolist()
    additive = nn.MultiHeadAttention.create_additive_causal_mask(3)
    assert additive.tolist()[0][0] == 0.0
    assert additive[0, 1].item() == mx.finfo(mx.float32).min
    assert_close(layer(x, x, x, additive), causal)
    assert_close(layer(x, x, x, mx.tri(3, dtype=mx.bool_)), causal)
    # The first position sees itself alone.
    assert_close(layer(x[:, :1], x[:, :1], x[:, :1]), layer(x, x, x, "causal")[:, :1].tolist())
    for dtype in (mx.float16, mx.bfloat16):
        mask = nn.MultiHeadAttention.create_additive_causal_mask(2, dtype)
        assert mask.dtype == dtype
        assert mx.isfinite(mask).all().item()
    with pytest.raises(ValueError, match="divisible"):
        nn.MultiHeadAttention(8, 3)
    with pytest.raises(ValueError, match=r"\(batch, positions, features\)"):
        layer(x[0], x[0], x[0])


def test_transformers():
    mx.random.seed(0)
    x = mx.random.normal((2, 3, 4))
    # Dropout acts in training only.
    layer = nn.TransformerEncoderLayer(4, 2, dropout=0.5)
    assert layer(x, None).tolist() != layer(x, None).tolist()
    layer.eval()
    assert layer(x, None).tolist() == layer(x, None).tolist()
    # Checkpoints change nothing but memory.
    mx.random.seed(1)
    plain = nn.Transformer(4, 2, 1, 1, mlp_dims=3)
    mx.random.seed(1)
    saving = nn.Transformer(4, 2, 1, 1, mlp_dims=3, checkpoint=True)

    def loss(model):
        return lambda x: model(x, x, None, "causal", None).square().sum()

    value, grads = nn.value_and_grad(plain, loss(plain))(x)
    again, same = nn.value_and_grad(saving, loss(saving))(x)
    assert again.item() == pytest.approx(value.item(), rel=1e-6)
    for name, grad in leaves(grads).items():
        assert_close(leaves(same)[name], grad.tolist(), rtol=1e-5, atol=1e-5, what=name)
    # Another module in place of the encoder, even one that has no parameters.
    custom = nn.Transformer(4, 2, 1, 1, custom_encoder=Passing())
    assert isinstance(custom.encoder, Passing)
    assert custom(x, x, None, None, None).shape == (2, 3, 4)


class Passing(nn.Module):
    def __call__(self, x, mask):
        return x


def test_positions():
    encoding = nn.SinusoidalPositionalEncoding(6)
    assert encoding.parameters() == {}
    assert encoding(mx.arange(3)).shape == (3, 6)
    for dims in (7, 0, -2):
        with pytest.raises(ValueError, match="even and positive"):
            nn.SinusoidalPositionalEncoding(dims)
    assert nn.ALiBi.create_alibi_slope(2, mx.float16).dtype == mx.float16
    assert nn.ALiBi.create_alibi_slope(8).reshape(-1).tolist() == [2.0**-i for i in range(1, 9)]
    assert nn.ALiBi.create_alibi_matrix(5, 4, 3, 2).shape == (1, 3, 3, 4)
    assert nn.ALiBi()(mx.zeros((1, 2, 2, 2), mx.float16)).dtype == mx.float16
    with pytest.raises(ValueError, match="offset 6"):
        nn.ALiBi.create_alibi_matrix(5, 4, 3, 6)


def test_weights_of_mlx_load_by_name():
    model = nn.TransformerEncoder(1, 4, 2)
    names = list(leaves(model.parameters()))
    assert names[:2] == ["layers.0.attention.query_proj.weight", "layers.0.attention.key_proj.weight"]
    assert names[-2:] == ["ln.weight", "ln.bias"]
    model.load_weights([(name, mx.zeros(x.shape)) for name, x in leaves(model.parameters()).items()])
    assert not any(mx.any(x).item() for x in leaves(model.parameters()).values())
