from __future__ import annotations

from pathlib import Path

import pytest

from scripts import run_steps

MAKE = """#!/bin/sh
test -z "$MAKEFLAGS" || exit 3
case "$2" in bad) exit 2;; esac
"""


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A make that fails for the target ``bad`` and knows no others."""
    path = tmp_path / "make"
    path.write_text(MAKE)
    path.chmod(0o755)
    monkeypatch.setenv("MAKE", str(path))
    monkeypatch.setenv("MAKEFLAGS", "-j --jobserver-auth=3,4")


@pytest.mark.usefixtures("make")
def test_each_step_is_printed_with_its_seconds(capfd: pytest.CaptureFixture[str]) -> None:
    assert run_steps.run(["one", "two"]) == 0
    last = capfd.readouterr().out.splitlines()[-3:]
    assert [line.split()[0] for line in last] == ["one", "two", "total"]
    assert [line.split()[2:] for line in last[:2]] == [["s", "ok"], ["s", "ok"]]


@pytest.mark.usefixtures("make")
def test_the_first_failure_ends_the_run_and_fails_it(capfd: pytest.CaptureFixture[str]) -> None:
    assert run_steps.run(["one", "bad", "two"]) == 2
    output = capfd.readouterr().out
    assert "FAILED (2)" in output
    assert "=== two" not in output
    assert [line for line in output.splitlines() if line.endswith("not run")]
