"""What zgen needs, and what it never asks for: three packages, pinned tools, nobody on the net."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
#: Modules that speak to servers.
TALKERS = (
    *("ftplib", "http", "imaplib", "nntplib", "poplib", "requests", "smtplib", "ssl", "telnetlib"),
    *("urllib", "urllib3", "webbrowser", "xmlrpc"),
)


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def test_zgen_needs_three_packages_and_no_more() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        needed = tomllib.load(file)["project"]["dependencies"]
    names = [re.split(r"[<>=!~ \[;]", each)[0] for each in needed]
    assert names == ["pyzmq", "msgpack", "cloudpickle"]


def test_every_tool_is_pinned_to_one_version() -> None:
    lines = (ROOT / "constraints-dev.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert pins
    assert [pin for pin in pins if not re.fullmatch(r"[\w.-]+==[\w.]+", pin)] == []


def test_nothing_of_zgen_knows_how_to_speak_to_a_server() -> None:
    found = [
        (path.relative_to(ROOT).as_posix(), name)
        for folder in ("zgen", "node")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for name in imported(path)
        if name in TALKERS
    ]
    assert found == []
