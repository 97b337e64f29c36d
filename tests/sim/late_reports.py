"""An owner alone, whose workers die and are heard of long afterwards.

Behind a session this cannot happen: its fence refuses the dead. Here is no session, so that the
fences of the tables themselves are tried: attempts, streams, ends.
"""

from __future__ import annotations

from collections import deque
from random import Random
from typing import Any

from tests.sim.programs import FUNCTION, FUNCTION_ID, attempt_in, item_value, same
from zgen.core.deadlines import earliest
from zgen.core.effects import Effect, ItemsTaken, ObjectsReady, Send, StreamAdvanced
from zgen.core.events import TakeItems
from zgen.core.owner import Owner
from zgen.core.store_client import StoreClient
from zgen.core.task_spec import TaskSpec
from zgen.exceptions import RemoteProtocolError
from zgen.ids import JobId, PeerId, TaskId, derive_task_id
from zgen.limits import MS
from zgen.sim.oracle import Kind, Oracle, SimulationFailure
from zgen.wire.lease import LeaseGranted, ProcessDown, RequestLease
from zgen.wire.session import Address
from zgen.wire.stream import ReportEnd, ReportItems
from zgen.wire.task import (
    OUTCOME_RETRY,
    OUTCOME_VALUE,
    STREAMING,
    Outcome,
    PushedTask,
    PushTasks,
    TasksDone,
)
from zgen.wire.value import Parcel, pack

NODE = PeerId(b"node".ljust(16, b"\0"))
TASKS = 12
ITEMS = 10
STEPS_MAX = 5_000


