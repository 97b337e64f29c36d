"""Pages of 2 MiB under real maps: made while that is quick, and never trusted where it is not."""

from __future__ import annotations

import ctypes
import errno
import os
import threading
from collections.abc import Iterator

import pytest

from tests.unit.io.slabs import Slabs, make_memory, slabs
from tests.unit.node.huge_folder import huge_folder
from zgen.io import large_pages
from zgen.io.large_pages import LARGE_BYTES
from zgen.io.shared_memory import SharedMemory
from zgen.wire.store import Place

COUNT = 6
TAIL = 12_345


@pytest.fixture
def node() -> Iterator[Slabs]:
    with slabs() as made:
        yield made


@pytest.fixture
def place(node: Slabs) -> Iterator[Place]:
    folder = huge_folder()
    yield node.make(COUNT * LARGE_BYTES + 4 * 4096, folder=folder)
    os.close(folder)


def written(node: Slabs, place: Place, memory: SharedMemory | None = None) -> bool:
    """Write a value; return whether it lies there, with zeroes behind it."""
    memory = memory or make_memory(node)
    value = os.urandom(1 << 16) * (COUNT * LARGE_BYTES // (1 << 16)) + b"t" * TAIL
    head = value[: 3 * LARGE_BYTES + 64]
    memory.write(place, [memoryview(head), memoryview(value)[len(head) :]])
    return node.content(place) == value + bytes(place.room - len(value))


def taken_bytes(node: Slabs, place: Place) -> int:
    return os.fstat(node.files[place.slab]).st_blocks * 512


class Advice:
    """Stands in for the system's call: notes it, and refuses what it is told to."""

    def __init__(self, refused: tuple[int, ...] = ()) -> None:
        self.made: list[int] = []
        self._base: int | None = None
        self._refused = refused
        self._madvise = large_pages._madvise

    def __call__(self, address: int, size_bytes: int, advice: int) -> int:
        if advice != large_pages._MADV_POPULATE_WRITE:
            self._base = address
            return int(self._madvise(address, size_bytes, advice))
        assert self._base is not None
        page = (address - self._base) // LARGE_BYTES
        if page in self._refused:
            ctypes.set_errno(errno.ENOMEM)
            return -1
        self.made.append(page)
        return int(self._madvise(address, size_bytes, advice))


def test_a_fresh_value_lies_in_large_pages_and_its_end_in_small_ones(
    node: Slabs, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large_pages, "_SLOW_NS", 1 << 60)
    monkeypatch.setattr(large_pages, "_madvise", advice := Advice())
    assert written(node, place)
    assert sorted(advice.made) == list(range(COUNT))
    assert taken_bytes(node, place) == place.room


def test_after_a_slow_one_no_other_is_begun_and_the_rest_is_written_all_the_same(
    node: Slabs, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large_pages, "_SLOW_NS", -1)
    monkeypatch.setattr(large_pages, "_madvise", advice := Advice())
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(2))
    memory = make_memory(node)
    assert written(node, place, memory)
    assert 1 <= len(advice.made) <= 2  # one a thread
    advice.made.clear()
    assert written(node, place, memory)
    assert advice.made == []  # for a while


@pytest.mark.parametrize("refused", [(0,), (2,), (1, 3), (COUNT - 1,)])
def test_what_memory_refuses_is_never_touched_through_the_map(
    node: Slabs, place: Place, monkeypatch: pytest.MonkeyPatch, refused: tuple[int, ...]
) -> None:
    monkeypatch.setattr(large_pages, "_SLOW_NS", 1 << 60)
    monkeypatch.setattr(large_pages, "_madvise", Advice(refused))
    filled: list[int] = []
    fill = large_pages.make

    def note(address: int, size_bytes: int) -> int:
        filled.append(fill(address, size_bytes))
        return filled[-1]

    monkeypatch.setattr(large_pages, "make", note)
    assert written(node, place)
    assert filled == [refused[0] * LARGE_BYTES]


def test_where_no_thread_can_be_started_one_makes_all(
    node: Slabs, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(large_pages, "_SLOW_NS", 1 << 60)
    monkeypatch.setattr(large_pages, "_madvise", advice := Advice())
    monkeypatch.setattr(threading.Thread, "start", refuse)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(3))
    assert written(node, place)
    assert advice.made == list(range(COUNT))


def test_a_memfd_is_not_asked_for_any(node: Slabs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_pages, "_madvise", advice := Advice())
    assert written(node, node.make(COUNT * LARGE_BYTES + 4 * 4096))
    assert advice.made == []
