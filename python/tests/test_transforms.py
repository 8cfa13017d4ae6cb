"""`vjp`, `jvp`, `vmap`, `stop_gradient`, and every way to nest them."""

import dataclasses
import doctest
import inspect
import math
from typing import NamedTuple

import covector.core as mx
import numpy as np
import pytest

a, b, c = mx.array(2.0), mx.array(3.0), mx.array(5.0)


def close(got, want):
    np.testing.assert_allclose(np.array(got), np.array(want), rtol=2e-5, atol=1e-6)


def cube(x):
    return x * x * x


# vjp and jvp


@pytest.mark.parametrize("sequence", [list, tuple])
def test_products(sequence):
    outs, vjps = mx.vjp(
        lambda x, y: (x * y, x + y), sequence([a, b]), sequence([mx.array(1.0), mx.array(10.0)])
    )
    assert [x.item() for x in outs] == [6.0, 5.0]
    assert [x.item() for x in vjps] == [13.0, 12.0]
    outs, jvps = mx.jvp(
        lambda x, y: [x * y, x + y], sequence([a, b]), sequence([mx.array(1.0), mx.array(10.0)])
    )
    assert isinstance(outs, list)
    assert [x.item() for x in outs] == [6.0, 5.0]
    assert [x.item() for x in jvps] == [23.0, 11.0]


def test_a_single_output_makes_a_list_of_one():
    outs, vjps = mx.vjp(mx.sin, [mx.array(0.0)], [a])
    assert [x.item() for x in outs] == [0.0]
    assert [x.item() for x in vjps] == [2.0]
    outs, jvps = mx.jvp(mx.sin, (mx.array(0.0),), (a,))
    assert [x.item() for x in outs] == [0.0]
    assert [x.item() for x in jvps] == [2.0]


def test_a_single_array_stands_for_a_list_of_one():
    assert mx.vjp(cube, a, mx.array(1.0))[1][0].item() == 12.0
    assert mx.jvp(cube, a, mx.array(1.0))[1][0].item() == 12.0


def test_products_of_trees():
    def f(p, x):
        return {"y": p["w"] * x, "z": [x]}

    one = mx.array(1.0)
    outs, vjps = mx.vjp(f, [{"w": a}, b], [{"y": one, "z": [c]}])
    assert outs[0]["y"].item() == 6.0
    assert vjps[0]["w"].item() == 3.0
    assert vjps[1].item() == 7.0
    _, jvps = mx.jvp(f, [{"w": a}, b], [{"w": one}, c])
    assert jvps[0]["y"].item() == 13.0
    assert jvps[0]["z"][0].item() == 5.0


def test_products_convert_what_loses_only_precision():
    x = mx.array([1.0, 2.0], mx.float16)
    _, (g,) = mx.vjp(lambda x: x * 2, [x], [mx.array([1.0, 1.0])])
    assert g.dtype == mx.float16
    _, (t,) = mx.jvp(lambda x: x * 2, [x], [mx.array([1.0, 1.0])])
    assert t.dtype == mx.float16


def test_integers_have_no_tangents():
    n = mx.array([1, 2])
    outs, (gx, gn) = mx.vjp(lambda x, n: (x * n, n), [mx.array([1.0, 1.0]), n], [mx.ones((2,)), n])
    assert gx.tolist() == [1.0, 2.0]
    assert gn.tolist() == [0, 0]
    assert outs[1].tolist() == [1, 2]


def rejects(kind, message, call):
    with pytest.raises(kind, match=message):
        call()
    assert mx.grad(cube)(a).item() == 12.0


