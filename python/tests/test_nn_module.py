"""``nn.Module``: what counts as a parameter, walks, updates, freezing, and the two meanings of ``apply``."""

import copy
import pickle
import threading

import covector.core as mx
import covector.nn as nn
import pytest
from nn_helpers import leaves


class Model(nn.Module):
    """One of everything that an attribute can be."""

    def __init__(self):
        super().__init__()
        self.l1 = nn.Linear(2, 3)
        self.layers = [nn.Linear(3, 3, bias=False), nn.ReLU()]
        self.d = {"a": nn.Linear(3, 1)}
        self.scale = mx.array(2.0)
        self._private = mx.array(1.0)
        self.tup = (mx.array(1.0), nn.Linear(1, 1))
        self.lst = [mx.array(1.0), 2, {"k": mx.array(3.0)}]
        self.empty = []
        self.n = 3
        self.name = "model"
        self.none = None

    def __call__(self, x):
        for layer in self.layers:
            x = layer(x)
        return self.d["a"](x) * self.scale


def shapes(tree):
    if isinstance(tree, dict):
        return {k: shapes(v) for k, v in tree.items()}
    if isinstance(tree, list):
        return [shapes(v) for v in tree]
    return tree.shape


def names(tree):
    return sorted(leaves(tree))


ALL = ["d.a.bias", "d.a.weight", "l1.bias", "l1.weight", "layers.0.weight", "lst.0", "lst.2.k", "scale"]


# Attributes


def test_a_module_is_a_dict_of_its_storable_attributes():
    m = Model()
    assert isinstance(m, dict)
    assert list(m) == ["l1", "layers", "d", "scale", "_private", "tup", "lst", "empty"]
    assert m["scale"] is m.scale
    assert m.state is m
    assert (m.n, m.name, m.none) == (3, "model", None)
    assert "n" not in m


def test_attributes_move_between_the_dict_and_the_object():
    m = Model()
    m.scale = 3
    assert m.scale == 3
    assert "scale" not in m
    m.scale = mx.array(4.0)
    assert m.scale is m["scale"]
    assert "scale" not in m.__dict__
    m.l1 = None
    assert "l1" not in m
    del m.d
    assert not hasattr(m, "d")
    del m.n
    with pytest.raises(AttributeError, match="'Model' object has no attribute 'n'"):
        _ = m.n


def test_attributes_may_be_set_before_the_base_class_is_initialised():
    class Early(nn.Module):
        def __init__(self):
            self.weight = mx.ones(2)
            super().__init__()

    assert shapes(Early().parameters()) == {"weight": (2,)}
    assert Early().training


def test_properties_with_setters_keep_working():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(2, 2)

        @property
        def weight(self):
            return self.inner.weight

        @weight.setter
        def weight(self, value):
            self.inner.weight = value

    m = Tied()
    m.weight = mx.ones((2, 2))
    assert m.inner.weight.sum().item() == 4.0
    assert list(m) == ["inner"]


def test_an_entry_that_would_be_hidden_is_refused():
    m = nn.Module()
    with pytest.raises(AttributeError, match=r"Module\.values exists already.*self\['values'\]"):
        m.values = nn.Linear(1, 1)
    m["values"] = nn.Linear(1, 1)
    assert names(m.parameters()) == ["values.bias", "values.weight"]


# Walks


def test_parameters_keep_the_containers():
    expected = {
        "l1": {"weight": (3, 2), "bias": (3,)},
        "layers": [{"weight": (3, 3)}, {}],
        "d": {"a": {"weight": (1, 3), "bias": (1,)}},
        "scale": (),
        "lst": [(), {}, {"k": ()}],
        "empty": [],
    }
    m = Model()
    assert shapes(m.parameters()) == expected
    assert shapes(m.trainable_parameters()) == expected
    assert m.parameters()["scale"] is m.scale


