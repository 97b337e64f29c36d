"""Parts of regions that go from one simulated node to another: what is read, and what comes of it.

A part is its region's token, made long. A copy is whole when parts of one copying that have the
same token cover it; until then it is torn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from zlib import crc32

from zgen.core.store_effects import ReadChunk, WriteChunk
from zgen.core.store_events import ChunkRead, ChunkWritten

if TYPE_CHECKING:
    from tests.sim.memory import Memory

TORN = b"torn"
#: What is never a value.
WRONG = (b"", TORN, b"poison")


class Chunks:
    """What one node reads for others, and copies from them."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        #: Slab and offset -> number of the copying, and what came: offset -> size and token.
        self._parts: dict[tuple[int, int], tuple[int, dict[int, tuple[int, bytes]]]] = {}

    def read(self, effect: ReadChunk) -> None:
        memory, place = self.memory, effect.place
        area = memory.slab_of(place.slab, f"region {effect.region} read").areas.get(place.offset)
        token = b"" if area is None else area.content
        what = f"region {effect.region} is copied with {token!r} in it"
        memory.require(token not in WRONG, what)
        data = token.ljust(effect.size_bytes, b" ")
        memory.count("parts read")
        checksum = crc32(data)
        if memory.world.random.random() < memory.disk.damaged:
            checksum ^= 1
            memory.count("parts damaged")
        read = ChunkRead(effect.node, effect.pull, effect.region, effect.offset, checksum, data, "")
        memory.world.post(memory.node, read)

    def write(self, effect: WriteChunk) -> None:
        memory, place = self.memory, effect.place
        if crc32(effect.data) != effect.checksum:
            damaged = ChunkWritten(effect.pull, effect.offset, "damaged", True)
            memory.world.post(memory.node, damaged)
            return
        memory.free_of_claims(place, f"region {effect.region} copied")
        area = memory.touch(place)
        key = (place.slab, place.offset)
        pull, parts = self._parts.get(key, (0, {}))
        if pull != effect.pull:
            pull, parts = self._parts[key] = effect.pull, {}
        token = effect.data.rstrip(b" ")
        parts[effect.offset] = (len(effect.data), token)
        whole = sum(size for size, _ in parts.values()) == place.room
        same = all(each == token for _, each in parts.values())
        area.content = token if whole and same else TORN
        area.is_whole |= whole  # pages that are there stay
        if whole:
            memory.count("copied")
        memory.world.post(memory.node, ChunkWritten(effect.pull, effect.offset, "", False))
