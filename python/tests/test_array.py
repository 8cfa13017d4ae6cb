"""Making arrays, and what an array is to the rest of Python."""

import copy
import pickle
import sys
import threading
import weakref

import covector.core as mx
import numpy as np
import pytest

DTYPES = [
    mx.bool_,
    mx.uint8,
    mx.uint16,
    mx.uint32,
    mx.uint64,
    mx.int8,
    mx.int16,
    mx.int32,
    mx.int64,
    mx.float16,
    mx.bfloat16,
    mx.float32,
    mx.float64,
    mx.complex64,
]
WITH_NUMPY = [d for d in DTYPES if d != mx.bfloat16]


def name(dtype):
    return repr(dtype).split(".")[-1]


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (True, mx.bool_),
        (3, mx.int32),
        (2**31 - 1, mx.int32),
        (2**31, mx.int64),
        (-(2**31) - 1, mx.int64),
        (2**63, mx.uint64),
        (1.5, mx.float32),
        (1j, mx.complex64),
        ([True, 1], mx.int32),
        ([1, 2.0], mx.float32),
        ([2**40, 1.0], mx.float32),
        ([1, 2**40], mx.int64),
        ([1, 1j], mx.complex64),
        ([], mx.float32),
        ((1, 2), mx.int32),
        (np.float64(1), mx.float32),
        (np.float32(1), mx.float32),
        (np.float16(1), mx.float16),
        (np.int64(1), mx.int64),
        (np.array([1.0]), mx.float32),
        (np.array([1], np.uint16), mx.uint16),
        (np.array([1j]), mx.complex64),
        (b"ab", mx.uint8),
        ([np.float32(1), 2], mx.float32),
        ([mx.array([1], mx.int8), mx.array([1.0], mx.float16)], mx.float16),
    ],
)
def test_the_natural_type(value, dtype):
    assert mx.array(value).dtype == dtype


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        (1, ()),
        ([], (0,)),
        ([[]], (1, 0)),
        ([[], []], (2, 0)),
        ([[1, 2, 3], [4, 5, 6]], (2, 3)),
        ([((1,), (2,))], (1, 2, 1)),
        ([mx.zeros((2, 3)), mx.zeros((2, 3))], (2, 2, 3)),
        ([[mx.array(1), 2.0], [3, 4]], (2, 2)),
        (np.zeros((2, 0, 3)), (2, 0, 3)),
        (memoryview(bytearray(6)).cast("h"), (3,)),
    ],
)
def test_the_shape_of_nested_values(value, shape):
    assert mx.array(value).shape == shape


def _itself():
    loop = []
    loop.append(loop)
    return loop


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (None, TypeError),
        ("text", ValueError),
        ({"a": 1}, ValueError),
        (range(3), ValueError),
        (object(), ValueError),
        ([None], ValueError),
        (["a"], ValueError),
        ([1, [2]], ValueError),
        ([[1], 2], ValueError),
        ([[1, 2], [3]], ValueError),
        ([[], [1]], ValueError),
        ([[], 1], ValueError),
        ([mx.zeros(2), mx.zeros(3)], ValueError),
        (np.array(["a"]), ValueError),
        (2**64, ValueError),
        (_itself(), ValueError),
    ],
)
def test_what_makes_no_array(value, error):
    with pytest.raises(error, match=r"\["):
        mx.array(value)


@pytest.mark.parametrize("dtype", [float, "float32", np.float32, 3])
def test_only_dtypes_are_dtypes(dtype):
    with pytest.raises(TypeError, match="element type"):
        mx.array(1, dtype)
    with pytest.raises(TypeError, match="element type"):
        mx.array(1).astype(dtype)


