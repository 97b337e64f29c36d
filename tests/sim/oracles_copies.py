"""P2 and P3 of shared memory on several nodes: what is copied, and what went with a node."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.sim.oracles_store import RegionsKept, StoreAnswers
from zgen.core.effects import Effect
from zgen.core.events import Event
from zgen.ids import node_tag, region_tag
from zgen.sim.world import Life
from zgen.wire.value import Stored
from zgen_node.core.node import NodeMachine

if TYPE_CHECKING:
    from tests.sim.memory import Memory
    from tests.sim.nodes import Nodes
    from tests.sim.programs import Consumer


class RegionsOfNode(RegionsKept):
    """P3 on one of several nodes: its own regions, and its copies of others'."""

    def __init__(self, cluster: Nodes, memory: Memory) -> None:
        super().__init__(cluster)
        self.of = memory

    def after_step(self, life: Life, event: Event, effects: list[Effect]) -> None:
        assert isinstance(life.machine, NodeMachine)
        self.after_node_step(life.machine)


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
