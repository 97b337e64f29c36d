"""Writer side of shared memory: regions leased ahead, given to who writes, returned when unused.

Rules of this file: where the next value is written, and that every region which was leased ends: it
is reported with a value, or it goes back. What is written is not known here.

Theory of operation. Who writes often gets regions leased ahead of time, so that no value waits for
the node: the more values come in a row, the more are leased together. What lies unused for
``REGIONS_AHEAD_NS`` goes back. A region that is being written when its owner dies goes back when it
is written, not before: the node gives it to nobody meanwhile.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import field

from zgen.core.deadlines import Deadlines
from zgen.core.effects import (
    Effect,
    Send,
)
from zgen.core.marks import reached
from zgen.core.store_effects import (
    RegionGiven,
    RegionRefused,
)
from zgen.core.store_events import (
    WantRegion,
)
from zgen.ids import NO_PEER, PeerId
from zgen.limits import REGIONS_AHEAD_BYTES_MAX, REGIONS_AHEAD_COUNT_MAX, REGIONS_AHEAD_NS
from zgen.slotted import slotted
from zgen.wire.session import Address
from zgen.wire.store import (
    REFUSED_FULL,
    LeasedRegion,
    RegionsLeased,
    RegionsRefused,
    ReleaseRegions,
    WantRegions,
)


@slotted
class Ahead:
    """What is leased ahead for values of one owner.

    Attributes:
        regions: Regions in hand, the oldest first.
        depth: How many to lease together beyond the one that is needed.
        wanted_ns: When one was last wanted.
        asked: Whether regions that nobody waits for are asked for.
        life: Life of the owner if it is of another node, or 0.
        node: That node.
    """

    regions: deque[LeasedRegion] = field(default_factory=deque)
    depth: int = 0
    wanted_ns: int = -REGIONS_AHEAD_NS
    asked: bool = False
    life: int = 0
    node: PeerId = NO_PEER


@slotted
class Asked:
    """A request that the node has not answered.

    Attributes:
        owner: Whose values it is for.
        want: Who waits for the first region of it; None if nobody does.
        is_ahead: Whether it is for more than who waits.
    """

    owner: PeerId
    want: WantRegion | None
    is_ahead: bool


class RegionStock:
    """The regions that this process may write into.

    Attributes:
        node: The node that leases them; None before it is joined and after its death.
        deadlines: Owners for whom unused regions are to be looked at.
    """

    def __init__(self) -> None:
        """Start without regions."""
        self.node: PeerId | None = None
        self.deadlines: Deadlines[PeerId] = Deadlines()
        #: Owner -> regions for it. Added by ``want``; removed when nothing was wanted for a while
        #: and with the owner.
        self.ahead: dict[PeerId, Ahead] = {}
        #: Region -> whether it goes back when it is written, since its owner is dead. Added when it
        #: is given; removed by ``reported`` and ``unused``.
        self.writing: dict[int, bool] = {}
        #: Request -> what is asked. Removed by its answer.
        self._asked: dict[int, Asked] = {}
        self._requests = 0

    def refuse(self, event: WantRegion, text: str, out: list[Effect]) -> None:
        """Tell who wants to write that it cannot be."""
        out.append(RegionRefused(event.request, REFUSED_FULL, text, ()))

    def want(self, event: WantRegion, owner: Address, now_ns: int, out: list[Effect]) -> None:
        """Give a region to who wants to write for ``owner``, at once if one is in hand."""
        if self.node is None:
            self.refuse(event, "the node is gone", out)
            return
        ahead = self.ahead.get(event.owner)
        if ahead is None:
            ahead = self.ahead[event.owner] = Ahead()
            if owner.node not in (NO_PEER, self.node):
                ahead.life, ahead.node = owner.incarnation, owner.node
        size_bytes = event.size_bytes
        depth_max = min(REGIONS_AHEAD_COUNT_MAX, REGIONS_AHEAD_BYTES_MAX // max(1, size_bytes))
        is_burst = now_ns - ahead.wanted_ns < REGIONS_AHEAD_NS
        ahead.depth = min(depth_max, 2 * ahead.depth + 1) if is_burst else 0
        ahead.wanted_ns = now_ns
        self.deadlines.set_if_unset(event.owner, now_ns + REGIONS_AHEAD_NS)
        leased = _take_fitting(ahead.regions, size_bytes)
        if leased is not None:
            self._give(event, leased, out)
        lacking = 0
        if not ahead.asked and 2 * len(ahead.regions) < ahead.depth:
            lacking = ahead.depth - len(ahead.regions)
            ahead.asked = True
        if leased is None:
            self._ask(event, event, lacking, out)
        elif lacking:
            self._ask(event, None, lacking, out)

    def on_leased(self, message: RegionsLeased, out: list[Effect]) -> None:
        """The node leased regions."""
        asked = self._asked.pop(message.request, None)
        regions = deque(message.regions)
        if asked is not None and asked.want is not None:
            self._give(asked.want, regions.popleft(), out)
        ahead = self.ahead.get(asked.owner) if asked is not None else None
        if ahead is None:
            reached("regions leased for nobody returned")
            self._return([leased.region for leased in regions], out)
            return
        if asked is not None and asked.is_ahead:
            ahead.asked = False
        ahead.regions.extend(regions)
        excess = len(ahead.regions) - REGIONS_AHEAD_COUNT_MAX
        if excess > 0:
            reached("more regions leased ahead than are kept")
            self._return([ahead.regions.popleft().region for _ in range(excess)], out)

    def on_refused(self, message: RegionsRefused, out: list[Effect]) -> None:
        """The node has no room."""
        asked = self._asked.pop(message.request, None)
        if asked is None:
            reached("refusal of a region that nobody wants")
            return
        ahead = self.ahead.get(asked.owner)
        if asked.is_ahead and ahead is not None:
            ahead.asked = False
        if asked.want is None:
            reached("nothing to lease ahead")
        else:
            refused = RegionRefused(
                asked.want.request, message.reason, message.text, message.holders
            )
            out.append(refused)

    def reported(self, region: int, out: list[Effect]) -> None:
        """A value that lies in ``region`` was handed in: its owner will release it."""
        if self.writing.pop(region):
            reached("region written for a dead owner returned")
            self._return([region], out)

    def unused(self, region: int, out: list[Effect]) -> None:
        """Nothing names ``region``, and nothing will."""
        self.writing.pop(region, None)
        self._return([region], out)

    def on_owner_down(self, owner: PeerId, out: list[Effect]) -> None:
        """An owner is dead: nothing is written for it any more."""
        self.deadlines.clear(owner)
        ahead = self.ahead.pop(owner, None)
        if ahead is not None:
            self._return([leased.region for leased in ahead.regions], out)
        for request, asked in list(self._asked.items()):
            if asked.owner == owner:
                del self._asked[request]  # what is leased for it yet goes back when it comes
                if asked.want is not None:
                    reached("region wanted for a dead owner refused")
                    self.refuse(asked.want, "the owner of the value is dead", out)

    def on_orphaned(self, regions: Iterable[int]) -> list[int]:
        """Regions lost their owner or writer; return those into which nothing is being written."""
        idle: list[int] = []
        for region in regions:
            if region in self.writing:
                reached("owner died while its value was written")
                self.writing[region] = True
            else:
                idle.append(region)
        return idle

    def leave_node(self, out: list[Effect]) -> None:
        """The node is gone, and every region with it."""
        self.node = None
        wants = [asked.want for asked in self._asked.values() if asked.want is not None]
        self._asked.clear()
        self.ahead.clear()
        self.deadlines.clear_all()
        for want in wants:
            self.refuse(want, "the node is gone", out)

    def on_timer(self, now_ns: int, out: list[Effect]) -> None:
        """Return what was leased ahead and is not used."""
        for owner in self.deadlines.pop_due(now_ns):
            ahead = self.ahead[owner]
            due_ns = ahead.wanted_ns + REGIONS_AHEAD_NS
            if due_ns > now_ns:
                self.deadlines.set(owner, due_ns)
                continue
            self._return([leased.region for leased in ahead.regions], out)
            del self.ahead[owner]

    def check(self) -> None:
        """Assert the invariants of the stock."""
        for owner, ahead in self.ahead.items():
            assert owner in self.deadlines, "regions leased ahead, and nobody looks how long"
            assert len(ahead.regions) <= REGIONS_AHEAD_COUNT_MAX, f"{len(ahead.regions)} ahead"
            for leased in ahead.regions:
                assert leased.region not in self.writing, f"region {leased.region} is in hand"

    def _ask(
        self, like: WantRegion, want: WantRegion | None, lacking: int, out: list[Effect]
    ) -> None:
        assert self.node is not None, "asked without a node"
        self._requests += 1
        self._asked[self._requests] = Asked(like.owner, want, lacking > 0)
        count = lacking + (want is not None)
        ahead = self.ahead[like.owner]
        message = WantRegions(
            self._requests,
            like.owner,
            like.stream,
            like.size_bytes,
            count,
            ahead.life,
            ahead.node,
        )
        out.append(Send(self.node, message))

    def _give(self, want: WantRegion, leased: LeasedRegion, out: list[Effect]) -> None:
        assert self.node is not None, "given without a node"
        self.writing[leased.region] = False
        out.append(RegionGiven(want.request, self.node, leased.region, leased.place))

    def _return(self, regions: list[int], out: list[Effect]) -> None:
        if regions and self.node is not None:
            out.append(Send(self.node, ReleaseRegions(tuple(regions), True)))


def _take_fitting(regions: deque[LeasedRegion], size_bytes: int) -> LeasedRegion | None:
    """Take out the oldest region that has room for ``size_bytes`` and not much more."""
    for index, leased in enumerate(regions):
        if size_bytes <= leased.place.room <= 2 * size_bytes:
            del regions[index]
            return leased
    return None
