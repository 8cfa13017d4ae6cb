"""``Module``: a container of parameters and of other modules."""

from __future__ import annotations

import importlib
import textwrap
from collections.abc import Callable, Iterator
from types import MethodType
from typing import Any, Literal, Self, overload

import covector.core as mx
from covector.utils import tree_flatten, tree_unflatten

__all__ = ["Module"]

Filter = Callable[["Module", str, Any], bool]


class Module(dict[str, Any]):
    """The base class of layers and models.

    A module is a dict. Attributes that are arrays, modules, dicts, lists or tuples are its entries; all
    other attributes are ordinary ones. The arrays among the entries are its parameters, and those of the
    modules among them are its parameters too, at any depth of dicts and lists; names that begin with an
    underscore, and tuples, are left out.

    A subclass makes its parameters and layers in ``__init__`` and computes its output in ``__call__``::

        class Classifier(nn.Module):
            def __init__(self, inputs: int, hidden: int, classes: int):
                super().__init__()
                self.layers = [nn.Linear(inputs, hidden), nn.Linear(hidden, classes)]

            def __call__(self, x):
                return self.layers[1](nn.relu(self.layers[0](x)))

    There are two ways to train a module. The functional way keeps the parameters outside of the module:
    ``net.apply(params, x)`` computes with them, so that ``mx.value_and_grad`` applies to a function of
    ``params``. The other way keeps them in the module: see :func:`covector.nn.value_and_grad`.
    """

    __call__: Callable[..., Any]

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        self = super().__new__(cls)
        # Here and not in __init__, so that a subclass may assign before it calls super().__init__().
        self.__dict__.update(_no_grad=set(), _training=True)
        return self

    def __init__(self) -> None:
        super().__init__()

    # Attributes

    def __getattr__(self, key: str) -> Any:
        try:
            return self[key]
        except KeyError:
            raise AttributeError(f"'{type(self).__name__}' object has no attribute '{key}'") from None

    def __setattr__(self, key: str, value: Any) -> None:
        if not isinstance(value, (mx.array, dict, list, tuple)):
            super().__setattr__(key, value)
            self.pop(key, None)
        elif not hasattr(type(self), key):
            self.__dict__.pop(key, None)
            self[key] = value
        elif hasattr(getattr(type(self), key), "__set__"):
            super().__setattr__(key, value)
        else:
            raise AttributeError(
                f"[Module] {type(self).__name__}.{key} exists already and would hide the entry {key!r}: "
                f"self.{key} would not give what was assigned. Choose another name, or write self[{key!r}]"
            )

    def __delattr__(self, key: str) -> None:
        if key in self:
            del self[key]
        else:
            super().__delattr__(key)

    def __copy__(self) -> Self:
        copy: Self = type(self).__new__(type(self))
        copy.__dict__.update(self.__dict__, _no_grad=set(self._no_grad))
        dict.update(copy, self)
        return copy

    def __repr__(self) -> str:
        children = [f"({path}): {child!r}" for path, child in _flat_modules(self.children())]
        body = "\n" + textwrap.indent("\n".join(children), "  ") + "\n" if children else ""
        return f"{type(self).__name__}({self._extra_repr()}{body})"

    def _extra_repr(self) -> str:
        """The text between the parentheses of the ``repr``, for subclasses to define."""
        return ""

    @property
    def training(self) -> bool:
        """Whether the module is in training mode; :meth:`train` and :meth:`eval` change it."""
        return bool(self._training)

    @property
    def state(self) -> dict[str, Any]:
        """The module's entries, which are the module itself: parameters, submodules and the rest."""
        return self

    # Filters for filter_and_map

    @staticmethod
    def is_module(value: Any) -> bool:
        """Whether ``value`` is a module."""
        return isinstance(value, Module)

    @staticmethod
    def valid_child_filter(module: Module, key: str, value: Any) -> bool:
        """Keeps modules and containers of modules."""
        return isinstance(value, (dict, list))

    @staticmethod
    def valid_parameter_filter(module: Module, key: str, value: Any) -> bool:
        """Keeps parameters and containers of parameters."""
        return isinstance(value, (dict, list, mx.array)) and not key.startswith("_")

    @staticmethod
    def trainable_parameter_filter(module: Module, key: str, value: Any) -> bool:
        """Keeps parameters that are not frozen, and containers of parameters."""
        return Module.valid_parameter_filter(module, key, value) and key not in module._no_grad

    # Walks over the tree

    def filter_and_map(
        self,
        filter_fn: Filter,
        map_fn: Callable[[Any], Any] | None = None,
        is_leaf_fn: Filter | None = None,
    ) -> dict[str, Any]:
        """The module's tree as nested dicts and lists, with some entries only, each mapped.

        Args:
            filter_fn: Given a module, the name of an entry and the entry, says whether to keep it. Entries
                of lists and dicts in a module are named by their path in it, as ``layers.0``; one that is
                not kept leaves ``{}`` in its place.
            map_fn: Applied to every leaf.
            is_leaf_fn: Given the same as ``filter_fn``, says where the walk ends. By default at everything
                that is neither a module nor a dict nor a list.
        """
        convert = map_fn or _same
        leaf = is_leaf_fn or _is_leaf
        return {
            k: _walk(self, k, v, filter_fn, convert, leaf) for k, v in self.items() if filter_fn(self, k, v)
        }

    def parameters(self) -> dict[str, Any]:
        """All parameters, as nested dicts and lists of arrays."""
        return self.filter_and_map(self.valid_parameter_filter)

    def trainable_parameters(self) -> dict[str, Any]:
        """The parameters that are not frozen, as nested dicts and lists of arrays."""
        return self.filter_and_map(self.trainable_parameter_filter)

    def children(self) -> dict[str, Any]:
        """The modules directly inside this one, in the dicts and lists that hold them."""
        return self.filter_and_map(self.valid_child_filter, is_leaf_fn=lambda m, k, v: isinstance(v, Module))

    def leaf_modules(self) -> dict[str, Any]:
        """The modules that contain no others, as nested dicts and lists."""

        def is_leaf(module: Module, key: str, value: Any) -> bool:
            return isinstance(value, Module) and next(_flat_modules(value.children()), None) is None

        return self.filter_and_map(self.valid_child_filter, is_leaf_fn=is_leaf)

    def named_modules(self) -> list[tuple[str, Module]]:
        """This module and all below it, each with its path; this one's is ``''``."""
        waiting: list[tuple[str, Module]] = [("", self)]
        found = []
        while waiting:
            path, module = waiting.pop()
            found.append((path, module))
            prefix = f"{path}." if path else ""
            waiting.extend((prefix + k, child) for k, child in _flat_modules(module.children()))
        return found

    def modules(self) -> list[Module]:
        """This module and all below it."""
        return [module for _, module in self.named_modules()]

    # Changes

    def update(self, parameters: dict[str, Any], strict: bool = True) -> Self:  # type: ignore[override]
        """Replaces parameters, in place.

        Args:
            parameters: A tree like that of :meth:`parameters`, or a part of it.
            strict: Whether a name that the module does not have, or a value that is not an array, is an
                error rather than ignored.

        Returns:
            The module.
        """
        _assign(self, parameters, strict, "", _put_parameter)
        return self

    def save_weights(self, file: str) -> None:
        """Writes all parameters into a file in NumPy's ``.npz`` format, named as in ``layers.0.weight``."""
        numpy = _numpy("save_weights", file)
        weights = dict(tree_flatten(self.parameters()))
        narrow = [name for name, x in weights.items() if x.dtype == mx.bfloat16]
        if narrow:
            raise ValueError(
                f"[save_weights] {narrow[0]} is bfloat16, which a .npz file cannot hold; convert the module "
                "with set_dtype(mx.float32) first"
            )
        numpy.savez(file, **{name: numpy.asarray(x) for name, x in weights.items()})

    def load_weights(
        self, file_or_weights: str | list[tuple[str, mx.array]] | dict[str, mx.array], strict: bool = True
    ) -> Self:
        """Replaces parameters by those of a file, or by those of a list of names and arrays.

        Args:
            file_or_weights: The name of an ``.npz`` file, or pairs of names such as ``layers.0.weight`` and
                arrays.
            strict: Whether names and shapes must be exactly those of the module. A type may be another one of
                the same kind, such as ``float16`` for ``float32``.

        Returns:
            The module.
        """
        if isinstance(file_or_weights, (dict, list)):
            weights = dict(file_or_weights)
        else:
            with _numpy("load_weights", file_or_weights).load(file_or_weights) as stored:
                weights = {name: mx.array(stored[name]) for name in stored.files}
        if strict:
            _check_weights(dict(tree_flatten(self.parameters())), weights)
        if weights:
            self.update(tree_unflatten(list(weights.items())), strict=False)
        return self

    def update_modules(self, modules: dict[str, Any], strict: bool = True) -> Self:
        """Replaces modules, in place.

        Args:
            modules: A tree like that of :meth:`children` or :meth:`leaf_modules`, or a part of it.
            strict: Whether a name that the module does not have, or a value that is not a module, is an
                error rather than ignored.

        Returns:
            The module.
        """
        _assign(self, modules, strict, "", _put_module)
        return self

    @overload
    def apply(self, map_fn: Callable[[mx.array], Any], filter_fn: Filter | None = None) -> Self: ...

    @overload
    def apply(self, params: dict[str, Any], *args: Any, **kwargs: Any) -> Any: ...

    def apply(self, *args: Any, **kwargs: Any) -> Any:
        """``net.apply(params, *args, **kwargs)``, or ``net.apply(map_fn, filter_fn=None)``.

        The first computes ``net(*args, **kwargs)`` with the parameters ``params``, a tree like that of
        :meth:`parameters` or a part of it, and does not change the module: not its parameters, and not
        anything else that the call assigns to. It is a pure function of its arguments, so that
        ``mx.value_and_grad``, ``mx.vmap`` and the rest apply to it.

        The second, chosen when the first argument is a function, replaces every parameter by
        ``map_fn(parameter)``, in place, and returns the module; ``filter_fn``, given a module, a name and an
        entry, says for which.
        """
        if args:
            first, rest = args[0], args[1:]
        elif "params" in kwargs:
            first, rest = kwargs.pop("params"), ()
        elif "map_fn" in kwargs:
            first, rest = kwargs.pop("map_fn"), ()
        else:
            raise TypeError("[Module.apply] a parameter tree or a function is needed as the first argument")
        if isinstance(first, dict):
            other = first.parameters() if isinstance(first, Module) else first
            return self._with_parameters(other)(*rest, **kwargs)
        if not callable(first):
            raise TypeError(
                "[Module.apply] the first argument must be a parameter tree, such as parameters() returns, "
                f"or a function to apply to every parameter, not {_kind(first)}"
            )
        return self._map_parameters(first, *rest, **kwargs)

    def _map_parameters(self, map_fn: Callable[[mx.array], Any], filter_fn: Filter | None = None) -> Self:
        mapped = self.filter_and_map(filter_fn or self.valid_parameter_filter, map_fn)
        return self.update(mapped)

    def _with_parameters(self, parameters: dict[str, Any]) -> Self:
        """A copy of this module and all below it with other parameters; everything else is shared."""
        copies: dict[int, Any] = {}
        copy: Self = _copy(self, copies)
        for module in copies.values():
            if isinstance(module, Module):
                # A method of this tree kept as an attribute would compute with the old parameters.
                for name, value in module.__dict__.items():
                    if isinstance(value, MethodType) and id(value.__self__) in copies:
                        module.__dict__[name] = MethodType(value.__func__, copies[id(value.__self__)])
        return copy.update(parameters)

    def apply_to_modules(self, apply_fn: Callable[[str, Module], Any]) -> Self:
        """Calls ``apply_fn(path, module)`` for this module and all below it. Returns the module."""
        for path, module in self.named_modules():
            apply_fn(path, module)
        return self

    def freeze(
        self, *, recurse: bool = True, keys: str | list[str] | None = None, strict: bool = False
    ) -> Self:
        """Takes parameters out of :meth:`trainable_parameters`.

        Args:
            recurse: Whether the modules below are meant too.
            keys: The names of the parameters meant, in each module; by default all.
            strict: Whether a name is an error that none of the modules meant has.

        Returns:
            The module.
        """
        return self._mark(True, recurse, keys, strict)

    def unfreeze(
        self, *, recurse: bool = True, keys: str | list[str] | None = None, strict: bool = False
    ) -> Self:
        """Undoes :meth:`freeze`, of which it has the arguments."""
        return self._mark(False, recurse, keys, strict)

    def _mark(self, frozen: bool, recurse: bool, keys: str | list[str] | None, strict: bool) -> Self:
        names = [keys] if isinstance(keys, str) else keys
        modules = self.modules() if recurse else [self]
        if strict:
            for name in names or []:
                if not any(name in module for module in modules):
                    raise KeyError(f"Module doesn't contain member {name}.")
        for module in modules:
            chosen = names if names is not None else _own_parameters(module)
            if frozen:
                module._no_grad.update(chosen)
            else:
                module._no_grad.difference_update(chosen)
        return self

    def train(self, mode: bool = True) -> Self:
        """Puts this module and all below it into training mode, or out of it. Returns the module."""
        for module in self.modules():
            module._set_training_mode(mode)
        return self

    def eval(self) -> Self:
        """Puts this module and all below it out of training mode. Returns the module."""
        return self.train(False)

    def _set_training_mode(self, mode: bool) -> None:
        self._training = bool(mode)

    def set_dtype(
        self, dtype: mx.Dtype, predicate: Callable[[mx.Dtype], bool] | Literal["floating"] | None = "floating"
    ) -> None:
        """Converts parameters to another element type, in place.

        Args:
            dtype: The element type.
            predicate: Given the element type of a parameter, says whether to convert it. By default those of
                floating-point numbers are; ``None`` means all.
        """

        def is_floating(dtype: mx.Dtype) -> bool:
            return mx.issubdtype(dtype, mx.floating)

        def convert(x: mx.array) -> mx.array:
            return x.astype(dtype) if chosen is None or chosen(x.dtype) else x

        chosen = is_floating if predicate == "floating" else predicate
        self._map_parameters(convert)


