"""Generators that are handed over: read by the task or actor that has them, one at a time."""

from __future__ import annotations

import functools
import os
import pickle
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

import zgen
from tests.integration.gates import Gate, Tally
from tests.integration.remote_class import RemoteClass
from tests.integration.watching import wait_until
from zgen.exceptions import (
    NestedRefError,
    OwnerDiedError,
    StreamLentError,
    TaskCancelledError,
    TaskError,
    WorkerCrashedError,
)
from zgen.runtime.process import Runtime

pytestmark = pytest.mark.usefixtures("runtime")


@zgen.remote
def numbers(count: int) -> Iterator[int]:
    yield from range(count)


@zgen.remote
def read(stream: Any, count: int = 1_000, gate: Gate | None = None) -> list[int]:
    """Take some items, and hold the stream until the gate is open."""
    found = [zgen.get(ref) for _, ref in zip(range(count), stream, strict=False)]
    if gate is not None:
        gate.beside("read").open()
        gate.wait()
    return found


@zgen.remote
def read_and_return(stream: Any, count: int) -> tuple[list[int], Any]:
    return [zgen.get(next(stream)) for _ in range(count)], stream


@zgen.remote
def pass_on(stream: Any, count: int) -> tuple[list[int], list[int]]:
    """Take some items and let another task read the rest."""
    first = [zgen.get(next(stream)) for _ in range(count)]
    rest = read.remote(stream)
    with pytest.raises(StreamLentError, match="passed it on"):
        next(stream)
    return first, zgen.get(rest)


@zgen.remote
def make(count: int) -> dict[str, Any]:
    return {"stream": numbers.remote(count)}


class Reader(RemoteClass):
    async def read_async(self, stream: Any) -> list[int]:
        return [await ref async for ref in stream]

    def count(self, upto: int) -> Iterator[int]:
        yield from range(upto)

    async def forward(self, stream: Any) -> AsyncIterator[int]:
        async for ref in stream:
            yield await ref * 2


@zgen.remote
def summed(count: int, gate: Gate | None = None, size: int = 1) -> Iterator[int]:
    """Yield numbers; return their sum, so often."""
    yield from range(count)
    if gate is not None:
        gate.wait()
    return [sum(range(count))] * size  # type: ignore[return-value]  # as generators do


@zgen.remote
def fails(gate: Gate) -> Iterator[int]:
    yield 0
    gate.wait()
    os._exit(3)


@zgen.remote
def read_to_the_end(stream: Any) -> tuple[list[int], Any, Any]:
    """Read by hand; return the items, and what both say that the generator returned."""
    done, found = stream.completed(), []
    while True:
        try:
            found.append(zgen.get(next(stream)))
        except StopIteration as end:
            return found, end.value, zgen.get(done)


@zgen.remote
def hand_on(stream: Any) -> Any:
    """Let another task read, and say with it what this one hears of the end."""
    done = stream.completed()
    return zgen.get(read_to_the_end.remote(stream)), zgen.get([done, stream.completed()])


@zgen.remote
def wait_for_end(stream: Any, gate: Gate, seconds: float = 30.0) -> str:
    done = stream.completed()
    gate.open()
    try:
        return repr(zgen.get(done, timeout=seconds))
    except (WorkerCrashedError, OwnerDiedError) as error:
        return type(error).__name__


def values(stream: Any) -> list[int]:
    return [zgen.get(ref) for ref in stream]


@pytest.mark.ray_docs("210")
@pytest.mark.beside_ray("hand_over")
def test_a_generator_is_read_by_the_task_that_it_is_passed_to() -> None:
    assert zgen.get(read.remote(numbers.remote(40))) == list(range(40))
    assert zgen.get(read.remote(stream=numbers.remote(3))) == [0, 1, 2]


def test_one_who_reads_what_was_handed_over_is_told_who_does(gate: Gate) -> None:
    stream = numbers.remote(6)
    assert zgen.get(next(stream)) == 0
    ref = read.remote(stream, 3, gate)
    gate.beside("read").wait()
    with pytest.raises(StreamLentError, match=r"numbers\(\) cannot be read here: task .* process"):
        next(stream)
    with pytest.raises(StreamLentError):
        read.remote([stream])
    assert not stream.next_ready()
    assert not stream.is_finished()
    assert zgen.wait([stream], timeout=0) == ([], [stream])
    assert zgen.get(stream.completed()) is None
    gate.open()
    assert zgen.get(ref) == [1, 2, 3]
    assert stream.next_ready()
    assert values(stream) == [4, 5]
    assert stream.is_finished()


@pytest.mark.beside_ray("hand_over")
def test_it_is_given_back_passed_on_and_taken_up_where_the_others_stopped() -> None:
    stream = numbers.remote(9)
    first, back = zgen.get(read_and_return.remote(stream, 4))
    assert back is stream
    second, rest = zgen.get(pass_on.remote(back, 2))
    assert [*first, *second, *rest] == list(range(9))
    assert values(stream) == []


def test_a_task_may_return_a_generator_that_it_has_called(runtime: Runtime) -> None:
    stream = zgen.get(make.remote(5))["stream"]
    assert zgen.get(stream.next(timeout=20)) == 0
    done = stream.completed()
    assert zgen.wait([done], timeout=0.1) == ([], [done]) or zgen.get(done) is None
    assert zgen.get(read.remote(stream, 2)) == [1, 2]
    with pytest.raises(StreamLentError):
        next(stream)
    assert zgen.get([done, stream.completed()], timeout=20) == [None, None]
    assert runtime.machine.owner.handover.far.held


