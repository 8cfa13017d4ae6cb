"""A compiled function runs a trace only for arguments that differ from those it was made with in nothing but
the values of their arrays: no single static part may change unseen, wherever it is."""

import collections
import copy
import dataclasses
import decimal
import enum
import fractions
import functools
import math
import random
from typing import Any, NamedTuple

import covector.core as mx
import covector.nn as nn
import numpy as np
import pytest


def moved(tree):
    """The tree with other values in its arrays."""
    if isinstance(tree, mx.array):
        return tree * 3 + 0.25
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        copied = copy.copy(tree)
        for field in dataclasses.fields(tree):
            object.__setattr__(copied, field.name, moved(getattr(tree, field.name)))
        return copied
    if isinstance(tree, dict):
        copied = copy.copy(tree)
        for key, value in tree.items():
            dict.__setitem__(copied, key, moved(value))
        return copied
    if isinstance(tree, list):
        return [moved(x) for x in tree]
    if isinstance(tree, tuple):
        items = [moved(x) for x in tree]
        return tree._make(items) if hasattr(tree, "_make") else tuple.__new__(type(tree), items)
    return tree


def guard(fun, *arguments):
    """Compares the compiled function with the function on all arguments, forwards, backwards and with other
    values in the arrays; each argument is traced once."""
    traces = 0

    def counted(*args):
        nonlocal traces
        traces += 1
        return fun(*args)

    compiled = mx.compile(counted)

    def check(args):
        expected, got = mx.array(fun(*args)), mx.array(compiled(*args))
        assert got.tolist() == expected.tolist(), f"{args}: {mx.explain_retrace(compiled)}"

    for args in arguments:
        check(args)
    for args in reversed(arguments):
        check(args)
    for args in arguments:
        check(moved(args))
    assert traces == len(arguments), mx.explain_retrace(compiled)


X = mx.array([1.0, -2.0])


class Color(enum.Enum):
    RED = 1
    BLUE = 2


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Pair(NamedTuple):
    x: Any
    k: Any


class Other(NamedTuple):
    x: Any
    k: Any


@dataclasses.dataclass
class Config:
    x: Any
    k: Any = 1
    fixed: Any = dataclasses.field(default=0, metadata={"static": True})


@dataclasses.dataclass(frozen=True)
class Frozen:
    x: Any
    k: Any = 1


def number(value):
    """A number for any static value, another one for each in the table below."""
    return mx.array(float(sum(map(ord, repr((type(value).__name__, value)))) % 1009))


VALUES = [
    [1, 1.0, True, np.int32(1), np.int64(1), np.float32(1), np.float64(1), np.bool_(True), Level.LOW, 1 + 0j],
    [0.0, -0.0, 0, False, math.nan, math.inf, -math.inf, None],
    [np.float64(0.0), np.float64(-0.0), np.float64("nan")],
    [np.float32(0.0), np.float32(-0.0), np.float16(0.0), np.float16(-0.0)],
    [complex(0.0, 0.0), complex(-0.0, 0.0), complex(0.0, -0.0)],
    ["relu", "tanh", b"relu", ""],
    [Color.RED, Color.BLUE, Level.HIGH],
    [frozenset({1}), frozenset({1.0}), frozenset({True}), frozenset({1, 2}), frozenset()],
    [frozenset({0.0}), frozenset({-0.0})],
    [decimal.Decimal("1"), decimal.Decimal("1.0"), decimal.Decimal("0"), decimal.Decimal("-0")],
    [fractions.Fraction(1, 2), fractions.Fraction(1, 3)],
    [range(2), range(3)],
    [mx.float32, mx.int32],
    [int, float],
    [2**70, 2**70 + 1, -(2**70)],
]


