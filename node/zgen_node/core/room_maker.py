"""Room for regions: who gets it next, what is spilled for it, which owner is asked to give up.

Rules of this file: joins the tables of rooms, regions, requests and questions; knows no messages
but what it sends. Who may ask for what is checked before.

Theory of operation. Every step of the node ends with one look at the queue, if anything changed:
what is to come back from disk first, then writers in order of arrival. The first that does not fit
stops the look, so that large ones do not starve, unless it is held back. For it room is made: what
is idle is spilled, no more than it lacks; if that is not enough, one owner is asked to give
something up. A disk that fails is left alone for ``DISK_AGAIN_NS``, and nobody is asked meanwhile.
Copies of what lies on other nodes are not spilled: idle ones go before anything else does.
"""

from collections.abc import Callable

from zgen.core.deadlines import earliest
from zgen.core.effects import (
    Effect,
    Send,
)
from zgen.core.marks import reached
from zgen.core.store_effects import (
    ForgetSpilled,
    RestoreRegion,
    SpillRegion,
)
from zgen.core.store_events import (
    RegionSpilled,
)
from zgen.ids import NO_STREAM, PeerId
from zgen.limits import (
    DISK_AGAIN_NS,
    EVICT_AGAIN_NS,
    EVICT_PARTS_COUNT,
    REGIONS_AHEAD_BYTES_MAX,
    REGIONS_AHEAD_COUNT_MAX,
    STORE_FULL_NS,
)
from zgen.wire.store import AskEvict, LeasedRegion, Place, RegionsLeased
from zgen_node.core.evictions import Evictions
from zgen_node.core.object_table import ObjectTable, Region, RegionState
from zgen_node.core.room_queue import Request, RoomQueue
from zgen_node.core.slab_table import SlabTable

#: Has a region of another node copied to its place.
Pull = Callable[[Region, int, list[Effect]], None]


