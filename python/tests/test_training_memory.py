"""A step of training, as it is usually written and not compiled, has no second copy of what it replaces."""

import gc

import covector.core as mx
import covector.nn as nn
import covector.optimizers as optim
import pytest
from covector.utils import tree_flatten

WIDTH = 512
# The bytes of the parameters below; activations and biases are small beside them.
UNIT = 2 * WIDTH * WIDTH * 4


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = [nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(2)]

    def __call__(self, x):
        return self.layers[1](mx.tanh(self.layers[0](x)))


def batch():
    return mx.random.normal((16, WIDTH)), mx.random.normal((16, WIDTH))


def module(finish):
    """A step of a module; ``finish`` is what the loop does at its end."""
    net, opt = Net(), optim.AdamW(1e-3)
    loss_and_grad = nn.value_and_grad(net, lambda x, y: mx.mean((net(x) - y) ** 2))

    def step():
        loss, grads = loss_and_grad(*batch())
        opt.update(net, grads)
        return finish(net, opt, loss)

    return step


def module_and_eval():
    def finish(net, opt, loss):
        mx.eval(net.parameters(), opt.state)
        return loss

    return module(finish)


def module_and_item():
    return module(lambda net, opt, loss: loss.item())


def plain_loss(params, x, y):
    return mx.mean((mx.tanh(x @ params["first"]) @ params["second"] - y) ** 2)


def plain(update, loss_fn=plain_loss):
    scale = WIDTH**-0.5
    held = {"params": {name: scale * mx.random.normal((WIDTH, WIDTH)) for name in ("first", "second")}}
    opt = optim.AdamW(1e-3)

    def step():
        loss, grads = mx.value_and_grad(loss_fn)(held["params"], *batch())
        held["params"] = getattr(opt, update)(*((grads, held["params"])[:: -1 if update == "update" else 1]))
        return loss

    return held, opt, step


def functions_without_eval():
    return plain("update")[2]


def functions_and_apply_gradients():
    held, opt, once = plain("apply_gradients")

    def step():
        loss = once()
        mx.eval(loss, held["params"], opt.state)
        return loss

    return step


def penalised_loss(params, x, y):
    """One that reads the parameters after all that the gradients need is there."""
    return plain_loss(params, x, y) + 1e-4 * sum(mx.sum(w**2) for w in params.values())


def functions_and_a_list_of_losses():
    losses, step = [], plain("update", penalised_loss)[2]
    return lambda: losses.append(step())


# How many times the parameters: these, two moments, and gradients where somebody holds them while they are
# evaluated. The penalty's sum and the update run together, which may need memory for both; a copy for each
# step would be eight.
@pytest.mark.parametrize(
    ("idiom", "most"),
    [
        (module_and_eval, 4),
        (module_and_item, 4),
        (functions_without_eval, 3.6),
        (functions_and_apply_gradients, 3.6),
        (functions_and_a_list_of_losses, 5.6),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_a_step_keeps_no_second_copy(idiom, most):
    gc.collect()
    before = mx.get_active_memory()
    step = idiom()
    step()
    step()
    mx.reset_peak_memory()
    for _ in range(6):
        step()
    mx.synchronize()
    peak = (mx.get_peak_memory() - before) / UNIT
    assert 3 < peak < most + 0.3, peak


def test_a_loss_is_evaluated_with_the_step_that_it_belongs_to():
    held, opt, step = plain("update")
    first, second = step(), step()
    # The first step by now, the second with whatever is next.
    assert opt.step.item() == 2
    mx.reset_peak_memory()
    before = mx.get_active_memory()
    assert second.item() > 0
    assert first.item() > 0
    mx.eval(held, opt.state)
    assert mx.get_peak_memory() == before


def test_a_step_that_fails_says_so_at_the_next_one():
    opt, table = optim.SGD(0.1), mx.ones((4, 2))

    def loss(table, index):
        return mx.sum(mx.take(table, index, axis=0))

    def step(table, index):
        return opt.update(table, mx.grad(loss)(table, mx.array([index])))

    fine = step(table, 3)
    lost = step(fine, 7)
    # What has nothing to do with it is computed.
    assert (mx.ones((2,)) + 1).tolist() == [2, 2]
    for _ in range(2):
        with pytest.raises(IndexError, match="7"):
            mx.eval(lost)
    lost = step(fine, 7)
    with pytest.raises(IndexError, match="7"):
        step(lost, 1)
    assert fine.tolist()[3] == pytest.approx([0.9, 0.9])


def test_what_nobody_holds_is_not_computed():
    opt = optim.SGD(0.1)
    w = mx.ones((WIDTH, WIDTH))
    mx.eval(w)
    mx.reset_peak_memory()
    before = mx.get_active_memory()
    opt.update(w, mx.grad(lambda w: mx.sum(mx.exp(w)))(w))
    mx.synchronize()
    assert mx.get_peak_memory() - before < w.nbytes


def test_deep_loops_without_eval_stay_shallow():
    # Without end the graph would be evaluated at some depth in mid-step, with a plan of its own.
    opt, held = optim.SGD(0.01, momentum=0.9), {"w": mx.array([1.0, 2.0])}

    def loss(p):
        w = p["w"]
        for _ in range(40):
            w = mx.sin(w)
        return mx.sum(w)

    for _ in range(200):
        held = opt.update(held, mx.grad(loss)(held))
    mx.synchronize()
    with mx.profile() as seen:
        for _ in range(300):
            held = opt.update(held, mx.grad(loss)(held))
    assert sum(event.name == "plan" for event in seen.events) == 0
    assert len(tree_flatten(held)) == 1