def _same(x: Any) -> Any:
    return x


def _is_leaf(module: Module, key: str, value: Any) -> bool:
    return not isinstance(value, (dict, list))


def _kind(x: Any) -> str:
    return "None" if x is None else f"a value of type {type(x).__name__}"


def _numpy(op: str, file: object) -> Any:
    """NumPy, which reads and writes the files. It does not come with this package."""
    if not str(file).endswith(".npz"):
        raise ValueError(f"[{op}] the name of the file must end in .npz, but it is {str(file)!r}")
    try:
        return importlib.import_module("numpy")
    except ImportError:
        raise ImportError(
            f"[{op}] .npz files are read and written by NumPy; install it: pip install numpy"
        ) from None


def _check_weights(have: dict[str, Any], given: dict[str, Any]) -> None:
    """Refuses weights that are not exactly those of the module."""
    extra, missing = sorted(given.keys() - have.keys()), sorted(have.keys() - given.keys())
    if extra:
        raise ValueError(
            f"[load_weights] Received {len(extra)} parameters not in model: {', '.join(extra)}. "
            "To ignore them pass strict=False"
        )
    if missing:
        raise ValueError(
            f"[load_weights] Missing {len(missing)} parameters: {', '.join(missing)}. "
            "To keep the module's own pass strict=False"
        )
    for name, new in given.items():
        if not isinstance(new, mx.array):
            raise ValueError(
                f"[load_weights] Expected an array but received {_kind(new)} for parameter {name}"
            )
        if new.shape != have[name].shape:
            raise ValueError(
                f"[load_weights] Expected shape {have[name].shape} but received shape {new.shape} "
                f"for parameter {name}"
            )
        if not _same_kind(new, have[name]):
            raise ValueError(
                f"[load_weights] Expected {have[name].dtype} but received {new.dtype} for parameter {name}; "
                "convert it with astype"
            )


