"""`custom_function` and `checkpoint`."""

import functools

import covector.core as mx
import numpy as np
import pytest

a, b, c = mx.array(2.0), mx.array(3.0), mx.array(5.0)


def recorded(fun, **results):
    """A custom function whose rules record what they are given."""
    calls = {}
    custom = mx.custom_function(fun)
    for name, result in results.items():

        def rule(*args, name=name, result=result, **kwargs):
            calls[name] = (*args, kwargs) if kwargs else args
            return result(*args)

        assert getattr(custom, name)(rule) is custom
    return custom, calls


# What the rules are given


def test_a_single_argument_comes_alone():
    f, calls = recorded(
        lambda x: x * 2,
        vjp=lambda x, ct, y: ct * 10,
        jvp=lambda x, t: t * 100,
        vmap=lambda x, axis: (x * 3, axis),
    )
    assert f(a).item() == 4.0
    assert mx.grad(f)(a).item() == 10.0
    primal, cotangent, output = calls["vjp"]
    assert (primal.item(), cotangent.item(), output.item()) == (2.0, 1.0, 4.0)
    assert mx.jvp(f, [a], [b])[1][0].item() == 300.0
    assert [x.item() for x in calls["jvp"]] == [2.0, 3.0]
    assert mx.vmap(f)(mx.array([1.0, 2.0])).tolist() == [3.0, 6.0]
    assert calls["vmap"][1] == 0


def test_several_arguments_come_as_a_tuple():
    f, calls = recorded(
        lambda x, y: x * y,
        vjp=lambda primals, ct, y: (ct * 10, ct * 20),
        jvp=lambda primals, ts: primals[0] * 0 + sum(t for t in ts if t is not None),
        vmap=lambda xs, axes: (xs[0] * xs[1], axes[0]),
    )
    assert [g.item() for g in mx.grad(f, argnums=(0, 1))(a, b)] == [10.0, 20.0]
    assert isinstance(calls["vjp"][0], tuple)
    assert [x.item() for x in calls["vjp"][0]] == [2.0, 3.0]
    assert mx.jvp(lambda x: f(x, b), [a], [c])[1][0].item() == 5.0
    assert calls["jvp"][1][1] is None
    assert mx.vmap(f, in_axes=(0, None))(mx.array([1.0, 2.0]), b).tolist() == [3.0, 6.0]
    assert calls["vmap"][1] == (0, None)


def test_structures_are_those_of_the_user():
    f, calls = recorded(
        lambda d, n: (d["x"] * n, [d["y"]]),
        vjp=lambda primals, cts, outs: ({"x": cts[0] * 7, "y": None}, None),
    )
    grads = mx.grad(lambda d: f(d, 3)[0])({"x": a, "y": b})
    assert grads["x"].item() == 7.0
    assert grads["y"].item() == 0.0
    (d, n), cts, outs = calls["vjp"]
    assert (d["x"].item(), n) == (2.0, 3)
    assert (cts[0].item(), cts[1][0].item()) == (1.0, 0.0)
    assert (outs[0].item(), outs[1][0].item()) == (6.0, 3.0)


def test_keyword_arguments_reach_the_rules():
    f, calls = recorded(lambda x, k=1: x * k, vjp=lambda x, ct, y: ct * 10)
    assert f(a, k=4).item() == 8.0
    assert mx.grad(lambda x: f(x, k=4))(a).item() == 10.0
    assert calls["vjp"][3] == {"k": 4}


def test_as_in_the_documentation():
    @mx.custom_function
    def f(x, y):
        return mx.sin(x) * y

    @f.vjp
    def f_vjp(primals, cotangent, output):
        x, y = primals
        return cotangent * mx.cos(x) * y, cotangent * mx.sin(x)

    assert f_vjp is f
    assert mx.grad(f)(mx.array(0.0), b).item() == 3.0


# What follows from them


def steep():
    """x², whose rule claims ten times the derivative, so that one sees which rule was used."""
    f = mx.custom_function(lambda x: x * x)
    f.vjp(lambda x, ct, y: ct * 20 * x)
    return f


def test_without_rules_the_function_is_transformed():
    f = mx.custom_function(lambda x: x * x)
    assert mx.grad(f)(a).item() == 4.0
    assert mx.jvp(f, [a], [b])[1][0].item() == 12.0
    assert mx.vmap(f)(mx.array([1.0, 2.0])).tolist() == [1.0, 4.0]
    assert f.__wrapped__(b).item() == 9.0


def test_one_rule_serves_every_transform():
    f = steep()
    xs = mx.array([1.0, 2.0])
    assert mx.grad(f)(a).item() == 40.0
    assert mx.jvp(f, [a], [mx.array(1.0)])[1][0].item() == 40.0
    assert mx.vmap(mx.grad(f))(xs).tolist() == [20.0, 40.0]
    assert mx.grad(lambda xs: mx.vmap(f)(xs).sum())(xs).tolist() == [20.0, 40.0]
    assert mx.grad(mx.grad(f))(a).item() == 20.0
    assert mx.jvp(mx.grad(f), [a], [mx.array(1.0)])[1][0].item() == 20.0
    g = mx.custom_function(lambda x: x * x)
    g.jvp(lambda x, t: t * 20 * x)
    assert mx.grad(g)(a).item() == 40.0
    assert mx.vmap(mx.grad(g))(xs).tolist() == [20.0, 40.0]


