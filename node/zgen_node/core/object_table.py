"""Regions of shared memory: whose they are, who holds them, and whether they are in memory.

Rules of this file: one record a region, from its grant until nobody needs it. How memory is made
and who waits for it is not known here.

Theory of operation. A region is *released* when its owner and its writer are done with it: by the
word of either, or because one is dead and the other dead too or the same. It is *over* when it is
released, nobody holds it and the disk is not at work on it; what is over is freed by the caller.
Who gets a region in memory holds it; a region that is written, in memory and held by nobody is
*idle* and may be spilled. Only its owner can make it so, since only what was reported is given up:
so nothing is spilled while it is being written.

Copies. A region of another node of which a copy lies here, or is on its way, is owned and written
by that node here, and "on disk" there. One that nobody holds is given up before anything is
spilled. A region knows where copies of it lie, so that they are told of its end. When its node is
gone, they are its owner's.

Deaths. What a dead process held goes at once. What it owned is released if no living writer is
left; the writer is told. What it wrote stays with the owners, who are told when the line of the
dead is quiet; until then ``told`` has it.
"""

from collections import OrderedDict
from dataclasses import field
from enum import Enum
from typing import Final

from zgen.core.lifecycle import Lifecycle
from zgen.core.marks import reached
from zgen.ids import PeerId, region_number
from zgen.slotted import slotted
from zgen.wire.session import Address
from zgen.wire.store import Place


class RegionState(Enum):
    """Where the bytes of a region are."""

    MEMORY = "memory"  #: at its place
    SPILLING = "spilling"  #: at its place, and the disk copies them
    SPILLED = "spilled"  #: on disk
    RESTORING = "restoring"  #: on disk, and being copied to its place
    OVER = "over"  #: nowhere


LEGAL: Final[dict[RegionState, tuple[RegionState, ...]]] = {
    RegionState.MEMORY: (RegionState.SPILLING, RegionState.OVER),
    RegionState.SPILLING: (RegionState.MEMORY, RegionState.SPILLED),
    RegionState.SPILLED: (RegionState.RESTORING, RegionState.OVER),
    RegionState.RESTORING: (RegionState.MEMORY, RegionState.OVER),
    RegionState.OVER: (),
}
_PLACED: Final = (RegionState.MEMORY, RegionState.SPILLING, RegionState.RESTORING)
_AT_REST: Final = (RegionState.MEMORY, RegionState.SPILLED)


@slotted
class Region:
    """Room for one value.

    Attributes:
        region: Its number.
        owner: Who owns the value.
        writer: Who writes it.
        room_bytes: Its bytes.
        place: Where it lies; None while it is SPILLED.
        life: Its state.
        holders: Who needs it where it is.
        is_written: Whether its place has all of its bytes, as far as this node can tell.
        owner_done: Whether its owner released it or is dead.
        writer_done: Whether its writer released it, or its owner did after a report, or it is dead
            and nobody is left who would want it.
        writer_dead: Whether its writer is dead.
        is_copy: Whether it is a copy of a region of another node, its owner.
        copied_to: Nodes that asked for a copy of it, and whether they have made it.
        owned_by: Who owns the value of a copy, as the node said that it came from.
    """

    region: int
    owner: PeerId
    writer: PeerId
    room_bytes: int
    place: Place | None
    life: Lifecycle[RegionState]
    holders: dict[PeerId, None] = field(default_factory=dict)
    is_written: bool = False
    owner_done: bool = False
    writer_done: bool = False
    writer_dead: bool = False
    is_copy: bool = False
    copied_to: dict[PeerId, bool] = field(default_factory=dict)
    owned_by: Address | None = None

    @property
    def state(self) -> RegionState:
        """Where its bytes are."""
        return self.life.state

    @property
    def is_released(self) -> bool:
        """Whether both its owner and its writer are done with it."""
        return self.owner_done and self.writer_done

    @property
    def is_over(self) -> bool:
        """Whether nobody needs it and nothing is at work on it."""
        return self.is_released and not self.holders and self.state in _AT_REST

    def story(self) -> str:
        """Return what it is and how it came to be so, for people."""
        return f"{self}\n{self.life.story()}"


