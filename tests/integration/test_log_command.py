"""`zgen logs`: what workers print can be read beside their driver, and kept after their node."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.scripts import ROOT, environment, run
from zgen.io import folders, spawn

SOURCE = """
import os, sys, zgen
zgen.init(address="auto")
@zgen.remote
def speak(text):
    print(text)
    print("no", text, file=sys.stderr)
    return os.getpid()
print(zgen.get(speak.remote("{text}")), zgen.get_runtime_context().get_node_id()[:8])
zgen.shutdown()
"""


def command(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "zgen.cli", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=environment(),
    )


def told(*arguments: str) -> tuple[int, str, str]:
    process = command(*arguments)
    out, err = process.communicate(timeout=40)
    return process.returncode, out, err


def rows(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def spoken(folder: Path, text: str) -> tuple[int, str]:
    """Have a worker print and return its process id and its node."""
    program = run(folder, SOURCE.replace("{text}", text))
    assert program.returncode == 0, program.stderr
    (said,) = [line for line in program.stdout.splitlines() if not line.startswith("(worker")]
    pid, node = said.split()
    return int(pid), node


@contextlib.contextmanager
def following(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    follower = command("logs", "--follow", *arguments)
    try:
        yield follower
    finally:
        follower.kill()
        follower.wait()
        for stream in (follower.stdout, follower.stderr):
            assert stream is not None
            stream.close()


@contextlib.contextmanager
def started(*options: str) -> Iterator[subprocess.Popen[str]]:
    node = command("node", "start", "--num-cpus", "1", *options)
    assert node.stdout is not None
    try:
        assert node.stdout.readline().startswith("zgen node with 1 CPUs at ipc://")
        yield node
    finally:
        node.terminate()
        node.communicate(timeout=40)


def test_output_is_followed_while_the_node_runs_and_kept_where_a_folder_is_given(
    tmp_path: Path,
) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    with started("--log-folder", str(kept)) as node:
        pid, name = spoken(tmp_path, "one")
        with following("--json", "--node", name) as follower:
            assert follower.stdout is not None
            first = [json.loads(follower.stdout.readline()) for _ in range(2)]
            assert {(row["stream"], row["line"]) for row in first} == {
                ("stdout", "one"),
                ("stderr", "no one"),
            }
            assert {row["pid"] for row in first} == {pid}
            second, _ = spoken(tmp_path, "two")
            later = [json.loads(follower.stdout.readline()) for _ in range(2)]
            assert {row["pid"] for row in later} == {second}
            node.terminate()
            out, err = follower.communicate(timeout=40)  # it ends with its node
            assert (follower.returncode, out, err) == (0, "", "")
    status, out, _ = told("logs", "--json", "--folder", str(kept), "--pid", str(pid))
    assert status == 0
    assert [row["line"] for row in rows(out)] == [row["line"] for row in first]
    _, out, _ = told("logs", "--folder", str(kept), "--tail", "1", "--worker", later[0]["worker"])
    assert out.endswith(f"{later[-1]['line']}\n")
    assert out.count("\n") == 1
    assert (kept / f"node-{name}.log").stat().st_mode & 0o777 == 0o600


def test_the_end_of_a_node_that_is_killed_is_noticed_and_its_log_goes(tmp_path: Path) -> None:
    with started():
        found = spawn.find_node()
        with following("--node", found.folder) as follower:
            pid, name = spoken(tmp_path, "one")
            assert follower.stdout is not None
            assert f"{name} worker {pid}" in follower.stdout.readline()
            for process in (found.supervisor, found.daemon):
                os.kill(process, signal.SIGSTOP)  # so that neither tidies up for the other
            for process in (found.supervisor, found.daemon):
                os.kill(process, signal.SIGKILL)
            follower.communicate(timeout=40)
            assert follower.returncode == 0
        status, out, _ = told("clean", "--json")
        assert status == 0
        removed = json.loads(out)["removed"]
        assert found.folder in removed or not os.path.exists(found.folder)
    assert not os.path.exists(found.folder)


@pytest.mark.slow
def test_who_reads_may_stop_and_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    status, _, err = told("logs")
    assert (status, err.startswith("zgen: no node of this user runs here")) == (1, True)
    status, _, err = told("logs", "--node", "tcp://10.0.0.1:6380")
    assert status == 1
    assert "may be another machine" in err
    status, _, err = told("logs", "--folder", str(tmp_path / "none"))
    assert (status, "No such file" in err) == (1, True)
    assert told("logs", "--tail", "-1")[0] == 1
    assert told("logs", "--pid", "one")[0] == 2
    with started():
        spoken(tmp_path, "one")
        with following() as follower:
            assert follower.stdout is not None
            assert follower.stderr is not None
            follower.stdout.readline()
            follower.stdout.close()
            spoken(tmp_path, "two")
            assert (follower.wait(40), follower.stderr.read()) == (0, "")
        status, _, err = told("logs", "--node", "ffffffff")
        assert (status, "no node ffffffff" in err) == (1, True)


def test_a_node_that_cannot_keep_its_log_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(folders.LOG_VARIABLE, str(tmp_path / "missing"))
    status, _, err = told("node", "start")
    assert status == 1
    assert "no log can be kept at" in err
