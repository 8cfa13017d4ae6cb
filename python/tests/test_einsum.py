"""Einstein summation: the parser, the contraction, and agreement with NumPy."""

import random

import covector.core as mx
import pytest

EQUATIONS = [
    ("ij,jk", [(2, 3), (3, 4)]),
    ("ij,jk->ki", [(2, 3), (3, 4)]),
    ("ii->i", [(3, 3)]),
    ("ii", [(3, 3)]),
    ("iij,jk->ik", [(2, 2, 3), (3, 2)]),
    ("ij->", [(2, 3)]),
    ("ba", [(2, 3)]),
    ("i,j->ji", [(2,), (3,)]),
    (",ij", [(), (2, 3)]),
    ("bij,bjk->bik", [(2, 3, 4), (2, 4, 5)]),
    ("bqhd,bkhd->bhqk", [(2, 3, 2, 4), (2, 5, 2, 4)]),
    ("...ij,...jk->...ik", [(2, 1, 3, 4), (5, 4, 2)]),
    ("...j,jk", [(2, 3, 4), (4, 5)]),
    ("i...->...i", [(2, 3, 4)]),
    ("ij,ij,ij->j", [(2, 3), (2, 3), (2, 3)]),
    ("ij,jk,kl->il", [(2, 3), (3, 4), (4, 2)]),
    ("ea,fb,abcd,gc,hd->efgh", [(2, 3), (2, 2), (3, 2, 2, 3), (2, 2), (3, 3)]),
    ("ab,bc,cd,de,ef,fg->ag", [(2, 2), (2, 3), (3, 2), (2, 3), (3, 2), (2, 2)]),
    ("ij,kj->ik", [(2, 3), (4, 1)]),
]


def sample(shape, seed):
    rng = random.Random(seed)
    n = 1
    for extent in shape:
        n *= extent
    return mx.array([rng.randint(-3, 3) / 2 for _ in range(n)]).reshape(shape)


@pytest.mark.parametrize(("subscripts", "shapes"), EQUATIONS)
def test_agrees_with_numpy(subscripts, shapes):
    np = pytest.importorskip("numpy")
    operands = [sample(shape, i) for i, shape in enumerate(shapes)]
    want = np.einsum(subscripts, *(np.array(x) for x in operands))
    got = mx.einsum(subscripts, *operands)
    assert got.shape == want.shape
    assert got.tolist() == pytest.approx(want.tolist()) if got.ndim < 2 else np.allclose(np.array(got), want)


def test_agrees_with_numpy_on_random_equations():
    np = pytest.importorskip("numpy")
    rng = random.Random(0)
    for _ in range(300):
        extents = {letter: rng.randint(1, 3) for letter in "abcde"}
        terms = ["".join(rng.choices("abcde", k=rng.randint(0, 4))) for _ in range(rng.randint(1, 4))]
        letters = sorted(set("".join(terms)))
        rng.shuffle(letters)
        arrow = "->" + "".join(letters[: rng.randint(0, len(letters))]) if rng.random() < 0.8 else ""
        subscripts = ",".join(terms) + arrow
        operands = [sample([extents[c] for c in term], i) for i, term in enumerate(terms)]
        want = np.einsum(subscripts, *(np.array(x) for x in operands))
        got = np.array(mx.einsum(subscripts, *operands))
        assert got.shape == want.shape, subscripts
        assert np.allclose(got, want), subscripts


@pytest.mark.parametrize(("subscripts", "shapes"), EQUATIONS)
def test_gradients(subscripts, shapes):
    operands = [sample(shape, i).astype(mx.float64) for i, shape in enumerate(shapes)]
    mx.check_grads(lambda *xs: mx.einsum(subscripts, *xs), operands)


def test_vmap_and_compile():
    a, b = sample((5, 2, 3), 1), sample((3, 4), 2)
    want = (a @ b).tolist()
    assert mx.vmap(lambda a: mx.einsum("ij,jk->ik", a, b))(a).tolist() == want
    assert mx.compile(lambda a, b: mx.einsum("bij,jk->bik", a, b))(a, b).tolist() == want


def test_types():
    a, b = mx.ones((2, 3), mx.float16), mx.ones((3, 2))
    assert mx.einsum("ij,jk", a, b).dtype == mx.float32
    assert mx.einsum("ij,jk", a, b.astype(mx.float16)).dtype == mx.float16
    assert mx.einsum("ij->i", mx.ones((2, 3), mx.int8)).dtype == mx.int32
    assert mx.einsum("i,i->i", mx.array([1, 2]), mx.array([3, 4])).tolist() == [3, 8]
    assert mx.einsum("i,i->", mx.array([1, 2]), mx.array([3, 4])).item() == 11


def test_half_precision_sums_in_single():
    # In float16 the sum would stop growing at 2048.
    ones = mx.ones((4096,), mx.float16)
    assert mx.einsum("i,i->", ones, ones).item() == 4096


def test_path():
    shapes = [(2, 30), (30, 4), (4, 50)]
    steps, report = mx.einsum_path("ij,jk,kl", *(mx.zeros(s) for s in shapes))
    assert steps == [(0, 1), (0, 1)]
    assert "1280" in report
    assert "36000" in report
    assert mx.einsum_path("ij", mx.zeros((2, 2)))[0] == [(0,)]


@pytest.mark.parametrize(
    ("subscripts", "count", "message"),
    [
        ("ij", 0, "no operands"),
        ("ij,jk", 1, "2 operand"),
        ("i", 1, "name 1 axes"),
        ("i1", 1, "'1'"),
        ("ij->ijk", 1, "in no operand"),
        ("ij->ii", 1, "twice"),
        ("ii", 1, "extents 2 and 3"),
        ("ij,jk", 2, "extent 2 in operand 1"),
        ("i...j...", 1, "not allowed"),
    ],
)
def test_mistakes(subscripts, count, message):
    for f in (mx.einsum, mx.einsum_path):
        with pytest.raises(ValueError, match=message):
            f(subscripts, *[mx.ones((2, 3))] * count)


def test_what_is_no_array():
    for bad in (2.0, [mx.ones(2)], None):
        with pytest.raises(TypeError, match="operand 1 is"):
            mx.einsum("i,i", mx.ones(2), bad)
    with pytest.raises(TypeError):
        mx.einsum(mx.ones(2), "i")
    with pytest.raises(ValueError, match="astype"):
        mx.einsum("ij,jk", mx.ones((2, 2), mx.int32), mx.ones((2, 2), mx.int32))
