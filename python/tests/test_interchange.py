"""Values to and from other libraries. What is written into an export is seen nowhere else, at no time."""

import array as arrays
import ctypes
import gc
import hashlib
import io

import covector.core as mx
import numpy as np
import pytest

try:
    import torch
except ImportError:
    torch = None

ml_dtypes = pytest.importorskip("ml_dtypes")
needs_torch = pytest.mark.skipif(torch is None, reason="PyTorch is not installed")

NAMES = ["bool_", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
NAMES += ["float16", "bfloat16", "float32", "float64", "complex64"]
WITH_NUMPY = [n for n in NAMES if n != "bfloat16"]


def layouts(dtype):
    """Arrays whose memory is shared, constant or strangely arranged, each made anew."""
    base = mx.array([[0, 1, 1], [1, 0, 1]]).astype(dtype)
    yield "zeros", lambda: mx.zeros((3, 4), dtype)
    yield "full", lambda: mx.full((5,), mx.array(1).astype(dtype))
    yield "literal", lambda: mx.array(1, dtype)
    yield "values", lambda: base + mx.zeros((1,), dtype)
    yield "the same node", lambda: mx.array(base)
    yield "broadcast", lambda: mx.broadcast_to(base[0], (4, 3))
    yield "transposed", lambda: base.T
    yield "slice", lambda: base[:, 1:]
    yield "backwards", lambda: base[::-1, ::-2]
    yield "row", lambda: base[0]
    yield "empty", lambda: mx.zeros((0, 3), dtype)
    yield "reshaped", lambda: base.reshape(3, 2)
    yield "parts", lambda: mx.split(mx.concatenate([base, base]), 2)[1]


def scribble(export):
    """Writes over everything in a NumPy array or a tensor."""
    export[...] = 0 if (export.reshape(-1) == 1).all() else 1


class Legacy:
    """An array for libraries from before DLPack had versions, and from such libraries."""

    def __init__(self, x):
        self.x = x

    def __dlpack__(self, *, stream=None):
        return self.x.__dlpack__(stream=stream)

    def __dlpack_device__(self):
        return self.x.__dlpack_device__()


def legacy(x):
    """The memory of a capsule without a version, which says nothing of writing; NumPy would rather not."""
    view = np.from_dlpack(Legacy(x))
    assert view.flags.c_contiguous
    memory = (ctypes.c_ubyte * view.nbytes).from_address(view.ctypes.data)
    memory.owner = view
    return np.frombuffer(memory, view.dtype).reshape(view.shape) if view.size else view.copy()


# Ways to memory that may be written in.
WRITABLE = {
    "numpy.array": np.array,
    "numpy.from_dlpack": np.from_dlpack,
    "numpy.from_dlpack, a copy": lambda x: np.from_dlpack(x, copy=True),
    "a legacy capsule": legacy,
}
if torch is not None:
    WRITABLE |= {
        "torch.from_dlpack": torch.from_dlpack,
        "torch.from_dlpack, a copy": lambda x: torch.from_dlpack(x, copy=True),
        "torch.from_dlpack of a capsule": lambda x: torch.from_dlpack(x.__dlpack__()),
        "torch.tensor": torch.tensor,
        "torch.as_tensor": torch.as_tensor,
    }


@pytest.mark.parametrize("dtype", NAMES)
@pytest.mark.parametrize("way", WRITABLE)
def test_writing_into_an_export_is_seen_nowhere(way, dtype):
    export = WRITABLE[way]
    if dtype == "bfloat16" and (
        "numpy" in way or "legacy" in way or way in ("torch.tensor", "torch.as_tensor")
    ):
        pytest.skip("NumPy has no bfloat16")
    if dtype in ("uint16", "uint32", "uint64") and "torch" in way:
        pytest.skip("PyTorch does next to nothing with these")
    for name, make in layouts(getattr(mx, dtype)):
        for ready in (False, True):
            x = make()
            if ready:
                mx.eval(x)
            twin, view = mx.array(x), x.reshape(-1)
            compiled = mx.compile(lambda x=x: x + mx.zeros((1,), x.dtype) if x.ndim else x)
            before = compiled().tolist()
            want = x.tolist()
            other = WRITABLE[way](x)
            out = export(x)
            assert tuple(out.shape) == x.shape
            assert out.tolist() == want, (name, ready)
            scribble(out)
            assert x.tolist() == twin.tolist() == want, (name, ready)
            assert view.tolist() == mx.array(want).reshape(-1).tolist()
            assert other.tolist() == want
            assert export(x).tolist() == want
            assert compiled().tolist() == before
            assert make().tolist() == want
            # What is computed from then on sees none of it, either.
            assert (x | x if x.dtype == mx.bool_ else x * 1).tolist() == want


def test_the_result_of_a_compiled_function_is_not_the_exports():
    f = mx.compile(lambda x: (mx.zeros((3,)), x, x[:2], mx.ones((4,)) * 2))
    x = mx.array([1.0, 2.0, 3.0])
    want = [a.tolist() for a in f(x)]
    for _ in range(3):
        results = f(x)
        for a in results:
            scribble(np.from_dlpack(a))
        assert [a.tolist() for a in results] == want
        assert [a.tolist() for a in f(x)] == want
        assert x.tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    "export", [np.from_dlpack, np.asarray, memoryview, np.array], ids=lambda f: f.__name__
)
def test_an_export_outlives_its_array(export):
    kept = []
    for i in range(20):
        x = mx.full((1000,), float(i)) + 1
        view = export(x)
        if i % 3 == 0:
            # The array is given other values in place.
            x += 100
            mx.eval(x)
        elif i % 3 == 1:
            x[:] = 7.0
            mx.eval(x)
        kept.append((i, view))
        del x
        gc.collect()
        mx.eval([mx.full((1000,), -1.0) * 3 for _ in range(5)])
    for i, view in kept:
        assert np.asarray(view).tolist() == [i + 1.0] * 1000


