"""Jacobians, Hessians, products with them, linear maps, and the check of gradients."""

import covector.core as mx
import numpy as np
import pytest

X = [0.5, -1.0, 2.0]


def close(got, want):
    np.testing.assert_allclose(np.array(got), np.array(want), rtol=1e-5, atol=1e-6)


def f(x):
    return mx.stack([x[0] * x[1], x[2] ** 2 + x[0]])


JACOBIAN = [[-1.0, 0.5, 0.0], [1.0, 0.0, 4.0]]
BOTH = pytest.mark.parametrize("jacobian", [mx.jacrev, mx.jacfwd])


@BOTH
def test_jacobians(jacobian):
    x = mx.array(X)
    close(jacobian(f)(x), JACOBIAN)
    assert jacobian(lambda x: x.reshape((3, 1)) * x)(x).shape == (3, 3, 3)
    assert jacobian(lambda x: x.sum())(x).tolist() == [1.0] * 3
    assert jacobian(lambda x: x)(mx.array(2.0)).shape == ()
    assert jacobian(lambda x: mx.zeros((0,)) + x[:0])(x).shape == (0, 3)
    assert jacobian(lambda x: mx.zeros((2,)) + x.sum())(mx.zeros((0,))).shape == (2, 0)


@BOTH
def test_jacobians_of_trees(jacobian):
    def g(p, k, s):
        return {"y": p["w"] * s, "z": (p["b"].sum() * 2,)}

    p = {"w": mx.array([1.0, 2.0]), "b": mx.array([3.0, 4.0, 5.0])}
    found = jacobian(g)(p, "k", s=mx.array(3.0))
    assert found["y"]["w"].tolist() == [[3.0, 0.0], [0.0, 3.0]]
    assert found["y"]["b"].tolist() == [[0.0] * 3] * 2
    assert found["z"][0]["b"].tolist() == [2.0] * 3
    both = jacobian(lambda x, y: x * y, argnums=(1, 0))(mx.array(2.0), mx.array(3.0))
    assert tuple(x.item() for x in both) == (2.0, 3.0)


@BOTH
def test_complex_jacobians(jacobian):
    z = mx.array([1 + 2j, 3 - 1j])
    found = np.array(jacobian(lambda z: z * z * (1 + 1j))(z))
    np.testing.assert_allclose(found, np.diag(2 * np.array(z) * (1 + 1j)), rtol=1e-5)
    with pytest.raises(TypeError, match="mixes real and complex"):
        jacobian(mx.abs)(z)


@BOTH
def test_jacobians_compose(jacobian):
    x = mx.array(X)
    close(mx.vmap(jacobian(mx.sin))(x), np.cos(X))
    close(mx.grad(lambda x: jacobian(f)(x).sum())(x), [1.0, 1.0, 2.0])
    close(jacobian(jacobian(mx.sin))(mx.array(0.5)), -np.sin(0.5))


def test_functions_run_once():
    runs = []

    def counted(x):
        runs.append(1)
        return x * x

    value, jacobian = mx.value_and_jac(counted)(mx.array(X))
    close(value, np.square(X))
    close(jacobian, np.diag(2 * np.array(X)))
    assert len(runs) == 1


def test_hessian():
    x = mx.array(X)
    close(mx.hessian(lambda x: (x**3).sum())(x), np.diag(6 * np.array(X)))
    found = mx.hessian(lambda p: p["x"] * p["y"] ** 2)({"x": mx.array(2.0), "y": mx.array(3.0)})
    assert [[found[i][j].item() for j in "xy"] for i in "xy"] == [[0.0, 6.0], [6.0, 4.0]]


def test_hvp():
    x, v = mx.array(X), mx.array([1.0, 2.0, -1.0])
    g = lambda x: (mx.sin(x) * x.sum()).sum()  # noqa: E731
    close(mx.hvp(g, [x], [v])[0], mx.hessian(g)(x) @ v)
    close(mx.hvp(g, x, v)[0], mx.hessian(g)(x) @ v)
    dx, dy = mx.hvp(lambda x, y: x * y * y, [mx.array(2.0), mx.array(3.0)], [mx.array(1.0), mx.array(1.0)])
    assert (dx.item(), dy.item()) == (6.0, 10.0)


def test_linearize():
    runs = []

    def counted(x, y):
        runs.append(1)
        return x * y, {"s": mx.sin(x)}

    x, y, one = mx.array(2.0), mx.array(3.0), mx.array(1.0)
    outs, f_jvp = mx.linearize(counted, [x, y])
    assert outs[0].item() == 6.0
    product, rest = f_jvp([one, mx.array(10.0)])
    assert product.item() == 23.0
    close(rest["s"], np.cos(2.0))
    assert f_jvp([one, one])[0].item() == 5.0
    assert len(runs) == 1
    assert mx.vmap(lambda t: f_jvp([t, t])[0])(mx.array([1.0, 2.0])).tolist() == [5.0, 10.0]
    assert mx.grad(lambda x: mx.linearize(lambda x: x * x * x, [x])[1]([one])[0])(x).item() == 12.0
    with pytest.raises(ValueError, match="1 tangent"):
        f_jvp([one])


def test_check_grads():
    x = mx.array(X, mx.float64)
    mx.check_grads(lambda x: mx.sin(x) * x, [x])
    mx.check_grads(lambda p, y: {"a": p["w"] * y, "n": mx.argmax(y)}, [{"w": x}, x * 2])
    mx.check_grads(mx.tanh, [mx.array(X)])
    wrong = mx.custom_function(mx.sin)
    wrong.vjp(lambda x, ct, y: ct)
    with pytest.raises(AssertionError, match="central difference"):
        mx.check_grads(wrong, [x])
    askew = mx.custom_function(mx.sin)
    askew.vjp(lambda x, ct, y: ct)
    askew.jvp(lambda x, t: t * mx.cos(x))
    with pytest.raises(AssertionError, match="vjp against jvp"):
        mx.check_grads(askew, [x])


@pytest.mark.parametrize("make", [mx.jacrev, mx.jacfwd, mx.hessian, mx.value_and_jac])
def test_wrong_uses(make):
    x = mx.array(X)
    with pytest.raises(TypeError, match="takes a function"):
        make(3)
    with pytest.raises(ValueError, match="argument 1"):
        make(f, argnums=1)(x)
    with pytest.raises(TypeError, match="argnums"):
        make(f, argnums=["x"])(x)
    with pytest.raises(TypeError, match=r"\['n'\] is .*int32"):
        make(lambda p: p["x"])({"x": x, "n": mx.array(1)})
    with pytest.raises(ValueError, match=r"\['n'\] is a float"):
        make(lambda p: p["x"])({"x": x, "n": 1.0})
    with pytest.raises(ValueError, match="result is a float"):
        make(lambda x: 1.0)(x)
    with pytest.raises(TypeError, match=r"result\[1\].*int32"):
        make(lambda x: (x, mx.array(1)))(x)
