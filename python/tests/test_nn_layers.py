"""Layers, activations, losses and initialisers: MLX's numbers, gradients, and what bad input gets."""

import copy
import inspect
import pickle

import covector.core as mx
import covector.nn as nn
import pytest
from nn_helpers import FIXTURE, assert_close, cases, leaves


def label(case):
    return "-".join(str(x) for x in case.values() if isinstance(x, (str, dict)) and x and len(str(x)) < 90)


# Activations


@pytest.mark.parametrize(("data", "case"), cases("activations"), ids=label)
def test_activations_agree_with_mlx(data, case):
    x = mx.array(data["x"])

    def f(x):
        return getattr(nn, case["name"])(x, **case["kwargs"])

    y = f(x)
    assert_close(y, case["value"], what=case["name"])
    if "grad" not in case:
        return
    weights = mx.array(data["weights"]) if "weights" in data else (mx.arange(y.size) + 1.0).reshape(y.shape)
    # At 0 itself, which is not among the arguments, conventions may differ.
    grad = mx.grad(lambda x: (f(x) * weights).sum())(mx.array(case.get("grad_at", data["x"])))
    assert_close(grad, case["grad"], rtol=1e-5, atol=2e-5, what=case["name"])


def test_prelu_agrees_with_mlx():
    case = FIXTURE["prelu"]
    x, alpha = mx.array(case["x"]), mx.array(case["alpha"])
    assert_close(nn.prelu(x, alpha), case["value"])
    assert_close(mx.grad(lambda alpha: nn.prelu(x, alpha).square().sum())(alpha), case["grad"])


LAYERS = {
    "CELU": "celu",
    "ELU": "elu",
    "GELU": "gelu",
    "GLU": "glu",
    "HardShrink": "hard_shrink",
    "HardTanh": "hard_tanh",
    "Hardswish": "hardswish",
    "LeakyReLU": "leaky_relu",
    "LogSigmoid": "log_sigmoid",
    "LogSoftmax": "log_softmax",
    "Mish": "mish",
    "ReLU": "relu",
    "ReLU2": "relu2",
    "ReLU6": "relu6",
    "SELU": "selu",
    "SiLU": "silu",
    "Sigmoid": "sigmoid",
    "Softmax": "softmax",
    "Softmin": "softmin",
    "Softplus": "softplus",
    "Softshrink": "softshrink",
    "Softsign": "softsign",
    "Step": "step",
    "Tanh": "tanh",
}


@pytest.mark.parametrize(("layer", "function"), LAYERS.items())
def test_activation_layers_call_their_function(layer, function):
    x = mx.array([[-3.0, -1.0, -0.25, 0.0], [0.25, 0.75, 1.0, 3.0]])
    module = getattr(nn, layer)()
    assert module(x).tolist() == getattr(nn, function)(x).tolist()
    assert module.parameters() == {}
    assert repr(module) == f"{layer}()"


def test_activation_layers_keep_their_settings():
    x = mx.array([-3.0, -0.25, 0.25, 3.0])
    for layer, function, setting in [
        (nn.CELU, nn.celu, 0.5), (nn.ELU, nn.elu, 0.5), (nn.LeakyReLU, nn.leaky_relu, 0.5),
        (nn.HardShrink, nn.hard_shrink, 0.1), (nn.Softshrink, nn.softshrink, 0.1), (nn.Step, nn.step, 0.5),
    ]:  # fmt: skip
        assert layer(setting)(x).tolist() == function(x, setting).tolist()
        assert layer(setting)(x).tolist() != function(x).tolist()
    assert nn.GLU(axis=0)(x).shape == (2,)
    assert nn.GELU("tanh")(x).tolist() == nn.GELU("precise")(x).tolist() == nn.gelu_approx(x).tolist()
    assert nn.GELU("fast")(x).tolist() == nn.gelu_fast_approx(x).tolist()
    with pytest.raises(ValueError, match="approximation should be in"):
        nn.GELU("approx")


def test_activation_layers_have_signatures_documentation_and_can_be_copied():
    assert str(inspect.signature(nn.HardTanh)) == "(min_val=-1.0, max_val=1.0)"
    assert "\n    alpha: " in nn.ELU.__doc__
    x = mx.array([-3.0, 0.5])
    layer = nn.ELU(alpha=0.5)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), copy.copy(layer)):
        assert other(x).tolist() == nn.elu(x, 0.5).tolist()
    for call in (lambda: nn.ELU(1.0, 2.0), lambda: nn.ELU(beta=1.0), lambda: nn.ELU("a")):
        with pytest.raises(TypeError, match=r"^\[ELU\] "):
            call()
    for call in (
        lambda: nn.elu(), lambda: nn.elu(x, 1.0, 2.0), lambda: nn.elu(x, beta=1.0), lambda: nn.elu(x, x=x),
        lambda: nn.elu(x, alpha="a"),
    ):  # fmt: skip
        with pytest.raises(TypeError, match=r"^\[elu\] "):
            call()
    assert nn.elu(alpha=0.5, x=x).tolist() == nn.elu(x, 0.5).tolist()


