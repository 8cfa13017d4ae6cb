"""Trees of any depth, paths that collide, and trees that do not match."""

import random

import covector.core as mx
import covector.optimizers as optim
import covector.utils as ut
import pytest


def nested(depth, leaf):
    tree = leaf
    for i in range(depth):
        tree = [tree, i] if i % 3 == 0 else (tree,) if i % 3 == 1 else {"k": tree, "n": i}
    return tree


@pytest.mark.parametrize("depth", [900, 2_000])
def test_deep_trees(depth):
    tree = nested(depth, 1000)
    leaves = ut.tree_flatten(tree)
    assert len(leaves) == 1 + depth - len(range(1, depth, 3))
    assert ut.tree_reduce(lambda a, b: a + b, tree, 0) == sum(x for _, x in leaves)
    doubled = ut.tree_map(lambda x, y: x + y, tree, tree)
    assert ut.tree_flatten(doubled) == [(path, 2 * x) for path, x in leaves]
    paths = ut.tree_map_with_path(lambda path, x: (path, x).__repr__(), tree)
    assert [x for _, x in ut.tree_flatten(paths)] == [repr(pair) for pair in leaves]
    assert ut.tree_flatten(ut.tree_merge(tree, tree, lambda a, b: a)) == leaves
    assert ut.tree_flatten(ut.tree_merge(tree, {})) == leaves
    assert ut.tree_flatten(ut.tree_unflatten(leaves)) == leaves
    assert ut.tree_flatten(ut.tree_unflatten(dict(leaves))) == leaves


def test_deep_trees_in_optimizers_and_transforms():
    depth = 900
    params = nested(0, mx.array([1.0, 2.0]))
    for i in range(depth):
        params = {"k": params} if i % 2 else [params]
    grads = mx.grad(lambda p: ut.tree_reduce(lambda a, b: a + b.sum(), p, mx.array(0.0)))(params)
    for optimizer in (optim.Adam(0.5), optim.SGD(0.5)):
        new = optimizer.update(params, grads)
        assert ut.tree_flatten(new)[0][0] == ut.tree_flatten(params)[0][0]
    assert ut.tree_flatten(new)[0][1].tolist() == [0.5, 1.5]

    class Own(optim.Optimizer):
        def init_single(self, parameter, state):
            state["n"] = mx.zeros_like(parameter)

        def apply_single(self, gradient, parameter, state):
            return parameter - gradient

    own = Own()
    assert ut.tree_flatten(own.update(params, grads))[0][1].tolist() == [0, 1]


def test_paths_that_name_one_place_twice_keep_every_leaf():
    assert ut.tree_unflatten([("01", "a"), ("1", "b"), ("2", "c")]) == {"01": "a", "1": "b", "2": "c"}
    assert ut.tree_unflatten([("x.01", "a"), ("x.1", "b")]) == {"x": {"01": "a", "1": "b"}}
    assert ut.tree_unflatten([("01", "a"), ("0", "b")]) == ["b", "a"]
    with pytest.raises(ValueError, match="same path"):
        ut.tree_unflatten([("a", 1), ("a", 2)])
    with pytest.raises(ValueError, match="same path"):
        ut.tree_unflatten([("a.b", 1), ("a.b", 2)])


def test_a_number_far_out_makes_no_long_list():
    tree = ut.tree_unflatten([("layers.30000000.weight", "a")])
    assert tree == {"layers": {"30000000": {"weight": "a"}}}
    assert ut.tree_unflatten([("9" * 5000, 1)]) == {"9" * 5000: 1}
    assert ut.tree_flatten(tree) == [("layers.30000000.weight", "a")]
    # A gap is filled as before.
    assert ut.tree_unflatten([("3", "a")]) == [{}, {}, {}, "a"]
    assert ut.tree_unflatten([("x.1", "a"), ("x.3", "b")]) == {"x": [{}, "a", {}, "b"]}
    long = [(str(i), i) for i in range(0, 20_000, 2)]
    assert len(ut.tree_unflatten(long)) == 19_999


