"""What holds between nodes: no lease is granted twice, and nothing is left of the dead."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zgen.core.effects import Effect
from zgen.core.events import Event
from zgen.ids import LeaseId, short
from zgen.sim.oracle import Oracle
from zgen.sim.world import Life
from zgen_node.core.lease_table import LeaseState
from zgen_node.core.node import NodeMachine

if TYPE_CHECKING:
    from tests.sim.nodes import Nodes

_GRANTED = (LeaseState.GRANTED, LeaseState.BLOCKED)


class NodesAgree(Oracle):
    """P5, P3: a lease is granted by one node; survivors keep nothing of the dead."""

    promise = "P5"

    def __init__(self, cluster: Nodes) -> None:
        self.cluster = cluster
        #: Lease -> who granted it.
        self._granted: dict[LeaseId, Life] = {}
        self.far_grants = 0

    def after_step(self, life: Life, event: Event, effects: list[Effect]) -> None:
        machine = life.machine
        if not isinstance(machine, NodeMachine) or not effects:
            return
        for lease in machine.leases.all():
            if lease.state not in _GRANTED:
                continue
            first = self._granted.get(lease.lease)
            if first is life:
                continue
            if first is None:
                self.far_grants += lease.via != lease.owner
            else:
                lost = self.cluster.lost
                dead = first.dead or first.name in lost or life.name in lost
                self.require(dead, f"{short(lease.lease)} granted by {first.name} and {life.name}")
            self._granted[lease.lease] = life

    def at_rest(self, *, empty: bool = False) -> None:
        world = self.cluster.world
        living = {life.address.peer for life in world.lives.values()}
        nodes = [life for life in world.lives.values() if isinstance(life.machine, NodeMachine)]
        for life in nodes:
            machine = life.machine
            assert isinstance(machine, NodeMachine)
            cluster = machine.cluster
            others = {other.address.peer for other in nodes if other is not life}
            self.require(set(cluster.view.members) == others, f"{life.name} sees other nodes")
            self.require(not cluster.spillback.forwards.all(), f"{life.name} keeps forwards")
            for process in cluster.monitors.far._far:
                self.require(process in living, f"{life.name} watches the dead {short(process)}")
            for process in machine._peers.monitors._watchers:
                self.require(process in living, f"{life.name} monitors {short(process)}")
            for other in nodes:
                if other is not life:
                    free = dict(cluster.view.members[other.address.peer].free)
                    theirs = other.machine
                    assert isinstance(theirs, NodeMachine)
                    actual = dict(theirs.leases.resources.free)
                    self.require(free == actual, f"{life.name} sees {free} of {other.name}")
            if empty:
                self.require(not list(machine.jobs), f"{life.name} keeps jobs")
                self.require(not cluster.monitors.far._far, f"{life.name} watches somebody")
