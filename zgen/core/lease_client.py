"""Ask for leases, reuse and return workers, and decide which waiting task goes to which of them.

Rules of this file: tasks are ids in a queue; what they are is not known here, but for their shape.

Theory of operation. Each resource shape has a pool: a queue, open requests, and leases in hand. A
lease takes up to ``depth`` tasks ahead, half of them at a time where more are waiting than it can
take; the depth doubles while the shape's tasks are short and
falls to one at the first long one, since what queues behind a long task waits for nothing. An idle
lease lingers for the next task unless the node said that others wait; a wanted one is not refilled
beyond its term.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import field
from itertools import islice
from typing import TypeAlias

from zgen.core.deadlines import Deadlines
from zgen.core.effects import Effect, Send
from zgen.core.marks import reached
from zgen.ids import FunctionId, JobId, LeaseId, PeerId, TaskId, derive_lease_id, short
from zgen.limits import (
    BATCH_COUNT_MAX,
    IDLE_POOLS_COUNT_MAX,
    LEASE_LINGER_NS,
    LEASE_REQUESTS_OPEN_MAX,
    LEASE_TERM_NS,
    LINE_BUSY_NS,
    PIPELINE_DEPTH_MAX,
    TASK_LONG_NS,
    TASK_SHORT_NS,
)
from zgen.slotted import slotted
from zgen.wire.lease import (
    Demand,
    LeaseGranted,
    RequestLease,
    ReturnLease,
    shape_of,
    strategy_of,
)

#: Nodes that have a task's arguments, and how many bytes of them.
Locality: TypeAlias = tuple[tuple[PeerId, int], ...]


@slotted
class Held:
    """A granted lease.

    Attributes:
        shape: Its resources.
        worker: The worker it allows to use.
        pid: Process id of the worker.
        granted_ns: When it came.
        pushes: Tasks pushed under it so far.
        in_flight: Task -> number of its push. Added by ``assign``; removed by ``release``.
        wanted: Whether the node said that others wait.
        stalled: Whether the worker handed tasks back and runs the same one still.
        returns: How often the worker handed tasks back.
        doomed: Whether the node was asked to kill the worker, so that it gets nothing any more.
        closing: Whether the node of the worker drains, so that it gets nothing any more.
    """

    shape: Demand
    worker: PeerId
    pid: int
    granted_ns: int
    pushes: int = 0
    in_flight: dict[TaskId, int] = field(default_factory=dict)
    wanted: bool = False
    stalled: bool = False
    returns: int = 0
    doomed: bool = False
    closing: bool = False


@slotted
class Pool:
    """Everything of one resource shape.

    Attributes:
        queue: Tasks that wait for a worker.
        open: Requests that are not answered. Added by ``_ask``; removed when granted, refused or
            withdrawn.
        leases: Leases in hand, for this shape. Added when granted; removed when returned or lost.
        depth: Tasks that one worker may have at a time.
        pushed_ns: When tasks last went to a worker.
        handed: Tasks that were at the front of the queue since they came back from a worker.
    """

    queue: deque[TaskId] = field(default_factory=deque)
    open: dict[LeaseId, None] = field(default_factory=dict)
    leases: dict[LeaseId, None] = field(default_factory=dict)
    depth: int = 1
    pushed_ns: int = -LINE_BUSY_NS
    handed: dict[TaskId, None] = field(default_factory=dict)


@slotted
class Assignment:
    """Tasks that go to one worker now, in order.

    Attributes:
        lease: Under which lease.
        worker: To whom.
        first_push: Number of the first of them among the lease's pushes.
        tasks: Which.
        returns_seen: How often the worker had handed tasks back.
    """

    lease: LeaseId
    worker: PeerId
    first_push: int
    tasks: list[TaskId]
    returns_seen: int


class LeaseClient:
    """The leases of one owner."""

    def __init__(self, me: PeerId) -> None:
        """Start without leases."""
        self.deadlines: Deadlines[LeaseId] = Deadlines()
        self.pools: dict[Demand, Pool] = {}
        #: Lease -> what it is. Added by ``on_granted``; removed by ``_give_back`` and
        #: ``on_worker_down``.
        self.held: dict[LeaseId, Held] = {}
        self._me = me
        self._requested = 0
        #: Open request -> its shape.
        self._asked: dict[LeaseId, Demand] = {}
        #: Worker -> functions it knows. Added by ``teach``; removed by ``on_worker_down``.
        self._taught: dict[PeerId, dict[FunctionId, None]] = {}

    def enqueue(self, shape: Demand, task: TaskId) -> None:
        """Let a task wait for a worker."""
        pool = self.pools.get(shape)
        if pool is None:
            self._forget_idle_pools()
            pool = self.pools[shape] = Pool()
        pool.queue.append(task)

    def put_back(self, shape: Demand, tasks: list[TaskId], submitted: Iterable[TaskId]) -> None:
        """Let tasks that had their turn wait at the front, in the order of all ``submitted``."""
        pool = self.pools[shape]
        moved = dict.fromkeys(tasks)
        while pool.queue and pool.queue[0] in pool.handed:
            moved[pool.queue.popleft()] = None
        ordered = list(islice(filter(moved.__contains__, submitted), len(moved)))
        assert len(ordered) == len(moved), "a task was put back that is none"
        pool.queue.extendleft(reversed(ordered))
        pool.handed = moved

    def withdraw(self, shape: Demand, task: TaskId) -> None:
        """Let a waiting task wait no more."""
        self.pools[shape].queue.remove(task)

    def doom(self, lease: LeaseId, node: PeerId, out: list[Effect]) -> None:
        """Have ``node`` kill the worker of a lease; what it had in flight is told of its end."""
        held = self.held[lease]
        if not held.doomed:
            held.doomed = True
            out.append(Send(node, ReturnLease(lease, False)))

    def is_busy(self, shape: Demand, now_ns: int) -> bool:
        """Return whether every worker of a shape has work and got some a moment ago."""
        pool = self.pools[shape]
        if not pool.leases or now_ns - pool.pushed_ns >= LINE_BUSY_NS:
            return False
        return all(self.held[lease].in_flight for lease in pool.leases)

    def assign(
        self,
        shape: Demand,
        node: PeerId,
        job: JobId,
        what: str,
        now_ns: int,
        out: list[Effect],
        locality: Locality = (),
        retriable: bool = True,
    ) -> list[Assignment]:
        """Give waiting tasks to workers in hand, and ask ``node`` for more if some are left."""
        pool = self.pools[shape]
        assignments: list[Assignment] = []
        while pool.queue:
            best: LeaseId | None = None
            room = 0
            for lease in pool.leases:
                held = self.held[lease]
                is_over = held.wanted and now_ns - held.granted_ns > LEASE_TERM_NS
                if held.stalled or held.doomed or held.closing or is_over:
                    continue
                free = pool.depth - len(held.in_flight)
                if 2 * free < pool.depth and free < len(pool.queue):
                    continue  # it has enough to do: later it gets more at once
                if free > room:
                    best, room = lease, free
            if best is None:
                break
            assignments.append(self._fill(pool, best, min(room, self._fair_share(pool))))
            pool.pushed_ns = now_ns
        self._ask(pool, shape, node, job, what, locality, retriable, out)
        return assignments

    def on_granted(
        self, message: LeaseGranted, node: PeerId, now_ns: int, out: list[Effect]
    ) -> Demand | None:
        """Take a lease in; return its shape, or None if it is no longer wanted and went back."""
        shape = self._asked.pop(message.lease, None)
        if shape is None:
            reached("unwanted grant returned")
            if message.lease not in self.held:
                out.append(Send(node, ReturnLease(message.lease, True)))
            return None
        pool = self.pools[shape]
        del pool.open[message.lease]
        pool.leases[message.lease] = None
        self.held[message.lease] = Held(shape, message.worker.peer, message.pid, now_ns)
        self.deadlines.set(message.lease, now_ns + LEASE_LINGER_NS)
        return shape

    def on_refused(self, lease: LeaseId) -> list[TaskId]:
        """A request will never be met: return the tasks that waited for it."""
        shape = self._asked.pop(lease, None)
        if shape is None:
            return []
        pool = self.pools[shape]
        del pool.open[lease]
        tasks = list(pool.queue)
        pool.queue.clear()
        return tasks

    def shape_asked(self, lease: LeaseId) -> Demand | None:
        """Return the shape of an open request."""
        return self._asked.get(lease)

    def on_wanted(self, node: PeerId, out: list[Effect]) -> None:
        """Others wait: return what idles now, and the rest when it is idle."""
        for lease, held in list(self.held.items()):
            held.wanted = True
            if not held.in_flight and not self.pools[held.shape].queue:
                self._give_back(lease, node, True, out)

    def on_closing(self, lease: LeaseId, node: PeerId, out: list[Effect]) -> None:
        """Give a lease nothing any more, and return it when it is idle."""
        held = self.held.get(lease)
        if held is None:
            reached("closing of a lease that is none")
            return
        held.closing = True
        if not held.in_flight:
            self._give_back(lease, node, True, out)

    def release(
        self,
        lease: LeaseId,
        task: TaskId,
        run_ns: int | None,
        node: PeerId,
        now_ns: int,
        out: list[Effect],
    ) -> None:
        """A task left its worker; ``run_ns`` is how long it ran, None if it did not."""
        held = self.held.get(lease)
        if held is None or held.in_flight.pop(task, None) is None:
            return
        pool = self.pools[held.shape]
        if run_ns is None or run_ns > TASK_LONG_NS:
            pool.depth = 1
        elif run_ns < TASK_SHORT_NS:
            pool.depth = min(2 * pool.depth, PIPELINE_DEPTH_MAX)
        if run_ns is not None:
            held.stalled = False
        if held.in_flight:
            return
        held.stalled = False
        is_over = held.wanted and now_ns - held.granted_ns > LEASE_TERM_NS
        if held.closing or is_over or (held.wanted and not pool.queue):
            self._give_back(lease, node, True, out)
        elif not pool.queue:
            self.deadlines.set(lease, now_ns + LEASE_LINGER_NS)

    def stall(self, lease: LeaseId) -> None:
        """The worker handed its queue back: give it nothing until its task has ended."""
        held = self.held[lease]
        held.returns += 1
        held.stalled = bool(held.in_flight)

    def on_worker_down(
        self, worker: PeerId, node: PeerId, out: list[Effect]
    ) -> list[tuple[LeaseId, Held]]:
        """Give up the leases of a dead worker and return them, with what was in flight."""
        self._taught.pop(worker, None)
        lost = [(lease, held) for lease, held in self.held.items() if held.worker == worker]
        for lease, held in lost:
            self._remove(lease, held)
            out.append(Send(node, ReturnLease(lease, False)))
        return lost

    def on_timer(self, node: PeerId, now_ns: int, out: list[Effect]) -> None:
        """Return what has idled long enough."""
        for lease in self.deadlines.pop_due(now_ns):
            held = self.held.get(lease)
            if held is not None and not held.in_flight and not self.pools[held.shape].queue:
                self._give_back(lease, node, True, out)

    def teach(self, worker: PeerId, function: FunctionId) -> bool:
        """Note that ``worker`` learns a function; return whether it did not know it."""
        known = self._taught.setdefault(worker, {})
        if function in known:
            return False
        known[function] = None
        return True

    def clear(self) -> None:
        """Forget everything: the node is gone."""
        self.pools.clear()
        self.held.clear()
        self._asked.clear()
        self._taught.clear()
        self.deadlines.clear_all()

    def check(self) -> None:
        """Assert the invariants of pools and leases."""
        for lease, held in self.held.items():
            assert lease in self.pools[held.shape].leases, short(lease)
            last = -1
            for push in held.in_flight.values():
                assert last < push < held.pushes, short(lease)
                last = push
        for shape, pool in self.pools.items():
            assert 1 <= pool.depth <= PIPELINE_DEPTH_MAX
            for lease in pool.open:
                assert self._asked.get(lease) == shape, short(lease)
            for lease in pool.leases:
                assert lease in self.held, short(lease)

    def _fair_share(self, pool: Pool) -> int:
        """Return how many waiting tasks one worker takes, so that none idles beside a full one."""
        workers = len(pool.leases) + len(pool.open)
        return max(1, min(BATCH_COUNT_MAX, -(-len(pool.queue) // max(1, workers))))

    def _fill(self, pool: Pool, lease: LeaseId, count: int) -> Assignment:
        held = self.held[lease]
        self.deadlines.clear(lease)
        assignment = Assignment(lease, held.worker, held.pushes, [], held.returns)
        for _ in range(min(count, len(pool.queue))):
            task = pool.queue.popleft()
            held.in_flight[task] = held.pushes
            held.pushes += 1
            assignment.tasks.append(task)
        return assignment

    def _ask(
        self,
        pool: Pool,
        shape: Demand,
        node: PeerId,
        job: JobId,
        what: str,
        locality: Locality,
        retriable: bool,
        out: list[Effect],
    ) -> None:
        wanted = min(len(pool.queue), LEASE_REQUESTS_OPEN_MAX)
        while len(pool.open) < wanted:
            self._requested += 1
            lease = derive_lease_id(self._me, self._requested)
            pool.open[lease] = None
            self._asked[lease] = shape
            plain, strategy = shape_of(shape), strategy_of(shape)
            asked = RequestLease(lease, job, plain, what, strategy, locality, retriable)
            out.append(Send(node, asked))
        if not pool.queue and pool.open:
            reached("open requests withdrawn")
            for lease in pool.open:
                del self._asked[lease]
                out.append(Send(node, ReturnLease(lease, True)))
            pool.open.clear()

    def _give_back(self, lease: LeaseId, node: PeerId, reusable: bool, out: list[Effect]) -> None:
        held = self.held[lease]
        assert not held.in_flight, f"lease {short(lease)} returned with work in flight"
        self._remove(lease, held)
        out.append(Send(node, ReturnLease(lease, reusable)))

    def _remove(self, lease: LeaseId, held: Held) -> None:
        del self.held[lease]
        del self.pools[held.shape].leases[lease]
        self.deadlines.clear(lease)

    def _forget_idle_pools(self) -> None:
        if len(self.pools) < IDLE_POOLS_COUNT_MAX:
            return
        for shape, pool in list(self.pools.items()):
            if not pool.queue and not pool.open and not pool.leases:
                del self.pools[shape]
