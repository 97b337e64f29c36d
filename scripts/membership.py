"""Simulate the membership of clusters of several sizes and print how well it does.

    python scripts/membership.py                       100, 1,000 and 10,000 nodes, 2 % loss
    python scripts/membership.py --nodes 100 --seed 7

In virtual time: a quiet phase, then one change a second (a node vanishes, a process is killed so
that its port refuses, a node joins), then a wait for the last to be noticed. Prints false deaths,
how long until everybody who knew a dead member held it for dead, and bytes sent per node and
second: header and body, without what ZeroMQ, CURVE and TCP add. Exits 1 if a live member was
declared dead, or a dead one was not.
"""

from __future__ import annotations

import argparse
import gc
import sys
from pathlib import Path
from time import monotonic

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "node")]

from tests.sim.swim import Life, SwimWorld, knows  # noqa: E402  # the paths above come first
from zgen.ids import PeerId  # noqa: E402
from zgen.limits import SECOND  # noqa: E402
from zgen_node.core.membership_words import Join  # noqa: E402

SETTLE_NS = 2 * SECOND
QUIET_NS = 6 * SECOND
CHANGES_COUNT = 9
WAIT_NS = 10 * SECOND


class Run:
    """One cluster.

    Attributes:
        false_deaths: Deaths that were told of live members.
    """

    def __init__(self, count: int, loss: float, seed: int) -> None:
        self.count = count
        self.false_deaths = 0
        self.world = SwimWorld(seed, loss=loss)
        self.world.decoded = count <= 1000
        self.world.on_down = self._on_down
        #: Those that died -> who knew them, and whether their ports refused.
        self.watchers: dict[PeerId, tuple[list[Life], bool]] = {}

    def run(self) -> tuple[float, float]:
        """Run all phases; return the bytes per node and second, quiet and under change."""
        world = self.world
        lives = world.found(self.count)
        for life in lives:  # in for long: that all of them came at once is no news any more
            life.machine.standing.news.clear()
        gc.collect()
        gc.disable()  # nothing here is a cycle, and looking for one takes longer than the run
        world.run(SETTLE_NS)
        before = world.sent_bytes
        world.run(QUIET_NS)
        quiet = (world.sent_bytes - before) / self.count / (QUIET_NS / SECOND)
        before, began_ns = world.sent_bytes, world.now_ns
        for number in range(CHANGES_COUNT):
            if number % 3 == 2:
                world.step(world.start(), Join((lives[0].endpoint,)))
            else:
                self._kill(lives[1 + number], refuses=bool(number % 3))
            world.run(SECOND)
        world.run(WAIT_NS)
        gc.enable()
        changing = (world.sent_bytes - before) / self.count
        return quiet, changing / ((world.now_ns - began_ns) / SECOND)

    def _kill(self, life: Life, refuses: bool) -> None:
        others = [each for each in self.world.lives.values() if each is not life]
        watchers = [each for each in others if each.alive and knows(each, life.node)]
        self.watchers[life.node] = watchers, refuses
        self.world.kill(life, refuses)

    def _on_down(self, life: Life, node: PeerId, reason: str) -> None:
        self.false_deaths += self.world.lives[node].ended_ns is None

    def detected(self, refused: bool) -> tuple[list[float], int]:
        """Return how long each watcher took, in seconds, sorted; and how many never noticed."""
        seconds, missed = [], 0
        for node, (watchers, refuses) in self.watchers.items():
            ended_ns = self.world.lives[node].ended_ns
            for life in watchers:
                if refuses is refused and life.alive and ended_ns is not None:
                    told_ns = life.downs.get(node)
                    missed += told_ns is None
                    seconds += [] if told_ns is None else [(told_ns - ended_ns) / SECOND]
        return sorted(seconds), missed


def show(count: int, loss: float, seed: int) -> int:
    """Run one cluster and print its figures; return the number of faults."""
    began = monotonic()
    run = Run(count, loss, seed)
    quiet, changing = run.run()
    fenced = sum(life.fenced is not None for life in run.world.lives.values())
    faults = run.false_deaths + fenced
    print(f"{count:,} nodes, {loss:.0%} loss, seed {seed}")
    print(f"  false deaths                 {run.false_deaths}, members fenced {fenced}")
    for refused, what in ((False, "node vanished"), (True, "process killed, port refuses")):
        seconds, missed = run.detected(refused)
        faults += missed + (not seconds)
        p50, p99 = (seconds[int(len(seconds) * share)] for share in (0.5, 0.99))
        print(
            f"  {what:<28} dead to others after p50 {p50:.2f} s, p99 {p99:.2f} s, "
            f"max {seconds[-1]:.2f} s; {len(seconds)} told, {missed} not"
        )
    print(f"  bytes per node and second    {quiet:.0f} quiet, {changing:.0f} at a change a second")
    world = run.world
    print(
        f"  {world.now_ns / SECOND:.0f} s simulated in {monotonic() - began:.0f} s: "
        f"{world.messages_count:,} messages, {world.steps_count:,} steps",
        flush=True,
    )
    return faults


def main() -> int:
    """Parse the arguments and run; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--nodes", type=int, nargs="+", default=[100, 1_000, 10_000])
    parser.add_argument("--loss", type=float, default=0.02, help="share of messages lost")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if min(arguments.nodes) <= CHANGES_COUNT + 1:
        parser.error(f"a cluster that outlives {CHANGES_COUNT} changes has more nodes than that")
    faults = [show(count, arguments.loss, arguments.seed) for count in arguments.nodes]
    return 1 if any(faults) else 0


if __name__ == "__main__":
    sys.exit(main())