def test_an_export_gives_its_memory_back():
    before = mx.get_active_memory()
    for take in (
        np.from_dlpack,
        np.asarray,
        memoryview,
        lambda x: x.__dlpack__(max_version=(1, 0)),
        hashlib.sha256,
    ):
        x = mx.zeros((1 << 16,)) + 1
        taken = take(x)
        del x
        del taken
        gc.collect()
        assert mx.get_active_memory() <= before


def test_views_of_numpy_share_memory_read_only():
    x = mx.arange(6).reshape(2, 3)
    mx.eval(x)
    for make in (np.asarray, lambda x: np.asarray(memoryview(x)), lambda x: np.from_dlpack(x, copy=False)):
        view = make(x)
        assert np.shares_memory(view, np.asarray(x))
        assert not view.flags.writeable
        with pytest.raises(ValueError, match=r"WRITEABLE|writable|writeable"):
            view.flags.writeable = True


FORMATS = {"bool_": "?", "int8": "b", "int16": "h", "int32": "i", "uint8": "B", "uint16": "H", "uint32": "I"}
FORMATS |= {"float16": "e", "float32": "f", "float64": "d", "complex64": "Zf"}


@pytest.mark.parametrize("dtype", WITH_NUMPY)
def test_memoryview(dtype):
    for name, make in layouts(getattr(mx, dtype)):
        x = make()
        view = memoryview(x)
        assert view.readonly
        assert view.shape == x.shape
        assert view.itemsize == x.itemsize
        assert view.nbytes == x.nbytes
        assert view.format == FORMATS.get(dtype, view.format)
        there = np.asarray(view)
        assert there.dtype == np.dtype(dtype.rstrip("_"))
        assert there.tolist() == x.tolist(), name
        assert view.tobytes() == bytes(x), name
        again = mx.array(view)
        assert again.tolist() == x.tolist()
        assert again.dtype == (mx.float32 if dtype == "float64" else x.dtype)
        if dtype not in ("float16", "complex64"):
            assert view.tolist() == x.tolist()
        if x.size and x.ndim and dtype not in ("float16", "complex64"):
            with pytest.raises(TypeError):
                view[(0,) * x.ndim] = 0


def test_memoryview_of_bfloat16_says_what_to_do():
    x = mx.array([1.0, 2.0], mx.bfloat16)
    with pytest.raises(BufferError, match=r"float32.*view\(mx\.uint16\)"):
        memoryview(x)
    assert memoryview(x.view(mx.uint16)).tolist() == [0x3F80, 0x4000]


def test_plain_bytes_for_whoever_reads_them():
    x = mx.arange(6).reshape(2, 3).T
    wanted = np.ascontiguousarray(x).tobytes()
    file = io.BytesIO()
    file.write(x)
    assert file.getvalue() == wanted
    assert hashlib.sha256(x).digest() == hashlib.sha256(wanted).digest()
    assert np.frombuffer(mx.arange(3), np.int32).tolist() == [0, 1, 2]
    assert b"".join([mx.array([1, 2], mx.uint8)]) == b"\1\2"


