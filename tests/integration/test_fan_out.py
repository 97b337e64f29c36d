"""Readers of one run in several processes: each gets all, and none that dies holds others up."""

from __future__ import annotations

import gc
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import zgen
from tests.integration.gates import Gate, Tally
from tests.integration.remote_class import RemoteClass
from tests.integration.watching import wait_until
from zgen.exceptions import (
    GetTimeoutError,
    StreamLentError,
    TaskCancelledError,
    TaskError,
    WorkerCrashedError,
)
from zgen.runtime.process import Runtime

pytestmark = pytest.mark.usefixtures("runtime")

NEVER_S = 20.0


@zgen.remote
def numbers(count: int, size: int = 0, tally: Tally | None = None) -> Iterator[Any]:
    for number in range(count):
        if tally is not None:
            tally.add()
        yield (number, bytes(size)) if size else number
    return "all"  # type: ignore[return-value]  # as generators do


@zgen.remote(num_cpus=0, max_retries=0)
def read(stream: Any, count: int = 10**6, gate: Gate | None = None) -> list[int]:
    """Take some items, say so, and hold the stream until the gate is open."""
    found = []
    for ref in stream:
        item = zgen.get(ref)
        found.append(item[0] if isinstance(item, tuple) else item)
        if len(found) == count:
            break
    if gate is not None:
        gate.beside("pid").path.write_text(str(os.getpid()))
        gate.beside("read").open()
        gate.wait()
    return found


@zgen.remote(num_cpus=0)
def pass_on(stream: Any) -> tuple[list[int], str]:
    rest = read.remote(stream)
    return zgen.get(rest), zgen.get(stream.completed())


class Consumer(RemoteClass):
    def read(self, stream: Any) -> list[int]:
        return [zgen.get(ref) for ref in stream]

    async def read_async(self, stream: Any) -> list[int]:
        return [await ref async for ref in stream]

    def first(self, stream: Any) -> tuple[int, Any]:
        return zgen.get(next(stream)), stream


def values(stream: Any, count: int = 10**6) -> list[Any]:
    return [zgen.get(ref) for _, ref in zip(range(count), stream, strict=False)]


def objects(runtime: Runtime) -> int:
    gc.collect()
    return len(runtime.machine.owner.refs.records)


@pytest.mark.beside_ray("fan_out")
def test_actors_consume_the_same_run(gate: Gate, runtime: Runtime) -> None:
    tally = Tally(gate.path)
    consumers = [zgen.remote(num_cpus=0)(Consumer).remote() for _ in range(3)]
    zgen.get([consumer.read.remote([]) for consumer in consumers])
    before = objects(runtime)
    stream = numbers.remote(200, 0, tally)
    one, two, three = zgen.streams.fan_out(stream, 3, max_pending_items=8)
    refs = [consumers[0].read.remote(one), consumers[1].read_async.remote(two)]
    assert zgen.get(pass_on.remote(three), timeout=NEVER_S) == (list(range(200)), "all")
    assert zgen.get(refs, timeout=NEVER_S) == [list(range(200))] * 2
    assert tally.count == 200
    assert zgen.get(one.completed()) == "all"
    assert values(one) == []
    del stream, one, two, three, refs
    wait_until(lambda: objects(runtime) <= before, NEVER_S, "everything is let go")


def test_one_process_reads_beside_others_and_none_is_too_far_ahead(gate: Gate) -> None:
    tally = Tally(gate.beside("made").path)
    stream = numbers.options(max_pending_items=2).remote(60, 200_000, tally)
    here, there = zgen.streams.fan_out(stream, 2, max_pending_items=4)
    ref = read.remote(there, 3, gate)
    gate.beside("read").wait()
    assert [item[0] for item in values(here, 7)] == list(range(7))
    with pytest.raises(GetTimeoutError):
        here.next(timeout=0.5)
    assert zgen.wait([here], timeout=0) == ([], [here])
    assert tally.count <= 10
    gate.open()
    assert zgen.get(ref, timeout=NEVER_S) == [0, 1, 2]
    assert len(list(here)) == 53  # the other one had been dropped there, and nobody read it here
    with pytest.raises(StreamLentError, match="went on without it"):
        next(there)
    assert zgen.get(there.completed()) == "all"


def test_a_reader_is_given_back_and_read_on_here() -> None:
    one, two = zgen.streams.fan_out(numbers.remote(20), 2, max_pending_items=4)
    consumer = zgen.remote(num_cpus=0)(Consumer).remote()
    first, back = zgen.get(consumer.first.remote(one), timeout=NEVER_S)
    assert (first, back is one) == (0, True)
    thread = threading.Thread(target=values, args=(two,))
    thread.start()
    assert values(back) == list(range(1, 20))
    thread.join(NEVER_S)
    assert not thread.is_alive()


