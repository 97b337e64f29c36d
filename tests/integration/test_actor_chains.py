"""Actors that use others: chains, streams of streams, awaiting inside an actor's event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

import zgen
from tests.integration.remote_class import RemoteClass
from tests.integration.watching import wait_until
from zgen.runtime.process import Runtime

pytestmark = pytest.mark.usefixtures("runtime")


def get(refs: Any) -> Any:
    return zgen.get(refs, timeout=30)


def values(stream: Any) -> list[Any]:
    return [get(ref) for ref in stream]


@zgen.remote
def double(number: int) -> int:
    return 2 * number


@zgen.remote
def numbers(count: int) -> Iterator[int]:
    yield from range(count)


@zgen.remote
class Stage(RemoteClass):
    """Adds one to what comes from the stage before it, which it makes itself."""

    def __init__(self, depth: int) -> None:
        self.before = Stage.remote(depth - 1) if depth else None

    def stream(self, count: int) -> Iterator[int]:
        if self.before is None:
            yield from range(count)
        else:
            for ref in self.before.stream.remote(count):
                yield 1 + zgen.get(ref)

    def fibonacci(self, number: int) -> int:
        if number < 2:
            return number
        refs = [Stage.remote(0).fibonacci.remote(number - each) for each in (1, 2)]
        return int(sum(zgen.get(refs)))


@zgen.remote
class AsyncStage(RemoteClass):
    def __init__(self, depth: int) -> None:
        self.before = AsyncStage.remote(depth - 1) if depth else None

    async def stream(self, count: int) -> AsyncIterator[int]:
        if self.before is None:
            for number in range(count):
                yield number
        else:
            async for ref in self.before.stream.remote(count):
                yield 1 + await ref

    async def of_tasks(self, count: int) -> list[int]:
        return list(await asyncio.gather(*[double.remote(number) for number in range(count)]))

    async def sums(self, streams: int, count: int) -> list[int]:
        async def total(stream: Any) -> int:
            return sum([await ref async for ref in stream])

        return list(await asyncio.gather(*[total(numbers.remote(count)) for _ in range(streams)]))

    async def blocking(self, number: int) -> int:
        return int(zgen.get(double.remote(number)))

    async def gives_up(self) -> str:
        @zgen.remote(num_cpus=0)
        def slow() -> Iterator[int]:
            import time

            yield 1
            time.sleep(3)
            yield 2

        stream = slow.remote()
        await anext(stream)
        try:
            await asyncio.wait_for(anext(stream), 0.1)
        except TimeoutError:
            return "gave up"
        return "had it"


def test_streams_run_through_a_chain_of_actors() -> None:
    last = Stage.remote(4)
    streams = [last.stream.remote(20) for _ in range(3)]
    assert [values(stream) for stream in streams] == [list(range(4, 24))] * 3


def test_many_streams_run_through_a_chain_of_async_actors_at_once() -> None:
    last = AsyncStage.remote(3)
    streams = [last.stream.remote(10) for _ in range(50)]
    assert [values(stream) for stream in streams] == [list(range(3, 13))] * 50


def test_actors_recurse_deeper_than_there_are_cpus() -> None:
    assert get(Stage.remote(0).fibonacci.remote(5)) == 5


def test_an_async_actor_awaits_tasks_and_streams_of_tasks() -> None:
    actor = AsyncStage.remote(0)
    assert get(actor.of_tasks.remote(50)) == [2 * number for number in range(50)]
    assert get(actor.sums.remote(10, 20)) == [190] * 10


def test_an_async_method_that_blocks_the_loop_still_ends() -> None:
    actor = AsyncStage.remote(0)
    refs = [actor.blocking.remote(number) for number in range(5)]
    assert get(refs) == [0, 2, 4, 6, 8]


def test_a_wait_in_an_actor_that_is_given_up_leaves_the_actor_usable() -> None:
    actor = AsyncStage.remote(0)
    assert get([actor.gives_up.remote() for _ in range(3)]) == ["gave up"] * 3
    assert get(actor.of_tasks.remote(3)) == [0, 2, 4]


@zgen.remote
class Recursive(RemoteClass):
    """Calls itself, by a handle that it is given and by its own."""

    async def paths(self, me: Any, depth: int) -> int:
        if not depth:
            return 1
        me = me or zgen.get_runtime_context().current_actor
        return sum(await asyncio.gather(*[me.paths.remote(me, depth - 1) for _ in range(3)]))

    async def inside(self, count: int) -> AsyncIterator[Any]:
        for number in range(count):
            yield [zgen.put(number), zgen.put(bytes(200_000))]

    async def sizes(self, me: Any) -> list[tuple[int, int]]:
        found = [await ref async for ref in me.inside.remote(5)]
        return [(await number, len(await large)) for number, large in found]

    def held(self) -> int:
        from zgen.runtime import process

        assert process.current is not None
        return len(process.current.machine.owner.refs.records)


@zgen.remote(max_concurrency=2)
class Reentrant(RemoteClass):
    def depth(self, me: Any, left: int) -> int:
        return 1 + (get(me.depth.remote(me, left - 1)) if left else 0)


def test_an_actor_calls_itself_and_keeps_nothing_of_it() -> None:
    actor, threaded = Recursive.remote(), Reentrant.remote()
    assert get(actor.paths.remote(None, 4)) == 81
    assert get(actor.paths.remote(actor, 2)) == 9
    assert get(actor.sizes.remote(actor)) == [(number, 200_000) for number in range(5)]
    assert get(threaded.depth.remote(threaded, 1)) == 2
    wait_until(lambda: get(actor.held.remote()) == 0, 20, "the actor lets go of what it sent")


def test_a_driver_awaits_calls_and_streams_of_actors(runtime: Runtime) -> None:
    async def main() -> None:
        stage, other = Stage.remote(1), AsyncStage.remote(1)

        async def collect(stream: Any) -> list[int]:
            return [await ref async for ref in stream]

        streams = [each.stream.remote(10) for each in (stage, other) for _ in range(10)]
        found = await asyncio.gather(*map(collect, streams))
        assert found == [list(range(1, 11))] * 20
        assert await other.of_tasks.remote(2) == [0, 2]

    asyncio.run(main())


def test_a_task_waits_for_its_actor_on_one_cpu() -> None:
    @zgen.remote(num_cpus=2)
    def whole() -> int:
        actor = Stage.options(num_cpus=1).remote(0)
        return len(list(actor.stream.remote(5)))

    assert get(whole.remote()) == 5


def test_streams_that_are_dropped_half_consumed_leave_nothing_at_either_end() -> None:
    def left(self: Any) -> int:
        from zgen.runtime import process

        assert process.current is not None
        executor = process.current.machine.executor
        assert executor is not None
        return len(executor.reports.streams)

    actors = [Stage.remote(0), AsyncStage.remote(0)]
    for _ in range(10):
        streams = [actor.stream.remote(10) for _ in range(50) for actor in actors]
        for stream in streams:
            for _ in range(5):
                next(stream)
        del streams, stream
    for actor in actors:  # what the driver holds is looked at by the fixture
        call = actor.__ray_call__
        wait_until(lambda call=call: get(call.remote(left)) == 0, 10.0, "nothing is left")  # type: ignore[misc]
