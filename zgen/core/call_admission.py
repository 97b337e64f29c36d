"""Which call of an actor may start now: order, concurrency and its groups.

Rules of this file: calls wait here in the order of their pushes, each group for itself. What
running means is not known here.

Theory of operation. The calls of one group start in the order of their arrival, as many at a time
as the group allows. One whose arguments lie in shared memory and are not held yet lets others pass,
unless the actor runs one call at a time in the order of its callers.
"""

from collections import deque
from collections.abc import Iterable

from zgen.core.admission import Waiting
from zgen.exceptions import RemoteProtocolError
from zgen.ids import LeaseId, PeerId, StreamId, TaskId, short
from zgen.limits import CROWD_COUNT, LINE_BUSY_NS, LINE_TICK_NS
from zgen.slotted import slotted
from zgen.wire.actor import HostActor
from zgen.wire.task import PushTasks


@slotted
class Running:
    """A call that runs.

    Attributes:
        call: The call.
        group: Whose place it takes.
        started_ns: When it started.
        blocked: Whether it waits for others.
    """

    call: Waiting
    group: str
    started_ns: int
    blocked: bool = False


class CallAdmission:
    """The calls of the actor that lives in this worker.

    Attributes:
        actor: The actor.
        life: Which life of it.
        creator: Who supervises it.
        lease: Lease that it lives under.
        holds: Whether it holds resources of its node.
        is_async: Whether its calls run in an event loop, which can interrupt them.
        running: Calls that run. Added by ``start``; removed by ``end``.
        is_ending: Whether the process ends when nothing is left.
        is_leaving: Whether the actor asked for its end.
    """

    def __init__(self, host: HostActor, creator: PeerId, lease: LeaseId) -> None:
        """Start with nothing to run."""
        settings = host.settings
        self.actor = host.actor
        self.life = host.life
        self.holds = host.holds
        self.creator = creator
        self.lease = lease
        self.is_async = settings.is_async
        self.running: dict[TaskId, Running] = {}
        self.is_ending = False
        self.is_leaving = False
        self._in_order = settings.max_concurrency == 1 and not settings.is_async
        #: Group -> calls of it that may run at a time; the actor's own group has no name.
        self._limits: dict[str, int] = {"": settings.max_concurrency, **dict(settings.groups)}
        #: Group -> how many of its calls run.
        self._counts: dict[str, int] = dict.fromkeys(self._limits, 0)
        #: Group -> calls of it that wait, in order.
        self._queues: dict[str, deque[Waiting]] = {group: deque() for group in self._limits}
        #: Calls that run and wait for others, and whether that was said of all that run.
        self.blocked_count = 0
        self.is_blocked = False

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs and nothing waits."""
        return not self.running and not any(self._queues.values())

    @property
    def patience_ns(self) -> int:
        """How long the end of a call may wait for that of another one to be reported with it."""
        count = len(self.running) + sum(map(len, self._queues.values()))
        if count < CROWD_COUNT:
            return LINE_BUSY_NS if count else 0
        return LINE_TICK_NS

    def waiting(self) -> list[Waiting]:
        """Return the calls that wait."""
        return [call for queue in self._queues.values() for call in queue]

    def push(self, calls: list[Waiting]) -> list[Waiting]:
        """Queue calls; return them if the actor is on its way out by its own wish."""
        if self.is_leaving:
            return calls
        for call in calls:
            self._queues[self._group_of(call)].append(call)
        return []

    def close(self, owner: PeerId, stream: StreamId, attempt: int) -> None:
        """Note that the owner of a queued stream wants none of its items."""
        for call in self.waiting():
            which = (call.owner, call.task.task, call.task.attempt)
            call.closed = call.closed or which == (owner, stream, attempt)

    def grant(self, owner: PeerId, stream: StreamId, attempt: int, upto: int) -> None:
        """Note that the owner of a queued stream took items of an earlier attempt."""
        for call in self.waiting():
            if (call.owner, call.task.task, call.task.attempt) == (owner, stream, attempt):
                call.consumed = upto

    def withdraw(self, owner: PeerId, task: TaskId, attempt: int) -> Waiting | None:
        """Take a queued call out; return None if that owner has no such one in a queue."""
        for queue in self._queues.values():
            for call in queue:
                if (call.owner, call.task.task, call.task.attempt) == (owner, task, attempt):
                    queue.remove(call)
                    return call
        return None

    def running_as(self, owner: PeerId, task: TaskId, attempt: int) -> Waiting | None:
        """Return the running call of that owner and name, if anything will be said of it."""
        running = self.running.get(task)
        if running is None or self.is_leaving:
            return None
        call = running.call
        return call if (call.owner, call.task.attempt) == (owner, attempt) else None

    def running_of(self, owner: PeerId) -> list[Waiting]:
        """Return the running calls of one caller."""
        return [each.call for each in self.running.values() if each.call.owner == owner]

    def start(self, now_ns: int) -> list[Waiting]:
        """Start what may start now."""
        started: list[Waiting] = []
        for group, queue in self._queues.items():
            if not queue:
                continue
            room = self._limits[group] - self._counts[group]
            if room <= 0:
                continue
            for call in self._take(queue, room):
                self._counts[group] += 1
                self.running[call.task.task] = Running(call, group, now_ns)
                started.append(call)
        return started

    def end(self, task: TaskId, attempt: int) -> Running | None:
        """A running call ended; return it, or None if it does not run."""
        running = self.running.get(task)
        if running is None or running.call.task.attempt != attempt:
            return None
        del self.running[task]
        self._counts[running.group] -= 1
        self.blocked_count -= running.blocked
        return running

    def set_blocked(self, task: TaskId, blocked: bool) -> None:
        """A running call waits for others, or goes on."""
        running = self.running.get(task)
        if running is not None:
            self.blocked_count += blocked - running.blocked
            running.blocked = blocked

    def blocked_news(self) -> bool | None:
        """Return whether all that runs waits for others, if that is news to the node; else None."""
        is_blocked = 0 < len(self.running) == self.blocked_count
        if is_blocked == self.is_blocked or not self.holds:
            return None
        self.is_blocked = is_blocked
        return is_blocked

    def drop_owner(self, owner: PeerId) -> list[Waiting]:
        """Forget what a dead caller pushed and has not started; return it."""
        dropped: list[Waiting] = []
        for group, queue in self._queues.items():
            dropped += [call for call in queue if call.owner == owner]
            self._queues[group] = deque(call for call in queue if call.owner != owner)
        return dropped

    def leave(self) -> list[Waiting]:
        """The actor wants to end: forget what has not started; return it."""
        self.is_leaving = True
        dropped = self.waiting()
        for queue in self._queues.values():
            queue.clear()
        return dropped

    def on_held(self, regions: Iterable[int]) -> None:
        """These regions are held, or known to be lost."""
        for call in self.waiting():
            if call.missing:
                for region in regions:
                    call.missing.pop(region, None)

    def check(self) -> None:
        """Assert the invariants of queues and places."""
        counts = dict.fromkeys(self._limits, 0)
        for running in self.running.values():
            counts[running.group] += 1
        assert counts == self._counts, f"{counts} run, {self._counts} were counted"
        blocked = sum(1 for running in self.running.values() if running.blocked)
        assert blocked == self.blocked_count, f"{blocked} wait, {self.blocked_count} were counted"
        for group, queue in self._queues.items():
            assert counts[group] <= self._limits[group], f"{counts[group]} calls of {group!r} run"
            idle = queue and not queue[0].missing and counts[group] < self._limits[group]
            assert not idle, f"{short(queue[0].task.task)} waits for nothing"

    def _group_of(self, call: Waiting) -> str:
        assert call.call is not None, "a plain task for an actor"
        return call.call.group if call.call.group in self._limits else ""

    def _take(self, queue: deque[Waiting], room: int) -> list[Waiting]:
        taken: list[Waiting] = []
        passed: list[Waiting] = []
        while queue and len(taken) < room:
            call = queue.popleft()
            if not call.missing:
                taken.append(call)
                continue
            passed.append(call)
            if self._in_order:
                break
        queue.extendleft(reversed(passed))
        return taken


def check_calls(
    calls: CallAdmission | None,
    hosting: tuple[PeerId, HostActor] | None,
    sender: PeerId,
    message: PushTasks,
) -> None:
    """Look at what pushed calls are calls of.

    Args:
        calls: The actor that lives here, or None.
        hosting: The actor that is about to, and its creator.
        sender: Who pushes.
        message: The calls.

    Raises:
        RemoteProtocolError: The actor does not live here, or is not about to.
    """
    if calls is not None:
        actor = calls.actor
    elif hosting is not None and hosting[0] == sender and len(message.tasks) == 1:
        actor = hosting[1].actor
    else:
        raise RemoteProtocolError("calls of no actor")
    if len(message.calls) != len(message.tasks) or any(c.actor != actor for c in message.calls):
        raise RemoteProtocolError("calls of an actor that does not live here")
