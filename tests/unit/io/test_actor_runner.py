"""What an actor's worker runs its calls with: threads, and what coroutines wait for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any, cast

import pytest

from tests.unit.core.names import ME, lease, pushed
from zgen.core.effects import StartTask
from zgen.core.events import TaskEnded
from zgen.ids import ActorId
from zgen.io import async_bodies, async_runner
from zgen.io.actor_runner import ActorRunner, ThreadPool
from zgen.io.async_runner import LoopWaiter
from zgen.wire.task import OUTCOME_CANCELLED, PushedCall

WITHIN_S = 10.0


def work(number: int) -> StartTask:
    return cast(StartTask, number)


class Pool:
    """A pool whose work waits until it may end."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.may_end = threading.Semaphore(0)
        self.ran: list[tuple[int, str]] = []
        self.pool = ThreadPool("zgen-test", self.run)

    def run(self, start: StartTask) -> None:
        self.ran.append((cast(int, start), threading.current_thread().name))
        self.begun.release()
        self.may_end.acquire()

    def submit(self, number: int) -> None:
        self.pool.submit(work(number))
        assert self.begun.acquire(timeout=WITHIN_S)

    def end(self) -> None:
        threads = [each for each in threading.enumerate() if each.name.startswith("zgen-test")]
        assert threads
        self.pool.end()
        for each in threads:
            each.join(WITHIN_S)
            assert not each.is_alive()


@pytest.fixture
def pool() -> Iterator[Pool]:
    made = Pool()
    yield made
    made.end()


def test_each_call_has_a_thread_at_once(pool: Pool) -> None:
    for number in range(5):
        pool.submit(number)
    assert [number for number, _ in pool.ran] == list(range(5))
    assert len({name for _, name in pool.ran}) == 5
    pool.may_end.release(5)


def test_a_thread_that_is_free_is_used_again(pool: Pool) -> None:
    for number in range(20):
        pool.submit(number)
        pool.may_end.release()
        assert pool.pool._idle.acquire(timeout=WITHIN_S)  # it is done
        pool.pool._idle.release()
    assert len({name for _, name in pool.ran}) == 1


@pytest.mark.parametrize("when", ["before", "after", "between"])
def test_a_coroutine_waits_until_another_thread_finishes_what_it_waits_for(when: str) -> None:
    async def main() -> None:
        waiter = LoopWaiter(asyncio.get_running_loop())
        finisher = threading.Thread(target=waiter.finish)
        if when == "before":
            finisher.start()
            finisher.join()
        waiting = asyncio.create_task(waiter.come())
        if when == "after":
            await asyncio.sleep(0)
        if when != "before":
            finisher.start()
        await asyncio.wait_for(waiting, WITHIN_S)
        finisher.join()

    asyncio.run(main())


def test_finishing_what_nobody_waits_for_any_more_is_harmless() -> None:
    async def main() -> None:
        waiter = LoopWaiter(asyncio.get_running_loop())
        waiting = asyncio.create_task(waiter.come())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        waiter.finish()
        await asyncio.sleep(0)

    asyncio.run(main())


@pytest.mark.parametrize(("count", "taken"), [(0, 1), (2, 3), (3, 3)])
def test_an_async_generator_is_read_one_item_further_than_its_results(
    count: int, taken: int
) -> None:
    closed: list[bool] = []

    async def numbers() -> AsyncIterator[int]:
        try:
            for number in range(3):
                yield number
        finally:
            closed.append(True)

    body: Any = numbers()
    assert asyncio.run(async_runner._taken(body, count)) == (list(range(taken)), None)
    assert closed == [True]


def test_what_an_async_generator_raises_comes_after_its_items() -> None:
    async def fails() -> AsyncIterator[int]:
        yield 1
        raise KeyError("no")

    body: Any = fails()
    again = async_runner.again(*asyncio.run(async_runner._taken(body, 5)))
    assert next(again) == 1
    with pytest.raises(KeyError):
        next(again)


# -- cancels ---------------------------------------------------------------------------------------
CALL = StartTask(pushed("call"), ME, b"", (), lease("l"), 0, PushedCall(ActorId(ME), "method"))


class Actor:
    """A runner whose async actor runs one method in the loop of the test."""

    def __init__(self, method: Any) -> None:
        self.posted: list[Any] = []
        self.runner = ActorRunner(self._post, lambda waiter: waiter.done, -1, None)
        self.runner.tasks = {}
        self.start = CALL
        self.runner._functions[self.start.task.function] = method

    def _post(self, event: Any) -> list[Any]:
        self.posted.append(event)
        return []

    async def cancelled(self, *, spawned: bool) -> list[Any]:
        """Run the call, cancel it after or before it was spawned, and return what it posted."""
        self.runner.loop = asyncio.get_running_loop()
        if spawned:
            self.runner._spawn(self.start)
        self.runner.cancel_call(self.start.task.task, self.start.task.attempt)
        if not spawned:
            self.runner._spawn(self.start)
        for _ in range(10):
            await asyncio.sleep(0)
        assert not self.runner.tasks
        assert not self.runner.cancels.flagged
        return self.posted


ENDED = [TaskEnded(CALL.task.task, 0, OUTCOME_CANCELLED, ())]


@pytest.mark.parametrize("spawned", [True, False])
def test_a_call_that_is_cancelled_before_its_first_step_ends_all_the_same(spawned: bool) -> None:
    ran: list[str] = []

    async def method() -> None:
        ran.append("begins")
        await asyncio.sleep(WITHIN_S)
        ran.append("goes on")

    assert asyncio.run(Actor(method).cancelled(spawned=spawned)) == ENDED
    assert ran == ["begins"][: int(spawned)]


def test_a_cancel_waits_for_what_a_thread_does_for_the_call() -> None:
    began, may_end = threading.Event(), threading.Event()

    def works() -> str:
        began.set()
        may_end.wait(WITHIN_S)
        return "done"

    async def main() -> list[str]:
        runner, seen = Actor(None).runner, list[str]()

        async def call() -> None:
            seen.append(await runner._in_thread(works))
            try:
                await asyncio.sleep(WITHIN_S)
            except asyncio.CancelledError:
                seen.append("cancelled")

        task = asyncio.create_task(call())
        await asyncio.to_thread(began.wait, WITHIN_S)
        task.cancel()
        await asyncio.sleep(0)
        may_end.set()
        await task
        return seen

    assert asyncio.run(main()) == ["done", "cancelled"]


def test_a_finally_that_is_cancelled_itself_does_not_keep_its_call() -> None:
    async def body() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            raise asyncio.CancelledError

    async def main() -> None:
        opened = body()
        await anext(opened)
        await async_bodies.aclose(opened)  # type: ignore[arg-type]  # it is a generator

    asyncio.run(main())
