"""Streams from real workers: eager, in order, each item once, errors at their place."""

from __future__ import annotations

import gc
import pickle
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

import zgen
from tests.integration.gates import LATE_S, Gate, seconds_since
from tests.integration.watching import wait_until
from zgen.exceptions import GetTimeoutError
from zgen.runtime.process import Runtime
from zgen.testing.plugin import held

pytestmark = pytest.mark.usefixtures("runtime")


def values(stream: Any) -> list[Any]:
    return [zgen.get(ref) for ref in stream]


@zgen.remote
def numbers(count: int) -> Any:
    yield from range(count)


@zgen.remote
def numbers_then(count: int, gate: Gate) -> Any:
    yield from range(count)
    gate.wait()


@zgen.remote
def numbers_then_fail(count: int) -> Any:
    yield from range(count)
    raise LookupError(f"after {count}")


# -- order and end ---------------------------------------------------------------------------------
@pytest.mark.parametrize("count", [0, 1, 2, 64, 65, 1000])
@pytest.mark.ray_docs("6-7")
def test_items_come_in_yield_order_each_once(count: int) -> None:
    assert values(numbers.remote(count)) == list(range(count))


def test_many_items_come_in_order() -> None:
    count = 20_000
    stream = numbers.remote(count)
    for expected, ref in enumerate(stream):
        assert zgen.get(ref) == expected
    assert expected == count - 1


@pytest.mark.ray_docs("66-67")
def test_after_the_last_item_comes_stop_iteration_for_ever() -> None:
    stream = numbers.remote(1)
    assert zgen.get(next(stream)) == 0
    for _ in range(3):
        with pytest.raises(StopIteration):
            next(stream)
    assert list(stream) == []


@pytest.mark.ray_docs("60-62")
def test_a_generator_is_its_own_iterator() -> None:
    stream = numbers.remote(3)
    assert iter(stream) is stream
    assert zgen.get(next(iter(stream))) == 0
    assert values(stream) == [1, 2]


@pytest.mark.ray_docs("64-65")
def test_references_of_one_stream_are_different_objects() -> None:
    refs = list(numbers.remote(50))
    assert len({ref.hex() for ref in refs}) == 50
    assert all(isinstance(ref, zgen.ObjectRef) for ref in refs)


def test_calls_return_before_anything_runs(gate: Gate) -> None:
    @zgen.remote
    def waits() -> Any:
        gate.wait()
        yield 1

    streams = [waits.remote() for _ in range(10)]  # had they waited, nobody would open the gate
    assert all(isinstance(stream, zgen.ObjectRefGenerator) for stream in streams)
    gate.open()
    assert [values(stream) for stream in streams] == [[1]] * 10


# -- eager and visible -----------------------------------------------------------------------------
@pytest.mark.ray_docs("14-25")
def test_items_are_usable_long_before_the_end(gate: Gate) -> None:
    stream = numbers_then.remote(3, gate)
    assert [zgen.get(next(stream)) for _ in range(3)] == [0, 1, 2]
    assert not gate.is_open
    gate.open()
    assert list(stream) == []


@pytest.mark.ray_docs("28-31")
@pytest.mark.beside_ray("streaming")
def test_each_item_is_visible_while_the_body_waits_for_the_next(gate: Gate) -> None:
    gates = [gate.beside(str(number)) for number in range(4)]

    @zgen.remote
    def step_by_step() -> Any:
        for number, each in enumerate(gates):
            each.wait()
            yield number

    stream = step_by_step.remote()
    for number, each in enumerate(gates):
        with pytest.raises(GetTimeoutError):
            stream.next(timeout=0.02)
        each.open()
        assert zgen.get(next(stream)) == number


@pytest.mark.ray_docs("82-84")
def test_the_body_runs_ahead_of_the_consumer(gate: Gate) -> None:
    @zgen.remote
    def ahead() -> Any:
        yield from range(500)
        gate.open()

    stream = ahead.remote()
    gate.wait()  # the body has ended, and nothing was taken
    assert values(stream) == list(range(500))


def test_an_item_is_what_it_was_when_it_was_yielded() -> None:
    @zgen.remote
    def grow() -> Any:
        items: list[int] = []
        for number in range(4):
            items.append(number)
            yield items
        items.clear()

    assert values(grow.remote()) == [[0], [0, 1], [0, 1, 2], [0, 1, 2, 3]]