@pytest.mark.parametrize("values", VALUES, ids=lambda v: repr(v[0]))
@pytest.mark.parametrize(
    "wrap",
    [
        lambda k: (X, k),
        lambda k: ([X, k], 0),
        lambda k: ({"x": X, "k": k}, 0),
        lambda k: (Pair(X, k), 0),
        lambda k: (Config(X, k), 0),
        lambda k: (Config(X, 0, fixed=k), 0),
        lambda k: (Frozen(X, k), 0),
        lambda k: (X, ((k,),)),
        lambda k: (X, {"a": [{"b": k}]}),
    ],
    ids=["plain", "list", "dict", "namedtuple", "dataclass", "static field", "frozen", "tuples", "deep"],
)
def test_a_static_value_of_any_type_anywhere(values, wrap):
    def find(tree):
        if isinstance(tree, mx.array):
            return tree
        if isinstance(tree, Config):
            return find(tree.x) + find(tree.k) + find(tree.fixed)
        if isinstance(tree, Frozen):
            return find(tree.x) + find(tree.k)
        if isinstance(tree, dict):
            return sum(map(find, tree.values()), mx.array(0.0))
        if isinstance(tree, (list, tuple)):
            return sum(map(find, tree), mx.array(0.0))
        return number(tree)

    guard(lambda *args: find(args), *map(wrap, values))


def test_numbers_of_all_kinds_as_keys():
    guard(
        lambda d: sum(number(k) * x.sum() for k, x in d.items()),
        *[({k: X},) for k in [1, True, 1.0, "1", None]],
    )


def test_kinds_of_containers():
    total = lambda t: number(type(t)) + X.sum()  # noqa: E731
    guard(
        total,
        ([X],),
        ((X,),),
        ({"x": X},),
        (Pair(X, 1),),
        (Other(X, 1),),
        (Config(X),),
        (Frozen(X),),
        (collections.OrderedDict(x=X),),
    )
    guard(lambda t: mx.array(float(len(t))), ([],), ([X],), ([X, X],), ([[X], X],), ([X, [X]],))
    guard(lambda t: mx.array(list(map(float, t))), ({"1": X, "2": X},), ({"2": X, "1": X},))
    guard(lambda x: mx.array(0.0) if x is None else x.sum(), (None,), (X,))
    guard(lambda x, y: x.sum() * (0.5 if y is None else 2.0), (X, None), (X, X))


def test_the_number_and_the_names_of_the_arguments():
    traces = []

    @mx.compile
    def f(*args, **kwargs):
        traces.append(1)
        return mx.array([float(len(args)), *(float(ord(k)) for k in kwargs)])

    assert f(X).tolist() == [1.0]
    assert f(X, X).tolist() == [2.0]
    assert f(X, a=X).tolist() == [1.0, 97.0]
    assert f(X, b=X).tolist() == [1.0, 98.0]
    assert f(X, a=X).tolist() == [1.0, 97.0]
    assert len(traces) == 4


def test_values_that_change_in_place_are_seen():
    """The object stays the same, what it holds does not."""

    class Plain:
        def __init__(self, k):
            self.k = k

        def scaled(self, x):
            return x * self.k

    class Slots:
        __slots__ = ("k",)

        def __init__(self, k):
            self.k = k

    def check(f, argument, change):
        compiled = mx.compile(f)
        assert compiled(X, argument).tolist() == f(X, argument).tolist()
        assert compiled(X, argument).tolist() == f(X, argument).tolist()
        assert mx.explain_retrace(compiled).startswith("traced 1 time")
        change()
        assert compiled(X, argument).tolist() == f(X, argument).tolist()
        assert compiled(X * 2, argument).tolist() == f(X * 2, argument).tolist()
        explained = mx.explain_retrace(compiled)
        assert explained.startswith("traced 2 times")
        assert "args[1]" in explained

    plain = Plain(2.0)
    check(lambda x, o: x * o.k, plain, lambda: setattr(plain, "k", 5.0))
    check(lambda x, o: x * len(o.__dict__), plain, lambda: setattr(plain, "other", 5.0))
    slots = Slots(2.0)
    check(lambda x, o: x * o.k, slots, lambda: setattr(slots, "k", 5.0))
    listed = Plain([1.0, [2.0]])
    check(lambda x, o: x * o.k[1][0], listed, lambda: listed.k[1].__setitem__(0, 5.0))
    keyed = Plain({"a": {"b": 2.0}})
    check(lambda x, o: x * o.k["a"]["b"], keyed, lambda: keyed.k["a"].update(b=5.0))
    some = Plain({1, 2})
    check(lambda x, o: x * len(o.k), some, lambda: some.k.add(3))
    table = Plain(np.array([1.0, 2.0]))
    check(lambda x, o: x * float(o.k[1]), table, lambda: table.k.__setitem__(1, 5.0))
    held = Plain(mx.array(2.0))
    check(lambda x, o: x * o.k, held, lambda: setattr(held, "k", mx.array(5.0)))
    grown = Plain(mx.array([2.0, 3.0]))
    check(lambda x, o: x * o.k, grown, lambda: grown.k.__setitem__(0, 5.0))
    nested = Plain(Plain(2.0))
    check(lambda x, o: x * o.k.k, nested, lambda: setattr(nested.k, "k", 5.0))
    method = Plain(2.0)
    check(lambda x, f: f(x), method.scaled, lambda: setattr(method, "k", 5.0))
    bound = Plain(2.0)
    check(lambda x, f: f(x), functools.partial(Plain.scaled, bound), lambda: setattr(bound, "k", 5.0))
    config = Config(1.0, fixed=[2.0])
    check(lambda x, c: x * c.fixed[0], config, lambda: config.fixed.__setitem__(0, 5.0))

    factor = 2.0

    def closure(x):
        return x * factor

    def change():
        nonlocal factor
        factor = 5.0

    check(lambda x, f: f(x), closure, change)


