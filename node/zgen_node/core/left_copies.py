"""Copies that outlive the nodes of their regions: for whom they are kept, and who is told.

Rules of this file: what is left of regions whose nodes are gone. How a copy is made or found is not
known here.

Theory of operation. A node that gives away a copy says who owns the value. When it is gone, who
has that copy keeps it for the owner, tells him so, and hears of his end. He answers for what he
does not refer to any more as for what a dead writer left; and he says when he is done with the
rest. His words go by his own node, which notes who keeps what for him. A node whose processes want
what nobody is known to have asks all others for it.
"""

from zgen.core.effects import Effect, Send
from zgen.core.marks import reached
from zgen.ids import PeerId, node_tag, region_tag
from zgen.limits import ARRAY_COUNT_MAX, NODES_ASKED_COUNT_MAX
from zgen.wire.session import Address
from zgen.wire.store import RegionsOrphaned
from zgen.wire.transfer import FarOrphaned
from zgen_node.core.far_monitors import FarMonitors
from zgen_node.core.object_table import Region, RegionState
from zgen_node.core.peers import Peers
from zgen_node.core.storage import Storage
from zgen_node.core.view import View


class LeftCopies:
    """What is left of regions whose nodes are gone, here and for processes of this node."""

    def __init__(
        self, me: PeerId, peers: Peers, storage: Storage, view: View, monitors: FarMonitors
    ) -> None:
        """Start with none."""
        self._session = peers.session
        self._me = me
        self._storage = storage
        self._objects = storage.rooms.objects
        self._view = view
        self._monitors = monitors
        #: Process of this node -> region that it owns -> nodes that keep a copy of it. Added by
        #: ``note``; removed by ``keepers``, and when the process or the node is gone.
        self._kept: dict[PeerId, dict[int, dict[PeerId, None]]] = {}

    def home_of(self, number: int) -> PeerId | None:
        """Return which node a copy is of: this one if its own is gone and another may have it."""
        tag = region_tag(number)
        if tag == node_tag(self._me) or not self._view.members:
            return None
        return self._view.tags.get(tag, self._me)

    def nodes_of(self, home: PeerId) -> list[PeerId]:
        """Return whom to ask for a region: its node, or all others if that is gone."""
        if home != self._me:
            return [home]
        reached("region of a node that is gone asked for of all others")
        return list(self._view.members)[:NODES_ASKED_COUNT_MAX]

    def owner_of(self, region: Region) -> tuple[Address, ...]:
        """Return who owns the value in a region, if that is known."""
        if region.is_copy:
            return () if region.owned_by is None else (region.owned_by,)
        far = self._monitors.far.get(region.owner)
        if far is not None:
            return (Address(region.owner, far.incarnation, "", far.node),)
        if region.owner_done or not self._session.knows(region.owner):
            return ()
        life = self._session.address_of(region.owner).incarnation
        return (Address(region.owner, life, "", self._me),)

    def learn(self, region: int, owner: tuple[Address, ...]) -> None:
        """Note who owns the value of a copy, as the node says that has it."""
        copy = self._objects.get(region)
        if copy is not None and owner:
            copy.owned_by = owner[0]

    def keep(self, node: PeerId, now_ns: int, out: list[Effect]) -> None:
        """A node is gone: keep what is copied of its regions for the owners, and tell them."""
        left: dict[tuple[PeerId, PeerId], list[int]] = {}
        for copy in self._objects.copies_of(node):
            owner = copy.owned_by
            if copy.state is not RegionState.MEMORY or owner is None:
                continue
            if self._is_there(owner, now_ns, out):
                reached("copy kept whose node is gone")
                self._objects.adopt(copy, owner.peer)
                left.setdefault((owner.peer, owner.node), []).append(copy.region)
        for (process, home), numbers in left.items():
            for start in range(0, len(numbers), ARRAY_COUNT_MAX):
                part = tuple(numbers[start : start + ARRAY_COUNT_MAX])
                if home == self._me:
                    out.append(Send(process, RegionsOrphaned(node, part)))
                else:
                    self._monitors.dial(home, out)
                    out.append(Send(home, FarOrphaned(process, node, part)))

    def note(self, keeper: PeerId, process: PeerId, regions: tuple[int, ...]) -> None:
        """Another node says what it keeps for a process of this one, or what its writers left."""
        for number in regions:
            if region_tag(number) != node_tag(keeper):
                kept = self._kept.setdefault(process, {})
                kept.setdefault(number, {})[keeper] = None

    def keepers(self, process: PeerId, regions: list[int]) -> list[tuple[PeerId, tuple[int, ...]]]:
        """Return who keeps copies of regions that a process is done with, and of which."""
        kept = self._kept.get(process)
        if kept is None:
            return []
        parts: dict[PeerId, list[int]] = {}
        for number in regions:
            for node in kept.pop(number, ()):
                parts.setdefault(node, []).append(number)
        if not kept:
            del self._kept[process]
        return [(node, tuple(part)) for node, part in parts.items()]

    def died(self, peer: PeerId) -> None:
        """A process is dead, or a node gone: it keeps nothing, and nothing is kept for it."""
        self._kept.pop(peer, None)
        for process, kept in list(self._kept.items()):
            for number, nodes in list(kept.items()):
                nodes.pop(peer, None)
                if not nodes:
                    del kept[number]
            if not kept:
                del self._kept[process]

    def check(self) -> None:
        """Assert that something is kept for each process that stands here, by members."""
        for kept in self._kept.values():
            assert kept, "a process without copies"
            for nodes in kept.values():
                assert nodes, "a copy that nobody keeps"
                assert all(node in self._view.members for node in nodes), "kept by who is gone"

    def _is_there(self, owner: Address, now_ns: int, out: list[Effect]) -> bool:
        """Return whether an owner lives, as far as is known; its end is told then."""
        if self._storage.is_known(owner.peer):
            return True
        return owner.node in self._view.members and self._monitors.watch(owner, now_ns, out)