def test_a_given_type_converts_as_c_does():
    assert mx.array(1.7, mx.int32).item() == 1
    assert mx.array(300, mx.uint8).item() == 44
    assert mx.array([-1, 2**40], mx.uint8).tolist() == [255, 0]
    assert mx.array([1.7, 0.0], mx.bool_).tolist() == [True, False]
    assert mx.array(1 + 2j, mx.float32).item() == 1.0
    assert mx.array(0.1, mx.float64).item() == 0.1
    assert mx.array([16777217.0], mx.int32).item() == 16777217
    assert mx.array(mx.array([1.5]), mx.int8).dtype == mx.int8


def test_constructing_agrees_with_numpy_on_random_nests():
    rng = np.random.default_rng(0)
    for _ in range(300):
        shape = tuple(rng.integers(0, 4, rng.integers(0, 5)))
        values = 100 * (rng.standard_normal(shape) + 1j * rng.standard_normal(shape))
        kind = rng.choice([np.bool_, np.int32, np.float32, np.complex64])
        values = np.asarray(values if kind is np.complex64 else values.real).astype(kind)
        ours = mx.array(values.tolist())
        # An axis of extent 0 hides those behind it, and its element type, in a list.
        if 0 in shape:
            assert ours.shape == shape[: shape.index(0) + 1]
            assert ours.dtype == mx.float32
        else:
            assert ours.shape == shape
            np.testing.assert_array_equal(np.array(ours), values)
            assert np.array(ours).dtype == values.dtype
            assert ours.tolist() == values.tolist()


@pytest.mark.parametrize("dtype", WITH_NUMPY, ids=name)
def test_numpy_round_trip_of_any_layout(dtype):
    base = np.arange(24).reshape(2, 3, 4).astype(np.array(mx.zeros(1, dtype)).dtype)
    big = base.astype(base.dtype.newbyteorder(">"))
    raw = np.zeros(24 * base.itemsize + 1, np.uint8)[1:].view(base.dtype)
    raw[:] = base.ravel()
    for view in [
        base,
        base.T,
        base[::-1, :, ::2],
        base[:, ::-1],
        base[0, 0, 0],
        base[:0],
        big,
        raw,
        np.broadcast_to(base[0], (5, 3, 4)),
        np.asfortranarray(base),
    ]:
        ours = mx.array(view, dtype)
        assert ours.dtype == dtype
        assert ours.shape == view.shape
        np.testing.assert_array_equal(np.array(ours), view)


def test_numpy_truth_values_need_not_be_0_and_1():
    assert mx.array(np.array([0, 2, 255], np.uint8).view(bool)).astype(mx.int32).tolist() == [0, 1, 1]


def test_values_from_numpy_are_copied():
    source = np.zeros(3, np.float32)
    ours = mx.array(source)
    source[:] = 1
    assert ours.tolist() == [0, 0, 0]


def test_values_to_numpy_are_shared_and_read_only():
    x = mx.arange(6).reshape(2, 3)
    view = np.asarray(x)
    assert not view.flags.writeable
    assert np.shares_memory(view, np.asarray(x))
    x[0, 0] = 7
    # The view keeps the values it was made of, and their memory, whatever happens to the array.
    assert view[0, 0] == 0
    del x
    np.testing.assert_array_equal(view, np.arange(6).reshape(2, 3))
    copied = np.array(mx.arange(3))
    copied[0] = 5
    assert copied[0] == 5


def test_numpy_converts_and_refuses_as_asked():
    x = mx.array([1.5, 2.5])
    assert np.asarray(x, dtype=np.float64).dtype == np.float64
    with pytest.raises(ValueError, match="copy"):
        np.asarray(x, dtype=np.float64, copy=False)
    with pytest.raises(ValueError, match="bfloat16"):
        np.array(mx.ones(2, mx.bfloat16))
    np.testing.assert_array_equal(np.asarray(x.T[::-1]), [2.5, 1.5])


def test_bfloat16_arrays_of_others():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    x = mx.array(np.array([1.5, -2.0], ml_dtypes.bfloat16))
    assert x.dtype == mx.bfloat16
    assert x.tolist() == [1.5, -2.0]