def test_nothing_writes_into_an_arrays_buffer():
    x = mx.zeros((4,), mx.uint8)
    with pytest.raises((TypeError, BufferError)):
        io.BytesIO(b"1234").readinto(x)
    with pytest.raises((TypeError, BufferError)):
        (ctypes.c_ubyte * 4).from_buffer(x)


def test_a_tracer_has_no_buffer():
    for take in (memoryview, np.asarray, np.from_dlpack):
        with pytest.raises(Exception, match=r"vmap or compile"):
            mx.vmap(lambda x, take=take: mx.array(take(x)))(mx.zeros((2, 3)))


def test_dlpack_arguments():
    x = mx.array([1.0, 2.0])
    assert "dltensor_versioned" in repr(x.__dlpack__(max_version=(1, 0)))
    assert "dltensor_versioned" in repr(x.__dlpack__(max_version=(2, 3)))
    assert "dltensor_versioned" not in repr(x.__dlpack__())
    assert "dltensor_versioned" not in repr(x.__dlpack__(max_version=(0, 8), copy=True))
    assert x.__dlpack_device__() == (1, 0)
    x.__dlpack__(dl_device=(1, 0), stream=None)
    with pytest.raises(BufferError, match=r"\(2, 0\)"):
        x.__dlpack__(dl_device=(2, 0))
    with pytest.raises(BufferError, match="max_version"):
        x.__dlpack__(copy=False)
    with pytest.raises(TypeError):
        x.__dlpack__(nonsense=1)


STRANGE = {
    "transposed": lambda a: a.T,
    "backwards": lambda a: a[::-1, ::-1],
    "every other": lambda a: np.repeat(a, 2, axis=1)[:, ::2],
    "broadcast": lambda a: np.broadcast_to(a[0], (4, 3)),
    "read-only": lambda a: np.broadcast_to(a, a.shape),
    "swapped": lambda a: a.astype(a.dtype.newbyteorder(">")),
    "swapped and backwards": lambda a: a.astype(a.dtype.newbyteorder(">"))[::-1].T,
    "misaligned": lambda a: np.frombuffer(b"\0" + a.tobytes(), a.dtype, offset=1).reshape(a.shape),
    "a field": lambda a: np.rec.fromarrays([np.zeros((2, 3), np.uint8), a], names="p,q").q,
    "empty": lambda a: a[:0],
    "without axes": lambda a: a[0, 1].reshape(()),
}


@pytest.mark.parametrize("layout", STRANGE)
@pytest.mark.parametrize("dtype", [*WITH_NUMPY, "complex128", "longdouble", "clongdouble"])
def test_numpy_arrays_of_any_layout(dtype, layout):
    kind = np.dtype(dtype.rstrip("_"))
    values = np.array([[0, 1, 2], [3, 4, 5]]).astype(kind)
    if kind.kind == "c":
        values = values * (1 + 2j)
    source = np.asarray(STRANGE[layout](values))
    x = mx.array(source)
    narrow = {
        "float64": "float32",
        "longdouble": "float32",
        "complex128": "complex64",
        "clongdouble": "complex64",
    }
    assert str(x.dtype).endswith(narrow.get(dtype, dtype.rstrip("_")))
    assert x.shape == source.shape
    assert x.tolist() == source.tolist()
    if dtype not in ("longdouble", "clongdouble", "complex128", "complex64"):
        assert mx.array(source, getattr(mx, dtype)).tolist() == source.tolist()
        assert mx.array(source, mx.float16).tolist() == source.astype(float).tolist()
    if source.flags.writeable and source.size:
        source[...] = 1
        if values.size > 1 and x.size > 1:
            assert x.tolist() != source.tolist()


def test_a_changed_source_is_not_seen():
    for source in (np.zeros(3, np.float32), arrays.array("f", [0, 0, 0]), bytearray(12)):
        x = mx.array(source)
        before = x.tolist()
        source[0] = 1
        assert x.tolist() == before


class Tensor:
    """What another library may give as a DLPack capsule, by way of NumPy."""

    def __init__(self, x, device=(1, 0)):
        self.x, self.device = x, device

    def __dlpack__(self, **options):
        return self.x.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.device