def test_a_consumer_that_is_killed_loses_and_repeats_nothing(gate: Gate) -> None:
    stream = numbers.remote(300)
    killed, other = zgen.streams.fan_out(stream, 2, max_pending_items=20)
    dead = read.remote(killed, 10, gate.beside("never"))
    alive = read.remote(other)
    gate.beside("read").wait()
    os.kill(int(gate.beside("pid").path.read_text()), signal.SIGKILL)
    with pytest.raises(WorkerCrashedError):
        zgen.get(dead, timeout=NEVER_S)
    assert zgen.get(alive, timeout=NEVER_S) == list(range(300))  # though nobody reads the first
    with pytest.raises(StreamLentError):
        next(killed)


@pytest.mark.slow
def test_who_takes_up_what_a_killed_consumer_had_goes_on_behind_it(gate: Gate) -> None:
    killed, other = zgen.streams.fan_out(numbers.remote(300), 2, max_pending_items=20)
    dead = read.remote(killed, 10, gate.beside("never"))
    gate.beside("read").wait()
    os.kill(int(gate.beside("pid").path.read_text()), signal.SIGKILL)
    with pytest.raises(WorkerCrashedError):
        zgen.get(dead, timeout=NEVER_S)
    again, alive = read.remote(killed), read.remote(other)
    assert zgen.get(alive, timeout=NEVER_S) == list(range(300))
    assert zgen.get(again, timeout=NEVER_S) in ([*range(10, 300)], [*range(9, 300)])


def test_the_producer_of_several_consumers_is_killed_and_nothing_is_lost(gate: Gate) -> None:
    @zgen.remote(max_retries=2)
    def fragile() -> Iterator[int]:
        for number in range(100):
            if number == 50 and not gate.is_open:
                gate.open()
                os.kill(os.getpid(), signal.SIGKILL)
            yield number

    readers = zgen.streams.fan_out(fragile.remote(), 3, max_pending_items=10)
    found = zgen.get([read.remote(reader) for reader in readers], timeout=NEVER_S)
    assert found == [list(range(100))] * 3
    assert gate.is_open


def test_what_the_body_raises_comes_to_each() -> None:
    @zgen.remote
    def fails() -> Iterator[int]:
        yield 0
        raise LookupError("lost")

    for ref in [read.remote(each) for each in zgen.streams.fan_out(fails.remote(), 2)]:
        with pytest.raises(TaskError, match="lost"):
            zgen.get(ref, timeout=NEVER_S)


def test_readers_of_tuples_stay_tuples() -> None:
    @zgen.remote(num_objects_per_yield=2)
    def pairs() -> Iterator[tuple[int, str]]:
        for number in range(5):
            yield number, str(number)

    @zgen.remote(num_cpus=0)
    def read_pairs(stream: Any) -> list[list[Any]]:
        return [zgen.get(list(pair)) for pair in stream]

    here, there = zgen.streams.fan_out(pairs.remote(), 2)
    wanted = [[number, str(number)] for number in range(5)]
    ref = read_pairs.remote(there)
    assert [zgen.get(list(pair)) for pair in here] == wanted
    assert zgen.get(ref, timeout=NEVER_S) == wanted


def test_who_waits_for_himself_is_told_so_and_a_reader_elsewhere_is_waited_for() -> None:
    one, two = zgen.streams.fan_out(numbers.remote(9), 2, max_pending_items=2)
    assert values(one, 2) == [0, 1]
    with pytest.raises(RuntimeError, match=r"reader 0 .* reader 1 .* no other thread"):
        next(one)
    ref = read.remote(two)
    assert values(one) == list(range(2, 9))
    assert zgen.get(ref, timeout=NEVER_S) == list(range(9))


def test_cancel_and_close_of_a_reader() -> None:
    @zgen.remote
    def endless() -> Iterator[int]:
        number = 0
        while True:
            yield number
            number += 1

    @zgen.remote(num_cpus=0)
    def close(stream: Any) -> list[Any]:
        next(stream)
        stream.close()
        return list(stream)

    stream = endless.options(max_pending_items=4).remote()
    one, two = zgen.streams.fan_out(stream, 2, max_pending_items=4)
    assert zgen.get(close.remote(two), timeout=NEVER_S) == []
    assert values(one, 20) == list(range(20))
    assert next(two, None) is None
    zgen.cancel(one)
    with pytest.raises(TaskCancelledError):
        values(one)


def test_a_stream_whose_readers_are_gone_is_read_on() -> None:
    stream = numbers.remote(9)
    one, two = zgen.streams.fan_out(stream, 2)
    with pytest.raises(StreamLentError, match="fan_out reads it"):
        next(stream)
    assert values(one, 3) == [0, 1, 2]
    one.close()
    two.close()
    assert values(stream) == list(range(4, 9))  # one was at hand
