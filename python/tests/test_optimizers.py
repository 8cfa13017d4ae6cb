"""Optimizers and schedules: MLX's numbers, by hand, on trees and on modules, and what bad input gets."""

import copy
import inspect
import math
import pickle
from dataclasses import dataclass
from typing import NamedTuple

import covector.core as mx
import covector.nn as nn
import covector.optimizers as optim
import pytest
from covector.utils import tree_unflatten
from nn_helpers import FIXTURE, assert_close, cases, leaves

PARAMETERS, GRADIENTS = (FIXTURE["optimizers"][0][name] for name in ("parameters", "gradients"))


def tree(flat):
    """A tree from its leaves by dotted path."""
    return tree_unflatten([(name, mx.array(values)) for name, values in flat.items()])


def make(text):
    return eval(text, {name: getattr(optim, name) for name in dir(optim)})


# Against MLX


@pytest.mark.parametrize(("data", "case"), cases("optimizers"), ids=lambda c: c.get("optimizer", ""))
def test_steps_agree_with_mlx(data, case):
    params = tree(data["parameters"])
    opt = make(case["optimizer"])
    for step, grads in zip(case["steps"], data["gradients"], strict=True):
        params = opt.update(params, tree(grads))
        for name, values in step.items():
            assert_close(leaves(params)[name], values, rtol=1e-6, atol=3e-7, what=name)
    state = leaves(opt.state)
    assert list(state) == list(case["state"])
    for name, values in case["state"].items():
        assert_close(state[name], values, rtol=1e-6, atol=1e-8, what=name)


