"""Slabs of a node that is not there: memfds of this process, given out as the node would."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from zgen.exceptions import NodeDiedError
from zgen.io.shared_memory import SharedMemory
from zgen.wire.store import Place


class Slabs:
    """Slabs by number; counts what is asked for."""

    def __init__(self) -> None:
        self.files: dict[int, int] = {}
        self.asked: list[tuple[int, bool]] = []
        self.is_dead = False

    def make(
        self,
        size_bytes: int,
        *,
        offset: int = 0,
        room: int = 0,
        warm: bool = False,
        folder: int | None = None,
    ) -> Place:
        """Make a slab with one region, a file of ``folder`` if given; a warm one has all pages."""
        slab = len(self.files) + 1
        if folder is None:
            self.files[slab] = os.memfd_create(f"slab {slab}")
        else:
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
            self.files[slab] = os.open(str(slab), flags, dir_fd=folder)
        os.ftruncate(self.files[slab], size_bytes)
        if warm:
            os.pwrite(self.files[slab], b"\xaa" * size_bytes, 0)
        return Place(slab, offset, room or size_bytes, size_bytes, warm)

    def content(self, place: Place) -> bytes:
        """Return what lies in a region."""
        return os.pread(self.files[place.slab], place.room, place.offset)

    def fetch(self, slab: int, *, write: bool) -> int:
        self.asked.append((slab, write))
        if self.is_dead:
            raise NodeDiedError("", "killed")
        path = f"/proc/self/fd/{self.files[slab]}"
        return os.open(path, (os.O_RDWR if write else os.O_RDONLY) | os.O_CLOEXEC)

    def close(self) -> None:
        """Nothing is open."""


@contextmanager
def slabs() -> Iterator[Slabs]:
    """Make slabs that are gone after the block."""
    made = Slabs()
    try:
        yield made
    finally:
        for file in made.files.values():
            os.close(file)


def make_memory(slabs: Slabs) -> SharedMemory:
    """Make the shared memory of a process of that node."""
    memory = SharedMemory("/nowhere", lambda: None)
    memory._descriptors = slabs  # type: ignore[assignment]  # all that is used of it
    return memory
