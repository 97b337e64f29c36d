"""``cancel`` in every state of a task, with real workers: what runs on, what ends, and how."""

from __future__ import annotations

import asyncio
import hashlib
import os
import pickle
import time
from collections import deque
from collections.abc import Callable, Iterator
from itertools import repeat
from typing import Any

import pytest

import zgen
from tests.integration.gates import LATE_S, Gate, Tally, seconds_since
from tests.integration.watching import is_alive, wait_until
from zgen.exceptions import GetTimeoutError, TaskCancelledError, WorkerCrashedError

pytestmark = pytest.mark.usefixtures("runtime")

#: Longer than any test runs.
LONG_S = 50.0


@zgen.remote(max_retries=3)
def sleeps(gate: Gate) -> None:
    gate.open()
    time.sleep(LONG_S)


@zgen.remote(num_cpus=0)
def sleeps_beside(gate: Gate) -> str:
    gate.open()
    time.sleep(LONG_S)
    return "woke up"


@zgen.remote
def pid() -> int:
    return os.getpid()


@zgen.remote
def same(value: Any) -> Any:
    return value


def is_cancelled(ref: Any, name: str = "") -> TaskCancelledError:
    """Require that a reference raises for being cancelled, and soon."""
    with pytest.raises(TaskCancelledError) as raised:
        zgen.get(ref, timeout=20)
    assert name in str(raised.value)
    assert raised.value.task_id == ref.task_id().hex()
    return raised.value


def take_all_cpus(gate: Gate) -> Any:
    """Let a body that waits for ``gate`` have both CPUs of the node."""
    begun = gate.beside("all taken")

    @zgen.remote(num_cpus=2)
    def occupies() -> None:
        begun.open()
        gate.wait()

    ref = occupies.remote()
    begun.wait()
    return ref


# -- what no worker has begun ----------------------------------------------------------------------
def test_a_task_that_waits_for_a_worker_never_runs(gate: Gate) -> None:
    occupied, began = take_all_cpus(gate), gate.beside("began")
    refs = [sleeps.remote(began) for _ in range(3)]
    for ref in reversed(refs):
        zgen.cancel(ref)
        assert not is_cancelled(ref, "sleeps()").may_have_run
    gate.open()
    zgen.get(occupied)
    assert zgen.get(same.remote(1)) == 1
    assert not began.is_open


def test_a_task_that_waits_for_its_argument_never_runs_nor_does_what_needs_it(gate: Gate) -> None:
    tally = Tally(gate.path.with_name("tally"))

    @zgen.remote
    def late() -> int:
        gate.wait()
        return 1

    @zgen.remote
    def counted(value: int) -> int:
        return tally.add()

    argument = late.remote()
    waiting = counted.remote(argument)
    after = counted.remote(waiting)
    zgen.cancel(waiting)
    assert not is_cancelled(waiting, "counted()").may_have_run
    with pytest.raises(TaskCancelledError):
        zgen.get(after)
    gate.open()
    assert zgen.get(argument) == 1
    assert tally.count == 0


def test_a_task_that_waits_before_it_runs_again_does_not(gate: Gate) -> None:
    tally = Tally(gate.path)

    @zgen.remote(max_retries=-1, retry_exceptions=True)
    def fails() -> None:
        tally.add()
        raise OSError("again")

    ref = fails.remote()
    wait_until(lambda: tally.count >= 4, 20, "it has failed some times")  # so that it waits longer
    zgen.cancel(ref)
    is_cancelled(ref, "fails()")
    count = tally.count
    zgen.get([same.remote(number) for number in range(20)])
    assert tally.count == count


def test_what_has_ended_keeps_its_result(gate: Gate) -> None:
    ref = same.remote(7)
    assert zgen.get(ref) == 7
    zgen.cancel(ref)
    zgen.cancel(ref, force=True)
    assert zgen.get(ref) == 7
    stream = iter_to.remote(3)
    assert [zgen.get(item) for item in stream] == [0, 1, 2]
    zgen.cancel(stream)
    assert zgen.get(stream.completed()) is None


@zgen.remote
def iter_to(count: int) -> Iterator[int]:
    yield from range(count)


# -- what runs -------------------------------------------------------------------------------------
def in_sleep() -> None:
    time.sleep(LONG_S)


def in_a_busy_loop() -> None:
    while True:
        pass


def in_get() -> None:
    zgen.get(in_a_child.remote())


