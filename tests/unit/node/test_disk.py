"""The disk's thread: orders in their order, failures as answers, an end that does not wait."""

from __future__ import annotations

import os
import resource
import threading
import tracemalloc
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.node.polled import Polled, nothing_left_open
from zgen.core.store_effects import (
    ForgetSpilled,
    RestoreRegion,
    SpillRegion,
)
from zgen.core.store_events import (
    RegionRestored,
    RegionSpilled,
)
from zgen.limits import SPILL_CHUNK_BYTES
from zgen.wire.store import Place
from zgen_node.io import disk as disk_module
from zgen_node.io.disk import Answer, Disk

SLAB_BYTES = 64 << 20
ROOM_BYTES = 1 << 20


def place(offset: int = 0, room: int = ROOM_BYTES) -> Place:
    return Place(1, offset, room, SLAB_BYTES, is_warm=True)


class Bench:
    """A disk, a slab, and what was answered."""

    def __init__(self, folder: Path) -> None:
        self.polled = Polled()
        self.answers: list[Answer] = []
        self.disk = Disk(str(folder), self.polled, self.answers.append, self._copy_of)
        self.slab = os.memfd_create("slab", os.MFD_CLOEXEC)
        self.copies_left = 1_000
        os.ftruncate(self.slab, SLAB_BYTES)

    def fill(self, where: Place) -> bytes:
        data = os.urandom(where.room)
        os.pwrite(self.slab, data, where.offset)
        return data

    def answered(self, count: int) -> list[Answer]:
        self.polled.until(lambda: len(self.answers) >= count)
        return self.answers

    def _copy_of(self, slab: int) -> int:
        assert slab == 1
        if not self.copies_left:
            raise OSError(24, "Too many open files")
        self.copies_left -= 1
        return os.dup(self.slab)

    def close(self) -> None:
        self.disk.end()
        self.polled.close()
        os.close(self.slab)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with nothing_left_open():
        made = Bench(tmp_path)
        yield made
        made.close()


class Held:
    """Stands in the way of every piece that is copied."""

    def __init__(self) -> None:
        self.pieces = 0
        self.reached = threading.Event()
        self.go_on = threading.Event()
        self._crc32 = zlib.crc32

    def crc32(self, data: memoryview, value: int = 0) -> int:
        self.pieces += 1
        self.reached.set()
        assert self.go_on.wait(10)
        return self._crc32(data, value)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Held:
    made = Held()
    monkeypatch.setattr(zlib, "crc32", made.crc32)
    return made


def test_a_region_goes_to_disk_and_comes_back(bench: Bench) -> None:
    data = bench.fill(place())
    bench.disk.order(SpillRegion(5, place()))
    assert bench.answered(1) == [RegionSpilled(5, "", False)]
    bench.disk.order(RestoreRegion(5, place(ROOM_BYTES)))
    assert bench.answered(2)[1] == RegionRestored(5, "")
    assert os.pread(bench.slab, ROOM_BYTES, ROOM_BYTES) == data


def test_orders_are_done_in_their_order(bench: Bench, tmp_path: Path) -> None:
    expected: list[Answer] = []
    for region in range(200):
        bench.disk.order(SpillRegion(region, place(0, 4096)))
        expected.append(RegionSpilled(region, "", False))
        if region % 3 == 0:
            bench.disk.order(ForgetSpilled(region))
        bench.disk.order(RestoreRegion(region, place(0, 4096)))
        failure = f"it did not come back from {tmp_path}: region {region} is not there"
        expected.append(RegionRestored(region, "" if region % 3 else failure))
    assert bench.answered(400) == expected


def disk_threads() -> list[str]:
    """Return the names of threads of any disk."""
    return [each.name for each in threading.enumerate() if each.name == "zgen-disk"]


def test_no_thread_and_no_file_are_there_before_the_first_order(bench: Bench) -> None:
    with nothing_left_open():
        assert disk_threads() == []
        assert bench.disk._files is None
        bench.disk.end()
    bench.disk.order(ForgetSpilled(1))
    assert disk_threads() == ["zgen-disk"]


def test_a_slab_may_be_closed_while_its_region_waits_to_be_spilled(
    bench: Bench, held: Held
) -> None:
    data = bench.fill(place())
    bench.disk.order(SpillRegion(1, place()))
    bench.disk.order(SpillRegion(2, place()))
    assert held.reached.wait(10)
    os.close(bench.slab)
    bench.slab = os.memfd_create("other", os.MFD_CLOEXEC)
    os.ftruncate(bench.slab, SLAB_BYTES)
    held.go_on.set()
    bench.disk.order(RestoreRegion(2, place()))
    assert bench.answered(3)[1:] == [RegionSpilled(2, "", False), RegionRestored(2, "")]
    assert os.pread(bench.slab, ROOM_BYTES, 0) == data


def test_the_memory_that_a_copy_takes_does_not_grow_with_the_region(bench: Bench) -> None:
    tracemalloc.start()
    try:
        bench.disk.order(SpillRegion(1, place(0, SLAB_BYTES)))
        bench.disk.order(RestoreRegion(1, place(0, SLAB_BYTES)))
        assert bench.answered(2) == [RegionSpilled(1, "", False), RegionRestored(1, "")]
        assert tracemalloc.get_traced_memory()[1] < 2 * SPILL_CHUNK_BYTES
    finally:
        tracemalloc.stop()


