"""The tree functions of `covector.utils`."""

import random
from collections import OrderedDict
from typing import NamedTuple

import pytest
from covector.utils import (
    tree_flatten,
    tree_map,
    tree_map_with_path,
    tree_merge,
    tree_reduce,
    tree_unflatten,
)

TREE = {"a": [1, {"b": 2, "c": (3, 4)}], "e": {}, "l": [], "n": None, "t": ()}


class Pair(NamedTuple):
    x: int
    y: int


class Bag(list):
    pass


def short(x):
    return isinstance(x, list) and len(x) > 0 and isinstance(x[0], int)


def test_map():
    assert tree_map(lambda x: x and x * 2, TREE) == {
        "a": [2, {"b": 4, "c": (6, 8)}],
        "e": {},
        "l": [],
        "n": None,
        "t": (),
    }
    assert tree_map(lambda x: x + 1, 3) == 4
    assert tree_map(len, [[1, 2], [3]], is_leaf=short) == [2, 1]
    assert tree_map(lambda x: x + 1, Pair(1, 2)) == Pair(2, 3)
    assert type(tree_map(lambda x: x, Bag([1]))) is Bag
    assert type(tree_map(lambda x: x, OrderedDict(a=1))) is dict


def test_map_over_several():
    first = {"a": [1, 2], "b": (3,)}
    assert tree_map(lambda x, y: x + y, first, {**first, "c": 9}) == {"a": [2, 4], "b": (6,)}
    # The others may go deeper: what stands in the leaf's place is given whole.
    assert tree_map(lambda x, y: (x, y), {"a": 1}, {"a": [1, 2]}) == {"a": (1, [1, 2])}
    with pytest.raises(IndexError):
        tree_map(lambda x, y: x + y, {"a": [1, 2]}, {"a": [1]})
    with pytest.raises(KeyError):
        tree_map(lambda x, y: x + y, {"a": 1}, {"b": 1})


def test_map_with_path():
    paths = tree_map_with_path(lambda path, x: path, TREE)
    assert paths == {
        "a": ["a.0", {"b": "a.1.b", "c": ("a.1.c.0", "a.1.c.1")}],
        "e": {},
        "l": [],
        "n": "n",
        "t": (),
    }
    assert tree_map_with_path(lambda path, x: path, [1], path="q") == ["q.0"]
    assert tree_map_with_path(lambda path, x: path, 3) is None
    assert tree_map_with_path(lambda path, x, y: (path, x, y), [1], [2]) == [("0", 1, 2)]
    assert tree_map_with_path(lambda path, x: path, [[1, 2], [3]], is_leaf=short) == ["0", "1"]


FLAT = [("a.0", 1), ("a.1.b", 2), ("a.1.c.0", 3), ("a.1.c.1", 4), ("n", None)]


def test_flatten():
    assert tree_flatten(TREE) == FLAT
    assert tree_flatten(TREE, destination={}) == dict(FLAT)
    destination = [("z", 0)]
    assert tree_flatten(TREE, destination=destination) is destination
    assert destination == [("z", 0), *FLAT]
    assert tree_flatten(3) == [("", 3)]
    assert tree_flatten([3], prefix="p") == [(".0", 3)]
    assert tree_flatten([3], prefix=".p") == [("p.0", 3)]
    assert tree_flatten({1: 2, "x": {3: 4}}) == [("1", 2), ("x.3", 4)]
    assert tree_flatten([[1, 2], [3]], is_leaf=short) == [("0", [1, 2]), ("1", [3])]
    with pytest.raises(ValueError, match="but int was given"):
        tree_flatten(3, destination=3)


def test_unflatten():
    assert tree_unflatten(FLAT) == {"a": [1, {"b": 2, "c": [3, 4]}], "n": None}
    assert tree_unflatten(dict(FLAT)) == tree_unflatten(FLAT)
    assert tree_unflatten([("a.1", 1), ("a.3", 2)]) == {"a": [{}, 1, {}, 2]}
    assert tree_unflatten([("2.x", 1), ("0.x", 2)]) == [{"x": 2}, {}, {"x": 1}]
    assert tree_unflatten([("0", 1), ("x", 2)]) == {"0": 1, "x": 2}
    assert tree_unflatten([("", 3)]) == tree_unflatten({"": 3}) == 3
    assert tree_unflatten([]) == []
    assert tree_unflatten([("a", 1), ("a.b", 2)]) == {"a": {"": 1, "b": 2}}
    with pytest.raises(ValueError, match="same path"):
        tree_unflatten([("1", 1), ("1", 2)])


def test_unflatten_undoes_flatten():
    draw = random.Random(3)

    def tree(depth):
        if depth == 0 or draw.random() < 0.2:
            return draw.random()
        items = [tree(depth - 1) for _ in range(draw.randint(1, 4))]
        return items if draw.random() < 0.5 else {f"k{i}": x for i, x in enumerate(items)}

    for _ in range(200):
        one = tree(4)
        assert tree_unflatten(tree_flatten(one)) == one
        assert tree_unflatten(tree_flatten(one, destination={})) == one


def test_reduce():
    add = lambda total, x: total + x  # noqa: E731
    assert tree_reduce(add, {"a": [1, 2], "b": 3}) == 6
    assert tree_reduce(add, {"a": [1, 2], "b": 3}, 10) == 16
    assert tree_reduce(add, {}) is None
    assert tree_reduce(add, {}, 5) == 5
    assert tree_reduce(lambda total, x: total + len(x), [[1, 2], [3]], 0, is_leaf=short) == 3
    assert tree_reduce(lambda total, x: [*total, x], {"a": 1, "b": [2, 3]}, []) == [1, 2, 3]


def test_merge():
    assert tree_merge({"a": {"x": 1}, "b": 2}, {"a": {"y": 2}, "c": 3}) == {
        "a": {"x": 1, "y": 2},
        "b": 2,
        "c": 3,
    }
    assert tree_merge({"a": 1}, {"a": 2}, lambda x, y: x + y) == {"a": 3}
    assert tree_merge([1, None], [None, 2]) == [1, 2]
    assert tree_merge([{"a": 1}], [{"b": 1}, {"c": 3}]) == [{"a": 1, "b": 1}, {"c": 3}]
    assert tree_merge(({"a": 1},), ({"b": 1},)) == ({"a": 1, "b": 1},)
    for nothing in (None, {}, [], ()):
        assert tree_merge(nothing, {"a": 1}) == {"a": 1}
        assert tree_merge({"a": nothing}, {"a": 3}) == {"a": 3}
        assert tree_merge({"a": 1}, nothing) == {"a": 1}
    for other in ({"a": 2}, {"a": [2]}):
        with pytest.raises(ValueError, match="same path"):
            tree_merge({"a": 1}, other)


def test_inputs_are_not_changed():
    before = repr(TREE)
    tree_map(lambda x: 0, TREE)
    tree_merge({"a": [1]}, {"a": [None, {"b": 1}]})
    tree_flatten(TREE)
    assert repr(TREE) == before
