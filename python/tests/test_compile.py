"""``mx.compile``: the same numbers as without, fewer calls of the function, and state kept in containers."""

import functools
import gc
import os
import threading
import warnings
import weakref
from dataclasses import dataclass, field
from typing import NamedTuple

import covector.core as mx
import covector.nn as nn
import covector.optimizers as optim
import numpy as np
import pytest


def same(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and np.array(a).tobytes() == np.array(b).tobytes()


def counted(fun):
    calls = []

    @functools.wraps(fun)
    def wrapper(*args, **kwargs):
        calls.append(1)
        return fun(*args, **kwargs)

    return wrapper, calls


X = mx.random.normal((4, 6), key=mx.random.key(1))
W = mx.random.normal((6, 3), key=mx.random.key(2))

FUNCTIONS = [
    lambda x: mx.exp(-x) + 1,
    lambda x: (x @ W).square().mean(),
    lambda x: mx.softmax(x @ W, axis=-1),
    lambda x: (x.T, x[1:, ::2], x.reshape(3, 8)),
    lambda x: {"a": [x.sum(0), x.max(axis=1)], "b": mx.argsort(x, axis=-1)},
    lambda x: mx.where(x > 0, x, x * 0.1),
    lambda x: x.astype(mx.float16) * 3,
    lambda x: mx.concatenate([x, x * 2, mx.zeros((1, 6))]),
    mx.grad(lambda x: mx.tanh(x @ W).sum()),
    mx.value_and_grad(lambda x: (nn.gelu(x).mean(), x.sum())),
    mx.vmap(mx.grad(lambda row: mx.sin(row).prod())),
    mx.checkpoint(lambda x: mx.sin(mx.exp(x))),
    lambda x: mx.jvp(mx.sin, [x], [x])[1][0],
    lambda x: mx.hessian(lambda y: (y**3).sum())(x[0]),
]


@pytest.mark.parametrize("fun", FUNCTIONS)
def test_results_are_those_of_the_function(fun):
    compiled = mx.compile(fun)
    for _ in range(3):
        for a, b in zip(leaves(compiled(X)), leaves(fun(X)), strict=True):
            assert same(a, b)


def leaves(tree):
    if isinstance(tree, dict):
        return [x for v in tree.values() for x in leaves(v)]
    if isinstance(tree, (list, tuple)):
        return [x for v in tree for x in leaves(v)]
    return [tree]


@pytest.mark.parametrize(
    "transform",
    [
        mx.grad,
        mx.value_and_grad,
        lambda f: mx.vmap(f),
        lambda f: lambda x: mx.jvp(f, [x], [x + 1]),
        lambda f: lambda x: mx.vjp(f, [x], [mx.array(1.0)]),
        lambda f: mx.grad(lambda x: mx.grad(f)(x).sum()),
        lambda f: mx.vmap(mx.grad(f)),
        lambda f: mx.checkpoint(f),
        mx.compile,
    ],
)
def test_transforms_of_compiled_functions(transform):
    def f(x):
        return (mx.sin(x) * x).sum()

    compiled = mx.compile(f)
    compiled(X)
    for function in (compiled, mx.compile(f)):
        for a, b in zip(leaves(transform(function)(X)), leaves(transform(f)(X)), strict=True):
            assert same(a, b)


def test_it_runs_the_function_only_for_new_kinds_of_arguments():
    f, calls = counted(lambda x, n=1, flag="a": x * n)
    compiled = mx.compile(f)
    for _ in range(3):
        compiled(mx.array([1.0, 2.0]))
    assert len(calls) == 1
    compiled(mx.array([1.0]))
    assert len(calls) == 2
    compiled(mx.array([1, 2]))
    assert len(calls) == 3
    assert compiled(mx.array([1.0, 2.0]), 3).tolist() == [3, 6]
    assert compiled(mx.array([1.0, 2.0]), 3.0).tolist() == [3, 6]
    assert len(calls) == 5
    compiled(mx.array([1.0, 2.0]), n=3)
    compiled(mx.array([1.0, 2.0]), n=3, flag="b")
    assert len(calls) == 7
    compiled(mx.array([5.0, 6.0]), 3)
    compiled(mx.array([5.0, 6.0]), n=3, flag="b")
    compiled(mx.array([7.0]))
    assert len(calls) == 7


def test_equal_values_of_different_kinds_are_different():
    f, calls = counted(lambda x, c: x + 1 if c is True else x / (c or 1))
    compiled = mx.compile(f)
    x = mx.array(1.0)
    assert compiled(x, 1).item() == 1
    assert compiled(x, True).item() == 2
    g, calls = counted(lambda x, c: x / c)
    compiled = mx.compile(g)
    assert compiled(x, 0.0).item() == float("inf")
    assert compiled(x, -0.0).item() == float("-inf")
    compiled(x, float("nan")), compiled(x, float("nan"))
    assert len(calls) == 3


def test_explain_retrace():
    f = mx.compile(lambda p, n=0, **rest: p["w"] * n)
    assert mx.explain_retrace(f) == "traced 0 times"
    f({"w": mx.array([1.0])})
    assert mx.explain_retrace(f) == "traced 1 time\n1: the first call"
    f({"w": mx.array([1.0, 2.0])})
    f({"w": mx.array([1, 2])})
    f({"w": mx.array([1, 2])}, 3)
    f({"w": mx.array([1, 2])}, 4)
    f({"w": mx.array([1, 2]), "v": mx.array(1.0)}, 4)
    f({"w": mx.array([1, 2]), "v": mx.array(1.0)}, n=mx.array(1))
    lines = mx.explain_retrace(f).split("\n")
    assert lines[0] == "traced 7 times"
    assert lines[2] == "2: args[0]['w']: was float32 (1,), is float32 (2,)"
    assert lines[3] == "3: args[0]['w']: was float32 (2,), is int32 (2,)"
    assert lines[4] == "4: args: was a tuple of 1, is a tuple of 2"
    assert lines[5] == "5: args[1]: was 3, is 4"
    assert lines[6] == "6: args[0]: was a dict with 1 keys, is a dict with 2 keys"
    assert "kwargs: was empty, is not" in lines[7]
    with pytest.raises(TypeError, match=r"explain_retrace.*function that compile has returned"):
        mx.explain_retrace(lambda x: x)


def test_structures_come_and_go():
    class Pair(NamedTuple):
        a: mx.array
        b: mx.array

    @dataclass
    class Box:
        x: mx.array
        scale: float = field(default=1.0, metadata={"static": True})

    @mx.compile
    def f(pair, box, *, extra=None):
        return Pair(pair.b, pair.a * box.scale), Box(box.x + 1, 5.0), [None, "text", 3, extra]

    pair, box, rest = f(Pair(mx.array(1.0), mx.array(2.0)), Box(mx.array(3.0), 4.0))
    assert type(pair) is Pair
    assert pair.a.item() == 2
    assert pair.b.item() == 4
    assert type(box) is Box
    assert box.x.item() == 4
    assert box.scale == 5.0
    assert rest == [None, "text", 3, None]
    # A static field is part of the key.
    assert f(Pair(mx.array(1.0), mx.array(2.0)), Box(mx.array(3.0), 6.0))[0].b.item() == 6
    assert f(Pair(mx.array(1.0), mx.array(2.0)), Box(mx.array(3.0)), extra=mx.array(9.0))[2][3].item() == 9
    assert "args[1].scale: was 4.0, is 6.0" in mx.explain_retrace(f)


def test_as_a_decorator_and_what_the_function_is_called():
    @functools.partial(mx.compile, shapeless=True)
    def step(x):
        "A step."
        return x.sum()

    assert step.__name__ == "step"
    assert step.__doc__ == "A step."
    assert "compile" in repr(step)
    assert step(mx.ones((3,))).item() == 3
    assert step(mx.ones((4, 2))).item() == 8
    with pytest.raises(TypeError, match=r"compile.*function"):
        mx.compile(3)


def test_reading_values_raises_and_leaves_everything_usable():
    def bad(x):
        return x * x.item()

    for fun in (bad, lambda x: x if x > 0 else -x, lambda x: mx.array(x.tolist())):
        with pytest.raises(ValueError, match="compile"):
            mx.compile(fun)(mx.array(1.0))
    assert mx.grad(lambda x: x * x)(mx.array(3.0)).item() == 6
    # Constants have values.
    c = mx.array(2.0)
    assert mx.compile(lambda x: x * c.item())(mx.array(3.0)).item() == 6


def test_exceptions_pass_through():
    error = KeyError("mine")

    def fails(x):
        raise error

    compiled = mx.compile(fails)
    for _ in range(2):
        with pytest.raises(KeyError) as caught:
            compiled(mx.array(1.0))
        assert caught.value is error
    with pytest.raises(ValueError, match=r"args\[1\] is an? ndarray.*hashable"):
        mx.compile(lambda x, y: x)(mx.array(1.0), np.ones(3))
    with pytest.raises(ValueError, match=r"kwargs.*set.*hashable"):
        mx.compile(lambda x, y: x)(mx.array(1.0), y={1})


def test_captured_arrays():
    w = mx.array(2.0)
    f = mx.compile(lambda x: x * w)
    assert f(mx.array(3.0)).item() == 6
    # An outer tracer is no constant.
    assert mx.grad(lambda w: mx.compile(lambda x: x * w * w)(mx.array(3.0)))(w).item() == 12
    mapped = mx.vmap(lambda w: mx.compile(lambda x: x * w)(mx.array(3.0)))
    assert mapped(mx.array([1.0, 2.0])).tolist() == [3, 6]


def test_inputs_and_outputs():
    state = {"n": mx.array(0), "deep": [mx.array(1.0), {"x": mx.array([1.0])}]}

    @functools.partial(mx.compile, inputs=state, outputs=state)
    def step(k):
        state["n"] = state["n"] + k
        state["deep"][1]["x"] = state["deep"][1]["x"] * 2
        return state["n"] * 10

    held, inner = state["n"], state["deep"][1]
    assert [step(mx.array(2)).item() for _ in range(3)] == [20, 40, 60]
    assert state["n"].item() == 6
    assert state["deep"][1]["x"].tolist() == [8]
    assert state["deep"][1] is inner
    assert held.item() == 0
    assert mx.explain_retrace(step).startswith("traced 1 time")
    state["n"] = mx.array(100)
    assert step(mx.array(1)).item() == 1010


def test_inputs_alone_and_outputs_alone():
    state = [mx.array(1.0)]

    @functools.partial(mx.compile, inputs=state)
    def reads(x):
        state.append(x)
        return x * state[0]

    assert reads(mx.array(2.0)).item() == 2
    state[0] = mx.array(5.0)
    # What it does to the containers is lost, at the first call as at any other.
    assert reads(mx.array(2.0)).item() == 10
    assert len(state) == 1

    seen = {}

    @functools.partial(mx.compile, outputs=seen)
    def writes(x):
        seen["last"] = {"y": x + 1}
        return x

    for i in range(3):
        writes(mx.array(float(i)))
        assert seen["last"]["y"].item() == i + 1
    frozen = (mx.array(1.0),)
    with pytest.raises(ValueError, match=r"outputs.*list or dict"):
        mx.compile(lambda x: x, outputs=frozen)(mx.array(1.0))


def test_a_failing_trace_gives_the_state_back():
    state = {"w": mx.array([1.0]), "inner": [mx.array(2.0)]}
    w, inner = state["w"], state["inner"]

    @functools.partial(mx.compile, inputs=state, outputs=state)
    def step(fail):
        state["w"] += 1
        state["inner"].append(state["w"] * 2)
        state["new"] = state["w"]
        if fail:
            raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        step(True)
    assert set(state) == {"w", "inner"}
    assert state["w"] is w
    assert state["inner"] is inner
    assert w.tolist() == [1]
    assert len(inner) == 1
    assert inner[0].item() == 2
    step(False)
    assert state["w"].tolist() == [2]
    assert state["new"].tolist() == [2]
    assert len(inner) == 2


def network():
    mx.random.seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 3))


