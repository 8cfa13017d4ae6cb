"""What ``stubs.py`` cannot read off the native module: types of functions written by hand, and classes."""

from __future__ import annotations

HEADER = """\
# Written by python/tools/stubs.py from the native module; run it again instead of editing this file.

import enum
import os
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Protocol, TypeAlias

class _SupportsDLPack(Protocol):
    def __dlpack__(self, *args: Any, **kwargs: Any) -> Any: ...
    def __dlpack_device__(self, *args: Any, **kwargs: Any) -> Any: ...

class _SupportsArray(Protocol):
    def __array__(self, *args: Any, **kwargs: Any) -> Any: ...

class _SupportsWrite(Protocol):
    def write(self, text: str, /) -> Any: ...

_Number: TypeAlias = bool | int | float | complex
_Value: TypeAlias = _Number | array | _SupportsArray
_Axes: TypeAlias = int | Sequence[int] | None
_Stream: TypeAlias = Stream | Device | DeviceType | None
_AnyDevice: TypeAlias = Device | DeviceType
_Function: TypeAlias = Callable[..., Any]
"""

# What a parameter of a function written by hand takes, by its name.
PARAMETERS = {
    "a": "array",
    "allow_col_major": "bool",
    "argnames": "str | Sequence[str]",
    "argnums": "int | Sequence[int] | None",
    "args": "Any",
    "arys": "_Value",
    "axes": "Sequence[int]",
    "axis": "int",
    "b": "array",
    "bytes": "bytes",
    "constant_values": "_Value | None",
    "copy": "bool | None",
    "device": "_AnyDevice",
    "device_type": "_AnyDevice",
    "dtype": "Dtype | None",
    "endpoint": "bool",
    "flip": "bool",
    "fun": "_Function",
    "groups": "int",
    "indexing": "str | None",
    "indices_or_sections": "int | Sequence[int]",
    "input": "array",
    "input_dilation": "int | Sequence[int]",
    "k": "int",
    "kernel_dilation": "int | Sequence[int]",
    "key": "array | None",
    "limit": "int",
    "mode": "str",
    "n": "int",
    "name": "str",
    "offset": "int",
    "pad_width": "int | Sequence[int] | Sequence[Sequence[int]]",
    "padding": "int | Sequence[int] | tuple[Sequence[int], Sequence[int]]",
    "precision": "int",
    "scale": "_Value | None",
    "seed": "int",
    "shape": "int | Sequence[int]",
    "shapeless": "bool",
    "shapes": "Sequence[int]",
    "shift": "int | Sequence[int]",
    "slice_size": "Sequence[int]",
    "sparse": "bool | None",
    "start_indices": "array",
    "stream": "_Stream",
    "stride": "int | Sequence[int]",
    "subscripts": "str",
    "update": "array",
    "vals": "_Value",
    "weight": "array",
}

