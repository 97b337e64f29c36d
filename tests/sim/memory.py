"""Shared memory and disk of a simulated node, and who may look where: P3 and P4 of large values.

Theory of operation. A region's content is one short token: the data of the value that was written
there. What is being written is torn, what is freed or punched is poison. Whoever writes a region or
has a view of it has a claim on its place as long as it lives; nothing may happen there meanwhile.
What a view finds when it is opened, and again when it goes, must be what was written for its value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.sim.chunks import Chunks
from zgen.core.effects import (
    Effect,
)
from zgen.core.store_effects import (
    CloseCopy,
    CloseSlab,
    CreateSlab,
    ForgetLine,
    ForgetSpilled,
    OpenCopy,
    PopulateSlab,
    PunchRegion,
    RestoreRegion,
    SendChunks,
    SpillRegion,
)
from zgen.core.store_events import (
    RegionRestored,
    RegionSpilled,
    SlabPopulated,
)
from zgen.limits import MS, US
from zgen.sim.oracle import Oracle
from zgen.sim.world import Life, World
from zgen.wire.store import Place

TORN = b"torn"
POISON = b"poison"
NO_SPACE = "no space left on device"


@dataclass(slots=True)
class Disk:
    """How bad the disk is. Chances are per order, from 0 to 1.

    Attributes:
        full: It has no room for a region.
        broken: It cannot write a region for another reason.
        corrupt: It does not give back what it took.
        damaged: A part that another node copies arrives damaged.
        part_lost: It does not arrive; as often it arrives twice.
        unsent: A stretch of parts cannot be sent.
        part_ns_max: The longest that a part takes to leave.
        order_ns_max: The longest that an order takes.
    """

    full: float = 0.0
    broken: float = 0.0
    corrupt: float = 0.0
    damaged: float = 0.0
    part_lost: float = 0.0
    unsent: float = 0.0
    part_ns_max: int = 1 * MS
    order_ns_max: int = 2 * MS


@dataclass(slots=True)
class Area:
    """A part of a slab that something was written into since it was created or punched.

    Attributes:
        room: Its bytes.
        content: What lies there.
        is_whole: Whether all its pages exist.
    """

    room: int
    content: bytes
    is_whole: bool = False


@dataclass(slots=True)
class Slab:
    """One slab.

    Attributes:
        number: Its number.
        size_bytes: Its bytes.
        areas: What has pages, by offset.
    """

    number: int
    size_bytes: int
    areas: dict[int, Area] = field(default_factory=dict)

    def at(self, offset: int, room: int) -> Area:
        """Return the area of a region, as it is or new."""
        return self.areas.setdefault(offset, Area(room, b""))


@dataclass(slots=True)
class Claim:
    """A view, or a value that is being written.

    Attributes:
        life: Whose.
        region: Of which region.
        place: Where.
        content: What lies there, or will.
        views: How many views; 0 for a writer.
        owner: For whom it is written; None for views.
    """

    life: Life
    region: int
    place: Place
    content: bytes
    views: int
    owner: Life | None = None


def overlap(one: Place, slab: int, offset: int, room: int) -> bool:
    return one.slab == slab and one.offset < offset + room and offset < one.offset + one.room


class Memory(Oracle):
    """Slabs and disk of one life of a node.

    Attributes:
        node: The node.
        capacity_bytes: What it may use of memory.
        disk: How bad its disk is.
        disk_content: Region -> what was spilled. Added when a spill ends; removed by a restore and
            by ``ForgetSpilled``.
        claims: (number of a life, region) -> its claim. Added by ``give`` and ``open_view``;
            removed by ``let_go``, ``close_view`` and ``forget``.
        lost: Regions that did not come back from disk.
        counts: What happened, by name; of all memories of a run.
    """

    promise = "P3"

    def __init__(
        self, world: World, node: Life, capacity_bytes: int, disk: Disk, counts: dict[str, int]
    ) -> None:
        self.world = world
        self.node = node
        self.capacity_bytes = capacity_bytes
        self.disk = disk
        self.slabs: dict[int, Slab] = {}
        self.disk_content: dict[int, bytes] = {}
        self.claims: dict[tuple[int, int], Claim] = {}
        self.lost: dict[int, None] = {}
        self.counts = counts
        #: Slab and offset of what the disk writes to. Added by a restore; removed when it is done.
        self._restoring: dict[tuple[int, int], int] = {}
        self.chunks = Chunks(self)
        self._used_bytes = 0
        self._disk_free_ns = 0
        self._acts: dict[type, Callable[[Any], None]] = {
            CreateSlab: self._create_slab,
            PopulateSlab: self._populate_slab,
            CloseSlab: self._close_slab,
            PunchRegion: self._punch,
            SpillRegion: self._spill,
            RestoreRegion: self._restore,
            ForgetSpilled: self._forget_spilled,
            SendChunks: self.chunks.send,
            ForgetLine: self.chunks.forget,
            OpenCopy: self.chunks.open,
            CloseCopy: self.chunks.close,
        }

    # -- what processes do -------------------------------------------------------------------------
    def give(self, life: Life, owner: Life, region: int, place: Place, content: bytes) -> None:
        """A writer is given a region for a value of ``owner``."""
        self.free_of_claims(place, f"region {region} given to {life.name}")
        slab = self.slab_of(place.slab, f"region {region} given to {life.name}")
        area = slab.areas.get(place.offset)
        if place.is_warm:
            self.require(
                area is not None and area.is_whole and area.room == place.room,
                f"region {region} is called warm and has no pages: SIGBUS",
            )
        self.count("regions given")
        self.claims[life.number, region] = Claim(life, region, place, content, 0, owner)

    def begin_write(self, life: Life, region: int) -> None:
        """A writer begins to write what it said."""
        place = self.claims[life.number, region].place
        self.touch(place).content = TORN

    def end_write(self, life: Life, region: int) -> None:
        """A writer is through; its claim stays until it says what it wrote."""
        claim = self.claims[life.number, region]
        area = self.slab_of(claim.place.slab, f"{life.name} writes region {region}").at(
            claim.place.offset, claim.place.room
        )
        self.require(area.content == TORN, f"region {region} was changed under its writer")
        area.content, area.is_whole = claim.content, True

    def let_go(self, life: Life, region: int) -> None:
        """A writer reports the region, or gives it back unused."""
        del self.claims[life.number, region]

    def open_view(self, life: Life, region: int, place: Place, content: bytes) -> None:
        """A process has one view more of a value; it finds there what was written."""
        key = (life.number, region)
        claim = self.claims.get(key)
        if claim is None or not claim.views:
            claim = self.claims[key] = Claim(life, region, place, content, 0)
            self.count("views opened")
        else:
            same = (claim.place.slab, claim.place.offset) == (place.slab, place.offset)
            self.require(same, f"{life.name} views region {region} at two places")
        claim.views += 1
        self._look(claim, "opened")

    def close_view(self, life: Life, region: int) -> None:
        """A view goes; what lay there is still there."""
        claim = self.claims[life.number, region]
        self._look(claim, "closed")
        claim.views -= 1
        if not claim.views:
            del self.claims[life.number, region]

    def writers(self) -> list[Life]:
        """Return who writes just now."""
        return [claim.life for claim in self.claims.values() if not claim.views]

    def owners(self) -> list[Life]:
        """Return for whom others write just now."""
        claims = self.claims.values()
        return [each.owner for each in claims if each.owner and each.owner is not each.life]

    def readers(self) -> list[Life]:
        """Return who has views."""
        return [claim.life for claim in self.claims.values() if claim.views]

    def forget(self, life: Life) -> None:
        """A process died."""
        for key in [key for key in self.claims if key[0] == life.number]:
            del self.claims[key]

    # -- what the node does ------------------------------------------------------------------------
    def perform(self, effect: Effect) -> bool:
        """Do what the node asks for; return whether it is of memory or disk."""
        act = self._acts.get(type(effect))
        if act is not None:
            act(effect)
        return act is not None

    def free(self, region: int, place: Place) -> None:
        """The node counts the place of a region as free: whoever looks there finds poison."""
        self.free_of_claims(place, f"region {region} freed")
        slab = self.slabs.get(place.slab)
        key = (place.slab, place.offset)
        if slab is None or place.offset not in slab.areas or key in self._restoring:
            return  # what was freed in this step may have been taken again for what is on disk
        slab.areas[place.offset].content = POISON

    def is_empty(self) -> bool:
        """Return whether no page and nothing on disk is left."""
        return not self._used_bytes and not self.disk_content

    def _create_slab(self, effect: CreateSlab) -> None:
        self.require(effect.slab not in self.slabs, f"slab {effect.slab} is created again")
        self.slabs[effect.slab] = Slab(effect.slab, effect.size_bytes)

    def _close_slab(self, effect: CloseSlab) -> None:
        slab = self.slab_of(effect.slab, "slab closed")
        for claim in self.claims.values():
            self.require(claim.place.slab != slab.number, f"closed under {self._show(claim)}")
        self._used_bytes -= sum(area.room for area in slab.areas.values())
        del self.slabs[effect.slab]

    def _populate_slab(self, effect: PopulateSlab) -> None:
        self.slab_of(effect.slab, "slab populated")
        took_ns = self.world.random.randrange(50 * US, self.disk.order_ns_max)
        self.world.at(took_ns, self._do, (self._populated, (effect,)))

    def _populated(self, effect: PopulateSlab) -> None:
        slab = self.slabs.get(effect.slab)
        if slab is not None:  # else what has pages went with the last descriptor
            place = Place(effect.slab, 0, effect.size_bytes, effect.size_bytes, False)
            is_empty = not slab.areas
            area = self.touch(place)
            area.content, area.is_whole = POISON if is_empty else area.content, True
        self.count("slabs populated")
        self.world.post(self.node, SlabPopulated(effect.slab))

    def _punch(self, effect: PunchRegion) -> None:
        slab = self.slab_of(effect.slab, "punched")
        place = Place(effect.slab, effect.offset, effect.size_bytes, slab.size_bytes, False)
        self.free_of_claims(place, f"slab {effect.slab} punched at {effect.offset}")
        self.count("punched")
        for offset, area in list(slab.areas.items()):
            if overlap(place, effect.slab, offset, area.room):
                whole = effect.offset <= offset and (
                    offset + area.room <= effect.offset + effect.size_bytes
                )
                self.require(whole, f"a part of the area at {offset} of slab {effect.slab} punched")
                self._used_bytes -= area.room
                del slab.areas[offset]

    def _spill(self, effect: SpillRegion) -> None:
        place = effect.place
        for claim in self.claims.values():
            writes = not claim.views and overlap(claim.place, place.slab, place.offset, place.room)
            self.require(not writes, f"region {effect.region} spilled under {self._show(claim)}")
        slab = self.slab_of(place.slab, f"region {effect.region} spilled")
        content = slab.at(place.offset, place.room).content
        self.require(
            content not in (b"", TORN, POISON),
            f"region {effect.region} is spilled with {content!r} in it",
        )
        self._order(self._spilled, (effect, content))

    def _spilled(self, effect: SpillRegion, content: bytes) -> None:
        dice = self.world.random.random()
        failure = ""
        if dice < self.disk.full:
            failure = NO_SPACE
        elif dice < self.disk.full + self.disk.broken:
            failure = "input/output error"
        else:
            self.disk_content[effect.region] = content
        self.count("spills failed" if failure else "spilled")
        spilled = RegionSpilled(effect.region, failure, failure is NO_SPACE)
        self.world.post(self.node, spilled)

    def _restore(self, effect: RestoreRegion) -> None:
        self.free_of_claims(effect.place, f"region {effect.region} restored")
        self.touch(effect.place).content = TORN
        self._restoring[effect.place.slab, effect.place.offset] = effect.region
        self._order(self._restored, (effect,))

    def _restored(self, effect: RestoreRegion) -> None:
        region, place = effect.region, effect.place
        del self._restoring[place.slab, place.offset]
        self.require(region in self.disk_content, f"region {region} restored, it is not on disk")
        failure = ""
        if self.world.random.random() < self.disk.corrupt:
            failure = "checksum differs"
            self.lost[region] = None
        else:
            slab = self.slab_of(place.slab, f"region {region} restored")
            area = slab.at(place.offset, place.room)
            self.require(area.content == TORN, f"region {region}: changed while it was restored")
            area.content, area.is_whole = self.disk_content[region], True
        del self.disk_content[region]
        self.count("restores failed" if failure else "restored")
        self.world.post(self.node, RegionRestored(region, failure))

    def _forget_spilled(self, effect: ForgetSpilled) -> None:
        self._order(lambda region: self.disk_content.pop(region, None), (effect.region,))

    def _order(self, act: Callable[..., object], arguments: tuple[object, ...]) -> None:
        """Let the disk do something after all that it was told before."""
        took_ns = self.world.random.randrange(50 * US, self.disk.order_ns_max)
        self._disk_free_ns = max(self._disk_free_ns, self.world.now_ns) + took_ns
        self.world.at(self._disk_free_ns - self.world.now_ns, self._do, (act, arguments))

    def _do(self, act: Callable[..., object], arguments: tuple[object, ...]) -> None:
        if not self.node.dead:
            act(*arguments)

    # -- inside ------------------------------------------------------------------------------------
    def touch(self, place: Place) -> Area:
        """Return the area of a place, whose pages begin to exist now if they did not."""
        slab = self.slab_of(place.slab, f"touched at {place.offset}")
        self.require(place.offset + place.room <= slab.size_bytes, f"{place} is past its slab")
        for offset, area in slab.areas.items():
            if overlap(place, slab.number, offset, area.room):
                same = (offset, area.room) == (place.offset, place.room)
                self.require(same, f"{place} overlaps the area at {offset}")
        if place.offset not in slab.areas:
            self._used_bytes += place.room
            self.require(
                self._used_bytes <= self.capacity_bytes,
                f"{self._used_bytes} bytes have pages, the store has {self.capacity_bytes}",
            )
        return slab.at(place.offset, place.room)

    def slab_of(self, number: int, what: str) -> Slab:
        self.require(number in self.slabs, f"slab {number} is not there: {what}")
        return self.slabs[number]

    def _look(self, claim: Claim, when: str) -> None:
        if claim.place.slab not in self.slabs and self.node.dead:
            return  # its maps stay, and nobody writes there any more
        slab = self.slab_of(claim.place.slab, self._show(claim))
        area = slab.areas.get(claim.place.offset)
        content = b"" if area is None else area.content
        self.require(content == claim.content, f"{self._show(claim)}, {when}, finds {content!r}")

    def free_of_claims(self, place: Place, what: str) -> None:
        for claim in self.claims.values():
            hit = overlap(claim.place, place.slab, place.offset, place.room)
            self.require(not hit, f"{what} under {self._show(claim)}")

    def _show(self, claim: Claim) -> str:
        kind = f"{claim.views} views" if claim.views else "the writing"
        return f"{kind} of region {claim.region} by {claim.life.name} ({claim.content!r})"

    def count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1
