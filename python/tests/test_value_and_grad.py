"""`value_and_grad` and `grad`: what they promise, item by item."""

import dataclasses
import inspect
import threading
from collections import OrderedDict, defaultdict, namedtuple
from typing import NamedTuple

import covector.core as mx
import numpy as np
import pytest


def values(tree):
    """The tree with plain numbers in place of the arrays."""
    if isinstance(tree, mx.array):
        return tree.tolist()
    if isinstance(tree, dict):
        return {k: values(v) for k, v in tree.items()}
    if isinstance(tree, (list, tuple)):
        items = [values(v) for v in tree]
        return tuple(items) if isinstance(tree, tuple) else items
    return tree


def mse(params, inputs, targets):
    outputs = inputs @ params["w"] + params["b"]
    return (outputs - targets).square().mean()


# The two ways to return


def test_value_and_gradient_of_a_parameter_tree():
    params = {"w": mx.array([[1.0], [2.0]]), "b": mx.array([0.5])}
    inputs, targets = mx.array([[1.0, 2.0], [3.0, 4.0]]), mx.array([[5.0], [10.0]])
    value, grads = mx.value_and_grad(mse)(params, inputs, targets)
    assert value.shape == ()
    # The residuals are 0.5 and 1.5.
    assert value.item() == 1.25
    assert values(grads) == {"w": [[5.0], [7.0]], "b": [2.0]}


def test_aux_comes_back_as_it_is():
    marker = object()

    def lasso(params, inputs, targets, a=1.0, b=1.0):
        outputs = inputs @ params["w"] + params["b"]
        mse = (outputs - targets).square().mean()
        l1 = mx.abs(outputs - targets).mean()
        return a * mse + b * l1, mse, l1, marker, {"text": "x", "array": outputs}, None, 3

    params = {"w": mx.array([[1.0], [2.0]]), "b": mx.array([0.5])}
    inputs, targets = mx.array([[1.0, 2.0], [3.0, 4.0]]), mx.array([[5.0], [10.0]])
    (loss, mse, l1, same, tree, none, three), grads = mx.value_and_grad(lasso)(params, inputs, targets, b=2.0)
    assert loss.item() == mse.item() + 2 * l1.item() == 1.25 + 2.0
    assert same is marker
    assert tree["text"] == "x"
    assert (tree["array"] + 1).tolist() == [[6.5], [12.5]]
    assert none is None
    assert three == 3
    assert values(grads["b"]) == [4.0]


class Result(NamedTuple):
    loss: mx.array
    extra: str


def test_a_tuple_of_one_and_a_named_tuple_stay_what_they_are():
    value, grad = mx.value_and_grad(lambda x: (x * x,))(mx.array(3.0))
    assert isinstance(value, tuple)
    assert values(value) == (9.0,)
    assert grad.item() == 6.0
    value, _ = mx.value_and_grad(lambda x: Result(x * x, "e"))(mx.array(3.0))
    assert type(value) is Result
    assert value.extra == "e"


def test_aux_arrays_outlive_the_trace():
    kept = []

    def f(x):
        y = x * 2
        kept.append(y)
        return (y * y).sum(), y

    (_, aux), _ = mx.value_and_grad(f)(mx.array([1.0, 2.0]))
    assert (aux + kept[0]).tolist() == [4.0, 8.0]
    # They are ordinary arrays to a later transform.
    assert mx.grad(lambda z: (z * aux).sum())(mx.array([1.0, 1.0])).tolist() == [2.0, 4.0]


# argnums and argnames


def product(x, y, z=None):
    return x * y if z is None else x * y * z


a, b, c = mx.array(2.0), mx.array(3.0), mx.array(5.0)


@pytest.mark.parametrize(
    ("argnums", "argnames", "kwargs", "expected"),
    [
        (None, [], {}, 3.0),
        (0, [], {}, 3.0),
        (1, [], {}, 2.0),
        (True, [], {}, 2.0),
        (np.int64(1), [], {}, 2.0),
        ([0], [], {}, 3.0),
        ((1,), [], {}, 2.0),
        ([0, 1], [], {}, (3.0, 2.0)),
        ([1, 0], [], {}, (3.0, 2.0)),
        (range(2), [], {}, (3.0, 2.0)),
        (None, "z", {"z": c}, (None, {"z": 6.0})),
        (None, ["z"], {"z": c}, (None, {"z": 6.0})),
        (None, ("z", "z"), {"z": c}, (None, {"z": 6.0})),
        (1, "z", {"z": c}, (10.0, {"z": 6.0})),
        ([0, 1], ["z"], {"z": c}, ((15.0, 10.0), {"z": 6.0})),
        ([], ["z"], {"z": c}, (None, {"z": 6.0})),
    ],
)
def test_argnums_and_argnames(argnums, argnames, kwargs, expected):
    value, grads = mx.value_and_grad(product, argnums=argnums, argnames=argnames)(a, b, **kwargs)
    assert value.item() == (30.0 if kwargs else 6.0)
    assert values(grads) == expected
    assert values(mx.grad(product, argnums, argnames)(a, b, **kwargs)) == expected