class ObjectTable:
    """All regions of a node that are not over.

    Attributes:
        tag: The node's, which begins the numbers of its own regions.
        spilled_bytes: Bytes of those that are SPILLED.
        spilled_count: How many those are.
    """

    def __init__(self, tag: int = 0) -> None:
        """Start without regions; ``tag`` begins the numbers of those that are leased here."""
        self.tag = tag
        self.spilled_bytes = 0
        self.spilled_count = 0
        self._region_count = 0
        #: Number -> record. Added by ``lease``; removed by ``end``.
        self._regions: dict[int, Region] = {}
        #: Owner -> regions that it is not done with. Reverse of ``Region.owner``.
        self._owned: dict[PeerId, dict[int, None]] = {}
        #: Writer -> regions for others that neither is done with; of a dead one, until ``told``.
        self._written: dict[PeerId, dict[int, None]] = {}
        #: Holder -> regions. Reverse of ``Region.holders``.
        self._held: dict[PeerId, dict[int, None]] = {}
        #: Holder -> bytes of those.
        self._held_bytes: dict[PeerId, int] = {}
        #: Holder -> how many are copies; without zeroes.
        self._copies_held: dict[PeerId, int] = {}
        #: Regions that may be spilled, in the order in which they were given up.
        self._idle: OrderedDict[int, None] = OrderedDict()
        #: Copies that may be given up, likewise.
        self._idle_copies: OrderedDict[int, None] = OrderedDict()

    def __len__(self) -> int:
        """Return how many regions are not over."""
        return len(self._regions)

    def get(self, region: int) -> Region | None:
        """Return a region that is not over, or None."""
        return self._regions.get(region)

    def all(self) -> list[Region]:
        """Return all regions that are not over, eldest first."""
        return list(self._regions.values())

    def idle(self) -> Region | None:
        """Return the region that is to be spilled next, or None."""
        return self._regions[next(iter(self._idle))] if self._idle else None

    def idle_copy(self) -> Region | None:
        """Return the copy that is to be given up next, or None."""
        return self._regions[next(iter(self._idle_copies))] if self._idle_copies else None

    def copies_of(self, node: PeerId) -> list[Region]:
        """Return the copies of a node's regions, eldest first."""
        owned = [self._regions[number] for number in self._owned.get(node, {})]
        return [region for region in owned if region.is_copy]

    def owners(self) -> list[tuple[PeerId, int]]:
        """Return the owners that hold anything, and how many bytes each holds.

        Those who hold copies of what lies on other nodes may own that.
        """
        sizes = self._held_bytes
        owners = [(owner, sizes[owner]) for owner in self._owned if owner in sizes]
        owners += [(peer, sizes[peer]) for peer in self._copies_held if peer not in self._owned]
        return owners

    def holders(self, count: int) -> list[tuple[PeerId, int, int]]:
        """Return the largest holders, the largest first, with their bytes and regions."""
        rows = [(peer, size, len(self._held[peer])) for peer, size in self._held_bytes.items()]
        return sorted(rows, key=lambda row: -row[1])[:count]

    def lease(self, place: Place, owner: PeerId, writer: PeerId) -> Region:
        """Make a region for a writer; its owner holds it."""
        self._region_count += 1
        number = region_number(self.tag, self._region_count)
        life = Lifecycle(f"region {number}", LEGAL, RegionState.MEMORY)
        region = Region(number, owner, writer, place.room, place, life)
        self._regions[number] = region
        self._owned.setdefault(owner, {})[number] = None
        if writer != owner:
            self._written.setdefault(writer, {})[number] = None
        self._hold(region, owner)
        return region

    def copy(self, number: int, node: PeerId, room_bytes: int) -> Region:
        """Make a record of a region of another node, of which a copy is wanted here."""
        life = Lifecycle(f"copy {number}", LEGAL, RegionState.SPILLED)
        region = Region(number, node, node, room_bytes, None, life, is_written=True, is_copy=True)
        self._regions[number] = region
        self._owned.setdefault(node, {})[number] = None
        self._count_spilled(region, 1)
        return region

    def adopt(self, copy: Region, owner: PeerId) -> None:
        """Count a copy as this node's own, or its owner's, as the node of its region is gone."""
        _discard(self._owned, copy.owner, copy.region)
        copy.owner = copy.writer = owner
        if not copy.owner_done:
            self._owned.setdefault(owner, {})[copy.region] = None

    # -- holds -------------------------------------------------------------------------------------
    def hold(self, region: Region, peer: PeerId) -> None:
        """Have a process hold a region that is in memory, once."""
        assert region.state in (RegionState.MEMORY, RegionState.SPILLING), region.life.story()
        region.is_written = True  # whoever asks for it has learned of it by its report
        if peer not in region.holders:
            self._hold(region, peer)

    def unhold(self, region: Region, peer: PeerId) -> bool:
        """End a process's hold; return False if there is none."""
        if peer not in region.holders:
            return False
        del region.holders[peer]
        _discard(self._held, peer, region.region)
        self._held_bytes[peer] -= region.room_bytes
        if peer not in self._held:
            del self._held_bytes[peer]
        if region.is_copy:
            self._copies_held[peer] -= 1
            if not self._copies_held[peer]:
                del self._copies_held[peer]
        self._settle(region)
        return True

    def evict(self, region: Region) -> bool:
        """End the hold of its owner, who has learned of it; return False if there is none."""
        if region.owner not in region.holders:
            return False
        region.is_written = True
        return self.unhold(region, region.owner)

    # -- ends --------------------------------------------------------------------------------------
    def release(self, region: Region, unwritten: bool) -> None:
        """Take the word of its owner or its writer that both are done with it.

        What a dead process wrote counts as unwritten, unless anybody has learned of it.
        """
        if not unwritten and not region.writer_dead:
            region.is_written = True
        self._owner_done(region)
        self._writer_done(region)
        self.unhold(region, region.owner)
        self._settle(region)

    def end(self, region: Region, cause: str, now_ns: int) -> None:
        """Forget a region that is over, or whose bytes are lost."""
        if region.state is RegionState.SPILLED:
            self._count_spilled(region, -1)
        region.life.move(RegionState.OVER, now_ns, cause)
        assert not region.holders, region.life.story()
        self._owner_done(region)
        self._writer_done(region)
        self._idle_of(region).pop(region.region, None)
        del self._regions[region.region]

    def died(self, peer: PeerId) -> tuple[list[Region], dict[PeerId, list[int]]]:
        """Act on a death; ``told`` next, when its watchers are told.

        Returns:
            What may be over now; and each living writer's numbers of what it wrote for the dead.
        """
        touched: dict[int, Region] = {}
        orphans: dict[PeerId, list[int]] = {}
        for number in list(self._held.get(peer, {})):
            touched[number] = self._regions[number]
            self.unhold(touched[number], peer)
        for number in list(self._owned.get(peer, {})):
            region = touched[number] = self._regions[number]
            self._owner_done(region)
            if region.writer == peer or region.writer_dead:
                region.writer_dead = True
                self._writer_done(region)
                self._settle(region)
            else:
                orphans.setdefault(region.writer, []).append(number)
        for number in list(self._written.get(peer, {})):
            region = touched[number] = self._regions[number]
            region.writer_dead = True
            if region.owner_done:
                reached("writer died over what its dead owner left")
                self._writer_done(region)
                self._settle(region)
        return list(touched.values()), orphans

    def told(self, peer: PeerId) -> dict[PeerId, list[int]]:
        """Return for each living owner the numbers of what the dead wrote for it."""
        orphans: dict[PeerId, list[int]] = {}
        for number in self._written.pop(peer, {}):
            orphans.setdefault(self._regions[number].owner, []).append(number)
        return orphans

    # -- disk --------------------------------------------------------------------------------------
    def move(
        self, region: Region, to: RegionState, place: Place | None, cause: str, now_ns: int
    ) -> None:
        """Have a region be spilled or restored, one step further, or back."""
        if region.state is RegionState.SPILLED:
            self._count_spilled(region, -1)
        region.life.move(to, now_ns, cause)
        region.place = place
        if to is RegionState.SPILLED:
            self._count_spilled(region, 1)
        self._settle(region)

    def check(self) -> None:
        """Assert the invariants of every region."""
        held: dict[PeerId, int] = {}
        spilled: list[int] = []
        owned_count = written_count = held_count = 0
        for number, region in self._regions.items():
            assert region.state is not RegionState.OVER, region.story()
            assert not region.is_over, region.story()
            assert (region.place is not None) is (region.state in _PLACED), region.story()
            is_owned = number in self._owned.get(region.owner, {})
            assert is_owned is not region.owner_done, region.story()
            owned_count += not region.owner_done
            if number in self._written.get(region.writer, {}):
                written_count += 1
                assert not region.writer_done, region.story()
            else:
                alone = region.writer == region.owner
                assert region.writer_done or alone or region.writer_dead, region.story()
            assert (number in self._idle_of(region)) is self._is_idle(region), region.story()
            for peer in region.holders:
                assert region.state in (RegionState.MEMORY, RegionState.SPILLING), region.story()
                assert number in self._held[peer], region.story()
                held[peer] = held.get(peer, 0) + region.room_bytes
            held_count += len(region.holders)
            if region.state is RegionState.SPILLED and not region.is_copy:
                spilled.append(region.room_bytes)
        assert held == self._held_bytes
        copies = [region for region in self._regions.values() if region.is_copy]
        assert sum(self._copies_held.values()) == sum(len(copy.holders) for copy in copies)
        assert (sum(spilled), len(spilled)) == (self.spilled_bytes, self.spilled_count)
        indexes = (self._owned, self._written, self._held)
        counts = (owned_count, written_count, held_count)
        for index, count in zip(indexes, counts, strict=True):
            assert all(index.values()), "an empty row"
            assert sum(len(row) for row in index.values()) == count, "a row of nothing"
        assert all(number in self._regions for number in (*self._idle, *self._idle_copies))

    def _hold(self, region: Region, peer: PeerId) -> None:
        region.holders[peer] = None
        self._held.setdefault(peer, {})[region.region] = None
        self._held_bytes[peer] = self._held_bytes.get(peer, 0) + region.room_bytes
        if region.is_copy:
            self._copies_held[peer] = self._copies_held.get(peer, 0) + 1
        self._idle_of(region).pop(region.region, None)

    def _owner_done(self, region: Region) -> None:
        region.owner_done = True
        _discard(self._owned, region.owner, region.region)

    def _writer_done(self, region: Region) -> None:
        region.writer_done = True
        _discard(self._written, region.writer, region.region)

    def _is_idle(self, region: Region) -> bool:
        free = not region.holders and not region.is_released
        return free and region.is_written and region.state is RegionState.MEMORY

    def _settle(self, region: Region) -> None:
        """Note whether a region may be spilled."""
        idle = self._idle_of(region)
        if self._is_idle(region):
            idle.setdefault(region.region, None)
        else:
            idle.pop(region.region, None)

    def _idle_of(self, region: Region) -> OrderedDict[int, None]:
        return self._idle_copies if region.is_copy else self._idle

    def _count_spilled(self, region: Region, by: int) -> None:
        if not region.is_copy:
            self.spilled_bytes += by * region.room_bytes
            self.spilled_count += by


def _discard(index: dict[PeerId, dict[int, None]], peer: PeerId, number: int) -> None:
    """Remove a number from the row of a process, if it is there."""
    row = index.get(peer)
    if row is not None and number in row:
        del row[number]
        if not row:
            del index[peer]