# -- failures --------------------------------------------------------------------------------------
def test_a_folder_that_is_gone_is_a_failure_that_names_it(bench: Bench, tmp_path: Path) -> None:
    gone = str(tmp_path / "gone")
    bench.disk = Disk(gone, bench.polled, bench.answers.append, bench._copy_of)
    bench.disk.order(SpillRegion(1, place()))
    failure = f"it cannot be written to {gone}: No such file or directory"
    assert bench.answered(1) == [RegionSpilled(1, failure, False)]


def test_a_full_disk_is_told_and_tried_again_with_the_next_order(bench: Bench) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    data = bench.fill(place())
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM_BYTES // 2, hard))
    try:
        bench.disk.order(SpillRegion(1, place()))
        (full,) = bench.answered(1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert isinstance(full, RegionSpilled)
    assert full.is_disk_full
    assert full.failure.endswith(": File too large")
    bench.disk.order(SpillRegion(1, place()))
    bench.disk.order(RestoreRegion(1, place(ROOM_BYTES)))
    assert bench.answered(3)[1:] == [RegionSpilled(1, "", False), RegionRestored(1, "")]
    assert os.pread(bench.slab, ROOM_BYTES, ROOM_BYTES) == data


def test_a_damaged_region_is_a_failure(bench: Bench) -> None:
    bench.disk.order(SpillRegion(1, place()))
    bench.answered(1)
    assert bench.disk._files is not None
    file = bench.disk._files._file
    assert file is not None
    os.pwrite(file.descriptor, b"damage", 1000)
    bench.disk.order(RestoreRegion(1, place()))
    damaged = bench.answered(2)[1]
    assert isinstance(damaged, RegionRestored)
    assert "region 1 is damaged" in damaged.failure


def test_a_slab_without_a_descriptor_is_a_failure_of_its_orders_alone(bench: Bench) -> None:
    bench.disk.order(SpillRegion(1, place()))
    bench.answered(1)
    bench.copies_left = 0
    bench.disk.order(SpillRegion(2, place()))
    bench.disk.order(RestoreRegion(1, place()))
    spilled, restored = bench.answers[1:]
    assert isinstance(spilled, RegionSpilled)
    assert isinstance(restored, RegionRestored)
    assert spilled.failure.endswith(": Too many open files")
    assert restored.failure.endswith(": Too many open files")
    assert not spilled.is_disk_full
    bench.copies_left = 1
    bench.disk.order(SpillRegion(2, place()))
    assert bench.answered(4)[3] == RegionSpilled(2, "", False)


def test_a_machine_without_another_thread_is_a_failure(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        bench.disk.order(SpillRegion(1, place()))
        bench.disk.order(ForgetSpilled(1))
    (failed,) = bench.answers
    assert isinstance(failed, RegionSpilled)
    assert "can't start new thread" in failed.failure
    bench.disk.order(SpillRegion(1, place()))
    assert bench.answered(2)[1] == RegionSpilled(1, "", False)


def test_what_nobody_thought_of_is_a_failure_and_the_next_order_is_done(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def strange(_data: memoryview, _value: int = 0) -> int:
        raise ValueError("strange")

    with monkeypatch.context() as patch:
        patch.setattr(zlib, "crc32", strange)
        bench.disk.order(SpillRegion(1, place()))
        (failed,) = bench.answered(1)
    assert isinstance(failed, RegionSpilled)
    assert failed.failure.endswith("ValueError('strange')")
    bench.disk.order(SpillRegion(1, place()))
    assert bench.answered(2)[1] == RegionSpilled(1, "", False)


# -- the end ---------------------------------------------------------------------------------------
def test_the_end_waits_for_one_piece_and_not_for_a_region(
    bench: Bench, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    join = threading.Thread.join

    def let_go_and_join(thread: threading.Thread, timeout_s: float | None = None) -> None:
        held.go_on.set()
        join(thread, timeout_s)

    bench.disk.order(SpillRegion(1, place(0, SLAB_BYTES)))
    bench.disk.order(SpillRegion(2, place(0, SLAB_BYTES)))
    assert held.reached.wait(10)
    monkeypatch.setattr(threading.Thread, "join", let_go_and_join)
    bench.disk.end()
    assert disk_threads() == []
    assert held.pieces == 1
    assert bench.answers == []


def test_the_end_does_not_wait_for_a_disk_that_hangs(
    bench: Bench, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_module, "SPILL_STOP_NS", 1_000_000)
    bench.disk.order(SpillRegion(1, place()))
    assert held.reached.wait(10)
    bench.disk.end()
    assert disk_threads() == ["zgen-disk"]
    held.go_on.set()
    monkeypatch.undo()
    bench.disk.end()
    assert disk_threads() == []


def test_the_end_lets_go_of_everything_and_is_harmless_twice(bench: Bench, tmp_path: Path) -> None:
    with nothing_left_open():
        for region in range(20):
            bench.disk.order(SpillRegion(region, place()))
        bench.answered(5)
        bench.disk.end()
        bench.disk.end()
    assert list(tmp_path.iterdir()) == []
