"""Which pushed task may start now: order, one at a time, and what is handed back.

Rules of this file: tasks wait here in the order of their pushes. What running means is not known
here.

Theory of operation. A worker runs one task at a time. What queues behind it is handed back to its
owner
when the running one blocks or turns out long, so that nothing waits behind what may wait for it;
what is
pushed while that lasts is handed back at once. So is what its owner pushed before it heard of an
earlier
hand-back: else a mark beyond a task that was handed back would say that it had been started.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import field

from zgen.core.input_log import Input
from zgen.ids import LeaseId, PeerId, StreamId, TaskId, short
from zgen.limits import CROWD_COUNT, LINE_BUSY_NS, LINE_TICK_NS
from zgen.slotted import slotted
from zgen.wire.task import PushedCall, PushedTask
from zgen.wire.value import Value


@slotted
class Waiting:
    """A pushed task.

    Attributes:
        owner: Who pushed it.
        lease: Under which lease.
        push: Number of its push under the lease.
        task: The task.
        arguments: Its pickled arguments.
        slots: Values of its referenced arguments.
        call: What it is a call of; None for a plain task.
        missing: Regions of them that are not held yet.
        closed: Whether its owner wants none of its items.
        consumed: Items that its owner took of an earlier attempt, as it said since the push.
        cancelled: Whether it was cancelled since it started.
        told: Whether its owner was told for that that it has ended, though it runs on.
        inputs: What a two-way stream was sent, until it starts.
    """

    owner: PeerId
    lease: LeaseId
    push: int
    task: PushedTask
    arguments: Value
    slots: tuple[Value, ...]
    call: PushedCall | None = None
    missing: dict[int, None] = field(default_factory=dict)
    closed: bool = False
    consumed: int = 0
    cancelled: bool = False
    told: bool = False
    inputs: tuple[Input, ...] = ()


class Admission:
    """The queue of one worker.

    Attributes:
        running: The task that runs, or None.
        started_ns: When it started.
        blocked: Whether it waits for others.
        long: Whether it has run for so long that nothing may queue behind it.
    """

    def __init__(self) -> None:
        """Start idle."""
        self.running: Waiting | None = None
        self.started_ns = 0
        self.blocked = False
        self.long = False
        #: Pushed and not started. Added by ``push``; removed by ``start_next`` and ``hand_back``.
        self.queue: deque[Waiting] = deque()
        #: The lease under which tasks were last handed back, and how often.
        self._returned: tuple[LeaseId, int] = (LeaseId(b""), 0)

    @property
    def patience_ns(self) -> int:
        """How long the end of a task may wait for that of the next one to be reported with it."""
        count = len(self.queue)
        if count < CROWD_COUNT:
            return LINE_BUSY_NS if count else 0
        return LINE_TICK_NS

    def is_stale(self, lease: LeaseId, returns_seen: int) -> bool:
        """Return whether a push left before its owner heard of the lease's last hand-back."""
        returned, count = self._returned
        return lease == returned and returns_seen < count

    def note_return(self, lease: LeaseId) -> None:
        """Count one message of handed back tasks under ``lease``."""
        returned, count = self._returned
        self._returned = (lease, count + 1 if lease == returned else 1)

    def push(self, tasks: Iterable[Waiting]) -> None:
        """Queue tasks."""
        self.queue.extend(tasks)

    def close(self, owner: PeerId, stream: StreamId, attempt: int) -> None:
        """Note that the owner of a queued stream wants none of its items."""
        for waiting in self.queue:
            which = (waiting.owner, waiting.task.task, waiting.task.attempt)
            waiting.closed = waiting.closed or which == (owner, stream, attempt)

    def grant(self, owner: PeerId, stream: StreamId, attempt: int, upto: int) -> None:
        """Note that the owner of a queued stream took items of an earlier attempt."""
        for waiting in self.queue:
            if (waiting.owner, waiting.task.task, waiting.task.attempt) == (owner, stream, attempt):
                waiting.consumed = upto

    def withdraw(self, owner: PeerId, task: TaskId, attempt: int) -> Waiting | None:
        """Take a queued task out; return None if that owner has no such one in the queue."""
        for waiting in self.queue:
            if (waiting.owner, waiting.task.task, waiting.task.attempt) == (owner, task, attempt):
                self.queue.remove(waiting)
                return waiting
        return None

    def running_as(self, owner: PeerId, task: TaskId, attempt: int) -> Waiting | None:
        """Return the running task of that owner and name, or None."""
        waiting = self.running
        if waiting is None:
            return None
        which = (waiting.owner, waiting.task.task, waiting.task.attempt)
        return waiting if which == (owner, task, attempt) else None

    def start_next(self, now_ns: int) -> Waiting | None:
        """Start the next task; return None if one runs, none waits, or it misses regions."""
        if self.running is not None or not self.queue or self.queue[0].missing:
            return None
        self.running = self.queue.popleft()
        self.started_ns = now_ns
        self.blocked = self.long = False
        return self.running

    def end(self, task: TaskId, attempt: int) -> Waiting | None:
        """The running task ended; return it, or None if another one runs."""
        running = self.running
        if running is None or running.task.task != task or running.task.attempt != attempt:
            return None
        self.running = None
        self.blocked = self.long = False
        return running

    def hand_back(self) -> list[Waiting]:
        """Empty the queue if nothing may wait behind the running task; return what goes back."""
        if self.running is None or not (self.blocked or self.long):
            return []
        back = list(self.queue)
        self.queue.clear()
        return back

    def drop_owner(self, owner: PeerId) -> list[Waiting]:
        """Forget what a dead owner pushed and has not started; return it."""
        dropped = [waiting for waiting in self.queue if waiting.owner == owner]
        self.queue = deque(waiting for waiting in self.queue if waiting.owner != owner)
        return dropped

    def on_held(self, regions: Iterable[int]) -> None:
        """These regions are held, or known to be lost."""
        for waiting in self.queue:
            if waiting.missing:
                for region in regions:
                    waiting.missing.pop(region, None)

    def check(self) -> None:
        """Assert the invariants of the queue."""
        if self.running is None:
            idle = self.queue and not self.queue[0].missing
            assert not idle, f"idle while {short(self.queue[0].task.task)} waits"
        else:
            assert not ((self.blocked or self.long) and self.queue), (
                "a task waits behind one that blocks"
            )