def test_a_buffer_is_what_it_was_when_it_was_yielded() -> None:
    @zgen.remote
    def overwrite() -> Any:
        block = bytearray(1 << 20)
        for number in range(3):
            block[:] = bytes([number]) * len(block)
            yield pickle.PickleBuffer(block)
        block[:] = b"\xff" * len(block)

    for number, block in enumerate(values(overwrite.remote())):
        assert bytes(block) == bytes([number]) * (1 << 20)


# -- how a body may yield and end ------------------------------------------------------------------
def test_yield_from_any_iterable_works() -> None:
    @zgen.remote
    def mixed() -> Any:
        yield from [1, 2]
        yield from (number for number in (3,))
        yield from "ab"
        returned = yield from inner()
        yield returned

    def inner() -> Any:
        yield "inner"
        return "returned"

    assert values(mixed.remote()) == [1, 2, 3, "a", "b", "inner", "returned"]


def test_a_yield_evaluates_to_none() -> None:
    @zgen.remote
    def ask() -> Any:
        got = yield "first"
        yield got

    assert values(ask.remote()) == ["first", None]


@pytest.mark.ray_docs("209")
def test_a_bare_return_ends_the_stream_and_a_returned_value_comes_with_its_end() -> None:
    @zgen.remote
    def leave(value: Any = None) -> Any:
        yield 1
        if value is None:
            return
        return value

    assert values(leave.remote()) == [1]
    stream = leave.remote("value")
    assert zgen.get(next(stream)) == 1
    with pytest.raises(StopIteration) as raised:
        next(stream)
    assert raised.value.value == "value"


def test_none_is_an_item_as_any_other() -> None:
    @zgen.remote
    def nothing() -> Any:
        for _ in range(3):
            yield None

    assert values(nothing.remote()) == [None, None, None]


def test_finally_and_context_managers_of_the_body_run(gate: Gate) -> None:
    closed = gate.beside("closed")

    @zgen.remote
    def tidy() -> Any:
        try:
            yield 1
        finally:
            closed.open()

    assert values(tidy.remote()) == [1]
    closed.wait(0)


# -- large, many, at once --------------------------------------------------------------------------
@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 100 << 10, 8 << 20])
@pytest.mark.parametrize("kind", [bytes, bytearray], ids=["bytes", "bytearray"])
def test_items_of_every_size_arrive_whole(size: int, kind: Any) -> None:
    @zgen.remote
    def blocks() -> Any:
        for number in range(3):
            yield kind(bytes([number]) * size)

    for number, block in enumerate(values(blocks.remote())):
        assert type(block) is kind
        assert bytes(block) == bytes([number]) * size


def test_several_buffers_in_one_item_arrive_whole() -> None:
    @zgen.remote
    def record() -> Any:
        for number in range(3):
            parts = [bytearray([part]) * 50_000 for part in range(20)]
            yield number, {"parts": [pickle.PickleBuffer(part) for part in parts]}

    for expected, (number, fields) in enumerate(values(record.remote())):
        assert number == expected
        assert [bytes(part) for part in fields["parts"]] == [
            bytes([part]) * 50_000 for part in range(20)
        ]


def test_more_bytes_than_may_be_unacknowledged_flow_through() -> None:
    @zgen.remote
    def blocks() -> Any:
        for number in range(40):
            yield bytes([number]) * (4 << 20)

    stream = blocks.remote()
    for number, ref in enumerate(stream):
        block = zgen.get(ref)
        assert (len(block), block[0], block[-1]) == (4 << 20, number, number)
    assert number == 39


def test_several_streams_at_once_do_not_mix() -> None:
    @zgen.remote(num_cpus=0)
    def tagged(tag: int) -> Any:
        for number in range(200):
            yield tag, number

    streams = [tagged.remote(tag) for tag in range(8)]
    taken: list[list[Any]] = [[] for _ in streams]
    for _ in range(200):
        for tag, stream in enumerate(streams):
            taken[tag].append(zgen.get(next(stream)))
    assert taken == [[(tag, number) for number in range(200)] for tag in range(8)]
    assert [list(stream) for stream in streams] == [[]] * 8


