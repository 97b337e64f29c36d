"""An owner with a node and workers that are played by the test."""

from __future__ import annotations

from typing import Any

from tests.unit.core.names import FUNCTION, JOB, ME, NODE, ONE, PAYLOAD, WORKER, task
from zgen.core.deadlines import earliest
from zgen.core.effects import Effect, Send
from zgen.core.events import Dropped, PutObject, RefCompletion, TakeItems
from zgen.core.owner import Owner
from zgen.core.store_client import StoreClient
from zgen.core.task_spec import TaskSpec
from zgen.core.task_table import Doing
from zgen.ids import LeaseId, ObjectId, PeerId, TaskId, derive_lease_id
from zgen.wire.lease import LeaseGranted, ProcessDown, RequestLease, Shape
from zgen.wire.schema import NO_BUFFERS, Buffers, Entry
from zgen.wire.session import Address
from zgen.wire.stream import ReportEnd, ReportItems
from zgen.wire.task import (
    OUTCOME_ERROR,
    OUTCOME_RETRY,
    OUTCOME_VALUE,
    DefineFunction,
    Outcome,
    PushTasks,
    TasksDone,
)
from zgen.wire.value import Parcel, Value

#: An error as it stands in a message, and as it is got.
ERROR_ENTRY: Entry = (1, b"error", 0)
ERROR = Parcel(b"error", (), True)
PID = 42
DEFINE = Send(WORKER, DefineFunction(FUNCTION, PAYLOAD))


def asked(number: int = 1) -> LeaseId:
    return derive_lease_id(ME, number)


def request(
    number: int = 1, what: str = "a", shape: Shape = ONE, *, retriable: bool = False
) -> Send:
    asked_for = RequestLease(asked(number), JOB, shape, what, retriable=retriable)
    return Send(NODE, asked_for)


def outcome(
    name: str, *entries: Entry, kind: int = OUTCOME_VALUE, attempt: int = 0, run_ns: int = 0
) -> Outcome:
    return Outcome(task(name), attempt, kind, run_ns, entries)


def error(name: str, attempt: int = 0) -> Outcome:
    return outcome(name, ERROR_ENTRY, kind=OUTCOME_ERROR, attempt=attempt)


def retriable(name: str, attempt: int = 0) -> Outcome:
    return outcome(name, ERROR_ENTRY, kind=OUTCOME_RETRY, attempt=attempt)


class OwnerBench:
    """The owner, what it does, and the time; every step is followed by ``check()``."""

    def __init__(self, *, joined: bool = True) -> None:
        self.store = StoreClient()
        self.owner = Owner(ME, self.store)
        self.now_ns = 1_000_000
        if joined:
            self.owner.placement.join(NODE, JOB)
            self.owner.placement.pushing.define(FUNCTION, PAYLOAD)

    # -- the user ----------------------------------------------------------------------------------
    def submit(self, spec: TaskSpec) -> list[Effect]:
        out: list[Effect] = []
        self.owner.submit(spec, self.now_ns, out)
        return self._checked(out)

    def put(self, name: ObjectId, value: Value = b"put") -> None:
        self.owner.put(PutObject(name, value))
        self._checked([])

    def take(self, name: str, count_max: int = 100) -> list[Effect]:
        out: list[Effect] = []
        self.owner.take(TakeItems(task(name), count_max), self.now_ns, out)
        return self._checked(out)

    def drop(self, *objects: ObjectId, streams: tuple[TaskId, ...] = ()) -> list[Effect]:
        out: list[Effect] = []
        self.owner.drop(Dropped(objects, streams), self.now_ns, out)
        return self._checked(out)

    def ref_completion(self, name: str) -> None:
        self.owner.ref_completion(RefCompletion(task(name)))
        self._checked([])

    # -- the others --------------------------------------------------------------------------------
    def hear(self, sender: PeerId, message: Any) -> list[Effect]:
        assert type(message) in self.owner.handlers
        out: list[Effect] = []
        try:
            self.owner.handlers[type(message)](sender, message, self.now_ns, out)
        finally:
            self._checked(out)
        return out

    def grant(
        self, number: int = 1, worker: PeerId = WORKER, sender: PeerId = NODE
    ) -> list[Effect]:
        return self.hear(sender, LeaseGranted(asked(number), Address(worker, 1, "ipc://w"), PID))

    def done(self, *outcomes: Outcome, worker: PeerId = WORKER) -> list[Effect]:
        return self.hear(worker, TasksDone(outcomes))

    def items(
        self,
        name: str,
        first: int,
        *entries: Entry,
        attempt: int = 0,
        buffers: Buffers = NO_BUFFERS,
    ) -> list[Effect]:
        return self.hear(WORKER, ReportItems(task(name), attempt, first, entries, buffers))

    def end(
        self, name: str, count: int, *error: Entry, attempt: int = 0, kind: int = OUTCOME_VALUE
    ) -> list[Effect]:
        return self.hear(WORKER, ReportEnd(task(name), attempt, count, kind, 0, error))

    def down(
        self,
        peer: PeerId = WORKER,
        said: ProcessDown | None = None,
        unsent: list[tuple[LeaseId, int]] | None = None,
    ) -> list[Effect]:
        out: list[Effect] = []
        self.owner.on_down(peer, said, "it is gone", unsent or [], self.now_ns, out)
        return self._checked(out)

    def advance(self, by_ns: int) -> list[Effect]:
        """Let time pass and every deadline on the way be kept."""
        until_ns = self.now_ns + by_ns
        out: list[Effect] = []
        while (due_ns := earliest(self.owner.deadlines)) is not None and due_ns <= until_ns:
            self.now_ns = max(self.now_ns, due_ns)
            self.owner.on_timer(self.now_ns, out)
            self._checked(out)
        self.now_ns = until_ns
        return out

    # -- shortcuts ---------------------------------------------------------------------------------
    def running(self, *specs: TaskSpec) -> OwnerBench:
        """Submit tasks and let one worker get all of them."""
        for spec in specs:
            self.submit(spec)
        for pool in self.owner.placement.leases.pools.values():
            pool.depth = len(specs)
        self.grant()
        for shape in list(self.owner.placement.leases.pools):
            self.owner.placement.pump(shape, self.now_ns, [])
        assert all(self.state(spec.name) is Doing.PUSHED for spec in specs)
        return self

    # -- what is known -----------------------------------------------------------------------------
    def state(self, name: str) -> Doing | None:
        """Return what a task is doing, None if it has ended."""
        entry = self.owner.tasks.entries.get(task(name))
        return entry.doing.state if entry is not None else None

    def attempt(self, name: str) -> int:
        return self.owner.tasks.entries[task(name)].attempt

    def value(self, name: ObjectId) -> Value | None:
        return self.owner.refs.value_of(name)

    def is_empty(self) -> bool:
        owner = self.owner
        return not (owner.tasks.entries or owner.refs.records or owner.streams.streams)

    def _checked(self, out: list[Effect]) -> list[Effect]:
        self.owner.check()
        return out


def push(
    first: int, *tasks: Any, number: int = 1, worker: PeerId = WORKER, buffers: Buffers = NO_BUFFERS
) -> Send:
    """Return the push of ``tasks`` whose first is the ``first``-th of its lease."""
    message = PushTasks(asked(number), first, tasks, 0, buffers=buffers)
    return Send(worker, message, (asked(number), first))
