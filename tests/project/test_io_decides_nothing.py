"""No file that does I/O decides on order, attempts or retry: it passes such numbers on."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("zgen/io", "zgen/runtime", "node/zgen_node/io")
FILES = ("node/zgen_node/daemon.py", "node/zgen_node/zygote.py", "node/zgen_node/logs.py")

#: A name with one of these words in it belongs to the core: whoever computes with it decides.
WORDS = ("ack", "acked", "attempt", "attempts", "incarnation", "retries", "retry", "seq")
#: Functions that turn what they are given into an order or a number of times.
DECIDING_CALLS = ("enumerate", "max", "min", "range", "reversed", "sorted", "sum")
#: Functions that may look at such a name, and why.
ALLOWED = {
    # The user's exception classes load in the worker alone; what follows is the core's to say.
    ("zgen/io/ending.py", "is_retriable"): ("retry_exceptions",),
    # It reports one retriable failure of the whole, or the values and errors of each place.
    ("zgen/io/runner.py", "_yields"): ("OUTCOME_RETRY",),
    # It finds out whether what the core wants to be interrupted is what runs.
    ("zgen/io/cancels.py", "is_cancelled"): ("attempt",),
}


def words_of(node: ast.AST) -> Iterator[str]:
    """Yield the core's names that ``node`` reads, wherever in it they stand."""
    for part in ast.walk(node):
        name = {ast.Name: "id", ast.Attribute: "attr"}.get(type(part))
        if name is not None:
            text: str = getattr(part, name)
            if any(word in WORDS for word in text.lower().split("_")):
                yield text


def decisions_in(tree: ast.AST, function: str = "") -> Iterator[tuple[str, str, int]]:
    """Yield (function, name, line) wherever a name of the core is computed with or branched on."""
    for node in ast.iter_child_nodes(tree):
        inside = node.name if isinstance(node, ast.FunctionDef) else function
        for deciding in _deciding_parts(node):
            for word in words_of(deciding):
                yield inside, word, getattr(deciding, "lineno", 0)
        yield from decisions_in(node, inside)


def _deciding_parts(node: ast.AST) -> list[ast.AST]:
    match node:
        case ast.Compare() | ast.BinOp() | ast.AugAssign() | ast.UnaryOp() | ast.BoolOp():
            return [node]
        case ast.If() | ast.While() | ast.IfExp() | ast.Assert():
            return [node.test]
        case ast.comprehension():
            return list(node.ifs)
        case ast.Match():
            return [node.subject]
        case ast.Call(func=ast.Name(id=name)) if name in DECIDING_CALLS:
            return [*node.args, *node.keywords]
        case ast.Call(func=ast.Attribute(attr="sort")):
            return [*node.keywords]
        case _:
            return []


def sources() -> list[Path]:
    found = [path for folder in FOLDERS for path in sorted((ROOT / folder).glob("**/*.py"))]
    return [*found, *(ROOT / name for name in FILES)]


def test_the_files_that_do_io_are_found() -> None:
    names = {path.relative_to(ROOT).as_posix() for path in sources()}
    assert {"zgen/io/loop.py", "zgen/io/mailbox.py", "zgen/io/runner.py"} < names
    assert {"zgen/runtime/process.py", "node/zgen_node/io/processes.py"} < names


@pytest.mark.parametrize("path", sources(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_io_passes_attempts_and_numbers_on_and_computes_nothing_with_them(path: Path) -> None:
    where = path.relative_to(ROOT).as_posix()
    found = {
        f"{where}:{line} {function}() decides by {word!r}"
        for function, word, line in decisions_in(ast.parse(path.read_text(encoding="utf-8")))
        if word not in ALLOWED.get((where, function), ())
    }
    assert not found


def test_what_is_allowed_is_there() -> None:
    for (where, function), words in ALLOWED.items():
        tree = ast.parse((ROOT / where).read_text(encoding="utf-8"))
        assert set(words) <= {word for name, word, _ in decisions_in(tree) if name == function}


@pytest.mark.parametrize(
    "decision",
    [
        "if task.attempt > known: pass",
        "attempt += 1",
        "return spec.retries_left - 1",
        "later = self.seq + 1",
        "while not self._retry: pass",
        "chosen = a if header.ack else b",
        "fresh = [each for each in items if each.attempt == now]",
        "newest = max(peer.incarnation for peer in peers)",
        "items.sort(key=lambda each: each.seq)",
        "for _ in range(max_retries): pass",
        "ready = done and attempts",
        "assert incarnation",
        "match outcome.attempt:\n    case 0: pass",
    ],
)
def test_a_decision_is_found(decision: str) -> None:
    lines = "".join(f"    {line}\n" for line in decision.split("\n"))
    assert list(decisions_in(ast.parse(f"def f():\n{lines}")))


@pytest.mark.parametrize(
    "passing",
    [
        "post(Yielded(task, attempt, value))",
        "attempt = start.task.attempt",
        "return Address(peer, node.incarnation, endpoint)",
        "facts = {'incarnation': INCARNATION}",
        "frames = encode_header(flags, seq=seq, ack=ack)",
    ],
)
def test_passing_on_is_no_decision(passing: str) -> None:
    assert not list(decisions_in(ast.parse(f"def f():\n    {passing}\n")))
