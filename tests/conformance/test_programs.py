"""Programs against the documented API, on Ray and, with only the import changed, on zgen."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from scripts.benchmark.subject import RAY_QUIET
from tests.integration.scripts import environment, run, succeeded

ROOT: Final = Path(__file__).resolve().parents[2]
PROGRAMS: Final = sorted((Path(__file__).parent / "programs").glob("*.py"))
IMPORT: Final = "\nimport ray\n"

#: Names of the snippets in the reference text.
SNIPPETS: Final = (
    "define",
    "execute",
    "exception",
    "actor_model",
    "asyncio",
    "gc",
    "concurrency_asyncio",
    "wait_simple",
    "wait_complex",
)


@cache
def python_with_ray() -> str | None:
    """Return an interpreter that has Ray: this one, or that of the benchmark, or None."""
    if importlib.util.find_spec("ray") is not None:
        return sys.executable
    interpreter = ROOT / ".bench" / "ray-venv" / "bin" / "python"
    return str(interpreter) if interpreter.exists() else None


def name_of(program: Path) -> str:
    return program.stem


@pytest.mark.parametrize("program", PROGRAMS, ids=name_of)
def test_it_runs_on_zgen_with_only_the_import_changed(program: Path, tmp_path: Path) -> None:
    source = program.read_text()
    assert source.count(IMPORT) == 1
    changed = source.replace(IMPORT, "\nimport zgen as ray\n")
    assert succeeded(run(tmp_path, changed, name=program.name)) == ""


@pytest.mark.ray
@pytest.mark.timeout(180)
@pytest.mark.parametrize("program", PROGRAMS, ids=name_of)
def test_it_runs_on_ray(program: Path, tmp_path: Path) -> None:
    python = python_with_ray()
    if python is None:
        pytest.skip("Ray is not installed: `make conformance` does that")
    kept = {name: text for name, text in environment().items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [python, str(program)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**kept, **RAY_QUIET},
        timeout=170,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_snippet_of_the_reference_text_has_a_program() -> None:
    firsts = [program.read_text().partition("\n")[0] for program in PROGRAMS]
    for snippet in SNIPPETS:
        assert [f for f in firsts if f"seed: __streaming_generator_{snippet}:" in f], snippet
    assert len(PROGRAMS) >= len(SNIPPETS) + 10
