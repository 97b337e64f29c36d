"""Closing a generator: its body gets ``GeneratorExit`` at its yield, in every kind of worker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

import zgen
from tests.integration.gates import LATE_S, Gate, Tally, seconds_since
from tests.integration.watching import wait_until
from zgen.exceptions import TaskCancelledError
from zgen.runtime.process import Runtime

pytestmark = pytest.mark.usefixtures("runtime")


def told(gate: Gate, pause_s: float) -> Iterator[int]:
    """Yield for ever, and say how it ended."""
    number = 0
    try:
        while True:
            yield number
            number += 1
            time.sleep(pause_s)
    except GeneratorExit:
        gate.beside("exit").open()
        raise
    finally:
        gate.open()


class Methods:
    def told(self, gate: Gate, pause_s: float) -> Iterator[int]:
        yield from told(gate, pause_s)


class AsyncMethods(Methods):
    async def told_async(self, gate: Gate, pause_s: float) -> AsyncIterator[int]:
        try:
            for number in range(1_000_000):
                yield number
                await asyncio.sleep(pause_s)
        except GeneratorExit:
            gate.beside("exit").open()
            raise
        finally:
            gate.open()


@zgen.remote
async def told_async(gate: Gate, pause_s: float) -> AsyncIterator[int]:
    try:
        for number in range(1_000_000):
            yield number
            await asyncio.sleep(pause_s)
    except GeneratorExit:
        gate.beside("exit").open()
        raise


def maker(kind: str) -> Callable[..., Any]:
    """Return what starts that kind of generator."""
    if kind == "task":
        return zgen.remote(told).remote
    cls, options, method = {
        "actor": (Methods, {}, "told"),
        "threaded actor": (Methods, {"max_concurrency": 2}, "told"),
        "async actor": (AsyncMethods, {}, "told_async"),
        "sync in an async actor": (AsyncMethods, {}, "told"),
    }[kind]
    actor: Any = zgen.remote(num_cpus=0, **options)(cls).remote()
    return lambda *args: getattr(actor, method).options(**STREAMS).remote(*args)


STREAMS: dict[str, Any] = {"num_returns": "streaming"}
KINDS = ["task", "actor", "threaded actor", "async actor", "sync in an async actor"]


@pytest.mark.parametrize("pause_s", [0.0, 0.02])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.beside_ray("close")
def test_a_body_gets_generator_exit_and_runs_its_finally(
    kind: str, pause_s: float, gate: Gate
) -> None:
    stream = maker(kind)(gate, pause_s)
    taken = next(stream)
    began = time.monotonic()
    stream.close()
    assert zgen.get(stream.completed(), timeout=20) is None
    assert gate.beside("exit").is_open
    assert gate.is_open
    assert seconds_since(began) < LATE_S + 1
    assert list(stream) == []
    assert (stream.next_ready(), stream.is_finished()) == (False, True)
    assert zgen.get(taken) == 0, "what was taken stays"


@pytest.mark.parametrize("windowed", [False, True])
def test_an_asynchronous_body_of_a_task_too(windowed: bool, gate: Gate) -> None:
    window = 1 if windowed else None
    make = told_async.options(_generator_backpressure_num_objects=window)
    with make.remote(gate, 0.01) as stream:
        next(stream)
    zgen.get(stream.completed(), timeout=20)
    assert gate.beside("exit").is_open


@pytest.mark.parametrize("kind", ["task", "actor", "async actor"])
def test_a_body_that_is_held_back_is_closed_where_it_stands(kind: str, gate: Gate) -> None:
    STREAMS["_generator_backpressure_num_objects"] = 1
    try:
        if kind == "task":
            stream = zgen.remote(told).options(**STREAMS).remote(gate, 0.0)
        else:
            stream = maker(kind)(gate, 0.0)
    finally:
        del STREAMS["_generator_backpressure_num_objects"]
    next(stream)
    stream.close()
    zgen.get(stream.completed(), timeout=20)
    assert gate.is_open


def test_one_that_waits_for_a_worker_or_an_argument_never_begins(gate: Gate) -> None:
    go = gate.beside("go")

    @zgen.remote
    def slow() -> str:
        go.wait()
        return "late"

    @zgen.remote
    def late(_: Any) -> Iterator[int]:
        gate.open()
        yield 0

    busy = [slow.remote() for _ in range(2)]
    streams = [late.remote(busy[0]), late.remote(None)]
    for stream in streams:
        stream.close()
        assert zgen.get(stream.completed(), timeout=20) is None
    go.open()
    assert zgen.get(busy) == ["late", "late"]
    assert not gate.is_open


def test_calls_that_queue_at_an_actor_never_begin(gate: Gate) -> None:
    make = maker("actor")
    first, second = make(gate.beside("first"), 0.01), make(gate, 0.01)
    next(first)
    second.close()
    assert zgen.get(second.completed(), timeout=20) is None
    first.close()
    zgen.get(first.completed(), timeout=20)
    assert not gate.is_open


def test_a_body_that_would_run_again_does_not(tmp_path: Any) -> None:
    tally = Tally(tmp_path / "runs")

    @zgen.remote(max_retries=-1, retry_exceptions=True)
    def fails() -> Iterator[int]:
        tally.add()
        yield 0
        raise OSError("again")

    stream = fails.remote()
    next(stream)
    wait_until(lambda: tally.count > 2, 20, "it runs again")
    stream.close()
    assert zgen.get(stream.completed(), timeout=20) is None
    count = tally.count
    time.sleep(0.1)
    assert tally.count == count


@pytest.mark.beside_ray("close")
def test_a_block_that_raises_closes_too(gate: Gate) -> None:
    def broken() -> None:
        with zgen.remote(told).remote(gate, 0.01) as stream:
            next(stream)
            raise LookupError("in the block")

    with pytest.raises(LookupError):
        broken()
    gate.wait()


def test_an_event_loop_closes_without_waiting(gate: Gate) -> None:
    async def main() -> None:
        async with zgen.remote(told).remote(gate, 0.01) as stream:
            await anext(stream)
            waiting = asyncio.ensure_future(drained(stream))
            await asyncio.sleep(0)
            await stream.aclose()
            await waiting
        assert await stream.completed() is None
        assert [ref async for ref in stream] == []

    async def drained(stream: Any) -> None:
        async for _ in stream:
            pass

    asyncio.run(main())
    assert gate.is_open


def test_what_the_user_never_took_is_freed_at_once(runtime: Runtime, gate: Gate) -> None:
    @zgen.remote
    def large() -> Iterator[bytes]:
        for _ in range(3):
            yield bytes(1 << 18)
        gate.wait()
        yield b""

    stream = large.remote()
    first = next(stream)
    wait_until(stream.next_ready, 20, "another item is there")
    stream.close()
    regions = runtime.machine.store.regions.regions
    wait_until(lambda: len(regions) == 1, 20, "what was not taken is freed")
    assert len(zgen.get(first)) == 1 << 18
    gate.open()
    zgen.get(stream.completed(), timeout=20)


def test_a_body_that_waits_between_its_yields_can_still_be_cancelled(gate: Gate) -> None:
    @zgen.remote
    def sleeps() -> Iterator[int]:
        yield 0
        gate.open()
        time.sleep(60)

    stream = sleeps.remote()
    next(stream)
    gate.wait()
    stream.close()
    zgen.cancel(stream)
    with pytest.raises(TaskCancelledError):
        zgen.get(stream.completed(), timeout=20)


def test_closing_what_has_ended_or_was_closed_is_harmless() -> None:
    @zgen.remote
    def short() -> Any:
        yield 0
        return "value"

    stream = short.remote()
    assert len(list(stream)) == 1
    stream.close()
    stream.close()
    assert zgen.get(stream.completed()) == "value"