class LateReports(Oracle):
    """One seed: tasks and streams, workers that die, and every report delivered in the end."""

    promise = "P7"

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        #: Odd seeds: nobody dies, but first attempts raise, and what is said is heard again later.
        self.repeats = bool(seed % 2)
        self.owner = Owner(PeerId(b"owner".ljust(16, b"\0")), StoreClient())
        self.now_ns = 0
        #: Worker -> what it says, oldest first; what is left is heard after its death too.
        self.said: dict[PeerId, deque[Any]] = {}
        self.dead: dict[PeerId, None] = {}
        self.pushed: dict[PeerId, tuple[Any, int]] = {}
        self.attempts: dict[TaskId, int] = {}
        self.taken: dict[TaskId, int] = {}
        self.ended: dict[TaskId, None] = {}
        self.results: dict[TaskId, None] = {}

    def run(self) -> None:
        owner, out = self.owner, []  # type: tuple[Owner, list[Effect]]
        owner.placement.join(NODE, JobId(bytes(16)))
        owner.placement.pushing.define(FUNCTION_ID, FUNCTION)
        for index in range(TASKS):
            task = derive_task_id(TaskId(bytes(16)), 0, index)
            returns = STREAMING if index % 2 else 1
            retries = 1 if self.repeats else -1
            spec = TaskSpec(task, FUNCTION_ID, f"task-{index}", returns, b"", (), (), retries, b"")
            owner.submit(spec, self.now_ns, out)
        self.perform(out)
        for _ in range(STEPS_MAX):
            if len(self.ended) + len(self.results) == TASKS and not any(self.said.values()):
                owner.check()
                return
            self.step()
        self.require(False, f"only {len(self.ended) + len(self.results)} ended", Kind.LIVENESS)

    def step(self) -> None:
        """Let somebody be heard, or die, or time pass."""
        out: list[Effect] = []
        self.now_ns += self.random.randrange(20 * MS)
        speakers = [worker for worker, queue in self.said.items() if queue]
        alive = [worker for worker in self.pushed if worker not in self.dead]
        if (
            alive
            and not self.repeats
            and len(self.dead) < 3 * TASKS
            and self.random.random() < 0.15
        ):
            worker = self.random.choice(alive)
            self.dead[worker] = None
            lease, started = self.pushed[worker]
            down = ProcessDown(worker, 1, 1, -1, 9, "", lease, started)
            self.owner.on_down(worker, down, "", [], self.now_ns, out)
        elif speakers:
            worker = self.random.choice(speakers)
            queue = self.said[worker]
            message = queue.popleft()
            if self.repeats and worker != NODE and self.random.random() < 0.3:
                queue.insert(self.random.randrange(len(queue) + 1), message)
            try:
                self.owner.handlers[type(message)](worker, message, self.now_ns, out)
            except RemoteProtocolError:
                self.require(
                    self.repeats or worker in self.dead, f"a living worker's {message} was refused"
                )
        if (due_ns := earliest(self.owner.deadlines)) is not None and due_ns <= self.now_ns:
            self.owner.on_timer(self.now_ns, out)
        self.perform(out)
        self.owner.check()

    def perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Send):
                self.on_sent(effect.peer, effect.message)
            elif isinstance(effect, StreamAdvanced):
                self.read(effect.stream)
            elif isinstance(effect, ObjectsReady):
                for name in effect.objects:
                    self.check_attempt(TaskId(name[:16]), self.owner.refs.value_of(name))
                    self.results[TaskId(name[:16])] = None

    def on_sent(self, peer: PeerId, message: Any) -> None:
        if isinstance(message, RequestLease):
            number = len(self.said) + 1
            worker = PeerId(b"worker%d".ljust(16, b"\0") % number)
            self.said[worker] = deque()
            granted = LeaseGranted(message.lease, Address(worker, 1, ""), number)
            self.said.setdefault(NODE, deque()).append(granted)
        elif isinstance(message, PushTasks):
            for offset, task in enumerate(message.tasks):
                self.attempts[task.task] = task.attempt
                self.pushed[peer] = (message.lease, message.first_push + offset + 1)
                self.said[peer].extend(self.reports(task))

    def reports(self, pushed: PushedTask) -> list[Any]:
        """Return what a worker says about one task."""
        task, attempt = pushed.task, pushed.attempt
        raises = self.repeats and not attempt
        ends = OUTCOME_RETRY if raises else OUTCOME_VALUE
        error = (pack([Parcel(b"raised", (), True)], [])[0],)
        if pushed.returns_count != STREAMING:
            entries = error if raises else (bytes([attempt]) + task,)
            outcome = Outcome(task, attempt, ends, 1, entries)
            return [TasksDone((outcome,))]
        said: list[Any] = []
        index = 0
        while index < ITEMS:
            count = min(self.random.choice((1, 1, 2, 4)), ITEMS - index)
            items = tuple(item(task, index + offset, attempt) for offset in range(count))
            said.append(ReportItems(task, attempt, index, items))
            index += count
        return [*said, ReportEnd(task, attempt, ITEMS, ends, 1, error if raises else ())]

    def read(self, stream: TaskId) -> None:
        """Take what there is, as a user would, and check it."""
        record = self.owner.streams.streams.get(stream)
        if record is not None and record.unread:
            self.check_attempt(stream, record.unread[-1])
        out: list[Effect] = []
        self.owner.take(TakeItems(stream, 64), self.now_ns, out)
        (taken,) = out
        assert isinstance(taken, ItemsTaken)
        for name in taken.objects:
            at = self.taken.get(stream, 0)
            value = self.owner.refs.value_of(name)
            assert value is not None
            self.require(same(value, item(stream, at, 0)), f"item {at} is {value!r}")
            self.taken[stream] = at + 1
        if taken.ended:
            self.require(self.taken.get(stream, 0) == ITEMS, f"ended after {self.taken}")
            self.ended[stream] = None

    def check_attempt(self, task: TaskId, value: Any) -> None:
        attempt = attempt_in(value)
        newest = self.attempts[task]
        self.require(attempt == newest, f"attempt {attempt} taken in after {newest} began")


def item(task: TaskId, index: int, attempt: int) -> bytes:
    value = item_value(task, index * 7, attempt, 0)
    assert isinstance(value, bytes)
    return value


def run_late(seed: int) -> str:
    """Run one seed; return what went wrong, or nothing."""
    try:
        LateReports(seed).run()
    except (SimulationFailure, AssertionError) as failure:
        return f"{type(failure).__name__}: {failure}"
    return ""
