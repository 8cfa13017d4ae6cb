"""Functions on Python trees: nested lists, tuples and dicts whose other values are the leaves.

A flat tree names each leaf by the way to it, joined with dots: ``{"a": [1, {"b": 2}]}`` is
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


def _same_kind(tree: Any, items: Iterable[Any]) -> Any:
    """A list or tuple of the type of ``tree``; a named tuple stays one."""
    kind = type(tree)
    return kind._make(items) if hasattr(kind, "_make") else kind(items)


def tree_map(fn: Callable[..., Any], tree: Any, *rest: Any, is_leaf: _Leaf | None = None) -> Any:
    """The tree of the same structure whose leaves are ``fn`` of the leaves of ``tree``.

    Args:
        fn: Called with each leaf and what stands in its place in each of ``rest``.
        tree: The tree that says what the leaves are.
        rest: Further trees with at least the structure of ``tree``.
        is_leaf: Says of an object whether it counts as a leaf although it is a list, tuple or dict.

    Example:
        >>> tree_map(lambda x, y: x + y, {"a": [1, 2]}, {"a": [10, 20]})
        {'a': [11, 22]}
    """
    if is_leaf is not None and is_leaf(tree):
        return fn(tree, *rest)
    if isinstance(tree, (list, tuple)):
        items = (tree_map(fn, x, *(r[i] for r in rest), is_leaf=is_leaf) for i, x in enumerate(tree))
        return _same_kind(tree, items)
    if isinstance(tree, dict):
        return {k: tree_map(fn, x, *(r[k] for r in rest), is_leaf=is_leaf) for k, x in tree.items()}
    return fn(tree, *rest)


def tree_map_with_path(
    fn: Callable[..., Any],
    tree: Any,
    *rest: Any,
    is_leaf: _Leaf | None = None,
    path: Any | None = None,
) -> Any:
    """As :func:`tree_map`, but ``fn`` is also given the way to the leaf, as its first argument.

    Args:
        fn: Called with the path of each leaf, the leaf, and what stands in its place in each of ``rest``.
        tree: The tree that says what the leaves are.
        rest: Further trees with at least the structure of ``tree``.
        is_leaf: Says of an object whether it counts as a leaf although it is a list, tuple or dict.
        path: What all paths start with.

    Example:
        >>> tree_map_with_path(lambda path, x: f"{path}={x}", {"a": [1, 2]})
        {'a': ['a.0=1', 'a.1=2']}
    """

    def below(key: Any, item: Any, others: Iterator[Any]) -> Any:
        step = str(key) if path is None else f"{path}.{key}"
        return tree_map_with_path(fn, item, *others, is_leaf=is_leaf, path=step)

    if is_leaf is not None and is_leaf(tree):
        return fn(path, tree, *rest)
    if isinstance(tree, (list, tuple)):
        return _same_kind(tree, (below(i, x, (r[i] for r in rest)) for i, x in enumerate(tree)))
    if isinstance(tree, dict):
        return {k: below(k, x, (r[k] for r in rest)) for k, x in tree.items()}
    return fn(path, tree, *rest)


def _leaves(tree: Any, path: str, is_leaf: _Leaf | None) -> Iterator[tuple[str, Any]]:
    """The leaves in order, each with the way to it; with a stack, so that deep trees are no matter."""
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
        prefix: What all paths start with. Its first character is dropped.
        is_leaf: Says of an object whether it counts as a leaf although it is a list, tuple or dict.
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

    Keys that are all numbers make a list, others a dict; tuples and empty containers are not told apart from
    lists and from nothing.

    Args:
        tree: Pairs of path and leaf, or a dict of them.

    Example:
        >>> tree_unflatten([("a.0", 1), ("a.1.b", 2)])
        {'a': [1, {'b': 2}]}
    """
    items = list(tree.items() if isinstance(tree, dict) else tree)
    if len(items) == 1 and items[0][0] == "":
        return items[0][1]
    groups: dict[str, list[tuple[str, Any]]] = {}
    for path, leaf in items:
        key, _, rest = path.partition(".")
        groups.setdefault(key, []).append((rest, leaf))
    for key, group in groups.items():
        # Without this, two leaves at one place would go on being split forever.
        if len(group) > 1 and all(rest == "" for rest, _ in group):
            raise ValueError(f"[tree_unflatten] {len(group)} leaves have the same path, ending in '{key}'")
    if all(key.isdecimal() for key in groups):
        numbered = {int(key): group for key, group in groups.items()}
        size = max(numbered, default=-1) + 1
        return [tree_unflatten(numbered[i]) if i in numbered else {} for i in range(size)]
    return {key: tree_unflatten(group) for key, group in groups.items()}


def tree_reduce(
    fn: Callable[[Any, Any], Any], tree: Any, initializer: Any = None, is_leaf: _Leaf | None = None
) -> Any:
    """``fn`` applied to an accumulator and each leaf in turn.

    Args:
        fn: Takes the accumulator and a leaf and returns the next accumulator.
        tree: The tree to reduce.
        initializer: What to start with; without it, the first leaf.
        is_leaf: Says of an object whether it counts as a leaf although it is a list, tuple or dict.

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
    if _is_empty(tree_a):
        return tree_b
    if _is_empty(tree_b):
        return tree_a
    if isinstance(tree_a, dict) and isinstance(tree_b, dict):
        merged = {k: tree_merge(x, tree_b.get(k), merge_fn) for k, x in tree_a.items()}
        merged.update((k, x) for k, x in tree_b.items() if k not in tree_a)
        return merged
    if isinstance(tree_a, (list, tuple)) and isinstance(tree_b, (list, tuple)):
        items = (tree_merge(a, b, merge_fn) for a, b in zip_longest(tree_a, tree_b))
        return _same_kind(tree_a, items)
    if merge_fn is not None:
        return merge_fn(tree_a, tree_b)
    raise ValueError(
        "[tree_merge] the trees have leaves at the same place and no merge_fn was given; pass one, or "
        "take one of the leaves away"
    )
