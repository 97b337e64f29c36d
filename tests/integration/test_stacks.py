"""`zgen stack` shows where workers are, whatever keeps them from saying so themselves."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import zgen
from tests.integration.gates import Gate
from tests.integration.remote_class import RemoteClass
from tests.integration.watching import is_alive
from zgen import cli
from zgen.exceptions import WorkerCrashedError
from zgen.runtime.process import Runtime


@zgen.remote(num_cpus=0, max_retries=0)
def hold_interpreter(path: str) -> None:
    """Wait in C, for longer than the test lasts, with no other thread of Python running."""
    libc, mutex = ctypes.PyDLL(None), ctypes.create_string_buffer(64)
    until = (ctypes.c_long * 2)(int(time.time()) + 120, 0)
    libc.pthread_mutex_lock(mutex)
    sys.setswitchinterval(1000)  # so that nobody else gets it between the last two
    Path(path).write_text(str(os.getpid()))
    libc.rename(path.encode(), f"{path}.pid".encode())
    libc.pthread_mutex_timedlock(mutex, until)  # goes on after signals, other than sleep


@zgen.remote
class Station(RemoteClass):
    async def block(self, path: str, gate: str) -> None:
        Path(path).write_text(str(os.getpid()))
        Path(path).rename(f"{path}.pid")
        while not os.path.exists(gate):
            time.sleep(0.01)


def pid_in(gate: Gate) -> int:
    gate.wait()
    return int(gate.path.read_text())


def stack(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[int, Any]]:
    """Return the status of `zgen stack`, and what it tells, by process id."""
    status = cli.main(["stack", "--json", *arguments])
    told: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return status, {worker["pid"]: worker for worker in told}


def functions(worker: dict[str, Any]) -> dict[str, list[str]]:
    """Return which functions each thread of a worker is in."""
    return {
        thread["name"]: [call["function"] for call in thread["calls"]]
        for thread in worker["threads"]
    }


def test_workers_are_shown_that_hold_the_interpreter_or_block_their_loop(
    runtime: Runtime, gate: Gate, capsys: pytest.CaptureFixture[str]
) -> None:
    held = hold_interpreter.remote(str(gate.beside("holder").path))
    station = Station.remote()
    blocked = station.block.remote(str(gate.beside("blocker").path), str(gate.path))
    holder, blocker = (pid_in(gate.beside(f"{name}.pid")) for name in ("holder", "blocker"))
    status, told = stack(capsys)
    assert status == 0, told
    assert told[holder]["forced"]
    assert functions(told[holder])["MainThread"][0] == "hold_interpreter"
    assert told[holder]["works_on"] == "hold_interpreter"
    assert any("block" in names for names in functions(told[blocker]).values())
    os.kill(blocker, signal.SIGSTOP)
    try:
        assert stack(capsys, "--pid", str(blocker))[0] == 1
        assert cli.main(["stack", "--pid", str(blocker)]) == 1
        assert "not known: it is stopped" in capsys.readouterr().out
    finally:
        os.kill(blocker, signal.SIGCONT)
    gate.open()
    zgen.get(blocked, timeout=20)  # it took no harm
    assert is_alive(holder)
    zgen.cancel(held, force=True)
    with pytest.raises(WorkerCrashedError):
        zgen.get(held, timeout=20)
