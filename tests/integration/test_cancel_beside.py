"""``cancel`` where other features run the body: asynchronous generators, and calls of actors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

import zgen
from tests.integration.gates import Gate
from tests.integration.remote_class import RemoteClass
from zgen.exceptions import TaskCancelledError

pytestmark = pytest.mark.usefixtures("runtime")

#: Longer than any test runs.
LONG_S = 50.0


@zgen.remote(num_returns="streaming", max_retries=0)
async def waits_in_a_loop(begun: Gate, closed: Gate) -> AsyncIterator[int]:
    try:
        yield 1
        begun.open()
        await asyncio.sleep(LONG_S)
    finally:
        closed.open()


@zgen.remote
class Busy(RemoteClass):
    """Runs until it may end."""

    def wait(self, begun: Gate, gate: Gate) -> str:
        begun.open()
        gate.wait()
        return "ended by itself"


def test_an_asynchronous_generator_that_waits_is_interrupted_and_closed(gate: Gate) -> None:
    closed = gate.beside("closed")
    gen = waits_in_a_loop.remote(gate, closed)
    assert zgen.get(next(gen)) == 1
    gate.wait()
    zgen.cancel(gen)
    with pytest.raises(TaskCancelledError):
        zgen.get(next(gen), timeout=20)
    with pytest.raises(StopIteration):
        next(gen)
    closed.wait()


def test_the_worker_of_a_cancelled_asynchronous_generator_runs_the_next(gate: Gate) -> None:
    for number in range(3):
        begun = gate.beside(f"begun {number}")
        gen = waits_in_a_loop.remote(begun, gate.beside(f"closed {number}"))
        assert zgen.get(next(gen)) == 1
        begun.wait()
        zgen.cancel(gen)
        with pytest.raises(TaskCancelledError):
            zgen.get(next(gen), timeout=20)