def test_actors_read_and_make_what_is_handed_over() -> None:
    reader = zgen.remote(num_cpus=0)(Reader).remote()
    assert zgen.get(reader.read_async.remote(numbers.remote(20))) == list(range(20))
    assert zgen.get(read.remote(reader.count.remote(7))) == list(range(7))
    assert values(reader.forward.remote(numbers.remote(4))) == [0, 2, 4, 6]


def test_of_two_who_have_the_same_value_one_reads_and_the_other_is_told() -> None:
    shared = zgen.put([numbers.remote(500)])

    @zgen.remote
    def read_first(streams: list[Any]) -> int:
        return len(list(streams[0]))

    refs = [read_first.remote(shared) for _ in range(2)]
    counts, errors = [], []
    for ref in refs:
        try:
            counts.append(zgen.get(ref))
        except TaskError as error:
            errors.append(error)
    assert sum(counts) == 500
    assert all(isinstance(error, StreamLentError) for error in errors)
    assert len(counts) + len(errors) == 2


def test_what_is_pickled_for_nothing_stays_where_it_is() -> None:
    stream = numbers.remote(3)
    with pytest.raises(TypeError):
        read.remote([stream, threading.Lock()])
    assert zgen.get(next(stream)) == 0
    with pytest.raises(NestedRefError, match="by hand"):
        pickle.dumps(stream)
    with pytest.raises(NestedRefError, match="closes over"):
        zgen.remote(functools.partial(values, stream)).remote()
    assert values(stream) == [1, 2]


def test_a_window_follows_who_reads(gate: Gate) -> None:
    tally = Tally(gate.path.with_name("made"))

    @zgen.remote
    def counted() -> Iterator[int]:
        for number in range(100):
            tally.add()
            yield number

    stream = counted.options(_generator_backpressure_num_objects=2).remote()
    ref = read.remote(stream, 5, gate)
    gate.beside("read").wait()
    wait_until(lambda: tally.count == 7, 20, "two more are made than were taken")
    gate.open()
    assert zgen.get(ref) == [0, 1, 2, 3, 4]
    assert [zgen.get(next(stream)) for _ in range(3)] == [5, 6, 7]
    stream.close()


def test_both_sides_may_close_it_and_cancel_it(gate: Gate) -> None:
    @zgen.remote
    def endless() -> Iterator[int]:
        while True:
            yield 1

    @zgen.remote
    def close(stream: Any) -> list[Any]:
        next(stream)
        stream.close()
        return list(stream)

    @zgen.remote
    def cancel(stream: Any) -> str:
        zgen.cancel(stream)
        try:
            for ref in stream:
                zgen.get(ref)
        except TaskCancelledError:
            return "cancelled"
        return "ended"

    window = endless.options(_generator_backpressure_num_objects=4)
    stream = window.remote()
    assert zgen.get(close.remote(stream)) == []
    assert zgen.get(stream.completed(), timeout=20) is None
    assert zgen.get(cancel.remote(window.remote()), timeout=20) == "cancelled"
    stream = window.remote()
    ref = read.remote(stream, 1_000_000)
    stream.close()
    assert set(zgen.get(ref, timeout=20)) <= {1}


def test_who_reads_is_told_that_the_owner_died() -> None:
    @zgen.remote(num_cpus=0)
    class Owner(RemoteClass):
        def open(self) -> list[Any]:
            return [numbers.remote(10**6)]

    owner = Owner.remote()
    (stream,) = zgen.get(owner.open.remote())
    next(stream)
    zgen.kill(owner)
    with pytest.raises(OwnerDiedError):
        for _ in stream:
            pass


@pytest.mark.parametrize("size", [1, 20_000, 200_000], ids=["inline", "framed", "in shared memory"])
def test_who_reads_is_told_what_the_generator_returned(size: int) -> None:
    total = [3] * size
    assert zgen.get(read_to_the_end.remote(summed.remote(3, None, size))) == (
        [0, 1, 2],
        total,
        total,
    )
    assert zgen.get(hand_on.remote(summed.remote(3, None, size))) == (
        ([0, 1, 2], total, total),
        [total, total],
    )
    stream = summed.remote(3, None, size)
    half, back = zgen.get(read_and_return.remote(stream, 2))
    assert half == [0, 1]
    assert zgen.get(next(back)) == 2
    with pytest.raises(StopIteration) as ended:
        next(back)
    assert ended.value.value == total
    assert zgen.get(back.completed()) == total


def test_who_reads_may_wait_for_the_end_before_there_is_one(gate: Gate) -> None:
    heard = wait_for_end.remote(summed.remote(3, gate), gate.beside("asked"))
    gate.beside("asked").wait()
    gate.open()
    assert zgen.get(heard, timeout=20) == "[3]"
    failing = fails.options(max_retries=0).remote(gate.beside("dies"))
    heard = wait_for_end.remote(failing, gate.beside("asks"))
    gate.beside("asks").wait()
    gate.beside("dies").open()
    assert zgen.get(heard, timeout=20) == "WorkerCrashedError"


def test_who_waits_for_the_end_is_told_that_the_owner_died(gate: Gate) -> None:
    @zgen.remote(num_cpus=0)
    class Owner(RemoteClass):
        def open(self) -> list[Any]:
            return [summed.remote(10, gate.beside("never"))]

    owner = Owner.remote()
    (stream,) = zgen.get(owner.open.remote())
    heard = wait_for_end.remote(stream, gate)
    gate.wait()
    done = stream.completed()
    zgen.kill(owner)
    assert zgen.get(heard, timeout=20) == "OwnerDiedError"
    with pytest.raises(OwnerDiedError):
        zgen.get(done, timeout=20)
    with pytest.raises(OwnerDiedError):
        zgen.get(stream.completed(), timeout=20)
    gate.beside("never").open()
