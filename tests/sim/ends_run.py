"""Streams that return values, go on where they stopped, or are closed at any moment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random

from tests.sim.copies_run import CopiesRun
from tests.sim.programs import Plan
from tests.sim.rebuild_run import LARGE_BYTES
from tests.sim.run import Outcome, run_seed
from tests.sim.windows import CHOICES
from tests.sim.workloads import Program
from zgen.ids import ObjectId, TaskId
from zgen.limits import MS, US
from zgen.sim.trace import Trace
from zgen.wire.task import STREAMING
from zgen.wire.value import Value

#: A stream of so many items ends only if it is closed.
ENDLESS = 1_000_000
#: Who waits for an item for so long closes the stream under that.
PATIENCE_NS = 300 * MS


class Ends(Program):
    """A user who closes streams, and wants to know what they returned."""

    def kinds(self) -> tuple[Callable[[str], None], ...]:
        return (self._closes, self._closes, self._returns, self._returns, self._task)

    def _draw(self, *, endless: bool) -> Plan:
        random = self.random
        ops: list[list[object]] = []
        size = random.choice((0, 10, 300, LARGE_BYTES))
        if random.random() < 0.5:
            ops.append(["resume"])
        for _ in range(random.choice((0, 1, 1, 2))):
            delay_ns = random.choice((0, 50 * US, 1 * MS, 3 * MS))
            ops.append(["yield", random.choice((1, 5, 20)), delay_ns, size])
            if random.random() < 0.3:
                ops.append([random.choice(("die", "raise")), random.choice((1, 2))])
        if endless:
            ops.append(["yield", ENDLESS, random.choice((400 * US, 2 * MS)), 10])
        else:
            ops.append(["return", random.choice((0, 10, LARGE_BYTES))])
        retries = random.choice((0, 3, 3, -1))
        return Plan(ops, STREAMING, retries, self._cpus(), window=random.choice(CHOICES))

    def _cpus(self) -> int:
        return self.random.choice((10_000, 10_000, 5_000, 0))

    def _closes(self, number: str) -> None:
        """Take some items, close the stream while it does whatever it does, and look at its end."""
        random = self.random
        stream = self.submit(self._draw(endless=random.random() < 0.8), self.slots())
        self.active[number] = f"closes {self.cluster.world.trace.show(stream)}"
        left = random.choice((0, 0, 1, 3, 10))
        mine: list[ObjectId] = []
        is_closed = False

        def took(names: list[ObjectId], ended: bool) -> None:
            nonlocal left
            if is_closed:
                self.cluster.promises.items.require(not names, f"{names} behind a close")
                return
            self.cluster.promises.took(self.user, stream, names, ended)
            mine.extend(names)
            left -= len(names)
            if ended or left <= 0:
                self.user.later(random.choice((0, 0, 1 * MS, 5 * MS)), close)
            else:
                self.user.next(stream, 1, took)

        def close() -> None:
            nonlocal is_closed
            if is_closed:
                return
            is_closed = True
            self.user.close(stream)
            if random.random() < 0.2:
                self.user.close(stream)
            if random.random() < 0.3:
                self.user.drop(mine)
                mine.clear()
            self._look_at_end(number, stream, mine)

        if left:
            self.user.next(stream, 1, took)
            self.user.later(PATIENCE_NS, close)  # a body may outlive its cancel, and yield nothing
        else:
            self.user.later(random.choice((0, 100 * US, 2 * MS, 10 * MS, 40 * MS)), close)

    def _look_at_end(self, number: str, stream: TaskId, mine: list[ObjectId]) -> None:
        """A closed stream has nothing more, and completes when its body has ended."""
        name = self.user.complete(stream)

        def ended(names: list[ObjectId], is_over: bool) -> None:
            over = is_over and not names
            self.cluster.promises.items.require(over, f"{names} behind a close, ended: {is_over}")

        def completed(value: Value) -> None:
            self.cluster.promises.got(self.user, name, value)
            self.user.next(stream, 8, ended)
            self.user.drop([name, *mine], (stream,))
            self.done(number)

        self.user.next(stream, 8, ended)
        self.user.get(name, completed)

    def _returns(self, number: str) -> None:
        """Read a stream to its end, and what it returned, early or late, perhaps more than once."""
        random = self.random
        stream = self.submit(self._draw(endless=False), self.slots())
        self.active[number] = f"returns {self.cluster.world.trace.show(stream)}"
        early = [self.user.complete(stream)] if random.random() < 0.5 else []
        if early and random.random() < 0.5:
            self.user.drop([early.pop()])
        drops_handle = random.random() < 0.3

        def took(names: list[ObjectId], ended: bool) -> None:
            self.cluster.promises.took(self.user, stream, names, ended)
            self.user.drop(names)
            if ended:
                self.user.later(random.choice((0, 0, 5 * MS)), ask)
            else:
                self.user.next(stream, 8, took)

        def ask() -> None:
            name = self.user.complete(stream)
            if early:
                self.user.drop(early)
            if drops_handle:
                self.user.drop([], (stream,))
            self.user.get(name, lambda value: got(name, value))

        def got(name: ObjectId, value: Value) -> None:
            self.cluster.promises.got(self.user, name, value)
            self.user.store.read([name], 0, lambda: over(name))

        def over(name: ObjectId) -> None:
            self.user.drop([name], () if drops_handle else (stream,))
            self.done(number)

        self.user.next(stream, 8, took)


class EndsRun(CopiesRun):
    """Nodes and workers that end while streams are closed or return values."""

    def __init__(self, seed: int, trace: Trace | None = None) -> None:
        super().__init__(seed, trace)
        dice = Random(f"ends {seed}")
        self.cluster.cancels = dice.choice((0.0, 0.0, 0.0, 0.1))
        self.cluster.settings.drivers = 1
        self.windows = self.gathers = None
        self.large = 0
        self.program_class = Ends
        self.activities = dice.choice((10, 16, 24))

    @property
    def counts(self) -> Mapping[str, int]:
        promises = self.cluster.promises
        return {
            "closed": promises.cancels.closed,
            "returned": promises.items.returned,
            "resumed": promises.windows.resumptions,
        }


def run_ends(seed: int, trace: Trace | None = None) -> Outcome:
    """Run one seed of this scenario."""
    return run_seed(seed, trace, EndsRun)