def test_more_streams_than_cpus_all_end() -> None:
    streams = [numbers.remote(10) for _ in range(50)]
    assert [values(stream) for stream in streams] == [list(range(10))] * 50


# -- bounded next, completed, looking --------------------------------------------------------------
@pytest.mark.ray_docs("69-71")
@pytest.mark.beside_ray("timeout_per_item")
def test_next_with_a_timeout_raises_in_time_and_goes_on_from_there(gate: Gate) -> None:
    @zgen.remote
    def one_then_wait() -> Any:
        yield "first"
        gate.wait()
        yield "second"

    stream = one_then_wait.remote()
    assert zgen.get(stream.next(timeout=20)) == "first"
    began = time.monotonic()
    with pytest.raises(GetTimeoutError):
        stream.next(timeout=0.2)
    assert 0.2 <= seconds_since(began) < 0.2 + LATE_S
    with pytest.raises(TimeoutError):
        stream.next(timeout=0)
    gate.open()
    assert zgen.get(stream.next(timeout=20)) == "second"
    with pytest.raises(StopIteration):
        stream.next(timeout=20)
    with pytest.raises(StopIteration):
        stream.next(timeout=0)


def test_next_with_timeout_zero_takes_what_is_there() -> None:
    stream = numbers.remote(3)
    zgen.get(stream.completed())
    assert [zgen.get(stream.next(timeout=0)) for _ in range(3)] == [0, 1, 2]


def test_next_with_a_negative_timeout_is_a_value_error(gate: Gate) -> None:
    stream = numbers_then.remote(1, gate)
    with pytest.raises(ValueError, match="timeout"):
        stream.next(timeout=-1)
    assert zgen.get(stream.next(timeout=20)) == 0
    with pytest.raises(ValueError, match="timeout"):
        stream.next(timeout=-1)
    with pytest.raises(TypeError, match="timeout must be a number"):
        stream.next(timeout="1")
    gate.open()


@pytest.mark.ray_docs("161-163", "167-168")
def test_completed_gives_none_when_the_body_has_ended(gate: Gate) -> None:
    stream = numbers_then.remote(2, gate)
    done = stream.completed()
    assert done == stream.completed()
    with pytest.raises(GetTimeoutError):
        zgen.get(done, timeout=0.05)
    gate.open()
    assert zgen.get(done) is None
    assert values(stream) == [0, 1]
    assert zgen.get(stream.completed()) is None


def test_completed_gives_none_after_an_exception_that_was_an_item() -> None:
    stream = numbers_then_fail.remote(1)
    assert zgen.get(stream.completed()) is None
    assert zgen.get(next(stream)) == 0
    with pytest.raises(LookupError):
        zgen.get(next(stream))
    assert zgen.get(stream.completed()) is None


def test_completed_outlives_the_generator(gate: Gate) -> None:
    stream = numbers_then.remote(1, gate)
    done = stream.completed()
    del stream
    gate.open()
    assert zgen.get(done) is None


def test_next_ready_and_is_finished_tell_what_next_would_do(gate: Gate) -> None:
    stream = numbers_then.remote(1, gate)
    wait_until(stream.next_ready, 10, "the first item is there")
    assert not stream.is_finished()
    next(stream)
    assert not stream.next_ready()
    assert not stream.is_finished()
    gate.open()
    wait_until(stream.is_finished, 10, "the end is known")
    assert not stream.next_ready()
    with pytest.raises(StopIteration):
        next(stream)
    assert (stream.next_ready(), stream.is_finished()) == (False, True)


def test_an_error_that_was_not_taken_is_ready_and_not_the_end() -> None:
    stream = numbers_then_fail.remote(0)
    zgen.get(stream.completed())
    assert (stream.next_ready(), stream.is_finished()) == (True, False)
    next(stream)
    assert (stream.next_ready(), stream.is_finished()) == (False, True)


@pytest.mark.ray_docs("208")
def test_sending_into_a_generator_is_not_implemented() -> None:
    stream = numbers.remote(1)
    with pytest.raises(NotImplementedError):
        stream.send(1)
    with pytest.raises(NotImplementedError):
        stream.throw(ValueError())
    assert values(stream) == [0]


