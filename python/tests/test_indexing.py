"""Reading, assigning and updating parts of arrays: NumPy's rules, checked against NumPy."""

import covector.core as mx
import numpy as np
import pytest


def pair(*shape):
    values = np.arange(int(np.prod(shape)), dtype=np.float32).reshape(shape)
    return mx.array(values), values


def both(index):
    """The same index for this library and for NumPy."""
    if isinstance(index, tuple):
        ours, theirs = zip(*map(both, index), strict=True) if index else ((), ())
        return tuple(ours), tuple(theirs)
    if isinstance(index, mx.array):
        return index, np.array(index)
    return index, index


def i32(*values):
    return mx.array(list(values), mx.int32)


INDICES = [
    0,
    -1,
    2,
    slice(None),
    slice(1, None),
    slice(None, None, -1),
    slice(None, 2, 2),
    slice(-100, 100, 3),
    slice(3, 0, -2),
    slice(2, 2),
    slice(10**30, None, -1),
    None,
    ...,
    (),
    (None, 1),
    (..., 0),
    (0, ...),
    (slice(None), 1),
    (1, slice(None), None),
    (..., None, -1),
    (0, 1, 2),
    (slice(None, None, 2), None, ..., 3),
    i32(0, 2),
    i32(-1, 0, 0),
    mx.array([[0, 1], [2, 0]]),
    mx.array(1),
    mx.array([], mx.int32),
    [0, 2],
    [],
    [[0], [2]],
    (i32(0, 2), i32(1, 1)),
    (slice(None), i32(0, 1)),
    (i32(0, 2), slice(None), i32(1, 3)),
    (0, slice(None), i32(0, 1)),
    (slice(None), 0, i32(0, 1)),
    (i32(0, 1), None, i32(2, 0)),
    ([[0], [2]], [1, 0]),
    (..., i32(3, -1)),
    (i32(0, 1), ..., 0),
    (mx.array([[0], [1]]), slice(1, 3), i32(0, 2)),
    (slice(None, None, -2), i32(2, 1, 0)),
    mx.array([True, False, True]),
    [False, True, True],
    (slice(None), mx.array([True, False, True])),
    (mx.array([True, False, True]), 0),
    mx.array([0, 1], mx.uint8),
    np.array([0, 2]),
    np.int64(1),
    np.array([True, True, False]),
]


@pytest.mark.parametrize("index", INDICES, ids=str)
def test_reading(index):
    x, values = pair(3, 3, 4)
    ours, theirs = both(index)
    if isinstance(theirs, list) and not theirs:
        theirs = np.array([], np.int32)
    out = x[ours]
    assert out.shape == values[theirs].shape
    np.testing.assert_array_equal(np.array(out), values[theirs])


@pytest.mark.parametrize("index", INDICES, ids=str)
def test_assigning(index):
    ours, theirs = both(index)
    if isinstance(theirs, list) and not theirs:
        theirs = np.array([], np.int32)
    part = pair(3, 3, 4)[1][theirs].shape
    for value in [
        5,
        np.full(part, 7, np.float32),
        np.arange(np.prod(part[-1:]), dtype=np.float32).reshape(part[-1:]),
    ]:
        x, values = pair(3, 3, 4)
        x[ours] = mx.array(value) if isinstance(value, np.ndarray) else value
        values[theirs] = value
        np.testing.assert_array_equal(np.array(x), values)


def random_index(rng, shape):
    """A random valid index: integers, slices, new axes, an ellipsis, integer arrays that broadcast."""
    parts = []
    wide = tuple(rng.integers(1, 3, rng.integers(0, 3)))
    axes = list(shape[: rng.integers(0, len(shape) + 1)])
    for n in axes:
        kind = rng.integers(0, 5)
        if kind == 0 and n:
            parts.append(int(rng.integers(-n, n)))
        elif kind == 1 and n:
            small = tuple(k if rng.random() < 0.6 else 1 for k in wide)
            parts.append(mx.array(rng.integers(-n, n, small), mx.int32))
        else:
            bound = lambda n=n: None if rng.random() < 0.3 else int(rng.integers(-n - 2, n + 3))  # noqa: E731
            step = int(rng.choice([-3, -2, -1, 1, 1, 2, 3]))
            parts.append(slice(bound(), bound(), None if step == 1 else step))
        if rng.random() < 0.15:
            parts.append(None)
    if rng.random() < 0.4:
        parts.append(...)
    return tuple(parts)


@pytest.mark.parametrize("seed", range(8))
def test_random_reads_and_writes_agree_with_numpy(seed):
    rng = np.random.default_rng(seed)
    for _ in range(120):
        shape = tuple(int(n) for n in rng.integers(0, 5, rng.integers(1, 5)))
        x, values = pair(*shape)
        if rng.random() < 0.3:
            x, values = x.T, values.T.copy()
        index = random_index(rng, values.shape)
        ours, theirs = both(index)
        expected = values[theirs]
        out = x[ours]
        assert out.shape == expected.shape, index
        np.testing.assert_array_equal(np.array(out), expected, err_msg=str(index))
        # Every element its own value, so that a permuted part shows; equal places get equal values.
        value = (expected * 2 + 1).astype(np.float32)
        x[ours] = mx.array(value)
        values[theirs] = value
        np.testing.assert_array_equal(np.array(x), values, err_msg=str(index))


