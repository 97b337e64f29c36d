"""Owner and reader side of shared memory: which regions are needed here, and by how many views.

Rules of this file: a region is held as long as this process may look at it, and released or let go
as soon as it may not. What lies in a region, and who refers to it, is not known here. Whether it
lies on another node makes no difference but in one way: who learns of a value there has no hold.

Theory of operation. An owner holds a region from the moment it learns of it. It gives the hold up
when the node asks for room and nobody looks, and asks for it again when somebody wants to look. A
reader asks for the hold before the task that needs the region starts. ``views`` counts what is
open, ``pending`` pushed tasks that have not started; the region is let go when both are zero and,
at its owner, when no value names it any more.
"""

from collections.abc import Iterable
from dataclasses import field

from zgen.core.effects import (
    Effect,
    Send,
)
from zgen.core.marks import reached
from zgen.core.store_effects import (
    ViewOpened,
    ViewRefused,
)
from zgen.exceptions import RemoteProtocolError
from zgen.ids import NO_OBJECT, NO_PEER, ObjectId, PeerId, StreamId, node_tag, region_tag
from zgen.slotted import slotted
from zgen.wire.store import (
    RELEASED,
    Evict,
    HoldRegions,
    Place,
    RegionsHeld,
    ReleaseRegions,
    UnholdRegions,
)
from zgen.wire.value import NO_REGION, Fault, FaultKind, Stored


@slotted
class Region:
    """One region that this process owns or reads.

    Attributes:
        place: Where it lies, while this process holds it; None while it does not.
        room: Bytes of it.
        owned: Whether this process owns it.
        named: Whether a value of this process names it; owners only.
        views: Views that are open, or promised to who opens them.
        pending: Pushed tasks that need it and have not started.
        asked: Whether its hold is asked for.
        lost: Why it is gone, or empty.
        is_full: Whether that is for want of room, so that it may come back.
        unread: Stream of which it is an item that nobody has taken, or None.
        openers: Who waits to open a view of it, of which value and of which object.
    """

    place: Place | None
    room: int
    owned: bool
    named: bool = False
    views: int = 0
    pending: int = 0
    asked: bool = False
    lost: str = ""
    is_full: bool = False
    unread: StreamId | None = None
    openers: list[tuple[int, Stored, ObjectId]] = field(default_factory=list)

    @property
    def is_needed(self) -> bool:
        """Whether it must not be let go."""
        return bool(self.named or self.views or self.pending or self.openers)