@pytest.mark.parametrize("case", FIXTURE["schedules"], ids=lambda c: c["schedule"])
def test_schedules_agree_with_mlx(case):
    schedule = make(case["schedule"])
    for step, value in enumerate(case["values"]):
        assert_close(schedule(mx.array(step, mx.uint64)), value, rtol=1e-6, atol=1e-9)
        assert_close(schedule(step), value, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("case", FIXTURE["clip"], ids=lambda c: str(c["max_norm"]))
def test_clip_grad_norm_agrees_with_mlx(case):
    grads = tree(case["inputs"])
    clipped, norm = optim.clip_grad_norm(grads, case["max_norm"])
    assert_close(norm, case["norm"])
    for name, values in case["gradients"].items():
        assert_close(leaves(clipped)[name], values, what=name)


# By hand, in double precision


def run(opt, w, gradient, steps):
    w = {"w": mx.array(w, mx.float64)}
    for _ in range(steps):
        w = opt.update(w, {"w": mx.array(gradient, mx.float64)})
    return w["w"].item()


def test_sgd_by_hand():
    # 0.5 and 0.25 are exact in float32, in which learning rates are kept.
    w, v = 1.0, 0.0
    for _ in range(3):
        g = 2.0 + 0.1 * w
        v = 0.9 * v + g
        w -= 0.25 * (g + 0.9 * v)
    got = run(optim.SGD(0.25, momentum=0.9, weight_decay=0.1, nesterov=True), 1.0, 2.0, 3)
    assert got == pytest.approx(w, rel=1e-14)
    assert run(optim.SGD(0.5), 1.0, 2.0, 2) == -1.0


@pytest.mark.parametrize("correction", [False, True])
def test_adamw_by_hand(correction):
    w, m, v = 1.0, 0.0, 0.0
    for t in range(1, 4):
        m = 0.9 * m + 0.1 * 2.0
        v = 0.999 * v + 0.001 * 4.0
        mh, vh = (m / (1 - 0.9**t), v / (1 - 0.999**t)) if correction else (m, v)
        w = w * (1 - 0.25 * 0.1) - 0.25 * mh / (math.sqrt(vh) + 1e-8)
    opt = optim.AdamW(0.25, weight_decay=0.1, bias_correction=correction)
    assert run(opt, 1.0, 2.0, 3) == pytest.approx(w, rel=1e-10)


@pytest.mark.parametrize(
    "make",
    [
        lambda: optim.SGD(0.1),
        lambda: optim.SGD(0.05, momentum=0.8, nesterov=True),
        lambda: optim.Adam(0.1),
        lambda: optim.AdamW(0.1, weight_decay=0.0, bias_correction=True),
        lambda: optim.RMSprop(0.02),
        lambda: optim.Adagrad(0.5),
        lambda: optim.AdaDelta(10.0),
        lambda: optim.Adamax(0.1),
        lambda: optim.Lion(optim.exponential_decay(0.1, 0.98)),
    ],
)
def test_every_optimizer_finds_a_minimum(make):
    opt = make()
    params = [mx.array([1.0, -2.0]), mx.array(0.5)]
    loss = mx.value_and_grad(lambda p: (p[0] - 3).square().sum() + (p[1] + 1).square())
    first = loss(params)[0].item()
    for _ in range(200):
        _, grads = loss(params)
        params = opt.update(params, grads)
    assert loss(params)[0].item() < 0.01 * first


# Trees, and what does not change


def test_update_of_a_tree_is_pure():
    params = tree(PARAMETERS)
    grads = tree(GRADIENTS[0])
    before, before_grads = dict(leaves(params)), dict(leaves(grads))
    opt = optim.Adam(0.1)
    new = opt.update(params, grads)
    assert all(x is before[k] for k, x in leaves(params).items())
    assert all(x is before_grads[k] for k, x in leaves(grads).items())
    assert all(x is not before[k] for k, x in leaves(new).items())
    assert type(new["b"]) is list


class Pair(NamedTuple):
    w: mx.array
    b: mx.array


@dataclass
class Weights:
    w: mx.array
    b: mx.array


@pytest.mark.parametrize(
    "build",
    [
        lambda w, b: [w, b],
        lambda w, b: (w, {"b": b}),
        lambda w, b: Pair(w, b),
        lambda w, b: Weights(w, b),
        lambda w, b: {"step": w, "learning_rate": b},
        lambda w, b: {"parameters": w, "x": [b, {}]},
    ],
)
def test_any_tree_will_do(build):
    params = build(mx.array([1.0]), mx.array(2.0))
    opt = optim.SGD(0.5, momentum=0.5)
    grads = mx.grad(lambda p: sum(x.sum() for x in flat(p)))(params)
    for _ in range(2):
        params = opt.update(params, grads)
    assert type(params) is type(build(None, None))
    assert [x.tolist() for x in flat(params)] == [[-0.25], 0.75]
    assert opt.step.item() == 2
    assert opt.learning_rate.item() == 0.5


def flat(tree):
    if isinstance(tree, Weights):
        return [tree.w, tree.b]
    return list(leaves(tree).values())


def test_a_bare_array_will_do():
    opt = optim.Adam(0.1)
    new = opt.update(mx.array([1.0]), mx.array([2.0]))
    assert new.shape == (1,)
    assert list(opt.state) == ["step", "learning_rate", "parameters"]
    assert list(opt.state["parameters"]) == ["m", "v"]


def test_a_part_of_the_gradients():
    params = {"a": mx.array([1.0]), "b": [mx.array([2.0]), mx.array([3.0])]}
    opt = optim.SGD(1.0)
    new = opt.update(params, {"b": [mx.array([1.0])]})
    assert new["a"] is params["a"]
    assert new["b"][0].tolist() == [1.0]
    assert new["b"][1] is params["b"][1]


def test_apply_gradients_has_the_structure_of_the_gradients():
    params = {"a": mx.array([1.0]), "b": [mx.array([2.0])]}
    new = optim.SGD(1.0).apply_gradients({"a": mx.array([1.0])}, params)
    assert list(new) == ["a"]
    assert new["a"].tolist() == [0.0]
    assert params["a"].tolist() == [1.0]


def test_init_makes_the_state():
    params = {"layers": [{}, {"w": mx.ones((2, 3), mx.float16)}]}
    opt = optim.Adam(0.1)
    assert list(opt.state) == ["step", "learning_rate"]
    opt.init(params)
    assert list(leaves(opt.state)) == ["step", "learning_rate", "layers.1.w.m", "layers.1.w.v"]
    # Moments of half precision are kept in single precision.
    assert opt.state["layers"][1]["w"]["m"].dtype == mx.float32
    assert opt.step.dtype == mx.uint64
    assert opt.step.item() == 0
    sgd = optim.SGD(0.1)
    sgd.init(params)
    assert sgd.state["layers"][1]["w"]["v"].shape == (2, 3)


def test_state_can_be_moved_to_another_optimizer():
    params, grads = {"w": mx.array([1.0])}, {"w": mx.array([0.5])}
    one, two = optim.Adam(0.1), optim.Adam(0.3)
    for _ in range(3):
        params = one.update(params, grads)
    two.state = {**one.state, "w": dict(one.state["w"])}
    assert two.step.item() == 3
    assert one.update(params, grads)["w"].item() == two.update(params, grads)["w"].item()
    assert one.state["w"]["m"].item() == two.state["w"]["m"].item()


def test_types():
    opt = optim.SGD(0.1)
    new = opt.update({"w": mx.array([1.0], mx.float16)}, {"w": mx.array([1.0], mx.float16)})
    assert new["w"].dtype == mx.float16
    assert opt.learning_rate.dtype == mx.float32
    opt = optim.Adam(0.1)
    opt.update({"w": mx.array([1.0], mx.bfloat16)}, {"w": mx.array([1.0], mx.bfloat16)})
    assert opt.state["w"]["m"].dtype == mx.float32
    wide = optim.AdamW(0.1).update({"w": mx.array([1.0], mx.float64)}, {"w": mx.array([1.0], mx.float64)})
    assert wide["w"].dtype == mx.float64
    assert optim.SGD(1).learning_rate.item() == 1.0


# Modules


def test_update_of_a_module_is_in_place():
    mx.random.seed(0)
    model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    model.layers[0].freeze()
    frozen, weight, layer = model.layers[0].weight, model.layers[2].weight, model.layers[2]
    opt = optim.Adam(0.1)
    x, y = mx.ones((4, 2)), mx.zeros((4, 1))
    step = nn.value_and_grad(model, lambda: nn.losses.mse_loss(model(x), y))
    first, grads = step()
    assert opt.update(model, grads) is None
    assert model.layers[2] is layer
    assert layer.weight is not weight
    assert model.layers[0].weight is frozen
    for _ in range(50):
        loss, grads = step()
        opt.update(model, grads)
    assert loss.item() < 0.1 * first.item() + 1e-3
    assert opt.step.item() == 51


def test_both_ways_of_training_agree():
    mx.random.seed(1)
    model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    params = model.parameters()
    x, y = mx.random.normal((8, 2)), mx.random.normal((8, 1))
    functional, stateful = optim.AdamW(0.05), optim.AdamW(0.05)
    net = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    stateful_step = nn.value_and_grad(model, lambda x, y: nn.losses.mse_loss(model(x), y))
    functional_step = mx.value_and_grad(lambda p, x, y: nn.losses.mse_loss(net.apply(p, x), y))
    for _ in range(5):
        a, grads = functional_step(params, x, y)
        params = functional.update(params, grads)
        b, grads = stateful_step(x, y)
        stateful.update(model, grads)
        assert a.item() == b.item()
    for name, p in leaves(params).items():
        assert p.tolist() == leaves(model.parameters())[name].tolist()


def test_layers_frozen_later_keep_their_state():
    model = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1))
    opt = optim.Adam(0.1)
    opt.init(model.trainable_parameters())
    step = nn.value_and_grad(model, lambda x: model(x).square().sum())
    opt.update(model, step(mx.ones((1, 1)))[1])
    model.layers[0].freeze()
    kept = opt.state["layers"][0]["weight"]["m"].item()
    opt.update(model, step(mx.ones((1, 1)))[1])
    assert opt.state["layers"][0]["weight"]["m"].item() == kept
    model.unfreeze()
    opt.update(model, step(mx.ones((1, 1)))[1])
    assert opt.step.item() == 3