@zgen.remote(num_cpus=0)
def in_a_child() -> None:
    time.sleep(LONG_S)


def in_next() -> None:
    next(stuck.remote())


@zgen.remote(num_cpus=0)
def stuck() -> Iterator[int]:
    time.sleep(LONG_S)
    yield 0


def in_wait() -> None:
    zgen.wait([stuck.remote()])


def in_calls_of_zgen() -> None:
    while True:
        zgen.get(zgen.put(1))


def in_nothing_but_calls_of_zgen() -> None:
    deque(map(zgen.put, repeat(1)), maxlen=0)  # not a line of Python between two calls


@pytest.mark.parametrize(
    "body",
    [
        in_sleep,
        in_a_busy_loop,
        in_get,
        in_next,
        in_wait,
        in_calls_of_zgen,
        in_nothing_but_calls_of_zgen,
    ],
)
@pytest.mark.ray_docs("152")
def test_a_running_body_ends_at_once_and_its_worker_serves_on(
    body: Callable[[], None], gate: Gate
) -> None:
    @zgen.remote(max_retries=3)
    def runs() -> int:
        gate.path.write_text(str(os.getpid()))
        body()
        return 1

    ref = runs.remote()
    wait_until(lambda: gate.is_open and gate.path.read_text() != "", 20, "it runs")
    worker = int(gate.path.read_text())
    began = time.monotonic()
    zgen.cancel(ref)
    assert is_cancelled(ref, "runs()").may_have_run
    assert seconds_since(began) < LATE_S
    assert zgen.get(same.remote(2)) == 2
    assert is_alive(worker)


def test_a_call_that_holds_the_signal_until_it_returns_ends_the_body_then(gate: Gate) -> None:
    after = gate.beside("after")

    @zgen.remote
    def hashes() -> None:
        gate.open()
        hashlib.pbkdf2_hmac("sha512", b"password", b"salt", 1_000_000)  # without the GIL
        after.open()

    ref = hashes.remote()
    gate.wait()
    zgen.cancel(ref)
    is_cancelled(ref, "hashes()")
    assert not after.is_open


def test_a_body_that_swallows_it_is_cancelled_all_the_same(gate: Gate) -> None:
    went_on = gate.beside("went on")

    @zgen.remote
    def stubborn() -> str:
        try:
            gate.open()
            time.sleep(LONG_S)
        except KeyboardInterrupt:
            went_on.open()
        return "done nonetheless"

    ref = stubborn.remote()
    gate.wait()
    zgen.cancel(ref)
    is_cancelled(ref, "stubborn()")
    assert went_on.is_open


def test_an_error_of_its_own_stands_and_is_not_retried(gate: Gate) -> None:
    tally = Tally(gate.path.with_name("tally"))

    @zgen.remote(max_retries=3, retry_exceptions=True)
    def converts() -> None:
        tally.add()
        try:
            gate.open()
            time.sleep(LONG_S)
        except KeyboardInterrupt:
            raise ValueError("its own") from None

    ref = converts.remote()
    gate.wait()
    zgen.cancel(ref)
    with pytest.raises(ValueError, match="its own"):
        zgen.get(ref)
    assert tally.count == 1


def test_all_results_of_a_cancelled_task_raise(gate: Gate) -> None:
    @zgen.remote(num_returns=2)
    def two() -> Iterator[bytes]:
        yield bytes(200_000)
        gate.open()
        time.sleep(LONG_S)

    refs = two.remote()
    gate.wait()
    zgen.cancel(refs[1])
    for ref in refs:
        is_cancelled(ref, "two()")


def test_each_of_many_tasks_ends_wherever_the_cancel_meets_it(gate: Gate) -> None:
    refs = [sleeps.remote(gate) for _ in range(40)]
    gate.wait()
    for ref in refs:
        zgen.cancel(ref)
    for ref in refs:
        is_cancelled(ref, "sleeps()")


def test_a_task_may_cancel_what_it_has_submitted(gate: Gate) -> None:
    @zgen.remote
    def parent() -> str:
        ref = sleeps_beside.remote(gate)
        gate.wait()
        zgen.cancel(ref)
        try:
            zgen.get(ref)
        except TaskCancelledError as error:
            return str(pickle.loads(pickle.dumps(error)))
        return "not cancelled"

    assert "sleeps_beside()" in zgen.get(parent.remote())


