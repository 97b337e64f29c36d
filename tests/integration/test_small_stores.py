"""Streams that are much larger than the store: all of it right, memory flat, all of it returned."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest

import zgen
from tests.integration.gates import Gate, Tally
from tests.integration.memories import (
    MIB,
    daemon,
    lower_store_full,
    node_report,
    own_bytes,
    slab_bytes,
    store,
    wait_for_no_memory,
    wait_for_no_regions,
)
from tests.integration.watching import wait_until
from zgen.exceptions import ObjectStoreFullError
from zgen.limits import EVICT_AGAIN_NS, SECOND
from zgen.runtime import process


@pytest.fixture(autouse=True)
def checked() -> Iterator[None]:
    """Check the driver's machine at the end, and end the node."""
    yield
    try:
        if process.current is not None:
            with process.current.loop.lock:
                process.current.machine.check()
    finally:
        zgen.shutdown()


@zgen.remote
def arrays(count: int, size: int, tally: str = "") -> Iterator[Any]:
    for number in range(count):
        array = numpy.full(size, number % 251, numpy.uint8)
        array[-1] = number // 251
        if tally:
            Tally(Path(tally)).add()
        yield array


def assert_is_item(array: Any, number: int, size: int) -> None:
    assert array.nbytes == size
    assert array[-1] == number // 251
    assert (array[:-1] == number % 251).all()


def worker_bytes() -> int:
    return sum(own_bytes(worker["pid"]) for worker in node_report()["workers"])


