"""Random numbers, the same as MLX's for the same seed or key.

A key determines all numbers drawn with it; ``split`` makes independent keys from one. A function called
without a key takes one from the state of its thread, which ``seed`` sets.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType

from covector import _covector

_native = _covector._random

bernoulli = _native.bernoulli
bits = _native.bits
categorical = _native.categorical
gumbel = _native.gumbel
key = _native.key
laplace = _native.laplace
normal = _native.normal
permutation = _native.permutation
randint = _native.randint
seed = _native.seed
split = _native.split
truncated_normal = _native.truncated_normal
uniform = _native.uniform


class _State:
    """The state of this thread as a sequence of one key, which ``compile`` takes as input and output."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> _covector.array:
        if index not in (0, -1):
            raise IndexError(f"[random.state] there is one key, so {index} is out of range")
        return _native._state()

    def __setitem__(self, index: int, value: _covector.array) -> None:
        if index not in (0, -1):
            raise IndexError(f"[random.state] there is one key, so {index} is out of range")
        _native._set_state(value)

    def __iter__(self) -> Iterator[_covector.array]:
        yield _native._state()

    def __repr__(self) -> str:
        return repr(list(self))


_STATE = _State()


class _Module(ModuleType):
    """The module, in which assigning to ``state`` sets the state instead of hiding it."""

    @property
    def state(self) -> _State:
        return _STATE

    @state.setter
    def state(self, value: list[_covector.array]) -> None:
        (_STATE[0],) = value


sys.modules[__name__].__class__ = _Module
state: _State