def test_argnames_alone():
    value, (none, grads) = mx.value_and_grad(product, argnames=["y", "x"])(x=a, y=b)
    assert none is None
    assert list(grads) == ["y", "x"]
    assert values(grads) == {"x": 3.0, "y": 2.0}
    assert value.item() == 6.0


def test_other_arguments_pass_through_untouched():
    model, options = object(), {"scale": 3, "items": [None, "s"]}

    def f(x, m, n, *rest, mode, **more):
        assert m is model
        assert n is options
        assert rest == ("r", None)
        assert mode == "fast"
        assert more == {"k": 4}
        return x * n["scale"]

    assert mx.grad(f)(a, model, options, "r", None, mode="fast", k=4).item() == 3.0


# Trees

Pair = namedtuple("Pair", "w b")  # noqa: PYI024 - the old kind works too


@dataclasses.dataclass
class Layer:
    w: mx.array
    b: mx.array
    size: int = dataclasses.field(default=7, metadata={"static": True})


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    w: mx.array


class Bag(list):
    pass


class Names(dict):
    def __init__(self, owner, *args):
        super().__init__(*args)
        self.owner = owner


class Triple(tuple):
    __slots__ = ()


def test_nested_trees_keep_their_structure():
    tree = {"layers": [(mx.array(1.0), {"w": mx.array([2.0, 3.0])}), []], "empty": {}, 4: (mx.array(5.0),)}

    def f(t):
        assert list(t) == ["layers", "empty", 4]
        return t["layers"][0][0] * t["layers"][0][1]["w"].sum() + t[4][0] ** 2

    assert values(mx.grad(f)(tree)) == {"layers": [(5.0, {"w": [1.0, 1.0]}), []], "empty": {}, 4: (10.0,)}


def test_named_tuples():
    grads = mx.grad(lambda p: p.w * p.b)(Pair(a, b))
    assert type(grads) is Pair
    assert values(grads) == (3.0, 2.0)


def test_dataclasses():
    def f(layers):
        assert layers[0].size == 8
        assert type(layers[1]) is Frozen
        return layers[0].w * layers[0].b + layers[1].w ** 2

    given = [Layer(a, b, 8), Frozen(c)]
    grads = mx.grad(f)(given)
    assert type(grads[0]) is Layer
    assert (grads[0].w.item(), grads[0].b.item(), grads[0].size) == (3.0, 2.0, 8)
    assert type(grads[1]) is Frozen
    assert grads[1].w.item() == 10.0
    assert given[0].w is a


def test_subclasses_keep_working():
    default = defaultdict(list, w=a)
    grads = mx.grad(lambda d: d["w"] * len(d["new"]) + d["w"])(default)
    assert type(grads) is defaultdict
    assert grads["other"] == []
    assert default["new"] == []
    assert type(mx.grad(lambda d: d["w"] * 2)(OrderedDict(w=a))) is OrderedDict
    assert type(mx.grad(lambda d: d[0] * 2)(Bag([a]))) is Bag
    assert type(mx.grad(lambda d: d[0] * 2)(Triple([a]))) is Triple
    names = mx.grad(lambda d: d["w"] * (2 if d.owner == "me" else 3))(Names("me", {"w": a}))
    assert type(names) is Names
    assert names.owner == "me"
    assert names["w"].item() == 2.0


def test_the_same_array_twice_counts_twice():
    assert values(mx.grad(lambda t: t[0] * t[1] * t[0])([a, a])) == [8.0, 4.0]


def test_the_transform_changes_nothing_but_what_the_function_writes():
    params = {"w": mx.array([1.0, 2.0]), "layers": [mx.array(1.0)], "kept": mx.array(3.0)}
    layers, w, kept = params["layers"], params["w"], params["kept"]
    inner = []

    def f(p, x):
        assert p is not params
        p["w"] += 1.0
        p["new"] = p["w"] * 2
        p["layers"].append(p["w"])
        p["layers"][0] = p["layers"][0] * 3
        inner.append(p)
        return (p["w"] * x).sum() * p["layers"][0]

    grads = mx.grad(f)(params, mx.array([1.0, 1.0]))
    assert params["layers"] is layers
    assert params["kept"] is kept
    assert w.tolist() == [1.0, 2.0]
    assert values(params) == {"w": [2.0, 3.0], "layers": [3.0, [2.0, 3.0]], "kept": 3.0, "new": [4.0, 6.0]}
    assert list(grads) == ["w", "layers", "kept"]
    assert values(grads) == {"w": [3.0, 3.0], "layers": [15.0], "kept": 0.0}


# Values and types


def test_unused_arguments_have_zero_gradients():
    grads = mx.grad(lambda p: p["a"] * 2)({"a": a, "b": mx.ones((2, 3), mx.float16)})
    assert grads["b"].dtype == mx.float16
    assert grads["b"].tolist() == [[0.0] * 3] * 2
    assert mx.grad(lambda p: mx.array(1.0))(a).item() == 0.0