@pytest.mark.parametrize("dtype", WITH_NUMPY, ids=name)
def test_dlpack_round_trip(dtype):
    x = mx.array([[0, 1, 2], [3, 4, 5]]).astype(dtype)
    out = np.from_dlpack(x.T)
    np.testing.assert_array_equal(out, np.array(x).T)
    again = mx.from_dlpack(out)
    assert again.dtype == (mx.float32 if dtype == mx.float64 else dtype)
    assert again.tolist() == x.T.tolist()
    assert x.__dlpack_device__() == (1, 0)


def test_an_untaken_dlpack_capsule_frees_its_memory():
    before = mx.get_active_memory()
    x = mx.zeros((1 << 16,)) + 1
    mx.eval(x)
    capsule = x.__dlpack__()
    del x
    assert mx.get_active_memory() > before
    del capsule
    assert mx.get_active_memory() <= before


def test_from_dlpack_wants_dlpack():
    with pytest.raises(TypeError, match="DLPack"):
        mx.from_dlpack([1, 2])


def test_asarray_keeps_an_array_that_is_right():
    x = mx.zeros(3)
    assert mx.asarray(x) is x
    assert mx.asarray(x, mx.float32) is x
    assert mx.asarray(x, copy=True) is not x
    assert mx.asarray(x, mx.int8).dtype == mx.int8
    assert mx.asarray([1, 2]).tolist() == [1, 2]
    with pytest.raises(ValueError, match="copying"):
        mx.asarray([1, 2], copy=False)


@pytest.mark.parametrize("dtype", DTYPES, ids=name)
def test_items_are_python_numbers(dtype):
    x = mx.array([0, 1]).astype(dtype)
    kind = {"b": bool, "u": int, "i": int, "f": float, "c": complex}[name(dtype)[0]]
    if dtype == mx.bfloat16:
        kind = float
    assert type(x[1].item()) is kind
    assert x.tolist() == [kind(0), kind(1)]
    assert [type(v) for v in x.tolist()] == [kind, kind]
    assert x[1].tolist() == kind(1)


def test_item_needs_one_element():
    assert mx.array([[3.5]]).item() == 3.5
    with pytest.raises(ValueError, match="exactly one"):
        mx.zeros(2).item()


def test_tolist_of_empty_arrays():
    assert mx.zeros((0,)).tolist() == []
    assert mx.zeros((2, 0, 3)).tolist() == [[], []]


def test_numbers_from_arrays():
    assert float(mx.array([1.5])) == 1.5
    assert int(mx.array(2.7)) == 2
    assert complex(mx.array(1j)) == 1j
    assert [10, 20, 30][mx.array(1)] == 20
    assert bool(mx.array(0)) is False
    assert bool(mx.array([[2.0]])) is True
    for x in [mx.array(1.0), mx.array([1])]:
        with pytest.raises(TypeError, match="indices"):
            range(x)
    for x in [mx.zeros(2), mx.zeros((0,))]:
        with pytest.raises(ValueError, match="ambiguous"):
            bool(x)


def test_len_and_iteration():
    x = mx.arange(6).reshape(3, 2)
    assert len(x) == 3
    assert [row.tolist() for row in x] == [[0, 1], [2, 3], [4, 5]]
    assert list(mx.zeros((0, 2))) == []
    first, *_ = x
    assert first.tolist() == [0, 1]
    for bad in (len, iter):
        with pytest.raises(TypeError, match="zero-dimensional"):
            bad(mx.array(1))


def test_an_iterator_goes_over_what_the_array_was():
    x = mx.arange(3)
    rows = iter(x)
    x[1] = 9
    assert [r.item() for r in rows] == [0, 1, 2]


def test_properties():
    x = mx.zeros((2, 3, 4), mx.float16)
    assert (x.shape, x.ndim, x.size, x.itemsize, x.nbytes) == ((2, 3, 4), 3, 24, 2, 48)
    assert x.T.shape == (4, 3, 2)
    assert x.mT.shape == (2, 4, 3)
    z = mx.array([1 + 2j])
    assert z.real.item() == 1
    assert z.imag.item() == 2
    assert z.real.dtype == mx.float32
    with pytest.raises(ValueError, match="matrices"):
        _ = mx.zeros(3).mT