class RegionTable:
    """The regions of one process.

    Attributes:
        node: The node that is asked for them; None before it is joined and after its death.
        home: The same, also after its death.
        changed: Whether ``flush`` may have something to say.
        has_far: Whether this process ever owned a value that was written on another node.
    """

    def __init__(self) -> None:
        """Start without regions."""
        self.changed = False
        self.has_far = False
        self.node: PeerId | None = None
        self.home: PeerId | None = None
        #: Number -> region. Added by ``own`` and ``borrow``; removed when it is not needed.
        self.regions: dict[int, Region] = {}
        #: Regions whose hold is to be asked for, and those that are not needed any more, until
        #: ``flush``.
        self._wanted: list[int] = []
        self._needless: list[int] = []
        #: Regions of other nodes that this process has come to own, until ``flush``.
        self._far: list[int] = []
        self._requests = 0
        #: Views that cannot be opened since their regions are gone: request, object, region and
        #: reason. Until its caller takes them.
        self.lost_views: list[tuple[int, ObjectId, int, str]] = []

    # -- owners ------------------------------------------------------------------------------------
    def own(self, value: Stored, unread: StreamId | None = None) -> None:
        """This process owns a value from now on.

        Raises:
            RemoteProtocolError: Another value lies in the same region.
        """
        if value.region in self.regions:
            raise RemoteProtocolError(f"a second value in region {value.region}")
        place: Place | None = value.place
        if self.home is not None and value.node not in (self.home, NO_PEER):
            reached("value on another node owned")
            place = None
            self._far.append(value.region)
            self.changed = self.has_far = True
        self.regions[value.region] = Region(
            place, value.place.room, True, named=True, unread=unread
        )

    def disown(self, value: Stored) -> None:
        """No value of this process names this region any more."""
        region = self.regions[value.region]
        region.named = False
        region.unread = None
        self._look(value.region, region)

    def take(self, value: Stored) -> None:
        """Somebody took the item that lies there."""
        region = self.regions[value.region]
        region.unread = None

    def open(
        self, request: int, value: Stored, out: list[Effect], name: ObjectId = NO_OBJECT
    ) -> None:
        """Count one more view of a region that this process owns or may read, once it is held."""
        region = self.regions.get(value.region)
        if region is None:
            reached("view of a region of another process")
            region = self.regions[value.region] = Region(None, value.place.room, False)
        if region.place is not None:
            region.views += 1
            out.append(ViewOpened(request, value, region.place))
        elif self.node is None:
            out.append(ViewRefused(request, _node_died()))
            self._look(value.region, region)
        else:  # also one that did not come back when it was asked for last: there may be room now
            reached("view of a region that was given up")
            region.openers.append((request, value, name))
            self._ask(value.region, region)

    def evict(self, size_bytes: int, is_waiting: bool, out: list[Effect]) -> None:
        """Give up regions that nobody looks at, the oldest first, unread items last.

        Args:
            size_bytes: How many bytes are wanted.
            is_waiting: Whether the producer that wants them is to wait for its consumer instead.
            out: Effects are added here.
        """
        assert self.node is not None, "evicted without a node"
        chosen: list[int] = []
        if not is_waiting:
            idle = [
                (number, region)
                for number, region in self.regions.items()
                if region.owned
                and region.place is not None
                and not (region.views or region.openers or region.pending)
            ]
            first = [each for each in idle if each[1].unread is None]
            last = [each for each in reversed(idle) if each[1].unread is not None]
            for number, region in (*first, *last):
                if size_bytes <= 0:
                    break
                size_bytes -= region.room
                region.place = None
                chosen.append(number)
        out.append(Send(self.node, Evict(tuple(chosen), is_waiting)))

    def on_orphaned(self, regions: Iterable[int], out: list[Effect]) -> None:
        """The writer or the owner of these is dead, its line quiet: release what is not owned here.

        What is owned was named by a report of the writer. Of what a dead owner had, nothing is.
        """
        table = self.regions
        needless = tuple([n for n in regions if n not in table or not table[n].owned])
        if needless and self.node is not None:
            reached("orphaned region released")
            out.append(Send(self.node, ReleaseRegions(needless, True)))

    # -- readers -----------------------------------------------------------------------------------
    def borrow(self, value: Stored) -> bool:
        """A pushed task needs a region; return whether it is held already."""
        region = self.regions.get(value.region)
        if region is None:
            region = self.regions[value.region] = Region(None, value.place.room, False)
            if value.region == NO_REGION:
                region.lost = "it was lost when the task was pushed"
        region.pending += 1
        if region.place is None and not region.lost:
            self._ask(value.region, region)
            return False
        return True

    def unborrow(self, value: Stored) -> None:
        """A pushed task that needed a region will not start here."""
        region = self.regions[value.region]
        region.pending -= 1
        self._look(value.region, region)

    def begin(self, value: Stored) -> Stored | Fault:
        """A pushed task starts: turn its need into a view, and say where the region lies."""
        region = self.regions[value.region]
        region.pending -= 1
        if region.place is None:
            self._look(value.region, region)
            return _fault(region)
        region.views += 1
        return Stored(value.node, value.region, region.place, value.data, value.sizes)

    def why_lost(self, value: Stored) -> str:
        """Return why the region of an argument is gone, or nothing if it is not."""
        region = self.regions.get(value.region)
        if region is None or region.place is not None or region.is_full:
            return ""
        return region.lost

    def is_held(self, value: Stored) -> bool:
        """Return whether a value can be looked at here, wherever it was written."""
        region = self.regions.get(value.region)
        return region is not None and region.place is not None

    # -- both --------------------------------------------------------------------------------------
    def drop_views(self, views: Iterable[int]) -> None:
        """Count one view less of each."""
        for number in views:
            region = self.regions[number]
            region.views -= 1
            assert region.views >= 0, f"region {number} was dropped too often"
            self._look(number, region)

    def on_held(self, message: RegionsHeld, out: list[Effect]) -> tuple[int, ...]:
        """The node says what is held and what is gone; return what needs not be waited for.

        Raises:
            RemoteProtocolError: It says so of what was not asked for.
        """
        for leased in message.regions:
            region = self.regions.get(leased.region)
            if region is None:
                raise RemoteProtocolError(f"region {leased.region} was not asked for")
            region.asked = False
            region.lost, region.is_full = "", False
            region.place = leased.place
            for request, value, _ in region.openers:
                region.views += 1
                out.append(ViewOpened(request, value, leased.place))
            region.openers.clear()
            self._look(leased.region, region)
        for number in message.lost:
            region = self.regions.get(number)
            if region is None:
                raise RemoteProtocolError(f"region {number} was not asked for")
            region.asked = False
            reached("region lost")
            # An owner that asks again for what is gone hears why it went, and not that it is gone.
            is_known = message.reason == RELEASED and not region.is_full
            known = region.lost if is_known else ""
            region.is_full = message.is_full
            self._lose(region, known or message.reason or "its node has lost it", out)
            self._look(number, region)
        return (*[leased.region for leased in message.regions], *message.lost)

    def leave_node(self, out: list[Effect]) -> None:
        """The node is gone; what is held can still be read."""
        self.node = None
        for number, region in self.regions.items():
            region.asked = False
            out.extend(ViewRefused(request, _node_died()) for request, _, _ in region.openers)
            region.openers.clear()
            self._look(number, region)

    def flush(self, out: list[Effect]) -> None:
        """Tell the node what this step wants held, and what it lets go."""
        self.changed = False
        if self._far:
            if self.node is not None:
                out.append(Send(self.node, Evict(tuple(self._far), False)))
            self._far.clear()
        if self._wanted:
            wanted: list[int] = []
            for number in self._wanted:
                region = self.regions[number]
                if region.is_needed:
                    wanted.append(number)
                else:
                    reached("hold that nobody needs any more not asked for")
                    region.asked = False
                    self._needless.append(number)
            self._wanted.clear()
            if wanted and self.node is not None:
                self._requests += 1
                rooms = self._rooms(wanted)
                out.append(Send(self.node, HoldRegions(self._requests, tuple(wanted), rooms)))
        if self._needless:
            self._let_go(out)

    def bytes_named(self) -> int:
        """Return the bytes of all regions that values of this process name."""
        return sum([region.room for region in self.regions.values() if region.named])

    def check(self) -> None:
        """Assert that every region is needed or about to be let go, and waited for if not held."""
        needless = dict.fromkeys(self._needless)
        for number, region in self.regions.items():
            assert min(region.views, region.pending) >= 0, (number, region)
            assert region.is_needed or region.asked or number in needless, (number, region)
            assert region.place is None or not region.openers, (number, region)
            waited = bool(region.openers or (region.pending and region.place is None))
            assert not waited or region.asked or region.lost or self.node is None, (number, region)

    def _ask(self, number: int, region: Region) -> None:
        if not region.asked:
            region.asked = self.changed = True
            self._wanted.append(number)

    def _rooms(self, wanted: list[int]) -> tuple[int, ...]:
        """Return the bytes of regions if some lie on another node, which their own cannot know."""
        home = self.home
        if home is None or all(region_tag(number) == node_tag(home) for number in wanted):
            return ()
        return tuple([self.regions[number].room for number in wanted])

    def _look(self, number: int, region: Region) -> None:
        # What is asked for is let go when the answer is there, so that it never overtakes.
        if not region.is_needed and not region.asked:
            self._needless.append(number)
            self.changed = True

    def _let_go(self, out: list[Effect]) -> None:
        released: list[int] = []
        unheld: list[int] = []
        for number in self._needless:
            region = self.regions.get(number)
            if region is None or region.is_needed or region.asked:
                continue
            del self.regions[number]
            if region.owned:
                released.append(number)
            elif region.place is not None:
                unheld.append(number)
        self._needless.clear()
        if self.node is None:
            return
        if released:
            out.append(Send(self.node, ReleaseRegions(tuple(released))))
        if unheld:
            out.append(Send(self.node, UnholdRegions(tuple(unheld))))

    def _lose(self, region: Region, reason: str, out: list[Effect]) -> None:
        region.lost = reason
        for request, value, name in region.openers:
            if name and not region.is_full:
                self.lost_views.append((request, name, value.region, reason))
            else:
                out.append(ViewRefused(request, _fault(region)))
        region.openers.clear()


def _fault(region: Region) -> Fault:
    kind = FaultKind.STORE_FULL if region.is_full else FaultKind.OBJECT_LOST
    return Fault(kind, "", region.lost)


def _node_died() -> Fault:
    """Return what those hear who want to read what this process does not hold, without a node."""
    return Fault(FaultKind.NODE_DIED, "", "the node is gone")
