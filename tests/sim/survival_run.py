"""Nodes that start no workers for a while, or run out of memory, beside all that nodes suffer."""

from __future__ import annotations

from random import Random

from tests.sim.cluster import Worker
from tests.sim.nodes import Nodes
from tests.sim.nodes_run import NodesRun
from tests.sim.oracles_survival import ErrorsOfSurvivors, MemoryVictims
from tests.sim.run import Outcome, run_seed
from zgen.core.effects import Effect
from zgen.core.events import WorkerExited
from zgen.core.node_effects import KillWorker, ReadMemory, SpawnWorker
from zgen.core.node_events import MemoryRead
from zgen.ids import ID_BYTES, LeaseId, PeerId
from zgen.limits import MS
from zgen.sim.trace import Trace
from zgen.sim.world import Life

#: Memory of a node, and how much of it is in use when it is full and when it is not.
TOTAL, FULL, SOME = 1000, 900, 100
#: How long a node is barren or full, at most.
TROUBLE_NS_MAX = 300 * MS
NO_LEASE = LeaseId(bytes(ID_BYTES))


class Survivors(Nodes):
    """Nodes with those troubles.

    Attributes:
        barren: Names of nodes where no worker starts.
        full: Names of nodes whose memory is full.
        failed_starts: Node's name -> workers that died there before they ran anything.
    """

    def __init__(self, *given: object) -> None:
        super().__init__(*given)  # type: ignore[arg-type]  # as they came
        self.barren: dict[str, None] = {}
        self.full: dict[str, None] = {}
        self.failed_starts: dict[str, int] = {}
        #: Workers that were never forked.
        self._unborn: dict[PeerId, None] = {}
        self.promises.errors = ErrorsOfSurvivors(self)
        self.world.oracles.append(MemoryVictims(self))

    def node_of(self, life: Life) -> Life:
        """Return the node of a driver or worker."""
        worker = self.workers.get(life.number)
        return worker.node if worker is not None else self.homes[life.number]

    def trouble(self, node: Life, which: dict[str, None]) -> None:
        """Let a trouble come over a node for a while."""
        which[node.name] = None
        for_ns = self.world.random.randrange(TROUBLE_NS_MAX)
        self.world.at(for_ns, which.pop, (node.name, None))

    def _perform_node(self, life: Life, effect: Effect) -> None:
        if isinstance(effect, ReadMemory):
            used = FULL if life.name in self.full else SOME
            names = {worker.name for worker in self.living_workers() if worker.node is life}
            sizes = tuple([(name, 7) for name, _ in effect.workers if name in names])
            self.world.post_later(life, MemoryRead(used, TOTAL, sizes))
        else:
            super()._perform_node(life, effect)

    def _fork(self, node: Life, effect: SpawnWorker) -> None:
        if node.name not in self.barren or node.dead:
            super()._fork(node, effect)
            return
        self._unborn[effect.worker] = None
        self.failed_starts[node.name] = self.failed_starts.get(node.name, 0) + 1
        self.spawn_failures += 1
        exited = WorkerExited(effect.worker, 0, 1, 0, "no fork", NO_LEASE, 0)
        self.world.post_later(node, exited)

    def _kill(self, node: Life, effect: KillWorker) -> None:
        if effect.worker not in self._unborn:
            super()._kill(node, effect)

    def _on_death(self, life: Life, reason: str) -> None:
        worker: Worker | None = self.workers.get(life.number)
        if worker is not None and not worker.started:
            name = worker.node.name
            self.failed_starts[name] = self.failed_starts.get(name, 0) + 1
        super()._on_death(life, reason)


class SurvivalRun(NodesRun):
    """Such nodes under the hardship of one seed."""

    make_cluster = Survivors
    cluster: Survivors

    def __init__(self, seed: int, trace: Trace | None = None) -> None:
        super().__init__(seed, trace)
        random = Random(f"survival {seed}")
        if random.random() < 0.8:
            self.cluster.settings.memory_ppm = 500_000
            self.cluster.settings.kill_ns_max = random.choice((1, 150)) * MS
            self.hardship.every_ns["full"] = random.choice((100, 300)) * MS
        if random.random() < 0.8:
            self.hardship.every_ns["barren"] = random.choice((100, 300)) * MS
        self.faults.strokes.update({"full": self._full, "barren": self._barren})

    def _full(self) -> bool:
        """A node's memory is full for a while."""
        nodes = self.cluster.living()
        if nodes:
            self.cluster.trouble(self.cluster.world.random.choice(nodes), self.cluster.full)
        return bool(nodes)

    def _barren(self) -> bool:
        """No worker starts on a node for a while that is no driver's."""
        homes = [self.cluster.homes[u.life.number] for u in self.cluster.drivers.values()]
        nodes = [node for node in self.cluster.living() if node not in homes]
        if nodes:
            self.cluster.trouble(self.cluster.world.random.choice(nodes), self.cluster.barren)
        return bool(nodes)


def run_survival(seed: int, trace: Trace | None = None) -> Outcome:
    """Run one seed of this scenario."""
    return run_seed(seed, trace, SurvivalRun)