@pytest.mark.parametrize("dtype", [mx.float16, mx.bfloat16, mx.float32, mx.float64])
def test_a_gradient_has_the_type_of_its_argument(dtype):
    x = mx.array([1.0, 2.0], dtype)
    value, grad = mx.value_and_grad(lambda x: (x * x).sum())(x)
    assert value.dtype == grad.dtype == dtype
    assert grad.tolist() == [2.0, 4.0]
    mixed = mx.grad(lambda x: (x.astype(mx.float32) * 3.0).sum())(x)
    assert mixed.dtype == dtype


def test_complex_arguments():
    z = mx.array([1 + 2j, 3 - 1j])
    grad = mx.grad(lambda z: mx.abs(z).square().sum())(z)
    assert grad.dtype == mx.complex64
    np.testing.assert_allclose(np.array(grad), 2 * np.array(z), rtol=1e-6)


def test_captured_arrays_are_constants():
    assert mx.grad(lambda x: x * b)(a).item() == 3.0


def test_reading_values_does_not_cut_derivatives():
    def f(x):
        assert isinstance(x.item(), float)
        if x > 1:
            y = x * x
            mx.eval(y)
            assert float(y) == x.item() ** 2
            return y * x
        return x

    x = mx.array(2.0)
    assert mx.grad(f)(x).item() == 12.0
    assert mx.grad(mx.grad(f))(x).item() == 12.0
    assert mx.grad(mx.grad(mx.grad(f)))(x).item() == 6.0
    assert mx.jvp(mx.grad(f), [x], [mx.array(1.0)])[1][0].item() == 12.0
    assert mx.vjp(lambda x: mx.jvp(f, [x], [mx.array(1.0)])[1][0], [x], [mx.array(1.0)])[1][0].item() == 12.0


# The returned function


def test_it_has_the_name_and_signature_of_the_function():
    g = mx.value_and_grad(mse)
    assert g.__name__ == "mse"
    assert g.__qualname__ == "mse"
    assert g.__wrapped__ is mse
    assert g.__module__ == mse.__module__
    assert inspect.signature(g) == inspect.signature(mse)

    def documented(x):
        """What it does."""
        return x

    documented.extra = 3
    assert mx.grad(documented).__doc__ == "What it does."
    assert mx.grad(documented).extra == 3
    assert callable(g)
    assert "value_and_grad" in repr(g)
    with pytest.raises(AttributeError):
        g.no_such_attribute  # noqa: B018


def test_methods_and_callable_objects():
    class Model:
        scale = 3.0

        def loss(self, x, y):
            return x * y * self.scale

        def __call__(self, x):
            return x * self.scale

    model = Model()
    assert mx.grad(model.loss)(a, b).item() == 9.0
    assert mx.grad(model.loss, 1)(a, b).item() == 6.0
    assert mx.grad(model)(a).item() == 3.0
    assert mx.grad(Model.loss, 1)(model, a, b).item() == 9.0


def test_it_can_be_used_again_and_again():
    g = mx.value_and_grad(lambda x: x * x)
    assert [g(mx.array(float(i)))[1].item() for i in range(5)] == [0.0, 2.0, 4.0, 6.0, 8.0]


def test_recursive_use():
    def f(x, depth=3):
        return x * x if depth == 0 else x * mx.grad(f)(x, depth - 1)

    # f0 = x², f1 = 2x², f2 = 4x², …
    assert mx.grad(f)(mx.array(1.0)).item() == 16.0


def test_threads():
    g = mx.value_and_grad(lambda p: (p["x"] * p["x"]).sum())
    results = {}

    def work(i):
        for _ in range(50):
            results[i] = g({"x": mx.array([float(i), 1.0])})[1]["x"].tolist()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert results == {i: [2.0 * i, 2.0] for i in range(8)}


# Exceptions of the function


class Odd(Exception):
    pass


@pytest.mark.parametrize("kind", [Odd, ValueError, KeyboardInterrupt, SystemExit, StopIteration])
@pytest.mark.parametrize(
    "transform",
    [mx.grad, mx.value_and_grad, mx.vmap, mx.checkpoint, mx.custom_function, lambda f: mx.grad(mx.grad(f))],
)
def test_exceptions_propagate_unchanged(kind, transform):
    error = kind("mine")

    def bad(x):
        raise error

    with pytest.raises(kind) as caught:
        transform(bad)(mx.array([1.0]) if transform is mx.vmap else a)
    assert caught.value is error
    assert any(entry.name == "bad" for entry in caught.traceback)
    # And the next call is right.
    assert mx.grad(lambda x: x * x)(a).item() == 4.0
    mx.eval(mx.array([1.0]) + 1)


def test_exceptions_of_products():
    error = Odd("mine")

    def bad(x):
        raise error

    for call in (lambda: mx.vjp(bad, [a], [a]), lambda: mx.jvp(bad, [a], [a])):
        with pytest.raises(Odd) as caught:
            call()
        assert caught.value is error