@pytest.mark.parametrize(
    "make",
    [
        lambda: optim.SGD(0.1, momentum=0.9),
        lambda: optim.AdamW(1e-2),
        lambda: optim.Adam(optim.cosine_decay(1e-2, 20), bias_correction=True),
        lambda: optim.Lion(1e-3),
    ],
)
def test_training_with_captured_state(make):
    def train(wrap):
        model, optimizer = network(), make()
        state = [model.state, optimizer.state, mx.random.state]

        def loss(x, y):
            return nn.losses.cross_entropy(model(x), y, reduction="mean")

        def step(x, y):
            value, grads = nn.value_and_grad(model, loss)(x, y)
            optimizer.update(model, grads)
            return value

        step = wrap(step, state)
        losses = []
        for i in range(12):
            x = mx.random.normal((5, 8))
            y = mx.random.randint(0, 3, (5,))
            if i == 8:
                model.eval()
            losses.append(step(x, y).item())
        return losses, leaves(model.parameters()), leaves(optimizer.state)

    plain = train(lambda step, state: step)
    compiled = train(lambda step, state: mx.compile(step, inputs=state, outputs=state))
    assert compiled[0] == plain[0]
    for a, b in zip(compiled[1] + compiled[2], plain[1] + plain[2], strict=True):
        assert same(a, b)


