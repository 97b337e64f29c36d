"""Links that are cut between nodes which others still reach: whatever is done over them goes on."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import cast

from tests.sim.copies_run import CopiesRun
from tests.sim.oneway import OneWay
from tests.sim.run import SAFETY_NS, Outcome, run_seed
from zgen.limits import MS, SECOND
from zgen.sim.trace import Trace


class OneWayRun(CopiesRun):
    """Nodes, values and actors under the hardship of one seed, and a link that is cut for good.

    It is cut some time before the other hardship ends, and again, or another one, when that has:
    then nothing but a detour leads from one end to the other, until all is done and at rest, which
    it must be in as many seconds as without a cut.
    """

    make_cluster = OneWay

    def __init__(self, seed: int, trace: Trace | None = None) -> None:
        super().__init__(seed, trace)
        self.cluster.cancels = 0.0  # a cancel by force excuses what these oracles do not know of
        disk = self.cluster.settings.disk
        disk.damaged = min(disk.damaged, 0.02)  # what is damaged each time counts as no loss
        random = Random(f"one way {seed}")
        self.count = random.choice((3, 4, 4))
        disk.unsent = random.choice((0.0, 0.0, 0.1))  # nodes on the way that come by nothing
        self._dice = random
        self._heals = random.random() < 0.25
        self.cuts = 0
        world = self.cluster.world
        if random.random() < 0.7:
            world.at(random.randrange(SAFETY_NS), self._cut_for_now)
        world.at(SAFETY_NS + 1, self._cut_for_good)

    @property
    def counts(self) -> Mapping[str, int]:
        return {"links cut": self.cuts}

    def _cut_for_now(self) -> None:
        self._cut()

    def _cut(self) -> bool:
        """Cut a link, or two that end in one node; return False if there are too few nodes."""
        cluster = cast("OneWay", self.cluster)
        living = cluster.living()
        if len(living) < 3:
            return False
        ends = self._dice.sample(living, 3)
        how = [self._dice.random() < 0.5 for _ in range(3)]
        pairs = [ends[:2] if how[0] else ends[1::-1]]
        if len(living) > 3 and how[1]:
            pairs.append([ends[2], ends[1]])
        for one, other in pairs:
            self.cuts += 1
            cluster.cut_link(one, other, how[2])
        return True

    def _cut_for_good(self) -> None:
        cluster, world = cast("OneWay", self.cluster), self.cluster.world
        cluster.heal_links()
        if len(cluster.living()) < self.count or not self._cut():
            world.at(20 * MS, self._cut_for_good)
            return
        if self._heals:
            world.at(self._dice.randrange(5 * SECOND), cluster.heal_links)


def run_oneway(seed: int, trace: Trace | None = None) -> Outcome:
    """Run one seed of this scenario."""
    return run_seed(seed, trace, OneWayRun)