def test_every_flat_tree_survives():
    rng = random.Random(0)

    def tree(depth):
        kind = rng.choice("adl") if depth else "a"
        if kind == "a":
            return rng.random()
        if kind == "l":
            return [tree(depth - 1) for _ in range(rng.randint(1, 4))]
        return {rng.choice("xyz") + str(i): tree(depth - 1) for i in range(rng.randint(1, 4))}

    for _ in range(200):
        made = tree(rng.randint(0, 6))
        assert ut.tree_unflatten(ut.tree_flatten(made)) == made
    keys = ["0", "1", "2", "01", "007", "x", "", "10", "99999999", "-1", "٣"]
    for _ in range(300):
        paths = {".".join(rng.choices(keys, k=rng.randint(1, 3))) for _ in range(rng.randint(1, 6))}
        # With a dot behind it, a path is the same as without.
        flat = {path: i for i, path in enumerate(sorted({path.rstrip(".") for path in paths}))}
        found = sorted(x for _, x in ut.tree_flatten(ut.tree_unflatten(flat)))
        assert found == sorted(flat.values()), flat


@pytest.mark.parametrize("make", [optim.SGD, optim.Adam, optim.AdamW, optim.Lion])
def test_gradients_that_do_not_match_the_parameters_are_named(make):
    w = mx.array([1.0, 2.0])
    cases = [
        ({"w": w}, [w], (KeyError, "parameters must be a list of 1 as in the gradients, but a dict")),
        ([w], {"w": w}, (KeyError, "parameters must be a dict with 1 keys as in the gradients, but a list")),
        ({"a": {"w": w}}, {"a": [w]}, (KeyError, r"parameters\['a'\] must be a list of 1")),
        ({"a": [w]}, {"a": {"w": w}}, (KeyError, r"parameters\['a'\] must be a dict")),
        ({"a": w}, {"b": w}, (KeyError, "no entry 'b'")),
        ({"a": [w]}, {"a": [w, w]}, (KeyError, r"parameters\['a'\] must be a list of 2")),
    ]
    for params, grads, (kind, text) in cases:
        optimizer = make(0.1)
        with pytest.raises(kind, match=text):
            optimizer.update(params, grads)
        # Nothing of the failure is left: the right step works.
        before = ut.tree_flatten(optimizer.state)
        assert [path for path, _ in before if path not in ("step", "learning_rate")] == []
        assert optimizer.step.item() == 0
        optimizer.update(params, params)
        assert optimizer.step.item() == 1


# What a number in a type is limited by, against NumPy and ml_dtypes.
@pytest.mark.parametrize("name", ["float16", "bfloat16", "float32", "float64", "complex64"])
def test_limits_of_floating_point_types(name):
    np, ml_dtypes = pytest.importorskip("numpy"), pytest.importorskip("ml_dtypes")
    theirs = ml_dtypes.finfo(ml_dtypes.bfloat16) if name == "bfloat16" else np.finfo(name)
    ours = mx.finfo(getattr(mx, name))
    for field in ("min", "max", "eps", "smallest_normal", "bits"):
        assert getattr(ours, field) == float(getattr(theirs, field)), field
    assert ours.dtype == (mx.float32 if name == "complex64" else getattr(mx, name))
    assert str(ours).endswith(f"dtype={str(ours.dtype).split('.')[-1]})")


@pytest.mark.parametrize("name", [f"{sign}int{n}" for sign in ("", "u") for n in (8, 16, 32, 64)])
def test_limits_of_integer_types(name):
    np = pytest.importorskip("numpy")
    theirs, ours = np.iinfo(name), mx.iinfo(getattr(mx, name))
    assert (ours.min, ours.max, ours.bits) == (theirs.min, theirs.max, theirs.bits)
    assert ours.dtype == getattr(mx, name)


def test_limits_of_the_wrong_kind_are_errors():
    for info, dtype in (
        (mx.finfo, mx.int32),
        (mx.finfo, mx.bool_),
        (mx.iinfo, mx.float32),
        (mx.iinfo, mx.bool_),
    ):
        with pytest.raises(ValueError, match="info"):
            info(dtype)
