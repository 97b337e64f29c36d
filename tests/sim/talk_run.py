"""Workers that print, also far from their drivers, and drivers that ask how their nodes fare."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import cast

from tests.sim.nodes import Nodes
from tests.sim.nodes_run import NodesRun
from tests.sim.run import Outcome, run_seed
from zgen.core.effects import Effect, NodeAnswered, PrintLines
from zgen.core.events import AskNode, LinesFlushed, WorkerPrinted
from zgen.core.node_effects import FlushLines
from zgen.limits import MS
from zgen.sim.oracle import Kind, Oracle
from zgen.sim.trace import Trace
from zgen.sim.world import Life

#: Mean time between two strokes, at the mildest.
PRINT_NS = 4 * MS
ASK_NS = 15 * MS


class Heard(Oracle):
    """P1 of output: lines of a worker come in order, each once, and what is missing is counted.

    P2 of questions: each is answered once, unless the node or who asked is gone.
    """

    promise = "P1"

    def __init__(self) -> None:
        #: (number of a driver's life, process id of a worker) -> number of the line that is next.
        self._next: dict[tuple[int, int], int] = {}
        #: Question -> who asked. Added by ``asked``; removed by ``answered``.
        self.open: dict[int, Life] = {}
        self.lines = 0
        self.answers = 0

    def line(self, driver: Life, said: PrintLines) -> None:
        key = (driver.number, said.pid)
        at = self._next.get(key, int(said.lines[0]) - said.dropped) + said.dropped
        for line in said.lines:
            self.require(int(line) == at, f"line {line} instead of {at} of {said.pid}")
            at += 1
        self._next[key] = at
        self.lines += len(said.lines)

    def asked(self, query: int, driver: Life) -> None:
        self.open[query] = driver

    def answered(self, query: int, driver: Life) -> None:
        self.require(self.open.pop(query, None) is driver, f"question {query} was not open")
        self.answers += 1


class Talkers(Nodes):
    """Nodes that hand on what is printed."""

    heard: Heard

    def _perform_node(self, life: Life, effect: Effect) -> None:
        if isinstance(effect, FlushLines):
            flushed = LinesFlushed(effect.peer, effect.query)
            self.world.post_later(life, flushed, self.world.random.randrange(MS))
        else:
            super()._perform_node(life, effect)

    def _perform_driver(self, life: Life, effect: Effect) -> None:
        if isinstance(effect, PrintLines):
            self.heard.line(life, effect)
        elif isinstance(effect, NodeAnswered):
            self.heard.answered(effect.query, life)
        else:
            super()._perform_driver(life, effect)


class TalkRun(NodesRun):
    """Nodes whose workers print."""

    make_cluster = Talkers

    def __init__(self, seed: int, trace: Trace | None = None) -> None:
        super().__init__(seed, trace)
        self.heard = cast("Talkers", self.cluster).heard = Heard()
        self._dice = Random(f"talk {seed}")
        self.hardship.every_ns |= {"print": PRINT_NS, "ask": ASK_NS}
        self.faults.strokes |= {"print": self._print, "ask": self._ask}
        #: Number of a worker's life -> lines that it printed.
        self._printed: dict[int, int] = {}

    @property
    def counts(self) -> Mapping[str, int]:
        return {"lines": self.heard.lines, "answers": self.heard.answers}

    def _print(self) -> bool:
        """A worker prints some lines."""
        workers = [each for each in self.cluster.living_workers() if not each.node.dead]
        if not workers:
            return False
        worker = self._dice.choice(workers)
        first = self._printed.get(worker.life.number, 0)
        count = self._dice.choice((1, 1, 3))
        self._printed[worker.life.number] = first + count
        lines = tuple(str(number) for number in range(first, first + count))
        self.cluster.world.post(worker.node, WorkerPrinted(worker.name, False, lines, 0))
        return True

    def _ask(self) -> bool:
        """A driver asks its node."""
        users = [user for user in self.cluster.drivers.values() if not user.life.dead]
        users = [user for user in users if user.owner.node_lost is None]
        if not users:
            return False
        user = self._dice.choice(users)
        query = self.heard.answers + len(self.heard.open) + 1
        while query in self.heard.open:
            query += 1
        self.heard.asked(query, user.life)
        user.post(AskNode(query))
        return True

    def at_rest(self) -> None:
        """No question of the living is open."""
        living = {user.life.number: user for user in self.cluster.drivers.values()}
        for query, life in self.heard.open.items():
            user = living[life.number]
            over = life.dead or user.owner.node_lost is not None
            self.heard.require(over, f"question {query} was never answered", Kind.LIVENESS)


def run_talk(seed: int, trace: Trace | None = None) -> Outcome:
    """Run one seed of this scenario."""
    return run_seed(seed, trace, TalkRun)
