"""Profiles, graphs and plans: what they show is what happens."""

import io
import json
import threading
import xml.etree.ElementTree as ET

import covector.core as mx
import covector.nn as nn
import pytest


@pytest.fixture
def x():
    x = mx.random.normal((64, 32))
    mx.eval(x)
    return x


def kernels(p, word):
    return [e for e in p.events if e.kind == "kernel" and word in e.name]


def test_a_profile_has_the_kernels_that_ran(x):
    with mx.profile() as p:
        for _ in range(3):
            mx.eval(mx.tanh(x @ x.T))
    products = kernels(p, "matmul")
    assert len(products) == 3
    for e in products:
        assert e.flops == 2 * 64 * 64 * 32
        assert e.bytes_read == 4 * 64 * 32, "both factors are one memory"
        assert e.bytes_written == 4 * 64 * 64
        assert e.duration_us > 0
        assert 0 <= e.start_us <= p.duration_us
    assert [e.flops for e in kernels(p, "tanh")] == [64 * 64] * 3
    assert [e.start_us for e in p.events] == sorted(e.start_us for e in p.events)
    assert repr(p) == f"<profile of {len(p.events)} events>"
    assert repr(products[0]).startswith(
        "ProfileEvent(name='matmul: (64, 64) of (64, 32), (32, 64)', kind='kernel', start_us="
    )


def test_nothing_is_recorded_outside(x):
    mx.eval(mx.sin(x))
    with mx.profile() as p:
        late = mx.cos(x)
        assert p.events == [], "nothing has run"
    mx.eval(late)
    assert p.events == []
    with p:
        mx.eval(mx.tan(x))
    mx.eval(mx.exp(x))
    assert len(kernels(p, "tan")) == len([e for e in p.events if e.kind == "kernel"]) == 1


def test_profiles_nest_and_threads_are_told_apart(x):
    def work():
        mx.eval(mx.cosh(x))

    with mx.profile() as outer:
        mx.eval(mx.sinh(x))
        with mx.profile() as inner:
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
        mx.eval(mx.erf(x))
    assert len(kernels(inner, "cosh")) == 1
    assert not kernels(inner, "sinh")
    assert not kernels(inner, "erf")
    threads = {word: kernels(outer, word)[0].thread for word in ("sinh", "cosh", "erf")}
    assert threads["sinh"] == threads["erf"] != threads["cosh"]


def test_the_trace_is_json_with_a_row_for_each_kernel(x, tmp_path):
    path = tmp_path / "trace.json"
    with mx.profile(path) as p:
        mx.eval((x @ x.T).sum())
        mx.eval((x @ x.T).sum())
    trace = json.loads(path.read_text(encoding="utf-8"))
    spans = [e for e in trace["traceEvents"] if e["ph"] == "X"]
    assert len(spans) == len(p.events)
    rows = {
        (e["pid"], e["tid"]): e["args"]["name"]
        for e in trace["traceEvents"]
        if e["ph"] == "M" and e["name"] == "thread_name"
    }
    assert len(set(rows.values())) == len(rows) == len({e.name for e in p.events})
    for span, event in zip(spans, p.events, strict=True):
        assert rows[span["pid"], span["tid"]] == span["name"] == event.name
        assert span["ts"] == pytest.approx(event.start_us, abs=1e-3)
        assert span["dur"] == pytest.approx(event.duration_us, abs=1e-3)
        if event.kind == "kernel":
            assert span["args"]["flops"] == event.flops
            assert span["args"]["bytes"] == event.bytes_read + event.bytes_written
    product = next(s for s in spans if "matmul" in s["name"])
    assert product["args"]["GFLOP/s"] == pytest.approx(2 * 64 * 64 * 32 / product["dur"] / 1e3, rel=0.05)
    assert [s["cat"] for s in spans].count("plan") <= 1


def test_compiled_functions_show_tracing_once_and_their_kernels_always(x):
    f = mx.compile(lambda x: mx.tanh(x @ x.T).sum())
    with mx.profile() as first:
        mx.eval(f(x) * 2)
    with mx.profile() as again:
        mx.eval(f(x) * 2)
    count = [[e.kind for e in p.events].count("trace") for p in (first, again)]
    assert count == [1, 0]
    (call,) = [e for e in again.events if e.kind == "nested"]
    assert (call.flops, call.bytes_read, call.bytes_written) == (0, 0, 0)
    (product,) = kernels(again, "matmul")
    assert call.start_us <= product.start_us
    assert product.duration_us <= call.duration_us
    with mx.profile() as alone:
        mx.eval(f(x))
    assert {e.kind for e in alone.events} == {"kernel"}


def test_a_training_step_has_a_table_and_a_picture(tmp_path):
    model = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 10))
    x, y = mx.random.normal((128, 32)), mx.random.normal((128, 10))
    step = nn.value_and_grad(model, lambda m: nn.losses.mse_loss(m(x), y))
    with mx.profile() as p:
        for _ in range(5):
            mx.eval(step(model))
    lines = p.summary().splitlines()
    assert lines[0].split() == ["count", "ms", "share", "GB/s", "GFLOP/s", "kernel"]
    times = [float(line.split()[1]) for line in lines[1:-1]]
    assert times == sorted(times, reverse=True)
    assert sum(times) == pytest.approx(float(lines[-1].split()[1]), abs=1e-3 * len(times))
    product = "matmul: (128, 64) of (128, 32), (32, 64)"
    counts = {line.split("  ")[-1]: int(line.split()[0]) for line in lines[1:-1]}
    assert counts[product] == 5

    p.save(tmp_path / "trace.svg")
    root = ET.parse(tmp_path / "trace.svg").getroot()
    texts = [t.text for t in root.iter("{http://www.w3.org/2000/svg}text")]
    assert product in texts
    assert "share" in texts
    p.save(str(tmp_path / "trace.txt"))
    assert (tmp_path / "trace.txt").read_text(encoding="utf-8") == p.summary()