def test_an_optimizer_is_usable_after_a_first_step_that_failed():
    def train(failing):
        model, optimizer = nn.Linear(3, 2), optim.Adam(1e-2)
        model.update({"weight": mx.ones((2, 3)), "bias": mx.zeros((2,))})
        state = [model.state, optimizer.state]
        fails = [failing]

        @functools.partial(mx.compile, inputs=state, outputs=state)
        def step(x):
            value, grads = nn.value_and_grad(model, lambda x: model(x).square().sum())(x)
            optimizer.update(model, grads)
            if fails.pop():
                raise RuntimeError("late")
            fails.append(False)
            return value

        if failing:
            with pytest.raises(RuntimeError, match="late"):
                step(mx.ones((2, 3)))
            fails.append(False)
        return [step(mx.ones((2, 3))).item() for _ in range(4)]

    assert train(True) == train(False)


def test_functional_training():
    def train(wrap):
        net, opt = network(), optim.AdamW(1e-3)
        params = net.parameters()

        def loss_fn(p, x, y):
            return nn.losses.cross_entropy(net.apply(p, x), y, reduction="mean")

        step = wrap(mx.value_and_grad(loss_fn))
        losses = []
        for _ in range(10):
            x, y = mx.random.normal((5, 8)), mx.random.randint(0, 3, (5,))
            value, grads = step(params, x, y)
            params = opt.update(params, grads)
            losses.append(value.item())
        return losses

    assert train(mx.compile) == train(lambda f: f)


