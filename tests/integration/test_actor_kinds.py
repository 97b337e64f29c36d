"""Threaded and async actors, concurrency groups: how much runs at a time, and where."""

from __future__ import annotations

import asyncio
import contextvars
import os
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

import zgen
from tests.integration.gates import Gate
from tests.integration.remote_class import RemoteClass
from tests.integration.watching import is_alive, wait_until
from zgen.exceptions import ActorDiedError, GetTimeoutError
from zgen.runtime.process import Runtime

pytestmark = pytest.mark.usefixtures("runtime")


def get(refs: Any) -> Any:
    return zgen.get(refs, timeout=20)


def values(stream: Any) -> list[Any]:
    return [get(ref) for ref in stream]


# -- threads ---------------------------------------------------------------------------------------
@zgen.remote(max_concurrency=3)
class Threaded(RemoteClass):
    def __init__(self) -> None:
        self.barrier = threading.Barrier(3)
        self.running = 0
        self.most = 0

    def meet(self) -> str:
        self.barrier.wait(20)
        return threading.current_thread().name

    def meet_midway(self, count: int) -> Iterator[int]:
        for number in range(count):
            self.barrier.wait(20)
            yield number

    def enter(self, gate: Gate) -> int:
        self.running += 1
        self.most = max(self.most, self.running)
        gate.wait()
        self.running -= 1
        return self.most

    def park(self, gate: Gate) -> Iterator[int]:
        yield 1
        gate.wait()
        yield 2

    def task_id(self) -> str | None:
        return zgen.get_runtime_context().get_task_id()

    def nested(self, value: int) -> int:
        return int(zgen.get(zgen.remote(lambda x: x + 1).remote(value)))

    def pid(self) -> int:
        return os.getpid()

    def leave(self) -> None:
        sys.exit()


def test_as_many_calls_of_a_threaded_actor_run_at_a_time_as_it_says(gate: Gate) -> None:
    actor = Threaded.remote()
    assert len(set(get([actor.meet.remote() for _ in range(3)]))) == 3
    entered = [actor.enter.remote(gate) for _ in range(9)]
    with pytest.raises(GetTimeoutError):
        zgen.get(entered[0], timeout=0.2)
    gate.open()
    assert max(get(entered)) == 3


@pytest.mark.ray_docs("46", "108-109")
def test_streams_of_a_threaded_actor_run_side_by_side() -> None:
    actor = Threaded.remote()
    streams = [actor.meet_midway.remote(50) for _ in range(3)]
    assert [values(stream) for stream in streams] == [list(range(50))] * 3


def test_a_parked_stream_of_a_threaded_actor_takes_one_thread_only(gate: Gate) -> None:
    actor = Threaded.remote()
    stream = actor.park.remote(gate)
    assert get(next(stream)) == 1
    assert get(actor.nested.remote(1)) == 2
    gate.open()
    assert values(stream) == [2]


def test_each_thread_knows_its_own_call() -> None:
    actor = Threaded.remote()
    refs = [actor.task_id.remote() for _ in range(50)]
    assert get(refs) == [ref.task_id().hex() for ref in refs]


def test_tasks_that_threads_submit_do_not_share_names() -> None:
    actor = Threaded.remote()
    assert get([actor.nested.remote(number) for number in range(60)]) == list(range(1, 61))


def test_a_thread_that_exits_ends_the_actor(gate: Gate) -> None:
    actor = Threaded.options(max_restarts=3).remote()
    pid = get(actor.pid.remote())
    refs = [actor.enter.remote(gate), actor.leave.remote(), actor.enter.remote(gate)]
    for ref in refs:
        with pytest.raises(ActorDiedError):
            get(ref)
    wait_until(lambda: not is_alive(pid), 10.0, "the actor's process ends")


def test_kill_ends_every_stream_of_a_threaded_actor(gate: Gate) -> None:
    actor = Threaded.remote()
    streams = [actor.park.remote(gate) for _ in range(5)]
    assert [get(next(stream)) for stream in streams[:3]] == [1] * 3
    zgen.kill(actor)
    for stream in streams:
        with pytest.raises(ActorDiedError):
            get(next(stream))
        assert list(stream) == []


