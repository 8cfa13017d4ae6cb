"""Where memory ends there is a MemoryError, and what comes after it is right."""

# A process of its own runs under a limit of its address space.
import subprocess
import sys
import textwrap

import pytest

resource = pytest.importorskip("resource")

PROGRAM = """
import gc, pickle, resource
import covector.core as mx
import covector.nn as nn

mx.set_num_threads(2)

def small():
    a = mx.arange(12, dtype=mx.float16).reshape(3, 4)
    assert (a @ a.T).tolist() == [[14, 38, 62], [38, 126, 214], [62, 214, 366]]
    assert pickle.loads(pickle.dumps(a)).tolist() == a.tolist()
    assert mx.array([1, 2, 3]).tolist() == [1, 2, 3]
    assert mx.sort(mx.array([3.0, 1.0, 2.0])).tolist() == [1, 2, 3]

small()
{prepare}

def limited(room):
    '''Leaves so many bytes to the rest of the program.'''
    mx.clear_cache()
    with open("/proc/self/statm") as f:
        used = int(f.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + room, resource.RLIM_INFINITY))

def work():
    {work}

for room in {rooms}:
    limited(room << 20)
    try:
        result = work()
        ended = False
    except MemoryError:
        ended = True
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert ended, room
    result = None
    gc.collect()
    small()
work()
print("right")
"""

CASES = {
    "a product of halves": (
        "x = mx.ones((4096, 4096), dtype=mx.float16) * 2; mx.eval(x)",
        "mx.eval(x @ x)",
        [4, 20, 40],
    ),
    "a product of halves by few rows": (
        "x, w = mx.ones((4, 64), dtype=mx.bfloat16) * 2, mx.ones((64, 1 << 22), dtype=mx.bfloat16) * 2\n"
        "mx.eval(x, w)",
        "mx.eval(x @ w)",
        [1, 8],
    ),
    "pickling": (
        "x = mx.arange(1 << 24) * 1.0; mx.eval(x)",
        "return pickle.dumps(x)",
        [8, 32, 100],
    ),
    "an array of a long list": (
        "values = [float(i) for i in range(1 << 21)]",
        "return mx.array(values)",
        [1, 16, 40],
    ),
    "an array of long tuples": (
        "values = [tuple(range(1 << 20)) for _ in range(4)]",
        "return mx.array(values, dtype=mx.int64)",
        [1, 16, 40],
    ),
    "a list of an array": (
        "x = mx.arange(1 << 22) + 1000; mx.eval(x)",
        "return x.tolist()",
        [2, 20, 60],
    ),
    "a list of the rows of an array": (
        "x = mx.arange(1 << 22).reshape(-1, 2) * 0.5; mx.eval(x)",
        "return x.tolist()",
        [2, 20, 60],
    ),
    "bytes": (
        "x = mx.arange(1 << 24) * 1.0; mx.eval(x)",
        "return bytes(x)",
        [8, 32],
    ),
    "an array of bytes": (
        "import array; values = array.array('d', bytes(1 << 26))",
        "return mx.array(values)",
        [8, 40],
    ),
    "sorting": (
        "x = mx.random.normal((1 << 23,), key=mx.random.key(0)); mx.eval(x)",
        "mx.eval(mx.sort(x), mx.argsort(x))",
        [8, 40, 90],
    ),
    "scattering": (
        "x = mx.zeros((1 << 22,)); i = mx.arange(1 << 22); mx.eval(x, i)",
        "mx.eval(x.at[i].add(x))",
        [4, 18],
    ),
    "convolution in half precision": (
        "x, w = mx.ones((8, 256, 256, 8), dtype=mx.float16) * 2, mx.ones((8, 3, 3, 8), dtype=mx.float16)\n"
        "mx.eval(x, w)",
        "mx.eval(mx.conv2d(x, w))",
        [4, 12, 30],
    ),
    "a mask": (
        "x = mx.arange(1 << 22) * 1.0; m = x > 5; mx.eval(x, m)",
        "y = x * 1.0; y[m] = 2.0; mx.eval(y)",
        [2, 10],
    ),
    "training": (
        "net = nn.Sequential(nn.Linear(1024, 2048), nn.ReLU(), nn.Linear(2048, 1024))\n"
        "params, x = net.parameters(), mx.ones((512, 1024)); mx.eval(params, x)\n"
        "f = mx.value_and_grad(lambda p: net.apply(p, x).square().mean())",
        "v, g = f(params); mx.eval(v, g)",
        [4, 12, 20],
    ),
}


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
@pytest.mark.parametrize("name", CASES)
def test_memory_that_ends_is_an_exception(name):
    prepare, work, rooms = CASES[name]
    program = PROGRAM.format(prepare=prepare, work=work, rooms=rooms)
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=False
    )
    assert run.returncode == 0, textwrap.indent(run.stderr[-3000:], "  ")
    assert run.stdout == "right\n"
