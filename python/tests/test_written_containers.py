"""What a function writes into the containers that it is given is there afterwards, as real arrays."""

import dataclasses
from collections import OrderedDict, defaultdict
from typing import NamedTuple

import covector.core as mx
import covector.nn as nn
import pytest


def run_value_and_grad(f, p):
    mx.value_and_grad(f)(p)


def run_grad(f, p):
    mx.grad(f)(p)


def run_by_name(f, p):
    mx.grad(lambda *, p: f(p), argnames="p")(p=p)


def run_second(f, p):
    mx.value_and_grad(lambda x, p: f(p) * x, argnums=[0, 1])(mx.array(2.0), p)


def run_nested(f, p):
    mx.grad(lambda x: mx.grad(lambda x, p: f(p) * x * x, argnums=[0, 1])(x, p)[0])(mx.array(2.0))


def run_vjp(f, p):
    mx.vjp(f, [p], [mx.array(1.0)])


def run_jvp(f, p):
    def zeros(tree):
        if isinstance(tree, mx.array):
            return mx.zeros_like(tree)
        if isinstance(tree, dict):
            return {k: zeros(v) for k, v in tree.items()}
        return [zeros(x) for x in tree]

    mx.jvp(f, [p], [zeros(p)])


def run_linearize(f, p):
    mx.linearize(f, [p])


def run_checkpoint(f, p):
    mx.checkpoint(f)(p)


def run_custom(f, p):
    mx.custom_function(f)(p)


def run_plain(f, p):
    f(p)


RUNS = [run_plain, run_value_and_grad, run_grad, run_by_name, run_second, run_nested, run_vjp, run_jvp]
RUNS += [run_linearize, run_checkpoint, run_custom]
every = pytest.mark.parametrize("run", RUNS, ids=lambda run: run.__name__[4:])


def params():
    return {
        "w": mx.array([1.0, 2.0]),
        "layers": [mx.array(3.0), {"b": mx.array(4.0)}],
        "empty": [],
        "none": {},
    }


def values(tree):
    if isinstance(tree, mx.array):
        return tree.tolist()
    if isinstance(tree, dict):
        return {k: values(v) for k, v in tree.items()}
    if isinstance(tree, list | tuple):
        return [values(x) for x in tree]
    return tree


def scalar(p):
    return p["w"].sum() + p["layers"][0] * p["layers"][1]["b"]


def add_entries(p):
    p["new"] = p["w"] * 2
    p["layers"][1]["c"] = p["w"].sum()
    p["empty"].append(p["w"] + 1)
    p["none"]["x"] = p["layers"][0] - 1
    p["text"], p["number"] = "hello", 3
    return scalar(p)


def replace_entries(p):
    loss = scalar(p)
    p["w"] = p["w"] * 3
    p["layers"][0] = mx.array(7.0)
    p["layers"][1]["b"] = "gone"
    return loss


def remove_entries(p):
    loss = scalar(p)
    del p["w"]
    p["layers"].pop()
    p["none"] = None
    return loss


def change_arrays_in_place(p):
    p["w"][0] = 10.0
    p["layers"][0] += 1
    p["layers"][1]["b"] -= p["w"][1]
    return scalar(p)


def reorder(p):
    p["layers"].reverse()
    p["layers"].insert(1, p["w"])
    p["layers"].reverse()
    p["layers"] = [p["layers"][0], p["layers"][-1]]
    return scalar(p)


def nest(p):
    p["both"] = {"w": p["w"], "layers": p["layers"], "deep": [[p["layers"][1]], (p["none"],)]}
    p["empty"].append(p["none"])
    return scalar(p)


WRITERS = [add_entries, replace_entries, remove_entries, change_arrays_in_place, reorder, nest]


@every
@pytest.mark.parametrize("write", WRITERS, ids=lambda f: f.__name__)
def test_the_caller_sees_what_python_would_show(write, run):
    expected, given = params(), params()
    write(expected)
    before = dict(given)
    run(write, given)
    assert values(given) == values(expected)
    for name in ("empty", "none", "layers"):
        if isinstance(given.get(name), type(before[name])) and write is not reorder:
            assert given[name] is before[name]


@every
def test_what_was_not_written_stays_the_same_object(run):
    given = params()
    w, layers, inner, b = given["w"], given["layers"], given["layers"][1], given["layers"][1]["b"]

    def f(p):
        p["new"] = [p["w"], p["layers"], p["layers"][1]["b"]]
        return scalar(p)

    run(f, given)
    assert given["w"] is given["new"][0] is w
    assert given["layers"] is given["new"][1] is layers
    assert given["layers"][1] is inner
    assert inner["b"] is given["new"][2] is b


@every
def test_what_is_written_before_a_failure_is_written(run):
    given = params()

    def f(p):
        p["new"] = p["w"] * 2
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        run(f, given)
    assert given["new"].tolist() == [2.0, 4.0]
    assert list(given) == ["w", "layers", "empty", "none", "new"]