@pytest.mark.parametrize(
    ("index", "error"),
    [
        (3, IndexError),
        (-4, IndexError),
        ((0, 0, 0), IndexError),
        (mx.array([0, 3]), IndexError),
        ([-4], IndexError),
        (mx.array([True, False]), IndexError),
        ((..., ...), (IndexError, ValueError)),
        (1.0, ValueError),
        ("a", ValueError),
        (True, ValueError),
        (range(2), ValueError),
        (slice(None, None, 0), ValueError),
        (slice(1.0, None), TypeError),
        (mx.array([0.5]), (IndexError, ValueError)),
        ([0.5], ValueError),
        ([0, None], ValueError),
    ],
    ids=str,
)
def test_bad_indices(index, error):
    x = mx.zeros((3, 2))
    with pytest.raises(error, match=r"\["):
        mx.eval(x[index])
    assert x.sum().item() == 0


def written(index):
    x = mx.zeros(3)
    x[index] = 1
    mx.eval(x)


def test_writing_out_of_bounds():
    for index in [3, -4, mx.array([5])]:
        with pytest.raises(IndexError, match="out of bounds"):
            written(index)


def test_a_value_keeps_the_arrays_type():
    x = mx.zeros(3, mx.int32)
    x[0] = 2.7
    x[1] = mx.array(-1.5)
    assert x.dtype == mx.int32
    assert x.tolist() == [2, -1, 0]
    h = mx.zeros(1, mx.float16)
    h[0] = 1e6
    assert h.item() == float("inf")
    f = mx.zeros(1)
    f[0] = 3 + 4j
    assert f.item() == 3
    for bad in (300, -1):
        u = mx.zeros(1, mx.uint8)
        with pytest.raises(ValueError, match="overflow"):
            u[0] = bad
        assert u.item() == 0


def test_values_that_do_not_fit():
    x = mx.zeros((2, 3))
    for index, value in [
        (0, mx.zeros(2)),
        (slice(None), mx.zeros((3, 3))),
        (mx.array([0, 1]), mx.zeros((3, 3))),
    ]:
        with pytest.raises(ValueError, match="does not fit"):
            x[index] = value
    with pytest.raises(TypeError, match="None"):
        x[0] = None
    with pytest.raises(ValueError, match="str"):
        x[0] = "a"
    assert x.tolist() == [[0, 0, 0], [0, 0, 0]]


def test_leading_axes_of_extent_1_of_a_value_are_dropped():
    x = mx.zeros(2)
    x[0] = mx.array([[7.0]])
    assert x.tolist() == [7, 0]


def test_assignment_and_aliases():
    a = mx.array([1, 2, 3])
    b, c, d = a, a[:2], a + 1
    a[0] = 9
    assert b.tolist() == [9, 2, 3]
    assert c.tolist() == [1, 2]
    assert d.tolist() == [2, 3, 4]
    m = mx.zeros((2, 2))
    m[0][1] = 5
    assert m.sum().item() == 0
    m[0] += 5
    assert m.tolist() == [[5, 5], [0, 0]]
    with pytest.raises(TypeError, match="cannot be deleted"):
        del m[0]


def test_masks():
    x, values = pair(3, 4)
    x[x > 5] = -1
    values[values > 5] = -1
    np.testing.assert_array_equal(np.array(x), values)
    x[mx.array([True, False, True])] = mx.array([10.0, 20.0, 30.0, 40.0])
    assert x[0].tolist() == x[2].tolist() == [10, 20, 30, 40]
    x[mx.array([True, False, False])] = mx.ones((1, 4))
    assert x[0].tolist() == [1, 1, 1, 1]
    y = mx.zeros(5)
    y[mx.array([True, False, True, False, True])] = mx.array([1.0, 2.0, 3.0])
    assert y.tolist() == [1, 0, 2, 0, 3]
    y[False] = 9
    assert y.tolist() == [1, 0, 2, 0, 3]
    y[True] = 9
    assert y.tolist() == [9] * 5
    with pytest.raises(IndexError, match="boolean"):
        y[mx.array([True, False])] = 1


def test_the_last_of_equal_indices_stays():
    x = mx.zeros(3)
    x[mx.array([0, 0, 1])] = mx.array([1.0, 2.0, 3.0])
    assert x.tolist() == [2, 3, 0]


@pytest.mark.parametrize(
    ("op", "expected"),
    [
        ("add", [14, 6, 8]),
        ("subtract", [-6, 2, 8]),
        ("multiply", [100, 8, 8]),
        ("divide", [0.16, 2, 8]),
        ("maximum", [5, 4, 8]),
        ("minimum", [4, 2, 8]),
    ],
)
def test_at_counts_every_index(op, expected):
    x = mx.array([4.0, 4.0, 8.0])
    out = getattr(x.at[mx.array([0, 0, 1])], op)(mx.array([5.0, 5.0, 2.0]))
    np.testing.assert_allclose(np.array(out), expected, rtol=1e-6)
    assert x.tolist() == [4, 4, 8]


