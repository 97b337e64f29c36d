"""What holds of nodes that drain: nothing new begins there, and they go when nothing is left."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zgen.core.effects import Effect
from zgen.core.events import Event
from zgen.core.node_effects import Drained
from zgen.core.process import ProcessMachine
from zgen.ids import LeaseId, short
from zgen.limits import DRAIN_END_NS, SECOND
from zgen.sim.oracle import Kind, Oracle
from zgen.sim.world import Life
from zgen.wire.lease import ANYWHERE
from zgen_node.core.draining import Phase
from zgen_node.core.lease_table import LeaseState
from zgen_node.core.node import NodeMachine

if TYPE_CHECKING:
    from tests.sim.nodes import Nodes

#: How much longer than it was given a node may take: the word to it, and its own to the world.
_LATE_NS = 8 * SECOND
#: Longer than a worker lives that its node kills.
_KILLED_NS = 1 * SECOND


class DrainedNodes(Oracle):
    """P2, P4, P5: who drains begins nothing, ends nothing before its time, and leaves."""

    promise = "P5"

    def __init__(self, cluster: Nodes) -> None:
        self.cluster = cluster
        self.begun_count = 0
        #: Number of a node's life -> the node, and by when it must be gone.
        self._told: dict[int, tuple[Life, int]] = {}
        #: Number of a node's life -> leases that had a worker when it began to drain, and those
        #: that were met since.
        self._granted: dict[int, dict[LeaseId, None]] = {}
        #: Number of a node's life -> since when its time is over.
        self._ending_ns: dict[int, int] = {}
        #: Who forwarded a request where -> how many are there.
        self._forwards: dict[tuple[int, LeaseId], bytes] = {}
        #: Lease -> pushes under it when its owner heard that it closes.
        self._pushes: dict[tuple[int, LeaseId], int] = {}

    def told(self, node: Life, patience_ns: int) -> None:
        """A node is being told to drain."""
        until_ns = self.cluster.world.now_ns + patience_ns + DRAIN_END_NS + _LATE_NS
        self._told[node.number] = node, until_ns

    def open(self) -> list[Life]:
        """Return the nodes that were told and are there still."""
        return [node for node, _ in self._told.values() if not node.dead]

    def after_step(self, life: Life, event: Event, effects: list[Effect]) -> None:
        machine = life.machine
        if isinstance(machine, NodeMachine):
            if machine.draining.begun:
                self._look(life, machine, effects)
            self._look_at_forwards(life, machine)
        elif isinstance(machine, ProcessMachine) and effects:
            self._look_at_owner(life, machine)

    def _look(self, life: Life, machine: NodeMachine, effects: list[Effect]) -> None:
        now_ns = self.cluster.world.now_ns
        leases = machine.leases.all()
        known = self._granted.get(life.number)
        if known is None:
            self.begun_count += 1
            had = [lease.lease for lease in leases if lease.worker is not None]
            known = self._granted[life.number] = dict.fromkeys(had)
        view = machine.cluster.view.members.values()
        for lease in leases:
            name = lease.lease
            if name in known or lease.state is LeaseState.QUEUED:
                continue
            known[name] = None
            self.require(lease.via == lease.owner, f"{life.name} drains and takes in {short(name)}")
            others = lease.asked.strategy == ANYWHERE and [
                each
                for each in view
                if not each.draining
                and all(dict(each.state.total).get(what, 0) >= it for what, it in lease.shape)
            ]
            self.require(not others, f"{life.name} drains and begins {short(name)} itself")
        until_ns = self._told[life.number][1]
        late = f"{life.name} was to be gone {(now_ns - until_ns) / SECOND:.3f} s ago"
        lost = life.name in self.cluster.lost
        self.require(now_ns <= until_ns or lost, late, Kind.LIVENESS)
        if machine.draining.life.state is Phase.ENDING and not lost:
            since_ns = self._ending_ns.setdefault(life.number, now_ns)
            workers = [each for each in self.cluster.living_workers() if each.node is life]
            in_time = now_ns - since_ns < _KILLED_NS or not workers
            self.require(in_time, f"{life.name} is to end and {len(workers)} workers live")
        if any(type(effect) is Drained for effect in effects):
            self._look_at_end(life, machine)

    def _look_at_end(self, life: Life, machine: NodeMachine) -> None:
        if life.name in self.cluster.lost:
            return
        workers = [each for each in self.cluster.living_workers() if each.node is life]
        self.require(not workers, f"{life.name} leaves with {len(workers)} workers")
        if life.number in self.cluster.left_well:
            regions = [each for each in machine.storage.rooms.objects.all() if not each.is_copy]
            self.require(not regions, f"{life.name} leaves with {regions}")

    def _look_at_forwards(self, life: Life, machine: NodeMachine) -> None:
        """Nobody sends anything to whom it knows to drain."""
        view = machine.cluster.view
        for forward in machine.cluster.spillback.forwards.all():
            key = (life.number, forward.asked.lease)
            if self._forwards.get(key) != forward.node:
                self._forwards[key] = forward.node
                drains = view.members[forward.node].draining
                story = f"{life.name} sends {short(forward.asked.lease)} to one that drains"
                self.require(not drains, story)

    def _look_at_owner(self, life: Life, machine: ProcessMachine) -> None:
        for name, held in machine.owner.placement.leases.held.items():
            if held.closing:
                first = self._pushes.setdefault((life.number, name), held.pushes)
                self.require(held.pushes == first, f"{life.name} pushes under {short(name)}")
