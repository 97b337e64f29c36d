"""``cancel`` of calls of actors of each kind, and of references that others have submitted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

import zgen
from tests.integration.gates import Gate, Tally
from tests.integration.remote_class import RemoteClass
from tests.integration.test_cancel import LONG_S, is_cancelled, sleeps_beside
from tests.integration.watching import wait_until
from zgen.exceptions import TaskCancelledError, WorkerCrashedError

pytestmark = pytest.mark.usefixtures("runtime")


class Bodies:
    """Methods that regular and threaded actors have."""

    def is_wanted_no_more(self, gate: Gate, seen: Gate) -> str:
        context = zgen.get_runtime_context()
        assert not context.is_canceled()
        gate.open()
        wait_until(context.is_canceled, 20, "it is cancelled")
        seen.open()
        return "dropped"

    def counts(self, gate: Gate, ended: Gate) -> Iterator[int]:
        try:
            yield from range(3)
            gate.wait()
            yield from range(3, 1_000_000_000)
        finally:
            ended.open()

    def two(self, begun: Gate, gate: Gate, ended: Gate) -> Iterator[int]:
        try:
            yield 1
            begun.open()
            gate.wait()
            yield 2
            raise AssertionError("goes on")
        finally:
            ended.open()

    def adds(self, tally: Tally, value: int = 0) -> int:
        return tally.add()

    def submits(self, gate: Gate, other: Any) -> str:
        try:
            zgen.get([sleeps_beside.remote(gate), other.sleeps.remote()])
        except TaskCancelledError:
            gate.beside("children").open()
        return "dropped"

    def holds(self, gate: Gate) -> list[Any]:
        return [sleeps_beside.remote(gate)]


@zgen.remote
class Regular(Bodies, RemoteClass):
    pass


@zgen.remote(max_concurrency=2)
class Threaded(Bodies, RemoteClass):
    pass


@zgen.remote(max_concurrency=8)
class Asynchronous(RemoteClass):
    async def sleeps(self, gate: Gate | None = None) -> str:
        try:
            if gate is not None:
                gate.open()
            await asyncio.sleep(LONG_S)
        except asyncio.CancelledError:
            if gate is not None:
                gate.beside("cancelled").open()
            raise
        return "woke up"

    async def stubborn(self, gate: Gate) -> str:
        try:
            gate.open()
            await asyncio.sleep(LONG_S)
        except asyncio.CancelledError:
            return "done nonetheless"
        return "woke up"

    async def raises(self, gate: Gate) -> str:
        try:
            gate.open()
            await asyncio.sleep(LONG_S)
        except asyncio.CancelledError:
            raise ValueError("its own") from None
        return "woke up"

    async def waits_after(self, count: int, gate: Gate, ended: Gate) -> AsyncIterator[int]:
        try:
            for number in range(count):
                yield number
            gate.open()
            await asyncio.sleep(LONG_S)
        finally:
            ended.open()

    async def never_waits(self, ended: Gate, size_bytes: int = 200_000) -> AsyncIterator[bytes]:
        try:
            while True:
                yield bytes(size_bytes)
        finally:
            for _ in range(5):
                await asyncio.sleep(0)
            ended.open()

    def steps(self, ended: Gate) -> Iterator[int]:
        try:
            number = 0
            while True:
                yield number
                number += 1
        finally:
            ended.open()

    async def asks(self) -> bool:
        return zgen.get_runtime_context().is_canceled()

    async def beats(self) -> int:
        return 1


def gates(gate: Gate) -> tuple[Gate, Gate]:
    return gate, gate.beside("ended")


def ends_with_one_error(stream: Any, values: list[Any] | None = None) -> None:
    """Require items, one reference that raises, and then nothing, also at the completion."""
    completed = stream.completed()
    *items, error = list(stream)
    if values is not None:
        assert [zgen.get(item) for item in items] == values
    is_cancelled(error)
    is_cancelled(completed)
    with pytest.raises(StopIteration):
        next(stream)


# -- what has not begun ----------------------------------------------------------------------------
def test_a_call_that_waits_anywhere_never_runs_and_those_behind_it_go_on(gate: Gate) -> None:
    actor, tally = Regular.remote(), Tally(gate.path.with_name("tally"))
    early = actor.adds.remote(tally)  # the actor is being created
    zgen.cancel(early)
    is_cancelled(early, "Regular.adds")
    stream = actor.counts.remote(*gates(gate))
    next(stream)
    queued = [actor.adds.remote(tally) for _ in range(4)]  # at the worker, behind the stream
    late = sleeps_beside.remote(gate.beside("late"))
    waits = actor.adds.remote(tally, late)
    behind = actor.adds.remote(tally)
    for ref in (queued[0], queued[2], waits):
        zgen.cancel(ref)
        assert not is_cancelled(ref, "Regular.adds").may_have_run
    zgen.cancel(late)
    gate.open()
    zgen.cancel(stream)
    assert zgen.get([queued[1], queued[3], behind], timeout=20) == [1, 2, 3]
    assert tally.count == 3


def test_by_force_only_the_actor_itself_can_be_ended(gate: Gate) -> None:
    actor = Regular.remote()
    ref = actor.is_wanted_no_more.remote(gate, gate.beside("seen"))
    with pytest.raises(ValueError, match=r"zgen\.kill"):
        zgen.cancel(ref, force=True)
    zgen.cancel(ref)
    is_cancelled(ref)
    done = actor.adds.remote(Tally(gate.path.with_name("tally")))
    assert zgen.get(done, timeout=20) == 1
    zgen.cancel(done)
    assert zgen.get(done) == 1, "it had ended"


# -- regular and threaded actors -------------------------------------------------------------------
@pytest.mark.parametrize("kind", [Regular, Threaded])
def test_a_running_method_can_ask_and_is_over_for_its_caller_at_once(kind: Any, gate: Gate) -> None:
    actor, seen = kind.options(max_task_retries=2).remote(), gate.beside("seen")
    ref = actor.is_wanted_no_more.remote(gate, seen)
    gate.wait()
    zgen.cancel(ref)
    assert is_cancelled(ref, "is_wanted_no_more").may_have_run
    seen.wait()
    assert zgen.get(actor.adds.remote(Tally(gate.path.with_name("tally"))), timeout=20) == 1


@pytest.mark.parametrize(("kind", "window"), [(Regular, None), (Threaded, 1)])
@pytest.mark.ray_docs("152")
def test_a_generator_method_ends_at_its_next_yield(
    kind: Any, window: int | None, gate: Gate
) -> None:
    actor, ended = kind.remote(), gate.beside("ended")
    method = actor.counts.options(_generator_backpressure_num_objects=window)
    stream = method.remote(gate, ended)
    next(stream)
    zgen.cancel(stream)
    ends_with_one_error(stream)
    gate.open()
    ended.wait()
    begun, go_on, ended = (gate.beside(f"fixed {number}") for number in range(3))
    fixed = actor.two.options(num_returns=2).remote(begun, go_on, ended)
    begun.wait()
    zgen.cancel(fixed[1])
    for ref in fixed:
        is_cancelled(ref)
    go_on.open()
    ended.wait()
    assert zgen.get(actor.adds.remote(Tally(gate.path.with_name("tally"))), timeout=20) == 1


def test_what_a_method_has_submitted_is_cancelled_too_tasks_and_calls(gate: Gate) -> None:
    actor, other = Threaded.remote(), Asynchronous.remote()
    ref = actor.submits.remote(gate, other)
    gate.wait()
    zgen.cancel(ref)
    is_cancelled(ref)
    gate.beside("children").wait()


def test_the_calls_of_a_task_that_is_killed_are_cancelled_all_the_same(gate: Gate) -> None:
    actor = Asynchronous.options(name="outlives its caller").remote()

    @zgen.remote(max_retries=3)
    def calls() -> None:
        zgen.get(zgen.get_actor("outlives its caller").sleeps.remote(gate))

    ref = calls.remote()
    gate.wait()
    zgen.cancel(ref, force=True)
    with pytest.raises(WorkerCrashedError):
        zgen.get(ref, timeout=20)
    gate.beside("cancelled").wait()
    assert zgen.get(actor.beats.remote(), timeout=20) == 1


# -- async actors ----------------------------------------------------------------------------------
def test_a_coroutine_is_interrupted_where_it_waits_and_its_actor_serves_on(gate: Gate) -> None:
    actor, tally = Asynchronous.remote(), gate.beside("cancelled")
    began = time.monotonic()
    ref = actor.sleeps.remote(gate)
    gate.wait()
    zgen.cancel(ref)
    assert is_cancelled(ref, "Asynchronous.sleeps").may_have_run
    tally.wait()
    stubborn = actor.stubborn.remote(gate.beside("a"))
    own = actor.raises.remote(gate.beside("b"))
    gate.beside("a").wait()
    gate.beside("b").wait()
    zgen.cancel(stubborn)
    zgen.cancel(own)
    is_cancelled(stubborn)
    with pytest.raises(ValueError, match="its own"):
        zgen.get(own, timeout=20)
    with pytest.raises(RuntimeError, match="CancelledError"):
        zgen.get(actor.asks.remote(), timeout=20)
    refs = [actor.sleeps.remote() for _ in range(40)]  # 8 run, the others wait
    for ref in refs:
        zgen.cancel(ref)
    for ref in refs:
        is_cancelled(ref)
    assert zgen.get(actor.beats.remote(), timeout=20) == 1
    assert time.monotonic() - began < LONG_S


def test_generators_of_an_async_actor_end_and_run_their_finally(gate: Gate) -> None:
    actor = Asynchronous.remote()
    ended = [gate.beside(f"ended {number}") for number in range(3)]
    waits = actor.waits_after.remote(3, gate, ended[0])
    large, steps = actor.never_waits.remote(ended[1]), actor.steps.remote(ended[2])
    next(large)
    next(steps)
    gate.wait()
    for stream in (waits, large, steps):
        zgen.cancel(stream)
    ends_with_one_error(waits, [0, 1, 2])
    ends_with_one_error(large)
    ends_with_one_error(steps)
    for each in ended:
        each.wait()
    assert zgen.get(actor.beats.remote(), timeout=20) == 1


@pytest.mark.parametrize("size_bytes", [1, 200_000])
def test_a_cancel_does_not_interrupt_what_a_generator_does_in_its_finally(
    gate: Gate, size_bytes: int
) -> None:
    actor = Asynchronous.remote()
    for number in range(10):
        ended = gate.beside(f"ended {number}")
        stream = actor.never_waits.remote(ended, size_bytes)
        next(stream)
        zgen.cancel(stream)
        ends_with_one_error(stream)
        ended.wait()


# -- what others have submitted -------------------------------------------------------------------
def test_who_borrows_a_reference_can_cancel_its_task(gate: Gate) -> None:
    actor = Regular.remote()
    (ref,) = zgen.get(actor.holds.remote(gate), timeout=20)
    gate.wait()
    zgen.cancel(ref)
    is_cancelled(ref, "sleeps_beside")

    @zgen.remote
    def cancels(refs: list[Any]) -> None:
        zgen.cancel(refs[0])

    mine = sleeps_beside.remote(gate.beside("mine"))
    gate.beside("mine").wait()
    zgen.get(cancels.remote([mine]), timeout=20)
    is_cancelled(mine, "sleeps_beside")


def test_a_driver_is_cancelled_by_nobody() -> None:
    with pytest.raises(RuntimeError, match="driver"):
        zgen.get_runtime_context().is_canceled()
