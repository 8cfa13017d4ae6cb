"""Computes the numbers in ``fixtures/mlx.json`` with MLX.

    python python/tools/fixtures.py           # computes all results anew and writes the file
    python python/tools/fixtures.py --check   # says which of them differ from the file

Run it with an interpreter that has MLX, in an environment of its own. The tests of both languages read the
file. Each case has its inputs and a call, from which the results are computed. To add a case, write these
into the file and run this script.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
from mlx.utils import tree_flatten, tree_unflatten

TARGET = Path(__file__).resolve().parents[2] / "fixtures" / "mlx.json"
Case = dict[str, Any]


def pattern(y: mx.array) -> mx.array:
    """Weights of a sum that differ from element to element."""
    return (mx.arange(y.size).reshape(y.shape) % 5 - 2).astype(mx.float32)


def weighed(y: mx.array) -> mx.array:
    """The sum with the weights of ``pattern``."""
    return (y * pattern(y)).sum()


def listed(tree: Any) -> dict[str, Any]:
    """The arrays of a tree by their paths."""
    return {name: x.astype(mx.float32).tolist() for name, x in tree_flatten(tree)}


def plain(x: mx.array) -> Any:
    """The numbers of an array."""
    return (x.astype(mx.float32) if x.dtype == mx.float16 else x).tolist()


def activations(group: Case) -> None:
    """``value`` and ``grad``, of the sum with ``weights``."""
    x = mx.array(group["x"])
    for case in group["cases"]:
        function = getattr(nn, case["name"])

        def f(x: mx.array, case: Case = case, function: Any = function) -> mx.array:
            return function(x, **case["kwargs"])

        y = f(x)
        case["value"] = plain(y)
        if y.dtype != mx.int32:
            weights = mx.array(group["weights"]) if "weights" in group else (mx.arange(y.size) + 1.0)
            weights = weights.reshape(y.shape)
            # MLX's exponential overflows where it is not used, and makes the gradient NaN.
            at = mx.array(case.get("grad_at", group["x"]))
            case["grad"] = plain(mx.grad(lambda x, f=f, w=weights: (f(x) * w).sum())(at))


def prelu(case: Case) -> None:
    """``value``, and ``grad`` of the sum of the squares with respect to ``alpha``."""
    x, alpha = mx.array(case["x"]), mx.array(case["alpha"])
    case["value"] = plain(nn.prelu(x, alpha))
    case["grad"] = plain(mx.grad(lambda a: nn.prelu(x, a).square().sum())(alpha))


def losses(group: Case) -> None:
    """``value``, and ``grad`` of its sum with respect to the first array."""
    arrays = {name: mx.array(values) for name, values in group["arrays"].items()}

    def before(text: str, x: mx.array) -> mx.array:
        function, _, _ = text.rpartition(" ")
        return getattr(nn, function)(x) if function else x

    for case in group["cases"]:
        # An argument may be a function of an array: "log_softmax a".
        texts = case["args"]
        first, *rest = (arrays[text.rpartition(" ")[2]] for text in texts)
        rest = [before(text, x) for text, x in zip(texts[1:], rest, strict=True)]
        kwargs = {k: arrays[v[1:]] if isinstance(v, str) else v for k, v in case["kwargs"].items()}
        if "dtype" in case:
            first = first.astype(getattr(mx, case["dtype"]))

        def f(x: mx.array, case: Case = case, rest: list[mx.array] = rest, kwargs: Case = kwargs) -> mx.array:
            x = before(case["args"][0], x)
            return getattr(nn.losses, case["name"])(x, *rest, reduction=case["reduction"], **kwargs)

        case["value"] = plain(f(first))
        if not case.get("no_grad") and "dtype" not in case:
            case["grad"] = plain(mx.grad(lambda x, f=f: f(x).sum())(first))


def layer(case: Case) -> None:
    """``parameters`` and ``y``; ``gradients`` and ``input_gradient`` of the weighed or squared sum."""
    mx.random.seed(case.get("seed", 7))
    module = eval(case["layer"], {"nn": nn})
    x = mx.array(case["x"])
    if "dtype" in case:
        x = x.astype(getattr(mx, case["dtype"]))
    case["parameters"] = listed(module.parameters())
    case["y"] = plain(module(x))
    if "dtype" in case:
        return
    square = case.get("loss") == "square"

    def loss(x: mx.array) -> mx.array:
        y = module(x)
        return y.square().sum() if square else weighed(y)

    if case["parameters"]:
        case["gradients"] = listed(nn.value_and_grad(module, loss)(x)[1])
    if x.dtype == mx.float32:
        case["input_gradient"] = plain(mx.grad(loss)(x))


def sequence(case: Case) -> None:
    """As ``layer``, for several arguments and outputs. Gradients of large networks are weighed sums."""
    mx.random.seed(case.get("seed", 7))
    module = eval(case["layer"], {"nn": nn})
    args = [mx.array(a) if isinstance(a, list) else a for a in case["args"]]
    flat = tree_flatten(module.parameters())
    case["parameters"] = {name: list(x.shape) for name, x in flat}
    if "values" in case:
        case["values"] = listed(module.parameters())

    def outputs(*args: Any) -> list[mx.array]:
        y = module(*args)
        return list(y) if isinstance(y, tuple) else [y]

    def loss(*args: Any) -> mx.array:
        return sum(weighed(y) for y in outputs(*args))

    case["y"] = [plain(y) for y in outputs(*args)]
    case["input_gradient"] = plain(mx.grad(loss)(*args))
    if not flat:
        return
    grads = tree_flatten(nn.value_and_grad(module, loss)(*args)[1])
    whole = "Transformer" not in case["layer"]
    case["gradients"] = {name: plain(g if whole else weighed(g)) for name, g in grads}
    if "square" in case:

        def squares(*args: Any) -> mx.array:
            return outputs(*args)[0].square().sum()

        case["square"] = listed(nn.value_and_grad(module, squares)(*args)[1])


def fast(case: Case) -> None:
    """``y``, and ``gradients`` of the weighed sum."""
    arrays = {name: mx.array(values) for name, values in case["arrays"].items()}

    def f(named: dict[str, mx.array]) -> mx.array:
        call = case["call"].replace("fast.cross_entropy", "nn.losses.cross_entropy")
        return eval(call, {"fast": mx.fast, "nn": nn}, {**arrays, **named})

    case["y"] = plain(f({}))
    inputs = {name: arrays[name] for name in case["gradients"]}
    grads = mx.grad(lambda named: weighed(f(named)))(inputs)
    case["gradients"] = {name: plain(grads[name]) for name in case["gradients"]}


def dropout(case: Case) -> None:
    """``y`` in training."""
    mx.random.seed(case["seed"])
    case["y"] = plain(nn.Dropout(case["p"])(mx.array(case["x"])))


def init(case: Case) -> None:
    """``y``, after a seed."""
    mx.random.seed(5)
    case["y"] = plain(
        eval("init." + case["init"], {"init": nn.init})(mx.zeros(case["shape"]), **case["kwargs"])
    )


def optimizers(group: Case) -> None:
    """The parameters after each of the ``steps``, and the ``state`` after the last."""

    def tree(flat: Case) -> Any:
        return tree_unflatten([(name, mx.array(values)) for name, values in flat.items()])

    for case in group["cases"]:
        params = tree(group["parameters"])
        opt = eval(case["optimizer"], vars(optim).copy())
        case["steps"] = []
        for grads in group["gradients"]:
            params = opt.apply_gradients(tree(grads), params)
            case["steps"].append(listed(params))
        case["state"] = {name: plain(x) for name, x in tree_flatten(opt.state)}


def schedule(case: Case) -> None:
    """``values`` for the first steps."""
    rate = eval(case["schedule"], vars(optim).copy())
    case["values"] = [float(mx.array(rate(mx.array(i))).item()) for i in range(case["steps"])]


def clip(case: Case) -> None:
    """The clipped ``gradients`` and the ``norm`` they had."""
    grads = {name: mx.array(values) for name, values in case["inputs"].items()}
    clipped, norm = optim.clip_grad_norm(grads, case["max_norm"])
    case["gradients"] = {name: plain(x) for name, x in clipped.items()}
    case["norm"] = plain(norm)


def sample(shape: list[int], step: int) -> mx.array:
    """Numbers that convolutions are computed of."""
    n = 1
    for extent in shape:
        n *= extent
    return ((mx.arange(n) * step) % 17).astype(mx.float32).reshape(shape) / 8 - 1


def flat(x: mx.array) -> list[float]:
    """The numbers of an array in one list."""
    return x.reshape(-1).tolist()


def conv(case: Case) -> None:
    """``y``, and its gradients."""
    op, x, w = getattr(mx, case["op"]), sample(case["x"], 5), sample(case["w"], 7)
    y = op(x, w, **case["kw"])
    case["shape"], case["y"] = list(y.shape), flat(y)
    grads = mx.grad(lambda x, w: (op(x, w, **case["kw"]) * sample(case["shape"], 3)).sum(), argnums=(0, 1))
    case["gx"], case["gw"] = (flat(g) for g in grads(x, w))


def made(name: str, args: list[Any]) -> nn.Module:
    """A layer with these arguments."""
    return getattr(nn, name)(*(tuple(a) if isinstance(a, list) else a for a in args))


def conv_layers(layers: Case) -> None:
    """The first weights, all after one seed."""
    mx.random.seed(3)
    for name, case in layers.items():
        module = made(name, case["args"])
        case["weight"], case["shape"] = flat(module.weight), list(module.weight.shape)
        case["repr"] = repr(module)


def pool(case: Case) -> None:
    """``y``, and its gradient."""
    module = made(case["name"], case["args"])
    x = sample(case["x"], 5)
    y = module(x)
    case["shape"], case["y"], case["repr"] = list(y.shape), flat(y), repr(module)
    case["g"] = flat(mx.grad(lambda x: (module(x) * sample(case["shape"], 3)).sum())(x))


GROUPS: list[tuple[str, Callable[[Case], None]]] = [
    ("activations", activations),
    ("losses", losses),
    ("layers", layer),
    ("sequence", sequence),
    ("fast", fast),
    ("dropout", dropout),
    ("init", init),
    ("optimizers", optimizers),
    ("schedules", schedule),
    ("clip", clip),
]


def compute(data: Case) -> Case:
    """The same cases with all results."""
    data = json.loads(json.dumps(data))
    data["version"] = mx.__version__
    prelu(data["prelu"])
    for name, fill in GROUPS:
        for case in data[name]:
            fill(case)
    for case in data["conv"]["cases"]:
        conv(case)
    conv_layers(data["conv"]["layers"])
    for case in data["conv"]["pools"]:
        pool(case)
    return data


def text(value: Any) -> str:
    """JSON, with as many digits as ``float32`` has."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(k)}:{text(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(text, value)) + "]"
    if isinstance(value, float):
        short = f"{value:.9g}"
        return short if any(c in short for c in ".en") else short + ".0"
    return json.dumps(value)