def test_children_and_modules():
    m = Model()
    children = m.children()
    assert children["l1"] is m.l1
    assert children["layers"] == m.layers
    assert children["lst"] == [{}, {}, {"k": {}}]
    assert m.leaf_modules()["d"]["a"] is m.d["a"]
    assert [name for name, _ in m.named_modules()] == ["", "d.a", "layers.1", "layers.0", "l1"]
    assert m.modules()[0] is m
    visited = []
    assert m.apply_to_modules(lambda path, module: visited.append((path, type(module).__name__))) is m
    assert visited == [
        ("", "Model"),
        ("d.a", "Linear"),
        ("layers.1", "ReLU"),
        ("layers.0", "Linear"),
        ("l1", "Linear"),
    ]


def test_leaf_modules_goes_to_the_bottom():
    m = nn.Sequential(nn.Sequential(nn.Linear(1, 2), nn.ReLU()), nn.Linear(2, 1))
    leaf = m.leaf_modules()
    assert leaf["layers"][0]["layers"][0] is m.layers[0].layers[0]
    assert leaf["layers"][1] is m.layers[1]
    assert [n for n, _ in m.named_modules()] == [
        "",
        "layers.1",
        "layers.0",
        "layers.0.layers.1",
        "layers.0.layers.0",
    ]


def test_filter_and_map():
    m = Model()
    sizes = m.filter_and_map(nn.Module.valid_parameter_filter, lambda a: a.size)
    assert sizes["l1"] == {"weight": 6, "bias": 3}
    seen = []

    def spy(module, key, value):
        seen.append(key)
        return nn.Module.valid_parameter_filter(module, key, value)

    m.filter_and_map(spy)
    assert "lst.2.k" in seen
    assert "layers.0" in seen
    with pytest.raises(ValueError, match="tup"):
        m.filter_and_map(lambda m, k, v: True, is_leaf_fn=lambda m, k, v: isinstance(v, mx.array))


# Updates


def test_update_replaces_in_place():
    m = Model()
    layer = m.l1
    assert m.update({"scale": mx.array(5.0), "l1": {"bias": mx.zeros(3)}, "layers": [{}]}) is m
    assert m.scale.item() == 5.0
    assert m.l1 is layer
    assert layer.bias.tolist() == [0, 0, 0]
    assert m.update({}) is m
    assert m.update(m.parameters()) is m
    m.update({"lst": [mx.array(7.0)]})
    assert m.lst[0].item() == 7.0
    assert m.lst[1] == 2


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"nope": mx.array(1.0)}, 'does not have parameter named "nope"'),
        ({"l1": {"nope": mx.array(1.0)}}, 'does not have parameter named "l1.nope"'),
        ({"l1": mx.array(1.0)}, "invalid type: array, for l1"),
        ({"scale": 3}, "invalid type: int, for scale"),
        ({"scale": {"a": 1}}, "invalid type: dict"),
        ({"layers": [{}, {}, {}, {"weight": mx.ones(1)}]}, "out of bounds"),
        ({"layers": {"0": {}}}, "invalid type: dict"),
        ({"tup": (mx.array(7.0), {})}, "invalid type: tuple"),
        ([1], "invalid type: list"),
    ],
)
def test_update_refuses_what_does_not_fit(parameters, message):
    m = Model()
    with pytest.raises(ValueError, match=message):
        m.update(parameters)
    before = leaves(m.parameters())
    m.update(parameters, strict=False)
    assert all(before[k] is v for k, v in leaves(m.parameters()).items())


def test_update_modules():
    m = Model()
    new = nn.Linear(4, 4)
    assert m.update_modules({"l1": new, "layers": [{}, nn.Tanh()]}) is m
    assert m.l1 is new
    assert isinstance(m.layers[1], nn.Tanh)
    with pytest.raises(ValueError, match='does not have sub-module named "nope"'):
        m.update_modules({"nope": new})
    with pytest.raises(ValueError, match="invalid type: int"):
        m.update_modules({"l1": 3})
    m.update_modules({"nope": new}, strict=False)


