"""Asynchronous generators as remote functions."""

from __future__ import annotations

import asyncio
import decimal
from typing import Any

import pytest

import zgen
from tests.integration.gates import Gate, Tally

pytestmark = pytest.mark.usefixtures("runtime")


@zgen.remote
async def numbers(count: int) -> Any:
    for number in range(count):
        await asyncio.sleep(0)
        yield number


@pytest.mark.parametrize("count", [0, 1, 100])
def test_an_asynchronous_generator_streams_as_any_other(count: int) -> None:
    stream = numbers.remote(count)
    assert isinstance(stream, zgen.ObjectRefGenerator)
    assert [zgen.get(ref) for ref in stream] == list(range(count))
    assert zgen.get(stream.completed()) is None


def test_a_body_awaits_references_between_its_items() -> None:
    @zgen.remote
    async def doubled(count: int) -> Any:
        async for ref in numbers.remote(count):
            yield 2 * await ref

    assert [zgen.get(ref) for ref in doubled.remote(5)] == [0, 2, 4, 6, 8]


def test_an_exception_comes_at_its_place() -> None:
    @zgen.remote
    async def breaks() -> Any:
        yield 1
        await asyncio.sleep(0)
        raise LookupError("midway")

    stream = breaks.remote()
    assert zgen.get(next(stream)) == 1
    with pytest.raises(LookupError, match="midway"):
        zgen.get(next(stream))
    assert list(stream) == []


def test_all_steps_share_one_context_one_loop_and_one_name() -> None:
    @zgen.remote(name="steps")
    async def steps() -> Any:
        loop = asyncio.get_running_loop()
        for _ in range(3):
            decimal.getcontext().prec += 1  # kept in a context variable
            task = asyncio.current_task()
            assert task is not None
            yield decimal.getcontext().prec, task.get_name(), loop is asyncio.get_running_loop()

    expected = [(number, "steps", True) for number in (29, 30, 31)]
    assert [zgen.get(ref) for ref in steps.remote()] == expected


def test_a_fixed_number_of_results_and_a_window_work_too(gate: Gate) -> None:
    assert zgen.get(numbers.options(num_returns=3).remote(3)) == [0, 1, 2]
    narrow = numbers.options(_generator_backpressure_num_objects=1)
    assert [zgen.get(ref) for ref in narrow.remote(20)] == list(range(20))


def test_a_body_that_is_not_resumed_runs_its_finally_and_leaves_no_task(gate: Gate) -> None:
    finals = Tally(gate.path)

    @zgen.remote(num_returns=1)
    async def endless() -> Any:
        async def wait() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                finals.add()

        waiting = asyncio.ensure_future(wait())
        try:
            while True:
                await asyncio.sleep(0)
                yield waiting.done()
        finally:
            finals.add()

    assert zgen.get(endless.remote()) is False
    assert zgen.get(numbers.options(num_returns=1).remote(1)) == 0
    assert finals.count == 2
