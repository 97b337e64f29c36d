"""Who waits for what: crowds of things, and the marks of generators that would block."""

from __future__ import annotations

from threading import RLock
from typing import cast

import pytest

from tests.unit.core.bench import OwnerBench
from tests.unit.core.names import result, spec, stream_spec, task
from zgen.core.effects import ObjectsReady, StreamAdvanced
from zgen.core.region_table import RegionTable
from zgen.ids import ObjectId, StreamId
from zgen.runtime.arrivals import Arrivals
from zgen.runtime.objects import LargeObjects
from zgen.runtime.waits import CrowdWaiter, Mark, Waits

S, T = task("s"), task("t")
A = result("a")


@pytest.fixture
def waits() -> Waits:
    bench = OwnerBench()
    bench.submit(stream_spec("s"))
    bench.submit(stream_spec("t"))
    bench.submit(spec("a"))
    arrivals = Arrivals(bench.owner, RegionTable(), cast(LargeObjects, None), RLock())
    return Waits(bench.owner, arrivals)


def crowd(waits: Waits, *names: bytes, most: int) -> CrowdWaiter:
    waiter = CrowdWaiter(dict.fromkeys(names), most)
    waits.add_crowd(waiter)
    return waiter


def advance(waits: Waits, stream: StreamId) -> None:
    assert waits.perform(StreamAdvanced(stream))


def ready(waits: Waits, *names: ObjectId) -> None:
    assert waits.perform(ObjectsReady(names))


def test_a_crowd_is_done_when_enough_of_it_is_ready(waits: Waits) -> None:
    waiter = crowd(waits, S, T, A, most=1)
    advance(waits, T)
    assert list(waiter.pending) == [S, A]
    ready(waits, A)
    assert list(waiter.pending) == [S]
    assert waiter.done


def test_what_advances_twice_counts_once_and_a_stranger_not_at_all(waits: Waits) -> None:
    waiter = crowd(waits, S, A, most=0)
    for _ in range(3):
        advance(waits, S)
        advance(waits, T)
        ready(waits, result("b"))
    assert list(waiter.pending) == [A]
    ready(waits, A)
    assert waiter.done


def test_who_is_no_longer_in_a_crowd_is_told_nothing(waits: Waits) -> None:
    first, second = crowd(waits, S, most=0), crowd(waits, S, most=0)
    assert not waits.is_idle()
    waits.remove_crowd(first)
    advance(waits, S)
    assert (first.done, second.done) == (False, True)
    waits.remove_crowd(second)
    assert waits.is_idle()


def test_a_mark_says_that_a_stream_would_block_until_it_advances(waits: Waits) -> None:
    mark, other = Mark(True), Mark(True)
    waits.mark_blocking(S, mark)
    waits.mark_blocking(T, other)
    assert (mark.value, other.value) == (None, None)
    advance(waits, S)
    advance(waits, S)
    assert (mark.value, other.value) == (True, None)
    waits.mark_blocking(S, mark)
    assert mark.value is None


def test_a_mark_goes_with_its_handle(waits: Waits) -> None:
    mark = Mark(True)
    waits.forget((S,))
    waits.mark_blocking(S, mark)
    waits.forget((T, S))
    advance(waits, S)
    assert mark.value is None


def test_the_end_of_the_runtime_ends_every_wait_and_every_mark(waits: Waits) -> None:
    waiter, mark = crowd(waits, S, T, most=0), Mark(True)
    waits.mark_blocking(S, mark)
    waits.finish_all()
    assert waiter.done
    assert mark.value
