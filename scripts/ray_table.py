"""Generate docs/reference/ray-generators.md: each line of Ray's page on generators, and its tests.

A test cites lines of that page, as Ray 2.60 ships it (``ray-generator.rst``), by
``@pytest.mark.ray_docs("28-31")``. ``python scripts/ray_table.py`` runs the tests that are cited
and writes the table with what came out; ``--check`` fails if the table is stale or tells of a
failure.
"""

from __future__ import annotations

import argparse
import ast
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

ROOT: Final = Path(__file__).resolve().parent.parent
PAGE: Final = ROOT / "docs" / "reference" / "ray-generators.md"
MARKER: Final = "ray_docs"

#: Why a row has no test yet.
NOT_YET: Final = "not yet"

#: Lines of the page -> what they promise, in our words, and why there is no test, or "".
CLAIMS: Final[dict[str, tuple[str, str]]] = {
    "6-7": ("A remote generator function yields one value an iteration", ""),
    "14-25": ("The caller loops over references and gets each as it comes", ""),
    "28-31": ("Items are there one by one, long before the task ends", ""),
    "35": ("Items are freed as they are dropped, while the task still runs", ""),
    "45": ("Tasks and actors can both be generators", ""),
    "46": ("In all kinds of actor: regular, threaded, async", ""),
    "47": ("With retries", ""),
    "48": ("With wait and cancel", ""),
    "52-53": ('A generator function with num_returns="streaming"', ""),
    "60-62": ("What comes back works with next, iter, anext and aiter", ""),
    "64-65": ("Each yield makes one reference, which next returns", ""),
    "66-67": ("When there is nothing more: StopIteration, or StopAsyncIteration", ""),
    "69-71": ("next blocks its thread until the next item is there; a for loop works", ""),
    "73": ("asyncio or wait instead of a blocked thread", ""),
    "82-84": ("The body runs eagerly and is never paused by the consumer", ""),
    "89-91": ("A failure is a reference whose get raises", ""),
    "98-100": ("An exception of the body stands at its place in the order", ""),
    "100-104": ("After a failure of the system at most one reference more, with the error", ""),
    "108-109": ("Generator methods of regular, async and threaded actors", ""),
    "118-119": ("anext and async for", ""),
    "128": ("A reference that next returned is counted like any other", ""),
    "129": ("What was not taken goes with the generator", ""),
    "136-137": ("del gen frees what was not taken, and nothing that was", ""),
    "144": ("max_retries and retry_exceptions", ""),
    "145": ("max_restarts and max_task_retries", ""),
    "146": ("Lost objects are made again", ""),
    "152": ("cancel works with generator tasks and generator methods", ""),
    "153-155": ("A cancelled generator ends with a reference to TaskCancelledError", ""),
    "161-163": ("Three ways to wait without blocking a thread", ""),
    "167-168": ("completed() is ready when the task has ended; get of a generator is refused", ""),
    "172-173": ("Many asyncio tasks, each with a stream of its own", ""),
    "182-183": ("wait takes generators: ready means that next does not block", ""),
    "190": ("All arguments of wait work with generators", ""),
    "192-193": ("wait takes references and generators together", ""),
    "202": ("A generator is not thread-safe", ""),
    "208": ("send and throw are refused unless two_way=True; close works here", ""),
    "209": ("return ends the stream; here its value is delivered, too", ""),
    "210": ("A generator cannot be passed to a task or an actor", ""),
}


@dataclass(frozen=True)
class Citation:
    """A test that cites lines."""

    path: str
    name: str

    @property
    def is_case(self) -> str:
        """The start of its node ids."""
        return f"{self.path}::{self.name}"


def citations() -> dict[str, list[Citation]]:
    """Return the tests that cite each row, in order of their files.

    Raises:
        ValueError: A test cites lines that are no row.
    """
    found: dict[str, list[Citation]] = {lines: [] for lines in CLAIMS}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        if MARKER not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                for lines in _cited(node):
                    if lines not in found:
                        raise ValueError(f"{path}: {node.name} cites {lines!r}, which is no row")
                    found[lines].append(Citation(str(path.relative_to(ROOT)), node.name))
    return found


def _cited(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    lines: list[str] = []
    for decorator in function.decorator_list:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func).endswith(f".{MARKER}"):
            lines += [ast.literal_eval(argument) for argument in decorator.args]
    return lines


def outcomes(cited: dict[str, list[Citation]]) -> dict[Citation, str]:
    """Run what is cited; return ``passes``, ``skipped`` or ``FAILS`` for each."""
    tests = list(dict.fromkeys(test for tests in cited.values() for test in tests))
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}"]
        subprocess.run([*command, *(test.is_case for test in tests)], cwd=ROOT, check=False)
        cases = list(ElementTree.parse(report).getroot().iter("testcase"))  # our own
    result: dict[Citation, str] = {}
    for test in tests:
        module = test.path.removesuffix(".py").replace("/", ".")
        own = [
            case
            for case in cases
            if case.get("classname") == module
            and re.split(r"\[", case.get("name", ""))[0] == test.name
        ]
        failed = [case for case in own if case.find("failure") is not None]
        failed += [case for case in own if case.find("error") is not None]
        skipped = [case for case in own if case.find("skipped") is not None]
        if failed or not own:
            result[test] = "FAILS"
        else:
            result[test] = "skipped" if len(skipped) == len(own) else "passes"
    return result


def page(cited: dict[str, list[Citation]], came_out: dict[Citation, str]) -> str:
    """Return the page."""
    rows = [
        "# Ray's page on generators, line by line",
        "",
        "Generated by `scripts/ray_table.py`, which ran the tests. The lines are those of",
        "`ray-generator.rst` in Ray 2.60; what they promise is said in our words.",
        "",
        "| lines | what they promise | tests | result |",
        "|---|---|---|---|",
    ]
    for lines, (promise, missing) in CLAIMS.items():
        tests = cited[lines]
        names = "<br>".join(f"[{_words(t.name)}](../../{t.path})" for t in tests)
        results = {came_out.get(test, "FAILS") for test in tests}
        order = ("FAILS", "passes", "skipped")
        result = next((word for word in order if word in results), missing or NOT_YET)
        rows.append(f"| {lines} | {promise} | {names} | {result} |")
    return "\n".join(rows) + "\n"


def _words(name: str) -> str:
    return name.removeprefix("test_").replace("_", " ")


def known(text: str) -> dict[Citation, str]:
    """Return what a page says that came out; each test has the result of its first row."""
    result: dict[Citation, str] = {}
    for row in text.splitlines():
        cells = [cell.strip() for cell in row.split("|")]
        for words, path in re.findall(r"\[([^]]+)\]\(\.\./\.\./([^)]+)\)", row):
            result[Citation(path, "test_" + words.replace(" ", "_"))] = cells[-2]
    return result


def main(arguments: list[str]) -> int:
    """Write the page, or look whether it is as it should be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail if the page is stale")
    cited = citations()
    if not parser.parse_args(arguments).check:
        PAGE.write_text(page(cited, outcomes(cited)), encoding="utf-8")
        return 0
    text = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    if text != page(cited, known(text)) or "FAILS" in text:
        print(f"{PAGE.relative_to(ROOT)} is stale or tells of a failure; run scripts/ray_table.py")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
