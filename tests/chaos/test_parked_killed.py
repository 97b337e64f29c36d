"""SIGKILL and shutdown while a body is parked at the end of its window."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import zgen
from tests.chaos.hangman import mark, marks
from tests.integration.watching import is_alive, wait_until
from zgen.exceptions import StreamClosedError, WorkerCrashedError
from zgen.testing import leaks

pytestmark = pytest.mark.chaos


@pytest.fixture
def node(own_runtime_folder: Path) -> Iterator[None]:
    before = leaks.Snapshot.take()
    zgen.init(num_cpus=1)
    yield
    zgen.shutdown()
    assert not leaks.left_behind(before)


@zgen.remote(_generator_backpressure_num_objects=2)
def parked(log: str, count: int) -> Any:
    for index in range(count):
        mark(log, f"{os.getpid()} {index}")
        yield index


@zgen.remote
def nothing() -> None:
    return None


def await_parked(log: Path, most: int) -> int:
    """Wait until the body is parked behind so many yields; return its process."""
    wait_until(lambda: len(marks(log)) == most, 20, f"{most} items are yielded")
    zgen.get(nothing.remote(), timeout=20)  # on the CPU that it has given away
    assert len(marks(log)) == most
    return int(marks(log)[-1].split()[0])


@pytest.mark.usefixtures("node")
def test_a_stream_goes_on_whose_worker_is_killed_while_it_is_parked(tmp_path: Path) -> None:
    log = tmp_path / "log"
    stream = parked.remote(str(log), 12)
    taken = [zgen.get(next(stream)) for _ in range(5)]
    pid = await_parked(log, 7)
    os.kill(pid, signal.SIGKILL)
    # The replay yields again what was yielded, and parks where the first run did.
    successor = await_parked(log, 14)
    assert successor != pid
    taken += [zgen.get(ref) for ref in stream]
    assert taken == list(range(12))
    assert not is_alive(pid)


@pytest.mark.usefixtures("node")
def test_a_parked_stream_without_retries_ends_with_one_error(tmp_path: Path) -> None:
    log = tmp_path / "log"
    stream = parked.options(max_retries=0).remote(str(log), 12)
    os.kill(await_parked(log, 2), signal.SIGKILL)
    assert [zgen.get(next(stream)) for _ in range(2)] == [0, 1]
    with pytest.raises(WorkerCrashedError):
        zgen.get(next(stream))
    assert list(stream) == []


@pytest.mark.usefixtures("node")
def test_a_replay_whose_generator_was_dropped_meanwhile_runs_to_its_end(tmp_path: Path) -> None:
    log = tmp_path / "log"
    stream = parked.remote(str(log), 12)
    pid = await_parked(log, 2)
    os.kill(pid, signal.SIGKILL)
    done = stream.completed()
    del stream
    zgen.get(done, timeout=20)
    assert marks(log)[-1].split()[1] == "11"


@pytest.mark.usefixtures("node")
def test_shutdown_ends_what_is_parked(tmp_path: Path) -> None:
    log = tmp_path / "log"
    stream = parked.remote(str(log), 12)
    pid = await_parked(log, 2)
    zgen.shutdown()
    wait_until(lambda: not is_alive(pid), 20, "the worker ends")
    with pytest.raises(StreamClosedError):
        next(stream)
