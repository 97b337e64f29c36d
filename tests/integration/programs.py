"""Twenty-six small programs that use zgen in different ways, each asserting what it gets."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy
import pytest

import zgen
from tests.integration.remote_class import RemoteClass
from zgen.exceptions import (
    ActorDiedError,
    GetTimeoutError,
    TaskCancelledError,
    TaskError,
    WorkerCrashedError,
)

#: Longer than what fits into a body of a message.
BIG_BYTES: Final = 200_000
#: What the store of the node has room for that they run on.
STORE_BYTES: Final = 32 << 20


def begin(path: str) -> int:
    """Count the executions of a body, across its processes."""
    with open(path, "a") as file:
        file.write("x")
        return file.tell()


@zgen.remote
def double(number: int) -> int:
    return 2 * number


@zgen.remote
def count_to(count: int) -> Iterator[int]:
    yield from range(count)


@zgen.remote
def add(first: int, second: int) -> int:
    return first + second


@zgen.remote
def fail(text: str) -> int:
    raise ValueError(text)


@zgen.remote(num_cpus=0)
def wait_for(path: str) -> str:
    while not os.path.exists(path):
        time.sleep(0.005)
    return "opened"


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    threading.Event().wait()


def plain_task(folder: Path) -> None:
    assert zgen.get(double.remote(21)) == 42


def many_small_tasks(folder: Path) -> None:
    assert zgen.get([double.remote(n) for n in range(400)]) == [2 * n for n in range(400)]


def tasks_that_need_each_other(folder: Path) -> None:
    ref = double.remote(1)
    for _ in range(8):
        ref = add.remote(ref, ref)
    assert zgen.get(ref) == 512


def several_results(folder: Path) -> None:
    @zgen.remote(num_returns=3)
    def three() -> tuple[int, str, None]:
        return 1, "two", None

    assert zgen.get(three.remote()) == [1, "two", None]


def a_stream(folder: Path) -> None:
    assert [zgen.get(ref) for ref in count_to.remote(300)] == list(range(300))


def a_slow_stream(folder: Path) -> None:
    @zgen.remote
    def slow() -> Iterator[int]:
        for index in range(5):
            time.sleep(0.01)
            yield index

    gen = slow.remote()
    assert [zgen.get(ref) for ref in gen] == list(range(5))
    assert zgen.get(gen.completed()) is None


def two_streams_by_turns(folder: Path) -> None:
    streams = [count_to.remote(50), count_to.remote(50)]
    taken = [[zgen.get(next(gen)) for gen in streams] for _ in range(50)]
    assert taken == [[n, n] for n in range(50)]


def a_dropped_stream(folder: Path) -> None:
    gen = count_to.remote(2000)
    assert zgen.get(next(gen)) == 0
    del gen
    assert zgen.get(double.remote(1)) == 2


def an_error(folder: Path) -> None:
    with pytest.raises(TaskError, match="wrong"):
        zgen.get(double.remote(fail.remote("wrong")))


def an_error_in_a_stream(folder: Path) -> None:
    @zgen.remote
    def breaks() -> Iterator[int]:
        yield 0
        raise KeyError("in the middle")

    first, second = list(breaks.remote())
    assert zgen.get(first) == 0
    with pytest.raises(KeyError):
        zgen.get(second)


def a_retried_error(folder: Path) -> None:
    @zgen.remote(max_retries=2, retry_exceptions=[OSError])
    def flaky(path: str) -> int:
        if begin(path) < 3:
            raise OSError("not yet")
        return begin(path)

    assert zgen.get(flaky.remote(str(folder / "flaky"))) == 4


def a_task_whose_worker_dies(folder: Path) -> None:
    @zgen.remote
    def dies_once(path: str) -> str:
        if begin(path) == 1:
            die()
        return "again"

    assert zgen.get(dies_once.remote(str(folder / "task"))) == "again"


def a_stream_whose_worker_dies(folder: Path) -> None:
    @zgen.remote
    def dies_once(path: str) -> Iterator[int]:
        first = begin(path) == 1
        for index in range(40):
            if first and index == 20:
                die()
            yield index

    gen = dies_once.remote(str(folder / "stream"))
    assert [zgen.get(ref) for ref in gen] == list(range(40))


def a_task_without_retries_whose_worker_dies(folder: Path) -> None:
    @zgen.remote(max_retries=0)
    def dies() -> None:
        die()

    with pytest.raises(WorkerCrashedError) as caught:
        zgen.get(dies.remote())
    assert caught.value.signal == signal.SIGKILL


def nested_tasks(folder: Path) -> None:
    @zgen.remote
    def parent(depth: int) -> int:
        if not depth:
            return 1
        mine: int = zgen.get(parent.remote(depth - 1))
        others: list[int] = zgen.get([double.remote(n) for n in range(3)])
        return mine + sum(others)

    assert zgen.get(parent.remote(3)) == 1 + 3 * 6


def nested_streams(folder: Path) -> None:
    @zgen.remote
    def outer() -> Iterator[int]:
        for ref in count_to.remote(20):
            yield 2 * zgen.get(ref)

    assert [zgen.get(ref) for ref in outer.remote()] == list(range(0, 40, 2))


def puts(folder: Path) -> None:
    ref = zgen.put(20)
    assert zgen.get([add.remote(ref, n) for n in range(10)]) == list(range(20, 30))
    assert zgen.get(zgen.put(None)) is None


def waits_and_drops(folder: Path) -> None:
    gate = folder / "gate"
    held, quick = wait_for.remote(str(gate)), double.remote(1)
    assert zgen.wait([held, quick], num_returns=1) == ([quick], [held])
    with pytest.raises(GetTimeoutError):
        zgen.get(held, timeout=0.01)
    gate.touch()
    assert zgen.get(held) == "opened"
    for _ in range(50):
        double.remote(1)  # nobody wants it


def big_items(folder: Path) -> None:
    @zgen.remote
    def big(count: int) -> Iterator[bytes]:
        for index in range(count):
            yield bytes([index]) * BIG_BYTES

    @zgen.remote
    def size(blob: bytearray) -> int:
        return len(blob)

    sizes = [len(zgen.get(ref)) for ref in big.remote(4)]
    assert sizes == [BIG_BYTES] * 4
    assert zgen.get(size.remote(zgen.put(bytearray(BIG_BYTES)))) == BIG_BYTES


def large_objects(folder: Path) -> None:
    @zgen.remote
    def arrays(count: int) -> Iterator[Any]:
        for number in range(count):
            yield numpy.full(1 << 20, number, numpy.uint8)

    @zgen.remote
    def total(*parts: Any) -> int:
        return sum(int(part.sum()) for part in parts)

    ref = zgen.put(numpy.ones(1 << 20, numpy.uint8))
    assert zgen.get([total.remote(ref, ref) for _ in range(3)]) == [2 << 20] * 3
    items = list(arrays.remote(STORE_BYTES >> 20))  # so that some are spilled, and come back
    assert [int(zgen.get(item)[-1]) for item in items] == list(range(len(items)))
    assert zgen.get(total.remote(items[0], items[5], ref)) == 6 << 20
    view = zgen.get(items[7])
    del items, ref
    assert (view == 7).all()


def two_shapes(folder: Path) -> None:
    @zgen.remote(num_cpus=2)
    def wide() -> str:
        return "wide"

    @zgen.remote(num_cpus=0.5, resources={"thing": 1})
    def narrow() -> str:
        print("a line that the driver shows")
        return "narrow"

    refs: list[Any] = []
    for _ in range(4):
        refs += [wide.remote(), narrow.remote()]
    assert zgen.get(refs) == ["wide", "narrow"] * 4


@zgen.remote
class Counter(RemoteClass):
    def __init__(self, first: int) -> None:
        self.number = first

    def add(self) -> int:
        self.number += 1
        return self.number

    def count(self, items: int) -> Iterator[int]:
        for _ in range(items):
            yield self.add()

    def fail(self) -> None:
        raise KeyError("no")

    def pid(self) -> int:
        return os.getpid()


def actors(folder: Path) -> None:
    counter, other = Counter.remote(0), Counter.options(max_concurrency=4).remote(double.remote(5))
    assert zgen.get([counter.add.remote() for _ in range(300)]) == list(range(1, 301))
    assert [zgen.get(ref) for ref in counter.count.remote(50)] == list(range(301, 351))
    assert sorted(zgen.get([other.add.remote() for _ in range(20)])) == list(range(11, 31))
    with pytest.raises(KeyError):
        zgen.get(counter.fail.remote())
    zgen.kill(other)
    with pytest.raises(ActorDiedError):
        zgen.get(other.add.remote())


def an_async_actor(folder: Path) -> None:
    @zgen.remote
    class Station(RemoteClass):
        async def readings(self, items: int) -> AsyncIterator[int]:
            for number in range(items):
                await asyncio.sleep(0)
                yield number

    station = Station.options(name="station").remote()
    streams = [zgen.get_actor("station").readings.remote(20) for _ in range(20)]
    assert [[zgen.get(ref) for ref in stream] for stream in streams] == [list(range(20))] * 20
    assert zgen.get(station.__ray_ready__.remote())


def an_actor_whose_worker_dies(folder: Path) -> None:
    counter = Counter.options(max_restarts=1, max_task_retries=-1).remote(7)
    stream, victim = counter.count.remote(30), zgen.get(counter.pid.remote())
    os.kill(victim, signal.SIGKILL)
    while zgen.get(counter.pid.remote()) == victim:
        continue
    assert [zgen.get(ref) for ref in stream] == list(range(8, 38))
    assert zgen.get(counter.add.remote()) in (8, 38)  # the stream may have ended before


def streams_with_windows(folder: Path) -> None:
    """One read to its end, one dropped while it is parked."""
    for window in (1, 2, 64):
        narrow = count_to.options(_generator_backpressure_num_objects=window)
        assert [zgen.get(ref) for ref in narrow.remote(200)] == list(range(200))
        dropped = narrow.remote(500)
        assert zgen.get(next(dropped)) == 0
        done = dropped.completed()
        del dropped
        zgen.get(done)


def cancelled_work(folder: Path) -> None:
    @zgen.remote
    def counts(path: str) -> Iterator[int]:
        yield begin(path)
        wait_for_ever.remote(path)
        time.sleep(60)

    @zgen.remote(max_retries=-1)
    def wait_for_ever(path: str) -> int:
        begin(path)
        time.sleep(60)
        return 0

    queued = [wait_for_ever.remote(str(folder / "queued")) for _ in range(4)]
    streams = [counts.remote(str(folder / f"stream{n}")) for n in range(2)]
    for ref in [*queued, double.remote(queued[0])]:
        zgen.cancel(ref)
        with pytest.raises(TaskCancelledError):
            zgen.get(ref)
    for gen, force in zip(streams, (False, True), strict=True):
        assert zgen.get(next(gen)) == 1
        zgen.cancel(gen, force=force)
        with pytest.raises(WorkerCrashedError if force else TaskCancelledError):
            zgen.get(gen.completed())


PROGRAMS: Final[tuple[Callable[[Path], None], ...]] = (
    plain_task,
    many_small_tasks,
    tasks_that_need_each_other,
    several_results,
    a_stream,
    a_slow_stream,
    two_streams_by_turns,
    a_dropped_stream,
    an_error,
    an_error_in_a_stream,
    a_retried_error,
    a_task_whose_worker_dies,
    a_stream_whose_worker_dies,
    a_task_without_retries_whose_worker_dies,
    nested_tasks,
    nested_streams,
    puts,
    waits_and_drops,
    big_items,
    large_objects,
    two_shapes,
    actors,
    an_async_actor,
    an_actor_whose_worker_dies,
    streams_with_windows,
    cancelled_work,
)
