"""Nodes that run their own membership, on the simulated network: they join, die, leave."""

from __future__ import annotations

from random import Random

from zgen.core.effects import Effect, Report
from zgen.core.events import InboxDrained, Leave
from zgen.core.identity import Identity
from zgen.core.node_effects import CheckDial, ClusterJoined, NodeFenced, NotJoined
from zgen.core.node_events import DialRefused, JoinCluster
from zgen.core.store_effects import ForgetLine
from zgen.ids import PeerId
from zgen.limits import MS, SECOND, STORE_BYTES_MIN
from zgen.sim.network import Rates
from zgen.sim.oracle import SimulationFailure
from zgen.sim.world import Life, World, sim_address
from zgen_node.core.member_node import MemberNode
from zgen_node.core.membership import Membership
from zgen_node.core.membership_profile import Candidate, fast
from zgen_node.core.node import NodeMachine

#: Longer than any member of the fast profile is silent before it is dead, and than that takes to
#: be known to all.
SILENCE_NS = 3 * SECOND
SETTLE_NS = 8 * SECOND
#: Within this long a killed node is dead to all, where nothing is lost and nobody sleeps: its port
#: refuses, and a second one says so too.
KILLED_NS = 800 * MS


class JoinedNodes:
    """A cluster of nodes, whose news and deaths are their own affair.

    Attributes:
        world: Where they live.
        nodes: Those that are to be members, by name.
        fenced: Names of those that were declared dead and ended for it.
        refused: Why nodes were not let in.
    """

    def __init__(self, seed: int) -> None:
        self.world = World(seed)
        self.nodes: dict[str, Life] = {}
        self.fenced: list[str] = []
        self.refused: list[str] = []
        self.joined: dict[str, int] = {}
        self.said: list[str] = []
        #: Nodes that may be held for dead: they died, left, or were silent for long.
        self.mortal: dict[PeerId, None] = {}
        self._random = Random(f"joined {seed}")
        self._begun = 0

    def begin(self, release: str = "0", seeds: tuple[str, ...] | None = None) -> Life:
        """Start a node that joins by those that are there."""
        self._begun += 1
        name = f"node{self._begun}"
        address = sim_address(name)
        total = (("CPU", 10_000 * self._begun),)
        node = NodeMachine(Identity(address, "3.11", release), total, False, STORE_BYTES_MIN)
        candidate = Candidate(
            address.peer, address.endpoint, "zgen", "3.11", release, self._random.randbytes(16)
        )
        machine = MemberNode(node, Membership(candidate, fast()))
        if seeds is None:
            seeds = tuple(life.address.endpoint for life in self.nodes.values())
        life = self.world.start(name, address, machine, self._perform)
        self.nodes[name] = life
        self.world.post(life, JoinCluster(seeds))
        return life

    def crash(self, life: Life) -> None:
        self._forget(life)
        self.world.crash(life)

    def leave(self, life: Life) -> None:
        self._forget(life)
        self.world.post(life, Leave("it is time"))

    def pause(self, life: Life, for_ns: int) -> None:
        self.mortal[life.address.peer] = None
        self.world.pause(life, for_ns)

    def sleep(self, life: Life) -> None:
        self.pause(life, SILENCE_NS)

    def run(self, for_ns: int) -> None:
        self.world.run(self.world.now_ns + for_ns)

    def known(self, life: Life) -> list[PeerId]:
        """Return whom a node knows and may send work to."""
        machine = life.machine
        assert isinstance(machine, MemberNode)
        return sorted(machine.node.cluster.view.members)

    def free(self, life: Life, of: Life) -> int:
        """Return how much CPU one node believes another one has."""
        machine = life.machine
        assert isinstance(machine, MemberNode)
        return machine.node.cluster.view.members[of.address.peer].free["CPU"]

    def change(self, life: Life) -> None:
        """Have a node say something new of itself, as it does when another one asks for a lease."""
        machine = life.machine
        assert isinstance(machine, MemberNode)
        machine.node.cluster.hosting.touched = True
        self.world.post(life, InboxDrained())

    def agree(self) -> None:
        """Require that all know all others and nobody else, as each of them says it is."""
        ids = sorted(life.address.peer for life in self.nodes.values())
        for life in self.nodes.values():
            others = [each for each in ids if each != life.address.peer]
            assert self.known(life) == others, f"{life.name} does not agree"
            machine = life.machine
            assert isinstance(machine, MemberNode)
            for other in self.nodes.values():
                if other is not life:
                    said = machine.node.cluster.view.members[other.address.peer].state
                    assert isinstance(other.machine, MemberNode)
                    state = other.machine.node.cluster.state()
                    assert said == state, f"{life.name} knows {said}, {other.name} is {state}"

    def nobody_knows(self, dead: Life) -> None:
        """Require that a dead node is dead to all that are awake."""
        for life in self.nodes.values():
            known = not life.paused and dead.address.peer in self.known(life)
            assert not known, f"{life.name} believes that {dead.name} lives"

    def nobody_died_falsely(self) -> None:
        """Require that each who is dead to somebody gave a reason for it."""
        for life in self.nodes.values():
            machine = life.machine
            assert isinstance(machine, MemberNode)
            for dead in machine.membership.standing.graves.listed():
                assert dead.node in self.mortal, f"{life.name} buried one that lived"

    # -- inside ------------------------------------------------------------------------------------
    def _forget(self, life: Life) -> None:
        self.mortal[life.address.peer] = None
        self.nodes.pop(life.name, None)

    def _begin_anew(self) -> None:
        self.begin()

    def _perform(self, life: Life, effect: Effect) -> None:
        match effect:
            case CheckDial(endpoint):
                listens = any(
                    each.address.endpoint == endpoint for each in self.world.lives.values()
                )
                if not listens:
                    self.world.post_later(life, DialRefused(endpoint), 1 * MS)
            case ClusterJoined(count):
                self.joined[life.name] = count
            case NotJoined(detail):
                self.refused.append(detail)
                self._forget(life)
                self.world.end(life, detail)
            case NodeFenced():
                self.fenced.append(life.name)
                self._forget(life)
                self.world.end(life, "declared dead")
                self.world.at(10 * MS, self._begin_anew)
            case Report(_, text):
                self.said.append(text)
            case ForgetLine(node):
                assert node not in self.known(life), f"{life.name} lets go of one that lives"
            case _:
                raise AssertionError(f"{life.name} cannot do {effect}")


