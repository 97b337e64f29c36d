"""SIGKILL of the worker of a two-way generator: the next one hears what was sent, and goes on."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator, Iterator
from typing import Any

import pytest

import zgen
from tests.integration.watching import wait_until
from zgen.core import dialogue
from zgen.exceptions import ReplayLogError
from zgen.ids import StreamId
from zgen.runtime import process
from zgen.runtime.process import Runtime

pytestmark = pytest.mark.chaos


@pytest.fixture
def runtime() -> Iterator[Runtime]:
    zgen.init(num_cpus=1)
    try:
        assert process.current is not None
        yield process.current
        with process.current.loop.lock:
            process.current.machine.check()
        assert process.current.loop.rescues == 0
    finally:
        zgen.shutdown()


@zgen.remote(two_way=True)
def sums() -> Generator[Any, Any, int]:
    """Yield who runs it, then the sum of what was sent, of which errors count a thousand."""
    given = yield os.getpid()
    total = 0
    while given != "end":
        total += given
        try:
            given = yield total
        except ValueError:
            given = 1000
    return total


class Sums:
    def sums(self) -> Generator[Any, Any, int]:
        return (yield from sums.__wrapped__())


@pytest.mark.parametrize("kind", ["task", "actor"])
def test_the_next_attempt_is_given_the_same_and_yields_nothing_twice(
    runtime: Runtime, kind: str
) -> None:
    if kind == "task":
        stream: Any = sums.remote()
    else:
        options = {"max_restarts": -1, "max_task_retries": -1}
        actor: Any = zgen.remote(num_cpus=0, **options)(Sums).remote()
        stream = actor.sums.options(two_way=True).remote()
    pid = zgen.get(next(stream))
    assert [zgen.get(stream.send(number)) for number in (1, 2, 3)] == [1, 3, 6]
    assert zgen.get(stream.throw(ValueError())) == 1006
    os.kill(pid, signal.SIGKILL)
    assert zgen.get(stream.send(4)) == 1010
    entry = runtime.machine.owner.tasks.entries[StreamId(stream.task_id())]
    assert entry.attempt >= 1
    with pytest.raises(StopIteration) as ended:
        stream.send("end")
    assert ended.value.value == 1010


def test_what_was_sent_and_is_not_kept_any_more_is_named(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialogue, "INPUT_LOG_BYTES_MAX", 1000)
    stream = sums.remote()
    pid = zgen.get(next(stream))
    for number in range(20):
        stream.send(number)
    os.kill(pid, signal.SIGKILL)
    wait_until(stream.next_ready, 20, "its death is known")
    with pytest.raises(ReplayLogError, match="died of signal 9, and it was sent more than"):
        zgen.get(stream.send(0))
    assert list(stream) == []