# -- groups ----------------------------------------------------------------------------------------
def test_a_concurrency_group_has_threads_of_its_own(gate: Gate) -> None:
    @zgen.remote(concurrency_groups={"io": 2, "other": 1})
    class Grouped(RemoteClass):
        def __init__(self) -> None:
            self.barrier = threading.Barrier(2)

        @zgen.method(concurrency_group="io")
        def meet(self) -> str:
            self.barrier.wait(20)
            return threading.current_thread().name

        @zgen.method(concurrency_group="io")
        def read(self, gate: Gate) -> None:
            gate.wait()

        def plain(self) -> str:
            return threading.current_thread().name

    actor = Grouped.remote()
    assert len(set(get([actor.meet.remote() for _ in range(2)]))) == 2
    reading = [actor.read.remote(gate) for _ in range(4)]
    assert "io" not in get(actor.plain.remote())
    other = actor.plain.options(concurrency_group="other")
    assert "other" in get(other.remote())
    gate.open()
    assert get(reading) == [None] * 4
    with pytest.raises(ValueError, match="no concurrency group 'no'"):
        actor.plain.options(concurrency_group="no")


def test_a_group_of_an_async_actor_bounds_its_calls() -> None:
    @zgen.remote(concurrency_groups={"few": 2})
    class Grouped(RemoteClass):
        def __init__(self) -> None:
            self.running, self.most = 0, 0
            self.event = asyncio.Event()

        @zgen.method(concurrency_group="few")
        async def enter(self) -> int:
            self.running += 1
            self.most = max(self.most, self.running)
            await self.event.wait()
            self.running -= 1
            return self.most

        async def open(self) -> None:
            self.event.set()

    actor = Grouped.remote()
    entered = [actor.enter.remote() for _ in range(6)]
    with pytest.raises(GetTimeoutError):
        zgen.get(entered[0], timeout=0.2)
    get(actor.open.remote())
    assert max(get(entered)) == 2


# -- event loops -----------------------------------------------------------------------------------
@zgen.remote
class Async(RemoteClass):
    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.event = asyncio.Event()
        self.waiting = 0
        self.seen = contextvars.ContextVar("seen", default=0)

    async def wait(self) -> str:
        self.waiting += 1
        await self.event.wait()
        return "woken"

    async def wake(self) -> int:
        self.event.set()
        return self.waiting

    async def count(self, items: int) -> AsyncIterator[int]:
        for number in range(items):
            await asyncio.sleep(0)
            yield number

    async def rush(self, items: int) -> AsyncIterator[int]:
        for number in range(items):
            yield number

    def sync_count(self, items: int) -> Iterator[int]:
        yield from range(items)

    def is_in_loop(self) -> bool:
        return asyncio.get_running_loop() is self.loop

    async def name(self) -> str:
        task = asyncio.current_task()
        assert task is not None
        return task.get_name()

    async def blocks(self, count: int, size: int) -> AsyncIterator[bytes]:
        for number in range(count):
            yield bytes([number]) * size

    async def fail(self) -> None:
        raise KeyError("no")

    async def fail_midway(self, closed: Gate) -> AsyncIterator[int]:
        try:
            yield 1
            raise LookupError("after 1")
        finally:
            closed.open()

    @zgen.method(num_returns=2)
    async def two(self) -> tuple[int, int]:
        return 1, 2

    async def isolated(self, value: int) -> tuple[int, int, str | None]:
        before = self.seen.get()
        self.seen.set(value)
        await asyncio.sleep(0.001)
        return before, self.seen.get(), zgen.get_runtime_context().get_task_id()

    async def ticks(self, seconds: float) -> int:
        count, until = 0, asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < until:
            await asyncio.sleep(0.001)
            count += 1
        return count

    async def size(self, data: bytes) -> int:
        return len(data)

    async def pid(self) -> int:
        return os.getpid()

    async def leave(self) -> None:
        zgen.actor.exit_actor()

    async def leave_from_a_task_of_its_own(self) -> None:
        async def inner() -> None:
            zgen.actor.exit_actor()

        await asyncio.create_task(inner())


