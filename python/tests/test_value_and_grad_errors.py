"""Every wrong use of `value_and_grad` and `grad` says what was received, where, and what to do."""

import dataclasses
import re

import covector.core as mx
import pytest

a, b = mx.array(2.0), mx.array(3.0)
BOTH = pytest.mark.parametrize("transform", [mx.value_and_grad, mx.grad])


def f(x, y):
    return x * y


@pytest.fixture(autouse=True)
def _still_usable():
    yield
    assert mx.grad(f)(a, b).item() == 3.0
    assert (a + b).item() == 5.0


# The return value


@BOTH
@pytest.mark.parametrize("shape", [(1,), (3,), (2, 2), (0,), (1, 1)])
def test_a_loss_that_is_no_scalar(transform, shape):
    with pytest.raises(ValueError, match=r"\.mean\(\) or \.sum\(\), or use vjp or jacrev") as caught:
        transform(lambda x: mx.zeros(shape) * x)(a)
    text = "(" + ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "") + ")"
    assert text in str(caught.value)


@BOTH
@pytest.mark.parametrize(
    ("result", "received"),
    [
        (1.5, "a float"),
        (3, "an int"),
        (None, "None"),
        ("text", "a str"),
        ([], "a list"),
        ([a], "a list"),
        ({"loss": a}, "a dict"),
        ((), "an empty tuple"),
        ((1.5, a), "a tuple whose first element is a float"),
        ((None,), "a tuple whose first element is None"),
        (([a],), "a tuple whose first element is a list"),
    ],
)
def test_a_loss_that_is_no_array(transform, result, received):
    with pytest.raises(ValueError, match=f"returned {received}; return"):
        transform(lambda x: result)(a)


def test_grad_takes_no_aux():
    with pytest.raises(ValueError, match="use value_and_grad"):
        mx.grad(lambda x: (x * x, "aux"))(a)


@BOTH
@pytest.mark.parametrize("dtype", [mx.int32, mx.bool_, mx.uint8, mx.complex64])
def test_a_loss_without_gradient(transform, dtype):
    with pytest.raises(ValueError, match="only a real floating-point loss has a gradient"):
        transform(lambda x: x.astype(dtype))(a)


# argnums and argnames, at construction


@BOTH
@pytest.mark.parametrize("argnums", [1.0, "0", [0, "1"], [0.5], None.__class__, a, [a], {}.items])
def test_argnums_of_the_wrong_type(transform, argnums):
    with pytest.raises(TypeError, match="argnums must be an int or a sequence of ints"):
        transform(f, argnums=argnums)


@BOTH
@pytest.mark.parametrize(
    ("argnums", "message"),
    [
        (-1, "negative position -1"),
        (10**30, "no function has as many"),
        ([0, -(10**30)], "no function has as many"),
        ([0, -2], "negative position -2"),
        ([0, 0], "argument 0 more than once"),
        ([1, 0, 1], "argument 1 more than once"),
        ([], "asks for no gradient"),
        (2, re.escape("argument 2, but the function has 2 positional parameter(s): it takes (x, y)")),
        ([0, 7], "argument 7"),
    ],
)
def test_wrong_argnums(transform, argnums, message):
    with pytest.raises(ValueError, match=message):
        transform(f, argnums=argnums)


@BOTH
@pytest.mark.parametrize("argnames", [3, [3], ["x", None], a, object()])
def test_argnames_of_the_wrong_type(transform, argnames):
    with pytest.raises(TypeError, match="argnames must be a str or a sequence of str"):
        transform(f, argnames=argnames)


@BOTH
def test_argnames_that_the_function_does_not_have(transform):
    with pytest.raises(
        ValueError, match=re.escape("'z', but the function has no such parameter: it takes (x, y)")
    ):
        transform(f, argnames=["x", "z"])
    transform(lambda x, **kw: x, argnames="z")


@BOTH
@pytest.mark.parametrize("fun", [3, None, "f", a])
def test_what_is_no_function(transform, fun):
    with pytest.raises(TypeError, match="takes a function"):
        transform(fun)


def test_methods_are_counted_without_self():
    class Model:
        def loss(self, x):
            return x

    with pytest.raises(ValueError, match="argument 1"):
        mx.grad(Model().loss, argnums=1)


