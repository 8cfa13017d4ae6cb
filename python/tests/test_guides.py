"""The guides in docs/guides say what happens: every block runs, and every claim beside the code is compared.

The blocks of one guide run in order, in one namespace, with warnings as errors. Comments hold the claims, at
the end of a statement or on the line after it, and go on in comment lines indented by three spaces or more:

- ``expression  # → text``: the ``repr`` of the expression;
- ``statement  # raises Type: text``: the exception; ``…`` in the text stands for anything.

Differences in white space do not count.
"""

import ast
import io
import re
import tokenize
from pathlib import Path
from typing import NamedTuple

import pytest

GUIDES = Path(__file__).resolve().parents[2] / "docs" / "guides"
NAMES = sorted(path.name for path in GUIDES.glob("*.md"))

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CLAIM = re.compile(r"^#\s*(→|raises)\s+(.*)$")
CONTINUED = re.compile(r"^#\s{3,}\S")
LINK = re.compile(r"\]\((?!https?://|#)([^)#]+)")


class Claim(NamedTuple):
    """What a comment says about the statement before it."""

    line: int
    kind: str
    text: str


def fenced(text):
    """The language, first line and source of every fenced block."""
    for match in FENCE.finditer(text):
        yield match[1], text.count("\n", 0, match.start(2)) + 1, match[2]


def claims(source):
    """The claims in the comments of a block, in order."""
    found, last = [], None
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        line = token.start[0]
        alone = not token.line[: token.start[1]].strip()
        if match := CLAIM.match(token.string):
            found.append(Claim(line, match[1], match[2]))
            last = line
        elif alone and last == line - 1 and CONTINUED.match(token.string):
            found[-1] = found[-1]._replace(text=f"{found[-1].text} {token.string[1:]}")
            last = line
    return found


def squeeze(text):
    """The text with every run of white space made one space."""
    return " ".join(text.split())


def agrees(expected, received):
    """Whether the text is the expected one, in which … stands for anything."""
    pattern = ".*".join(re.escape(part) for part in squeeze(expected).split("…"))
    return re.fullmatch(pattern, squeeze(received), re.DOTALL) is not None


def run_block(source, where, first_line, namespace):
    """Runs a block, statement by statement, and returns how many claims it has held to."""
    body = ast.parse(source).body
    by_statement = {}
    for claim in claims(source):
        ends = [i for i, s in enumerate(body) if s.end_lineno in (claim.line, claim.line - 1)]
        assert ends, f"{where}:{first_line + claim.line - 1}: a claim without a statement"
        assert ends[-1] not in by_statement, f"{where}:{first_line + claim.line - 1}: a second claim"
        by_statement[ends[-1]] = claim
    for i, statement in enumerate(body):
        at = f"{where}:{first_line + statement.lineno - 1}"
        claim = by_statement.get(i)
        ast.increment_lineno(statement, first_line - 1)
        program = compile(ast.Module([statement], []), where, "exec")
        if claim is None:
            exec(program, namespace)
        elif claim.kind == "raises":
            with pytest.raises(Exception) as caught:  # noqa: PT011 (type and text are compared below)
                exec(program, namespace)
            received = f"{caught.type.__name__}: {caught.value}"
            assert agrees(claim.text, received), f"{at} raises\n  {received}\nnot\n  {claim.text}"
        else:
            assert isinstance(statement, ast.Expr), f"{at}: → follows an expression, nothing else"
            value = eval(compile(ast.Expression(statement.value), where, "eval"), namespace)
            received = repr(value)
            assert squeeze(claim.text) == squeeze(received), f"{at} gives\n  {received}\nnot\n  {claim.text}"
    return len(by_statement)


def run_guide(text, where):
    """Runs all blocks of a guide and returns how many claims they have held to."""
    namespace = {"__name__": "__main__"}
    held = 0
    for language, first_line, source in fenced(text):
        assert language == "python", f"{where}:{first_line}: a block of {language!r}, which would not run"
        held += run_block(source, where, first_line, namespace)
    return held


def test_the_guides_are_there():
    assert {"from-pytorch.md", "from-numpy.md", "pitfalls.md", "seeing.md"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_guide_holds(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (GUIDES / name).read_text(encoding="utf-8")
    assert text.count("\n```") == 2 * len(list(fenced(text))), "a fence that does not open or close a block"
    held = run_guide(text, name)
    assert held >= 10, f"only {held} claims in {name}: what does it show?"


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name):
    text = (GUIDES / name).read_text(encoding="utf-8")
    for target in LINK.findall(text):
        assert (GUIDES / target).exists(), f"{name} links to {target}"


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("1 + 1  # → 3", "gives"),
        ("x = 1  # → 1", "follows an expression"),
        ("int('1')  # raises ValueError: …", "DID NOT RAISE"),
        ("int('a')  # raises TypeError: …", "raises"),
        ("int('a')  # raises ValueError: something else", "raises"),
        ("# → 3", "without a statement"),
        ("1 + 1\n\n# → 2", "without a statement"),
        ("1 + 1  # → 2\n# → 2", "a second claim"),
        ("assert 1 == 2", "1 == 2|^$"),
    ],
)
def test_a_wrong_claim_is_noticed(source, complaint):
    with pytest.raises((AssertionError, pytest.fail.Exception), match=complaint):
        run_guide(f"Text.\n\n```python\n{source}\n```\n", "guide.md")


def test_a_block_that_would_not_run_is_noticed():
    with pytest.raises(AssertionError, match="would not run"):
        run_guide("```text\nx\n```\n", "guide.md")


def test_right_claims_hold():
    source = "\n".join(
        [
            "x = [1,",
            "     2]",
            "x  # → [1, 2]",
            "[1] * 3  # → [1, 1,",
            "#     1]",
            "x[0]",
            "# → 1",
            "# an ordinary comment",
            "int('a')  # raises ValueError: invalid literal …: 'a'",
        ]
    )
    text = f"```python\n{source}\n```\n\n```python\nx.append(3)\nlen(x)  # → 3\n```\n"
    assert run_guide(text, "guide.md") == 5
    assert next(iter(fenced("a\n\n```python\nb\n```\n")))[1] == 4
