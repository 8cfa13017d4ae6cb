"""``vmap``: forms of in_axes and out_axes, and random numbers without a key."""

import covector.core as mx
import pytest

M = mx.arange(12.0).reshape(3, 2, 2)


@pytest.mark.parametrize("out_axes", [0, (0,), [0]])
def test_one_result_may_have_its_axis_in_a_tuple(out_axes):
    got = mx.vmap(lambda x, y: x @ y, out_axes=out_axes)(M, M)
    assert mx.array_equal(got, M @ M).item()


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_the_axis_of_one_result(axis):
    want = mx.moveaxis(M @ M, 0, axis)
    for out_axes in (axis, (axis,), [axis]):
        assert mx.array_equal(mx.vmap(lambda x, y: x @ y, out_axes=out_axes)(M, M), want).item()
    for out_axes in ({"a": axis}, ({"a": axis},), axis, (axis,)):
        got = mx.vmap(lambda x, y: {"a": x @ y}, out_axes=out_axes)(M, M)
        assert mx.array_equal(got["a"], want).item()
    for out_axes in ([axis], (axis,), axis):
        (got,) = mx.vmap(lambda x, y: [x @ y], out_axes=out_axes)(M, M)
        assert mx.array_equal(got, want).item()


def test_the_axes_of_two_results():
    f = lambda x: (x, x + 1)  # noqa: E731
    for out_axes in ((0, 2), [0, 2]):
        a, b = mx.vmap(f, out_axes=out_axes)(M)
        assert mx.array_equal(a, M).item()
        assert mx.array_equal(b, mx.moveaxis(M + 1, 0, 2)).item()
    a, b = mx.vmap(f, out_axes=(1,))(M)
    assert mx.array_equal(a, mx.moveaxis(M, 0, 1)).item()
    assert mx.array_equal(b, mx.moveaxis(M + 1, 0, 1)).item()
    for out_axes in ((0, 0, 0), ((0, 1, 2),), {"a": 0}):
        with pytest.raises(ValueError, match="out_axes"):
            mx.vmap(f, out_axes=out_axes)(M)
    with pytest.raises(ValueError, match="out_axes"):
        mx.vmap(lambda x: x, out_axes=())(M)
    with pytest.raises(ValueError, match="depends on the batch"):
        mx.vmap(lambda x: x, out_axes=(None,))(M)


@pytest.mark.parametrize("in_axes", [(1,), [1], 1, ((1,),) * 1])
def test_one_argument_may_have_its_axis_in_a_tuple(in_axes):
    if in_axes == ((1,),):
        with pytest.raises(ValueError, match="in_axes"):
            mx.vmap(lambda x: x.sum(), in_axes=in_axes)(M)
        return
    assert mx.vmap(lambda x: x.sum(), in_axes=in_axes)(M).tolist() == M.sum(axis=(0, 2)).tolist()


def test_the_axes_of_two_arguments():
    want = M @ M[0]
    for in_axes in ((0, None), [0, None]):
        assert mx.array_equal(mx.vmap(lambda x, y: x @ y, in_axes=in_axes)(M, M[0]), want).item()
    for in_axes in ((0,), [0], (0, 0, 0)):
        with pytest.raises(ValueError, match="in_axes"):
            mx.vmap(lambda x, y: x @ y, in_axes=in_axes)(M, M)


DRAWS = {
    "normal": lambda: mx.random.normal((3,)),
    "uniform": lambda: mx.random.uniform(shape=(3,)),
    "bernoulli": lambda: mx.random.bernoulli(0.5, (64,)),
    "randint": lambda: mx.random.randint(0, 1 << 30, (3,)),
    "gumbel": lambda: mx.random.gumbel((3,)),
    "laplace": lambda: mx.random.laplace((3,)),
    "truncated_normal": lambda: mx.random.truncated_normal(-1.0, 1.0, (3,)),
    "categorical": lambda: mx.random.categorical(mx.zeros((64, 100))),
    "permutation": lambda: mx.random.permutation(20),
    "permutation of an array": lambda: mx.random.permutation(mx.arange(20.0)),
    "bits": lambda: mx.random.bits((3,)),
    "split": lambda: mx.random.split(mx.random.bits((2,))),
}


def rows(x):
    return {str(row) for row in x.tolist()}


@pytest.mark.parametrize("name", DRAWS)
def test_draws_without_a_key_are_shared_or_each_examples_own(name):
    draw = DRAWS[name]
    x = mx.zeros((5, 1))

    def f(x):
        return draw() + x.sum().astype(mx.int32).astype(mx.uint32) * 0

    mx.random.seed(3)
    once = draw()
    mx.random.seed(3)
    shared = mx.vmap(f)(x)
    assert rows(shared) == rows(mx.vmap(f, randomness="same")(x) * 0 + mx.stack([once] * 5))
    assert len(rows(shared)) == 1
    mx.random.seed(3)
    own = mx.vmap(f, randomness="different")(x)
    assert len(rows(own)) == 5
    assert own.shape == shared.shape
    assert own.dtype == shared.dtype
    mx.random.seed(3)
    assert rows(mx.vmap(f, randomness="different")(x)) == rows(own)
    # Compiled, inside and outside, and nested.
    compiled = mx.compile(mx.vmap(f, randomness="different"))
    mx.random.seed(3)
    first, second = compiled(x), compiled(x)
    assert rows(first) == rows(own)
    assert not rows(second) & rows(own)
    assert len(rows(mx.vmap(mx.compile(f), randomness="different")(x))) == 5
    pairs = mx.vmap(mx.vmap(f, randomness="different"), randomness="different")(mx.zeros((2, 3, 1)))
    assert len({str(r) for part in pairs.tolist() for r in part}) == 6
    with pytest.raises(ValueError, match=r"vmap.*key"):
        mx.vmap(f, randomness="error")(x)
    draw()


def test_each_example_has_a_gradient_with_its_own_noise():
    def loss(w):
        return (w * mx.random.normal((3,))).sum()

    x = mx.ones((4, 3))
    mx.random.seed(0)
    grads = mx.vmap(mx.grad(loss), randomness="different")(x)
    assert len(rows(grads)) == 4
    mx.random.seed(0)
    noise = mx.vmap(lambda w: mx.random.normal((3,)) + 0 * w, randomness="different")(x)
    assert grads.tolist() == noise.tolist()


def test_an_unknown_choice_is_an_error():
    with pytest.raises(ValueError, match="'same', 'different' or 'error'"):
        mx.vmap(lambda x: x, randomness="other")


def test_check_grads_takes_an_array():
    x = mx.array([0.5, 1.5], mx.float64)
    mx.check_grads(mx.sin, x)
    mx.check_grads(mx.sin, [x])
    mx.check_grads(lambda x, y: x * y, (x, x))
    with pytest.raises(AssertionError, match="check_grads"):
        mx.check_grads(lambda x: mx.stop_gradient(x) * 2 + x, x)
    for wrong in ({"w": x}, 1.0, None):
        with pytest.raises(TypeError, match="list of the arguments"):
            mx.check_grads(mx.sin, wrong)