# Parameters whose meaning depends on the function.
SPECIAL = {
    ("nn", "init_layer_normal", "dims"): "int",
    ("nn", "init_layer_uniform", "inputs"): "int",
    ("", "value_and_jac", "argnums"): "int | Sequence[int]",
    ("", "jacrev", "argnums"): "int | Sequence[int]",
    ("", "jacfwd", "argnums"): "int | Sequence[int]",
    ("", "hessian", "argnums"): "int | Sequence[int]",
    ("", "check_grads", "atol"): "float | None",
    ("", "check_grads", "eps"): "float | None",
    ("", "check_grads", "rtol"): "float | None",
    ("_random", "permutation", "x"): "int | array",
    ("_random", "_set_state", "key"): "array",
    ("_fast", "rope", "a"): "array",
    ("", "_restore", "dtype"): "Dtype",
    ("", "arange", "start"): "float | None",
    ("", "arange", "step"): "float | None",
    ("", "arange", "stop"): "float | None",
    ("", "asarray", "a"): "Any",
    ("", "broadcast_arrays", "arrays"): "array",
    ("", "can_cast", "from_"): "array | Dtype",
    ("", "can_cast", "to"): "Dtype",
    ("", "default_stream", "device"): "_AnyDevice",
    ("", "einsum", "operands"): "array",
    ("", "einsum_path", "operands"): "array",
    ("", "export_to_dot", "file"): "str | os.PathLike[str] | _SupportsWrite",
    ("", "from_dlpack", "x"): "_SupportsDLPack",
    ("", "graph_text", "arrays"): "Any",
    ("", "isdtype", "dtype"): "Dtype",
    ("", "isdtype", "kind"): "Dtype | str | tuple[Dtype | str, ...]",
    ("", "issubdtype", "arg1"): "Dtype | DtypeCategory",
    ("", "issubdtype", "arg2"): "Dtype | DtypeCategory",
    ("", "linspace", "num"): "int | None",
    ("", "linspace", "start"): "float",
    ("", "linspace", "stop"): "float",
    ("", "meshgrid", "arrays"): "array",
    ("", "plan_text", "arrays"): "Any",
    ("", "result_type", "arrays_and_dtypes"): "array | Dtype",
    ("", "set_default_stream", "stream"): "Stream",
    ("", "roll", "axis"): "_Axes",
    ("", "stop_gradient", "a"): "_Value",
    ("", "take", "axis"): "int | None",
    ("", "take", "indices"): "int | array",
    ("", "tensordot", "axes"): "int | Sequence[int | Sequence[int]] | None",
}

RETURNS = {
    "_dtype": "Dtype",
    "_set_state": "None",
    "async_eval": "None",
    "atleast_1d": "array | list[array]",
    "atleast_2d": "array | list[array]",
    "atleast_3d": "array | list[array]",
    "broadcast_arrays": "list[array]",
    "broadcast_shapes": "tuple[int, ...]",
    "can_cast": "bool",
    "checkpoint": "_Function",
    "clear_cache": "None",
    "compile": "_Function",
    "default_device": "Device",
    "default_stream": "Stream",
    "check_grads": "None",
    "depends": "Any",
    "device_count": "int",
    "disable_compile": "None",
    "einsum_path": "tuple[list[tuple[int, ...]], str]",
    "enable_compile": "None",
    "eval": "None",
    "explain_retrace": "str",
    "export_to_dot": "None",
    "get_active_memory": "int",
    "get_cache_memory": "int",
    "get_memory_limit": "int",
    "get_num_threads": "int",
    "get_peak_memory": "int",
    "get_printoptions": "PrintOptions",
    "grad": "_Function",
    "graph_text": "str",
    "hessian": "_Function",
    "hvp": "list[Any]",
    "is_available": "bool",
    "isdtype": "bool",
    "issubdtype": "bool",
    "jacfwd": "_Function",
    "jacrev": "_Function",
    "jvp": "tuple[list[array], list[array]]",
    "linearize": "Any",
    "meshgrid": "tuple[array, ...]",
    "new_stream": "Stream",
    "plan_text": "str",
    "reset_peak_memory": "None",
    "result_type": "Dtype",
    "seed": "None",
    "set_cache_limit": "int",
    "set_default_device": "None",
    "set_default_stream": "None",
    "set_memory_limit": "int",
    "set_num_threads": "None",
    "set_printoptions": "None",
    "set_wired_limit": "int",
    "split": "list[array]",
    "stop_gradient": "Any",
    "synchronize": "None",
    "value_and_grad": "_Function",
    "value_and_jac": "_Function",
    "vjp": "tuple[list[array], list[array]]",
    "vmap": "_Function",
}

# What a parameter of the native `fast` takes, by its name.
FAST_PARAMETERS = {
    "base": "float | None",
    "dims": "int",
    "force_fused": "bool",
    "freqs": "array | None",
    "k": "array",
    "logits": "array",
    "mask": "str | array | None",
    "offset": "int | array",
    "q": "array",
    "scale": "float",
    "sinks": "array | None",
    "stream": "_Stream",
    "targets": "array",
    "traditional": "bool",
    "v": "array",
}

