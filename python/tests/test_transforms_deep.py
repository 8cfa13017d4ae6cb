"""Functions of a million operations on a small stack, and loops that must not grow."""

import gc
import threading

import covector.core as mx
import pytest

N = 1_000_000


def chain(x):
    for _ in range(N // 2):
        x = x * 1.000001 + 1e-7
    return x


def on_a_small_stack(work):
    """Runs `work` on a thread with a stack of 512 KiB and returns what it returns."""
    result = []
    before = threading.stack_size(512 * 1024)
    try:
        thread = threading.Thread(target=lambda: result.append(work()))
        thread.start()
    finally:
        threading.stack_size(before)
    thread.join()
    assert result, "the thread failed"
    return result[0]


SLOPE = 1.000001 ** (N // 2)


def test_evaluating_a_million_operations():
    assert on_a_small_stack(lambda: chain(mx.array(1.0, mx.float64)).item()) > 1.0


def test_differentiating_a_million_operations():
    slope = on_a_small_stack(lambda: mx.grad(chain)(mx.array(1.0, mx.float64)).item())
    assert slope == pytest.approx(SLOPE, rel=1e-6)


def test_a_million_operations_forwards():
    one = mx.array(1.0, mx.float64)
    slope = on_a_small_stack(lambda: mx.jvp(chain, [one], [one])[1][0].item())
    assert slope == pytest.approx(SLOPE, rel=1e-6)


def test_vectorising_a_million_operations():
    xs = mx.array([1.0, 2.0], mx.float64)
    low, high = on_a_small_stack(lambda: mx.vmap(chain)(xs).tolist())
    assert high - low == pytest.approx(SLOPE, rel=1e-6)


def test_dropping_a_million_operations_unevaluated():
    def work():
        kept = []

        def f(x):
            kept.append(chain(x))
            return x

        mx.grad(f)(mx.array(1.0))
        kept.clear()
        return True

    assert on_a_small_stack(work)


def test_a_failure_after_a_million_operations():
    def f(x):
        chain(x)
        raise KeyError("late")

    def work():
        with pytest.raises(KeyError):
            mx.grad(f)(mx.array(1.0))
        return True

    assert on_a_small_stack(work)


def memory(step, warm_up=20, steps=2_000):
    for _ in range(warm_up):
        step()
    gc.collect()
    before = mx.get_active_memory()
    for _ in range(steps):
        step()
    gc.collect()
    return before, mx.get_active_memory()


def test_a_loop_of_gradients_leaks_nothing():
    params = {"w": mx.random.normal((64, 32)), "b": mx.zeros((32,))}
    x = mx.random.normal((16, 64))
    step = mx.value_and_grad(lambda p: (mx.tanh(x @ p["w"] + p["b"])).square().mean())

    def evaluated():
        value, grads = step(params)
        mx.eval(value, grads)

    before, after = memory(evaluated)
    assert after == before
    before, after = memory(lambda: step(params))
    assert after == before


def test_failing_calls_leak_nothing():
    x = mx.random.normal((256,))

    def fails():
        with pytest.raises(ZeroDivisionError):
            mx.grad(lambda y: (y * y).sum() / (1 // 0))(x)
        with pytest.raises(ValueError, match="scalar"):
            mx.grad(lambda y: mx.exp(y))(x)

    before, after = memory(fails, steps=200)
    assert after == before


def test_cycles_through_transforms_are_collected():
    import weakref

    class Owner:
        pass

    def make():
        owner = Owner()
        owner.step = mx.value_and_grad(lambda x: (x, owner))
        owner.custom = mx.custom_function(lambda x: (x, owner))
        owner.custom.vjp(lambda *args: owner)
        owner.mapped = mx.vmap(lambda x: (x, owner))
        return weakref.ref(owner)

    ref = make()
    gc.collect()
    assert ref() is None


def through_grad(x):
    return mx.grad(through_grad)(x)


def through_vmap(x):
    return mx.vmap(through_vmap)(x[None])


def through_checkpoint(x):
    return mx.checkpoint(through_checkpoint)(x)


def through_products(x):
    return mx.vjp(through_products, [x], [x])[1][0] + mx.jvp(through_products, [x], [x])[1][0]


@mx.custom_function
def through_custom(x):
    return through_custom(x)


@pytest.mark.parametrize(
    "fun",
    [
        through_grad,
        through_vmap,
        through_checkpoint,
        through_products,
        through_custom,
        mx.jacrev(through_grad),
    ],
)
def test_endless_recursion_ends_in_an_exception(fun):
    def work():
        with pytest.raises(RecursionError):
            fun(mx.array(1.0))
        return mx.grad(lambda x: x * x)(mx.array(2.0)).item() == 4.0

    assert work()
    assert on_a_small_stack(work)