def test_set_dtype():
    m = Model()
    m.lst.append(mx.array([1, 2]))
    assert m.set_dtype(mx.float16) is None
    assert m.l1.weight.dtype == mx.float16
    assert m.lst[3].dtype == mx.int32
    assert m._private.dtype == mx.float32
    m.set_dtype(mx.float32, predicate=None)
    assert m.lst[3].dtype == mx.float32


def test_weights_go_through_a_file(tmp_path):
    file = str(tmp_path / "weights.npz")
    one, two = (nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)) for _ in range(2))
    one.set_dtype(mx.float16)
    one.save_weights(file)
    assert two.load_weights(file) is two
    assert leaves(two.parameters()).keys() == {f"layers.{i}.{n}" for i in (0, 2) for n in ("weight", "bias")}
    for name, x in leaves(one.parameters()).items():
        assert leaves(two.parameters())[name].tolist() == x.tolist()
        assert leaves(two.parameters())[name].dtype == mx.float16
    one.set_dtype(mx.bfloat16)
    with pytest.raises(ValueError, match=r"layers\.0\.weight is bfloat16.*set_dtype"):
        one.save_weights(file)
    with pytest.raises(ValueError, match=r"must end in \.npz"):
        one.save_weights("weights.txt")
    with pytest.raises(FileNotFoundError):
        one.load_weights(str(tmp_path / "nothing.npz"))


def test_weights_can_be_given():
    m = nn.Linear(2, 1)
    assert m.load_weights([("weight", mx.ones((1, 2))), ("bias", mx.zeros(1))]).weight.tolist() == [
        [1.0, 1.0]
    ]
    m.load_weights({"bias": mx.ones(1), "other": mx.ones(1)}, strict=False)
    assert m.bias.tolist() == [1.0]
    assert "other" not in m
    for weights, message in [
        ([("bias", mx.ones(1))], "Missing 1 parameters: weight"),
        ([("bias", mx.ones(1)), ("weight", mx.ones((1, 2))), ("nope", mx.ones(1))], "not in model: nope"),
        (
            [("bias", mx.ones(9)), ("weight", mx.ones((1, 2)))],
            r"Expected shape \(1,\) but received shape \(9,\)",
        ),
        ([("bias", 3), ("weight", mx.ones((1, 2)))], "Expected an array"),
    ]:
        with pytest.raises(ValueError, match=message):
            m.load_weights(weights)


# apply, in both meanings


def test_apply_with_a_function_maps_parameters_in_place():
    m = Model()
    assert m.apply(lambda a: a * 0) is m
    assert m.l1.weight.tolist() == [[0, 0]] * 3
    assert m._private.item() == 1.0
    m.apply(lambda a: a + 1, filter_fn=lambda module, key, value: key == "scale")
    assert m.scale.item() == 1.0
    assert m.l1.bias.tolist() == [0, 0, 0]
    m.apply(map_fn=lambda a: a + 2, filter_fn=nn.Module.valid_parameter_filter)
    assert m.scale.item() == 3.0


def test_apply_with_a_tree_runs_with_it_and_changes_nothing():
    m = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    x = mx.ones((4, 2))
    before = leaves(m.parameters())
    doubled = m.filter_and_map(nn.Module.valid_parameter_filter, lambda a: a * 2)
    with_other = m.apply(doubled, x)
    assert all(before[k] is v for k, v in leaves(m.parameters()).items())
    m.update(doubled)
    assert m(x).tolist() == with_other.tolist()


def test_apply_takes_a_part_of_the_tree_and_another_module():
    m = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    x = mx.ones((4, 2))
    assert m.apply({}, x).tolist() == m(x).tolist()
    bias = m.layers[1].bias
    moved = m.apply({"layers": [{}, {"bias": bias + 1}]}, x)
    assert mx.abs(moved - m(x) - 1).max().item() < 1e-6
    other = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    assert m.apply(other, x).tolist() == other(x).tolist()


