"""Parts of regions that go from one simulated node to another: lost, late, damaged, out of order.

What is sent is read when it leaves, which is some time after it was ordered: so a region that may
be freed meanwhile would show. A part is its region's token, made long. A copy is whole when parts
of one copying that have the same token cover it; until then it is torn.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from zlib import crc32

from zgen.core.store_effects import CloseCopy, ForgetLine, OpenCopy, SendChunks
from zgen.core.store_events import ChunksUnsent, ChunkWritten
from zgen.ids import PeerId, node_tag, region_tag
from zgen.limits import CHUNK_TRIES_COUNT_MAX, MS, US
from zgen_node.core import pulls

if TYPE_CHECKING:
    from tests.sim.memory import Memory

TORN = b"torn"
#: What is never a value.
WRONG = (b"", TORN, b"poison")


@dataclass(slots=True)
class Open:
    """A copy that is being written."""

    order: OpenCopy
    parts: dict[int, tuple[int, bytes]] = field(default_factory=dict)
    damaged: dict[int, int] = field(default_factory=dict)


class Chunks:
    """What one node sends to others, and writes of what they send."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        #: Node -> its memory; set by who knows several.
        self.others: dict[PeerId, Memory] = {}
        self._open: dict[int, Open] = {}
        #: Node -> when what was sent last leaves.
        self._leaves_ns: dict[PeerId, int] = {}
        self._forgotten: dict[PeerId, None] = {}

    def open(self, effect: OpenCopy) -> None:
        self._open[effect.pull] = Open(effect)

    def close(self, effect: CloseCopy) -> None:
        del self._open[effect.pull]

    def forget(self, effect: ForgetLine) -> None:
        self._forgotten[effect.node] = None

    def send(self, effect: SendChunks) -> None:
        memory = self.memory
        world, dice = memory.world, memory.world.random
        memory.slab_of(effect.place.slab, f"region {effect.region} sent")
        if dice.random() < memory.disk.unsent:
            memory.count("stretches unsent")
            self._lost(effect.region)
            unsent = ChunksUnsent(effect.node, effect.pull, effect.region, "no memory")
            world.post(memory.node, unsent)
            return
        end = effect.offset + effect.size_bytes
        part_bytes: int = vars(pulls)["CHUNK_BYTES"]  # as the run has set it
        for offset in range(effect.offset, end, part_bytes):
            size_bytes = min(part_bytes, end - offset)
            took_ns = dice.randrange(20 * US, memory.disk.part_ns_max)
            at_ns = max(world.now_ns, self._leaves_ns.get(effect.node, 0)) + took_ns
            self._leaves_ns[effect.node] = at_ns
            world.at(at_ns - world.now_ns, self._leave, (effect, offset, size_bytes))

    def _lost(self, region: int) -> None:
        """What its node cannot give is as good as lost."""
        for other in self.others.values():
            if node_tag(other.node.address.peer) == region_tag(region):
                other.lost[region] = None

    def _leave(self, effect: SendChunks, offset: int, size_bytes: int) -> None:
        """A part is on the wire; what lies at its place now is what it says."""
        memory, place, node = self.memory, effect.place, effect.node
        dice = memory.world.random
        if memory.node.dead or node in self._forgotten or node not in self.others:
            return
        slab = memory.slabs.get(place.slab)
        area = None if slab is None else slab.areas.get(place.offset)
        token = b"" if area is None else area.content
        memory.count("parts sent")
        if dice.random() < memory.disk.part_lost:
            memory.count("parts lost")
            return
        for _ in range(1 + (dice.random() < memory.disk.part_lost)):
            checksum = crc32(token)
            if dice.random() < memory.disk.damaged:
                checksum ^= 1
                memory.count("parts damaged")
            part = (effect.pull, effect.region, offset, size_bytes, token, checksum)
            late_ns = dice.randrange(20 * US, 2 * MS)
            memory.world.at(late_ns, self._arrive, (self.others[node], part))

    def _arrive(self, other: Memory, part: tuple[int, int, int, int, bytes, int]) -> None:
        ways = (self.memory.node.name, other.node.name)
        if not other.node.dead and self.memory.world.network.passes(*ways):
            other.chunks.take(*part)

    def take(
        self, pull: int, region: int, offset: int, size_bytes: int, token: bytes, checksum: int
    ) -> None:
        memory, copy = self.memory, self._open.get(pull)
        if copy is None or copy.order.region != region:
            return
        if crc32(token) != checksum:
            memory.world.post(memory.node, ChunkWritten(pull, offset, "damaged", True))
            copy.damaged[offset] = copy.damaged.get(offset, 0) + 1
            if copy.damaged[offset] == CHUNK_TRIES_COUNT_MAX:
                self._lost(region)
            return
        place = copy.order.place
        memory.require(token not in WRONG, f"region {region} is copied with {token!r} in it")
        memory.free_of_claims(place, f"region {region} copied")
        area = memory.touch(place)
        copy.parts[offset] = (size_bytes, token)
        whole = sum(size for size, _ in copy.parts.values()) == copy.order.size_bytes
        same = all(each == token for _, each in copy.parts.values())
        area.content = token if whole and same else TORN
        area.is_whole = area.is_whole or whole  # what had its pages keeps them
        if whole:
            memory.count("copied")
        memory.world.post(memory.node, ChunkWritten(pull, offset, "", False))
