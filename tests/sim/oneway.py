"""Simulated nodes some of which do not hear each other, while others hear both."""

from __future__ import annotations

from tests.sim.nodes import Nodes
from zgen.core.node_events import LinkCut, LinkHealed
from zgen.sim.world import Life


class OneWay(Nodes):
    """Several nodes, and links between them that are cut, one way or both.

    What is cut one way in the world of TCP soon carries nothing the other way either, but not at
    once; so both are tried. Either end is told in its own time, and of any third node: it may be
    none that reaches the other one, or be dead.

    Attributes:
        links: Links that are cut: from, to, and whether nothing passes the other way either.
    """

    def __init__(self, *given: object) -> None:
        super().__init__(*given)  # type: ignore[arg-type]  # as they came
        self.links: list[tuple[Life, Life, bool]] = []

    def cut_link(self, one: Life, other: Life, both: bool) -> None:
        """Let nothing pass from one node and its processes to another one."""
        self.links.append((one, other, both))
        for life in self._processes_of(one):
            self._cut_links(life, one)
        for teller, hearer in ((one, other), (other, one)):
            thirds = [node for node in self.living() if node not in (one, other)]
            by = self.world.random.choice(thirds).address.peer
            self._tell(teller, hearer, LinkCut(teller.address.peer, by))

    def heal_links(self) -> None:
        """Let everything pass again, and each end hear of it in its time."""
        links, self.links = self.links, []
        for one, other, _ in links:
            for mine in self._processes_of(one):
                for theirs in self._processes_of(other):
                    self.world.network.repair(mine.name, theirs.name)
            for teller, hearer in ((one, other), (other, one)):
                if not (teller.dead or teller.name in self.lost):
                    self._tell(teller, hearer, LinkHealed(teller.address.peer))

    def _cut_off(self, life: Life, node: Life) -> None:
        super()._cut_off(life, node)
        self._cut_links(life, node)

    def _cut_links(self, life: Life, node: Life) -> None:
        network = self.world.network
        for one, other, both in self.links:
            if node is one or node is other:
                for far in self._processes_of(other if node is one else one):
                    names = (life.name, far.name) if node is one else (far.name, life.name)
                    network.partition_oneway(*names)
                    if both:
                        network.partition_oneway(*reversed(names))