def test_a_module_as_an_argument_is_traced_again_when_it_changes_mode():
    model = network()
    f = mx.compile(lambda model, x: model(x))
    x = mx.ones((2, 8))
    model.eval()
    expected = model(x)
    assert same(f(model, x), expected)
    assert same(f(model, x), expected)
    assert mx.explain_retrace(f).startswith("traced 1 time")
    model.train()
    assert not same(f(model, x), expected)
    assert "training: was False, is True" in mx.explain_retrace(f)


def test_random_numbers_are_new_at_each_call():
    def draw(x):
        return x + mx.random.normal((3,)) * mx.random.uniform(shape=(3,))

    compiled = mx.compile(draw)
    x = mx.zeros((3,))
    mx.random.seed(4)
    plain = [draw(x).tolist() for _ in range(3)] + [mx.random.normal((2,)).tolist()]
    for _ in range(2):
        mx.random.seed(4)
        assert [compiled(x).tolist() for _ in range(3)] + [mx.random.normal((2,)).tolist()] == plain
    assert plain[0] != plain[1]


def test_disable_and_enable():
    f, calls = counted(lambda x: x + 1)
    compiled = mx.compile(f)
    mx.disable_compile()
    try:
        compiled(mx.array(1.0)), compiled(mx.array(1.0))
        assert len(calls) == 2
    finally:
        mx.enable_compile()
    compiled(mx.array(1.0)), compiled(mx.array(1.0))
    assert len(calls) == 3


