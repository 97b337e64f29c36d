"""Nodes that are told to drain, under load and whatever else happens to them."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from tests.sim.cluster import PYTHON, RELEASE
from tests.sim.copies_run import CopiesRun
from tests.sim.oracles_drain import DrainedNodes
from tests.sim.run import Outcome, run_seed
from zgen.core.effects import Effect
from zgen.core.events import Join
from zgen.core.identity import Identity
from zgen.ids import ID_BYTES, JobId
from zgen.io.inquiry import Inquiry
from zgen.limits import MS, SECOND
from zgen.sim.trace import Trace
from zgen.sim.world import Life, sim_address
from zgen.wire.cluster import DrainNode

#: Mean time between two drains, at the mildest.
DRAIN_NS = 250 * MS
PATIENCES_NS = (0, 60 * MS, 400 * MS, 3 * SECOND, 30 * SECOND, 30 * SECOND)
#: What else may end processes; none of it falls upon every third seed.
_DEADLY = ("worker", "driver", "node", "machine", "lost", "zombie", "writer", "reader", "owner")


class DrainRun(CopiesRun):
    """Nodes under the hardship of one seed, some of which are drained."""

    def __init__(self, seed: int, trace: Trace | None = None) -> None:
        super().__init__(seed, trace)
        random = Random(f"drains {seed}")
        self.hardship.every_ns["drain"] = DRAIN_NS // random.choice((1, 2, 4))
        if seed % 3 == 0:  # nothing else excuses what ends
            for name in _DEADLY:
                self.hardship.every_ns.pop(name, None)
        self.faults.strokes["drain"] = self._drain
        self.drains = DrainedNodes(self.cluster)
        self.cluster.world.oracles.append(self.drains)
        self._dice = random
        self._tools = 0

    @property
    def counts(self) -> Mapping[str, int]:
        return {"drains": self.drains.begun_count, "left well": len(self.cluster.left_well)}

    def _drain(self) -> bool:
        """Somebody tells a node to leave."""
        node = self._any_node()
        if node is None or self.drains.open():
            return False
        patience_ns = self._dice.choice(PATIENCES_NS)
        self._tools += 1
        name = f"tool{self._tools}"
        question = DrainNode(1, patience_ns)
        machine = Inquiry(Identity(sim_address(name), PYTHON, RELEASE), question)
        tool = self.cluster.world.start(name, sim_address(name), machine, _nothing)
        self.cluster.homes[tool.number] = node
        self.cluster.world.post(tool, Join(node.address, JobId(bytes(ID_BYTES)), 1))
        self.drains.told(node, patience_ns)
        self.cluster.world.at(10 * MS, self._look, (tool, node))
        return True

    def _look(self, tool: Life, node: Life) -> None:
        """End the tool when it was answered, and put another node in place of the drained one."""
        machine = tool.machine
        assert isinstance(machine, Inquiry)
        if not tool.dead and (machine.answered or node.dead):
            self.cluster.world.end(tool, "answered")
        if node.dead:
            self._revive(node)
        else:
            self.cluster.world.at(20 * MS, self._look, (tool, node))

    def _undone(self) -> list[str]:
        return super()._undone() + [f"{node.name} drains" for node in self.drains.open()]


def _nothing(life: Life, effect: Effect) -> None:
    raise AssertionError(f"a tool cannot do {effect}")


def run_drain(seed: int, trace: Trace | None = None) -> Outcome:
    """Run one seed of this scenario."""
    return run_seed(seed, trace, DrainRun)
