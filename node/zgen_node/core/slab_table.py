"""Slabs of shared memory, cut into rooms of one size class each; warm, fresh, within capacity.

Rules of this file: which rooms are free, and what memory they take. What lies in a room, and who
holds it, is not known here.

Theory of operation. A room is free and *fresh* (it has no pages), taken, or free and *warm* (every
page exists, for ``REGION_WARM_NS`` or until other classes need the memory). Taken and warm rooms
count against the capacity, fresh ones do not. A warm room is taken first, the one freed last first;
the one that is free for longest is cooled first: its pages are punched out, which works though
others still map the slab. A slab of fresh rooms only is closed.

To make a page costs more than to write it. So when a large room is taken that is written for the
first time, the next one of its class is made ahead, while less than half of the capacity is used:
it counts as warm, and if it is taken before all its pages exist, as fresh to who writes it.
"""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from zgen.core.effects import (
    Effect,
)
from zgen.core.marks import reached
from zgen.core.store_effects import (
    CloseSlab,
    CreateSlab,
    PopulateSlab,
    PunchRegion,
)
from zgen.limits import (
    COOL_STEP_BYTES,
    POPULATE_BYTES_MAX,
    REGION_SHARED_BYTES_MAX,
    REGION_WARM_NS,
    SLAB_BYTES,
)
from zgen.slotted import slotted
from zgen.wire.store import Place

PAGE_BYTES: Final = 4096

#: Slab and offset.
_Room = tuple[int, int]


@slotted
class Slab:
    """One piece of shared memory.

    Attributes:
        slab: Its number.
        room_bytes: Bytes of each of its rooms.
        room_count: How many it has.
        size_bytes: Its bytes.
        fresh: Offsets of its free rooms without pages; the last is taken first.
    """

    slab: int
    room_bytes: int
    room_count: int
    size_bytes: int
    fresh: list[int]


