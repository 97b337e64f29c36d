"""What zgen needs, and what it never asks for: three packages, pinned tools, nobody on the net."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

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


@pytest.mark.parametrize("name", ["requirements-run.txt", "requirements-dev.txt"])
def test_what_is_installed_is_pinned_to_one_version_and_to_the_hashes_of_its_files(
    name: str,
) -> None:
    text = (ROOT / name).read_text(encoding="utf-8").replace("\\\n", "")
    pins = [line for line in text.splitlines() if line and not line.startswith("#")]
    pin = re.compile(r"[\w.-]+==[\w.]+( +--hash=sha256:[0-9a-f]{64})+")
    assert [each for each in pins if not pin.fullmatch(each)] == []
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    wanted = [*project["dependencies"], "hatchling", "editables"]
    if name == "requirements-dev.txt":
        wanted += project["optional-dependencies"]["dev"]
    bare = {re.split(r"[<>=!~ \[;]", each)[0] for each in wanted}
    assert bare <= {each.partition("==")[0] for each in pins}


def test_make_installs_nothing_that_has_no_hash() -> None:
    made = (ROOT / "Makefile").read_text(encoding="utf-8").replace("\\\n", "").splitlines()
    calls = [line for line in made if "pip install" in line or "$(PIP_INSTALL)" in line]
    assert len(calls) == 4
    for call in calls[1:]:  # the first one names the command
        assert "--require-hashes" in call or "--no-deps --no-build-isolation" in call


def test_nothing_of_zgen_knows_how_to_speak_to_a_server() -> None:
    found = [
        (path.relative_to(ROOT).as_posix(), name)
        for folder in ("zgen", "node")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for name in imported(path)
        if name in TALKERS
    ]
    assert found == []
