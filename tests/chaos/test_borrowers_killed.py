"""SIGKILL of those who own, borrow and pass on references."""

from __future__ import annotations

import gc
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest

import zgen
from tests.chaos.hangman import Hangman, await_kill
from tests.integration.gates import LATE_S, Gate
from tests.integration.memories import MIB, wait_for_no_regions
from tests.integration.watching import wait_until
from zgen.exceptions import ObjectLostError, OwnerDiedError, WorkerCrashedError
from zgen.limits import BORROW_GRACE_NS, SECOND
from zgen.runtime import process

pytestmark = pytest.mark.chaos


@pytest.fixture(autouse=True)
def node() -> Iterator[None]:
    """A node of two CPUs; at the end nothing is borrowed and no shared memory is used."""
    zgen.init(num_cpus=2)
    try:
        yield
        wait_for_no_regions()
        assert process.current is not None
        machine = process.current.machine
        with process.current.loop.lock:
            machine.check()
        grace_s = BORROW_GRACE_NS / SECOND
        wait_until(
            lambda: not machine.owner.borrowing.lent.pinned(), grace_s + 5, "all is given back"
        )
        assert process.current.loop.rescues == 0
    finally:
        zgen.shutdown()


@pytest.fixture
def hangman(tmp_path: Path) -> Iterator[Hangman]:
    with Hangman(tmp_path) as started:
        yield started


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path / "gate")


@zgen.remote
def owned(value: Any) -> Any:
    """Return a reference to what this worker owns, and who that is."""
    return os.getpid(), [zgen.put(value)]


@zgen.remote
def waited(gate: Gate) -> str:
    gate.wait()
    return "never"


@zgen.remote(num_cpus=0)
def opened(nested: Any, gate: Gate) -> Any:
    gate.wait()
    return zgen.get(nested[0])


def test_who_waits_for_an_object_hears_of_its_owners_death(gate: Gate) -> None:
    submit = zgen.remote(num_cpus=0)(lambda gate: (os.getpid(), [waited.remote(gate)]))
    owner, (pending,) = zgen.get(submit.remote(gate))
    waits = [opened.remote([pending], gate), opened.remote([pending], gate)]
    raised: list[Any] = []

    def wait() -> None:
        with pytest.raises(OwnerDiedError) as error:
            zgen.get(pending)
        raised.append(error.value)

    thread = threading.Thread(target=wait)
    thread.start()
    gate.beside("other").open()
    wait_until(
        lambda: process.current is not None and not process.current.waits.is_idle(), 5, "it waits"
    )
    os.kill(owner, signal.SIGKILL)
    thread.join(1 + LATE_S)  # detection takes two looks at a quiet line, some milliseconds
    assert len(raised) == 1
    assert raised[0].object_id == pending.hex()
    with pytest.raises(OwnerDiedError):
        zgen.get(pending)
    with pytest.raises(OwnerDiedError):  # as an argument
        zgen.get(opened.remote([pending], gate.beside("other")))
    gate.open()
    for ref in waits:
        with pytest.raises(OwnerDiedError):
            zgen.get(ref)


@pytest.mark.parametrize("size", [10, MIB], ids=["inline", "in shared memory"])
def test_an_object_dies_with_its_owner(size: int) -> None:
    owner, (known,) = zgen.get(owned.remote(b"k" * size))
    other, (unknown,) = zgen.get(owned.remote(b"u" * size))
    assert len(zgen.get(known)) == size
    for pid in dict.fromkeys((owner, other)):
        os.kill(pid, signal.SIGKILL)
    with pytest.raises(OwnerDiedError):
        zgen.get(unknown)
    if size == MIB:
        with pytest.raises(ObjectLostError):
            zgen.get(known)
    else:
        assert len(zgen.get(known)) == size  # asked for before, and kept here


def test_views_of_what_a_dead_owner_had_stay_what_they_are() -> None:
    owner, (theirs,) = zgen.get(owned.remote(numpy.arange(MIB)))
    array = zgen.get(theirs)
    os.kill(owner, signal.SIGKILL)
    with pytest.raises(OwnerDiedError):
        wait_until(lambda: zgen.get(theirs) is None, 20, "its death is known")
    others = [zgen.put(numpy.zeros(MIB, numpy.int64)) for _ in range(8)]
    assert int(array.sum()) == MIB * (MIB - 1) // 2
    del others, array


def test_who_got_a_reference_from_a_borrower_that_is_killed_keeps_the_object(
    hangman: Hangman, gate: Gate
) -> None:
    """It passes on what nobody else has any more but the owner, and dies once that has come."""

    @zgen.remote(max_retries=0)
    def pass_on_and_die(owner_and_ref: Any, gate: Gate, fifo: str) -> Iterator[Any]:
        gate.wait()
        yield owner_and_ref
        gate.beside("taken").wait()
        await_kill(fifo)

    @zgen.remote
    def owned_by_who_is_busy(value: Any, gate: Gate) -> Iterator[Any]:
        yield os.getpid(), [zgen.put(value)]
        gate.wait()

    owning = owned_by_who_is_busy.remote("inner", gate.beside("end"))
    outer = next(owning)
    owner, _ = zgen.get(outer)
    stream = pass_on_and_die.remote(outer, gate, hangman.fifo)
    del outer, _
    gc.collect()
    wait_until(lambda: borrowed() == 0, 20, "the driver has given its own borrow back")
    gate.open()
    passed_on = next(stream)
    gate.beside("taken").open()
    found, (inner,) = zgen.get(passed_on)
    with pytest.raises(WorkerCrashedError):
        zgen.get(next(stream))
    assert len(hangman.killed) == 1
    assert found == owner != hangman.killed[0]
    assert zgen.get(inner) == "inner"
    gate.beside("end").open()
    assert zgen.get(opened.remote([inner], gate)) == "inner"


def borrowed() -> int:
    """Return how many objects of others the driver has references to outside of tasks."""
    assert process.current is not None
    with process.current.loop.lock:
        records = process.current.machine.owner.refs.records.values()
        return sum(record.local for record in records if record.borrow is not None)
