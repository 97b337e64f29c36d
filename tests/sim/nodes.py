"""A simulated cluster of several nodes, whose membership is the world's: late, and never wrong."""

from __future__ import annotations

from random import Random

from tests.sim.cluster import Cluster, Settings, Worker
from tests.sim.memory import Memory
from tests.sim.oracles_copies import RegionsOfNode, StoreAnswersOfNodes
from tests.sim.programs import Consumer
from zgen.core.effects import Effect
from zgen.core.events import Leave
from zgen.core.node_effects import Drained, PublishState, SpawnWorker
from zgen.core.node_events import MemberGone, MemberSaid, NodeEvent
from zgen.ids import PeerId
from zgen.limits import MS
from zgen.sim.trace import Trace
from zgen.sim.world import Life
from zgen.wire.codec import encode
from zgen_node.core.node import NodeMachine

#: Labels of nodes, by kind.
ZONES = ("east", "west")


class Nodes(Cluster):
    """Several nodes that know each other.

    Attributes:
        nodes: Node's name -> its life. Removed when somebody new takes its place.
        kinds: Node's name -> what it is made of.
        homes: Number of a driver's life -> its node.
        memories: Number of a node's life -> its shared memory.
        regions: The same -> who looks at what lies there.
        chunk_lines: Node -> likewise, for parts that go from node to node.
        lost: Names of nodes that were declared dead and have not noticed.
        left_well: Numbers of the lives of nodes that drained, ended nothing, and left.
        places: Whether tasks may run in certain places only, drawn from ``place_dice``.
        gossip_ns_max: The longest that news of a node takes to another one.
        detect_ns_max: The longest that the news of a node's death takes.
    """

    def __init__(self, seed: int, settings: Settings, trace: Trace | None = None) -> None:
        super().__init__(seed, settings, trace)
        self.nodes: dict[str, Life] = {}
        self.homes: dict[int, Life] = {}
        self.memories: dict[int, Memory] = {}
        self.regions: dict[int, RegionsOfNode] = {}
        self.chunk_lines: dict[PeerId, Memory] = {}
        self.promises.store = StoreAnswersOfNodes(self)
        self.lost: dict[str, None] = {}
        self.left_well: dict[int, None] = {}
        self.gossip_ns_max = 20 * MS
        self.detect_ns_max = 200 * MS
        self.kinds: dict[str, int] = {}
        self.places = False
        self.place_dice = Random(seed)
        self._nodes_begun = 0
        self._drivers_begun = 0
        #: Number of a node -> what it last had published of itself; who is new hears that.
        self._said: dict[int, MemberSaid] = {}
        #: (teller, hearer) -> when the last news arrives; the next one comes after it.
        self._news_ns: dict[tuple[str, str], int] = {}
        #: Pairs of nodes that are cut off from each other.
        self._splits: list[tuple[Life, Life]] = []

    # -- nodes -------------------------------------------------------------------------------------
    def begin_all(self, count: int) -> None:
        """Start the nodes, and the drivers on the first of them."""
        for _ in range(count):
            self.join_node(self._nodes_begun)
        for number in range(self.settings.drivers):
            self.begin_driver_at(self.living()[number % count])

    def join_node(self, kind: int) -> Life:
        """Start a node that is new to all; those of odd kinds have a further resource."""
        self._nodes_begun += 1
        total = [("CPU", self.settings.cpus)]
        if kind % 2:
            total.append(("magic", 20_000))
        labels = (("zone", ZONES[kind % 2]),)
        node = self.begin_node(f"n{self._nodes_begun:03d}", tuple(total), labels)
        self.kinds[node.name] = kind
        size_bytes, disk = self.settings.store_bytes, self.settings.disk
        memory = Memory(self.world, node, size_bytes, disk, self.counts)
        self.memories[node.number] = memory
        self.chunk_lines[node.address.peer] = memory
        memory.chunks.others = self.chunk_lines
        self.regions[node.number] = regions = RegionsOfNode(self, memory)
        node.oracles.append(regions)
        machine = node.machine
        assert isinstance(machine, NodeMachine)
        machine.cluster.publishes = True
        self.nodes[node.name] = node
        said = self._said[node.number] = MemberSaid(encode(machine.cluster.state())[0])
        for other in self.living():
            if other is not node:
                self._tell(other, node, self._said[other.number])
                self._tell(node, other, said)
        return node

    def memory_of(self, life: Life) -> Memory:
        worker = self.workers.get(life.number)
        node = worker.node if worker is not None else self.homes.get(life.number, life)
        return self.memories[node.number]

    def living(self) -> list[Life]:
        """Return the nodes that live and that nobody has declared dead."""
        return [n for n in self.nodes.values() if not n.dead and n.name not in self.lost]

    def is_gone(self, place: str) -> bool:
        how, _, peer = place.partition(" ")
        living = [node.address.peer.hex() for node in self.living()]
        return how == "hard" and peer not in living

    def placed(self, worker: Worker, place: str) -> None:
        how, _, peer = place.partition(" ")
        kind = self.kinds[worker.node.name]
        allowed = {
            "magic": kind % 2 == 1,
            "east": ZONES[kind % 2] == "east",
            "west": ZONES[kind % 2] == "west",
            "hard": worker.node.address.peer.hex() == peer,
        }
        self.promises.hangs.require(allowed.get(how, True), f"{place} on {worker.node.name}")

    def begin_driver_at(self, node: Life) -> None:
        if node.dead:
            return
        self._drivers_begun += 1
        name = f"driver{self._drivers_begun}"
        self.begin_driver_of(node, name)
        life = self.world.lives[name]
        self._cut_off(life, node)

    def driver_begun(self, life: Life, node: Life) -> None:
        self.homes[life.number] = node

    def drivers_of(self, node: Life) -> list[Consumer]:
        return [user for user in self.drivers.values() if self.homes[user.life.number] is node]

    def _tell(self, teller: Life, hearer: Life, event: NodeEvent) -> None:
        way = (teller.name, hearer.name)
        at_ns = self.world.now_ns + self.world.random.randrange(self.gossip_ns_max)
        at_ns = self._news_ns[way] = max(at_ns, self._news_ns.get(way, 0) + 1)
        self.world.post_later(hearer, event, at_ns - self.world.now_ns)

    def _perform_node(self, life: Life, effect: Effect) -> None:
        if isinstance(effect, Drained):
            machine = life.machine
            assert isinstance(machine, NodeMachine)
            if not machine.cluster.spillback.closed and life.name not in self.lost:
                self.left_well[life.number] = None
            self.world.post(life, Leave("the node was drained"))
        elif isinstance(effect, PublishState):
            said = self._said[life.number] = MemberSaid(effect.payload)
            for other in self.living():
                if other is not life and life.name not in self.lost:
                    self._tell(life, other, said)
        else:
            super()._perform_node(life, effect)

    # -- ends --------------------------------------------------------------------------------------
    def _on_death(self, life: Life, reason: str) -> None:
        super()._on_death(life, reason)
        if life.number in self.left_well and life.name not in self.lost:
            self.node_deaths -= 1  # it is no excuse for anything
        else:
            self.lost_count += isinstance(life.machine, NodeMachine)
        if isinstance(life.machine, NodeMachine) and life.name not in self.lost:
            self._declare(life, "it is dead")

    def _declare(self, node: Life, reason: str) -> None:
        """Tell every other node that this one is gone, each in its time."""
        for other in self.living():
            if other is not node:
                self._gone(other, node, reason)

    def _gone(self, hearer: Life, node: Life, reason: str) -> None:
        delay_ns = self.world.random.randrange(self.detect_ns_max)
        at_ns = max(self.world.now_ns + delay_ns, self._news_ns.get((node.name, hearer.name), 0))
        gone = MemberGone(node.address.peer, reason, self.is_proven(node))
        self.world.post_later(hearer, gone, at_ns + 1 - self.world.now_ns)

    def is_proven(self, node: Life) -> bool:
        """Return whether it is known of a node that is gone that it does not live on."""
        return node.dead

    def end_machine(self, node: Life) -> None:
        """A machine fails: its node and all that ran there end at once."""
        for life in self._processes_of(node):
            self.world.crash(life, "its machine failed")

    def lose(self, node: Life, for_ns: int) -> None:
        """Cut a node off from all others until each holds the other for dead; then it ends.

        It is the lost one that ends: the others stay who they are.
        """
        others = [other for other in self.living() if other is not node]
        self.lost[node.name] = None
        self.node_deaths += 1  # to everybody else
        self.lost_count += 1
        for other in others:
            self._split(node, other)
            self._gone(other, node, "nobody hears it")
            self._gone(node, other, "it does not answer")
        self.world.at(self.detect_ns_max + for_ns, self._heal, (node,))

    def _heal(self, node: Life) -> None:
        """The lost one is heard again, and soon hears that it is dead."""
        splits, self._splits = self._splits, []
        for pair in splits:
            if node in pair:
                for one in self._processes_of(pair[0]):
                    for other in self._processes_of(pair[1]):
                        self.world.network.repair(one.name, other.name)
            else:
                self._splits.append(pair)
        self.world.at(self.world.random.randrange(200 * MS), self.end_machine, (node,))

    def _split(self, one: Life, other: Life) -> None:
        self._splits.append((one, other))
        for mine in self._processes_of(one):
            self._cut_off(mine, one)

    def _cut_off(self, life: Life, node: Life) -> None:
        """Let a process suffer the partitions of its node."""
        for pair in self._splits:
            if node in pair:
                for other in self._processes_of(pair[0] if node is pair[1] else pair[1]):
                    self.world.network.partition(life.name, other.name)

    def _processes_of(self, node: Life) -> list[Life]:
        lives = [node, *(worker.life for worker in self.living_workers() if worker.node is node)]
        lives += [user.life for user in self.drivers_of(node) if not user.life.dead]
        return [life for life in lives if not life.dead]

    def _fork(self, node: Life, effect: SpawnWorker) -> None:
        before = self.world.started_count
        super()._fork(node, effect)
        for worker in list(self.workers.values()):
            if worker.life.number > before:
                self._cut_off(worker.life, node)