class RoomMaker:
    """The memory of a node's object store and everybody who waits for some.

    Attributes:
        slabs: The memory.
        objects: Regions.
        queue: Who waits for room.
        evictions: Which owners were asked to give something up.
        disk_failed: The last failure to spill, if none has worked since.
    """

    def __init__(
        self, capacity_bytes: int, tag: int, pull: Pull, is_here: Callable[[PeerId], bool]
    ) -> None:
        """Start empty.

        Args:
            capacity_bytes: Bytes of memory.
            tag: Begins the numbers of regions.
            pull: Has a region of another node copied to its place.
            is_here: Whether an owner is of this node, and so can be asked.
        """
        self.slabs = SlabTable(capacity_bytes)
        self.objects = ObjectTable(tag)
        self._pull = pull
        self._is_here = is_here
        self.queue = RoomQueue()
        self.evictions = Evictions()
        self.disk_failed: RegionSpilled | None = None
        #: When the disk, which took nothing, is tried again; None if it may be tried now.
        self._disk_again_ns: int | None = None
        #: Number -> region that is SPILLING, and since when.
        self._spilling: dict[int, tuple[Region, int]] = {}
        #: Whether something changed since ``place`` that may let a request be met.
        self._changed = False

    @property
    def next_deadline_ns(self) -> int | None:
        """When ``on_timer`` is wanted, or None."""
        due_ns = earliest((self.queue.deadlines, self.evictions.deadlines))
        several = (due_ns, self.slabs.next_deadline_ns, self._disk_again_ns)
        return min([each_ns for each_ns in several if each_ns is not None], default=None)

    def changed(self) -> None:
        """Have the next ``place`` look again."""
        self._changed = True

    def place(self, now_ns: int, out: list[Effect]) -> None:
        """Meet what can be met now, and make room for the first that cannot."""
        while self._changed:  # again where a copy went for it
            self._changed = False
            self._look(now_ns, out)

    def _look(self, now_ns: int, out: list[Effect]) -> None:
        for request in self.queue.restores():
            place = self.slabs.take(request.room_bytes, now_ns, out)
            if place is None:
                self._make_room(request, now_ns, out)
                return
            self.queue.end(request)
            assert request.region is not None
            region = self.objects.get(request.region)
            assert region is not None, f"region {request.region} is to come back, but unknown"
            self.objects.move(region, RegionState.RESTORING, place, "wanted", now_ns)
            if region.is_copy:
                self._pull(region, now_ns, out)
            else:
                out.append(RestoreRegion(region.region, place))
        full: dict[int, None] = {}  # size classes without room, so that each is tried once
        for request in self.queue.wants():
            size = request.room_bytes
            place = self.slabs.take(size, now_ns, out) if size not in full else None
            if place is not None:
                self._lease(request, place, now_ns, out)
            elif not request.held_back:
                self._make_room(request, now_ns, out)
                return
            else:
                full[size] = None

    def finish(self, region: Region, now_ns: int, out: list[Effect]) -> bool:
        """Free a region if nobody needs it; return whether nobody does."""
        self._changed = True
        if not region.is_over:
            return False
        self.objects.end(region, "nobody needs it", now_ns)
        if region.place is None:
            self.queue.end_restore(region.region)
            if not region.is_copy:
                out.append(ForgetSpilled(region.region))
        else:
            self.free(region.place, region.is_written, now_ns, out)
        return True

    def free(self, place: Place, is_written: bool, now_ns: int, out: list[Effect]) -> None:
        """Free the memory of a region."""
        self.slabs.free(place, is_written, now_ns, out)
        self.queue.made_room(now_ns)
        self._changed = True

    def spilled(self, region: Region, event: RegionSpilled, now_ns: int, out: list[Effect]) -> None:
        """Free what the disk took in, unless somebody holds it again; ``finish`` next."""
        del self._spilling[event.region]
        self._changed = True
        place = region.place
        assert place is not None, region.life.story()
        if event.failure:
            self.disk_failed = event
            self._disk_again_ns = now_ns + DISK_AGAIN_NS
            self.objects.move(region, RegionState.MEMORY, place, "not spilled", now_ns)
            return
        self.disk_failed = None
        if region.holders:
            reached("region held while it was spilled")
            out.append(ForgetSpilled(event.region))
            self.objects.move(region, RegionState.MEMORY, place, "held again", now_ns)
            return
        self.objects.move(region, RegionState.SPILLED, None, "on disk", now_ns)
        self.free(place, True, now_ns, out)

    def on_timer(self, now_ns: int, out: list[Effect]) -> list[Request]:
        """Cool what is free for long; return the requests that waited for long enough."""
        self.slabs.on_timer(now_ns, out)
        self._changed |= self.evictions.on_timer(now_ns)
        if self._disk_again_ns is not None and self._disk_again_ns <= now_ns:
            self._disk_again_ns = None
            self._changed = True
        due_ns = self.queue.deadlines.next_ns
        self._changed |= due_ns is not None and due_ns <= now_ns  # something is held back no more
        overdue = self.queue.on_timer(now_ns)
        if any(since_ns + STORE_FULL_NS > now_ns for _, since_ns in self._spilling.values()):
            for request in overdue:
                reached("request waits for a spill on its way")
                self.queue.postpone(request, now_ns + EVICT_AGAIN_NS)
            return []
        return overdue

    def check(self) -> None:
        """Assert every invariant, of each table and between them."""
        self.slabs.check()
        self.objects.check()
        self.queue.check()
        self.evictions.check()
        placed = [region for region in self.objects.all() if region.place is not None]
        placed_bytes = sum(region.room_bytes for region in placed)
        assert placed_bytes == self.slabs.used_bytes - self.slabs.warm_bytes, "memory of nobody"
        rooms = dict.fromkeys((r.place.slab, r.place.offset) for r in placed if r.place is not None)
        assert len(rooms) == len(placed), "two regions in one room"
        for region in self.objects.all():
            spilling = region.state is RegionState.SPILLING
            assert spilling is (region.region in self._spilling), region.life.story()
        for request in self.queue.restores():
            assert request.region is not None
            wanted = self.objects.get(request.region)
            assert wanted is not None, "what is over is to come back"
            assert wanted.state is RegionState.SPILLED, wanted.life.story()

    def _lease(self, request: Request, place: Place, now_ns: int, out: list[Effect]) -> None:
        """Give a writer its region, and more ahead of time while there is plenty."""
        self.queue.end(request)
        places = [place]
        size_bytes = request.room_bytes
        count = min(request.count, REGIONS_AHEAD_COUNT_MAX, REGIONS_AHEAD_BYTES_MAX // size_bytes)
        while len(places) < count and not self.queue and self._is_plenty(size_bytes):
            more = self.slabs.take(size_bytes, now_ns, out)
            assert more is not None, "less than half is used, and yet there is no room"
            places.append(more)
        leased: list[LeasedRegion] = []
        for each in places:
            region = self.objects.lease(each, request.owner, request.writer)
            leased.append(LeasedRegion(region.region, each))
        out.append(Send(request.writer, RegionsLeased(request.request, tuple(leased))))

    def _is_plenty(self, room_bytes: int) -> bool:
        half_bytes = self.slabs.capacity_bytes // 2
        warm = self.slabs.has_warm(room_bytes)
        return warm or self.slabs.used_bytes + room_bytes <= half_bytes

    def _make_room(self, request: Request, now_ns: int, out: list[Effect]) -> None:
        """Spill what is idle for a request that does not fit, or have something given up."""
        if (copy := self.objects.idle_copy()) is not None:
            reached("copy given up for room")
            place = copy.place
            assert place is not None, copy.life.story()
            self.objects.end(copy, "room wanted", now_ns)
            self.free(place, True, now_ns, out)
            return
        if self._disk_again_ns is not None:
            return
        short_bytes = self.slabs.short_bytes(request.room_bytes)
        for spilling, _ in self._spilling.values():
            if not spilling.holders:
                short_bytes -= spilling.room_bytes
        while short_bytes > 0 and (region := self.objects.idle()) is not None:
            assert region.place is not None, region.life.story()
            self._spilling[region.region] = (region, now_ns)
            self.objects.move(region, RegionState.SPILLING, region.place, "room wanted", now_ns)
            out.append(SpillRegion(region.region, region.place))
            short_bytes -= region.room_bytes
        if short_bytes <= 0:
            return
        owners = [each for each in self.objects.owners() if self._is_here(each[0])]
        owner = self.evictions.next_owner(request.owner, owners)
        if owner is not None:
            self.evictions.ask(owner, request.key, now_ns)
            size_bytes = max(short_bytes, self.slabs.capacity_bytes // EVICT_PARTS_COUNT)
            stream = request.stream if owner == request.owner else NO_STREAM
            out.append(Send(owner, AskEvict(size_bytes, stream)))
