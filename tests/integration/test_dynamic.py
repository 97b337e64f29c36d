"""`num_returns="dynamic"`: one reference to all that a generator has yielded, once it has ended."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import pytest

import zgen
from tests.integration.gates import Gate, Tally
from tests.integration.remote_class import RemoteClass
from tests.integration.watching import wait_until
from zgen.runtime.process import Runtime

pytestmark = pytest.mark.usefixtures("runtime")


@zgen.remote(num_returns="dynamic")
def numbers(count: int) -> Any:
    yield from range(count)


@pytest.mark.parametrize("count", [0, 1, 3, 500])
def test_the_one_reference_resolves_to_a_reference_for_each_item(count: int) -> None:
    ref = numbers.remote(count)
    assert isinstance(ref, zgen.ObjectRef)
    refs = zgen.get(ref)
    assert isinstance(refs, zgen.DynamicObjectRefGenerator)
    assert len(refs) == count
    for _ in range(2):
        assert [zgen.get(item) for item in refs] == list(range(count))
    assert str(count) in repr(refs)


def test_it_resolves_at_the_end_of_the_task_and_not_before(gate: Gate) -> None:
    @zgen.remote
    def waits() -> Any:
        yield 1
        gate.wait()
        yield 2

    ref = waits.options(num_returns="dynamic").remote()
    assert zgen.wait([ref], timeout=0.1) == ([], [ref])
    gate.open()
    assert [zgen.get(item) for item in zgen.get(ref)] == [1, 2]


def test_an_error_midway_is_the_last_reference() -> None:
    @zgen.remote(num_returns="dynamic")
    def breaks() -> Any:
        yield "a"
        yield "b"
        raise LookupError("midway")

    refs = list(zgen.get(breaks.remote()))
    assert [zgen.get(ref) for ref in refs[:-1]] == ["a", "b"]
    with pytest.raises(LookupError, match="midway"):
        zgen.get(refs[-1])


def test_a_failure_of_the_system_is_the_result_itself() -> None:
    @zgen.remote(num_returns="dynamic", max_retries=0)
    def dies() -> Any:
        yield 1
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(zgen.exceptions.WorkerCrashedError):
        zgen.get(dies.remote())


def test_items_are_gathered_once_though_the_worker_dies_between_them(gate: Gate) -> None:
    runs = Tally(gate.path)

    @zgen.remote(num_returns="dynamic")
    def dies_once() -> Any:
        run = runs.add()
        for number in range(20):
            if run == 1 and number == 7:
                os.kill(os.getpid(), signal.SIGKILL)
            yield number

    assert [zgen.get(ref) for ref in zgen.get(dies_once.remote())] == list(range(20))
    assert runs.count == 2


def test_large_items_lie_in_shared_memory(runtime: Runtime) -> None:
    @zgen.remote(num_returns="dynamic")
    def large() -> Any:
        for number in range(4):
            yield bytes([number]) * 300_000

    refs = zgen.get(large.remote())
    assert [zgen.get(ref)[:2] for ref in refs] == [bytes([number]) * 2 for number in range(4)]
    del refs
    regions = runtime.machine.store.regions.regions
    wait_until(lambda: not any(region.named for region in regions.values()), 20, "nothing is left")


def test_items_outlive_the_generator_and_the_first_reference() -> None:
    ref = numbers.remote(5)
    refs = zgen.get(ref)
    last = list(refs)[-1]
    del ref, refs
    assert zgen.get(last) == 4


def test_the_generator_can_be_passed_on_whole_or_as_a_reference() -> None:
    @zgen.remote
    def total(refs: Any) -> int:
        return int(sum(zgen.get(ref) for ref in refs) + len(refs))

    ref = numbers.remote(10)
    assert zgen.get(total.remote(ref)) == 55
    assert zgen.get(total.remote(zgen.get(ref))) == 55
    assert zgen.get(total.remote(list(zgen.get(ref)))) == 55


def test_a_task_can_gather_and_return_what_it_gathered() -> None:
    @zgen.remote
    def outer() -> Any:
        return zgen.get(numbers.remote(4))

    assert [zgen.get(ref) for ref in zgen.get(outer.remote())] == [0, 1, 2, 3]


def test_what_nobody_wants_any_more_is_dropped_while_it_is_yielded(
    runtime: Runtime, gate: Gate
) -> None:
    @zgen.remote(num_returns="dynamic")
    def waits() -> Any:
        yield b"x" * 10_000
        gate.wait()
        yield b"y" * 10_000

    owner = runtime.machine.owner
    ref = waits.remote()
    stream = zgen.ids.TaskId(ref.task_id())
    wait_until(lambda: bool(owner.streams.streams[stream].unread), 20, "an item is there")
    del ref
    wait_until(lambda: not owner.streams.streams[stream].unread, 20, "it is dropped")
    gate.open()
    wait_until(lambda: stream not in owner.streams.streams, 20, "the task ends")


def test_a_failed_argument_is_the_result() -> None:
    @zgen.remote
    def fails() -> int:
        raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong"):
        zgen.get(numbers.remote(fails.remote()))


def test_only_generator_functions_can_be_gathered() -> None:
    with pytest.raises(ValueError, match="not a generator function"):
        zgen.remote(num_returns="dynamic")(len)


@zgen.remote
class Counting(RemoteClass):
    def numbers(self, count: int) -> Any:
        yield from range(count)

    @zgen.method(num_returns="dynamic")
    def gathered(self, count: int) -> Any:
        yield from range(count)
        raise LookupError("at the end")

    @zgen.method(num_returns=3)
    def three(self, count: int) -> Any:
        yield from range(count)

    async def plain(self) -> int:
        return 1


@zgen.remote
class AsyncCounting(RemoteClass):
    async def numbers(self, count: int) -> Any:
        for number in range(count):
            yield number


@pytest.mark.parametrize("cls", [Counting, AsyncCounting])
def test_generator_methods_can_be_gathered(cls: Any) -> None:
    actor = cls.remote()
    refs = zgen.get(actor.numbers.options(num_returns="dynamic").remote(4))
    assert [zgen.get(ref) for ref in refs] == [0, 1, 2, 3]
    three = actor.numbers.options(num_returns=3).remote(3)
    assert zgen.get(three) == [0, 1, 2]


def test_methods_say_that_they_are_gathered_or_how_many_items_they_yield() -> None:
    actor = Counting.remote()
    refs = list(zgen.get(actor.gathered.remote(2)))
    assert [zgen.get(ref) for ref in refs[:-1]] == [0, 1]
    with pytest.raises(LookupError, match="at the end"):
        zgen.get(refs[-1])
    first, second, third = actor.three.remote(1)
    assert zgen.get(first) == 0
    for missing in (second, third):
        with pytest.raises(ValueError, match="num_returns=3"):
            zgen.get(missing)
    with pytest.raises(ValueError, match="not a generator method"):
        actor.plain.options(num_returns="dynamic")


def test_items_are_borrowed_by_who_has_the_reference_inside_a_value() -> None:
    """The worker that makes the call owns the items; the driver gets them from there."""

    @zgen.remote
    class Holder(RemoteClass):
        def make(self) -> Any:
            self.ref = numbers.remote(3)
            return [self.ref]

        def total(self, inside: Any) -> int:
            self.kept = zgen.get(inside[0])
            return int(sum(zgen.get(ref) for ref in self.kept))

    holder, other = Holder.remote(), Holder.remote()
    inside = zgen.get(holder.make.remote())
    assert zgen.get(other.total.remote(inside)) == 3
    refs = zgen.get(inside[0])
    assert [zgen.get(ref) for ref in refs] == [0, 1, 2]
    del inside
    assert zgen.get(list(refs)[2]) == 2


def test_a_cancelled_gathering_raises() -> None:
    @zgen.remote(num_returns="dynamic")
    def endless() -> Any:
        while True:
            yield 1
            time.sleep(0.01)

    ref = endless.remote()
    zgen.wait([ref], timeout=0.1)
    zgen.cancel(ref)
    with pytest.raises(zgen.exceptions.TaskCancelledError):
        zgen.get(ref)
