"""The gradient of a loss over a tree of parameters.

``mx.value_and_grad(loss)`` is a function with the arguments of ``loss``. It returns the result of ``loss``
and the gradient with respect to the first argument, here a tree of arrays: a list with a dict for each
layer.

    python examples/python/lasso.py
"""

import covector.core as mx
from covector.utils import tree_map


def forward(params, inputs):
    """A network of two layers, without modules."""
    hidden = mx.tanh(inputs @ params[0]["weight"] + params[0]["bias"])
    return hidden @ params[1]["weight"] + params[1]["bias"]


def mse(params, inputs, targets):
    outputs = forward(params, inputs)
    return (outputs - targets).square().mean()


def lasso(params, inputs, targets, a=1.0, b=1.0):
    """A weighted sum of two losses, and both losses, which are returned together with the gradient."""
    outputs = forward(params, inputs)
    mse = (outputs - targets).square().mean()
    l1 = mx.abs(outputs - targets).mean()
    loss = a * mse + b * l1
    return loss, mse, l1


def main():
    mx.random.seed(0)
    params = [
        {"weight": mx.random.normal((4, 16), scale=0.5), "bias": mx.zeros((16,))},
        {"weight": mx.random.normal((16, 1), scale=0.25), "bias": mx.zeros((1,))},
    ]
    inputs = mx.random.normal((64, 4))
    targets = mx.sin(inputs.sum(axis=1, keepdims=True))

    value, grads = mx.value_and_grad(mse)(params, inputs, targets)
    print(f"mse {value.item():.4f}")
    for i, layer in enumerate(grads):
        print(f"  layer {i}: " + ", ".join(f"{name} {g.shape}" for name, g in layer.items()))

    # Keyword arguments, and several results from one call.
    (loss, squared, l1), grads = mx.value_and_grad(lasso)(params, inputs, targets, b=0.1)
    print(f"lasso {loss.item():.4f} = {squared.item():.4f} + 0.1 · {l1.item():.4f}")

    # Gradients are trees like the parameters, so a step of gradient descent is a map over both.
    step = mx.value_and_grad(lasso)
    for _ in range(300):
        (loss, squared, l1), grads = step(params, inputs, targets, b=0.1)
        params = tree_map(lambda p, g: p - 0.1 * g, params, grads)
    print(f"after 300 steps {loss.item():.4f} = {squared.item():.4f} + 0.1 · {l1.item():.4f}")


if __name__ == "__main__":
    main()
