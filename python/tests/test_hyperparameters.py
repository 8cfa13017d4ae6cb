"""Settings of layers, losses and optimizers that make no sense are errors where they are given."""

import covector.core as mx
import covector.nn as nn
import covector.optimizers as optim
import numpy as np
import pytest

X = mx.ones((2, 4))
NAN, INF = float("nan"), float("inf")

# What is called, the settings that are fine, and for each setting the values that are not.
LAYERS = [
    (nn.Linear, {"input_dims": 3, "output_dims": 2}, {"input_dims": [0, -1], "output_dims": [-1]}),
    (nn.Embedding, {"num_embeddings": 3, "dims": 2}, {"num_embeddings": [-1], "dims": [0, -1]}),
    (nn.LayerNorm, {"dims": 4}, {"dims": [0, -1], "eps": [-1.0, -1e-9, NAN, INF]}),
    (nn.RMSNorm, {"dims": 4}, {"dims": [0, -1], "eps": [-1.0, -1e-9, NAN, INF]}),
    (nn.Dropout, {}, {"p": [-0.1, 1.0, 1.5, NAN]}),
    (nn.RoPE, {"dims": 4}, {"dims": [0, -2, 3], "base": [0, -1.0, NAN, INF]}),
    (
        nn.SinusoidalPositionalEncoding,
        {"dims": 4},
        {"dims": [0, 3, -2], "min_freq": [0, -1.0, NAN], "max_freq": [0, -1.0, NAN]},
    ),
    (nn.RNN, {"input_size": 2, "hidden_size": 3}, {"input_size": [0, -1], "hidden_size": [0, -1]}),
    (nn.GRU, {"input_size": 2, "hidden_size": 3}, {"input_size": [0, -1], "hidden_size": [0, -1]}),
    (nn.LSTM, {"input_size": 2, "hidden_size": 3}, {"input_size": [0, -1], "hidden_size": [0, -1]}),
    (
        nn.MultiHeadAttention,
        {"dims": 4, "num_heads": 2},
        {"dims": [0, -4, 3], "num_heads": [0, -2, 3], "value_dims": [3, -2], "query_input_dims": [-1]},
    ),
    (
        nn.TransformerEncoderLayer,
        {"dims": 4, "num_heads": 2},
        {"dims": [0, 3], "num_heads": [0, 3], "mlp_dims": [-1], "dropout": [-0.5, 1.0]},
    ),
    (nn.TransformerEncoder, {"num_layers": 1, "dims": 4, "num_heads": 2}, {"num_layers": [-1], "dims": [0]}),
    (nn.Transformer, {"dims": 4, "num_heads": 2}, {"num_encoder_layers": [-1], "num_decoder_layers": [-1]}),
    (nn.PReLU, {}, {"num_parameters": [0, -1]}),
    (nn.CELU, {}, {"alpha": [0.0, NAN]}),
    (nn.Softshrink, {}, {"lambd": [-1.0, NAN]}),
    (nn.HardShrink, {}, {"lambd": [-1.0, NAN]}),
    (nn.GELU, {}, {"approx": ["exact", None]}),
]
CONVOLUTION = {"in_channels": [0, -1], "out_channels": [0, -1], "kernel_size": [0, -1], "stride": [0, -1]}
CONVOLUTION |= {"padding": [-1], "dilation": [0, -1]}
for n in (1, 2, 3):
    several = {
        name: [*values, (1,) * (n + 1), (1,) * (n - 1) + (values[0],)] if "channels" not in name else values
        for name, values in CONVOLUTION.items()
    }
    fine = {"in_channels": 4, "out_channels": 6, "kernel_size": 2}
    groups = {"groups": [0, -1, 3, 4]} if n < 3 else {}
    LAYERS.append((getattr(nn, f"Conv{n}d"), fine, several | groups))
    LAYERS.append((getattr(nn, f"ConvTranspose{n}d"), fine, several | {"output_padding": [-1]}))
    pool = {name: several[name] for name in ("kernel_size", "stride", "padding")}
    LAYERS.append((getattr(nn, f"MaxPool{n}d"), {"kernel_size": 2}, pool))
    LAYERS.append((getattr(nn, f"AvgPool{n}d"), {"kernel_size": 2}, pool))