def _same_kind(x: mx.array, y: mx.array) -> bool:
    """Whether both are floating-point, or both complex, or both integers, or both truth values."""
    kinds = (mx.floating, mx.complexfloating, mx.integer)
    return all(mx.issubdtype(x.dtype, kind) == mx.issubdtype(y.dtype, kind) for kind in kinds)


def _walk(
    module: Module, path: str, value: Any, keep: Filter, convert: Callable[[Any], Any], leaf: Filter
) -> Any:
    if leaf(module, path, value):
        return convert(value)
    if isinstance(value, Module):
        return {k: _walk(value, k, v, keep, convert, leaf) for k, v in value.items() if keep(value, k, v)}

    def entry(key: object, entry: Any) -> Any:
        below = f"{path}.{key}"
        return _walk(module, below, entry, keep, convert, leaf) if keep(module, below, entry) else {}

    if isinstance(value, dict):
        return {k: entry(k, v) for k, v in value.items()}
    if isinstance(value, list):
        return [entry(i, v) for i, v in enumerate(value)]
    raise ValueError(
        f"[filter_and_map] {path} is {_kind(value)}, in which the walk cannot go on; let is_leaf_fn "
        "stop there"
    )


def _flat_modules(tree: Any, path: str = "") -> Iterator[tuple[str, Module]]:
    """The modules in a tree of dicts and lists, each with its path."""
    if isinstance(tree, Module):
        yield path, tree
    elif isinstance(tree, (dict, list)):
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from _flat_modules(value, f"{path}.{key}" if path else str(key))