# What a parameter of the native `nn` takes, by its name.
NN_PARAMETERS = {
    "alpha": "Any",
    "anchors": "array",
    "axis": "int",
    "bias": "array | None",
    "cell": "array | None",
    "cos_first": "bool",
    "delta": "float",
    "dims": "int",
    "dtype": "Dtype",
    "eps": "float",
    "frequencies": "array",
    "full": "bool",
    "full_turns": "bool",
    "gain": "float",
    "hidden": "array | None",
    "high": "float",
    "inputs": "array",
    "inputs1": "array",
    "inputs2": "array",
    "key": "array | None",
    "keys": "array",
    "label_smoothing": "float",
    "lambd": "float",
    "logits": "array",
    "low": "float",
    "margin": "float",
    "mask": "str | array | None",
    "max_freq": "float",
    "mean": "float",
    "min_freq": "float",
    "mode": "str",
    "negatives": "array",
    "nonlinearity": "_Function",
    "num_heads": "int",
    "num_keys": "int",
    "num_queries": "int",
    "offset": "int",
    "padding": "Sequence[int]",
    "positives": "array",
    "predictions": "array",
    "queries": "array",
    "reduction": "str",
    "scale": "float",
    "shape": "Sequence[int]",
    "state_bias": "array | None",
    "std": "float",
    "stride": "Sequence[int]",
    "targets": "array",
    "threshold": "float",
    "value": "float",
    "values": "array",
    "vars": "array",
    "weights": "array | None",
    "wh": "array",
    "window": "Sequence[int]",
    "with_logits": "bool",
    "wx": "array",
    "x": "array",
    "x1": "array",
    "x2": "array",
}

# Functions of the native `nn` that give something else than an array.
NN_OTHERS = {
    "activation_rows",
    "clip_grad_norm",
    "cosine_decay",
    "count",
    "exponential_decay",
    "join_schedules",
    "linear_schedule",
    "lstm",
    "eval_soon",
    "optimizer_rows",
    "step_decay",
}

ARITHMETIC = [
    "add",
    "sub",
    "mul",
    "truediv",
    "floordiv",
    "mod",
    "matmul",
    "and",
    "or",
    "xor",
    "lshift",
    "rshift",
]

ARRAY = """\
class array:
    def __init__(self, val: Any, dtype: Dtype | None = None) -> None: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def ndim(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def dtype(self) -> Dtype: ...
    @property
    def itemsize(self) -> int: ...
    @property
    def nbytes(self) -> int: ...
    @property
    def T(self) -> array: ...
    @property
    def mT(self) -> array: ...
    @property
    def real(self) -> array: ...
    @property
    def imag(self) -> array: ...
    @property
    def at(self) -> ArrayAt: ...
    def item(self) -> Any: ...
    def tolist(self) -> Any: ...
    def reshape(self, *shape: int | Sequence[int], stream: _Stream = None) -> array: ...
    def transpose(self, *axes: int | Sequence[int] | None, stream: _Stream = None) -> array: ...
    def __len__(self) -> int: ...
    def __iter__(self) -> ArrayIterator: ...
    def __getitem__(self, indices: Any, /) -> array: ...
    def __setitem__(self, indices: Any, value: Any, /) -> None: ...
    def __bool__(self) -> bool: ...
    def __int__(self) -> int: ...
    def __float__(self) -> float: ...
    def __complex__(self) -> complex: ...
    def __index__(self) -> int: ...
    def __bytes__(self) -> bytes: ...
    def __hash__(self) -> int: ...
    def __format__(self, spec: str, /) -> str: ...
    def __copy__(self) -> array: ...
    def __deepcopy__(self, memo: Any) -> array: ...
    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any: ...
    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any: ...
    def __array_function__(
        self, func: Any, types: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...
    def __release_buffer__(self, buffer: memoryview, /) -> None: ...
    def __dlpack__(
        self,
        *,
        stream: Any = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any: ...
    def __dlpack_device__(self) -> tuple[int, int]: ...
    def __array_namespace__(self, api_version: str | None = None) -> Any: ...
    def __divmod__(self, other: _Value, /) -> tuple[array, array]: ...
    def __rdivmod__(self, other: _Value, /) -> tuple[array, array]: ...
    def __neg__(self) -> array: ...
    def __pos__(self) -> array: ...
    def __abs__(self) -> array: ...
    def __invert__(self) -> array: ...
    def __eq__(self, other: Any, /) -> array: ...  # type: ignore[override]
    def __ne__(self, other: Any, /) -> array: ...  # type: ignore[override]
    def __lt__(self, other: _Value, /) -> array: ...
    def __le__(self, other: _Value, /) -> array: ...
    def __gt__(self, other: _Value, /) -> array: ...
    def __ge__(self, other: _Value, /) -> array: ...
    def __pow__(self, other: _Value, modulus: None = None, /) -> array: ...
    def __rpow__(self, other: _Value, modulus: None = None, /) -> array: ...
    def __ipow__(self, other: _Value, modulus: None = None, /) -> array: ...  # noqa: PYI034
"""