def test_wrong_products():
    pair = mx.array([1.0, 2.0])
    rejects(ValueError, r"shape \(2,?\).*shape \(\)", lambda: mx.vjp(cube, [a], [pair]))
    rejects(ValueError, r"shape \(2,?\).*shape \(\)", lambda: mx.jvp(cube, [a], [pair]))
    rejects(ValueError, r"0 cotangent\(s\) were given for 1 output", lambda: mx.vjp(cube, [a], []))
    rejects(ValueError, r"2 cotangent\(s\) were given for 1 output", lambda: mx.vjp(cube, [a], [a, a]))
    rejects(ValueError, r"0 tangent\(s\) were given for 1 primal", lambda: mx.jvp(cube, [a], []))
    rejects(ValueError, "complex64", lambda: mx.vjp(cube, [a], [mx.array(1 + 1j)]))
    rejects(ValueError, "complex64", lambda: mx.jvp(cube, [a], [mx.array(1 + 1j)]))
    rejects(TypeError, r"cotangents\[0\] must be an array", lambda: mx.vjp(cube, [a], [1.0]))
    rejects(TypeError, r"primals\[0\] is a float", lambda: mx.vjp(cube, [1.0], [a]))
    rejects(TypeError, r"primals\[0\]\['w'\] is None", lambda: mx.jvp(cube, [{"w": None}], [a]))
    rejects(TypeError, "list or tuple of arrays, but a dict", lambda: mx.vjp(cube, {"x": a}, [a]))
    rejects(TypeError, "list or tuple of arrays, but a float", lambda: mx.jvp(cube, [a], 1.0))
    rejects(ValueError, "result is a float", lambda: mx.vjp(lambda x: 1.0, [a], [a]))
    rejects(ValueError, "result is None", lambda: mx.jvp(lambda x: None, [a], [a]))
    rejects(ValueError, "no arrays", lambda: mx.vjp(lambda x: [], [a], []))
    rejects(
        ValueError,
        r"cotangents\[0\] must be a dict with 1 keys",
        lambda: mx.vjp(lambda x: {"y": x}, [a], [a]),
    )
    rejects(TypeError, "takes a function", lambda: mx.vjp(a, [a], [a]))
    rejects(TypeError, "takes a function", lambda: mx.jvp(None, [a], [a]))


# vmap


def test_vmap_axes():
    x, y = mx.arange(6.0).reshape((2, 3)), mx.arange(3.0)
    assert mx.vmap(lambda r: r.sum())(x).tolist() == [3.0, 12.0]
    assert mx.vmap(lambda r: r.sum(), in_axes=1)(x).tolist() == [3.0, 5.0, 7.0]
    assert mx.vmap(lambda r: r.sum(), in_axes=-1)(x).tolist() == [3.0, 5.0, 7.0]
    assert mx.vmap(lambda r: r * 2, out_axes=1)(x).shape == (3, 2)
    assert mx.vmap(lambda r: r * 2, out_axes=-1)(x).shape == (3, 2)
    assert mx.vmap(lambda r, s: r + s, in_axes=(0, None))(x, y).tolist() == (x + y).tolist()
    assert mx.vmap(lambda r, s: r + s, in_axes=[0, None])(x, y).tolist() == (x + y).tolist()
    assert mx.vmap(lambda r, s: r * s, in_axes=(1, 0), out_axes=1)(x, y).tolist() == (x * y).tolist()


def test_vmap_trees_of_axes():
    tree = {"w": mx.arange(6.0).reshape((2, 3)), "b": mx.arange(3.0)}

    def f(p, x):
        return {"y": p["w"] * x + p["b"], "sum": (p["w"].sum(), x)}

    out = mx.vmap(f, in_axes=({"w": 0, "b": None}, None), out_axes={"y": 1, "sum": (0, None)})(tree, a)
    assert out["y"].tolist() == (tree["w"] * 2 + tree["b"]).T.tolist()
    assert out["sum"][0].tolist() == [3.0, 12.0]
    assert out["sum"][1].shape == ()
    # The axes of a single argument need no tuple around them.
    for axes in ({"w": 0, "b": None}, ({"w": 0, "b": None},)):
        assert mx.vmap(lambda p: p["w"] + p["b"], in_axes=axes)(tree).shape == (2, 3)
    out = mx.vmap(lambda p: Pair(p.y, p.x), in_axes=(0,))(Pair(mx.zeros((2, 3)), mx.zeros((2,))))
    assert type(out) is Pair
    assert out.x.shape == (2,)