class SlabTable:
    """All slabs of a node.

    Attributes:
        capacity_bytes: What taken and warm rooms may have together.
        used_bytes: What they have.
        warm_bytes: What the warm ones among them have.
    """

    def __init__(self, capacity_bytes: int) -> None:
        """Start without slabs."""
        self.capacity_bytes = capacity_bytes // PAGE_BYTES * PAGE_BYTES
        self.used_bytes = 0
        self.warm_bytes = 0
        self._slab_count = 0
        #: Number -> slab. Added by ``take``; removed when all its rooms are fresh.
        self._slabs: dict[int, Slab] = {}
        #: Size class -> slabs that have fresh rooms.
        self._open: dict[int, dict[int, None]] = {}
        #: Warm room -> when it was freed, the longest free first.
        self._warm: OrderedDict[_Room, int] = OrderedDict()
        #: Size class -> its warm rooms, the longest free first.
        self._warm_of: dict[int, OrderedDict[_Room, None]] = {}
        #: Slab that was made ahead -> whether its pages exist. Added by ``_make_ahead``; removed
        #: when its room is taken or cooled.
        self._ahead: dict[int, bool] = {}

    @property
    def next_deadline_ns(self) -> int | None:
        """When the next warm room is to be cooled, or None."""
        for freed_ns in self._warm.values():
            return freed_ns + REGION_WARM_NS
        return None

    def room_bytes(self, size_bytes: int) -> int | None:
        """Return the size class for this many bytes, or None if they exceed the capacity."""
        if size_bytes > self.capacity_bytes:
            return None
        return min(size_class(size_bytes), self.capacity_bytes)

    def has_warm(self, room_bytes: int) -> bool:
        """Return whether a warm room of this size class is free."""
        return room_bytes in self._warm_of

    def short_bytes(self, room_bytes: int) -> int:
        """Return how much has to be freed before a room of this class can be taken, at most 0."""
        if room_bytes in self._warm_of:
            return 0
        return max(0, self.used_bytes - self.warm_bytes + room_bytes - self.capacity_bytes)

    def take(self, room_bytes: int, now_ns: int, out: list[Effect]) -> Place | None:
        """Take a free room of a size class, or return None if that exceeds the capacity."""
        warm = self._warm_of.get(room_bytes)
        if warm is not None:
            room = next(reversed(warm))
            self._unwarm(room, room_bytes)
            slab = self._slabs[room[0]]
            is_populated = self._ahead.pop(slab.slab, None)
            if is_populated is not None:
                self._make_ahead(room_bytes, now_ns, out)
            is_warm = is_populated is not False
            return Place(slab.slab, room[1], room_bytes, slab.size_bytes, is_warm)
        if self.short_bytes(room_bytes):
            return None
        excess_bytes = self.used_bytes + room_bytes - self.capacity_bytes
        if excess_bytes > 0:
            reached("warm rooms of other classes punched")
            self._cool(self._oldest(excess_bytes), out)
        self.used_bytes += room_bytes
        slab = self._open_slab(room_bytes, out)
        offset = slab.fresh.pop()
        if not slab.fresh:
            _discard(self._open, room_bytes, slab.slab)
        if room_bytes > REGION_SHARED_BYTES_MAX:
            self._make_ahead(room_bytes, now_ns, out)
        return Place(slab.slab, offset, room_bytes, slab.size_bytes, False)

    def populated(self, slab: int) -> None:
        """A slab that was made ahead has all its pages, unless it was taken or closed meanwhile."""
        if slab in self._ahead:
            self._ahead[slab] = True
        else:
            reached("pages made ahead too late")

    def free(self, place: Place, is_written: bool, now_ns: int, out: list[Effect]) -> None:
        """Free a taken room: warm if all its pages exist, else fresh.

        Which pages exist of a fresh room that was not written as a whole is not known: it is
        punched.
        """
        if place.is_warm or is_written:
            self._set_warm((place.slab, place.offset), place.room, now_ns)
            return
        reached("fresh room freed that may be written in part")
        self._refresh(self._slabs[place.slab], [place.offset], out)

    def on_timer(self, now_ns: int, out: list[Effect]) -> None:
        """Cool the rooms that stayed free for long, in steps that keep nobody waiting."""
        due: list[_Room] = []
        due_bytes = 0
        for room, freed_ns in self._warm.items():
            if freed_ns + REGION_WARM_NS > now_ns or due_bytes >= COOL_STEP_BYTES:
                break
            due.append(room)
            due_bytes += self._slabs[room[0]].room_bytes
        self._cool(due, out)

    def check(self) -> None:
        """Assert that every room is counted once, and all together are within capacity."""
        used_bytes = 0
        for number, slab in self._slabs.items():
            assert len(dict.fromkeys(slab.fresh)) == len(slab.fresh) < slab.room_count
            assert slab.room_bytes * slab.room_count <= slab.size_bytes
            used_bytes += (slab.room_count - len(slab.fresh)) * slab.room_bytes
            assert bool(slab.fresh) is (number in self._open.get(slab.room_bytes, {}))
        assert used_bytes == self.used_bytes <= self.capacity_bytes
        warm_bytes = 0
        for room_bytes, rooms in self._warm_of.items():
            assert rooms, "a size class without its warm rooms"
            warm_bytes += room_bytes * len(rooms)
            for number, offset in rooms:
                assert (number, offset) in self._warm
                assert offset not in self._slabs[number].fresh, "a room that is warm and fresh"
        assert warm_bytes == self.warm_bytes <= self.used_bytes
        assert sum(len(rooms) for rooms in self._warm_of.values()) == len(self._warm)
        assert all(self._open.values()), "a size class without its open slabs"
        freed = list(self._warm.values())
        assert freed == sorted(freed)
        assert all((slab, 0) in self._warm for slab in self._ahead), "made ahead, and not free"

    def _oldest(self, size_bytes: int) -> list[_Room]:
        """Return the longest free rooms that have this many bytes together."""
        rooms: list[_Room] = []
        for room in self._warm:
            if size_bytes <= 0:
                break
            rooms.append(room)
            size_bytes -= self._slabs[room[0]].room_bytes
        return rooms

    def _cool(self, rooms: Iterable[_Room], out: list[Effect]) -> None:
        """Punch out the pages of warm rooms."""
        offsets: dict[int, list[int]] = {}
        for room in rooms:
            self._unwarm(room, self._slabs[room[0]].room_bytes)
            self._ahead.pop(room[0], None)
            offsets.setdefault(room[0], []).append(room[1])
        for number, of_slab in offsets.items():
            self._refresh(self._slabs[number], of_slab, out)

    def _refresh(self, slab: Slab, offsets: list[int], out: list[Effect]) -> None:
        """Punch rooms of one slab, which are fresh then; close the slab if it has no others."""
        slab.fresh.extend(offsets)
        self.used_bytes -= slab.room_bytes * len(offsets)
        if len(slab.fresh) == slab.room_count:
            out.append(PunchRegion(slab.slab, 0, slab.size_bytes))
            out.append(CloseSlab(slab.slab))
            del self._slabs[slab.slab]
            _discard(self._open, slab.room_bytes, slab.slab)
            return
        self._open.setdefault(slab.room_bytes, {})[slab.slab] = None
        out.extend(PunchRegion(slab.slab, offset, slab.room_bytes) for offset in offsets)

    def _open_slab(self, room_bytes: int, out: list[Effect]) -> Slab:
        """Return a slab that has a fresh room of this class, a new one if there is none."""
        for number in self._open.get(room_bytes, {}):
            return self._slabs[number]
        return self._new_slab(room_bytes, out)

    def _make_ahead(self, room_bytes: int, now_ns: int, out: list[Effect]) -> None:
        """Make the next large room of a class before it is wanted, where memory is plenty."""
        is_plenty = self.used_bytes + room_bytes <= self.capacity_bytes // 2
        if room_bytes > POPULATE_BYTES_MAX or room_bytes in self._warm_of or not is_plenty:
            return
        slab = self._new_slab(room_bytes, out)
        slab.fresh.clear()
        _discard(self._open, room_bytes, slab.slab)
        self.used_bytes += room_bytes
        self._ahead[slab.slab] = False
        self._set_warm((slab.slab, 0), room_bytes, now_ns)
        out.append(PopulateSlab(slab.slab, slab.size_bytes))

    def _set_warm(self, room: _Room, room_bytes: int, now_ns: int) -> None:
        self._warm[room] = now_ns
        self._warm_of.setdefault(room_bytes, OrderedDict())[room] = None
        self.warm_bytes += room_bytes

    def _new_slab(self, room_bytes: int, out: list[Effect]) -> Slab:
        shared = room_bytes <= REGION_SHARED_BYTES_MAX
        size_bytes = SLAB_BYTES if shared else room_bytes
        count = size_bytes // room_bytes
        self._slab_count += 1
        fresh = [index * room_bytes for index in reversed(range(count))]
        slab = Slab(self._slab_count, room_bytes, count, size_bytes, fresh)
        self._slabs[slab.slab] = slab
        self._open.setdefault(room_bytes, {})[slab.slab] = None
        out.append(CreateSlab(slab.slab, size_bytes, shared))
        return slab

    def _unwarm(self, room: _Room, room_bytes: int) -> None:
        del self._warm[room]
        rooms = self._warm_of[room_bytes]
        del rooms[room]
        if not rooms:
            del self._warm_of[room_bytes]
        self.warm_bytes -= room_bytes


def size_class(size_bytes: int) -> int:
    """Return the size class for this many bytes: the next of 8 or 16 steps in each power of two."""
    size_bytes = max(size_bytes, 1)
    steps = 8 if size_bytes <= REGION_SHARED_BYTES_MAX else 16
    step = max((1 << (size_bytes - 1).bit_length()) // 2 // steps, PAGE_BYTES)
    return -(-size_bytes // step) * step


def _discard(slabs_of: dict[int, dict[int, None]], room_bytes: int, slab: int) -> None:
    """Remove a slab from the row of its size class, if it is there."""
    slabs = slabs_of.get(room_bytes, {})
    if slab in slabs:
        del slabs[slab]
        if not slabs:
            del slabs_of[room_bytes]