def _own_parameters(module: Module) -> list[str]:
    """The names of a module's own parameters; those in dicts and lists by their path."""

    def names(path: str, value: Any) -> Iterator[str]:
        if isinstance(value, mx.array):
            yield path
        elif isinstance(value, (dict, list)) and not isinstance(value, Module):
            for key, entry in value.items() if isinstance(value, dict) else enumerate(value):
                yield from names(f"{path}.{key}", entry)

    own = ((k, v) for k, v in module.items() if Module.valid_parameter_filter(module, k, v))
    return [name for key, value in own for name in names(key, value)]


Put = Callable[[Any, Any, Any, bool, str], None]


def _assign(target: Any, new: Any, strict: bool, path: str, put: Put) -> None:
    """Walks down two trees together and lets ``put`` replace the entries of ``target`` that ``new`` has."""
    if isinstance(new, dict) and isinstance(target, dict):
        for key, value in new.items():
            if key in target:
                put(target, key, value, strict, f"{path}.{key}" if path else str(key))
            elif strict:
                what = "sub-module" if put is _put_module else "parameter"
                where = f"{path}.{key}" if path else key
                raise ValueError(
                    f'[update] Module does not have {what} named "{where}". It has: {_names(target)}. '
                    "To ignore other names pass strict=False"
                )
    elif isinstance(new, list) and isinstance(target, list):
        for i, value in enumerate(new):
            if i < len(target):
                put(target, i, value, strict, f"{path}.{i}" if path else str(i))
            elif strict:
                raise ValueError(
                    f"[update] List index {i} is out of bounds: {path} has only {len(target)} entries. "
                    "To ignore further ones pass strict=False"
                )
    elif strict and (not isinstance(new, (dict, list)) or new):
        # An empty container is in place of an entry without parameters, of any kind.
        raise ValueError(
            f"[update] Received invalid type: {type(new).__name__}, for {path or 'the module'}, which is "
            f"{_kind(target)}"
        )


