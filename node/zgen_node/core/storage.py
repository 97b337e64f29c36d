"""The object store: what processes say of its regions, and what they are told.

Rules of this file: checks who may say what, and translates one table's result into another table's
call. What a region is, and how room is made, is not known here.

Theory of operation. A process that is known (a worker, or the driver of a job) may want room, for
one that is known too, and may hold what it has learned of. Only the owner or the writer of a region
may end it, and only its owner gives it up. A death acts on regions at once. The writer of what a
dead owner leaves is told at once, and so are owners of what a dead writer leaves: before its DOWN,
on the same line, so that they act on it when they have taken in all its reports.

What lies on another node is copied here for those who ask to hold it, and what owners say of it is
passed on. Another node holds regions of this one as a reader does, while it copies them.
"""

from collections.abc import Callable
from typing import Any, Final

from zgen.core.effects import (
    Effect,
    Send,
)
from zgen.core.marks import reached
from zgen.core.store_effects import (
    ForgetSpilled,
)
from zgen.core.store_events import (
    RegionRestored,
    RegionSpilled,
    SlabPopulated,
)
from zgen.ids import PeerId, node_tag, short
from zgen.limits import ARRAY_COUNT_MAX, HOLDERS_COUNT_MAX, SECOND, STORE_FULL_NS
from zgen.wire.store import (
    REFUSED_DISK,
    REFUSED_FULL,
    REFUSED_TOO_LARGE,
    RELEASED,
    Evict,
    Holder,
    HoldRegions,
    LeasedRegion,
    Place,
    RegionsHeld,
    RegionsOrphaned,
    RegionsRefused,
    ReleaseRegions,
    UnholdRegions,
    WantRegions,
)
from zgen.wire.transfer import FarOrphaned
from zgen_node.core.elsewhere import Elsewhere
from zgen_node.core.hold_table import Hold, HoldTable
from zgen_node.core.object_table import Region, RegionState
from zgen_node.core.peers import Peers
from zgen_node.core.region_copies import for_copier, is_left, may_copy
from zgen_node.core.room_maker import RoomMaker
from zgen_node.core.room_queue import Request
from zgen_node.core.staffing import Staffing
from zgen_node.core.worker_pool import WorkerState

STRANGER: Final = "this node knows no such process"
OWNER_GONE: Final = "the owner of the value is gone"
ORPHANED: Final = "its owner died"