@pytest.mark.parametrize("dtype", DTYPES, ids=name)
def test_pickling_and_copying(dtype):
    x = mx.array([[0, 1, 2], [3, 4, 5]]).astype(dtype).T
    for y in (pickle.loads(pickle.dumps(x)), copy.copy(x), copy.deepcopy(x)):
        assert y is not x
        assert y.dtype == dtype
        assert y.tolist() == x.tolist()
    assert pickle.loads(pickle.dumps(dtype)) is dtype


def test_a_copy_does_not_see_changes():
    x = mx.zeros(2)
    y, z = copy.copy(x), copy.deepcopy([x])[0]
    x[0] = 1
    assert y.tolist() == z.tolist() == [0, 0]


def test_bytes():
    assert bytes(mx.array([1, 256], mx.uint16)) == np.array([1, 256], np.uint16).tobytes()
    assert bytes(mx.arange(6).reshape(2, 3).T) == np.arange(6, dtype=np.int32).reshape(2, 3).T.tobytes()


def test_arrays_are_hashed_by_identity_and_weakly_referenced():
    x, y = mx.zeros(2), mx.zeros(2)
    assert hash(x) == hash(x) != hash(y)
    assert {x: 1}[x] == 1
    ref = weakref.ref(x)
    assert ref() is x
    del x
    assert ref() is None


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (mx.array([1.0, 2.5, -0.0]), "array([1, 2.5, -0], dtype=float32)"),
        (mx.array(True), "array(True, dtype=bool)"),
        (mx.array([0.1, 1 / 3, 1e-5]), "array([0.1, 0.333333, 1e-05], dtype=float32)"),
        (mx.array([1e10, 123456.0, 1234567.0]), "array([1e+10, 123456, 1.23457e+06], dtype=float32)"),
        (mx.array([float("nan"), float("-inf")]), "array([nan, -inf], dtype=float32)"),
        (mx.array([1 + 2j, 0.5 - 1.5j]), "array([1+2j, 0.5-1.5j], dtype=complex64)"),
        (mx.arange(7), "array([0, 1, 2, ..., 4, 5, 6], dtype=int32)"),
        (mx.array([[0, 1], [10, 11]]), "array([[0, 1],\n       [10, 11]], dtype=int32)"),
        (mx.zeros((0, 3)), "array([], dtype=float32)"),
        (mx.array([0.1], mx.float16), "array([0.0999756], dtype=float16)"),
    ],
)
def test_printing(x, text):
    assert repr(x) == str(x) == f"{x}" == text


def test_printing_long_axes():
    text = str(mx.arange(64).reshape(8, 8))
    assert text.count("\n") == 6
    assert "       ...,\n" in text
    assert text.startswith("array([[0, 1, 2, ..., 5, 6, 7],\n       [8, ")


def test_format():
    assert f"{mx.array(3.14159):.2f}" == "3.14"
    assert f"{mx.array([7]):03d}" == "007"
    with pytest.raises(TypeError, match="one number"):
        format(mx.zeros(2), ".2f")


def test_print_options():
    x = mx.array([3.14159, 100000.5])
    with mx.printoptions(precision=2):
        assert str(x) == "array([3.14, 100000.50], dtype=float32)"
        assert mx.get_printoptions().precision == 2
        with mx.printoptions(precision=0):
            assert str(x) == "array([3, 100000], dtype=float32)"
        assert mx.get_printoptions().precision == 2
    assert mx.get_printoptions().precision == -1
    with pytest.raises(ValueError, match="precision"):
        mx.set_printoptions(precision=-2)