def test_pickling_a_generator_by_hand_is_a_type_error() -> None:
    stream = numbers.remote(1)
    with pytest.raises(TypeError, match="pickled by hand"):
        pickle.dumps(stream)
    with pytest.raises(TypeError):
        zgen.put(stream)
    assert values(stream) == [0]


# -- what is let go --------------------------------------------------------------------------------
@pytest.mark.ray_docs("129", "136-137")
def test_dropping_a_generator_frees_what_was_not_taken(runtime: Runtime, gate: Gate) -> None:
    owner = runtime.machine.owner
    before = held(runtime)
    stream = numbers_then.remote(1000, gate)
    kept = next(stream)
    name = stream.task_id()
    wait_until(lambda: owner.streams.streams[name].known == 1000, 10, "everything is reported")
    del stream
    gc.collect()

    def is_left_alone() -> bool:
        with runtime.loop.lock:  # the I/O thread takes out what was dropped
            record = owner.streams.streams.get(name)
            left = [each for each in owner.refs.records if each not in before]
        return left == [kept.binary()] and (record is None or not record.unread)

    wait_until(is_left_alone, 10, "only the reference that was taken is left")
    assert zgen.get(kept) == 0
    gate.open()
    wait_until(lambda: not owner.streams.streams and not owner.tasks.entries, 10, "the task ended")


def test_the_body_of_a_dropped_generator_runs_to_its_end(gate: Gate) -> None:
    ended = gate.beside("ended")

    @zgen.remote
    def long() -> Any:
        yield 1
        gate.wait()
        yield from range(100)
        ended.open()

    stream = long.remote()
    next(stream)
    del stream
    gc.collect()
    gate.open()
    ended.wait()


def test_a_generator_dropped_before_it_began_leaves_nothing(runtime: Runtime) -> None:
    for _ in range(20):
        numbers.remote(50)
    owner = runtime.machine.owner
    wait_until(lambda: not owner.streams.streams and not owner.tasks.entries, 20, "all ended")
    assert not runtime.machine.owner.refs.records


@pytest.mark.ray_docs("128", "136-137")
def test_an_exhausted_generator_leaves_only_references_that_are_held(runtime: Runtime) -> None:
    stream = numbers.remote(200)
    refs = list(stream)
    assert len(runtime.machine.owner.refs.records) == 200
    del stream, refs[::2]
    gc.collect()
    wait_until(lambda: len(runtime.machine.owner.refs.records) == 100, 10, "half is freed")
    assert not runtime.machine.owner.streams.streams
    assert zgen.get(refs) == list(range(1, 200, 2))


@pytest.mark.ray_docs("35")
def test_values_are_freed_while_a_stream_is_consumed(runtime: Runtime) -> None:
    @zgen.remote
    def blocks() -> Any:
        for _ in range(200):
            yield bytes(1 << 20)

    stream = blocks.remote()
    for ref in stream:
        zgen.get(ref)
    del ref

    def is_freed() -> bool:
        with runtime.loop.lock:
            return runtime.machine.owner.refs.bytes_held() == 0

    wait_until(is_freed, 10, "nothing is held")


# -- generators and threads ------------------------------------------------------------------------
def test_threads_consume_their_own_streams_at_once() -> None:
    results: dict[int, list[int]] = {}

    def consume(number: int) -> None:
        results[number] = values(numbers.options(num_cpus=0).remote(300))

    threads = [threading.Thread(target=consume, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert results == {number: list(range(300)) for number in range(6)}


@pytest.mark.ray_docs("202")
def test_a_generator_can_be_consumed_by_one_task_after_another() -> None:
    @zgen.remote
    def double(value: int) -> int:
        return value * 2

    assert zgen.get([double.remote(ref) for ref in numbers.remote(100)]) == list(range(0, 200, 2))


def test_generators_of_generators_stream_through(gate: Gate) -> None:
    @zgen.remote
    def relay(depth: int) -> Iterator[int]:
        if depth == 0:
            yield from range(20)
            return
        for ref in relay.remote(depth - 1):
            yield zgen.get(ref) + 1

    assert values(relay.remote(6)) == list(range(6, 26))
