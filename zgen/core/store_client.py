"""Shared memory as one process uses it: the stock to write into and the table of what is read.

Rules of this file: joins both, and knows which messages and events are for them. Which values name
a region is the owner's and the executor's to say.
"""

from collections.abc import Iterable
from typing import Final

from zgen.core.effects import (
    Effect,
)
from zgen.core.marks import reached
from zgen.core.region_stock import RegionStock
from zgen.core.region_table import RegionTable
from zgen.core.store_effects import (
    ValueInstead,
    ViewRefused,
)
from zgen.core.store_events import (
    OpenView,
    WantRegion,
)
from zgen.ids import ObjectId, PeerId
from zgen.wire.session import Address
from zgen.wire.store import (
    AskEvict,
    RegionsHeld,
    RegionsLeased,
    RegionsOrphaned,
    RegionsRefused,
)
from zgen.wire.value import Fault, FaultKind, Parcel, Stored, Value

#: Messages of the node to a process that uses its shared memory.
MESSAGES: Final = (AskEvict, RegionsHeld, RegionsLeased, RegionsOrphaned, RegionsRefused)


class StoreClient:
    """What one process has in shared memory.

    Attributes:
        stock: Where it may write.
        regions: What it owns or reads.
        dropped: Values that nobody will read any more, named or never reported, until ``settle``;
            what else they keep is let go before.
        waiting: Object without a value -> requests for views of it. Added by ``await_value``;
            removed by ``on_value`` and ``on_gone``.
    """

    def __init__(self) -> None:
        """Start without a node."""
        self.stock = RegionStock()
        self.regions = RegionTable()
        self.dropped: list[Parcel | Stored] = []
        #: Dead writer -> regions that it had for us, until its line is quiet.
        self._orphans: dict[PeerId, list[int]] = {}
        self.waiting: dict[ObjectId, list[int]] = {}

    def join(self, node: PeerId) -> None:
        """Use the shared memory of this node from now on."""
        self.stock.node = self.regions.node = self.regions.home = node

    # -- events ------------------------------------------------------------------------------------
    def want(
        self, event: WantRegion, owner: Address | None, now_ns: int, out: list[Effect]
    ) -> None:
        """Give a region to who wants to write; one for an owner that is not known is refused."""
        if owner is None:
            self.stock.refuse(event, "the owner of the value is dead", out)
        else:
            self.stock.want(event, owner, now_ns, out)

    def open(self, event: OpenView, value: Value | None, out: list[Effect]) -> None:
        """Open a view of a value, which may have turned into something else meanwhile."""
        if value is not None:
            self.view(event.request, event.object, value, out)
        else:
            out.append(ViewRefused(event.request, _unreferenced()))

    def await_value(self, request: int, name: ObjectId) -> None:
        """Open a view when the object has a value again."""
        self.waiting.setdefault(name, []).append(request)

    def on_value(self, name: ObjectId, value: Value, out: list[Effect]) -> None:
        """An object has its value: open the views that wait for it, or hand it over as it is."""
        for request in self.waiting.pop(name, ()):
            self.view(request, name, value, out)

    def on_gone(self, names: Iterable[ObjectId], out: list[Effect]) -> None:
        """Nothing refers to these any more: no view of them will be opened."""
        if self.waiting:
            for name in names:
                for request in self.waiting.pop(name, ()):
                    reached("view waited for what nobody refers to any more")
                    out.append(ViewRefused(request, _unreferenced()))

    def view(self, request: int, name: ObjectId, value: Value, out: list[Effect]) -> None:
        """Open a view of a value that may have come anew, and then lie elsewhere."""
        if isinstance(value, Stored):
            self.regions.open(request, value, out, name)
        else:
            reached("view of what does not lie in shared memory any more")
            out.append(ValueInstead(request, value))

    def settle(self, out: list[Effect]) -> None:
        """Let go of what a step has dropped, and ask for what it needs."""
        for value in self.dropped:
            assert isinstance(value, Stored), value
            region = self.regions.regions.get(value.region)
            if region is not None and region.named:
                self.regions.disown(value)
            else:
                self.stock.unused(value.region, out)
        self.dropped.clear()
        self.regions.flush(out)

    # -- deaths ------------------------------------------------------------------------------------
    def on_orphaned(self, message: RegionsOrphaned, *, is_quiet: bool, out: list[Effect]) -> None:
        """The node tells of regions whose other side died; ``is_quiet`` if that says no more."""
        if is_quiet:
            self._release_orphans(message.regions, out)
        else:
            self._orphans.setdefault(message.dead, []).extend(message.regions)

    def on_peer_gone(self, peer: PeerId, out: list[Effect]) -> None:
        """A process is dead and its line is quiet."""
        self.stock.on_owner_down(peer, out)
        self._release_orphans(self._orphans.pop(peer, ()), out)

    def leave_node(self, out: list[Effect]) -> None:
        """The node is gone."""
        self.stock.leave_node(out)
        self.regions.leave_node(out)
        self._orphans.clear()

    def check(self) -> None:
        """Assert the invariants of both."""
        self.stock.check()
        self.regions.check()

    def _release_orphans(self, regions: Iterable[int], out: list[Effect]) -> None:
        self.regions.on_orphaned(self.stock.on_orphaned(regions), out)


def _unreferenced() -> Fault:
    return Fault(FaultKind.OBJECT_LOST, "", "nothing refers to it any more")