def run_joined(seed: int) -> str:
    """Run one seed; return what went wrong, or nothing."""
    try:
        suffer(JoinedNodes(seed), seed)
    except (SimulationFailure, AssertionError) as failure:
        return f"{type(failure).__name__}: {failure}"
    return ""


def suffer(nodes: JoinedNodes, seed: int) -> None:
    """Have nodes come, go and suffer; then they rest, agree, and leave."""
    dice, changes = Random(seed), Random(f"changes {seed}")
    network = nodes.world.network
    loss = dice.choice((0.0, 0.01))
    # Nothing is damaged: probes come over tcp or encrypted, and a made up member is a member.
    network.rates = Rates(loss, loss, delay_ns_max=dice.choice((1, 5)) * MS)
    for _ in range(dice.choice((2, 3, 5))):
        nodes.begin()
    for _ in range(20):
        nodes.run(dice.randrange(500) * MS)
        stroke = dice.choice(("cut", "cut", "pause", "crash", "join", "leave", "sleep"))
        living = [life for life in nodes.nodes.values() if not life.paused]
        life = dice.choice(living)
        if stroke == "cut":
            network.cut()
        elif stroke == "pause":
            nodes.world.pause(life, 40 * MS)
        elif stroke == "join" and len(living) < 6:
            nodes.begin()
        elif len(living) > 2 and stroke in ("crash", "leave", "sleep"):
            {"crash": nodes.crash, "leave": nodes.leave, "sleep": nodes.sleep}[stroke](life)
            if stroke == "crash" and not loss and len(living) == len(nodes.nodes) + 1:
                nodes.run(KILLED_NS)
                nodes.nobody_knows(life)
        if changes.random() < 0.5:
            nodes.change(changes.choice(list(nodes.nodes.values())))
        nodes.nobody_died_falsely()
    network.heal()
    nodes.run(SILENCE_NS + SETTLE_NS)
    nodes.nobody_died_falsely()
    nodes.agree()
    for life in list(nodes.nodes.values()):
        nodes.leave(life)
    nodes.run(1 * SECOND)
    assert not nodes.world.lives, "who left lives on"
