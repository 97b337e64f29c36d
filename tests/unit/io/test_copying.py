"""Copies into memory by several threads: the same bytes, whoever helps."""

from __future__ import annotations

import ctypes
import os
import threading

import pytest

from zgen.io import copying

SIZE = (16 << 20) + 12_345


def copied() -> tuple[bytes, bytes]:
    source = os.urandom(1 << 16) * (SIZE // (1 << 16) + 1)
    room = ctypes.create_string_buffer(SIZE + 1)
    copying.copy(ctypes.addressof(room), memoryview(source)[:SIZE])
    return room.raw, source[:SIZE] + b"\0"


def test_a_large_part_is_copied_whole_by_several_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[threading.Thread] = []
    start = threading.Thread.start

    def note(self: threading.Thread) -> None:
        started.append(self)
        start(self)

    monkeypatch.setattr(threading.Thread, "start", note)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(3))
    room, expected = copied()
    assert room == expected
    assert len(started) == 2
    assert not any(thread.is_alive() for thread in started)


def test_where_no_thread_can_be_started_one_copies_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(3))
    room, expected = copied()
    assert room == expected