def lines(data: Case) -> str:
    """JSON with a line for each case."""
    out = []
    for name, group in data.items():
        if isinstance(group, list):
            rows = []
            for case in group:
                if "cases" in case:
                    head = {k: v for k, v in case.items() if k != "cases"}
                    rows.append(
                        text(head)[:-1] + ',"cases":[\n' + ",\n".join(map(text, case["cases"])) + "\n]}"
                    )
                else:
                    rows.append(text(case))
            out.append(f'"{name}":[\n' + ",\n".join(rows) + "\n]")
        else:
            out.append(f'"{name}":{text(group)}')
    return "{\n" + ",\n".join(out) + "\n}\n"


def differences(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """The paths at which two trees differ by more than the rounding of one operation."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*new, *(k for k in old if k not in new)]:
            if key in old and key in new:
                yield from differences(old[key], new[key], f"{path}.{key}")
            else:
                yield f"{path}.{key} is only in the {'file' if key in old else 'results'}"
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for i, (a, b) in enumerate(zip(old, new, strict=True)):
            yield from differences(a, b, f"{path}[{i}]")
    elif isinstance(old, int | float) and isinstance(new, int | float):
        if not (old == new or abs(old - new) <= 1e-6 * max(1e-3, abs(old), abs(new))):
            yield f"{path}: {old} in the file, {new} computed"
    elif old != new:
        yield f"{path}: {old!r} in the file, {new!r} computed"


def main() -> int:
    """Writes or checks the file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only say which results differ from the file")
    check = parser.parse_args().check
    mx.set_default_device(mx.cpu)
    old = json.loads(TARGET.read_text(encoding="utf-8"))
    new = compute(old)
    if not check:
        TARGET.write_text(lines(new), encoding="utf-8")
        return 0
    found = list(differences(old, json.loads(lines(new))))
    print("\n".join(found), file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