def test_objects_that_refer_to_themselves_and_large_ones():
    class Loop:
        def __init__(self):
            self.me, self.k = self, 2.0

    loop = Loop()
    f = mx.compile(lambda x, o: x * o.me.k)
    assert f(X, loop).tolist() == [2.0, -4.0]
    loop.k = 5.0
    assert f(X, loop).tolist() == [5.0, -10.0]
    assert f(X, loop).tolist() == [5.0, -10.0]
    assert mx.explain_retrace(f).startswith("traced 2 times")
    loop.much = list(range(100_000))
    # Too much to be remembered: traced each time, and right.
    assert f(X, loop).tolist() == [5.0, -10.0]
    loop.k = 3.0
    assert f(X, loop).tolist() == [3.0, -6.0]


def test_equal_objects_with_an_equality_of_their_own_share_a_trace():
    class Version:
        def __init__(self, n):
            self.n = n

        def __eq__(self, other):
            return self.n == other.n

        def __hash__(self):
            return hash(self.n)

    guard(lambda x, v: x * v.n, (X, Version(2)), (X, Version(3)))
    f = mx.compile(lambda x, v: x * v.n)
    f(X, Version(2)), f(X, Version(2))
    assert mx.explain_retrace(f).startswith("traced 1 time")


def test_functions_as_arguments():
    def scale(k):
        return lambda x: x * k

    guard(lambda x, f: f(x), (X, mx.sin), (X, mx.cos), (X, scale(2)), (X, scale(3)), (X, nn.relu))