CLASSES = """\
class ArrayIterator:
    def __iter__(self) -> ArrayIterator: ...
    def __next__(self) -> array: ...

class ProfileEvent:
    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def start_us(self) -> float: ...
    @property
    def duration_us(self) -> float: ...
    @property
    def thread(self) -> int: ...
    @property
    def bytes_read(self) -> int: ...
    @property
    def bytes_written(self) -> int: ...
    @property
    def flops(self) -> int: ...

class profile:
    def __init__(self, path: str | os.PathLike[str] | None = None) -> None: ...
    def __enter__(self) -> profile: ...  # noqa: PYI034
    def __exit__(
        self,
        kind: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...
    @property
    def events(self) -> list[ProfileEvent]: ...
    @property
    def duration_us(self) -> float: ...
    def summary(self) -> str: ...
    def save(self, path: str | os.PathLike[str]) -> None: ...

class ArrayAt:
    def __getitem__(self, indices: Any, /) -> ArrayAt: ...
    def add(self, value: _Value) -> array: ...
    def subtract(self, value: _Value) -> array: ...
    def multiply(self, value: _Value) -> array: ...
    def divide(self, value: _Value) -> array: ...
    def maximum(self, value: _Value) -> array: ...
    def minimum(self, value: _Value) -> array: ...

class Dtype:
    @property
    def size(self) -> int: ...
    def __hash__(self) -> int: ...

class finfo:
    def __init__(self, arg: Dtype, /) -> None: ...
    @property
    def min(self) -> float: ...
    @property
    def max(self) -> float: ...
    @property
    def eps(self) -> float: ...
    @property
    def smallest_normal(self) -> float: ...
    @property
    def bits(self) -> int: ...
    @property
    def dtype(self) -> Dtype: ...

class iinfo:
    def __init__(self, arg: Dtype, /) -> None: ...
    @property
    def min(self) -> int: ...
    @property
    def max(self) -> int: ...
    @property
    def bits(self) -> int: ...
    @property
    def dtype(self) -> Dtype: ...

class Device:
    def __init__(self, type: DeviceType, index: int = 0) -> None: ...
    @property
    def type(self) -> DeviceType: ...
    def __hash__(self) -> int: ...

class Stream:
    @property
    def device(self) -> Device: ...
    def __hash__(self) -> int: ...

class StreamContext:
    def __init__(self, s: Stream | _AnyDevice) -> None: ...
    def __enter__(self) -> None: ...
    def __exit__(self, *_exception: object) -> None: ...

class PrintOptions:
    def __init__(self, precision: int = -1) -> None: ...
    @property
    def precision(self) -> int: ...

class printoptions:
    def __init__(self, precision: int = -1) -> None: ...
    def __enter__(self) -> None: ...
    def __exit__(self, *_exception: object) -> None: ...

class custom_function:
    def __init__(self, f: _Function) -> None: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...
    def vjp(self, f: _Function) -> _Function: ...
    def jvp(self, f: _Function) -> _Function: ...
    def vmap(self, f: _Function) -> _Function: ...

stream = StreamContext
"""