# Learning rates


def test_a_learning_rate_can_be_set():
    opt = optim.SGD(1.0)
    params, grads = {"w": mx.array([1.0])}, {"w": mx.array([1.0])}
    opt.learning_rate = 0.25
    assert opt.update(params, grads)["w"].tolist() == [0.75]
    opt.learning_rate = mx.array(0.5)
    assert opt.update(params, grads)["w"].tolist() == [0.5]
    with pytest.raises(ValueError, match="scalar"):
        opt.learning_rate = mx.array([0.5])


def test_a_schedule_counts_from_zero():
    seen = []

    def schedule(step):
        seen.append((step.item(), step.dtype))
        return 1.0 / (1 + step)

    opt = optim.SGD(schedule)
    params, grads = {"w": mx.array([0.0])}, {"w": mx.array([1.0])}
    params = opt.update(params, grads)
    assert params["w"].tolist() == [-1.0]
    params = opt.update(params, grads)
    assert params["w"].tolist() == [-1.5]
    assert opt.learning_rate.item() == 0.5
    assert seen == [(0, mx.uint64), (0, mx.uint64), (1, mx.uint64)]
    opt.learning_rate = 7.0
    assert opt.learning_rate.item() == 7.0
    opt.update(params, grads)
    assert opt.learning_rate.item() == pytest.approx(1 / 3)