@pytest.mark.parametrize(
    ("total", "size", "capacity"),
    [(10**9, 10**6, 64 * 10**6), (2 * 10**9, 10**8, 512 * 10**6)],
    ids=["1 GB in 64 MB", "2 GB in 512 MB"],
)
def test_a_reader_that_keeps_three_arrays_reads_more_than_the_store_holds(
    total: int, size: int, capacity: int
) -> None:
    zgen.init(num_cpus=1, object_store_memory=capacity)
    kept: deque[tuple[int, Any]] = deque(maxlen=3)
    count, most, before = total // size, 0, own_bytes(os.getpid())
    for number, ref in enumerate(arrays.remote(count, size)):
        kept.append((number, zgen.get(ref)))
        for older, array in kept:
            assert_is_item(array, older, size) if older == number else None
            assert (array[0], array[-1]) == (older % 251, older // 251)
        most = max(most, slab_bytes(daemon()))
    assert number == count - 1
    for older, array in kept:
        assert_is_item(array, older, size)
    # The pages of the slabs are all that the items took, but for one that is being made.
    assert capacity // 2 < most <= capacity
    assert own_bytes(os.getpid()) - before < size + 16 * MIB
    assert worker_bytes() < 2 * size + 64 * MIB
    del array, ref
    kept.clear()
    wait_for_no_memory()


def test_a_producer_runs_ahead_of_a_slow_consumer_by_what_the_store_holds(tmp_path: Path) -> None:
    capacity, count = 64 * MIB, 150
    zgen.init(num_cpus=1, object_store_memory=capacity)
    made = Tally(tmp_path / "made")
    gen = arrays.remote(count, MIB, str(made.path))
    wait_until(lambda: store()["waiting"] > 0, 10, "the producer waits")
    ahead_most = held_back = slabs_most = 0
    before = own_bytes(os.getpid()) + own_bytes(daemon()) + worker_bytes()
    for number, ref in enumerate(gen):
        assert_is_item(zgen.get(ref), number, MIB)
        del ref
        found = store()
        assert found["spilled_bytes"] == 0
        held_back += found["waiting"] > 0
        ahead_most = max(ahead_most, made.count - number)
        slabs_most = max(slabs_most, slab_bytes(daemon()))
        time.sleep(0.02)  # it is slow
    after = own_bytes(os.getpid()) + own_bytes(daemon()) + worker_bytes()
    assert number == count - 1
    assert held_back > 10, "the producer was not held back"
    # One more is made and waits for room.
    assert 32 < ahead_most <= capacity // MIB + 2
    assert slabs_most + max(0, after - before) <= 1.2 * capacity
    wait_for_no_regions()


def test_nothing_is_spilled_for_a_stream_though_one_look_would_take_all_there_is() -> None:
    zgen.init(num_cpus=1, object_store_memory=16 * MIB)
    gen = arrays.remote(30, MIB)
    wait_until(lambda: store()["waiting"] > 0, 10, "the producer waits")
    for number, ref in enumerate(gen):
        assert_is_item(zgen.get(ref), number, MIB)
        assert store()["spilled_bytes"] == 0
        # Owners are asked anew for room meanwhile.
        time.sleep(1.5 * EVICT_AGAIN_NS / SECOND if number < 12 else 0)
    assert number == 29


def test_a_stream_whose_producer_waits_for_room_can_be_abandoned() -> None:
    zgen.init(num_cpus=1, object_store_memory=64 * MIB)
    gen = arrays.remote(300, MIB)
    for number in range(20):
        assert_is_item(zgen.get(next(gen)), number, MIB)
    wait_until(lambda: store()["waiting"] > 0, 10, "the producer waits")
    del gen
    wait_for_no_regions()
    found = store()
    assert (found["waiting"], found["spilled_bytes"]) == (0, 0)
    whole = zgen.get(zgen.put(numpy.ones(60 * MIB, numpy.uint8)))
    assert whole.all()


def test_a_full_store_is_one_error_at_a_yield_and_at_a_return(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", lower_store_full(tmp_path, 2 * SECOND))
    zgen.init(num_cpus=2, object_store_memory=32 * MIB)
    views = [zgen.get(zgen.put(numpy.full(8 * MIB, number, numpy.uint8))) for number in range(3)]
    caught, finished = Gate(tmp_path / "caught"), Tally(tmp_path / "finished")

    @zgen.remote
    def yields(caught: str, finished: str) -> Iterator[Any]:
        try:
            yield "small"
            yield numpy.full(2 * MIB, 5, numpy.uint8)
            yield numpy.full(16 * MIB, 6, numpy.uint8)
            Path(caught).touch()
            yield "never"
        finally:
            Tally(Path(finished)).add()

    @zgen.remote
    def returns() -> Any:
        return numpy.full(16 * MIB, 6, numpy.uint8)

    began = time.monotonic()
    gen = yields.remote(str(caught.path), str(finished.path))
    assert zgen.get(next(gen)) == "small"
    second = zgen.get(next(gen))
    assert (second == 5).all()
    returned, failed = returns.remote(), next(gen)
    with pytest.raises(ObjectStoreFullError, match="for 2 s") as at_yield:
        zgen.get(failed)
    with pytest.raises(ObjectStoreFullError, match="for 2 s") as at_return:
        zgen.get(returned)
    assert 2 < time.monotonic() - began < 9
    for full in (at_yield.value, at_return.value):
        name, size, number_of = full.largest_holders[0]
        assert name == f"driver pid={os.getpid()}"
        assert (size, number_of) == (26 * MIB, 4)
        assert name in str(full)
    for _ in range(2):
        with pytest.raises(StopIteration):
            next(gen)
    wait_until(lambda: finished.count == 1, 5, "its finally ran")
    assert not caught.is_open
    assert [int(view[-1]) for view in (*views, second)] == [0, 1, 2, 5]
    del views, second
    assert (zgen.get(returns.remote()) == 6).all()
    del gen, failed, returned, full, at_yield, at_return
    wait_for_no_regions()


def test_a_value_on_disk_that_has_no_room_to_come_back_is_no_lost_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", lower_store_full(tmp_path, SECOND))
    zgen.init(num_cpus=1, object_store_memory=32 * MIB)
    spilled = zgen.put(numpy.full(8 * MIB, 9, numpy.uint8))
    views = [zgen.get(zgen.put(numpy.full(7 * MIB, number, numpy.uint8))) for number in range(4)]
    assert store()["spilled_regions"] == 1

    @zgen.remote
    def last(array: Any) -> int:
        return int(array[-1])

    with pytest.raises(ObjectStoreFullError, match="no room to bring a value back"):
        zgen.get(spilled)
    with pytest.raises(ObjectStoreFullError, match="no room to bring a value back"):
        zgen.get(last.remote(spilled))
    assert [int(view[-1]) for view in views] == [0, 1, 2, 3]
    del views
    assert zgen.get(last.remote(spilled)) == 9
    assert (zgen.get(spilled) == 9).all()
    del spilled
    wait_for_no_regions()