def test_activations_take_numbers_integers_and_keep_the_type():
    assert nn.relu(2.0).item() == 2.0
    assert nn.relu(mx.array([-1, 2])).tolist() == [0, 2]
    assert nn.gelu(mx.array([1.0], mx.float16)).dtype == mx.float16
    assert nn.step(mx.array([0.2, -0.2])).dtype == mx.int32
    assert nn.softplus(mx.array([100.0, -100.0])).tolist() == pytest.approx([100.0, 0.0])
    assert nn.prelu(mx.array([-2.0, 2.0]), mx.array(0.25)).tolist() == [-0.5, 2.0]
    assert nn.prelu(mx.array([-2.0, 2.0]), 0.5).tolist() == [-1.0, 2.0]
    with pytest.raises((TypeError, ValueError)):
        nn.relu("x")
    with pytest.raises(ValueError, match=r"glu.*2 equal parts"):
        nn.glu(mx.arange(5.0))


def test_functions_have_names_documentation_and_signatures():
    assert str(inspect.signature(nn.leaky_relu)) == "(x, negative_slope=0.01)"
    assert str(inspect.signature(nn.losses.mse_loss)) == "(predictions, targets, reduction='mean')"
    assert str(inspect.signature(nn.losses.cross_entropy)) == (
        "(logits, targets, weights=None, axis=-1, label_smoothing=0.0, reduction='none')"
    )
    for module in (nn.losses, nn.layers.activations, nn.init):
        for name in module.__all__:
            assert (getattr(module, name).__doc__ or "").strip(), f"{name} has no documentation"


# Losses


@pytest.mark.parametrize(("data", "case"), cases("losses"), ids=label)
def test_losses_agree_with_mlx(data, case):
    arrays = {name: mx.array(values) for name, values in data["arrays"].items()}
    kwargs = {k: arrays[v[1:]] if isinstance(v, str) else v for k, v in case["kwargs"].items()}
    # An argument may be a function of an array: "log_softmax a".
    texts = [text.rpartition(" ") for text in case["args"]]
    given = [arrays[name] for _, _, name in texts]

    def f(x):
        args = [getattr(nn, t[0])(a) if t[0] else a for t, a in zip(texts, [x, *given[1:]], strict=True)]
        return getattr(nn.losses, case["name"])(*args, reduction=case["reduction"], **kwargs)

    if "dtype" in case:
        got = f(given[0].astype(getattr(mx, case["dtype"])))
        assert got.dtype == getattr(mx, case["dtype"])
        assert_close(got, case["value"], rtol=4e-3, atol=4e-3, what=case["name"])
        return
    assert_close(f(given[0]), case["value"], rtol=1e-5, atol=2e-6, what=case["name"])
    if "grad" in case:
        grad = mx.grad(lambda x: f(x).sum())(given[0])
        assert_close(grad, case["grad"], rtol=1e-5, atol=2e-6, what=case["name"])


def test_defaults_of_reductions():
    p, t = mx.array([1.0, 2.0]), mx.array([0.0, 0.0])
    assert nn.losses.mse_loss(p, t).item() == 2.5
    assert nn.losses.l1_loss(p, t).item() == 1.5
    assert nn.losses.binary_cross_entropy(p, t).ndim == 0
    assert nn.losses.cross_entropy(mx.zeros((4, 3)), mx.array([0, 1, 2, 0])).shape == (4,)
    assert nn.losses.mse_loss(p, t, "none").tolist() == [1.0, 4.0]