# -- streams ---------------------------------------------------------------------------------------
@pytest.mark.ray_docs("48", "153-155")
def test_what_a_stream_reported_comes_first_then_one_error_then_the_end(gate: Gate) -> None:
    ended = gate.beside("ended")

    @zgen.remote(max_retries=3)
    def stream() -> Iterator[int]:
        try:
            yield from range(5)
            gate.open()
            time.sleep(LONG_S)
        finally:
            ended.open()

    gen = stream.remote()
    completed = gen.completed()
    assert zgen.get(next(gen)) == 0
    gate.wait()
    zgen.cancel(gen)
    *items, error = list(gen)
    assert [zgen.get(item) for item in items] == [1, 2, 3, 4]
    is_cancelled(error, "stream()")
    is_cancelled(completed, "stream()")
    assert gen.is_finished()
    with pytest.raises(StopIteration):
        next(gen)
    assert ended.is_open


@pytest.mark.parametrize("handle", ["item", "completed"])
def test_a_stream_is_cancelled_by_any_of_its_references(handle: str) -> None:
    gen = endless.remote()
    item = next(gen)
    zgen.cancel(item if handle == "item" else gen.completed())
    *items, error = list(gen)
    assert [zgen.get(each) for each in items] == list(range(1, len(items) + 1))
    is_cancelled(error, "endless()")


@zgen.remote
def endless() -> Iterator[int]:
    number = 0
    while True:
        yield number
        number += 1


def test_a_stream_of_large_items_gives_their_memory_back(runtime: Any) -> None:
    @zgen.remote
    def large() -> Iterator[bytes]:
        while True:
            yield bytes(200_000)

    gen = large.remote()
    first = next(gen)
    zgen.cancel(gen)
    *_, error = list(gen)
    is_cancelled(error, "large()")
    assert len(zgen.get(first)) == 200_000
    del first, gen, _
    with runtime.loop.lock:
        runtime.machine.check()


def test_items_that_a_body_yields_after_it_swallowed_the_cancel_are_dropped(gate: Gate) -> None:
    @zgen.remote
    def stubborn() -> Iterator[str]:
        yield "before"
        try:
            gate.open()
            time.sleep(LONG_S)
        except KeyboardInterrupt:
            yield "after"
        yield "at the end"
        raise ValueError("its own")

    gen = stubborn.remote()
    gate.wait()
    zgen.cancel(gen)
    first, second = list(gen)
    assert zgen.get(first) == "before"
    with pytest.raises(ValueError, match="its own"):
        zgen.get(second)


def test_who_awaits_sees_it_too(gate: Gate) -> None:
    async def consume() -> list[str]:
        gen, ref = endless.remote(), sleeps.remote(gate)
        await anext(gen)
        zgen.cancel(gen)
        zgen.cancel(ref)
        seen = []
        for awaited in [[item async for item in gen][-1], ref]:
            try:
                await awaited
            except TaskCancelledError as error:
                seen.append(error.task_id)
        assert seen == [gen.task_id().hex(), ref.task_id().hex()]
        return seen

    assert len(asyncio.run(consume())) == 2


def test_a_stream_that_waits_for_its_consumer_ends_too(gate: Gate) -> None:
    ended = gate.beside("ended")

    @zgen.remote(_generator_backpressure_num_objects=2)
    def narrow() -> Iterator[int]:
        try:
            yield 0
            gate.open()
            yield from range(1, 100)
        finally:
            ended.open()

    gen = narrow.remote()
    gate.wait()
    zgen.cancel(gen)
    *items, error = list(gen)
    assert [zgen.get(item) for item in items] == list(range(len(items)))
    assert len(items) <= 2
    is_cancelled(error, "narrow()")
    assert ended.is_open


@pytest.mark.ray_docs("153-155")
def test_a_queued_stream_hands_out_one_error(gate: Gate) -> None:
    occupied = take_all_cpus(gate)
    gen = endless.remote()
    zgen.cancel(gen)
    (error,) = list(gen)
    assert not is_cancelled(error, "endless()").may_have_run
    gate.open()
    zgen.get(occupied)


# -- by force --------------------------------------------------------------------------------------
def hold_the_interpreter() -> None:
    sum(range(10**12))


