"""mypy and pyright, both strict, say of the programs beside this what is written there."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from mypy import api

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PROGRAMS = [HERE / f"{name}.py" for name in ("functions", "streams", "actors")]
#: A line of output of mypy: its file, its number and what it says.
ERROR = re.compile(r"(\S+\.py):(\d+)(?::\d+)*: error: (.*)")

#: Where something is wrong: name of the program and number of the line.
Place = tuple[str, int]


def lines(mark: str) -> Iterator[tuple[Place, str]]:
    for path in PROGRAMS:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if mark in line:
                yield (path.name, number), line


def wrong() -> list[Place]:
    return [place for place, _ in lines("# wrong: ")]


def assert_found(found: dict[Place, str]) -> None:
    assert {place: text for place, text in found.items() if place not in wrong()} == {}
    assert [place for place in wrong() if place not in found] == []


def test_there_are_enough_cases() -> None:
    assert len(list(lines("assert_type("))) + len(wrong()) >= 120


@pytest.mark.timeout(300)
@pytest.mark.beside_ray("typed")
def test_mypy_finds_what_is_wrong_and_nothing_else(tmp_path: Path) -> None:
    config = tmp_path / "mypy.ini"
    settings = f"strict = True\nexplicit_package_bases = True\nmypy_path = {ROOT}\n"
    config.write_text(f"[mypy]\n{settings}", encoding="utf-8")
    output, complaint, status = api.run(
        [
            f"--config-file={config}",
            f"--cache-dir={tmp_path / 'cache'}",
            "--no-pretty",
            "--no-error-summary",
            "--follow-imports=silent",
            *map(str, PROGRAMS),
        ]
    )
    assert (complaint, status) == ("", 1)
    found = {
        (Path(match[1]).name, int(match[2])): match[3]
        for match in map(ERROR.match, output.splitlines())
        if match
    }
    assert_found(found)


@pytest.mark.timeout(300)
def test_pyright_finds_what_is_wrong_and_nothing_else(tmp_path: Path) -> None:
    here = str(Path(sys.executable).parent)
    command = shutil.which("pyright", path=here) or shutil.which("pyright")
    if command is None:
        pytest.skip("pyright is not installed: pip install -e '.[pyright]'")
    settings = {
        "typeCheckingMode": "strict",
        "extraPaths": [str(ROOT)],
        "enableTypeIgnoreComments": False,
    }
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings), encoding="utf-8")
    run = subprocess.run(
        [command, "-p", str(tmp_path), "--pythonpath", sys.executable, "--outputjson"]
        + [shutil.copy(program, tmp_path) for program in PROGRAMS],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1, run.stdout + run.stderr
    found = {
        (Path(each["file"]).name, each["range"]["start"]["line"] + 1): each["message"]
        for each in json.loads(run.stdout)["generalDiagnostics"]
        if each["severity"] == "error"
    }
    assert_found(found)


def test_the_package_says_that_it_has_types() -> None:
    assert (ROOT / "zgen" / "py.typed").exists()