@every
def test_written_arrays_are_no_tracers(run):
    kept = {}
    given = {"w": mx.array([1.0, 2.0]), "kept": kept}

    def f(p):
        p["kept"]["y"] = mx.exp(p["w"])
        p["kept"]["w"] = p["w"]
        return p["w"].sum()

    run(f, given)
    assert given["kept"] is kept
    assert kept["w"] is given["w"]
    # As a constant of another transform, and as its argument.
    y = kept["y"]
    assert mx.grad(lambda x: (x * y).sum())(mx.ones(2)).tolist() == y.tolist()
    assert mx.vmap(lambda x: x + 1)(y).tolist() == (y + 1).tolist()
    assert mx.compile(lambda x: x * y)(y).tolist() == (y * y).tolist()
    assert mx.grad(lambda y: (y * y).sum())(y).tolist() == (2 * y).tolist()


def test_a_function_that_writes_nothing_changes_nothing():
    given = params()

    def parts():
        return [given["w"], given["layers"], *given["layers"], given["empty"], given["none"]]

    before = parts()
    for run in RUNS:
        run(scalar, given)
        assert all(now is then for now, then in zip(parts(), before, strict=True))
        assert values(given) == values(params())


def test_an_array_by_itself_is_a_copy():
    x = mx.array([1.0, 2.0])

    def f(x):
        x[0] = 5.0
        return x.sum()

    assert mx.grad(f)(x).tolist() == [0, 1]
    assert x.tolist() == [1, 2]


def test_the_gradient_has_the_structure_that_was_given():
    given = params()
    grads = mx.grad(add_entries)(given)
    assert list(grads) == ["w", "layers", "empty", "none"]
    assert grads["empty"] == []
    assert list(grads["layers"][1]) == ["b"]


@dataclasses.dataclass
class State:
    w: mx.array
    history: list
    steps: int = dataclasses.field(default=0, metadata={"static": True})


class Bag(list):
    pass


class Pair(NamedTuple):
    w: mx.array
    rest: list


@pytest.mark.parametrize(
    "run", [run_plain, run_grad, run_vjp, run_checkpoint], ids=lambda run: run.__name__[4:]
)
def test_containers_of_every_kind(run):
    state = State(mx.array(2.0), [])
    history = state.history

    def step(s):
        s.history.append(s.w)
        s.w = s.w * 2
        s.steps += 1
        s.note = "extra"
        return s.w

    run(step, state)
    assert state.w.item() == 4
    assert state.history is history
    assert values(history) == [2.0]
    assert (state.steps, state.note) == (1, "extra")

    ordered = OrderedDict(a=mx.array(1.0), b=mx.array(2.0))

    def rotate(d):
        loss = d["a"] * d["b"]
        d["c"] = d.pop("a")
        return loss

    run(rotate, ordered)
    assert list(ordered) == ["b", "c"]
    assert type(ordered) is OrderedDict

    assert ordered.popitem()[0] == "c"
    plain = {"a": mx.array(1.0), "b": mx.array(2.0)}
    run(lambda d: d.update(a=d.pop("a")) or d["b"], plain)
    assert list(plain) == ["b", "a"]

    default = defaultdict(list, w=mx.array(1.0))
    run(lambda d: (d["seen"].append(d["w"]), d["w"])[1], default)
    assert values(default) == {"w": 1.0, "seen": [1.0]}

    bag = Bag([mx.array(1.0)])
    run(lambda b: (b.append(b[0] * 5), b[0])[1], bag)
    assert values(bag) == [1.0, 5.0]

    pair = Pair(mx.array(1.0), [])
    run(lambda p: (p.rest.append(p.w + 1), p.w)[1], pair)
    assert values(pair.rest) == [2.0]

    fixed = ([mx.array(1.0)], mx.array(2.0))
    run(lambda t: (t[0].append(t[1]), t[1])[1], fixed)
    assert values(fixed) == [[1.0, 2.0], 2.0]


def test_a_module_as_an_argument():
    class Counter(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = mx.array([1.0, 2.0])
            self.seen = mx.array(0.0)

        def __call__(self, x):
            self.seen = self.seen + x.sum()
            return (self.weight * x).sum()

    model = Counter()
    grads = mx.grad(lambda m, x: m(x))(model, mx.array([3.0, 4.0]))
    assert grads["weight"].tolist() == [3, 4]
    assert model.seen.item() == 7.0
    assert model.weight.tolist() == [1, 2]


def test_the_other_arguments_are_the_callers_own():
    log = {"values": []}

    def f(w, log):
        log["values"].append(w * 2)
        return w.sum()

    mx.grad(f)(mx.array([1.0]), log)
    mx.value_and_grad(f)(mx.array([2.0]), log)
    assert values(log) == {"values": [[2.0], [4.0]]}


def test_vmap_and_compile_hand_out_copies():
    for transform in (mx.vmap, mx.compile):
        given = {"w": mx.array([1.0, 2.0]), "log": []}

        def f(p):
            p["log"].append(p["w"] * 2)
            p["w"] = p["w"] + 1
            return p["w"]

        out = transform(f)(given)
        assert out.tolist() == [2, 3]
        assert values(given) == {"w": [1.0, 2.0], "log": []}
