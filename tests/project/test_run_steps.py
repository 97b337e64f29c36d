from __future__ import annotations

from pathlib import Path

import pytest

from scripts import run_steps

MAKE = """#!/bin/sh
test -z "$MAKEFLAGS" || exit 3
shift
echo "this is $*"
case "$1" in
bad) exit 2 ;;
meets-*)
  mkdir "$0.$1"
  until test -e "$0.meets-a" -a -e "$0.meets-b"; do :; done ;;
esac
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


@pytest.mark.usefixtures("make")
def test_joined_steps_run_side_by_side_and_print_one_after_the_other(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert run_steps.run(["meets-a+meets-b", "one"]) == 0
    said = [line for line in capfd.readouterr().out.splitlines() if line.startswith("this")]
    assert said == ["this is meets-a", "this is meets-b", "this is one"]


@pytest.mark.usefixtures("make")
def test_one_of_joined_steps_that_fails_ends_the_run(capfd: pytest.CaptureFixture[str]) -> None:
    assert run_steps.run(["bad+one", "two"]) == 2
    verdicts = [line.split()[0] for line in capfd.readouterr().out.splitlines()[-4:-1]]
    assert verdicts == ["bad", "one", "two"]


@pytest.mark.usefixtures("make")
def test_a_line_of_steps_is_one_call_of_make_in_their_order(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert run_steps.run(["one,two+three"]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("this")] == [
        "this is one two",
        "this is three",
    ]
    assert [line.split()[0] for line in lines[-3:]] == ["one,two", "three", "total"]