@pytest.mark.parametrize("dtype", NAMES)
def test_dlpack_between_arrays(dtype):
    for name, make in layouts(getattr(mx, dtype)):
        x = make()
        for source in (Tensor(x), Legacy(x)):
            y = mx.array(source)
            assert y.tolist() == x.tolist(), name
            assert y.dtype == (mx.float32 if dtype == "float64" else x.dtype)
            assert (
                mx.array(source, mx.float64 if dtype != "complex64" else mx.complex64).tolist() == x.tolist()
            )
            assert mx.from_dlpack(source).tolist() == mx.asarray(source).tolist() == x.tolist()


def test_dlpack_of_numpy():
    values = np.arange(6.0).reshape(2, 3)
    for source in (values, values.T, values[::-1, ::2], values[:0], values.astype(complex), np.array(2.0)):
        assert mx.array(Tensor(source)).tolist() == source.tolist()
    read_only = np.broadcast_to(values[0], (2, 3))
    assert mx.array(Tensor(read_only)).tolist() == read_only.tolist()


def test_memory_out_of_reach_is_an_error_that_names_the_way():
    with pytest.raises(BufferError, match=r"\(2, 1\).*\.cpu\(\)"):
        mx.array(Tensor(mx.zeros(2), device=(2, 1)))


@needs_torch
@pytest.mark.parametrize("dtype", NAMES)
def test_tensors_of_any_layout(dtype):
    kind = getattr(torch, "bool" if dtype == "bool_" else dtype)
    t = torch.tensor([[0, 1, 1], [1, 0, 1]]).to(kind)
    for source in (t, t.T, t[:, 1:], t[:, ::2], t[0].expand(4, 3), t[:0], t[0, 1], t.reshape(3, 2)):
        x = mx.array(source)
        assert x.tolist() == source.tolist()
        assert str(x.dtype).endswith("float32" if dtype == "float64" else dtype.rstrip("_"))
    mine = mx.array([[0, 1], [1, 1]]).astype(getattr(mx, dtype))
    there = torch.from_dlpack(mine.T)
    assert there.dtype == kind
    assert there.tolist() == mine.T.tolist()


@needs_torch
def test_tensors_with_a_state():
    z = torch.tensor([1 + 2j, 3 - 1j])
    cases = [
        torch.ones(2, dtype=torch.bfloat16),
        torch.ones(2, requires_grad=True),
        torch.ones(2, requires_grad=True) * 2,
        torch.nn.Parameter(torch.ones(2, dtype=torch.bfloat16)),
        z.conj(),
        z.conj().imag,
        torch.tensor([1 + 2j], dtype=torch.complex128),
        torch.tensor([1 + 2j], requires_grad=True).conj(),
        z.to(torch.complex128).conj(),
    ]
    for t in cases:
        assert mx.array(t).tolist() == t.detach().resolve_conj().resolve_neg().tolist()
    with pytest.raises(ValueError, match=r"layout.*ordinary array"):
        mx.array(torch.eye(2).to_sparse())
    with pytest.raises(TypeError, match="float8_e4m3fn; convert"):
        mx.array(torch.ones(2, dtype=torch.float8_e4m3fn))
    t = torch.ones(3)
    x = mx.array(t)
    t[0] = 9
    assert x.tolist() == [1, 1, 1]


@needs_torch
def test_tensors_on_either_side_of_an_operator():
    x, t = mx.array([1.0, 2.0]), torch.tensor([3.0, 4.0])
    for f in (lambda a, b: a * b, lambda a, b: a - b, lambda a, b: a @ b, lambda a, b: a / b):
        ours = mx.array(t)
        for order in (lambda x, y, f=f: f(x, y), lambda x, y, f=f: f(y, x)):
            got, want = (mx.grad(lambda x, y=y, f=order: f(x, y).sum())(x) for y in (t, ours))
            assert got.tolist() == want.tolist()


@needs_torch
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("take", ["asarray", "frombuffer"])
def test_pytorch_may_keep_and_write_into_a_buffer_that_it_gave_back(take):
    x = mx.broadcast_to(mx.array(1.0), (1000,))
    t = torch.asarray(x) if take == "asarray" else torch.frombuffer(x, dtype=torch.float32)
    t[0] = 9
    assert x.tolist() == [1.0] * 1000
    file = io.BytesIO()
    file.write(x)
    assert np.frombuffer(file.getvalue(), np.float32).tolist() == [1.0] * 1000
    x += 1
    mx.eval(x, [mx.full((1000,), 5.0) * 2 for _ in range(20)])
    del x
    gc.collect()
    assert t.tolist() == [9.0] + [1.0] * 999