class Pair(NamedTuple):
    x: mx.array
    y: mx.array


@dataclasses.dataclass
class Point:
    x: mx.array
    name: str = dataclasses.field(default="p", metadata={"static": True})


def test_vmap_passes_what_it_does_not_map():
    out = mx.vmap(lambda p, mode: Point(p.x * (2 if mode == "double" else 1), p.name), in_axes=(0, None))(
        Point(mx.array([1.0, 2.0]), "q"), "double"
    )
    assert out.x.tolist() == [2.0, 4.0]
    assert out.name == "q"


def test_vmap_repeats_what_does_not_depend_on_the_batch():
    x = mx.zeros((3, 2))
    assert mx.vmap(lambda r: a)(x).tolist() == [2.0] * 3
    assert mx.vmap(lambda r: a, out_axes=None)(x).shape == ()
    assert mx.vmap(lambda r: (r, None))(x)[1] is None


def test_wrong_vmap():
    x, y = mx.zeros((2, 3)), mx.zeros((3,))
    add = lambda x, y: x + y  # noqa: E731
    rejects(ValueError, r"(?s)2.*3", lambda: mx.vmap(add)(x, y))
    rejects(ValueError, "extent", lambda: mx.vmap(lambda t: t["x"])({"x": x, "y": y}))
    rejects(IndexError, "out of range", lambda: mx.vmap(cube, in_axes=2)(x))
    rejects(IndexError, "out of range", lambda: mx.vmap(cube)(a))
    rejects(IndexError, "out of range", lambda: mx.vmap(cube, in_axes=10**30)(x))
    rejects(IndexError, "out_axes", lambda: mx.vmap(cube, out_axes=3)(x))
    rejects(ValueError, "out_axes is None", lambda: mx.vmap(cube, out_axes=None)(x))
    rejects(ValueError, "in_axes must be an int or None", lambda: mx.vmap(cube, in_axes=1.0))
    rejects(
        ValueError,
        r"in_axes\['w'\] must be an int or None, but a str",
        lambda: mx.vmap(cube, in_axes={"w": "0"}),
    )
    rejects(ValueError, "an array was given", lambda: mx.vmap(cube, in_axes=a))
    rejects(ValueError, "out_axes must be an int or None", lambda: mx.vmap(cube, out_axes="0"))
    rejects(ValueError, "maps no argument", lambda: mx.vmap(cube, in_axes=None))
    rejects(ValueError, "maps no argument", lambda: mx.vmap(add, in_axes=(None, None)))
    rejects(
        ValueError, "must be an int, None, or a tuple of 2", lambda: mx.vmap(add, in_axes=(0, 0, 0))(x, x)
    )
    rejects(ValueError, "a dict with 1 keys", lambda: mx.vmap(lambda p: p["w"], in_axes={"v": 0})({"w": x}))
    rejects(
        ValueError, r"leaf\[0\]\['n'\] that is an int", lambda: mx.vmap(lambda p: p["x"])({"x": x, "n": 3})
    )
    rejects(ValueError, r"result\[1\] is a float", lambda: mx.vmap(lambda r: (r, 1.0))(x))
    rejects(TypeError, "functools.partial", lambda: mx.vmap(cube)(x=x))
    rejects(TypeError, "takes a function", lambda: mx.vmap(3))


@pytest.mark.parametrize(
    "read",
    [
        lambda x: x.item(),
        float,
        bool,
        lambda x: x.tolist(),
        mx.eval,
        str,
        np.array,
        lambda x: 1 if x > 0 else 2,
    ],
)
def test_values_cannot_be_read_inside_vmap(read):
    def f(x):
        read(x)
        return x

    rejects(ValueError, "vmap", lambda: mx.vmap(f)(mx.array([1.0, 2.0])))
    rejects(ValueError, "vmap", lambda: mx.grad(lambda y: mx.vmap(f)(y).sum())(mx.array([1.0, 2.0])))


