"""SIGKILL for the workers of actors, under calls and streams, with and without another life."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

import zgen
from tests.chaos.hangman import Hangman, await_kill, await_mark, mark, marks
from tests.integration.remote_class import RemoteClass
from tests.integration.watching import is_alive, wait_until
from zgen.exceptions import ActorDiedError, ActorUnavailableError, RayActorError, WorkerCrashedError
from zgen.ids import StreamId
from zgen.runtime import process
from zgen.runtime.process import Runtime

pytestmark = pytest.mark.usefixtures("runtime")


@pytest.fixture
def runtime() -> Iterator[Runtime]:
    """A node of one CPU; its machine is checked at the end."""
    zgen.init(num_cpus=1)
    try:
        assert process.current is not None
        yield process.current
        with process.current.loop.lock:
            process.current.machine.check()
        assert process.current.loop.rescues == 0
    finally:
        zgen.shutdown()


@pytest.fixture
def hangman(tmp_path: Path) -> Iterator[Hangman]:
    with Hangman(tmp_path) as started:
        yield started


def get(refs: Any) -> Any:
    return zgen.get(refs, timeout=30)


@zgen.remote
class Fragile(RemoteClass):
    def __init__(self, log: str = "") -> None:
        self.number = 0
        if log:
            mark(log, f"life {os.getpid()}")

    def add(self) -> int:
        self.number += 1
        return self.number

    def pid(self) -> int:
        return os.getpid()

    def again(self) -> bool:
        return zgen.get_runtime_context().was_current_actor_reconstructed

    def waits(self, pids: str) -> None:
        mark(pids, str(os.getpid()))
        threading.Event().wait()

    def waits_once(self, pids: str, log: str) -> int:
        if mark(log, "called") == 1:
            mark(pids, str(os.getpid()))
            threading.Event().wait()
        return self.add()

    def count(self, items: int, kill_at: int, log: str, fifo: str) -> Iterator[int]:
        first = mark(log, "started") == 1
        for index in range(items):
            mark(log, str(index))
            if first and index == kill_at:
                await_kill(fifo)
            yield index

    def count_and_wait(self, items: int, pids: str) -> Iterator[int]:
        yield from range(items)
        mark(pids, str(os.getpid()))
        threading.Event().wait()

    def poison(self, log: str, fifo: str) -> None:
        mark(log, "0")
        await_kill(fifo)


def outcome(actor: Any) -> bool | RayActorError:
    """Return whether the actor was restarted, or why it does not say."""
    try:
        return bool(get(actor.again.remote()))
    except RayActorError as error:
        return error


def test_without_restarts_a_kill_is_the_end_and_says_so(tmp_path: Path) -> None:
    actor, pids = Fragile.remote(), tmp_path / "pids"
    running, queued = actor.waits.remote(str(pids)), actor.add.remote()
    pid = int(await_mark(pids, "the call runs"))
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(ActorDiedError) as caught:
        get(running)
    assert (caught.value.pid, caught.value.signal, caught.value.may_have_run) == (pid, 9, True)
    assert caught.value.actor_id == actor._actor_id
    assert "max_restarts" in str(caught.value)
    for ref in (queued, actor.add.remote()):
        with pytest.raises(ActorDiedError):
            get(ref)


def test_with_restarts_the_call_in_flight_fails_and_the_next_life_begins_anew(
    tmp_path: Path,
) -> None:
    log, pids = tmp_path / "log", tmp_path / "pids"
    actor = Fragile.options(max_restarts=1).remote(str(log))
    assert get([actor.add.remote(), actor.add.remote(), actor.again.remote()]) == [1, 2, False]
    running = actor.waits.remote(str(pids))
    first = int(await_mark(pids, "the call runs"))
    os.kill(first, signal.SIGKILL)
    with pytest.raises(RayActorError) as caught:
        get(running)
    assert isinstance(caught.value, ActorUnavailableError)
    assert caught.value.may_have_run

    wait_until(lambda: outcome(actor) is True, 20.0, "the next life")
    second = get(actor.pid.remote())
    assert second != first
    assert get(actor.add.remote()) == 1
    assert len(marks(log)) == 2
    os.kill(second, signal.SIGKILL)
    wait_until(lambda: not is_alive(second), 10.0, "it is dead")
    wait_until(lambda: isinstance(outcome(actor), ActorDiedError), 20.0, "its end is known")


@pytest.mark.ray_docs("145")
def test_max_task_retries_runs_the_call_in_flight_again_in_order(tmp_path: Path) -> None:
    log, pids = tmp_path / "log", tmp_path / "pids"
    actor = Fragile.options(max_restarts=-1, max_task_retries=-1).remote()
    refs = [actor.waits_once.remote(str(pids), str(log)), *[actor.add.remote() for _ in range(50)]]
    os.kill(int(await_mark(pids, "the call runs")), signal.SIGKILL)
    assert get(refs) == list(range(1, 52))
    assert marks(log) == ["called", "called"]


@pytest.mark.ray_docs("47", "145")
def test_streams_of_an_actor_go_on_after_kills(
    runtime: Runtime, hangman: Hangman, tmp_path: Path
) -> None:
    dice = random.Random(23)
    streams = []
    for number in range(25):
        items = dice.randint(1, 40)
        kill_at = dice.randrange(items)
        log = tmp_path / f"log-{number}"
        actor = Fragile.options(max_restarts=1, max_task_retries=1).remote()
        stream = actor.count.remote(items, kill_at, str(log), hangman.fifo)
        streams.append((stream, items, kill_at, log))
    for stream, items, kill_at, log in streams:
        assert [get(ref) for ref in stream] == list(range(items))
        ran = [int(line) for line in marks(log) if line != "started"]
        assert ran == [*range(kill_at + 1), *range(items)]
    assert len(hangman.killed) == 25


@pytest.mark.parametrize("restarts", [0, 1])
@pytest.mark.ray_docs("100-104")
def test_without_retries_what_was_reported_comes_first_then_one_error_then_the_end(
    runtime: Runtime, tmp_path: Path, restarts: int
) -> None:
    pids = tmp_path / "pids"
    actor = Fragile.options(max_restarts=restarts).remote()
    stream = actor.count_and_wait.remote(7, str(pids))
    record = runtime.machine.owner.streams.streams[StreamId(stream.task_id())]
    pid = int(await_mark(pids, "the stream waits"))
    wait_until(lambda: record.known == 7, 20.0, "seven items are reported")
    os.kill(pid, signal.SIGKILL)
    assert [get(next(stream)) for _ in range(7)] == list(range(7))
    with pytest.raises(ActorUnavailableError if restarts else ActorDiedError) as caught:
        get(next(stream))
    assert caught.value.may_have_run
    for _ in range(3):
        with pytest.raises(StopIteration):
            next(stream)
    with pytest.raises(RayActorError):
        get(stream.completed())


def test_a_call_that_kills_every_life_is_given_up_after_its_retries(
    hangman: Hangman, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    actor = Fragile.options(max_restarts=-1, max_task_retries=2).remote()
    with pytest.raises(RayActorError):
        get(actor.poison.remote(str(log), hangman.fifo))
    assert marks(log) == ["0", "0", "0"]
    assert get(actor.add.remote()) == 1


def test_restarts_used_up_under_a_retried_call_are_the_end(
    hangman: Hangman, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    actor = Fragile.options(max_restarts=1, max_task_retries=-1).remote()
    with pytest.raises(ActorDiedError):
        get(actor.poison.remote(str(log), hangman.fifo))
    assert marks(log) == ["0", "0"]


def test_kill_with_restart_counts_as_a_crash() -> None:
    actor = Fragile.options(max_restarts=1, max_task_retries=-1).remote()
    first = get(actor.pid.remote())
    zgen.kill(actor, no_restart=False)
    wait_until(lambda: not is_alive(first), 10.0, "the first life is over")
    second = get(actor.pid.remote())
    assert second != first
    zgen.kill(actor, no_restart=False)
    wait_until(lambda: not is_alive(second), 10.0, "the second life is over")
    with pytest.raises(ActorDiedError):
        get(actor.pid.remote())


def test_a_constructor_that_dies_is_tried_again_while_restarts_last(
    hangman: Hangman, tmp_path: Path
) -> None:
    @zgen.remote
    class DiesFirst(RemoteClass):
        def __init__(self, lives: int, log: str, fifo: str) -> None:
            if mark(log, "made") <= lives:
                await_kill(fifo)

        def work(self) -> int:
            return 1

    log, other = str(tmp_path / "log"), str(tmp_path / "other")
    actor = DiesFirst.options(max_restarts=2).remote(2, log, hangman.fifo)
    assert get(actor.work.remote()) == 1
    with pytest.raises(ActorDiedError):
        get(DiesFirst.options(max_restarts=1).remote(2, other, hangman.fifo).work.remote())


def test_a_thousand_streams_of_an_async_actor_end_when_it_is_killed(tmp_path: Path) -> None:
    @zgen.remote
    class Serves(RemoteClass):
        def __init__(self) -> None:
            self.event = asyncio.Event()

        async def serve(self) -> AsyncIterator[int]:
            yield os.getpid()
            await self.event.wait()

    actor = Serves.remote()
    streams = [actor.serve.remote() for _ in range(1000)]
    pids = dict.fromkeys(get([next(stream) for stream in streams]))
    [pid] = pids
    os.kill(pid, signal.SIGKILL)
    for stream in streams:
        with pytest.raises(ActorDiedError):
            get(stream.next(timeout=30))
        assert list(stream) == []


def test_the_actors_of_an_actor_that_was_killed_die_with_it(tmp_path: Path) -> None:
    @zgen.remote
    class Parent(RemoteClass):
        def __init__(self, pids: str) -> None:
            self.child = Fragile.remote()
            mark(pids, str(zgen.get(self.child.pid.remote())))

        def pid(self) -> int:
            return os.getpid()

    pids = tmp_path / "pids"
    parent = Parent.remote(str(pids))
    pid = get(parent.pid.remote())
    child = int(await_mark(pids, "the child lives"))
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not is_alive(child), 10.0, "the child is gone")
    with pytest.raises(ActorDiedError):
        get(parent.pid.remote())


@pytest.mark.parametrize("kind", ["regular", "threaded", "async"])
def test_a_generator_method_stops_when_its_caller_is_killed(kind: str, tmp_path: Path) -> None:
    class Endless:
        def __init__(self) -> None:
            self.number = 0

        def count(self, over: str) -> Iterator[int]:
            try:
                while True:
                    self.number += 1
                    yield self.number
                    time.sleep(0.001)
            finally:
                mark(over, "over")

        def number_now(self) -> int:
            return self.number

    class AsyncEndless(Endless):
        async def count(  # type: ignore[override]  # of another kind
            self, over: str
        ) -> AsyncIterator[int]:
            try:
                while True:
                    self.number += 1
                    yield self.number
                    await asyncio.sleep(0.001)
            finally:
                mark(over, "over")

    @zgen.remote(max_retries=0)
    def consumer(nested: list[Any], over: str) -> None:
        for ref in nested[0].count.remote(over):
            if zgen.get(ref) == 10:
                os.kill(os.getpid(), signal.SIGKILL)

    over = tmp_path / "over"
    made = zgen.remote(AsyncEndless if kind == "async" else Endless)
    actor: Any = made.options(max_concurrency=2 if kind == "threaded" else None).remote()
    with pytest.raises(WorkerCrashedError):
        get(consumer.remote([actor], str(over)))
    assert await_mark(over, "the generator is closed") == "over"
    number = get(actor.number_now.remote())
    stream = actor.count.remote(str(over))
    assert get(next(stream)) == number + 1
