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


def test_a_call_of_an_actor_cannot_be_cancelled_yet_and_runs_on(gate: Gate) -> None:
    begun, busy = gate.beside("begun"), Busy.remote()
    ref = busy.wait.remote(begun, gate)
    begun.wait()
    with pytest.raises(NotImplementedError, match="a call of an actor"):
        zgen.cancel(ref)
    with pytest.raises(ValueError, match="force=True"):
        zgen.cancel(ref, force=True)
    gate.open()
    assert zgen.get(ref, timeout=20) == "ended by itself"
    zgen.cancel(ref)  # it has ended
    assert zgen.get(ref) == "ended by itself"


def test_what_another_process_submitted_cannot_be_cancelled_here_yet(gate: Gate) -> None:
    @zgen.remote
    def waits(gate: Gate) -> str:
        gate.wait()
        return "ended by itself"

    @zgen.remote(num_cpus=0)
    def cancels(refs: list[zgen.ObjectRef[str]]) -> str:
        try:
            zgen.cancel(refs[0])
        except NotImplementedError as error:
            return str(error)
        return "cancelled"

    ref = waits.remote(gate)
    assert "in the process that submitted it" in zgen.get(cancels.remote([ref]))
    gate.open()
    assert zgen.get(ref) == "ended by itself"