# argnums and argnames, at the call


@BOTH
def test_an_argument_that_was_not_passed(transform):
    with pytest.raises(
        ValueError, match=r"argument 1, but the function was called with 1 positional argument"
    ):
        transform(f, argnums=1)(a, y=b)
    with pytest.raises(ValueError, match="argument 0, but the function was called with 0"):
        transform(f)(x=a, y=b)
    with pytest.raises(ValueError, match=r"argument 3.*called with 2"):
        transform(lambda *args: args[0], argnums=3)(a, b)


@BOTH
def test_an_argname_that_was_not_passed(transform):
    with pytest.raises(
        ValueError, match=r"'y', but the keyword arguments of the call are: none; pass it by keyword"
    ):
        transform(f, argnames="y")(a, b)
    with pytest.raises(ValueError, match=r"'z'.*are: x, y;"):
        transform(lambda **kw: kw["x"], argnames="z")(x=a, y=b)


# Leaves


@dataclasses.dataclass
class Layer:
    weight: object


@BOTH
@pytest.mark.parametrize(
    ("leaf", "what"),
    [
        (1.0, "a float"),
        (3, "an int"),
        (None, "None"),
        ("s", "a str"),
        (object(), "an object"),
        (len, "a builtin"),
    ],
)
def test_a_leaf_that_is_no_array(transform, leaf, what):
    def loss(params, x):
        return x

    good = {"weight": a}
    params = {"embed": a, "layers": [good, (good,), {"weight": leaf}]}
    with pytest.raises(ValueError, match=re.escape(f"params['layers'][2]['weight'] is {what}")):
        transform(loss)(params, a)
    with pytest.raises(ValueError, match=re.escape(f"params['layers'][2]['weight'] is {what}")):
        transform(loss, argnames="params")(params=params, x=a)
    with pytest.raises(ValueError, match=re.escape(f"x[0].weight is {what}")):
        transform(loss, argnums=(0, 1))(a, [Layer(leaf)])
    with pytest.raises(ValueError, match=f"params is {what}"):
        transform(loss)(leaf, a)
    with pytest.raises(ValueError, match=re.escape(f"argument 0[1] is {what}")):
        transform(lambda *args: a)([a, leaf])


@BOTH
@pytest.mark.parametrize("dtype", [mx.int32, mx.bool_, mx.uint8, mx.int64])
def test_a_leaf_without_gradient(transform, dtype):
    def loss(params, steps):
        return params["w"]

    bad = mx.ones((2,), dtype)
    name = str(dtype).rsplit(".", 1)[-1].rstrip("_")
    with pytest.raises(TypeError, match=re.escape(f"params['n'][1] is {name}")):
        transform(loss)({"w": a, "n": [b, bad]}, bad)
    with pytest.raises(TypeError, match=f"steps is {name}.*astype"):
        transform(loss, argnums=[0, 1])({"w": a}, bad)
    # Not asked for, not refused.
    assert transform(loss)({"w": a}, bad) is not None


@BOTH
@pytest.mark.parametrize("empty", [{}, [], (), {"a": [{}]}])
def test_a_tree_without_arrays(transform, empty):
    with pytest.raises(ValueError, match="has no arrays"):
        transform(lambda p: a)(empty)


@BOTH
def test_a_tree_that_contains_itself(transform):
    loop = [a]
    loop.append(loop)
    with pytest.raises(RecursionError, match="contain itself"):
        transform(lambda p: p[0])(loop)
    branching = {"a": a}
    branching["b"] = [branching, branching]
    with pytest.raises(RecursionError, match="contain itself"):
        transform(lambda p: p["a"])(branching)


def test_a_very_deep_tree():
    tree = a
    for _ in range(9_000):
        tree = [tree]

    def leaf(t):
        while isinstance(t, list):
            t = t[0]
        return t

    grads = mx.grad(lambda t: leaf(t) ** 2)(tree)
    assert leaf(grads).item() == 4.0


def test_operations_without_derivative_say_so():
    half = mx.array(2.0, mx.float16)
    with pytest.raises(ValueError, match=r"\[view\]"):
        mx.grad(lambda x: mx.view(x, mx.bfloat16) * 2)(half)