def test_at_takes_any_index_and_keeps_the_type():
    x = mx.zeros((3, 4), mx.int32)
    assert x.at[1:, ::2].add(1.5).tolist() == [[0, 0, 0, 0], [1, 0, 1, 0], [1, 0, 1, 0]]
    assert x.at[..., None].add(1).shape == (3, 4)
    assert x.at[mx.array([True, False, True])].add(2).sum().item() == 16
    assert x.at[0][1].add(1)[1].tolist() == [1, 1, 1, 1]
    with pytest.raises(ValueError, match="indices"):
        x.at.add(1)
    with pytest.raises(AttributeError):
        x.at[0].power(2)


def test_indexing_differentiates_and_leaves_the_argument():
    def f(x):
        x[0] = 7.0
        x[1:] *= 2
        return (x * mx.array([1.0, 2.0, 3.0])).sum()

    x = mx.array([1.0, 2.0, 3.0])
    assert mx.grad(f)(x).tolist() == [0, 4, 6]
    assert x.tolist() == [1, 2, 3]
    assert mx.grad(lambda v: (x.at[mx.array([0, 0])].add(v)).sum())(mx.array(1.0)).item() == 2
    assert mx.grad(lambda v: v[mx.array([0, 0, 2])].sum())(x).tolist() == [2, 0, 1]


def test_masked_assignment_works_under_vmap():
    def clip(x):
        x = x * 1
        x[x < 0] = 0
        return x

    assert mx.vmap(clip)(mx.array([[-1.0, 2.0], [3.0, -4.0]])).tolist() == [[0, 2], [3, 0]]


def test_take():
    x, values = pair(3, 4)
    assert mx.take(x, 5).item() == 5
    assert mx.take(x, 1, axis=0).tolist() == values[1].tolist()
    index = mx.array([[0, -1], [2, 1]])
    np.testing.assert_array_equal(mx.take(x, index, axis=1), np.take(values, np.array(index), axis=1))
    np.testing.assert_array_equal(mx.take(x, index), np.take(values, np.array(index)))
    with pytest.raises(TypeError):
        mx.take(x, [0, 1])
    with pytest.raises(IndexError):
        mx.eval(mx.take(x, mx.array([4]), axis=1))


def test_take_and_put_along_axis():
    x, values = pair(3, 4)
    order = mx.argsort(-x, axis=1)
    theirs = np.array(order).astype(np.int64)
    np.testing.assert_array_equal(mx.take_along_axis(x, order, axis=1), np.take_along_axis(values, theirs, 1))
    np.testing.assert_array_equal(mx.take_along_axis(x, order), np.take_along_axis(values, theirs, -1))
    flat = mx.array([5, 0])
    assert mx.take_along_axis(x, flat, axis=None).tolist() == [5, 0]
    put = mx.put_along_axis(x, mx.array([[0], [1], [2]]), mx.array(9.0), axis=1)
    expected = values.copy()
    np.put_along_axis(expected, np.array([[0], [1], [2]]), 9.0, 1)
    np.testing.assert_array_equal(put, expected)
    out = mx.put_along_axis(x, mx.array([0, 11]), mx.array([5.0, 6.0]))
    assert (out[0, 0].item(), out[2, 3].item(), out.shape) == (5, 6, (3, 4))


def test_slice_and_slice_update():
    x, values = pair(4, 5)
    start = mx.array([1, 2])
    np.testing.assert_array_equal(mx.slice(x, start, (0, 1), (2, 3)), values[1:3, 2:5])
    np.testing.assert_array_equal(mx.slice(x, mx.array(1), [1], (4, 2)), values[:, 1:3])
    out = mx.slice_update(x, mx.zeros((2, 3)), start, (0, 1))
    values[1:3, 2:5] = 0
    np.testing.assert_array_equal(out, values)
    with pytest.raises(ValueError, match="outside"):
        mx.slice(x, mx.array([3]), [0], (2, 5))
    with pytest.raises(ValueError, match="extents"):
        mx.slice(x, mx.array([0]), [0], (2,))


def test_slices_at_places_known_only_later():
    x, values = pair(4, 5)
    starts = mx.array([[0, 1], [2, 0]])
    out = mx.vmap(lambda s: mx.slice(x, s, (0, 1), (2, 3)))(starts)
    np.testing.assert_array_equal(out, np.stack([values[0:2, 1:4], values[2:4, 0:3]]))
    out = mx.vmap(lambda s: mx.slice_update(x, mx.zeros((2, 3)), s, (0, 1)))(starts)
    for k, (i, j) in enumerate(starts.tolist()):
        expected = values.copy()
        expected[i : i + 2, j : j + 3] = 0
        np.testing.assert_array_equal(out[k], expected)