def test_modes_and_settings_of_a_module():
    """Everything about a module that is no array: its mode, its attributes, those of modules in it."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = [nn.Linear(2, 2), nn.Dropout(0.5)]
            self.scale = 2.0
            self.act = nn.relu

        def __call__(self, x):
            h = self.layers[0](x) * self.scale + (10.0 if self.training else 20.0)
            h = h + (1.0 if self.layers[1].training else 2.0)
            return self.act(h)

    net = Net()
    forward = mx.compile(lambda net, x: net(x))

    def check(retraces):
        assert forward(net, X).tolist() == pytest.approx(net(X).tolist())
        forward(net, X)
        assert mx.explain_retrace(forward).startswith(f"traced {retraces} time"), mx.explain_retrace(forward)

    check(1)
    net.eval()
    check(2)
    net.layers[1].train()
    check(3)
    net.scale = 3.0
    check(4)
    net.act = nn.tanh
    check(5)
    net.layers[0].weight = net.layers[0].weight * 2
    check(5)
    net.freeze()
    net.unfreeze()
    net.layers.append(nn.ReLU())
    check(6)


def test_state_in_inputs_is_compared_as_arguments_are():
    state = {"w": X, "k": 2.0}
    f = mx.compile(lambda x: x * state["w"] * state["k"], inputs=state)
    assert f(X).tolist() == [2.0, 8.0]
    state["k"] = 3.0
    assert f(X).tolist() == [3.0, 12.0]
    state["w"] = X * 2
    assert f(X).tolist() == [6.0, 24.0]
    assert mx.explain_retrace(f).startswith("traced 2 times")


def test_what_can_not_be_compared_is_refused():
    f = mx.compile(lambda x, t: x)
    for value in [np.array([1.0]), {1, 2}, bytearray(b"a"), collections.deque()]:
        with pytest.raises(
            ValueError, match=r"\[compile\] args\[1\] is .*, which is neither an array nor hashable"
        ):
            f(X, value)


def test_static_parts_of_a_result_are_those_of_its_trace():
    f = mx.compile(lambda x, k: {"y": x * k, "k": k, "names": [str(k)] * k})
    for k in [1, 3, 1, 2, 3]:
        out = f(X, k)
        assert (out["k"], out["names"], out["y"].tolist()) == (k, [str(k)] * k, [k * 1.0, k * -2.0])


def test_checkpoint_and_custom_functions_hold_nothing_between_calls():
    """They have no cache: each call runs the function with its own static arguments."""
    f = mx.checkpoint(lambda x, k, mode=None: (x * k if mode is None else x + k).sum())
    for k in [2, 3, 2.0, 3.5, True]:
        assert mx.grad(f)(X, k).tolist() == [k, k]
        assert mx.grad(f)(X, k, mode="add").tolist() == [1, 1]

    @mx.custom_function
    def g(x, k):
        return x * k

    @g.vjp
    def _(primals, cotangent, output):
        _x, k = primals
        return cotangent * k * 10, None

    for k in [2, 3, 2.5]:
        assert mx.grad(lambda x, k=k: g(x, k).sum())(X).tolist() == [10 * k, 10 * k]


def test_vmap_reads_its_axes_at_each_call():
    f = mx.vmap(lambda x, k: x * k["a"], in_axes=(0, None))
    for k in [2.0, 3.0]:
        assert f(X, {"a": k}).tolist() == [k, -2 * k]


@pytest.mark.parametrize("seed", range(30))
def test_a_change_of_one_static_part_of_a_random_tree_never_meets_the_old_trace(seed):
    r = random.Random(seed)

    def tree(depth):
        kind = r.randrange(4 if depth == 0 else 10)
        if kind < 2:
            return mx.array(r.random())
        if kind < 4:
            return r.choice([1, 1.0, True, 0.0, -0.0, "a", "b", None, Color.RED, np.float32(2), (), 3j])
        parts = [tree(depth - 1) for _ in range(r.randrange(1, 4))]
        if kind < 6:
            return parts
        if kind < 7:
            return tuple(parts)
        if kind < 8:
            return {r.choice("abcde") + str(i): part for i, part in enumerate(parts)}
        if kind < 9:
            return Pair(parts[0], parts[-1])
        return Config(parts[0], parts[-1], fixed=r.choice([1, True, 1.0, "x"]))

    def digest(t):
        if isinstance(t, mx.array):
            return mx.sin(t)
        if isinstance(t, Config):
            parts, tag = [t.x, t.k, t.fixed], 3.0
        elif isinstance(t, dict):
            parts, tag = [part for item in t.items() for part in item], 5.0
        elif isinstance(t, (list, tuple)):
            parts, tag = list(t), 7.0 + number(type(t)).item()
        else:
            return number(t)
        out = mx.array(tag)
        for part in parts:
            out = mx.sin(out * 1.25 + digest(part)) + 0.125
        return out

    def changes(t):
        if isinstance(t, mx.array):
            yield 7
        elif isinstance(t, Config):
            yield from (Config(x, t.k, fixed=t.fixed) for x in changes(t.x))
            yield from (Config(t.x, k, fixed=t.fixed) for k in changes(t.k))
            yield Config(t.x, t.k, fixed="other")
        elif isinstance(t, dict):
            for key, value in t.items():
                yield from ({**t, key: c} for c in changes(value))
                yield {(k + "x" if k == key else k): v for k, v in t.items()}
        elif isinstance(t, Pair):
            yield from (Pair(x, t.k) for x in changes(t.x))
            yield from (Pair(t.x, k) for k in changes(t.k))
            yield Other(t.x, t.k)
        elif isinstance(t, (list, tuple)):
            for i, part in enumerate(t):
                yield from (type(t)([*t[:i], c, *t[i + 1 :]]) for c in changes(part))
            yield type(t)([*t, 1])
        elif t == 0 and isinstance(t, float):
            yield -t
        elif isinstance(t, (bool, int, float)):
            yield {bool: int, int: float, float: bool}[type(t)](t)
        else:
            yield "changed"

    first = [tree(3) for _ in range(3)]
    guard(digest, (first,), *[(c,) for c in list(changes(first))[:40]])