def test_cross_entropy_over_another_axis_and_type():
    logits, y = mx.array([[1.0, 2.0, 0.5], [0.0, -1.0, 3.0]]), mx.array([1, 2])
    assert_close(nn.losses.cross_entropy(logits.T, y, axis=0), [0.464369, 0.0658839], rtol=1e-5)
    assert_close(nn.losses.cross_entropy(logits[0], mx.array(1)), 0.464369, rtol=1e-5)
    assert nn.losses.cross_entropy(logits.astype(mx.float16), y).dtype == mx.float16


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda L, p, t: L.mse_loss(p, t, reduction="x"), "none.*mean.*sum"),
        (lambda L, p, t: L.mse_loss(p, t, reduction=3), "none.*mean.*sum"),
        (lambda L, p, t: L.mse_loss(p, t[:1]), r"\(2,\).*\(1,\)"),
        (lambda L, p, t: L.l1_loss(p, t[None]), r"\(2,\).*\(1, 2\)"),
        (lambda L, p, t: L.binary_cross_entropy(p, t[:1]), r"\(2,\).*\(1,\)"),
        (lambda L, p, t: L.binary_cross_entropy(p, t, weights=mx.ones(3)), r"\(3,\)"),
        (lambda L, p, t: L.cross_entropy(p[None], mx.array([0, 1])), r"\(2,\).*\(1, 2\)"),
        (lambda L, p, t: L.cross_entropy(p[None], mx.array([0.0])), "int"),
        (lambda L, p, t: L.cross_entropy(p[None], mx.array([0]), weights=mx.ones(2)), r"\(2,\)"),
        (lambda L, p, t: L.cross_entropy(p[None], mx.array([0]), label_smoothing=1.0), r"\[0, 1\)"),
        (lambda L, p, t: L.cross_entropy(p[None], mx.array([0]), label_smoothing=-0.1), r"\[0, 1\)"),
    ],
)
def test_losses_refuse_what_does_not_fit(call, message):
    with pytest.raises(ValueError, match=message):
        call(nn.losses, mx.array([1.0, 2.0]), mx.array([0.0, 0.0]))


def test_losses_want_arrays():
    with pytest.raises(TypeError, match="array"):
        nn.losses.mse_loss(mx.array([1.0]), 1.0)


# Layers


@pytest.mark.parametrize("case", FIXTURE["layers"], ids=label)
def test_layers_agree_with_mlx(case):
    mx.random.seed(case.get("seed", 7))
    module = eval(case["layer"], {"nn": nn})
    if "dtype" in case:
        x = mx.array(case["x"], getattr(mx, case["dtype"]))
        assert module(x).dtype == x.dtype
        assert_close(module(x), case["y"], rtol=2e-3, atol=2e-3)
        return
    x = mx.array(case["x"])
    parameters = leaves(module.parameters())
    assert list(parameters) == list(case["parameters"])
    for name, values in case["parameters"].items():
        # The first values are the very same numbers.
        assert_close(parameters[name], values, rtol=1e-8, atol=0.0, what=name)
    y = module(x)
    assert_close(y, case["y"], rtol=1e-5, atol=1e-6, what="y")
    weights = (mx.arange(y.size).reshape(y.shape) % 5 - 2).astype(mx.float32)

    def total(y):
        return y.square().sum() if case.get("loss") == "square" else (y * weights).sum()

    if parameters:
        _, grads = nn.value_and_grad(module, lambda x: total(module(x)))(x)
        for name, values in case["gradients"].items():
            assert_close(leaves(grads)[name], values, rtol=2e-5, atol=5e-6, what=name)
        functional = mx.grad(lambda p: total(module.apply(p, x)))(module.parameters())
        for name, values in case["gradients"].items():
            assert_close(leaves(functional)[name], values, rtol=2e-5, atol=5e-6, what=name)
    if "input_gradient" in case:
        grad = mx.grad(lambda x: total(module(x)))(x)
        assert_close(grad, case["input_gradient"], rtol=2e-5, atol=5e-6, what="x")


def test_gradients_of_layers_agree_with_finite_differences():
    mx.random.seed(0)
    net = nn.Sequential(
        nn.Linear(3, 5), nn.LayerNorm(5), nn.GELU(), nn.Linear(5, 4), nn.RMSNorm(4), nn.PReLU()
    )
    net.set_dtype(mx.float64)
    x = mx.array([[0.5, -1.0, 2.0], [1.0, 0.3, -0.7]], mx.float64)
    y = mx.array([1, 3])
    params = net.parameters()

    def loss(p):
        return nn.losses.cross_entropy(net.apply(p, x), y, reduction="mean")

    grads = leaves(mx.grad(loss)(params))
    h = 1e-6
    for name, p in leaves(params).items():
        direction = mx.random.normal(p.shape).astype(mx.float64)

        def moved(by, name=name, p=p, direction=direction):
            new = net.filter_and_map(nn.Module.valid_parameter_filter)
            *path, last = name.split(".")
            at = new
            for key in path:
                at = at[int(key)] if isinstance(at, list) else at[key]
            at[last] = p + by * direction
            return loss(new).item()

        slope = (moved(h) - moved(-h)) / (2 * h)
        assert (grads[name] * direction).sum().item() == pytest.approx(slope, rel=1e-5, abs=1e-8), name


def test_linear():
    mx.random.seed(0)
    layer = nn.Linear(2, 3)
    assert layer(mx.ones((4, 5, 2))).shape == (4, 5, 3)
    assert layer(mx.ones(2)).shape == (3,)
    assert layer(mx.ones((4, 2), mx.float16)).dtype == mx.float32
    assert layer(mx.array([[1, 2]])).dtype == mx.float32
    with pytest.raises(ValueError, match=r"\(3, 2\).*\(4, 3\)"):
        layer(mx.ones((4, 3)))
    with pytest.raises(TypeError, match="array"):
        layer([1.0, 2.0])


