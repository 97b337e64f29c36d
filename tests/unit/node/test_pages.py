"""Pages made ahead of time: real memfds and threads."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.unit.node.polled import Polled, nothing_left_open
from zgen.core.store_events import SlabPopulated
from zgen_node.io import linux
from zgen_node.io.pages import Pages

MB = 1 << 20


class Bench:
    """Pages of memfds that are known by number."""

    def __init__(self) -> None:
        self.polled = Polled()
        self.slabs: dict[int, int] = {}
        self.posted: list[SlabPopulated] = []
        self.pages = Pages(self.polled, self.posted.append, self.copy_of)

    def copy_of(self, slab: int) -> int:
        if slab not in self.slabs:
            raise OSError("no such slab")
        return os.dup(self.slabs[slab])

    def make(self, slab: int, size_bytes: int) -> None:
        self.slabs[slab] = os.memfd_create("zt-pages", os.MFD_CLOEXEC)
        os.ftruncate(self.slabs[slab], size_bytes)

    def bytes_of(self, slab: int) -> int:
        return os.fstat(self.slabs[slab]).st_blocks * 512

    def close(self) -> None:
        self.pages.end()
        self.pages.end()
        for descriptor in self.slabs.values():
            os.close(descriptor)
        self.polled.close()


@pytest.fixture
def bench() -> Iterator[Bench]:
    with nothing_left_open():
        made = Bench()
        try:
            yield made
        finally:
            made.close()


def test_a_slab_has_all_its_pages_when_it_is_said_so(bench: Bench) -> None:
    for slab, size_bytes in ((1, 9 * MB), (2, MB + 4096)):
        bench.make(slab, size_bytes)
        bench.pages.populate(slab, size_bytes)
    bench.polled.until(lambda: len(bench.posted) == 2)
    assert sorted(each.slab for each in bench.posted) == [1, 2]
    assert (bench.bytes_of(1), bench.bytes_of(2)) == (9 * MB, MB + 4096)


def test_what_is_written_meanwhile_stays(bench: Bench) -> None:
    bench.make(1, 64 * MB)
    bench.pages.populate(1, 64 * MB)
    for offset in range(0, 64 * MB, MB):
        os.pwrite(bench.slabs[1], offset.to_bytes(8, "big"), offset)
    bench.polled.until(lambda: bool(bench.posted))
    for offset in range(0, 64 * MB, MB):
        assert os.pread(bench.slabs[1], 8, offset) == offset.to_bytes(8, "big")


def test_nothing_is_said_of_a_slab_that_is_not_there_or_has_no_room(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.pages.populate(7, MB)  # which was never made
    bench.make(1, MB)

    def refuse(_descriptor: int, _offset: int, _size_bytes: int) -> None:
        raise OSError("no room")

    monkeypatch.setattr(linux, "reserve", refuse)
    bench.pages.populate(1, MB)
    bench.polled.until(lambda: not bench.pages.busy)
    assert bench.posted == []


def test_the_end_waits_for_a_step_and_not_for_the_slab(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[int] = []

    def reserve(_descriptor: int, offset: int, _size_bytes: int) -> None:
        steps.append(offset)
        bench.pages.stop()

    monkeypatch.setattr(linux, "reserve", reserve)
    bench.make(1, 64 * MB)
    bench.pages.populate(1, 64 * MB)
    bench.polled.until(lambda: bool(steps))
    bench.pages.end()
    assert steps == [0]
    assert bench.posted == []
