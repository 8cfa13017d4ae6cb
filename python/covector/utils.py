"""Functions on Python trees: nested lists, tuples and dicts; all other values are leaves.

A flat tree names each leaf by its path, joined with dots: ``{"a": [1, {"b": 2}]}`` is
``[("a.0", 1), ("a.1.b", 2)]``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import Any

__all__ = [
    "tree_flatten",
    "tree_map",
    "tree_map_with_path",
    "tree_merge",
    "tree_reduce",
    "tree_unflatten",
]

_Leaf = Callable[[Any], bool]

# Empty places that a list may have, beside sixteen for each entry; see tree_unflatten.
_SPARE = 1024


def _same_kind(tree: Any, items: Iterable[Any]) -> Any:
    """A list or tuple of the type of ``tree``; a named tuple stays one."""
    kind = type(tree)
    return kind._make(items) if hasattr(kind, "_make") else kind(items)


class _Open:
    """A container: its nodes, and the function that makes the new container from their results."""

    __slots__ = ("close", "nodes")

    def __init__(self, nodes: Iterable[Any], close: Callable[[list[Any]], Any]) -> None:
        self.nodes = nodes
        self.close = close


def _build(root: Any, visit: Callable[[Any], Any]) -> Any:
    """Walks a tree and builds another one.

    ``visit`` gives the result for a node, or an ``_Open`` of the nodes below it. Nodes are visited in order.
    A stack of open containers replaces recursion, so that trees may be deep.
    """
    waiting: list[tuple[Iterator[Any], list[Any], Callable[[list[Any]], Any]]]
    waiting = [(iter([root]), [], lambda done: done[0])]
    while True:
        nodes, done, close = waiting[-1]
        for node in nodes:
            made = visit(node)
            if isinstance(made, _Open):
                waiting.append((iter(made.nodes), [], made.close))
                break
            done.append(made)
        else:
            waiting.pop()
            whole = close(done)
            if not waiting:
                return whole
            waiting[-1][1].append(whole)


def tree_map(fn: Callable[..., Any], tree: Any, *rest: Any, is_leaf: _Leaf | None = None) -> Any:
    """The tree of the same structure whose leaves are ``fn`` of the leaves of ``tree``.

    Args:
        fn: Called with each leaf and the values in the same place of each of ``rest``.
        tree: The tree that defines the leaves.
        rest: Further trees with at least the structure of ``tree``.
        is_leaf: Whether an object is a leaf although it is a list, tuple or dict.

    Example:
        >>> tree_map(lambda x, y: x + y, {"a": [1, 2]}, {"a": [10, 20]})
        {'a': [11, 22]}
    """

    def visit(node: tuple[Any, ...]) -> Any:
        tree, *rest = node
        if is_leaf is None or not is_leaf(tree):
            if isinstance(tree, (list, tuple)):
                nodes = ((x, *(r[i] for r in rest)) for i, x in enumerate(tree))
                return _Open(nodes, lambda items: _same_kind(tree, items))
            if isinstance(tree, dict):
                keys = list(tree)
                nodes = ((tree[k], *(r[k] for r in rest)) for k in keys)
                return _Open(nodes, lambda items: dict(zip(keys, items, strict=True)))
        return fn(*node)

    return _build((tree, *rest), visit)


def tree_map_with_path(
    fn: Callable[..., Any],
    tree: Any,
    *rest: Any,
    is_leaf: _Leaf | None = None,
    path: Any | None = None,
) -> Any:
    """As :func:`tree_map`, but the first argument of ``fn`` is the path of the leaf.

    Args:
        fn: Called with the path of each leaf, the leaf, and the values in the same place of each of ``rest``.
        tree: The tree that defines the leaves.
        rest: Further trees with at least the structure of ``tree``.
        is_leaf: Whether an object is a leaf although it is a list, tuple or dict.
        path: The start of all paths.

    Example:
        >>> tree_map_with_path(lambda path, x: f"{path}={x}", {"a": [1, 2]})
        {'a': ['a.0=1', 'a.1=2']}
    """

    def below(path: Any | None, key: Any) -> str:
        return str(key) if path is None else f"{path}.{key}"

    def visit(node: tuple[Any, ...]) -> Any:
        path, tree, *rest = node
        if is_leaf is None or not is_leaf(tree):
            if isinstance(tree, (list, tuple)):
                nodes = ((below(path, i), x, *(r[i] for r in rest)) for i, x in enumerate(tree))
                return _Open(nodes, lambda items: _same_kind(tree, items))
            if isinstance(tree, dict):
                keys = list(tree)
                nodes = ((below(path, k), tree[k], *(r[k] for r in rest)) for k in keys)
                return _Open(nodes, lambda items: dict(zip(keys, items, strict=True)))
        return fn(*node)

    return _build((path, tree, *rest), visit)


def _leaves(tree: Any, path: str, is_leaf: _Leaf | None) -> Iterator[tuple[str, Any]]:
    """The leaves in order, each with its path; with a stack, so that trees may be deep."""
    waiting = [(path, tree)]
    while waiting:
        path, tree = waiting.pop()
        if is_leaf is not None and is_leaf(tree):
            yield path, tree
        elif isinstance(tree, (list, tuple)):
            waiting.extend((f"{path}.{i}", tree[i]) for i in reversed(range(len(tree))))
        elif isinstance(tree, dict):
            waiting.extend((f"{path}.{k}", x) for k, x in reversed(tree.items()))
        else:
            yield path, tree


def tree_flatten(
    tree: Any,
    prefix: str = "",
    is_leaf: _Leaf | None = None,
    destination: list[tuple[str, Any]] | dict[str, Any] | None = None,
) -> Any:
    """The leaves of a tree as a list of ``(path, leaf)`` pairs, or as a dict.

    Args:
        tree: The tree to flatten.
        prefix: The start of all paths. Its first character is dropped.
        is_leaf: Whether an object is a leaf although it is a list, tuple or dict.
        destination: The list or dict to add the leaves to; a new list if there is none.

    Example:
        >>> tree_flatten({"a": [1, {"b": 2}]})
        [('a.0', 1), ('a.1.b', 2)]
        >>> tree_flatten({"a": [1, {"b": 2}]}, destination={})
        {'a.0': 1, 'a.1.b': 2}
    """
    if destination is None:
        destination = []
    named = ((path[1:], leaf) for path, leaf in _leaves(tree, prefix, is_leaf))
    if isinstance(destination, dict):
        destination.update(named)
    elif isinstance(destination, list):
        destination.extend(named)
    else:
        raise ValueError(
            "[tree_flatten] destination must be a list, a dict or None, "
            f"but {type(destination).__name__} was given"
        )
    return destination


def tree_unflatten(tree: Sequence[tuple[str, Any]] | dict[str, Any]) -> Any:
    """The tree that :func:`tree_flatten` took apart.

    Keys that are all numbers make a list, with ``{}`` in missing places; others make a dict. So do numbers
    that name a place twice, as ``1`` and ``01`` do, and numbers that would leave most of a long list empty.
    Tuples become lists, and empty containers are lost.

    Args:
        tree: Pairs of path and leaf, or a dict of them.

    Example:
        >>> tree_unflatten([("a.0", 1), ("a.1.b", 2)])
        {'a': [1, {'b': 2}]}
    """

    def visit(node: tuple[int, list[tuple[list[str], Any]]]) -> Any:
        depth, items = node
        if len(items) == 1 and len(items[0][0]) == depth:
            return items[0][1]
        groups: dict[str, list[tuple[list[str], Any]]] = {}
        for keys, leaf in items:
            # A leaf beside others that go further has no key here, and gets an empty one.
            if len(keys) == depth:
                keys.append("")
            groups.setdefault(keys[depth], []).append((keys, leaf))
        for key, group in groups.items():
            # Without this, two leaves at one place would go on being split forever.
            if len(group) > 1 and all(len(keys) == depth + 1 for keys, _ in group):
                raise ValueError(
                    f"[tree_unflatten] {len(group)} leaves have the same path, ending in '{key}'"
                )
        if all(key.isdecimal() and len(key) < 16 for key in groups):
            numbered = {int(key): group for key, group in groups.items()}
            size = max(numbered, default=-1) + 1
            if len(numbered) == len(groups) and size <= 16 * len(numbered) + _SPARE:
                places = sorted(numbered)

                def as_list(made: list[Any]) -> list[Any]:
                    found = dict(zip(places, made, strict=True))
                    return [found.get(i, {}) for i in range(size)]

                return _Open([(depth + 1, numbered[i]) for i in places], as_list)
        nodes = [(depth + 1, group) for group in groups.values()]
        return _Open(nodes, lambda made: dict(zip(groups, made, strict=True)))

    def split(path: str) -> list[str]:
        keys = path.split(".")
        return keys if keys[-1] else keys[:-1]

    pairs = tree.items() if isinstance(tree, dict) else tree
    return _build((0, [(split(path), leaf) for path, leaf in pairs]), visit)


def tree_reduce(
    fn: Callable[[Any, Any], Any], tree: Any, initializer: Any = None, is_leaf: _Leaf | None = None
) -> Any:
    """``fn`` applied to an accumulator and each leaf in turn.

    Args:
        fn: Takes the accumulator and a leaf and returns the next accumulator.
        tree: The tree to reduce.
        initializer: The first value of the accumulator; by default the first leaf.
        is_leaf: Whether an object is a leaf although it is a list, tuple or dict.

    Example:
        >>> tree_reduce(lambda total, x: total + x, {"a": [1, 2, 3], "b": 4}, 0)
        10
    """
    total = initializer
    for _, leaf in _leaves(tree, "", is_leaf):
        total = leaf if total is None else fn(total, leaf)
    return total


def _is_empty(tree: Any) -> bool:
    return tree is None or (isinstance(tree, (list, tuple, dict)) and len(tree) == 0)


def tree_merge(tree_a: Any, tree_b: Any, merge_fn: Callable[[Any, Any], Any] | None = None) -> Any:
    """A tree with the leaves of both. ``None`` and empty containers count as nothing.

    Args:
        tree_a: The first tree.
        tree_b: The second tree.
        merge_fn: Makes one leaf of two at the same place; without it, such leaves are an error.

    Example:
        >>> tree_merge({"a": {"x": 1}}, {"a": {"y": 2}, "b": 3})
        {'a': {'x': 1, 'y': 2}, 'b': 3}
    """

    def visit(node: tuple[Any, Any]) -> Any:
        a, b = node
        if _is_empty(a):
            return b
        if _is_empty(b):
            return a
        if isinstance(a, dict) and isinstance(b, dict):
            keys = list(dict.fromkeys([*a, *b]))
            nodes: list[Any] = [(a.get(k), b.get(k)) for k in keys]
            return _Open(nodes, lambda made: dict(zip(keys, made, strict=True)))
        if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
            return _Open(zip_longest(a, b), lambda made: _same_kind(a, made))
        if merge_fn is not None:
            return merge_fn(a, b)
        raise ValueError(
            "[tree_merge] the trees have leaves at the same place and no merge_fn was given; pass one, or "
            "take one of the leaves away"
        )

    return _build((tree_a, tree_b), visit)