def test_apply_passes_arguments_on():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = mx.array(2.0)

        def __call__(self, x, *, by=1.0, params=None):
            return self.w * x * by + (0 if params is None else params)

    m = Scaled()
    assert m.apply({"w": mx.array(3.0)}, mx.array(2.0), by=5.0).item() == 30.0
    assert m.apply(m.parameters(), x=mx.array(2.0)).item() == 4.0
    assert m.apply(m.parameters(), mx.array(2.0), params=1.0).item() == 5.0


def test_apply_refuses_what_is_neither():
    m = nn.Linear(1, 1)
    with pytest.raises(TypeError, match="parameter tree"):
        m.apply(mx.array(1.0), mx.array([1.0]))
    with pytest.raises(TypeError, match="parameter tree"):
        m.apply(None)
    with pytest.raises(TypeError, match="needed"):
        m.apply()
    with pytest.raises(ValueError, match='parameter named "nope"'):
        m.apply({"nope": mx.array(1.0)}, mx.array([1.0]))


def test_what_apply_assigns_stays_in_the_copy():
    class Counter(nn.Module):
        def __init__(self):
            super().__init__()
            self.mean = mx.zeros(1)
            self.calls = 0
            self.history = []

        def __call__(self, x):
            self.calls += 1
            self.history.append(x)
            self.mean = x.mean(keepdims=True)
            return self.mean

    m = nn.Sequential(Counter(), Counter())
    m.apply(m.parameters(), mx.ones(3))
    assert [(c.calls, c.history, c.mean.item()) for c in m.layers] == [(0, [], 0.0), (0, [], 0.0)]


def test_apply_keeps_shared_modules_shared():
    shared = nn.Linear(2, 2)
    m = nn.Sequential(shared, nn.ReLU(), shared)
    seen = []
    m.layers[1] = lambda x: seen.append(1) or x
    x = mx.ones((1, 2))
    other = {"layers": [{}, {}, {"weight": mx.eye(2), "bias": mx.ones(2)}]}
    assert m.apply(other, x).tolist() == [[3.0, 3.0]]


