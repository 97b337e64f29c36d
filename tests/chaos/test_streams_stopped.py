"""SIGKILL under bodies that ask where to go on, and of those who consume."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

import zgen
from tests.chaos.hangman import Hangman, await_kill, await_mark, mark, marks
from zgen.exceptions import WorkerCrashedError
from zgen.runtime import process

pytestmark = pytest.mark.chaos

COUNT, KILL_AT = 12, 5


@pytest.fixture(autouse=True)
def runtime() -> Iterator[None]:
    """A node of two CPUs; its machine is checked at the end."""
    zgen.init(num_cpus=2)
    try:
        assert process.current is not None
        yield
        with process.current.loop.lock:
            process.current.machine.check()
        assert process.current.loop.rescues == 0
    finally:
        zgen.shutdown()


def resumed(log: str, fifo: str) -> Iterator[int]:
    """Go on where the caller is; have the process killed once, when it has what was yielded."""
    for index in range(zgen.stream_position(), COUNT):
        if index == KILL_AT and mark(log + ".killed", "once") == 1:
            time.sleep(0.2)
            await_kill(fifo)
        mark(log, str(index))
        yield index


class Methods:
    def resumed(self, log: str, fifo: str) -> Iterator[int]:
        yield from resumed(log, fifo)

    def told(self, log: str) -> Iterator[int]:
        """Yield for ever, and say how that ended."""
        try:
            for number in range(1_000_000):
                yield number
                time.sleep(0.01)
        except GeneratorExit:
            mark(log, "closed")
            raise


class AsyncMethods(Methods):
    async def resumed_async(self, log: str, fifo: str) -> AsyncIterator[int]:
        for index in resumed(log, fifo):
            yield index


KINDS: dict[str, tuple[type, dict[str, Any], str]] = {
    "actor": (Methods, {}, "resumed"),
    "threaded": (Methods, {"max_concurrency": 2}, "resumed"),
    "async": (AsyncMethods, {}, "resumed_async"),
}


def made(kind: str) -> Any:
    cls, options, _ = KINDS[kind]
    lives: dict[str, Any] = {"num_cpus": 0, "max_restarts": 1, "max_task_retries": 1}
    actor: Any = zgen.remote(**lives, **options)(cls).remote()
    return actor


def test_bodies_that_ask_yield_nothing_again_that_their_caller_has(tmp_path: Path) -> None:
    with Hangman(tmp_path) as hangman:
        task = zgen.remote(resumed)
        streams = {"task": task.remote(str(tmp_path / "task"), hangman.fifo)}
        for kind, (_, _, method) in KINDS.items():
            call = getattr(made(kind), method).options(num_returns="streaming")
            streams[kind] = call.remote(str(tmp_path / kind), hangman.fifo)
        for kind, stream in streams.items():
            assert [zgen.get(ref) for ref in stream] == list(range(COUNT)), kind
            yielded = [int(line) for line in marks(tmp_path / kind)]
            assert yielded == list(range(COUNT)), f"{kind}: none was made again"
    assert len(hangman.killed) == len(streams)


def test_a_killed_consumer_closes_the_generators_of_actors(tmp_path: Path) -> None:
    @zgen.remote(max_retries=0)
    def consumes(actors: list[Any]) -> Iterator[int]:
        streams = [
            each.told.options(num_returns="streaming").remote(str(tmp_path / str(number)))
            for number, each in enumerate(actors)
        ]
        for stream in streams:
            next(stream)
        yield os.getpid()
        time.sleep(60)

    actors = [made("actor"), made("threaded")]
    pid = zgen.get(next(consumes.remote(actors)))
    os.kill(pid, signal.SIGKILL)
    for number in range(len(actors)):
        assert await_mark(tmp_path / str(number), "it is closed") == "closed"


@zgen.remote(max_retries=0)
def read_and_die(stream: Any, count: int, fifo: str) -> None:
    for _ in range(count):
        zgen.get(next(stream))
    time.sleep(0.2)  # what was taken is told
    await_kill(fifo)


def test_what_a_killed_consumer_had_not_taken_comes_back_to_who_called(tmp_path: Path) -> None:
    @zgen.remote
    def numbers() -> Iterator[int]:
        yield from range(COUNT)

    stream = numbers.remote()
    with Hangman(tmp_path) as hangman:
        ref = read_and_die.remote(stream, KILL_AT, hangman.fifo)
        ready, _ = zgen.wait([stream], timeout=20)
        assert ready
        assert [zgen.get(item) for item in stream] == list(range(KILL_AT, COUNT))
        with pytest.raises(WorkerCrashedError):
            zgen.get(ref)