def test_the_cache_is_bounded():
    alive = []

    class Value:
        def __init__(self):
            alive.append(weakref.ref(self))

    f, calls = counted(lambda x, v: x)
    compiled = mx.compile(f)
    for _ in range(200):
        compiled(mx.array(1.0), Value())
    gc.collect()
    assert len(calls) == 200
    assert sum(r() is not None for r in alive) <= 64


def test_nothing_leaks():
    x = mx.random.normal((256, 64))
    mx.eval(x)

    def work():
        w = mx.random.normal((64, 64))
        f = mx.compile(mx.value_and_grad(lambda x: mx.tanh(x @ w).square().mean()))
        for _ in range(5):
            mx.eval(f(x))

    work()
    gc.collect()
    before = mx.get_active_memory()
    for _ in range(5):
        work()
    gc.collect()
    assert mx.get_active_memory() == before


def test_losses_that_are_kept_do_not_keep_the_state():
    state = {"w": mx.ones((1 << 16,))}

    @functools.partial(mx.compile, inputs=state, outputs=state)
    def step():
        state["w"] = state["w"] * 0.5
        return state["w"].mean()

    losses, memory = [], []
    for _ in range(20):
        losses.append(step())
        mx.eval(losses[-1])
        memory.append(mx.get_active_memory())
    assert memory[19] - memory[4] < 4096
    assert losses[0].item() == 0.5


def test_cycles_through_compiled_functions_are_collected():
    class Owner:
        pass

    def make():
        owner = Owner()
        owner.step = mx.compile(lambda x, o: (x, owner))
        owner.step(mx.array(1.0), owner)
        return weakref.ref(owner)

    ref = make()
    gc.collect()
    assert ref() is None


def test_threads():
    f = mx.compile(lambda x: mx.tanh(x @ W).sum())
    expected = f(X).item()
    wrong = []

    def work():
        wrong.extend(x for x in (f(X).item() for _ in range(50)) if x != expected)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_endless_recursion_ends_in_an_exception():
    @mx.compile
    def f(x):
        return f(x)

    with pytest.raises(RecursionError):
        f(mx.array(1.0))
    assert mx.compile(lambda x: x + 1)(mx.array(1.0)).item() == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_machine_code_after_a_fork():
    x = mx.arange(1 << 16).astype(mx.float32) / 1000
    values = np.array(x)
    mx.eval(x * 2 + x)  # there is memory for code, which the child would share
    ready, go = os.pipe(), os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python warns of forks beside threads; the child uses none.
        child = os.fork()
    if child == 0:
        status = 1
        try:
            mx.set_num_threads(1)
            wanted = np.abs(values) - values * np.float32(3)
            # Its code is made before the parent makes other code, and runs again afterwards.
            first = np.array_equal(np.array(mx.abs(x) - x * 3), wanted)
            os.write(ready[1], b"x")
            os.read(go[0], 1)
            again = np.array_equal(np.array(mx.abs(x) - x * 3), wanted)
            status = 0 if first and again else 2
        finally:
            os._exit(status)
    os.read(ready[0], 1)
    got = np.array(mx.minimum(x, 3.0) / (x + 1))
    os.write(go[1], b"x")
    wanted = np.minimum(values, np.float32(3)) / (values + np.float32(1))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert np.array_equal(got, wanted)
    for end in (*ready, *go):
        os.close(end)