def test_apply_rebinds_methods_that_are_attributes():
    class Method(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = mx.array(2.0)
            self.run = self.forward

        def forward(self, x):
            return self.w * x

        def __call__(self, x):
            return self.run(x)

    m = Method()
    assert m.apply({"w": mx.array(5.0)}, mx.array(1.0)).item() == 5.0
    assert mx.grad(lambda p: m.apply(p, mx.array(3.0)))(m.parameters())["w"].item() == 3.0


def test_apply_is_differentiated_vectorised_and_left_unchanged_by_errors():
    m = nn.Linear(2, 1)
    x, y = mx.ones((4, 2)), mx.zeros((4, 1))

    def loss(p):
        return nn.losses.mse_loss(m.apply(p, x), y)

    weight = m.weight
    value, grads = mx.value_and_grad(loss)(m.parameters())
    error = (x @ weight.T + m.bias - y).tolist()
    assert grads["bias"].item() == pytest.approx(2 * error[0][0], rel=1e-5)
    assert value.item() == pytest.approx(error[0][0] ** 2, rel=1e-5)
    assert m.weight is weight

    stacked = {"weight": mx.stack([weight, 2 * weight]), "bias": mx.stack([m.bias, m.bias])}
    both = mx.vmap(lambda p: m.apply(p, x))(stacked)
    assert both.shape == (2, 4, 1)
    assert mx.abs(both[1] - m.apply({"weight": 2 * weight}, x)).max().item() < 1e-6

    def failing(p):
        m.apply(p, x)
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        mx.grad(failing)(m.parameters())
    assert m.weight is weight
    hessian_diagonal = mx.grad(lambda p: mx.grad(loss)(p)["bias"].sum())(m.parameters())["bias"]
    assert hessian_diagonal.item() == pytest.approx(2.0)


def test_apply_is_safe_in_threads():
    m = nn.Linear(1, 1, bias=False)
    x = mx.ones((1, 1))
    wrong = []

    def run(k):
        got = [m.apply({"weight": mx.full((1, 1), float(k))}, x).item() for _ in range(50)]
        wrong.extend(y for y in got if y != k)

    threads = [threading.Thread(target=run, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


# Freezing and modes


def test_freeze_and_unfreeze():
    m = Model()
    assert m.freeze() is m
    assert names(m.trainable_parameters()) == []
    assert names(m.parameters()) == ALL
    m.unfreeze(keys="bias")
    assert names(m.trainable_parameters()) == ["d.a.bias", "l1.bias"]
    m.unfreeze()
    assert names(m.trainable_parameters()) == ALL
    m.freeze(keys=["weight"])
    assert names(m.trainable_parameters()) == [n for n in ALL if not n.endswith("weight")]
    m.unfreeze()
    m.freeze(recurse=False)
    assert names(m.trainable_parameters()) == [n for n in ALL if "." in n and not n.startswith("lst")]
    m.unfreeze(recurse=False)
    assert names(m.trainable_parameters()) == ALL
    m.l1.freeze()
    assert shapes(m.trainable_parameters()["l1"]) == {}


def test_freeze_checks_names_when_strict():
    m = Model()
    assert m.freeze(keys="nope") is m
    with pytest.raises(KeyError, match="doesn't contain member nope"):
        m.freeze(keys="nope", strict=True)
    with pytest.raises(KeyError, match="doesn't contain member nope"):
        m.unfreeze(recurse=False, keys="nope", strict=True)
    with pytest.raises(TypeError):
        m.freeze(True)  # type: ignore[misc]


def test_a_strict_name_has_to_be_somewhere_and_not_everywhere():
    def model():
        return nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 3, bias=False), nn.ReLU())

    m = model()
    assert m.freeze(keys="bias", strict=True) is m
    assert names(m.trainable_parameters()) == ["layers.0.weight", "layers.1.weight"]
    m.unfreeze(keys="bias", strict=True)
    assert len(names(m.trainable_parameters())) == 3
    m.freeze(keys=["bias", "weight"], strict=True)
    assert names(m.trainable_parameters()) == []
    m = model()
    for keys in ("nope", ["bias", "nope"]):
        with pytest.raises(KeyError, match="doesn't contain member nope"):
            m.freeze(keys=keys, strict=True)
        # Nothing is frozen by a failure.
        assert len(names(m.trainable_parameters())) == 3
    with pytest.raises(KeyError, match="doesn't contain member bias"):
        m.freeze(recurse=False, keys="bias", strict=True)
    with pytest.raises(KeyError, match="doesn't contain member bias"):
        m.layers[1].freeze(keys="bias", strict=True)
    m.freeze(strict=True)
    assert names(m.trainable_parameters()) == []


def test_modes():
    m = Model()
    assert m.training
    assert m.eval() is m
    assert not m.training
    assert not m.layers[0].training
    assert m.train() is m
    assert m.d["a"].training
    m.train(False)
    assert not m.l1.training
    with pytest.raises(AttributeError):
        m.training = True  # type: ignore[misc]


# value_and_grad of a module


def test_value_and_grad_of_a_module():
    m = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    x, y = mx.ones((4, 2)), mx.zeros((4, 1))
    before = leaves(m.parameters())

    def loss(model, x, y, *, scale=1.0):
        """Doc."""
        assert model is m
        assert all(before[k] is not v for k, v in leaves(m.parameters()).items())
        return nn.losses.mse_loss(model(x), y) * scale, "aux"

    fn = nn.value_and_grad(m, loss)
    assert (fn.__name__, fn.__doc__) == ("loss", "Doc.")
    (value, aux), grads = fn(m, x, y, scale=2.0)
    assert aux == "aux"
    assert shapes(grads) == shapes(m.trainable_parameters())
    expected = mx.value_and_grad(lambda p: 2 * nn.losses.mse_loss(m.apply(p, x), y))(m.parameters())
    assert value.item() == expected[0].item()
    for name, g in leaves(grads).items():
        assert mx.abs(g - leaves(expected[1])[name]).max().item() < 1e-6
    assert all(before[k] is v for k, v in leaves(m.parameters()).items())


def test_value_and_grad_restores_the_module_after_an_error():
    m = nn.Linear(1, 1)
    before = m.weight

    def loss():
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        nn.value_and_grad(m, loss)()
    assert m.weight is before


def test_value_and_grad_of_frozen_parameters():
    m = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    m.layers[0].freeze()
    _, grads = nn.value_and_grad(m, lambda x: m(x).sum())(mx.ones((4, 2)))
    assert shapes(grads) == {"layers": [{}, {"weight": (1, 3), "bias": (1,)}]}
    m.freeze()
    with pytest.raises(ValueError, match="grad"):
        nn.value_and_grad(m, lambda x: m(x).sum())(mx.ones((4, 2)))


def test_value_and_grad_refuses_what_is_no_module():
    with pytest.raises(TypeError, match="must be a Module"):
        nn.value_and_grad(lambda x: x, lambda x: x)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="must be a function, but int"):
        nn.value_and_grad(nn.Linear(1, 1), 3)  # type: ignore[arg-type]