def test_straight_through():
    @mx.custom_function
    def rounded(x):
        return mx.round(x)

    rounded.vjp(lambda x, ct, y: ct)
    x = mx.array([0.4, 1.6])
    value, grad = mx.value_and_grad(lambda x: (rounded(x) * x).sum())(x)
    np.testing.assert_allclose(value.item(), 3.2, rtol=1e-6)
    np.testing.assert_allclose(grad.tolist(), [0.4, 3.6], rtol=1e-6)


def test_decorating_a_method():
    class Model:
        @staticmethod
        @mx.custom_function
        def act(x):
            return x * 2

    assert mx.grad(Model.act)(a).item() == 2.0
    assert functools.partial(mx.custom_function(lambda x, y: x * y), y=b)(a).item() == 6.0


# What the rules do wrong


def test_captured_arrays_are_not_forgotten():
    def g(x, y):
        f = mx.custom_function(lambda x: x * y)
        f.vjp(lambda x, ct, out: ct * 10)
        return f(x)

    assert mx.grad(g)(a, b).item() == 10.0
    with pytest.raises(ValueError, match="pass it as an argument"):
        mx.grad(g, argnums=1)(a, b)


@pytest.mark.parametrize(
    ("result", "kind", "message"),
    [
        (lambda p, ct, y: ct, ValueError, "must be a tuple of 2, but an array was received"),
        (lambda p, ct, y: (ct,), ValueError, "must be a tuple of 2"),
        (lambda p, ct, y: (ct, 1.0), TypeError, "a float in place of array 1"),
        (lambda p, ct, y: (ct, mx.zeros((2,))), ValueError, r"shape|\(2"),
        (lambda p, ct, y: (ct, ct.astype(mx.float16)), ValueError, "float16"),
    ],
)
def test_wrong_vjp_rules(result, kind, message):
    f = mx.custom_function(lambda x, y: x * y)
    f.vjp(result)
    with pytest.raises(kind, match=message):
        mx.grad(f, argnums=(0, 1))(a, b)
    assert f(a, b).item() == 6.0


def test_other_wrong_rules():
    f = mx.custom_function(lambda x: (x, x))
    f.jvp(lambda x, t: t)
    with pytest.raises(ValueError, match="must be a tuple of 2"):
        mx.jvp(f, [a], [b])
    f.vmap(lambda x, axis: x)
    with pytest.raises(ValueError, match=r"must return \(outputs, axes\)"):
        mx.vmap(f)(mx.array([1.0]))
    with pytest.raises(TypeError, match="takes a function"):
        f.vjp(3)
    with pytest.raises(TypeError, match="takes a function"):
        mx.custom_function(None)


class Odd(Exception):
    pass


def test_exceptions_of_rules_propagate_unchanged():
    error = Odd("mine")

    def bad(*args):
        raise error

    f = mx.custom_function(lambda x: x * 2)
    f.vjp(bad).jvp(bad).vmap(bad)
    calls = [lambda: mx.grad(f)(a), lambda: mx.jvp(f, [a], [a]), lambda: mx.vmap(f)(mx.array([1.0]))]
    for call in calls:
        with pytest.raises(Odd) as caught:
            call()
        assert caught.value is error
    assert f(a).item() == 4.0


# checkpoint


def test_checkpoint_changes_no_result():
    def block(p, x, *, scale=1.0):
        h = mx.tanh(x @ p["w"]) * scale
        return {"h": h, "name": "block"}, (h * h).sum()

    p, x = {"w": mx.array([[0.1, 0.2], [0.3, 0.4]])}, mx.array([[1.0, 2.0]])

    def loss(f):
        return lambda p, x: f(p, x, scale=2.0)[1]

    plain, kept = mx.grad(loss(block), (0, 1))(p, x), mx.grad(loss(mx.checkpoint(block)), (0, 1))(p, x)
    np.testing.assert_allclose(np.array(plain[0]["w"]), np.array(kept[0]["w"]), rtol=1e-6)
    np.testing.assert_allclose(np.array(plain[1]), np.array(kept[1]), rtol=1e-6)
    tree, _ = mx.checkpoint(block)(p, x)
    assert tree["name"] == "block"
    assert mx.checkpoint(block).__name__ == "block"
    second = mx.grad(lambda x: mx.grad(lambda x: loss(mx.checkpoint(block))(p, x))(x).sum())(x)
    plain = mx.grad(lambda x: mx.grad(lambda x: loss(block)(p, x))(x).sum())(x)
    np.testing.assert_allclose(np.array(second), np.array(plain), rtol=1e-5)


def test_checkpoint_differentiates_what_is_captured():
    w = mx.array(3.0)
    assert mx.grad(lambda w: mx.checkpoint(lambda x: x * w * w)(a))(w).item() == 12.0
    assert mx.vmap(lambda x: mx.checkpoint(lambda x: x * w)(x))(mx.array([1.0, 2.0])).tolist() == [3.0, 6.0]
    assert mx.jvp(lambda w: mx.checkpoint(lambda x: x * w * w)(a), [w], [mx.array(1.0)])[1][0].item() == 12.0


def test_checkpoint_takes_a_function():
    with pytest.raises(TypeError, match="takes a function"):
        mx.checkpoint(3)