def test_schedules_of_ones_own_can_be_joined():
    schedule = optim.join_schedules([lambda step: 1.0, lambda step: step * 10.0], [3])
    assert [schedule(i).item() for i in range(6)] == [1, 1, 1, 0, 10, 20]
    assert repr(optim.cosine_decay(0.1, 10)) == "cosine_decay(0.1, 10, 0.0)"

    def failing(step):
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        optim.join_schedules([failing], [])(0)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: optim.linear_schedule(0.0, 1.0, 0), ValueError, "greater than 0"),
        (lambda: optim.cosine_decay(0.1, -1), ValueError, "greater than 0"),
        (lambda: optim.step_decay(0.1, 0.5, 2.5), ValueError, "whole number"),
        (lambda: optim.step_decay(0.1, 0.5, "x"), TypeError, "int"),
        (lambda: optim.join_schedules([], []), ValueError, "at least one"),
        (lambda: optim.join_schedules([lambda s: 1], [1]), ValueError, "boundaries"),
        (lambda: optim.join_schedules([1.0], []), TypeError, "function"),
        (lambda: optim.SGD(0.1, nesterov=True), ValueError, "momentum"),
        (lambda: optim.SGD(0.1, momentum=0.9, dampening=0.1, nesterov=True), ValueError, "dampening"),
        (lambda: optim.Adam(0.1, betas=(2, 3)), ValueError, "beta1"),
        (lambda: optim.Adam(0.1, betas=[0.9, -1]), ValueError, "beta2"),
        (lambda: optim.Adam(0.1, betas=[0.9]), ValueError, "length"),
        (lambda: optim.Adam(0.1, eps=-1), ValueError, "eps"),
        (lambda: optim.RMSprop(0.1, alpha=-1), ValueError, "alpha"),
        (lambda: optim.SGD("a"), (TypeError, ValueError), "str"),
        (lambda: optim.SGD(lambda step: mx.ones(2)), ValueError, "scalar"),
        (lambda: optim.SGD(), TypeError, "learning_rate"),
        (lambda: optim.clip_grad_norm({}, -1.0), ValueError, "max_norm"),
    ],
)
def test_wrong_settings_are_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


# What does not fit


