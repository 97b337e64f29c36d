"""SIGKILL of workers whose tasks are cancelled just then: all end, and none runs again."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import zgen
from tests.chaos.hangman import await_mark, mark, marks
from zgen.exceptions import TaskCancelledError, WorkerCrashedError
from zgen.runtime import process
from zgen.runtime.process import Runtime

pytestmark = pytest.mark.chaos


@pytest.fixture
def runtime() -> Iterator[Runtime]:
    """A node of two CPUs; its machine is checked at the end."""
    zgen.init(num_cpus=2)
    try:
        assert process.current is not None
        yield process.current
        with process.current.loop.lock:
            process.current.machine.check()
            assert not process.current.machine.owner.tasks.entries
        assert process.current.loop.rescues == 0
    finally:
        zgen.shutdown()


@zgen.remote(max_retries=-1)
def sleeps(pids: str) -> None:
    mark(pids, str(os.getpid()))
    time.sleep(60)


@zgen.remote(max_retries=-1)
def streams(pids: str) -> Iterator[int]:
    yield 0
    yield 1
    mark(pids, str(os.getpid()))
    time.sleep(60)


@zgen.remote
def same(value: int) -> int:
    return value


def kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def race(dice: random.Random, pids: Path, ref: Any, force: bool) -> None:
    """Cancel a running task and kill its worker, one a little before the other."""
    victim = int(await_mark(pids, "it runs"))
    killer = threading.Timer(dice.choice((0.0, 0.001, 0.005, 0.02)), kill, (victim,))
    killer.start()
    time.sleep(dice.choice((0.0, 0.001, 0.005, 0.02)))
    zgen.cancel(ref, force=force)
    killer.join()


@pytest.mark.timeout(120)
def test_a_cancel_that_races_with_a_kill_ends_the_task_for_good(
    runtime: Runtime, tmp_path: Path
) -> None:
    dice = random.Random(24)
    for number in range(30):
        pids, force = tmp_path / f"task-{number}", dice.random() < 0.3
        ref = sleeps.remote(str(pids))
        race(dice, pids, ref, force)
        with pytest.raises(
            (TaskCancelledError, WorkerCrashedError) if force else TaskCancelledError
        ):
            zgen.get(ref, timeout=30)
        ran = len(marks(pids))
        assert zgen.get([same.remote(n) for n in range(3)], timeout=30) == [0, 1, 2]
        # Once, unless the kill was acted on before the cancel; and never after it has ended.
        assert len(marks(pids)) == ran <= 2


@pytest.mark.timeout(120)
def test_a_cancelled_stream_under_a_kill_ends_after_what_was_reported(
    runtime: Runtime, tmp_path: Path
) -> None:
    dice = random.Random(25)
    for number in range(20):
        pids = tmp_path / f"stream-{number}"
        gen = streams.remote(str(pids))
        assert zgen.get(next(gen)) == 0
        race(dice, pids, gen, force=False)
        *items, error = list(gen)
        # The second one may have waited for company when its worker was killed.
        assert [zgen.get(item) for item in items] in ([], [1])
        with pytest.raises(TaskCancelledError):
            zgen.get(error)
        with pytest.raises(TaskCancelledError):
            zgen.get(gen.completed())


@pytest.mark.timeout(120)
def test_what_else_was_pushed_to_a_worker_that_dies_by_force_runs_elsewhere(
    runtime: Runtime, tmp_path: Path
) -> None:
    for number in range(10):
        pids = tmp_path / f"forced-{number}"
        zgen.get([same.remote(n) for n in range(40)])  # short ones: many go to one worker
        forced = sleeps.remote(str(pids))
        others = [same.remote(n) for n in range(40)]
        await_mark(pids, "it runs")
        zgen.cancel(forced, force=True)
        with pytest.raises(WorkerCrashedError):
            zgen.get(forced, timeout=30)
        assert zgen.get(others, timeout=30) == list(range(40))
        assert len(marks(pids)) == 1
