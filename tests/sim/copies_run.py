"""Several nodes and large values: what one node writes, others read, whatever dies meanwhile."""

from __future__ import annotations

from random import Random

from tests.sim.nodes_run import NodesRun
from tests.sim.run import SAFETY_NS, Outcome, draw_disk, run_seed
from zgen.limits import CHUNKS_OF_NODE_COUNT_MAX, CHUNKS_STALLED_NS, MS
from zgen.sim.trace import Trace
from zgen_node.core import copies, pulls


class CopiesRun(NodesRun):
    """Nodes whose drivers use large values, under the hardship of one seed."""

    def __init__(self, seed: int, trace: Trace | None = None) -> None:
        super().__init__(seed, trace)
        random = Random(f"copies {seed}")
        settings = self.cluster.settings
        settings.store_bytes = random.choice((1, 1, 2, 64)) << 20
        settings.disk = draw_disk(random)
        settings.disk.damaged = random.choice((0.0, 0.02, 0.1))
        lines = Random(f"parts {seed}")
        settings.disk.part_lost = lines.choice((0.0, 0.0, 0.02, 0.2))
        settings.disk.unsent = lines.choice((0.0, 0.0, 0.0, 0.05))
        if random.random() < 0.2:
            settings.kill_ns_max, settings.write_ns_max = 150 * MS, 60 * MS
        self.large = random.choice((3, 5, 8)) // settings.drivers
        if lines.random() < 0.4:  # many copies, so that there are several sources
            self.count, self.large = 4, 10 // settings.drivers
        self.chunk_bytes = random.choice((20_000, 60_000, 1 << 20))
        slow = (1, 1, 5) if self.chunk_bytes < 1 << 20 else (1, 20, 60)
        settings.disk.part_ns_max = lines.choice(slow) * MS
        self.limits = {
            "CHUNK_BYTES": self.chunk_bytes,
            "CHUNKS_OF_NODE_COUNT_MAX": lines.choice((4, 6, CHUNKS_OF_NODE_COUNT_MAX)),
            "CHUNKS_STALLED_NS": lines.choice((100 * MS, CHUNKS_STALLED_NS)),
        }

    def at_rest(self) -> None:
        """No copy is kept for anybody whose node is gone."""
        for node in self.cluster.living():
            self.cluster.regions[node.number].none_left()

    def run(self) -> None:
        """Suffer, heal, end, rest."""
        before = {name: vars(pulls)[name] for name in self.limits}
        disk = self.cluster.settings.disk
        for fault in ("part_lost", "unsent"):  # or a region of hundreds of parts never arrives
            self.cluster.world.at(SAFETY_NS, setattr, (disk, fault, 0.0))
        vars(pulls).update(self.limits)
        vars(copies)["CHUNK_BYTES"] = self.chunk_bytes
        try:
            super().run()
        finally:
            vars(pulls).update(before)
            vars(copies)["CHUNK_BYTES"] = before["CHUNK_BYTES"]
        for regions in self.cluster.regions.values():
            if not regions.memory.node.dead:
                regions.at_rest()


def run_copies(seed: int, trace: Trace | None = None) -> Outcome:
    """Run one seed of this scenario."""
    return run_seed(seed, trace, CopiesRun)