def test_calls_of_an_async_actor_run_side_by_side_in_one_loop() -> None:
    actor = Async.remote()
    waiting = [actor.wait.remote() for _ in range(300)]
    assert get(actor.is_in_loop.remote())
    while get(actor.wake.remote()) < 300:
        continue
    assert set(get(waiting)) == {"woken"}


def test_max_concurrency_bounds_the_calls_of_an_async_actor() -> None:
    actor = Async.options(max_concurrency=2).remote()
    waiting = [actor.wait.remote() for _ in range(2)]
    wake = actor.wake.remote()
    with pytest.raises(GetTimeoutError):
        zgen.get([*waiting, wake], timeout=0.2)
    zgen.kill(actor)
    with pytest.raises(ActorDiedError):
        get(wake)


@pytest.mark.ray_docs("46", "108-109")
def test_async_and_sync_generators_of_an_async_actor_stream_side_by_side() -> None:
    actor = Async.remote()
    kinds = [actor.count, actor.rush, actor.sync_count]
    streams = [kind.remote(100) for _ in range(20) for kind in kinds]
    assert all(isinstance(stream, zgen.ObjectRefGenerator) for stream in streams)
    taken: list[list[int]] = [[] for _ in streams]
    for _ in range(100):
        for items, stream in zip(taken, streams, strict=True):
            items.append(get(next(stream)))
    assert taken == [list(range(100))] * 60
    assert [list(stream) for stream in streams] == [[]] * 60


@pytest.mark.ray_docs("46")
def test_a_thousand_streams_of_one_async_actor_are_open_at_once(runtime: Runtime) -> None:
    @zgen.remote
    class Serves(RemoteClass):
        def __init__(self) -> None:
            self.open, self.most = 0, 0
            self.all_there = asyncio.Event()

        async def serve(self, tag: int, items: int) -> AsyncIterator[tuple[int, int]]:
            self.open += 1
            self.most = max(self.most, self.open)
            for number in range(items):
                yield tag, number
                if self.open == 1000:
                    self.all_there.set()
                await self.all_there.wait()
            self.open -= 1

        async def most_at_once(self) -> int:
            return self.most

    actor = Serves.remote()
    streams = [actor.serve.remote(tag, 5) for tag in range(1000)]
    pending, taken = list(streams), 0
    while pending:
        ready, pending = zgen.wait(pending, num_returns=len(pending), timeout=60)
        assert ready
        for stream in ready:
            for _ in range(5):
                tag, _ = get(next(stream))
                assert streams[tag] is stream
                taken += 1
    assert taken == 5000
    assert get(actor.most_at_once.remote()) == 1000
    assert [list(stream) for stream in streams] == [[]] * 1000


def test_a_generator_that_never_waits_lets_other_calls_in() -> None:
    @zgen.remote
    class Endless(RemoteClass):
        def __init__(self) -> None:
            self.stop = False

        async def run(self) -> AsyncIterator[int]:
            number = 0
            while not self.stop:
                yield number
                number += 1

        def run_sync(self) -> Iterator[int]:
            number = 0
            while not self.stop:
                yield number
                number += 1

        async def end(self) -> None:
            self.stop = True

    actor = Endless.remote()
    streams = [actor.run.remote(), actor.run_sync.remote()]
    for stream in streams:
        assert get(next(stream)) == 0
    get(actor.end.remote())
    for stream in streams:
        items = values(stream)
        assert items == list(range(1, len(items) + 1))


def test_errors_of_async_methods_come_at_their_place_and_finally_runs(gate: Gate) -> None:
    actor = Async.remote()
    with pytest.raises(KeyError):
        get(actor.fail.remote())
    stream = actor.fail_midway.remote(gate)
    assert get(next(stream)) == 1
    with pytest.raises(LookupError, match="after 1"):
        get(next(stream))
    assert list(stream) == []
    assert gate.is_open
    assert get(actor.two.remote()) == [1, 2]
    with pytest.raises(ValueError, match="num_returns=3"):
        get(actor.two.options(num_returns=3).remote())


