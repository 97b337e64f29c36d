"""An owner or borrower whose values lie on other nodes, which the test lets go."""

from __future__ import annotations

from typing import Any

from tests.unit.core.names import FUNCTION, NODE, PAYLOAD, WORKER, peer, task, those
from tests.unit.core.process_bench import ProcessBench
from zgen.core.effects import Effect, Send
from zgen.core.events import DefineTaskFunction, Dropped, PutObject, SubmitTask
from zgen.core.store_effects import ValueInstead, ViewOpened
from zgen.core.store_events import OpenView
from zgen.core.task_spec import TaskSpec
from zgen.ids import ObjectId, PeerId, TaskId, derive_lease_id, node_tag, region_number
from zgen.wire.lease import LeaseGranted
from zgen.wire.object import ObjectIs
from zgen.wire.schema import Entry
from zgen.wire.session import Address
from zgen.wire.store import NODE_GONE, HoldRegions, LeasedRegion, Place, RegionsHeld
from zgen.wire.stream import ReportEnd, ReportItems
from zgen.wire.task import OUTCOME_VALUE, Outcome, PushedTask, PushTasks, TasksDone
from zgen.wire.value import NestedRef, Stored, Value, pack

FAR, FARTHER = peer("far"), peer("farther")
FRIEND = peer("friend")
LEASE = derive_lease_id(peer("me"), 1)


def place(number: int) -> Place:
    return Place(1, number << 16, 1 << 16, 1 << 30, True)


def far(number: int, node: PeerId = FAR, refs: tuple[NestedRef, ...] = ()) -> Stored:
    """Return a value that lies on another node."""
    region = region_number(node_tag(node), number)
    return Stored(node, region, place(number), b"pickle", (9,), refs)


def entries(*values: Value) -> tuple[Entry, ...]:
    return pack(values, [])


class RebuildBench(ProcessBench):
    """A driver with one worker; it opens views and hears that their regions are gone."""

    def __init__(self) -> None:
        super().__init__()
        self.owner = self.process.owner
        self.requests = 0
        self.holds = 0
        self.step(DefineTaskFunction(FUNCTION, PAYLOAD))
        self.meet("worker")
        self.meet("friend")

    # -- the owner's user --------------------------------------------------------------------------
    def submit(self, spec: TaskSpec) -> list[Effect]:
        done = self.step(SubmitTask(spec))
        if not self.owner.placement.leases.held:
            address = Address(WORKER, 1, "ipc://worker")
            done += self.say(NODE, LeaseGranted(LEASE, address, 42))
        return done

    def made(self, spec: TaskSpec, *values: Value) -> list[Effect]:
        """Submit a task and let it end with these results."""
        self.submit(spec)
        return self.ended(spec.name, *values)

    def put(self, name: ObjectId, value: Value) -> None:
        if isinstance(value, Stored):
            self.process.store.stock.writing[value.region] = False
        self.step(PutObject(name, value))

    def drop(self, *names: ObjectId, streams: tuple[TaskId, ...] = ()) -> list[Effect]:
        return self.step(Dropped(names, streams))

    def drop_views(self, value: Stored, count: int = 1) -> list[Effect]:
        return self.step(Dropped((), (), (value.region,) * count))

    def open(self, name: ObjectId) -> list[Effect]:
        self.requests += 1
        return self.step(OpenView(self.requests, name))

    # -- the others --------------------------------------------------------------------------------
    def ended(
        self, name: str, *values: Value, attempt: int = 0, kind: int = OUTCOME_VALUE
    ) -> list[Effect]:
        how = Outcome(task(name), attempt, kind, 0, entries(*values))
        return self.say(WORKER, TasksDone((how,)))

    def items(self, name: str, first: int, *values: Value, attempt: int = 0) -> list[Effect]:
        return self.say(WORKER, ReportItems(task(name), attempt, first, entries(*values)))

    def over(
        self, name: str, count: int, *error: Value, attempt: int = 0, kind: int = OUTCOME_VALUE
    ) -> list[Effect]:
        return self.say(WORKER, ReportEnd(task(name), attempt, count, kind, 0, entries(*error)))

    def not_held(self, *values: Stored, reason: str = NODE_GONE) -> list[Effect]:
        """Let the node say that these regions are gone."""
        self.holds += 1
        regions = tuple([value.region for value in values])
        return self.say(NODE, RegionsHeld(self.holds, (), regions, reason))

    def held(self, value: Stored) -> list[Effect]:
        self.holds += 1
        return self.say(
            NODE, RegionsHeld(self.holds, (LeasedRegion(value.region, place(9)),), (), "")
        )

    def lose(self, name: ObjectId, value: Stored, reason: str = NODE_GONE) -> list[Effect]:
        """Try to read an object, and hear that it is gone."""
        done = self.open(name)
        assert any(type(each) is Send and type(each.message) is HoldRegions for each in done)
        return self.not_held(value, reason=reason)

    # -- what is known -----------------------------------------------------------------------------
    def value(self, name: ObjectId) -> Value | None:
        return self.owner.refs.value_of(name)

    def is_empty(self) -> bool:
        owner = self.owner
        tables = (owner.tasks.entries, owner.refs.records, owner.streams.streams)
        kept = (owner.pins.lineage.entries, owner.pins.filling, self.process.store.waiting)
        return not any(tables + kept) and not self.process.store.regions.regions


def pushed_in(effects: list[Effect]) -> list[PushedTask]:
    """Return the tasks that were pushed."""
    found: list[PushedTask] = []
    for effect in effects:
        if isinstance(effect, Send) and isinstance(effect.message, PushTasks):
            found += effect.message.tasks
    return found


def again(effects: list[Effect]) -> list[tuple[str, int, tuple[int, ...]]]:
    """Return name, attempt and wanted indices of the tasks that were pushed."""
    return [(each.name, each.attempt, each.wanted) for each in pushed_in(effects)]


def told(effects: list[Effect], name: ObjectId) -> list[ObjectIs]:
    """Return what somebody was told of an object."""
    return [each for each in messages(effects) if type(each) is ObjectIs and each.object == name]


def messages(effects: list[Effect]) -> list[Any]:
    """Return what is said to others."""
    return [effect.message for effect in effects if isinstance(effect, Send)]


def opened(effects: list[Effect]) -> list[Any]:
    """Return the answers to those who want to read."""
    return those(effects, ViewOpened, ValueInstead)
