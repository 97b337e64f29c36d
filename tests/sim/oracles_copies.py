"""P2 and P3 of shared memory on several nodes: what is copied, and what went with a node."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.sim.oracles_store import RegionsKept, StoreAnswers
from zgen.core.effects import Effect
from zgen.core.events import Event
from zgen.core.node_events import MemberGone
from zgen.ids import PeerId, node_tag, region_tag
from zgen.sim.world import Life
from zgen.wire.session import Address
from zgen.wire.value import Stored
from zgen_node.core.node import NodeMachine
from zgen_node.core.object_table import RegionState
from zgen_node.core.pulls import Pull

if TYPE_CHECKING:
    from tests.sim.memory import Memory
    from tests.sim.nodes import Nodes
    from tests.sim.programs import Consumer


class RegionsOfNode(RegionsKept):
    """P3 on one of several nodes: its own regions, and its copies of others'."""

    def __init__(self, cluster: Nodes, memory: Memory) -> None:
        super().__init__(cluster)
        self.of = memory
        self.nodes = cluster
        #: Region of another node -> since when a whole copy is here, and who owns the value.
        self.copied: dict[int, tuple[int, Address | None]] = {}
        #: Copyings under way, and since when all others are asked, if they are.
        self._pulls: dict[int, tuple[Pull, int | None]] = {}

    def after_step(self, life: Life, event: Event, effects: list[Effect]) -> None:
        assert isinstance(life.machine, NodeMachine)
        self.after_node_step(life.machine)
        copied, now_ns = self.copied, self.cluster.world.now_ns
        objects = life.machine.storage.rooms.objects
        self.copied = {
            region.region: copied.get(region.region) or (now_ns, region.owned_by)
            for region in objects.all()
            if region.is_copy and region.state is RegionState.MEMORY
        }
        if isinstance(event, MemberGone):
            self._left(life.machine, event.node, copied)
        self._asked(life, life.machine, now_ns)

    def none_left(self) -> None:
        """Copies of what lay on nodes that are gone went with the last reference."""
        homes = [node_tag(node.address.peer) for node in self.nodes.living()]
        left = [number for number in self.copied if region_tag(number) not in homes]
        self.require(not left, f"{self.memory.node.name} keeps copies of {left}")

    def _left(
        self, machine: NodeMachine, gone: PeerId, before: dict[int, tuple[int, Address | None]]
    ) -> None:
        """A copy stays when the node of its region goes, if its owner is heard of."""
        members = machine.cluster.view.members
        for number, (_, owner) in before.items():
            if region_tag(number) != node_tag(gone) or owner is None or number in self.copied:
                continue
            heard = owner.node in members and owner.node != gone
            dead = machine._peers.session.is_fenced(owner.peer, owner.incarnation)
            self.require(dead or not heard, f"copy of {number} let go with its node")

    def _asked(self, life: Life, machine: NodeMachine, now_ns: int) -> None:
        """Whoever has a whole copy gives it when the node of the region is gone."""
        before, under_way = self._pulls, machine.cluster.copies.pulls.all()
        self._pulls = {}
        for pull in under_way:
            _, since_ns = before.pop(pull.pull, (pull, None))
            if since_ns is None and pull.node == life.address.peer:
                since_ns = now_ns
            self._pulls[pull.pull] = (pull, since_ns)
        view, lost = machine.cluster.view, self.nodes.lost
        for pull, since_ns in before.values():
            is_known = region_tag(pull.region) in view.tags or life.name in lost
            if is_known or pull.size_bytes:
                continue
            for other in self.nodes.living():
                copies = self.nodes.regions[other.number].copied
                made_ns = copies[pull.region][0] if pull.region in copies else now_ns
                had = made_ns < (now_ns if since_ns is None else since_ns)
                self.require(
                    not had or other.address.peer not in view.members,
                    f"{life.name} finds {pull.region} lost, {other.name} has a copy",
                )


class StoreAnswersOfNodes(StoreAnswers):
    """P2: what is refused or lost for the sake of another node is so for a cause."""

    def __init__(self, cluster: Nodes) -> None:
        super().__init__(cluster)
        self.nodes = cluster

    def is_lost(self, user: Consumer, owner: Life) -> bool:
        both = (self.nodes.memory_of(user.life).node, self.nodes.memory_of(owner).node)
        return any(node.dead or node.name in self.nodes.lost for node in both)

    def is_gone(self, user: Consumer, value: Stored) -> bool:
        mine = self.nodes.memory_of(user.life)
        if mine.node.name in self.nodes.lost:
            return True
        for memory in self.nodes.memories.values():
            if node_tag(memory.node.address.peer) == region_tag(value.region):
                node = memory.node
                return node.dead or node.name in self.nodes.lost or value.region in memory.lost
        return False