def test_an_async_generator_may_have_a_fixed_number_of_results() -> None:
    actor = Async.remote()
    assert get(actor.count.options(num_returns=3).remote(3)) == [0, 1, 2]
    _, two = actor.count.options(num_returns=2).remote(1)
    with pytest.raises(ValueError, match="yielded 1 values"):
        get(two)


def test_each_call_has_a_context_and_a_name_of_its_own() -> None:
    actor = Async.remote()
    refs = [actor.isolated.remote(number) for number in range(1, 40)]
    expected = [(0, number, ref.task_id().hex()) for number, ref in enumerate(refs, 1)]
    assert get(refs) == expected
    assert get(actor.name.remote()) == "Async.name"


def test_large_values_do_not_block_the_loop() -> None:
    actor = Async.remote()
    ticking = actor.ticks.remote(0.5)
    for number, ref in enumerate(actor.blocks.remote(30, 4 << 20)):
        block = get(ref)
        assert (len(block), block[0], block[-1]) == (4 << 20, number, number)
    assert number == 29
    assert get(actor.size.remote(bytes(3_000_000))) == 3_000_000
    assert get(ticking) > 10


def test_exit_actor_in_an_async_method_ends_the_actor() -> None:
    actor = Async.options(max_restarts=3).remote()
    pid = get(actor.pid.remote())
    refs = [actor.wait.remote(), actor.leave.remote()]
    for ref in refs:
        with pytest.raises(ActorDiedError):
            get(ref)
    wait_until(lambda: not is_alive(pid), 10.0, "the actor's process ends")


def test_exit_actor_in_a_task_that_a_method_made_ends_the_actor() -> None:
    actor = Async.options(max_restarts=3).remote()
    with pytest.raises(ActorDiedError):
        get(actor.leave_from_a_task_of_its_own.remote())
    with pytest.raises(ActorDiedError):
        get(actor.pid.remote())


def test_an_async_actor_ends_with_its_last_handle() -> None:
    actor = Async.remote()
    pid = get(actor.pid.remote())
    stream = actor.count.remote(50)
    del actor
    assert values(stream) == list(range(50))
    wait_until(lambda: not is_alive(pid), 10.0, "the actor's process ends")


# -- windows ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["regular", "threaded", "async", "sync in async"])
def test_a_generator_method_waits_for_its_consumer_where_it_has_a_window(kind: str) -> None:
    class Ahead:
        def __init__(self) -> None:
            self.made = 0

        def run(self, items: int) -> Iterator[int]:
            for number in range(items):
                self.made += 1
                yield number

        def made_so_far(self) -> int:
            return self.made

    class AsyncAhead(Ahead):
        async def run_async(self, items: int) -> AsyncIterator[int]:
            for number in range(items):
                self.made += 1
                yield number

    is_async = "async" in kind
    threads = {"max_concurrency": 2} if kind == "threaded" else {"num_cpus": 0}
    actor: Any = zgen.remote(**threads)(AsyncAhead if is_async else Ahead).remote()
    method = actor.run_async if kind == "async" else actor.run
    stream = method.options(_generator_backpressure_num_objects=4).remote(40)
    for number in range(10):
        assert get(next(stream)) == number
    if kind != "regular":  # which runs nothing beside its stream
        assert get(actor.made_so_far.remote()) <= 10 + 4 + 1
    assert values(stream) == list(range(10, 40))
    assert get(actor.made_so_far.remote()) == 40


def test_a_held_generator_of_an_async_actor_gives_its_cpu_to_who_is_to_take_its_items() -> None:
    @zgen.remote(num_cpus=2)
    class Source(RemoteClass):
        @zgen.method(_generator_backpressure_num_objects=2)
        async def run(self, items: int) -> AsyncIterator[int]:
            for number in range(items):
                yield number

    @zgen.remote(num_cpus=2)
    def double(number: int) -> int:
        return 2 * number

    source = Source.remote()
    taken = [get(double.remote(ref)) for ref in source.run.remote(20)]
    assert taken == [2 * number for number in range(20)]
