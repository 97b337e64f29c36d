"""Event loops inside tasks: a wait gives the CPU of its task away, and nesting never deadlocks."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import zgen
from tests.integration.gates import Gate
from tests.integration.watching import wait_until
from zgen.runtime import process

pytestmark = pytest.mark.usefixtures("runtime")


@zgen.remote
def numbers(count: int) -> Iterator[int]:
    yield from range(count)


@zgen.remote
def wait_for(gate: Gate) -> None:
    gate.wait()


@zgen.remote
def tree(depth: int) -> int:
    """Count the leaves below; each level holds a CPU and awaits two others."""
    if not depth:
        return 1

    async def both() -> int:
        return sum(await asyncio.gather(tree.remote(depth - 1), tree.remote(depth - 1)))

    return asyncio.run(both())


@zgen.remote
def chain(depth: int, count: int) -> Iterator[int]:
    """Pass a stream on; each level holds a CPU and awaits the items of the next."""
    if not depth:
        yield from range(count)
        return

    async def items() -> list[int]:
        return [await ref async for ref in chain.remote(depth - 1, count)]

    yield from asyncio.run(items())


@zgen.remote
def futures(depth: int) -> int:
    """Wait for the next level by a future, which blocks a thread that is not zgen's."""
    return 1 + (futures.remote(depth - 1).future().result(30) if depth else 0)


@zgen.remote
def left() -> list[Any]:
    """Say what waits in this worker, and how often its task's waits were counted."""
    runtime = process.current
    assert runtime is not None
    with runtime.loop.lock:
        runtime.machine.check()
    return [os.getpid(), runtime.waits.is_idle(), runtime.bells.is_idle(), runtime.context.waits]


def test_awaiting_in_tasks_nests_deeper_than_there_are_cpus() -> None:
    assert zgen.get(tree.remote(4), timeout=50) == 16


def test_streams_are_passed_on_through_more_levels_than_there_are_cpus() -> None:
    stream = chain.remote(5, 300)
    assert [zgen.get(ref) for ref in stream] == list(range(300))


def test_an_unsettled_future_gives_the_cpu_away_as_well() -> None:
    assert zgen.get(futures.remote(5), timeout=50) == 6


def test_a_task_gives_its_cpu_away_while_anything_in_it_waits_and_not_longer(gate: Gate) -> None:
    @zgen.remote
    def looks(gate: Gate) -> list[bool]:
        runtime = process.current
        assert runtime is not None
        executor = runtime.machine.executor
        assert executor is not None
        seen: list[bool] = []

        def look() -> None:
            seen.append(executor.admission.blocked)

        async def main() -> None:
            look()
            second = gate.beside("second")
            waits = [asyncio.ensure_future(wait_for.remote(each)) for each in (gate, second)]
            await asyncio.sleep(0.02)
            look()
            gate.open()
            await waits[0]
            look()  # the other one waits on
            second.open()
            await waits[1]
            look()

        asyncio.run(main())
        return seen

    assert zgen.get(looks.remote(gate), timeout=50) == [False, True, True, False]


def test_a_worker_is_left_as_it_was_after_waits_that_were_cancelled(gate: Gate) -> None:
    @zgen.remote
    def cancels(gate: Gate) -> list[Any]:
        async def main() -> None:
            slow, stream = wait_for.remote(gate), numbers.remote(3)
            waits: list[asyncio.Future[Any]] = [slow.as_future() for _ in range(5)]
            waits.append(asyncio.create_task(anext(stream)))
            await asyncio.sleep(0.01)
            for wait in waits:
                wait.cancel()
            await asyncio.wait(waits)
            gate.open()
            await slow

        asyncio.run(main())
        runtime = process.current
        assert runtime is not None
        return [runtime.waits.is_idle(), runtime.bells.is_idle(), runtime.context.waits]

    assert zgen.get(cancels.remote(gate), timeout=30) == [True, True, 0]


def test_a_loop_in_a_thread_of_a_task_works_as_well() -> None:
    @zgen.remote
    def threaded() -> list[int]:
        sums: list[int] = []

        async def main() -> None:
            sums.append(sum([await ref async for ref in numbers.remote(100)]))

        threads = [threading.Thread(target=lambda: asyncio.run(main())) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sums

    assert zgen.get(threaded.remote(), timeout=50) == [4950] * 3


def test_a_task_that_ends_while_its_thread_awaits_harms_nothing(gate: Gate) -> None:
    ended = gate.beside("ended")

    @zgen.remote
    def leaves(gate: Gate, ended: Gate) -> int:
        async def main() -> None:
            await wait_for.options(num_cpus=0).remote(gate)
            ended.open()

        threading.Thread(target=lambda: asyncio.run(main()), daemon=True).start()
        runtime = process.current
        assert runtime is not None
        wait_until(lambda: not runtime.waits.is_idle(), 10, "the thread awaits")
        return os.getpid()

    pid = zgen.get(leaves.remote(gate, ended), timeout=30)
    gate.open()
    ended.wait()
    of_workers = zgen.get([left.remote() for _ in range(20)], timeout=30)
    assert all(each[1:] == [True, True, 0] for each in of_workers), (pid, of_workers)
