"""References and generators in event loops: in order, each item once, and no thread blocked."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import threading
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any, TypeVar

import pytest

import zgen
from tests.integration.event_loops import LOOPS, make_loop, run_in
from tests.integration.gates import LATE_S, Gate
from zgen.exceptions import TaskError, WorkerCrashedError
from zgen.runtime.process import Runtime

T = TypeVar("T")


@zgen.remote(num_cpus=0)
def double(number: int) -> int:
    return 2 * number


@zgen.remote(num_cpus=0)
def fail(error: BaseException) -> None:
    raise error


@zgen.remote(num_cpus=0)
def wait_for(gate: Gate, value: object = None) -> object:
    gate.wait()
    return value


@zgen.remote(num_cpus=0)
def numbers(count: int) -> Iterator[int]:
    yield from range(count)


@zgen.remote(num_cpus=0)
def numbers_between(before: int, gate: Gate, after: int) -> Iterator[int]:
    yield from range(before)
    gate.wait()
    yield from range(before, before + after)


@zgen.remote(num_cpus=0)
def numbers_then(count: int, error: Exception) -> Iterator[int]:
    yield from range(count)
    raise error


@zgen.remote(num_cpus=0, max_retries=0)
def numbers_then_die(count: int, gate: Gate) -> Iterator[int]:
    yield from range(count)
    gate.wait()
    os._exit(7)


async def values(stream: Any) -> list[Any]:
    return [await ref async for ref in stream]


@pytest.fixture(params=LOOPS)
def kind(request: pytest.FixtureRequest, runtime: Runtime) -> str:
    name: str = request.param
    return name


# -- references ------------------------------------------------------------------------------------
def test_awaiting_a_reference_gives_its_value_as_often_as_one_asks(kind: str) -> None:
    async def main() -> None:
        ref = double.remote(21)
        assert await ref == 42
        assert await ref == 42
        assert await zgen.put("here") == "here"
        assert await zgen.put(None) is None  # type: ignore[func-returns-value]  # a value here

    run_in(kind, main())


def test_awaiting_raises_what_get_raises(kind: str) -> None:
    async def main() -> None:
        ref = fail.remote(LookupError("no such"))
        for _ in range(2):
            with pytest.raises(LookupError, match="no such") as caught:
                await ref
            assert isinstance(caught.value, TaskError)

    run_in(kind, main())


@pytest.mark.parametrize(
    "error",
    [asyncio.CancelledError(), KeyboardInterrupt(), SystemExit(3), GeneratorExit()],
    ids=repr,
)
def test_no_remote_error_is_an_order_to_the_event_loop(kind: str, error: BaseException) -> None:
    """Raised as what it was, it would end the task, the loop or the program that awaits it."""

    async def main() -> None:
        ref = fail.options(max_retries=0).remote(error)
        with pytest.raises((TaskError, WorkerCrashedError)) as caught:
            await ref
        expected = WorkerCrashedError if isinstance(error, SystemExit) else TaskError
        assert type(caught.value) is expected
        with pytest.raises(expected):
            await asyncio.wrap_future(ref.future())

    run_in(kind, main())


def test_many_references_are_gathered_in_order(kind: str) -> None:
    async def main() -> None:
        refs = [double.remote(n) for n in range(300)]
        assert await asyncio.gather(*refs) == [2 * n for n in range(300)]
        mixed = await asyncio.gather(refs[1], fail.remote(ValueError("x")), return_exceptions=True)
        assert mixed[0] == 2
        assert isinstance(mixed[1], ValueError)

    run_in(kind, main())


def test_wait_and_timeout_of_asyncio_work_on_references(kind: str, gate: Gate) -> None:
    async def main() -> None:
        held, quick = wait_for.remote(gate, "late"), double.remote(1)
        tasks: list[asyncio.Future[Any]] = [held.as_future(), quick.as_future()]
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        assert [task.result() for task in done] == [2]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await held
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(held, 0.01)
        gate.open()
        assert await held == "late"
        assert [await task for task in pending] == ["late"]

    run_in(kind, main())


def test_what_is_here_is_handed_over_without_an_event_loop(runtime: Runtime) -> None:
    """Each step returns at once: nothing is scheduled, in no loop."""

    def step(coroutine: Coroutine[Any, Any, T]) -> T:
        try:
            coroutine.send(None)
        except StopIteration as over:
            value: T = over.value
            return value
        finally:
            coroutine.close()
        raise AssertionError("it suspended")

    async def value(ref: Any) -> Any:
        return await ref

    stream = numbers.remote(50)
    zgen.get(stream.completed())
    for expected in range(50):
        assert step(value(step(anext(stream)))) == expected
    with pytest.raises(RuntimeError, match="StopAsyncIteration"):
        step(value_of_next(stream))


async def value_of_next(stream: Any) -> Any:
    try:
        return await anext(stream)
    except StopAsyncIteration as error:
        raise RuntimeError("StopAsyncIteration") from error


def test_without_an_event_loop_a_wait_is_refused_and_leaves_nothing(
    runtime: Runtime, gate: Gate
) -> None:
    ref = wait_for.remote(gate)
    with pytest.raises(RuntimeError, match="no running event loop"):
        ref.__await__().send(None)
    with pytest.raises(RuntimeError, match="no running event loop"):
        ref.as_future()
    assert runtime.waits.is_idle()
    gate.open()
    zgen.get(ref)


# -- generators ------------------------------------------------------------------------------------
@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 3000])
@pytest.mark.ray_docs("60-62", "118-119")
def test_items_come_in_yield_order_each_once(kind: str, count: int) -> None:
    assert run_in(kind, values(numbers.remote(count))) == list(range(count))


@pytest.mark.ray_docs("66-67")
def test_after_the_last_item_every_step_says_that_it_is_over(kind: str) -> None:
    async def main() -> None:
        stream = numbers.remote(1)
        assert await (await anext(stream)) == 0
        for _ in range(3):
            with pytest.raises(StopAsyncIteration):
                await stream.__anext__()
        assert await anext(stream, "over") == "over"

    run_in(kind, main())


@pytest.mark.ray_docs("118-119")
def test_both_ways_to_step_share_one_cursor(kind: str) -> None:
    async def main() -> None:
        stream = numbers.remote(200)
        seen: list[Any] = []
        while len(seen) < 150:
            seen.append(await (await anext(stream)))
            seen.append(zgen.get(next(stream)))
            seen.append(zgen.get(stream.next(timeout=20)))
        seen += await values(stream)
        assert seen == list(range(200))
        assert list(stream) == []

    run_in(kind, main())


def test_two_tasks_that_step_one_generator_share_its_items(kind: str, gate: Gate) -> None:
    async def main() -> None:
        stream = numbers_between.remote(3, gate, 497)
        taken = [asyncio.create_task(values(stream)) for _ in range(5)]
        await asyncio.sleep(0.01)
        gate.open()
        lists = await asyncio.gather(*taken)
        assert sorted(n for each in lists for n in each) == list(range(500))
        assert all(each == sorted(each) for each in lists)

    run_in(kind, main())


def test_an_error_comes_after_the_items_and_then_it_is_over(kind: str) -> None:
    async def main() -> None:
        stream = numbers_then.remote(5, LookupError("after five"))
        refs = [ref async for ref in stream]
        assert [await ref for ref in refs[:-1]] == list(range(5))
        with pytest.raises(LookupError, match="after five"):
            await refs[-1]
        assert len(refs) == 6

    run_in(kind, main())


def test_a_dead_worker_is_an_error_after_the_items(kind: str, gate: Gate) -> None:
    async def main() -> None:
        stream = numbers_then_die.remote(3, gate)
        taken = [await (await anext(stream)) for _ in range(3)]
        gate.open()
        (failed,) = [ref async for ref in stream]
        assert taken == [0, 1, 2]
        with pytest.raises(WorkerCrashedError):
            await failed

    run_in(kind, main())


def test_nothing_can_be_sent_or_raised(runtime: Runtime) -> None:
    stream = numbers.remote(0)
    with pytest.raises(NotImplementedError):
        stream.asend(1)
    with pytest.raises(NotImplementedError):
        stream.athrow(OSError())


@pytest.mark.ray_docs("73", "161-163", "172-173")
def test_a_thousand_streams_are_read_in_one_loop(kind: str) -> None:
    async def main() -> None:
        lists = await asyncio.gather(*[values(numbers.remote(1 + n % 7)) for n in range(1000)])
        assert lists == [list(range(1 + n % 7)) for n in range(1000)]

    run_in(kind, main())


def test_a_burst_of_items_wakes_the_loop_less_often_than_it_has_items(
    runtime: Runtime, gate: Gate
) -> None:
    calls = 0

    async def main() -> list[Any]:
        loop = asyncio.get_running_loop()
        call = loop.call_soon_threadsafe

        def counted(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            calls += 1
            return call(*args, **kwargs)

        vars(loop)["call_soon_threadsafe"] = counted
        loop.call_later(0.01, gate.open)
        return await values(numbers_between.remote(0, gate, 5000))

    assert len(run_in("asyncio", main())) == 5000
    assert 0 < calls < 2500


def test_a_stream_that_is_always_ahead_leaves_turns_to_others(runtime: Runtime) -> None:
    """Its consumer never has to wait, and so would never let the loop go."""

    async def main() -> None:
        count, turns = 20_000, 0
        stream = numbers.remote(count)
        await stream.completed()

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(others())
        await asyncio.sleep(0)
        before = turns
        assert len(await values(stream)) == count
        assert turns - before >= 3
        task.cancel()

    run_in("asyncio", main())


# -- cancelling ------------------------------------------------------------------------------------
def test_a_cancelled_wait_leaves_nothing_and_the_task_alone(
    kind: str, runtime: Runtime, gate: Gate
) -> None:
    async def main() -> None:
        ref, stream = wait_for.remote(gate, 7), numbers_between.remote(0, gate, 2)
        waits: list[asyncio.Future[Any]] = [ref.as_future() for _ in range(20)]
        waits.append(asyncio.create_task(anext(stream)))
        await asyncio.sleep(0.01)
        assert not runtime.waits.is_idle()
        for wait in waits:
            wait.cancel()
        await asyncio.wait(waits)
        assert all(wait.cancelled() for wait in waits)
        assert runtime.waits.is_idle()
        assert runtime.bells.is_idle()
        gate.open()
        assert await ref == 7
        assert await values(stream) == [0, 1]

    run_in(kind, main())


def test_storms_of_cancellation_lose_no_item(kind: str, runtime: Runtime) -> None:
    dice = random.Random(11)

    @zgen.remote(num_cpus=0)
    def slowly(count: int) -> Iterator[int]:
        for number in range(count):
            if number % 5 == 0:
                time.sleep(0.001)
            yield number

    async def read(stream: Any, seen: list[int]) -> None:
        async for ref in stream:
            number = await ref
            seen.append(number)

    async def one(count: int) -> int:
        stream, seen, cancelled = slowly.remote(count), list[int](), 0
        while True:
            task = asyncio.create_task(read(stream, seen))
            await asyncio.sleep(dice.choice([0, 0, 0.0005, 0.002]))
            task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                cancelled += 1
            else:
                break
        assert seen == list(range(count))  # its values are here: no cancellation comes between
        return cancelled

    async def one_by_steps(count: int) -> None:
        stream, seen = slowly.remote(count), list[int]()
        while True:
            step = asyncio.create_task(anext(stream, None))
            if dice.random() < 0.5:
                await asyncio.sleep(dice.choice([0, 0.0005]))
                step.cancel()
            await asyncio.wait([step])
            if step.cancelled():
                continue
            ref = step.result()
            if ref is None:
                break
            seen.append(await ref)
        assert seen == list(range(count))

    async def main() -> None:
        cancelled = await asyncio.gather(*[one(200) for _ in range(10)])
        assert sum(cancelled) > 10
        await asyncio.gather(*[one_by_steps(200) for _ in range(10)])
        assert runtime.waits.is_idle()
        assert runtime.bells.is_idle()

    run_in(kind, main())


# -- loops -----------------------------------------------------------------------------------------
def test_loops_in_several_threads_work_at_once(runtime: Runtime, gate: Gate) -> None:
    shared = wait_for.remote(gate, "for all")
    results: list[Any] = []

    async def main(number: int) -> list[Any]:
        lists = await asyncio.gather(*[values(numbers.remote(20 + number)) for _ in range(20)])
        return [lists == [list(range(20 + number))] * 20, await shared]

    def loop(number: int) -> None:
        results.append(run_in("asyncio", main(number)))

    threads = [threading.Thread(target=loop, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    gate.open()
    for thread in threads:
        thread.join(30)
    assert results == [[True, "for all"]] * 4


def test_a_loop_that_is_closed_while_something_waits_harms_nothing(
    kind: str, runtime: Runtime, gate: Gate
) -> None:
    loop = make_loop(kind)
    complaints: list[Any] = []
    loop.set_exception_handler(lambda _, context: complaints.append(context["message"]))
    ref, stream = wait_for.remote(gate, 5), numbers_between.remote(0, gate, 3)

    async def wait(awaitable: Any) -> None:
        await awaitable

    tasks = [loop.create_task(wait(each)) for each in (ref, anext(stream), ref)]
    loop.run_until_complete(asyncio.sleep(0.01))
    loop.close()
    assert not runtime.waits.is_idle()
    gate.open()
    assert zgen.get(ref) == 5
    assert [zgen.get(each) for each in stream] == [0, 1, 2]
    del tasks  # asyncio says that they were pending; the fixture sees that nothing is left


def test_debug_mode_has_nothing_to_say(
    kind: str, runtime: Runtime, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        asyncio.get_running_loop().slow_callback_duration = LATE_S
        await asyncio.gather(*[values(numbers.remote(300)) for _ in range(5)])
        held, failing = wait_for.remote(gate), fail.remote(ValueError("dropped"))
        step = asyncio.create_task(anext(numbers_then.remote(0, OSError())))
        dropped: list[asyncio.Future[Any]] = [held.as_future(), step]
        await asyncio.sleep(0.02)
        for task in dropped:
            task.cancel()
        failing.future()
        with pytest.raises(ValueError, match="dropped"):
            await failing
        gate.open()
        await held

    with caplog.at_level(logging.WARNING, "asyncio"):
        run_in(kind, main(), debug=True)
    assert [record.getMessage() for record in caplog.records] == []


# -- futures ---------------------------------------------------------------------------------------
def test_a_future_of_a_reference_is_settled_in_another_thread(runtime: Runtime, gate: Gate) -> None:
    ref = wait_for.remote(gate, "settled")
    future = ref.future()
    assert not future.done()
    named: list[str] = []
    found: list[Any] = []
    told = threading.Event()

    def callback(_: Any) -> None:
        named.append(threading.current_thread().name)
        found.append(zgen.get(double.remote(4)))  # it may block: no thread of zgen's waits for it
        told.set()

    future.add_done_callback(callback)
    gate.open()
    assert future.result(20) == "settled"
    assert told.wait(20)
    assert (len(named), found) == (1, [8])
    assert named[0].startswith("zgen-future")
    assert ref.future().result(0) == "settled"
    with pytest.raises(LookupError):
        fail.remote(LookupError()).future().result(20)


def test_a_cancelled_future_leaves_nothing(runtime: Runtime, gate: Gate) -> None:
    ref = wait_for.remote(gate, 1)
    futures = [ref.future() for _ in range(10)]
    assert not runtime.waits.is_idle()
    assert all(future.cancel() for future in futures)
    assert runtime.waits.is_idle()
    assert runtime.bells.is_idle()
    gate.open()
    assert zgen.get(ref) == 1


def test_a_future_keeps_its_object(runtime: Runtime, gate: Gate) -> None:
    future = wait_for.remote(gate, "kept").future()
    gate.open()
    assert future.result(20) == "kept"


def test_futures_of_many_references_become_those_of_a_loop(kind: str) -> None:
    async def main() -> None:
        futures = [asyncio.wrap_future(double.remote(n).future()) for n in range(100)]
        assert await asyncio.gather(*futures) == [2 * n for n in range(100)]

    run_in(kind, main())


def test_async_generators_of_the_program_can_be_built_on_streams(kind: str) -> None:
    async def pairs(stream: Any) -> AsyncIterator[tuple[int, int]]:
        async for ref in stream:
            number = await ref
            yield number, await double.remote(number)

    async def main() -> None:
        assert [pair async for pair in pairs(numbers.remote(5))] == [(n, 2 * n) for n in range(5)]

    run_in(kind, main())