def _names(target: dict[str, Any]) -> str:
    return ", ".join(str(key) for key in target) or "nothing"


def _put_parameter(target: Any, key: Any, new: Any, strict: bool, path: str) -> None:
    if isinstance(target[key], mx.array) and isinstance(new, mx.array):
        target[key] = new
    else:
        _assign(target[key], new, strict, path, _put_parameter)


def _put_module(target: Any, key: Any, new: Any, strict: bool, path: str) -> None:
    if isinstance(target[key], Module) and isinstance(new, Module):
        target[key] = new
    else:
        _assign(target[key], new, strict, path, _put_module)


def _copy(value: Any, copies: dict[int, Any]) -> Any:
    """A copy of modules, dicts, lists and tuples at any depth; shared objects are shared in the copy too."""
    if type(value) is tuple:
        return tuple(_copy(entry, copies) for entry in value)
    copy: Any
    if id(value) in copies:
        return copies[id(value)]
    if isinstance(value, Module):
        copy = value.__copy__()
    elif type(value) is dict or type(value) is list:
        copy = value.copy()
    else:
        return value
    copies[id(value)] = copy
    for key, entry in copy.items() if isinstance(copy, dict) else enumerate(copy):
        if isinstance(entry, (dict, list, tuple)):
            copy[key] = _copy(entry, copies)
    return copy
