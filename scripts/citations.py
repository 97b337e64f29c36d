"""Which tests prove a row of a table of the documentation, and what came out of them.

Rules of this file: a test cites rows by a marker; here they are found and run, for any table.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

ROOT: Final = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Citation:
    """A test that cites rows of a table."""

    path: str
    name: str

    @property
    def is_case(self) -> str:
        """The start of its node ids."""
        return f"{self.path}::{self.name}"


def citations(marker: str, rows: Iterable[str]) -> dict[str, list[Citation]]:
    """Return the tests that cite each row by ``@pytest.mark.<marker>(row)``, by file.

    Raises:
        ValueError: A test cites lines that are no row.
    """
    found: dict[str, list[Citation]] = {row: [] for row in rows}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        if marker not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                for row in _cited(node, marker):
                    if row not in found:
                        raise ValueError(f"{path}: {node.name} cites {row!r}, which is no row")
                    found[row].append(Citation(str(path.relative_to(ROOT)), node.name))
    return found


def _cited(function: ast.FunctionDef | ast.AsyncFunctionDef, marker: str) -> list[str]:
    rows: list[str] = []
    for decorator in function.decorator_list:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func).endswith(f".{marker}"):
            rows += [ast.literal_eval(argument) for argument in decorator.args]
    return rows


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


def links(tests: list[Citation]) -> str:
    """Return what a cell of a page in docs/reference says of its tests."""
    return "<br>".join(f"[{words_of(test.name)}](../../{test.path})" for test in tests)


def result_of(tests: list[Citation], came_out: dict[Citation, str], missing: str) -> str:
    """Return what came out of several tests together, or ``missing`` if there is none."""
    results = {came_out.get(test, "FAILS") for test in tests}
    return next((word for word in ("FAILS", "passes", "skipped") if word in results), missing)


def words_of(name: str) -> str:
    """Return the sentence that a test's name is."""
    return name.removeprefix("test_").replace("_", " ")


def known(text: str) -> dict[Citation, str]:
    """Return what a page says that came out; each test has the result of its first row."""
    result: dict[Citation, str] = {}
    for row in re.findall(r"^\|.*$", text, re.MULTILINE):
        cells = [cell.strip() for cell in row.split("|")]
        for words, path in re.findall(r"\[([^]]+)\]\(\.\./\.\./([^)]+)\)", row):
            result[Citation(path, "test_" + words.replace(" ", "_"))] = cells[-2]
    return result