def test_checkpoint_gives_the_same_gradient():
    m = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    x = mx.ones((4, 2))
    before = leaves(m.parameters())
    kept = nn.utils.checkpoint(m)
    plain = nn.value_and_grad(m, lambda: m(x).sum())()
    again = nn.value_and_grad(m, lambda: kept(x).sum())()
    assert plain[0].item() == again[0].item()
    for name, g in leaves(plain[1]).items():
        assert mx.abs(g - leaves(again[1])[name]).max().item() < 1e-6
    assert all(before[k] is v for k, v in leaves(m.parameters()).items())
    with pytest.raises(TypeError, match="no __call__"):
        nn.utils.checkpoint(nn.Module())


# Everything else


def test_repr():
    assert repr(nn.Linear(2, 3)) == "Linear(input_dims=2, output_dims=3, bias=True)"
    assert repr(nn.Linear(2, 3, bias=False)) == "Linear(input_dims=2, output_dims=3, bias=False)"
    assert repr(nn.Embedding(5, 2)) == "Embedding(5, 2)"
    assert repr(nn.LayerNorm(4)) == "LayerNorm(4, eps=1e-05, affine=True)"
    assert repr(nn.LayerNorm(4, affine=False)) == "LayerNorm(4, eps=1e-05, affine=False)"
    assert repr(nn.RMSNorm(4)) == "RMSNorm(4, eps=1e-05)"
    assert repr(nn.Dropout(0.1)) == "Dropout(p=0.09999999999999998)"
    assert repr(nn.ReLU()) == "ReLU()"
    assert repr(nn.GELU()) == "GELU()"
    inner = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    assert repr(nn.Sequential(inner, nn.relu, nn.PReLU())) == (
        "Sequential(\n"
        "  (layers.0): Sequential(\n"
        "    (layers.0): Linear(input_dims=2, output_dims=3, bias=True)\n"
        "    (layers.1): ReLU()\n"
        "  )\n"
        "  (layers.2): PReLU()\n"
        ")"
    )


def test_copies():
    m = Model()
    shallow = copy.copy(m)
    assert type(shallow) is Model
    assert shallow.l1 is m.l1
    assert shallow.n == 3
    shallow.freeze(recurse=False)
    assert names(m.trainable_parameters()) == ALL
    deep = copy.deepcopy(m)
    assert deep.l1 is not m.l1
    assert deep.l1.weight.tolist() == m.l1.weight.tolist()
    m.freeze()
    again = pickle.loads(pickle.dumps(nn.Sequential(nn.Linear(1, 2).freeze(), nn.ReLU()).eval()))
    assert not again.layers[1].training
    assert names(again.trainable_parameters()) == []
    assert shapes(again.parameters()) == {"layers": [{"weight": (2, 1), "bias": (2,)}, {}]}


def test_a_module_is_an_argument_like_any_other():
    m = nn.Linear(1, 1, bias=False)
    grads = mx.grad(lambda model: model(mx.array([3.0])).sum())(m)
    assert isinstance(grads, nn.Linear)
    assert grads.weight.tolist() == [[3.0]]
