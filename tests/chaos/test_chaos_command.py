"""`zgen chaos` beside a program: what it hits, what it heals, and that it says so."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import zgen
from tests.integration.watching import is_alive, wait_until
from zgen import cli
from zgen.chaos.scope import Scope
from zgen.chaos.victims import workers


@zgen.remote(max_retries=-1)
def ticks(count: int, pause_s: float) -> Iterator[int]:
    for number in range(count):
        time.sleep(pause_s)
        yield number


def chaos(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    status = cli.main(["chaos", *words, "--json"])
    return status, json.loads(capsys.readouterr().out)


def stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


@pytest.fixture
def armed(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("ZGEN_CHAOS", "{}")
    zgen.init(num_cpus=2)
    yield Scope().nodes()[0].folder
    zgen.shutdown()


def test_a_killed_worker_costs_a_stream_nothing(
    armed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    stream = ticks.remote(100, 0.01)
    assert zgen.get(next(stream)) == 0
    status, said = chaos(capsys, "--at", "0s:kill-worker", "--seed", "3")
    assert status == 0
    (fault,) = said["faults"]
    assert fault["made"]
    assert fault["role"] == "worker"
    assert not Path(f"/proc/{fault['pid']}/cmdline").exists() or not stopped(fault["pid"])
    assert [zgen.get(ref) for ref in stream] == list(range(1, 100))


@pytest.mark.slow
def test_what_was_paused_goes_on_also_if_it_is_interrupted(armed: str) -> None:
    stream = ticks.remote(300, 0.01)
    zgen.get(next(stream))
    command = [sys.executable, "-m", "zgen", "chaos", "--at", "0s:pause-worker:60s"]
    command[1:3] = ["-c", "import sys; from zgen.cli import main; sys.exit(main(sys.argv[1:]))"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().split(",")[1] == " 1 faults"
        told = process.stdout.readline()
        pid = int(told.split("pid ")[1].split(",")[0])
        wait_until(lambda: stopped(pid), 20.0, "the worker is stopped")
        process.send_signal(signal.SIGINT)
        rest = process.communicate(timeout=20)[0]
    assert "interrupted; all is healed" in rest
    assert process.returncode == 0
    wait_until(lambda: not stopped(pid), 20.0, "the worker goes on")
    assert len([zgen.get(ref) for ref in stream]) == 299


@pytest.mark.slow
def test_rules_are_set_for_a_time_and_their_hits_are_told(
    armed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    stream = ticks.remote(200, 0.01)
    status, _ = chaos(capsys, "--at", "0s:lose:2s")
    assert status == 0
    assert [zgen.get(ref) for ref in stream] == list(range(200))
    assert not os.path.exists(os.path.join(armed, "chaos.json"))
    assert cli.main(["chaos", "report", "--json"]) == 0
    sums = json.loads(capsys.readouterr().out)["total"]
    assert sum(row.get("drop", 0) for row in sums.values()) >= 1


def test_a_run_that_hits_nothing_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["chaos", "--at", "0s:kill-worker"]) == 1
    told = capsys.readouterr().out
    assert "not made: nobody is there" in told
    assert told.endswith("nothing was hit\n")
    assert cli.main(["chaos", "report"]) == 1
    assert "nothing was hit" in capsys.readouterr().out


def test_a_dry_run_prints_the_schedule_and_touches_nobody(
    armed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = workers(Scope().nodes(), 0)
    assert before is not None
    words = (
        "--every",
        "1s",
        "--for",
        "20s",
        "--seed",
        "1",
        "--dry-run",
        "kill-worker",
        "kill-node",
    )
    status, said = chaos(capsys, *words)
    assert status == 0
    assert len(said["faults"]) > 10
    assert chaos(capsys, *words)[1] == said
    assert is_alive(before.pid)


def test_what_makes_no_sense_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["kill-worker"], [], ["--every", "1s"], ["kill-wrker", "--every", "1s"]):
        assert cli.main(["chaos", *words]) == 1
    assert "no fault 'kill-wrker'" in capsys.readouterr().err