# stop_gradient and depends


def test_stop_gradient():
    assert mx.grad(lambda x: mx.stop_gradient(x) * x)(a).item() == 2.0
    grads = mx.grad(lambda t: (lambda s: s["x"] * t["x"] + s["y"][0])(mx.stop_gradient(t)))(
        {"x": a, "y": [b]}
    )
    assert grads["x"].item() == 2.0
    assert grads["y"][0].item() == 0.0
    assert mx.jvp(lambda x: mx.stop_gradient(x) * x, [a], [c])[1][0].item() == 10.0
    assert mx.grad(mx.grad(lambda x: mx.stop_gradient(x) * x * x))(a).item() == 4.0
    for wrong in (3, 1.5, None, "s", [1.0]):
        with pytest.raises(TypeError, match="takes an array or a tree of arrays"):
            mx.stop_gradient(wrong)


def test_depends():
    assert mx.depends(a, b).item() == 2.0
    assert isinstance(mx.depends((a,), [b]), list)
    assert [x.item() for x in mx.depends([a, c], b)] == [2.0, 5.0]
    assert mx.grad(lambda x: mx.depends(x * x, b))(a).item() == 4.0
    with pytest.raises(TypeError, match="takes arrays"):
        mx.depends(a, 3)


# Nesting


def test_perturbations_are_not_confused():
    # d/dx [x · d/dy (x + y)] = 1, where a confused system says 2.
    assert mx.grad(lambda x: x * mx.grad(lambda y: x + y)(mx.array(1.0)))(mx.array(1.0)).item() == 1.0
    inner = lambda x: mx.jvp(lambda y: x * y, [mx.array(1.0)], [mx.array(1.0)])[1][0]  # noqa: E731
    assert mx.jvp(lambda x: x * inner(x), [a], [mx.array(1.0)])[1][0].item() == 4.0
    assert mx.grad(lambda x: x * inner(x))(a).item() == 4.0
    # Both levels differentiate what they should: d/dx (x · d/dy (x² y³) at y = x) = d/dx (3 x⁵) = 15 x⁴.
    f = lambda x: x * mx.grad(lambda y: x**2 * y**3)(x)  # noqa: E731
    assert mx.grad(f)(a).item() == 240.0
    # The three levels of d/dx d/dy d/dz (x y z · x) at (x, y, z) = (a, b, c): 2 x.
    deep = mx.grad(lambda x: mx.grad(lambda y: mx.grad(lambda z: x * y * z * x)(c))(b))
    assert deep(a).item() == 4.0
    # Inside vmap every example has its own.
    out = mx.vmap(lambda x: x * mx.grad(lambda y: x * y)(mx.array(1.0)))(mx.array([1.0, 2.0]))
    assert out.tolist() == [1.0, 4.0]


def test_higher_order():
    f, orders = mx.sin, [math.sin, math.cos, lambda x: -math.sin(x), lambda x: -math.cos(x)]
    x = mx.array(0.7)
    for order in range(6):
        close(f(x), orders[order % 4](0.7))
        f = mx.grad(f)
    assert mx.grad(mx.grad(mx.grad(cube)))(a).item() == 6.0


