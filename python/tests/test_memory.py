"""Limits on memory and threads, with MLX's meaning."""

import covector.core as mx
import pytest


def test_limits_return_the_one_before():
    for limit in (mx.set_memory_limit, mx.set_cache_limit, mx.set_wired_limit):
        before = limit(10**9)
        assert limit(2 * 10**9) == 10**9
        assert limit(before) == 2 * 10**9
    before = mx.get_memory_limit()
    assert mx.set_memory_limit(12345678) == before
    assert mx.get_memory_limit() == 12345678
    mx.set_memory_limit(before)


def test_the_cache_keeps_what_its_limit_allows():
    before = mx.set_cache_limit(1 << 30)
    x = mx.arange(1 << 20) * 2
    mx.eval(x)
    del x
    assert mx.get_cache_memory() >= 4 << 20
    mx.set_cache_limit(0)
    assert mx.get_cache_memory() == 0
    x = mx.arange(1 << 20) * 2
    mx.eval(x)
    del x
    assert mx.get_cache_memory() == 0
    mx.set_cache_limit(before)


def test_more_than_the_memory_limit_is_had_where_the_system_has_it():
    before = mx.set_memory_limit(1000)
    x = mx.zeros((1000, 1000)) + mx.arange(1000)
    mx.eval(x)
    assert mx.get_active_memory() >= 4_000_000
    assert mx.get_cache_memory() == 0
    mx.set_memory_limit(before)


def test_threads_do_not_change_results():
    before = mx.get_num_threads()
    x = mx.random.normal((300, 400), key=mx.random.key(0))
    results = []
    for n in (1, 2, 3):
        mx.set_num_threads(n)
        assert mx.get_num_threads() == n
        results.append((mx.cumsum(x.reshape(-1)), mx.sort(x, axis=0), x @ x.T))
        mx.eval(results)
    mx.set_num_threads(before)
    for other in results[1:]:
        assert all(mx.array_equal(a, b).item() for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize(
    "name", ["set_memory_limit", "set_cache_limit", "set_wired_limit", "set_num_threads"]
)
def test_what_is_no_number_is_refused(name):
    with pytest.raises(ValueError, match=rf"\[{name}\] -1"):
        getattr(mx, name)(-1)
    with pytest.raises(TypeError):
        getattr(mx, name)("much")
