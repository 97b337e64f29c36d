"""Users who lose interest at a moment of their choice: they look until it comes, then drop."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Final

from tests.sim.programs import Plan
from zgen.core.in_stream import InStream
from zgen.core.task_table import Doing, TaskEntry
from zgen.ids import ObjectId, TaskId, object_id
from zgen.limits import MS, US
from zgen.wire.task import STREAMING

if TYPE_CHECKING:
    from tests.sim.workloads import Program

#: Between two looks.
LOOK_NS: Final = 300 * US
#: Who has looked so often is no more choosy.
LOOKS_COUNT_MAX: Final = 400
#: An activity begins within so long.
BEGIN_NS_MAX: Final = 300 * MS

Moment = Callable[[TaskEntry, InStream | None], bool]


def doing(state: Doing) -> Moment:
    """Return the moment when a task does that."""
    return lambda entry, _: entry.doing.state is state


def is_repeated(entry: TaskEntry, record: InStream | None) -> bool:
    """Return whether a stream is repeated whose items were reported once."""
    return record is not None and entry.attempt > 0 and record.position < record.known


def has_unread(entry: TaskEntry, record: InStream | None) -> bool:
    """Return whether there is an item that was not taken."""
    return record is not None and bool(record.unread)


ARGUMENTS: Final = doing(Doing.WAITING_ARGS)
AGAIN: Final = doing(Doing.WAITING_RETRY)
MOMENTS: Final[tuple[Moment, ...]] = (
    ARGUMENTS,
    doing(Doing.WAITING_LEASE),
    doing(Doing.PUSHED),
    *(AGAIN, AGAIN, AGAIN),
    *(is_repeated, is_repeated),
    has_unread,
)


class Fickle:
    """The fickle part of one driver's user; with dice of its own.

    Attributes:
        left: Activities that have not begun.
    """

    def __init__(self, program: Program, random: Random, count: int) -> None:
        self.program = program
        self.user = program.user
        self.random = random
        self.left = count
        for number in range(count):
            self.user.later(random.randrange(BEGIN_NS_MAX), lambda n=number: self._begin(n))  # type: ignore[misc]  # mypy does not infer defaults

    def _begin(self, number: int) -> None:
        if not self.left:
            return  # told to stop
        self.left -= 1
        moment, dice = self.random.choice(MOMENTS), self.random.random
        slots: tuple[ObjectId, ...] = ()
        if moment is ARGUMENTS:
            slots = (object_id(self.program.submit(Plan([["sleep", 9 * MS]], 1, -1, 0)), 0),)
        streams = dice() < 0.5 or moment in (is_repeated, has_unread)
        how = "raise" if moment is AGAIN else self.random.choice(("die", "raise"))
        fails: list[object] = [how, 1]
        ops: list[list[object]] = [fails, ["sleep", 5 * MS]]
        if streams:
            delay_ns = self.random.choice((0, 400 * US, 2 * MS))
            ops = [["yield", 4, delay_ns, 10], fails, ["yield", 8, delay_ns, 10]]
        plan = Plan(ops, STREAMING if streams else 1, 3, self.random.choice((0, 10_000)))
        task = self.program.submit(plan, slots)
        key = f"fickle {number}"
        self.program.active[key] = f"fickle {self.program.cluster.world.trace.show(task)}"
        if streams and dice() < 0.3:
            self.user.drop([self.user.complete(task)])
        self._look(key, task, streams, moment, slots, LOOKS_COUNT_MAX)

    def _look(
        self,
        key: str,
        task: TaskId,
        streams: bool,
        moment: Moment,
        slots: tuple[ObjectId, ...],
        left: int,
    ) -> None:
        owner = self.user.owner
        entry, record = owner.tasks.entries.get(task), owner.streams.streams.get(task)
        if entry is not None and left and not moment(entry, record):
            again = (key, task, streams, moment, slots, left - 1)
            self.user.later(LOOK_NS, lambda: self._look(*again))
            return
        delay_ns = 0
        if self.program.cluster.cancels and self.random.random() < 0.5:
            self.user.cancel(task, self.random.random() < 0.3, True)
            delay_ns = self.random.choice((0, 100 * US, 3 * MS))

        def drop() -> None:
            names = list(slots) if streams else [object_id(task, 0), *slots]
            self.user.drop(names, (task,) if streams else ())
            self.program.done(key)

        self.user.later(delay_ns, drop)