class Storage:
    """The object store of a node.

    Attributes:
        elsewhere: Other nodes.
        rooms: Its memory and regions, and who waits for room.
        holds: Readers that wait for regions on disk.
        messages: What processes may say to it, and who takes it in.
        handlers: What else may happen to it.
    """

    def __init__(self, peers: Peers, staffing: Staffing, capacity_bytes: int) -> None:
        """Start empty."""
        self.elsewhere: Elsewhere  # set by what joins the store with other nodes
        tag = node_tag(peers.session.identity.address.peer)
        self.rooms = RoomMaker(capacity_bytes, tag, self._pull, self.is_known)
        self.holds = HoldTable()
        self._objects = self.rooms.objects
        self._queue = self.rooms.queue
        self._peers = peers
        self._staffing = staffing
        self.messages: dict[type, Callable[[PeerId, Any, int, list[Effect]], None]] = {
            WantRegions: self.on_want,
            ReleaseRegions: self.on_release,
            HoldRegions: self.on_hold,
            UnholdRegions: self.on_unhold,
            Evict: self.on_evict,
        }
        self.handlers: dict[type, Callable[[Any, int, list[Effect]], None]] = {
            RegionSpilled: self.on_spilled,
            RegionRestored: self.on_restored,
            SlabPopulated: self.on_populated,
        }

    def report(self) -> dict[str, int]:
        """Return what people are told of the store."""
        return {
            "capacity_bytes": self.rooms.slabs.capacity_bytes,
            "used_bytes": self.rooms.slabs.used_bytes,
            "regions": len(self._objects),
            "spilled_bytes": self._objects.spilled_bytes,
            "spilled_regions": self._objects.spilled_count,
            "waiting": len(self._queue),
        }

    # -- writers and owners ------------------------------------------------------------------------
    def on_want(self, peer: PeerId, said: WantRegions, now_ns: int, out: list[Effect]) -> None:
        """Queue a writer's request for room."""
        capacity_bytes = self.rooms.slabs.capacity_bytes
        room_bytes = self.rooms.slabs.room_bytes(said.size_bytes)
        reason, text = REFUSED_FULL, ""
        if not self.is_known(peer):
            self._peers.refuse("room wanted by a stranger", short(peer), out)
            text = STRANGER
        elif not self.is_known(said.owner) and self.elsewhere.node_of(said.owner) is None:
            reached("room wanted for an owner that is gone")
            text = OWNER_GONE
        elif room_bytes is None:
            text = f"one value of {said.size_bytes} bytes, the store has {capacity_bytes}"
            reason = REFUSED_TOO_LARGE
        else:
            self._queue.want(peer, said, room_bytes, now_ns)
            self.rooms.changed()
            return
        out.append(Send(peer, RegionsRefused(said.request, reason, text, ())))

    def _pull(self, region: Region, now_ns: int, out: list[Effect]) -> None:
        self.elsewhere.pull(region, now_ns, out)

    def on_release(
        self, peer: PeerId, said: ReleaseRegions, now_ns: int, out: list[Effect]
    ) -> None:
        """End regions at the word of their owner or their writer."""
        for number in said.regions:
            region = self._objects.get(number)
            if region is None or region.is_released:
                reached("release of what is released ignored")
            elif peer not in (region.owner, region.writer):
                self._peers.refuse("release of another's region", short(peer), out)
            else:
                self._objects.release(region, said.unwritten)
                self._finish(region, now_ns, out)

    def on_evict(
        self, peer: PeerId, said: Evict, now_ns: int, out: list[Effect], *, gave: bool = False
    ) -> None:
        """Take what an owner gives up; ``gave`` if it gave up something else already."""
        for number in said.regions:
            region = self._objects.get(number)
            if region is None:
                reached("eviction of what is released ignored")
            elif region.owner != peer:
                self._peers.refuse("eviction of another's region", short(peer), out)
            elif self._objects.evict(region):
                gave = True
        key = self.rooms.evictions.answered(peer)
        if key is None:
            self._queue.let_go(peer, now_ns)
        elif said.waits and self._queue.hold_back(key, peer, now_ns):
            reached("request held back for its consumer")
        elif not gave:
            self.rooms.evictions.had_nothing(peer, now_ns)
        self.rooms.changed()

    # -- readers -----------------------------------------------------------------------------------
    def on_hold(self, peer: PeerId, said: HoldRegions, now_ns: int, out: list[Effect]) -> None:
        """Have a reader hold regions, at once or when all of them are back from disk."""
        numbers = tuple(dict.fromkeys(said.regions))
        is_node = self.elsewhere.is_node(peer)
        if not (self.is_known(peer) or is_node):
            self._peers.refuse("hold by a stranger", short(peer), out)
            out.append(Send(peer, RegionsHeld(said.request, (), numbers, STRANGER)))
            return
        missing: dict[int, None] = {}
        reason = ""
        for number in numbers:
            region = self._objects.get(number)
            if region is None or (is_node and not (said.rooms or may_copy(region))):
                reason = self.elsewhere.why_lost(number)
                continue
            if is_node and region.is_copy and may_copy(region):
                reached("copy copied")
                self._objects.hold(region, peer)
                continue
            over = region.owner_done and not is_left(region, self.elsewhere)
            if over and peer not in region.holders:
                reason = RELEASED if region.is_released else ORPHANED
                continue
            if is_node and not region.is_copy:
                region.copied_to.setdefault(peer, False)
            if region.state in (RegionState.MEMORY, RegionState.SPILLING):
                self._objects.hold(region, peer)
            else:
                missing[number] = None
                if region.state is RegionState.SPILLED:
                    self._queue.restore(number, region.owner, region.room_bytes, now_ns)
        hold = self.holds.add(peer, said.request, numbers, missing, reason)
        if not missing:
            self._answer(hold, out)
        self.rooms.changed()

    def on_unhold(self, peer: PeerId, said: UnholdRegions, now_ns: int, out: list[Effect]) -> None:
        """End holds of a reader."""
        for number in said.regions:
            region = self._objects.get(number)
            if region is None or not self._objects.unhold(region, peer):
                reached("end of a hold that is none ignored")
            else:
                self._finish(region, now_ns, out)

    # -- disk --------------------------------------------------------------------------------------
    def on_spilled(self, event: RegionSpilled, now_ns: int, out: list[Effect]) -> None:
        """Free what the disk took in, if nobody needs it where it is."""
        region = self._objects.get(event.region)
        assert region is not None, f"region {event.region} spilled, but unknown"
        self.rooms.spilled(region, event, now_ns, out)
        self._finish(region, now_ns, out)

    def on_restored(
        self, event: RegionRestored, now_ns: int, out: list[Effect], *, is_full: bool = False
    ) -> None:
        """Give a region that is back to those who wait; ``is_full`` if there was no room for it."""
        region = self._objects.get(event.region)
        assert region is not None, f"region {event.region} restored, but unknown"
        place = region.place
        assert place is not None, region.life.story()
        if event.failure:
            story = event.failure
            if not region.is_copy:
                story = f"it cannot be read from disk: {story}"
                out.append(ForgetSpilled(event.region))
            self._end_copies(region, out)  # nobody else would: its owner gives up a dead number
            self._objects.end(region, event.failure, now_ns)
            self.rooms.free(place, False, now_ns, out)
            self._lose(event.region, story, out, is_full=is_full)
            return
        warm = Place(place.slab, place.offset, place.room, place.slab_bytes, True)
        self._objects.move(region, RegionState.MEMORY, warm, "back from disk", now_ns)
        if not region.is_released:
            for hold in self.holds.settle(event.region):
                self._objects.hold(region, hold.peer)
                if not hold.missing:
                    self._answer(hold, out)
        self._finish(region, now_ns, out)

    def on_populated(self, event: SlabPopulated, now_ns: int, out: list[Effect]) -> None:
        """A slab that was made ahead has its pages."""
        self.rooms.slabs.populated(event.slab)

    # -- time and death ----------------------------------------------------------------------------
    def on_timer(self, now_ns: int, out: list[Effect]) -> None:
        """Do what is due, and refuse what waited for long enough."""
        for request in self.rooms.on_timer(now_ns, out):
            if request in self._queue:
                self._give_up(request, now_ns, out)
                self.rooms.changed()
                self.rooms.place(now_ns, out)

    def died(self, peer: PeerId, now_ns: int, out: list[Effect]) -> None:
        """Act on a death; ``told`` next, when its watchers are told."""
        self.rooms.evictions.forget(peer)
        self.elsewhere.died(peer)
        for request in self._queue.of(peer):
            self._queue.end(request)
            if request.writer != peer:
                refused = RegionsRefused(request.request, REFUSED_FULL, OWNER_GONE, ())
                out.append(Send(request.writer, refused))
        for number in self.holds.died(peer):
            self._queue.end_restore(number)
            self._unwanted(number, now_ns)
        touched, orphans = self._objects.died(peer)
        for region in touched:
            self._finish(region, now_ns, out)
        self._orphan(peer, orphans, out)
        self.rooms.changed()

    def told(self, peer: PeerId, out: list[Effect]) -> None:
        """Tell owners what a dead writer left, just before they are told of its DOWN."""
        self._orphan(peer, self._objects.told(peer), out)

    def check(self) -> None:
        """Assert every invariant, of each table and between them."""
        self.rooms.check()
        self.holds.check()
        for region in self._objects.all():
            waited_for = self.holds.waits_for(region.region)
            coming = region.state in (RegionState.SPILLED, RegionState.RESTORING)
            assert coming or not waited_for, region.life.story()
            if region.state is RegionState.SPILLED:
                assert self._queue.has_restore(region.region) is waited_for, region.life.story()

    def drop(self, region: Region, reason: str, now_ns: int, out: list[Effect]) -> None:
        """Forget a copy that waits for room and will not come."""
        self._queue.end_restore(region.region)
        self._objects.end(region, reason, now_ns)
        self._lose(region.region, reason, out)

    def disown(self, copy: Region, now_ns: int, out: list[Effect]) -> None:
        """Let a copy end with its last holder."""
        self._objects.release(copy, unwritten=False)
        self._finish(copy, now_ns, out)

    def _unwanted(self, number: int, now_ns: int) -> None:
        """Forget a copy that is not here, as nobody waits for it any more."""
        region = self._objects.get(number)
        if region is not None and region.is_copy and region.state is RegionState.SPILLED:
            self._objects.end(region, "nobody waits for it", now_ns)

    def _finish(self, region: Region, now_ns: int, out: list[Effect]) -> None:
        if region.is_released:
            self._end_copies(region, out)
        if self.rooms.finish(region, now_ns, out):
            self._lose(region.region, RELEASED, out)

    def _end_copies(self, region: Region, out: list[Effect]) -> None:
        """Tell the nodes with copies of a region that it is over."""
        over = ReleaseRegions((region.region,))
        nodes = [node for node in region.copied_to if self.elsewhere.is_node(node)]
        region.copied_to.clear()
        out.extend(Send(node, over) for node in nodes)

    def _lose(self, region: int, reason: str, out: list[Effect], *, is_full: bool = False) -> None:
        """Answer those who wait for a region that does not come back."""
        for hold in self.holds.settle(region, reason, is_full=is_full):
            if not hold.missing:
                self._answer(hold, out)

    def _answer(self, hold: Hold, out: list[Effect]) -> None:
        """Tell a reader what it holds by now of what it asked for."""
        held: list[LeasedRegion] = []
        lost: list[int] = []
        for number in hold.regions:
            region = self._objects.get(number)
            if region is not None and hold.peer in region.holders:
                assert region.place is not None, region.life.story()
                held.append(LeasedRegion(number, region.place))
            else:
                lost.append(number)
        answer = RegionsHeld(hold.request, tuple(held), tuple(lost), "")
        if lost:
            answer = RegionsHeld(hold.request, tuple(held), tuple(lost), hold.reason, hold.is_full)
        elif len(held) == 1:
            region = self._objects.get(held[0].region)
            answer = for_copier(answer, region, hold.peer, self.elsewhere)
        out.append(Send(hold.peer, answer))

    def _give_up(self, request: Request, now_ns: int, out: list[Effect]) -> None:
        """Refuse a request that nothing was freed for."""
        self._queue.end(request)
        slabs, failed = self.rooms.slabs, self.rooms.disk_failed
        text = (
            f"the object store of this node is full ({slabs.used_bytes} of {slabs.capacity_bytes}"
            f" bytes) and nothing was freed for {STORE_FULL_NS // SECOND} s"
        )
        if failed is not None:
            text += f"; spilling failed: {failed.failure}"
        if request.region is not None:
            text = f"no room to bring a value back: {text}"
            self._lose(request.region, text, out, is_full=True)
            self._unwanted(request.region, now_ns)
            return
        reason = REFUSED_DISK if failed is not None and failed.is_disk_full else REFUSED_FULL
        rows = self._objects.holders(HOLDERS_COUNT_MAX)
        holders = tuple(Holder(self._name(peer), size, count) for peer, size, count in rows)
        out.append(Send(request.writer, RegionsRefused(request.request, reason, text, holders)))

    def is_known(self, peer: PeerId) -> bool:
        """Return whether ``peer`` is a worker or driver of this node that lives."""
        worker = self._staffing.pool.get(peer)
        if worker is not None:
            return worker.state is not WorkerState.DEAD
        job = self._staffing.jobs.of_driver(peer)
        return job is not None and job.far_driver is None

    def _name(self, peer: PeerId) -> str:
        worker = self._staffing.pool.get(peer)
        if worker is not None:
            return f"worker pid={worker.pid}"
        job = self._staffing.jobs.of_driver(peer)
        if job is None or job.far_driver is not None:
            where = "node" if self.elsewhere.is_node(peer) else "process of another node"
            return f"{where} {short(peer)}"
        return f"driver pid={job.pid}"

    def _orphan(self, dead: PeerId, orphans: dict[PeerId, list[int]], out: list[Effect]) -> None:
        """Tell the other side of the regions that a dead process leaves."""
        for peer, numbers in orphans.items():
            node = self.elsewhere.node_of(peer)
            for start in range(0, len(numbers), ARRAY_COUNT_MAX):
                part = tuple(numbers[start : start + ARRAY_COUNT_MAX])
                if node is None:
                    out.append(Send(peer, RegionsOrphaned(dead, part)))
                else:
                    out.append(Send(node, FarOrphaned(peer, dead, part)))