def test_mistakes_are_named_before_the_work_is_done(x, tmp_path):
    with pytest.raises(ValueError, match=r"\[profile\] trace.png .*\.json.*\.svg.*\.txt"):
        mx.profile("trace.png")
    p = mx.profile()
    assert repr(p) == "<profile, not started>"
    with pytest.raises(RuntimeError, match="nothing was recorded yet"):
        p.summary()
    with p:
        assert repr(p) == "<profile, running>"
        with pytest.raises(RuntimeError, match="running already"), p:
            pass
        mx.eval(mx.sin(x))
        assert len(p.events) >= 1
    with pytest.raises(FileNotFoundError, match=r"\[profile\] .*missing"):
        p.save(tmp_path / "missing" / "trace.json")
    with pytest.raises(TypeError):
        p.save(3)


def test_an_exception_in_the_block_comes_out_and_the_trace_is_written(x, tmp_path):
    path = tmp_path / "trace.txt"

    def fails():
        mx.eval(mx.sin(x))
        raise KeyError("mine")

    p = mx.profile(path)
    with pytest.raises(KeyError, match="mine"), p:
        fails()
    assert "sin" in path.read_text(encoding="utf-8")
    with pytest.raises(KeyError, match="mine"), mx.profile(tmp_path / "missing" / "trace.json"):
        fails()
    with pytest.raises(FileNotFoundError), mx.profile(tmp_path / "missing" / "trace.json"):
        pass
    # Both have stopped.
    before = len(p.events)
    mx.eval(mx.cos(x))
    assert len(p.events) == before


def test_graph_and_plan_as_text(x):
    y = (mx.exp(x * 2) + 1).sum(axis=1)
    graph = mx.graph_text(y)
    assert "= multiply(%0, %1)" in graph
    assert "= exp(%2)" in graph
    plan = mx.plan_text([y], {"again": y})
    assert "multiply, exp, add" in plan
    assert plan == mx.plan_text(y), "the same array twice is one result"
    mx.eval(y)
    assert mx.plan_text(y) == ""
    assert mx.graph_text(y) == "%0: float32 (64,) = values\n"
    with pytest.raises(TypeError, match=r"\[plan_text\] argument 1 of the arrays is .*int"):
        mx.plan_text(y, 3)


def test_plan_text_inside_a_trace_says_that_there_are_no_values():
    def f(x):
        mx.plan_text(x * 2)
        return x

    with pytest.raises(ValueError, match="vmap or compile"):
        mx.vmap(f)(mx.ones(3))


def test_export_to_dot(x, tmp_path):
    y = (x * 2).sum()
    file = io.StringIO()
    mx.export_to_dot(file, y, x=x)
    dot = file.getvalue()
    assert dot.startswith("digraph {")
    assert dot.rstrip().endswith("}")
    assert 'label="x\\nvalues\\nfloat32 (64, 32)", shape=ellipse' in dot
    assert 'label="multiply\\nfloat32 (64, 32)", shape=box' in dot
    assert dot.count("peripheries=2") == 1
    for path in (tmp_path / "a.dot", str(tmp_path / "b.dot")):
        mx.export_to_dot(path, y, x=x)
    assert (tmp_path / "a.dot").read_text(encoding="utf-8") == dot
    assert (tmp_path / "b.dot").read_text(encoding="utf-8") == dot
    file = io.StringIO()
    mx.export_to_dot(file, *mx.divmod(mx.array(5.0), mx.array(2.0)))
    assert file.getvalue().count("peripheries=2") == 2
    assert '"5\\nfloat32 ()"' in file.getvalue()
    # A name of an array alone is drawn, as in MLX.
    file = io.StringIO()
    mx.export_to_dot(file, z=y)
    assert "z\\n" in file.getvalue()


def test_export_to_dot_refuses_what_it_cannot_write(x, tmp_path):
    with pytest.raises(TypeError, match=r"\[export_to_dot\] file is .*int; give a path"):
        mx.export_to_dot(3, x)
    with pytest.raises(TypeError, match="argument 0 of the arrays"):
        mx.export_to_dot(io.StringIO(), "x")
    with pytest.raises(TypeError, match=r"\[export_to_dot\] name is"):
        mx.export_to_dot(io.StringIO(), x, name=3)
    with pytest.raises(FileNotFoundError, match="missing"):
        mx.export_to_dot(tmp_path / "missing" / "a.dot", x)


def test_numbers_that_happen_to_be_equal_change_no_plan():
    # Numbers beside arrays are kept and used again; each place in a program is a leaf of its own all the
    # same.
    x = mx.array([1.0, 2.0])

    def value(a, b):
        y = x * a + b * x
        return y.tolist()

    first = value(3.0, 4.0)
    with mx.profile() as seen:
        others = [value(4.0, 4.0), value(5.0, 6.0), value(3.0, 4.0)]
    assert [first, *others] == [[7, 14], [8, 16], [11, 22], [7, 14]]
    assert [event.name for event in seen.events if event.kind == "plan"] == []