@pytest.mark.parametrize(
    ("grads", "error", "message"),
    [
        ({"z": mx.array([1.0])}, KeyError, "no entry 'z'"),
        ({"b": [{"c": mx.ones((2, 2))}, mx.array(1.0), mx.array(1.0)]}, KeyError, "list of 3"),
        ({"a": mx.ones(2)}, ValueError, r"parameters\['a'\] has shape \(3,\).*\(2,\)"),
        ({"a": None}, TypeError, r"gradients\['a'\] is None"),
        ({"b": mx.array(1.0)}, TypeError, r"parameters\['b'\] is a list"),
    ],
)
def test_gradients_that_do_not_fit_are_refused(grads, error, message):
    params = tree(PARAMETERS)
    opt = optim.Adam(0.1)
    opt.init(params)
    with pytest.raises(error, match=message):
        opt.update(params, grads)
    assert opt.step.item() == 0
    # The next step is right all the same.
    opt.update(params, params)
    assert opt.step.item() == 1


def test_a_state_that_does_not_fit_is_refused():
    opt = optim.Adam(0.1)
    opt.init({"w": mx.ones(2)})
    with pytest.raises(KeyError, match="no entry 'v'"):
        opt.update({"v": mx.ones(2)}, {"v": mx.ones(2)})
    with pytest.raises(ValueError, match="made for shape"):
        opt.update({"w": mx.ones(3)}, {"w": mx.ones(3)})
    sgd = optim.SGD(0.1, momentum=0.5)
    sgd.init({"w": mx.ones(2)})
    opt.state = sgd.state
    opt._initialized = True
    with pytest.raises(KeyError, match="made by another optimizer"):
        opt.update({"w": mx.ones(2)}, {"w": mx.ones(2)})


# Classes made from rows


def test_classes_have_signatures_documentation_and_parents():
    wanted = "(learning_rate, betas=(0.9, 0.999), eps=1e-08, weight_decay=0.01, bias_correction=False)"
    assert str(inspect.signature(optim.AdamW)) == wanted
    assert issubclass(optim.AdamW, optim.Adam)
    assert issubclass(optim.Adamax, optim.Adam)
    for name in optim.optimizers.__all__:
        kind = getattr(optim, name)
        if not isinstance(kind, type) or kind is optim.Optimizer:
            continue
        assert kind.__module__ == "covector.optimizers.optimizers"
        assert kind.__doc__.strip().split("\n")[0].endswith("."), name
        for argument in inspect.signature(kind).parameters:
            assert f"\n    {argument}: " in kind.__doc__, f"{name} does not document {argument}"


def test_optimizers_are_copied_and_pickled_with_their_state():
    opt = optim.Lion(0.5, betas=(0.5, 0.75))
    params, grads = {"w": mx.array([1.0])}, {"w": mx.array([0.5])}
    opt.update(params, grads)
    for other in (copy.deepcopy(opt), pickle.loads(pickle.dumps(opt))):
        assert type(other) is optim.Lion
        assert other.betas == (0.5, 0.75)
        assert other.state["w"]["m"].item() == opt.state["w"]["m"].item()
        assert other.update(params, grads)["w"].item() == 0.5


# Optimizers of one's own


class SignDescent(optim.Optimizer):
    def __init__(self, learning_rate):
        super().__init__()
        self._maybe_schedule("learning_rate", learning_rate)

    def init_single(self, parameter, state):
        state["seen"] = mx.zeros_like(parameter)

    def apply_single(self, gradient, parameter, state):
        state["seen"] = state["seen"] + mx.abs(gradient)
        return parameter - self.learning_rate.astype(gradient.dtype) * mx.sign(gradient)


