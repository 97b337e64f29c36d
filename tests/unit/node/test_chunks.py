"""Parts of regions: read from slabs, checked, written there."""

from __future__ import annotations

import os
from zlib import crc32

from tests.unit.node.fakes import NODE
from zgen.core.store_effects import ReadChunk, WriteChunk
from zgen.wire.store import Place
from zgen_node.io.chunks import read_chunk, write_chunk

PLACE = Place(1, 100, 400, 500, False)


class Slab:
    """A slab of 500 bytes; ``copy`` is what asks the node for a descriptor of it."""

    def __init__(self) -> None:
        self.fd = os.memfd_create("slab")
        os.ftruncate(self.fd, 500)

    def copy(self, slab: int) -> int:
        assert slab == 1
        return os.dup(self.fd)

    def close(self) -> None:
        os.close(self.fd)


def refuse(slab: int) -> int:
    raise OSError(12, "no memory")


def test_a_part_goes_from_one_slab_into_another() -> None:
    here, there = Slab(), Slab()
    os.pwrite(there.fd, b"value", 110)
    read = read_chunk(ReadChunk(NODE, 1, 7, PLACE, 10, 5), there.copy)
    assert (read.data, read.checksum, read.failure) == (b"value", crc32(b"value"), "")
    written = write_chunk(WriteChunk(2, 7, PLACE, 20, read.checksum, read.data), here.copy)
    assert (written.pull, written.offset, written.failure) == (2, 20, "")
    assert os.pread(here.fd, 5, 120) == b"value"
    here.close()
    there.close()


def test_what_came_damaged_is_not_written() -> None:
    here = Slab()
    written = write_chunk(WriteChunk(2, 7, PLACE, 20, 1, b"value"), here.copy)
    assert (written.is_damaged, bool(written.failure)) == (True, True)
    assert os.pread(here.fd, 5, 120) == bytes(5)
    here.close()


def test_what_cannot_be_done_is_said() -> None:
    read = read_chunk(ReadChunk(NODE, 1, 7, PLACE, 10, 5), refuse)
    assert (read.failure, read.data) == ("no memory", b"")
    written = write_chunk(WriteChunk(2, 7, PLACE, 20, crc32(b"v"), b"v"), refuse)
    assert written.failure.endswith("no memory")
    assert not written.is_damaged


def test_a_slab_that_ends_too_soon_is_a_failure() -> None:
    there = Slab()
    read = read_chunk(ReadChunk(NODE, 1, 7, PLACE, 398, 5), there.copy)
    assert read.failure == "the slab ends after 2 of 5 bytes"
    there.close()
