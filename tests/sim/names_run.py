"""Names of actors over several nodes: claimed, found and freed while nodes die or are cut off."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from random import Random
from typing import cast

from tests.sim.nodes import Nodes
from tests.sim.nodes_run import NodesRun, PlacedActors
from tests.sim.oracles_names import NamesAreUnique
from tests.sim.run import LIVENESS_NS_MAX, Outcome, run_seed
from zgen.core.actor_events import FindActor, NameActor
from zgen.core.node_events import NodeEvent
from zgen.ids import ActorId
from zgen.limits import MS, SECOND
from zgen.sim.oracle import Kind
from zgen.sim.trace import Trace
from zgen.sim.world import Life
from zgen_node.core import electorate, naming
from zgen_node.core.node import NodeMachine

NAMES = ("one", "two", "three")
#: Mean time between two strokes of this scenario.
SPLIT_NS = 500 * MS
#: A silent node counts so much longer here; the longest difference in noticing is 400 ms.
SILENCE_NS = 600 * MS
#: Who was refused a name waits for so long.
REFUSED_NS = 40 * MS
#: Mean time between two nodes that join, and how many there may be.
JOIN_NS = 150 * MS
NODES_COUNT_MAX = 6


class NamedNodes(Nodes):
    """Nodes of which a new one knows all others at once, as real ones do when they have joined.

    Attributes:
        proofs: Whether it is seen of a dead node that it is dead.
    """

    proofs = True

    def _tell(self, teller: Life, hearer: Life, event: NodeEvent) -> None:
        if hearer.name == f"n{self._nodes_begun:03d}" and hearer.steps == 0:
            self.world.post(hearer, event)
        else:
            super()._tell(teller, hearer, event)

    def is_proven(self, node: Life) -> bool:
        return self.proofs and node.dead

    def lose_side(self, side: list[Life], for_ns: int) -> None:
        """Cut some nodes off from all others, which are more; in the end the smaller side ends."""
        others = [other for other in self.living() if other not in side]
        for node in side:
            self.lost[node.name] = None
            self.node_deaths += 1
            self.lost_count += 1
            for other in others:
                self._split(node, other)
                self._gone(other, node, "nobody hears it")
                self._gone(node, other, "it does not answer")
        for node in side:
            self.world.at(self.detect_ns_max + for_ns, self._heal, (node,))


class NamePrograms(PlacedActors):
    """One driver's user, who wants names, and looks for them."""

    def kinds(self) -> tuple[Callable[[str], None], ...]:
        return (self._named, self._named, self._seek)

    def _named(self, number: str) -> None:
        name = self.random.choice(NAMES)
        mine = ActorId(self._next())
        self.queries += 1
        self.active[number] = f"the name {name}"
        event = NameActor(self.queries, "", name, mine, b"")
        self.user.ask_name(event, partial(self._told, number, name, mine))

    def _told(self, number: str, name: str, mine: ActorId, actor: ActorId) -> None:
        if actor == mine:
            self._create(number, mine, name)
        elif actor in self.cluster.actors:
            self._drive(number, actor, 1, is_mine=False)
        else:
            self.user.later(REFUSED_NS, partial(self.done, number))

    def _seek(self, number: str) -> None:
        """Look for a name some times."""
        self.active[number] = "who has a name"
        left = self.random.choice((1, 3, 6))

        def seen(actor: ActorId) -> None:
            nonlocal left
            left -= 1
            if left and not self.user.life.dead:
                self.user.later(self.random.randrange(30 * MS), ask)
            else:
                self.done(number)

        def ask() -> None:
            self.queries += 1
            event = FindActor(self.queries, "", self.random.choice(NAMES))
            self.user.ask_name(event, seen)

        ask()


class NamesRun(NodesRun):
    """Names under the hardship of one seed."""

    make_cluster: type[Nodes] = NamedNodes

    def __init__(self, seed: int, trace: Trace | None = None) -> None:
        super().__init__(seed, trace)
        random = Random(f"names {seed}")
        self.count = random.choice((1, 2, 3, 4, 5, 5))
        self.cluster.settings.drivers = min(self.count, random.choice((2, 3, 4)))
        self.cluster.places = False
        cast("NamedNodes", self.cluster).proofs = random.random() < 0.7
        self.program_class = NamePrograms
        self.activities = 72 // self.cluster.settings.drivers
        if random.random() < 0.5:
            self.hardship.every_ns["split"] = SPLIT_NS
            self.hardship.every_ns.pop("lost", None)
        if seed % 4 == 3:  # many cuts, and the first while the cluster forms
            self.hardship.every_ns["split"] = SPLIT_NS // 25
            self.hardship.every_ns.pop("lost", None)
            self.cluster.gossip_ns_max = 150 * MS
        self.hardship.every_ns["join"] = JOIN_NS
        self.faults.strokes["split"] = self._split
        self.faults.strokes["join"] = self._join
        self.dice = random
        self.names = NamesAreUnique(self.cluster)
        self.cluster.world.oracles.append(self.names)

    @property
    def counts(self) -> Mapping[str, int]:
        return {
            "names given": self.names.given,
            "names found": self.names.found,
            "names refused": self.names.refused,
        }

    def run(self) -> None:
        vars(electorate)["NAMES_SILENCE_NS"] = vars(naming)["NAMES_SILENCE_NS"] = SILENCE_NS
        try:
            super().run()
        finally:
            vars(electorate)["NAMES_SILENCE_NS"] = 10 * SECOND
            vars(naming)["NAMES_SILENCE_NS"] = 10 * SECOND

    def at_rest(self) -> None:
        """Every name can be taken again, on a side that may give names."""
        self.names.at_rest()
        living = [node.machine for node in self.cluster.living()]
        electors = [cast("NodeMachine", each).cluster.naming.electorate for each in living]
        if any(each.silent for each in electors):  # too many fell silent at a time
            return
        got: dict[str, list[bool]] = {}
        for program in self.programs:
            assert isinstance(program, NamePrograms)
            life = program.user.life
            for name in NAMES if not life.dead and not self.cluster.homes[life.number].dead else ():
                program.queries += 1
                mine = ActorId(program._next())
                event = NameActor(program.queries, "", f"{name} of {life.name}", mine, b"")
                told = got.setdefault(event.name, [])
                program.user.ask_name(event, partial(self._took, told, mine))
        world = self.cluster.world
        world.run(world.now_ns + LIVENESS_NS_MAX)
        for what, told in got.items():
            self.names.require(told == [True], f"{what}: {told}, when all is well", Kind.LIVENESS)

    def _took(self, told: list[bool], mine: ActorId, actor: ActorId) -> None:
        told.append(actor == mine)

    def _join(self) -> bool:
        """One more node joins."""
        if len(self.cluster.nodes) >= NODES_COUNT_MAX:
            return False
        self.cluster.join_node(self.dice.randrange(2))
        return True

    def _split(self) -> bool:
        """Fewer than half of the nodes are cut off together; each side holds the other for dead."""
        nodes = self.cluster.living()
        count = (len(nodes) - 1) // 2
        if not count or len(nodes) < len(self.cluster.nodes):
            return False
        side = self.dice.sample(nodes, count)
        cast("NamedNodes", self.cluster).lose_side(side, self.dice.randrange(2000) * MS)
        for node in side:
            self.cluster.world.at(20 * MS, self._revive, (node,))
        return True


def run_names(seed: int, trace: Trace | None = None) -> Outcome:
    """Run one seed of this scenario."""
    return run_seed(seed, trace, NamesRun)