def test_embedding():
    layer = nn.Embedding(5, 2)
    assert layer(mx.array([[1, 2, 3]])).shape == (1, 3, 2)
    assert layer(mx.array(4)).tolist() == layer.weight[4].tolist()
    assert layer.as_linear(mx.ones((3, 2))).shape == (3, 5)
    with pytest.raises(ValueError, match="int"):
        layer(mx.array([1.0]))
    # Rows that are used twice get both gradients.
    grad = mx.grad(lambda p: layer.apply(p, mx.array([1, 1, 3])).sum())(layer.parameters())
    assert grad["weight"].tolist() == [[0, 0], [2, 2], [0, 0], [1, 1], [0, 0]]


def test_normalisation():
    x = mx.array([[1.0, 2.0, 0.5], [0.0, -1.0, 3.0]])
    y = nn.LayerNorm(3, eps=0.0)(x)
    assert mx.abs(y.mean(-1)).max().item() < 1e-6
    assert mx.abs(y.square().mean(-1) - 1).max().item() < 1e-5
    assert mx.abs(nn.RMSNorm(3, eps=0.0)(x).square().mean(-1) - 1).max().item() < 1e-5
    assert nn.LayerNorm(3, affine=False)(x.astype(mx.bfloat16)).dtype == mx.bfloat16
    assert nn.RMSNorm(3)(x.astype(mx.float16)).dtype == mx.float32
    for layer in (nn.LayerNorm(3), nn.RMSNorm(3)):
        with pytest.raises(ValueError, match=r"\(3,\)"):
            layer(x[:, :2])


def test_dropout():
    for case in FIXTURE["dropout"]:
        mx.random.seed(case["seed"])
        layer = nn.Dropout(case["p"])
        assert_close(layer(mx.array(case["x"])), case["y"])
    x = mx.ones((100, 100), mx.float16)
    y = layer(x)
    assert y.dtype == mx.float16
    assert y.astype(mx.float32).mean().item() == pytest.approx(1.0, abs=0.05)
    assert layer.eval()(x) is x
    assert nn.Dropout(0.0)(x) is x
    for p in (1.0, -0.1, 2):
        with pytest.raises(ValueError, match=r"not in \[0, 1\)"):
            nn.Dropout(p)


def test_sequential():
    x = mx.ones((1, 2))
    assert nn.Sequential()(3) == 3
    assert nn.Sequential(nn.Linear(2, 3), nn.relu, lambda x: x + 1)(x).shape == (1, 3)


def test_random_steps_of_the_layers():
    # How often making a layer draws from the state decides what the next one gets.
    def first_after(make):
        mx.random.seed(0)
        make()
        return mx.random.normal().item()

    def after(steps):
        mx.random.seed(0)
        for _ in range(steps):
            mx.random.normal()
        return mx.random.normal().item()

    assert first_after(lambda: nn.Linear(2, 3)) == after(2)
    assert first_after(lambda: nn.Linear(2, 3, bias=False)) == after(1)
    assert first_after(lambda: nn.Embedding(2, 3)) == after(1)
    for make in (lambda: nn.LayerNorm(3), lambda: nn.RMSNorm(3), nn.PReLU, nn.Dropout):
        assert first_after(make) == after(0)
    assert first_after(lambda: nn.Dropout(0.5)(mx.ones(3))) == after(1)
    assert first_after(lambda: nn.Dropout(0.0)(mx.ones(3))) == after(0)


# Initialisers


@pytest.mark.parametrize("case", FIXTURE["init"], ids=label)
def test_initialisers_agree_with_mlx(case):
    mx.random.seed(5)
    initialiser = eval("init." + case["init"], {"init": nn.init})
    assert_close(initialiser(mx.zeros(case["shape"]), **case["kwargs"]), case["y"], rtol=3e-7, atol=0.0)


def test_initialisers():
    assert nn.init.identity()(mx.zeros((2, 2))).tolist() == [[1, 0], [0, 1]]
    assert nn.init.constant(3, dtype=mx.float16)(mx.zeros((2,))).dtype == mx.float16
    with pytest.raises(ValueError, match="square"):
        nn.init.identity()(mx.zeros((2, 3)))
    with pytest.raises(ValueError, match="two"):
        nn.init.glorot_normal()(mx.zeros((2,)))
    with pytest.raises(ValueError, match="Invalid mode"):
        nn.init.he_normal()(mx.zeros((2, 2)), mode="x")
    layer = nn.Linear(3, 3)
    layer.apply(nn.init.uniform(-1e-3, 1e-3))
    assert mx.abs(layer.weight).max().item() <= 1e-3