OPTIMIZERS = [
    (
        optim.SGD,
        {"momentum": [-1.0, NAN, INF], "dampening": [NAN], "weight_decay": [NAN, INF], "nesterov": [True]},
    ),
    (optim.RMSprop, {"alpha": [-1.0, 1.0, 2.0, NAN], "eps": [-1.0, NAN]}),
    (optim.Adagrad, {"eps": [-1.0, NAN]}),
    (optim.AdaDelta, {"rho": [-1.0, 1.0, 1.5, NAN], "eps": [-1.0, NAN]}),
]
BETAS = [(-0.1, 0.9), (0.9, 1.0), (1.0, 0.9), (0.9, NAN), (0.9,), (0.9, 0.9, 0.9)]
OPTIMIZERS += [
    (kind, {"betas": BETAS, "eps": [-1.0, NAN]}) for kind in (optim.Adam, optim.AdamW, optim.Adamax)
]
OPTIMIZERS += [
    (optim.AdamW, {"weight_decay": [NAN, INF]}),
    (optim.Lion, {"betas": BETAS, "weight_decay": [NAN]}),
]

FUNCTIONS = [
    (lambda eps: mx.fast.layer_norm(X, None, None, eps), "eps", [-1.0, NAN, INF]),
    (lambda eps: mx.fast.rms_norm(X, None, eps), "eps", [-1.0, NAN, INF]),
    (lambda alpha: nn.celu(X, alpha), "alpha", [0.0, NAN]),
    (lambda lambd: nn.softshrink(X, lambd), "lambd", [-1.0, NAN]),
    (lambda beta: nn.losses.smooth_l1_loss(X, X, beta=beta), "beta", [0.0, -1.0, NAN]),
    (lambda delta: nn.losses.huber_loss(X, X, delta=delta), "delta", [0.0, -1.0, NAN]),
    (lambda p: nn.losses.triplet_loss(X, X, X, p=p), "p", [0, -1, NAN]),
    (lambda eps: nn.losses.triplet_loss(X, X, X, eps=eps), "eps", [-1.0, NAN]),
    (lambda eps: nn.losses.gaussian_nll_loss(X, X, X, eps=eps), "eps", [-1.0, NAN]),
    (lambda eps: nn.losses.cosine_similarity_loss(X, X, eps=eps), "eps", [-1.0, NAN]),
    (
        lambda s: nn.losses.cross_entropy(X, mx.array([0, 1]), label_smoothing=s),
        "smoothing",
        [-0.1, 1.0, NAN],
    ),
    (lambda n: optim.clip_grad_norm({"a": X}, n), "max_norm", [-1.0, NAN]),
    (lambda n: optim.step_decay(0.1, 0.5, n), "steps", [0, -1, 1.5]),
    (lambda n: optim.cosine_decay(0.1, n), "steps", [0, -1, 1.5]),
    (lambda n: optim.linear_schedule(0.0, 1.0, n), "steps", [0, -1, 1.5]),
]


def cases():
    for make, fine, wrong in LAYERS:
        for name, values in wrong.items():
            for value in values:
                yield pytest.param(make, fine, name, value, id=f"{make.__name__}({name}={value})")


@pytest.mark.parametrize(("make", "fine", "name", "value"), list(cases()))
def test_a_layer_refuses_what_makes_no_sense(make, fine, name, value):
    with pytest.raises(ValueError, match=r"^\[\w+\] ") as caught:
        make(**(fine | {name: value}))
    wrong = value[-1] if isinstance(value, tuple) else value
    forms = {str(wrong), repr(value), f"{wrong:g}" if isinstance(wrong, int | float) else ""} - {""}
    assert any(form in str(caught.value).lower() for form in map(str.lower, forms)), caught.value


@pytest.mark.parametrize(("make", "fine"), [(make, fine) for make, fine, _ in LAYERS])
def test_a_layer_takes_what_makes_sense(make, fine):
    make(**fine)
    # Integers of NumPy's are integers, fractions and truth values are not.
    numpy = {k: np.int64(v) for k, v in fine.items()}
    if "Pool" not in make.__name__:
        make(**numpy)
    for name, value in fine.items():
        for other in (value + 0.5, True, None, "3"):
            if (name, other) == ("num_heads", True) or "Pool" in make.__name__:
                continue
            with pytest.raises((TypeError, ValueError)):
                make(**(fine | {name: other}))


@pytest.mark.parametrize(("make", "wrong"), OPTIMIZERS)
def test_an_optimizer_refuses_what_makes_no_sense(make, wrong):
    make(0.1)
    for name, values in wrong.items():
        for value in values:
            with pytest.raises(ValueError, match=r"in \[|not finite|requires|length 2"):
                make(0.1, **{name: value})


@pytest.mark.parametrize(("f", "name", "values"), FUNCTIONS)
def test_a_function_refuses_what_makes_no_sense(f, name, values):
    for value in values:
        with pytest.raises(ValueError, match=name):
            f(value)