@pytest.mark.parametrize("body", [in_sleep, in_a_busy_loop, hold_the_interpreter])
def test_by_force_the_worker_dies_and_nothing_is_retried(
    body: Callable[[], None], gate: Gate
) -> None:
    tally = Tally(gate.path.with_name("tally"))

    @zgen.remote(max_retries=3)
    def runs() -> None:
        tally.add()
        gate.path.write_text(str(os.getpid()))
        body()

    ref = runs.remote()
    wait_until(lambda: gate.is_open and gate.path.read_text() != "", 20, "it runs")
    worker = int(gate.path.read_text())
    zgen.cancel(ref, force=True)
    with pytest.raises(WorkerCrashedError) as raised:
        zgen.get(ref, timeout=20)
    assert (raised.value.signal, raised.value.pid) == (9, worker)
    wait_until(lambda: not is_alive(worker), 20, "the worker is dead")
    assert tally.count == 1
    assert zgen.get(same.remote(3)) == 3


def test_a_cancel_by_force_overtakes_one_that_was_swallowed(gate: Gate) -> None:
    again = gate.beside("again")

    @zgen.remote
    def stubborn() -> None:
        try:
            gate.open()
            time.sleep(LONG_S)
        except KeyboardInterrupt:
            again.open()
            time.sleep(LONG_S)

    ref = stubborn.remote()
    gate.wait()
    zgen.cancel(ref)
    again.wait()
    zgen.cancel(ref)  # it is not raised twice
    with pytest.raises(GetTimeoutError):
        zgen.get(ref, timeout=0.2)
    zgen.cancel(ref, force=True)
    with pytest.raises(WorkerCrashedError):
        zgen.get(ref, timeout=20)


def test_by_force_a_task_that_has_not_begun_harms_nobody(gate: Gate) -> None:
    occupied = take_all_cpus(gate)
    waiting = sleeps.remote(gate.beside("began"))
    zgen.cancel(waiting, force=True)
    assert not is_cancelled(waiting, "sleeps()").may_have_run
    gate.open()
    assert zgen.get(occupied) is None


def test_a_stream_ends_by_force_after_what_was_reported(gate: Gate) -> None:
    @zgen.remote(max_retries=3)
    def stream() -> Iterator[int]:
        yield from range(3)
        gate.open()
        time.sleep(LONG_S)

    gen = stream.remote()
    gate.wait()
    assert zgen.get(next(gen)) == 0
    zgen.cancel(gen, force=True)
    *items, error = list(gen)
    # What had not left its worker went with it.
    assert [zgen.get(item) for item in items] == [1, 2][: len(items)]
    with pytest.raises(WorkerCrashedError):
        zgen.get(error)


# -- children --------------------------------------------------------------------------------------
def family(gate: Gate) -> Any:
    """Return a task that has submitted a task that has submitted one, which tells how it ended."""

    @zgen.remote(num_cpus=0)
    def grandchild() -> None:
        try:
            gate.open()
            gate.beside("go on").wait()
            gate.beside("ended well").open()
        finally:
            gate.beside("ended").open()

    @zgen.remote(num_cpus=0)
    def child() -> None:
        zgen.get(grandchild.remote())

    @zgen.remote(num_cpus=0)
    def parent() -> None:
        ref = child.remote()
        gate.wait()
        time.sleep(LONG_S)
        zgen.get(ref)

    return parent.remote()


def test_what_a_cancelled_task_has_submitted_is_cancelled_too_and_so_on(gate: Gate) -> None:
    ref = family(gate)
    gate.wait()
    zgen.cancel(ref)
    is_cancelled(ref, "parent()")
    gate.beside("ended").wait()
    assert not gate.beside("ended well").is_open


def test_children_are_left_alone_if_that_is_wanted(gate: Gate) -> None:
    ref = family(gate)
    gate.wait()
    zgen.cancel(ref, recursive=False)
    is_cancelled(ref, "parent()")
    assert not gate.beside("ended").is_open
    gate.beside("go on").open()
    gate.beside("ended").wait()
    assert gate.beside("ended well").is_open


# -- what it is given ------------------------------------------------------------------------------
@pytest.mark.parametrize("other", [None, 3, "ref", [], same])
def test_anything_but_a_reference_or_a_generator_is_refused(other: Any) -> None:
    with pytest.raises(TypeError, match="takes an ObjectRef or an ObjectRefGenerator, got"):
        zgen.cancel(other)


def test_for_what_was_put_nothing_happens(gate: Gate) -> None:
    @zgen.remote
    def puts() -> int:
        ref = zgen.put(4)
        zgen.cancel(ref)  # not the task that put it
        value: int = zgen.get(ref)
        return value

    ref = zgen.put(5)
    zgen.cancel(ref)
    assert zgen.get(ref) == 5
    assert zgen.get(puts.remote()) == 4