def test_dunder_mlx_array_is_honoured():
    class Wrapped:
        def __mlx_array__(self):
            return mx.array([1.0, 2.0])

    assert (mx.ones(2) + Wrapped()).tolist() == [2, 3]
    assert mx.exp(Wrapped()).shape == (2,)
    assert mx.sum(Wrapped()).item() == 3


def test_eval_walks_trees_and_ignores_the_rest():
    a, b, c = mx.ones(2) + 1, mx.ones(2) * 3, mx.ones(2) - 1
    mx.eval(a, {"b": [b, (c, None, 3, "text")]}, object())
    mx.async_eval([a, b])
    mx.eval()
    assert (a.tolist(), b.tolist(), c.tolist()) == ([2, 2], [3, 3], [0, 0])
    with pytest.raises(RecursionError, match="contain itself"):
        mx.eval(_itself())


def test_evaluating_leaves_other_threads_running():
    x = mx.random.normal((1500, 1500))
    mx.eval(x)
    ticks, done = [], threading.Event()

    def count():
        while not done.is_set():
            ticks.append(1)
            done.wait(0.0005)

    thread = threading.Thread(target=count)
    thread.start()
    y = x
    for _ in range(4):
        y = y @ x * 1e-3
    before = len(ticks)
    mx.eval(y)
    during = len(ticks) - before
    done.set()
    thread.join()
    assert during > 2


def test_arrays_are_usable_from_many_threads():
    x = mx.arange(1000).astype(mx.float32)
    out = [None] * 8

    def work(k):
        y = x
        for _ in range(200):
            y = y + k
        out[k] = y.sum().item()

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert out == [499500.0 + 1000 * 200 * k for k in range(8)]


def test_objects_do_not_leak():
    x = mx.ones(4)
    calls = (
        lambda: x + 1,
        lambda: x[0],
        lambda: x.sum(),
        lambda: mx.exp(x),
        lambda: x.tolist(),
        lambda: np.asarray(x),
        lambda: mx.array([1.0, 2.0]),
        lambda: x.shape,
        lambda: 2 * x,
    )
    for f in calls:
        for _ in range(50):
            f()
        before = sys.getrefcount(x), mx.get_active_memory()
        for _ in range(200):
            f()
        assert (sys.getrefcount(x), mx.get_active_memory()) == before


def test_memory_functions():
    mx.reset_peak_memory()
    base = mx.get_active_memory()
    x = mx.ones((1 << 18,)) * 2
    mx.eval(x)
    assert mx.get_active_memory() - base >= 1 << 20
    assert mx.get_peak_memory() >= mx.get_active_memory()
    del x
    mx.clear_cache()
    assert mx.get_cache_memory() == 0


def test_devices_and_streams():
    assert mx.default_device() == mx.Device(mx.cpu)
    assert repr(mx.default_device()) == "Device(cpu, 0)"
    mx.set_default_device(mx.cpu)
    assert mx.is_available(mx.cpu)
    assert not mx.is_available(mx.gpu)
    with pytest.raises(ValueError, match="not available"):
        mx.set_default_device(mx.gpu)
    with mx.stream(mx.cpu):
        assert mx.add(1, 2, stream=mx.cpu).item() == 3
    with mx.stream(mx.new_stream(mx.cpu)):
        assert mx.sum(mx.ones(3), stream=mx.default_stream(mx.cpu)).item() == 3
    mx.synchronize()
    assert mx.exp(mx.zeros(1), stream=None).item() == 1


def test_random_state_is_a_sequence_of_one_key():
    mx.random.seed(7)
    assert len(mx.random.state) == 1
    assert mx.random.state[0].tolist() == mx.random.key(7).tolist()
    a = mx.random.uniform(shape=(3,))
    mx.random.state = [mx.random.key(7)]
    assert mx.random.uniform(shape=(3,)).tolist() == a.tolist()
    with pytest.raises(IndexError, match="one key"):
        mx.random.state[1]
    for bad in (-1, 2**64, 1.5, None):
        with pytest.raises(TypeError, match="seed"):
            mx.random.seed(bad)