def test_an_optimizer_of_ones_own():
    opt = SignDescent(0.5)
    params = {"a": mx.array([1.0]), "b": [mx.array(2.0), (mx.array(3.0),)]}
    grads = {"a": mx.array([3.0]), "b": [mx.array(-1.0), (mx.array(1.0),)]}
    for _ in range(2):
        params = opt.update(params, grads)
    assert [x.tolist() for x in leaves(params).values()] == [[0.0], 3.0, 2.0]
    assert isinstance(params["b"][1], tuple)
    assert opt.state["a"]["seen"].tolist() == [6.0]
    assert list(opt.state) == ["step", "learning_rate", "a", "b"]
    model = nn.Linear(1, 1)
    opt = SignDescent(0.5)
    weight = model.weight.item()
    opt.update(model, {"weight": mx.array([[2.0]])})
    assert model.weight.item() == pytest.approx(weight - 0.5)
    with pytest.raises(NotImplementedError, match="init_single is missing"):
        optim.Optimizer().update({"w": mx.ones(1)}, {"w": mx.ones(1)})


def test_a_rule_can_be_extended():
    class Clipped(optim.SGD):
        def apply_single(self, gradient, parameter, state):
            return super().apply_single(mx.clip(gradient, -1.0, 1.0), parameter, state)

    new = Clipped(0.5).update({"w": mx.array([1.0, 1.0])}, {"w": mx.array([100.0, -0.5])})
    assert new["w"].tolist() == [0.5, 1.25]


def test_settings_can_be_changed_on_the_way():
    opt = optim.SGD(0.5)
    params, grads = {"w": mx.array([2.0])}, {"w": mx.array([0.0])}
    assert opt.update(params, grads)["w"].item() == 2.0
    opt.weight_decay = 0.5
    assert opt.update(params, grads)["w"].item() == 1.5


# Under transforms, and memory


def test_a_step_is_differentiable():
    # How the loss after one step depends on the learning rate and on the first parameter.
    def after(rate, w):
        opt = optim.SGD(rate)
        grads = mx.grad(lambda p: p["w"] ** 2)({"w": w})
        return opt.update({"w": w}, grads)["w"] ** 2

    rate, w = mx.array(0.1), mx.array(3.0)
    _, (d_rate, d_w) = mx.value_and_grad(after, argnums=(0, 1))(rate, w)
    assert d_rate.item() == pytest.approx(2 * 3 * 0.8 * (-2 * 3), rel=1e-5)
    assert d_w.item() == pytest.approx(2 * 3 * 0.8**2, rel=1e-5)


def test_steps_are_vectorised():
    def step(w):
        return optim.Adam(0.1).update({"w": w}, {"w": 2 * w})["w"]

    ws = mx.array([1.0, -2.0, 3.0])
    assert mx.vmap(step)(ws).tolist() == pytest.approx([step(w).item() for w in ws])


def test_a_loop_without_eval_runs_in_bounded_memory():
    mx.random.seed(0)
    net = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 10))
    params, opt = net.parameters(), optim.AdamW(1e-3)

    def loss(p, x, y):
        return (net.apply(p, x) - y).square().mean()

    step = mx.value_and_grad(loss)
    peaks = []
    for i in range(300):
        x, y = mx.random.normal((128, 32)), mx.random.normal((128, 10))
        _, grads = step(params, x, y)
        params = opt.update(params, grads)
        if i == 20:
            mx.reset_peak_memory()
        if i in (100, 299):
            peaks.append(mx.get_peak_memory())
    assert peaks[1] <= 1.01 * peaks[0]


def test_clip_grad_norm():
    grads = {"a": mx.array([3.0, 4.0], mx.float16), "b": [mx.array(0.0)]}
    clipped, norm = optim.clip_grad_norm(grads, 1.0)
    assert clipped["a"].dtype == mx.float16
    assert norm.item() == 5.0
    assert norm.dtype == mx.float32
    assert clipped["a"].tolist() == pytest.approx([0.6, 0.8], abs=1e-3)
    assert optim.clip_grad_norm(grads, 100.0)[0]["a"].tolist() == [3.0, 4.0]
    assert optim.clip_grad_norm({}, 1.0)[1].item() == 0.0
    nan, norm = optim.clip_grad_norm({"a": mx.array([math.nan])}, 1.0)
    assert math.isnan(nan["a"].item())
    assert math.isnan(norm.item())