def test_every_pair_of_transforms():
    x, t = mx.array([0.3, 0.7, 1.1]), mx.array([1.0, -2.0, 0.5])
    f = lambda x: (mx.sin(x) * x).sum()  # noqa: E731
    gradient = np.sin(x) + np.array(x) * np.cos(x)
    second = 2 * np.cos(x) - np.array(x) * np.sin(x)
    close(mx.grad(f)(x), gradient)
    close(mx.grad(lambda x: (mx.grad(f)(x) * t).sum())(x), second * np.array(t))
    close(mx.jvp(mx.grad(f), [x], [t])[1][0], second * np.array(t))
    close(mx.vjp(mx.grad(f), [x], [t])[1][0], second * np.array(t))
    close(mx.grad(lambda x: mx.jvp(f, [x], [t])[1][0])(x), second * np.array(t))
    close(mx.jvp(lambda x: mx.jvp(f, [x], [t])[1][0], [x], [t])[1][0], (second * np.array(t) ** 2).sum())
    g = lambda x: mx.sin(x) * x  # noqa: E731
    close(mx.vmap(mx.grad(g))(x), gradient)
    close(mx.vmap(mx.value_and_grad(g))(x)[1], gradient)
    close(mx.grad(lambda x: mx.vmap(g)(x).sum())(x), gradient)
    close(mx.vmap(lambda x, t: mx.jvp(g, [x], [t])[1][0])(x, t), gradient * np.array(t))
    close(mx.jvp(mx.vmap(g), [x], [t])[1][0], gradient * np.array(t))
    close(mx.vmap(mx.grad(mx.grad(g)))(x), second)
    close(mx.vmap(lambda x, t: mx.jvp(mx.grad(g), [x], [t])[1][0])(x, t), second * np.array(t))
    outer = mx.vmap(mx.vmap(lambda x, y: x * y, in_axes=(None, 0)), in_axes=(0, None))(x, t)
    close(outer, np.outer(x, t))
    close(mx.grad(lambda x: mx.vmap(mx.grad(g))(x).sum())(x), second)
    close(mx.vmap(mx.vmap(mx.grad(g)))(x.reshape((3, 1))), gradient.reshape((3, 1)))


def test_per_example_gradients_of_a_tree():
    params = {"w": mx.array([[1.0], [2.0]]), "b": mx.array([0.5])}

    def loss(p, x, y):
        return (x @ p["w"] + p["b"] - y).square().sum(), "aux is an array too", x

    def arrays(p, x, y):
        value, _, x = loss(p, x, y)
        return value, x

    xs, ys = mx.array([[1.0, 2.0], [3.0, 4.0], [0.0, 1.0]]), mx.array([[5.0], [10.0], [1.0]])
    (values, same), grads = mx.vmap(mx.value_and_grad(arrays), in_axes=(None, 0, 0))(params, xs, ys)
    assert same.tolist() == xs.tolist()
    assert grads["w"].shape == (3, 2, 1)
    for i in range(3):
        value, grad = mx.value_and_grad(arrays)(params, xs[i], ys[i])
        close(values[i], value[0])
        close(grads["w"][i], grad["w"])
        close(grads["b"][i], grad["b"])
    with_names = mx.vmap(lambda x: mx.value_and_grad(lambda *, x: x * x, argnames="x")(x=x))(
        mx.array([1.0, 2.0])
    )
    assert with_names[1][0] is None
    assert with_names[1][1]["x"].tolist() == [2.0, 4.0]


def test_gradients_flow_through_what_vmap_captures():
    xs = mx.array([1.0, 2.0, 3.0])
    assert mx.grad(lambda w: mx.vmap(lambda x: x * w)(xs).sum())(a).item() == 6.0
    assert mx.vmap(lambda w: mx.vmap(lambda x: x * w)(xs))(mx.array([1.0, 2.0])).tolist() == [
        [1, 2, 3],
        [2, 4, 6],
    ]


@pytest.mark.parametrize(
    "name",
    [
        "check_grads",
        "checkpoint",
        "custom_function",
        "depends",
        "grad",
        "hessian",
        "hvp",
        "jacfwd",
        "jacrev",
        "jvp",
        "linearize",
        "stop_gradient",
        "value_and_grad",
        "value_and_jac",
        "vjp",
        "vmap",
    ],
)
def test_documentation(name):
    text = inspect.getdoc(getattr(mx, name))
    assert text, "every transform is documented"
    test = doctest.DocTestParser().get_doctest(text, {}, name, None, 0)
    result = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(test)
    assert result.failed == 0
